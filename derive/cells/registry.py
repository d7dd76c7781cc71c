"""How a cell is found: `@cell` registers the function that returns its equations, with its options and where they are from."""

from __future__ import annotations

import argparse
import difflib
import importlib
import pkgutil
import shlex
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import sympy as sp

from derive.cell import Cell
from derive.errors import DeriveError


class OptionError(DeriveError):
    """Words that don't name a cell: an unknown cell, an unknown value, options that don't go together."""


@dataclass(frozen=True)
class Choice:
    """An option with a value, the first being the default; `bare` is what the option means without a value."""

    name: str
    values: tuple[str, ...]
    help: str
    bare: str | None = None

    @property
    def default(self) -> str:
        return self.values[0]

    def words(self, value: Any) -> list[str]:
        return [f"--{self.name}"] + ([] if value == self.bare else [str(value)])

    def add_to(self, parser: argparse._ActionsContainer) -> None:
        named: dict[str, Any] = {"nargs": "?", "const": self.bare} if self.bare else {}
        shown = "|".join(v for v in self.values if not (self.bare and v == self.default))
        parser.add_argument(f"--{self.name}", default=self.default, help=self.help, metavar=shown, choices=self.values, **named)


@dataclass(frozen=True)
class Flag:
    """An option that is there or not."""

    name: str
    help: str
    default: bool = False

    def words(self, value: Any) -> list[str]:
        return [f"--{self.name}"]

    def add_to(self, parser: argparse._ActionsContainer) -> None:
        parser.add_argument(f"--{self.name}", action="store_true", help=self.help)


@dataclass(frozen=True)
class Source:
    """Where equations are printed: the options that reproduce them, the document and equation, and how its symbols map to ours."""

    options: str
    place: str
    mapping: str


@dataclass(frozen=True)
class Declaration:
    """A declared cell: its options and the function from their values to its equations."""

    name: str
    options: tuple[Choice | Flag, ...]
    sources: tuple[Source, ...]
    equations: Callable[..., list[sp.Equality]]
    summary: str

    def build(self, **chosen: Any) -> Cell:
        """The cell for some values of its options (underscores for dashes); the rest at their defaults."""
        values = {option.name.replace("-", "_"): option.default for option in self.options} | chosen
        words = [self.name]
        for option in self.options:
            value = values[option.name.replace("-", "_")]
            if value != option.default:
                words += option.words(value)
        name = "_".join(word.removeprefix("--").replace("-", "_") for word in words)
        return Cell.from_equations(name, " ".join(words), self.equations(**values))

    @property
    def hint(self) -> str:
        """What to say beside an option that the cell doesn't have."""
        takes = ", ".join(f"--{option.name}" for option in self.options) or "no options of its own"
        return f" {self.name} takes {takes}. See `python -m derive {self.name} --help`."

    def parser(self) -> argparse.ArgumentParser:
        """An argument parser with the cell's options only."""
        parser = OneLineParser(prog=self.name, add_help=False, allow_abbrev=False)
        parser.hint = self.hint
        for option in self.options:
            option.add_to(parser)
        return parser


class OneLineParser(argparse.ArgumentParser):
    """An argument parser whose errors are one OptionError, for one line on standard error."""

    hint = ""
    """What to add to every message: the options that there are."""

    def error(self, message: str) -> Any:
        raise OptionError(f"{self.prog}: {message}.{self.hint}")


DECLARED: dict[str, Declaration] = {}


def cell(*options: Choice | Flag, sources: tuple[Source, ...] = ()) -> Callable[[Any], Any]:
    """Register the decorated function, which takes the options' values and returns the cell's equations."""

    def register(equations: Callable[..., list[sp.Equality]]) -> Callable[..., list[sp.Equality]]:
        name = equations.__name__
        summary = (importlib.import_module(equations.__module__).__doc__ or name).strip().splitlines()[0]
        DECLARED[name] = Declaration(name, options, sources, equations, summary)
        return equations

    return register


def declarations() -> dict[str, Declaration]:
    """Every built-in cell by name: whatever the modules of `derive.cells` declare."""
    import derive.cells

    for module in pkgutil.iter_modules(derive.cells.__path__):
        importlib.import_module(f"derive.cells.{module.name}")
    return dict(sorted(DECLARED.items()))


def find(name: str) -> Declaration:
    """The declaration of that name. Raises OptionError with the nearest name."""
    known = declarations()
    if name not in known:
        near = difflib.get_close_matches(name.lower(), known, n=1, cutoff=0.4)
        hint = f" Did you mean {near[0]}?" if near else ""
        raise OptionError(
            f"derive: unknown cell `{name}`: expected one of {', '.join(known)}.{hint} See `python -m derive --list`."
        )
    return known[name]


def build(words: str | Sequence[str]) -> Cell:
    """The cell that command-line words name: `build("lstm --peephole diagonal")`. Raises OptionError."""
    name, *rest = shlex.split(words) if isinstance(words, str) else words
    declaration = find(name)
    chosen = vars(declaration.parser().parse_args(rest))
    return declaration.build(**chosen)


def variants(declaration: Declaration) -> Iterator[Cell]:
    """Every legal combination of a cell's options."""
    from itertools import product

    names = [option.name.replace("-", "_") for option in declaration.options]
    values = [option.values if isinstance(option, Choice) else (False, True) for option in declaration.options]
    for combination in product(*values):
        try:
            yield declaration.build(**dict(zip(names, combination, strict=True)))
        except OptionError:
            continue
