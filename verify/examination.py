"""Everything that is held of a kernel, check after check, and the verdict on it."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from verify import against, behaviour, central, compare, continuation, gradients, kept, refusals, second_order, sizes, tangents
from verify.bookkeeping import bookkeeping, followed
from verify.compare import Row, called, fault
from verify.contract import Contract, broken, contract_of, guarded
from verify.data import OTHER_SIZES, QUICK, REGIMES, Regime, draw, drawn_sizes
from verify.diagnosis import Diagnosis
from verify.evidence import EXACT, WHOLE, Evidence
from verify.explaining import Explaining
from verify.findings import FAIL, NUMBERS, Finding, label_of
from verify.formula import of_saturation, of_unbounded
from verify.gradients import Comparison
from verify.kernel import Kernel, one_line
from verify.model import Model, model_of
from verify.options import options
from verify.settle import first_data, first_steps, method_of, reach_of, settled, usable
from verify.sizes import check_names as check_sizes
from verify.tolerances import EPS, SEEN, tolerance
from verify.verdicts import by_differences, of_block

if TYPE_CHECKING:
    from derive.cell import Cell

SHAKY = 1e-4
"""Disagreements below this are looked at again with the digits that the data themselves carry: a difference of converged values has few."""


@dataclass(frozen=True)
class Sight:
    """What a regime can see: its data, how far gradients reach, and the terms of the derived formula that it sees (None without one)."""

    regime: str
    steps: int
    growth: float
    farthest: float
    seen: int | None = None
    unseen: tuple[str, ...] = ()


@dataclass(frozen=True)
class Report:
    """What was found of one kernel. strict: whether a broken promise fails it too, unless excused; given: somebody brought it."""

    name: str
    routes: tuple[str, ...]
    rows: tuple[Row, ...]
    findings: tuple[Finding, ...]
    sights: tuple[Sight, ...] = ()
    method: str = EXACT
    note: str = ""
    against: str = ""
    comparisons: tuple[Comparison, ...] = field(default=(), repr=False)
    strict: bool = False
    diagnosis: Diagnosis | None = None
    given: bool = False
    excused: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        return not self.failures()

    def failures(self) -> list[Finding]:
        """What failed or stayed inconclusive, failures first; what only breaks the contract where that is asked for."""
        return sorted((f for f in self.findings if not f.passed and self.counts(f)), key=lambda f: f.verdict != FAIL)

    def counts(self, finding: Finding) -> bool:
        """Whether a finding says something of the kernel's verdict, rather than of a promise that isn't asked for."""
        return finding.kind == NUMBERS or (self.strict and finding.check not in self.excused)

    @cached_property
    def contract(self) -> Contract:
        """Which promises of the contract are kept."""
        return contract_of(self.findings)

    def failed_blocks(self) -> set[str]:
        return {finding.block for finding in self.failures() if finding.block}

    def worst(self, pair: tuple[str, str]) -> float:
        """The largest error of a pair, nan counting as the largest."""
        errors = [row.errors[pair] for row in self.rows if pair in row.errors]
        return float("nan") if any(np.isnan(errors)) else max(errors, default=0.0)

    def faults(self) -> list[str]:
        return [
            f"{self.name}: {finding.verdict.upper() if finding.verdict == FAIL else finding.verdict}: {finding.line()}"
            for finding in self.failures()
        ]

    def verdict(self) -> str:
        """One line: who agrees, in how many blocks, how closely; or what failed, where, and the likely cause."""
        if not self.passed:
            if self.diagnosis is not None and self.failures()[0].check == "gradients":
                return f"{self.name}: fail: {self.diagnosis.line()}"
            shown = [f"{self.name}: {finding.verdict}: {finding.line()}" for finding in self.failures()]
            more = ", ".join(dict.fromkeys(label_of(finding.block) or finding.check for finding in self.failures()[2:]))
            return "; ".join(shown[:2]) + (f"; and {len(shown) - 2} more: {more}" if more else "")
        pairs = self.rows[0].errors if self.rows else {}
        exact, near = (max((self.worst(p) for p in pairs if ("central" in p) is one), default=0.0) for one in (False, True))
        routes, worst = ", ".join(called(r, self.given) for r in self.routes[:-1]), f"worst {exact:.0e}"
        if self.method != EXACT:
            more, worst = by_differences(self.method, self.comparisons, self.findings)
            routes += f", {more}"
        note = "" if self.given or "hand-written" in self.routes else " (no hand-written gradient exists)"
        far = max((sight.steps for sight in self.sights), default=0) - 1
        agree = f"{routes} and {self.routes[-1]} differences agree in {len(self.rows)} blocks"
        return f"verified: {agree}, lag by lag to {far} ({worst}; central {near:.0e}){note}"


def check(
    kernel: Any,
    against: str | Sequence[str] | Model | None = None,
    *,
    names: Mapping[str, str] | Sequence[str] | None = None,
    name: str = "",
    hand: Any | None = None,
    seed: int = 0,
    thorough: bool = False,
    quick: bool = False,
    regimes: Sequence[Regime] | None = None,
    formula: Cell | None = None,
    sizes: Sequence[Mapping[str, int]] = (),
    contract: bool = False,
    excused: tuple[str, ...] = (),
    batch_first: bool = False,
    progress: Callable[[str], None] = lambda what: None,
) -> Report:
    """Hold a kernel's gradients to its own forward pass, and the kernel to everything that the contract says.

    kernel: a module of the contract, or the path of one. against: words that name a cell, which its forward and backward pass are held
    against too. names: theirs -> ours. hand: gradients written by hand. quick: the sharpest subset, about a second.
    regimes: other data than those of `verify.data`. formula: the cell that the kernel is of: both passes are held against its equations.
    sizes: of dimensions, instead of the usual ones, one set each: {"T": 300, "H": 200}.
    contract: whether a promise that is not kept fails the kernel too, wrong numbers or not, unless its check is excused.
    batch_first: whether its arrays are (B, T, n).
    Raises KernelError where the kernel doesn't keep the contract, DeriveError on words that name no cell.
    """
    module, shown = kept.module_of(kernel, name)
    wrapped = Kernel(module, shown, batch_first)
    model = kept.model_for(against, names)
    if model is not None:
        model.check_names(wrapped, shown)
    check_sizes(wrapped, sizes)
    return Examination(wrapped, model, hand, seed, thorough, quick, progress, regimes, formula, contract, sizes, excused).report()


def is_dust(one: Comparison, beside: Iterable[Comparison]) -> bool:
    """Whether a gradient is no larger, nor further off, than what rounding leaves of the largest where all of it cancels."""
    return one.size + one.apart <= EPS * max((other.size for other in beside if np.isfinite(other.size)), default=0.0)


@dataclass
class Examination:
    """One run over one kernel."""

    kernel: Kernel
    model: Model | None
    hand: Any | None
    seed: int
    thorough: bool
    quick: bool
    progress: Callable[[str], None]
    chosen: Sequence[Regime] | None = None
    formula: Cell | None = None
    strict: bool = False
    sizes: Sequence[Mapping[str, int]] = ()
    excused: tuple[str, ...] = ()

    def report(self) -> Report:
        """Everything, with nothing said on the way: what a kernel makes NumPy warn of is no one's to read but the checks'."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return self.examined()

    def examined(self) -> Report:
        with np.errstate(all="ignore"):
            plain = first_data(self.kernel, self.seed)
            self.books = bookkeeping(self.kernel, plain)
            if any(not finding.passed for finding in self.books):
                self.kernel = self.kernel.isolated()
            self.method, self.note = method_of(self.kernel, plain, self.seed)
            self.raised: list[Finding] = []
            self.other = False
            self.evidences = list(self.gather())
            self.ordinary = self.evidences[0]
            compared = [*self.books, *self.raised, *self.compared()]
            comparisons = [one for one in compared if isinstance(one, Comparison)]
            found = [one for one in compared if isinstance(one, Finding)]
            found += self.of_gradients(comparisons)
            self.wrong = {finding.block for finding in found if finding.verdict == FAIL}
            found += self.of_rest()
            rows, routes = self.table()
        found += self.of_rows(rows, found)
        self.diagnosis: Diagnosis | None = None
        found = followed(self.explained(found, comparisons))
        return Report(
            self.kernel.name, routes, rows, tuple(found), tuple(self.sights()), self.method, self.note,
            self.model.cell.command if self.model else "", tuple(comparisons), self.strict, self.diagnosis,
            excused=self.excused,
        )  # fmt: skip

    # ---- the derived cell

    @cached_property
    def asked(self) -> Model | None:
        """The cell that the kernel is known to be of."""
        return self.model or (model_of(self.formula) if self.formula else None)

    @cached_property
    def recognised(self) -> Model | None:
        """The built-in cell that the kernel shows itself to be."""
        return kept.recognised(self.kernel, self.evidences)

    # ---- data

    def regimes(self) -> list[tuple[Regime, int, Kernel]]:
        """(how the data are drawn, their seed, the kernel at its sizes), the ordinary data first."""
        if self.chosen is not None or self.quick:
            return [(regime, self.seed, self.kernel) for regime in self.chosen or QUICK]
        seeds = [self.seed + 1000 * k for k in range(8 if self.thorough else 1)]
        sized = [*OTHER_SIZES, *[drawn_sizes(seed) for seed in seeds]]
        found = [(regime, seed, self.kernel) for seed in seeds for regime in REGIMES]
        return [*found, *[(regime, self.seed, self.kernel.sized(sizes)) for regime, sizes in sized]]

    def gather(self) -> Iterator[Evidence]:
        for k, (regime, seed, kernel) in enumerate(self.regimes()):
            self.progress(f"data: {regime.name}")
            try:
                found = settled(kernel, regime, seed, self.method)
                if k == 0 or usable(found) >= 0:
                    yield found
                else:
                    self.raised.append(of_unbounded(self.asked, found))
            except Exception as error:
                if k == 0:
                    yield Evidence(kernel, regime, draw(kernel.dims, regime, seed), seed, self.method)
                self.raised.append(
                    Finding("gradients", FAIL, where=where_of(regime), said=f"the kernel raises {one_line(error)}")
                )

    # ---- gradients

    def compared(self) -> Iterator[Comparison | Finding]:
        localised: set[str] = set()
        for evidence in self.evidences:
            self.progress(f"gradients: {evidence.regime.name}")
            try:
                found = self.on(evidence, localised)
                if any(one.failed for one in found):
                    evidence = evidence.with_digits()
                    found = self.on(evidence, localised) if evidence.digits else found
                if any(one.failed and (one.error < SHAKY or is_dust(one, found)) for one in found) and self.method != WHOLE:
                    found = self.on(evidence.with_shaken(), localised)
                localised |= {one.block for one in found if one.failed}
                yield from found
            except Exception as error:
                yield Finding(
                    "gradients", FAIL, where=f"regime {evidence.regime.name}", said=f"the kernel raises {one_line(error)}"
                )

    def on(self, evidence: Evidence, localised: set[str]) -> list[Comparison]:
        """Block by block and lag by lag on one set of data."""
        elementwise, directions = evidence.data.steps <= 6, 4 if self.thorough else 2
        by_block = gradients.blocks(evidence.kernel, evidence, elementwise, directions, localised)
        stated = against.lags(self.formula, evidence) if self.method == WHOLE and self.formula else ()
        return [*by_block, *gradients.lags(evidence.kernel, evidence), *stated]

    def of_gradients(self, comparisons: list[Comparison]) -> Iterator[Finding]:
        far = min(40, max(evidence.data.steps for evidence in self.evidences) - 1)
        for block in self.ordinary.data.flat():
            yield from of_block(block, [one for one in comparisons if one.block == block], self.method, far)

    # ---- the rest

    def of_rest(self) -> Iterator[Finding]:
        self.progress("behaviour")
        for finding in behaviour.behaviour(self.kernel, self.ordinary.data):
            excused = finding.check == "saturation" and not finding.passed
            yield of_saturation(finding, self.asked or self.recognised, self.ordinary) if excused else finding
        self.progress("checkpoints and workspaces")
        yield from options(self.kernel, self.evidences, self.books, self.thorough)
        if self.note:
            yield broken("complex", self.note)
        else:
            yield from guarded("complex", lambda: continuation.continuation(self.kernel, self.seed, self.wrong))
        yield from guarded("refusals", lambda: refusals.refusals(self.kernel, self.ordinary.data))
        self.progress("forward mode")
        for evidence in self.evidences if self.thorough else self.evidences[: 1 if self.quick else 2]:
            yield from guarded("jvp", lambda e=evidence: tangents.forward_mode(e.kernel, e))  # type: ignore[misc]
            yield from guarded("step_jacobian", lambda e=evidence: tangents.step_jacobian(e.kernel, e, self.asked))  # type: ignore[misc]
        self.progress("second order")
        some = self.evidences if self.thorough else self.evidences[: 2 if self.quick else 3]
        yield from guarded("hvp", lambda: second_order.second_order(self.kernel, some))
        if not self.quick:
            self.progress("central differences")
            yield from guarded("central differences", self.of_sweeps)
            yield from guarded("kinks", lambda: central.kinks_at_origin(self.kernel, self.ordinary.data))
        if self.asked is not None:
            self.progress("against the cell")
            model = self.asked
            found = guarded("against", lambda: against.against(model, self.evidences, derived=self.model is not None))
            self.other = any(not finding.passed and "forward" in finding.where for finding in found)
            yield from found
        yield from guarded("sizes", self.of_sizes)

    def of_sizes(self) -> Iterator[Finding]:
        """Large sizes, chosen ones or the usual; also against the equations of the cell."""
        self.progress("sizes")
        held = None if self.other else self.asked
        each = sizes.FEW if self.quick else sizes.EVERY if self.thorough else sizes.USUAL
        stated = None if held is None else lambda kernel: against.Stated(held, kernel)
        sets = self.sizes or sizes.usual(self.kernel, each)
        yield from sizes.of_sizes(self.kernel, sets, self.method, self.seed, stated, self.wrong)

    def of_sweeps(self) -> Iterator[Finding]:
        found = self.kernel.gradients(self.ordinary.data)
        for sweep in central.sweeps(self.kernel, self.ordinary, found):
            yield central.judged(sweep, self.method != WHOLE)

    # ---- the table of routes

    def table(self) -> tuple[tuple[Row, ...], tuple[str, ...]]:
        self.progress("routes")
        evidences = self.evidences[:1] + (self.evidences[1:4] if self.hand is not None else [])
        try:
            rows = compare.rows(self.kernel, self.hand, evidences)
        except Exception:
            return (), ("emitted",)
        routes = [route for route in compare.ROUTES if any(route in pair for row in rows for pair in row.errors)]
        return rows, tuple(routes)

    def of_rows(self, rows: Sequence[Row], found: list[Finding]) -> Iterator[Finding]:
        """Pairs of routes that don't agree: one finding a block, where none says so already."""
        known = {finding.block for finding in found if finding.verdict == FAIL}
        kinked = {finding.block for finding in found if "kink" in finding.said}
        for row in rows:
            bad = [pair for pair in row.failures() if not ("central" in pair and row.block in kinked)]
            if bad and (row.block not in known or "hand-written" in fault(row)):
                pair = max(bad, key=lambda pair: np.nan_to_num(row.errors[pair], nan=np.inf))
                allowed = tolerance(*pair)
                yield Finding(
                    "routes",
                    FAIL,
                    row.block,
                    error=row.errors[pair],
                    tolerance=allowed.value,
                    reason=allowed.reason,
                    agree=fault(row),
                )

    # ---- causes

    def explained(self, found: list[Finding], comparisons: list[Comparison]) -> list[Finding]:
        """The failures with the arbiter's word and the likely cause."""
        if not any(f.verdict == FAIL and f.block for f in found):
            return found
        self.progress("causes")
        model = self.asked or self.recognised
        explaining = Explaining(self.kernel, self.evidences, model, self.method, comparisons, self.progress, self.seed)
        result, self.diagnosis = explaining.explained(found)
        return result

    # ---- what the data can see

    def sights(self) -> Iterator[Sight]:
        raised = {finding.where for finding in self.raised}
        for evidence in self.evidences:
            if where_of(evidence.regime) in raised:
                continue
            farthest = reach_of(evidence)
            seen: int | None = None
            unseen: tuple[str, ...] = ()
            if self.model is not None and self.model.is_along_t:
                data = first_steps(evidence.data, 6)
                with np.errstate(all="ignore"):
                    shares = self.model.seen(evidence.kernel.dims, data)
                parts = {part.key: part.text for part in self.model.parts}
                unseen = tuple(text for key, text in parts.items() if not shares.get(key, 0.0) > SEEN.value)
                seen = len(parts) - len(unseen)
            yield Sight(evidence.regime.name, evidence.data.steps, evidence.growth, farthest, seen, unseen)


# ---- pieces


def where_of(regime: Regime) -> str:
    return f"regime {regime.name}, {regime.steps} steps"


__all__ = ["Examination", "Report", "Sight", "check"]
