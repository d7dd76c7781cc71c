"""What the uses of a symbol leave open, settled step by step; and whether a page writes columns or rows.

Each step looks at how symbols stand beside one another and says what is meant there; after each one all relations hold again. The steps
up to `settled` take nothing for granted that a page would have to be asked about; `finish` decides the rest, as pages without a letter
of time leave it, and raises PageError where nothing does.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import partial

from derive.pages.blame import blamed
from derive.pages.core import (
    Add,
    Call,
    Concat,
    Const,
    Core,
    Definition,
    Inner,
    Part,
    Power,
    Product,
    Ref,
    Turned,
    every,
    is_diagonal,
    parts_of,
    refs,
)
from derive.pages.errors import PageError, Source, Span
from derive.pages.kinds import Kinds, is_lower, is_quotient, is_small, runs
from derive.pages.losses import is_loss, of_losses
from derive.pages.questions import KINDS, asked, open_product
from derive.pages.relations import LOOSE, MATRIX, NUMBER, ROW, SIGNATURES, VECTOR, VECTORS, Kind

ONE_NUMBER, ONE_VECTOR, ONE_MATRIX = (frozenset({kind}) for kind in (NUMBER, VECTOR, MATRIX))


def settled(source: Source, definitions: Sequence[Definition], timed: Collection[str], declared: Mapping[str, str]) -> Kinds:
    """The kinds as far as uses say, on a page of columns or of rows: where transposed vectors meet others the way of reading that the
    page's matrices show, else the one with fewer oddities. Raises PageError where neither can be read."""

    names = {one.name for one in definitions}

    def kinds_of(row: bool | None, some: Sequence[Definition], known: Mapping[str, str], places: Mapping[str, Span]) -> Kinds:
        found = Kinds(source, some, timed, {**known, **declared}, row, names, places)
        use(found)
        return found

    def attempt(row: bool | None) -> Kinds | PageError:
        try:
            return kinds_of(row, definitions, {}, {})
        except PageError as error:
            return blamed(definitions, partial(kinds_of, row), error)

    if not any(isinstance(node, Turned) for one in definitions for node in every(one.body)):
        return chosen(attempt(None))
    columns, rows = attempt(False), attempt(True)
    if isinstance(rows, PageError) or isinstance(columns, PageError):
        hardly = isinstance(rows, PageError) or direction(rows)[1] or (not direction(rows)[0] and oddities(rows))
        return chosen(columns if hardly else rows)
    if direction(columns)[1] and not direction(columns)[0]:
        return columns
    return rows if (direction(rows)[0] and not direction(rows)[1]) or oddities(columns) > oddities(rows) else columns


def chosen(found: Kinds | PageError) -> Kinds:
    if isinstance(found, PageError):
        raise found
    return found


def oddities(kinds: Kinds) -> int:
    """How much of a reading is hardly meant: inner products added to vectors, or up to a letter in upper case; letters in lower case
    defined as matrices."""
    small = {name for name in kinds.defined if is_small(name) and kinds.domains[name] == {MATRIX} and name not in kinds.declared}
    return len(small) + len(list(added_inner_products(kinds))) + len(list(sums_of_inner_products(kinds)))


# ---- the steps


def use(kinds: Kinds) -> None:
    """What uses say, until they say no more; `open` is what they leave before anything that is defined is taken for a vector."""
    held = of_losses(kinds)
    once(kinds, arguments, transposed, lambda all_: given(all_, held))
    again(kinds)
    kinds.open = {name: found for name, found in kinds.domains.items() if len(found) > 1 and name not in held}
    kinds.tensors = frozenset(node for node in nodes(kinds) if is_open_tensor(kinds, node))
    others = kinds.defined - (losses := {one.name for one in kinds.definitions if is_loss(one)})
    ways = (lambda all_: defined(all_, all_.timed & others), signed, lambda all_: defined(all_, others))
    for step in (*ways, lambda all_: defined(all_, losses, ONE_NUMBER), given, lambda all_: defined(all_, losses)):
        once(kinds, step)
        again(kinds)


def is_open_tensor(kinds: Kinds, node: Core) -> bool:
    """Whether `v \\otimes k` may be a vector or a matrix."""
    return isinstance(node, Product) and "tensor" in node.signs and {VECTOR, MATRIX} <= kinds.kinds(node)


def again(kinds: Kinds) -> None:
    while any(once(kinds, step) for step in (weights, signed_parameters, alike)):
        pass


