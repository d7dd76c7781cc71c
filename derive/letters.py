"""Names as letters with decorations and subscripts, dimensions and fractions as text, and how wide a text is."""

from __future__ import annotations

import re
import unicodedata

import sympy as sp

DECORATIONS = {"tilde": ("\u0303", r"\tilde"), "hat": ("\u0302", r"\hat"), "bar": ("\u0304", r"\bar"), "dot": ("\u0307", r"\dot")}
ARROWS = {"right": ("\u20d7", r"\overrightarrow"), "left": ("\u20d6", r"\overleftarrow")}
"""The directions of recurrences, behind the subscripts of a name and above its letter in a formula: `W_f_left`."""
MARKS = {**DECORATIONS, **ARROWS}
SHIFTED = re.compile(r"(?<=_)([A-Z])_plus_([0-9]+)(?=_|$)")
"""What a recurrence to the left starts with stands behind the last step: `h_T_plus_1`."""
GREEK = [
    "alpha",
    "beta",
    "gamma",
    "delta",
    "epsilon",
    "zeta",
    "eta",
    "theta",
    "iota",
    "kappa",
    "lambda",
    "mu",
    "nu",
    "xi",
    "omicron",
    "pi",
    "rho",
    "sigma",
    "tau",
    "upsilon",
    "phi",
    "chi",
    "psi",
    "omega",
]
GREEK_TEXT = dict(zip(GREEK, "αβγδεζηθικλμνξοπρστυφχψω", strict=True))

Part = tuple[str, list[str]]


def split_name(name: str) -> tuple[Part, list[Part]]:
    """`W_c_tilde` -> (("W", []), [("c", ["tilde"])]): the letter and its subscripts, each with its decorations; `T_plus_1` is T+1."""
    parts: list[Part] = []
    for piece in SHIFTED.sub(r"\1+\2", name.rstrip("_")).split("_"):
        if piece in DECORATIONS and parts:
            parts[-1][1].append(piece)
        else:
            parts.append((piece, []))
    return parts[0], parts[1:]


def dim(size: sp.Expr) -> str:
    """A dimension as it is written in tables and code: `H`, `H+D`, `2*H+D`."""
    terms = [str(term) for term in sp.Add.make_args(sp.expand(size))]
    return "+".join(sorted(terms, key=lambda term: (term.isdigit(), -len(term), term == "D", term)))


def width(text: str) -> int:
    """Columns that a text takes in a terminal: combining marks take none."""
    return sum(1 for character in text if not unicodedata.combining(character))


def decimal(number: sp.Expr) -> str:
    """A fraction in decimals, where these are exact or it is too long to be read: then with all the digits that a kernel has."""
    if not isinstance(number, sp.Rational) or number.q == 1:
        return ""
    exact = sp.Rational(str(float(number))) == number
    return str(float(number)).replace("e-0", "e-") if exact or number.q > 10**6 else ""
