"""Where a run's arrays come from: npz files, or a seed; sizes from the files where they are given, else from the flags."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from derive.shapes import STEPS
from verify.axes import along_of
from verify.jacobian.initial import Applied, Init, gaussian, started
from verify.jacobian.pytorch import from_pytorch, is_pytorch
from verify.jacobian.run import Array, Run, RunError

STEPS_OF_A_RUN, HIDDEN, INPUTS, BATCH = 100, 32, 16, 1
"""The sizes where neither a flag nor a file says another."""


@dataclass(frozen=True)
class Asked:
    """What the flags ask for; None where a flag isn't given. one_of_several: cells are compared, and one of them may not have the gate
    that a forget bias opens. is_network: one of its recurrences is analysed, or a gradient across all of it."""

    steps: int | None = None
    hidden: int | None = None
    inputs: int | None = None
    batch: int | None = None
    dims: Mapping[str, int] = field(default_factory=dict)
    seed: int = 0
    init: Init | None = None
    weights: Path | None = None
    inputs_file: Path | None = None
    batch_first: bool = False
    one_of_several: bool = False
    is_network: bool = False


Dims = tuple[str, ...]
Arrays = Mapping[str, Array]


def build_run(name: str, kernel: Any, derivation: Any, asked: Asked) -> Run:
    """The run that flags and files describe. Raises RunError in one line that names what is wrong."""
    check_flags(asked)
    tokens = tokens_of(kernel)
    if not kernel.INPUTS and not tokens:
        raise RunError(
            f"jacobian: {name}: a cell without inputs has no length: expected at least one input, got none. Give it one."
        )
    weights = read(asked.weights, "--weights") if asked.weights else None
    sequences = read(asked.inputs_file, "--inputs-file") if asked.inputs_file else None
    notes: list[str] = []
    if weights is not None and is_pytorch(weights) and not is_pytorch(kernel.PARAMETERS):
        weights, note = from_pytorch(weights, kernel, derivation, f"--weights {asked.weights}")
        notes.append(note)
    if weights is not None:
        check_names(weights, kernel.PARAMETERS, kernel.PARAMETERS, f"--weights {asked.weights}", "parameter")
    if sequences is not None:
        where, needed = f"--inputs-file {asked.inputs_file}", {**kernel.INPUTS, **tokens}
        check_names(sequences, {**needed, **kernel.STATES}, needed, where, "input")
        sequences = {n: as_tokens(array, f"{where}: {n}") if n in tokens else array for n, array in sequences.items()}
        if asked.batch_first:
            behind = {n: len(lead(kernel, n)) - 1 for n in needed}  # where the batch comes to stand
            sequences = {n: np.moveaxis(a, 0, behind[n]) if a.ndim > behind.get(n, 0) > 0 else a for n, a in sequences.items()}
    sizes = all_sizes(kernel, asked, weights, sequences)
    shapes = {n: tuple(size_of(dim, sizes) for dim in dims) for n, dims in kernel.PARAMETERS.items()}
    parameters, applied = weights or {}, None
    if weights is None:
        parameters = gaussian(derivation, shapes, (asked.init or Init()).scale, asked.seed)
        if asked.is_network:
            applied = Applied(asked.init or Init())  # each recurrence gets its start by itself, see `recurrences.started`
        else:
            parameters, applied = started(kernel, derivation, parameters, asked.init or Init(), asked.one_of_several)
    if sequences is None:
        rng = np.random.default_rng([asked.seed, 1])
        shapes = {
            n: tuple(size_of(dim, sizes) for dim in (*lead(kernel, n), *kernel.INPUTS.get(n, ())))
            for n in [*kernel.INPUTS, *tokens]
        }
        inputs: dict[str, Array] = {n: rng.standard_normal(shapes[n]) for n in kernel.INPUTS}
        inputs |= {n: np.asarray(rng.integers(0, size_of(dim, sizes), shapes[n])) for n, dim in tokens.items()}
        return Run(name, kernel, parameters, inputs, {}, derivation, applied, tuple(notes))
    inputs = {n: sequences[n] for n in needed}
    state = {n: sequences[n] for n in kernel.STATES if n in sequences}
    return Run(name, kernel, parameters, inputs, state, derivation, applied, (*notes, *notes_on(kernel, asked, inputs, state)))


def tokens_of(kernel: Any) -> dict[str, str]:
    """The inputs of whole numbers, and the dimension that says how many there are."""
    return dict(getattr(kernel, "TOKENS", None) or {})


def lead(kernel: Any, name: str) -> Dims:
    """The dimensions of an input in front of its own: its axes of steps and the batch."""
    return (*along_of(kernel).get(name, (STEPS,)), "B")


def as_tokens(array: Array, where: str) -> Array:
    """The numbers of a file as whole ones. Raises RunError where they are none."""
    whole = np.rint(array).astype(np.int64)
    if not np.array_equal(whole, array):
        raise RunError(f"jacobian: {where}: expected tokens, whole numbers, got fractions. Check the file.")
    return np.asarray(whole)


def notes_on(kernel: Any, asked: Asked, inputs: Arrays, state: Arrays) -> tuple[str, ...]:
    """A line where the steps may be the sequences: fewer steps than sequences, and nothing else says which axis is which."""
    if asked.batch_first or asked.steps or asked.batch or state:
        return ()
    return tuple(
        f"--inputs-file {asked.inputs_file}: {name}: {array.shape} is read time first, as T = {array.shape[0]} with "
        f"B = {array.shape[1]} sequences. If the batch comes first, add --batch-first."
        for name, array in inputs.items()
        if lead(kernel, name) == ("T", "B") and array.shape[0] < array.shape[1]
    )


def check_flags(asked: Asked) -> None:
    for flag, value in (
        ("--steps", asked.steps),
        ("--hidden", asked.hidden),
        ("--inputs", asked.inputs),
        ("--batch", asked.batch),
    ):
        if value is not None and value < 1:
            raise RunError(f"jacobian: {flag}: expected at least 1, got {value}. Ask for more.")
    if asked.weights and asked.init:
        raise RunError(
            f"jacobian: --init contradicts --weights {asked.weights}, which has the weights already. Drop one of them."
        )
    if asked.seed < 0:
        raise RunError(f"jacobian: --seed: expected 0 or more, got {asked.seed}. Choose another.")


def read(path: Path, flag: str) -> dict[str, Array]:
    """The arrays of an npz file, in float64. Raises RunError on a file that isn't one, and on numbers that aren't finite."""
    member = ""
    arrays: dict[str, Any] = {}
    try:
        with np.load(path, allow_pickle=False) as file:
            for name in file.files:
                member = f"{name}: "
                arrays[name] = file[name]
    except (OSError, ValueError, EOFError, AttributeError, TypeError, zipfile.BadZipFile, zlib.error) as error:
        reason = "no such file" if isinstance(error, FileNotFoundError) else f"{member}can't be read as npz"
        objects = ", got objects" if "Object arrays" in str(error) else ""
        fault = f"{reason}: expected an npz file of arrays of numbers by name{objects}"
        raise RunError(f"jacobian: {flag} {path}: {fault}. Check the file.") from None
    for name, array in arrays.items():
        if not isinstance(array, np.ndarray):
            raise RunError(f"jacobian: {flag} {path}: {name}: expected an array, got another file in the archive. Leave it out.")
        if array.dtype.kind not in "fiu":
            raise RunError(f"jacobian: {flag} {path}: {name}: wrong dtype: expected real numbers, got {array.dtype}. Convert it.")
        if not np.isfinite(array).all():
            raise RunError(f"jacobian: {flag} {path}: {name}: expected finite numbers, got nan or inf. Mend the file.")
    return {name: array.astype(np.float64) for name, array in arrays.items()}


def check_names(arrays: Mapping[str, Array], known: Mapping[str, Any], needed: Mapping[str, Any], where: str, what: str) -> None:
    missing = [name for name in needed if name not in arrays]
    unknown = [name for name in arrays if name not in known]
    if missing:
        verb, found = "is" if len(missing) == 1 else "are", ", ".join(arrays) or "nothing"
        fault = f"{what} {', '.join(missing)} {verb} missing: expected {', '.join(needed)}, got {found}"
        raise RunError(f"jacobian: {where}: {fault}. Use the equations' names.")
    if unknown:
        raise RunError(
            f"jacobian: {where}: unknown name {', '.join(unknown)}: expected {', '.join(known)}. Use the equations' names."
        )


# ---- sizes


def size_of(dim: str, sizes: Mapping[str, int]) -> int:
    """The size of a dimension as the tables write it: `H`, `H+D`, `2*H+D`, `3`."""
    total = 0
    for term in str(dim).split("+"):
        times, _, name = term.strip().rpartition("*")
        total += int(times or 1) * (int(name) if name.isdigit() else sizes[name])
    return total


def names_in(dims: Sequence[str]) -> list[str]:
    """The plain dimensions that the tables' dimensions are made of."""
    parts = [part.strip().rpartition("*")[2] for dim in dims for part in str(dim).split("+")]
    return [name for name in dict.fromkeys(parts) if not name.isdigit()]


