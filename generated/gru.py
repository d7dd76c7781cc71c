# Emitted by `python -m derive gru`. Don't edit: change the equations and emit again.
#
#     z: zₜ = σ(W_z xₜ + U_z hₜ₋₁ + b_z)
#     r: rₜ = σ(W_r xₜ + U_r hₜ₋₁ + b_r)
#     h_tilde: h̃ₜ = tanh(W_h xₜ + U_h (rₜ ∘ hₜ₋₁) + b_h)
#     h: hₜ = (1 − zₜ) ∘ hₜ₋₁ + zₜ ∘ h̃ₜ
#
# equations  sha256 fea35bfe6991a57e
# derivation sha256 84735ce6edc08fb6
# body       sha256 978bd9eca82a26fe
# header     sha256 0439ee13c487180b
#
# per step and example:
#     forward  6 matrix products (3 D H + 3 H^2 multiply-adds), 14 H elementwise operations
#     backward 12 matrix products (6 D H + 6 H^2 multiply-adds), 19 H + 2 D elementwise operations
#     saved    5 H numbers: h, z, r, u_h_tilde, h_tilde
# fmt: off
"""The cell `gru` and its gradients, in NumPy.

In `forward` and `backward` an array at one step has one row per example, (B, n), as the caller's have, so that `W x` reads
`x @ W.T`; `..._all` is the same over time, (T, B, n), and of a state it starts with the initial one, (T + 1, B, n). A stack of
k gates that no product reads has them one after the other, (k, B, n). `d_v` is dL/dv, `carry_h` the part of dL/dh
that comes from the next step, `dot_v` the tangent of v, `k_v` what multiplies a gradient on its way to v.
In the loops each call writes into its last argument. The arrays, and the views of them at each step, are made once, by
`_Forward` and `_Backward`; names that stand for parts of one array, or for one array before and after a step, share its memory.
In `jvp` an array at one step has one column per example, (n, B), so that `W @ x` reads like the equation; `..._all` is the same
over time, (T, n, B), and of a state it starts with the initial one, (T + 1, n, B).
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


def forward(parameters, inputs, state=None, *, workspace=None, checkpoint_every=None):
    """Run the cell over all steps.

    parameters {name: array}, inputs {name: (T, B, n)}, state {name: (B, n)}, None for zeros.
    Returns outputs {name: (T, B, n)} of every state and output, and the tape that backward reads.
    With a workspace its arrays are reused: outputs and tape live until the next forward with it. checkpoint_every=k keeps the
    states every k steps only; backward computes the steps between again, with the same gradients up to the order of summation,
    and neither call uses the workspace.
    Raises ValueError on a name, shape or dtype that doesn't fit.
    """
    _usable("forward", workspace)
    sizes, dtype = _sizes("forward", parameters, inputs, state)
    if checkpoint_every is not None:
        return _checkpointed(parameters, inputs, state, checkpoint_every, sizes, dtype)
    m = _arrays(workspace, _Forward, sizes, dtype)
    T, B, H = (sizes[name] for name in ("T", "B", "H"))
    U_h = parameters["U_h"]
    x_all = inputs["x"]
    # W_stack = [W_z_half; W_r_half; W_h]
    W_stack = m.W_stack
    np.multiply(parameters["W_z"], 0.5, out=W_stack[:H])
    np.multiply(parameters["W_r"], 0.5, out=W_stack[H:2 * H])
    W_stack[2 * H:3 * H] = parameters["W_h"]
    # b_stack = [b_z_half; b_r_half; b_h]
    b_stack = m.b_stack
    np.multiply(parameters["b_z"][:, None], 0.5, out=b_stack[:H])
    np.multiply(parameters["b_r"][:, None], 0.5, out=b_stack[H:2 * H])
    b_stack[2 * H:3 * H] = parameters["b_h"][:, None]
    # U_stack = [U_z_half; U_r_half]
    U_stack = m.U_stack
    np.multiply(parameters["U_z"], 0.5, out=U_stack[:H])
    np.multiply(parameters["U_r"], 0.5, out=U_stack[H:2 * H])
    m.h_all[0] = _state("forward", "state", state, "h", STATES["h"], sizes, dtype)
    add, dot, multiply, subtract, tanh = np.add, np.dot, np.multiply, np.subtract, np.tanh
    half = np.array(0.5, dtype)
    a_stack_2 = m.a_stack_2
    a_stack_2_by_2 = m.a_stack_2.reshape(B, 2, H).transpose(1, 0, 2)
    for start in range(0, T, m.block):
        stop = min(T, start + m.block)
        n = stop - start
        # a_stackₜ = W_stack xₜ + b_stack
        _product(x_all[start:stop], W_stack.T, out=m.a_stack_all[:n])
        np.add(m.a_stack_all[:n], b_stack.T, out=m.a_stack_all[:n])
        for (a_stack_part_by_2, a_stack_part_2), (h_prev, z_r, z, r, u_h_tilde, h_tilde, h) in zip(m.ahead, m.steps[start:stop]):
            # a_stack_2ₜ = U_stack hₜ₋₁
            dot(h_prev, U_stack.T, a_stack_2)
            # a_stack_3ₜ = a_stackₜ[0:2*H] + a_stack_2ₜ
            add(a_stack_part_by_2, a_stack_2_by_2, z_r)
            # tanh_a_stackₜ = tanh(a_stack_3ₜ)
            tanh(z_r, z_r)
            # z_rₜ = 0.5 + 0.5 tanh_a_stackₜ
            multiply(z_r, half, z_r)
            add(z_r, half, z_r)
            # zₜ = z_rₜ[0:H]
            # rₜ = z_rₜ[H:2*H]
            # u_h̃ₜ = rₜ ∘ hₜ₋₁
            multiply(r, h_prev, u_h_tilde)
            # a_h̃ₜ = a_stackₜ[2*H:3*H] + U_h u_h̃ₜ
            dot(u_h_tilde, U_h.T, h_tilde)
            add(h_tilde, a_stack_part_2, h_tilde)
            # h̃ₜ = tanh(a_h̃ₜ)
            tanh(h_tilde, h_tilde)
            # hₜ = hₜ₋₁ + zₜ ∘ (h̃ₜ − hₜ₋₁)
            subtract(h_tilde, h_prev, h)
            multiply(h, z, h)
            add(h, h_prev, h)
    np.copyto(m.h_out, m.h_all[1:])
    outputs = {"h": m.h_out}
    tape = Tape(
        sizes,
        dtype,
        x=x_all,
        h=m.h_all,
        z=m.a_stack_3_all[:, 0],
        r=m.a_stack_3_all[:, 1],
        u_h_tilde=m.u_h_tilde_all,
        h_tilde=m.a_h_tilde_all,
    )
    return outputs, tape


def backward(parameters, tape, cotangents, *, workspace=None):
    """Gradients of L, given dL/d(state or output) at every step, directly.

    cotangents {name: (T, B, n)}; a missing one counts as zero.
    Returns Gradients: .parameters, .inputs, .state (of the initial state), each array shaped as its primal.
    With a workspace its arrays are reused: gradients live until the next backward with it.
    Raises ValueError on a name, shape or dtype that doesn't fit.
    """
    _usable("backward", workspace)
    _taped("backward", parameters, tape)
    _names("backward", "cotangents", cotangents, {**STATES, **OUTPUTS}, complete=False)
    sizes, dtype = tape.sizes, tape.dtype
    if tape.segments is not None:
        return _backward_by_segments(parameters, tape, cotangents)
    m = _arrays(workspace, _Backward, sizes, dtype)
    T, B, D, H = (sizes[name] for name in ("T", "B", "D", "H"))
    U_h = parameters["U_h"]
    cotangent_h_all = _sequence("backward", "cotangents", cotangents, "h", STATES["h"], sizes, dtype)
    # U_stack = [U_r; U_z]
    U_stack = m.U_stack
    U_stack[:H] = parameters["U_r"]
    U_stack[H:2 * H] = parameters["U_z"]
    # W_stack = [W_r; W_z; W_h]
    W_stack = m.W_stack
    W_stack[:H] = parameters["W_r"]
    W_stack[H:2 * H] = parameters["W_z"]
    W_stack[2 * H:3 * H] = parameters["W_h"]
    m.carry_h[...] = 0
    add, dot, multiply = np.add, np.dot, np.multiply
    carry_h = m.carry_h
    d_h = m.d_h
    d_u_h_tilde = m.d_u_h_tilde
    buffer_2 = m.buffer_2
    buffer_3 = m.buffer_3
    for stop in range(T, 0, -m.block):
        start = max(0, stop - m.block)
        n = stop - start
        z_all = tape.z[start:stop]
        h_tilde_all = tape.h_tilde[start:stop]
        u_h_tilde_all = tape.u_h_tilde[start:stop]
        r_all = tape.r[start:stop]
        h_prev_all = tape.h[start:stop]
        x_all = tape.x[start:stop]
        np.copyto(m.cotangent_h_all[:n], cotangent_h_all[start:stop])
        # k_a_h̃ₜ = zₜ ∘ (1 − h̃ₜ²)
        np.multiply(h_tilde_all, h_tilde_all, out=m.k_a_stack_all[:n, 1])
        np.subtract(1, m.k_a_stack_all[:n, 1], out=m.k_a_stack_all[:n, 1])
        np.multiply(m.k_a_stack_all[:n, 1], z_all, out=m.k_a_stack_all[:n, 1])
        # k_a_rₜ = u_h̃ₜ ∘ (1 − rₜ)
        np.subtract(1, r_all, out=m.k_a_r_all[:n])
        np.multiply(m.k_a_r_all[:n], u_h_tilde_all, out=m.k_a_r_all[:n])
        # k_a_zₜ = (h̃ₜ − hₜ₋₁) ∘ zₜ ∘ (1 − zₜ)
        np.subtract(h_tilde_all, h_prev_all, out=m.k_a_stack_all[:n, 0])
        np.multiply(m.k_a_stack_all[:n, 0], z_all, out=m.k_a_stack_all[:n, 0])
        np.subtract(1, z_all, out=m.buffer_1[:n])
        np.multiply(m.k_a_stack_all[:n, 0], m.buffer_1[:n], out=m.k_a_stack_all[:n, 0])
        # k_hₜ = rₜ
        m.k_h_all[:n][...] = r_all
        # k_h_2ₜ = 1 − zₜ
        np.subtract(1, z_all, out=m.k_h_2_all[:n])
        # k_a_stackₜ = [k_a_zₜ; k_a_h̃ₜ]
        for (
            cotangent_h, d_a_stack_2_by_2, k_a_stack, d_a_stack_part, d_a_r, k_a_r, d_a_stack_part_2, k_h, k_h_2,
        ) in reversed(m.steps[:n]):
            # ∂L/∂hₜ = ∂Lₜ/∂hₜ + ∂L/∂hₜ|ₜ₊₁
            add(cotangent_h, carry_h, d_h)
            # ∂L/∂a_stack_2ₜ = [∂L/∂hₜ; ∂L/∂hₜ] ∘ k_a_stackₜ
            multiply(d_h, k_a_stack, d_a_stack_2_by_2)
            # ∂L/∂u_h̃ₜ = U_hᵀ ∂L/∂a_stack_2ₜ[H:2*H]
            dot(d_a_stack_part, U_h, d_u_h_tilde)
            # ∂L/∂a_rₜ = ∂L/∂u_h̃ₜ ∘ k_a_rₜ
            multiply(d_u_h_tilde, k_a_r, d_a_r)
            # ∂L/∂a_stackₜ = [∂L/∂a_rₜ; ∂L/∂a_stack_2ₜ]
            # ∂L/∂hₜ₋₁|ₜ = U_stackᵀ ∂L/∂a_stackₜ[0:2*H] + ∂L/∂u_h̃ₜ ∘ k_hₜ + ∂L/∂hₜ ∘ k_h_2ₜ
            dot(d_a_stack_part_2, U_stack, carry_h)
            multiply(d_u_h_tilde, k_h, buffer_2)
            add(carry_h, buffer_2, carry_h)
            multiply(d_h, k_h_2, buffer_3)
            add(carry_h, buffer_3, carry_h)
        d_a_stack_flat = m.d_a_stack_all[:n].reshape(n * B, 3 * H)
        u_h_tilde_flat = u_h_tilde_all.reshape(n * B, H)
        x_flat = x_all.reshape(n * B, D)
        h_prev_flat = h_prev_all.reshape(n * B, H)
        # ∂L/∂xₜ = W_stackᵀ ∂L/∂a_stackₜ
        np.matmul(d_a_stack_flat, W_stack, out=m.d_x_out[start:stop].reshape(n * B, D))
        # ∂L/∂U_h = Σₜ ∂L/∂a_stack_2ₜ[H:2*H] u_h̃ₜᵀ
        _add(m.d_U_h, d_a_stack_flat[:, 2 * H:3 * H].T, u_h_tilde_flat, stop == T)
        # ∂L/∂W_stack = Σₜ ∂L/∂a_stackₜ xₜᵀ
        _add(m.d_W_stack, d_a_stack_flat.T, x_flat, stop == T)
        # ∂L/∂U_stack = Σₜ ∂L/∂a_stackₜ[0:2*H] hₜ₋₁ᵀ
        _add(m.d_U_stack, d_a_stack_flat[:, :2 * H].T, h_prev_flat, stop == T)
        # ∂L/∂b_stack = Σₜ ∂L/∂a_stackₜ
        _add(m.d_b_stack, d_a_stack_flat.T, np.ones((n * B, 1), dtype), stop == T)
    if T == 0:
        for total in (m.d_U_h, m.d_W_stack, m.d_U_stack, m.d_b_stack,):
            total[...] = 0
    return Gradients(
        parameters={
            "W_z": m.d_W_stack[H:2 * H],
            "U_z": m.d_U_stack[H:2 * H],
            "b_z": m.d_b_stack[H:2 * H, 0],
            "W_r": m.d_W_stack[:H],
            "U_r": m.d_U_stack[:H],
            "b_r": m.d_b_stack[:H, 0],
            "W_h": m.d_W_stack[2 * H:3 * H],
            "U_h": m.d_U_h,
            "b_h": m.d_b_stack[2 * H:3 * H, 0],
        },
        inputs={"x": m.d_x_out},
        state={"h": m.carry_h.copy()},
    )


def jvp(parameters, inputs, state, tangent_parameters, tangent_inputs, tangent_state):
    """Forward mode: how every state and output moves, {name: (T, B, n)}, when the arguments move along the tangents.

    state None is zeros, tangent_state None and a missing tangent are zero.
    Raises ValueError on a name, shape or dtype that doesn't fit.
    """
    _sizes("jvp", parameters, inputs, state)
    _, tape = forward(parameters, inputs, state)
    _names("jvp", "tangent_parameters", tangent_parameters, PARAMETERS, complete=False)
    _names("jvp", "tangent_inputs", tangent_inputs, INPUTS, complete=False)
    _names("jvp", "tangent_state", {} if tangent_state is None else tangent_state, STATES, complete=False)
    sizes, dtype = tape.sizes, tape.dtype
    T, B, H = (sizes[name] for name in ("T", "B", "H"))
    U_h = parameters["U_h"]
    x_all = tape.x.transpose(0, 2, 1)
    h_all = tape.h.transpose(0, 2, 1)
    z_all = tape.z.transpose(0, 2, 1)
    r_all = tape.r.transpose(0, 2, 1)
    u_h_tilde_all = tape.u_h_tilde.transpose(0, 2, 1)
    h_tilde_all = tape.h_tilde.transpose(0, 2, 1)
    dot_W_z = _direction("jvp", tangent_parameters, "W_z", PARAMETERS["W_z"], sizes, dtype)
    dot_U_z = _direction("jvp", tangent_parameters, "U_z", PARAMETERS["U_z"], sizes, dtype)
    dot_b_z = _direction("jvp", tangent_parameters, "b_z", PARAMETERS["b_z"], sizes, dtype)
    dot_W_r = _direction("jvp", tangent_parameters, "W_r", PARAMETERS["W_r"], sizes, dtype)
    dot_U_r = _direction("jvp", tangent_parameters, "U_r", PARAMETERS["U_r"], sizes, dtype)
    dot_b_r = _direction("jvp", tangent_parameters, "b_r", PARAMETERS["b_r"], sizes, dtype)
    dot_W_h = _direction("jvp", tangent_parameters, "W_h", PARAMETERS["W_h"], sizes, dtype)
    dot_U_h = _direction("jvp", tangent_parameters, "U_h", PARAMETERS["U_h"], sizes, dtype)
    dot_b_h = _direction("jvp", tangent_parameters, "b_h", PARAMETERS["b_h"], sizes, dtype)
    dot_x_all = _sequence("jvp", "tangent_inputs", tangent_inputs, "x", INPUTS["x"], sizes, dtype).transpose(0, 2, 1)
    # Ẇ_stack = [Ẇ_z; Ẇ_r; Ẇ_h]
    dot_W_stack = np.concatenate([dot_W_z, dot_W_r, dot_W_h], axis=0)
    # W_stack = [W_z; W_r; W_h]
    W_stack = np.concatenate([parameters[name] for name in ("W_z", "W_r", "W_h")])
    # ḃ_stack = [ḃ_z; ḃ_r; ḃ_h]
    dot_b_stack = np.concatenate([dot_b_z, dot_b_r, dot_b_h], axis=0)
    # U̇_stack = [U̇_z; U̇_r]
    dot_U_stack = np.concatenate([dot_U_z, dot_U_r], axis=0)
    # U_stack = [U_z; U_r]
    U_stack = np.concatenate([parameters[name] for name in ("U_z", "U_r")])
    # ȧ_stackₜ = Ẇ_stack xₜ + W_stack ẋₜ + ḃ_stack
    dot_a_stack_all = dot_W_stack @ x_all + W_stack @ dot_x_all + dot_b_stack
    # ȧ_stack_2_inₜ = U̇_stack hₜ₋₁
    dot_a_stack_2_in_all = dot_U_stack @ h_all[:-1]
    # ȧ_h̃_inₜ = ȧ_stackₜ[2*H:3*H] + U̇_h u_h̃ₜ
    dot_a_h_tilde_in_all = dot_a_stack_all[:, 2 * H:3 * H] + dot_U_h @ u_h_tilde_all
    dot_h_all = np.empty((T + 1, H, B), dtype)
    dot_h_all[0] = _state("jvp", "tangent_state", tangent_state, "h", STATES["h"], sizes, dtype).T
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
        dot_h_all[t + 1] = -dot_z * h_prev + (1 - z) * dot_h_prev + dot_z * h_tilde + z * dot_h_tilde
    return {"h": _batch_first(dot_h_all[1:])}


def step_jacobian(parameters, tape):
    """d(all states after step t) / d(all states before it), (T, B, S, S), states in the order of STATES.

    Raises ValueError on a tape that isn't forward's.
    """
    _taped("step_jacobian", parameters, tape)
    sizes, dtype = tape.sizes, tape.dtype
    if tape.segments is not None:
        return _jacobian_by_segments(parameters, tape)
    T, B, H = (sizes[name] for name in ("T", "B", "H"))
    U_z = parameters["U_z"]
    U_r = parameters["U_r"]
    U_h = parameters["U_h"]
    h_prev = tape.h[:-1]
    z = tape.z
    r = tape.r
    h_tilde = tape.h_tilde
    # ∂zₜ/∂hₜ₋₁ = diag(zₜ ∘ (1 − zₜ)) U_z
    d_z_d_h = (z * (1 - z))[..., None] * U_z
    # ∂rₜ/∂hₜ₋₁ = diag(rₜ ∘ (1 − rₜ)) U_r
    d_r_d_h = (r * (1 - r))[..., None] * U_r
    # ∂u_h̃ₜ/∂hₜ₋₁ = diag(hₜ₋₁) ∂rₜ/∂hₜ₋₁ + diag(rₜ)
    d_u_h_tilde_d_h = h_prev[..., None] * d_r_d_h + r[..., None] * np.eye(H, dtype=dtype)
    # ∂h̃ₜ/∂hₜ₋₁ = diag(1 − h̃ₜ²) U_h ∂u_h̃ₜ/∂hₜ₋₁
    d_h_tilde_d_h = (1 - h_tilde**2)[..., None] * (U_h @ d_u_h_tilde_d_h)
    # ∂hₜ/∂hₜ₋₁ = −diag(hₜ₋₁) ∂zₜ/∂hₜ₋₁ + diag(1 − zₜ) + diag(h̃ₜ) ∂zₜ/∂hₜ₋₁ + diag(zₜ) ∂h̃ₜ/∂hₜ₋₁
    d_h_d_h = (
        -h_prev[..., None] * d_z_d_h
        + (1 - z)[..., None] * np.eye(H, dtype=dtype)
        + h_tilde[..., None] * d_z_d_h
        + z[..., None] * d_h_tilde_d_h
    )
    J = np.zeros((T, B, H, H), dtype)
    J[..., :H, :H] = d_h_d_h
    return J


class _Forward:
    """The arrays of a forward pass, and the views of each step, made once."""

    def __init__(self, sizes, dtype):
        T, B, D, H = (sizes[name] for name in ("T", "B", "D", "H"))
        self.block = max(1, min(T, BLOCK // max(1, B), max(128 // max(1, B), T // 4)))
        self.U_stack = np.empty((2 * H, H), dtype)
        self.W_stack = np.empty((3 * H, D), dtype)
        self.a_h_tilde_all = np.empty((T, B, H), dtype)
        self.a_stack_2 = np.empty((B, 2 * H), dtype)
        self.a_stack_3_all = np.empty((T, 2, B, H), dtype)
        self.a_stack_all = np.empty((self.block, B, 3 * H), dtype)
        self.b_stack = np.empty((3 * H, 1), dtype)
        self.h_all = np.empty((T + 1, B, H), dtype)
        self.h_out = np.empty((T, B, H), dtype)
        self.u_h_tilde_all = np.empty((T, B, H), dtype)
        self.ahead = list(
            zip(
                self.a_stack_all[..., :2 * H].reshape(self.block, B, 2, H).transpose(0, 2, 1, 3),
                self.a_stack_all[..., 2 * H:3 * H],
            )
        )
        self.steps = list(
            zip(
                self.h_all[:-1],
                self.a_stack_3_all,
                self.a_stack_3_all[:, 0],
                self.a_stack_3_all[:, 1],
                self.u_h_tilde_all,
                self.a_h_tilde_all,
                self.h_all[1:],
            )
        )


class _Backward:
    """The arrays of a backward pass over blocks of steps, and the views of each step, made once."""

    def __init__(self, sizes, dtype):
        T, B, D, H = (sizes[name] for name in ("T", "B", "D", "H"))
        self.block = max(1, min(T, BLOCK // max(1, B), max(128 // max(1, B), T // 4)))
        self.U_stack = np.empty((2 * H, H), dtype)
        self.W_stack = np.empty((3 * H, D), dtype)
        self.buffer_1 = np.empty((self.block, B, H), dtype)
        self.buffer_2 = np.empty((B, H), dtype)
        self.buffer_3 = np.empty((B, H), dtype)
        self.carry_h = np.empty((B, H), dtype)
        self.cotangent_h_all = np.empty((self.block, B, H), dtype)
        self.d_U_h = np.empty((H, H), dtype)
        self.d_U_stack = np.empty((2 * H, H), dtype)
        self.d_W_stack = np.empty((3 * H, D), dtype)
        self.d_a_stack_all = np.empty((self.block, B, 3 * H), dtype)
        self.d_b_stack = np.empty((3 * H, 1), dtype)
        self.d_h = np.empty((B, H), dtype)
        self.d_u_h_tilde = np.empty((B, H), dtype)
        self.d_x_out = np.empty((T, B, D), dtype)
        self.k_a_r_all = np.empty((self.block, B, H), dtype)
        self.k_a_stack_all = np.empty((self.block, 2, B, H), dtype)
        self.k_h_2_all = np.empty((self.block, B, H), dtype)
        self.k_h_all = np.empty((self.block, B, H), dtype)
        self.steps = list(
            zip(
                self.cotangent_h_all,
                self.d_a_stack_all[..., H:3 * H].reshape(self.block, B, 2, H).transpose(0, 2, 1, 3),
                self.k_a_stack_all,
                self.d_a_stack_all[..., 2 * H:3 * H],
                self.d_a_stack_all[..., :H],
                self.k_a_r_all,
                self.d_a_stack_all[..., :2 * H],
                self.k_h_all,
                self.k_h_2_all,
            )
        )


BLOCK = 512
"""Steps times examples that a pass takes at once."""


# ---- what the functions return, and what they refuse


class Tape:
    """What forward keeps for backward, jvp and step_jacobian: arrays by name, opaque to the caller."""

    def __init__(self, sizes, dtype, segments=None, **saved):
        self.sizes = sizes
        self.dtype = dtype
        self.segments = segments
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
    if type(array) is np.ndarray and array.dtype is dtype and array.ndim == len(dims):
        for dim, size in zip(dims, array.shape):
            if sizes.get(dim) != size and (dim in sizes or not dim.isidentifier()):
                break
            sizes[dim] = size
        else:
            return
    _array_refused(where, label, array, dims, sizes, dtype)


def _array_refused(where, label, array, dims, sizes, dtype):
    """Say what is wrong with an array, if anything is."""
    is_array, kind = isinstance(array, np.ndarray), type(array).__name__
    if not is_array:
        raise ValueError(f"{where}: {label} is no array: expected a NumPy array, got {kind}. Convert it with np.asarray.")
    is_plain = not isinstance(array, (np.matrix, np.ma.MaskedArray))
    if not is_plain:
        raise ValueError(
            f"{where}: {label}: wrong type: expected a plain NumPy array, got {kind}. "
            "Convert it with np.asarray, a masked one with .filled()."
        )
    if array.dtype not in _DTYPES:
        raise ValueError(
            f"{where}: {label}: wrong dtype: expected float32, float64 or complex128, got {array.dtype}. Convert it."
        )
    if array.dtype != dtype:
        first = "the tape" if where in ("backward", "step_jacobian") else "the first array"
        raise ValueError(
            f"{where}: {label}: mixed dtypes: expected {dtype}, as {first}, got {array.dtype}. Convert one of them."
        )
    if array.ndim == len(dims):
        for dim, size in zip(dims, array.shape):
            if dim.isidentifier():
                sizes.setdefault(dim, size)
    if array.ndim != len(dims) or any(sizes.get(dim, size) != size for dim, size in zip(dims, array.shape)):
        expected = ", ".join(f"{dim} = {sizes[dim]}" if dim in sizes else dim for dim in dims) + "," * (len(dims) == 1)
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
    sizes = dict(_FIXED)
    dtype = getattr(tables[0][1], "dtype", None)
    if dtype not in _DTYPES:
        _array_refused(where, *tables[0], sizes, dtype)
    for label, array, dims in tables:
        _array(where, label, array, dims, sizes, dtype)
    if _COMPOUND:
        _solve(where, tables, sizes)
    for dim, parts in _COMPOUND.items():
        if all(part in sizes or part == "1" for part in parts):
            sizes[dim] = sum(times * sizes.get(part, 1) for part, times in parts.items())
    for label, array, dims in tables if _COMPOUND else ():
        _array(where, label, array, dims, sizes, dtype)
    missing = [dim for dims in STATES.values() for dim in dims if dim not in sizes]
    if missing:
        raise ValueError(
            f"{where}: state: size unknown: expected an array that has dimension {missing[0]}, got none. Pass the state."
        )
    return sizes, dtype


def _solve(where, tables, sizes):
    """Sizes that stand in no shape alone, from the concatenated dimensions that hold them."""
    for label, array, dims in tables * 2:
        for dim, size in zip(dims, array.shape):
            parts = _COMPOUND.get(dim, {})
            unknown = [part for part in parts if part not in sizes and part != "1"]
            if len(unknown) == 1:
                rest = size - sum(times * sizes.get(part, 1) for part, times in parts.items() if part != unknown[0])
                found, left = divmod(rest, parts[unknown[0]])
                if left or found < 0:
                    raise ValueError(
                        f"{where}: {label}: wrong shape: expected {dim} rows or columns, got {size}, which gives no whole "
                        f"{unknown[0]}. Check the shapes."
                    )
                sizes[unknown[0]] = found


def _taped(where, parameters, tape):
    """Refuse a tape that isn't this module's, and parameters that don't fit it."""
    is_tape = isinstance(tape, Tape)
    if not is_tape:
        raise ValueError(
            f"{where}: tape: wrong type: expected the tape that forward returned, got {type(tape).__name__}. Call forward first."
        )
    _names(where, "parameters", parameters, PARAMETERS)
    for name, dims in PARAMETERS.items():
        _array(where, f"parameters[{name!r}]", parameters[name], dims, tape.sizes, tape.dtype)


