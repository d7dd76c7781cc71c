"""The documents' remedies, each a small function, with the same view before and after.

before, after = compare(run, orthogonal)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from verify.jacobian.analysis import Analysis, Wanted, analyse
from verify.jacobian.initial import Applied, Init, number, with_recurrent
from verify.jacobian.opening import opened
from verify.jacobian.run import Array, Run, RunError

Remedy = Callable[[Run], Run]


def clip_by_norm(gradients: Mapping[str, Array], threshold: float) -> dict[str, Array]:
    """Norm clipping, CS224n Algorithm 1: g <- threshold / ||g|| g where ||g|| >= threshold; the norm of all arrays together.

    gradients {name: any shape}. It leaves the direction, and the Jacobian products, as they are.
    """
    if not 0 <= threshold < float("inf"):
        raise RunError(f"clip_by_norm: threshold: expected a finite number from 0 on, got {threshold}. Choose another.")
    bad = [name for name, array in gradients.items() if not np.isfinite(array).all()]
    if bad:
        raise RunError(f"clip_by_norm: gradients['{bad[0]}']: expected finite numbers, got inf or nan. There is no norm to clip.")
    largest = max((float(np.abs(array).max()) for array in gradients.values() if array.size), default=0.0)
    if largest == 0:
        return {name: array.copy() for name, array in gradients.items()}
    norm = largest * float(np.sqrt(sum(((array / largest) ** 2).sum() for array in gradients.values())))
    factor = threshold / norm if norm >= threshold else 1.0
    return {name: array * factor for name, array in gradients.items()}


def identity(run: Run, scale: float = 1.0) -> Run:
    """Recurrent matrices start as scale times the identity (CS224n 2.4, the first technique; `with_relu` is the second)."""
    return with_matrices(run, "identity", scale)


def orthogonal(run: Run, scale: float = 1.0) -> Run:
    """Recurrent matrices start as scale times an orthogonal matrix: every singular value of U is scale."""
    return with_matrices(run, "orthogonal", scale)


def with_matrices(run: Run, kind: str, scale: float) -> Run:
    applied = run.applied and replace(run.applied, init=replace(run.applied.init, recurrent=kind))
    return run.with_parameters(with_recurrent(run.kernel, run.derivation, run.parameters, kind, scale), applied)


def forget_bias(run: Run, value: float) -> Run:
    """What is added inside the gates that carry a state over is set so that the gates open (value > 0): the carousel's factor nears 1."""
    parameters, done = opened(run.derivation, run.parameters, value)
    applied = run.applied or Applied(Init())
    return run.with_parameters(parameters, replace(applied, init=replace(applied.init, forget_bias=value), opened=done))


def with_relu(run: Run) -> Run:
    """The same cell with ReLU for tanh and sigma in the equations of its states, derived anew; the arrays stay (CS224n 2.4)."""
    import sympy as sp

    from derive.cell import Cell
    from derive.compiler import emit
    from derive.derivation import derive
    from derive.functions import FUNCTIONS, sigma
    from derive.language import Apply, Eq, X, apply
    from verify.kernel import load_text

    if run.derivation is None:
        raise RunError(f"jacobian: {run.name}: --remedy relu: expected equations, got a kernel file. Derive the cell.")
    old = run.derivation.cell
    states = set(old.states)
    bent = {sp.tanh(X), sigma(X)}
    pairs = [
        (
            target,
            apply(FUNCTIONS["relu"], right.expr)
            if target in states and isinstance(right, Apply) and right.scalar in bent
            else right,
        )
        for target, right in old.equations
    ]
    if pairs == list(old.equations):
        raise RunError(
            f"jacobian: {run.name}: --remedy relu: expected a state that is tanh or sigma of something, found none. Choose another remedy."
        )
    cell = Cell.from_equations(f"{old.name}_relu", old.command, [Eq(target, right) for target, right in pairs])
    derivation = derive(cell)
    return replace(run, name=cell.name, kernel=load_text(emit(derivation), f"{cell.name}.py"), derivation=derivation)


def compare(run: Run, remedy: Remedy, wanted: Wanted | None = None) -> tuple[Analysis, Analysis]:
    """The same view before and after a remedy."""
    return analyse(run, wanted), analyse(remedy(run), wanted)


def remedy_of(text: str) -> Remedy:
    """The remedy that a word names: identity, orthogonal, relu, identity-relu, forget-bias=X. Raises RunError."""
    name, _, value = text.partition("=")
    named: dict[str, Remedy] = {
        "identity": identity,
        "orthogonal": orthogonal,
        "relu": with_relu,
        "identity-relu": lambda run: with_relu(identity(run)),
    }
    if name == "forget-bias":
        bias = number("forget-bias", value or "4")
        return lambda run: forget_bias(run, bias)
    if name not in named or value:
        raise RunError(f"jacobian: --remedy: expected {', '.join(named)} or forget-bias=X, got {text}. Choose one of them.")
    return named[name]
