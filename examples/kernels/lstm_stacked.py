"""An LSTM as many people write one by hand: rows times matrices, the four gates side by side in Wx, Wh and b, in the order i, f, o, g.

    python -m verify examples/kernels/lstm_stacked.py --against lstm \
        --map "Wx=W_i.T|W_f.T|W_o.T|W_c.T" --map "Wh=U_i.T|U_f.T|U_o.T|U_c.T" --map "b=b_i|b_f|b_o|b_c"
"""

from types import SimpleNamespace

import numpy as np

PARAMETERS = {"Wx": ("D", "4*H"), "Wh": ("H", "4*H"), "b": ("4*H",)}
INPUTS = {"x": ("D",)}
STATES = {"h": ("H",), "c": ("H",)}
OUTPUTS = {}


def sigmoid(z):
    return 0.5 * (1 + np.tanh(0.5 * z))


def forward(parameters, inputs, state=None):
    Wx, Wh, b = parameters["Wx"], parameters["Wh"], parameters["b"]
    x = inputs["x"]
    T, B, _ = x.shape
    H = len(Wh)
    h, c = (np.zeros((B, H), x.dtype) if state is None else state[name] for name in ("h", "c"))
    hs, cs, gates = [h], [c], []
    for t in range(T):
        a = x[t] @ Wx + hs[-1] @ Wh + b
        i, f, o = (sigmoid(a[:, k * H : (k + 1) * H]) for k in range(3))
        g = np.tanh(a[:, 3 * H :])
        cs.append(f * cs[-1] + i * g)
        hs.append(o * np.tanh(cs[-1]))
        gates.append((i, f, o, g))
    shape = (T, B, H)
    outputs = {"h": np.array(hs[1:], x.dtype).reshape(shape), "c": np.array(cs[1:], x.dtype).reshape(shape)}
    return outputs, (x, hs, cs, gates)


def backward(parameters, tape, cotangents):
    Wx, Wh, b = parameters["Wx"], parameters["Wh"], parameters["b"]
    x, hs, cs, gates = tape
    d = {"Wx": np.zeros_like(Wx), "Wh": np.zeros_like(Wh), "b": np.zeros_like(b)}
    d_x, d_h, d_c = np.zeros_like(x), np.zeros_like(hs[0]), np.zeros_like(cs[0])
    for t in reversed(range(len(x))):
        i, f, o, g = gates[t]
        tanh_c = np.tanh(cs[t + 1])
        d_h = d_h + (cotangents["h"][t] if "h" in cotangents else 0)
        d_c = d_c + (cotangents["c"][t] if "c" in cotangents else 0) + d_h * o * (1 - tanh_c**2)
        d_a = np.concatenate(
            [d_c * g * i * (1 - i), d_c * cs[t] * f * (1 - f), d_h * tanh_c * o * (1 - o), d_c * i * (1 - g**2)], axis=1
        )
        d["Wx"] += x[t].T @ d_a
        d["Wh"] += hs[t].T @ d_a
        d["b"] += d_a.sum(axis=0)
        d_x[t] = d_a @ Wx.T
        d_h, d_c = d_a @ Wh.T, d_c * f
    return SimpleNamespace(parameters=d, inputs={"x": d_x}, state={"h": d_h, "c": d_c})
