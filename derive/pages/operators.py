"""What an operator takes: `\\sum_j` the rest of its term, `\\max_j` a bracket or a symbol; and how its limits are written."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

from derive.pages.errors import PageError, Source, Span
from derive.pages.extents import counted
from derive.pages.symbols import Reader, children, shifted_letters, spelled, strip, walk
from derive.pages.tree import Bracket, Chain, Letter, Mark, Node, Number, Operator, Reduced, Scripted, Signed, Sum, with_parts

FORM = (
    r"Write the limits as `\sum_{j}` or `\sum_{j=1}^{H}`, with H the size of what is summed; over steps as `\sum_{t=1}^{T}`, "
    r"`\sum_{t=1}^{T-1}` or `\sum_{t=2}^{T}`."
)


def with_bodies(source: Source, node: Node) -> Node:
    """The tree with each operator and what it is applied to as one node. Raises PageError where that is nothing or can't be told."""
    match node:
        case Operator():
            raise unapplied(source, node)
        case Chain():
            return of_chain(source, node.items)
        case Signed():
            return of_signed(source, node)
    return with_parts(node, lambda part: with_bodies(source, part))


def of_chain(source: Source, items: Sequence[Node]) -> Node:
    """Factors side by side, from the first operator on."""
    at = next((at for at, item in enumerate(items) if isinstance(item, Operator)), None)
    if at is None:
        return chained([with_bodies(source, item) for item in items])
    operator, following = items[at], items[at + 1 :]
    assert isinstance(operator, Operator)
    if not following:
        raise unapplied(source, operator)
    before = [with_bodies(source, item) for item in items[:at]]
    if operator.name == "sum":
        return chained([*before, reduced(source, operator, of_chain(source, following))])
    refuse_open_end(source, operator, following)
    first = reduced(source, operator, with_bodies(source, following[0]))
    return chained([*before, first, *[with_bodies(source, item) for item in following[1:]]])


def of_signed(source: Source, node: Signed) -> Node:
    """Chains with written signs between them: a sum in one of them takes all that follows."""
    for at, part in enumerate(node.parts[:-1]):
        items = part.items if isinstance(part, Chain) else (part,)
        place = next((place for place, item in enumerate(items) if isinstance(item, Operator) and item.name == "sum"), None)
        if place is None:
            continue
        head, tail = items[: place + 1], [*([chained(items[place + 1 :])] if items[place + 1 :] else []), *node.parts[at + 1 :]]
        signs = node.signs[at:] if items[place + 1 :] else node.signs[at + 1 :]
        rest = tail[0] if len(tail) == 1 else Signed(tuple(tail), signs, (tail[0].span[0], node.span[1]))
        last = of_chain(source, (*head, rest))
        parts = (*[with_bodies(source, one) for one in node.parts[:at]], last)
        return last if len(parts) == 1 else Signed(parts, node.signs[:at], node.span)
    return with_parts(node, lambda part: with_bodies(source, part))


def chained(items: Sequence[Node]) -> Node:
    return items[0] if len(items) == 1 else Chain(tuple(items), (items[0].span[0], items[-1].span[1]))


def reduced(source: Source, operator: Operator, body: Node) -> Node:
    """An operator applied: its indices are letters, its limits all components there are."""
    below = [unprimed(node) or node for node in operator.below]
    for primed in filter(None, map(unprimed, operator.below)):
        body = without_primes(source, body, primed.name, operator)
    letters = [letter for node in below for letter in letters_of(node)]
    if not letters or None in letters:
        what = f"the limits of `{source.written(operator.span)}` aren't read: expected letters that index components."
        raise source.error(operator.span, what, FORM)
    above = operator.above
    if above is not None and strip(above) == Mark("T", strip(above).span):  # the raised T of `Σₜ₌₁ᵀ`
        above = Letter("T", above.span)
    start = spelled(operator.start) if operator.start is not None else "1"
    if start == "0" and above is not None:
        above = children(strip(above))[0] if is_less_one(above) else None
    without = "last" if start == "1" and above is not None and is_less_one(above) else "first" if start == "2" else ""
    if without and above is not None:
        start, above = "1", children(strip(above))[0] if without == "last" else above
    if (start not in ("0", "1") or (operator.start is not None and above is None)) or (above is not None and not is_size(above)):
        raise limits(source, operator.span)
    if above is not None and len(letters) > 1:
        what = f"`{source.written(operator.span)}` has one limit for several indices: expected one sum for each."
        raise source.error(operator.span, what, FORM)
    span = (operator.span[0], body.span[1])
    for letter in reversed(letters):
        body = Reduced(operator.name, (str(letter),), above, body, span, start == "0", without)
    return body


def limits(source: Source, span: Span) -> PageError:
    """The error for a sum that leaves something out: a question, since it can be written otherwise."""
    what = f"the limits of `{source.written(span)}` aren't read: expected a sum over all components, or over all steps but one."
    error = source.error(span, what, FORM)
    error.is_question = True
    return error


def unprimed(node: Node) -> Letter | None:
    """The s of `s'`; None for anything else."""
    body, marks = (node.body, node.sup) if isinstance(node, Scripted) and not node.sub else (node, ())
    primed = bool(marks) and all(isinstance(one, Mark) and one.name.startswith("prime") for one in marks)
    return body if primed and isinstance(body, Letter) and len(body.name) == 1 else None


