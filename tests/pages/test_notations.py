"""One step in many notations, the parts of the reader one by one, and what a page comes back with."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from derive.cells.registry import build
from derive.pages import PageError, read

PLAIN = build("rnn").equations
SAME = [
    r"$$h_t = \tanh(W x_t + U h_{t-1} + b)$$",
    r"$h_t = x_t$ in a line, then $$ {\bf h}_t = \tanh\left( {\bf W}\,{\bf x}_t + {\bf U}\,{\bf h}_{t-1} + {\bf b} \right) $$",
    r"\[ \mathbf{h}^{(t)} := \tanh \big( \mathbf{W} \mathbf{x}^{(t)} + \mathbf{U} \mathbf{h}^{(t-1)} + \mathbf{b} \big) \]",
    r"$$h^{\langle t \rangle} = \tanh(W \cdot x^{\langle t \rangle} + U \cdot h^{\langle t-1 \rangle} + b), \tag{3}$$",
    r"$$h_{[t]} = \tanh(W x_{[t]} + U h_{[t-1]} + b) \quad (5)$$",
    r"$$h(t) = \tanh(W x(t) + U h(t-1) + b).$$",
    r"$$h^t = \tanh(W x^t + U h^{t-1} + b) \qquad \text{(state)}$$",
    r"$$h_n = \tanh(W x_n + U h_{n-1} + b)$$",
    r"$$h_\tau = \tanh(W x_\tau \oplus U h_{\tau - 1} \oplus b)$$",
    r"$$h_{t+1} = \tanh(W x_{t+1} + U h_t + b)$$",
    r"$$h_{t+1} = \tanh(W x_t + U h_t + b)$$",
    r"$$h_{next} = \tanh(W x + U h_{prev} + b)$$",
    r"$$h = \tanh(W x + U h_{\text{prev}} + b)$$",
    r"$$h_{\text{next}} = \tanh(W x + U h + b)$$",
    r"$$\begin{aligned} h_t &= \tanh(W x_t \\ &\quad + U h_{t-1} + b) && \text{state} \end{aligned}$$",
    "\\begin{align*}\nh_t &= \\tanh(W x_t \\\\\n&+ U h_{t-1} + b) \\label{a}\n\\end{align*}",
    "\\begin{eqnarray}\nh_t & = & \\tanh(W x_t + U h_{t-1} + b) \\nonumber\n\\end{eqnarray}",
    r"$$\left\{ \begin{array}{l} h_t = \tanh(W x_t + U h_{t-1} + b) \end{array} \right.$$",
    r"$$h_t = \mathrm{tanh}[W x_t + U[h_{t-1}] + b] (hidden state)$$",
    r"$$h_t = \tanh(W x_t + U h_{t-1} + b), \quad t = 1, \dots, T, \quad h_0 = 0$$",
    r"$$h_t = \tanh(\underbrace{W x_t}_{\text{in}} + \overbrace{U h_{t-1}}^{\text{back}} + b) \in \mathbb{R}^n$$",
    "$$𝐡_t = \\tanh(𝐖 𝐱_t + 𝐔 𝐡_{t−1} + 𝐛)$$",
    "```math\nh_t = \\tanh(W x_t + U h_{t-1} + b)\n```",
    "\\begin{array}{rcl}\nh_t &=& \\tanh(W x_t + U h_{t-1} + b)\n\\end{array}",
    r"$$\boxed{h_t = \tanh(W x_t + U h_{t-1} + b)}$$",
    r"$$h^{<t>} = \tanh(W x^{<t>} + U h^{<t-1>} + b)$$",
    r"$$h' = \tanh(W x + U h + b)$$",
    "h_t = tanh(W x_t + U h_{t-1} + b)",
    "hₜ = tanh(W xₜ + U hₜ₋₁ + b)",
    "h⁽ᵗ⁾ = tanh(W·x⁽ᵗ⁾ + U·h⁽ᵗ⁻¹⁾ + b)",
    "h[t] = tanh(W x[t]\n       + U h[t-1] + b)",
    "h_t = tanh(W @ x_t + U @ h_t-1 + b)",
]


@pytest.mark.parametrize("text", SAME)
def test_one_step_in_many_notations(text):
    assert read("page.md" if "$" in text or "\\" in text else "page.txt", text=text).cells[0].cell.equations == PLAIN


# formula of h_t -> as it is understood
FORMULAS = {
    r"f_t x_t": "fₜ ∘ xₜ",
    r"x_t \times h_{t-1}": "xₜ ∘ hₜ₋₁",
    r"x_t * a": None,
    r"A \cdot x_t + h_{t-1}": "A xₜ + hₜ₋₁",
    r"x_t \tanh(h_{t-1})": "xₜ ∘ tanh(hₜ₋₁)",
    r"x_t \tanh h_{t-1}": "xₜ ∘ tanh(hₜ₋₁)",
    r"U[x_t \circ h_{t-1}] + h_{t-1}": "U (xₜ ∘ hₜ₋₁) + hₜ₋₁",
    r"- x_t - U h_{t-1}": "−xₜ − U hₜ₋₁",
    r"0.1 x_t + (1 - 0.95) B h_{t-1}": "0.1 xₜ + 0.05 B hₜ₋₁",
    r"(1 - x_t) h_{t-1}": "(1 − xₜ) ∘ hₜ₋₁",
    r"\frac{x_t}{2} + \frac12 h_{t-1}": "0.5 xₜ + 0.5 hₜ₋₁",
    r"x_t / (1 + h_{t-1}^2)": "xₜ / (1 + hₜ₋₁²)",
    r"\sqrt{1 + x_t^2} h_{t-1}": "√(1 + xₜ²) ∘ hₜ₋₁",
    r"\max(0, x_t) + \max(x_t, h_{t-1})": "relu(xₜ) + max(xₜ, hₜ₋₁)",
    r"\tanh^2(x_t) + h_{t-1}": "tanh(xₜ)² + hₜ₋₁",
    r"e^{-x_t} \odot h_{t-1}": "exp(−xₜ) ∘ hₜ₋₁",
    r"\sigma(a) \odot x_t + h_{t-1}": "σ(a) ∘ xₜ + hₜ₋₁",
    r"(W - W^\top) h_{t-1} + x_t": "(W − Wᵀ) hₜ₋₁ + xₜ",
    r"\operatorname{diag}(a) h_{t-1} + x_t": "a ∘ hₜ₋₁ + xₜ",
    r"\alpha \odot h_{t-1} + (1 - \alpha) x_t": "α ∘ hₜ₋₁ + (1 − α) ∘ xₜ",
    r"\alpha h_{t-1} + (1 - \alpha) x_t": None,
    r"x_t U V h_{t-1}": None,
    r"A B h_{t-1} + x_t": "A B hₜ₋₁ + xₜ",
    r"x_t \odot A h_{t-1}": "xₜ ∘ A hₜ₋₁",
    r"\tanh(W \operatorname{concat}(x_t, h_{t-1}))": "tanh(W [xₜ; hₜ₋₁])",
    r"\tanh(W [x_t \| h_{t-1}])": "tanh(W [xₜ; hₜ₋₁])",
    r"\tanh(\begin{bmatrix} x_t & h_{t-1} \end{bmatrix} W)": "tanh(Wᵀ [xₜ; hₜ₋₁])",
    r"\tanh(W [x_t^\top, h_{t-1}^\top]^\top)": "tanh(W [xₜ; hₜ₋₁])",
    r"(x_t^\top h_{t-1}) x_t": "(xₜᵀ hₜ₋₁) xₜ",
    r"\langle x_t, h_{t-1} \rangle x_t": "(xₜᵀ hₜ₋₁) xₜ",
    r"\sigma_g(W x_t) + h_{t-1}": None,
    r"\mathrm{Linear}(x_t) + h_{t-1}": None,
    r"A \times x_t + h_{t-1}": "A xₜ + hₜ₋₁",
    r"x_{t-1} + h_{t-1}": None,
    r"x_t + h_{t-1} + A h_{t-1} + A \odot x_t": None,
    r"\sum_k A_k x_t": None,
    r"|x_t| + h_{t-1}": "abs(xₜ) + hₜ₋₁",
    r"W |x_t| + \left| h_{t-1} \right|": "W abs(xₜ) + abs(hₜ₋₁)",
    r"x_t - \lvert x_t \rvert - ||x_t| - |h_{t-1}||": "xₜ − abs(xₜ) − abs(abs(xₜ) − abs(hₜ₋₁))",
    r"\tanh|x_t| + \operatorname{abs}(h_{t-1})^2": "tanh(abs(xₜ)) + abs(hₜ₋₁)²",
    r"W [h_{t-1} | x_t]": "W [hₜ₋₁; xₜ]",
    r"W [h_{t-1} | x_t | b]": "W [hₜ₋₁; xₜ; b]",
    r"W [h_{t-1}|x_t|b]": None,
    r"(c |x_t| b) + h_{t-1}": None,
    r"||W x_t|| h_{t-1} + x_t / (1 + ||h_{t-1}||_2^2)": "√(xₜᵀ Wᵀ W xₜ) hₜ₋₁ + xₜ / (1 + hₜ₋₁ᵀ hₜ₋₁)",
    r"|x_t| \odot |h_{t-1}| + ||x_t| - h_{t-1}|": "abs(xₜ) ∘ abs(hₜ₋₁) + abs(abs(xₜ) − hₜ₋₁)",
    r"\|W x_t\| h_{t-1}": "√(xₜᵀ Wᵀ W xₜ) hₜ₋₁",
    r"\lVert x_t \rVert_2^2 h_{t-1}": "(xₜᵀ xₜ) hₜ₋₁",
    r"\|x_t\|_1 h_{t-1}": "(Σ abs(xₜ)) hₜ₋₁",
    r"\|x_t\|_p h_{t-1}": None,
    r"\|x_t h_{t-1}": None,
    r"[W x_t]_+ + (h_{t-1})_{+}": "relu(W xₜ) + relu(hₜ₋₁)",
    r"\left[x_t\right]_+^2 - [h_{t-1}]_+": "relu(xₜ)² − relu(hₜ₋₁)",
    r"\tanh(x_t)_+ + h_{t-1}": None,
    r"[x_t]_- + h_{t-1}": None,
    r"\text{hard\_sigmoid}(x_t) + h_{t-1}": "0.5 + 0.5 hardtanh((1/3) xₜ) + hₜ₋₁",
    r"\mathrm{SiLU}(x_t) + swish(h_{t-1})": "xₜ ∘ σ(xₜ) + hₜ₋₁ ∘ σ(hₜ₋₁)",
    r"\mathrm{leaky\_relu}(x_t) + \text{LeakyReLU}(h_{t-1})": "0.01 xₜ + 0.99 relu(xₜ) + 0.01 hₜ₋₁ + 0.99 relu(hₜ₋₁)",
    r"\operatorname{sgn}(x_t) \arctan(h_{t-1})": "sign(xₜ) ∘ arctan(hₜ₋₁)",
    r"x_t \odot \operatorname{erf} h_{t-1} + \sinh x_t - \cosh x_t": "xₜ ∘ erf(hₜ₋₁) + sinh(xₜ) − cosh(xₜ)",
    r"\mathrm{softsign}(x_t) + \text{hardtanh}(h_{t-1})": "softsign(xₜ) + hardtanh(hₜ₋₁)",
    r"\sigma(W_z, x_t) + h_{t-1}": None,
    r"x_t^T + U h_{t-1}": None,
    r"W^T x_t + h_{t-1}^\top": None,
    r"x_t^T \odot h_{t-1}": None,
    r"\frac{1}{T} W^T x_t + U h_{t-1}": None,
    r"T \odot W^\top x_t + U h_{t-1}": "T ∘ Wᵀ xₜ + U hₜ₋₁",
    r"\tanh(x_t^T W + h_{t-1}^T U + b^T)": "tanh(Wᵀ xₜ + Uᵀ hₜ₋₁ + b)",
    r"\tanh(W x_t^\top + U h_{t-1}^\top + b)": "tanh(W xₜ + U hₜ₋₁ + b)",
}


@pytest.mark.parametrize("formula", FORMULAS)
def test_a_formula_is_understood_or_refused(formula):
    text = f"$$h_t = {formula}$$"
    if FORMULAS[formula] is None:
        with pytest.raises(PageError):
            read("page.md", text=text)
    else:
        assert read("page.md", text=text).cells[0].reading.equations == (f"hₜ = {FORMULAS[formula]}",)


def test_older_values_are_carried_by_states():
    page = r"$$h_t = \tanh(W x_{t-2} + V x_t + U h_{t-1} + R h_{t-3})$$"
    one = read("page.md", text=page).cells[0]
    assert one.reading.equations == (
        "hₜ = tanh(W x_delayed_2ₜ₋₁ + V xₜ + U hₜ₋₁ + R h_delayed_2ₜ₋₁)",
        "h_delayedₜ = hₜ₋₁",
        "h_delayed_2ₜ = h_delayedₜ₋₁",
        "x_delayedₜ = xₜ",
        "x_delayed_2ₜ = x_delayedₜ₋₁",
    )
    assert {value.name for value in one.cell.states} == {"h", "h_delayed", "h_delayed_2", "x_delayed", "x_delayed_2"}
    assert "`h_{t-3}` is the value of 3 steps before: the state h_delayed_2 carries it" in one.reading.notes


@pytest.mark.parametrize(
    ("formula", "words"),
    [
        (r"x_t + h_{t-65}", "`h_{t-65}` lies 65 steps back: expected at most 64."),
        (r"x_t + h_{t-2} + h_{delayed}", "the state that carries `h_{t-2}` would be called h_delayed."),
        (r"h_{t-1} + x_{t-2}", "`x_{t-2}` is a state that is never defined, or an input of an earlier step"),
    ],
)
def test_an_older_value_that_no_state_can_carry_is_refused(formula, words):
    with pytest.raises(PageError, match=re.escape(words)):
        read("page.md", text=f"$$h_t = {formula}$$")


GRADIENTS = [
    r"\frac{\partial E}{\partial W} = \sum_{t=1}^T \left(\prod_{k=t+1}^T \frac{\partial h_k}{\partial h_{k-1}} \right)",
    r"\frac{\partial \mathcal{L}^{(t)}}{\partial W_h} = ?",
    r"\left. \frac{\partial \mathcal{L}^{(3)}}{\partial W_h} \right|_{(3)} = \boxed{(W_h)^l} \cdots",
    r"\nabla_{C_t} Div = \nabla_{h_t} Div \circ (o_t \circ \tanh'(\cdot) + \sigma'(\cdot) W_{Co}) + \\ \nabla_{C_{t+1}} Div",
    r"W \leftarrow W - \eta \sum_{t=1}^T \frac{\partial L}{\partial h_t}",
    r"\parallel \frac{\partial h_j}{\partial h_{j-1}} \parallel \leq \beta_W \beta_h \tag{15}",
    r"\frac{dL}{dW} = \frac{dL}{dh_t} \frac{dh_t}{dW}",
]


@pytest.mark.parametrize("formula", GRADIENTS)
def test_gradient_formulas_are_passed_over_and_listed(formula):
    page = read("page.md", text=f"{SAME[0]}\n\n$${formula}$$")
    assert page.cells[0].cell.equations == PLAIN
    assert page.skipped
    assert all(one.startswith("page.md:3: a gradient formula: ") for one in page.skipped)
    with pytest.raises(PageError, match="the page holds no forward equations"):
        read("page.md", text=f"$${formula}$$")


def test_labels_behind_a_line_that_goes_on_are_no_factors():
    text = r"\begin{align} h_t &= W x_t && \text{a} \\ &+ h_{t-1} && \text{gate} \\ &+ b & \text{b} & \text{c} \end{align}"
    assert read("page.md", text=text).cells[0].reading.equations == ("hₜ = W xₜ + hₜ₋₁ + b",)


@pytest.mark.parametrize("letter", [r"\mathcal{H}", r"\hat{f}", "f"])
def test_a_page_may_define_a_function_by_any_letter(letter):
    text = rf"$${letter}(a) = \tanh(a)$$ $$h_t = {letter}(W x_t + h_{{t-1}})$$"
    assert read("page.md", text=text).cells[0].reading.equations == ("hₜ = tanh(W xₜ + hₜ₋₁)",)


COLUMN = r"\begin{array}{c} %s \end{array}"


def test_a_column_between_brackets_of_its_own_is_a_column():
    """Zaremba et al. (2014)."""
    left, functions, stack = (
        rf"\left({COLUMN % cells}\right)" for cells in (r"i \\ g", r"\mathrm{sigm} \\ \tanh", r"x_t \\ h_{t-1}")
    )
    one = read("page.md", text=rf"$${left} = {functions} T_{{2n,4n}} {stack}$$ $$h_t = i \odot g + h_{{t-1}}$$").cells[0]
    assert one.reading.equations[0] == "iₜ = σ((T_2n_4n [xₜ; hₜ₋₁])[0:H])"
    assert one.reading.equations[1] == "gₜ = tanh((T_2n_4n [xₜ; hₜ₋₁])[H:2*H])"


@pytest.mark.parametrize("end", [r" \end{align}", r" & \text{gates} \end{align}"])
@pytest.mark.parametrize("comma", ["", ","])
def test_two_equations_stand_in_one_row(comma, end):
    text = rf"\begin{{align}} h_t &= \sigma(W x_t + g_t){comma} & g_t &= U h_{{t-1}}{comma}{end}"
    assert read("page.md", text=text).cells[0].reading.equations == ("hₜ = σ(W xₜ + gₜ)", "gₜ = U hₜ₋₁")


def table(text, **more):
    return {row.symbol: (row.role, row.shape) for row in read("page.md", text=text, **more).cells[0].reading.rows}


def test_roles_follow_from_use():
    text = r"$$h_t = \tanh(W a_t), \quad a_t = V x_t + h_{t-1}, \quad y_t = R h_t$$"
    assert {name: role for name, (role, _) in table(text).items()} == {
        "h": "state", "x": "input", "y": "output", "W": "parameter", "V": "parameter", "R": "parameter", "a": "internal",
    }  # fmt: skip


def test_dimensions_are_named_after_states_inputs_and_outputs():
    rows = table(r"$$h_t = \tanh(W [h_{t-1}; x_t] + V u_t), \quad y_t = R h_t$$")
    assert rows["W"] == ("parameter", ("H", "D_x+H"))
    assert rows["u"] == ("input", ("D_u",))
    assert rows["R"] == ("parameter", ("K", "H"))


def test_dimensions_can_be_fixed():
    text = r"$$h_t = \tanh(W x_t + U h_{t-1})$$"
    assert table(text, dims={"x": "N"})["W"][1] == ("H", "N")
    assert table(text, dims={"W": "M, N"})["U"][1] == ("M", "M")
    assert table(text, dims={"x": "H"})["W"][1] == ("H", "H")


def test_layers_numbered_above_are_names_not_powers():
    rows = table(r"$$h^1_t = \tanh(W^1 x_t + U^1 h^1_{t-1}), \quad h^2_t = \tanh(W^2 h^1_t + U^2 h^2_{t-1})$$")
    assert {"W_1", "W_2", "U_1", "U_2", "h_1", "h_2"} <= set(rows)


def test_a_declared_number_is_no_parameter():
    text = r"$$h_t = (1 - \alpha) h_{t-1} + \alpha \tanh(W x_t)$$"
    one = read("page.md", text=text, let={"alpha": "0.25"}).cells[0]
    assert one.reading.equations == ("hₜ = 0.75 hₜ₋₁ + 0.25 tanh(W xₜ)",)


def test_declarations_stand_in_comments_and_blocks():
    for words in ("<!-- derive: f = relu -->", "% derive: f = relu", "```derive\nf = relu\n```"):
        one = read("page.md", text=f"{words}\n\n$$h_t = f(W x_t + U h_{{t-1}})$$\n").cells[0]
        assert one.reading.equations == ("hₜ = relu(W xₜ + U hₜ₋₁)",)


TWO = """# Notes

