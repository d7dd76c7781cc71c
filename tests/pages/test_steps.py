"""Pages that speak of all steps together: their kernels compute what the same networks written out in NumPy do."""

from __future__ import annotations

import functools
from types import ModuleType

import pytest

from derive.compiler import compile_cell
from derive.pages import PageError, read
from tests import arguments as args
from tests import bounds
from tests.derive.test_networks import WRITTEN
from tests.kernels import module_of

RNN = r"h_t = \tanh(W x_t + U h_{t-1} + b)"
LEFT = r"h_t = \tanh(W x_t + U h_{t+1} + b)"

# the function of tests/derive/test_networks.py -> the page, and the sizes that its tables are called by
PAGES = {
    "last": [RNN, r"z = \tanh(V h_T + a)", "<!-- derive: dim z = K -->"],
    "last_of_the_left": [LEFT, r"z = V (h_1 + h_T)", "<!-- derive: dim z = K -->"],
    "caption": [
        r"h_0 = \tanh(A v)",
        RNN,
        r"J_t = \|V h_t - r_t\|^2",
        r"J = \frac{1}{T} \sum_{t=1}^{T} J_t",
        "<!-- derive: v = example; dim v = E; dim r = K -->",
    ],
    "pooled": [
        RNN,
        r"e_t = w^\top \tanh(M h_t)",
        r"\alpha_t = \operatorname{softmax}_t(e_t)",
        r"c = \sum_{k=1}^{T} \alpha_k h_k",
        r"y_t = \tanh(V h_t + C c)",
        "<!-- derive: M = matrix; dim M = H, H; dim y = K; C = matrix -->",
    ],
    "largest": [RNN, r"c = \tanh(\max_t h_t)", r"z = V (c + h_1)", "<!-- derive: dim z = K -->"],
    "two": [RNN, r"d_0 = \tanh(V h_T + a)", r"d_t = \tanh(R d_{t-1} + S h_t + Z h_T)", "<!-- derive: dim d = K -->"],
    "counted": [RNN, r"z = \sum_t (V h_t + a)", "<!-- derive: dim z = K -->"],
}


def page(*lines: str) -> str:
    return "\n\n".join(line if line.startswith("<!--") else f"$${line}$$" for line in lines)


@functools.cache
def kernel_of(name: str) -> ModuleType:
    return module_of(compile_cell(read("page.md", text=page(*PAGES[name])).cells[0].cell), name)


@pytest.mark.parametrize("name", PAGES)
def test_a_page_computes_what_the_network_written_out_does(name: str) -> None:
    kernel = kernel_of(name)
    call = args.draw(kernel, T=5)
    found = args.forward(kernel, call)[0]
    assert args.worst(found, WRITTEN[name](call))[0] < bounds.of_call(call)


@pytest.mark.parametrize("name", PAGES)
def test_its_gradients_are_those_of_complex_steps(name: str) -> None:
    kernel = kernel_of(name)
    call = args.draw(kernel)
    assert args.worst(args.backward(kernel, call), args.by_complex_step(kernel, call))[0] < bounds.of_call(call)


def test_the_table_says_what_has_one_value_an_example() -> None:
    found = "\n".join(read("page.md", text=page(*PAGES["caption"])).cells[0].reading.notes)
    assert "of v, J there is one value an example, not one at each step" in found


def test_a_loss_and_its_sum_have_names_of_their_own() -> None:
    cell = read("page.md", text=page(*PAGES["caption"])).cells[0].cell
    assert [str(value.name) for value in cell.outputs] == ["h", "J_t", "J"]


def test_without_a_time_the_last_value_is_a_name() -> None:
    cell = read("page.md", text=page(r"h_t = \tanh(W_T x_t + U_T h_{t-1} + b_T)")).cells[0].cell
    assert [str(value.name) for value in cell.parameters] == ["W_T", "U_T", "b_T"]


def test_a_declaration_makes_the_last_value_a_parameter() -> None:
    cell = read("page.md", text=page(RNN, "y_t = V h_t + h_T"), let={"h_T": "vector"}).cells[0].cell
    assert "h_T" in [str(value.name) for value in cell.parameters]


def test_a_start_that_is_asked_about_is_never_passed_over() -> None:
    with pytest.raises(PageError, match='--let "v=example" for an input, one an example'):
        read("page.md", text=page(r"h_0 = \tanh(P v)", RNN))


MEANS = {r"\frac{1}{T-1}\sum_{t=1}^{T-1} \|h_t\|^2": slice(-1), r"\frac{1}{2(T-1)}\sum_{t=2}^{T} 2 \|h_t\|^2": slice(1, None)}


@pytest.mark.parametrize("steps", [0, 1, 2, 5])
@pytest.mark.parametrize("mean", MEANS)
def test_a_mean_without_one_step_is_that_of_the_others_and_nought_where_there_are_none(mean: str, steps: int) -> None:
    kernel = module_of(compile_cell(read("page.md", text=page(RNN, rf"J = {mean}")).cells[0].cell), "mean")
    call = args.draw(kernel, T=steps)
    found = args.forward(kernel, call)[0]
    h = found["h"][MEANS[mean]]
    expected = (h**2).sum(axis=(0, 2)) / max(len(h), 1)
    assert args.worst({"J": found["J"]}, {"J": expected})[0] < bounds.of_call(call)
