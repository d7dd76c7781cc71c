"""What a check found: `pass`, `fail` or `inconclusive`, where, both values, the tolerance and its reason, the likely cause."""

from __future__ import annotations

from dataclasses import dataclass

PASS, FAIL, INCONCLUSIVE = "pass", "fail", "inconclusive"

NUMBERS, CONTRACT = "numbers", "contract"
"""What a finding is about: numbers that would be wrong, or a promise of the contract that is kept or not without a wrong number."""


@dataclass(frozen=True)
class Finding:
    """The outcome of one check on one thing (a block, or a behaviour).

    got, expected: the kernel's value and the one it was held against, at `where`. error: relative, of the block at `where`.
    agree: which routes agree with which. cause: what was tried and fits. kind: NUMBERS, or CONTRACT where a call only raises, or
    fails to raise.
    """

    check: str
    verdict: str
    block: str = ""
    where: str = ""
    said: str = ""
    got: float | None = None
    expected: float | None = None
    error: float | None = None
    tolerance: float | None = None
    reason: str = ""
    agree: str = ""
    cause: str = ""
    kind: str = NUMBERS

    @property
    def passed(self) -> bool:
        return self.verdict == PASS

    def line(self) -> str:
        """The finding in one line, without its verdict."""
        parts = [self.check]
        if self.block or self.where:
            parts.append(", ".join(part for part in (label_of(self.block), self.where) if part))
        if self.said:
            parts.append(self.said)
        text = ": ".join(parts)
        if self.got is not None and self.expected is not None:
            text += f": backward {self.got:.10g}, expected {self.expected:.10g}"
        if self.error == float("inf") and self.expected == 0:
            text += ": where 0 is right, something came"
        elif self.error is not None:
            text += f": {self.error:.1e} relative"
        if self.tolerance is not None:
            text += f", tolerance {self.tolerance:.0e} ({self.reason})" if self.reason else f", tolerance {self.tolerance:.0e}"
        for label, said in (("", self.agree), ("likely cause: ", self.cause)):
            text += f"; {label}{said}" if said else ""
        return text


def label_of(block: str) -> str:
    """A block as the gradient it is: `d_W_f`, `d_x`, `d_h_0`."""
    kind, _, name = block.partition(" ")
    if not name:
        return f"d_{block}" if block else ""
    return f"d_{name}" if kind == "input" else f"d_{name}_0"
