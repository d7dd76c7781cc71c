"""A right kernel of the simple network h_t = tanh(W x_t + U h_{t-1} + b), written by hand; tests plant faults in its text."""

from types import SimpleNamespace

import numpy as np

PARAMETERS = {"W": ("H", "D"), "U": ("H", "H"), "b": ("H",)}
INPUTS = {"x": ("D",)}
STATES = {"h": ("H",)}
OUTPUTS = {}
KEPT = {}


def forward(parameters, inputs, state=None):
    W, U, b, x = parameters["W"], parameters["U"], parameters["b"], inputs["x"]
    h = np.zeros((x.shape[1], len(b)), x.dtype) if state is None else state["h"]
    hs = np.zeros((len(x) + 1, *h.shape), x.dtype)
    hs[0] = h
    for t in range(len(x)):
        h = np.tanh(x[t] @ W.T + h @ U.T + b)
        hs[t + 1] = h
    return {"h": hs[1:].copy()}, (x.copy(), hs)


def backward(parameters, tape, cotangents):
    W, U, b = parameters["W"], parameters["U"], parameters["b"]
    x, hs = tape
    d = {"W": np.zeros_like(W), "U": np.zeros_like(U), "b": np.zeros_like(b)}
    d_x, d_h = np.zeros_like(x), np.zeros_like(hs[0])
    for t in reversed(range(len(x))):
        d_h = d_h + (cotangents["h"][t] if "h" in cotangents else 0)
        d_a = d_h * (1 - hs[t + 1] ** 2)
        d["W"] += d_a.T @ x[t]
        d["U"] += d_a.T @ hs[t]
        d["b"] += d_a.sum(axis=0)
        d_x[t] = d_a @ W
        d_h = d_a @ U
    return SimpleNamespace(parameters=d, inputs={"x": d_x}, state={"h": d_h})
