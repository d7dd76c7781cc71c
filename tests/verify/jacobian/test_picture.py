"""The picture: every path with something to show has its line, no label stands where there is none, nothing warns."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.verify.jacobian.runs import rnn, words_run
from verify.jacobian import Wanted, analyse
from verify.jacobian.plot import composed, draw, drawn, looks

plt = pytest.importorskip("matplotlib.pyplot")
FAN = Wanted(fan=6)


def panels(*words: str) -> list[Any]:
    figure = composed(plt, [analyse(words_run(f"{one} --hidden 4 --inputs 3 --steps 20"), FAN) for one in words])
    figure.canvas.draw()
    plt.close(figure)
    return list(figure.axes)


def legend_of(axes: Any) -> list[str]:
    return [text.get_text() for text in axes.get_legend().get_texts()]


def test_peepholes_have_their_lines_and_what_leaves_nothing_is_not_in_the_legend() -> None:
    norm, _, plain, _, peephole = panels("rnn", "lstm --peephole --init forget-bias=4")
    assert legend_of(plain) == ["all paths", "U alone"]
    assert {"P_i alone", "P_f cut", "P_o cut", "carousel c alone"} <= set(legend_of(peephole))
    assert norm.get_xlabel() == "lag ℓ (steps)"


def test_no_label_leaves_its_panel() -> None:
    for axes in panels("rnn", "lstm --peephole --init forget-bias=4", "gru"):
        top = axes.get_window_extent().y1
        for text in axes.texts:
            assert text.get_window_extent().y1 <= top + 1


def test_a_zero_recurrent_matrix_has_a_bound_of_zero_and_a_quiet_picture(tmp_path: Any) -> None:
    """RuntimeWarnings are errors in these tests."""
    analysis = analyse(rnn(np.zeros((3, 3)), 8), FAN)
    assert analysis.bound.log10(8) == [-np.inf] * 8
    assert analysis.bound.log10_document(8) == [-np.inf] * 8
    draw([analysis], tmp_path / "zero.png")
    assert (tmp_path / "zero.png").stat().st_size > 10_000


def test_above_the_size_of_full_sweeps_the_values_at_the_full_lag_are_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("verify.jacobian.analysis.FULL_ROTATIONS", 3)
    _, fan, _ = panels("rnn")
    assert all(list(line.get_xdata()) == [20] for line in fan.lines)
    assert "at the full lag only" in fan.texts[0].get_text()


def test_paths_are_drawn_as_far_as_they_can_be_told_apart() -> None:
    analysis = analyse(words_run("lstm --peephole diagonal --candidate-peephole --hidden 3 --inputs 2 --steps 5"))
    some = drawn(analysis)
    assert len(some) == len(analysis.paths or ()) > 7
    assert len({str((look["ls"], look.get("marker"))) for look in looks(some, 5)}) == len(some)


def test_cells_are_told_apart_without_their_colours() -> None:
    """Dashes differ between cells, and no two inks are as light as each other for a reader who sees none."""
    (norm, *_) = panels(*["rnn"] * 6)
    dashes = [str(line.get_linestyle()) + str(line._dash_pattern) for line in norm.lines if line.get_linewidth() > 2]
    assert len(dashes) == len(set(dashes)) == 6


def test_a_long_name_does_not_reach_into_the_next_panel() -> None:
    _, first, _, second, *_ = panels("gru --reset after --update-gate state", "rnn", "rnn")
    assert first._left_title.get_text().startswith("gru_reset_aft…")
    assert first._left_title.get_window_extent().x1 < second.get_window_extent().x0


def test_long_names_of_recurrences_leave_the_panels_their_width() -> None:
    words = "'gru --layers 2 --bidirectional' --hidden 4 --inputs 3 --steps 12 --of"
    figure = composed(plt, [analyse(words_run(f"{words} {state}"), FAN) for state in ("h_right_2", "h_left_2")])
    figure.canvas.draw()
    norm, fan, *_ = figure.axes
    assert norm.get_position().width > 0.8
    assert fan.get_title(loc="left") == "h_right_2: singular values"
    assert fan.get_position().width > 0.35
    for axes in figure.axes:
        assert axes.get_legend() is None or axes.get_legend().get_window_extent().x1 <= figure.bbox.x1
    plt.close(figure)


def test_a_run_of_one_step_is_drawn_as_dots() -> None:
    figure = composed(plt, [analyse(words_run("rnn --hidden 4 --inputs 3 --steps 1"), FAN)])
    norms, fan, paths = figure.axes
    assert all(
        line.get_marker() not in ("None", None) for axes in figure.axes for line in axes.get_lines() if len(line.get_xdata()) == 1
    )
    assert all(float(tick).is_integer() for tick in norms.get_xticks())
    assert not [text for text in fan.texts if "full lag only" in text.get_text()]
    assert len(paths.get_lines()) == 2
    plt.close(figure)
