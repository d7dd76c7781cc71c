"""Parameters in lower case that uses leave open: a number, a vector or a matrix may be meant, and the page is asked which."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

from derive.pages.alphabet import SPECIAL
from derive.pages.core import (
    Add,
    Call,
    Concat,
    Const,
    Core,
    Definition,
    Elementwise,
    Extent,
    Inner,
    MatMul,
    Part,
    Power,
    Product,
    Ref,
    Several,
    Slice,
    Steps,
    Turned,
    parts_of,
    refs,
)
from derive.pages.errors import PageError, Span
from derive.pages.kinds import Kinds, is_small
from derive.pages.names import Names
from derive.pages.products import declared_as
from derive.pages.questions import asked, unread
from derive.pages.relations import LOOSE, MATRIX, NUMBER, VECTOR

FACTOR, BESIDE_NUMBERS, DECIDED = "factor", "beside numbers", "decided"
"""What a use says of a symbol: nothing, that it is no matrix, that it is a vector."""


@dataclass
class Uses:
    """How the open symbols of a cell are used: name -> the first place and all that its uses say.

    An open symbol is a parameter of which nothing is said, in lower case, or one that is only ever divided by. given: names of which
    something is known, as the inputs of a page without a letter of time; numbers: those that are numbers.
    """

    names: Names
    given: frozenset[str]
    numbers: frozenset[str]
    found: dict[str, tuple[Ref, Span, set[str]]] = field(default_factory=dict)
    divisors: set[str] = field(default_factory=set)

    def is_open(self, node: Core) -> bool:
        return isinstance(node, Ref) and node.name not in self.given and self.names.is_free(node.name)

    def is_number(self, node: Core) -> bool:
        return isinstance(node, (Const, Extent, Steps)) or (isinstance(node, Ref) and node.name in self.numbers)

    def like_a_number(self, node: Core) -> bool:
        """Whether a formula could be one number: it holds numbers and open symbols in lower case, and what is divided by."""
        match node:
            case Const() | Extent() | Steps():
                return True
            case Ref():
                return self.is_number(node) or (self.is_open(node) and is_small(node.name))
            case Power() if is_quotient(node) and self.is_open(root(node)):
                return not self.is_inverse(node)
            case Call() | Power() | Add() | Product() | Several() | Elementwise():
                return all(self.like_a_number(part) for part in parts_of(node))
        return False

    def is_inverse(self, node: Core) -> bool:
        """Whether a power is written as such at a symbol in upper case: `W^{-1}`, the inverse of a matrix."""
        inner = root(node)
        return isinstance(inner, Ref) and inner.name[0].isupper() and "^" in self.names.source.written(node.span)

    def visit(self, node: Core, says: str, place: Span) -> None:
        """Note what a use says of the open symbols in a formula; `place`: the product or the sum that uses it."""
        if isinstance(node, Ref):
            if self.is_open(node) and (is_small(node.name) or node.name in self.divisors):
                self.found.setdefault(node.name, (node, place, set()))[2].add(says)
        elif isinstance(node, Product):
            self.product(node, says, place)
        elif isinstance(node, Add):
            self.sum(node, says, place)
        elif isinstance(node, Power):
            inner = root(node)
            if is_quotient(node) and isinstance(inner, Ref) and not self.is_inverse(node):
                self.divisors.add(inner.name)
            self.visit(node.body, BESIDE_NUMBERS if says == FACTOR and is_quotient(node) else says, place)
        elif isinstance(node, Elementwise):
            self.product(Product(node.items, ("side",) * (len(node.items) - 1), node.span), says, place)
        elif isinstance(node, Several):
            for part in node.parts:
                self.visit(part, BESIDE_NUMBERS if self.like_a_number(part) else DECIDED, node.span)
        elif isinstance(node, (Call, Part, Concat, Turned, Slice, Inner, MatMul)):
            passed_on = isinstance(node, Call) and node.function not in SPECIAL and self.like_a_number(node.body)
            for part in parts_of(node):
                self.visit(part, (BESIDE_NUMBERS if says == FACTOR else says) if passed_on else DECIDED, place)

    def sum(self, node: Add, says: str, place: Span) -> None:
        numbers = all(self.like_a_number(term) for term in node.terms)
        beside = any(self.is_number(term) for term in node.terms)
        for term in node.terms:
            if not numbers:
                self.visit(term, DECIDED, node.span)
            else:
                self.visit(term, BESIDE_NUMBERS if says == FACTOR and beside else says, place)

    def product(self, node: Product, says: str, place: Span) -> None:
        numbers = [self.like_a_number(item) for item in node.items]
        quotient = any(is_quotient(item) and not self.like_a_number(item) for item in node.items)
        several = sum(not self.is_number(item) for item in node.items) > 1
        for at, item in enumerate(node.items):
            signs = [node.signs[side] for side in (at - 1, at) if 0 <= side < len(node.signs)]
            elementwise = any(sign not in LOOSE for sign in signs) and not any(map(divides, node.items))
            if all(numbers):
                open_factor = several and isinstance(item, Ref) and not elementwise
                self.visit(item, FACTOR if open_factor else says, place if says != DECIDED else node.span)
            else:
                says_here = BESIDE_NUMBERS if quotient and numbers[at] else FACTOR
                self.visit(item, DECIDED if numbers[at] and elementwise else says_here, node.span)

    def open(self) -> dict[str, tuple[Ref, Span, set[str]]]:
        return {name: one for name, one in self.found.items() if DECIDED not in one[2]}


def root(node: Core) -> Core:
    """What stands under powers."""
    return root(node.body) if isinstance(node, Power) else node


def divides(node: Core) -> bool:
    """`1/\\tau`, `dt/\\tau`."""
    return is_quotient(node) or (isinstance(node, Product) and any(map(is_quotient, node.items)))


def is_quotient(node: Core) -> bool:
    return isinstance(node, Power) and node.exponent < 0


def refuse_open_symbols(names: Names, definitions: Sequence[Definition], kinds: Kinds, given: frozenset[str]) -> None:
    """Raises PageError where the uses of a symbol fit a number as well as a vector or a matrix; `given`: the inputs of a page without a
    letter of time, and what is declared."""
    numbers = frozenset(name for name, found in kinds.domains.items() if found == {NUMBER})
    uses = Uses(names, given | ({*kinds.domains} - {*kinds.open}) | {definition.name for definition in definitions}, numbers)
    for definition in definitions:
        says = BESIDE_NUMBERS if uses.like_a_number(definition.body) else DECIDED
        uses.visit(definition.body, says, definition.body.span)
    found = uses.open()
    if not found:
        return
    name, (node, place, said) = next(iter(found.items()))
    others = [declared_as(one) for one in found if one != name]
    left = kinds.open[name] - (frozenset({MATRIX}) if BESIDE_NUMBERS in said and VECTOR in kinds.open[name] else frozenset())
    of_examples = any(ref.name == name for one in definitions if not names.is_timed(one.name) for ref in refs(one.body))
    raise open_symbol(names, declared_as(name), node, place, left, others, of_examples and names.reader.letter is not None)


def scaled(names: Names, kinds: Kinds, name: str) -> str:
    """The parameter that a definition is made of beside numbers, the A of `\\exp(\\Delta_t A)`, if nothing says what it is; else empty."""
    left = {one.name for part in kinds.definitions if part.name == name for one in refs(part.body) if kinds.kind(one) != NUMBER}
    return next(iter(left)) if len(left) == 1 and all(map(names.is_free, left)) else ""


READINGS = {
    NUMBER: '--let "{name}=number" for a number that is learned, --let "{name}=0.1" for one that is given',
    VECTOR: '--let "{name}=vector" for one number a unit',
    MATRIX: '--let "{name}=matrix" for a matrix that is learned',
}
"""What a symbol may be, and the declaration that says so."""


def open_symbol(
    names: Names, name: str, node: Ref, place: Span, left: frozenset[str], others: Sequence[str], of_examples: bool
) -> PageError:
    kinds = [kind for kind in READINGS if kind in left]
    return asked(name, left, partial(open_symbol_of, names, name, node, place, kinds, others, of_examples))


def open_symbol_of(
    names: Names, name: str, node: Ref, place: Span, kinds: Sequence[str], others: Sequence[str], of_examples: bool,
    found: Sequence[str],
) -> PageError:  # fmt: skip
    written, shown = names.source.written(node.span), names.source.written(place)[:80]
    written = written[1:-1] if written.startswith("{") else written
    exponential = f" Write \\exp(...) for the exponential function of {name[2:]}." if re.match(r"e\s*\^", written) else ""
    listed = " or ".join(filter(None, [", ".join(f"a {kind}" for kind in kinds[:-1]), f"a {kinds[-1]}"]))
    what = f"`{written}` in `{shown}` can be read in several ways: expected to know whether {name} is {listed}."
    readings = [READINGS[kind].format(name=name) for kind in found]
    if of_examples:
        readings.append(f'--let "{name}=example" for an input, one an example')
    todo = f"Say {', '.join(readings)}.{unread(set(kinds) - set(found))}{exponential}"
    return names.source.error(node.span, what, todo + (f" The same is open for {', '.join(others)}." if others else ""))
