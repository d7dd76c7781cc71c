"""Networks along two axes of steps, a source S and a target T: encoder and decoder, attention, memories that are read as a whole.

Outputs against the equations written out by hand, every function of the kernel against complex steps.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import sympy as sp
from sympy import MatrixExpr as Matrix

from derive.along import mean_along, pick, softmax_along, sum_along
from derive.cell import Cell, CellError
from derive.compiler import compile_cell
from derive.language import Value, X, apply, dimension, hadamard, matrix, transpose, vector
from derive.pages import read
from derive.reductions import softmax
from tests import arguments as args
from tests import bounds
from tests.arguments import Arrays, Call, draw
from tests.kernels import module_of, verdict
from verify.__main__ import main

ROOT = Path(__file__).parents[2]
D, E, H, K, M = (dimension(name) for name in "DEHKM")
SOURCE, BOTH = ("S", "B"), ("T", "S", "B")
x, h, y, d = Value("x", D, axes=SOURCE), Value("h", H, axes=SOURCE), Value("y", E), Value("d", K)
c, d_0 = Value("c", H, axes=("B",)), Value("d_0", K, axes=("B",))


def tanh(node: Matrix) -> Matrix:
    return apply(sp.tanh(X), node)


def network(*equations: tuple[Value, Matrix], starts: tuple[tuple[Value, Value], ...] = (), shown: str = "") -> Cell:
    cell = Cell("network", "network", equations, starts=starts, shown=frozenset(shown.split()))
    cell.check()
    return cell


ENCODER = (h, tanh(matrix("W", H, D) @ x + matrix("U", H, H) @ h.prev + vector("b", H)))
LEFTWARD = (h, tanh(matrix("W", H, D) @ x + matrix("U", H, H) @ h.like(lag=1) + vector("b", H)))
START = (d_0, tanh(matrix("V", K, H) @ pick(h, "S", "last")))
DECODER = (d, tanh(matrix("Q", K, E) @ y + matrix("R", K, K) @ d.prev + vector("a", K)))
e, alpha, context = Value("e", 1, axes=BOTH), Value("alpha", 1, axes=BOTH), Value("context", H)
SCORE = transpose(vector("v", M)) @ tanh(matrix("A", M, K) @ d.prev + matrix("G", M, H) @ h)
ATTENTION = (
    ENCODER,
    START,
    (e, SCORE),
    (alpha, softmax_along(e, "S")),
    (context, sum_along(hadamard(alpha, h), "S")),
    (d, tanh(matrix("Q", K, E) @ y + matrix("R", K, K) @ d.prev + matrix("C", K, H) @ context)),
)
z = Value("z", K)
NETWORKS: dict[str, Cell] = {
    "encoder_decoder": network(ENCODER, START, DECODER, starts=((d.prev, d_0),)),
    "context_everywhere": network(
        LEFTWARD,
        (c, mean_along(h, "S")),
        (d, tanh(matrix("Q", K, E) @ y + matrix("R", K, K) @ d.prev + matrix("C", K, H) @ c)),
        (z, softmax(matrix("P", K, K) @ d)),
    ),
    "bahdanau": network(*ATTENTION, starts=((d.prev, d_0),), shown="context"),
    "luong": network(
        ENCODER,
        START,
        DECODER,
        (e, transpose(d) @ matrix("A", K, H) @ h),
        (alpha, softmax_along(e, "S")),
        (context, sum_along(hadamard(alpha, h), "S")),
        (z, tanh(matrix("C", K, H) @ context + matrix("P", K, K) @ d)),
        starts=((d.prev, d_0),),
        shown="alpha",
    ),
}
every = pytest.mark.parametrize("name", NETWORKS)


@functools.cache
def kernel_of(name: str) -> ModuleType:
    return module_of(compile_cell(NETWORKS[name]), name)


# ---- forward, written out


def encoded(call: Call, left: bool = False) -> np.ndarray:
    p, steps = call.parameters, call.inputs["x"]
    state, found = call.state["h"], np.empty((*steps.shape[:2], p["b"].size))
    for s in range(len(steps))[:: -1 if left else 1]:
        state = found[s] = np.tanh(steps[s] @ p["W"].T + state @ p["U"].T + p["b"])
    return found


def decoded(call: Call, state: np.ndarray, step: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> np.ndarray:
    found = []
    for one in call.inputs["y"]:
        state = step(one, state)
        found.append(state)
    return np.array(found)


def plain(call: Call) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    p = call.parameters
    return lambda one, state: np.tanh(one @ p["Q"].T + state @ p["R"].T + p["a"])


def encoder_decoder(call: Call) -> Arrays:
    source = encoded(call)
    return {"h": source, "d": decoded(call, np.tanh(source[-1] @ call.parameters["V"].T), plain(call))}


def context_everywhere(call: Call) -> Arrays:
    p, source = call.parameters, encoded(call, left=True)
    given = source.mean(0) @ p["C"].T
    target = decoded(call, call.state["d"], lambda one, state: np.tanh(one @ p["Q"].T + state @ p["R"].T + given))
    scores = np.exp(target @ p["P"].T)
    return {"h": source, "d": target, "z": scores / scores.sum(-1, keepdims=True)}


def weights(scores: np.ndarray) -> np.ndarray:
    found = np.exp(scores)
    return found / found.sum(0)


def bahdanau(call: Call) -> Arrays:
    p, source = call.parameters, encoded(call)
    contexts = []

    def step(one: np.ndarray, state: np.ndarray) -> np.ndarray:
        alpha = weights(np.tanh(state @ p["A"].T + source @ p["G"].T) @ p["v"])
        contexts.append((alpha[..., None] * source).sum(0))
        return np.tanh(one @ p["Q"].T + state @ p["R"].T + contexts[-1] @ p["C"].T)

    target = decoded(call, np.tanh(source[-1] @ p["V"].T), step)
    return {"h": source, "context": np.array(contexts), "d": target}


def luong(call: Call) -> Arrays:
    p, source = call.parameters, encoded(call)
    target = decoded(call, np.tanh(source[-1] @ p["V"].T), plain(call))
    alpha = np.array([weights(((state @ p["A"]) * source).sum(-1)) for state in target])
    context = (alpha[..., None] * source).sum(1)
    return {"h": source, "d": target, "alpha": alpha, "z": np.tanh(context @ p["C"].T + target @ p["P"].T)}


WRITTEN: dict[str, Callable[[Call], Arrays]] = {
    function.__name__: function for function in (encoder_decoder, context_everywhere, bahdanau, luong)
}


@every
def test_outputs_are_those_of_the_equations_written_out(name: str) -> None:
    call = draw(kernel_of(name), T=4)
    found = args.forward(kernel_of(name), call)[0]
    assert args.worst(found, WRITTEN[name](call))[0] < bounds.of_call(call)


# ---- every function against complex steps


@every
@pytest.mark.parametrize("steps", [1, 4])
def test_gradients_tangents_and_second_order_are_those_of_complex_steps(name: str, steps: int) -> None:
    kernel = kernel_of(name)
    call, direction = draw(kernel, steps), draw(kernel, steps, seed=1)
    allowed = bounds.of_call(call)
    assert args.worst(args.backward(kernel, call), args.by_complex_step(kernel, call))[0] < allowed
    assert args.worst(args.jvp(kernel, call, direction), args.tangents_by_complex_step(kernel, call, direction))[0] < allowed
    found, expected = args.hvp(kernel, call, direction), args.hvp_by_complex_step(kernel, call, direction)
    assert args.worst(found, expected)[0] < bounds.of_second(NETWORKS[name], call, args.SIZES | {"T": steps})


@every
def test_no_steps_of_either_axis_and_checkpoints(name: str) -> None:
    kernel = kernel_of(name)
    call = draw(kernel)
    kept, lean = kernel.forward(*call.groups(), checkpoint_every=3)
    assert args.worst(kept, args.forward(kernel, call)[0])[0] == 0
    assert args.worst(args.backward(kernel, call, lean), args.backward(kernel, call))[0] == 0
    for none in (draw(kernel, 0), draw(kernel, sizes={"S": 0}), draw(kernel, 0, sizes={"S": 0})):
        outputs = args.forward(kernel, none)[0]
        assert all(np.isfinite(array).all() for array in outputs.values())
        assert args.worst(args.backward(kernel, none), args.by_complex_step(kernel, none))[0] < bounds.of_call(none)


def test_the_tables_say_along_which_axes_everything_lies() -> None:
    assert kernel_of("bahdanau").AXES == {"x": "S", "h": "S"}
    assert kernel_of("luong").AXES == {"x": "S", "h": "S", "alpha": ("T", "S")}
    call = draw(kernel_of("bahdanau"))
    with pytest.raises(ValueError, match=r"inputs\['y'\]: wrong shape: expected \(T = 4, B = 3, E = 5\)"):
        kernel_of("bahdanau").forward(call.parameters, call.inputs | {"y": np.zeros((4, 2, 5))}, call.state)
    with pytest.raises(ValueError, match=r"cotangents\['h'\]: wrong shape: expected \(S = 5, B = 3, H = 3\)"):
        kernel_of("bahdanau").backward(call.parameters, args.forward(kernel_of("bahdanau"), call)[1], {"h": np.zeros((4, 3, 3))})


def test_each_recurrence_has_a_step_jacobian_of_its_own() -> None:
    kernel = kernel_of("context_everywhere")
    call = draw(kernel)
    outputs, tape = args.forward(kernel, call)
    found = kernel.step_jacobian(call.parameters, tape)
    assert {name: array.shape for name, array in found.items()} == {"d": (4, 3, 4, 4), "h": (5, 3, 3, 3)}
    slopes = (1 - outputs["h"] ** 2)[..., None] * call.parameters["U"]
    assert args.error(found["h"], slopes) < bounds.of_call(call)
    slopes = (1 - outputs["d"] ** 2)[..., None] * call.parameters["R"]
    assert args.error(found["d"], slopes) < bounds.of_call(call)
    only = kernel_of("bahdanau")
    call = draw(only)
    assert only.step_jacobian(call.parameters, args.forward(only, call)[1]).shape == (5, 3, 3, 3)


def test_a_sum_over_the_steps_of_each_axis_stands_in_front_of_its_own_terms() -> None:
    """One matrix in the encoder and the decoder: no step of one is counted for each of the other."""
    text = compile_cell(read(ROOT / "examples/pages/004_networks.md").cell("Translation, equations (23) to (26)").cell)
    assert "# ∂L/∂W_hh = Σₛ ∂L/∂a_hₛ hₛ₋₁ᵀ + Σₜ ∂L/∂a_dₜ dₜ₋₁ᵀ\n" in text
    assert "ΣₜΣₛ" not in text


def test_an_axis_without_an_input_is_refused() -> None:
    learned = Value("g", K, axes=SOURCE)
    with pytest.raises(CellError, match="no input along S: expected one that says how many steps there are"):
        network((d, tanh(matrix("Q", K, E) @ y + sum_along(learned, "S"))), (learned, tanh(learned.prev)))


def test_a_recurrence_along_two_axes_is_refused() -> None:
    grid = Value("g", K, axes=BOTH)
    with pytest.raises(CellError, match="g varies along T and S and is read at a neighbour"):
        network(ENCODER, (grid, tanh(grid.prev + matrix("V", K, H) @ h + matrix("Q", K, E) @ y)))


# ---- the verifier


@every
def test_a_network_is_verified(name: str) -> None:
    assert verdict(NETWORKS[name], contract=True)


FAULTS = [
    ("encoder_decoder", "u_d_0 = h_all[-1]", "u_d_0 = h_all[1]"),
    ("encoder_decoder", "d_all[0] = d_0", "d_all[0] = 0 * d_0"),
    ("encoder_decoder", "carry_h = end_carry_h", "carry_h = 0 * end_carry_h"),
    ("context_everywhere", "1 / max(S, 1)", "1 / max(T, 1)"),
    ("context_everywhere", "for s in reversed(range(S)):", "for s in range(S):"),
    ("bahdanau", "softmax_along(e, 0)", "softmax_along(e, 1)"),
    ("bahdanau", "sum_carry_d = d_a_e", "sum_carry_d = 0 * d_a_e"),
    ("bahdanau", "alpha * (d_alpha - (alpha * d_alpha).sum(axis=0))", "alpha * d_alpha"),
    ("luong", "alpha_all.copy()", "alpha_all.copy() * np.linspace(1, 1.1, S)[:, None]"),
]


@pytest.mark.parametrize(("name", "right", "wrong"), FAULTS)
def test_a_planted_fault_is_seen(name: str, right: str, wrong: str) -> None:
    assert not verdict(NETWORKS[name], right, wrong)


def test_the_jacobian_analysis_refuses_a_file_of_several_axes(tmp_path, capsys) -> None:
    path = tmp_path / "network.py"
    path.write_text(compile_cell(NETWORKS["context_everywhere"]))
    assert main(["jacobian", str(path)]) == 2
    assert "AXES: h, x: not along the steps of one recurrence" in capsys.readouterr().err