## First cell

$$h_t = \\tanh(W x_t + U h_{t-1})$$

## Second cell

### Gates

$$z_t = \\sigma(V x_t + R s_{t-1})$$

### State

$$s_t = z_t \\odot s_{t-1}$$
"""


def test_headings_separate_cells_that_need_nothing_of_one_another():
    page = read("some/my-page.md", text=TWO)
    assert [one.heading for one in page.cells] == ["First cell", "Second cell"]
    assert [one.cell.name for one in page.cells] == ["my_page_first_cell", "my_page_second_cell"]
    assert page.cell("second cell").cell.command == "my-page.md --cell second_cell"
    assert page.cell("First_Cell") is page.cells[0]
    with pytest.raises(PageError, match="expected one of `first_cell`, `second_cell`"):
        page.cell("third")
    with pytest.raises(PageError, match="2 cells on the page"):
        page.cell()


def test_a_page_of_one_cell_is_named_after_its_file():
    page = read("folder/4 gates.md", text=r"$$h_t = \tanh(W x_t + U h_{t-1})$$")
    assert (page.cell().cell.name, page.cell().cell.command) == ("page_4_gates", "4 gates.md")


def test_the_built_in_cells_need_no_parser():
    code = (
        "import sys, derive.__main__, derive.pages, derive.cells.registry as r; r.build('lstm'); sys.exit('lark' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_cell_of_primes_stands_beside_one_of_indices():
    """Both say what their states are, so that neither reads what the other defines."""
    text = "# A\n\n$$h' = \\tanh(W x + U h)$$\n\n# B\n\n$$x_t = V u_t + x_{t-1}$$\n\n# C\n\n$$h_t = x_t + h_{t-1}$$\n"
    assert [one.heading for one in read("page.md", text=text).cells] == ["A", "B", "C"]
