# Emitted by `python -m derive rnn`. Don't edit: change the equations and emit again.
#
#     h: hₜ = tanh(W xₜ + U hₜ₋₁ + b)
#
# equations  sha256 f2acfbb8efe9c237
# derivation sha256 8848ed6d7272f3c0
# body       sha256 fa248b44a10aeb46
#
# per step and example:
#     forward  2 matrix products (D H + H^2 multiply-adds), 3 H elementwise operations
#     backward 4 matrix products (2 D H + 2 H^2 multiply-adds), 4 H elementwise operations
#     saved    D + H numbers: x, h
"""The cell `rnn` and its gradients, in NumPy.

Inside, an array at one step has one column per example, (n, B), so that `W @ x` reads like the equation; `..._all` is the same
over time, (T, n, B), and of a state it starts with the initial one, (T + 1, n, B). `d_v` is dL/dv, `carry_h` the part of dL/dh
that comes from the next step, `dot_v` the tangent of v.
"""

import numpy as np

PARAMETERS = {
    "W": ("H", "D"),
    "U": ("H", "H"),
    "b": ("H",),
}
INPUTS = {"x": ("D",)}
STATES = {"h": ("H",)}
OUTPUTS = {}


def forward(parameters, inputs, state=None):
    """Run the cell over all steps.

    parameters {name: array}, inputs {name: (T, B, n)}, state {name: (B, n)}, None for zeros.
    Returns outputs {name: (T, B, n)} of every state and output, and the tape that backward reads.
    Raises ValueError on a name, shape or dtype that doesn't fit.
    """
    sizes, dtype = _sizes("forward", parameters, inputs, state)
    T, B, H = (sizes[name] for name in ("T", "B", "H"))
    W = parameters["W"]
    U = parameters["U"]
    b = parameters["b"][:, None]
    x_all = inputs["x"].transpose(0, 2, 1)
    # a_h_inₜ = W xₜ + b
    a_h_in_all = W @ x_all + b
    h_all = np.empty((T + 1, H, B), dtype)
    h_all[0] = _state("forward", "state", state, "h", STATES["h"], sizes, dtype)
    for t in range(T):
        a_h_in = a_h_in_all[t]
        h_prev = h_all[t]
        # a_hₜ = a_h_inₜ + U hₜ₋₁
        a_h = a_h_in + U @ h_prev
        # hₜ = tanh(a_hₜ)
        h = h_all[t + 1] = np.tanh(a_h)
    outputs = {"h": _batch_first(h_all[1:])}
    tape = Tape(sizes, dtype, x=x_all, h=h_all)
    return outputs, tape


def backward(parameters, tape, cotangents):
    """Gradients of L, given dL/d(state or output) at every step, directly.

    cotangents {name: (T, B, n)}; a missing one counts as zero.
    Returns Gradients: .parameters, .inputs, .state (of the initial state), each array shaped as its primal.
    Raises ValueError on a name, shape or dtype that doesn't fit.
    """
    _taped("backward", parameters, tape)
    _names("backward", "cotangents", cotangents, {**STATES, **OUTPUTS}, complete=False)
    sizes, dtype = tape.sizes, tape.dtype
    T, B, H = (sizes[name] for name in ("T", "B", "H"))
    W = parameters["W"]
    U = parameters["U"]
    x_all = tape.x
    h_all = tape.h
    cotangent_h_all = _sequence("backward", "cotangents", cotangents, "h", STATES["h"], sizes, dtype)
    d_a_h_all = np.empty((T, H, B), dtype)
    carry_h = np.zeros((H, B), dtype)
    for t in reversed(range(T)):
        cotangent_h = cotangent_h_all[t]
        h = h_all[t + 1]
        # ∂L/∂hₜ = ∂Lₜ/∂hₜ + ∂L/∂hₜ|ₜ₊₁
        d_h = cotangent_h + carry_h
        # ∂L/∂a_hₜ = ∂L/∂hₜ ∘ (1 − hₜ²)
        d_a_h = d_a_h_all[t] = d_h * (1 - h**2)
        # ∂L/∂hₜ₋₁|ₜ = Uᵀ ∂L/∂a_hₜ
        carry_h = U.T @ d_a_h
    # ∂L/∂xₜ = Wᵀ ∂L/∂a_hₜ
    d_x_all = W.T @ d_a_h_all
    # ∂L/∂W = Σₜ ∂L/∂a_hₜ xₜᵀ
    d_W = np.tensordot(d_a_h_all, x_all, ([0, 2], [0, 2]))
    # ∂L/∂U = Σₜ ∂L/∂a_hₜ hₜ₋₁ᵀ
    d_U = np.tensordot(d_a_h_all, h_all[:-1], ([0, 2], [0, 2]))
    # ∂L/∂b = Σₜ ∂L/∂a_hₜ
    d_b = d_a_h_all.sum(axis=(0, 2))[:, None]
    return Gradients(
        parameters={
            "W": d_W,
            "U": d_U,
            "b": d_b[:, 0],
        },
        inputs={"x": _batch_first(d_x_all)},
        state={"h": carry_h.T.copy()},
    )


