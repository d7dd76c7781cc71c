"""`--all` and `--check` in a project of our own: what they write, keep, refuse, remove and say."""

from __future__ import annotations

import functools
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from derive import keep
from derive.__main__ import main
from tests.profiles import thorough

ROOT = Path(__file__).parents[1]
CELL = '''
from derive.cells.registry import cell
from derive.functions import function
from derive.language import Eq, dimension, matrix, sequence, vector

D, H = dimension("D"), dimension("H")
sigma, tanh = function("sigma"), function("tanh")


@cell()
def gru():
    """A cell that a test changes."""
    x, h = sequence("x", D), sequence("h", H)
    z, r, h_tilde = (sequence(name, H) for name in ("z", "r", "h_tilde"))
    W_z, W_r, W_h = (matrix(f"W_{g}", H, D) for g in "zrh")
    U_z, U_r, U_h = (matrix(f"U_{g}", H, H) for g in "zrh")
    b_z, b_r, b_h = (vector(f"b_{g}", H) for g in "zrh")
    return [
        Eq(z, sigma(W_z @ x + U_z @ h.prev + b_z)),
        Eq(r, sigma(W_r @ x + U_r @ h.prev + b_r)),
        Eq(h_tilde, tanh(W_h @ x + U_h @ (r * h.prev) + b_h)),
        Eq(h, (1 - z) * h.prev + z * h_tilde),
    ]
'''
SIGN = ("W_h @ x + U_h", "W_h @ x - U_h")


emitted = functools.cache(keep.files_of)
"""What `--all` and `--check` emit: here it is of interest what becomes of the text, so that each cell is derived once."""


