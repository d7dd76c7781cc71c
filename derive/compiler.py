"""The way from equations to a kernel, in order. Each stage is a function with one thing in and one thing out.

equations -> Cell             `derive.cell`            roles and shapes, checked
Cell -> Program               `derive.flatten`         forward, one operation per name
Program -> Program            `derive.differentiate`   backward, tangent, Jacobian: the rules of `derive.rules`
Program -> Program            `derive.passes` (TIDY)   the form that a person would write; `derive.sheet` prints it
Program -> Program            `derive.passes` (SCHEDULE)  fewer operations: products stacked, coefficients hoisted out of the loop
Program -> Procedure          `derive.procedures`      arrays, calls and loops: by the textbook's policy or by the fast one
Procedures -> text            `derive.targets.numpy`   a NumPy module that keeps the contract
                              `derive.targets.c`       by the textbook's policy: a C file, and a module that compiles and calls it
                              `derive.targets.torch`   likewise: operations on tensors, and a layer whose gradients they are
                              `derive.targets.jax`     by the textbook's policy: a JAX module, loops as scans
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec

from derive.cell import Cell
from derive.cost import Placed, computed_by, cost_lines
from derive.derivation import Derivation, derive
from derive.errors import DeriveError
from derive.language import Value
from derive.notation import Notation
from derive.passes import SCHEDULE, run
from derive.passes.apart import apart
from derive.passes.bare import bare
from derive.passes.bound import bound
from derive.passes.hoist import hoist
from derive.procedures.tape import with_light_tape, without_idle
from derive.program import Program
from derive.recurrences import EARLIER, LATER, are_apart, by_recurrence, handing_on, parts
from derive.targets.numpy.emit import fast, fast_loops, textbook
from derive.targets.numpy.formulas import formula

BUFFERS = "buffers"
"""Not a pass over a program but a policy of its procedures: into arrays that are made once."""

FAST = (*SCHEDULE, BUFFERS)
"""The schedule of the kept kernels. The plain one, the textbook's, is the empty tuple."""


def tape_values(forward: Program, readers: Iterable[Program]) -> list[Value]:
    """The forward values that the other programs read again, a state at t-1 counting as the state; parameters aren't saved."""
    read = {value.like(lag=0) for program in readers for equation in program.equations for value in equation.reads()}
    known = [*[v for v in forward.given if v.timed], *[read_.like(lag=0) for read_ in forward.carried()], *forward.defined()]
    return list(dict.fromkeys(value for value in known if value in read))


def schedule(derivation: Derivation, passes: Sequence[str] = tuple(SCHEDULE)) -> tuple[Derivation, list[Value]]:
    """(the derivation with its programs scheduled, the values on the tape)."""
    chosen = [SCHEDULE[name] for name in passes]
    lean = [SCHEDULE[name] for name in passes if name in ("stack", "hoist")]
    plain = derivation.forward
    gradients = run([apart, bare], derivation.backward, plain)
    if len(parts(gradients)) > 1 and "hoist" in passes:
        gradients = handing_on(hoist(gradients, plain))  # one value, made where the first recurrence ends
    moved = derivation.tangent
    moved = run(lean, moved, plain) if derivation.cell.is_chain else by_recurrence(lean, moved, plain, EARLIER)
    readers = [by_recurrence(chosen, gradients, plain, LATER).live(), moved.live()]
    backward, tangent = with_light_tape(plain, readers)
    tape = tape_values(plain, (backward, tangent))
    kept = [value for value in tape if value in plain.defined() and value not in plain.results]
    forward = by_recurrence(chosen, replace(plain, results=(*plain.results, *kept)).live(), plain, EARLIER)
    forward = replace(forward, results=plain.results)
    return replace(derivation, forward=forward, backward=backward, tangent=tangent), tape


