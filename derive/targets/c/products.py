"""Products as loops and calls of the fixed part: which places run over rows, terms and columns follows from the strides."""

from __future__ import annotations

from dataclasses import dataclass, replace

import sympy as sp

from derive.procedures.procedure import Call, Position
from derive.targets.c.arrays import Arrays
from derive.targets.c.blocks import Code
from derive.targets.c.places import Place, collapsed

STEP = "    "


@dataclass(frozen=True)
class Run:
    """Positions next to each other that are one loop: how many, and how far apart they lie in both factors, in the result and in what
    it starts with."""

    size: sp.Expr
    a: sp.Expr
    b: sp.Expr
    c: sp.Expr
    start: sp.Expr = sp.S.Zero


ONE = Run(*[sp.S.One, *[sp.S.Zero] * 4])


@dataclass(frozen=True)
class Product:
    """c = start + a b, start None where there is none.

    rows, terms, columns: one run each, `ONE` where there is none. outer: loops around; those of them that sum up are last, `adding` of
    them.
    """

    a: Place
    b: Place
    c: Place
    start: Place | None
    rows: Run
    terms: Run
    columns: Run
    outer: tuple[Run, ...]
    adding: int


def product_of(call: Call, a: Place, b: Place, c: Place, start: Place | None) -> Product | None:
    """The product that a call of `matmul` or `contract` is; None where neither rows nor columns of the result lie side by side, or where
    what it starts with doesn't lie as the result does, so that it has to be put there first. start: with the sizes of c."""
    pairs = contracted(call, a, b, c) if call.operation == "contract" else multiplied(call, a, b, c)
    runs = [with_start(run, at, start) for run, at in pairs if run.size != 1]
    rows = joined([run for run in runs if run.b == 0])
    terms = joined([run for run in runs if run.c == 0])
    columns = joined([run for run in runs if run.a == 0 and run.b != 0 and run.c != 0])
    batch = [run for run in runs if run.a != 0 and run.b != 0 and run.c != 0]
    (row, rows_left), (term, terms_left), (column, columns_left) = map(chosen, (rows, terms, columns))
    outer = (*batch, *rows_left, *columns_left, *terms_left)
    found = Product(a, b, c, start, row, term, column, outer, len(terms_left))
    if column != ONE and column.c != 1:
        found = turned(found)
    if found.columns == ONE:
        return found
    return found if found.columns.c == 1 and (start is None or found.columns.start == 1) else None


def with_start(run: Run, at: int | None, start: Place | None) -> Run:
    """A run with how far apart its positions lie in what the product starts with; at: which position of the result it is."""
    return run if start is None or at is None else replace(run, start=start.stride(at))


def turned(product: Product) -> Product:
    """The transposed product, its factors exchanged."""

    def turn(run: Run) -> Run:
        return replace(run, a=run.b, b=run.a)

    return replace(
        product,
        a=product.b,
        b=product.a,
        rows=turn(product.columns),
        columns=turn(product.rows),
        terms=turn(product.terms),
        outer=tuple(map(turn, product.outer)),
    )


def chosen(runs: list[Run]) -> tuple[Run, list[Run]]:
    """(the run that a call takes, the loops around it)."""
    return (runs[-1], runs[:-1]) if runs else (ONE, [])


def joined(runs: list[Run]) -> list[Run]:
    """Runs next to each other that are one."""
    strides = [[getattr(run, of) for run in runs] for of in ("a", "b", "c", "start")]
    groups = collapsed([run.size for run in runs], strides)
    return [replace(runs[group[-1]], size=sp.expand(sp.Mul(*[runs[k].size for k in group]))) for group in groups]


def multiplied(call: Call, a: Place, b: Place, c: Place) -> list[tuple[Run, int | None]]:
    """The positions of a @ b: axes, rows of a, columns of b, each with its position in the result, and the terms."""
    left, right = call.arguments
    rank_a, rank_b = len(left.dims), len(right.dims)
    lead = len(call.axes)

    def axis(place: Place, rank: int, k: int) -> sp.Expr:
        at = k - (lead - (len(place.sizes) - rank))
        return place.stride(at) if at >= 0 else sp.S.Zero

    runs: list[tuple[Run, int | None]] = [
        (Run(c.sizes[k], axis(a, rank_a, k), axis(b, rank_b, k), c.strides[k]), k) for k in range(lead)
    ]
    at = lead
    if rank_a == 2:
        runs.append((Run(c.sizes[at], a.strides[-2], sp.S.Zero, c.strides[at]), at))
        at += 1
    if rank_b == 2:
        runs.append((Run(c.sizes[at], sp.S.Zero, b.strides[-1], c.strides[at]), at))
    return [*runs, (Run(b.sizes[-rank_b], a.strides[-1], b.strides[-rank_b], sp.S.Zero), None)]


