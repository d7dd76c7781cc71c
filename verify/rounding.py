"""What rounding takes from a kernel's own results, measured: float32 loses of them what float64 loses, 2**29 times over."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from verify.data import Array, Data
from verify.tolerances import EPS, EPS32


def lost(run: Callable[[Data], dict[str, Array]], data: Data, times: int = 3) -> dict[str, Array]:
    """What float64 may lose of the results of a run, element by element: the worst of a few runs in float32, in proportion.

    No bound knows how saturated a unit inside a kernel is; this measures it. Of a result of which float32 leaves nothing it allows
    2e-9. A fault that is the same in both precisions is not seen by it, and so is never excused. Empty where float32 can't run.
    """
    rng = np.random.default_rng(37)
    worst: dict[str, Array] = {}
    for _ in range(times):
        single = data.moved(4 * EPS32, rng).astype(np.float32)
        try:
            got, whole = run(single), run(single.astype(np.float64))
        except Exception:
            return {}
        for block, array in whole.items():
            if block in got and got[block].shape == array.shape:
                difference = np.nan_to_num(np.abs(got[block] - array), posinf=0.0)
                worst[block] = np.maximum(worst.get(block, 0.0), difference * (EPS / EPS32))
    return worst


def left_without(run: Callable[[Data], dict[str, Array]], data: Data) -> dict[str, Array]:
    """Block -> which of its elements float32 has fewer than four bits of, as of 1 - h * h next to 1: there `lost` says too little.
    Empty where float32 can't run.
    """
    single = data.astype(np.float32)
    try:
        got, whole = run(single), run(single.astype(np.float64))
    except Exception:
        return {}
    return {
        block: np.abs(got[block] - array) > np.abs(array) / 16
        for block, array in whole.items()
        if block in got and got[block].shape == array.shape
    }
