"""What a page or the command line says beforehand: `f = tanh`, `alpha = 0.95`, `W = matrix`, `w = tokens`, `time = k`, `dim x = N`."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction

from derive.cells.registry import OptionError, build, declarations
from derive.pages.alphabet import GREEK_COMMANDS, function_name, greek_letter
from derive.pages.errors import PageError, Source, Span
from derive.pages.symbols import Symbol
from derive.shapes import EXAMPLES, OF_A_CALL

TOKENS, OUTPUT, PARAMETER = "tokens", "output", "parameter"
EXAMPLE = "example"
"""The word for an input of which there is one an example, not one at each step."""
OF_EXAMPLES = ("number", "vector", "matrix", TOKENS)
"""What an input of an example may be besides, `v = example number`."""
KINDS = ("number", "vector", "matrix", "input", PARAMETER, "identity", TOKENS, OUTPUT)
"""What a name may be declared to be. An output is one that equations read, too."""
FORM = (
    "`f = tanh`, `alpha = 0.95`, `a = number`, `b = vector`, `W = matrix`, `x = input`, `v = example`, `v = example number`, `w = tokens`, "
    "`y = output`, `I = identity`, `time = k`, `layer = l` or `dim x = N`"
)
SUMMAND = r"(?:[1-9][0-9]?[ ]?\*[ ]?)?[A-Za-z]\w{0,30}"
SIZE = re.compile(rf"{SUMMAND}(?:[ ]?\+[ ]?{SUMMAND}){{0,9}}")
"""A size: a name, or a sum of names, as a concatenated dimension has."""

Wrong = Callable[[str, str], PageError]
"""From what is wrong and what to do to the error: it knows the place."""


@dataclass
class Declared:
    """Names as the naming rule makes them -> what is said of them.

    time: the letter of time, of a page that of all its sections; letters: those that any section names; times: those of a section that
    has several; lying: what lies along another axis, as `axis x, h = S` says; axes: the
    axes of steps of symbols that are written along others than T. layer: the letter that counts layers. cells: words that stand for
    a built-in cell, `LSTM = lstm --peephole`; shared: those whose uses have one set of parameters. depth: to how many layers the
    page was written out, 0 for none; notes: how; bottoms: where lines that look like a start say what layer 0 is.
    """

    functions: dict[str, str] = field(default_factory=dict)
    numbers: dict[str, Fraction] = field(default_factory=dict)
    kinds: dict[str, str] = field(default_factory=dict)
    dims: dict[str, tuple[str, ...]] = field(default_factory=dict)
    time: str | None = None
    letters: set[str] = field(default_factory=set)
    layer: str | None = None
    cells: dict[str, str] = field(default_factory=dict)
    shared: set[str] = field(default_factory=set)
    depth: int = 0
    notes: tuple[str, ...] = ()
    bottoms: set[Span] = field(default_factory=set)
    times: tuple[str, ...] = ()
    lying: dict[str, tuple[str, ...]] = field(default_factory=dict)
    axes: dict[Symbol, tuple[str, ...]] = field(default_factory=dict)
    used: set[str] = field(default_factory=set)
    examples: set[str] = field(default_factory=set)

    @property
    def unused(self) -> list[str]:
        """Names of functions, numbers and kinds that no cell of the page has."""
        return [name for name in {**self.functions, **self.numbers, **self.kinds, **self.cells} if name not in self.used]

    @property
    def names_of_sizes(self) -> set[str]:
        """The names of sizes, those in sums too."""
        return {name for sizes in self.dims.values() for size in sizes for name in re.findall(r"[A-Za-z]\w*", size)}

    @property
    def shapes_said(self) -> dict[str, str]:
        """What is said of kinds, for the inference of them: a token is the vector that is 1 at its element."""
        said = {name: kind for name, kind in self.kinds.items() if kind not in ("identity", OUTPUT)}
        return {name: "vector" if kind == TOKENS else kind for name, kind in said.items()}

    def say(self, name: str, value: str, wrong: Wrong) -> None:
        """Take one declaration in, in place of an earlier one of the same name, but that an input of an example may be said to be one in
        one declaration, and what it is in another. Raises PageError on one that says nothing."""
        written = f"{name.strip()[:30]} = {value.strip()[:30]}"
        name, value = plain_name(name), value.strip()
        of_examples, before = name in self.examples, self.kinds.get(name)
        for earlier in (self.functions, self.numbers, self.kinds, self.cells):
            earlier.pop(name, None)
        self.examples.discard(name)
        if (name.lower(), value.lower()) == ("gelu", "erf"):
            self.functions[name] = "gelu_erf"
            return
        number = re.fullmatch(r"([+-]?[0-9]*\.?[0-9]+)(?:e([+-]?[0-9]{1,2}))?(?:/([0-9]*\.?[0-9]+))?", value)
        if number and number[3] and not Fraction(number[3]):
            raise wrong(f"`{written}` divides by zero: expected a number.", "Check the denominator.")
        if name == "time" and "," in value:
            self.times = tuple(plain_name(one) for one in value.split(","))
            self.time = "t" if "t" in self.times else self.times[-1]
        elif name.startswith("axis"):
            self.lie(name.removeprefix("axis"), value, wrong)
        elif name in ("time", "layer"):
            setattr(self, name, plain_name(value))
        elif name == "share":
            self.shared.add(value)
        elif value.split()[:1] and value.split()[0] in declarations():
            self.cells[name] = checked_cell(value, wrong)
        elif number:
            self.numbers[name] = Fraction(number[1]) * Fraction(10) ** int(number[2] or 0) / Fraction(number[3] or 1)
        elif (example := as_example(value, of_examples, before)) is not None:
            self.kinds[name] = example
            self.examples.add(name)
        elif value.lower() in KINDS and not (value.lower() == "identity" and name.islower()):
            self.kinds[name] = value.lower()
        elif function_name(value.lstrip("\\")) not in (None, "max", "min", "diag"):
            self.functions[name] = function_name(value.lstrip("\\")) or value
        else:
            raise wrong(f"`{written}` declares nothing: expected {FORM}, got `{value[:30]}`.", "Write one of these.")

    def lie(self, names: str, value: str, wrong: Wrong) -> None:
        """`axis x, h = S`."""
        value = value.strip()
        if not re.fullmatch(r"[A-Z][a-z0-9]?", value) or value == EXAMPLES:
            raise wrong(f"`axis {names} = {value[:30]}`: expected an axis of steps such as `S`.", "Name it by a capital.")
        for name in names.split(","):
            self.lying[plain_name(name)] = (value,)

    @property
    def has_one_letter(self) -> bool:
        """Whether a declaration says what lies along another axis, rather than a letter of its own."""
        return bool(self.lying)

    def dim(self, name: str, value: str, wrong: Wrong) -> None:
        # the size of a layer, H_{l}, and of the one below, H_{l-1}
        value = re.sub(r"_\{\s*([A-Za-z]\w*)\s*-\s*([0-9]+)\s*\}", r"_\1_minus_\2", value)
        value = re.sub(r"_\{\s*([A-Za-z]\w*)\s*\}", r"_\1", value)
        sizes = tuple(size.strip() for size in value.strip("() ").split(",") if size.strip())
        if not sizes or len(sizes) > 2 or not all(SIZE.fullmatch(size) for size in sizes):
            expected = "a name such as `N` or a sum such as `2*H + D`, or two for a matrix: `N, D`"
            raise wrong(f"dim `{name.strip()[:30]}`: expected {expected}; got `{value.strip()[:30]}`.", "Name it.")
        for size in set(re.findall(r"[A-Za-z]\w*", value)) & set(OF_A_CALL):
            expected = "a name other than T and B, which are the steps and the batch"
            raise wrong(f"dim `{name.strip()[:30]}`: expected {expected}; got `{size}`.", "Choose another name.")
        self.dims[plain_name(name)] = sizes


def as_example(value: str, of_examples: bool, before: str | None) -> str | None:
    """What an input of an example is declared to be, `example`, `example number`, or `number` where `example` was said before; None for
    anything else."""
    words = value.lower().split()
    kinds = [word for word in words if word in OF_EXAMPLES]
    if (EXAMPLE in words or of_examples) and len(kinds) <= 1 and len(words) == len(kinds) + (EXAMPLE in words):
        return kinds[0] if kinds else before if before in OF_EXAMPLES else "input"
    return None


def say_two_things(one: str, other: str) -> bool:
    """Whether two declarations of a name can't hold together; that there is one an example says nothing of what it is."""
    together = {one.lower(), other.lower()}
    return one != other and not (EXAMPLE in together and together <= {EXAMPLE, *OF_EXAMPLES})


