"""What is given at each step: the inputs of a cell, and those that could have been meant as something else."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from derive.pages.core import Concat, Core, Definition, Product, Ref, Turned, parts_of, refs
from derive.pages.declarations import TOKENS, Declared
from derive.pages.kinds import Kinds, runs
from derive.pages.names import Names
from derive.pages.relations import MATRIX, NUMBER, VECTOR


def inputs_of(definitions: Sequence[Definition], timed: set[str], kinds: Kinds, known: Declared, letter: str | None) -> list[str]:
    """What is read with a time and never defined; on a page without a time letter, the vectors that matrices multiply and those stacked."""
    defined = {definition.name for definition in definitions}
    found = {name for name in timed if name not in defined} | {
        name for name, kind in known.kinds.items() if kind in ("input", TOKENS) or name in known.examples
    }
    if letter is None:
        found |= {name for definition in definitions for name in operands(definition.body, kinds) if name not in defined}
    said = {name for name, kind in known.kinds.items() if kind in ("parameter", NUMBER, VECTOR, MATRIX)} - known.examples
    found -= {name for name in said if not (name in timed and known.kinds[name] != "parameter")}
    return list(dict.fromkeys(ref.name for one in definitions for ref in refs(one.body) if ref.name in found))


def operands(node: Core, kinds: Kinds) -> set[str]:
    """Symbols that a matrix or a transposed vector multiplies, that are transposed themselves, or that stand in a stack."""
    found = {name for part in parts_of(node) for name in operands(part, kinds)}
    if isinstance(node, Concat) or (isinstance(node, Product) and "tensor" in node.signs and kinds.kind(node) == MATRIX):
        found |= {part.name for part in parts_of(node) if isinstance(part, Ref) and kinds.kind(part) == VECTOR}
    for run in runs(node) if isinstance(node, Product) else ():
        of = {part: kinds.kinds(part) for part in run if kinds.kind(part) != NUMBER}
        if len({frozenset(kind) for kind in of.values()}) > 1:
            plain = [part.body if isinstance(part, Turned) else part for part, kind in of.items() if kind != {MATRIX}]
            found |= {part.name for part in plain if isinstance(part, Ref)}
    return found


def refuse_inputs_without_a_step(names: Names, inputs: Sequence[str]) -> None:
    """`W x_{next} + V r`: raises PageError where one input says its step and another doesn't."""
    given = [one for one in names.reads if one.symbol not in names.defined]
    later = next((one for one in given if one.time is not None and one.time >= 0), None)
    if later is None or names.reader.letter is not None:
        return
    for one in given:
        name = one.symbol.name
        if one.time is None and name in inputs and name not in names.declared.kinds:
            what = (
                f"`{names.source.written(one.span)}` carries no step: expected one, as at `{names.source.written(later.span)}`."
            )
            todo = f'Say --let "{name}=input" for an input of the same step, --let "{name}=parameter", or mark its step.'
            raise names.source.error(one.span, what, todo, (later.span, "the other:"))


AT_EACH_STEP = {NUMBER: "one number", VECTOR: "one number a unit", MATRIX: "a matrix"}


def notes_on_inputs(names: Names, kinds: Kinds, inputs: Sequence[str], operands: set[str]) -> Iterator[str]:
    """`m_t \\odot h_{t-1}` beside `W x_t`: m is read as an input too, and could have been meant as a parameter or a number."""
    others = [name for name in inputs if name not in names.declared.kinds]
    if names.reader.letter is None:
        return
    for name in others:
        (kind,) = kinds.domains[name]
        if kind != VECTOR or (name not in operands and operands & set(inputs)):
            yield f"{name} is never defined and carries a time index: read as an input, {AT_EACH_STEP[kind]} at each step"
