"""What a page may mean otherwise where it speaks of all steps together: refused, each with what to write."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import replace
from typing import Protocol

from derive.pages.counting import divisors, is_shared_out
from derive.pages.declarations import plain_name
from derive.pages.errors import Source
from derive.pages.names import Entry
from derive.pages.symbols import Occurrence, Reader, Symbol, children, spelled, take_apart, walk
from derive.pages.tree import AtEnd, Bracket, Letter, Node, Number, OverSteps, Reduced, Scripted, Sum


class Steps(Protocol):
    """What of the equations of a cell is known: see `steps.Steps`."""

    source: Source
    reader: Reader
    letter: str
    letters: dict[str, str]
    capitals: dict[str, str]
    declared: Collection[str]
    later: set[Symbol]
    defined: set[Symbol]
    starts: set[Symbol]
    counts: set[str]
    rights: list[Node]
    trees: list[Node]
    entries: list[Entry]
    is_several: bool
    has_one_letter: bool

    def end(self, node: Node) -> tuple[Node, str] | None: ...
    def indices(self, node: Node) -> Iterator[Node]: ...
    def at_this_step(self, node: Node, index: Node) -> Node: ...
    def along(self, one: Occurrence) -> tuple[str, ...]: ...
    def axes_of(self, node: Node) -> tuple[str, ...]: ...
    def is_timed(self, symbol: Symbol) -> bool: ...
    def is_at_time(self, node: Node, place: Node) -> bool: ...
    def is_timeless(self, node: Node) -> bool: ...
    def is_defined(self, node: Letter) -> bool: ...


def refuse_before(steps: Steps, entry: Entry) -> None:
    """Raises PageError on what an equation says of single steps: before anything of it is read."""
    for target in entry.targets:
        refuse_one_step(steps, entry, target)
        refuse_older_start(steps, target)
    for node in walk(entry.right):
        refuse_shifted(steps, node)
        refuse_end_of_another(steps, node)
    for node in symbols_in(entry.right):
        refuse_end_of_two(steps, node)
    timeless = all(steps.is_timeless(target) for target in entry.targets)
    for node in symbols_in(entry.right):
        if timeless or any(isinstance(place, Sum) and ends(steps, place) for place in steps.indices(node)):
            refuse_other_index(steps, entry, node)


def symbols_in(tree: Node) -> Iterator[Node]:
    return (node for node in walk(tree) if isinstance(node, Scripted) and take_apart(node) is not None)


def refuse_one_step(steps: Steps, entry: Entry, target: Node) -> None:
    """`h_1 = ...` beside `h_t = ...`: an equation of one step."""
    found = None if entry.is_start else steps.end(target)
    if found is not None:
        written, which = steps.source.written(target.span), "first" if found[1] == "first" else "last"
        what = f"`{written}` is the {which} value of what has a time elsewhere: expected an equation of every step."
        todo = "Say what a recurrence starts with as `h_0 = ...`; behind the last step, of one to the left, as `h_{T+1} = ...`."
        raise steps.source.error(target.span, what, todo)


def refuse_older_start(steps: Steps, target: Node) -> None:
    """`h_{-1} = ...`: steps counted from 0, or a start of what is delayed."""
    for place in steps.indices(target) if take_apart(target) is not None else ():
        negative = isinstance(place, Sum) and place.factors == (-1,) and isinstance(place.terms[0], Number)
        if negative and steps.is_at_time(target, place):
            written = steps.source.written(target.span)
            what = f"`{written}` lies before the step 0: expected steps that are counted from 1, with `h_0` in front of them."
            raise steps.source.error(
                target.span, what, "Write the start as `h_0 = ...`; an older one is an argument of the kernel."
            )


def refuse_shifted(steps: Steps, node: Node) -> None:
    """`h_T` and `\\sum_t` beside `h_{t+1} = ...`: which steps there are can be read in two ways."""
    made, which = steps.end(node) or (node, "")
    over = isinstance(node, Reduced) and node.indices[0] in steps.letters
    one = steps.reader.read(made) if which else None
    if (which and one is not None and steps.later) or (over and steps.later):
        written = steps.source.written((node.span[0], node.body.span[0]) if isinstance(node, Reduced) else node.span)
        what = f"`{written}` on a page that defines the next step can be counted from two steps: expected to know the first one."
        raise steps.source.error(node.span, what, f"Write this step on the left sides, `h_{steps.letter} = ...`.")


def refuse_end_of_another(steps: Steps, node: Node) -> None:
    """`h_T` beside `h_s`, whose last value is `h_S`."""
    if not steps.is_several or isinstance(node, Letter) or take_apart(node) is None:
        return
    before = steps.reader.read(node)
    for place in steps.indices(node) if before is not None and before.time is None else ():
        one = steps.reader.read(steps.at_this_step(node, place)) if spelled(place) in steps.capitals else None
        if one is None or not steps.is_timed(one.symbol) or before is None or before.symbol.name in steps.declared:
            continue
        if steps.capitals[spelled(place) or ""] not in steps.along(one):
            letters = [letter for letter, axis in steps.letters.items() if axis in steps.along(one)]
            written, right = steps.source.written(node.span), " or ".join(letter.upper() for letter in letters)
            what = (
                f"`{written}` ends along another axis than its quantity, which lies along {', '.join(letters)}: expected {right}."
            )
            raise steps.source.error(node.span, what, "Correct the index.")


def refuse_end_of_two(steps: Steps, node: Node) -> None:
    """`e_{t,S}` beside `e_{t,s} = ...`: the last value along one of two axes, or a symbol of its own."""
    one = steps.reader.read(node) if take_apart(node) is not None else None
    if one is None or one.time is None or one.symbol in steps.defined or one.symbol.name in steps.declared:
        return
    for place in steps.indices(node):
        capital = spelled(place) or ""
        whole = replace(one, symbol=replace(one.symbol, subs=tuple(sub for sub in one.symbol.subs if sub != capital)))
        if whole.symbol in steps.defined and steps.capitals.get(capital) in steps.along(whole):
            written = steps.source.written(node.span)
            what = f"`{written}` is the last value along one of two axes, or a symbol of its own: expected one of the two."
            todo = f'A value along two axes is read as a sum over one of them; for a symbol of its own say --let "{one.symbol.name}=input".'
            raise steps.source.error(node.span, what, todo)


def refuse_other_index(steps: Steps, entry: Entry, node: Node) -> None:
    """`d_0 = h_N`, `h_n`, `h_{T_x}`, `x_0` of what has a time elsewhere: neither its last value nor its first, or a name."""
    one = steps.reader.read(node)
    if one is None or one.time is not None or one.symbol.name in steps.declared or steps.end(node) is not None:
        return
    places = list(steps.indices(node))
    place = places[0] if len(places) == 1 else None
    letter = isinstance(place, Letter) and len(place.name) == 1 and (place.name.isupper() or entry.is_start)
    odd = isinstance(place, (Scripted, Number, Sum)) or letter
    if place is None or not odd or one.symbol in steps.defined or not steps.is_at_time(node, place):
        return
    if isinstance(place, Number) and (place.value == 1 or one.symbol in steps.starts):
        return
    written, letters = steps.source.written(node.span), " or ".join(f"_{capital}" for capital in steps.capitals)
    what = f"`{written}` is at no known step of what has a time elsewhere: expected its last value, {letters}, or its first, _1."
    todo = f'Write one of these; --let "{one.symbol.name}=vector" makes it a parameter of its own.'
    raise steps.source.error(node.span, what, todo)


def refuse_from_zero(steps: Steps, node: Reduced) -> None:
    """`\\sum_{t=0}^{T-1}` beside `h_0 = ...` or `h_T`: all steps, or those from the start on. Raises PageError."""
    if node.from_zero and (steps.starts or any(steps.end(one) for tree in steps.trees for one in walk(tree))):
        written = steps.source.written((node.span[0], node.body.span[0]))
        what = (
            f"`{written}` is counted from 0, and the page has a value of step 0, or of the last one: expected steps from 1 to T."
        )
        raise steps.source.error(
            node.span, what, "Write the sum from 1 to T, and what is special at an end as a term of its own."
        )


def refuse_without(steps: Steps, node: Reduced) -> None:
    """`\\sum_{t=1}^{T-1}` of what varies along another axis too, or where the page counts steps from 0 elsewhere. Raises PageError."""
    if not node.without:
        return
    written, axis = steps.source.written((node.span[0], node.body.span[0])), steps.letters[node.indices[0]]
    if any(one.from_zero for tree in steps.trees for one in walk(tree) if isinstance(one, Reduced)):
        what = f"`{written}` leaves one step out on a page that counts steps from 0 elsewhere: expected steps from 1 to T."
        raise steps.source.error(node.span, what, "Count all sums from 1.")
    if any(set(steps.axes_of(one)) - {axis} for one in walk(node.body)):
        what = f"`{written}` leaves one step out of what varies along another axis too: expected a sum over all its steps."
        raise steps.source.error(node.span, what, "Put what is left out to 0 by a factor that is given, `m_s`.")


def refuse_defined_by(steps: Steps, letter: str, node: Reduced) -> None:
    """`\\alpha_k = ...` beside `\\sum_{k=1}^{T} \\alpha_k`: an equation of every step in a letter that is no time. Raises PageError."""
    for target in (target for entry in steps.entries for target in entry.targets):
        places = list(steps.indices(target)) if take_apart(target) is not None else []
        if len(places) == 1 and spelled(places[0]) == letter:
            written = steps.source.written(target.span)
            what = (
                f"`{written}` is defined by the letter {letter}, which a sum over steps binds elsewhere: expected {steps.letter}."
            )
            raise steps.source.error(target.span, what, f"Write its equation with {steps.letter}.", (node.span, "the sum:"))


def ends(steps: Steps, place: Sum) -> bool:
    """`S-1`."""
    return any(isinstance(one, Letter) and one.name in steps.capitals for one in place.terms)


def refuse_behind(steps: Steps, entry: Entry, right: Node) -> None:
    """`J = \\sum_t a_t + b_t`, `z_t = d_t + h_s`: what varies along steps that the left side hasn't. Raises PageError."""
    free = {axis for node in outside(right) for axis in steps.axes_of(node)}
    taken = {node.axis for node in walk(right) if isinstance(node, OverSteps) and node.name != "softmax"}
    if any(take_apart(target) is None for target in entry.targets):
        return  # no symbol, which is said when names are read
    targets = [steps.axes_of(target) for target in entry.targets]
    for node in outside(right):
        for axis in steps.axes_of(node):
            beside_a_sum = any(not own for own in targets) and axis in taken
            of_two = len(free) > 1 and any(axis not in own for own in targets)
            if beside_a_sum or of_two:
                written, left = steps.source.written(node.span), steps.source.written(entry.targets[0].span)
                what = (
                    f"`{written}` differs from step to step outside of a sum, and `{left}` doesn't: expected brackets, or a sum."
                )
                todo = "Put all that a sum is taken over into brackets."
                if of_two and not beside_a_sum:
                    todo = "Take its last value, as `h_S`, or a sum over its steps, as `\\sum_s a_{t,s} h_s`."
                    one = steps.reader.read(node)
                    if one is not None and one.symbol not in steps.defined:
                        todo += (
                            f' A parameter carries no letter of time: rename it, or say --let "{plain_name(written)}=parameter".'
                        )
                error = steps.source.error(node.span, what, todo)
                error.is_question = True
                raise error


