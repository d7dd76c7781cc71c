"""One recurrence of a network: its products are the derivatives of the whole network's states, in its own direction and along its axis."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sympy as sp

import verify.jacobian.within as module
from derive.along import Steps
from derive.cell import Cell
from derive.language import Eq, Value, X, apply, dimension, hadamard
from tests import bounds
from tests.verify.jacobian.networks import by_initial_states, drawn_network, emitted, network, recurrence
from tests.verify.jacobian.runs import words_run
from tests.verify.jacobian.test_command import SMALL, ran, refused
from verify.jacobian import Run, Wanted, analyse
from verify.jacobian.command import main, parser, runs_of
from verify.jacobian.derived import Derived, dense
from verify.jacobian.files import Asked
from verify.jacobian.initial import Init
from verify.jacobian.paths import paths_of
from verify.jacobian.recurrences import chosen, is_whole, part_of
from verify.jacobian.steps import Dense, Products
from verify.jacobian.values import evaluated
from verify.jacobian.within import begun, run_of

PAGES = Path(__file__).parents[3] / "examples" / "pages"
RECURRENCES = (
    ("rnn --layers 2 --bidirectional", "h_right_2"),
    ("rnn --layers 2 --bidirectional", "h_left_1"),
    ("lstm --layers 2 --bidirectional", "c_left_2"),
    ("gru --layers 2 --masked", "h_2"),
    ("lstm --bidirectional --masked", "h_left"),
    (f"{PAGES}/networks.md --cell luong_attention_dot", "m"),
    (f"{PAGES}/networks.md --cell luong_attention_dot", "m_bar"),
    (f"{PAGES}/attention.md --cell bahdanau_attention", "s"),
    (f"{PAGES}/attention.md --cell bahdanau_attention", "h_left"),
    (f"{PAGES}/networks.md --cell two_minimal_gated_units", "v"),
    (f"{PAGES}/networks.md --cell sequence_autoencoder", "d"),
    (f"{PAGES}/networks.md --cell forecasts", "h"),
    (f"{PAGES}/captions.md --cell captions_from_features", "h"),
    (f"{PAGES}/captions.md --cell show_attend_and_tell", "c"),
)


def products(run: Any, steps: Any = None) -> Any:
    """J_t ... J_1 for every t, (T, B, S, S)."""
    steps, out = steps or Dense(run), []
    whole = np.broadcast_to(np.eye(run.size), (run.batch, run.size, run.size))
    for t in range(run.steps):
        whole = steps.push(t, whole)
        out.append(whole)
    return np.array(out)


def limit(run: Any) -> float:
    """Two routes through all steps, with sums over the states and over what a step sums beside them; relative to the largest product."""
    others = max([1, *[n for name, array in run.inputs.items() for n in array.shape[:2]]])
    return bounds.rounded(bounds.of_recurrence(run.steps, run.batch, fan_in=4 * (run.size + 12) * others))


@pytest.mark.parametrize(("words", "state"), RECURRENCES)
def test_products_are_the_derivatives_of_the_network_s_own_states(words: str, state: str) -> None:
    part, run, whole = recurrence(words, state)
    expected = by_initial_states(part, whole)
    assert abs(products(run) - expected).max() <= limit(run) * abs(expected).max()
    assert abs(products(run, Products(run)) - expected).max() <= limit(run) * abs(expected).max()
    if run.has_terms:
        assert (
            abs(dense(Derived(run)) - [Dense(run).jacobian(t) for t in range(run.steps)]).max()
            <= limit(run) * abs(expected).max()
        )


def test_data_that_aren_t_turned_round_are_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """A planted fault: the data of a recurrence from the last step to the first in the order of the first."""
    right = module.laid
    monkeypatch.setattr(module, "laid", lambda array, along, part, steps: right(array, along, part, steps)[::-1].copy())
    part, run, whole = recurrence("rnn --layers 2 --bidirectional", "h_left_1")
    expected = by_initial_states(part, whole)
    assert abs(products(run) - expected).max() > 1e6 * limit(run) * abs(expected).max()


def test_the_last_norm_is_that_of_the_derivative_of_the_network_and_the_cut_paths_leave_the_rest() -> None:
    part, run, whole = recurrence("lstm --layers 2 --bidirectional", "h_left_2")
    result = analyse(run)
    norms = np.log10(np.linalg.norm(by_initial_states(part, whole)[-1], ord=2, axis=(-2, -1)))
    assert result.log10_norms[-1] == pytest.approx(norms.mean(), abs=10 * limit(run))
    assert result.paths is not None
    assert "carousel c_left_2" in [path.name for path in result.paths]
    assert result.gradient is not None
    assert set(result.gradient.inputs) == {"h_right_1", "h_left_1"}


def linear(words: str, U: Any, name: str) -> Any:
    """The run of a recurrence whose matrix of the states before is U."""
    run = words_run(words)
    return run.with_parameters({**run.parameters, name: U})


@pytest.mark.parametrize("state", ["h_right_2", "h_left_2"])
def test_a_linear_network_of_two_directions_shrinks_by_its_scale_at_each_step(state: str) -> None:
    """h_t = W x_t + 0.9 Q h_{t+1}, Q orthogonal: every exponent is ln 0.9, the norm at lag l is 0.9^l (JKU slides, (W_h)^l)."""
    Q = np.linalg.qr(np.random.default_rng(3).standard_normal((4, 4)))[0]
    words = f"'rnn --activation identity --layers 2 --bidirectional' --of {state} --hidden 4 --inputs 3 --steps 12"
    result = analyse(linear(words, 0.9 * Q, f"U_{state[2:]}"))
    near = bounds.rounded(bounds.of_recurrence(12, 1, fan_in=16))
    assert result.exponents == pytest.approx(np.full(4, np.log(0.9)), abs=near)
    assert result.log10_norms == pytest.approx(np.arange(1, 13) * np.log10(0.9), abs=12 * near)
    assert result.bound.per_step == pytest.approx(np.log10(0.9), abs=near)


def test_layers_in_one_direction_are_one_joint_state_until_one_is_asked_for() -> None:
    assert is_whole(network("rnn --layers 2"))
    assert dict(words_run("rnn --layers 2 --hidden 4 --inputs 3 --steps 6").sizes) == {"h_1": 4, "h_2": 4}
    assert dict(words_run("rnn --layers 2 --of h_2 --hidden 4 --inputs 3 --steps 6").sizes) == {"h_2": 4}


def test_the_only_recurrence_of_a_network_needs_no_name(capsys: pytest.CaptureFixture[str]) -> None:
    record = ran(capsys, f"{PAGES}/captions.md --cell captions_from_features", *SMALL)
    assert record["of"]["states"] == ["h"]
    assert record["of"]["direction"] == "first to last"


def test_several_are_compared_on_the_same_axes_and_the_record_says_what_each_is(capsys: pytest.CaptureFixture[str]) -> None:
    words = "rnn --layers 2 --bidirectional"
    both = ran(capsys, words, "--of", "h_right_2", "--of", "h_left_2", *SMALL)["cells"]
    assert [one["of"]["direction"] for one in both] == ["first to last", "last to first"]
    assert both[1]["of"]["data"] == ["h_right_1", "h_left_1"]
    quoted = ran(capsys, "--compare", f"{words} --of h_right_2", f"{words} --of h_left_2", *SMALL)["cells"]
    assert [one["exponents"] for one in quoted] == [one["exponents"] for one in both]
    alone = ran(capsys, words, "--of", "h_left_2", *SMALL, "--remedy", "orthogonal")["cells"]
    assert alone[0]["exponents"] == both[1]["exponents"] != alone[1]["exponents"]


@pytest.mark.parametrize(
    ("words", "heads"),
    [
        (["rnn --bidirectional", "--of", "h_left", "--of", "h_right"], ["h_left", "h_right"]),
        (["--compare", "rnn --of h", "gru --of h"], ["h of rnn", "h of gru"]),
        (["--compare", "rnn --of h", "gru"], ["h of rnn", "gru"]),
        (["rnn", "--of", "h", "--remedy", "orthogonal"], ["h", "h, orthogonal"]),
    ],
)
def test_columns_are_called_as_short_as_tells_them_apart(
    words: list[str], heads: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*words, *SMALL]) == 0
    assert capsys.readouterr().out.splitlines()[0].split() == " ".join(heads).split()


def test_a_start_is_given_to_each_recurrence_and_what_it_takes_of_others_counts_as_input() -> None:
    """With H = D the second layer's W_2 is square: it multiplies what the first layer hands up, which is no state of the second."""
    cell = network("lstm --layers 2")
    run = begun(drawn_network(cell), Asked(init=Init(forget_bias=4.0, recurrent="identity")))
    assert np.allclose(run.parameters["b_f_1"], 4)
    assert np.allclose(run.parameters["b_f_2"], 4)
    assert (run.parameters["U_i_2"] == np.eye(len(run.parameters["U_i_2"]))).all()
    assert run.parameters["W_i_2"].shape[0] == run.parameters["W_i_2"].shape[1]
    assert not np.allclose(run.parameters["W_i_2"], np.eye(len(run.parameters["W_i_2"])))


