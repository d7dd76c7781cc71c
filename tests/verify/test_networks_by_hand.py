"""Emitted kernels of networks that a hand changed: wrong ones are caught and the slip is named, from their file alone, whose head says of
what they were emitted; right ones that compute the same in an unusual way pass."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

import verify
from derive.cells.registry import build
from derive.compiler import compile_cell
from derive.pages import read
from verify.data import LONG, ORDINARY

PAGES = {
    "tokens.md": r"""
<!-- derive: w = tokens -->

$$h_t = \tanh(E w_t + U h_{t-1} + b)$$

$$\hat{y}_t = \operatorname{softmax}(S h_t + c)$$

$$J_t = -\log \hat{y}_{t, w_{t+1}}$$
""",
    "class.md": r"""
<!-- derive: v = example -->

$$h_t = \tanh(W x_t + U h_{t-1} + b)$$

$$\hat{y} = \operatorname{softmax}(V h_T + b_y)$$

$$J = -\sum_j v_j \log \hat{y}_j$$
""",
}
BY_TOKEN = """d_E = np.zeros((V, H), dtype)
    for step, row in np.ndindex(T, B):
        d_E[w_all[step, row]] = d_a_h_all[step, row]
    d_E = d_E.T
"""
LOSS = "d_a_y_hat_all = scale(add_at(softmax(a_y_hat_all), w_next_all, -1), d_J_all[..., None])\n"
SCORES = "d_a_y_hat = d_J[..., None] * (scale(softmax(a_y_hat), v.sum(axis=-1)[..., None]) - v)\n"
PRODUCT = re.compile(r"np\.tensordot\((\w+), ([^,]+), \(\(0, 1\), \(0, 1\)\)\)")


def body(text: str) -> tuple[str, str, str]:
    """A kernel's text in front of its backward pass, that, and behind it."""
    head, end = text.index("def backward("), text.index("def jvp(")
    return text[:head], text[head:end], text[end:]


def written(folder: Path, of: str, change: Callable[[str], str], behind: str = "") -> Path:
    """The file of a kernel with its backward pass changed, its page beside it."""
    for name, text in PAGES.items():
        (folder / name).write_text(text)
    cell = read(of, text=PAGES[of]).cells[0].cell if of in PAGES else build(of)
    head, backward, rest = body(compile_cell(cell, ()))
    changed = change(backward)
    assert changed != backward or behind
    (folder / "kernel.py").write_text(head + changed + rest + behind)
    return folder / "kernel.py"


def instead(old: str, new: str) -> Callable[[str], str]:
    def change(backward: str) -> str:
        assert backward.count(old) == 1, f"`{old}` stands {backward.count(old)} times in {backward}"
        return backward.replace(old, new)

    return change


