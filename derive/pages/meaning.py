"""Trees -> core: brackets, functions and numbers resolved, each symbol by its name and step. Nothing here depends on what a name is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction

from derive.pages.alphabet import function_name
from derive.pages.brackets import bracket, column, is_bracketed, scripted
from derive.pages.calls import (
    OF_SEVERAL,
    applied,
    refuse_bare_argument,
    refuse_inverse,
    refuse_marks,
    refuse_numbers_behind,
    refuse_other_form,
    refuse_word,
    unknown,
)
from derive.pages.core import Add, Call, Concat, Const, Core, Inner, Product, Ref, Taken, Turned, Unit, parts_of, refs
from derive.pages.errors import PageError, Span
from derive.pages.forms import blocks_behind, blocks_of, indexed, raised, sliced, squared, times_blocks
from derive.pages.hints import no_exponent
from derive.pages.names import Names
from derive.pages.numbers import checked, folded, is_zero, power
from derive.pages.products import product_sign, refuse_circled_plus, refuse_divided_dot, refuse_divided_product
from derive.pages.stacks import cells_of, grid_of
from derive.pages.symbols import exponent, is_positive_part, is_transposition, take_apart, walk
from derive.pages.tree import (
    AtEnd,
    Bracket,
    Chain,
    Component,
    Cut,
    Decorated,
    Dimension,
    Grid,
    Length,
    Letter,
    Node,
    Number,
    OverSteps,
    Picked,
    Raised,
    Ratio,
    Reduced,
    Root,
    Scripted,
    Signed,
    Sum,
)

MOST_PARTS = 400
"""Symbols and signs of a formula that the page's own functions make."""


@dataclass(frozen=True)
class Macro:
    """A function that the page defines: `f(a) = body`; `letter` is the f."""

    letter: Letter
    parameter: str
    body: Node


