"""What `--map` says: an equation of matrices between arrays of a kernel and symbols of a cell.

`Wx = W_i.T|W_f.T` or `U|W = W_f`: `|` puts side by side, `/` below each other, `.T` transposes, `(...)` holds together what is
transposed as a whole. A vector lies along one axis: either sign joins it. Both sides are one array cut in two ways.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from verify.kernel import KernelError

Array = NDArray[Any]
Shape = tuple[Any, ...]
NAME = r"[^\W\d]\w*"
PART = re.compile(rf"\s*({NAME})\s*(\.T|'|ᵀ)?\s*")
WHOLE = re.compile(r"\s*[(\[](.*)[)\]]\s*(\.T|'|ᵀ)\s*")


@dataclass(frozen=True)
class Side:
    """Arrays put together: names, each transposed or not, side by side (axis -1) or below each other (-2); the whole transposed or not.

    A number is put together with nothing: several of them are elements of a vector.
    """

    names: tuple[str, ...]
    turned: tuple[bool, ...]
    axis: int = -1
    whole_turned: bool = False

    def joined(self, arrays: Sequence[Array], rank: int) -> Array:
        """The arrays as one. rank: of what they hold for one example and step."""
        turned = [turn(a) if t and rank == 2 else a for a, t in zip(arrays, self.turned, strict=True)]
        whole = np.concatenate(turned, axis=self.axis if rank == 2 else -1) if len(turned) > 1 else turned[0]
        return turn(whole) if self.whole_turned and rank == 2 else whole

    def cut(self, whole: Array, shapes: Sequence[tuple[int, ...]], rank: int) -> list[Array]:
        """The reverse: arrays of these shapes."""
        if rank == 0:
            return [whole]
        whole = turn(whole) if self.whole_turned and rank == 2 else whole
        axis = self.axis if rank == 2 else -1
        lengths = [shape[::-1][axis] if t and rank == 2 else shape[axis] for shape, t in zip(shapes, self.turned, strict=True)]
        parts = np.split(whole, np.cumsum(lengths)[:-1], axis=axis)
        return [turn(part) if t and rank == 2 else part for part, t in zip(parts, self.turned, strict=True)]

    def shape(self, shapes: Sequence[Shape]) -> list[Shape]:
        """The shape of the whole by each of its parts: all have to say the same."""
        if len(shapes[0]) == 0:
            return [()]
        if len(shapes[0]) == 1:
            return [(sum(shape[0] for shape in shapes),)]
        turned = [shape[::-1] if t else shape for shape, t in zip(shapes, self.turned, strict=True)]
        along = sum(shape[self.axis] for shape in turned)
        across = 0 if self.axis == -1 else 1
        found = [(shape[0], along) if across == 0 else (along, shape[1]) for shape in turned]
        return [shape[::-1] for shape in found] if self.whole_turned else found

    def text(self) -> str:
        parts = [name + ".T" * t for name, t in zip(self.names, self.turned, strict=True)]
        joined = ("|" if self.axis == -1 else "/").join(parts)
        return f"({joined}).T" if self.whole_turned else joined


def turn(array: Array) -> Array:
    return np.swapaxes(array, -1, -2)


@dataclass(frozen=True)
class Relation:
    """theirs = ours, one array cut in two ways."""

    theirs: Side
    ours: Side

    @property
    def text(self) -> str:
        return f"{self.theirs.text()}={self.ours.text()}"


def alone(theirs: str, ours: str) -> Relation:
    return Relation(Side((theirs,), (False,)), Side((ours,), (False,)))


def relations(texts: Sequence[str]) -> tuple[Relation, ...]:
    """What `--map` says, several in one separated by commas. Raises KernelError."""
    found: list[Relation] = []
    for text in texts:
        for one in text.split(","):
            left, equals, right = one.partition("=")
            if not equals or not left.strip() or not right.strip():
                raise KernelError(f"verify: --map {text}: expected THEIRS=OURS, got `{one}`. Write the kernel's name first.")
            found.append(Relation(side(left, one), side(right, one)))
    for part in ("theirs", "ours"):
        names = [name for relation in found for name in getattr(relation, part).names]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise KernelError(f"verify: --map {' '.join(texts)}: {twice} is mapped twice. Drop one.")
    return tuple(found)


def side(text: str, where: str) -> Side:
    """One side of a relation. Raises KernelError."""
    whole = WHOLE.fullmatch(text)
    inner = whole[1] if whole else text.strip().strip("()[]") if re.fullmatch(r"\s*[(\[].*[)\]]\s*", text) else text
    signs = set(re.findall(r"[|/]", inner))
    parts = [PART.fullmatch(part) for part in re.split(r"[|/]", inner)]
    if len(signs) > 1 or not all(parts):
        raise KernelError(
            f"verify: --map {where}: expected names joined by | (side by side) or by / (below each other), each with .T where it is "
            f"transposed, got `{text.strip()}`. Write for example Wx=W_i.T|W_f.T."
        )
    names, turned = tuple(part[1] for part in parts if part), tuple(bool(part[2]) for part in parts if part)
    return Side(names, turned, -2 if signs == {"/"} else -1, whole is not None)


def quoted(text: str) -> str:
    return f'"{text}"' if re.search(r"[|().]", text) else text


def variations(relation: Relation) -> Iterator[Relation]:
    """The same names put together in every other way, transposed all or none."""
    for axis in (-1, -2):
        for turned in (False, True):
            ours = replace(relation.ours, turned=(turned,) * len(relation.ours.names), axis=axis, whole_turned=False)
            for other in (-1, -2):
                yield replace(relation, ours=ours, theirs=replace(relation.theirs, axis=other))
