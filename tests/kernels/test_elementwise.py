"""Chains of elementwise operations: every operation, every way an array can lie in memory, tiles in any order, in place."""

import math

import elementwise_call
import numpy as np
import pytest
from kernel_call import TYPES, shuffled
from scipy import special

from tinyattn.kernels.language import opcodes
from tinyattn.kernels.language.chains import tiles_of_chain

SHAPES = [(1,), (7,), (16,), (100,), (1024,), (1025,), (3000,), (33, 65), (5, 7, 30), (2000, 3), (4, 1024)]
KINDS = {"i32": np.int32, "i64": np.int64, "bool": np.bool_}

REFERENCE = {
    "copy": lambda x: x,
    "sub": np.subtract,
    "mul": np.multiply,
    "neg": np.negative,
    "abs": np.abs,
    "lt": np.less,
    "le": np.less_equal,
    "gt": np.greater,
    "ge": np.greater_equal,
    "eq": np.equal,
    "ne": np.not_equal,
    "and": np.logical_and,
    "or": np.logical_or,
    "xor": np.logical_xor,
    "not": np.logical_not,
    "div": np.divide,
    "pow": lambda x, y: np.power(x, y) if x.dtype.kind == "f" else _whole_power(x, y),
    "rsqrt": lambda x: 1 / np.sqrt(x),
    "round": np.rint,
    "relu": lambda x: np.maximum(x, 0),
    "step": lambda x: (x > 0).astype(x.dtype),
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "weight": np.exp,
    "dtanh": lambda a, b: a * (1 - b * b),
    "dsigmoid": lambda a, b: a * b * (1 - b),
    "to_f32": lambda x: x.astype(np.float32),
    "gelu": lambda x: x * special.ndtr(x),
    "gelu_backward": lambda x, g: g * _gelu_slope(x),
    "gelu_tanh": lambda x: x * special.expit(_GELU * (x + 0.044715 * x**3)),
    "gelu_tanh_backward": lambda x, g: g * _gelu_tanh_slope(x),
}


def _whole_power(x, y):
    """NumPy's power of whole numbers, which refuses exponents below 0: there it is cut off to a whole number."""
    below = np.where(np.abs(x) == 1, np.where(y % 2 == 0, 1, x), 0)
    return np.where(y < 0, below, np.power(x, np.abs(y), where=y >= 0, out=np.zeros_like(x)))


_GELU = 2 * math.sqrt(2 / math.pi)  # ½ (1 + tanh v) = σ(2v)


def _gelu_slope(x):
    distribution, x = special.ndtr(x), np.where(np.isinf(x), 0, x)  # 0 and 1 at the infinities
    return distribution + x * np.exp(-x * x / 2) / math.sqrt(2 * math.pi)


def _gelu_tanh_slope(x):
    v = _GELU * (x + 0.044715 * x**3)
    s, rest = special.expit(v), special.expit(-v)
    x = np.where(np.isneginf(x), 0, x)  # far to the left the slope is 0
    return s + x * s * rest * _GELU * (1 + 3 * 0.044715 * x * x)