def once(kinds: Kinds, *steps: Callable[[Kinds], None]) -> bool:
    """Take some steps; whether they changed anything."""
    before = dict(kinds.domains)
    for step in steps:
        step(kinds)
        kinds.settle()
    return kinds.domains != before


def products(kinds: Kinds) -> Iterator[tuple[Product, list[Core]]]:
    """Each product with each of its runs."""
    for node in nodes(kinds):
        if isinstance(node, Product):
            yield from ((node, run) for run in runs(node))


def nodes(kinds: Kinds) -> Iterator[Core]:
    return (node for definition in kinds.definitions for node in every(definition.body))


def prefer(kinds: Kinds, node: Core, wanted: Kind, place: Span) -> None:
    """Leave a formula a kind, if it can have it and others too."""
    found = kinds.kinds(node)
    if found & wanted and found - wanted:
        kinds.narrow(node, wanted, place)


def arguments(kinds: Kinds) -> None:
    """A parameter that a function is taken of is no matrix, nor is one in a sum with a number: `\\sigma(\\Lambda)`, `1 - \\alpha`; nor what
    is defined as a function of parameters."""
    for one in kinds.definitions:
        if one.name in kinds.constants and isinstance(one.body, Call) and one.body.function not in SIGNATURES:
            prefer(kinds, Ref(one.name, 0, one.span), frozenset({NUMBER, VECTOR}), one.span)
    for node in nodes(kinds):
        if isinstance(node, Call) and node.function not in SIGNATURES:
            bare = list(plain(node.body))
        else:
            numbers = isinstance(node, Add) and any(kinds.is_plain(term) for term in node.terms)
            bare = [part for part in parts_of(node) if isinstance(part, Ref)] if numbers else []
        for part in bare:
            if isinstance(part, Ref) and kinds.is_parameter(part.name) and part.name not in kinds.declared:
                prefer(kinds, part, frozenset({NUMBER, VECTOR}), node.span)


def plain(node: Core) -> Iterator[Core]:
    """The symbols of a sum or a power."""
    yield node
    for part in parts_of(node) if isinstance(node, (Add, Power, Turned)) else ():
        yield from plain(part)


def transposed(kinds: Kinds) -> None:
    """`k_t^\\top`, `w^\\top`: in lower case a vector, and so is what it is multiplied with; in upper case a parameter is a matrix."""
    for node, run in products(kinds):
        for item in run:
            if isinstance(item, Turned) and isinstance(item.body, Ref):
                wanted = ONE_VECTOR if is_lower(item.body) else ONE_MATRIX
                if is_lower(item.body) or kinds.is_parameter(item.body.name):
                    prefer(kinds, item.body, wanted, node.span)
        rows = [at for at, item in enumerate(run) if kinds.kinds(item) == {ROW}]
        for at in rows:
            partner = run[at + 1] if at + 1 < len(run) else run[at - 1] if at else None
            if partner is not None and is_lower(partner):
                prefer(kinds, partner, ONE_VECTOR, node.span)


def given(kinds: Kinds, but: Collection[str] = ()) -> None:
    """What is given at a step is a vector, unless a use says otherwise; a number in front of a vector in an outer product."""
    for node in nodes(kinds):
        outer = isinstance(node, Product) and "tensor" in node.signs and kinds.kinds(node) == ONE_MATRIX
        for item in [one for part in parts_of(node) for one in parts_of(part)[:-1] if isinstance(part, Product)] if outer else ():
            if kinds.is_given(item):
                prefer(kinds, item, frozenset({NUMBER}), node.span)
    for ref in (node for node in nodes(kinds) if isinstance(node, Ref)):
        if ref.name not in kinds.defined | {*but} and not kinds.is_parameter(ref.name):
            prefer(kinds, ref, ONE_VECTOR, ref.span)


def weights(kinds: Kinds) -> None:
    """`(W + V) x`: what holds a parameter in upper case, beside a vector, is a matrix, as `W` alone is."""
    for node, run in products(kinds):
        if any(kinds.kinds(item) <= VECTORS for item in run):
            for item in run:
                if holds_weight(kinds, item):
                    prefer(kinds, item, ONE_MATRIX, node.span)


def holds_weight(kinds: Kinds, item: Core) -> bool:
    """Whether an open parameter in upper case stands in sums, products and transpositions."""
    if isinstance(item, Call) or is_quotient(kinds.source, item):
        return False
    if isinstance(item, Ref):
        constant = item.name in kinds.constants and not is_small(item.name)
        return (constant or kinds.is_weight(item)) and len(kinds.domains[item.name]) > 1
    return any(holds_weight(kinds, part) for part in parts_of(item))


