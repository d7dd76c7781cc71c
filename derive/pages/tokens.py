"""Text of a display -> tokens: what TeX or Unicode write in many ways becomes one token; layout vanishes; places are kept."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

from derive.pages.alphabet import (
    CASES,
    COMBINING,
    CONNECTIVES,
    DECORATIONS,
    DIFFERENCES,
    GREEK_COMMANDS,
    LETTER_COMMANDS,
    MATRICES,
    OPERATORS,
    PLAIN_FONTS,
    SENTENCES,
    SEPARATE_FONTS,
    SIGNS,
    TEXT_FONTS,
    UNREAD,
    VANISH,
    WITH_ARGUMENT,
    function_name,
    greek_kind,
    greek_letter,
    in_one_word,
    is_one_name,
    script_of,
)
from derive.pages.errors import EARLIER, Source, Span
from derive.pages.lexer import LEXER

DEEPEST = 40
"""How deep brackets may nest."""
LONGEST = 4_000
"""Tokens of one display."""
LONGEST_NUMBER = 40
"""Digits of one number."""


@dataclass(frozen=True, slots=True)
class Token:
    """kind: the terminal of the grammar; value: what it stands for; span: its place on the page."""

    kind: str
    value: str
    span: Span


class Tokenizer:
    """One display's tokens, in the order of the page."""

    def __init__(self, source: Source, span: Span) -> None:
        self.source, self.at, self.end = source, span[0], span[1]
        self.tokens: list[Token] = []

    def run(self) -> list[Token]:
        while self.at < self.end:
            found = LEXER.match(self.source.text, self.at, self.end)
            assert found is not None
            self.at = found.end()
            getattr(self, found.lastgroup or "other")(found[0], found.span())
            if len(self.tokens) > LONGEST:
                what = f"this display is too long: expected at most {LONGEST} symbols and signs."
                raise self.source.error(found.span(), what, "Split it into displays of a few equations.")
        return self.tokens

    def add(self, kind: str, value: str, span: Span) -> None:
        self.tokens.append(Token(kind, value, span))

    def unread(self, span: Span, what: str, todo: str) -> None:
        """What can't be read: an error if an equation needs it, nothing if it stands in a gradient formula or a label."""
        self.add("UNREAD", f"{what}\n{todo}", span)

    def after_script(self) -> bool:
        return bool(self.tokens) and self.tokens[-1].kind in ("SUB", "SUP")

    # ---- what the text is made of

    def comment(self, text: str, span: Span) -> None:
        pass

    space = comment

    def phrase(self, text: str, span: Span) -> None:
        self.add("TEXT", text, span)

    def assign(self, text: str, span: Span) -> None:
        self.add("EQUALS", "=", span)

    def number(self, text: str, span: Span) -> None:
        if (self.after_script() and not self.source.plain) or self.in_fraction(span):
            self.at = span[0] + 1
            text, span = text[0], (span[0], span[0] + 1)
        if len(text) > LONGEST_NUMBER:
            what = f"this number is too long: expected at most {LONGEST_NUMBER} digits."
            raise self.source.error(span, what, "Round it.")
        self.add("NUMBER", text, span)

    def in_fraction(self, span: Span) -> bool:
        """`\\frac12`: TeX takes one digit at a time."""
        last = self.tokens[-2:]
        second = len(last) == 2 and last[0].kind == "FRAC" and last[1].kind == "NUMBER" and last[1].span[1] == span[0]
        return second or (bool(last) and last[-1].kind == "FRAC")

    def letters(self, text: str, span: Span) -> None:
        """A run of letters: a function's name, otherwise one symbol a letter, as TeX has it."""
        if self.after_script():
            return self.lowered_run(text, span) if self.source.plain else self.single(text, span)
        if self.source.plain and (self.source.joined or EARLIER.match(self.source.text, span[0])):
            return self.run_on(text, span)
        if self.source.plain and text in GREEK_COMMANDS and function_name(text) is None:
            return self.symbol(text, span, "GREEK")
        split = self.function_at(text, span)
        for offset, letter in enumerate(text[:split]):
            self.symbol(letter, (span[0] + offset, span[0] + offset + 1))
        if split < len(text):
            word = text[split:]
            self.add("FUNCTION", function_name(word) or word, (span[0] + split, span[1]))

    def named(self, text: str, span: Span) -> None:
        """`forget\\_bias` is one name, `b\\_ih` is `b_{ih}`; `h\\_t` isn't seen here, it is `h_t` escaped."""
        first, _, rest = text.partition(r"\_")
        if self.after_script() or len(first) == 1:
            self.at = span[0] + len(first)
            self.letters(first, (span[0], self.at))
            if self.at == span[0] + len(first) and len(first) == 1 and self.tokens[-1].kind != "FUNCTION":
                self.lowered(rest.replace(r"\_", "_"), (self.at, span[1]))
            return
        self.one_name(text.replace(r"\_", "_"), span)

    def lowered(self, text: str, span: Span) -> None:
        self.at = span[1]
        self.add("SUB", "_", span)
        self.add("BEGIN_GROUP", "{", span)
        self.add("NUMBER" if text.isdigit() else "SYMBOL", text, span)
        self.add("END_GROUP", "}", span)

    def one_name(self, name: str, span: Span) -> None:
        """A name with underscores in it: a function where it is one, or where a bracket follows."""
        called = self.source.text[span[1] : span[1] + 1] in ("(", "[", "{", "\\")
        self.add("FUNCTION" if function_name(name) or called else "SYMBOL", function_name(name) or name, span)

    def run_on(self, text: str, span: Span) -> None:
        """`Ht-1` and `Wbi` on a page that writes indices so: the first letter is the symbol, a `t` behind it the time, other letters an
        index; in front of a bracket one letter is a function. On another page `Ht-1` says nothing for certain."""
        earlier = EARLIER.match(self.source.text, span[0])
        if not self.source.joined:
            what = f"`{earlier[0] if earlier else text}` can be read in two ways: the step before, or a difference."
            return self.unread(span, what, f"Write `{text[:-1]}_t-1` for the step before, `{text[:-1]} t - 1` for a difference.")
        called = self.source.text[span[1] : span[1] + 1] == "("
        if (function_name(text) and len(text) > 2) or (called and (len(text) == 1 or len(text) > 3)):
            return self.add("FUNCTION", function_name(text) or text, span)
        self.symbol(text[0], (span[0], span[0] + 1))
        if len(text) == 1:
            return
        place = (span[0] + 1, earlier.end() if earlier else span[1])
        self.lowered(text[1:], place)
        if earlier:
            self.tokens[-1:] = [Token("MINUS", "-", place), Token("NUMBER", "1", place), self.tokens[-1]]

    def function_at(self, text: str, span: Span) -> int:
        """Where in a run of letters a function's name begins; the run's length where none does."""
        if function_name(text) and (len(text) >= 3 or (text.islower() and self.source.text[span[1] : span[1] + 1] == "(")):
            return 0
        if self.source.text[span[1] : span[1] + 1] in ("(", "[", "{", "\\"):
            return next(
                (at for at in range(1, len(text) - 2) if function_name(text[at:]) and text[at:].islower()), self.unknown(text)
            )
        return len(text)

    @staticmethod
    def unknown(text: str) -> int:
        """A run of four letters and more in front of a bracket is meant as a function."""
        return 0 if len(text) >= 4 else len(text)

    def single(self, text: str, span: Span) -> None:
        """After `_` and `^` TeX takes one letter."""
        self.at = span[0] + 1
        self.symbol(text[0], (span[0], span[0] + 1))

    def lowered_run(self, text: str, span: Span) -> None:
        """In a plain text `h_tilde`, `W_xh` and `h_t-1` are lowered as a whole."""
        found = re.compile(r"[A-Za-z0-9]+(?:[-+−][01](?![\w.]))?").match(self.source.text, span[0], self.end)
        assert found is not None
        self.at = found.end()
        self.add("BEGIN_GROUP", "{", span)
        for one in re.finditer(r"[0-9]+|^[A-Za-z]{3,}(?![A-Za-z])|.", found[0]):
            place = (span[0] + one.start(), span[0] + one.end())
            if len(one[0]) > 1 and one[0].isalpha():
                self.word(one[0], place)
                continue
            kind, value = SIGNS.get(one[0], ("NUMBER" if one[0].isdigit() else "SYMBOL", one[0]))
            self.add(kind, value, place)
        self.add("END_GROUP", "}", (found.end() - 1, found.end()))

    def word(self, text: str, place: Span) -> None:
        """The word of an index: a Greek letter's name, or letters."""
        if text in GREEK_COMMANDS and not text.startswith("var"):
            return self.add("GREEK", text, place)
        for at, letter in enumerate(text):
            self.add("SYMBOL", letter, (place[0] + at, place[0] + at + 1))

    def symbol(self, name: str, span: Span, kind: str = "SYMBOL") -> None:
        """A symbol, in front of it the decorations that Unicode writes behind."""
        while self.at < self.end and (mark := COMBINING.get(self.source.text[self.at])) and span[1] == self.at:
            self.add("DECORATION", mark, (self.at, self.at + 1))
            self.at, span = self.at + 1, (span[0], self.at + 1)
        before = self.tokens[-1] if self.tokens else None
        if name == "t" and before and before.kind == "GREEK" and before.value in DIFFERENCES:
            name, span = f"{before.value}_t", (self.tokens.pop().span[0], span[1])  # a step of time is one quantity
        self.add(kind, name, span)

    def other(self, text: str, span: Span) -> None:
        """One character that is no letter, digit, space or command."""
        if self.source.dotted and self.source.text[span[0] - 1 : span[0] + 4] == " (.) ":
            self.at = span[0] + 3
            self.add("OPERATOR", "hadamard", (span[0], self.at))
        elif text == "*" and (self.source.dotted or self.source.joined):
            self.add("OPERATOR", "dot", span)
        elif text in SIGNS:
            self.add(*SIGNS[text], span)
        elif text in "<>":
            self.add(*(SIGNS["⟨" if text == "<" else "⟩"] if self.angle(text, span) else ("RELATION", "<")), span)
        elif text in OPERATORS:
            if self.tokens and self.tokens[-1].kind == "STOP" and self.tokens[-1].span[1] == span[0]:
                self.tokens.pop()  # `.*`
            self.add("OPERATOR", OPERATORS[text], span)
        elif script_of(text):
            self.scripts(span)
        else:
            self.unicode_letter(text, span)

    def angle(self, text: str, span: Span) -> bool:
        """Whether `<` or `>` is a bracket, as in `h^{<t>}`: it fills the braces of a script."""
        around = self.source.text[max(0, span[0] - 12) : span[1] + 12]
        at = min(12, span[0])
        filled = re.compile(r"[_^]\s*\{\s*<[^<>{}]*>\s*\}").finditer(around)
        return any(found.start() < at < found.end() for found in filled)

    def unicode_letter(self, text: str, span: Span) -> None:
        plain = unicodedata.normalize("NFKD", text)
        marks = [COMBINING[c] for c in plain[1:] if c in COMBINING]
        if text == "∞":
            return self.unread(span, *UNREAD["infty"])
        name = greek_letter(plain[0]) or (plain[0] if re.fullmatch(r"[A-Za-z]", plain[0]) else None)
        if name is None and re.fullmatch(r"[0-9]", plain):
            return self.add("NUMBER", plain, span)
        if name is None or len(marks) != len(plain) - 1:
            shown = text if text.isprintable() else f"U+{ord(text):04X}"
            return self.unread(span, f"`{shown}` isn't read: expected mathematics.", "Remove it, or write it in LaTeX.")
        if "SCRIPT" in unicodedata.name(text, "") and "MATHEMATICAL" in unicodedata.name(text, ""):
            self.add("FONT", "calligraphic", span)
        for mark in marks:
            self.add("DECORATION", mark, span)
        self.symbol(name, span, greek_kind(text) if greek_letter(plain[0]) and plain[0] != "ℓ" else "SYMBOL")

    def scripts(self, span: Span) -> None:
        """A run of raised or lowered characters as a script in braces."""
        text, at = self.source.text, span[0]
        first = script_of(text[at])
        assert first is not None
        self.add("SUP" if first[0] == "^" else "SUB", first[0], span)
        self.add("BEGIN_GROUP", "{", span)
        while at < self.end and (one := script_of(text[at])) and one[0] == first[0]:
            place = (at, at + 1)
            if one[1] == "T":
                self.add("MARK", "T", place)
            elif one[1].isdigit() and self.tokens[-1].kind == "NUMBER":
                self.tokens[-1] = Token("NUMBER", self.tokens[-1].value + one[1], (self.tokens[-1].span[0], at + 1))
            else:
                greek = greek_letter(one[1])
                kind = "NUMBER" if one[1].isdigit() else "GREEK" if greek else "SYMBOL"
                self.add(*SIGNS.get(one[1], (kind, greek or one[1])), place)
            at += 1
        self.at = at
        self.add("END_GROUP", "}", (at - 1, at))

    # ---- commands

    def command(self, text: str, span: Span) -> None:
        name = text[1:]
        if name == "sqrt":
            self.degree(span)
        if text in SIGNS and name != "mathsf":
            self.add(*SIGNS[text], span)
            if text in (r"\\", r"\cr"):
                self.skip_optional()
        elif text in OPERATORS:
            self.add("OPERATOR", OPERATORS[text], span)
        elif name in GREEK_COMMANDS:
            self.add(greek_kind(text), GREEK_COMMANDS[name], span)
        elif name in LETTER_COMMANDS:
            self.add("SYMBOL", LETTER_COMMANDS[name], span)
        elif name in DECORATIONS:
            self.add("DECORATION", DECORATIONS[name], span)
        elif name in ("left", "right", "bigl", "bigr", "Bigl", "Bigr", "biggl", "biggr", "Biggl", "Biggr", "middle"):
            self.add("SIZE", name, span)
        else:
            self.wordy_command(name, span)

    def degree(self, span: Span) -> None:
        """`\\sqrt[3]{x}`: of roots only the square root is one of the language."""
        found = re.compile(r"\s*\[([^\[\]]*)\]").match(self.source.text, self.at, self.end)
        if found:
            self.at = found.end()
            if found[1].strip() != "2":
                what = f"a root of degree `{found[1].strip()[:20]}` isn't read: expected a square root."
                self.unread(span, what, "Write a power, as in `x^{1/3}`; it is defined where x is positive.")

    def wordy_command(self, name: str, span: Span) -> None:
        if name in TEXT_FONTS or name.rstrip("*") == "operatorname":
            self.words(name.rstrip("*"), span)
        elif name in SEPARATE_FONTS or name in PLAIN_FONTS:
            if name == "textcolor":
                self.skip_argument()
            self.add("FONT", SEPARATE_FONTS.get(name, ""), span)
        elif name in WITH_ARGUMENT or name in ("underset", "overset", "stackrel"):
            self.skip_argument()
        elif name in ("begin", "end"):
            self.environment(name, span)
        elif name in VANISH or not name[0].isalpha():
            self.vanish(name, span)
        elif name in ("dots", "ldots", "cdots", "vdots", "dotsc"):
            self.add("DOTS", "...", span)
        elif function_name(name):
            self.add("FUNCTION", function_name(name) or name, span)
        elif name in UNREAD:
            self.unread(span, *UNREAD[name])
        else:
            what = f"unknown command `\\{name}`: expected mathematics."
            todo = "Define it with \\newcommand, or write the symbol itself, `\\mathrm{name}`, or `\\operatorname{f}`"
            todo += "; `derive: skip` in a comment passes the line over."
            self.unread(span, what, todo)

    def vanish(self, name: str, span: Span) -> None:
        """Layout; `\\underbrace` loses its label as well."""
        if name in ("underbrace", "overbrace"):
            self.add("BRACE", "_" if name == "underbrace" else "^", span)

    def skip_optional(self) -> None:
        """`\\\\[2pt]`."""
        found = re.compile(r"\*?(?:\[-?[0-9.]+ *[a-z]+\])?").match(self.source.text, self.at, self.end)
        self.at = found.end() if found else self.at

    def argument(self) -> Span | None:
        """What stands between the braces that come next."""
        text, at = self.source.text, self.at
        while at < self.end and text[at] in " \t\n":
            at += 1
        if at >= self.end or text[at] != "{":
            return None
        depth = 0
        for place in range(at, self.end):
            depth += {"{": 1, "}": -1}.get(text[place], 0)
            if depth == 0:
                self.at = place + 1
                return at + 1, place
        raise self.source.error((at, at + 1), "unbalanced brace: expected `}`, got the end of the display.", "Close it.")

    def skip_argument(self) -> None:
        if self.argument() is None:
            found = re.compile(r"\s*-?[0-9.]+\s*[a-z]{2}|\s*\w").match(self.source.text, self.at, self.end)
            self.at = found.end() if found else self.at

    def words(self, font: str, span: Span) -> None:
        """`\\text{...}`: a function or a symbol of several letters, or words, which are a label."""
        start = self.at
        inside = self.argument()
        if inside is None:
            return self.add("FONT", "", span)
        raw = self.source.text[inside[0] : inside[1]]
        text = in_one_word(raw)
        span = (span[0], self.at)
        if is_one_name(raw, text, font in SENTENCES):
            return self.one_name(text, span)
        if text and font in SENTENCES and (raw != text or text in CONNECTIVES):
            self.add("TEXT", text, span)
        elif re.fullmatch(r"[A-Za-z][A-Za-z0-9]*" if font in SENTENCES else r"[0-9]*[A-Za-z][A-Za-z0-9]*", text):
            operator = (font == "operatorname" and len(text) > 1) or (len(text) > 1 and function_name(text))
            self.add("FUNCTION" if operator else "SYMBOL", (function_name(text) or text) if operator else text, span)
        elif re.search(r"[\\_^{$]", text) and not text.startswith("("):
            self.at = start
            self.add("FONT", "", span)
        elif text:
            self.add("NUMBER" if text.isdigit() else "TEXT", text, span)

    def environment(self, name: str, span: Span) -> None:
        inside = self.argument()
        if inside is None:
            raise self.source.error(span, f"`\\{name}` names no environment: expected `\\{name}{{...}}`.", "Name it.")
        environment = self.source.text[inside[0] : inside[1]]
        if environment.rstrip("*") in ("array", "alignat", "alignedat", "subarray") and name == "begin":
            self.skip_argument()
        kind = "MATRIX" if environment.rstrip("*") in MATRICES or environment.rstrip("*") in CASES else "LINES"
        self.add(f"{name.upper()}_{kind}", environment, (span[0], self.at))
