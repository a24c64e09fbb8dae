"""Graphs as text: one line a node, and names that depend on structure only.

A structural id is a short digest of a node's operation, attributes and inputs; leaves are told apart by
name, type and order of appearance. Two runs give the same ids, so pictures and caches made from them are
identical byte for byte.
"""

import hashlib
from collections.abc import Sequence

from tinyattn.graph.body import Body
from tinyattn.graph.leaf import constant_value
from tinyattn.graph.names import names as names_of
from tinyattn.graph.tensor import Tensor
from tinyattn.graph.traverse import topological


def structural_ids(roots: Sequence[Tensor]) -> dict[Tensor, str]:
    """An id for each node below ``roots``, unique among them."""
    ids: dict[Tensor, str] = {}
    taken: dict[str, int] = {}
    for node in topological(roots):
        leaf = "" if node.inputs else f"{node.name}|{node.type if node.dtype is not None else ''}"
        source = "|".join([node.op.name, attrs_text(node), leaf, *(ids[s] for s in node.inputs)])
        digest = _digest(source)
        count = taken.get(digest, 0)  # equal only for leaves that look the same: number them as they appear
        taken[digest] = count + 1
        ids[node] = f"{node.op.name}_{digest}" + (f"_{count}" if count else "")
    return ids


def _digest(text: str) -> str:
    data = text.encode(errors="surrogatepass")  # a name may be any string
    return hashlib.blake2b(data, digest_size=6).hexdigest()


def _attr_text(value) -> str:
    if isinstance(value, Body):
        return f"body<{_digest(body_text(value))}>"
    if isinstance(value, Tensor):
        return structural_ids([value])[value]
    if isinstance(value, bytes):
        return hashlib.blake2b(value, digest_size=6).hexdigest()
    if isinstance(value, tuple):
        return "(" + ", ".join(map(_attr_text, value)) + ")"
    return str(value)


def attrs_text(node: Tensor) -> str:
    """A node's attributes as ``name=value`` pairs."""
    return ", ".join(f"{key}={_attr_text(value)}" for key, value in node.attrs.items())


def to_text(roots: Tensor | Sequence[Tensor]) -> str:
    """A graph as assignments, one line a node: ``%3 = matmul(%1, %2)  f32[4, 5]  # decoder/attention``."""
    roots = [roots] if isinstance(roots, Tensor) else list(roots)
    called = names_of(roots)
    names: dict[Tensor, str] = {}
    rows = []
    for node in topological(roots):
        if node.op.name == "constant" and node.size == 1:
            names[node] = f"{constant_value(node).item():g}"
            continue
        if node.op.name == "argument":
            names[node] = f"arg{node.attrs['index']}"
            continue
        names[node] = f"%{called.get(node, len(names))}"
        attrs = {k: v for k, v in node.attrs.items() if not isinstance(v, Body) and k != "data"}
        parts = [names[s] for s in node.inputs]
        parts += [
            f"{k}={names.get(v, _attr_text(v)) if isinstance(v, Tensor) else _attr_text(v)}"
            for k, v in attrs.items()
        ]
        kind = f"  {node.type}" if node.dtype is not None else ""
        place = f"  # {'/'.join(node.scope)}" if node.scope else ""
        rows.append(f"{names[node]} = {node.op.name}({', '.join(parts)}){kind}{place}")
        for value in node.attrs.values():
            if isinstance(value, Body):
                rows += ["    " + row for row in body_text(value).splitlines()]
    rows.append("return " + ", ".join(names[root] for root in roots))
    return "\n".join(rows)


def body_text(body: Body) -> str:
    """The inside of a scan or fused kernel as text."""
    arguments = ", ".join(f"arg{k}: {a.type}" for k, a in enumerate(body.arguments))
    return f"({arguments}) =>\n{to_text(body.outputs)}"
