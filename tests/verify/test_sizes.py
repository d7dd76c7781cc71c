"""Faults that show only beyond some size, or at some sizes, are found with the place where they begin; right kernels pass."""

from __future__ import annotations

import re
from collections import Counter

import numpy as np
import pytest

import verify
from derive.compiler import compile_cell
from derive.pages import read
from tests.verify.edits import edited
from verify.__main__ import main
from verify.chain import Chain
from verify.data import ORDINARY, draw
from verify.evidence import CHAINED, EXACT, exact
from verify.findings import FAIL, INCONCLUSIVE, Finding
from verify.kernel import Kernel, KernelError
from verify.sizes import EVERY, FEW, USUAL, Trial, check_names, chosen, of_sizes, usual

RETURN = "    return SimpleNamespace(parameters=d"
TANH = "        h = np.tanh("


def findings(*edits: tuple[str, str], method: str = EXACT, each: tuple[int, ...] = USUAL) -> list[Finding]:
    kernel = Kernel(edited(*edits), "edited")
    return [finding for finding in of_sizes(kernel, usual(kernel, each), method, 0) if not finding.passed]


FAULTS = {
    "rows beyond 128": (f'    d["U"][128:] = 0\n{RETURN}', r"d_U, .*H = 130.*wrong in rows 128 to 129; it fails at H = 130, 256, 300, right at H = 16, 24, 33, 64, 127"),  # noqa: E501
    "the last block of 64": (f'    if len(b) % 64 == 0:\n        d["b"][-64:] = 0\n{RETURN}', r"d_b, .*it fails at H = 64, 256"),
    "the remainder of 16": (f'    d["W"][len(b) // 16 * 16:] *= len(b) < 16\n{RETURN}', r"d_W, .*H = 24.*rows 16 to 23; it fails at H = 24, 33, 127, 130, 300"),  # noqa: E501
    "more than 128 steps": (f'    d_x[: max(0, len(x) - 128)] = 0\n{RETURN}', r"d_x, T = 130.*wrong in steps 0 to 1; it fails at T = 130, 256, 300"),  # noqa: E501
    "more than 32 examples": (f'    d["b"] += (d_x.shape[1] > 32) * d_x[0, 32:].sum()\n{RETURN}', r"d_b, .*B = 33.*it fails at B = 33"),
    "more than 256 inputs": (f'    d["W"][:, 256:] = 0\n{RETURN}', r"d_W, .*D = 300.*columns 256 to 299; it fails at D = 300"),
    "one element": (f'    if len(b) > 200:\n        d["U"][77, 133] *= 1.01\n{RETURN}', r"d_U, .*wrong in row 77, column 133"),
    "only where all are large": (f'    d["b"] *= 1 + 1e-6 * (len(x) * d_x.shape[1] > 1000)\n{RETURN}', r"d_b, T = 33, B = 34.*it fails at T = 33, B = 34, H = 35, D = 36"),  # noqa: E501
    "float32 alone": (f'    if W.dtype == np.float32:\n        d["W"][64:] = 0\n{RETURN}', r"d_W, .*H = 127.*float32: differs from float64"),  # noqa: E501
    "eight bits of float32": (f'    if len(b) > 100 and W.dtype == np.float32:\n        d["W"] = (d["W"].view(np.uint32) & 0xFFFF0000).view(np.float32)\n{RETURN}', r"d_W, .*H = 127.*float32: differs from float64"),  # noqa: E501
    "noise of float32": (f'    if len(b) > 100:\n        d["W"] = d["W"].real.astype(np.float32).astype(W.dtype) if W.dtype == np.float64 else d["W"]\n{RETURN}', r"d_W"),  # noqa: E501
    "the kernel raises": (f'    assert len(b) < 100\n{RETURN}', r"H = 127, D = 2: the kernel raises AssertionError"),
}  # fmt: skip


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_beyond_some_size_is_found_where_it_begins(name: str) -> None:
    new, said = FAULTS[name]
    (finding,) = findings((RETURN, new))
    assert re.search(said, finding.line()), finding.line()