@dataclass
class Meaning:
    """Resolves the formulas of one cell.

    bound: what a macro's parameter stands for. calls: undefined symbols in front of a round bracket, which may be functions that
    nobody has declared; plain: undefined symbols anywhere else. signs: the signs of products that the cell is printed with.
    """

    names: Names
    macros: dict[str, Macro]
    signs: frozenset[str] = frozenset()
    bound: dict[str, Core] = field(default_factory=dict)
    calls: dict[str, tuple[Span, Core]] = field(default_factory=dict)
    plain: set[str] = field(default_factory=set)
    depth: int = 0
    sizes: dict[Core, int] = field(default_factory=dict)

    def error(self, node: Node | Core, what: str, todo: str) -> PageError:
        return self.names.source.error(node.span, what, todo)

    def written(self, node: Node) -> str:
        return self.names.source.written(node.span)

    # ---- formulas

    def resolve(self, node: Node, argument: bool = False) -> Core:
        """The meaning of a formula; `argument`: it stands inside a function that is known."""
        self.depth += 1
        if self.depth > 400:
            raise self.error(node, "the formula nests too deep.", "Give its inner part an equation of its own.")
        try:
            return checked(self.names.source, self.resolved(node, argument))
        finally:
            self.depth -= 1

    def resolved(self, node: Node, argument: bool) -> Core:
        if self.names.reader.is_exponential(node):
            assert isinstance(node, Scripted)
            return Call("exp", self.resolve(node.sup[0]), node.span)
        if self.function_of(node) or (isinstance(node, Letter) and node.is_function):
            raise self.no_argument(node)
        occurrence = self.names.reader.read(node)
        if occurrence is not None:
            return self.symbol(node)
        match node:
            case Number():
                return Const(node.value, node.span)
            case Bracket():
                return bracket(self.names, node, argument, self.resolve)
            case Grid():
                return Concat(tuple(self.resolve(cell) for cell in cells_of(column(self.names, node))), node.span)
            case Component() | Reduced() | Raised() | Dimension() | Cut() | OverSteps() | AtEnd() | Length():
                return indexed(self.names.source, node, lambda part: self.resolve(part, argument))
            case Picked():
                return self.picked(node)
            case Chain():
                return self.chain(node, argument)
            case Signed():
                return self.signed(node, argument)
            case Sum():
                refuse_circled_plus(self.names, node)
                return folded(Add(tuple(self.resolve(term, argument) for term in node.terms), node.factors, node.span))
            case Ratio():
                return self.quotient(self.resolve(node.above, argument), self.resolve(node.below, argument), node.span)
            case Root():
                return self.power(self.resolve(node.body, argument), Fraction(1, 2), node.span)
            case Decorated() if node.font:
                return self.resolve(node.body, argument)
            case Scripted():
                body = self.resolve(node.body, argument)
                return scripted(self.names, node, body, lambda core, above: self.raised(core, above, node.span))
        what = f"`{self.written(node)}` isn't read here: expected a symbol, a number, a function or a bracket."
        raise self.error(node, what, "Give what it stands for a symbol of its own.")

    def picked(self, node: Picked) -> Core:
        """An element of a quantity of each step or of a vector, a column of a matrix of parameters."""
        body, token = self.resolve(node.body), self.resolve(node.token)
        timed = any(self.names.is_timed(one.name) for one in refs(body))
        small = isinstance(body, Ref) and body.name[0].islower()
        is_vector = isinstance(body, Ref) and self.names.declared.kinds.get(body.name) == "vector"
        is_element = timed or small or is_vector or (isinstance(body, Ref) and body.name in self.targets)
        return Inner(token, body, node.span) if is_element else Taken((body, token), node.span)

    def symbol(self, node: Node) -> Core:
        """A symbol, raised or transposed where it is so written."""
        one = self.names.reader.read(node)
        assert one is not None
        name = self.names.settle(one).symbol.name
        core: Core
        if isinstance(node, Scripted):
            self.refuse_bound_exponent(node)
        if name in self.bound and one.time is None:
            core = self.bound[name]
        elif one.time is None and name in self.names.declared.numbers:
            core = Const(self.names.declared.numbers[name], node.span)
        elif one.time is None and self.names.declared.kinds.get(name) == "identity":
            core = Unit(node.span)
        else:
            core = Ref(*self.names.value(one), node.span)
            self.plain.add(core.name)
        core = Turned(core, node.span) if one.transposed else core
        return core if one.power is None else self.power(core, one.power, node.span)

    def refuse_bound_exponent(self, node: Scripted) -> None:
        """`b^{a}` with a the argument of the function that is being read is a power, no name."""
        for above in node.sup if self.bound else ():
            if any(isinstance(one, Letter) and one.name in self.bound for one in walk(above)):
                raise no_exponent(self.names.source, above)

    def power(self, core: Core, exponent_: Fraction, span: Span) -> Core:
        return squared(core, exponent_) or power(self.names.source, core, exponent_, span)

    def raised(self, core: Core, above: Node, span: Span) -> Core:
        number = exponent(above)
        if is_transposition(above):
            return Turned(core, span)
        if number is not None:
            return self.power(core, number, span)
        if self.names.reader.time(above) == 0:
            return core
        return raised(self.names.source, core, self.resolve(above, argument=True), span)

    # ---- products and functions

    def chain(self, node: Chain, argument: bool) -> Core:
        """Things side by side: a function takes what follows it, a matrix of blocks its column."""
        refuse_numbers_behind(self.names.source, node.items)
        items: list[Core] = []
        at = 0
        while at < len(node.items):
            behind = self.behind(items[-1], node.items[at]) if items else None
            if behind is not None:
                items[-1], at = behind, at + 1
                continue
            item, at = self.with_blocks(node.items, at, argument) or self.item(node.items, at, argument)
            items.append(item)
        span = node.span
        return items[0] if len(items) == 1 else folded(Product(tuple(items), ("side",) * (len(items) - 1), span))

    def with_blocks(self, items: Sequence[Node], at: int, argument: bool) -> tuple[Core, int] | None:
        """(a matrix of blocks times the stack behind it, where the next factor begins); None where none stands here."""
        rows = blocks_of(self.names, items[at]) if at + 1 < len(items) else None
        if rows is None or self.function_of(items[at + 1]):
            return None
        stack, end = self.item(tuple(items), at + 1, argument)
        made = self.noted(items[at], times_blocks(self.names.source, rows, items[at], stack, self.resolve))
        return None if made is None else (made, end)

    def behind(self, stack: Core, node: Node) -> Core | None:
        """A row of vectors times a column of blocks; None where these are no such two."""
        rows = blocks_of(self.names, node)
        return None if rows is None else self.noted(node, blocks_behind(rows, node, stack, self.resolve))

    def noted(self, node: Node, made: Core | None) -> Core | None:
        if made is not None and not isinstance(node, Grid):
            self.names.notes[f"`{self.written(node)}` is read as a matrix of blocks"] = None
        return made

    def item(self, items: tuple[Node, ...], at: int, argument: bool) -> tuple[Core, int]:
        """(one factor, where the next begins)."""
        node = items[at]
        called = self.function_of(node)
        if called is None:
            return self.factor(items, at, argument), at + 1
        if at + 1 == len(items):
            raise self.no_argument(node)
        function, power = called
        following = items[at + 1]
        refuse_bare_argument(self.names.source, items[at:])
        behind = following if isinstance(following, (Cut, Raised)) and is_bracketed(following.body) else None
        following = behind.body if behind else following
        if self.function_of(following):
            body, end = self.item(items, at + 1, argument=True)
        else:
            body, end = self.argument(following, node), at + 2
        value = self.call(function, body, self.bracket_end(following)) if not isinstance(body, tuple) else body
        if isinstance(following, Scripted) and not self.names.reader.read(following):
            self.refuse_positive_call(node, following)
            for one in following.sup:
                value = self.raised(value, one, node.span)
        if isinstance(behind, Raised):
            value = raised(self.names.source, value, self.resolve(behind.exponent), behind.span, behind.elementwise)
        value = sliced(self.names.source, behind, value) if isinstance(behind, Cut) else value
        return (value if power is None else self.power(value, power, node.span)), end

    def refuse_positive_call(self, function: Node, following: Scripted) -> None:
        if is_positive_part(following):
            written = self.names.source.written((function.span[0], following.span[1]))
            what = f"`{written}` can be read in two ways: the positive part of the function, or of its argument."
            raise self.error(following, what, "Write [f(x)]_+, or f([x]_+).")

    def argument(self, node: Node, function: Node) -> Core:
        """What a function is applied to: the bracket that follows, or the next symbol."""
        inner = node.body if isinstance(node, Scripted) and not self.names.reader.read(node) else node
        if isinstance(inner, Bracket) and len(inner.parts) > 1:
            name = (self.function_of(function) or (Letter("", function.span), None))[0]
            if isinstance(name, Letter) and self.known_as(name.name) in OF_SEVERAL:
                return Concat(tuple(self.resolve(part, True) for part in inner.parts), inner.span)
            if inner.opener != "[":
                what = f"`{self.written(function)}` of {len(inner.parts)} things: expected one."
                raise self.error(inner, what, "Write the product or the sum that is meant; [a, b] for one above the other.")
        if isinstance(inner, Bracket) and len(inner.parts) == 1 and inner.opener != "|":
            inner = inner.parts[0]  # a function's own brackets say nothing of what stands in them
        return self.resolve(inner, argument=True)

    def known_as(self, name: str) -> str | None:
        """The function of the table that a word stands for, by declaration or by itself."""
        return function_name(self.names.declared.functions.get(name, name))

    def function_of(self, node: Node) -> tuple[Node, Fraction | None] | None:
        """(the function, the power that it is raised to) where a node is a function without its argument."""
        parts = take_apart(node)
        if parts is None:
            return None
        numbers = [number for sup in parts.sups if (number := exponent(sup)) is not None]
        if parts.letter.is_function:
            refuse_marks(self.names.source, node, parts)
            found: tuple[Node, Fraction | None] = (parts.letter, numbers[0] if numbers else None)
        else:
            one = self.names.reader.read(node)
            if one is None or not self.names.is_function(one) or one.symbol.name in self.bound:
                return None
            found = node, one.power
        refuse_inverse(self.names.source, node, found[1])
        return found

    def bracket_end(self, node: Node) -> int:
        """Where the argument's own brackets end, without a power behind them."""
        inner = node.body if isinstance(node, Scripted) and not self.names.reader.read(node) else node
        return inner.span[1]

    def call(self, function: Node, body: Core, end: int = 0) -> Core:
        """function(body). Raises PageError on a function that nobody knows."""
        span = (function.span[0], max(function.span[1], body.span[1], end))
        if isinstance(function, Letter) and function.is_function:
            name: str | None = self.names.declared.functions.get(function.name) or function_name(function.name)
            written = function.name
        else:
            one = self.names.reader.read(function)
            assert one is not None
            written = one.symbol.name
            name = self.names.declared.functions.get(written) or (
                None if written in self.macros else function_name(one.symbol.base)
            )
        if written in self.macros:
            refuse_other_form(self.names.source, function, self.macros[written].letter)
            return self.expanded(self.macros[written], body)
        name = self.names.declared.functions.get(
            name or "", name
        )  # `f = \\operatorname{LN}` on the page, and what LN is beside it
        if name is None or function_name(name) is None:
            raise self.unknown(function, name or written)
        return applied(self.names.source, name, body, span)

    def expanded(self, macro: Macro, body: Core) -> Core:
        """The page's own function, its parameter standing for the argument."""
        bound = self.bound | {macro.parameter: body}
        inner = Meaning(self.names, self.macros, self.signs, bound, self.calls, self.plain, self.depth + 20, self.sizes)
        found = inner.resolve(macro.body, argument=True)
        self.sizes.setdefault(found, self.size(found))
        if self.size(found) > MOST_PARTS or len(self.sizes) > MOST_PARTS:
            what = f"the page's functions of functions make a formula too long: expected at most {MOST_PARTS} symbols and signs."
            raise self.error(macro.letter, what, "Give intermediate results equations of their own.")
        return found

    def size(self, core: Core) -> int:
        """Symbols and signs of a formula, each as often as it is written."""
        if core not in self.sizes:
            self.sizes[core] = 1 + sum(self.size(part) for part in parts_of(core))
        return self.sizes[core]

    def unknown(self, node: Node, name: str) -> PageError:
        one = None if isinstance(node, Letter) and node.is_function else self.names.reader.read(node)
        return unknown(self.names.source, node.span, name, sure=one is None or one.symbol.name != name)

    def no_argument(self, node: Node) -> PageError:
        parts = take_apart(node)
        name = parts.letter.name if parts else self.written(node)
        if function_name(name) is None and name not in self.macros and name not in self.names.declared.functions:
            return self.unknown(node, name)
        return self.error(
            node, f"the function `{name}` has no argument: expected `{name}(...)`.", "Write its argument in brackets."
        )

    def factor(self, items: tuple[Node, ...], at: int, argument: bool) -> Core:
        """A factor that is no function; an undefined symbol in front of a round bracket is kept in mind."""
        node = items[at]
        following = items[at + 1] if at + 1 < len(items) else None
        one = self.names.reader.read(node)
        if one is None or one.time is not None or one.power is not None or one.transposed or following is None:
            return self.resolve(node, argument)
        known = {*self.names.declared.kinds, *self.names.declared.numbers, *self.bound} | self.targets
        refuse_word(self.names.source, node, one.symbol, following, known)
        if isinstance(following, Scripted) and self.names.reader.read(following) is None:
            following = following.body  # `\\phi(q_t)^\\top`
        if not (isinstance(following, Bracket) and following.opener == "(" and grid_of(following) is None):
            return self.resolve(node, argument)
        if argument and self.names.reader.read(following.parts[0]) is None:
            return self.resolve(node, argument)
        before = set(self.plain)
        core = self.resolve(node, argument)
        if isinstance(core, Ref) and core.name not in self.targets:
            self.plain.intersection_update(before)
            self.calls.setdefault(core.name, (node.span, self.resolve(following)))
        return core

    @property
    def targets(self) -> set[str]:
        return {symbol.name for symbol in self.names.defined}

    def signed(self, node: Signed, argument: bool) -> Core:
        """Chains with written signs between them; `/` divides by the one behind it."""
        items = [self.resolve(node.parts[0], argument)]
        signs: list[str] = []
        for sign, part in zip(node.signs, node.parts[1:], strict=True):
            value = self.resolve(part, argument)
            if sign == "divide":
                items[-1] = self.quotient(items[-1], value, (items[-1].span[0], part.span[1]))
                refuse_divided_product(self.names.source, node, part, value)
            else:
                signs.append(product_sign(self.names, self.signs, sign, (items[-1], value)))
                items.append(value)
        return items[0] if len(items) == 1 else folded(Product(tuple(items), tuple(signs), node.span))

    def quotient(self, above: Core, below: Core, span: Span) -> Core:
        if is_zero(below):
            raise self.names.source.error(below.span, "a division by zero.", "Check the denominator.")
        refuse_divided_dot(self.names, above)
        inverse = self.power(below, Fraction(-1), below.span)
        if isinstance(above, Const) and above.value == 1:
            return inverse
        return folded(Product((above, inverse), ("side" if isinstance(inverse, Const) else "hadamard",), span))
