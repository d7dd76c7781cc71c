# Emitted by `python -m derive gru`. Don't edit: change the equations and emit again.
#
#     z: zₜ = σ(W_z xₜ + U_z hₜ₋₁ + b_z)
#     r: rₜ = σ(W_r xₜ + U_r hₜ₋₁ + b_r)
#     h_tilde: h̃ₜ = tanh(W_h xₜ + U_h (rₜ ∘ hₜ₋₁) + b_h)
#     h: hₜ = (1 − zₜ) ∘ hₜ₋₁ + zₜ ∘ h̃ₜ
#
# equations  sha256 fea35bfe6991a57e
# derivation sha256 84735ce6edc08fb6
# body       sha256 c6fe462876f7c348
#
# per step and example:
#     forward  6 matrix products (3 D H + 3 H^2 multiply-adds), 14 H elementwise operations
#     backward 12 matrix products (6 D H + 6 H^2 multiply-adds), 19 H + 2 D elementwise operations
#     saved    5 H + D numbers: x, h, z, r, u_h_tilde, h_tilde
"""The cell `gru` and its gradients, in NumPy.

Inside, an array at one step has one column per example, (n, B), so that `W @ x` reads like the equation; `..._all` is the same
over time, (T, n, B), and of a state it starts with the initial one, (T + 1, n, B). `d_v` is dL/dv, `carry_h` the part of dL/dh
that comes from the next step, `dot_v` the tangent of v.
"""

import numpy as np

