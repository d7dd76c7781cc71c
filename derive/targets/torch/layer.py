"""What stands at the end of a kernel: its functions as gradients of autograd, and a module of PyTorch around them."""

from __future__ import annotations

from derive.cell import Cell
from derive.procedures.names import Names
from derive.targets.numpy.layout import STEP, Bracket, Piece, Word, lines
from derive.targets.numpy.statements import mapping
from derive.targets.torch.expressions import TorchPrinter

AUTOGRAD = '''
# ---- the same for autograd


def _mappings(tensors, tables):
    """Tensors that stand in the order of some tables, as a mapping for each."""
    left = iter(tensors)
    return [{name: next(left) for name in table} for table in tables]


def _listed(gradients):
    """Gradients in the order of the arguments."""
    inputs = [gradients.inputs.get(name) for name in _ARGUMENTS[1]]
    return [*gradients.parameters.values(), *inputs, *gradients.state.values()]


def _moved(tangents, tensors, tables):
    """Tangents by name; zeros where a tensor doesn't move, nothing for tokens."""
    tangents = [torch.zeros_like(one) if dot is None else dot for dot, one in zip(tangents, tensors)]
    return [{name: dot for name, dot in one.items() if name not in @TOKENS@} for one in _mappings(tangents, tables)]


def _alone(tensor):
    """Autocast switched off: products in the dtype of the parameters."""
    return torch.autocast(tensor.device.type, enabled=False)


class _Forward(torch.autograd.Function):
    """`forward`: its gradient is `backward`, its forward mode `jvp`."""

    @staticmethod
    def forward(ctx, *tensors):
        ctx.save_for_backward(*tensors)
        ctx.save_for_forward(*tensors)
        outputs, ctx.tape = forward(*_mappings(tensors, _ARGUMENTS))
        return tuple(outputs[name] for name in _RESULTS)

    @staticmethod
    def backward(ctx, *cotangents):
        tensors = ctx.saved_tensors
        with _alone(tensors[0]):
            return _Backward.apply(ctx.tape, *tensors, *cotangents)

    @staticmethod
    def jvp(ctx, *tangents):
        tensors = ctx.saved_tensors
        with _alone(tensors[0]):
            moved = jvp(*_mappings(tensors, _ARGUMENTS), *_moved(tangents, tensors, _ARGUMENTS))
        return tuple(moved[name] for name in _RESULTS)


class _Backward(torch.autograd.Function):
    """`backward`: in the cotangents it is linear, so that its gradient there is `jvp`; in the arguments it is `hvp`."""

    @staticmethod
    def forward(ctx, tape, *tensors):
        ctx.save_for_backward(*tensors)
        ctx.save_for_forward(*tensors)
        ctx.tape = tape
        parameters, *_, cotangents = _mappings(tensors, (*_ARGUMENTS, _RESULTS))
        return tuple(_listed(backward(parameters, tape, cotangents)))

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, *tangents):
        tensors = ctx.saved_tensors
        *arguments, cotangents = _mappings(tensors, (*_ARGUMENTS, _RESULTS))
        with _alone(tensors[0]):
            moved = _moved(tangents, tensors, _ARGUMENTS)
            second, first = hvp(*arguments, cotangents, *moved), jvp(*arguments, *moved)
        return None, *_listed(second), *[first[name] for name in _RESULTS]

    @staticmethod
    def jvp(ctx, _, *tangents):
        tensors = ctx.saved_tensors
        *arguments, cotangents = _mappings(tensors, (*_ARGUMENTS, _RESULTS))
        with _alone(tensors[0]):
            *moved, dot_cotangents = _moved(tangents, tensors, (*_ARGUMENTS, _RESULTS))
            second = _listed(hvp(*arguments, cotangents, *moved))
            first = _listed(backward(arguments[0], ctx.tape, dot_cotangents))
        return tuple(None if one is None else one + two for one, two in zip(first, second))


def run(parameters, inputs, state=None):
    """The outputs of `forward`, with gradients by `backward` wherever PyTorch asks for some.

    Arguments as those of `forward`, float32 or float64. First and second order, in reverse and in forward mode.
    """
    sizes, like = _checked(parameters, inputs, state)
    state = _filled("run", "state", state, STATES, ("B",), sizes, like)
    tensors = [*(parameters[name] for name in PARAMETERS), *(inputs[name] for name in _ARGUMENTS[1])]
    tensors += [state[name] for name in STATES]
    with _alone(tensors[0]):
        return dict(zip(_RESULTS, _Forward.apply(*tensors)))


def _checked(parameters, inputs, state):
    """The sizes of a call of `run`, and what its tensors are like."""
    _names("run", "parameters", parameters, PARAMETERS)
    first = next(iter(parameters.values()), None)
    if isinstance(first, torch.Tensor) and first.is_complex():
        raise ValueError(
            f"run: parameters: wrong dtype: expected torch.float32 or torch.float64, got {first.dtype}: autograd's gradients "
            "of complex numbers are conjugates of these. Call backward."
        )
    with torch.autocast(first.device.type if isinstance(first, torch.Tensor) else "cpu", enabled=False):
        return _sizes("run", parameters, inputs, state)
'''
"""The functions of the contract as functions of autograd; @TOKENS@ the table of tokens."""

