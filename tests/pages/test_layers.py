"""Pages with the index of a layer: each is read as the page that writes its layers out, or refused with one message."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import numpy as np
import pytest

from derive import sheet
from derive.derivation import derive
from derive.pages import PageError, read
from tests import bounds
from tests.kernels import kernel_of_cell
from tests.pages.gradients import BATCH, LIMIT, STEPS, draw, sizes_of, worst_gradient_error


def displays(*lines):
    return "\n\n".join(line if line.startswith(("#", "<!--")) else f"$${line}$$" for line in lines)


def page(*lines, **let):
    return read("page.md", text=displays(*lines), let=let)


PLAIN = r"h_t^{(l)} = \tanh(W^{(l)} h_t^{(l-1)} + U^{(l)} h_{t-1}^{(l)} + b^{(l)})"
ONE = r"h_t^{(1)} = \tanh(W^{(1)} x_t + U^{(1)} h_{t-1}^{(1)} + b^{(1)})"
TWO = r"h_t^{(2)} = \tanh(W^{(2)} h_t^{(1)} + U^{(2)} h_{t-1}^{(2)} + b^{(2)})"
THREE = r"h_t^{(3)} = \tanh(W^{(3)} h_t^{(2)} + U^{(3)} h_{t-1}^{(3)} + b^{(3)})"

# title -> (the page, what is declared, the page with its layers written out)
READ = {
    "one equation": ([PLAIN], {"L": "2"}, [ONE, TWO]),
    "the top": ([PLAIN, r"y_t = V h_t^{(L)}"], {"L": "3"}, [ONE, TWO, THREE, r"y_t = V h_t^{(3)}"]),
    "the layer below the top": ([PLAIN, r"y_t = V h_t^{(L-1)}"], {"L": "3"}, [ONE, TWO, THREE, r"y_t = V h_t^{(2)}"]),
    "one layer": ([PLAIN], {"L": "1"}, [ONE]),
    "a layer by its number": ([PLAIN, r"y_t = V h_t^{(1)}"], {"L": "2"}, [ONE, TWO, r"y_t = V h_t^{(1)}"]),
    "another letter": ([PLAIN.replace("(l", "(i")], {"L": "2"}, [ONE, TWO]),
    "a range": ([PLAIN + r", \quad l = 1, \ldots, L"], {"L": "2"}, [ONE, TWO]),
    "a range with its own name": ([PLAIN + r" \qquad (1 \le l \le N)"], {"N": "2"}, [ONE, TWO]),
    "a range that says how many": ([PLAIN + r", \quad l = 1, \dots, 2"], {}, [ONE, TWO]),
    "declared on the page": (["<!-- derive: L = 2 -->", PLAIN], {}, [ONE, TWO]),
    "counted from the layer below": (
        [r"h_t^{(l+1)} = \tanh(W^{(l+1)} h_t^{(l)} + U^{(l+1)} h_{t-1}^{(l+1)} + b^{(l+1)})"],
        {"L": "2"},
        [ONE, TWO],
    ),
    "without brackets": ([PLAIN.replace("{(l)}", "l").replace("{(l-1)}", "{l-1}")], {"L": "2"}, [ONE, TWO]),
    "in square brackets beside the time": (
        [r"a^{[l]\langle t\rangle} = \tanh(W^{[l]} a^{[l-1]\langle t\rangle} + U^{[l]} a^{[l]\langle t-1\rangle})"],
        {"L": "2"},
        [r"a_t^{(1)} = \tanh(W^{(1)} x_t + U^{(1)} a_{t-1}^{(1)})", r"a_t^{(2)} = \tanh(W^{(2)} a_t^{(1)} + U^{(2)} a_{t-1}^{(2)})"],
    ),
    "below, as declared": (
        [r"h_{t,l} = \tanh(W_l h_{t,l-1} + U_l h_{t-1,l} + b_l)", r"y_t = V h_{t,L}"],
        {"layer": "l", "L": "2"},
        [ONE, TWO, r"y_t = V h_t^{(2)}"],
    ),
    "another letter of time": (
        [PLAIN.replace("h_t", "h_k").replace("{t-1}", "{k-1}")],
        {"time": "k", "L": "2"},
        [ONE, TWO],
    ),
    "rows, calligraphic": (
        [r"\mathbf{H}_t^{(l)} = \tanh(\mathbf{H}_t^{(l-1)} W_{xh}^{(l)} + \mathbf{H}_{t-1}^{(l)} W_{hh}^{(l)} + b_h^{(l)})",
         r"O_t = H_t^{(L)} W_{hq}"],
        {"L": "2"},
        [
            r"H_t^{(1)} = \tanh(X_t W_{xh}^{(1)} + H_{t-1}^{(1)} W_{hh}^{(1)} + b_h^{(1)})",
            r"H_t^{(2)} = \tanh(H_t^{(1)} W_{xh}^{(2)} + H_{t-1}^{(2)} W_{hh}^{(2)} + b_h^{(2)})",
            r"O_t = H_t^{(2)} W_{hq}",
        ],
    ),
    "a parameter that all layers share": (
        [PLAIN.replace("U^{(l)}", "U")],
        {"L": "2"},
        [ONE.replace("U^{(1)}", "U"), TWO.replace("U^{(2)}", "U")],
    ),
    "a first layer of its own": (
        [r"h_t^{(1)} = \sigma(A e_t + h_{t-1}^{(1)})", PLAIN + r", \quad l > 1"],
        {"L": "3"},
        [r"h_t^{(1)} = \sigma(A e_t + h_{t-1}^{(1)})", TWO, THREE],
    ),
    "a first layer of its own, without a range": (
        [PLAIN, r"h_t^{(1)} = \sigma(A e_t + h_{t-1}^{(1)})"],
        {"L": "2"},
        [r"h_t^{(1)} = \sigma(A e_t + h_{t-1}^{(1)})", TWO],
    ),
    "layer 0 as the page defines it": (
        [r"h_t^{(0)} = E w_t", PLAIN],
        {"L": "2"},
        [r"h_t^{(0)} = E w_t", ONE.replace("x_t", "h_t^{(0)}"), TWO],
    ),
    "layer 0 without a time": ([r"e_t = E w_t", r"h^{(0)} = e", PLAIN], {"L": "2"}, [r"e_t = E w_t", ONE.replace("x_t", "e_t"), TWO]),
    "starts of layers": ([PLAIN, r"h_0^{(l)} = 0"], {"L": "2"}, [ONE, TWO]),
    "gates, in any order": (
        [r"h_t^{(l)} = (1 - z_t^{(l)}) \odot h_{t-1}^{(l)} + z_t^{(l)} \odot W^{(l)} h_t^{(l-1)}",
         r"z_t^{(l)} = \sigma(W_z^{(l)} h_t^{(l-1)})"],
        {"L": "2"},
        [
            r"h_t^{(1)} = (1 - z_t^{(1)}) \odot h_{t-1}^{(1)} + z_t^{(1)} \odot W^{(1)} x_t",
            r"z_t^{(1)} = \sigma(W_z^{(1)} x_t)",
            r"h_t^{(2)} = (1 - z_t^{(2)}) \odot h_{t-1}^{(2)} + z_t^{(2)} \odot W^{(2)} h_t^{(1)}",
            r"z_t^{(2)} = \sigma(W_z^{(2)} h_t^{(1)})",
        ],
    ),
    "a gate that is called like the letter": (
        [r"i_t^{(i)} = \sigma(W_i^{(i)} h_t^{(i-1)})", r"h_t^{(i)} = h_{t-1}^{(i)} + i_t^{(i)}"],
        {"L": "2"},
        [
            r"i_t^{(1)} = \sigma(W_i^{(1)} x_t)",
            r"h_t^{(1)} = h_{t-1}^{(1)} + i_t^{(1)}",
            r"i_t^{(2)} = \sigma(W_i^{(2)} h_t^{(1)})",
            r"h_t^{(2)} = h_{t-1}^{(2)} + i_t^{(2)}",
        ],
    ),
    "every layer reads the input, and the output all layers": (
        [r"h_t^1 = \tanh(A x_t + B h_{t-1}^1)", r"h_t^n = \tanh(W_{xh}^n x_t + U^n h_t^{n-1} + R^n h_{t-1}^n), \quad n > 1",
         r"y_t = b + \sum_{n=1}^N V^n h_t^n"],
        {"N": "2"},
        [
            r"h_t^{(1)} = \tanh(A x_t + B h_{t-1}^{(1)})",
            r"h_t^{(2)} = \tanh(W_{xh}^{(2)} x_t + U^{(2)} h_t^{(1)} + R^{(2)} h_{t-1}^{(2)})",
            r"y_t = b + (V^{(1)} h_t^{(1)} + V^{(2)} h_t^{(2)})",
        ],
    ),
    "weights between two layers": (
        [r"h_t^l = \tanh(W_{h^{l-1} h^l} h_t^{l-1} + W_{h^l h^l} h_{t-1}^l)"],
        {"L": "2"},
        [
            r"h_t^{(1)} = \tanh(W_{h^{(0)} h^{(1)}} x_t + W_{h^{(1)} h^{(1)}} h_{t-1}^{(1)})",
            r"h_t^{(2)} = \tanh(W_{h^{(1)} h^{(2)}} h_t^{(1)} + W_{h^{(2)} h^{(2)}} h_{t-1}^{(2)})",
        ],
    ),
    "what the layer above was, a step before": (
        [PLAIN[:-1] + r" + R^{(l)} h_{t-1}^{(l+1)}), \quad l < L", r"h_t^{(L)} = \tanh(W h_t^{(L-1)} + U h_{t-1}^{(L)})"],
        {"L": "2"},
        [ONE[:-1] + r" + R^{(1)} h_{t-1}^{(2)})", r"h_t^{(2)} = \tanh(W h_t^{(1)} + U h_{t-1}^{(2)})"],
    ),
    "no recurrence": ([r"h_t^{(l)} = \tanh(W^{(l)} h_t^{(l-1)})"], {"L": "2"}, [r"h_t^{(1)} = \tanh(W^{(1)} x_t)",
         r"h_t^{(2)} = \tanh(W^{(2)} h_t^{(1)})"]),
    "a number for each layer": (
        [r"h_t^{(l)} = \alpha^{(l)} h_{t-1}^{(l)} + W^{(l)} h_t^{(l-1)}"],
        {"L": "2", "alpha^{(l)}": "0.5"},
        [r"h_t^{(1)} = 0.5 h_{t-1}^{(1)} + W^{(1)} x_t", r"h_t^{(2)} = 0.5 h_{t-1}^{(2)} + W^{(2)} h_t^{(1)}"],
    ),
    "an arrow": (
        [r"\overrightarrow{h}_t^{(l)} = \tanh(\overrightarrow{W}^{(l)} \overrightarrow{h}_t^{(l-1)} + \overrightarrow{h}_{t-1}^{(l)})"],
        {"L": "2"},
        [
            r"\overrightarrow{h}_t^{(1)} = \tanh(\overrightarrow{W}^{(1)} x_t + \overrightarrow{h}_{t-1}^{(1)})",
            r"\overrightarrow{h}_t^{(2)} = \tanh(\overrightarrow{W}^{(2)} \overrightarrow{h}_t^{(1)} + \overrightarrow{h}_{t-1}^{(2)})",
        ],
    ),
    "headings": (["# Layers", PLAIN, "# Output", r"y_t = V h_t^{(L)}"], {"L": "2"}, [ONE, TWO, r"y_t = V h_t^{(2)}"]),
}  # fmt: skip


@pytest.mark.parametrize("title", READ)
def test_layers_are_read_as_if_they_were_written_out(title):
    lines, let, written_out = READ[title]
    (found,), (expected,) = page(*lines, **let).cells, page(*written_out).cells
    assert found.reading.equations == expected.reading.equations
    assert [(row.symbol, row.role) for row in found.reading.rows] == [(row.symbol, row.role) for row in expected.reading.rows]


def test_there_are_twenty_and_more():
    assert len(READ) >= 20
    assert len(REFUSED) >= 12


def test_a_network_of_three_layers_is_the_step_written_by_hand():
    """In its numbers, and in its gradients."""
    cell = page(PLAIN, r"y_t = V h_t^{(L)} + a", L="3").cells[0].cell
    kernel = kernel_of_cell(cell)
    p, given, state, _ = draw(kernel)
    outputs, _ = kernel.forward(p, given, state)
    limit = bounds.rounded(bounds.of_recurrence(STEPS, BATCH, fan_in=sum(sizes_of(kernel).values())))
    h = dict(state)
    for t in range(STEPS):
        below = given["x"][t]
        for n in (1, 2, 3):
            below = np.tanh(below @ p[f"W_{n}"].T + h[f"h_{n}"] @ p[f"U_{n}"].T + p[f"b_{n}"])
            h[f"h_{n}"] = below
            assert np.abs(outputs[f"h_{n}"][t] - below).max() <= limit
        assert np.abs(outputs["y"][t] - (below @ p["V"].T + p["a"])).max() <= limit * (1 + np.abs(outputs["y"]).max())
    assert worst_gradient_error(cell) < LIMIT


# ---- sizes


def shapes(*lines, dims=None, **let):
    rows = read("page.md", text=displays(*lines), let=let, dims=dims or {}).cells[0].reading.rows
    return {row.symbol: row.shape for row in rows}


def test_layers_are_of_one_size_and_the_first_reads_the_input():
    found = shapes(PLAIN, L="3")
    assert found["W_1"] == ("H", "D")
    assert {found[name] for name in ("W_2", "W_3", "U_1", "U_2", "U_3")} == {("H", "H")}
    assert {found[name] for name in ("h_1", "h_2", "h_3", "b_1")} == {("H",)}


@pytest.mark.parametrize("below", ["H_{l-1}", "H_{ l - 1 }"])
def test_layers_have_sizes_of_their_own_where_that_is_declared(below):
    found = shapes(PLAIN, L="3", dims={"W^{(l)}": f"H_l, {below}"})
    assert [found[f"W_{n}"] for n in (1, 2, 3)] == [("H_1", "H_0"), ("H_2", "H_1"), ("H_3", "H_2")]
    assert shapes(f"<!-- derive: L = 2; dim W^{{(l)}} = H_l, {below} -->", PLAIN)["x"] == ("H_0",)


def test_a_layer_that_can_not_be_of_the_size_of_the_others_has_its_own():
    """The second layer of two adds its input to one that is concatenated."""
    found = shapes(
        r"h_t^{(1)} = W x_t + U h_{t-1}^{(1)}", r"h_t^{(l)} = [h_t^{(l-1)}; h_t^{(l-1)}] + h_{t-1}^{(l)}, \quad l > 1", L="2"
    )
    assert found["h_2"] == (f"2*{found['h_1'][0]}",)


def test_identities_of_layers_have_sizes_of_their_own():
    found = shapes(r"h_t^{(l)} = (I - A^{(l)}) W^{(l)} h_t^{(l-1)} + h_{t-1}^{(l)}", L="2", dims={"h^{(1)}": "M", "h^{(2)}": "N"})
    assert (found["A_1"], found["A_2"]) == (("M", "M"), ("N", "N"))


# ---- what is refused: title -> (the page, what is declared, how the message begins, what it says to do)

REFUSED = {
    "how many": ([PLAIN], {}, "`h_t^{(l-1)}` is a layer of several: expected to know how many there are, got no number L.", '--let "L=3"'),
    "no layer": ([PLAIN], {"L": "0"}, "L = 0 is declared: expected a number of layers from 1 to 64.", '--let "L=3"'),
    "half a layer": ([PLAIN], {"L": "2.5"}, "L = 5/2 is declared: expected a number of layers from 1 to 64.", '--let "L=3"'),
    "a name of the number that isn't declared": (
        [PLAIN + r", \quad l = 1, \dots, N"], {"L": "2"}, "`h_t^{(l-1)}` is a layer of several: expected to know how many", '--let "N=3"',
    ),
    "a layer out of range": (
        [PLAIN, r"y_t = V h_t^{(4)}"], {"L": "3"},
        "`h_t^{(4)}` is layer 4 which nothing defines: expected one of the layers 1, 2, 3; L = 3.",
        "Correct the index",
    ),
    "the layer above the top": (
        [PLAIN[:-1] + r" + R h_{t-1}^{(l+1)})"], {"L": "2"},
        "`h_{t-1}^{(l+1)}` is layer 3, where l = 2, which nothing defines: expected one of the layers 1, 2; L = 2.", "that layer",
    ),
    "a later layer at the same step": (
        [r"h_t^{(l)} = \tanh(W^{(l)} h_t^{(l+1)} + U^{(l)} h_{t-1}^{(l)})"], {"L": "3"},
        "`h_t^{(l+1)}` is a later layer than `h_t^{(l)}`, at the same step: expected this layer, or one below.", "at the step before",
    ),
    "a range that begins above a layer that nothing defines": (
        [PLAIN + r", \quad l > 1"], {"L": "3"},
        "`h_t^{(l-1)}` is layer 1, where l = 2, which nothing defines: expected one of the layers 2, 3",
        "write the equation of that layer",
    ),
    "a range beyond the top": (
        [PLAIN + r", \quad l = 1, \dots, 4"], {"L": "3"}, "this range makes layers 1 to 4: expected layers from 1 to L = 3.",
        "Correct the range",
    ),
    "a layer that two equations define": (
        [PLAIN + r", \quad l = 1, \dots, L", ONE], {"L": "3"}, "h_1 is defined twice: expected one definition.", "a name of its own",
    ),
    "a letter that nothing bounds": (
        [PLAIN, r"y_t = V h_t^{(l)}"], {"L": "3"},
        "`h_t^{(l)}` carries the layer's letter l, and what is defined here has no layer: expected one layer.", "the top is written with L",
    ),
    "a symbol without its layer": (
        [PLAIN, r"y_t = V h_t"], {"L": "3"}, "`h_t` stands without a layer, and h has one elsewhere: expected to know which.", "^{(L)}",
    ),
    "a letter below beside layers above": (
        [PLAIN.replace("W^{(l)}", "W_l")], {"L": "3"},
        "`W_l` carries the layer's letter l where no layer is read: expected to know whether it is one.", '--let "layer=l"',
    ),
    "two letters that shift": (
        [PLAIN.replace("h_t", "h_k").replace("{t-1}", "{k-1}")], {"L": "3"}, "which letter is the time? Expected one, got k, l.",
        '--let "time=k"',
    ),
    "two letters of layers": (
        [r"h_t^{(i,j)} = h_{t-1}^{(i,j)} + h_t^{(i-1,j)} + h_t^{(i,j-1)}"], {"L": "3"},
        "which letter counts the layers, i or j? Expected one.",
        '--let "layer=i"',
    ),
    "a declared letter that never shifts": (
        [r"h_t^{(l)} = \tanh(W^{(l)} x_t + h_{t-1}^{(l)})"], {"L": "3", "layer": "l"},
        "`layer = l` is declared, and no index shifts l: expected a layer that reads the one below it.", "leave it out",
    ),
    "a declared letter that is the time": (
        [PLAIN], {"L": "3", "layer": "t"}, "`layer = t` is the letter of time, too: expected another.", "leave it out",
    ),
    "an input that may be another": (
        [r"e_t = E w_t", PLAIN], {"L": "3"}, "`h_t^{(l-1)}` of the first layer may be e_t, or an input: expected to know which.",
        "Define layer 0",
    ),
    "two inputs of the first layer": (
        [PLAIN, r"c_t^{(l)} = c_{t-1}^{(l)} + c_t^{(l-1)}"], {"L": "2"},
        "`c_t^{(l-1)}` and `h_t^{(l-1)}` would both be the input at layer 0: expected one.", "Define them at layer 0",
    ),
    "a start that may be layer 0": (
        [r"h^{(0)} = 0", PLAIN], {"L": "2"}, "`h^{(0)}` may be a start, or layer 0, which `h_t^{(l-1)}` of the first layer reads",
        "with the index of time",
    ),
    "a sum that ends elsewhere": (
        [PLAIN, r"y_t = \sum_{l=1}^{M} h_t^{(l)}"], {"L": "3"}, "`h_t^{(l-1)}` is a layer of several: expected to know how many there are",
        '--let "M=3"',
    ),
    "a range in words of its own": (
        [PLAIN + r", \quad l \neq 2"], {"L": "3"}, r"`, \quad l \neq 2` behind this equation isn't read", "Write them as `l = 1",
    ),
    "a condition that isn't a range": (
        [PLAIN + r", \quad \text{if } x_t > 0"], {"L": "3"}, "a condition beside an equation isn't read", "with a gate",
    ),
    "two letters under two headings": (
        ["# A", "<!-- derive: layer = l; L = 2 -->", PLAIN, "# B", "<!-- derive: layer = k -->", r"s_t = \tanh(V u_t + s_{t-1})"], {},
        "`layer` is declared as `l` and as `k`: expected one.", "Leave one out.",
    ),
    "below, undeclared": (
        [r"h_{l,t} = \tanh(W_l h_{l-1,t} + U_l h_{l,t-1})"], {},
        "`h_{l-1,t}` and `h_{l,t}` are one quantity at two layers, and nothing joins them",
        '--let "layer=l; L=3"',
    ),
}  # fmt: skip


@pytest.mark.parametrize("title", REFUSED)
def test_what_says_no_layers_is_refused(title):
    lines, let, begins, todo = REFUSED[title]
    with pytest.raises(PageError) as caught:
        page(*lines, **let)
    where, message = str(caught.value).split(": ", 1)
    assert re.fullmatch(r"page\.md:\d+", where)
    assert message.startswith(begins)
    assert todo in message.split("\n")[-1]


def test_what_counts_within_a_step_is_layers_where_weights_are_counted_or_it_is_said():
    """A loop within a step, which has one set of weights, is refused by its name; see test_passed_over."""
    counted = r"z_t^{(l)} = \tanh(W^{(l)} z_t^{(l-1)})"
    assert page(counted, r"h_t = h_{t-1} + z_t^{(L)}", L="2").cells[0].reading.equations == (
        "z_1ₜ = tanh(W_1 xₜ)", "z_2ₜ = tanh(W_2 z_1ₜ)", "hₜ = hₜ₋₁ + z_2ₜ",
    )  # fmt: skip
    loop = [r"h_t^{(0)} = \tanh(W h_{t-1} + C x_t)", r"h_t^{(s+1)} = \tanh(C x_t + A h_t^{(s)})", "h_t = h_t^{(S)}"]
    for step in ("t", "{t+1}"):
        with pytest.raises(PageError, match="two counts within one step"):
            page(*[line.replace("_t", f"_{step}").replace("{t-1}", "t" if step != "t" else "{t-1}") for line in loop], S="2")
    assert page(*loop, S="2", layer="s").cells[0].reading.equations == (
        "h_0ₜ = tanh(W hₜ₋₁ + C xₜ)", "h_1ₜ = tanh(C xₜ + A h_0ₜ)", "h_2ₜ = tanh(C xₜ + A h_1ₜ)", "hₜ = h_2ₜ",
    )  # fmt: skip


def test_one_layer_is_read_alone_where_that_is_said():
    assert page(PLAIN, h_l_minus_1="input").cells[0].reading.equations == ("h_lₜ = tanh(W_l h_l_minus_1ₜ + U_l h_lₜ₋₁ + b_l)",)


def test_an_index_that_never_shifts_is_a_name():
    assert page(r"h_t^{(l)} = \tanh(W^{(l)} x_t + h_{t-1}^{(l)})").cells[0].reading.equations == ("h_lₜ = tanh(W_l xₜ + h_lₜ₋₁)",)


def test_the_reading_says_what_was_done():
    notes = page(PLAIN, L="2").cells[0].reading.notes
    assert "the layers l = 1, ..., 2 are written out; the number of a layer comes last in a name" in notes
    assert "`h_t^{(l-1)}` of the first layer is the input x" in notes


def test_a_start_that_is_layer_0_is_not_listed_as_passed_over():
    assert page(r"e_t = E w_t", r"h^{(0)} = e", PLAIN, L="2").skipped == ()


# ---- the sheet


@pytest.fixture(scope="module")
def four():
    """A network of four layers, whose first and last differ from those between."""
    return derive(page(PLAIN, r"y_t = V h_t^{(L)}", L="4").cells[0].cell)


def test_the_sheet_prints_what_is_alike_once(four):
    text = sheet.text(four)
    forward = text[text.index("Forward\n") : text.index("Names\n")]
    assert forward.count(" = tanh") == 2
    assert "hₜ⁽¹⁾ = tanh(W⁽¹⁾ xₜ + U⁽¹⁾ hₜ₋₁⁽¹⁾ + b⁽¹⁾)" in forward
    assert "hₜ⁽ˡ⁾ = tanh(W⁽ˡ⁾ hₜ⁽ˡ⁻¹⁾ + U⁽ˡ⁾ hₜ₋₁⁽ˡ⁾ + b⁽ˡ⁾)\n          for l = 2, 3, 4" in forward
    backward = text[text.index("Backward\n") : text.index("Parameters\n")]
    assert re.search(r"∂L/∂hₜ⁽⁴⁾ = .*\n.*Vᵀ ∂L/∂yₜ", backward)
    assert re.search(r"∂L/∂hₜ⁽ˡ⁾ = .*\n.*W⁽ˡ⁺¹⁾ᵀ ∂L/∂a_hₜ⁽ˡ⁺¹⁾.*\n.*\n +for l = 3, 2, 1", backward)
    assert "∂L/∂b⁽ˡ⁾ = Σₜ ∂L/∂a_hₜ⁽ˡ⁾" in text
    assert "for l = 1, ..., 4" in text


def test_the_sheet_says_what_the_names_are_in_code(four):
    text = sheet.text(four)
    assert re.search(r"^layers     l = 1, \.\.\., 4: h⁽ˡ⁾ is h_1, \.\.\., h_4 in code", text, re.M)
    assert "states     h_1 (H,), h_2 (H,), h_3 (H,), h_4 (H,)" in text


def test_latex_has_layers_above(four):
    text = sheet.latex(four)
    assert r"h_{t}^{(l)} &= \tanh\left(W^{(l)} h_{t}^{(l-1)} + U^{(l)} h_{t-1}^{(l)} + b^{(l)}\right)" in text
    assert r"&\quad \text{for } l = 2, 3, 4" in text
    assert r"\left(W^{(l+1)}\right)^\top" in text
    assert not re.search(r"\^\{\(l[^)]*\)\}\^", text), "two superscripts"
    assert r"h_{t}^{(l)} &= " in sheet.markdown(four)


def test_json_has_the_layers_written_out(four):
    record = json.loads(sheet.as_json(four))
    forward = [one["text"] for one in record["programs"]["forward"]]
    assert "h_3ₜ = tanh(a_h_3ₜ)" in forward
    assert not any("⁽" in text for text in forward)


def test_a_page_without_layers_has_its_sheet_as_before():
    assert "⁽" not in sheet.text(derive(page(ONE, TWO).cells[0].cell))


@pytest.mark.parametrize("layer", [1, 2, 3])
def test_a_layer_that_differs_is_printed_in_its_own_form(layer):
    """Planted: one layer has another function; the others fold without it, wherever it stands."""
    lines = [ONE, TWO, THREE]
    lines[layer - 1] = lines[layer - 1].replace(r"\tanh", r"\sigma")
    cell = page(*lines).cells[0].cell
    names = {f"{name}_{n}": (name, n) for name in ("h", "W", "U", "b") for n in (1, 2, 3)}
    text = sheet.text(derive(replace(cell, layers=names)))
    forward = text[text.index("Forward\n") : text.index("Names\n")]
    assert f"hₜ⁽{'¹²³'[layer - 1]}⁾ = σ(" in forward
    assert ("for l = 2, 3" in forward) is (layer == 1)
    assert len(re.findall(r"^  hₜ", forward, re.M)) == (2 if layer == 1 else 3)
