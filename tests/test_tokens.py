"""Kernels with tokens against PyTorch: `torch.nn.Embedding`, `cross_entropy`, `kl_div` and the like; large logits, memory, refusals."""

from __future__ import annotations

import functools
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from derive.cell import Cell
from derive.functions import function
from derive.language import Eq, dimension, matrix, sequence, vector
from derive.onehot import one_hot
from derive.pages import read
from derive.reductions import softmax
from tests import bounds
from tests.kernels import kernel_of_cell

torch = pytest.importorskip("torch")

PAGE = Path(__file__).parent.parent / "examples" / "pages" / "characters.md"
SIZES = {"H": 5, "N": 4, "V": 7, "V_w": 7, "V_y": 6, "D": 6}
STEPS, BATCH = 9, 3  # 27 tokens of at most 7: each is repeated
# Both sides are float64 and differ in the order of their sums and the last bits of exp, log and tanh; four matrices of at most 7 columns.
TOLERANCE = min(1e-11, bounds.rounded(bounds.of_recurrence(steps=STEPS, batch=BATCH, fan_in=4 * 7)))

embedding, log_softmax, logsigmoid = torch.nn.functional.embedding, torch.log_softmax, torch.nn.functional.logsigmoid
cross_entropy = functools.partial(torch.nn.functional.cross_entropy, reduction="none")


@functools.cache
def kernel(name: str, schedule: tuple[str, ...] | None = None):
    cell = read(str(PAGE)).cell(name).cell
    return kernel_of_cell(cell) if schedule is None else kernel_of_cell(cell, schedule)


def drawn(module, seed=0, steps=STEPS, batch=BATCH, sizes=None):
    """(parameters, inputs, state): probabilities for what is given as targets."""
    rng = np.random.default_rng(seed)
    sizes = {**SIZES, **(sizes or {})}
    shape = {name: [sizes[dim] for dim in dims] for table in (module.PARAMETERS, module.INPUTS) for name, dims in table.items()}
    parameters = {name: rng.standard_normal(shape[name]) for name in module.PARAMETERS}
    inputs = {name: rng.uniform(0.1, 0.9, (steps, batch, *shape[name])) for name in module.INPUTS}
    inputs |= {name: rng.integers(0, sizes[size], (steps, batch)) for name, size in module.TOKENS.items()}
    return parameters, inputs, {"h": rng.standard_normal((batch, sizes["H"]))}


def character_model(p, x, h):
    e = embedding(x["w"], p["E"].T)
    h = torch.tanh(e @ p["W"].T + h @ p["U"].T + p["b"])
    z = h @ p["S"].T + p["c"]
    return h, {"y_hat": torch.softmax(z, -1), "J": cross_entropy(z, x["w_next"])}


def gated_character_model(p, x, h):
    e = embedding(x["w"], p["E"])
    z, r = (torch.sigmoid(e @ p[f"W_{g}"] + h @ p[f"U_{g}"] + p[f"b_{g}"]) for g in "zr")
    h = z * h + (1 - z) * torch.tanh(e @ p["W_h"] + (r * h) @ p["U_h"] + p["b_h"])
    J = cross_entropy(h @ p["S"] + p["c"], x["y"])
    return h, {"J": J, "L": x["m"] * J}


def tagger(p, x, h):
    h = torch.tanh(embedding(x["w"], p["E"].T) + h @ p["U"].T + p["b"])
    logs = log_softmax(h @ p["S"].T + p["c"], -1)
    return h, {"D": torch.nn.functional.kl_div(logs, x["q"], reduction="none").sum(-1)}


def multi_label_tagger(p, x, h):
    h = torch.tanh(embedding(x["w"], p["E"].T) + h @ p["U"].T + p["b"])
    z = h @ p["S"].T + p["c"]
    loss = torch.nn.functional.binary_cross_entropy_with_logits(z, x["q"], reduction="none")
    return h, {"J": loss.sum(-1)}


MODELS = {
    "Character model": character_model,
    "Gated character model": gated_character_model,
    "Tagger": tagger,
    "Multi-label tagger": multi_label_tagger,
}


