"""docs/systems.md: what it says makes a system makes one, and the tests that it names are there."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from derive.cells.registry import build
from derive.pages import read

ROOT = Path(__file__).parents[1]
ROWS = [
    [cell.strip() for cell in line[1:-1].split("|")]
    for line in (ROOT / "docs" / "systems.md").read_text(encoding="utf-8").splitlines()
    if line.startswith("| ") and not line.startswith("| system ")
]
MADE = [(made.strip("`"), held.strip("`")) for _, _, made, held in ROWS if not made.startswith("not yet")]


@pytest.mark.parametrize("command", sorted({made for made, _ in MADE}))
def test_a_command_makes_a_system(command):
    words = shlex.split(command)
    assert words[:3] == ["python", "-m", "derive"]
    if words[3].endswith(".md"):
        assert words[4] == "--cell"
        assert read(str(ROOT / words[3])).cell(words[5]).heading == words[5]
    else:
        assert build(" ".join(words[3:])).equations


@pytest.mark.parametrize("test", sorted({held for _, held in MADE}))
def test_a_test_that_holds_a_system_is_there(test):
    file, name = test.split("::")
    assert re.search(rf"^def {name}\(", (ROOT / file).read_text(encoding="utf-8"), re.MULTILINE)


def test_what_nothing_makes_says_why():
    missing = [row[2] for row in ROWS if row[2].startswith("not yet")]
    assert missing
    assert all(re.fullmatch(r"not yet: .+", one) for one in missing)


def test_every_cell_of_the_documents_networks_has_a_row():
    rows = {tuple(shlex.split(command)[3::2]) for command, _ in MADE if "_networks.md" in command}
    pages = sorted((ROOT / "examples" / "pages").glob("00?_networks.md"))
    cells = {(f"examples/pages/{path.name}", one.heading) for path in pages for one in read(str(path)).cells}
    assert rows == cells
