"""Batch normalisation of x (N, C, L), each channel by its mean and variance over N and L, and its derivative.

    x̂ = (x − μ) ρ,   ρ = (σ² + ε)^−½,   y = g x̂ + b;        dg = Σ dy x̂,   db = Σ dy,   dx = g ρ (dy − db/NL − x̂ dg/NL)

A channel's numbers are N runs of L. Runs may be as short as one number; so a tile takes as many neighbouring
channels as make a *strip* of some length, and goes over it for each n, adding up in place: a sum for each
place of the strip, and at the end one for each channel of those of its places. Of a channel longer than a
strip one strip after the other is done. A tile has its channels to itself, so every sum is complete, and is
taken in an order that depends on the sizes alone.
"""

from tinyattn.kernels.calls.batch_norm import BATCH_NORM_STRIP, channels_of_batch_norm
from tinyattn.kernels.calls.words import place
from tinyattn.kernels.language.formula import sqrt
from tinyattn.kernels.language.lanes import total
from tinyattn.kernels.language.passes import one_pass
from tinyattn.kernels.language.real import inline
from tinyattn.kernels.language.simd import i64

_channels = inline(channels_of_batch_norm)
_STRIP = BATCH_NORM_STRIP


def _collect(real):
    """``(target, strip, channels, run)``: to each channel's number, add the numbers of its run of a strip."""
    pointer, size = real.pointer, real.size

    @inline
    def collect(target, strip, channels, run):
        sums = pointer(target)
        for c in range(channels):
            if run < 16:
                numbers, s = pointer(strip + c * run * size), sums[c]
                for i in range(run):
                    s += numbers[i]
                sums[c] = s
            else:
                sums[c] += total(pointer(strip + c * run * size), run)

    return collect