class Here:
    """A project in a folder of its own, which is the current one."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder, self.capsys, self.generated = folder, capsys, folder / "generated"
        self.out = self.err = ""

    def list(self, *kernels: str) -> None:
        quoted = ", ".join(f'"{words}"' for words in kernels)
        (self.folder / "pyproject.toml").write_text(f"[tool.derive]\nkernels = [{quoted}]\n", encoding="utf-8")

    def run(self, *words: str) -> int:
        code = main(words)
        self.out, self.err = self.capsys.readouterr()
        return code

    def all(self, *words: str) -> int:
        return self.run("--all", "--no-verify", *words)

    def path(self, name: str) -> Path:
        return self.generated / f"{name}.py"

    def change(self, name: str, old: str, new: str) -> None:
        """A hand edit, which has to find its place."""
        text = self.path(name).read_text(encoding="utf-8")
        assert old in text
        self.path(name).write_text(text.replace(old, new, 1), encoding="utf-8")

    def bytes(self) -> dict[str, bytes]:
        return {str(path.relative_to(self.folder)): path.read_bytes() for path in self.folder.rglob("*") if path.is_file()}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Here:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(keep, "files_of", emitted)
    project = Here(tmp_path, capsys)
    project.list("rnn", "rnn --activation relu")
    return project


# ---- writing


def test_all_writes_what_is_listed_and_check_is_content(here: Here) -> None:
    assert here.run("--check") == 1
    assert "missing" in here.out
    assert here.all() == 0
    assert {p.name for p in here.generated.glob("*.py")} == {"rnn.py", "rnn_activation_relu.py"}
    assert "generated/rnn.py: written" in here.out
    assert here.run("--check") == 0


def test_a_second_run_writes_nothing(here: Here) -> None:
    here.all()
    before = {path: path.stat().st_mtime_ns for path in here.generated.iterdir()}
    assert here.all() == 0
    assert here.out.count("unchanged") == 2
    assert {path: path.stat().st_mtime_ns for path in here.generated.iterdir()} == before


def test_only_what_changed_is_written(here: Here) -> None:
    here.all()
    here.path("rnn").unlink()
    before = here.path("rnn_activation_relu").stat().st_mtime_ns
    assert here.all() == 0
    assert here.path("rnn").is_file()
    assert here.path("rnn_activation_relu").stat().st_mtime_ns == before


def test_the_project_is_found_from_a_folder_inside_it(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    (here.folder / "a" / "b").mkdir(parents=True)
    (here.folder / "a" / "pyproject.toml").write_text("[project]\nname = 'inner'\n")
    monkeypatch.chdir(here.folder / "a" / "b")
    assert here.all() == 0
    assert here.path("rnn").is_file()


def test_check_writes_nothing(here: Here) -> None:
    here.all()
    here.change("rnn", "import numpy", "import  numpy")
    before = here.bytes()
    here.run("--check")
    assert here.bytes() == before


@pytest.mark.thorough
def test_two_hash_seeds_give_the_same_files(here: Here) -> None:
    here.list("lstm --peephole", "gru --reset after")
    found = []
    for seed in ("1", "2"):
        shutil.rmtree(here.generated, ignore_errors=True)
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)}
        subprocess.run([sys.executable, "-m", "derive", "--all", "--no-verify"], check=True, env=environment, capture_output=True)
        found.append(here.bytes())
    assert found[0] == found[1]
    assert here.run("--check") == 0


# ---- a changed equation


def test_a_changed_sign_is_named(here: Here) -> None:
    file = here.folder / "cells.py"
    here.list("cells.py")
    file.write_text(CELL, encoding="utf-8")
    assert here.all() == 0
    assert here.run("--check") == 0
    file.write_text(CELL.replace(*SIGN), encoding="utf-8")
    assert here.run("--check") == 1
    first = here.out.splitlines()[0]
    assert first.startswith("generated/gru.py: stale: equation h_tilde changed")
    assert "python -m derive --all" in first
    assert "equation z" not in first
    assert "--- generated/gru.py" in here.out
    assert "+#     h_tilde: h̃ₜ = tanh(W_h xₜ − U_h (rₜ ∘ hₜ₋₁) + b_h)" in here.out
    file.write_text(CELL, encoding="utf-8")
    assert here.run("--check") == 0


def test_every_changed_equation_is_named(here: Here) -> None:
    file = here.folder / "cells.py"
    here.list("cells.py")
    file.write_text(CELL, encoding="utf-8")
    here.all()
    file.write_text(CELL.replace(*SIGN).replace("(1 - z)", "(1 + z)"), encoding="utf-8")
    assert here.run("--check") == 1
    assert "equations h_tilde, h changed" in here.out.splitlines()[0]


def test_a_wrong_sign_passes_unseen_only_with_no_verify_and_the_verifier_names_the_block(here: Here) -> None:
    from verify.__main__ import main as verify

    here.list("cells.py")
    (here.folder / "cells.py").write_text(CELL.replace(*SIGN), encoding="utf-8")
    assert here.run("--all") == 1
    assert not here.path("gru").exists()
    assert "hand-written" in here.err
    assert here.all() == 0
    assert verify([]) == 1
    out, err = here.capsys.readouterr()
    assert "hand-written" in out + err
    assert "d_U_h" in out + err


@pytest.mark.parametrize(
    ("file", "old", "new", "words", "equation", "block"),
    [
        ("lstm.py", "Eq(c, f * c.prev + i * c_tilde)", "Eq(c, f * c.prev - i * c_tilde)", "lstm", "c", "W_c"),
        thorough("gru.py", "W_h @ x + U_h @ (r * h.prev)", "W_h @ x - U_h @ (r * h.prev)", "gru", "h_tilde", "U_h"),
    ],
)
def test_a_sign_changed_in_a_built_in_cell(
    tmp_path: Path, file: str, old: str, new: str, words: str, equation: str, block: str
) -> None:
    """In a copy of the project, as a person would do it."""
    for folder in ("derive", "verify"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "pyproject.toml").write_text(f'[tool.derive]\nkernels = ["{words}"]\n')
    source = tmp_path / "derive" / "cells" / file
    right = source.read_text(encoding="utf-8")
    assert old in right

    def run(*command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([sys.executable, "-m", *command], cwd=tmp_path, capture_output=True, text=True)

    assert run("derive", "--all", "--no-verify").returncode == 0
    source.write_text(right.replace(old, new), encoding="utf-8")
    stale = run("derive", "--check")
    assert stale.returncode == 1
    assert f"equation {equation} changed" in stale.stdout
    assert run("verify", words).returncode == 1
    assert run("derive", "--all", "--no-verify").returncode == 0
    wrong = run("verify", words, "--verbose")
    assert wrong.returncode == 1
    assert "hand-written" in wrong.stdout
    assert block in wrong.stdout


# ---- a hand edit

EDITS: dict[str, tuple[str, str]] = {
    "a sign in the code": ("np.tanh", "-np.tanh"),
    "a word in a docstring": ("Run the cell", "Runs the cell"),
    "a comment in the body": ("import numpy as np\n", "import numpy as np  # mine\n"),
    "a comment under the header": ('"""The cell', '# mine\n"""The cell'),
    "a comment in the header": ("# body ", "# mine\n# body "),
    "an equation in the header": ("hₜ = tanh(", "hₜ = mine("),
    "the costs in the header": ("matrix products", "matrix multiplications"),
    "the digest": ("# body       sha256 ", "# body       sha256 f"),
    "the end of the file": ("_DTYPES = ", "MINE = 1\n_DTYPES = "),
}