def _sequence(where, what, given, name, dims, sizes, dtype):
    """given[name], (T, B, n); zeros where it is missing."""
    if name not in given:
        return np.broadcast_to(dtype.type(0), [sizes[dim] for dim in ("T", "B", *dims)])
    _array(where, f"{what}[{name!r}]", given[name], ("T", "B", *dims), sizes, dtype)
    return given[name]


def _state(where, what, given, name, dims, sizes, dtype):
    """given[name], (B, n); zeros where it is missing."""
    if given is None or name not in given:
        return np.zeros((sizes["B"], sizes[dims[0]]), dtype)
    _array(where, f"{what}[{name!r}]", given[name], ("B", *dims), sizes, dtype)
    return given[name]


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


class Workspace:
    """Arrays that are kept between calls of the same sizes: pass the same one to every call of a training loop.

    Outputs and tape live until the next forward with it, gradients until the next backward with it.
    """

    def __init__(self):
        self.kept = {}


def _usable(where, workspace):
    """Refuse what is no workspace of this module."""
    if workspace is None or isinstance(workspace, Workspace):
        return
    kind = type(workspace)
    got = f"one of {kind.__module__}" if kind.__name__ == "Workspace" else kind.__name__
    raise ValueError(
        f"{where}: workspace: wrong type: expected a Workspace of {__name__}, got {got}. Make one with Workspace()."
    )