def _numbers(kind, dtype, shape, seed):
    """Numbers of a kind, with zeros, ties and, if they are reals, infinities and NaN."""
    random = np.random.default_rng(seed)
    if kind == "bool":
        return random.random(shape) < 0.5
    if kind in KINDS:
        x = random.integers(-6, 7, shape).astype(KINDS[kind])
        limits = np.iinfo(x.dtype)
        x.flat[: x.size // 50] = random.choice([limits.min, limits.max, limits.min + 1, -1], x.size // 50)
        return x
    x = random.normal(0, 2, shape).astype(TYPES[dtype])
    x.flat[: x.size // 20] = random.choice([0, 1, -1, 2.5, np.inf, -np.inf, np.nan], x.size // 20)
    return random.permutation(x.reshape(-1)).reshape(shape)


def _expected(operation, kind, dtype, arrays):
    if operation == "where":
        return np.where(*arrays)
    if operation.startswith("to_") and operation != "to_f32":
        target = operation.removeprefix("to_")
        return arrays[0].astype(TYPES[dtype] if target == "real" else KINDS[target])
    if operation == "erf":
        return np.array([math.erf(v) for v in arrays[0]])
    return REFERENCE.get(operation, getattr(np, operation, None))(*arrays)


@pytest.mark.parametrize("dtype", ["f32", "f64"])
@pytest.mark.parametrize("key", opcodes.OPCODES, ids=lambda key: f"{key[0]}-{key[1]}")
def test_every_operation(key, dtype):
    operation, kind = key
    opcode = opcodes.OPCODES[key]
    shape = (1111,)
    arrays = [_numbers(k, dtype, shape, seed) for seed, k in enumerate(opcode.arguments)]
    if operation in ("to_i32", "to_i64") and kind == "real":
        arrays[0] = np.nan_to_num(arrays[0], posinf=7, neginf=-7)  # elsewhere the result is undefined
    if operation == "weight":
        arrays[0] = -np.abs(arrays[0])
    result = TYPES[dtype] if opcode.result == "real" else KINDS[opcode.result]
    out = elementwise_call.apply(dtype, operation, kind, *arrays, result=result)
    with np.errstate(all="ignore"):  # whole numbers wrap around
        if opcode.result == "real":
            arrays = [a.astype(np.float64) if a.dtype == np.float32 else a for a in arrays]
        expected = _expected(operation, kind, dtype, arrays)
    if opcode.result == "real":
        size = 2e-6 if dtype == "f32" else 4e-15
        scale = 1.0
        if operation.endswith(
            "_backward"
        ):  # slopes have zeros, near which only the error beside |g| is small
            scale = np.where(np.isfinite(arrays[1]), np.maximum(np.abs(arrays[1]), 0.1), 1.0)
        np.testing.assert_allclose(out / scale, expected.astype(out.dtype) / scale, rtol=size, atol=size / 10)
    else:
        np.testing.assert_array_equal(out, expected)


@pytest.mark.parametrize("dtype", ["f32", "f64"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_layouts(shape, dtype):
    """Contiguous, row and column repeated, a number, transposed, every second, one dimension in the middle, reversed."""
    number = TYPES[dtype]
    random = np.random.default_rng(1)

    def normal(*sizes):
        return random.normal(0, 1, sizes).astype(number)

    x, row, column, one = normal(*shape), normal(shape[-1]), normal(*shape[:-1], 1), np.array(2.5, number)
    transposed = normal(*shape[::-1]).T
    second = normal(*shape[:-1], 2 * shape[-1])[..., ::2]
    middle = normal(*shape[1:-1], 1) if len(shape) > 2 else normal(1)
    backwards = normal(*shape)[..., ::-1]
    outs = [np.zeros(shape, number) for _ in range(2)]
    inputs = [x, row, column, one, transposed, second, middle, backwards]
    steps = [
        ("add", "real", 0, 1),  # value 8
        ("mul", "real", 8, 2),
        ("mul", "real", 9, 3),
        ("add", "real", 10, 4),  # value 11
        ("sub", "real", 11, 5),
        ("mul", "real", 6, 12),
        ("add", "real", 13, 7),  # value 14
    ]
    values = [11, 14]
    elementwise_call.run(dtype, shape, inputs, list(zip(outs, values, strict=True)), steps)
    first = (x + row) * column * one + transposed
    # Products that are added to something aren't rounded.
    close = {"rtol": 1e-6, "atol": 1e-6} if dtype == "f32" else {"rtol": 1e-14, "atol": 1e-14}
    np.testing.assert_allclose(outs[0], first, **close)
    np.testing.assert_allclose(outs[1], (first - second) * middle + backwards, **close)

    again = [np.zeros(shape, number) for _ in range(2)]
    order = shuffled(tiles_of_chain(math.prod(shape[:-1]), shape[-1]))
    elementwise_call.run(dtype, shape, inputs, list(zip(again, values, strict=True)), steps, order)
    for a, b in zip(outs, again, strict=True):
        np.testing.assert_array_equal(a.view(np.uint8), b.view(np.uint8))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", [(5,), (3000,), (70, 33), (3, 500)], ids=str)
def test_layouts_of_other_kinds(shape, kind):
    x, row = (_numbers(kind, "f32", s, i) for i, s in enumerate((shape, shape[-1:])))
    column, transposed = _numbers(kind, "f32", (*shape[:-1], 1), 2), _numbers(kind, "f32", shape[::-1], 3).T
    one = _numbers(kind, "f32", (), 4)
    out = [np.zeros(shape, x.dtype), np.zeros(shape, bool), np.zeros(shape, bool)]
    merge = "xor" if kind == "bool" else "add"
    steps = [(merge, kind, 0, 1), (merge, kind, 5, 2), (merge, kind, 6, 3), (merge, kind, 7, 4)]
    outputs = [(out[0], 8)]
    if kind != "bool":
        steps += [("lt", kind, 0, 1), ("not", "bool", 9)]
        outputs += [(out[1], 9), (out[2], 10)]
    elementwise_call.run("f32", shape, [x, row, column, transposed, np.asarray(one)], outputs, steps)
    join = np.logical_xor if kind == "bool" else np.add
    with np.errstate(all="ignore"):
        expected = join(join(join(join(x, row), column), transposed), one)
    np.testing.assert_array_equal(out[0], expected)
    if kind != "bool":
        np.testing.assert_array_equal(out[1], x < row)
        np.testing.assert_array_equal(out[2], x >= row)


@pytest.mark.parametrize("n", [5, 1024, 2500])
def test_float32_in_the_float64_kernel(n):
    random = np.random.default_rng(0)
    x, y = random.normal(0, 1, (3, n)).astype(np.float32), random.normal(0, 1, (3, n))
    row = random.normal(0, 1, n).astype(np.float32)
    number = np.array(0.1, np.float32)
    narrow, wide = np.zeros((3, n), np.float32), np.zeros((3, n))
    steps = [("mul", "real", 0, 1), ("add", "real", 4, 2), ("mul", "real", 5, 3), ("copy", "real", 6)]
    elementwise_call.run("f64", (3, n), [x, row, y, number], [(narrow, 7), (wide, 6)], steps)
    expected = (x.astype(np.float64) * row + y) * np.float64(number)
    np.testing.assert_allclose(wide, expected, rtol=1e-15)
    np.testing.assert_array_equal(narrow, wide.astype(np.float32))


@pytest.mark.parametrize("n", [3, 100, 5000])
def test_in_place(n):
    """An Adam step that writes parameter and moments where they are."""
    random = np.random.default_rng(2)
    p, g, m, v = (random.normal(0, 1, n) ** 2 for _ in range(4))
    rates = [0.9, 0.1, np.array(0.999), 0.001, 1e-8, -0.01]  # numbers, and one in memory
    new_m = m * 0.9 + g * 0.1
    new_v = v * 0.999 + g * g * 0.001
    new_p = p - 0.01 * new_m / (np.sqrt(new_v) + 1e-8)
    steps = [
        ("mul", "real", 1, 5),
        ("mul", "real", 2, 4),
        ("add", "real", 10, 11),  # value 12: m
        ("square", "real", 1),
        ("mul", "real", 13, 7),
        ("mul", "real", 3, 6),
        ("add", "real", 14, 15),  # value 16: v
        ("sqrt", "real", 16),
        ("add", "real", 17, 8),
        ("div", "real", 12, 18),
        ("mul", "real", 19, 9),
        ("add", "real", 20, 0),  # value 21: p
    ]
    elementwise_call.run("f64", (n,), [p, g, m, v, *rates], [(p, 21), (m, 12), (v, 16)], steps)
    for ours, expected in ((m, new_m), (v, new_v), (p, new_p)):
        np.testing.assert_allclose(ours, expected, rtol=1e-14, atol=1e-16)


def test_nothing_beyond_the_outputs_is_written():
    for n in (1, 15, 17, 1000, 1030):
        frame = np.full(n + 64, 7.0)
        elementwise_call.run("f64", (n,), [np.ones(n)], [(frame[32 : 32 + n], 1)], [("neg", "real", 0)])
        assert (frame[:32] == 7).all() and (frame[32 : 32 + n] == -1).all() and (frame[32 + n :] == 7).all()


@pytest.mark.parametrize("kind", ["f32", "f64", "i32", "bool"])
def test_rows_of_outputs_may_lie_apart(kind):
    """In a slice of a longer array, in another order of the outer axes; the rest of that isn't touched."""
    source = np.arange(2 * 3 * 21).reshape(2, 3, 21) % 7
    source = source.astype({"f32": "f4", "f64": "f8", "i32": "i4", "bool": "?"}[kind])
    whole = np.full((3, 2, 50), 1, source.dtype)
    target = whole.transpose(1, 0, 2)[:, :, 9:30]
    steps = [("copy", kind if kind in ("i32", "bool") else "real", 0)]
    real = kind if kind in ("f32", "f64") else "f32"
    elementwise_call.run(real, source.shape, [source], [(target, 1)], steps)
    expected = np.ones_like(whole)
    expected.transpose(1, 0, 2)[:, :, 9:30] = source
    np.testing.assert_array_equal(whole, expected)


def test_no_elements():
    elementwise_call.run(
        "f32", (0,), [np.ones(0, np.float32)], [(np.ones(0, np.float32), 1)], [("neg", "real", 0)]
    )


def test_more_values_than_registers():
    random = np.random.default_rng(5)
    inputs = [random.normal(0, 1, (3, 700)).astype(np.float32)[:, ::2] for _ in range(100)]
    out = np.zeros((3, 350), np.float32)
    steps = [("add", "real", 0, 1), *(("add", "real", 98 + i, i) for i in range(2, 100))]
    elementwise_call.run("f32", (3, 350), inputs, [(out, 198)], steps)
    np.testing.assert_allclose(out, np.sum(inputs, 0, dtype=np.float64), rtol=1e-4, atol=1e-4)


def test_equal_chains_share_code_and_others_do_not():
    from tinyattn.kernels.language.chains import CONTIGUOUS, SCALAR, Chain

    def chain(*ways, operation="add"):
        return Chain("f32", ((operation, "real", (0, 1)),), tuple(("f32", w) for w in ways), (("f32", 2),), 0)

    assert chain(CONTIGUOUS, SCALAR).name == chain(CONTIGUOUS, SCALAR).name
    names = {
        c.name
        for c in (
            chain(CONTIGUOUS, SCALAR),
            chain(SCALAR, CONTIGUOUS),
            chain(CONTIGUOUS, SCALAR, operation="sub"),
        )
    }
    assert len(names) == 3


def test_reductions_are_numbered_in_order():
    assert sorted(opcodes.FOLDS.values()) == list(range(len(opcodes.FOLDS)))