def all_sizes(kernel: Any, asked: Asked, weights: Arrays | None, sequences: Arrays | None) -> dict[str, int]:
    """The size of every dimension: from the files, then from the flags, which may not contradict them, then the defaults."""
    tables = labelled(kernel, asked, weights, sequences)
    sizes: dict[str, int] = {}
    for label, array, dims in tables:
        if array.ndim != len(dims):
            mend = "Give it an axis for the batch" if "B" in dims[1:] and array.ndim == len(dims) - 1 else "Mend the file"
            raise RunError(f"jacobian: {label}: wrong shape: expected ({', '.join(dims)}), got {array.shape}. {mend}.")
        for dim, size in zip(dims, array.shape, strict=True):
            if str(dim).isidentifier():
                sizes.setdefault(dim, size)
    from_flags(kernel, asked, sizes)
    for label, array, dims in tables:
        expected = tuple(size_of(dim, sizes) for dim in dims)
        if array.shape != expected:
            shown = ", ".join(f"{dim} = {size}" for dim, size in zip(dims, expected, strict=True))
            raise RunError(f"jacobian: {label}: wrong shape: expected ({shown}), got {array.shape}. Mend the file, or the flag.")
    empty = [dim for dim, size in sizes.items() if size < 1]
    if empty:
        raise RunError(
            f"jacobian: {asked.inputs_file or asked.weights}: {empty[0]} = 0: expected at least 1. Give longer arrays."
        )
    return sizes