def compile_cell(cell: Cell, passes: Iterable[str] = FAST) -> str:
    """The text of the cell's kernel: the same for the same equations, on every machine. Raises SyntaxError rather than emit nonsense."""
    derivation = derive(cell)
    return emit(derivation, passes)


def emit(derivation: Derivation, passes: Iterable[str] = FAST) -> str:
    """The text of the kernel of a derivation, printed by a schedule: the names of its passes, in their order."""
    found = emitted(derivation, passes := tuple(passes))
    ast.parse(found.body)
    options = "" if passes == FAST else f" --schedule {','.join(passes) or 'plain'}"
    return header(derivation, cost_lines(derivation.cell, found.computed, found.tape), found.body, options) + found.body


@dataclass(frozen=True)
class Emitted:
    """A kernel: its text below the header, what its forward and backward compute, the values on the tape, the passes in words."""

    body: str
    computed: dict[str, list[Placed]]
    tape: list[Value]
    passes: str


def emitted(derivation: Derivation, passes: Sequence[str]) -> Emitted:
    """The kernel of a derivation."""
    programs, tape, used = scheduled(derivation, passes)
    if BUFFERS in passes and BUFFERS not in used:
        body, computed = fast_loops(derivation, programs, tape, [SCHEDULE[name] for name in passes if name != BUFFERS])
        return Emitted(body, computed, tape, f"plain, recurrences with {', '.join(passes)}")
    body = (fast if BUFFERS in used else textbook)(derivation, programs, tape)
    both = (programs.forward, programs.backward)
    return Emitted(body, {one.name: computed_by(one, not used) for one in both}, tape, ", ".join(used) or "plain")


COMPILED = ("stack", "hoist")
"""The schedule of C kernels: fewer and larger products. What else the fast policy does saves calls of NumPy, which C has none of."""


TARGETS = ("numpy", "c", "torch", "jax")
FRAMEWORKS = ("torch", "jax")
"""The targets whose kernels import the framework of that name."""


def refuse_missing(target: str) -> None:
    """Raises DeriveError where a kernel can't be verified here, since its framework isn't installed."""
    if target in FRAMEWORKS and find_spec(target) is None:
        raise DeriveError(
            f"derive: --target {target}: verifying the kernel runs it: expected {target} installed, got none. "
            f"Run `python -m pip install {target}`, or add --no-verify."
        )


def files(derivation: Derivation, stem: str, target: str = TARGETS[0], passes: Iterable[str] = FAST) -> dict[str, str]:
    """The files of a kernel, name -> text, the module with the functions of the contract last. passes: of a NumPy kernel."""
    if target == "c":
        in_c, in_python = emit_c(derivation, stem)
        return {f"{stem}.c": in_c, f"{stem}_c.py": in_python}
    if target == "torch":
        return {f"{stem}_torch.py": emit_torch(derivation)}
    if target == "jax":
        return {f"{stem}_jax.py": emit_jax(derivation)}
    return {f"{stem}.py": emit(derivation, passes)}


def emit_c(derivation: Derivation, stem: str) -> tuple[str, str]:
    """(the C file, the Python module beside it) of the kernel of a derivation; stem: `lstm` of `lstm.c` and `lstm_c.py`.

    Raises DeriveError where the equations can't be printed as C.
    """
    from derive.targets.c.emit import c_kernel  # imported where it is asked for: a command starts without

    programs, tape, used = scheduled(derivation, COMPILED)
    computed = {one.name: computed_by(one, not used) for one in (programs.forward, programs.backward)}
    costs = cost_lines(derivation.cell, computed, tape)
    return c_kernel(derivation, programs, tape, stem, lambda body: header(derivation, costs, body, " --target c"))


def emit_torch(derivation: Derivation) -> str:
    """The text of the kernel of a derivation in PyTorch: the textbook's policy over the program that the fast schedule leaves."""
    from derive.targets.torch.emit import torch_kernel

    programs, tape, used = scheduled(derivation, tuple(SCHEDULE))
    computed = {one.name: computed_by(one, not used) for one in (programs.forward, programs.backward)}
    body = torch_kernel(derivation, programs, tape)
    ast.parse(body)
    return header(derivation, cost_lines(derivation.cell, computed, tape), body, " --target torch") + body


