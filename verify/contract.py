"""What the contract promises beyond right numbers: which promises a kernel keeps, and the words of those that it doesn't."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from verify.differences import NotAnalytic
from verify.findings import CONTRACT, FAIL, PASS, Finding
from verify.kernel import one_line

REFUSALS = ("wrong shapes", "integers", "mixed dtypes", "missing names", "unknown names", "tokens")

PROMISES = {
    "state=None": "state=None is taken for zeros",
    "omitted cotangent": "a cotangent that isn't given counts as zero",
    "layouts": "Fortran-ordered and strided arrays are taken",
    "read-only": "read-only arguments are taken",
    "float32": "float32 is taken and returned",
    "complex": "complex numbers are taken as analytic continuation",
    "no steps": "T = 0 is taken",
    "jvp": "there is a jvp",
    "hvp": "there is an hvp",
    "step_jacobian": "there is a step_jacobian",
    **{f"refuses {what}": f"{'wrong ' * (what == 'tokens')}{what} are refused with ValueError" for what in REFUSALS},
}
"""Check -> what the contract says. A check of these that raises breaks its promise; one that finds wrong numbers fails as such."""
THERE = ("jvp", "hvp", "step_jacobian")
"""Promises of a function that is there: one that gives wrong numbers is."""


@dataclass(frozen=True)
class Contract:
    """How many of the promises that were looked at a kernel keeps, and those that it doesn't: the promises, and with what was seen."""

    kept: int
    of: int
    missing: tuple[str, ...]
    promises: tuple[str, ...] = ()

    def line(self) -> str:
        """`contract: 12 of 14 kept; missing: ...`, the promises alone."""
        return f"contract: {self.kept} of {self.of} kept" + (f"; missing: {'; '.join(self.promises)}" if self.promises else "")


def contract_of(findings: Iterable[Finding]) -> Contract:
    """What the findings say of the promises."""
    looked_at: dict[str, str] = {}
    for finding in findings:
        if finding.check in PROMISES:
            broken = finding.verdict == FAIL and (finding.kind == CONTRACT or finding.check not in THERE)
            looked_at[finding.check] = looked_at.get(finding.check) or (finding.said or finding.where if broken else "")
    unkept = {PROMISES[check]: said for check, said in looked_at.items() if said}
    missing = tuple(f"{promise} ({said})" for promise, said in unkept.items())
    return Contract(len(looked_at) - len(missing), len(looked_at), missing, tuple(unkept))


def broken(check: str, said: str) -> Finding:
    """A promise that isn't kept, without a wrong number."""
    return Finding(check, FAIL, said=said, kind=CONTRACT)


def guarded(check: str, run: Callable[[], Iterator[Finding]]) -> list[Finding]:
    """The findings of a check, beside the contract's its failures alone where it has some; raising is failing."""
    try:
        found = list(run())
    except NotAnalytic as error:
        return [Finding(check, PASS, said=f"not held against complex step: {error}")]
    except Exception as error:
        said = f"the kernel raises {one_line(error)}"
        return [broken(check, said) if check in PROMISES else Finding(check, FAIL, said=said)]
    failed = [finding for finding in found if not finding.passed]
    return [finding for finding in found if not finding.passed or finding.kind == CONTRACT] if failed else found