@pytest.mark.parametrize(
    ("words", "state", "context"),
    [
        (f"{PAGES}/attention.md --cell bahdanau_attention", "s", "c"),
        (f"{PAGES}/networks.md --cell luong_attention_dot", "m", "c"),
        (f"{PAGES}/captions.md --cell show_attend_and_tell", "c", "z_hat"),
    ],
)
def test_attention_inside_a_step_has_paths_that_add_up_and_a_bound_along_the_run(words: str, state: str, context: str) -> None:
    """Through the context alone and through the rest; the context stands for the weights and scores, whose routes are the same."""
    part, run, _ = recurrence(words, state)
    result = analyse(run)
    assert result.paths is not None
    paths = {path.name: path for path in paths_of(run)}
    assert context in paths
    across = {str(target.name) for target in part.cell.targets if len(target.along) > 1}
    assert across
    assert not across & set(paths)
    whole = np.array([Dense(run).jacobian(t) for t in range(run.steps)])
    cut, kept = (dense(Derived(run).with_path(paths[context].marks, alone)) for alone in (False, True))
    assert abs(kept).max() > 1e-6
    assert abs(cut + kept - whole).max() <= limit(run) * abs(whole).max()
    eye, steps = np.broadcast_to(np.eye(run.size), (run.batch, run.size, run.size)), Derived(run)
    turned = np.array([steps.pull(t, eye) for t in range(run.steps)]).swapaxes(-1, -2)
    assert abs(turned - whole).max() <= limit(run) * abs(whole).max()
    assert result.bound.trajectory is not None
    assert (np.array(result.bound.trajectory) >= result.log10_norms).all()


