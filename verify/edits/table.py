"""The table of slips: the search for a cause tries them, the measurement of the verifier's power plants them."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from derive.program import Program
from verify.edits import forward as of_forward
from verify.edits.edit import Edit, identity
from verify.edits.networks import wrong_ends, wrong_ways
from verify.edits.reads import cotangents, exchanges, gates, old_for_new, other_steps, parameters, transposes
from verify.edits.slopes import arguments, branches, slopes
from verify.edits.sums import cuts, ends, of_loss, sums
from verify.edits.terms import carries, dropped, factors, inner_factors, read_twice, signs, stale
from verify.edits.tokens import other_tokens, overwritten

Class = Callable[[Program, Program], Iterator[Edit]]
"""A class of slips: (the program that is edited, the forward program) -> its edits."""

BACKWARD: tuple[Class, ...] = (
    carries, dropped, signs, factors, slopes, branches, arguments, stale, old_for_new, transposes, sums, ends, cuts, other_steps,
    parameters, gates, exchanges, cotangents, read_twice, inner_factors, other_tokens, overwritten, wrong_ends, wrong_ways,
    of_loss,
)  # fmt: skip
"""In the order in which they are preferred where two explain a fault equally well in as many places."""


def backward_edits(program: Program, forward: Program) -> Iterator[Edit]:
    """Every edit of a backward program, each program once: the first name that it has."""
    yield from once(edit for kind in BACKWARD for edit in kind(program, forward))


def forward_edits(forward: Program) -> Iterator[Edit]:
    """Every edit of a forward program."""
    program = of_forward.split(forward)
    yield from once(edit for kind in of_forward.CLASSES for edit in kind(program, forward))


def once(edits: Iterator[Edit]) -> Iterator[Edit]:
    seen = set()
    for edit in edits:
        if (key := identity(edit)) not in seen:
            seen.add(key)
            yield edit
