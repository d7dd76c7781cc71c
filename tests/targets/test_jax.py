"""JAX kernels compute what NumPy's do, and JAX differentiates, compiles and batches them by their own derivatives."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from derive import keep
from derive.__main__ import main
from derive.cell import Cell
from derive.cells.registry import build
from derive.compiler import emit_jax
from derive.derivation import derive
from derive.procedures.procedure import OPERATIONS
from derive.targets.jax.expressions import PRINTING
from derive.targets.jax.functions import DEFINITIONS
from derive.targets.numpy.functions import CALLED
from derive.targets.numpy.functions import DEFINITIONS as IN_NUMPY
from tests.arguments import Call, backward, error, hvp, jvp
from tests.example_pages import page, titles
from tests.kernels import module_of
from tests.odd_cells import ODD
from tests.odd_cells import cell as odd_cell
from tests.profiles import thorough
from tests.shaped_cells import SHAPED
from tests.shaped_cells import cell as shaped_cell
from tests.targets.jax_kernels import call_for, direction, hold, hold_kernels, jax_and_numpy

jax = pytest.importorskip("jax", reason="JAX isn't installed: python -m pip install jax")
jax.config.update("jax_enable_x64", True)
jax.config.update("jax_disable_most_optimizations", True)  # each test compiles for sizes of its own and runs once
jnp = jax.numpy

ROOT = Path(__file__).parents[2]
KEPT = keep.Project.here(ROOT).listed
NETWORKS = ("lstm --layers 2", "gru --bidirectional", "lstm --masked", "rnn --layers 2 --bidirectional --masked")
PAGES = [
    (name, title)
    for name in ("attention.md", "captions.md", "characters.md", "networks.md", "002_networks.md", "004_networks.md")
    for title in titles(name)
]
WITHOUT = {"scale"}
"""Helpers of NumPy's kernels that write into an array."""


def test_every_operation_and_function_has_its_jax() -> None:
    """A new node has one entry here, too."""
    assert set(PRINTING) == set(OPERATIONS)
    helpers = {name for name in (*CALLED.values(), *IN_NUMPY) if not name.startswith("np.")}
    assert helpers - WITHOUT <= set(DEFINITIONS)


# ---- against NumPy


@pytest.mark.parametrize("words", [*KEPT, *NETWORKS])
def test_a_jax_kernel_computes_what_numpy_does(words: str) -> None:
    hold(build(words))


@pytest.mark.parametrize("name", ODD)
def test_a_jax_kernel_of_an_odd_cell(name: str) -> None:
    hold(odd_cell(name))


@pytest.mark.parametrize("name", SHAPED)
def test_a_jax_kernel_of_numbers_and_matrices(name: str) -> None:
    hold(shaped_cell(name))


@pytest.mark.parametrize(("name", "title"), PAGES)
def test_a_jax_kernel_of_a_page(name: str, title: str) -> None:
    """Tokens, losses, sums over steps, attention, two axes."""
    hold(page(name).cell(title).cell)


@pytest.mark.parametrize("words", ["rnn", thorough("lstm --peephole")])
def test_single_precision_and_runs_of_no_step_and_of_one_example(words: str) -> None:
    cell = build(words)
    in_jax, other = jax_and_numpy(cell)
    hold_kernels(in_jax, other, cell, call_for(other, 4, 5, D=7, H=9), np.float32)
    hold_kernels(in_jax, other, cell, call_for(other, 3, 1))
    hold_kernels(in_jax, other, cell, call_for(other, 0, 2))


def test_nan_inf_and_saturation_go_where_numpy_sends_them() -> None:
    cell = build("lstm --peephole")
    in_jax, other = jax_and_numpy(cell)
    for value in (np.nan, np.inf, -np.inf, 1e4, -1e4):
        call = call_for(other, 4, 3)
        call.inputs["x"][1, 2, 0] = value
        hold_kernels(in_jax, other, cell, call)
    call = call_for(other, 4, 3).astype(complex)
    call.inputs["x"][1, 2, 0] = 1e4
    hold_kernels(in_jax, other, cell, call, complex)


