"""The start of the command: `python -m derive lstm --peephole --no-verify` over `import sympy, numpy`, in turns.

    python -m benchmarks.start [--rounds 20]

Processor time of the whole process, medians; the first run of each writes what Python keeps compiled and isn't counted.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile

IMPORTS = ["-c", "import sympy, numpy"]
COMMAND = ["-m", "derive", "lstm", "--peephole", "--no-verify"]


def took(arguments: list[str]) -> float:
    """Processor seconds of one run of Python."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *arguments], env=environment, stdout=subprocess.DEVNULL, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=20)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as folder:
        ways = (IMPORTS, [*COMMAND, "--out", folder])
        turns = [[took(way) for way in ways] for _ in range(rounds + 1)][1:]
    bare, command = map(statistics.median, zip(*turns, strict=True))
    print(f"imports {bare:.3f} s, the command {command:.3f} s: {command / bare:.2f} times")


if __name__ == "__main__":
    main()
