"""Any cell as a network: layers one upon the other, both directions, a mask; one cell in, one cell out.

What the options do is in the cell that comes out, as equations: nothing behind it knows of layers or masks.

- A copy keeps the cell's names, with direction and layer behind: `W_i_2`, `h_left_1`, the number last; one layer alone has none.
- The first layer reads the cell's input, each other one what the layer below it gives, whose size is then that of its input.
- Two directions are two copies; what they give together is the one above the other, named like what each gives: `h_1`, at the top `h`.
- A mask `m` blends each state with itself one step before: h_t = m_t h_hat_t + (1 - m_t) h_{t-1}, h_hat what the cell makes of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import sympy as sp

from derive.along import AlongAxis, Pick
from derive.blocks import stack
from derive.cell import Cell
from derive.errors import DeriveError
from derive.expressions import values_in
from derive.language import Eq, Value, hadamard, sequence
from derive.shapes import STEPS, shape_text

MOST = 16
"""Layers that are written out, each as equations and formulas of its own."""

MASKS = ("m", "mask")
"""What the mask is called: the first that the cell doesn't use."""

OWN = ("hat", "bar", "new")
"""What is put behind a state's name for what the cell itself makes of it, before the mask: the first that makes new names only."""


class NetworkError(DeriveError):
    """A cell that can't be made the network that is asked for."""


