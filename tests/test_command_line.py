"""`python -m derive` and `python -m verify` as a person or a pipe calls them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from derive import compiler
from derive.__main__ import main as derive
from derive.cells.registry import build
from tests.arguments import draw
from tests.kernels import kernel_of
from tests.profiles import thorough
from verify.__main__ import main as verify

ROOT = Path(__file__).parents[1]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


# ---- wrong calls

WRONG: dict[str, tuple[str, ...]] = {
    "": ("expected a cell",),
    "lsmt": ("unknown cell", "lsmt", "Did you mean lstm?"),
    "lsmt --peephole": ("unknown cell", "lsmt", "Did you mean lstm?"),
    "LSTM": ("unknown cell", "Did you mean lstm?"),
    "transformer": ("unknown cell", "gru, lstm, rnn"),
    "lstm --peephole sideways": ("--peephole", "sideways", "diagonal"),
    "rnn --activation foo": ("--activation", "foo", "tanh"),
    "rnn --activation": ("--activation",),
    "rnn --peephole": ("--peephole",),
    "gru --activation relu": ("--activation",),
    "lstm --bogus": ("--bogus",),
    "lstm --peep": ("--peep",),
    "lstm gru": ("gru",),
    "lstm --candidate-peephole": ("--candidate-peephole", "--peephole"),
    "lstm --no-bias --no-candidate-bias": ("--no-bias", "--no-candidate-bias"),
    "gru --recurrent-bias": ("--recurrent-bias", "--reset after"),
    "gru --recurrent-bias --reset after --no-bias": ("--recurrent-bias", "--no-bias"),
    "lstm --list": ("--list",),
    "--all --check": ("--all", "--check"),
    "--check lstm": ("--check", "lstm"),
    "lstm --format yaml": ("--format", "yaml", "latex"),
    "lstm --name": ("--name",),
    "lstm --name 3x": ("--name", "3x"),
    "lstm --name ../evil": ("--name", "../evil"),
    "lstm --name a.b": ("--name",),
    "lstm --name class": ("--name", "class"),
    "nowhere.py": ("nowhere.py",),
    "nowhere.md": ("nowhere.md",),
    "lstm --name __init__": ("--name __init__", "expected a Python identifier"),
    "lstm --name __main__": ("--name __main__",),
    "lstm --schedule nonsense": ("--schedule", "nonsense"),
    "--list --format json": ("--list", "got --format", "no other option"),
    "--list --force": ("--list", "--force"),
    "--all --out X": ("--all", "got --out", "--force and --no-verify"),
    "--all --no-verify --schedule plain": ("--all", "--schedule"),
    "--all --cell one": ("--all", "--cell"),
    "--check --name x": ("--check", "got --name"),
    "--check --no-verify": ("--check", "--no-verify"),
    "--check --dim x=N": ("--check", "--dim"),
}


@pytest.mark.parametrize("words", WRONG)
def test_a_wrong_call_is_one_line_and_exit_2_and_writes_nothing(
    words: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert derive(words.split()) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert len(err.splitlines()) == 1
    assert all(part in err for part in WRONG[words])
    assert files(folder) == []


@pytest.mark.parametrize("words", [("lstm", "--name", ""), ("lstm", "--out", ""), ("",)])
def test_an_empty_word_is_refused(words: tuple[str, ...], folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert derive(words) == 2
    err = capsys.readouterr().err
    assert len(err.splitlines()) == 1
    assert " :" not in err
    assert files(folder) == []


def test_an_option_that_does_not_fit_says_which_cell_and_what_it_takes(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert derive(["rnn", "--peephole"]) == 2
    err = capsys.readouterr().err
    assert "rnn" in err
    assert "--activation" in err


@pytest.mark.parametrize("out", ["file", "file/inside", "/proc/nowhere", "/dev/null"])
def test_a_folder_that_can_not_be_written(out: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("file").write_text("mine")
    assert derive(["rnn", "--no-verify", "--out", out]) == 2
    printed, err = capsys.readouterr()
    assert printed == "" or out == "/proc/nowhere"  # to root a folder of the kernel's looks writable
    assert len(err.splitlines()) == 1
    assert "can't be written" in err
    assert "--out" in err
    assert files(folder) == ["file"]
    assert Path("file").read_text() == "mine"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("locked").mkdir(mode=0o500)
    assert derive(["rnn", "--no-verify", "--out", "locked"]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


@pytest.mark.parametrize("words", [("--dim", "x=T"), ("--dim", "W=H,B"), ("--dim", "h=T")])
def test_a_dimension_of_a_page_is_no_name_of_steps_or_batch(
    words: tuple[str, ...], folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("page.md").write_text("$$h_t = \\tanh(W x_t + U h_{t-1})$$\n")
    assert derive(["page.md", *words]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert len(err.splitlines()) == 1
    assert "Choose another name" in err
    assert files(folder) == ["page.md"]


FILES = {
    "a syntax error": ("x =\n", "SyntaxError"),
    "no cell": ("x = 1\n", "no cell"),
    "an error when run": ("import nowhere_at_all\n", "nowhere_at_all"),
    "an exit": ("raise SystemExit(3)\n", "SystemExit"),
    "an error with several lines": ("raise ValueError('one\\ntwo')\n", "one"),
    "a dimension named like the steps": (
        "from derive.cells.registry import cell\nfrom derive.language import *\n"
        "@cell()\ndef own():\n    D, T = dimension('D'), dimension('T')\n"
        "    return [Eq(sequence('h', T), matrix('W', T, D) @ sequence('x', D))]\n",
        "Choose another name",
    ),
    "equations of unequal shape": (
        "from derive.cells.registry import cell\nfrom derive.language import *\n"
        "@cell()\ndef own():\n    D, H = dimension('D'), dimension('H')\n"
        "    return [Eq(sequence('h', H), matrix('W', D, H) @ sequence('x', D))]\n",
        "own",
    ),
}


@pytest.mark.parametrize("fault", FILES)
def test_a_file_that_declares_no_cell_is_one_line(fault: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text, said = FILES[fault]
    Path("own.py").write_text(text)
    assert derive(["own.py", "--no-verify"]) == 2
    err = capsys.readouterr().err
    assert len(err.splitlines()) == 1
    assert said in err
    assert not Path("generated").exists()


# ---- what a right call says and writes


def test_the_first_command_of_the_readme(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert derive(["lstm", "--peephole"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    lines = out.splitlines()
    assert lines[0] == "lstm --peephole"
    assert "∂L/∂cₜ = " in out
    assert any(line.startswith("generated/lstm_peephole.py: written") for line in lines)
    assert lines[-1].startswith("verified")
    assert files(folder) == ["generated", "generated/lstm_peephole.py"]


def test_a_second_time_nothing_is_written(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    derive(["rnn", "--no-verify"])
    before = Path("generated/rnn.py").stat().st_mtime_ns
    assert derive(["rnn", "--no-verify"]) == 0
    assert Path("generated/rnn.py").stat().st_mtime_ns == before
    assert "not verified (--no-verify)" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "path"),
    [
        ("lstm --peephole diagonal --no-candidate-bias", "generated/lstm_peephole_diagonal_no_candidate_bias.py"),
        ("lstm --peephole=diagonal", "generated/lstm_peephole_diagonal.py"),
        ("--peephole diagonal lstm", "generated/lstm_peephole_diagonal.py"),
        ("rnn --activation relu --name mine", "generated/mine.py"),
        ("gru --out some/where", "some/where/gru.py"),
        ("gru --name mine --out elsewhere", "elsewhere/mine.py"),
    ],
)
def test_name_and_out_place_the_file(words: str, path: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert derive([*words.split(), "--no-verify"]) == 0
    assert path in capsys.readouterr().out
    assert [one for one in files(folder) if one.endswith(".py")] == [path]
    first = Path(path).read_text(encoding="utf-8").splitlines()[0]
    assert "--out" not in first
    assert "mine" not in first


def test_a_cell_of_ones_own(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "cells").mkdir()
    (folder / "cells" / "own.py").write_text(
        "from derive.cells.registry import Flag, cell\nfrom derive.functions import function\nfrom derive.language import *\n"
        "D, H = dimension('D'), dimension('H')\n@cell(Flag('twice', 'two of it'))\ndef mgu(twice):\n"
        "    x, h, f = sequence('x', D), sequence('h', H), sequence('f', H)\n"
        "    f_ = function('sigma')(matrix('W', H, D) @ x + matrix('U', H, H) @ h.prev)\n"
        "    h_tilde = (2 if twice else 1) * function('tanh')(matrix('V', H, D) @ x)\n"
        "    return [Eq(f, f_), Eq(h, (1 - f) * h.prev + f * h_tilde)]\n"
    )
    assert derive(["cells/own.py", "--twice"]) == 0
    assert "no hand-written" in capsys.readouterr().out
    assert files(folder)[-1] == "generated/mgu_twice.py"
    assert "python -m derive own.py --twice`" in Path("generated/mgu_twice.py").read_text(encoding="utf-8").splitlines()[0]


def test_the_cell_that_contributing_shows_is_derived_as_it_stands(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    lines = page.partition("the tests find it.\n")[2].partition("\nTo keep its kernel")[0].splitlines()
    Path("unit.py").write_text("\n".join(line[4:] for line in lines), encoding="utf-8")
    assert derive(["unit.py"]) == 0
    assert "generated/mgu.py: written" in capsys.readouterr().out


def test_out_is_a_folder_and_a_file_is_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert derive(["gru", "--out", "some/gru.py"]) == 2
    assert "--out: expected a folder, got the name of a file, some/gru.py. The file's name is --name." in capsys.readouterr().err
    assert files(folder) == []


TWO = (
    "from derive.cells.registry import Flag, cell\nfrom derive.functions import function\nfrom derive.language import *\n"
    "D, H = dimension('D'), dimension('H')\nx, h = sequence('x', D), sequence('h', H)\n"
    "@cell()\ndef first():\n    return [Eq(h, function('tanh')(matrix('W', H, D) @ x + h.prev))]\n"
    "@cell(Flag('twice', 'two of it'))\ndef second(twice):\n"
    "    return [Eq(h, (2 if twice else 1) * function('sigma')(matrix('W', H, D) @ x + h.prev))]\n"
)


@pytest.mark.parametrize(
    ("words", "path"),
    [
        ("--cell second", "second.py"),
        ("--cell second --twice", "second_twice.py"),
        ("--cell=first --name z", "z.py"),
        ("--name z --cell second --twice", "z.py"),
    ],
)
def test_one_cell_of_a_file_that_declares_several(words: str, path: str, folder: Path) -> None:
    Path("two.py").write_text(TWO)
    assert derive(["two.py", *words.split(), "--no-verify"]) == 0
    assert files(folder) == ["generated", f"generated/{path}", "two.py"]
    first = Path("generated", path).read_text(encoding="utf-8").splitlines()[0]
    asked = "first" if "first" in words else "second --twice" if "--twice" in words else "second"
    assert f"`python -m derive two.py --cell {asked}`" in first
    assert run("verify", "two.py", *words.replace("--name z", "").split()).returncode == 0


def test_which_cell_of_a_file_is_said(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("two.py").write_text(TWO)
    for words, said in ((["--name", "z"], "Choose one with --cell"), (["--cell", "third"], "expected one of first, second")):
        assert derive(["two.py", *words, "--no-verify"]) == 2
        err = capsys.readouterr().err
        assert len(err.splitlines()) == 1
        assert said in err
    assert derive(["rnn", "--cell", "rnn"]) == 2
    assert "--cell" in capsys.readouterr().err
    assert derive(["two.py", "--no-verify"]) == 0
    assert files(folder) == ["generated", "generated/first.py", "generated/second.py", "two.py"]


def test_a_kernel_that_fails_is_not_written(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = compiler.compile_cell(build("rnn"), ()).replace("np.tanh(", "np.sin(")
    monkeypatch.setattr(compiler, "emit", lambda *given: wrong)
    assert derive(["rnn"]) == 1
    assert "not written" in capsys.readouterr().err
    assert files(folder) == []


@pytest.mark.parametrize("form", ["latex", "markdown", "json"])
def test_another_format_is_alone_on_standard_output(form: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert derive(["gru", "--no-verify", "--format", form]) == 0
    out, err = capsys.readouterr()
    assert "generated/gru.py" in err
    assert "generated" not in out
    if form == "json":
        assert json.loads(out)["command"] == "gru"
    if form == "latex":
        assert out.startswith(r"\documentclass")
        assert out.rstrip().endswith(r"\end{document}")


def test_list_shows_every_document_cell_and_option(capsys: pytest.CaptureFixture[str]) -> None:
    assert derive(["--list"]) == 0
    out = capsys.readouterr().out
    for part in (
        "000",
        "001",
        "002",
        "003",
        "004",
        "rnn",
        "lstm",
        "gru",
        "--peephole",
        "--reset",
        "--update-gate",
        "--activation",
    ):
        assert part in out


def run(*words: str, **more: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", *words], env=ENVIRONMENT, capture_output=True, text=True, **more)  # type: ignore[call-overload]


@pytest.mark.parametrize("words", [("derive", "--help"), ("derive", "lstm", "--help"), ("verify", "--help"), ("derive", "-h")])
def test_help_is_printed_and_exits_0(words: tuple[str, ...], folder: Path) -> None:
    done = run(*words)
    assert (done.returncode, done.stderr) == (0, "")
    assert "usage" in done.stdout
    if "lstm" in words:
        assert "--candidate-peephole" in done.stdout


def test_a_closed_pipe_is_no_error_and_the_kernel_is_written(folder: Path) -> None:
    """`python -m derive lstm --peephole | head -1`: the reader leaves, the work is done or the exit code says that it isn't."""
    program = f"{sys.executable} -m derive lstm --peephole --no-verify --format json"
    script = f"({program}; echo $? >code) | head -c 10 >/dev/null"
    done = subprocess.run(["bash", "-c", script], env=ENVIRONMENT, capture_output=True, text=True)
    assert "Traceback" not in done.stderr
    assert Path("generated/lstm_peephole.py").is_file() or Path("code").read_text().strip() != "0"


