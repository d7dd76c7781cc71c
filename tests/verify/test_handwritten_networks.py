"""The hand-written networks against the complex step of their forwards and against the derived kernels; faults that are seen."""

from __future__ import annotations

import functools
import importlib
import inspect
from pathlib import Path
from typing import Any

import pytest

from derive.compiler import compile_cell
from derive.pages import read
from tests.verify.network_problems import (
    COMMANDS,
    DEEPEST,
    PAGE_OF,
    ROOT,
    SIZES,
    Problem,
    derived,
    errors,
    reference,
)
from verify.data import ORDINARY, OTHER_SIZES, Regime, draw
from verify.examination import check
from verify.gradients import relative
from verify.handwritten import networks
from verify.handwritten.network import Network
from verify.kept import handwritten_for
from verify.kernel import Kernel, load_text
from verify.tolerances import tolerance


def every_network(*depths: int) -> list[Any]:
    return [
        pytest.param(layers, k, id=f"{layers}-{k}-{network.source[:40]}")
        for layers in depths
        for k, network in enumerate(networks(layers))
    ]


@functools.cache
def with_layers(layers: int) -> list[Network]:
    return list(networks(layers))


# --- the gradients ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("layers", "k"), every_network(1, 2))
def test_gradients_agree_with_the_complex_step(layers: int, k: int) -> None:
    problem = Problem(with_layers(layers)[k])
    found = errors(problem, problem.gradients())
    assert max(found.values()) < problem.tolerance, found


@pytest.mark.parametrize("k", range(0, len(list(networks(DEEPEST))), 4))
def test_gradients_of_three_layers_agree_with_the_complex_step(k: int) -> None:
    problem = Problem(with_layers(DEEPEST)[k])
    found = errors(problem, problem.gradients())
    assert max(found.values()) < problem.tolerance, found


@pytest.mark.parametrize("where", [*PAGE_OF, *COMMANDS])
def test_the_derived_kernel_and_the_reference_agree(where: str) -> None:
    cell, module, hand = derived(where)
    assert hand is not None
    kernel = Kernel(module, cell.name)
    for regime, sizes in [(ORDINARY, None), *OTHER_SIZES[1:], (Regime("more steps", 12, 0.8), (6, 5, 4, 3, 2, 7, 8, 9, 10))]:
        sized = kernel.sized(sizes) if sizes else kernel
        data = draw(sized.dims, regime, seed=3)
        outputs, tape = hand.forward(data.parameters, data.inputs, data.state)
        found = kernel.flat(hand.backward(data.parameters, tape, data.cotangents))
        expected = sized.gradients(data)
        assert found.keys() == expected.keys() == data.flat().keys()
        for name, array in sized.outputs(data).items():
            assert relative(outputs[name], array) < tolerance("emitted", "hand-written").value, name
        for block, array in expected.items():
            assert relative(found[block], array) < tolerance("emitted", "hand-written").value, (regime.name, block)


# --- which kernels they are held against -----------------------------------------------------------------------------


def test_the_verifier_holds_a_kernel_against_its_reference() -> None:
    cell, module, hand = derived("Translation, extension V")
    report = check(module, name=cell.name, hand=hand, quick=True, formula=cell)
    assert report.passed
    assert "hand-written" in report.routes
    assert {row.block for row in report.rows if ("emitted", "hand-written") in row.errors} == {row.block for row in report.rows}


def reference_of(page: str, heading: str, folder: Path) -> Any:
    (folder / "page.md").write_text(page, encoding="utf-8")
    cell = read(str(folder / "page.md")).cell(heading).cell
    return handwritten_for(cell.name, load_text(compile_cell(cell), f"{cell.name}.py"))


DEEP = "Deep bidirectional, equations (20) to (22)"
TRANSLATION = "Translation, extension I"
READOUT = "GRU with its readout and loss, equations (11) to (17)"
FINAL = "GRU with a loss at the final step, slide 'BPTT steps'"


