"""C from procedures: a file of C11 with vector extensions, and the Python module that compiles it on first use and calls it."""
