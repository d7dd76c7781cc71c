"""Random networks: what the page says, what the kernel computes, and the same network in NumPy by a route that shares nothing.

Outputs are held against the equations' own values, gradients against the complex step of these, along a direction of each argument,
and hvp against the complex step of `backward`. Either side may be off by the roundings of the programs (`bounds.of_program`), of the
size of the terms: of an output its largest element, of a gradient |gradient| |direction| summed and what the outputs move by, or the
largest of what the loss gives where less is left of it, as behind a softmax that is nearly 0 or 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType

import numpy as np
import pytest
import sympy as sp

from derive.compiler import FAST, Derivation, derive, emit
from derive.errors import DeriveError
from derive.pages import read
from tests import arguments as args
from tests import bounds
from tests.arguments import STEP, Call, size_of
from tests.kernels import module_of
from tests.network_values import BATCH, Values, drawn, sizes_of
from tests.profiles import THOROUGH
from tests.random_networks import Network

COUNT = 1000 if THOROUGH else 60
LENGTHS = {"t": 4, "s": 3}


class Trial:
    """A network of a page with its kernel, and the same in NumPy."""

    def __init__(self, seed: int, passes: Sequence[str] = FAST) -> None:
        self.network = Network(seed)
        (page,) = read("random.md", text=self.network.page).cells
        self.derivation: Derivation = derive(page.cell)
        self.kernel = module_of(emit(self.derivation, passes))
        assert {"J", "J_t"} & self.network.rules.keys() <= self.kernel.OUTPUTS.keys(), "a loss was passed over"
        self.sizes = sizes_of(self.kernel, LENGTHS)
        self.call, self.direction = (drawn(self.kernel, self.sizes, seed=k) for k in (0, 1))

    def limit(self) -> float:
        """How far two routes may part, of the size of their terms."""
        equations = [equation for program in self.derivation.programs() for equation in program.equations]

        def size(dimension: sp.Expr) -> int:
            return size_of(str(dimension), self.sizes)

        return bounds.rounded(bounds.of_program(equations, size, max(LENGTHS.values()), BATCH))

    def written(self, call: Call) -> dict[str, np.ndarray]:
        """All outputs by the network in NumPy."""
        values, tables = Values(self.network, call, LENGTHS), {**self.kernel.STATES, **self.kernel.OUTPUTS}
        return {name: values.everything(name, not dims) for name, dims in tables.items()}

    def wrong_outputs(self) -> list[str]:
        found, expected = args.forward(self.kernel, self.call)[0], self.written(self.call)
        assert {name: array.shape for name, array in found.items()} == {name: array.shape for name, array in expected.items()}
        sizes = {name: np.abs(array).max(initial=0) for name, array in expected.items()}
        return [
            name
            for name, array in expected.items()
            if not np.abs(found[name] - array).max(initial=0) <= self.limit() * sizes[name]
        ]

    def wrong_gradients(self) -> list[str]:
        """Of every argument, along its direction."""
        wrong, gradients = [], args.backward(self.kernel, self.call)
        given = max(np.abs(array).max(initial=0) for array in self.call.cotangents.values())
        for (group, name), gradient in gradients.items():
            move = self.direction.all()[group, name]
            along = gradient * move
            outputs = self.written(self.moved((group, name)))
            loss = [self.call.cotangents[one] * array.imag / STEP for one, array in outputs.items()]
            size = np.abs(along).sum() + sum(np.abs(part).sum() for part in loss)
            size = max(size, np.abs(move).max(initial=0) * given)
            if not abs(along.sum() - sum(part.sum() for part in loss)) <= self.limit() * size:
                wrong.append(name)
        return wrong

    def moved(self, *keys: tuple[int, str]) -> Call:
        """The arguments, some an imaginary step along their direction; tokens stay."""
        call = self.call.copy()
        for group, name in keys:
            array = call.groups()[group][name]
            if array.dtype.kind == "f":
                call.groups()[group][name] = array + 1j * STEP * self.direction.all()[group, name]
        return call

    def wrong_second(self) -> list[str]:
        """How gradients move, of the size of the largest in its table."""
        tokens = getattr(self.kernel, "TOKENS", {})
        still = Call(
            self.direction.parameters, {n: a for n, a in self.direction.inputs.items() if n not in tokens}, self.direction.state
        )
        found = args.hvp(self.kernel, self.call, still)
        moved = self.moved(*self.call.all()).map(lambda array: array if array.dtype.kind == "i" else array.astype(complex))
        expected = {key: array.imag / STEP for key, array in args.backward(self.kernel, moved).items()}
        assert found.keys() == expected.keys()
        largest = max(np.abs(array).max(initial=0) for array in expected.values())
        return [
            key[1] for key, array in expected.items() if not np.abs(found[key] - array).max(initial=0) <= self.limit() * largest
        ]


@pytest.mark.parametrize("seed", range(COUNT))
def test_a_random_network_is_read_and_computed_as_it_is_written(seed: int) -> None:
    trial = Trial(seed)
    wrong = {"outputs": trial.wrong_outputs(), "gradients": trial.wrong_gradients(), "hvp": trial.wrong_second()}
    assert not any(wrong.values()), f"{wrong}\n{trial.network.page}"


def test_a_gradient_that_is_off_by_a_little_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    trial, right = Trial(8), args.backward

    def wrong(kernel: ModuleType, call: Call) -> dict[tuple[int, str], np.ndarray]:
        found = right(kernel, call)
        return found | {(0, "W_4"): found[0, "W_4"] * (1 + 1e-9)}

    monkeypatch.setattr(args, "backward", wrong)
    assert trial.wrong_gradients() == ["W_4"]


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("h_{s-1}", "h_{s+1}"),
        ("h_S", "h_1"),
        (r"\operatorname{softmax}_s", r"\operatorname{softmax}_t"),
        (r"\frac{1}{T} ", ""),
        ("(1 - n_s)", "n_s"),
        ("d_{t-1} + W_{5}", "d_{t} + W_{5}"),
    ],
)
def test_a_page_that_says_something_else_is_another_network(right: str, wrong: str, monkeypatch: pytest.MonkeyPatch) -> None:
    page = Network(8).page
    assert right in page
    monkeypatch.setattr(Network, "page", page.replace(right, wrong))
    try:
        trial = Trial(8)
    except DeriveError:
        return
    assert trial.wrong_outputs()
