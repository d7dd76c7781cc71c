"""Recurrences cut in pieces, means of what isn't summed and gradients that change places, made in the text of kernels of cells and of
networks: each is named where it explains all that is wrong, to the last digit, on short data and on long ones; else it isn't."""

from __future__ import annotations

import functools

import numpy as np
import pytest

from derive.cells.registry import build
from derive.compiler import compile_cell
from derive.pages import read
from verify.cause import Inquiry
from verify.data import LONG, ORDINARY, Regime, draw
from verify.edits.run import Trial
from verify.evidence import Evidence
from verify.kernel import Kernel, load_text
from verify.model import Model, model_of
from verify.search import Search

LEARNED_START = r"""
$$h_0 = \tanh(q)$$

$$h_t = \tanh(W x_t + U h_{t-1} + b)$$
"""
READOUT = r"""
<!-- derive: v = example -->

$$h_t = \tanh(W x_t + U h_{t-1} + b)$$

$$\hat{y} = \operatorname{softmax}(V h_T + b_y)$$

$$J = -\sum_j v_j \log \hat{y}_j$$
"""
GATED_OUTPUT = r"""
$$h_t = \tanh(W x_t + U h_{t-1})$$

$$y_t = (V h_t) \circ h_t$$
"""
TRANSLATION = r"""
$$h_s = \tanh(W x_s + U h_{s-1})$$

$$d_0 = \tanh(P h_S)$$

$$d_t = \tanh(A z_t + R d_{t-1})$$
"""


@functools.cache
def right(said: str) -> tuple[Model, str]:
    cell = read("page.md", text=said).cells[0].cell if "$$" in said else build(said)
    return model_of(cell), compile_cell(cell, ())


@functools.cache
def search(said: str, regime: Regime) -> Search:
    """Made once: what slips give depends on the cell and the data alone."""
    model, text = right(said)
    dims = Kernel(load_text(text, "right.py"), "right").dims
    data = draw(dims, regime, 0)
    return Search(Trial(model, dims, data, data.cotangents), data)


def named(said: str, *edits: tuple[str, str]) -> tuple[str, set[str]]:
    """(the cause that is named for an edited backward pass, the wrong blocks that it doesn't explain)."""
    model, text = right(said)
    head, rest = text.split("def backward(", 1)
    backward, rest = rest.split("def jvp(", 1)
    for old, new in edits:
        assert backward.count(old) == 1, f"`{old}` stands {backward.count(old)} times in {backward}"
        backward = backward.replace(old, new)
    kernel = Kernel(load_text(f"{head}def backward({backward}def jvp({rest}", "edited.py"), "edited")
    searches = [search(said, regime) for regime in (ORDINARY, LONG)]
    evidences = [Evidence(kernel, regime, one.data) for regime, one in zip((ORDINARY, LONG), searches, strict=True)]
    wrong = [one.differing(kernel.gradients(one.data)) for one in searches]
    first, *others = sorted((k for k in (0, 1) if wrong[k]), key=lambda k: -len(wrong[k]))
    again = [evidences[k] for k in others]
    inquiry = Inquiry(evidences[first], [], model, known=searches[first], together=0, again=again)
    with np.errstate(all="ignore"):
        found = inquiry.explanation
    return (inquiry.headline(found), set(wrong[first]) - found.explained) if found else ("", set(wrong[first]))


# ---- pieces

LOOPS = {
    "a cell": ("rnn", ["carry_h = d_a_h @ U"], "t", "T", ""),
    "two states": ("lstm", ["carry_h = ", "carry_c = "], "t", "T", ""),
    "a state of two": ("lstm", ["carry_c = "], "t", "T", " of c"),
    "a layer": ("rnn --layers 2", ["carry_h_2 = d_a_h_2 @ U_2"], "t", "T", " of h_2"),
    "from right to left": ("rnn --bidirectional", ["carry_h_left = d_a_h_left @ U_left"], "t + 1", "T", " of h_left"),
    "a source": (TRANSLATION, ["carry_h = d_a_h @ U"], "s", "S", " of h"),
    "a target": (TRANSLATION, ["carry_d_all[t] = d_a_d @ R"], "t", "T", " of d"),
}
"""Name -> (the equations, how lines begin in which steps hand on, between how many steps and the next one it is handed on, how many
there are, the name of the carry)."""
FROM_START = "0 < {step} < {count} and ({step}) % {K} == 0"
FROM_END = "({count} - ({step})) % {K} == 0"


