"""The two runs: `default`, and `thorough` for the long one (`--hypothesis-profile=thorough`): more examples, and what is marked so."""

from __future__ import annotations

import os

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


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "thorough: runs with --hypothesis-profile=thorough only")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave what is marked `thorough` to the thorough run."""
    if settings.default.max_examples > 1000:  # type: ignore[union-attr]
        return
    left = [item for item in items if item.get_closest_marker("thorough")]
    items[:] = [item for item in items if not item.get_closest_marker("thorough")]
    config.hook.pytest_deselected(items=left)
