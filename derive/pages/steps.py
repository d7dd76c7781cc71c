"""What a page says of all steps together: `\\sum_{t=1}^{T}`, `\\max_t`, `h_T`, `h_1`, `1/T`; and where recurrences start, `h_0 = ...`.

A sum over the letter of time is of all steps. An index that is the letter's capital, or 1, is the last, or the first, value of what
stands with a time elsewhere. T is a number of steps where the page counts to it. What these leave open is refused.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from fractions import Fraction

from derive.pages.counting import factors, is_divided, is_number, is_shared_out, refuse_partial, strip_all, with_letter
from derive.pages.errors import PageError, Source
from derive.pages.names import Entry
from derive.pages.step_doubts import (
    letters_in,
    refuse_before,
    refuse_behind,
    refuse_defined_by,
    refuse_divisors,
    refuse_from_zero,
    refuse_length_inside,
    refuse_lengths,
    refuse_power,
    refuse_without,
)
from derive.pages.symbols import (
    Occurrence,
    Reader,
    Symbol,
    children,
    exponent,
    is_transposition,
    spelled,
    strip,
    take_apart,
    walk,
)
from derive.pages.times import Times, parts_of_index
from derive.pages.tree import (
    AtEnd,
    Bracket,
    Chain,
    Length,
    Letter,
    Node,
    Number,
    OverSteps,
    Ratio,
    Reduced,
    Scripted,
    Signed,
    Sum,
    with_parts,
)
from derive.shapes import STEPS

OPERATIONS = ("sum", "mean", "max", "min", "softmax")
"""What is read of all steps."""


class Steps:
    """The equations of one cell with what is said of all steps as nodes; where that can be meant otherwise with the reason why they can't
    be read. Raises PageError on an equation of one step alone.

    declared: names of which a declaration says what they are. layered: the page counts layers, so that symbols are compared without
    their indices. beside: equations of other parts of the page, of which these may read ends.
    """

    def __init__(
        self,
        source: Source,
        reader: Reader,
        entries: Sequence[Entry],
        declared: Collection[str] = (),
        layered: bool = False,
        beside: Sequence[Entry] = (),
        times: Times | None = None,
        axes: Mapping[Symbol, tuple[str, ...]] | None = None,
        has_one_letter: bool = False,
    ) -> None:
        self.source, self.reader, self.declared, self.layered = source, reader, declared, layered
        self.letter = reader.letter or ""
        self.capital = self.letter.upper() if len(self.letter) == 1 and self.letter.islower() else ""
        self.axes, self.letters = dict(axes or {}), {self.letter: STEPS} | (times.others if times else {})
        self.capitals = {letter.upper(): axis for letter, axis in self.letters.items()}
        self.is_several, self.has_one_letter = times is not None, has_one_letter
        self.axes_of_layers = {(one.base, one.decorations): found for one, found in self.axes.items()} if layered else {}
        self.entries = list(entries)
        if self.capital:
            self.find(beside)
            refuse_lengths(self)
            self.entries = [self.entry(entry) for entry in self.entries]

    def find(self, beside: Sequence[Entry]) -> None:
        """What the equations say of their symbols: which are read, timed, defined, at which step, and which sizes are numbers of steps."""
        entries = self.entries
        self.reads = [one for entry in entries if entry.problem is None for one in self.occurrences(entry.right)]
        self.entries = entries = [self.with_start(entry) for entry in entries]
        self.rights = [entry.right for entry in entries if entry.problem is None and not entry.is_function]
        self.trees = [tree for entry in entries for tree in (*entry.targets, entry.right)]
        around = [tree for entry in beside if entry.problem is None for tree in (*entry.targets, entry.right)]
        self.timed = {
            self.key(one.symbol) for tree in (*self.trees, *around) for one in self.occurrences(tree) if one.time is not None
        }
        self.later = {self.key(one.symbol) for one in self.lefts(entries) if (one.time or 0) > 0}
        self.defined = {one.symbol for one in self.lefts([*entries, *beside])}
        self.read_by = {entry.span: {one.symbol for one in self.occurrences(entry.right)} for entry in entries}
        self.numbers = self.find_numbers()
        self.starts = {one.symbol for one in self.lefts(entry for entry in entries if entry.is_start)}
        self.counts = {
            capital
            for capital in self.capitals
            if any(self.counts_steps(node, capital) for tree in self.trees for node in walk(tree))
        }

    def with_start(self, entry: Entry) -> Entry:
        """The equation marked as a start where its left side is at step 0 of what is read at a neighbour, `h_0^{dec} = ...`."""
        if entry.is_start or entry.is_function or entry.problem is not None:
            return entry
        return replace(entry, is_start=all(self.is_at_nought(target) for target in entry.targets))

    def is_at_nought(self, target: Node) -> bool:
        for place in self.indices(target) if take_apart(target) is not None else ():
            if is_number(place, 0):
                one = self.reader.read(self.at_this_step(target, place))
                if one is not None and one.time == 0:
                    return any(read.time and self.key(read.symbol) == self.key(one.symbol) for read in self.reads)
        return False

    def is_timed(self, symbol: Symbol) -> bool:
        """Whether a symbol stands with a time elsewhere, perhaps without the index of a component."""
        return self.key(symbol) in self.timed or (bool(symbol.subs) and replace(self.key(symbol), subs=()) in self.timed)

    def is_at_time(self, node: Node, place: Node) -> bool:
        """Whether a symbol with the letter of time in the place of an index is one that stands so elsewhere."""
        one = self.reader.read(self.at_this_step(node, place))
        return one is not None and one.time == 0 and self.is_timed(one.symbol)

    def is_timeless(self, node: Node) -> bool:
        one = self.reader.read(node)
        return one is not None and one.time is None

    def axes_of(self, node: Node) -> tuple[str, ...]:
        """The axes of steps of a symbol as it is written here."""
        one = None if isinstance(node, Letter) and node.is_function else self.reader.read(node)
        return self.along(one) if one is not None and one.time is not None else ()

    def key(self, symbol: Symbol) -> Symbol:
        return replace(symbol, subs=(), sups=()) if self.layered else symbol

    def lefts(self, entries: Iterable[Entry]) -> Iterator[Occurrence]:
        """The symbols on the left sides."""
        return (one for entry in entries for left in entry.targets for one in self.occurrences(left))

    def occurrences(self, tree: Node) -> Iterator[Occurrence]:
        one = None if isinstance(tree, Letter) and tree.is_function else self.reader.read(tree)
        if one is not None:
            yield one
            return
        for child in children(tree):
            yield from self.occurrences(child)

    # ---- which indices are ends

    def find_numbers(self) -> dict[Symbol, set[Fraction]]:
        """The numbers that stand as the index of what has a time elsewhere."""
        found: dict[Symbol, set[Fraction]] = {}
        for node in (node for tree in self.trees for node in walk(tree) if isinstance(node, Scripted)):
            for script in node.sub:
                for part in parts_of_index(script):
                    if isinstance(part, Number):
                        one = self.reader.read(self.at_this_step(node, part))
                        if one is not None:
                            found.setdefault(self.key(one.symbol), set()).add(part.value)
        return found

    def end(self, node: Node) -> tuple[Node, str] | None:
        """(the symbol at this step, which end) for `h_T` and `h_1`; None for any other formula."""
        if (
            isinstance(node, Letter)
            or take_apart(node) is None
            or (before := self.reader.read(node)) is None
            or before.time is not None
        ):
            return None
        for place in self.indices(node):
            which = "last" if spelled(place) in self.capitals else "first" if is_number(place, 1) else ""
            if not which:
                continue
            made = self.at_this_step(node, place)
            one = self.reader.read(made)
            if one is None or one.time != 0 or not self.is_timed(one.symbol) or before.symbol.name in self.declared:
                continue
            if which == "last" and self.is_several and self.capitals[spelled(place) or ""] not in self.along(one):
                continue
            if which == "first" and self.numbers.get(self.key(one.symbol), set()) - {0, 1}:
                continue  # `x_1` beside `x_2`: names
            return made, which
        return None

    def along(self, one: Occurrence) -> tuple[str, ...]:
        """The axes of steps of a symbol with a time."""
        return self.axes.get(one.symbol) or (self.axes_of_layers.get((one.symbol.base, one.symbol.decorations)) or (STEPS,))

    def indices(self, node: Node) -> Iterator[Node]:
        """The indices below a symbol, and those in round brackets above it."""
        parts = take_apart(node)
        assert parts is not None
        for script in parts.subs:
            yield from parts_of_index(script)
        for script in parts.sups:
            inner = strip(script) if isinstance(script, Bracket) and script.opener == "{" else script
            if (
                isinstance(inner, Bracket)
                and inner.opener in "(<["
                and len(inner.parts) == 1
                and spelled(inner.parts[0]) in self.capitals
            ):
                yield inner.parts[0]

    def at_this_step(self, node: Node, index: Node) -> Node:
        """The symbol with the letter of time in the place of an index."""
        if node is index:
            return Letter(self.letter, node.span)
        return with_parts(node, lambda part: self.at_this_step(part, index))

    # ---- equations

    def entry(self, entry: Entry) -> Entry:
        if entry.is_function or entry.problem is not None:
            return entry
        refuse_before(self, entry)
        self.counting = any(isinstance(node, Reduced) and node.indices[0] in self.letters for node in walk(entry.right))
        try:
            refuse_divisors(self, entry)
            right = self.formula(entry.right)
            refuse_behind(self, entry, right)
            for node in walk(right):
                if isinstance(node, OverSteps) and node.name != "softmax":
                    self.refuse_bound(entry, node)
                    if not entry.is_start:
                        self.refuse_of_nothing(entry, right, node)
        except PageError as error:
            return replace(entry, problem=error)
        return replace(entry, right=right)

    def refuse_bound(self, entry: Entry, node: OverSteps) -> None:
        """Raises PageError on `y_t = \\sum_t x_t`."""
        for target in entry.targets:
            one = self.reader.read(target)
            if one is not None and one.time is not None and node.axis in self.along(one):
                written, left = self.source.written((node.span[0], node.body.span[0])), self.source.written(target.span)
                what = f"`{written}` runs over all steps, and `{left}` is of one: expected a value without a time."
                todo = f"Up to this step it is a state, `s_t = s_{{t-1}} + ...`; of all steps it carries no {self.letter}."
                raise self.source.error(node.span, what, todo)

    def refuse_of_nothing(self, entry: Entry, right: Node, node: OverSteps) -> None:
        """Raises PageError on `L = \\sum_t \\ell_t` where nothing reads L, and the summands are neither defined nor read anywhere else."""
        own = {one.symbol for target in entry.targets for one in self.occurrences(target)}
        occurrences = list(self.occurrences(right))
        read = {one.symbol.base for one in occurrences}  # with whatever index of a component
        timed = {one.symbol.base for one in occurrences if one.time is not None}
        others = [self.read_by[other.span] for other in self.entries if other is not entry]
        if read & {one.base for one in self.defined} or any(own & found for found in others):
            return
        if timed <= {one.base for found in others for one in found if self.is_timed(one)}:
            return  # of inputs that the model reads
        if not {one.name for one in own} & {*self.declared}:
            written = self.source.written(entry.right.span)
            what = f"`{written}` is made of nothing that the page defines: expected a quantity of the model."
            raise self.source.error(node.span, what, "Write the equations of what it is made of.")

    def formula(self, node: Node) -> Node:
        if isinstance(node, Letter):
            is_length = node.name in self.counts and self.counting and not node.is_function and node.name not in self.declared
            return Length(self.capitals[node.name], node.span) if is_length and not self.is_defined(node) else node
        if isinstance(node, Length):
            return replace(node, axis=self.letters.get(node.axis, node.axis))
        if isinstance(node, Reduced):
            return self.reduced(node)
        if isinstance(node, Ratio):
            before, upper = self.counting, self.formula(node.above)
            self.counting = True  # what is divided by
            lower = self.formula(node.below)
            self.counting = before
            return replace(node, above=upper, below=lower)
        found = self.end(node)
        if found is not None:
            return AtEnd(*found, node.span)
        if isinstance(node, Scripted):
            if self.is_power_of_length(node):
                return replace(node, body=self.formula(node.body))
            if take_apart(node) is not None and isinstance(strip_all(node.body), Letter) and not self.reader.is_exponential(node):
                return node
            above = tuple(one if is_transposition(one) else self.formula(one) for one in node.sup)
            return replace(node, body=self.formula(node.body), sup=above)
        return with_parts(node, self.formula)

    def is_power_of_length(self, node: Scripted) -> bool:
        """`T^{-1}`, `T^2`."""
        plain = isinstance(node.body, Letter) and node.body.name in self.counts and not node.sub
        return plain and len(node.sup) == 1 and exponent(node.sup[0]) is not None

    def is_defined(self, node: Letter) -> bool:
        return any(isinstance(target, Letter) and target.name == node.name for entry in self.entries for target in entry.targets)

    # ---- sums

    def reduced(self, node: Reduced) -> Node:
        """What is taken over all steps; anything else as it is."""
        letter = node.indices[0]
        if letter not in self.letters:
            again = self.renamed(node) or self.of_each_element(node)
            if again is None:
                return replace(node, body=self.formula(node.body))
            node = again
            letter = node.indices[0]
        refuse_partial(self.source, node, letter.upper())
        refuse_from_zero(self, node)
        if node.name not in OPERATIONS:
            what = f"`{node.name}` over steps isn't read: expected {', '.join(OPERATIONS)}."
            raise self.source.error(node.span, what, "Write it with sums over the steps.")
        refuse_without(self, node)
        refuse_length_inside(self, node)
        refuse_power(self, node)
        body = self.formula(node.body)
        over = OverSteps(node.name, body, self.letters[letter], node.span)
        return Sum((over, AtEnd(body, node.without, node.span)), (1, -1), node.span) if node.without else over

    def of_each_element(self, node: Reduced) -> Reduced | None:
        """`\\sum_i \\sum_t a_{t,i}` with the sum over steps in front; None for anything else."""
        inner = node.body
        if not (isinstance(inner, Reduced) and inner.name == node.name == "sum" and inner.indices[0] in self.letters):
            return None
        return replace(inner, body=replace(node, body=inner.body), span=node.span)

    def renamed(self, node: Reduced) -> Reduced | None:
        """`\\sum_{k=1}^{T} h_k` with the letter of time; None where it runs over something else."""
        letter = node.indices[0]
        own = next((one for one in self.letters if node.above is not None and spelled(strip(node.above)) == one.upper()), None)
        if own is None:
            return None
        symbols = [one for one in walk(node.body) if isinstance(one, Scripted)]
        if not any(self.is_at_step(one, letter, self.letters[own]) for one in symbols):
            return None  # over the components of a vector that is as long
        refuse_defined_by(self, letter, node)
        letters = {
            part.name for one in symbols for script in (*one.sub, *one.sup) for part in walk(script) if isinstance(part, Letter)
        }
        if self.letter in letters:
            written = self.source.written((node.span[0], node.body.span[0]))
            what = f"`{written}` runs over steps beside {self.letter}: expected one letter of time, read at one step at a time."
            raise self.source.error(node.span, what, "A value of two steps at once isn't read.")
        return replace(node, indices=(own,), body=with_letter(node.body, letter, self.letter))

    def is_at_step(self, node: Scripted, letter: str, axis: str) -> bool:
        """Whether a letter stands alone as the index of what has a time elsewhere, along an axis."""
        places = [part for script in (*node.sub, *node.sup) for part in parts_of_index(script) if spelled(part) == letter]
        if (
            len(places) != 1
            or len(node.sub) + len(node.sup) != 1
            or (node.sub and isinstance(node.sub[0], Bracket) and len(node.sub[0].parts) > 1)
        ):
            return False
        one = self.reader.read(self.at_this_step(node, places[0]))
        return one is not None and one.time == 0 and self.is_timed(one.symbol) and axis in self.along(one)

    def means(self, node: Reduced, capital: str) -> bool:
        """Whether a sum is a mean, `\\sum_t a_t / T`: T divides all of it, is nothing that is declared, and stands nowhere but where such
        a sum is divided by it."""
        if not is_shared_out(node.body, capital) or capital in self.declared:
            return False
        found = [one for tree in self.rights for one in walk(tree) if isinstance(one, Reduced) and one.indices == node.indices]
        sums = [one for one in found if one.name == "sum" and is_shared_out(one.body, capital)]
        inside = sum(one.name == capital for found in sums for one in letters_in(found.body))
        return inside == len(sums) == sum(one.name == capital for tree in self.trees for one in letters_in(tree))

    def counts_steps(self, node: Node, capital: str) -> bool:
        """Whether T says how many steps there are: as a limit, as the last index, or as what a sum over steps is divided by."""
        letter = next(one for one in self.letters if one.upper() == capital)
        if isinstance(node, Reduced):
            if node.indices[0] == letter and self.means(node, capital):
                return True
            over = node.indices[0] in self.letters or self.renamed(node) is not None
            return node.above is not None and spelled(strip(node.above)) == capital and over
        if isinstance(node, (Chain, Signed)):
            items = node.items if isinstance(node, Chain) else node.parts
            summed = [isinstance(item, Reduced) and item.indices[0] == letter for item in items]
            if any(behind and is_divided(item, capital) for item, behind in zip(items, summed[1:], strict=False)):
                return True
            sums = any(isinstance(one, Reduced) and (one.name, one.indices[0]) == ("sum", letter) for one in map(strip, items))
            return sums and is_shared_out(node, capital) and capital not in self.declared
        if isinstance(node, Ratio):
            sums = any(isinstance(one, Reduced) and one.indices[0] == letter for one in walk(node.above))
            return sums and capital in factors(node.below)
        found = self.end(node)
        return found is not None and found[1] == "last" and any(spelled(place) == capital for place in self.indices(node))
