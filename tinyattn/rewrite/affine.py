"""Affine fusion: sums become part of products. x·w + b, and a recurrent step's x_t + h·u, are one kernel, C = A·B + D,
and a small one's relu, tanh or sigmoid too, C = f(A·B + D); squares by the sum over them.

The product (or square) must have no other user, or it would be made twice. A bias that is added after a
reshape is moved inside it.
"""

from collections.abc import Sequence

from tinyattn.graph import scope
from tinyattn.graph.tensor import Tensor, make
from tinyattn.graph.traverse import consumers, rebuild, topological, transform
from tinyattn.rewrite.bodies import ENTERED, Bodies
from tinyattn.rewrite.rule import Log, Rule

AFFINE = Rule("fuse-affine", "a·b + d → affine(a, b, d)")
FUNCTION = Rule("fuse-affine-function", "f(a·b + d) → affine_f(a, b, d)")
SQUARES = Rule("sum-squares", "Σ x² → one reduction")

FUNCTIONS = ("relu", "tanh", "sigmoid")
MOST_APPLIED = 1 << 16
"""Most numbers of a product that f is applied to in its kernel. That spares two threads the handing over of
another kernel, up to a third of the time for 64 × 128 numbers; with one thread, or from 768 × 512 on, it is all
the same.
"""


def fuse_affine(roots: Sequence[Tensor], log: Log, order: Sequence[Tensor] | None = None) -> list[Tensor]:
    """``roots`` with sums in products, inside bodies too; ``order``: all nodes in topological order, if it is known."""
    order = topological(roots) if order is None else order
    if not any(n.op.name in ("matmul", "scan") or _squares(n) for n in order):
        return list(roots)
    users = consumers(order)
    roots_set = set(roots)
    bodies = Bodies(order, lambda inside, _: fuse_affine(inside, log))

    def alone(node: Tensor) -> bool:
        return node not in roots_set and len(users[node]) == 1

    def product_below(node: Tensor) -> bool:
        """Whether ``node`` is a product, or a reshape of one, that only its user needs."""
        if node.op.name == "reshape" and node.shape[-1:] == node.inputs[0].shape[-1:]:
            return alone(node) and product_below(node.inputs[0])
        return node.op.name == "matmul" and alone(node)

    def apart(node: Tensor) -> bool:
        """Whether a function would be a kernel by itself: its argument is only its own, and what needs its
        value is not the next link of a chain.
        """
        needed = node in roots_set or any(not user.op.elementwise for user in users[node])
        argument = node.inputs[0]
        while argument.op.name == "reshape" and alone(argument):
            argument = argument.inputs[0]
        return needed and node.size <= MOST_APPLIED and alone(argument)

    def change(node: Tensor, inputs: list[Tensor]) -> Tensor:
        if node.op.name in ENTERED:
            inner = bodies.enter(node, inputs)
            if inner is not None:
                return inner
        if node.op.name == "add":
            for k in (0, 1):
                if product_below(node.inputs[k]):
                    with scope.on_behalf_of(node.inputs[k], node.inputs[k].origin):
                        better = _affine(inputs[k], inputs[1 - k], node)
                    if better is not None:
                        log.steps.append(("affine", AFFINE, node, better))
                        return better
        if node.op.name in FUNCTIONS and apart(node):
            better = _applied(inputs[0], node.op.name)
            if better is not None:
                log.steps.append(("affine", FUNCTION, node, better))
                return better
        if _squares(node) and alone(node.inputs[0]) and _trailing(node):
            with scope.on_behalf_of(node, node.origin):
                better = make(
                    "sum_squares",
                    inputs[0].inputs[0],
                    axes=node.attrs["axes"],
                    keepdims=node.attrs["keepdims"],
                )
            log.steps.append(("affine", SQUARES, node, better))
            return better
        return rebuild(node, inputs)

    return transform(roots, change, order=order)


def _squares(node: Tensor) -> bool:
    return node.op.name == "sum" and node.inputs[0].op.name == "square"


def _trailing(node: Tensor) -> bool:
    """Whether a reduction is over the last axes: along rows."""
    axes, rank = node.attrs["axes"], node.inputs[0].ndim
    return len(axes) > 0 and axes == tuple(range(rank - len(axes), rank))


def _affine(product: Tensor, added: Tensor, total: Tensor) -> Tensor | None:
    if product.shape != total.shape:
        return None
    if product.op.name == "reshape":
        inner = product.inputs[0]
        if added.ndim == 1 or all(s == 1 for s in added.shape[:-1]):
            row = added if added.ndim == 1 else make("reshape", added, shape=(added.shape[-1],))
        elif added.shape == product.shape:
            row = make("reshape", added, shape=inner.shape)
        else:
            return None
        if inner.op.name != "matmul" or row.shape[-1] not in (1, inner.shape[-1]):
            return None
        return make("reshape", make("affine", *inner.inputs, row), shape=product.shape)
    return make("affine", *product.inputs, added) if product.op.name == "matmul" else None


def _applied(total: Tensor, function: str) -> Tensor | None:
    if total.op.name == "reshape":
        inner = _applied(total.inputs[0], function)
        return None if inner is None else make("reshape", inner, shape=total.shape)
    return make(f"affine_{function}", *total.inputs) if total.op.name == "affine" else None
