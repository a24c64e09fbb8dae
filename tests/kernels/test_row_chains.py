"""Row chains: every way an operand can go along, folds of rows and over rows, tiles in any order, with and without room
to keep things, and the definitions that are lowered to them.
"""

import numpy as np
import pytest
import row_call
from kernel_call import TYPES, shuffled

import tinyattn as ta
from tinyattn.graph.op import OPS
from tinyattn.graph.types import Type
from tinyattn.kernels.language.chains import CONTIGUOUS, NUMBER, REPEATED, SUMMED
from tinyattn.kernels.language.row_chains import MOST_ROWS, RowChain, phases
from tinyattn.ops import definition
from tinyattn.ops.losses.cross_entropy import cross_entropy_rows
from tinyattn.runtime import rows

SHAPES = [
    (1, 1),
    (5, 1),
    (1, 7),
    (3, 32),
    (130, 20),
    (7, 33),
    (3, 4, 65),
    (2, 3000),
    (2, 3, 2, 40),
    (300, 100),
]
CLOSE = {"f32": {"rtol": 2e-5, "atol": 2e-5}, "f64": {"rtol": 1e-12, "atol": 1e-12}}

# m = max a x, e = exp(a x − m), s = Σ e, y = e / s, l = m + log s: values from 4 on, after x, a, a mask and −∞.
SOFTMAX = [
    ("mul", "real", 0, 1),
    ("where", "real", 2, 4, 3),
    ("max", "real", 5),
    ("sub", "real", 5, 6),
    ("exp", "real", 7),
    ("sum", "real", 8),
    ("div", "real", 8, 9),
    ("log", "real", 9),
    ("add", "real", 6, 11),
]


def operands(dtype, shape):
    """x, a number for each row, and a mask for each column that leaves one at least."""
    random = np.random.default_rng(sum(shape))
    x = random.normal(0, 2, shape).astype(TYPES[dtype])
    scale = random.uniform(0.5, 2, (*shape[:-1], 1)).astype(TYPES[dtype])
    mask = random.random(shape[-1]) > 0.3
    mask[0] = True
    return x, scale, mask


def softmax(x, scale, mask):
    scores = np.where(mask, x.astype(np.float64) * scale, -np.inf)
    top = scores.max(-1, keepdims=True)
    weights = np.exp(scores - top)
    total = weights.sum(-1, keepdims=True)
    return weights / total, (top + np.log(total))[..., 0], weights


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_phases(shape, dtype):
    """Rows, one number a row, and sums over rows, all in one; the same bits in any order of tiles, and where nothing can
    be kept.
    """
    x, scale, mask = operands(dtype, shape)
    tiles = row_call.tiles_of(dtype, shape, True)

    def made(order=None, keeps=True):
        y, log_sum, sums = (np.full(s, 7, TYPES[dtype]) for s in (shape, shape[:-1], (tiles, shape[-1])))
        outputs = [(y, 10, CONTIGUOUS), (log_sum, 12, REPEATED), (sums, 8, SUMMED)]
        row_call.run(dtype, shape, [x, scale, mask, -np.inf], SOFTMAX, outputs, order, keeps)
        return y, log_sum, sums

    y, log_sum, sums = made()
    weights = softmax(x, scale, mask)
    np.testing.assert_allclose(y, weights[0], **CLOSE[dtype])
    np.testing.assert_allclose(log_sum, weights[1], **CLOSE[dtype])
    np.testing.assert_allclose(sums.sum(0), weights[2].reshape(-1, shape[-1]).sum(0), **CLOSE[dtype])
    for other in (made(shuffled(tiles)), made(keeps=False)):
        for a, b in zip((y, log_sum, sums), other, strict=True):
            np.testing.assert_array_equal(a.view(np.uint8), b.view(np.uint8))


@pytest.mark.parametrize("dtype", TYPES)
def test_operands_lie_anywhere(dtype):
    """Rows far apart, repeated rows, axes exchanged: only the numbers of a row follow one another."""
    x, scale, mask = operands(dtype, (4, 5, 70))
    far = np.zeros((5, 4, 100), x.dtype).transpose(1, 0, 2)[..., 10:80]
    far[:] = x
    out, expected = np.zeros_like(x), softmax(x, scale, mask)[0]
    wide = np.zeros((4, 9, 70), x.dtype)[:, 2:7]
    for target in (out, wide):
        row_call.run(
            dtype, x.shape, [far, scale, mask, -np.inf], SOFTMAX, [(target, 10, CONTIGUOUS)], shuffled(1)
        )
        np.testing.assert_allclose(target, expected, **CLOSE[dtype])
    same = x.copy()  # where it is read
    row_call.run(dtype, x.shape, [same, scale, mask, -np.inf], SOFTMAX, [(same, 10, CONTIGUOUS)])
    np.testing.assert_array_equal(same, out)


@pytest.mark.parametrize("fold", ["sum", "prod", "max", "min", "largest", "sum_squares"])
def test_folds(fold):
    x = np.random.default_rng(0).uniform(0.5, 1.5, (70, 45)).astype(np.float32)
    found = np.zeros(70, np.float32)
    steps = [("mul", "real", 0, 1), (fold, "real", 2)]
    row_call.run("f32", x.shape, [x, 0.9], steps, [(found, 3, REPEATED)])
    numbers = x.astype(np.float64) * 0.9
    take = {"sum_squares": lambda a, axis: (a * a).sum(axis), "largest": np.max}.get(fold) or getattr(
        np, fold
    )
    np.testing.assert_allclose(found, take(numbers, 1), rtol=1e-5)