def jvp(parameters, inputs, state, tangent_parameters, tangent_inputs, tangent_state):
    """Forward mode: how every state and output moves, {name: (T, B, n)}, when the arguments move along the tangents.

    state None is zeros, tangent_state None and a missing tangent are zero.
    Raises ValueError on a name, shape or dtype that doesn't fit.
    """
    _, tape = forward(parameters, inputs, state)
    _names("jvp", "tangent_parameters", tangent_parameters, PARAMETERS, complete=False)
    _names("jvp", "tangent_inputs", tangent_inputs, INPUTS, complete=False)
    _names("jvp", "tangent_state", {} if tangent_state is None else tangent_state, STATES, complete=False)
    sizes, dtype = tape.sizes, tape.dtype
    T, B, H = (sizes[name] for name in ("T", "B", "H"))
    W = parameters["W"]
    U = parameters["U"]
    x_all = tape.x
    h_all = tape.h
    dot_W = _direction("jvp", tangent_parameters, "W", PARAMETERS["W"], sizes, dtype)
    dot_U = _direction("jvp", tangent_parameters, "U", PARAMETERS["U"], sizes, dtype)
    dot_b = _direction("jvp", tangent_parameters, "b", PARAMETERS["b"], sizes, dtype)
    dot_x_all = _sequence("jvp", "tangent_inputs", tangent_inputs, "x", INPUTS["x"], sizes, dtype)
    # ȧ_h_inₜ = Ẇ xₜ + W ẋₜ + U̇ hₜ₋₁ + ḃ
    dot_a_h_in_all = dot_W @ x_all + W @ dot_x_all + dot_U @ h_all[:-1] + dot_b
    dot_h_all = np.empty((T + 1, H, B), dtype)
    dot_h_all[0] = _state("jvp", "tangent_state", tangent_state, "h", STATES["h"], sizes, dtype)
    for t in range(T):
        dot_a_h_in = dot_a_h_in_all[t]
        dot_h_prev = dot_h_all[t]
        h = h_all[t + 1]
        # ȧ_hₜ = ȧ_h_inₜ + U ḣₜ₋₁
        dot_a_h = dot_a_h_in + U @ dot_h_prev
        # ḣₜ = (1 − hₜ²) ∘ ȧ_hₜ
        dot_h = dot_h_all[t + 1] = (1 - h**2) * dot_a_h
    return {"h": _batch_first(dot_h_all[1:])}


def step_jacobian(parameters, tape):
    """d(all states after step t) / d(all states before it), (T, B, S, S), states in the order of STATES.

    Raises ValueError on a tape that isn't forward's.
    """
    _taped("step_jacobian", parameters, tape)
    sizes, dtype = tape.sizes, tape.dtype
    T, B, H = (sizes[name] for name in ("T", "B", "H"))
    U = parameters["U"]
    h = tape.h[1:].transpose(0, 2, 1)
    # ∂hₜ/∂hₜ₋₁ = diag(1 − hₜ²) U
    d_h_d_h = (1 - h**2)[..., None] * U
    J = np.zeros((T, B, H, H), dtype)
    J[..., :H, :H] = d_h_d_h
    return J


# ---- what the functions return, and what they refuse


class Tape:
    """What forward keeps for backward, jvp and step_jacobian: arrays by name, opaque to the caller."""

    def __init__(self, sizes, dtype, **saved):
        self.sizes = sizes
        self.dtype = dtype
        self.__dict__.update(saved)


class Gradients:
    """.parameters, .inputs and .state (the initial state): name -> gradient, each array shaped as its primal."""

    def __init__(self, parameters, inputs, state):
        self.parameters = parameters
        self.inputs = inputs
        self.state = state


def _names(where, what, given, expected, complete=True):
    """Refuse a mapping that misses a name (unless it may) or holds one that the cell doesn't have."""
    if not hasattr(given, "keys"):
        raise ValueError(
            f"{where}: {what} is no mapping: expected name -> array, got {type(given).__name__}. Pass a dict."
        )
    missing = [name for name in expected if name not in given]
    unknown = [str(name) for name in given if name not in expected]
    if (missing and complete) or unknown:
        fault = f"missing {', '.join(missing)}" if missing and complete else f"unknown {', '.join(unknown)}"
        raise ValueError(
            f"{where}: {what}: {fault}: expected {', '.join(expected) or 'no names'}, "
            f"got {', '.join(map(str, given)) or 'no names'}. Use the names of the equations."
        )


