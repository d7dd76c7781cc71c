"""Sizes at which blocked code goes wrong: on both sides of 16, 32, 64, 128 and 256 in each dimension, one of them large at a time.

Cheap, so that there can be many: the gradients of all blocks along one direction, from one complex run of forward; forward against the
equations where there are some; float32 against float64. Where that differs it is looked into block by block, and for the first row,
step or example that is wrong.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from verify import differences
from verify.chain import TAMED, Chain, all_but_matrices_times, parameters_times
from verify.data import ORDINARY, Data, draw, vectors
from verify.evidence import EXACT, Array, exact
from verify.findings import FAIL, INCONCLUSIVE, PASS, Finding, label_of
from verify.gradients import NEAR_RUNS, NEARBY, norm, relative
from verify.kernel import Kernel, KernelError, one_line
from verify.size_words import Sizes, axes_of, seen, told
from verify.tolerances import COARSE, EPS, EPS32, Tolerance

if TYPE_CHECKING:
    from verify.against import Stated

SMALL = {"T": 3, "B": 2}
FEW = (130,)
USUAL = (16, 24, 33, 64, 127, 130, 256, 300)
EVERY = tuple(sorted({edge + by for edge in (16, 32, 64, 128, 256) for by in (-1, 0, 1)} | {24, 48, 100, 192, 300}))
"""How large a dimension is made: for a quick run, by default, in a thorough one."""

SETTLED = Tolerance(
    1e-9,
    "one wrong element of a block of 300 x 300 is 3e-3 of it; rounding stays below 1e-9 there, or changes with the last bits",
)
SINGLE = Tolerance(
    1e-3,
    "one wrong row of a block of 300 rows is 6e-2 of it, one wrong element 3e-3; float32 loses less, or other digits on other data",
)
BLUNT = 1e-3
"""Differences of real numbers decide where their own error is below this part of what they are compared with."""
CANCELLED = 16 * EPS32
"""What float32 may lose of a sum that cancels, next to the largest gradient, which is one that doesn't."""
HELD = 1e30
"""Beyond this nothing is said of float32, which ends at 3e38: what a gradient is made of may be some 1e8 times as large as it is."""
LARGE = 2e7
"""Numbers that a product of Jacobians may have for what it is asked for here."""
CHOSEN = re.compile(r"\s*([^\W\d]\w*)\s*=\s*([0-9]{1,6})\s*")


def chosen(texts: Sequence[str]) -> list[dict[str, int]]:
    """What `--sizes T=300,H=200` says, one set each. Raises KernelError."""
    found = []
    for text in texts:
        pairs = [CHOSEN.fullmatch(part) for part in text.split(",")]
        sizes = {pair[1]: int(pair[2]) for pair in pairs if pair}
        if len(sizes) < len(pairs) or min(sizes.values(), default=0) < 1:
            raise KernelError(
                f"verify: --sizes {text}: expected dimensions and whole numbers from 1 up, each once, got `{text}`. "
                "Write for example --sizes T=300,H=200."
            )
        found.append(sizes)
    return found


def usual(kernel: Kernel, each: Sequence[int]) -> list[dict[str, int]]:
    """One dimension large at a time, then all of them beyond 32."""
    names = ["T", "B", *kernel.dims.sizes]
    return [*({name: size} for name in names for size in each), {name: 33 + k for k, name in enumerate(names)}]


def check_names(kernel: Kernel, sets: Sequence[Sizes]) -> None:
    """Raises KernelError on a dimension that the kernel hasn't got."""
    known = ["T", "B", *kernel.dims.sizes]
    for name in (name for sizes in sets for name in sizes if name not in known):
        raise KernelError(
            f"verify: --sizes: {name} is no dimension of {kernel.name}: expected some of {', '.join(known)}, got {name}."
        )


# ---- one set of sizes


NOTHING_FINITE = "as they stand the equations give nothing finite"
"""Why a draw decides nothing: another one is asked for on which they do."""


