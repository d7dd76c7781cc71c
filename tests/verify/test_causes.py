"""Real slips in hand-written backward passes, one at a time: each gets its cause by name, and the cause explains all that is wrong."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest

from derive.cells.registry import build
from derive.comparisons import maximum
from derive.compiler import compile_cell
from derive.functions import function
from derive.language import Eq
from tests.odd_cells import U, W, cell_of, h, x
from verify.cause import Explanation, Inquiry
from verify.data import ORDINARY, SHORT, draw
from verify.diagnosis import diagnosed
from verify.edits.run import Trial
from verify.evidence import Evidence
from verify.forward_cause import forward_fault
from verify.kept import recognised
from verify.kernel import Kernel, load_text
from verify.model import model_of
from verify.search import Search

FOREIGN = Path(__file__).parent / "foreign"


def evidence_of(kernel: Kernel) -> Evidence:
    return Evidence(kernel, ORDINARY, draw(kernel.dims, ORDINARY, 0))


@lru_cache
def right(name: str) -> tuple[str, Search]:
    """A right kernel's text and the search for it, made once: what edits give depends on the cell and the data alone."""
    text = (FOREIGN / f"{name}.py").read_text(encoding="utf-8")
    evidence = evidence_of(Kernel(load_text(text, f"{name}.py"), name))
    model = recognised(evidence.kernel, [evidence])
    assert model is not None, f"{name} isn't recognised as the built-in cell that it is"
    data = evidence.data
    return text, Search(Trial(model, evidence.kernel.dims, data, data.cotangents), data)


def inquiry_into(name: str, *edits: tuple[str, str]) -> Inquiry:
    text, search = right(name)
    for old, new in edits:
        assert text.count(old) == 1, f"`{old}` stands {text.count(old)} times in {name}"
        text = text.replace(old, new)
    kernel = Kernel(load_text(text, "edited.py"), "edited")
    return Inquiry(evidence_of(kernel), [], search.trial.model, known=search)


def explanation_of(inquiry: Inquiry) -> Explanation:
    found = inquiry.explanation
    assert found is not None, "no cause is named"
    return found


