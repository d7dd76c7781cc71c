"""Components of vectors and matrices, `x_{t,j}`, `W_{ij}`: which letters index them, and where they do.

A letter that a sum binds indexes components within that sum. A letter of a left side does where it stands beside one in a symbol, as in
`W_{ij}`, or where all that has a time on the right side carries it and what is read so stands elsewhere without it. What else carries
such a letter is a name, as ever, or asked about where both may be meant.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace

from derive.pages.errors import PageError, Source
from derive.pages.extents import counted, sets_of, size_name, sizes_of
from derive.pages.names import Entry
from derive.pages.operators import limits
from derive.pages.symbols import Reader, Symbol, children, exponent, spelled, strip, take_apart, walk
from derive.pages.tree import (
    Bracket,
    Chain,
    Component,
    Cut,
    Decorated,
    Dimension,
    Letter,
    Node,
    Number,
    Raised,
    Ratio,
    Reduced,
    Scripted,
    Signed,
    with_parts,
)
from derive.shapes import EXAMPLES, OF_A_CALL, STEPS

WHAT = {STEPS: "steps", EXAMPLES: "examples, the batch"}


class Components:
    """The equations of one cell with components as nodes. Raises PageError where a letter may be an index or a part of a name.

    declared: names of which a declaration says what they are; named: names of sizes that declarations give, which are sizes where
    something is divided by them, `1/\\sqrt{d}`.
    """

    def __init__(
        self, source: Source, reader: Reader, entries: Sequence[Entry], declared: Collection[str], named: Collection[str] = ()
    ) -> None:
        self.source, self.reader, self.named = source, reader, named
        self.declared = {*declared, *[name for entry in entries if entry.is_function for name in arguments(entry.targets[0])]}
        self.times: dict[Symbol, bool] = {}  # whether a symbol stands with a time
        self.sizes = {name for entry in entries for node in walk(entry.right) for name in sizes_of(node)}
        self.sets = {name for entry in entries for node in walk(entry.right) for name in sets_of(node)}
        self.bound = {letter for entry in entries for letter in bound_letters(entry.right)}
        self.refuse_sizes_of_a_call(entries)
        self.above = {letter for entry in entries for letter in letters_at_brackets(entry.right, above=True)} - {reader.letter}
        self.entries = list(entries)
        if not (self.bound or self.sizes or self.named or self.above or any(self.may_have_indices(entry) for entry in entries)):
            return  # as on most pages: nothing here could be an index
        self.plain = {one for entry in entries for one, _ in self.symbols(entry.right, set())}
        self.targets = {one for entry in entries for node in entry.targets for one, _ in self.symbols(node, set())}
        self.dividing = False
        self.free: list[set[str]] = [set() for _ in entries]
        self.uses: dict[Symbol, list[tuple[Node, tuple[str, ...], bool]]] = {}
        found: set[str] | None = None
        while found != set().union(*self.free):
            found = set().union(*self.free)
            self.free = [self.free_letters(entry, self.bound | found) for entry in entries]
        self.letters = self.bound | found
        self.entries = [self.entry(entry, free) for entry, free in zip(entries, self.free, strict=True)]
        self.refuse_copies()
        for entry in self.entries:
            self.refuse_unbound(entry)

    def entry(self, entry: Entry, free: set[str]) -> Entry:
        right = self.read(entry.right, free, free)
        if not free:
            return replace(entry, right=right)
        left, indices = self.split(entry.targets[0], free)
        return replace(entry, targets=(left,), right=right, indices=indices)

    def may_have_indices(self, entry: Entry) -> bool:
        letters = {letter for target in entry.targets for letter in small_letters(target, ())}
        return bool(letters - {self.reader.letter}) or any(True for _ in letters_at_brackets(entry.right))

    # ---- letters of a left side

    def free_letters(self, entry: Entry, known: Collection[str]) -> set[str]:
        """The letters of a left side that index it."""
        if len(entry.targets) != 1 or entry.is_function:
            return set()
        letters = {letter for letter in small_letters(entry.targets[0], self.above) if letter != self.reader.letter}
        letters -= summed_letters(entry.right)
        found = {letter for letter in letters if self.is_free(entry, letter, letters, known)}
        carried = {letter for _, indices in self.symbols(entry.right, letters) for letter in indices}
        return found | carried if found else found

    def is_free(self, entry: Entry, letter: str, letters: set[str], known: Collection[str]) -> bool:
        """Whether a letter of a left side is an index there."""
        bound = bound_letters(entry.right)
        found = [(one, set(indices)) for one, indices in self.symbols(entry.right, letters | bound)]
        carried = {one for one, indices in found if letter in indices}
        summed = {one for one, indices in found if indices & bound}
        timed = {one for one in carried if self.times[one]}
        at_brackets = {*letters_at_brackets(entry.right), *letters_at_brackets(entry.right, above=True)}
        if letter in bound | at_brackets or carried & summed or (letter in known and timed):
            return True
        left, _ = self.split(entry.targets[0], letters)
        one = self.symbol(left)
        alike = all(one in carried | summed for one, _ in found if self.times[one])
        elsewhere = (self.plain & {one, *carried}) | (self.targets & carried)
        return bool(timed) and alike and one not in self.targets and bool(elsewhere)

    # ---- symbols and their indices

    def symbol(self, node: Node) -> Symbol | None:
        one = self.reader.read(node)
        if one is None:
            return None
        self.times[one.symbol] = self.times.get(one.symbol, False) or one.time is not None
        return one.symbol

    def symbols(self, node: Node, letters: Collection[str]) -> Iterator[tuple[Symbol, tuple[str, ...]]]:
        """The symbols of a formula without these letters, each with those that it carries."""
        if take_apart(node) is not None and not self.reader.is_exponential(node):
            inner, indices = self.split(node, letters)
            one = self.symbol(inner)
            if one is not None:
                yield one, indices
                return
        for child in children(node):
            yield from self.symbols(child, letters)

    def split(self, node: Node, letters: Collection[str]) -> tuple[Node, tuple[str, ...]]:
        """(a symbol, or a bracket, without the indices that are these letters; the indices, in order)."""
        match node:
            case Decorated() | Bracket(opener="{", parts=(_,)):
                body, indices = self.split(children(node)[0], letters)
                return (with_parts(node, lambda _: body), indices) if indices else (node, ())
            case Scripted():
                body, inner = self.split(node.body, letters) if take_apart(node.body) else (node.body, ())
                below = [self.split_script(script, letters) for script in node.sub]
                above = [self.split_script(script, self.above & set(letters)) for script in node.sup]
                indices = (*inner, *[letter for _, found in (*below, *above) for letter in found])
                if not indices:
                    return node, ()
                sub, sup = (tuple(script for script, _ in side if script is not None) for side in (below, above))
                return (Scripted(body, sub, sup, node.span) if sub or sup else body), indices
        return node, ()

    def split_script(self, script: Node, letters: Collection[str]) -> tuple[Node | None, tuple[str, ...]]:
        """(what of a script is no index; the indices). A run of letters is taken apart where a time or nothing is left of it."""
        match script:
            case Letter() if script.name in letters and not script.glyph:
                return None, (script.name,)
            case Chain():
                rest = [item for item in script.items if not (isinstance(item, Letter) and item.name in letters)]
                if len(rest) > 1 or (rest and self.reader.time(rest[0]) is None):
                    return script, ()
                found = tuple(item.name for item in script.items if isinstance(item, Letter) and item.name in letters)
                return (rest[0] if rest else None), found
            case Bracket(opener="{"):
                split = [self.split_script(part, letters) for part in script.parts]
                parts = tuple(part for part, _ in split if part is not None)
                found = tuple(letter for _, indices in split for letter in indices)
                return (replace(script, parts=parts) if parts else None), found
        return script, ()

    # ---- formulas

    def read(self, node: Node, letters: set[str], free: set[str]) -> Node:
        """The formula with components and sizes as nodes; letters: those that index here, free: those of the left side."""
        if isinstance(node, Reduced):
            if node.without:
                raise limits(self.source, (node.span[0], node.body.span[0]))
            above = Dimension(self.size(node.above), node.above.span) if node.above is not None else None
            return replace(node, above=above, body=self.read(node.body, letters | set(node.indices), free))
        if isinstance(node, Cut):
            return replace(node, body=self.read(node.body, letters, free))
        if isinstance(node, Bracket) and counted(node) is not None and size_name(node) in self.sets:
            return Dimension(self.size(node), node.span)
        if isinstance(node, Chain):
            return self.chain(node, letters, free)
        if take_apart(node) is None or self.reader.is_exponential(node):
            return self.formula(node, letters, free)
        inner, indices = self.split(node, letters)
        if not indices:
            self.refuse_above(node, letters)
            self.refuse_runs(node, letters)
            return self.sized(node)
        one = self.symbol(inner)
        if one is not None:
            self.uses.setdefault(one, []).append((node, indices, set(indices) <= free))
        return lifted(Component(inner, indices, node.span))

    def formula(self, node: Node, letters: set[str], free: set[str]) -> Node:
        """What is no symbol: its parts, and a component of a bracket, `(W x_t)_i`."""
        if isinstance(node, Ratio):
            return replace(node, above=self.read(node.above, letters, free), below=self.divisor(node.below, letters, free))
        if isinstance(node, Signed):
            parts = zip(("", *node.signs), node.parts, strict=True)
            read = (self.divisor if sign == "divide" else self.read for sign, _ in parts)
            return replace(node, parts=tuple(one(part, letters, free) for one, part in zip(read, node.parts, strict=True)))
        if not isinstance(node, Scripted):
            return with_parts(node, lambda part: self.read(part, letters, free))
        inner, indices = self.split(node, letters)
        if not indices:
            return with_parts(node, lambda part: self.read(part, letters, free))
        return lifted(Component(with_parts(inner, lambda part: self.read(part, set(), set())), indices, node.span))

    def divisor(self, node: Node, letters: set[str], free: set[str]) -> Node:
        """What something is divided by: names of sizes in it are sizes."""
        before = self.sizes, self.dividing
        self.sizes, self.dividing = self.sizes | set(self.named), True
        try:
            return self.read(node, letters, free)
        finally:
            self.sizes, self.dividing = before

    def chain(self, node: Chain, letters: set[str], free: set[str]) -> Node:
        """Factors; `\\operatorname{softmax}(x_t)_i` is a component of the whole, not of what the function is applied to."""
        items: list[Node] = []
        for item in node.items:
            last = items[-1] if items else None
            function = isinstance(last, Letter) and last.is_function
            inner, indices = self.split(item, letters) if function and take_apart(item) is None else (item, ())
            if last is not None and indices:
                whole = Chain((last, self.read(inner, set(), set())), (last.span[0], inner.span[1]))
                items[-1] = lifted(Component(whole, indices, (last.span[0], item.span[1])))
            else:
                items.append(self.read(item, letters, free))
        self.refuse_factor(items)
        return items[0] if len(items) == 1 else replace(node, items=tuple(items))

    def refuse_factor(self, items: Sequence[Node]) -> None:
        """Raises PageError on `N x_t` where N is the limit of a sum: its size, or a matrix of that name."""
        size = next((one for one in items if isinstance(one, Dimension)), None)
        if size is not None and len(items) > 1 and not self.dividing:
            what = f"`{size.name}` is the size of what is summed, and stands as a factor: expected one or the other."
            raise self.source.error(
                size.span, what, "Give one of them another letter; a size is read where something is divided by it."
            )

    def sized(self, node: Node) -> Node:
        """A symbol, as a size where its name is one."""
        one = self.reader.read(node)
        if one is None or one.time is not None or one.symbol.name not in self.sizes:
            return node
        if one.symbol in self.targets and not self.times[one.symbol]:
            return node  # d of `d = ...`; beside `d_t = ...` the d of `\sqrt{d}` is the size
        size = Dimension(one.symbol.name, node.span)
        return size if one.power is None else Raised(size, Number(one.power, node.span), node.span)

    def size(self, node: Node) -> str:
        return size_name(node) or ""

    # ---- what may be meant otherwise

    def refuse_sizes_of_a_call(self, entries: Sequence[Entry]) -> None:
        """Raises PageError on `\\sum_{j=1}^{B}`, `x[0:T]`: the batch, or the steps, as the size of a vector."""
        for node in (node for entry in entries for node in walk(entry.right)):
            for name in [name for name in sizes_of(node) if name in OF_A_CALL]:
                written = self.source.written((node.span[0], node.body.span[0]) if isinstance(node, Reduced) else node.span)
                what = f"`{written}` counts to {name}, which is the number of {WHAT[name]}: expected the size of a vector."
                todo = "Give the size another letter. A formula is of one example: a loss over a batch is the sum of its examples' losses."
                raise self.source.error(node.span, what, todo)

    def refuse_above(self, node: Node, letters: Collection[str]) -> None:
        """Raises PageError on an index above, `x_t^{(j)}` in a sum over j: one of several vectors, or a component."""
        parts = take_apart(node)
        for above in parts.sups if parts else ():
            if any(isinstance(one, Letter) and one.name in letters for one in walk(above)):
                written, letter = self.source.written(node.span), spelled(strip(above)) or self.source.written(above.span)
                what = f"`{written}` carries the index `{letter}` above: expected a component, with its index below."
                raise self.source.error(node.span, what, "Sums over several vectors aren't read: write one term for each.")

    def refuse_runs(self, node: Node, letters: Collection[str]) -> None:
        """Raises PageError on `W_{ij}` in a sum over j where nothing binds i: a name, or a component with an index that is left open."""
        parts = take_apart(node)
        for run in (one for below in (parts.subs if parts else ()) for one in walk(below) if isinstance(one, Chain)):
            found = next((one.name for one in run.items if isinstance(one, Letter) and one.name in letters), None)
            if found is not None:
                written, run_text = self.source.written(node.span), self.source.written(run.span)
                what = f"`{written}` carries the index {found} in `{run_text}`: expected a component with all its indices bound, or a name."
                todo = (
                    "Write the other index at the left side too; a name and an index are told apart by a comma, as in `W_{x,j}`."
                )
                raise self.source.error(node.span, what, todo)

    def refuse_copies(self) -> None:
        """Raises PageError on `h_s` in `\\sum_s a_{t,s} h_s`, no time and one index that a sum binds: a component, or one of several
        vectors; unless a declaration, a left side's index or the symbol without an index says which."""
        for one, uses in self.uses.items():
            self.refuse_missing_times(one, [node for node, *_ in uses])
            alone = all(len(indices) == 1 and not free for _, indices, free in uses)
            if self.times[one] or not alone or one in self.plain | self.targets or one.name in self.declared:
                continue
            node, indices, _ = uses[0]
            written, letter = self.source.written(node.span), indices[0]
            what = f"`{written}` can be read in two ways: expected to know whether it is a component of a vector, or one of several values."
            todo = f'Say --let "{one.name}=vector" for a component'
            todo += f', --let "{one.name}=example vector" for that of an input, one an example' if self.reader.letter else ""
            todo += f"; a sum over several values is written out, one term for each {letter}."
            raise self.source.error(node.span, what, todo)

    def refuse_missing_times(self, one: Symbol, nodes: Sequence[Node]) -> None:
        """Raises PageError on `h_j` beside `h_t`: one of all steps, as in attention, or a component of this one."""
        found = [self.reader.read(self.split(node, self.letters)[0]) for node in nodes]
        for node, read in zip(nodes, found, strict=True):
            if self.reader.letter is not None and self.times[one] and read is not None and read.time is None:
                written, name = self.source.written(node.span), one.name
                what = f"`{written}` carries an index and no time, and {name} has one elsewhere: expected both."
                t = self.reader.letter
                todo = f"Write `{name}_{{{t},j}}` for a component of this step, `\\sum_{t} {name}_{t}` for a sum over all steps; "
                todo += "two steps of one quantity at once aren't read."
                raise self.source.error(node.span, what, todo)

    def refuse_unbound(self, entry: Entry) -> None:
        """Raises PageError where what has components elsewhere carries such a letter, and nothing binds it; so where what has a time
        carries one that a sum of the same formula binds, `\\sum_i x_{t,i} + y_{t,i}`."""
        bound = bound_letters(entry.right)
        for node in (*entry.targets, entry.right):
            for one in outside(node):
                inner, indices = self.split(one, self.letters)
                symbol = self.symbol(inner) if indices else None
                beside = symbol is not None and node is entry.right and self.times[symbol] and not bound.isdisjoint(indices)
                if symbol in self.uses or beside:
                    written = self.source.written(one.span)
                    what = f"`{written}` carries the index {indices[0]}, which no sum binds and no left side has: expected one of both."
                    todo = f"Write {indices[0]} at the left side too, or put what a sum is taken over into brackets."
                    raise self.source.error(one.span, what, todo)


