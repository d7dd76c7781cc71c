"""Whether a fault changes the gradient at all: proved by exact arithmetic at one point, or shown to be none by a symbolic identity.

Parameters, inputs and states are whole numbers; each value of tanh, sigma, ... is a whole number of its own, drawn by the function
and its argument, so that everything derived is a polynomial in free values. Two results that differ there differ as formulas.
Agreement at points proves nothing: then the changed equation has to be the same polynomial, component by component, or dead.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property
from itertools import product
from types import SimpleNamespace
from typing import Any

import numpy as np
import sympy as sp
from numpy.typing import NDArray

from derive.along import AlongAxis, Spread, Steps, axes_of
from derive.equation import Equation
from derive.expressions import values_in
from derive.language import Apply, Value
from derive.onehot import tokens_in
from derive.program import Program, needed
from verify.data import Data, Dims
from verify.edits.edit import Edit
from verify.interpreter import Evaluator, Numbers
from verify.model import Model

Array = NDArray[Any]
NAMES = (
    *("tanh", "exp", "log", "sin", "cos", "sqrt", "sigma", "step", "relu", "softplus", "elu", "absolute", "sign", "hardtanh"),
    *("softsign", "log_or_zero", "inverse_or_zero", "atan", "erf", "sinh", "cosh"),
)

OF_TWO: dict[str, Callable[[Any, Any], Any]] = {
    "maximum": max, "minimum": min, "atleast": lambda a, b: int(a >= b), "above": lambda a, b: int(a > b),
}  # fmt: skip
"""Of two numbers one, or which it is: as they are in whole numbers."""
SLOPES = {sp.Function(name) for name in ("step", "atleast", "above")}
"""Functions whose values are 0 and 1."""


def free_value(name: str, argument: Any) -> int:
    """The value of a function at an argument: any number will do, as long as it is always the same; of exp one above 0, so that a
    softmax is one."""
    drawn = int.from_bytes(hashlib.blake2b(f"{name} {argument}".encode(), digest_size=4).digest(), "big")
    return drawn % 19 + 1 if name == "exp" else drawn % 19 - 9 or 10


def whole_numbers() -> Numbers:
    def function(name: str) -> Any:
        return np.frompyfunc(lambda x: free_value(name, x), 1, 1)

    def number(value: sp.Expr) -> Any:
        if value.is_Integer:
            return int(value)
        return Fraction(int(value.p), int(value.q)) if value.is_Rational else free_value("number", sp.srepr(value))

    functions = {name: function(name) for name in NAMES}
    functions |= {name: np.frompyfunc(one, 2, 1) for name, one in OF_TWO.items()}
    functions |= {"relu": np.frompyfunc(lambda x: max(x, 0), 1, 1), "step": np.frompyfunc(lambda x: int(x > 0), 1, 1)}
    return Numbers(number, functions, object)


@dataclass
class ExactKernel:
    """A derived cell as a module of the contract over whole numbers; program: a backward program in place of the derived one."""

    model: Model
    dims: Dims
    program: Program | None = None

    def __post_init__(self) -> None:
        self.PARAMETERS, self.INPUTS, self.STATES = self.dims.parameters, self.dims.inputs, self.dims.states
        self.OUTPUTS = {name: dims for name, dims in self.dims.outputs.items() if name not in self.STATES}
        self.TOKENS = self.dims.tokens

    @cached_property
    def numbers(self) -> Numbers:
        return whole_numbers()

    @cached_property
    def evaluate(self) -> Evaluator:
        return self.model.evaluator(self.dims, self.numbers)

    def forward(
        self, parameters: Mapping[str, Array], inputs: Mapping[str, Array], state: Mapping[str, Array] | None = None
    ) -> tuple[Any, Any]:
        steps, batch = next(iter(inputs.values())).shape[:2]
        given = state or {name: np.full((batch, *self.dims.shape(dims)), 0, object) for name, dims in self.STATES.items()}
        data = Data(dict(parameters), dict(inputs), dict(given), {}, steps, batch)
        environments = self.model.filled(self.dims, data, self.evaluate)
        return self.model.outputs(environments), (data, environments)

    def backward(self, parameters: Mapping[str, Array], tape: Any, cotangents: Mapping[str, Array]) -> SimpleNamespace:
        data, environments = tape
        found = self.model.gradients(self.dims, data, cotangents, self.program, environments, evaluate=self.evaluate)
        return SimpleNamespace(
            parameters={name: found[name] for name in self.PARAMETERS},
            inputs={name: found[f"input {name}"] for name in self.INPUTS},
            state={name: found[f"initial {name}"] for name in self.STATES},
        )


def whole_data(dims: Dims, steps: int, seed: int) -> Data:
    """Small whole numbers, none of them zero."""
    rng = np.random.default_rng(seed)

    def draw(*shape: int) -> Array:
        return np.asarray(np.vectorize(int, otypes=[object])(rng.choice([-3, -2, -1, 1, 2, 3], shape)))

    batch = 2
    return Data(
        {name: draw(*dims.shape(names)) for name, names in dims.parameters.items()},
        {name: draw(steps, batch, *dims.shape(names)) for name, names in dims.inputs.items()}
        | {name: rng.integers(0, dims.size(size), (steps, batch)) for name, size in dims.tokens.items()},
        {name: draw(batch, *dims.shape(names)) for name, names in dims.states.items()},
        {name: draw(steps, batch, *dims.shape(names)) for name, names in dims.outputs.items()},
        steps,
        batch,
    )


def transcript(module: Any, dims: Dims, steps: int, seed: int, offered: bool) -> list[Array]:
    """What a module returns for two backward calls on one tape, and on it after a later forward; offered: with each option instead.

    A module that doesn't offer the options gives what they promise: the same.
    """
    every, kept = ({"checkpoint_every": 2}, {"workspace": module.Workspace()}) if hasattr(module, "Workspace") else ({}, {})
    ways: list[tuple[Mapping[str, Any], Mapping[str, Any], int, int]] = [({}, {}, steps, seed)]
    if offered:
        used = [(kept, kept, steps, seed), (kept, kept, steps + 1, seed), (kept, kept, steps, seed + 7)]
        ways = [(every, {}, steps, seed), *used, ({}, kept, steps, seed), (kept, kept, steps, seed)]
    results = [one for way in ways for one in calls(module, dims, *way)]
    return [array for one in results for arrays in vars(one).values() for array in arrays.values()]


def calls(
    module: Any, dims: Dims, forward: Mapping[str, Any], backward: Mapping[str, Any], steps: int, seed: int
) -> list[SimpleNamespace]:
    """Outputs, copied, and gradients of two backward calls on one tape, and on it after calls with other numbers, in another workspace
    if any."""
    one, two = whole_data(dims, steps, seed), whole_data(dims, steps, seed + 1)
    elsewhere = {name: module.Workspace() if name == "workspace" else value for name, value in forward.items()}

    def copied(found: Any) -> SimpleNamespace:
        parts = {what: getattr(found, what) for what in ("parameters", "inputs", "state")}
        return SimpleNamespace(**{what: {name: np.array(array) for name, array in part.items()} for what, part in parts.items()})

    outputs, tape = module.forward(one.parameters, one.inputs, one.state, **forward)
    results = [SimpleNamespace(outputs={name: np.array(array) for name, array in outputs.items()})]
    results += [copied(module.backward(one.parameters, tape, one.cotangents, **backward)) for _ in range(2)]
    lent = module.backward(one.parameters, tape, one.cotangents, **backward)
    _, late = module.forward(one.parameters, two.inputs, two.state, **elsewhere)
    module.backward(one.parameters, late, two.cotangents, **(elsewhere if backward else {}))
    results += [copied(lent), copied(module.backward(one.parameters, tape, one.cotangents, **backward))]
    return results


class Judge:
    """Proofs for one cell; the right results are computed once for each length."""

    def __init__(self, model: Model, dims: Dims) -> None:
        self.model, self.dims = model, dims
        self.right: dict[tuple[int, int, bool], list[Array]] = {}

    def differs(self, module: Any, steps: int = 3, seeds: tuple[int, ...] = (1, 2)) -> bool:
        """Whether exact arithmetic tells the module from the derived cell."""
        offered = hasattr(module, "Workspace")
        for seed in seeds:
            key = (steps, seed, offered)
            if key not in self.right:
                self.right[key] = transcript(ExactKernel(self.model, self.dims), self.dims, steps, seed, offered)
            try:
                found = transcript(module, self.dims, steps, seed, offered)
            except ZeroDivisionError:  # where the right program divides by nothing that is zero
                return True
            if any(a.shape != b.shape or (a != b).any() for a, b in zip(found, self.right[key], strict=True)):
                return True
        return False

    def proof(self, edit: Edit, steps: int = 3) -> str:
        """`different` by exact arithmetic on so many steps, `equivalent` by identity, or `undecided`."""
        if self.differs(ExactKernel(self.model, self.dims, edit.program), steps):
            return "different"
        same = aliases(edit.program)
        pairs = [
            (old.substituted(same), new.substituted(same)) if along(old) == along(new) else (old, new)
            for old, new in edit.changed
        ]
        if all(self.identical(old, new) or dead(edit.program, old.target) for old, new in pairs):
            return "equivalent"
        return "undecided"

    def identical(self, first: Equation, second: Equation) -> bool:
        """Whether two right sides are the same polynomial in the components of what they read, whatever the tokens are."""
        functions = {name: np.frompyfunc(sp.Function(name), 1, 1) for name in NAMES} | {"step": np.frompyfunc(step, 1, 1)}
        functions |= {name: np.frompyfunc(sp.Function(name), 2, 1) for name in OF_TWO}
        evaluate = Evaluator(Numbers(lambda n: n, functions, object), self.model.sizes(self.dims))
        known = {e.target: e.value for e in self.model.derivation.forward.equations if isinstance(e.value, Apply)}
        env: dict[Value, Array] = {}
        first, second = first.substituted(whole_of_steps), second.substituted(whole_of_steps)
        tokens = tokens_in([first.value, second.value])
        read = [value for value in (*first.reads(), *second.reads()) if value not in tokens]
        for value in dict.fromkeys([*(v for r in read if r in known for v in values_in(known[r])), *read]):
            if value in known:
                env[value] = evaluate(known[value], env)
                continue
            rows, cols = (evaluate.size(n) for n in value.shape)
            names = [[sp.Symbol(f"{value.name}_{value.kind}_{value.lag}_{r}_{c}") for c in range(cols)] for r in range(rows)]
            env[value] = np.array(names, dtype=object).reshape(rows, cols)
        for chosen in product(*[range(evaluate.size(size)) for size in tokens.values()]):
            here = env | {token: np.array([[at]]) for token, at in zip(tokens, chosen, strict=True)}
            difference = evaluate(first.value, here) - evaluate(second.value, here)
            if any(idempotent(sp.expand(element)) != 0 for element in np.ravel(difference)):
                return False
        return True


def along(equation: Equation) -> list[tuple[str, ...]]:
    """The axes over which each term counts: a value and the same at all steps are one thing where these are the same."""
    return [axes_of(term.value) for term in equation.terms]


def aliases(program: Program) -> Callable[[sp.MatrixExpr], sp.MatrixExpr | None]:
    """What takes a value that is nothing but another one, the same at all steps perhaps, for that."""
    plain = {one.target: one.value.args[0] if isinstance(one.value, Spread) else one.value for one in program.equations}
    found: dict[sp.MatrixExpr, sp.MatrixExpr] = {}
    for one in program.equations:  # each behind what it reads at the same step
        value = plain[one.target]
        if isinstance(value, Value) and not value.lag:
            found[one.target] = found.get(value, value)
    return found.get


def whole_of_steps(node: sp.MatrixExpr) -> sp.MatrixExpr | None:
    """A name for what is made of all steps: the same name for the same expression."""
    return Value(sp.srepr(node), *node.shape) if isinstance(node, (AlongAxis, Steps)) else None


def step(z: Any) -> Any:
    """step, with step(relu(z)) = step(z)."""
    inner = z.args[0] if getattr(z, "func", None) == sp.Function("relu") else z
    return sp.Function("step")(inner)


def idempotent(expression: Any) -> Any:
    """An expression in which powers of what is 0 or 1 are that itself."""
    is_power = lambda part: part.is_Pow and part.base.func in SLOPES and part.exp.is_positive  # noqa: E731
    return sp.sympify(expression).replace(is_power, lambda part: part.base)


def dead(program: Program, target: Value) -> bool:
    """Whether no result depends on a value."""
    return target not in {equation.target for equation in needed(program.equations, program.results)}


def resized(dims: Dims) -> Dims:
    """Small sizes for exact work: 2, 3, 4, ..."""
    return replace(dims, sizes={name: k + 2 for k, name in enumerate(dims.sizes)})
