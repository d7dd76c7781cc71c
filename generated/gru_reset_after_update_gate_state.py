# Emitted by `python -m derive gru --reset after --update-gate state`. Don't edit: change the equations and
#     emit again.
#
#     z: zₜ = σ(W_z xₜ + U_z hₜ₋₁ + b_z)
#     r: rₜ = σ(W_r xₜ + U_r hₜ₋₁ + b_r)
#     h_tilde: h̃ₜ = tanh(W_h xₜ + b_h + rₜ ∘ U_h hₜ₋₁)
#     h: hₜ = (1 − zₜ) ∘ h̃ₜ + zₜ ∘ hₜ₋₁
#
# equations  sha256 4d83cc93b10c0896
# derivation sha256 2d87ea6bb01b8d45
# body       sha256 adb564344d1988ec
# header     sha256 ebc502ab8b9d432e
#
# per step and example:
#     forward  2 matrix products (3 D H + 3 H^2 multiply-adds), 19 H elementwise operations
#     backward 4 matrix products (6 D H + 6 H^2 multiply-adds), 19 H elementwise operations
#     saved    5 H numbers: h, z, r, u_h_tilde, h_tilde
# fmt: off
"""The cell `gru --reset after --update-gate state` and its gradients, in NumPy.

An array at one step has one row for each example, as the caller's: (B, n) of a vector, (B, n, m) of a
matrix, (B,) of a number; so `W x` reads `x @ W.T`. `..._all` is the same over time, (T, B, n); of a state
it starts with the initial one, (T + 1, B, n). `d_v` is dL/dv, `carry_h` the part of dL/dh that comes from
the next step, `dot_v` the tangent of v.
In `forward`, `backward` and `hvp` a call writes into its last argument. Arrays, and the views of them at
each step, are made once, by classes such as `_Forward`; names that stand for parts of one array, or for
one array before and after a call, share its memory. A stack of k gates that no product reads has them one
after the other, (k, B, n). `k_v` is what multiplies a gradient on its way to v, computed for a block of
steps ahead of the loop.
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
    "b_h": ("H",),
    "U_h": ("H", "H"),
}
INPUTS = {"x": ("D",)}
STATES = {"h": ("H",)}
OUTPUTS = {}


def forward(parameters, inputs, state=None, *, workspace=None, checkpoint_every=None):
    """Run the cell over all steps.

    parameters {name: array}, inputs {name: (T, B, ...)}, state {name: (B, ...)}, None for zeros.
    Returns outputs {name: (T, B, ...)} of every state and output, and the tape that backward reads. With
    a workspace its arrays are reused: outputs and tape live until the next forward with it.
    checkpoint_every=k keeps the states every k steps only; backward computes the steps between again, the
    same gradients up to the order of summation, without the workspace.
    Raises ValueError on a name, shape or dtype that doesn't fit.
    """
    _usable("forward", workspace)
    sizes, dtype = _sizes("forward", parameters, inputs, state)
    if checkpoint_every is not None:
        return _checkpointed(parameters, inputs, state, checkpoint_every, sizes, dtype)
    state = _filled("forward", "state", state, STATES, ("B",), sizes, dtype)
    m = _arrays(workspace, _Forward, sizes, dtype)
    T, B, D, H = (sizes[name] for name in ("T", "B", "D", "H"))
    add, dot, matmul, multiply, subtract, tanh = np.add, np.dot, np.matmul, np.multiply, np.subtract, np.tanh
    x_all = inputs["x"]
    # W_stack = [W_z_half; W_r_half; W_h]
    W_stack = m.W_stack
    multiply(0.5, parameters["W_z"], W_stack[:H])
    multiply(0.5, parameters["W_r"], W_stack[H:2 * H])
    W_stack[2 * H:] = parameters["W_h"]
    # b_stack = [b_z_half; b_r_half; b_h]
    b_stack = m.b_stack
    multiply(0.5, parameters["b_z"], b_stack[:H])
    multiply(0.5, parameters["b_r"], b_stack[H:2 * H])
    b_stack[2 * H:] = parameters["b_h"]
    # U_stack = [U_h; U_z_half; U_r_half]
    U_stack = m.U_stack
    U_stack[:H] = parameters["U_h"]
    multiply(0.5, parameters["U_z"], U_stack[H:2 * H])
    multiply(0.5, parameters["U_r"], U_stack[2 * H:])
    m.h_all[0] = state["h"]
    half = np.array(0.5, dtype)
    for start in range(0, T, m.block):
        stop = min(T, start + m.block)
        n = stop - start
        # a_stackₜ = W_stack xₜ + b_stack
        matmul(x_all[start:stop].reshape(n * B, D), W_stack.T, m.a_stack_all[:n].reshape(n * B, 3 * H))
        add(m.a_stack_all[:n], b_stack, m.a_stack_all[:n])
        for (a_stack_part_by_2, a_stack_part_2), (
            stack,
            h_prev,
            z_r,
            stack_part_by_2,
            h_tilde,
            r,
            u_h_tilde,
            h,
            z,
        ) in zip(m.ahead[:n], m.steps[start:stop]):
            # stackₜ = U_stack hₜ₋₁
            dot(h_prev, U_stack.T, stack)
            # a_stack_2ₜ = a_stackₜ[0:2*H] + stackₜ[H:3*H]
            add(a_stack_part_by_2, stack_part_by_2, z_r)
            # tanh_a_stackₜ = tanh(a_stack_2ₜ)
            tanh(z_r, z_r)
            # z_rₜ = 0.5 + 0.5 tanh_a_stackₜ
            multiply(half, z_r, z_r)
            add(half, z_r, z_r)
            # zₜ = z_rₜ[0:H]
            # rₜ = z_rₜ[H:2*H]
            # u_h̃ₜ = stackₜ[0:H]
            # a_h̃ₜ = a_stackₜ[2*H:3*H] + rₜ ∘ u_h̃ₜ
            multiply(r, u_h_tilde, h_tilde)
            add(a_stack_part_2, h_tilde, h_tilde)
            # h̃ₜ = tanh(a_h̃ₜ)
            tanh(h_tilde, h_tilde)
            # hₜ = h̃ₜ + zₜ ∘ (hₜ₋₁ − h̃ₜ)
            subtract(h_prev, h_tilde, h)
            multiply(h, z, h)
            add(h_tilde, h, h)
    m.h_out[...] = m.h_all[1:]
    outputs = {"h": m.h_out}
    tape = Tape(
        sizes,
        dtype,
        x=x_all,
        h=m.h_all,
        z=m.z_r_all[:, 0],
        r=m.z_r_all[:, 1],
        u_h_tilde=m.stack_all[..., :H],
        h_tilde=m.h_tilde_all,
    )
    return outputs, tape


def backward(parameters, tape, cotangents, *, workspace=None):
    """Gradients of L, given dL/d(state or output) at every step, directly.

    cotangents {name: (T, B, ...)}; a missing one counts as zero.
    Returns Gradients: .parameters, .inputs, .state (of the initial state), each array shaped as its
    primal.
    With a workspace its arrays are reused: gradients live until the next backward with it.
    Raises ValueError on a name, shape or dtype that doesn't fit.
    """
    _usable("backward", workspace)
    _taped("backward", parameters, tape)
    sizes, dtype = tape.sizes, tape.dtype
    cotangents = _filled(
        "backward",
        "cotangents",
        cotangents,
        {**STATES, **OUTPUTS},
        ("T", "B"),
        sizes,
        dtype,
    )
    if tape.segments is not None:
        return _backward_by_segments(parameters, tape, cotangents)
    m = _arrays(workspace, _Backward, sizes, dtype)
    T, B, D, H = (sizes[name] for name in ("T", "B", "D", "H"))
    add, dot, matmul, multiply, subtract = np.add, np.dot, np.matmul, np.multiply, np.subtract
    cotangent_h_all = cotangents["h"]
    # U_stack = [U_h; U_z; U_r]
    U_stack = m.U_stack
    U_stack[:H] = parameters["U_h"]
    U_stack[H:2 * H] = parameters["U_z"]
    U_stack[2 * H:] = parameters["U_r"]
    # W_stack = [W_z; W_r; W_h]
    W_stack = m.W_stack
    W_stack[:H] = parameters["W_z"]
    W_stack[H:2 * H] = parameters["W_r"]
    W_stack[2 * H:] = parameters["W_h"]
    m.carry_h[...] = 0
    m.d_W_stack[...] = 0
    m.d_U_stack[...] = 0
    m.d_b_stack[...] = 0
    d_h = m.d_h
    carry_h = m.carry_h
    buffer_2 = m.buffer_2
    for stop in range(T, 0, -m.block):
        start = max(0, stop - m.block)
        n = stop - start
        z_all = tape.z[start:stop]
        h_tilde_all = tape.h_tilde[start:stop]
        r_all = tape.r[start:stop]
        u_h_tilde_all = tape.u_h_tilde[start:stop]
        h_prev_all = tape.h[start:stop]
        x_all = tape.x[start:stop]
        m.cotangent_h_all[:n] = cotangent_h_all[start:stop]
        # k_a_h̃ₜ = (1 − zₜ) ∘ (1 − h̃ₜ²)
        subtract(1, z_all, m.k_stack_all[:n, 3])
        multiply(h_tilde_all, h_tilde_all, m.buffer_1[:n])
        subtract(1, m.buffer_1[:n], m.buffer_1[:n])
        multiply(m.k_stack_all[:n, 3], m.buffer_1[:n], m.k_stack_all[:n, 3])
        # k_u_h̃ₜ = k_a_h̃ₜ ∘ rₜ
        multiply(m.k_stack_all[:n, 3], r_all, m.k_stack_all[:n, 0])
        # k_a_rₜ = k_u_h̃ₜ ∘ u_h̃ₜ ∘ (1 − rₜ)
        subtract(1, r_all, m.k_stack_all[:n, 2])
        multiply(m.k_stack_all[:n, 2], m.k_stack_all[:n, 0], m.k_stack_all[:n, 2])
        multiply(m.k_stack_all[:n, 2], u_h_tilde_all, m.k_stack_all[:n, 2])
        # k_a_zₜ = (hₜ₋₁ − h̃ₜ) ∘ zₜ ∘ (1 − zₜ)
        subtract(h_prev_all, h_tilde_all, m.k_stack_all[:n, 1])
        multiply(m.k_stack_all[:n, 1], z_all, m.k_stack_all[:n, 1])
        subtract(1, z_all, m.buffer_1[:n])
        multiply(m.k_stack_all[:n, 1], m.buffer_1[:n], m.k_stack_all[:n, 1])
        # k_stackₜ = [k_u_h̃ₜ; k_a_zₜ; k_a_rₜ; k_a_h̃ₜ]
        for z, (
            cotangent_h,
            d_stack_by_4,
            k_stack,
            d_stack_part,
        ) in zip(reversed(z_all), reversed(m.steps[:n])):
            # ∂L/∂hₜ = ∂Lₜ/∂hₜ + ∂L/∂hₜ|ₜ₊₁
            add(cotangent_h, carry_h, d_h)
            # ∂L/∂stackₜ = [∂L/∂hₜ; ∂L/∂hₜ; ∂L/∂hₜ; ∂L/∂hₜ] ∘ k_stackₜ
            multiply(d_h, k_stack, d_stack_by_4)
            # ∂L/∂hₜ₋₁|ₜ = U_stackᵀ ∂L/∂stackₜ[0:3*H] + ∂L/∂hₜ ∘ zₜ
            dot(d_stack_part, U_stack, carry_h)
            multiply(d_h, z, buffer_2)
            add(carry_h, buffer_2, carry_h)
        d_stack_flat = m.d_stack_all[:n].reshape(n * B, 4 * H)
        x_flat = x_all.reshape(n * B, D)
        h_prev_flat = h_prev_all.reshape(n * B, H)
        # ∂L/∂xₜ = W_stackᵀ ∂L/∂stackₜ[H:4*H]
        matmul(d_stack_flat[..., H:], W_stack, m.d_x_out[start:stop].reshape(n * B, D))
        # ∂L/∂W_stack = Σₜ ∂L/∂stackₜ[H:4*H] xₜᵀ
        matmul(d_stack_flat[..., H:].T, x_flat, m.buffer_3)
        m.d_W_stack += m.buffer_3
        # ∂L/∂U_stack = Σₜ ∂L/∂stackₜ[0:3*H] hₜ₋₁ᵀ
        matmul(d_stack_flat[..., :3 * H].T, h_prev_flat, m.buffer_4)
        m.d_U_stack += m.buffer_4
        # ∂L/∂b_stack = Σₜ ∂L/∂stackₜ[H:4*H]
        m.d_b_stack += np.ones((n * B,), dtype) @ d_stack_flat[..., H:]
    return Gradients(
        parameters={
            "W_z": m.d_W_stack[:H],
            "U_z": m.d_U_stack[H:2 * H],
            "b_z": m.d_b_stack[:H],
            "W_r": m.d_W_stack[H:2 * H],
            "U_r": m.d_U_stack[2 * H:],
            "b_r": m.d_b_stack[H:2 * H],
            "W_h": m.d_W_stack[2 * H:],
            "b_h": m.d_b_stack[2 * H:],
            "U_h": m.d_U_stack[:H],
        },
        inputs={"x": m.d_x_out},
        state={"h": m.carry_h.copy()},
    )


def jvp(parameters, inputs, state, tangent_parameters, tangent_inputs, tangent_state):
    """Forward mode: how states and outputs move, {name: (T, B, ...)}, when the arguments move along
    tangents.

    state None is zeros, tangent_state None and a missing tangent are zero.
    Raises ValueError on a name, shape or dtype that doesn't fit.
    """
    sizes, dtype = _sizes("jvp", parameters, inputs, state)
    tangent_parameters = _filled(
        "jvp",
        "tangent_parameters",
        tangent_parameters,
        PARAMETERS,
        (),
        sizes,
        dtype,
    )
    tangent_inputs = _filled("jvp", "tangent_inputs", tangent_inputs, INPUTS, ("T", "B"), sizes, dtype)
    tangent_state = _filled("jvp", "tangent_state", tangent_state, STATES, ("B",), sizes, dtype)
    _, tape = forward(parameters, inputs, state)
    T, B, H = sizes["T"], sizes["B"], sizes["H"]
    dot_W_z = tangent_parameters["W_z"]
    dot_W_r = tangent_parameters["W_r"]
    dot_W_h = tangent_parameters["W_h"]
    W_z = parameters["W_z"]
    W_r = parameters["W_r"]
    W_h = parameters["W_h"]
    dot_b_z = tangent_parameters["b_z"]
    dot_b_r = tangent_parameters["b_r"]
    dot_b_h = tangent_parameters["b_h"]
    dot_U_h = tangent_parameters["U_h"]
    dot_U_z = tangent_parameters["U_z"]
    dot_U_r = tangent_parameters["U_r"]
    U_h = parameters["U_h"]
    U_z = parameters["U_z"]
    U_r = parameters["U_r"]
    x_all = tape.x
    dot_x_all = tangent_inputs["x"]
    h_all = tape.h
    z_all = tape.z
    r_all = tape.r
    u_h_tilde_all = tape.u_h_tilde
    h_tilde_all = tape.h_tilde
    # Ẇ_stack = [Ẇ_z; Ẇ_r; Ẇ_h]
    dot_W_stack = np.concatenate([dot_W_z, dot_W_r, dot_W_h], axis=-2)
    # W_stack = [W_z; W_r; W_h]
    W_stack = np.concatenate([W_z, W_r, W_h], axis=-2)
    # ḃ_stack = [ḃ_z; ḃ_r; ḃ_h]
    dot_b_stack = np.concatenate([dot_b_z, dot_b_r, dot_b_h], axis=-1)
    # U̇_stack = [U̇_h; U̇_z; U̇_r]
    dot_U_stack = np.concatenate([dot_U_h, dot_U_z, dot_U_r], axis=-2)
    # U_stack = [U_h; U_z; U_r]
    U_stack = np.concatenate([U_h, U_z, U_r], axis=-2)
    # ȧ_stackₜ = Ẇ_stack xₜ + W_stack ẋₜ + ḃ_stack
    dot_a_stack_all = x_all @ dot_W_stack.T + dot_x_all @ W_stack.T + dot_b_stack
    # ṡtack_inₜ = U̇_stack hₜ₋₁
    dot_stack_in_all = h_all[:-1] @ dot_U_stack.T
    dot_h_all = np.empty((T + 1, B, H), dtype)
    dot_h_all[0] = tangent_state["h"]
    for t in range(T):
        dot_stack_in = dot_stack_in_all[t]
        dot_h_prev = dot_h_all[t]
        dot_a_stack = dot_a_stack_all[t]
        z = z_all[t]
        r = r_all[t]
        u_h_tilde = u_h_tilde_all[t]
        h_tilde = h_tilde_all[t]
        h_prev = h_all[t]
        # ṡtackₜ = ṡtack_inₜ + U_stack ḣₜ₋₁
        dot_stack = dot_stack_in + dot_h_prev @ U_stack.T
        # ȧ_zₜ = ȧ_stackₜ[0:H] + ṡtackₜ[H:2*H]
        dot_a_z = dot_a_stack[..., :H] + dot_stack[..., H:2 * H]
        # żₜ = zₜ ∘ (1 − zₜ) ∘ ȧ_zₜ
        dot_z = z * (1 - z) * dot_a_z
        # ȧ_rₜ = ȧ_stackₜ[H:2*H] + ṡtackₜ[2*H:3*H]
        dot_a_r = dot_a_stack[..., H:2 * H] + dot_stack[..., 2 * H:]
        # ṙₜ = rₜ ∘ (1 − rₜ) ∘ ȧ_rₜ
        dot_r = r * (1 - r) * dot_a_r
        # ȧ_h̃ₜ = ȧ_stackₜ[2*H:3*H] + ṙₜ ∘ u_h̃ₜ + rₜ ∘ ṡtackₜ[0:H]
        dot_a_h_tilde = dot_a_stack[..., 2 * H:] + dot_r * u_h_tilde + r * dot_stack[..., :H]
        # h̃̇ₜ = (1 − h̃ₜ²) ∘ ȧ_h̃ₜ
        dot_h_tilde = (1 - h_tilde**2) * dot_a_h_tilde
        # ḣₜ = −żₜ ∘ h̃ₜ + (1 − zₜ) ∘ h̃̇ₜ + żₜ ∘ hₜ₋₁ + zₜ ∘ ḣₜ₋₁
        dot_h_all[t + 1] = (1 - z) * dot_h_tilde - dot_z * h_tilde + dot_z * h_prev + z * dot_h_prev
    return {"h": dot_h_all[1:]}


def _tangents(parameters, tape, tangent_parameters, tangent_inputs, tangent_state):
    """How values move at all steps when the arguments move along tangents, {name: (T, B, ...)}, as hvp reads
    them.
    """
    sizes, dtype = tape.sizes, tape.dtype
    m = _Tangents(sizes, dtype)
    T, B, D, H = (sizes[name] for name in ("T", "B", "D", "H"))
    add, dot, matmul, multiply, subtract = np.add, np.dot, np.matmul, np.multiply, np.subtract
    h_tilde_all = tape.h_tilde
    r_all = tape.r
    u_h_tilde_all = tape.u_h_tilde
    z_all = tape.z
    h_all = tape.h
    x_all = tape.x
    dot_x_all = tangent_inputs["x"]
    # Ẇ_stack = [Ẇ_z; Ẇ_r; Ẇ_h]
    dot_W_stack = m.dot_W_stack
    dot_W_stack[:H] = tangent_parameters["W_z"]
    dot_W_stack[H:2 * H] = tangent_parameters["W_r"]
    dot_W_stack[2 * H:] = tangent_parameters["W_h"]
    # W_stack = [W_z; W_r; W_h]
    W_stack = m.W_stack
    W_stack[:H] = parameters["W_z"]
    W_stack[H:2 * H] = parameters["W_r"]
    W_stack[2 * H:] = parameters["W_h"]
    # ḃ_stack = [ḃ_z; ḃ_r; ḃ_h]
    dot_b_stack = m.dot_b_stack
    dot_b_stack[:H] = tangent_parameters["b_z"]
    dot_b_stack[H:2 * H] = tangent_parameters["b_r"]
    dot_b_stack[2 * H:] = tangent_parameters["b_h"]
    # U̇_stack = [U̇_h; U̇_z; U̇_r]
    dot_U_stack = m.dot_U_stack
    dot_U_stack[:H] = tangent_parameters["U_h"]
    dot_U_stack[H:2 * H] = tangent_parameters["U_z"]
    dot_U_stack[2 * H:] = tangent_parameters["U_r"]
    # U_stack = [U_h; U_z; U_r]
    U_stack = m.U_stack
    U_stack[:H] = parameters["U_h"]
    U_stack[H:2 * H] = parameters["U_z"]
    U_stack[2 * H:] = parameters["U_r"]
    m.dot_h_all[0] = tangent_state["h"]
    buffer_3 = m.buffer_3
    buffer_4 = m.buffer_4
    for start in range(0, T, m.block):
        stop = min(T, start + m.block)
        n = stop - start
        # s_1ₜ = 1 − h̃ₜ²
        multiply(h_tilde_all[start:stop], h_tilde_all[start:stop], m.s_1_all[:n])
        subtract(1, m.s_1_all[:n], m.s_1_all[:n])
        # k_a_h̃ₜ = rₜ ∘ (1 − rₜ) ∘ u_h̃ₜ
        subtract(1, r_all[start:stop], m.k_a_h_tilde_all[:n])
        multiply(m.k_a_h_tilde_all[:n], r_all[start:stop], m.k_a_h_tilde_all[:n])
        multiply(m.k_a_h_tilde_all[:n], u_h_tilde_all[start:stop], m.k_a_h_tilde_all[:n])
        # k_hₜ = −zₜ ∘ (1 − zₜ) ∘ h̃ₜ + zₜ ∘ (1 − zₜ) ∘ hₜ₋₁
        subtract(1, z_all[start:stop], m.k_h_all[:n])
        multiply(m.k_h_all[:n], z_all[start:stop], m.k_h_all[:n])
        multiply(m.k_h_all[:n], h_all[start:stop], m.k_h_all[:n])
        subtract(1, z_all[start:stop], m.buffer_1[:n])
        multiply(m.buffer_1[:n], z_all[start:stop], m.buffer_1[:n])
        multiply(m.buffer_1[:n], h_tilde_all[start:stop], m.buffer_1[:n])
        subtract(m.k_h_all[:n], m.buffer_1[:n], m.k_h_all[:n])
        # k_h_2ₜ = (1 − zₜ) ∘ s_1ₜ
        subtract(1, z_all[start:stop], m.k_h_2_all[:n])
        multiply(m.k_h_2_all[:n], m.s_1_all[:n], m.k_h_2_all[:n])
        # ȧ_stackₜ = Ẇ_stack xₜ + W_stack ẋₜ + ḃ_stack
        matmul(
            x_all[start:stop].reshape(n * B, D),
            dot_W_stack.T,
            m.dot_a_stack_all[:n].reshape(n * B, 3 * H),
        )
        matmul(dot_x_all[start:stop].reshape(n * B, D), W_stack.T, m.buffer_2[:n].reshape(n * B, 3 * H))
        add(m.dot_a_stack_all[:n], m.buffer_2[:n], m.dot_a_stack_all[:n])
        add(m.dot_a_stack_all[:n], dot_b_stack, m.dot_a_stack_all[:n])
        # ṡtack_inₜ = U̇_stack hₜ₋₁
        matmul(
            h_all[start:stop].reshape(n * B, H),
            dot_U_stack.T,
            m.dot_stack_in_all[:n].reshape(n * B, 3 * H),
        )
        for r, z, (
            dot_stack_in,
            dot_a_stack_part,
            dot_a_stack_part_2,
            dot_a_stack_part_3,
            k_a_h_tilde,
            k_h,
            k_h_2,
        ), (
            dot_stack,
            dot_h_prev,
            dot_a_z,
            dot_stack_part,
            dot_a_r,
            dot_stack_part_2,
            dot_a_h_tilde,
            dot_u_h_tilde,
            dot_h,
        ) in zip(r_all[start:stop], z_all[start:stop], m.ahead[:n], m.steps[start:stop]):
            # ṡtackₜ = ṡtack_inₜ + U_stack ḣₜ₋₁
            dot(dot_h_prev, U_stack.T, dot_stack)
            add(dot_stack_in, dot_stack, dot_stack)
            # ȧ_zₜ = ȧ_stackₜ[0:H] + ṡtackₜ[H:2*H]
            add(dot_a_stack_part, dot_stack_part, dot_a_z)
            # ȧ_rₜ = ȧ_stackₜ[H:2*H] + ṡtackₜ[2*H:3*H]
            add(dot_a_stack_part_2, dot_stack_part_2, dot_a_r)
            # u̇_h̃ₜ = ṡtackₜ[0:H]
            # ȧ_h̃ₜ = ȧ_stackₜ[2*H:3*H] + ȧ_rₜ ∘ k_a_h̃ₜ + rₜ ∘ u̇_h̃ₜ
            multiply(dot_a_r, k_a_h_tilde, dot_a_h_tilde)
            add(dot_a_stack_part_3, dot_a_h_tilde, dot_a_h_tilde)
            multiply(r, dot_u_h_tilde, buffer_3)
            add(dot_a_h_tilde, buffer_3, dot_a_h_tilde)
            # ḣₜ = ȧ_zₜ ∘ k_hₜ + ȧ_h̃ₜ ∘ k_h_2ₜ + zₜ ∘ ḣₜ₋₁
            multiply(dot_a_z, k_h, dot_h)
            multiply(dot_a_h_tilde, k_h_2, buffer_3)
            add(dot_h, buffer_3, dot_h)
            multiply(z, dot_h_prev, buffer_4)
            add(dot_h, buffer_4, dot_h)
    return {
        "dot_a_z": m.dot_a_z_all,
        "dot_a_r": m.dot_a_r_all,
        "dot_u_h_tilde": m.dot_stack_all[..., :H],
        "dot_a_h_tilde": m.dot_a_h_tilde_all,
        "dot_h": m.dot_h_all,
    }


def _gradients(parameters, tape, tangents, cotangents, tangent_parameters, tangent_inputs):
    """Gradients of values at all steps, {name: (T, B, ...)}, and how they move products, as hvp reads them.
    """
    sizes, dtype = tape.sizes, tape.dtype
    m = _Gradients(sizes, dtype)
    T, B, D, H = (sizes[name] for name in ("T", "B", "D", "H"))
    add, dot, matmul, multiply, subtract = np.add, np.dot, np.matmul, np.multiply, np.subtract
    cotangent_h_all = cotangents["h"]
    # U_stack = [U_h; U_z; U_r]
    U_stack = m.U_stack
    U_stack[:H] = parameters["U_h"]
    U_stack[H:2 * H] = parameters["U_z"]
    U_stack[2 * H:] = parameters["U_r"]
    # U̇_stack = [U̇_h; U̇_z; U̇_r]
    dot_U_stack = m.dot_U_stack
    dot_U_stack[:H] = tangent_parameters["U_h"]
    dot_U_stack[H:2 * H] = tangent_parameters["U_z"]
    dot_U_stack[2 * H:] = tangent_parameters["U_r"]
    # Ẇ_stack = [Ẇ_z; Ẇ_r; Ẇ_h]
    dot_W_stack = m.dot_W_stack
    dot_W_stack[:H] = tangent_parameters["W_z"]
    dot_W_stack[H:2 * H] = tangent_parameters["W_r"]
    dot_W_stack[2 * H:] = tangent_parameters["W_h"]
    m.carry_h[...] = 0
    m.dot_d_W_stack_2[...] = 0
    m.dot_d_U_stack_2[...] = 0
    carry_h = m.carry_h
    buffer_2 = m.buffer_2
    for stop in range(T, 0, -m.block):
        start = max(0, stop - m.block)
        n = stop - start
        h_tilde_all = tape.h_tilde[start:stop]
        z_all = tape.z[start:stop]
        r_all = tape.r[start:stop]
        u_h_tilde_all = tape.u_h_tilde[start:stop]
        h_prev_all = tape.h[start:stop]
        dot_x_all = tangent_inputs["x"][start:stop]
        dot_h_prev_all = tangents["dot_h"][start:stop]
        m.cotangent_h_all[:n] = cotangent_h_all[start:stop]
        # s_1ₜ = 1 − h̃ₜ²
        multiply(h_tilde_all, h_tilde_all, m.s_1_all[:n])
        subtract(1, m.s_1_all[:n], m.s_1_all[:n])
        # k_a_h̃ₜ = (1 − zₜ) ∘ s_1ₜ
        subtract(1, z_all, m.k_stack_all[:n, 3])
        multiply(m.k_stack_all[:n, 3], m.s_1_all[:n], m.k_stack_all[:n, 3])
        # k_u_h̃ₜ = k_a_h̃ₜ ∘ rₜ
        multiply(m.k_stack_all[:n, 3], r_all, m.k_stack_all[:n, 0])
        # k_a_rₜ = k_u_h̃ₜ ∘ u_h̃ₜ ∘ (1 − rₜ)
        subtract(1, r_all, m.k_stack_all[:n, 2])
        multiply(m.k_stack_all[:n, 2], m.k_stack_all[:n, 0], m.k_stack_all[:n, 2])
        multiply(m.k_stack_all[:n, 2], u_h_tilde_all, m.k_stack_all[:n, 2])
        # k_a_zₜ = (hₜ₋₁ − h̃ₜ) ∘ zₜ ∘ (1 − zₜ)
        subtract(h_prev_all, h_tilde_all, m.k_stack_all[:n, 1])
        multiply(m.k_stack_all[:n, 1], z_all, m.k_stack_all[:n, 1])
        subtract(1, z_all, m.buffer_1[:n])
        multiply(m.k_stack_all[:n, 1], m.buffer_1[:n], m.k_stack_all[:n, 1])
        # k_stackₜ = [k_u_h̃ₜ; k_a_zₜ; k_a_rₜ; k_a_h̃ₜ]
        for z, (
            d_h,
            cotangent_h,
            d_stack_by_4,
            k_stack,
            d_stack_part_,
        ) in zip(reversed(z_all), reversed(m.steps[:n])):
            # ∂L/∂hₜ = ∂Lₜ/∂hₜ + ∂L/∂hₜ|ₜ₊₁
            add(cotangent_h, carry_h, d_h)
            # ∂L/∂stackₜ = [∂L/∂hₜ; ∂L/∂hₜ; ∂L/∂hₜ; ∂L/∂hₜ] ∘ k_stackₜ
            multiply(d_h, k_stack, d_stack_by_4)
            # ∂L/∂hₜ₋₁|ₜ = U_stackᵀ ∂L/∂stackₜ[0:3*H] + ∂L/∂hₜ ∘ zₜ
            dot(d_stack_part_, U_stack, carry_h)
            multiply(d_h, z, buffer_2)
            add(carry_h, buffer_2, carry_h)
        d_stack_flat = m.d_stack_all[:n].reshape(n * B, 4 * H)
        dot_x_flat = dot_x_all.reshape(n * B, D)
        dot_h_prev_flat = dot_h_prev_all.reshape(n * B, H)
        # ∂L̇/∂h_inₜ = U̇_stackᵀ ∂L/∂stackₜ[0:3*H]
        matmul(d_stack_flat[..., :3 * H], dot_U_stack, m.dot_d_h_in_out[start:stop].reshape(n * B, H))
        # ∂L̇/∂x_inₜ = Ẇ_stackᵀ ∂L/∂stackₜ[H:4*H]
        matmul(d_stack_flat[..., H:], dot_W_stack, m.dot_d_x_in_out[start:stop].reshape(n * B, D))
        # ∂L̇/∂W_stack_2 = Σₜ ∂L/∂stackₜ[H:4*H] ẋₜᵀ
        matmul(d_stack_flat[..., H:].T, dot_x_flat, m.buffer_3)
        m.dot_d_W_stack_2 += m.buffer_3
        # ∂L̇/∂U_stack_2 = Σₜ ∂L/∂stackₜ[0:3*H] ḣₜ₋₁ᵀ
        matmul(d_stack_flat[..., :3 * H].T, dot_h_prev_flat, m.buffer_4)
        m.dot_d_U_stack_2 += m.buffer_4
        m.d_h_out[start:stop] = m.d_h_all[:n]
    return {
        "d_h": m.d_h_out,
        "dot_d_h_in": m.dot_d_h_in_out,
        "dot_d_x_in": m.dot_d_x_in_out,
        "dot_d_W_z_in": m.dot_d_W_stack_2[:H],
        "dot_d_U_z_in": m.dot_d_U_stack_2[H:2 * H],
        "dot_d_W_r_in": m.dot_d_W_stack_2[H:2 * H],
        "dot_d_U_r_in": m.dot_d_U_stack_2[2 * H:],
        "dot_d_W_h_in": m.dot_d_W_stack_2[2 * H:],
        "dot_d_U_h_in": m.dot_d_U_stack_2[:H],
    }


def hvp(parameters, inputs, state, cotangents, tangent_parameters, tangent_inputs, tangent_state):
    """Second order: how gradients move when the arguments move along tangents, cotangents held.

    state None is zeros, tangent_state None, a missing cotangent and a missing tangent are zero. Returns
    Gradients.
    Raises ValueError on a name, shape or dtype that doesn't fit.
    """
    sizes, dtype = _sizes("hvp", parameters, inputs, state)
    state = _filled("hvp", "state", state, STATES, ("B",), sizes, dtype)
    cotangents = _filled("hvp", "cotangents", cotangents, {**STATES, **OUTPUTS}, ("T", "B"), sizes, dtype)
    tangent_parameters = _filled(
        "hvp",
        "tangent_parameters",
        tangent_parameters,
        PARAMETERS,
        (),
        sizes,
        dtype,
    )
    tangent_inputs = _filled("hvp", "tangent_inputs", tangent_inputs, INPUTS, ("T", "B"), sizes, dtype)
    tangent_state = _filled("hvp", "tangent_state", tangent_state, STATES, ("B",), sizes, dtype)
    _, tape = forward(parameters, inputs, state)
    tangents = _tangents(parameters, tape, tangent_parameters, tangent_inputs, tangent_state)
    gradients = _gradients(parameters, tape, tangents, cotangents, tangent_parameters, tangent_inputs)
    m = _Hvp(sizes, dtype)
    T, B, D, H = (sizes[name] for name in ("T", "B", "D", "H"))
    add, dot, matmul, multiply, negative, subtract = (
        np.add,
        np.dot,
        np.matmul,
        np.multiply,
        np.negative,
        np.subtract,
    )
    # U_stack = [U_h; U_z; U_r]
    U_stack = m.U_stack
    U_stack[:H] = parameters["U_h"]
    U_stack[H:2 * H] = parameters["U_z"]
    U_stack[2 * H:] = parameters["U_r"]
    # W_stack = [W_z; W_r; W_h]
    W_stack = m.W_stack
    W_stack[:H] = parameters["W_z"]
    W_stack[H:2 * H] = parameters["W_r"]
    W_stack[2 * H:] = parameters["W_h"]
    m.dot_carry_h[...] = 0
    m.sum_dot_d_W_stack[...] = 0
    m.sum_dot_d_U_stack[...] = 0
    m.dot_d_b_stack[...] = 0
    dot_d_a_h_tilde_z = m.dot_d_a_h_tilde_z
    dot_carry_h = m.dot_carry_h
    dot_d_a_h_tilde_z_part = m.dot_d_a_h_tilde_z[0]
    dot_d_a_stack_2 = m.dot_d_a_stack_2
    dot_d_a_stack_2_part = m.dot_d_a_stack_2[1]
    dot_d_a_stack_2_part_2 = m.dot_d_a_stack_2[0]
    buffer_3 = m.buffer_3
    for stop in range(T, 0, -m.block):
        start = max(0, stop - m.block)
        n = stop - start
        h_tilde_all = tape.h_tilde[start:stop]
        z_all = tape.z[start:stop]
        dot_a_z_all = tangents["dot_a_z"][start:stop]
        d_h_all = gradients["d_h"][start:stop]
        r_all = tape.r[start:stop]
        dot_a_r_all = tangents["dot_a_r"][start:stop]
        dot_a_h_tilde_all = tangents["dot_a_h_tilde"][start:stop]
        u_h_tilde_all = tape.u_h_tilde[start:stop]
        h_prev_all = tape.h[start:stop]
        dot_u_h_tilde_all = tangents["dot_u_h_tilde"][start:stop]
        dot_h_prev_all = tangents["dot_h"][start:stop]
        dot_d_h_in_all = gradients["dot_d_h_in"][start:stop]
        dot_d_x_in_all = gradients["dot_d_x_in"][start:stop]
        x_all = tape.x[start:stop]
        # s_1ₜ = 1 − h̃ₜ²
        multiply(h_tilde_all, h_tilde_all, m.s_1_all[:n])
        subtract(1, m.s_1_all[:n], m.s_1_all[:n])
        # s_3ₜ = 1 − zₜ
        subtract(1, z_all, m.s_3_all[:n])
        # k_a_zₜ = s_3ₜ ∘ zₜ
        multiply(m.s_3_all[:n], z_all, m.k_a_stack_all[:n, 1])
        # żₜ = k_a_zₜ ∘ ȧ_zₜ
        multiply(m.k_a_stack_all[:n, 1], dot_a_z_all, m.dot_z_all[:n])
        # s_2ₜ = ∂L/∂hₜ ∘ żₜ
        multiply(d_h_all, m.dot_z_all[:n], m.s_2_all[:n])
        # s_4ₜ = 1 − rₜ
        subtract(1, r_all, m.s_4_all[:n])
        # s_5ₜ = rₜ ∘ s_4ₜ
        multiply(r_all, m.s_4_all[:n], m.s_5_all[:n])
        # ṙₜ = s_5ₜ ∘ ȧ_rₜ
        multiply(m.s_5_all[:n], dot_a_r_all, m.dot_r_all[:n])
        # h̃̇ₜ = s_1ₜ ∘ ȧ_h̃ₜ
        multiply(m.s_1_all[:n], dot_a_h_tilde_all, m.dot_h_tilde_all[:n])
        # ∂L/∂h̃ₜ = s_3ₜ ∘ ∂L/∂hₜ
        multiply(m.s_3_all[:n], d_h_all, m.d_h_tilde_all[:n])
        # s_6ₜ = ∂L/∂h̃ₜ ∘ s_1ₜ
        multiply(m.d_h_tilde_all[:n], m.s_1_all[:n], m.s_6_all[:n])
        # ∂L/∂rₜ = s_6ₜ ∘ u_h̃ₜ
        multiply(m.s_6_all[:n], u_h_tilde_all, m.d_r_all[:n])
        # ∂L/∂zₜ = ∂L/∂hₜ ∘ (hₜ₋₁ − h̃ₜ)
        subtract(h_prev_all, h_tilde_all, m.d_z_all[:n])
        multiply(m.d_z_all[:n], d_h_all, m.d_z_all[:n])
        # ∂L̇/∂h̃_inₜ = −s_2ₜ
        negative(m.s_2_all[:n], m.dot_d_h_tilde_in_all[:n])
        # ∂L̇/∂a_h̃_inₜ = ∂L̇/∂h̃_inₜ ∘ s_1ₜ − 2 ∂L/∂h̃ₜ ∘ h̃ₜ ∘ h̃̇ₜ
        multiply(m.dot_d_h_tilde_in_all[:n], m.s_1_all[:n], m.dot_d_stack_2_all[:n, 0])
        multiply(m.d_h_tilde_all[:n], h_tilde_all, m.buffer_1[:n])
        multiply(m.buffer_1[:n], m.dot_h_tilde_all[:n], m.buffer_1[:n])
        multiply(2, m.buffer_1[:n], m.buffer_1[:n])
        subtract(m.dot_d_stack_2_all[:n, 0], m.buffer_1[:n], m.dot_d_stack_2_all[:n, 0])
        # ∂L̇/∂u_h̃_inₜ = s_6ₜ ∘ ṙₜ
        multiply(m.s_6_all[:n], m.dot_r_all[:n], m.dot_d_u_h_tilde_in_all[:n])
        # ∂L̇/∂r_inₜ = s_6ₜ ∘ u̇_h̃ₜ
        multiply(m.s_6_all[:n], dot_u_h_tilde_all, m.dot_d_r_in_all[:n])
        # s_7ₜ = ∂L/∂rₜ ∘ ṙₜ
        multiply(m.d_r_all[:n], m.dot_r_all[:n], m.s_7_all[:n])
        # ∂L̇/∂a_r_inₜ = s_5ₜ ∘ ∂L̇/∂r_inₜ + s_7ₜ ∘ s_4ₜ − s_7ₜ ∘ rₜ
        multiply(m.s_5_all[:n], m.dot_d_r_in_all[:n], m.dot_d_a_stack_all[:n, 0])
        multiply(m.s_7_all[:n], m.s_4_all[:n], m.buffer_1[:n])
        add(m.dot_d_a_stack_all[:n, 0], m.buffer_1[:n], m.dot_d_a_stack_all[:n, 0])
        multiply(m.s_7_all[:n], r_all, m.buffer_2[:n])
        subtract(m.dot_d_a_stack_all[:n, 0], m.buffer_2[:n], m.dot_d_a_stack_all[:n, 0])
        # ∂L̇/∂z_inₜ = −∂L/∂hₜ ∘ h̃̇ₜ + ∂L/∂hₜ ∘ ḣₜ₋₁
        multiply(d_h_all, dot_h_prev_all, m.dot_d_stack_2_all[:n, 1])
        multiply(d_h_all, m.dot_h_tilde_all[:n], m.buffer_2[:n])
        subtract(m.dot_d_stack_2_all[:n, 1], m.buffer_2[:n], m.dot_d_stack_2_all[:n, 1])
        # s_8ₜ = ∂L/∂zₜ ∘ żₜ
        multiply(m.d_z_all[:n], m.dot_z_all[:n], m.s_8_all[:n])
        # ∂L̇/∂a_z_inₜ = s_8ₜ ∘ s_3ₜ − s_8ₜ ∘ zₜ
        multiply(m.s_8_all[:n], m.s_3_all[:n], m.dot_d_a_stack_all[:n, 1])
        multiply(m.s_8_all[:n], z_all, m.buffer_2[:n])
        subtract(m.dot_d_a_stack_all[:n, 1], m.buffer_2[:n], m.dot_d_a_stack_all[:n, 1])
        # ∂L̇/∂h_in_2ₜ = ∂L̇/∂h_inₜ + s_2ₜ
        add(dot_d_h_in_all, m.s_2_all[:n], m.dot_d_h_in_2_all[:n])
        # k_a_h̃ₜ = s_3ₜ ∘ s_1ₜ
        multiply(m.s_3_all[:n], m.s_1_all[:n], m.k_stack_all[:n, 0])
        # k_a_rₜ = s_5ₜ ∘ u_h̃ₜ
        multiply(m.s_5_all[:n], u_h_tilde_all, m.k_a_stack_all[:n, 0])
        # k_zₜ = −h̃ₜ + hₜ₋₁
        subtract(h_prev_all, h_tilde_all, m.k_stack_all[:n, 1])
        # k_stackₜ = [k_a_h̃ₜ; k_zₜ]
        # ∂L̇/∂stack_2ₜ = [∂L̇/∂a_h̃_inₜ; ∂L̇/∂z_inₜ]
        # k_a_stackₜ = [k_a_rₜ; k_a_zₜ]
        # ∂L̇/∂a_stackₜ = [∂L̇/∂a_r_inₜ; ∂L̇/∂a_z_inₜ]
        for r, z, (
            k_stack,
            dot_d_stack_2,
            dot_d_u_h_tilde,
            dot_d_u_h_tilde_in,
            k_a_stack,
            dot_d_a_stack,
            dot_d_stack_part,
            dot_d_stack_part_2,
            dot_d_stack_part_3,
            dot_d_stack_part_4,
            dot_d_h_in_2,
        ) in zip(reversed(r_all), reversed(z_all), reversed(m.steps[:n])):
            # ∂L̇/∂a_h̃_zₜ = [∂L̇/∂hₜ|ₜ₊₁; ∂L̇/∂hₜ|ₜ₊₁] ∘ k_stackₜ + ∂L̇/∂stack_2ₜ
            multiply(dot_carry_h, k_stack, dot_d_a_h_tilde_z)
            add(dot_d_a_h_tilde_z, dot_d_stack_2, dot_d_a_h_tilde_z)
            # ∂L̇/∂u_h̃ₜ = ∂L̇/∂a_h̃_zₜ[0:H] ∘ rₜ + ∂L̇/∂u_h̃_inₜ
            multiply(dot_d_a_h_tilde_z_part, r, dot_d_u_h_tilde)
            add(dot_d_u_h_tilde, dot_d_u_h_tilde_in, dot_d_u_h_tilde)
            # ∂L̇/∂a_stack_2ₜ = ∂L̇/∂a_h̃_zₜ ∘ k_a_stackₜ + ∂L̇/∂a_stackₜ
            multiply(dot_d_a_h_tilde_z, k_a_stack, dot_d_a_stack_2)
            add(dot_d_a_stack_2, dot_d_a_stack, dot_d_a_stack_2)
            # ∂L̇/∂stackₜ = [∂L̇/∂u_h̃ₜ; ∂L̇/∂a_stack_2ₜ[H:2*H]; ∂L̇/∂a_stack_2ₜ[0:H]; ∂L̇/∂a_h̃_zₜ[0:H]]
            dot_d_stack_part[...] = dot_d_a_stack_2_part
            dot_d_stack_part_2[...] = dot_d_a_stack_2_part_2
            dot_d_stack_part_3[...] = dot_d_a_h_tilde_z_part
            # ∂L̇/∂hₜ₋₁|ₜ = U_stackᵀ ∂L̇/∂stackₜ[0:3*H] + ∂L̇/∂hₜ|ₜ₊₁ ∘ zₜ + ∂L̇/∂h_in_2ₜ
            dot(dot_d_stack_part_4, U_stack, buffer_3)
            multiply(dot_carry_h, z, dot_carry_h)
            add(buffer_3, dot_carry_h, dot_carry_h)
            add(dot_carry_h, dot_d_h_in_2, dot_carry_h)
        dot_d_stack_flat = m.dot_d_stack_all[:n].reshape(n * B, 4 * H)
        x_flat = x_all.reshape(n * B, D)
        h_prev_flat = h_prev_all.reshape(n * B, H)
        # ∂L̇/∂xₜ = W_stackᵀ ∂L̇/∂stackₜ[H:4*H] + ∂L̇/∂x_inₜ
        matmul(
            m.dot_d_stack_all[:n, :, H:].reshape(n * B, 3 * H),
            W_stack,
            m.dot_d_x_out[start:stop].reshape(n * B, D),
        )
        add(m.dot_d_x_out[start:stop], dot_d_x_in_all, m.dot_d_x_out[start:stop])
        # ∂L̇/∂W_stack = Σₜ ∂L̇/∂stackₜ[H:4*H] xₜᵀ
        matmul(dot_d_stack_flat[..., H:].T, x_flat, m.buffer_4)
        m.sum_dot_d_W_stack += m.buffer_4
        # ∂L̇/∂U_stack = Σₜ ∂L̇/∂stackₜ[0:3*H] hₜ₋₁ᵀ
        matmul(dot_d_stack_flat[..., :3 * H].T, h_prev_flat, m.buffer_5)
        m.sum_dot_d_U_stack += m.buffer_5
        # ∂L̇/∂b_stack = Σₜ ∂L̇/∂stackₜ[H:4*H]
        m.dot_d_b_stack += np.ones((n * B,), dtype) @ dot_d_stack_flat[..., H:]
    # ∂L̇/∂W_z = ∂L̇/∂W_z + ∂L̇/∂W_z_in
    dot_d_W_z = m.sum_dot_d_W_stack[:H] + gradients["dot_d_W_z_in"]
    # ∂L̇/∂U_z = ∂L̇/∂U_z + ∂L̇/∂U_z_in
    dot_d_U_z = m.sum_dot_d_U_stack[H:2 * H] + gradients["dot_d_U_z_in"]
    # ∂L̇/∂W_r = ∂L̇/∂W_r + ∂L̇/∂W_r_in
    dot_d_W_r = m.sum_dot_d_W_stack[H:2 * H] + gradients["dot_d_W_r_in"]
    # ∂L̇/∂U_r = ∂L̇/∂U_r + ∂L̇/∂U_r_in
    dot_d_U_r = m.sum_dot_d_U_stack[2 * H:] + gradients["dot_d_U_r_in"]
    # ∂L̇/∂W_h = ∂L̇/∂W_h + ∂L̇/∂W_h_in
    dot_d_W_h = m.sum_dot_d_W_stack[2 * H:] + gradients["dot_d_W_h_in"]
    # ∂L̇/∂U_h = ∂L̇/∂U_h + ∂L̇/∂U_h_in
    dot_d_U_h = m.sum_dot_d_U_stack[:H] + gradients["dot_d_U_h_in"]
    return Gradients(
        parameters={
            "W_z": dot_d_W_z,
            "U_z": dot_d_U_z,
            "b_z": m.dot_d_b_stack[:H],
            "W_r": dot_d_W_r,
            "U_r": dot_d_U_r,
            "b_r": m.dot_d_b_stack[H:2 * H],
            "W_h": dot_d_W_h,
            "b_h": m.dot_d_b_stack[2 * H:],
            "U_h": dot_d_U_h,
        },
        inputs={"x": m.dot_d_x_out},
        state={"h": m.dot_carry_h.copy()},
    )


def step_jacobian(parameters, tape):
    """d(all states after step t) / d(all states before it), (T, B, S, S).

    States are in the order of STATES, matrices row by row. Each direction of the states before a step is
    a tangent; they are the first axis of the arrays below.
    Raises ValueError on a tape that isn't forward's.
    """
    _taped("step_jacobian", parameters, tape)
    sizes, dtype = tape.sizes, tape.dtype
    if tape.segments is not None:
        return _jacobian_by_segments(parameters, tape)
    T, B, H = sizes["T"], sizes["B"], sizes["H"]
    directions = H
    seeds = np.eye(directions, dtype=dtype)
    U_h = parameters["U_h"]
    U_z = parameters["U_z"]
    U_r = parameters["U_r"]
    dot_h_prev = seeds
    z_all = tape.z
    r_all = tape.r
    u_h_tilde_all = tape.u_h_tilde
    h_tilde_all = tape.h_tilde
    h_all = tape.h
    # U_stack = [U_h; U_z; U_r]
    U_stack = np.concatenate([U_h, U_z, U_r], axis=-2)
    # ṡtackₜ = U_stack ḣₜ₋₁
    dot_stack_all = np.broadcast_to((dot_h_prev @ U_stack.T)[..., None, None, :], (directions, T, B, 3 * H))
    # ȧ_zₜ = ṡtackₜ[H:2*H]
    dot_a_z_all = dot_stack_all[..., H:2 * H]
    # żₜ = zₜ ∘ (1 − zₜ) ∘ ȧ_zₜ
    dot_z_all = z_all * (1 - z_all) * dot_a_z_all
    # ȧ_rₜ = ṡtackₜ[2*H:3*H]
    dot_a_r_all = dot_stack_all[..., 2 * H:]
    # ṙₜ = rₜ ∘ (1 − rₜ) ∘ ȧ_rₜ
    dot_r_all = r_all * (1 - r_all) * dot_a_r_all
    # ȧ_h̃ₜ = ṙₜ ∘ u_h̃ₜ + rₜ ∘ ṡtackₜ[0:H]
    dot_a_h_tilde_all = dot_r_all * u_h_tilde_all + r_all * dot_stack_all[..., :H]
    # h̃̇ₜ = (1 − h̃ₜ²) ∘ ȧ_h̃ₜ
    dot_h_tilde_all = (1 - h_tilde_all**2) * dot_a_h_tilde_all
    # ḣₜ = −żₜ ∘ h̃ₜ + (1 − zₜ) ∘ h̃̇ₜ + żₜ ∘ hₜ₋₁ + zₜ ∘ ḣₜ₋₁
    dot_h_all = (
        (1 - z_all) * dot_h_tilde_all
        - dot_z_all * h_tilde_all
        + dot_z_all * h_all[:-1]
        + z_all * dot_h_prev[..., None, None, :]
    )
    return dot_h_all.transpose(1, 2, 3, 0).copy()


class _Forward:
    """The arrays of a pass over blocks of steps, and views of each step, made once."""

    def __init__(self, sizes, dtype):
        T, B, D, H = (sizes[name] for name in ("T", "B", "D", "H"))
        self.block = max(1, min(T, BLOCK // max(1, B), max(128 // max(1, B), T // 4)))
        self.U_stack = np.empty((3 * H, H), dtype)
        self.W_stack = np.empty((3 * H, D), dtype)
        self.a_stack_all = np.empty((self.block, B, 3 * H), dtype)
        self.b_stack = np.empty((3 * H,), dtype)
        self.h_all = np.empty((T + 1, B, H), dtype)
        self.h_out = np.empty((T, B, H), dtype)
        self.h_tilde_all = np.empty((T, B, H), dtype)
        self.stack_all = np.empty((T, B, 3 * H), dtype)
        self.z_r_all = np.empty((T, 2, B, H), dtype)
        self.ahead = list(
            zip(
                self.a_stack_all[..., :2 * H].reshape(self.block, B, 2, H).transpose(0, 2, 1, 3),
                self.a_stack_all[..., 2 * H:],
            )
        )
        self.steps = list(
            zip(
                self.stack_all,
                self.h_all[:-1],
                self.z_r_all,
                self.stack_all[..., H:].reshape(T, B, 2, H).transpose(0, 2, 1, 3),
                self.h_tilde_all,
                self.z_r_all[:, 1],
                self.stack_all[..., :H],
                self.h_all[1:],
                self.z_r_all[:, 0],
            )
        )


class _Backward:
    """The arrays of a pass over blocks of steps, and views of each step, made once."""

    def __init__(self, sizes, dtype):
        T, B, D, H = (sizes[name] for name in ("T", "B", "D", "H"))
        self.block = max(1, min(T, BLOCK // max(1, B), max(128 // max(1, B), T // 4)))
        self.U_stack = np.empty((3 * H, H), dtype)
        self.W_stack = np.empty((3 * H, D), dtype)
        self.buffer_1 = np.empty((self.block, B, H), dtype)
        self.buffer_2 = np.empty((B, H), dtype)
        self.buffer_3 = np.empty((3 * H, D), dtype)
        self.buffer_4 = np.empty((3 * H, H), dtype)
        self.carry_h = np.empty((B, H), dtype)
        self.cotangent_h_all = np.empty((self.block, B, H), dtype)
        self.d_U_stack = np.empty((3 * H, H), dtype)
        self.d_W_stack = np.empty((3 * H, D), dtype)
        self.d_b_stack = np.empty((3 * H,), dtype)
        self.d_h = np.empty((B, H), dtype)
        self.d_stack_all = np.empty((self.block, B, 4 * H), dtype)
        self.d_x_out = np.empty((T, B, D), dtype)
        self.k_stack_all = np.empty((self.block, 4, B, H), dtype)
        self.steps = list(
            zip(
                self.cotangent_h_all,
                self.d_stack_all.reshape(self.block, B, 4, H).transpose(0, 2, 1, 3),
                self.k_stack_all,
                self.d_stack_all[..., :3 * H],
            )
        )


class _Tangents:
    """The arrays of a pass over blocks of steps, and views of each step, made once."""

    def __init__(self, sizes, dtype):
        T, B, D, H = (sizes[name] for name in ("T", "B", "D", "H"))
        self.block = max(1, min(T, BLOCK // 4 // max(1, B), max(64 // max(1, B), T // 4)))
        self.U_stack = np.empty((3 * H, H), dtype)
        self.W_stack = np.empty((3 * H, D), dtype)
        self.buffer_1 = np.empty((self.block, B, H), dtype)
        self.buffer_2 = np.empty((self.block, B, 3 * H), dtype)
        self.buffer_3 = np.empty((B, H), dtype)
        self.buffer_4 = np.empty((B, H), dtype)
        self.dot_U_stack = np.empty((3 * H, H), dtype)
        self.dot_W_stack = np.empty((3 * H, D), dtype)
        self.dot_a_h_tilde_all = np.empty((T, B, H), dtype)
        self.dot_a_r_all = np.empty((T, B, H), dtype)
        self.dot_a_stack_all = np.empty((self.block, B, 3 * H), dtype)
        self.dot_a_z_all = np.empty((T, B, H), dtype)
        self.dot_b_stack = np.empty((3 * H,), dtype)
        self.dot_h_all = np.empty((T + 1, B, H), dtype)
        self.dot_stack_all = np.empty((T, B, 3 * H), dtype)
        self.dot_stack_in_all = np.empty((self.block, B, 3 * H), dtype)
        self.k_a_h_tilde_all = np.empty((self.block, B, H), dtype)
        self.k_h_2_all = np.empty((self.block, B, H), dtype)
        self.k_h_all = np.empty((self.block, B, H), dtype)
        self.s_1_all = np.empty((self.block, B, H), dtype)
        self.ahead = list(
            zip(
                self.dot_stack_in_all,
                self.dot_a_stack_all[..., :H],
                self.dot_a_stack_all[..., H:2 * H],
                self.dot_a_stack_all[..., 2 * H:],
                self.k_a_h_tilde_all,
                self.k_h_all,
                self.k_h_2_all,
            )
        )
        self.steps = list(
            zip(
                self.dot_stack_all,
                self.dot_h_all[:-1],
                self.dot_a_z_all,
                self.dot_stack_all[..., H:2 * H],
                self.dot_a_r_all,
                self.dot_stack_all[..., 2 * H:],
                self.dot_a_h_tilde_all,
                self.dot_stack_all[..., :H],
                self.dot_h_all[1:],
            )
        )


class _Gradients:
    """The arrays of a pass over blocks of steps, and views of each step, made once."""

    def __init__(self, sizes, dtype):
        T, B, D, H = (sizes[name] for name in ("T", "B", "D", "H"))
        self.block = max(1, min(T, BLOCK // 4 // max(1, B), max(64 // max(1, B), T // 4)))
        self.U_stack = np.empty((3 * H, H), dtype)
        self.buffer_1 = np.empty((self.block, B, H), dtype)
        self.buffer_2 = np.empty((B, H), dtype)
        self.buffer_3 = np.empty((3 * H, D), dtype)
        self.buffer_4 = np.empty((3 * H, H), dtype)
        self.carry_h = np.empty((B, H), dtype)
        self.cotangent_h_all = np.empty((self.block, B, H), dtype)
        self.d_h_all = np.empty((self.block, B, H), dtype)
        self.d_h_out = np.empty((T, B, H), dtype)
        self.d_stack_all = np.empty((self.block, B, 4 * H), dtype)
        self.dot_U_stack = np.empty((3 * H, H), dtype)
        self.dot_W_stack = np.empty((3 * H, D), dtype)
        self.dot_d_U_stack_2 = np.empty((3 * H, H), dtype)
        self.dot_d_W_stack_2 = np.empty((3 * H, D), dtype)
        self.dot_d_h_in_out = np.empty((T, B, H), dtype)
        self.dot_d_x_in_out = np.empty((T, B, D), dtype)
        self.k_stack_all = np.empty((self.block, 4, B, H), dtype)
        self.s_1_all = np.empty((self.block, B, H), dtype)
        self.steps = list(
            zip(
                self.d_h_all,
                self.cotangent_h_all,
                self.d_stack_all.reshape(self.block, B, 4, H).transpose(0, 2, 1, 3),
                self.k_stack_all,
                self.d_stack_all[..., :3 * H],
            )
        )


class _Hvp:
    """The arrays of a pass over blocks of steps, and views of each step, made once."""

    def __init__(self, sizes, dtype):
        T, B, D, H = (sizes[name] for name in ("T", "B", "D", "H"))
        self.block = max(1, min(T, BLOCK // 4 // max(1, B), max(64 // max(1, B), T // 4)))
        self.U_stack = np.empty((3 * H, H), dtype)
        self.W_stack = np.empty((3 * H, D), dtype)
        self.buffer_1 = np.empty((self.block, B, H), dtype)
        self.buffer_2 = np.empty((self.block, B, H), dtype)
        self.buffer_3 = np.empty((B, H), dtype)
        self.buffer_4 = np.empty((3 * H, D), dtype)
        self.buffer_5 = np.empty((3 * H, H), dtype)
        self.d_h_tilde_all = np.empty((self.block, B, H), dtype)
        self.d_r_all = np.empty((self.block, B, H), dtype)
        self.d_z_all = np.empty((self.block, B, H), dtype)
        self.dot_carry_h = np.empty((B, H), dtype)
        self.dot_d_a_h_tilde_z = np.empty((2, B, H), dtype)
        self.dot_d_a_stack_2 = np.empty((2, B, H), dtype)
        self.dot_d_a_stack_all = np.empty((self.block, 2, B, H), dtype)
        self.dot_d_b_stack = np.empty((3 * H,), dtype)
        self.dot_d_h_in_2_all = np.empty((self.block, B, H), dtype)
        self.dot_d_h_tilde_in_all = np.empty((self.block, B, H), dtype)
        self.dot_d_r_in_all = np.empty((self.block, B, H), dtype)
        self.dot_d_stack_2_all = np.empty((self.block, 2, B, H), dtype)
        self.dot_d_stack_all = np.empty((self.block, B, 4 * H), dtype)
        self.dot_d_u_h_tilde_in_all = np.empty((self.block, B, H), dtype)
        self.dot_d_x_out = np.empty((T, B, D), dtype)
        self.dot_h_tilde_all = np.empty((self.block, B, H), dtype)
        self.dot_r_all = np.empty((self.block, B, H), dtype)
        self.dot_z_all = np.empty((self.block, B, H), dtype)
        self.k_a_stack_all = np.empty((self.block, 2, B, H), dtype)
        self.k_stack_all = np.empty((self.block, 2, B, H), dtype)
        self.s_1_all = np.empty((self.block, B, H), dtype)
        self.s_2_all = np.empty((self.block, B, H), dtype)
        self.s_3_all = np.empty((self.block, B, H), dtype)
        self.s_4_all = np.empty((self.block, B, H), dtype)
        self.s_5_all = np.empty((self.block, B, H), dtype)
        self.s_6_all = np.empty((self.block, B, H), dtype)
        self.s_7_all = np.empty((self.block, B, H), dtype)
        self.s_8_all = np.empty((self.block, B, H), dtype)
        self.sum_dot_d_U_stack = np.empty((3 * H, H), dtype)
        self.sum_dot_d_W_stack = np.empty((3 * H, D), dtype)
        self.steps = list(
            zip(
                self.k_stack_all,
                self.dot_d_stack_2_all,
                self.dot_d_stack_all[..., :H],
                self.dot_d_u_h_tilde_in_all,
                self.k_a_stack_all,
                self.dot_d_a_stack_all,
                self.dot_d_stack_all[..., H:2 * H],
                self.dot_d_stack_all[..., 2 * H:3 * H],
                self.dot_d_stack_all[..., 3 * H:],
                self.dot_d_stack_all[..., :3 * H],
                self.dot_d_h_in_2_all,
            )
        )


BLOCK = 512
"""Steps times examples of a block: with fewer, products are too small; with more, it leaves the cache."""


# ---- what the functions return, and what they refuse


class Tape:
    """What forward keeps for backward, jvp and step_jacobian: arrays by name, opaque to the caller."""

    def __init__(self, sizes, dtype, segments=None, **saved):
        self.sizes = sizes
        self.dtype = dtype
        self.segments = segments
        self.__dict__.update(saved)


class Gradients:
    """.parameters, .inputs and .state (the initial state): name -> gradient, shaped as its primal."""

    def __init__(self, parameters, inputs, state):
        self.parameters = parameters
        self.inputs = inputs
        self.state = state


class Workspace:
    """Arrays kept between calls of the same sizes: pass the same one to every call of a training loop.

    Outputs and tape live until the next forward with it, gradients until the next backward with it.
    """

    def __init__(self):
        self.kept = {}


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


def _usable(where, workspace):
    """Refuse what is no workspace of this module."""
    if workspace is None or isinstance(workspace, Workspace):
        return
    kind = type(workspace)
    got = f"one of {kind.__module__}" if kind.__name__ == "Workspace" else kind.__name__
    raise ValueError(
        f"{where}: workspace: wrong type: expected a Workspace of {__name__}, got {got}. "
        "Make one with Workspace()."
    )


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
    """Say what is wrong with an array, if anything is; a learned number may be one of NumPy's own."""
    is_array, kind = isinstance(array, np.ndarray if dims else (np.ndarray, np.generic)), type(array).__name__
    if not is_array:
        raise ValueError(
            f"{where}: {label} is no array: expected a NumPy array, got {kind}. Convert it with np.asarray."
        )
    is_plain = not isinstance(array, (np.matrix, np.ma.MaskedArray))
    if not is_plain:
        raise ValueError(
            f"{where}: {label}: wrong type: expected a plain NumPy array, got {kind}. "
            "Convert it with np.asarray, a masked one with .filled()."
        )
    if array.dtype not in _DTYPES:
        raise ValueError(
            f"{where}: {label}: wrong dtype: expected float32, float64 or complex128, got {array.dtype}. "
            "Convert it."
        )
    if array.dtype != dtype:
        first = "the tape" if where in ("backward", "step_jacobian") else "the first array"
        raise ValueError(
            f"{where}: {label}: mixed dtypes: expected {dtype}, as {first}, got {array.dtype}. "
            "Convert one of them."
        )
    if array.ndim == len(dims):
        for dim, size in zip(dims, array.shape):
            if dim.isidentifier():
                sizes.setdefault(dim, size)
    if array.ndim != len(dims) or any(sizes.get(dim, size) != size for dim, size in zip(dims, array.shape)):
        words = [f"{dim} = {sizes[dim]}" if dim in sizes else dim for dim in dims]
        expected = ", ".join(words) + "," * (len(dims) == 1)
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
    """The sizes and the dtype of a call, read from its arrays, each checked against the others."""
    tables = _tables(where, parameters, inputs, state)
    sizes = dict(_FIXED)
    dtype = getattr(tables[0][1], "dtype", None)
    if dtype not in _DTYPES:
        _array_refused(where, *tables[0], sizes, dtype)
    for label, array, dims in tables:
        _array(where, label, array, dims, sizes, dtype)
    missing = [dim for dims in STATES.values() for dim in dims if dim not in sizes]
    if missing:
        raise ValueError(
            f"{where}: state: size unknown: expected an array that has dimension {missing[0]}, got none. "
            "Pass the state."
        )
    return sizes, dtype


