"""Jacobian products: d(state)_t / d(state)_{t-l} by lag, its singular values, exponents, bound, and the path that carried it.

    from verify.jacobian import Run, analyse

    run = Run("lstm", kernel, parameters, inputs, state, derivation)
    result = analyse(run)            # frozen; `result.exponents`, `result.log10_norms`, ...

Which room does what: `run` (arrays in), `files`, `pytorch`, `initial` and `opening` (where the arrays come from, what a forget
bias opens), `recurrences` and `within` (one recurrence of a network as a cell, and its run in that of the network), `steps`
(step Jacobians from the kernel's contract), `values` (the equations along a run), `summands` and `maps` (the tangent program as
linear maps, term by term), `derived` (step Jacobians of these, with terms cut), `rows` (the same as matrices with scaled rows,
where they are), `frames`, `sweeps` and `rotations` (exponents and singular values), `norms`, `intervals`, `ranges` and
`bounds`, `paths`, `lags`, `remedies`, `analysis` (all of it in one frozen result), `report`, `plot`, `command`; beside the
products `influence` (dy_t/dx_s over t and s) and `heat_map` (what is shown of that).
"""

from verify.jacobian.analysis import Analysis, Wanted, analyse
from verify.jacobian.run import Run, RunError

__all__ = ["Analysis", "Run", "RunError", "Wanted", "analyse"]