@pytest.mark.parametrize(
    "words",
    [
        thorough("verify rnn"),
        "verify rnn --json",
        thorough("verify jacobian rnn --steps 5 --hidden 3"),
        "derive --list",
        thorough("derive rnn --no-verify"),
    ],
)
def test_a_reader_that_leaves_at_once_changes_no_exit_code(words: str, folder: Path) -> None:
    """The pipe is closed before anything is printed, so that every print meets it closed."""
    script = f"({sys.executable} -m {words}; echo $? >code) | true"
    done = subprocess.run(["bash", "-c", script], env=ENVIRONMENT, capture_output=True, text=True)
    assert done.stderr == ""
    assert Path("code").read_text().strip() == "0"
    assert words != "derive rnn --no-verify" or Path("generated/rnn.py").is_file()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no file here that is always full")
@pytest.mark.parametrize(
    "words",
    [
        "derive rnn --no-verify",
        "derive rnn --no-verify --format json",
        thorough("derive --list"),
        thorough("derive --help"),
        "verify rnn --json",
        thorough("verify rnn"),
        thorough("verify --help"),
        thorough("verify jacobian rnn --steps 5 --hidden 3"),
        thorough("verify jacobian rnn --steps 5 --hidden 3 --json"),
        thorough("verify jacobian rnn --of h --with-respect-to x --steps 5 --hidden 3 --json"),
    ],
)
def test_a_full_disk_is_one_line_and_exit_2(words: str, folder: Path) -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", *words.split()], env=ENVIRONMENT, stdout=full, stderr=subprocess.PIPE, text=True
        )
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("standard output: can't be written: expected a place that takes it, got `")
    assert done.returncode == 2
    assert not Path("generated/rnn.py").exists() or words.endswith("json")


