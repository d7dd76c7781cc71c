"""The norms of dy_t/dx_s: closed forms of linear networks, complex steps of the forward pass, the map, the record, the picture."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import verify.jacobian.influence as module
from tests import bounds
from tests.verify.jacobian.networks import TINY, complexes, drawn_network, network
from tests.verify.jacobian.runs import without
from tests.verify.jacobian.test_command import SMALL, ran, refused
from verify.jacobian import heat_map
from verify.jacobian.command import main, sources
from verify.jacobian.files import Asked
from verify.jacobian.influence import Blocks, Influence, Question, asking, influence, question
from verify.jacobian.run import Run

ROOT = Path(__file__).parents[3]
PAGES = ROOT / "examples" / "pages"
ASKED = (
    ("lstm --layers 2 --bidirectional", "h", "x"),
    ("gru --masked", "h", "m"),
    ("lstm", "h", "f"),
    ("rnn --layers 2 --bidirectional", "h_left_2", "h_right_1"),
    (f"{PAGES}/networks.md --cell luong_attention_dot", "p", "x"),
    (f"{PAGES}/networks.md --cell luong_attention_dot", "J", "h_bar"),
    (f"{PAGES}/attention.md --cell bahdanau_attention", "c", "h"),
    (f"{PAGES}/captions.md --cell captions_from_features", "p", "f"),
    (f"{PAGES}/captions.md --cell captions_from_features", "J", "x"),
)
"""Words, y and x: along one axis and along two, one value an example on either side, inputs and what isn't one."""


def asked(words: str, of: str, by: str, seed: int = 0, **lengths: int) -> Question:
    """The question over a run with random arrays and initial states."""
    cell = network(words)
    given = {str(value.name) for value in cell.inputs}
    own, moved = asking(cell, of, None if by in given else by)
    run = drawn_network(own, seed, **lengths)
    if moved:
        run = Run(run.name, run.kernel, run.parameters, {**run.inputs, moved: 0 * run.inputs[moved]}, run.state, run.derivation)
    return Question(run, of, by, moved or by)


def by_complex_step(one: Question) -> Any:
    """The norms by complex steps of the forward pass, (T, S, B): every element of x at every step is moved by itself."""
    run = one.run
    y, x = Blocks.of(run, one.of, run.outputs[one.of]), Blocks.of(run, one.source, run.inputs[one.source])
    inputs = complexes(run.inputs)
    squares = np.zeros((y.steps, x.steps, run.batch))
    for s in range(x.steps):
        for element in np.ndindex(x.shape):
            moved = inputs[one.source].copy()
            moved[(s,) * x.along + (slice(None), *element)] += TINY * 1j
            arrays = {**inputs, one.source: moved}
            outputs, _ = run.kernel.forward(complexes(run.parameters), arrays, complexes(run.complete_state(run.state)))
            squares[:, s] += ((outputs[one.of].imag / TINY).reshape(y.steps, run.batch, -1) ** 2).sum(axis=-1)
    return np.sqrt(squares)


def limit(one: Question) -> float:
    """Two routes to each element through all steps, and a norm of them; relative to the largest norm."""
    steps = max(array.shape[0] for array in one.run.inputs.values())
    width = sum(array[0].size for array in one.run.outputs.values())
    return bounds.rounded(bounds.of_recurrence(2 * steps, one.run.batch, fan_in=4 * width))


@pytest.mark.parametrize("by_rows", [True, False])
@pytest.mark.parametrize(("words", "of", "by"), ASKED)
def test_norms_are_those_of_complex_steps_by_rows_and_by_columns(
    words: str, of: str, by: str, by_rows: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "is_by_rows", lambda one: by_rows)
    monkeypatch.setattr(module, "ROOM", 20_000)  # several batches, the last one not full
    one = asked(words, of, by)
    expected = by_complex_step(one)
    assert expected.max() > 0
    assert abs(influence(one).norms - expected).max() <= limit(one) * expected.max()


def test_a_unit_vector_at_a_wrong_step_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """A planted fault: the cotangent of the step before."""
    right = Blocks.unit_vectors
    monkeypatch.setattr(Blocks, "unit_vectors", lambda self, first, copies: np.roll(right(self, first, copies), 1, axis=0))
    one = asked("lstm --layers 2 --bidirectional", "h", "x")
    assert abs(influence(one).norms - by_complex_step(one)).max() > 1e6 * limit(one)


def powers(U: Any, count: int) -> list[Any]:
    out = [np.eye(len(U))]
    for _ in range(count - 1):
        out.append(U @ out[-1])
    return out


