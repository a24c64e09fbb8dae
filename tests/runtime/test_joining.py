"""Parts of a concatenation that are computed right where they are joined."""

import numpy as np
import pytest

import tinyattn as ta
from tinyattn.runtime.plan import rows_of


def kernels(function, *arrays):
    return [row.kernel for row in rows_of(function.program(*arrays).lowered.main)]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("seed", range(12))
def test_joined_results_are_those_of_numpy(seed, dtype):
    """Whatever else reads the parts: another concatenation, a view, a product, the caller."""
    random = np.random.default_rng(seed)
    ndim = int(random.integers(1, 4))
    axis = int(random.integers(ndim))
    shape = [int(n) for n in random.choice([1, 2, 3, 17, 40], ndim)]
    widths = [int(n) for n in random.choice([0, 1, 2, 16, 33], 3)]
    arrays = []
    for width in widths:
        shape[axis] = width
        arrays.append(random.integers(-3, 4, shape).astype(dtype))  # (all results are exact)
    picks = [int(k) for k in random.integers(0, 6, 4)]
    shown = [int(k) for k in random.integers(0, 6, 2)]

    def everything(library, x, y, z):
        values = [x * 2 + 1, y * y, z * 3 - 1, x - 4, y, z * z * z]
        join = library.concat if library is ta else np.concatenate
        first = join([values[k] for k in picks], axis)
        second = join([first * first, values[picks[0]], values[picks[0]]], axis)
        turned = [values[k].transpose(tuple(reversed(range(ndim)))) for k in picks[:2]]
        return first, second, join(turned, ndim - 1 - axis), *[values[k] for k in shown]

    got = ta.function(lambda *given: everything(ta, *given))(*arrays)
    for ours, expected in zip(got, everything(np, *arrays), strict=True):
        np.testing.assert_array_equal(ours, expected)


def test_parts_are_written_where_they_are_joined():
    x, y = np.ones((4, 8), np.float32), np.ones((4, 3), np.float32)
    joined = ta.function(lambda x, y: ta.concat([x * 2, y + 1, x * x], 1))
    assert kernels(joined, x, y) == ["elementwise.chain"] * 3
    with_input = ta.function(lambda x, y: ta.concat([x * 2, y, x * x], 1))
    assert kernels(with_input, x, y) == ["elementwise.chain"] * 2 + ["copy.strided"]


def test_what_something_else_reads_is_made_in_one_piece():
    x, w = np.ones((4, 8), np.float32), np.ones((8, 8), np.float32)

    @ta.function
    def both(x, w):
        y = x * 2
        return ta.concat([y, y + 1], 1), y @ w

    assert sorted(kernels(both, x, w)) == ["copy.strided", "elementwise.chain", "gemm.multiply"]


@pytest.mark.parametrize("reverse", [False, True])
def test_a_state_that_is_joined_of_parts(reverse):
    """Carries and stacks of a loop have places of their own; parts go right there."""

    def step(state, x):
        first, second = ta.split(state, 2, 1)
        new = ta.concat([second * x + 1, ta.tanh(first) - x], 1)
        return new, (new, state)

    xs = np.random.default_rng(0).normal(size=(5, 3, 4)).astype(np.float32)
    last, (after, before) = ta.function(lambda xs: ta.scan(step, ta.ones((3, 8)), xs, reverse=reverse))(xs)
    state, states = np.ones((3, 8), np.float32), {}
    for t in reversed(range(5)) if reverse else range(5):
        old = state
        state = np.concatenate([old[:, 4:] * xs[t] + 1, np.tanh(old[:, :4]) - xs[t]], 1)
        states[t] = old, state
    np.testing.assert_allclose(last, state, rtol=1e-5, atol=1e-6)
    for t, (old, new) in states.items():
        np.testing.assert_allclose(before[t], old, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(after[t], new, rtol=1e-5, atol=1e-6)


def test_gradients_are_written_one_after_the_other():
    """In the shapes of their weights, though the products make transposes of them, and some are joined before."""
    random = np.random.default_rng(0)
    x, y = (random.integers(-3, 4, (5, 3 + k)).astype(np.float32) for k in range(2))

    @ta.function
    def flat(x, y):
        parts = [(x.T @ x[:, :2]).T, x.T @ x, ta.sum(x * y[:, :3], 0), ta.concat([(y.T @ x), x * 2])]
        return ta.concat([ta.reshape(part, (-1,)) for part in parts])

    parts = [x[:, :2].T @ x, x.T @ x, (x * y[:, :3]).sum(0), y.T @ x, x * 2]
    np.testing.assert_array_equal(flat(x, y), np.concatenate([part.ravel() for part in parts]))
    assert "copy.strided" not in kernels(flat, x, y)


@pytest.mark.parametrize("inner", [0, 1, 9])
def test_a_product_writes_its_transpose(inner):
    random = np.random.default_rng(inner)
    a, b = random.integers(-3, 4, (2, inner, 7)).astype(np.float64)
    np.testing.assert_array_equal(
        ta.function(lambda a, b: ta.concat([(a.T @ b).T, b.T @ b]))(a, b), np.concatenate([b.T @ a, b.T @ b])
    )
    wide = ta.function(lambda a, b: ta.concat([ta.reshape((a.T @ b[:, :5]).T, (-1,)), b[:1, 0]]))
    np.testing.assert_array_equal(wide(a, b), np.concatenate([(b[:, :5].T @ a).ravel(), b[:1, 0]]))


def test_what_no_kernel_writes_turned_is_copied():
    random = np.random.default_rng(0)
    x = random.standard_normal((4, 6)).astype(np.float32)
    given = ta.function(
        lambda x: ta.concat([ta.cumsum(x, 1).T, ta.softmax(x, -1).T, x[ta.tensor([2, 0, 1, 1])].T])
    )
    alone = [ta.cumsum(x, 1).numpy().T, ta.softmax(x, -1).numpy().T, x[[2, 0, 1, 1]].T]
    np.testing.assert_array_equal(given(x), np.concatenate(alone))
