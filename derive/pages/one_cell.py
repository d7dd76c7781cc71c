"""The cell that some equations of a page make: symbols named, meanings told, kinds inferred, open questions asked, shapes given."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from derive.cell import Cell, CellError
from derive.functions import CHOSEN
from derive.language import LanguageError
from derive.pages.alphabet import NORMALISED, function_name
from derive.pages.build import Builder, read_names
from derive.pages.calls import refuse_capitals
from derive.pages.columns import Columns, without_names_of_diagonals
from derive.pages.contraction import Contraction
from derive.pages.core import Call, Const, Core, Definition, Ref, Several, every, parts_of, refs
from derive.pages.cuts import refuse_sizes_of_nothing, settle_cuts
from derive.pages.declarations import OUTPUT, TOKENS, Declared, plain_name
from derive.pages.doubts import (
    refuse_both_ways,
    refuse_calls,
    refuse_capitals_beside_rows,
    refuse_functions_of_matrices,
    refuse_identity,
    refuse_inner_products,
    refuse_matrices_of_steps,
    refuse_ones_in_products,
    refuse_open_capitals,
    refuse_series_of_matrices,
    refuse_signed_numbers,
    refuse_sums_of_inner_products,
    refuse_tensors,
    with_identities,
)
from derive.pages.errors import PageError, Source
from derive.pages.fed import settled_by_what_feeds
from derive.pages.inputs import inputs_of, notes_on_inputs, operands, refuse_inputs_without_a_step
from derive.pages.kinds import Kinds
from derive.pages.layers import layers_of, refuse_layers, refuse_two_counters, share_sizes
from derive.pages.left import definitions_of
from derive.pages.lengths import refuse_lengths
from derive.pages.losses import notes_on_targets, refuse_targets
from derive.pages.lying import Along, axes_said
from derive.pages.marks import notes_on_fonts, refuse_operations
from derive.pages.meaning import Macro, Meaning
from derive.pages.names import Entry, Names
from derive.pages.numbers import without_numbers
from derive.pages.ones import refuse_ones
from derive.pages.open_symbols import refuse_open_symbols
from derive.pages.prepared import Prepared, prepared
from derive.pages.questions import tried
from derive.pages.reading import Reading, reading_of, written_in_letters
from derive.pages.reductions import over_steps
from derive.pages.settling import finish
from derive.pages.shapes import Shapes
from derive.pages.starts import Start, refuse_starts
from derive.pages.symbols import Reader, take_apart, walk
from derive.pages.tree import Bracket, Chain, Letter, Node, Signed
from derive.pages.turned import refuse_idle_transpositions, refuse_two_meanings
from derive.pages.vocabulary import of_one_size, refuse_numbers
from derive.shapes import EXAMPLES, STEPS_AND_EXAMPLES

EXAMPLES_ALONE = (EXAMPLES,)


@dataclass(frozen=True)
class PageCell:
    """One cell of a page: its heading, the cell, how it was read."""

    heading: str
    cell: Cell
    reading: Reading


def one_cell(source: Source, title: str, entries: list[Entry], known: Declared, naming: tuple[str, str]) -> PageCell:
    """The cell that some equations make. Raises PageError; one that asks what a symbol is offers what can be read."""
    try:
        return told(source, title, entries, known, naming)
    except PageError as error:

        def read(name: str, kind: str) -> object:
            kinds = known.kinds | {plain_name(name): kind}
            return told(source, title, entries, replace(known, kinds=kinds, used=set()), naming)

        raise tried(error, read) from None


def told(source: Source, title: str, entries: list[Entry], known: Declared, naming: tuple[str, str]) -> PageCell:
    """The cell that some equations make, as declarations say. Raises PageError."""
    ready = prepared(source, entries, known)
    known = with_tokens(known, ready.tokens)
    names, macros = named(source, entries, ready, known)
    signs = frozenset(sign for tree in ready.printed for node in walk(tree) if isinstance(node, Signed) for sign in node.signs)
    contraction, definitions = meant(names, macros, ready, signs)
    timed = {one.symbol.name for one in (*names.defined.values(), *names.reads) if names.is_timed(one.symbol.name)}
    timed |= {*names.carried, *names.later}
    refuse_ones(names, definitions)
    definitions = without_declared_numbers(names, definitions, timed)
    refuse_starts(source, ready.starts, definitions)
    ties = [Definition(one.name, Ref(one.state, 0, one.span), one.span) for one in ready.starts]
    ties += ties_of_later(names, definitions)
    definitions, kinds = told_apart(names, definitions, ties, contraction, timed)
    inputs = judged(names, definitions, kinds, contraction, timed, signs)
    shapes, definitions = sized(names, definitions, ties, kinds, contraction)
    layers = layers_of(names)
    share_sizes(shapes, layers, [d.name for d in definitions], names.declared.dims)
    tokens = tokens_read(definitions, known, ready.tokens)
    refuse_numbers(source, definitions, tokens)
    of_one_size(shapes, tokens)
    shown = declared_outputs(source, definitions, known)
    states = ordered({node.name for d in definitions for node in refs(d.body) if node.lag}, definitions)
    given = {name: EXAMPLES_ALONE if name in known.examples else STEPS_AND_EXAMPLES for name in (*inputs, *tokens)}
    along = Along(axes_said(names), timed, known.has_one_letter)
    axes = along.of_names(definitions, given, states) | {one.name: EXAMPLES_ALONE for one in ready.starts}
    read_anywhere = {name for d in definitions for name in read_names(d.body)}
    outputs = [d.name for d in definitions if d.name in axes and d.name not in read_anywhere]
    own = [name for name in states if name not in names.carried]
    shapes.name_all(own, inputs, outputs, {*shapes.shapes}, tokens)
    builder = Builder(source, shapes, axes, along, tokens)
    cell = make(source, naming, builder, definitions, ready.starts)
    cell = replace(cell, words=written_in_letters(names), layers=layers, shown=shown)
    return PageCell(title, cell, reading_of(source, cell, names, shapes, kinds))


# ---- its stages, in order


def with_tokens(known: Declared, tokens: Mapping[str, str]) -> Declared:
    """The declarations with the tokens of other steps; what is declared is used where one of its steps is."""
    known.used |= set(tokens.values())
    return replace(known, kinds=known.kinds | dict.fromkeys(tokens, TOKENS))


def tokens_read(definitions: Sequence[Definition], known: Declared, steps: Mapping[str, str]) -> dict[str, str]:
    """The tokens that definitions read, each with the one that is declared. steps: of those of other steps."""
    read = dict.fromkeys(ref.name for one in definitions for ref in refs(one.body))
    return {name: steps.get(name, name) for name in read if known.kinds.get(name) == TOKENS}


def declared_outputs(source: Source, definitions: Sequence[Definition], known: Declared) -> frozenset[str]:
    """The names that are declared to be outputs. Raises PageError on one that nothing defines."""
    shown = frozenset(name for name, kind in known.kinds.items() if kind == OUTPUT)
    read = {ref.name: ref for one in definitions for ref in refs(one.body)}
    for name in sorted(shown - {one.name for one in definitions}):
        if name in read:
            what = f"`{source.written(read[name].span)}` is declared as an output, and nothing defines it: expected an equation."
            raise source.error(read[name].span, what, "Write its equation, or take the declaration back.")
    return shown


def named(source: Source, entries: Sequence[Entry], ready: Prepared, known: Declared) -> tuple[Names, dict[str, Macro]]:
    """(the symbols, the functions that the page defines). Raises PageError on symbols of two counters, two layers or an operation."""
    macros, aliases = functions_of(ready.functions)
    known = replace(known, functions=aliases | known.functions)
    names = Names(source, ready.reader, ready.forward, known, set(macros))
    names.notes |= dict.fromkeys([*known.notes, *ready.notes, *notes_on_members(source, ready.forward)])
    if known.time is None:
        refuse_two_counters(source, ready.reader, ready.printed)
    read_often = Counter(one.symbol.name for one in names.reads)
    refuse_capitals(source, [entry.right for entry in ready.forward], read_often, known.kinds)
    refuse_layers(names)
    refuse_operations(names)
    names.notes |= dict.fromkeys(notes_on_fonts(names, ready.printed))
    known.used |= {one.symbol.name for one in (*names.defined.values(), *names.reads, *names.functions)}
    known.used |= {node.name for entry in entries for node in walk(entry.right) if isinstance(node, Letter)}
    return names, macros


def notes_on_members(source: Source, entries: Sequence[Entry]) -> Iterator[str]:
    """`a = b = c`: the last member is read."""
    for entry in entries:
        if entry.line.again is not None:
            yield f"`{source.written(entry.line.again)[:60]}` is said again behind it: of an equation of several members the last is read"


def meant(names: Names, macros: dict[str, Macro], ready: Prepared, signs: frozenset[str]) -> tuple[Contraction, list[Definition]]:
    """(what sums over components came to, what each equation says). signs: of the operations that the page writes."""
    meaning = Meaning(names, macros, signs)
    contraction = Contraction(
        names.source, [definition for entry in ready.forward for definition in definitions_of(meaning, entry)]
    )
    meaning.calls = {name: (span, contraction.formula(inside)[0]) for name, (span, inside) in meaning.calls.items()}
    definitions = with_carried(contraction.definitions, names)
    refuse_calls(names.source, meaning, definitions)
    return contraction, definitions


def ties_of_later(names: Names, definitions: Sequence[Definition]) -> list[Definition]:
    """That an input of a later step is what that of this step is, where both are read."""
    read = {ref.name for one in definitions for ref in refs(one.body)}
    later = [(name, one) for name, one in names.later.items() if name in read and one.symbol.name in read]
    return [Definition(name, Ref(one.symbol.name, 0, one.span), one.span) for name, one in later]


def without_declared_numbers(names: Names, definitions: list[Definition], timed: set[str]) -> list[Definition]:
    """The definitions with what is a given number put in where it is read; notes on those, and on functions of several forms."""
    definitions, numbers = without_numbers(names.source, definitions, timed)
    names.notes |= dict.fromkeys(f"{name} is the number {number}" for name, number in numbers.items())
    called = [name for definition in definitions for one in every(definition.body) for name in functions_in(one)]
    names.notes |= dict.fromkeys(note for name in called if (note := CHOSEN.get(name) or NORMALISED.get(name)))
    return without_names_of_diagonals(definitions)


def told_apart(
    names: Names, definitions: list[Definition], ties: Sequence[Definition], contraction: Contraction, timed: set[str]
) -> tuple[list[Definition], Kinds]:
    """(the definitions with identities where a sum of matrices needs them, what is a number, a vector, a matrix). ties: that what a
    recurrence starts with is what its state is, and an input of a later step what that of this step is."""
    said = said_kinds(names, contraction)
    try:
        kinds = settled_by_what_feeds(names.source, [*definitions, *ties], timed, said)
    except PageError:
        refuse_capitals_beside_rows(names, definitions)
        raise
    with_units = with_identities(names, definitions, kinds)
    if with_units != definitions:
        definitions, kinds = with_units, settled_by_what_feeds(names.source, [*with_units, *ties], timed, said)
    return definitions, kinds


def said_kinds(names: Names, contraction: Contraction) -> dict[str, str]:
    """What components and declarations say of symbols."""
    return contraction.kinds | names.declared.shapes_said


def judged(
    names: Names, definitions: list[Definition], kinds: Kinds, contraction: Contraction, timed: set[str], signs: frozenset[str]
) -> list[str]:
    """The inputs. Raises PageError on whatever can be read in two ways, or in none."""
    source, letter, known = names.source, names.reader.letter, names.declared
    settled_otherwise = {*known.dims, *contraction.kinds}
    if letter is not None:
        refuse_open_symbols(names, definitions, kinds, frozenset(settled_otherwise))
        refuse_targets(names, definitions, kinds)
        names.notes |= dict.fromkeys(notes_on_targets(names, definitions))
    refuse_identity(names, definitions)
    refuse_tensors(names, kinds, signs)
    contraction.require_numbers(kinds)
    finish(kinds)
    inputs = inputs_of(definitions, timed, kinds, known, letter)
    refuse_inputs_without_a_step(names, inputs)
    if letter is None:
        refuse_open_symbols(names, definitions, kinds, frozenset({*settled_otherwise, *inputs}))
    refuse_functions_of_matrices(names, definitions, inputs)
    refuse_series_of_matrices(names, kinds)
    refuse_ones_in_products(names, kinds)
    refuse_inner_products(names, kinds)
    refuse_sums_of_inner_products(names, kinds)
    refuse_both_ways(source, definitions, kinds)
    refuse_signed_numbers(names, kinds)
    refuse_capitals_beside_rows(names, definitions, kinds)
    refuse_open_capitals(names, kinds)
    refuse_lengths(source, definitions, kinds, timed, said_kinds(names, contraction))
    refuse_matrices_of_steps(names, definitions, kinds, timed - {d.name for d in definitions})
    multiplied = {name for d in definitions for name in operands(d.body, kinds)}
    names.notes |= dict.fromkeys(notes_on_inputs(names, kinds, inputs, multiplied))
    refuse_shapeless(source, definitions, inputs, names)
    refuse_two_meanings(source, names)
    names.notes |= dict.fromkeys(refuse_idle_transpositions(source, definitions, kinds))
    refuse_circle(source, definitions)
    return inputs


def sized(
    names: Names, definitions: list[Definition], ties: Sequence[Definition], kinds: Kinds, contraction: Contraction
) -> tuple[Shapes, list[Definition]]:
    """(the most general shapes, the definitions of columns)."""
    columns = Columns(kinds)
    definitions = columns.definitions()
    shapes = Shapes(names.source, kinds, definitions, names.declared.dims)
    contraction.unify(shapes, columns)
    settle_cuts(shapes, definitions)
    refuse_sizes_of_nothing(shapes, definitions)
    return shapes, definitions[: len(definitions) - len(ties)]


def with_carried(definitions: list[Definition], names: Names) -> list[Definition]:
    """The definitions with the states that carry older values, each behind what it delays."""
    found = list(definitions)
    for name, one in names.carried.items():
        at = next((at for at, other in enumerate(found) if other.name == one.name), len(found) - 1)
        found.insert(at + 1, Definition(name, Ref(one.name, one.lag, one.span), one.span))
    return found


def at_this_step(node: Core) -> Iterator[Ref]:
    """What a formula reads, but for that of which it needs all steps."""
    if isinstance(node, Ref):
        yield node
    for part in parts_of(node) if not (isinstance(node, Call) and over_steps(node.function)) else ():
        yield from at_this_step(part)


def functions_in(node: Core) -> Iterator[str]:
    """The function that a node is, of one thing, or a power of a quantity by a quantity."""
    if isinstance(node, Call) or (isinstance(node, Several) and not isinstance(node.parts[0], Const)):
        yield node.function


def make(
    source: Source, naming: tuple[str, str], builder: Builder, definitions: Sequence[Definition], starts: Sequence[Start]
) -> Cell:
    given = tuple((builder.value(one.state, one.lag), builder.value(one.name)) for one in starts)
    try:
        return Cell.from_equations(*naming, [builder.equation(definition) for definition in definitions], given)
    except (CellError, LanguageError) as error:
        blamed = [one.span for one in definitions if one.name == error.about]
        if blamed:
            what, _, todo = str(error).partition(". ")
            raise source.error(blamed[0], f"{what}.", todo) from None
        raise PageError(f"{source.where(definitions[0].span[0])}: {error}") from None


def functions_of(entries: Sequence[Entry]) -> tuple[dict[str, Macro], dict[str, str]]:
    """The functions that the page defines: `f(a) = ...` and `f = \\tanh`."""
    macros: dict[str, Macro] = {}
    aliases: dict[str, str] = {}
    for entry in entries:
        left = entry.targets[0]
        if not entry.is_function:
            continue
        if isinstance(left, Chain):
            name, bracket = left.items
            parameter = bracket.parts[0] if isinstance(bracket, Bracket) else name
            function = take_apart(name)
            assert function is not None
            assert isinstance(parameter, Letter)
            macros[spelled_name(name)] = Macro(function.letter, parameter.name, entry.right)
        elif isinstance(entry.right, Letter):
            aliases[spelled_name(left)] = function_name(entry.right.name) or entry.right.name
    return macros, aliases


def spelled_name(node: Node) -> str:
    """The name of a function's symbol, which carries no time."""
    one = Reader(None).read(node)
    return one.symbol.name if one else ""