@dataclass
class Trial:
    """A kernel at some sizes. known: blocks that are wrong anyway. failing: block -> how it differs. looks: block -> what finds where,
    which is slow. undecided, lossy: why nothing is said, by rounding. dull: outputs and blocks of which float32 has no digits at small
    sizes either. bursts: whether the equations of its cell give no finite outputs there either.
    """

    kernel: Kernel
    sizes: dict[str, int]
    method: str
    seed: int
    known: Container[str] = ()
    dull: Container[str] = ()
    failing: dict[str, Finding] = field(default_factory=dict)
    looks: dict[str, Callable[[], Finding]] = field(default_factory=dict)
    undecided: str = ""
    lossy: str = ""
    bursts: bool = False

    @property
    def where(self) -> str:
        return ", ".join(f"{name} = {size}" for name, size in self.sizes.items())

    def run(self, stated: Stated | None) -> None:
        """Find what fails. stated: the equations of the kernel's cell, where it has one."""
        positive = False
        try:
            for k in range(4):
                both = self.undecided == NOTHING_FINITE
                data = self.drawn(k, partial(self.of_both, stated) if both and stated else self.kernel.outputs, positive)
                if data is None:
                    self.bursts = stated is not None and self.drawn(k, lambda one: stated.outputs(stated.at.shared(one))) is None
                    self.undecided = "no draw gives finite outputs"
                    return
                self.undecided, self.lossy = "", ""
                self.on(data, stated)
                positive, self.undecided = bool(self.lossy), self.undecided or self.lossy
                if not self.undecided:
                    return
        except Exception as error:
            self.failing[""] = Finding("sizes", FAIL, where=self.where, said=f"the kernel raises {one_line(error)}")

    def of_both(self, stated: Stated, data: Data) -> dict[str, Array]:
        """Outputs by the kernel and by the equations, which as they stand may overflow where the kernel doesn't."""
        return self.kernel.outputs(data) | {f"{name} stated": a for name, a in stated.outputs(stated.at.shared(data)).items()}

    def drawn(self, k: int, run: Callable[[Data], dict[str, Array]], positive: bool = False) -> Data | None:
        """Data at these sizes on which the outputs of a run are finite. positive: positive ones first, on which sums don't cancel."""
        regime = replace(ORDINARY, scale=0.5, spread=0.4, steps=self.sizes["T"], batch=self.sizes["B"])
        tries = ((1.0, False), (0.3, False), (0.05, False), (0.5, True), (0.05, True))
        for shrink, signless in sorted(tries, key=lambda one: positive and not one[1]):
            data = draw(self.kernel.dims, regime, self.seed + 100 * k, shrink, signless)
            outputs = run(data)
            if all(np.isfinite(a).all() and np.abs(a).max(initial=0.0) <= 1e8 for a in outputs.values()):
                return data
        return None

    def on(self, data: Data, stated: Stated | None) -> None:
        outputs, tape = self.kernel.forward(data)
        got = self.kernel.backward(data, tape, data.cotangents)
        if stated is not None:
            self.of_forward(stated, stated.at.shared(data))
        primal = {block: array for block, array in data.flat().items() if block not in self.known}
        got = {block: got[block] for block, array in primal.items() if block in got and got[block].shape == array.shape}
        if not self.agrees(data, got, list(got)):
            for block in self.wrong(data, got):
                self.failing[block] = Finding("sizes", FAIL, block, self.where)
                self.looks[block] = partial(self.localised, data, got, block)
        self.of_single(data, {f"output {name}": array for name, array in outputs.items()} | got)

    def of_forward(self, stated: Stated, data: Data) -> None:
        """Outputs against the equations; where the run makes much of its last bits, no closer than it does."""
        outputs, expected, moved = self.kernel.outputs(data), stated.outputs(data), None
        if not all(np.isfinite(array).all() for array in expected.values()):
            self.undecided = NOTHING_FINITE
            return
        for name, array in expected.items():
            errors = [relative(outputs[name][t], array[t]) for t in range(len(array))]
            if all(error <= SETTLED.value for error in errors):
                continue
            moved = moved or [
                self.kernel.outputs(data.moved(4 * EPS, np.random.default_rng([self.seed, 53, k]))) for k in range(2)
            ]
            own = [max(relative(other[name][t], outputs[name][t]) for other in moved) for t in range(len(array))]
            step = next((t for t, error in enumerate(errors) if not error <= SETTLED.value + 8 * own[t]), None)
            if step is not None:
                where = f"{self.where}, forward: output {name}, step {step}"
                self.failing.setdefault("", Finding(
                    "sizes", FAIL, "", where, "differs from the equations", error=errors[step], tolerance=SETTLED.value,
                    reason=SETTLED.reason,
                ))  # fmt: skip

    # ---- float64: along one direction of many blocks

    def agrees(self, data: Data, got: dict[str, Array], blocks: Sequence[str]) -> bool:
        """Whether gradients are right along a direction, or nothing can be said of them."""
        error, own = self.apart(data, got, self.direction(data, got, blocks))
        if own > BLUNT:
            self.undecided = "differences of real numbers resolve nothing"
        return own > BLUNT or error <= SETTLED.value + 4 * own

    def wrong(self, data: Data, got: dict[str, Array]) -> list[str]:
        """The blocks that differ by more than the last bits of the data change the difference, and than rounding may take."""
        bad = [block for block in got if not self.agrees(data, got, [block])]
        if not bad:
            return []
        worth = self.worth(data, {block: self.direction(data, got, [block]) for block in bad})
        rng = np.random.default_rng([self.seed, 41])
        moved = [data.moved(4 * EPS, rng) for _ in range(2)]
        others = [(other, self.kernel.gradients(other)) for other in moved]
        return [block for block in bad if self.stays_wrong(data, got, block, worth[block], others)]

    def stays_wrong(
        self, data: Data, got: dict[str, Array], block: str, worth: float, others: Sequence[tuple[Data, dict[str, Array]]]
    ) -> bool:
        """Whether a block differs by more than what rounding may take, and alike on data that differ in their last bits."""
        direction = self.direction(data, got, [block])
        first, _ = self.apart(data, got, direction, signed=True)
        if abs(first) <= SETTLED.value + 4 * worth:
            return False
        there = [self.apart(other, found, direction, signed=True)[0] for other, found in others]
        if max(abs(first - one) for one in there) > abs(first) / 4:
            return False
        return not self.absorbed(data, got, block)

    def absorbed(self, data: Data, got: dict[str, Array], block: str) -> bool:
        """Whether float32 leaves nothing of a block: what a sum is made of is so large that float64 too may be off, alike on like data."""
        try:
            left = relative(self.in_single(data)[block], got[block]) <= COARSE
        except Exception:
            return False
        self.lossy = self.lossy if left else f"rounding leaves float32 nothing of {label_of(block)}"
        return not left

    def direction(
        self, data: Data, got: dict[str, Array], blocks: Sequence[str], keep: Mapping[str, Array] | None = None
    ) -> dict[str, Array]:
        """A random direction of some blocks in which each of them counts alike."""
        rng, found = np.random.default_rng([self.seed, 43]), {}
        for block in blocks:
            array = data.flat()[block]
            size = norm(got[block]) if np.isfinite(norm(got[block])) else 1.0
            values = rng.choice([-1.0, 1.0], array.shape) * rng.uniform(0.5, 1.5, array.shape)
            found[block] = values / (size or 1.0) * (1.0 if keep is None else keep[block])
        return found

    def apart(self, data: Data, got: dict[str, Array], direction: dict[str, Array], signed: bool = False) -> tuple[float, float]:
        """(backward along a direction less the derivative of the loss, the error of the latter)."""
        expected, own = self.derivative(data, direction)
        along = float(sum((got[block] * move).sum() for block, move in direction.items()).real)
        return (along - expected if signed else abs(along - expected)), own

    def derivative(self, data: Data, direction: dict[str, Array]) -> tuple[float, float]:
        def run(blocks: dict[str, Array]) -> dict[str, Array]:
            return self.kernel.outputs(data.with_flat(blocks))

        def total(moves: dict[str, Array], size: Callable[[Array], Array]) -> float:
            return float(sum((size(data.cotangents[name]) * moves[name]).sum() for name in data.cotangents))

        if self.method == EXACT:
            return total(differences.complex_tangents(run, data.flat(), direction), np.asarray), 0.0
        largest = max((float(np.abs(move).max(initial=0.0)) for move in direction.values()), default=1.0) or 1.0
        along = {block: move / largest for block, move in direction.items()}
        moves, errors = differences.extrapolated_tangents(run, data.flat(), along)
        return largest * total(moves, np.asarray), largest * total(errors, np.abs)

    def worth(self, data: Data, directions: Mapping[str, dict[str, Array]]) -> dict[str, float]:
        """What rounding may take of the derivative along each direction, where units are saturated; 0 where that is too much to find."""
        width = sum(data.width(f"initial {name}") for name in data.state)
        chain = Chain(self.kernel, data, exact if self.method == EXACT else differences.extrapolated_tangents, digits=True)
        if data.steps * data.batch * width * max(width, len(directions)) > LARGE or not chain.holds:
            return dict.fromkeys(directions, 0.0)
        errors = chain.along_each(list(directions.values()))[1]
        squares = sum(
            ((vectors(data.cotangents[name])[..., None] * error) ** 2).sum(axis=(0, 1, 2)) for name, error in errors.items()
        )
        return dict(zip(directions, np.sqrt(squares).tolist(), strict=True))

    def localised(self, data: Data, got: dict[str, Array], block: str) -> Finding:
        """The failure of a block, with the first place along each axis from which on it is wrong."""
        direction = self.direction(data, got, [block])
        expected, _ = self.derivative(data, direction)
        along = float((got[block] * direction[block]).sum().real)
        said = []
        for axis, what in enumerate(axes_of(block, got[block].ndim)):
            length = got[block].shape[axis]
            first, last = self.first(data, got, block, axis, False), length - 1 - self.first(data, got, block, axis, True)
            if last - first + 1 < length:
                said.append(f"{what} {first}" if first == last else f"{what}s {first} to {last}")
        return Finding(
            "sizes", FAIL, block, self.where, "wrong " + (f"in {', '.join(said)}" if said else "everywhere"), along, expected,
            abs(along - expected), SETTLED.value, SETTLED.reason,
        )  # fmt: skip

    def first(self, data: Data, got: dict[str, Array], block: str, axis: int, from_end: bool) -> int:
        """Where along an axis a block is wrong first, counted from the start or from the end."""
        low, high = 0, got[block].shape[axis]  # right on so many, wrong on so many
        while high - low > 1:
            middle = (low + high) // 2
            some = slice(got[block].shape[axis] - middle, None) if from_end else slice(0, middle)
            keep = np.zeros(got[block].shape)
            keep[(slice(None),) * axis + (some,)] = 1.0
            error, own = self.apart(data, got, self.direction(data, got, [block], {block: keep}))
            low, high = (low, middle) if error > SETTLED.value + 4 * own else (middle, high)
        return int(high - 1)

    # ---- float32

    def of_single(self, data: Data, whole: dict[str, Array]) -> None:
        """float32 against float64: what differs by much, alike on data that differ in their last bits, and where no unit is saturated."""
        if max((norm(array) for array in whole.values()), default=0.0) > HELD:
            return
        single = self.in_single(data)
        bad = [name for name in self.blurred(single, whole) if name not in self.dull]
        for tame in (times(data, by) for by in TAMED[1:4] for times in (parameters_times, all_but_matrices_times)):
            if bad:
                found, right = self.in_single(tame), self.results(tame)
                bad = [name for name in bad if not relative(found[name], right[name]) <= SINGLE.value]
        if not bad:
            return
        for name in self.lasting(data, bad, single, whole):
            block = "" if name.startswith("output ") else name
            where = f"{self.where}, float32" + (f", {name}" if not block else "")
            self.failing.setdefault(block, Finding(
                "sizes", FAIL, block, where, "differs from float64", error=relative(single[name], whole[name]),
                tolerance=SINGLE.value, reason=SINGLE.reason,
            ))  # fmt: skip

    def lasting(self, data: Data, bad: list[str], single: dict[str, Array], whole: dict[str, Array]) -> list[str]:
        """Of what float32 gives differently what it gives alike on data nearby, in `bad`: other digits lost there are no fault.

        Data that differ in their last bits move a sum of hundreds by less than its own rounding, which then is the same. So what is no
        larger than rounding of the largest gradient is looked at further away too, where the gradient hardly moves: a fault moves with it.
        """
        limit = CANCELLED * max((norm(array) for name, array in whole.items() if not name.startswith("output ")), default=0.0)
        for by, times in ((4 * EPS32, 1), (NEARBY, NEAR_RUNS)):
            for k in range(times if bad else 0):
                moved = data.moved(by, np.random.default_rng([self.seed, 47, k]))
                there, again = self.results(moved), self.in_single(moved)
                for name in [*bad]:
                    one, two = single[name] - whole[name], again[name] - there[name]
                    asked = by < NEARBY or (norm(one) <= limit and relative(there[name], whole[name]) <= COARSE)
                    if asked and norm(one - two) > norm(one) / 2:
                        bad.remove(name)
        return bad

    def blurred(self, single: dict[str, Array], whole: dict[str, Array]) -> list[str]:
        """What float32 gives differently."""
        return [name for name, array in single.items() if name in whole and not relative(array, whole[name]) <= SINGLE.value]

    def lost_at_small_sizes(self) -> list[str]:
        """Of what float32 has no digits though no dimension is large: for the check of float32 to judge."""
        try:
            data = self.drawn(0, self.kernel.outputs)
            return [] if data is None else self.blurred(self.in_single(data), self.results(data))
        except Exception:
            return []

    def in_single(self, data: Data) -> dict[str, Array]:
        return {name: array.astype(np.float64) for name, array in self.results(data.astype(np.float32)).items()}

    def results(self, data: Data) -> dict[str, Array]:
        """Outputs and gradients, in the precision of the data."""
        outputs, tape = self.kernel.forward(data)
        return {f"output {name}": array for name, array in outputs.items()} | self.kernel.backward(data, tape, data.cotangents)


