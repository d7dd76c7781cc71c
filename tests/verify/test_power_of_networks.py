"""The verifier's power over networks: faults planted in layers, directions, masks, tokens and two axes of steps, all of them caught."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from derive.cell import Cell
from derive.pages import read
from derive.sources import cells_of
from verify.power import measure
from verify.power.measure import Bench

PAGES = Path(__file__).parents[2] / "examples" / "pages"
NETWORKS = {
    "two directions": "rnn --bidirectional",
    "two layers": "rnn --layers 2",
    "layers both ways": "rnn --layers 2 --bidirectional",
    "a mask": "lstm --masked",
    "tokens and a divergence": "002_networks.md --cell text_modelling",
    "tokens in rows": "003_networks.md --cell word_embeddings_and_the_next_word",
    "a mean over the steps": "004_networks.md --cell sentence_classification_by_the_mean_section_2_2",
    "an encoder and its decoder": "004_networks.md --cell translation_equations_23_to_26",
    "attention over two axes": "attention.md --cell pointer_network",
    "an image and tokens": "captions.md --cell captions_from_features",
}
OF_TWO_AXES = r"""
<!-- derive: w = tokens -->

$$h_s = \tanh(E w_s + U h_{s-1})$$

$$d_0 = h_S$$

$$d_t = \tanh(A z_t + R d_{t-1})$$

$$e_{t,s} = d_t^\top h_s$$

$$a_{t,s} = \operatorname{softmax}_s(e_{t,s})$$

$$c_t = \sum_s a_{t,s} h_s$$
"""
OF_NETWORKS = {"the wrong end", "the wrong way", "the wrong axis", "mean for sum", "token", "overwritten", "another parameter"}


def network(words: str) -> Cell:
    first, *rest = words.split()
    return cells_of([str(PAGES / first) if first.endswith(".md") else first, *rest])[0]


@pytest.mark.thorough
@pytest.mark.parametrize("name", NETWORKS)
def test_no_fault_survives_in_a_network(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One slip of each class and every fault of a whole pass; the cause of nine in ten is named."""
    monkeypatch.setattr(measure, "PER_CELL", 1)
    bench = Bench(network(NETWORKS[name]))
    assert bench.caught(bench.module) == []
    found = list(bench.outcomes(every=False, torch=False))
    real = [one for one in found if one.proof != "equivalent"]
    assert not [one for one in real if one.survived or (one.proof == "undecided" and not one.caught)]
    unnamed = [(one.kind, one.said, one.cause) for one in real if not one.named]
    assert len(unnamed) <= len(real) // 10, unnamed


@pytest.fixture(scope="module")
def bench() -> Bench:
    return Bench(read("page.md", text=OF_TWO_AXES).cells[0].cell)


def test_slips_of_networks_are_planted_along_two_axes_caught_and_named(bench: Bench) -> None:
    """A slip of each class that networks alone have."""
    slips = {
        kind: some[len(some) // 2] for kind, some in bench.edits.items() if kind.removesuffix(", several places") in OF_NETWORKS
    }
    assert {kind.removesuffix(", several places") for kind in slips} == OF_NETWORKS
    with np.errstate(all="ignore"):
        found = [bench.of_slip(kind, edit, torch=False) for kind, edit in slips.items()]
    real = [one for one in found if one.proof != "equivalent"]
    assert len(real) >= len(OF_NETWORKS)
    assert {one.proof for one in real} == {"different"}
    assert not [one for one in real if one.survived]
    assert all(one.named for one in real), [(one.said, one.cause) for one in real if not one.named]


def test_a_network_of_two_axes_as_derived_is_caught_by_nothing(bench: Bench) -> None:
    assert bench.caught(bench.module) == []
