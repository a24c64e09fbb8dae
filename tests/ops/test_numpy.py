"""NumPy's values: every elementwise operation and reduction on special numbers of all five types, and the table of what
differs by intent (docs/numpy.md).
"""

import math
import re
from pathlib import Path

import numpy as np
import pytest
from engine import compiled
from op_table import ELEMENTWISE_ROWS, ROWS

import tinyattn as ta
from tinyattn.errors import DTypeError, ShapeError, TinyattnError
from tinyattn.runtime import reference

TYPES = tuple(map(np.dtype, (np.float32, np.float64, np.int32, np.int64, np.bool_)))
pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")


def grid(dtype):
    """Special numbers of a type."""
    if dtype.kind == "b":
        return np.array([False, True])
    if dtype.kind == "i":
        limits = np.iinfo(dtype)
        return np.array([0, 1, -1, 2, -3, 7, (1 << 24) + 1, limits.min, limits.max, limits.min + 1], dtype)
    limits = np.finfo(dtype)
    positive = [0.0, 0.5, 0.002, 1.0, 2.5, 3.0, 7.0, 87.0, 1e-20, 1e4, 1e9, 1e20, math.inf]
    positive += [float(limits.smallest_normal), float(limits.smallest_subnormal), float(limits.max)]
    return np.array([*positive, *(-x for x in positive), math.nan], dtype)


def same(found, expected, where):
    """Equal to rounding; integers and bools exactly, zeros with their sign."""
    found, expected = np.asarray(found), np.asarray(expected)
    assert found.shape == expected.shape, where
    if found.dtype.kind != "f":
        wrong = found != expected
    else:
        limits = np.finfo(found.dtype)
        wrong = ~np.isclose(
            found, expected, rtol=16 * limits.eps, atol=2 * limits.smallest_subnormal, equal_nan=True
        )
        wrong |= (found == 0) & (expected == 0) & (np.signbit(found) != np.signbit(expected))
    assert not wrong.any(), f"{where} at {np.argwhere(wrong).tolist()}: {found[wrong]}, not {expected[wrong]}"


def by_numpy(function, arrays, kind):
    """NumPy's value by our rules of types: bools count as int64; and where the result is floating-point, integers as
    float32.
    """
    dtype = arrays[0].dtype
    if kind == "f" and dtype.kind != "f":
        return np.asarray(function(*(a.astype(np.float32).astype(np.float64) for a in arrays))).astype(
            np.float32
        )
    return np.asarray(
        function(*(a.astype(np.int64) if kind == "i" and dtype.kind == "b" else a for a in arrays))
    )


def check(call, function, arrays, where):
    node = call(*map(ta.tensor, arrays))
    expected = by_numpy(function, arrays, node.dtype.kind)
    same(compiled([node])[0], expected, where)
    same(reference.evaluate([node])[0], expected, f"{where}, interpreted")
    return node, expected


SKIPPED = {
    "where",
    "clip",
    "stop_gradient",
    "cast",
    "logical_and",
    "logical_or",
    "logical_xor",
    "logical_not",
}
WHOLE = "add sub mul neg abs sign square maximum minimum power floor ceil round floor_divide mod relu".split()
"""Operations that make integers of integers."""


@pytest.mark.parametrize(
    "row", [r for r in ELEMENTWISE_ROWS if r.name not in SKIPPED], ids=lambda row: row.name
)
@pytest.mark.parametrize("dtype", TYPES, ids=str)
def test_elementwise_operations_on_special_numbers(row, dtype):
    values = grid(dtype)
    count = max(len(s.inputs) for s in row.samples)
    arrays = [values] if count == 1 else [np.repeat(values, len(values)), np.tile(values, len(values))]
    node, _ = check(row.call, row.numpy, arrays, f"{row.name} of {dtype}")
    if dtype.kind != "f" and row.name in WHOLE:
        assert node.dtype.kind == "i"


KEEP_ZEROS = "neg mul div floor ceil round sqrt sin sub power mod floor_divide square".split()


