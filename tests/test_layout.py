"""Who may import whom, and how long a file may be: walked, not promised."""

from __future__ import annotations

import ast
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
OURS = {"derive", "verify", "generated", "tests", "benchmarks", "examples", "docs"}
MAY_CALL_THE_VERIFIER = {"derive/__main__.py", "derive/regenerate.py"}
LONGEST = 400


def files(*folders: str) -> list[str]:
    """The Python files of some folders, relative to the root."""
    return sorted(str(path.relative_to(ROOT)) for folder in folders for path in (ROOT / folder).rglob("*.py"))


def imports(file: str) -> set[str]:
    """Every module that a file imports, wherever in it, relative imports resolved, and modules named in import_module calls."""
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    package = file.removesuffix(".py").split("/")[:-1]
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        if isinstance(node, ast.ImportFrom):
            base = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            found |= {".".join(filter(None, (base, node.module)))}
            found |= {".".join(filter(None, (base, node.module, alias.name))) for alias in node.names}
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("importlib.import_module", "import_module", "__import__"):
            constants = [part.value for part in ast.walk(node.args[0]) if isinstance(part, ast.Constant)]
            found |= {name for name in constants if isinstance(name, str)}
    return found


def module_of(file: str) -> str:
    return file.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def needs(file: str, modules: set[str]) -> set[str]:
    """The modules among some that a file needs, also late or for types alone; a package only where it is asked for a name of its own."""
    found = imports(file) & modules
    return {name for name in found if not any(other.startswith(f"{name}.") for other in found)} - {module_of(file)}


def roots(file: str) -> set[str]:
    """The top-level packages that a file imports."""
    return {name.split(".")[0] for name in imports(file)}


@pytest.mark.parametrize("file", files("derive"))
def test_derive_imports_neither_the_verifier_nor_what_it_emitted(file: str) -> None:
    allowed = {"verify"} if file in MAY_CALL_THE_VERIFIER else set()
    assert not roots(file) & {"verify", "generated", "tests"} - allowed


@pytest.mark.parametrize("file", files("generated"))
def test_generated_files_import_numpy_and_nothing_else(file: str) -> None:
    assert roots(file) == {"numpy"}


@pytest.mark.parametrize("file", files("verify/handwritten"))
def test_handwritten_gradients_import_nothing_of_ours(file: str) -> None:
    ours = {name for name in imports(file) if name.split(".")[0] in OURS}
    assert {name for name in ours if not name.startswith("verify.handwritten")} == set()
    assert roots(file) - {"verify"} <= {"numpy"} | set(sys.stdlib_module_names)


def test_difference_quotients_import_nothing_of_ours() -> None:
    assert roots("verify/differences.py") <= {"numpy", *sys.stdlib_module_names}


def test_nothing_imports_generated_kernels_as_modules() -> None:
    assert not [file for file in files("derive", "verify") if "generated" in roots(file)]


@pytest.mark.parametrize("file", files("derive", "verify"))
def test_no_file_is_longer_than_a_person_reads(file: str) -> None:
    assert len((ROOT / file).read_text(encoding="utf-8").splitlines()) <= LONGEST


CELLS = {"rnn", "lstm", "gru"}
FREE = ("derive/cells/", "verify/handwritten/")


@pytest.mark.parametrize("file", [file for file in files("derive", "verify") if not file.startswith(FREE)])
def test_no_rule_pass_or_check_names_a_cell(file: str) -> None:
    """Outside docstrings and messages that show how to call a command, no text names a built-in cell."""
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    words = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    words |= {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    assert not words & CELLS


@pytest.mark.parametrize("folder", ["derive", "verify"])
def test_no_file_is_called_after_nothing(folder: str) -> None:
    assert not [file for file in files(folder) if Path(file).stem in ("utils", "util", "helpers", "misc", "common")]


def test_what_is_slow_is_imported_late() -> None:
    """matplotlib and torch never come with the command line; rich only where it prints."""
    slow = ("matplotlib", "torch", "rich", "hypothesis", "verify")
    program = f"import sys, derive.__main__; print([name for name in {slow!r} if name in sys.modules])"
    found = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_no_module_is_in_an_import_circle() -> None:
    house = files("derive", "verify")
    modules = {module_of(file) for file in house}
    TopologicalSorter({module_of(file): needs(file, modules) for file in house}).prepare()


def test_late_imports_count_for_circles() -> None:
    late = {"derive.keep", "derive.compiler", "derive.sources"}
    assert late <= needs("verify/kept.py", {module_of(file) for file in files("derive", "verify")})
