"""Tokens on a page: inputs that `w = tokens` declares, whole numbers that pick a column or an element.

`E_{w_t}`, `E[w_t]`, `\\operatorname{Embed}(w_t)` and `\\hat{y}_{t, w_{t+1}}` become nodes of their own; where a token is read one step
later or earlier it is an input of its own, `w_next`, `w_prev`. In formulas a token is the vector that is 1 at its element, so that
`E w_t` and `y_t^\\top \\log \\hat{y}_t` are the products that they look like; anywhere else it is refused.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from fractions import Fraction

from derive.pages.core import Call, Core, Definition, Elementwise, MatMul, Ref, Turned, parts_of
from derive.pages.errors import PageError, Source, Span
from derive.pages.names import MOST_STEPS_BACK, Entry
from derive.pages.primes import changed
from derive.pages.shapes import Shapes
from derive.pages.symbols import Occurrence, Reader, children, spelled, strip, take_apart, walk
from derive.pages.times import parts_of_index
from derive.pages.tree import Bracket, Chain, Letter, Node, Number, Picked, Reduced, Scripted, with_parts

EMBEDDINGS = ("embed", "embedding", "emb")
"""Words for the function that takes a token to its column of E."""
COLUMN = "onehot"
"""The word for the vector that is 1 at a token's element, which the token itself stands for in formulas."""
MATRIX = "E"
"""The matrix of `Embed`."""
OTHER_STEPS = ("prev", "next")
"""Behind the name of a token that is read at an earlier, or a later step; how many steps, where they are several, behind that."""