def outside(node: Node) -> Iterator[Node]:
    """The symbols of a formula that no operation on all steps holds."""
    if isinstance(node, AtEnd) or (isinstance(node, OverSteps) and node.name != "softmax"):
        return
    if isinstance(node, (Scripted, Letter)) and take_apart(node) is not None:
        yield node
        return
    for part in children(node):
        yield from outside(part)


def letters_in(node: Node) -> Iterator[Letter]:
    """The letters of a formula that stand alone, not those in indices."""
    if isinstance(node, Letter):
        yield node
    for part in (node.body,) if isinstance(node, Scripted) else children(node):
        yield from letters_in(part) if not (isinstance(node, Scripted) and isinstance(part, Letter) and node.sub) else ()


def refuse_divisors(steps: Steps, entry: Entry) -> None:
    """Raises PageError on a divisor that may be a number of steps, or a quantity of that letter."""
    refuse_temperature(steps, entry)
    refuse_other_length(steps, entry)


def refuse_temperature(steps: Steps, entry: Entry) -> None:
    """`\\operatorname{softmax}(V h_t / T)` beside `\\sum_{t=1}^{T}`: divided by the number of steps, or by a quantity of that letter."""
    over = any(isinstance(node, Reduced) and node.indices[0] in steps.letters for node in walk(entry.right))
    if over or all(steps.is_timeless(target) for target in entry.targets):
        return
    for node in (letter for one in walk(entry.right) for part in divisors(one) for letter in letters_in(part)):
        if node.name in steps.counts and node.name not in steps.declared and not steps.is_defined(node):
            written, left = steps.source.written(node.span), steps.source.written(entry.targets[0].span)
            what = f"`{written}` is how many steps there are, and stands in the equation of `{left}`, which holds at each step: expected "
            what += "the number of steps, or a quantity of its own, such as a temperature, not both in one letter."
            todo = rf"Give a quantity of its own another letter; for the number of steps write `\sum_{{{steps.letter}}} 1`."
            raise steps.source.error(node.span, what, todo)


