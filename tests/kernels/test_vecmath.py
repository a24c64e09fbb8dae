"""Elementary functions: within 2 units in the last place everywhere, special values, and no calls to a library (but for
sines far out)."""

import re

import elementwise_call
import numpy as np
import pytest
from kernel_call import TYPES
from numba import config

RANGES = {
    "exp": ((-110, 92), (-750, 715)),
    "expm1": ((-30, 92), (-60, 715)),
    "log": ((0, 20), (0, 20)),
    "log1p": ((-1, 20), (-1, 20)),
    "tanh": ((-12, 12), (-25, 25)),
    "sigmoid": ((-110, 30), (-750, 60)),
    "erf": ((-5, 5), (-7, 7)),
    "sin": ((-3000, 3000), (-3000, 3000)),
    "cos": ((-3000, 3000), (-3000, 3000)),
    "log2": ((0, 20), (0, 20)),
    "log10": ((0, 20), (0, 20)),
    "tan": ((-3000, 3000), (-3000, 3000)),
    "arcsin": ((-1, 1), (-1, 1)),
    "arccos": ((-1, 1), (-1, 1)),
    "arctan": ((-3, 3), (-3, 3)),
    "sinh": ((-90, 90), (-712, 712)),
    "cosh": ((-90, 90), (-712, 712)),
    "arcsinh": ((-5, 5), (-5, 5)),
    "arccosh": ((1, 3), (1, 3)),
    "arctanh": ((-1, 1), (-1, 1)),
}


def _erf(x):
    """2/√π e^(−x²) Σ 2ᵏ x^(2k+1) / (1·3·5 … (2k+1)): all terms are positive, so nothing cancels."""
    size = np.minimum(np.abs(x), 7)
    term = total = size
    for k in range(1, 250):
        term = term * 2 * size * size / (2 * k + 1)
        total = total + term
    pi = np.longdouble("3.14159265358979323846264338327950288")
    return np.sign(x) * 2 / np.sqrt(pi) * np.exp(-size * size) * total


def _sigmoid(x):
    e = np.exp(-np.abs(x))
    return np.where(x < 0, e, 1) / (1 + e)


REFERENCE = {"erf": _erf, "sigmoid": _sigmoid}


def _samples(name, dtype):
    """Numbers of every size, numbers where the function is interesting, and numbers near 0 and 1."""
    number, whole = (np.float32, np.int32) if dtype == "f32" else (np.float64, np.int64)
    random = np.random.default_rng(7)
    low, high = RANGES[name][dtype == "f64"]
    bits = random.integers(np.iinfo(whole).min, np.iinfo(whole).max, 20_000, whole)
    parts = [bits.view(number), random.uniform(low, high, 40_000), random.normal(0, 1, 20_000)]
    parts += [random.normal(0, 1e-3, 5_000), random.normal(1, 0.01, 5_000), random.normal(-1, 0.01, 5_000)]
    x = np.concatenate([part.astype(number) for part in parts])
    return x[np.abs(x) < 1e6] if name == "tan" else x


def _ulps(result, exact):
    """Distance in units in the last place of the exact result; 0 where both round to the same."""
    info = np.finfo(result.dtype)
    rounded = exact.astype(result.dtype)
    exponent = np.maximum(np.frexp(np.abs(exact))[1] - 1, info.minexp)
    distance = np.abs(result - exact) / np.ldexp(np.ones_like(exact), exponent - info.nmant)
    return np.where((result == rounded) | (np.isnan(result) & np.isnan(rounded)), 0, distance)


@pytest.mark.parametrize("dtype", ["f32", "f64"])
@pytest.mark.parametrize("name", RANGES)
def test_within_two_ulp(name, dtype):
    wide = np.float64 if dtype == "f32" and name != "erf" else np.longdouble
    if np.finfo(wide).nmant < 60 and dtype == "f64":
        pytest.skip("needs numbers more exact than float64")
    x = _samples(name, dtype)
    with np.errstate(all="ignore"):
        exact = REFERENCE.get(name, getattr(np, name, None))(x.astype(wide))
        errors = _ulps(elementwise_call.apply(dtype, name, "real", x), exact)
    worst = np.argmax(errors)  # the first NaN, if there is one
    assert errors[worst] <= 2.05, f"{name}({x[worst]!r}) is {errors[worst]} ulp off"


