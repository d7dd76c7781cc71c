"""Plant, prove, check: every fault of every kept cell, by every check."""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from types import SimpleNamespace
from typing import Any

import numpy as np

from derive.cell import Cell
from derive.compiler import emit
from verify import behaviour, gradients, tangents
from verify.axes import along_of
from verify.bookkeeping import bookkeeping
from verify.cause import Explanation, Inquiry
from verify.data import BATCH, LONG, ORDINARY, SHORT, Data, draw
from verify.edits.edit import Edit
from verify.edits.run import Trial
from verify.edits.table import backward_edits
from verify.edits.words import EditNotation, described
from verify.evidence import CHAINED, EXACT, Array, Evidence
from verify.findings import FAIL, Finding
from verify.gradients import bound, crop, norm, relative
from verify.kept import handwritten_for
from verify.kernel import Kernel, load_text
from verify.model import Model, model_of
from verify.options import options
from verify.power.exact import ExactKernel, Judge, resized
from verify.power.faults import Fault, faults
from verify.power.others import Plain, has_torch
from verify.power.printed import Unprinted, printed
from verify.search import Search
from verify.settle import settled
from verify.tolerances import CENTRAL
from verify.tolerances import EXACT as CLOSE
from verify.ways import arrays_of, leftward_of, one_step, ways_of

BY_ROUTE = ("blocks", "lags", "adjoint", "step Jacobian", "derived cell", "hand-written", "central", "behaviour")
OTHERS = ("gradcheck", "central 1e-5/1e-3", "dot product")
CALLS = ("shapes", "omitted cotangent", "state=None", "examples independent")
PER_CELL = 80
"""How many slips are planted in a cell by default, spread evenly over the classes; all of them with --thorough."""
ASIDE = ("equivalent", "not printed")
"""What is said of slips that are no faults of a kernel."""
LONGEST = 6
"""Steps on which a slip that cuts the recurrence shows, whatever its K in the table."""


@dataclass(frozen=True)
class Outcome:
    """One planted fault: how it was proved to be one, which checks caught it, what others said (None: not asked).

    named: whether the first cause that is named is the fault, or one that gives identical gradients; cause: that cause.
    """

    cell: str
    kind: str
    said: str
    proof: str
    caught: tuple[str, ...]
    others: dict[str, bool | None] = field(default_factory=dict)
    named: bool = False
    cause: str = ""

    @property
    def survived(self) -> bool:
        return self.proof not in ASIDE and not self.caught


