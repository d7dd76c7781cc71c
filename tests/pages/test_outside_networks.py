"""Networks of papers and tutorials, read from their pages, against PyTorch in float64: every output and every gradient.

Each cell has a model of its own in torch, after its source as remembered: `torch.nn` where it has the network, a loop over the steps
else. The source's axis has another length than the target's.
"""

from __future__ import annotations

import functools
from pathlib import Path

import pytest

from derive.pages import read
from tests.pages.torch_networks import TOLERANCE, beyond, cross_entropy, embedding, loop, lstm, rnn, softmax, torch
from tests.torch_threads import one_torch_thread  # noqa: F401 - pytest finds the fixture here


@functools.cache
def page_of(name):
    return read(str(Path(__file__).parents[2] / "examples" / "pages" / name))


# ---- what several of them are made of


def weights(p, mark, names="ifco"):
    """[weights of what is below, weights of h, biases], each by gate, of an LSTM whose names end on a mark."""
    return [{g: p[f"{name}_{k}{mark}"] for g, k in zip("ifgo", names, strict=True)} for name in "WUb"]


def cell(x, h, c, W, U, b):
    """(h, c) of one step of an LSTM, by torch.nn.LSTMCell."""
    module = torch.nn.LSTMCell(x.shape[-1], h.shape[-1]).double()
    named = {"weight_ih": W, "weight_hh": U, "bias_ih": b}
    stacked = {name: torch.cat([one[gate] for gate in "ifgo"]) for name, one in named.items()}
    stacked["bias_hh"] = torch.zeros_like(stacked["bias_ih"])
    return torch.func.functional_call(module, stacked, (x, (h, c)), strict=True)


def attended(scores, memory):
    """(weights, context) of scores (S, B) over a memory (S, B, n)."""
    found = softmax(scores, 0)
    return found, torch.einsum("sb,sbn->bn", found, memory)


def unbiased(start):
    return torch.zeros_like(start[0])


# ---- attention.md


def bahdanau(p, x, s):
    source = x["x"] @ p["E_bar"].T
    h_right = rnn(source, s["h_right"], p["W_right"], p["U_right"], unbiased(s["h_right"]))
    h_left = rnn(source, s["h_left"], p["W_left"], p["U_left"], unbiased(s["h_left"]), left=True)
    h = torch.cat([h_right, h_left], -1)

    def gate(name, y, state, c):
        return y @ p["W" + name].T + state @ p["U" + name].T + c @ p["C" + name].T

    def step(y, now):
        state = now["s"]
        alpha, c = attended(torch.tanh(state @ p["W_a"].T + h @ p["U_a"].T) @ p["v_a"], h)
        z, r = (torch.sigmoid(gate(name, y, state, c)) for name in ("_z", "_r"))
        new = torch.tanh(gate("", y, r * state, c))
        t = state @ p["U_o"].T + y @ p["V_o"].T + c @ p["C_o"].T
        return {"alpha": alpha, "s": (1 - z) * state + z * new, "t": t}

    start = {"s": torch.tanh(h_left[0] @ p["W_s"].T), "alpha": None, "t": None}
    found = loop(step, embedding(x["y_prev"], p["E"].T), start)
    logits = found.pop("t") @ p["W_o"].T
    read_out = {"p": softmax(logits, -1), "J": cross_entropy(logits, x["y"]).sum(0)}
    return {"h_right": h_right, "h_left": h_left} | found | read_out


def pointer(p, x, s):
    e = rnn(x["x"], s["e"], p["A"], p["B"], unbiased(s["e"]))
    d = rnn(x["y"], e[-1], p["C"], p["D"], unbiased(e[-1]))
    u = torch.tanh((e @ p["W_1"].T)[None] + (d @ p["W_2"].T)[:, None]) @ p["v"]
    return {"e": e, "d": d, "p": softmax(u, 1)}


# ---- captions.md


def captions(p, x, s):
    start = x["f"] @ p["W_proj"] + p["b_proj"]
    h = rnn(embedding(x["w"], p["E"]), start, p["W_x"].T, p["W_h"].T, p["b"])
    logits = h @ p["W_vocab"] + p["b_vocab"]
    return {"h": h, "p": softmax(logits, -1), "J": (x["m"] * cross_entropy(logits, x["w_next"])).sum(0)}


