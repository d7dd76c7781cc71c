"""`python -m verify`: exit codes, one line on standard error, JSON on standard output and nothing else."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from verify.__main__ import main

FOREIGN = Path(__file__).parent / "foreign" / "diagonal_peephole.py"
TEXT = FOREIGN.read_text(encoding="utf-8")


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = main(list(words))
    out = capsys.readouterr()
    return code, out.out, out.err


BROKEN = {
    "a missing name": (TEXT.replace("STATES =", "STATE ="), "is not defined|STATES is missing"),
    "an import error": ("\nimport no_such_module_anywhere\n", r"No module named .* \(line 2\)"),
    "a syntax error": ("def forward(:\n", "SyntaxError"),
    "a module that exits": ("raise SystemExit(3)\n", "SystemExit"),
    "no backward": (TEXT.replace("def backward(", "def backwards("), "backward is missing"),
    "a backward that raises": (TEXT.replace("    steps, sizes, dtype = tape\n", "    raise RuntimeError('two\\nlines')\n"), r"backward raises RuntimeError: two lines \(line \d+\)"),  # noqa: E501
    "a forward without a tape": (TEXT.replace(", (steps, sizes, x.dtype)\n", "\n"), r"expected \(outputs, tape\)"),
    "gradients without parameters": (TEXT.replace("SimpleNamespace(parameters=d,", "SimpleNamespace("), r"expected \.parameters"),
    "a table that is no table": (TEXT.replace('INPUTS = {"x": ("D",)}', 'INPUTS = ["x"]'), "INPUTS is no mapping"),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_a_module_that_breaks_the_contract_is_exit_2_and_one_line(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text, said = BROKEN[name]
    path = tmp_path / "broken.py"
    path.write_text(text, encoding="utf-8")
    for extra in ([], ["--json"]):
        code, out, err = run(capsys, str(path), *extra)
        assert (code, out, err.count("\n")) == (2, "", 1), err
        assert re.search(said, err), err


@pytest.mark.parametrize(
    "words",
    [
        ("no/such/file.py",),
        ("no_such_cell",),
        ("lstm", "--peephole", "sideways"),
        (str(FOREIGN), "--against", "no_such_cell"),
        (str(FOREIGN), "--against", "lstm --peephole sideways"),
        (str(FOREIGN), "--against", "lstm"),
        (str(FOREIGN), "--against", ""),
        (str(FOREIGN), "--against", "'"),
        (str(FOREIGN), "--map", "a=b"),
        (str(FOREIGN), "--against", "lstm --peephole diagonal", "--map", "nonsense"),
        (str(FOREIGN), "--against", "lstm --peephole diagonal", "--map", "a=no_such_name"),
        (str(FOREIGN), "--no-such-option"),
        ("--seed", "x"),
        ("--against", "lstm"),
    ],
)
def test_a_wrong_call_is_exit_2_and_one_line(words: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, *words)
    assert (code, out, err.count("\n")) == (2, "", 1), err
    assert "Traceback" not in err


def test_a_cell_with_its_options_may_stand_in_quotes(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "rnn --no-bias")
    assert (code, err) == (0, ""), err
    assert out.startswith("rnn_no_bias")


def test_a_page_that_cannot_be_read_is_shown_with_its_caret(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "page.md").write_text(r"$$h_t = \tanh(W x_t + U h_{t-1} + b$$")
    code, _, err = run(capsys, str(tmp_path / "page.md"))
    assert code == 2
    line, caret = err.splitlines()[1:3]
    assert line[caret.index("^")] == "("


def test_json_is_json_only_even_where_a_kernel_prints(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "chatty.py"
    path.write_text(
        TEXT.replace("def forward(", "print('imported')\n\n\ndef forward(").replace(
            "    T, B, D = x.shape\n", "    T, B, D = x.shape\n    print('run')\n"
        )
    )
    code, out, err = run(capsys, str(path), "--json", "--against", "lstm --peephole diagonal")
    (record,) = json.loads(out)
    assert (code, err) == (0, "")
    assert record["passed"]
    assert {"blocks", "findings", "comparisons", "regimes", "verdict", "against"} <= set(record)
    assert len(record["blocks"]) == 18


def test_backward_raising_in_a_later_check_is_exit_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "late.py"
    path.write_text(
        TEXT.replace(
            "    steps, sizes, dtype = tape\n",
            "    steps, sizes, dtype = tape\n    if len(steps) > 30:\n        raise MemoryError('too long')\n",
        )
    )
    code, out, err = run(capsys, str(path))
    assert (code, err) == (1, "")
    assert "the kernel raises MemoryError: too long" in out


def test_a_cell_is_verified_by_its_words(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "rnn", "--activation", "sigmoid", "--verbose")
    assert (code, err) == (0, ""), out
    assert "verified:" in out
    assert "6 of 6" in out or "8 of 8" in out


@pytest.mark.parametrize("columns", ["20", "40", "80"])
def test_names_of_blocks_stay_whole_in_a_narrow_terminal(
    columns: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    code, out, _ = run(capsys, "rnn")
    assert code == 0
    assert "…" not in out
    rows = [line.split("  ")[0] for line in out.splitlines()]
    assert {"W", "U", "b", "input x", "initial h"} <= set(rows)
