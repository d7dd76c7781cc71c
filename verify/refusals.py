"""What a kernel has to refuse: wrong shapes, integer or mixed dtypes, missing and unknown names. Anything else is reported only.

A call that isn't refused breaks a promise of the contract; it gives no wrong number where the call is right.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from derive.shapes import STEPS
from verify.axes import along_of
from verify.contract import REFUSALS, broken
from verify.data import Data, words_of
from verify.evidence import Array
from verify.findings import CONTRACT, PASS, Finding
from verify.kernel import Kernel

Call = Callable[[], Any]


@dataclass(frozen=True)
class Case:
    """A call that ought to raise. group: of REFUSALS, empty where a kernel that doesn't raise is reported only."""

    what: str
    call: Call
    group: str = "wrong shapes"


def longer(array: Array, own: int) -> Array:
    """One more feature, or column; of a number (own: 0 dimensions) two in its place."""
    return np.concatenate([array, array[..., :1]], axis=-1) if own else np.stack([array, array], axis=-1)


def whole(array: Array) -> Array:
    """The array in whole numbers."""
    return np.asarray(np.rint(array)).astype(np.int64)


def is_settled(kernel: Kernel, part: str, name: str) -> bool:
    """Whether another array settles the last size of this one, or it is a number; a size that stands nowhere else may be any."""
    tables = {"parameters": kernel.dims.parameters, "inputs": kernel.dims.inputs, "state": kernel.dims.states}
    if not tables[part][name]:
        return True
    *rest, last = tables[part][name]
    others = [dim for what, table in tables.items() for key, dims in table.items() if (what, key) != (part, name) for dim in dims]
    return set(words_of((last,))) <= set(words_of((*rest, *others)))


def cases(kernel: Kernel, data: Data) -> Iterator[Case]:
    """Every wrong call, of forward first."""
    for part, lead in (("parameters", 0), ("inputs", 2), ("state", 1)):
        arrays: dict[str, Array] = data.numbers if part == "inputs" else getattr(data, part)
        beside = data.tokens if part == "inputs" else {}
        for name, array in arrays.items():
            label = f"{part}[{name!r}]"

            def forward(changed: dict[str, Any], part: str = part, beside: dict[str, Array] = beside) -> Call:
                wrong = replace(data.copy(), **{part: {**changed, **beside}})  # type: ignore[arg-type]
                return lambda: kernel.module.forward(wrong.parameters, wrong.inputs, wrong.state)

            if is_settled(kernel, part, name):
                yield Case(f"{label} of wrong shape", forward({**arrays, name: longer(array, array.ndim - lead)}))
            if array.ndim:
                yield Case(f"{label} without its last dimension", forward({**arrays, name: array[..., 0]}))
            yield Case(f"{label} of integers", forward({**arrays, name: whole(array)}), "integers")
            if len(data.flat()) > 1:
                yield Case(
                    f"{label} in float32 among float64", forward({**arrays, name: array.astype(np.float32)}), "mixed dtypes"
                )
            rest = {other: a for other, a in arrays.items() if other != name}
            yield Case(f"{label} missing", forward(rest), "missing names")
            yield Case(f"{label} as nested lists", forward({**arrays, name: array.tolist()}), "")
        if arrays:
            some = next(iter(arrays.values()))
            yield Case(f"unknown name in {part}", forward({**arrays, "no_such_name_": some}), "unknown names")
    yield from of_tokens(kernel, data)
    yield from of_sizes(kernel, data)
    yield from of_backward(kernel, data)
    for function in ("jvp", "hvp"):
        yield from of_tangents(kernel, data, function) if kernel.has(function) else ()


def of_tokens(kernel: Kernel, data: Data) -> Iterator[Case]:
    """Tokens that there aren't, that are no whole numbers, or too few."""
    for name, array in data.tokens.items():
        size, label = kernel.dims.size(kernel.dims.tokens[name]), f"inputs[{name!r}]"

        def forward(changed: Any, name: str = name) -> Call:
            wrong = replace(data.copy(), inputs={**data.inputs, name: changed})
            return lambda: kernel.module.forward(wrong.parameters, wrong.inputs, wrong.state)

        over, under = array.copy(), array.copy()
        over[:, -1], under[:, -1] = size, -1
        yield Case(f"{label} with a token beyond the last", forward(over), "tokens")
        yield Case(f"{label} with a negative token", forward(under), "tokens")
        yield Case(f"{label} of floats", forward(array.astype(float)), "tokens")
        along = along_of(kernel.raw)
        own = along.get(name, (STEPS,))
        if own and any(along.get(other, (STEPS,)) == own for other in data.inputs if other != name):
            yield Case(f"{label} of one step less", forward(array[1:]), "wrong shapes")
        yield Case(f"{label} of one example too many axes", forward(array[..., None]), "wrong shapes")