def test_a_linear_network_of_two_directions_has_the_norms_of_its_powers() -> None:
    """h_right_t = W x + U h_right_{t-1} + b, h_left the other way: dh_t/dx_s = [U^{t-s} W (s <= t); V^{s-t} Z (s >= t)]."""
    one = asked("rnn --activation identity --bidirectional", "h", "x")
    p, T = one.run.parameters, one.run.steps
    right, left = (powers(p[f"U_{side}"], T) for side in ("right", "left"))
    expected = np.zeros((T, T))
    for t in range(T):
        for s in range(T):
            forwards = np.linalg.norm(right[t - s] @ p["W_right"]) if s <= t else 0.0
            backwards = np.linalg.norm(left[s - t] @ p["W_left"]) if s >= t else 0.0
            expected[t, s] = np.hypot(forwards, backwards)
    got = influence(one)
    assert abs(got.norms - expected[..., None]).max() <= limit(one) * expected.max()
    assert got.question.axes == ("T", "T")


def test_a_state_moved_by_itself_at_one_step_moves_those_behind_it_by_powers() -> None:
    """h_t = U h_{t-1} + W x + b with something added to h_s alone: dh_t/dh_s = U^{t-s}, the identity at t = s, 0 before."""
    one = asked("rnn --activation identity", "h", "h")
    U = powers(one.run.parameters["U"], one.run.steps)
    expected = [[np.linalg.norm(U[t - s]) if t >= s else 0.0 for s in range(one.run.steps)] for t in range(one.run.steps)]
    got = influence(one).norms
    assert abs(got - np.array(expected)[..., None]).max() <= limit(one) * np.max(expected)
    assert (got[np.triu_indices(one.run.steps, 1)] == 0).all()


def test_what_is_far_below_the_square_root_of_the_smallest_number_is_not_lost() -> None:
    """h_t = 1e-60 h_{t-1} + W x: dh_4/dx_1 is 1e-180 of W, whose square is no number."""
    one = asked("rnn --activation identity", "h", "x")
    H = one.run.parameters["U"].shape[0]
    run = one.run.with_parameters({**one.run.parameters, "U": 1e-60 * np.eye(H)})
    got = influence(Question(run, "h", "x", "x")).norms
    assert got[3, 0] == pytest.approx(np.full(run.batch, 1e-180 * np.linalg.norm(run.parameters["W"])), rel=limit(one))


def test_the_mean_is_over_the_sequences() -> None:
    one = asked("lstm --bidirectional", "h", "x")
    got = influence(one)
    assert got.norms.shape == (5, 5, 2)
    assert not np.allclose(got.norms[..., 0], got.norms[..., 1])
    assert got.mean == pytest.approx((got.norms[..., 0] + got.norms[..., 1]) / 2)