@pytest.mark.parametrize("words", ["derive lstm", "derive --list", "verify lstm", "verify jacobian lstm"])
def test_an_interrupt_during_the_imports_is_one_line(words: str, folder: Path) -> None:
    Path("sympy.py").write_text("raise KeyboardInterrupt\n")
    environment = {**ENVIRONMENT, "PYTHONPATH": f"{folder}{os.pathsep}{ROOT}"}
    done = subprocess.run([sys.executable, "-m", *words.split()], env=environment, capture_output=True, text=True)
    assert done.returncode == 130
    assert len(done.stderr.splitlines()) == 1
    assert "interrupted" in done.stderr


def test_plain_text_goes_to_a_pipe(folder: Path) -> None:
    for words in (("derive", "rnn"), ("verify", "rnn")):
        assert "\x1b[" not in run(*words).stdout


def test_an_ascii_terminal_is_no_traceback(folder: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "derive", "rnn", "--no-verify"],
        env={**ENVIRONMENT, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}, capture_output=True, text=True,
    )  # fmt: skip
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "words",
    ["derive rnn --no-verify --format json", "verify rnn --json", "verify jacobian rnn --steps 5 --hidden 3 --json"],
)
def test_json_is_the_same_record_in_any_encoding(words: str, folder: Path) -> None:
    found = []
    for encoding in ("ascii", "utf-8"):
        environment = {**ENVIRONMENT, "PYTHONIOENCODING": encoding}
        done = subprocess.run([sys.executable, "-m", *words.split()], env=environment, capture_output=True)
        assert done.returncode == 0
        found.append(json.loads(done.stdout.decode("utf-8")))
    assert found[0] == found[1]


