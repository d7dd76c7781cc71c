"""The contract of a generated kernel, call by call, on built-in cells and on cells that have what those don't."""

from __future__ import annotations

import copy
import functools
import types
import warnings
from typing import Any

import numpy as np
import pytest

from derive.blocks import stack
from derive.compiler import FAST
from derive.functions import function
from derive.language import Eq, matrix, sequence, vector
from derive.reductions import softmax, total
from tests import arguments as args
from tests import bounds
from tests.arguments import Call, draw
from tests.kernels import kernel_of, kernel_of_cell
from tests.odd_cells import ODD, D, H, cell, cell_of
from tests.profiles import thorough
from tests.shaped_cells import SHAPED
from tests.shaped_cells import cell as shaped_cell

BUILT_IN = (
    "rnn",
    "rnn --activation relu --no-bias",
    "lstm",
    "lstm --no-candidate-bias",
    "lstm --peephole",
    "lstm --peephole --candidate-peephole",
    "lstm --peephole diagonal",
    "gru",
    "gru --update-gate state",
    "gru --reset after --recurrent-bias",
    "gru --reset after --update-gate state",
)
NETWORKS = (
    "rnn --bidirectional",
    "lstm --layers 2 --peephole",
    "gru --reset after --masked",
    "rnn --layers 2 --bidirectional --masked",
    "lstm --layers 3 --bidirectional",
    "gru --bidirectional --masked",
)
"""In the short run the first two alone."""
EVERY = (*BUILT_IN, *ODD)
SMOOTH = tuple(name for name in EVERY if name != "rnn --activation relu --no-bias")
DTYPES = (np.float32, np.float64, np.complex128)
LIMITS = {dtype: bounds.rounded(bounds.of_recurrence(steps=12, batch=8, fan_in=72), dtype) for dtype in DTYPES}
"""For the longest call and the cell with the most weights; longer calls say their own."""

SOME_SHAPED = ("mlstm", "reductions", "matrices_of_each_step", "names_in_the_way")
of_one_way = [*EVERY, *[name if name in SOME_SHAPED else thorough(name) for name in SHAPED]]
every = pytest.mark.parametrize("name", [*of_one_way, *NETWORKS[:2], *map(thorough, NETWORKS[2:])])
one_way = pytest.mark.parametrize("name", of_one_way)
of_vectors = pytest.mark.parametrize("name", EVERY)
built_in = pytest.mark.parametrize("name", BUILT_IN)


def kernel(name: str) -> Any:
    return kernel_of_cell_by_name(name) if name in ODD or name in SHAPED else kernel_of(name)


KNOWN: dict[str, Any] = {}


def kernel_of_cell_by_name(name: str) -> Any:
    if name not in KNOWN:
        KNOWN[name] = kernel_of_cell(cell(name) if name in ODD else shaped_cell(name))
    return KNOWN[name]


def results(module: Any, call: Call) -> dict[Any, np.ndarray]:
    """Everything that the four functions return."""
    outputs, tape = args.forward(module, call)
    found: dict[Any, np.ndarray] = {("output", name): array for name, array in outputs.items()}
    found |= {("gradient", *key): array for key, array in args.backward(module, call, tape).items()}
    found |= {("tangent", name): array for name, array in args.jvp(module, call, call).items()}
    return found | {("jacobian", *way): array for way, array in jacobians(module, call, tape).items()}


def jacobians(module: Any, call: Call, tape: Any) -> dict[tuple[str, ...], np.ndarray]:
    """The Jacobian of a step, by the first state of each way where there are two."""
    found = module.step_jacobian(call.parameters, tape)
    return {(first,): array for first, array in found.items()} if isinstance(found, dict) else {(): found}


def close(
    first: dict[Any, np.ndarray], second: dict[Any, np.ndarray], limit: float = LIMITS[np.float64], terms: float = 0
) -> None:
    """Block by block, relative to the block; to the size of its terms where it is one number, in which they may cancel."""
    assert first.keys() == second.keys()
    for block, array in first.items():
        assert array.shape == second[block].shape, block
        size = max(np.linalg.norm(array), np.linalg.norm(second[block]), terms)
        off = np.linalg.norm(array - second[block])
        assert off <= limit * size, f"{block}: {off:.1e} of {size:.1e}"


# ---- gradients, tangents, Jacobians


@every
def test_gradients_equal_complex_step(name: str) -> None:
    module = kernel(name)
    call = draw(module, T=4, B=3)
    close(args.backward(module, call), args.by_complex_step(module, call))


@every
def test_tangents_equal_complex_step(name: str) -> None:
    module = kernel(name)
    call, direction = draw(module), draw(module, seed=1)
    close(args.jvp(module, call, direction), args.tangents_by_complex_step(module, call, direction))


@every
@pytest.mark.parametrize("dtype", DTYPES)
def test_backward_is_the_adjoint_of_jvp(name: str, dtype: Any) -> None:
    module = kernel(name)
    call, direction = draw(module).astype(dtype), draw(module, seed=1).astype(dtype)
    if dtype is np.complex128:
        call = call.map(lambda array: np.asarray(array * (1 + 0.1j)))
    along = args.dot(call.cotangents, args.jvp(module, call, direction))
    back = args.dot(args.backward(module, call), direction.all())
    size = sum(np.abs(a * b).sum() for a, b in zip(args.backward(module, call).values(), direction.all().values(), strict=True))
    assert abs(along - back) <= LIMITS[dtype] * size


@of_vectors
def test_step_jacobian_moves_states_as_jvp_does(name: str) -> None:
    module = kernel(name)
    call = draw(module)
    _, tape = args.forward(module, call)
    jacobian = module.step_jacobian(call.parameters, tape)
    direction = draw(module, seed=1).state
    moved = module.jvp(*call.groups(), {}, {}, direction)
    state = join(module, direction)
    for t in range(4):
        state = np.einsum("bij,bj->bi", jacobian[t], state)
        close({t: state}, {t: join(module, {n: moved[n][t] for n in module.STATES})})