def without_indices(source: Source, reader: Reader, entries: Sequence[Entry]) -> list[Entry]:
    """The equations with components as nodes, where they can be told; as they are where not, which is said when they are read."""
    try:
        return Components(source, reader, entries, ()).entries
    except PageError:
        return list(entries)


def arguments(left: Node) -> Iterator[str]:
    """The a of `f(a) = ...`."""
    bracket = left.items[-1] if isinstance(left, Chain) else None
    yield from (part.name for part in (bracket.parts if isinstance(bracket, Bracket) else ()) if isinstance(part, Letter))


def bound_letters(node: Node) -> set[str]:
    """The letters that reductions bind in a formula."""
    return {letter for one in walk(node) if isinstance(one, Reduced) for letter in one.indices}


def summed_letters(node: Node) -> set[str]:
    """Those of which nothing is left: all but the letter of a softmax."""
    return {letter for one in walk(node) if isinstance(one, Reduced) and "softmax" not in one.name for letter in one.indices}


def letters_at_brackets(node: Node, above: bool = False) -> Iterator[str]:
    """The letters right below, or right above, brackets that hold formulas: `[W x]_j`, `(W x)^j`."""
    for one in walk(node):
        if isinstance(one, Scripted) and isinstance(one.body, Bracket) and take_apart(one) is None:
            scripts = (strip(script) for script in (one.sup if above else one.sub))
            yield from (script.name for script in scripts if isinstance(script, Letter) and is_small(script))