@pytest.mark.parametrize("name", KEEP_ZEROS)
@pytest.mark.parametrize("dtype", TYPES[:2], ids=str)
def test_zeros_keep_their_sign(name, dtype):
    row = next(r for r in ROWS if r.name == name)
    values = np.array([0.0, -0.0, 0.3, -0.3, 1.0, -1.0, 3.0, -3.0], dtype)
    count = max(len(s.inputs) for s in row.samples)
    arrays = [values] if count == 1 else [np.repeat(values, len(values)), np.tile(values, len(values))]
    found = compiled([row.call(*map(ta.tensor, arrays))])[0]
    expected = row.numpy(*arrays)
    zero = expected == 0
    wrong = zero & (np.signbit(found) != np.signbit(expected))
    assert not wrong.any(), [a[wrong] for a in arrays]


REDUCTIONS = {
    "sum": np.sum, "prod": np.prod, "max": np.max, "min": np.min, "mean": np.mean, "any": np.any, "all": np.all,
    "argmax": np.argmax, "argmin": np.argmin, "cumsum": np.cumsum, "var": np.var, "count_nonzero": np.count_nonzero,
}  # fmt: skip


def rows(dtype):
    """Arrays of two axes: ordinary numbers, ties, zeros, NaN and infinities, the least and largest integers."""
    rng = np.random.default_rng(5)
    if dtype.kind == "b":
        return [rng.random((3, 5)) < 0.5, np.zeros((2, 3), bool), np.ones((2, 70), bool)]
    small = rng.integers(-3, 4, (3, 5)).astype(dtype)
    if dtype.kind == "i":
        return [small, rng.choice(grid(dtype), (4, 70)), np.zeros((2, 3), dtype)]
    infinite = small.copy()
    infinite[0, 1], infinite[1, 2], infinite[2, :2] = math.nan, math.inf, (math.inf, -math.inf)
    return [small, infinite, np.full((2, 3), -0.0, dtype), rng.standard_normal((3, 70)).astype(dtype)]


@pytest.mark.parametrize("name", REDUCTIONS)
@pytest.mark.parametrize("dtype", TYPES, ids=str)
def test_reductions_on_special_numbers(name, dtype):
    for array in rows(dtype):
        if name in ("mean", "var") and dtype.kind == "i" and np.abs(array.astype(float)).max() > 1e6:
            continue  # (float32 holds them roughly)
        for axis in (0, 1, None):
            if axis is None and name == "cumsum":
                continue
            where = f"{name} of {array.dtype} {array.shape} over {axis}"
            node = getattr(ta, name)(ta.tensor(array), axis=axis)
            expected = REDUCTIONS[name](array, axis=axis)
            if name in ("mean", "var") and dtype.kind != "f":
                assert node.dtype == np.float32
            elif dtype.kind != "f" or name in ("any", "all", "argmax", "argmin", "count_nonzero"):
                assert node.dtype == np.asarray(expected).dtype, where
            found, expected = compiled([node])[0], np.asarray(expected).astype(node.dtype)
            if node.dtype.kind == "f":
                np.testing.assert_allclose(
                    found, expected, rtol=2e-5 if node.dtype == np.float32 else 1e-13, atol=1e-5
                )
            else:
                same(found, expected, where)
                same(reference.evaluate([node])[0], expected, where)


@pytest.mark.parametrize("name", [*REDUCTIONS, "logsumexp"])
@pytest.mark.parametrize("dtype", TYPES, ids=str)
def test_reductions_of_nothing(name, dtype):
    empty = np.zeros((0, 3), dtype)
    numpy = REDUCTIONS.get(name, np.logaddexp.reduce)
    try:
        expected = np.asarray(numpy(empty, axis=0))
    except ValueError:
        expected = np.array(math.nan)
    if np.isnan(expected.astype(float)).any():
        with pytest.raises(ShapeError, match="must not be empty"):
            getattr(ta, name)(ta.tensor(empty), axis=0)
        return
    found = getattr(ta, name)(ta.tensor(empty), axis=0).numpy()
    assert found.tolist() == expected.tolist()
    assert getattr(ta, name)(ta.tensor(empty), axis=1).shape == numpy(empty, axis=1).shape