def of_sizes(kernel: Kernel, data: Data) -> Iterator[Case]:
    """Arrays that don't fit each other."""

    def forward(wrong: Data) -> Call:
        return lambda: kernel.module.forward(wrong.parameters, wrong.inputs, wrong.state)

    def cast(arrays: dict[str, Array]) -> dict[str, Array]:
        return {name: whole(array) for name, array in arrays.items()}

    inputs = {**cast(data.numbers), **data.tokens}
    integers = replace(data, parameters=cast(data.parameters), inputs=inputs, state=cast(data.state))
    yield Case("integers everywhere", forward(integers), "integers")
    if data.inputs and data.state:
        fewer = {name: array[:1] for name, array in data.state.items()}
        yield Case("state of one example beside inputs of several", forward(replace(data, state=fewer)))
    for name, array in data.parameters.items():
        if array.ndim == 1 and array.size > 1:
            changed = {**data.parameters, name: array[:1]}
            yield Case(f"parameters[{name!r}] of one element", forward(replace(data, parameters=changed)))


def of_backward(kernel: Kernel, data: Data) -> Iterator[Case]:
    """Wrong cotangents, and a tape that isn't one."""
    _, tape = kernel.forward(data)

    def backward(cotangents: dict[str, Any], given: Any = tape) -> Call:
        return lambda: kernel.module.backward(data.copy().parameters, given, cotangents)

    for name, array in data.cotangents.items():
        rest = {other: a.copy() for other, a in data.cotangents.items() if other != name}
        yield Case(f"cotangents[{name!r}] of wrong shape", backward({**rest, name: longer(array, array.ndim - 2)}))
        yield Case(f"cotangents[{name!r}] of integers", backward({**rest, name: whole(array)}), "")
        yield Case(f"cotangents[{name!r}] of one step more", backward({**rest, name: np.concatenate([array, array[:1]])}), "")
    some = next(iter(data.cotangents.values()), np.zeros(1))
    yield Case("unknown name in cotangents", backward({**data.cotangents, "no_such_name_": some}), "unknown names")
    yield Case("None as the tape", backward(dict(data.cotangents), None), "")


def of_tangents(kernel: Kernel, data: Data, function: str) -> Iterator[Case]:
    """Wrong tangents, and wrong cotangents beside right ones."""
    held = {"hvp": (data.copy().cotangents,)}.get(function, ())

    def call(part: int, tangents: dict[str, Any], cotangents: tuple[Any, ...] = held) -> Call:
        one, moved = data.copy(), [data.copy().parameters, data.copy().numbers, data.copy().state]
        moved[part] = tangents
        return lambda: getattr(kernel.module, function)(one.parameters, one.inputs, one.state, *cotangents, *moved)

    groups = (("parameters", data.parameters, 0), ("inputs", data.numbers, 2), ("state", data.state, 1))
    for k, (part, arrays, lead) in enumerate(groups):
        for name, array in arrays.items():
            what = f"{function}: tangent_{part}"
            yield Case(f"{what}[{name!r}] of wrong shape", call(k, {**arrays, name: longer(array, array.ndim - lead)}))
            yield Case(f"{what}[{name!r}] of integers", call(k, {**arrays, name: whole(array)}), "")
        if arrays:
            some = next(iter(arrays.values()))
            yield Case(f"{what}: unknown name", call(k, {**arrays, "no_such_name_": some}), "unknown names")
    if held:
        unknown = ({**held[0], "no_such_name_": next(iter(held[0].values()), np.zeros(1))},)
        yield Case(f"{function}: unknown name in cotangents", call(0, data.parameters, unknown), "unknown names")


def refusals(kernel: Kernel, data: Data) -> Iterator[Finding]:
    """One finding a group of wrong calls: whether all of them are refused; and one that says how many are."""
    missing: list[Case] = []
    unusual, groups = [], dict.fromkeys(REFUSALS, 0)
    for case in cases(kernel, data):
        groups[case.group] = groups.get(case.group, 0) + 1
        try:
            with np.errstate(all="ignore"):
                case.call()
        except ValueError:
            continue
        except Exception as error:
            unusual.append(f"{case.what}: {type(error).__name__} rather than ValueError")
            continue
        missing.append(case)
    for group in REFUSALS:
        found = [case.what for case in missing if case.group == group]
        more = f" and {len(found) - 2} more" if len(found) > 2 else ""
        if found:
            yield broken(f"refuses {group}", f"not refused: {', '.join(found[:2])}{more}")
        elif groups[group]:
            yield Finding(f"refuses {group}", PASS, kind=CONTRACT)
    reported = [f"not refused, only reported: {case.what}" for case in missing if not case.group] + unusual
    count = sum(groups.values())
    said = f"{count - len(missing)} of {count} wrong calls refused" + (
        f" ({'; '.join(reported[:3])}{'; ...' if len(reported) > 3 else ''})" if reported else ""
    )
    yield Finding("refusals", PASS, said=said, kind=CONTRACT)
