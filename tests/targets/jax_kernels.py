"""JAX kernels for tests, and all that a kernel computes, held against the textbook's NumPy kernel of the same cell."""

from __future__ import annotations

from types import ModuleType

import numpy as np

from derive.cell import Cell
from derive.compiler import emit, emit_jax
from derive.derivation import derive
from tests.arguments import Array, Call, backward, error, hvp, jvp
from tests.bounds import of_call, of_second
from tests.kernels import module_of
from tests.network_values import drawn, sizes_of
from verify.frameworks import in_numpy


def jax_and_numpy(cell: Cell) -> tuple[ModuleType, ModuleType]:
    """(the JAX kernel, the textbook's in NumPy) of a cell."""
    derivation = derive(cell)
    return module_of(emit_jax(derivation), "kernel_jax"), module_of(emit(derivation, ()))


def call_for(kernel: ModuleType, T: int = 4, B: int = 3, **sizes: int) -> Call:
    """Random arguments of so many steps along every axis, and examples; sizes: of dimensions."""
    along = [axis for axes in getattr(kernel, "AXES", {}).values() for axis in ((axes,) if isinstance(axes, str) else axes or ())]
    lengths = dict.fromkeys(along, 7) | {"T": T, "D": 5, "H": 6, "K": 3} | sizes
    return drawn(kernel, sizes_of(kernel, lengths) | {"B": B}, 0)


def direction(kernel: ModuleType, call: Call) -> Call:
    """A random direction of the arguments; tokens have none."""
    rng = np.random.default_rng(7)
    tokens = getattr(kernel, "TOKENS", {})
    groups = [{name: array for name, array in group.items() if name not in tokens} for group in call.groups()]
    return Call(
        *[{name: rng.standard_normal(array.shape).astype(array.dtype) for name, array in group.items()} for group in groups]
    )


def everything(kernel: ModuleType, call: Call, along: Call) -> dict[object, Array]:
    """Outputs, gradients, tangents, second order and step Jacobians, each by the function that it is of."""
    outputs, tape = kernel.forward(call.parameters, call.inputs, call.state)
    jacobian = kernel.step_jacobian(call.parameters, tape)
    found = {
        "forward": outputs,
        "backward": backward(kernel, call, tape),
        "jvp": jvp(kernel, call, along),
        "hvp": hvp(kernel, call, along),
        "step_jacobian": jacobian if isinstance(jacobian, dict) else {"J": jacobian},
    }
    return {(function, name): array for function, table in found.items() for name, array in table.items()}


def hold(cell: Cell, call: Call | None = None, dtype: type = np.float64) -> None:
    """Everything that the two kernels of a cell compute is the same, block by block relative to its norm."""
    in_jax, in_numpy_ = jax_and_numpy(cell)
    hold_kernels(in_jax, in_numpy_, cell, call_for(in_numpy_) if call is None else call, dtype)


def hold_kernels(in_jax: ModuleType, other: ModuleType, cell: Cell, call: Call, dtype: type = np.float64) -> None:
    """As `hold`. Bound: 1e-12 in float64; in float32 by the count of roundings of the derived programs."""
    call = call.map(lambda array: array.astype(dtype) if array.dtype.kind == "f" else array)
    along = direction(other, call)
    with np.errstate(all="ignore"):
        found, wanted = everything(in_numpy(in_jax), call, along), everything(other, call, along)
    assert found.keys() == wanted.keys()
    bound = 1e-12
    if dtype is np.float32:
        sizes = {dim: size for table, group in zip((other.PARAMETERS, other.INPUTS), call.groups(), strict=False)
                 for name, dims in table.items() for dim, size in zip(dims[::-1], group[name].shape[::-1], strict=False)}  # fmt: skip
        bound = max(of_call(call, dtype), of_second(cell, call, sizes) * np.finfo(np.float32).eps / np.finfo(np.float64).eps)
    for key, right in wanted.items():
        assert (found[key].shape, found[key].dtype) == (right.shape, right.dtype), key
        assert np.array_equal(np.isfinite(found[key]), np.isfinite(right)), key
        finite = np.isfinite(right)
        assert error(np.where(finite, found[key], 0), np.where(finite, right, 0)) <= bound, key