def emit_jax(derivation: Derivation) -> str:
    """The text of the JAX kernel of a derivation."""
    from derive.targets.jax.emit import jax_kernel

    programs, tape, used = scheduled(derivation, COMPILED)
    body = jax_kernel(derivation, programs, tape)
    ast.parse(body)
    computed = {one.name: computed_by(one, not used) for one in (programs.forward, programs.backward)}
    return header(derivation, cost_lines(derivation.cell, computed, tape), body, " --target jax") + body


def scheduled(derivation: Derivation, passes: Sequence[str]) -> tuple[Derivation, list[Value], Sequence[str]]:
    """(the derivation with the programs that its kernel computes, the values on the tape, the passes that were used): the textbook's
    kernel uses none. So does that of a cell with a recurrence whose start is computed, with values of all steps, along two axes, and of one
    that reads tokens, of which the plain recurrences alone are the fast policy's.
    """
    if not passes or not derivation.cell.is_plain or derivation.cell.tokens or not is_by_parts(derivation):
        return *plain(derivation), ()
    return *schedule(derivation, [name for name in passes if name != BUFFERS]), passes


def is_by_parts(derivation: Derivation) -> bool:
    """Whether the steps are a chain, or recurrences of both ways that stand one behind the other."""
    if derivation.cell.is_chain:
        return True
    return are_apart(derivation.forward) and are_apart(run([apart], derivation.backward, derivation.forward))


def plain(derivation: Derivation) -> tuple[Derivation, list[Value]]:
    """(the derivation as the textbook computes it, the values on the tape)."""
    forward = derivation.forward
    readers = [run([apart, bound], derivation.backward, forward).live(), run([bound], derivation.tangent, forward).live()]
    backward, tangent = with_light_tape(forward, readers)
    tape = tape_values(forward, (backward, tangent))
    return replace(derivation, forward=without_idle(forward, tape), backward=backward, tangent=tangent), tape


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def equations_text(cell: Cell) -> list[str]:
    """The cell's equations as a person reads them, one a line."""
    notation = Notation(words=cell.words, leftward=cell.leftward, axes=cell.axes_of_states)
    return [f"{notation.value(target)} = {notation.formula(right)}" for target, right in cell.equations]


def derivation_text(derivation: Derivation) -> str:
    """Every derived equation, one a line: what the digest of the derivation is taken of."""
    notation = Notation(words=derivation.cell.words, leftward=derivation.cell.leftward, axes=derivation.cell.axes_of_states)
    return "\n".join(notation.equation(equation) for program in derivation.programs() for equation in program.equations)


def header(derivation: Derivation, costs: Sequence[str], body: str, options: str = "") -> str:
    """The lines in front of the body: where it came from, digests, costs. No time, no host, no path."""
    cell = derivation.cell
    equations = zip(cell.equations, equations_text(cell), strict=True)
    lines = [
        *formula(
            f"Emitted by `python -m derive {cell.command}{options}`. Don't edit: change the equations and emit again.", "# "
        ),
        "#",
        *[line for (target, _), text in equations for line in formula(f"{target.name}: {text}", "#     ")],
        "#",
        f"# equations  sha256 {digest(chr(10).join(equations_text(cell)))}",
        f"# derivation sha256 {digest(derivation_text(derivation))}",
        f"# body       sha256 {digest(body)}",
        "#",
        *[part for line in costs for part in formula(line, "# ")],
        "# fmt: off",
    ]
    seal = digest("\n".join(lines) + "\n")
    at = next(k for k, line in enumerate(lines) if line.startswith("# body")) + 1
    return "\n".join([*lines[:at], f"# header     sha256 {seal}", *lines[at:]]) + "\n"
