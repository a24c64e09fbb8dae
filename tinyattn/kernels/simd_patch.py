"""Moving runs of pixels between images and panels of a matrix, as LLVM vector instructions behind Numba
intrinsics.

What a convolution multiplies is a window of the image at many positions. Along a row of the image these lie
evenly apart, so that a vector of them is one masked load, or, for every second pixel, two loads and a
shuffle; what lies outside the image is masked and becomes 0. The same run is moved in many channels, in a
loop. All addresses and strides are in bytes.
"""

import functools

from llvmlite import ir
from numba import types

from tinyattn.kernels.language.simd import PURE, instructions
from tinyattn.kernels.language.vectors import I32, WORD, Vectors, at, constant, lane_numbers, plus


def _between(builder, v, first, past, step, part):
    """The lanes of vector ``part`` that hold elements ``step · i`` of a row for ``first ≤ i < past``."""
    lane = [i + part * v.lanes for i in range(v.lanes)]
    # Where no element is, there stands a number that is never in between.
    indices = [i // step if i % step == 0 else -(1 << 31) for i in lane]
    indices = lane_numbers(indices)
    low, high = (v.spread(builder, builder.trunc(word, I32)) for word in (first, past))
    return builder.and_(builder.icmp_signed(">=", indices, low), builder.icmp_signed("<", indices, high))


def _loop(module, name, words, prepare, move):
    """The LLVM function of some ``words`` that calls ``move(builder, prepared, word)`` once a row.

    The words are ``rows`` and, for each pointer that goes on from row to row, its name and the stride.
    Inlined and unrolled, the loop would need more registers than there are.
    """
    if name in module.globals:
        return module.globals[name]
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), [WORD] * len(words)), name)
    function.linkage = "internal"
    for attribute in ("nounwind", "noinline", "optsize"):
        function.attributes.add(attribute)
    word = dict(zip(words, function.args, strict=True))
    entry, loop, done = (function.append_basic_block(part) for part in ("entry", "row", "done"))
    builder = ir.IRBuilder(entry)
    prepared = prepare(builder, word)
    moving = [key for key in words if f"{key}_step" in words]
    builder.cbranch(builder.icmp_signed(">", word["rows"], constant(0)), loop, done)
    builder.position_at_end(loop)
    carried = {key: builder.phi(WORD) for key in ("rows", *moving)}
    here = {key: at(builder, carried[key]) for key in moving}
    move(builder, prepared, here)
    rest = builder.sub(carried["rows"], constant(1))
    following = {key: builder.add(carried[key], word[f"{key}_step"]) for key in moving} | {"rows": rest}
    for key, value in carried.items():
        value.add_incoming(word[key], entry)
        value.add_incoming(following[key], loop)
    builder.cbranch(builder.icmp_signed(">", rest, constant(0)), loop, done)
    builder.position_at_end(done)
    builder.ret_void()
    return function


_TAKE = "rows source source_step target target_step first past count".split()


@functools.cache
def take_runs(real, step, loads):
    """``(rows, source, source_step, target, target_step, first, past, count)``: a run out of each row.

    ``target[i] = source[step · i]`` for i < count ≤ a vector, but only where ``first ≤ i < past`` (which may
    be nowhere); elsewhere 0, and the source isn't touched there. ``step`` is 1 or 2; one load will do for
    step 2 if count ≤ half a vector.
    """
    if PURE:
        return _pure_take_runs(real, step)
    v = Vectors(real.name)

    def prepare(builder, word):
        seen = [_between(builder, v, word["first"], word["past"], step, part) for part in range(loads)]
        return seen, v.mask(builder, word["count"])

    def move(builder, masks, here):
        loaded = [
            v.load(builder, plus(builder, here["source"], part * v.bytes), mask)
            for part, mask in enumerate(masks[0])
        ]
        value = loaded[0]
        if step == 2:
            value = builder.shuffle_vector(value, loaded[-1], lane_numbers([2 * i for i in range(v.lanes)]))
        v.store(builder, value, here["target"], masks[1])

    return _function(f"tinyattn_take_{step}_{loads}_{real.name}", _TAKE, prepare, move)


_ADD = "rows source source_step bias bias_step target target_step count".split()


@functools.cache
def add_runs(real, step):
    """``(rows, source, source_step, bias, bias_step, target, target_step, count)``: a run into each row.

    ``target[step · i] = source[i] + bias`` for i < count ≤ a vector; ``step`` is 1 or 2.
    """
    if PURE:
        return _pure_add_runs(real, step)
    v = Vectors(real.name)

    def prepare(builder, word):
        parts = [_between(builder, v, constant(0), word["count"], step, part) for part in range(step)]
        return v.mask(builder, word["count"]), parts

    def move(builder, masks, here):
        value = builder.fadd(v.load(builder, here["source"], masks[0]), v.repeat(builder, here["bias"]))
        for part, mask in enumerate(masks[1]):
            lane = [(i + part * v.lanes) // step for i in range(v.lanes)]
            spaced = builder.shuffle_vector(value, value, lane_numbers(lane)) if step > 1 else value
            v.store(builder, spaced, plus(builder, here["target"], part * v.bytes), mask)

    return _function(f"tinyattn_add_{step}_{real.name}", _ADD, prepare, move)


def _function(name, words, prepare, move):
    """Numba's view of :func:`_loop`: a function of its words."""

    def write(builder, values):
        builder.call(_loop(builder.module, name, words, prepare, move), values)

    return instructions(types.void(*[types.int64] * len(words)), write)


# ---- the same in plain Python ----


def _pure_take_runs(real, step):
    pointer = real.pointer

    def take(rows, source, source_step, target, target_step, first, past, count):
        for r in range(rows):
            from_, into = source + r * source_step, pointer(target + r * target_step)
            for i in range(count):
                into[i] = pointer(from_ + step * i * real.size)[0] if first <= i < past else 0

    return take


def _pure_add_runs(real, step):
    pointer = real.pointer

    def add(rows, source, source_step, bias, bias_step, target, target_step, count):
        for r in range(rows):
            from_, into = pointer(source + r * source_step), pointer(target + r * target_step)
            for i in range(count):
                into[step * i] = real.type(from_[i]) + real.type(pointer(bias + r * bias_step)[0])

    return add
