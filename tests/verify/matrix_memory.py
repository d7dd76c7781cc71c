"""A kernel with a matrix memory written by hand, right and without checks: matrices and numbers as inputs, states and outputs.

A memory C (N, K) with its normaliser n (K,), a forget gate, an input gate and a state s that are numbers, learned numbers:

    k = W_k x,  v = W_v x + b_v,  q = W_q x,  i = sigma(w_i^T x + b_i + m),  f = sigma(w_f^T x + alpha s_{t-1} + b_f)
    C = f C_{t-1} + i v k^T + beta A,  n = f n_{t-1} + i k,  a = n^T q,  e = 1 + a**2
    y = C q / e,  s = tanh(alpha s_{t-1} + a),  J = sum(A o C),  R = s C

with the inputs x (D,), m a number, A (N, K), the outputs y (N,), J a number, R (N, K).
"""

from __future__ import annotations

from typing import Any

from derive.cell import Cell
from derive.functions import function
from derive.language import Eq, dimension, hadamard, matrix, number, sequence, vector
from derive.reductions import total
from verify.kernel import load_text

MEMORY = '''
from types import SimpleNamespace
import numpy as np

PARAMETERS = {
    "W_k": ("K", "D"), "W_v": ("N", "D"), "b_v": ("N",), "W_q": ("K", "D"), "w_i": ("D",), "b_i": (), "w_f": ("D",), "b_f": (),
    "alpha": (), "beta": (),
}
INPUTS = {"x": ("D",), "m": (), "A": ("N", "K")}
STATES = {"C": ("N", "K"), "n": ("K",), "s": ()}
OUTPUTS = {"y": ("N",), "J": (), "R": ("N", "K")}

def sigma(z):
    return 0.5 * (1 + np.tanh(0.5 * z))

def outer(u, w):
    return u[:, :, None] * w[:, None, :]

def each(number, array):
    """A number of each example times its array."""
    return number.reshape(-1, *[1] * (array.ndim - 1)) * array

def through(matrix, vector):
    return np.einsum("bnk,bk->bn", matrix, vector)

def back(matrix, vector):
    return np.einsum("bnk,bn->bk", matrix, vector)

def inner(u, w):
    return (u * w).sum(-1)

def both(A, B):
    """The sum of all products of two matrices of each example."""
    return (A * B).sum((-1, -2))

def started(parameters, inputs, state):
    x, K, N = inputs["x"], len(parameters["W_k"]), len(parameters["W_v"])
    B, kind = x.shape[1], x.dtype
    return state or {"C": np.zeros((B, N, K), kind), "n": np.zeros((B, K), kind), "s": np.zeros(B, kind)}

def stacked(steps, names, like, T):
    return {name: np.array([step[name] for step in steps]).reshape(T, *like[name].shape) for name in names}

def step(p, x, m, A, C0, n0, s0):
    k, v, q = x @ p["W_k"].T, x @ p["W_v"].T + p["b_v"], x @ p["W_q"].T
    i, f = sigma(x @ p["w_i"] + p["b_i"] + m), sigma(x @ p["w_f"] + p["alpha"] * s0 + p["b_f"])
    C = each(f, C0) + each(i, outer(v, k)) + p["beta"] * A
    n = each(f, n0) + each(i, k)
    a = inner(n, q)
    e = 1 + a**2
    r = through(C, q)
    y = each(1 / e, r)
    s = np.tanh(p["alpha"] * s0 + a)
    return SimpleNamespace(x=x, A=A, C0=C0, n0=n0, s0=s0, k=k, v=v, q=q, i=i, f=f, C=C, n=n, a=a, e=e, r=r, y=y, s=s)

def tangent(p, g, dp, dx, dm, dA, dC0, dn0, ds0):
    """How everything that a step computes moves."""
    dk, dv, dq = dx @ p["W_k"].T + g.x @ dp["W_k"].T, dx @ p["W_v"].T + g.x @ dp["W_v"].T + dp["b_v"], dx @ p["W_q"].T + g.x @ dp["W_q"].T
    di = g.i * (1 - g.i) * (dx @ p["w_i"] + g.x @ dp["w_i"] + dp["b_i"] + dm)
    df = g.f * (1 - g.f) * (dx @ p["w_f"] + g.x @ dp["w_f"] + dp["alpha"] * g.s0 + p["alpha"] * ds0 + dp["b_f"])
    dC = each(df, g.C0) + each(g.f, dC0) + each(di, outer(g.v, g.k)) + each(g.i, outer(dv, g.k) + outer(g.v, dk))
    dC = dC + dp["beta"] * g.A + p["beta"] * dA
    dn = each(df, g.n0) + each(g.f, dn0) + each(di, g.k) + each(g.i, dk)
    da = inner(dn, g.q) + inner(g.n, dq)
    de = 2 * g.a * da
    dr = through(dC, g.q) + through(g.C, dq)
    dy = each(1 / g.e, dr) - each(de / g.e**2, g.r)
    ds = (1 - g.s**2) * (dp["alpha"] * g.s0 + p["alpha"] * ds0 + da)
    return SimpleNamespace(x=dx, A=dA, C0=dC0, n0=dn0, s0=ds0, k=dk, v=dv, q=dq, i=di, f=df, C=dC, n=dn, a=da, e=de, r=dr, y=dy, s=ds)

def shown(g):
    return {"C": g.C, "n": g.n, "s": g.s, "y": g.y, "J": both(g.A, g.C), "R": each(g.s, g.C)}

def run(parameters, inputs, state):
    now = started(parameters, inputs, state)
    steps, found = [], []
    for t in range(len(inputs["x"])):
        g = step(parameters, inputs["x"][t], inputs["m"][t], inputs["A"][t], now["C"], now["n"], now["s"])
        now = {"C": g.C, "n": g.n, "s": g.s}
        steps.append(g)
        found.append(shown(g))
    B, N = len(now["C"]), len(parameters["W_v"])
    like = {**now, "y": np.zeros((B, N)), "J": now["s"], "R": now["C"]}
    return stacked(found, [*STATES, *OUTPUTS], like, len(steps)), steps

def forward(parameters, inputs, state=None):
    outputs, steps = run(parameters, inputs, state)
    return outputs, (steps, inputs, started(parameters, inputs, state))

def zeros(arrays):
    return {name: np.zeros_like(array) for name, array in arrays.items()}

def at(cotangents, name, t, like):
    return cotangents[name][t] if name in cotangents else np.zeros_like(like)

def backward(parameters, tape, cotangents):
    p, (steps, inputs, first) = parameters, tape
    d, dx, later = zeros(p), zeros(inputs), zeros(first)
    for t in reversed(range(len(steps))):
        g = steps[t]
        c = {name: at(cotangents, name, t, like) for name, like in shown(g).items()}
        y_, J_, R_ = c["y"], c["J"], c["R"]
        C_ = c["C"] + later["C"] + each(J_, g.A) + each(g.s, R_)
        s_ = c["s"] + later["s"] + both(R_, g.C)
        z_ = s_ * (1 - g.s**2)
        r_ = each(1 / g.e, y_)
        e_ = -inner(y_, g.r) / g.e**2
        a_ = z_ + 2 * g.a * e_
        C_ = C_ + outer(r_, g.q)
        n_ = c["n"] + later["n"] + each(a_, g.q)
        q_ = back(g.C, r_) + each(a_, g.n)
        f_ = (both(C_, g.C0) + inner(n_, g.n0)) * g.f * (1 - g.f)
        i_ = (both(C_, outer(g.v, g.k)) + inner(n_, g.k)) * g.i * (1 - g.i)
        v_ = each(g.i, through(C_, g.k))
        k_ = each(g.i, back(C_, g.v)) + each(g.i, n_)
        for name, array in (("W_k", k_), ("W_v", v_), ("W_q", q_)):
            d[name] += array.T @ g.x
        d["b_v"] += v_.sum(0)
        d["w_i"] += i_ @ g.x
        d["w_f"] += f_ @ g.x
        d["b_i"] += i_.sum()
        d["b_f"] += f_.sum()
        d["alpha"] += (f_ * g.s0 + z_ * g.s0).sum()
        d["beta"] += both(C_, g.A).sum()
        dx["x"][t] = k_ @ p["W_k"] + v_ @ p["W_v"] + q_ @ p["W_q"] + np.outer(i_, p["w_i"]) + np.outer(f_, p["w_f"])
        dx["m"][t] = i_
        dx["A"][t] = p["beta"] * C_ + each(J_, g.C)
        later = {"C": each(g.f, C_), "n": each(g.f, n_), "s": p["alpha"] * (f_ + z_)}
    return SimpleNamespace(parameters=d, inputs=dx, state=later)

def filled(tangents, like):
    return {name: (tangents or {}).get(name, np.zeros_like(array)) for name, array in like.items()}

def moved(parameters, inputs, first, steps, dp, dx, ds):
    """The tangent of every step."""
    dp, dx, now = filled(dp, parameters), filled(dx, inputs), filled(ds, first)
    found = []
    for t, g in enumerate(steps):
        w = tangent(parameters, g, dp, dx["x"][t], dx["m"][t], dx["A"][t], now["C"], now["n"], now["s"])
        now = {"C": w.C, "n": w.n, "s": w.s}
        found.append(w)
    return dp, dx, found

def jvp(parameters, inputs, state, tangent_parameters, tangent_inputs, tangent_state):
    outputs, (steps, _, first) = forward(parameters, inputs, state)
    _, _, ways = moved(parameters, inputs, first, steps, tangent_parameters, tangent_inputs, tangent_state)
    found = [
        {"C": w.C, "n": w.n, "s": w.s, "y": w.y, "J": both(w.A, g.C) + both(g.A, w.C), "R": each(w.s, g.C) + each(g.s, w.C)}
        for g, w in zip(steps, ways)
    ]
    return stacked(found, list(outputs), {name: array[0] for name, array in outputs.items()}, len(steps))

def hvp(parameters, inputs, state, cotangents, tangent_parameters, tangent_inputs, tangent_state):
    """The tangent of backward, line by line."""
    p = parameters
    _, (steps, _, first) = forward(parameters, inputs, state)
    dp, dx, ways = moved(parameters, inputs, first, steps, tangent_parameters, tangent_inputs, tangent_state)
    d, hx, later, moving = zeros(p), zeros(inputs), zeros(first), zeros(first)
    for t in reversed(range(len(steps))):
        g, w = steps[t], ways[t]
        c = {name: at(cotangents, name, t, like) for name, like in shown(g).items()}
        y_, J_, R_ = c["y"], c["J"], c["R"]
        C_, hC = c["C"] + later["C"] + each(J_, g.A) + each(g.s, R_), moving["C"] + each(J_, w.A) + each(w.s, R_)
        s_, hs = c["s"] + later["s"] + both(R_, g.C), moving["s"] + both(R_, w.C)
        z_, hz = s_ * (1 - g.s**2), hs * (1 - g.s**2) - 2 * s_ * g.s * w.s
        r_, hr = each(1 / g.e, y_), -each(w.e / g.e**2, y_)
        e_ = -inner(y_, g.r) / g.e**2
        he = -inner(y_, w.r) / g.e**2 + 2 * inner(y_, g.r) * w.e / g.e**3
        a_, ha = z_ + 2 * g.a * e_, hz + 2 * w.a * e_ + 2 * g.a * he
        C_, hC = C_ + outer(r_, g.q), hC + outer(hr, g.q) + outer(r_, w.q)
        n_, hn = c["n"] + later["n"] + each(a_, g.q), moving["n"] + each(ha, g.q) + each(a_, w.q)
        hq = back(w.C, r_) + back(g.C, hr) + each(ha, g.n) + each(a_, w.n)
        F, hF = both(C_, g.C0) + inner(n_, g.n0), both(hC, g.C0) + both(C_, w.C0) + inner(hn, g.n0) + inner(n_, w.n0)
        f_, hf = F * g.f * (1 - g.f), hF * g.f * (1 - g.f) + F * (1 - 2 * g.f) * w.f
        I = both(C_, outer(g.v, g.k)) + inner(n_, g.k)
        hI = both(hC, outer(g.v, g.k)) + both(C_, outer(w.v, g.k) + outer(g.v, w.k)) + inner(hn, g.k) + inner(n_, w.k)
        i_, hi = I * g.i * (1 - g.i), hI * g.i * (1 - g.i) + I * (1 - 2 * g.i) * w.i
        v_ = each(g.i, through(C_, g.k))
        hv = each(w.i, through(C_, g.k)) + each(g.i, through(hC, g.k) + through(C_, w.k))
        k_ = each(g.i, back(C_, g.v)) + each(g.i, n_)
        hk = each(w.i, back(C_, g.v) + n_) + each(g.i, back(hC, g.v) + back(C_, w.v) + hn)
        q_ = back(g.C, r_) + each(a_, g.n)
        for name, array, way in (("W_k", k_, hk), ("W_v", v_, hv), ("W_q", q_, hq)):
            d[name] += way.T @ g.x + array.T @ w.x
        d["b_v"] += hv.sum(0)
        d["w_i"] += hi @ g.x + i_ @ w.x
        d["w_f"] += hf @ g.x + f_ @ w.x
        d["b_i"] += hi.sum()
        d["b_f"] += hf.sum()
        d["alpha"] += ((hf + hz) * g.s0 + (f_ + z_) * w.s0).sum()
        d["beta"] += (both(hC, g.A) + both(C_, w.A)).sum()
        hx["x"][t] = hk @ p["W_k"] + hv @ p["W_v"] + hq @ p["W_q"] + np.outer(hi, p["w_i"]) + np.outer(hf, p["w_f"])
        hx["x"][t] += k_ @ dp["W_k"] + v_ @ dp["W_v"] + q_ @ dp["W_q"] + np.outer(i_, dp["w_i"]) + np.outer(f_, dp["w_f"])
        hx["m"][t] = hi
        hx["A"][t] = dp["beta"] * C_ + p["beta"] * hC + each(J_, w.C)
        moving = {
            "C": each(w.f, C_) + each(g.f, hC), "n": each(w.f, n_) + each(g.f, hn),
            "s": dp["alpha"] * (f_ + z_) + p["alpha"] * (hf + hz),
        }
        later = {"C": each(g.f, C_), "n": each(g.f, n_), "s": p["alpha"] * (f_ + z_)}
    return SimpleNamespace(parameters=d, inputs=hx, state=moving)

def step_jacobian(parameters, tape):
    """One column a number of the states: C row by row, n, s."""
    steps, _, first = tape
    (B, N, K), still = first["C"].shape, zeros(parameters)
    S = N * K + K + 1
    found = np.zeros((len(steps), B, S, S), first["C"].dtype)
    for t, g in enumerate(steps):
        for j, unit in enumerate(np.eye(S)):
            one = np.broadcast_to(unit, (B, S))
            C0, n0, s0 = one[:, : N * K].reshape(B, N, K), one[:, N * K : -1], one[:, -1]
            w = tangent(parameters, g, still, np.zeros_like(g.x), np.zeros_like(g.s), np.zeros_like(g.A), C0, n0, s0)
            found[t, :, :, j] = np.concatenate([w.C.reshape(B, -1), w.n, w.s[:, None]], 1)
    return found
'''


