"""An LSTM by hand, batch-major rows, as lecture notes have it: right; the tests make one slip at a time in it."""

from types import SimpleNamespace

import numpy as np

PARAMETERS = {}
for g in "ifco":
    PARAMETERS |= {"W_" + g: ("H", "D"), "U_" + g: ("H", "H"), "b_" + g: ("H",)}
INPUTS = {"x": ("D",)}
STATES = {"h": ("H",), "c": ("H",)}


def sigmoid(z):
    return np.tanh(z / 2) / 2 + 0.5


def forward(parameters, inputs, state=None):
    p, x = SimpleNamespace(**parameters), inputs["x"]
    zero = np.zeros((x.shape[1], len(p.b_i)), x.dtype)
    h, c = (zero, zero) if state is None else (state["h"], state["c"])
    hs, cs, steps = [], [], []
    for t in range(len(x)):
        before = (x[t], h, c)
        z_i = x[t] @ p.W_i.T + h @ p.U_i.T + p.b_i
        z_f = x[t] @ p.W_f.T + h @ p.U_f.T + p.b_f
        z_c = x[t] @ p.W_c.T + h @ p.U_c.T + p.b_c
        z_o = x[t] @ p.W_o.T + h @ p.U_o.T + p.b_o
        i, f, g, o = sigmoid(z_i), sigmoid(z_f), np.tanh(z_c), sigmoid(z_o)
        c = f * c + i * g
        y = np.tanh(c)
        h = o * y
        steps.append((*before, i, f, g, o, c, y))
        hs.append(h)
        cs.append(c)
    return {"h": np.array(hs), "c": np.array(cs)}, (steps, x.shape)


def backward(parameters, tape, cotangents):
    steps, shape = tape
    p = SimpleNamespace(**parameters)
    d = {name: np.zeros_like(array) for name, array in parameters.items()}
    d_x = np.zeros(shape, p.b_i.dtype)
    zero = np.zeros((shape[0], shape[1], len(p.b_i)), p.b_i.dtype)
    top_h, top_c = cotangents.get("h", zero), cotangents.get("c", zero)
    d_h, d_c = zero[0], zero[0]
    for t in reversed(range(len(steps))):
        x, h_prev, c_prev, i, f, g, o, c, y = steps[t]  # noqa: RUF059
        d_h = d_h + top_h[t]
        d_c = d_c + top_c[t]
        d_c = d_c + d_h * o * (1 - y**2)
        z_o = d_h * y * o * (1 - o)
        z_i = d_c * g * i * (1 - i)
        z_f = d_c * c_prev * f * (1 - f)
        z_c = d_c * i * (1 - g**2)
        for gate, z in (("i", z_i), ("f", z_f), ("c", z_c), ("o", z_o)):
            d["W_" + gate] += z.T @ x
            d["U_" + gate] += z.T @ h_prev
            d["b_" + gate] += z.sum(axis=0)
        d_x[t] = z_i @ p.W_i + z_f @ p.W_f + z_c @ p.W_c + z_o @ p.W_o
        d_h = z_i @ p.U_i + z_f @ p.U_f + z_c @ p.U_c + z_o @ p.U_o
        d_c = d_c * f
    return SimpleNamespace(parameters=d, inputs={"x": d_x}, state={"h": d_h, "c": d_c})
