"""The op table: one row for each public operation, and for each internal one that derivatives are made of.

Everything that is tested of every operation (values, derivatives, layouts, mutations, texts of errors) is driven by these rows; a new
operation is tested by adding one.
"""

from dataclasses import replace

import numpy as np
from op_rows_arrays import ARRAY_ROWS
from op_rows_attention import ATTENTION_ROWS
from op_rows_convolution import CONVOLUTION_ROWS
from op_rows_losses import LOSS_ROWS
from op_rows_memory import MEMORY_ROWS
from op_rows_norm import NORM_ROWS
from op_rows_rearrange import REARRANGED_ROWS
from op_rows_sdpa import SDPA_ROWS
from op_rows_sorting import SORTING_ROWS
from op_sample import Row, edges, sample
from scipy import special

import tinyattn as ta
from tinyattn.errors import DTypeError, ShapeError
from tinyattn.graph.point import above_one, apart, fixed, flags, inside, integers, positive, real

_LETTERS = "got an array of <U1"


def _unary(name, numpy, *samples, draw=real, torch=None, **more) -> Row:
    samples = samples or (sample(draw(3, 4)), sample(draw()), sample(draw(0, 3)), sample(draw(2, 67)))
    errors = [
        (
            lambda: getattr(ta, name)(np.array(["a"])),
            DTypeError,
            f"[tensor] the data must be numbers of type float32, float64, int32, int64 or bool, but {_LETTERS}.",
        )
    ]
    theirs = (
        None if torch is None else (lambda t, x: getattr(t, torch)(x)) if isinstance(torch, str) else torch
    )
    more.setdefault("special", [edges()])
    return Row(name, getattr(ta, name), numpy, samples, theirs, errors, **more)


def _binary(name, numpy, *samples, left=real, right=real, torch=None, needs_number=True, **more) -> Row:
    samples = samples or (
        sample(left(3, 4), right(3, 4)),
        sample(left(3, 1), right(2, 1, 4)),
        sample(left(), right(5)),
        sample(left(0, 3), right(3)),
        sample(left(3, 67), right(67)),
    )
    errors = [
        (
            lambda: getattr(ta, name)(_float(2, 3), _float(4)),
            ShapeError,
            f"[{getattr(ta, name)(_float(), _float()).op.name}] the shapes must broadcast together (each axis equal, or 1), "
            "but got (2, 3) and (4,): axis -1 is 3 against 4.",
        )
    ]
    theirs = (
        None
        if torch is None
        else (lambda t, a, b: getattr(t, torch)(a, b))
        if isinstance(torch, str)
        else torch
    )
    more.setdefault("special", [edges(2)])
    more.setdefault("errors", errors if needs_number else ())
    return Row(name, getattr(ta, name), numpy, samples, theirs, **more)


def _float(*shape):
    return ta.zeros(shape)


_NUMBERS = sample(integers(9, 4, 5, low=-9), integers(7, 5, low=-6, dtype=np.int32))
_PAIRS = (sample(apart(3, 4), apart(4)), _NUMBERS, sample(real(0, 2), real(2)), sample(flags(5), flags(4, 5)))
_SUMS = (
    *(sample(real(3, 4), real(3, 4)), sample(real(3, 1), real(2, 1, 4)), sample(real(), real(5)), sample(real(0, 3), real(3))),
    sample(fixed([0.0, 1.0, 40.0, -1e4]), fixed([0.0, 1.0, -40.0, 1e4])),
)  # fmt: skip
_BOOLS = (sample(flags(3, 4), flags(4)), sample(flags(0), flags(1)), sample(flags(), flags(70)))


def _integer_safe(function, zero):
    """NumPy's division, with 0 where an integer is divided by 0."""

    def divide(a, b):
        if a.dtype.kind == "f" or b.dtype.kind == "f":
            return function(a, b)
        return np.where(b == 0, zero, function(a, np.where(b == 0, 1, b)))

    return divide


def _power(a, b):
    """NumPy's power, with what is left of a whole number where integers have an exponent below 0."""
    if np.result_type(a, b).kind == "f":
        return np.power(a, b)
    return np.where(b < 0, np.where(np.abs(a) == 1, a ** np.abs(b % 2), 0), np.power(a, np.maximum(b, 0)))


def _bool_row(name, numpy, count=2) -> Row:
    samples = _BOOLS if count == 2 else (sample(flags(3, 4)), sample(flags(0)), sample(flags(70)))
    op, got = name.removeprefix("logical_"), ["f32[2]"] * count
    errors = [
        (
            lambda: getattr(ta, name)(*[_float(2)] * count),
            DTypeError,
            f"[{op}] operands must be bool, but got {got}.",
        )
    ]
    return Row(name, getattr(ta, name), numpy, samples, errors=errors)


def _clip_torch(t, x, low=None, high=None):
    x = x if low is None else t.maximum(x, t.tensor(low, dtype=x.dtype))
    return x if high is None else t.minimum(x, t.tensor(high, dtype=x.dtype))


