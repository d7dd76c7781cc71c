"""Questions about what a symbol is, a number, a vector or a matrix: offered is what the page can be read with."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from derive.pages.core import Call, Ref
from derive.pages.errors import DECLARED, PageError, Source
from derive.pages.relations import MATRIX, NUMBER, VECTOR

KINDS = (NUMBER, VECTOR, MATRIX)
"""In the order in which they are offered."""


@dataclass(frozen=True)
class Question:
    """What a name may be declared to be, and the error that offers some of it."""

    name: str
    kinds: Sequence[str]
    error: Callable[[Sequence[str]], PageError]


def asked(
    name: str, kinds: Collection[str], error: Callable[[Sequence[str]], PageError], shown: Collection[str] = KINDS
) -> PageError:
    """The error that asks which of these kinds a name has. shown: those that it names where nothing is tried."""
    made = error([kind for kind in KINDS if kind in kinds and kind in shown])
    made.question = Question(name, [kind for kind in KINDS if kind in kinds], error)
    return made


def tried(error: PageError, read: Callable[[str, str], object]) -> PageError:
    """The error with those answers alone with which the page is read, or asked about another symbol. read: reads it with a name
    declared to be of a kind, or raises PageError."""
    question = error.question
    if not isinstance(question, Question):
        return error

    def is_read(kind: str) -> bool:
        try:
            read(question.name, kind)
        except PageError as other:
            return DECLARED in str(other) and f"{DECLARED}{question.name}=" not in str(other)
        return True

    found = [kind for kind in question.kinds if is_read(kind)]
    return question.error(found) if found else error


def open_product(source: Source, node: Ref, left: Collection[str], found: Sequence[str]) -> PageError:
    """The error for a factor of which nothing says what it is."""
    what = f"ambiguous product: nothing says whether {node.name} is a {' or a '.join(sorted({*found, *left}))}."
    said = ", ".join(f'--let "{node.name}={kind}"' for kind in found)
    number = f', or --let "{node.name}=0.1", a number that is given.' if NUMBER in found else "."
    number += unread({*left} - {*found})
    return source.error(node.span, what, f"Say {'one of ' * (len(found) > 1)}{said}{number}")


def of_each_element(source: Source, name: str, function: Call, found: Sequence[str]) -> PageError:
    """The error for a function of what may be a vector or a matrix, in front of a value."""
    what = f"`{source.written(function.span)}` can be read in two ways: expected to know whether {name} is a vector or a matrix."
    todo = f'--let "{name}=vector" for the function of each element, multiplied elementwise' * (VECTOR in found)
    number = f'--let "{name}=number" for one number' * (NUMBER in found)
    todo = (
        f"Say {', '.join(filter(None, [todo, number]))}; a function of a matrix isn't read: give its value a symbol of its own."
    )
    return source.error(function.span, what, todo)


def unread(kinds: Collection[str]) -> str:
    """What a message says of kinds that it doesn't offer."""
    return "".join(f" As a {kind} it isn't read as the page stands." for kind in KINDS if kind in kinds)