def ordered(names: set[str], definitions: Sequence[Definition]) -> list[str]:
    """Names in the order in which the equations read them."""
    return list(dict.fromkeys(ref.name for d in definitions for ref in refs(d.body) if ref.name in names))


# ---- refusals that need the whole cell


def refuse_shapeless(source: Source, definitions: Sequence[Definition], inputs: Sequence[str], names: Names) -> None:
    if not inputs:
        what = "a page without inputs has no steps: expected a symbol that is read at this step and never defined, such as `x_t`."
        raise source.error(definitions[0].span, what, 'Write the input with a time index, or say which it is: --let "x=input".')


def refuse_circle(source: Source, definitions: Sequence[Definition]) -> None:
    """Raises PageError where definitions need each other at the same step."""
    waiting = {d.name: {ref.name for ref in at_this_step(d.body) if ref.lag == 0} for d in definitions}
    while True:
        needed = {name for needs in waiting.values() for name in needs}
        ready = [name for name, needs in waiting.items() if not needs & set(waiting) or name not in needed]
        if not ready:
            break
        for name in ready:
            del waiting[name]
    if waiting:
        first = next(d for d in definitions if d.name in waiting)
        what = f"circular definition: {', '.join(waiting)} need each other at the same step: expected an order."
        raise source.error(first.span, what, "Read one of them at the step before.")
