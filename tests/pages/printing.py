"""Random cells, and their equations printed in random notation: what `derive.pages` has to read back as the same cell."""

from __future__ import annotations

import random

import sympy as sp

from derive.blocks import Stack, stack
from derive.cell import Cell
from derive.functions import FUNCTIONS, function
from derive.language import (
    Apply,
    Eq,
    Hadamard,
    Ones,
    Plus,
    Times,
    Transposed,
    Value,
    coefficient,
    dimension,
    hadamard,
    matrix,
    sequence,
    vector,
)
from derive.reductions import Softmax, softmax

D, H, K = dimension("D"), dimension("H"), dimension("K")

# printed form -> name by the naming rule; letters that serve as time letters are left out
LETTERS = [*"abcdghijlmopqrsuvwxyz", "G", "M", "Q", "S", "Z"]
GREEK = ["alpha", "beta", "eta", "theta", "kappa", "lambda", "psi", "omega", "Gamma", "Psi"]
DECORATIONS = ["tilde", "hat", "bar"]
WORDS = {
    "sigma": [r"\sigma", r"\operatorname{sigm}", r"\mathrm{sigmoid}", "σ", "sigmoid"],
    "tanh": [r"\tanh", r"\mathrm{tanh}", r"\text{tanh}", "tanh"],
    "relu": [r"\operatorname{ReLU}", r"\mathrm{relu}", r"\max(0, ", "ReLU"],
    "softplus": [r"\operatorname{softplus}"],
    "exp": [r"\exp"],
    "sin": [r"\sin", "sin"],
    "cos": [r"\cos"],
    "elu": [r"\mathrm{ELU}"],
}


def random_names(choose: random.Random, count: int) -> list[str]:
    """Names of the naming rule, all different, also in their letters: `h`, `c_tilde`, `alpha`."""
    pool = choose.sample([*LETTERS, *GREEK], count)
    return [
        (name if name != "lambda" else "lambda_")
        if choose.random() < 0.7 or name in GREEK
        else f"{name}_{choose.choice(DECORATIONS)}"
        for name in pool
    ]


def random_cell(seed: int, naming: int) -> Cell:
    """A cell with some gates, one or two states, an input and perhaps a readout. `naming` changes the names and nothing else."""
    choose = random.Random(seed)
    names = random_names(random.Random(naming), 9)
    x, h, c, *gates, y = names
    gates = gates[: choose.randint(2, 4)]
    two, rows = choose.random() < 0.5, choose.random() < 0.3
    inputs, states = sequence(x, D), [sequence(h, H), *([sequence(c, H)] if two else [])]

    def weight(kind: str, name: str, out: sp.Expr, size: sp.Expr) -> sp.MatrixExpr:
        return matrix(f"{kind}_{name}", size, out).T if rows else matrix(f"{kind}_{name}", out, size)

    def affine(name: str) -> sp.MatrixExpr:
        state = choose.choice(states).prev
        if choose.random() < 0.4:
            parts = choose.sample([state, inputs], 2)
            total = weight("W", name, H, H + D) @ stack(*parts)
        else:
            reset = choose.choice([state, state, hadamard(state, choose.choice(states).prev)])
            total = weight("W", name, H, D) @ inputs + weight("U", name, H, H) @ reset
        if choose.random() < 0.3:
            total = total + hadamard(vector(f"p_{name}", H), state)
        return total + vector(f"b_{name}", H) if choose.random() < 0.7 else total

    equations = [Eq(sequence(gate, H), function(choose.choice(list(WORDS)))(affine(gate.rstrip("_")))) for gate in gates]
    values = [sequence(gate, H) for gate in gates]
    for at, state in enumerate(states):
        z, *others = values if at == 0 else values[::-1]
        kept = hadamard(z, state.prev) if choose.random() < 0.5 else hadamard(1 - z, state.prev)
        new = (
            hadamard(choose.choice([1 - z, z]), *others)
            if choose.random() < 0.7
            else hadamard(*others) * choose.choice([2, sp.Rational(1, 2)])
        )
        equations.append(Eq(state, choose.choice([kept + new, new - kept, kept + function("tanh")(new)])))
    if choose.random() < 0.5:
        equations.append(Eq(sequence(y, K), softmax(weight("V", y.rstrip("_"), K, H) @ states[0])))
    choose.shuffle(equations)
    return Cell.from_equations("page", "page.md", equations)


