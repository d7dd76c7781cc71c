"""The hand-written gradients against the complex step of their forwards, and these against the printed equations."""

import ast
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pytest
from numpy.typing import NDArray

import verify.handwritten
from derive.cells.registry import declarations, variants
from tests import bounds
from verify.handwritten import CASES
from verify.handwritten.activations import relu, relu_prime, sigma, sigma_prime, tanh, tanh_prime
from verify.handwritten.named import Named
from verify.handwritten.through_time import Case, Gradients

Array: TypeAlias = NDArray[Any]
Arrays: TypeAlias = dict[str, Array]

# All different, so that no transposed or mistaken axis fits; more than one example; more than one lag.
T, B, D, H = 5, 2, 3, 4

# Complex step has no difference to cancel, so only the roundings remain: of T steps, the widest sum that of 12 matrices of 4 rows.
COUNT = bounds.of_recurrence(T, B, fan_in=12 * H)
TOLERANCE = bounds.rounded(COUNT)
TOLERANCE_FLOAT32 = bounds.rounded(COUNT, "float32")
# The four differences of one entry leave h^4 f^(5) / 5! of truncation, h = 1e-3, and COUNT roundings of a loss of T B H terms over h;
# both relative to the largest entry of a block, which a bias of T B terms leaves at 1 or more. The fifth derivative of a chain of T
# tanh and sigmoids along a weight, each below 16 in its fifth, is below 16 T^5.
TOLERANCE_DIFFERENCES = 1e-12 * 16 * T**5 / 120 + bounds.rounded(COUNT) * np.sqrt(T * B * H) / 1e-3

WITH_BIAS = [
    "rnn",
    "rnn_activation_sigmoid",
    "rnn_activation_relu",
    "rnn_activation_identity",
    "lstm",
    "lstm_peephole",
    "lstm_peephole_candidate_peephole",
    "lstm_peephole_diagonal",
    "lstm_peephole_diagonal_candidate_peephole",
    "gru",
    "gru_reset_after",
    "gru_update_gate_state",
    "gru_reset_after_update_gate_state",
    "gru_reset_after_recurrent_bias",
    "gru_reset_after_update_gate_state_recurrent_bias",
]
NAMES = [
    *WITH_BIAS,
    *[f"{name}_no_bias" for name in WITH_BIAS if not name.endswith("_recurrent_bias")],
    *[f"{name}_no_candidate_bias" for name in WITH_BIAS if name.startswith("lstm")],
]

every_case = pytest.mark.parametrize("name", NAMES)


class Problem:
    """Random signed data for a case: nothing is zero, constant or equal to anything else."""

    def __init__(self, case: Case, dtype: str = "float64", steps: int = T, scale: float = 0.7, seed: int = 0) -> None:
        random = np.random.default_rng(seed)

        def draw(*shape: int) -> Array:
            values = random.standard_normal(shape)
            if dtype == "complex128":  # imaginary parts stay small: tanh has a pole at i pi/2
                return values + 0.1j * random.standard_normal(shape)
            return values.astype(dtype)

        shapes = {"W": (H, D), "U": (H, H), "P": (H, H), "b": (H,), "p": (H,)}
        self.parameters = {name: scale * draw(*shapes[name[0]]) for name in case.parameters}
        self.inputs = {"x": draw(steps, B, D)}
        self.state = {name: draw(B, H) for name in case.states}
        self.cotangents = {name: draw(steps, B, H) for name in case.states}

    def primals(self) -> Iterator[tuple[str, Array]]:
        for group in ("parameters", "inputs", "state"):
            for name, array in getattr(self, group).items():
                yield f"{group}.{name}", array

    def loss(self, case: Case) -> Any:
        """sum(cotangents * outputs): its gradient is what backward returns."""
        outputs, _ = case.forward(self.parameters, self.inputs, self.state)
        return sum((self.cotangents[name] * outputs[name]).sum() for name in case.states)

    def gradients(self, case: Case) -> Gradients:
        _, tape = case.forward(self.parameters, self.inputs, self.state)
        return case.backward(self.parameters, tape, self.cotangents)


def by_quotient(problem: Problem, quotient: Callable[[Array, Any], Any]) -> Arrays:
    """A gradient entry by entry; quotient(array, index) moves one entry of one primal."""
    result = {}
    for name, array in problem.primals():
        result[name] = np.empty(array.shape, array.dtype)
        for index in np.ndindex(array.shape):
            result[name][index] = quotient(array, index)
    return result


