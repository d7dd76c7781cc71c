"""Weights of `torch.nn.LSTM`, `GRU` and `RNN`: whether a model is one of these, found in its equations, and which parameter is which.

The equations of the three are those that PyTorch documents for one layer (torch.nn.LSTM, GRU, RNN), the two biases that it adds to each
other as one. A model is theirs where its equations are the same up to names and the order of sums and products, layer by layer.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations

import sympy as sp

from derive.blocks import Stack
from derive.cell import Cell
from derive.expressions import matrix_parts, substitute
from derive.functions import function
from derive.language import Hadamard, Plus, Value, dimension, hadamard, matrix, sequence, vector
from derive.targets.numpy.layout import Word, lines
from derive.targets.numpy.statements import mapping

D, H = dimension("D"), dimension("H")
x, h, c = sequence("x", D), sequence("h", H), sequence("c", H)
sigma, tanh, relu = function("sigma"), function("tanh"), function("relu")

Found = dict[sp.MatrixExpr, sp.MatrixExpr]
"""A value of a pattern -> what it stands for."""


@dataclass(frozen=True)
class Theirs:
    """A model of PyTorch: its class, what tells it from others of that class, its states with their equations, the parameters of each
    block of rows of its weights in their order: of x, of h, the bias, and a bias of its own of the product with h."""

    name: str
    options: tuple[tuple[str, str], ...]
    equations: tuple[tuple[Value, sp.MatrixExpr], ...]
    rows: tuple[tuple[Value | None, ...], ...]


def gate(letter: str, biased: bool) -> tuple[sp.MatrixExpr, tuple[Value | None, ...]]:
    """W x + U h + b, and its parameters."""
    W, U, b = matrix(f"W_{letter}", H, D), matrix(f"U_{letter}", H, H), vector(f"b_{letter}", H)
    whole = W @ x + U @ h.prev
    return (whole + b, (W, U, b, None)) if biased else (whole, (W, U, None, None))


def lstm(biased: bool) -> Theirs:
    (i, of_i), (f, of_f), (g, of_g), (o, of_o) = (gate(letter, biased) for letter in "ifgo")
    cell_state = hadamard(sigma(f), c.prev) + hadamard(sigma(i), tanh(g))
    return Theirs("LSTM", (("proj_size", "0"),), ((h, hadamard(sigma(o), tanh(c))), (c, cell_state)), (of_i, of_f, of_g, of_o))


def gru(biased: bool) -> Theirs:
    (r, of_r), (z, of_z) = (gate(letter, biased) for letter in "rz")
    W, U, b, own = matrix("W_n", H, D), matrix("U_n", H, H), vector("b_n", H), vector("b_hn", H)
    product = U @ h.prev + own if biased else U @ h.prev
    new = W @ x + hadamard(sigma(r), product)
    n = tanh(new + b if biased else new)
    of_n = (W, U, b, own) if biased else (W, U, None, None)
    return Theirs("GRU", (), ((h, hadamard(1 - sigma(z), n) + hadamard(sigma(z), h.prev)),), (of_r, of_z, of_n))


def rnn(biased: bool, name: str) -> Theirs:
    a, of_a = gate("a", biased)
    return Theirs("RNN", (("nonlinearity", f'"{name}"'),), ((h, function(name)(a)),), (of_a,))


MODELS = [one for biased in (True, False) for one in (lstm(biased), gru(biased), rnn(biased, "tanh"), rnn(biased, "relu"))]


@dataclass(frozen=True)
class Layers:
    """A model of PyTorch that a cell is, and what each block of rows of its weights is called here: suffix of the weights -> blocks."""

    model: Theirs
    count: int
    bidirectional: bool
    rows: dict[str, tuple[tuple[str | None, ...], ...]]

    @property
    def biased(self) -> bool:
        return self.model.rows[0][2] is not None


def recognised(cell: Cell) -> Layers | None:
    """The model of PyTorch that a cell is; None where it is none."""
    free = len(cell.inputs) == 1 and not cell.tokens and not cell.starts
    for model in MODELS if free and all(size.is_Symbol for value in cell.states for size in value.shape[:1]) else ():
        found = layers_of(cell, model)
        if found is not None:
            return found
    return None


def layers_of(cell: Cell, model: Theirs) -> Layers | None:
    """The layers of a cell, each the model's, one upon the other; all states and parameters belong to one."""
    left = list(cell.states)
    above: sp.MatrixExpr | None = cell.inputs[0]
    rows: dict[str, tuple[tuple[str | None, ...], ...]] = {}
    ways: set[int] = set()
    defined = dict(cell.equations)
    count = 0
    while left:
        layer: dict[bool, Found] = {}
        for state in [one for one in left if one in left]:
            found = match_of(cell, model, state)
            if found is not None and found[x] == above:
                layer[str(state.name) in cell.leftward] = found
                left = [one for one in left if one not in found.values()]
        if not layer or False not in layer:
            return None
        for leftward, found in layer.items():
            suffix = f"_l{count}{'_reverse' if leftward else ''}"
            rows[suffix] = tuple(tuple(str(found[one].name) if one else None for one in block) for block in model.rows)  # type: ignore[attr-defined]
        ways.add(len(layer))
        count += 1
        tops = [layer[way][h] for way in sorted(layer)]
        above = tops[0] if len(tops) == 1 else next((v for v, right in defined.items() if right == Stack(*tops)), None)
        if above is None:
            return None
    named = [name for blocks in rows.values() for block in blocks for name in block if name]
    whole = sorted(named) == sorted(str(value.name) for value in cell.parameters) and len(ways) == 1
    return Layers(model, count, ways == {2}, rows) if whole else None


