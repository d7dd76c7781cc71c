"""Masks and layers of pages that say more than a step: what starts the states, what is read out of the last one, a loss behind."""

from __future__ import annotations

import numpy as np
import pytest

from derive.cell import Cell
from derive.compiler import compile_cell
from derive.copies import Network
from derive.pages import read
from tests import arguments as args
from tests import bounds
from tests.derive.refused import assert_refused
from tests.kernels import kernel_of_cell
from verify.emitted import compare_text

STARTED = r"""
<!-- derive: v = example; dim v = E; dim z = K -->
$$h_0 = \tanh(P v)$$
$$h_t = \tanh(W x_t + U h_{t-1} + b)$$
$$z = \tanh(V h_T)$$
"""
LOSS = r"""
<!-- derive: dim r = K -->
$$h_t = \tanh(W x_t + U h_{t-1})$$
$$y_t = V h_t$$
$$J = \sum_t \|y_t - r_t\|^2 / T$$
"""
START = STARTED.rpartition("$$z")[0].replace("; dim z = K", "")
STEP = r"$$h_t = \tanh(W x_t + U h_{t-1})$$ "


def cell_of(text: str) -> Cell:
    return read("page.md", text=text).cell().cell


def test_a_masked_run_is_that_of_the_steps_that_count_from_the_start_of_the_page() -> None:
    """Examples of unequal lengths in one batch against each alone, without a mask: the last value, and every gradient of it."""
    plain, masked = (kernel_of_cell(cell) for cell in (cell_of(STARTED), Network(masked=True).of(cell_of(STARTED))))
    call, lengths = args.draw(masked, T=5), (2, 5, 3)
    call.inputs["m"] = (np.arange(5)[:, None] < np.array(lengths)).astype(float)
    outputs, tape = masked.forward(call.parameters, call.inputs, call.state)
    found = masked.backward(call.parameters, tape, {"z": call.cotangents["z"]})
    summed = {name: np.zeros_like(array) for name, array in call.parameters.items()}
    for at, length in enumerate(lengths):
        own = slice(at, at + 1)
        inputs = {"x": call.inputs["x"][:length, own], "v": call.inputs["v"][own]}
        alone, tape_alone = plain.forward(call.parameters, inputs, {})
        gradients = plain.backward(call.parameters, tape_alone, {"z": call.cotangents["z"][own]})
        expected = {"z": alone["z"], "x": gradients.inputs["x"], "v": gradients.inputs["v"]}
        got = {"z": outputs["z"][own], "x": found.inputs["x"][:length, own], "v": found.inputs["v"][own]}
        assert args.worst(got, expected)[0] < bounds.of_call(call)
        assert not found.inputs["x"][length:, own].any()
        summed = {name: array + gradients.parameters[name] for name, array in summed.items()}
    assert args.worst(found.parameters, summed)[0] < bounds.of_call(call)


def test_a_loss_behind_layers_is_of_the_top_one() -> None:
    kernel = kernel_of_cell(Network(layers=2, input="x").of(cell_of(LOSS)))
    call = args.draw(kernel, T=4)
    found = args.forward(kernel, call)[0]
    p, x = call.parameters, call.inputs["x"]
    below, above, total = call.state["h_1"], call.state["h_2"], 0.0
    for t in range(4):
        below = np.tanh(x[t] @ p["W_1"].T + below @ p["U_1"].T)
        above = np.tanh(below @ p["W_2"].T + above @ p["U_2"].T)
        total = total + ((above @ p["V_2"].T - call.inputs["r"][t]) ** 2).sum(axis=-1) / 4
    assert args.worst({"J_2": found["J_2"]}, {"J_2": total})[0] < bounds.of_call(call)
    assert args.worst(args.backward(kernel, call), args.by_complex_step(kernel, call))[0] < bounds.of_call(call)


@pytest.mark.parametrize(("page", "network"), [(START, Network(masked=True)), (LOSS, Network(layers=2, input="x"))])
def test_a_network_of_a_page_verifies(page: str, network: Network) -> None:
    cell = network.of(cell_of(page))
    report = compare_text(compile_cell(cell), cell)
    assert report.passed, report.verdict()


REFUSED = {
    "a sum under a mask": (Network(masked=True), LOSS, ("--masked", "got J", "steps that the mask leaves out")),
    "an input's last value under a mask": (Network(masked=True), STEP + "$$z = V x_T$$", ("--masked", "got z")),
    "an older last value under a mask": (
        Network(masked=True), STEP + "$$y_t = V h_{t-1}$$ $$z = Q y_T$$", ("--masked", "got z"),
    ),
    "weights of all steps under a mask": (
        Network(masked=True), STEP + r"$$a_t = \operatorname{softmax}_t(v^\top h_t)$$", ("--masked", "got a"),
    ),
    "starts of layers": (Network(layers=2), STARTED, ("--layers 2", "h_0, which h starts with", "on the page")),
    "values of all steps in two directions": (Network(bidirectional=True), LOSS, ("--bidirectional", "J, which is made of all steps")),
    "two axes": (
        Network(masked=True), "$$h_s = \\tanh(W x_s + U h_{s-1})$$ $$d_t = \\tanh(P y_t + Q d_{t-1} + C h_S)$$",
        ("--masked", "along S", "one axis of steps"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("why", REFUSED)
def test_what_a_mask_or_copies_would_give_another_meaning_is_refused_in_one_line(why: str) -> None:
    network, page, said = REFUSED[why]
    assert_refused(network, cell_of(page), said)
