"""hvp of the fast policy: the textbook's numbers, over several blocks of steps, and what stands in its loops, ahead of them and behind."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from derive.cell import Cell
from derive.compiler import FAST, derive, emit, scheduled
from derive.equation import Equation
from derive.functions import function
from derive.language import Eq, dimension, matrix, sequence, vector
from derive.passes.share import SHARED
from derive.procedures import blockwise
from derive.procedures.second_order import TANGENTS
from derive.second_order import second_order
from tests import bounds, random_cells, shaped_cells
from tests.arguments import SIZES, draw
from tests.kernels import kernel_of, kernel_of_cell, text_of
from tests.odd_cells import cell
from tests.profiles import THOROUGH
from verify import programs
from verify.interpreter import Environment, Evaluator, floats

CELLS = ("lstm --peephole", "gru", "gru --reset after")
ODD = ("readout", "constant_state", "nothing_left", "nothing_to_learn", "untimed_parts", "input_remembered", "no_states")
SHAPED = ("learned_numbers", "reductions", "layer_norm_rnn", "names_in_the_way")
"""Of numbers and reductions, no value of a step a matrix."""

# Both sides are float64 and differ in the order of their sums: of 20 steps with their tangents, at most 12 matrices of 6 columns each.
TOLERANCE = bounds.rounded(bounds.of_recurrence(steps=2 * 20, batch=40, fan_in=2 * 12 * 6))


def both(name: str) -> tuple[Any, Any]:
    """(the fast kernel, the textbook's)."""
    if name in SHAPED:
        own = shaped_cells.cell(name)
        return kernel_of_cell(own), kernel_of_cell(own, ())
    if name in ODD:
        return kernel_of_cell(cell(name)), kernel_of_cell(cell(name), ())
    return kernel_of(name), kernel_of(name, ())


def blocks(gradients: Any) -> dict[str, np.ndarray]:
    groups = {"parameters": gradients.parameters, "inputs": gradients.inputs, "state": gradients.state}
    return {f"{group} {name}": array for group, found in groups.items() for name, array in found.items()}


def seconds(kernel: Any, T: int, B: int, change: Any = np.asarray) -> dict[str, np.ndarray]:
    call, direction = (draw(kernel, T=T, B=B, seed=seed).map(change) for seed in (0, 1))
    return blocks(kernel.hvp(*call.groups(), call.cotangents, *direction.groups()))


def assert_same(got: dict[str, np.ndarray], expected: dict[str, np.ndarray], tolerance: float) -> None:
    assert {n: (a.shape, a.dtype) for n, a in got.items()} == {n: (a.shape, a.dtype) for n, a in expected.items()}
    largest = max((np.linalg.norm(block) for block in expected.values()), default=0.0)
    for name, block in expected.items():
        assert np.linalg.norm(got[name] - block) <= tolerance * max(np.linalg.norm(block), 1e-3 * largest, 1e-12), name


@pytest.mark.parametrize("name", [*CELLS, *ODD, *SHAPED])
@pytest.mark.parametrize(("T", "B"), [(20, 40), (3, 1), (0, 2)])
def test_the_fast_policy_computes_what_the_textbook_computes(name: str, T: int, B: int) -> None:
    # with 40 examples a block has 3 steps, so that 20 steps are 7 blocks
    fast, textbook = both(name)
    assert_same(seconds(fast, T, B), seconds(textbook, T, B), TOLERANCE)


@pytest.mark.parametrize("name", CELLS)
def test_complex_and_strided_arguments_give_the_same(name: str) -> None:
    fast, textbook = both(name)
    for change in (lambda array: array * (1 + 0.5j), np.asfortranarray, lambda array: np.repeat(array, 2, axis=-1)[..., ::2]):
        assert_same(seconds(fast, 5, 3, change), seconds(textbook, 5, 3, change), TOLERANCE)


@pytest.mark.parametrize("name", CELLS)
def test_float32_stays_float32(name: str) -> None:
    fast, _ = both(name)
    single, double = seconds(fast, 5, 3, np.float32), seconds(fast, 5, 3)
    ratio = np.finfo(np.float32).eps / np.finfo(float).eps
    assert_same(single, {name: block.astype(np.float32) for name, block in double.items()}, TOLERANCE * ratio)


@pytest.mark.parametrize("name", CELLS)
def test_no_loop_multiplies_by_the_tangent_of_a_matrix(name: str) -> None:
    text = text_of(name)
    for called in ("_tangents", "_gradients", "hvp"):
        (body,) = re.findall(rf"^def {called}\(.*?(?=^def |^class )", text, re.MULTILINE | re.DOTALL)
        calls = re.findall(r"^ {12}dot\(.*", body, re.MULTILINE)  # what stands in blocks of steps is indented by 8
        assert calls
        assert not [line for line in calls if re.search(r"\bdot_[A-Z]", line)]


# ---- what stands outside of the recurrence

tanh, arctan = function("tanh"), function("arctan")
D, H, K = (dimension(name) for name in "DHK")
x, h, g, u, p, y = (sequence(name, size) for name, size in zip("xhgupy", (D, H, H, H, H, K), strict=True))


def ahead() -> Cell:
    """Maps of the input that need nothing of the loop, one made of the other."""
    return Cell.from_equations("own", "own", [
        Eq(p, tanh(matrix("W", H, D) @ x + vector("b", H))),
        Eq(g, arctan(matrix("U", H, H) @ p) * p),
        Eq(h, tanh(matrix("V", H, H) @ h.prev + g)),
    ])  # fmt: skip


def behind() -> Cell:
    """Outputs that nothing in the loop reads, one of a gate that the loop itself is done with."""
    return Cell.from_equations("own", "own", [
        Eq(u, matrix("U", H, H) @ h.prev + matrix("W", H, D) @ x),
        Eq(p, tanh(3 * u) * u),
        Eq(g, u + vector("b", H)),
        Eq(h, tanh(matrix("V", H, H) @ g)),
        Eq(y, tanh(matrix("A", K, H) @ h) * (matrix("B", K, H) @ p)),
    ])  # fmt: skip


def both_ends() -> Cell:
    """A map of the input ahead of the recurrence, and an output behind it that shares a product with it."""
    U = matrix("U", H, H)
    return Cell.from_equations("own", "own", [
        Eq(p, tanh(matrix("W", H, D) @ x)),
        Eq(u, tanh(matrix("A", H, D) @ x + U @ h.prev)),
        Eq(g, arctan(vector("b", H) * (U @ h.prev) + vector("b", H))),
        Eq(h, tanh((1 - matrix("V", H, H) @ g) * h.prev) * p),
    ])  # fmt: skip


def read_late() -> Cell:
    """A state whose last value only an output reads."""
    return Cell.from_equations("own", "own", [
        Eq(h, tanh(matrix("W", H, D) @ x + matrix("V", H, H) @ h.prev)),
        Eq(g, h * arctan(h)),
        Eq(y, tanh(matrix("A", K, H) @ g.prev)),
    ])  # fmt: skip


WRONG_ONCE = (5, 15, 18, 23, 32, 53, 90, 92, 262, 279, 384, 479)
"""Random cells whose numbers were wrong, or that couldn't run, while something was wrong: in turn a carry read twice where it was written,
a product of known values that read what its program didn't have, memory taken over from what is read behind the loop, a carry written
before another equation read the one before, tangents of parameters alone."""
SEEDS = [*WRONG_ONCE, *([seed for seed in range(200, 700) if seed not in WRONG_ONCE] if THOROUGH else ())]
DESIGNED = {cell.__name__: cell for cell in (ahead, behind, both_ends, read_late)}


def outside(which: str | int) -> Cell:
    return DESIGNED[which]() if isinstance(which, str) else random_cells.cell(which)


@pytest.mark.parametrize("which", [*DESIGNED, *SEEDS])
def test_what_stands_outside_of_the_recurrence_moves_as_in_the_textbook(which: str | int) -> None:
    own = outside(which)
    fast, textbook = kernel_of_cell(own), kernel_of_cell(own, ())
    if isinstance(which, str):
        assert hasattr(fast, f"_{TANGENTS}")
    call, direction = (draw(fast, T=7, B=40, seed=seed, scale=0.5) for seed in (0, 1))
    with np.errstate(all="ignore"):  # some of these cells grow beyond all bounds
        got, expected = (blocks(one.hvp(*call.groups(), call.cotangents, *direction.groups())) for one in (fast, textbook))
    finite = {name for name, block in expected.items() if np.isfinite(block).all()}
    assert_same({name: got[name] for name in finite}, {name: expected[name] for name in finite}, TOLERANCE)


def is_numbered(equation: Equation) -> bool:
    """Whether a value stands more than once and has a number for a name, which is another value in another program."""
    return any(term.reason is not None and term.reason.rule == SHARED for term in equation.terms)


@pytest.mark.parametrize("which", [*DESIGNED, *SEEDS])
def test_every_value_of_the_three_programs_is_that_of_the_one(which: str | int) -> None:
    derivation = derive(outside(which))
    _, tape, _ = scheduled(derivation, FAST)
    second = second_order(derivation, tape)
    if second is None and not isinstance(which, str):
        pytest.skip("one program does it")
    assert second is not None
    evaluate, rng, (T, B) = Evaluator(floats(), SIZES), np.random.default_rng(0), (5, 3)
    own = derivation.cell

    def draw_all(values: Any, *lead: int) -> Environment:
        sizes = {value: tuple(evaluate.size(size) for size in value.shape) for value in values}
        return {v: 0.5 * rng.standard_normal((*(lead if v.timed else ()), *sizes[v])) for v in values}

    arguments = (*own.parameters, *own.inputs)
    known = draw_all((*arguments, *[v.marked("tangent") for v in arguments]), T, B)
    known |= draw_all([v.marked("given") for v in derivation.forward.results], T, B)
    edges = draw_all([v for state in own.states for v in (state, state.marked("tangent"))], B)
    one_program = (*derivation.forward.equations, *derivation.second.equations)
    whole = programs.run(one_program, evaluate, known, edges)
    there = known | {value: whole[value] for value in tape if value in whole}
    for program in (second.tangent, second.backward, second.moved):
        found = programs.run(program.equations, evaluate, there, edges)
        there |= {value: found[value] for value in program.results}
        numbered = {one.target for one in (*one_program, *program.equations) if is_numbered(one)}
        named = [one.target for one in program.equations if one.target not in numbered]
        for value in (target for target in named if target in whole):
            if np.isfinite(whole[value]).all() and whole[value].shape == found[value].shape:
                size = max(np.abs(whole[value]).max(initial=0), 1e-3)
                assert np.abs(whole[value] - found[value]).max(initial=0) <= TOLERANCE * size, value


@pytest.mark.parametrize("which", ["read_late", 262, 279, 384])
def test_what_is_handed_on_may_wait_where_all_of_it_is_read_still(which: str | int, monkeypatch: pytest.MonkeyPatch) -> None:
    """As if no order put what hands on a value behind what reads the one before."""
    monkeypatch.setattr(blockwise, "handed_on_last", lambda equations, carried: (equations, [*carried]))
    own = outside(which)
    fast, textbook = kernel_of_cell(own), kernel_of_cell(own, ())
    call, direction = (draw(fast, T=7, B=40, seed=seed, scale=0.5) for seed in (0, 1))
    assert re.search(r"carry_\w+\[\.\.\.\] = \w+_next", emit(derive(own)))
    got, expected = (blocks(one.hvp(*call.groups(), call.cotangents, *direction.groups())) for one in (fast, textbook))
    assert_same(got, expected, TOLERANCE)
