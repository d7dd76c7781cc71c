"""Tables, layouts, --map and --sizes of kernels whose quantities are numbers and matrices."""

from __future__ import annotations

import types
from typing import Any

import numpy as np
import pytest

import verify
from tests.verify.matrix_memory import cell, matrix_memory
from verify.data import ORDINARY, draw, vectors
from verify.kernel import Kernel, KernelError, checked
from verify.model import Model, model_of
from verify.relations import relations
from verify.size_words import axes_of


def module(**changes: Any) -> Any:
    """The kernel with a matrix memory, some of its names changed."""
    kernel = matrix_memory()
    return types.SimpleNamespace(**{**vars(kernel), **changes})


# ---- tables


def test_a_number_has_no_dimension_and_three_are_refused() -> None:
    assert checked(module(), "memory").INPUTS["m"] == ()
    with pytest.raises(KernelError, match=r"INPUTS\['m'\]: expected a tuple of dimension names, \(\) of a number"):
        checked(module(INPUTS={"x": ("D",), "m": ("A", "B", "C"), "A": ("N", "K")}), "memory")


@pytest.mark.parametrize(
    ("axes", "said"),
    [
        ({"x": 3}, "expected name -> an axis such as 'S'"),
        ({"A": ("T", "S", "U")}, "expected name -> an axis such as 'S'"),
        ({"C": None}, "C: a recurrence runs along one axis: expected its name, got None"),
        ({"C": ("T", "S")}, "C: a recurrence runs along one axis"),
    ],
)
def test_axes_that_are_none_are_refused(axes: dict[str, Any], said: str) -> None:
    with pytest.raises(KernelError, match=said):
        checked(module(AXES=axes), "memory")


def test_tokens_are_refused_and_axes_that_say_nothing_new_are_not() -> None:
    with pytest.raises(KernelError, match="TOKENS: x is an input of INPUTS too"):
        checked(module(TOKENS={"x": "V"}), "memory")
    assert checked(module(AXES={"x": "T", "C": ("T",)}, TOKENS={}), "memory")


def test_each_axis_of_a_block_has_a_name() -> None:
    assert axes_of("input A", 4) == ["step", "example", "row", "column"]
    assert axes_of("input m", 2) == ["step", "example"]
    assert axes_of("initial C", 3) == ["example", "row", "column"]
    assert axes_of("initial n", 2) == ["example", "unit"]
    assert axes_of("W", 2) == ["row", "column"]
    assert axes_of("alpha", 0) == []


def test_data_are_shaped_as_the_tables_say_and_numbers_stay_arrays() -> None:
    data = draw(Kernel(module(), "memory").dims, ORDINARY)
    assert isinstance(data.parameters["alpha"], np.ndarray)
    assert data.parameters["alpha"].shape == ()
    assert data.inputs["m"].shape == (5, 4)
    assert data.inputs["A"].shape == (5, 4, 3, 2)
    assert data.state["s"].shape == (4,)
    for other in (data.copy(), data.astype(np.float32), data.moved(1e-3, np.random.default_rng(0))):
        assert all(isinstance(array, np.ndarray) for array in other.flat().values())
    assert (vectors(data.inputs["A"])[..., 1] == data.inputs["A"][..., 0, 1]).all(), "row by row"


# ---- layouts


def turned(arrays: Any) -> Any:
    return {name: np.swapaxes(array, 0, 1) for name, array in arrays.items()}


def batch_first() -> Any:
    """The kernel with (B, T, ...) where it had (T, B, ...)."""
    inner = matrix_memory()

    def forward(parameters: Any, inputs: Any, state: Any = None) -> Any:
        outputs, tape = inner.forward(parameters, turned(inputs), state)
        return turned(outputs), tape

    def gradients(found: Any) -> Any:
        return types.SimpleNamespace(parameters=found.parameters, inputs=turned(found.inputs), state=found.state)

    def backward(parameters: Any, tape: Any, cotangents: Any) -> Any:
        return gradients(inner.backward(parameters, tape, turned(cotangents)))

    def hvp(parameters: Any, inputs: Any, state: Any, cotangents: Any, dp: Any, dx: Any, ds: Any) -> Any:
        return gradients(inner.hvp(parameters, turned(inputs), state, turned(cotangents), dp, turned(dx), ds))

    def jvp(parameters: Any, inputs: Any, state: Any, dp: Any, dx: Any, ds: Any) -> Any:
        return turned(inner.jvp(parameters, turned(inputs), state, dp, turned(dx), ds))

    def step_jacobian(parameters: Any, tape: Any) -> Any:
        return np.swapaxes(inner.step_jacobian(parameters, tape), 0, 1)

    return module(forward=forward, backward=backward, hvp=hvp, jvp=jvp, step_jacobian=step_jacobian)