def labelled(kernel: Any, asked: Asked, weights: Arrays | None, sequences: Arrays | None) -> list[tuple[str, Array, Dims]]:
    """(label, array, dimensions) of every array of the files."""
    out: list[tuple[str, Array, Dims]] = []
    for name, array in (weights or {}).items():
        out.append((f"--weights {asked.weights}: {name}", array, tuple(kernel.PARAMETERS[name])))
    for name, array in (sequences or {}).items():
        steps = (*lead(kernel, name), *kernel.INPUTS.get(name, ()))
        dims = steps if name in kernel.INPUTS or name in tokens_of(kernel) else ("B", *kernel.STATES[name])
        out.append((f"--inputs-file {asked.inputs_file}: {name}", array, tuple(dims)))
    return out


def from_flags(kernel: Any, asked: Asked, sizes: dict[str, int]) -> None:
    """Put what the flags say, and the defaults, to the sizes; refuse what contradicts them."""
    states = names_in([dim for dims in kernel.STATES.values() for dim in dims])
    inputs = [name for name in names_in([dim for dims in kernel.INPUTS.values() for dim in dims]) if name not in states]
    others = [axis for name in [*kernel.INPUTS, *tokens_of(kernel)] for axis in lead(kernel, name) if axis not in ("T", "B")]
    every = [*states, *inputs, *names_in([dim for dims in kernel.PARAMETERS.values() for dim in dims]), *others]
    unknown = [name for name in asked.dims if name not in every]
    if unknown:
        mend = {"T": "Say it with --steps", "B": "Say it with --batch"}.get(unknown[0], "Correct it")
        raise RunError(
            f"jacobian: --dim {unknown[0]}: unknown dimension: expected one of {', '.join(dict.fromkeys(every))}. {mend}."
        )
    for flag, size, names in (("--hidden", asked.hidden, states), ("--inputs", asked.inputs, inputs)):
        for name in names:
            if size is not None and asked.dims.get(name, size) != size:
                fault = f"contradicts --dim {name}={asked.dims[name]}: expected one size, got two"
                raise RunError(f"jacobian: {flag} {size}: {fault}. Drop one of them.")
    flags: list[tuple[str, int | None, str]] = [(name, size, f"--dim {name}={size}") for name, size in asked.dims.items()]
    flags += [(name, asked.hidden, f"--hidden {asked.hidden}") for name in states if name not in asked.dims]
    flags += [(name, asked.inputs, f"--inputs {asked.inputs}") for name in inputs if name not in asked.dims]
    flags += [(axis, asked.steps, f"--steps {asked.steps}") for axis in others if axis not in asked.dims]
    flags += [("T", asked.steps, f"--steps {asked.steps}"), ("B", asked.batch, f"--batch {asked.batch}")]
    for name, size, flag in flags:
        if size is not None and sizes.setdefault(name, size) != size:
            raise RunError(
                f"jacobian: {flag}: contradicts the files: expected {name} = {sizes[name]}, got {size}. Drop the flag."
            )
    defaults = {"T": STEPS_OF_A_RUN, "B": BATCH, **dict.fromkeys(every, INPUTS), **dict.fromkeys(states, HIDDEN)}
    defaults |= dict.fromkeys(others, STEPS_OF_A_RUN)
    for name, size in defaults.items():
        sizes.setdefault(name, size)