def _taped(where, parameters, tape):
    """Refuse a tape that isn't this module's, and parameters that don't fit it."""
    is_tape = isinstance(tape, Tape)
    if not is_tape:
        raise ValueError(
            f"{where}: tape: wrong type: expected the tape that forward returned, got {type(tape).__name__}. "
            "Call forward first."
        )
    _names(where, "parameters", parameters, PARAMETERS)
    for name, dims in PARAMETERS.items():
        _array(where, f"parameters[{name!r}]", parameters[name], dims, tape.sizes, tape.dtype)


def _filled(where, what, given, table, axes, sizes, dtype):
    """The arrays of a mapping that may miss some, of states be None: zeros for those, the others checked."""
    given = {} if given is None and table is STATES else given
    _names(where, what, given, table, complete=False)
    filled = {}
    for name, dims in table.items():
        if name in given:
            _array(where, f"{what}[{name!r}]", given[name], (*axes, *dims), sizes, dtype)
            filled[name] = given[name]
        else:
            filled[name] = np.broadcast_to(dtype.type(0), [sizes[dim] for dim in (*axes, *dims)])
    return filled


def _checkpointed(parameters, inputs, state, every, sizes, dtype):
    """forward that keeps the states every so many steps; backward computes the steps between again."""
    try:
        every = range(every).stop if not isinstance(every, (bool, np.bool_)) else every
    except TypeError:
        pass
    if type(every) is not int or every < 1:
        raise ValueError(
            f"forward: checkpoint_every: expected a number of steps >= 1, got {every!r}. "
            "Choose about the root of T."
        )
    T, B = sizes["T"], sizes["B"]
    outputs = {
        name: np.empty((T, B, *_shape(dims, sizes)), dtype) for name, dims in {**STATES, **OUTPUTS}.items()
    }
    state = _filled("forward", "state", state, STATES, ("B",), sizes, dtype)
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


