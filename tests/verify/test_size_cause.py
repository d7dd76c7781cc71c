"""A fault that shows at some sizes only is said as that, in the first line; faults of another kind aren't."""

from __future__ import annotations

from dataclasses import replace

import pytest

import verify
from tests.verify.edits import edited
from verify import report as printing
from verify.data import LARGE_T, ORDINARY, QUICK
from verify.evidence import EXACT
from verify.kernel import Kernel
from verify.size_cause import along, sharp

RETURN = "    return SimpleNamespace(parameters=d"
ONE = replace(ORDINARY, name="one example", batch=1)
FAULTS = {
    "for B > 64": '    d["W"] *= 1 + (d_x.shape[1] > 64)\n    d_x = d_x * (1 + (d_x.shape[1] > 64))\n',
    "for B = 1 only": '    d["W"] *= 2 if d_x.shape[1] == 1 else 1\n',
    "where H is odd": '    d["W"] *= 1 + len(b) % 2\n',
    "where D is odd, but not 1": "    if W.shape[1] % 2 and W.shape[1] > 1:\n        d_x[..., -1] = 0\n",
    "where D is no multiple of 4": '    d["W"][:, W.shape[1] // 4 * 4 :] = 0\n',
}


@pytest.mark.parametrize("said", FAULTS)
def test_the_dimension_and_the_edge_are_found(said: str) -> None:
    kernel = Kernel(edited((RETURN, FAULTS[said] + RETURN)), "edited")
    found = [fault.said for name in ("B", "H", "D") for fault in [along(kernel, name, EXACT, 0)] if fault]
    assert found == [said]


@pytest.mark.parametrize("said", ["for B > 64", "for B = 1 only"])
def test_the_size_is_in_the_first_line_and_no_cut_recurrence(said: str) -> None:
    regimes = [ORDINARY, replace(LARGE_T, batch=2) if ">" in said else ONE]
    found = verify.check(edited((RETURN, FAULTS[said] + RETURN)), regimes=regimes, quick=True)
    lines = printing.brief(found)
    assert lines[0] == f"edited: FAIL: gradients are wrong {said}"
    assert "truncated" not in "\n".join(lines)
    assert f"gradients are wrong {said}, first d_" in found.verdict()


OTHERS = {
    "a mean for a sum over the examples": ('d["b"] += d_a.sum(axis=0)', 'd["b"] += d_a.mean(axis=0)'),
    "a transpose too few": ("d_h = d_a @ U\n", "d_h = d_a @ U.T\n"),
    "a norm that is clipped": (RETURN, f'    d["W"] /= max(1, np.linalg.norm(d["W"]) / 9)\n{RETURN}'),
    "more inputs than units": (RETURN, f'    d["W"] *= 1 + (W.shape[1] > len(b))\n{RETURN}'),
    "nothing": (RETURN, RETURN),
}


@pytest.mark.parametrize("name", OTHERS)
def test_what_shows_at_most_sizes_or_depends_on_the_data_is_no_size(name: str) -> None:
    found = verify.check(edited(OTHERS[name]), regimes=[*QUICK[:2], replace(ONE, scale=0.1, size=0.1)], quick=True)
    kernel = Kernel(edited(OTHERS[name]), "edited")
    faults = [fault for dim in ("B", "H", "D") for fault in [along(kernel, dim, EXACT, 0)] if fault]
    assert not any(sharp(kernel, fault, EXACT, 0) for fault in faults)
    assert found.diagnosis is None or not found.diagnosis.size
