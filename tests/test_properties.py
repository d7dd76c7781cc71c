"""Properties over sizes, dtypes, scales and regimes: backward is the adjoint of jvp, and both equal complex step.

The bounds are those of the rounding of a call, times what its most saturated slope has lost where a block may hold it alone.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from derive.compiler import FAST, equations_text
from tests import arguments as args
from tests import bounds, random_cells
from tests.arguments import Call, draw
from tests.kernels import kernel_of, kernel_of_cell
from tests.odd_cells import cell
from tests.profiles import thorough

BUILT_IN = (
    "rnn",
    "rnn --activation sigmoid",
    "lstm",
    "lstm --peephole --candidate-peephole",
    "lstm --peephole diagonal",
    "lstm --no-candidate-bias",
    "gru",
    "gru --update-gate state",
    "gru --reset after --recurrent-bias",
)
ODD = ("several_sizes", "shared_matrix", "readout", "untimed_parts", "stacked", "concatenated")
often = settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow], derandomize=True)


@functools.cache
def module_named(name: str) -> Any:
    return kernel_of(name) if name in BUILT_IN else kernel_of_cell(cell(name))


@st.composite
def calls(draws: Any, least: int = 0) -> tuple[Any, Call, Call]:
    """(kernel, call, direction) of any size, scale and regime."""
    module = module_named(draws(st.sampled_from(sorted((*ODD, *BUILT_IN)))))
    sizes = {name: draws(st.integers(1, 4)) for name in "DEHKM"}
    T, B, seed = draws(st.integers(least, 6)), draws(st.integers(1, 4)), draws(st.integers(0, 2**31))
    scale, bias = draws(st.sampled_from([0.05, 0.5, 1.0, 2.5])), draws(st.floats(-8, 8))
    call = draw(module, T, B, seed, scale, sizes)
    for name in call.parameters:
        if name in ("b_f", "b_z", "b"):
            call.parameters[name] = call.parameters[name] + bias
    return module, call, draw(module, T, B, seed + 1, 1.0, sizes)


def saturation_of(module: Any, call: Call) -> float:
    return bounds.saturation(args.forward(module, call)[1])


def magnitude(first: dict[Any, np.ndarray], second: dict[Any, np.ndarray]) -> float:
    """The size of the terms of a dot product."""
    return float(sum(np.abs(first[key] * second[key]).sum() for key in first))


@often
@given(calls(), st.sampled_from(["float32", "float64", "complex128"]))
def test_backward_is_the_adjoint_of_jvp(drawn: tuple[Any, Call, Call], dtype: str) -> None:
    module, call, direction = drawn
    call, direction = call.astype(dtype), direction.astype(dtype)
    gradients, tangents = args.backward(module, call), args.jvp(module, call, direction)
    along, back = args.dot(call.cotangents, tangents), args.dot(gradients, direction.all())
    size = magnitude(gradients, direction.all()) + magnitude(call.cotangents, tangents)
    assert abs(along - back) <= bounds.of_call(call, dtype) * size
    assert {array.dtype for array in (*gradients.values(), *tangents.values())} <= {np.dtype(dtype)}


@often
@given(calls(least=1))
def test_jvp_equals_complex_step(drawn: tuple[Any, Call, Call]) -> None:
    module, call, direction = drawn
    found, expected = args.jvp(module, call, direction), args.tangents_by_complex_step(module, call, direction)
    assert args.worst(found, expected)[0] <= bounds.of_call(call) * saturation_of(module, call)


@settings(often, max_examples=40)
@given(calls(least=1))
def test_gradients_equal_complex_step(drawn: tuple[Any, Call, Call]) -> None:
    module, call, _ = drawn
    assert args.worst(args.backward(module, call), args.by_complex_step(module, call))[0] <= bounds.of_call(call) * saturation_of(
        module, call
    )


@often
@given(calls(least=1))
def test_one_step_jacobians_chain_to_the_gradient_of_the_initial_state(drawn: tuple[Any, Call, Call]) -> None:
    """Of a loss on the last states alone, the initial gradient is the product of the Jacobians, transposed."""
    module, call, _ = drawn
    if not module.STATES:
        return
    given = {n: a for n, a in call.cotangents.items() if n in module.STATES}
    call.cotangents = {n: np.where(np.arange(len(a))[:, None, None] == len(a) - 1, a, 0) for n, a in given.items()}
    _, tape = args.forward(module, call)
    flowing = np.concatenate([call.cotangents[n][-1] for n in module.STATES], axis=1)
    for jacobian in module.step_jacobian(call.parameters, tape)[::-1]:
        flowing = np.einsum("bij,bi->bj", jacobian, flowing)
    gradients = args.backward(module, call, tape)
    found = np.concatenate([gradients[2, n] for n in module.STATES], axis=1)
    assert args.error(found, flowing) <= bounds.of_call(call) or np.abs(found - flowing).max() < 1e-290


@often
@given(calls(), st.integers(1, 7))
def test_checkpoints_change_nothing_but_rounding(drawn: tuple[Any, Call, Call], every: int) -> None:
    module, call, _ = drawn
    _, tape = module.forward(*call.groups(), checkpoint_every=every)
    assert args.worst(args.backward(module, call), args.backward(module, call, tape))[0] <= bounds.of_call(call)


@often
@given(calls(least=1), st.floats(-3, 3), st.floats(-3, 3))
def test_backward_is_linear_in_the_cotangents(drawn: tuple[Any, Call, Call], a: float, b: float) -> None:
    module, call, direction = drawn
    _, tape = args.forward(module, call)

    def gradients(cotangents: dict[str, np.ndarray]) -> dict[Any, np.ndarray]:
        return args.backward(module, Call(*call.groups(), cotangents), tape)

    first, second = gradients(call.cotangents), gradients(direction.cotangents)
    both = gradients({n: a * call.cotangents[n] + b * direction.cotangents[n] for n in call.cotangents})
    for key, array in both.items():
        size = abs(a) * np.linalg.norm(first[key]) + abs(b) * np.linalg.norm(second[key])
        assert np.linalg.norm(array - a * first[key] - b * second[key]) <= bounds.of_call(call) * size + 1e-300


@often
@given(calls(least=2), st.integers(0, 5))
def test_a_loss_on_the_first_steps_does_not_reach_later_inputs(drawn: tuple[Any, Call, Call], step: int) -> None:
    module, call, _ = drawn
    last = step % len(next(iter(call.cotangents.values())))
    call.cotangents = {n: np.where(np.arange(len(a))[:, None, None] <= last, a, 0) for n, a in call.cotangents.items()}
    gradients = args.backward(module, call)
    assert not any(gradients[1, name][last + 1 :].any() for name in module.INPUTS)


# ---- cells that nobody has seen

CELLS = 60
SCHEDULES = ((), FAST)


def of_ordinary_size(call: Call, outputs: dict[str, np.ndarray]) -> bool:
    """Whether a random cell stays within what the tolerances are for."""
    return all(np.isfinite(array).all() and np.abs(array).max(initial=0) < 1e6 for array in outputs.values())


def agree(first: dict[Any, np.ndarray], second: dict[Any, np.ndarray], limit: float, what: str) -> None:
    """Block by block, relative to the block, or to the largest block where a block is nothing but rounding."""
    largest = max((np.linalg.norm(array) for array in first.values()), default=0.0)
    for key, array in first.items():
        size = max(np.linalg.norm(array), 1e-6 * largest)
        assert np.linalg.norm(array - second[key]) <= limit * size, f"{what}: {key}"


@pytest.mark.parametrize("seed", [seed if seed < CELLS // 3 else thorough(seed) for seed in range(CELLS)])
def test_a_random_cell_is_derived_right_by_every_schedule(seed: int) -> None:
    one = random_cells.cell(seed)
    said = "; ".join(equations_text(one))
    for passes in SCHEDULES:
        module = kernel_of_cell(one, passes)
        call, direction = draw(module, T=3, B=2, scale=0.6), draw(module, T=3, B=2, seed=1, scale=0.6)
        with np.errstate(over="ignore", invalid="ignore"):
            outputs, tape = args.forward(module, call)
            if not of_ordinary_size(call, outputs):
                pytest.skip("the cell grows beyond what float64 holds")
        # values that have grown cancel in what follows, and are that much larger than their difference
        limit = bounds.of_call(call) * bounds.saturation(tape) * max(1, *map(np.linalg.norm, outputs.values()))
        agree(args.by_complex_step(module, call), args.backward(module, call, tape), limit, f"{passes}: gradient: {said}")
        agree(
            args.tangents_by_complex_step(module, call, direction),
            args.jvp(module, call, direction),
            limit,
            f"{passes}: tangent: {said}",
        )
        if module.STATES:
            moved = module.jvp(*call.groups(), {}, {}, direction.state)
            start = np.concatenate([direction.state[n] for n in module.STATES], axis=1)
            expected = np.concatenate([moved[n][0] for n in module.STATES], axis=1)
            found = np.einsum("bij,bj->bi", module.step_jacobian(call.parameters, tape)[0], start)
            agree({0: expected}, {0: found}, limit, f"{passes}: jacobian: {said}")
