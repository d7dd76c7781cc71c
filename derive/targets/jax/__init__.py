"""JAX: procedures as functions of arrays that nothing writes to, their loops as scans, and the module around them."""
