"""``ta.distributed``: training on several machines, as a program of one's own sees it.

    mpirun -n 4 python train.py

``ta.Experiment(...).train()`` needs none of this: under ``mpirun`` the ranks share the work by themselves. Each rank
runs the same program; they are told apart by ``rank()``, and ``all_reduce`` adds up what they have.
"""

from tinyattn.ops.arrays.across import all_reduce
from tinyattn.ranks import rank, size

__all__ = ["all_reduce", "rank", "size"]
