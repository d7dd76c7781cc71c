"""Standard output as it comes: an encoding that may not know our signs, a reader that may leave early, a disk that may be full."""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
from collections.abc import Iterator

from derive.errors import DeriveError


class OutputError(DeriveError):
    """Standard output that takes nothing, as where its disk is full."""


def forgive() -> None:
    """Let signs that a terminal's encoding doesn't know be written as escapes."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def carried(record: str) -> str:
    """JSON that standard output can carry: where its encoding doesn't know a sign, all that isn't ASCII as JSON's own escapes."""
    try:
        record.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        return "".join(sign if sign.isascii() else json.dumps(sign)[1:-1] for sign in record)
    return record


@contextlib.contextmanager
def may_leave() -> Iterator[None]:
    """Print to a reader that may leave early, as `head -1` does: what comes after is dropped, and the work goes on.

    Raises OutputError where standard output can't be written for another reason: what is said would be lost unseen.
    """
    try:
        yield
        sys.stdout.flush()
    except (BrokenPipeError, SystemExit):  # rich exits where a pipe is closed
        drop()
    except OSError as error:
        drop()
        raise OutputError(
            f"standard output: can't be written: expected a place that takes it, got `{error.strerror}`. Make room, or write elsewhere."
        ) from None


def drop() -> None:
    """Write nowhere from here on, what waits to be written too."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def say(text: str, end: str = "\n") -> None:
    """Print to standard output, whose reader may have left."""
    with may_leave():
        print(text, end=end)
