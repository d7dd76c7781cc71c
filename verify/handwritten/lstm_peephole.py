"""The LSTM with peepholes as CMU 11-785 prints it: full matrices, `W [C, h, x]` written as P c + U h + W x.

i and f look at the memory before the step, o at the memory after it. In the pseudocode the candidate looks too ("which
is not standard"): that is the case with a P_c.
"""

from .activations import sigma, sigma_prime, tanh, tanh_prime
from .affine import invert_affine
from .named import Array, Named
from .through_time import Case


def step_forward(p: Named, x: Array, h_prev: Array, c_prev: Array) -> Named:
    z_f = p.W_f @ x + p.U_f @ h_prev + p.P_f @ c_prev + p.b_f
    f = sigma(z_f)
    z_i = p.W_i @ x + p.U_i @ h_prev + p.P_i @ c_prev + p.b_i
    i = sigma(z_i)
    z_c = p.W_c @ x + p.U_c @ h_prev + p.b_c
    if "P_c" in p:
        z_c = z_c + p.P_c @ c_prev
    c_tilde = tanh(z_c)
    c = f * c_prev + i * c_tilde
    z_o = p.W_o @ x + p.U_o @ h_prev + p.P_o @ c + p.b_o
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
    # invert z_o = W_o x + U_o h_prev + P_o c + b_o
    d.c += p.P_o.T @ d_z_o
    d.P_o += d_z_o @ s.c.T
    invert_affine("o", d_z_o, p, s, d)

    # invert c = f ∘ c_prev + i ∘ c_tilde
    d.c_prev += d.c * s.f
    d_c_tilde = d.c * s.i
    d_i = d.c * s.c_tilde
    d_f = d.c * s.c_prev

    # invert c_tilde = tanh(z_c)
    d_z_c = d_c_tilde * tanh_prime(s.z_c)
    # invert z_c = W_c x + U_c h_prev + b_c, in the pseudocode + P_c c_prev
    if "P_c" in p:
        d.c_prev += p.P_c.T @ d_z_c
        d.P_c += d_z_c @ s.c_prev.T
    invert_affine("c", d_z_c, p, s, d)

    # invert i = sigma(z_i)
    d_z_i = d_i * sigma_prime(s.z_i)
    # invert z_i = W_i x + U_i h_prev + P_i c_prev + b_i
    d.c_prev += p.P_i.T @ d_z_i
    d.P_i += d_z_i @ s.c_prev.T
    invert_affine("i", d_z_i, p, s, d)

    # invert f = sigma(z_f)
    d_z_f = d_f * sigma_prime(s.z_f)
    # invert z_f = W_f x + U_f h_prev + P_f c_prev + b_f
    d.c_prev += p.P_f.T @ d_z_f
    d.P_f += d_z_f @ s.c_prev.T
    invert_affine("f", d_z_f, p, s, d)


GATES = ("W_i", "U_i", "P_i", "b_i", "W_f", "U_f", "P_f", "b_f", "W_o", "U_o", "P_o", "b_o")

CASES = {
    "lstm_peephole": Case(
        states=("h", "c"),
        parameters=(*GATES, "W_c", "U_c", "b_c"),
        source="CMU 11-785 (002), slide 'LSTM computation: Forward'; backward: slides 'LSTM cell backward', without W_cc",
        step_forward=step_forward,
        step_backward=step_backward,
    ),
    "lstm_peephole_candidate_peephole": Case(
        states=("h", "c"),
        parameters=(*GATES, "W_c", "U_c", "P_c", "b_c"),
        source="CMU 11-785 (002), pseudocode on slides 'LSTM cell forward' and 'LSTM cell backward'",
        step_forward=step_forward,
        step_backward=step_backward,
    ),
}