def test_planted_faults_of_the_text_are_seen() -> None:
    """A factor, a sign and a way of the text, each changed alone."""
    cell = build("lstm")
    _, other = jax_and_numpy(cell)
    text = emit_jax(derive(cell))
    backwards = text[text.index("def _backward") : text.index("def _jvp")]
    for right, wrong in (
        ("d_o * o * (1 - o)", "d_o * o * (1 + o)"),
        ("carry_c = d_c * f", "carry_c = -d_c * f"),
        ("reverse=True", "reverse=False"),
    ):
        assert backwards.count(right) == 1, right
        kernel = module_of(text.replace(backwards, backwards.replace(right, wrong)))
        with pytest.raises(AssertionError):
            hold_kernels(kernel, other, cell, call_for(other, 3, 2))


# ---- what JAX makes of it


class Loss:
    """A kernel's loss by `run`, for random cotangents, as a function of what a direction has: tokens are held."""

    def __init__(self, kernel: ModuleType, call: Call) -> None:
        self.kernel, self.call = kernel, call
        self.along = [in_jax(group) for group in direction(kernel, call).groups()]
        tokens = getattr(kernel, "TOKENS", {})
        self.tokens = in_jax({name: array for name, array in call.inputs.items() if name in tokens})
        self.point = [in_jax({name: array for name, array in group.items() if name not in tokens}) for group in call.groups()]

    def __call__(self, *point: Any) -> Any:
        outputs = self.outputs(*point)
        return sum((array * outputs[name]).sum() for name, array in in_jax(self.call.cotangents).items())

    def outputs(self, parameters: Any, inputs: Any, state: Any) -> Any:
        return self.kernel.run(parameters, {**inputs, **self.tokens}, state)


