"""What other checks would have said of the same faults: PyTorch's gradcheck, plain central differences, a dot-product test."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from verify import differences
from verify.central import loss_of
from verify.data import Data
from verify.evidence import Array
from verify.kernel import Kernel

STEP, RELATIVE = 1e-5, 1e-3
"""Of the plain checks, as lecture notes give them."""


@dataclass
class Plain:
    """The checks on one set of data; the numerical side is computed once, the forward pass being right.

    kernel: the right one. data: its cotangents are those of the loss, of which zero ones are left out of gradcheck's outputs.
    """

    kernel: Kernel
    data: Data

    @cached_property
    def numerical(self) -> dict[str, Array]:
        return differences.central(loss_of(self.kernel, self.data), self.data.flat(), STEP)

    @cached_property
    def direction(self) -> dict[str, Array]:
        rng = np.random.default_rng(3)
        return {block: rng.standard_normal(array.shape) for block, array in self.data.flat().items()}

    @cached_property
    def along(self) -> float:
        loss, blocks = loss_of(self.kernel, self.data), self.data.flat()
        return float(differences.sweep(loss, blocks, self.direction, [STEP])[0])

    def central(self, gradients: dict[str, Array]) -> bool:
        """Whether element by element |a - b| <= 1e-5 + 1e-3 |b| fails somewhere."""
        return any(
            block not in gradients or not np.allclose(gradients[block], array, rtol=RELATIVE, atol=STEP)
            for block, array in self.numerical.items()
        )

    def dot_product(self, gradients: dict[str, Array]) -> bool:
        """Whether <g, v> is further than 1e-3 from the difference quotient along one random direction of everything."""
        got = sum(float((gradients[block] * v).sum()) for block, v in self.direction.items() if block in gradients)
        return not abs(got - self.along) <= RELATIVE * max(abs(got), abs(self.along))

    def gradcheck(self, module: Any) -> bool:
        """Whether torch.autograd.gradcheck with its default tolerances refuses the module."""
        import torch  # type: ignore[import-not-found,unused-ignore]

        data, kernel = self.data, Kernel(module, "planted")
        kernel.dims = self.kernel.dims
        names, outputs = list(data.flat()), [n for n, a in data.cotangents.items() if a.any()]
        last = not next(iter(data.cotangents.values()))[0].any()

        class Function(torch.autograd.Function):  # type: ignore[misc]
            @staticmethod
            def forward(ctx: Any, *blocks: Any) -> Any:
                ctx.data = data.with_flat({name: block.detach().numpy() for name, block in zip(names, blocks, strict=True)})
                found, ctx.tape = kernel.forward(ctx.data)
                return tuple(torch.from_numpy(found[name][-1].copy() if last else found[name].copy()) for name in outputs)

            @staticmethod
            def backward(ctx: Any, *given: Any) -> Any:
                cotangents = {}
                for name, one in zip(outputs, given, strict=True):
                    cotangents[name] = np.zeros_like(data.cotangents[name])
                    cotangents[name][-1 if last else slice(None)] = one.numpy()
                found = kernel.backward(ctx.data, ctx.tape, cotangents)
                return tuple(torch.from_numpy(np.ascontiguousarray(found[name])) for name in names)

        blocks = [torch.from_numpy(array.copy()).requires_grad_() for array in data.flat().values()]
        try:
            return not torch.autograd.gradcheck(Function.apply, blocks, raise_exception=False)
        except Exception:
            return True


def has_torch() -> bool:
    return importlib.util.find_spec("torch") is not None