def show_attend_tell(p, x, s):
    a, words = x["a"], embedding(x["y_prev"], p["E"].T)
    mean = a.mean(0)

    def step(y, now):
        alpha, z = attended(torch.tanh(a @ p["W_a"].T + now["h"] @ p["U_a"].T) @ p["v"], a)
        q = torch.cat([y, now["h"], z], -1)
        i, f, o = torch.sigmoid(q @ p["T_1"].T).chunk(3, -1)
        c = f * now["c"] + i * torch.tanh(q @ p["T_2"].T)
        return {"alpha": alpha, "c": c, "h": o * torch.tanh(c), "z": z}

    start = {"c": torch.tanh(mean @ p["P_c"].T), "h": torch.tanh(mean @ p["P_h"].T), "alpha": None, "z": None}
    found = loop(step, words, start)
    logits = (words + found["h"] @ p["L_h"].T + found.pop("z") @ p["L_z"].T) @ p["L_o"].T
    return found | {"p": softmax(logits, -1), "J": cross_entropy(logits, x["y"]).sum(0)}


# ---- networks.md: attention


def luong_dot(p, x, s):
    ((h_bar, m_bar),) = lstm(x["x"], (s["h_bar"], s["m_bar"], *weights(p, "_enc")))

    def step(word, now):
        h, m = cell(torch.cat([word, now["h_tilde"]], -1), now["h"], now["m"], *weights(p, "_dec"))
        a, c = attended((h * h_bar).sum(-1), h_bar)
        return {"h": h, "m": m, "a": a, "h_tilde": torch.tanh(torch.cat([c, h], -1) @ p["W_c"].T)}

    start = {"h": h_bar[-1], "m": m_bar[-1], "h_tilde": s["h_tilde"], "a": None}
    found = loop(step, embedding(x["w"], p["E"].T), start)
    logits = found["h_tilde"] @ p["W_p"].T
    read_out = {"p": softmax(logits, -1), "J": cross_entropy(logits, x["w_next"]).sum(0)}
    return {"h_bar": h_bar, "m_bar": m_bar} | found | read_out


def luong_general(p, x, s):
    h_bar = rnn(x["x"], s["h_bar"], p["W_e"], p["U_e"], p["b_e"])
    h = rnn(x["y"], s["h"], p["W_d"], p["U_d"], p["b_d"])
    a = softmax(torch.einsum("tbi,ij,sbj->tsb", h, p["W_a"], h_bar), 1)
    c = torch.einsum("tsb,sbj->tbj", a, h_bar)
    return {"h_bar": h_bar, "h": h, "a": a, "h_tilde": torch.tanh(torch.cat([c, h], -1) @ p["W_c"].T)}


def words_attended(p, x, s):
    def step(e, now):
        h = now["h"]
        z, r = (torch.sigmoid(e @ p[f"W_{k}"].T + h @ p[f"U_{k}"].T + p[f"b_{k}"]) for k in "zr")
        return {"h": (1 - z) * h + z * torch.tanh(e @ p["W_h"].T + (r * h) @ p["U_h"].T + p["b_h"])}

    h = loop(step, embedding(x["x"], p["E"].T), {"h": s["h"]})["h"]
    alpha, context = attended(torch.tanh(h @ p["W_w"].T + p["b_w"]) @ p["u_w"], h)
    return {"h": h, "alpha": alpha, "p": softmax(context @ p["W_c"].T + p["b_c"], -1)}


# ---- networks.md: taggers and models of language


def tagger(p, x, s):
    e, outputs = embedding(x["w"], p["E"].T), {}
    for way in ("right", "left"):
        ((h, c),) = lstm(e, (s[f"h_{way}"], s[f"c_{way}"], *weights(p, f"_{way}")), left=way == "left")
        outputs |= {f"h_{way}": h, f"c_{way}": c}
    logits = torch.cat([outputs["h_right"], outputs["h_left"]], -1) @ p["V"].T + p["a"]
    loss = (x["m"] * cross_entropy(logits, x["k"])).sum(0) / x["m"].sum(0)
    return outputs | {"p": softmax(logits, -1), "J": loss}


def characters(p, x, s):
    h_1 = rnn(embedding(x["x"], p["W_i_1"].T), s["h_1"], torch.eye(len(p["b_1"])).double(), p["W_h_1"], p["b_1"])
    below = torch.cat([torch.nn.functional.one_hot(x["x"], p["W_i_2"].shape[1]).double(), h_1], -1)
    h_2 = rnn(below, s["h_2"], torch.cat([p["W_i_2"], p["W_b_2"]], -1), p["W_h_2"], p["b_2"])
    logits = p["b_y"] + h_1 @ p["W_y_1"].T + h_2 @ p["W_y_2"].T
    return {"h_1": h_1, "h_2": h_2, "y": softmax(logits, -1), "L": cross_entropy(logits, x["x_next"]).sum(0)}