def match_of(cell: Cell, model: Theirs, state: Value) -> Found | None:
    """What the values of a model stand for, so that a state of a cell is its h; None where it isn't."""
    defined = dict(cell.equations)
    kept = {*cell.states, *[target for target, right in cell.equations if isinstance(right, Stack)]}

    def written_out(node: sp.MatrixExpr) -> sp.MatrixExpr | None:
        if isinstance(node, Value) and node in defined and node not in kept:
            return substitute(defined[node], written_out)
        return None

    ends: list[Found] = [{h: state}]
    for value, pattern in model.equations:
        ends = [
            end for found in ends if found.get(value) in defined
            for end in matches(pattern, substitute(defined[found[value]], written_out), found)
        ]  # fmt: skip
    return ends[0] if ends else None


def matches(pattern: sp.MatrixExpr, subject: sp.MatrixExpr, found: Found) -> Iterator[Found]:
    """Every way in which a pattern is a subject, with what its values stand for: x for anything, others for values of their kind."""
    if isinstance(pattern, Value):
        yield from bound(pattern, subject, found)
        return
    parts, others = matrix_parts(pattern), matrix_parts(subject)
    if type(pattern) is not type(subject) or len(parts) != len(others):
        return
    if not parts:
        yield found
    elif isinstance(pattern, Plus | Hadamard):
        for order in permutations(others):
            yield from every(parts, order, found)
    elif beside_parts(pattern) == beside_parts(subject):
        yield from every(parts, others, found)


def beside_parts(node: sp.MatrixExpr) -> list[sp.Basic]:
    """What a node has beside its operands: the function, a factor."""
    return [one for one in node.args if not isinstance(one, sp.MatrixExpr)]


def every(parts: Sequence[sp.MatrixExpr], others: Sequence[sp.MatrixExpr], found: Found) -> Iterator[Found]:
    """All of some patterns, one after the other."""
    if not parts:
        yield found
        return
    for one in matches(parts[0], others[0], found):
        yield from every(parts[1:], others[1:], one)


def bound(pattern: Value, subject: sp.MatrixExpr, found: Found) -> Iterator[Found]:
    """A value of a pattern, in what was found before or in addition: h at t-1 is the neighbour of what h stands for."""
    if pattern.lag:
        now = pattern.like(lag=0)
        if isinstance(subject, Value) and subject.lag:
            yield from bound(now, subject.like(lag=0), found)
    elif pattern in found:
        if found[pattern] == subject:
            yield found
    elif pattern == x or is_alike(pattern, subject, found):
        yield {**found, pattern: subject}


def is_alike(pattern: Value, subject: sp.MatrixExpr, found: Mapping[sp.MatrixExpr, sp.MatrixExpr]) -> bool:
    """Whether a value may stand for another: timed or not as it is, of its rank, and for no second one."""
    return (
        isinstance(subject, Value)
        and subject.timed == pattern.timed
        and (subject.shape[1] == 1) == (pattern.shape[1] == 1)
        and subject not in found.values()
    )


# ---- text

