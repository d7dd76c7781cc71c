"""A node of the language has one entry in each room; what one lacks is said at once."""

from __future__ import annotations

from types import ModuleType

import pytest

from derive import rules
from derive.expressions import LEGAL, matrix_parts, rebuild
from derive.language import Diagonal, Leaf, Value, Written
from derive.latex import LaTeX
from derive.notation import Notation
from derive.procedures.lowering import LOWERING
from derive.procedures.procedure import OPERATIONS
from derive.targets.jax import expressions as jax_target
from derive.targets.numpy import expressions as numpy_target
from tests.derive.test_along import CASES as ALONG
from tests.derive.test_rules import CASES as WITHIN
from verify.interpreter import Evaluator, floats

CASES = WITHIN | ALONG
DERIVED = {Diagonal}
"""Nodes that stand in the sheet's Jacobians only: nothing differentiates or computes them."""


def lacking(node: type) -> list[str]:
    """The rooms that have no entry for a node."""
    found = ["its own class: over"] if node.over is Written.over else []
    if not issubclass(node, Leaf) and node not in DERIVED:
        found += [f"derive/rules/: {name}" for name, table in (("VJP", rules.VJP), ("JVP", rules.JVP)) if node not in table]
        found += [] if node in CASES else ["tests/derive/test_rules.py: CASES"]
    if node not in DERIVED and node not in LOWERING:
        found.append("derive/procedures/lowering.py: LOWERING")
    if node is not Value and not hasattr(Evaluator(floats(), {}), node.__name__.lower()):
        found.append("verify/interpreter.py: a method of Evaluator")
    return found


@pytest.mark.parametrize("node", LEGAL)
def test_a_node_has_an_entry_in_every_room(node: type) -> None:
    assert not lacking(node), f"{node.__name__} lacks: {', '.join(lacking(node))}"


@pytest.mark.parametrize("node", CASES)
@pytest.mark.parametrize("notation", [Notation, LaTeX])
def test_a_node_has_a_text_in_both_notations(node: type, notation: type[Notation]) -> None:
    for case in CASES[node]:
        assert notation().formula(case)


@pytest.mark.parametrize("node", CASES)
def test_a_node_is_made_of_its_operands(node: type) -> None:
    for case in CASES[node]:
        assert rebuild(case, matrix_parts(case)) == case


@pytest.mark.parametrize("target", [numpy_target, jax_target])
def test_every_operation_of_procedures_has_its_text(target: ModuleType) -> None:
    missing = set(OPERATIONS) - set(target.PRINTING)
    assert not missing, f"{target.__name__} lacks: {', '.join(sorted(missing))}"
