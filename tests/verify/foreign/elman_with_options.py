"""A right kernel of h_t = tanh(W x_t + U h_{t-1} + b) that offers checkpoints and workspaces, written by hand; tests plant faults in it."""

from types import SimpleNamespace

import numpy as np

PARAMETERS = {"W": ("H", "D"), "U": ("H", "H"), "b": ("H",)}
INPUTS = {"x": ("D",)}
STATES = {"h": ("H",)}
OUTPUTS = {}


class Workspace:
    def __init__(self):
        self.arrays = {}


def array_of(workspace, name, shape, dtype):
    if workspace is None:
        return np.empty(shape, dtype)
    key = (name, shape, dtype)
    if key not in workspace.arrays:
        workspace.arrays[key] = np.empty(shape, dtype)
    return workspace.arrays[key]


def run(parameters, x, h, workspace):
    W, U, b = parameters["W"], parameters["U"], parameters["b"]
    hs = array_of(workspace, "hs", (len(x) + 1, *h.shape), x.dtype)
    hs[0] = h
    for t in range(len(x)):
        hs[t + 1] = np.tanh(x[t] @ W.T + hs[t] @ U.T + b)
    return hs


def forward(parameters, inputs, state=None, *, workspace=None, checkpoint_every=None):
    x, H = inputs["x"], len(parameters["b"])
    h = np.zeros((x.shape[1], H), x.dtype) if state is None else state["h"]
    if checkpoint_every is None:
        hs = run(parameters, x, h, workspace)
        outputs = array_of(workspace, "h", hs[1:].shape, x.dtype)
        outputs[...] = hs[1:]
        return {"h": outputs}, (x, hs, None)
    outputs, starts = np.empty((*x.shape[:2], H), x.dtype), []
    for start in range(0, len(x), checkpoint_every):
        starts.append((start, min(len(x), start + checkpoint_every), h.copy()))
        outputs[start : start + checkpoint_every] = run(parameters, x[start : start + checkpoint_every], h, None)[1:]
        h = outputs[min(len(x), start + checkpoint_every) - 1]
    return {"h": outputs}, (x, None, starts)


def backward(parameters, tape, cotangents, *, workspace=None):
    x, hs, starts = tape
    H = len(parameters["b"])
    given = cotangents["h"] if "h" in cotangents else np.zeros((*x.shape[:2], H), x.dtype)
    d = {name: array_of(workspace, "d_" + name, array.shape, x.dtype) for name, array in parameters.items()}
    for array in d.values():
        array[...] = 0
    d_x = array_of(workspace, "d_x", x.shape, x.dtype)
    d_h = np.zeros((x.shape[1], H), x.dtype)
    if starts is None:
        d_h = steps(parameters, x, hs, given, d, d_x, d_h)
    for start, stop, h in reversed(starts or ()):
        piece = run(parameters, x[start:stop], h, None)
        d_h = steps(parameters, x[start:stop], piece, given[start:stop], d, d_x[start:stop], d_h)
    return SimpleNamespace(parameters=d, inputs={"x": d_x}, state={"h": d_h})


def steps(parameters, x, hs, given, d, d_x, d_h):
    for t in reversed(range(len(x))):
        d_a = (d_h + given[t]) * (1 - hs[t + 1] ** 2)
        d["W"] += d_a.T @ x[t]
        d["U"] += d_a.T @ hs[t]
        d["b"] += d_a.sum(axis=0)
        d_x[t] = d_a @ parameters["W"]
        d_h = d_a @ parameters["U"]
    return d_h