def join(module: Any, states: dict[str, np.ndarray]) -> np.ndarray:
    """(B, S): the states side by side, in the order of STATES."""
    return np.concatenate([states[name] for name in module.STATES] or [np.zeros((3, 0))], axis=1)


def test_relu_has_no_slope_at_zero() -> None:
    module = kernel_of("rnn --activation relu")
    call = draw(module).map(np.zeros_like)
    call.cotangents["h"] += 1
    _, tape = args.forward(module, call)
    assert not any(array.any() for array in args.backward(module, call, tape).values())
    assert not module.step_jacobian(call.parameters, tape).any()
    assert not args.jvp(module, call, call.map(np.ones_like))["h"].any()


def test_complex_relu_takes_its_branch_on_the_real_part() -> None:
    module = kernel_of("rnn --activation relu --no-bias")
    one = np.ones((1, 1), complex)
    x = np.array([2 - 3j, -2 + 3j, 1j]).reshape(3, 1, 1)
    outputs, _ = module.forward({"W": one, "U": 0 * one}, {"x": x})
    np.testing.assert_array_equal(outputs["h"].ravel(), [2 - 3j, 0, 0])


def test_complex_gradients_are_analytic_and_never_conjugated() -> None:
    module = kernel_of("lstm --peephole diagonal")
    call = draw(module).astype(complex).map(lambda array: array * np.exp(0.3j))
    scaled = Call(*call.groups(), {name: 1j * array for name, array in call.cotangents.items()})
    close({key: 1j * g for key, g in args.backward(module, call).items()}, args.backward(module, scaled))


# ---- shapes and dtypes


@every
def test_tables_say_the_shapes(name: str) -> None:
    module = kernel(name)
    call = draw(module, T=4, B=3)
    outputs, _ = args.forward(module, call)
    assert list(outputs) == [*module.STATES, *module.OUTPUTS]
    assert {n: a.shape for n, a in outputs.items()} == {n: a.shape for n, a in call.cotangents.items()}
    gradients = args.backward(module, call)
    assert {key: a.shape for key, a in gradients.items()} == {key: a.shape for key, a in call.all().items()}


EXTREMES = {
    "no steps": {"T": 0},
    "one step": {"T": 1},
    "one example": {"B": 1},
    "D = 1": {"sizes": {"D": 1}},
    "H = 1": {"sizes": {"H": 1}},
    "all 1": {"T": 1, "B": 1, "sizes": dict.fromkeys("DEHKM", 1)},
    "all equal": {"T": 3, "B": 3, "sizes": dict.fromkeys("DEHKM", 3)},
}


@of_vectors
@pytest.mark.parametrize("extreme", EXTREMES)
def test_extreme_sizes(name: str, extreme: str) -> None:
    module = kernel(name)
    call = draw(module, **EXTREMES[extreme])
    found = results(module, call)
    states = sum(array.shape[1] for array in call.state.values())
    T, B = next(iter(call.cotangents.values())).shape[:2]
    assert found["jacobian",].shape == (T, B, states, states)
    close(args.backward(module, call), args.by_complex_step(module, call), terms=1)


@every
def test_without_steps_nothing_moves(name: str) -> None:
    module = kernel(name)
    call = draw(module, T=0)
    assert all(array.shape[0] == 0 for array in args.forward(module, call)[0].values())
    assert not any(array.any() for array in args.backward(module, call).values())


@every
@pytest.mark.parametrize("dtype", DTYPES)
def test_dtype_follows_the_parameters(name: str, dtype: Any) -> None:
    module = kernel(name)
    for T in (0, 3):
        found = results(module, draw(module, T=T).astype(dtype))
        assert {key: array.dtype for key, array in found.items()} == dict.fromkeys(found, np.dtype(dtype))


@every
def test_float32_is_float64_rounded(name: str) -> None:
    module = kernel(name)
    call = draw(module).astype(np.float32)
    close(results(module, call.astype(np.float64)), results(module, call), LIMITS[np.float32])


def fortran(array: np.ndarray) -> np.ndarray:
    return np.asfortranarray(array) if array.ndim else array


def strided(array: np.ndarray) -> np.ndarray:
    return np.repeat(array, 2, axis=-1)[..., ::2] if array.ndim else array


def backwards(array: np.ndarray) -> np.ndarray:
    return array[::-1].copy()[::-1] if array.ndim else array


def swapped(array: np.ndarray) -> np.ndarray:
    return array.swapaxes(0, -1).copy().swapaxes(0, -1) if array.ndim else array


def of_examples(call: Call) -> list[tuple[dict[str, np.ndarray], int]]:
    """(arrays by name, their axis of examples): inputs, states, cotangents."""
    return [(call.inputs, 1), (call.state, 0), (call.cotangents, 1)]


@every
@pytest.mark.parametrize("layout", [fortran, strided, backwards, swapped])
def test_layout_of_the_arguments_does_not_matter(name: str, layout: Any) -> None:
    module = kernel(name)
    for sizes in ({"T": 4, "B": 3}, {"T": 4, "B": 1}, {"T": 9, "B": 64}):
        call = draw(module, **sizes)
        close(results(module, call), results(module, call.map(layout)))


@every
def test_broadcast_arguments_work(name: str) -> None:
    """Arrays of stride 0, as np.broadcast_to makes them."""
    module = kernel(name)
    call = draw(module, B=1)
    wide = Call(call.parameters, *[{n: np.repeat(a, 3, axis) for n, a in g.items()} for g, axis in of_examples(call)])
    groups = enumerate((call.inputs, call.state, call.cotangents), 1)
    thin = Call(call.parameters, *[{n: np.broadcast_to(a, wide.every()[k, n].shape) for n, a in g.items()} for k, g in groups])
    close(results(module, wide), results(module, thin))


# ---- what calls leave alone


@every
def test_arguments_are_never_changed_and_may_be_read_only(name: str) -> None:
    module = kernel(name)
    call = draw(module)
    for array in call.every().values():
        array.flags.writeable = False
    before = call.bits()
    results(module, call)
    assert call.bits() == before