def torch_run(step, parameters, inputs, state, cotangents):
    """(outputs, gradients by block) of PyTorch."""

    def leaf(array):
        return torch.tensor(array, requires_grad=array.dtype.kind == "f")

    p, x, start = ({n: leaf(a) for n, a in some.items()} for some in (parameters, inputs, state))
    h, found = start["h"], {name: [] for name in cotangents}
    for t in range(len(next(iter(inputs.values())))):
        h, outputs = step(p, {name: array[t] for name, array in x.items()}, h)
        for name, array in {"h": h, **outputs}.items():
            found[name].append(array)
    outputs = {name: torch.stack(arrays) for name, arrays in found.items()}
    sum((array * torch.tensor(cotangents[name])).sum() for name, array in outputs.items()).backward()
    blocks = {**p, **{f"input {n}": a for n, a in x.items() if a.requires_grad}, "initial h": start["h"]}
    return {n: a.detach().numpy() for n, a in outputs.items()}, {n: a.grad.numpy() for n, a in blocks.items()}


def blocks_of(gradients):
    inputs = {f"input {name}": array for name, array in gradients.inputs.items()}
    return {**gradients.parameters, **inputs, "initial h": gradients.state["h"]}


def apart(got, expected):
    """How far two arrays are apart, relative to the larger numbers in one of them."""
    return np.abs(got - expected).max() / max(np.abs(expected).max(), 1.0)


@pytest.mark.parametrize("name", MODELS)
def test_outputs_and_gradients_are_pytorchs(name):
    module = kernel(name)
    parameters, inputs, state = drawn(module)
    assert all(len(np.unique(inputs[token])) < inputs[token].size for token in module.TOKENS)
    outputs, tape = module.forward(parameters, inputs, state)
    rng = np.random.default_rng(1)
    cotangents = {n: rng.standard_normal(array.shape) for n, array in outputs.items()}
    expected, gradients = torch_run(MODELS[name], parameters, inputs, state, cotangents)
    assert set(outputs) == set(expected)
    assert all(apart(outputs[n], expected[n]) < TOLERANCE for n in expected)
    found = blocks_of(module.backward(parameters, tape, cotangents))
    assert set(found) == set(gradients)
    assert {n: apart(found[n], gradients[n]) for n in found if not apart(found[n], gradients[n]) < TOLERANCE} == {}


@pytest.mark.parametrize("name", MODELS)
def test_everything_is_finite_at_logits_of_ten_thousand(name):
    module = kernel(name)
    parameters, inputs, state = drawn(module)
    parameters |= {"S": 1e4 * parameters["S"], "c": 1e4 * parameters["c"]}
    directions = [{n: a for n, a in some.items() if a.dtype.kind == "f"} for some in (parameters, inputs, state)]
    with np.errstate(over="raise", divide="raise", invalid="raise"):
        outputs, tape = module.forward(parameters, inputs, state)
        cotangents = {n: np.ones_like(array) for n, array in outputs.items()}
        gradients = module.backward(parameters, tape, cotangents)
        tangents = module.jvp(parameters, inputs, state, *directions)
        second = module.hvp(parameters, inputs, state, cotangents, *directions)
    for arrays in (outputs, blocks_of(gradients), tangents, blocks_of(second)):
        assert all(np.isfinite(array).all() for array in arrays.values())
    expected, torchs = torch_run(MODELS[name], parameters, inputs, state, cotangents)
    assert all(apart(outputs[n], expected[n]) < TOLERANCE for n in expected)
    assert all(apart(blocks_of(gradients)[n], torchs[n]) < TOLERANCE for n in torchs)


@pytest.mark.parametrize("name", MODELS)
def test_tangents_and_second_order_are_the_complex_steps(name):
    module = kernel(name)
    parameters, inputs, state = drawn(module)
    rng = np.random.default_rng(2)

    def moved(some):
        return {n: rng.standard_normal(a.shape) for n, a in some.items() if a.dtype.kind == "f"}

    directions = [moved(some) for some in (parameters, inputs, state)]
    h = 1e-30
    shifted = [
        {n: a + 1j * h * move[n] if n in move else a for n, a in some.items()}
        for some, move in zip((parameters, inputs, state), directions, strict=True)
    ]
    outputs, tape = module.forward(*shifted)
    tangents = module.jvp(parameters, inputs, state, *directions)
    assert all(apart(tangents[n], outputs[n].imag / h) < TOLERANCE for n in outputs)
    cotangents = {n: rng.standard_normal(array.shape) for n, array in outputs.items()}
    moves = blocks_of(module.backward(shifted[0], tape, {n: a.astype(complex) for n, a in cotangents.items()}))
    second = blocks_of(module.hvp(parameters, inputs, state, cotangents, *directions))
    # derivatives of derivatives: sums of some hundred products more, each rounded
    assert all(apart(second[n], moves[n].imag / h) < 100 * TOLERANCE for n in second)