@pytest.mark.parametrize("dtype", ["f32", "f64"])
def test_logarithms_of_powers_of_the_base_are_whole(dtype):
    whole = np.arange(-126, 128) if dtype == "f32" else np.arange(-1022, 1024)
    powers = np.ldexp(np.ones(whole.size, TYPES[dtype]), whole)
    assert np.array_equal(elementwise_call.apply(dtype, "log2", "real", powers), whole)
    whole = np.arange(0, 11 if dtype == "f32" else 23)
    powers = np.array([10.0**n for n in whole.tolist()], TYPES[dtype])
    assert np.array_equal(elementwise_call.apply(dtype, "log10", "real", powers), whole)


@pytest.mark.parametrize("dtype", ["f32", "f64"])
def test_logaddexp_is_exact_far_apart_and_at_infinities(dtype):
    inf, nan = np.inf, np.nan
    x, y = np.meshgrid(
        np.array([0, 1, -1, 1e4, -1e4, inf, -inf, nan, 3e38, -3e38], TYPES[dtype]),
        [0, 1.5, inf, -inf, nan, -1e4],
    )
    x, y = (np.ascontiguousarray(a, TYPES[dtype]) for a in (x, y))
    with np.errstate(all="ignore"):
        np.testing.assert_array_max_ulp(
            elementwise_call.apply(dtype, "logaddexp", "real", x, y), np.logaddexp(x, y), 2
        )


@pytest.mark.parametrize("dtype", ["f32", "f64"])
def test_gelu_keeps_its_digits_far_to_the_left(dtype):
    mpmath = pytest.importorskip("mpmath")
    number, least = (np.float32, -12.8) if dtype == "f32" else (np.float64, -37.3)
    random = np.random.default_rng(7)
    x = np.concatenate([random.uniform(least, 5, 2000), random.normal(0, 1, 2000)]).astype(number)
    with mpmath.workprec(100):
        distribution, density = ([f(float(v)) for v in x] for f in (mpmath.ncdf, mpmath.npdf))
        exact = [float(v) * p for v, p in zip(x, distribution, strict=True)]
        slope = [p + float(v) * d for v, p, d in zip(x, distribution, density, strict=True)]
        for name, given, wanted, among in (
            ("gelu", (x,), exact, np.abs(x) > 0),
            ("gelu_backward", (x, np.ones_like(x)), slope, np.abs(x + 0.75) > 0.5),  # it is 0 at −0.75
        ):
            got = elementwise_call.apply(dtype, name, "real", *given)
            pairs = zip(got[among], np.array(wanted)[among], strict=True)
            errors = [abs(float(a) - b) / float(np.spacing(abs(number(b)))) for a, b in pairs]
            assert max(errors) <= 6, f"{name} is {float(max(errors))} ulp off"


SPECIAL = {
    # results at 0, inf, -inf and -2
    "exp": (1, np.inf, 0, np.exp(-2.0)),
    "expm1": (0, np.inf, -1, np.expm1(-2.0)),
    "log": (-np.inf, np.inf, np.nan, np.nan),
    "log1p": (0, np.inf, np.nan, np.nan),
    "tanh": (0, 1, -1, np.tanh(-2.0)),
    "sigmoid": (0.5, 1, 0, 1 / (1 + np.exp(2.0))),
    "erf": (0, 1, -1, -0.9953222650189527),
    "sin": (0, np.nan, np.nan, np.sin(-2.0)),
    "cos": (1, np.nan, np.nan, np.cos(-2.0)),
    "log2": (-np.inf, np.inf, np.nan, np.nan),
    "log10": (-np.inf, np.inf, np.nan, np.nan),
    "tan": (0, np.nan, np.nan, np.tan(-2.0)),
    "arcsin": (0, np.nan, np.nan, np.nan),
    "arccos": (np.pi / 2, np.nan, np.nan, np.nan),
    "arctan": (0, np.pi / 2, -np.pi / 2, np.arctan(-2.0)),
    "sinh": (0, np.inf, -np.inf, np.sinh(-2.0)),
    "cosh": (1, np.inf, np.inf, np.cosh(2.0)),
    "arcsinh": (0, np.inf, -np.inf, np.arcsinh(-2.0)),
    "arccosh": (np.nan, np.inf, np.nan, np.nan),
    "arctanh": (0, np.nan, np.nan, np.nan),
}