def test_a_path_through_attention_is_what_moves_when_the_rest_stands_still() -> None:
    """Kept alone, the context's path is the difference to the same network whose context is data: by complex steps, without a term."""
    part, run, _ = recurrence(f"{PAGES}/attention.md --cell bahdanau_attention", "s")
    (path,) = [path for path in paths_of(run) if path.name == "c"]
    without = [(target, right) for target, right in part.cell.equations if len(target.along) == 1 and target.name != "c"]
    frozen = Cell.from_equations("frozen", "frozen", [Eq(target, right) for target, right in without])
    inputs = {
        name: array for name, array in run.inputs.items() if name in {str(v.name) for v in (*frozen.inputs, *frozen.tokens)}
    }
    c = evaluated(run).arrays[next(target for target in part.cell.targets if target.name == "c")]
    parameters = {str(v.name): run.parameters[str(v.name)] for v in frozen.parameters}
    derivation, kernel = emitted(frozen)
    other = Run("frozen", kernel, parameters, {**inputs, "c": c[..., 0]}, run.state, derivation)
    cut = dense(Derived(run).with_path(path.marks, False))
    expected = np.array([Dense(other).jacobian(t) for t in range(run.steps)])
    assert abs(cut - expected).max() <= limit(run) * abs(expected).max()


TWO_AXES = r"""# Page

<!-- derive: time = s, r, t -->

## Mean

$$m_t = \frac{1}{S} \sum_{s=1}^S \tanh(W d_{t-1} + U x_s)$$

$$d_t = \tanh(V d_{t-1} + C m_t + Z z_t)$$

## Two sources

$$c_t = \sum_s \operatorname{softmax}_s(d_{t-1}^\top A x_s) x_s$$

$$g_t = \sum_r \operatorname{softmax}_r(d_{t-1}^\top B y_r) y_r$$

$$d_t = \tanh(V d_{t-1} + C c_t + G g_t + Z z_t)$$
"""