def _shape(dims, sizes):
    """The sizes of some dimensions."""
    return [sizes[dim] for dim in dims]


def _segment(parameters, tape, index, workspace):
    """The tape of one segment, computed again from the states in front of it."""
    start, stop, state = tape.segments[index]
    piece = {name: array[start:stop] for name, array in tape.inputs.items()}
    return forward(parameters, piece, state, workspace=workspace)[1]


def _backward_by_segments(parameters, tape, cotangents):
    """backward over a checkpointed tape: segments last first, each with the gradient of its last state."""
    sizes, dtype, B = tape.sizes, tape.dtype, tape.sizes["B"]
    gradients = Gradients(
        parameters={name: np.zeros(_shape(dims, sizes), dtype) for name, dims in PARAMETERS.items()},
        inputs={name: np.empty(array.shape, dtype) for name, array in tape.inputs.items()},
        state={name: np.zeros((B, *_shape(dims, sizes)), dtype) for name, dims in STATES.items()},
    )
    workspace = Workspace()
    for index in reversed(range(len(tape.segments))):
        start, stop, _ = tape.segments[index]
        piece = {name: array[start:stop] for name, array in cotangents.items()}
        for name in STATES:
            piece[name] = piece[name].copy()
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
    total = sum(int(np.prod(_shape(dims, tape.sizes))) for dims in STATES.values())
    J = np.empty((tape.sizes["T"], tape.sizes["B"], total, total), tape.dtype)
    workspace = Workspace()
    for index, (start, stop, _) in enumerate(tape.segments):
        J[start:stop] = step_jacobian(parameters, _segment(parameters, tape, index, workspace))
    return J


_DTYPES = (np.dtype(np.float32), np.dtype(np.float64), np.dtype(np.complex128))
_FIXED = {}
