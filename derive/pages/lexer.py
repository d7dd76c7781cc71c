"""What the text of a display is made of: one regular expression, whose groups `tokens.Tokenizer` has a method for each."""

from __future__ import annotations

import re

EAST = r"[\u2e80-\ua71f\uac00-\ud7ff\uf900-\ufaff\U00020000-\U0003ffff]"
FOREIGN = rf"(?:{EAST}|[\u0400-\u1cff])"
ACCENT = r"[\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u024f\u1e00-\u1eff]"
ACCENTED = rf"(?=[A-Za-z]*{ACCENT})(?:[A-Za-z]|{ACCENT}){{4,}}"
PHRASE = (
    rf"(?:(?<![A-Za-z\\_^])(?:[A-Za-z]{{4,}}[ \t'’-]+(?:[A-Za-z]+[ \t'’-]+){{0,5}})?{ACCENTED}"
    rf"|(?<![_^]){EAST}|(?<![_^])[\u0400-\u1cff]{{3}})"
    rf"(?:[ \t'’/.:：\-–]*(?:{FOREIGN}+|{ACCENTED}|[A-Za-z]{{4,}}(?![A-Za-z_^({{\\])|[a-z]{{1,3}}(?=[ '’])))*[：，。、]*"
)
"""Bare words of which one is of another script, or is long and has an accent: no product of letters."""

LEXER = re.compile(
    rf"""(?P<phrase>{PHRASE})
    |(?P<comment>(?<!\\)%[^\n]*)
    |(?P<command>\\(?:[A-Za-z]+\*?|[^A-Za-z]))
    |(?P<number>[0-9]+(?:\.[0-9]+)?|\.[0-9]+)
    |(?P<named>[A-Za-z]{{2,}}(?:\\_(?:[A-Za-z0-9]{{2,}}|[0-9]))+|[A-Za-z](?:\\_[A-Za-z0-9]{{2,}})+)
    |(?P<letters>[A-Za-z]+)
    |(?P<space>(?:[\s\u200b\u2009\u200a\u202f\u00a0\u2061-\u2064\ufeff]|~(?![_^]))+)
    |(?P<assign>:=)
    |(?P<other>.)""",
    re.VERBOSE | re.DOTALL,
)
