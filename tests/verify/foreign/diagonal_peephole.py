"""A peephole LSTM by hand, as Gers and Schmidhuber (2000) write it: diagonal peepholes, batch-major rows, gates in a dict."""

from types import SimpleNamespace

import numpy as np

GATES = ("i", "f", "o", "c")
PARAMETERS = {}
for g in GATES:
    PARAMETERS[f"W_{g}"] = ("H", "D")
    PARAMETERS[f"U_{g}"] = ("H", "H")
    PARAMETERS[f"b_{g}"] = ("H",)
for g in "ifo":
    PARAMETERS[f"p_{g}"] = ("H",)
INPUTS = {"x": ("D",)}
STATES = {"h": ("H",), "c": ("H",)}


def sigmoid(z):
    return np.tanh(z / 2) / 2 + 0.5


def check(where, given, expected, sizes, dtype):
    """Refuse names, shapes and dtypes that don't fit."""
    if sorted(given) != sorted(expected):
        raise ValueError(f"{where}: expected {sorted(expected)}, got {sorted(given)}")
    for name, dims in expected.items():
        shape = tuple(sizes[d] for d in dims)
        array = given[name]
        if not isinstance(array, np.ndarray) or array.shape != shape or array.dtype != dtype:
            raise ValueError(f"{where}: {name}: expected {shape} of {dtype}, got {np.shape(array)} of another kind")


def forward(parameters, inputs, state=None):
    if set(parameters) != set(PARAMETERS) or set(inputs) != set(INPUTS):
        raise ValueError(f"forward: expected {sorted(PARAMETERS)} and x, got {sorted(parameters)} and {sorted(inputs)}")
    x = inputs["x"]
    if not isinstance(x, np.ndarray) or x.ndim != 3 or x.dtype not in (np.float32, np.float64, np.complex128):
        raise ValueError("forward: x: expected floating point numbers (T, B, D)")
    T, B, D = x.shape
    H = np.shape(parameters["b_i"])[0] if np.ndim(parameters["b_i"]) == 1 else -1
    sizes = {"T": T, "B": B, "D": D, "H": H}
    check("parameters", parameters, PARAMETERS, sizes, x.dtype)
    if state is None:
        state = {name: np.zeros((B, H), x.dtype) for name in STATES}
    check("state", state, dict.fromkeys(STATES, ("B", "H")), sizes, x.dtype)

    p = SimpleNamespace(**parameters)
    h, c = state["h"].copy(), state["c"].copy()
    hs, cs = np.empty((T, B, H), x.dtype), np.empty((T, B, H), x.dtype)
    steps = []
    for t in range(T):
        before = (x[t].copy(), h, c)
        i = sigmoid(x[t] @ p.W_i.T + h @ p.U_i.T + p.p_i * c + p.b_i)
        f = sigmoid(x[t] @ p.W_f.T + h @ p.U_f.T + p.p_f * c + p.b_f)
        g = np.tanh(x[t] @ p.W_c.T + h @ p.U_c.T + p.b_c)
        c = f * c + i * g
        o = sigmoid(x[t] @ p.W_o.T + h @ p.U_o.T + p.p_o * c + p.b_o)
        y = np.tanh(c)
        h = o * y
        hs[t], cs[t] = h, c
        steps.append((*before, i, f, g, c, o, y))
    return {"h": hs, "c": cs}, (steps, sizes, x.dtype)


def backward(parameters, tape, cotangents):
    steps, sizes, dtype = tape
    shape = (sizes["T"], sizes["B"], sizes["H"])
    for name, array in cotangents.items():
        if name not in STATES or array.shape != shape or array.dtype != dtype:
            raise ValueError(f"backward: cotangents: {name}: expected h, c of {shape}, {dtype}, got {array.shape}, {array.dtype}")
    p = SimpleNamespace(**parameters)
    zero = np.zeros(shape, dtype)
    top_h, top_c = cotangents.get("h", zero), cotangents.get("c", zero)
    d = {name: np.zeros(array.shape, dtype) for name, array in parameters.items()}
    d_x = np.zeros((sizes["T"], sizes["B"], sizes["D"]), dtype)
    d_h, d_c = np.zeros(shape[1:], dtype), np.zeros(shape[1:], dtype)
    for t in reversed(range(len(steps))):
        x, h_prev, c_prev, i, f, g, c, o, y = steps[t]
        d_h = d_h + top_h[t]
        d_c = d_c + top_c[t]
        d_c = d_c + d_h * o * (1 - y**2)
        z_o = d_h * y * o * (1 - o)
        d_c = d_c + p.p_o * z_o
        z_i = d_c * g * i * (1 - i)
        z_f = d_c * c_prev * f * (1 - f)
        z_c = d_c * i * (1 - g**2)
        for gate, z in (("i", z_i), ("f", z_f), ("o", z_o), ("c", z_c)):
            d[f"W_{gate}"] += z.T @ x
            d[f"U_{gate}"] += z.T @ h_prev
            d[f"b_{gate}"] += z.sum(axis=0)
        d["p_i"] += (z_i * c_prev).sum(axis=0)
        d["p_f"] += (z_f * c_prev).sum(axis=0)
        d["p_o"] += (z_o * c).sum(axis=0)
        d_x[t] = z_i @ p.W_i + z_f @ p.W_f + z_o @ p.W_o + z_c @ p.W_c
        d_h = z_i @ p.U_i + z_f @ p.U_f + z_o @ p.U_o + z_c @ p.U_c
        d_c = d_c * f + p.p_i * z_i + p.p_f * z_f
    return SimpleNamespace(parameters=d, inputs={"x": d_x}, state={"h": d_h, "c": d_c})