# ---- verify


def test_verify_knows_a_kept_kernel_a_derived_one_and_a_file(folder: Path) -> None:
    derive(["gru", "--no-verify"])
    for words in (("gru",), ("rnn",), ("generated/gru.py",)):
        done = run("verify", *words)
        assert done.returncode == 0, done.stdout + done.stderr


def test_verify_says_where_no_handwritten_gradient_exists(folder: Path) -> None:
    Path("page.md").write_text(r"$$h_t = \tanh(W x_t + 2 U h_{t-1})$$", encoding="utf-8")
    for words, says in ((("page.md",), True), (("rnn", "--no-bias"), False)):
        done = run("verify", *words)
        assert done.returncode == 0
        assert ("hand-written: none exists for this cell." in done.stdout) is says


def test_verify_json_is_the_whole_record(folder: Path) -> None:
    done = run("verify", "rnn", "--json")
    assert done.returncode == 0
    assert json.loads(done.stdout)


@pytest.mark.parametrize("words", ["lsmt", "nowhere.py", "rnn --peephole", "lstm --candidate-peephole", "rnn --bogus"])
def test_a_wrong_call_of_verify_is_one_line_and_exit_2(words: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert verify(words.split()) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert len(err.splitlines()) == 1


def test_a_kernel_of_another_command_is_stale_by_that_name(folder: Path) -> None:
    Path("page.md").write_text(r"$$h_t = \tanh(W x_t + U h_{t-1} + b)$$", encoding="utf-8")
    assert derive(["page.md", "--no-verify", "--let", "b=vector"]) == 0
    found = run("verify", "page.md")
    assert found.returncode == 1
    assert "stale: it was emitted by `python -m derive page.md --let b=vector`. Run `python -m derive page.md`." in found.stderr


def test_verify_of_a_stale_kernel_is_exit_1_and_names_it(folder: Path) -> None:
    derive(["rnn", "--no-verify"])
    path = Path("generated/rnn.py")
    path.write_text(path.read_text(encoding="utf-8").replace("np.tanh", "-np.tanh"), encoding="utf-8")
    done = run("verify", "rnn")
    assert done.returncode == 1
    assert "generated/rnn.py" in done.stderr


def test_a_fault_in_a_kernel_is_found_and_its_block_named(folder: Path) -> None:
    source = (ROOT / "generated" / "lstm_peephole.py").read_text(encoding="utf-8")
    line = next(line for line in source.splitlines() if "m.d_P_o +=" in line)
    Path("wrong.py").write_text(
        source.replace(line, f"{line}\n{line[: len(line) - len(line.lstrip())]}m.d_P_o *= 1.001"), encoding="utf-8"
    )
    done = run("verify", "wrong.py")
    assert done.returncode == 1
    assert "P_o" in done.stdout


# ---- must show


def test_wrong_arrays_are_one_clear_line() -> None:
    module = kernel_of("lstm --peephole")
    call = draw(module)
    faults = (
        {**call.parameters, "P_o": np.zeros((9, 9))},
        {name: array.astype(int) for name, array in call.parameters.items()},
        {name: array for name, array in call.parameters.items() if name != "P_o"},
    )
    for parameters in faults:
        with pytest.raises(ValueError, match="expected") as error:
            module.forward(parameters, call.inputs)
        assert "\n" not in str(error.value)