@every
def test_arguments_may_be_any_mapping(name: str) -> None:
    module = kernel(name)
    call = draw(module)
    views = [types.MappingProxyType(group) for group in (*call.groups(), call.cotangents)]
    close(results(module, call), results(module, Call(*views)))


@every
def test_results_belong_to_the_caller(name: str) -> None:
    """Writing into whatever a call returned changes neither the arguments nor what the tape gives later."""
    module = kernel(name)
    call = draw(module)
    before, expected = call.bits(), {key: array.tobytes() for key, array in results(module, call).items()}
    outputs, tape = args.forward(module, call)
    gradients, steps = args.backward(module, call, tape), jacobians(module, call, tape)
    for array in (*outputs.values(), *gradients.values(), *steps.values(), *args.jvp(module, call, call).values()):
        array[...] = 7
    assert call.bits() == before
    again = {("gradient", *key): a.tobytes() for key, a in args.backward(module, call, tape).items()}
    again |= {("jacobian", *way): array.tobytes() for way, array in jacobians(module, call, tape).items()}
    assert again == {key: expected[key] for key in again}


def test_gradients_that_are_one_number_everywhere_belong_to_the_caller() -> None:
    x, h = sequence("x", H), sequence("h", H)
    module = kernel_of_cell(cell_of(Eq(h, total(vector("w", H)) * function("tanh")(h.prev + x))))
    for gradient in args.backward(module, draw(module)).values():
        before = gradient.copy()
        gradient += np.arange(gradient.size).reshape(gradient.shape)
        close({0: gradient - before}, {0: np.arange(float(gradient.size)).reshape(gradient.shape)})


@every
def test_no_two_results_share_memory(name: str) -> None:
    module = kernel(name)
    found = list(results(module, draw(module)).items())
    shared = [(a, b) for k, (a, x) in enumerate(found) for b, y in found[:k] if np.shares_memory(x, y)]
    assert not shared


@every
def test_a_tape_serves_any_number_of_calls_and_survives_later_forwards(name: str) -> None:
    module = kernel(name)
    call, other = draw(module), draw(module, T=6, B=2, seed=3)
    outputs, tape = args.forward(module, call)
    kept = copy.deepcopy(outputs)
    first = args.backward(module, call, tape)
    args.forward(module, other)
    args.backward(module, other)
    args.forward(module, draw(module, seed=4))
    steps = jacobians(module, call, tape)
    second = args.backward(module, call, tape)
    assert {k: a.tobytes() for k, a in first.items()} == {k: a.tobytes() for k, a in second.items()}
    close(steps, jacobians(module, call, tape), limit=0)
    assert all(outputs[n].tobytes() == kept[n].tobytes() for n in outputs)


@every
def test_the_same_call_gives_the_same_bits(name: str) -> None:
    module = kernel(name)
    first, second = (results(module, draw(module, T=7, B=4)) for _ in range(2))
    assert {key: array.tobytes() for key, array in first.items()} == {key: array.tobytes() for key, array in second.items()}


# ---- long sequences, workspaces, checkpoints


@every
@pytest.mark.parametrize(("T", "B"), [(9, 64), (150, 5), (3, 600)])
def test_long_and_wide_calls_equal_their_parts(name: str, T: int, B: int) -> None:
    """Gradients of many examples are those of each few of them, put together; no block of steps or examples is lost."""
    module = kernel(name)
    call = draw(module, T=T, B=B, scale=0.7)
    whole, parts = args.backward(module, call), [args.backward(module, part) for part in halves(call, B)]
    for key, array in whole.items():
        axis = {1: 1, 2: 0}.get(key[0], -1)  # of inputs, of initial states
        joined = np.concatenate([part[key] for part in parts], axis=axis) if key[0] else sum(part[key] for part in parts)
        assert args.error(joined, array) < bounds.of_call(call), key


