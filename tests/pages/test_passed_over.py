"""What is passed over is listed, never needed, and stops nothing else: losses, words, skipped displays, sections that can't be read."""

from __future__ import annotations

import json

import pytest

from derive.__main__ import main
from derive.pages import PageError, read
from verify.jacobian.command import sources
from verify.kept import candidates, model_for

STEP = r"$$h_t = \tanh(W x_t + U h_{t-1} + b)$$"
UNDERSTOOD = ("hₜ = tanh(W xₜ + U hₜ₋₁ + b)",)

NEEDLESS = [
    r"L = \sum_t \ell_t",
    r"J = -\frac{1}{T} \sum_{t=1}^{T} \log p(y_t | x_t)",
    "loss = \\sum_t h_t",
    r"P(y) = \prod_t p(y_t | h_t)",
    r"L(\theta) = \sum_t \ell_t(\theta)",
    r"E = \frac12 \prod_t (h_t - d_t)^\top (h_t - d_t)",
    r"\theta = \{W, U, b\}",
    r"\Delta W = -\eta \sum_t g_t",
    r"dW = \sum_t d_t x_t^\top",
    r"\frac{d L}{d W} = \sum_t g_t",
    r"h_T = \mathrm{RNN}(x_1, \dots, x_T)",
    r"h_t = \mathrm{RNN}(x_t, h_{t-1})",
    r"h_t = RNN(x_t, h_{t-1})",
    r"h_t = f_W(h_{t-1}, x_t)",
    r"h_t = \mathcal{F}(h_{t-1}, x_t; \theta)",
    r"\downarrow",
    r"p(y_t | x_{1:t})",
    r"\text{The step of the lecture:}",
    r"\begin{aligned} Forget \; gate \\ Input \; gate \end{aligned}",
]


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("formula", NEEDLESS)
def test_what_no_equation_needs_is_passed_over_and_listed(formula, first):
    display = f"$${formula}$$"
    page = read("page.md", text=f"{display}\n\n{STEP}" if first else f"{STEP}\n\n{display}")
    assert page.cells[0].reading.equations == UNDERSTOOD
    assert len(page.cells[0].reading.skipped) == 1
    assert page.cells[0].reading.skipped[0].startswith(f"page.md:{1 if first else 3}: ")


NEEDED = {
    "an output": r"$$y_t = \sum_j h_j$$",
    "a parameter that the step reads": r"$$W = \sum_k A_k$$",
    "what changes is a state": r"$$d h = \sum_j h$$",
    "an equation of motion": r"$$\tau \dot{h} = -h + \sum_j W_j$$",
    "a relation that says what something is": r"$$y_t \approx \tanh(V h_t)$$",
    "an input that is drawn": r"$$x_t \sim N(0, 1)$$",
    "a definition without its sign": r"$$x_t \tanh(V u_t)$$",
    "a second definition": r"$$h_t = \tanh(V x_t)$$",
}


@pytest.mark.parametrize("display", NEEDED.values(), ids=NEEDED)
def test_what_may_be_part_of_a_step_is_not_passed_over(display):
    with pytest.raises(PageError):
        read("page.md", text=f"{STEP}\n\n{display}")


def test_a_page_without_a_time_passes_no_definition_over():
    with pytest.raises(PageError):
        read("page.md", text=r"$$h = \tanh(W x + U h_{prev})$$ $$y = \prod_j h_j$$")


@pytest.mark.parametrize("word", ["<!-- derive: skip -->", "% derive: skip"])
def test_a_display_is_skipped_as_the_page_says(word):
    page = read("page.md", text=f"{STEP}\n\n{word}\n$$y_t = \\sum_j h_j$$\n\n$$z_t = V h_t$$")
    assert page.cells[0].reading.equations == (*UNDERSTOOD, "zₜ = V hₜ")
    assert page.skipped == ("page.md:4: skipped, as the page says: y_t = \\sum_j h_j",)


def test_a_line_of_a_plain_text_is_skipped_as_the_text_says():
    page = read("page.txt", text="fₜ = σ(W xₜ)\n# derive: skip\nyₜ = Σ h\nhₜ = fₜ ⊙ hₜ₋₁")
    assert page.cells[0].reading.equations == ("fₜ = σ(W xₜ)", "hₜ = fₜ ∘ hₜ₋₁")
    assert page.skipped == ("page.txt:3: skipped, as the page says: yₜ = Σ h",)


def test_a_skip_in_front_of_nothing_is_refused():
    with pytest.raises(PageError, match="in front of no display"):
        read("page.md", text=f"{STEP}\n\n<!-- derive: skip -->\n\n# More\n")