_CONDITION = "[where] the condition must be bool, but got f32[2]."
_KINDS = "[cast] the element type must be float32, float64, int32, int64 or bool, but got 'complex64'."

ELEMENTWISE_ROWS = [
    _binary("add", np.add, torch="add"),
    _binary("sub", np.subtract, torch="sub"),
    _binary("mul", np.multiply, torch="mul"),
    _binary("div", np.divide, right=positive, torch="div"),
    _unary("neg", np.negative, torch="neg"),
    _unary("abs", np.abs, torch="abs"),
    _unary("sign", np.sign, torch="sign"),
    _unary("square", np.square, torch="square"),
    _unary("sqrt", np.sqrt, draw=positive, torch="sqrt"),
    _unary("exp", np.exp, torch="exp"),
    _unary("expm1", np.expm1, torch="expm1"),
    _unary("log", np.log, draw=positive, torch="log"),
    _unary("log1p", np.log1p, draw=positive, torch="log1p"),
    _unary("tanh", np.tanh, torch="tanh"),
    _unary("sin", np.sin, torch="sin", special=[edges(without=["1e+20"])]),
    _unary("cos", np.cos, torch="cos", special=[edges(without=["1e+20"])]),
    _unary("log2", np.log2, draw=positive, torch="log2"),
    _unary("log10", np.log10, draw=positive, torch="log10"),
    _unary("tan", np.tan, draw=inside, torch="tan", special=[edges(without=["1e+20"])]),
    _unary("sinh", np.sinh, torch="sinh"),
    _unary("cosh", np.cosh, torch="cosh"),
    _unary("arcsin", np.arcsin, draw=inside, torch="arcsin"),
    _unary("arccos", np.arccos, draw=inside, torch="arccos"),
    _unary("arctan", np.arctan, torch="arctan"),
    _unary("arcsinh", np.arcsinh, torch="arcsinh"),
    _unary("arccosh", np.arccosh, draw=above_one, torch="arccosh"),
    _unary("arctanh", np.arctanh, draw=inside, torch="arctanh"),
    _binary("logaddexp", np.logaddexp, *_SUMS, torch="logaddexp"),
    _unary("silu", lambda x: x * special.expit(x), torch=lambda t, x: t.nn.functional.silu(x)),
    Row(
        "elu", ta.elu, lambda x, alpha=1.0: np.where(x > 0, x, alpha * np.expm1(np.where(x > 0, 0, x))),
        [sample(real(3, 4)), sample(real(3, 4), alpha=0.5), sample(real()), sample(real(0, 3))],
        torch=lambda t, x, alpha=1.0: t.nn.functional.elu(x, alpha), special=[edges()],
        errors=[(lambda: ta.elu(_float(2), "x"), DTypeError, "[elu] alpha must be a number, but got 'x'.")],
    ),
    _unary("log_sigmoid", lambda x: -np.logaddexp(0, -x), torch=lambda t, x: t.nn.functional.logsigmoid(x)),
    _unary("sigmoid", special.expit, torch="sigmoid"),
    _unary("erf", special.erf, torch="erf"),
    _unary("relu", lambda x: np.maximum(x, 0), torch="relu"),
    _unary("leaky_relu", lambda x: np.where(x > 0, x, 0.01 * x), torch=lambda t, x: t.nn.functional.leaky_relu(x)),
    _unary("softplus", lambda x: np.logaddexp(x, 0), torch=lambda t, x: t.nn.functional.softplus(x, threshold=1e6)),
    _binary("maximum", np.maximum, torch="maximum"),
    _binary("minimum", np.minimum, torch="minimum"),
    _binary("power", _power, left=positive, torch="pow"),
    _unary("floor", np.floor, torch="floor"),
    _unary("ceil", np.ceil, torch="ceil"),
    _unary(
        "round", lambda x, decimals=0: np.round(x, decimals), sample(real(3, 4)), sample(real()), sample(real(0, 3)), sample(real(2, 5), decimals=2),
        sample(fixed([15.0, 25.0, -25.0, 149.0, 1e5]), decimals=-1), sample(integers(999, 3, 4, low=-999), decimals=-2), sample(integers(99, 4), decimals=3),
        sample(fixed(np.array([5, 15, 25, -5, -15, 2**31 - 8], np.int32)), decimals=-1), torch=lambda t, x, decimals=0: t.round(x, decimals=decimals)
        if x.is_floating_point() else x.double().div(10.0**-decimals).round().mul(10.0**-decimals),
    ),
    _binary(
        "floor_divide", _integer_safe(np.floor_divide, 0), sample(real(3, 4), positive(4)), _NUMBERS, sample(real(0, 2), real(2)),
        special=(),
    ),  # fmt: skip
    _binary(
        "mod", _integer_safe(np.mod, 0), sample(real(3, 4), positive(4)), replace(_NUMBERS, peer=False), sample(real(0, 2), real(2)), torch="remainder",
        special=(),
    ),  # fmt: skip
    _binary("less", np.less, *_PAIRS),
    _binary("less_equal", np.less_equal, *_PAIRS),
    _binary("greater", np.greater, *_PAIRS),
    _binary("greater_equal", np.greater_equal, *_PAIRS),
    _binary("equal", np.equal, *_PAIRS),
    _binary("not_equal", np.not_equal, *_PAIRS),
    _unary("isfinite", np.isfinite),
    _bool_row("logical_and", np.logical_and),
    _bool_row("logical_or", np.logical_or),
    _bool_row("logical_xor", np.logical_xor),
    _bool_row("logical_not", np.logical_not, 1),
    Row(
        "where", ta.where, np.where,
        [sample(flags(3, 4), real(3, 4), real(4)), sample(flags(3, 1), real(1, 4), real()), sample(flags(0, 1), real(3), real(0, 3))],
        torch=lambda t, c, a, b: t.where(c, a, b),
        errors=[(lambda: ta.where(_float(2), 1.0, 0.0), DTypeError, _CONDITION)],
        special=[sample(fixed([True, False, True, False]), fixed([np.nan, np.nan, np.inf, 1.0]), fixed([0.0, 2.0, np.nan, -np.inf]))],
    ),
    Row(
        "clip", ta.clip, lambda x, low=None, high=None: np.clip(x, -np.inf if low is None else low, np.inf if high is None else high),
        [sample(real(3, 4), low=-0.5, high=0.7), sample(real(5), low=0.1), sample(real(5), high=0.1), sample(real(0), low=0.0)],
        torch=_clip_torch,
    ),
    Row(
        "stop_gradient", ta.stop_gradient, lambda x: x, [sample(real(3, 4)), sample(real(0))],
        torch=lambda t, x: x.detach(),
    ),
    Row(
        "cast", ta.cast, lambda x, dtype: x.astype(dtype),
        [
            sample(real(3, 4), dtype=np.float64), sample(flags(3, 4), dtype=np.float64), sample(real(3, 7), dtype=np.int32),
            sample(real(0, 4), dtype=np.int64), sample(integers(3, 4), dtype=np.bool_), sample(real(3), dtype=np.bool_),
            sample(integers(9, 4), dtype=np.int32),
        ],
        errors=[(lambda: ta.cast(_float(2), "complex64"), DTypeError, _KINDS)],
    ),
]  # fmt: skip

