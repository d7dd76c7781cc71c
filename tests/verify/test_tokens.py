"""Tokens in the verifier: data, what isn't compared, slips with tokens and their causes, equations that lose digits, Jacobians."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sympy as sp

from derive.along import mean_along, pick
from derive.cell import Cell
from derive.compiler import compile_cell
from derive.copies import Network
from derive.language import Value, X, apply, dimension, matrix, scale, transpose
from derive.onehot import one_hot
from derive.pages import read
from derive.reductions import softmax
from verify.against import against
from verify.cause import Inquiry
from verify.chain import one_step
from verify.data import BEYOND, NEAR_ZERO, ORDINARY, draw
from verify.edits.run import Trial
from verify.edits.tokens import other_tokens
from verify.evidence import EXACT, Evidence
from verify.examination import check
from verify.forward_cause import forward_fault
from verify.jacobian.command import main as jacobian
from verify.kernel import Kernel, KernelError, load_text
from verify.model import model_of
from verify.power.exact import Judge, resized
from verify.refusals import refusals
from verify.relations import relations
from verify.search import Search
from verify.settle import settled

PAGE = Path(__file__).parents[2] / "examples" / "pages" / "characters.md"
MODELS = ("Character model", "Gated character model", "Tagger", "Multi-label tagger")


@lru_cache
def cell_of(name: str) -> Any:
    return read(str(PAGE)).cell(name).cell


@lru_cache
def text_of(name: str) -> str:
    return compile_cell(cell_of(name))


def kernel_of(name: str, *edits: tuple[str, str]) -> Kernel:
    text = text_of(name)
    for old, new in edits:
        assert text.count(old) >= 1, f"`{old}` doesn't stand in the kernel"
        text = text.replace(old, new, 1)
    return Kernel(load_text(text, "edited.py"), "edited")


def evidence_of(kernel: Kernel, regime: Any = ORDINARY) -> Evidence:
    return Evidence(kernel, regime, draw(kernel.dims, regime, 0), method=EXACT)


@lru_cache
def search_of(name: str) -> Search:
    kernel = kernel_of(name)
    data = evidence_of(kernel).data
    return Search(Trial(model_of(cell_of(name)), kernel.dims, data, data.cotangents), data)


def inquiry_into(*edits: tuple[str, str]) -> Inquiry:
    search = search_of(MODELS[0])
    return Inquiry(evidence_of(kernel_of(MODELS[0], *edits)), [], search.trial.model, known=search)


# ---- data


def test_data_have_tokens_of_more_than_two_kinds_some_repeated_in_a_step_and_over_steps() -> None:
    kernel = kernel_of(MODELS[0])
    data = draw(kernel.dims, ORDINARY, 0)
    assert kernel.dims.sizes["V"] > 2
    for name in ("w", "w_next"):
        array = data.tokens[name]
        assert (array.min(), array.max()) == (0, kernel.dims.sizes["V"] - 1)
        assert any(len(np.unique(row)) < len(row) for row in array)
        assert len(np.unique(array)) < array.size


def test_nothing_moves_or_scales_tokens_and_they_have_no_block() -> None:
    data = draw(kernel_of(MODELS[0]).dims, ORDINARY, 0)
    assert not any(block.startswith("input ") for block in data.flat())
    for other in (data.astype(np.float32), data.moved(1e-3, np.random.default_rng(0)), data.with_flat(data.flat())):
        assert all(np.array_equal(other.inputs[name], array) for name, array in data.tokens.items())
        assert all(other.inputs[name].dtype == array.dtype for name, array in data.tokens.items())


# ---- verdicts


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("regime", [ORDINARY, NEAR_ZERO, BEYOND], ids=lambda regime: regime.name)
def test_both_passes_are_those_of_the_equations(name: str, regime: Any) -> None:
    """Also where the equations as printed lose digits, log(1 − σ(20)), or all that is left is a difference of equal numbers."""
    with np.errstate(all="ignore"):
        evidence = settled(kernel_of(name), regime, 0, EXACT)
        found = list(against(model_of(cell_of(name)), [evidence]))
    assert [finding.said for finding in found if not finding.passed] == []


def test_a_forward_pass_that_is_off_where_the_equations_lose_digits_is_caught() -> None:
    name, slip = MODELS[3], "softplus(a_q_hat_all)"
    kernel = kernel_of(name, (slip, f"(1 + 1e-8) * {slip}"))
    with np.errstate(all="ignore"):
        found = list(against(model_of(cell_of(name)), [evidence_of(kernel, BEYOND)]))
    assert [finding.where for finding in found if not finding.passed] == ["forward: output J, step 0, regime beyond saturation"]


def test_wrong_tokens_are_among_the_calls_that_a_kernel_has_to_refuse() -> None:
    kernel = kernel_of(MODELS[0])
    found = {finding.check: finding for finding in refusals(kernel, evidence_of(kernel).data)}
    assert found["refuses tokens"].passed
    lax = kernel_of(MODELS[0], ("        wrong = (array < 0) | (array >= sizes[dim])\n", "        wrong = array < -99\n"))
    found = {finding.check: finding for finding in refusals(lax, evidence_of(kernel).data)}
    assert not found["refuses tokens"].passed


# ---- causes

GATHERED = "by_token(d_x_all, w_all, V).T"
TARGET = "w_next_all, -1)"
SLIPS = {
    "one too large": ((GATHERED, "by_token(d_x_all, (w_all + 1) % V, V).T"), "token: w one too large"),
    "one too small": ((GATHERED, "by_token(d_x_all, (w_all - 1) % V, V).T"), "token: w one too small"),
    "another token": ((GATHERED, "by_token(d_x_all, w_next_all, V).T"), "token: w_next for w"),
    "of the step before": (
        (GATHERED, "by_token(d_x_all, np.roll(w_all, 1, axis=0), V).T"),
        "token: w one step earlier, at the first step the last",
    ),
    "overwritten": (
        (f"d_E = {GATHERED}", "d_E = np.zeros((V, d_x_all.shape[2]), dtype)\n    d_E[w_all] = d_x_all\n    d_E = d_E.T"),
        "repeated tokens w overwrite one another, = for +=",
    ),
    "overwritten within a step": (
        (
            f"d_E = {GATHERED}",
            "d_E = np.zeros((V, d_x_all.shape[2]), dtype)\n    for t in range(T):\n        d_E[w_all[t]] += d_x_all[t]\n    d_E = d_E.T",
        ),
        "repeated tokens w within a step overwrite one another, = for +=",
    ),
    "the target one too large": ((TARGET, "(w_next_all + 1) % V, -1)"), "token: w_next one too large"),
}


@pytest.mark.parametrize("name", SLIPS)
def test_a_slip_with_tokens_gets_its_cause_by_name(name: str) -> None:
    edit, said = SLIPS[name]
    inquiry = inquiry_into(edit)
    found = inquiry.explanation
    assert found is not None
    assert inquiry.headline(found) == said
    assert found.explained == set(inquiry.search.differing(inquiry.whole))
    assert all(inquiry.formulas(found))


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (("E.T[w_all]", "E.T[w_all - 1]"), "forward: token: w one too small"),
        (("log_softmax_at(z_all, w_next_all)", "log_softmax_at(z_all, w_all)"), "forward: token: w for w_next"),
    ],
)
def test_a_slip_of_the_forward_pass_with_tokens_is_named(edit: tuple[str, str], said: str) -> None:
    kernel = kernel_of(MODELS[0], edit)
    fault = forward_fault(kernel, model_of(cell_of(MODELS[0])), evidence_of(kernel))
    assert fault is not None
    assert fault.said.startswith(said)


# ---- kernels of others


def renamed(text: str) -> str:
    """The kernel with its tokens under other names."""
    return text.replace('"w_next"', '"targets"').replace('"w"', '"ids"')


def test_tokens_correspond_by_name_or_as_is_said() -> None:
    kernel = Kernel(load_text(renamed(text_of(MODELS[0])), "renamed.py"), "renamed")
    model = model_of(cell_of(MODELS[0]), relations(["ids=w", "targets=w_next"]))
    found = list(against(model, [evidence_of(kernel)]))
    assert [finding.said for finding in found if not finding.passed] == []
    crossed = model_of(cell_of(MODELS[0]), relations(["ids=w_next", "targets=w"]))
    assert not all(finding.passed for finding in against(crossed, [evidence_of(kernel)]))
    with pytest.raises(
        KernelError, match=r"tokens differ from those of .*: nothing stands for w, w_next and ids, targets are extra"
    ):
        model_of(cell_of(MODELS[0])).check_names(kernel, "renamed")


@pytest.mark.parametrize("table", ["['w']", "{'w': 3}", "{1: 'V'}"])
def test_a_table_of_tokens_that_is_none_is_refused(table: str) -> None:
    text = text_of(MODELS[0]).replace('TOKENS = {"w": "V", "w_next": "V"}', f"TOKENS = {table}")
    with pytest.raises(KernelError, match="TOKENS: expected name -> the dimension that says how many there are"):
        load_text(text, "kernel.py")


def test_data_are_held_once_for_each_example_of_a_chain() -> None:
    """Every step as a run of one step: tokens go along."""
    kernel = kernel_of(MODELS[0])
    data = draw(kernel.dims, ORDINARY, 0)
    single = one_step(data, kernel.outputs(data), np.random.default_rng(0))
    assert np.array_equal(single.inputs["w"], data.inputs["w"].reshape(1, -1))
    whole, parts = kernel.outputs(data), kernel.outputs(replace(single))
    assert np.allclose(parts["J"].reshape(whole["J"].shape), whole["J"], rtol=1e-13)


# ---- Jacobian products


def test_a_recurrence_of_tokens_is_analysed_on_drawn_and_on_given_ones(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [str(PAGE), "--cell", "character_model", "--json"]
    assert jacobian([*words, "--steps", "8", "--dim", "V=9"]) == 0
    tokens = np.random.default_rng(0).integers(0, 9, (8, 1))
    np.savez(tmp_path / "tokens.npz", w=tokens, w_next=tokens)
    assert jacobian([*words, "--inputs-file", str(tmp_path / "tokens.npz"), "--dim", "V=9"]) == 0
    capsys.readouterr()
    np.savez(tmp_path / "tokens.npz", w=tokens + 0.5, w_next=tokens)
    assert jacobian([*words, "--inputs-file", str(tmp_path / "tokens.npz"), "--dim", "V=9"]) == 2
    assert "w: expected tokens, whole numbers, got fractions. Check the file." in capsys.readouterr().err


def test_exact_arithmetic_tells_slips_with_tokens_from_the_derived_program() -> None:
    cell = cell_of(MODELS[0])
    model = model_of(cell)
    judge = Judge(model, resized(kernel_of(MODELS[0]).dims))
    found = list(other_tokens(model.derivation.backward, model.derivation.forward))
    assert len(found) > 4
    assert {judge.proof(edit) for edit in found[:6]} == {"different"}


# ---- tokens along the steps and in networks

H, V = dimension("H"), dimension("V")
w, y, h, p, L = Value("w", 1), Value("y", 1), Value("h", H), Value("p", V), Value("L", 1)
J, z = Value("J", 1, axes=("B",)), Value("z", V, axes=("B",))
RNN = (h, apply(sp.tanh(X), matrix("E", H, V) @ one_hot(w, V) + matrix("U", H, H) @ h.prev))
ALONG = {
    "a mean of losses": (
        (
            RNN,
            (p, softmax(matrix("S", V, H) @ h)),
            (L, scale(-1, apply(sp.log(X), transpose(one_hot(y, V)) @ p))),
            (J, mean_along(L, "T")),
        ),
        ["L", "J"],
    ),
    "read at the end": ((RNN, (z, softmax(matrix("S", V, H) @ pick(h, "T", "last")))), ["z"]),
    "alone": ((RNN,), []),
}


@pytest.mark.parametrize("name", ALONG)
def test_tokens_beside_values_of_an_example_are_verified(name: str) -> None:
    equations, outputs = ALONG[name]
    cell = Cell("along", "along", equations)
    cell.check()
    assert [value.name for value in cell.outputs] == outputs
    assert check(load_text(compile_cell(cell), "along.py"), name="along", formula=cell, contract=True, quick=True).passed


def test_both_directions_read_the_same_tokens() -> None:
    cell = Network(bidirectional=True).of(cell_of("Tagger"))
    assert [value.name for value in cell.tokens] == ["w"]
    assert check(load_text(compile_cell(cell), "both.py"), name="both", formula=cell, contract=True, quick=True).passed
