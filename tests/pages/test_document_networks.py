"""The networks of the five documents, read from their pages, against PyTorch in float64: every output and every gradient.

Each cell has a model of its own in torch, after the document: `torch.nn` where it has the network, a loop over the steps else.
"""

from __future__ import annotations

import pytest

from tests.example_pages import FOLDER
from tests.example_pages import page as read_page
from tests.pages.torch_networks import TOLERANCE, beyond, cross_entropy, divergence, embedding, loop, lstm, rnn, softmax, torch
from tests.torch_threads import one_torch_thread  # noqa: F401 - pytest finds the fixture here

PAGES = sorted(path.name for path in FOLDER.glob("00?_networks.md"))
POSITIVE = {"Y_target"}
"""Inputs whose logarithm is taken."""


def window(words, s, name):
    """(four values, one above the other, at each step; the outputs that carry them)."""
    every = torch.cat([s[f"{name}_delayed_2"][None], s[f"{name}_delayed"][None], s[name][None], words])
    carried = {name: every[3:], f"{name}_delayed": every[2:-1], f"{name}_delayed_2": every[1:-2]}
    return torch.cat([every[k : len(words) + k] for k in range(4)], -1), carried


# ---- document 000


def concatenated(p, h, names):
    """({gate: weights of x}, {gate: weights of h}) of matrices that multiply [h; x]."""
    of = {gate: p[name] for gate, name in zip("ifgo", names, strict=True)}
    n = h.shape[-1]
    return {gate: one[:, n:] for gate, one in of.items()}, {gate: one[:, :n] for gate, one in of.items()}


def lstm_000(p, x, s):
    zero = torch.zeros_like(p["b_i"])
    biases = {"i": p["b_i"], "f": p["b_f"], "g": zero, "o": p["b_o"]}
    ((h, C),) = lstm(x["x"], (s["h"], s["C"], *concatenated(p, s["h"], ("W_i", "W_f", "W_C_tilde", "W_o")), biases))
    z = torch.tanh(h) @ p["V"].T
    loss = cross_entropy(z, x["y"])
    return {"h": h, "C": C, "y_hat": softmax(z, -1), "L_t": loss, "L": loss.sum(0)}


def gru_step_000(p, x, h, b):
    q = torch.cat([h, x], -1)
    z, r = (torch.sigmoid(q @ p[f"W_{gate}"].T + b[gate]) for gate in "zr")
    return (1 - z) * h + z * torch.tanh(torch.cat([r * h, x], -1) @ p["W"].T + b["h"])


def gru_000(p, x, s):
    found = loop(lambda x, s: {"h": gru_step_000(p, x, s["h"], {"z": 0, "r": 0, "h": 0})}, x["x"], s)
    z = torch.tanh(found["h"]) @ p["V"].T
    loss = cross_entropy(z, x["y"])
    return found | {"y_hat": softmax(z, -1), "L_t": loss, "L": loss.sum(0)}


def final_000(p, x, s):
    found = loop(lambda x, s: {"h": gru_step_000(p, x, s["h"], {"z": p["b_z"], "r": p["b_r"], "h": p["b"]})}, x["x"], s)
    return found | {"L": ((found["h"][-1] - x["y"]) ** 2).sum(-1) / 2}


# ---- document 001: rows


def read_out_001(p, x, found):
    z = found["h"] @ p["U"]
    return found | {"y_hat": softmax(z, -1), "L": cross_entropy(z, x["v_next"])}


def rnn_001(p, x, s):
    e = embedding(x["v"], p["E"])
    return read_out_001(p, x, loop(lambda e, s: {"h": torch.sigmoid(s["h"] @ p["W_h"] + e @ p["W_e"] + p["b"])}, e, s))


def lstm_001(p, x, s):
    W, U, b = ({g: p[name + k] for g, k in zip("ifgo", "ifco", strict=True)} for name in ("W_x", "W_h", "b_"))
    W, U = ({g: one.T for g, one in of.items()} for of in (W, U))
    ((h, c),) = lstm(embedding(x["v"], p["E"]), (s["h"], s["c"], W, U, b))
    return read_out_001(p, x, {"h": h, "c": c})


