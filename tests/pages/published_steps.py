"""One forward step of each published cell that needs numbers or matrices, written down from its source and not from its page.

`STEPS` maps the heading of its page to what the paper says of the shapes, and to the step itself in NumPy on one example. Vectors have
one dimension, those that a paper prints as rows too, and numbers none; `outer(k, v)` says which is which.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
from numpy import exp, log, maximum, outer, sqrt, tanh

Values = Mapping[str, np.ndarray]
Shapes = dict[str, tuple[str, ...]]


@dataclass(frozen=True)
class Step:
    """shapes: name -> its sizes, of every parameter, input, state and output; () for a number. Equal letters are equal sizes, different
    letters sizes that the paper leaves free of each other. run(parameters, inputs, state) -> the new state and the outputs.
    """

    shapes: Shapes
    run: Callable[[SimpleNamespace, SimpleNamespace, SimpleNamespace], Values]


def shapes(**groups: str) -> Shapes:
    """`shapes(vk="C W", k="n", number="m")`: the names under each shape, a letter for each size."""
    return {name: () if shape == "number" else tuple(shape) for shape, names in groups.items() for name in names.split()}


def sigmoid(z):
    return 1 / (1 + exp(-z))


def silu(z):
    return z * sigmoid(z)


def softplus(z):
    return log(1 + exp(z))


def relu(z):
    return maximum(z, 0)


def softmax(z):
    return exp(z) / exp(z).sum()


def positive(z):
    """elu(z) + 1."""
    return np.where(z > 0, z + 1, exp(z))


def unit(z):
    return z / sqrt((z**2).sum())


def normalised(z):
    return (z - z.mean()) / sqrt(((z - z.mean()) ** 2).mean() + 1e-5)


def mlstm(p, x, s):
    q, v = p.W_q @ x.x + p.b_q, p.W_v @ x.x + p.b_v
    k = p.W_k @ x.x / sqrt(len(s.n)) + p.b_k
    o = sigmoid(p.W_o @ x.x + p.b_o)
    log_i, log_f = p.w_i @ x.x + p.b_i, log(sigmoid(p.w_f @ x.x + p.b_f))
    m = max(log_f + s.m, log_i)
    i, f = exp(log_i - m), exp(log_f + s.m - m)
    C, n = f * s.C + i * outer(v, k), f * s.n + i * k
    return {"C": C, "n": n, "m": m, "h": o * (C @ q) / max(abs(n @ q), exp(-m))}


def slstm(p, x, s):
    log_i = p.w_i @ x.x + p.r_i * s.h + p.b_i
    log_f = p.w_f @ x.x + p.r_f * s.h + p.b_f
    z = tanh(p.w_z @ x.x + p.r_z * s.h + p.b_z)
    o = sigmoid(p.w_o @ x.x + p.r_o * s.h + p.b_o)
    m = max(log_f + s.m, log_i)
    i, f = exp(log_i - m), exp(log_f + s.m - m)
    c, n = f * s.c + i * z, f * s.n + i
    return {"c": c, "n": n, "m": m, "h": o * c / n}


def delta_rule_programmer(p, x, s):
    k, v, q = p.W_k @ x.x, p.W_v @ x.x, p.W_q @ x.x
    beta = sigmoid(p.w_beta @ x.x)
    W = s.W + beta * outer(v - s.W @ positive(k), positive(k))
    return {"W": W, "y": W @ positive(q)}


def delta_net(p, x, s):
    k, q, v = unit(silu(p.W_K @ x.x)), unit(silu(p.W_Q @ x.x)), silu(p.W_V @ x.x)
    beta = sigmoid(p.w_beta @ x.x)
    S = s.S - beta * outer(s.S @ k, k) + beta * outer(v, k)
    return {"S": S, "o": S @ q}


def gated_delta_net(p, x, s):
    kept = x.alpha * s.S
    S = kept - x.beta * outer(kept @ x.k, x.k) + x.beta * outer(x.v, x.k)
    return {"S": S, "o": S @ x.q}


def kimi_delta_attention(p, x, s):
    kept = x.alpha[:, None] * s.S
    S = kept - x.beta * outer(x.k, x.k @ kept) + x.beta * outer(x.k, x.v)
    return {"S": S, "o": S.T @ x.q}


def gated_linear_attention(p, x, s):
    q, k, v = x.x @ p.W_Q, x.x @ p.W_K, x.x @ p.W_V
    alpha = sigmoid(x.x @ p.W_alpha_1 @ p.W_alpha_2 + p.b_alpha) ** (1 / 16)
    S = alpha[:, None] * s.S + outer(k, v)
    return {"S": S, "y": (silu(x.x @ p.W_r + p.b_r) * normalised(q @ S)) @ p.W_O}


def retention(p, x, s):
    S = 31 / 32 * s.S + outer(x.X @ p.W_K, x.X @ p.W_V)
    return {"S": S, "O": x.X @ p.W_Q @ S}


def state_space_duality(p, x, s):
    delta = softplus(p.w_Delta @ x.u + p.b_Delta)
    h = exp(-exp(p.a) * delta) * s.h + delta * (p.W_B @ x.u) * (p.w_x @ x.u)
    return {"h": h, "y": (p.W_C @ x.u) @ h}


def fast_weights(p, x, s):
    slow = p.W @ s.h + p.C @ x.x
    h = relu(normalised(slow + s.A @ relu(slow)))
    return {"h": h, "A": 0.95 * s.A + 0.5 * outer(h, h)}


def layer_normalised_network(p, x, s):
    a = p.W_hh @ s.h + p.W_xh @ x.x
    mean = a.sum() / len(a)
    deviation = sqrt(((a - mean) ** 2).sum() / len(a))
    return {"h": tanh(p.g / deviation * (a - mean) + p.b)}


def layer_normalised_lstm(p, x, s):
    gates = p.alpha_1 * normalised(p.W_h @ s.h) + p.beta_1 + p.alpha_2 * normalised(p.W_x @ x.x) + p.beta_2 + p.b
    f, i, o, g = np.split(gates, 4)
    c = sigmoid(f) * s.c + sigmoid(i) * tanh(g)
    return {"c": c, "h": sigmoid(o) * tanh(p.alpha_3 * normalised(c) + p.beta_3)}


def ordered_neurons(p, x, s):
    def affine(gate):
        return getattr(p, f"W_{gate}") @ x.x + getattr(p, f"U_{gate}") @ s.h + getattr(p, f"b_{gate}")

    f, i, o, c_hat = sigmoid(affine("f")), sigmoid(affine("i")), sigmoid(affine("o")), tanh(affine("c"))
    master_f, master_i = np.cumsum(softmax(affine("f_tilde"))), 1 - np.cumsum(softmax(affine("i_tilde")))
    overlap = master_f * master_i
    c = (f * overlap + master_f - overlap) * s.c + (i * overlap + master_i - overlap) * c_hat
    return {"c": c, "h": o * tanh(c)}


def legendre_memory_unit(p, x, s):
    m = p.A_bar @ s.m + p.B_bar * (p.e_x @ x.x + p.e_h @ s.h + p.e_m @ s.m)
    return {"m": m, "h": tanh(p.W_x @ x.x + p.W_h @ s.h + p.W_m @ m)}


def higher_order_network(p, x, s):
    h = sigmoid(p.W_in @ x.x + p.W_h1 @ s.h + p.W_h2 @ s.h_delayed + p.W_h3 @ s.h_delayed_2)
    return {"h": h, "h_delayed": s.h, "h_delayed_2": s.h_delayed, "y": softmax(p.W_out @ h)}


def gated_unit_with_delayed_feedback(p, x, s):
    u, z = tanh(p.W_1 @ s.h + p.U_1 @ x.x), tanh(p.W_2 @ s.h_delayed_2 + p.U_2 @ x.x)
    g, a = sigmoid(p.W_3 @ s.h + p.U_3 @ x.x), sigmoid(p.W_4 @ s.h + p.U_4 @ x.x)
    return {"h": (1 - g) * s.h + g * (u + a * z), "h_delayed": s.h, "h_delayed_2": s.h_delayed}


def time_aware_lstm(p, x, s):
    short = tanh(p.W_d @ s.C + p.b_d)
    adjusted = s.C - short + short / log(np.e + x.Delta)
    f, i = sigmoid(p.W_f @ x.x + p.U_f @ s.h + p.b_f), sigmoid(p.W_i @ x.x + p.U_i @ s.h + p.b_i)
    C = f * adjusted + i * tanh(p.W_c @ x.x + p.U_c @ s.h + p.b_c)
    return {"C": C, "h": sigmoid(p.W_o @ x.x + p.U_o @ s.h + p.b_o) * tanh(C)}


def real_gated_unit(p, x, s):
    r, i = sigmoid(p.W_a @ x.x + p.b_a), sigmoid(p.W_x @ x.x + p.b_x)
    a = sigmoid(p.Lambda) ** (8 * r)
    return {"h": a * s.h + sqrt(1 - a**2) * i * x.x}


def rwkv_4(p, x, s):
    def mixed(name):
        return getattr(p, f"W_{name}") @ (getattr(p, f"mu_{name}") * x.x + (1 - getattr(p, f"mu_{name}")) * s.x_delayed)

    r, k, v = mixed("r"), mixed("k"), mixed("v")
    q, largest = maximum(s.p, p.u + k), maximum(s.p - p.w, k)
    above = exp(s.p - q) * s.a + exp(p.u + k - q) * v
    below = exp(s.p - q) * s.b + exp(p.u + k - q)
    a = exp(s.p - p.w - largest) * s.a + exp(k - largest) * v
    b = exp(s.p - p.w - largest) * s.b + exp(k - largest)
    return {"p": largest, "a": a, "b": b, "x_delayed": x.x, "o": p.W_o @ (sigmoid(r) * above / below)}


def rwkv_7(p, x, s):
    kappa = unit(x.x @ p.W_kappa)
    w, a = exp(-exp(-0.5) * sigmoid(x.x @ p.W_d + p.omega)), sigmoid(x.x @ p.W_a + p.alpha)
    S = s.S * w - outer(s.S @ kappa, a * kappa) + outer(x.x @ p.W_v, x.x @ p.W_k)
    return {"S": S, "y": S @ (x.x @ p.W_r)}


def linear_memory_with_momentum(p, x, s):
    q, k, v = p.W_Q @ x.x, p.W_K @ x.x, p.W_V @ x.x
    alpha, eta, theta = sigmoid(p.w_alpha @ x.x), sigmoid(p.w_eta @ x.x), sigmoid(p.w_theta @ x.x)
    S = eta * s.S - theta * outer(s.M @ k - v, k)
    M = (1 - alpha) * s.M + S
    return {"S": S, "M": M, "y": M @ q}


def hgrn2(p, x, s):
    f, i, o = sigmoid(p.W_f @ x.x + p.b_f), silu(p.W_i @ x.x + p.b_i), sigmoid(p.W_o @ x.x + p.b_o)
    h = s.h * f + outer(i, 1 - f)
    return {"h": h, "y": h @ o}


def memory_of_the_computer(p, x, s):
    write, read = softmax(p.W_w @ x.x), softmax(p.W_r @ x.x)
    M = s.M * (1 - outer(write, sigmoid(p.W_e @ x.x))) + outer(write, p.W_v @ x.x)
    return {"M": M, "r": M.T @ read}


def fast_grnn(p, x, s):
    shared = p.W @ x.x + p.U @ s.h
    z = sigmoid(shared + p.b_z)
    return {"h": (p.zeta * (1 - z) + p.nu) * tanh(shared + p.b_h) + z * s.h}


def gated_slot_attention(p, x, s):
    K = x.alpha[:, None] * s.K_tilde + outer(1 - x.alpha, x.k)
    V = x.alpha[:, None] * s.V_tilde + outer(1 - x.alpha, x.v)
    return {"K_tilde": K, "V_tilde": V, "o": V.T @ softmax(K @ x.q)}


def linear_attention(p, x, s):
    k, q = positive(p.W_K @ x.x), positive(p.W_Q @ x.x)
    memory, total = s.s + outer(k, p.W_V @ x.x), s.z + k
    return {"s": memory, "z": total, "y": memory.T @ q / (q @ total)}


STEPS = {
    "mLSTM": Step(
        shapes(vx="W_v W_o", kx="W_k W_q", v="b_v b_o h", k="b_k b_q n", x="w_i w_f x", number="b_i b_f m", vk="C"), mlstm
    ),
    "sLSTM": Step(shapes(x="w_z w_i w_f w_o x", number="r_z r_i r_f r_o b_z b_i b_f b_o c n h m"), slstm),
    "Fast weight programmer with the delta rule": Step(
        shapes(kx="W_k W_q", vx="W_v", x="w_beta x", vk="W", v="y"), delta_rule_programmer
    ),
    "DeltaNet": Step(shapes(kx="W_K W_Q", vx="W_V", x="w_beta x", vk="S", v="o"), delta_net),
    "Gated DeltaNet": Step(shapes(vk="S", k="k q", v="v o", number="alpha beta"), gated_delta_net),
    "Kimi delta attention": Step(shapes(kv="S", k="k q alpha", v="v o", number="beta"), kimi_delta_attention),
    "Gated linear attention": Step(
        shapes(xk="W_Q W_K", xv="W_V W_r", xr="W_alpha_1", rk="W_alpha_2", vy="W_O", k="b_alpha", v="b_r", x="x", kv="S", y="y"),
        gated_linear_attention,
    ),
    "Retention": Step(shapes(xk="W_Q W_K", xv="W_V", x="X", kv="S", v="O"), retention),
    "State space duality": Step(shapes(u="w_Delta w_x u", nu="W_B W_C", number="b_Delta a y", n="h"), state_space_duality),
    "Fast weights": Step(shapes(hh="W A", hx="C", x="x", h="h"), fast_weights),
    "Layer-normalised network": Step(shapes(hh="W_hh", hx="W_xh", x="x", h="g b h"), layer_normalised_network),
    "LSTM with layer normalisation": Step(
        {
            **dict.fromkeys(("alpha_1", "beta_1", "alpha_2", "beta_2", "b"), ("4*h",)),
            "W_h": ("4*h", "h"),
            "W_x": ("4*h", "x"),
            **shapes(h="alpha_3 beta_3 h c", x="x"),
        },
        layer_normalised_lstm,
    ),
    "Ordered neurons": Step(
        {
            **{
                f"{letter}_{gate}": tuple(shape)
                for letter, shape in (("W", "hx"), ("U", "hh"), ("b", "h"))
                for gate in ("f", "i", "o", "c", "f_tilde", "i_tilde")
            },
            **shapes(x="x", h="h c"),
        },
        ordered_neurons,
    ),
    "Legendre memory unit": Step(
        shapes(hx="W_x", hh="W_h", hm="W_m", x="e_x x", h="e_h h", m="e_m B_bar m", mm="A_bar"), legendre_memory_unit
    ),
    "Higher order network": Step(
        shapes(hx="W_in", hh="W_h1 W_h2 W_h3", yh="W_out", x="x", h="h h_delayed h_delayed_2", y="y"), higher_order_network
    ),
    "Gated unit with delayed feedback": Step(
        shapes(hh="W_1 W_2 W_3 W_4", hx="U_1 U_2 U_3 U_4", x="x", h="h h_delayed h_delayed_2"), gated_unit_with_delayed_feedback
    ),
    "Time-aware LSTM": Step(
        shapes(hh="W_d U_f U_i U_o U_c", hx="W_f W_i W_o W_c", h="b_d b_f b_i b_o b_c C h", x="x", number="Delta"),
        time_aware_lstm,
    ),
    "Real-gated linear recurrent unit": Step(shapes(hh="W_a W_x", h="b_a b_x Lambda x h"), real_gated_unit),
    "RWKV-4": Step(shapes(hx="W_r W_k W_v", yh="W_o", x="mu_r mu_k mu_v x x_delayed", h="u w p a b", y="o"), rwkv_4),
    "RWKV-7": Step(shapes(xk="W_r W_kappa W_k W_d W_a", xv="W_v", x="x", k="omega alpha", vk="S", v="y"), rwkv_7),
    "Linear memory with momentum": Step(
        shapes(kx="W_Q W_K", vx="W_V", x="w_alpha w_eta w_theta x", vk="S M", v="y"), linear_memory_with_momentum
    ),
    "HGRN2": Step(shapes(kx="W_f W_o", k="b_f b_o", vx="W_i", v="b_i y", x="x", vk="h"), hgrn2),
    "Memory of the differentiable neural computer": Step(
        shapes(nx="W_w W_r", mx="W_e W_v", x="x", nm="M", m="r"), memory_of_the_computer
    ),
    "FastGRNN": Step(shapes(hx="W", hh="U", h="b_z b_h h", x="x", number="zeta nu"), fast_grnn),
    "Gated slot attention": Step(shapes(n="alpha", k="k q", v="v o", nk="K_tilde", nv="V_tilde"), gated_slot_attention),
    "Linear attention with its normaliser": Step(shapes(kx="W_K W_Q", vx="W_V", x="x", kv="s", k="z", v="y"), linear_attention),
}
