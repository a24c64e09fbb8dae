"""Elementary functions without branches, tables or libm, which become vector code wherever a loop uses them.

The pattern is always the same three steps: *reduce* the argument to a small interval with an exact trick (for
``exp``, x = n ln 2 + r with |r| ≤ ½ ln 2), *approximate* there with a short polynomial, and *rebuild* the
result (2ⁿ eʳ, by writing n into the exponent bits). Where a case needs another formula, both are computed
and the right one selected. The polynomials are in :mod:`tinyattn.kernels.language.coefficients`. Results are within 2
ulp everywhere, subnormal numbers included (tanh in f64: 2.03; the Gaussian error linear unit: 6); NaN goes
through.

One trick recurs. Adding ``1.5·2^p`` (p mantissa bits) to a number rounds it to an integer, which then stands
in the lowest mantissa bits; subtracting it again gives the integer as a number. Hence no conversions between
integers and reals, which many machines lack for vectors.

:mod:`tinyattn.kernels.language.vecmath` makes them functions for kernels to call.
"""

import math

import numpy as np

from tinyattn.kernels.language import coefficients
from tinyattn.kernels.language.formula import (
    absolute,
    bits,
    convert,
    copysign,
    floor,
    library_cos,
    library_sin,
    long_polynomial,
    polynomial,
    select,
    while_any,
)