@dataclass(frozen=True)
class Network:
    """What is made of a cell: how many layers, in both directions or one, with a mask; by name what a layer reads and what it gives.

    input: None for the only input of the shape of what a layer gives. output: None for the only state that no other state is made of at
    the same step.
    """

    layers: int = 1
    bidirectional: bool = False
    masked: bool = False
    input: str | None = None
    output: str | None = None

    def check(self) -> None:
        """Raises NetworkError on an option that nothing would look at."""
        if self.input is not None and self.layers == 1:
            raise NetworkError(
                f"derive: --input {self.input}: expected --layers 2 or more beside it, got one layer. Leave it out."
            )
        if self.output is not None and self.layers == 1 and not self.bidirectional:
            raise NetworkError(
                f"derive: --output {self.output}: expected --layers 2 or more, or --bidirectional, beside it, got neither. "
                "Leave it out."
            )

    def of(self, cell: Cell) -> Cell:
        """The network of a cell. Raises NetworkError."""
        self.check()
        if self == Network():
            return cell
        check_cell(cell, self)
        given = self.given_by(cell) if self.layers > 1 or self.bidirectional else None
        read = self.read_by(cell, given) if given is not None and self.layers > 1 else None
        equations, mask = masked(cell) if self.masked else (cell.equations, None)
        if given is not None:
            equations = Copies(cell, equations, mask, read, given, self).equations()
        words = self.words(cell, read, given)
        name = "_".join([cell.name, *[word.removeprefix("--").replace("-", "_") for word in words]])
        made = Cell.from_equations(name, " ".join([cell.command, *words]), [Eq(*pair) for pair in equations], cell.starts)
        return replace(made, words=cell.words, layers=self.layers_of(cell, made, read, mask))

    def layers_of(self, cell: Cell, made: Cell, read: Value | None, mask: Value | None) -> dict[str, tuple[str, int]]:
        """The names of copies -> (the name that those of all layers share, the layer): the number stands last."""
        if self.layers == 1:
            return {}
        whole = {str(value.name) for value in (*cell.inputs, *cell.tokens, mask) if value is not None}
        names = dict.fromkeys(str(value.name) for value in (*made.states, *made.targets, *made.reads))
        parts = {name: name.rpartition("_") for name in names if name not in whole}
        return {name: (base, int(number)) for name, (base, _, number) in parts.items() if base and number.isdigit()}

    def words(self, cell: Cell, read: Value | None, given: Value | None) -> list[str]:
        """The words of the command that ask for it, without those that say what holds anyway."""
        words = ["--layers", str(self.layers)] if self.layers > 1 else []
        words += ["--bidirectional"] * self.bidirectional + ["--masked"] * self.masked
        if self.input is not None and given is not None and self.readable(cell, given) != [read]:
            words += ["--input", self.input]
        return words + (["--output", self.output] if self.output is not None and usually_given(cell) != [given] else [])

    def note(self, cell: Cell) -> str:
        """What a layer reads and gives, in words; empty of one layer."""
        if self.layers == 1:
            return ""
        given = self.given_by(cell)
        return f"each layer reads {given.name} of the layer below it in the place of {self.read_by(cell, given).name}"

    @property
    def option(self) -> str:
        """The option that makes copies, for messages."""
        return f"--layers {self.layers}" if self.layers > 1 else "--bidirectional"

    def given_by(self, cell: Cell) -> Value:
        """What a layer gives to the one above it. Raises NetworkError where that isn't said or isn't there."""
        if self.bidirectional and (cell.leftward or not cell.states):
            got = f"{min(cell.leftward)}, from the last step to the first" if cell.leftward else "no state"
            raise NetworkError(
                f"{cell.name}: --bidirectional: expected states that run from the first step to the last, got {got}. Leave it out."
            )
        timed = [value for value in cell.targets if value.has_steps]
        known = ", ".join(value.name for value in timed)
        if self.output is not None:
            found = [value for value in timed if value.name == self.output]
            if not found:
                raise NetworkError(
                    f"{cell.name}: --output {self.output}: expected a quantity that the cell defines at each step, one of {known}, "
                    f"got `{self.output}`. Choose another."
                )
            return found[0]
        usual = usually_given(cell)
        if len(usual) != 1:
            names = ", ".join(value.name for value in usual)
            got = f"{len(usual)}: {names}" if usual else "none"
            raise NetworkError(
                f"{cell.name}: {self.option}: expected one state that a layer gives on, got {got}. Choose with --output NAME: {known}."
            )
        return usual[0]

    def read_by(self, cell: Cell, given: Value) -> Value:
        """The input in whose place a layer reads what the layer below gives. Raises NetworkError where none or several may be it."""
        fitting = self.readable(cell, given)
        every = ", ".join(f"{value.name} {shape_text(value)}" for value in cell.inputs) or "none"
        if self.input is not None:
            found = next((value for value in cell.inputs if value.name == self.input), None)
            if found is None:
                raise NetworkError(
                    f"{cell.name}: --input {self.input}: expected an input of the cell, one of {every}, got `{self.input}`. "
                    "Choose another."
                )
            fitting = [value for value in fitting if value == found]
            every = f"{found.name} {shape_text(found)}"
        where = f"{cell.name}: {self.option}"
        if len(fitting) == 1:
            return fitting[0]
        if fitting:
            names = ", ".join(value.name for value in fitting)
            raise NetworkError(
                f"{where}: a layer may read {given.name} of the layer below in the place of each of {names}: expected one input that it "
                "stands for. Choose with --input NAME; every layer reads the others as they are."
            )
        others = [value.name for value in cell.targets if value.has_steps and value != given and self.readable(cell, value)]
        todo = f"Choose with --output NAME: {', '.join(others)}." if others else "Write the network as a page."
        what = f"{self.input} doesn't have" if self.input is not None else "no input has"
        raise NetworkError(
            f"{where}: {what} the shape of {given.name}{' of both directions' * self.bidirectional}, which a layer gives: expected one "
            f"like {shape_text(self.whole(given))}, got {every}. {todo}"
        )

    def whole(self, given: Value) -> sp.MatrixExpr:
        """What a layer gives of all of its directions."""
        return stack(given, given) if self.bidirectional else given

    def readable(self, cell: Cell, given: Value) -> list[Value]:
        """The inputs in whose place a layer can read what each direction of the layer below gives."""
        return [value for value in cell.inputs if value.has_steps and sizes_of(value, self.whole(given).shape) is not None]


def check_cell(cell: Cell, network: Network) -> None:
    """Raises NetworkError on what copies or a mask would give another meaning: several axes of steps, starts of copies, values of all
    steps in both directions, and under a mask what is made of all steps, or of the last one but its states alone."""
    copies = network.layers > 1 or network.bidirectional
    values = dict.fromkeys((*cell.targets, *cell.reads))
    made = [(target.name, found) for target, right in cell.equations for found in right.atoms(AlongAxis)]
    axis = next((f"{value.name} along {' and '.join(value.along)}" for value in values if value.along not in ((), (STEPS,))), "")
    start = next((f"{start.name}, which {read.name} starts with" for read, start in cell.starts), "") if copies else ""
    whole = next((f"{name}, which is made of all steps" for name, _ in made), "") if network.bidirectional else ""
    for what, got in (("one axis of steps", axis), ("states that a call starts", start), ("values of each step", whole)):
        if got:
            option = network.option if copies else "--masked"
            todo = "Write layers, directions and masks on the page."
            raise NetworkError(f"{cell.name}: {option}: expected {what}, got {got}. {todo}")
    held = next((name for name, found in made if not is_held(cell, found)), "") if network.masked else ""
    if held:
        raise NetworkError(
            f"{cell.name}: --masked: expected values of each step, or of the states after the last one, got {held}, which is made of "
            "steps that the mask leaves out, too. Write the mask on the page, also where steps are summed or picked."
        )


