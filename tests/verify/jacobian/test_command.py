"""The command: exit codes, one line for what is wrong, strict JSON, the same seed the same bytes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests import bounds
from tests.verify.jacobian.runs import words_run
from verify.jacobian.command import main
from verify.jacobian.steps import Dense

ROOT = Path(__file__).parents[3]
SMALL = ["--hidden", "4", "--inputs", "3", "--steps", "8"]
LIMIT = bounds.rounded(bounds.of_recurrence(steps=8, batch=1, fan_in=12 * 4))
"""Of the largest singular value, which no cancellation makes worse."""


def ran(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    assert main([*words, "--json"]) == 0
    return json.loads(capsys.readouterr().out, parse_constant=lambda name: pytest.fail(f"{name} isn't strict JSON"))


def refused(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """The one line on standard error of a call that exits with 2 and prints nothing."""
    assert main(list(words)) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    return err


def weights(path: Path, **changes: Any) -> Path:
    rng = np.random.default_rng(0)
    arrays = {"W": rng.standard_normal((4, 3)), "U": rng.standard_normal((4, 4)) / 2, "b": rng.standard_normal(4)} | changes
    np.savez(path, **{name: array for name, array in arrays.items() if array is not None})
    return path


def test_the_record_holds_what_the_order_asks_for(capsys: pytest.CaptureFixture[str]) -> None:
    got = ran(capsys, "lstm", "--peephole", *SMALL, "--init", "forget-bias=4")
    assert got["warmup"] == 0
    assert len(got["exponents"]) == got["size"] == 8
    assert got["exponents"] == sorted(got["exponents"], reverse=True)
    assert len(got["log10_norms"]) == 8
    assert got["singular_values"] == sorted(got["singular_values"], reverse=True)
    assert got["singular_values"][0] == pytest.approx(got["log10_norms"][-1], abs=LIMIT)
    assert got["bound_log10"] is None
    assert len(got["bound"]["trajectory_log10"]) == 8
    assert {"i", "f", "o", "c_tilde", "carousel c", "P_o"} <= set(got["paths"])
    assert got["paths"]["f"]["terms"][0]["rule"]
    assert got["verdict"] in ("vanishing", "stable", "exploding")
    assert got["gradient_by_lag"]["loss_step"] == 8
    assert got["seed"] == 0
    assert "forget-bias=4" in got["init"]
    assert got["command"].startswith("python -m verify jacobian lstm --peephole")


def test_the_same_seed_gives_the_same_bytes(capsys: pytest.CaptureFixture[str]) -> None:
    for extra in (["--json"], []):
        outs = []
        for seed in ("3", "3", "4"):
            assert main(["gru", *SMALL, "--seed", seed, *extra]) == 0
            outs.append(capsys.readouterr().out)
        assert outs[0] == outs[1]
        assert outs[0] != outs[2]


def test_leading_exponents_are_the_first_of_all(capsys: pytest.CaptureFixture[str]) -> None:
    every = ran(capsys, "lstm", *SMALL)["exponents"]
    assert ran(capsys, "lstm", *SMALL, "--exponents", "3")["exponents"] == every[:3]


def test_minus_infinity_is_null(capsys: pytest.CaptureFixture[str]) -> None:
    got = ran(capsys, "rnn", "--activation", "relu", *SMALL)
    assert None in got["exponents"]
    assert None in got["singular_values"]


def test_the_verdict_follows_the_threshold(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["rnn", "--activation", "identity", *SMALL]
    assert ran(capsys, *words, "--init", "recurrent=orthogonal,scale=1.05")["verdict"] == "exploding"
    assert ran(capsys, *words, "--init", "recurrent=identity")["verdict"] == "stable"
    assert ran(capsys, *words, "--init", "recurrent=identity,scale=0.95")["verdict"] == "vanishing"
    assert ran(capsys, *words, "--init", "recurrent=identity,scale=0.95", "--threshold", "0.06")["verdict"] == "stable"


def test_files_give_weights_sizes_inputs_and_states(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = weights(tmp_path / "w.npz")
    alone = ran(capsys, "rnn", "--weights", str(file), "--steps", "6")
    assert alone["states"] == {"h": 4}
    x, h = np.random.default_rng(1).standard_normal((5, 2, 3)), np.ones((2, 4))
    np.savez(tmp_path / "x.npz", x=x, h=h)
    both = ran(capsys, "rnn", "--weights", str(file), "--inputs-file", str(tmp_path / "x.npz"))
    assert (both["steps"], both["batch"]) == (5, 2)
    assert max(both["log10_norms_spread"]) > 0
    drawn = ran(capsys, "rnn", "--inputs-file", str(tmp_path / "x.npz"))
    assert drawn["states"] == {"h": 4}
    with np.load(file) as w:
        U, state = w["U"], np.tanh(x[0, 0] @ w["W"].T + h[0] @ w["U"].T + w["b"])
    np.savez(tmp_path / "one.npz", x=x[:1, :1], h=h[:1])
    one = ran(capsys, "rnn", "--weights", str(file), "--inputs-file", str(tmp_path / "one.npz"))
    assert one["log10_norms"][0] == pytest.approx(np.log10(np.linalg.norm((1 - state**2)[:, None] * U, 2)), abs=LIMIT)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"U": None}, "parameter U is missing"),
        ({"V": np.zeros(2)}, "unknown name V"),
        ({"U": np.zeros((4, 5))}, "U: wrong shape: expected (H = 4, H = 4), got (4, 5)"),
        ({"b": np.zeros((4, 1))}, "b: wrong shape: expected (H), got (4, 1)"),
        ({"W": np.full((4, 3), np.nan)}, "W: expected finite numbers, got nan or inf"),
        ({"W": np.zeros((4, 3), complex)}, "W: wrong dtype"),
    ],
)
def test_a_wrong_weights_file_is_one_line_that_names_it(
    changes: dict[str, Any], text: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file = weights(tmp_path / "w.npz", **changes)
    err = refused(capsys, "rnn", "--weights", str(file))
    assert text in err
    assert "w.npz" in err


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["rnn", "--steps", "0"], "--steps: expected at least 1, got 0"),
        (["rnn", "--steps", "many"], "--steps: invalid int value"),
        (["rnm"], "unknown cell `rnm`"),
        (["rnn", "--depth", "2"], "--depth"),
        (["rnn", "--init", "scale=big"], "--init: scale: expected a finite number"),
        (["rnn", "--init", "speed=1"], "--init: `speed=1`"),
        (["rnn", "--init", "recurrent=random"], "expected gaussian, orthogonal, identity, got random"),
        (["rnn", "--init", "forget-bias=1"], "no bias in a gate that carries"),
        (["rnn", "--exponents", "99", *SMALL], "--exponents: expected 1 to S = 4"),
        (["rnn", "--exponents", "0", *SMALL], "--exponents: expected 1 to S = 4"),
        (["rnn", "--weights", "nowhere.npz"], "--weights nowhere.npz: no such file"),
        (["rnn", "--plot", "picture.jpg"], "expected a name that ends in .png, .svg, .pdf, got `.jpg`"),
        (["rnn", "--dim", "Q=3"], "--dim Q: unknown dimension"),
        (["rnn", "--dim", "H"], "expected NAME=SIZE"),
        (["rnn", "--loss-step", "9", *SMALL], "--loss-step: expected a step from 1 to 8"),
        (["rnn", "--remedy", "prayer", *SMALL], "--remedy: expected identity"),
        (["rnn", "--seed", "-1", *SMALL], "--seed: expected 0 or more"),
        (["rnn", "--activation", "identity", "--init", "scale=1e300", *SMALL], "isn't finite from step"),
        (["rnn", "--compare", "gru"], "--compare: expected cells after it only"),
        ([], "expected a cell, a page or a kernel file"),
        (["nowhere.py"], "nowhere.py"),
    ],
)
def test_a_wrong_call_is_one_line(words: list[str], text: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert text in refused(capsys, *words)


def test_flags_that_contradict_a_file_are_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = str(weights(tmp_path / "w.npz"))
    np.savez(tmp_path / "x.npz", x=np.zeros((5, 2, 3)))
    inputs = str(tmp_path / "x.npz")
    assert "--hidden 5: contradicts the files: expected H = 4" in refused(capsys, "rnn", "--weights", file, "--hidden", "5")
    assert "--steps 6" in refused(capsys, "rnn", "--inputs-file", inputs, "--steps", "6")
    assert "--batch 1" in refused(capsys, "rnn", "--inputs-file", inputs, "--batch", "1")
    assert "--inputs 2" in refused(capsys, "rnn", "--inputs-file", inputs, "--inputs", "2")
    assert "--init contradicts" in refused(capsys, "rnn", "--weights", file, "--init", "scale=2")
    np.savez(tmp_path / "z.npz", x=np.zeros((5, 2, 7)))
    assert "wrong shape" in refused(capsys, "rnn", "--weights", file, "--inputs-file", str(tmp_path / "z.npz"))
    np.savez(tmp_path / "empty.npz", x=np.zeros((0, 2, 3)))
    assert "T = 0" in refused(capsys, "rnn", "--inputs-file", str(tmp_path / "empty.npz"))
    np.savez(tmp_path / "other.npz", y=np.zeros((5, 2, 3)))
    assert "input x is missing" in refused(capsys, "rnn", "--inputs-file", str(tmp_path / "other.npz"))
    (tmp_path / "text.npz").write_text("no archive")
    assert "can't be read as npz" in refused(capsys, "rnn", "--weights", str(tmp_path / "text.npz"))
    assert ran(capsys, "rnn", "--weights", file, "--hidden", "4", "--steps", "3")["size"] == 4


def test_a_kernel_file_is_served(capsys: pytest.CaptureFixture[str]) -> None:
    derived = ran(capsys, "gru", *SMALL)
    file = ran(capsys, str(ROOT / "generated" / "gru.py"), "--dim", "H=4", "--dim", "D=3", "--steps", "8")
    run = words_run(" ".join(["gru", *SMALL]))
    J = np.stack([Dense(run).jacobian(t)[0] for t in range(run.steps)])
    np.testing.assert_allclose(file["exponents"], derived["exponents"], rtol=0, atol=bounds.exponents(J))
    assert file["paths"] is None


def test_a_person_reads_a_table_a_sentence_and_a_spark_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["lstm", *SMALL, "--batch", "2"]) == 0
    out = capsys.readouterr().out
    assert "largest exponent, per step" in out
    assert "spread over 2 sequences" in out
    assert "█" in out
    assert "carousel c" in out


def test_cells_are_compared_and_drawn(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    words = ["--compare", "rnn", "gru --reset after", "--plot", str(tmp_path / "one.png"), *SMALL, "--init", "forget-bias=2"]
    assert [cell["name"] for cell in ran(capsys, *words)["cells"]] == ["rnn", "gru_reset_after"]
    assert (tmp_path / "one.png").stat().st_size > 10_000
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


@pytest.mark.parametrize(("kind", "first"), [("png", b"\x89PNG"), ("svg", b"<?xml"), ("pdf", b"%PDF")])
def test_a_picture_of_each_kind_has_the_same_bytes_each_time(kind: str, first: bytes, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    from tests.verify.jacobian.runs import rnn
    from verify.jacobian import analyse
    from verify.jacobian.plot import draw

    analysis, file = analyse(rnn(np.eye(2) / 2, 6)), tmp_path / f"one.{kind}"
    drawn = []
    for _ in range(2):
        draw([analysis], file)
        drawn.append(file.read_bytes())
    assert drawn[0] == drawn[1]
    assert drawn[0].startswith(first)


def test_a_remedy_is_shown_beside_the_cell(capsys: pytest.CaptureFixture[str]) -> None:
    got = ran(capsys, "rnn", *SMALL, "--remedy", "identity-relu")
    assert [cell["name"] for cell in got["cells"]] == ["rnn", "rnn_relu"]
    assert main(["lstm", *SMALL, "--remedy", "forget-bias=3"]) == 0
    assert "lstm, forget-bias=3" in capsys.readouterr().out


def test_a_cell_in_quotes_is_a_cell_with_its_options(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    page = tmp_path / "two cells.md"
    page.write_text("# One\n$$h_t = \\tanh(W x_t + U h_{t-1})$$\n\n# Two\n$$c_t = \\sigma(W x_t) \\odot c_{t-1}$$\n")
    plain = tmp_path / "plain.md"
    plain.write_text(page.read_text())
    assert ran(capsys, f"{plain} --cell Two", *SMALL)["states"] == {"c": 4}
    assert ran(capsys, str(page), "--cell", "Two", *SMALL)["states"] == {"c": 4}
    assert ran(capsys, "lstm --peephole", *SMALL)["name"] == "lstm_peephole"


def test_a_file_with_the_batch_first_is_spoken_of(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    x = np.random.default_rng(0).standard_normal((1, 9, 3))
    np.savez(tmp_path / "x.npz", x=x)
    words = ["rnn", "--hidden", "4", "--inputs-file", str(tmp_path / "x.npz"), "--json"]
    assert main(words) == 0
    out, err = capsys.readouterr()
    assert "x: (1, 9, 3) is read time first, as T = 1 with B = 9 sequences. If the batch comes first, add --batch-first." in err
    assert err.count("\n") == 1
    assert json.loads(out)["notes"][0] in err
    for quiet in (["--batch-first"], ["--steps", "1"]):
        assert main([*words, *quiet]) == 0
        out, err = capsys.readouterr()
        assert err == ""
        assert json.loads(out)["steps"] == (9 if quiet == ["--batch-first"] else 1)
    assert "expected --inputs-file beside it" in refused(capsys, "rnn", "--batch-first")


def test_missing_names_are_answered_with_those_that_were_found(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    np.savez(tmp_path / "w.npz", kernel=np.zeros((4, 3)), recurrent=np.zeros((4, 4)))
    err = refused(capsys, "rnn", "--weights", str(tmp_path / "w.npz"))
    assert "parameter W, U, b are missing: expected W, U, b, got kernel, recurrent" in err
    np.savez(tmp_path / "x.npz", x=np.zeros((5, 3)))
    assert "Give it an axis for the batch" in refused(capsys, "rnn", "--inputs-file", str(tmp_path / "x.npz"))


def test_every_key_of_the_record_is_documented(capsys: pytest.CaptureFixture[str]) -> None:
    text = (ROOT / "docs" / "jacobian.md").read_text(encoding="utf-8")
    missing = [key for key in ran(capsys, "lstm", *SMALL) if f"`{key}`" not in text]
    assert missing == []


def test_warnings_of_libraries_stay_off_the_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "mine.py"
    source = (ROOT / "generated" / "rnn.py").read_text()
    file.write_text(
        f"{source}\n\nimport warnings\n_forward = forward\n\ndef forward(*a, **k):\n    np.log(np.zeros(1))\n"
        "    warnings.warn('a font is missing')\n    return _forward(*a, **k)\n"
    )
    assert main([str(file), *SMALL]) == 0
    assert capsys.readouterr().err == ""


def test_what_takes_long_is_shown_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every pass calls the watch: the bar neither stops short nor runs over by more than a tenth."""
    from tests.verify.jacobian.runs import words_run
    from verify.jacobian import Wanted, analyse
    from verify.jacobian.analysis import amount_of

    run, calls = words_run("lstm --hidden 4 --inputs 3 --steps 30"), []
    analyse(run, Wanted(), lambda: calls.append(1))
    assert len(calls) == pytest.approx(amount_of(run, Wanted()), rel=0.1)