# The table.

PAGE, _, FUNCTIONS = (
    Path(__file__).parents[2].joinpath("docs/numpy.md").read_text("utf-8").partition("## Beside PyTorch")
)
TABLE = re.findall(r"^\| `(.+?)` \| (.+?) \| (.+?) \| (.+?) \|", PAGE, re.M)
BESIDE = re.findall(r"^\| `(.+?)` \| (.+?) \| `(.+?)` \| (.+?) \|", FUNCTIONS, re.M)
KINDS = {"f32": "f4", "f64": "f8", "i32": "i4", "i64": "i8", "u8": "u1", "u64": "u8", "f16": "f2", "b": "?"}


def evaluated(expression, library, make):
    """The value of an expression as text: a type, numbers, or ``error``."""
    names = {short: lambda x, t=t: make(np.array(x, t)) for short, t in KINDS.items()}
    refusals = TinyattnError if library is ta else (TypeError, ValueError, RuntimeError)
    if library.__name__ == "torch":
        names |= {"torch": library, "F": library.nn.functional}
    try:
        return f"`{_plain(eval(expression, {'xp': library, 'np': np, 'ta': ta, **names}))}`".replace(
            "torch.", ""
        )
    except refusals:
        return "error"


def _plain(value):
    """Without what it is wrapped in: numbers, lists, tuples, types."""
    if isinstance(value, tuple):
        return tuple(map(_plain, value))
    value = value.detach() if hasattr(value, "detach") else value
    value = value.numpy() if isinstance(value, ta.Tensor) else value
    return value.tolist() if hasattr(value, "tolist") else value


def test_there_is_a_table():
    assert len(TABLE) > 40 and any(numpy != ours for _, numpy, _, ours in TABLE) and len(BESIDE) > 5


@pytest.mark.parametrize(("expression", "numpy", "torch", "ours"), TABLE, ids=[row[0] for row in TABLE])
def test_the_table_of_differences_is_true(expression, numpy, torch, ours):
    assert evaluated(expression, np, lambda x: x) == numpy
    assert evaluated(expression, ta, ta.tensor) == ours


@pytest.mark.filterwarnings("ignore")
def test_the_tables_say_what_torch_does():
    """Without torch the tables are the record."""
    torch = pytest.importorskip("torch")
    said = {**{row[0]: row[2] for row in TABLE}, **{row[0]: row[1] for row in BESIDE}}
    found = {expression: evaluated(expression, torch, torch.from_numpy) for expression in said}
    assert found == said


@pytest.mark.parametrize(("expression", "ours"), [row[2:] for row in BESIDE], ids=[row[2] for row in BESIDE])
def test_what_stands_beside_torch_is_true(expression, ours):
    assert evaluated(expression, ta, ta.tensor) == ours


# What was wrong.

t = ta.tensor


def test_any_and_all_of_numbers_are_bools():
    assert ta.any(t([0.0, 2.0, 3.0])).numpy() == np.True_ and ta.any(t([0.0, 2.0])).dtype == np.bool_
    assert not ta.all(t([5, 0])).numpy() and ta.all(t([5, -1])).numpy() and ta.any(t([math.nan])).numpy()
    assert not ta.any(ta.zeros((0,))).numpy() and ta.all(ta.zeros((0,))).numpy()
    assert ta.all(ta.zeros((2, 0)), axis=1, keepdims=True).numpy().tolist() == [[True], [True]]


def test_remainders_are_exact():
    for dtype in (np.float32, np.float64):
        a, b = (
            np.array([1e20, 0.5, 1.0, -1.0, 5.3, -5.3, 1e-3], dtype),
            np.array([7, 0.002, math.inf, math.inf, -0.7, 0.7, 1e3], dtype),
        )
        assert np.array_equal(ta.mod(t(a), t(b)).numpy(), np.mod(a, b))
        assert np.array_equal(ta.floor_divide(t(a), t(b)).numpy(), np.floor_divide(a, b))
    rng = np.random.default_rng(0)
    a, b = (np.ldexp(rng.standard_normal(20_000), rng.integers(-300, 300, 20_000)) for _ in range(2))
    assert np.array_equal(ta.mod(t(a), t(b)).numpy(), np.mod(a, b))