def test_batch_first_holds_for_numbers_and_matrices() -> None:
    report = verify.check(batch_first(), quick=True, regimes=(ORDINARY,), batch_first=True, sizes=[{"B": 5}])
    assert report.passed, report.faults()
    assert {"jvp", "hvp", "step_jacobian"} <= {finding.check for finding in report.findings}
    with pytest.raises(KernelError, match="add --batch-first"):
        verify.check(batch_first(), quick=True, regimes=(ORDINARY,))


# ---- --map


def stacked() -> Any:
    """W_k and W_q as one matrix, the two learned numbers of the gates as one vector, C with n as its last row, s as a vector of one."""
    inner = matrix_memory()
    parameters = {n: d for n, d in inner.PARAMETERS.items() if n not in ("W_k", "W_q", "b_i", "b_f")}
    K = lambda p: len(p["W"]) // 2  # noqa: E731

    def unpacked(p: Any) -> Any:
        rest = {name: p[name] for name in parameters}
        return {**rest, "W_k": p["W"][: K(p)], "W_q": p["W"][K(p) :], "b_i": p["b"][0], "b_f": p["b"][1]}

    def packed(found: Any) -> Any:
        g = found.parameters
        rest = {name: g[name] for name in parameters}
        return {**rest, "W": np.concatenate([g["W_k"], g["W_q"]]), "b": np.stack([g["b_i"], g["b_f"]])}

    def started(state: Any) -> Any:
        return state and {"C": state["Cn"][:, :-1], "n": state["Cn"][:, -1], "s": state["s"][:, 0]}

    def shown(found: Any, axis: int) -> Any:
        last = {name: np.asarray(found[name]) for name in ("C", "n", "s")}
        return {"Cn": np.concatenate([last["C"], last["n"][..., None, :]], axis), "s": last["s"][..., None]}

    def forward(p: Any, inputs: Any, state: Any = None) -> Any:
        outputs, tape = inner.forward(unpacked(p), inputs, started(state))
        return {**{name: outputs[name] for name in ("y", "J", "R")}, **shown(outputs, -2)}, tape

    def backward(p: Any, tape: Any, cotangents: Any) -> Any:
        given = {name: array for name, array in cotangents.items() if name in ("y", "J", "R")}
        if "Cn" in cotangents:
            given |= {"C": cotangents["Cn"][:, :, :-1], "n": cotangents["Cn"][:, :, -1]}
        if "s" in cotangents:
            given["s"] = cotangents["s"][..., 0]
        found = inner.backward(unpacked(p), tape, given)
        return types.SimpleNamespace(parameters=packed(found), inputs=found.inputs, state=shown(found.state, -2))

    return types.SimpleNamespace(
        PARAMETERS={**parameters, "W": ("2*K", "D"), "b": ("2",)},
        INPUTS=inner.INPUTS,
        STATES={"Cn": ("N+1", "K"), "s": ("1",)},
        OUTPUTS=inner.OUTPUTS,
        forward=forward,
        backward=backward,
    )


def test_matrices_and_numbers_that_are_put_together_are_mapped() -> None:
    model = mapped("W=W_k/W_q", "b=b_i/b_f", "Cn=C/n.T")
    report = verify.check(stacked(), model, quick=True, regimes=(ORDINARY,), sizes=[{"B": 2}])
    assert report.passed, report.faults()
    (said,) = (finding.said for finding in report.findings if finding.check == "against")
    assert "not compared" not in said


def mapped(*said: str) -> Model:
    return model_of(cell(), relations(said))


@pytest.mark.parametrize(
    ("said", "message"),
    [
        (("W=W_k|W_q", "b=b_i/b_f", "Cn=C/n.T"), r"--map W=W_k\|W_q: shape differs .* Write --map W=W_k/W_q"),
        (("W=W_k/W_q", "b=b_i/b_f", "Cn=C|n"), r"--map Cn=C\|n: shape differs"),
        (("W=W_k/W_q", "b=b_f", "Cn=C/n.T"), "b_i"),
    ],
)
def test_what_does_not_fit_is_refused_with_what_would(said: tuple[str, ...], message: str) -> None:
    with pytest.raises(KernelError, match=message):
        verify.check(stacked(), mapped(*said), quick=True, regimes=(ORDINARY,))
