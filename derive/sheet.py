"""The derivation sheet: what a person reads. One content, four formats: text, LaTeX, Markdown, JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from sympy import MatrixExpr

from derive.along import place
from derive.assumed import of_probabilities
from derive.cell import Cell
from derive.derivation import Derivation
from derive.equation import Equation, Reason, Term
from derive.folding import folded, layers_in_words, layers_of, notation
from derive.language import Value
from derive.latex import LaTeX, latex_rule
from derive.notation import Notation, dim, width
from derive.program import Program
from derive.recurrence import LEFT, order_of_walk, shift_of, spelled_out
from derive.shapes import letter_of

WIDTH = 80
"""Columns of a terminal."""


@dataclass(frozen=True)
class Credit:
    """One reason of a term: the quantity in whose equation it arose, as it is written on this sheet, and the rule; or words alone."""

    source: str
    rule: str


Row = tuple[str, tuple[Credit, ...]]
"""A term as it is written, and its reasons."""


@dataclass(frozen=True)
class Line:
    """One formula: left = factor (terms), each term with its reasons. layers: those for which it stands, where it is printed once."""

    left: str
    terms: list[Row]
    factor: str = ""
    layers: tuple[int, ...] = ()
    between: str = " "

    def credits(self) -> tuple[Credit, ...]:
        """The reasons of all terms, each once."""
        return tuple(dict.fromkeys(credit for _, credits in self.terms for credit in credits))


@dataclass(frozen=True)
class Section:
    """A part of the sheet: a title, a sentence, formulas."""

    title: str
    note: str
    lines: list[Line] = field(default_factory=list)


def shape_words(value: Value) -> str:
    rows, cols = value.shape
    return f"({dim(rows)},)" if cols == 1 else f"({dim(rows)}, {dim(cols)})"


def of_steps(axes: Sequence[str]) -> str:
    """`step t`, `steps t and s`: the letters of the axes of a cell."""
    letters = [letter_of(axis) for axis in axes]
    return f"step{'s' * (len(letters) > 1)} {' and '.join(letters)}"


def ends_of(cell: Cell) -> list[str]:
    """The axes along which states run from the last step to the first."""
    return list(dict.fromkeys(value.axis for value in cell.states if str(value.name) in cell.leftward))


class Sheet:
    """The content of the sheet in one notation."""

    def __init__(self, derivation: Derivation, kind: type[Notation] = Notation) -> None:
        self.derivation = derivation
        self.notation = notation(derivation, kind)
        self.rules: dict[str, None] = {}

    def sections(self) -> list[Section]:
        d = self.derivation
        n = self.notation
        forward = self.folded([(t.name, partial(self.given, t, right)) for t, right in d.cell.equations])
        named = [e for e in d.forward.equations if e.auxiliary and e.target not in n.shown]
        stable = [e for e in d.forward.equations if any(term.reason is not None for term in e.terms)]
        steps = [e for e in d.backward.equations if e.target.kind != "carry" and e.target.timed]
        states = {state.name for state in d.cell.states}
        weights = [e for e in d.backward.equations if e.target.kind == "cotangent" and not e.target.timed]
        return [
            Section("Forward", f"{of_steps(d.cell.step_axes)}, as declared", forward),
            Section("Names", "for what the equations leave unnamed", self.lines(named)),
            Section("Stable forms", "computed so; equal to what is declared", self.lines(stable)),
            Section("Backward", order_of_walk(d.cell, n), self.folded([one for e in steps for one in self.backward(e)])),
            Section("Parameters", "summed over the steps", self.lines(weights)),
            Section(
                "Initial states",
                "what step 1 hands back" + "".join(f", or step {axis}" for axis in ends_of(d.cell)),
                self.lines([e for e in d.backward.equations if e.target.kind == "carry" and e.target.name in states]),
            ),
            Section("Jacobian of one step", "", self.lines([e for e in d.jacobian.equations if e.terms])),
            Section("Tangents", "forward mode", self.lines(d.tangent.equations)),
            *([self.second_order()] if d.second_order else []),
        ]

    def backward(self, equation: Equation) -> Iterator[tuple[str, Callable[[], Line]]]:
        """A gradient; below that of a cross entropy what it comes to where the targets sum to one, as probabilities do: ŷ − y."""
        yield equation.target.name, partial(self.line, self.recurrence(equation))
        found = of_probabilities(equation, self.derivation.cell.inputs)
        if found is not None:
            yield equation.target.name, partial(self.of_targets, *found)

    def of_targets(self, equation: Equation, sums: Sequence[MatrixExpr]) -> Line:
        """A gradient under the condition that some sums are one."""
        line, said = self.line(equation), ", ".join(f"{self.notation.formula(one)} = 1" for one in sums)
        why = (Credit("", f"for targets that sum to one, {said}"),)
        return replace(line, terms=[(text, why) for text, _ in line.terms])

    def second_order(self) -> Section:
        """How the gradients move along the tangents, and the gradients that this reads and the backward section doesn't name."""
        known = {*self.derivation.backward.defined(), *self.derivation.tangent.defined()}
        new = [self.recurrence(e, self.derivation.second) for e in self.derivation.second.equations if e.target not in known]
        return Section("Second order", self.notation.moving(), self.lines(new))

    def recurrence(self, equation: Equation, program: Program | None = None) -> Equation:
        """The cotangent of a state with its carry written out: the terms that the step hands back which reads the state."""
        program = program or self.derivation.backward
        carries = [(e, -self.notation.before(str(e.target.name))) for e in program.equations if e.target.marks[:1] == ("carry",)]
        whole = spelled_out(equation, {e.target.like(lag=lag): e for e, lag in carries if e.target.has_steps})
        started = dict(program.starts)
        ends = [(value, started[value]) for value in equation.reads() if value in started]
        at_ends = [Term(place(end, value.axis, "last" if value.lag > 0 else "first"), Reason(None, LEFT)) for value, end in ends]
        return replace(whole, terms=(*whole.terms, *at_ends))

    def given(self, target: Value, right: MatrixExpr) -> Line:
        """An equation of the cell as it was declared."""
        return Line(self.notation.value(target), [(self.notation.formula(right), ())])

    def lines(self, equations: Sequence[Equation]) -> list[Line]:
        """The equations as formulas and reasons."""
        return self.folded([(e.target.name, partial(self.line, e)) for e in equations])

    def folded(self, printed: Sequence[tuple[str, Callable[[], Line]]]) -> list[Line]:
        """Formulas, those of several layers that are alike as one."""
        return [replace(line, layers=layers) for line, layers in folded(printed, self.notation)]

    def line(self, equation: Equation) -> Line:
        """An equation as formulas and reasons; a sum over the steps stands in front of each term, or in front of the factor."""
        n, alone = self.notation, equation.factor is None
        terms = [
            (n.term(t.value, shift_of(t), equation.summed_in(t.value) if alone else ()), self.credits(t)) for t in equation.terms
        ]
        factor = "" if equation.factor is None else n.front(equation.factor, equation.summed)
        return Line(n.left(equation), terms or [("0", ())], factor, between=n.between(equation))

    def credits(self, term: Term) -> tuple[Credit, ...]:
        """Where a term comes from, what made the last of it first."""
        links = term.reason.links() if term.reason is not None else ()
        return tuple(self.credit(link, shift_of(term)) for link in links)

    def credit(self, link: Reason, shift: int) -> Credit:
        if link.equation is None:
            return Credit("", link.rule)
        self.rules.setdefault(link.rule)
        return Credit(self.source(link.equation, shift), link.rule.partition(":")[0])

    def source(self, value: Value, shift: int) -> str:
        return self.notation.value(value, shift)

    def roles(self) -> list[tuple[str, list[str]]]:
        """(role, symbols with their shapes)."""
        cell = self.derivation.cell
        n = self.derivation.notation()
        tables = {"inputs": cell.inputs, "states": cell.states, "outputs": cell.outputs, "parameters": cell.parameters}
        found = [(role, [f"{n.name(v.name)} {shape_words(v)}" for v in values]) for role, values in tables.items() if values]
        tokens = [f"{n.name(value.name)} of {dim(size)}" for value, size in cell.tokens.items()]
        found = [("tokens", tokens), *found] if tokens else found
        return [*found, ("layers", [layers_of(cell.layers)])] if cell.layers else found


