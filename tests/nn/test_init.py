"""Initial values: their distributions, and that they never change."""

import numpy as np
import pytest

import tinyattn as ta
from tinyattn import errors, nn
from tinyattn.nn import init


def test_initial_values_depend_on_the_seed_and_the_order_only():
    ta.manual_seed(5)
    first, second = init.uniform(1000), init.uniform(1000)
    ta.manual_seed(5)
    assert np.array_equal(first, init.uniform((1000,))) and np.array_equal(second, init.uniform(1000))
    assert np.abs(np.corrcoef(first, second)[0, 1]) < 0.1
    ta.manual_seed(6)
    assert not np.array_equal(first, init.uniform(1000))
    ta.manual_seed(0)
    single = nn.GRU(3, 4)
    ta.manual_seed(0)
    double = nn.GRU(3, 4, dtype=np.float64)
    for name, array in double.state_dict().items():
        assert np.array_equal(single.state_dict()[name], array.astype(np.float32))


def test_initial_values_never_change():
    ta.manual_seed(42)
    assert init.uniform(3).tolist() == [0.8201981478608876, 0.18924562408645496, 0.8676608148821462]


@pytest.mark.parametrize(
    "values, std, bound",
    [
        (lambda: init.uniform((200, 300), -2, 2), 2 / np.sqrt(3), 2),
        (lambda: init.normal((200, 300), std=0.5), 0.5, None),
        (lambda: init.xavier_uniform((200, 300)), np.sqrt(2 / 500), np.sqrt(6 / 500)),
        (lambda: init.xavier_normal((200, 300), gain=2), 2 * np.sqrt(2 / 500), None),
        (lambda: init.kaiming_uniform((200, 300)), np.sqrt(2 / 300), np.sqrt(6 / 300)),
        (lambda: init.kaiming_normal((200, 300), gain=1, mode="fan_out"), np.sqrt(1 / 200), None),
        (lambda: init.kaiming_normal((100, 20, 5, 6)), np.sqrt(2 / 600), None),
        (lambda: nn.Linear(300, 200).weight.numpy(), 1 / np.sqrt(900), 1 / np.sqrt(300)),
        (lambda: nn.LSTM(30, 100).weight_hh_l0.numpy(), 0.1 / np.sqrt(3), 0.1),
    ],
)
def test_initial_values_have_their_distributions(values, std, bound):
    ta.manual_seed(1)
    found = values()
    assert abs(found.std() / std - 1) < 0.02
    assert abs(found.mean()) < 0.03 * std
    # Moments of order 4: 9/5 for uniform, 3 for normal numbers.
    kurtosis = ((found / found.std()) ** 4).mean()
    assert abs(kurtosis - (3 if bound is None else 1.8)) < 0.1
    if bound is not None:
        assert bound * 0.99 < np.abs(found).max() <= bound


def test_orthogonal_and_zeros():
    for shape in ((4, 4), (6, 3), (3, 6)):
        q = init.orthogonal(shape, gain=2.0)
        product = q.T @ q if shape[0] >= shape[1] else q @ q.T
        np.testing.assert_allclose(product, 4 * np.eye(min(shape)), atol=1e-12)
    assert init.orthogonal((2, 3, 4)).shape == (2, 3, 4)
    assert np.array_equal(init.zeros((2, 3)), np.zeros((2, 3)))
    with pytest.raises(
        errors.ShapeError, match=r"\[init\] a weight must have the axes \(out, in, …\), but got shape \(3,\)"
    ):
        init.xavier_uniform(3)
    with pytest.raises(
        errors.TinyattnError, match=r"\[init\] mode must be 'fan_in' or 'fan_out', but got 'fan'"
    ):
        init.kaiming_normal((2, 3), mode="fan")


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (
            lambda: ta.nn.Dropout("a"),
            "[Dropout] the probability of dropping must lie in [0, 1), but got 'a'.",
        ),
        (
            lambda: ta.nn.LayerNorm(None),
            "[LayerNorm] normalized_shape must be a positive integer, but got None.",
        ),
        (
            lambda: ta.nn.RMSNorm([4, "b"]),
            "[RMSNorm] normalized_shape must be a positive integer, but got 'b'.",
        ),
    ],
)
def test_what_is_no_number_is_refused(make, text):
    with pytest.raises(errors.ShapeError) as error:
        make()
    assert str(error.value).splitlines()[0] == text
