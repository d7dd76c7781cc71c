"""A slope that is cut off where a unit is saturated is seen, and what rounding takes of a slope there isn't held against a kernel."""

from __future__ import annotations

import numpy as np
import pytest

from tests.verify.edits import FOLDER, edited
from verify import gradients
from verify.data import BEYOND, OTHER_SIZES
from verify.evidence import EXACT
from verify.kernel import Kernel
from verify.settle import settled

LSTM, GRU = ((FOLDER / f"plain_{cell}.py").read_text(encoding="utf-8") for cell in ("lstm", "gru"))
SLOPES = [(LSTM, y) for y in "ifo"] + [(GRU, y) for y in "rz"]
FAULTS = {
    "zero where |z| > 15": "np.where(abs(Y - 0.5) > 0.4999997, 0, Y * (1 - Y))",
    "zero where z > 15": "np.where(Y.real > 0.9999997, 0, Y * (1 - Y))",
    "zero where z < -15": "np.where(Y.real < 3e-7, 0, Y * (1 - Y))",
    "that at 15 wherever |z| > 15": "np.where(abs(Y - 0.5) > 0.4999997, 3e-7, Y * (1 - Y))",
}


def failing(text: str, *edits: tuple[str, str]) -> set[str]:
    """The blocks that are wrong on the data beyond saturation, by the bound that knows what rounding takes."""
    sizes = dict(OTHER_SIZES)[BEYOND]
    kernel = Kernel(edited(*edits, text=text), "edited").sized(sizes)
    with np.errstate(all="ignore"):
        evidence = settled(kernel, BEYOND, 0, EXACT).with_digits()
        assert (evidence.digits, evidence.regime) == (True, BEYOND)
        return {one.block for one in gradients.blocks(kernel, evidence, elementwise=True) if one.failed}


@pytest.mark.parametrize("text", [LSTM, GRU])
def test_slopes_made_of_outputs_pass_where_they_have_lost_digits(text: str) -> None:
    assert failing(text) == set()


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize(("text", "gate"), SLOPES)
def test_a_slope_cut_off_beyond_saturation_is_seen(text: str, gate: str, fault: str) -> None:
    cut = FAULTS[fault].replace("Y", gate)
    assert {f"W_{gate}", f"b_{gate}"} <= failing(text, (f"* {gate} * (1 - {gate})\n", f"* {cut}\n"))
