"""The same works in PyTorch, JAX and NumPy, each as its users would write it."""
