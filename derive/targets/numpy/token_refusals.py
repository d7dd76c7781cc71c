"""What stands behind the functions of a kernel that takes tokens: their refusals, and a table more among the inputs."""

from __future__ import annotations

TOKENS = '''

def _tokens(where, inputs, sizes):
    """Refuse tokens that are no whole numbers, of another shape, or out of range."""
    for name, dim in TOKENS.items():
        array, label = inputs[name], f"inputs[{name!r}]"
        if not isinstance(array, np.ndarray) or isinstance(array, (np.matrix, np.ma.MaskedArray)):
            raise ValueError(
                f"{where}: {label}: wrong type: expected a plain NumPy array of whole numbers, got {type(array).__name__}. "
                "Convert it with np.asarray."
            )
        if array.dtype.kind not in "iu":
            raise ValueError(
                f"{where}: {label}: wrong dtype: expected tokens, whole numbers of any integer dtype, got {array.dtype}. "
                "Convert it with .astype(int)."
            )
        if array.ndim != 2 or any(sizes.setdefault(axis, n) != n for axis, n in zip(("T", "B"), array.shape)):
            words = [f"{axis} = {sizes[axis]}" if axis in sizes else axis for axis in ("T", "B")]
            raise ValueError(
                f"{where}: {label}: wrong shape: expected ({', '.join(words)}), one token a step and example, got {array.shape}. "
                "Sizes come from the first array that has them."
            )
        wrong = (array < 0) | (array >= sizes[dim])
        if wrong.any():
            step, example = np.argwhere(wrong)[0]
            raise ValueError(
                f"{where}: {label}: token out of range: expected 0 <= {name} < {dim} = {sizes[dim]}, "
                f"got {array[step, example]} at step {step}, example {example}. Check which tokens there are."
            )
'''
"""The refusals of tokens."""

AMONG_INPUTS = (
    ('_names(where, "inputs", inputs, INPUTS)', '_names(where, "inputs", inputs, {**INPUTS, **TOKENS})'),
    ("    return sizes, dtype\n", "    _tokens(where, inputs, sizes)\n    return sizes, dtype\n"),
    (
        "inputs={name: np.empty(array.shape, dtype) for name, array in tape.inputs.items()}",
        "inputs={name: np.empty(tape.inputs[name].shape, dtype) for name in INPUTS}",
    ),
)
"""What a kernel of tokens has instead."""


ALONG_AXES = (
    ('array.ndim != 2 or any(sizes.setdefault(axis, n) != n for axis, n in zip(("T", "B"), array.shape))',
     "array.ndim != len(_axes(name)) or any(sizes.setdefault(axis, n) != n for axis, n in zip(_axes(name), array.shape))"),
    ('for axis in ("T", "B")]', "for axis in _axes(name)]"),
    ("({', '.join(words)}), one token a step and example", "({', '.join(words)}), one token each"),
    ("            step, example = np.argwhere(wrong)[0]\n", "            place = tuple(map(int, np.argwhere(wrong)[0]))\n"),
    ("got {array[step, example]} at step {step}, example {example}.", "got {array[place]} at {place}."),
)  # fmt: skip
"""What they have instead where something lies otherwise than along T."""


def with_tokens(text: str, axes: bool) -> str:
    """What stands behind the functions of a kernel that takes tokens among its inputs; axes: it has a table of them."""
    tokens = TOKENS
    for plain, other in ALONG_AXES if axes else ():
        tokens = tokens.replace(plain, other)
    for plain, other in AMONG_INPUTS:
        text = text.replace(plain, other)
    return text + tokens