LOOP_F = "    for t in reversed(range(len(steps))):\n"
CARRY_H = "        d_h = z_i @ p.U_i + z_f @ p.U_f + z_c @ p.U_c + z_o @ p.U_o\n"
UNPACK = "        d_h = d_h + top_h[t]\n"
PEEPHOLE_CARRY = "        d_c = d_c * f + p.p_i * z_i + p.p_f * z_f\n"
SLIPS = {
    "the carry of h zeroed": ("plain_lstm", [(CARRY_H, "        d_h = 0 * d_h\n")], "carry of h is zeroed", "∂L/∂hₜ₋₁"),
    "= for += in d_c": ("plain_lstm", [("d_c = d_c + d_h * o", "d_c = d_h * o")], r"`=` for `\+=`.*loss gives.*next step", "∂L/∂cₜ"),
    "the carry of c lost before the loss is added": ("plain_lstm", [("d_c = d_c + top_c[t]", "d_c = top_c[t]")], r"`=` for `\+=`.*next step", "∂L/∂cₜ"),  # noqa: E501
    "tanh' of the output, everywhere": ("plain_lstm", [("(1 - y**2)", "(1 - np.tanh(y)**2)"), ("(1 - g**2)", "(1 - np.tanh(g)**2)")], "slope of tanh taken of its output once more", "∂L/∂cₜ"),  # noqa: E501
    "pre-activations on the tape": ("plain_lstm", [("(*before, i, f, g, o, c, y)", "(*before, z_i, z_f, z_c, z_o, c, y)")], "pre-activations are read as if they were the outputs", "∂L/∂a_o"),  # noqa: E501
    "the square forgotten, everywhere": ("plain_lstm", [("(1 - y**2)", "(1 - y)"), ("(1 - g**2)", "(1 - g)")], "slope of tanh without its square", "∂L/∂cₜ"),  # noqa: E501
    "the square forgotten, once": ("plain_lstm", [("(1 - g**2)", "(1 - g)")], "slope of tanh without its square", "∂L/∂a_c"),
    "divided by the slope": ("elman", [("d_h * (1 - hs[t + 1] ** 2)", "d_h / (1 - hs[t + 1] ** 2)")], "slope of tanh as a divisor", "∂L/∂a_h"),  # noqa: E501
    "f left out of the carry": ("plain_lstm", [("        d_c = d_c * f\n", "")], "missing factor", "∂L/∂cₜ₋₁"),
    "another gate in the carry": ("plain_lstm", [("        d_c = d_c * f\n", "        d_c = d_c * i\n")], "i for f", "∂L/∂cₜ₋₁"),
    "another gate's value as factor": ("plain_lstm", [("z_i = d_c * g * i", "z_i = d_c * o * i")], "o for c_tilde", "∂L/∂i"),
    "tanh of the state before": ("plain_lstm", [("(*before, i, f, g, o, c, y)", "(*before, i, f, g, o, c, np.tanh(before[2]))")], "function of the wrong state: of c of the step before", "∂L/∂o"),  # noqa: E501
    "c for tanh(c)": ("plain_lstm", [("z_o = d_h * y", "z_o = d_h * c")], "state itself is read", "∂L/∂o"),
    "U for its transpose, everywhere": ("plain_lstm", [(CARRY_H, CARRY_H.replace("U_i", "U_i.T").replace("U_f", "U_f.T").replace("U_c", "U_c.T").replace("U_o", "U_o.T"))], "transpose missing", "∂L/∂hₜ₋₁"),  # noqa: E501
    "the new h for the old one": ("plain_lstm", [(UNPACK, UNPACK + "        h_prev = o * y\n")], "old value for new", "∂L/∂U_i"),
    "inputs of the step before": ("plain_lstm", [(UNPACK, UNPACK + "        x = steps[t - 1][0]\n")], "x one step earlier, at the first step the last", "∂L/∂W_i"),  # noqa: E501
    "two gates' slopes exchanged": ("plain_lstm", [("z_i = d_c * g * i * (1 - i)", "z_i = d_c * g * f * (1 - f)")], "f for i", "∂L/∂a_i"),
    "the first step gets nothing from the second": ("plain_lstm", [(CARRY_H, CARRY_H + "        d_h = d_h * (t != 1)\n")], "first step", "∂L/∂h"),  # noqa: E501
    "biases from the first step only": ("plain_lstm", [("z.sum(axis=0)", "z.sum(axis=0) * (t == 0)")], "gathered from the first step only", "∂L/∂b_i"),  # noqa: E501
    "a mean over the examples": ("plain_lstm", [("z.sum(axis=0)", "z.mean(axis=0)")], "mean instead of sum over examples", "∂L/∂b_i"),
    "the carry cut every two steps": ("plain_lstm", [(LOOP_F, LOOP_F + "        if (len(steps) - t) % 2:\n            d_h, d_c = 0 * d_h, 0 * d_c\n")], "K = 2.*cut every 2", "∂L/∂h"),  # noqa: E501
    "only the direct part of the carry": ("plain_gru", [("d_h = a_z @ p.U_z + a_r @ p.U_r + d_u * r + d_h * (1 - z)", "d_h = d_u * r + d_h * (1 - z)")], "only the direct part of the carry of h", "∂L/∂hₜ₋₁"),  # noqa: E501
    "the reset gate inside of the product": ("plain_gru", [("d_u = a_h @ p.U_h", "d_u = (a_h * r) @ p.U_h")], "a factor too many, inside of the product: r", "∂L/∂"),  # noqa: E501
    "z for 1 - z": ("plain_gru", [("d_u * r + d_h * (1 - z)", "d_u * r + d_h * z")], "z for 1 - z", "∂L/∂hₜ₋₁"),
    "the reset gate forgotten": ("plain_gru", [('("h", a_h, r * h_prev)', '("h", a_h, h_prev)')], "", "∂L/∂U_h"),
    "the candidate's sign": ("plain_gru", [("d_h * (g - h_prev)", "d_h * (g + h_prev)")], "sign flipped", "∂L/∂z"),
    "z overwritten before the carry": ("plain_gru", [("d_u * r + d_h * (1 - z)", "d_u * r + top[t] * (1 - z)")], "only what the loss says directly", "∂L/∂hₜ₋₁"),  # noqa: E501
    "peepholes truncated": ("diagonal_peephole", [(PEEPHOLE_CARRY, "        d_c = d_c * f\n"), ("        d_c = d_c + p.p_o * z_o\n", "")], "nothing through the parameters", "∂L/∂cₜ"),  # noqa: E501
    "peepholes of the carry truncated": ("diagonal_peephole", [(PEEPHOLE_CARRY, "        d_c = d_c * f\n")], "only the direct part of the carry of c", "∂L/∂cₜ₋₁"),  # noqa: E501
    "one peephole for another": ("diagonal_peephole", [("p.p_i * z_i + p.p_f * z_f", "p.p_f * z_i + p.p_i * z_f")], "p_i and p_f exchanged", "∂L/∂cₜ₋₁"),  # noqa: E501
}  # fmt: skip


@pytest.mark.parametrize("name", SLIPS)
def test_a_slip_in_hand_written_code_gets_its_cause_by_name(name: str) -> None:
    kernel, edits, said, equation = SLIPS[name]
    inquiry = inquiry_into(kernel, *edits)
    found = explanation_of(inquiry)
    assert len(found.edits) == 1
    assert re.search(said, inquiry.headline(found)), inquiry.headline(found)
    _, diagnosis = diagnosed([inquiry], dict.fromkeys(found.explained, inquiry))
    assert diagnosis is not None
    assert diagnosis.first.startswith(equation), diagnosis.first
    assert diagnosis.unexplained == ()
    assert any(line.startswith("here: ") for line in diagnosis.formulas)