def complex_step(problem: Problem, case: Case, h: float = 1e-30) -> Arrays:
    """Im loss(v + ih) / h: no difference is taken, so nothing cancels."""
    for group in (problem.parameters, problem.inputs, problem.state, problem.cotangents):
        group.update({name: array.astype(complex) for name, array in group.items()})

    def quotient(array: Array, index: Any) -> float:
        kept = array[index]
        array[index] = kept + 1j * h
        slope = problem.loss(case).imag / h
        array[index] = kept
        return float(slope)

    return {name: block.real for name, block in by_quotient(problem, quotient).items()}


def four_differences(problem: Problem, case: Case, h: float = 1e-3) -> Arrays:
    """The complex derivative of an analytic loss, from points ahead, behind and to both sides."""

    def quotient(array: Array, index: Any) -> Any:
        kept = array[index]
        total = 0
        for direction in (1, -1, 1j, -1j):
            array[index] = kept + direction * h
            total += problem.loss(case) / direction
        array[index] = kept
        return total / (4 * h)

    return by_quotient(problem, quotient)


def flat(gradients: Gradients) -> Arrays:
    groups = {"parameters": gradients.parameters, "inputs": gradients.inputs, "state": gradients.state}
    return {f"{group}.{name}": block for group, blocks in groups.items() for name, block in blocks.items()}


def errors(got: Mapping[str, Array], expected: Mapping[str, Array]) -> dict[str, float]:
    """Largest deviation of each block, relative to the block's own size; x is a block for every step."""
    assert got.keys() == expected.keys()
    result = {}
    for name in expected:
        assert got[name].shape == expected[name].shape, name
        steps = range(len(expected[name])) if name == "inputs.x" else [...]
        for step in steps:
            size = abs(expected[name][step]).max()
            assert size > 0, f"{name} {step} tests nothing"
            result[f"{name} {step}"] = float(abs(got[name][step] - expected[name][step]).max() / size)
    return result


@pytest.fixture(scope="module", params=NAMES)
def reference(request: pytest.FixtureRequest) -> tuple[Case, Arrays]:
    """A case and the complex step of its forward, computed once for all tests that compare with it."""
    case = CASES[request.param]
    return case, complex_step(Problem(case), case)


def test_cases_are_the_canonical_ones() -> None:
    assert set(CASES) == set(NAMES) == {cell.name for declaration in declarations().values() for cell in variants(declaration)}
    assert verify.handwritten.__all__ == ["CASES", "networks"]


