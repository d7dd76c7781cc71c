"""The text of a kernel: its header, its digests, what it imports, that it reads like the equations and is always the same."""

from __future__ import annotations

import ast
import functools
import hashlib
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from derive.cells.registry import build
from derive.compiler import compile_cell, equations_text
from derive.keep import Project, equations_in, split
from derive.language import Value
from tests import arguments as args
from tests import bounds, kernels
from tests.arguments import draw
from tests.kernels import kernel_of, kernel_of_cell
from tests.odd_cells import ODD, D, H, cell, cell_of, h, x
from tests.profiles import THOROUGH, thorough

ROOT = Path(__file__).parents[2]
KEPT = Project.here(ROOT).listed
NAMES = (*KEPT, *ODD)
every = pytest.mark.parametrize("name", NAMES)
kept = pytest.mark.parametrize("name", KEPT)


@functools.cache
def text_of(name: str) -> str:
    return compile_cell(cell(name)) if name in ODD else kernels.text_of(name)


def headed(text: str, what: str) -> str:
    """A digest in the header."""
    found = re.search(rf"^# {what} +sha256 ([0-9a-f]+)$", split(text)[0], re.M)
    assert found, what
    return found[1]


# ---- header


@every
def test_the_header_names_the_command_and_the_equations(name: str) -> None:
    one = cell(name) if name in ODD else build(name)
    assert text_of(name).startswith(f"# Emitted by `python -m derive {one.command}`")
    found = equations_in(text_of(name))
    assert list(found) == [target.name for target in one.targets]
    assert list(found.values()) == equations_text(one)


@every
def test_the_digest_of_the_body_is_that_of_the_body(name: str) -> None:
    text = text_of(name)
    body = split(text)[1]
    assert hashlib.sha256(body.encode()).hexdigest().startswith(headed(text, "body"))
    assert len(headed(text, "body")) >= 16


def test_digests_change_with_what_they_are_of() -> None:
    plain, other = text_of("gru"), text_of("gru --update-gate state")
    assert all(headed(plain, what) != headed(other, what) for what in ("equations", "derivation", "body"))


def test_a_number_in_an_equation_changes_its_digest() -> None:
    from derive.language import Eq

    a, b = (compile_cell(cell_of(Eq(h, number * h.prev + Value("W", H, D, axes=()) @ x))) for number in (0.5, 0.5000001))
    assert headed(a, "equations") != headed(b, "equations")


@every
def test_no_path_time_or_host(name: str) -> None:
    text = text_of(name)
    assert str(Path.home()) not in text
    assert not re.search(r"/(tmp|home|work|usr)/", text)
    assert not re.search(r"\b20\d\d-\d\d|\d\d:\d\d", text)


def test_out_and_name_are_no_part_of_the_text() -> None:
    assert compile_cell(build("lstm").renamed("other")) == text_of("lstm")


