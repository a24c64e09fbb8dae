"""Array operations as users write them: methods, and derivatives where a formula would divide by zero."""

import itertools

import numpy as np
import pytest
from engine import compiled

import tinyattn as ta

X = np.arange(6.0).reshape(2, 3)


METHODS = {
    "std": ((1,), {"ddof": 1}),
    "swapaxes": ((0, 1), {}),
    "flatten": ((), {}),
    "ravel": ((), {}),
    "repeat": ((2, 1), {}),
    "diagonal": ((1,), {}),
    "trace": ((), {}),
    "tolist": ((), {}),
    "cumprod": ((1,), {}),
    "argsort": ((0,), {}),
    "argmax": ((1,), {"keepdims": True}),
    "argmin": ((), {"keepdims": True}),
    "round": ((-1,), {}),
}


@pytest.mark.parametrize("name", METHODS)
def test_methods_are_numpys(name):
    arguments, attrs = METHODS[name]
    found, right = (getattr(x, name)(*arguments, **attrs) for x in (ta.tensor(X), X))
    np.testing.assert_allclose(np.asarray(found), right, rtol=1e-15)
    assert name != "tolist" or found == right


@pytest.mark.parametrize("order", [None, 1, 2, 3, 1.5, np.inf, "fro"], ids=str)
def test_the_gradient_of_a_norm_at_the_zero_vector_is_zero(order):
    x = ta.tensor(np.zeros((2, 3)))
    y = ta.norm(x, order, axis=(0, 1) if order == "fro" else 1)
    first = ta.grad(y.sum(), x)
    second = ta.grad((first * X).sum(), x)
    for found in compiled([first, second]):
        assert not found.any()  # (NaN counts as something)


def test_the_gradient_of_a_constant_rows_deviation_is_zero():
    x = ta.tensor(np.array([[2.0, 2.0, 2.0], [1.0, 2.0, 3.0]]))
    g = ta.grad(ta.std(x, 1).sum(), x).numpy()
    assert not g[0].any() and np.allclose(g[1], np.array([-1, 0, 1]) / np.sqrt(6))


def test_nan_behind_a_triangle_reaches_neither_value_nor_gradient():
    x = ta.tensor(np.array([[1.0, np.nan], [2.0, 3.0]]))
    y = ta.tril(x)
    assert np.array_equal(y.numpy(), [[1, 0], [2, 3]])
    assert np.array_equal(ta.grad((y * y).sum(), x).numpy(), [[2, 0], [4, 6]])


@pytest.mark.parametrize("name", ["silu", "elu", "log_sigmoid", "logaddexp", "arcsinh", "arctan"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_derivatives_far_out_are_finite_and_right(name, dtype):
    large = np.array([-1e20, -1e4, -200, -1e-30, 0, 1e-30, 200, 1e4, 1e20], dtype)
    x = ta.tensor(large)
    y = ta.logaddexp(x, 0.0) if name == "logaddexp" else getattr(ta, name)(x)
    first = ta.grad(y.sum(), x)
    second = ta.grad(first.sum(), x)
    with np.errstate(all="ignore"):
        sigmoid = 1 / (1 + np.exp(-large.astype(np.float64)))
        right = {
            "silu": sigmoid + np.where(np.abs(large) > 100, 0, large * sigmoid * (1 - sigmoid)),
            "elu": np.where(large > 0, 1, np.exp(large.astype(np.float64))),
            "log_sigmoid": 1 / (1 + np.exp(large.astype(np.float64))),
            "logaddexp": sigmoid,
            "arcsinh": 1 / np.hypot(1, large.astype(np.float64)),
            "arctan": 1 / (1 + large.astype(np.float64) ** 2),
        }[name]
    found = compiled([first, second])
    np.testing.assert_allclose(found[0], right, rtol=1e-5 if dtype == np.float32 else 1e-13, atol=1e-37)
    assert np.isfinite(found[1]).all()


def test_a_sorted_numbers_cotangent_goes_back_to_where_it_was():
    x = ta.tensor(np.array([3.0, np.nan, 1.0, 2.0]))
    y = x.sort()
    assert np.array_equal(y.numpy(), [1, 2, 3, np.nan], equal_nan=True)
    weights = np.array([10.0, 20.0, 30.0, 40.0])
    assert np.array_equal(ta.grad((y * weights)[:3].sum(), x).numpy(), [30, 0, 10, 20])


def test_nan_off_a_diagonal_does_not_reach_it():
    x = np.array([[1.0, np.nan], [np.inf, 2.0]])
    assert np.array_equal(ta.einsum("ii->i", x).numpy(), [1, 2])
    assert ta.einsum("ii", x).item() == ta.trace(x).item() == 3


@pytest.mark.parametrize("decimals", [1, -1, 3, -2])
def test_whole_numbers_are_rounded_exactly(decimals):
    x = np.array([2**53 + 5, -(2**53) - 15, 25, 35, -25, 150, 250, 0], np.int64)
    right = [round(v, decimals) for v in x.tolist()]
    assert ta.round(x, decimals).tolist() == right


def test_too_many_decimals_are_refused():
    with pytest.raises(ta.TinyattnError, match=r"^\[round\] decimals must lie in −37..37, but got 400"):
        ta.round(np.float32(1.5), 400)


@pytest.mark.parametrize("shape", list(itertools.product((1, 2, 3), repeat=3)))
def test_entries_along_an_axis_are_numpys(shape):
    rng = np.random.default_rng(0)
    x = rng.standard_normal(shape).astype(np.float32)
    for axis, count, *single in itertools.product(
        range(3), (1, 2), (False, True), (False, True), (False, True)
    ):
        sizes = [1 if one else size for one, size in zip(single, shape, strict=True)]
        sizes[axis] = count
        places = rng.integers(-shape[axis], shape[axis], sizes)
        whole = np.broadcast_to(places, [count if a == axis else size for a, size in enumerate(shape)])
        assert np.array_equal(ta.take_along_axis(x, places, axis).numpy(), np.take_along_axis(x, whole, axis))
