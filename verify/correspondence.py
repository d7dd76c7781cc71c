"""Which arrays of a kernel are which symbols of a cell: by name, or as `--map` says (`verify.relations`).

Both sides of a relation are one array cut in two ways, so that data go from left to right and gradients, which are shaped alike, from
right to left.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import sympy as sp
from numpy.typing import NDArray

from derive.cell import Cell
from derive.language import Value
from derive.shapes import rank
from verify.columns import lowered, raised
from verify.data import Data, Dims
from verify.kernel import KernelError
from verify.relations import Relation, alone, quoted, variations

Array = NDArray[Any]
Shapes = dict[str, dict[str, tuple[int, ...]]]
TABLES = ("parameters", "inputs", "states", "outputs", "tokens")


def tables_of(dims: Dims) -> dict[str, dict[str, tuple[str, ...]]]:
    """A kernel's tables, each name in one of them."""
    outputs = {name: shape for name, shape in dims.outputs.items() if name not in dims.states}
    tokens: dict[str, tuple[str, ...]] = dict.fromkeys(dims.tokens, ())
    return dict(zip(TABLES, (dims.parameters, dims.inputs, dims.states, outputs, tokens), strict=True))


@dataclass(frozen=True)
class Correspondence:
    """A cell and what is said of its names; what isn't said goes by name."""

    cell: Cell
    said: tuple[Relation, ...] = ()

    @cached_property
    def tables(self) -> dict[str, dict[str, Value]]:
        """The cell's symbols by name: parameters, inputs, states, outputs that aren't carried, tokens."""
        cell = self.cell
        values = (cell.parameters, cell.inputs, cell.states, cell.outputs, tuple(cell.tokens))
        return {table: {value.name: value for value in some} for table, some in zip(TABLES, values, strict=True)}

    @cached_property
    def known(self) -> dict[Any, At]:
        return {}

    def at(self, dims: Dims, where: str = "kernel") -> At:
        """The correspondence at the sizes of a kernel. Raises KernelError where shapes don't fit."""
        shapes = {table: {name: dims.shape(of) for name, of in theirs.items()} for table, theirs in tables_of(dims).items()}
        return self.at_shapes(shapes, {name: of for theirs in tables_of(dims).values() for name, of in theirs.items()}, where)

    def at_data(self, data: Data) -> At:
        """The correspondence for the arrays of a call."""
        outputs = {n: a for n, a in data.cotangents.items() if n not in data.state}
        parts, lead = (data.parameters, data.numbers, data.state, outputs, data.tokens), (0, 2, 1, 2, 2)
        return self.at_shapes(
            {table: {n: a.shape[k:] for n, a in arrays.items()} for table, arrays, k in zip(TABLES, parts, lead, strict=True)}
        )

    def at_shapes(self, shapes: Shapes, written: Mapping[str, Sequence[str]] | None = None, where: str = "kernel") -> At:
        key = tuple((table, *some.items()) for table, some in shapes.items())
        if key not in self.known:
            self.known[key] = At(self, shapes, self.by_table(shapes), written or {}, where)
        return self.known[key]

    def by_table(self, shapes: Mapping[str, Mapping[str, Any]]) -> dict[str, list[Relation]]:
        """The relations of each table: those that are said, then equal names."""
        found = {}
        for table, ours in self.tables.items():
            theirs = shapes[table]
            said = [one for one in self.said if set(one.ours.names) <= set(ours) and set(one.theirs.names) <= set(theirs)]
            taken = {name for one in said for name in one.ours.names}
            used = {name for one in said for name in one.theirs.names}
            found[table] = [*said, *(alone(n, n) for n in ours if n in theirs and n not in taken and n not in used)]
        return found

    def name(self, ours: str) -> str:
        """The kernel's name of a symbol; of several the first, where it is put together of them."""
        return next((one.theirs.names[0] for one in self.said if ours in one.ours.names), ours)

    def check(self, dims: Dims, where: str, whole: bool = False) -> None:
        """Raises KernelError unless parameters and inputs correspond, and some state or output does; whole: all of them."""
        for relation in self.said:
            self.check_said(relation, dims)
        theirs_by_table = tables_of(dims)
        found = self.by_table(theirs_by_table)
        for table, ours in self.tables.items():
            theirs = theirs_by_table[table]
            needed = table in ("parameters", "inputs", "tokens") or whole
            missing = [n for n in ours if needed and n not in {m for one in found[table] for m in one.ours.names}]
            extra = [n for n in theirs if needed and n not in {m for one in found[table] for m in one.theirs.names}]
            if missing or (extra and table != "outputs"):
                said = [f"nothing stands for {', '.join(missing)}"] * bool(missing)
                said += [f"{', '.join(extra)} {'is' if len(extra) == 1 else 'are'} extra"] * bool(extra)
                stacked = " (several in one as theirs=first/second, docs/verify.md)" if 0 < len(extra) < len(missing) else ""
                raise KernelError(
                    f"verify: {where}: {table} differ from those of `{self.cell.command}`: {' and '.join(said)}: expected "
                    f"{', '.join(ours) or 'none'}, got {', '.join(theirs) or 'none'}. "
                    f"Say which is which with --map THEIRS=OURS{stacked}."
                )
        if not found["states"] and not found["outputs"]:
            ours_all, theirs_all = {**self.tables["states"], **self.tables["outputs"]}, dims.outputs
            raise KernelError(
                f"verify: {where}: no state and no output is one of `{self.cell.command}`: expected some of "
                f"{', '.join(ours_all)}, got {', '.join(theirs_all) or 'none'}. Say which is which with --map THEIRS=OURS."
            )
        self.at(dims, where)

    def check_said(self, relation: Relation, dims: Dims) -> None:
        """Raises KernelError unless the names of a relation stand in one table."""
        ours = {name: table for table, values in self.tables.items() for name in values}
        theirs = {name: table for table, some in tables_of(dims).items() for name in some}
        for names, known, whose in ((relation.ours.names, ours, "the cell"), (relation.theirs.names, theirs, "the kernel")):
            strange = next((name for name in names if name not in known), None)
            if strange is not None:
                raise KernelError(
                    f"verify: --map {relation.text}: {strange} is no name of {whose}: expected one of {', '.join(sorted(known))}."
                )
        tables = [*(ours[name] for name in relation.ours.names), *(theirs[name] for name in relation.theirs.names)]
        if len(set(tables)) > 1:
            raise KernelError(
                f"verify: --map {relation.text}: expected names of one table, got {', '.join(dict.fromkeys(tables))}."
            )