def checked_cell(words: str, wrong: Wrong) -> str:
    """The words that name a built-in cell. Raises PageError on options that it doesn't have."""
    try:
        build(words)
    except OptionError as error:
        raise wrong(f"`{words[:60]}` names no cell: {error}", "Correct its options.") from None
    return words


def plain_name(text: str) -> str:
    """A name as a person writes it on a command line: `\\sigma_g`, `sigma_g`, `W_{hh}`, `σ`."""
    text = re.sub(r"\\(?:mathbf|mathrm|boldsymbol|text|mathcal)\b", "", text.strip())
    text = re.sub(r"\\(tilde|hat|bar|dot)\s*\{?\s*(\\?[A-Za-z]+)\s*\}?", r"\2_\1", text)
    text = "".join(f"\\{greek} " if (greek := greek_letter(character)) else character for character in text)
    text = re.sub(r"\\?\b(Delta|delta)(?:\s+|\\,|\{\s*)t\b", r"\1_t", text)  # a step of time is one symbol
    text = re.sub(r"\\([A-Za-z]+)", r"\1", text)
    text = re.sub(r"(?<![A-Za-z])var([a-z]+)", lambda found: GREEK_COMMANDS.get(found[0], found[0]), text)
    text = re.sub(r"\^", "_", re.sub(r"[{}()\\\s]", "", text))
    return f"{text}_" if text == "lambda" else text