@pytest.mark.parametrize("name", MODELS)
def test_checkpoints_give_the_same_gradients(name):
    module = kernel(name)
    parameters, inputs, state = drawn(module)
    outputs, tape = module.forward(parameters, inputs, state)
    cotangents = {n: np.ones_like(array) for n, array in outputs.items()}
    expected = blocks_of(module.backward(parameters, tape, cotangents))
    again, tape = module.forward(parameters, inputs, state, checkpoint_every=4)
    found = blocks_of(module.backward(parameters, tape, cotangents))
    assert all(np.array_equal(again[n], outputs[n]) for n in outputs)
    assert set(found) == set(expected)
    assert all(apart(found[n], expected[n]) < TOLERANCE for n in expected)


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int32, np.uint64])
def test_tokens_have_any_integer_dtype(dtype):
    module = kernel("Character model")
    parameters, inputs, state = drawn(module)
    outputs, tape = module.forward(parameters, inputs, state)
    cotangents = {"J": np.ones((STEPS, BATCH))}
    other, other_tape = module.forward(parameters, {n: a.astype(dtype) for n, a in inputs.items()}, state)
    assert all(np.array_equal(outputs[n], other[n]) for n in outputs)
    found, again = (blocks_of(module.backward(parameters, one, cotangents)) for one in (tape, other_tape))
    assert all(np.array_equal(found[n], again[n]) for n in found)


def test_no_token_counts_beyond_the_small_dtypes_range():
    """Tokens of uint8 among 300 columns: places of the gradient are counted in whole words."""
    module = kernel("Character model")
    parameters, inputs, state = drawn(module, sizes={"V": 300})
    small = {n: (a % 256).astype(np.uint8) for n, a in inputs.items()}
    cotangents = {"J": np.ones((STEPS, BATCH))}
    found = [
        module.backward(parameters, module.forward(parameters, some, state)[1], cotangents).parameters["E"]
        for some in (small, {n: a.astype(np.int64) for n, a in small.items()})
    ]
    assert np.array_equal(*found)


# ---- memory

H, N, V = (dimension(name) for name in "HNV")


def of_logits():
    """A character model whose softmax is read by its logarithm alone."""
    x, h, w, k = sequence("x", N), sequence("h", H), sequence("w"), sequence("k")
    z, y, J = sequence("z", V), sequence("y", V), sequence("J")
    E, W, U, S = matrix("E", N, V), matrix("W", H, N), matrix("U", H, H), matrix("S", V, H)
    equations = [
        Eq(x, E @ one_hot(w, V)),
        Eq(h, function("tanh")(W @ x + U @ h.prev + vector("b", H))),
        Eq(z, S @ h + vector("c", V)),
        Eq(y, softmax(z)),
        Eq(J, -(one_hot(k, V).T @ function("log")(y))),
    ]
    return kernel_of_cell(Cell.from_equations("characters", "characters", equations))


def test_a_large_vocabulary_takes_the_logits_and_their_gradient_and_no_more():
    """Softmax with cross entropy over 10,000 tokens: at the peak two arrays of (T, B, V), whatever is computed."""
    module, steps, batch, size = of_logits(), 12, 8, 10_000
    parameters, inputs, state = drawn(module, steps=steps, batch=batch, sizes={"V": size})
    one = 8 * steps * batch * size
    cotangents = {"J": np.ones((steps, batch))}
    tracemalloc.start()
    try:
        _, tape = module.forward(parameters, inputs, state)
        kept, forward = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        module.backward(parameters, tape, cotangents)
        _, backward = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # beside them: gradients of E and S with what makes them, (V, N) and (V, H), states, and some vectors of logits at a time
    rest = 8 * (3 * size * (SIZES["N"] + SIZES["H"]) + 4 * 2**16) + 100_000
    assert kept < one + rest
    assert forward < 2 * one + rest
    assert backward < 2 * one + rest