def test_sines_far_out():
    x = np.array([1e9, 1e10, 1e20, 1e30, 3e38, -1e15, 123456789.0], np.float32)
    for wide in (x, np.array([1e9, 1e22, 1e300, 2.0**1000, -1e16, 1e6 + 0.1])):
        for name in ("sin", "cos"):
            found = compiled([getattr(ta, name)(t(wide))])[0]
            exact = getattr(np, name)(wide.astype(np.longdouble)).astype(wide.dtype)
            np.testing.assert_array_max_ulp(found, exact, 2)


def test_powers_of_zero_have_its_sign():
    assert ta.power(t([-0.0, -0.0, 0.0]), t([-1.0, -2.0, -1.0])).numpy().tolist() == [
        -math.inf,
        math.inf,
        math.inf,
    ]


def test_integers_stay_integers_and_exact():
    big = np.array([[2**53 + 1, 1]])
    assert (t(big) @ t(big.T)).numpy().tolist() == (big @ big.T).tolist()
    assert (t(big) ** 1).numpy().tolist() == big.tolist() and ta.power(t([3]), 39).numpy() == 3**39
    assert ta.power(t([3]), t([41])).numpy()[0] == np.power(np.int64(3), 41)  # wraps
    for name in ("floor", "ceil", "round", "relu"):
        assert getattr(ta, name)(t(big)).numpy().tolist() == big.tolist()
    assert ta.einsum("ij,kj->ik", t(big), t(big)).numpy().tolist() == (big @ big.T).tolist()
    with pytest.raises(DTypeError, match=r"\[pow\] integers must have exponents ≥ 0, but got -2"):
        t([2]) ** -2


def test_sums_of_int32_are_int64():
    x = np.full(3, 2**31 - 1, np.int32)
    for name in ("sum", "prod", "cumsum"):
        found, expected = getattr(ta, name)(t(x)).numpy(), getattr(np, name)(x)
        assert found.dtype == expected.dtype == np.int64 and np.array_equal(found, expected)
    assert ta.cumsum(t([True, True, False])).numpy().tolist() == [1, 2, 2]
    assert ta.mean(t(np.full(49, 1))).numpy() == 1 and ta.mean(t(x)).numpy() == np.float32(2**31 - 1)


def test_variances_with_too_many_degrees_of_freedom():
    for ddof in (3, 4):
        assert ta.var(t([1.0, 2.0, 3.0]), ddof=ddof).numpy() == math.inf
        assert np.isnan(ta.var(t([2.0, 2.0, 2.0]), ddof=ddof).numpy())


def test_what_an_index_and_a_range_may_not_be():
    x = t(np.arange(6.0).reshape(2, 3))
    with pytest.raises(ShapeError, match=r"\[index\] an index must hold ... once at most"):
        x[..., ...]
    with pytest.raises(ShapeError, match=r"\[arange\] the step must not be 0"):
        ta.arange(0, 3, 0)
    assert x[[]].shape == (0, 3) and x[:, []].shape == (2, 0)
    assert x[[]].numpy().tolist() == []


def test_padding_may_be_nan():
    found = ta.pad(t([1.0]), [(1, 2)], math.nan).numpy()
    assert np.array_equal(found, [math.nan, 1, math.nan, math.nan], equal_nan=True)
    with pytest.raises(DTypeError, match=r"\[pad\] i64 must be padded with an integer, but got nan"):
        ta.pad(t([1]), [(1, 1)], math.nan)
    with pytest.raises(DTypeError, match="eps must be a number"):
        ta.layer_norm(x := ta.zeros((2, 3)), x.shape[1], eps=math.nan)
