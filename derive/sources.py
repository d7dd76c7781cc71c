"""From the words of a command to cells: a built-in cell with options, a page of equations, or a Python file that declares cells."""

from __future__ import annotations

import argparse
import shlex
import sys
import types
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from derive.cell import Cell
from derive.cells import registry
from derive.copies import Network, NetworkError
from derive.errors import DeriveError

if TYPE_CHECKING:
    from derive.pages.one_cell import PageCell

PAGE_SUFFIXES = {".md", ".markdown", ".tex", ".txt"}


def is_page(word: str) -> bool:
    """Whether a word names a page: `-`, or a file by its ending."""
    return word == "-" or Path(word).suffix.lower() in PAGE_SUFFIXES


def is_python(word: str) -> bool:
    return word.endswith(".py")


def declarations_in(path: Path) -> list[registry.Declaration]:
    """What a Python file declares with `@cell`. It runs the file, as it stands now: no compiled copy of it is read or left beside it, which
    would be taken for the file after an edit within the same second.

    Raises DeriveError when there is no such file, when it fails, or when it declares nothing.
    """
    if not path.is_file():
        raise DeriveError(f"derive: {path}: no such file: expected a Python file that declares a cell. Check the path.")
    before = dict(registry.DECLARED)
    try:
        code = compile(path.read_bytes(), str(path), "exec")
        module = sys.modules[path.stem] = types.ModuleType(path.stem)
        module.__file__ = str(path)
        exec(code, module.__dict__)
    except DeriveError:
        raise
    except (Exception, SystemExit) as error:
        said = " ".join(f"{type(error).__name__}: {error}".split())
        raise DeriveError(f"derive: {path}: can't be run: {said}. Mend the file.") from None
    new = [one for name, one in registry.DECLARED.items() if before.get(name) is not one]
    registry.DECLARED.clear()
    registry.DECLARED.update(before)
    if not new:
        raise DeriveError(
            f"derive: {path}: declares no cell: expected a function decorated with `@cell`, got none. See CONTRIBUTING.md."
        )
    return new


def cells_of(words: Sequence[str], root: Path | None = None, unread: list[DeriveError] | None = None) -> list[Cell]:
    """The cells that words name. unread: where to put why sections of a page can't be read, which stops nothing then.

    Raises DeriveError.
    """
    first, *rest = words
    if is_page(first):
        page = first if root is None or first == "-" else str(root / first)
        cells, refused = page_cells(page, page_parser().parse_args(list(rest)))
        if refused and unread is None:
            raise refused[0]
        if unread is not None:
            unread += refused
        return [one.cell for one in cells]
    if is_python(first):
        path = (root / first) if root else Path(first)
        declared, asked, rest = asked_first(declarations_in(path), path, rest)
        chosen = declared[:1] if asked else declared
        asked_for = [(one, *one.split(vars(one.parser().parse_args(rest)))) for one in chosen]
        return [network.of(from_python(one, path, own, len(declared) > 1)) for one, own, network in asked_for]
    return [registry.build(words)]


def add_cell_option(parser: argparse._ActionsContainer, by: str) -> None:
    """The option that chooses one of several cells."""
    parser.add_argument("--cell", dest="page_cell", metavar="NAME", help=f"one cell of the {by}")


def add_page_options(parser: argparse._ActionsContainer) -> None:
    """The options that a page takes."""
    add_cell_option(parser, "page, by its heading")
    parser.add_argument("--dim", action="append", default=[], metavar="SYMBOL=DIMS", help="dimensions of a symbol: --dim W=H,N")
    parser.add_argument("--let", action="append", default=[], metavar="NAME=WHAT", help="what a name is: --let f=tanh")


def add_network_options(parser: argparse._ActionsContainer, declaration: registry.Declaration | None = None) -> None:
    """The options that make a network of a cell: of any, or of one that is declared."""
    for option in declaration.network_options if declaration else registry.NETWORK:
        option.add_to(parser)


def page_parser() -> argparse.ArgumentParser:
    """A parser with the options of a page and of a network of its cells only."""
    parser = registry.OneLineParser(prog="derive", add_help=False, allow_abbrev=False)
    add_page_options(parser)
    add_network_options(parser)
    return parser


