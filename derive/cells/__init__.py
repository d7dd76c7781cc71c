"""The built-in cells. Each file declares one cell as SymPy equations; `derive.cells.registry` finds them here."""
