"""The options of calls that a kernel offers, each looked at where it does; where it doesn't, or plain calls fail, that is said."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from verify.checkpoints import LONG, checkpoints
from verify.evidence import Evidence
from verify.findings import PASS, Finding
from verify.kernel import Kernel
from verify.offers import CHECKPOINT, WORKSPACE, not_checkpointed, not_working
from verify.workspaces import workspaces


def options(kernel: Kernel, evidences: Sequence[Evidence], books: Sequence[Finding], every: bool) -> Iterator[Finding]:
    """One finding an option. books: what plain calls leave behind, which those with options would too. every: on all data."""
    bad = next((f"{finding.check} fails without it" for finding in books if not finding.passed), "")
    missing = not_checkpointed(kernel) or bad
    chosen = evidences if every else told_apart(evidences)
    found = [Finding(CHECKPOINT, PASS, said=f"not looked at: {missing}")] if missing else list(checkpoints(chosen))
    yield from found
    checkpointed = not missing and all(finding.passed for finding in found)
    missing = not_working(kernel) or bad
    yield from (
        [Finding(WORKSPACE, PASS, said=f"not looked at: {missing}")]
        if missing
        else workspaces(kernel, evidences[0], checkpointed)
    )


def told_apart(evidences: Sequence[Evidence]) -> list[Evidence]:
    """The ordinary data, the first on which a run is long, and the shortest run."""
    long = next((k for k, evidence in enumerate(evidences) if evidence.data.steps > LONG), 0)
    short = min(range(len(evidences)), key=lambda k: evidences[k].data.steps)
    return [evidences[k] for k in dict.fromkeys((0, long, short))]
