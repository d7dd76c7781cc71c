"""Which stacks lie in blocks, and that kernels are right either way."""

from __future__ import annotations

from typing import Any

import pytest

from derive.cell import Cell
from derive.cells.registry import build
from derive.compiler import BUFFERS, FAST, schedule
from derive.derivation import derive
from derive.functions import function
from derive.language import Eq, dimension, matrix, sequence, vector
from derive.procedures.memory import Memory
from tests import arguments as args
from tests import bounds
from tests.arguments import draw
from tests.kernels import kernel_of_cell

sigma, tanh = function("sigma"), function("tanh")


def sizes(cell: Cell) -> dict[str, str]:
    """name -> rows of a block, of the values of forward that lie in stacks of blocks."""
    scheduled, tape = schedule(derive(cell), [name for name in FAST if name != BUFFERS])
    return {value.name: str(size) for value, size in Memory(scheduled.forward, tape).sizes.items()}


def test_gates_behind_the_product_lie_in_blocks_and_the_product_in_rows() -> None:
    found = sizes(build("lstm"))
    assert {"i", "f", "o", "c_tilde"} <= set(found)
    assert set(found.values()) == {"H"}
    assert not {"a_stack", "a_stack_in"} & set(found)


def test_what_is_read_by_calls_over_blocks_only_lies_in_blocks_too() -> None:
    """A GRU adds the rows of two products; the sum, its tanh and the gates are blocks."""
    assert {"a_stack_2", "tanh_a_stack", "z", "r"} <= set(sizes(build("gru --reset after")))


def gated(gates: int, through: bool) -> Cell:
    """h = tanh(h' + Σ g_k ∘ h'), g_k = σ(W_k x + U_k h' + b_k); through: V_k g_k instead for the first two."""
    D, H = dimension("D"), dimension("H")
    x, h = sequence("x", D), sequence("h", H)
    equations, total = [], h.prev
    for k in range(gates):
        gate = sequence(f"g_{k}", H)
        equations.append(Eq(gate, sigma(matrix(f"W_{k}", H, D) @ x + matrix(f"U_{k}", H, H) @ h.prev + vector(f"b_{k}", H))))
        total = total + (matrix(f"V_{k}", H, H) @ gate if through and k < 2 else gate * h.prev)
    return Cell.from_equations("gated", "gated", [*equations, Eq(h, tanh(total))])


def unlike() -> Cell:
    """Gates of sizes H and K over the same vectors: no block has the rows of both."""
    D, H, K = dimension("D"), dimension("H"), dimension("K")
    x, h, q = sequence("x", D), sequence("h", H), sequence("q", K)
    g, e = sequence("g", H), sequence("e", K)
    return Cell.from_equations(
        "unlike",
        "unlike",
        [
            Eq(g, sigma(matrix("W_g", H, D) @ x + matrix("U_g", H, H) @ h.prev)),
            Eq(e, sigma(matrix("W_e", K, D) @ x + matrix("U_e", K, H) @ h.prev)),
            Eq(q, e * q.prev + matrix("V", K, H) @ g),
            Eq(h, tanh(g * h.prev + matrix("R", H, K) @ q)),
        ],
    )


def test_gates_of_different_sizes_lie_in_rows() -> None:
    assert not {"g", "e"} & set(sizes(unlike()))


def same(plain: Any, fast: Any, call: Any) -> None:
    """Outputs and gradients of two kernels agree but for the order of their sums."""
    (expected, tape), (found, own) = args.forward(plain, call), args.forward(fast, call)
    for wanted, given in ((expected, found), (args.backward(plain, call, tape), args.backward(fast, call, own))):
        error, block = args.worst(wanted, given)
        assert error < bounds.of_call(call), f"{block}: {error:.1e}"


def test_a_hundred_parts_of_one_stack_have_names() -> None:
    """A chain: every gate reads x, so that the input products are one stack, and the gate before it, so that each is computed alone."""
    D, H = dimension("D"), dimension("H")
    x, h = sequence("x", D), sequence("h", H)
    last, equations = h.prev, []
    for k in range(104):
        gate = sequence(f"g_{k}", H)
        equations.append(Eq(gate, tanh(matrix(f"W_{k}", H, D) @ x + vector(f"p_{k}", H) * last)))
        last = gate
    cell = Cell.from_equations("chain", "chain", [*equations, Eq(h, last + h.prev)])
    plain, fast = kernel_of_cell(cell, ()), kernel_of_cell(cell, FAST)
    same(plain, fast, draw(plain, T=3, B=2))


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize(
    "cell",
    [gated(2, False), gated(3, True), gated(2, True), gated(5, False), unlike()],
    ids=["2", "3 through", "2 through", "5", "unlike"],
)
def test_the_kernel_is_right_wherever_its_stacks_lie(cell: Cell, batch: int) -> None:
    """Against the textbook kernel, with one example too, where rows and blocks are the same memory; T beyond one block of steps."""
    plain, fast = kernel_of_cell(cell, ()), kernel_of_cell(cell, FAST)
    for steps in (5, 131):
        same(plain, fast, draw(plain, T=steps, B=batch))
