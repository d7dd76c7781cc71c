"""Kernels in PyTorch: the textbook's procedures as operations on tensors, and a layer whose gradients they are."""
