"""Hold a kernel's gradients against hand-written ones, complex step and central differences; look at Jacobian products."""
