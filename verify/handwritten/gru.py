"""The GRU whose reset gate acts before the recurrent product: U (r ∘ h_prev).

z is the update gate, so the pre-activations are called a.
"""

from collections.abc import Callable
from functools import partial

from .activations import sigma, sigma_prime, tanh, tanh_prime
from .affine import invert_affine, over_batch
from .named import Array, Named
from .through_time import Case
from .update_gate import invert_update_candidate, invert_update_state, update_candidate, update_state

Update = Callable[[Array, Array, Array], Array]
InvertUpdate = Callable[[Array, Array, Array, Array], tuple[Array, Array, Array]]


def step_forward(p: Named, x: Array, h_prev: Array, *, update: Update) -> Named:
    a_z = p.W_z @ x + p.U_z @ h_prev + p.b_z
    z = sigma(a_z)
    a_r = p.W_r @ x + p.U_r @ h_prev + p.b_r
    r = sigma(a_r)
    h_reset = r * h_prev
    a_h = p.W_h @ x + p.U_h @ h_reset + p.b_h
    h_tilde = tanh(a_h)
    h = update(z, h_prev, h_tilde)
    return Named(x=x, h_prev=h_prev, a_z=a_z, z=z, a_r=a_r, r=r, h_reset=h_reset, a_h=a_h, h_tilde=h_tilde, h=h)


def step_backward(p: Named, s: Named, d: Named, *, invert_update: InvertUpdate) -> None:
    # invert h = update(z, h_prev, h_tilde), see update_gate.py
    d_z, d_h_kept, d_h_tilde = invert_update(d.h, s.z, s.h_prev, s.h_tilde)
    d.h_prev += d_h_kept

    # invert h_tilde = tanh(a_h)
    d_a_h = d_h_tilde * tanh_prime(s.a_h)
    # invert a_h = W_h x + U_h h_reset + b_h
    d.x += p.W_h.T @ d_a_h
    d_h_reset = p.U_h.T @ d_a_h
    d.W_h += d_a_h @ s.x.T
    d.U_h += d_a_h @ s.h_reset.T
    d.b_h += over_batch(d_a_h)
    # invert h_reset = r ∘ h_prev
    d_r = d_h_reset * s.h_prev
    d.h_prev += d_h_reset * s.r

    # invert r = sigma(a_r)
    d_a_r = d_r * sigma_prime(s.a_r)
    # invert a_r = W_r x + U_r h_prev + b_r
    invert_affine("r", d_a_r, p, s, d)

    # invert z = sigma(a_z)
    d_a_z = d_z * sigma_prime(s.a_z)
    # invert a_z = W_z x + U_z h_prev + b_z
    invert_affine("z", d_a_z, p, s, d)


def _case(update: Update, invert_update: InvertUpdate, source: str) -> Case:
    return Case(
        states=("h",),
        parameters=("W_z", "U_z", "b_z", "W_r", "U_r", "b_r", "W_h", "U_h", "b_h"),
        source=source,
        step_forward=partial(step_forward, update=update),
        step_backward=partial(step_backward, invert_update=invert_update),
    )


CASES = {
    "gru": _case(
        update_candidate,
        invert_update_candidate,
        "Ramachandran (000), slide 'GRU forward pass equations'; "
        "JKU 344.063 (001), slide 'Gated Recurrent Unit (GRU)'; "
        "CMU 11-785 (002), slide 'Gated Recurrent Units', with biases; "
        "backward: 000, slides 'Gradients in GRU', with the U_h and tanh' that its line for the reset gate leaves out",
    ),
    "gru_update_gate_state": _case(
        update_state,
        invert_update_state,
        "ONNX GRU with linear_before_reset = 0; the last line as in CS224n notes V (004), section 3",
    ),
}