def test_a_kernel_file_and_one_without_jvp_answer_too(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--of", "h", "--with-respect-to", "x", *SMALL]
    cell, file = (ran(capsys, one, *words) for one in ("lstm", str(ROOT / "generated" / "lstm.py")))
    assert np.shape(cell["norms"]) == np.shape(file["norms"]) == (8, 8)
    one = asked("lstm", "h", "x")
    run = Run("lstm", without(one.run.kernel, "jvp"), one.run.parameters, one.run.inputs, one.run.state)
    assert influence(Question(run, "h", "x", "x")).norms == pytest.approx(influence(one).norms)


def test_asking_changes_nothing_that_the_network_computes() -> None:
    cell = network(f"{PAGES}/attention.md --cell bahdanau_attention")
    plain, own = drawn_network(cell), asked(f"{PAGES}/attention.md --cell bahdanau_attention", "c", "h").run
    parameters = {name: own.parameters[name] for name in plain.parameters}
    inputs = {name: own.inputs[name] for name in plain.inputs}
    outputs, _ = plain.kernel.forward(parameters, inputs, own.complete_state(own.state))
    for name, array in outputs.items():
        assert np.array_equal(array, own.outputs[name])


# ---- what is printed


def drawn_map(norms: Any) -> Influence:
    one = asked("rnn", "h", "x")
    return Influence(one, np.asarray(norms, float)[..., None])


def test_the_map_has_a_blank_for_0_and_darker_signs_for_larger_norms() -> None:
    lines = heat_map.shaded(drawn_map([[1.0, 0.0], [1e-4, 1e-2]]))
    assert lines[1:3] == ["      1 |██  |", "      2 |··▒▒|"]
    assert lines[0].split() == ["t", "s", "=", "1..2"]
    assert "blank 0" in lines[-1]


def test_a_long_map_shows_the_largest_of_each_block() -> None:
    norms = np.full((100, 130), 1e-9)
    norms[50, 77] = 1.0
    lines = heat_map.shaded(drawn_map(norms))
    assert sum("█" in line for line in lines[1:-1]) == 1
    assert len(lines) == 2 + heat_map.ROWS
    assert max(len(line) for line in lines[1:-1]) <= heat_map.COLUMNS + 10
    assert "the largest of its block" in lines[-1]


def test_a_recurrence_in_one_direction_is_said_to_read_nothing_later(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["gru", "--of", "h", "--with-respect-to", "x", *SMALL]) == 0
    assert "0 wherever s > t: no step reads a later one." in capsys.readouterr().out
    assert main(["gru --bidirectional", "--of", "h_left", "--with-respect-to", "x", *SMALL]) == 0
    assert "0 wherever s < t: no step reads an earlier one." in capsys.readouterr().out
    assert main(["gru --bidirectional", "--with-respect-to", "x", *SMALL]) == 0
    said = capsys.readouterr().out
    assert "|dh_t/dx_s|" in said
    assert "wherever" not in said


def test_the_record_has_every_norm_and_how_to_run_it_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "page.md"
    page.write_text("# Page\n\n$$h_s = \\tanh(W x_s + U h_{s-1})$$\n\n$$d_0 = h_S$$\n\n$$d_t = \\tanh(A y_t + B d_{t-1})$$\n")
    words = [str(page), "--of", "d", "--with-respect-to", "x", *SMALL]
    record = ran(capsys, *words, "--dim", "S=5", "--batch", "3")
    assert np.shape(record["norms"]) == np.shape(record["norms_spread"]) == (8, 5)
    assert record["axes"] == {"of": "T", "with_respect_to": "S"}
    assert record["norm"] == "Frobenius norm over the elements of d and x, mean of 3 sequences"
    again = shlex.split(record["command"])
    assert again[:4] == ["python", "-m", "verify", "jacobian"]
    assert ran(capsys, *[word for word in again[4:] if word != "--json"])["norms"] == record["norms"]


def test_several_are_drawn_side_by_side_in_one_scale_and_the_same_bytes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib")
    words = ["rnn --layers 2 --bidirectional", "--of", "h_right_2", "--of", "h", "--with-respect-to", "x", *SMALL, "--plot"]
    files = [tmp_path / "a.png", tmp_path / "b.png"]
    for file in files:
        assert main([*words, str(file)]) == 0
    assert files[0].read_bytes() == files[1].read_bytes()
    assert capsys.readouterr().out.count("|dh_") == 4


def test_the_picture_has_a_row_for_each_step_of_y_from_above_and_leaves_0_white() -> None:
    plt = pytest.importorskip("matplotlib.pyplot")
    figure = heat_map.composed(plt, [drawn_map([[1.0, 0.0, 0.0], [1e-2, 1.0, 0.0]])])
    axes = figure.axes[0]
    colours = axes.collections[0].get_array()
    assert colours.shape == (2, 3)
    assert colours.mask.sum() == 3
    assert axes.get_ylim() == (2.5, 0.5)
    assert axes.get_xlabel() == "s, the step of x that moves"
    plt.close(figure)


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ("lstm --of hh --with-respect-to x", "--of hh: unknown quantity: expected one of h, c, i, f, c_tilde, o. Did you mean h?"),
        ("lstm --of h --with-respect-to xx", "--with-respect-to xx: unknown quantity: expected one of x, i, f, c_tilde, c, o, h. "
         "Did you mean x?"),
        ("lstm --with-respect-to x", "--with-respect-to: the gradient of what: expected --of with one of h, c. Name it."),
        ("generated/lstm.py --of h --with-respect-to f", "--with-respect-to f: unknown quantity: expected one of x."),
        ("'examples/pages/networks.md --cell characters_in_two_layers' --of y --with-respect-to x",
         "Tokens are whole numbers and have no gradient"),
        ("'examples/pages/attention.md --cell pointer_network' --of p --with-respect-to x",
         "--of p: lies along T and J: expected one axis of steps."),
        ("lstm --of h --with-respect-to x --remedy relu", "--remedy relu: belongs to the products of a recurrence"),
        ("lstm --of h --with-respect-to x --exponents 0", "--exponents 0: belongs to the products of a recurrence"),
        ("lstm --of h --with-respect-to x --threshold 0.1", "--threshold 0.1: belongs to the products of a recurrence"),
        ("lstm --of h --with-respect-to x --no-paths", "--no-paths: belongs to the products of a recurrence"),
        ("lstm --of h --of h --with-respect-to x", "--of h: given twice"),
        ("lstm --of h --with-respect-to b_f", "--with-respect-to b_f: a parameter, the same at every step: expected one of x, i"),
        ("lstm --of W_f --with-respect-to x", "--of W_f: a parameter, the same at every step: expected one of h, c"),
        ("lstm --of x --with-respect-to x", "--of x: an input, which nothing moves: expected one of h, c"),
        ("examples/pages/attention.md --of e --with-respect-to q", "attention.md: q: expected in each of 2 cells, got it in "
         "none of them. Choose a section with --cell."),
        ("examples/pages/attention.md --of d --with-respect-to x", "attention.md: d: expected in each of 2 cells, got it in "
         "attention_pointer_network. Choose a section with --cell."),
        ("lstm --of h --with-respect-to x --plot nowhere/x.png", "expected an existing folder"),
    ],
)  # fmt: skip
def test_what_has_no_such_gradient_is_refused(
    words: str, text: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    assert text in refused(capsys, *shlex.split(words), *SMALL)


def test_a_picture_has_ticks_at_steps_only_and_a_long_name_on_several_lines() -> None:
    plt = pytest.importorskip("matplotlib.pyplot")
    one = drawn_map([[1.0, 0.5]])
    long = replace(one, question=replace(one.question, run=replace(one.question.run, name="page_" * 14 + "end")))
    figure = heat_map.composed(plt, [long])
    axes = figure.axes[0]
    assert all(float(tick).is_integer() for tick in axes.get_yticks())
    *name, what = axes.get_title(loc="left").split("\n")
    assert "".join(name) == long.question.run.name
    assert max(map(len, name)) <= heat_map.WIDEST
    assert what == "|dh_t/dx_s|"
    plt.close(figure)
    figure = heat_map.composed(plt, [drawn_map([[0.0, 0.0]])])
    assert len(figure.axes) == 1  # no bar of colours
    assert [text.get_text() for text in figure.axes[0].texts] == ["0 everywhere"]
    plt.close(figure)


@pytest.mark.parametrize(
    ("norms", "shades", "says"),
    [
        ([[0.0, 0.0], [0.0, 0.0]], ["1 |    |", "2 |    |", "blank 0"], "0 everywhere: x_s moves no h_t."),
        ([[0.1, 0.0], [0.0, 0.1]], ["1 |██  |", "2 |  ██|", "█ 0.1, blank 0"], "Largest 0.1 at t = 1, s = 1; t = 2, s = 1: 0"),
        ([[0.7]], ["1 |██|", "█ 0.7, blank 0"], "Largest 0.7 at t = 1, s = 1."),
    ],
)
def test_maps_of_one_number_say_that_number_once(norms: list[list[float]], shades: list[str], says: str) -> None:
    one = drawn_map(norms)
    assert [line.strip() for line in heat_map.shaded(one)[1:]] == shades
    assert heat_map.sentences(one)[0].startswith(says)


def test_a_forget_bias_that_one_of_several_cells_can_t_take_is_spoken_of(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--of", "h", "--with-respect-to", "x", "--init", "forget-bias=2"]
    plain, gated = ran(capsys, "--compare", "rnn", "lstm --bidirectional", *words, *SMALL)["influences"]
    assert "has no bias in a gate" in plain["applied"]["forget_bias"]["why_not"]
    assert {one["parameter"] for one in gated["applied"]["forget_bias"]["set"]} == {"b_f_right", "b_f_left"}
    assert gated["applied"]["forget_bias"]["why_not"] is None
    assert "none of these cells takes it: rnn" in refused(capsys, "--compare", "rnn", "rnn --no-bias", *words, *SMALL)


def test_weights_and_inputs_of_files_serve_what_is_no_input_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ((name, kernel, derivation),) = sources(["rnn", "--bidirectional"])
    one = question(name, kernel, derivation, "h", "h_left", Asked(4, 6, 3, 2))
    np.savez(tmp_path / "w.npz", **one.run.parameters)
    np.savez(tmp_path / "x.npz", x=one.run.inputs["x"])
    files = ["--weights", str(tmp_path / "w.npz"), "--inputs-file", str(tmp_path / "x.npz")]
    record = ran(capsys, "rnn --bidirectional", "--of", "h", "--with-respect-to", "h_left", *files)
    assert np.array(record["norms"]) == pytest.approx(influence(one).mean)