def gru_001(p, x, s):
    def step(e, s):
        u, r = (torch.sigmoid(s["h"] @ p[f"W_h{g}"] + e @ p[f"W_x{g}"] + p[f"b_{g}"]) for g in "ur")
        return {"h": (1 - u) * s["h"] + u * torch.tanh((r * s["h"]) @ p["W_hh"] + e @ p["W_xh"] + p["b_h"])}

    return read_out_001(p, x, loop(step, embedding(x["v"], p["E"]), s))


# ---- document 002


def forward_002(p, x, s):
    h = x["X"]
    for k in (1, 2, 3):
        h = torch.tanh(h @ p[f"W_{k}"].T)
    return {"h_3": h}


def cell_step_002(p, x, s, mark=""):
    """The pseudocode: peepholes into the gates and into the candidate."""

    def z(gate, C):
        W_C, W_h, W_x = (p[f"W_{gate}{of}{mark}"].T for of in "chx")
        return C @ W_C + s["h"] @ W_h + x @ W_x + p[f"b_{gate}{mark}"]

    C = torch.sigmoid(z("f", s["C"])) * s["C"] + torch.sigmoid(z("i", s["C"])) * torch.tanh(z("c", s["C"]))
    return {"C": C, "h": torch.sigmoid(z("o", C)) * torch.tanh(C)}


def cell_002(p, x, s):
    return loop(lambda x, s: cell_step_002(p, x, s), x["x"], s)


def network_002(p, x, s):
    outputs, below = {}, x["x"]
    for mark in ("_1", "_2"):
        start = {name: s[name + mark] for name in ("C", "h")}
        found = loop(lambda x, s, mark=mark: cell_step_002(p, x, s, mark), below, start)
        outputs |= {name + mark: one for name, one in found.items()}
        below = found["h"]
    return outputs | {"Y": softmax(below @ p["W_o"].T + p["b_o"], -1)}


def carousel_002(p, x, s):
    return {"C": s["C"] * torch.cumprod(torch.sigmoid(x["x"] @ p["W"].T + p["b"]), 0)}


def read_out_002(p, x, h):
    return h @ p["W_y"].T + p["b_y"]


def text_002(p, x, s):
    h = rnn(embedding(x["w"], p["P"].T), s["h"], p["W_x"], p["W_h"], p["b"])
    z = read_out_002(p, x, h)
    return {"h": h, "Y": softmax(z, -1), "Div": cross_entropy(z, x["w_next"]).sum(0)}


def mlp_002(p, x, s):
    z = torch.tanh(x["X"] @ p["W_1"].T + p["b_1"]) @ p["W_2"].T + p["b_2"]
    each = divergence(x["Y_target"], z)
    return {"Y": softmax(z, -1), "Div_t": each, "Div": (x["w"] * each).sum(0)}


def synchronous_002(p, x, s):
    h = rnn(x["X"], s["h"], p["W_x"], p["W_h"], p["b"])
    z = read_out_002(p, x, h)
    return {"h": h, "Y": softmax(z, -1), "Div": divergence(x["Y_target"], z).sum(0)}


def marked_002(p, mark):
    return [{g: p[f"{name}_{k}_{mark}"] for g, k in zip("ifgo", "ifco", strict=True)} for name in "WUb"]


def bidirectional_002(p, x, s):
    outputs = {}
    for way in ("right", "left"):
        ((h, C),) = lstm(x["x"], (s[f"h_{way}"], s[f"C_{way}"], *marked_002(p, way)), left=way == "left")
        outputs |= {f"h_{way}": h, f"C_{way}": C}
    both = torch.cat([outputs["h_right"], outputs["h_left"]], -1)
    return outputs | {"Y": softmax(read_out_002(p, x, both), -1)}


def classified_002(p, x, s):
    h = rnn(x["X"], s["h"], p["W_x"], p["W_h"], p["b"])
    z = read_out_002(p, x, h[-1])
    return {"h": h, "Y": softmax(z, -1), "Div": divergence(x["Y_target"], z)}


def captioned_002(p, x, s):
    return text_002(p, x, {"h": torch.tanh(x["v"] @ p["W_v"].T + p["b_v"])})


