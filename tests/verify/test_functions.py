"""The functions of the independent route, as exact as a complex step needs them."""

from __future__ import annotations

import numpy as np

from verify.interpreter import float_functions


def test_a_complex_step_through_erf_keeps_the_digits_of_the_slope() -> None:
    """math.exp is right to an ulp of its result, of an argument of at most 16 rounded once: 16 + 4 roundings."""
    x = np.linspace(-4, 4, 41)
    slope = float_functions()["erf"](x + 1e-30j).imag / 1e-30
    np.testing.assert_allclose(slope, 2 / np.sqrt(np.pi) * np.exp(-x * x), rtol=20 * np.finfo(float).eps)