def halves(call: Call, B: int) -> list[Call]:
    """The first examples, and the rest."""
    cuts = (range(1 + B // 3), range(1 + B // 3, B))
    return [
        Call(call.parameters, *[{n: a.take(cut, axis) for n, a in g.items()} for g, axis in of_examples(call)]) for cut in cuts
    ]


@one_way
def test_a_long_run_equals_two_short_ones(name: str) -> None:
    """The second half starts from the state that the first ended in, and hands its gradient back."""
    module = kernel(name)
    call = draw(module, T=140, B=5, scale=0.7)
    first, second = (cut_in_time(call, steps) for steps in (slice(0, 61), slice(61, 140)))
    outputs, _ = args.forward(module, first)
    second.state = {n: outputs[n][-1] for n in module.STATES}
    late = args.backward(module, second)
    first.cotangents = {n: a.copy() for n, a in first.cotangents.items()}
    for n in module.STATES:
        first.cotangents[n][-1] += late[2, n]
    early, whole = args.backward(module, first), args.backward(module, call)
    for key, array in whole.items():
        joined = early[key] + late[key] if key[0] == 0 else early[key] if key[0] == 2 else np.concatenate([early[key], late[key]])
        assert args.error(joined, array) < bounds.of_call(call), key


def cut_in_time(call: Call, steps: slice) -> Call:
    return Call(call.parameters, *[{n: a[steps] for n, a in g.items()} if g is not call.state else g for g in
                                   (call.inputs, call.state, call.cotangents)])  # fmt: skip


@every
def test_a_workspace_changes_no_bit(name: str) -> None:
    module = kernel(name)
    workspace = module.Workspace()
    kinds = [(4, 3, float), (4, 3, float), (7, 2, float), (4, 3, np.float32), (0, 3, float), (4, 3, complex)]
    for seed, (T, B, dtype) in enumerate(kinds):
        call = draw(module, T=T, B=B, seed=seed).astype(dtype)
        outputs, tape = module.forward(*call.groups(), workspace=workspace)
        gradients = module.backward(call.parameters, tape, call.cotangents, workspace=workspace)
        found = Call(dict(gradients.parameters), dict(gradients.inputs), dict(gradients.state), outputs)
        plain = Call(*[{}, {}, {}], args.forward(module, call)[0])
        expected = args.backward(module, call) | {(3, n): a for n, a in plain.cotangents.items()}
        assert found.bits() == {key: array.tobytes() for key, array in expected.items()}


@every
def test_what_a_workspace_lent_lives_until_the_next_call_with_it(name: str) -> None:
    module = kernel(name)
    call, workspace = draw(module), module.Workspace()
    outputs, tape = module.forward(*call.groups(), workspace=workspace)
    kept = {n: a.copy() for n, a in outputs.items()}
    module.forward(*draw(module, seed=5).groups())
    module.backward(call.parameters, tape, call.cotangents, workspace=workspace)
    first = module.backward(call.parameters, tape, call.cotangents)
    second = module.backward(call.parameters, tape, call.cotangents, workspace=workspace)
    assert (
        Call(dict(first.parameters), dict(first.inputs), dict(first.state)).bits()
        == Call(dict(second.parameters), dict(second.inputs), dict(second.state)).bits()
    )
    assert all(outputs[n].tobytes() == kept[n].tobytes() for n in outputs)


@every
@pytest.mark.parametrize("k", [1, 3, 7, 100])
def test_checkpoints_change_gradients_by_rounding_only(name: str, k: int) -> None:
    module = kernel(name)
    for T in (7, 1, 0):
        call = draw(module, T=T)
        before = call.bits()
        outputs, tape = module.forward(*call.groups(), checkpoint_every=k)
        close(outputs, args.forward(module, call)[0])
        expected = args.backward(module, call)
        close(args.backward(module, call, tape), expected)
        close(args.backward(module, call, tape), expected)
        whole = args.forward(module, call)[1]
        close(jacobians(module, call, tape), jacobians(module, call, whole))
        assert call.bits() == before


@pytest.mark.parametrize("k", [np.int64(3), np.int32(3), np.uint8(3), np.array(3)])
def test_a_number_of_checkpoints_may_be_any_integer(k: Any) -> None:
    module = kernel_of("rnn")
    call = draw(module, T=7)
    first, second = (args.backward(module, call, module.forward(*call.groups(), checkpoint_every=n)[1]) for n in (3, k))
    assert Call(first, {}, {}).bits() == Call(second, {}, {}).bits()


@pytest.mark.parametrize("k", [0, -1, 1.5, "3", True, np.True_, np.float64(3), np.int64(0), np.array([3, 3])])
def test_a_wrong_number_of_checkpoints_is_refused(k: Any) -> None:
    module = kernel_of("rnn")
    refused("forward", "checkpoint_every", lambda: module.forward(*draw(module).groups(), checkpoint_every=k))


def test_something_else_than_a_workspace_is_refused() -> None:
    module = kernel_of("rnn")
    call = draw(module)
    refused("forward", "workspace", lambda: module.forward(*call.groups(), workspace={}))
    _, tape = args.forward(module, call)
    refused("backward", "workspace", lambda: module.backward(call.parameters, tape, call.cotangents, workspace={}))
    refused("forward", "workspace", lambda: module.forward(*call.groups(), workspace={}, checkpoint_every=2))
    _, tape = module.forward(*call.groups(), checkpoint_every=2)
    refused("backward", "workspace", lambda: module.backward(call.parameters, tape, call.cotangents, workspace={}))


def test_a_workspace_of_another_module_is_named() -> None:
    module, other = kernel_of("rnn"), kernel_of("gru")
    for more in ({}, {"checkpoint_every": 2}):
        found = refused(
            "forward", "workspace", lambda more=more: module.forward(*draw(module).groups(), workspace=other.Workspace(), **more)
        )
        assert "expected a Workspace of rnn, got one of gru" in found


def test_checkpoints_leave_what_a_workspace_lent_alone() -> None:
    module = kernel_of("lstm")
    call, other, workspace = draw(module, T=7), draw(module, T=7, seed=1), module.Workspace()
    outputs, tape = module.forward(*call.groups(), workspace=workspace)
    kept, expected = copy.deepcopy(outputs), args.backward(module, call, tape)
    _, late = module.forward(*other.groups(), workspace=workspace, checkpoint_every=3)
    module.backward(other.parameters, late, other.cotangents, workspace=workspace)
    assert {n: a.tobytes() for n, a in outputs.items()} == {n: a.tobytes() for n, a in kept.items()}
    close(args.backward(module, call, tape), expected)


@pytest.mark.parametrize("passes", [(), FAST])
def test_a_softmax_over_nothing_is_nothing(passes: tuple[str, ...]) -> None:
    x, h, y = sequence("x", D), sequence("h", H), sequence("y", H)
    equations = Eq(h, softmax(matrix("W", H, D) @ x + h.prev)), Eq(y, softmax(h))
    module = kernel_of_cell(cell_of(*equations), passes)
    found = results(module, draw(module, sizes={"H": 0}))
    assert found["output", "y"].shape == (4, 3, 0)
    assert not found["gradient", 1, "x"].any()


def test_a_checkpointed_tape_outlives_the_callers_state_and_outputs() -> None:
    module = kernel_of("lstm")
    call = draw(module, T=7)
    state = {n: a.copy() for n, a in call.state.items()}
    outputs, tape = module.forward(call.parameters, call.inputs, state, checkpoint_every=3)
    for array in (*outputs.values(), *args.backward(module, call, tape).values()):
        array[...] = 9
    close(args.backward(module, call, tape), args.backward(module, call))


# ---- what may be left out


@every
def test_missing_cotangents_count_as_zero(name: str) -> None:
    module = kernel(name)
    call = draw(module)
    _, tape = args.forward(module, call)
    for kept in call.cotangents:
        alone = Call(*call.groups(), {kept: call.cotangents[kept]})
        zeros = Call(*call.groups(), {n: a if n == kept else 0 * a for n, a in call.cotangents.items()})
        close(args.backward(module, alone, tape), args.backward(module, zeros, tape))
    nothing = args.backward(module, Call(*call.groups(), {}), tape)
    assert not any(array.any() for array in nothing.values())


@every
def test_gradients_of_every_output_add_up(name: str) -> None:
    module = kernel(name)
    call = draw(module)
    alone = [args.backward(module, Call(*call.groups(), {n: a})) for n, a in call.cotangents.items()]
    close({key: sum(one[key] for one in alone) for key in alone[0]}, args.backward(module, call))


@every
def test_state_none_is_zeros(name: str) -> None:
    module = kernel(name)
    call = draw(module)
    call.state = {n: 0 * a for n, a in call.state.items()}
    zeros = results(module, call)
    outputs, tape = module.forward(call.parameters, call.inputs)
    tangents = module.jvp(call.parameters, call.inputs, None, *call.groups()[:2], None)
    found: dict[Any, np.ndarray] = {("output", n): a for n, a in outputs.items()} | {
        ("tangent", n): a for n, a in tangents.items()
    }
    found |= {("gradient", *k): a for k, a in args.backward(module, call, tape).items()}
    close({key: zeros[key] for key in found}, found)


@every
def test_missing_tangents_count_as_zero(name: str) -> None:
    module = kernel(name)
    call, direction = draw(module), draw(module, seed=1)
    total = args.jvp(module, call, direction)
    parts = [module.jvp(*call.groups(), *one) for one in alone(direction)]
    close({n: sum((part[n] for part in parts), 0 * total[n]) for n in total}, total)
    assert not any(a.any() for a in module.jvp(*call.groups(), {}, {}, None).values())


def alone(direction: Call) -> list[list[Any]]:
    """The tangents of a direction one at a time, a missing state as None."""
    singles: list[list[Any]] = []
    for (k, name), array in direction.all().items():
        one: list[Any] = [{}, {}, {} if k == 2 else None]
        one[k] = {name: array}
        singles.append(one)
    return singles


# ---- saturation


SATURATED = (*BUILT_IN, "readout", "softmax_state", "concatenated", "shared_matrix", "stacked", "several_sizes")


@pytest.mark.parametrize("name", SATURATED)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", [1e4, -1e4])
def test_saturation_gives_no_warning_and_no_nan(name: str, dtype: Any, size: float) -> None:
    module = kernel(name)
    call = draw(module, T=3).astype(dtype)
    big = Call({n: (a * size).astype(dtype) for n, a in call.parameters.items()}, *call.groups()[1:], call.cotangents)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = results(module, big)
    assert all(np.isfinite(array).all() for array in found.values())


ENDS = {"sigma": (0, 1), "tanh": (-1, 1), "softplus": (0, 1e4), "relu": (0, 1e4), "gelu": (0, 1e4), "elu": (-1, 1e4)}
ENDS |= {
    "abs": (1e4, 1e4),
    "sign": (-1, 1),
    "hardtanh": (-1, 1),
    "hardsigmoid": (0, 1),
    "silu": (0, 1e4),
    "leakyrelu": (-100, 1e4),
}
ENDS |= {"softsign": (-1e4 / 10001, 1e4 / 10001), "selu": (-1.7580993408473766, 10507.009873554805), "mish": (0, 1e4)}
ENDS |= {"arctan": (-np.arctan(1e4), np.arctan(1e4)), "erf": (-1, 1)}
"""What functions are at -1e4 and 1e4, and below what their slopes are there where they aren't 0 and 1."""
SLOPES = dict.fromkeys(("sigma", "tanh", "sign", "hardtanh", "hardsigmoid", "softsign", "arctan", "erf"), (0, 0))
SLOPES |= {"abs": (-1, 1), "leakyrelu": (0.01, 1), "selu": (0, 1.0507009873554805)}


@pytest.mark.parametrize("name", ENDS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_functions_and_slopes_stand_saturation(name: str, dtype: Any) -> None:
    x, y = sequence("x", D), sequence("y", D)
    module = kernel_of_cell(cell_of(Eq(y, function(name)(x))))
    ends, slopes = ENDS[name], SLOPES.get(name, (0, 1))
    points = np.array([-1e4, 1e4], dtype).reshape(1, 1, 2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        outputs, tape = module.forward({}, {"x": points})
        gradient = module.backward({}, tape, {"y": np.ones_like(points)}).inputs["x"]
    few = 4 * np.finfo(dtype).eps  # roundings of a formula of two or three operations
    np.testing.assert_allclose(outputs["y"].ravel(), ends, rtol=few)
    np.testing.assert_allclose(gradient.ravel(), slopes, rtol=few, atol=1.01e-8)  # those that end like 1/z slope by 1/z² there


@pytest.mark.parametrize("name", ENDS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_nan_goes_through_functions_and_slopes(name: str, dtype: Any) -> None:
    """A branch that nan fails must not make a number of it; what stands beside it stays as it is."""
    x, y = sequence("x", D), sequence("y", D)
    for passes in ((), FAST):
        module = kernel_of_cell(cell_of(Eq(y, function(name)(x))), passes)
        call = Call({}, {"x": np.array([np.nan, 1], dtype).reshape(1, 1, 2)}, {}, {"y": np.ones((1, 1, 2), dtype)})
        with np.errstate(invalid="ignore"):  # of which NumPy warns where complex numbers divide by nan
            outputs, tape = module.forward({}, call.inputs)
            gradient = module.backward({}, tape, call.cotangents).inputs["x"]
            moved = module.jvp({}, call.inputs, None, {}, {"x": call.cotangents["y"]}, None)["y"]
        for array in (outputs["y"], gradient, moved) if name != "sign" else (outputs["y"],):  # its slope is 0, whatever it is of
            np.testing.assert_array_equal(np.isnan(array.ravel()), [True, False])


@pytest.mark.parametrize("passes", [(), FAST])
def test_a_cotangent_that_no_gradient_reads_is_checked(passes: Any) -> None:
    """Through sign no gradient goes; what the caller hands over is looked at all the same."""
    x, y = sequence("x", D), sequence("y", D)
    module = kernel_of_cell(cell_of(Eq(y, function("sign")(x))), passes)
    _, tape = module.forward({}, {"x": np.ones((3, 2, 4))})
    assert not module.backward({}, tape, {"y": np.ones((3, 2, 4))}).inputs["x"].any()
    with pytest.raises(ValueError, match="cotangents"):
        module.backward({}, tape, {"y": np.ones((3, 2, 5))})


def test_nan_in_an_argument_reaches_loss_and_gradients_through_relu() -> None:
    module = kernel_of("rnn --activation relu")
    call = draw(module)
    call.parameters["b"][1] = np.nan
    found = results(module, call)
    assert np.isnan(found["output", "h"][..., 1]).all()
    assert all(np.isnan(found[key]).any() for key in (("gradient", 0, "W"), ("gradient", 1, "x"), ("jacobian",)))


# ---- names and sizes that a cell may use

NAMES = ("B", "T", "S", "np", "tape", "d_h", "h_prev", "lambda_", "sigma", "t", "state", "carry_h", "W_stack", "h_all")
NAMES += ("sizes", "dtype", "self", "parameters", "inputs", "cotangents", "outputs", "cotangent_h", "dot_h", "a_h", "a_h_in")
NAMES += ("s_1", "range", "reversed", "m", "add", "dot", "half", "buffer_1", "x_flat", "start", "stop", "n", "block", "k_h")
NAMES += ("forward", "Tape", "name", "number", "H", "D", "x_all", "J", "_x", "relu", "d_h_d_h", "zip", "lead", "None_")


ROLES = ("h", "z", "x", "U", "b")


def two_gates(**named: str) -> Any:
    """A small gated cell whose state, gate, input, matrix and bias have the given names."""
    name = {one: named.get(one, one) for one in ROLES}
    x, h, z = sequence(name["x"], D), sequence(name["h"], H), sequence(name["z"], H)
    U, b = matrix(name["U"], H, H), vector(name["b"], H)
    first = function("sigma")(matrix("W_z", H, D) @ x + matrix("U_z", H, H) @ h.prev)
    return [Eq(z, first), Eq(h, z * function("tanh")(matrix("W", H, D) @ x + U @ h.prev + b) + (1 - z) * h.prev)]


def same_under_names(named: dict[str, str]) -> None:
    """The cell gives the same bits under other names, which stand in the tables as they are."""
    reference, module = kernel_of_cell_of_gates(), kernel_of_cell(cell_of(*two_gates(**named)))
    tables = {"h": module.STATES, "x": module.INPUTS, "U": module.PARAMETERS, "b": module.PARAMETERS}
    assert all(named[role] in table for role, table in tables.items() if role in named)
    call = draw(reference)
    renamed = Call(*[{named.get(n, n): a for n, a in group.items()} for group in (*call.groups(), call.cotangents)])
    for first, second in zip(results(reference, call).values(), results(module, renamed).values(), strict=True):
        np.testing.assert_array_equal(first, second, err_msg=str(named))


@functools.cache
def kernel_of_cell_of_gates() -> Any:
    return kernel_of_cell(cell_of(*two_gates()))


@pytest.mark.parametrize("k", range(len(NAMES)), ids=NAMES)
def test_a_name_that_the_kernel_uses_keeps_its_public_name(k: int) -> None:
    """Each name in each role, together with four others."""
    same_under_names({role: NAMES[(k + 7 * j) % len(NAMES)] for j, role in enumerate(ROLES)})


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("name", ["self", "tape", "h_prev_all", "a_h_in", "np", "m"])
def test_a_name_alone(name: str, role: str) -> None:
    same_under_names({role: name})


def test_many_names_that_the_kernel_uses_in_one_cell() -> None:
    names = {one: sequence(one, H) for one in ("T", "h_prev", "t", "state", "carry_h", "d_t")}
    T, h_prev, t, state, carry_h, d_t = names.values()
    B, tape, np_ = sequence("B", D), matrix("tape", H, H), matrix("np", H, D)
    module = kernel_of_cell(
        cell_of(
            Eq(T, function("sigma")(np_ @ B + tape @ t.prev + vector("d_h", H))),
            Eq(h_prev, function("tanh")(matrix("lambda_", H, D) @ B + matrix("sigma", H, H) @ state.prev)),
            Eq(carry_h, T * h_prev),
            Eq(t, carry_h * vector("W_stack", H) + (1 - T) * t.prev),
            Eq(state, function("tanh")(matrix("h_all", H, H) @ t) + state.prev / 2),
            Eq(d_t, carry_h * state),
        )
    )
    assert (set(module.INPUTS), set(module.STATES), set(module.OUTPUTS)) == ({"B"}, {"t", "state"}, {"d_t"})
    assert set(module.PARAMETERS) == {"np", "tape", "d_h", "lambda_", "sigma", "W_stack", "h_all"}
    call = draw(module)
    close(args.backward(module, call), args.by_complex_step(module, call))


def test_concatenated_dimensions_are_written_in_the_order_of_the_equation() -> None:
    assert kernel("concatenated").PARAMETERS["W_z"] == ("H", "H+D")
    assert kernel("concatenated_twice").PARAMETERS["W_g"] == ("H", "2*H+D")
    assert kernel("packed").PARAMETERS["G"] == ("3*H", "H+D")


def test_a_concatenated_matrix_is_the_two_matrices_side_by_side() -> None:
    x, h = sequence("x", D), sequence("h", H)
    joined = kernel_of_cell(cell_of(Eq(h, function("tanh")(matrix("W", H, H + D) @ stack(h.prev, x)))))
    plain = kernel_of("rnn --no-bias")
    call = draw(plain)
    whole = Call({"W": np.hstack([call.parameters["U"], call.parameters["W"]])}, *call.groups()[1:], call.cotangents)
    first, second = args.backward(plain, call), args.backward(joined, whole)
    close({"W": second[0, "W"]}, {"W": np.hstack([first[0, "U"], first[0, "W"]])})


@pytest.mark.parametrize(
    ("rows", "columns"),
    [
        ("t", "np"),
        ("sizes", "dtype"),
        ("tape", "h_all"),
        ("x", "h"),
        ("lambda_", "S"),
        ("_Forward", "_Backward"),
        ("_sizes", "_add"),
        ("t", "t_size"),
        ("h_flat", "x_part"),
    ],
)
def test_a_dimension_named_like_something_the_kernel_uses(rows: str, columns: str) -> None:
    from derive.language import dimension

    x, h = sequence("x", dimension(columns)), sequence("h", dimension(rows))
    W, U = matrix("W", *h.shape[:1], *x.shape[:1]), matrix("U", h.shape[0], h.shape[0])
    module = kernel_of_cell(cell_of(Eq(h, function("tanh")(W @ x + U @ h.prev))))
    assert module.PARAMETERS["W"] == (rows, columns)
    call = draw(module, sizes={rows: 3, columns: 2})
    close(args.backward(module, call), args.by_complex_step(module, call))


@pytest.mark.parametrize("name", ["_Forward", "_Backward", "_array", "Tape"])
def test_a_parameter_and_a_dimension_named_like_a_part_of_the_kernel(name: str) -> None:
    from derive.language import dimension

    size = dimension(name)
    x, h = sequence("x", D), sequence("h", size)
    module = kernel_of_cell(cell_of(Eq(h, function("tanh")(matrix(name, size, D) @ x + matrix("U", size, size) @ h.prev))))
    assert module.PARAMETERS[name] == (name, "D")
    call = draw(module, sizes={name: 3})
    close(args.backward(module, call), args.by_complex_step(module, call))


@pytest.mark.parametrize("name", ["T", "B"])
def test_a_dimension_named_like_the_steps_or_the_batch_is_refused(name: str) -> None:
    from derive.cell import CellError
    from derive.language import dimension

    size = dimension(name)
    for x in (sequence("x", size), sequence("x", H + size)):
        with pytest.raises(CellError, match=rf"own: W: a dimension named {name}: .*expected.*Choose another name\.$"):
            cell_of(Eq(sequence("h", H), function("tanh")(matrix("W", H, x.shape[0]) @ x)))


# ---- refusals

OTHER = np.zeros((9, 9))
FORWARD: dict[str, Any] = {
    "parameters: missing U_f": lambda p, x, s: ({n: a for n, a in p.items() if n != "U_f"}, x, s),
    "parameters: unknown Q": lambda p, x, s: ({**p, "Q": OTHER}, x, s),
    "parameters['U_f']: wrong shape: expected (H = 3, H = 3), got (9, 9)": lambda p, x, s: ({**p, "U_f": OTHER}, x, s),
    "parameters['W_f']: wrong shape": lambda p, x, s: ({**p, "W_f": p["W_f"].T}, x, s),
    "parameters['b_f']: wrong shape": lambda p, x, s: ({**p, "b_f": p["b_f"][:, None]}, x, s),
    "parameters['b_i']: wrong shape": lambda p, x, s: ({**p, "b_i": np.array(0.5)}, x, s),
    "parameters['U_f']: wrong dtype": lambda p, x, s: ({**p, "U_f": np.zeros((3, 3), int)}, x, s),
    "parameters['W_i']: wrong dtype": lambda p, x, s: ({n: a.astype(np.float16) for n, a in p.items()}, x, s),
    "parameters['b_c']: mixed dtypes": lambda p, x, s: ({**p, "b_c": p["b_c"].astype(np.float32)}, x, s),
    "parameters['b_i'] is no array": lambda p, x, s: ({**p, "b_i": [0.0, 0.0, 0.0]}, x, s),
    "parameters is no mapping": lambda p, x, s: (list(p.values()), x, s),
    "inputs is no mapping": lambda p, x, s: (p, x["x"], s),
    "inputs: missing x": lambda p, x, s: (p, {}, s),
    "inputs: unknown u": lambda p, x, s: (p, {**x, "u": x["x"]}, s),
    "inputs['x']: wrong shape: expected (T, B, D = 2), got (3, 2)": lambda p, x, s: (p, {"x": x["x"][0]}, s),
    "inputs['x']: wrong shape": lambda p, x, s: (p, {"x": np.zeros((4, 3, 9))}, s),
    "inputs['x']: wrong dtype": lambda p, x, s: (p, {"x": x["x"] > 0}, s),
    "inputs['x']: mixed dtypes": lambda p, x, s: (p, {"x": x["x"].astype(complex)}, s),
    "state: missing c": lambda p, x, s: (p, x, {"h": s["h"]}),
    "state: unknown m": lambda p, x, s: (p, x, {**s, "m": s["h"]}),
    "state['c']: wrong shape: expected (B = 3, H = 3), got (1, 3)": lambda p, x, s: (p, x, {**s, "c": s["c"][:1]}),
    "state['h']: mixed dtypes: expected float64, as the first array, got float32": lambda p, x, s: (
        p, x, {**s, "h": s["h"].astype(np.float32)},
    ),
    "parameters['b_o']: wrong shape: expected (H = 3,), got (3, 1)": lambda p, x, s: ({**p, "b_o": p["b_o"][:, None]}, x, s),
    "parameters['W_i']: wrong type": lambda p, x, s: ({**p, "W_i": p["W_i"].view(np.matrix)}, x, s),
    "parameters['W_o']: wrong type: expected a plain NumPy array, got matrix": lambda p, x, s: (
        {**p, "W_o": p["W_o"].view(np.matrix)}, x, s,
    ),
    "inputs['x']: wrong type: expected a plain NumPy array, got MaskedArray": lambda p, x, s: (
        p, {"x": np.ma.masked_array(x["x"], x["x"] > 1)}, s,
    ),
    "state['h']: wrong type": lambda p, x, s: (p, x, {**s, "h": s["h"].view(np.matrix)}),
}  # fmt: skip
COTANGENTS: dict[str, Any] = {
    "cotangents: unknown y": lambda g: {"y": g["h"]},
    "cotangents['h']: wrong shape": lambda g: {"h": g["h"][1:]},
    "cotangents['c']: wrong shape: expected (T = 4, B = 3, H = 3), got (4, 3)": lambda g: {"c": g["c"][:, :, 0]},
    "cotangents['h']: wrong dtype": lambda g: {"h": np.ones((4, 3, 3), int)},
    "cotangents['h']: mixed dtypes: expected float64, as the tape, got float32": lambda g: {"h": g["h"].astype(np.float32)},
    "cotangents['h']: wrong type": lambda g: {"h": np.ma.masked_array(g["h"])},
    "cotangents['h'] is no array": lambda g: {"h": None},
    "cotangents is no mapping": lambda g: g["h"],
}
TANGENTS: dict[str, Any] = {
    "tangent_parameters: unknown Q": ({"Q": OTHER}, {}, None),
    "tangent_parameters['b_i']: wrong shape": ({"b_i": np.zeros(9)}, {}, None),
    "tangent_parameters['b_i']: wrong dtype": ({"b_i": np.zeros(3, int)}, {}, None),
    "tangent_parameters is no mapping": (None, {}, None),
    "tangent_inputs: unknown u": ({}, {"u": OTHER}, None),
    "tangent_inputs['x']: wrong shape": ({}, {"x": np.zeros((4, 3, 9))}, None),
    "tangent_state: unknown m": ({}, {}, {"m": OTHER}),
    "tangent_state['h']: mixed dtypes": ({}, {}, {"h": np.zeros((3, 3), np.float32)}),
}


def refused(where: str, fault: str, run: Any) -> str:
    """The text of the ValueError, which says where, what, what was expected, what came, and what to do, on one line."""
    with pytest.raises(ValueError, match="expected") as error:
        run()
    text = str(error.value)
    assert text.startswith(f"{where}: {fault}"), text
    assert ", got " in text
    assert "\n" not in text
    assert text.rpartition(". ")[2].strip(), f"says nothing of what to do: {text}"
    return text


def test_other_kinds_of_arrays_pass() -> None:
    """A subclass that computes as plain arrays do, such as np.memmap, needs no conversion."""

    class Own(np.ndarray):
        pass

    module = kernel_of("lstm")
    call = draw(module)
    close(results(module, call.map(lambda array: array.view(Own))), results(module, call))


@pytest.mark.parametrize("fault", FORWARD)
def test_forward_refuses(fault: str) -> None:
    module = kernel_of("lstm")
    broken = FORWARD[fault](*draw(module).groups())
    refused("forward", fault, lambda: module.forward(*broken))


@pytest.mark.parametrize("fault", FORWARD)
def test_jvp_refuses_what_forward_refuses_in_its_own_name(fault: str) -> None:
    module = kernel_of("lstm")
    broken = FORWARD[fault](*draw(module).groups())
    refused("jvp", fault, lambda: module.jvp(*broken, {}, {}, None))


@pytest.mark.parametrize("fault", COTANGENTS)
def test_backward_refuses(fault: str) -> None:
    module = kernel_of("lstm")
    call = draw(module)
    _, tape = args.forward(module, call)
    refused("backward", fault, lambda: module.backward(call.parameters, tape, COTANGENTS[fault](call.cotangents)))


@pytest.mark.parametrize("fault", TANGENTS)
def test_jvp_refuses(fault: str) -> None:
    module = kernel_of("lstm")
    refused("jvp", fault, lambda: module.jvp(*draw(module).groups(), *TANGENTS[fault]))


def test_a_tape_of_something_else_is_refused() -> None:
    module, other = kernel_of("lstm"), kernel_of("lstm --peephole")
    call = draw(module)
    _, foreign = args.forward(other, draw(other))
    for tape in (None, {}, foreign):
        refused("backward", "tape", lambda tape=tape: module.backward(call.parameters, tape, {}))
        refused("step_jacobian", "tape", lambda tape=tape: module.step_jacobian(call.parameters, tape))


def test_parameters_that_do_not_fit_the_tape_are_refused() -> None:
    module = kernel_of("lstm")
    call, small = draw(module), draw(module, sizes={"H": 2})
    _, tape = args.forward(module, call)
    refused("backward", "parameters['W_i']: wrong shape", lambda: module.backward(small.parameters, tape, {}))
    single = call.astype(np.float32).parameters
    refused("step_jacobian", "parameters['W_i']: mixed dtypes", lambda: module.step_jacobian(single, tape))
    refused("backward", "parameters: missing", lambda: module.backward({}, tape, {}))


def test_a_refused_call_leaves_no_trace() -> None:
    module = kernel_of("gru")
    call = draw(module)
    before = {key: array.tobytes() for key, array in results(module, call).items()}
    for broken in ({}, {**call.parameters, "U_h": OTHER}):
        with pytest.raises(ValueError, match="parameters"):
            module.forward(broken, call.inputs)
    assert {key: array.tobytes() for key, array in results(module, call).items()} == before


@pytest.mark.parametrize("name", ["concatenated", "concatenated_twice"])
def test_a_wrong_concatenated_size_is_refused(name: str) -> None:
    module = kernel(name)
    call = draw(module)
    wide = next(n for n, dims in module.PARAMETERS.items() if "+" in dims[1])
    parameters = {**call.parameters, wide: np.zeros((3, 99))}
    refused("forward", f"parameters[{wide!r}]: wrong shape", lambda: module.forward(parameters, call.inputs))


def test_a_step_of_descent_on_a_learned_number_gives_what_the_next_call_takes() -> None:
    """Arithmetic on an array without dimensions gives NumPy's number, not an array."""
    module = kernel("one_number")
    call = draw(module)
    gradients = args.backward(module, call)
    moved = {name: array - 0.1 * gradients[0, name] for name, array in call.parameters.items()}
    assert any(isinstance(array, np.generic) for array in moved.values())
    assert args.backward(module, Call(moved, call.inputs, call.state, call.cotangents)).keys() == gradients.keys()