def ways(p, x, s, V):
    """The states of a plain recurrence of embedded words in both directions."""
    return {
        f"h_{way}": rnn(x, s[f"h_{way}"], p[f"W_{way}"], p[f"{V}_{way}"], unbiased(s[f"h_{way}"]), left=way == "left")
        for way in ("right", "left")
    }


def two_way(p, x, s):
    e = embedding(x["x"], p["E"].T)
    found = ways(p, e, s, "U")
    right, left = (found[f"h_{way}"] @ p["V"].T + p["a"] for way in ("right", "left"))
    loss = (cross_entropy(right, x["x_next"]) + cross_entropy(left, x["x_prev"])).sum(0)
    mixed = p["gamma"] * (p["s_0"] * torch.cat([e, e], -1) + p["s_1"] * torch.cat([*found.values()], -1))
    return found | {"p_right": softmax(right, -1), "p_left": softmax(left, -1), "J": loss, "r": mixed}


def multitask(p, x, s):
    found = ways(p, embedding(x["w"], p["E"].T), s, "V")
    logits = torch.tanh(torch.cat([*found.values()], -1) @ p["W_d"].T) @ p["W_o"].T
    heads = {way: torch.tanh(found[f"h_{way}"] @ p[f"W_m_{way}"].T) @ p[f"W_q_{way}"].T for way in ("right", "left")}
    A = cross_entropy(logits, x["k"]).sum(0)
    F, B = (cross_entropy(heads[way], x[word]).sum(0) for way, word in (("right", "w_next"), ("left", "w_prev")))
    probabilities = {f"q_{way}": softmax(one, -1) for way, one in heads.items()}
    return found | probabilities | {"p": softmax(logits, -1), "A": A, "F": F, "B": B, "L": A + 0.1 * (F + B)}


# ---- networks.md: one answer for a sequence, or for two


def pooled(p, x, s):
    before, now, behind = (embedding(x[name], p["E"].T) for name in ("w_prev", "w", "w_next"))
    left = rnn(before, s["l"], p["W_sl"], p["W_l"], unbiased(s["l"]))
    right = rnn(behind, s["r"], p["W_sr"], p["W_r"], unbiased(s["r"]), left=True)
    y = torch.tanh(torch.cat([left, now, right], -1) @ p["W_2"].T + p["b_2"])
    logits = y.max(0).values @ p["W_4"].T + p["b_4"]
    return {"l": left, "r": right, "p": softmax(logits, -1), "J": cross_entropy(logits, x["k"])}


def pairs(p, x, s):
    g, h = (rnn(x[name], s[state], p["W"], p["U"], p["b"]) for name, state in (("x", "g"), ("y", "h")))
    u, v = g.max(0).values, h.max(0).values
    logits = torch.cat([u, v, (u - v).abs(), u * v], -1) @ p["A"].T + p["a"]
    return {"g": g, "h": h, "p": softmax(logits, -1), "J": cross_entropy(logits, x["k"])}


def sentiment(p, x, s):
    ((h, c),) = lstm(embedding(x["w"], p["E"].T), (s["h"], s["c"], *weights(p, "")))
    logits = h[-1] @ p["V"].T + p["a"]
    return {"h": h, "c": c, "y": softmax(logits, -1), "J": cross_entropy(logits, x["k"])}


# ---- networks.md: sequences made again, and to come


def autoencoder(p, x, s):
    h = rnn(x["x"], s["h"], p["W_E"], p["U_E"], p["b_E"])
    d = rnn(x["x"], h[-1], p["W_D"], p["U_D"], p["b_D"], left=True)
    made = torch.cat([d[1:], h[-1:]]) @ p["W"].T + p["b"]
    return {"h": h, "d": d, "J": ((x["x"] - made) ** 2).sum((0, -1))}


def minimal(x, h, p, mark=""):
    """A minimal gated unit, one step."""
    f = torch.sigmoid(torch.cat([h, x], -1) @ p[f"W_f{mark}"].T + p[f"b_f{mark}"])
    return (1 - f) * h + f * torch.tanh(torch.cat([f * h, x], -1) @ p[f"W_h{mark}"].T + p[f"b_h{mark}"])