WEIGHTS = '''
    @classmethod
    def from_torch(cls, other):
        """A module with the weights of a @NAME@ that is the same model; its two biases, where they are added, as one.

        The layout is (T, B, ...) whatever its batch_first. Raises ValueError on another model.
        """
        _same_model(other)
        first = other.weight_ih_l0
        module = cls(@D@=other.input_size, @H@=other.hidden_size, device=first.device, dtype=first.dtype)
        own = module.named()
        with torch.no_grad():
            for suffix, blocks in _ROWS.items():
                for (left, right), names in zip(_pieces(other, suffix, len(blocks)), blocks):
                    for name, piece in zip(names, (left[0], right[0], *_biases(names, left, right))):
                        if name is not None:
                            own[name].copy_(piece)
        return module

    def to_torch(self):
        """A @NAME@ with these weights; where it has two biases and the model one, the second is zero."""
        own = self.named()
        first = own[_ROWS["_l0"][0][0]]
        other = @NAME@(first.shape[1], first.shape[0], **_MODEL, device=first.device, dtype=first.dtype)
        with torch.no_grad():
            for suffix, blocks in _ROWS.items():
                for (left, right), (w, u, b, c) in zip(_pieces(other, suffix, len(blocks)), blocks):
                    left[0].copy_(own[w])
                    right[0].copy_(own[u])
                    if b is not None:
                        left[1].copy_(own[b])
                        right[1].copy_(own[c]) if c is not None else right[1].zero_()
        return other
'''
"""Methods of the module; between @ what depends on the model."""

HELPERS = '''

def _same_model(other):
    """Refuse what is no such layer of PyTorch."""
    wanted = {**_MODEL, **_ALWAYS}
    got = {name: getattr(other, name, None) for name in wanted}
    if not isinstance(other, @NAME@) or got != wanted:
        said = ", ".join(f"{name}={value!r}" for name, value in wanted.items())
        given = ", ".join(f"{name}={value!r}" for name, value in got.items() if value is not None)
        raise ValueError(
            f"from_torch: another model: expected @NAME@ with {said}, got {type(other).__name__}"
            f"{' with ' if given else ''}{given}. Derive the one that it is."
        )


def _pieces(other, suffix, count):
    """(weight and bias of x, weight and bias of h) of each block of rows of a layer of PyTorch."""
    kinds = ("weight", "bias") if other.bias else ("weight",)
    sides = [[getattr(other, f"{kind}_{side}{suffix}").chunk(count) for kind in kinds] for side in ("ih", "hh")]
    return zip(zip(*sides[0]), zip(*sides[1]))


def _biases(names, left, right):
    """The biases of a block: one, the sum of both, or each by itself."""
    if names[2] is None:
        return None, None
    return (left[1], right[1]) if names[3] is not None else (left[1] + right[1], None)
'''


def sizes_of(found: Layers, cell: Cell) -> tuple[str, str]:
    """The names of the sizes of the input and of the state."""
    rows, columns = next(value for value in cell.parameters if value.name == found.rows["_l0"][0][0]).shape
    return str(columns), str(rows)


def methods_text(found: Layers, inputs: str, hidden: str) -> str:
    """The methods of the module. inputs, hidden: what the sizes of the input and of the state are called."""
    text = WEIGHTS.replace("@NAME@", f"torch.nn.{found.model.name}")
    return text.replace("@D@", inputs).replace("@H@", hidden)


def helpers_text(found: Layers) -> str:
    return HELPERS.replace("@NAME@", f"torch.nn.{found.model.name}")


def constants(found: Layers) -> list[str]:
    """What the methods read: the model's options, and the names of its blocks of rows by layer and way: W, U, b, and a second bias."""
    own = [one for one in found.model.options if one[0] not in NO_ARGUMENTS]
    model = [("num_layers", str(found.count)), *own, ("bidirectional", str(found.bidirectional)), ("bias", str(found.biased))]
    always = [one for one in found.model.options if one[0] in NO_ARGUMENTS]
    rows: list[str] = []
    for suffix, blocks in found.rows.items():
        rows += [f'    "{suffix}": (', *[f"        ({', '.join(map(quoted, block))})," for block in blocks], "    ),"]
    tables = [
        (name, mapping((key, Word(value)) for key, value in table)) for name, table in (("_MODEL", model), ("_ALWAYS", always))
    ]
    return [*[line for name, table in tables for line in lines(table, "", f"{name} = ")], "_ROWS = {", *rows, "}"]


def quoted(name: str | None) -> str:
    return "None" if name is None else f'"{name}"'


NO_ARGUMENTS = ("proj_size",)
"""Options that stay as they are when a layer of PyTorch is made."""