@pytest.mark.parametrize(
    ("heading", "printed", "instead", "is_known"),
    [
        (DEEP, "L = 3", "L = 4", True),
        (DEEP, "L = 3", "L = 1", True),
        (DEEP, "f = tanh; g = softmax; L = 3", "f = relu; g = softmax; L = 3", True),
        (DEEP, "f = tanh; g = softmax; L = 3", "f = softplus; g = softmax; L = 3", False),
        (DEEP, "g(U[", "g(2U[", False),
        (DEEP, r"\overleftarrow{h}_{t+1}^{(i)}", r"\overleftarrow{h}_{t-1}^{(i)}", False),
        (TRANSLATION, "d_t = f(V^{(hh)}d_{t-1})", "d_t = f(2 V^{(hh)}d_{t-1})", False),
        (TRANSLATION, "d_0 = h_S", "d_0 = h_1", False),
        (TRANSLATION, "d_0 = h_S", r"d_0 = \tanh(h_S)", False),
        (TRANSLATION, "V^{(hh)}", "R^{(hh)}", False),
        (READOUT, r"s_t = \tanh(h_t)", "s_t = 2 h_t", False),
        (READOUT, r"L_t = -\log", r"L_t = -2 \log", False),
        (FINAL, r"\frac{1}{2}", r"\frac{1}{3}", False),
        (FINAL, "h_T", "h_1", False),
        ("RNN language model", r"\sigma(\mathbf{h}", r"\tanh(\mathbf{h}", True),
        ("RNN language model", "{(t+1)}", "{(t-1)}", False),
        ("Word embeddings and the next word", "rho = tanh", "rho = relu", True),
        ("Word embeddings and the next word", "(e_t, s_{t-1})", "(s_{t-1}, e_t)", False),
    ],
)
def test_a_reference_is_found_by_tables_and_forward_pass(
    heading: str, printed: str, instead: str, is_known: bool, tmp_path: Path
) -> None:
    """The same symbols with another equation are another model, and its gradient must not be held against this one's."""
    page = (ROOT / "examples/pages" / PAGE_OF[heading]).read_text(encoding="utf-8")
    page = page[page.index(f"## {heading}\n") :]
    page = page[: page.find("\n## ", 1)]
    assert printed in page
    assert (reference_of(page.replace(printed, instead), heading, tmp_path) is not None) is is_known


# --- faults ----------------------------------------------------------------------------------------------------------

FAULTS = {
    "the net from left to right walked its own way": (
        DEEP, "bidirectional", "for t in reversed(range(T)):\n            right.backward", "for t in range(T):\n            right.backward",
    ),
    "the net from right to left walked its own way": (
        DEEP, "bidirectional", "for t in range(T):\n            left.backward", "for t in reversed(range(T)):\n            left.backward",
    ),
    "a layer that hands nothing down": (
        DEEP, "bidirectional", "        d_top = d_x\n", "        d_top = np.zeros_like(d_x)\n",
    ),
    "the parameters of the layer above": (
        "rnn --layers 3 --bidirectional", "bidirectional", "right.backward(p, cells", "right.backward(above(p, pairs, i), cells",
    ),
    "the layer above left out": (
        "LSTM network forward", "lstm_network", "else d[layers[l - 1].h][t]", "else 0 * d[layers[l - 1].h][t]",
    ),
    "nothing sent back by the next step": (
        "LSTM network forward", "layer", "= d[self.name(state)][before]", "= 0 * d[self.name(state)][before]",
    ),
    "the last step alone for the sum over steps": ("LSTM network forward", "lstm_network", "d.W_o += ", "d.W_o = "),
    "a softmax of which each element has its own gradient alone": (
        "LSTM network forward", "softmax", "(d_y[:, np.newaxis] - d_y)", "(d_y[:, np.newaxis] - 0 * d_y)",
    ),
    "the gradient of a word's projection overwritten": ("Modelling language", "lstm_network", "d.P += ", "d.P = "),
    "the word of this step for the next one": (
        "Modelling language", "lstm_network", "(s.Y[t] - one_hot(s.w_next[t]", "(s.Y[t] - one_hot(s.w[t]",
    ),
    "nothing from decoder to encoder": ("Translation, equations (23) to (26)", "encoders", "d.h[self.last(s)] += d_end", "pass"),
    "the decoder's start handed to the first word": (
        "Translation, equations (23) to (26)", "encoders", "d.h[self.last(s)] += d_end", "d.h[0] += d_end",
    ),
    "shared weights counted in the decoder alone": ("Translation, equations (23) to (26)", "encoders", "d.W_hh += ", "d.W_hh + "),
    "a source that was read backwards walked as if it weren't": (
        "Translation, extension V", "encoders", "in reversed(self.steps(s))", "in self.steps(s)",
    ),
    "the ends of the two directions exchanged": (
        "Translation, extension IV", "encoders", "d.h_left[0] += d_end", "d.h_left[len(s.x) - 1] += d_end",
    ),
    "what is predicted not fed back": (
        "Translation, extension II and equation (27)", "translation", "d.y_hat[t - 1] += p.V_hy.T @ d_b", "pass",
    ),
    "the context read at the first step alone": (
        "Translation, extension II and equation (27)", "translation", "d_c += p.V_hc.T @ d_b", "d_c = p.V_hc.T @ d_b",
    ),
    "the encoder's top read by the first layer alone": (
        "Translation, extension III", "translation_layers", 'd_c += p[f"R_{i}"].T @ d_b', 'd_c += (i == 1) * p[f"R_{i}"].T @ d_b',
    ),
    "a loss of which the sum alone has a gradient": (
        "LSTM with its readout and loss, equations (2) to (10)", "prints", "d[self.loss][t] + (d[self.total]", "(d[self.total]",
    ),
    "the tanh of a readout passed over": (
        "GRU with its readout and loss, equations (11) to (17)", "prints", "d_read * tanh_prime(s[h][t]) if", "d_read if",
    ),
    "a target without a gradient": ("GRU with a loss at the final step, slide 'BPTT steps'", "prints", "d.y -= d_h", "pass"),
    "a loss at the first step for the final one": (
        "GRU with a loss at the final step, slide 'BPTT steps'", "prints", "d[h][len(s.x) - 1] += d_h", "d[h][0] += d_h",
    ),
    "a word's row overwritten": ("RNN language model", "prints", "d.E += ", "d.E[...] = "),
    "the readout's matrix overwritten": ("LSTM language model", "prints", "d_V += d_z", "d_V[...] = d_z"),
    "states that hand nothing to the step before": ("GRU language model", "prints", "t, t - 1, d_x[t])", "t, t, d_x[t])"),
    "no slope of the readout's sigmoid": (
        "RNN with its readout, slide 'Review: RNN update rule'", "prints", "d.o[t] * sigma_prime(p.W_o.T @ s[h][t] + p.b_o)", "d.o[t]",
    ),
    "a bias of the words left out": ("Word embeddings and the next word", "prints", "            if self.b:\n", "            if 0:\n"),
    "steps walked from the first one": (
        "The Complete LSTM", "prints", "for t in reversed(range(len(s[x]))):", "for t in range(len(s[x])):",
    ),
    "what a mask keeps not sent back": ("lstm --masked", "layer", "d_h_prev += (1 - kept.m) * d_h", "pass"),
    "a mask passed over": ("lstm --masked", "layer", "d_h = kept.m * d_h", "pass"),
    "the mask of one layer alone": ("gru --no-bias --masked --layers 2 --bidirectional", "layer", "d.m[t] += ", "d.m[t] = "),
    "nothing from the second network to the first": (
        "A posteriori sequence to sequence", "sequence_to_sequence", "d.h[S - 1] += d.g[-1]", "pass",
    ),
}  # fmt: skip
"""What is wrong: (the section or command, the file, what stands there, what stands there instead)."""