@dataclass(frozen=True)
class Place:
    """Declarations under one heading, each by its span, and the places right below, whose declarations win over these."""

    spans: tuple[Span, ...]
    below: tuple[Place, ...] = ()


Said = dict[str, tuple[str, Span]]
"""Names -> what is said of them, and where."""


def declared(
    source: Source,
    places: Iterable[Place],
    let: Mapping[str, str],
    dims: Mapping[str, str],
    malformed: list[PageError] | None = None,
) -> Declared:
    """The declarations of a page, a later place's over an earlier one's, then those of the command line, which win.

    malformed: where it is given, it gets the errors within one place, and the other places are taken in. Raises
    PageError, also where one place, two places side by side, or the command line say two things of one name, or two places name
    two letters of layers, of which a page has one. Where they name two letters of time, each section has its own, and the page none.
    """
    known, letters, times = Declared(), Said(), set[str]()
    for place in places:
        try:
            said = take_all(source, known, place)
        except PageError as error:
            if malformed is None:
                raise
            malformed.append(error)
            continue
        if "layer" in said and "layer" not in let:
            refuse_other_value(source, letters, "layer", *said["layer"])
        if "time" in said:
            times.add(said["time"][0])
    if len(times) > 1:
        known.time, known.times, known.letters = None, (), {plain_name(one) for value in times for one in value.split(",")}
    here: dict[str, str] = {}
    for name, value in [(one, value) for names, value in let.items() for one in names_in(names)]:
        refuse_contradiction(here, name, value, lambda what, todo: PageError(f"--let: {what} {todo}"))
        known.say(name, value, lambda what, todo: PageError(f"--let: {what} {todo}"))
    here = {}
    for name, value in dims.items():
        refuse_contradiction(here, name, value, lambda what, todo: PageError(f"--dim: {what} {todo}"))
        known.dim(name, value, lambda what, todo: PageError(f"--dim: {what} {todo}"))
    if known.time is not None:
        known.letters = {known.time}
    return known


