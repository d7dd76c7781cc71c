"""The part of a kernel that its equations don't decide: what it returns, and the refusals of the contract, over tensors."""

from __future__ import annotations

RESULTS = '''
# ---- what the functions return, and what they refuse


class Tape:
    """What forward keeps for backward, jvp and step_jacobian: tensors by name, opaque to the caller."""

    def __init__(self, sizes, like, **saved):
        self.sizes = sizes
        self.like = like
        self.__dict__.update(saved)


class Gradients:
    """.parameters, .inputs and .state (the initial state): name -> gradient, shaped as its primal."""

    def __init__(self, parameters, inputs, state):
        self.parameters = parameters
        self.inputs = inputs
        self.state = state
'''
"""What the functions return."""

REFUSALS = '''

def _names(where, what, given, expected, complete=True):
    """Refuse a mapping that misses a name (unless it may) or holds one that the model doesn't have."""
    if not hasattr(given, "keys"):
        raise ValueError(
            f"{where}: {what} is no mapping: expected name -> tensor, got {type(given).__name__}. Pass a dict."
        )
    missing = [name for name in expected if name not in given]
    unknown = [str(name) for name in given if name not in expected]
    if (missing and complete) or unknown:
        fault = f"missing {', '.join(missing)}" if missing and complete else f"unknown {', '.join(unknown)}"
        raise ValueError(
            f"{where}: {what}: {fault}: expected {', '.join(expected) or 'no names'}, "
            f"got {', '.join(map(str, given)) or 'no names'}. Use the names of the equations."
        )


def _tensor(where, label, tensor, dims, sizes, like):
    """Refuse a tensor of the wrong type, dtype, device or shape; sizes that are new are read from it."""
    if not isinstance(tensor, torch.Tensor):
        raise ValueError(
            f"{where}: {label} is no tensor: expected a torch.Tensor, got {type(tensor).__name__}. "
            "Convert it with torch.as_tensor."
        )
    if tensor.dtype not in _DTYPES:
        raise ValueError(
            f"{where}: {label}: wrong dtype: expected torch.float32, torch.float64 or torch.complex128, "
            f"got {tensor.dtype}. Convert it with .to()."
        )
    for key, got in (("dtype", tensor.dtype), ("device", tensor.device)):
        if got != like[key]:
            first = "the tape" if where in ("backward", "step_jacobian") else "the first tensor"
            raise ValueError(
                f"{where}: {label}: mixed {key}s: expected {like[key]}, as {first}, got {got}. Move one of them with .to()."
            )
    if tensor.ndim == len(dims):
        for dim, size in zip(dims, tensor.shape):
            if dim.isidentifier():
                sizes.setdefault(dim, size)
    if tensor.ndim != len(dims) or any(sizes.get(dim, size) != size for dim, size in zip(dims, tensor.shape)):
        words = [f"{dim} = {sizes[dim]}" if dim in sizes else dim for dim in dims]
        expected = ", ".join(words) + "," * (len(dims) == 1)
        raise ValueError(
            f"{where}: {label}: wrong shape: expected ({expected}), got {tuple(tensor.shape)}. "
            "Sizes come from the first tensor that has them."
        )


def _exact(where, device):
    """Refuse to compute where autocast would take another dtype for products."""
    if torch.is_autocast_enabled(device.type):
        raise ValueError(
            f"{where}: autocast is on: expected the dtype of the parameters throughout. Call run or Module, which "
            "switch it off for themselves."
        )


def _sizes(where, parameters, inputs, state):
    """The sizes of a call, and what its new tensors are like; each tensor is checked against the others."""
    _names(where, "parameters", parameters, PARAMETERS)
    _names(where, "inputs", inputs, @INPUTS@)
    tables = [(f"parameters[{name!r}]", parameters[name], dims) for name, dims in PARAMETERS.items()]
    tables += [(f"inputs[{name!r}]", inputs[name], (@LEAD@, *dims)) for name, dims in INPUTS.items()]
    if state is not None:
        _names(where, "state", state, STATES)
        tables += [(f"state[{name!r}]", state[name], ("B", *dims)) for name, dims in STATES.items()]
    sizes = dict(_FIXED)
    first = tables[0][1]
    like = {"dtype": getattr(first, "dtype", None), "device": getattr(first, "device", None)}
    for label, tensor, dims in tables:
        _tensor(where, label, tensor, dims, sizes, like)
    _exact(where, like["device"])
@SOLVE@    missing = [dim for dims in STATES.values() for dim in dims if dim not in sizes]
    if missing:
        raise ValueError(
            f"{where}: state: size unknown: expected a tensor that has dimension {missing[0]}, got none. "
            "Pass the state."
        )
@TOKENS@    return sizes, like


def _taped(where, parameters, tape):
    """Refuse a tape that isn't this module's, and parameters that don't fit it."""
    if not isinstance(tape, Tape):
        raise ValueError(
            f"{where}: tape: wrong type: expected the tape that forward returned, got {type(tape).__name__}. "
            "Call forward first."
        )
    _names(where, "parameters", parameters, PARAMETERS)
    for name, dims in PARAMETERS.items():
        _tensor(where, f"parameters[{name!r}]", parameters[name], dims, tape.sizes, tape.like)
    _exact(where, tape.like["device"])


def _filled(where, what, given, table, axes, sizes, like):
    """The tensors of a mapping that may miss some, of states be None: zeros for those, the others checked."""
    given = {} if given is None and table is STATES else given
    _names(where, what, given, table, complete=False)
    filled = {}
    for name, own in table.items():
        dims = (@AXES@, *own)
        if name in given:
            _tensor(where, f"{what}[{name!r}]", given[name], dims, sizes, like)
            filled[name] = given[name]
        else:
            filled[name] = torch.zeros((), **like).expand([sizes[dim] for dim in dims])
    return filled
'''
"""The refusals of every kernel; between @ what depends on the tables that it has."""

