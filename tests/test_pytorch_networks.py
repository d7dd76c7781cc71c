"""Networks of cells against PyTorch in float64: `torch.nn` with layers, directions and packed sequences, a loop over layers else.

A loss reads the top at every step and the last value of every state; outputs and every gradient are held against autograd's.
"""

from __future__ import annotations

import numpy as np
import pytest

from tests import bounds
from tests.kernels import kernel_of
from tests.profiles import thorough
from tests.test_pytorch import EQUATIONS, SIZES, STATES, leaves
from tests.torch_threads import one_torch_thread  # noqa: F401 - pytest finds the fixture here

torch = pytest.importorskip("torch")

LENGTHS = (7, 3, 5, 1)
"""Of the sequences of a batch, unequal."""

GATES = {"lstm": ("_i", "_f", "_c", "_o"), "gru": ("_r", "_z", "_h"), "rnn": ("",)}
"""What the parameters of a cell end with, in the order in which torch.nn stacks them."""

TORCH_GRU = "gru --reset after --update-gate state --recurrent-bias"


def tolerance(layers, directions):
    """Both sides are float64, as for one cell; layers follow one upon the other, so that a network is a recurrence that much longer."""
    found = bounds.rounded(bounds.of_recurrence(steps=7 * layers * directions, batch=4, fan_in=12 * 2 * 6))
    assert found < 1e-11
    return found


def asked(words):
    """(layers, directions, masked): what the words ask for."""
    parts = words.split()
    layers = int(parts[parts.index("--layers") + 1]) if "--layers" in parts else 1
    return layers, ("right", "left") if "--bidirectional" in parts else ("",), "--masked" in parts


def behind(words, layer, direction):
    """What a copy's names have behind them."""
    return (f"_{direction}" if direction else "") + (f"_{layer + 1}" if asked(words)[0] > 1 else "")


def call_of(words, kernel):
    """(parameters, inputs, state, cotangents of the top, of the last value of each state), random; the mask as the lengths say."""
    rng = np.random.default_rng(3)
    _, directions, masked = asked(words)
    T, B, H = SIZES["T"], SIZES["B"], SIZES["H"]
    sizes = SIZES | {"2*H": 2 * H}

    def normal(*shape):
        return rng.standard_normal(shape)

    parameters = {name: normal(*[sizes[dim] for dim in dims]) / np.sqrt(H) for name, dims in kernel.PARAMETERS.items()}
    inputs = {"x": normal(T, B, SIZES["D"])}
    lengths = LENGTHS if masked else (T,) * B
    inside = (np.arange(T)[:, None] < np.array(lengths)).astype(float)
    if masked:
        inputs["m"] = inside
    state = {name: normal(B, H) for name in kernel.STATES}
    top = normal(T, B, H * len(directions)) * inside[:, :, None]  # nothing is read where a sequence is over
    return parameters, inputs, state, top, {name: normal(B, H) for name in state}, inside


def blocks_of_kernel(words, kernel, parameters, inputs, state, top, last, inside):
    """{block: array}: the top, the last value of each state, every gradient."""
    layers, directions, _ = asked(words)
    ends = {name: 0 if "_left" in name else -1 for name in state}
    outputs, tape = kernel.forward(parameters, inputs, state)
    name = "h" if len(directions) == 2 else "h" + behind(words, layers - 1, "")
    cotangents = {one: np.zeros_like(array) for one, array in outputs.items()}
    cotangents[name] += top
    for one, array in last.items():
        cotangents[one][ends[one]] += array
    gradients = kernel.backward(parameters, tape, cotangents)
    found = {"top": outputs[name] * inside[:, :, None], **{f"last {one}": outputs[one][end] for one, end in ends.items()}}
    found |= {f"d_{one}": array for one, array in gradients.parameters.items()}
    return found | {"d_x": gradients.inputs["x"]} | {f"d_initial {one}": array for one, array in gradients.state.items()}


def blocks_of(network, words, parameters, inputs, state, top, last, inside):
    """The same of a network in torch, by autograd."""
    p, x, start = leaves(parameters), torch.tensor(inputs["x"], requires_grad=True), leaves(state)
    steps = torch.tensor(inside)
    output, ends = network(words, p, x, start, steps)
    output = output * steps[:, :, None]
    loss = (torch.tensor(top) * output).sum() + sum((torch.tensor(last[name]) * ends[name]).sum() for name in last)
    primals = {f"d_{name}": one for name, one in p.items()} | {"d_x": x} | {f"d_initial {n}": one for n, one in start.items()}
    found = {"top": output, **{f"last {name}": ends[name] for name in last}}
    found |= dict(zip(primals, torch.autograd.grad(loss, list(primals.values())), strict=True))
    return {name: block.detach().numpy() for name, block in found.items()}