def in_jax(arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    return {name: jnp.asarray(array) for name, array in arrays.items()}


def near(found: Any, wanted: dict[tuple[int, str], np.ndarray]) -> bool:
    """Whether three mappings are a call's gradients, to 1e-12 of each block."""
    assert {(k, name) for k, group in enumerate(found) for name in group} == set(wanted)
    return max(error(np.asarray(found[k][name]), array) for (k, name), array in wanted.items()) <= 1e-12


EVERY = (0, 1, 2)


def dot(first: Any, second: Any) -> Any:
    return sum((a * b).sum() for a, b in zip(jax.tree.leaves(first), jax.tree.leaves(second), strict=True))


def loss_of(cell: Cell, T: int = 3, B: int = 2) -> tuple[Loss, ModuleType]:
    in_jax_, other = jax_and_numpy(cell)
    return Loss(in_jax_, call_for(other, T, B, D=3, H=4)), other


CELLS: list[Any] = [
    build("rnn"),
    *[pytest.param(build(words), marks=pytest.mark.thorough) for words in ("lstm --peephole", "gru --bidirectional")],
    pytest.param(("002_networks.md", "text modelling"), marks=pytest.mark.thorough),
]
"""A cell, others, and one of tokens."""


def cell_of(case: Any) -> Cell:
    if isinstance(case, Cell):
        return case
    name, wanted = case
    return page(name).cell(next(title for title in titles(name) if wanted in title.lower())).cell


@pytest.mark.parametrize("case", CELLS)
def test_first_and_second_derivatives_in_every_order(case: Any) -> None:
    loss, other = loss_of(cell_of(case))
    call, along = loss.call, direction(other, loss.call)
    first, second = backward(other, call), hvp(other, call, along)
    gradient = jax.grad(loss, EVERY)
    assert near(jax.jit(gradient)(*loss.point), first)
    _, tangents = jax.jvp(loss.outputs, tuple(loss.point), tuple(loss.along))
    wanted = jvp(other, call, along)
    assert max(error(np.asarray(tangents[name]), array) for name, array in wanted.items()) <= 1e-12
    assert near(jax.jvp(gradient, tuple(loss.point), tuple(loss.along))[1], second)
    assert near(jax.grad(lambda *point: dot(gradient(*point), loss.along), EVERY)(*loss.point), second)

    def moved(*point: Any) -> Any:
        return jax.jvp(loss, point, tuple(loss.along))[1]

    assert near(jax.grad(moved, EVERY)(*loss.point), second)
    curvature = jax.jvp(moved, tuple(loss.point), tuple(loss.along))[1]
    expected = sum((array * along.all()[key]).sum() for key, array in second.items())
    assert np.isclose(float(curvature), expected, rtol=1e-10)


@pytest.mark.parametrize("case", CELLS)
def test_batched_by_vmap(case: Any) -> None:
    """Of gradients, gradients of it, and parameters that all points share."""
    loss, _ = loss_of(cell_of(case))
    parameters, inputs, state = loss.point
    if not inputs:
        pytest.skip("it has tokens alone")
    many = {name: jnp.stack([array, 2 * array, -array]) for name, array in inputs.items()}
    each = [{name: array[k] for name, array in many.items()} for k in range(3)]

    def at(parameters: Any, inputs: Any) -> Any:
        return loss(parameters, inputs, state)

    gradient = jax.grad(at, (0, 1))
    wanted = [gradient(parameters, one) for one in each]
    apart = jax.vmap(gradient, (None, 0))(parameters, many)
    together = jax.grad(lambda *point: jax.vmap(at, (None, 0))(*point).sum(), (0, 1))(parameters, many)
    for name in parameters:
        assert error(np.asarray(apart[0][name]), np.stack([one[0][name] for one in wanted])) <= 1e-12
        assert error(np.asarray(together[0][name]), np.sum([one[0][name] for one in wanted], axis=0)) <= 1e-12
    for found in (apart, together):
        for name in inputs:
            assert error(np.asarray(found[1][name]), np.stack([one[1][name] for one in wanted])) <= 1e-12

    def squared(inputs: Any) -> Any:
        return dot(*[jax.grad(at, 1)(parameters, inputs)] * 2)

    twice = jax.grad(lambda many: jax.vmap(squared)(many).sum())(many)
    for name in inputs:
        assert error(np.asarray(twice[name]), np.stack([jax.grad(squared)(one)[name] for one in each])) <= 1e-12


@pytest.mark.parametrize(("words", "order"), [("rnn", 2), thorough("rnn", 3), thorough("lstm --peephole", 2)])
def test_check_grads(words: str, order: int) -> None:
    """JAX's own check, by differences, forward and reverse mode in every order."""
    from jax.test_util import check_grads

    loss, _ = loss_of(build(words), T=2)
    check_grads(loss.outputs, tuple(loss.point), order=order, modes=("fwd", "rev"))


def test_jax_uses_the_kernels_own_derivatives() -> None:
    """Each function with a fault of its own: what JAX computes by it is wrong, and nothing else."""
    text = emit_jax(derive(build("rnn")))
    _, other = jax_and_numpy(build("rnn"))
    call = call_for(other, 3, 2, D=3, H=4)
    along = direction(other, call)
    for function, fault in (("_backward", "reverse"), ("_jvp", "forward"), ("_hvp", "second")):
        kernel = module_of(text)
        whole = getattr(kernel, function)
        setattr(kernel, function, lambda *given, whole=whole: jax.tree.map(lambda array: 2 * array, whole(*given)))
        loss = Loss(kernel, call)
        gradient = jax.grad(loss, EVERY)
        tangents = jax.jvp(loss.outputs, tuple(loss.point), tuple(loss.along))[1]
        moves = jax.jvp(gradient, tuple(loss.point), tuple(loss.along))[1]
        right = {
            "reverse": near(gradient(*loss.point), backward(other, call)),
            "forward": error(np.asarray(tangents["h"]), jvp(other, call, along)["h"]) <= 1e-12,
            "second": near(moves, hvp(other, call, along)),
        }
        assert right == {one: one != fault for one in right}


# ---- refusals


def test_what_does_not_fit_is_refused_compiled_or_not() -> None:
    loss, _ = loss_of(build("rnn"))
    kernel, (parameters, inputs, state) = loss.kernel, loss.point
    for run in (kernel.run, jax.jit(kernel.run), kernel.forward, jax.jit(kernel.forward)):
        with pytest.raises(ValueError, match=r"parameters: missing b: expected W, U, b"):
            run({"W": parameters["W"], "U": parameters["U"]}, inputs, state)
        with pytest.raises(ValueError, match=r"inputs\['x'\]: wrong shape: expected \(T, B, D = 3\), got \(3, 2\)"):
            run(parameters, {"x": inputs["x"][..., 0]}, state)
        with pytest.raises(ValueError, match=r"inputs\['x'\]: mixed dtypes: expected float64, as the first array, got float32"):
            run(parameters, {"x": inputs["x"].astype(jnp.float32)}, state)
    with pytest.raises(ValueError, match=r"inputs\['x'\] is no array: expected a JAX array, got ndarray"):
        kernel.forward(parameters, loss.call.inputs, state)
    with pytest.raises(ValueError, match="tape: wrong type: expected the tape that forward returned, got dict"):
        kernel.backward(parameters, {}, {})


@pytest.mark.thorough
def test_tokens_out_of_range_are_refused_where_they_are_known() -> None:
    loss, _ = loss_of(cell_of(("002_networks.md", "text modelling")))
    (name, dim), *_ = loss.kernel.TOKENS.items()
    parameters, inputs, state = loss.point
    wrong = {**inputs, **loss.tokens, name: loss.tokens[name].at[1, 0].set(99)}
    with pytest.raises(ValueError, match=rf"inputs\['{name}'\]: token out of range: expected 0 <= {name} < {dim} = .* got 99 at"):
        loss.kernel.forward(parameters, wrong, state)
    assert jax.jit(loss.kernel.run)(parameters, wrong, state)


def test_tape_and_gradients_go_through_functions_that_jax_compiles() -> None:
    loss, other = loss_of(build("rnn"))
    kernel, (parameters, inputs, state) = loss.kernel, loss.point
    outputs, tape = jax.jit(kernel.forward)(parameters, inputs, state)
    gradients = jax.jit(kernel.backward)(parameters, tape, {name: jnp.ones_like(array) for name, array in outputs.items()})
    ones = {name: np.ones(array.shape) for name, array in outputs.items()}
    wanted = backward(other, Call(*loss.call.groups(), ones))
    assert near((gradients.parameters, gradients.inputs, gradients.state), wanted)
    still = backward(other, Call(loss.call.parameters, loss.call.inputs, {"h": 0 * loss.call.state["h"]}, ones))
    found = jax.grad(lambda *point: kernel.run(*point)["h"].sum(), (0, 1))(parameters, inputs)
    assert near((*found, {}), {key: array for key, array in still.items() if key[0] < 2})


# ---- the file


def test_the_text_is_the_same_every_time_and_imports_jax_alone() -> None:
    text = emit_jax(derive(build("gru --reset after")))
    assert text == emit_jax(derive(build("gru --reset after")))
    assert not re.search(r"/(tmp|home|root|usr)/", text)
    nodes = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Import | ast.ImportFrom)]
    names = [node.module if isinstance(node, ast.ImportFrom) else node.names[0].name for node in nodes]
    assert {str(name).partition(".")[0] for name in names} == {"jax"}
    assert max(map(len, text.splitlines())) <= 140


