"""A kernel is held against its equations by a route that nothing of derivation and printing touches: no wrong one is ever written."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from derive import compiler
from derive.__main__ import main
from derive.cell import Cell
from derive.cells.registry import build
from derive.compiler import compile_cell
from derive.derivation import Derivation, derive
from derive.language import Plus, scale
from derive.passes import SCHEDULE
from derive.program import Program
from derive.targets.numpy.functions import DEFINITIONS
from tests.kernels import kernel_of
from verify.against import Stated
from verify.data import ORDINARY, draw
from verify.emitted import compare_text
from verify.equations import Equations
from verify.evidence import Evidence
from verify.kernel import Kernel
from verify.model import model_of

ROOT = Path(__file__).parents[2]
CELLS = ["rnn --activation relu", "lstm --peephole --candidate-peephole", "lstm --peephole diagonal", "gru --reset after"]


# ---- the route


def runtime_imports(module: str) -> Iterator[str]:
    """What a module of ours imports when it runs, and what that imports."""
    waiting, seen = [module], set()
    while waiting:
        name = waiting.pop()
        file = ROOT / (name.replace(".", "/") + ".py")
        if name in seen or not file.is_file():
            continue
        seen.add(name)
        yield name
        tree = ast.parse(file.read_text(encoding="utf-8"))
        for_types = [node for node in tree.body if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)]
        guarded = {id(inner) for node in for_types for inner in ast.walk(node)}
        for node in ast.walk(tree):
            if id(node) in guarded:
                continue
            if isinstance(node, ast.ImportFrom) and node.module:
                waiting += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
            elif isinstance(node, ast.Import):
                waiting += [alias.name for alias in node.names]


def test_the_route_of_the_equations_shares_nothing_with_derivation_passes_or_printing() -> None:
    ours = {name for name in runtime_imports("verify.equations") if name.startswith(("derive", "generated"))}
    language = (
        "language", "along", "blocks", "comparisons", "errors", "expressions", "functions", "interned", "letters", "onehot", "reductions",
        "shapes",
    )  # fmt: skip
    assert ours <= {f"derive.{room}" for room in language}


@pytest.mark.parametrize("words", CELLS)
def test_equations_give_the_outputs_of_their_kernel_for_real_and_complex_numbers(words: str) -> None:
    kernel = Kernel(kernel_of(words), words)
    stated = Stated(model_of(build(words)), kernel)
    data = draw(kernel.dims, ORDINARY)
    for moved in (data, data.with_flat({block: array * (1 + 0.3j) for block, array in data.flat().items()})):
        found = kernel.outputs(moved)
        for name, array in stated.outputs(moved).items():
            np.testing.assert_allclose(
                array, found[name], rtol=0, atol=1e-13
            )  # five steps of sums of six products of numbers of order 1


@pytest.mark.parametrize("words", CELLS)
def test_all_directions_of_one_run_are_those_of_single_runs(words: str) -> None:
    kernel = Kernel(kernel_of(words), words)
    evidence = Evidence(kernel, ORDINARY, draw(kernel.dims, ORDINARY))
    own = Stated(model_of(build(words)), kernel).evidence(evidence)
    assert len(own.known) == 2 * len(kernel.dims.parameters)
    for key, moves in own.known.items():
        block, k = key.split()
        for name, array in evidence.along(block, int(k)).value.items():
            np.testing.assert_allclose(moves.value[name], array, rtol=0, atol=1e-12)


def test_equations_that_need_each_other_are_ordered() -> None:
    cell = build("lstm --peephole")
    shuffled = replace(cell, equations=tuple(reversed(cell.equations)))
    kernel = Kernel(kernel_of("lstm --peephole"), "lstm")
    data = draw(kernel.dims, ORDINARY)
    first, second = (Equations(one, {"H": 3, "D": 2}).outputs(data) for one in (cell, shuffled))
    assert all(np.array_equal(first[name], second[name]) for name in first)


# ---- a wrong kernel is never written


def flipped(cell: Cell) -> Cell:
    """The cell with the sign of the last summand turned in its first equation."""
    (target, right), *rest = cell.equations
    part = next(node for node in right.atoms(Plus))
    other = Plus(*part.args[:-1], scale(-1, part.args[-1]), evaluate=False)
    return replace(cell, equations=((target, right.xreplace({part: other})), *rest))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def refused(folder: Path, words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """What is said where nothing is written."""
    assert main(words) == 1
    assert not list(folder.rglob("*.py"))
    said = capsys.readouterr().err
    assert "not written" in said
    return said


@pytest.mark.parametrize("name", SCHEDULE)
def test_a_pass_that_makes_both_passes_those_of_other_equations_is_caught(
    name: str, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The faulty pass puts programs of a cell with one sign turned in the place of the right ones; all of them fit each other."""
    wrong, right, honest = derive(flipped(build("gru"))), dict(SCHEDULE), compiler.schedule
    programs = {program.name: program for program in wrong.programs()}
    before = list(SCHEDULE)[: list(SCHEDULE).index(name)]

    def faulty(program: Program, forward: Program) -> Program:
        found = replace(programs[program.name], results=program.results)
        for one in (*before, name):
            found = right[one](found, wrong.forward)
        return found

    def schedule(derivation: Derivation, passes: Any) -> Any:
        other, _ = honest(wrong, [one for one in passes if one != name])
        monkeypatch.setitem(SCHEDULE, name, faulty)
        found, tape = honest(derivation, passes)
        monkeypatch.setitem(SCHEDULE, name, right[name])
        return replace(found, tangent=other.tangent, jacobian=other.jacobian), tape

    monkeypatch.setattr(compiler, "schedule", schedule)
    said = refused(folder, ["gru"], capsys)
    assert "fail: against: forward: output h, step 0, regime ordinary: differs from `gru`" in said
    assert not re.search("fail: (gradients|jvp|adjoint|step_jacobian|complex|sizes)", said)