PARAMETERS = {
    "W_z": ("H", "D"),
    "U_z": ("H", "H"),
    "b_z": ("H",),
    "W_r": ("H", "D"),
    "U_r": ("H", "H"),
    "b_r": ("H",),
    "W_h": ("H", "D"),
    "U_h": ("H", "H"),
    "b_h": ("H",),
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
    U_h = parameters["U_h"]
    x_all = inputs["x"].transpose(0, 2, 1)
    # U_stack = [U_z; U_r]
    U_stack = np.concatenate([parameters[name] for name in ("U_z", "U_r")])
    # W_stack = [W_z; W_r; W_h]
    W_stack = np.concatenate([parameters[name] for name in ("W_z", "W_r", "W_h")])
    # b_stack = [b_z; b_r; b_h]
    b_stack = np.concatenate([parameters[name] for name in ("b_z", "b_r", "b_h")])[:, None]
    # a_stackₜ = W_stack xₜ + b_stack
    a_stack_all = W_stack @ x_all + b_stack
    z_all = np.empty((T, H, B), dtype)
    r_all = np.empty((T, H, B), dtype)
    u_h_tilde_all = np.empty((T, H, B), dtype)
    h_tilde_all = np.empty((T, H, B), dtype)
    h_all = np.empty((T + 1, H, B), dtype)
    h_all[0] = _state("forward", "state", state, "h", STATES["h"], sizes, dtype)
    for t in range(T):
        h_prev = h_all[t]
        a_stack = a_stack_all[t]
        # a_stack_2ₜ = U_stack hₜ₋₁
        a_stack_2 = U_stack @ h_prev
        # a_zₜ = a_stackₜ[0:H] + a_stack_2ₜ[0:H]
        a_z = a_stack[:H] + a_stack_2[:H]
        # zₜ = σ(a_zₜ)
        z = z_all[t] = sigma(a_z)
        # a_rₜ = a_stackₜ[H:2*H] + a_stack_2ₜ[H:2*H]
        a_r = a_stack[H:2 * H] + a_stack_2[H:2 * H]
        # rₜ = σ(a_rₜ)
        r = r_all[t] = sigma(a_r)
        # u_h̃ₜ = rₜ ∘ hₜ₋₁
        u_h_tilde = u_h_tilde_all[t] = r * h_prev
        # a_h̃ₜ = a_stackₜ[2*H:3*H] + U_h u_h̃ₜ
        a_h_tilde = a_stack[2 * H:3 * H] + U_h @ u_h_tilde
        # h̃ₜ = tanh(a_h̃ₜ)
        h_tilde = h_tilde_all[t] = np.tanh(a_h_tilde)
        # hₜ = (1 − zₜ) ∘ hₜ₋₁ + zₜ ∘ h̃ₜ
        h = h_all[t + 1] = (1 - z) * h_prev + z * h_tilde
    outputs = {"h": _batch_first(h_all[1:])}
    tape = Tape(sizes, dtype, x=x_all, h=h_all, z=z_all, r=r_all, u_h_tilde=u_h_tilde_all, h_tilde=h_tilde_all)
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
    U_h = parameters["U_h"]
    x_all = tape.x
    h_all = tape.h
    z_all = tape.z
    r_all = tape.r
    u_h_tilde_all = tape.u_h_tilde
    h_tilde_all = tape.h_tilde
    cotangent_h_all = _sequence("backward", "cotangents", cotangents, "h", STATES["h"], sizes, dtype)
    # U_stack = [U_z; U_r]
    U_stack = np.concatenate([parameters[name] for name in ("U_z", "U_r")])
    # W_stack = [W_z; W_r; W_h]
    W_stack = np.concatenate([parameters[name] for name in ("W_z", "W_r", "W_h")])
    d_a_h_tilde_all = np.empty((T, H, B), dtype)
    d_a_stack_all = np.empty((T, 3 * H, B), dtype)
    carry_h = np.zeros((H, B), dtype)
    for t in reversed(range(T)):
        cotangent_h = cotangent_h_all[t]
        z = z_all[t]
        h_tilde = h_tilde_all[t]
        h_prev = h_all[t]
        r = r_all[t]
        # ∂L/∂hₜ = ∂Lₜ/∂hₜ + ∂L/∂hₜ|ₜ₊₁
        d_h = cotangent_h + carry_h
        # ∂L/∂h̃ₜ = ∂L/∂hₜ ∘ zₜ
        d_h_tilde = d_h * z
        # ∂L/∂a_h̃ₜ = ∂L/∂h̃ₜ ∘ (1 − h̃ₜ²)
        d_a_h_tilde = d_a_h_tilde_all[t] = d_h_tilde * (1 - h_tilde**2)
        # ∂L/∂u_h̃ₜ = U_hᵀ ∂L/∂a_h̃ₜ
        d_u_h_tilde = U_h.T @ d_a_h_tilde
        # ∂L/∂rₜ = ∂L/∂u_h̃ₜ ∘ hₜ₋₁
        d_r = d_u_h_tilde * h_prev
        # ∂L/∂a_rₜ = ∂L/∂rₜ ∘ rₜ ∘ (1 − rₜ)
        d_a_r = d_r * r * (1 - r)
        # ∂L/∂zₜ = ∂L/∂hₜ ∘ (h̃ₜ − hₜ₋₁)
        d_z = d_h * (h_tilde - h_prev)
        # ∂L/∂a_zₜ = ∂L/∂zₜ ∘ zₜ ∘ (1 − zₜ)
        d_a_z = d_z * z * (1 - z)
        # ∂L/∂a_stackₜ = [∂L/∂a_zₜ; ∂L/∂a_rₜ; ∂L/∂a_h̃ₜ]
        d_a_stack = d_a_stack_all[t] = np.concatenate([d_a_z, d_a_r, d_a_h_tilde], axis=0)
        # ∂L/∂hₜ₋₁|ₜ = U_stackᵀ ∂L/∂a_stackₜ[0:2*H] + ∂L/∂u_h̃ₜ ∘ rₜ + ∂L/∂hₜ ∘ (1 − zₜ)
        carry_h = U_stack.T @ d_a_stack[:2 * H] + d_u_h_tilde * r + d_h * (1 - z)
    # ∂L/∂xₜ = W_stackᵀ ∂L/∂a_stackₜ
    d_x_all = W_stack.T @ d_a_stack_all
    # ∂L/∂U_h = Σₜ ∂L/∂a_h̃ₜ u_h̃ₜᵀ
    d_U_h = np.tensordot(d_a_h_tilde_all, u_h_tilde_all, ([0, 2], [0, 2]))
    # ∂L/∂W_stack = Σₜ ∂L/∂a_stackₜ xₜᵀ
    d_W_stack = np.tensordot(d_a_stack_all, x_all, ([0, 2], [0, 2]))
    # ∂L/∂U_stack = Σₜ ∂L/∂a_stackₜ[0:2*H] hₜ₋₁ᵀ
    d_U_stack = np.tensordot(d_a_stack_all[:, :2 * H], h_all[:-1], ([0, 2], [0, 2]))
    # ∂L/∂b_stack = Σₜ ∂L/∂a_stackₜ
    d_b_stack = d_a_stack_all.sum(axis=(0, 2))[:, None]
    return Gradients(
        parameters={
            "W_z": d_W_stack[:H],
            "U_z": d_U_stack[:H],
            "b_z": d_b_stack[:H, 0],
            "W_r": d_W_stack[H:2 * H],
            "U_r": d_U_stack[H:2 * H],
            "b_r": d_b_stack[H:2 * H, 0],
            "W_h": d_W_stack[2 * H:3 * H],
            "U_h": d_U_h,
            "b_h": d_b_stack[2 * H:3 * H, 0],
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
    U_h = parameters["U_h"]
    x_all = tape.x
    h_all = tape.h
    z_all = tape.z
    r_all = tape.r
    u_h_tilde_all = tape.u_h_tilde
    h_tilde_all = tape.h_tilde
    dot_W_z = _direction("jvp", tangent_parameters, "W_z", PARAMETERS["W_z"], sizes, dtype)
    dot_U_z = _direction("jvp", tangent_parameters, "U_z", PARAMETERS["U_z"], sizes, dtype)
    dot_b_z = _direction("jvp", tangent_parameters, "b_z", PARAMETERS["b_z"], sizes, dtype)
    dot_W_r = _direction("jvp", tangent_parameters, "W_r", PARAMETERS["W_r"], sizes, dtype)
    dot_U_r = _direction("jvp", tangent_parameters, "U_r", PARAMETERS["U_r"], sizes, dtype)
    dot_b_r = _direction("jvp", tangent_parameters, "b_r", PARAMETERS["b_r"], sizes, dtype)
    dot_W_h = _direction("jvp", tangent_parameters, "W_h", PARAMETERS["W_h"], sizes, dtype)
    dot_U_h = _direction("jvp", tangent_parameters, "U_h", PARAMETERS["U_h"], sizes, dtype)
    dot_b_h = _direction("jvp", tangent_parameters, "b_h", PARAMETERS["b_h"], sizes, dtype)
    dot_x_all = _sequence("jvp", "tangent_inputs", tangent_inputs, "x", INPUTS["x"], sizes, dtype)
    # U̇_stack = [U̇_z; U̇_r]
    dot_U_stack = np.concatenate([dot_U_z, dot_U_r], axis=0)
    # U_stack = [U_z; U_r]
    U_stack = np.concatenate([parameters[name] for name in ("U_z", "U_r")])
    # Ẇ_stack = [Ẇ_z; Ẇ_r; Ẇ_h]
    dot_W_stack = np.concatenate([dot_W_z, dot_W_r, dot_W_h], axis=0)
    # W_stack = [W_z; W_r; W_h]
    W_stack = np.concatenate([parameters[name] for name in ("W_z", "W_r", "W_h")])
    # ḃ_stack = [ḃ_z; ḃ_r; ḃ_h]
    dot_b_stack = np.concatenate([dot_b_z, dot_b_r, dot_b_h], axis=0)
    # ȧ_stackₜ = Ẇ_stack xₜ + W_stack ẋₜ + ḃ_stack
    dot_a_stack_all = dot_W_stack @ x_all + W_stack @ dot_x_all + dot_b_stack
    # ȧ_stack_2_inₜ = U̇_stack hₜ₋₁
    dot_a_stack_2_in_all = dot_U_stack @ h_all[:-1]
    # ȧ_h̃_inₜ = ȧ_stackₜ[2*H:3*H] + U̇_h u_h̃ₜ
    dot_a_h_tilde_in_all = dot_a_stack_all[:, 2 * H:3 * H] + dot_U_h @ u_h_tilde_all
    dot_h_all = np.empty((T + 1, H, B), dtype)
    dot_h_all[0] = _state("jvp", "tangent_state", tangent_state, "h", STATES["h"], sizes, dtype)
    for t in range(T):
        dot_a_stack_2_in = dot_a_stack_2_in_all[t]
        dot_h_prev = dot_h_all[t]
        dot_a_stack = dot_a_stack_all[t]
        z = z_all[t]
        r = r_all[t]
        h_prev = h_all[t]
        dot_a_h_tilde_in = dot_a_h_tilde_in_all[t]
        h_tilde = h_tilde_all[t]
        # ȧ_stack_2ₜ = ȧ_stack_2_inₜ + U_stack ḣₜ₋₁
        dot_a_stack_2 = dot_a_stack_2_in + U_stack @ dot_h_prev
        # ȧ_zₜ = ȧ_stackₜ[0:H] + ȧ_stack_2ₜ[0:H]
        dot_a_z = dot_a_stack[:H] + dot_a_stack_2[:H]
        # żₜ = zₜ ∘ (1 − zₜ) ∘ ȧ_zₜ
        dot_z = z * (1 - z) * dot_a_z
        # ȧ_rₜ = ȧ_stackₜ[H:2*H] + ȧ_stack_2ₜ[H:2*H]
        dot_a_r = dot_a_stack[H:2 * H] + dot_a_stack_2[H:2 * H]
        # ṙₜ = rₜ ∘ (1 − rₜ) ∘ ȧ_rₜ
        dot_r = r * (1 - r) * dot_a_r
        # u̇_h̃ₜ = ṙₜ ∘ hₜ₋₁ + rₜ ∘ ḣₜ₋₁
        dot_u_h_tilde = dot_r * h_prev + r * dot_h_prev
        # ȧ_h̃ₜ = ȧ_h̃_inₜ + U_h u̇_h̃ₜ
        dot_a_h_tilde = dot_a_h_tilde_in + U_h @ dot_u_h_tilde
        # h̃̇ₜ = (1 − h̃ₜ²) ∘ ȧ_h̃ₜ
        dot_h_tilde = (1 - h_tilde**2) * dot_a_h_tilde
        # ḣₜ = −żₜ ∘ hₜ₋₁ + (1 − zₜ) ∘ ḣₜ₋₁ + żₜ ∘ h̃ₜ + zₜ ∘ h̃̇ₜ
        dot_h = dot_h_all[t + 1] = -dot_z * h_prev + (1 - z) * dot_h_prev + dot_z * h_tilde + z * dot_h_tilde
    return {"h": _batch_first(dot_h_all[1:])}


def step_jacobian(parameters, tape):
    """d(all states after step t) / d(all states before it), (T, B, S, S), states in the order of STATES.

    Raises ValueError on a tape that isn't forward's.
    """
    _taped("step_jacobian", parameters, tape)
    sizes, dtype = tape.sizes, tape.dtype
    T, B, H = (sizes[name] for name in ("T", "B", "H"))
    U_z = parameters["U_z"]
    U_r = parameters["U_r"]
    U_h = parameters["U_h"]
    h_prev = tape.h[:-1].transpose(0, 2, 1)
    z = tape.z.transpose(0, 2, 1)
    r = tape.r.transpose(0, 2, 1)
    h_tilde = tape.h_tilde.transpose(0, 2, 1)
    # ∂zₜ/∂hₜ₋₁ = diag(zₜ ∘ (1 − zₜ)) U_z
    d_z_d_h = (z * (1 - z))[..., None] * U_z
    # ∂rₜ/∂hₜ₋₁ = diag(rₜ ∘ (1 − rₜ)) U_r
    d_r_d_h = (r * (1 - r))[..., None] * U_r
    # ∂u_h̃ₜ/∂hₜ₋₁ = diag(hₜ₋₁) ∂rₜ/∂hₜ₋₁ + diag(rₜ)
    d_u_h_tilde_d_h = h_prev[..., None] * d_r_d_h + r[..., None] * np.eye(H, dtype=dtype)
    # ∂h̃ₜ/∂hₜ₋₁ = diag(1 − h̃ₜ²) U_h ∂u_h̃ₜ/∂hₜ₋₁
    d_h_tilde_d_h = (1 - h_tilde**2)[..., None] * (U_h @ d_u_h_tilde_d_h)
    # ∂hₜ/∂hₜ₋₁ = −diag(hₜ₋₁) ∂zₜ/∂hₜ₋₁ + diag(1 − zₜ) + diag(h̃ₜ) ∂zₜ/∂hₜ₋₁ + diag(zₜ) ∂h̃ₜ/∂hₜ₋₁
    d_h_d_h = -h_prev[..., None] * d_z_d_h + (1 - z)[..., None] * np.eye(H, dtype=dtype) + h_tilde[..., None] * d_z_d_h + z[..., None] * d_h_tilde_d_h
    J = np.zeros((T, B, H, H), dtype)
    J[..., :H, :H] = d_h_d_h
    return J


def sigma(z):
    """The logistic function, in a form that can't overflow."""
    return 0.5 * (1 + np.tanh(0.5 * z))


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
