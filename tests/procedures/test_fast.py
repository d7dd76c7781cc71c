"""The fast policy: calls that write into memory that is there, arrays called by what they hold, and emission in linear time."""

from __future__ import annotations

import re
import sys
from functools import partial
from typing import Any

import pytest
import sympy as sp

from benchmarks.derivation import chain
from derive.cell import Cell
from derive.compiler import schedule
from derive.derivation import derive
from derive.functions import function
from derive.language import Eq, dimension, matrix, sequence, vector
from derive.procedures.fast_kernel import FastKernel
from derive.procedures.names import Names
from derive.procedures.procedure import ALL, Array, At, Call, Cut, Do, Number, Operand, Statement, View, part
from derive.procedures.shaping import elementwise
from derive.procedures.written import Writer, is_computed
from derive.targets.numpy.emit import RESERVED
from tests import bounds
from tests.arguments import draw, error
from tests.derive.test_passes import KEPT
from tests.kernels import kernel_of_cell, text_of

H = sp.Symbol("H", integer=True, positive=True)
a, b, c, d, out = (Array(name, ("B",), (H,)) for name in ("a", "b", "c", "d", "out"))


class Borrowed:
    """Counts the memory that a writer asks for."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, operand: Operand) -> Array:
        self.count += 1
        return Array(f"buffer_{self.count}", operand.axes, operand.dims)


def product(call: Call, memory: Operand) -> Statement:
    return Do(call.into(memory))


def written(operand: Operand, consumed: Operand | None = None) -> tuple[list[Call], int]:
    """(the calls that compute an operand in `out`, how much memory they borrowed)."""
    borrowed = Borrowed()
    writer = Writer(borrowed, lambda number: number, product)
    writer.write(operand, out if consumed is None else consumed, consumed)
    assert all(isinstance(one, Do) for one in writer.statements)
    return [one.call for one in writer.statements if isinstance(one, Do)], borrowed.count


def test_a_nested_call_is_one_call_for_each_operation_in_the_memory_of_its_result() -> None:
    calls, borrowed = written(elementwise("add", elementwise("multiply", a, b), c))
    assert [(call.operation, call.out) for call in calls] == [("multiply", out), ("add", out)]
    assert borrowed == 0


def test_two_computed_operands_take_one_more_piece_of_memory() -> None:
    calls, borrowed = written(elementwise("add", elementwise("multiply", a, b), elementwise("multiply", c, d)))
    assert [call.operation for call in calls] == ["multiply", "multiply", "add"]
    assert borrowed == 1


def test_of_factors_the_computed_one_comes_first_so_that_no_memory_is_borrowed() -> None:
    calls, borrowed = written(
        elementwise("multiply", elementwise("multiply", a, b), elementwise("subtract", Number(sp.S.One), c))
    )
    assert [call.operation for call in calls] == ["subtract", "multiply", "multiply"]
    assert borrowed == 0


@pytest.mark.parametrize(
    "operand",
    [
        elementwise("add", elementwise("multiply", b, c), a),
        elementwise("subtract", elementwise("multiply", b, c), elementwise("multiply", a, d)),
        elementwise("multiply", elementwise("add", b, c), elementwise("negative", a)),
    ],
)
def test_memory_that_is_taken_over_is_read_by_the_first_call_that_writes_there(operand: Operand) -> None:
    calls, _ = written(operand, consumed=a)
    first = next(call for call in calls if call.out == a)
    assert a in first.arguments
    assert calls[-1].out == a


def test_no_argument_of_a_call_is_computed_in_it() -> None:
    deep = elementwise("add", elementwise("multiply", elementwise("add", a, b), elementwise("negative", c)), d)
    calls, _ = written(deep)
    assert not any(is_computed(argument) for call in calls for argument in call.arguments)


def test_a_part_of_some_steps_is_one_view() -> None:
    steps = Array("x_all", ("T", "B"), (H,))
    some = part(steps, (Cut(None, 3), ALL, ALL))
    assert part(some, (ALL, ALL, Cut(0, 2))) == View(steps, (Cut(None, 3), ALL, Cut(0, 2)))
    assert part(some, (At(sp.S.Zero), ALL, ALL)) == View(some, (At(sp.S.Zero), ALL, ALL))
    assert part(steps, (ALL, ALL, ALL)) == steps


# ---- the text


@pytest.mark.parametrize("name", KEPT)
def test_no_coefficient_is_a_copy_and_no_first_step_is_special(name: str) -> None:
    text = text_of(name)
    formulas = re.findall(r"# (k_\S+) = (\S+)$", text, re.M)
    assert not [pair for pair in formulas if "(" not in pair[1]]
    backward = text[text.index("def backward") : text.index("def jvp")]
    assert "if T == 0" not in backward
    assert "stop == T" not in backward


def test_an_array_is_called_by_what_it_holds_in_the_end() -> None:
    """The gates of a GRU are computed in the memory of what they are made of."""
    text = text_of("gru")
    assert "z=m.z_r_all[:, 0]" in text
    assert "self.z_r_all = np.empty((T, 2, B, H), dtype)" in text


def test_every_function_has_the_axes_of_the_caller() -> None:
    """A batch that stood last would be turned by swapping two axes behind the steps."""
    text = text_of("lstm --peephole")
    assert "transpose(0, 2, 1)" not in text
    assert "x @ W.T" in text


def calls_made(run: Any) -> int:
    """How many Python functions are called: what does not depend on the machine."""
    count = 0

    def see(frame: Any, event: str, argument: Any) -> None:
        nonlocal count
        count += event == "call"

    sys.setprofile(see)
    try:
        run()
    finally:
        sys.setprofile(None)
    return count


def test_emission_is_linear_in_the_length_of_a_chain() -> None:
    """What comes with 20 more gates is twice what comes with 10 more, and a tenth or so for what isn't cached yet."""
    found = []
    for length in (10, 20, 40):
        derivation = derive(chain(length))
        scheduled, tape = schedule(derivation)
        kernel = FastKernel(derivation.cell, scheduled.notation(), Names(RESERVED, ["D", "H"]), tape)
        runs = (partial(schedule, derivation), partial(kernel.forward, scheduled.forward))
        found.append(sum(map(calls_made, (*runs, partial(kernel.backward, scheduled.backward)))))
    assert found[2] - found[1] < 2.3 * (found[1] - found[0])


def test_memory_is_not_taken_over_from_what_is_read_behind_the_loop() -> None:
    D, n = dimension("D"), dimension("H")
    x, h, u, g, y = (sequence(name, size) for name, size in zip("xhugy", (D, n, n, n, n), strict=True))
    own = Cell.from_equations("own", "own", [
        Eq(u, matrix("U", n, n) @ h.prev + matrix("W", n, D) @ x),
        Eq(y, 2 * u),
        Eq(g, u + vector("b", n)),
        Eq(h, function("tanh")(matrix("V", n, n) @ g)),
    ])  # fmt: skip
    fast, textbook = kernel_of_cell(own), kernel_of_cell(own, ())
    call = draw(fast)
    found, expected = (kernel.forward(*call.groups())[0] for kernel in (fast, textbook))
    for name in ("h", "y"):
        assert error(found[name], expected[name]) <= bounds.of_call(call), name
