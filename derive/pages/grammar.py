"""Tokens of one side of an equation -> tree, by an LALR grammar. A parser that reads and never evaluates."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any

from lark import Lark, Transformer, v_args
from lark import Token as LarkToken
from lark.exceptions import UnexpectedInput, UnexpectedToken
from lark.lexer import Lexer

from derive.pages.errors import Source, Span
from derive.pages.operators import with_bodies
from derive.pages.tokens import Token
from derive.pages.tree import (
    Bracket,
    Chain,
    Cut,
    Decorated,
    Grid,
    Letter,
    Mark,
    Node,
    Number,
    Operator,
    Ratio,
    Root,
    Scripted,
    Signed,
    Sum,
)

GRAMMAR = """
start: expression
?expression: sum
sum: sign? term (sign term)*
!sign: PLUS | MINUS
term: chain (OPERATOR MINUS? chain)*
chain: factor+
?factor: scripted | operator
operator: REDUCE limit*
limit: SUB below | SUP argument
below: letter | BEGIN_GROUP items (EQUALS expression)? END_GROUP
scripted: atom script*
script: SUB argument | SUP argument | PRIME | range
range: BEGIN_RANGE expression? COLON expression? END_RANGE
?argument: letter | number | mark | group | decorated | ratio | root | alone
?atom: letter | number | mark | group | bracket | decorated | ratio | root | grid
letter: SYMBOL | GREEK | VARIANT | FUNCTION
number: NUMBER
mark: MARK
alone: OPERATOR | PLUS | MINUS
group: BEGIN_GROUP content END_GROUP
bracket: OPEN items CLOSE
?content: items | alone | powered
powered: OPERATOR number
items: expression ((COMMA | SEMICOLON) expression)*
decorated: (DECORATION | FONT) argument
ratio: FRAC argument argument
root: ROOT argument | ROOT bracket
grid: BEGIN_MATRIX rows END_MATRIX
rows: row (NEWLINE row)* NEWLINE?
row: expression (AMP expression)*
%declare PLUS MINUS OPERATOR SUB SUP PRIME SYMBOL GREEK VARIANT FUNCTION NUMBER MARK BEGIN_GROUP END_GROUP OPEN CLOSE COMMA SEMICOLON
%declare DECORATION FONT FRAC ROOT BEGIN_MATRIX END_MATRIX NEWLINE AMP REDUCE EQUALS BEGIN_RANGE COLON END_RANGE
"""

WORDS = {
    "SYMBOL": "a symbol", "NUMBER": "a number", "FUNCTION": "a function", "OPEN": "`(`", "CLOSE": "`)`", "BEGIN_GROUP": "`{`",
    "END_GROUP": "`}`", "PLUS": "`+`", "MINUS": "`-`", "OPERATOR": "a product sign", "$END": "the end of the equation",
}  # fmt: skip


class Given(Lexer):
    """The tokens as they are: `derive.pages.tokens` has made them."""

    def __init__(self, lexer_conf: Any) -> None:
        pass

    def lex(self, tokens: Any) -> Iterator[LarkToken]:  # type: ignore[override]
        for token in tokens:
            yield LarkToken(token.kind, token.value, token.span[0], end_pos=token.span[1])


def place(part: Any) -> Span:
    return (part.start_pos or 0, part.end_pos or 0) if isinstance(part, LarkToken) else part.span


def over(parts: Any) -> Span:
    return place(parts[0])[0], place(parts[-1])[1]


class Trees(Transformer[Any, Any]):
    """Rules of the grammar -> nodes."""

    def start(self, children: list[Any]) -> Node:
        return children[0]  # type: ignore[no-any-return]

    def sign(self, children: list[Any]) -> LarkToken:
        return children[0]  # type: ignore[no-any-return]

    def sum(self, children: list[Any]) -> Node:
        span = over(children)
        if not isinstance(children[0], LarkToken):
            children = [LarkToken("PLUS", "+"), *children]
        terms, factors = tuple(children[1::2]), tuple(-1 if sign.type == "MINUS" else 1 for sign in children[::2])
        return terms[0] if factors == (1,) else Sum(terms, factors, span)

    def term(self, children: list[Any]) -> Node:
        if len(children) == 1:
            return children[0]  # type: ignore[no-any-return]
        parts: list[Any] = []
        signs, negative = [], None
        for child in children:
            if isinstance(child, LarkToken):
                signs += [str(child)] if child.type == "OPERATOR" else []
                negative = child if child.type == "MINUS" else None
            else:
                parts.append(Sum((child,), (-1,), over([negative, child])) if negative is not None else child)
                negative = None
        return Signed(tuple(parts), tuple(signs), over(children))

    def chain(self, children: list[Any]) -> Node:
        return children[0] if len(children) == 1 else Chain(tuple(children), over(children))

    def operator(self, children: list[Any]) -> Node:
        token, *limits = children
        below, start = next((limit for kind, limit, _ in limits if kind == "SUB"), ((), None))
        above = next((limit for kind, limit, _ in limits if kind == "SUP"), None)
        return Operator(str(token), below, start, above, (place(token)[0], max([place(token)[1], *[end for *_, end in limits]])))

    def limit(self, children: list[Any]) -> tuple[str, Any, int]:
        sign, limit = children
        return (sign.type, *limit) if isinstance(limit, tuple) else (sign.type, limit, limit.span[1])

    def below(self, children: list[Any]) -> tuple[tuple[tuple[Node, ...], Node | None], int]:
        """((the letters, the first value), where it ends)."""
        if len(children) == 1:
            return ((children[0],), None), children[0].span[1]
        return (children[1], children[3] if len(children) > 3 else None), place(children[-1])[1]

    def scripted(self, children: list[Any]) -> Node:
        body, *scripts = children
        while scripts:
            count = next((at for at, (kind, *_) in enumerate(scripts) if kind == "RANGE"), len(scripts))
            body = with_scripts(body, scripts[:count]) if count else cut(body, *scripts[0])
            scripts = scripts[count or 1 :]
        return body  # type: ignore[no-any-return]

    def script(self, children: list[Any]) -> tuple[Any, ...]:
        if isinstance(children[0], tuple):
            return children[0]
        if len(children) == 1:
            return "PRIME", Mark(str(children[0]), place(children[0]))
        return children[0].type, children[1]

    def range(self, children: list[Any]) -> tuple[str, Node | None, Node | None, int]:
        colon = next(at for at, child in enumerate(children) if isinstance(child, LarkToken) and child.type == "COLON")
        start, stop = children[1:colon], children[colon + 1 : -1]
        return "RANGE", *(start or (None,)), *(stop or (None,)), place(children[-1])[1]

    def powered(self, children: list[Any]) -> Node:
        return Chain((Mark(str(children[0]), place(children[0])), children[1]), over(children))

    @v_args(inline=True)
    def letter(self, token: LarkToken) -> Node:
        glyph = {"GREEK": str(token), "VARIANT": f"var{token}"}.get(token.type, "")
        return Letter(str(token), place(token), token.type == "FUNCTION", glyph)

    @v_args(inline=True)
    def number(self, token: LarkToken) -> Node:
        return Number(Fraction(str(token)), place(token))

    @v_args(inline=True)
    def mark(self, token: LarkToken) -> Node:
        return Mark({"hadamard": "star", "tensor": "star", "+": "plus", "-": "minus"}.get(str(token), str(token)), place(token))

    alone = mark

    def group(self, children: list[Any]) -> Node:
        content = children[1]
        return Bracket("{", content if isinstance(content, tuple) else (content,), over(children))

    def bracket(self, children: list[Any]) -> Node:
        return Bracket(str(children[0]), children[1], over(children))

    def items(self, children: list[Any]) -> tuple[Node, ...]:
        return tuple(child for child in children if not isinstance(child, LarkToken))

    @v_args(inline=True)
    def decorated(self, token: LarkToken, body: Node) -> Node:
        return Decorated(str(token), body, (place(token)[0], body.span[1]), font=token.type == "FONT")

    @v_args(inline=True)
    def ratio(self, token: LarkToken, above: Node, below: Node) -> Node:
        return Ratio(above, below, (place(token)[0], below.span[1]))

    @v_args(inline=True)
    def root(self, token: LarkToken, body: Node) -> Node:
        return Root(body, (place(token)[0], body.span[1]))

    def grid(self, children: list[Any]) -> Node:
        return Grid(children[1], over(children))

    def rows(self, children: list[Any]) -> tuple[tuple[Node, ...], ...]:
        return tuple(child for child in children if not isinstance(child, LarkToken))

    def row(self, children: list[Any]) -> tuple[Node, ...]:
        return tuple(child for child in children if not isinstance(child, LarkToken))


def with_scripts(body: Node, scripts: list[Any]) -> Node:
    sub = tuple(node for kind, node in scripts if kind == "SUB")
    sup = tuple(node for kind, node in scripts if kind != "SUB")
    return Scripted(body, sub, sup, (body.span[0], max(node.span[1] for _, node in scripts)))


def cut(body: Node, kind: str, start: Node | None, stop: Node | None, end: int) -> Node:
    return Cut(body, start, stop, (body.span[0], end))


@functools.cache
def parser() -> Callable[[Any], Any]:
    return Lark(GRAMMAR, parser="lalr", lexer=Given, transformer=Trees()).parse


def parse(source: Source, tokens: list[Token]) -> Node:
    """The tree of one side of an equation. Raises PageError at the token that doesn't fit."""
    try:
        return with_bodies(source, parser()(tokens))
    except UnexpectedToken as error:
        raise unexpected(source, tokens, error) from None
    except UnexpectedInput as error:
        raise source.error(tokens[0].span, f"can't be read: {type(error).__name__}.", "Write it in plain LaTeX.") from None


def unexpected(source: Source, tokens: list[Token], error: UnexpectedToken) -> Exception:
    wanted = [WORDS[kind] for kind in WORDS if kind in error.accepts | error.expected] if error.expected else []
    expected = ", ".join(wanted[:5]) or "a formula"
    token: Any = error.token
    if token.type == "$END":
        span = (tokens[-1].span[1] - 1, tokens[-1].span[1])
        return source.error(span, f"the formula breaks off: expected {expected}, got its end.", "Complete it.")
    span = (token.start_pos, token.end_pos)
    got = source.written(span) or str(token)
    todo = "Write it as LaTeX or Unicode mathematics; words go into \\text{...}."
    return source.error(span, f"`{got}` doesn't fit here: expected {expected}.", todo)
