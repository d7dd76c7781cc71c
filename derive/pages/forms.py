"""Trees that `meaning` leaves to this file: components and sums, powers, cuts, norms, block matrices."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from fractions import Fraction

from derive.pages.core import Add, At, Call, Concat, Const, Core, Extent, Over, Product, Several, Slice, Steps
from derive.pages.errors import Source, Span
from derive.pages.names import Names
from derive.pages.numbers import power
from derive.pages.stacks import grid_of
from derive.pages.symbols import Reader, spelled, strip
from derive.pages.tree import (
    AtEnd,
    Bracket,
    Chain,
    Component,
    Cut,
    Dimension,
    Length,
    Node,
    Number,
    OverSteps,
    Raised,
    Reduced,
    Scripted,
    Signed,
    Sum,
)

Resolve = Callable[[Node], Core]
OWN = "its steps"
"""The axis of what lies along one, whichever it is."""


Indexed = Component | Reduced | Raised | Dimension | Cut | OverSteps | AtEnd | Length


def indexed(source: Source, node: Indexed, resolve: Resolve) -> Core:
    """What has indices, exponents or ranges. Of what is taken over all steps the name is that of a function, which keeps the kind."""
    match node:
        case OverSteps():
            return Call(f"{node.name} over {node.axis}", resolve(node.body), node.span)
        case AtEnd():
            return Call(f"{node.end} over {OWN}", resolve(node.body), node.span)
        case Length():
            return Steps(node.axis, node.span)
        case Component():
            return At(resolve(node.body), node.indices, node.span)
        case Reduced():
            extent = node.above.name if isinstance(node.above, Dimension) else None
            return Over(node.name, node.indices[0], extent, resolve(node.body), node.span)
        case Raised():
            return raised(source, resolve(node.body), resolve(node.exponent), node.span, node.elementwise)
        case Dimension():
            return Extent(node.name, node.span)
    return sliced(source, node, resolve(node.body))


# ---- powers and norms


def raised(source: Source, base: Core, exponent: Core, span: Span, elementwise: bool = False) -> Core:
    """base ** exponent, of each element where the exponent is a quantity or a sign above says so."""
    if isinstance(exponent, Const) and not elementwise:
        return power(source, base, exponent.value, span)
    if isinstance(base, Const) and base.value <= 0:
        what = f"`{source.written(span)}` is a power of {base.value}: expected a positive number."
        raise source.error(span, what, "Check the number.")
    return Several("power", (base, exponent), span)


def norm(source: Source, node: Bracket | Scripted, inside: Core) -> Core:
    """`\\|x\\|`, with a 2 below it or nothing, and `\\|x\\|_1`, the sum of the absolute values. Raises PageError on another."""
    below = [spelled(strip(one)) for one in (node.sub if isinstance(node, Scripted) else ())]
    if below == ["1"]:
        inside = inside.body if isinstance(inside, Call) and inside.function == "norm" else inside
        return Call("sum", Call("abs", inside, node.span), node.span)
    if any(one != "2" for one in below):
        what = f"the norm `{source.written(node.span)}` isn't read: expected the Euclidean one, `\\|x\\|` or `\\|x\\|_2`, or `\\|x\\|_1`."
        raise source.error(node.span, what, "Write another as what it is, such as \\max_j |x_j|.")
    return inside if isinstance(inside, Call) and inside.function == "norm" else Call("norm", inside, node.span)


def squared(core: Core, exponent: Fraction) -> Core | None:
    """`\\|x\\|^2` without its root, which has no slope at 0; None for another power."""
    if isinstance(core, Call) and core.function == "norm" and exponent == 2:
        return Call("squarednorm", core.body, core.span)
    return None


# ---- cuts


def sliced(source: Source, node: Cut, body: Core) -> Core:
    """`x[H:2H]`: the limits are sums of sizes."""
    start = size_of(source, node, node.start) if node.start is not None else ()
    stop = size_of(source, node, node.stop) if node.stop is not None else None
    if stop is not None and (Counter(start) - Counter(stop) or len(start) == len(stop)):
        what = f"the range of `{source.written(node.span)}` isn't read: expected a last row behind the first."
        raise source.error(node.span, what, "Write a range such as [0:H] or [H:2H].")
    return Slice(body, start, stop, node.span)


def size_of(source: Source, node: Cut, limit: Node) -> tuple[str, ...]:
    """A limit as the sizes that it is the sum of."""
    terms = limit.terms if isinstance(limit, Sum) and set(limit.factors) == {1} else (limit,)
    sizes = [size for term in terms for size in multiple_of(term)]
    if None in sizes:
        written = source.written(limit.span)
        what = f"the limit `{written}` in `{source.written(node.span)}` isn't read: expected 0, or a sum of names of sizes."
        raise source.error(limit.span, what, "Name each size by a letter, as in x[0:H] and x[H:2H].")
    return tuple(sorted(str(size) for size in sizes))


def multiple_of(node: Node) -> list[str | None]:
    """`0`, `H`, `2H`, `2 * H`."""
    match node:
        case Number(value=0):
            return []
        case Chain(items=(Number(value=count), size)) | Signed(parts=(Number(value=count), size)) if count.denominator == 1:
            return multiple_of(size) * int(count)
    one = None if isinstance(node, Number) else Reader(None).read(node)
    return [one.symbol.name if one else None]


# ---- matrices of blocks


def blocks_of(names: Names, node: Node) -> tuple[tuple[Node, ...], ...] | None:
    """The rows of a matrix of blocks: a grid of several columns, or parameters in upper case in brackets, side by side or one above the
    other."""
    grid = grid_of(node)
    if grid is not None:
        wide = any(len(row) > 1 for row in grid.rows)
        return (
            grid.rows
            if (len(grid.rows) > 1 and wide) or are_parameters(names, [one for row in grid.rows for one in row])
            else None
        )
    if isinstance(node, Bracket) and node.opener == "[":
        inner = node.parts[0]
        parts = node.parts if len(node.parts) > 1 else inner.items if isinstance(inner, Chain) else ()
        if len(parts) > 1 and are_parameters(names, parts):
            above = names.source.text[parts[0].span[1] : parts[1].span[0]].strip() == ";"
            return tuple((part,) for part in parts) if above else (tuple(parts),)
    return None


def are_parameters(names: Names, parts: Sequence[Node]) -> bool:
    """Whether these are symbols in upper case, without a time, of which nothing is said."""
    found = [names.reader.read(part) for part in parts]
    return names.reader.letter is not None and all(
        one is not None and one.time is None and one.symbol.name[0].isupper() and names.is_free(one.symbol.name) for one in found
    )


def times_blocks(source: Source, rows: Sequence[Sequence[Node]], node: Node, stack: Core, resolve: Resolve) -> Core | None:
    """A matrix of blocks times a stack: its rows, one above the other; None where the two don't fit."""
    columns = len(rows[0])
    parts = stack.parts if isinstance(stack, Concat) and columns > 1 else (stack,)
    if len(parts) != columns or any(len(row) != columns for row in rows):
        return None
    made = []
    for row in rows:
        pairs = [(block, part) for block, part in zip(row, parts, strict=True) if not is_nought(block)]
        if not pairs:
            what = "a row of noughts in a matrix of blocks: expected at least one block that is none."
            raise source.error(node.span, what, "Leave the row out.")
        made.append(summed([Product((resolve(block), part), ("side",), block.span) for block, part in pairs], node.span))
    return made[0] if len(made) == 1 else Concat(tuple(made), (node.span[0], stack.span[1]))


def blocks_behind(rows: Sequence[Sequence[Node]], node: Node, stack: Core, resolve: Resolve) -> Core | None:
    """A row of vectors times a column of blocks, as in row convention: `[x_t, h_{t-1}] [W; U]`; None where the two don't fit."""
    if not isinstance(stack, Concat) or len(stack.parts) != len(rows) or any(len(row) > 1 for row in rows):
        return None
    pairs = zip(stack.parts, rows, strict=True)
    return summed(
        [Product((part, resolve(row[0])), ("side",), row[0].span) for part, row in pairs], (stack.span[0], node.span[1])
    )


def summed(terms: Sequence[Core], span: Span) -> Core:
    return terms[0] if len(terms) == 1 else Add(tuple(terms), (1,) * len(terms), span)


def is_nought(node: Node) -> bool:
    return isinstance(node, Number) and node.value == 0
