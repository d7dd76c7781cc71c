"""Slips planted in the program of a cell and printed to C: the kernel has them, and the verifier catches every one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from derive.cell import Cell
from derive.cells.registry import build
from derive.compiler import files
from tests.example_pages import page
from tests.shaped_cells import cell as shaped_cell
from tests.targets.c_kernels import needs_compiler, own_cache
from verify.emitted import compare_files
from verify.power.measure import ASIDE, Bench
from verify.power.printed import printed

pytestmark = needs_compiler
_cache = own_cache


@cache
def bench(name: str) -> Bench:
    return Bench(CELLS[name](), target="c")


CELLS: dict[str, Callable[[], Cell]] = {
    "rnn": lambda: build("rnn"),
    "lstm": lambda: build("lstm --peephole diagonal"),
    "two directions": lambda: build("rnn --bidirectional"),
    "a matrix memory": lambda: shaped_cell("mlstm"),
    "tokens": lambda: page("004_networks.md").cell("Sentence classification by the mean, section 2.2").cell,
}

OF_STEPS = {"some steps only", "first or last step", "mean for sum"}
NOT_PRINTED = {
    *OF_STEPS,
    *[f"{kind}, several places" for kind in OF_STEPS],
    "forgotten initial state",
    "cut recurrence",
    "time index",
}
"""What reads weights of steps, or an input at another step, which no call brings."""
KINDS = list(Bench(build("rnn")).edits)


def test_a_c_kernel_as_derived_is_caught_by_nothing() -> None:
    found = bench("rnn")
    with np.errstate(all="ignore"), printed(found.model.derivation, "c") as module:
        assert found.caught(module) == []


@pytest.mark.parametrize("kind", KINDS)
def test_no_slip_survives_in_c(kind: str) -> None:
    """One of each class, the first from the middle of what there is that can be printed: compiled, caught, its cause named."""
    some = bench("rnn").edits[kind]
    with np.errstate(all="ignore"):
        tried = (bench("rnn").of_slip(kind, one, torch=False) for one in (*some[len(some) // 2 :], *some[: len(some) // 2]))
        found = next((one for one in tried if one.proof != "not printed"), None)
    if found is None:
        assert kind in NOT_PRINTED
    elif found.proof != "equivalent":
        assert found.proof == "different", found.said
        assert found.caught, found.said
        assert found.named, (found.said, found.cause)


@pytest.mark.thorough
@pytest.mark.parametrize("name", [name for name in CELLS if name != "rnn"])
def test_no_slip_survives_in_the_c_kernel_of(name: str) -> None:
    with np.errstate(all="ignore"):
        found = [bench(name).of_slip(kind, some[len(some) // 2], torch=False) for kind, some in bench(name).edits.items()]
    real = [one for one in found if one.proof not in ASIDE]
    assert len(real) > len(found) // 2
    assert not [one for one in real if one.survived]


@pytest.mark.parametrize("kind", ["flipped sign", "slope"])
def test_a_kernel_with_a_slip_is_not_written(kind: str) -> None:
    """As `derive --target c` asks before it writes: what is right passes, what isn't fails."""
    cell, derivation = bench("rnn").cell, bench("rnn").model.derivation
    assert compare_files(files(derivation, "right", "c"), cell).passed
    edit = bench("rnn").edits[kind][0]
    report = compare_files(files(replace(derivation, backward=edit.program), "wrong", "c"), cell)
    assert not report.passed
