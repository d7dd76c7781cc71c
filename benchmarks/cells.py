"""The cells for PyTorch and JAX, as their users would write them: gates stacked, one step at a time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from derive.cells.registry import build
from derive.compiler import compile_cell
from verify.kernel import load_text


@dataclass(frozen=True)
class Step:
    """prepare(np, parameters) stacks weights once; step(np, weights, x, state) is one step, batch first."""

    words: str

    def prepare(self, np: Any, p: Any) -> Any:
        join = np.concatenate if hasattr(np, "lax") or hasattr(np, "ndarray") else np.cat
        gates = {"lstm": "ifoc", "gru": "zrh", "rnn": ""}[self.words.split()[0]]
        if not gates:
            return {"W": p["W"].T, "U": p["U"].T, "b": p["b"]}
        stack = {v: join([p[f"{v}_{g}"] for g in gates]) for v in "WUb"}
        rest = {name: array for name, array in p.items() if name[0] in "Pp"}
        return {"W": stack["W"].T, "U": stack["U"].T, "b": stack["b"], **rest, "U_h": p.get("U_h")}

    def step(self, np: Any, w: Any, x: Any, s: Any) -> Any:
        name = self.words.split()[0]
        return {"lstm": self.lstm, "gru": self.gru, "rnn": self.rnn}[name](np, w, x, s)

    def rnn(self, np: Any, w: Any, x: Any, s: Any) -> Any:
        return {"h": np.tanh(x @ w["W"] + s["h"] @ w["U"] + w["b"])}

    def lstm(self, np: Any, w: Any, x: Any, s: Any) -> Any:
        H = s["h"].shape[-1]
        z = x @ w["W"] + s["h"] @ w["U"] + w["b"]
        zi, zf, zo, zc = z[:, :H], z[:, H : 2 * H], z[:, 2 * H : 3 * H], z[:, 3 * H :]
        zi, zf = zi + self.peep(w, "i", s["c"]), zf + self.peep(w, "f", s["c"])
        c = sigma(np, zf) * s["c"] + sigma(np, zi) * np.tanh(zc)
        return {"h": sigma(np, zo + self.peep(w, "o", c)) * np.tanh(c), "c": c}

    def peep(self, w: Any, gate: str, c: Any) -> Any:
        if f"P_{gate}" in w:
            return c @ w[f"P_{gate}"].T
        return w[f"p_{gate}"] * c if f"p_{gate}" in w else 0.0

    def gru(self, np: Any, w: Any, x: Any, s: Any) -> Any:
        h, H = s["h"], s["h"].shape[-1]
        a = x @ w["W"] + w["b"]
        if "--reset after" in self.words:
            u = h @ w["U"]
            z, r = sigma(np, a[:, :H] + u[:, :H]), sigma(np, a[:, H : 2 * H] + u[:, H : 2 * H])
            n = np.tanh(a[:, 2 * H :] + r * u[:, 2 * H :])
        else:
            u = h @ w["U"][:, : 2 * H]
            z, r = sigma(np, a[:, :H] + u[:, :H]), sigma(np, a[:, H : 2 * H] + u[:, H:])
            n = np.tanh(a[:, 2 * H :] + (r * h) @ w["U"][:, 2 * H :])
        return {"h": (1 - z) * n + z * h if "state" in self.words else (1 - z) * h + z * n}


def sigma(np: Any, z: Any) -> Any:
    if hasattr(np, "sigmoid"):
        return np.sigmoid(z)
    import jax

    return jax.nn.sigmoid(z)


def step_of(words: str) -> tuple[Any, Step]:
    """(the kernel, whose tables give names and shapes; the cell as a step)."""
    return load_text(compile_cell(build(words)), "kernel.py"), Step(words)
