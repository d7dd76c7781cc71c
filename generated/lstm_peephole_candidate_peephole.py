# Emitted by `python -m derive lstm --peephole --candidate-peephole`. Don't edit: change the equations and emit again.
#
#     i: iₜ = σ(W_i xₜ + U_i hₜ₋₁ + P_i cₜ₋₁ + b_i)
#     f: fₜ = σ(W_f xₜ + U_f hₜ₋₁ + P_f cₜ₋₁ + b_f)
#     c_tilde: c̃ₜ = tanh(W_c xₜ + U_c hₜ₋₁ + P_c cₜ₋₁ + b_c)
#     c: cₜ = fₜ ∘ cₜ₋₁ + iₜ ∘ c̃ₜ
#     o: oₜ = σ(W_o xₜ + U_o hₜ₋₁ + P_o cₜ + b_o)
#     h: hₜ = oₜ ∘ tanh(cₜ)
#
# equations  sha256 b7d98129f3e3ac57
# derivation sha256 49c8957e0d44dcdd
# body       sha256 bed35c105da58294
#
# per step and example:
#     forward  12 matrix products (4 D H + 8 H^2 multiply-adds), 21 H elementwise operations
#     backward 24 matrix products (16 H^2 + 8 D H multiply-adds), 3 D + 31 H elementwise operations
#     saved    7 H + D numbers: x, h, c, i, f, c_tilde, o, tanh_c
"""The cell `lstm --peephole --candidate-peephole` and its gradients, in NumPy.

Inside, an array at one step has one column per example, (n, B), so that `W @ x` reads like the equation; `..._all` is the same
over time, (T, n, B), and of a state it starts with the initial one, (T + 1, n, B). `d_v` is dL/dv, `carry_h` the part of dL/dh
that comes from the next step, `dot_v` the tangent of v.
"""

import numpy as np

PARAMETERS = {
    "W_i": ("H", "D"),
    "U_i": ("H", "H"),
    "P_i": ("H", "H"),
    "b_i": ("H",),
    "W_f": ("H", "D"),
    "U_f": ("H", "H"),
    "P_f": ("H", "H"),
    "b_f": ("H",),
    "W_c": ("H", "D"),
    "U_c": ("H", "H"),
    "P_c": ("H", "H"),
    "b_c": ("H",),
    "W_o": ("H", "D"),
    "U_o": ("H", "H"),
    "P_o": ("H", "H"),
    "b_o": ("H",),
}
INPUTS = {"x": ("D",)}
STATES = {
    "h": ("H",),
    "c": ("H",),
}
OUTPUTS = {}


