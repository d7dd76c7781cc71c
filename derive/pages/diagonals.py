"""diag(v) in front of a vector is v ∘ the vector: diagonal matrices are gone before anything is built.

diag(v) M x = v ∘ (M x); in row convention x M diag(v) = (x M) ∘ v; (diag(v) + M) x = v ∘ x + M x.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from derive.pages.core import Add, Call, Core, Definition, Product, Ref, Turned, parts_of, with_parts
from derive.pages.errors import Source, Span
from derive.pages.kinds import LOOSE, VECTOR, Kinds


def without_diagonals(source: Source, definitions: Sequence[Definition], kinds: Kinds) -> list[Definition]:
    """The definitions without diagonal matrices. Raises PageError where one is no factor of a vector."""
    named = {one.name: one.body for one in definitions if is_diagonal(one.body)}
    kept = [one for one in definitions if one.name not in named]
    changed = [replace(one, body=acting(substituted(one.body, named), kinds)) for one in kept]
    for one in changed:
        refuse_left(source, one.body)
    return changed


def holds_diagonal(node: Core) -> bool:
    return is_diagonal(node) or any(holds_diagonal(part) for part in parts_of(node))


def is_diagonal(node: Core) -> bool:
    """diag(v), also transposed, which changes nothing."""
    return (isinstance(node, Call) and node.function == "diag") or (isinstance(node, Turned) and is_diagonal(node.body))


def entries(node: Core) -> Core:
    """The v of diag(v)."""
    assert isinstance(node, (Call, Turned))
    return node.body if isinstance(node, Call) else entries(node.body)


def substituted(node: Core, named: dict[str, Core]) -> Core:
    """The formula with diag(v) for a symbol that the page defines as that."""
    if isinstance(node, Ref) and node.lag == 0 and node.name in named:
        return replace(named[node.name], span=node.span)
    return with_parts(node, [substituted(part, named) for part in parts_of(node)])


def acting(node: Core, kinds: Kinds) -> Core:
    """The formula with each diagonal matrix applied to what it multiplies."""
    if isinstance(node, Product):
        return product(node, kinds)
    return with_parts(node, [acting(part, kinds) for part in parts_of(node)])


def product(node: Product, kinds: Kinds) -> Core:
    """The factors that stand side by side, from the vector on: each diagonal matrix takes all that is between it and the vector."""
    row = kinds.row
    at = outermost(node, row)
    before, after = (None, None) if at is None else (sliced(node, 0, at), sliced(node, at + 1, None))
    operand, outer = (before, after) if row else (after, before)
    if at is None or operand is None or kinds.kind(operand) != VECTOR:
        return with_parts(node, [acting(part, kinds) for part in node.items])
    applied = on(node.items[at], acting(operand, kinds), row, node.span)
    return applied if outer is None else acting(joined(node, applied, outer, row), kinds)


def outermost(node: Product, row: bool) -> int | None:
    """The last diagonal factor in front of a vector that side by side or a dot joins to it; behind it, in row convention."""
    places = [at for at, item in enumerate(node.items) if any(is_diagonal(one) for one in (item, *terms(item)))]
    places = [at for at in places if 0 <= (at - 1 if row else at) < len(node.signs)]
    places = [at for at in places if node.signs[at - 1 if row else at] in LOOSE]
    return None if not places else places[0] if row else places[-1]


def terms(node: Core) -> tuple[Core, ...]:
    return node.terms if isinstance(node, Add) else ()


def sliced(node: Product, start: int, stop: int | None) -> Core | None:
    items = node.items[start:stop]
    if len(items) < 2:
        return items[0] if items else None
    signs = node.signs[start : start + len(items) - 1]
    return Product(items, signs, (items[0].span[0], items[-1].span[1]))


def joined(node: Product, applied: Core, outer: Core, row: bool) -> Core:
    """The rest of the product with the applied part in its place."""
    items = outer.items if isinstance(outer, Product) else (outer,)
    count = len(items)
    signs = node.signs[-count:] if row else node.signs[:count]
    return Product((applied, *items) if row else (*items, applied), signs, node.span)


def on(matrix: Core, operand: Core, row: bool, span: Span) -> Core:
    if isinstance(matrix, Add):
        return replace(matrix, terms=tuple(on(term, operand, row, span) for term in matrix.terms), span=span)
    if is_diagonal(matrix):
        pair = (operand, entries(matrix)) if row else (entries(matrix), operand)
        return Product(pair, ("hadamard",), span)
    return Product((operand, matrix) if row else (matrix, operand), ("side",), span)


def refuse_left(source: Source, node: Core) -> None:
    if is_diagonal(node):
        what = f"the diagonal matrix `{source.written(node.span)}` multiplies no vector: expected one behind it."
        raise source.error(
            node.span, what, "Write `v \\odot x` for diag(v) x, and a product of matrices with a vector, W (v \\odot x)."
        )
    for part in parts_of(node):
        refuse_left(source, part)
