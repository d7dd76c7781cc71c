"""Equations of a program: a target, the terms that it is the sum of, and the reason of each term."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import sympy as sp

from derive.along import axes_of
from derive.expressions import substitute, values_in
from derive.language import Hadamard, Value, Zeros, add, coefficient, hadamard, scale


@dataclass(frozen=True)
class Reason:
    """Why a term stands in a derived formula: the forward equation that it came from (by the value that it defines, None for what the loss
    gives) and the rule.

    also: what else was at work, where several rules made one term: the next on its way first.
    """

    equation: Any
    rule: str
    also: tuple[Reason, ...] = ()

    def links(self) -> tuple[Reason, ...]:
        """Every equation and rule that made the term, each once, the one that the term came from last in front."""
        parts = (replace(self, also=()), *[link for one in self.also for link in one.links()])
        return tuple(dict.fromkeys(parts))


def joined(reasons: Iterable[Reason | None]) -> Reason | None:
    """The reason of a term that several rules made: the first, and what else was at work."""
    links = [link for reason in reasons if reason is not None for link in reason.links()]
    return replace(links[0], also=tuple(dict.fromkeys(links))[1:]) if links else None


@dataclass(frozen=True)
class Term:
    """One summand and its reason; a forward equation, given by the user, needs none."""

    value: sp.MatrixExpr
    reason: Reason | None = None


@dataclass(frozen=True)
class Equation:
    """target = factor ∘ (sum of the terms).

    A term that varies along axes which the target doesn't have is summed over them: a parameter's gradient over steps and examples.
    auxiliary: the target is a part that the cell's own equations leave unnamed.
    """

    target: Value
    terms: tuple[Term, ...]
    factor: sp.MatrixExpr | None = None
    auxiliary: bool = False

    @cached_property
    def summed(self) -> tuple[str, ...]:
        """The axes over which terms are summed."""
        parts = [self.factor] * (self.factor is not None) + [term.value for term in self.terms]
        along = dict.fromkeys(axis for part in parts for axis in axes_of(part))
        return tuple(axis for axis in along if axis not in self.target.axes)

    def summed_in(self, part: sp.MatrixExpr) -> tuple[str, ...]:
        """The axes over which a term is summed."""
        return tuple(axis for axis in axes_of(part) if axis not in self.target.axes)

    def is_summed(self, part: sp.MatrixExpr) -> bool:
        """Whether a term is summed over steps or examples."""
        return bool(self.summed_in(part))

    @property
    def accumulate(self) -> bool:
        """Whether terms are summed over steps or examples."""
        return bool(self.summed)

    @cached_property
    def apart(self) -> tuple[Equation, Equation]:
        """A total with the terms alone that are summed over the steps, and with the others; all are where its factor is."""
        if self.factor is not None and axes_of(self.factor):
            return self, replace(self, terms=())
        summed = [self.is_summed(term.value) for term in self.terms]
        chosen = [
            tuple(term for term, is_one in zip(self.terms, summed, strict=True) if is_one is wanted) for wanted in (True, False)
        ]
        summed_part, rest = [self if len(terms) == len(self.terms) else replace(self, terms=terms) for terms in chosen]
        return summed_part, rest

    @cached_property
    def value(self) -> sp.MatrixExpr:
        """The right side as one expression; zeros where there is no term."""
        if not self.terms:
            return Zeros(*self.target.shape)
        total = add(*[term.value for term in self.terms])
        return total if self.factor is None else hadamard(self.factor, total)

    @cached_property
    def _reads(self) -> tuple[Value, ...]:
        parts = [self.factor] * (self.factor is not None) + [term.value for term in self.terms]
        return tuple(dict.fromkeys(value for part in parts for value in values_in(part)))

    def reads(self) -> tuple[Value, ...]:
        """The values that the right side reads, each once."""
        return self._reads

    def is_reading(self, value: Value) -> bool:
        """Whether the right side reads a value."""
        return value in self._reads

    def substituted(self, new: Callable[[sp.MatrixExpr], sp.MatrixExpr | None]) -> Equation:
        """The equation with every node for which `new` answers replaced, in its terms and in its factor."""
        terms = tuple(Term(substitute(term.value, new), term.reason) for term in self.terms)
        return replace(self, terms=terms, factor=self.factor and substitute(self.factor, new))

    def with_value(self, value: sp.MatrixExpr) -> Equation:
        """The same target with another right side; the reasons of a single term are kept."""
        reason = self.terms[0].reason if len(self.terms) == 1 else None
        return replace(self, terms=(Term(value, reason),), factor=None)


# ---- like terms


def like_terms(terms: Iterable[Term]) -> list[Term]:
    """The terms with like ones added; those that come to nothing are gone."""
    groups: dict[object, list[Term]] = defaultdict(list)
    for term in terms:
        groups[key(term)].append(term)
    added = [same[0] if len(same) == 1 else total(same) for same in groups.values()]
    return [term for term in added if not isinstance(term.value, Zeros)]


def total(terms: list[Term]) -> Term:
    """The sum of terms that differ in nothing but their numbers."""
    number = sp.Add(*[coefficient(term.value)[0] for term in terms])
    return Term(scale(number, coefficient(terms[0].value)[1]), terms[0].reason)


def key(term: Term) -> object:
    """What like terms have in common: the factors of an elementwise product in any order."""
    rest = coefficient(term.value)[1]
    factors = tuple(sorted(rest.args, key=sp.default_sort_key)) if isinstance(rest, Hadamard) else (rest,)
    return factors, term.reason
