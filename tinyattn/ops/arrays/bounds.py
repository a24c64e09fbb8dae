"""Indices that are known only when a program runs, and must lie in a range all the same.

Every operation that reads or writes by index passes its indices through :func:`within`, a node that counts negative
ones from the end and lets through only what lies in the range. When an index doesn't, the program ends before it
reads anything by it or updates any leaf, and the run raises the same error that a constant index raises at once.
"""

import numpy as np

from tinyattn import errors
from tinyattn.graph.leaf import constant, constant_value
from tinyattn.graph.op import ZERO, Op, register
from tinyattn.graph.tensor import Tensor, make
from tinyattn.graph.types import INT64, fail
from tinyattn.kernels.calls.gather import tiles_of_check
from tinyattn.runtime.faults import FAULT


def within(
    op: str, what: str, indices: Tensor, size: int, negative: bool = True, ignore: int | None = None
) -> Tensor:
    """``indices`` (int32 or int64) as numbers from 0 to ``size`` − 1; with ``negative``, −``size`` … −1 count from the
    end; ``ignore`` stays what it is.

    Raises ShapeError, now or when the program runs, saying that ``op``'s ``what`` must lie in that range.
    """
    attrs = {"op": op, "what": what, "size": size, "negative": negative, "ignore": ignore}
    if indices.op.name == "within" and indices.attrs["size"] == size and indices.attrs["ignore"] == ignore:
        return indices
    if not size and ignore is None and indices.size:
        fail(
            errors.ShapeError,
            op,
            f"there must be something for {what} to point to",
            f"got {indices.type}",
        )
    if indices.op.name == "constant":
        value = _reference(constant_value(indices), **attrs)
        return constant(value, indices.dtype)
    if indices.storage is not None and indices.op.name == "tensor":
        _reference(indices.storage.array, **attrs)
    return make("within", indices, **attrs)


def _fail(index, *, op, what, size, negative, ignore):
    also = f" (or −{size}..−1)" if negative else ""
    must = (
        f"{what} must lie in 0..{size - 1}{also}" if size else f"{what} must be {ignore}, as there are none"
    )
    advice = "Set ignore_index= for padding." if what == "targets" else ""
    fail(errors.ShapeError, op, must, f"got {index}", advice)


def _reference(indices, *, op, what, size, negative, ignore):
    wrong = (indices >= size) | (indices < (-size if negative else 0))
    if ignore is not None:
        wrong &= indices != ignore
    if wrong.any():
        _fail(indices[wrong].flat[0], op=op, what=what, size=size, negative=negative, ignore=ignore)
    from_end = (indices < 0) & (indices != ignore) if ignore is not None else indices < 0
    return np.where(from_end, indices + size, indices).astype(indices.dtype)


def _lower(node, emit):
    indices, result = emit.contiguous(emit.value(node.inputs[0])), emit.result(node)
    size, ignore = node.attrs["size"], node.attrs["ignore"]
    emit.kernel(
        "gather.check",
        {
            "indices": indices,
            "wide": int(indices.dtype == INT64),
            "count": indices.size,
            "n": size,
            "lowest": -size if node.attrs["negative"] else 0,
            "ignored": 0 if ignore is None else ignore,
            "y": result,
            "fault": FAULT,
        },  # fmt: skip
        tiles_of_check(indices.size),
        reads=[indices],
        writes=[result],
        cost=float(indices.size),
    )


register(
    Op(
        "within",
        lambda indices, **attrs: indices.type,
        ZERO,
        reference=_reference,
        lower=_lower,
        formula="{0}",
        recompute=True,
    )
)