# ---- sections that can't be read

SECTIONS = (
    "# A\n$$h_t = \\tanh(W x_t + U h_{t-1})$$\n# B\n$$c_t = \\foo(V x_t) + c_{t-1}$$\n# C\n$$s_t = \\sigma(Q x_t + s_{t-1})$$\n"
)


@pytest.mark.parametrize("broken", [r"\foo(V x_t) + c_{t-1}", "(x_t + c_{t-1}", r"x_t U V c_{t-1}"])
def test_a_section_that_cannot_be_read_stops_no_other(broken):
    text = SECTIONS.replace(r"\foo(V x_t) + c_{t-1}", broken)
    page = read("page.md", text=text)
    assert [one.heading for one in page.cells] == ["A", "C"]
    assert [heading for heading, _ in page.refused] == ["B"]
    assert page.cell("C").heading == "C"
    with pytest.raises(PageError, match=r"page\.md:4"):
        page.cell("B")


@pytest.mark.parametrize("broken", [r"$$f_t = \foo(x_t)$$", "$$f_t = (x_t$$"])
def test_a_section_that_reads_what_an_unread_line_may_define_is_refused_too(broken):
    page = read("page.md", text=f"# A\n{broken}\n# B\n$$h_t = f_t h_{{t-1}} + x_t$$\n# C\n$$s_t = s_{{t-1}} + x_t$$\n")
    assert [one.heading for one in page.cells] == ["C"]
    assert "B reads `f`, which this line may define" in str(dict(page.refused)["B"])


def test_a_page_of_which_nothing_can_be_read_says_why_for_each_section():
    with pytest.raises(PageError) as caught:
        read("page.md", text="# A\n$$h_t = (x_t$$\n# B\n$$h_t = \\foo h_{t-1} + x_t$$\n")
    assert "page.md:2: unbalanced bracket" in str(caught.value)
    assert "page.md:4: unknown command" in str(caught.value)


@pytest.mark.parametrize(("form", "ends"), [("json", "]"), ("latex", r"\end{document}"), ("markdown", "")])
def test_several_cells_are_one_document_and_what_is_refused_comes_last(form, ends, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "page.md").write_text(SECTIONS)
    assert main(["page.md", "--format", form, "--no-verify"]) == 1
    printed, said = capsys.readouterr()
    if form == "json":
        assert [one["name"] for one in json.loads(printed)] == ["page_a", "page_c"]
    assert printed.count(r"\documentclass") == (form == "latex")
    assert printed.rstrip().endswith(ends)
    assert said.rstrip().splitlines()[-4].startswith("page.md:4: unknown command")
    assert sorted(path.name for path in (tmp_path / "generated").glob("*.py")) == ["page_a.py", "page_c.py"]


def test_json_of_one_cell_is_one_object(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "page.md").write_text(SECTIONS)
    assert main(["page.md", "--cell", "C", "--format", "json", "--no-verify"]) == 0
    assert json.loads(capsys.readouterr().out)["name"] == "page_c"
    assert main(["page.md", "--cell", "B", "--format", "json", "--no-verify"]) == 2
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    "formula",
    [
        r"h_t = \mathrm{LayerNorm}(h_t)",
        r"h_t = \mathrm{Zoneout}(h_{t-1}, h_t)",
        r"h_t = W(h_{t-1}, x_t)",
        r"h_t = \mathrm{Dropout}(x_t)",
        r"h_t = \tanh(h_t)",
    ],
)
def test_what_may_be_a_part_of_the_step_is_never_passed_over(formula):
    with pytest.raises(PageError, match="h is defined twice"):
        read("page.md", text=f"{STEP}\n\n$${formula}$$")


