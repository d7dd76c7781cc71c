"""A procedure as a C function: which statements share a nest of loops, and what each call becomes.

Elementwise statements of one shape that follow each other are one nest; what only that nest reads is never in memory. Products of what
a loop doesn't change are packed in front of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import sympy as sp

from derive.procedures.names import Names
from derive.procedures.procedure import (
    Add,
    Array,
    Assign,
    Call,
    Comment,
    Entry,
    Loop,
    Number,
    Operand,
    Procedure,
    ProcedureError,
    View,
)
from derive.procedures.procedure import Statement as Step
from derive.targets.c.arrays import TOKENS, Arrays
from derive.targets.c.blocks import Block, Code, Looped, codes_in, nests_in
from derive.targets.c.elements import ELEMENTWISE, PLAIN
from derive.targets.c.nest_text import STEP, NestText, comment
from derive.targets.c.nests import Nest, Nests, Statement, apart, same
from derive.targets.c.places import Place, broadcast, new_place, sizes_of
from derive.targets.c.products import product_lines, product_of
from derive.targets.c.statements import BOUND, PRODUCTS, assignments, name_of, names_of, summands
from derive.targets.c.vectors import VECTORS
from derive.targets.numpy.formulas import formula


class Function(Arrays):
    """One function. tape: the names of what forward saves, for backward. arrays: those of the call, by group and name. gone: pointers of
    arrays that nothing reads from memory."""

    def __init__(self, procedure: Procedure, names: Names, tokens: Sequence[str]) -> None:
        super().__init__(procedure, names, tokens)
        self.tape: list[str] = []
        self.arrays: dict[tuple[str, str], Operand] = {}
        self.nests = Nests(self.place)
        self.gone: set[str] = set()
        self.notes: list[str] = []
        self.blocks: list[Block] = [[]]
        self.add(self.procedure.statements)
        self.write_results()
        self.give_up()

    # ---- statements

    def add(self, statements: Sequence[Step]) -> None:
        for statement in statements:
            match statement:
                case Comment():
                    self.notes.append(statement.text)
                case Assign():
                    self.assign(statement)
                case Add():
                    value = self.prepared(statement.value)
                    self.elementwise([self.target(statement.target)], value, name_of(statement.target), adds=True)
                case Loop():
                    self.loop(statement)
                case _:
                    raise ProcedureError(f"emit: C: no way to print {type(statement).__name__}.")

    def assign(self, statement: Assign) -> None:
        arrays, value = names_of(statement), statement.value
        views = [one for one in statement.targets if isinstance(one, View)]
        if not views and len(arrays) == 1 and isinstance(value, Entry) and "tape." in self.results.get(arrays[0].name, ""):
            del self.results[arrays[0].name]
        if not views and len(arrays) == 1 and self.is_bound(arrays[0], value):
            self.bound[arrays[0].name] = self.place(value)
            self.notes.clear()
            return
        if isinstance(value, Call) and value.operation == "empty":
            self.memory(arrays[0])
            return
        places = [self.place(view) for view in views]
        if len(places) == 1 and self.loops:
            places = [self.labelled(places[0], name_of(statement.targets[0]))]
        for array in arrays:
            if array.name in self.part_of:
                self.bound[array.name] = self.part(array)
                places.append(self.bound[array.name])
            elif places and self.times[array.name] == 1 and array.name not in self.results:
                self.bound[array.name] = places[0]
            else:
                places.append(self.memory(array))
        self.write(value, places, name_of(statement.targets[0]))

    def loop(self, loop: Loop) -> None:
        """A loop over steps."""
        t, size = loop.index.name, self.sizes.whole(sp.Symbol(loop.axis))
        head = (
            f"for (ptrdiff_t {t} = {size} - 1; {t} >= 0; {t}--) {{"
            if loop.backwards
            else f"for (ptrdiff_t {t} = 0; {t} < {size}; {t}++) {{"
        )
        if loop.invariant or loop.walks or loop.along or loop.start is not None or loop.stop is not None:
            raise ProcedureError("emit: C: a loop of the fast policy.")
        found = Looped(t, head, changed=frozenset(name for name, _ in assignments(loop.body)))
        self.blocks[-1].append(found)
        self.blocks.append(found.body)
        self.loops.append(found)
        for array, view in loop.reads:
            self.bound[array.name] = self.labelled(self.place(view), array.name)
        self.add(loop.body)
        self.notes.clear()
        self.blocks.pop()
        self.loops.pop()

    # ---- values

    def write(self, value: Operand, places: list[Place], name: str) -> None:
        """The statements that write a value into places."""
        if isinstance(value, Call) and value.operation not in ELEMENTWISE | PLAIN | BOUND:
            if value.operation in PRODUCTS:
                self.sum_of_products([value], None, places, name)
                return
            if value.operation in VECTORS:
                self.code(VECTORS[value.operation](self, value, places[0]))
                self.copies(places, name)
                return
            raise ProcedureError(f"emit: C: no way to print {value.operation}.")
        products, rest = summands(value)
        if products:
            self.sum_of_products(products, rest, places, name)
            return
        self.elementwise(places, self.prepared(value), name)

    def copies(self, places: list[Place], name: str) -> None:
        """The value of the first place in the others, too."""
        if len(places) > 1:
            self.elementwise(places[1:], self.named(places[0]), name)

    def sum_of_products(self, products: list[Call], rest: Operand | None, places: list[Place], name: str) -> None:
        """Terms that are products are added to the others, in place unless they read what is written."""
        target = places[0]
        products = [replace(call, arguments=tuple(map(self.held, call.arguments))) for call in products]
        read = [self.place(one) for call in products for one in call.arguments]
        if any(one.pointer == target.pointer and not apart(one, target) for one in read):
            pointer = self.fresh("value")
            place = new_place(pointer, target.sizes)
            self.take(pointer, "{}", place.count)
            self.sum_of_products(products, rest, [place], name)
            self.elementwise(places, self.named(place), name)
            return
        start = None
        if rest is not None:
            rest = self.prepared(rest)
            found = self.place_or_none(rest)
            start = None if found is None else broadcast(found, target.sizes)
            if start is None or start.kind != "real":
                self.elementwise([target], rest, name)
                start = target
        for call in products:
            self.multiply(call, start, target)
            start = target
        self.copies(places, name)

    def prepared(self, operand: Operand) -> Operand:
        """An operand of elementwise calls on places: whatever else it is made of computed before."""
        if isinstance(operand, Number) or self.place_or_none(operand) is not None:
            return operand
        if isinstance(operand, Call) and operand.operation in ELEMENTWISE | PLAIN:
            return replace(operand, arguments=tuple(self.prepared(one) for one in operand.arguments))
        return self.held(operand)

    def held(self, operand: Operand) -> Operand:
        """An operand that has a place: its value is computed where it has none."""
        if self.place_or_none(operand) is not None:
            return operand
        if isinstance(operand, View):
            return replace(operand, of=self.held(operand.of))
        if isinstance(operand, Call) and operand.operation in BOUND:
            moved = replace(operand, arguments=(self.held(operand.arguments[0]),))
            if self.place_or_none(moved) is not None:
                return moved
            copied = self.stored(Call("copy", moved.arguments, moved.arguments[0].axes, moved.arguments[0].dims))
            return replace(moved, arguments=(copied,))
        return self.stored(operand)

    def stored(self, operand: Operand) -> Array:
        """An array with the value of an operand."""
        kept, self.notes = self.notes, []
        array = self.temporary(operand)
        self.write(operand, [self.memory(array)], array.name)
        self.notes = kept
        return array

    def elementwise(self, places: list[Place], value: Operand, name: str, adds: bool = False) -> None:
        """A statement of a nest, of the one before where it fits."""
        statement = Statement(self.notes, places, name.removesuffix("_all"), value, adds)
        self.notes = []
        block = self.blocks[-1]
        nest = self.nest_for(statement)
        if nest is not None:
            nest.statements.append(statement)
        else:
            block.append(Nest(places[0].sizes, [statement]))

    def nest_for(self, statement: Statement) -> Nest | None:
        """The nest before that a statement fits in; what stands between must have nothing to do with it."""
        pointers = {place.pointer for place in statement.places} | {
            self.place(leaf).pointer for leaf in self.nests.leaves(statement.value)
        }
        for one in reversed(self.blocks[-1]):
            match one:
                case Nest():
                    if self.nests.fits(one, statement):
                        return one
                    between = {place.pointer for each in one.statements for place in each.places}
                    between |= {self.place(leaf).pointer for each in one.statements for leaf in self.nests.leaves(each.value)}
                    if pointers & between:
                        return None
                case Code():
                    if any(pointer in one.pointers for pointer in pointers):
                        return None
                case Looped():
                    return None
        return None

    def code(self, lines: list[str]) -> None:
        """Lines that mention what was seen since the last ones."""
        self.blocks[-1].append(Code([*self.comments(), *lines], frozenset(self.seen)))
        self.seen = set()

    def comments(self) -> list[str]:
        found = [line for text in self.notes for line in comment(text, "")]
        self.notes = []
        return found

    # ---- products

    def multiply(self, call: Call, start: Place | None, target: Place) -> None:
        """target = start + a b; the factors have places."""
        left, right = (self.place(one) for one in call.arguments)
        product = product_of(call, left, right, target, start)
        if product is not None and (start is None or same(start, target) or not product.adding):
            if start is None and product.adding:
                self.put(Number(sp.S.Zero), target)
                return self.multiply(call, target, target)
            self.code(product_lines(self, product))
        elif start is not None and not same(start, target):
            self.put(self.named(start), target)
            self.multiply(call, target, target)
        else:
            array = self.temporary(call)
            self.multiply(call, None, self.memory(array))
            first = [] if start is None else [self.named(start)]
            self.put(Call("add", (*first, array), call.axes, call.dims) if first else array, target)
        return None

    def put(self, value: Operand, target: Place) -> None:
        self.elementwise([target], value, "value")

    def named(self, place: Place) -> Array:
        """An array that lies there."""
        array = Array(self.fresh("value"))
        self.bound[array.name] = place
        return array

    # ---- results

    def write_results(self) -> None:
        """Results that don't lie where they are wanted yet."""
        for table, entries in self.procedure.results:
            for name, operand in entries:
                pointer = self.result(table, name)
                if isinstance(operand, Array) and operand.name in self.bound:
                    source = self.bound[operand.name]
                    if source.pointer == pointer:
                        continue
                    if table == "tape" and source.pointer.startswith("call->") and source.is_dense and source.offset == 0:
                        holder, given = source.pointer.removeprefix("call->").split(".")
                        if holder == "inputs":
                            self.given[table, name] = Entry(holder, given, operand.axes, operand.dims)
                            continue
                self.write(operand, [new_place(pointer, sizes_of(operand))], self.fresh("value"))

    def give_up(self) -> None:
        """Memory of arrays that are read in the nest that makes them, and nowhere else."""
        nests = list(nests_in(self.blocks[0]))
        used = {pointer for code in codes_in(self.blocks[0]) for pointer in code.pointers}
        for pointer in list(self.taken):
            homes = [nest for nest in nests if any(pointer == place.pointer for one in nest.statements for place in one.places)]
            if len(homes) != 1 or pointer in used:
                continue
            readers = [nest for nest in nests if any(self.reads_pointer(one, pointer) for one in nest.statements)]
            if any(nest is not homes[0] for nest in readers):
                continue
            if not self.is_made_before(homes[0], pointer):
                continue
            self.gone.add(pointer)
            del self.taken[pointer]

    def reads_pointer(self, statement: Statement, pointer: str) -> bool:
        return any(self.place(leaf).pointer == pointer for leaf in self.nests.leaves(statement.value))

    def is_made_before(self, nest: Nest, pointer: str) -> bool:
        """Whether every statement of a nest that reads an array stands behind the one that makes it, in one piece."""
        for one in nest.statements:
            if self.reads_pointer(one, pointer) or (one.adds and one.places[0].pointer == pointer):
                return False
            if any(place.pointer == pointer for place in one.places):
                return True
        return False

    # ---- text

    def pointer_lines(self, loop: Looped, indent: str) -> Iterator[str]:
        """The pointers of a step that its text reads."""
        for label, place in loop.pointers:
            if label in self.labels:
                kind = "const int64_t" if place.kind == TOKENS else "const real" if self.is_given(place.pointer) else "real"
                yield f"{indent}{kind} *const {label} = {self.pointer(replace(place, label=None))};"

    def lines(self) -> list[str]:
        return self.text(self.blocks[0], STEP, [])

    def text(self, block: Block, indent: str, taken: list[str]) -> list[str]:
        """The lines of a block. taken: variables of the loops around it."""
        out: list[str] = []
        for one in block:
            match one:
                case Code():
                    for line in one.lines:
                        bare = line.lstrip()
                        out += formula(bare, indent + line[: len(line) - len(bare)])
                case Nest():
                    out += NestText(one, self.nests, self.sizes, self.gone, taken, self.labels).lines(indent)
                case Looped():
                    body = self.text(one.body, indent + STEP, [*taken, one.index])
                    out += [*self.text(list(one.front), indent, taken), indent + one.head]
                    out += [*self.pointer_lines(one, indent + STEP), *body, indent + "}"]
        return out