def refuse_other_length(steps: Steps, entry: Entry) -> None:
    """`\\frac{1}{T} \\sum_s h_s`, where the steps of s are S: the mean, or divided by a quantity of that letter. Raises PageError."""
    for node in walk(entry.right):
        letters = {one.indices[0] for one in walk(node) if isinstance(one, Reduced)} & steps.letters.keys()
        for one in letters_in(node) if len(letters) == 1 else ():
            (letter,) = letters
            other = one.name in {"T", *steps.capitals} - {letter.upper(), *steps.counts, *steps.declared}
            if other and not steps.is_defined(one) and is_shared_out(node, one.name):
                written = steps.source.written(node.span)[:80]
                what = f"`{one.name}` in `{written}` can be read in two ways: expected the number of steps of {letter}, or a quantity."
                todo = rf"For the mean write `\frac{{1}}{{{letter.upper()}}} \sum_{letter}`; "
                raise steps.source.error(one.span, what, f'{todo}for a quantity of its own say --let "{one.name}=number".')


def refuse_length_inside(steps: Steps, node: Reduced) -> None:
    """`\\sum_t x_t / T` on a page that counts to no T elsewhere: the mean, or a quantity of that letter. Raises PageError."""
    letter = node.indices[0]
    for one in (found for part in walk(node.body) for below in divisors(part) for found in letters_in(below)):
        said = one.name in steps.counts or one.name in steps.declared or steps.is_defined(one)
        if one.name == letter.upper() and not said:
            written = steps.source.written((node.span[0], one.span[1]))
            what = f"`{one.name}` in `{written[:80]}` can be read in two ways: expected the number of steps, or a quantity of its own."
            todo = rf"For the number of steps write `\frac{{1}}{{{one.name}}} \sum_{letter}`, or `\sum_{{{letter}=1}}^{{{one.name}}}`; "
            raise steps.source.error(one.span, what, f'{todo}for a quantity of its own say --let "{one.name}=number".')


