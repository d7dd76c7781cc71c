"""Emitted kernels against PyTorch autograd in float64: outputs and every gradient, for every built-in cell and variant.

Two references that share nothing with the derivation: a loop over the equations as a textbook prints them, and
`torch.nn`'s own recurrent modules for the variants it has.
"""

from collections import Counter
from itertools import product

import numpy as np
import pytest

from derive.cells.registry import build
from derive.compiler import FAST
from tests import bounds
from tests.kernels import kernel_of, kernel_of_cell
from tests.torch_threads import one_torch_thread  # noqa: F401 - pytest finds the fixture here

torch = pytest.importorskip("torch")

# No two sizes are equal, so that no transposed or swapped array can pass by its shape (U is square: its values tell).
SIZES = {"T": 7, "B": 4, "D": 6, "H": 5}

# Both sides are float64 and differ only in the order of their sums and in the last bits of tanh and exp; 12 matrices at most.
TOLERANCE = bounds.rounded(bounds.of_recurrence(steps=7, batch=4, fan_in=12 * 6))

ACTIVATIONS = {"tanh": torch.tanh, "sigmoid": torch.sigmoid, "relu": torch.relu, "identity": lambda a: a}

STATES = {"rnn": ("h",), "lstm": ("h", "c"), "gru": ("h",)}

# One row per cell, one column per choice: the options of a column exclude each other, the empty word is the default.
CHOICES = {
    "rnn": [("", *(f"--activation {name}" for name in ACTIVATIONS if name != "tanh")), ("", "--no-bias")],
    "lstm": [
        ("", "--peephole", "--peephole diagonal"),
        ("", "--candidate-peephole"),
        ("", "--no-bias", "--no-candidate-bias"),
    ],
    "gru": [("", "--reset after"), ("", "--update-gate state"), ("", "--no-bias", "--recurrent-bias")],
}
NEEDS = {"--candidate-peephole": "--peephole", "--recurrent-bias": "--reset after"}


def is_legal(words):
    return all(needed in words for option, needed in NEEDS.items() if option in words)


COMBINATIONS = [" ".join(filter(None, (cell, *chosen))) for cell in CHOICES for chosen in product(*CHOICES[cell])]
CELLS = [words for words in COMBINATIONS if is_legal(words)]
DEFAULTS_SPELLED_OUT = ["rnn --activation tanh", "lstm --peephole full", "gru --reset before --update-gate candidate"]


def parameters_of(words):
    """{parameter: names of its dimensions}, exactly those that the equations of these words read."""
    dimensions = {}
    for gate in {"rnn": ("",), "lstm": ("_i", "_f", "_o", "_c"), "gru": ("_z", "_r", "_h")}[words.split()[0]]:
        dimensions |= {f"W{gate}": ("H", "D"), f"U{gate}": ("H", "H")}
        if "--no-bias" not in words and not ("--no-candidate-bias" in words and gate == "_c"):
            dimensions[f"b{gate}"] = ("H",)
        if "--peephole" in words and (gate != "_c" or "--candidate-peephole" in words):
            dimensions |= {f"p{gate}": ("H",)} if "diagonal" in words else {f"P{gate}": ("H", "H")}
    return dimensions | ({"b_hh": ("H",)} if "--recurrent-bias" in words else {})


# The equations. x: (B, D) and states (B, H) hold one sequence per row, so that `W x` reads `x @ W.T`.
# A bias or peephole that the cell does not have counts as zero.


def affine(p, gate, x, h):
    return x @ p["W" + gate].T + h @ p["U" + gate].T + p.get("b" + gate, 0)


def peephole(p, gate, c):
    return c @ p["P" + gate].T if "P" + gate in p else p.get("p" + gate, 0) * c


def rnn(words, p, x, state):
    activation = next((a for name, a in ACTIVATIONS.items() if name in words), torch.tanh)
    return {"h": activation(affine(p, "", x, state["h"]))}


def lstm(words, p, x, state):
    h_prev, c_prev = state["h"], state["c"]
    i = torch.sigmoid(affine(p, "_i", x, h_prev) + peephole(p, "_i", c_prev))
    f = torch.sigmoid(affine(p, "_f", x, h_prev) + peephole(p, "_f", c_prev))
    c_tilde = torch.tanh(affine(p, "_c", x, h_prev) + peephole(p, "_c", c_prev))
    c = f * c_prev + i * c_tilde
    o = torch.sigmoid(affine(p, "_o", x, h_prev) + peephole(p, "_o", c))
    return {"h": o * torch.tanh(c), "c": c}


