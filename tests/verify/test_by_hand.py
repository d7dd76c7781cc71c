"""Right kernels written by hand, most of them of real numbers only, are decided and pass; each with one fault is refused."""

from __future__ import annotations

import json
import re
import warnings
from pathlib import Path

import numpy as np
import pytest

import verify
from derive.cells.registry import build
from derive.compiler import compile_cell
from tests.kernels import kernel_of
from tests.profiles import thorough
from tests.verify.by_hand import ACTIVATIONS, by_hand, text_of
from verify import differences, gradients
from verify.__main__ import main
from verify.chain import Chain
from verify.data import FAR, LONG, ORDINARY, SHORT, SUSTAINED, draw
from verify.evidence import CHAINED, EXACT, WHOLE, Evidence
from verify.kernel import Kernel, load_text
from verify.report import share
from verify.settle import settled

DOUBLED = """

right = FUNCTION


def doubled(found):
    if isinstance(found, dict):
        return {name: 2 * array for name, array in found.items()}
    return Gradients(*map(doubled, vars(found).values())) if isinstance(found, Gradients) else 2 * found


def FUNCTION(*given, **options):
    return doubled(right(*given, **options))
"""
REAL = [name for name in ACTIVATIONS if name != "tanh"]

FAULTS = {
    "a slope wrong by one part in ten thousand": [("dz = 1 * (", "dz = 1.0001 * (")],
    "what comes through U dropped": [("dh = dz @ U +", "dh = 0 * dz @ U +")],
    "the state after for the one before": [("dU += dz.T @ p", "dU += dz.T @ h")],
    "no gradient of the initial state": [('state={"h": dh}', 'state={"h": 0 * dh}')],
    "a recurrence cut after 39 steps": [("dh = dz @ U + ", "dh = (0 if (len(x) - t) % 39 == 0 else 1) * dz @ U + ")],
}


def fails(kernel: Kernel, seed: int = 0) -> bool:
    """Whether backward fails on data of few and of many steps."""
    with np.errstate(all="ignore"):
        for regime in (ORDINARY, SUSTAINED):
            evidence = settled(kernel, regime, seed, CHAINED)
            found = [*gradients.blocks(kernel, evidence, elementwise=False), *gradients.lags(kernel, evidence)]
            if any(one.failed for one in found):
                return True
    return False


@pytest.mark.parametrize("name", REAL)
def test_a_right_kernel_of_real_numbers_is_decided(name: str) -> None:
    report = verify.check(by_hand(name), seed=len(name))
    assert report.passed, report.faults()
    assert report.method == CHAINED


@pytest.mark.parametrize("name", REAL)
def test_each_fault_in_a_kernel_of_real_numbers_is_seen(name: str) -> None:
    assert not fails(Kernel(by_hand(name), name)), "without a fault"
    unseen = [fault for fault, edits in FAULTS.items() if not fails(Kernel(by_hand(name, *edits), name))]
    assert not unseen


@pytest.mark.parametrize(("scale", "times"), [("1", "3"), ("1", "100"), ("3", "1"), ("10", "10"), ("100", "1")])
@pytest.mark.parametrize("seed", [0, thorough(1), thorough(2)])
def test_a_right_kernel_passes_however_large_its_sums_are(scale: str, times: str, seed: int) -> None:
    """1 - h**2 has no digits left there: |z| is 60 and above."""
    kernel = by_hand("tanh", kind="x.dtype", scale=scale, times=times)
    report = verify.check(kernel, seed=seed, regimes=(ORDINARY, FAR))
    assert report.passed, report.faults()
    assert report.method == EXACT


def test_saturated_data_hide_no_fault_of_order_one() -> None:
    report = verify.check(
        by_hand("tanh", ("db += TIMES * dz.sum(0)".replace("TIMES", "3"), "db += dz.sum(0)"), kind="x.dtype", times="3"),
        quick=True,
    )
    assert {finding.block for finding in report.failures()} == {"b"}


# ---- chained differences


