"""Rules that stabilise: what a user wrote loses digits, or is 0 or infinite on the way; the form in its place doesn't.

A derivative is taken of what was written, before rewriting; ops/arrays/quotients.py keeps it stable.
"""

from tinyattn.graph.leaf import constant
from tinyattn.graph.tensor import Tensor, make
from tinyattn.graph.traverse import rebuild
from tinyattn.rewrite.rule import number, rule, spread


@rule("log-softmax", "log softmax(x) → log_softmax(x)", "stabilising", "log", below=("softmax", "transpose"))
def log_softmax(node: Tensor) -> Tensor | None:
    inner = node.inputs[0]
    if inner.op.name == "transpose" and inner.inputs[0].op.name == "softmax":  # not along the last axis
        return rebuild(inner, [make("log_softmax", *inner.inputs[0].inputs)])
    return make("log_softmax", *inner.inputs) if inner.op.name == "softmax" else None


@rule("log1p", "log(1 + x) → log1p(x)", "stabilising", "log", below=("add",))
def log1p(node: Tensor) -> Tensor | None:
    inner = node.inputs[0]
    if inner.op.name == "add":
        a, b = inner.inputs
        for x, other in ((a, b), (b, a)):
            if number(other) == 1:
                return make("log1p", spread(x, node))
    return None


@rule("softplus", "log1p(exp(x)) → softplus(x)", "stabilising", "log1p", below=("exp",))
def softplus(node: Tensor) -> Tensor | None:
    inner = node.inputs[0]
    return make("softplus", inner.inputs[0]) if inner.op.name == "exp" else None


@rule("log-sigmoid", "log σ(x) → −softplus(−x)", "stabilising", "log", below=("sigmoid",))
def log_sigmoid(node: Tensor) -> Tensor | None:
    inner = node.inputs[0]
    return make("neg", make("softplus", make("neg", inner.inputs[0]))) if inner.op.name == "sigmoid" else None


@rule("expm1", "exp(x) − 1 → expm1(x)", "stabilising", "sub", below=("exp",))
def expm1(node: Tensor) -> Tensor | None:
    a, b = node.inputs
    return (
        make("expm1", a.inputs[0])
        if a.op.name == "exp" and number(b) == 1 and a.shape == node.shape
        else None
    )


def is_shifted(x: Tensor) -> bool:
    """Whether something, as a rule a maximum, has been subtracted from x along some of its axes."""
    return x.op.name == "sub" and number(x.inputs[1]) is None and x.inputs[1].shape != x.shape


@rule("logsumexp", "log Σ exp(x) → max + log Σ exp(x − max)", "stabilising", "log", below=("sum",))
def logsumexp(node: Tensor) -> Tensor | None:
    total = node.inputs[0]
    if total.op.name != "sum" or total.inputs[0].op.name != "exp":
        return None
    x, axes = total.inputs[0].inputs[0], total.attrs["axes"]
    if not axes or x.size == 0 or is_shifted(x):
        return None
    kept = tuple(1 if a in axes else s for a, s in enumerate(x.shape))
    top = make("reshape", make("max", x, axes=axes, keepdims=False), shape=kept)
    top = make("where", make("isfinite", top), top, constant(0, x.dtype))
    shifted = rebuild(total, [make("exp", make("sub", x, top))])
    return make("add", make("log", shifted), make("reshape", top, shape=node.shape))
