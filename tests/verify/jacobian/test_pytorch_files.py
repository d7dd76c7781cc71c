"""Weights saved from PyTorch are read where the cell computes what PyTorch computes, and answered with what to do where it doesn't."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.verify.jacobian.runs import words_run
from tests.verify.jacobian.test_command import refused

H, D = 4, 3
MATCHING = [
    ("RNN", "rnn", {}),
    ("RNN", "rnn --activation relu", {"nonlinearity": "relu"}),
    ("LSTM", "lstm", {}),
    ("LSTM", "lstm --no-bias", {"bias": False}),
    ("GRU", "gru --reset after --recurrent-bias --update-gate state", {}),
    ("GRU", "gru --reset after --update-gate state", {"bias": False}),
]
MANUAL = r"""$$\begin{array}{ll}
r_t = \sigma(W_{ir} x_t + b_{ir} + W_{hr} h_{t-1} + b_{hr}) \\
z_t = \sigma(W_{iz} x_t + b_{iz} + W_{hz} h_{t-1} + b_{hz}) \\
n_t = \tanh(W_{in} x_t + b_{in} + r_t \odot (W_{hn} h_{t-1} + b_{hn})) \\
h_t = (1 - z_t) \odot n_t + z_t \odot h_{t-1}
\end{array}$$"""


def saved(path: Path, gates: int, **changes: Any) -> Path:
    """One layer's arrays as PyTorch names and stacks them."""
    rng = np.random.default_rng(1)
    shapes = {
        "weight_ih_l0": (gates * H, D),
        "weight_hh_l0": (gates * H, H),
        "bias_ih_l0": (gates * H,),
        "bias_hh_l0": (gates * H,),
    }
    arrays = {name: rng.standard_normal(shape) for name, shape in shapes.items()} | changes
    np.savez(path, **{name: array for name, array in arrays.items() if array is not None})
    return path


@pytest.mark.parametrize(("module", "words", "options"), MATCHING)
def test_a_saved_layer_gives_torchs_own_states(module: str, words: str, options: dict[str, Any], tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    torch.manual_seed(3)
    layer = getattr(torch.nn, module)(D, H, **options).double()
    np.savez(tmp_path / "w.npz", **{name: array.numpy() for name, array in layer.state_dict().items()})
    x = np.random.default_rng(0).standard_normal((6, 2, D))
    np.savez(tmp_path / "x.npz", x=x)
    run = words_run(f"{words} --weights {tmp_path / 'w.npz'} --inputs-file {tmp_path / 'x.npz'}")
    # some tens of operations a step on numbers of size 1, six steps: 1e-14
    np.testing.assert_allclose(run.outputs["h"], layer(torch.tensor(x))[0].detach().numpy(), atol=1e-13)
    assert f"read as torch.nn.{module}" in run.notes[0]


def test_both_biases_of_a_page_are_read_each_in_its_place(tmp_path: Path) -> None:
    (tmp_path / "manual.md").write_text(MANUAL)
    file = saved(tmp_path / "w.npz", 3)
    run = words_run(f"{tmp_path / 'manual.md'} --weights {file} --steps 3")
    with np.load(file) as arrays:
        for k, gate in enumerate("rzn"):
            for name, array in ((f"b_i{gate}", "bias_ih_l0"), (f"b_h{gate}", "bias_hh_l0"), (f"W_h{gate}", "weight_hh_l0")):
                np.testing.assert_array_equal(run.parameters[name], arrays[array][k * H : (k + 1) * H])


@pytest.mark.parametrize(
    ("words", "gates", "changes", "text"),
    [
        ("gru", 3, {}, "the layout of torch.nn.GRU: expected its equations"),
        ("gru --reset after --update-gate state", 3, {}, "the layout of torch.nn.GRU: expected its equations"),
        ("lstm --peephole", 4, {}, "the layout of torch.nn.LSTM: expected its equations, i, f, g, o with"),
        ("lstm", 3, {}, "the layout of torch.nn.GRU"),
        ("lstm", 4, {"weight_ih_l1": np.zeros((16, 4))}, "expected one layer, weight_ih_l0"),
        ("lstm", 4, {"bias_hh_l0": np.zeros(5)}, "expected 1, 3 or 4 gates of H rows over H columns"),
        ("lstm", 4, {"weight_hh_l0": None}, "parameter W_i, U_i, b_i, W_f, U_f, b_f, W_c, U_c, b_c, W_o, U_o, b_o are missing"),
    ],
)
def test_a_layer_that_the_cell_is_not_is_answered_in_one_line(
    words: str, gates: int, changes: dict[str, Any], text: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    err = refused(capsys, *words.split(), "--weights", str(saved(tmp_path / "w.npz", gates, **changes)))
    assert text in err
    assert "got" in err
