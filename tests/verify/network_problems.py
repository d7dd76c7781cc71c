"""Random data for the hand-written networks, the complex step of their losses, and the sections and commands that they are of."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from derive.cell import Cell
from derive.cells.registry import build
from derive.compiler import compile_cell
from derive.pages import read
from tests import bounds
from verify.handwritten.network import Network
from verify.kept import handwritten_for
from verify.kernel import load_text

Array = np.ndarray[Any, Any]
Arrays = dict[str, Array]
ROOT = Path(__file__).parents[2]

LENGTHS = {"T": 5, "S": 4, "B": 2}
SIZES = (3, 4, 6, 7, 8, 9, 10, 11, 12, 13)
"""Of the dimensions of a network in their order: all different, and different from T, S and B."""
DEEPEST = 3

PAGES = {
    "000_networks.md": [
        "LSTM with its readout and loss, equations (2) to (10)",
        "GRU with its readout and loss, equations (11) to (17)",
        "GRU with a loss at the final step, slide 'BPTT steps'",
    ],
    "001_networks.md": ["RNN language model", "LSTM language model", "GRU language model"],
    "003_networks.md": [
        "RNN with its readout, slide 'Review: RNN update rule'",
        "Word embeddings and the next word",
        "The Complete LSTM",
    ],
    "002_networks.md": ["LSTM network forward", "Bidirectional LSTM", "A posteriori sequence to sequence", "Modelling language"],
    "004_networks.md": [
        "Bidirectional, equations (17) to (19)",
        "Deep bidirectional, equations (20) to (22)",
        "Translation, equations (23) to (26)",
        "Translation, extension I",
        "Translation, extension II and equation (27)",
        "Translation, extension III",
        "Translation, extension IV",
        "Translation, extension V",
    ],
}
PAGE_OF = {heading: page for page, headings in PAGES.items() for heading in headings}
COMMANDS = [
    "lstm --layers 2",
    "lstm --peephole --candidate-peephole --layers 3",
    "gru --reset after --layers 2",
    "rnn --bidirectional",
    "rnn --layers 3 --bidirectional",
    "lstm --layers 2 --bidirectional",
    "lstm --masked",
    "gru --reset after --recurrent-bias --masked --layers 3",
    "gru --no-bias --masked --layers 2 --bidirectional",
    "rnn --no-bias --bidirectional",
    "lstm --peephole --no-candidate-bias --layers 2",
]


@dataclass
class Problem:
    """Random signed data for a network: every dimension of a size of its own, S != T, nonzero starts."""

    network: Network
    dtype: str = "float64"
    lengths: dict[str, int] = field(default_factory=lambda: dict(LENGTHS))
    ordered: Sequence[int] = SIZES
    seed: int = 0
    parameters: Arrays = field(init=False)
    inputs: Arrays = field(init=False)
    state: Arrays = field(init=False)
    cotangents: Arrays = field(init=False)

    def __post_init__(self) -> None:
        one, self.random = self.network, np.random.default_rng(self.seed)
        tables = [*one.PARAMETERS.values(), *one.INPUTS.values(), *[(size,) for size in one.TOKENS.values()]]
        names = dict.fromkeys(name for dims in tables for dim in dims for name in dim.split("+"))
        self.sizes = dict(zip(names, self.ordered, strict=False)) | self.lengths
        self.parameters = {name: self.drawn(*dims) / np.sqrt(self.size(dims[-1])) for name, dims in one.PARAMETERS.items()}
        self.parameters = {name: array.astype(self.dtype) for name, array in self.parameters.items()}
        self.inputs = {name: self.drawn(*one.lead(name), *dims) for name, dims in one.INPUTS.items()}
        for name, size in one.TOKENS.items():
            self.inputs[name] = self.random.integers(0, self.size(size), [self.size(dim) for dim in one.lead(name)])
        self.state = {name: self.drawn("B", *dims) for name, dims in one.STATES.items()}
        self.cotangents = {name: self.drawn(*one.lead(name), *dims) for name, dims in one.outputs.items()}

    def size(self, dim: str) -> int:
        return sum(self.sizes[name] for name in dim.split("+"))

    def drawn(self, *dims: str) -> Array:
        shape = [self.size(dim) for dim in dims]
        values = self.random.standard_normal(shape)
        if self.dtype == "complex128":  # imaginary parts stay small: tanh has a pole at i pi/2
            return values + 0.1j * self.random.standard_normal(shape)
        return np.asarray(values, self.dtype)

    def primals(self) -> Iterator[tuple[str, Array]]:
        for group in ("parameters", "inputs", "state"):
            for name, array in getattr(self, group).items():
                if name not in self.network.TOKENS:
                    yield f"{group}.{name}", array

    def loss(self) -> Any:
        """sum(cotangents * outputs): its gradient is what backward returns."""
        outputs, _ = self.network.forward(self.parameters, self.inputs, self.state)
        return sum((self.cotangents[name] * array).sum() for name, array in outputs.items())

    def gradients(self, network: Network | None = None) -> Arrays:
        network = network or self.network
        _, tape = network.forward(self.parameters, self.inputs, self.state)
        return flat(network.backward(self.parameters, tape, self.cotangents))

    def slope(self, block: str, direction: Array, h: float = 1e-30) -> float:
        """The derivative of the loss along a direction of one block, by the complex step: no difference is taken."""
        group, name = block.split(".")
        moved = replace(self)
        for part in ("parameters", "inputs", "state", "cotangents"):
            arrays = {n: a if n in self.network.TOKENS else a.astype(complex) for n, a in getattr(self, part).items()}
            setattr(moved, part, arrays)
        getattr(moved, group)[name] += 1j * h * direction
        return float(moved.loss().imag / h)

    def directions(self, block: str, array: Array) -> Iterator[Array]:
        """Random ones; of what lies along steps one for each step, so that every lag is looked at by itself."""
        steps = range(len(array)) if block.startswith("inputs") else [...]
        for step in steps:
            direction = np.zeros(array.shape)
            direction[step] = self.random.standard_normal(direction[step].shape)
            yield direction

    @property
    def tolerance(self) -> float:
        """A complex step cancels nothing, so that the roundings remain: of all layers at all steps, the widest sum that of all that a
        layer reads, eight gates' matrices at most."""
        steps = DEEPEST * (self.lengths["S"] + self.lengths["T"])
        return bounds.rounded(bounds.of_recurrence(steps, self.lengths["B"], 8 * max(self.sizes.values())), self.dtype)