def without_primes(source: Source, node: Node, letter: str, operator: Operator) -> Node:
    """What a sum over `s'` is taken of, with s for it. Raises PageError where it holds s too."""
    found = unprimed(node)
    if found is not None and found.name == letter:
        return replace(found, span=node.span)
    if isinstance(node, Letter) and node.name == letter:
        written = source.written(operator.span)
        what = f"`{written}` runs over {letter} beside another {letter}: expected one letter, read at one step at a time."
        raise source.error(node.span, what, "A value of two steps at once isn't read.", (operator.span, "the sum:"))
    return with_parts(node, lambda part: without_primes(source, part, letter, operator))


def letters_of(node: Node) -> list[str | None]:
    """The letters of `j` and of `ij`; None for anything else."""
    match node:
        case Letter() if len(node.name) == 1 and not node.is_function:
            return [node.name]
        case Chain():
            return [letter for item in node.items for letter in letters_of(item)]
    return [None]


def is_less_one(node: Node) -> bool:
    """`H - 1`, the last of components that are counted from 0."""
    inner = strip(node)
    one = inner.terms[-1] if isinstance(inner, Sum) and inner.factors == (1, -1) else None
    return isinstance(one, Number) and one.value == 1


def is_size(node: Node) -> bool:
    """Whether a limit is a symbol, whose name is that of a size."""
    node = counted(node) or node
    return not isinstance(node, Number) and Reader(None).read(node) is not None


def refuse_open_end(source: Source, operator: Operator, following: Sequence[Node]) -> None:
    """`\\max_j W x_t`: the largest of W, or of W x_t."""
    first = following[0].body if isinstance(following[0], Scripted) else following[0]
    if len(following) > 1 and not isinstance(first, Bracket):
        name, whole = source.written(operator.span), source.written((following[0].span[0], following[-1].span[1]))
        what = f"`{name} {whole}` can be read in two ways: expected brackets around what it is taken of."
        todo = f"Write `{name}({whole})`, or brackets around its first factor."
        raise source.error((operator.span[0], following[-1].span[1]), what, todo)


def unapplied(source: Source, operator: Operator) -> PageError:
    written = source.written(operator.span)
    return source.error(operator.span, f"`{written}` is applied to nothing: expected what it is taken over.", "Complete it.")


# ---- sums over something else


def refuse_other_sums(source: Source, tree: Node, times: Collection[str]) -> None:
    """Raises PageError where a sum runs over some steps: to this one, or its letter is counted from one, `\\sum_k w_k x_{t-k}`."""
    for node in walk(tree):
        if isinstance(node, Reduced):
            letter, above = node.indices[0], node.above
            last = {one.name for one in walk(above) if isinstance(one, Letter)} if above is not None else set()
            scripts = [script for one in walk(node.body) if isinstance(one, Scripted) for script in (*one.sub, *one.sup)]
            for script in scripts:
                refuse_joined(source, script, {letter}, times)
            counted = any(letter in shifted_letters(one) or is_counted(one, letter, times) for one in scripts)
            whole = above is not None and spelled(strip(above)) in {one.upper() for one in times}
            partial = bool(last & {*times, "T"}) and not whole
            if node.without and (node.name != "sum" or not (whole or letter in times)):
                raise limits(source, (node.span[0], node.body.span[0]))
            if partial or (counted and letter not in times) or (letter in times and not (whole or above is None)):
                raise over_steps(source, node)


def refuse_joined(source: Source, script: Node, letters: Collection[str], times: Collection[str]) -> None:
    """Raises PageError on `h_{jt-1}`, `h_{j(t-1)}`, `h_{(t-1)j}`: an index and a step that nothing sets apart."""
    inner, behind = strip(script), ""
    items = inner.items if isinstance(inner, Chain) else ()
    if (
        isinstance(inner, Sum)
        and len(inner.terms) == 2
        and isinstance(inner.terms[0], Chain)
        and isinstance(inner.terms[1], Number)
    ):
        items = inner.terms[0].items
        behind = source.written((items[-1].span[1], inner.span[1]))
    elif not shifted_letters(inner):
        return
    steps = [item for item in items if {spelled(item), *shifted_letters(item)} & {*times}]
    names = [item.name for item in items if isinstance(item, Letter) and item not in steps]
    if len(items) == 2 and len(steps) == len(names) == 1 and names[0] in letters:
        apart = ",".join(source.written(item.span).strip("()") for item in items) + behind
        written = source.written(script.span).strip("{}")
        what = f"the index `{written}` holds {names[0]} and a step, and nothing between them: expected a comma."
        raise source.error(script.span, what, f"Write `{apart}`.")


def is_counted(script: Node, letter: str, times: Collection[str]) -> bool:
    """`t - k`: a sum or a difference that holds a time and the letter."""
    for one in walk(script):
        names = {
            part.name for term in (one.terms if isinstance(one, Sum) else ()) for part in walk(term) if isinstance(part, Letter)
        }
        if letter in names and names & set(times):
            return True
    return False


def over_steps(source: Source, node: Reduced) -> PageError:
    written = source.written((node.span[0], node.body.span[0]))
    sign = "\\sum" if node.name == "sum" else node.name
    what = f"`{sign}` over steps, `{written}`, isn't read: expected a sum over components, or over all steps."
    todo = "Carry it in a state, `s_t = s_{t-1} + ...`; `<!-- derive: skip -->` in front of a loss passes it over."
    return source.error(node.span, what, todo)
