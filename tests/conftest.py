"""Three runs: `python -m pytest` in four minutes, `--whole` with all cases, `--hypothesis-profile=thorough` with what takes an hour."""

from __future__ import annotations

import os
from collections import defaultdict
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

if not {"OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"} & os.environ.keys():
    os.environ["OMP_NUM_THREADS"] = (
        "1"  # the tests share the cores already; read when NumPy is imported, here and in subprocesses
    )

CALM = {
    "deadline": None,
    "suppress_health_check": [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
}

settings.register_profile("default", settings(derandomize=True, **CALM))
settings.register_profile("thorough", settings(max_examples=5000, **CALM))
settings.load_profile("default")

TESTS = Path(__file__).parent


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--whole", action="store_true", help="all cases of the tests in tests/sampled.txt, too")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "thorough: runs with --hypothesis-profile=thorough only")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave what is marked `thorough` to the thorough run, and most cases of long tests to the whole one."""
    is_thorough = settings.default.max_examples > 1000  # type: ignore[union-attr]
    left = [] if is_thorough else [item for item in items if item.get_closest_marker("thorough")]
    # a test that is named on the command line runs with all of its cases
    if not (is_thorough or config.getoption("--whole") or any("::" in str(arg) for arg in config.args)):
        left += unsampled(items)
    gone = set(left)
    items[:] = [item for item in items if item not in gone]
    config.hook.pytest_deselected(items=left)


def unsampled(items: list[pytest.Item]) -> list[pytest.Item]:
    """The cases that the short run leaves out."""
    cases: dict[tuple[str, str], list[pytest.Item]] = defaultdict(list)
    for item in items:
        cases[item.path.relative_to(TESTS).as_posix(), getattr(item, "originalname", item.name)].append(item)
    left = []
    for key, count in sampled().items():
        own = cases.get(key, [])
        kept = {own[len(own) * at // count] for at in range(count)} if own else set()
        left += [item for item in own if item not in kept]
    return left


def sampled() -> dict[tuple[str, str], int]:
    """(file, test) -> how many of its cases the short run takes."""
    found, file = {}, ""
    for line in (TESTS / "sampled.txt").read_text().splitlines():
        if line.startswith("    "):
            name, count = line.split()
            found[file, name] = int(count)
        elif line and not line.startswith("#"):
            file = line
    return found