@pytest.mark.parametrize("schedule", ["fast", "plain"])
def test_a_printer_that_prints_other_equations_is_caught(
    schedule: str, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    printer = {"fast": "fast", "plain": "textbook"}[schedule]
    honest, other = getattr(compiler, printer), derive(flipped(build("lstm")))

    def printed(*given: Any) -> str:
        return honest(other, *(compiler.schedule(other) if schedule == "fast" else compiler.plain(other)))

    monkeypatch.setattr(compiler, printer, printed)
    assert "differs from `lstm`" in refused(folder, ["lstm", "--schedule", schedule], capsys)


@pytest.mark.parametrize("schedule", ["fast", "plain"])
def test_a_printer_that_takes_one_gate_for_another_is_caught(
    schedule: str, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every b_i of the printed text is b_f and the reverse, in both passes."""
    printer = {"fast": "fast", "plain": "textbook"}[schedule]
    honest = getattr(compiler, printer)

    def printed(*given: Any) -> str:
        return honest(*given).replace("b_i", "b_swapped").replace("b_f", "b_i").replace("b_swapped", "b_f")

    monkeypatch.setattr(compiler, printer, printed)
    said = refused(folder, ["lstm", "--schedule", schedule], capsys)
    assert "differs from `lstm`" in said
    assert "b_i and b_f exchanged" in said


def test_a_printed_helper_that_is_another_function_is_caught(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """softplus of 1.0001 z."""
    page = folder / "page.md"
    page.write_text(r"$$h_t = \operatorname{softplus}(W x_t + U h_{t-1} + b)$$")
    monkeypatch.setitem(DEFINITIONS, "softplus", DEFINITIONS["softplus"].replace("(z):", "(z):\n    z = 1.0001 * z", 1))
    assert main([str(page)]) == 1
    assert not list(folder.rglob("*.py"))
    assert "not written" in capsys.readouterr().err


@pytest.mark.parametrize(("text", "as_cell"), [("gru", "gru --update-gate state"), ("rnn", "rnn --activation relu")])
def test_the_kernel_of_one_cell_is_not_that_of_another(text: str, as_cell: str) -> None:
    report = compare_text(compile_cell(build(text)), build(as_cell))
    assert any(finding.check == "against" for finding in report.failures())