_INTEGERS = (sample(integers(9, 3, 5, low=-9)), sample(integers(9, 70, low=-9, dtype=np.int32)))
_WIDE, _THIN = integers(9, 4, 5, low=-9), integers(9, 5, 5, low=-9, dtype=np.int32)
_PRODUCTS = (
    sample(_WIDE, _THIN), sample(_THIN, _THIN), sample(integers(9, 5), _THIN), sample(integers(9, 3, 1, 2, 5), _THIN),
    sample(integers(9, 0, 5), _THIN), sample(integers(9, 2, 0), integers(9, 0, 3)), sample(integers(2**40, 3, 4, low=-(2**40)), integers(2**40, 4, 70)),
)  # fmt: skip
INTEGER_ROWS = [
    Row(f"{name} of integers", (lambda x, y: ta.einsum("ij,kj->ki", x, y)) if name == "einsum" else getattr(ta, name), numpy, samples, constant="integers")
    for name, numpy, samples in [
        ("add", np.add, (_NUMBERS,)), ("sub", np.subtract, (_NUMBERS,)), ("mul", np.multiply, (_NUMBERS,)),
        ("maximum", np.maximum, (_NUMBERS,)), ("minimum", np.minimum, (_NUMBERS,)), ("neg", np.negative, _INTEGERS),
        ("abs", np.abs, _INTEGERS), ("sign", np.sign, _INTEGERS), ("square", np.square, _INTEGERS),
        ("sum", np.sum, _INTEGERS), ("prod", np.prod, _INTEGERS), ("max", np.max, _INTEGERS), ("min", np.min, _INTEGERS),
        ("argmax", np.argmax, _INTEGERS), ("cumsum", lambda x: np.cumsum(x, 0), _INTEGERS), ("power", _power, (_NUMBERS,)),
        ("floor", np.floor, _INTEGERS), ("ceil", np.ceil, _INTEGERS), ("round", np.round, _INTEGERS), ("relu", lambda x: np.maximum(x, 0), _INTEGERS),
        ("matmul", np.matmul, _PRODUCTS), ("einsum", lambda x, y: np.einsum("ij,kj->ki", x, y), _PRODUCTS[:1]),
    ]
]  # fmt: skip

ROWS = [
    *ELEMENTWISE_ROWS,
    *INTEGER_ROWS,
    *ARRAY_ROWS,
    *REARRANGED_ROWS,
    *ATTENTION_ROWS,
    *SDPA_ROWS,
    *NORM_ROWS,
    *LOSS_ROWS,
    *MEMORY_ROWS,
    *CONVOLUTION_ROWS,
    *SORTING_ROWS,
]

assert len({row.name for row in ROWS}) == len(ROWS)
