"""README.md shows real output: what it prints of a run comes from one."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from derive.__main__ import main

BLOCKS = re.findall(r"```text\n(.*?)```", (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8"), re.DOTALL)


def lines_of(block: str) -> list[str]:
    """What is shown, but for what is left out and for the figures of a verdict, which differ from processor to processor."""
    shown = [re.sub(r", lag by lag.*|, \.\.\.$", "", line) for line in block.splitlines() if line.strip()]
    return [line for line in shown if line.strip() != "..." and not line.endswith("already there, unchanged")]


def test_the_first_run_prints_what_the_readme_shows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["lstm", "--peephole"]) == 0
    said = [re.sub(r", lag by lag.*", "", line) for line in capsys.readouterr().out.splitlines()]
    (block,) = [block for block in BLOCKS if block.startswith("Forward")]
    assert not [line for line in lines_of(block) if line not in said]


def test_the_page_of_the_readme_is_read_as_it_shows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (block,) = [block for block in BLOCKS if block.startswith("$ cat delta.md")]
    page, _, rest = block.removeprefix("$ cat delta.md\n").partition("\n$ python -m derive delta.md\n")
    Path("delta.md").write_text(page, encoding="utf-8")
    assert main(["delta.md"]) == 0
    said = [re.sub(r", lag by lag.*", "", line) for line in capsys.readouterr().out.splitlines()]
    assert not [line for line in lines_of(rest) if line not in said]
