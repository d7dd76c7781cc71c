"""step_jacobian: the blocks d(state)/d(state before the step) for all steps and examples at once."""

from __future__ import annotations

import sympy as sp

from derive.emission.expressions import JacobianText, size_text
from derive.emission.functions import Lines, sizes_line
from derive.emission.names import Names
from derive.language import Value
from derive.notation import Notation
from derive.program import Program


def emit_jacobian(
    program: Program,
    states: list[Value],
    tape: list[Value],
    names: Names,
    notation: Notation,
    helpers: set[str],
    dims: list[str],
    by_rows: bool,
) -> list[str]:
    """step_jacobian. by_rows: forward's tape has one row per example."""
    lines = Lines()
    printer = JacobianText(names.of, "step", helpers)
    read = {value for equation in program.equations for value in equation.reads()}
    for value in program.given:
        if value not in read:
            continue
        if not value.timed and value not in tape:
            lines.add(f'{names.of(value)} = parameters["{value.name}"]')
        elif not value.timed:
            lines.add(f"{names.of(value)} = tape.{names.of(value)}{'[:, 0]' if value.is_vector else ''}")
        else:
            plain = value.like(lag=0)
            cut = ("[:-1]" if value.lag else "[1:]") if plain in states else ""
            lines.add(f"{names.of(value)} = tape.{names.of(plain)}{cut}{'' if by_rows else '.transpose(0, 2, 1)'}")
    for equation in program.equations:
        if equation.terms:
            lines.add(f"# {notation.equation(equation)}", f"{names.of(equation.target)} = {printer.text(equation.value)}")
    total = size_text(sp.Add(*[state.shape[0] for state in states]))
    lines.add(f"J = np.zeros((T, B, {total}, {total}), dtype)")
    ends = [sp.Add(*[state.shape[0] for state in states[: k + 1]]) for k in range(len(states))]
    spans = dict(zip([s.name for s in states], zip([sp.S.Zero, *ends], ends, strict=False), strict=True))
    blocks = {(result.name, result.kind.split(":")[1]): result for result in program.results}
    for row in states:
        for column in states:
            block = blocks[row.name, column.name]
            if next(e for e in program.equations if e.target == block).terms:
                cut = ", ".join(
                    f"{size_text(a) if a != 0 else ''}:{size_text(b)}" for a, b in (spans[row.name], spans[column.name])
                )
                lines.add(f"J[..., {cut}] = {names.of(block)}")
    lines.add("return J")
    head = ['    _taped("step_jacobian", parameters, tape)', "    sizes, dtype = tape.sizes, tape.dtype"]
    head += sizes_line(lines.text, dims)
    return head + lines.text
