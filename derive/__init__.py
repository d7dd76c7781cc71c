"""Derive the backward pass of a recurrent cell from its forward equations, as formulas and as a NumPy kernel."""