def take_all(source: Source, known: Declared, place: Place) -> Said:
    """Take the declarations of a place and of those below it in; what they say."""
    own, beside = Said(), Said()
    for start, end in place.spans:
        at = start
        for piece in re.split(r"([;\n])", source.text[start:end]):
            take(source, known, own, piece, at)
            at += len(piece)
    for part in place.below:
        for name, (value, span) in take_all(source, known, part).items():
            written = re.split("[=:]", source.text[slice(*span)])[0].strip()  # `dim h`, where it is of one name
            refuse_other_value(source, beside, written if plain_name(written) == name else name, value, span)
    return own | beside


def refuse_other_value(source: Source, said: Said, name: str, value: str, span: Span) -> None:
    """Take a name and what is said of it into `said`. Raises PageError where that is something else already."""
    before, first = said.setdefault(plain_name(name), (value.strip(), span))
    here = {plain_name(name): before}
    refuse_contradiction(here, name, value, lambda what, todo: source.error(span, what, todo, (first, "the other:")))
    if here[plain_name(name)] != before:
        said[plain_name(name)] = value.strip(), span


def refuse_contradiction(here: dict[str, str], name: str, value: str, wrong: Wrong) -> None:
    """Take a name and what is said of it into `here`, what one place has said so far; of an input of an example the last that says what
    it is. Raises PageError where it said something else."""
    value = value.strip()
    before = here.setdefault(plain_name(name), value)
    if before.lower() == EXAMPLE and value.lower() in OF_EXAMPLES:
        here[plain_name(name)] = value
    if say_two_things(before, value):
        raise wrong(
            f"`{name.strip()[:30]}` is declared as `{before[:30]}` and as `{value[:30]}`: expected one.", "Leave one out."
        )


def take(source: Source, known: Declared, here: Said, piece: str, at: int) -> None:
    """Take one declaration of a page in; `here` is what its place has said so far."""
    text = piece.strip(" \t,;\n")
    if not text or text.startswith("#"):
        return
    name, sign, value = text.partition("=" if "=" in text else ":")
    if not sign and len(text.split()) == 2 and text.split()[0] == "share":
        name, sign, value = "share", "=", text.split()[1]
    start = at + len(piece) - len(piece.lstrip(" \t,;\n"))
    span = (start, start + len(text))

    def wrong(what: str, todo: str) -> PageError:
        return source.error(span, what, todo)

    if not sign:
        raise wrong(f"`{text[:60]}` declares nothing: expected {FORM}.", "Write one of these.")
    for one in names_in(name):
        refuse_other_value(source, here, f"share {value.strip()}" if plain_name(one) == "share" else one, value, span)
        if one.split()[:1] == ["dim"]:
            known.dim(one.split(maxsplit=1)[-1], value, wrong)
        else:
            known.say(one, value, wrong)


def names_in(name: str) -> list[str]:
    """`w, y` of `w, y = tokens`, `dim x, y` as `dim x` and `dim y`; an index keeps its commas, and `axis x, h` is one declaration."""
    parts = re.split(r"(?<!\\),(?![^{]*\})", name)
    first = name.split()[:1]
    if first == ["axis"] or not all(part.strip() for part in parts):
        return [name]
    return [part if at == 0 or first != ["dim"] else f"dim {part}" for at, part in enumerate(parts)]


__all__ = ["Declared", "Place", "declared", "plain_name"]
