"""What one thing is called in TeX, in Unicode and in words: tables, and the few functions that read them."""

from __future__ import annotations

import re
import unicodedata

from derive.functions import FUNCTIONS
from derive.letters import GREEK

SPELLINGS = {
    "sigma": "sigmoid Sigmoid SIGMOID sigm Sigm logistic Logistic",
    "tanh": "TanH",
    "relu": "ReLU",
    "softplus": "SoftPlus soft_plus",
    "softmax": "SoftMax",
    "gelu": "GeLU",
    "log": "ln",
    "identity": "id",
    "concat": "cat",
    "silu": "SiLU swish Swish SWISH",
    "leakyrelu": "LeakyReLU LeakyRelu leakyReLU LReLU lrelu leaky_relu leaky_ReLU",
    "softsign": "SoftSign",
    "hardsigmoid": "HardSigmoid hardSigmoid hard_sigmoid",
    "hardtanh": "HardTanh hardTanh htanh hard_tanh",
    "abs": "absolute",
    "sign": "sgn signum",
    "selu": "SeLU",
    "arctan": "atan",
    "var": "variance Variance",
    "logsumexp": "LogSumExp logSumExp lse LSE",
    "logsoftmax": "LogSoftmax log_softmax",
    "layernorm": "LayerNorm LN layer_norm",
    "rmsnorm": "RMSNorm RMSnorm rms_norm",
    "cumsum": "CumSum",
    "cumax": "CuMax",
    "clip": "clamp Clamp",
    "split": "chunk",
}
"""How people write a function besides its name, its name with a capital and its name in capitals; of two letters, `ln` and no other."""
REDUCING = ("sum", "mean", "var", "max", "min", "softmax", "logsumexp", "logsoftmax")
"""Functions of all elements, which may carry an index below."""
SPECIAL = (*REDUCING, "layernorm", "rmsnorm", "cumsum", "cumax", "clip", "split", "diag", "concat")
"""Functions that are no scalar function of one element."""


NORMALISED = {
    "layernorm": "LN adds 1e-5 inside the root",
    "rmsnorm": "RMSNorm adds 1e-5 inside the root",
    "var": "var is divided by the number of elements",
    "power": "a power by a quantity is exp(b log a): what is raised has to be above 0",
}
"""Functions of all elements, and of two quantities, that have several forms: what is meant here."""


def words_in(text: str) -> frozenset[str]:
    return frozenset(text.split())


def spellings() -> dict[str, str]:
    """Each way of writing a function -> its name. A capital makes `\\Sigma` of sigma, which is another symbol."""
    found: dict[str, str] = {}
    for name in (*FUNCTIONS, *SPECIAL):
        plain = (name,) if name in GREEK else (name, name.capitalize(), name.upper())
        found |= dict.fromkeys((*plain, *SPELLINGS.get(name, "").split()), name)
    return found


FUNCTION_WORDS = spellings()


def function_name(word: str) -> str | None:
    """The function that a word names, exactly as it is spelled: `ReLU` -> `relu`, `ln` -> `log`; None for any other word, as for `LN`."""
    return FUNCTION_WORDS.get(word)


def in_one_word(raw: str) -> str:
    """What stands between braces: `hard sigmoid` and `hard\\_sigmoid` are one word, as that is a function."""
    text = raw.strip().replace(r"\_", "_")
    return joined if function_name(joined := "_".join(text.split())) else text


def is_one_name(raw: str, text: str, in_a_sentence: bool) -> bool:
    """Whether a word with underscores is one name: they are escaped, or stand in `\\text`, or it is a function."""
    meant = r"\_" in raw or ("_" in text and (in_a_sentence or function_name(text) is not None))
    return meant and re.fullmatch(r"[A-Za-z]{2,}\w*_\w+|[A-Za-z]_\w{2,}", text) is not None


GREEK_COMMANDS = (
    {name: name for one in GREEK for name in (one, one.capitalize())}
    | {f"var{name}": name for name in ("epsilon", "theta", "pi", "rho", "sigma", "phi", "kappa")}
    | {"digamma": "digamma"}
)
LETTER_COMMANDS = {"ell": "l", "imath": "i", "jmath": "j", "hbar": "hbar", "aleph": "aleph", "wp": "wp"}

