"""Networks with tokens, sums over time, starts and ends: with fast loops they compute what the textbook's kernel computes."""

from __future__ import annotations

import functools
import re
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from derive.compiler import compile_cell, derive
from derive.pages import read
from tests import bounds
from tests.arguments import size_of
from tests.kernels import module_of
from tests.network_values import drawn, sizes_of

PAGES = Path("examples/pages")
SECTIONS = {
    "000_networks.md": ["LSTM with its readout and loss, equations (2) to (10)"],
    "002_networks.md": ["Modelling language", "Sequence classification"],
    "004_networks.md": [
        "Language model with loss and perplexity, equations (5) to (9)",
        "Bidirectional, equations (17) to (19)",
        "Translation, extension III",
    ],
    "characters.md": ["Tagger", "Gated character model"],
}
CASES = [(page, title) for page, titles in SECTIONS.items() for title in titles]


@functools.cache
def kernels(page: str, title: str) -> tuple[ModuleType, ModuleType, float]:
    """(with fast loops, the textbook's, how far they may part of the size of their terms at seven steps)."""
    file = Path(__file__).parents[2] / PAGES / page
    (cell,) = [one.cell for one in read(file).cells if one.heading == title]
    derivation = derive(cell)
    fast, textbook = (module_of(compile_cell(cell, *passes)) for passes in ((), ((),)))
    sizes = sizes_of(fast, {"t": 7, "s": 5})
    equations = [equation for program in derivation.programs() for equation in program.equations]
    limit = bounds.rounded(bounds.of_program(equations, lambda size: size_of(str(size), sizes), 7, 3))
    return fast, textbook, limit


def everything(kernel: ModuleType, steps: int) -> dict[tuple[str, str], np.ndarray]:
    """Outputs and gradients, the second time with one workspace."""
    call = drawn(kernel, sizes_of(kernel, {"t": steps, "s": max(0, steps - 2)}), seed=0)
    call.inputs = {name: np.abs(array) for name, array in call.inputs.items()}  # targets of a divergence are shares
    workspace = kernel.Workspace()
    for _ in range(2):
        outputs, tape = kernel.forward(*call.groups(), workspace=workspace)
        gradients = kernel.backward(call.parameters, tape, call.cotangents, workspace=workspace)
    groups = {"outputs": outputs, "parameters": gradients.parameters, "inputs": gradients.inputs, "state": gradients.state}
    return {(group, name): array for group, found in groups.items() for name, array in found.items()}


@pytest.mark.parametrize(("page", "title"), CASES)
@pytest.mark.parametrize("steps", [7, 1, 0])
def test_a_network_with_fast_loops_computes_what_the_textbook_computes(page: str, title: str, steps: int) -> None:
    fast, textbook, limit = kernels(page, title)
    assert hasattr(fast, "_Forward")
    assert not hasattr(textbook, "_Forward")
    found, expected = everything(fast, steps), everything(textbook, steps)
    assert {key: array.shape for key, array in found.items()} == {key: array.shape for key, array in expected.items()}
    for key, array in expected.items():
        largest = max(np.abs(other).max(initial=0) for (group, _), other in expected.items() if group == key[0])
        assert np.abs(found[key] - array).max(initial=0) <= limit * max(np.abs(array).max(initial=0), 1e-3 * largest), key


@pytest.mark.parametrize(("page", "title"), [CASES[0], CASES[1], CASES[4]])
def test_the_header_counts_the_products_that_the_code_computes(page: str, title: str) -> None:
    """Gates in one product, a bias' gradient as a product with ones: the schedule of its loops, not the textbook's program."""
    (cell,) = [one.cell for one in read(Path(__file__).parents[2] / PAGES / page).cells if one.heading == title]
    text = compile_cell(cell)
    for name in ("forward", "backward"):
        body = re.search(rf"^def {name}\(.*?(?=^def |^class )", text, re.MULTILINE | re.DOTALL)[0]  # type: ignore[index]
        code = [line for line in body.splitlines() if not line.lstrip().startswith("#") and "np.ones(" not in line]
        found = sum(len(re.findall(r"\b(?:dot|matmul|tensordot)\(| @ ", line)) for line in code)
        said = re.search(rf"^#     {name} +(\d+) matrix products", text, re.MULTILINE)
        assert said is not None
        assert int(said[1]) == found, name