class Vocabulary:
    """The tokens of one cell in its equations. Raises PageError on tokens that are defined, or read at steps that can't be told.

    examples: those of which there is one an example; others: names of which something else is declared. names: of the tokens, those of
    other steps too, each with the one that is declared.
    """

    def __init__(
        self, source: Source, reader: Reader, entries: Sequence[Entry], declared: Collection[str], examples: Collection[str] = (),
        others: Collection[str] = (),
    ) -> None:  # fmt: skip
        self.others = frozenset(others) - frozenset(declared)
        self.source, self.reader, self.declared, self.examples = source, reader, frozenset(declared), frozenset(examples)
        self.names: dict[str, str] = {}
        self.notes: dict[str, None] = {}
        self.entries = list(entries)
        if not self.declared:
            return
        trees = [node for entry in entries for node in walk(entry.right)]
        self.bound = {letter for node in trees if isinstance(node, Reduced) for letter in node.indices}
        self.indices_of: dict[str, set[str]] = {}
        for node in trees:
            parts = take_apart(node) if isinstance(node, Scripted) else None
            for script in parts.subs if parts is not None and not parts.sups else ():
                word = spelled(script)
                if word and self.reader.time(script) is None:
                    self.indices_of.setdefault(parts.letter.name, set()).add(word)  # type: ignore[union-attr]
        self.refuse_defined()
        self.refuse_steps()
        self.entries = [changed(entry, self.read) for entry in entries]

    # ---- which steps

    def tokens(self, node: Node) -> Iterator[tuple[Node, Occurrence]]:
        """The tokens in a formula, those in scripts too."""
        found = self.token(node)
        if found is not None:
            yield node, found
            return
        named, symbol = self.is_one_of_several(node), self.is_symbol(node)
        alone = [part for script in take_apart(node).subs for part in parts_of_index(script)] if symbol else []  # type: ignore[union-attr]
        for part in self.inside(node):
            for place, one in self.tokens(part):
                may_pick = not named and (not symbol or any(place is index for index in alone))  # the x of `W^{hx}` is a name
                yield from [(place, one)] if may_pick or self.is_picking(one) else []

    def inside(self, node: Node) -> Sequence[Node]:
        """What may hold tokens: the parts of a formula, the scripts of a symbol."""
        parts = take_apart(node) if self.is_symbol(node) else None
        return children(node) if parts is None else (*parts.subs, *parts.sups)

    def is_symbol(self, node: Node) -> bool:
        return not is_function(node) and take_apart(node) is not None and self.reader.read(node) is not None

    def token(self, node: Node) -> Occurrence | None:
        """The token that a node is, also a component of it, `y_{t,j}` in a sum over j."""
        plain = strip(node) if isinstance(node, Bracket) and node.opener in "{(" else node
        one = self.reader.read(plain) if self.is_symbol(plain) else None
        if one is None:
            return None
        symbol = replace(one.symbol, subs=tuple(sub for sub in one.symbol.subs if sub not in self.bound))
        return replace(one, symbol=symbol) if symbol.name in self.declared else None

    def refuse_defined(self) -> None:
        for entry in self.entries:
            for target in entry.targets:
                one = self.reader.read(target)
                if one is not None and one.symbol.name in self.declared:
                    what = f"`{self.source.written(target.span)}` is declared as tokens and defined here: expected an input."
                    raise self.source.error(target.span, what, "Take the declaration back, or give one of the two another name.")

    def refuse_steps(self) -> None:
        """Raises PageError on a token without a step, far from this one, or at several steps of a page that defines the next one."""
        lefts = [self.reader.read(target) for entry in self.entries for target in entry.targets]
        shifted = any(one is not None and (one.time or 0) > 0 for one in lefts)
        found = [one for entry in self.entries for _, one in self.tokens(entry.right)]
        for one in [one for one in found if self.is_of_example(one)]:
            if one.time is not None:
                written = self.source.written(one.span)
                what = f"the token `{written}` carries a step and is declared as one an example: expected none."
                raise self.source.error(one.span, what, "Leave the index of time out, or the word `example`.")
            found.remove(one)
        for one in found:
            written = self.source.written(one.span)
            if one.time is None and self.reader.letter is not None:
                raise self.without_step(one)
            if one.time is not None and abs(one.time) > MOST_STEPS_BACK:
                what = f"the token `{written}` lies {abs(one.time)} steps away: expected at most {MOST_STEPS_BACK}."
                raise self.source.error(one.span, what, "Each of them would be an input: give the model fewer.")
        other = next((one for one in found if one.time is not None and one.time != found[0].time), None)
        if shifted and other is not None:
            pair = " and ".join(f"`{self.source.written(one.span)}`" for one in (other, found[0]))
            what = f"{pair} are two steps of tokens on a page that defines the next step: expected one."
            todo = "Write this step on the left sides; then a token of another step is an input of its own."
            raise self.source.error(other.span, what, todo, (found[0].span, "the other:"))
        self.moves = not shifted

    def without_step(self, one: Occurrence) -> PageError:
        """The error for a token without a step, `E w`, and for `u_w`, which may be a symbol of its own."""
        written = self.source.written(one.span)
        what = f"the token `{written}` carries no step: expected one, as in `{written}_{self.reader.letter}`."
        todo = "Write the index of time at it."
        trees = (node for entry in self.entries for node in walk(entry.right))
        around = next((node for node in trees if self.is_symbol(node) and is_within(one.span, node.span)), None)
        found = self.reader.read(around) if around is not None else None
        if found is not None and found.symbol.name not in self.declared:
            name, kind = found.symbol.name, "matrix" if found.symbol.base.isupper() else "vector"
            todo += f' If {name} is a symbol of its own, say --let "{name}={kind}".'
        return self.source.error(one.span, what, todo)

    def is_picking(self, one: Occurrence) -> bool:
        """Whether a token among the indices of a symbol picks something, as it does with its step."""
        return self.reader.letter is None or one.time is not None or self.is_of_example(one)

    def is_one_of_several(self, node: Node) -> bool:
        """Whether a symbol stands beside others of its letter that are told apart by an index, in `W_x` beside `W_h` the x is a name, or is
        declared as a whole, `u_w = vector`."""
        parts = take_apart(node) if self.is_symbol(node) else None
        one = self.reader.read(node) if parts is not None else None
        said = one is not None and one.symbol.name in self.others
        return parts is not None and (said or len(self.indices_of.get(parts.letter.name, ())) > 1)

    def is_of_example(self, one: Occurrence) -> bool:
        bound = tuple(sub for sub in one.symbol.subs if sub not in self.bound)
        return replace(one.symbol, subs=bound).name in self.examples

    # ---- formulas

    def read(self, node: Node) -> Node:
        """A formula with what tokens pick as nodes."""
        one = self.token(node)
        if one is not None:
            return self.named(node, one)
        match node:
            case Scripted() if (found := self.split(node)) is not None:
                body, token = found
                return Picked(self.read(body), self.read(token), node.span)
            case Chain():
                return self.chain(node)
        return node if self.is_symbol(node) else with_parts(node, self.read)

    def chain(self, node: Chain) -> Node:
        """`E[w_t]`, `\\operatorname{Embed}(w_t)`: a symbol and a token in brackets behind it."""
        items: list[Node] = []
        for item in node.items:
            picked = self.picked(items[-1], item) if items else None
            if picked is None:
                items.append(self.read(item))
            else:
                items[-1] = picked
        return items[0] if len(items) == 1 else Chain(tuple(items), node.span)

    def picked(self, before: Node, item: Node) -> Node | None:
        """What a token in a bracket, perhaps raised or transposed, picks of the symbol in front of it; None where none does."""
        inside, above = (item.body, item.sup) if isinstance(item, Scripted) and not item.sub else (item, ())
        if not (isinstance(inside, Bracket) and inside.opener in "[(" and len(inside.parts) == 1):
            return None
        token, span = inside.parts[0], (before.span[0], inside.span[1])
        if self.token(token) is None:
            return None
        found: Node
        if isinstance(before, Letter) and before.name == COLUMN:
            found = self.read(token)
        elif isinstance(before, Letter) and before.name.lower() in EMBEDDINGS:
            self.notes[f"the matrix of `{self.source.written(before.span)}` is {MATRIX}, a column for each token"] = None
            found = Picked(Letter(MATRIX, before.span), self.read(token), span)
        elif inside.opener == "[" and self.reader.read(before) is not None:
            found = Picked(before, self.read(token), span)
        else:
            return None
        return Scripted(found, (), above, (span[0], item.span[1])) if above else found

    def split(self, node: Scripted) -> tuple[Node, Node] | None:
        """(a symbol without the token among its indices, the token); None where there is none."""
        for script in node.sub:
            parts = script.parts if isinstance(script, Bracket) and script.opener == "{" else (script,)
            named = self.is_one_of_several(node)
            found = [(part, self.token(part)) for part in parts]
            token = next((part for part, one in found if one is not None and (not named or self.is_picking(one))), None)
            if token is None:
                continue
            left = tuple(part for part in parts if part is not token)
            scripts = tuple(one for one in node.sub if one is not script)
            sub = (*scripts, *([Bracket("{", left, script.span)] if left else []))
            body = Scripted(node.body, sub, node.sup, node.span) if sub or node.sup else node.body
            return body, token
        return None

    def named(self, node: Node, one: Occurrence) -> Node:
        """A token of this step as it stands, one of another step under a name of its own."""
        name = one.symbol.name
        if one.time and self.moves and self.reader.letter is not None:
            word, far = OTHER_STEPS[one.time > 0], abs(one.time)
            plain = strip(node) if isinstance(node, Bracket) else node
            assert isinstance(plain, Scripted)
            marks: list[Node] = [Letter(word, plain.span), *([Number(Fraction(far), plain.span)] if far > 1 else [])]
            above = [Bracket("(", (mark,), plain.span) for mark in marks]
            new = f"{name}_{word}" + f"_{far}" * (far > 1)
            self.names[new] = name
            self.notes[f"`{self.source.written(one.span)}` is a token of another step: an input of its own, {new}"] = None
            below, kept = ([self.at_this_step(script) for script in side] for side in (plain.sub, plain.sup))
            return Scripted(plain.body, tuple(below), (*kept, *above), plain.span)
        self.names[name] = name
        return node

    def at_this_step(self, script: Node) -> Node:
        """A script with this step in the place of another one."""
        if self.reader.time(script) is not None:
            return Letter(self.reader.letter or "", script.span)
        return with_parts(script, self.at_this_step) if isinstance(script, Bracket) else script


