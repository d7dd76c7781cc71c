"""A function of the table and its argument; what is said of one that nobody knows, or that is written in a way that leaves it open."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from fractions import Fraction
from itertools import pairwise

from derive.functions import FUNCTIONS
from derive.letters import GREEK
from derive.pages.alphabet import SPECIAL, STEPS, function_name
from derive.pages.core import Add, Call, Concat, Const, Core, Product, Ref, Several
from derive.pages.errors import PageError, Source, Span
from derive.pages.numbers import called
from derive.pages.symbols import Parts, Reader, Symbol, exponent, take_apart, walk
from derive.pages.tree import Bracket, Chain, Component, Decorated, Letter, Mark, Node, Number, Picked, Raised, Scripted

KNOWN = ", ".join(sorted({*FUNCTIONS, *SPECIAL}))


OF_SEVERAL = ("max", "min", "concat", "clip", "layernorm", "rmsnorm", "split")
"""Functions that may be applied to several things."""


def applied(source: Source, name: str, body: Core, span: Span) -> Core:
    """name(body), for a function that is known."""
    parts = body.parts if isinstance(body, Concat) else (body,)
    match name:
        case "max" | "min":
            return extreme(source, name, parts, span)
        case "clip":
            return clipped(source, parts, span)
        case "layernorm" | "rmsnorm" if len(parts) > 1:
            return normalised(source, name, parts, span)
        case "split":
            what = f"`{source.written(span)[:80]}` gives several parts: expected as many symbols on the left side."
            raise source.error(span, what, "Write `a, b = \\operatorname{split}(...)`; one part alone is x[0:H].")
        case "log" if isinstance(body, Call) and body.function == "softmax":
            return Call("logsoftmax", body.body, span)
    return body if name == "concat" else called(source, name, body, span)


def extreme(source: Source, name: str, parts: Sequence[Core], span: Span) -> Core:
    """max(0, a) = relu(a); the larger or the smaller of two, element by element, the first of equals."""
    if len(parts) < 2:
        what = f"`{name}` of one thing: expected two, as in `\\max(0, x)`."
        raise source.error(span, what, f"Write both; over the components of a vector it is \\{name}_j x_j.")
    if len(parts) > 2:
        return extreme(source, name, (extreme(source, name, parts[:-1], span), parts[-1]), span)
    for one, other in (parts, parts[::-1]):
        if name == "max" and isinstance(one, Const) and one.value == 0:
            return Call("relu", other, span)
    return Several(name, tuple(parts), span)


def clipped(source: Source, parts: Sequence[Core], span: Span) -> Core:
    """clip(x, a, b): x held between a and b; x comes first at both ends, so that its slope is 1 there, at a = 0 too, where relu's is 0."""
    if len(parts) != 3:
        what = f"`{source.written(span)[:80]}` holds nothing between two values: expected three things, clip(x, a, b)."
        raise source.error(span, what, "Write the value, the least and the largest.")
    value, least, most = parts
    return Several("min", (Several("max", (value, least), span), most), span)


def normalised(source: Source, name: str, parts: Sequence[Core], span: Span) -> Core:
    """LN(x; g, b) = g ∘ LN(x) + b, with a learned gain and, for LN, an offset."""
    value, *learned = parts
    most = 2 if name == "layernorm" else 1
    if len(learned) > most or not all(isinstance(one, Ref) and one.lag == 0 for one in learned):
        what = (
            f"`{source.written(span)[:80]}` isn't read: expected a value, its gain{' and its offset' * (most > 1)}, as symbols."
        )
        raise source.error(span, what, "Write g \\odot \\operatorname{LN}(x) + b.")
    scaled = Product((learned[0], Call(name, value, span)), ("hadamard",), span)
    return scaled if len(learned) < 2 else Add((scaled, learned[1]), (1, 1), span)


def unknown(source: Source, span: Span, name: str, sure: bool = False) -> PageError:
    """sure: it is written as a function, and can be nothing else."""
    near = difflib.get_close_matches(name.lower(), [*FUNCTIONS, *SPECIAL], n=1)
    hint = f"Did you mean {near[0]}? " if near else ""
    what = f"unknown function `{name}`: expected one of {KNOWN}."
    return source.error(span, what, hint + sayings(name, sure))


