"""Arrays by name, read the way an equation reads."""

from typing import Any, TypeAlias

from numpy.typing import NDArray

Array: TypeAlias = NDArray[Any]
"""float32, float64 or complex128, the same in all arguments of a call."""


class Named(dict[str, Array]):
    """A dict whose entries are attributes too, so that `p.W_i @ x` stands for W_i x."""

    def __getattr__(self, name: str) -> Array:
        if name not in self:
            raise AttributeError(f"no array is named {name}: expected one of {', '.join(self)}.")
        return self[name]

    def __setattr__(self, name: str, array: Array) -> None:
        self[name] = array