class Printer:
    """One notation, drawn at random; the same symbol is printed in the same way throughout, spaces and sizes as they come."""

    def __init__(self, seed: int) -> None:
        self.choose = random.Random(seed)
        self.letter = self.choice("t", "t", "k", "n", r"\tau")
        self.style = self.choice("_", "_", "^()", "^<>", "_[]", "()", "^")
        self.next = self.choice(0, 0, 1) if self.style in ("_", "^()") else 0
        self.font = self.choice("", "", r"\mathbf", r"\boldsymbol", r"\bm")
        self.bracketed = self.choice(True, False)
        self.sign = self.choice(r"\odot", r"\circ", r"\otimes", "*", r"\cdot", "⊙", "∘", r"\times")
        self.elementwise = self.sign  # two signs side by side would say two products
        if self.sign in ("*", r"\cdot", r"\times"):
            self.elementwise = (
                r"\otimes"  # a dot beside a circle is an inner product; a star beside a parameter may mean a number
            )
        self.join = self.choice("[,]", "[;]", "pmatrix", "bmatrix", "(,)")
        self.dot = self.choice("", "", r"\cdot")
        self.words = {name: self.choice(*forms) for name, forms in WORDS.items()}
        self.plus = self.choice("+", "+", r"\oplus")
        self.minus = self.choice("-", "−")
        self.nested = self.choice(True, False)

    def choice(self, *options):
        return self.choose.choice(options)

    # ---- symbols

    def glyph(self, name: str) -> str:
        """The letter of a name with its decorations."""
        base, *decorations = name.rstrip("_").split("_")
        text = f"\\{base}" if base in GREEK else base
        text = f"{self.font}{{{text}}}" if self.font else text
        for decoration in decorations:
            text = f"\\{decoration}{{{text}}}"
        return text

    def index(self, lag: int) -> str:
        lag += self.next
        return self.letter + (f"{lag:+d}" if lag else "").replace("-", self.minus)

    def value(self, value: Value) -> str:
        if not value.timed:
            base, _, gate = value.name.partition("_")
            inner = self.glyph(gate).replace(self.font, "") if self.font else self.glyph(gate)
            return f"{self.glyph(base)}^{{({inner})}}" if self.bracketed else f"{self.glyph(base)}_{{{inner}}}"
        at = self.index(value.lag)
        scripts = {
            "_": f"_{{{at}}}",
            "^()": f"^{{({at})}}",
            "^<>": rf"^{{\langle {at} \rangle}}",
            "_[]": f"_{{[{at}]}}",
            "()": f"({at})",
            "^": f"^{{{at}}}",
        }
        return self.glyph(value.name) + scripts[self.style]

    # ---- formulas

    def parentheses(self, text: str) -> str:
        return self.choice(f"({text})", rf"\left({text}\right)", rf"\big( {text} \big)", f"[{text}]")

    def formula(self, node, tight: bool = False) -> str:
        """`tight`: it stands as a factor."""
        number, rest = coefficient(node)
        if number != 1:
            if isinstance(rest, Ones):
                return self.number(number)
            text = (
                f"{self.minus}{self.formula(rest, True)}" if number == -1 else f"{self.number(number)} {self.formula(rest, True)}"
            )
            return self.parentheses(text) if tight else text
        match rest:
            case Value():
                return self.value(rest)
            case Plus():
                text = self.formula(rest.args[0])
                for term in rest.args[1:]:
                    body = self.formula(term)
                    text += f" {body}" if body.startswith(self.minus) else f" {self.plus} {body}"
                return self.parentheses(text) if tight else text
            case Hadamard():
                constant = any(isinstance(factor, Value) and not factor.timed for factor in rest.args)
                sign = (
                    self.elementwise if constant else self.sign
                )  # `·` and `×` beside a parameter would mean a matrix, or nothing
                text = f" {sign} ".join(self.formula(factor, True) for factor in rest.args)
                return self.parentheses(text) if tight else text
            case Times():
                return self.product(rest, tight)
            case Transposed():
                return self.formula(rest.args[0], True)
            case Stack():
                return self.stacked([self.formula(part) for part in rest.args])
            case Softmax():
                return rf"\operatorname{{softmax}}({self.formula(rest.args[0])})"
            case Apply():
                return self.function(rest)
            case Ones():
                return "1"
        raise TypeError(node)

    def product(self, node, tight: bool) -> str:
        """A matrix and a vector; a transposed matrix is a row convention."""
        weight, operand = node.args
        row = isinstance(weight, Transposed)
        inner = self.formula(operand)
        inner = inner if isinstance(operand, (Value, Stack)) else self.parentheses(inner)
        order = (inner, self.formula(weight)) if row else (self.formula(weight), inner)
        text = f" {'' if row else self.dot} ".join(order)
        return self.parentheses(text) if tight and self.dot else text

    def stacked(self, parts: list[str]) -> str:
        if self.join.endswith("matrix"):
            return rf"\begin{{{self.join}}} " + r" \\ ".join(parts) + rf" \end{{{self.join}}}"
        return f"{self.join[0]}{self.join[1].join(parts)}{self.join[2]}" if self.join != "(,)" else f"[{', '.join(parts)}]"

    def function(self, node) -> str:
        name = next(name for name, scalar in FUNCTIONS.items() if scalar == node.scalar)
        word, inner = self.words[name], self.formula(node.args[1])
        return f"{word}{inner})" if word.endswith(", ") else f"{word}({inner})"

    def number(self, number) -> str:
        return str(number) if number.q == 1 else self.choice(str(float(number)), rf"\frac{{{number.p}}}{{{number.q}}}")

    # ---- the page

    def page(self, cell: Cell) -> str:
        lines = [(self.value(target), self.formula(right)) for target, right in cell.equations]
        equals = self.choice("=", ":=", "=")
        labels = self.choice(
            lambda at: "",
            lambda at: rf" \tag{{{at}}}",
            lambda at: rf" \quad ({at})",
            lambda at: r" \qquad \text{(a gate)}",
            lambda at: ",",
        )
        layout = self.choice("align", "dollars", "bracket", "aligned", "gather", "split")
        if layout in ("dollars", "bracket"):
            opener, closer = {"dollars": ("$$", "$$"), "bracket": (r"\[", r"\]")}[layout]
            return "Some words.\n\n".join(
                f"{opener}{left} {equals} {right}{labels(at)}{closer}\n\n" for at, (left, right) in enumerate(lines)
            )
        amp = "" if layout == "gather" else "&"
        body = " \\\\\n".join(f"{left} {amp}{equals} {right}{labels(at)}" for at, (left, right) in enumerate(lines))
        text = f"\\begin{{{layout}}}\n{body}\n\\end{{{layout}}}"
        return f"$$\n{text}\n$$\n" if layout in ("aligned", "split") or self.choice(True, False) else f"{text}\n"
