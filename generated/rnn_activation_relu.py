# Emitted by `python -m derive rnn --activation relu`. Don't edit: change the equations and emit again.
#
#     h: hₜ = relu(W xₜ + U hₜ₋₁ + b)
#
# equations  sha256 c8b089a3c01a86b4
# derivation sha256 95d4fb722a382926
# body       sha256 ef5cd083a7138d61
# header     sha256 2d55ae75e24772cb
#
# per step and example:
#     forward  2 matrix products (D H + H^2 multiply-adds), 3 H elementwise operations
#     backward 4 matrix products (2 D H + 2 H^2 multiply-adds), 3 H elementwise operations
#     saved    2 H numbers: h, a_h
# fmt: off
"""The cell `rnn --activation relu` and its gradients, in NumPy.

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
    "W": ("H", "D"),
    "U": ("H", "H"),
    "b": ("H",),
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
    add, dot, matmul = np.add, np.dot, np.matmul
    W = parameters["W"]
    U = parameters["U"]
    b = parameters["b"]
    x_all = inputs["x"]
    m.h_all[0] = state["h"]
    for start in range(0, T, m.block):
        stop = min(T, start + m.block)
        n = stop - start
        # a_h_inₜ = W xₜ + b
        matmul(x_all[start:stop].reshape(n * B, D), W.T, m.a_h_in_all[:n].reshape(n * B, H))
        add(m.a_h_in_all[:n], b, m.a_h_in_all[:n])
        for (a_h_in,), (a_h, h_prev, h) in zip(m.ahead[:n], m.steps[start:stop]):
            # a_hₜ = a_h_inₜ + U hₜ₋₁
            dot(h_prev, U.T, a_h)
            add(a_h_in, a_h, a_h)
            # hₜ = relu(a_hₜ)
            h[...] = relu(a_h)
    m.h_out[...] = m.h_all[1:]
    outputs = {"h": m.h_out}
    tape = Tape(sizes, dtype, x=x_all, h=m.h_all, a_h=m.a_h_all)
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
    add, dot, matmul, multiply = np.add, np.dot, np.matmul, np.multiply
    W = parameters["W"]
    U = parameters["U"]
    cotangent_h_all = cotangents["h"]
    m.carry_h[...] = 0
    m.d_W[...] = 0
    m.d_U[...] = 0
    m.d_b[...] = 0
    carry_h = m.carry_h
    for stop in range(T, 0, -m.block):
        start = max(0, stop - m.block)
        n = stop - start
        a_h_all = tape.a_h[start:stop]
        x_all = tape.x[start:stop]
        h_prev_all = tape.h[start:stop]
        m.cotangent_h_all[:n] = cotangent_h_all[start:stop]
        # k_a_hₜ = step(a_hₜ)
        m.k_a_h_all[:n] = step(a_h_all)
        for (d_a_h, cotangent_h, k_a_h) in reversed(m.steps[:n]):
            # ∂L/∂hₜ = ∂Lₜ/∂hₜ + ∂L/∂hₜ|ₜ₊₁
            add(cotangent_h, carry_h, d_a_h)
            # ∂L/∂a_hₜ = ∂L/∂hₜ ∘ k_a_hₜ
            multiply(d_a_h, k_a_h, d_a_h)
            # ∂L/∂hₜ₋₁|ₜ = Uᵀ ∂L/∂a_hₜ
            dot(d_a_h, U, carry_h)
        d_a_h_flat = m.d_a_h_all[:n].reshape(n * B, H)
        x_flat = x_all.reshape(n * B, D)
        h_prev_flat = h_prev_all.reshape(n * B, H)
        # ∂L/∂xₜ = Wᵀ ∂L/∂a_hₜ
        matmul(d_a_h_flat, W, m.d_x_out[start:stop].reshape(n * B, D))
        # ∂L/∂W = Σₜ ∂L/∂a_hₜ xₜᵀ
        matmul(d_a_h_flat.T, x_flat, m.buffer_1)
        m.d_W += m.buffer_1
        # ∂L/∂U = Σₜ ∂L/∂a_hₜ hₜ₋₁ᵀ
        matmul(d_a_h_flat.T, h_prev_flat, m.buffer_2)
        m.d_U += m.buffer_2
        # ∂L/∂b = Σₜ ∂L/∂a_hₜ
        m.d_b += np.ones((n * B,), dtype) @ d_a_h_flat
    return Gradients(
        parameters={"W": m.d_W, "U": m.d_U, "b": m.d_b},
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
    dot_W = tangent_parameters["W"]
    W = parameters["W"]
    dot_U = tangent_parameters["U"]
    dot_b = tangent_parameters["b"]
    U = parameters["U"]
    x_all = tape.x
    dot_x_all = tangent_inputs["x"]
    h_all = tape.h
    a_h_all = tape.a_h
    # ȧ_h_inₜ = Ẇ xₜ + W ẋₜ + U̇ hₜ₋₁ + ḃ
    dot_a_h_in_all = x_all @ dot_W.T + dot_x_all @ W.T + h_all[:-1] @ dot_U.T + dot_b
    dot_h_all = np.empty((T + 1, B, H), dtype)
    dot_h_all[0] = tangent_state["h"]
    for t in range(T):
        dot_a_h_in = dot_a_h_in_all[t]
        dot_h_prev = dot_h_all[t]
        a_h = a_h_all[t]
        # ȧ_hₜ = ȧ_h_inₜ + U ḣₜ₋₁
        dot_a_h = dot_a_h_in + dot_h_prev @ U.T
        # ḣₜ = step(a_hₜ) ∘ ȧ_hₜ
        dot_h_all[t + 1] = step(a_h) * dot_a_h
    return {"h": dot_h_all[1:]}


def _tangents(parameters, tape, tangent_parameters, tangent_inputs, tangent_state):
    """How values move at all steps when the arguments move along tangents, {name: (T, B, ...)}, as hvp reads
    them.
    """
    sizes, dtype = tape.sizes, tape.dtype
    m = _Tangents(sizes, dtype)
    T, B, D, H = (sizes[name] for name in ("T", "B", "D", "H"))
    add, dot, matmul, multiply = np.add, np.dot, np.matmul, np.multiply
    dot_W = tangent_parameters["W"]
    W = parameters["W"]
    dot_U = tangent_parameters["U"]
    U = parameters["U"]
    dot_b = tangent_parameters["b"]
    a_h_all = tape.a_h
    x_all = tape.x
    dot_x_all = tangent_inputs["x"]
    h_all = tape.h
    m.dot_h_all[0] = tangent_state["h"]
    dot_a_h = m.dot_a_h
    for start in range(0, T, m.block):
        stop = min(T, start + m.block)
        n = stop - start
        # s_1ₜ = step(a_hₜ)
        m.s_1_all[:n] = step(a_h_all[start:stop])
        # ȧ_h_inₜ = Ẇ xₜ + W ẋₜ + U̇ hₜ₋₁ + ḃ
        matmul(x_all[start:stop].reshape(n * B, D), dot_W.T, m.dot_a_h_in_all[:n].reshape(n * B, H))
        matmul(dot_x_all[start:stop].reshape(n * B, D), W.T, m.buffer_1[:n].reshape(n * B, H))
        add(m.dot_a_h_in_all[:n], m.buffer_1[:n], m.dot_a_h_in_all[:n])
        matmul(h_all[start:stop].reshape(n * B, H), dot_U.T, m.buffer_2[:n].reshape(n * B, H))
        add(m.dot_a_h_in_all[:n], m.buffer_2[:n], m.dot_a_h_in_all[:n])
        add(m.dot_a_h_in_all[:n], dot_b, m.dot_a_h_in_all[:n])
        for (dot_a_h_in, s_1), (dot_h_prev, dot_h) in zip(m.ahead[:n], m.steps[start:stop]):
            # ȧ_hₜ = ȧ_h_inₜ + U ḣₜ₋₁
            dot(dot_h_prev, U.T, dot_a_h)
            add(dot_a_h_in, dot_a_h, dot_a_h)
            # ḣₜ = s_1ₜ ∘ ȧ_hₜ
            multiply(s_1, dot_a_h, dot_h)
    return {"dot_h": m.dot_h_all}


def _gradients(parameters, tape, tangents, cotangents, tangent_parameters, tangent_inputs):
    """Gradients of values at all steps, {name: (T, B, ...)}, and how they move products, as hvp reads them.
    """
    sizes, dtype = tape.sizes, tape.dtype
    m = _Gradients(sizes, dtype)
    T, B, D, H = (sizes[name] for name in ("T", "B", "D", "H"))
    add, dot, matmul, multiply = np.add, np.dot, np.matmul, np.multiply
    U = parameters["U"]
    dot_U = tangent_parameters["U"]
    dot_W = tangent_parameters["W"]
    cotangent_h_all = cotangents["h"]
    m.carry_h[...] = 0
    m.dot_d_W_in[...] = 0
    m.dot_d_U_in[...] = 0
    carry_h = m.carry_h
    for stop in range(T, 0, -m.block):
        start = max(0, stop - m.block)
        n = stop - start
        a_h_all = tape.a_h[start:stop]
        dot_x_all = tangent_inputs["x"][start:stop]
        dot_h_prev_all = tangents["dot_h"][start:stop]
        m.cotangent_h_all[:n] = cotangent_h_all[start:stop]
        # s_1ₜ = step(a_hₜ)
        m.s_1_all[:n] = step(a_h_all)
        for (d_a_h, cotangent_h, s_1) in reversed(m.steps[:n]):
            # ∂L/∂hₜ = ∂Lₜ/∂hₜ + ∂L/∂hₜ|ₜ₊₁
            add(cotangent_h, carry_h, d_a_h)
            # ∂L/∂a_hₜ = ∂L/∂hₜ ∘ s_1ₜ
            multiply(d_a_h, s_1, d_a_h)
            # ∂L/∂hₜ₋₁|ₜ = Uᵀ ∂L/∂a_hₜ
            dot(d_a_h, U, carry_h)
        d_a_h_flat = m.d_a_h_all[:n].reshape(n * B, H)
        dot_x_flat = dot_x_all.reshape(n * B, D)
        dot_h_prev_flat = dot_h_prev_all.reshape(n * B, H)
        # ∂L̇/∂h_inₜ = U̇ᵀ ∂L/∂a_hₜ
        matmul(d_a_h_flat, dot_U, m.dot_d_h_in_out[start:stop].reshape(n * B, H))
        # ∂L̇/∂x_inₜ = Ẇᵀ ∂L/∂a_hₜ
        matmul(d_a_h_flat, dot_W, m.dot_d_x_in_out[start:stop].reshape(n * B, D))
        # ∂L̇/∂W_in = Σₜ ∂L/∂a_hₜ ẋₜᵀ
        matmul(d_a_h_flat.T, dot_x_flat, m.buffer_1)
        m.dot_d_W_in += m.buffer_1
        # ∂L̇/∂U_in = Σₜ ∂L/∂a_hₜ ḣₜ₋₁ᵀ
        matmul(d_a_h_flat.T, dot_h_prev_flat, m.buffer_2)
        m.dot_d_U_in += m.buffer_2
    return {
        "dot_d_h_in": m.dot_d_h_in_out,
        "dot_d_x_in": m.dot_d_x_in_out,
        "dot_d_W_in": m.dot_d_W_in,
        "dot_d_U_in": m.dot_d_U_in,
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
    add, dot, matmul, multiply = np.add, np.dot, np.matmul, np.multiply
    U = parameters["U"]
    W = parameters["W"]
    m.dot_carry_h[...] = 0
    m.sum_dot_d_W[...] = 0
    m.sum_dot_d_U[...] = 0
    m.dot_d_b[...] = 0
    dot_carry_h = m.dot_carry_h
    for stop in range(T, 0, -m.block):
        start = max(0, stop - m.block)
        n = stop - start
        a_h_all = tape.a_h[start:stop]
        dot_d_h_in_all = gradients["dot_d_h_in"][start:stop]
        dot_d_x_in_all = gradients["dot_d_x_in"][start:stop]
        x_all = tape.x[start:stop]
        h_prev_all = tape.h[start:stop]
        # s_1ₜ = step(a_hₜ)
        m.s_1_all[:n] = step(a_h_all)
        for dot_d_h_in, (dot_d_a_h, s_1) in zip(reversed(dot_d_h_in_all), reversed(m.steps[:n])):
            # ∂L̇/∂a_hₜ = ∂L̇/∂hₜ|ₜ₊₁ ∘ s_1ₜ
            multiply(dot_carry_h, s_1, dot_d_a_h)
            # ∂L̇/∂hₜ₋₁|ₜ = Uᵀ ∂L̇/∂a_hₜ + ∂L̇/∂h_inₜ
            dot(dot_d_a_h, U, dot_carry_h)
            add(dot_carry_h, dot_d_h_in, dot_carry_h)
        dot_d_a_h_flat = m.dot_d_a_h_all[:n].reshape(n * B, H)
        x_flat = x_all.reshape(n * B, D)
        h_prev_flat = h_prev_all.reshape(n * B, H)
        # ∂L̇/∂xₜ = Wᵀ ∂L̇/∂a_hₜ + ∂L̇/∂x_inₜ
        matmul(m.dot_d_a_h_all[:n].reshape(n * B, H), W, m.dot_d_x_out[start:stop].reshape(n * B, D))
        add(m.dot_d_x_out[start:stop], dot_d_x_in_all, m.dot_d_x_out[start:stop])
        # ∂L̇/∂W = Σₜ ∂L̇/∂a_hₜ xₜᵀ
        matmul(dot_d_a_h_flat.T, x_flat, m.buffer_1)
        m.sum_dot_d_W += m.buffer_1
        # ∂L̇/∂U = Σₜ ∂L̇/∂a_hₜ hₜ₋₁ᵀ
        matmul(dot_d_a_h_flat.T, h_prev_flat, m.buffer_2)
        m.sum_dot_d_U += m.buffer_2
        # ∂L̇/∂b = Σₜ ∂L̇/∂a_hₜ
        m.dot_d_b += np.ones((n * B,), dtype) @ dot_d_a_h_flat
    # ∂L̇/∂W = ∂L̇/∂W + ∂L̇/∂W_in
    dot_d_W = m.sum_dot_d_W + gradients["dot_d_W_in"]
    # ∂L̇/∂U = ∂L̇/∂U + ∂L̇/∂U_in
    dot_d_U = m.sum_dot_d_U + gradients["dot_d_U_in"]
    return Gradients(
        parameters={"W": dot_d_W, "U": dot_d_U, "b": m.dot_d_b},
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
    U = parameters["U"]
    dot_h_prev = seeds
    a_h_all = tape.a_h
    # ȧ_hₜ = U ḣₜ₋₁
    dot_a_h_all = np.broadcast_to((dot_h_prev @ U.T)[..., None, None, :], (directions, T, B, H))
    # ḣₜ = step(a_hₜ) ∘ ȧ_hₜ
    dot_h_all = step(a_h_all) * dot_a_h_all
    return dot_h_all.transpose(1, 2, 3, 0).copy()


class _Forward:
    """The arrays of a pass over blocks of steps, and views of each step, made once."""

    def __init__(self, sizes, dtype):
        T, B, H = sizes["T"], sizes["B"], sizes["H"]
        self.block = max(1, min(T, BLOCK // max(1, B), max(128 // max(1, B), T // 4)))
        self.a_h_all = np.empty((T, B, H), dtype)
        self.a_h_in_all = np.empty((self.block, B, H), dtype)
        self.h_all = np.empty((T + 1, B, H), dtype)
        self.h_out = np.empty((T, B, H), dtype)
        self.ahead = list(zip(self.a_h_in_all))
        self.steps = list(zip(self.a_h_all, self.h_all[:-1], self.h_all[1:]))


class _Backward:
    """The arrays of a pass over blocks of steps, and views of each step, made once."""

    def __init__(self, sizes, dtype):
        T, B, D, H = (sizes[name] for name in ("T", "B", "D", "H"))
        self.block = max(1, min(T, BLOCK // max(1, B), max(128 // max(1, B), T // 4)))
        self.buffer_1 = np.empty((H, D), dtype)
        self.buffer_2 = np.empty((H, H), dtype)
        self.carry_h = np.empty((B, H), dtype)
        self.cotangent_h_all = np.empty((self.block, B, H), dtype)
        self.d_U = np.empty((H, H), dtype)
        self.d_W = np.empty((H, D), dtype)
        self.d_a_h_all = np.empty((self.block, B, H), dtype)
        self.d_b = np.empty((H,), dtype)
        self.d_x_out = np.empty((T, B, D), dtype)
        self.k_a_h_all = np.empty((self.block, B, H), dtype)
        self.steps = list(zip(self.d_a_h_all, self.cotangent_h_all, self.k_a_h_all))


class _Tangents:
    """The arrays of a pass over blocks of steps, and views of each step, made once."""

    def __init__(self, sizes, dtype):
        T, B, H = sizes["T"], sizes["B"], sizes["H"]
        self.block = max(1, min(T, BLOCK // 4 // max(1, B), max(64 // max(1, B), T // 4)))
        self.buffer_1 = np.empty((self.block, B, H), dtype)
        self.buffer_2 = np.empty((self.block, B, H), dtype)
        self.dot_a_h = np.empty((B, H), dtype)
        self.dot_a_h_in_all = np.empty((self.block, B, H), dtype)
        self.dot_h_all = np.empty((T + 1, B, H), dtype)
        self.s_1_all = np.empty((self.block, B, H), dtype)
        self.ahead = list(zip(self.dot_a_h_in_all, self.s_1_all))
        self.steps = list(zip(self.dot_h_all[:-1], self.dot_h_all[1:]))


class _Gradients:
    """The arrays of a pass over blocks of steps, and views of each step, made once."""

    def __init__(self, sizes, dtype):
        T, B, D, H = (sizes[name] for name in ("T", "B", "D", "H"))
        self.block = max(1, min(T, BLOCK // 4 // max(1, B), max(64 // max(1, B), T // 4)))
        self.buffer_1 = np.empty((H, D), dtype)
        self.buffer_2 = np.empty((H, H), dtype)
        self.carry_h = np.empty((B, H), dtype)
        self.cotangent_h_all = np.empty((self.block, B, H), dtype)
        self.d_a_h_all = np.empty((self.block, B, H), dtype)
        self.dot_d_U_in = np.empty((H, H), dtype)
        self.dot_d_W_in = np.empty((H, D), dtype)
        self.dot_d_h_in_out = np.empty((T, B, H), dtype)
        self.dot_d_x_in_out = np.empty((T, B, D), dtype)
        self.s_1_all = np.empty((self.block, B, H), dtype)
        self.steps = list(zip(self.d_a_h_all, self.cotangent_h_all, self.s_1_all))


class _Hvp:
    """The arrays of a pass over blocks of steps, and views of each step, made once."""

    def __init__(self, sizes, dtype):
        T, B, D, H = (sizes[name] for name in ("T", "B", "D", "H"))
        self.block = max(1, min(T, BLOCK // 4 // max(1, B), max(64 // max(1, B), T // 4)))
        self.buffer_1 = np.empty((H, D), dtype)
        self.buffer_2 = np.empty((H, H), dtype)
        self.dot_carry_h = np.empty((B, H), dtype)
        self.dot_d_a_h_all = np.empty((self.block, B, H), dtype)
        self.dot_d_b = np.empty((H,), dtype)
        self.dot_d_x_out = np.empty((T, B, D), dtype)
        self.s_1_all = np.empty((self.block, B, H), dtype)
        self.sum_dot_d_U = np.empty((H, H), dtype)
        self.sum_dot_d_W = np.empty((H, D), dtype)
        self.steps = list(zip(self.dot_d_a_h_all, self.s_1_all))


BLOCK = 512
"""Steps times examples of a block: with fewer, products are too small; with more, it leaves the cache."""


def step(z):
    """1 where z > 0, else 0: the derivative of relu, 0 at 0; nan stays nan."""
    return np.where(np.isnan(z), z, z.real > 0)


def relu(z):
    """max(0, z), the branch taken on the real part; nan stays nan."""
    return np.where(z.real <= 0, 0, z)


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