def test_only_numpy_and_the_standard_library_are_imported() -> None:
    for path in Path(verify.handwritten.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.level == 0:
                assert str(node.module).split(".")[0] in {*sys.stdlib_module_names, "numpy"}, path.name
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 1, path.name
            elif isinstance(node, ast.Import):
                assert {a.name.split(".")[0] for a in node.names} <= {*sys.stdlib_module_names, "numpy"}, path.name


# --- the gradients ---------------------------------------------------------------------------------------------------


def test_gradients_agree_with_the_complex_step(reference: tuple[Case, Arrays]) -> None:
    case, expected = reference
    found = errors(flat(Problem(case).gradients(case)), expected)
    assert max(found.values()) < TOLERANCE, found


def test_the_comparison_sees_one_entry_off_by_1e_12_in_every_block(reference: tuple[Case, Arrays]) -> None:
    case, expected = reference
    for name, block in flat(Problem(case).gradients(case)).items():
        wrong = block.copy()
        largest = np.unravel_index(abs(wrong).argmax(), wrong.shape)
        wrong[largest] *= 1 + 1e-12
        assert max(errors({name: wrong}, {name: expected[name]}).values()) > TOLERANCE, name


def test_the_comparison_sees_every_dropped_term(reference: tuple[Case, Arrays]) -> None:
    """Without P_o in the backward step d_c loses its peephole term; the same for every other weight."""
    case, expected = reference
    weights = [name for name in case.parameters if name[0] in "WUPp"]
    assert weights
    for weight in weights:

        def faulty(p: Named, s: Named, d: Named, weight: str = weight) -> None:
            case.step_backward(Named({**p, weight: np.zeros_like(p[weight])}), s, d)

        wrong = replace(case, step_backward=faulty)
        found = errors(flat(Problem(wrong).gradients(wrong)), expected)
        assert max(found.values()) > 1e-6, weight


def test_the_comparison_sees_a_gradient_cut_off_in_time(reference: tuple[Case, Arrays]) -> None:
    case, expected = reference
    steps_left = iter(range(T - 1, -1, -1))

    def truncated(p: Named, s: Named, d: Named) -> None:
        case.step_backward(p, s, d)
        if next(steps_left) == T - 3:
            for name in case.states:
                d[f"{name}_prev"] = np.zeros_like(d[f"{name}_prev"])

    wrong = replace(case, step_backward=truncated)
    found = errors(flat(Problem(wrong).gradients(wrong)), expected)
    assert max(found.values()) > 1e-6


@every_case
def test_a_missing_cotangent_counts_as_zero(name: str) -> None:
    case, problem = CASES[name], Problem(CASES[name])
    _, tape = case.forward(problem.parameters, problem.inputs, problem.state)
    for missing in case.states:
        given = {s: a for s, a in problem.cotangents.items() if s != missing}
        zero = {missing: np.zeros((T, B, H))}
        without = flat(case.backward(problem.parameters, tape, given))
        for block, expected in flat(case.backward(problem.parameters, tape, given | zero)).items():
            assert np.array_equal(without[block], expected), block
    assert all(not block.any() for block in flat(case.backward(problem.parameters, tape, {})).values())


@every_case
def test_a_long_lag_keeps_its_digits(name: str) -> None:
    """Only the last output has a cotangent, so d_x[t] crosses all steps between."""
    steps = 20
    case = CASES[name]

    def last_output_only() -> Problem:
        problem = Problem(case, steps=steps, scale=0.4, seed=3)
        for cotangent in problem.cotangents.values():
            cotangent[:-1] = 0
        return problem

    found = errors(flat(last_output_only().gradients(case)), complex_step(last_output_only(), case))
    assert max(found.values()) < bounds.rounded(bounds.of_recurrence(steps, B, fan_in=12 * H)), found


@pytest.mark.parametrize("name", [name for name in NAMES if not name.endswith(("relu", "identity"))])
def test_saturated_gates_keep_their_digits(name: str) -> None:
    """Pre-activations near 18 and -18: 1 - tanh(z)^2 would be wrong in its first digits here."""
    case = CASES[name]

    def saturated() -> Problem:
        problem = Problem(case, seed=5)
        for parameter in problem.parameters:
            if parameter[0] == "b":
                problem.parameters[parameter] += np.array([18, -18, 12, 0])
        return problem

    found = errors(flat(saturated().gradients(case)), complex_step(saturated(), case))
    assert max(found.values()) < TOLERANCE, found


# --- the forward equations -------------------------------------------------------------------------------------------


def logistic(z: Array) -> Array:
    result: Array = 1 / (1 + np.exp(-z))
    return result


def cmu_lstm(v: Arrays, x: Array, h: Array, C: Array) -> tuple[Array, ...]:
    """The CMU pseudocode for one example, with W [C, h, x] as one product; an absent peephole is a zero one."""

    def W(gate: str) -> Array:
        peephole = np.diag(v[f"p_{gate}"]) if f"p_{gate}" in v else v.get(f"P_{gate}", np.zeros((H, H)))
        return np.hstack([peephole, v[f"U_{gate}"], v[f"W_{gate}"]])

    f = logistic(W("f") @ np.hstack([C, h, x]) + v["b_f"])
    i = logistic(W("i") @ np.hstack([C, h, x]) + v["b_i"])
    C_o = f * C + i * np.tanh(W("c") @ np.hstack([C, h, x]) + v["b_c"])
    o = logistic(W("o") @ np.hstack([C_o, h, x]) + v["b_o"])
    return o * np.tanh(C_o), C_o


def printed_gru(name: str, v: Arrays, x: Array, h: Array) -> tuple[Array, ...]:
    z = logistic(np.hstack([v["U_z"], v["W_z"]]) @ np.hstack([h, x]) + v["b_z"])
    r = logistic(np.hstack([v["U_r"], v["W_r"]]) @ np.hstack([h, x]) + v["b_r"])
    if "reset_after" in name:
        memory = r * (v["U_h"] @ h + v.get("b_hh", 0)) + v["W_h"] @ x
    else:
        memory = np.hstack([v["U_h"], v["W_h"]]) @ np.hstack([r * h, x])
    h_tilde = np.tanh(memory + v["b_h"])
    return (z * h + (1 - z) * h_tilde if "update_gate_state" in name else z * h_tilde + (1 - z) * h,)


ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "rnn": np.tanh,
    "rnn_activation_sigmoid": logistic,
    "rnn_activation_relu": lambda z: np.maximum(z, 0),
    "rnn_activation_identity": np.positive,
}