def by_source(credits: tuple[Credit, ...]) -> list[Credit]:
    """The reasons with a source that stands already in front of the one before left out."""
    before = [Credit("", ""), *credits]
    return [Credit("" if one.source == last.source else one.source, one.rule) for one, last in zip(credits, before, strict=False)]


# ---- text


def text(derivation: Derivation) -> str:
    """The sheet as Unicode text that fits a terminal."""
    sheet = Sheet(derivation)
    sections = sheet.sections()
    out = [f"{derivation.cell.command}", "=" * len(derivation.cell.command), ""]
    for role, symbols in sheet.roles():
        out += wrap([f"{role:11}{symbols[0]}", *symbols[1:]], 11, ", ")
    for section in sections:
        if section.lines:
            out += ["", section.title, "-" * width(section.title), *([f"  ({section.note})"] if section.note else [])]
            for line in section.lines:
                out += text_lines(line)
    out += ["", "Rules", "-----", *[f"  {rule}" for rule in sheet.rules]]
    return "\n".join(out) + "\n"


def text_lines(line: Line) -> list[str]:
    """A formula as lines, and under it the layers for which it stands."""
    lines = formula_lines(line)
    return [*lines, " " * width(f"  {line.left} = ") + f"for {layers_in_words(line.layers)}"] if line.layers else lines


