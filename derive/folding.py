"""Layers on a sheet: names of copies as `h⁽²⁾`, and formulas that differ in nothing but the number of a layer once, as `h⁽ˡ⁾`.

All that this needs is `Cell.layers`: name -> (the name that copies share, the layer). Nothing is said of formulas: each is printed once by
its numbers and once counted from its own layer, and those that read alike in the second form are one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar, Generic, Protocol, TypeVar

import sympy as sp

from derive.derivation import Derivation
from derive.language import Value
from derive.latex import LaTeX
from derive.notation import Notation

SUPERSCRIPTS = str.maketrans("0123456789+-()l", "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁽⁾ˡ")


class Layered(Notation):
    """A notation that writes the layer of a name above it.

    own: the layer that the formula is counted from, so that it is l and the one below l-1; None for numbers.
    """

    own: int | None = None
    layers: ClassVar[Mapping[str, tuple[str, int]]] = {}
    others: ClassVar[frozenset[str]] = frozenset()

    def value(self, value: Value, shift: int = 0) -> str:
        """Nothing is remembered: what is written above depends on the layer that is counted from."""
        return self.spelled(value, shift)

    def layer_of(self, name: str) -> tuple[str, int] | None:
        """(the name without its layer, the layer): of a copy, and of what the derivation names after one, `a_h_2`. None for the rest."""
        if name in self.layers:
            return self.layers[name]
        parts = name.split("_")
        spans = [(start, stop) for start in range(len(parts)) for stop in range(len(parts), start, -1)]
        for start, stop in sorted(spans, key=lambda span: span[0] - span[1]) if name not in self.others else ():
            found = self.layers.get("_".join(parts[start:stop]))
            if found is not None:
                return "_".join([*parts[:start], found[0], *parts[stop:]]), found[1]
        return None

    def mark(self, layer: int) -> str:
        return f"({layer})" if self.own is None else f"(l{layer - self.own:+})".replace("+0", "")

    def above(self, text: str, layer: int) -> str:
        return text + self.mark(layer).translate(SUPERSCRIPTS)

    def indexed(self, name: str, time: str = "") -> str:
        found = self.layer_of(name)
        return super().indexed(name, time) if found is None else self.above(super().indexed(found[0], time), found[1])

    def tangent(self, value: Value, lag: int) -> str:
        found = self.layer_of(str(value.name))
        if found is None:
            return super().tangent(value, lag)
        return self.above(super().tangent(value.like(name=found[0]), lag), found[1])

    def raised(self, text: str, exponent: sp.Expr) -> str:
        is_open = text.endswith(("⁾", ")}")) and not text.startswith("(")
        return super().raised(self.parentheses(text) if is_open else text, exponent)


class LayeredLaTeX(Layered, LaTeX):
    """The same for amsmath."""

    def above(self, text: str, layer: int) -> str:
        return f"{text}^{{{self.mark(layer)}}}"


def notation(derivation: Derivation, kind: type[Notation] = Notation) -> Notation:
    """The notation of a sheet: that of its cell, with layers where it has some."""
    cell = derivation.cell
    if not cell.layers:
        return derivation.notation(kind)
    own = {str(value.name) for value in (*cell.targets, *cell.reads)} - set(cell.layers)
    base = LayeredLaTeX if issubclass(kind, LaTeX) else Layered
    made: type[Notation] = type(base.__name__, (base,), {"layers": cell.layers, "others": frozenset(own)})
    return derivation.notation(made)


class Formula(Protocol):
    """A formula as it is printed; two that print alike are equal."""

    @property
    def left(self) -> str: ...


F = TypeVar("F", bound=Formula)


def folded(printed: Sequence[tuple[str, Callable[[], F]]], notation: Notation) -> list[tuple[F, tuple[int, ...]]]:
    """The formulas, given as (the name that one defines, how it is printed), those of several layers that read alike as one; each with
    the layers for which it stands, none for one that is printed as it is.

    It stands where the first of them stood; those of other layers of the same quantity follow it, each in its own form.
    """
    if not isinstance(notation, Layered):
        return [(make(), ()) for _, make in printed]
    quantities: dict[str, list[Form[F]]] = {}
    for name, make in printed:
        found = notation.layer_of(name)
        plain = make()
        if found is None:
            quantities[f"{len(quantities)}"] = [Form(plain, plain, [])]
            continue
        notation.own = found[1]
        general = make()
        notation.own = None
        forms = quantities.setdefault(general.left, [])
        form = next((one for one in forms if one.general == general), None)
        if form is None:
            forms.append(Form(general, plain, [found[1]]))
        else:
            form.layers.append(found[1])
    return [form.printed() for forms in quantities.values() for form in forms]


@dataclass(frozen=True)
class Form(Generic[F]):
    """A formula counted from its own layer, the same by the number of the first of its layers, and these."""

    general: F
    plain: F
    layers: list[int]

    def printed(self) -> tuple[F, tuple[int, ...]]:
        return (self.general, tuple(self.layers)) if len(self.layers) > 1 else (self.plain, ())


def layers_in_words(layers: Sequence[int], dots: str = "...") -> str:
    """`l = 2, 3`, `l = 1, ..., 6`."""
    steps = {b - a for a, b in pairwise(layers)}
    long = len(layers) > 3 and len(steps) == 1
    said = [str(layers[0]), dots, str(layers[-1])] if long else [str(layer) for layer in layers]
    return f"l = {', '.join(said)}"


def layers_of(layers: Mapping[str, tuple[str, int]]) -> str:
    """What stands for which names: `l = 1, 2: h⁽ˡ⁾ is h_1, h_2 in code`."""
    base, _ = next(iter(layers.values()))
    names = {layer: name for name, (other, layer) in sorted(layers.items(), key=lambda one: one[1][1]) if other == base}
    numbers = sorted({layer for _, layer in layers.values()})
    shown = list(names.values()) if len(names) < 4 else [names[min(names)], "...", names[max(names)]]
    return f"{layers_in_words(numbers)}: {base}⁽ˡ⁾ is {', '.join(shown)} in code"
