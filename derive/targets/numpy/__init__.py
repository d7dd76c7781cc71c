"""NumPy: procedures as Python text, and the module around them."""