def test_the_verifier_goes_on_where_a_section_cannot_be_read(tmp_path, monkeypatch):
    """Its cells are those of the other sections; why that one can't be read is kept for the end."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "page.md").write_text(f"# First\n\n{STEP}\n\n# Second\n\n$$s_t = \\mathrm{{BN}}(V x_t + R s_{{t-1}})$$\n")
    unread = []
    assert [one.name for one in candidates(["page.md"], unread)] == ["page_first"]
    assert ["unknown function `BN`" in str(error) for error in unread] == [True]
    with pytest.raises(PageError, match="unknown function `BN`"):
        candidates(["page.md"])


@pytest.mark.parametrize(
    "named", [lambda unread: model_for("page.md", unread=unread), lambda unread: sources(["page.md"], unread)]
)
def test_a_cell_to_hold_against_and_one_to_analyse_need_only_their_own_section(named, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "page.md").write_text(f"# First\n\n{STEP}\n\n# Second\n\n$$s_t = \\mathrm{{BN}}(V x_t + R s_{{t-1}})$$\n")
    unread = []
    assert named(unread)
    assert ["unknown function `BN`" in str(error) for error in unread] == [True]


SUMS = [
    r"\mathcal{L} = \sum_{t=1}^{T} \|y_t - d_t\|^2",
    r"J = \sum_t \sum_k y_{t,k} \log p_{t,k}",
    r"L = -\sum_{k} h_k \log p",
    r"N = \sum_{l=1}^{L} n_l",
]


@pytest.mark.parametrize("formula", SUMS)
def test_sums_that_are_no_part_of_a_step_are_passed_over(formula):
    page = read("page.md", text=f"{STEP}\n\n$${formula}$$")
    assert page.cells[0].reading.equations == UNDERSTOOD
    assert len(page.cells[0].reading.skipped) == 1


# ---- ranges

RNN = r"h_t = \tanh(W x_t + U h_{t-1})"


@pytest.mark.parametrize("counted", [
    r"t = 1, \ldots, T", r"t = 1, 2, \ldots, T", r"t = 0, \dots, T-1", r"t = 1 \dots T", "t = 1:T", "t = 1..T", r"(t = 1, \dots, T)",
    r"t = \{1, \dots, T\}", r"\forall t", r"\forall t \in \{1, \dots, T\}", r"t \in [1, T]", r"1 \le t \le T", r"t \geq 1", "t > 0",
    r"\text{for } t = 1 \text{ to } T", r"\text{for all } t", r"t = 1, \dots, N_x", r"\text{if } t > 0",
])  # fmt: skip
def test_what_the_time_runs_over_is_no_equation_and_passes_silently(counted):
    one = read("page.md", text=rf"$${RNN}, \quad {counted}$$").cells[0].reading
    assert (one.equations, one.skipped, one.notes) == (("hₜ = tanh(W xₜ + U hₜ₋₁)",), (), ())


@pytest.mark.parametrize("counted", [
    r"s = 0, \dots, S-1", r"s \in \{1, \dots, n\}", r"1 \le s \le n", "s=1:K", r"\forall s = 1, \dots, n", "s = 1, 2",
    r"\text{for each } s", r"\forall s, t", "t = T, \\dots, 1",
])  # fmt: skip
@pytest.mark.parametrize("written", [rf"$${RNN}, \quad COUNTED$$", rf"$${RNN} \\ COUNTED$$", rf"$${RNN}$$ $$COUNTED$$"])
def test_what_another_letter_runs_over_is_no_equation_and_a_list_is_listed(counted, written):
    one = read("page.md", text=written.replace("COUNTED", counted)).cells[0].reading
    assert one.equations == ("hₜ = tanh(W xₜ + U hₜ₋₁)",)
    if "=" in counted:
        assert any(f"a range of {counted.removeprefix(chr(92) + 'forall ')[0]}" in line for line in one.skipped)


def test_a_number_that_is_given_is_no_range():
    one = read("page.md", text=r"$$h_t = k h_{t-1} + x_t, \quad k = 0.5$$").cells[0].reading
    assert one.equations == ("hₜ = 0.5 hₜ₋₁ + xₜ",)


@pytest.mark.parametrize("condition", [r"\text{if } x_t > 0", r"\text{if} \quad |x_t| > 0", r"\text{when } m_t = 1"])
def test_a_condition_beside_an_equation_is_refused(condition):
    with pytest.raises(PageError, match="a condition beside an equation isn't read"):
        read("page.md", text=rf"$${RNN}, \quad {condition}$$")


@pytest.mark.parametrize("loop", [
    r"h_{s+1}(t+1) = f(W h(t) + C x(t) + A h_s(t+1)), \quad s = 0, \dots, S-1",
    r"h^{(s+1)}_t = f(W h_{t-1} + C x_t + A h^{(s)}_t), \quad s = 0, \dots, S-1 $$ $$ h_t = h^{(S)}_t",
    r"h^{(s)}_t = f(W h_{t-1} + C x_t + A h^{(s-1)}_t) \quad \text{for } s = 1, \dots, S $$ $$ h_t = h^{(S)}_t",
])  # fmt: skip
def test_a_loop_within_a_step_is_refused_by_name(loop):
    with pytest.raises(PageError, match=r"two counts within one step(.*\n)+Write each of its turns out"):
        read("page.md", text=f"$${loop}$$", let={"f": "tanh"})


def test_layers_are_no_loop_within_a_step():
    with pytest.raises(PageError, match="is a layer of several"):
        read("page.md", text=r"$$h_t^{(l)} = \tanh(W h_t^{(l-1)} + U h_{t-1}^{(l)}), \quad l = 1, \dots, L$$")


def test_a_malformed_declaration_refuses_the_section_in_which_it_stands():
    text = "# A\n<!-- derive: foo = bar baz -->\n$$h_t = h_{t-1} + x_t$$\n# B\n$$s_t = s_{t-1} + x_t$$\n"
    page = read("page.md", text=text)
    assert [one.heading for one in page.cells] == ["B"]
    assert "page.md:2: `foo = bar baz` declares nothing" in str(dict(page.refused)["A"])
    with pytest.raises(PageError, match=r"page\.md:1: `foo = bar baz` declares nothing"):
        read("page.md", text=text.removeprefix("# A\n"))


def test_a_fault_that_every_section_meets_is_said_once():
    cells = "".join(f"# {name}\n$$h_t = f_t h_{{t-1}} + x_t$$\n" for name in "ABCDEFGH")
    with pytest.raises(PageError) as caught:
        read("page.md", text="$$f_t = \\frobnicate{x_t} +$$\n" + cells)
    assert str(caught.value).count("frobnicate") == 2  # what is wrong, and the line


# ---- what one section makes of its steps and another reads

ENCODER = "## Encoder\n$$h_s = \\tanh(W x_s + U h_{s-1} + b)$$\n$$c = h_S$$\n"
DECODER = "## Decoder\n%s$$d_t = \\tanh(P y_t + Q d_{t-1} + %s)$$\n"
OTHER = "## Other\n$$g_t = \\tanh(P y_t + Q g_{t-1})$$\n"


@pytest.mark.parametrize("turned", [False, True])
def test_an_offset_that_another_section_makes_of_its_steps_is_asked_about(turned):
    parts = [ENCODER, DECODER % ("", "c")]
    page = read("page.md", text="".join(parts[::-1] if turned else parts))
    assert [one.heading for one in page.cells] == ["Encoder"]
    (heading, error), *more = page.refused
    assert heading == "Decoder"
    assert not more
    assert "`c` is what another section makes of its steps, or a symbol of its own" in str(error)
    assert "the other section:" in str(error)
    assert '--let "c=parameter"' in str(error)


def test_a_declaration_under_its_heading_makes_the_offset_a_parameter():
    page = read("page.md", text=ENCODER + DECODER % ("<!-- derive: c = parameter -->\n", "c"))
    assert [one.heading for one in page.cells] == ["Encoder", "Decoder"]
    assert "c" in [value.name for value in page.cells[1].cell.parameters]


def test_what_another_section_makes_and_a_matrix_multiplies_joins_them():
    page = read("page.md", text=ENCODER + DECODER % ("", "C c"))
    assert [value.name for value in page.cell().cell.states] == ["h", "d"]


def test_of_some_of_many_sections_an_offset_is_its_own_with_a_note_and_a_factor_is_asked_about():
    page = read("page.md", text=ENCODER + DECODER % ("", "c") + OTHER)
    assert [one.heading for one in page.cells] == ["Encoder", "Decoder", "Other"]
    assert "`c` is read as a parameter of its own, not as `c` of page.md:3" in page.cells[1].reading.notes
    page = read("page.md", text=ENCODER + DECODER % ("", "C c") + OTHER)
    assert [one.heading for one in page.cells] == ["Encoder", "Other"]
    assert "makes of its steps" in str(dict(page.refused)["Decoder"])


def test_of_three_declarations_of_one_name_the_two_that_contradict_each_other_are_said():
    for words in ("y = example; y = tokens; y = number", "y = tokens; y = example; y = number"):
        with pytest.raises(PageError, match="`y` is declared as `tokens` and as `number`") as caught:
            read("page.md", text=f"<!-- derive: {words} -->\n{STEP}")
        assert str(caught.value).count("page.md:1: ") == 2


def test_a_contradiction_under_one_heading_stops_no_other_section():
    text = "## A\n<!-- derive: a = number; a = vector -->\n$$h_t = a h_{t-1} + x_t$$\n## B\n$$g_t = \\tanh(W x_t + U g_{t-1})$$\n"
    page = read("page.md", text=text)
    assert [one.heading for one in page.cells] == ["B"]
    assert "`a` is declared as `number` and as `vector`" in str(dict(page.refused)["A"])
