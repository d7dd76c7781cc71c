"""The part of a JAX kernel that its equations don't decide: what it returns, and the refusals of the contract."""

from __future__ import annotations

from derive.cell import Cell
from derive.targets.numpy.runtime import NAMES, TABLES, with_axes
from derive.targets.numpy.token_refusals import AMONG_INPUTS

RESULTS = '''
# ---- what the functions return, and what they refuse


@jax.tree_util.register_pytree_node_class
class Tape:
    """What forward keeps for backward and step_jacobian: arrays by name, opaque to the caller."""

    def __init__(self, arrays, sizes, dtype):
        self.arrays = arrays
        self.sizes = sizes
        self.dtype = dtype

    def tree_flatten(self):
        return (self.arrays,), (self.sizes, self.dtype)

    @classmethod
    def tree_unflatten(cls, static, arrays):
        return cls(*arrays, *static)


@jax.tree_util.register_pytree_node_class
class Gradients:
    """.parameters, .inputs and .state (the initial state): name -> gradient, shaped as its primal."""

    def __init__(self, parameters, inputs, state):
        self.parameters = parameters
        self.inputs = inputs
        self.state = state

    def tree_flatten(self):
        return (self.parameters, self.inputs, self.state), None

    @classmethod
    def tree_unflatten(cls, _, parts):
        return cls(*parts)


class Sizes(dict):
    """The sizes of a call by name: what a compiled function is compiled for."""

    def __hash__(self):
        return hash(frozenset(self.items()))
'''
"""What the functions return; each can go in and out of functions that JAX transforms."""

ARRAYS = '''

def _array(where, label, array, dims, sizes, dtype):
    """Refuse an array of the wrong type, dtype or shape; sizes that are new are read from it."""
    if not isinstance(array, jax.Array):
        raise ValueError(
            f"{where}: {label} is no array: expected a JAX array, got {type(array).__name__}. "
            "Convert it with jnp.asarray."
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

ARGUMENTS = '''

def _arguments(where, parameters, inputs, state):
    """The arguments of a call, each checked against the others, zeros for a missing state; their sizes and their dtype."""
    tables = _tables(where, parameters, inputs, state)
    sizes, dtype = Sizes(_FIXED), getattr(tables[0][1], "dtype", None)
    for label, array, dims in tables:
        _array(where, label, array, dims, sizes, dtype)
{more}    missing = [dim for dims in STATES.values() for dim in dims if dim not in sizes]
    if missing:
        raise ValueError(
            f"{{where}}: state: size unknown: expected an array that has dimension {{missing[0]}}, got none. "
            "Pass the state."
        )
    state = _filled(where, "state", state, STATES, ("B",), sizes, dtype)
    return dict(parameters), dict(inputs), state, sizes, dtype


def _taped(where, parameters, tape):
    """The sizes and the dtype of a tape; refuses one that isn't this module's, and parameters that don't fit it."""
    if not isinstance(tape, Tape):
        raise ValueError(
            f"{{where}}: tape: wrong type: expected the tape that forward returned, got {{type(tape).__name__}}. "
            "Call forward first."
        )
    sizes, dtype = Sizes(tape.sizes), tape.dtype
    _names(where, "parameters", parameters, PARAMETERS)
    for name, dims in PARAMETERS.items():
        _array(where, f"parameters[{{name!r}}]", parameters[name], dims, sizes, dtype)
    return sizes, dtype
'''
"""The arguments of a call. more: what else there is to do with them."""

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
            filled[name] = jnp.zeros([sizes[dim] for dim in (*axes, *dims)], dtype)
    return filled
'''
"""What a mapping misses."""

TOKENS = '''

def _tokens(where, inputs, sizes):
    """Refuse tokens that are no whole numbers or of another shape, and those out of range, where their values are known: within a
    function that JAX compiles they aren't, and such a token reads what JAX gives for an index out of bounds."""
    for name, dim in TOKENS.items():
        array, label = inputs[name], f"inputs[{{name!r}}]"
        if not isinstance(array, jax.Array):
            raise ValueError(
                f"{{where}}: {{label}}: wrong type: expected a JAX array of whole numbers, got {{type(array).__name__}}. "
                "Convert it with jnp.asarray."
            )
        if not jnp.issubdtype(array.dtype, jnp.integer):
            raise ValueError(
                f"{{where}}: {{label}}: wrong dtype: expected tokens, whole numbers of any integer dtype, got {{array.dtype}}. "
                "Convert it with .astype(int)."
            )
        axes = {over}
        if array.ndim != len(axes) or any(sizes.setdefault(axis, n) != n for axis, n in zip(axes, array.shape)):
            words = [f"{{axis}} = {{sizes[axis]}}" if axis in sizes else axis for axis in axes]
            raise ValueError(
                f"{{where}}: {{label}}: wrong shape: expected ({{', '.join(words)}}), one token each, got {{array.shape}}. "
                "Sizes come from the first array that has them."
            )
        wrong = (array < 0) | (array >= sizes[dim])
        if not isinstance(wrong, jax.core.Tracer) and wrong.any():
            place = tuple(map(int, jnp.argwhere(wrong)[0]))
            raise ValueError(
                f"{{where}}: {{label}}: token out of range: expected 0 <= {{name}} < {{dim}} = {{sizes[dim]}}, "
                f"got {{array[place]}} at {{place}}. Check which tokens there are."
            )
'''
"""The refusals of tokens."""

