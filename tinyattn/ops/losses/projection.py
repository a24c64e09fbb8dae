"""The output projection of a language model and its loss in one: cross-entropy of ``hidden · weightᵀ + bias``.

With logits S = H Wᵀ + b and their gradient S̄ = (softmax S − q) ḡ, row by row,

    H̄ = S̄ W,      W̄ = S̄ᵀ H,      b̄ = Σ S̄     (over rows).

The logits are by far the largest array of a model: N tokens by V words. Where they fit, they are kept, and S̄
is written over them: one buffer of N × V numbers is all there ever is. Beyond ``WHOLE_BYTES`` they are not
kept at all: both passes make them again, a *chunk* of rows at a time, for a third more work in the products.
For 8192 tokens and the 50257 words of GPT-2 that is 64 MB instead of 1.6 GB.
"""

from tinyattn import errors
from tinyattn.graph.grad import zeros_like
from tinyattn.graph.leaf import as_tensor
from tinyattn.graph.operands import real_operands
from tinyattn.graph.point import at, fixed, real
from tinyattn.graph.public import public
from tinyattn.graph.tensor import Tensor, make, output
from tinyattn.graph.types import Type, fail
from tinyattn.ops.arrays import reduce
from tinyattn.ops.arrays.bounds import within
from tinyattn.ops.arrays.linalg import lower_product, matmul
from tinyattn.ops.arrays.reduce_lowering import lower_reduce
from tinyattn.ops.arrays.shape import reshape, transpose
from tinyattn.ops.attention.softmax import row_statistics
from tinyattn.ops.definition import by_definition, call, hand_derived
from tinyattn.ops.losses.cross_entropy import (
    counted_rows,
    cross_entropy_rows,
    mean_of_rows,
)

WHOLE_BYTES = 256 << 20
"""Logits of at most so many bytes are kept from the forward to the backward pass."""
CHUNK_BYTES = 64 << 20
"""About how many bytes of logits are made at a time otherwise."""


def _logits(hidden, weight, *bias):
    logits = matmul(hidden, transpose(weight))
    return logits + bias[0] if bias else logits


def _definition(hidden, weight, targets, *bias, chunk, **attrs):
    return call("cross_entropy", _logits(hidden, weight, *bias), targets, count=3, **attrs)


def _backward_definition(hidden, weight, targets, top, log_sum, g, *bias, chunk, **attrs):
    logits = _logits(hidden, weight, *bias)
    rows = make("cross_entropy_backward", logits, targets, top, log_sum, g, **attrs)
    return matmul(rows, weight), matmul(transpose(rows), hidden), reduce.sum(rows, 0)


def _derivative(cotangents, node):
    if 2 in cotangents:  # somebody differentiates the log-sum-exp itself
        return by_definition(cotangents, node)
    hidden, weight, targets, *bias = node.inputs
    g = cotangents.get(0, zeros_like(output(node, 0)))
    operands = hidden, weight, targets, *row_statistics(node), g, *bias
    found = call("linear_cross_entropy_backward", *operands, count=3, **node.attrs)
    return (*found[:2], None, *found[2 : 2 + len(bias)])


def _infer(hidden, weight, targets, *bias, **attrs):
    return (Type(targets.shape, hidden.dtype),) * 3


def _infer_backward(hidden, weight, *rest, **attrs):
    return hidden.type, weight.type, Type(weight.shape[:1], weight.dtype)


def _rule(node) -> dict:
    """The attributes of the cross-entropy within."""
    return {key: value for key, value in node.attrs.items() if key != "chunk"}


def _chunks(node, emit, fixed: int):
    """For each chunk: its first row, and hidden states, targets and logits of its rows, just made."""
    hidden, weight = (emit.value(v) for v in node.inputs[:2])
    targets = emit.contiguous(emit.value(node.inputs[2]))
    bias = emit.value(node.inputs[fixed]) if len(node.inputs) > fixed else None
    count, words = hidden.shape[0], weight.shape[0]
    most = node.attrs["chunk"]
    buffer = emit.new((min(most, count), words), hidden.dtype)
    for start in range(0, count, most):
        rows = min(most, count - start)
        part = hidden.sliced((start, 0), (1, 1), (rows, hidden.shape[1]))
        logits = buffer.sliced((0, 0), (1, 1), (rows, words))
        lower_product(emit, part, weight.transposed((1, 0)), logits, added=bias)
        yield start, part, targets.sliced((start,), (1,), (rows,)), logits


def _lower(node, emit):
    results = [emit.result(node, k) for k in range(3)]
    for start, _, targets, logits in _chunks(node, emit, 3):
        parts = {k: r.sliced((start,), (1,), targets.shape) for k, r in enumerate(results)}
        emit.rows("cross_entropy", [logits, targets], parts, _rule(node), weights=True)


