"""Bars around a vector, `x / |x|`: the absolute value of each element, or the norm. Where both fit, the page is asked."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from derive.pages.core import Add, Call, Core, Definition, Elementwise, Power, Product, Several, every, parts_of, refs, with_parts
from derive.pages.errors import PageError, Source, Span
from derive.pages.fed import is_said_by_a_sign, settled_by_what_feeds
from derive.pages.kinds import Kinds, is_quotient
from derive.pages.relations import MATRIX, NUMBER, SIGNATURES, VECTOR

BARS = ("|", "\\lvert", "\\vert", "\\mid")
"""What the absolute value begins with where it is written with bars."""


SIZE = re.compile(r"\\(?:left|[bB]igg?l?)\s*$")


def refuse_lengths(
    source: Source, definitions: Sequence[Definition], kinds: Kinds, timed: set[str], said: Mapping[str, str]
) -> None:
    """Raises PageError where bars stand around a matrix, and around a vector in a factor, a divisor or a whole right side that would be
    one number if they were a norm, where all uses of it go with a number too."""
    for definition in definitions:
        for node in every(definition.body):
            if is_barred(source, node) and isinstance(node, Call) and kinds.kind(node.body) == MATRIX:
                raise of_a_matrix(source, node)
        for node, place in candidates(source, kinds, definition):
            norms = [replace(one, body=with_norm(one.body, node)) for one in definitions]
            try:
                settled_by_what_feeds(source, norms, timed, said)
            except PageError:
                continue
            raise absolute_or_norm(source, node, place)


def candidates(source: Source, kinds: Kinds, definition: Definition) -> Iterator[tuple[Call, Span]]:
    """(bars around a vector that may be a norm, the formula around them)."""
    for product in (node for node in every(definition.body) if isinstance(node, Product)):
        for at, item in enumerate(product.items):
            sides = [
                (product.signs[side], product.items[side if side < at else at + 1])
                for side in (at - 1, at)
                if 0 <= side < len(product.signs)
            ]
            signed = [sign == "hadamard" and not any(is_quotient(source, one) for one in (item, other)) for sign, other in sides]
            weight = at and kinds.kind(product.items[at - 1]) == MATRIX and is_parameter(kinds, product.items[at - 1])
            if not (weight or any(signed)):
                yield from ((node, product.span) for node in bars_of_a_number(source, kinds, item) or ())
    for node in () if is_said_by_a_sign(kinds, {definition.name}) else bars_of_a_number(source, kinds, definition.body) or ():
        yield node, definition.body.span


def bars_of_a_number(source: Source, kinds: Kinds, node: Core) -> list[Call] | None:
    """The bars around vectors in a formula that would be a number if each of them were a norm; None where it wouldn't."""
    if is_barred(source, node) and isinstance(node, Call) and kinds.kind(node.body) == VECTOR:
        return [node]
    if kinds.kind(node) == NUMBER:
        return []
    passes = isinstance(node, (Add, Several, Product, Elementwise, Power)) or (
        isinstance(node, Call) and node.function not in SIGNATURES
    )
    quotients = any(isinstance(part, Power) and part.exponent < 0 for part in parts_of(node))
    signed = isinstance(node, Product) and "hadamard" in node.signs and not quotients
    parts = [bars_of_a_number(source, kinds, part) for part in parts_of(node)] if passes and not signed else []
    if not parts or any(part is None for part in parts):
        return None
    return [one for part in parts if part is not None for one in part]


def is_parameter(kinds: Kinds, factor: Core) -> bool:
    """`W`, `U V`, `W^\\top`: what multiplies a vector of absolute values as any other."""
    return all(kinds.is_parameter(one.name) for one in refs(factor))


def is_barred(source: Source, node: Core) -> bool:
    return isinstance(node, Call) and node.function == "abs" and source.text.startswith(BARS, node.span[0])


def with_norm(node: Core, bars: Call) -> Core:
    """The formula with a number in the place of some bars."""
    if node is bars:
        return replace(bars, function="sum")
    return with_parts(node, [with_norm(part, bars) for part in parts_of(node)])


def inside(source: Source, bars: Call) -> str:
    return source.written(bars.body.span)


def absolute_or_norm(source: Source, bars: Call, place: Span) -> PageError:
    start, end = place
    written, x = source.written(bars.span), inside(source, bars)
    each, norm = f"\\operatorname{{abs}}({x})", f"\\|{x}\\|"
    before, behind = SIZE.sub("", source.text[start : bars.span[0]]), source.text[bars.span[1] : end]
    shown = [" ".join(f"{before}{one}{behind}".split()) for one in (each, norm)]
    what = f"`{written}` of a vector can be read in two ways: the absolute value of each element, `{shown[0]}`, or the norm, `{shown[1]}`."
    return source.error(bars.span, what, f"Write `{each}` for the absolute values, `{norm}` for the norm, which is one number.")


def of_a_matrix(source: Source, bars: Call) -> PageError:
    written = source.written(bars.span)
    what = f"`{written}` of a matrix can be read in several ways: the absolute value of each element, a norm, or the determinant."
    todo = f"Write `\\operatorname{{abs}}({inside(source, bars)})` for the absolute values; the others aren't read."
    return source.error(bars.span, what, todo)