@kept
def test_what_the_header_says_is_saved_is_what_the_tape_holds(name: str) -> None:
    saved = re.search(r"saved +(.+?) numbers: (.+)$", split(text_of(name))[0], re.M)
    assert saved
    module = kernel_of(name)
    T, B, sizes = 5, 3, {"D": 2, "H": 3}
    _, tape = args.forward(module, draw(module, T=T, B=B, sizes=sizes))
    arrays = {n: a for n, a in vars(tape).items() if isinstance(a, np.ndarray)}
    names = saved[2].split(", ")
    assert set(names) <= set(arrays)
    number = sum(eval(term.replace(" ", "*"), {}, dict(sizes)) for term in saved[1].split(" + "))
    steps = {n: a.size // B - (a.shape[0] - T) * a.shape[1] for n, a in arrays.items()}
    assert number * T == sum(steps[n] for n in names)
    assert set(arrays) - set(names) <= set(module.INPUTS), "the tape keeps what the header doesn't say"


@pytest.mark.parametrize(
    ("name", "forward", "products"),
    [
        ("rnn", "H^2 + D H", 2),
        ("lstm", "4 D H + 4 H^2", 2),
        ("lstm --peephole", "4 D H + 7 H^2", 4),
        ("lstm --peephole diagonal", "4 D H + 4 H^2", 2),
        ("gru", "3 D H + 3 H^2", 3),
    ],
)
def test_the_header_counts_the_products_of_the_code(name: str, forward: str, products: int) -> None:
    """Stacked gates are one product; the multiply-adds are those of the equations all the same."""
    found = re.search(r"forward +(\d+) matrix products \((.+?) multiply-adds\)", text_of(name))
    assert found
    assert int(found[1]) == products
    assert sorted(found[2].split(" + ")) == sorted(forward.split(" + "))


@kept
@pytest.mark.parametrize("function", ["forward", "backward"])
def test_the_header_counts_what_stands_in_the_loops(name: str, function: str) -> None:
    """Every product that a block of steps takes; sums over the examples, products with ones, are none."""
    found = re.search(rf"{function} +(\d+) matrix products", text_of(name))
    tree = next(n for n in ast.parse(text_of(name)).body if isinstance(n, ast.FunctionDef) and n.name == function)
    loops = [node for node in tree.body if isinstance(node, ast.For)]
    nodes = [node for loop in loops for node in ast.walk(loop)]
    calls = [n for n in nodes if isinstance(n, ast.Call) and ast.unparse(n.func) in ("dot", "matmul")]
    signs = [
        n for n in nodes if isinstance(n, ast.BinOp) and isinstance(n.op, ast.MatMult) and "np.ones" not in ast.unparse(n.left)
    ]
    assert found
    assert int(found[1]) == len(calls) + len(signs)


# ---- the module


@every
def test_a_kernel_imports_numpy_and_nothing_else(name: str) -> None:
    imports = [node for node in ast.walk(ast.parse(text_of(name))) if isinstance(node, (ast.Import, ast.ImportFrom))]
    assert [ast.unparse(node) for node in imports] == ["import numpy as np"]


@every
def test_a_kernel_has_the_tables_and_functions_of_the_contract(name: str) -> None:
    tree = ast.parse(text_of(name))
    functions = {node.name: [a.arg for a in node.args.args] for node in tree.body if isinstance(node, ast.FunctionDef)}
    assert functions["forward"] == ["parameters", "inputs", "state"]
    assert functions["backward"] == ["parameters", "tape", "cotangents"]
    assert functions["jvp"] == ["parameters", "inputs", "state", "tangent_parameters", "tangent_inputs", "tangent_state"]
    assert functions["step_jacobian"] == ["parameters", "tape"]
    tables = {node.targets[0].id for node in tree.body if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)}
    assert {"PARAMETERS", "INPUTS", "STATES", "OUTPUTS"} <= tables


@every
def test_one_value_a_line_and_every_function_says_its_shapes(name: str) -> None:
    tree = ast.parse(text_of(name))
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("__"):
            assert ast.get_docstring(node), node.name
    lines = [node.lineno for node in ast.walk(tree) if isinstance(node, (ast.Assign, ast.AugAssign, ast.Return))]
    assert len(lines) == len(set(lines))


@kept
def test_the_formulas_of_the_backward_pass_stand_over_the_code(name: str) -> None:
    text = text_of(name)
    backward = text[text.index("def backward") : text.index("def jvp")]
    comments = [line.strip() for line in backward.splitlines() if line.strip().startswith("# ∂L/∂")]
    assert len(comments) >= len(build(name).states) + 1
    assert len(comments) == len(set(comments))


def test_the_functions_that_the_code_calls_are_the_only_ones_that_it_defines() -> None:
    assert "def sigma" not in text_of("rnn")
    assert "def softmax" in text_of("readout")
    assert "def relu" in text_of("rnn --activation relu")


# ---- the same everywhere