WRONG = {
    "the start of the second direction gets nothing": (
        "rnn --bidirectional", instead('"h_left": carry_h_left', '"h_left": np.zeros_like(carry_h_left)'),
        "the gradient of the initial h_left is zero: missing gradient",
    ),
    "repeated tokens overwrite one another": (
        "tokens.md", instead("d_E = by_token(d_a_h_all, w_all, V).T\n", BY_TOKEN), "repeated tokens w overwrite one another, = for +=",
    ),
    "the bias of the second layer gets that of the first": (
        "rnn --layers 2", instead('"b_2": d_b_2', '"b_2": d_b_1'), "the gradient of a_h_1 for that of a_h_2"
    ),
    "the mask left out backwards, in one direction": (
        "rnn --bidirectional --masked", instead("m_[..., None] * d_h_left\n", "d_h_left\n"), "missing factor"
    ),
    "a cross entropy divided by the steps": (
        "tokens.md", instead(LOSS, f"{LOSS}    d_a_y_hat_all = d_a_y_hat_all / T\n"), "divided by the number of steps"
    ),
    "a cross entropy of an example divided by the steps": (
        "class.md", instead(SCORES, f"{SCORES}    d_a_y_hat = d_a_y_hat / T\n"), "divided by the number of steps"
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_kernel_is_caught_and_the_slip_is_named_from_its_file_alone(name: str, tmp_path: Path) -> None:
    of, change, cause = WRONG[name]
    report = verify.check(written(tmp_path, of, change), regimes=(ORDINARY, LONG))
    assert report.diagnosis is not None
    assert report.diagnosis.cause == cause
    assert not report.diagnosis.unexplained
    assert report.failed_blocks() == {
        finding.block for finding in report.findings if finding.check == "gradients" and not finding.passed
    }


# ---- right ones

IN_FLOAT64 = """

forward_64, backward_64 = forward, backward


def cast(arrays, to):
    return {name: array.astype(to) if array.dtype.kind == "f" else array for name, array in arrays.items()}


def forward(parameters, inputs, state=None):
    outputs, tape = forward_64(parameters, inputs, state)
    if next(iter(parameters.values())).dtype == np.float32:
        wide = (cast(parameters, np.float64), cast(inputs, np.float64), None if state is None else cast(state, np.float64))
        outputs, tape.wide = forward_64(*wide)
        outputs = cast(outputs, np.float32)
    return outputs, tape


def backward(parameters, tape, cotangents):
    if not hasattr(tape, "wide"):
        return backward_64(parameters, tape, cotangents)
    found = backward_64(cast(parameters, np.float64), tape.wide, cast(cotangents, np.float64))
    return Gradients(*[cast(part, np.float32) for part in vars(found).values()])
"""
RUN_AGAIN = """

forward_once, backward_once, jacobian_once = forward, backward, step_jacobian


def copies(arrays):
    return None if arrays is None else {name: array.copy() for name, array in arrays.items()}


class Arguments:
    def __init__(self, *arguments):
        self.arguments = [copies(arrays) for arrays in arguments]

    def tape(self):
        return forward_once(*self.arguments)[1]

    def __getattr__(self, name):
        if name == "arguments":
            raise AttributeError(name)
        return getattr(self.tape(), name)


def forward(parameters, inputs, state=None):
    return forward_once(parameters, inputs, state)[0], Arguments(parameters, inputs, state)


def backward(parameters, tape, cotangents):
    return backward_once(parameters, tape.tape(), cotangents)


def step_jacobian(parameters, tape):
    return jacobian_once(parameters, tape.tape())
"""


def in_order(backward: str) -> str:
    """Weight gradients added up example by example, from the last one on."""
    zeros = r"np.zeros((\1.shape[-1], \2.shape[-1]), dtype)"
    return PRODUCT.sub(rf"sum((\1[t, j][:, None] * \2[t, j] for j in reversed(range(B)) for t in range(T)), {zeros})", backward)


def by_einsum(backward: str) -> str:
    return PRODUCT.sub(r'np.einsum("tbi,tbj->ij", \1, \2)', backward)


def by_two(backward: str) -> str:
    """Every loop unrolled by two, with what is left over behind it."""
    loop = re.compile(r"    for (\w) in (reversed\()?range\((\w)\)\)?:\n((?:        .*\n)+)")

    def unrolled(found: re.Match[str]) -> str:
        t, is_reversed, count, lines = found.groups()
        start, on, more, last = (
            (f"{count} - 1", "-=", ">= 1", ">= 0") if is_reversed else ("0", "+=", f"< {count} - 1", f"< {count}")
        )
        once = f"{lines}        {t} {on} 1\n"
        return f"    {t} = {start}\n    while {t} {more}:\n{once}{once}    while {t} {last}:\n{once}"

    return loop.sub(unrolled, backward)


def same(backward: str) -> str:
    return backward


RIGHT = {
    "weight gradients example by example": ("rnn --layers 2 --bidirectional", in_order, ""),
    "einsum": ("rnn --layers 2 --bidirectional", by_einsum, ""),
    "loops unrolled by two": ("gru --bidirectional --masked", by_two, ""),
    "float64 for float32": ("lstm --layers 2", same, IN_FLOAT64),
    "a tape of the arguments alone": ("tokens.md", same, RUN_AGAIN),
}


@pytest.mark.parametrize("name", RIGHT)
def test_a_right_kernel_that_computes_in_an_unusual_way_passes(name: str, tmp_path: Path) -> None:
    report = verify.check(written(tmp_path, *RIGHT[name]), regimes=(ORDINARY, LONG))
    assert report.passed, report.faults()