def _arrays(workspace, kind, sizes, dtype):
    """The arrays of a pass: those of the workspace where it has them for these sizes, else new ones."""
    if workspace is None:
        return kind(sizes, dtype)
    key, arrays = workspace.kept.get(kind, (None, None))
    wanted = (tuple(sorted(sizes.items())), dtype)
    if key != wanted:
        arrays = kind(sizes, dtype)
        workspace.kept[kind] = wanted, arrays
    return arrays


def _product(sequence, matrix, out):
    """out = sequence @ matrix, (n, B, rows) @ (rows, columns), for all steps and examples in one product."""
    examples = sequence.shape[0] * sequence.shape[1]
    np.matmul(sequence.reshape(examples, sequence.shape[2]), matrix, out=out.reshape(examples, out.shape[2]))


def _add(total, left, right, first):
    """total += left @ right (left alone where right is None); the first contribution replaces what was there."""
    if first:
        total[...] = 0 if left is None else left if right is None else np.matmul(left, right, out=total)
    else:
        total += left if right is None else left @ right


def _checkpointed(parameters, inputs, state, every, sizes, dtype):
    """forward that keeps the states every so many steps; backward computes the steps between again.

    The caller's workspace is left alone: what it lent lives until the next forward with it, and backward runs forward again.
    """
    try:
        every = range(every).stop if not isinstance(every, (bool, np.bool_)) else every
    except TypeError:
        pass
    if type(every) is not int or every < 1:
        raise ValueError(
            f"forward: checkpoint_every: expected a number of steps >= 1, got {every!r}. Choose about the root of T."
        )
    T, B = sizes["T"], sizes["B"]
    outputs = {name: np.empty((T, B, sizes[dims[0]]), dtype) for name, dims in {**STATES, **OUTPUTS}.items()}
    if state is None:
        state = {name: np.zeros((B, sizes[dims[0]]), dtype) for name, dims in STATES.items()}
    segments, workspace = [], Workspace()
    for start in range(0, T, every):
        stop = min(T, start + every)
        segments.append((start, stop, {name: array.copy() for name, array in state.items()}))
        piece = {name: array[start:stop] for name, array in inputs.items()}
        found, _ = forward(parameters, piece, state, workspace=workspace)
        for name, array in found.items():
            outputs[name][start:stop] = array
        state = {name: found[name][-1] for name in STATES}
    return outputs, Tape(sizes, dtype, segments=segments, inputs=dict(inputs))


