"""Names that a C text can't use for quantities: keywords, and macros of itself and of the headers that it includes."""

from __future__ import annotations

KEYWORDS = frozenset({
    "asm", "auto", "break", "case", "char", "const", "continue", "default", "do", "double", "else", "enum", "extern", "float", "for",
    "goto", "if", "inline", "int", "long", "register", "restrict", "return", "short", "signed", "sizeof", "static", "struct", "switch",
    "typedef", "typeof", "union", "unsigned", "void", "volatile", "while",
})  # fmt: skip

OF_MATHEMATICS = (
    "M_E", "M_LOG2E", "M_LOG10E", "M_LN2", "M_LN10", "M_PI", "M_PI_2", "M_PI_4", "M_1_PI", "M_2_PI", "M_2_SQRTPI", "M_SQRT2", "M_SQRT1_2",
    "NAN", "INFINITY", "HUGE_VAL", "HUGE_VALF", "HUGE_VALL", "MATH_ERRNO", "MATH_ERREXCEPT", "math_errhandling",
    "FP_NAN", "FP_INFINITE", "FP_ZERO", "FP_SUBNORMAL", "FP_NORMAL", "FP_ILOGB0", "FP_ILOGBNAN", "FP_FAST_FMA", "FP_FAST_FMAF",
)  # fmt: skip

OF_WHOLE_NUMBERS = (
    "INTMAX", "UINTMAX", "INTPTR", "UINTPTR", "PTRDIFF", "SIZE", "WCHAR", "WINT", "SIG_ATOMIC",
    *(f"{sign}INT{kind}{bits}" for sign in ("", "U") for kind in ("", "_LEAST", "_FAST") for bits in (8, 16, 32, 64)),
)  # fmt: skip

MACROS = frozenset({
    "INLINE", "HELPER", "UNROLL", "VECTOR_BYTES", "FLOAT32", "NULL", "linux", "unix", "i386",
    *OF_MATHEMATICS,
    *(f"{name}_{end}" for name in OF_WHOLE_NUMBERS for end in ("MIN", "MAX")),
})  # fmt: skip


def member(name: str) -> str:
    """What an array of the caller's is called in C."""
    return f"{name}_" if name in KEYWORDS | MACROS else name