def test_nan_passes_maxima_and_sums():
    x = np.ones((3, 50), np.float32)
    x[1, 17] = np.nan
    top, total = np.zeros(3, np.float32), np.zeros(3, np.float32)
    row_call.run(
        "f32",
        x.shape,
        [x],
        [("max", "real", 0), ("sum", "real", 0)],
        [(top, 1, REPEATED), (total, 2, REPEATED)],
    )
    assert np.isnan(top).tolist() == np.isnan(total).tolist() == [False, True, False]


def test_kinds_beside_reals():
    """A number a row of whole numbers, compared with whole numbers of columns, in a chain of float64 that reads float32."""
    random = np.random.default_rng(0)
    x, target = random.normal(0, 1, (90, 37)).astype(np.float32), random.integers(0, 37, (90, 1))
    steps = [("eq", "i64", 1, 2), ("where", "real", 4, 0, 3), ("sum", "real", 5)]
    picked = np.zeros(90)
    row_call.run("f64", x.shape, [x, target, np.arange(37), 0.0], steps, [(picked, 6, REPEATED)])
    np.testing.assert_array_equal(picked, np.take_along_axis(x, target, 1)[:, 0].astype(np.float64))


def test_plain_python_has_the_same_bits():
    """What readers and debuggers see is what runs: sums in the same order."""
    x, scale, _ = operands("f32", (MOST_ROWS + 3, 45))
    steps = [("sum", "real", 0), ("sub", "real", 0, 2), ("div", "real", 3, 1), ("max", "real", 4)]
    tiles = row_call.tiles_of("f32", x.shape, True)
    found = []
    for pure in (False, True):
        y, top, sums = np.zeros_like(x), np.zeros(len(x), x.dtype), np.zeros((tiles, 45), x.dtype)
        outputs = [(y, 4, CONTIGUOUS), (top, 5, REPEATED), (sums, 4, SUMMED)]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(row_call.config, "DISABLE_JIT", pure)
            row_call.run("f32", x.shape, [x, scale], steps, outputs)
        found.append((y, top, sums))
    for a, b in zip(*found, strict=True):
        np.testing.assert_array_equal(a, b)


def test_what_is_kept_has_a_place_of_its_own():
    """Two values that wait for a sum, of rows that share a block."""
    x = np.random.default_rng(0).normal(0, 1, (9, 50))
    steps = [
        ("exp", "real", 0), ("neg", "real", 0), ("exp", "real", 2), ("sum", "real", 1), ("sub", "real", 1, 3),
        ("div", "real", 5, 4),
    ]  # fmt: skip
    y = np.zeros_like(x)
    row_call.run("f64", x.shape, [x], steps, [(y, 6, CONTIGUOUS)])
    np.testing.assert_allclose(y, 2 * np.sinh(x) / np.exp(x).sum(1, keepdims=True), **CLOSE["f64"])


def test_only_what_takes_long_is_kept():
    inputs, outputs = (("f32", CONTIGUOUS), ("f32", REPEATED), ("bool", CONTIGUOUS), ("f32", NUMBER)), ()
    chain = RowChain(
        "f32",
        tuple((a, b, tuple(c)) for a, b, *c in SOFTMAX),
        inputs,
        (("f32", 10, CONTIGUOUS), *outputs),
        1,
        True,
    )
    plan = phases(chain)
    assert plan.kept == [5, 8]  # the masked scores and the exponentials, not the products and differences
    assert plan.last == 2 and plan.list[2].outputs == [0]
    assert phases(chain._replace(keeps=False)).kept == []


# ---- definitions ----

BY_ROWS = sorted(
    name for name, op in OPS.items() if op.lower is not None and op.lower.__qualname__.startswith("by_rows.")
)


def test_ops_whose_definition_is_their_kernel():
    assert BY_ROWS == sorted(
        name + backward
        for name in ("softmax", "log_softmax", "cross_entropy", "layer_norm", "rms_norm")
        for backward in ("", "_backward")
    )


def test_what_does_not_go_over_rows_is_refused():
    """An op whose definition mixes rows is a mistake of ours, told when it is first compiled, not a wrong result."""

    def mixed(x):
        return x - ta.sum(x, 0, keepdims=True)

    op = definition.hand_derived("test_mixed", definition.like_first, mixed, lower=definition.by_rows())
    try:
        with pytest.raises(NotImplementedError, match="does more than go over rows"):
            rows._program("test_mixed", (Type((3, 4), np.dtype(np.float32)),), (), (None,), False)
    finally:
        del OPS[op.name]


@pytest.mark.parametrize("size", [1, 4])
def test_squares_and_single_numbers(size):
    """Where rows are as many as columns, or one, shapes alone don't tell what is of rows and what of columns."""
    random = np.random.default_rng(0)
    x, weight, bias, mask = (random.normal(size=s) for s in ((size, size), size, size, size))
    y = ta.layer_norm(x, size, weight, bias).numpy()
    expected = (x - x.mean(1, keepdims=True)) / np.sqrt(x.var(1, keepdims=True) + 1e-5) * weight + bias
    np.testing.assert_allclose(y, expected, rtol=1e-9, atol=1e-12)
    scores = x + mask
    weights = np.exp(scores - scores.max(1, keepdims=True))
    np.testing.assert_allclose(
        ta.softmax(x, mask=mask).numpy(), weights / weights.sum(1, keepdims=True), rtol=1e-12
    )
    loss = cross_entropy_rows(x, np.zeros(size, np.int64), label_smoothing=0.1).numpy()
    logs = x - x.max(1, keepdims=True)
    logs -= np.log(np.exp(logs).sum(1, keepdims=True))
    np.testing.assert_allclose(loss, -0.9 * logs[:, 0] - 0.1 * logs.mean(1), rtol=1e-9, atol=1e-12)
