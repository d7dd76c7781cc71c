"""The text of a kernel: short lines that break where the structure says, brackets where Python needs them, no sizes that nothing reads."""

from __future__ import annotations

import ast

import pytest
import sympy as sp

from derive.compiler import compile_cell
from derive.letters import width
from derive.procedures.names import Names
from derive.procedures.procedure import ALL, NEW, Array, At, Call, Cut, Number, Operand, Position, View
from derive.procedures.shaping import elementwise
from derive.targets.numpy.expressions import Printer
from derive.targets.numpy.layout import WIDTH, Bracket, Infix, Word, flat, lines
from tests.odd_cells import D, H, K
from tests.shaped_cells import SHAPED
from tests.shaped_cells import cell as shaped_cell

a, b, c = (Array(name, ("B",), (H,)) for name in "abc")
C = Array("C", ("B",), (H, K))
W = Array("W", (), (H, D))
t = Position("t")


def text(operand: Operand) -> str:
    return flat(Printer(Names((), ()))(operand))


def add(x: Operand, y: Operand) -> Operand:
    return elementwise("add", x, y)


def subtract(x: Operand, y: Operand) -> Operand:
    return elementwise("subtract", x, y)


def times(x: Operand, y: Operand) -> Operand:
    return elementwise("multiply", x, y)


def matmul(x: Operand, y: Operand) -> Operand:
    return Call("matmul", (x, y), ("B",), (H,))


def negative(x: Operand) -> Operand:
    return elementwise("negative", x)


@pytest.mark.parametrize(
    ("operand", "said"),
    [
        (subtract(a, subtract(b, c)), "a - (b - c)"),
        (subtract(subtract(a, b), c), "a - b - c"),
        (times(add(a, b), c), "(a + b) * c"),
        (times(times(a, b), c), "a * b * c"),
        (times(a, times(b, c)), "a * (b * c)"),
        (times(a, matmul(b, W)), "a * (b @ W)"),
        (times(matmul(a, W), b), "(a @ W) * b"),
        (matmul(matmul(a, W), W), "a @ W @ W"),
        (matmul(times(a, b), W), "(a * b) @ W"),
        (elementwise("divide", a, times(b, c)), "a / (b * c)"),
        (elementwise("divide", times(a, b), c), "a * b / c"),
        (elementwise("power", add(a, b), Number(sp.Integer(2))), "(a + b)**2"),
        (elementwise("power", a, Number(sp.Rational(-3, 2))), "a**(-1.5)"),
        (negative(add(a, b)), "-(a + b)"),
        (add(negative(a), b), "-a + b"),
        (subtract(a, negative(b)), "a - (-b)"),
        (times(a, negative(b)), "a * (-b)"),
        (Call("transpose", (W,), (), (D, H)), "W.T"),
        (Call("transpose", (C,), ("B",), (K, H)), "C.swapaxes(-1, -2)"),
        (View(a, (ALL, ALL, NEW)), "a[..., None]"),
        (View(a, (ALL, NEW, ALL)), "a[..., None, :]"),
        (View(a, (ALL, Cut(None, H - 1))), "a[..., :H - 1]"),
        (View(C, (ALL, Cut(1, None), ALL)), "C[..., 1:, :]"),
        (View(a, (At(t + 1), ALL)), "a[t + 1]"),
        (View(W, (Cut(sp.S.Zero, D), ALL)), "W[0:D]"),
        (times(Number(1 / H), a), "1 / H * a"),
        (times(Number(1 / sp.sqrt(H)), a), "H**(-0.5) * a"),
        (times(Number(sp.Rational(1, 3)), a), "0.3333333333333333 * a"),
        (times(Number(H * (D + 1)), a), "(D + 1) * H * a"),
    ],
    ids=str,
)
def test_an_operand_is_printed_with_the_brackets_it_needs(operand: Operand, said: str) -> None:
    assert text(operand) == said
    ast.parse(said)


def test_a_long_statement_breaks_at_its_outermost_bracket_or_sign() -> None:
    long = Infix(Word("x" * 60), (("+", Bracket("f(", (Word("y" * 60), Word("z" * 60)), ")")),), 0)
    assert lines(long, "    ", "total = ") == [
        "    total = (",
        f"        {'x' * 60}",
        "        + f(",
        f"            {'y' * 60},",
        f"            {'z' * 60},",
        "        )",
        "    )",
    ]


def functions(name: str) -> list[tuple[ast.FunctionDef, list[str]]]:
    """The functions of the contract, each with the lines behind its refusals, from its sizes on."""
    code = compile_cell(shaped_cell(name), ())
    found = [one for one in ast.parse(code).body if isinstance(one, ast.FunctionDef)]
    texts = {one: code.splitlines()[one.lineno - 1 : one.end_lineno] for one in found}
    starts = {one: next((k for k, line in enumerate(text) if "sizes[" in line), None) for one, text in texts.items()}
    return [(one, texts[one][start:]) for one, start in starts.items() if start is not None and not one.name.startswith("_")]


@pytest.mark.parametrize("name", SHAPED)
def test_no_line_is_too_long_and_nothing_goes_unread(name: str) -> None:
    found = functions(name)
    assert [function.name for function, _ in found] == ["forward", "backward", "jvp", "hvp", "step_jacobian"]
    for function, text in found:
        assert max(map(width, text)) <= WIDTH
        names = [node for node in ast.walk(function) if isinstance(node, ast.Name)]
        stored, read = ({node.id for node in names if isinstance(node.ctx, kind)} for kind in (ast.Store, ast.Load))
        assert not stored - read - {"dtype", "_"}, function.name
