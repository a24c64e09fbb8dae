"""Elementary functions without branches, tables or libm, which LLVM turns into vector code wherever a loop
uses them.

Each factory takes a :class:`~tinyattn.kernels.real.Real` and returns a function of one number of that type,
inlined into the kernel. The pattern is always the same three steps: *reduce* the argument to a small interval
with an exact trick (for ``exp``, x = n ln 2 + r with |r| ≤ ½ ln 2), *approximate* there with a short
polynomial, and *rebuild* the result (2ⁿ eʳ, by writing n into the exponent bits). Where a case needs another
formula, both are computed and the right one selected. The polynomials are minimax fits (Remez' exchange
algorithm) of the formulas stated beside them, rounded to the type. Results are within 2 ulp everywhere,
subnormal numbers included; NaN goes through.

Two constants recur. Adding ``1.5·2^p`` (p mantissa bits) to a number rounds it to an integer that then stands
in the lowest mantissa bits; subtracting it again gives the integer as a number. Hence no conversions between
integers and reals, which many machines lack for vectors.
"""

import math

import numpy as np

from tinyattn.kernels import coefficients, simd
from tinyattn.kernels.real import inline
from tinyattn.kernels.simd import polynomial, select


class _Layout:
    """The bits of a floating-point type: how to get at them, and the numbers that depend on their widths."""

    def __init__(self, real):
        single, number = real.name == "f32", real.type
        self.to_bits = simd.f32_to_bits if single else simd.f64_to_bits
        self.from_bits = simd.f32_from_bits if single else simd.f64_from_bits
        self.integer = integer = np.int32 if single else np.int64
        self.mantissa = 23 if single else 52

        def bits(value):
            return integer(np.asarray(value, number).view(integer))

        self.round = number(1.5 * 2.0**self.mantissa)
        self.one_bits = bits(1)
        self.smallest_normal = np.finfo(number).smallest_normal
        # ln 2 in two parts; the first has so few bits that its product with any exponent is exact.
        self.ln2_high = number(0.693359375 if single else 0.6931471803691238)
        self.ln2_low = number(-0.00021219444005469057 if single else 1.9082149292705877e-10)
        # e^x is 0 below the first and infinite above the second; tanh x is ±1 beyond ±limit.
        self.exp_range = (-104.5, 89.0) if single else (-746.0, 710.0)
        self.tanh_limit = 10.0 if single else 20.0
        # To split a number at √½ instead of at 1, shift its bits by the distance between the two.
        self.sqrt_half_bits = bits(math.sqrt(0.5))
        self.split_shift = integer(self.one_bits - self.sqrt_half_bits)
        self.fraction = integer((1 << self.mantissa) - 1)
        # Exponent bits e or-ed into 2^mantissa give the number 2^mantissa + e.
        self.exponent_bits = bits(2.0**self.mantissa)
        self.exponent_base = number(2.0**self.mantissa + (127 if single else 1023))


def _nearest(real):
    """``x -> round(x / ln 2)``, left standing in the lowest mantissa bits."""
    per_ln2, rounding = real.type(1 / math.log(2)), _Layout(real).round

    @inline
    def nearest(x):
        return x * per_ln2 + rounding

    return nearest


def _expm1_reduced(real):
    """``(x, nearest(x)) -> e^r − 1`` for the remainder r = x − n ln 2."""
    layout, tail = _Layout(real), polynomial(*coefficients.EXP[real.name])
    rounding, high, low = layout.round, layout.ln2_high, layout.ln2_low

    @inline
    def expm1_reduced(x, nearest):
        n = nearest - rounding
        r = x - n * high
        r = r - n * low
        return r + r * r * tail(r)

    return expm1_reduced


def _power_of_two(real):
    """``bits -> 2ⁿ`` for the n in the lowest bits of ``bits``, by moving it to the exponent's place."""
    layout = _Layout(real)
    integer, from_bits, mantissa, one = layout.integer, layout.from_bits, layout.mantissa, layout.one_bits

    @inline
    def power_of_two(bits):
        return from_bits(integer(integer(bits << mantissa) + one))

    return power_of_two


def exp(real):
    """eˣ = 2ⁿ eʳ, with 2ⁿ in two factors so that results beyond the range of normal numbers are rounded once."""
    layout, number = _Layout(real), real.type
    integer, to_bits = layout.integer, layout.to_bits
    nearest, expm1_reduced, power_of_two = _nearest(real), _expm1_reduced(real), _power_of_two(real)
    one, smallest, largest = number(1), *map(number, layout.exp_range)

    @inline
    def exp(x):
        x = select(x < smallest, smallest, x)
        x = select(x > largest, largest, x)
        z = nearest(x)
        n = to_bits(z)
        half = integer(n >> 1)
        return (one + expm1_reduced(x, z)) * power_of_two(half) * power_of_two(integer(n - half))

    return exp