@pytest.mark.parametrize("name", ["plain_lstm", "plain_gru", "diagonal_peephole"])
def test_in_a_right_kernel_nothing_is_explained(name: str) -> None:
    inquiry = inquiry_into(name)
    assert inquiry.explanation is None


def test_of_a_long_run_the_first_steps_tell_the_cause_and_all_of_them_confirm_it() -> None:
    text, search = right("plain_gru")
    kernel = Kernel(load_text(text.replace("d_u * r + d_h * (1 - z)", "d_u * r + d_h * z"), "edited.py"), "edited")
    inquiry = Inquiry(Evidence(kernel, SHORT, draw(kernel.dims, SHORT, 0)), [], search.trial.model)
    found = explanation_of(inquiry)
    assert inquiry.headline(found) == "z for 1 - z"
    assert found.explained >= set(inquiry.search.differing(inquiry.whole))


def test_two_slips_are_found_one_upon_the_other() -> None:
    edits = [("(1 - g**2)", "(1 - g)"), ("        d_c = d_c * f\n", "        d_c = d_c * i\n")]
    inquiry = inquiry_into("plain_lstm", *edits)
    found = explanation_of(inquiry)
    assert len(found.edits) == 2
    assert re.search("without its square", inquiry.headline(found))
    assert re.search("i for f", inquiry.headline(found))


def test_where_nothing_fits_the_first_wrong_block_is_named_and_no_cause() -> None:
    inquiry = inquiry_into("plain_lstm", ("z_o = d_h * y * o * (1 - o)", "z_o = d_h * np.sin(3 * y + o)"))
    inquiry.together = 0
    got = inquiry.search.differing(inquiry.whole)
    causes, diagnosis = diagnosed([inquiry], dict.fromkeys(got, inquiry))
    assert diagnosis is not None
    assert diagnosis.cause == ""
    assert diagnosis.first == "d_W_o at lag 0"
    assert re.search(r"no single slip that was tried explains it \(\d+ were\)", "\n".join(diagnosis.lines()))
    assert not any(causes.values())


def test_a_forward_pass_that_reads_another_bias_is_named_as_such() -> None:
    text = (FOREIGN / "plain_lstm.py").read_text(encoding="utf-8").replace("h @ p.U_f.T + p.b_f", "h @ p.U_f.T + p.b_o")
    kernel = Kernel(load_text(text, "edited.py"), "edited")
    inquiry = Inquiry(evidence_of(kernel), [], None, [model_of(build("lstm"))])
    found = explanation_of(inquiry)
    assert inquiry.headline(found) == "forward: b_o for b_f (its names are those of `lstm`)"
    assert {"b_f", "b_o"} <= found.explained


def test_the_mask_of_the_first_step_at_every_step_is_named() -> None:
    """Of a cell that a page states: a mask that backward reads of the first step only."""
    _, search = right("plain_gru")
    program = search.trial.program
    value = next(v for one in program.equations for v in one.reads() if v.name == "z")
    edit = next(
        e for e, _ in search.table if e.said == f"time index: {value.name} of the first step, at every step" and e.places > 1
    )
    got = search.trial.gradients | search.trial.run(edit)
    best = search.fits(got)[0]
    assert best.edit.said == edit.said
    assert best.explains(search.differing(got))


def test_edits_run_in_part_give_what_the_whole_program_gives() -> None:
    _, search = right("plain_gru")
    trial, data = search.trial, draw(Kernel(load_text(right("plain_gru")[0], "gru.py"), "gru").dims, ORDINARY, 0)
    dims = Kernel(load_text(right("plain_gru")[0], "gru.py"), "gru").dims
    for edit, new in search.table[::25]:
        whole = trial.model.gradients(dims, data, data.cotangents, edit.program)
        for block, array in whole.items():
            # the same sums in another order: rounding of at most a few hundred of them
            assert np.allclose((trial.gradients | new)[block], array, rtol=1e-12, atol=1e-13), (edit.said, block)


def test_a_forward_pass_without_its_function_is_named_in_the_equation_that_reads_it_even_where_no_block_follows() -> None:
    inquiry = inquiry_into("plain_lstm", ("        h = o * y\n", "        h = o * c\n"))
    inquiry = Inquiry(inquiry.evidence, [], None, [right("plain_lstm")[1].trial.model])
    blocks = list(inquiry.evidence.data.flat())
    _, found = diagnosed([inquiry], dict.fromkeys(blocks, inquiry))
    assert found is not None
    assert found.cause == "forward: the function is missing (its names are those of `lstm`)"
    assert found.formulas == ("right: hₜ = oₜ ∘ tanh(cₜ)", "here:  hₜ = oₜ ∘ cₜ")


