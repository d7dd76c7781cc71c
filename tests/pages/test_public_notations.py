"""Small pages in notations that are public: each is read as it is meant, or asked about where it can be meant in two ways.

`public_notations.txt` holds them: `# title`, the page, then `= equation` for each equation as it is read, `~ words` for what its notes
say, or `? first words` of the question and `| words` for what it has to say besides: the declarations, or the other ways of writing it.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from derive.pages import PageError, read

FILES = ("public_notations.txt", "network_notations.txt", "network_steps.txt")
TEXT = "\n\n".join((Path(__file__).parent / name).read_text() for name in FILES)
CASES = {
    part.split("\n", 1)[0]: part.split("\n", 1)[1].rstrip("\n").split("\n") for part in re.split(r"^# ", TEXT, flags=re.M)[1:]
}
PROPOSED = re.compile(r'--let "([^"]+=[^"]+)"')
MARKS = ("= ", "~ ", "? ", "| ")


def page_of(lines):
    return "\n".join(line for line in lines if not line.startswith(MARKS))


def said(lines, mark):
    return [line[2:] for line in lines if line.startswith(mark)]


def reading(page, **more):
    """(the equations, the notes) of a page, or (None, what is asked)."""
    try:
        cells = read("page.md", text=page, **more).cells
    except PageError as error:
        return None, str(error)
    return [line for one in cells for line in one.reading.equations], [note for one in cells for note in one.reading.notes]


@pytest.mark.parametrize("title", [title for title, lines in CASES.items() if not said(lines, "?")])
def test_a_page_is_read_as_it_is_meant(title):
    lines = CASES[title]
    equations, notes = reading(page_of(lines))
    assert equations == said(lines, "="), notes
    assert all(any(words in note for note in notes) for words in said(lines, "~"))


@pytest.mark.parametrize("title", [title for title, lines in CASES.items() if said(lines, "?")])
def test_what_has_two_readings_is_asked_about(title):
    """The question says how to tell each reading, and no declaration that it proposes brings the same question again."""
    lines = CASES[title]
    equations, message = reading(page_of(lines))
    assert equations is None
    assert message.split(": ", 1)[1].startswith(said(lines, "?")[0])
    assert said(lines, "|")
    assert all(words in message for words in said(lines, "|"))
    for proposed in PROPOSED.findall(message):
        _, again = reading(page_of(lines), let=dict(one.strip().split("=", 1) for one in proposed.split(";")))
        assert again != message


def test_there_are_a_hundred_and_more():
    assert len(CASES) >= 100
    assert sum(bool(said(lines, "?")) for lines in CASES.values()) >= 50