def _log_reduced(real):
    """``(n, f, c) -> n ln 2 + ln(1 + f) + c``, for a small correction c."""
    layout, number = _Layout(real), real.type
    tail, two, half = polynomial(*coefficients.LOG[real.name]), number(2), number(0.5)
    high, low = layout.ln2_high, layout.ln2_low

    @inline
    def log_reduced(n, f, c):
        s = f / (two + f)
        z = s * s
        square = half * f * f
        # n·high is exact, then f, then the rest from small to large.
        return n * high - ((square - (s * (square + z * tail(z)) + (n * low + c))) - f)

    return log_reduced


def expm1(real):
    """eˣ − 1 = 2 (2ⁿ⁻¹(eʳ − 1) + (2ⁿ⁻¹ − ½)): half of it, because 2ⁿ itself may be too large for a number."""
    layout, number = _Layout(real), real.type
    nearest, expm1_reduced, power_of_two = _nearest(real), _expm1_reduced(real), _power_of_two(real)
    integer, to_bits, half = layout.integer, layout.to_bits, number(0.5)
    smallest, largest = number(-2 * layout.tanh_limit), number(layout.exp_range[1])

    @inline
    def expm1(x):
        x = select(x < smallest, smallest, x)
        x = select(x > largest, largest, x)
        z = nearest(x)
        scale = power_of_two(integer(to_bits(z) - 1))
        result = expm1_reduced(x, z) * scale + (scale - half)
        return result + result

    return expm1


def _exponent(real):
    """``bits -> n`` as a number, for x = 2ⁿ (1 + f) with √½ ≤ 1 + f < √2 and bits = to_bits(x) + split_shift."""
    layout = _Layout(real)
    integer, from_bits, mantissa = layout.integer, layout.from_bits, layout.mantissa
    exponent_bits, exponent_base = layout.exponent_bits, layout.exponent_base

    @inline
    def exponent(bits):
        return from_bits(integer(integer(bits >> mantissa) + exponent_bits)) - exponent_base

    return exponent


def _fraction(real):
    """``bits -> f``, as in :func:`_exponent`."""
    layout, one = _Layout(real), real.type(1)
    integer, from_bits, mask, split = layout.integer, layout.from_bits, layout.fraction, layout.sqrt_half_bits

    @inline
    def fraction(bits):
        return from_bits(integer(integer(bits & mask) + split)) - one

    return fraction


def log(real):
    """ln x = n ln 2 + ln(1 + f) with √½ ≤ 1 + f < √2, and ln(1 + f) = 2 artanh(s), s = f/(2 + f)."""
    layout, number = _Layout(real), real.type
    exponent, fraction, log_reduced = _exponent(real), _fraction(real), _log_reduced(real)
    integer, to_bits, shift, tiny = layout.integer, layout.to_bits, layout.split_shift, layout.smallest_normal
    zero, infinity, invalid = number(0), number(math.inf), number(math.nan)
    up, up_exponent = number(2.0**layout.mantissa), number(layout.mantissa)

    @inline
    def log(x):
        subnormal = x < tiny
        bits = integer(to_bits(select(subnormal, x * up, x)) + shift)
        n = exponent(bits)
        result = log_reduced(select(subnormal, n - up_exponent, n), fraction(bits), zero)
        result = select(x < infinity, result, x)
        result = select(x == zero, -infinity, result)
        return select(x < zero, invalid, result)

    return log


def log1p(real):
    """ln(1 + x) = ln u + c/u with u the rounded 1 + x and c what the rounding lost; where u is near 1, f = x
    itself.
    """
    layout, number = _Layout(real), real.type
    exponent, fraction, log_reduced = _exponent(real), _fraction(real), _log_reduced(real)
    integer, to_bits, shift = layout.integer, layout.to_bits, layout.split_shift
    zero, one, infinity, invalid = number(0), number(1), number(math.inf), number(math.nan)

    @inline
    def log1p(x):
        u = one + x
        bits = integer(to_bits(u) + shift)
        n = exponent(bits)
        near = n == zero
        f = select(near, x, fraction(bits))
        c = select(near, zero, (x - (u - one)) / u)
        result = select(x < infinity, log_reduced(n, f, c), x)
        result = select(u == zero, -infinity, result)
        return select(u < zero, invalid, result)

    return log1p


