"""Rules that stabilise: what a user wrote loses digits, or is 0 or infinite on the way; the form in its place doesn't.

A derivative is taken of what was written, before rewriting: where that of log(softmax x) divides by a weight, a rule
mends the quotient, too.
"""

from tinyattn.graph.leaf import constant
from tinyattn.graph.tensor import Tensor, make
from tinyattn.graph.traverse import rebuild
from tinyattn.rewrite.rule import number, rule, spread


@rule("log-softmax", "log softmax(x) → log_softmax(x)", "stabilising", "log", below=("softmax",))
def log_softmax(node: Tensor) -> Tensor | None:
    inner = node.inputs[0]
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


def _below_top(total: Tensor) -> tuple[Tensor, Tensor] | None:
    """For Σ exp(x): x − max x, and max x. None for something else, and where the maximum has been taken out already."""
    if total.op.name != "sum" or total.inputs[0].op.name != "exp":
        return None
    x, axes = total.inputs[0].inputs[0], total.attrs["axes"]
    if not axes or x.size == 0:
        return None
    if x.op.name == "sub" and number(x.inputs[1]) is None and x.inputs[1].shape != x.shape:
        return None
    kept = tuple(1 if a in axes else s for a, s in enumerate(x.shape))
    top = make("reshape", make("max", x, axes=axes, keepdims=False), shape=kept)
    top = make("where", make("isfinite", top), top, constant(0, x.dtype))
    return make("sub", x, top), top


@rule("logsumexp", "log Σ exp(x) → max + log Σ exp(x − max)", "stabilising", "log", below=("sum",))
def logsumexp(node: Tensor) -> Tensor | None:
    total = node.inputs[0]
    found = _below_top(total)
    if found is None:
        return None
    below, top = found
    shifted = rebuild(total, [make("exp", below)])
    return make("add", make("log", shifted), make("reshape", top, shape=node.shape))


@rule(
    "log-softmax-derivative",
    "p ⊙ (g/p − ⟨p, g/p⟩) → g − p Σ g",
    "stabilising",
    "softmax_backward",
    below=("softmax",),
)
def log_softmax_derivative(node: Tensor) -> Tensor | None:
    weights, cotangent = node.inputs
    if weights.op.name != "softmax":
        return None
    if cotangent.op.name == "add":  # of the weights and of their logarithm: the derivative is linear
        parts = [make("softmax_backward", weights, spread(part, node)) for part in cotangent.inputs]
        stable = [log_softmax_derivative(part) for part in parts]
        if all(part is None for part in stable):
            return None
        return make("add", *(old if new is None else new for new, old in zip(stable, parts, strict=True)))
    if cotangent.op.name != "div" or cotangent.inputs[1] is not weights:
        return None
    return make(
        "log_softmax_backward", make("log_softmax", *weights.inputs), spread(cotangent.inputs[0], node)
    )


@rule("logsumexp-derivative", "exp(x) · g/Σ exp(x) → g · softmax(x)", "stabilising", "mul", below=("exp",))
def logsumexp_derivative(node: Tensor) -> Tensor | None:
    for weights, share in (node.inputs, reversed(node.inputs)):
        views = []
        while share.op.name in ("broadcast_to", "reshape"):
            views.append(share)
            share = share.inputs[0]
        if weights.op.name != "exp" or share.op.name != "div" or share.inputs[1].shape != share.shape:
            continue
        cotangent, total = share.inputs
        found = _below_top(total) if total.inputs and total.inputs[0] is weights else None
        if found is not None:
            top_weights = make("exp", found[0])
            parts = [spread(cotangent, share), rebuild(total, [top_weights])]
            for view in reversed(views):
                parts = [rebuild(view, [part]) for part in parts]
            return make("mul", parts[0], make("div", top_weights, parts[1]))
    return None


@rule("log-sigmoid-derivative", "g/σ(x) · σ(x)(1 − σ(x)) → g·σ(−x)", "stabilising", "mul", below=("div",))
def log_sigmoid_derivative(node: Tensor) -> Tensor | None:
    for share, slope in (node.inputs, reversed(node.inputs)):
        if share.op.name == "div" and share.inputs[1].op.name == "sigmoid" and slope.op.name == "mul":
            g, y = share.inputs
            if slope.inputs[0] is y and slope.inputs[1].op.name == "sub" and slope.inputs[1].inputs[1] is y:
                if number(slope.inputs[1].inputs[0]) == 1:
                    return make("mul", spread(g, node), make("sigmoid", make("neg", y.inputs[0])))
    return None


@rule("softplus-derivative", "g/(1 + exp(x)) · exp(x) → g·σ(x)", "stabilising", "mul", below=("exp",))
def softplus_derivative(node: Tensor) -> Tensor | None:
    for share, power in (node.inputs, reversed(node.inputs)):
        if power.op.name == "exp" and share.op.name == "div" and share.inputs[1].op.name == "add":
            terms = share.inputs[1].inputs
            if any(a is power and number(b) == 1 for a, b in (terms, reversed(terms))):
                return make("mul", spread(share.inputs[0], node), make("sigmoid", power.inputs[0]))
    return None
