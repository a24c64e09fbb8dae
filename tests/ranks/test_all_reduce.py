"""Sums over ranks as part of a graph, with their derivative."""

from under_mpi import needs_mpi, said, start

PROGRAM = """
import numpy as np, tinyattn as ta
from tinyattn.distributed import all_reduce, rank, size
x = np.arange(7, dtype=np.{dtype}) + 10 * rank()

@ta.function
def step(x):
    y = all_reduce(2 * x)
    _, ys = ta.scan(lambda c, v: (c, all_reduce(v)), ta.zeros(()), x)
    return y, ta.grad(ta.sum((rank() + 1) * y * y), x), ys

y, slope, ys = step(x)
total = 2 * sum(np.arange(7, dtype=np.{dtype}) + 10 * k for k in range(size()))
assert y.dtype == x.dtype and np.array_equal(y, total)
assert np.array_equal(slope, 2 * sum(2 * (k + 1) * total for k in range(size())))  # of what all ranks make of y
assert np.array_equal(2 * ys, total)
assert np.array_equal(all_reduce(ta.tensor(x)).numpy(), total / 2)
if rank() == 0:
    print("right", size())
"""


@needs_mpi
def test_ranks_add_up():
    float32, float64 = (start(n, "-c", PROGRAM.format(dtype=d)) for n, d in ((3, "float32"), (2, "float64")))
    assert said(float32) == "right 3"
    assert said(float64) == "right 2"


def test_one_process_is_rank_0_of_1():
    import tinyattn as ta

    assert (ta.distributed.rank(), ta.distributed.size()) == (0, 1)