def test_many_sizes_that_fail_take_one_product_of_jacobians_each_and_one_search_for_the_place(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls: Counter[str] = Counter()
    for owner, name in ((Chain, "carried"), (Trial, "localised")):
        run = getattr(owner, name)
        monkeypatch.setattr(owner, name, lambda *a, name=name, run=run: calls.update([name]) or run(*a))
    (finding,) = findings(
        (RETURN, f"    if len(b) > 8:\n        d = {{k: 2 * v for k, v in d.items()}}\n        d_x = 2 * d_x\n{RETURN}")
    )
    assert "so are d_U, d_b, d_x" in finding.said
    assert calls == {"carried": len(USUAL) + 1, "localised": 1}


def test_what_digits_are_worth_along_many_directions_is_that_along_each() -> None:
    kernel = Kernel(edited(), "edited")
    data = draw(kernel.dims, ORDINARY)
    rng = np.random.default_rng(0)
    directions = [{block: rng.standard_normal(array.shape)} for block, array in data.flat().items()]
    chain = Chain(kernel, data, exact, digits=True)
    together = chain.along_each(directions)
    for k, direction in enumerate(directions):
        for whole, alone in zip(together, chain.along(direction), strict=True):
            for name, array in alone.items():
                np.testing.assert_allclose(whole[name][..., k], array, rtol=1e-9, atol=1e-25)


def test_a_right_kernel_passes_at_every_size() -> None:
    assert findings() == []


def test_a_kernel_of_real_numbers_is_decided_too() -> None:
    relu = (
        ("np.tanh(x[t] @ W.T + h @ U.T + b)", "np.maximum(x[t] @ W.T + h @ U.T + b, 0)"),
        ("(1 - hs[t + 1] ** 2)", "(hs[t + 1] > 0)"),
    )
    assert findings(*relu, method=CHAINED, each=(130,)) == []
    (finding,) = findings(*relu, (RETURN, f'    d["U"][128:] = 0\n{RETURN}'), method=CHAINED, each=(130,))
    assert re.search(r"rows? 12[89]", finding.said)  # a unit that is off has no gradient to be wrong


def test_forward_and_backward_that_are_wrong_together_beyond_some_size_are_seen_against_the_equations() -> None:
    wrong = (("np.tanh(x[t] @ W.T + h @ U.T + b)", "np.tanh((x[t] @ W.T)*(np.arange(len(b)) < 128) + h @ U.T + b)"),
             ('d["W"] += d_a.T @ x[t]', 'd["W"] += (d_a * (np.arange(len(b)) < 128)).T @ x[t]'), ("= d_a @ W", "= d_a * (np.arange(len(b)) < 128) @ W"))  # fmt: skip  # noqa: E501
    assert verify.check(edited(*wrong), quick=True).passed
    (finding,) = verify.check(edited(*wrong), against="rnn", quick=True).failures()
    assert re.search(r"sizes: .*H = 130, .*forward: output h, step 0: differs from the equations", finding.line())


def test_each_edge_has_sizes_on_both_sides_in_each_dimension() -> None:
    for each in (USUAL, EVERY):
        for edge in (32, 64, 128, 256):
            assert any(size <= edge for size in each)
            assert any(edge < size < 2 * edge for size in each)
        assert any(size % 64 == 0 for size in each)
        assert any(size % 16 for size in each if size > 256)
    assert FEW


@pytest.mark.parametrize("text", ["T", "T=", "T=x", "=3", "T=0", "T=3;H=2", "T=3,T=4", ""])
def test_sizes_that_say_nothing_are_refused(text: str) -> None:
    with pytest.raises(KernelError, match=r"^verify: --sizes .*: expected dimensions and whole numbers .* Write for example"):
        chosen([text])


def test_a_dimension_that_a_kernel_has_not_got_is_refused() -> None:
    with pytest.raises(
        KernelError, match=r"^verify: --sizes: Q is no dimension of edited: expected some of T, B, H, D, got Q\.$"
    ):
        check_names(Kernel(edited(), "edited"), chosen(["T=3,Q=2"]))


def test_chosen_sizes_take_the_place_of_the_usual_ones(tmp_path: object, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rnn", "--sizes", "T=20,H=40", "--sizes", "B=50", "--json"]) == 0
    assert "2 sets, large at B = 50; T = 20, H = 40" in capsys.readouterr().out


# ---- a gradient that cancels over many steps

POINTER = r"""
<!-- derive: time = i, j -->

$$e_j = \tanh(A x_j + B e_{j-1})$$

$$d_0 = e_J$$

$$d_i = \tanh(C y_i + D d_{i-1})$$

$$u_{ij} = v^\top \tanh(W_1 e_j + W_2 d_i)$$

$$p_{ij} = \operatorname{softmax}_j(u_{ij})$$
"""
OF_W_2 = "d_W_2 = np.tensordot("
CANCELS = {
    "right": ("", None),
    "wrong by a thousandth": ("1.001 * ", r"d_W_2, T = 24, .*it fails at T = 24, 300"),
    "wrong in float32 where that has the digits": ("(1.002 if dtype == np.float32 and T > 20 else 1) * ", r"d_W_2, T = 24, .*float32: .*fails at T = 24, right at T = 300"),  # noqa: E501
    "wrong by more than those that float32 loses": ("(1.1 if dtype == np.float32 and T > 130 else 1) * ", r"d_W_2, T = 300, .*float32: .*fails at T = 300, right at T = 24"),  # noqa: E501
}  # fmt: skip


@pytest.fixture(scope="module")
def pointer() -> str:
    """The text of a kernel whose d_W_2 is 1e-4 of what it is summed from: what all places get alike leaves their softmax as it is."""
    (cell,) = read("page.md", text=POINTER).cells
    return compile_cell(cell.cell, ())


@pytest.mark.parametrize("name", CANCELS)
def test_digits_of_float32_that_cancel_over_many_steps_are_no_fault_and_hide_none(name: str, pointer: str) -> None:
    factor, said = CANCELS[name]
    kernel = Kernel(edited((OF_W_2, OF_W_2.replace("np", f"{factor}np")), text=pointer), "edited")
    found = [one for one in of_sizes(kernel, [{"T": 24}, {"T": 300}], EXACT, 0) if not one.passed]
    assert len(found) == (said is not None)
    assert all(re.search(str(said), one.line()) for one in found), [one.line() for one in found]


# ---- a normaliser near zero

NORMALISED = """
$$S_t = g_t S_{t-1} + softplus(k_t)v_t^\\top$$
$$z_t = g_t z_{t-1} + softplus(k_t)$$
$$o_t = \\frac{softplus(q_t)^\\top S_t}{\\max(softplus(q_t)^\\top z_t, 10^{-6})}$$
"""


@pytest.fixture(scope="module")
def normalised() -> str:
    """The text of a kernel whose gradients are of 0.5 beside summands of 1e13 where the normaliser is cut off."""
    (cell,) = read("page.md", text=NORMALISED, let={"g": "number"}).cells
    return compile_cell(cell.cell)


def at_many_steps(text: str, *edits: tuple[str, str]) -> list[Finding]:
    kernel = Kernel(edited(*edits, text=text), "edited")
    with np.errstate(all="ignore"):
        return [finding for finding in of_sizes(kernel, [{"T": 130}], EXACT, 0) if not finding.passed]


def coarsened(text: str, where: str = "True") -> str:
    """The kernel with the gradient of z as what sums of much larger terms leave of it: its last twenty bits are wrong, the same ones on
    like data, and float32 has noise alone. where: of which inputs, on runs of more than 100 steps."""
    return (
        f"{text}\n\nright = backward\n\n\ndef backward(parameters, tape, cotangents):\n"
        f"    all, g = right(parameters, tape, cotangents), tape.g.real\n    if len(g) > 100 and {where}:\n"
        "        found = all.state['z']\n        large = 2.0**33 * 2.0**np.ceil(np.log2(np.abs(found).max()))\n"
        "        is_single = found.dtype == np.float32\n"
        "        all.state['z'] = np.sin(2.0**40 * found) if is_single else (found + large) - large\n    return all\n"
    )


def test_what_rounding_leaves_nothing_of_is_decided_on_other_data(normalised: str) -> None:
    assert at_many_steps(normalised) == []
    assert at_many_steps(coarsened(normalised, "g.min() < 0")) == [], "positive data decide"


@pytest.mark.parametrize("wrong", ["2 * found", "found + 1e-6 * np.abs(found)"])
def test_a_fault_in_such_a_block_is_found_on_them(normalised: str, wrong: str) -> None:
    text = (
        f"{normalised}\n\nright = backward\n\n\ndef backward(parameters, tape, cotangents):\n"
        "    all = right(parameters, tape, cotangents)\n    if len(all.inputs['g']) > 100:\n"
        f"        found = all.state['z']\n        all.state['z'] = {wrong}\n    return all\n"
    )
    (finding,) = at_many_steps(text)
    assert finding.verdict == FAIL
    assert finding.block == "initial z"


def test_where_no_data_decide_nothing_is_passed(normalised: str, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = Trial.drawn
    monkeypatch.setattr(Trial, "drawn", lambda self, k, run, positive=False: drawn(self, 0, run))
    (finding,) = at_many_steps(coarsened(normalised))
    assert finding.verdict == INCONCLUSIVE
    assert "rounding leaves float32 nothing of d_z_0" in finding.line()