STEPS_ALONG_TWO_AXES = {
    "the largest": r"$$d_t = \tanh(V d_{t-1} + C \max_s(\tanh(W d_{t-1} + U x_s)) + Z z_t)$$",
    "given along both": r"$$d_t = \tanh(V d_{t-1} + C \sum_s \operatorname{softmax}_s(d_{t-1}^\top A x_s) M_{t,s} x_s + Z z_t)$$",
    "to the left": r"$$d_t = \tanh(V d_{t+1} + C \sum_s \operatorname{softmax}_s(d_{t+1}^\top A x_s) x_s + Z z_t)$$",
    "along the source": r"$$d_s = \tanh(V d_{s-1} + C \sum_t \operatorname{softmax}_t(d_{s-1}^\top A z_t) z_t + Z x_s)$$",
}


@pytest.mark.parametrize("kind", STEPS_ALONG_TWO_AXES)
def test_terms_along_another_axis_add_up_to_the_step_whatever_they_are(kind: str, tmp_path: Path) -> None:
    page = tmp_path / f"{kind.replace(' ', '_')}.md"
    page.write_text(f"# Page\n\n<!-- derive: time = s, t; M = number -->\n\n{STEPS_ALONG_TWO_AXES[kind]}\n")
    part, run, whole = recurrence(str(page), "d")
    expected = by_initial_states(part, whole)
    assert abs(products(run, Derived(run)) - expected).max() <= limit(run) * abs(expected).max()
    eye = np.broadcast_to(np.eye(run.size), (run.batch, run.size, run.size))
    for t in range(run.steps):
        turned = Derived(run).pull(t, eye).swapaxes(-1, -2)
        assert abs(turned - Dense(run).jacobian(t)).max() <= limit(run)
    result = analyse(run)
    assert (np.array(result.bound.trajectory) >= result.log10_norms).all()


MEAN, SUM = r"\frac{1}{S} \sum_{s=1}^S", r"\sum_{s=1}^S"


@pytest.mark.parametrize("printed", [MEAN, SUM])
def test_a_bound_for_every_input_holds_for_the_length_of_the_other_axis(printed: str, tmp_path: Path) -> None:
    """|V| + |C| |W| of a mean, whatever its length; S times the second of a sum, which the statement says."""
    page = tmp_path / f"{len(printed)}.md"
    page.write_text(TWO_AXES.replace(MEAN, printed))
    _, run, _ = recurrence(f"{page} --cell mean", "d")
    V, C, W = (np.linalg.norm(run.parameters[name], 2) for name in "VCW")
    factor = 1 if printed == MEAN else run.dims["S"]
    result = analyse(run)
    assert result.bound.per_step == pytest.approx(np.log10(V + factor * C * W), abs=limit(run))
    assert "; S = 4." in result.bound.statement
    assert (np.array(result.bound.trajectory) >= result.log10_norms).all()


