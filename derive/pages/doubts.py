"""What a page leaves open: functions that nobody has named, the identity, products, matrices that differ from step to step, inputs.

Nothing is decided by a name alone: what counts is how a symbol is used, and whether it is written in lower or in upper case. Where two
readings differ and no use decides, the page is asked.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from functools import partial

from derive.pages.alphabet import IDENTITIES, SPECIAL, STEPS
from derive.pages.core import (
    Add,
    Call,
    Concat,
    Const,
    Core,
    Definition,
    MatMul,
    Power,
    Product,
    Ref,
    Turned,
    Unit,
    every,
    parts_of,
    with_parts,
)
from derive.pages.declarations import plain_name
from derive.pages.errors import PageError, Source, Span
from derive.pages.kinds import Kinds, is_small, runs
from derive.pages.meaning import Meaning
from derive.pages.names import Names
from derive.pages.open_symbols import open_symbol, scaled
from derive.pages.questions import KINDS, asked, of_each_element, unread
from derive.pages.relations import LOOSE, MATRIX, NUMBER, ROW, VECTOR
from derive.pages.settling import added_inner_products, products, sums_of_inner_products
from derive.pages.turned import plain_of

# ---- functions that nobody has named


def refuse_calls(source: Source, meaning: Meaning, definitions: Sequence[Definition]) -> None:
    """`f(W x + U h)` with f undeclared is a function that nobody has named; `U(r ∘ h)` is a product."""
    for name, (span, inside) in meaning.calls.items():
        if (
            name not in (*meaning.plain, *STEPS)
            and name not in meaning.names.declared.kinds
            and (like_an_argument(inside, {d.name for d in definitions}) or is_threshold(inside, meaning.names))
        ):
            what = f"unknown function `{name}`, or a matrix: expected to know which."
            todo = f'Say: --let "{name}=tanh" for a function, --let "{name}=matrix" for a matrix.'
            raise source.error(span, what, todo + (f' A number is --let "{name}=0.1".' if name.islower() else ""))


def is_threshold(node: Core, names: Names) -> bool:
    """`u_t - \\theta`: a value and a parameter, which a step function is printed of, and hardly a matrix."""
    terms = node.terms if isinstance(node, Add) else ()
    return len(terms) > 1 and any(isinstance(term, Ref) and names.is_free(term.name) for term in terms)


def like_an_argument(node: Core, defined: set[str]) -> bool:
    """One symbol, several things, or a formula with a matrix product in it."""
    if isinstance(node, (Ref, Concat, MatMul)):
        return True
    if isinstance(node, Product):
        open_items = [one for one in node.items if isinstance(one, Ref) and one.name not in defined and one.lag == 0]
        return bool(open_items) and any(sign in ("side", "dot") for sign in node.signs)
    return isinstance(node, (Add, Call)) and any(
        like_an_argument(part, defined) for part in parts_of(node) if not isinstance(part, Ref)
    )


# ---- the identity, and matrices of a step


def nodes(definitions: Sequence[Definition]) -> Iterator[Core]:
    return (node for definition in definitions for node in every(definition.body))


def with_identities(names: Names, definitions: Sequence[Definition], kinds: Kinds) -> list[Definition]:
    """The definitions with the identity where a letter that mostly says it is added to matrices and stands nowhere else; noted."""
    free = {name for name in IDENTITIES if names.is_free(name) and name in kinds.domains}
    added = {
        id(ref)
        for node in nodes(definitions)
        if isinstance(node, Add) and kinds.kind(node) == MATRIX
        for ref in units(kinds, node)
    }
    free -= {node.name for node in nodes(definitions) if isinstance(node, Ref) and id(node) not in added}
    for name in sorted(free):
        names.notes[f"`{name}` in a sum with matrices is read as the identity matrix"] = None
    return [replace(one, body=with_units(one.body, free)) for one in definitions] if free else list(definitions)


def units(kinds: Kinds, node: Add) -> Iterator[Ref]:
    """The symbols that are terms of a sum, by themselves or multiplied by numbers."""
    for term in node.terms:
        for part in term.items if isinstance(term, Product) else (term,):
            if isinstance(part, Ref) and NUMBER not in kinds.kinds(part):
                yield part


def with_units(node: Core, free: set[str]) -> Core:
    if isinstance(node, Ref) and node.name in free:
        return Unit(node.span)
    return with_parts(node, [with_units(part, free) for part in parts_of(node)])


def refuse_identity(names: Names, definitions: Sequence[Definition]) -> None:
    """`W - \\gamma I`: raises PageError where a letter that mostly says the identity is declared neither as it nor as a parameter."""
    beside = {
        id(term) for node in nodes(definitions) if isinstance(node, Add) and holds_value(names, node) for term in node.terms
    }
    for node in nodes(definitions):
        if isinstance(node, Ref) and node.name in IDENTITIES and names.is_free(node.name):
            name, written = node.name, names.source.written(node.span)
            what = f"`{written}` can be read in two ways: expected the identity matrix, or a parameter."
            todo = f'Say --let "{name}=identity" for the identity, --let "{name}=matrix" or --let "{name}=vector" for a parameter'
            if id(node) in beside:
                what = f"`{written}` beside a vector can be read in two ways: expected 1 in each place, or a parameter."
                todo = f'Say --let "{name}=1" for ones, --let "{name}=vector" for a parameter'
            raise names.source.error(node.span, what, f'{todo}, --let "{name}=input" for an input.')


def holds_value(names: Names, node: Add) -> bool:
    """Whether one of the terms is a value of a step: `I - z_t`."""
    return any(isinstance(term, Ref) and names.is_timed(term.name) for term in node.terms)


def refuse_functions_of_matrices(names: Names, definitions: Sequence[Definition], inputs: Sequence[str]) -> None:
    """`\\exp(A) h`, `\\exp(\\Delta_t A) h`: raises PageError where what a function in front of a value is applied to may be a vector, or a
    matrix, whose exponential is another thing. So where the function has a name of its own, `\\bar{A} = \\exp(A)`."""
    values = {one.symbol.name for one in names.reads if one.time is not None} | {*inputs} | {one.name for one in definitions}
    named = {one.name: one.body for one in definitions if not (names.is_timed(one.name) or read_in(one.body) & values)}
    values -= {*STEPS, *named}
    for node in nodes(definitions):
        for run in runs(node) if isinstance(node, Product) else ():
            for item in run if any(read_in(one) & values for one in run) else ():
                function = named.get(item.name) if isinstance(item, Ref) else item
                if not isinstance(function, Call) or function.function in SPECIAL or read_in(function) & values:
                    continue
                name = capital_of(names, function.body)
                if name is not None:
                    raise asked(name, (VECTOR, NUMBER), partial(of_each_element, names.source, name, function))


SERIES = ("exp", "log", "sin", "cos", "sinh", "cosh")
"""Functions that are taken of matrices as well, by their series, which is another thing than the function of each element."""


def refuse_series_of_matrices(names: Names, kinds: Kinds) -> None:
    """`\\exp(A) h` with A a matrix: raises PageError where a matrix product is made of such a function, also under a name of its own."""
    named = {one.name: one.body for one in kinds.definitions}
    for _, run in products(kinds):
        several = sum(kinds.kind(item) != NUMBER for item in run) > 1
        for item in run if several else ():
            function = named.get(item.name, item) if isinstance(item, Ref) and item.lag == 0 else item
            if isinstance(function, Call) and function.function in SERIES and kinds.kind(function.body) == MATRIX:
                written = names.source.written(function.span)
                what = f"`{written}` of a matrix in a matrix product can be read in two ways: of the matrix, or of its elements."
                todo = (
                    "Neither is read: give the matrix that is meant a symbol; `\\odot` multiplies the function of each element."
                )
                raise names.source.error(function.span, what, todo)


def refuse_ones_in_products(names: Names, kinds: Kinds) -> None:
    """`(1 - k k^\\top) S`, `(1 - A) h`: raises PageError where a matrix to which a plain number is added is a factor of a matrix product,
    as the number may be meant for each element, or times the identity; and where a parameter in upper case may be such a matrix."""
    named = {one.name: one.body for one in kinds.definitions}
    for product, run in products(kinds):
        several = sum(kinds.kind(item) != NUMBER for item in run) > 1
        for item in run if several else ():
            factor = named.get(item.name, item) if isinstance(item, Ref) and item.lag == 0 else item
            while isinstance(factor, (Turned, Power)):
                factor = factor.body
            number = next((one for one in factor.terms if isinstance(one, Const)), None) if isinstance(factor, Add) else None
            if not isinstance(factor, Add) or number is None:
                continue
            if kinds.kind(factor) == MATRIX:
                raise ones_or_identity(names, factor, number)
            for term in factor.terms if kinds.kind(factor) == VECTOR else ():
                if (
                    isinstance(term, Ref)
                    and kinds.is_parameter(term.name)
                    and names.is_free(term.name)
                    and not is_small(term.name)
                ):
                    raise open_symbol(names, term.name, term, product.span, frozenset(KINDS), (), of_examples=False)


def ones_or_identity(names: Names, factor: Add, number: Const) -> PageError:
    written, one = names.source.written(factor.span), names.source.written(number.span)
    what = f"`{one}` in `{written}`, a factor of a matrix product, can be read in two ways: expected the identity, or ones everywhere."
    todo = "Write `I` for the identity; ones everywhere are read in elementwise products alone, `\\odot`."

    def error(found: Sequence[str]) -> PageError:
        number = f' Say --let "{name}=number" where {name} is one number.' if found else ""
        return names.source.error(factor.span, what, todo + number)

    name = capital_of(names, factor)
    return error(()) if name is None else asked(name, (NUMBER,), error, shown=())


def read_in(node: Core) -> set[str]:
    return {one.name for one in every(node) if isinstance(one, Ref)}


def capital_of(names: Names, body: Core) -> str | None:
    """A parameter in upper case of which nothing is said, in a formula without an elementwise sign."""
    if any(isinstance(one, Product) and not set(one.signs) <= set(LOOSE) for one in every(body)):
        return None
    found = (name for name in sorted(read_in(body)) if name[0].isupper() and name not in STEPS)
    return next((name for name in found if names.is_free(name)), None)


def refuse_inner_products(names: Names, kinds: Kinds) -> None:
    """`w^\\top x_t + r \\odot h_{t-1}`: raises PageError where a number that two vectors make is added to a vector."""
    for node, term in added_inner_products(kinds):
        turned = [one.body for one in every(term) if isinstance(one, Turned) and kinds.kinds(one) == {ROW}]
        free = next((one for one in turned if isinstance(one, Ref) and names.is_free(one.name)), None)
        if any(isinstance(one, Ref) and names.declared.kinds.get(one.name) == VECTOR for one in turned):
            continue
        written, whole = names.source.written(term.span), names.source.written(node.span)[:80]
        what = f"`{written}` can be read in two ways: expected one number for each element of `{whole}`, or a vector."
        if free is not None:
            name = free.name
            todo = (
                f'Say --let "{name}=vector" for an inner product, --let "{name}=matrix" for the product of a matrix and a vector.'
            )
        else:
            other = "k^\\top v" if kinds.row else "v k^\\top"
            given = [one.name for one in node.terms if isinstance(one, Ref) and kinds.is_given(one)]
            one_number = f'say --let "{given[0]}=number" for one' if given else "for the number give it an equation of its own"
            todo = f"An outer product is written `{other}` here; {one_number}."
        raise names.source.error(term.span, what, todo)


def refuse_sums_of_inner_products(names: Names, kinds: Kinds) -> None:
    """`S_t = S_{t-1} + k_t^\\top v_t`: raises PageError where a letter in upper case would add up numbers, as a matrix is mostly meant."""
    for name, term in sums_of_inner_products(kinds):
        if name not in names.declared.kinds:
            what = f"`{names.source.written(term.span)}` can be read in two ways: expected to know whether {name} is a number or a matrix."
            outer = "k^\\top v" if kinds.row else "v k^\\top"
            todo = f'Say --let "{name}=number" for an inner product; an outer product, a matrix, is written `{outer}` here.'
            raise names.source.error(term.span, what, todo)


def refuse_signed_numbers(names: Names, kinds: Kinds) -> None:
    """`q_t \\odot S_t` with a matrix S: raises PageError where a symbol that is given at a step would be a number, as no vector fits."""
    for node in nodes(kinds.definitions):
        signs = node.signs if isinstance(node, Product) else ()
        for at, sign in enumerate(signs):
            pair = node.items[at : at + 2] if isinstance(node, Product) else ()
            for one in pair if sign == "hadamard" and any(kinds.kind(item) == MATRIX for item in pair) else ():
                if kinds.is_given(one) and isinstance(one, Ref) and kinds.kind(one) == NUMBER:
                    q, other, whole = (names.source.written(part.span) for part in (one, pair[pair[0] is one], node))
                    what = f"`{q}` in `{whole[:80]}`, beside a matrix, can be read in two ways: expected a number, or one for each row."
                    rows = f"`\\operatorname{{diag}}({q}) {other}`"
                    todo = f'Say --let "{one.name}=number" for a number; rows are scaled by {rows}.'
                    raise names.source.error(one.span, what, todo)


def refuse_tensors(names: Names, kinds: Kinds, signs: Collection[str]) -> None:
    """`v_t \\otimes k_t`: raises PageError where nothing says whether it is an elementwise or an outer product."""
    for definition in kinds.definitions:
        for node in every(definition.body):
            if not isinstance(node, Product) or "tensor" not in node.signs or kinds.kinds(node) in ({MATRIX}, {NUMBER}):
                continue
            name = definition.name
            if "hadamard" in signs or (node in kinds.tensors and not is_small(name)):
                written = names.source.written(node.span)
                what = f"`{written}` can be read in two ways: expected to know whether it is an elementwise product or an outer product."
                todo = f'Write `\\odot` for the elementwise product, or say --let "{name}=vector"; --let "{name}=matrix" for the outer one.'
                if name not in names.declared.kinds:
                    raise names.source.error(node.span, what, todo)


def refuse_matrices_of_steps(names: Names, definitions: Sequence[Definition], kinds: Kinds, given: set[str]) -> None:
    """`A_t h_{t-1}`: raises PageError where a symbol in upper case, given at each step, is only ever a factor of a vector."""
    places: dict[str, list[tuple[int, int, Span]]] = {}
    alone: set[str] = set()
    beside: set[int] = set()
    for node in nodes(definitions):
        for run in runs(node) if isinstance(node, Product) else ():
            factors = [item for item in run if kinds.kind(item) != NUMBER]
            of_steps = any(kinds.kinds(item) == {MATRIX} and not is_parameter(kinds, item) for item in factors)
            if of_steps or sum(kinds.kind(item) == VECTOR for item in factors) > 1:
                for at, item in enumerate(one.body if isinstance(one, Turned) else one for one in factors):
                    if isinstance(item, Ref):
                        beside.add(id(item))
                        places.setdefault(item.name, []).append((at, len(factors) - 1 - at, node.span))
        alone |= {part.name for part in parts_of(node) if isinstance(part, Ref) and id(part) not in beside}
    found = {
        name: uses[0][2]
        for name, uses in places.items()
        if not is_small(name)
        and name in given - alone
        and kinds.kinds(Ref(name, 0, uses[0][2])) == {VECTOR}
        and name not in names.declared.kinds
        and (all(one[1] for one in uses) or all(one[0] for one in uses))
    }
    for name, place in found.items():
        raise matrix_of_a_step(names, name, place, [one for one in found if one != name])


def refuse_open_capitals(names: Names, kinds: Kinds) -> None:
    """`P_{t-1} x_t`: raises PageError where what is defined, in upper case, would be a vector beside another, and may be a matrix."""
    for node, run in products(kinds):
        vectors = [item for item in run if kinds.kind(item) == VECTOR]
        for item in vectors if len(vectors) > 1 else ():
            name = item.name if isinstance(item, Ref) else ""
            undecided = MATRIX in kinds.open.get(name, ()) and name in kinds.defined and name not in names.declared.kinds
            if undecided and not is_small(name):
                raise matrix_of_a_step(names, name, node.span, (), number=scaled(names, kinds, name))


def refuse_capitals_beside_rows(names: Names, definitions: Sequence[Definition], kinds: Kinds | None = None) -> None:
    """`B_t x_t^\\top`, `K_t^\\top V_t`: raises PageError where a symbol in upper case, given at each step, stands beside a transposed
    vector; kinds: only where it came out as a matrix."""
    defined = {one.name for one in definitions}
    found: dict[str, Span] = {}
    for node in nodes(definitions):
        for run in runs(node) if isinstance(node, Product) else ():
            turned = [item.body for item in run if isinstance(item, Turned) and isinstance(item.body, Ref)]
            if len(run) > 1 and any(names.is_timed(one.name) or is_small(one.name) for one in turned if isinstance(one, Ref)):
                for one in [item for item in run if isinstance(item, Ref)] + turned:
                    given = isinstance(one, Ref) and names.is_timed(one.name) and one.name not in defined
                    wanted = kinds is None or kinds.kind(one) == MATRIX
                    if given and wanted and not is_small(one.name) and one.name not in names.declared.kinds:
                        found.setdefault(one.name, node.span)
    for name, place in found.items():
        raise matrix_of_a_step(names, name, place, [one for one in found if one != name], weight=False)


def matrix_of_a_step(
    names: Names, name: str, place: Span, others: Sequence[str], weight: bool = True, number: str = ""
) -> PageError:
    """weight: it stands where a parameter in upper case, a matrix, may. number: the parameter that makes it a number, if it is one."""
    found = (one for one in names.reads if one.symbol.name == name and one.time == 0 and not one.transposed)
    own = next((names.source.written(one.span) for one in found), "") if weight and not names.is_defined(name) else ""
    return asked(name, (VECTOR, MATRIX), partial(of_a_step, names.source, name, plain_name(own), place, others, number))


def of_a_step(
    source: Source, name: str, own: str, place: Span, others: Sequence[str], number: str, found: Sequence[str]
) -> PageError:
    written = source.written(place)
    what = f"`{written}` can be read in two ways: expected to know whether {name} is a vector or a matrix of each step."
    said = {MATRIX: f'--let "{name}=matrix" for a matrix of each step', VECTOR: f'--let "{name}=vector" for a vector'}
    todo = f"Say {', '.join(text for kind, text in said.items() if kind in found)}.{unread({*said} - {*found})}"
    todo += f' For a number say --let "{number}=number".' if number else ""
    todo += " A parameter, which is the same at every step, is written without the index of time"
    todo += f', or declared, --let "{own}=parameter".' if own else "."
    return source.error(place, what, todo + (f" The same is open for {', '.join(others)}." if others else ""))


def is_parameter(kinds: Kinds, item: Core) -> bool:
    return all(kinds.is_parameter(one.name) for one in every(item) if isinstance(one, Ref))


def refuse_both_ways(source: Source, definitions: Sequence[Definition], kinds: Kinds) -> None:
    """`x W` beside `U h`: raises PageError where a vector stands in front of a matrix on a page that writes matrices in front, or a step
    of time does; so where `x^\\top W` is added to `U h`."""
    exponents = [part.body for part in nodes(definitions) if isinstance(part, Call) and part.function == "exp"]
    for node in nodes(definitions):
        for run in runs(node) if isinstance(node, Product) else ():
            factors = [item for item in run if kinds.kind(item) != NUMBER]
            step = isinstance(factors[0], Ref) and factors[0].name in STEPS if factors else False
            if (kinds.mixed or step or kinds.row is False) and [kinds.kinds(item) for item in factors] == [{VECTOR}, {MATRIX}]:
                name = factors[1].name if isinstance(factors[1], Ref) and node in exponents else ""
                raise both_ways(source, factors, name if kinds.is_parameter(name) and name not in kinds.declared else "")
        terms = [term for term in parts_of(node) if isinstance(term, Product)] if isinstance(node, Add) else []
        if any(kinds.kinds(term) == {VECTOR} and kinds.kind(term.items[0]) == MATRIX for term in terms):
            for term in terms:
                weight = is_parameter(kinds, term.items[-1])
                if weight and [kinds.kinds(item) for item in term.items] == [{ROW}, {MATRIX}]:
                    raise both_ways(source, term.items)


def both_ways(source: Source, factors: Sequence[Core], scale: str = "") -> PageError:
    """scale: the name of the second factor where it may be no matrix, as the A of `\\exp(\\Delta_t A)`."""
    vector, matrix = (in_brackets(source, item) for item in factors)
    plain = plain_of(vector)
    what = f"`{vector} {matrix}` can be read in two ways: expected the product of a row and a matrix, or rows times numbers."
    todo = f"Write `{matrix}^\\top {plain}` for the product, or `\\operatorname{{diag}}({plain}) {matrix}` for scaled rows."
    todo += f' For a number say --let "{scale}=number", for one number a unit --let "{scale}=vector".' if scale else ""
    return source.error((factors[0].span[0], factors[-1].span[1]), what, todo)


def in_brackets(source: Source, factor: Core) -> str:
    """A factor as it is written, a sum in brackets."""
    written = source.written(factor.span)
    return f"({written})" if isinstance(factor, Add) and not written.startswith("(") else written
