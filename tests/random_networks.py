"""Random networks as pages, each with the same network in NumPy: layers, directions, two axes, attention, masks, tokens, losses.

A page is drawn equation by equation; beside its LaTeX every equation has a function that computes it at one step from the values that it
reads, one (B, n) array each. A value is computed when it is asked for, so that neither order nor direction is said anywhere.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable

import numpy as np

from tests.network_values import (
    Array,
    At,
    Node,
    Rule,
    Rules,
    Values,
    added,
    blended,
    largest,
    logged,
    negated,
    of_token,
    sigma,
    softmax,
    summed,
    times,
)

SQUASHED: dict[str, Callable[[Array], Array]] = {r"\tanh": np.tanh, r"\sigma": sigma, r"\sin": np.sin}
SPARE = [
    rf"\{name}"
    for name in ["zeta", "rho", "xi", "omega", "kappa", "lambda", "phi", "psi", "nu", "mu", "theta", "chi", "delta", "eta"]
]
SPARE += [rf"\tilde{{{letter}}}" for letter in "zrnpo"]
"""Letters for gates and other values on the way."""


def name_of(tex: str) -> str:
    """The name that a kernel has for a letter."""
    accent = re.fullmatch(r"\\(tilde|hat)\{(\w)\}", tex)
    return f"{accent[2]}_{accent[1]}" if accent else tex.lstrip("\\")


class Network(Rules):
    """A page drawn at random, and what it says."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.random = random.Random(seed)
        self.declared: list[str] = []
        self.equations: list[str] = []
        self.counts: dict[str, int] = {}
        self.spare = list(SPARE)
        if self.chance(0.45):
            self.encoder_and_decoder()
        else:
            self.stack()

    @property
    def page(self) -> str:
        declared = f"<!-- derive: {'; '.join(dict.fromkeys(self.declared))} -->\n\n" if self.declared else ""
        return declared + "\n\n".join(f"$${equation}$$" for equation in self.equations) + "\n"

    def chance(self, share: float) -> bool:
        return self.random.random() < share

    def numbered(self, letter: str) -> tuple[str, str]:
        """(as it is printed, its name) of a parameter that nothing has yet."""
        k = self.counts[letter] = self.counts.get(letter, 0) + 1
        return f"{letter}_{{{k}}}", f"{letter}_{k}"

    # ---- values

    def define(self, tex: str, name: str, axes: tuple[str, ...], node: Node) -> Node:
        """An equation of the page, and what it defines, to be read at the same steps. tex: with its index."""
        self.equations.append(f"{tex} = {node.tex}")
        self.rules[name], self.axes[name] = node.rule, axes
        return Node(tex, lambda v, at: v(name, *[at[axis] for axis in axes]))

    def named(self, tex: str, axes: tuple[str, ...], node: Node) -> Node:
        """The same of a letter, which has the axes for its index."""
        return self.define(f"{tex}_{{{','.join(axes)}}}" if axes else tex, name_of(tex), axes, node)

    def aside(self, axes: tuple[str, ...], node: Node) -> Node:
        """A value on the way, under a letter that is left."""
        return self.named(self.spare.pop(0), axes, node)

    @staticmethod
    def neighbour(tex: str, name: str, axis: str, shift: int) -> Node:
        return Node(f"{tex}_{{{axis}{shift:+d}}}", lambda v, at: v(name, at[axis] + shift))

    # ---- parameters and inputs

    def product(self, node: Node) -> Node:
        """A new matrix times a vector."""
        tex, name = self.numbered("W")
        return Node(f"{tex} {node.tex}", lambda v, at: node.rule(v, at) @ v.call.parameters[name].T)

    def affine(self, *nodes: Node) -> Node:
        """The sum of products with new matrices, most often with a bias."""
        terms = [self.product(node) for node in nodes]
        if self.chance(0.8):
            tex, name = self.numbered("b")
            terms.append(Node(tex, lambda v, at: v.call.parameters[name][None]))
        return Node(" + ".join(term.tex for term in terms), lambda v, at: np.asarray(sum(term.rule(v, at) for term in terms)))

    def squashed(self, node: Node, names: tuple[str, ...] = (r"\tanh", *SQUASHED)) -> Node:
        name = self.random.choice(names)
        return Node(f"{name}({node.tex})", lambda v, at: SQUASHED[name](node.rule(v, at)))

    def given(self, letter: str, axis: str) -> Node:
        """A vector of each step, or of each example where the axis is empty."""
        if not axis:
            self.declared.append(f"{letter} = example")
            return Node(letter, lambda v, at: v.call.inputs[letter])
        return Node(f"{letter}_{axis}", lambda v, at: v.call.inputs[letter][at[axis]])

    def read_in(self, vectors: str, tokens: str, axis: str) -> Node:
        """What a network reads at each step: vectors, or the columns of a matrix that tokens take."""
        if self.chance(0.6):
            return self.given(vectors, axis)
        self.declared.append(f"{tokens} = tokens")
        tex, name = self.numbered("E")
        return Node(f"{tex} {tokens}_{axis}", lambda v, at: v.call.parameters[name].T[v.call.inputs[tokens][at[axis]]])

    # ---- recurrences

    def recurrence(self, tex: str, name: str, axis: str, inputs: list[Node], shift: int = -1) -> Node:
        """A layer in one direction: plain, leaky, with an update gate, with a reset gate too; some under a mask."""
        axes, before = (axis,), self.neighbour(tex, name, axis, shift)
        kind = self.random.choice(["plain", "plain", "leaky", "update", "reset"])
        if kind in ("plain", "leaky"):
            new = self.squashed(self.affine(*inputs, before))
            if kind == "leaky":
                new = Node(f"0.5 {before.tex} + {new.tex}", added(lambda v, at: 0.5 * before.rule(v, at), new.rule))
        else:
            gate, kept = self.aside(axes, self.squashed(self.affine(*inputs, before), (r"\sigma",))), before
            if kind == "reset":
                reset = self.aside(axes, self.squashed(self.affine(*inputs, before), (r"\sigma",)))
                kept = Node(rf"({reset.tex} \odot {before.tex})", times(reset.rule, before.rule))
            new = self.aside(axes, self.squashed(self.affine(*inputs, kept)))
            blend = rf"(1 - {gate.tex}) \odot {before.tex} + {gate.tex} \odot {new.tex}"
            new = Node(blend, blended(gate.rule, new.rule, before.rule))
        if self.chance(0.25):
            mask = "m" if axis == "t" else "n"
            self.declared.append(f"{mask} = number")
            new = self.aside(axes, new)
            kept_or_not = f"{mask}_{axis} {new.tex} + (1 - {mask}_{axis}) {before.tex}"
            new = Node(kept_or_not, blended(lambda v, at: v.call.inputs[mask][at[axis]][:, None], new.rule, before.rule))
        return self.define(f"{tex}_{axis}", name, axes, new)

    def layer(self, letter: str, axis: str, inputs: list[Node]) -> Node:
        """A layer to the right, to the left, or both."""
        way = self.random.choice(["right", "right", "left", "both"])
        if way != "both":
            return self.recurrence(letter, letter, axis, inputs, -1 if way == "right" else 1)
        right = self.recurrence(rf"\overrightarrow{{{letter}}}", f"{letter}_right", axis, inputs, -1)
        left = self.recurrence(rf"\overleftarrow{{{letter}}}", f"{letter}_left", axis, inputs, 1)
        both = Node(f"[{right.tex}; {left.tex}]", lambda v, at: np.concatenate([right.rule(v, at), left.rule(v, at)], -1))
        return self.define(f"{letter}_{axis}", letter, (axis,), both)

    def indexed(self, letter: str, axis: str, source: Node) -> Node:
        """Layers that an index counts, each with parameters of its own."""
        count, shift = self.random.randint(2, 3), self.random.choice([-1, -1, 1])
        self.declared.append(f"L = {count}")
        self.equations.append(f"{letter}_{axis}^{{(0)}} = {source.tex}")
        before = f"{letter}_{{{axis}{shift:+d}}}^{{(l)}}"
        inside = rf"A^{{(l)}} {letter}_{axis}^{{(l-1)}} + R^{{(l)}} {before} + a^{{(l)}}"
        self.equations.append(rf"{letter}_{axis}^{{(l)}} = \tanh({inside})")
        below = source.rule
        for k in range(1, count + 1):
            below = self.one_of_many(letter, axis, k, below, shift)
        return Node(f"{letter}_{axis}^{{(L)}}", below)

    def one_of_many(self, letter: str, axis: str, k: int, below: Rule, shift: int) -> Rule:
        name = f"{letter}_{k}"

        def rule(v: Values, at: At) -> Array:
            p, before = v.call.parameters, v(name, at[axis] + shift)
            return np.tanh(below(v, at) @ p[f"A_{k}"].T + before @ p[f"R_{k}"].T + p[f"a_{k}"])

        self.rules[name], self.axes[name] = rule, (axis,)
        return lambda v, at: v(name, at[axis])

    # ---- networks

    def stack(self) -> None:
        """Layers along t, read at every step, or as a whole."""
        top = self.read_in("x", "u", "t")
        if self.chance(0.3):
            top = self.indexed("g", "t", top)
        else:
            for letter in "hgq"[: self.random.randint(1, 3)]:
                top = self.layer(letter, "t", [top])
        if self.chance(0.6):
            self.loss_of_steps(top)
        else:
            self.loss_of_all(top if top.tex.endswith("_t") else self.named("f", ("t",), self.affine(top)))

    def encoder_and_decoder(self) -> None:
        """A source along s, and what is written along t: with what the source gave at its ends, on the whole, or by attention."""
        self.declared.append("time = s, t")
        source = self.layer("h", "s", [self.read_in("x", "u", "s")])
        if not self.chance(0.3):
            start = self.squashed(self.affine(self.end_of("h", "s")))
            self.equations.append(f"d_0 = {start.tex}")
            self.starts["d"] = start.rule
        before = self.neighbour("d", "d", "t", -1)
        inputs = [self.read_in("y", "w", "t")]
        way = self.random.choice(["none", "end", "mean", "attention", "attention"])
        if way in ("end", "mean"):
            inputs.append(self.named("c", (), self.end_of("h", "s") if way == "end" else self.mean_of("h", "s")))
        elif way == "attention":
            inputs.append(self.attention(before, source))
        self.loss_of_steps(self.recurrence("d", "d", "t", inputs))

    def end_of(self, name: str, axis: str) -> Node:
        """The last value or the first."""
        last = self.chance(0.7)
        index = axis.upper() if last else "1"
        return Node(f"{name}_{index}", lambda v, at: v(name, v.lengths[axis] - 1 if last else 0))

    def mean_of(self, name: str, axis: str) -> Node:
        whole = rf"\frac{{1}}{{{axis.upper()}}} \sum_{{{axis}=1}}^{{{axis.upper()}}} {name}_{axis}"
        return Node(whole, lambda v, at: v.along(name, axis, at).mean(0))

    def attention(self, query: Node, key: Node) -> Node:
        """What a query reads of all steps of the source: additive scores, or a product with a matrix between the two."""
        if self.chance(0.5):
            inner = self.affine(query, key)
            tex, name = self.numbered("v")
            score = Node(
                rf"{tex}^\top \tanh({inner.tex})", lambda v, at: (np.tanh(inner.rule(v, at)) @ v.call.parameters[name])[:, None]
            )
        else:
            moved = self.product(key)
            score = Node(rf"{query.tex}^\top {moved.tex}", summed(times(query.rule, moved.rule)))
        self.named("e", ("t", "s"), score)
        shares = Node(r"\operatorname{softmax}_s(e_{t,s})", lambda v, at: softmax(v.along("e", "s", at), 0)[at["s"]])
        self.named(r"\alpha", ("t", "s"), shares)
        if self.chance(0.5):
            self.declared.append("alpha = output")
        read = r"\sum_{s=1}^{S} \alpha_{t,s} h_s"
        return self.named("c", ("t",), Node(read, lambda v, at: (v.along("alpha", "s", at) * v.along("h", "s", at)).sum(0)))

    # ---- losses

    def loss_of_steps(self, top: Node) -> None:
        """A number for each step and its sum or mean, or a readout alone."""
        kind = self.random.choice(["next", "token", "vector", "square", "readout"])
        if kind in ("square", "readout"):
            read = self.named(r"\hat{y}", ("t",), self.affine(top)) if kind == "readout" else self.hat(self.affine(top))
            if kind == "square":
                target = self.given("k", "t")
                square = rf"\frac{{1}}{{2}} \|{target.tex} - {read.tex}\|^2"
                apart = added(target.rule, lambda v, at: -read.rule(v, at))
                self.total(Node(square, lambda v, at: 0.5 * (apart(v, at) ** 2).sum(-1, keepdims=True)))
            return
        read = self.hat(self.softmax_of(self.affine(top)))
        if kind == "vector":
            target = self.given("k", "t")
            self.total(Node(r"-\sum_{j} k_{t,j} \log \hat{y}_{t,j}", negated(summed(times(target.rule, logged(read.rule))))))
            return
        self.declared.append("k = tokens")
        at_token, name = ("k_{t+1}", "k_next") if kind == "next" else ("k_t", "k")
        self.total(Node(rf"-\log \hat{{y}}_{{t,{at_token}}}", of_token(read.rule, lambda v, at: v.call.inputs[name][at["t"]])))

    def hat(self, node: Node) -> Node:
        return self.define(r"\hat{y}_t", "y_hat", ("t",), node)

    @staticmethod
    def softmax_of(node: Node) -> Node:
        return Node(rf"\operatorname{{softmax}}({node.tex})", lambda v, at: softmax(node.rule(v, at)))

    def total(self, node: Node) -> None:
        """A loss of each step, which is J where there is no other."""
        if self.chance(0.3):
            self.define("J_t", "J", ("t",), node)
            return
        self.define("J_t", "J_t", ("t",), node)
        mean = self.chance(0.5)
        whole = (r"\frac{1}{T} " if mean else "") + r"\sum_{t=1}^{T} J_t"
        self.define("J", "J", (), Node(whole, lambda v, at: v.along("J_t", "t", at).sum(0) / (v.lengths["t"] if mean else 1)))

    def loss_of_all(self, top: Node) -> None:
        """A class of each example, read out of all steps together."""
        name = top.tex.split("_")[0]
        way = self.random.choice(["end", "mean", "largest", "sum"])
        whole = {
            "end": lambda: self.end_of(name, "t"),
            "mean": lambda: self.mean_of(name, "t"),
            "largest": lambda: Node(rf"\max_t {top.tex}", lambda v, at: largest(v.along(name, "t", at))),
            "sum": lambda: Node(rf"\sum_t {top.tex}", lambda v, at: v.along(name, "t", at).sum(0)),
        }[way]()
        read = self.define(r"\hat{y}", "y_hat", (), self.softmax_of(self.affine(self.named("c", (), whole))))
        if self.chance(0.5):
            self.declared.append("k = example tokens")
            self.define("J", "J", (), Node(r"-\log \hat{y}_k", of_token(read.rule, lambda v, at: v.call.inputs["k"])))
        else:
            target = self.given("v", "")
            self.define("J", "J", (), Node(r"-\sum_j v_j \log \hat{y}_j", negated(summed(times(target.rule, logged(read.rule))))))
