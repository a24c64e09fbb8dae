"""How attention is laid on its kernels: strides, masks and the state of the random numbers, as argument
words (:mod:`tinyattn.kernels.attention`).

The usual arrangements cost no copy. Heads cut out of (B, T, heads·d) are read by their strides, one head of
keys for many of queries has stride 0, and a result is laid out as the operand that it belongs to, so that
joining the heads again is free.
"""

import math
from dataclasses import replace

from tinyattn.graph.op import OPS
from tinyattn.graph.types import BOOL, SHORT
from tinyattn.kernels.build import native
from tinyattn.kernels.calls.attention import (
    ATTENTION_KEYS,
    keys_in_part,
    parts_of_attention,
    tiles_of_attention,
)
from tinyattn.ops.arrays.reduce_lowering import lower_reduce
from tinyattn.ops.definition import bits
from tinyattn.runtime.copies import coalesce

_FLOP_COST = 1 / 80
"""Rough nanoseconds that an addition or multiplication takes, exponentials included."""


def _rows(emit, ref):
    """``ref``, or a copy whose rows are contiguous."""
    return ref if ref.strides[-1] == 1 or ref.shape[-1] <= 1 else emit.contiguous(ref)


def _lay_out(emit, batch, operands, mask, place):
    """``(sizes of two batch dimensions, operands, results, mask, their strides along the two)``.

    ``place(operands)`` makes the results. If their batch axes can't be merged into two, copies are taken: of the
    operands as they are, of the mask, at last of what broadcasting repeats.
    """
    spread = lambda refs: [ref.broadcast((*batch, *ref.shape[-2:])) for ref in refs]
    operands = [_rows(emit, ref) for ref in operands]
    for attempt in range(4):
        if attempt == 1:
            operands = [emit.contiguous(ref) for ref in operands]
        elif attempt == 2 and mask is not None:
            mask = emit.contiguous(mask)
        elif attempt == 3:
            operands = [emit.contiguous(ref) for ref in spread(operands)]
        results = place(spread(operands) if attempt == 0 else [None] * 3)
        everything = [*spread(operands), *results, *(() if mask is None else (mask,))]
        sizes, strides = coalesce(batch, *(ref.strides[:-2] for ref in everything))
        if len(sizes) <= 2:
            break
    operands = spread(operands)
    if len(sizes) == 1:
        sizes, strides = [1, *sizes], [[0, *s] for s in strides]
    return sizes, operands, results, mask, strides


def _words(node, operands, mask, sizes, strides, top, log_sum, state) -> dict:
    """The words that both kernels share; ``strides`` along the batch, those of Q, K and V first, the mask's last."""
    query, keys, values = operands[:3]
    attrs, dtype = node.attrs, query.dtype
    words = _matrices({"q": query, "k": keys, "v": values}, strides)
    words |= {"log_sums": log_sum, "tops": top, "matrices": math.prod(sizes), "inner": sizes[1]}
    words |= {"queries": query.shape[-2], "keys": keys.shape[-2]}
    words |= {"width": query.shape[-1], "value_width": values.shape[-1]}
    words |= {"scale": bits(attrs["scale"], dtype), "causal": int(attrs["causal"])}
    words |= {"masking": 0, "mask": 0, "mask_strides": [0] * 4, "mask_tile": 0}
    words |= {"random_key": 0, "counter": 0, "stream": 0, "p": 0, "drop_tile": 0}
    called = {"multiply": "gemm.multiply", "silencing": "attention_tile.silencing", "pack": "gemm.pack"}
    if mask is not None:
        words |= {"masking": 1 if mask.dtype == BOOL else 2, "mask": mask}
        words["mask_strides"] = [*strides[-1], *mask.strides[-2:]]
        called["mask_tile"] = "attention_tile.mask"
    if state is not None:
        words |= {"random_key": state, "counter": state.sliced((1,), (1,), (1,))}
        words |= {"stream": attrs["stream"], "p": bits(attrs["p"], dtype)}
        called["drop_tile"] = "attention_tile.dropout"
    return words | {name: native.address(kernel, SHORT[dtype]) for name, kernel in called.items()}


