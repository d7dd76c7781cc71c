"""A cell as a kernel that is neither emitted nor printed: its equations as read, and its derived backward pass as interpreted."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from derive.shapes import dims_of
from verify.data import Data, Dims
from verify.equations import Equations
from verify.model import Model

Array = NDArray[Any]


class Interpreted:
    """A module of the contract, without checks."""

    def __init__(self, model: Model) -> None:
        self.model, cell = model, model.cell
        values = (cell.parameters, cell.inputs, cell.states, cell.outputs)
        tables = [{value.name: dims_of(value) for value in some} for some in values]
        self.PARAMETERS, self.INPUTS, self.STATES, self.OUTPUTS = tables

    def forward(self, parameters: Mapping[str, Array], inputs: Mapping[str, Array], state: Any = None) -> tuple[Any, Any]:
        steps, batch = next(iter(inputs.values())).shape[:2]
        data = Data(dict(parameters), dict(inputs), dict(state or {}), {}, steps, batch)
        data = self.model.names.at_data(data).data(data)
        sizes = self.model.names.at_data(data).sizes
        return Equations(self.model.cell, sizes).outputs(data), (data, sizes)

    def backward(self, parameters: Mapping[str, Array], tape: Any, cotangents: Mapping[str, Array]) -> SimpleNamespace:
        data, sizes = tape
        dims = Dims(self.PARAMETERS, self.INPUTS, self.STATES, {**self.STATES, **self.OUTPUTS}, sizes)
        found = self.model.gradients(dims, data, cotangents)
        parts = ((self.PARAMETERS, "{}"), (self.INPUTS, "input {}"), (self.STATES, "initial {}"))
        results = [{name: np.asarray(found[label.format(name)]) for name in table} for table, label in parts]
        return SimpleNamespace(parameters=results[0], inputs=results[1], state=results[2])