def is_small(node: Letter) -> bool:
    return len(node.name) == 1 and node.name.islower() and not node.glyph


def small_letters(node: Node, above: Collection[str]) -> set[str]:
    """Single Latin letters in lower case in the indices below a symbol, and some of those above."""
    parts = take_apart(node)
    inside = {
        one.name for script in (parts.subs if parts else ()) for one in walk(script) if isinstance(one, Letter) and is_small(one)
    }
    raised = {one.name for one in map(strip, parts.sups if parts else ()) if isinstance(one, Letter)}
    return inside | (raised & set(above))


def lifted(node: Component) -> Node:
    """`x_{t,j}^2` is the square of a component."""
    if isinstance(node.body, Scripted):
        powers = [above for above in node.body.sup if exponent(above) is not None]
        if powers:
            sup = tuple(above for above in node.body.sup if above not in powers)
            body = Scripted(node.body.body, node.body.sub, sup, node.body.span) if sup or node.body.sub else node.body.body
            return Raised(replace(node, body=body), powers[0], node.span)
    return node


def outside(node: Node) -> Iterator[Node]:
    """The symbols of a formula that are no components."""
    if isinstance(node, Component):
        return
    if take_apart(node) is not None:
        yield node
        return
    for child in children(node):
        yield from outside(child)
