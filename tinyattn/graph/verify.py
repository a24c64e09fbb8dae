"""The verifier: compares every node's type with the one that followed from its inputs when it was made, and checks the
graph's structure. It runs after every rewrite pass. Nodes don't change, so what has been verified once is not looked
at again.
"""

from collections.abc import Sequence
from typing import Any

from tinyattn.errors import TinyattnError
from tinyattn.graph.body import Body
from tinyattn.graph.tensor import Tensor
from tinyattn.graph.types import Type


class VerifyError(TinyattnError):
    """A graph is malformed; the message names the node and the pass that made it."""


def verify(roots: Sequence[Tensor], where: str = "graph") -> None:
    """Check all nodes below ``roots``, and inside bodies: types as inferred, bodies closed."""
    found: list[tuple[Tensor, Any]] = []
    stack = list(roots)
    try:
        while stack:
            node = stack.pop()
            kind = node._verified
            if kind is not True:
                node._verified = True
                found.append((node, kind))
                _check(node, kind, where)
                stack += node.inputs
    except BaseException:  # what is below a verified node must be, too
        for node, kind in found:
            node._verified = kind
        raise


def _check(node: Tensor, kind: Type | None, where: str) -> None:
    """Check one node, which was inferred to be of this ``kind``."""
    if kind is not None and kind != (node.shape, node.dtype):
        raise VerifyError(
            f"[verify] node types must follow from their inputs, but {node!r} should be {kind} ({where})."
        )
    for value in node.attrs.values():
        if isinstance(value, Body) and not value.verified:
            _check_closed(value, f"{where} / body of {node.op.name}")
            verify(value.outputs, f"{where} / body of {node.op.name}")
            value.verified = True


def _check_closed(body: Body, where: str) -> None:
    """Check that a body uses its own arguments, and no leaf."""
    arguments = set(body.arguments)
    for node in body.nodes():
        if node.op.name == "argument" and node not in arguments:
            raise VerifyError(
                f"[verify] a body must use its own arguments only, but {node!r} is free ({where})."
            )
        if node.op.name in ("tensor", "parameter", "input"):
            raise VerifyError(f"[verify] a body must be closed, but it uses the leaf {node!r} ({where}).")
