"""The verifier: re-derives every node's type from its inputs and checks the graph's structure. It runs after
every rewrite pass. Nodes don't change, so what has been verified once is not looked at again.
"""

from collections.abc import Sequence

from tinyattn.errors import TinyattnError
from tinyattn.graph.body import Body
from tinyattn.graph.op import check_operands
from tinyattn.graph.tensor import Tensor
from tinyattn.graph.types import Type


class VerifyError(TinyattnError):
    """A graph is malformed; the message names the node and the pass that made it."""


def verify(roots: Sequence[Tensor], where: str = "graph", allowed: set[Tensor] | None = None) -> None:
    """Check all nodes below ``roots`` (and inside bodies): types re-inferred, bodies closed, no traced input
    where none is ``allowed``.
    """
    seen: set[Tensor] = set()
    stack = list(roots)
    while stack:
        node = stack.pop()
        # What is free in a body depends on the body: there, everything is looked at (once for each body, see below).
        if node in seen or (node._verified and allowed is None):
            continue
        seen.add(node)
        stack += node.inputs
        if node.op.name == "argument":
            if allowed is not None and node not in allowed:
                raise VerifyError(
                    f"[verify] a body must use its own arguments only, but {node!r} is free ({where})."
                )
            continue
        if node.op.name in ("tensor", "parameter", "input"):
            if allowed is not None:
                raise VerifyError(f"[verify] a body must be closed, but it uses the leaf {node!r} ({where}).")
            continue
        if node._verified:
            continue
        check_operands(node.op, node.inputs)
        kind = node.op.infer(*node.inputs, **node.attrs)
        if isinstance(kind, Type) and (kind.shape, kind.dtype) != (node.shape, node.dtype):
            raise VerifyError(
                f"[verify] node types must follow from their inputs, but {node!r} should be {kind} ({where})."
            )
        for value in node.attrs.values():
            if isinstance(value, Body) and not value.verified:
                verify(value.outputs, f"{where} / body of {node.op.name}", set(value.arguments))
                value.verified = True
    for node in seen:  # (not before all of them are: what is below a verified node is, too)
        node._verified = node.op.name != "argument"
