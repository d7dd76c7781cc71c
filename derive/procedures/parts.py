"""Lowering in which rows of a value are read where they lie."""

from __future__ import annotations

import sympy as sp

from derive.blocks import Repeat, Rows
from derive.language import Value
from derive.procedures.lowering import Lowering
from derive.procedures.procedure import Operand


class Parts(Lowering):
    """Rows of a value are read as such; in blocks, [v; v; ...] is v."""

    in_blocks = False

    def __call__(self, node: sp.MatrixExpr) -> Operand:
        if isinstance(node, Value) or (isinstance(node, Rows) and isinstance(node.args[0], Value)):
            return self.read(node)
        if isinstance(node, Repeat) and self.in_blocks:
            return self(node.args[0])
        return super().__call__(node)


def parts_in(node: sp.MatrixExpr) -> list[sp.MatrixExpr]:
    """The values, rows of values and repeated ones in an expression."""
    if isinstance(node, Value | Repeat) or (isinstance(node, Rows) and isinstance(node.args[0], Value)):
        return [node]
    return [part for inner in node.operands for part in parts_in(inner)]