def sequences_002(p, x, s):
    h = rnn(embedding(x["v"], p["P"].T), s["h"], p["W_x"], p["W_h"], p["b"])
    g = rnn(embedding(x["w"], p["Q"].T), h[-1], p["U_x"], p["U_h"], p["a"])
    z = read_out_002(p, x, g)
    return {"h": h, "g": g, "Y": softmax(z, -1), "Div": cross_entropy(z, x["w_next"]).sum(0)}


def delayed_002(p, x, s):
    words, carried = window(embedding(x["w"], p["P"].T), s, "p")
    z = read_out_002(p, x, torch.tanh(words @ p["W"].T + p["b"]))
    return carried | {"Y": softmax(z, -1), "Div": cross_entropy(z, x["w_next"]).sum(0)}


def bag_002(p, x, s):
    z = read_out_002(p, x, embedding(x["w_prev"], p["P"].T) + embedding(x["w_next"], p["P"].T))
    return {"Y": softmax(z, -1), "Div": cross_entropy(z, x["w"]).sum(0)}


def skip_002(p, x, s):
    z = read_out_002(p, x, embedding(x["w"], p["P"].T))
    return {"Y": softmax(z, -1), "Div": sum(cross_entropy(z, x[word]).sum(0) for word in ("w_prev", "w_next"))}


def language_002(p, x, s):
    layers = [(s[f"h_{k}"], s[f"C_{k}"], *marked_002(p, k)) for k in (1, 2)]
    found = lstm(embedding(x["w"], p["P"].T), *layers)
    z = read_out_002(p, x, found[-1][0])
    states = {f"{name}_{k}": one for k, pair in enumerate(found, 1) for name, one in zip("hC", pair, strict=True)}
    return states | {"Y": softmax(z, -1), "Div": cross_entropy(z, x["w_next"]).sum(0)}


# ---- document 003: rows, the input in front of the state


def rnn_003(p, e, s):
    n = e.shape[-1]
    return rnn(e, s["s"], p["W_r"][:n].T, p["W_r"][n:].T, p["b_r"])


def read_out_003(p, x, s):
    found = rnn_003(p, x["e"], s)
    return {"s": found, "o": torch.sigmoid(found @ p["W_o"] + p["b_o"])}


def next_word_003(p, x, s):
    found = rnn_003(p, embedding(x["w"], p["E"]), s)
    z = found @ p["W_o"] + p["b_o"]
    return {"s": found, "p": softmax(z, -1), "J": cross_entropy(z, x["w_next"])}


def lstm_003(p, x, s):
    n, names = x["x"].shape[-1], dict(zip("ifgo", "ifmo", strict=True))
    W, U = ({g: p[f"W_{k}"].T[:, rows] for g, k in names.items()} for rows in (slice(n), slice(n, None)))
    ((h, C),) = lstm(x["x"], (s["h"], s["C"], W, U, {g: p[f"b_{k}"] for g, k in names.items()}))
    return {"h": h, "C": C}


# ---- document 004


def window_004(p, x, s):
    hidden = torch.tanh(x["x"] @ p["W_1"].T + p["b_1"])
    return {"y_hat": softmax(hidden @ p["W_2"].T + x["x"] @ p["W_3"].T + p["b_3"], -1)}


def figure_2_004(p, x, s):
    words, carried = window(embedding(x["w"], p["E"].T), s, "v")
    return carried | {"y_hat": softmax(torch.tanh(words @ p["W"].T + p["b_1"]) @ p["U"].T + p["b_2"], -1)}


def rnn_004(p, x, s):
    return loop(lambda x, s: {"h": torch.sigmoid(s["h"] @ p["W_hh"].T + x @ p["W_hx"].T)}, x["x"], s)


def perplexity_004(p, x, s):
    found = rnn_004(p, x, s)
    z = found["h"] @ p["W_S"].T
    loss = -(x["y"] * torch.log_softmax(z, -1)).sum(-1)
    return found | {"y_hat": softmax(z, -1), "J_t": loss, "J": loss.mean(0), "Perplexity": 2 ** loss.mean(0)}


