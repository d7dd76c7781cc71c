"""Cells with numbers and matrices: step Jacobians against the complex step, closed forms of matrix memories, and large ones matrix-free."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings

from derive.cell import Cell
from derive.derivation import derive
from derive.expressions import values_in
from derive.language import Eq, Identity, dimension, matrix, number, sequence, transpose, vector
from derive.reductions import layer_norm
from tests import bounds
from tests.kernels import kernel_of_cell
from tests.profiles import THOROUGH
from tests.verify.jacobian.runs import by_complex_step, drawn_run
from tests.verify.random_shapes import shaped_cells
from verify.jacobian import Run, Wanted, analyse
from verify.jacobian.derived import Derived, dense
from verify.jacobian.paths import paths_of

COUNT = 500 if THOROUGH else 12


@settings(max_examples=COUNT)
@given(shaped_cells())
def test_every_random_cell_has_the_step_jacobian_of_its_equations(cell: Cell) -> None:
    run = drawn_run(cell)
    steps, exact = Derived(run), by_complex_step(run)
    size = max(1.0, np.abs(exact).max())
    limit = size**2 * bounds.rounded(100)
    np.testing.assert_allclose(dense(steps), exact, rtol=0, atol=limit)
    frame = np.random.default_rng(1).standard_normal((run.batch, run.size, 2))
    for path in [None, *paths_of(run)]:
        cut, kept = [steps.with_path(path.marks, way) for way in (False, True)] if path else (steps, None)
        whole = dense(cut) + (dense(kept) if kept else 0.0)
        np.testing.assert_allclose(whole, exact, rtol=0, atol=limit)
        for one in [cut, kept] if kept else [cut]:
            J = dense(one)[1]
            np.testing.assert_allclose(one.push(1, frame), J @ frame, rtol=0, atol=8 * limit)
            np.testing.assert_allclose(one.pull(1, frame), J.swapaxes(-1, -2) @ frame, rtol=0, atol=8 * limit)
