"""The gated recurrent unit (Cho et al. 2014) in its four forms: reset before or after the product, z on the candidate or the state."""

from __future__ import annotations

from sympy import Equality

from derive.cells.registry import Choice, Flag, OptionError, Source, cell
from derive.functions import function
from derive.language import Eq, dimension, matrix, sequence, vector

D, H = dimension("D"), dimension("H")
sigma, tanh = function("sigma"), function("tanh")


@cell(
    Choice("reset", ("before", "after"), "the reset gate acts before or after the recurrent product"),
    Choice("update-gate", ("candidate", "state"), "what z multiplies: the candidate or the old state"),
    Flag("recurrent-bias", "a bias b_hh inside the reset (cuDNN, PyTorch)"),
    Flag("no-bias", "leave out every bias"),
    sources=(
        Source(
            "--no-bias", "000 eq. (11)-(15)", "q_t = [h_{t-1}, x_t]; `W_z, q_t` is the product: W_z = [U_z W_z], W = [U_h W_h]"
        ),
        Source(
            "", "000 slides 'What is GRU?' and 'GRU forward pass equations'", "W_z [h_{t-1}, x_t]: W_z = [U_z W_z], W = [U_h W_h]"
        ),
        Source(
            "",
            "001 slide 'Gated Recurrent Unit (GRU)'",
            "row vectors: u = z, U_z = W_huᵀ, W_z = W_xuᵀ, U_h = W_hhᵀ, W_h = W_xhᵀ, x = e",
        ),
        Source(
            "--no-bias",
            "002 slide 'Gated Recurrent Units: Lets simplify the LSTM'",
            "W_z [h_{t-1}, x_t]: W_z = [U_z W_z], W = [U_h W_h]",
        ),
        Source("", "003 slide 'GRU' (drawn, no equations)", "'removes cell state'"),
        Source("--reset after --update-gate state --no-bias", "004 section 3", "W^(z) = W_z, U^(z) = U_z, W = W_h, U = U_h"),
    ),
)
def gru(reset: str, update_gate: str, recurrent_bias: bool, no_bias: bool) -> list[Equality]:
    if recurrent_bias and reset != "after":
        raise OptionError("--recurrent-bias needs --reset after: expected `--reset after` beside it, got `--reset before`.")
    if recurrent_bias and no_bias:
        raise OptionError("--recurrent-bias and --no-bias exclude each other: expected one of them. Drop one.")

    x, h = sequence("x", D), sequence("h", H)
    z, r, h_tilde = (sequence(name, H) for name in ("z", "r", "h_tilde"))
    W_z, W_r, W_h = (matrix(f"W_{g}", H, D) for g in "zrh")
    U_z, U_r, U_h = (matrix(f"U_{g}", H, H) for g in "zrh")
    b_z, b_r, b_h = (0 if no_bias else vector(f"b_{g}", H) for g in "zrh")
    b_hh = vector("b_hh", H) if recurrent_bias else 0

    if reset == "before":
        candidate = W_h @ x + U_h @ (r * h.prev) + b_h
    else:
        candidate = W_h @ x + b_h + r * (U_h @ h.prev + b_hh)
    return [
        Eq(z, sigma(W_z @ x + U_z @ h.prev + b_z)),
        Eq(r, sigma(W_r @ x + U_r @ h.prev + b_r)),
        Eq(h_tilde, tanh(candidate)),
        Eq(h, (1 - z) * h.prev + z * h_tilde if update_gate == "candidate" else (1 - z) * h_tilde + z * h.prev),
    ]