def unknown_of_several(source: Source, span: Span, name: str, count: int) -> PageError:
    """For `\\mathrm{GRU}(x_t, h_{t-1})`: no function of the table takes several things, but those that have signs of their own."""
    what = f"unknown function `{name}` of {count} things: expected equations of products, sums and functions of one thing."
    todo = f'Write its equations out. --let "{name}=concat" reads it as [a; b], its arguments one above the other.'
    return source.error(span, what, todo)


def sayings(name: str, sure: bool = False) -> str:
    """What can be said of a name that may be a function: the forms, not a guess."""
    others = "" if sure else f'; --let "{name}=matrix"; or --let "{name}=0.5", a number'
    return (
        f'Say what it is: --let "{name}=F", F one of these functions{others}. '
        "A function of another form is written out, or defined on the page: `\\phi(a) = ...`."
    )


def refuse_word(source: Source, node: Node, symbol: Symbol, following: Node, known: Collection[str]) -> None:
    """`\\mathrm{Linear}(x)`, `\\sigma_g(x)`: a word, or a function's letter with an index, in front of a bracket is meant as a function,
    unless the page says what it is."""
    if symbol.name in known:
        return
    letter = symbol.base.lower() in GREEK and symbol.base in (symbol.base.lower(), symbol.base.capitalize())
    word = len(symbol.base) > 1 and not letter and symbol.base not in STEPS
    if not (isinstance(following, Bracket) and following.opener in "(["):
        if word and symbol.base[0].isupper() and not isinstance(following, Mark):
            raise word_or_matrix(source, node, symbol.name)
        return
    marked = symbol.subs or symbol.sups or symbol.decorations
    if marked and function_name(symbol.base) and following.opener == "(":
        name = symbol.name
        raise source.error(node.span, f"unknown function `{name}`: which one is it?", sayings(name))
    if word and len(following.parts) > 1:
        raise unknown_of_several(source, node.span, symbol.name, len(following.parts))
    if word:
        raise unknown(source, node.span, symbol.name)
    if symbol.font:
        written, name = source.written((node.span[0], following.span[1])), symbol.name
        what = f"`{written}` can be read in two ways: expected to know whether {name} is a function, an expectation, or a matrix."
        raise source.error(node.span, what, f'Say --let "{name}=tanh" for a function, --let "{name}=matrix" for a product.')


def word_or_matrix(source: Source, node: Node, name: str) -> PageError:
    """For `\\mathrm{FC} x`."""
    what = f"`{source.written(node.span)}` in front of a factor can be read in two ways: expected a function, or a matrix."
    todo = f'Say --let "{name}=matrix" for a matrix; put what a function is applied to into brackets.'
    return source.error(node.span, what, todo)


def refuse_capitals(source: Source, trees: Sequence[Node], counted: Mapping[str, int], known: Collection[str]) -> None:
    """`LN(...)` in bare letters: raises PageError where the letters are a function's name as well as symbols that are multiplied.

    counted: how often each symbol stands in the trees. A letter that stands elsewhere too is a symbol.
    """
    found = [run for tree in trees for node in walk(tree) if isinstance(node, Chain) for run in called_capitals(node)]
    within = Counter(name_of(letter) for run in found for letter in run)
    for run in found:
        letters = [name_of(letter) for letter in run]
        if not set(letters) & set(known) and any(counted.get(letter, 0) == within[letter] for letter in letters):
            place = run[0].span[0], run[-1].span[1]
            last = run[-1].body if isinstance(run[-1], Scripted) else run[-1]
            word, product = source.written(place), " ".join(letters)
            upright = f"\\mathrm{{{source.written((place[0], last.span[1]))}}}{source.written((last.span[1], place[1]))}"
            what = f"`{word}` in front of a bracket can be read in two ways: expected a function, or the product {product}."
            said = "; ".join(f"{letter}=matrix" for letter in dict.fromkeys(letters))
            raise source.error(place, what, f'Write `{upright}(...)` for a function; say --let "{said}" for the product.')


def called_capitals(node: Chain) -> Iterator[list[Node]]:
    """Capitals side by side, without a space between them, in front of a round or square bracket; the last may have an index."""
    for at, item in enumerate(node.items[1:], 1):
        if isinstance(item, Bracket) and item.opener in "([":
            run: list[Node] = []
            for letter in reversed(capitals(node.items[at - 1]) or node.items[:at]):
                plain = letter.body if isinstance(letter, Scripted) and not run else letter
                if not (is_capital(plain) and (not run or letter.span[1] == run[0].span[0])):
                    break
                run.insert(0, letter)
            if len(run) > 1:
                yield run


