"""Cells without some of their biases: each stays at zero, where it adds nothing, and what it would get goes nowhere."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from .named import Array, Named
from .through_time import Case


def without_bias(name: str, case: Case) -> dict[str, Case]:
    """A cell, by its name, without any bias and, where others have one too, without that of its candidate memory alone."""
    biases = tuple(one for one in case.parameters if one.startswith("b"))
    if "b_hh" in biases:  # a bias within a product isn't left out beside the others
        return {}
    found = {f"{name}_no_bias": without(case, biases, "without biases")}
    if "b_c" in biases:
        found[f"{name}_no_candidate_bias"] = without(case, ("b_c",), "without b_c")
    return found


def without(case: Case, absent: tuple[str, ...], says: str) -> Case:
    """The cell with these columns at zero."""

    def whole(p: Mapping[str, Array]) -> Named:
        W = p[case.parameters[0]]
        return Named({**p, **{name: np.zeros((len(W), 1), W.dtype) for name in absent}})

    return replace(
        case,
        parameters=tuple(name for name in case.parameters if name not in absent),
        source=f"{case.source}; {says}",
        step_forward=lambda p, x, *previous: case.step_forward(whole(p), x, *previous),
        step_backward=lambda p, s, d: case.step_backward(whole(p), s, whole(d)),
    )
