"""When equations are computed: found from what reads what."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from derive.compiler import derive
from derive.equation import Equation, Term
from derive.functions import function
from derive.language import Eq, Value, matmul, matrix, sequence, transpose, vector
from derive.schedule import ScheduleError, Stage, handed_on_last, places, stages
from tests.odd_cells import H, U, W, b, cell_of, h, x

tanh, sigma = function("tanh"), function("sigma")
A, V = matrix("A", H, H), matrix("V", H, H)
c, g, s, y = (sequence(name, H) for name in ("c", "g", "s", "y"))


def equation(target: Value, *terms: Any) -> Equation:
    return Equation(target, tuple(Term(term) for term in terms))


def total(name: str, *terms: Any) -> Equation:
    """A value without axes: what varies in its terms is summed over steps and examples."""
    return equation(matrix(name, H, H), *terms)


def ways(*equations: Equation) -> list[tuple[str, list[str]]]:
    return [(stage.way, [one.target.name for one in stage.equations]) for stage in stages(equations)]


def later(value: Value) -> Value:
    return value.like(lag=1)


RECURRENCE = equation(h, tanh(A @ h.prev + g))
INPUT = equation(g, W @ x)
OUTPUT = equation(y, sigma(V @ h))


# ---- what is handed on


def test_what_hands_on_a_value_stands_behind_what_reads_the_one_before() -> None:
    """c reads the h handed on before, though it stands behind h; what g reads of c at the step keeps its place behind c."""
    equations = [equation(h, tanh(s)), equation(c, sigma(later(h))), equation(g, c * c)]
    found, crossed = handed_on_last(equations, [h, c])
    assert ([one.target for one in found], crossed) == ([c, h, g], [])


def test_what_hands_on_to_each_other_has_no_such_order() -> None:
    equations = [equation(h, tanh(later(c))), equation(c, sigma(later(h)))]
    found, crossed = handed_on_last(equations, [h, c])
    assert ([one.target for one in found], crossed) == ([h, c], [h])


# ---- what is outside a loop


def test_what_the_recurrence_does_not_need_is_computed_for_all_steps_at_once() -> None:
    assert ways(INPUT, RECURRENCE, OUTPUT) == [("steps", ["g"]), ("forwards", ["h"]), ("steps", ["y"])]
    found = places((INPUT, RECURRENCE, OUTPUT))
    assert [found[value] for value in (g, h, y)] == ["before", "step", "after"]


def test_what_varies_along_no_axis_is_computed_once() -> None:
    w = vector("w", H)
    assert ways(equation(w, tanh(U @ b)), equation(y, w * (W @ x))) == [("once", ["w"]), ("steps", ["y"])]


def test_a_sum_over_the_steps_is_taken_outside_the_loop() -> None:
    gradient = total("d_A", matmul(h, transpose(h.prev)))
    assert ways(RECURRENCE, gradient)[-1] == ("steps", ["d_A"])
    assert places((INPUT, RECURRENCE, gradient))[gradient.target] == "after"


def test_what_is_made_of_a_sum_over_the_steps_comes_last() -> None:
    gradient, made = total("d_A", matmul(h, transpose(h.prev))), total("d_V", A @ matrix("d_A", H, H))
    found = places((INPUT, RECURRENCE, gradient, made))
    assert (found[gradient.target], found[made.target]) == ("after", "finish")
    assert ways(INPUT, RECURRENCE, gradient, made)[-1] == ("once", ["d_V"])


def test_a_sum_over_the_steps_may_hold_what_is_made_of_another() -> None:
    """A parameter that is read at each step and in a value of parameters alone."""
    gradient = total("d_A", matmul(h, transpose(h.prev)))
    both = total("d_V", matmul(y, transpose(h)), A @ matrix("d_A", H, H))
    order = [name for _, names in ways(INPUT, RECURRENCE, OUTPUT, gradient, both) for name in names]
    assert order.index("d_A") < order.index("d_V")
    assert places((INPUT, RECURRENCE, OUTPUT, gradient, both))[both.target] == "finish"


# ---- recurrences


def test_values_that_need_each_other_across_steps_are_one_loop() -> None:
    pair = (equation(h, tanh(A @ c.prev + g)), equation(c, sigma(V @ h.prev)))
    assert ways(INPUT, *pair) == [("steps", ["g"]), ("forwards", ["h", "c"])]


def test_two_recurrences_of_one_way_are_one_loop() -> None:
    """The upper layer reads the lower one, and what lies between them stands in the loop."""
    upper = equation(c, tanh(U @ c.prev + y))
    assert ways(INPUT, RECURRENCE, OUTPUT, upper) == [("steps", ["g"]), ("forwards", ["h", "y", "c"])]
    found = places((INPUT, RECURRENCE, OUTPUT, upper))
    assert [found[value] for value in (g, h, y, c)] == ["before", "step", "step", "step"]


def test_a_right_to_left_recurrence_runs_backwards() -> None:
    turned = equation(h, tanh(A @ later(h) + g))
    assert ways(INPUT, turned, OUTPUT) == [("steps", ["g"]), ("backwards", ["h"]), ("steps", ["y"])]


def test_recurrences_of_both_ways_are_two_loops() -> None:
    turned = equation(c, tanh(U @ later(c) + y))
    assert ways(INPUT, RECURRENCE, OUTPUT, turned) == [
        ("steps", ["g"]),
        ("forwards", ["h"]),
        ("steps", ["y"]),
        ("backwards", ["c"]),
    ]


def test_a_state_that_nobody_but_a_later_step_reads_stands_with_its_reader() -> None:
    """m is read by h a step later and h by m: the carry of m is part of the recurrence, though no equation of its step reads it."""
    pair = (RECURRENCE, equation(c, sigma(V @ h)), equation(s, c.prev * h))
    names = {name: way for way, found in ways(INPUT, *pair) for name in found}
    assert names["h"] == "forwards"
    found = places((INPUT, *pair))
    assert [found[value] for value in (h, c, s)] == ["step", "step", "after"]


def test_a_state_without_a_recurrence_needs_no_loop() -> None:
    """h_t is computed from the input alone: its value a step earlier is a shift of what is there."""
    assert ways(INPUT, equation(h, tanh(g)), equation(y, h * h.prev)) == [("steps", ["g", "h", "y"])]


def test_what_lies_between_two_loop_values_stands_in_the_loop() -> None:
    """h comes from the input alone; what is made of it and read by the recurrence of c isn't put behind the loop."""
    found = places((INPUT, equation(h, tanh(g)), equation(y, h * b), equation(c, y * c.prev + h.prev)))
    assert [found[value] for value in (h, y, c)] == ["step", "step", "step"]