def above(p: Any, pairs: Any, i: int) -> Any:
    """The parameters of the next layer under the names of this one; of the top layer its own."""
    if i + 1 == len(pairs) or i == 0:  # the first layer's matrices have other shapes
        return p
    names = zip(pairs[i][0].parameters, pairs[i + 1][0].parameters, strict=True)
    return type(p)({**p, **{mine: p[other] for mine, other in names}})


def planted(monkeypatch: pytest.MonkeyPatch, file: str, printed: str, instead: str) -> None:
    """Every function and method of a file of references as it is with another text."""
    module = importlib.import_module(f"verify.handwritten.{file}")
    text = inspect.getsource(module)
    assert text.count(printed) == 1
    namespace = dict(vars(module)) | {"above": above}
    exec(compile(text.replace(printed, instead), f"{file}.py", "exec"), namespace)
    for name, one in list(vars(module).items()):
        if inspect.isfunction(one) and one.__module__ == module.__name__:
            monkeypatch.setattr(one, "__code__", namespace[name].__code__)
        elif inspect.isclass(one) and one.__module__ == module.__name__:
            for method, own in vars(one).items():
                if inspect.isfunction(own) and method in ("forward", "backward"):
                    monkeypatch.setattr(own, "__code__", vars(namespace[name])[method].__code__)
    monkeypatch.setattr(module, "above", above, raising=False)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_in_a_reference_is_seen(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the complex step of the reference's own forward pass, and by the verifier, which says that it is the reference that differs."""
    where, file, printed, instead = FAULTS[fault]
    cell, module, hand = derived(where)
    problem = Problem(reference(where), ordered=[4] * len(SIZES))  # so that any matrix fits
    assert max(errors(problem, problem.gradients()).values()) < problem.tolerance
    planted(monkeypatch, file, printed, instead)
    assert max(errors(problem, problem.gradients()).values()) > 1e-6
    assert handwritten_for(cell.name, module) is not None  # the forward pass is what it was
    kernel = Kernel(module, cell.name)
    data = draw(kernel.dims, ORDINARY)
    _, tape = hand.forward(data.parameters, data.inputs, data.state)
    found, expected = kernel.flat(hand.backward(data.parameters, tape, data.cotangents)), kernel.gradients(data)
    wrong = {block for block in expected if relative(found[block], expected[block]) > tolerance("emitted", "hand-written").value}
    assert wrong


def test_the_verdict_blames_the_reference(monkeypatch: pytest.MonkeyPatch) -> None:
    where, *edit = FAULTS["nothing from decoder to encoder"]
    cell, module, hand = derived(where)
    planted(monkeypatch, *edit)
    report = check(module, name=cell.name, hand=hand, quick=True)
    assert not report.passed
    said = [finding.line() for finding in report.failures()]
    assert said
    assert all("hand-written differs" in line for line in said), said
