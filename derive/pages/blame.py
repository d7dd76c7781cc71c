"""Where a page contradicts itself: at the equation at which a reader meets it, not where the relations between kinds happen to fail.

What kinds are follows from all equations at once, so that a contradiction may show far from its cause: where a matrix is defined, rather
than at the softmax of it. A reader takes one equation after the other, each behind those whose values it reads.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from derive.pages.core import Definition, Product, Ref, Turned, every, refs
from derive.pages.errors import PageError, Span
from derive.pages.kinds import Kinds, is_lower
from derive.pages.relations import VECTOR

Attempt = Callable[[Sequence[Definition], dict[str, str], dict[str, Span]], Kinds]
"""The kinds of some equations, given what is known of some names and where it was said. Raises PageError."""


def blamed(definitions: Sequence[Definition], attempt: Attempt, error: PageError) -> PageError:
    """The error of the first equation that contradicts those read before it; `error`, of all of them, where that one alone does."""
    order = in_order(definitions)
    sound, wrong = 0, len(order)  # how many can be read together, how many can't
    while wrong - sound > 1:
        middle = (sound + wrong) // 2
        try:
            attempt(order[:middle], {}, {})
            sound = middle
        except PageError:
            wrong = middle
    last, turned = order[sound], turned_letters(definitions)
    try:
        before = attempt(order[:sound], {}, {})
        known = turned | {name: next(iter(found)) for name, found in before.domains.items() if len(found) == 1}
        attempt(
            [*order[:sound], replace(last, name=f"{last.name}'")], known, before.places
        )  # what it defines, and its older value
        attempt(order[:wrong], known, before.places)
    except PageError as found:
        return found
    return error


def turned_letters(definitions: Sequence[Definition]) -> dict[str, str]:
    """Letters in lower case that stand transposed, and those beside them: vectors, whatever else is said of them."""
    found: dict[str, str] = {}
    for node in (node for one in definitions for node in every(one.body) if isinstance(node, Product)):
        letters = [item.body if isinstance(item, Turned) else item for item in node.items]
        if any(isinstance(item, Turned) and is_lower(item.body) for item in node.items):
            found |= {one.name: VECTOR for one in letters[-2:] if isinstance(one, Ref) and is_lower(one)}
    return found


def in_order(definitions: Sequence[Definition]) -> list[Definition]:
    """Each equation behind those whose values of the same step it reads, as far as that goes, else as they are printed."""
    waiting, found = list(definitions), list[Definition]()
    while waiting:
        left = {one.name for one in waiting}
        ready = (one for one in waiting if not {ref.name for ref in refs(one.body) if ref.lag == 0} & (left - {one.name}))
        found.append(next(ready, waiting[0]))
        waiting.remove(found[-1])
    return found