# ---- all sets


def of_sizes(
    kernel: Kernel,
    sets: Sequence[Sizes],
    method: str,
    seed: int,
    stated: Callable[[Kernel], Stated] | None = None,
    known: Container[str] = (),
) -> Iterator[Finding]:
    """One finding for the blocks that fail at the same sets, of the first of these; or one that says what was looked at."""
    trials = []
    small = Trial(kernel, {**SMALL, **kernel.dims.sizes}, method, seed)
    dull = small.lost_at_small_sizes()
    for sizes in sets:
        at = {**SMALL, **kernel.dims.sizes, **sizes}
        sized = kernel.sized([at[name] for name in kernel.dims.sizes])
        trial = Trial(sized, at, method, seed, known, dull)
        trial.run(None if stated is None else stated(sized))
        trials.append(trial)
    groups: dict[tuple[int, ...], list[str]] = {}
    for block in dict.fromkeys(block for trial in trials for block in trial.failing):
        groups.setdefault(tuple(k for k, trial in enumerate(trials) if block in trial.failing), []).append(block)
    for wrong, blocks in groups.items():
        first, block = trials[wrong[0]], blocks[0]
        found = first.looks[block]() if block in first.looks else first.failing[block]
        right = [k for k, trial in enumerate(trials) if k not in wrong and not trial.undecided]
        alike = f"; so {'are' if len(blocks) > 2 else 'is'} {', '.join(map(label_of, blocks[1:]))}" if blocks[1:] else ""
        yield replace(found, said=f"{found.said}{alike}; {seen([sets[k] for k in wrong], [sets[k] for k in right])}")
    silent = [trial for trial in trials if trial.undecided and not trial.bursts and not trial.failing]
    left_out = [sizes for sizes, trial in zip(sets, trials, strict=True) if trial.bursts]
    if silent and not groups:
        said = f"{len(silent)} of {len(trials)} sets of sizes decide nothing: {silent[0].undecided}"
        yield Finding("sizes", INCONCLUSIVE, where=silent[0].where, said=said)
    if not groups and not silent:
        without = f"; {told('left out', left_out)}, where outputs grow beyond all bounds, by the formula" if left_out else ""
        yield Finding("sizes", PASS, said=f"{len(trials)} set{'s' * (len(trials) > 1)}, {told('large', sets)}{without}")
