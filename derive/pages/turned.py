"""Transpositions that no product needs: `x_t^T + h`, `\\alpha^T`. The T may be a power or a last step; nothing on the page says."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from derive.pages.alphabet import PRODUCTS
from derive.pages.core import Add, Call, Concat, Const, Core, Definition, Power, Product, Ref, Turned, every
from derive.pages.errors import PageError, Source, Span
from derive.pages.kinds import Kinds, runs
from derive.pages.names import Names
from derive.pages.relations import MATRIX, NUMBER, VECTOR


def refuse_idle_transpositions(source: Source, definitions: Sequence[Definition], kinds: Kinds) -> Iterator[str]:
    """What is noted; raises PageError on a transposed number, on a transposed vector that stands beside others that aren't, and on one
    alone."""
    yield from notes_on_columns(source, definitions, kinds)
    for definition in definitions:
        Side(source, kinds).of(definition.body)
        body = definition.body
        while isinstance(body, Call):
            body = body.body
        if isinstance(body, Turned) and is_symbol(body.body) and kinds.kind(body) != MATRIX:
            raise idle(source, body)


def notes_on_columns(source: Source, definitions: Sequence[Definition], kinds: Kinds) -> Iterator[str]:
    """`W x_t^T + U h_{t-1}^T`: rows throughout, turned in front of each product, are noted; raises PageError where others stand as they
    are."""
    turned: dict[Span, tuple[Core, Turned]] = {}
    plain = False
    for node in (one for definition in definitions for one in every(definition.body)):
        for run in runs(node) if isinstance(node, Product) else ():
            vectors = sum(kinds.kind(item) == VECTOR for item in run)
            if kinds.kind(run[0]) == MATRIX and kinds.kind(run[-1]) == VECTOR and vectors == 1:
                last = run[-1]
                plain |= isinstance(last, Ref)
                if isinstance(last, Turned) and is_symbol(last.body):
                    turned[last.span] = node, last
        plain |= isinstance(node, Add) and any(isinstance(term, Ref) and term.name in kinds.timed for term in node.terms)
    for node, last in turned.values():
        if plain:
            raise column(source, node, last)
        yield f"`{source.written(node.span)}` is read without the transposition of the vector, as every other product"


class Side:
    """Which vectors of a formula stand transposed: True, False, or None where either will do."""

    def __init__(self, source: Source, kinds: Kinds) -> None:
        self.source, self.kinds = source, kinds

    def of(self, node: Core) -> bool | None:
        match node:
            case Turned():
                return self.turned(node)
            case Ref():
                return None if self.kinds.kind(node) in (MATRIX, NUMBER) else False
            case Call() | Power():
                return self.of(node.body)
            case Add():
                return self.alike(node.terms)
            case Concat():
                return self.alike(node.parts)
            case Product():
                return self.product(node)
        return None

    def turned(self, node: Turned) -> bool | None:
        inner = self.of(node.body)
        if self.kinds.kind(node.body) == NUMBER or isinstance(node.body, Const):
            raise idle(self.source, node)
        if self.kinds.kind(node.body) == MATRIX:
            return None
        return True if is_symbol(node.body) else None if inner is None else not inner

    def product(self, node: Product) -> bool | None:
        """`x^T W` is a row, `W x` a column; elementwise, all are alike."""
        sides = [self.of(item) for item in node.items]
        matrices = [self.kinds.kind(item) == MATRIX for item in node.items]
        if True not in matrices:
            return self.alike(node.items, sides) if set(node.signs) <= {*PRODUCTS} else next(filter(None, sides), None)
        at = matrices.index(True)
        return True if True in sides[:at] else False if False in sides[at:] else None

    def alike(self, parts: Sequence[Core], sides: Sequence[bool | None] | None = None) -> bool | None:
        """The side of vectors that are added or stacked. Raises PageError where a symbol stands transposed beside one that doesn't."""
        found = list(sides) if sides is not None else [self.of(part) for part in parts]
        if True in found and False in found:
            for part, side in zip(parts, found, strict=True):
                if side and isinstance(part, Turned) and is_symbol(part.body):
                    raise idle(self.source, part)
        known = [side for side in found if side is not None]
        return known[0] if known else None


def is_symbol(node: Core) -> bool:
    return isinstance(node, (Ref, Const))


def idle(source: Source, node: Core) -> PageError:
    written = source.written(node.span)
    what = f"`{written}` can't be a transposition: expected one that a product with a matrix needs."
    todo = "Leave it out where a vector is meant; a power is written with \\exp and \\log; a last step is none of this one."
    return source.error(node.span, what, todo)


def column(source: Source, node: Core, item: Turned) -> PageError:
    """The error for `U h_{t-1}^T`."""
    written, plain = source.written(item.span), source.written(item.body.span)
    what = f"`{written}` in `{source.written(node.span)[:80]}` can't be a transposition: expected a column behind a matrix."
    todo = f"Write `{plain_of(plain)}` for the product of the matrix and the vector; another product isn't read."
    return source.error(item.span, what, todo)


def plain_of(written: str) -> str:
    """A symbol without its mark of transposition."""
    return re.sub(
        r"\s*\^\s*(?:\{\s*)?(?:\\(?:top|intercal|mathsf\s*\{?T\}?|mathrm\s*\{T\}|text\s*\{T\})|T)(?:\s*\})?|[ᵀ⊤]", "", written
    )


def refuse_two_meanings(source: Source, names: Names) -> None:
    """Raises PageError where `W^T` may be a power, as T is a quantity of the page."""
    quantity = next((one for one in names.reads if one.symbol.name == "T"), None)
    if quantity is None and "T" not in names.declared.numbers:
        return
    for one in names.reads:
        written = source.written(one.span)
        if one.transposed and re.search(r"\^\s*\{?\s*T", written):
            what = f"`{written}` can be a transposition, or a power: T is a quantity of the page."
            other = (quantity.span, "here it is one:") if quantity else None
            raise source.error(one.span, what, "Write the transposition as `^\\top`; a power with \\exp and \\log.", other)