def figure_5_004(p, x, s):
    def step(e, s):
        return {"h": torch.sigmoid(s["h"] @ p["W_h"].T + e @ p["W_e"].T + p["b_1"])}

    found = loop(step, embedding(x["x"], p["E"].T), s)
    loss = cross_entropy(found["h"] @ p["U"].T + p["b_2"], x["x_next"])
    return found | {"J_t": loss, "J": loss.mean(0)}


def largest_004(p, x, s):
    found = rnn_004(p, x, s)
    return found | {"y_hat": softmax(found["h"].max(0).values @ p["W_S"].T, -1)}


def mean_004(p, x, s):
    found = rnn_004(p, x, s)
    return found | {"y_hat": softmax(found["h"].mean(0) @ p["W_S"].T, -1)}


def directions_004(p, below, s, layer=""):
    """{state: its values} of a layer in both directions."""
    return {
        f"h_{way}{layer}": rnn(below, s[f"h_{way}{layer}"], *[p[f"{name}_{way}{layer}"] for name in "WVb"], left=way == "left")
        for way in ("right", "left")
    }


def bidirectional_004(p, x, s):
    found = directions_004(p, x["x"], s)
    return found | {"y_hat": softmax(torch.cat([*found.values()], -1) @ p["U"].T + p["c"], -1)}


def deep_004(p, x, s):
    outputs, below = {}, x["x"]
    for layer in ("_1", "_2", "_3"):
        found = directions_004(p, below, s, layer)
        outputs |= found
        below = torch.cat([*found.values()], -1)
    return outputs | {"h_3": below, "y_hat": softmax(below @ p["U"].T + p["c"], -1)}


def encoder_004(p, x, s, left=False):
    return rnn(x["x"], s["h"], p["W_hx"], p["W_hh"], torch.zeros_like(s["h"][0]), left)


def read_out_004(p, x, d):
    z = d @ p["W_S"].T
    return {"y_hat": softmax(z, -1), "J": -cross_entropy(z, x["w"]).sum(0)}


def alone_004(start, V, steps):
    """The states of a decoder without inputs."""
    return loop(lambda _, s: {"d": torch.tanh(s["d"] @ V.T)}, steps, {"d": start})["d"]


def shared_004(p, x, s):
    h = encoder_004(p, x, s)
    d = alone_004(h[-1], p["W_hh"], x["w"])
    return {"h": h, "d": d} | read_out_004(p, x, d)


def extension_1_004(p, x, s):
    h = encoder_004(p, x, s)
    d = alone_004(h[-1], p["V_hh"], x["w"])
    return {"h": h, "d": d} | read_out_004(p, x, d)


def extension_2_004(p, x, s):
    h = encoder_004(p, x, s)
    c = h[-1] @ p["V_hc"].T

    def step(_, s):
        d = torch.tanh(s["d"] @ p["V_hh"].T + c + s["y_hat"] @ p["V_hy"].T)
        return {"d": d, "y_hat": softmax(d @ p["W_S"].T, -1)}

    found = loop(step, x["w"], {"d": s["d"], "y_hat": s["y_hat"]})
    right = found["y_hat"].gather(-1, x["w"][..., None])[..., 0]
    return {"h": h, "J": torch.log(right).sum(0)} | found


def extension_3_004(p, x, s):
    h_1 = rnn(x["x"], s["h_1"], p["W_1"], p["V_1"], p["b_1"])
    h_2 = rnn(h_1, s["h_2"], p["W_2"], p["V_2"], p["b_2"])
    c = h_2[-1].expand(len(x["w"]), *h_2[-1].shape)
    outputs, below = {"h_1": h_1, "h_2": h_2}, embedding(x["w_prev"], p["E"].T)
    for k in (1, 2):
        given, weights = torch.cat([below, c], -1), torch.cat([p[f"P_{k}"], p[f"R_{k}"]], -1)
        below = outputs[f"d_{k}"] = rnn(given, s[f"d_{k}"], weights, p[f"Q_{k}"], p[f"a_{k}"])
    return outputs | read_out_004(p, x, below)


def decoded_004(p, x, start):
    d = rnn(embedding(x["w_prev"], p["E"].T), start, p["V_hy"], p["V_hh"], torch.zeros_like(start[0]))
    return {"d": d} | read_out_004(p, x, d)


