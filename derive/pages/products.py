"""Products and brackets that can be read in two ways: what they are read as, or the question."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from derive.pages.alphabet import SIGNS, STEPS
from derive.pages.core import Call, Const, Core, Product, Ref
from derive.pages.errors import PageError, Source
from derive.pages.names import Names
from derive.pages.relations import MATRIX
from derive.pages.symbols import children
from derive.pages.tree import Bracket, Chain, Grid, Node, Signed, Sum

DOTS = (r"\cdot", "·", "⋅", r"\cdotp")
COMPOSED = (r"\circ", "∘", "◦")
FUNCTION_LETTERS = ("f", "g", "F", "G", "phi", "psi", "rho")
OTHER_PRODUCTS = {"star": "a convolution", "tensor": "an outer product"}


def product_sign(names: Names, signs: Collection[str], sign: str, pair: tuple[Core, Core]) -> str:
    """The sign between two factors: `dot` where a matrix product is meant, `hadamard` for an elementwise one. Raises PageError where a
    star or `\\otimes` beside a symbol that may be a weight leaves that open."""
    if sign == "cross":
        return "dot"  # `W \\times x` and `f_t \\times c_{t-1}`: the product of whatever the two are
    if sign == "hadamard":
        refuse_composition(names, pair)
    if sign == "hadamard" or any(isinstance(one, Const) for one in pair):
        return sign
    if sign == "dot":
        refuse_inner_product(names, signs, pair)
        return sign
    if any(isinstance(one, Ref) and names.declared.kinds.get(one.name) == MATRIX for one in pair):
        return "dot"
    span = (pair[0].span[0], pair[1].span[1])
    written = names.source.written(span)
    what = (
        f"`{written}` can be read in two ways: expected to know whether it is an elementwise product or {OTHER_PRODUCTS[sign]}."
    )
    for one in pair:
        if isinstance(one, Ref) and names.is_free(one.name) and (one.name[0].isupper() or "hadamard" in signs):
            todo = (
                f'Say --let "{one.name}=vector" for the elementwise product, --let "{one.name}=matrix" for the product of a matrix and a '
                "vector; convolutions aren't read."
            )
            raise names.source.error(span, what, todo)
        if isinstance(one, Ref) and names.is_free(one.name) and (sign == "star" or one.name in STEPS):
            name = declared_as(one.name)
            written = f"`{names.source.written(one.span)}` in `{written}`"
            what = f"{written} can be read in several ways: expected to know whether {name} is a number or a vector."
            todo = f'Say --let "{name}=number" for a number that is learned, --let "{name}=0.1" for one that is given, '
            todo += f'--let "{name}=vector" for one number a unit.'
            raise names.source.error(one.span, what, todo)
    return "tensor" if sign == "tensor" else "hadamard"


def declared_as(name: str) -> str:
    """A name as a declaration spells it: `Delta t`."""
    return name.replace("_t", " t") if name in STEPS else name.rstrip("_")


def refuse_composition(names: Names, pair: tuple[Core, Core]) -> None:
    """`f \\circ g(x)`: f of g(x), or the vector f times g(x), where f is a letter of functions that nothing on the page decides."""
    left, right = pair
    sign = names.source.text[left.span[1] : right.span[0]].strip()
    if not (isinstance(left, Ref) and isinstance(right, Call) and sign in COMPOSED and left.name in FUNCTION_LETTERS):
        return
    if names.is_free(left.name) and left.name not in names.declared.kinds:
        written, inner = names.source.written((left.span[0], right.span[1])), names.source.written(right.span)
        what = f"`{written}` can be read in two ways: expected to know whether {left.name} is applied to the rest, or a factor of it."
        todo = f'Write `{left.name}({inner})` for the function; say --let "{left.name}=vector" for the elementwise product.'
        raise names.source.error(left.span, what, todo)


def refuse_inner_product(names: Names, signs: Collection[str], pair: tuple[Core, Core]) -> None:
    """`q_t \\cdot k_t` where `\\odot` stands on the page too: an inner product, or an elementwise one."""
    if "hadamard" in signs and all(isinstance(one, Ref) and names.is_timed(one.name) for one in pair):
        raise inner_or_elementwise(names, pair)


def refuse_divided_dot(names: Names, above: Core) -> None:
    """`\\frac{q_t \\cdot k_t}{\\sqrt{d}}`: what is divided is an inner product mostly, and may be an elementwise one."""
    for sign, *pair in zip(above.signs, above.items, above.items[1:], strict=False) if isinstance(above, Product) else ():
        left, right = pair
        dotted = sign == "dot" and names.source.text[left.span[1] : right.span[0]].strip() in DOTS
        if dotted and all(isinstance(one, Ref) and names.is_timed(one.name) for one in pair):
            raise inner_or_elementwise(names, (left, right))


def inner_or_elementwise(names: Names, pair: tuple[Core, Core]) -> PageError:
    span = (pair[0].span[0], pair[1].span[1])
    what = f"`{names.source.written(span)}` can be read in two ways: expected an elementwise product, or an inner product."
    left, right = (names.source.written(one.span) for one in pair)
    todo = (
        f"Write `{left} \\odot {right}` for the elementwise product, `\\langle {left}, {right} \\rangle` for the inner product."
    )
    return names.source.error(span, what, todo)


def refuse_circled_plus(names: Names, node: Sum) -> None:
    """`x_t \\oplus h_{t-1}`: the sum, or one above the other. Noted; raises PageError between two symbols with a time."""
    for a, b in zip(node.terms, node.terms[1:], strict=False):
        sign = names.source.text[a.span[1] : b.span[0]].strip(" )]}")
        if SIGNS.get(sign, ("", ""))[0] != "PLUS" or sign == "+":
            continue
        left, right = (names.source.written(one.span) for one in (a, b))
        if all(one and one.time is not None for one in map(names.reader.read, (a, b))):
            what = f"`{left} {sign} {right}` can be read in two ways: expected the sum, or one above the other."
            todo = f"Write `{left} + {right}` for the sum, `[{left}; {right}]` for one above the other."
            raise names.source.error((a.span[0], b.span[1]), what, todo)
        names.notes[f"`{sign}` is read as +; vectors one above the other are written [a; b]"] = None


def refuse_divided_product(source: Source, node: Signed, divisor: Node, value: Core) -> None:
    """`1 / 2 x`: a half of x, or one over 2 x."""
    if isinstance(divisor, Chain) and isinstance(value, Product):
        first, rest = source.written(divisor.items[0].span), source.written((divisor.items[1].span[0], divisor.span[1]))
        what = f"`/ {source.written(divisor.span)}` can be read in two ways: expected brackets around what is divided by."
        todo = f"Write `(... / {first}) {rest}` or `... / ({first} {rest})`; \\frac says the same."
        raise source.error(node.span, what, todo)


def refuse_rows(names: Names, node: Bracket | Grid) -> None:
    """`[W, U]`: blocks of a matrix, or vectors one above the other."""
    if isinstance(node, Bracket):
        refuse_rows_of_matrices(names, node, node.parts)
    else:
        refuse_rows_of_matrices(names, node, node.rows[0] if len(node.rows) == 1 else ())


def refuse_unseparated(names: Names, node: Bracket) -> None:
    """`W [x_t h_{t-1}]`: a product, or two vectors one above the other with a space between them."""
    inner = node.parts[0]
    refuse_rows_of_matrices(names, node, inner.items if isinstance(inner, Chain) else ())
    items = [names.reader.read(item) for item in inner.items] if isinstance(inner, Chain) else []
    if items and all(one is not None and one.time is not None for one in items):
        what = f"`{names.source.written(node.span)}` can be read in two ways: expected a comma or a sign between its parts."
        written = [names.source.written(item.span) for item in children(inner)]
        product = r" \odot ".join(written)
        todo = f"Write `[{', '.join(written)}]` for one above the other, `{product}` for a product."
        raise names.source.error(inner.span, what, todo)


def refuse_rows_of_matrices(names: Names, node: Node, parts: Sequence[Node]) -> None:
    """`[W, U] [x_t; h_{t-1}]`: parameters in upper case side by side are blocks of a matrix, or vectors. Where a page has no letter of
    time, they may be inputs."""
    found = [names.reader.read(part) for part in parts]
    blocks = [one.symbol.name for one in found if one and one.time is None and names.is_free(one.symbol.name)]
    if len(parts) < 2 or names.reader.letter is None or len(blocks) < len(parts) or not all(name[0].isupper() for name in blocks):
        return
    said = "; ".join(f"{name}=vector" for name in dict.fromkeys(blocks))
    what = f"`{names.source.written(node.span)}` can be read in two ways: expected blocks of a matrix, or vectors."
    todo = f'A matrix of blocks isn\'t read: write the product out, one term a block; say --let "{said}" for vectors.'
    raise names.source.error(node.span, what, todo)