def is_held(cell: Cell, made: AlongAxis) -> bool:
    """Whether what is made of steps is an end of the states, and of what is read out of them at the same step: under a mask they are what
    the last step that counts has left."""
    if not isinstance(made, Pick):
        return False
    states, reads = {value.like(lag=0) for value in cell.carried}, dict(cell.equations)
    waiting = list(values_in(made.operands[0]))
    for value in waiting:
        if value.has_steps and value not in states:
            if value.lag or value not in reads:
                return False
            waiting += values_in(reads[value])
    return True


def with_suffix(value: Value, suffix: str) -> str:
    """A name with something behind it, without the `_` that keeps a name from being a word of Python: `lambda_` gives `lambda_1`."""
    return f"{value.name.rstrip('_')}{suffix}"


# ---- what a layer reads and gives


def needed(equations: Iterable[tuple[Value, sp.MatrixExpr]], wanted: Iterable[Value], at_this_step: bool = False) -> set[Value]:
    """The defined values that some are made of, themselves too; at_this_step: without what another step hands on."""
    reads = {target: values_in(right) for target, right in equations}
    waiting, found = list(wanted), set()
    while waiting:
        value = waiting.pop()
        if value in reads and value not in found:
            found.add(value)
            waiting += [read.like(lag=0) for read in reads[value] if not at_this_step or read.lag == 0]
    return found


def usually_given(cell: Cell) -> list[Value]:
    """The states that no other state is made of at the same step: of an LSTM h, in whatever order its equations read h and c. A state
    that only keeps another value for the next step isn't one of them."""
    states = [target for target, right in cell.equations if target in cell.states and not isinstance(right, Value)]
    inner = {value for state in states for value in needed(cell.equations, [state], at_this_step=True) - {state}}
    return [state for state in states if state not in inner]


def sizes_of(read: Value, given: tuple[sp.Expr, sp.Expr]) -> dict[sp.Symbol, sp.Expr] | None:
    """What the dimensions of an input become where it has another shape; None where it can't have that one."""
    sizes: dict[sp.Symbol, sp.Expr] = {}
    for own, other in zip(read.shape, given, strict=True):
        if (own == 1) != (other == 1) or (own != other and not isinstance(own, sp.Symbol)):
            return None
        if own != 1 and sizes.setdefault(own, other) != other:
            return None
    return {own: other for own, other in sizes.items() if own != other}


# ---- the mask


Equations = Sequence[tuple[Value, sp.MatrixExpr]]


def masked(cell: Cell) -> tuple[list[tuple[Value, sp.MatrixExpr]], Value]:
    """(the equations with each state blended with itself one step before, the mask).

    What states are made of reads the cell's own new states, as without a mask; what is read out of them reads the blended ones.
    Raises NetworkError where there is no state, or no name.
    """
    states = [value.like(lag=0) for value in cell.carried]
    if not states:
        raise NetworkError(
            f"{cell.name}: --masked: no state: expected one that stays as it was where the mask is 0, got none. Leave it out."
        )
    taken = {value.name for value in (*cell.targets, *cell.reads)}
    mask = next((sequence(name) for name in MASKS if name not in taken), None)
    behind = next((word for word in OWN if not any(with_suffix(state, f"_{word}") in taken for state in states)), None)
    if mask is None or behind is None:
        wanted = " and ".join(MASKS) if mask is None else ", ".join(with_suffix(states[0], f"_{word}") for word in OWN)
        raise NetworkError(
            f"{cell.name}: --masked: no name is left: expected one of {wanted}, got a cell that has them all. Rename one."
        )
    step = needed(cell.equations, states, at_this_step=True)
    own = {state: state.like(name=with_suffix(state, f"_{behind}")) for state in states}
    before = {value.like(lag=0): value for value in cell.carried}
    equations: list[tuple[Value, sp.MatrixExpr]] = []
    for target, right in cell.equations:
        right = right.xreplace(own) if target in step else right
        equations.append((own.get(target, target), right))
        if target in own:
            equations.append((target, hadamard(mask, own[target]) + hadamard(1 - mask, before[target])))
    return equations, mask