# ---- what has no order


@pytest.mark.parametrize("order", [1, -1])
def test_equations_are_put_in_an_order_in_which_they_can_be_computed(order: int) -> None:
    found = stages((INPUT, RECURRENCE, OUTPUT)[::order])
    assert in_order(found)


def in_order(found: tuple[Stage, ...]) -> bool:
    """Whether every equation stands behind those that it reads at its own step."""
    targets = [one.target for stage in found for one in stage.equations]
    return all(
        value not in targets[targets.index(one.target) :] for stage in found for one in stage.equations for value in one.reads()
    )


def test_a_circle_at_one_step_is_refused_by_name() -> None:
    with pytest.raises(ScheduleError, match="need each other at the same step"):
        stages((equation(h, tanh(c)), equation(c, sigma(h))))


def test_an_earlier_and_a_later_step_of_one_recurrence_are_refused() -> None:
    with pytest.raises(ScheduleError, match="both an earlier and a later step"):
        stages((equation(h, h.prev + c), equation(c, later(h))))


# ---- derived programs


def test_a_backward_program_hands_back_in_a_loop_backwards() -> None:
    backward = derive(cell_of(Eq(h, tanh(W @ x + U @ h.prev + b)))).backward
    assert [stage.way for stage in stages(backward.equations)].count("backwards") == 1
    loop = next(stage for stage in stages(backward.equations) if stage.way == "backwards")
    assert {(one.target.name, one.target.kind) for one in loop.equations} >= {("h", "carry"), ("h", "cotangent")}
    assert not any(one.accumulate for one in loop.equations)


@pytest.mark.parametrize("equations", [[Eq(h, tanh(W @ x)), Eq(y, sigma(h) * h.prev)], [Eq(h, tanh(W @ x + U @ h.prev))]])
def test_places_put_every_equation_behind_what_it_reads(equations: list[Any]) -> None:
    """Whatever another step hands on is there when it is read: the loop stands in front of what is behind it."""
    rank = {"once": 0, "before": 1, "step": 2, "after": 3, "finish": 4}
    for program in derive(cell_of(*equations)).programs():
        for one in program.equations:
            for value in one.reads():
                source = program.places.get(value.like(lag=0))
                assert source is None or rank[source] <= rank[program.place(one)], (program.name, one.target, value)


# ---- time


def chain(count: int) -> list[Equation]:
    """h_t through so many gates from h_{t-1}, one after the other."""
    gates = [sequence(f"z_{k}", H) for k in range(count)]
    before = [h.prev, *gates]
    return [*[equation(gate, sigma(A @ one + g)) for gate, one in zip(gates, before, strict=False)], equation(h, tanh(gates[-1]))]


def calls(function: Any, *arguments: Any) -> int:
    """How many functions are called on the way, comparisons of values among them."""
    counted = 0

    def count(frame: Any, event: str, argument: Any) -> None:
        nonlocal counted
        counted += event == "call"

    sys.setprofile(count)
    try:
        function(*arguments)
    finally:
        sys.setprofile(None)
    return counted


@pytest.mark.parametrize("found", [places, stages])
def test_a_chain_is_scheduled_in_time_linear_in_its_length(found: Any) -> None:
    """1,000 gates take ten times the calls that 100 take, but for a tenth: sets that grow compare more values now and then."""
    few, many = (calls(found, chain(count)) for count in (100, 1000))
    assert many <= 11 * few
