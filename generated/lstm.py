# Emitted by `python -m derive lstm`. Don't edit: change the equations and emit again.
#
#     i: iₜ = σ(W_i xₜ + U_i hₜ₋₁ + b_i)
#     f: fₜ = σ(W_f xₜ + U_f hₜ₋₁ + b_f)
#     c_tilde: c̃ₜ = tanh(W_c xₜ + U_c hₜ₋₁ + b_c)
#     c: cₜ = fₜ ∘ cₜ₋₁ + iₜ ∘ c̃ₜ
#     o: oₜ = σ(W_o xₜ + U_o hₜ₋₁ + b_o)
#     h: hₜ = oₜ ∘ tanh(cₜ)
#
# equations  sha256 9306a5ec67b01796
# derivation sha256 e6c8844fa4deb029
# body       sha256 9ca9e2aff72d9868
# header     sha256 60aedd5f0441642b
#
# per step and example:
#     forward  8 matrix products (4 D H + 4 H^2 multiply-adds), 17 H elementwise operations
#     backward 16 matrix products (8 D H + 8 H^2 multiply-adds), 27 H + 3 D elementwise operations
#     saved    7 H numbers: h, c, i, f, c_tilde, o, tanh_c
# fmt: off
"""The cell `lstm` and its gradients, in NumPy.

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
    "W_i": ("H", "D"),
    "U_i": ("H", "H"),
    "b_i": ("H",),
    "W_f": ("H", "D"),
    "U_f": ("H", "H"),
    "b_f": ("H",),
    "W_c": ("H", "D"),
    "U_c": ("H", "H"),
    "b_c": ("H",),
    "W_o": ("H", "D"),
    "U_o": ("H", "H"),
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
    x_all = inputs["x"]
    # W_stack = [W_i_half; W_f_half; W_o_half; W_c]
    W_stack = m.W_stack
    np.multiply(parameters["W_i"], 0.5, out=W_stack[:H])
    np.multiply(parameters["W_f"], 0.5, out=W_stack[H:2 * H])
    np.multiply(parameters["W_o"], 0.5, out=W_stack[2 * H:3 * H])
    W_stack[3 * H:4 * H] = parameters["W_c"]
    # U_stack = [U_i_half; U_f_half; U_o_half; U_c]
    U_stack = m.U_stack
    np.multiply(parameters["U_i"], 0.5, out=U_stack[:H])
    np.multiply(parameters["U_f"], 0.5, out=U_stack[H:2 * H])
    np.multiply(parameters["U_o"], 0.5, out=U_stack[2 * H:3 * H])
    U_stack[3 * H:4 * H] = parameters["U_c"]
    # b_stack = [b_i_half; b_f_half; b_o_half; b_c]
    b_stack = m.b_stack
    np.multiply(parameters["b_i"][:, None], 0.5, out=b_stack[:H])
    np.multiply(parameters["b_f"][:, None], 0.5, out=b_stack[H:2 * H])
    np.multiply(parameters["b_o"][:, None], 0.5, out=b_stack[2 * H:3 * H])
    b_stack[3 * H:4 * H] = parameters["b_c"][:, None]
    m.h_all[0] = _state("forward", "state", state, "h", STATES["h"], sizes, dtype)
    m.c_all[0] = _state("forward", "state", state, "c", STATES["c"], sizes, dtype)
    add, dot, multiply, tanh = np.add, np.dot, np.multiply, np.tanh
    half = np.array(0.5, dtype)
    a_stack = m.a_stack
    a_stack_by_4 = m.a_stack.reshape(B, 4, H).transpose(1, 0, 2)
    buffer_1 = m.buffer_1
    for start in range(0, T, m.block):
        stop = min(T, start + m.block)
        n = stop - start
        # a_stack_inₜ = W_stack xₜ + b_stack
        _product(x_all[start:stop], W_stack.T, out=m.a_stack_in_all[:n])
        np.add(m.a_stack_in_all[:n], b_stack.T, out=m.a_stack_in_all[:n])
        for (a_stack_in,), (h_prev, stack, c_tilde, i_f_o, i, f, o, c, c_prev, tanh_c, h) in zip(m.ahead, m.steps[start:stop]):
            # a_stackₜ = a_stack_inₜ + U_stack hₜ₋₁
            dot(h_prev, U_stack.T, a_stack)
            add(a_stack, a_stack_in, a_stack)
            # stackₜ = tanh(a_stackₜ)
            tanh(a_stack_by_4, stack)
            # c̃ₜ = stackₜ[3*H:4*H]
            # i_f_oₜ = 0.5 + 0.5 stackₜ[0:3*H]
            multiply(i_f_o, half, i_f_o)
            add(i_f_o, half, i_f_o)
            # iₜ = i_f_oₜ[0:H]
            # fₜ = i_f_oₜ[H:2*H]
            # oₜ = i_f_oₜ[2*H:3*H]
            # cₜ = fₜ ∘ cₜ₋₁ + iₜ ∘ c̃ₜ
            multiply(f, c_prev, c)
            multiply(i, c_tilde, buffer_1)
            add(c, buffer_1, c)
            # tanh(cₜ)
            tanh(c, tanh_c)
            # hₜ = oₜ ∘ tanh(cₜ)
            multiply(o, tanh_c, h)
    np.copyto(m.h_out, m.h_all[1:])
    np.copyto(m.c_out, m.c_all[1:])
    outputs = {"h": m.h_out, "c": m.c_out}
    tape = Tape(
        sizes,
        dtype,
        x=x_all,
        h=m.h_all,
        c=m.c_all,
        i=m.stack_all[:, 0],
        f=m.stack_all[:, 1],
        c_tilde=m.stack_all[:, 3],
        o=m.stack_all[:, 2],
        tanh_c=m.tanh_c_all,
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
    cotangent_h_all = _sequence("backward", "cotangents", cotangents, "h", STATES["h"], sizes, dtype)
    cotangent_c_all = _sequence("backward", "cotangents", cotangents, "c", STATES["c"], sizes, dtype)
    # U_stack = [U_i; U_f; U_c; U_o]
    U_stack = m.U_stack
    U_stack[:H] = parameters["U_i"]
    U_stack[H:2 * H] = parameters["U_f"]
    U_stack[2 * H:3 * H] = parameters["U_c"]
    U_stack[3 * H:4 * H] = parameters["U_o"]
    # W_stack = [W_i; W_f; W_c; W_o]
    W_stack = m.W_stack
    W_stack[:H] = parameters["W_i"]
    W_stack[H:2 * H] = parameters["W_f"]
    W_stack[2 * H:3 * H] = parameters["W_c"]
    W_stack[3 * H:4 * H] = parameters["W_o"]
    m.carry_h[...] = 0
    m.carry_c[...] = 0
    add, dot, multiply = np.add, np.dot, np.multiply
    carry_h = m.carry_h
    carry_c = m.carry_c
    d_h = m.d_h
    d_c = m.d_c
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
        x_all = tape.x[start:stop]
        h_prev_all = tape.h[start:stop]
        np.copyto(m.cotangent_h_all[:n], cotangent_h_all[start:stop])
        np.copyto(m.cotangent_c_all[:n], cotangent_c_all[start:stop])
        # k_a_oₜ = hₜ ∘ (1 − oₜ)
        np.subtract(1, o_all, out=m.k_a_o_all[:n])
        np.multiply(m.k_a_o_all[:n], h_all, out=m.k_a_o_all[:n])
        # k_cₜ = oₜ ∘ (1 − tanh(cₜ)²)
        np.multiply(tanh_c_all, tanh_c_all, out=m.k_c_all[:n])
        np.subtract(1, m.k_c_all[:n], out=m.k_c_all[:n])
        np.multiply(m.k_c_all[:n], o_all, out=m.k_c_all[:n])
        # k_a_c̃ₜ = iₜ ∘ (1 − c̃ₜ²)
        np.multiply(c_tilde_all, c_tilde_all, out=m.k_a_stack_all[:n, 2])
        np.subtract(1, m.k_a_stack_all[:n, 2], out=m.k_a_stack_all[:n, 2])
        np.multiply(m.k_a_stack_all[:n, 2], i_all, out=m.k_a_stack_all[:n, 2])
        # k_a_fₜ = cₜ₋₁ ∘ fₜ ∘ (1 − fₜ)
        np.subtract(1, f_all, out=m.k_a_stack_all[:n, 1])
        np.multiply(m.k_a_stack_all[:n, 1], c_prev_all, out=m.k_a_stack_all[:n, 1])
        np.multiply(m.k_a_stack_all[:n, 1], f_all, out=m.k_a_stack_all[:n, 1])
        # k_a_iₜ = c̃ₜ ∘ iₜ ∘ (1 − iₜ)
        np.subtract(1, i_all, out=m.k_a_stack_all[:n, 0])
        np.multiply(m.k_a_stack_all[:n, 0], c_tilde_all, out=m.k_a_stack_all[:n, 0])
        np.multiply(m.k_a_stack_all[:n, 0], i_all, out=m.k_a_stack_all[:n, 0])
        # k_c_2ₜ = fₜ
        m.k_c_2_all[:n][...] = f_all
        # k_a_stackₜ = [k_a_iₜ; k_a_fₜ; k_a_c̃ₜ]
        for cotangent_h, d_a_o, k_a_o, k_c, cotangent_c, d_a_stack_2_by_3, k_a_stack, d_a_stack, k_c_2 in reversed(m.steps[:n]):
            # ∂L/∂hₜ = ∂Lₜ/∂hₜ + ∂L/∂hₜ|ₜ₊₁
            add(cotangent_h, carry_h, d_h)
            # ∂L/∂a_oₜ = ∂L/∂hₜ ∘ k_a_oₜ
            multiply(d_h, k_a_o, d_a_o)
            # ∂L/∂cₜ = ∂Lₜ/∂cₜ + ∂L/∂hₜ ∘ k_cₜ + ∂L/∂cₜ|ₜ₊₁
            multiply(d_h, k_c, d_c)
            add(d_c, cotangent_c, d_c)
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
        np.matmul(d_a_stack_flat, W_stack, out=m.d_x_out[start:stop].reshape(n * B, D))
        # ∂L/∂W_stack = Σₜ ∂L/∂a_stackₜ xₜᵀ
        _add(m.d_W_stack, d_a_stack_flat.T, x_flat, stop == T)
        # ∂L/∂U_stack = Σₜ ∂L/∂a_stackₜ hₜ₋₁ᵀ
        _add(m.d_U_stack, d_a_stack_flat.T, h_prev_flat, stop == T)
        # ∂L/∂b_stack = Σₜ ∂L/∂a_stackₜ
        _add(m.d_b_stack, d_a_stack_flat.T, np.ones((n * B, 1), dtype), stop == T)
    if T == 0:
        for total in (m.d_W_stack, m.d_U_stack, m.d_b_stack,):
            total[...] = 0
    return Gradients(
        parameters={
            "W_i": m.d_W_stack[:H],
            "U_i": m.d_U_stack[:H],
            "b_i": m.d_b_stack[:H, 0],
            "W_f": m.d_W_stack[H:2 * H],
            "U_f": m.d_U_stack[H:2 * H],
            "b_f": m.d_b_stack[H:2 * H, 0],
            "W_c": m.d_W_stack[2 * H:3 * H],
            "U_c": m.d_U_stack[2 * H:3 * H],
            "b_c": m.d_b_stack[2 * H:3 * H, 0],
            "W_o": m.d_W_stack[3 * H:4 * H],
            "U_o": m.d_U_stack[3 * H:4 * H],
            "b_o": m.d_b_stack[3 * H:4 * H, 0],
        },
        inputs={"x": m.d_x_out},
        state={"h": m.carry_h.copy(), "c": m.carry_c.copy()},
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
    x_all = tape.x.transpose(0, 2, 1)
    h_all = tape.h.transpose(0, 2, 1)
    c_all = tape.c.transpose(0, 2, 1)
    i_all = tape.i.transpose(0, 2, 1)
    f_all = tape.f.transpose(0, 2, 1)
    c_tilde_all = tape.c_tilde.transpose(0, 2, 1)
    o_all = tape.o.transpose(0, 2, 1)
    tanh_c_all = tape.tanh_c.transpose(0, 2, 1)
    dot_W_i = _direction("jvp", tangent_parameters, "W_i", PARAMETERS["W_i"], sizes, dtype)
    dot_U_i = _direction("jvp", tangent_parameters, "U_i", PARAMETERS["U_i"], sizes, dtype)
    dot_b_i = _direction("jvp", tangent_parameters, "b_i", PARAMETERS["b_i"], sizes, dtype)
    dot_W_f = _direction("jvp", tangent_parameters, "W_f", PARAMETERS["W_f"], sizes, dtype)
    dot_U_f = _direction("jvp", tangent_parameters, "U_f", PARAMETERS["U_f"], sizes, dtype)
    dot_b_f = _direction("jvp", tangent_parameters, "b_f", PARAMETERS["b_f"], sizes, dtype)
    dot_W_c = _direction("jvp", tangent_parameters, "W_c", PARAMETERS["W_c"], sizes, dtype)
    dot_U_c = _direction("jvp", tangent_parameters, "U_c", PARAMETERS["U_c"], sizes, dtype)
    dot_b_c = _direction("jvp", tangent_parameters, "b_c", PARAMETERS["b_c"], sizes, dtype)
    dot_W_o = _direction("jvp", tangent_parameters, "W_o", PARAMETERS["W_o"], sizes, dtype)
    dot_U_o = _direction("jvp", tangent_parameters, "U_o", PARAMETERS["U_o"], sizes, dtype)
    dot_b_o = _direction("jvp", tangent_parameters, "b_o", PARAMETERS["b_o"], sizes, dtype)
    dot_x_all = _sequence("jvp", "tangent_inputs", tangent_inputs, "x", INPUTS["x"], sizes, dtype).transpose(0, 2, 1)
    # Ẇ_stack = [Ẇ_i; Ẇ_f; Ẇ_o; Ẇ_c]
    dot_W_stack = np.concatenate([dot_W_i, dot_W_f, dot_W_o, dot_W_c], axis=0)
    # W_stack = [W_i; W_f; W_o; W_c]
    W_stack = np.concatenate([parameters[name] for name in ("W_i", "W_f", "W_o", "W_c")])
    # U̇_stack = [U̇_i; U̇_f; U̇_o; U̇_c]
    dot_U_stack = np.concatenate([dot_U_i, dot_U_f, dot_U_o, dot_U_c], axis=0)
    # U_stack = [U_i; U_f; U_o; U_c]
    U_stack = np.concatenate([parameters[name] for name in ("U_i", "U_f", "U_o", "U_c")])
    # ḃ_stack = [ḃ_i; ḃ_f; ḃ_o; ḃ_c]
    dot_b_stack = np.concatenate([dot_b_i, dot_b_f, dot_b_o, dot_b_c], axis=0)
    # ȧ_stack_inₜ = Ẇ_stack xₜ + W_stack ẋₜ + U̇_stack hₜ₋₁ + ḃ_stack
    dot_a_stack_in_all = dot_W_stack @ x_all + W_stack @ dot_x_all + dot_U_stack @ h_all[:-1] + dot_b_stack
    dot_c_all = np.empty((T + 1, H, B), dtype)
    dot_h_all = np.empty((T + 1, H, B), dtype)
    dot_h_all[0] = _state("jvp", "tangent_state", tangent_state, "h", STATES["h"], sizes, dtype).T
    dot_c_all[0] = _state("jvp", "tangent_state", tangent_state, "c", STATES["c"], sizes, dtype).T
    for t in range(T):
        dot_a_stack_in = dot_a_stack_in_all[t]
        dot_h_prev = dot_h_all[t]
        i = i_all[t]
        f = f_all[t]
        c_tilde = c_tilde_all[t]
        c_prev = c_all[t]
        dot_c_prev = dot_c_all[t]
        o = o_all[t]
        tanh_c = tanh_c_all[t]
        # ȧ_stackₜ = ȧ_stack_inₜ + U_stack ḣₜ₋₁
        dot_a_stack = dot_a_stack_in + U_stack @ dot_h_prev
        # i̇ₜ = iₜ ∘ (1 − iₜ) ∘ ȧ_stackₜ[0:H]
        dot_i = i * (1 - i) * dot_a_stack[:H]
        # ḟₜ = fₜ ∘ (1 − fₜ) ∘ ȧ_stackₜ[H:2*H]
        dot_f = f * (1 - f) * dot_a_stack[H:2 * H]
        # c̃̇ₜ = (1 − c̃ₜ²) ∘ ȧ_stackₜ[3*H:4*H]
        dot_c_tilde = (1 - c_tilde**2) * dot_a_stack[3 * H:4 * H]
        # ċₜ = ḟₜ ∘ cₜ₋₁ + fₜ ∘ ċₜ₋₁ + i̇ₜ ∘ c̃ₜ + iₜ ∘ c̃̇ₜ
        dot_c = dot_c_all[t + 1] = dot_f * c_prev + f * dot_c_prev + dot_i * c_tilde + i * dot_c_tilde
        # ȯₜ = oₜ ∘ (1 − oₜ) ∘ ȧ_stackₜ[2*H:3*H]
        dot_o = o * (1 - o) * dot_a_stack[2 * H:3 * H]
        # ḣₜ = ȯₜ ∘ tanh(cₜ) + oₜ ∘ (1 − tanh(cₜ)²) ∘ ċₜ
        dot_h_all[t + 1] = dot_o * tanh_c + o * (1 - tanh_c**2) * dot_c
    return {"h": _batch_first(dot_h_all[1:]), "c": _batch_first(dot_c_all[1:])}


def step_jacobian(parameters, tape):
    """d(all states after step t) / d(all states before it), (T, B, S, S), states in the order of STATES.

    Raises ValueError on a tape that isn't forward's.
    """
    _taped("step_jacobian", parameters, tape)
    sizes, dtype = tape.sizes, tape.dtype
    if tape.segments is not None:
        return _jacobian_by_segments(parameters, tape)
    T, B, H = (sizes[name] for name in ("T", "B", "H"))
    U_i = parameters["U_i"]
    U_f = parameters["U_f"]
    U_c = parameters["U_c"]
    U_o = parameters["U_o"]
    c_prev = tape.c[:-1]
    i = tape.i
    f = tape.f
    c_tilde = tape.c_tilde
    o = tape.o
    tanh_c = tape.tanh_c
    # ∂iₜ/∂hₜ₋₁ = diag(iₜ ∘ (1 − iₜ)) U_i
    d_i_d_h = (i * (1 - i))[..., None] * U_i
    # ∂fₜ/∂hₜ₋₁ = diag(fₜ ∘ (1 − fₜ)) U_f
    d_f_d_h = (f * (1 - f))[..., None] * U_f
    # ∂c̃ₜ/∂hₜ₋₁ = diag(1 − c̃ₜ²) U_c
    d_c_tilde_d_h = (1 - c_tilde**2)[..., None] * U_c
    # ∂cₜ/∂hₜ₋₁ = diag(cₜ₋₁) ∂fₜ/∂hₜ₋₁ + diag(c̃ₜ) ∂iₜ/∂hₜ₋₁ + diag(iₜ) ∂c̃ₜ/∂hₜ₋₁
    d_c_d_h = c_prev[..., None] * d_f_d_h + c_tilde[..., None] * d_i_d_h + i[..., None] * d_c_tilde_d_h
    # ∂cₜ/∂cₜ₋₁ = diag(fₜ)
    d_c_d_c = f[..., None] * np.eye(H, dtype=dtype)
    # ∂oₜ/∂hₜ₋₁ = diag(oₜ ∘ (1 − oₜ)) U_o
    d_o_d_h = (o * (1 - o))[..., None] * U_o
    # s_1ₜ = oₜ ∘ (1 − tanh(cₜ)²)
    s_1 = o * (1 - tanh_c**2)
    # ∂hₜ/∂hₜ₋₁ = diag(tanh(cₜ)) ∂oₜ/∂hₜ₋₁ + diag(s_1ₜ) ∂cₜ/∂hₜ₋₁
    d_h_d_h = tanh_c[..., None] * d_o_d_h + s_1[..., None] * d_c_d_h
    # ∂hₜ/∂cₜ₋₁ = diag(s_1ₜ) ∂cₜ/∂cₜ₋₁
    d_h_d_c = s_1[..., None] * d_c_d_c
    J = np.zeros((T, B, 2 * H, 2 * H), dtype)
    J[..., :H, :H] = d_h_d_h
    J[..., :H, H:2 * H] = d_h_d_c
    J[..., H:2 * H, :H] = d_c_d_h
    J[..., H:2 * H, H:2 * H] = d_c_d_c
    return J


class _Forward:
    """The arrays of a forward pass, and the views of each step, made once."""

    def __init__(self, sizes, dtype):
        T, B, D, H = (sizes[name] for name in ("T", "B", "D", "H"))
        self.block = max(1, min(T, BLOCK // max(1, B), max(128 // max(1, B), T // 4)))
        self.U_stack = np.empty((4 * H, H), dtype)
        self.W_stack = np.empty((4 * H, D), dtype)
        self.a_stack = np.empty((B, 4 * H), dtype)
        self.a_stack_in_all = np.empty((self.block, B, 4 * H), dtype)
        self.b_stack = np.empty((4 * H, 1), dtype)
        self.buffer_1 = np.empty((B, H), dtype)
        self.c_all = np.empty((T + 1, B, H), dtype)
        self.c_out = np.empty((T, B, H), dtype)
        self.h_all = np.empty((T + 1, B, H), dtype)
        self.h_out = np.empty((T, B, H), dtype)
        self.stack_all = np.empty((T, 4, B, H), dtype)
        self.tanh_c_all = np.empty((T, B, H), dtype)
        self.ahead = list(zip(self.a_stack_in_all))
        self.steps = list(
            zip(
                self.h_all[:-1],
                self.stack_all,
                self.stack_all[:, 3],
                self.stack_all[:, 0:3],
                self.stack_all[:, 0],
                self.stack_all[:, 1],
                self.stack_all[:, 2],
                self.c_all[1:],
                self.c_all[:-1],
                self.tanh_c_all,
                self.h_all[1:],
            )
        )


class _Backward:
    """The arrays of a backward pass over blocks of steps, and the views of each step, made once."""

    def __init__(self, sizes, dtype):
        T, B, D, H = (sizes[name] for name in ("T", "B", "D", "H"))
        self.block = max(1, min(T, BLOCK // max(1, B), max(128 // max(1, B), T // 4)))
        self.U_stack = np.empty((4 * H, H), dtype)
        self.W_stack = np.empty((4 * H, D), dtype)
        self.carry_c = np.empty((B, H), dtype)
        self.carry_h = np.empty((B, H), dtype)
        self.cotangent_c_all = np.empty((self.block, B, H), dtype)
        self.cotangent_h_all = np.empty((self.block, B, H), dtype)
        self.d_U_stack = np.empty((4 * H, H), dtype)
        self.d_W_stack = np.empty((4 * H, D), dtype)
        self.d_a_stack_all = np.empty((self.block, B, 4 * H), dtype)
        self.d_b_stack = np.empty((4 * H, 1), dtype)
        self.d_c = np.empty((B, H), dtype)
        self.d_h = np.empty((B, H), dtype)
        self.d_x_out = np.empty((T, B, D), dtype)
        self.k_a_o_all = np.empty((self.block, B, H), dtype)
        self.k_a_stack_all = np.empty((self.block, 3, B, H), dtype)
        self.k_c_2_all = np.empty((self.block, B, H), dtype)
        self.k_c_all = np.empty((self.block, B, H), dtype)
        self.steps = list(
            zip(
                self.cotangent_h_all,
                self.d_a_stack_all[..., 3 * H:4 * H],
                self.k_a_o_all,
                self.k_c_all,
                self.cotangent_c_all,
                self.d_a_stack_all[..., :3 * H].reshape(self.block, B, 3, H).transpose(0, 2, 1, 3),
                self.k_a_stack_all,
                self.d_a_stack_all,
                self.k_c_2_all,
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