PRODUCTS = ("hadamard", "star", "tensor")
"""Signs of elementwise products; a star may be a convolution as well, and \\otimes a product of all pairs."""
IDENTITIES = ("I", "Id")
"""Letters that mostly stand for the identity matrix."""
DIFFERENCES = ("Delta", "delta")
"""Letters that make a step of the letter of time behind them, as d does: one quantity."""
DIFFERENTIALS = words_in("d")
"""Letters that make a step of the letter of time where the two stand without a space."""
STEPS = ("Delta_t", "delta_t", "dt", "Delta")
"""Names of a step of time."""
OPERATORS = {
    "@": "dot",
    r"\odot": "hadamard",
    r"\circ": "hadamard",
    r"\otimes": "tensor",
    r"\ast": "star",
    r"\star": "star",
    r"\bullet": "star",
    r"\cdot": "dot",
    r"\times": "cross",
    r"\div": "divide",
    r"\oslash": "divide",
    "*": "star",
    "/": "divide",
    "⊙": "hadamard",
    "∘": "hadamard",
    "⊗": "tensor",
    "∗": "star",
    "∙": "star",
    "•": "star",
    "⋆": "star",
    "◦": "hadamard",
    "○": "hadamard",
    "⨀": "hadamard",
    "⨂": "tensor",
    "·": "dot",
    "⋅": "dot",
    "×": "cross",
    "÷": "divide",
    "⊘": "divide",
    "∕": "divide",
    r"\bigodot": "hadamard",
    r"\bigotimes": "tensor",
    r"\cdotp": "dot",
    r"\boxdot": "hadamard",
    r"\circledast": "star",
}
SIGNS = {
    "+": ("PLUS", "+"),
    r"\oplus": ("PLUS", "+"),
    "⊕": ("PLUS", "+"),
    r"\bigoplus": ("PLUS", "+"),
    r"\boxplus": ("PLUS", "+"),
    "-": ("MINUS", "-"),
    "−": ("MINUS", "-"),
    "‐": ("MINUS", "-"),
    "‑": ("MINUS", "-"),
    "–": ("MINUS", "-"),
    "﹣": ("MINUS", "-"),
    r"\ominus": ("MINUS", "-"),
    "⊖": ("MINUS", "-"),
    "=": ("EQUALS", "="),
    r"\coloneqq": ("EQUALS", "="),
    r"\triangleq": ("EQUALS", "="),
    r"\equiv": ("EQUALS", "="),
    "≔": ("EQUALS", "="),
    r"\coloneq": ("EQUALS", "="),
    r"\doteq": ("EQUALS", "="),
    r"\defeq": ("EQUALS", "="),
    "≜": ("EQUALS", "="),
    "≡": ("EQUALS", "="),
    "(": ("OPEN", "("),
    "[": ("OPEN", "["),
    r"\{": ("OPEN", "("),
    r"\lbrace": ("OPEN", "("),
    r"\lbrack": ("OPEN", "["),
    r"\lparen": ("OPEN", "("),
    ")": ("CLOSE", ")"),
    "]": ("CLOSE", "]"),
    r"\}": ("CLOSE", ")"),
    r"\rbrace": ("CLOSE", ")"),
    r"\rbrack": ("CLOSE", "]"),
    r"\rparen": ("CLOSE", ")"),
    r"\langle": ("OPEN", "<"),
    r"\rangle": ("CLOSE", ">"),
    "⟨": ("OPEN", "<"),
    "⟩": ("CLOSE", ">"),
    "〈": ("OPEN", "<"),
    "〉": ("CLOSE", ">"),
    "{": ("BEGIN_GROUP", "{"),
    "}": ("END_GROUP", "}"),
    "_": ("SUB", "_"),
    "^": ("SUP", "^"),
    r"\_": ("SUB", "_"),
    r"\sb": ("SUB", "_"),
    r"\sp": ("SUP", "^"),
    ",": ("COMMA", ","),
    "，": ("COMMA", ","),
    "；": ("SEMICOLON", ";"),
    "。": ("STOP", "."),
    "：": ("STOP", ":"),
    "（": ("OPEN", "("),
    "）": ("CLOSE", ")"),
    ";": ("SEMICOLON", ";"),
    r"\lvert": ("OPEN", "|"),
    r"\rvert": ("CLOSE", "|"),
    r"\Vert": ("COMMA", "‖"),
    r"\lVert": ("COMMA", "‖"),
    r"\rVert": ("COMMA", "‖"),
    r"\vert": ("COMMA", "|"),
    r"\mid": ("COMMA", "|"),
    r"\parallel": ("COMMA", "‖"),
    "|": ("COMMA", "|"),
    "‖": ("COMMA", "‖"),
    "∥": ("COMMA", "‖"),
    **dict.fromkeys(words_in(r"\le \leq \leqslant \lt \ge \geq \geqslant \gt \ne \neq ≤ ≥ ⩽ ⩾ ≠"), ("RELATION", "<")),
    r"\in": ("MEMBER", "∈"),
    "∈": ("MEMBER", "∈"),
    r"\forall": ("MEMBER", "∀"),
    "∀": ("MEMBER", "∀"),
    r"\|": ("COMMA", "‖"),
    "&": ("AMP", "&"),
    ".": ("STOP", "."),
    ":": ("STOP", ":"),
    r"\to": ("COMMA", ","),
    r"\rightarrow": ("COMMA", ","),
    "→": ("COMMA", ","),
    "'": ("PRIME", "prime"),
    "′": ("PRIME", "prime"),
    "’": ("PRIME", "prime"),
    r"\prime": ("MARK", "prime"),
    "″": ("PRIME", "prime_prime"),
    r"\sum": ("REDUCE", "sum"),
    "∑": ("REDUCE", "sum"),
    r"\sqrt": ("ROOT", "sqrt"),
    "√": ("ROOT", "sqrt"),
    r"\top": ("MARK", "T"),
    r"\intercal": ("MARK", "T"),
    "⊤": ("MARK", "T"),
    r"\mathsf": ("FONT", ""),
    r"\frac": ("FRAC", "/"),
    r"\dfrac": ("FRAC", "/"),
    r"\tfrac": ("FRAC", "/"),
    r"\cfrac": ("FRAC", "/"),
    r"\nicefrac": ("FRAC", "/"),
    r"\sfrac": ("FRAC", "/"),
    r"\quad": ("QUAD", ""),
    r"\qquad": ("QUAD", ""),
    r"\\": ("NEWLINE", ""),
    r"\cr": ("NEWLINE", ""),
    r"\newline": ("NEWLINE", ""),
    r"\partial": ("GRADIENT", "∂"),
    "∂": ("GRADIENT", "∂"),
    r"\nabla": ("GRADIENT", "∇"),
    "∇": ("GRADIENT", "∇"),
    r"\leftarrow": ("GRADIENT", "←"),
    r"\gets": ("GRADIENT", "←"),
    "←": ("GRADIENT", "←"),
}
DECORATIONS = {
    "tilde": "tilde",
    "widetilde": "tilde",
    "hat": "hat",
    "widehat": "hat",
    "bar": "bar",
    "overline": "bar",
    "dot": "dot",
    "ddot": "ddot",
    "vec": "vec",
    "check": "check",
    "widecheck": "check",
    "breve": "breve",
    "acute": "acute",
    "grave": "grave",
    "mathring": "ring",
    "overrightarrow": "right",
    "overleftarrow": "left",
}
COMBINING = {
    "\u0303": "tilde",
    "\u0302": "hat",
    "\u0304": "bar",
    "\u0305": "bar",
    "\u0307": "dot",
    "\u0308": "ddot",
    "\u20d7": "vec",
    "\u030c": "check",
    "\u0306": "breve",
    "\u0301": "acute",
    "\u0300": "grave",
    "\u030a": "ring",
    "\u20d6": "left",
}
SEPARATE_FONTS = {
    "mathcal": "calligraphic",
    "mathscr": "script",
    "mathbb": "blackboard",
    "mathfrak": "fraktur",
    "cal": "calligraphic",
}
PLAIN_FONTS = words_in("mathbf boldsymbol bm mathnormal pmb symbf symbfit bold mathbfit textcolor ensuremath")
TEXT_FONTS = words_in(
    "mathrm mathit text operatorname mathop textrm textbf textit textsf texttt mathtt mbox hbox textnormal mathsf emph"
)
VANISH = words_in(
    "left right big Big bigg Bigg bigl bigr Bigl Bigr biggl biggr Biggl Biggr bigm middle displaystyle textstyle scriptstyle "
    "limits nolimits nonumber notag hfill hline bf rm it sf tt mathstrut strut allowbreak nobreak "
    "displaylimits centering small large footnotesize "
    "normalsize underline boxed underbrace overbrace mathrel mathbin mathord mathopen mathclose mathinner thinspace medspace thickspace "
    "negthinspace enspace smallskip noindent qquad* relax left* protect boldmath vspace* null"
)
WITH_ARGUMENT = words_in(
    "tag tag* label hspace hspace* vspace kern mspace hskip phantom "
    "hphantom vphantom color intertext shortintertext ref eqref cite"
)
SENTENCES = words_in("text textrm textnormal mbox hbox")
CONNECTIVES = words_in("and or where with if for when such that else otherwise then since given let")
"""Words that join equations; in `\\text{ word }` with a space any word does."""
NO_PRODUCT = "Write the step without indices, as in `W x_t`; `<!-- derive: skip -->` in front of a loss passes it over."
INFINITE = "an infinite value isn't read: expected a number."
FINITE = r"The largest value of all steps is `\max_t a_t`; a state that runs starts with a number, or with a value of the page."
UNREAD = {
    name: (f"`\\{name}` isn't read: expected products of matrices and vectors.", NO_PRODUCT) for name in ("prod", "int")
} | {"infty": (INFINITE, FINITE)}
"""What is said of commands that a formula of a model may hold and that aren't read: what is wrong, what to do."""
CASES = words_in("cases rcases dcases")
MATRICES = words_in("matrix pmatrix bmatrix Bmatrix vmatrix Vmatrix smallmatrix psmallmatrix bsmallmatrix array subarray")