def pairs(option: str, words: Sequence[str]) -> dict[str, str]:
    """NAME=WHAT words, several of them in one between semicolons, as a mapping. Raises DeriveError."""
    said: dict[str, str] = {}
    for word in [part for given in words for part in given.split(";") if part.strip()]:
        name, value = word.partition("=")[0].strip(), word.partition("=")[2].strip()
        if not name or not value:
            raise DeriveError(f"derive: --{option} {word}: expected NAME=WHAT, got `{word}`. Write it as in --{option} f=tanh.")
        put(option, said, name, value)
    return said


def put(option: str, said: dict[str, str], name: str, value: str) -> None:
    """Take one NAME=WHAT into a mapping. Raises DeriveError where it says something else of the name already."""
    if said.setdefault(name, value) != value:
        both = f"`{name}` as `{said[name]}` and as `{value}`"
        raise DeriveError(f"derive: --{option} says two things of one name: expected one, got {both}. Leave one out.")


def page_cells(path: str, options: argparse.Namespace) -> tuple[list[PageCell], list[DeriveError]]:
    """(the cells of a page, or the one that is asked for, why other sections can't be read); their commands say how they were read.

    Raises DeriveError.
    """
    from derive.pages import read
    from derive.pages.errors import said_once

    let, dims = pairs("let", options.let), pairs("dim", options.dim)
    for name in [one for one in let if one.split()[:1] == ["dim"] and len(one.split()) > 1]:
        put("let or --dim", dims, name.split(maxsplit=1)[1], let.pop(name))
    page = read(path, dims=dims, let=let)
    chosen = [page.cell(options.page_cell)] if options.page_cell else list(page.cells)
    said = [f"--{name} {shlex.quote(word)}" for name in ("dim", "let") for word in getattr(options, name)]
    network = registry.network_of(vars(options))
    cells: list[PageCell] = []
    refused: list[DeriveError] = [] if options.page_cell else [*said_once(error for _, error in page.refused)]
    for one in chosen:
        try:
            cells.append(as_network(replace(one, cell=replace(one.cell, command=" ".join([one.cell.command, *said]))), network))
        except NetworkError as error:
            refused.append(error)
    if not cells:
        raise refused[-1]
    return cells, refused


def as_network(found: PageCell, network: Network) -> PageCell:
    """A cell of a page as a network, whose equations are those of the reading then. Raises NetworkError."""
    from derive.pages.reading import in_both

    cell = network.of(found.cell)
    if cell is found.cell:
        return found
    text, latex = in_both(cell)
    notes = (*found.reading.notes, *filter(None, [network.note(found.cell)]))
    return replace(found, cell=cell, reading=replace(found.reading, notes=notes, equations=text, latex=latex))


def built(declaration: registry.Declaration, path: Path, chosen: Mapping[str, object]) -> Cell:
    """The cell of a declaration in a file. Raises DeriveError that names the file and the cell."""
    try:
        return declaration.build(**chosen)
    except registry.OptionError:
        raise
    except Exception as error:
        raise DeriveError(f"derive: {path}: {declaration.name}: {' '.join(str(error).split())}") from None


def asked_first(
    declared: list[registry.Declaration], path: Path, words: Sequence[str]
) -> tuple[list[registry.Declaration], bool, list[str]]:
    """(the declarations of a Python file, the one that `--cell` asks for in front, whether one is asked for, the other words).

    Raises DeriveError with the names that there are.
    """
    parser = registry.OneLineParser(prog="derive", add_help=False, allow_abbrev=False)
    add_cell_option(parser, "file, by the name of its function")
    options, rest = parser.parse_known_args(list(words))
    name = options.page_cell
    if name is not None and name not in [one.name for one in declared]:
        known = ", ".join(one.name for one in declared)
        raise DeriveError(f"derive: {path}: --cell {name}: no such cell: expected one of {known}, got `{name}`. Choose another.")
    return sorted(declared, key=lambda one: name is not None and one.name != name), name is not None, rest


def from_python(declaration: registry.Declaration, path: Path, chosen: Mapping[str, object], several: bool) -> Cell:
    """A cell of a Python file for some values of its options. Its command is the file's base name, the cell where the file has
    several, and the options."""
    cell = built(declaration, path, chosen)
    which = ["--cell", declaration.name] if several else []
    return replace(cell, command=" ".join([path.name, *which, *cell.command.split()[1:]]))
