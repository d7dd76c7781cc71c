"""Edits in words and formulas: what was done, what the equation is and what was computed."""

from __future__ import annotations

from derive.equation import Equation
from derive.language import Value
from derive.notation import Notation
from derive.shapes import STEPS, letter_of
from verify.edits.edit import Edit
from verify.edits.elsewhere import CUTS, LAST, LAST_OF_STEP

WEIGHTS = {
    "first only": "[{t} = first]", "last only": "[{t} = last]", "not first": "[{t} > first]", "not last": "[{t} < last]",
    "mean over steps": "1/{T}", "mean over examples": "1/B", "mean over steps and examples": "1/({T} B)",
}  # fmt: skip
INDICES = {"first": "_first", "final": "_last"}
SHOWN = 3
"""How many equations of an edit are written out."""


class EditNotation(Notation):
    """Formulas that read other steps and weights too."""

    def value(self, value: Value, shift: int = 0) -> str:
        if value.kind.startswith("weight:"):
            kind = value.kind.removeprefix("weight:")
            what, _, by = kind.rpartition(" ")
            more = {
                **dict.fromkeys(CUTS, f"[unless cut, every {by.partition('+')[0]}]"),
                "stop": f"[{{t}} > {{T}} − {by}]",
                "past": f"[{{t}} ≤ {{T}} − {by}]",
                "from": f"[{{t}} > {by}]",
                "before": f"[{{t}} ≤ {by}]",
                "first times": f"[{by} at the first]",
                "last times": f"[{by} at the last]",
            }
            if kind.startswith((LAST, LAST_OF_STEP)):
                return f"[the last {by}{' of the step' * kind.startswith(LAST_OF_STEP)}]"
            return (WEIGHTS.get(kind) or more[what]).format(T=value.axis, t=letter_of(value.axis))
        moved = {"earlier": -1, "wrapped": -1, "later": 1}.get(value.kind)
        plain = value.like(kind="primal")
        if moved is not None:
            return super().value(plain, shift + moved)
        return self.name(value.name) + INDICES[value.kind] if value.kind in INDICES else super().value(value, shift)


def shown(edit: Edit, notation: Notation) -> list[tuple[Equation, Equation]]:
    """The changed equations; of one that only names a part of another, as tanh(c) is in o ∘ tanh(c), that other one."""
    found = []
    for right, wrong in edit.changed:
        reader = next((one for one in edit.program.equations if one.is_reading(right.target)), None)
        if notation.left(right) == notation.formula(right.value) and reader is not None:
            right, wrong = (reader.substituted({right.target: one.value}.get) for one in (right, wrong))
        found.append((right, wrong))
    return found


def described(edit: Edit, notation: Notation) -> str:
    """What was done, and to which equation, on one line."""
    where = notation.equation(shown(edit, notation)[0][0])
    rest = len(edit.changed) - 1
    return f"{edit.said}, in {where}" + (f" and {rest} other equation{'s' * (rest > 1)}" if rest else "")


def formulas(edit: Edit, notation: Notation) -> list[str]:
    """Each changed equation as it is derived and as it was computed; what was left out is struck through."""
    lines = []
    for right, wrong in shown(edit, notation)[:SHOWN]:
        struck = left_out(right, wrong, notation)
        lines += [f"right: {notation.equation(right)}", f"here:  {struck or notation.equation(wrong)}"]
    rest = len(edit.changed) - SHOWN
    return lines + ([f"and {rest} more equation{'s' * (rest > 1)} alike"] if rest > 0 else [])


def left_out(right: Equation, wrong: Equation, notation: Notation) -> str:
    """The equation with the summands struck through that were left out; empty where that isn't what happened."""
    if right.factor != wrong.factor or right.factor is not None or not set(wrong.terms) < set(right.terms):
        return ""
    text = ""
    for term in right.terms:
        one = notation.formula(term.value)
        sign, bare = (" − ", one.removeprefix("−")) if one.startswith("−") else (" + ", one)
        text += (sign if text else sign.strip(" +")) + (bare if term in wrong.terms else f"~~{bare}~~")
    total = f"{notation.each_step((STEPS,))} " if right.accumulate else ""
    return f"{notation.left(right)} = {total}{text}"
