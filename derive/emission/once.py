"""What a function reads of the caller's parameters before its loops: those it needs as they are, and stacks filled part by part."""

from __future__ import annotations

import sympy as sp

from derive.blocks import Stack
from derive.emission.expressions import NumPyText, size_text
from derive.emission.names import Names
from derive.emission.plan import Plan
from derive.equation import Equation
from derive.language import Value, coefficient
from derive.notation import Notation
from derive.program import Program


class Once:
    """Writes the lines over parameters; `arrays` gets the stacks that they fill."""

    program: Program
    names: Names
    notation: Notation
    helpers: set[str]
    plan: Plan
    taped: set[Value]
    arrays: dict[str, str]

    def once_lines(self) -> list[str]:
        """The equations over parameters: stacked matrices are filled part by part."""
        once = self.program.at("once")
        readers = {e.target: [r for r in self.program.equations if e.target in r.reads()] for e in once}
        inside = {
            e.target: e.value
            for e in once
            if e.target not in self.plan.keep
            and len(readers[e.target]) == 1
            and readers[e.target][0] in once
            and isinstance(readers[e.target][0].value, Stack)
            and not isinstance(e.value, Stack)
        }
        out: list[str] = []
        for equation in once:
            if equation.target in inside:
                continue
            out.append(f"# {self.notation.equation(equation)}")
            name = self.names.of(equation.target)
            if isinstance(equation.value, Stack):
                out += self.fill(equation, name, inside)
            else:
                out.append(f"{name} = {NumPyText(self.parameter, 'once', self.helpers).text(equation.value)}")
        return out

    def fill(self, equation: Equation, name: str, inside: dict[Value, sp.MatrixExpr]) -> list[str]:
        rows, cols = equation.target.shape
        self.arrays[name] = f"({size_text(rows)}, {size_text(cols)})"
        lines = [f"{name} = m.{name}"]
        start: sp.Expr = sp.S.Zero
        for part in equation.value.args:
            number, rest = coefficient(inside.get(part, part))
            text = NumPyText(self.parameter, "once", self.helpers).text(rest)
            cut = f"{name}[{size_text(start) if start != 0 else ''}:{size_text(start + part.shape[0])}]"
            lines.append(f"np.multiply({text}, {float(number)!r}, out={cut})" if number != 1 else f"{cut} = {text}")
            start = sp.expand(start + part.shape[0])
        return lines

    def parameter(self, value: Value) -> str:
        """A parameter of the caller, vectors as columns; another value by its name."""
        if value in self.program.given and value.kind == "primal" and value not in self.taped:
            return f'parameters["{value.name}"]{"[:, None]" if value.is_vector else ""}'
        return self.names.of(value)

    def plain_parameters(self) -> list[str]:
        """Parameters that the loop or the equations over all steps read as they are; those at the end read the caller's."""
        reads = {
            value
            for e in self.program.equations
            if self.program.places[e.target] not in ("once", "finish")
            for value in e.reads()
        }
        chosen = [v for v in self.program.given if not v.timed and v in reads and v.kind == "primal" and v not in self.taped]
        return [f"{self.names.of(value)} = {self.parameter(value)}" for value in chosen]