def alike(kinds: Kinds) -> None:
    """The terms of a sum are of one kind: of the largest one that is known, plain numbers apart."""
    for node in (one for one in nodes(kinds) if isinstance(one, Add)):
        terms = [term for term in node.terms if not kinds.is_plain(term)]
        known = {kinds.kind(term) for term in terms}
        largest = next((kind for kind in (MATRIX, VECTOR, NUMBER) if kind in known), "")
        for term in terms if largest else ():
            if kinds.kind(term) is None:
                prefer(kinds, term, VECTORS if largest == VECTOR else frozenset({largest}), node.span)


def signed_parameters(kinds: Kinds) -> None:
    """`p \\odot c`: a parameter beside an elementwise sign is a vector."""
    elementwise(kinds, kinds.is_parameter)


def signed(kinds: Kinds) -> None:
    """What stands beside an elementwise sign is a vector, as long as nothing says otherwise."""
    elementwise(kinds, lambda name: True)


def elementwise(kinds: Kinds, wanted: Callable[[str], bool]) -> None:
    for node in (one for one in nodes(kinds) if isinstance(one, Product)):
        found = runs(node)
        signs = [sign for sign in node.signs if sign not in LOOSE]
        for at, sign in enumerate(signs):
            pair = [*found[at][-1:], *found[at + 1][:1]]
            if sign != "tensor" and not any(is_quotient(kinds.source, item) for item in pair):
                for item in pair:
                    if isinstance(item, Ref) and wanted(item.name):
                        prefer(kinds, item, ONE_VECTOR, node.span)


def defined(kinds: Kinds, names: Collection[str], wanted: Kind = ONE_VECTOR) -> None:
    """What is defined is a vector, a loss a number, as long as nothing says otherwise."""
    for definition in kinds.definitions:
        if definition.name in names:
            prefer(kinds, Ref(definition.name, 0, definition.span), wanted, definition.span)
            kinds.settle()


# ---- what pages leave open


def finish(kinds: Kinds) -> None:
    """Decide what is still open. Raises PageError where nothing does, or two uses of a symbol contradict each other."""
    ending: set[str] = set()
    for hint in (lambda: last_factor(kinds, ending), lambda: once(kinds, any_case), lambda: once(kinds, alone)):
        while open_symbols(kinds) and hint():
            once(kinds, weights, alike, signed)
    refuse_open(kinds)
    refuse_two_uses(kinds, ending)
    rows, columns, kinds.row_shapes = direction(kinds)
    kinds.turned = any(kinds.kinds(item) == {ROW} for _, run in products(kinds) for item in run)
    kinds.mixed, kinds.silent = bool(rows and columns), not rows and not columns
    if kinds.row is None:
        kinds.row = rows > 0 and columns == 0


def open_symbols(kinds: Kinds) -> set[str]:
    return {name for name, found in kinds.domains.items() if len(found) > 1}


def last_factor(kinds: Kinds, ending: set[str]) -> bool:
    """`W x + b` with nothing known of W and x: a product that has to be a vector ends in one."""
    for place, node in vectors_needed(kinds):
        if isinstance(node, Product) and all(sign in LOOSE for sign in node.signs):
            free = [item for item in node.items if kinds.kinds(item) != {NUMBER}]
            if len(free) > 1 and once(kinds, lambda all_: prefer(all_, free[-1], ONE_VECTOR, place)):  # noqa: B023
                ending |= {item.name for item in free[-1:] if isinstance(item, Ref)}
                return True
    return False


def vectors_needed(kinds: Kinds) -> Iterator[tuple[Span, Core]]:
    """Formulas whose surroundings need a vector."""
    for definition in kinds.definitions:
        if VECTOR in kinds.domains[definition.name]:
            yield from terms(definition.body, definition.span)
    for node in nodes(kinds):
        if isinstance(node, (Call, Part)):
            yield from terms(node.body, node.span)
        elif isinstance(node, (Add, Concat)) and kinds.kind(node) == VECTOR:
            yield from ((node.span, part) for part in parts_of(node))
        elif isinstance(node, Product):
            yield from ((node.span, item) for item in node.items if "hadamard" in node.signs)


def terms(node: Core, place: Span) -> Iterator[tuple[Span, Core]]:
    yield place, node
    for part in node.terms if isinstance(node, Add) else ():
        yield from terms(part, place)


def any_case(kinds: Kinds) -> None:
    """`z x`, where no other use says what z is, as `W x` would."""
    for node, run in products(kinds):
        for item in run if any(kinds.kinds(one) <= VECTORS for one in run) else ():
            if isinstance(item, Ref):
                prefer(kinds, item, ONE_MATRIX, node.span)


