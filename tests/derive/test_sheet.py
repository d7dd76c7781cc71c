"""The derivation sheet: complete, with a reason for each term, within a terminal, nothing twice, LaTeX that compiles."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import unicodedata
from pathlib import Path
from typing import Any

import pytest
import sympy as sp

from derive import sheet
from derive.cell import Cell
from derive.cells.registry import build, declarations, variants
from derive.derivation import derive
from derive.functions import FUNCTIONS, function
from derive.language import Eq, matrix, sequence, vector
from derive.notation import Notation
from tests.odd_cells import ODD, D, H, cell_of
from tests.odd_cells import cell as odd_cell

BUILT_IN = tuple(cell.command for declaration in declarations().values() for cell in variants(declaration))
KEPT = ("rnn", "lstm", "lstm --peephole", "lstm --peephole diagonal")
KEPT += ("gru", "gru --reset after", "gru --reset after --update-gate state")
EVERY = (*KEPT, *ODD)
SHEETS: dict[tuple[str, str], str] = {}


def cell(name: str) -> Cell:
    return odd_cell(name) if name in ODD else build(name)


def shown(name: str, form: str = "text") -> str:
    if (name, form) not in SHEETS:
        SHEETS[name, form] = sheet.FORMATS[form](derive(cell(name)))
    return SHEETS[name, form]


def record(name: str) -> dict[str, Any]:
    return json.loads(shown(name, "json"))


def columns(line: str) -> int:
    return sum(not unicodedata.combining(character) for character in line)


def section(name: str, title: str) -> list[str]:
    """The lines of a section of the text."""
    lines = shown(name).splitlines()
    start = lines.index(title) + 2
    rest = [k for k in range(start, len(lines)) if set(lines[k]) == {"-"}]
    return [line for line in lines[start : rest[0] - 1 if rest else None] if line.strip()]


# ---- text


@pytest.mark.parametrize("name", BUILT_IN)
def test_text_fits_a_terminal(name: str) -> None:
    wide = [line for line in shown(name).splitlines() if columns(line) > 80]
    assert not wide


def test_symbols_in_the_header_are_wrapped_whole() -> None:
    """Many parameters of two dimensions: no line is too wide, none ends inside a shape."""
    terms = [matrix(f"W_{'i' * k}", H, D) @ sequence("x", D) for k in range(1, 24)]
    lines = sheet.text(derive(cell_of(Eq(sequence("h", H), sum(terms[1:], terms[0] + sequence("h", H).prev))))).splitlines()
    header = lines[: lines.index("Forward")]
    assert max(map(columns, header)) <= 80
    assert all(line.count("(") == line.count(")") for line in header)


@pytest.mark.parametrize("name", [*BUILT_IN, *ODD])
def test_no_line_with_a_formula_is_repeated(name: str) -> None:
    formulas = [line for line in shown(name).splitlines() if re.match(r"  [^ ].* = ", line) and not line.startswith("  y = ")]
    assert sorted(formulas) == sorted(set(formulas))


@pytest.mark.parametrize("name", EVERY)
def test_equations_stand_first_as_they_were_declared(name: str) -> None:
    text = re.sub(r"\s+", " ", " ".join(section(name, "Forward")))
    lefts = [line.split(" = ")[0].strip() for line in section(name, "Forward") if " = " in line]
    places = [text.index(f"{left} = ") for left in lefts]
    assert places == sorted(places)
    assert len(places) == len(cell(name).equations)


def test_the_peephole_lstm_reads_as_the_slides_do() -> None:
    """dL/dc_t from dL/dh_t, dL/dc_{t+1} and the gates, in order of computation."""
    backward = section("lstm --peephole", "Backward")
    lefts = [line.split(" = ")[0].strip() for line in backward if " = " in line]
    order = [lefts.index(f"∂L/∂{name}ₜ") for name in ("h", "o", "c", "f", "i")]
    assert order == sorted(order)
    text = "\n".join(backward)
    for term in ("P_oᵀ ∂L/∂a_oₜ", "P_iᵀ ∂L/∂a_iₜ₊₁", "P_fᵀ ∂L/∂a_fₜ₊₁", "∂L/∂cₜ₊₁ ∘ fₜ₊₁", "U_iᵀ ∂L/∂a_iₜ₊₁"):
        assert term in text, term
    assert re.search(r"∂L/∂hₜ ∘ oₜ ∘ \(1 − tanh\(cₜ\)²\)", text)


def test_a_moving_derivative_is_transposed_in_brackets() -> None:
    notation, moving = Notation(), sequence("h", H).like(marks=("cotangent", "tangent"))
    assert notation.base(moving, 0) == "(∂L̇/∂hₜ)"
    assert "(" not in notation.base(sequence("h", H).like(marks=("tangent",)), 0)


def test_slopes_are_written_in_the_outputs() -> None:
    for name in KEPT:
        text = shown(name)
        assert "exp(" not in text
        assert "σ'" not in text
        assert "sigma" not in text
        assert text.count("σ(") == sum("σ(" in line for line in section(name, "Forward"))


# ---- json: every quantity, every reason


@pytest.mark.parametrize("name", EVERY)
def test_every_quantity_has_its_gradient(name: str) -> None:
    one = cell(name)
    found = {(e["kind"], e["name"], e["lag"]) for e in record(name)["programs"]["backward"]}
    for value in (*one.targets, *one.inputs, *one.parameters):
        assert ("cotangent", value.name, 0) in found, value.name
    for state in one.states:
        assert ("carry", state.name, 0) in found, state.name


@pytest.mark.parametrize("name", EVERY)
def test_every_term_has_its_reason(name: str) -> None:
    """Each summand of a derived gradient names the equation and the rule that it comes from."""
    targets = {e["name"] for e in record(name)["programs"]["forward"]}
    for program in ("backward", "tangent", "jacobian"):
        for equation in record(name)["programs"][program]:
            if equation["kind"] == "primal":
                continue  # a shared part: it has no derivative of its own
            for term in equation["terms"]:
                assert term["rule"], (program, equation["name"], term["text"])
                assert term["from"] is None or term["from"] in targets


@pytest.mark.parametrize("name", EVERY)
def test_every_reason_is_the_right_one(name: str) -> None:
    """A term of dL/dv from the equation of y: that equation reads v, and the term holds dL/dy."""
    derivation = derive(cell(name))
    forward = derivation.forward.defined()
    for equation in derivation.backward.equations:
        for term in equation.terms:
            if term.reason is None or term.reason.equation is None or equation.target.kind not in ("cotangent", "carry"):
                continue
            read = {value.name for value in forward[term.reason.equation].reads()}
            assert equation.target.name in read, (equation.target.name, term.reason.equation.name)


@pytest.mark.parametrize("name", EVERY)
def test_json_has_the_tables_and_every_program(name: str) -> None:
    one, data = cell(name), record(name)
    assert data["command"] == one.command
    assert data["name"] == one.name
    assert list(data["parameters"]) == [v.name for v in one.parameters]
    assert set(data["programs"]) == {"forward", "backward", "tangent", "jacobian"}
    for equation in (e for program in data["programs"].values() for e in program):
        assert equation["text"]
        assert equation["latex"].count("{") == equation["latex"].count("}")


def test_parameters_are_sums_over_the_steps() -> None:
    for equation in record("lstm")["programs"]["backward"]:
        if equation["name"] in record("lstm")["parameters"]:
            assert equation["sum_over_steps"]
            assert "Σₜ" in equation["text"]


# ---- LaTeX and Markdown


def names_cell() -> Cell:
    """Names that LaTeX could trip over."""
    x, h = sequence("x_1_hat", D), sequence("alpha_bar", H)
    W, U = matrix("W_alpha_x", H, D), matrix("U__2", H, H)
    gate = sequence("Gamma_u", H)
    first = function("sigma")(W @ x + vector("lambda_", H) * h.prev)
    return cell_of(Eq(gate, first), Eq(h, gate * function("tanh")(U @ h.prev) + (1 - gate) * h.prev**2 / 3), name="own")


def compiles(tex: str, folder: Path) -> None:
    (folder / "sheet.tex").write_text(tex, encoding="utf-8")
    words = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "sheet.tex"]
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, errors="replace")
    assert done.returncode == 0, [line for line in done.stdout.splitlines() if line.startswith("!") or line.startswith("l.")]
    assert (folder / "sheet.pdf").stat().st_size > 1000
    assert "Missing character" not in (folder / "sheet.log").read_text(errors="replace")


latex = pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed: LaTeX can't be compiled")
TO_COMPILE = ("lstm --peephole", "gru --reset after", "many_functions", "concatenated_twice", "readout", "untimed_parts")


@latex
@pytest.mark.parametrize("name", TO_COMPILE)
def test_latex_compiles(name: str, tmp_path: Path) -> None:
    compiles(shown(name, "latex"), tmp_path)


@latex
def test_latex_of_unusual_names_compiles(tmp_path: Path) -> None:
    compiles(sheet.FORMATS["latex"](derive(names_cell())), tmp_path)


@latex
def test_latex_of_a_command_with_special_characters_compiles(tmp_path: Path) -> None:
    one = Cell.from_equations("own", "a_b&c%d#e$f^g~h{i}.md --peephole", [Eq(*pair) for pair in names_cell().equations])
    compiles(sheet.FORMATS["latex"](derive(one)), tmp_path)


@pytest.mark.parametrize("name", EVERY)
def test_latex_is_ascii_and_balanced(name: str) -> None:
    tex = shown(name, "latex")
    assert tex.isascii(), sorted({c for c in tex if not c.isascii()})
    assert tex.count("{") == tex.count("}")
    assert tex.count(r"\left") == tex.count(r"\right")
    assert not re.search(r"\^\\top\^|_\{[^{}]*\}_\{", tex), "a double superscript or subscript"


@pytest.mark.parametrize("name", KEPT)
def test_markdown_shows_the_same_formulas(name: str) -> None:
    text = shown(name, "markdown")
    assert text.startswith(f"# `{name}`")
    assert text.count("$$") % 2 == 0
    bodies = re.findall(r"\\begin\{align(?:ed|\*)\}\n(.*?)\n\\end", text, re.S)
    tex = shown(name, "latex")
    assert bodies
    assert all(body in tex for body in bodies)


def test_a_fraction_too_long_to_read_is_shown_as_the_decimals_that_a_kernel_has() -> None:
    third, selu = sp.Rational(1, 3), FUNCTIONS["selu"]
    assert Notation().number(third) == "(1/3)"
    numbers = [Notation().number(n) for n in selu.atoms(sp.Rational) if n.q > 1]
    assert sorted(map(len, numbers))[-1] < 25
    assert all(float(text.replace("−", "-")) for text in numbers)