def formula_lines(line: Line) -> list[str]:
    """One line per term where each has its reason, so that no line is wider than a terminal."""
    lead = f"  {line.left} = "
    if line.factor:
        body = joined([term for term, _ in line.terms], "−")
        return with_reason(f"{lead}{line.factor}{line.between}({body})", text_reason(line.credits()), width(lead))
    out: list[str] = []
    for k, (term, credits) in enumerate(line.terms):
        minus = term.startswith("−")
        sign = lead if k == 0 else " " * (width(lead) - 2) + ("− " if minus else "+ ")
        out += with_reason(sign + (term[1:] if minus and k else term), text_reason(credits), width(lead))
    return out


def text_reason(credits: tuple[Credit, ...]) -> str:
    """`from i_t: y = f(a)`."""
    said = ", ".join(f"{one.source}: {one.rule}" if one.source else one.rule for one in by_source(credits))
    return f"from {said}" if credits and credits[0].source else said


def with_reason(formula: str, reason: str, indent: int) -> list[str]:
    """The reason beside the formula, or under it where there is no room."""
    column = 44
    if not reason:
        return wrap(formula.split(" "), indent, " ")
    if width(formula) < column and column + width(reason) <= WIDTH:
        return [formula + " " * (column - width(formula)) + reason]
    if width(formula) + 2 + width(reason) <= WIDTH:
        return [f"{formula}  {reason}"]
    under = wrap(reason.split(", "), 0, ", ")
    return [*wrap(formula.split(" "), indent, " "), *[" " * (WIDTH - width(line)) + line for line in under]]


def joined(terms: list[str], minus: str) -> str:
    out = terms[0]
    for term in terms[1:]:
        out += f" {minus} {term[len(minus) :]}" if term.startswith(minus) else f" + {term}"
    return out


def wrap(pieces: list[str], indent: int, between: str) -> list[str]:
    """The pieces on as few lines as fit a terminal; every line but the first is indented."""
    out: list[str] = []
    current, *rest = pieces
    for piece in rest:
        if current.strip() and width(f"{current}{between}{piece}{between.rstrip()}") > WIDTH:
            out.append(current + between.rstrip())
            current = " " * indent + piece
        else:
            current += between + piece
    return [*out, current]


# ---- LaTeX and Markdown


def latex_formula(line: Line) -> list[str]:
    """A formula as rows of an align environment, reasons as text at the right; the layers for which it stands in a row of their own."""
    said = layers_in_words(line.layers, r"\dots") if line.layers else ""
    layers = [rf"&\quad \text{{for }} {said}"] if said else []
    if line.factor:
        body = joined([term for term, _ in line.terms], "-")
        return [rf"{line.left} &= {line.factor}{line.between}\left({body}\right){latex_reason(line.credits())}", *layers]
    rows = []
    for k, (term, credits) in enumerate(line.terms):
        sign = f"{line.left} &= " if k == 0 else "&\\quad " + ("" if term.startswith("-") else "+ ")
        rows.append(f"{sign}{term}{latex_reason(credits)}")
    return [*rows, *layers]


def latex_reason(credits: tuple[Credit, ...]) -> str:
    if not credits:
        return ""
    if not credits[0].source:
        return rf" && \text{{{', '.join(credit.rule for credit in credits)}}}"
    said = [(f"{one.source}: " if one.source else "") + latex_rule(one.rule) for one in by_source(credits)]
    return r" && \text{from } " + r",\ ".join(said)


def align(rows: list[str]) -> str:
    return "\\begin{align*}\n" + " \\\\\n".join(rows) + "\n\\end{align*}"