@pytest.mark.parametrize("edit", EDITS)
def test_a_hand_edit_is_named_and_never_overwritten_without_force(here: Here, edit: str) -> None:
    here.all()
    here.change("rnn", *EDITS[edit])
    edited = here.path("rnn").read_bytes()
    assert here.run("--check") == 1
    assert here.out.startswith("generated/rnn.py: edited by hand")
    assert "--force" in here.out.splitlines()[0]
    assert "--- generated/rnn.py" in here.out
    assert here.all() == 1
    assert here.path("rnn").read_bytes() == edited
    assert "rnn.py" in here.err
    assert here.run("rnn", "--no-verify") == 2
    assert here.path("rnn").read_bytes() == edited
    assert here.all("--force") == 0
    assert here.run("--check") == 0


def test_an_edited_kernel_does_not_keep_the_others_from_being_written(here: Here) -> None:
    here.all()
    here.change("rnn", "np.tanh", "-np.tanh")
    here.path("rnn_activation_relu").unlink()
    assert here.all() == 1
    assert here.path("rnn_activation_relu").is_file()


def test_a_foreign_file_is_never_overwritten_without_force(here: Here) -> None:
    here.generated.mkdir()
    here.path("rnn").write_text("print('mine')\n")
    assert here.run("--check") == 1
    assert here.all() == 1
    assert here.path("rnn").read_text() == "print('mine')\n"
    assert here.run("rnn", "--no-verify") == 2
    here.list("gru")
    assert here.all("--force") == 0
    assert here.path("rnn").read_text() == "print('mine')\n"


def test_a_file_that_is_not_text_is_reported_and_overwritten_by_force_only(here: Here) -> None:
    for command in (("--all", "--no-verify", "--force"), ("rnn", "--no-verify", "--force")):
        here.all("--force")
        broken = here.path("rnn").read_bytes() + b"\xff"
        here.path("rnn").write_bytes(broken)
        assert here.run("--check") == 1
        assert here.out.startswith("generated/rnn.py: isn't text")
        assert "--all --force" in here.out
        for refused in (("--all", "--no-verify"), ("rnn", "--no-verify")):
            assert here.run(*refused) == (1 if "--all" in refused else 2)
            assert here.err.startswith("generated/rnn.py: isn't text")
            assert "--force" in here.err
            assert "permissions" not in here.err
        assert here.path("rnn").read_bytes() == broken
        assert here.run(*command) == 0
        assert here.run("--check") == 0


