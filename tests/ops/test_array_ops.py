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


def test_the_mask_of_a_score_function_gets_the_cotangent_of_the_scores():
    scores, mask = ta.tensor(np.random.default_rng(0).standard_normal((2, 3))), ta.tensor(np.zeros(3))
    term = ta.score_function(scores, np.eye(3)[:2], 1.0, mask=mask, entropy_weight=0.1).sum()
    of_scores, of_mask = (g.numpy() for g in ta.grad(term, [scores, mask]))
    assert np.allclose(of_mask, of_scores.sum(0)) and np.abs(of_mask).max() > 0.1


_ROW, _STATE, _CELL = np.ones((1, 2)), np.ones((3, 4)), (np.ones((16, 2)), np.ones((16, 4)))


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: ta.ones((2, 3))[::0], "[index] start, stop and step of a slice must be integers or None, the step not 0, but got 0."),
        (lambda: ta.ones((2, 3))[ta.tensor(1) :], "[index] start, stop and step of a slice must be integers or None, the step not 0, but got <Tensor"),
        (lambda: ta.index_update(ta.ones(3), slice(None, None, 0), 1.0), "[index] start, stop and step"),
        (lambda: ta.bernoulli(np.full((3, 1), 0.5), (3,)), "[broadcast_to] (3, 1) must broadcast"),
        (lambda: ta.lstm_cell(_ROW, (_STATE, _STATE), *_CELL), "[lstm_cell] x (B, I), h (B, H)"),
        (lambda: ta.lstm_cell(_ROW, (_STATE[:1], _STATE), *_CELL), "[lstm_cell] h and c must have one shape, but got (1, 4) and (3, 4)."),
        (lambda: ta.gru_cell(_ROW, _STATE, np.ones((12, 2)), np.ones((12, 4))), "[gru_cell] x (B, I), h (B, H)"),
        (lambda: ta.pad(ta.tensor([1, 2]), ((1, 1),), 0.5), "[pad] i64 must be padded with an integer, but got 0.5."),
        (lambda: ta.nn.spectral_norm(ta.nn.Linear(3, 4), dim=7), "[spectral_norm] the axis must be an integer from -2 to 1, but got 7."),
        (lambda: ta.nn.MultiheadAttention(4, 2)(None, _STATE, _STATE), "[MultiheadAttention] query must be given"),
        (lambda: ta.nn.Embedding(10, 4, padding_idx=1.5), "[Embedding] padding_idx must lie in 0..9, but got 1.5."),
        (lambda: ta.nn.Linear(3, 4).load_state_dict(None), "[load_state_dict] the state must be a dict of arrays, but got NoneType."),
    ],
)  # fmt: skip
def test_wrong_arguments_are_one_sentence(call, text):
    with pytest.raises(ta.TinyattnError) as error:
        call()
    assert str(error.value).startswith(text)


def test_a_module_that_was_refused_its_norm_is_whole():
    layer = ta.nn.Linear(3, 4)
    with pytest.raises(ta.ShapeError):
        ta.nn.spectral_norm(layer, dim=7)
    assert [name for name, _ in layer.named_parameters()] == ["weight", "bias"]


def test_whole_numbers_between_bounds_are_numpys():
    assert ta.linspace(-1.5, 1.5, 4, dtype=np.int64).numpy().tolist() == [-2, -1, 0, 1]
