"""Results that somebody is told of while the program goes on."""

import numpy as np

import tinyattn as ta
from tinyattn.runtime.function import Function


def _told(fn, *arrays, out):
    """What each result was when its number was told, and when all was done; and all numbers, in order."""
    seen = []
    function = Function(fn, lambda k: seen.append((k, [array.copy() for array in out])))
    function(*arrays, out=tuple(out))
    return seen


def test_a_result_is_there_when_it_is_told_and_later_ones_are_not():
    x = np.arange(12, dtype=np.float32).reshape(3, 4)
    expected = [x @ x.T, x @ x.T @ x, x @ x.T @ x @ x.T]
    out = [np.full_like(array, -1) for array in expected]

    def chain(x):
        first = x @ x.T
        second = first @ x
        return first, second, second @ x.T

    seen = _told(chain, x, out=out)
    assert [k for k, _ in seen] == [0, 1, 2]
    for k, arrays in seen:
        assert all(np.array_equal(*pair) for pair in zip(arrays[: k + 1], expected, strict=False))
        assert all((array == -1).all() for array in arrays[k + 1 :])


def test_what_a_loop_makes_and_what_is_given_are_told_once_each():
    x = np.arange(6, dtype=np.float64)
    out = [np.zeros(()), np.zeros(6), np.zeros(6), np.zeros(0)]

    def loop(x):
        total, sums = ta.scan(lambda c, v: (c + v, c + v), ta.zeros((), np.float64), x)
        return total, sums, x, x[:0]

    seen = _told(loop, x, out=out)
    assert sorted(k for k, _ in seen) == [0, 1, 2, 3]
    found = {k: arrays[k] for k, arrays in seen}
    for k, value in enumerate([15.0, np.cumsum(x), x, x[:0]]):
        assert np.array_equal(found[k], value)