def _matrices(refs: dict, strides) -> dict:
    """The words of matrices with these strides along the batch."""
    together = zip(refs.items(), strides, strict=False)
    return {name: [ref, *steps, ref.strides[-2]] for (name, ref), steps in together}


def _optional(node, emit, shape):
    """The mask, broadcast to ``shape``, and the random state."""
    rest = [emit.value(x) for x in (node.inputs[3:] if node.op.name == "attention" else node.inputs[3:-4])]
    state = emit.contiguous(rest.pop()) if node.attrs["p"] > 0 else None
    return rest[0].broadcast(shape) if rest else None, state


def _pairs(node, shape) -> float:
    """Pairs of a query and a key."""
    return math.prod(shape) * (0.5 if node.attrs["causal"] and shape[-1] > ATTENTION_KEYS else 1)


def lower_attention(node, emit) -> None:
    """O, m and l, by blocks of queries."""
    *batch, queries, _ = node.op.infer(*node.inputs, **node.attrs)[0].shape
    query, keys, values = (emit.value(source) for source in node.inputs[:3])
    shape = (*batch, queries, keys.shape[-2])
    mask, state = _optional(node, emit, shape)
    sizes, operands, (out,), mask, strides = _lay_out(
        emit, batch, [query, keys, values], mask, lambda like: [emit.result(node, 0, like[0])]
    )
    top, log_sum = emit.result(node, 1), emit.result(node, 2)
    pairs = _pairs(node, shape)
    products = 2.0 * pairs * (query.shape[-1] + values.shape[-1])
    emit.kernel(
        "attention.forward",
        _words(node, operands, mask, sizes, strides, top, log_sum, state)
        | _matrices({"out": out}, strides[3:]),
        tiles_of_attention(math.prod(sizes), queries),
        reads=[ref for ref in (*operands, mask, state) if ref is not None],
        writes=[out, top, log_sum],
        cost=products * _FLOP_COST,
        flops=products + pairs * (OPS["exp"].flops + 4),
    )


def lower_attention_backward(node, emit) -> None:
    """Q̄, K̄, V̄, and S̄ if somebody asks for it, by parts of the keys; then the parts' shares of Q̄ are added."""
    *batch, queries, width = node.op.infer(*node.inputs, **node.attrs)[0].shape
    query, keys, values, *statistics, g = (emit.value(x) for x in (*node.inputs[:3], *node.inputs[-4:]))
    top, log_sum, mean = (emit.contiguous(ref) for ref in statistics)
    shape = (*batch, queries, keys.shape[-2])
    mask, state = _optional(node, emit, shape)
    sizes, operands, (dq, dk, dv), mask, strides = _lay_out(
        emit,
        batch,
        [query, keys, values, g],
        mask,
        lambda like: [emit.result(node, key, ref) for key, ref in enumerate(like[:3])],
    )
    matrices = math.prod(sizes)
    parts = parts_of_attention(matrices, shape[-1])
    shares = dq
    if parts > 1:
        all_shares = emit.new((parts, dq.size), dq.dtype)
        shares = replace(dq, buffer=all_shares.buffer, offset=0, moving=())
    g_scores = emit.result(node, 3) if emit.is_asked(node, 3) else None
    if g_scores is not None:
        emit.fill(g_scores, 0.0)
    words = _words(node, operands, mask, sizes, strides, top, log_sum, state)
    words |= _matrices({"g": operands[3], "dq": shares, "dk": dk, "dv": dv}, strides[3:])
    words |= {"means": mean, "d_scores": 0 if g_scores is None else g_scores, "share": dq.size}
    words |= {"parts": parts, "part_keys": keys_in_part(parts, shape[-1])}
    pairs = _pairs(node, shape)
    products = 2.0 * pairs * (3 * width + 2 * values.shape[-1])
    emit.kernel(
        "attention.backward",
        words,
        matrices * parts,
        reads=[ref for ref in (*operands, mask, state, top, log_sum, mean) if ref is not None],
        writes=[ref for ref in (shares, dk, dv, g_scores) if ref is not None],
        cost=products * _FLOP_COST,
        flops=products + pairs * (OPS["exp"].flops + 6),
    )
    if parts > 1:
        total = replace(dq, shape=(dq.size,), strides=(1,))
        lower_reduce(emit, "sum", all_shares, (0,), total)
