"""Kernels as people write them by hand, right and without checks: an activation, what is carried directly, and how z is scaled."""

from __future__ import annotations

from typing import Any

from verify.kernel import load_text

RECURRENT = '''
from types import SimpleNamespace
import numpy as np

PARAMETERS = {"W": ("H", "D"), "U": ("H", "H"), "b": ("H",)}
INPUTS = {"x": ("D",)}
STATES = {"h": ("H",)}

def normalised(z):
    m, s = z.mean(-1, keepdims=True), np.sqrt(((z - z.mean(-1, keepdims=True)) ** 2).mean(-1, keepdims=True) + 1e-3)
    return (z - m) / s, s

def through(dn, n, s):
    return (dn - dn.mean(-1, keepdims=True) - n * (dn * n).mean(-1, keepdims=True)) / s

def forward(parameters, inputs, state=None):
    W, U, b = (parameters[n] for n in ("W", "U", "b"))
    x = inputs["x"]
    T, B = x.shape[:2]
    h = np.zeros((T + 1, B, len(b)), KIND)
    zs = np.zeros((T, B, len(b)), KIND)
    if state is not None:
        h[0] = state["h"]
    for t in range(T):
        p = h[t]
        z = zs[t] = SCALE * (x[t] @ W.T + p @ U.T + TIMES * b)
        h[t + 1] = FORWARD
    return {"h": h[1:].copy()}, SimpleNamespace(x=x, h=h, zs=zs)

def backward(parameters, tape, cotangents):
    W, U, b = (parameters[n] for n in ("W", "U", "b"))
    x, hs = tape.x, tape.h
    dW, dU, db, dx = (np.zeros_like(a) for a in (W, U, b, x))
    dh = np.zeros_like(hs[0])
    for t in reversed(range(len(x))):
        dh = dh + cotangents["h"][t]
        z, h, p = tape.zs[t], hs[t + 1], hs[t]
        dz = SCALE * (BACKWARD)
        dW += dz.T @ x[t]
        dU += dz.T @ p
        db += TIMES * dz.sum(0)
        dx[t] = dz @ W
        dh = dz @ U + CARRY
    return SimpleNamespace(parameters={"W": dW, "U": dU, "b": db}, inputs={"x": dx}, state={"h": dh})
'''

ACTIVATIONS = {
    "softsign": ("z / (1 + np.abs(z))", "dh / (1 + np.abs(z))**2", "0"),
    "relu": ("np.maximum(z, 0)", "dh * (z > 0)", "0"),
    "abs": ("np.abs(z)", "dh * np.sign(z)", "0"),
    "clipped": ("np.clip(z, -1, 1)", "dh * (np.abs(z) < 1)", "0"),
    "max": ("np.maximum(p / 2, np.tanh(z))", "dh * (np.tanh(z) > p / 2) * (1 - np.tanh(z)**2)", "dh / 2 * (np.tanh(z) <= p / 2)"),
    "leaky": ("0.9 * p + 0.1 * np.tanh(z)", "0.1 * dh * (1 - np.tanh(z)**2)", "0.9 * dh"),
    "layer norm": ("np.tanh(normalised(z)[0])", "through(dh * (1 - h*h), *normalised(z))", "0"),
    "tanh": ("np.tanh(z)", "dh * (1 - h*h)", "0"),
}  # fmt: skip
"""Name -> (forward, the gradient of z, what is carried directly): of z, the output h, the state before p and the gradient dh."""


def text_of(name: str, *edits: tuple[str, str], kind: str = "float", scale: str = "1", times: str = "1") -> str:
    """The kernel of an activation, its expressions edited. kind: the dtype of its arrays, `float` for one of real numbers only."""
    forward, backward, carry = ACTIVATIONS[name]
    words = {"FORWARD": forward, "BACKWARD": backward, "CARRY": carry, "KIND": kind, "SCALE": scale, "TIMES": times}
    text = RECURRENT
    for word, by in words.items():
        text = text.replace(word, by)
    for old, new in edits:
        assert old in text, f"`{old}` isn't in the kernel"
        text = text.replace(old, new)
    return text


def by_hand(name: str, *edits: tuple[str, str], **options: str) -> Any:
    return load_text(text_of(name, *edits, **options), "by_hand.py")