def dropped(loop: str, when: str, **values: object) -> list[tuple[str, str]]:
    """What is handed on dropped after some steps."""
    said, begins, step, count, _ = LOOPS[loop]
    where = when.format(step=step, count=count, **values)
    backward = right(said)[1].split("def backward(", 1)[1].split("def jvp(", 1)[0]
    lines = [next(one for one in backward.splitlines() if one.startswith(f"        {begin}")) for begin in begins]
    return [(f"{line}\n", f"{line.replace(' = ', ' = (')}) * (not ({where}))\n") for line in lines]


@pytest.mark.parametrize("K", [3, 10])
@pytest.mark.parametrize("when", [FROM_START, FROM_END])
@pytest.mark.parametrize("loop", LOOPS)
def test_a_carry_that_is_dropped_every_few_steps_is_named_with_their_number(loop: str, when: str, K: int) -> None:
    said = LOOPS[loop][0]
    cause, rest = named(said, *dropped(loop, when, K=K))
    counted = ", counted from the first step" if when == FROM_START else ""
    assert cause == f"truncated recurrence at K = {K}: the carry{LOOPS[loop][-1]} is cut every {K} steps{counted}"
    assert not rest


@pytest.mark.parametrize("loop", ["a cell", "from right to left"])
@pytest.mark.parametrize(
    "when",
    ["({step}) in (2, 3)", "({step}) == 2", "({step}) in (1, 10, 20, 30, 40)"],
    ids=["two steps", "one step", "every tenth step and the first"],
)
def test_a_carry_that_is_dropped_otherwise_is_not_called_cut_every_few_steps(loop: str, when: str) -> None:
    cause, _ = named(LOOPS[loop][0], *dropped(loop, when))
    assert "cut every" not in cause


@pytest.mark.parametrize(("when", "piece"), [
    ("({step}) % 4 == 1", "the first piece has 1 step"), ("({step}) % 3 == 2", "the first piece has 2 steps"),
    ("({count} - ({step})) % 4 == 3", "the last piece has 3 steps"),
])  # fmt: skip
@pytest.mark.parametrize("loop", ["a cell", "two states", "a layer", "from right to left"])
def test_a_carry_that_is_dropped_every_few_steps_behind_a_shorter_piece_is_named_with_it(
    loop: str, when: str, piece: str
) -> None:
    said, K = LOOPS[loop][0], when.split("% ")[1][0]
    cause, rest = named(said, *dropped(loop, when))
    assert cause == f"truncated recurrence at K = {K}: the carry{LOOPS[loop][-1]} is cut every {K} steps, {piece}"
    assert not rest


def looping(said: str, loop: str, steps: str) -> list[tuple[str, str]]:
    """Another range of steps of a loop, and zeros where it doesn't come."""
    lines = right(said)[1].split("def backward(", 1)[1].split("def jvp(", 1)[0].splitlines()
    made = [(f"{line}\n", f"{line.replace('np.empty', 'np.zeros')}\n") for line in dict.fromkeys(lines) if "np.empty" in line]
    return [*made, (f" in {loop}:", f" in {steps}:")]