@pytest.mark.parametrize("dtype", ["f32", "f64"])
@pytest.mark.parametrize("name", SPECIAL)
def test_special_values(name, dtype):
    x = np.array([0, np.inf, -np.inf, -2, np.nan], TYPES[dtype])
    expected = np.array([*SPECIAL[name], np.nan], TYPES[dtype])
    np.testing.assert_array_max_ulp(elementwise_call.apply(dtype, name, "real", x), expected, 2)


@pytest.mark.parametrize("dtype", ["f32", "f64"])
def test_subnormal_numbers(dtype):
    info = np.finfo(TYPES[dtype])
    tiny = np.array([info.smallest_subnormal, info.smallest_normal / 3, info.smallest_normal], TYPES[dtype])
    near_identity = "tanh", "expm1", "log1p", "sin", "tan", "arcsin", "arctan", "sinh", "arcsinh", "arctanh"
    for name in near_identity:
        np.testing.assert_array_max_ulp(elementwise_call.apply(dtype, name, "real", tiny), tiny, 1)
    logarithms = elementwise_call.apply(dtype, "log", "real", tiny)
    np.testing.assert_array_max_ulp(logarithms, np.log(tiny.astype(np.longdouble)).astype(TYPES[dtype]), 1)
    small = elementwise_call.apply(dtype, "exp", "real", logarithms)
    assert (np.abs(small - tiny) <= tiny * 1e-3 + info.smallest_subnormal).all()


@pytest.mark.parametrize("dtype", ["f32", "f64"])
@pytest.mark.parametrize("name", [name for name in SPECIAL if SPECIAL[name][0] == 0])
def test_zeros_keep_their_sign(name, dtype):
    x = np.array([-0.0, 0.0] * 20, TYPES[dtype])
    y = elementwise_call.apply(dtype, name, "real", x)
    assert not y.any() and np.array_equal(np.signbit(y), np.signbit(x))


@pytest.mark.parametrize("dtype", ["f32", "f64"])
def test_powers(dtype):
    number = TYPES[dtype]
    random = np.random.default_rng(3)
    x = np.exp(random.normal(0, 3, 20_000)).astype(number)
    y = random.normal(0, 8, 20_000).astype(number)
    with np.errstate(all="ignore"):
        exact = np.power(x.astype(np.longdouble), y.astype(np.longdouble))
        assert _ulps(elementwise_call.apply(dtype, "pow", "real", x, y), exact).max() <= 4

    inf, nan = np.inf, np.nan
    bases = [0, 0.5, 1, 2, -1, -2, -0.5, inf, -inf, nan]
    exponents = [0, 1, -1, 2, 3, -3, 0.5, -0.5, inf, -inf, nan]
    x, y = (np.ascontiguousarray(a, number) for a in np.meshgrid(bases, exponents))
    with np.errstate(all="ignore"):
        np.testing.assert_array_max_ulp(elementwise_call.apply(dtype, "pow", "real", x, y), np.power(x, y), 2)


@pytest.mark.skipif(bool(config.DISABLE_JIT), reason="needs machine code")
@pytest.mark.parametrize("dtype", ["f32", "f64"])
def test_vector_code_without_calls_to_libraries(dtype):
    from tinyattn.kernels.build import generate
    from tinyattn.kernels.language.chains import CONTIGUOUS, Chain

    functions = tuple(RANGES)
    steps = tuple((name, "real", (k,)) for k, name in enumerate(functions))
    assembly = generate.assembly(Chain(dtype, steps, ((dtype, CONTIGUOUS),), ((dtype, len(steps)),), 0))
    called = re.findall(r"\b(?:callq?|bl)\s+([A-Za-z_][\w.]*)(?:@PLT)?$", assembly, re.MULTILINE)
    assert set(called) <= {"sin", "cos"}  # (what they are far out)
    if "vfmadd" in assembly:
        wide = "zmm" if "zmm" in assembly else "ymm"
        assert len(re.findall(rf"vfn?madd\w+\s.*{wide}", assembly)) >= 5 * len(functions)