def gru(words, p, x, state):
    h_prev = state["h"]
    z = torch.sigmoid(affine(p, "_z", x, h_prev))
    r = torch.sigmoid(affine(p, "_r", x, h_prev))
    if "--reset after" in words:
        h_tilde = torch.tanh(x @ p["W_h"].T + p.get("b_h", 0) + r * (h_prev @ p["U_h"].T + p.get("b_hh", 0)))
    else:
        h_tilde = torch.tanh(affine(p, "_h", x, r * h_prev))
    if "--update-gate state" in words:
        return {"h": (1 - z) * h_tilde + z * h_prev}
    return {"h": (1 - z) * h_prev + z * h_tilde}


EQUATIONS = {"rnn": rnn, "lstm": lstm, "gru": gru}


def torch_nn(words, p, x, state):
    """One step of torch.nn's module on our parameters, stacked in its order of gates.

    Step by step, because over a whole sequence torch.nn.LSTM shows only the last c.
    It adds two biases, b_ih + b_hh; the second is zero here, except where GRU's reset gate scales it.
    """
    cell, sizes = words.split()[0], (SIZES["D"], SIZES["H"])
    zero = torch.zeros(SIZES["H"], dtype=torch.float64)
    if cell == "lstm":
        module, gates, b_hh = torch.nn.LSTM(*sizes), ("_i", "_f", "_c", "_o"), (zero, zero, zero, zero)
    elif cell == "gru":
        module, gates, b_hh = torch.nn.GRU(*sizes), ("_r", "_z", "_h"), (zero, zero, p["b_hh"])
    else:
        module, gates, b_hh = torch.nn.RNN(*sizes, nonlinearity="relu" if "relu" in words else "tanh"), ("",), (zero,)
    weights = {
        "weight_ih_l0": torch.cat([p["W" + gate] for gate in gates]),
        "weight_hh_l0": torch.cat([p["U" + gate] for gate in gates]),
        "bias_ih_l0": torch.cat([p["b" + gate] for gate in gates]),
        "bias_hh_l0": torch.cat(b_hh),
    }
    before = tuple(state[name][None] for name in STATES[cell])
    arguments = (x[None], before if cell == "lstm" else before[0])
    _, after = torch.func.functional_call(module.double(), weights, arguments, strict=True)
    return {name: array[0] for name, array in zip(STATES[cell], after if cell == "lstm" else (after,), strict=True)}


def leaves(arrays):
    return {name: torch.tensor(array, requires_grad=True) for name, array in arrays.items()}


def run_of_torch(step, words, parameters, x, state, cotangents):
    """(each state (T, B, H), the leaves by name, sum(cotangents * states))."""
    parameters, x, state = leaves(parameters), torch.tensor(x, requires_grad=True), leaves(state)
    steps = [state]
    for x_t in x:
        steps.append(step(words, parameters, x_t, steps[-1]))
    outputs = {name: torch.stack([after[name] for after in steps[1:]]) for name in state}
    loss = sum((torch.tensor(cotangents[name]) * outputs[name]).sum() for name in outputs)
    return outputs, parameters | {"x": x} | {f"{name}_0": array for name, array in state.items()}, loss


def blocks_of_torch(step, words, *call):
    """{block: array}: each state (T, B, H) and, by autograd, the gradient of sum(cotangents * states) in each leaf."""
    outputs, primals, loss = run_of_torch(step, words, *call)
    gradients = zip(primals, torch.autograd.grad(loss, list(primals.values())), strict=True)
    blocks = outputs | {f"d_{name}": gradient for name, gradient in gradients}
    return {name: block.detach().numpy() for name, block in blocks.items()}


def second_of_torch(step, words, tangents, *call):
    """{leaf: how its gradient moves along the tangents}, by double backward: the Hessian of the loss is symmetric."""
    _, primals, loss = run_of_torch(step, words, *call)
    leaves = list(primals.values())
    gradients = torch.autograd.grad(loss, leaves, create_graph=True)
    along = sum((gradient * torch.tensor(tangents[name])).sum() for name, gradient in zip(primals, gradients, strict=True))
    moved = torch.autograd.grad(along, leaves, materialize_grads=True)
    return {name: block.numpy() for name, block in zip(primals, moved, strict=True)}