def _array(where, label, array, dims, sizes, dtype):
    """Refuse an array of the wrong type, dtype or shape; sizes that are new are read from it."""
    if not isinstance(array, np.ndarray):
        raise ValueError(
            f"{where}: {label} is no array: expected a NumPy array, got {type(array).__name__}. Convert it with np.asarray."
        )
    if array.dtype not in _DTYPES:
        raise ValueError(
            f"{where}: {label}: wrong dtype: expected float32, float64 or complex128, got {array.dtype}. Convert it."
        )
    if array.dtype != dtype:
        raise ValueError(
            f"{where}: {label}: mixed dtypes: expected {dtype}, as the first array, got {array.dtype}. Convert one of them."
        )
    if array.ndim == len(dims):
        for dim, size in zip(dims, array.shape):
            if dim.isidentifier():
                sizes.setdefault(dim, size)
    if array.ndim != len(dims) or any(sizes.get(dim, size) != size for dim, size in zip(dims, array.shape)):
        expected = ", ".join(f"{dim} = {sizes[dim]}" if dim in sizes else dim for dim in dims)
        raise ValueError(
            f"{where}: {label}: wrong shape: expected ({expected}), got {array.shape}. "
            "Sizes come from the first array that has them."
        )


def _tables(where, parameters, inputs, state):
    """(label, array, dimension names) of every array of a call, the names of the mappings checked."""
    _names(where, "parameters", parameters, PARAMETERS)
    _names(where, "inputs", inputs, INPUTS)
    if state is not None:
        _names(where, "state", state, STATES)
    tables = [(f"parameters[{name!r}]", parameters[name], dims) for name, dims in PARAMETERS.items()]
    tables += [(f"inputs[{name!r}]", inputs[name], ("T", "B", *dims)) for name, dims in INPUTS.items()]
    if state is not None:
        tables += [(f"state[{name!r}]", state[name], ("B", *dims)) for name, dims in STATES.items()]
    return tables


def _sizes(where, parameters, inputs, state):
    """The sizes and the dtype of a call, read from its arrays, each of which is checked against the others."""
    tables = _tables(where, parameters, inputs, state)
    sizes = {}
    dtype = getattr(tables[0][1], "dtype", None)
    for label, array, dims in tables:
        _array(where, label, array, dims, sizes, dtype)
    for dim, parts in _COMPOUND.items():
        if all(part in sizes for part in parts):
            sizes[dim] = sum(times * sizes[part] for part, times in parts.items())
    for label, array, dims in tables:
        _array(where, label, array, dims, sizes, dtype)
    missing = [dim for dims in STATES.values() for dim in dims if dim not in sizes]
    if missing:
        raise ValueError(
            f"{where}: state: size unknown: expected an array that has dimension {missing[0]}, got none. Pass the state."
        )
    return sizes, dtype


def _taped(where, parameters, tape):
    """Refuse a tape that isn't this module's, and parameters that don't fit it."""
    if not isinstance(tape, Tape):
        raise ValueError(
            f"{where}: tape: wrong type: expected the tape that forward returned, got {type(tape).__name__}. Call forward first."
        )
    _names(where, "parameters", parameters, PARAMETERS)
    for name, dims in PARAMETERS.items():
        _array(where, f"parameters[{name!r}]", parameters[name], dims, tape.sizes, tape.dtype)


def _sequence(where, what, given, name, dims, sizes, dtype):
    """given[name] (T, B, n) with one column per example, (T, n, B); zeros where it is missing."""
    shape = [sizes[dim] for dim in ("T", "B", *dims)]
    if name not in given:
        return np.broadcast_to(dtype.type(0), (shape[0], shape[2], shape[1]))
    _array(where, f"{what}[{name!r}]", given[name], ("T", "B", *dims), sizes, dtype)
    return given[name].transpose(0, 2, 1)


def _state(where, what, given, name, dims, sizes, dtype):
    """given[name] (B, n) with one column per example, (n, B); zeros where it is missing."""
    if given is None or name not in given:
        return np.zeros((sizes[dims[0]], sizes["B"]), dtype)
    _array(where, f"{what}[{name!r}]", given[name], ("B", *dims), sizes, dtype)
    return given[name].T


def _direction(where, given, name, dims, sizes, dtype):
    """given[name], the tangent of a parameter (vectors as columns); zeros where it is missing."""
    shape = tuple(sizes[dim] for dim in dims)
    if name in given:
        _array(where, f"tangent_parameters[{name!r}]", given[name], dims, sizes, dtype)
    array = given[name] if name in given else np.zeros(shape, dtype)
    return array[:, None] if len(dims) == 1 else array


def _batch_first(sequence):
    """(T, n, B) as the contract has it, (T, B, n): a new array, which shares nothing with the tape."""
    return sequence.transpose(0, 2, 1).copy()


_DTYPES = (np.dtype(np.float32), np.dtype(np.float64), np.dtype(np.complex128))
_COMPOUND = {}
