"""The built-in cells: their names, parameters and options as the table of the project says, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import sympy as sp

from derive.cell import Cell, CellError
from derive.cells.registry import OptionError, build, declarations, variants
from derive.errors import DeriveError
from derive.functions import function
from derive.language import Eq, Ones, diagonal, matrix, sequence, vector
from derive.listing import listing
from tests import arguments as args
from tests import bounds
from tests.arguments import draw
from tests.kernels import kernel_of, kernel_of_cell
from tests.odd_cells import D, H, K, U, W, b, cell_of, h, x

tanh = function("tanh")
ALL = {cell.command: cell for declaration in declarations().values() for cell in variants(declaration)}
W_, U_, P_, p_, b_ = ("H", "D"), ("H", "H"), ("H", "H"), ("H",), ("H",)


def sigmoid(z: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-z))


def gates(letters: str, **more: Any) -> dict[str, Any]:
    """The parameters W_g, U_g, b_g of some gates, and more."""
    table = {f"{kind}_{g}": shape for g in letters for kind, shape in (("W", W_), ("U", U_), ("b", b_))}
    return table | more


# ---- names, tables, options

TABLES = {
    "rnn": {"W": W_, "U": U_, "b": b_},
    "rnn --activation sigmoid --no-bias": {"W": W_, "U": U_},
    "lstm": gates("ifoc"),
    "lstm --no-candidate-bias": {n: s for n, s in gates("ifoc").items() if n != "b_c"},
    "lstm --no-bias": {n: s for n, s in gates("ifoc").items() if n[0] != "b"},
    "lstm --peephole": gates("ifoc", P_i=P_, P_f=P_, P_o=P_),
    "lstm --peephole --candidate-peephole": gates("ifoc", P_i=P_, P_f=P_, P_o=P_, P_c=P_),
    "lstm --peephole diagonal": gates("ifoc", p_i=p_, p_f=p_, p_o=p_),
    "lstm --peephole diagonal --candidate-peephole": gates("ifoc", p_i=p_, p_f=p_, p_o=p_, p_c=p_),
    "gru": gates("zrh"),
    "gru --reset after --recurrent-bias": gates("zrh", b_hh=b_),
    "gru --update-gate state --no-bias": {n: s for n, s in gates("zrh").items() if n[0] != "b"},
}


@pytest.mark.parametrize("words", TABLES)
def test_parameters_states_and_inputs_are_those_of_the_table(words: str) -> None:
    module = kernel_of(words)
    assert TABLES[words] == module.PARAMETERS
    assert module.INPUTS == {"x": ("D",)}
    assert ({"h": ("H",), "c": ("H",)} if "lstm" in words else {"h": ("H",)}) == module.STATES
    assert next(iter(module.STATES)) == "h"
    assert module.OUTPUTS == {}


@pytest.mark.parametrize("words", TABLES)
def test_parameters_stand_in_the_order_of_the_equations(words: str) -> None:
    module, equations = kernel_of(words), build(words).equations
    assert list(module.PARAMETERS) == [value.name for value in build(words).parameters]
    first = {name: next(k for k, (_, right) in enumerate(equations) if name in str(right)) for name in module.PARAMETERS}
    assert list(first.values()) == sorted(first.values())


def test_intermediate_values_have_their_names() -> None:
    assert {t.name for t in build("lstm --peephole").targets} == {"i", "f", "o", "c_tilde", "h", "c"}
    assert {t.name for t in build("gru --reset after").targets} == {"z", "r", "h_tilde", "h"}


def test_every_combination_of_options_is_there() -> None:
    assert len(ALL) == 8 + 5 * 3 + (4 + 6)
    assert len({cell.name for cell in ALL.values()}) == len(ALL)


@pytest.mark.parametrize(
    ("words", "name", "command"),
    [
        ("lstm --peephole", "lstm_peephole", "lstm --peephole"),
        ("lstm --peephole full", "lstm_peephole", "lstm --peephole"),
        ("lstm --peephole none", "lstm", "lstm"),
        ("lstm --peephole diagonal", "lstm_peephole_diagonal", "lstm --peephole diagonal"),
        ("lstm --candidate-peephole --peephole", "lstm_peephole_candidate_peephole", "lstm --peephole --candidate-peephole"),
        ("rnn --activation tanh", "rnn", "rnn"),
        ("rnn --activation relu", "rnn_activation_relu", "rnn --activation relu"),
        ("gru --reset before --update-gate candidate", "gru", "gru"),
        ("gru --update-gate state --reset after", "gru_reset_after_update_gate_state", "gru --reset after --update-gate state"),
    ],
)
def test_the_command_is_canonical(words: str, name: str, command: str) -> None:
    cell = build(words)
    assert (cell.name, cell.command) == (name, command)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("lstm --candidate-peephole", "--candidate-peephole needs --peephole"),
        ("lstm --candidate-peephole --peephole none", "--candidate-peephole needs --peephole"),
        ("lstm --no-bias --no-candidate-bias", "--no-bias"),
        ("gru --recurrent-bias", "--recurrent-bias needs --reset after"),
        ("gru --recurrent-bias --reset before", "--recurrent-bias needs --reset after"),
        ("gru --recurrent-bias --reset after --no-bias", "--no-bias"),
        ("lsmt", "Did you mean lstm?"),
        ("rnn --activation softmax", "softmax"),
        ("rnn --peephole", "--peephole"),
        ("gru --candidate-peephole", "--candidate-peephole"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(words: str, said: str) -> None:
    with pytest.raises(OptionError) as error:
        build(words)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_an_option_of_another_cell_is_answered_with_the_options_there_are() -> None:
    with pytest.raises(OptionError, match="--activation"):
        build("rnn --peephole")


# ---- the equations, against loops written here


def affine(p: dict[str, np.ndarray], g: str, x: np.ndarray, h: np.ndarray) -> np.ndarray:
    return x @ p[f"W_{g}"].T + h @ p[f"U_{g}"].T + p.get(f"b_{g}", 0)


def lstm_step(p: dict[str, np.ndarray], x: np.ndarray, h: np.ndarray, c: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    def peep(g: str, c: np.ndarray) -> Any:
        return c @ p[f"P_{g}"].T if f"P_{g}" in p else p.get(f"p_{g}", 0) * c

    i, f = (sigmoid(affine(p, g, x, h) + peep(g, c)) for g in "if")
    new = f * c + i * np.tanh(affine(p, "c", x, h) + peep("c", c))
    return sigmoid(affine(p, "o", x, h) + peep("o", new)) * np.tanh(new), new


def gru_step(p: dict[str, np.ndarray], x: np.ndarray, h: np.ndarray, after: bool, keeps: bool) -> np.ndarray:
    z, r = (sigmoid(affine(p, g, x, h)) for g in "zr")
    inner = r * (h @ p["U_h"].T + p.get("b_hh", 0)) if after else (r * h) @ p["U_h"].T
    new = np.tanh(x @ p["W_h"].T + inner + p.get("b_h", 0))
    return (1 - z) * new + z * h if keeps else (1 - z) * h + z * new


ACTIVATIONS = {"sigmoid": sigmoid, "relu": lambda z: np.maximum(z, 0), "identity": lambda z: z}


def by_loop(words: str, call: args.Call) -> np.ndarray:
    """h at every step."""
    p, state = call.parameters, dict(call.state)
    found = []
    for u in call.inputs["x"]:
        if "lstm" in words:
            state["h"], state["c"] = lstm_step(p, u, state["h"], state["c"])
        elif "gru" in words:
            state["h"] = gru_step(p, u, state["h"], "after" in words, "update-gate state" in words)
        else:
            act = next((f for name, f in ACTIVATIONS.items() if name in words), np.tanh)
            state["h"] = act(u @ p["W"].T + state["h"] @ p["U"].T + p.get("b", 0))
        found.append(state["h"])
    return np.array(found)


@pytest.mark.parametrize("words", ALL)
def test_the_kernel_computes_the_equations(words: str) -> None:
    module = kernel_of(words)
    call = draw(module, T=5)
    np.testing.assert_allclose(args.forward(module, call)[0]["h"], by_loop(words, call), rtol=0, atol=bounds.of_call(call))


@pytest.mark.parametrize("words", ALL)
def test_every_variant_has_right_gradients(words: str) -> None:
    module = kernel_of(words)
    call = draw(module, T=4)
    assert args.worst(args.backward(module, call), args.by_complex_step(module, call))[0] < bounds.of_call(call)


# ---- where they are from


def test_every_document_is_listed_with_options_that_name_a_cell() -> None:
    documents = {source.place[:3] for declaration in declarations().values() for source in declaration.sources}
    assert {"000", "001", "002", "003", "004"} <= documents
    for declaration in declarations().values():
        for source in declaration.sources:
            assert build(f"{declaration.name} {source.options}").command in ALL
            assert source.mapping


def test_the_forms_that_the_documents_need_are_listed() -> None:
    text = listing(declarations())
    for words in ("gru --reset after --update-gate state", "lstm --no-candidate-bias", "lstm --peephole --candidate-peephole"):
        assert any(line.strip().startswith(words) for line in text.splitlines()), words
    for command in ALL:
        assert f"    {command}\n" in text


# ---- cells that are none


def refused(*equations: Any, said: str) -> None:
    """The equations are refused with a line that names the equation or the symbol."""
    with pytest.raises(DeriveError) as error:
        Cell.from_equations("own", "own", equations)
    assert said in str(error.value)
    assert "\n" not in str(error.value)
    assert str(error.value).startswith("own")


def test_equations_that_make_no_cell_are_refused_by_name() -> None:
    y, z = sequence("y", H), sequence("z", H)
    refused(Eq(h, tanh(W @ x)), Eq(h, tanh(U @ h.prev)), said="h is defined twice")
    refused(Eq(h, tanh(W @ x + U @ h.prev.prev)), said="h is read at t-2: only t, t-1 and t+1 can be read")
    refused(Eq(h, tanh(W @ x.prev)), said="x is read at t-1 and never defined")
    refused(Eq(y, tanh(z)), Eq(z, tanh(y)), said="circular")
    refused(Eq(h, tanh(h + W @ x)), said="circular")
    refused(Eq(sequence("y", K), tanh(W @ x)), said="equation y")
    refused(Eq(h.prev, tanh(W @ x)), said="step t on the left")
    refused(Eq(h, tanh(W @ x) + vector("x", H)), said="x stands for two things")


def test_a_symbol_that_is_no_number_and_no_value_is_refused() -> None:
    """A scalar parameter has to be a value of its own; nan, infinity and i are no numbers of a cell."""
    for number in (sp.Symbol("alpha"), sp.nan, sp.oo, sp.I, float("nan")):
        refused(Eq(h, number * (W @ x) + h.prev), said="equation h")
        refused(Eq(h, tanh(W @ x) + number), said="equation h")


def test_shapes_that_do_not_fit_are_refused_where_they_are_written() -> None:
    for wrong in (lambda: W @ h, lambda: x + h, lambda: U @ x, lambda: x * h, lambda: matrix("V", K, H) @ h + b):
        with pytest.raises(DeriveError, match=r"expected .*got"):
            wrong()


def test_a_cell_without_inputs_is_refused() -> None:
    """Without an input no argument says how many steps there are."""
    refused(Eq(h, tanh(U @ h.prev + b)), said="input")


NOT_VECTORS = {
    "quadratic form": lambda: [Eq(h, tanh(W @ x + h.prev)), Eq(sequence("e", 1), h.T @ (U @ h))],
    "outer product": lambda: [Eq(h, tanh((h.prev @ x.T) @ x))],
    "matrix that differs from step to step": lambda: [Eq(h, tanh(diagonal(h.prev) @ W @ x + b))],
    "number that differs from step to step": lambda: [Eq(h, tanh(W @ x) @ (vector("v", H).T @ h.prev))],
}


@pytest.mark.parametrize("what", NOT_VECTORS)
def test_what_differs_from_step_to_step_is_a_vector_or_is_refused(what: str) -> None:
    """Matrix products of two timed values have no batched NumPy text: refused with the equation's name, or right."""
    try:
        module = kernel_of_cell(cell_of(*NOT_VECTORS[what]()))
    except DeriveError as error:
        said = str(error)
        named = [name for name in ("h", "e", "u_h", "u_e", "u_h_2") if f"`{name}`" in said or f"equation {name}" in said]
        assert named, said
        return
    call = draw(module)
    assert args.worst(args.backward(module, call), args.by_complex_step(module, call))[0] < bounds.of_call(call)


def test_roles_follow_from_use() -> None:
    y, w = sequence("y", H), vector("w", H)
    cell = cell_of(Eq(w, tanh(b)), Eq(h, w * h.prev + W @ x), Eq(y, tanh(h) + Ones(H, 1)))
    names = {role: [v.name for v in getattr(cell, role)] for role in ("parameters", "inputs", "states", "outputs")}
    assert names == {"parameters": ["b", "W"], "inputs": ["x"], "states": ["h"], "outputs": ["y"]}


def test_sympys_own_nodes_are_taken_over() -> None:
    n, m = D, H
    A, g = sp.MatrixSymbol("A", m, n), sequence("g", m)
    with pytest.raises(CellError, match="illegal node MatrixSymbol"):
        Cell.from_equations("own", "own", [Eq(g, A * x + g.prev)])
