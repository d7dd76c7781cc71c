"""`tests/sampled.txt` names tests that there are."""

from __future__ import annotations

import re

from tests.conftest import TESTS, sampled


def test_each_test_that_the_short_run_shortens_is_there():
    missing = [
        f"{file}::{name}" for file, name in sampled() if not re.search(rf"^\s*def {name}\(", (TESTS / file).read_text(), re.M)
    ]
    assert not missing
    assert len(sampled()) > 100