def test_the_gradient_of_an_embedding_makes_no_dense_columns():
    """Of 50,000 tokens: one array of E's size for the gradient, none of (T, B, V)."""
    x, h, w = sequence("x", N), sequence("h", H), sequence("w")
    E, W, U = matrix("E", N, V), matrix("W", H, N), matrix("U", H, H)
    equations = [Eq(x, E @ one_hot(w, V)), Eq(h, function("tanh")(W @ x + U @ h.prev))]
    module, steps, batch, size = kernel_of_cell(Cell.from_equations("embedding", "embedding", equations)), 20, 10, 50_000
    parameters, inputs, state = drawn(module, steps=steps, batch=batch, sizes={"V": size})
    _, tape = module.forward(parameters, inputs, state)
    tracemalloc.start()
    try:
        gradients = module.backward(parameters, tape, {"h": np.ones((steps, batch, SIZES["H"]))})
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert gradients.parameters["E"].shape == (SIZES["N"], size)
    assert peak < 8 * (SIZES["N"] * size + 20 * steps * batch * (SIZES["N"] + SIZES["H"]))
    assert 20 * steps * batch * (SIZES["N"] + SIZES["H"]) < steps * batch * size / 10


# ---- refusals

WRONG = {
    "beyond the last": (lambda w: np.where(np.arange(w.size).reshape(w.shape) == 4, 7, w), "token out of range: expected 0 <= w < V = 7, "
        "got 7 at step 1, example 1. Check which tokens there are."),
    "negative": (lambda w: np.where(np.arange(w.size).reshape(w.shape) == 0, -1, w), "got -1 at step 0, example 0."),
    "floats": (lambda w: w.astype(float), "wrong dtype: expected tokens, whole numbers of any integer dtype, got float64. Convert it"),
    "booleans": (lambda w: w > 3, "wrong dtype: expected tokens, whole numbers of any integer dtype, got bool."),
    "a list": (lambda w: w.tolist(), "wrong type: expected a plain NumPy array of whole numbers, got list. Convert it with np.asarray."),
    "masked": (lambda w: np.ma.masked_array(w), "wrong type: expected a plain NumPy array of whole numbers, got MaskedArray."),
    "one axis": (lambda w: w[0], "wrong shape: expected (T, B = 3), one token a step and example, got (3,)."),
    "a column": (lambda w: w[..., None], "wrong shape: expected (T, B = 3), one token a step and example, got (9, 3, 1)."),
}  # fmt: skip


@pytest.mark.parametrize("what", WRONG)
@pytest.mark.parametrize("function_name", ["forward", "jvp", "hvp"])
def test_wrong_tokens_are_refused(what, function_name):
    module = kernel("Character model")
    parameters, inputs, state = drawn(module)
    change, expected = WRONG[what]
    inputs["w"] = change(inputs["w"])
    more = {"forward": (), "jvp": ({}, {}, None), "hvp": ({}, {}, {}, None)}[function_name]
    with pytest.raises(ValueError, match=r".") as caught:
        getattr(module, function_name)(parameters, inputs, state, *more)
    assert str(caught.value).startswith(f"{function_name}: inputs['w']: ")
    assert expected in str(caught.value)


def test_tokens_of_other_sizes_are_refused():
    module = kernel("Gated character model")
    parameters, inputs, state = drawn(module)
    with pytest.raises(ValueError, match=r"inputs\['w'\]: wrong shape: expected \(T = 9, B = 3\), .* got \(8, 3\)"):
        module.forward(parameters, inputs | {"w": inputs["w"][1:]}, state)


def test_missing_and_unknown_tokens_are_refused():
    module = kernel("Character model")
    parameters, inputs, state = drawn(module)
    with pytest.raises(ValueError, match="forward: inputs: missing w_next: expected w, w_next, got w"):
        module.forward(parameters, {"w": inputs["w"]}, state)
    with pytest.raises(ValueError, match="jvp: tangent_inputs: unknown w: expected no names"):
        module.jvp(parameters, inputs, state, {}, {"w": inputs["w"]}, None)


def test_the_tables_say_which_inputs_are_tokens():
    module = kernel("Gated character model")
    assert module.TOKENS == {"w": "V_w", "y": "V_y"}
    assert module.INPUTS == {"m": ()}
    assert list(module.OUTPUTS) == ["J", "L"]
