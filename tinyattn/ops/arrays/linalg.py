"""Matrix products: ``matmul`` and ``dot``.

C = A·B has the cotangents Ā = C̄·Bᵀ and B̄ = Aᵀ·C̄. Leading axes are a batch and broadcast; transposes cost
nothing, as the kernel takes any strides.
"""

import math

import numpy as np

from tinyattn import errors
from tinyattn.graph.op import OPS, ZERO, NotDifferentiable, Op, register
from tinyattn.graph.operands import number_operands
from tinyattn.graph.point import at, real
from tinyattn.graph.public import public
from tinyattn.graph.tensor import Tensor, make
from tinyattn.graph.types import FLOAT32, INT64, SHORT, Type, broadcast, fail, is_float
from tinyattn.ops.arrays.elementwise import cast
from tinyattn.ops.arrays.shape import reshape, swap_last, transpose
from tinyattn.ops.definition import bits
from tinyattn.runtime.copies import coalesce


@public(at(real(2, 3, 4), real(4, 5)))
def matmul(a, b) -> Tensor:
    """The matrix product over the last two axes: a (…, n, k), b (…, k, m) → (…, n, m). 1-D operands are vectors as
    in NumPy; batch axes broadcast. Integers give integers, which wrap around; bools count as int64. Raises
    ShapeError for what doesn't fit.
    """
    a, b = number_operands(a, b)
    if not a.shape or not b.shape:
        fail(
            errors.ShapeError,
            "matmul",
            "both operands must have an axis",
            f"got {a.shape} and {b.shape}",
            "Use * for scalars.",
        )
    if a.shape[-1] != b.shape[-2 if b.ndim > 1 else 0]:
        fail(
            errors.ShapeError,
            "matmul",
            "the inner axes must agree, (…, n, k) @ (…, k, m)",
            f"got {a.shape} @ {b.shape}: {a.shape[-1]} against {b.shape[-2 if b.ndim > 1 else 0]}",
            "Transpose one operand (x.T)."
            if a.ndim == b.ndim == 2 and (a.shape[1] == b.shape[1] or a.shape[0] == b.shape[0])
            else "",
        )
    left, right = a.ndim == 1, b.ndim == 1
    if left:
        a = reshape(a, (1, *a.shape))
    if right:
        b = reshape(b, (*b.shape, 1))
    looked_up = _rows_of_table(a) if b.ndim == 2 else None
    if looked_up is not None:
        # Rows of a small table, many times over: multiply the table once and take rows of the product. The
        # same numbers with less work.
        table, indices = looked_up
        c = make("take", product(table, b), indices, axis=0)
    elif b.ndim == 2 and a.ndim > 2:  # one matrix for the whole batch: a single large product
        rows = reshape(a, (math.prod(a.shape[:-1]), a.shape[-1]))
        c = reshape(product(rows, b), (*a.shape[:-1], b.shape[-1]))
    else:
        c = product(a, b)
    if left:
        c = reshape(c, (*c.shape[:-2], c.shape[-1]))
    return reshape(c, c.shape[:-1]) if right else c


def product(a: Tensor, b: Tensor) -> Tensor:
    """a·b of matrices of one type."""
    if is_float(a.dtype):
        return make("matmul", a, b)
    return cast(make("integer_matmul", cast(a, INT64), cast(b, INT64)), a.dtype)


def _rows_of_table(x: Tensor) -> tuple[Tensor, Tensor] | None:
    """``(table, indices)`` if x, (…, k), is rows of a table (n, k) that has fewer: table[indices] is x.

    Axes may have been reordered or joined since, which is then done to the indices.
    """
    views = []
    rows = x.size // x.shape[-1] if x.size else 0
    while True:
        inner = x.inputs[0] if x.op.name in ("transpose", "reshape") else x
        keeps = x.op.name == "transpose" and x.attrs["axes"][-1] == x.ndim - 1
        if not keeps and not (x.op.name == "reshape" and x.ndim and inner.shape[-1:] == x.shape[-1:]):
            break
        views.append(x)
        x = inner
    if x.op.name != "take" or x.attrs["axis"] != 0 or x.inputs[0].ndim != 2 or x.inputs[0].shape[0] >= rows:
        return None
    table, indices = x.inputs
    for view in reversed(views):
        if view.op.name == "transpose":
            indices = transpose(indices, view.attrs["axes"][:-1])
        else:
            indices = reshape(indices, view.shape[:-1])
    return table, indices


def _infer(a, b):
    batches = zip(reversed(a.shape[:-2]), reversed(b.shape[:-2]), strict=False)
    if any(m != n and 1 not in (m, n) for m, n in batches):
        fail(
            errors.ShapeError,
            "matmul",
            "the batch axes (all but the last two) must broadcast together",
            f"got {a.shape} @ {b.shape}",
            "Insert axes of size 1 with reshape or x[:, None].",
        )
    return Type((*broadcast("matmul", a.shape[:-2], b.shape[:-2]), a.shape[-2], b.shape[-1]), a.dtype)


def _derivative(g, node):
    a, b = node.inputs
    return make("matmul", g, swap_last(b)), make("matmul", swap_last(a), g)


register(
    Op(
        "matmul",
        _infer,
        _derivative,
        reference=np.matmul,
        lower=lambda node, emit: lower_product(
            emit, emit.value(node.inputs[0]), emit.value(node.inputs[1]), emit.result(node)
        ),
        formula="{0}·{1}",
        vjp_formula="ḡ·{1}ᵀ, {0}ᵀ·ḡ",
    )
)