@pytest.mark.parametrize("name", [name if name in KEPT else thorough(name) for name in NAMES])
def test_compiled_twice_is_the_same(name: str) -> None:
    assert text_of(name) == compile_cell(cell(name) if name in ODD else build(name))


def test_two_processes_with_different_hash_seeds_give_the_same_bytes() -> None:
    program = (
        "import sys, hashlib; from derive.compiler import compile_cell; from derive.cells.registry import build; "
        "from tests.odd_cells import cell; from derive import sheet; from derive.derivation import derive;"
        f"texts = [compile_cell(build(w)) for w in {['lstm --peephole', 'gru --reset after', 'rnn']!r}];"
        "texts += [compile_cell(cell(n)) for n in ('several_sizes', 'many_functions', 'concatenated_twice', 'shared_matrix')];"
        "texts += [f(derive(build('lstm --peephole diagonal'))) for f in sheet.FORMATS.values()];"
        "print(hashlib.sha256(chr(0).join(texts).encode()).hexdigest())"
    )
    found = {
        subprocess.run(
            [sys.executable, "-c", program], cwd=ROOT, env={**os.environ, "PYTHONHASHSEED": seed}, capture_output=True, check=True
        ).stdout
        for seed in ("0", "1", "4242")[: 3 if THOROUGH else 2]
    }
    assert len(found) == 1


def test_committed_kernels_are_what_their_equations_give() -> None:
    for words in KEPT:
        name = build(words).name
        assert Project.here(ROOT).path(name).read_text(encoding="utf-8") == text_of(words), name


def test_the_kernels_that_the_project_promises_are_committed() -> None:
    names = {one.name for one in Project.here(ROOT).cells()}
    assert {"rnn", "rnn_activation_relu", "lstm", "lstm_peephole", "lstm_peephole_diagonal"} <= names
    assert {"lstm_peephole_candidate_peephole", "gru", "gru_update_gate_state"} <= names
    assert {"gru_reset_after", "gru_reset_after_update_gate_state"} <= names


def test_a_kernel_works_copied_alone_into_another_folder(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(text_of("gru"), encoding="utf-8")
    program = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import numpy as np, mine;"
        "parameters = {n: np.ones((3,) * len(dims)) for n, dims in mine.PARAMETERS.items()};"
        "outputs, _ = mine.forward(parameters, {'x': np.ones((2, 2, 3))});"
        "print(outputs['h'].shape, [m for m in sys.modules if m.split('.')[0] in ('sympy', 'derive')])"
    )
    words = [sys.executable, "-W", "error", "-I", "-c", program]
    found = subprocess.run(words, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "(2, 2, 3) []"


def test_a_kernel_of_one_numpy_line_per_call_gives_the_gradient_of_a_long_product() -> None:
    """h = w h: dh_T/dh_0 is w to the power T, and of w, T w^(T-1) h_0: by hand."""
    from derive.language import Eq, vector

    module = kernel_of_cell(cell_of(Eq(h, vector("w", H) * h.prev + 0 * h.prev + sequence_of_inputs())))
    w, start, T = np.array([0.5, 2.0, -1.0]), np.ones((1, 3)), 10
    outputs, tape = module.forward({"w": w}, {"u": np.zeros((T, 1, 3))}, {"h": start})
    cotangent = np.zeros((T, 1, 3))
    cotangent[-1] = 1
    limit = bounds.rounded(3 * T)  # a product and two sums a step
    gradients = module.backward({"w": w}, tape, {"h": cotangent})
    np.testing.assert_allclose(outputs["h"][-1, 0], w**T, rtol=limit)
    np.testing.assert_allclose(gradients.parameters["w"], T * w ** (T - 1), rtol=limit)
    np.testing.assert_allclose(gradients.state["h"][0], w**T, rtol=limit)
    np.testing.assert_allclose(gradients.inputs["u"][0, 0], w ** (T - 1), rtol=limit)


def sequence_of_inputs() -> Value:
    return Value("u", H)
