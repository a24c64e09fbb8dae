"""Cross-entropy −log p_t of a target class t under p = softmax(s), over the last axis.

With label smoothing ε the target's one-hot row is mixed with the uniform distribution over the C classes:

    q = (1 − ε) onehot(t) + ε/C,      loss = −Σ_i q_i log p_i,      s̄ = p − q.

The forward pass keeps m = max s and l = ln Σ e^{s − m}, from which the backward pass has p = e^{(s − m) − l} without
another sum. They stay two numbers: m + l would be rounded at the size of the scores, and p with it. (Label smoothing:
Szegedy et al. 2016, "Rethinking the Inception architecture for computer vision", section 7.)
"""

from tinyattn import errors
from tinyattn.graph.grad import zeros_like
from tinyattn.graph.leaf import as_tensor
from tinyattn.graph.point import at, fixed, real
from tinyattn.graph.public import public
from tinyattn.graph.tensor import Tensor, output
from tinyattn.graph.types import INT32, Type, fail, is_float
from tinyattn.ops.arrays import reduce
from tinyattn.ops.arrays.bounds import within
from tinyattn.ops.arrays.creation import arange
from tinyattn.ops.arrays.elementwise import cast, equal, exp, log, not_equal, where
from tinyattn.ops.arrays.shape import expand_dims, reshape
from tinyattn.ops.attention.softmax import largest_score, row_statistics
from tinyattn.ops.definition import by_definition, by_rows, call, hand_derived


def classes_hint(logits: Tensor, targets: Tensor) -> str:
    """What to write where targets have the shape of the scores, as one-hot rows do."""
    return "Of one-hot targets take targets.argmax(-1)." if targets.shape == logits.shape else ""


def counted_rows(x, targets, ignore):
    """x (…, d) with 0 in rows that don't count, so that what stands there reaches no derivative, be it NaN."""
    return x if ignore is None else where(expand_dims(not_equal(targets, ignore), -1), x, 0)


def _is_target(logits, targets):
    """True at each row's target. Targets are known to be classes (or not to count), and int32 holds these."""
    return equal(expand_dims(cast(targets, INT32), -1), arange(logits.shape[-1], dtype=INT32))


def _cross_entropy_definition(logits, targets, *, ignore, smoothing):
    logits = counted_rows(logits, targets, ignore)
    top = largest_score(logits, False)
    shifted = logits - top
    log_sum = log(reduce.sum(exp(shifted), -1, keepdims=True))
    # Chosen, not multiplied by 0 and 1: a class of probability 0 costs nothing unless it is the target.
    loss = log_sum - reduce.sum(where(_is_target(logits, targets), shifted, 0), -1, keepdims=True)
    if smoothing:
        uniform = log_sum - reduce.sum(shifted, -1, keepdims=True) * (1 / logits.shape[-1])
        loss = (1 - smoothing) * loss + smoothing * uniform
    return tuple(reshape(counted_rows(x, targets, ignore), targets.shape) for x in (loss, top, log_sum))


def _cross_entropy_backward_definition(logits, targets, top, log_sum, g, *, ignore, smoothing):
    logits = counted_rows(logits, targets, ignore)
    weights = exp(logits - expand_dims(top, -1) - expand_dims(log_sum, -1))
    rest = weights - smoothing / logits.shape[-1] if smoothing else weights
    away = where(_is_target(logits, targets), rest - (1 - smoothing), rest)
    return counted_rows(away * expand_dims(g, -1), targets, ignore)


def _infer_cross_entropy(logits, targets, *, ignore, smoothing):
    return (Type(targets.shape, logits.dtype),) * 3


def _cross_entropy_derivative(cotangents, node):
    logits, targets = node.inputs
    if 2 in cotangents:  # somebody differentiates the log-sum-exp itself
        return by_definition(cotangents, node)
    operands = logits, targets, *row_statistics(node), cotangents.get(0, zeros_like(output(node, 0)))
    return call("cross_entropy_backward", *operands, **node.attrs), None


hand_derived(
    "cross_entropy",
    _infer_cross_entropy,
    _cross_entropy_definition,
    _cross_entropy_derivative,
    lower=by_rows(weights=True),
    formula="−log softmax({0})[{1}]",
    vjp_formula="(softmax({0}) − onehot({1}))·ḡ",
    results=("", "maximum", "log-sum"),
)
hand_derived(
    "cross_entropy_backward",
    lambda logits, *rest, **attrs: logits.type,
    _cross_entropy_backward_definition,
    lower=by_rows(weights=True),
    formula="(softmax({0}) − onehot({1}))·{4}",
)


@public(at(real(3, 4), fixed([1, 0, 3]), label_smoothing=0.1))
def cross_entropy_rows(
    logits, targets, ignore_index: int | None = None, label_smoothing: float = 0.0
) -> Tensor:
    """``−log softmax(logits)[target]`` of each row, logits (…, C), floating-point, integer targets (…) → (…); 0
    where the target is ``ignore_index``. ``label_smoothing`` as for :func:`cross_entropy`.

    Raises ShapeError for classes that aren't there, DTypeError for logits that aren't floating-point or targets
    that aren't integers.
    """
    logits, targets = as_tensor(logits), as_tensor(targets)
    if not is_float(logits.dtype) or targets.dtype.kind != "i":
        fail(
            errors.DTypeError,
            "cross_entropy",
            "logits must be floating-point and targets integer class numbers",
            f"got {logits.type} and {targets.type}",
            "Convert targets with .astype(np.int64).",
        )
    if logits.ndim < 1 or logits.shape[:-1] != targets.shape:
        fail(
            errors.ShapeError,
            "cross_entropy",
            "logits (…, C) and targets (…) must agree but for the class axis",
            f"got {logits.shape} and {targets.shape}",
            classes_hint(logits, targets),
        )
    check_smoothing(label_smoothing)
    classes = logits.shape[-1]
    targets = within("cross_entropy", "targets", targets, classes, negative=False, ignore=ignore_index)
    rows = reshape(logits, (-1, classes)) if logits.ndim != 2 else logits
    loss, *_ = call(
        "cross_entropy",
        rows,
        reshape(targets, (-1,)) if targets.ndim != 1 else targets,
        count=3,
        ignore=ignore_index,
        smoothing=float(label_smoothing),
    )
    return reshape(loss, targets.shape)


def check_smoothing(label_smoothing: float) -> None:
    if not 0 <= label_smoothing < 1:
        must = "label_smoothing must lie in [0, 1)"
        fail(errors.ShapeError, "cross_entropy", must, f"got {label_smoothing}")


def mean_of_rows(rows: Tensor, targets, ignore_index: int | None) -> Tensor:
    """The mean of the losses of those targets that count."""
    if ignore_index is None:
        return reduce.sum(rows) * (1 / rows.size) if rows.size else reduce.sum(rows)
    counted = reduce.sum(cast(not_equal(as_tensor(targets), ignore_index), rows.dtype))
    return reduce.sum(rows) / where(equal(counted, 0), 1, counted)
