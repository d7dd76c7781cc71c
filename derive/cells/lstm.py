"""Long short-term memory (Hochreiter and Schmidhuber 1997; the forget gate and peepholes by Gers and Schmidhuber 2000)."""

from __future__ import annotations

from typing import Any

from sympy import Equality

from derive.cells.registry import Choice, Flag, OptionError, Source, cell
from derive.functions import function
from derive.language import Eq, Value, dimension, matrix, sequence, vector

D, H = dimension("D"), dimension("H")
sigma, tanh = function("sigma"), function("tanh")


@cell(
    Choice("peephole", ("none", "full", "diagonal"), "gates read the cell state too, through matrices or vectors", bare="full"),
    Flag("candidate-peephole", "the candidate reads the old cell state too"),
    Flag("no-bias", "leave out every bias"),
    Flag("no-candidate-bias", "leave out b_c"),
    sources=(
        Source("--no-candidate-bias", "000 eq. (2)-(7)", "q_t = [h_{t-1}, x_t]: W_ft = [U_f W_f], W_C̃t = [U_c W_c], C = c"),
        Source("--no-bias", "000 eq. (1)", "one W over (h_{t-1}, x_t): its row blocks are [U_g W_g], in the order i, f, C̃, o"),
        Source("", "000 slides 'Forget gate' to 'Output gate'", "W_f [h_{t-1}, x_t]: W_f = [U_f W_f], W_C = [U_c W_c], C = c"),
        Source(
            "", "001 slide 'LSTM definition - all together'", "row vectors h W_hi + e W_xi + b_i: U_i = W_hiᵀ, W_i = W_xiᵀ, x = e"
        ),
        Source(
            "", "002 slides 'LSTM: Forget gate' to 'Output gate'", "W_f [h_{t-1}, x_t]: W_f = [U_f W_f], W_C = [U_c W_c], C = c"
        ),
        Source("--peephole", "002 slide 'LSTM computation: Forward'", "W_f [C_{t-1}, h_{t-1}, x_t]: W_f = [P_f U_f W_f], C = c"),
        Source(
            "--peephole --candidate-peephole",
            "002 slide 'LSTM cell forward' (pseudocode)",
            "W_fc = P_f, W_fh = U_f, W_fx = W_f; W_cc = P_c, W_ch = U_c, W_cx = W_c; C_i = c_tilde",
        ),
        Source("", "003 slide 'The Complete LSTM' (drawn, no equations)", "'fully connected layer with sigmoid' on [x, h]"),
        Source("--no-bias", "004 section 4", "W^(i) = W_i, U^(i) = U_i"),
        Source(
            "--peephole diagonal", "Gers and Schmidhuber 2000, Recurrent Nets that Time and Count", "as every framework has it"
        ),
    ),
)
def lstm(peephole: str, candidate_peephole: bool, no_bias: bool, no_candidate_bias: bool) -> list[Equality]:
    if candidate_peephole and peephole == "none":
        raise OptionError("--candidate-peephole needs --peephole: expected `--peephole` or `--peephole diagonal` beside it.")
    if no_bias and no_candidate_bias:
        raise OptionError("--no-candidate-bias and --no-bias exclude each other: expected one of them. Drop one.")

    x, h, c = sequence("x", D), sequence("h", H), sequence("c", H)
    i, f, o, c_tilde = (sequence(name, H) for name in ("i", "f", "o", "c_tilde"))

    def gate(g: str, reads: Value | None, bias: bool = not no_bias) -> Any:
        """W x + U h + P c + b, with the cell state that the gate reads (None for none)."""
        z = matrix(f"W_{g}", H, D) @ x + matrix(f"U_{g}", H, H) @ h.prev
        if reads is not None and peephole == "full":
            z = z + matrix(f"P_{g}", H, H) @ reads
        if reads is not None and peephole == "diagonal":
            z = z + vector(f"p_{g}", H) * reads
        return z + vector(f"b_{g}", H) if bias else z

    return [
        Eq(i, sigma(gate("i", c.prev))),
        Eq(f, sigma(gate("f", c.prev))),
        Eq(c_tilde, tanh(gate("c", c.prev if candidate_peephole else None, bias=not (no_bias or no_candidate_bias)))),
        Eq(c, f * c.prev + i * c_tilde),
        Eq(o, sigma(gate("o", c))),
        Eq(h, o * tanh(c)),
    ]