def alone(kinds: Kinds) -> None:
    """What is no factor anywhere is a vector, as its surroundings mostly need."""
    factors = {item.name for _, run in products(kinds) if len(run) > 1 for item in run if isinstance(item, Ref)}
    for ref in (node for node in nodes(kinds) if isinstance(node, Ref)):
        if ref.name not in factors:
            prefer(kinds, ref, ONE_VECTOR, ref.span)


def refuse_open(kinds: Kinds) -> None:
    for node in nodes(kinds):
        if isinstance(node, Ref) and len(kinds.domains[node.name]) > 1:
            left = kinds.domains[node.name]
            raise asked(node.name, KINDS, partial(open_product, kinds.source, node, left), left)


def refuse_two_uses(kinds: Kinds, ending: set[str]) -> None:
    """A symbol that a sign makes a vector and that stands beside a vector, as a matrix would, is undecided."""
    beside = {
        term.name
        for node in nodes(kinds)
        if isinstance(node, Add) and any(isinstance(term, Const) for term in node.terms)
        for term in node.terms
        if isinstance(term, Ref)
    }
    exempt = {*beside, *kinds.declared, *ending, *turned_somewhere(kinds)}
    joined = {item.name for item in joined_or_added(kinds)}
    for node, run in products(kinds):
        if sum(kinds.kinds(item) == {VECTOR} for item in run) < 2:
            continue
        for item in run:
            name = item.name if isinstance(item, Ref) else ""
            if name in joined and kinds.is_parameter(name) and kinds.kind(item) == VECTOR and name not in exempt:
                raise kinds.conflict(item, ONE_MATRIX, node.span)


def turned_somewhere(kinds: Kinds) -> set[str]:
    return {ref.name for node in nodes(kinds) if isinstance(node, Turned) for ref in refs(node.body)}


def joined_or_added(kinds: Kinds) -> Iterator[Ref]:
    """Symbols beside an elementwise sign, and terms of sums."""
    for node in nodes(kinds):
        if isinstance(node, Add):
            yield from (term for term in node.terms if isinstance(term, Ref))
        elif isinstance(node, Product):
            found = runs(node)
            yield from (item for run in found if len(found) > 1 and len(run) == 1 for item in run if isinstance(item, Ref))


# ---- columns or rows


def direction(kinds: Kinds) -> tuple[int, int, bool]:
    """(products of a row and a matrix, of a matrix and a column, whether a matrix stands as it is behind a row)."""
    rows, columns, shapes = 0, 0, False
    for _, run in products(kinds):
        items = [item for item in run if kinds.kind(item) != NUMBER and not is_diagonal(item)]
        found = [kinds.kind(item) for item in items]
        if found.count(VECTOR) != 1 or MATRIX not in found:
            continue
        vector = kinds.kinds(items[found.index(VECTOR)])
        turned = vector == {ROW}
        rows += found[0] == VECTOR and not turned
        columns += found[-1] == VECTOR if not turned else found[0] == VECTOR
        shapes |= found[0] == VECTOR and any(
            kind == MATRIX and not isinstance(item, Turned) for item, kind in zip(items, found, strict=True)
        )
    return rows, columns, shapes


def added_inner_products(kinds: Kinds) -> Iterator[tuple[Add, Core]]:
    """Sums of vectors with a term that is an inner product, one number."""
    for node in nodes(kinds):
        if isinstance(node, Add) and kinds.kind(node) == VECTOR:
            yield from ((node, term) for term in node.terms if kinds.kinds(term) == {NUMBER} and is_inner(kinds, term))


def sums_of_inner_products(kinds: Kinds) -> Iterator[tuple[str, Core]]:
    """Letters in upper case that add up inner products, with the term: a matrix is mostly meant."""
    for one in kinds.definitions:
        open_number = kinds.domains[one.name] == {NUMBER} and not is_small(one.name) and one.name not in kinds.declared
        term = next((term for term in parts_of(one.body) if is_inner(kinds, term)), None) if isinstance(one.body, Add) else None
        if open_number and term is not None and any(ref.name == one.name for ref in refs(one.body)):
            yield one.name, term


def is_inner(kinds: Kinds, node: Core) -> bool:
    """Whether a number is an inner product, or a multiple of one."""
    if not isinstance(node, Product):
        return isinstance(node, Inner)
    return any(kinds.kinds(item) == {ROW} or is_inner(kinds, item) for item in node.items)
