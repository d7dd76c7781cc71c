"""What runs when: the default run has each structure once, the thorough one (`--hypothesis-profile=thorough`) everything."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import settings

THOROUGH = settings.default.max_examples > 1000  # type: ignore[union-attr]
"""Whether this is the thorough run. Right in test modules: Hypothesis has chosen its profile before they are imported."""


def thorough(*values: object) -> object:
    """A parameter set of the thorough run alone."""
    return pytest.param(*values, marks=pytest.mark.thorough)


def covering(commands: Iterable[str]) -> list[object]:
    """Command lines, those without an option that none before them has left to the thorough run.

    The plain command is the first structure; then every option, and every value of one, is there at least once.
    """
    seen: set[str] = set()
    chosen: list[object] = []
    for command in commands:
        options = set(command.replace(" --", "\n--").split("\n"))
        chosen.append(thorough(command) if options <= seen else command)
        seen |= options
    return chosen
