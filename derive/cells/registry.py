"""How a cell is found: `@cell` registers the function that returns its equations, with its options and where they are from."""

from __future__ import annotations

import argparse
import difflib
import importlib
import pkgutil
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sympy as sp

from derive.cell import Cell
from derive.copies import MOST, Network
from derive.errors import DeriveError
from derive.streams import may_leave


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
class Count:
    """An option whose value is a number from 1, the default, to `most`."""

    name: str
    most: int
    help: str
    default: int = 1

    def add_to(self, parser: argparse._ActionsContainer) -> None:
        parser.add_argument(f"--{self.name}", default=self.default, help=self.help, metavar="N", type=self.number)

    def number(self, word: str) -> int:
        if not (word.isascii() and word.isdigit() and 1 <= int(word[:9]) <= self.most):
            raise argparse.ArgumentTypeError(f"expected a number from 1 to {self.most}, got {word}")
        return int(word)


@dataclass(frozen=True)
class Named:
    """An option whose value is the name of a quantity; None by default."""

    name: str
    help: str
    default: str | None = None

    def add_to(self, parser: argparse._ActionsContainer) -> None:
        parser.add_argument(f"--{self.name}", help=self.help, metavar="NAME")


NETWORK: tuple[Count | Flag | Named, ...] = (
    Count("layers", MOST, "that many layers, each of which reads what the one below gives"),
    Flag("bidirectional", "each layer runs in both directions"),
    Flag("masked", "an input m, a number at each step: where it is 0 the states stay as they were"),
    Named("input", "the input in whose place a layer reads the one below (the only one that it can be)"),
    Named("output", "what a layer gives (the state that no other state is made of at the same step)"),
)
"""What every cell takes, built-in, on a page or in a Python file: the fields of a `Network`."""


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
    def network_options(self) -> tuple[Count | Flag | Named, ...]:
        """Those of every cell, without what this one calls so itself."""
        own = {option.name for option in self.options}
        return tuple(option for option in NETWORK if option.name not in own)

    @property
    def hint(self) -> str:
        """What to say beside an option that the cell doesn't have."""
        takes = ", ".join(f"--{option.name}" for option in self.options) or "no options of its own"
        every = ", ".join(f"--{option.name}" for option in self.network_options)
        return f" {self.name} takes {takes}, and like every cell {every}. See `python -m derive {self.name} --help`."

    def parser(self) -> argparse.ArgumentParser:
        """An argument parser with the options of the cell and of a network of it only."""
        parser = OneLineParser(prog=self.name, add_help=False, allow_abbrev=False)
        parser.hint = self.hint
        for option in (*self.options, *self.network_options):
            option.add_to(parser)
        return parser

    def split(self, options: Mapping[str, Any]) -> tuple[dict[str, Any], Network]:
        """(the values of the cell's own options, the network that is asked for) among those of a command line. Raises NetworkError."""
        own = [option.name.replace("-", "_") for option in self.options]
        return {name: options[name] for name in own}, network_of(options, self.network_options)


def network_of(options: Mapping[str, Any], among: Sequence[Count | Flag | Named] = NETWORK) -> Network:
    """The network that the options of a command line ask for. Raises NetworkError."""
    network = Network(**{option.name: options[option.name] for option in among})
    network.check()
    return network


class OneLineParser(argparse.ArgumentParser):
    """An argument parser whose errors are one OptionError, for one line on standard error."""

    hint = ""
    """What to add to every message: the options that there are."""

    def error(self, message: str) -> Any:
        raise OptionError(f"{self.prog}: {message}.{self.hint}")

    def print_help(self, file: Any = None) -> None:
        with may_leave():
            print(self.format_help(), end="", file=file)  # argparse's own says nothing where it can't print


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
    """The cell that command-line words name: `build("lstm --peephole diagonal --layers 2")`. Raises OptionError or NetworkError."""
    name, *rest = shlex.split(words) if isinstance(words, str) else words
    declaration = find(name)
    chosen, network = declaration.split(vars(declaration.parser().parse_args(rest)))
    return network.of(declaration.build(**chosen))


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
