# Emitted by `python -m derive rnn`. Don't edit: change the equations and emit again.
#
#     h: hₜ = tanh(W xₜ + U hₜ₋₁ + b)
#
# equations  sha256 f2acfbb8efe9c237
# derivation sha256 8848ed6d7272f3c0
# body       sha256 daedf6084d440681
# header     sha256 76a01984e4b94f91
#
# per step and example:
#     forward  2 matrix products (D H + H^2 multiply-adds), 3 H elementwise operations
#     backward 4 matrix products (2 D H + 2 H^2 multiply-adds), 4 H elementwise operations
#     saved    H numbers: h
# fmt: off
"""The cell `rnn` and its gradients, in NumPy.

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
    "W": ("H", "D"),
    "U": ("H", "H"),
    "b": ("H",),
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
    T = sizes["T"]
    W = parameters["W"]
    U = parameters["U"]
    b = parameters["b"][:, None]
    x_all = inputs["x"]
    m.h_all[0] = _state("forward", "state", state, "h", STATES["h"], sizes, dtype)
    add, dot, tanh = np.add, np.dot, np.tanh
    a_h = m.a_h
    for start in range(0, T, m.block):
        stop = min(T, start + m.block)
        n = stop - start
        # a_h_inₜ = W xₜ + b
        _product(x_all[start:stop], W.T, out=m.a_h_in_all[:n])
        np.add(m.a_h_in_all[:n], b.T, out=m.a_h_in_all[:n])
        for (a_h_in,), (h_prev, h) in zip(m.ahead, m.steps[start:stop]):
            # a_hₜ = a_h_inₜ + U hₜ₋₁
            dot(h_prev, U.T, a_h)
            add(a_h, a_h_in, a_h)
            # hₜ = tanh(a_hₜ)
            tanh(a_h, h)
    np.copyto(m.h_out, m.h_all[1:])
    outputs = {"h": m.h_out}
    tape = Tape(sizes, dtype, x=x_all, h=m.h_all)
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
    W = parameters["W"]
    U = parameters["U"]
    cotangent_h_all = _sequence("backward", "cotangents", cotangents, "h", STATES["h"], sizes, dtype)
    m.carry_h[...] = 0
    add, dot, multiply = np.add, np.dot, np.multiply
    carry_h = m.carry_h
    for stop in range(T, 0, -m.block):
        start = max(0, stop - m.block)
        n = stop - start
        h_all = tape.h[start + 1:stop + 1]
        x_all = tape.x[start:stop]
        h_prev_all = tape.h[start:stop]
        np.copyto(m.cotangent_h_all[:n], cotangent_h_all[start:stop])
        # k_a_hₜ = 1 − hₜ²
        np.multiply(h_all, h_all, out=m.k_a_h_all[:n])
        np.subtract(1, m.k_a_h_all[:n], out=m.k_a_h_all[:n])
        for d_a_h, cotangent_h, k_a_h in reversed(m.steps[:n]):
            # ∂L/∂hₜ = ∂Lₜ/∂hₜ + ∂L/∂hₜ|ₜ₊₁
            add(cotangent_h, carry_h, d_a_h)
            # ∂L/∂a_hₜ = ∂L/∂hₜ ∘ k_a_hₜ
            multiply(d_a_h, k_a_h, d_a_h)
            # ∂L/∂hₜ₋₁|ₜ = Uᵀ ∂L/∂a_hₜ
            dot(d_a_h, U, carry_h)
        d_h_flat = m.d_h_all[:n].reshape(n * B, H)
        x_flat = x_all.reshape(n * B, D)
        h_prev_flat = h_prev_all.reshape(n * B, H)
        # ∂L/∂xₜ = Wᵀ ∂L/∂a_hₜ
        np.matmul(d_h_flat, W, out=m.d_x_out[start:stop].reshape(n * B, D))
        # ∂L/∂W = Σₜ ∂L/∂a_hₜ xₜᵀ
        _add(m.d_W, d_h_flat.T, x_flat, stop == T)
        # ∂L/∂U = Σₜ ∂L/∂a_hₜ hₜ₋₁ᵀ
        _add(m.d_U, d_h_flat.T, h_prev_flat, stop == T)
        # ∂L/∂b = Σₜ ∂L/∂a_hₜ
        _add(m.d_b, d_h_flat.T, np.ones((n * B, 1), dtype), stop == T)
    if T == 0:
        for total in (m.d_W, m.d_U, m.d_b,):
            total[...] = 0
    return Gradients(
        parameters={"W": m.d_W, "U": m.d_U, "b": m.d_b[:, 0]},
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
    W = parameters["W"]
    U = parameters["U"]
    x_all = tape.x.transpose(0, 2, 1)
    h_all = tape.h.transpose(0, 2, 1)
    dot_W = _direction("jvp", tangent_parameters, "W", PARAMETERS["W"], sizes, dtype)
    dot_U = _direction("jvp", tangent_parameters, "U", PARAMETERS["U"], sizes, dtype)
    dot_b = _direction("jvp", tangent_parameters, "b", PARAMETERS["b"], sizes, dtype)
    dot_x_all = _sequence("jvp", "tangent_inputs", tangent_inputs, "x", INPUTS["x"], sizes, dtype).transpose(0, 2, 1)
    # ȧ_h_inₜ = Ẇ xₜ + W ẋₜ + U̇ hₜ₋₁ + ḃ
    dot_a_h_in_all = dot_W @ x_all + W @ dot_x_all + dot_U @ h_all[:-1] + dot_b
    dot_h_all = np.empty((T + 1, H, B), dtype)
    dot_h_all[0] = _state("jvp", "tangent_state", tangent_state, "h", STATES["h"], sizes, dtype).T
    for t in range(T):
        dot_a_h_in = dot_a_h_in_all[t]
        dot_h_prev = dot_h_all[t]
        h = h_all[t + 1]
        # ȧ_hₜ = ȧ_h_inₜ + U ḣₜ₋₁
        dot_a_h = dot_a_h_in + U @ dot_h_prev
        # ḣₜ = (1 − hₜ²) ∘ ȧ_hₜ
        dot_h_all[t + 1] = (1 - h**2) * dot_a_h
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
    U = parameters["U"]
    h = tape.h[1:]
    # ∂hₜ/∂hₜ₋₁ = diag(1 − hₜ²) U
    d_h_d_h = (1 - h**2)[..., None] * U
    J = np.zeros((T, B, H, H), dtype)
    J[..., :H, :H] = d_h_d_h
    return J


class _Forward:
    """The arrays of a forward pass, and the views of each step, made once."""

    def __init__(self, sizes, dtype):
        T, B, H = (sizes[name] for name in ("T", "B", "H"))
        self.block = max(1, min(T, BLOCK // max(1, B), max(128 // max(1, B), T // 4)))
        self.a_h = np.empty((B, H), dtype)
        self.a_h_in_all = np.empty((self.block, B, H), dtype)
        self.h_all = np.empty((T + 1, B, H), dtype)
        self.h_out = np.empty((T, B, H), dtype)
        self.ahead = list(zip(self.a_h_in_all))
        self.steps = list(zip(self.h_all[:-1], self.h_all[1:]))


class _Backward:
    """The arrays of a backward pass over blocks of steps, and the views of each step, made once."""

    def __init__(self, sizes, dtype):
        T, B, D, H = (sizes[name] for name in ("T", "B", "D", "H"))
        self.block = max(1, min(T, BLOCK // max(1, B), max(128 // max(1, B), T // 4)))
        self.carry_h = np.empty((B, H), dtype)
        self.cotangent_h_all = np.empty((self.block, B, H), dtype)
        self.d_U = np.empty((H, H), dtype)
        self.d_W = np.empty((H, D), dtype)
        self.d_b = np.empty((H, 1), dtype)
        self.d_h_all = np.empty((self.block, B, H), dtype)
        self.d_x_out = np.empty((T, B, D), dtype)
        self.k_a_h_all = np.empty((self.block, B, H), dtype)
        self.steps = list(zip(self.d_h_all, self.cotangent_h_all, self.k_a_h_all))


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
