"""From scheduled programs to the text of a NumPy module: `names`, then `expressions`, then one function at a time in `functions`."""