def test_a_folder_in_the_place_of_a_kernel_is_named(here: Here) -> None:
    here.path("rnn").mkdir(parents=True)
    for words in (("--check",), ("--all", "--no-verify"), ("--all", "--no-verify", "--force"), ("rnn", "--force")):
        assert here.run(*words) in (1, 2)
        assert "generated/rnn.py: is a folder" in here.out + here.err
        assert "permissions" not in here.err
    assert here.path("rnn").is_dir()


def test_a_hand_edit_of_the_header_is_called_so(here: Here) -> None:
    here.all()
    here.change("rnn", *EDITS["an equation in the header"])
    here.change("rnn_activation_relu", *EDITS["a comment in the body"])
    assert here.run("--check") == 1
    lines = [line for line in here.out.splitlines() if "edited by hand" in line]
    assert "its header isn't what" in lines[0]
    assert "its body isn't what" in lines[1]


@pytest.mark.parametrize("words", ["lstm --name rnn", "gru --name rnn --out generated", "rnn --schedule plain --name rnn"])
def test_a_kept_kernel_is_not_overwritten_by_another_cell_under_its_name(here: Here, words: str) -> None:
    for kept in (False, True):
        if kept:
            here.all()
        before = here.bytes()
        assert here.run(*words.split(), "--no-verify") == 2
        assert here.out == ""
        assert len(here.err.splitlines()) == 1
        assert "generated/rnn.py" in here.err
        assert "--force" in here.err
        assert here.bytes() == before
    assert here.run(*words.split(), "--no-verify", "--force") == 0
    assert here.run("--check") == 1


def test_a_page_does_not_take_the_place_of_a_kept_kernel(here: Here) -> None:
    here.all()
    before = here.path("rnn").read_bytes()
    (here.folder / "rnn.md").write_text("$$h_t = \\sin(W x_t + U h_{t-1})$$\n", encoding="utf-8")
    assert here.run("rnn.md", "--no-verify") == 2
    assert "--name" in here.err
    assert here.path("rnn").read_bytes() == before
    assert here.run("rnn.md", "--no-verify", "--name", "other") == 0
    assert here.run("rnn", "--no-verify", "--name", "rnn") == 0
    assert here.run("lstm", "--no-verify", "--name", "rnn", "--out", "elsewhere") == 0


# ---- what is no longer listed


def test_what_all_wrote_and_is_no_longer_listed_is_removed(here: Here) -> None:
    here.all()
    here.list("rnn")
    assert here.run("--check") == 1
    assert "rnn_activation_relu.py: no longer listed" in here.out
    assert here.all() == 0
    assert "rnn_activation_relu.py: no longer listed: removed" in here.out
    assert not here.path("rnn_activation_relu").exists()
    assert here.run("--check") == 0


def test_what_all_did_not_write_is_named_and_kept(here: Here) -> None:
    here.all()
    here.run("gru", "--no-verify")
    assert here.path("gru").is_file()
    assert here.run("--check") == 0
    assert "gru.py" in here.out
    assert here.all() == 0
    assert "gru.py: not listed in pyproject.toml: kept" in here.out
    assert here.path("gru").is_file()


def test_a_file_that_somebody_else_put_there_is_kept(here: Here) -> None:
    here.all()
    (here.generated / "notes.txt").write_text("mine")
    (here.generated / "__init__.py").write_text("")
    here.path("rnn_activation_relu").write_text("# my own kernel\n")
    here.list("rnn")
    assert here.all() == 0
    assert here.path("rnn_activation_relu").read_text() == "# my own kernel\n"
    assert (here.generated / "notes.txt").exists()
    assert (here.generated / "__init__.py").exists()


def test_what_was_edited_and_is_no_longer_listed_is_kept_until_forced(here: Here) -> None:
    here.all()
    here.change("rnn_activation_relu", "Run the cell", "Runs the cell")
    here.list("rnn")
    here.all()
    assert here.path("rnn_activation_relu").is_file()
    assert "edited by hand: kept" in here.out
    here.all()
    assert here.path("rnn_activation_relu").is_file()
    assert here.all("--force") == 0
    assert not here.path("rnn_activation_relu").exists()