# ---- layers


@dataclass(frozen=True)
class Copies:
    """A cell's equations, copied: cell as it was, its equations with a mask where there is one, what a layer reads, None for the one
    layer, and what it gives."""

    cell: Cell
    own: Equations
    mask: Value | None
    read: Value | None
    given: Value
    network: Network

    def equations(self) -> list[tuple[Value, sp.MatrixExpr]]:
        """Layer by layer, the first one first. Raises NetworkError where a copy has the name of an input."""
        made: list[tuple[Value, sp.MatrixExpr]] = []
        below = self.read
        for layer in range(1, self.network.layers + 1):
            equations, below = self.layer(layer, below)
            made += equations
        kept = {value.name for value in self.shared} | ({self.read.name} if self.read else set())
        clash = next((target.name for target, _ in made if target.name in kept), None) or next(
            (v.name for _, right in made for v in values_in(right) if not v.timed and v.name in kept), None
        )
        if clash is not None:
            raise NetworkError(
                f"{self.cell.name}: {self.network.option}: a copy would be called {clash}, like an input: expected a name of its own. "
                f"Rename the input {clash}."
            )
        return made

    @property
    def shared(self) -> list[Value]:
        """The inputs that every layer reads as they are."""
        return [value for value in (*self.cell.inputs, *self.cell.tokens, self.mask) if value is not None and value != self.read]

    def layer(self, layer: int, below: Value | None) -> tuple[list[tuple[Value, sp.MatrixExpr]], Value]:
        """(the equations of a layer, what it gives). A layer that isn't the top has no more than its states and what it gives need."""
        number = f"_{layer}" if self.network.layers > 1 else ""
        top = layer == self.network.layers
        equations = self.own
        if not top:
            kept = needed(equations, [*self.cell.states, self.given])
            equations = [pair for pair in equations if pair[0] in kept]
        if not self.network.bidirectional:
            return self.copy(equations, number, below)
        right, from_left = self.copy(equations, f"_right{number}", below)
        left, from_right = self.copy(equations, f"_left{number}", below, leftward=True)
        both = stack(from_left, from_right)
        gives = self.given.like(
            name=self.given.name if top else with_suffix(self.given, number), rows=both.shape[0], cols=both.shape[1]
        )
        return [*right, *left, (gives, both)], gives

    def copy(
        self, equations: Equations, behind: str, below: Value | None, leftward: bool = False
    ) -> tuple[list[tuple[Value, sp.MatrixExpr]], Value]:
        """(the equations with `behind` at each name, reading `below` as their input, what they give). leftward: from the last step to the
        first, what the cell reads of the step before read of the next one."""
        sizes = self.sizes(below)
        new: dict[sp.Basic, sp.Basic] = dict(sizes)
        for value in {v for target, right in equations for v in (target, *values_in(right))}:
            if value not in self.shared:
                rows, cols = (size.xreplace(sizes) for size in value.shape)
                lag = -value.lag if leftward else value.lag
                own = value.like(name=with_suffix(value, behind), rows=rows, cols=cols, lag=lag)
                new[value] = below if value == self.read else own
        copied = [(target.xreplace(new), right.xreplace(new)) for target, right in equations]
        return copied, new[self.given]

    def sizes(self, below: Value | None) -> dict[sp.Symbol, sp.Expr]:
        """What becomes of the dimensions of the cell in a layer that reads `below`. Raises NetworkError where an input can't follow."""
        sizes = sizes_of(self.read, below.shape) if self.read is not None and below is not None else {}
        assert sizes is not None
        for value in self.shared:
            both = sorted({str(symbol) for size in value.shape for symbol in size.free_symbols & set(sizes)})
            if both:
                raise NetworkError(
                    f"{self.cell.name}: {self.network.option}: {value.name} has a size, {both[0]}, that is another one in the layers "
                    f"above: expected an input of a size of its own, got {shape_text(value)}. Write the network as a page."
                )
        return sizes