class Elementary:
    """The functions as formulas (see :mod:`tinyattn.kernels.language.formula`) for one type of numbers, ``"f32"`` or
    ``"f64"``.
    """

    def __init__(self, name: str):
        single = name == "f32"
        number = np.float32 if single else np.float64
        self.name = name
        self.mantissa = mantissa = 23 if single else 52
        self.rounding = number(1.5 * 2.0**mantissa)
        self.smallest_normal = np.finfo(number).smallest_normal
        self.per_ln2 = number(1 / math.log(2))
        # ln 2 in two parts; the first has so few bits that its product with any exponent is exact.
        self.ln2_high = number(0.693359375 if single else 0.6931471803691238)
        self.ln2_low = number(-0.00021219444005469057 if single else 1.9082149292705877e-10)
        # e^x is 0 below the first and infinite above the second; tanh x is ±1 beyond ±saturated.
        self.exp_range = (number(-104.5), number(89)) if single else (number(-746), number(710))
        self.saturated = number(10 if single else 20)
        self.one_bits = bits(number(1))
        # To split numbers at √½ instead of at 1, shift their bits by the distance between the two.
        self.split_bits = bits(number(math.sqrt(0.5)))
        self.split_shift = self.one_bits - self.split_bits
        # Exponent bits e added to the bits of 2^mantissa give the number 2^mantissa + e.
        self.exponent_bits = bits(number(2.0**mantissa))
        self.exponent_base = number(2.0**mantissa + (127 if single else 1023))
        self.number = number

    # eˣ and its relatives: x = n ln 2 + r

    def nearest(self, x):
        """n = round(x / ln 2), left standing in the lowest mantissa bits."""
        return x * self.per_ln2 + self.rounding

    def expm1_reduced(self, x, nearest, rest=None):
        """eʳ − 1; ``rest`` is what x has lost to rounding."""
        n = nearest - self.rounding
        r = (x - n * self.ln2_high) - n * self.ln2_low
        r = r if rest is None else r + rest
        return r + r * r * polynomial(coefficients.EXP[self.name], r)

    def power_of_two(self, n):
        """2ⁿ for the n in the lowest bits of an integer, by moving it to the exponent's place."""
        return bits((n << self.mantissa) + self.one_bits)

    def exp(self, x):
        """2ⁿ eʳ, with 2ⁿ in two factors so that results below the normal numbers are rounded once."""
        smallest, largest = self.exp_range
        x = select(x < smallest, smallest, x)
        x = select(x > largest, largest, x)
        nearest = self.nearest(x)
        n = bits(nearest)
        half = n >> 1
        return (1 + self.expm1_reduced(x, nearest)) * self.power_of_two(half) * self.power_of_two(n - half)

    def weight(self, x):
        """eˣ for x ≤ 0, but 0 where it would be subnormal: beside the largest weight of a softmax, 1, that is
        nothing, and arithmetic with subnormal numbers is slow.
        """
        lowest = self.number(-87 if self.name == "f32" else -708)
        small = x < lowest
        x = select(small, lowest, x)
        nearest = self.nearest(x)
        return select(small, 0, (1 + self.expm1_reduced(x, nearest)) * self.power_of_two(bits(nearest)))

    def expm1(self, x):
        """2 (2ⁿ⁻¹(eʳ − 1) + (2ⁿ⁻¹ − ½)): half of it first, because 2ⁿ itself may be too large for a
        number.
        """
        smallest, largest = -2 * self.saturated, self.exp_range[1]
        x = select(x < smallest, smallest, x)
        x = select(x > largest, largest, x)
        nearest = self.nearest(x)
        scale = self.power_of_two(bits(nearest) - 1)
        half = self.expm1_reduced(x, nearest) * scale + (scale - self.number(0.5))
        return select(x == 0, x, half + half)

    def sigmoid(self, x):
        """1 / (1 + e⁻ˣ) = 2⁻ᵇ / (2ᵃ (eʳ − 1) + 2⁻ᵇ + 2ᵃ) with n = a + b for −x: in halves, nothing
        overflows.
        """
        limit = -self.exp_range[0]
        x = -x
        x = select(x < -limit, -limit, x)
        x = select(x > limit, limit, x)
        nearest = self.nearest(x)
        n = bits(nearest)
        a = n >> 1
        scale, inverse = self.power_of_two(a), self.power_of_two(a - n)
        return inverse / ((self.expm1_reduced(x, nearest) * scale + inverse) + scale)

    def tanh(self, x):
        """tanh |x| = (1 − u) / (1 + u) with u = e^−2|x|; 1 ± u = (1 ± 2ⁿ) ± 2ⁿ(eʳ − 1) loses nothing near
        0.
        """
        limit = 2 * self.saturated
        y = absolute(x)
        y = -(y + y)
        y = select(y < -limit, -limit, y)
        nearest = self.nearest(y)
        scale = self.power_of_two(bits(nearest))
        tail = self.expm1_reduced(y, nearest) * scale
        result = ((1 - scale) - tail) / (tail + (scale + 1))
        return copysign(result, x)

    # ln x and its relatives: x = 2ⁿ (1 + f) with √½ ≤ 1 + f < √2

    def split(self, x):
        """n and f."""
        subnormal = x < self.smallest_normal
        shifted = bits(select(subnormal, x * self.number(2.0**self.mantissa), x)) + self.split_shift
        n = bits((shifted >> self.mantissa) + self.exponent_bits) - self.exponent_base
        f = bits((shifted & ((1 << self.mantissa) - 1)) + self.split_bits) - 1
        return select(subnormal, n - self.mantissa, n), f

    def log_reduced(self, n, f, correction):
        """n ln 2 + ln(1 + f) + a small correction, by ln(1 + f) = 2 artanh(s) with s = f/(2 + f)."""
        s = f / (2 + f)
        z = s * s
        square = self.number(0.5) * f * f
        tail = s * (square + z * polynomial(coefficients.LOG[self.name], z))
        # n·ln2_high is exact; then f; then the rest, from small to large.
        return n * self.ln2_high - ((square - (tail + (n * self.ln2_low + correction))) - f)

    def log(self, x):
        return self.log_cases(x, self.log_reduced(*self.split(x), self.number(0)))

    def log_cases(self, x, result):
        """A logarithm of x, ``result`` where that is a positive number."""
        result = select(x < math.inf, result, x)
        result = select(x == 0, self.number(-math.inf), result)
        return select(x < 0, self.number(math.nan), result)

    def log1p(self, x):
        """ln u + c/u with u the rounded 1 + x and c what the rounding lost; where u is near 1, f = x
        itself.
        """
        u = 1 + x
        n, f = self.split(u)
        near = n == 0
        lost = select(near, self.number(0), (x - (u - 1)) / u)
        result = self.log_reduced(n, select(near, x, f), lost)
        result = select((x < math.inf) & (x != 0), result, x)
        result = select(u == 0, self.number(-math.inf), result)
        return select(u < 0, self.number(math.nan), result)

    # Powers

    def pow(self, x, y):
        """x^y with the special cases of IEEE 754."""
        whole = floor(y) == y
        half = self.number(0.5) * y
        odd = whole & (floor(half) != half)
        size = absolute(x)
        result = self._power_f32(size, y) if self.name == "f32" else self._power_f64(size, y)
        zero, infinite = size == 0, size == math.inf
        result = select((zero & (y > 0)) | (infinite & (y < 0)), 0, result)
        result = select((zero & (y < 0)) | (infinite & (y > 0)), math.inf, result)
        result = select(size == 1, 1, result)
        result = select((bits(x) < 0) & odd, -result, result)
        result = select((x < 0) & ~whole & ~infinite, math.nan, result)
        return select(y == 0, 1, select(x == x, result, x))

    def _power_f32(self, x, y):
        """e^(y ln x) in f64."""
        double = Elementary("f64")
        return convert(double.exp(convert(y, "f64") * double.log(convert(x, "f64"))), "f32")

    def _power_f64(self, x, y):
        """e^(y ln x) with ln x and the product in two parts, a high one of few enough bits and a low one."""

        def high(value):
            return bits(bits(value) & -(1 << 27))

        # Beyond this every power but those of 1 is 0 or infinite, and ∞ − ∞ is to be kept out below.
        y = select(y > 2.0**70, 2.0**70, select(y < -(2.0**70), -(2.0**70), y))
        n, f = self.split(x)
        whole = 2 + f
        s = f / whole
        s_high, whole_high = high(s), high(whole)
        whole_low = f - (whole_high - 2)
        s_low = ((f - s_high * whole_high) - s_high * whole_low) / whole
        z = s * s
        base = n * self.ln2_high
        log_high = base + 2 * s_high
        tail = s * z * polynomial(coefficients.LOG["f64"], z) + (2 * s_low + n * self.ln2_low)
        log_low = ((base - log_high) + 2 * s_high) + tail
        first, first_y = high(log_high + log_low), high(y)
        second = (log_high - first) + log_low
        product_high = first * first_y
        product_low = first * (y - first_y) + second * y
        product = product_high + product_low
        rest = (product_high - product) + product_low
        return self.exp(product) * (1 + select(absolute(product) < 800, rest, 0))

    # The error function

    def erf(self, x):
        """x + x·P(x²) for |x| < 1; else ±(1 − erfc |x|) with erfc x = exp(Q(x) − x²)."""
        centre, largest = (2.5, 4) if self.name == "f32" else (3.5, 6)
        size = absolute(x)
        capped = select(size > largest, self.number(largest), size)
        y = polynomial(coefficients.LOG_ERFC[self.name], capped - self.number(centre)) - capped * capped
        nearest = self.nearest(y)
        scale = self.power_of_two(bits(nearest))
        large = self.expm1_reduced(y, nearest) * scale + (scale - 1)
        small = x + x * polynomial(coefficients.ERF[self.name], x * x)
        return select(size < 1, small, select(x < 0, large, -large))

    # The Gaussian error linear unit

    def normal_tail(self, x):
        """|x|, e^(−x²/2) and the ratio of Φ(−|x|) to it, P/Q; the power is 0, and |x| cut off, where Φ(−|x|)
        would be subnormal.

        In x² = h² + (x − h)(x + h), with half of x's digits in h, the first term is exact: rounded as a whole,
        a square of some size would leave few digits of its power.
        """
        largest, minus_half = self.number(12.9 if self.name == "f32" else 37.4), self.number(-0.5)
        size = absolute(x)
        beyond = size > largest
        size = select(beyond, largest, size)
        high = bits(bits(size) & -(1 << (self.mantissa // 2 + 1)))
        nearest = self.nearest(minus_half * size * size)
        rest = minus_half * (size - high) * (size + high)
        power = 1 + self.expm1_reduced(minus_half * high * high, nearest, rest)
        power = select(beyond, 0, power * self.power_of_two(bits(nearest)))
        sum_of = polynomial if self.name == "f32" else long_polynomial
        above, below = (sum_of(part, size) for part in coefficients.NORMAL_TAIL[self.name])
        return size, power, above / below

    def gelu(self, x):
        """x Φ(x), where Φ(x) = 1 − Φ(−x)."""
        _, power, ratio = self.normal_tail(x)
        tail = power * ratio
        return x * select(x < 0, tail, 1 - tail)

    def gelu_backward(self, x, g):
        """g s(x), where s(x) = Φ(x) + x φ(x) = 1 − s(−x)."""
        size, power, ratio = self.normal_tail(x)
        tail = power * (ratio - self.number(1 / math.sqrt(2 * math.pi)) * size)
        return g * select(x < 0, tail, 1 - tail)

    def gelu_tanh(self, x):
        """x σ(v) with v = c (x + a x³)."""
        scale, cube = self.number(coefficients.GELU_SCALE), self.number(coefficients.GELU_CUBE)
        return x * self.sigmoid(scale * x * (1 + cube * x * x))

    def gelu_tanh_backward(self, x, g):
        """g (s + x s (1 − s) v′) with s = σ(v) = 1 / (1 + e⁻ᵛ), where 1 − s is e⁻ᵛ s: as a difference it would
        have no digits left when s is near 1.
        """
        scale, cube = self.number(coefficients.GELU_SCALE), self.number(coefficients.GELU_CUBE)
        v = scale * x * (1 + cube * x * x)
        lowest = self.number(
            -80 if self.name == "f32" else -700
        )  # e⁻ᵛ is finite above, and nothing is left below
        e = self.exp(-select(v < lowest, lowest, v))
        s = 1 / (1 + e)
        slope = s + (e * s) * s * (x * (scale + self.number(3 * scale * cube) * x * x))
        return g * select(v < lowest, 0, slope)

    # Sine and cosine

    def sin(self, x):
        return self._sine(x, 0, library_sin)

    def cos(self, x):
        return self._sine(x, 1, library_cos)

    def turned(self, x):
        """x/(π/2) rounded to a whole number, left standing in the lowest bits, and sine and cosine of the rest, all in
        f64. With x = n π/2 + r and |r| ≤ π/4.

        π/2 is in four parts (Cody and Waite 1980); the products of n < 2³⁰ with the first three, of 23 bits
        each, are exact. r is kept in two parts, of which the second is a correction.
        """
        first, second, third, fourth = coefficients.HALF_PI
        nearest = x * (2 / math.pi) + 1.5 * 2.0**52
        n = nearest - 1.5 * 2.0**52
        high = (x - n * first) - n * second
        low = n * third
        r = high - low
        low = ((high - r) - low) - n * fourth
        square = r * r
        half = 0.5 * square
        sine = r - (square * (0.5 * low - r * polynomial(coefficients.SIN, square)) - low)
        whole = 1.0 - half
        tail = square * square * polynomial(coefficients.COS, square) - r * low
        cosine = whole + (((1.0 - whole) - half) + tail)
        return bits(nearest), sine, cosine

    def far_out(self, x, result, library):
        """``result``, but from the C library where r would need more digits of π."""
        size = absolute(x)
        far = (size > (1e9 if self.name == "f32" else 1e6)) & (size < math.inf)
        _, result = while_any(
            lambda far, _: far, lambda far, near: (far ^ far, select(far, library(x), near)), far, result
        )
        return convert(result, self.name)

    def _sine(self, x, quarter, library):
        """sin(x + quarter·π/2), always in f64: it is ±sin r or ±cos r."""
        x = convert(x, "f64")
        turns, sine, cosine = self.turned(x)
        turns = turns + quarter
        result = select((turns & 1) == 0, sine, cosine)
        result = select((turns & 2) == 0, result, -result)
        return self.far_out(x, result, library)