@dataclass
class Bench:
    """A cell with everything that its faults are held against, computed once: the forward pass is right in all of them.

    target: what kernels with slips are printed for; faults of whole passes are planted around a NumPy module alone.
    """

    cell: Cell
    seed: int = 0
    target: str = "numpy"

    def __post_init__(self) -> None:
        self.model: Model = model_of(self.cell)
        module = load_text(emit(self.model.derivation), f"{self.cell.name}.py")
        self.kernel = Kernel(module, self.cell.name)
        self.hand = handwritten_for(self.cell.name, module)
        self.module: Any = self.kernel.module if along_of(module) else module  # faults are planted in what is along T
        with np.errstate(all="ignore"):
            self.evidences = [settled(self.kernel, regime, self.seed, EXACT) for regime in (ORDINARY, SHORT, LONG)]

    @property
    def ordinary(self) -> Evidence:
        return self.evidences[0]

    @cached_property
    def judge(self) -> Judge:
        return Judge(self.model, resized(self.kernel.dims))

    @cached_property
    def derived(self) -> dict[str, Array]:
        data = self.ordinary.data
        return self.model.gradients(self.kernel.dims, data, data.cotangents)

    @cached_property
    def by_hand(self) -> dict[str, Array]:
        if self.hand is None:
            return {}
        data = self.ordinary.data
        _, tape = self.hand.forward(data.parameters, data.inputs, data.state)
        return self.kernel.flat(self.hand.backward(data.parameters, tape, data.cotangents))

    @cached_property
    def plain(self) -> Plain:
        small = replace(ORDINARY, batch=BATCH // 2)
        return Plain(self.kernel, draw(self.kernel.dims, small, self.seed))

    @cached_property
    def plain_long(self) -> Plain:
        data = draw(self.kernel.dims, replace(SHORT, batch=1), self.seed)
        return Plain(self.kernel, replace(data, cotangents=data.only_step(-1)))

    @cached_property
    def reference(self) -> Plain:
        return Plain(self.kernel, self.ordinary.data)

    # ---- planting

    @cached_property
    def edits(self) -> dict[str, list[Edit]]:
        """Every slip by its class, those of several places apart from those of one."""
        found: dict[str, list[Edit]] = defaultdict(list)
        for edit in backward_edits(self.model.derivation.backward, self.model.derivation.forward):
            found[edit.kind + ", several places" * (edit.places > 1)].append(edit)
        return found

    def faults(self) -> Iterator[Fault]:
        """Every fault of a whole pass."""
        if self.target != "numpy":
            return iter(())
        return faults(self.module, self.cell.is_chain, self.model.is_along_t)

    def planted(self, count: int | None) -> list[tuple[str, Edit]]:
        """Slips with their classes, spread evenly over them."""
        if count is None:
            return [(kind, edit) for kind, some in self.edits.items() for edit in some]
        share = max(1, count // max(1, len(self.edits)))
        spread = {kind: np.unique(np.linspace(0, len(some) - 1, share).astype(int)) for kind, some in self.edits.items()}
        return [(kind, some[k]) for kind, some in self.edits.items() for k in spread[kind]]

    @contextlib.contextmanager
    def emitted(self, edit: Edit) -> Iterator[Any]:
        """The kernel of a changed program; of NumPy interpreted where the schedule has no place for the change, or makes something else
        of it. Raises Unprinted where another target has none."""
        with contextlib.ExitStack() as stack:
            try:
                if is_weighted(edit):
                    raise Unprinted("no kernel is given the weights of a cut")
                module = stack.enter_context(printed(replace(self.model.derivation, backward=edit.program), self.target))
                self.as_planted(module, edit)
            except Exception:
                if self.target != "numpy":
                    raise
                module = self.interpreted(edit)
            yield module

    def as_planted(self, module: Any, edit: Edit) -> None:
        """Whether a module computes what the changed program says."""
        data = self.ordinary.data
        try:
            found = Kernel(module, "planted").gradients(data)
        except KeyError:  # of a mapping of the caller's, or of the tape
            raise Unprinted("it reads what no call brings") from None
        except RuntimeError as error:
            if "no member named" in str(error):  # of gcc and clang, of the structure of a call
                raise Unprinted("it reads what no call brings") from None
            raise
        expected = self.model.gradients(self.kernel.dims, data, data.cotangents, edit.program)
        if not all(relative(found[block], array) <= CLOSE.value for block, array in expected.items()):
            raise Unprinted("the schedule makes something else of it")

    def interpreted(self, edit: Edit) -> Any:
        def forward(parameters: Any, inputs: Any, state: Any = None) -> Any:
            outputs, tape = self.module.forward(parameters, inputs, state)
            return outputs, (tape, parameters, inputs, state)

        def backward(parameters: Any, tape: Any, cotangents: Any) -> Any:
            _, _, inputs, state = tape
            steps, batch = next(iter(inputs.values())).shape[:2]
            state = state or {n: np.zeros((batch, *self.kernel.dims.shape(d))) for n, d in self.kernel.dims.states.items()}
            data = Data(dict(parameters), dict(inputs), dict(state), {}, steps, batch)
            found = self.model.gradients(self.kernel.dims, data, cotangents, edit.program)
            return SimpleNamespace(
                parameters={n: found[n] for n in self.module.PARAMETERS},
                inputs={n: found[f"input {n}"] for n in self.module.INPUTS},
                state={n: found[f"initial {n}"] for n in self.module.STATES},
            )

        return SimpleNamespace(
            **{k: getattr(self.module, k, {}) for k in ("PARAMETERS", "INPUTS", "STATES", "OUTPUTS", "TOKENS", "jvp")},
            forward=forward,
            backward=backward,
        )

    # ---- naming

    @cached_property
    def searches(self) -> list[Search]:
        """The search on each set of data, made once for all faults."""
        found = []
        for evidence in self.evidences:
            data = evidence.data
            found.append(Search(Trial(self.model, self.kernel.dims, data, data.cotangents), data))
        return found

    def cause(self, module: Any) -> Explanation | None:
        """The first cause that is named for the gradients of a module: on the data that show most of them wrong."""
        kernel = Kernel(module, self.cell.name)
        wrong = [len(search.differing(kernel.gradients(e.data))) for e, search in zip(self.evidences, self.searches, strict=True)]
        for k in sorted((k for k in range(len(wrong)) if wrong[k]), key=lambda k: -wrong[k]):
            again = [replace(self.evidences[j], kernel=kernel) for j in range(len(wrong)) if wrong[j] and j != k]
            own = replace(self.evidences[k], kernel=kernel)
            inquiry = Inquiry(own, [], self.model, known=self.searches[k], together=0, again=again)
            if inquiry.explanation is not None:
                return inquiry.explanation
        return None

    def gives(self, found: Explanation, module: Any) -> bool:
        """Whether a cause gives the gradients of a module: on all data, to the last digit."""
        kernel = Kernel(module, self.cell.name)
        if len(found.edits) != 1:
            return False
        for evidence, search in zip(self.evidences, self.searches, strict=True):
            got, right = kernel.gradients(evidence.data), search.trial.gradients
            expected = right | search.trial.run(found.edits[0])
            for block, array in expected.items():
                allowed = max(1e-3 * norm(got[block] - right[block]), 1e-9 * norm(right[block]))
                if not norm(got[block] - array) <= allowed:
                    return False
        return True

    def named(self, module: Any, edit: Edit | None = None) -> tuple[bool, str]:
        """(whether the first cause named is the planted one or gives the same gradients, that cause)."""
        found = self.cause(module)
        if found is None:
            return False, ""
        said = "; ".join(described(one, self.model.derivation.notation(EditNotation)) for one in found.edits)
        same = edit is not None and len(found.edits) == 1 and found.edits[0].changed == edit.changed
        return same or self.gives(found, module), said

    def broken(self, module: Any, check: str) -> tuple[bool, str]:
        """(whether the first of the checks of calls that fails is the one that a fault breaks, its cause)."""
        failed = [finding for finding in self.calls(Kernel(module, self.cell.name)) if finding.verdict == FAIL]
        first = failed[0] if failed else None
        return first is not None and first.check == check, first.line() if first else ""

    # ---- catching

    def caught(self, module: Any) -> list[str]:
        """The checks that refuse a module; one that raises refuses it, so that what is right is computed first, where nothing is caught."""
        self.right()
        kernel = Kernel(module, self.cell.name)
        found = []
        for name, check in (
            ("blocks", self.blocks), ("lags", self.lags), ("adjoint", self.adjoint), ("step Jacobian", self.step_jacobian),
            ("derived cell", lambda k: self.differs(k, self.derived, CLOSE.value, False)),
            ("hand-written", lambda k: bool(self.by_hand) and self.differs(k, self.by_hand, CLOSE.value, False)),
            ("central", lambda k: self.differs(k, self.reference.numerical, CENTRAL.value, False)),
            ("behaviour", lambda k: any(f.verdict == FAIL for f in self.calls(k))),
        ):  # fmt: skip
            try:
                if check(kernel):
                    found.append(name)
            except Exception:
                found.append(name)
        return found

    def right(self) -> tuple[Any, ...]:
        """Everything that modules are held against."""
        return self.derived, self.by_hand, self.pushed, self.jacobians, self.reference.numerical

    def calls(self, kernel: Kernel) -> list[Finding]:
        """What is said of calls: what they leave behind, how they behave, and those with options."""
        data = self.ordinary.data
        method = EXACT if self.target == "numpy" else CHAINED  # other targets take no complex numbers
        evidences = [replace(evidence, kernel=kernel, method=method) for evidence in self.evidences]
        books = bookkeeping(kernel, data)
        return [*books, *behaviour.behaviour(kernel, data, CALLS), *options(kernel, evidences, books, False)]

    def blocks(self, kernel: Kernel) -> bool:
        seen: set[str] = set(self.ordinary.data.flat())
        return any(one.failed for e in self.evidences for one in gradients.blocks(kernel, e, e.data.steps <= 6, localised=seen))

    def lags(self, kernel: Kernel) -> bool:
        return any(one.failed for e in self.evidences for one in gradients.lags(kernel, e))

    def adjoint(self, kernel: Kernel) -> bool:
        data = self.ordinary.data
        found = kernel.gradients(data)
        return any(
            finding.verdict == FAIL
            for block, (direction, pushed) in self.pushed.items()
            for finding in tangents.adjoint(kernel, block, pushed, found, direction, data)
        )

    @cached_property
    def pushed(self) -> dict[str, tuple[Array, dict[str, Array]]]:
        data = self.ordinary.data
        directions = {block: tangents.direction_of(self.ordinary, block) for block in data.flat()}
        return {b: (v, tangents.pushed(self.kernel, data, {b: v})) for b, v in directions.items()}

    def step_jacobian(self, kernel: Kernel) -> bool:
        return any(
            finding.verdict == FAIL
            for way, jacobians, single in self.jacobians
            for finding in tangents.against_backward(kernel, jacobians, single, bound(self.ordinary, 1).value, way)
        )

    @cached_property
    def jacobians(self) -> list[tuple[list[str], Array, Data]]:
        """(the states of a way, their step Jacobians, each step as a run by itself) of each way; none where a step isn't one."""
        data = self.ordinary.data
        leftward = leftward_of(self.kernel, data)
        if leftward is None or not data.state:
            return []
        outputs, tape = self.kernel.forward(data)
        found = arrays_of(self.module.step_jacobian(data.parameters, tape)).values()
        single = one_step(data, outputs, np.random.default_rng(1), leftward)
        ways = ways_of(self.kernel, leftward)
        return [(way, a.reshape(-1, *a.shape[2:]), single) for way, a in zip(ways, found, strict=True)]

    def differs(self, kernel: Kernel, expected: dict[str, Array], allowed: float, cropped: bool) -> bool:
        found = kernel.gradients(self.ordinary.data)
        pick: Callable[[Array, str], Array] = (lambda a, b: crop(a, b, self.ordinary)) if cropped else (lambda a, b: a)
        return any(
            block not in found or not relative(pick(found[block], block), array) <= allowed for block, array in expected.items()
        )

    def others(self, module: Any, long: bool, torch: bool) -> dict[str, bool | None]:
        """What the other checks say, on short data and, of a cut recurrence, on long ones too."""
        said: dict[str, bool | None] = dict.fromkeys(OTHERS, False)
        said["gradcheck"] = False if torch else None
        for plain in (self.plain, self.plain_long) if long else (self.plain,):
            found = Kernel(module, "planted").gradients(plain.data)
            said["central 1e-5/1e-3"] = bool(said["central 1e-5/1e-3"]) or plain.central(found)
            said["dot product"] = bool(said["dot product"]) or plain.dot_product(found)
            if torch:
                said["gradcheck"] = bool(said["gradcheck"]) or plain.gradcheck(module)
        return said

    # ---- all of it

    def count(self, every: bool) -> int:
        return len(self.planted(None if every else PER_CELL)) + len(list(self.faults()))

    def outcomes(self, every: bool, torch: bool) -> Iterator[Outcome]:
        """Every fault of this cell."""
        with np.errstate(all="ignore"):
            for kind, edit in self.planted(None if every else PER_CELL):
                yield self.of_slip(kind, edit, torch)
            for fault in self.faults():
                yield self.outcome(fault, torch)

    def of_slip(self, kind: str, edit: Edit, torch: bool) -> Outcome:
        notation = self.model.derivation.notation(EditNotation)
        proof = self.judge.proof(edit, LONGEST if is_weighted(edit) else 3)
        said = f"{described(edit, notation)} (becomes {notation.equation(edit.edited)})"
        if proof == "equivalent":
            return Outcome(self.cell.name, kind, said, proof, ())
        try:
            with self.emitted(edit) as module:
                caught, others = tuple(self.caught(module)), self.others(module, "cut" in kind, torch)
                return Outcome(self.cell.name, kind, said, proof, caught, others, *self.named(module, edit))
        except Unprinted:
            return Outcome(self.cell.name, kind, said, "not printed", ())

    def outcome(self, fault: Fault, torch: bool) -> Outcome:
        exact = ExactKernel(self.model, self.judge.dims)
        proof = "different" if self.judge.differs(fault.spoil(exact), fault.steps) else "undecided"
        caught = tuple(self.caught(fault.spoil(self.module)))
        others = self.others(fault.spoil(self.module), "cut" in fault.kind, torch)
        spoilt = fault.spoil(self.module)
        named = self.broken(spoilt, fault.breaks) if fault.breaks else self.named(spoilt)
        return Outcome(self.cell.name, fault.kind, fault.said, proof, caught, others, *named)


def is_weighted(edit: Edit) -> bool:
    """Whether a slip cuts the recurrence, by weights of its steps."""
    return any("weight" in value.kind for value in edit.program.given)


def torch_is_there() -> bool:
    return has_torch()
