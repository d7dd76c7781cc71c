"""Programs cut into their recurrences: each part has one, in the order of computation, and what is handed on is a result."""

from __future__ import annotations

from dataclasses import replace

import pytest

from derive.cell import Cell
from derive.cells.registry import build
from derive.compiler import emit, schedule
from derive.derivation import derive
from derive.functions import function
from derive.language import Eq, Value, matrix, sequence
from derive.program import Program, ProgramError, check
from derive.recurrences import joined, parts
from derive.schedule import LOOPS, stages
from tests import arguments as args
from tests import bounds
from tests.arguments import draw
from tests.kernels import module_of
from tests.odd_cells import D, H, cell_of
from tests.procedures.test_shapes import assert_same

tanh = function("tanh")
x, h, g = sequence("x", D), sequence("h", H), sequence("g", H)
W, U, V, R = matrix("W", H, D), matrix("U", H, H), matrix("V", H, H), matrix("R", H, H)


def loops_of(program: Program) -> int:
    return sum(stage.way in LOOPS for stage in stages(program.equations, fused=False))


@pytest.mark.parametrize("words", ["lstm --layers 2", "gru --layers 3"])
def test_each_layer_is_a_part_and_all_of_them_are_the_program(words: str) -> None:
    derivation = derive(build(words))
    for program in (derivation.forward, derivation.backward):
        found = parts(program)
        assert [loops_of(part) for part in found] == [1] * int(words[-1])
        whole = joined(program, found)
        assert sorted(map(str, whole.equations)) == sorted(map(str, program.equations))
        made: set[object] = set()
        for part in found:
            read = {value.like(lag=0) for one in part.equations for value in one.reads()} & program.defined().keys()
            assert read - part.defined().keys() <= made
            made |= {*part.results}


def test_one_recurrence_is_left_whole() -> None:
    program = derive(build("lstm")).forward
    assert parts(program) == [program]


def test_products_between_layers_stand_outside_of_loops() -> None:
    text = emit(derive(build("rnn --layers 2"))).split("def backward")[0]
    (between,) = [line for line in text.splitlines() if "m.h_1_all[1:][start:stop]" in line or "h_1_all[start:stop]" in line]
    assert between.startswith(" " * 8)
    assert not between.startswith(" " * 12)


DELAYED = {
    "the upper layer reads the lower one a step late": [Eq(h, tanh(W @ x + U @ h.prev)), Eq(g, tanh(V @ h.prev + R @ g.prev))],
    "of both steps": [Eq(h, tanh(W @ x + U @ h.prev)), Eq(g, tanh(V @ h.prev + U @ h + R @ g.prev))],
    "a parameter of both": [Eq(h, tanh(W @ x + U @ h.prev)), Eq(g, tanh(V @ h + U @ g.prev))],
}


@pytest.mark.parametrize("name", DELAYED)
def test_what_is_read_of_another_recurrence_is_what_the_textbook_reads(name: str) -> None:
    assert_same(cell_of(*DELAYED[name]))


@pytest.mark.parametrize("words", ["lstm --bidirectional", "gru --layers 2 --bidirectional"])
def test_a_recurrence_hands_on_its_share_of_a_sum_as_one_value(words: str) -> None:
    """Of the gradient of what both ways read, no products of each gate."""
    scheduled, _ = schedule(derive(build(words)))
    lower = [part for part in parts(scheduled.backward) if part.results]
    own = {*scheduled.backward.results}
    handed = [{str(value.name) for value in part.results if value not in own} for part in lower]
    assert all(len(names) <= 2 for names in handed), handed
    assert any("x_in" in names for names in handed)


def test_both_ways_are_joined_by_a_part_of_their_own() -> None:
    scheduled, tape = schedule(derive(build("rnn --layers 2 --bidirectional")))
    found = parts(scheduled.forward, tape)
    joining = [[str(target.name) for target in part.defined()] for part in found if not loops_of(part)]
    assert joining == [["h_1"], ["h"]]
    assert [loops_of(part) for part in found] == [1, 1, 0, 1, 1, 0]


def test_two_values_of_one_name_and_different_shapes_are_refused() -> None:
    program = derive(build("rnn")).forward
    twin = Value("x", H)
    with pytest.raises(ProgramError, match=r"x .*: two values of one name and different shapes"):
        check(replace(program, given=(*program.given, twin)))


def wide(terms: int) -> Cell:
    """A sum of many products, in the loop, and one outside of it."""
    products = [matrix(f"W_{k}", H, D) @ x for k in range(terms)]
    inside = sum(products[1:], start=products[0])
    return cell_of(Eq(g, inside), Eq(h, tanh(g + sum([matrix(f"U_{k}", H, H) @ h.prev for k in range(terms)], start=U @ h.prev))))


def test_a_sum_of_many_terms_is_several_statements() -> None:
    text = emit(derive(wide(70)), ())
    assert text.count(" += ") >= 4
    assert max(line.count(" @ ") for line in text.splitlines()) <= 32
    plain, fast = (module_of(emit(derive(wide(70)), passes)) for passes in ((), ("stack", "hoist", "buffers")))
    call = draw(plain, scale=0.2)
    for route in (lambda kernel: args.forward(kernel, call)[0], lambda kernel: args.backward(kernel, call)):
        assert args.worst(route(plain), route(fast))[0] < bounds.of_call(call)