def printed_rnn(name: str, v: Arrays, x: Array, h: Array) -> tuple[Array, ...]:
    return (ACTIVATIONS[name](np.hstack([v["U"], v["W"]]) @ np.hstack([h, x]) + v["b"]),)


@every_case
def test_forward_is_the_printed_equation(name: str) -> None:
    case, problem = CASES[name], Problem(CASES[name])
    outputs, _ = case.forward(problem.parameters, problem.inputs, problem.state)
    absent = {bias: np.zeros(H) for bias in ("b", *(f"b_{gate}" for gate in "ifoczrh")) if bias not in problem.parameters}
    printed = absent | problem.parameters
    for b in range(B):
        states = tuple(problem.state[s][b] for s in case.states)
        for t in range(T):
            x = problem.inputs["x"][t, b]
            if name.startswith("lstm"):
                states = cmu_lstm(printed, x, *states)
            elif name.startswith("gru"):
                states = printed_gru(name, printed, x, *states)
            else:
                states = printed_rnn(name.removesuffix("_no_bias"), printed, x, *states)
            for state, expected in zip(case.states, states, strict=True):
                np.testing.assert_allclose(outputs[state][t, b], expected, rtol=TOLERANCE, atol=TOLERANCE)


# --- the contract ----------------------------------------------------------------------------------------------------


@every_case
@pytest.mark.parametrize("dtype", ["float32", "float64", "complex128"])
@pytest.mark.parametrize("steps", [T, 0])
def test_dtype_and_shapes_are_those_of_the_primals(name: str, dtype: str, steps: int) -> None:
    case, problem = CASES[name], Problem(CASES[name], dtype, steps)
    outputs, tape = case.forward(problem.parameters, problem.inputs, problem.state)
    gradients = flat(case.backward(problem.parameters, tape, problem.cotangents))
    assert {s: (a.shape, a.dtype.name) for s, a in outputs.items()} == dict.fromkeys(case.states, ((steps, B, H), dtype))
    assert all(value.dtype.name == dtype for step in tape.steps for value in step.values())
    for block, primal in problem.primals():
        assert (gradients[block].shape, gradients[block].dtype.name) == (primal.shape, dtype), block


@every_case
def test_no_steps_give_no_gradient(name: str) -> None:
    gradients = flat(Problem(CASES[name], steps=0).gradients(CASES[name]))
    assert not any(block.any() for block in gradients.values())


@every_case
def test_float32_agrees_with_float64(name: str) -> None:
    case = CASES[name]
    single, double = (flat(Problem(case, dtype).gradients(case)) for dtype in ("float32", "float64"))
    found = errors(single, double)
    assert max(found.values()) < TOLERANCE_FLOAT32, found


@every_case
def test_complex_gradients_are_the_analytic_continuation(name: str) -> None:
    """A conjugate anywhere would show at a truly complex point."""
    case = CASES[name]
    expected = four_differences(Problem(case, "complex128", scale=0.5), case)
    found = errors(flat(Problem(case, "complex128", scale=0.5).gradients(case)), expected)
    assert max(found.values()) < TOLERANCE_DIFFERENCES, found


@every_case
def test_no_state_means_zeros(name: str) -> None:
    case, problem = CASES[name], Problem(CASES[name])
    zeros = {s: np.zeros((B, H)) for s in case.states}
    without, _ = case.forward(problem.parameters, problem.inputs)
    for state, expected in case.forward(problem.parameters, problem.inputs, zeros)[0].items():
        assert np.array_equal(without[state], expected)


@every_case
def test_arguments_are_kept_and_a_tape_serves_twice(name: str) -> None:
    case, problem = CASES[name], Problem(CASES[name])
    before = {block: array.copy() for block, array in problem.primals()}
    cotangents = {s: a.copy() for s, a in problem.cotangents.items()}
    outputs, tape = case.forward(problem.parameters, problem.inputs, problem.state)
    first = flat(case.backward(problem.parameters, tape, problem.cotangents))
    expected = {block: array.copy() for block, array in first.items()}
    for array in (*outputs.values(), *first.values()):
        array[...] = np.nan
    second = flat(case.backward(problem.parameters, tape, problem.cotangents))
    assert all(np.array_equal(second[block], expected[block]) for block in expected)
    assert all(np.array_equal(array, before[block]) for block, array in problem.primals())
    assert all(np.array_equal(problem.cotangents[s], cotangents[s]) for s in cotangents)