class MisfitError(Exception):
    """A relation whose two sides differ in shape."""

    def __init__(self, relation: Relation) -> None:
        super().__init__(relation)
        self.relation = relation


@dataclass(frozen=True)
class At:
    """A correspondence at the sizes of a kernel: data from its names to the cell's, outputs and gradients back."""

    of: Correspondence
    shapes: Shapes
    relations: dict[str, list[Relation]]
    written: Mapping[str, Sequence[str]]
    where: str = "kernel"

    # ---- sizes

    @cached_property
    def sizes(self) -> dict[str, int]:
        """The size of each of the cell's dimensions. Raises KernelError where shapes don't fit."""
        try:
            return self.solved()
        except MisfitError as error:
            raise self.misfit(error.relation) from None

    def solved(self) -> dict[str, int]:
        """Each length of the kernel's arrays is an equation in the cell's dimensions: solved one unknown at a time."""
        sizes: dict[sp.Symbol, int] = {}
        waiting = list(self.equalities())
        while waiting:
            waiting = [(one, ours.xreplace(sizes), n) for one, ours, n in waiting]
            for relation, ours, n in waiting:
                if not ours.free_symbols and ours != n:
                    raise MisfitError(relation)
            waiting = [one for one in waiting if one[1].free_symbols]
            single = next((one for one in waiting if len(one[1].free_symbols) == 1), None)
            if single is None:
                break
            relation, ours, n = single
            (symbol,) = ours.free_symbols
            (value,) = sp.solve(ours - n, symbol)
            if not value.is_Integer or value < 0:
                raise MisfitError(relation)
            sizes[symbol] = value
        return {symbol.name: int(value) for symbol, value in sizes.items()}

    def equalities(self) -> Iterator[tuple[Relation, sp.Expr, int]]:
        """(relation, the length of an axis in the cell's dimensions, in the kernel's arrays): names that are alone first."""
        ordered = [(table, one) for table in ("states", "inputs", "outputs", "parameters") for one in self.relations[table]]
        for table, relation in sorted(ordered, key=lambda pair: len(pair[1].ours.names) + len(pair[1].theirs.names)):
            ndim = self.ndim(table, relation)
            theirs = relation.theirs.shape(self.their_shapes(table, relation, ndim))
            values = self.ours(table, relation)
            if any(shape != theirs[0] for shape in theirs) or any(rank(value) > ndim for value in values):
                raise MisfitError(relation)
            for shape in relation.ours.shape([value.shape[:ndim] for value in values]):
                yield from ((relation, sp.sympify(n), length) for n, length in zip(shape, theirs[0], strict=True))

    def ours(self, table: str, relation: Relation) -> list[Value]:
        return [self.of.tables[table][name] for name in relation.ours.names]

    def ndim(self, table: str, relation: Relation) -> int:
        """How many dimensions the array has that a relation cuts in two ways: those of the kernel's parts, or, where several of them are
        put together, of what they make. A part with fewer is a column, or one element of a vector.
        """
        theirs = max(len(self.shapes[table][name]) for name in relation.theirs.names)
        if len(relation.theirs.names) > 1:
            return max(theirs, 1, *(rank(value) for value in self.ours(table, relation)))
        return max(theirs, 1) if len(relation.ours.names) > 1 else theirs

    def their_shapes(self, table: str, relation: Relation, ndim: int) -> list[tuple[int, ...]]:
        shapes = [self.shapes[table][name] for name in relation.theirs.names]
        return [shape + (1,) * (ndim - len(shape)) for shape in shapes]

    def our_shapes(self, table: str, relation: Relation, ndim: int) -> list[tuple[int, ...]]:
        return [self.shape(value, ndim) for value in self.ours(table, relation)]

    def shape(self, value: Value, ndim: int) -> tuple[int, ...]:
        """The first lengths of one of the cell's values."""
        sizes = self.sizes
        return tuple(int(n.subs({symbol: sizes[symbol.name] for symbol in n.free_symbols})) for n in value.shape[:ndim])

    def misfit(self, relation: Relation) -> KernelError:
        """What is wrong with the shapes of a relation, and what would fit."""
        table = next(table for table, some in self.relations.items() if relation in some)
        theirs, ours = {**self.shapes[table], **self.written}, self.of.tables[table]
        got = ", ".join(f"{name} ({', '.join(map(str, theirs[name]))})" for name in relation.theirs.names)
        expected = ", ".join(
            f"{name} ({', '.join(map(str, ours[name].shape[: rank(ours[name])]))})" for name in relation.ours.names
        )
        fitting = next((one.text for one in variations(relation) if one != relation and self.fits(table, one)), "")
        mend = f"Write --map {quoted(fitting)}." if fitting else "Say how it is put together with --map THEIRS=OURS."
        what = f"--map {relation.text}" if relation in self.of.said else relation.theirs.text()
        command = self.of.cell.command
        return KernelError(
            f"verify: {self.where}: {what}: shape differs from `{command}`: expected what {expected} makes, got {got}. {mend}"
        )

    def fits(self, table: str, relation: Relation) -> bool:
        """Whether a relation has shapes that fit the states, inputs and outputs that go by name."""
        lone = {
            name: [one for one in some if one.text == alone(one.theirs.names[0], one.ours.names[0]).text and name != "parameters"]
            for name, some in self.relations.items()
        }
        lone[table] = [*lone[table], relation]
        try:
            At(self.of, self.shapes, lone, self.written).solved()
        except MisfitError:
            return False
        return True

    # ---- arrays

    @cached_property
    def plain(self) -> dict[str, dict[str, str]]:
        """ours -> theirs by table, of arrays that are the same."""
        return {
            table: {one.ours.names[0]: one.theirs.names[0] for one in some if self.is_plain(table, one)}
            for table, some in self.relations.items()
        }

    @cached_property
    def composed(self) -> dict[str, list[Relation]]:
        """The other relations by table."""
        return {table: [one for one in some if not self.is_plain(table, one)] for table, some in self.relations.items()}

    def is_plain(self, table: str, relation: Relation) -> bool:
        ours, theirs = relation.ours.names[0], relation.theirs.names[0]
        alike = rank(self.of.tables[table][ours]) == len(self.shapes[table][theirs])
        return relation.text == alone(theirs, ours).text and alike

    def forth(self, table: str, arrays: Mapping[str, Array]) -> dict[str, Array]:
        """Arrays under the kernel's names as the cell has them; axes in front of a value's own stay."""
        found = {ours: arrays[theirs] for ours, theirs in self.plain[table].items() if theirs in arrays}
        for relation in self.composed[table]:
            if all(name in arrays for name in relation.theirs.names):
                ndim, known = self.ndim(table, relation), self.shapes[table]
                theirs = [raised(arrays[name], ndim - len(known[name])) for name in relation.theirs.names]
                whole = relation.theirs.joined(theirs, ndim)
                parts = relation.ours.cut(whole, self.our_shapes(table, relation, ndim), ndim)
                ours = self.ours(table, relation)
                found |= {v.name: lowered(part, ndim - rank(v)) for v, part in zip(ours, parts, strict=True)}
        return found

    def back(self, table: str, arrays: Mapping[str, Array]) -> dict[str, Array]:
        """Arrays under the cell's names as the kernel has them: outputs, and gradients, which are shaped as their primals."""
        found = {theirs: arrays[ours] for ours, theirs in self.plain[table].items() if ours in arrays}
        for relation in self.composed[table]:
            if all(name in arrays for name in relation.ours.names):
                ndim, known = self.ndim(table, relation), self.shapes[table]
                ours = [raised(arrays[v.name], ndim - rank(v)) for v in self.ours(table, relation)]
                whole = relation.ours.joined(ours, ndim)
                parts = relation.theirs.cut(whole, self.their_shapes(table, relation, ndim), ndim)
                names = relation.theirs.names
                found |= {name: lowered(part, ndim - len(known[name])) for name, part in zip(names, parts, strict=True)}
        return found

    def data(self, data: Data) -> Data:
        """The arguments of a call as the cell takes them; a state that the kernel hasn't got is zero."""
        state = self.forth("states", data.state)
        missing = {name: value for name, value in self.of.tables["states"].items() if name not in state}
        zeros = {n: np.zeros((data.batch, *self.shape(v, rank(v))), data.dtype()) for n, v in missing.items()}
        return replace(
            data,
            parameters=self.forth("parameters", data.parameters),
            inputs=self.forth("inputs", data.numbers) | self.forth("tokens", data.tokens),
            state=state | zeros,
            cotangents=self.cotangents(data.cotangents),
        )

    def shared(self, data: Data) -> Data:
        """The kernel's arguments with zeros for what the cell hasn't got: states of its own, and their cotangents."""
        known = {name for table in ("states", "outputs") for one in self.relations[table] for name in one.theirs.names}
        return replace(
            data,
            state={name: array * (name in known) for name, array in data.state.items()},
            cotangents={name: array for name, array in data.cotangents.items() if name in known},
        )

    def cotangents(self, cotangents: Mapping[str, Array]) -> dict[str, Array]:
        return self.forth("states", cotangents) | self.forth("outputs", cotangents)

    def outputs(self, outputs: Mapping[str, Array]) -> dict[str, Array]:
        return self.back("states", outputs) | self.back("outputs", outputs)

    def gradients(self, blocks: Mapping[str, Array]) -> dict[str, Array]:
        """Gradients by the kernel's blocks, of the cell's."""
        found = self.back("parameters", blocks)
        for table, label in (("inputs", "input "), ("states", "initial ")):
            ours = {block.removeprefix(label): array for block, array in blocks.items() if block.startswith(label)}
            found |= {label + name: array for name, array in self.back(table, ours).items()}
        return found

    def uncompared(self) -> list[str]:
        """What one of the two has and the other hasn't, in words."""
        said = []
        for table, what in (("states", "state"), ("outputs", "output")):
            theirs = {name for one in self.relations[table] for name in one.theirs.names}
            ours = {name for one in self.relations[table] for name in one.ours.names}
            said += [f"{what} {name} (the cell hasn't got it)" for name in self.shapes[table] if name not in theirs]
            said += [f"{what} {name} (the kernel hasn't got it)" for name in self.of.tables[table] if name not in ours]
        return said