EMPTY = {
    "a typo in the key": ('[tool.derive]\nkernal = ["rnn"]\n', "unknown key `kernal`: expected kernels. Did you mean `kernels`?"),
    "another key beside": ('[tool.derive]\nkernels = ["rnn"]\nout = "x"\n', "unknown key `out`: expected kernels"),
    "an empty list": ("[tool.derive]\nkernels = []\n", "got no kernel"),
    "no list": ("[tool.derive]\n", "got no kernel"),
    "no table": ("[project]\nname = 'x'\n", "no [tool.derive] in a pyproject.toml here or above"),
    "a typo in the table": ('[tool.derived]\nkernels = ["rnn"]\n', "got [tool.derived]"),
    "a list of tables": ('[[tool.derive]]\nkernels = ["rnn"]\n', "expected a table"),
}


def test_a_list_that_is_empty_or_misspelt_is_refused_and_removes_nothing(here: Here) -> None:
    here.all()
    for text, says in EMPTY.values():
        (here.folder / "pyproject.toml").write_text(text, encoding="utf-8")
        before = here.bytes()
        for command in ("--check", "--all", "--all --force"):
            assert here.run(*command.split()) == 2
            assert here.out == ""
            assert says in here.err
            assert len(here.err.splitlines()) == 1
            assert here.bytes() == before


def test_a_run_in_which_a_kernel_fails_removes_nothing(here: Here) -> None:
    here.all()
    here.list("rnn")
    here.change("rnn", "np.tanh", "-np.tanh")
    assert here.all() == 1
    assert "rnn_activation_relu.py: no longer listed: kept, since a kernel failed" in here.out
    assert here.path("rnn_activation_relu").is_file()
    assert here.all("--force") == 0
    assert not here.path("rnn_activation_relu").exists()


def test_an_interrupted_run_removes_nothing(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    here.all()
    here.list("rnn")
    here.path("rnn").write_text(stale(here.path("rnn").read_text(encoding="utf-8")), encoding="utf-8")
    monkeypatch.setattr(os, "replace", raising(KeyboardInterrupt()))
    assert here.all() == 130
    assert here.path("rnn_activation_relu").is_file()


# ---- interruptions


def raising(error: BaseException, after: int = 0) -> Callable[..., None]:
    """os.replace that fails at the call number `after`."""
    calls = []
    real = os.replace

    def replace(source: str, target: str) -> None:
        calls.append(target)
        if len(calls) > after:
            raise error
        real(source, target)

    return replace


@pytest.mark.parametrize("after", [0, 1, 2])
@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(28, "No space left on device")], ids=["interrupt", "full"])
def test_an_interrupted_run_leaves_every_file_whole(
    here: Here, monkeypatch: pytest.MonkeyPatch, error: BaseException, after: int
) -> None:
    here.all()
    whole = here.bytes()
    for name in ("rnn", "rnn_activation_relu"):
        here.path(name).write_text(stale(here.path(name).read_text(encoding="utf-8")), encoding="utf-8")
    old = here.bytes()
    (here.generated / keep.RECORD).unlink()
    monkeypatch.setattr(os, "replace", raising(error, after))
    code = here.all()
    monkeypatch.undo()
    monkeypatch.chdir(here.folder)
    assert code == 130 if isinstance(error, KeyboardInterrupt) else code in (1, 2)
    assert len(here.err.splitlines()) >= 1
    assert "Traceback" not in here.err
    for name, text in here.bytes().items():
        assert text in (whole[name], old[name]), name
    assert here.all() == 0
    assert here.bytes() == whole


