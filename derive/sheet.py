"""The derivation sheet: what a person reads. One content, four formats: text, LaTeX, Markdown, JSON."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from derive.compiler import Derivation
from derive.language import Value
from derive.notation import LaTeX, Notation, dim, width
from derive.program import Equation, Program, Reason, Term

WIDTH = 80
"""Columns of a terminal."""


@dataclass(frozen=True)
class Line:
    """One formula: left = factor ∘ (terms), each term with its reason."""

    name: str
    left: str
    terms: list[tuple[str, str]]
    factor: str = ""
    summed: bool = False


@dataclass(frozen=True)
class Section:
    """A part of the sheet: a title, a sentence, formulas."""

    title: str
    note: str
    lines: list[Line] = field(default_factory=list)


def shape_words(value: Value) -> str:
    rows, cols = value.shape
    return f"({dim(rows)},)" if cols == 1 else f"({dim(rows)}, {dim(cols)})"


class Sheet:
    """The content of the sheet in one notation."""

    def __init__(self, derivation: Derivation, kind: type[Notation] = Notation) -> None:
        self.derivation = derivation
        self.notation = derivation.notation(kind)
        self.rules: dict[str, None] = {}

    def sections(self) -> list[Section]:
        d = self.derivation
        n = self.notation
        forward = [Line(t.name, n.value(t), [(n.formula(right), "")]) for t, right in d.cell.equations]
        named = [e for e in d.forward.equations if e.auxiliary and e.target not in n.shown]
        steps = [e for e in d.backward.equations if not e.accumulate and e.target.kind != "carry" and e.target.timed]
        weights = [e for e in d.backward.equations if e.accumulate or not e.target.timed]
        return [
            Section("Forward", "step t, as declared", forward),
            Section("Names", "for what the equations leave unnamed", [self.line(e) for e in named]),
            Section(
                "Backward",
                f"from t = T to 1; {n.loss()}; at t = T+1 all is 0",
                [self.line(self.recurrence(e)) for e in steps],
            ),
            Section("Parameters", "summed over the steps", [self.line(e) for e in weights]),
            Section(
                "Initial states",
                "what step 1 hands back",
                [self.line(e) for e in d.backward.equations if e.target.kind == "carry"],
            ),
            Section("Jacobian of one step", "", [self.line(e) for e in d.jacobian.equations if e.terms]),
            Section("Tangents", "forward mode", [self.line(e) for e in d.tangent.equations]),
        ]

    def recurrence(self, equation: Equation) -> Equation:
        """The cotangent of a state with its carry written out: the terms that step t+1 hands back."""
        carries = {e.target.like(lag=0): e for e in self.derivation.backward.equations if e.target.kind == "carry"}
        terms: list[Term] = []
        for term in equation.terms:
            terms += [Shifted(t.value, t.reason) for t in carries[term.value].terms] if term.value in carries else [term]
        return Equation(equation.target, tuple(terms), equation.factor)

    def line(self, equation: Equation) -> Line:
        """An equation as formulas and reasons."""
        n = self.notation
        terms = [(n.formula(t.value, int(isinstance(t, Shifted))), self.reason(t)) for t in equation.terms]
        factor = n.within(equation.factor, 0, 1) if equation.factor is not None else ""
        return Line(equation.target.name, n.left(equation), terms or [("0", "")], factor, equation.accumulate)

    def reason(self, term: Term) -> str:
        """`from i_t: y = f(a)`."""
        reason: Reason | None = term.reason
        if reason is None:
            return ""
        if reason.equation is None:
            return reason.rule
        self.rules.setdefault(reason.rule)
        return f"from {self.source(reason.equation, int(isinstance(term, Shifted)))}: {reason.rule.partition(':')[0]}"

    def source(self, value: Value, shift: int) -> str:
        return self.notation.value(value, shift)

    def roles(self) -> list[tuple[str, str]]:
        """(role, symbols with their shapes)."""
        cell, n = self.derivation.cell, self.notation
        tables = {"inputs": cell.inputs, "states": cell.states, "outputs": cell.outputs, "parameters": cell.parameters}
        return [
            (role, ", ".join(f"{n.name(v.name)} {shape_words(v)}" for v in values)) for role, values in tables.items() if values
        ]


class Shifted(Term):
    """A term of step t+1, shown in the recurrence of step t."""


# ---- text


def text(derivation: Derivation) -> str:
    """The sheet as Unicode text that fits a terminal."""
    sheet = Sheet(derivation)
    sections = sheet.sections()
    out = [f"{derivation.cell.command}", "=" * len(derivation.cell.command), ""]
    for role, symbols in sheet.roles():
        out += wrap(f"{role:11}{symbols}", 11, ", ")
    for section in sections:
        if section.lines:
            out += ["", section.title, "-" * width(section.title), *([f"  ({section.note})"] if section.note else [])]
            for line in section.lines:
                out += text_lines(line)
    out += ["", "Rules", "-----", *[f"  {rule}" for rule in sheet.rules]]
    return "\n".join(out) + "\n"


def text_lines(line: Line) -> list[str]:
    """A formula as lines: one per term where each has its reason, so that no line is wider than a terminal."""
    lead = f"  {line.left} = "
    sigma = "Σₜ " if line.summed else ""
    if line.factor:
        body = joined([term for term, _ in line.terms], "−")
        reasons = "; ".join(dict.fromkeys(reason for _, reason in line.terms if reason))
        return with_reason(f"{lead}{sigma}{line.factor} ∘ ({body})", reasons, width(lead))
    out: list[str] = []
    for k, (term, reason) in enumerate(line.terms):
        minus = term.startswith("−")
        sign = lead + sigma if k == 0 else " " * (width(lead) - 2) + ("− " if minus else "+ ")
        out += with_reason(sign + (term[1:] if minus and k else term), reason, width(lead))
    return out


def with_reason(formula: str, reason: str, indent: int) -> list[str]:
    """The reason beside the formula, or under it where there is no room."""
    column = 44
    if not reason:
        return wrap(formula, indent, " ")
    if width(formula) < column and column + width(reason) <= WIDTH:
        return [formula + " " * (column - width(formula)) + reason]
    if width(formula) + 2 + width(reason) <= WIDTH:
        return [f"{formula}  {reason}"]
    return [*wrap(formula, indent, " "), " " * max(0, WIDTH - width(reason)) + reason]


def joined(terms: list[str], minus: str) -> str:
    out = terms[0]
    for term in terms[1:]:
        out += f" {minus} {term[len(minus) :]}" if term.startswith(minus) else f" + {term}"
    return out


def wrap(line: str, indent: int, between: str) -> list[str]:
    """A line cut at `between` where it is wider than a terminal."""
    out: list[str] = []
    lead = line[: len(line) - len(line.lstrip(" "))]
    current = ""
    for piece in line.lstrip(" ").split(between):
        candidate = current + between + piece if current else lead + piece
        if width(candidate) > WIDTH and current.strip():
            out.append(current + between.rstrip())
            candidate = " " * indent + piece
        current = candidate
    return [*out, current]


# ---- LaTeX and Markdown


def latex_formula(line: Line) -> list[str]:
    """A formula as rows of an align environment, reasons as text at the right."""
    sum_ = r"\sum_t " if line.summed else ""
    if line.factor:
        body = joined([term for term, _ in line.terms], "-")
        reasons = "; ".join(dict.fromkeys(reason for _, reason in line.terms if reason))
        return [rf"{line.left} &= {sum_}{line.factor} \circ \left({body}\right){latex_reason(reasons)}"]
    rows = []
    for k, (term, reason) in enumerate(line.terms):
        sign = f"{line.left} &= {sum_}" if k == 0 else "&\\quad " + ("" if term.startswith("-") else "+ ")
        rows.append(f"{sign}{term}{latex_reason(reason)}")
    return rows


def latex_reason(reason: str) -> str:
    if not reason:
        return ""
    source, _, rule = reason.removeprefix("from ").partition(": ")
    if not rule:
        return rf" && \text{{{reason}}}"
    return rf" && \text{{from }} {source}: {latex_rule(rule)}"


RULES_IN_LATEX = {
    "∘": r"\circ", "ȳ": r"\bar{y}", "x̄": r"\bar{x}", "ā": r"\bar{a}", "Ā": r"\bar{A}", "ū": r"\bar{u}", "z̄": r"\bar{z}", "b̄": r"\bar{b}",
    "ẏ": r"\dot{y}", "ẋ": r"\dot{x}", "ȧ": r"\dot{a}", "Ȧ": r"\dot{A}", "ḃ": r"\dot{b}", "u̇": r"\dot{u}", "v̇": r"\dot{v}", "ż": r"\dot{z}",
    "ᵀ": r"^\top", "−": "-", "softmax": r"\operatorname{softmax}",
}  # fmt: skip
WORDS = ("some rows of a", "is the same rows of", "and", "are the rows of", "is", "in those rows, 0 elsewhere")


def latex_rule(rule: str) -> str:
    """A rule of the table in LaTeX."""
    for word in WORDS:
        rule = rule.replace(f" {word}", rf" \text{{ {word} }}")
    for plain, command in RULES_IN_LATEX.items():
        rule = rule.replace(plain, command + " " if command[-1].isalpha() else command)
    return rule


def align(rows: list[str]) -> str:
    return "\\begin{align*}\n" + " \\\\\n".join(rows) + "\n\\end{align*}"


def latex(derivation: Derivation) -> str:
    """The sheet as a LaTeX document that compiles with amsmath alone."""
    sheet = Sheet(derivation, LaTeX)
    sections = sheet.sections()
    out = [
        r"\documentclass{article}", r"\usepackage{amsmath}", r"\usepackage[margin=2cm]{geometry}", r"\allowdisplaybreaks",
        r"\begin{document}", rf"\section*{{{latex_text(derivation.cell.command)}}}",
    ]  # fmt: skip
    for section in sections:
        if section.lines:
            out += [rf"\subsection*{{{section.title}}}", (section.note + ".") if section.note else ""]
            out.append(align([row for line in section.lines for row in latex_formula(line)]))
    out += [r"\subsection*{Rules}", align([rf"&{latex_rule(rule)}" for rule in sheet.rules]), r"\end{document}"]
    return "\n".join(line for line in out if line) + "\n"


def latex_text(words: str) -> str:
    special = {"\\": r"\textbackslash{}", "^": r"\textasciicircum{}", "~": r"\textasciitilde{}"} | {
        c: f"\\{c}" for c in "_&%#${}"
    }
    return "".join(special.get(character, character) for character in words).replace("--", "-{}-")


def markdown(derivation: Derivation) -> str:
    """The sheet as Markdown with display mathematics."""
    sheet = Sheet(derivation, LaTeX)
    out = [f"# `{derivation.cell.command}`", "", "| role | symbols |", "|---|---|"]
    out += [f"| {role} | {symbols} |" for role, symbols in Sheet(derivation).roles()]
    for section in sheet.sections():
        if section.lines:
            out += ["", f"## {section.title}", ""]
            rows = [row for line in section.lines for row in latex_formula(line)]
            out.append("$$\n\\begin{aligned}\n" + " \\\\\n".join(rows) + "\n\\end{aligned}\n$$")
    out += ["", "## Rules", "", *[f"- `{rule}`" for rule in sheet.rules]]
    return "\n".join(out) + "\n"


# ---- JSON


def as_json(derivation: Derivation) -> str:
    """The sheet as data: every formula as text and LaTeX, every term with its equation and rule."""
    plain, tex, cell = Sheet(derivation), Sheet(derivation, LaTeX), derivation.cell
    tables = {"inputs": cell.inputs, "states": cell.states, "outputs": cell.outputs, "parameters": cell.parameters}
    record: dict[str, Any] = {
        "command": cell.command,
        "name": cell.name,
        **{role: {v.name: [dim(s) for s in v.shape if s != 1] for v in values} for role, values in tables.items()},
        "programs": {
            program.name: [json_equation(equation, program, plain, tex) for equation in program.equations]
            for program in derivation.programs()
        },
    }
    return json.dumps(record, ensure_ascii=False, indent=2) + "\n"


def json_equation(equation: Equation, program: Program, plain: Sheet, tex: Sheet) -> dict[str, Any]:
    return {
        "name": equation.target.name,
        "kind": equation.target.kind,
        "lag": equation.target.lag,
        "text": plain.notation.equation(equation),
        "latex": tex.notation.equation(equation),
        "sum_over_steps": equation.accumulate,
        "factor": None if equation.factor is None else plain.notation.formula(equation.factor),
        "terms": [
            {
                "text": plain.notation.formula(term.value),
                "latex": tex.notation.formula(term.value),
                "from": None if term.reason is None or term.reason.equation is None else term.reason.equation.name,
                "rule": None if term.reason is None else term.reason.rule,
            }
            for term in equation.terms
        ],
    }


FORMATS = {"text": text, "latex": latex, "markdown": markdown, "json": as_json}
