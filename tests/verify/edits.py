"""Kernels of tests: the text of a right one, edited."""

from __future__ import annotations

import types
from pathlib import Path

from verify.kernel import load_text

FOLDER = Path(__file__).parent / "foreign"
ELMAN = (FOLDER / "elman.py").read_text(encoding="utf-8")


def edited(*edits: tuple[str, str], text: str = ELMAN) -> types.ModuleType:
    """The module of a text in which each `old`, which stands there once, is `new`."""
    for old, new in edits:
        assert text.count(old) == 1, f"`{old}` stands {text.count(old)} times"
        text = text.replace(old, new)
    return load_text(text, "edited.py")