def forward(real):
    """Normalised numbers, and the mean and variance of each channel."""
    w = place("batch_norm.forward")
    pointer, size, number, most = real.pointer, real.size, real.type, _STRIP
    collect, channels_of, area = _collect(real), _channels, _STRIP * real.size
    zero, one = number(0), number(1)
    filled = one_pass(real, 0, 1, 1, lambda value: value)
    added = one_pass(real, 2, 1, 0, lambda x, sums: x + sums)
    squared = one_pass(real, 3, 1, 0, lambda x, mean, sums: (x - mean) * (x - mean) + sums)
    written = one_pass(real, 4, 1, 0, lambda x, mean, scale, shift: (x - mean) * scale + shift)
    averaged = one_pass(real, 1, 2, 1, lambda sums, share: (sums * share, sums * share))
    copied = one_pass(real, 1, 1, 0, lambda x: x)

    def finish(sums, gain, share, epsilon):
        variance = sums * share
        return variance, gain / sqrt(variance + epsilon)

    finished = one_pass(real, 2, 2, 2, finish)

    def kernel(arguments, first, last, scratch):
        word, epsilon = i64(arguments), pointer(arguments + 8 * w.epsilon)[0]
        count, length = word[w.count], word[w.length]
        group, step = channels_of(length), word[w.channels] * length * size
        share = one / number(count * length)
        # Strips of sums, means, scales and shifts; and the numbers of the channels in the last three.
        mean_strip, scale_strip, shift_strip = scratch + area, scratch + 2 * area, scratch + 3 * area
        found = scratch + 4 * area
        for tile in range(first, last):
            channel = tile * group
            channels = min(group, word[w.channels] - channel)
            at, width = channel * length * size, channels * length
            gain, bias = word[w.gain] + channel * size, word[w.bias] + channel * size
            means, variances = word[w.means] + channel * size, word[w.variances] + channel * size
            for phase in range(3):
                if phase < 2:
                    filled(channels, found + phase * area, zero)
                for start in range(0, width, most):
                    strip = min(most, width - start)
                    run = min(length, strip)
                    x, y = word[w.x] + at + start * size, word[w.y] + at + start * size
                    filled(strip, scratch, zero)
                    for k in range(phase * (phase + 1) // 2):
                        for c in range(channels):
                            filled(run, mean_strip + k * area + c * run * size, pointer(found + k * area)[c])
                    for n in range(count):
                        here = x + n * step
                        if phase == 0:
                            added(strip, here, scratch, scratch)
                        elif phase == 1:
                            squared(strip, here, mean_strip, scratch, scratch)
                        else:
                            written(strip, here, mean_strip, scale_strip, shift_strip, y + n * step)
                    if phase < 2:
                        collect(found + phase * area, scratch, channels, run)
                if phase == 0:
                    averaged(channels, found, means, found, share)
                elif phase == 1:
                    finished(channels, found + area, gain, variances, found + area, share, epsilon)
                    copied(channels, bias, found + 2 * area)

    return kernel


def backward(real):
    """Gradients of x, g and b."""
    w = place("batch_norm.backward")
    pointer, size, number, most = real.pointer, real.size, real.type, _STRIP
    collect, channels_of, area = _collect(real), _channels, _STRIP * real.size
    zero, one = number(0), number(1)
    filled = one_pass(real, 0, 1, 1, lambda value: value)
    summed = one_pass(real, 5, 2, 0, lambda x, dy, mean, along, over: ((x - mean) * dy + along, dy + over))
    written = one_pass(
        real, 6, 1, 0, lambda x, dy, mean, level, slope, scale: scale * (dy - level - (x - mean) * slope)
    )

    copied = one_pass(real, 1, 1, 0, lambda x: x)

    def finish(over, along, gain, variance, share, epsilon):
        scale = 1 / sqrt(variance + epsilon)
        return along * scale, over, over * share, along * scale * scale * share, gain * scale

    finished = one_pass(real, 4, 5, 2, finish)

    def kernel(arguments, first, last, scratch):
        word, epsilon = i64(arguments), pointer(arguments + 8 * w.epsilon)[0]
        count, length = word[w.count], word[w.length]
        group, step = channels_of(length), word[w.channels] * length * size
        share = one / number(count * length)
        # Strips of the two sums, and of μ, mean dy, ρ mean(dy x̂) and g ρ; and the channels' numbers in these four.
        over, strips, found = scratch + area, scratch + 2 * area, scratch + 6 * area
        level, slope, scale = found + area, found + 2 * area, found + 3 * area
        for tile in range(first, last):
            channel = tile * group
            channels = min(group, word[w.channels] - channel)
            at, width = channel * length * size, channels * length
            gain, variances = word[w.gain] + channel * size, word[w.variances] + channel * size
            products, totals = word[w.d_gain] + channel * size, word[w.d_bias] + channel * size
            copied(channels, word[w.means] + channel * size, found)
            filled(channels, level, zero)
            filled(channels, slope, zero)
            for phase in range(2):
                for start in range(0, width, most):
                    strip = min(most, width - start)
                    run, here = min(length, strip), at + start * size
                    filled(strip, scratch, zero)
                    filled(strip, over, zero)
                    for k in range(1 + 3 * phase):
                        for c in range(channels):
                            filled(run, strips + k * area + c * run * size, pointer(found + k * area)[c])
                    for n in range(count):
                        x, dy = word[w.x] + here + n * step, word[w.dy] + here + n * step
                        dx = word[w.dx] + here + n * step
                        if phase == 0:
                            summed(strip, x, dy, strips, scratch, over, scratch, over)
                        else:
                            written(
                                strip, x, dy, strips, strips + area, strips + 2 * area, strips + 3 * area, dx
                            )
                    if phase == 0:
                        for k in range(2):
                            collect(found + (2 - k) * area, scratch + k * area, channels, run)
                if phase == 0:
                    finished(
                        channels,
                        level,
                        slope,
                        gain,
                        variances,
                        products,
                        totals,
                        level,
                        slope,
                        scale,
                        share,
                        epsilon,
                    )

    return kernel
