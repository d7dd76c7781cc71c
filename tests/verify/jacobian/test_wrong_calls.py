"""What a person can get wrong at the command: one line that names it, exit 2, and nothing left behind."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from tests.verify.jacobian.test_command import ROOT, SMALL, refused, weights
from verify.jacobian.command import main


def test_a_cell_without_states_is_refused_by_that_name(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    page = tmp_path / "flat.md"
    page.write_text("$$y_t = \\tanh(W x_t + b)$$\n")
    assert "flat: the cell has no states, so there is no Jacobian product" in refused(capsys, str(page))
    assert "the cell has no states" in refused(capsys, str(page), "--exponents", "1")


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--compare", ""], "--compare: expected a cell with its options, got ``"),
        (["--compare", "rnn", 'gru "x'], '--compare gru "x: no closing quotation'),
        (["rnn", "--dim", "H=²"], "--dim H=²: expected NAME=SIZE"),
        (["rnn", "--dim", "H=4", "--hidden", "5"], "--hidden 5: contradicts --dim H=4"),
        (["rnn", "--dim", "D=4", "--inputs", "5"], "--inputs 5: contradicts --dim D=4"),
        (["rnn", "--dim", "H=4", "--dim", "H=5"], "--dim H=5: contradicts --dim H=4"),
        (["rnn", "--init", "scale=1,scale=2"], "scale is given twice"),
        (["rnn", "--init", ""], "--init: ``: expected scale=NUMBER"),
    ],
)
def test_words_that_contradict_each_other_or_say_nothing_are_refused(
    words: list[str], text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert text in refused(capsys, *words)


@pytest.mark.parametrize("words", [("--init", "recurrent=orthogonal"), ("--remedy", "identity")])
def test_a_start_that_no_matrix_of_a_kernel_takes_is_refused(words: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    said = refused(capsys, str(ROOT / "examples" / "kernels" / "lstm_stacked.py"), *SMALL, *words)
    assert "expected a square matrix that multiplies a state, got Wx (3, 16), Wh (4, 16), b (16,)" in said


def test_a_size_said_twice_alike_is_no_contradiction(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rnn", *SMALL, "--dim", "H=4", "--dim", "H=4", "--json"]) == 0
    assert '"size": 4' in capsys.readouterr().out


def test_a_member_of_an_archive_that_is_no_array_is_named(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = weights(tmp_path / "w.npz")
    with zipfile.ZipFile(file, "a") as archive:
        archive.writestr("notes.txt", "hello")
    assert "w.npz: notes.txt: expected an array" in refused(capsys, "rnn", "--weights", str(file))
    np.savez(file, W=np.zeros((4, 3)), U=np.array([None, "x"], dtype=object))
    assert "w.npz: U: can't be read" in refused(capsys, "rnn", "--weights", str(file))


def test_a_picture_that_cannot_be_written_is_refused_before_the_work(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("matplotlib")
    monkeypatch.setattr("verify.jacobian.command.analyse", lambda *_: pytest.fail("computed first"))
    folder = tmp_path / "folder.png"
    folder.mkdir()
    assert "folder.png: expected a file, got a folder" in refused(capsys, "rnn", *SMALL, "--plot", str(folder))
    assert "can't be written" in refused(capsys, "rnn", *SMALL, "--plot", str(tmp_path / ("x" * 300 + ".png")))
    assert list(tmp_path.iterdir()) == [folder]


def test_a_picture_that_fails_half_way_leaves_nothing(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    figure = pytest.importorskip("matplotlib.figure")

    def full(_: object, path: Path, **__: object) -> None:
        path.write_text("half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(figure.Figure, "savefig", full)
    assert "can't be written: expected a place to write to, got `No space left" in refused(
        capsys, "rnn", *SMALL, "--plot", str(tmp_path / "a.png")
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ("1 / 0", "backward raised ZeroDivisionError: division by zero"),
        ("return None", "backward: gradients.parameters: expected W, U, b, got no W"),
    ],
)
def test_a_kernel_whose_backward_fails_is_named(body: str, text: str, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    source = (ROOT / "generated" / "rnn.py").read_text()
    file.write_text(f"{source}\n\ndef backward(parameters, tape, cotangents, workspace=None):\n    {body}\n")
    assert f"mine: {text}" in refused(capsys, str(file), *SMALL)


def test_a_kernel_with_a_wrong_step_jacobian_is_named(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    source = (ROOT / "generated" / "rnn.py").read_text()
    for name, value, text in (
        ("thin", "np.ones((8, 1, 4))", "the wrong shape"),
        ("nan", "np.full((8, 1, 4, 4), np.nan)", "step 1 "),
    ):
        file = tmp_path / f"{name}.py"
        file.write_text(f"{source}\n\ndef step_jacobian(parameters, tape):\n    return {value}\n")
        assert text in refused(capsys, str(file), *SMALL)


@pytest.mark.parametrize("extra", [[], ["--json"]])
def test_a_reader_that_leaves_early_is_no_failure(extra: list[str]) -> None:
    command = [sys.executable, "-m", "verify", "jacobian", "rnn", "--steps", "9", "--hidden", "4", *extra]
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, cwd=ROOT, check=False)
    os.close(writer)
    assert done.returncode == 0
    assert done.stderr == b""


def test_a_bound_of_zero_is_null_at_every_lag(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = str(weights(tmp_path / "w.npz", U=np.zeros((4, 4))))
    assert main(["rnn", "--weights", file, "--steps", "3", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["bound_log10"] == [None] * 3
    assert main(["rnn", "--weights", file, "--steps", "3"]) == 0
    assert re.search("log10 bound at lag 3 +−∞", capsys.readouterr().out)
