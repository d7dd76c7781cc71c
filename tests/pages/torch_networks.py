"""What networks of pages are compared with: PyTorch in float64, every output and every gradient.

Arrays are (steps, examples, n); the models say themselves along which axis of steps.
"""

from __future__ import annotations

import numpy as np
import pytest

from tests import bounds
from tests.kernels import kernel_of_cell
from tests.pages.gradients import atoms, length

torch = pytest.importorskip("torch")

BATCH, LEAST, MOST = 3, 9, 15
"""Examples; the least and the most steps along an axis. A page of few sizes has the least along its main axis."""

# Both sides are float64 and differ in the order of their sums and the last bits of exp, log and tanh; three layers, both ways.
TOLERANCE = bounds.rounded(bounds.of_recurrence(steps=6 * MOST, batch=BATCH, fan_in=12 * 2 * 8))
assert TOLERANCE < 1e-11

embedding, softmax = torch.nn.functional.embedding, torch.nn.functional.softmax


# ---- what the models are made of


def loop(step, given, start):
    """{state: its value after each step}, where `step` takes (what is given at a step, states) to states."""
    state, found = start, []
    for one in given:
        state = step(one, state)
        found.append(state)
    return {name: torch.stack([one[name] for one in found]) for name in start}


def rnn(x, h, W, U, b, left=False):
    """The states of torch.nn.RNN."""
    module = torch.nn.RNN(x.shape[-1], h.shape[-1]).double()
    weights = {"weight_ih_l0": W, "weight_hh_l0": U, "bias_ih_l0": b, "bias_hh_l0": torch.zeros_like(b)}
    found, _ = torch.func.functional_call(module, weights, (x.flip(0) if left else x, h[None]), strict=True)
    return found.flip(0) if left else found


def lstm(x, *layers, left=False):
    """[(h, c)], a pair for each layer, of torch.nn.LSTM.

    A layer is (h, c, {gate: weights of what is below}, {gate: weights of h}, {gate: biases}). Step by step, because over a whole
    sequence it shows only the last c.
    """
    module = torch.nn.LSTM(x.shape[-1], layers[0][0].shape[-1], num_layers=len(layers)).double()
    weights = {}
    for k, (_, _, W, U, b) in enumerate(layers):
        for name, one in (("weight_ih", W), ("weight_hh", U), ("bias_ih", b)):
            weights[f"{name}_l{k}"] = torch.cat([one[gate] for gate in "ifgo"])
        weights[f"bias_hh_l{k}"] = torch.zeros_like(weights[f"bias_ih_l{k}"])
    state, found = tuple(torch.stack([one[at] for one in layers]) for at in (0, 1)), []
    for t in range(len(x))[:: -1 if left else 1]:
        _, state = torch.func.functional_call(module, weights, (x[t][None], state), strict=True)
        found.append(state)
    h, c = (torch.stack([one[at] for one in found[:: -1 if left else 1]]) for at in (0, 1))
    return [(h[:, k], c[:, k]) for k in range(len(layers))]


def cross_entropy(logits, words):
    """-log softmax(logits)[words], of each step and example."""
    return torch.nn.functional.cross_entropy(logits.flatten(0, -2), words.flatten(), reduction="none").reshape(words.shape)


def divergence(target, logits):
    """KL of the softmax from the target, whose elements may have any sum."""
    return torch.nn.functional.kl_div(torch.log_softmax(logits, -1), target, reduction="none").sum(-1)


# ---- the comparison


def drawn(kernel, positive=()):
    """(parameters, inputs, state), random and signed. positive: inputs whose logarithm is taken.

    No two sizes are equal, those of examples and of steps included, and there are more steps than words: some word comes twice.
    """
    rng = np.random.default_rng(5)
    tables = (kernel.PARAMETERS, kernel.INPUTS, kernel.STATES, kernel.OUTPUTS)
    tokens, lying = getattr(kernel, "TOKENS", {}), getattr(kernel, "AXES", {})
    names = {atom for table in tables for shape in table.values() for size in shape for atom in atoms(size)} | {*tokens.values()}
    sizes = {name: BATCH + 1 + at for at, name in enumerate(sorted(names))}
    axes = {axis for name in [*kernel.INPUTS, *tokens] if isinstance(axis := lying.get(name, "T"), str)}
    steps = {
        axis: max(LEAST, BATCH + 1 + len(sizes)) + at for at, axis in enumerate(sorted(axes, key=lambda one: (one != "T", one)))
    }
    assert max(steps.values()) <= MOST

    def lead(name):
        axis = lying.get(name, "T")
        return (BATCH,) if axis is None else (steps[axis], BATCH)

    def normal(lead, shape):
        return np.asarray(rng.standard_normal([*lead, *[length(size, sizes) for size in shape]]))

    parameters = {name: normal((), shape) / np.sqrt(3 * max(1, len(shape))) for name, shape in kernel.PARAMETERS.items()}
    inputs = {name: normal(lead(name), shape) for name, shape in kernel.INPUTS.items()}
    inputs |= {name: 0.1 + np.abs(inputs[name]) for name in {*positive} & {*inputs}}
    inputs |= {name: rng.integers(0, sizes[size], lead(name)) for name, size in tokens.items()}
    return parameters, inputs, {name: normal((BATCH,), shape) for name, shape in kernel.STATES.items()}


def of_kernel(kernel, call, cotangents):
    """{block: array}: every output, every gradient."""
    outputs, tape = kernel.forward(*call)
    gradients = kernel.backward(call[0], tape, cotangents)
    groups = (gradients.parameters, gradients.inputs, gradients.state)
    return outputs | {f"d_{kind} {name}": one for kind, group in enumerate(groups) for name, one in group.items()}


def of_torch(model, call, cotangents):
    """The same of a model in torch, by autograd."""
    leaves = [{name: torch.tensor(one, requires_grad=one.dtype.kind == "f") for name, one in group.items()} for group in call]
    outputs = model(*leaves)
    blocks = {f"d_{kind} {name}": one for kind, group in enumerate(leaves) for name, one in group.items() if one.requires_grad}
    loss = sum((outputs[name] * torch.tensor(one)).sum() for name, one in cotangents.items())
    gradients = torch.autograd.grad(loss, list(blocks.values()))
    found = outputs | dict(zip(blocks, gradients, strict=True))
    return {name: one.detach().numpy() for name, one in found.items()}


def beyond(cell, model, positive=()):
    """{block: how far it is from the model's}, of the outputs and the gradients of a cell that are beyond the tolerance."""
    kernel = kernel_of_cell(cell)
    call = drawn(kernel, positive)
    rng = np.random.default_rng(6)
    cotangents = {name: np.asarray(rng.standard_normal(one.shape)) for name, one in kernel.forward(*call)[0].items()}
    expected, got = of_torch(model, call, cotangents), of_kernel(kernel, call, cotangents)
    assert {name: one.shape for name, one in got.items()} == {name: one.shape for name, one in expected.items()}
    apart = {name: np.linalg.norm(got[name] - one) / np.linalg.norm(one) for name, one in expected.items()}
    return {name: f"{one:.1e}" for name, one in apart.items() if not one <= TOLERANCE}
