"""How each kernel is called: its argument words by name, and into how many tiles its work falls.

A tile is what one thread does at a time. Its size is fixed by the arguments alone, so that results don't depend on who
does it. Kernels take their tile sizes from here, and callers ask here how many tiles to announce. Nothing here needs
Numba, and nothing but the plans of matrix products needs LLVM.
"""
