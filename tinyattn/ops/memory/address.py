"""The whole addressing of a head of a Neural Turing Machine as one operation.

A controller's state goes through a linear map, which emits for each head a key and, before their activations,
a strength β = softplus, a gate g = σ, a distribution over shifts s = softmax and a sharpening
γ = 1 + softplus. What follows are the four stages of ``ops/memory/addressing.py``:

    w = sharpen(shift(interpolate(g, content(k, β, M), w_{t−1}), s), γ)

The derivative is that of the stages from the last to the first. The cosines are a second result, for it to
use.
"""

import math

from tinyattn import errors
from tinyattn.graph.op import OPS
from tinyattn.graph.operands import real_operands
from tinyattn.graph.point import at, real, weighting
from tinyattn.graph.public import public
from tinyattn.graph.tensor import Tensor, output
from tinyattn.graph.types import Type, fail
from tinyattn.kernels.calls.address import room_of_address
from tinyattn.kernels.calls.memory import tiles_of_memory
from tinyattn.ops.arrays import reduce
from tinyattn.ops.arrays.elementwise import add, sigmoid, softplus
from tinyattn.ops.arrays.shape import concat, expand_dims, flip, reshape, stack
from tinyattn.ops.attention.scores import cosine_score
from tinyattn.ops.attention.softmax import softmax
from tinyattn.ops.definition import bits, by_definition, call, hand_derived
from tinyattn.ops.memory.addressing import rolled, shifts_of


def _activated(emitted, width):
    """Key, strength, gate, shifts and sharpening, (B, H, W), (B, H), (B, H), (B, H, S) and (B, H)."""
    rest = emitted[..., width:]
    return (
        emitted[..., :width],
        softplus(rest[..., 0]),
        sigmoid(rest[..., 1]),
        softmax(rest[..., 2:-1]),
        1 + softplus(rest[..., -1]),
    )


def _definition(emitted, memory, previous, *, eps):
    key, strength, gate, shift, gamma = _activated(emitted, memory.shape[-1])
    cosine = cosine_score(key, memory, eps)
    content = softmax(expand_dims(strength, -1) * cosine)
    shifted = call("circular_shift", call("interpolate", gate, content, previous), shift)
    return call("sharpen", shifted, gamma), cosine


def _derivative(cotangents, node):
    parts = []
    if 0 in cotangents:
        kept = output(node, 0), output(node, 1)
        parts.append(
            call("memory_address_backward", *node.inputs, *kept, cotangents[0], count=3, **node.attrs)
        )
    if 1 in cotangents:  # somebody differentiates the cosines
        parts.append(by_definition({1: cotangents[1]}, node))
    if len(parts) == 1:
        return parts[0]
    return [a if b is None else add(a, b) for a, b in zip(*parts, strict=True)]


def _backward_definition(emitted, memory, previous, y, cosine, g, *, eps):
    width = memory.shape[-1]
    key, strength, gate, shift, gamma = _activated(emitted, width)
    content = softmax(expand_dims(strength, -1) * cosine)
    gated = call("interpolate", gate, content, previous)
    shifted = call("circular_shift", gated, shift)
    d_shifted, d_gamma = call("sharpen_backward", shifted, gamma, y, g, count=2)
    by_shift = [reduce.sum(d_shifted * rolled(gated, k), -1) for k in shifts_of(shift)]
    d_shift = call("softmax_backward", shift, stack(by_shift, -1))
    d_gated = call("circular_shift", d_shifted, flip(shift, -1))
    d_gate = reduce.sum(d_gated * (content - previous), -1) * gate * (1 - gate)
    scores = call("softmax_backward", content, expand_dims(gate, -1) * d_gated)
    d_cosine = expand_dims(strength, -1) * scores
    d_key, d_memory = call("cosine_score_backward", key, memory, cosine, d_cosine, count=2, eps=eps)
    d_strength = reduce.sum(scores * cosine, -1) * sigmoid(emitted[..., width])
    d_gamma = d_gamma * sigmoid(emitted[..., -1])
    rest = stack([d_strength, d_gate], -1)
    d_emitted = concat([d_key, rest, d_shift, expand_dims(d_gamma, -1)], -1)
    return d_emitted, d_memory, expand_dims(1 - gate, -1) * d_gated


def _infer(emitted, memory, previous, *, eps):
    return previous.type, Type(previous.shape, previous.dtype)