@pytest.mark.parametrize("cell", ["rnn", "gru", "lstm"])
@pytest.mark.parametrize("regime", [SHORT, LONG], ids=["short", "long"])
def test_chained_differences_know_each_lag_as_a_complex_step_does(cell: str, regime: verify.data.Regime) -> None:
    """Within the error that they say they have, and that is a small part of the gradient at every lag."""
    kernel = Kernel(kernel_of(cell), cell)
    data = draw(kernel.dims, regime, 3)
    exact, chained = (Evidence(kernel, regime, data, 3, method) for method in (EXACT, CHAINED))
    assert chained.chain.holds
    right, found, error = (
        exact.per_step("input x", data.cotangents),
        chained.per_step("input x", data.cotangents),
        chained.per_step("input x", data.cotangents, error=True),
    )
    # what the complex step itself rounds: 40 products of fan-in 6 at eps, next to the largest of each step
    own = 1e-13 * np.abs(right).max(axis=-1, keepdims=True)
    assert (np.abs(found - right) <= error + own).all()
    lags = [(41, 41 - lag) for lag in range(1, 41)]
    assert max(error[s, :, t].max() / np.abs(right[s, :, t]).max() for s, t in lags) < 1e-6


def test_the_error_of_an_extrapolated_difference_covers_what_it_is_off_by() -> None:
    """At points near and far from kinks of the slope and of the value, and at scales from 1/10 to 100."""
    rng = np.random.default_rng(0)
    at = {"a": np.concatenate([rng.standard_normal(200), rng.choice([-1, 1], 40) * 10.0 ** rng.uniform(-9, -1, 40)])}
    one = {"a": np.ones_like(at["a"])}
    cases = {
        "softsign": (lambda a: a / (1 + np.abs(a)), lambda a: 1 / (1 + np.abs(a)) ** 2),
        "relu": (lambda a: np.maximum(a, 0), lambda a: np.where(a > 0, 1.0, 0.0)),
        "tanh of 100 a": (lambda a: np.tanh(100 * a), lambda a: 100 / np.cosh(np.minimum(np.abs(100 * a), 300)) ** 2),
        "a slow one": (lambda a: np.exp(a / 10) + 50, lambda a: np.exp(a / 10) / 10),
    }
    for name, (function, slope) in cases.items():
        value, error = differences.extrapolated_tangents(lambda given, f=function: {"y": f(given["a"])}, at, one)  # type: ignore[misc]
        apart = np.abs(value["y"] - slope(at["a"]))
        assert (apart <= 4 * error["y"]).all(), (name, at["a"][apart > 4 * error["y"]])
        assert np.median(error["y"]) < 1e-9, name


def test_a_run_that_hands_on_more_than_its_states_is_no_chain_and_says_what_would_go_unseen() -> None:
    """A step reads the input of the step before too: differences are of the whole run, whose resolution ends before lag 40."""
    text = text_of(
        "softsign",
        ("x[t] @ W.T", "(x[t] + (x[t - 1] if t else 0)) @ W.T"),
        ("dz.T @ x[t]", "dz.T @ (x[t] + (x[t - 1] if t else 0))"),
        ("dx[t] = dz @ W", "dx[t] += dz @ W\n        dx[max(t - 1, 0)] += (dz @ W) * (t > 0)"),
    )
    kernel = verify.kernel.load_text(text, "two_inputs.py")
    assert not Chain(Kernel(kernel, ""), draw(Kernel(kernel, "").dims, ORDINARY), differences.extrapolated_tangents).holds
    report = verify.check(kernel, regimes=(SHORT,))
    assert report.method == WHOLE
    assert {finding.verdict for finding in report.failures()} == {"inconclusive"}
    assert all(
        re.search(r"a fault (up to \S+ of the gradient there|of any size) would go unseen", f.said) for f in report.failures()
    )


# ---- two verdicts


