"""Sums in buckets, in one process: in whatever order these are written, the same bits."""

import numpy as np
import pytest

from tinyattn.ranks.buckets import Buckets

BLOCKS = [2, 1, 3]


@pytest.mark.parametrize("terms", [1, 3, 8])
def test_sums_are_those_of_the_tree(terms):
    random = np.random.default_rng(terms)
    values = random.standard_normal((terms, 4 * sum(BLOCKS))).astype(np.float32)
    buckets = Buckets(BLOCKS, 4, terms, np.dtype(np.float32), whole=True)
    levels = list(values)
    while len(levels) > 1:  # in pairs; a last one without a partner waits
        levels = [sum(levels[k + 1 : k + 2], levels[k]) for k in range(0, len(levels), 2)]
    for _ in range(2):
        buckets.begin()
        for term in buckets.terms:
            rooms = buckets.room(term)
            for k in random.permutation(len(rooms))[: random.integers(len(rooms) + 1)]:
                rooms[k][:] = values[term][buckets.spans[k]]
                buckets.told(int(k))
            for k in range(buckets._added, len(rooms)):  # (who isn't told of the others is told of the end)
                rooms[k][:] = values[term][buckets.spans[k]]
            buckets.close()
        assert np.array_equal(buckets.end(), levels[0])


def test_no_more_arrays_are_kept_than_there_are_nodes():
    buckets = Buckets(BLOCKS, 4, 8, np.dtype(np.float32), whole=True)
    for term in buckets.terms:
        for room in buckets.room(term):
            room[:] = 1
        buckets.close()
    assert (buckets.end() == 8).all()
    assert len(buckets._rooms) <= 4