def contracted(call: Call, a: Place, b: Place, c: Place) -> list[tuple[Run, int | None]]:
    """The positions of a sum over some places of a and of b: those that are left of a, of b, and those that are summed over."""
    left, right = call.option("over")
    rest_a = [k for k in range(len(a.sizes)) if k not in left]
    rest_b = [k for k in range(len(b.sizes)) if k not in right]
    runs: list[tuple[Run, int | None]] = [
        (Run(a.sizes[k], a.strides[k], sp.S.Zero, c.strides[at]), at) for at, k in enumerate(rest_a)
    ]
    runs += [(Run(b.sizes[k], sp.S.Zero, b.strides[k], c.strides[at]), at) for at, k in enumerate(rest_b, len(rest_a))]
    return runs + [(Run(a.sizes[i], a.strides[i], b.strides[j], sp.S.Zero), None) for i, j in zip(left, right, strict=True)]


# ---- text


def product_lines(fn: Arrays, product: Product) -> list[str]:
    """The loops around a product, and the call."""
    marks = [Position(fn.fresh("n")) for _ in product.outer]
    pairs = list(zip(marks, product.outer, strict=True))
    text = fn.sizes.whole

    def at(place: Place, of: str) -> str:
        return fn.pointer(fn.moved(place, [(mark, getattr(run, of)) for mark, run in pairs]))

    rows, terms, columns = product.rows, product.terms, product.columns
    factor = f"{at(product.a, 'a')}, {text(rows.a)}, {text(terms.a)}"
    begin = "0, 0" if product.start is None else f"{at(product.start, 'start')}, {text(rows.start)}"
    end = f"{begin}, {at(product.c, 'c')}, {text(rows.c)}"
    heads = [
        f"{STEP * depth}for (ptrdiff_t {mark.name} = 0; {mark.name} < {text(run.size)}; {mark.name}++)"
        for depth, (mark, run) in enumerate(pairs)
    ]
    if columns == ONE:
        line = f"dots({text(rows.size)}, {text(terms.size)}, {factor}, {at(product.b, 'b')}, {text(terms.b)}, {end});"
    else:
        sizes = f"{text(rows.size)}, {text(terms.size)}, {text(columns.size)}"
        packed = None if pairs else packed_before(fn, product)
        if packed is not None:
            line = f"product_packed({sizes}, {factor}, {packed}, {end});"
        else:
            second = f"{at(product.b, 'b')}, {text(terms.b)}, {text(columns.b)}"
            line = f"product({sizes}, {factor}, {second}, {end}, {work(fn, columns.size)});"
    return [*heads, STEP * len(heads) + line]


def work(fn: Arrays, columns: sp.Expr) -> str:
    """Memory for a product to work in, which all products of so many columns share."""
    room = f"WORK({fn.sizes.whole(columns)})"
    pointer = next((one for one, taken in fn.taken.items() if taken.text == room), None) or fn.fresh("work")
    fn.take(pointer, "WORK({})", columns)
    return pointer


def packed_before(fn: Arrays, product: Product) -> str | None:
    """The pointer of the second factor packed in front of the loop, if the loop doesn't change it."""
    place, terms, columns = product.b, product.terms, product.columns
    if not fn.loops or any(isinstance(one, Position) for one in place.offset.free_symbols):
        return None
    loop = fn.loops[-1]
    if any(place.pointer == fn.bound[name].pointer for name in loop.changed if name in fn.bound):
        return None
    what = (place.pointer, place.offset, terms.size, terms.b, columns.size, columns.b)
    if what not in loop.packed:
        pointer = loop.packed[what] = fn.fresh("packed")
        fn.take(pointer, "PACKED({}, {})", terms.size, columns.size)
        sizes = f"{fn.sizes.whole(terms.size)}, {fn.sizes.whole(columns.size)}"
        factor = f"{fn.pointer(place)}, {fn.sizes.whole(terms.b)}, {fn.sizes.whole(columns.b)}"
        loop.front.append(Code([f"pack({sizes}, {factor}, {pointer});"], frozenset({place.pointer})))
    return loop.packed[what]
