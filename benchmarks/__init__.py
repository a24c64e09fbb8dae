"""Timings of tinyattn beside NumPy, PyTorch and JAX, in turns in the same process. See README.md."""