@every_case
def test_any_memory_layout_is_accepted(name: str) -> None:
    case, plain, other = CASES[name], Problem(CASES[name]), Problem(CASES[name])
    for group in (other.parameters, other.inputs, other.state, other.cotangents):
        for key, array in group.items():
            wide = np.full((*array.shape[:-1], 2 * array.shape[-1]), np.nan)
            wide[..., ::2] = array
            group[key] = np.asfortranarray(wide)[..., ::2]
    found = errors(flat(other.gradients(case)), flat(plain.gradients(case)))
    assert max(found.values()) < TOLERANCE, found


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (lambda q: q.parameters.pop("b_f"), "forward: parameters: wrong names: expected W_i.*b_c, got W_i.*Add"),
        (lambda q: q.parameters.update(V=np.zeros(H)), "forward: parameters: wrong names: .* got .*V"),
        (lambda q: q.parameters.update(b_f=np.zeros(H + 1)), r"forward: b_f: wrong shape: expected \(4,\), got \(5,\)"),
        (lambda q: q.parameters.update(W_i=np.zeros(H)), r"forward: W_i: wrong shape: expected \(H, D\), got \(4,\)"),
        (lambda q: q.parameters.update(W_i=np.zeros((H, D), int)), "forward: dtype: expected one of .*, got int64"),
        (
            lambda q: q.parameters.update(b_f=np.zeros(H, "f4")),
            "forward: b_f: mixed dtypes: expected float64, got float32",
        ),
        (lambda q: q.inputs.update(x=np.zeros((T, D))), r"forward: x: wrong shape: expected \(T, B, 3\), got \(5, 3\)"),
        (lambda q: q.inputs.update(x=np.zeros((T, B, H))), r"forward: x: .*expected \(5, 2, 3\), got \(5, 2, 4\)"),
        (
            lambda q: q.state.update(c=np.zeros((1, H))),
            r"forward: state: c: wrong shape: expected \(2, 4\), got \(1, 4\)",
        ),
        (lambda q: q.state.pop("c"), "forward: state: wrong names: expected h, c, got h"),
        (
            lambda q: q.cotangents.update(y=np.zeros((T, B, H))),
            "backward: cotangents: wrong names: expected h, c, got .*y",
        ),
        (lambda q: q.cotangents.update(h=np.zeros((B, H))), r"backward: cotangents: h: .* got \(2, 4\)"),
    ],
)
def test_what_does_not_fit_is_refused(break_it: Callable[[Problem], object], message: str) -> None:
    problem = Problem(CASES["lstm"])
    break_it(problem)
    with pytest.raises(ValueError, match=message):
        problem.gradients(CASES["lstm"])


# --- the activations -------------------------------------------------------------------------------------------------

CIRCLE = 1e4 * np.exp(1j * np.linspace(0, 2 * np.pi, 33))


@pytest.mark.parametrize("dtype", ["float32", "float64", "complex128"])
@pytest.mark.parametrize("function", [sigma, sigma_prime, tanh, tanh_prime])
def test_saturation_is_silent(function: Callable[[Array], Array], dtype: str) -> None:
    z = CIRCLE if dtype == "complex128" else CIRCLE.real.astype(dtype)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        y = function(z)
    assert np.isfinite(y).all()
    assert y.dtype == z.dtype


def test_sigma_and_the_derivatives_keep_relative_accuracy() -> None:
    z = np.linspace(-30, 30, 61)
    eps = bounds.EPS  # exp and cosh are right to two units, a sum, product or quotient to half of one; a square doubles
    np.testing.assert_allclose(sigma(z), np.where(z < 0, np.exp(z), 1) / (1 + np.exp(-abs(z))), rtol=6 * eps)
    np.testing.assert_allclose(sigma_prime(z), 1 / (2 * np.cosh(z / 2)) ** 2, rtol=12 * eps)
    np.testing.assert_allclose(tanh_prime(z), 1 / np.cosh(z) ** 2, rtol=12 * eps)


def test_relu_turns_at_zero_on_the_real_part() -> None:
    z = np.array([-1.0, -0.0, 0.0, 2.0])
    assert relu(z).tolist() == [0, 0, 0, 2]
    assert relu_prime(z).tolist() == [0, 0, 0, 1]
    assert relu(np.array([1 - 5j, -1 + 5j])).tolist() == [1 - 5j, 0]
    assert np.isnan(relu(np.array([np.nan]))).all()
