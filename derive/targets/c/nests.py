"""Nests of loops around elementwise statements: those of one shape that follow each other share one, so that what only they read is
never in memory."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field, replace

import sympy as sp

from derive.procedures.procedure import Array, Call, Entry, Number, Operand, View
from derive.shapes import EXAMPLES
from derive.targets.c.elements import ELEMENTWISE, PLAIN, PRODUCT, SUM, Elements, Text, element_at
from derive.targets.c.places import Place, Sizes, broadcast, collapsed
from derive.targets.c.sizes import SizeText
from derive.targets.numpy.formulas import formula

STEP = "    "
ROWS = ("row", "row_2", "row_3", "row_4", "row_5", "row_6")
"""Variables of loops around the innermost one, `at`, but for examples, `b`."""


@dataclass
class Statement:
    """One elementwise statement: places = value, or += with `adds`. name: of the variable that the others of its nest read."""

    comments: list[str]
    places: list[Place]
    name: str
    value: Operand
    adds: bool = False


@dataclass
class Nest:
    """Statements of one shape."""

    sizes: Sizes
    statements: list[Statement] = field(default_factory=list)


class Nests:
    """Decides which statements share a nest, and prints nests. place: of what is no elementwise call. gone: pointers of arrays that
    nothing reads from memory."""

    def __init__(self, place: Callable[[Operand], Place], sizes: SizeText) -> None:
        self.place, self.sizes = place, sizes
        self.gone: set[str] = set()

    def leaves(self, operand: Operand) -> Iterator[Operand]:
        """What an elementwise operand reads from memory."""
        if isinstance(operand, Number):
            return
        if isinstance(operand, Call) and operand.operation in ELEMENTWISE | PLAIN:
            for one in operand.arguments:
                yield from self.leaves(one)
            return
        yield operand

    def fits(self, nest: Nest, statement: Statement) -> bool:
        """Whether a statement can stand behind those of a nest, element by element."""
        if nest.sizes != statement.places[0].sizes:
            return False
        written = [place for one in nest.statements for place in one.places]
        read = [broadcast(self.place(leaf), nest.sizes) for leaf in self.leaves(statement.value)]
        for before in written:
            if any(before.pointer == place.pointer and not (same(before, place) or apart(before, place)) for place in read):
                return False
        own = [
            broadcast(self.place(leaf), nest.sizes) for one in [*nest.statements, statement] for leaf in self.leaves(one.value)
        ]
        return all(
            target.pointer != place.pointer or same(target, place) or apart(target, place)
            for target in statement.places
            for place in [*own, *written]
        )

    # ---- text

    def lines(self, nest: Nest, indent: str, taken: Collection[str]) -> list[str]:
        """The loops, and the statements in them."""
        places = [place for one in nest.statements for place in one.places]
        for one in nest.statements:
            places += [broadcast(self.place(leaf), nest.sizes) for leaf in self.leaves(one.value)]
        groups = collapsed(nest.sizes, [place.strides for place in places])
        head, indices, depth = self.heads(nest.sizes, groups, indent, taken)
        inner = indent + STEP * depth
        known: dict[tuple[str, sp.Expr, Sizes], str] = {}
        vectors: dict[str, bool] = {}

        def index(place: Place) -> tuple[str, sp.Expr]:
            """(the index of a place's element, how far apart those of one vector lie)."""
            strides = [place.strides[group[-1]] for group in groups]
            total = place.shown[1] + sum((sp.Symbol(f"\0{k}") * stride for k, stride in enumerate(strides)), sp.S.Zero)
            return self.index_text(sp.expand(total), indices), strides[-1] if strides else sp.S.Zero

        declared: set[str] = set(taken) | set(indices)
        body: list[str] = []

        def declare(name: str) -> str:
            name = next(one for one in (name, f"{name}_out", *(f"{name}_{n}" for n in range(2, 99))) if one not in declared)
            declared.add(name)
            return name

        def load(leaf: Operand) -> None:
            """A variable for what is read from memory, unless it is at hand."""
            place = broadcast(self.place(leaf), nest.sizes)
            if key(place) not in known:
                text, stride = index(place)
                value = element_at(place, text, stride, self.sizes)
                name = known[key(place)] = declare(variable_of(leaf))
                vectors[name] = value.is_vector
                body.append(f"{inner}const {'vec' if value.is_vector else 'real'} {name} = {value.text};")

        def leaf(operand: Operand) -> Text:
            name = known[key(broadcast(self.place(operand), nest.sizes))]
            return Text(name, is_vector=vectors.get(name, True))

        print_ = Elements(leaf, self.sizes)
        for k, one in enumerate(nest.statements):
            for operand in self.leaves(one.value):
                load(operand)
            if one.adds:
                place = one.places[0]
                if key(place) not in known:
                    text, stride = index(place)
                    known[key(place)] = declare(one.name)
                    body.append(
                        f"{inner}const vec {known[key(place)]} = {element_at(place, text, stride, self.sizes).as_vector};"
                    )
                before = known[key(place)]
            for text in one.comments:
                body += comment(text, inner)
            value = print_(one.value)
            if one.adds:
                value = Text(f"{before} + {value.within(PRODUCT)}", SUM, True)
            own = {key(place) for place in one.places}
            later = [leaf for after in nest.statements[k + 1 :] for leaf in self.leaves(after.value)]
            is_read = any(key(broadcast(self.place(leaf), nest.sizes)) in own for leaf in later)
            is_read = is_read or any(after.adds and key(after.places[0]) in own for after in nest.statements[k + 1 :])
            if is_read or len(one.places) > 1:
                name = declare(one.name)
                body += formula(f"const vec {name} = {value.as_vector};", inner)
                value = Text(name)
                known |= dict.fromkeys(own, name)
            else:
                for one_key in own:
                    known.pop(one_key, None)
            for place in one.places:
                if place.pointer not in self.gone:
                    text, stride = index(place)
                    body += formula(self.stored(place, text, stride, value), inner)
        return [*counted(head, body), *[f"{indent}{STEP * k}}}" for k in range(depth - 1, -1, -1)]]

    def sum_lines(self, sizes: Sizes, order: list[int], target: Place, value: Operand, name: str) -> list[str]:
        """The loops that add the elements of a value to a place that counts for some of its positions. order: of the loops."""
        places = [target, *[broadcast(self.place(leaf), sizes) for leaf in self.leaves(value)]]
        turned = [replace(place, sizes=pick(place.sizes, order), strides=pick(place.strides, order)) for place in places]
        groups = collapsed(pick(sizes, order), [place.strides for place in turned])
        head, indices, depth = self.heads(pick(sizes, order), groups, "", [])

        def at(place: Place) -> tuple[str, sp.Expr]:
            place = replace(place, strides=pick(place.strides, order))
            strides = [place.strides[group[-1]] for group in groups]
            total = place.shown[1] + sum((sp.Symbol(f"\0{k}") * stride for k, stride in enumerate(strides)), sp.S.Zero)
            return self.index_text(sp.expand(total), indices), strides[-1] if strides else sp.S.Zero

        def leaf(operand: Operand) -> Text:
            place = broadcast(self.place(operand), sizes)
            text, stride = at(place)
            return element_at(place, text, stride, self.sizes)

        value_text = Elements(leaf, self.sizes)(value)
        index, stride = at(target)
        if stride == 0:
            body = f"{target.shown[0]}[{index}] += across({value_text.as_vector}, count);"
        else:
            before = element_at(target, index, stride, self.sizes)
            body = self.stored(target, index, stride, Text(f"{before.text} + {value_text.within(SUM)}", SUM))
        return [*counted(head, [f"{STEP * depth}{body}"]), *[f"{STEP * k}}}" for k in range(depth - 1, -1, -1)]]

    def stored(self, place: Place, index: str, stride: sp.Expr, value: Text) -> str:
        pointer = place.shown[0]
        where = f"{pointer} + {index}" if index != "0" else pointer
        if stride == 1:
            return f"store({where}, {value.as_vector}, count);"
        if stride == 0:
            return f"{pointer}[{index}] = {f'({value.as_vector})[0]' if value.is_vector else value.text};"
        return f"scatter({where}, {self.sizes.whole(stride)}, {value.as_vector}, count);"

    def heads(
        self, sizes: Sizes, groups: list[list[int]], indent: str, taken: Collection[str]
    ) -> tuple[list[str], list[str], int]:
        """(the first lines, the variables of the loops, how many loops): the last one takes a vector at a time."""
        if not groups:
            return [f"{indent}{{", f"{indent}{STEP}const ptrdiff_t count = 1;"], [], 1
        names = variables([sizes[group[0]] if len(group) == 1 else None for group in groups], taken)
        out = []
        for k, (group, name) in enumerate(zip(groups, names, strict=True)):
            size = self.sizes.whole(sp.Mul(*[sizes[at] for at in group]))
            size = size if " " not in size or " + " not in size else f"({size})"
            pace = f"{name} += LANES" if k == len(groups) - 1 else f"{name}++"
            out.append(f"{indent}{STEP * k}for (ptrdiff_t {name} = 0; {name} < {size}; {pace}) {{")
        size = self.sizes.whole(sp.Mul(*[sizes[at] for at in groups[-1]]))
        out.append(f"{indent}{STEP * len(groups)}const ptrdiff_t count = {size} - {names[-1]};")
        return out, names, len(groups)

    def index_text(self, total: sp.Expr, indices: list[str]) -> str:
        """An index with the variables of the loops in the place of their marks."""
        return self.with_variables(total, {sp.Symbol(f"\0{k}"): name for k, name in enumerate(indices)})

    def with_variables(self, total: sp.Expr, variables_: dict[sp.Symbol, str]) -> str:
        """position * stride + ..., the position of the outermost loop first."""
        parts = []
        rest = total
        for symbol, name in variables_.items():
            stride = rest.coeff(symbol)
            rest = sp.expand(rest - stride * symbol)
            if stride == 1:
                parts.append(name)
            elif stride == -1:
                parts.append(f"-{name}")
            elif stride != 0:
                parts.append(f"{name} * {self.sizes.bracketed(stride)}")
        front = [self.sizes.whole(rest)] if rest != 0 else []
        text = " + ".join([*front, *parts]) or "0"
        return text.replace("+ -", "- ")


def counted(head: list[str], body: list[str]) -> list[str]:
    """The lines of a nest; how many elements are left, the last line of its head, only where something asks for that."""
    return [*(head if any(re.search(r"\bcount\b", line) for line in body) else head[:-1]), *body]


def pick(of: Sizes, order: list[int]) -> Sizes:
    return tuple(of[k] for k in order)


def variables(sizes: list[sp.Expr | None], taken: Collection[str]) -> list[str]:
    """Names for the variables of nested loops: b along examples, `at` the last."""
    free = [name for name in ROWS if name not in taken]
    found = []
    for at, size in enumerate(sizes):
        if at == len(sizes) - 1:
            found.append("at")
        elif size == sp.Symbol(EXAMPLES) and "b" not in found:
            found.append("b")
        else:
            found.append(free.pop(0))
    return found


def variable_of(operand: Operand) -> str:
    """A name for what is read from memory."""
    while not isinstance(operand, Array | Entry):
        operand = operand.of if isinstance(operand, View) else operand.arguments[0]  # type: ignore[union-attr]
    return operand.name.removesuffix("_all")


def comment(text: str, indent: str) -> list[str]:
    """A formula as a comment."""
    return formula(f"/* {text} */", indent)


def key(place: Place) -> tuple[str, sp.Expr, Sizes]:
    return place.pointer, sp.expand(place.offset), place.strides


def same(a: Place, b: Place) -> bool:
    """Whether two places in one nest are the same elements."""
    return key(a) == key(b)


def apart(a: Place, b: Place) -> bool:
    """Whether two places in the same memory, of one shape and with the same strides, have no element in common, as far as can be seen."""
    if a.strides != b.strides or a.sizes != b.sizes or any(one.could_extract_minus_sign() for one in a.strides if one != 0):
        return False
    ahead = sp.expand(b.offset - a.offset)
    ahead = -ahead if not is_positive(ahead) else ahead
    if not is_positive(ahead):
        return False
    span: sp.Expr = sp.S.One
    for size, stride in zip(reversed(a.sizes), reversed(a.strides), strict=True):
        if stride == 0:
            continue
        # between the end of what lies further in and the next position of this place
        if is_positive(ahead - span, or_zero=True) and is_positive(stride - span - ahead, or_zero=True):
            return True
        span = sp.expand(span + (size - 1) * stride)
    return is_positive(ahead - span, or_zero=True)


def is_positive(value: sp.Expr, or_zero: bool = False) -> bool:
    """Whether a sum of products of sizes is positive, whatever the sizes are."""
    value = sp.expand(value)
    if value == 0:
        return or_zero
    return all(term.as_coeff_Mul()[0] > 0 for term in sp.Add.make_args(value))
