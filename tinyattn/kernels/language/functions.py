"""More functions without branches, tables or libm: logarithms to other bases, tangent, hyperbolic functions and the
inverses of all of them.

Results are within 2 ulp (arccosh in f64: 2.04). Most are needed rarely, so f32 is computed in f64 and rounded once at
the end, which makes it exact to ½ ulp; arctan, sinh and cosh have f32 formulas of their own. The pattern is that of
:mod:`tinyattn.kernels.language.elementary`, on which they are built: near a zero of the function a polynomial or a
function that is exact there, elsewhere a formula in which nothing cancels.
"""

import functools
import math

from tinyattn.kernels.language import coefficients
from tinyattn.kernels.language.elementary import Elementary
from tinyattn.kernels.language.formula import (
    absolute,
    bits,
    convert,
    copysign,
    library_cos,
    library_sin,
    polynomial,
    select,
    sqrt,
)

_HALF_PI, _HALF_PI_REST = 1.5707963267948966, 6.123233995736766e-17
_LARGE = 2.0**54
"""From here on x² + 1 is x²."""


def _in_f64(method):
    """The method of f64, whatever the type."""

    @functools.wraps(method)
    def formula(self, x):
        if self.name == "f64":
            return method(self, x)
        return convert(method(Functions("f64"), convert(x, "f64")), self.name)

    return formula


class Functions(Elementary):
    """:class:`Elementary` and more."""

    # Logarithms to other bases

    @_in_f64
    def log2(self, x):
        return self._log_of_base(x, coefficients.PER_LN2, (1.0, 0.0))

    @_in_f64
    def log10(self, x):
        return self._log_of_base(x, coefficients.PER_LN10, coefficients.LOG10_2)

    def _log_of_base(self, x, scale, two):
        """n·log 2 + ln(1 + f)·scale. ``scale`` and log 2 to the base are in two parts, and so is ln(1 + f): the product
        of the first parts is exact, and powers of 2 have exact logarithms to the base 2.
        """
        n, f = self.split(x)
        s = f / (2 + f)
        z = s * s
        square = 0.5 * f * f
        tail = s * (square + z * polynomial(coefficients.LOG["f64"], z))
        high = bits(bits(f - square) & -(1 << 27))
        low = ((f - high) - square) + tail
        base, product = n * two[0], high * scale[0]
        total = base + product
        rest = ((base - total) + product) + (n * two[1] + (high * scale[1] + low * (scale[0] + scale[1])))
        return self.log_cases(x, total + rest)

    # Circular functions

    def tan(self, x):
        """sin x / cos x, from sine and cosine of the same r, always in f64."""
        x = convert(x, "f64")
        turns, sine, cosine = self.turned(x)
        odd = (turns & 1) != 0
        result = select(odd, -cosine, sine) / select(odd, sine, cosine)
        return self.far_out(x, result, lambda x: library_sin(x) / library_cos(x))

    def arctan(self, x):
        """arctan t = t + t³P(t²) for t ≤ 1, else π/2 − arctan(1/t)."""
        half_pi = self.number(_HALF_PI)
        missing = self.number(_HALF_PI_REST if self.name == "f64" else _HALF_PI - float(half_pi))
        size = absolute(x)
        large = size > 1
        t = select(large, 1 / size, size)
        z = t * t
        rest = t * z * polynomial(coefficients.ARCTAN[self.name], z)
        return copysign(select(large, half_pi - (t + (rest - missing)), t + rest), x)

    def _half_arc(self, size):
        """Whether |x| > ½; then s = √((1 − |x|)/2), else s = |x|; and arcsin s − s. (arcsin |x| = π/2 − 2 arcsin s.)"""
        large = size > 0.5
        half = 0.5 * (1 - size)
        z = select(large, half, size * size)
        s = select(large, sqrt(half), size)
        return large, s, s * z * polynomial(coefficients.ARCSIN, z)

    @_in_f64
    def arcsin(self, x):
        large, s, rest = self._half_arc(absolute(x))
        return copysign(select(large, (_HALF_PI - 2 * s) - (2 * rest - _HALF_PI_REST), s + rest), x)

    @_in_f64
    def arccos(self, x):
        """π/2 − arcsin x, but near ±1, where that would cancel, from arcsin s."""
        large, s, rest = self._half_arc(absolute(x))
        twice = 2 * (s + rest)
        edge = select(x < 0, (2 * _HALF_PI) - (twice - 2 * _HALF_PI_REST), twice)
        return select(large, edge, _HALF_PI - (x + (copysign(rest, x) - _HALF_PI_REST)))

    # Hyperbolic functions

    def _half_exp(self, x):
        """½ eˣ for x ≥ 0, also where eˣ is too large for a number."""
        largest = self.number(90 if self.name == "f32" else 711)
        x = select(x > largest, largest, x)
        nearest = self.nearest(x)
        n = bits(nearest) - 1
        half = n >> 1
        return (1 + self.expm1_reduced(x, nearest)) * self.power_of_two(half) * self.power_of_two(n - half)

    def sinh(self, x):
        """½ (eˣ − e⁻ˣ), for |x| < 1 x + x³P(x²)."""
        size, z = absolute(x), x * x
        half = self._half_exp(size)
        small = x + x * z * polynomial(coefficients.SINH[self.name], z)
        return select(size < 1, small, copysign(half - self.number(0.25) / half, x))

    def cosh(self, x):
        half = self._half_exp(absolute(x))
        return half + self.number(0.25) / half

    @_in_f64
    def arcsinh(self, x):
        """ln(x + √(x² + 1)) = log1p(x + x²/(1 + √(x² + 1))); ln 2x for large x."""
        size = absolute(x)
        square = size * size
        large = size > _LARGE
        y = self.log1p(select(large, size, size + square / (1 + sqrt(square + 1))))
        return copysign(select(large, y + math.log(2), y), x)

    @_in_f64
    def arccosh(self, x):
        """ln(x + √(x² − 1)) = log1p(t + √(t (x + 1))) with t = x − 1; ln 2x for large x."""
        t = x - 1
        large = x > _LARGE
        y = self.log1p(select(large, x, t + sqrt(t * (x + 1))))
        return select(x < 1, math.nan, select(large, y + math.log(2), y))

    @_in_f64
    def arctanh(self, x):
        """½ ln((1 + x)/(1 − x)) = ½ log1p(2x/(1 − x))."""
        size = absolute(x)
        return copysign(0.5 * self.log1p((size + size) / (1 - size)), x)

    # Of two numbers

    def logaddexp(self, a, b):
        """ln(eᵃ + eᵇ) = max + log1p(e^−|a − b|), where equal infinities lie 0 apart."""
        gap = select(a == b, 0, absolute(a - b))
        return select(a > b, a, b) + self.log1p(self.exp(-gap))
