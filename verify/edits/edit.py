"""What an edit is, and how a slip becomes edits: at one place, throughout an equation, in equations of one form, everywhere."""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterator, Mapping
from dataclasses import dataclass, replace

import sympy as sp

from derive.equation import Equation, Term
from derive.expressions import substitute
from derive.language import Value, Zeros
from derive.program import Program
from verify.edits.elsewhere import read_elsewhere


@dataclass(frozen=True)
class Edit:
    """A program with one slip. kind: its class. said: what was done. changed: (as derived, as edited) of each equation.

    places: how many places were changed; a slip of a whole thing that has a name, such as a carry, counts as one.
    """

    kind: str
    said: str
    program: Program
    changed: tuple[tuple[Equation, Equation], ...]
    places: int = 1

    @property
    def equation(self) -> Equation:
        return self.changed[0][0]

    @property
    def edited(self) -> Equation:
        return self.changed[0][1]


class Gone(sp.Basic):  # type: ignore[misc]
    """What a summand becomes that is left out."""


GONE = Gone()


@dataclass(frozen=True)
class Slip:
    """One kind of slip: what it makes of a summand.

    singles: the summand with the slip made at one of its places, for each of them. whole: made at all of them; the
    summand itself where there is none.
    reads: a value that an equation has to read for the slip to be possible. within: which equations can have it.
    """

    kind: str
    said: str
    singles: Callable[[sp.MatrixExpr], list[sp.Basic]]
    whole: Callable[[sp.MatrixExpr], sp.Basic]
    reads: Value | None = None
    within: Callable[[Equation], bool] = lambda equation: True

    def possible(self, equation: Equation) -> bool:
        return (self.reads is None or equation.is_reading(self.reads)) and self.within(equation)


def of_terms(kind: str, said: str, change: Callable[[sp.MatrixExpr], sp.Basic], **options: object) -> Slip:
    """A slip made on a summand as a whole."""

    def singles(value: sp.MatrixExpr) -> list[sp.Basic]:
        new = change(value)
        return [] if new == value else [new]

    return Slip(kind, said, singles, change, **options)  # type: ignore[arg-type]


def of_nodes(kind: str, said: str, match: Callable[[sp.MatrixExpr], sp.MatrixExpr | None], **options: object) -> Slip:
    """A slip made on whatever part of a summand matches."""
    return Slip(
        kind, said, lambda value: list(sites(value, match)), lambda value: substitute(value, match), **options  # type: ignore[arg-type]
    )  # fmt: skip


def sites(node: sp.MatrixExpr, match: Callable[[sp.MatrixExpr], sp.MatrixExpr | None]) -> Iterator[sp.MatrixExpr]:
    """The expression with each matching node replaced, one at a time."""
    seen: list[sp.Basic] = []

    def collect(part: sp.Basic) -> None:
        if isinstance(part, sp.MatrixExpr) and match(part) is not None and part not in seen:
            seen.append(part)
        for inner in part.args if not isinstance(part, (Value, sp.Lambda)) else ():
            collect(inner)

    collect(node)
    for target in seen:
        yield substitute(node, lambda part, target=target: match(part) if part == target else None)  # type: ignore[misc]


# ---- equations


def with_term(equation: Equation, index: int, value: sp.Basic) -> Equation:
    """The equation with one summand replaced or left out; index -1 is the common factor."""
    if index < 0:
        return replace(equation, factor=None if value is GONE else value)
    terms = list(equation.terms)
    terms[index : index + 1] = [] if value is GONE else [Term(value, terms[index].reason)]
    return replace(equation, terms=tuple(terms))


def parts(equation: Equation) -> list[tuple[int, sp.MatrixExpr]]:
    """The summands with their numbers, then the common factor as -1."""
    factor = [] if equation.factor is None else [(-1, equation.factor)]
    return [*enumerate(term.value for term in equation.terms), *factor]


def variants(slip: Slip, equation: Equation) -> list[Equation]:
    """The equation with the slip at each of its places."""
    return [with_term(equation, index, new) for index, value in parts(equation) for new in slip.singles(value)]


def throughout(slip: Slip, equation: Equation) -> Equation:
    """The equation with the slip at all of its places."""
    for index, value in reversed(parts(equation)):
        new = slip.whole(value)
        if new != value:
            equation = with_term(equation, index, new)
    return equation


# ---- programs


def edited(kind: str, said: str, program: Program, changes: Mapping[int, Equation], places: int) -> Iterator[Edit]:
    """The program with some equations changed: none where nothing changes, shapes don't fit, or a value is read before it is there."""
    equations, pairs = list(program.equations), []
    place = {one.target: k for k, one in enumerate(program.equations)}
    for k, new in changes.items():
        if any(place.get(value, -1) >= k for value in new.reads()):
            return
        old = equations[k]
        is_fitting = new.factor is None or new.factor.shape in (old.target.shape, (1, 1))
        if not is_fitting or any(term.value.shape != old.target.shape for term in new.terms):
            return
        terms = tuple(term for term in new.terms if not isinstance(term.value, Zeros))
        new = replace(new, terms=terms)
        if new != old:
            equations[k] = new if new.terms or new.target.timed else replace(new, factor=None)
            pairs.append((old, equations[k]))
    if pairs:
        given = (*program.given, *(v for v in read_elsewhere([new for _, new in pairs]) if v not in program.given))
        yield Edit(kind, said, replace(program, equations=tuple(equations), given=given), tuple(pairs), places)


def form(equation: Equation) -> Hashable:
    """What equations have in common that are written alike: the gradients of parameters by what they read, the others together."""
    if equation.target.timed:
        return True
    return equation.target.shape, tuple(value for value in equation.reads() if value.kind == "primal")


def edits(slip: Slip, program: Program, alone: bool = True) -> Iterator[Edit]:
    """A slip at each place, throughout each equation, in all equations of a form, in all gradients of parameters, everywhere.

    alone: False leaves out the single places.
    """
    found = {k: made for k, one in enumerate(program.equations) if slip.possible(one) and (made := variants(slip, one))}
    for k, made in found.items() if alone else ():
        for new in made:
            yield from edited(slip.kind, slip.said, program, {k: new}, 1)
    for scope in scopes(program, found):
        changes = {k: throughout(slip, program.equations[k]) for k in scope}
        yield from edited(slip.kind, slip.said, program, changes, sum(len(found[k]) for k in scope))


def scopes(program: Program, found: Mapping[int, Collection[Equation]]) -> list[tuple[int, ...]]:
    """The sets of equations in which a slip is made at once, each of more than one place."""
    by_form: dict[Hashable, list[int]] = {}
    for k in found:
        by_form.setdefault(form(program.equations[k]), []).append(k)
    totals = [k for k in found if not program.equations[k].target.timed]
    wanted = [*[(k,) for k in found], *map(tuple, by_form.values()), tuple(totals), tuple(found)]
    return [scope for scope in dict.fromkeys(wanted) if sum(len(found[k]) for k in scope) > 1]


def identity(edit: Edit) -> Hashable:
    """What two edits of one program have in common that give the same program."""
    return edit.changed


__all__ = [
    "GONE",
    "Edit",
    "Slip",
    "edited",
    "edits",
    "identity",
    "of_nodes",
    "of_terms",
    "sites",
    "throughout",
    "variants",
    "with_term",
]
