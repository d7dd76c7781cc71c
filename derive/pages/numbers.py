"""Numbers in formulas: exact where they are cheap, refused where they are none or none that a kernel can hold."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from fractions import Fraction

import sympy as sp

from derive.functions import FUNCTIONS
from derive.language import X
from derive.pages.core import (
    Add,
    Call,
    Const,
    Core,
    Definition,
    Elementwise,
    Power,
    Product,
    Ref,
    Several,
    every,
    parts_of,
    with_parts,
)
from derive.pages.errors import PageError, Source, Span
from derive.pages.reductions import NUMBERS

MOST_DIGITS = 300
"""Digits in front of the point, or zeros behind it: about what a double holds."""


def power(source: Source, core: Core, exponent: Fraction, span: Span) -> Core:
    """core ** exponent; of a number, a number where it is one. Raises PageError where it is none."""
    if exponent == 1:
        return core
    if exponent == 0:
        raise source.error(span, "the power 0 is 1 throughout: expected another exponent.", "Write 1.")
    return number_to(source, core, exponent, span) if isinstance(core, Const) else Power(core, exponent, span)


def number_to(source: Source, core: Const, exponent: Fraction, span: Span) -> Core:
    base = core.value
    if base == 0 and exponent < 0:
        raise source.error(span, "a division by zero.", "Check the denominator.")
    if base < 0 and exponent.denominator != 1:
        raise not_real(source, span)
    longest = max(abs(base.numerator), base.denominator)
    if longest > 1 and math.log10(longest) * abs(exponent) > MOST_DIGITS:
        raise too_long(source, span)
    if exponent.denominator != 1:
        return Power(core, exponent, span)
    return Const(base ** (int(exponent) if longest > 1 else int(exponent) % 2 or 2), span)


def checked(source: Source, core: Core) -> Core:
    """The formula, if it is no number that a kernel can't hold."""
    if isinstance(core, Const) and core.value != 0:
        size = math.log10(abs(core.value.numerator)) - math.log10(core.value.denominator)
        if abs(size) > MOST_DIGITS:
            raise too_long(source, core.span)
    return core


def too_long(source: Source, span: Span) -> PageError:
    what = f"this number is too large or too small: expected at most {MOST_DIGITS} digits."
    return source.error(span, what, "Write one that a computer can hold.")


def not_real(source: Source, span: Span) -> PageError:
    what = f"`{source.written(span)[:60]}` is no real number: expected one."
    return source.error(span, what, "Check what stands inside.")


def value(core: Core) -> sp.Expr | None:
    """The number that a formula of numbers is; None where it holds a symbol."""
    if isinstance(core, Const):
        return sp.Float(core.value.numerator) / sp.Float(core.value.denominator)
    parts: list[sp.Expr] = []
    for part in parts_of(core):
        parts.append(value(part))
        if parts[-1] is None:  # at once: parts may be shared, and a formula as a tree is longer than what holds it
            return None
    if not parts:
        return None
    match core:
        case Add():
            return sp.Add(*[part * factor for part, factor in zip(parts, core.factors, strict=True)])
        case Product() | Elementwise():
            return sp.Mul(*parts)
        case Several():
            return NUMBERS[core.function](*parts)
        case Power():
            return parts[0] ** sp.Rational(core.exponent.numerator, core.exponent.denominator)
        case Call() if core.function in FUNCTIONS:
            return FUNCTIONS[core.function].subs(X, parts[0])
    return None


def called(source: Source, name: str, body: Core, span: Span) -> Core:
    """name(body). Raises PageError where that is a number and none that is real and finite."""
    inside = value(body)
    if inside is None:
        return Call(name, body, span)
    if name not in FUNCTIONS:
        raise source.error(span, f"`{name}` of a number: expected a vector.", "Write the number that is meant.")
    found = sp.N(FUNCTIONS[name].subs(X, inside))
    if found.has(sp.zoo, sp.nan, sp.oo, sp.I):
        raise not_real(source, span)
    if not found.is_Number:  # a function of the project's own, which SymPy can't evaluate
        what = f"`{source.written(span)[:60]}` is a function of a number: expected a vector inside."
        raise source.error(span, what, "Write the number that it is.")
    if found != 0 and abs(sp.log(abs(found), 10)) > MOST_DIGITS:
        raise too_long(source, span)
    return Call(name, body, span)


def without_numbers(
    source: Source, definitions: Sequence[Definition], timed: set[str]
) -> tuple[list[Definition], dict[str, str]]:
    """The equations with what is defined as a number, `\\alpha = \\exp(-1/5)`, put in where it is read; (those, the numbers).

    A number that no equation reads stays what it is, an output.
    """
    kept, numbers = list(definitions), dict[str, str]()
    while True:
        read = {part.name for one in kept for part in every(one.body) if isinstance(part, Ref)}
        found = next((one for one in kept if one.name in read - timed and value(one.body) is not None), None)
        if found is None:
            return kept, numbers
        numbers[found.name] = f"{float(value(found.body) or 0):.6g}"
        put = {found.name: found.body}
        kept = [replace(one, body=replaced(source, one.body, put)) for one in kept if one is not found]


def replaced(source: Source, core: Core, put: Mapping[str, Core]) -> Core:
    """A formula with numbers in the place of names."""
    match core:
        case Ref() if core.name in put:
            return replace(put[core.name], span=core.span)
        case Call():
            return called(source, core.function, replaced(source, core.body, put), core.span)
        case Power():
            return power(source, replaced(source, core.body, put), core.exponent, core.span)
    changed = with_parts(core, [replaced(source, part, put) for part in parts_of(core)])
    return folded(changed) if isinstance(changed, (Add, Product)) else changed


def is_zero(core: Core) -> bool:
    """Whether a denominator is 0, or has the factor 0."""
    if isinstance(core, Product):
        return any(is_zero(item) for item in core.items)
    return value(core) == 0


def folded(core: Add | Product) -> Core:
    """The number that a sum or a product of numbers is."""
    if all(isinstance(part, Const) for part in parts_of(core)):
        values = [part.value for part in parts_of(core) if isinstance(part, Const)]
        if isinstance(core, Add):
            return Const(sum((v * f for v, f in zip(values, core.factors, strict=True)), Fraction(0)), core.span)
        return Const(math.prod(values, start=Fraction(1)), core.span)
    return core