def text_of(*edits: tuple[str, str]) -> str:
    """The text of the kernel, edited."""
    text = MEMORY
    for old, new in edits:
        assert old in text, f"`{old}` isn't in the kernel"
        text = text.replace(old, new)
    return text


def matrix_memory(*edits: tuple[str, str]) -> Any:
    return load_text(text_of(*edits), "matrix_memory.py")


def cell() -> Cell:
    """The equations of the kernel."""
    D, K, N = (dimension(name) for name in "DKN")
    sigma, tanh = function("sigma"), function("tanh")
    x, m, A = sequence("x", D), sequence("m"), sequence("A", N, K)
    C, n, s = sequence("C", N, K), sequence("n", K), sequence("s")
    k, v, q, i, f, a = sequence("k", K), sequence("v", N), sequence("q", K), sequence("i"), sequence("f"), sequence("a")
    alpha = number("alpha")
    return Cell.from_equations(
        "memory",
        "memory",
        [
            Eq(k, matrix("W_k", K, D) @ x),
            Eq(v, matrix("W_v", N, D) @ x + vector("b_v", N)),
            Eq(q, matrix("W_q", K, D) @ x),
            Eq(i, sigma(vector("w_i", D).T @ x + number("b_i") + m)),
            Eq(f, sigma(vector("w_f", D).T @ x + alpha * s.prev + number("b_f"))),
            Eq(C, f * C.prev + i * (v @ k.T) + number("beta") * A),
            Eq(n, f * n.prev + i * k),
            Eq(a, n.T @ q),
            Eq(sequence("y", N), (C @ q) / (1 + a * a)),
            Eq(s, tanh(alpha * s.prev + a)),
            Eq(sequence("J"), total(hadamard(A, C))),
            Eq(sequence("R", N, K), s * C),
        ],
    )
