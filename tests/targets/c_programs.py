"""A C program that calls a kernel as its header says, without Python: made from the structures in the text, as a reader of them would."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType

import numpy as np

from tests.arguments import Call

Array = np.ndarray
GRADIENTS = ("d_parameters", "d_inputs", "d_state")
GROUP = re.compile(r"    struct \{\n(.*?)    \} (\w+);\n", re.DOTALL)
MEMBER = re.compile(r"(?:const )?(\w+) \*(\w+); /\* (.*?)(?:, 0 <= .*)? \*/")


def structure(text: str, name: str) -> tuple[list[str], dict[str, dict[str, tuple[str, str]]]]:
    """(sizes, group -> member -> (type, shape)) of a call."""
    body = re.search(rf"typedef struct \{{\n((?:(?!typedef).)*?)\}} NAME\({name}_call\);", text, re.DOTALL)
    assert body is not None
    sizes = re.search(r"    ptrdiff_t (.*);", body[1])
    assert sizes is not None
    groups = {
        group: {one: (kind, shape) for kind, one, shape in MEMBER.findall(inner)} for inner, group in GROUP.findall(body[1])
    }
    return sizes[1].split(", "), groups


def shape_of(said: str, sizes: dict[str, int]) -> tuple[int, ...]:
    return () if said == "one number" else eval(said, {}, sizes)


class Program:
    """The text of a program that computes outputs and gradients of a call and writes them, one behind the other."""

    def __init__(self, text: str, stem: str, kernel: ModuleType, call: Call, sizes: dict[str, int]) -> None:
        self.sizes, self.stem = sizes, stem
        self.dims, self.forward = structure(text, f"{stem}_forward")
        _, self.backward = structure(text, f"{stem}_backward")
        tokens = {name: call.inputs[name].astype(np.int64) for name in getattr(kernel, "TOKENS", {})}
        self.given = {
            "parameters": call.parameters,
            "inputs": {**{name: call.inputs[name] for name in kernel.INPUTS}, **tokens},
            "state": call.state,
            "cotangents": call.cotangents,
        }
        self.dtype = next(iter(call.parameters.values())).dtype

    def lines(self) -> Iterator[str]:
        yield from ("#include <stdio.h>", "#include <stdlib.h>", f'#include "{self.stem}.c"', "")
        written: list[tuple[str, int]] = []
        for way, groups in (("forward", self.forward), ("backward", self.backward)):
            for group, members in groups.items():
                for name, (kind, said) in members.items():
                    shape = shape_of(said, self.sizes)
                    if group in self.given and not (way == "backward" and group == "parameters"):
                        array = self.given[group][name]
                        assert array.shape == shape, (group, name, array.shape, said)
                        yield f"static const {kind} {group}_{name}[] = {{{', '.join(map(number, array.ravel()))}}};"
                    elif way == "forward" or group.startswith("d_"):
                        count = int(np.prod(shape))
                        yield f"static {kind} {group}_{name}[{max(1, count)}];"
                        written += [] if group == "tape" else [(f"{group}_{name}", count)]
        yield from ("", "int main(void) {")
        for way, groups in (("forward", self.forward), ("backward", self.backward)):
            function = f"NAME({self.stem}_{way}"
            yield f"    {function}_call) {way} = {{"
            yield "        " + " ".join(f".{dim} = {self.sizes[dim]}," for dim in self.dims)
            for group, members in groups.items():
                yield f"        .{group} = {{{', '.join(f'.{one} = {self.array(group, one)}' for one in members)}}},"
            yield "    };"
            yield f"    {way}.memory = aligned_alloc(64, ((size_t){function}_memory)(&{way}) + 64) / 64 * 64);"
            yield f"    {function})(&{way});"
        yield from (f"    fwrite({name}, sizeof(real), {count}, stdout);" for name, count in written)
        yield from ("    return 0;", "}", "")

    def array(self, group: str, name: str) -> str:
        """What a member points to; what backward reads of the inputs in the tape is the input."""
        return f"inputs_{name}" if group == "tape" and name not in self.forward.get("tape", {}) else f"{group}_{name}"

    def read(self, out: bytes) -> dict[object, Array]:
        """What the program wrote: outputs by name, gradients by table and name, as `tests.arguments.backward` has them."""
        numbers, at, found = np.frombuffer(out, self.dtype), 0, {}
        for group, members in (*self.forward.items(), *self.backward.items()):
            for name, (_, said) in members.items() if group == "outputs" or group.startswith("d_") else ():
                shape = shape_of(said, self.sizes)
                count = int(np.prod(shape))
                found[name if group == "outputs" else (GRADIENTS.index(group), name)] = numbers[at : at + count].reshape(shape)
                at += count
        assert at == numbers.size
        return found


def number(value: float | int) -> str:
    return str(int(value)) if isinstance(value, np.integer) else float(value).hex()


def ran(program: Program, folder: Path, compiler: Sequence[str], runner: Sequence[str]) -> dict[object, Array]:
    """What a program computes: compiled for its processor, with all warnings as errors, and run there."""
    source, binary = folder / "program.c", folder / "program"
    source.write_text("\n".join(program.lines()), encoding="utf-8")
    precision = ["-DFLOAT32"] if program.dtype == np.float32 else []
    command = [*compiler, "-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror", *precision, "-o", str(binary), str(source), "-lm"]
    found = subprocess.run(command, capture_output=True, text=True)
    assert found.returncode == 0, found.stderr
    return program.read(subprocess.run([*runner, str(binary)], capture_output=True, check=True).stdout)
