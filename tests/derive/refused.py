"""Networks that can't be: one line that says what was expected."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from derive.cell import Cell
from derive.copies import Network, NetworkError


def assert_refused(network: Network, cell: Cell, said: Iterable[str]) -> None:
    """The network of a cell is refused in one line that has these words."""
    with pytest.raises(NetworkError) as error:
        network.of(cell)
    message = str(error.value)
    assert len(message.splitlines()) == 1
    assert "expected" in message
    assert not [word for word in said if word not in message], message
