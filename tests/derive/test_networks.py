"""Networks along one time: values of an example, ends of steps, sums over them, starts that are computed.

Outputs against the equations written out by hand, every function of the kernel against complex steps, the verifier with planted faults.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from types import ModuleType

import numpy as np
import pytest
import sympy as sp
from sympy import MatrixExpr as Matrix

from derive.along import largest_along, mean_along, pick, softmax_along, sum_along
from derive.cell import Cell, CellError
from derive.compiler import compile_cell
from derive.derivation import derive
from derive.language import Value, X, apply, dimension, hadamard, matrix, transpose, vector
from derive.reductions import squared_norm
from derive.sheet import text
from tests import arguments as args
from tests import bounds
from tests.arguments import Arrays, Call, draw
from tests.kernels import module_of, verdict

D, H, K, E = (dimension(name) for name in "DHKE")
x, h, y, e, alpha = Value("x", D), Value("h", H), Value("y", K), Value("e", 1), Value("alpha", 1)


def once(name: str, rows: sp.Expr) -> Value:
    """One value an example."""
    return Value(name, rows, axes=("B",))


def tanh(node: Matrix) -> Matrix:
    return apply(sp.tanh(X), node)


def network(name: str, *equations: tuple[Value, Matrix], starts: tuple[tuple[Value, Value], ...] = (), shown: str = "") -> Cell:
    cell = Cell(name, name, equations, starts=starts, shown=frozenset(shown.split()))
    cell.check()
    return cell


RNN = (h, tanh(matrix("W", H, D) @ x + matrix("U", H, H) @ h.prev + vector("b", H)))
LEFT = (h, tanh(matrix("W", H, D) @ x + matrix("U", H, H) @ h.like(lag=1) + vector("b", H)))
c, z, v, r = once("c", H), once("z", K), once("v", E), Value("r", K)
h_0, d_0, J, J_t, d = once("h_0", H), once("d_0", K), once("J", 1), Value("J_t", 1), Value("d", K)
READ = tanh(matrix("V", K, H) @ pick(h, "T", "last") + vector("a", K))
NETWORKS: dict[str, Cell] = {
    "last": network("last", RNN, (z, READ)),
    "last_of_the_left": network("left", LEFT, (z, matrix("V", K, H) @ (pick(h, "T", "first") + pick(h, "T", "last")))),
    "caption": network(
        "caption",
        RNN,
        (h_0, tanh(matrix("A", H, E) @ v)),
        (y, matrix("V", K, H) @ h),
        (J_t, squared_norm(y - r)),
        (J, mean_along(J_t, "T")),
        starts=((h.prev, h_0),),
        shown="J_t",
    ),
    "pooled": network(
        "pooled",
        RNN,
        (e, transpose(vector("w", H)) @ tanh(matrix("M", H, H) @ h)),
        (alpha, softmax_along(e, "T")),
        (c, sum_along(hadamard(alpha, h), "T")),
        (y, tanh(matrix("V", K, H) @ h + matrix("C", K, H) @ c)),
    ),
    "largest": network("largest", RNN, (c, tanh(largest_along(h, "T"))), (z, matrix("V", K, H) @ (c + pick(h, "T", "first")))),
    "two": network(
        "two",
        RNN,
        (d_0, READ),
        (d, tanh(matrix("R", K, K) @ d.prev + matrix("S", K, H) @ h + matrix("Z", K, H) @ pick(h, "T", "last"))),
        starts=((d.prev, d_0),),
    ),
    "counted": network("counted", RNN, (z, sum_along(matrix("V", K, H) @ h + vector("a", K), "T"))),
}
every = pytest.mark.parametrize("name", NETWORKS)


@functools.cache
def kernel_of(name: str) -> ModuleType:
    return module_of(compile_cell(NETWORKS[name]), name)


# ---- forward, written out


def states(call: Call, left: bool = False, start: np.ndarray | None = None) -> np.ndarray:
    p, steps = call.parameters, call.inputs["x"]
    state, found = call.state["h"] if start is None else start, np.empty((*steps.shape[:2], p["b"].size))
    for t in range(len(steps))[:: -1 if left else 1]:
        state = found[t] = np.tanh(steps[t] @ p["W"].T + state @ p["U"].T + p["b"])
    return found


def last(call: Call) -> Arrays:
    found = states(call)
    return {"h": found, "z": np.tanh(found[-1] @ call.parameters["V"].T + call.parameters["a"])}


def last_of_the_left(call: Call) -> Arrays:
    found = states(call, left=True)
    return {"h": found, "z": (found[0] + found[-1]) @ call.parameters["V"].T}


def caption(call: Call) -> Arrays:
    found = states(call, start=np.tanh(call.inputs["v"] @ call.parameters["A"].T))
    losses = ((found @ call.parameters["V"].T - call.inputs["r"]) ** 2).sum(-1)
    return {"h": found, "J_t": losses, "J": losses.mean(0)}


def pooled(call: Call) -> Arrays:
    p, found = call.parameters, states(call)
    weights = np.exp(np.tanh(found @ p["M"].T) @ p["w"])
    context = (found * (weights / weights.sum(0))[..., None]).sum(0)
    return {"h": found, "y": np.tanh(found @ p["V"].T + context @ p["C"].T)}


def largest(call: Call) -> Arrays:
    found = states(call)
    return {"h": found, "z": (np.tanh(found.max(0)) + found[0]) @ call.parameters["V"].T}


def two(call: Call) -> Arrays:
    p, found = call.parameters, states(call)
    state, decoded = np.tanh(found[-1] @ p["V"].T + p["a"]), []
    for one in found:
        state = np.tanh(state @ p["R"].T + one @ p["S"].T + found[-1] @ p["Z"].T)
        decoded.append(state)
    return {"h": found, "d": np.array(decoded)}


def counted(call: Call) -> Arrays:
    found = states(call)
    return {"h": found, "z": (found @ call.parameters["V"].T + call.parameters["a"]).sum(0)}


WRITTEN: dict[str, Callable[[Call], Arrays]] = {
    function.__name__: function for function in (last, last_of_the_left, caption, pooled, largest, two, counted)
}


@every
def test_outputs_are_those_of_the_equations_written_out(name: str) -> None:
    call = draw(kernel_of(name), T=5)
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
    assert args.worst(found, expected)[0] < bounds.of_second(NETWORKS[name], call, args.SIZES)


@every
def test_no_steps_and_checkpoints(name: str) -> None:
    kernel = kernel_of(name)
    call = draw(kernel)
    kept, lean = kernel.forward(*call.groups(), checkpoint_every=3)
    assert args.worst(kept, args.forward(kernel, call)[0])[0] == 0
    assert args.worst(args.backward(kernel, call, lean), args.backward(kernel, call))[0] == 0
    none = draw(kernel, 0)
    outputs = args.forward(kernel, none)[0]
    assert all(np.isfinite(array).all() for array in outputs.values())
    # at no step a loss of the last state is one of the initial one
    assert args.worst(args.backward(kernel, none), args.by_complex_step(kernel, none))[0] < bounds.of_call(none)


def test_the_tables_say_what_has_one_value_an_example() -> None:
    kernel = kernel_of("caption")
    assert kernel.AXES == {"v": None, "J": None}
    assert kernel.STATES == {}
    assert kernel.OUTPUTS == {"h": ("H",), "J_t": (), "J": ()}
    assert not hasattr(kernel_of("pooled"), "AXES")
    call = draw(kernel)
    with pytest.raises(ValueError, match=r"inputs\['v'\]: wrong shape: expected \(B = 3, E = 5\), got \(4, 3, 5\)"):
        kernel.forward(call.parameters, call.inputs | {"v": np.zeros((4, 3, 5))}, {})
    with pytest.raises(ValueError, match=r"cotangents\['J'\]: wrong shape: expected \(B = 3,\), got \(4, 3\)"):
        kernel.backward(call.parameters, args.forward(kernel, call)[1], {"J": np.zeros((4, 3))})


def test_a_parameter_inside_a_sum_over_steps_counts_at_each_of_them() -> None:
    kernel = kernel_of("counted")
    call = draw(kernel, T=6)
    gradient = kernel.backward(call.parameters, args.forward(kernel, call)[1], {"z": call.cotangents["z"]}).parameters["a"]
    assert args.error(gradient, 6 * call.cotangents["z"].sum(0)) < bounds.of_call(call)


# ---- the sheet and refusals


def test_the_sheet_says_what_crosses_from_one_recurrence_to_the_other() -> None:
    sheet = text(derive(NETWORKS["two"]))
    assert "∂L/∂d_0 = ∂L/∂dₜ₋₁|t=1" in sheet
    assert "what the recurrence starts with" in sheet
    assert "+ [t = T] ∂L/∂h_T" in sheet
    assert "d_0 = tanh(V h_T + a)" in sheet
    loss = text(derive(NETWORKS["caption"]))
    assert "J = Σₜ Jₜ / T" in loss
    assert "L = L_0 + Σₜ Lₜ" in loss


@pytest.mark.parametrize(
    ("equations", "said"),
    [
        ((RNN, (d, tanh(matrix("R", K, K) @ d.prev + matrix("Z", K, K) @ pick(d, "T", "last")))), "d"),
        (((c, sum_along(h, "T")), (h, tanh(matrix("W", H, D) @ x + matrix("U", H, H) @ c))), "c, h"),
    ],
)
def test_what_needs_its_own_value_at_all_steps_is_refused_by_name(equations, said: str) -> None:
    with pytest.raises(CellError, match=f"{said}: . is made of all steps of a recurrence and read in it"):
        network("circle", *equations)


def test_a_start_is_one_value_an_example_of_the_shape_of_the_state() -> None:
    with pytest.raises(CellError, match=r"h_0 starts h: expected one value an example, \(H,\), got \(K,\)"):
        network("start", RNN, (once("h_0", K), vector("a", K) + 0 * matrix("Q", K, E) @ v), starts=((h.prev, once("h_0", K)),))


# ---- the verifier


@every
def test_a_network_is_verified(name: str) -> None:
    assert verdict(NETWORKS[name], contract=True)


FAULTS = [
    ("last", "u_z = h_all[-1]", "u_z = h_all[0]"),
    ("last", "carry_h = end_carry_h", "carry_h = 0 * end_carry_h"),
    ("two", "d_all[0] = d_0", "d_all[0] = 0 * d_0"),
    ("caption", "d_u_J = d_J * (1 / max(T, 1))", "d_u_J = d_J"),
    ("counted", "d_a_z_all.sum(axis=(0, 1))", "d_a_z_all.mean(axis=0).sum(axis=0)"),
    ("pooled", "softmax_along(e_all, 0)", "softmax_along(e_all, 1)"),
]


@pytest.mark.parametrize(("name", "right", "wrong"), FAULTS)
def test_a_planted_fault_is_seen(name: str, right: str, wrong: str) -> None:
    assert not verdict(NETWORKS[name], right, wrong)
