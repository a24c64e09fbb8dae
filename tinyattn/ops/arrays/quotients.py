"""Derivatives through a logarithm, without the quotient.

Of log f(x) the derivative is g/f · f′. Where f is a softmax, σ, 1 + exp or a sum of exponentials, f may be 0 or
infinite though the whole is as tame as can be:

    log softmax(x)   g − p Σ g              log σ(x)         g σ(−x)
    log(1 + exp x)   g σ(x)                 log Σ exp(x)     g softmax(x)

So the derivative of such an f looks whether its cotangent is a number divided by f, or a sum with such a term, and then
answers the form on the right at once: rewriting the whole afterwards would mend the first derivative, but not those
that are taken of it.
"""

import math
from collections.abc import Callable

from tinyattn.graph.tensor import Tensor, make
from tinyattn.rewrite.rule import number, spread
from tinyattn.rewrite.stable import is_shifted

_TERMS = 8
"""Most terms of a cotangent that are looked at."""


def by_terms(cotangent: Tensor, y: Tensor, ordinary: Callable, stable: Callable) -> Tensor:
    """The derivative by y's input: ``stable(term, y)`` of those terms of the cotangent for which it isn't None, and
    ``ordinary(rest, y)``.
    """
    terms = [cotangent]
    rest: list[Tensor] = []
    found: list[Tensor] = []
    while terms:
        term = terms.pop()
        if term.op.name == "add" and len(terms) + len(rest) + len(found) < _TERMS:
            terms += reversed(term.inputs)
            continue
        better = stable(term, y)
        found.append(better) if better is not None else rest.append(term)
    if not found:
        return ordinary(cotangent, y)
    total = found[0]
    for term in [*found[1:], *([ordinary(_sum(rest, y), y)] if rest else [])]:
        total = make("add", total, term)
    return total


def _sum(terms: list[Tensor], like: Tensor) -> Tensor:
    total = spread(terms[0], like)
    for term in terms[1:]:
        total = make("add", total, term)
    return total


def _divided(term: Tensor) -> tuple[Tensor | None, Tensor]:
    """g and f of g/f; None if it isn't a quotient."""
    return term.inputs if term.op.name == "div" else (None, term)  # type: ignore[return-value]


def of_softmax(term: Tensor, y: Tensor) -> Tensor | None:
    """p ⊙ (g/p − ⟨p, g/p⟩) = g − p Σ g, where the logarithm may have been taken of pᵀ."""
    g, p = _divided(term.inputs[0] if term.op.name == "transpose" else term)
    if g is not None and term.op.name == "transpose":
        back = term.attrs["axes"]
        if p.op.name != "transpose" or [p.attrs["axes"][a] for a in back] != list(range(y.ndim)):
            return None
        g, p = make("transpose", spread(g, p), axes=back), p.inputs[0]
    if g is None or p is not y:
        return None
    return make("log_softmax_backward", make("log_softmax", *y.inputs), spread(g, y))


def of_sigmoid(term: Tensor, y: Tensor) -> Tensor | None:
    """g/σ(x) · σ(x)(1 − σ(x)) = g σ(−x)."""
    g, divisor = _divided(term)
    if g is None or divisor is not y:
        return None
    return make("mul", spread(g, y), make("sigmoid", make("neg", y.inputs[0])))


def of_exp(term: Tensor, y: Tensor) -> Tensor | None:
    """g/(1 + exp x) · exp x = g σ(x), and g/Σ exp(x) · exp x = g softmax(x)."""
    views: list[Tensor] = []
    whole = term
    while term.op.name == "reshape" or (term.op.name == "broadcast_to" and not views):
        views.append(term)
        term = term.inputs[0]
    g, divisor = _divided(term)
    if g is None:
        return None
    if not views and divisor.op.name == "add":
        a, b = divisor.inputs
        if (a is y and number(b) == 1) or (b is y and number(a) == 1):
            return make("mul", spread(g, y), make("sigmoid", y.inputs[0]))
    if divisor.op.name != "sum" or divisor.inputs[0] is not y or divisor.shape != term.shape:
        return None
    x, axes = y.inputs[0], divisor.attrs["axes"]
    if not y.size or not axes or is_shifted(x):
        return None
    # The sum must lie along the axes that it was taken over.
    kept = tuple(1 if a in axes else size for a, size in enumerate(x.shape))
    before = whole.inputs[0] if whole.op.name == "broadcast_to" else whole
    if divisor.size != 1 and before.shape != kept:
        return None
    share = spread(g, term)
    for view in reversed(views):
        share = make(view.op.name, share, **view.attrs)
    return make("mul", share, _softmax(x, axes))


def _softmax(x: Tensor, axes: tuple[int, ...]) -> Tensor:
    """The softmax over several axes."""
    order = (*(a for a in range(x.ndim) if a not in axes), *axes)
    moved = order != tuple(range(x.ndim))
    rows = make("transpose", x, axes=order) if moved else x
    kept = rows.shape[: x.ndim - len(axes)]
    flat = make("reshape", rows, shape=(*kept, x.size // math.prod(kept))) if len(axes) > 1 else rows
    weights = make("softmax", flat)
    weights = make("reshape", weights, shape=rows.shape) if len(axes) > 1 else weights
    return make("transpose", weights, axes=tuple(map(order.index, range(x.ndim)))) if moved else weights
