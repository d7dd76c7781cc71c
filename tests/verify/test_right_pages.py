"""Right kernels that a verifier without these cares refused: the command derives them and says that they are verified."""

from __future__ import annotations

from pathlib import Path

import pytest

from derive.__main__ import main as derive

PAGES = {
    # with a short memory c/n is z to the last bit, so that float64 has nothing of how the input gate moves it
    "stabilised exponential gates": r"""
$$z_t = \tanh(W_z x_t + R_z h_{t-1} + b_z)$$
$$\tilde i_t = W_i x_t + R_i h_{t-1} + b_i$$
$$\tilde f_t = W_f x_t + R_f h_{t-1} + b_f$$
$$o_t = \sigma(W_o x_t + R_o h_{t-1} + b_o)$$
$$m_t = \max(\tilde f_t + m_{t-1}, \tilde i_t)$$
$$i_t = \exp(\tilde i_t - m_t)$$
$$f_t = \exp(\tilde f_t + m_{t-1} - m_t)$$
$$c_t = f_t \odot c_{t-1} + i_t \odot z_t$$
$$n_t = f_t \odot n_{t-1} + i_t$$
$$h_t = o_t \odot \frac{c_t}{n_t}$$""",
    # a mask that is any number lets the state grow, until the softmax as it stands is 0 and its logarithm nothing finite
    "a mask beside a loss": r"""
<!-- derive: w, y = tokens; m = number -->
$$\tilde h_t = \tanh(E w_t + U h_{t-1} + b)$$
$$h_t = m_t \tilde h_t + (1 - m_t) h_{t-1}$$
$$\hat y_t = \operatorname{softmax}(V h_t + c)$$
$$J_t = -m_t \log \hat y_{t,y_t}$$
$$J = \sum_{t=1}^{T} J_t$$""",
}


@pytest.mark.parametrize("page", PAGES)
def test_a_right_kernel_is_written_and_verified(page: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "page.md"
    file.write_text(PAGES[page])
    assert derive([str(file), "--out", str(tmp_path / "kernels")]) == 0
    assert "\nverified: " in capsys.readouterr().out