STOPPED = {
    "a cell, 1": ("rnn", "reversed(range(T))", "reversed(range(1, T))", "the first step is left out: the loop stops before it"),
    "a cell, 3": ("rnn", "reversed(range(T))", "reversed(range(3, T))", "the first 3 steps are left out: the loop stops before them"),
    "two states, 2": ("lstm", "reversed(range(T))", "reversed(range(2, T))", "the first 2 steps are left out: the loop stops before them"),
    "from left to right": ("rnn --bidirectional", "reversed(range(T))", "reversed(range(2, T))",
                           "the first 2 steps are left out: the loop of h_right stops before them"),
    "from right to left": ("rnn --bidirectional", "range(T)", "range(T - 2)",
                           "the last 2 steps are left out: the loop of h_left stops before them"),
    "a source": (TRANSLATION, "reversed(range(S))", "reversed(range(2, S))",
                 "the first 2 steps are left out: the loop of h stops before them"),
    "a last value": (READOUT, "reversed(range(T))", "reversed(range(2, T))",
                     "the first 2 steps are left out: the loop of h stops before them"),
    "a last value, truncated": (READOUT, "reversed(range(T))", "reversed(range(T - 3, T))",
                                "truncated recurrence at K = 3: the loop of h stops 3 steps before the end"),
}  # fmt: skip


@pytest.mark.parametrize("case", STOPPED)
def test_a_loop_that_stops_a_few_steps_early_is_named_with_their_number(case: str) -> None:
    said, loop, steps, wanted = STOPPED[case]
    cause, rest = named(said, *looping(said, loop, steps))
    assert cause == wanted
    assert not rest


@pytest.mark.parametrize("loop", ["a cell", "a layer"])
def test_a_cut_that_does_not_explain_all_that_it_touches_is_not_named(loop: str) -> None:
    said = LOOPS[loop][0]
    bias = "b_2" if loop == "a layer" else "b"
    cause, rest = named(said, *dropped(loop, FROM_START, K=3), (f'"{bias}": d_{bias}', f'"{bias}": 1.01 * d_{bias}'))
    assert "cut every" not in cause
    assert bias in rest


# ---- means


def over(what: str, *names: str) -> list[tuple[str, str]]:
    """Gradients divided by something as they are returned."""
    return [(f'"{name}": d_{name}', f'"{name}": d_{name} / {what}') for name in names]


MEANS = {
    "a readout": (READOUT, over("T", "V"), "divided by the number of steps, over which it isn't summed"),
    "a readout of two parameters": (READOUT, over("T", "V", "b_y"), "divided by the number of steps, over which it isn't summed"),
    "all parameters": (READOUT, over("T", "W", "U", "b", "V", "b_y"), "mean instead of sum over steps"),
    "a readout, by the examples": (READOUT, over("B", "V"), "mean instead of sum over examples"),
    "all parameters, by both": (READOUT, over("(T * B)", "W", "U", "b", "V", "b_y"), "mean instead of sum over steps and examples"),
    "a cell's learned start": (LEARNED_START, over("T", "q"), "divided by the number of steps, over which it isn't summed"),
    "a start on two axes": (TRANSLATION, over("S", "P"), "divided by the number of steps S, over which it isn't summed"),
    "a decoder by the source": (TRANSLATION, over("S", "A"), "divided by the number of steps S, over which it isn't summed"),
    "a number that is no length": (READOUT, over("3", "V"), "scaled by 0.333333333: the gradient of V"),
    "a number that is one by chance": (READOUT, over(str(ORDINARY.steps), "V"), "scaled by 0.2: the gradient of V"),
}  # fmt: skip


@pytest.mark.parametrize("name", MEANS)
def test_a_gradient_that_is_divided_by_the_number_of_steps_is_named_also_where_it_is_not_summed_over_them(name: str) -> None:
    said, edits, cause = MEANS[name]
    assert named(said, *edits) == (cause, set())


# ---- gradients that change places


@pytest.mark.parametrize(
    ("said", "one", "two"),
    [
        ("rnn --bidirectional", "U_right", "U_left"),
        ("rnn --layers 2", "b_1", "b_2"),
        (GATED_OUTPUT, "U", "V"),
        ("gru", "W_z", "W_r"),
    ],
    ids=["directions", "layers", "a cell and its output", "gates"],
)
def test_two_gradients_that_change_places_are_named_wherever_they_are_computed(said: str, one: str, two: str) -> None:
    cause, rest = named(said, (f'"{one}": d_{one}', f'"{one}": d_{two}'), (f'"{two}": d_{two}', f'"{two}": d_{one}'))
    assert cause in {f"gates swapped: the gradients of {a} and {b} exchanged" for a, b in ((one, two), (two, one))}
    assert not rest