def _lower_integers(node, emit) -> None:
    """Row by row; operands that broadcast or are transposed are copied."""
    a, b = (emit.value(s).broadcast((*node.shape[:-2], *s.shape[-2:])) for s in node.inputs)
    a, b, c = emit.contiguous(a), emit.contiguous(b), emit.result(node)
    rows, inner, columns = a.shape[-2], b.shape[-2], b.shape[-1]
    tiles = node.size // max(columns, 1)
    emit.kernel(
        "integer.product",
        {"a": a, "b": b, "c": c, "rows": rows, "inner": inner, "columns": columns},
        tiles,
        reads=[a, b],
        writes=[c],
        dtype=FLOAT32,
        cost=node.size * (1 + inner * 0.5),
    )


register(
    Op(
        "integer_matmul",
        _infer,
        ZERO,
        reference=np.matmul,
        lower=_lower_integers,
        formula="{0}·{1}",
    )
)


def lower_product(emit, a, b, c, scale: float = 1.0, added=None, function: str = "") -> None:
    """Emit ``c = function(scale · a b (+ added))`` for references (…, n, k), (…, k, m) → (…, n, m); ``added``
    broadcasts to c; ``function`` names a kernel.

    A matrix that stays the same while a loop runs is packed once, before the loop, if it needs packing at
    all.
    """
    if c.size == 0:
        return
    if c.strides[-1] != 1 and c.strides[-2] == 1 and c.shape[-1] > 1:  # Cᵀ = Bᵀ Aᵀ has contiguous rows
        turned = None if added is None else added.broadcast(c.shape).swapped()
        return lower_product(emit, b.swapped(), a.swapped(), c.swapped(), scale, turned, function)
    if a.shape[-1] == 0 and not function:
        emit.copy(added if added is not None else emit.constant(np.zeros((), c.dtype)), c)
        return
    batch = c.shape[:-2]
    a, b = a.broadcast((*batch, *a.shape[-2:])), b.broadcast((*batch, *b.shape[-2:]))
    d = None if added is None else added.broadcast(c.shape)
    if d is not None and d.strides[-1] != 1 and c.shape[-1] > 1:
        d = emit.contiguous(added.broadcast((*added.shape[:-1], c.shape[-1]))).broadcast(c.shape)
    extents, strides = coalesce(batch, *(r.strides[:-2] for r in (a, b, c, *((d,) if d is not None else ()))))
    if len(extents) > 2:
        return lower_product(
            emit,
            emit.contiguous(a),
            emit.contiguous(b),
            c,
            scale,
            None if d is None else emit.contiguous(d),
            function,
        )
    if len(extents) == 1:
        extents, strides = [1, *extents], [[0, *s] for s in strides]
    rows, inner, columns = a.shape[-2], a.shape[-1], c.shape[-1]

    def layout(ref, steps):
        return (
            *steps,
            ref.strides[-2],
            1 if ref is not a and ref is not b and columns == 1 else ref.strides[-1],
        )

    kept = a if columns == 1 and rows > 1 else b
    reuse, region = 1, emit.region
    while region is not kept.region and region.parent is not None:
        reuse, region = reuse * region.length, region.parent
    short = SHORT[c.dtype]
    from tinyattn.kernels.calls import gemm_plan  # (only now: it asks LLVM for the processor)

    plan = gemm_plan.plan(
        rows,
        columns,
        inner,
        layout(a, strides[0]),
        layout(b, strides[1]),
        layout(c, strides[2]),
        short,
        None if d is None else layout(d, strides[3]),
        extents,
        reuse,
    )
    left, right = a, b
    if plan.pack is not None:
        packed = emit.once(
            ("pack", kept, *plan.pack.words.values()),
            kept.region,
            lambda home: _packed(emit, kept, plan.pack, c.dtype, home),
        )
        left, right = (packed, b) if plan.swapped else (a, packed)
    words = plan.call(left, right, c, 0 if d is None else d, bits(scale, c.dtype), function or 0)
    flops = 2.0 * c.size * inner
    reads = [left, right] + ([d] if d is not None else [])
    emit.kernel(plan.kernel, words, plan.tiles, reads=reads, writes=[c], cost=flops / 40, flops=flops)


def _packed(emit, source, pack, dtype, home):
    """The copy of a matrix with rows on cache lines that the product kernel reads."""
    target = emit.new((pack.size // dtype.itemsize,), dtype, home)
    words = pack.words | {"source": source, "target": target}
    emit.kernel(
        pack.kernel, words, pack.tiles, reads=[source], writes=[target], cost=pack.size * 0.2, region=home
    )
    return target


def _affine(name: str, formula: str, function: str = "") -> None:
    """Register f(a·b + d), where f is none or the elementwise op ``function``, which has a kernel in gemm."""

    def reference(a, b, d):
        y = np.matmul(a, b) + d
        known = OPS[function].reference if function else None
        return y if known is None else known(y)

    def lower(node, emit):
        a, b, d = map(emit.value, node.inputs)
        kernel = f"gemm.{function}" if function else ""
        lower_product(emit, a, b, emit.result(node), added=d, function=kernel)

    def definition(a, b, d):
        y = make("matmul", a, b) + d
        return make(function, y) if function else y

    register(
        Op(
            name,
            lambda a, b, d: _infer(a, b),
            NotDifferentiable("it exists only in compiled programs"),
            reference=reference,
            definition=definition,
            lower=lower,
            formula=formula,
        )
    )


_affine("affine", "{0}·{1} + {2}")
_affine("affine_relu", "max({0}·{1} + {2}, 0)", "relu")
_affine("affine_tanh", "tanh({0}·{1} + {2})", "tanh")
_affine("affine_sigmoid", "σ({0}·{1} + {2})", "sigmoid")


@public(at(real(5), real(5)))
def dot(a, b) -> Tensor:
    """The inner product of two vectors: a (n,), b (n,) → (). Bools count as int64. Raises ShapeError for other
    shapes.
    """
    return matmul(a, b)