def test_a_gate_after_the_product_for_one_before_it_is_named() -> None:
    before, after = (model_of(build(words)) for words in ("gru", "gru --reset after"))
    text = (Path(__file__).parents[2] / "generated" / "gru_reset_after.py").read_text(encoding="utf-8")
    evidence = evidence_of(Kernel(load_text(text, "gru_reset_after.py"), "gru_reset_after"))
    fault = forward_fault(evidence.kernel, before, evidence)
    assert fault is not None
    assert fault.said.startswith("forward: a factor before the product for one after it, or the reverse")
    assert forward_fault(evidence.kernel, after, evidence) is None


def test_the_function_of_an_output_for_its_slope_is_named() -> None:
    inquiry = inquiry_into("plain_lstm", ("z_f = d_c * c_prev * f * (1 - f)", "z_f = d_c * c_prev * sigmoid(f)"))
    assert inquiry.headline(explanation_of(inquiry)) == "sigma of its output once more, for its slope: f(y) for f'(a)"


def test_the_gradient_of_a_maximum_that_goes_to_the_other_side_is_named() -> None:
    cell = cell_of(Eq(h, function("tanh")(maximum(W @ x, U @ h.prev))))
    text, comparison = compile_cell(cell), "larger, a.real >= b.real)"
    assert text.count(comparison) == 1
    kernel = Kernel(load_text(text.replace(comparison, comparison.replace(">=", "<")), "edited.py"), "edited")
    evidence = evidence_of(kernel)
    data, model = evidence.data, model_of(cell)
    inquiry = Inquiry(evidence, [], model, known=Search(Trial(model, kernel.dims, data, data.cotangents), data))
    assert inquiry.headline(explanation_of(inquiry)) == "the gradient of max or min goes to the other side"


def test_a_loop_that_stops_before_the_first_step_isnt_called_truncated() -> None:
    inquiry = inquiry_into("plain_lstm", ("for t in reversed(range(len(steps))):", "for t in range(len(steps) - 1, 0, -1):"))
    long = Evidence(inquiry.kernel, SHORT, draw(inquiry.kernel.dims, SHORT, 0))
    inquiry = Inquiry(inquiry.evidence, [long], inquiry.model, known=inquiry.known)
    assert inquiry.headline(explanation_of(inquiry)) == "the first step is left out: the loop stops before it"


def test_a_carry_cut_every_four_steps_is_no_missing_first_step_though_both_fit_runs_of_five_steps() -> None:
    text, search = right("elman")
    kernel = Kernel(load_text(text.replace("d_h = d_a @ U", "d_h = d_a @ U * ((len(x) - t) % 4 != 0)"), "edited.py"), "edited")
    long = Evidence(kernel, SHORT, draw(kernel.dims, replace(SHORT, steps=42), 0))
    inquiry = Inquiry(evidence_of(kernel), [long], search.trial.model, known=search, again=[long])
    found = explanation_of(inquiry)
    assert inquiry.headline(found) == "truncated recurrence at K = 4: the carry is cut every 4 steps"
    assert set(inquiry.recurrence.values()) == {inquiry.headline(found)}


def test_a_slip_that_explains_the_searched_data_alone_is_no_cause() -> None:
    text, search = right("elman")
    kernel = Kernel(load_text(text.replace("d_h = d_a @ U", "d_h = d_a @ U * ((t - 1) * (t - 7) != 0)"), "edited.py"), "edited")
    alone = explanation_of(Inquiry(evidence_of(kernel), [], search.trial.model, known=search))
    assert alone.explained == set(search.trial.gradients)
    long = Evidence(kernel, SHORT, draw(kernel.dims, SHORT, 0))
    found = explanation_of(Inquiry(evidence_of(kernel), [], search.trial.model, known=search, again=[long]))
    assert found.explained == {"initial h"}, "nothing comes to it from beyond the second step, however long the data are"


@pytest.mark.parametrize("told", [True, False])
def test_a_bias_that_forward_takes_twice_is_a_fault_of_forward_not_of_its_gradient(told: bool) -> None:
    text, search = right("plain_lstm")
    model = search.trial.model
    kernel = Kernel(load_text(text.replace("h @ p.U_f.T + p.b_f", "h @ p.U_f.T + 2 * p.b_f"), "edited.py"), "edited")
    inquiry = Inquiry(evidence_of(kernel), [], model if told else None, [model], known=search if told else None)
    assert inquiry.differs("b_f")
    found = explanation_of(inquiry)
    assert inquiry.headline(found).startswith("forward: factor 2")
    assert "b_f" in found.explained
    assert inquiry.formulas(found)[1].endswith("+ 2 b_f")