CONTRACT = '''
# ---- the functions of the contract: they refuse what doesn't fit and call the functions above


def forward(parameters, inputs, state=None):
    """{summary}

    parameters {{name: array}}, inputs {{name: (T, B, ...)}}, state {{name: (B, ...)}}, None for zeros{leftward}.
    Returns outputs {{name: (T, B, ...)}} of every state and output, and the tape that backward reads.
    Raises ValueError on a name, shape or dtype that doesn't fit.
    """
    parameters, inputs, state, sizes, dtype = _arguments("forward", parameters, inputs, state)
    outputs, tape = _forward(parameters, inputs, state, sizes, dtype)
    return outputs, Tape(tape, sizes, dtype)


def backward(parameters, tape, cotangents):
    """Gradients of L, given dL/d(state or output) at every step, directly.

    cotangents {{name: (T, B, ...)}}; a missing one counts as zero.
    Returns Gradients: .parameters, .inputs, .state (of the initial state), each array shaped as its primal.
    Raises ValueError on a name, shape or dtype that doesn't fit.
    """
    sizes, dtype = _taped("backward", parameters, tape)
    cotangents = _filled("backward", "cotangents", cotangents, {{**STATES, **OUTPUTS}}, {over}, sizes, dtype)
    return _backward(parameters, tape.arrays, cotangents, sizes, dtype)


def jvp(parameters, inputs, state, tangent_parameters, tangent_inputs, tangent_state):
    """Forward mode: how states and outputs move, {{name: (T, B, ...)}}, when the arguments move along tangents.

    state None is zeros, tangent_state None and a missing tangent are zero.
    Raises ValueError on a name, shape or dtype that doesn't fit.
    """
    parameters, inputs, state, sizes, dtype = _arguments("jvp", parameters, inputs, state)
    along = _tangents("jvp", tangent_parameters, tangent_inputs, tangent_state, sizes, dtype)
    _, tape = _forward(parameters, inputs, state, sizes, dtype)
    return _jvp(parameters, tape, *along, sizes, dtype)


def hvp(parameters, inputs, state, cotangents, tangent_parameters, tangent_inputs, tangent_state):
    """Second order: how gradients move when the arguments move along tangents, cotangents held.

    state None is zeros, tangent_state None, a missing cotangent and a missing tangent are zero. Returns Gradients.
    Raises ValueError on a name, shape or dtype that doesn't fit.
    """
    parameters, inputs, state, sizes, dtype = _arguments("hvp", parameters, inputs, state)
    cotangents = _filled("hvp", "cotangents", cotangents, {{**STATES, **OUTPUTS}}, {over}, sizes, dtype)
    along = _tangents("hvp", tangent_parameters, tangent_inputs, tangent_state, sizes, dtype)
    return _hvp(parameters, inputs, state, cotangents, *along, sizes, dtype)


def step_jacobian(parameters, tape):
    """{jacobian}

    States are in the order of STATES, matrices row by row.
    Raises ValueError on a tape that isn't forward's.
    """
    sizes, dtype = _taped("step_jacobian", parameters, tape)
    return _step_jacobian(parameters, tape.arrays, sizes, dtype)


def _tangents(where, tangent_parameters, tangent_inputs, tangent_state, sizes, dtype):
    """Tangents of the arguments, checked, zeros for those that are missing."""
    return (
        _filled(where, "tangent_parameters", tangent_parameters, PARAMETERS, (), sizes, dtype),
        _filled(where, "tangent_inputs", tangent_inputs, INPUTS, {over}, sizes, dtype),
        _filled(where, "tangent_state", tangent_state, STATES, ("B",), sizes, dtype),
    )
'''
"""The functions of the contract. summary, leftward, jacobian: what the docstrings say of this cell; over: the axes of what has steps."""

ONE_WAY = "d(all states after step t) / d(all states before it), (T, B, S, S)."
BOTH_WAYS = """d(states after a step) / d(states before it) of each way along each axis, {first state of the way: (T, B, S, S)};
    the array itself where all run one way along one axis. States of another way or axis are held."""


def text(cell: Cell, solve: str) -> str:
    """All of it, for a cell. solve: the function that finds sizes in concatenated dimensions, empty where there are none."""
    more = "    _solve(where, tables, sizes, dtype)\n" * bool(solve) + "    _tokens(where, inputs, sizes)\n" * bool(cell.tokens)
    over = "None" if cell.axes else '("T", "B")'
    contract = CONTRACT.format(
        summary="Run the cell over all steps." if cell.is_chain else "Run all recurrences over all steps.",
        leftward="; of a recurrence that\n    runs from the last step to the first the state after the last step"
        if cell.leftward
        else "",
        jacobian=BOTH_WAYS if cell.leftward or len(cell.step_axes) > 1 else ONE_WAY,
        over=over,
    )
    refusals = NAMES + ARRAYS + TABLES + ARGUMENTS.format(more=more) + FILLED
    refusals = with_axes(refusals) if cell.axes else refusals
    tokens = TOKENS.format(over="_axes(name)" if cell.axes else over) if cell.tokens else ""
    if cell.tokens:
        refusals = refusals.replace(*AMONG_INPUTS[0])
    return "\n" + contract + "\n" + RESULTS + refusals + solve + tokens
