"""A 1 in a product that may be a vector of ones: `a^\\top 1` is a sum where columns are written, an outer product where rows are."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise

from derive.pages.core import Const, Core, Definition, Product, Ref, Turned, every
from derive.pages.errors import PageError, Span
from derive.pages.kinds import is_small
from derive.pages.names import Names

TURNED = re.compile(r"\^\s*\{?\s*(?:\\top|\\intercal|\\mathsf\s*\{?T\}?|T|⊤)\s*\}?$|ᵀ$")


def refuse_ones(names: Names, definitions: Sequence[Definition]) -> None:
    """`a^\\top 1`, `1^\\top a`, `a 1^\\top`, `U 1`: raises PageError where a 1 in a product may be a vector of ones."""
    for product in (one for definition in definitions for one in every(definition.body) if isinstance(one, Product)):
        for sign, pair in zip(product.signs, pairwise(product.items), strict=True):
            one = next((part for part in pair if is_one(part.body if isinstance(part, Turned) else part)), None)
            if one is None or sign == "hadamard":
                continue
            other = pair[0] if pair[1] is one else pair[1]
            end = product.span[1] if pair[1] is product.items[-1] else pair[1].span[1]
            weight = other is pair[0] and isinstance(other, Ref) and not is_small(other.name) and not names.is_timed(other.name)
            if isinstance(one, Turned) or isinstance(other, Turned) or weight:
                raise ones_or_number(names, other, one, (pair[0].span[0], end))


def is_one(node: Core) -> bool:
    return isinstance(node, Const) and node.value == 1


def ones_or_number(names: Names, other: Core, one: Core, span: Span) -> PageError:
    written, beside = names.source.written(span), names.source.written(other.span)
    plain = TURNED.sub("", beside)
    what = f"`{written}` can be read in several ways: expected the number 1, or a vector of ones, which makes a sum or an outer product."
    todo = f"Leave the 1 out for `{plain}` itself; "
    if isinstance(one, Turned) or isinstance(other, Turned):
        todo += f"write `\\operatorname{{diag}}({plain}) S` for a matrix whose rows are scaled, "
        todo += f"`\\sum_j` with the index at `{plain}` for a sum."
    else:
        todo += "the sum of each row of a matrix is its product with an input of ones."
    return names.source.error(span, what, todo)