def is_within(inner: Span, outer: Span) -> bool:
    return outer[0] <= inner[0] and inner[1] <= outer[1] and inner != outer


def is_function(node: Node) -> bool:
    return isinstance(node, Letter) and node.is_function


# ---- what tokens are in formulas


def of_one_size(shapes: Shapes, tokens: Mapping[str, str]) -> None:
    """Make tokens of several steps those of one vocabulary."""
    for name, declared in tokens.items():
        first = next(other for other, one in tokens.items() if one == declared)
        shapes.same(shapes.shapes[first], shapes.shapes[name], shapes.places[first], shapes.places[name])


# ---- where a token stands as a number


def refuse_numbers(source: Source, definitions: Sequence[Definition], tokens: Collection[str]) -> None:
    """Raises PageError where a token neither is multiplied by a matrix, nor picks an element of a vector."""
    for definition in definitions if tokens else ():
        for ref in numbers_in(definition.body, tokens):
            written = source.written(ref.span)
            what = f"`{written}` is a token, a whole number that picks a column or an element, and stands here as a number: expected "
            what += "a product such as `E w_t`, an index, or an inner product with it."
            todo = f"Write what it picks from; for a vector or a number of each step take `{ref.name} = tokens` back."
            raise source.error(ref.span, what, todo)


def numbers_in(node: Core, tokens: Collection[str]) -> Iterator[Ref]:
    """The tokens in a formula, its products written out in columns, that stand otherwise than as columns."""
    if is_token(node, tokens):
        assert isinstance(node, Ref)
        yield node
        return
    parts = list(parts_of(node))
    if isinstance(node, MatMul):
        first, last = node.items[0], node.items[-1]
        parts = [part for part in parts if not (part is last and is_token(part, tokens))]
        parts = [part for part in parts if not (part is first and isinstance(part, Turned) and is_token(part.body, tokens))]
    elif isinstance(node, Call) and node.function == "sum" and isinstance(node.body, Elementwise):
        factors = [part for part in node.body.items if not is_token(part, tokens)]
        parts = factors if len(factors) == len(node.body.items) - 1 else [node.body]
    for part in parts:
        yield from numbers_in(part, tokens)


def is_token(node: Core, tokens: Collection[str]) -> bool:
    return isinstance(node, Ref) and node.name in tokens
