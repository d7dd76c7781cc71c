"""A function of the table and its argument; what is said of one that nobody knows."""

from __future__ import annotations

import difflib

from derive.functions import FUNCTIONS
from derive.pages.alphabet import SPECIAL
from derive.pages.core import Add, Call, Concat, Const, Core
from derive.pages.errors import PageError, Source, Span
from derive.pages.numbers import called

KNOWN = ", ".join(sorted({*FUNCTIONS, *SPECIAL}))


def applied(source: Source, name: str, body: Core, span: Span) -> Core:
    """name(body), for a function that is known."""
    if name in ("max", "min"):
        return extreme(source, name, body, span)
    return body if name == "concat" else called(source, name, body, span)


def extreme(source: Source, name: str, body: Core, span: Span) -> Core:
    """max(0, a) = relu(a), max(a, b) = a + relu(b - a), min(a, b) = a - relu(a - b)."""
    if not isinstance(body, Concat) or len(body.parts) != 2:
        what = f"`{name}` of one thing: expected two, as in `\\max(0, x)`."
        raise source.error(span, what, "Write both.")
    left, right = body.parts
    if name == "max" and isinstance(right, Const):
        left, right = right, left
    if name == "max" and isinstance(left, Const) and left.value == 0:
        return Call("relu", right, span)
    if name == "min":
        left, right = (right, left) if isinstance(left, Const) else (left, right)
        return Add((left, Call("relu", Add((left, right), (1, -1), span), span)), (1, -1), span)
    return Add((left, Call("relu", Add((right, left), (1, -1), span), span)), (1, 1), span)


def unknown(source: Source, span: Span, name: str) -> PageError:
    near = difflib.get_close_matches(name.lower(), [*FUNCTIONS, *SPECIAL], n=1)
    hint = f"Did you mean {near[0]}? " if near else ""
    what = f"unknown function `{name}`: expected one of {KNOWN}."
    return source.error(span, what, hint + sayings(name))


def sayings(name: str) -> str:
    """What can be said of a name that may be a function: the forms, not a guess."""
    return (
        f'Say what it is: --let "{name}=F", F one of these functions; --let "{name}=matrix"; or --let "{name}=0.5", a number. '
        "A function of another form is written out, or defined on the page: `\\phi(a) = ...`."
    )