def sigmoid(real):
    """1 / (1 + e⁻ˣ) = 2⁻ᵇ / (2ᵃ (eʳ − 1) + 2⁻ᵇ + 2ᵃ) with −x = (a + b) ln 2 + r: halves, so that nothing
    overflows.
    """
    layout, number = _Layout(real), real.type
    integer, to_bits = layout.integer, layout.to_bits
    nearest, expm1_reduced, power_of_two = _nearest(real), _expm1_reduced(real), _power_of_two(real)
    limit = number(-layout.exp_range[0])

    @inline
    def sigmoid(x):
        y = -x
        y = select(y < -limit, -limit, y)
        y = select(y > limit, limit, y)
        z = nearest(y)
        n = to_bits(z)
        a = integer(n >> 1)
        scale, inverse = power_of_two(a), power_of_two(integer(a - n))
        return inverse / ((expm1_reduced(y, z) * scale + inverse) + scale)

    return sigmoid


def tanh(real):
    """tanh |x| = (1 − u) / (1 + u) with u = e^−2|x|; 1 ± u = (1 ± 2ⁿ) ± 2ⁿ(eʳ − 1) loses nothing near 0."""
    layout, number, absolute = _Layout(real), real.type, simd.absolute
    nearest, expm1_reduced, power_of_two = _nearest(real), _expm1_reduced(real), _power_of_two(real)
    to_bits, zero, one, limit = layout.to_bits, number(0), number(1), number(2 * layout.tanh_limit)

    @inline
    def tanh(x):
        y = absolute(x)
        y = -(y + y)
        y = select(y < -limit, -limit, y)
        z = nearest(y)
        scale = power_of_two(to_bits(z))
        tail = expm1_reduced(y, z) * scale
        result = ((one - scale) - tail) / (tail + (scale + one))
        return select(x < zero, -result, result)

    return tanh


def erf(real):
    """erf x = x + x·P(x²) for |x| < 1, else 1 − erfc |x| with erfc x = exp(Q(x) − x²), and the sign of x."""
    layout, number, absolute = _Layout(real), real.type, simd.absolute
    nearest, expm1_reduced, power_of_two = _nearest(real), _expm1_reduced(real), _power_of_two(real)
    small, log_erfc = (polynomial(*table[real.name]) for table in (coefficients.ERF, coefficients.LOG_ERFC))
    centre, largest = (number(2.5), number(4)) if real.name == "f32" else (number(3.5), number(6))
    to_bits, zero, one = layout.to_bits, number(0), number(1)

    @inline
    def erf(x):
        size = absolute(x)
        capped = select(size > largest, largest, size)
        y = log_erfc(capped - centre) - capped * capped
        z = nearest(y)
        scale = power_of_two(to_bits(z))
        large = expm1_reduced(y, z) * scale + (scale - one)
        return select(size < one, x + x * small(x * x), select(x < zero, large, -large))

    return erf


def sin(real):
    """sin x, for |x| ≤ 10⁹ (NaN beyond)."""
    return _sine(real, 0)


def cos(real):
    """cos x, for |x| ≤ 10⁹ (NaN beyond)."""
    return _sine(real, 1)


def _sine(real, quarter):
    """sin(x + quarter·π/2): with x = n π/2 + r and |r| ≤ π/4 it is ±sin r or ±cos r. Works in float64 always.

    π/2 is in four parts (Cody and Waite 1980); the products of n < 2³⁰ with the first three, of 23 bits each,
    are exact.
    """
    number, to_bits, rounding = real.type, simd.f64_to_bits, 1.5 * 2.0**52
    sin_tail, cos_tail = polynomial(*coefficients.SIN), polynomial(*coefficients.COS)
    first, second, third, fourth = (
        1.570796251296997,
        7.549789415861596e-08,
        5.390302529957765e-15,
        3.2820035428735005e-22,
    )
    per_quarter, limit, invalid = 2 / math.pi, 1e9, math.nan
    absolute = simd.absolute

    @inline
    def sine(x):
        x = np.float64(x)
        z = x * per_quarter + rounding
        n = z - rounding
        high = (x - n * first) - n * second
        low = n * third
        r = high - low
        low = ((high - r) - low) - n * fourth
        square = r * r
        half = 0.5 * square
        s = r - (square * (0.5 * low - r * sin_tail(square)) - low)
        whole = 1.0 - half
        c = whole + (((1.0 - whole) - half) + (square * square * cos_tail(square) - r * low))
        turns = to_bits(z) + quarter
        result = select((turns & 1) == 0, s, c)
        result = select((turns & 2) == 0, result, -result)
        return number(select(absolute(x) <= limit, result, invalid))

    return sine
