"""The hand-written networks against the complex step of their forwards and against the derived kernels; faults that are seen."""

from __future__ import annotations

import functools
import importlib
import inspect
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from derive.cell import Cell
from derive.cells.registry import build
from derive.compiler import compile_cell
from derive.pages import read
from tests import bounds
from verify.data import ORDINARY, OTHER_SIZES, Regime, draw
from verify.examination import check
from verify.gradients import relative
from verify.handwritten import networks
from verify.handwritten.network import Network
from verify.kept import handwritten_for
from verify.kernel import Kernel, load_text
from verify.tolerances import tolerance

Array = np.ndarray[Any, Any]
Arrays = dict[str, Array]
ROOT = Path(__file__).parents[2]

LENGTHS = {"T": 5, "S": 4, "B": 2}
SIZES = (3, 4, 6, 7, 8, 9, 10, 11, 12, 13)
"""Of the dimensions of a network in their order: all different, and different from T, S and B."""
DEEPEST = 3

PAGES = {
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


def every_network(*depths: int) -> list[Any]:
    return [
        pytest.param(layers, k, id=f"{layers}-{k}-{network.source[:40]}")
        for layers in depths
        for k, network in enumerate(networks(layers))
    ]


@functools.cache
def with_layers(layers: int) -> list[Network]:
    return list(networks(layers))


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


# --- the gradients ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("layers", "k"), every_network(1, 2))
def test_gradients_agree_with_the_complex_step(layers: int, k: int) -> None:
    problem = Problem(with_layers(layers)[k])
    found = errors(problem, problem.gradients())
    assert max(found.values()) < problem.tolerance, found


@pytest.mark.parametrize("k", range(0, len(list(networks(DEEPEST))), 4))
def test_gradients_of_three_layers_agree_with_the_complex_step(k: int) -> None:
    problem = Problem(with_layers(DEEPEST)[k])
    found = errors(problem, problem.gradients())
    assert max(found.values()) < problem.tolerance, found


@pytest.mark.parametrize("where", [*PAGE_OF, *COMMANDS])
def test_the_derived_kernel_and_the_reference_agree(where: str) -> None:
    cell, module, hand = derived(where)
    assert hand is not None
    kernel = Kernel(module, cell.name)
    for regime, sizes in [(ORDINARY, None), *OTHER_SIZES[1:], (Regime("more steps", 12, 0.8), (6, 5, 4, 3, 2, 7, 8, 9, 10))]:
        sized = kernel.sized(sizes) if sizes else kernel
        data = draw(sized.dims, regime, seed=3)
        outputs, tape = hand.forward(data.parameters, data.inputs, data.state)
        found = kernel.flat(hand.backward(data.parameters, tape, data.cotangents))
        expected = sized.gradients(data)
        assert found.keys() == expected.keys() == data.flat().keys()
        for name, array in sized.outputs(data).items():
            assert relative(outputs[name], array) < tolerance("emitted", "hand-written").value, name
        for block, array in expected.items():
            assert relative(found[block], array) < tolerance("emitted", "hand-written").value, (regime.name, block)


# --- which kernels they are held against -----------------------------------------------------------------------------


def test_the_verifier_holds_a_kernel_against_its_reference() -> None:
    cell, module, hand = derived("Translation, extension V")
    report = check(module, name=cell.name, hand=hand, quick=True, formula=cell)
    assert report.passed
    assert "hand-written" in report.routes
    assert {row.block for row in report.rows if ("emitted", "hand-written") in row.errors} == {row.block for row in report.rows}


PAGE = (ROOT / "examples/pages/004_networks.md").read_text(encoding="utf-8")


def reference_of(page: str, heading: str, folder: Path) -> Any:
    (folder / "page.md").write_text(page, encoding="utf-8")
    cell = read(str(folder / "page.md")).cell(heading).cell
    return handwritten_for(cell.name, load_text(compile_cell(cell), f"{cell.name}.py"))


DEEP = "Deep bidirectional, equations (20) to (22)"
TRANSLATION = "Translation, extension I"


@pytest.mark.parametrize(
    ("heading", "printed", "instead", "is_known"),
    [
        (DEEP, "L = 3", "L = 4", True),
        (DEEP, "L = 3", "L = 1", True),
        (DEEP, "f = tanh; g = softmax; L = 3", "f = relu; g = softmax; L = 3", True),
        (DEEP, "f = tanh; g = softmax; L = 3", "f = softplus; g = softmax; L = 3", False),
        (DEEP, "g(U[", "g(2U[", False),
        (DEEP, r"\overleftarrow{h}_{t+1}^{(i)}", r"\overleftarrow{h}_{t-1}^{(i)}", False),
        (TRANSLATION, "d_t = f(V^{(hh)}d_{t-1})", "d_t = f(2 V^{(hh)}d_{t-1})", False),
        (TRANSLATION, "d_0 = h_S", "d_0 = h_1", False),
        (TRANSLATION, "d_0 = h_S", r"d_0 = \tanh(h_S)", False),
        (TRANSLATION, "V^{(hh)}", "R^{(hh)}", False),
    ],
)
def test_a_reference_is_found_by_tables_and_forward_pass(
    heading: str, printed: str, instead: str, is_known: bool, tmp_path: Path
) -> None:
    """The same symbols with another equation are another model, and its gradient must not be held against this one's."""
    page = PAGE[PAGE.index(f"## {heading}\n") :]
    page = page[: page.find("\n## ", 1)]
    assert printed in page
    assert (reference_of(page.replace(printed, instead), heading, tmp_path) is not None) is is_known


# --- faults ----------------------------------------------------------------------------------------------------------

FAULTS = {
    "the net from left to right walked its own way": (
        DEEP, "bidirectional", "for t in reversed(range(T)):\n            right.backward", "for t in range(T):\n            right.backward",
    ),
    "the net from right to left walked its own way": (
        DEEP, "bidirectional", "for t in range(T):\n            left.backward", "for t in reversed(range(T)):\n            left.backward",
    ),
    "a layer that hands nothing down": (
        DEEP, "bidirectional", "        d_top = d_x\n", "        d_top = np.zeros_like(d_x)\n",
    ),
    "the parameters of the layer above": (
        "rnn --layers 3 --bidirectional", "bidirectional", "right.backward(p, cells", "right.backward(above(p, pairs, i), cells",
    ),
    "the layer above left out": (
        "LSTM network forward", "lstm_network", "else d[layers[l - 1].h][t]", "else 0 * d[layers[l - 1].h][t]",
    ),
    "nothing sent back by the next step": (
        "LSTM network forward", "layer", "= d[self.name(state)][before]", "= 0 * d[self.name(state)][before]",
    ),
    "the last step alone for the sum over steps": ("LSTM network forward", "lstm_network", "d.W_o += ", "d.W_o = "),
    "a softmax of which each element has its own gradient alone": (
        "LSTM network forward", "softmax", "(d_y[:, np.newaxis] - d_y)", "(d_y[:, np.newaxis] - 0 * d_y)",
    ),
    "the gradient of a word's projection overwritten": ("Modelling language", "lstm_network", "d.P += ", "d.P = "),
    "the word of this step for the next one": (
        "Modelling language", "lstm_network", "(s.Y[t] - one_hot(s.w_next[t]", "(s.Y[t] - one_hot(s.w[t]",
    ),
    "nothing from decoder to encoder": ("Translation, equations (23) to (26)", "encoders", "d.h[self.last(s)] += d_end", "pass"),
    "the decoder's start handed to the first word": (
        "Translation, equations (23) to (26)", "encoders", "d.h[self.last(s)] += d_end", "d.h[0] += d_end",
    ),
    "shared weights counted in the decoder alone": ("Translation, equations (23) to (26)", "encoders", "d.W_hh += ", "d.W_hh + "),
    "a source that was read backwards walked as if it weren't": (
        "Translation, extension V", "encoders", "in reversed(self.steps(s))", "in self.steps(s)",
    ),
    "the ends of the two directions exchanged": (
        "Translation, extension IV", "encoders", "d.h_left[0] += d_end", "d.h_left[len(s.x) - 1] += d_end",
    ),
    "what is predicted not fed back": (
        "Translation, extension II and equation (27)", "translation", "d.y_hat[t - 1] += p.V_hy.T @ d_b", "pass",
    ),
    "the context read at the first step alone": (
        "Translation, extension II and equation (27)", "translation", "d_c += p.V_hc.T @ d_b", "d_c = p.V_hc.T @ d_b",
    ),
    "the encoder's top read by the first layer alone": (
        "Translation, extension III", "translation_layers", 'd_c += p[f"R_{i}"].T @ d_b', 'd_c += (i == 1) * p[f"R_{i}"].T @ d_b',
    ),
    "nothing from the second network to the first": (
        "A posteriori sequence to sequence", "sequence_to_sequence", "d.h[S - 1] += d.g[-1]", "pass",
    ),
}  # fmt: skip
"""What is wrong: (the section or command, the file, what stands there, what stands there instead)."""


def above(p: Any, pairs: Any, i: int) -> Any:
    """The parameters of the next layer under the names of this one; of the top layer its own."""
    if i + 1 == len(pairs) or i == 0:  # the first layer's matrices have other shapes
        return p
    names = zip(pairs[i][0].parameters, pairs[i + 1][0].parameters, strict=True)
    return type(p)({**p, **{mine: p[other] for mine, other in names}})


def planted(monkeypatch: pytest.MonkeyPatch, file: str, printed: str, instead: str) -> None:
    """Every function and method of a file of references as it is with another text."""
    module = importlib.import_module(f"verify.handwritten.{file}")
    text = inspect.getsource(module)
    assert text.count(printed) == 1
    namespace = dict(vars(module)) | {"above": above}
    exec(compile(text.replace(printed, instead), f"{file}.py", "exec"), namespace)
    for name, one in list(vars(module).items()):
        if inspect.isfunction(one) and one.__module__ == module.__name__:
            monkeypatch.setattr(one, "__code__", namespace[name].__code__)
        elif inspect.isclass(one) and one.__module__ == module.__name__:
            for method, own in vars(one).items():
                if inspect.isfunction(own) and method in ("forward", "backward"):
                    monkeypatch.setattr(own, "__code__", vars(namespace[name])[method].__code__)
    monkeypatch.setattr(module, "above", above, raising=False)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_in_a_reference_is_seen(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the complex step of the reference's own forward pass, and by the verifier, which says that it is the reference that differs."""
    where, file, printed, instead = FAULTS[fault]
    cell, module, hand = derived(where)
    problem = Problem(reference(where), ordered=[4] * len(SIZES))  # so that any matrix fits
    assert max(errors(problem, problem.gradients()).values()) < problem.tolerance
    planted(monkeypatch, file, printed, instead)
    assert max(errors(problem, problem.gradients()).values()) > 1e-6
    assert handwritten_for(cell.name, module) is not None  # the forward pass is what it was
    kernel = Kernel(module, cell.name)
    data = draw(kernel.dims, ORDINARY)
    _, tape = hand.forward(data.parameters, data.inputs, data.state)
    found, expected = kernel.flat(hand.backward(data.parameters, tape, data.cotangents)), kernel.gradients(data)
    wrong = {block for block in expected if relative(found[block], expected[block]) > tolerance("emitted", "hand-written").value}
    assert wrong


def test_the_verdict_blames_the_reference(monkeypatch: pytest.MonkeyPatch) -> None:
    where, *edit = FAULTS["nothing from decoder to encoder"]
    cell, module, hand = derived(where)
    planted(monkeypatch, *edit)
    report = check(module, name=cell.name, hand=hand, quick=True)
    assert not report.passed
    said = [finding.line() for finding in report.failures()]
    assert said
    assert all("hand-written differs" in line for line in said), said


# --- the contract ----------------------------------------------------------------------------------------------------

every_kind = pytest.mark.parametrize("where", [*PAGE_OF, COMMANDS[0]])


@every_kind
@pytest.mark.parametrize("dtype", ["float32", "float64", "complex128"])
@pytest.mark.parametrize("lengths", [LENGTHS, {**LENGTHS, "S": 0, "T": 0}, {**LENGTHS, "S": 0}, {**LENGTHS, "T": 0}])
def test_dtype_and_shapes_are_those_of_the_primals(where: str, dtype: str, lengths: dict[str, int]) -> None:
    problem = Problem(reference(where), dtype, lengths)
    outputs, tape = problem.network.forward(problem.parameters, problem.inputs, problem.state)
    shapes = {name: (array.shape, array.dtype.name) for name, array in outputs.items()}
    assert shapes == {name: (array.shape, dtype) for name, array in problem.cotangents.items()}
    gradients = flat(problem.network.backward(problem.parameters, tape, problem.cotangents))
    found = {block: (array.shape, array.dtype.name) for block, array in gradients.items()}
    assert found == {block: (array.shape, dtype) for block, array in problem.primals()}


@pytest.mark.parametrize("where", ["Translation, extension IV", "A posteriori sequence to sequence"])
@pytest.mark.parametrize("axis", ["S", "T"])
def test_gradients_without_a_step_are_those_of_the_start(where: str, axis: str) -> None:
    """Without a source the decoder starts with the initial state; without a translation the encoder is all that there is."""
    problem = Problem(reference(where), lengths={**LENGTHS, axis: 0})
    gradients = problem.gradients()
    for name, array in problem.state.items():
        direction = problem.random.standard_normal(array.shape)
        expected = problem.slope(f"state.{name}", direction)
        found = float((gradients[f"state.{name}"] * direction).sum())
        assert abs(found - expected) < problem.tolerance * np.linalg.norm(gradients[f"state.{name}"]) * np.linalg.norm(direction)
        assert expected != 0


@every_kind
def test_float32_agrees_with_float64(where: str) -> None:
    double = Problem(reference(where))
    single = Problem(reference(where), "float32")
    expected = double.gradients()
    for block, array in single.gradients().items():
        assert relative(array.astype(float), expected[block]) < single.tolerance, block


@every_kind
def test_complex_gradients_are_the_analytic_continuation(where: str) -> None:
    """A conjugate anywhere would show at a truly complex point: differences from four sides of it. They leave h^4 f^(5) / 5! of
    truncation and the roundings of the loss over h, h = 1e-3; a fifth derivative of 1e4 gradients leaves 1e-10, and the rounding less."""
    problem, h = Problem(reference(where), "complex128"), 1e-3
    gradients = problem.gradients()
    for block, array in problem.primals():
        direction, kept, total = problem.random.standard_normal(array.shape), array.copy(), 0
        direction /= np.linalg.norm(direction)
        for side in (1, -1, 1j, -1j):
            array[...] = kept + side * h * direction
            total += problem.loss() / side
        array[...] = kept
        error = abs(total / (4 * h) - (gradients[block] * direction).sum())
        assert error < 1e-9 * np.linalg.norm(gradients[block]), block


@every_kind
def test_calls_leave_alone_what_they_are_given(where: str) -> None:
    """Arguments stay as they are, a tape serves twice, results can be overwritten, a missing cotangent is zero, no state is zeros."""
    problem = Problem(reference(where))
    parts = ("parameters", "inputs", "state", "cotangents")
    before = [{name: array.copy() for name, array in getattr(problem, part).items()} for part in parts]
    outputs, tape = problem.network.forward(problem.parameters, problem.inputs, problem.state)
    first = flat(problem.network.backward(problem.parameters, tape, problem.cotangents))
    kept = {block: array.copy() for block, array in first.items()}
    for array in itertools.chain(outputs.values(), first.values()):
        array[...] = np.nan
    second = flat(problem.network.backward(problem.parameters, tape, problem.cotangents))
    assert all(np.array_equal(second[block], kept[block]) for block in kept)
    for part, arrays in zip(parts, before, strict=True):
        assert all(np.array_equal(getattr(problem, part)[name], array) for name, array in arrays.items())
    assert all(not array.any() for array in flat(problem.network.backward(problem.parameters, tape, {})).values())
    zeros = {name: np.zeros_like(array) for name, array in problem.state.items()}
    without, given = (problem.network.forward(problem.parameters, problem.inputs, state)[0] for state in (None, zeros))
    assert all(np.array_equal(without[name], given[name]) for name in given)


@every_kind
def test_any_memory_layout_is_accepted(where: str) -> None:
    plain, other = Problem(reference(where)), Problem(reference(where))
    for part in (other.parameters, other.inputs, other.state, other.cotangents):
        for name, array in part.items():
            wide = np.zeros((*array.shape[:-1], 2 * array.shape[-1]), array.dtype)
            wide[..., ::2] = array
            part[name] = np.asfortranarray(wide)[..., ::2]
    expected = plain.gradients()
    for block, array in other.gradients().items():
        assert relative(array, expected[block]) < plain.tolerance, block


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (lambda q: q.parameters.pop("E"), "forward: parameters: wrong names: expected W_1.*, got W_1.*Add"),
        (lambda q: q.parameters.update(W_2=np.zeros((6, 4))), r"forward: parameters: W_2: wrong shape: expected \(6, 3\), got \(6, 4\)"),
        (lambda q: q.parameters.update(b_2=np.zeros((6, 1))), r"forward: parameters: b_2: wrong shape: expected \(6,\), got \(6, 1\)"),
        (lambda q: q.parameters.update(E=np.zeros((7, 8), "f4")), "forward: parameters: E: mixed dtypes: expected float64, got float32"),
        (lambda q: q.parameters.update(W_1=np.zeros((4, 3), int)), "forward: W_1: dtype: expected one of .*, got int64"),
        (lambda q: q.inputs.update(x=np.zeros((4, 3))), r"forward: x: wrong shape: expected \(S, B, 4\), got \(4, 3\)"),
        (lambda q: q.inputs.pop("w"), "forward: inputs: wrong names: expected x, w_prev, w, got x, w_prev"),
        (lambda q: q.inputs.update(w=q.inputs["w"] + 8), "forward: w: out of range: expected whole numbers from 0 to 7, got"),
        (lambda q: q.inputs.update(w=q.inputs["w"] - 8), "forward: w: out of range: expected whole numbers from 0 to 7, got -"),
        (lambda q: q.inputs.update(w=q.inputs["w"] * 1.0), "forward: w: dtype: expected whole numbers, got float64"),
        (lambda q: q.inputs.update(w=q.inputs["w"][1:]), r"forward: w: wrong shape: expected \(5, 2\), got \(4, 2\)"),
        (lambda q: q.state.pop("h_2"), "forward: state: wrong names: expected h_1, h_2, d_1, d_2, got h_1, d_1, d_2"),
        (lambda q: q.state.update(h_2=np.zeros((1, 6))), r"forward: state: h_2: wrong shape: expected \(2, 6\), got \(1, 6\)"),
        (lambda q: q.cotangents.update(z=np.zeros(1)), "backward: cotangents: wrong names: expected h_1.*, got .*z"),
        (lambda q: q.cotangents.update(J=np.zeros((5, 2))), r"backward: cotangents: J: wrong shape: expected \(2,\), got \(5, 2\)"),
        (lambda q: q.cotangents.update(h_1=np.zeros((5, 2, 3))), r"backward: cotangents: h_1: wrong shape: expected \(4, 2, 3\), got"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused(break_it: Callable[[Problem], object], message: str) -> None:
    problem = Problem(reference("Translation, extension III"))
    break_it(problem)
    with pytest.raises(ValueError, match=message):
        problem.gradients()