def minimal_alone(p, x, s):
    return loop(lambda x, s: {"h": minimal(x, s["h"], p)}, x["x"], s)


def minimal_twice(p, x, s):
    v = loop(lambda x, s: {"v": minimal(x, s["v"], p, "_enc")}, x["x"].flip(0), s)["v"].flip(0)
    g = loop(lambda e, s: {"g": minimal(e, s["g"], p, "_dec")}, embedding(x["w"], p["E"].T), {"g": v[0]})["g"]
    logits = g @ p["P"].T + p["b"]
    return {"v": v, "g": g, "p": softmax(logits, -1), "J": cross_entropy(logits, x["w_next"]).mean(0)}


def sentences(p, x, s):
    h = rnn(x["x"], s["h"], p["W_e"], p["U_e"], p["b_e"])
    mu, log_variance = (h[-1] @ p[f"W_{name}"].T + p[f"b_{name}"] for name in ("mu", "lambda"))
    code = mu + torch.exp(log_variance / 2) * x["epsilon"]
    start = torch.tanh(code @ p["W_z"].T + p["b_z"])
    d = rnn(embedding(x["w"], p["E"].T), start, torch.eye(start.shape[-1]).double(), p["U_d"], unbiased(start))
    logits = d @ p["V"].T + p["a"]
    posterior = torch.distributions.Normal(mu, torch.exp(log_variance / 2))
    K = torch.distributions.kl_divergence(posterior, torch.distributions.Normal(torch.zeros_like(mu), 1.0)).sum(-1)
    R = cross_entropy(logits, x["w_next"]).sum(0)
    return {"h": h, "d": d, "p": softmax(logits, -1), "R": R, "K": K, "L": R + K}


def forecasts(p, x, s):
    before = torch.cat([s["z_delayed"][None], x["z"][:-1]])
    given = torch.cat([x["x"], before[..., None]], -1)
    h = rnn(given, s["h"], torch.cat([p["W"], p["w"][:, None]], -1), p["U"], p["b"])
    mu = h @ p["w_mu"] + p["b_mu"]
    sigma = torch.nn.functional.softplus(h @ p["w_sigma"] + p["b_sigma"])
    likelihood = -torch.nn.functional.gaussian_nll_loss(mu, x["z"], sigma**2, reduction="none", eps=1e-30).sum(0)
    return {"z_delayed": x["z"], "h": h, "mu": mu, "sigma": sigma, "L": likelihood}


# ---- the comparison

# (page, heading): the model
MODELS = {
    ("attention.md", "Bahdanau attention"): bahdanau,
    ("attention.md", "Pointer network"): pointer,
    ("captions.md", "Captions from features"): captions,
    ("captions.md", "Show, attend and tell"): show_attend_tell,
    ("networks.md", "Luong attention, dot"): luong_dot,
    ("networks.md", "Luong attention, general"): luong_general,
    ("networks.md", "Tagger with masks"): tagger,
    ("networks.md", "Characters in two layers"): characters,
    ("networks.md", "Sequence autoencoder"): autoencoder,
    ("networks.md", "MGU"): minimal_alone,
    ("networks.md", "Two minimal gated units"): minimal_twice,
    ("networks.md", "Pooling classifier"): pooled,
    ("networks.md", "Sentence pairs"): pairs,
    ("networks.md", "Sentiment"): sentiment,
    ("networks.md", "Sentences from a continuous space"): sentences,
    ("networks.md", "Forecasts"): forecasts,
    ("networks.md", "Two-way language model"): two_way,
    ("networks.md", "Tags and the words beside them"): multitask,
    ("networks.md", "Attention over words"): words_attended,
}


@pytest.mark.parametrize(("page", "heading"), MODELS)
def test_a_network_from_elsewhere_is_its_model_in_torch(page, heading):
    found = beyond(page_of(page).cell(heading).cell, MODELS[page, heading])
    assert not found, f"{heading}: kernel differs from torch: expected at most {TOLERANCE:.1e} per block, got {found}"


def test_every_network_of_the_pages_is_read_and_has_a_model():
    pages = {name: page_of(name) for name in sorted({page for page, _ in MODELS})}
    assert not [(name, page.refused, page.skipped) for name, page in pages.items() if page.refused or page.skipped]
    assert {(name, one.heading) for name, page in pages.items() for one in (*page.cells, *page.parts)} == {*MODELS}