def test_a_right_kernel_without_checks_exits_0_and_its_missing_promises_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "plain.py"
    path.write_text(text_of("tanh", kind="x.dtype", times="3"))
    assert main([str(path)]) == 0
    out = capsys.readouterr().out
    assert re.search(r"not kept [\w ,\n]*refuses integers", out)
    assert "FAIL" not in out, "nothing fails where the exit code is 0"
    assert "verified: backward, complex step and" in out
    assert "emitted" not in out, "it is a kernel by hand"
    said = " ".join(out[out.index("contract: ") :].split())
    for promise in ("integers are refused", "mixed dtypes are refused", "a cotangent that isn't given", "there is a jvp"):
        assert promise in said
    assert main([str(path), "--contract", "--json"]) == 1
    (record,) = json.loads(capsys.readouterr().out)
    assert record["gradients"] == {"verdict": "pass", "failing": []}
    assert record["contract"]["kept"] + len(record["contract"]["missing"]) == record["contract"]["of"]
    assert not record["passed"]


def test_an_emitted_kernel_is_held_to_the_whole_contract() -> None:
    from verify.emitted import compare_text

    cell = build("rnn")
    text = compile_cell(cell)
    report = compare_text(text, cell)
    assert report.passed, report.faults()
    assert not report.contract.missing
    asks = "\n_forward = forward\ndef forward(p, i, state=None, **k):\n    return _forward(p, i, dict(state), **k)\n"
    weaker = compare_text(text + asks, cell)
    assert not weaker.passed
    assert any(promise.startswith("state=None is taken for zeros") for promise in weaker.contract.missing)


@pytest.mark.parametrize("function", ["jvp", "hvp", "step_jacobian"])
def test_a_function_that_is_there_is_not_called_missing_where_its_numbers_differ(function: str) -> None:
    """As that of hvp do where backward, which it is held against, is wrong."""
    wrong = "backward" if function == "hvp" else function
    text = compile_cell(build("rnn"), ()) + DOUBLED.replace("FUNCTION", wrong)
    report = verify.check(load_text(text, "edited.py"), regimes=(ORDINARY,))
    assert function in {finding.check for finding in report.failures()}
    assert not [promise for promise in report.contract.promises if function in promise]


@pytest.mark.parametrize(
    ("edit", "numbers"),
    [
        (('    if state is not None:\n        h[0] = state["h"]\n', '    h[0] = state["h"]\n'), False),
        (('    if state is not None:\n        h[0] = state["h"]\n', '    h[0] = 1 if state is None else state["h"]\n'), True),
        (('cotangents["h"][t]', 'cotangents.get("h", np.ones_like(hs[1:]))[t]'), True),
        (("    dh = np.zeros_like(hs[0])\n", "    dh = np.zeros_like(hs[0]) + (1 if len(x) == 0 else 0)\n"), True),
        (("    T, B = x.shape[:2]\n", "    T, B = x.shape[:2]\n    x[0]\n"), False),
    ],
    ids=["no state None", "state None as ones", "omitted cotangent as ones", "T = 0 gives ones", "T = 0 raises"],
)
def test_what_only_raises_breaks_the_contract_and_a_wrong_number_fails(edit: tuple[str, str], numbers: bool) -> None:
    right = verify.check(by_hand("tanh", kind="x.dtype"), regimes=(ORDINARY,))
    report = verify.check(by_hand("tanh", edit, kind="x.dtype"), regimes=(ORDINARY,))
    assert right.passed
    assert report.passed is not numbers
    assert numbers or report.contract.kept == right.contract.kept - 1


def test_nothing_that_numpy_warns_of_is_heard() -> None:
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        verify.check(by_hand("softsign"), regimes=(ORDINARY,))
    assert not heard


@pytest.mark.parametrize(
    ("worst", "said"), [(0.5, "50.0%"), (7.2, "7 times"), (1e15, "far beyond"), (float("inf"), "far beyond")]
)
def test_an_error_is_told_in_numbers_that_a_person_reads(worst: float, said: str) -> None:
    assert said in share(worst)
