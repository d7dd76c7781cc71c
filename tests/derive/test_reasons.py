"""Why each term stands where it does: the right rule, all the rules where several were at work, typeset as what they are."""

from __future__ import annotations

import json
import re
import unicodedata
from typing import Any

import pytest

from derive import sheet
from derive.derivation import derive
from derive.functions import function
from derive.language import Eq, matrix, sequence, vector
from tests.odd_cells import D, H, cell_of

x, h, y, z = sequence("x", D), sequence("h", H), sequence("y", H), sequence("z", H)
W, U, p = matrix("W", H, D), matrix("U", H, H), vector("p", H)
tanh, relu = function("tanh"), function("relu")

SCALED = (Eq(z, tanh(W @ x)), Eq(y, z / 2 - 3 * h.prev), Eq(h, (1 - y) * h.prev))
UNNAMED = (Eq(h, h.prev + relu(W @ x + U @ h.prev)),)
CHAINED = (Eq(z, tanh(W @ x)), Eq(h, z * tanh(p * h.prev)))
FACTORED = (Eq(z, tanh(W @ x)), Eq(h, z * h.prev + 2 * z))
TWICE = (Eq(h, tanh(U @ (z * tanh(U @ h.prev)) + W @ x)), Eq(z, tanh(W @ x)))
q = vector("q", H)
SHARED = (Eq(z, tanh(W @ x + U @ h.prev + p * y.prev)), Eq(y, z * y.prev), Eq(h, z * y))
BOTH = (Eq(q, tanh(U @ p)), Eq(h, tanh(U @ h.prev + W @ x) * q))


def shown(equations: tuple[Any, ...], form: str = "text") -> str:
    """A sheet, its letters composed."""
    return unicodedata.normalize("NFC", sheet.FORMATS[form](derive(cell_of(*equations))))


def terms(equations: tuple[Any, ...], program: str, name: str, kind: str) -> dict[str, str]:
    """text of a term -> its rule."""
    found = json.loads(shown(equations, "json"))["programs"][program]
    return {t["text"]: t["rule"].partition(":")[0] for e in found if (e["name"], e["kind"]) == (name, kind) for t in e["terms"]}


def reason_of(equations: tuple[Any, ...], term: str, section: str) -> str:
    """What the text says after a term."""
    text = re.sub(r"\s+", " ", shown(equations).partition(f"\n{section}\n")[2])
    return text.partition(f"{term} from ")[2]


# ---- which rule


def test_a_number_in_front_is_a_rule_of_its_own() -> None:
    assert terms(SCALED, "backward", "z", "cotangent")["0.5 ∂L/∂yₜ"] == "y = k a"
    assert terms(SCALED, "tangent", "y", "tangent")["−3 ḣₜ₋₁"] == "y = k a"


def test_a_sign_in_a_product_is_part_of_the_product() -> None:
    assert terms(SCALED, "backward", "y", "cotangent")["−∂L/∂hₜ ∘ hₜ₋₁"] == "y = u ∘ v"


def test_a_sign_in_a_sum_makes_it_a_difference() -> None:
    difference = (Eq(y, tanh(W @ x)), Eq(h, h.prev - y))
    assert terms(difference, "backward", "y", "cotangent") == {"−∂L/∂hₜ": "y = a − b"}
    assert terms(difference, "tangent", "h", "tangent") == {"ḣₜ₋₁": "y = a + b", "−ẏₜ": "y = a − b"}


@pytest.mark.parametrize(("section", "term"), [("Tangents", "step(a_hₜ) ∘ ȧ_hₜ"), ("Jacobian of one step", "diag(step(a_hₜ)) U")])
def test_a_part_put_back_keeps_its_own_rule(section: str, term: str) -> None:
    said = reason_of(UNNAMED, term, section)
    assert said.startswith("hₜ: y = a + b, relu(a_hₜ): y = f(a)")


def test_a_term_of_two_rules_names_both_backward() -> None:
    said = reason_of(CHAINED, "∂L/∂hₜ ∘ zₜ ∘ (1 − tanh(a_hₜ)²)", "Backward")
    assert said.startswith("tanh(a_hₜ): y = f(a), hₜ: y = u ∘ v")


def test_json_lists_what_else_was_at_work() -> None:
    (term,) = [t for e in json.loads(shown(CHAINED, "json"))["programs"]["backward"] for t in e["terms"] if t["also"]]
    assert (term["from"], term["also"]) == ("tanh_a_h", [{"from": "h", "rule": "y = u ∘ v: ū = ȳ ∘ v"}])


def test_what_is_shared_says_so() -> None:
    text = shown(SHARED)
    shared = [line for line in text.splitlines() if line.startswith("  s_")]
    assert shared
    assert all("shared" in line for line in shared)


# ---- how it is typeset


@pytest.mark.parametrize("form", ["latex", "markdown"])
def test_words_stand_in_text_and_rules_in_mathematics(form: str) -> None:
    for equations in (SCALED, UNNAMED, CHAINED, FACTORED):
        for row in re.findall(r"&& (.*?)(?: \\\\)?$", shown(equations, form), re.M):
            mathematics = re.sub(r"\\text\{[^{}]*\}|\\(operatorname|mathrm)\{\w+\}|\\\w+", "", row)
            assert not re.search(r"[a-z]{3}|;", mathematics), row


# ---- sums over the steps


@pytest.mark.parametrize(
    ("form", "sigma", "left"), [("text", "Σₜ ", "∂L/∂U ="), ("latex", r"\sum_t ", r"\frac{\partial L}{\partial U} &=")]
)
def test_every_term_of_a_sum_over_steps_has_its_sigma(form: str, sigma: str, left: str) -> None:
    lines = shown(TWICE, form).splitlines()
    start = next(k for k, line in enumerate(lines) if left in line)
    assert sigma in lines[start]
    assert sigma in lines[start + 1]


def test_a_gradient_of_each_step_and_once_is_one_equation() -> None:
    """What is there once and the steps' part stand in one equation, in the order of the forward one, the sum over the steps' part alone."""
    text = shown(BOTH)
    assert "ΣL" not in text
    (start,) = [k for k, line in enumerate(text.splitlines()) if line.startswith("  ∂L/∂U = ")]
    rows = text.splitlines()[start : start + 2]
    assert ["Σₜ" in row for row in rows] == [False, True]


def test_a_derivative_is_transposed_in_brackets() -> None:
    V = matrix("V", H, H)
    transposed = shown((Eq(V, U.T @ U), Eq(h, tanh(V @ h.prev + W @ x))))
    assert "(∂L/∂V)ᵀ" in transposed
    assert not re.search(r"∂L/∂\w+ᵀ", transposed)