def forward(parameters, inputs, state=None):
    """Run the cell over all steps.

    parameters {name: array}, inputs {name: (T, B, n)}, state {name: (B, n)}, None for zeros.
    Returns outputs {name: (T, B, n)} of every state and output, and the tape that backward reads.
    Raises ValueError on a name, shape or dtype that doesn't fit.
    """
    sizes, dtype = _sizes("forward", parameters, inputs, state)
    T, B, H = (sizes[name] for name in ("T", "B", "H"))
    P_o = parameters["P_o"]
    x_all = inputs["x"].transpose(0, 2, 1)
    # P_stack = [P_i; P_f; P_c]
    P_stack = np.concatenate([parameters[name] for name in ("P_i", "P_f", "P_c")])
    # W_stack = [W_i; W_f; W_c; W_o]
    W_stack = np.concatenate([parameters[name] for name in ("W_i", "W_f", "W_c", "W_o")])
    # U_stack = [U_i; U_f; U_c; U_o]
    U_stack = np.concatenate([parameters[name] for name in ("U_i", "U_f", "U_c", "U_o")])
    # b_stack = [b_i; b_f; b_c; b_o]
    b_stack = np.concatenate([parameters[name] for name in ("b_i", "b_f", "b_c", "b_o")])[:, None]
    # a_stack_inₜ = W_stack xₜ + b_stack
    a_stack_in_all = W_stack @ x_all + b_stack
    i_all = np.empty((T, H, B), dtype)
    f_all = np.empty((T, H, B), dtype)
    c_tilde_all = np.empty((T, H, B), dtype)
    c_all = np.empty((T + 1, H, B), dtype)
    o_all = np.empty((T, H, B), dtype)
    tanh_c_all = np.empty((T, H, B), dtype)
    h_all = np.empty((T + 1, H, B), dtype)
    h_all[0] = _state("forward", "state", state, "h", STATES["h"], sizes, dtype)
    c_all[0] = _state("forward", "state", state, "c", STATES["c"], sizes, dtype)
    for t in range(T):
        a_stack_in = a_stack_in_all[t]
        h_prev = h_all[t]
        c_prev = c_all[t]
        # a_stackₜ = a_stack_inₜ + U_stack hₜ₋₁
        a_stack = a_stack_in + U_stack @ h_prev
        # a_stack_2ₜ = P_stack cₜ₋₁
        a_stack_2 = P_stack @ c_prev
        # a_iₜ = a_stackₜ[0:H] + a_stack_2ₜ[0:H]
        a_i = a_stack[:H] + a_stack_2[:H]
        # iₜ = σ(a_iₜ)
        i = i_all[t] = sigma(a_i)
        # a_fₜ = a_stackₜ[H:2*H] + a_stack_2ₜ[H:2*H]
        a_f = a_stack[H:2 * H] + a_stack_2[H:2 * H]
        # fₜ = σ(a_fₜ)
        f = f_all[t] = sigma(a_f)
        # a_c̃ₜ = a_stackₜ[2*H:3*H] + a_stack_2ₜ[2*H:3*H]
        a_c_tilde = a_stack[2 * H:3 * H] + a_stack_2[2 * H:3 * H]
        # c̃ₜ = tanh(a_c̃ₜ)
        c_tilde = c_tilde_all[t] = np.tanh(a_c_tilde)
        # cₜ = fₜ ∘ cₜ₋₁ + iₜ ∘ c̃ₜ
        c = c_all[t + 1] = f * c_prev + i * c_tilde
        # a_oₜ = a_stackₜ[3*H:4*H] + P_o cₜ
        a_o = a_stack[3 * H:4 * H] + P_o @ c
        # oₜ = σ(a_oₜ)
        o = o_all[t] = sigma(a_o)
        # tanh(cₜ)
        tanh_c = tanh_c_all[t] = np.tanh(c)
        # hₜ = oₜ ∘ tanh(cₜ)
        h = h_all[t + 1] = o * tanh_c
    outputs = {"h": _batch_first(h_all[1:]), "c": _batch_first(c_all[1:])}
    tape = Tape(sizes, dtype, x=x_all, h=h_all, c=c_all, i=i_all, f=f_all, c_tilde=c_tilde_all, o=o_all, tanh_c=tanh_c_all)
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
    P_o = parameters["P_o"]
    x_all = tape.x
    h_all = tape.h
    c_all = tape.c
    i_all = tape.i
    f_all = tape.f
    c_tilde_all = tape.c_tilde
    o_all = tape.o
    tanh_c_all = tape.tanh_c
    cotangent_h_all = _sequence("backward", "cotangents", cotangents, "h", STATES["h"], sizes, dtype)
    cotangent_c_all = _sequence("backward", "cotangents", cotangents, "c", STATES["c"], sizes, dtype)
    # U_stack = [U_i; U_f; U_c; U_o]
    U_stack = np.concatenate([parameters[name] for name in ("U_i", "U_f", "U_c", "U_o")])
    # P_stack = [P_i; P_f; P_c]
    P_stack = np.concatenate([parameters[name] for name in ("P_i", "P_f", "P_c")])
    # W_stack = [W_i; W_f; W_c; W_o]
    W_stack = np.concatenate([parameters[name] for name in ("W_i", "W_f", "W_c", "W_o")])
    d_a_o_all = np.empty((T, H, B), dtype)
    d_a_stack_all = np.empty((T, 4 * H, B), dtype)
    carry_h = np.zeros((H, B), dtype)
    carry_c = np.zeros((H, B), dtype)
    for t in reversed(range(T)):
        cotangent_h = cotangent_h_all[t]
        tanh_c = tanh_c_all[t]
        o = o_all[t]
        cotangent_c = cotangent_c_all[t]
        i = i_all[t]
        c_tilde = c_tilde_all[t]
        c_prev = c_all[t]
        f = f_all[t]
        # ∂L/∂hₜ = ∂Lₜ/∂hₜ + ∂L/∂hₜ|ₜ₊₁
        d_h = cotangent_h + carry_h
        # ∂L/∂oₜ = ∂L/∂hₜ ∘ tanh(cₜ)
        d_o = d_h * tanh_c
        # ∂L/∂a_oₜ = ∂L/∂oₜ ∘ oₜ ∘ (1 − oₜ)
        d_a_o = d_a_o_all[t] = d_o * o * (1 - o)
        # ∂L/∂cₜ = ∂Lₜ/∂cₜ + P_oᵀ ∂L/∂a_oₜ + ∂L/∂hₜ ∘ oₜ ∘ (1 − tanh(cₜ)²) + ∂L/∂cₜ|ₜ₊₁
        d_c = cotangent_c + P_o.T @ d_a_o + d_h * o * (1 - tanh_c**2) + carry_c
        # ∂L/∂c̃ₜ = ∂L/∂cₜ ∘ iₜ
        d_c_tilde = d_c * i
        # ∂L/∂a_c̃ₜ = ∂L/∂c̃ₜ ∘ (1 − c̃ₜ²)
        d_a_c_tilde = d_c_tilde * (1 - c_tilde**2)
        # ∂L/∂fₜ = ∂L/∂cₜ ∘ cₜ₋₁
        d_f = d_c * c_prev
        # ∂L/∂a_fₜ = ∂L/∂fₜ ∘ fₜ ∘ (1 − fₜ)
        d_a_f = d_f * f * (1 - f)
        # ∂L/∂iₜ = ∂L/∂cₜ ∘ c̃ₜ
        d_i = d_c * c_tilde
        # ∂L/∂a_iₜ = ∂L/∂iₜ ∘ iₜ ∘ (1 − iₜ)
        d_a_i = d_i * i * (1 - i)
        # ∂L/∂a_stackₜ = [∂L/∂a_iₜ; ∂L/∂a_fₜ; ∂L/∂a_c̃ₜ; ∂L/∂a_oₜ]
        d_a_stack = d_a_stack_all[t] = np.concatenate([d_a_i, d_a_f, d_a_c_tilde, d_a_o], axis=0)
        # ∂L/∂hₜ₋₁|ₜ = U_stackᵀ ∂L/∂a_stackₜ
        carry_h = U_stack.T @ d_a_stack
        # ∂L/∂cₜ₋₁|ₜ = P_stackᵀ ∂L/∂a_stackₜ[0:3*H] + ∂L/∂cₜ ∘ fₜ
        carry_c = P_stack.T @ d_a_stack[:3 * H] + d_c * f
    # ∂L/∂xₜ = W_stackᵀ ∂L/∂a_stackₜ
    d_x_all = W_stack.T @ d_a_stack_all
    # ∂L/∂P_o = Σₜ ∂L/∂a_oₜ cₜᵀ
    d_P_o = np.tensordot(d_a_o_all, c_all[1:], ([0, 2], [0, 2]))
    # ∂L/∂W_stack = Σₜ ∂L/∂a_stackₜ xₜᵀ
    d_W_stack = np.tensordot(d_a_stack_all, x_all, ([0, 2], [0, 2]))
    # ∂L/∂U_stack = Σₜ ∂L/∂a_stackₜ hₜ₋₁ᵀ
    d_U_stack = np.tensordot(d_a_stack_all, h_all[:-1], ([0, 2], [0, 2]))
    # ∂L/∂P_stack = Σₜ ∂L/∂a_stackₜ[0:3*H] cₜ₋₁ᵀ
    d_P_stack = np.tensordot(d_a_stack_all[:, :3 * H], c_all[:-1], ([0, 2], [0, 2]))
    # ∂L/∂b_stack = Σₜ ∂L/∂a_stackₜ
    d_b_stack = d_a_stack_all.sum(axis=(0, 2))[:, None]
    return Gradients(
        parameters={
            "W_i": d_W_stack[:H],
            "U_i": d_U_stack[:H],
            "P_i": d_P_stack[:H],
            "b_i": d_b_stack[:H, 0],
            "W_f": d_W_stack[H:2 * H],
            "U_f": d_U_stack[H:2 * H],
            "P_f": d_P_stack[H:2 * H],
            "b_f": d_b_stack[H:2 * H, 0],
            "W_c": d_W_stack[2 * H:3 * H],
            "U_c": d_U_stack[2 * H:3 * H],
            "P_c": d_P_stack[2 * H:3 * H],
            "b_c": d_b_stack[2 * H:3 * H, 0],
            "W_o": d_W_stack[3 * H:4 * H],
            "U_o": d_U_stack[3 * H:4 * H],
            "P_o": d_P_o,
            "b_o": d_b_stack[3 * H:4 * H, 0],
        },
        inputs={"x": _batch_first(d_x_all)},
        state={
            "h": carry_h.T.copy(),
            "c": carry_c.T.copy(),
        },
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
    P_o = parameters["P_o"]
    x_all = tape.x
    h_all = tape.h
    c_all = tape.c
    i_all = tape.i
    f_all = tape.f
    c_tilde_all = tape.c_tilde
    o_all = tape.o
    tanh_c_all = tape.tanh_c
    dot_W_i = _direction("jvp", tangent_parameters, "W_i", PARAMETERS["W_i"], sizes, dtype)
    dot_U_i = _direction("jvp", tangent_parameters, "U_i", PARAMETERS["U_i"], sizes, dtype)
    dot_P_i = _direction("jvp", tangent_parameters, "P_i", PARAMETERS["P_i"], sizes, dtype)
    dot_b_i = _direction("jvp", tangent_parameters, "b_i", PARAMETERS["b_i"], sizes, dtype)
    dot_W_f = _direction("jvp", tangent_parameters, "W_f", PARAMETERS["W_f"], sizes, dtype)
    dot_U_f = _direction("jvp", tangent_parameters, "U_f", PARAMETERS["U_f"], sizes, dtype)
    dot_P_f = _direction("jvp", tangent_parameters, "P_f", PARAMETERS["P_f"], sizes, dtype)
    dot_b_f = _direction("jvp", tangent_parameters, "b_f", PARAMETERS["b_f"], sizes, dtype)
    dot_W_c = _direction("jvp", tangent_parameters, "W_c", PARAMETERS["W_c"], sizes, dtype)
    dot_U_c = _direction("jvp", tangent_parameters, "U_c", PARAMETERS["U_c"], sizes, dtype)
    dot_P_c = _direction("jvp", tangent_parameters, "P_c", PARAMETERS["P_c"], sizes, dtype)
    dot_b_c = _direction("jvp", tangent_parameters, "b_c", PARAMETERS["b_c"], sizes, dtype)
    dot_W_o = _direction("jvp", tangent_parameters, "W_o", PARAMETERS["W_o"], sizes, dtype)
    dot_U_o = _direction("jvp", tangent_parameters, "U_o", PARAMETERS["U_o"], sizes, dtype)
    dot_P_o = _direction("jvp", tangent_parameters, "P_o", PARAMETERS["P_o"], sizes, dtype)
    dot_b_o = _direction("jvp", tangent_parameters, "b_o", PARAMETERS["b_o"], sizes, dtype)
    dot_x_all = _sequence("jvp", "tangent_inputs", tangent_inputs, "x", INPUTS["x"], sizes, dtype)
    # Ṗ_stack = [Ṗ_i; Ṗ_f; Ṗ_c]
    dot_P_stack = np.concatenate([dot_P_i, dot_P_f, dot_P_c], axis=0)
    # P_stack = [P_i; P_f; P_c]
    P_stack = np.concatenate([parameters[name] for name in ("P_i", "P_f", "P_c")])
    # Ẇ_stack = [Ẇ_i; Ẇ_f; Ẇ_c; Ẇ_o]
    dot_W_stack = np.concatenate([dot_W_i, dot_W_f, dot_W_c, dot_W_o], axis=0)
    # W_stack = [W_i; W_f; W_c; W_o]
    W_stack = np.concatenate([parameters[name] for name in ("W_i", "W_f", "W_c", "W_o")])
    # U̇_stack = [U̇_i; U̇_f; U̇_c; U̇_o]
    dot_U_stack = np.concatenate([dot_U_i, dot_U_f, dot_U_c, dot_U_o], axis=0)
    # U_stack = [U_i; U_f; U_c; U_o]
    U_stack = np.concatenate([parameters[name] for name in ("U_i", "U_f", "U_c", "U_o")])
    # ḃ_stack = [ḃ_i; ḃ_f; ḃ_c; ḃ_o]
    dot_b_stack = np.concatenate([dot_b_i, dot_b_f, dot_b_c, dot_b_o], axis=0)
    # ȧ_stack_inₜ = Ẇ_stack xₜ + W_stack ẋₜ + U̇_stack hₜ₋₁ + ḃ_stack
    dot_a_stack_in_all = dot_W_stack @ x_all + W_stack @ dot_x_all + dot_U_stack @ h_all[:-1] + dot_b_stack
    # ȧ_stack_2_inₜ = Ṗ_stack cₜ₋₁
    dot_a_stack_2_in_all = dot_P_stack @ c_all[:-1]
    # ȧ_o_inₜ = Ṗ_o cₜ
    dot_a_o_in_all = dot_P_o @ c_all[1:]
    dot_c_all = np.empty((T + 1, H, B), dtype)
    dot_h_all = np.empty((T + 1, H, B), dtype)
    dot_h_all[0] = _state("jvp", "tangent_state", tangent_state, "h", STATES["h"], sizes, dtype)
    dot_c_all[0] = _state("jvp", "tangent_state", tangent_state, "c", STATES["c"], sizes, dtype)
    for t in range(T):
        dot_a_stack_in = dot_a_stack_in_all[t]
        dot_h_prev = dot_h_all[t]
        dot_a_stack_2_in = dot_a_stack_2_in_all[t]
        dot_c_prev = dot_c_all[t]
        i = i_all[t]
        f = f_all[t]
        c_tilde = c_tilde_all[t]
        c_prev = c_all[t]
        dot_a_o_in = dot_a_o_in_all[t]
        o = o_all[t]
        tanh_c = tanh_c_all[t]
        # ȧ_stackₜ = ȧ_stack_inₜ + U_stack ḣₜ₋₁
        dot_a_stack = dot_a_stack_in + U_stack @ dot_h_prev
        # ȧ_stack_2ₜ = ȧ_stack_2_inₜ + P_stack ċₜ₋₁
        dot_a_stack_2 = dot_a_stack_2_in + P_stack @ dot_c_prev
        # ȧ_iₜ = ȧ_stackₜ[0:H] + ȧ_stack_2ₜ[0:H]
        dot_a_i = dot_a_stack[:H] + dot_a_stack_2[:H]
        # i̇ₜ = iₜ ∘ (1 − iₜ) ∘ ȧ_iₜ
        dot_i = i * (1 - i) * dot_a_i
        # ȧ_fₜ = ȧ_stackₜ[H:2*H] + ȧ_stack_2ₜ[H:2*H]
        dot_a_f = dot_a_stack[H:2 * H] + dot_a_stack_2[H:2 * H]
        # ḟₜ = fₜ ∘ (1 − fₜ) ∘ ȧ_fₜ
        dot_f = f * (1 - f) * dot_a_f
        # ȧ_c̃ₜ = ȧ_stackₜ[2*H:3*H] + ȧ_stack_2ₜ[2*H:3*H]
        dot_a_c_tilde = dot_a_stack[2 * H:3 * H] + dot_a_stack_2[2 * H:3 * H]
        # c̃̇ₜ = (1 − c̃ₜ²) ∘ ȧ_c̃ₜ
        dot_c_tilde = (1 - c_tilde**2) * dot_a_c_tilde
        # ċₜ = ḟₜ ∘ cₜ₋₁ + fₜ ∘ ċₜ₋₁ + i̇ₜ ∘ c̃ₜ + iₜ ∘ c̃̇ₜ
        dot_c = dot_c_all[t + 1] = dot_f * c_prev + f * dot_c_prev + dot_i * c_tilde + i * dot_c_tilde
        # ȧ_oₜ = ȧ_o_inₜ + ȧ_stackₜ[3*H:4*H] + P_o ċₜ
        dot_a_o = dot_a_o_in + dot_a_stack[3 * H:4 * H] + P_o @ dot_c
        # ȯₜ = oₜ ∘ (1 − oₜ) ∘ ȧ_oₜ
        dot_o = o * (1 - o) * dot_a_o
        # ḣₜ = ȯₜ ∘ tanh(cₜ) + oₜ ∘ (1 − tanh(cₜ)²) ∘ ċₜ
        dot_h = dot_h_all[t + 1] = dot_o * tanh_c + o * (1 - tanh_c**2) * dot_c
    return {"h": _batch_first(dot_h_all[1:]), "c": _batch_first(dot_c_all[1:])}


def step_jacobian(parameters, tape):
    """d(all states after step t) / d(all states before it), (T, B, S, S), states in the order of STATES.

    Raises ValueError on a tape that isn't forward's.
    """
    _taped("step_jacobian", parameters, tape)
    sizes, dtype = tape.sizes, tape.dtype
    T, B, H = (sizes[name] for name in ("T", "B", "H"))
    U_i = parameters["U_i"]
    P_i = parameters["P_i"]
    U_f = parameters["U_f"]
    P_f = parameters["P_f"]
    U_c = parameters["U_c"]
    P_c = parameters["P_c"]
    U_o = parameters["U_o"]
    P_o = parameters["P_o"]
    c_prev = tape.c[:-1].transpose(0, 2, 1)
    i = tape.i.transpose(0, 2, 1)
    f = tape.f.transpose(0, 2, 1)
    c_tilde = tape.c_tilde.transpose(0, 2, 1)
    o = tape.o.transpose(0, 2, 1)
    tanh_c = tape.tanh_c.transpose(0, 2, 1)
    # s_1ₜ = iₜ ∘ (1 − iₜ)
    s_1 = i * (1 - i)
    # ∂iₜ/∂hₜ₋₁ = diag(s_1ₜ) U_i
    d_i_d_h = s_1[..., None] * U_i
    # ∂iₜ/∂cₜ₋₁ = diag(s_1ₜ) P_i
    d_i_d_c = s_1[..., None] * P_i
    # s_2ₜ = fₜ ∘ (1 − fₜ)
    s_2 = f * (1 - f)
    # ∂fₜ/∂hₜ₋₁ = diag(s_2ₜ) U_f
    d_f_d_h = s_2[..., None] * U_f
    # ∂fₜ/∂cₜ₋₁ = diag(s_2ₜ) P_f
    d_f_d_c = s_2[..., None] * P_f
    # s_3ₜ = 1 − c̃ₜ²
    s_3 = 1 - c_tilde**2
    # ∂c̃ₜ/∂hₜ₋₁ = diag(s_3ₜ) U_c
    d_c_tilde_d_h = s_3[..., None] * U_c
    # ∂c̃ₜ/∂cₜ₋₁ = diag(s_3ₜ) P_c
    d_c_tilde_d_c = s_3[..., None] * P_c
    # ∂cₜ/∂hₜ₋₁ = diag(cₜ₋₁) ∂fₜ/∂hₜ₋₁ + diag(c̃ₜ) ∂iₜ/∂hₜ₋₁ + diag(iₜ) ∂c̃ₜ/∂hₜ₋₁
    d_c_d_h = c_prev[..., None] * d_f_d_h + c_tilde[..., None] * d_i_d_h + i[..., None] * d_c_tilde_d_h
    # ∂cₜ/∂cₜ₋₁ = diag(cₜ₋₁) ∂fₜ/∂cₜ₋₁ + diag(fₜ) + diag(c̃ₜ) ∂iₜ/∂cₜ₋₁ + diag(iₜ) ∂c̃ₜ/∂cₜ₋₁
    d_c_d_c = c_prev[..., None] * d_f_d_c + f[..., None] * np.eye(H, dtype=dtype) + c_tilde[..., None] * d_i_d_c + i[..., None] * d_c_tilde_d_c
    # ∂a_oₜ/∂hₜ₋₁ = U_o + P_o ∂cₜ/∂hₜ₋₁
    d_a_o_d_h = U_o + P_o @ d_c_d_h
    # s_4ₜ = oₜ ∘ (1 − oₜ)
    s_4 = o * (1 - o)
    # ∂oₜ/∂hₜ₋₁ = diag(s_4ₜ) ∂a_oₜ/∂hₜ₋₁
    d_o_d_h = s_4[..., None] * d_a_o_d_h
    # ∂oₜ/∂cₜ₋₁ = diag(s_4ₜ) P_o ∂cₜ/∂cₜ₋₁
    d_o_d_c = s_4[..., None] * (P_o @ d_c_d_c)
    # s_5ₜ = oₜ ∘ (1 − tanh(cₜ)²)
    s_5 = o * (1 - tanh_c**2)
    # ∂hₜ/∂hₜ₋₁ = diag(tanh(cₜ)) ∂oₜ/∂hₜ₋₁ + diag(s_5ₜ) ∂cₜ/∂hₜ₋₁
    d_h_d_h = tanh_c[..., None] * d_o_d_h + s_5[..., None] * d_c_d_h
    # ∂hₜ/∂cₜ₋₁ = diag(tanh(cₜ)) ∂oₜ/∂cₜ₋₁ + diag(s_5ₜ) ∂cₜ/∂cₜ₋₁
    d_h_d_c = tanh_c[..., None] * d_o_d_c + s_5[..., None] * d_c_d_c
    J = np.zeros((T, B, 2 * H, 2 * H), dtype)
    J[..., :H, :H] = d_h_d_h
    J[..., :H, H:2 * H] = d_h_d_c
    J[..., H:2 * H, :H] = d_c_d_h
    J[..., H:2 * H, H:2 * H] = d_c_d_c
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