def test_two_other_axes_inside_a_step_have_exponents_and_the_bound_says_why_there_are_no_paths(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "page.md"
    page.write_text(TWO_AXES)
    record = ran(capsys, f"{page} --cell two_sources", "--of", "d", *SMALL, "--dim", "S=5", "--dim", "R=6")
    assert len(record["exponents"]) == record["size"]
    assert record["paths"] is None
    assert "lies along S and R too" in record["bound"]["statement"]
    assert set(record["gradient_by_lag"]["inputs"]) == {"x", "y", "z"}


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ("'rnn --layers 2 --bidirectional'", "4 recurrences that don't step together: expected one of them, got all. Name a state of it: "
         "--of with one of h_right_1, h_left_1, h_right_2, h_left_2."),
        ("'rnn --layers 2 --bidirectional' --of h_rigth_2", "unknown state h_rigth_2: expected one of h_right_1, h_left_1, h_right_2, "
         "h_left_2. Did you mean h_right_2?"),
        ("'rnn --layers 2 --bidirectional' --of h", "h carries no recurrence: expected one of h_right_1"),
        ("lstm --of f", "f carries no recurrence: expected one of h, c"),
        ("lstm --of W_f", "W_f carries no recurrence: expected one of h, c"),
        ("lstm --of h --of c", "--of c: of the same recurrence as h, whose figures are of both together"),
        ("'rnn --bidirectional' --of h_left --of h_left", "--of h_left: given twice"),
        ("examples/pages/attention.md --of s", "attention.md: s: expected in each of 2 cells, got it in "
         "attention_bahdanau_attention. Choose a section with --cell."),
        ("generated/lstm.py --of h", "--of h: expected equations, in which recurrences are found, got a kernel file."),
    ],
)  # fmt: skip
def test_what_can_t_be_asked_for_is_refused_with_the_names_there_are(
    words: str, text: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(Path(__file__).parents[3])
    assert text in refused(capsys, *shlex.split(words), *SMALL)


def test_a_decoder_that_reads_nothing_at_each_step_and_starts_with_both_ends(tmp_path: Path) -> None:
    """Its length comes of the readout's input alone, and the sizes of what it starts with stand in no matrix of its own."""
    page = tmp_path / "page.md"
    page.write_text(
        "# Page\n\n$$h_s = \\tanh(W x_s + U h_{s-1})$$\n\n$$\\overleftarrow{h}_s = \\tanh(A x_s + B \\overleftarrow{h}_{s+1})$$\n\n"
        "$$c = [h_S; \\overleftarrow{h}_1]$$\n\n$$d_0 = \\tanh(C c)$$\n\n$$d_t = \\tanh(V d_{t-1} + F c)$$\n\n$$y_t = G d_t + K z_t$$\n"
    )
    for state in ("d", "h_left"):
        part, run, whole = recurrence(str(page), state)
        expected = by_initial_states(part, whole)
        assert abs(products(run) - expected).max() <= limit(run) * abs(expected).max()
    page.write_text(page.read_text().replace(" + F c", ""))
    part, run, whole = recurrence(f"{page} ", "d")  # another word, so that the changed page is read
    assert part.idle
    assert abs(products(run) - by_initial_states(part, whole)).max() <= limit(run)
    assert set(run.read) == set()


def test_values_of_neighbouring_steps_and_of_an_example_are_data_too(tmp_path: Path) -> None:
    """What runs to the left reads another recurrence at t-1 and at t; that one reads a token and a vector of each example."""
    page = tmp_path / "page.md"
    page.write_text(
        "# Page\n\n<!-- derive: k = example tokens; g = example -->\n\n$$h_t = h_{t-1} + \\tanh(W x_t + U h_{t-1} + E k + g)$$\n\n"
        "$$\\overleftarrow{m}_t = \\tanh(A \\overleftarrow{m}_{t+1} + B h_{t-1} + C h_t)$$\n"
    )
    for state, data in (("h", {"x", "k", "g"}), ("m_left", {"h", "h_prev"})):
        part, run, whole = recurrence(str(page), state)
        assert set(run.inputs) == data
        expected = by_initial_states(part, whole)
        assert abs(products(run) - expected).max() <= limit(run) * abs(expected).max()


def test_how_many_steps_there_are_stays_what_it_is_step_by_step() -> None:
    """h_t = h_{t-1} + (1/T) tanh(W x_t + U h_{t-1}): a run of one step has T = 1, so that T is data of each."""
    H, D = dimension("H"), dimension("D")
    h, x, W, U = Value("h", H), Value("x", D), Value("W", H, D, axes=()), Value("U", H, H, axes=())
    moved = hadamard(apply(1 / X, Steps("T")), apply(sp.tanh(X), W @ x + U @ h.prev))
    cell = Cell.from_equations("counted", "counted", [Eq(h, h.prev + moved)])
    part = part_of(cell, chosen(cell, None))
    whole = drawn_network(part.network)
    run = run_of(part, whole, "h")
    assert not is_whole(cell)
    expected = by_initial_states(part, whole)
    assert abs(products(run) - expected).max() <= limit(run) * abs(expected).max()


def test_what_overflows_is_refused_by_name(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["rnn --activation identity --bidirectional", "--of", "h_left", *SMALL, "--steps", "400", "--init", "scale=1e3"]
    assert "isn't finite" in refused(capsys, *words)


def test_wanted_is_what_a_recurrence_takes_too() -> None:
    options, cell = parser().parse_known_args(
        shlex.split("'gru --layers 2 --bidirectional' --of h_left_2 --hidden 4 --inputs 3 --steps 9")
    )
    (run,) = runs_of(options, cell)
    result = analyse(run, Wanted(exponents=2, loss_step=4))
    assert len(result.exponents) == 2
    assert result.gradient is not None
    assert result.gradient.loss_step == 4
