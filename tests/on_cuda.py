"""The comparisons with PyTorch, PyTorch's side of them on a GPU: `python -m pytest -p tests.on_cuda tests/test_pytorch.py`."""

from __future__ import annotations

import numpy as np
import torch

to_numpy = torch.Tensor.numpy


def brought_back(tensor: torch.Tensor) -> np.ndarray:
    """What `Tensor.numpy()` gives of a tensor on any device."""
    return to_numpy(tensor.cpu())


torch.set_default_device("cuda")
torch.Tensor.numpy = brought_back  # type: ignore[method-assign, assignment]
