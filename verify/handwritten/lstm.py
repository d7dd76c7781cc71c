"""The LSTM without peepholes: the CMU pseudocode with its terms in C left out of the gates."""

from .activations import sigma, sigma_prime, tanh, tanh_prime
from .affine import invert_affine
from .named import Array, Named
from .through_time import Case


def step_forward(p: Named, x: Array, h_prev: Array, c_prev: Array) -> Named:
    z_f = p.W_f @ x + p.U_f @ h_prev + p.b_f
    f = sigma(z_f)
    z_i = p.W_i @ x + p.U_i @ h_prev + p.b_i
    i = sigma(z_i)
    z_c = p.W_c @ x + p.U_c @ h_prev + p.b_c
    c_tilde = tanh(z_c)
    c = f * c_prev + i * c_tilde
    z_o = p.W_o @ x + p.U_o @ h_prev + p.b_o
    o = sigma(z_o)
    h = o * tanh(c)
    return Named(x=x, h_prev=h_prev, c_prev=c_prev, z_f=z_f, f=f, z_i=z_i, i=i, z_c=z_c, c_tilde=c_tilde, c=c, z_o=z_o, o=o, h=h)


def step_backward(p: Named, s: Named, d: Named) -> None:
    # invert h = o ∘ tanh(c)
    d_o = d.h * tanh(s.c)
    d_tanh_c = d.h * s.o
    d.c += d_tanh_c * tanh_prime(s.c)

    # invert o = sigma(z_o)
    d_z_o = d_o * sigma_prime(s.z_o)
    # invert z_o = W_o x + U_o h_prev + b_o
    invert_affine("o", d_z_o, p, s, d)

    # invert c = f ∘ c_prev + i ∘ c_tilde
    d.c_prev += d.c * s.f
    d_c_tilde = d.c * s.i
    d_i = d.c * s.c_tilde
    d_f = d.c * s.c_prev

    # invert c_tilde = tanh(z_c)
    d_z_c = d_c_tilde * tanh_prime(s.z_c)
    # invert z_c = W_c x + U_c h_prev + b_c
    invert_affine("c", d_z_c, p, s, d)

    # invert i = sigma(z_i)
    d_z_i = d_i * sigma_prime(s.z_i)
    # invert z_i = W_i x + U_i h_prev + b_i
    invert_affine("i", d_z_i, p, s, d)

    # invert f = sigma(z_f)
    d_z_f = d_f * sigma_prime(s.z_f)
    # invert z_f = W_f x + U_f h_prev + b_f
    invert_affine("f", d_z_f, p, s, d)


CASES = {
    "lstm": Case(
        states=("h", "c"),
        parameters=("W_i", "U_i", "b_i", "W_f", "U_f", "b_f", "W_o", "U_o", "b_o", "W_c", "U_c", "b_c"),
        source="JKU 344.063 (001), slide 'LSTM definition - all together'; "
        "CS224n notes V (004), section 4, with biases; "
        "backward: CMU 11-785 (002), slides 'LSTM cell backward', without the terms in C",
        step_forward=step_forward,
        step_backward=step_backward,
    )
}