def latex(*derivations: Derivation) -> str:
    """Sheets as one LaTeX document that compiles with amsmath alone."""
    out = [
        r"\documentclass{article}", r"\usepackage{amsmath}", r"\usepackage[margin=2cm]{geometry}", r"\allowdisplaybreaks",
        r"\begin{document}", *[line for derivation in derivations for line in latex_lines(derivation)], r"\end{document}",
    ]  # fmt: skip
    return "\n".join(line for line in out if line) + "\n"


def latex_lines(derivation: Derivation) -> list[str]:
    """One sheet as a section."""
    sheet = Sheet(derivation, LaTeX)
    out = [rf"\section*{{{latex_text(derivation.cell.command)}}}"]
    for section in sheet.sections():
        if section.lines:
            out += [rf"\subsection*{{{section.title}}}", (section.note + ".") if section.note else ""]
            out.append(align([row for line in section.lines for row in latex_formula(line)]))
    return [*out, r"\subsection*{Rules}", align([rf"&{latex_rule(rule)}" for rule in sheet.rules])]


def latex_text(words: str) -> str:
    special = {"\\": r"\textbackslash{}", "^": r"\textasciicircum{}", "~": r"\textasciitilde{}"} | {
        c: f"\\{c}" for c in "_&%#${}"
    }
    return "".join(special.get(character, character) for character in words).replace("--", "-{}-")


def markdown(derivation: Derivation) -> str:
    """The sheet as Markdown with display mathematics."""
    sheet = Sheet(derivation, LaTeX)
    out = [f"# `{derivation.cell.command}`", "", "| role | symbols |", "|---|---|"]
    out += [f"| {role} | {', '.join(symbols)} |" for role, symbols in Sheet(derivation).roles()]
    for section in sheet.sections():
        if section.lines:
            out += ["", f"## {section.title}", ""]
            rows = [row for line in section.lines for row in latex_formula(line)]
            out.append("$$\n\\begin{aligned}\n" + " \\\\\n".join(rows) + "\n\\end{aligned}\n$$")
    out += ["", "## Rules", "", *[f"- `{rule}`" for rule in sheet.rules]]
    return "\n".join(out) + "\n"


# ---- JSON


def as_json(derivation: Derivation) -> str:
    return json.dumps(record_of(derivation), ensure_ascii=False, indent=2) + "\n"


def record_of(derivation: Derivation) -> dict[str, Any]:
    """The sheet as data: every formula as text and LaTeX, every term with its equation and rule."""
    plain, tex, cell = derivation.notation(), derivation.notation(LaTeX), derivation.cell
    tables = {"inputs": cell.inputs, "states": cell.states, "outputs": cell.outputs, "parameters": cell.parameters}
    return {
        "command": cell.command,
        "name": cell.name,
        **{role: {v.name: [dim(s) for s in v.shape if s != 1] for v in values} for role, values in tables.items()},
        **({"tokens": {v.name: dim(size) for v, size in cell.tokens.items()}} if cell.tokens else {}),
        "programs": {
            program.name: [json_equation(equation, program, plain, tex) for equation in program.equations]
            for program in (*derivation.programs(), *([derivation.second] if derivation.second_order else []))
        },
    }


def json_equation(equation: Equation, program: Program, plain: Notation, tex: Notation) -> dict[str, Any]:
    return {
        "name": equation.target.name,
        "kind": equation.target.kind,
        "lag": equation.target.lag,
        "text": plain.equation(equation),
        "latex": tex.equation(equation),
        "sum_over_steps": equation.accumulate,
        "factor": None if equation.factor is None else plain.formula(equation.factor),
        "terms": [
            {
                "text": plain.formula(term.value),
                "latex": tex.formula(term.value),
                "from": None if term.reason is None or term.reason.equation is None else term.reason.equation.name,
                "rule": None if term.reason is None else term.reason.rule,
                "also": [{"from": one.equation.name, "rule": one.rule} for one in (term.reason.also if term.reason else ())],
            }
            for term in equation.terms
        ],
    }


def document(form: str, derivations: Sequence[Derivation], several: bool) -> str:
    """Sheets of several cells as one document; in JSON a list of them, the object itself where there is but one."""
    if form == "json" and several:
        return json.dumps([record_of(derivation) for derivation in derivations], ensure_ascii=False, indent=2) + "\n"
    return latex(*derivations) if form == "latex" else "\n".join(FORMATS[form](derivation) for derivation in derivations)


FORMATS: dict[str, Callable[[Derivation], str]] = {"text": text, "latex": latex, "markdown": markdown, "json": as_json}
