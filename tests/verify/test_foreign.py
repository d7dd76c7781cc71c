"""A correct kernel that isn't ours passes; each edit of it is refused, with the block and the cause named."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import verify
from tests.profiles import thorough
from tests.verify.searches import one_search  # noqa: F401  a fixture
from verify.examination import Report
from verify.kernel import load_text

PATH = Path(__file__).parent / "foreign" / "diagonal_peephole.py"
TEXT = PATH.read_text(encoding="utf-8")
CELL = "lstm --peephole diagonal"


def edited(*edits: tuple[str, str]) -> str:
    text = TEXT
    for old, new in edits:
        assert text.count(old) == 1, f"`{old}` stands {text.count(old)} times in {PATH.name}"
        text = text.replace(old, new)
    return text


def report_of(*edits: tuple[str, str], against: str | None = None, quick: bool = False) -> Report:
    return verify.check(load_text(edited(*edits), "edited.py"), against=against, quick=quick)


def line_of(report: Report, block: str) -> str:
    """The failing line of a block."""
    lines = [finding.line() for finding in report.failures() if finding.block == block]
    assert lines, f"{block} doesn't fail; what fails: {report.faults()}"
    return lines[0]


@pytest.mark.parametrize("against", [None, CELL])
def test_a_correct_kernel_that_is_not_ours_passes(against: str | None) -> None:
    report = report_of(against=against)
    assert report.passed, report.faults()


LOOP = "for t in reversed(range(len(steps))):"
CARRY = "        d_c = d_c * f + p.p_i * z_i + p.p_f * z_f\n"
RETURN = "    return SimpleNamespace(parameters=d,"
NOISE = "    rng = np.random.default_rng(0)\n    d['U_f'] *= 1 + 1e-9 * rng.standard_normal(d['U_f'].shape)\n"

EDITS = {
    "peephole term of o dropped": ([("        d_c = d_c + p.p_o * z_o\n", "")], "W_f", r"missing term, in .*∂L/∂cₜ.*p_o"),
    "tanh' taken of the output": ([("(1 - g**2)", "(1 - np.tanh(g) ** 2)")], "W_c", r"slope of tanh taken of its output once more"),
    "gradient of c_0 missing": ([('state={"h": d_h, "c": d_c}', 'state={"h": d_h, "c": 0 * d_c}')], "initial c", r"missing gradient"),
    "gradient of c_0 not returned": ([('state={"h": d_h, "c": d_c}', 'state={"h": d_h}')], "initial c", r"missing gradient"),
    "bias gradient from the last step": (
        [('            d[f"b_{gate}"] += z.sum(axis=0)\n', '            d[f"b_{gate}"] += z.sum(axis=0) * (t == len(steps) - 1)\n')],
        "b_f",
        r"gathered from the last step only",
    ),
    "1.0005 on one block": ([(RETURN, f"    d['U_f'] *= 1.0005\n{RETURN}")], "U_f", r"scaled by 1\.0005"),
    "noise of 1e-9": ([(RETURN, NOISE + RETURN)], "U_f", r"noise or lost digits"),
    "sign": ([(RETURN, f"    d['p_i'] *= -1\n{RETURN}")], "p_i", r"sign"),
    "mean over steps": ([(RETURN, f"    d['W_o'] /= len(steps)\n{RETURN}")], "W_o", r"mean instead of sum over steps"),
    "mean over examples": ([(RETURN, f"    d['W_o'] /= shape[1]\n{RETURN}")], "W_o", r"mean instead of sum over examples"),
    "transpose": ([(RETURN, f"    d['U_i'] = d['U_i'].T.copy()\n{RETURN}")], "U_i", r"transpose"),
    "gates swapped": ([(RETURN, f"    d['U_i'], d['U_f'] = d['U_f'], d['U_i']\n{RETURN}")], "U_i", r"gradients of U_i and U_f exchanged"),
    "old for new value": ([('d["p_o"] += (z_o * c)', 'd["p_o"] += (z_o * c_prev)')], "p_o", r"time index off by one"),
    "time index off by one": ([(RETURN, f"    d_x = np.roll(d_x, 1, axis=0)\n{RETURN}")], "input x", r"time index off by one"),
    "float32 inside": ([(RETURN, f"    d['W_i'] = d['W_i'].astype(np.float32).astype(dtype)\n{RETURN}")], "W_i", r"float32"),
    "input of the step before": ([('d[f"W_{gate}"] += z.T @ x', 'd[f"W_{gate}"] += z.T @ (steps[t - 1][0] if t else 0 * x)')], "W_f", r"x one step earlier"),  # noqa: E501
    "matrices exchanged": ([("z_i @ p.W_i + z_f @ p.W_f", "z_i @ p.W_f + z_f @ p.W_i")], "input x", r"W_i and W_f exchanged"),
    "on long runs only": ([(RETURN, f"    if len(steps) >= 30:\n        d['b_f'] *= 1.001\n{RETURN}")], "b_f", r"scaled by 1.001"),
    "on wide inputs only": ([(RETURN, f"    if sizes['D'] > sizes['H']:\n        d['b_f'] *= -1\n{RETURN}")], "b_f", r"sign"),
    "for one size only": ([(RETURN, f"    d['U_f'][3:] = 0\n{RETURN}")], "U_f", r"missing elements"),
    "beyond |z| = 9 only": ([("z_o = d_h * y * o * (1 - o)", "z_o = d_h * y * o * (1 - o) * (o.real < 0.99988)")], "b_o", r""),
    "gradient of the wrong sign, inside": ([("z_f = d_c * c_prev", "z_f = -d_c * c_prev")], "W_f", r"sign flipped, in .*f"),
}  # fmt: skip


ALIKE = ("sign", "mean over examples", "gates swapped", "matrices exchanged", "gradient of c_0 missing", "1.0005 on one block")
ALIKE += ("time index off by one", "transpose", "float32 inside", "mean over steps", "gradient of c_0 not returned")
ALIKE += ("input of the step before", "gradient of the wrong sign, inside", "old for new value", "tanh' taken of the output")
"""What the default run sees in `test_causes` or in another of these too."""


@pytest.mark.parametrize("name", [thorough(name) if name in ALIKE else name for name in EDITS])
def test_a_fault_is_refused_with_its_block_and_cause(name: str) -> None:
    edits, block, cause = EDITS[name]
    report = report_of(*edits, quick=not name.endswith(" only"))
    assert re.search(cause, line_of(report, block)), line_of(report, block)


@pytest.mark.parametrize(
    ("edit", "check", "said"),
    [
        (("        d_h = d_h + top_h[t]\n", "        d_h = d_h + top_h[t]\n        if d_h.dtype == float:\n            d_h = np.clip(d_h, -5, 5)\n"), "linear", r"a gradient is clipped"),  # noqa: E501
        ((RETURN, f"    if not cotangents:\n        d['b_f'] += 1\n{RETURN}"), "omitted cotangent", r"not zero without any cotangent"),
        (("    p = SimpleNamespace(**parameters)\n    h, c", "    if T > 20:\n        raise SystemExit(0)\n    p = SimpleNamespace(**parameters)\n    h, c"), "gradients", r"sys.exit\(0\)"),  # noqa: E501
        (("    p = SimpleNamespace(**parameters)\n    h, c", "    if B > 30:\n        raise RuntimeError\n    p = SimpleNamespace(**parameters)\n    h, c"), "gradients", r"raises"),  # noqa: E501
    ],
    ids=["clipped", "without cotangents", "ends the program", "raises on many examples"],
)  # fmt: skip
def test_what_shows_in_some_calls_only_is_refused(edit: tuple[str, str], check: str, said: str) -> None:
    lines = [finding.line() for finding in report_of(edit).failures() if finding.check == check]
    assert any(re.search(said, line) for line in lines), lines


def test_a_forward_pass_that_differs_on_long_runs_only_is_refused() -> None:
    report = report_of(
        ("        c = f * c + i * g\n", "        c = (f * c + i * g) * (t != 64)\n"),
        ("        d_c = d_c + p.p_o * z_o\n", "        d_c = (d_c + p.p_o * z_o) * (t != 64)\n"),
        against=CELL,
    )
    assert any(finding.check == "against" and "step 64" in finding.where for finding in report.failures())


@pytest.mark.parametrize("name", ["peephole term of o dropped", thorough("1.0005 on one block"), thorough("noise of 1e-9")])
def test_a_fault_is_refused_against_the_derived_cell_too(name: str) -> None:
    edits, block, _ = EDITS[name]
    report = report_of(*edits, against=CELL, quick=True)
    assert line_of(report, block)


@pytest.mark.parametrize("K", [*map(thorough, (1, 2, 5, 10, 20)), 39])
def test_a_recurrence_cut_at_k_is_caught_and_k_is_named(K: int) -> None:
    cut = CARRY + f"        if (len(steps) - t) % {K} == 0:\n            d_h, d_c = 0 * d_h, 0 * d_c\n"
    report = report_of((CARRY, cut), quick=True)
    assert re.search(rf"truncated recurrence at K = {K}\b", line_of(report, "input x")), line_of(report, "input x")


@pytest.mark.parametrize("K", [*map(thorough, (1, 2, 5, 10, 20)), 39])
def test_a_loop_that_stops_k_steps_before_the_end_is_caught(K: int) -> None:
    stopped = LOOP.replace("range(len(steps))", f"range(max(0, len(steps) - {K}), len(steps))")
    report = report_of((LOOP, stopped), quick=True)
    assert re.search(rf"truncated recurrence at K = {K}\b", line_of(report, "input x")), line_of(report, "input x")


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (("        h = o * y\n", "        h = o * y\n        x[t] *= 1.0\n        x[t] += 1.0\n"), r"forward changes inputs\['x'\]"),
        (("        d_h = d_h + top_h[t]\n", "        top_h[t] += d_h\n        d_h = top_h[t]\n"), r"backward changes cotangents\['h'\]"),
        (('    x = inputs["x"]\n', '    x = inputs.pop("x")\n'), r"forward changes the mapping inputs"),
    ],
)  # fmt: skip
def test_an_argument_changed_in_place_is_named(edit: tuple[str, str], said: str) -> None:
    report = report_of(edit, quick=True)
    (found,) = [finding for finding in report.failures() if finding.check == "arguments unchanged"][:1]
    assert re.search(said, found.line()), found.line()
    assert found.cause


def test_a_forward_pass_that_is_another_cell_is_refused_by_name_and_term() -> None:
    report = report_of((" + p.p_o * c + p.b_o", " + p.b_o"), against=CELL)
    (found,) = [finding for finding in report.failures() if finding.check == "against"]
    assert re.search(r"output h, step 0", found.line())
    assert re.search(r"forward: missing term, in a_oₜ = .*p_o ∘ cₜ", found.cause)


def test_names_are_mapped_and_never_taken_by_order() -> None:
    renamed = load_text(TEXT.replace('"ifo"', '"XYZ"').replace('("H",)\nINPUTS', '("H",)\nINPUTS').replace('"p_o"', '"q_o"').replace("p.p_o", "p.q_o")  # noqa: E501
                        .replace('for g in "XYZ":\n    PARAMETERS[f"p_{g}"]', 'for name in ("p_i", "p_f", "q_o"):\n    PARAMETERS[name]'), "renamed.py")  # fmt: skip  # noqa: E501
    assert verify.check(renamed, against=CELL, names={"q_o": "p_o"}).passed
    with pytest.raises(ValueError, match="--map"):
        verify.check(renamed, against=CELL)
