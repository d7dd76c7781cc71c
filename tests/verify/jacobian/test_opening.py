"""A forget bias opens the gate that carries a state over by what was asked, once, whichever biases stand in it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.verify.jacobian.runs import run_of, words_run
from tests.verify.jacobian.test_command import SMALL, ran, refused
from verify.jacobian import RunError
from verify.jacobian.command import main
from verify.jacobian.remedies import forget_bias

KEEPS = r"h_t = f_t \odot h_{t-1} + (1 - f_t) \odot \tanh(V x_t)"
OPENED: dict[str, tuple[list[str], dict[str, float]]] = {
    "two biases": ([r"f_t = \sigma(W x_t + b_i + U h_{t-1} + b_h)", KEEPS], {"b_i": 4}),
    "three biases": ([r"f_t = \sigma(W x_t + b_1 + U h_{t-1} + b_2 + b_3)", KEEPS], {"b_1": 4}),
    "one bias twice": ([r"f_t = \sigma(W x_t + b + U h_{t-1} + b)", KEEPS], {"b": 2}),
    "a number beside": ([r"a_t = W x_t + b", r"f_t = \sigma(a_t + U h_{t-1} + p + 1)", KEEPS], {"b": 3}),
    "one in a product": ([r"r_t = \sigma(R x_t)", r"f_t = \sigma(W x_t + b_i + r_t \odot (U h_{t-1} + b_h))", KEEPS], {"b_i": 4}),
    "a negated argument": ([r"f_t = \sigma(-(W x_t + b_i + U h_{t-1} + b_h))", KEEPS], {"b_i": -4}),
    "a falling function": ([r"f_t = \exp(-\mathrm{softplus}(W x_t + U h_{t-1} + b))", KEEPS], {"b": -4}),
    "one minus a gate": (
        [r"z_t = \sigma(W x_t + U h_{t-1} + b)", r"h_t = h_{t-1} + z_t \odot (\tanh(V x_t) - h_{t-1})"],
        {"b": -4},
    ),
    "one minus, by name": ([r"z_t = 1 - \sigma(W x_t + b)", r"f_t = 1 - z_t", KEEPS], {"b": 4}),
    "no name": ([r"h_t = \sigma(W x_t + b) \odot h_{t-1} + V x_t"], {"b": 4}),
    "two gates": (
        [r"f_t = \sigma(W x_t + b)", r"g_t = \sigma(U x_t + p)", r"h_t = f_t \odot g_t \odot h_{t-1} + V x_t"],
        {"b": 4, "p": 4},
    ),
    "one of its own and a shared one": (
        [r"f_t = \sigma(W x_t + b + p)", r"i_t = \sigma(U x_t + b)", r"h_t = f_t \odot h_{t-1} + i_t \odot (V x_t)"],
        {"p": 4},
    ),
    "a shared one alone": (
        [r"f_t = \sigma(W x_t + b)", r"i_t = \sigma(U x_t + b)", r"h_t = f_t \odot h_{t-1} + i_t \odot (V x_t)"],
        {"b": 4},
    ),
}


def page(folder: Path, equations: list[str]) -> str:
    (folder / "cell.md").write_text("\n".join(f"$${equation}$$" for equation in equations))
    return str(folder / "cell.md")


@pytest.mark.parametrize("kind", OPENED)
def test_what_is_added_inside_the_gate_sums_to_what_was_asked(kind: str, tmp_path: Path) -> None:
    equations, expected = OPENED[kind]
    run = words_run(f"{page(tmp_path, equations)} --init forget-bias=4 --hidden 3 --inputs 3 --steps 4")
    found = {name: array for name, array in run.parameters.items() if array.ndim == 1 and array.any()}
    assert {name: array.tolist() for name, array in found.items()} == {name: [value] * 3 for name, value in expected.items()}
    said = run.applied.record()["forget_bias"]
    assert {one["parameter"] for one in said["set"]} == set(expected)
    assert ("i reads it too" in " ".join(run.applied.says())) == (kind == "a shared one alone")


def test_rows_of_a_longer_bias_are_opened_alone(tmp_path: Path) -> None:
    column = r"\begin{pmatrix} z \\ g \end{pmatrix} = \begin{pmatrix} \sigma \\ \tanh \end{pmatrix} (W [h_{t-1}; x_t] + b)"
    run = words_run(
        f"{page(tmp_path, [column, r'h_t = z_t h_{t-1} + (1 - z_t) g_t'])} --init forget-bias=4 --hidden 2 --inputs 3 --steps 4"
    )
    assert run.parameters["b"].tolist() == [4, 4, 0, 0]


@pytest.mark.parametrize(
    ("equations", "text"),
    [
        ([r"f_t = \sigma(W x_t + U h_{t-1})", KEEPS], "f, which carries h over, has no bias"),
        (
            [r"r_t = \sigma(R x_t)", r"f_t = \sigma(W x_t + r_t \odot (U h_{t-1} + b))", KEEPS],
            "f, which carries h over, has no bias",
        ),
        (
            [r"f_t = \exp(W x_t + b)", r"h_t = f_t \odot h_{t-1} + V x_t"],
            "f multiplies the past of h and has no greatest value 1",
        ),
        (
            [
                r"f_t = \sigma(W x_t + b)",
                r"g_t = \sigma(U x_t + b)",
                r"h_t = f_t h_{t-1} + x_t",
                r"c_t = (1 - g_t) c_{t-1} + h_t",
            ],
            "b is read by gates that open in opposite directions",
        ),
        ([r"h_t = \tanh(W x_t + U h_{t-1} + b)"], "no bias in a gate that carries a state over"),
    ],
)
def test_a_gate_that_cannot_be_opened_is_named(
    equations: list[str], text: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert text in refused(capsys, page(tmp_path, equations), "--init", "forget-bias=4", "--steps", "4")


def test_a_remedy_counts_what_the_other_biases_add_already() -> None:
    run = run_of("gru --reset after --recurrent-bias")
    assert (forget_bias(run, 3.0).parameters["b_z"] == -3).all()
    with pytest.raises(RunError, match="no bias in a gate that carries"):
        forget_bias(run_of("rnn"), 1.0)


def test_compared_cells_say_each_what_was_applied(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--compare", "rnn", "gru", *SMALL, "--init", "forget-bias=2"]
    plain, gated = ran(capsys, *words)["cells"]
    assert (plain["init"], gated["init"]) == ("scale=1,recurrent=gaussian", "scale=1,recurrent=gaussian,forget-bias=2")
    assert plain["applied"]["forget_bias"]["set"] == []
    assert "no bias in a gate" in plain["applied"]["forget_bias"]["why_not"]
    assert gated["applied"]["forget_bias"]["set"][0] == {
        "parameter": "b_z",
        "value": -2.0,
        "gate": "z",
        "sign": -1,
        "state": "h",
        "also_read_by": [],
    }
    assert main(words) == 0
    out = capsys.readouterr().out
    assert "forget-bias=2 not applied: the cell has no bias in a gate" in out
    assert "forget-bias=2: b_z = -2 in z, so that h is carried over" in out
    assert "none of these cells takes it: rnn" in refused(capsys, "--compare", "rnn", "rnn --no-bias", "--init", "forget-bias=2")


def test_what_init_did_is_in_the_record(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    got: dict[str, Any] = ran(capsys, "lstm", *SMALL, "--init", "recurrent=orthogonal,scale=2")
    assert got["applied"] == {
        "scale": 2.0,
        "recurrent": {"kind": "orthogonal", "matrices": ["U_i", "U_f", "U_c", "U_o"]},
        "forget_bias": None,
    }
    assert got["frame"] == {"start": "random orthogonal", "seed": 0, "columns": 8}
    np.savez(tmp_path / "w.npz", W=np.ones((4, 3)), U=np.eye(4), b=np.zeros(4))
    given = ran(capsys, "rnn", "--weights", str(tmp_path / "w.npz"), "--steps", "4")
    assert given["init"] is None
    assert given["applied"] is None
