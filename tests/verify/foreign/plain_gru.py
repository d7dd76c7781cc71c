"""A GRU by hand, batch-major rows, z for the candidate: right; the tests make one slip at a time in it."""

from types import SimpleNamespace

import numpy as np

PARAMETERS = {}
for g in "zrh":
    PARAMETERS |= {"W_" + g: ("H", "D"), "U_" + g: ("H", "H"), "b_" + g: ("H",)}
INPUTS = {"x": ("D",)}
STATES = {"h": ("H",)}


def sigmoid(z):
    return np.tanh(z / 2) / 2 + 0.5


def forward(parameters, inputs, state=None):
    p, x = SimpleNamespace(**parameters), inputs["x"]
    h = np.zeros((x.shape[1], len(p.b_z)), x.dtype) if state is None else state["h"]
    hs, steps = [], []
    for t in range(len(x)):
        before = (x[t], h)
        z = sigmoid(x[t] @ p.W_z.T + h @ p.U_z.T + p.b_z)
        r = sigmoid(x[t] @ p.W_r.T + h @ p.U_r.T + p.b_r)
        g = np.tanh(x[t] @ p.W_h.T + (r * h) @ p.U_h.T + p.b_h)
        h = (1 - z) * h + z * g
        steps.append((*before, z, r, g))
        hs.append(h)
    return {"h": np.array(hs)}, (steps, x.shape)


def backward(parameters, tape, cotangents):
    steps, shape = tape
    p = SimpleNamespace(**parameters)
    d = {name: np.zeros_like(array) for name, array in parameters.items()}
    d_x = np.zeros(shape, p.b_z.dtype)
    top = cotangents.get("h", np.zeros((shape[0], shape[1], len(p.b_z)), p.b_z.dtype))
    d_h = np.zeros_like(top[0])
    for t in reversed(range(len(steps))):
        x, h_prev, z, r, g = steps[t]
        d_h = d_h + top[t]
        a_h = d_h * z * (1 - g**2)
        d_u = a_h @ p.U_h
        a_r = d_u * h_prev * r * (1 - r)
        a_z = d_h * (g - h_prev) * z * (1 - z)
        for gate, a, u in (("z", a_z, h_prev), ("r", a_r, h_prev), ("h", a_h, r * h_prev)):
            d["W_" + gate] += a.T @ x
            d["U_" + gate] += a.T @ u
            d["b_" + gate] += a.sum(axis=0)
        d_x[t] = a_z @ p.W_z + a_r @ p.W_r + a_h @ p.W_h
        d_h = a_z @ p.U_z + a_r @ p.U_r + d_u * r + d_h * (1 - z)
    return SimpleNamespace(parameters=d, inputs={"x": d_x}, state={"h": d_h})