def refuse_power(steps: Steps, node: Reduced) -> None:
    """`\\sum_t \\gamma^t r_t`: what nothing defines, with the step above, beside what has it below: a power, or a value of each step.
    Raises PageError."""
    letter, found = node.indices[0], [one for one in walk(node.body) if isinstance(one, Scripted)]
    if not any(spelled(below) == letter for one in found for below in one.sub):
        return
    for one in (one for one in found if not one.sub and len(one.sup) == 1 and spelled(one.sup[0]) == letter):
        parts, plain = take_apart(one), not isinstance(one.sup[0], Bracket) or one.sup[0].opener == "{"
        name = parts.letter.name if parts is not None and plain else ""
        if name and name not in steps.declared and name not in {symbol.base for symbol in steps.defined}:
            written = steps.source.written(one.span)
            what = f"`{written}` can be read in two ways: a power of the step, or {name} at this step."
            todo = f"Write a power as a state, `g_{letter} = ... g_{{{letter}-1}}`; an input of each step is said by "
            raise steps.source.error(one.span, what, f'{todo}--let "{name}=input".')


def refuse_lengths(steps: Steps) -> None:
    """A capital that counts steps and is a quantity, a declared number, or that of an axis that a declaration adds. Raises PageError."""
    for capital in steps.counts:
        for tree in steps.rights:
            for node in letters_in(tree):
                if node.name != capital:
                    continue
                written = steps.source.written(node.span)
                what = f"`{written}` is how many steps there are, and something else: expected one of the two."
                if steps.is_defined(node) or capital in steps.declared:
                    raise steps.source.error(node.span, what, "Give the other one another letter, or take its declaration back.")
                if steps.has_one_letter:
                    what = f"`{written}` may be the number of steps of any axis: expected a letter of time for each."
                    raise steps.source.error(node.span, what, f"Write `\\operatorname{{mean}}_{steps.letter}` for a mean.")
