"""When equations are computed: matrices of each step inside of their loop, all else as the schedule has it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from derive.cells.registry import build
from derive.compiler import derive, plain
from derive.language import Eq, sequence, transpose
from derive.procedures.stages import stages
from derive.procedures.tape import is_made_again
from derive.program import Program
from derive.schedule import LOOPS, Stage, is_fat
from tests.odd_cells import ODD, H, W, cell_of, tanh, x
from tests.odd_cells import cell as odd_cell
from tests.shaped_cells import SHAPED, C, N, W_k, k, v
from tests.shaped_cells import cell as shaped_cell


def programs_of(name: str) -> list[Program]:
    find: Callable[[str], object] = shaped_cell if name in SHAPED else odd_cell if name in ODD else build
    derivation, _ = plain(derive(find(name)))  # type: ignore[arg-type]
    return [derivation.forward, derivation.backward, derivation.tangent]


def made_in(found: tuple[Stage, ...]) -> dict[str, str]:
    return {equation.target.name: stage.way for stage in found for equation in stage.equations}


@pytest.mark.parametrize("name", [*SHAPED, "lstm --peephole", "taps", "untimed_parts"])
def test_each_equation_is_computed_once_after_what_it_reads(name: str) -> None:
    for program in programs_of(name):
        found = stages(program)
        assert sorted(str(e.target) for s in found for e in s.equations) == sorted(str(e.target) for e in program.equations)
        done = {*program.given}
        defined = program.defined()
        for stage in found:
            inside = {equation.target for equation in stage.equations}
            for equation in stage.equations:
                for value in equation.reads():
                    plain_value = value.like(lag=0)
                    assert plain_value not in defined or plain_value in done or (value.lag and plain_value in inside), name
                done.add(equation.target)


def test_a_matrix_that_only_a_loop_reads_is_made_inside_of_it() -> None:
    P = sequence("P", H, N)
    equations = [Eq(k, W_k @ x), Eq(v, tanh(W @ x)), Eq(P, v @ transpose(k)), Eq(C, tanh(P + C.prev / 2) + P)]
    derivation, tape = plain(derive(cell_of(*equations)))
    for program, way in ((derivation.forward, "forwards"), (derivation.tangent, "forwards")):
        homes = made_in(stages(program))
        assert homes["P"] == homes["C"] == way
        assert homes["k"] == homes["v"] == "steps"
    assert made_in(stages(derivation.backward))["P"] == "backwards"
    assert P not in tape


@pytest.mark.parametrize("name", ["mlstm", "delta_rule", "gated_linear_attention", "memory_with_number_state"])
def test_no_stage_behind_a_loop_reads_a_matrix_of_each_step_that_the_backward_loop_made(name: str) -> None:
    backward = programs_of(name)[1]
    found = stages(backward)
    for at, stage in enumerate(found):
        if stage.way in LOOPS:
            fat = {equation.target for equation in stage.equations if is_fat(equation.target)}
            outside = [value for later in found[at + 1 :] for e in later.equations for value in e.reads() if value in fat]
            assert not outside


def test_a_sum_that_reads_a_matrix_of_each_step_is_added_to_in_the_loop() -> None:
    found = stages(programs_of("matrix_inputs")[1])
    loop = next(stage for stage in found if stage.way == "backwards")
    assert {"L", "G"} & {equation.target.name for equation in loop.equations if not equation.target.axes}


def test_vectors_wait_for_the_end_of_the_loop() -> None:
    found = stages(programs_of("lstm")[1])
    assert [stage.way for stage in found] == ["backwards", "steps"]
    assert {equation.target.name for equation in found[1].equations} >= {"W_i", "U_f", "b_o", "x"}


@pytest.mark.parametrize("name", ["matrices_of_each_step", "stacked_numbers"])
def test_a_matrix_that_is_an_outer_product_is_made_again_and_not_kept(name: str) -> None:
    derivation = derive(shaped_cell(name))
    made_again = {e.target for e in derivation.forward.equations if is_made_again(e, derivation.forward)}
    assert made_again
    assert not made_again & set(plain(derivation)[1])