def _segment(parameters, tape, index, workspace):
    """The tape of one segment, computed again from the states in front of it."""
    start, stop, state = tape.segments[index]
    piece = {name: array[start:stop] for name, array in tape.inputs.items()}
    return forward(parameters, piece, state, workspace=workspace)[1]


def _backward_by_segments(parameters, tape, cotangents):
    """backward over a checkpointed tape: the segments last first, each handing its initial state's gradient to the one before."""
    for name, array in cotangents.items():
        _sequence("backward", "cotangents", cotangents, name, {**STATES, **OUTPUTS}[name], tape.sizes, tape.dtype)
    B, workspace = tape.sizes["B"], Workspace()
    gradients = Gradients(
        parameters={name: np.zeros([tape.sizes[dim] for dim in dims], tape.dtype) for name, dims in PARAMETERS.items()},
        inputs={name: np.empty(array.shape, tape.dtype) for name, array in tape.inputs.items()},
        state={name: np.zeros((B, tape.sizes[dims[0]]), tape.dtype) for name, dims in STATES.items()},
    )
    for index in reversed(range(len(tape.segments))):
        start, stop, _ = tape.segments[index]
        piece = {name: array[start:stop] for name, array in cotangents.items()}
        for name, dims in STATES.items():
            given = piece.get(name)
            piece[name] = np.zeros((stop - start, B, tape.sizes[dims[0]]), tape.dtype) if given is None else given.copy()
            piece[name][-1] += gradients.state[name]
        part = backward(parameters, _segment(parameters, tape, index, workspace), piece, workspace=workspace)
        for name, array in part.parameters.items():
            gradients.parameters[name] += array
        for name, array in part.inputs.items():
            gradients.inputs[name][start:stop] = array
        gradients.state = part.state
    return gradients


def _jacobian_by_segments(parameters, tape):
    """step_jacobian over a checkpointed tape."""
    total = sum(tape.sizes[dims[0]] for dims in STATES.values())
    J = np.empty((tape.sizes["T"], tape.sizes["B"], total, total), tape.dtype)
    workspace = Workspace()
    for index, (start, stop, _) in enumerate(tape.segments):
        J[start:stop] = step_jacobian(parameters, _segment(parameters, tape, index, workspace))
    return J


_DTYPES = (np.dtype(np.float32), np.dtype(np.float64), np.dtype(np.complex128))
_COMPOUND = {}
_FIXED = {"1": 1}