def _lower_backward(node, emit):
    weight, *statistics, g = (emit.value(node.inputs[k]) for k in (1, 3, 4, 5))
    statistics = [emit.contiguous(ref) for ref in statistics]
    d_hidden, d_weight, d_bias = (emit.result(node, k) if emit.is_asked(node, k) else None for k in range(3))
    count = -(-node.inputs[0].shape[0] // node.attrs["chunk"])
    sums = None if d_bias is None else emit.new((count, weight.shape[0]), weight.dtype)
    if count == 0:
        for result in (d_weight, d_bias):
            if result is not None:
                emit.fill(result, 0)
    for k, (start, hidden, targets, logits) in enumerate(_chunks(node, emit, 6) if count else ()):
        rows = targets.shape
        parts = (ref.sliced((start,), (1,), rows) for ref in (*statistics, g))
        operands = [logits, targets, *parts]
        emit.rows("cross_entropy_backward", operands, {None: logits}, _rule(node), weights=True)
        if d_hidden is not None:
            lower_product(emit, logits, weight, d_hidden.sliced((start, 0), (1, 1), hidden.shape))
        if d_weight is not None:
            lower_product(emit, logits.transposed((1, 0)), hidden, d_weight, added=d_weight if k else None)
        if sums is not None:
            lower_reduce(emit, "sum", logits, (0,), sums.row(k))
    if sums is not None and count:
        lower_reduce(emit, "sum", sums, (0,), d_bias)


hand_derived(
    "linear_cross_entropy",
    _infer,
    _definition,
    _derivative,
    lower=_lower,
    formula="−log softmax({0}·{1}ᵀ)[{2}]",
    vjp_formula="s̄·{1}, s̄ᵀ·{0} with s̄ = (softmax({0}·{1}ᵀ) − onehot({2}))·ḡ",
    results=("", "maximum", "log-sum"),
)
hand_derived(
    "linear_cross_entropy_backward",
    _infer_backward,
    _backward_definition,
    lower=_lower_backward,
    formula="s̄·{1}, s̄ᵀ·{0}, Σ s̄ with s̄ = (softmax({0}·{1}ᵀ) − onehot({2}))·{5}",
    results=("hidden", "weight", "bias"),
)


@public(at(real(3, 2), real(4, 2), fixed([1, 0, 3]), real(4)))
def linear_cross_entropy(
    hidden, weight, targets, bias=None, ignore_index: int | None = None, label_smoothing: float = 0.0
) -> Tensor:
    """Mean cross-entropy of ``hidden · weightᵀ + bias``, a scalar in nats, the logits being made in place.

    hidden (…, d), weight (V, d) such as an embedding table, integer targets (…), bias (V,) or None; the other
    arguments as for :func:`cross_entropy`, which it equals. Logits of more than 256 MiB are never held at once, but
    made in both passes, some 64 MiB at a time. Integers and bools become float32. Raises ShapeError or DTypeError
    for what doesn't fit.
    """
    hidden, weight, bias = real_operands(hidden, weight, optional=(bias,))
    targets = as_tensor(targets)
    if weight.ndim != 2 or hidden.ndim < 1 or hidden.shape[-1] != weight.shape[-1]:
        fail(
            errors.ShapeError,
            "linear_cross_entropy",
            "hidden (…, d) and weight (V, d) must share the width d",
            f"got {hidden.type} and {weight.type}",
        )
    words = weight.shape[0]
    if hidden.shape[:-1] != targets.shape:
        fail(
            errors.ShapeError,
            "linear_cross_entropy",
            "hidden (…, d) and targets (…) must agree but for the width",
            f"got {hidden.shape} and {targets.shape}",
        )
    given = () if bias is None else (bias,)
    for b in given:
        if b.shape != (words,):
            fail(
                errors.ShapeError,
                "linear_cross_entropy",
                f"the bias must be ({words},)",
                f"got {b.shape}",
            )
    if targets.dtype.kind == "i":
        targets = within("linear_cross_entropy", "targets", targets, words, False, ignore_index)
    hidden = counted_rows(hidden, targets, ignore_index)
    losses = cross_entropy_rows(_logits(hidden, weight, *given), targets, ignore_index, label_smoothing)
    if targets.size * words * weight.dtype.itemsize > WHOLE_BYTES:
        chunk = max(1, CHUNK_BYTES // (words * weight.dtype.itemsize))
        flat = reshape(hidden, (targets.size, weight.shape[1])), weight, reshape(targets, (targets.size,))
        attrs = {"ignore": ignore_index, "smoothing": float(label_smoothing), "chunk": chunk}
        losses = reshape(call("linear_cross_entropy", *flat, *given, count=3, **attrs)[0], targets.shape)
    return mean_of_rows(losses, targets, ignore_index)