def flat(gradients: Any) -> Arrays:
    parts = {"parameters": gradients.parameters, "inputs": gradients.inputs, "state": gradients.state}
    return {f"{part}.{name}": array for part, arrays in parts.items() for name, array in arrays.items()}


def errors(problem: Problem, gradients: Arrays) -> dict[str, float]:
    """How far each block is from the complex step along random directions, relative to the size of both."""
    found: dict[str, float] = {}
    for block, array in problem.primals():
        assert gradients[block].shape == array.shape, block
        for direction in problem.directions(block, array):
            size = float(np.linalg.norm(gradients[block] * (direction != 0)) * np.linalg.norm(direction))
            expected = problem.slope(block, direction)
            assert expected != 0, f"{block} tests nothing"
            error = abs(float((gradients[block] * direction).sum()) - expected) / max(size, abs(expected))
            found[block] = max(found.get(block, 0.0), error)
    return found


@functools.cache
def page_of(page: str) -> Any:
    return read(str(ROOT / "examples" / "pages" / page))


@functools.cache
def derived(where: str) -> tuple[Cell, ModuleType, Any]:
    """(the cell of a section of a page or of a command, its kernel, its reference)."""
    cell = page_of(PAGE_OF[where]).cell(where).cell if where in PAGE_OF else build(where)
    module = load_text(compile_cell(cell), f"{cell.name}.py")
    return cell, module, handwritten_for(cell.name, module)


def reference(where: str) -> Network:
    """The hand-written network of a section or command, as it was written."""
    found = derived(where)[2]
    return getattr(found, "module", found)
