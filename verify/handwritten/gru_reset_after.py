"""The GRU whose reset gate acts after the recurrent product: r ∘ (U h_prev), with or without a bias inside.

z is the update gate, so the pre-activations are called a.
"""

from functools import partial

from .activations import sigma, sigma_prime, tanh, tanh_prime
from .affine import invert_affine, over_batch
from .gru import InvertUpdate, Update
from .named import Array, Named
from .through_time import Case
from .update_gate import invert_update_candidate, invert_update_state, update_candidate, update_state


def step_forward(p: Named, x: Array, h_prev: Array, *, update: Update) -> Named:
    a_z = p.W_z @ x + p.U_z @ h_prev + p.b_z
    z = sigma(a_z)
    a_r = p.W_r @ x + p.U_r @ h_prev + p.b_r
    r = sigma(a_r)
    recurrent = p.U_h @ h_prev
    if "b_hh" in p:
        recurrent = recurrent + p.b_hh
    a_h = p.W_h @ x + p.b_h + r * recurrent
    h_tilde = tanh(a_h)
    h = update(z, h_prev, h_tilde)
    return Named(x=x, h_prev=h_prev, a_z=a_z, z=z, a_r=a_r, r=r, recurrent=recurrent, a_h=a_h, h_tilde=h_tilde, h=h)


def step_backward(p: Named, s: Named, d: Named, *, invert_update: InvertUpdate) -> None:
    # invert h = update(z, h_prev, h_tilde), see update_gate.py
    d_z, d_h_kept, d_h_tilde = invert_update(d.h, s.z, s.h_prev, s.h_tilde)
    d.h_prev += d_h_kept

    # invert h_tilde = tanh(a_h)
    d_a_h = d_h_tilde * tanh_prime(s.a_h)
    # invert a_h = W_h x + b_h + r ∘ recurrent
    d.x += p.W_h.T @ d_a_h
    d.W_h += d_a_h @ s.x.T
    d.b_h += over_batch(d_a_h)
    d_r = d_a_h * s.recurrent
    d_recurrent = d_a_h * s.r
    # invert recurrent = U_h h_prev, or + b_hh
    d.h_prev += p.U_h.T @ d_recurrent
    d.U_h += d_recurrent @ s.h_prev.T
    if "b_hh" in p:
        d.b_hh += over_batch(d_recurrent)

    # invert r = sigma(a_r)
    d_a_r = d_r * sigma_prime(s.a_r)
    # invert a_r = W_r x + U_r h_prev + b_r
    invert_affine("r", d_a_r, p, s, d)

    # invert z = sigma(a_z)
    d_a_z = d_z * sigma_prime(s.a_z)
    # invert a_z = W_z x + U_z h_prev + b_z
    invert_affine("z", d_a_z, p, s, d)


PARAMETERS = ("W_z", "U_z", "b_z", "W_r", "U_r", "b_r", "W_h", "U_h", "b_h")


def _case(update: Update, invert_update: InvertUpdate, parameters: tuple[str, ...], source: str) -> Case:
    return Case(
        states=("h",),
        parameters=parameters,
        source=source,
        step_forward=partial(step_forward, update=update),
        step_backward=partial(step_backward, invert_update=invert_update),
    )


CASES = {
    "gru_reset_after": _case(
        update_candidate,
        invert_update_candidate,
        PARAMETERS,
        "CS224n notes V (004), section 3, new memory, with biases; the last line as in CMU 11-785 (002)",
    ),
    "gru_reset_after_update_gate_state": _case(
        update_state, invert_update_state, PARAMETERS, "CS224n notes V (004), section 3, with biases"
    ),
    "gru_reset_after_recurrent_bias": _case(
        update_candidate,
        invert_update_candidate,
        (*PARAMETERS, "b_hh"),
        "new memory as in PyTorch nn.GRU; the last line as in CMU 11-785 (002)",
    ),
    "gru_reset_after_update_gate_state_recurrent_bias": _case(
        update_state,
        invert_update_state,
        (*PARAMETERS, "b_hh"),
        "PyTorch nn.GRU, its two biases of z and of r added into one; ONNX GRU with linear_before_reset = 1",
    ),
}