def torch_nn(words, p, x, start, steps):
    """torch.nn's own network on our parameters: (the top, the last value of each state). Sequences that end early are packed."""
    cell, (layers, directions, masked) = words.split()[0], asked(words)
    names = [behind(words, layer, direction) for layer in range(layers) for direction in directions]
    kind = {"lstm": torch.nn.LSTM, "gru": torch.nn.GRU, "rnn": torch.nn.RNN}[cell]
    more = {"nonlinearity": "relu" if "relu" in words else "tanh"} if cell == "rnn" else {}
    module = kind(SIZES["D"], SIZES["H"], num_layers=layers, bidirectional=len(directions) == 2, **more).double()
    zero = torch.zeros(SIZES["H"], dtype=torch.float64)
    weights = {}
    for layer in range(layers):
        for direction in directions:
            own, theirs = behind(words, layer, direction), f"_l{layer}" + ("_reverse" if direction == "left" else "")
            gates = [f"{gate}{own}" for gate in GATES[cell]]
            weights["weight_ih" + theirs] = torch.cat([p["W" + gate] for gate in gates])
            weights["weight_hh" + theirs] = torch.cat([p["U" + gate] for gate in gates])
            weights["bias_ih" + theirs] = torch.cat([p["b" + gate] for gate in gates])
            weights["bias_hh" + theirs] = torch.cat([p.get("b_h" + gate[1:], zero) for gate in gates])
    before = tuple(torch.stack([start[state + name] for name in names]) for state in STATES[cell])
    given = x
    if masked:
        given = torch.nn.utils.rnn.pack_padded_sequence(x, steps.sum(0).long().cpu(), enforce_sorted=False)
    arguments = (given, before if cell == "lstm" else before[0])
    output, after = torch.func.functional_call(module, weights, arguments, strict=True)
    if masked:
        output, _ = torch.nn.utils.rnn.pad_packed_sequence(output, total_length=len(x))
    after = after if cell == "lstm" else (after,)
    return output, {
        state + name: array[k] for state, array in zip(STATES[cell], after, strict=True) for k, name in enumerate(names)
    }


def loop(words, p, x, start, steps):
    """Layer by layer, direction by direction, step by step, by the equations as a textbook prints them; a step that the mask leaves out is
    not taken."""
    cell, (layers, directions, _) = words.split()[0], asked(words)
    ends = {}
    below = list(x)
    for layer in range(layers):
        tops = []
        for direction in directions:
            own = behind(words, layer, direction)
            named = {name.removesuffix(own): array for name, array in p.items() if name.endswith(own)}
            state = {name: start[name + own] for name in STATES[cell]}
            tops.append([None] * len(x))
            for t in range(len(x))[:: -1 if direction == "left" else 1]:
                after = EQUATIONS[cell](words, named, below[t], state)
                state = {name: torch.where(steps[t][:, None] == 1, after[name], state[name]) for name in state}
                tops[-1][t] = state["h"]
            ends |= {name + own: array for name, array in state.items()}
        below = [torch.cat(each, 1) for each in zip(*tops, strict=True)]
    return torch.stack(below), ends


def assert_kernel_agrees(words, network):
    kernel = kernel_of(words)
    assert len({SIZES[dim] for dim in "TBDH"}) == 4
    call = call_of(words, kernel)
    expected, got = blocks_of(network, words, *call), blocks_of_kernel(words, kernel, *call)
    assert {n: a.shape for n, a in got.items()} == {n: a.shape for n, a in expected.items()}
    differences = {name: np.linalg.norm(got[name] - expected[name]) / np.linalg.norm(expected[name]) for name in expected}
    limit = tolerance(asked(words)[0], len(asked(words)[1]))
    beyond = {name: f"{difference:.1e}" for name, difference in differences.items() if not difference <= limit}
    assert not beyond, f"{words}: kernel differs from torch: expected at most {limit:.1e} per block, got {beyond}"


@pytest.mark.parametrize(
    "words",
    [
        "lstm --layers 2",
        thorough("lstm --layers 3"),
        thorough("rnn --layers 2"),
        "rnn --activation relu --layers 3",
        f"{TORCH_GRU} --layers 2",
        thorough("lstm --bidirectional"),
        "lstm --layers 2 --bidirectional",
        thorough(f"{TORCH_GRU} --layers 2 --bidirectional"),
        thorough("rnn --layers 3 --bidirectional"),
        thorough("lstm --masked"),
        thorough("lstm --layers 2 --masked"),
        thorough(f"{TORCH_GRU} --layers 2 --masked"),
        "lstm --layers 2 --bidirectional --masked",
        f"{TORCH_GRU} --bidirectional --masked",
        thorough("rnn --layers 2 --bidirectional --masked"),
    ],
)
def test_a_network_agrees_with_torch_nn(words):
    assert_kernel_agrees(words, torch_nn)


@pytest.mark.parametrize(
    "words",
    [
        "lstm --peephole --layers 2",
        thorough("lstm --peephole diagonal --no-bias --layers 3"),
        "gru --layers 2",
        thorough("lstm --peephole --masked"),
        "lstm --peephole --layers 2 --bidirectional --masked",
    ],
)
def test_a_network_agrees_with_autograd_on_the_equations_layer_by_layer(words):
    assert_kernel_agrees(words, loop)