_ARRAYS = (
    "emitted", "memory", "previous", "weights", "content", "d_weights", "d_emitted", "d_memory", "d_previous",
)  # fmt: skip
"""Operands and results of both kernels, in order."""


def _lower(kernel, count):
    """A row of kernels/address.py."""

    def lower(node, emit):
        operands = [emit.contiguous(emit.value(v)) for v in node.inputs]
        results = [emit.result(node, k) for k in range(count)]
        batch, places, width = operands[1].shape
        heads, emitted = operands[0].shape[1:]
        shifts = emitted - width - 3
        room = emit.new((batch, room_of_address(places, width, shifts)), results[0].dtype)
        words = {
            "batches": batch, "places": places, "width": width, "heads": heads, "shifts": shifts,
            "epsilon": bits(node.attrs["eps"], room.dtype), "room": room,
        }  # fmt: skip
        words |= dict(zip(_ARRAYS, [*operands, *results], strict=False))
        of_place = OPS["exp"].flops + OPS["pow"].flops + 9  # softmax, gate, power, sum
        emit.kernel(
            kernel,
            words,
            tiles_of_memory(batch),
            reads=operands,
            writes=[*results, room],
            dtype=room.dtype,
            cost=batch * places * (width * 0.1 * (heads + 1) + heads * 4.0),
            flops=float(batch * places * (2 * width + heads * (2 * width + 2 * shifts + of_place))),
        )

    return lower


hand_derived(
    "memory_address",
    _infer,
    _definition,
    _derivative,
    lower=_lower("address.forward", 2),
    formula="sharpen(shift(interpolate(content({0}, {1}), {2})))",
    vjp_formula="the derivatives of sharpening, shift, interpolation and content addressing, in this order",
    results=("", "cosines"),
)
hand_derived(
    "memory_address_backward",
    lambda emitted, memory, previous, y, cosine, g, *, eps: (emitted.type, memory.type, previous.type),
    _backward_definition,
    lower=_lower("address.backward", 3),
    formula="the derivative of addressing",
    results=("emitted", "memory", "weights"),
)


@public(at(real(2, 2, 9), real(2, 4, 3), weighting(2, 2, 4)))
def memory_address(emitted, memory, previous, eps: float = 1e-8) -> Tensor:
    """New weightings from what the heads emit: emitted (…, H, W + S + 3), memory (…, N, W), previous weightings (…,
    H, N) → (…, H, N); for one head the axis H may be left out.

    A head emits its key (W), and before activation its strength, its gate, S = 2R + 1 ≤ 2N − 1 shifts −R … R and
    its sharpening, in this order. Graves et al. 2014, eqs. 5 to 9; the same as ``content_addressing``,
    ``interpolate``, ``circular_shift`` and ``sharpen`` one after another, in one kernel. ``eps``: the ε of the
    cosine. Integers and bools become float32. Raises ShapeError for what doesn't fit.
    """
    emitted, memory, previous = real_operands(emitted, memory, previous)
    given = f"got {emitted.shape}, {memory.shape} and {previous.shape}"
    single = emitted.ndim == previous.ndim == memory.ndim - 1
    if single and memory.ndim > 1:
        emitted, previous = expand_dims(emitted, -2), expand_dims(previous, -2)
    *lead, places, width = memory.shape if memory.ndim > 1 else (0, 0)
    heads, shifts = (emitted.shape[-2], emitted.shape[-1] - width - 3) if emitted.ndim > 1 else (0, 0)
    fits = emitted.shape[:-1] == (*lead, heads) and previous.shape == (*lead, heads, places)
    if memory.ndim < 2 or not fits or shifts < 1 or shifts % 2 == 0 or shifts // 2 >= places:
        fail(
            errors.ShapeError,
            "memory_address",
            "emitted (…, H, W + S + 3), memory (…, N, W) and previous (…, H, N) must fit, with S odd and S < 2N",
            given,
            "A head emits a key of W numbers, strength, gate, S shifts and sharpening.",
        )
    batch = math.prod(lead)
    flat = [reshape(x, (batch, *x.shape[-2:])) for x in (emitted, memory, previous)]
    weights, _ = call("memory_address", *flat, count=2, eps=float(eps))
    return reshape(weights, (*lead, places) if single else (*lead, heads, places))