AXES = '''

def _axes(name):
    """The axes of an input, state or output in front of its dimensions: those of its steps, then the examples."""
    along = AXES.get(name, "T")
    return (*([] if along is None else [along] if isinstance(along, str) else along), "B")
'''
"""Of kernels whose values lie along other axes than T, or along none."""

SOLVE = '''

def _solve(where, tables, sizes, like):
    """Sizes that stand in no shape alone, from the concatenated dimensions that hold them."""
    for label, tensor, dims in tables * 2:
        for dim, size in zip(dims, tensor.shape):
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
    for label, tensor, dims in tables:
        _tensor(where, label, tensor, dims, sizes, like)
'''
"""Concatenated dimensions."""

TOKENS = '''

def _tokens(where, inputs, sizes, like):
    """Refuse tokens that are no whole numbers, of another shape, elsewhere, or out of range."""
    for name, dim in TOKENS.items():
        tokens, label, axes = inputs[name], f"inputs[{name!r}]", (@LEAD@,)
        if not isinstance(tokens, torch.Tensor) or tokens.dtype not in _WHOLE:
            got = tokens.dtype if isinstance(tokens, torch.Tensor) else type(tokens).__name__
            raise ValueError(
                f"{where}: {label}: wrong type: expected a tensor of tokens, whole numbers of any integer dtype, got {got}. "
                "Convert it with .long()."
            )
        if tokens.device != like["device"]:
            raise ValueError(
                f"{where}: {label}: mixed devices: expected {like['device']}, got {tokens.device}. Move it with .to()."
            )
        shape = tuple(tokens.shape)
        if len(shape) != len(axes) or any(sizes.setdefault(axis, n) != n for axis, n in zip(axes, shape)):
            words = [f"{axis} = {sizes[axis]}" if axis in sizes else axis for axis in axes]
            raise ValueError(
                f"{where}: {label}: wrong shape: expected ({', '.join(words)}), one token each, got {shape}. "
                "Sizes come from the first tensor that has them."
            )
        wrong = (tokens < 0) | (tokens >= sizes[dim])
        if wrong.any():
            place = tuple(wrong.nonzero()[0].tolist())
            raise ValueError(
                f"{where}: {label}: token out of range: expected 0 <= {name} < {dim} = {sizes[dim]}, "
                f"got {tokens[place].item()} at {place}. Check which tokens there are."
            )
'''
"""The refusals of tokens."""


def refusals(axes: bool, compound: bool, tokens: bool) -> str:
    """What stands behind the functions. axes: something lies otherwise than along T; compound: a dimension is concatenated; tokens: an
    input is."""
    holes = {
        "@LEAD@": "*_axes(name)" if axes else '"T", "B"',
        "@AXES@": "*(_axes(name) if axes is None else axes)" if axes else "*axes",
        "@INPUTS@": "{**INPUTS, **TOKENS}" if tokens else "INPUTS",
        "@SOLVE@": "    _solve(where, tables, sizes, like)\n" if compound else "",
        "@TOKENS@": "    _tokens(where, inputs, sizes, like)\n" if tokens else "",
    }
    text = RESULTS + (AXES if axes else "") + REFUSALS + (SOLVE if compound else "") + (TOKENS if tokens else "")
    for hole, filling in holes.items():
        text = text.replace(hole, filling)
    return text