@pytest.mark.thorough
def test_derive_writes_and_verifies_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rnn", "--target", "jax", "--out", str(tmp_path)]) == 0
    assert "verified: emitted, hand-written, complex step" in capsys.readouterr().out
    text = (tmp_path / "rnn_jax.py").read_text(encoding="utf-8")
    assert keep.command_in(text) == "rnn --target jax"
    assert keep.edited_part(text) == ""
    assert keep.edited_part(text + "\n") == "body"


def test_without_jax_one_line_says_what_to_install(tmp_path: Path) -> None:
    def run(call: str) -> subprocess.CompletedProcess[str]:
        program = f"import sys; sys.modules['jax'] = None; {call}"
        return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT)

    words = ["rnn", "--target", "jax", "--out", str(tmp_path)]
    refused = run(f"from derive.__main__ import main; sys.exit(main({words!r}))")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr.startswith("derive: --target jax: verifying the kernel runs it: expected jax installed, got none. Run")
    assert run(f"from derive.__main__ import main; sys.exit(main({[*words, '--no-verify']!r}))").returncode == 0
    path = str(tmp_path / "rnn_jax.py")
    refused = run(f"from verify.__main__ import main; sys.exit(main([{path!r}]))")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert len(refused.stderr.splitlines()) == 1
    assert f"verify: {path}: can't be checked: expected jax" in refused.stderr
    assert "python -m pip install jax" in refused.stderr


def test_another_schedule_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rnn", "--target", "jax", "--schedule", "plain", "--out", str(tmp_path)]) == 2
    assert "such a kernel has a schedule of its own" in capsys.readouterr().err
