"""Arrays against tables of dimension names: each name has one size, which the first array that has it tells."""

from collections.abc import Mapping, Sequence

import numpy as np

from .named import Array
from .refusals import DTYPES, DType, check_array, check_names

Table = Mapping[str, tuple[str, ...]]
"""Name -> dimension names: ("H", "D") of a matrix, ("H",) of a vector, () of a number; a dimension may be a sum, "H_right+H_left"."""


class Sizes(dict[str, int]):
    """The size of each dimension by its name, as far as it is known."""

    def of(self, dim: str) -> int:
        """The size of a name, or of a sum of names."""
        return sum(self[name] for name in dim.split("+"))

    def shown(self, dims: Sequence[str]) -> str:
        """A shape in words, with the names of what isn't known."""
        return f"({', '.join(str(self.get(dim, dim)) for dim in dims)}{',' * (len(dims) == 1)})"

    def check(self, where: str, array: Array, dims: Sequence[str], dtype: DType) -> None:
        """Raises ValueError unless an array has these dimensions; a name that is new gets its size, one in each sum."""
        if array.ndim != len(dims):
            raise ValueError(f"{where}: wrong shape: expected {self.shown(dims)}, got {array.shape}. Reshape it.")
        for dim, size in sorted(zip(dims, array.shape, strict=True), key=lambda one: "+" in one[0]):
            for new in [name for name in dim.split("+") if name not in self][:1]:
                self[new] = max(0, size - sum(self[name] for name in dim.split("+") if name != new))
        check_array(where, array, tuple(map(self.of, dims)), dtype)

    def check_all(self, where: str, arrays: Mapping[str, Array], dims: Table, dtype: DType) -> None:
        """One array for each name."""
        check_names(where, arrays, tuple(dims))
        for name in dims:
            self.check(f"{where}: {name}", arrays[name], dims[name], dtype)

    def check_tokens(self, where: str, tokens: Array, dims: Sequence[str], size: str) -> None:
        """Raises ValueError unless an array holds whole numbers from 0 to below a known size."""
        if not np.issubdtype(tokens.dtype, np.integer):
            raise ValueError(f"{where}: dtype: expected whole numbers, got {tokens.dtype}. Convert with astype.")
        self.check(where, tokens, dims, tokens.dtype)
        if tokens.size and not (tokens.min() >= 0 and tokens.max() < self[size]):
            raise ValueError(
                f"{where}: out of range: expected whole numbers from 0 to {self[size] - 1}, got {tokens.min()} to {tokens.max()}. "
                "Number the words anew, or widen what has one row or column a word."
            )


def dtype_of(where: str, parameters: Mapping[str, Array]) -> DType:
    """The dtype of the parameters, that of the first of them. Raises ValueError where it is none that is known."""
    name, first = next(iter(parameters.items()), ("parameters", np.zeros(0)))
    if first.dtype.name not in DTYPES:
        raise ValueError(f"{where}: {name}: dtype: expected one of {', '.join(DTYPES)}, got {first.dtype}. Convert with astype.")
    return first.dtype
