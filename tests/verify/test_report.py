"""What a failing run prints: it fits a screen, says what is wrong first, in figures that a person reads; JSON has all of it."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

import verify
from verify import report as printing
from verify.contract import PROMISES
from verify.data import ORDINARY
from verify.diagnosis import Diagnosis
from verify.examination import Report
from verify.findings import CONTRACT, FAIL, INCONCLUSIVE, PASS, Finding
from verify.kernel import load_text

TEXT = (Path(__file__).parent / "foreign" / "plain_lstm.py").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def failing() -> Report:
    text = TEXT.replace("z_c @ p.U_c + z_o @ p.U_o\n", "z_c @ p.U_c + z_o @ p.U_o\n        d_h = 0 * d_h\n")
    return verify.check(load_text(text, "zeroed.py"), regimes=[ORDINARY], quick=True, name="zeroed")


def test_a_failure_fits_a_screen_and_says_what_is_wrong_first(failing: Report, capsys: pytest.CaptureFixture[str]) -> None:
    printing.show(failing)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) <= 24
    assert max(map(len, lines)) <= 130
    text = "\n".join(lines)
    assert lines[0] == "zeroed: FAIL: 15 of 15 gradients are wrong"
    assert re.search(r"first wrong: ∂L/∂hₜ₋₁|ₜ", lines[1])
    assert lines[2] == "  cause: the carry of h is zeroed"
    assert re.search(r"~~U_iᵀ ∂L/∂a_iₜ~~", text)
    assert "This explains all 15 blocks that differ, to the last digit." in text
    for block in failing.failed_blocks():
        assert printing.label_of(block) in text
    assert not re.search(r"\d{4,}\.\d", text), "no figure of many digits"


def test_verbose_prints_every_table_and_finding(failing: Report, capsys: pytest.CaptureFixture[str]) -> None:
    printing.show(failing, verbose=True)
    out = capsys.readouterr().out
    assert "tolerance of the table" in out
    assert all(finding.line() in out for finding in failing.failures())


def test_what_passes_fits_a_screen_and_verbose_has_the_rest(capsys: pytest.CaptureFixture[str]) -> None:
    report = verify.check(load_text(TEXT, "right.py"), regimes=[ORDINARY], quick=True, name="right")
    printing.show(report)
    short = capsys.readouterr().out
    printing.show(report, verbose=True)
    full = capsys.readouterr().out
    assert len(short.splitlines()) <= 40
    assert all(finding.check in " ".join(short.split()) for finding in report.findings)
    assert short.splitlines()[-1] == full.splitlines()[-1] == report.verdict()
    assert "missing: T = 0 is taken" in short
    for said in ("tolerance of the table", "start felt at the end", "parameters['W_i']"):
        assert said in full
        assert said not in short


def test_json_has_the_diagnosis_every_finding_and_every_comparison(failing: Report) -> None:
    (record,) = json.loads(printing.as_json([failing]))
    assert record["diagnosis"]["cause"] == "the carry of h is zeroed"
    assert len(record["diagnosis"]["explained"]) == 15
    assert len(record["findings"]) == len(failing.findings)
    assert len(record["comparisons"]) == len(failing.comparisons)


def test_one_line_names_the_cause(failing: Report) -> None:
    line = failing.verdict()
    assert "\n" not in line
    assert re.search(r"15 gradients are wrong, first ∂L/∂hₜ₋₁.*likely cause: the carry of h is zeroed", line)


def test_what_came_where_nothing_is_right_is_said_in_words() -> None:
    finding = Finding("gradients", FAIL, "b_f", "regime ordinary", got=0.25, expected=0.0, error=float("inf"), tolerance=1e-12)
    assert "backward 0.25, expected 0: where 0 is right, something came" in finding.line()
    assert "inf" not in finding.line()
    assert printing.how_far(finding) == "0.25, where 0 is right"


def test_a_summary_without_kinks_ends_without_a_colon(failing: Report) -> None:
    found = [Finding("central differences", PASS, block, said="settles") for block in ("W", "U")]
    assert printing.summary(failing, "central differences", found) == "2 blocks"
    kinked = [*found, Finding("central differences", PASS, "b", said="kink within 1e-5")]
    assert printing.summary(failing, "central differences", kinked) == "3 blocks: kink within 1e-5"


def test_a_failure_of_another_kind_stands_beside_the_gradients(failing: Report) -> None:
    other = Finding("arguments unchanged", FAIL, said="forward changes inputs['x']")
    lines = printing.brief(replace(failing, findings=(other, *failing.findings)))
    assert any("forward changes inputs['x']" in line for line in lines)


def test_the_cause_at_the_end_of_a_long_line_is_not_cut_off(failing: Report) -> None:
    reason = "forward passes of one equation differ by rounding only; 1e-10 leaves room for growth over the steps"
    finding = Finding(
        "against", FAIL, where="forward: output h", error=0.3, tolerance=1e-10, reason=reason, cause="W_f and W_o exchanged"
    )
    lines = printing.brief(replace(failing, findings=(finding,), diagnosis=None))
    assert "likely cause: W_f and W_o exchanged" in " ".join(line.strip() for line in lines)
    assert max(map(len, lines)) <= printing.WIDTH


def test_what_fails_beside_an_inconclusive_gradient_does_not_follow_from_it(failing: Report) -> None:
    absent = Finding("shapes", FAIL, "W", said="backward doesn't return this gradient")
    unseen = Finding("gradients", INCONCLUSIVE, "W", said="no comparison was possible")
    text = "\n".join(printing.brief(replace(failing, findings=(absent, unseen), diagnosis=None)))
    assert "FAIL: shapes: d_W: backward doesn't return this gradient" in text
    assert "as wrong gradients make them" not in text


def test_a_diagnosis_without_equations_says_how_to_name_them() -> None:
    assert "name the cell with --against" in Diagnosis("d_W at lag 0", "").lines()[-1]


def test_noise_is_said_before_the_gradients_that_it_makes_wrong_and_no_cause_is_denied(failing: Report) -> None:
    assert failing.diagnosis is not None
    noise = Finding("repeatable", FAIL, "W_i", said="backward gives other bits in another freshly loaded module")
    unexplained = replace(failing.diagnosis, cause="", formulas=())
    lines = printing.brief(replace(failing, findings=(noise, *failing.findings), diagnosis=unexplained))
    assert lines[1].startswith("FAIL: repeatable")
    assert not any("no single slip" in line for line in lines)
    assert not any("as wrong gradients make them" in line and "repeatable" in line for line in lines)


def test_a_carry_added_to_itself_for_what_the_loss_gives_is_named() -> None:
    text = TEXT.replace("d_c = d_c + top_c[t]", "d_c = d_c + d_c")
    found = verify.check(load_text(text, "twice.py"), regimes=[ORDINARY], quick=True)
    assert found.diagnosis is not None
    assert found.diagnosis.cause == "what came from the next step twice, for what the loss gives directly"


def test_a_failure_with_many_blocks_formulas_and_broken_promises_fits_a_screen_too(failing: Report) -> None:
    assert failing.diagnosis is not None
    many = tuple(f"W_{k}" for k in range(40))
    wrong = [Finding("gradients", FAIL, block, error=1.0, tolerance=1e-12) for block in many]
    besides = [Finding(f"check {k}", FAIL, said="something long is wrong with it " * 9) for k in range(5)]
    unkept = [Finding(check, FAIL, said="raises", kind=CONTRACT) for check in PROMISES]
    diagnosis = replace(failing.diagnosis, formulas=("right: hₜ = cₜ + iₜ",) * 7, explained=many[:1], unexplained=many[1:])
    for others in ([], besides):
        lines = printing.brief(replace(failing, findings=(*wrong, *others, *unkept), diagnosis=diagnosis))
        assert len(lines) <= printing.SCREEN[0]
        assert max(map(len, lines)) <= printing.SCREEN[1]
        assert any(line.startswith("contract: 0 of ") for line in lines)
        assert any(re.fullmatch(r"  and \d+ more", line) for line in lines), "how many blocks aren't shown"


def test_a_forward_pass_that_differs_from_its_cell_stands_before_the_gradients_unless_it_is_the_cause(failing: Report) -> None:
    assert failing.diagnosis is not None
    forward = Finding("against", FAIL, where="forward: output h, step 0", said="differs from `lstm`")
    lines = printing.brief(replace(failing, findings=(*failing.findings, forward)))
    assert lines[1].startswith("FAIL: against: forward")
    named = replace(failing.diagnosis, cause="forward: factor 2")
    assert (
        printing.brief(replace(failing, findings=(*failing.findings, forward), diagnosis=named))[2]
        == "  cause: forward: factor 2"
    )