def extension_4_004(p, x, s):
    found = directions_004(p, x["x"], s)
    return found | decoded_004(p, x, torch.cat([found["h_right"][-1], found["h_left"][0]], -1))


def extension_5_004(p, x, s):
    h = encoder_004(p, x, s, left=True)
    return {"h": h} | decoded_004(p, x, h[0])


# ---- the comparison

# (page, heading): the model
MODELS = {
    ("000_networks.md", "LSTM with its readout and loss, equations (2) to (10)"): lstm_000,
    ("000_networks.md", "GRU with its readout and loss, equations (11) to (17)"): gru_000,
    ("000_networks.md", "GRU with a loss at the final step, slide 'BPTT steps'"): final_000,
    ("001_networks.md", "RNN language model"): rnn_001,
    ("001_networks.md", "LSTM language model"): lstm_001,
    ("001_networks.md", "GRU language model"): gru_001,
    ("002_networks.md", "Feed-forward network, slide 'Exploding/Vanishing gradients'"): forward_002,
    ("002_networks.md", "LSTM_cell"): cell_002,
    ("002_networks.md", "LSTM network forward"): network_002,
    ("002_networks.md", "Constant error carousel"): carousel_002,
    ("002_networks.md", "Text modelling"): text_002,
    ("002_networks.md", "Regular MLP with a weighed divergence"): mlp_002,
    ("002_networks.md", "Time-synchronous recurrence"): synchronous_002,
    ("002_networks.md", "Bidirectional LSTM"): bidirectional_002,
    ("002_networks.md", "Sequence classification"): classified_002,
    ("002_networks.md", "Single-input sequence generation"): captioned_002,
    ("002_networks.md", "A posteriori sequence to sequence"): sequences_002,
    ("002_networks.md", "Predicting words: the TDNN model"): delayed_002,
    ("002_networks.md", "Soft bag of words"): bag_002,
    ("002_networks.md", "Skip-gram"): skip_002,
    ("002_networks.md", "Modelling language"): language_002,
    ("003_networks.md", "RNN with its readout, slide 'Review: RNN update rule'"): read_out_003,
    ("003_networks.md", "Word embeddings and the next word"): next_word_003,
    ("003_networks.md", "The Complete LSTM"): lstm_003,
    ("004_networks.md", "Window-based language model, equation (4)"): window_004,
    ("004_networks.md", "Window-based language model, Figure 2"): figure_2_004,
    ("004_networks.md", "Language model with loss and perplexity, equations (5) to (9)"): perplexity_004,
    ("004_networks.md", "Language model with embeddings, Figure 5"): figure_5_004,
    ("004_networks.md", "Sentence classification by the maximum, section 2.2"): largest_004,
    ("004_networks.md", "Sentence classification by the mean, section 2.2"): mean_004,
    ("004_networks.md", "Bidirectional, equations (17) to (19)"): bidirectional_004,
    ("004_networks.md", "Deep bidirectional, equations (20) to (22)"): deep_004,
    ("004_networks.md", "Translation, equations (23) to (26)"): shared_004,
    ("004_networks.md", "Translation, extension I"): extension_1_004,
    ("004_networks.md", "Translation, extension II and equation (27)"): extension_2_004,
    ("004_networks.md", "Translation, extension III"): extension_3_004,
    ("004_networks.md", "Translation, extension IV"): extension_4_004,
    ("004_networks.md", "Translation, extension V"): extension_5_004,
}


@pytest.mark.parametrize(("page", "heading"), MODELS)
def test_a_network_of_a_document_is_its_model_in_torch(page, heading):
    found = beyond(read_page(page).cell(heading).cell, MODELS[page, heading], POSITIVE)
    assert not found, f"{heading}: kernel differs from torch: expected at most {TOLERANCE:.1e} per block, got {found}"


def test_every_network_of_the_documents_is_read_and_has_a_model():
    assert len(PAGES) == 5
    pages = {name: read_page(name) for name in PAGES}
    assert not [(name, page.refused, page.skipped) for name, page in pages.items() if page.refused or page.skipped]
    assert {(name, one.heading) for name, page in pages.items() for one in page.cells} | {("002_networks.md", "LSTM_cell")} == {
        *MODELS
    }