def blocks_of_kernel(kernel, parameters, x, state, cotangents):
    """The same blocks from an emitted kernel."""
    outputs, tape = kernel.forward(parameters, {"x": x}, state)
    gradients = kernel.backward(parameters, tape, cotangents)
    primals = {**gradients.parameters, **gradients.inputs, **{f"{name}_0": d for name, d in gradients.state.items()}}
    return {**outputs, **{f"d_{name}": gradient for name, gradient in primals.items()}}


def call_of(words, seed=0):
    """(parameters, x, state, cotangents), random."""
    random = np.random.default_rng(seed)
    shape = {name: [SIZES[d] for d in dimensions] for name, dimensions in parameters_of(words).items()}
    parameters = {name: random.standard_normal(n) / np.sqrt(SIZES["H"]) for name, n in shape.items()}
    x = random.standard_normal([SIZES[d] for d in "TBD"])
    state = {name: random.standard_normal([SIZES[d] for d in "BH"]) for name in STATES[words.split()[0]]}
    return parameters, x, state, {name: random.standard_normal([SIZES[d] for d in "TBH"]) for name in state}


def assert_kernel_agrees(words, step):
    kernel = kernel_of(words)
    assert dict(kernel.PARAMETERS) == parameters_of(words)
    parameters, x, state, cotangents = call_of(words)

    expected = blocks_of_torch(step, words, parameters, x, state, cotangents)
    got = blocks_of_kernel(kernel, parameters, x, state, cotangents)
    assert {n: (a.shape, a.dtype) for n, a in got.items()} == {n: (a.shape, a.dtype) for n, a in expected.items()}
    differences = {n: np.linalg.norm(got[n] - expected[n]) / np.linalg.norm(expected[n]) for n in expected}
    beyond = {name: f"{difference:.1e}" for name, difference in differences.items() if not difference <= TOLERANCE}
    assert not beyond, f"{words}: kernel differs from torch: expected at most {TOLERANCE} per block, got {beyond}"


def test_the_enumeration_holds_every_legal_combination_once():
    # 4 activations x 2; (none + 2 peepholes x 2 candidates) x 3 biases; before 2 x 2 + after 2 x 3.
    assert Counter(words.split()[0] for words in set(CELLS)) == {"rnn": 8, "lstm": 15, "gru": 10}


@pytest.mark.parametrize("words", CELLS + DEFAULTS_SPELLED_OUT)
def test_kernel_agrees_with_autograd_on_the_equations(words):
    assert_kernel_agrees(words, EQUATIONS[words.split()[0]])


@pytest.mark.parametrize(
    "words", ["lstm", "gru --reset after --update-gate state --recurrent-bias", "rnn", "rnn --activation relu"]
)
def test_kernel_agrees_with_torch_nn(words):
    assert_kernel_agrees(words, torch_nn)


SECOND = bounds.rounded(bounds.of_recurrence(steps=2 * 7, batch=4, fan_in=2 * 12 * 6))
"""The tangent of a pass has two products for each of its, and runs beside it: 9e-14 of the norm of each block."""


@pytest.mark.parametrize("words", CELLS)
@pytest.mark.parametrize("passes", [(), FAST], ids=["textbook", "fast"])
def test_hvp_agrees_with_double_backward(words, passes):
    kernel = kernel_of_cell(build(words), passes)
    parameters, x, state, cotangents = call_of(words)
    tangents, dot_x, dot_state, _ = call_of(words, seed=1)
    moves = {**tangents, "x": dot_x, **{f"{name}_0": array for name, array in dot_state.items()}}
    expected = second_of_torch(EQUATIONS[words.split()[0]], words, moves, parameters, x, state, cotangents)
    second = kernel.hvp(parameters, {"x": x}, state, cotangents, tangents, {"x": dot_x}, dot_state)
    got = {**second.parameters, **second.inputs, **{f"{name}_0": block for name, block in second.state.items()}}
    assert {n: a.shape for n, a in got.items()} == {n: a.shape for n, a in expected.items()}
    for name, block in expected.items():
        # a block that is zero, as of a linear cell, is zero on both sides: no term of it is there
        assert np.linalg.norm(got[name] - block) <= SECOND * np.linalg.norm(block), name