def capitals(node: Node) -> tuple[Node, ...]:
    """The letters in a font or in braces: `{\\rm LN}`."""
    if isinstance(node, Decorated) and node.font:
        return capitals(node.body)
    if isinstance(node, Bracket) and node.opener == "{" and len(node.parts) == 1:
        return capitals(node.parts[0])
    return node.items if isinstance(node, Chain) else ()


def name_of(node: Node) -> str:
    one = Reader(None).read(node)
    return one.symbol.name if one else ""


def is_capital(node: Node) -> bool:
    return isinstance(node, Letter) and len(node.name) == 1 and node.name.isupper()


def refuse_marks(source: Source, node: Node, parts: Parts) -> None:
    """`\\log_2`, `\\tanh'`, `\\exp^k`: an index, a prime or a name at a function makes another function of it."""
    marks = [*parts.subs, *[above for above in parts.sups if exponent(above) is None]]
    if not marks and not parts.decorations:
        return
    what = f"`{source.written(node.span)}` isn't read: expected the function {parts.letter.name} without an index or a mark."
    if parts.letter.name in ("layernorm", "rmsnorm"):
        todo = "Write its learned gain and offset out: `g \\odot \\operatorname{LN}(x) + b`, or `\\operatorname{LN}(x; g, b)`."
        raise source.error(node.span, what, todo)
    todo = (
        "A logarithm to another base is \\log divided by a number, the prime of a function its derivative, written out; "
        "an index that only says over what a function runs is left out, a function with a number of its own written out."
    )
    raise source.error(node.span, what, todo)


def refuse_inverse(source: Source, node: Node, power: Fraction | None) -> None:
    """`\\tanh^{-1}(x)`: one over tanh, or the function that undoes it."""
    if power is not None and power < 0:
        what = f"`{source.written(node.span)}` can be read in two ways: expected the inverse function, or one over the function."
        todo = "Write `1 / f(x)` for one over it; the inverse function is written by its own name, as \\arctan is, or by its formula."
        raise source.error(node.span, what, todo)


def refuse_numbers_behind(source: Source, items: Sequence[Node]) -> None:
    """`W1 x`: a whole number right behind a letter is an index that was left out, or a factor."""
    for letter, number in pairwise(items):
        parts = take_apart(letter) if isinstance(number, Number) else None
        if parts and not (parts.subs or parts.sups or parts.letter.is_function):
            name, digits = source.written(letter.span), source.written(number.span)
            if digits.isdigit():
                what = f"`{name}{digits}` can be read in two ways: expected a symbol with an index, or a product with a number."
                todo = f"Write `{name}_{digits}` for the symbol, `{digits} {name}` for the product."
                raise source.error((letter.span[0], number.span[1]), what, todo)


def refuse_bare_argument(source: Source, items: Sequence[Node]) -> None:
    """`\\tanh W x`: tanh of W or of W x; `\\sigma x`: the function of x, or a number times x."""
    function, argument, *more = items
    bare = argument.body if isinstance(argument, (Scripted, Component, Raised, Picked)) else argument
    bare = bare.body if isinstance(bare, (Scripted, Component)) else bare
    if not isinstance(bare, (Letter, Number)) or (isinstance(bare, Letter) and bare.is_function):
        return
    name, first = source.written(function.span), source.written(argument.span)
    if more:
        whole = source.written((argument.span[0], more[-1].span[1]))
        what = f"`{name} {whole}` can be read in two ways: expected brackets around what the function is applied to."
        raise source.error((function.span[0], more[-1].span[1]), what, f"Write `{name}({whole})` or `{name}({first}) ...`.")
    parts = take_apart(function)
    if parts and parts.letter.glyph:
        letter = parts.letter.name
        what = f"`{name} {first}` can be read in two ways: expected the function of `{first}`, or a number times it."
        todo = f'Write `{name}({first})` for the function; say --let "{letter}=0.1" for a number, or --let "{letter}=matrix".'
        raise source.error((function.span[0], argument.span[1]), what, todo)


def refuse_other_form(source: Source, function: Node, letter: Letter) -> None:
    """`\\varphi(x)` where the page defines `\\phi`."""
    parts = take_apart(function)
    if parts and parts.letter.glyph != letter.glyph:
        what = f"`{source.written(function.span)}` and `{source.written(letter.span)}` are two forms of one letter: expected one."
        todo = "Write one symbol in one way, or rename one of them."
        raise source.error(function.span, what, todo, (letter.span, "the other:"))