def stale(text: str) -> str:
    """The same kernel as if it had been emitted from other equations, digests and all."""
    head, body = keep.split(text)
    old = body.replace("Run the cell", "Runs the cell")
    head = head.replace("tanh(W", "sin(W").replace("relu(W", "sin(W")
    head = head.replace(keep.digest(body), keep.digest(old))
    seal = re.search(keep.SEAL, head, re.M)
    assert seal is not None
    return head.replace(seal[0], f"# header     sha256 {keep.digest(head.replace(seal[0], '', 1))}\n") + old


def test_a_failing_write_leaves_no_half_written_file_beside(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "replace", raising(OSError(28, "No space left on device")))
    assert here.run("rnn", "--no-verify") == 2
    assert len(here.err.splitlines()) == 1
    assert "No space left" in here.err
    assert not [p for p in here.generated.rglob("*") if p.is_file()]


def test_runs_side_by_side_do_not_disturb_each_other(here: Here) -> None:
    words = [sys.executable, "-m", "derive", "--all", "--no-verify"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    runs = [subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE) for _ in range(3)]
    errors = [run.communicate()[1] for run in runs]
    assert [run.returncode for run in runs] == [0, 0, 0], errors
    assert here.run("--check") == 0
    assert not list(here.generated.glob(".*"))


# ---- projects that can't be read or written

BROKEN = {
    "not TOML": "[tool.derive\n",
    "a number": "[tool]\nderive = 3\n",
    "kernels a string": '[tool.derive]\nkernels = "rnn"\n',
    "a number among the kernels": '[tool.derive]\nkernels = ["rnn", 3]\n',
    "an empty kernel": '[tool.derive]\nkernels = [""]\n',
    "an open quotation": '[tool.derive]\nkernels = ["rnn \'"]\n',
    "an unknown cell": '[tool.derive]\nkernels = ["rnn", "lsmt"]\n',
    "an unknown option": '[tool.derive]\nkernels = ["rnn --peephole"]\n',
    "one kernel twice": '[tool.derive]\nkernels = ["rnn", "rnn --activation tanh"]\n',
    "the same words twice": '[tool.derive]\nkernels = ["rnn", "gru", " rnn"]\n',
    "tool is no table": "tool = 3\n",
    "a file that isn't there": '[tool.derive]\nkernels = ["nowhere.py"]\n',
    "an option of the command": '[tool.derive]\nkernels = ["rnn --out elsewhere"]\n',
}


@pytest.mark.parametrize("command", ["--check", "--all"])
@pytest.mark.parametrize("fault", BROKEN)
def test_a_broken_project_is_one_line_and_nothing_is_written(here: Here, fault: str, command: str) -> None:
    (here.folder / "pyproject.toml").write_text(BROKEN[fault], encoding="utf-8")
    before = here.bytes()
    assert here.run(command) == 2
    assert len(here.err.splitlines()) == 1
    assert here.bytes() == before


def test_a_broken_list_names_the_entry(here: Here) -> None:
    here.list("rnn", "gru --peephole")
    assert here.run("--check") == 2
    assert "pyproject.toml" in here.err
    assert "gru --peephole" in here.err


def test_a_folder_that_can_not_be_written_is_one_line(here: Here) -> None:
    here.generated.write_text("a file where the folder should be")
    assert here.all() in (1, 2)
    assert all("generated" in line for line in here.err.splitlines())
    assert here.generated.read_text() == "a file where the folder should be"


def test_when_no_kernel_passes_nothing_is_written(here: Here) -> None:
    here.list("cells.py")
    (here.folder / "cells.py").write_text(CELL.replace(*SIGN), encoding="utf-8")
    assert here.run("--all") == 1
    assert not list(here.folder.glob("generated/*"))


def test_without_a_project_a_cell_is_derived_all_the_same(here: Here) -> None:
    (here.folder / "pyproject.toml").unlink()
    assert here.all() == 2
    assert here.run("--check") == 2
    assert not here.generated.exists()
    assert here.run("rnn", "--no-verify") == 0
    assert here.path("rnn").is_file()
