"""The vanilla (Elman) RNN, with any activation."""

from collections.abc import Callable
from functools import partial

from . import activations
from .affine import over_batch
from .named import Array, Named
from .through_time import Case


def step_forward(p: Named, x: Array, h_prev: Array, *, act: Callable[[Array], Array]) -> Named:
    z = p.W @ x + p.U @ h_prev + p.b
    h = act(z)
    return Named(x=x, h_prev=h_prev, z=z, h=h)


def step_backward(p: Named, s: Named, d: Named, *, act_prime: Callable[[Array], Array]) -> None:
    # invert h = act(z)
    d_z = d.h * act_prime(s.z)

    # invert z = W x + U h_prev + b
    d.x += p.W.T @ d_z
    d.h_prev += p.U.T @ d_z
    d.W += d_z @ s.x.T
    d.U += d_z @ s.h_prev.T
    d.b += over_batch(d_z)


def _case(act: Callable[[Array], Array], act_prime: Callable[[Array], Array], source: str) -> Case:
    return Case(
        states=("h",),
        parameters=("W", "U", "b"),
        source=f"{source}; backward: JKU 344.063 (001), slides 'Backpropagation Through Time'",
        step_forward=partial(step_forward, act=act),
        step_backward=partial(step_backward, act_prime=act_prime),
    )


CASES = {
    "rnn": _case(
        activations.tanh,
        activations.tanh_prime,
        "CMU 11-785 (002), slide 'Standard RNN': tanh; JKU 344.063 (001), slide 'Vanilla (Elman) RNN - recap'",
    ),
    "rnn_activation_sigmoid": _case(
        activations.sigma,
        activations.sigma_prime,
        "JKU 344.063 (001), slide 'Vanilla (Elman) RNN - recap'; CS224n notes V (004), equation 5, with a bias",
    ),
    "rnn_activation_relu": _case(
        activations.relu,
        activations.relu_prime,
        "CS224n notes V (004), section 2.4, the second technique; Brown CSCI 1470 (003), slide 'RNN update rule'",
    ),
    "rnn_activation_identity": _case(
        activations.identity,
        activations.identity_prime,
        "JKU 344.063 (001), slide 'Vanishing/Exploding gradient - why?', the linear activation",
    ),
}
