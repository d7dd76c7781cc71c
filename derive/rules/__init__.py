"""The rules of differentiation, one per operation. Adding a node to the language means adding it to these two tables:
`elements` has the rules of what works within one value, `axes` of what works along its steps.

A VJP rule takes the cotangent of y, y itself as a value, the node and its matrix operands, and returns the cotangent of each
operand. A JVP rule takes y, the node, its operands and their tangents (None where an operand doesn't vary), and returns the
tangent of y. The docstring is the identity; its first line is what a derived term gives as its reason.
"""

from derive.rules import axes, elements
from derive.rules.table import JVP, VJP, Negated, Rule, Scaled, identity_of, operation, told

__all__ = ["JVP", "VJP", "Negated", "Rule", "Scaled", "axes", "elements", "identity_of", "operation", "told"]