RAISED = dict(zip("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁽⁾⁼", "0123456789+-()=", strict=True))
LOWERED = dict(zip("₀₁₂₃₄₅₆₇₈₉₊₋₍₎₌", "0123456789+-()=", strict=True))


def script_of(character: str) -> tuple[str, str] | None:
    """("^" or "_", the plain character) of a raised or lowered one."""
    if character in RAISED or character in LOWERED:
        return ("^", RAISED[character]) if character in RAISED else ("_", LOWERED[character])
    found = unicodedata.decomposition(character)
    if found.startswith(("<super>", "<sub>")):
        kind, _, code = found.partition("> ")
        return "^" if kind == "<super" else "_", "".join(chr(int(one, 16)) for one in code.split())
    return None


VARIANTS = dict(zip("ϵϑϕϱςϖϰ", "εθφρσπκ", strict=True))
"""The second forms of Greek letters, and the first: one name, two symbols."""


def greek_kind(written: str) -> str:
    """GREEK, or VARIANT for the second form of a letter: `\\varphi`, `ϕ`."""
    return "VARIANT" if written in VARIANTS or written.startswith("\\var") else "GREEK"


def greek_letter(character: str) -> str | None:
    """`α` -> `alpha`, `Γ` -> `Gamma`; None for anything else."""
    character = {**VARIANTS, "µ": "μ"}.get(character, character)
    name = unicodedata.name(character, "")
    if not name.startswith("GREEK ") or "LETTER" not in name:
        return "l" if character == "ℓ" else None
    letter = name.split("LETTER ")[1].split(" ")[0].lower()
    letter = "lambda" if letter == "lamda" else letter
    if letter not in GREEK:
        return None
    return letter.capitalize() if "CAPITAL" in name else letter
