# Emitted by `python -m derive lstm --peephole diagonal`. Don't edit: change the equations and emit again.
#
#     i: iₜ = σ(W_i xₜ + U_i hₜ₋₁ + p_i ∘ cₜ₋₁ + b_i)
#     f: fₜ = σ(W_f xₜ + U_f hₜ₋₁ + p_f ∘ cₜ₋₁ + b_f)
#     c_tilde: c̃ₜ = tanh(W_c xₜ + U_c hₜ₋₁ + b_c)
#     c: cₜ = fₜ ∘ cₜ₋₁ + iₜ ∘ c̃ₜ
#     o: oₜ = σ(W_o xₜ + U_o hₜ₋₁ + p_o ∘ cₜ + b_o)
#     h: hₜ = oₜ ∘ tanh(cₜ)
#
# equations  sha256 a4a8eb036c9af8f8
# derivation sha256 059a4db3e97e8f46
# body       sha256 0fe10bda1e357c0f
# header     sha256 701a522f98c96f31
#
# per step and example:
#     forward  2 matrix products (4 D H + 4 H^2 multiply-adds), 32 H elementwise operations
#     backward 4 matrix products (8 D H + 8 H^2 multiply-adds), 32 H elementwise operations
#     saved    7 H numbers: h, c, i, f, c_tilde, o, tanh_c
# fmt: off
"""The cell `lstm --peephole diagonal` and its gradients, in NumPy.

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
    "W_i": ("H", "D"),
    "U_i": ("H", "H"),
    "p_i": ("H",),
    "b_i": ("H",),
    "W_f": ("H", "D"),
    "U_f": ("H", "H"),
    "p_f": ("H",),
    "b_f": ("H",),
    "W_c": ("H", "D"),
    "U_c": ("H", "H"),
    "b_c": ("H",),
    "W_o": ("H", "D"),
    "U_o": ("H", "H"),
    "p_o": ("H",),
    "b_o": ("H",),
}
INPUTS = {"x": ("D",)}
STATES = {
    "h": ("H",),
    "c": ("H",),
}
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
    add, dot, matmul, multiply, tanh = np.add, np.dot, np.matmul, np.multiply, np.tanh
    x_all = inputs["x"]
    # p_o_half = 0.5 p_o
    p_o_half = 0.5 * parameters["p_o"]
    # W_stack = [W_i_half; W_f_half; W_c; W_o_half]
    W_stack = m.W_stack
    multiply(0.5, parameters["W_i"], W_stack[:H])
    multiply(0.5, parameters["W_f"], W_stack[H:2 * H])
    W_stack[2 * H:3 * H] = parameters["W_c"]
    multiply(0.5, parameters["W_o"], W_stack[3 * H:])
    # U_stack = [U_i_half; U_f_half; U_c; U_o_half]
    U_stack = m.U_stack
    multiply(0.5, parameters["U_i"], U_stack[:H])
    multiply(0.5, parameters["U_f"], U_stack[H:2 * H])
    U_stack[2 * H:3 * H] = parameters["U_c"]
    multiply(0.5, parameters["U_o"], U_stack[3 * H:])
    # b_stack = [b_i_half; b_f_half; b_c; b_o_half]
    b_stack = m.b_stack
    multiply(0.5, parameters["b_i"], b_stack[:H])
    multiply(0.5, parameters["b_f"], b_stack[H:2 * H])
    b_stack[2 * H:3 * H] = parameters["b_c"]
    multiply(0.5, parameters["b_o"], b_stack[3 * H:])
    # p_stack = [p_i_half; p_f_half]
    p_stack = m.p_stack
    multiply(0.5, parameters["p_i"], p_stack[:H])
    multiply(0.5, parameters["p_f"], p_stack[H:])
    m.h_all[0] = state["h"]
    m.c_all[0] = state["c"]
    half = np.array(0.5, dtype)
    a_stack = m.a_stack
    a_stack_part_by_2 = m.a_stack[..., :2 * H].reshape(B, 2, H).transpose(1, 0, 2)
    p_stack_by_2 = p_stack.reshape(2, 1, H)
    a_stack_part_2 = m.a_stack[..., 2 * H:3 * H]
    buffer_1 = m.buffer_1
    a_stack_part_3 = m.a_stack[..., 3 * H:]
    for start in range(0, T, m.block):
        stop = min(T, start + m.block)
        n = stop - start
        # a_stack_inₜ = W_stack xₜ + b_stack
        matmul(x_all[start:stop].reshape(n * B, D), W_stack.T, m.a_stack_in_all[:n].reshape(n * B, 4 * H))
        add(m.a_stack_in_all[:n], b_stack, m.a_stack_in_all[:n])
        for (a_stack_in,), (
            h_prev,
            i_f,
            c_prev,
            c_tilde,
            c,
            f,
            i,
            o,
            tanh_c,
            h,
        ) in zip(m.ahead[:n], m.steps[start:stop]):
            # a_stackₜ = a_stack_inₜ + U_stack hₜ₋₁
            dot(h_prev, U_stack.T, a_stack)
            add(a_stack_in, a_stack, a_stack)
            # a_stack_2ₜ = a_stackₜ[0:2*H] + p_stack ∘ [cₜ₋₁; cₜ₋₁]
            multiply(p_stack_by_2, c_prev, i_f)
            add(a_stack_part_by_2, i_f, i_f)
            # tanh_a_stackₜ = tanh(a_stack_2ₜ)
            tanh(i_f, i_f)
            # i_fₜ = 0.5 + 0.5 tanh_a_stackₜ
            multiply(half, i_f, i_f)
            add(half, i_f, i_f)
            # iₜ = i_fₜ[0:H]
            # fₜ = i_fₜ[H:2*H]
            # c̃ₜ = tanh(a_stackₜ[2*H:3*H])
            tanh(a_stack_part_2, c_tilde)
            # cₜ = fₜ ∘ cₜ₋₁ + iₜ ∘ c̃ₜ
            multiply(f, c_prev, c)
            multiply(i, c_tilde, buffer_1)
            add(c, buffer_1, c)
            # a_oₜ = a_stackₜ[3*H:4*H] + p_o_half ∘ cₜ
            multiply(p_o_half, c, o)
            add(a_stack_part_3, o, o)
            # tanh_a_oₜ = tanh(a_oₜ)
            tanh(o, o)
            # oₜ = 0.5 + 0.5 tanh_a_oₜ
            multiply(half, o, o)
            add(half, o, o)
            # tanh(cₜ)
            tanh(c, tanh_c)
            # hₜ = oₜ ∘ tanh(cₜ)
            multiply(o, tanh_c, h)
    m.h_out[...] = m.h_all[1:]
    m.c_out[...] = m.c_all[1:]
    outputs = {"h": m.h_out, "c": m.c_out}
    tape = Tape(
        sizes,
        dtype,
        x=x_all,
        h=m.h_all,
        c=m.c_all,
        i=m.i_f_all[:, 0],
        f=m.i_f_all[:, 1],
        c_tilde=m.c_tilde_all,
        o=m.o_all,
        tanh_c=m.tanh_c_all,
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
    p_i = parameters["p_i"]
    p_f = parameters["p_f"]
    p_o = parameters["p_o"]
    cotangent_h_all = cotangents["h"]
    cotangent_c_all = cotangents["c"]
    # U_stack = [U_i; U_f; U_c; U_o]
    U_stack = m.U_stack
    U_stack[:H] = parameters["U_i"]
    U_stack[H:2 * H] = parameters["U_f"]
    U_stack[2 * H:3 * H] = parameters["U_c"]
    U_stack[3 * H:] = parameters["U_o"]
    # W_stack = [W_i; W_f; W_c; W_o]
    W_stack = m.W_stack
    W_stack[:H] = parameters["W_i"]
    W_stack[H:2 * H] = parameters["W_f"]
    W_stack[2 * H:3 * H] = parameters["W_c"]
    W_stack[3 * H:] = parameters["W_o"]
    m.carry_h[...] = 0
    m.carry_c[...] = 0
    m.d_p_i[...] = 0
    m.d_p_f[...] = 0
    m.d_p_o[...] = 0
    m.d_W_stack[...] = 0
    m.d_U_stack[...] = 0
    m.d_b_stack[...] = 0
    d_h = m.d_h
    carry_h = m.carry_h
    d_c = m.d_c
    carry_c = m.carry_c
    for stop in range(T, 0, -m.block):
        start = max(0, stop - m.block)
        n = stop - start
        h_all = tape.h[start + 1:stop + 1]
        o_all = tape.o[start:stop]
        tanh_c_all = tape.tanh_c[start:stop]
        i_all = tape.i[start:stop]
        c_tilde_all = tape.c_tilde[start:stop]
        c_prev_all = tape.c[start:stop]
        f_all = tape.f[start:stop]
        c_all = tape.c[start + 1:stop + 1]
        x_all = tape.x[start:stop]
        h_prev_all = tape.h[start:stop]
        m.cotangent_h_all[:n] = cotangent_h_all[start:stop]
        m.cotangent_c_all[:n] = cotangent_c_all[start:stop]
        # k_a_oₜ = hₜ ∘ (1 − oₜ)
        subtract(1, o_all, m.k_a_o_all[:n])
        multiply(m.k_a_o_all[:n], h_all, m.k_a_o_all[:n])
        # k_cₜ = k_a_oₜ ∘ p_o + oₜ ∘ (1 − tanh(cₜ)²)
        multiply(m.k_a_o_all[:n], p_o, m.k_c_all[:n])
        multiply(tanh_c_all, tanh_c_all, m.buffer_1[:n])
        subtract(1, m.buffer_1[:n], m.buffer_1[:n])
        multiply(m.buffer_1[:n], o_all, m.buffer_1[:n])
        add(m.k_c_all[:n], m.buffer_1[:n], m.k_c_all[:n])
        # k_a_c̃ₜ = iₜ ∘ (1 − c̃ₜ²)
        multiply(c_tilde_all, c_tilde_all, m.k_a_stack_all[:n, 2])
        subtract(1, m.k_a_stack_all[:n, 2], m.k_a_stack_all[:n, 2])
        multiply(m.k_a_stack_all[:n, 2], i_all, m.k_a_stack_all[:n, 2])
        # k_a_fₜ = cₜ₋₁ ∘ fₜ ∘ (1 − fₜ)
        subtract(1, f_all, m.k_a_stack_all[:n, 1])
        multiply(m.k_a_stack_all[:n, 1], c_prev_all, m.k_a_stack_all[:n, 1])
        multiply(m.k_a_stack_all[:n, 1], f_all, m.k_a_stack_all[:n, 1])
        # k_a_iₜ = c̃ₜ ∘ iₜ ∘ (1 − iₜ)
        subtract(1, i_all, m.k_a_stack_all[:n, 0])
        multiply(m.k_a_stack_all[:n, 0], c_tilde_all, m.k_a_stack_all[:n, 0])
        multiply(m.k_a_stack_all[:n, 0], i_all, m.k_a_stack_all[:n, 0])
        # k_c_2ₜ = k_a_iₜ ∘ p_i + k_a_fₜ ∘ p_f + fₜ
        multiply(m.k_a_stack_all[:n, 0], p_i, m.k_c_2_all[:n])
        multiply(m.k_a_stack_all[:n, 1], p_f, m.buffer_1[:n])
        add(m.k_c_2_all[:n], m.buffer_1[:n], m.k_c_2_all[:n])
        add(m.k_c_2_all[:n], f_all, m.k_c_2_all[:n])
        # k_a_stackₜ = [k_a_iₜ; k_a_fₜ; k_a_c̃ₜ]
        for (
            cotangent_h,
            d_a_o,
            k_a_o,
            cotangent_c,
            k_c,
            d_a_stack_2_by_3,
            k_a_stack,
            d_a_stack,
            k_c_2,
        ) in reversed(m.steps[:n]):
            # ∂L/∂hₜ = ∂Lₜ/∂hₜ + ∂L/∂hₜ|ₜ₊₁
            add(cotangent_h, carry_h, d_h)
            # ∂L/∂a_oₜ = ∂L/∂hₜ ∘ k_a_oₜ
            multiply(d_h, k_a_o, d_a_o)
            # ∂L/∂cₜ = ∂Lₜ/∂cₜ + ∂L/∂hₜ ∘ k_cₜ + ∂L/∂cₜ|ₜ₊₁
            multiply(d_h, k_c, d_c)
            add(cotangent_c, d_c, d_c)
            add(d_c, carry_c, d_c)
            # ∂L/∂a_stack_2ₜ = [∂L/∂cₜ; ∂L/∂cₜ; ∂L/∂cₜ] ∘ k_a_stackₜ
            multiply(d_c, k_a_stack, d_a_stack_2_by_3)
            # ∂L/∂a_stackₜ = [∂L/∂a_stack_2ₜ; ∂L/∂a_oₜ]
            # ∂L/∂hₜ₋₁|ₜ = U_stackᵀ ∂L/∂a_stackₜ
            dot(d_a_stack, U_stack, carry_h)
            # ∂L/∂cₜ₋₁|ₜ = ∂L/∂cₜ ∘ k_c_2ₜ
            multiply(d_c, k_c_2, carry_c)
        d_a_stack_flat = m.d_a_stack_all[:n].reshape(n * B, 4 * H)
        x_flat = x_all.reshape(n * B, D)
        h_prev_flat = h_prev_all.reshape(n * B, H)
        # ∂L/∂xₜ = W_stackᵀ ∂L/∂a_stackₜ
        matmul(d_a_stack_flat, W_stack, m.d_x_out[start:stop].reshape(n * B, D))
        # ∂L/∂p_i = Σₜ ∂L/∂a_stack_2ₜ[0:H] ∘ cₜ₋₁
        m.d_p_i += np.einsum("tbr,tbr->r", m.d_a_stack_all[:n, :, :H], c_prev_all)
        # ∂L/∂p_f = Σₜ ∂L/∂a_stack_2ₜ[H:2*H] ∘ cₜ₋₁
        m.d_p_f += np.einsum("tbr,tbr->r", m.d_a_stack_all[:n, :, H:2 * H], c_prev_all)
        # ∂L/∂p_o = Σₜ ∂L/∂a_oₜ ∘ cₜ
        m.d_p_o += np.einsum("tbr,tbr->r", m.d_a_stack_all[:n, :, 3 * H:], c_all)
        # ∂L/∂W_stack = Σₜ ∂L/∂a_stackₜ xₜᵀ
        matmul(d_a_stack_flat.T, x_flat, m.buffer_2)
        m.d_W_stack += m.buffer_2
        # ∂L/∂U_stack = Σₜ ∂L/∂a_stackₜ hₜ₋₁ᵀ
        matmul(d_a_stack_flat.T, h_prev_flat, m.buffer_3)
        m.d_U_stack += m.buffer_3
        # ∂L/∂b_stack = Σₜ ∂L/∂a_stackₜ
        m.d_b_stack += np.ones((n * B,), dtype) @ d_a_stack_flat
    return Gradients(
        parameters={
            "W_i": m.d_W_stack[:H],
            "U_i": m.d_U_stack[:H],
            "p_i": m.d_p_i,
            "b_i": m.d_b_stack[:H],
            "W_f": m.d_W_stack[H:2 * H],
            "U_f": m.d_U_stack[H:2 * H],
            "p_f": m.d_p_f,
            "b_f": m.d_b_stack[H:2 * H],
            "W_c": m.d_W_stack[2 * H:3 * H],
            "U_c": m.d_U_stack[2 * H:3 * H],
            "b_c": m.d_b_stack[2 * H:3 * H],
            "W_o": m.d_W_stack[3 * H:],
            "U_o": m.d_U_stack[3 * H:],
            "p_o": m.d_p_o,
            "b_o": m.d_b_stack[3 * H:],
        },
        inputs={"x": m.d_x_out},
        state={"h": m.carry_h.copy(), "c": m.carry_c.copy()},
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
    dot_W_i = tangent_parameters["W_i"]
    dot_W_f = tangent_parameters["W_f"]
    dot_W_c = tangent_parameters["W_c"]
    dot_W_o = tangent_parameters["W_o"]
    W_i = parameters["W_i"]
    W_f = parameters["W_f"]
    W_c = parameters["W_c"]
    W_o = parameters["W_o"]
    dot_U_i = tangent_parameters["U_i"]
    dot_U_f = tangent_parameters["U_f"]
    dot_U_c = tangent_parameters["U_c"]
    dot_U_o = tangent_parameters["U_o"]
    U_i = parameters["U_i"]
    U_f = parameters["U_f"]
    U_c = parameters["U_c"]
    U_o = parameters["U_o"]
    dot_b_i = tangent_parameters["b_i"]
    dot_b_f = tangent_parameters["b_f"]
    dot_b_c = tangent_parameters["b_c"]
    dot_b_o = tangent_parameters["b_o"]
    dot_p_i = tangent_parameters["p_i"]
    p_i = parameters["p_i"]
    dot_p_f = tangent_parameters["p_f"]
    p_f = parameters["p_f"]
    dot_p_o = tangent_parameters["p_o"]
    p_o = parameters["p_o"]
    x_all = tape.x
    dot_x_all = tangent_inputs["x"]
    h_all = tape.h
    c_all = tape.c
    i_all = tape.i
    f_all = tape.f
    c_tilde_all = tape.c_tilde
    o_all = tape.o
    tanh_c_all = tape.tanh_c
    # Ẇ_stack = [Ẇ_i; Ẇ_f; Ẇ_c; Ẇ_o]
    dot_W_stack = np.concatenate([dot_W_i, dot_W_f, dot_W_c, dot_W_o], axis=-2)
    # W_stack = [W_i; W_f; W_c; W_o]
    W_stack = np.concatenate([W_i, W_f, W_c, W_o], axis=-2)
    # U̇_stack = [U̇_i; U̇_f; U̇_c; U̇_o]
    dot_U_stack = np.concatenate([dot_U_i, dot_U_f, dot_U_c, dot_U_o], axis=-2)
    # U_stack = [U_i; U_f; U_c; U_o]
    U_stack = np.concatenate([U_i, U_f, U_c, U_o], axis=-2)
    # ḃ_stack = [ḃ_i; ḃ_f; ḃ_c; ḃ_o]
    dot_b_stack = np.concatenate([dot_b_i, dot_b_f, dot_b_c, dot_b_o], axis=-1)
    # ȧ_stack_inₜ = Ẇ_stack xₜ + W_stack ẋₜ + U̇_stack hₜ₋₁ + ḃ_stack
    dot_a_stack_in_all = (
        x_all @ dot_W_stack.T + dot_x_all @ W_stack.T + h_all[:-1] @ dot_U_stack.T + dot_b_stack
    )
    dot_c_all = np.empty((T + 1, B, H), dtype)
    dot_c_all[0] = tangent_state["c"]
    dot_h_all = np.empty((T + 1, B, H), dtype)
    dot_h_all[0] = tangent_state["h"]
    for t in range(T):
        dot_a_stack_in = dot_a_stack_in_all[t]
        dot_h_prev = dot_h_all[t]
        c_prev = c_all[t]
        dot_c_prev = dot_c_all[t]
        i = i_all[t]
        f = f_all[t]
        c_tilde = c_tilde_all[t]
        c = c_all[t + 1]
        o = o_all[t]
        tanh_c = tanh_c_all[t]
        # ȧ_stackₜ = ȧ_stack_inₜ + U_stack ḣₜ₋₁
        dot_a_stack = dot_a_stack_in + dot_h_prev @ U_stack.T
        # ȧ_iₜ = ȧ_stackₜ[0:H] + ṗ_i ∘ cₜ₋₁ + p_i ∘ ċₜ₋₁
        dot_a_i = dot_a_stack[..., :H] + dot_p_i * c_prev + p_i * dot_c_prev
        # i̇ₜ = iₜ ∘ (1 − iₜ) ∘ ȧ_iₜ
        dot_i = i * (1 - i) * dot_a_i
        # ȧ_fₜ = ȧ_stackₜ[H:2*H] + ṗ_f ∘ cₜ₋₁ + p_f ∘ ċₜ₋₁
        dot_a_f = dot_a_stack[..., H:2 * H] + dot_p_f * c_prev + p_f * dot_c_prev
        # ḟₜ = fₜ ∘ (1 − fₜ) ∘ ȧ_fₜ
        dot_f = f * (1 - f) * dot_a_f
        # c̃̇ₜ = (1 − c̃ₜ²) ∘ ȧ_stackₜ[2*H:3*H]
        dot_c_tilde = (1 - c_tilde**2) * dot_a_stack[..., 2 * H:3 * H]
        # ċₜ = ḟₜ ∘ cₜ₋₁ + fₜ ∘ ċₜ₋₁ + i̇ₜ ∘ c̃ₜ + iₜ ∘ c̃̇ₜ
        dot_c = dot_c_all[t + 1] = dot_f * c_prev + f * dot_c_prev + dot_i * c_tilde + i * dot_c_tilde
        # ȧ_oₜ = ȧ_stackₜ[3*H:4*H] + ṗ_o ∘ cₜ + p_o ∘ ċₜ
        dot_a_o = dot_a_stack[..., 3 * H:] + dot_p_o * c + p_o * dot_c
        # ȯₜ = oₜ ∘ (1 − oₜ) ∘ ȧ_oₜ
        dot_o = o * (1 - o) * dot_a_o
        # ḣₜ = ȯₜ ∘ tanh(cₜ) + oₜ ∘ (1 − tanh(cₜ)²) ∘ ċₜ
        dot_h_all[t + 1] = dot_o * tanh_c + o * (1 - tanh_c**2) * dot_c
    return {"h": dot_h_all[1:], "c": dot_c_all[1:]}


def _tangents(parameters, tape, tangent_parameters, tangent_inputs, tangent_state):
    """How values move at all steps when the arguments move along tangents, {name: (T, B, ...)}, as hvp reads
    them.
    """
    sizes, dtype = tape.sizes, tape.dtype
    m = _Tangents(sizes, dtype)
    T, B, D, H = (sizes[name] for name in ("T", "B", "D", "H"))
    add, dot, matmul, multiply, subtract = np.add, np.dot, np.matmul, np.multiply, np.subtract
    dot_p_i = tangent_parameters["p_i"]
    p_i = parameters["p_i"]
    dot_p_f = tangent_parameters["p_f"]
    p_f = parameters["p_f"]
    dot_p_o = tangent_parameters["p_o"]
    p_o = parameters["p_o"]
    c_tilde_all = tape.c_tilde
    tanh_c_all = tape.tanh_c
    f_all = tape.f
    c_all = tape.c
    i_all = tape.i
    h_all = tape.h
    o_all = tape.o
    x_all = tape.x
    dot_x_all = tangent_inputs["x"]
    # Ẇ_stack = [Ẇ_i; Ẇ_f; Ẇ_c; Ẇ_o]
    dot_W_stack = m.dot_W_stack
    dot_W_stack[:H] = tangent_parameters["W_i"]
    dot_W_stack[H:2 * H] = tangent_parameters["W_f"]
    dot_W_stack[2 * H:3 * H] = tangent_parameters["W_c"]
    dot_W_stack[3 * H:] = tangent_parameters["W_o"]
    # W_stack = [W_i; W_f; W_c; W_o]
    W_stack = m.W_stack
    W_stack[:H] = parameters["W_i"]
    W_stack[H:2 * H] = parameters["W_f"]
    W_stack[2 * H:3 * H] = parameters["W_c"]
    W_stack[3 * H:] = parameters["W_o"]
    # U̇_stack = [U̇_i; U̇_f; U̇_c; U̇_o]
    dot_U_stack = m.dot_U_stack
    dot_U_stack[:H] = tangent_parameters["U_i"]
    dot_U_stack[H:2 * H] = tangent_parameters["U_f"]
    dot_U_stack[2 * H:3 * H] = tangent_parameters["U_c"]
    dot_U_stack[3 * H:] = tangent_parameters["U_o"]
    # U_stack = [U_i; U_f; U_c; U_o]
    U_stack = m.U_stack
    U_stack[:H] = parameters["U_i"]
    U_stack[H:2 * H] = parameters["U_f"]
    U_stack[2 * H:3 * H] = parameters["U_c"]
    U_stack[3 * H:] = parameters["U_o"]
    # ḃ_stack = [ḃ_i; ḃ_f; ḃ_c; ḃ_o]
    dot_b_stack = m.dot_b_stack
    dot_b_stack[:H] = tangent_parameters["b_i"]
    dot_b_stack[H:2 * H] = tangent_parameters["b_f"]
    dot_b_stack[2 * H:3 * H] = tangent_parameters["b_c"]
    dot_b_stack[3 * H:] = tangent_parameters["b_o"]
    m.dot_c_all[0] = tangent_state["c"]
    m.dot_h_all[0] = tangent_state["h"]
    buffer_3 = m.buffer_3
    buffer_4 = m.buffer_4
    buffer_5 = m.buffer_5
    for start in range(0, T, m.block):
        stop = min(T, start + m.block)
        n = stop - start
        # s_1ₜ = 1 − c̃ₜ²
        multiply(c_tilde_all[start:stop], c_tilde_all[start:stop], m.s_1_all[:n])
        subtract(1, m.s_1_all[:n], m.s_1_all[:n])
        # s_2ₜ = 1 − tanh(cₜ)²
        multiply(tanh_c_all[start:stop], tanh_c_all[start:stop], m.s_2_all[:n])
        subtract(1, m.s_2_all[:n], m.s_2_all[:n])
        # k_cₜ = fₜ ∘ (1 − fₜ) ∘ cₜ₋₁
        subtract(1, f_all[start:stop], m.k_c_all[:n])
        multiply(m.k_c_all[:n], f_all[start:stop], m.k_c_all[:n])
        multiply(m.k_c_all[:n], c_all[start:stop], m.k_c_all[:n])
        # k_c_2ₜ = iₜ ∘ (1 − iₜ) ∘ c̃ₜ
        subtract(1, i_all[start:stop], m.k_c_2_all[:n])
        multiply(m.k_c_2_all[:n], i_all[start:stop], m.k_c_2_all[:n])
        multiply(m.k_c_2_all[:n], c_tilde_all[start:stop], m.k_c_2_all[:n])
        # k_c_3ₜ = iₜ ∘ s_1ₜ
        multiply(i_all[start:stop], m.s_1_all[:n], m.k_c_3_all[:n])
        # k_hₜ = hₜ ∘ (1 − oₜ)
        subtract(1, o_all[start:stop], m.k_h_all[:n])
        multiply(m.k_h_all[:n], h_all[start + 1:stop + 1], m.k_h_all[:n])
        # k_h_2ₜ = oₜ ∘ s_2ₜ
        multiply(o_all[start:stop], m.s_2_all[:n], m.k_h_2_all[:n])
        # ȧ_stack_inₜ = Ẇ_stack xₜ + W_stack ẋₜ + U̇_stack hₜ₋₁ + ḃ_stack
        matmul(
            x_all[start:stop].reshape(n * B, D),
            dot_W_stack.T,
            m.dot_a_stack_in_all[:n].reshape(n * B, 4 * H),
        )
        matmul(dot_x_all[start:stop].reshape(n * B, D), W_stack.T, m.buffer_1[:n].reshape(n * B, 4 * H))
        add(m.dot_a_stack_in_all[:n], m.buffer_1[:n], m.dot_a_stack_in_all[:n])
        matmul(h_all[start:stop].reshape(n * B, H), dot_U_stack.T, m.buffer_2[:n].reshape(n * B, 4 * H))
        add(m.dot_a_stack_in_all[:n], m.buffer_2[:n], m.dot_a_stack_in_all[:n])
        add(m.dot_a_stack_in_all[:n], dot_b_stack, m.dot_a_stack_in_all[:n])
        for c_prev, f, c, (
            dot_a_stack_in,
            k_c,
            k_c_2,
            k_c_3,
            k_h,
            k_h_2,
        ), (
            dot_a_stack,
            dot_h_prev,
            dot_a_i,
            dot_a_stack_part,
            dot_c_prev,
            dot_a_f,
            dot_a_stack_part_2,
            dot_c,
            dot_a_c_tilde,
            dot_a_o,
            dot_a_stack_part_3,
            dot_h,
        ) in zip(
            c_all[start:stop],
            f_all[start:stop],
            c_all[start + 1:stop + 1],
            m.ahead[:n],
            m.steps[start:stop],
        ):
            # ȧ_stackₜ = ȧ_stack_inₜ + U_stack ḣₜ₋₁
            dot(dot_h_prev, U_stack.T, dot_a_stack)
            add(dot_a_stack_in, dot_a_stack, dot_a_stack)
            # ȧ_iₜ = ȧ_stackₜ[0:H] + ṗ_i ∘ cₜ₋₁ + p_i ∘ ċₜ₋₁
            multiply(dot_p_i, c_prev, dot_a_i)
            add(dot_a_stack_part, dot_a_i, dot_a_i)
            multiply(p_i, dot_c_prev, buffer_3)
            add(dot_a_i, buffer_3, dot_a_i)
            # ȧ_fₜ = ȧ_stackₜ[H:2*H] + ṗ_f ∘ cₜ₋₁ + p_f ∘ ċₜ₋₁
            multiply(dot_p_f, c_prev, dot_a_f)
            add(dot_a_stack_part_2, dot_a_f, dot_a_f)
            multiply(p_f, dot_c_prev, buffer_3)
            add(dot_a_f, buffer_3, dot_a_f)
            # ȧ_c̃ₜ = ȧ_stackₜ[2*H:3*H]
            # ċₜ = ȧ_fₜ ∘ k_cₜ + fₜ ∘ ċₜ₋₁ + ȧ_iₜ ∘ k_c_2ₜ + ȧ_c̃ₜ ∘ k_c_3ₜ
            multiply(dot_a_f, k_c, dot_c)
            multiply(f, dot_c_prev, buffer_3)
            add(dot_c, buffer_3, dot_c)
            multiply(dot_a_i, k_c_2, buffer_4)
            add(dot_c, buffer_4, dot_c)
            multiply(dot_a_c_tilde, k_c_3, buffer_5)
            add(dot_c, buffer_5, dot_c)
            # ȧ_oₜ = ȧ_stackₜ[3*H:4*H] + ṗ_o ∘ cₜ + p_o ∘ ċₜ
            multiply(dot_p_o, c, dot_a_o)
            add(dot_a_stack_part_3, dot_a_o, dot_a_o)
            multiply(p_o, dot_c, buffer_5)
            add(dot_a_o, buffer_5, dot_a_o)
            # ḣₜ = ȧ_oₜ ∘ k_hₜ + ċₜ ∘ k_h_2ₜ
            multiply(dot_a_o, k_h, dot_h)
            multiply(dot_c, k_h_2, buffer_5)
            add(dot_h, buffer_5, dot_h)
    return {
        "dot_a_i": m.dot_a_i_all,
        "dot_a_f": m.dot_a_f_all,
        "dot_a_c_tilde": m.dot_a_stack_all[..., 2 * H:3 * H],
        "dot_c": m.dot_c_all,
        "dot_a_o": m.dot_a_o_all,
        "dot_h": m.dot_h_all,
    }


def _gradients(parameters, tape, tangents, cotangents, tangent_parameters, tangent_inputs):
    """Gradients of values at all steps, {name: (T, B, ...)}, and how they move products, as hvp reads them.
    """
    sizes, dtype = tape.sizes, tape.dtype
    m = _Gradients(sizes, dtype)
    T, B, D, H = (sizes[name] for name in ("T", "B", "D", "H"))
    add, dot, matmul, multiply, subtract = np.add, np.dot, np.matmul, np.multiply, np.subtract
    p_o = parameters["p_o"]
    p_i = parameters["p_i"]
    p_f = parameters["p_f"]
    cotangent_h_all = cotangents["h"]
    cotangent_c_all = cotangents["c"]
    # U_stack = [U_i; U_f; U_c; U_o]
    U_stack = m.U_stack
    U_stack[:H] = parameters["U_i"]
    U_stack[H:2 * H] = parameters["U_f"]
    U_stack[2 * H:3 * H] = parameters["U_c"]
    U_stack[3 * H:] = parameters["U_o"]
    # U̇_stack = [U̇_i; U̇_f; U̇_c; U̇_o]
    dot_U_stack = m.dot_U_stack
    dot_U_stack[:H] = tangent_parameters["U_i"]
    dot_U_stack[H:2 * H] = tangent_parameters["U_f"]
    dot_U_stack[2 * H:3 * H] = tangent_parameters["U_c"]
    dot_U_stack[3 * H:] = tangent_parameters["U_o"]
    # Ẇ_stack = [Ẇ_i; Ẇ_f; Ẇ_c; Ẇ_o]
    dot_W_stack = m.dot_W_stack
    dot_W_stack[:H] = tangent_parameters["W_i"]
    dot_W_stack[H:2 * H] = tangent_parameters["W_f"]
    dot_W_stack[2 * H:3 * H] = tangent_parameters["W_c"]
    dot_W_stack[3 * H:] = tangent_parameters["W_o"]
    m.carry_h[...] = 0
    m.carry_c[...] = 0
    m.dot_d_p_i_in[...] = 0
    m.dot_d_p_f_in[...] = 0
    m.dot_d_p_o_in[...] = 0
    m.dot_d_W_stack_2[...] = 0
    m.dot_d_U_stack_2[...] = 0
    carry_h = m.carry_h
    carry_c = m.carry_c
    for stop in range(T, 0, -m.block):
        start = max(0, stop - m.block)
        n = stop - start
        c_tilde_all = tape.c_tilde[start:stop]
        tanh_c_all = tape.tanh_c[start:stop]
        o_all = tape.o[start:stop]
        i_all = tape.i[start:stop]
        c_prev_all = tape.c[start:stop]
        f_all = tape.f[start:stop]
        dot_c_prev_all = tangents["dot_c"][start:stop]
        dot_c_all = tangents["dot_c"][start + 1:stop + 1]
        dot_x_all = tangent_inputs["x"][start:stop]
        dot_h_prev_all = tangents["dot_h"][start:stop]
        m.cotangent_h_all[:n] = cotangent_h_all[start:stop]
        m.cotangent_c_all[:n] = cotangent_c_all[start:stop]
        # s_1ₜ = 1 − c̃ₜ²
        multiply(c_tilde_all, c_tilde_all, m.s_1_all[:n])
        subtract(1, m.s_1_all[:n], m.s_1_all[:n])
        # s_2ₜ = 1 − tanh(cₜ)²
        multiply(tanh_c_all, tanh_c_all, m.s_2_all[:n])
        subtract(1, m.s_2_all[:n], m.s_2_all[:n])
        # k_a_oₜ = tanh(cₜ) ∘ oₜ ∘ (1 − oₜ)
        subtract(1, o_all, m.k_a_o_all[:n])
        multiply(m.k_a_o_all[:n], tanh_c_all, m.k_a_o_all[:n])
        multiply(m.k_a_o_all[:n], o_all, m.k_a_o_all[:n])
        # k_cₜ = k_a_oₜ ∘ p_o + oₜ ∘ s_2ₜ
        multiply(m.k_a_o_all[:n], p_o, m.k_c_all[:n])
        multiply(o_all, m.s_2_all[:n], m.buffer_1[:n])
        add(m.k_c_all[:n], m.buffer_1[:n], m.k_c_all[:n])
        # k_a_c̃ₜ = iₜ ∘ s_1ₜ
        multiply(i_all, m.s_1_all[:n], m.k_a_stack_all[:n, 2])
        # k_a_fₜ = cₜ₋₁ ∘ fₜ ∘ (1 − fₜ)
        subtract(1, f_all, m.k_a_stack_all[:n, 1])
        multiply(m.k_a_stack_all[:n, 1], c_prev_all, m.k_a_stack_all[:n, 1])
        multiply(m.k_a_stack_all[:n, 1], f_all, m.k_a_stack_all[:n, 1])
        # k_a_iₜ = c̃ₜ ∘ iₜ ∘ (1 − iₜ)
        subtract(1, i_all, m.k_a_stack_all[:n, 0])
        multiply(m.k_a_stack_all[:n, 0], c_tilde_all, m.k_a_stack_all[:n, 0])
        multiply(m.k_a_stack_all[:n, 0], i_all, m.k_a_stack_all[:n, 0])
        # k_c_2ₜ = k_a_iₜ ∘ p_i + k_a_fₜ ∘ p_f + fₜ
        multiply(m.k_a_stack_all[:n, 0], p_i, m.k_c_2_all[:n])
        multiply(m.k_a_stack_all[:n, 1], p_f, m.buffer_1[:n])
        add(m.k_c_2_all[:n], m.buffer_1[:n], m.k_c_2_all[:n])
        add(m.k_c_2_all[:n], f_all, m.k_c_2_all[:n])
        # k_a_stackₜ = [k_a_iₜ; k_a_fₜ; k_a_c̃ₜ]
        for (
            d_h,
            cotangent_h,
            d_a_o,
            k_a_o,
            d_c,
            cotangent_c,
            k_c,
            d_a_stack_2_by_3,
            k_a_stack,
            d_a_stack,
            k_c_2,
        ) in reversed(m.steps[:n]):
            # ∂L/∂hₜ = ∂Lₜ/∂hₜ + ∂L/∂hₜ|ₜ₊₁
            add(cotangent_h, carry_h, d_h)
            # ∂L/∂a_oₜ = ∂L/∂hₜ ∘ k_a_oₜ
            multiply(d_h, k_a_o, d_a_o)
            # ∂L/∂cₜ = ∂Lₜ/∂cₜ + ∂L/∂hₜ ∘ k_cₜ + ∂L/∂cₜ|ₜ₊₁
            multiply(d_h, k_c, d_c)
            add(cotangent_c, d_c, d_c)
            add(d_c, carry_c, d_c)
            # ∂L/∂a_stack_2ₜ = [∂L/∂cₜ; ∂L/∂cₜ; ∂L/∂cₜ] ∘ k_a_stackₜ
            multiply(d_c, k_a_stack, d_a_stack_2_by_3)
            # ∂L/∂a_stackₜ = [∂L/∂a_stack_2ₜ; ∂L/∂a_oₜ]
            # ∂L/∂hₜ₋₁|ₜ = U_stackᵀ ∂L/∂a_stackₜ
            dot(d_a_stack, U_stack, carry_h)
            # ∂L/∂cₜ₋₁|ₜ = ∂L/∂cₜ ∘ k_c_2ₜ
            multiply(d_c, k_c_2, carry_c)
        d_a_stack_flat = m.d_a_stack_all[:n].reshape(n * B, 4 * H)
        dot_x_flat = dot_x_all.reshape(n * B, D)
        dot_h_prev_flat = dot_h_prev_all.reshape(n * B, H)
        # ∂L̇/∂h_inₜ = U̇_stackᵀ ∂L/∂a_stackₜ
        matmul(d_a_stack_flat, dot_U_stack, m.dot_d_h_in_out[start:stop].reshape(n * B, H))
        # ∂L̇/∂x_inₜ = Ẇ_stackᵀ ∂L/∂a_stackₜ
        matmul(d_a_stack_flat, dot_W_stack, m.dot_d_x_in_out[start:stop].reshape(n * B, D))
        # ∂L̇/∂p_i_in = Σₜ ∂L/∂a_stack_2ₜ[0:H] ∘ ċₜ₋₁
        m.dot_d_p_i_in += np.einsum("tbr,tbr->r", m.d_a_stack_all[:n, :, :H], dot_c_prev_all)
        # ∂L̇/∂p_f_in = Σₜ ∂L/∂a_stack_2ₜ[H:2*H] ∘ ċₜ₋₁
        m.dot_d_p_f_in += np.einsum("tbr,tbr->r", m.d_a_stack_all[:n, :, H:2 * H], dot_c_prev_all)
        # ∂L̇/∂p_o_in = Σₜ ∂L/∂a_oₜ ∘ ċₜ
        m.dot_d_p_o_in += np.einsum("tbr,tbr->r", m.d_a_stack_all[:n, :, 3 * H:], dot_c_all)
        # ∂L̇/∂W_stack_2 = Σₜ ∂L/∂a_stackₜ ẋₜᵀ
        matmul(d_a_stack_flat.T, dot_x_flat, m.buffer_2)
        m.dot_d_W_stack_2 += m.buffer_2
        # ∂L̇/∂U_stack_2 = Σₜ ∂L/∂a_stackₜ ḣₜ₋₁ᵀ
        matmul(d_a_stack_flat.T, dot_h_prev_flat, m.buffer_3)
        m.dot_d_U_stack_2 += m.buffer_3
        m.d_h_out[start:stop] = m.d_h_all[:n]
        m.d_c_out[start:stop] = m.d_c_all[:n]
    return {
        "d_h": m.d_h_out,
        "d_c": m.d_c_out,
        "dot_d_h_in": m.dot_d_h_in_out,
        "dot_d_x_in": m.dot_d_x_in_out,
        "dot_d_W_i_in": m.dot_d_W_stack_2[:H],
        "dot_d_U_i_in": m.dot_d_U_stack_2[:H],
        "dot_d_p_i_in": m.dot_d_p_i_in,
        "dot_d_W_f_in": m.dot_d_W_stack_2[H:2 * H],
        "dot_d_U_f_in": m.dot_d_U_stack_2[H:2 * H],
        "dot_d_p_f_in": m.dot_d_p_f_in,
        "dot_d_W_c_in": m.dot_d_W_stack_2[2 * H:3 * H],
        "dot_d_U_c_in": m.dot_d_U_stack_2[2 * H:3 * H],
        "dot_d_W_o_in": m.dot_d_W_stack_2[3 * H:],
        "dot_d_U_o_in": m.dot_d_U_stack_2[3 * H:],
        "dot_d_p_o_in": m.dot_d_p_o_in,
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
    add, dot, matmul, multiply, subtract = np.add, np.dot, np.matmul, np.multiply, np.subtract
    dot_p_o = tangent_parameters["p_o"]
    dot_p_i = tangent_parameters["p_i"]
    dot_p_f = tangent_parameters["p_f"]
    p_o = parameters["p_o"]
    p_i = parameters["p_i"]
    p_f = parameters["p_f"]
    # U_stack = [U_i; U_f; U_c; U_o]
    U_stack = m.U_stack
    U_stack[:H] = parameters["U_i"]
    U_stack[H:2 * H] = parameters["U_f"]
    U_stack[2 * H:3 * H] = parameters["U_c"]
    U_stack[3 * H:] = parameters["U_o"]
    # W_stack = [W_i; W_f; W_c; W_o]
    W_stack = m.W_stack
    W_stack[:H] = parameters["W_i"]
    W_stack[H:2 * H] = parameters["W_f"]
    W_stack[2 * H:3 * H] = parameters["W_c"]
    W_stack[3 * H:] = parameters["W_o"]
    m.dot_carry_h[...] = 0
    m.dot_carry_c[...] = 0
    m.sum_dot_d_p_i[...] = 0
    m.sum_dot_d_p_f[...] = 0
    m.sum_dot_d_p_o[...] = 0
    m.sum_dot_d_W_stack[...] = 0
    m.sum_dot_d_U_stack[...] = 0
    m.dot_d_b_stack[...] = 0
    dot_carry_h = m.dot_carry_h
    dot_d_c = m.dot_d_c
    dot_carry_c = m.dot_carry_c
    buffer_3 = m.buffer_3
    buffer_4 = m.buffer_4
    for stop in range(T, 0, -m.block):
        start = max(0, stop - m.block)
        n = stop - start
        c_tilde_all = tape.c_tilde[start:stop]
        tanh_c_all = tape.tanh_c[start:stop]
        i_all = tape.i[start:stop]
        dot_a_i_all = tangents["dot_a_i"][start:stop]
        f_all = tape.f[start:stop]
        dot_a_f_all = tangents["dot_a_f"][start:stop]
        dot_a_c_tilde_all = tangents["dot_a_c_tilde"][start:stop]
        o_all = tape.o[start:stop]
        dot_a_o_all = tangents["dot_a_o"][start:stop]
        dot_c_all = tangents["dot_c"][start + 1:stop + 1]
        d_h_all = gradients["d_h"][start:stop]
        d_c_all = gradients["d_c"][start:stop]
        c_prev_all = tape.c[start:stop]
        dot_c_prev_all = tangents["dot_c"][start:stop]
        h_all = tape.h[start + 1:stop + 1]
        dot_d_h_in_all = gradients["dot_d_h_in"][start:stop]
        dot_d_x_in_all = gradients["dot_d_x_in"][start:stop]
        c_all = tape.c[start + 1:stop + 1]
        x_all = tape.x[start:stop]
        h_prev_all = tape.h[start:stop]
        # s_1ₜ = 1 − c̃ₜ²
        multiply(c_tilde_all, c_tilde_all, m.s_1_all[:n])
        subtract(1, m.s_1_all[:n], m.s_1_all[:n])
        # s_2ₜ = 1 − tanh(cₜ)²
        multiply(tanh_c_all, tanh_c_all, m.s_2_all[:n])
        subtract(1, m.s_2_all[:n], m.s_2_all[:n])
        # s_3ₜ = 1 − iₜ
        subtract(1, i_all, m.s_3_all[:n])
        # s_6ₜ = iₜ ∘ s_3ₜ
        multiply(i_all, m.s_3_all[:n], m.s_6_all[:n])
        # i̇ₜ = s_6ₜ ∘ ȧ_iₜ
        multiply(m.s_6_all[:n], dot_a_i_all, m.dot_i_all[:n])
        # s_4ₜ = 1 − fₜ
        subtract(1, f_all, m.s_4_all[:n])
        # s_7ₜ = fₜ ∘ s_4ₜ
        multiply(f_all, m.s_4_all[:n], m.s_7_all[:n])
        # ḟₜ = s_7ₜ ∘ ȧ_fₜ
        multiply(m.s_7_all[:n], dot_a_f_all, m.dot_f_all[:n])
        # c̃̇ₜ = s_1ₜ ∘ ȧ_c̃ₜ
        multiply(m.s_1_all[:n], dot_a_c_tilde_all, m.dot_c_tilde_all[:n])
        # s_5ₜ = 1 − oₜ
        subtract(1, o_all, m.s_5_all[:n])
        # s_8ₜ = oₜ ∘ s_5ₜ
        multiply(o_all, m.s_5_all[:n], m.s_8_all[:n])
        # ȯₜ = s_8ₜ ∘ ȧ_oₜ
        multiply(m.s_8_all[:n], dot_a_o_all, m.dot_o_all[:n])
        # ṫanh_cₜ = s_2ₜ ∘ ċₜ
        multiply(m.s_2_all[:n], dot_c_all, m.dot_tanh_c_all[:n])
        # ∂L/∂tanh(cₜ) = ∂L/∂hₜ ∘ oₜ
        multiply(d_h_all, o_all, m.d_tanh_c_all[:n])
        # ∂L/∂oₜ = ∂L/∂hₜ ∘ tanh(cₜ)
        multiply(d_h_all, tanh_c_all, m.d_o_all[:n])
        # ∂L/∂a_oₜ = s_8ₜ ∘ ∂L/∂oₜ
        multiply(m.s_8_all[:n], m.d_o_all[:n], m.d_a_o_all[:n])
        # ∂L/∂c̃ₜ = ∂L/∂cₜ ∘ iₜ
        multiply(d_c_all, i_all, m.d_c_tilde_all[:n])
        # ∂L/∂fₜ = ∂L/∂cₜ ∘ cₜ₋₁
        multiply(d_c_all, c_prev_all, m.d_f_all[:n])
        # ∂L/∂a_fₜ = s_7ₜ ∘ ∂L/∂fₜ
        multiply(m.s_7_all[:n], m.d_f_all[:n], m.d_a_f_all[:n])
        # ∂L/∂iₜ = ∂L/∂cₜ ∘ c̃ₜ
        multiply(d_c_all, c_tilde_all, m.d_i_all[:n])
        # ∂L/∂a_iₜ = s_6ₜ ∘ ∂L/∂iₜ
        multiply(m.s_6_all[:n], m.d_i_all[:n], m.d_a_i_all[:n])
        # ∂L̇/∂tanh_c_inₜ = ∂L/∂hₜ ∘ ȯₜ
        multiply(d_h_all, m.dot_o_all[:n], m.dot_d_tanh_c_in_all[:n])
        # ∂L̇/∂o_inₜ = ∂L/∂hₜ ∘ ṫanh_cₜ
        multiply(d_h_all, m.dot_tanh_c_all[:n], m.dot_d_o_in_all[:n])
        # s_9ₜ = ∂L/∂oₜ ∘ ȯₜ
        multiply(m.d_o_all[:n], m.dot_o_all[:n], m.s_9_all[:n])
        # ∂L̇/∂a_o_inₜ = s_8ₜ ∘ ∂L̇/∂o_inₜ + s_9ₜ ∘ s_5ₜ − s_9ₜ ∘ oₜ
        multiply(m.s_8_all[:n], m.dot_d_o_in_all[:n], m.dot_d_a_o_in_all[:n])
        multiply(m.s_9_all[:n], m.s_5_all[:n], m.buffer_1[:n])
        add(m.dot_d_a_o_in_all[:n], m.buffer_1[:n], m.dot_d_a_o_in_all[:n])
        multiply(m.s_9_all[:n], o_all, m.buffer_2[:n])
        subtract(m.dot_d_a_o_in_all[:n], m.buffer_2[:n], m.dot_d_a_o_in_all[:n])
        # ∂L̇/∂c_inₜ = ∂L/∂a_oₜ ∘ ṗ_o + ∂L̇/∂tanh_c_inₜ ∘ s_2ₜ − 2 ∂L/∂tanh(cₜ) ∘ tanh(cₜ) ∘ ṫanh_cₜ
        multiply(m.d_a_o_all[:n], dot_p_o, m.dot_d_c_in_all[:n])
        multiply(m.dot_d_tanh_c_in_all[:n], m.s_2_all[:n], m.buffer_2[:n])
        add(m.dot_d_c_in_all[:n], m.buffer_2[:n], m.dot_d_c_in_all[:n])
        multiply(m.d_tanh_c_all[:n], tanh_c_all, m.buffer_1[:n])
        multiply(m.buffer_1[:n], m.dot_tanh_c_all[:n], m.buffer_1[:n])
        multiply(2, m.buffer_1[:n], m.buffer_1[:n])
        subtract(m.dot_d_c_in_all[:n], m.buffer_1[:n], m.dot_d_c_in_all[:n])
        # ∂L̇/∂c̃_inₜ = ∂L/∂cₜ ∘ i̇ₜ
        multiply(d_c_all, m.dot_i_all[:n], m.dot_d_c_tilde_in_all[:n])
        # ∂L̇/∂a_c̃_inₜ = ∂L̇/∂c̃_inₜ ∘ s_1ₜ − 2 ∂L/∂c̃ₜ ∘ c̃ₜ ∘ c̃̇ₜ
        multiply(m.dot_d_c_tilde_in_all[:n], m.s_1_all[:n], m.dot_d_a_stack_2_all[:n, 2])
        multiply(m.d_c_tilde_all[:n], c_tilde_all, m.buffer_1[:n])
        multiply(m.buffer_1[:n], m.dot_c_tilde_all[:n], m.buffer_1[:n])
        multiply(2, m.buffer_1[:n], m.buffer_1[:n])
        subtract(m.dot_d_a_stack_2_all[:n, 2], m.buffer_1[:n], m.dot_d_a_stack_2_all[:n, 2])
        # ∂L̇/∂f_inₜ = ∂L/∂cₜ ∘ ċₜ₋₁
        multiply(d_c_all, dot_c_prev_all, m.dot_d_f_in_all[:n])
        # s_10ₜ = ∂L/∂fₜ ∘ ḟₜ
        multiply(m.d_f_all[:n], m.dot_f_all[:n], m.s_10_all[:n])
        # ∂L̇/∂a_f_inₜ = s_7ₜ ∘ ∂L̇/∂f_inₜ + s_10ₜ ∘ s_4ₜ − s_10ₜ ∘ fₜ
        multiply(m.s_7_all[:n], m.dot_d_f_in_all[:n], m.dot_d_a_stack_2_all[:n, 1])
        multiply(m.s_10_all[:n], m.s_4_all[:n], m.buffer_1[:n])
        add(m.dot_d_a_stack_2_all[:n, 1], m.buffer_1[:n], m.dot_d_a_stack_2_all[:n, 1])
        multiply(m.s_10_all[:n], f_all, m.buffer_2[:n])
        subtract(m.dot_d_a_stack_2_all[:n, 1], m.buffer_2[:n], m.dot_d_a_stack_2_all[:n, 1])
        # ∂L̇/∂i_inₜ = ∂L/∂cₜ ∘ c̃̇ₜ
        multiply(d_c_all, m.dot_c_tilde_all[:n], m.dot_d_i_in_all[:n])
        # s_11ₜ = ∂L/∂iₜ ∘ i̇ₜ
        multiply(m.d_i_all[:n], m.dot_i_all[:n], m.s_11_all[:n])
        # ∂L̇/∂a_i_inₜ = s_6ₜ ∘ ∂L̇/∂i_inₜ + s_11ₜ ∘ s_3ₜ − s_11ₜ ∘ iₜ
        multiply(m.s_6_all[:n], m.dot_d_i_in_all[:n], m.dot_d_a_stack_2_all[:n, 0])
        multiply(m.s_11_all[:n], m.s_3_all[:n], m.buffer_2[:n])
        add(m.dot_d_a_stack_2_all[:n, 0], m.buffer_2[:n], m.dot_d_a_stack_2_all[:n, 0])
        multiply(m.s_11_all[:n], i_all, m.buffer_1[:n])
        subtract(m.dot_d_a_stack_2_all[:n, 0], m.buffer_1[:n], m.dot_d_a_stack_2_all[:n, 0])
        # ∂L̇/∂c_in_2ₜ = ∂L/∂a_iₜ ∘ ṗ_i + ∂L/∂a_fₜ ∘ ṗ_f + ∂L/∂cₜ ∘ ḟₜ
        multiply(m.d_a_i_all[:n], dot_p_i, m.dot_d_c_in_2_all[:n])
        multiply(m.d_a_f_all[:n], dot_p_f, m.buffer_1[:n])
        add(m.dot_d_c_in_2_all[:n], m.buffer_1[:n], m.dot_d_c_in_2_all[:n])
        multiply(d_c_all, m.dot_f_all[:n], m.buffer_2[:n])
        add(m.dot_d_c_in_2_all[:n], m.buffer_2[:n], m.dot_d_c_in_2_all[:n])
        # k_a_oₜ = s_5ₜ ∘ hₜ
        multiply(m.s_5_all[:n], h_all, m.k_a_o_all[:n])
        # k_cₜ = oₜ ∘ s_2ₜ
        multiply(o_all, m.s_2_all[:n], m.k_c_all[:n])
        # k_a_c̃ₜ = iₜ ∘ s_1ₜ
        multiply(i_all, m.s_1_all[:n], m.k_a_stack_all[:n, 2])
        # k_a_fₜ = s_7ₜ ∘ cₜ₋₁
        multiply(m.s_7_all[:n], c_prev_all, m.k_a_stack_all[:n, 1])
        # k_a_iₜ = s_6ₜ ∘ c̃ₜ
        multiply(m.s_6_all[:n], c_tilde_all, m.k_a_stack_all[:n, 0])
        # k_a_stackₜ = [k_a_iₜ; k_a_fₜ; k_a_c̃ₜ]
        # ∂L̇/∂a_stack_2ₜ = [∂L̇/∂a_i_inₜ; ∂L̇/∂a_f_inₜ; ∂L̇/∂a_c̃_inₜ]
        for dot_d_h_in, f, (
            dot_d_a_o,
            k_a_o,
            dot_d_a_o_in,
            k_c,
            dot_d_c_in,
            dot_d_a_stack_3_by_3,
            k_a_stack,
            dot_d_a_stack_2,
            dot_d_a_stack,
            dot_d_a_stack_part,
            dot_d_a_stack_part_2,
            dot_d_c_in_2,
        ) in zip(reversed(dot_d_h_in_all), reversed(f_all), reversed(m.steps[:n])):
            # ∂L̇/∂a_oₜ = ∂L̇/∂hₜ|ₜ₊₁ ∘ k_a_oₜ + ∂L̇/∂a_o_inₜ
            multiply(dot_carry_h, k_a_o, dot_d_a_o)
            add(dot_d_a_o, dot_d_a_o_in, dot_d_a_o)
            # ∂L̇/∂cₜ = ∂L̇/∂a_oₜ ∘ p_o + ∂L̇/∂hₜ|ₜ₊₁ ∘ k_cₜ + ∂L̇/∂cₜ|ₜ₊₁ + ∂L̇/∂c_inₜ
            multiply(dot_d_a_o, p_o, dot_d_c)
            multiply(dot_carry_h, k_c, buffer_3)
            add(dot_d_c, buffer_3, dot_d_c)
            add(dot_d_c, dot_carry_c, dot_d_c)
            add(dot_d_c, dot_d_c_in, dot_d_c)
            # ∂L̇/∂a_stack_3ₜ = [∂L̇/∂cₜ; ∂L̇/∂cₜ; ∂L̇/∂cₜ] ∘ k_a_stackₜ + ∂L̇/∂a_stack_2ₜ
            multiply(dot_d_c, k_a_stack, dot_d_a_stack_3_by_3)
            add(dot_d_a_stack_3_by_3, dot_d_a_stack_2, dot_d_a_stack_3_by_3)
            # ∂L̇/∂a_stackₜ = [∂L̇/∂a_stack_3ₜ; ∂L̇/∂a_oₜ]
            # ∂L̇/∂hₜ₋₁|ₜ = U_stackᵀ ∂L̇/∂a_stackₜ + ∂L̇/∂h_inₜ
            dot(dot_d_a_stack, U_stack, dot_carry_h)
            add(dot_carry_h, dot_d_h_in, dot_carry_h)
            # ∂L̇/∂cₜ₋₁|ₜ = ∂L̇/∂a_stack_3ₜ[0:H] ∘ p_i + ∂L̇/∂a_stack_3ₜ[H:2*H] ∘ p_f + ∂L̇/∂cₜ ∘ fₜ + ∂L̇/∂c_in_2ₜ
            multiply(dot_d_a_stack_part, p_i, dot_carry_c)
            multiply(dot_d_a_stack_part_2, p_f, buffer_3)
            add(dot_carry_c, buffer_3, dot_carry_c)
            multiply(dot_d_c, f, buffer_4)
            add(dot_carry_c, buffer_4, dot_carry_c)
            add(dot_carry_c, dot_d_c_in_2, dot_carry_c)
        dot_d_a_stack_flat = m.dot_d_a_stack_all[:n].reshape(n * B, 4 * H)
        x_flat = x_all.reshape(n * B, D)
        h_prev_flat = h_prev_all.reshape(n * B, H)
        # ∂L̇/∂xₜ = W_stackᵀ ∂L̇/∂a_stackₜ + ∂L̇/∂x_inₜ
        matmul(
            m.dot_d_a_stack_all[:n].reshape(n * B, 4 * H),
            W_stack,
            m.dot_d_x_out[start:stop].reshape(n * B, D),
        )
        add(m.dot_d_x_out[start:stop], dot_d_x_in_all, m.dot_d_x_out[start:stop])
        # ∂L̇/∂p_i = Σₜ ∂L̇/∂a_stack_3ₜ[0:H] ∘ cₜ₋₁
        m.sum_dot_d_p_i += np.einsum("tbr,tbr->r", m.dot_d_a_stack_all[:n, :, :H], c_prev_all)
        # ∂L̇/∂p_f = Σₜ ∂L̇/∂a_stack_3ₜ[H:2*H] ∘ cₜ₋₁
        m.sum_dot_d_p_f += np.einsum("tbr,tbr->r", m.dot_d_a_stack_all[:n, :, H:2 * H], c_prev_all)
        # ∂L̇/∂p_o = Σₜ ∂L̇/∂a_oₜ ∘ cₜ
        m.sum_dot_d_p_o += np.einsum("tbr,tbr->r", m.dot_d_a_stack_all[:n, :, 3 * H:], c_all)
        # ∂L̇/∂W_stack = Σₜ ∂L̇/∂a_stackₜ xₜᵀ
        matmul(dot_d_a_stack_flat.T, x_flat, m.buffer_5)
        m.sum_dot_d_W_stack += m.buffer_5
        # ∂L̇/∂U_stack = Σₜ ∂L̇/∂a_stackₜ hₜ₋₁ᵀ
        matmul(dot_d_a_stack_flat.T, h_prev_flat, m.buffer_6)
        m.sum_dot_d_U_stack += m.buffer_6
        # ∂L̇/∂b_stack = Σₜ ∂L̇/∂a_stackₜ
        m.dot_d_b_stack += np.ones((n * B,), dtype) @ dot_d_a_stack_flat
    # ∂L̇/∂W_i = ∂L̇/∂W_i + ∂L̇/∂W_i_in
    dot_d_W_i = m.sum_dot_d_W_stack[:H] + gradients["dot_d_W_i_in"]
    # ∂L̇/∂U_i = ∂L̇/∂U_i + ∂L̇/∂U_i_in
    dot_d_U_i = m.sum_dot_d_U_stack[:H] + gradients["dot_d_U_i_in"]
    # ∂L̇/∂p_i = ∂L̇/∂p_i + ∂L̇/∂p_i_in
    dot_d_p_i = m.sum_dot_d_p_i + gradients["dot_d_p_i_in"]
    # ∂L̇/∂W_f = ∂L̇/∂W_f + ∂L̇/∂W_f_in
    dot_d_W_f = m.sum_dot_d_W_stack[H:2 * H] + gradients["dot_d_W_f_in"]
    # ∂L̇/∂U_f = ∂L̇/∂U_f + ∂L̇/∂U_f_in
    dot_d_U_f = m.sum_dot_d_U_stack[H:2 * H] + gradients["dot_d_U_f_in"]
    # ∂L̇/∂p_f = ∂L̇/∂p_f + ∂L̇/∂p_f_in
    dot_d_p_f = m.sum_dot_d_p_f + gradients["dot_d_p_f_in"]
    # ∂L̇/∂W_c = ∂L̇/∂W_c + ∂L̇/∂W_c_in
    dot_d_W_c = m.sum_dot_d_W_stack[2 * H:3 * H] + gradients["dot_d_W_c_in"]
    # ∂L̇/∂U_c = ∂L̇/∂U_c + ∂L̇/∂U_c_in
    dot_d_U_c = m.sum_dot_d_U_stack[2 * H:3 * H] + gradients["dot_d_U_c_in"]
    # ∂L̇/∂W_o = ∂L̇/∂W_o + ∂L̇/∂W_o_in
    dot_d_W_o = m.sum_dot_d_W_stack[3 * H:] + gradients["dot_d_W_o_in"]
    # ∂L̇/∂U_o = ∂L̇/∂U_o + ∂L̇/∂U_o_in
    dot_d_U_o = m.sum_dot_d_U_stack[3 * H:] + gradients["dot_d_U_o_in"]
    # ∂L̇/∂p_o = ∂L̇/∂p_o + ∂L̇/∂p_o_in
    dot_d_p_o = m.sum_dot_d_p_o + gradients["dot_d_p_o_in"]
    return Gradients(
        parameters={
            "W_i": dot_d_W_i,
            "U_i": dot_d_U_i,
            "p_i": dot_d_p_i,
            "b_i": m.dot_d_b_stack[:H],
            "W_f": dot_d_W_f,
            "U_f": dot_d_U_f,
            "p_f": dot_d_p_f,
            "b_f": m.dot_d_b_stack[H:2 * H],
            "W_c": dot_d_W_c,
            "U_c": dot_d_U_c,
            "b_c": m.dot_d_b_stack[2 * H:3 * H],
            "W_o": dot_d_W_o,
            "U_o": dot_d_U_o,
            "p_o": dot_d_p_o,
            "b_o": m.dot_d_b_stack[3 * H:],
        },
        inputs={"x": m.dot_d_x_out},
        state={"h": m.dot_carry_h.copy(), "c": m.dot_carry_c.copy()},
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
    directions = 2 * H
    seeds = np.eye(directions, dtype=dtype)
    U_i = parameters["U_i"]
    U_f = parameters["U_f"]
    U_c = parameters["U_c"]
    U_o = parameters["U_o"]
    dot_h_prev = seeds[..., :H]
    p_i = parameters["p_i"]
    dot_c_prev = seeds[..., H:]
    p_f = parameters["p_f"]
    p_o = parameters["p_o"]
    i_all = tape.i
    f_all = tape.f
    c_tilde_all = tape.c_tilde
    c_all = tape.c
    o_all = tape.o
    tanh_c_all = tape.tanh_c
    # U_stack = [U_i; U_f; U_c; U_o]
    U_stack = np.concatenate([U_i, U_f, U_c, U_o], axis=-2)
    # ȧ_stackₜ = U_stack ḣₜ₋₁
    dot_a_stack_all = np.broadcast_to((dot_h_prev @ U_stack.T)[..., None, None, :], (directions, T, B, 4 * H))
    # ȧ_iₜ = ȧ_stackₜ[0:H] + p_i ∘ ċₜ₋₁
    dot_a_i_all = dot_a_stack_all[..., :H] + (p_i * dot_c_prev)[..., None, None, :]
    # i̇ₜ = iₜ ∘ (1 − iₜ) ∘ ȧ_iₜ
    dot_i_all = i_all * (1 - i_all) * dot_a_i_all
    # ȧ_fₜ = ȧ_stackₜ[H:2*H] + p_f ∘ ċₜ₋₁
    dot_a_f_all = dot_a_stack_all[..., H:2 * H] + (p_f * dot_c_prev)[..., None, None, :]
    # ḟₜ = fₜ ∘ (1 − fₜ) ∘ ȧ_fₜ
    dot_f_all = f_all * (1 - f_all) * dot_a_f_all
    # c̃̇ₜ = (1 − c̃ₜ²) ∘ ȧ_stackₜ[2*H:3*H]
    dot_c_tilde_all = (1 - c_tilde_all**2) * dot_a_stack_all[..., 2 * H:3 * H]
    # ċₜ = ḟₜ ∘ cₜ₋₁ + fₜ ∘ ċₜ₋₁ + i̇ₜ ∘ c̃ₜ + iₜ ∘ c̃̇ₜ
    dot_c_all = (
        dot_f_all * c_all[:-1]
        + f_all * dot_c_prev[..., None, None, :]
        + dot_i_all * c_tilde_all
        + i_all * dot_c_tilde_all
    )
    # ȧ_oₜ = ȧ_stackₜ[3*H:4*H] + p_o ∘ ċₜ
    dot_a_o_all = dot_a_stack_all[..., 3 * H:] + p_o * dot_c_all
    # ȯₜ = oₜ ∘ (1 − oₜ) ∘ ȧ_oₜ
    dot_o_all = o_all * (1 - o_all) * dot_a_o_all
    # ḣₜ = ȯₜ ∘ tanh(cₜ) + oₜ ∘ (1 − tanh(cₜ)²) ∘ ċₜ
    dot_h_all = dot_o_all * tanh_c_all + o_all * (1 - tanh_c_all**2) * dot_c_all
    return np.concatenate([dot_h_all, dot_c_all], axis=-1).transpose(1, 2, 3, 0).copy()


class _Forward:
    """The arrays of a pass over blocks of steps, and views of each step, made once."""

    def __init__(self, sizes, dtype):
        T, B, D, H = (sizes[name] for name in ("T", "B", "D", "H"))
        self.block = max(1, min(T, BLOCK // max(1, B), max(128 // max(1, B), T // 4)))
        self.U_stack = np.empty((4 * H, H), dtype)
        self.W_stack = np.empty((4 * H, D), dtype)
        self.a_stack = np.empty((B, 4 * H), dtype)
        self.a_stack_in_all = np.empty((self.block, B, 4 * H), dtype)
        self.b_stack = np.empty((4 * H,), dtype)
        self.buffer_1 = np.empty((B, H), dtype)
        self.c_all = np.empty((T + 1, B, H), dtype)
        self.c_out = np.empty((T, B, H), dtype)
        self.c_tilde_all = np.empty((T, B, H), dtype)
        self.h_all = np.empty((T + 1, B, H), dtype)
        self.h_out = np.empty((T, B, H), dtype)
        self.i_f_all = np.empty((T, 2, B, H), dtype)
        self.o_all = np.empty((T, B, H), dtype)
        self.p_stack = np.empty((2 * H,), dtype)
        self.tanh_c_all = np.empty((T, B, H), dtype)
        self.ahead = list(zip(self.a_stack_in_all))
        self.steps = list(
            zip(
                self.h_all[:-1],
                self.i_f_all,
                self.c_all[:-1],
                self.c_tilde_all,
                self.c_all[1:],
                self.i_f_all[:, 1],
                self.i_f_all[:, 0],
                self.o_all,
                self.tanh_c_all,
                self.h_all[1:],
            )
        )


class _Backward:
    """The arrays of a pass over blocks of steps, and views of each step, made once."""

    def __init__(self, sizes, dtype):
        T, B, D, H = (sizes[name] for name in ("T", "B", "D", "H"))
        self.block = max(1, min(T, BLOCK // max(1, B), max(128 // max(1, B), T // 4)))
        self.U_stack = np.empty((4 * H, H), dtype)
        self.W_stack = np.empty((4 * H, D), dtype)
        self.buffer_1 = np.empty((self.block, B, H), dtype)
        self.buffer_2 = np.empty((4 * H, D), dtype)
        self.buffer_3 = np.empty((4 * H, H), dtype)
        self.carry_c = np.empty((B, H), dtype)
        self.carry_h = np.empty((B, H), dtype)
        self.cotangent_c_all = np.empty((self.block, B, H), dtype)
        self.cotangent_h_all = np.empty((self.block, B, H), dtype)
        self.d_U_stack = np.empty((4 * H, H), dtype)
        self.d_W_stack = np.empty((4 * H, D), dtype)
        self.d_a_stack_all = np.empty((self.block, B, 4 * H), dtype)
        self.d_b_stack = np.empty((4 * H,), dtype)
        self.d_c = np.empty((B, H), dtype)
        self.d_h = np.empty((B, H), dtype)
        self.d_p_f = np.empty((H,), dtype)
        self.d_p_i = np.empty((H,), dtype)
        self.d_p_o = np.empty((H,), dtype)
        self.d_x_out = np.empty((T, B, D), dtype)
        self.k_a_o_all = np.empty((self.block, B, H), dtype)
        self.k_a_stack_all = np.empty((self.block, 3, B, H), dtype)
        self.k_c_2_all = np.empty((self.block, B, H), dtype)
        self.k_c_all = np.empty((self.block, B, H), dtype)
        self.steps = list(
            zip(
                self.cotangent_h_all,
                self.d_a_stack_all[..., 3 * H:],
                self.k_a_o_all,
                self.cotangent_c_all,
                self.k_c_all,
                self.d_a_stack_all[..., :3 * H].reshape(self.block, B, 3, H).transpose(0, 2, 1, 3),
                self.k_a_stack_all,
                self.d_a_stack_all,
                self.k_c_2_all,
            )
        )


class _Tangents:
    """The arrays of a pass over blocks of steps, and views of each step, made once."""

    def __init__(self, sizes, dtype):
        T, B, D, H = (sizes[name] for name in ("T", "B", "D", "H"))
        self.block = max(1, min(T, BLOCK // 4 // max(1, B), max(64 // max(1, B), T // 4)))
        self.U_stack = np.empty((4 * H, H), dtype)
        self.W_stack = np.empty((4 * H, D), dtype)
        self.buffer_1 = np.empty((self.block, B, 4 * H), dtype)
        self.buffer_2 = np.empty((self.block, B, 4 * H), dtype)
        self.buffer_3 = np.empty((B, H), dtype)
        self.buffer_4 = np.empty((B, H), dtype)
        self.buffer_5 = np.empty((B, H), dtype)
        self.dot_U_stack = np.empty((4 * H, H), dtype)
        self.dot_W_stack = np.empty((4 * H, D), dtype)
        self.dot_a_f_all = np.empty((T, B, H), dtype)
        self.dot_a_i_all = np.empty((T, B, H), dtype)
        self.dot_a_o_all = np.empty((T, B, H), dtype)
        self.dot_a_stack_all = np.empty((T, B, 4 * H), dtype)
        self.dot_a_stack_in_all = np.empty((self.block, B, 4 * H), dtype)
        self.dot_b_stack = np.empty((4 * H,), dtype)
        self.dot_c_all = np.empty((T + 1, B, H), dtype)
        self.dot_h_all = np.empty((T + 1, B, H), dtype)
        self.k_c_2_all = np.empty((self.block, B, H), dtype)
        self.k_c_3_all = np.empty((self.block, B, H), dtype)
        self.k_c_all = np.empty((self.block, B, H), dtype)
        self.k_h_2_all = np.empty((self.block, B, H), dtype)
        self.k_h_all = np.empty((self.block, B, H), dtype)
        self.s_1_all = np.empty((self.block, B, H), dtype)
        self.s_2_all = np.empty((self.block, B, H), dtype)
        self.ahead = list(
            zip(
                self.dot_a_stack_in_all,
                self.k_c_all,
                self.k_c_2_all,
                self.k_c_3_all,
                self.k_h_all,
                self.k_h_2_all,
            )
        )
        self.steps = list(
            zip(
                self.dot_a_stack_all,
                self.dot_h_all[:-1],
                self.dot_a_i_all,
                self.dot_a_stack_all[..., :H],
                self.dot_c_all[:-1],
                self.dot_a_f_all,
                self.dot_a_stack_all[..., H:2 * H],
                self.dot_c_all[1:],
                self.dot_a_stack_all[..., 2 * H:3 * H],
                self.dot_a_o_all,
                self.dot_a_stack_all[..., 3 * H:],
                self.dot_h_all[1:],
            )
        )


class _Gradients:
    """The arrays of a pass over blocks of steps, and views of each step, made once."""

    def __init__(self, sizes, dtype):
        T, B, D, H = (sizes[name] for name in ("T", "B", "D", "H"))
        self.block = max(1, min(T, BLOCK // 4 // max(1, B), max(64 // max(1, B), T // 4)))
        self.U_stack = np.empty((4 * H, H), dtype)
        self.buffer_1 = np.empty((self.block, B, H), dtype)
        self.buffer_2 = np.empty((4 * H, D), dtype)
        self.buffer_3 = np.empty((4 * H, H), dtype)
        self.carry_c = np.empty((B, H), dtype)
        self.carry_h = np.empty((B, H), dtype)
        self.cotangent_c_all = np.empty((self.block, B, H), dtype)
        self.cotangent_h_all = np.empty((self.block, B, H), dtype)
        self.d_a_stack_all = np.empty((self.block, B, 4 * H), dtype)
        self.d_c_all = np.empty((self.block, B, H), dtype)
        self.d_c_out = np.empty((T, B, H), dtype)
        self.d_h_all = np.empty((self.block, B, H), dtype)
        self.d_h_out = np.empty((T, B, H), dtype)
        self.dot_U_stack = np.empty((4 * H, H), dtype)
        self.dot_W_stack = np.empty((4 * H, D), dtype)
        self.dot_d_U_stack_2 = np.empty((4 * H, H), dtype)
        self.dot_d_W_stack_2 = np.empty((4 * H, D), dtype)
        self.dot_d_h_in_out = np.empty((T, B, H), dtype)
        self.dot_d_p_f_in = np.empty((H,), dtype)
        self.dot_d_p_i_in = np.empty((H,), dtype)
        self.dot_d_p_o_in = np.empty((H,), dtype)
        self.dot_d_x_in_out = np.empty((T, B, D), dtype)
        self.k_a_o_all = np.empty((self.block, B, H), dtype)
        self.k_a_stack_all = np.empty((self.block, 3, B, H), dtype)
        self.k_c_2_all = np.empty((self.block, B, H), dtype)
        self.k_c_all = np.empty((self.block, B, H), dtype)
        self.s_1_all = np.empty((self.block, B, H), dtype)
        self.s_2_all = np.empty((self.block, B, H), dtype)
        self.steps = list(
            zip(
                self.d_h_all,
                self.cotangent_h_all,
                self.d_a_stack_all[..., 3 * H:],
                self.k_a_o_all,
                self.d_c_all,
                self.cotangent_c_all,
                self.k_c_all,
                self.d_a_stack_all[..., :3 * H].reshape(self.block, B, 3, H).transpose(0, 2, 1, 3),
                self.k_a_stack_all,
                self.d_a_stack_all,
                self.k_c_2_all,
            )
        )


class _Hvp:
    """The arrays of a pass over blocks of steps, and views of each step, made once."""

    def __init__(self, sizes, dtype):
        T, B, D, H = (sizes[name] for name in ("T", "B", "D", "H"))
        self.block = max(1, min(T, BLOCK // 4 // max(1, B), max(64 // max(1, B), T // 4)))
        self.U_stack = np.empty((4 * H, H), dtype)
        self.W_stack = np.empty((4 * H, D), dtype)
        self.buffer_1 = np.empty((self.block, B, H), dtype)
        self.buffer_2 = np.empty((self.block, B, H), dtype)
        self.buffer_3 = np.empty((B, H), dtype)
        self.buffer_4 = np.empty((B, H), dtype)
        self.buffer_5 = np.empty((4 * H, D), dtype)
        self.buffer_6 = np.empty((4 * H, H), dtype)
        self.d_a_f_all = np.empty((self.block, B, H), dtype)
        self.d_a_i_all = np.empty((self.block, B, H), dtype)
        self.d_a_o_all = np.empty((self.block, B, H), dtype)
        self.d_c_tilde_all = np.empty((self.block, B, H), dtype)
        self.d_f_all = np.empty((self.block, B, H), dtype)
        self.d_i_all = np.empty((self.block, B, H), dtype)
        self.d_o_all = np.empty((self.block, B, H), dtype)
        self.d_tanh_c_all = np.empty((self.block, B, H), dtype)
        self.dot_c_tilde_all = np.empty((self.block, B, H), dtype)
        self.dot_carry_c = np.empty((B, H), dtype)
        self.dot_carry_h = np.empty((B, H), dtype)
        self.dot_d_a_o_in_all = np.empty((self.block, B, H), dtype)
        self.dot_d_a_stack_2_all = np.empty((self.block, 3, B, H), dtype)
        self.dot_d_a_stack_all = np.empty((self.block, B, 4 * H), dtype)
        self.dot_d_b_stack = np.empty((4 * H,), dtype)
        self.dot_d_c = np.empty((B, H), dtype)
        self.dot_d_c_in_2_all = np.empty((self.block, B, H), dtype)
        self.dot_d_c_in_all = np.empty((self.block, B, H), dtype)
        self.dot_d_c_tilde_in_all = np.empty((self.block, B, H), dtype)
        self.dot_d_f_in_all = np.empty((self.block, B, H), dtype)
        self.dot_d_i_in_all = np.empty((self.block, B, H), dtype)
        self.dot_d_o_in_all = np.empty((self.block, B, H), dtype)
        self.dot_d_tanh_c_in_all = np.empty((self.block, B, H), dtype)
        self.dot_d_x_out = np.empty((T, B, D), dtype)
        self.dot_f_all = np.empty((self.block, B, H), dtype)
        self.dot_i_all = np.empty((self.block, B, H), dtype)
        self.dot_o_all = np.empty((self.block, B, H), dtype)
        self.dot_tanh_c_all = np.empty((self.block, B, H), dtype)
        self.k_a_o_all = np.empty((self.block, B, H), dtype)
        self.k_a_stack_all = np.empty((self.block, 3, B, H), dtype)
        self.k_c_all = np.empty((self.block, B, H), dtype)
        self.s_10_all = np.empty((self.block, B, H), dtype)
        self.s_11_all = np.empty((self.block, B, H), dtype)
        self.s_1_all = np.empty((self.block, B, H), dtype)
        self.s_2_all = np.empty((self.block, B, H), dtype)
        self.s_3_all = np.empty((self.block, B, H), dtype)
        self.s_4_all = np.empty((self.block, B, H), dtype)
        self.s_5_all = np.empty((self.block, B, H), dtype)
        self.s_6_all = np.empty((self.block, B, H), dtype)
        self.s_7_all = np.empty((self.block, B, H), dtype)
        self.s_8_all = np.empty((self.block, B, H), dtype)
        self.s_9_all = np.empty((self.block, B, H), dtype)
        self.sum_dot_d_U_stack = np.empty((4 * H, H), dtype)
        self.sum_dot_d_W_stack = np.empty((4 * H, D), dtype)
        self.sum_dot_d_p_f = np.empty((H,), dtype)
        self.sum_dot_d_p_i = np.empty((H,), dtype)
        self.sum_dot_d_p_o = np.empty((H,), dtype)
        self.steps = list(
            zip(
                self.dot_d_a_stack_all[..., 3 * H:],
                self.k_a_o_all,
                self.dot_d_a_o_in_all,
                self.k_c_all,
                self.dot_d_c_in_all,
                self.dot_d_a_stack_all[..., :3 * H].reshape(self.block, B, 3, H).transpose(0, 2, 1, 3),
                self.k_a_stack_all,
                self.dot_d_a_stack_2_all,
                self.dot_d_a_stack_all,
                self.dot_d_a_stack_all[..., :H],
                self.dot_d_a_stack_all[..., H:2 * H],
                self.dot_d_c_in_2_all,
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
