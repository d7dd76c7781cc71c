"""The part of a kernel that its equations don't decide: what it returns, and the refusals of the contract."""

from __future__ import annotations

RESULTS = '''
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
'''
"""What the functions return."""

UNUSED = '''

class Workspace:
    """What calls of a training loop may share; this kernel makes arrays where it needs them, keeping none."""
'''
"""A workspace of which no use is made."""

WORKSPACE = '''

class Workspace:
    """Arrays kept between calls of the same sizes: pass the same one to every call of a training loop.

    Outputs and tape live until the next forward with it, gradients until the next backward with it.
    """

    def __init__(self):
        self.kept = {}

'''

KEPT = (
    WORKSPACE
    + '''
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
'''
)
"""A workspace, and the arrays that it keeps."""

USABLE = '''

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
'''
"""The refusal of workspaces of others."""

NAMES = '''

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
'''
"""The refusal of names."""

ARRAYS = '''

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
'''
"""The refusal of arrays."""

TABLES = '''

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
'''
"""Every array of a call."""

SIZES = '''

def _sizes(where, parameters, inputs, state):
    """The sizes and the dtype of a call, read from its arrays, each checked against the others."""
    tables = _tables(where, parameters, inputs, state)
    sizes = dict(_FIXED)
    dtype = getattr(tables[0][1], "dtype", None)
    if dtype not in _DTYPES:
        _array_refused(where, *tables[0], sizes, dtype)
    for label, array, dims in tables:
        _array(where, label, array, dims, sizes, dtype)
    _solve(where, tables, sizes, dtype)
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
'''
"""The sizes of a call, and what fits a tape."""

FILLED = '''

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
'''
"""What a mapping misses."""

REFUSALS = USABLE + NAMES + ARRAYS + TABLES + SIZES + FILLED
"""The refusals of every kernel."""

AXES = '''

def _axes(name):
    """The axes of an input, state or output in front of its dimensions: those of its steps, then the examples."""
    along = AXES.get(name, "T")
    return (*([] if along is None else [along] if isinstance(along, str) else along), "B")
'''
"""Of kernels whose values lie along other axes than T, or along none."""


def with_axes(refusals: str) -> str:
    found = refusals.replace('("T", "B", *dims)', "(*_axes(name), *dims)")
    return AXES + found.replace("(*axes, *dims)", "(*(_axes(name) if axes is None else axes), *dims)")


def real_alone(text: str) -> str:
    """The refusals of a kernel that takes no complex numbers."""
    return text.replace("expected float32, float64 or complex128", "expected float32 or float64")


SOLVING = "    _solve(where, tables, sizes, dtype)\n"
"""The line of `_sizes` that only concatenated dimensions need."""

PLAIN_REFUSALS = REFUSALS.replace(SOLVING, "")

SOLVE = '''

def _solve(where, tables, sizes, dtype):
    """Sizes that stand in no shape alone, from the concatenated dimensions that hold them."""
    for label, array, dims in tables * 2:
        for dim, size in zip(dims, array.shape):
            parts = _COMPOUND.get(dim, {})
            unknown = [part for part in parts if part not in sizes and part != "1"]
            if len(unknown) == 1:
                known = {part: times for part, times in parts.items() if part != unknown[0]}
                rest = size - sum(times * sizes.get(part, 1) for part, times in known.items())
                found, left = divmod(rest, parts[unknown[0]])
                if left or found < 0:
                    raise ValueError(
                        f"{where}: {label}: wrong shape: expected {dim} rows or columns, got {size}, "
                        f"which gives no whole {unknown[0]}. Check the shapes."
                    )
                sizes[unknown[0]] = found
    for dim, parts in _COMPOUND.items():
        if all(part in sizes or part == "1" for part in parts):
            sizes[dim] = sum(times * sizes.get(part, 1) for part, times in parts.items())
    for label, array, dims in tables:
        _array(where, label, array, dims, sizes, dtype)
'''
"""Concatenated dimensions."""

EVERY = """    try:
        every = range(every).stop if not isinstance(every, (bool, np.bool_)) else every
    except TypeError:
        pass
    if type(every) is not int or every < 1:
        raise ValueError(
            f"forward: checkpoint_every: expected a number of steps >= 1, got {every!r}. "
            "Choose about the root of T."
        )
"""
"""The refusal of a number of steps that is none."""

AGAIN = f'''

def _checkpointed(parameters, inputs, state, every, sizes, dtype):
    """forward whose tape keeps the arguments alone: no step is a place to start from where recurrences run both ways."""
{EVERY}    outputs, _ = forward(parameters, inputs, state)
    return outputs, Tape(sizes, dtype, segments=(dict(inputs), state and dict(state)))


def _backward_by_segments(parameters, tape, cotangents):
    """backward over a tape that forward makes again."""
    return backward(parameters, forward(parameters, *tape.segments)[1], cotangents)


def _jacobian_by_segments(parameters, tape):
    """step_jacobian over a tape that forward makes again."""
    return step_jacobian(parameters, forward(parameters, *tape.segments)[1])
'''
"""Checkpoints where a recurrence runs from the last step to the first."""

SEGMENTS = (
    '''

def _checkpointed(parameters, inputs, state, every, sizes, dtype):
    """forward that keeps the states every so many steps; backward computes the steps between again."""
'''
    + EVERY
    + '''    T, B = sizes["T"], sizes["B"]
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
'''
)
"""Checkpoints."""

JACOBIAN = '''

def _jacobian_by_segments(parameters, tape):
    """step_jacobian over a checkpointed tape."""
    total = sum(int(np.prod(_shape(dims, tape.sizes))) for dims in STATES.values())
    J = np.empty((tape.sizes["T"], tape.sizes["B"], total, total), tape.dtype)
    workspace = Workspace()
    for index, (start, stop, _) in enumerate(tape.segments):
        J[start:stop] = step_jacobian(parameters, _segment(parameters, tape, index, workspace))
    return J
'''
"""Step Jacobians of a checkpointed tape."""