MODULE = '''
class Module(torch.nn.Module):
    """@TITLE@ as a layer, its parameters called what the equations call them.

    @SIZES@Each parameter starts uniformly within 1/sqrt(n) of 0, n its last size.
    """

    def __init__(self@ARGUMENTS@, *, device=None, dtype=None):
        super().__init__()
@SHAPES@        for name, shape in shapes.items():
            empty = torch.empty(shape, device=device, dtype=dtype)
            self.register_parameter(_attribute(name), torch.nn.Parameter(empty))
        self.reset_parameters()

    def reset_parameters(self):
        """Draw all parameters anew."""
        for parameter in self.parameters():
            bound = parameter.shape[-1] ** -0.5 if parameter.ndim else 1.0
            torch.nn.init.uniform_(parameter, -bound, bound)

    def named(self):
        """The parameters by the names of the equations, as the functions of this file take them."""
        return {name: getattr(self, _attribute(name)) for name in PARAMETERS}

    def forward(self, @GIVEN@state=None):
        """Outputs {name: (T, B, ...)}; state {name: (B, ...)}, None for zeros. Under autocast in the dtype of the parameters."""
        parameters, inputs = self.named(), @INPUTS@
        first = next(iter(parameters.values()), None)
        if first is not None and torch.is_autocast_enabled(first.device.type):
            inputs = {name: one.to(first.dtype) if one.is_floating_point() else one for name, one in inputs.items()}
        return run(parameters, inputs, state)


def _attribute(name):
    """What a parameter is called in the module: its own name, unless every module has something of that name."""
    return f"{name}_" if hasattr(torch.nn.Module, name) else name
'''
"""The layer; between @ what depends on the model."""


def layer_text(cell: Cell, names: Names) -> str:
    """The functions of autograd, and the module."""
    tokens = [str(value.name) for value in cell.tokens]
    table = "{**INPUTS, **TOKENS}" if tokens else "INPUTS"
    printer = TorchPrinter(names)
    shapes = [
        (str(value.name), Bracket("(", tuple(printer.size(size) for size in value.shape if size != 1), ")"))
        for value in cell.parameters
    ]
    sizes = list(printer.sizes)
    given: list[tuple[str, Piece]] = [(str(one.name), Word(names.of(one))) for one in (*cell.inputs, *cell.tokens)]
    holes = {
        "@TITLE@": f"`{cell.command}`",
        "@SIZES@": f"{', '.join(names.size(size) for size in sizes)}: the sizes of the equations. " if sizes else "",
        "@ARGUMENTS@": "".join(f", {names.size(size)}" for size in sizes),
        "@SHAPES@": "".join(f"{line}\n" for line in lines(mapping(shapes), 2 * STEP, "shapes = ")),
        "@GIVEN@": "".join(f"{flat_word(word)}, " for _, word in given),
        "@INPUTS@": "{" + ", ".join(f'"{name}": {flat_word(word)}' for name, word in given) + "}",
    }
    text = MODULE
    for hole, filling in holes.items():
        text = text.replace(hole, filling)
    ends = lines(Bracket("(", (Word("PARAMETERS"), Word(table), Word("STATES")), ")"), "", "_ARGUMENTS = ")
    ends += ["_RESULTS = {**STATES, **OUTPUTS}"]
    autograd = AUTOGRAD.replace("@TOKENS@", "TOKENS" if tokens else "()")
    return "\n" + autograd + "\n" + text + "\n\n" + "".join(f"{line}\n" for line in ends)


def flat_word(piece: Piece) -> str:
    assert isinstance(piece, Word)
    return piece.text
