"""Sums over ranks (see ``tinyattn/ranks``), as part of the graph.

    y = Σ_k x_k, the same on all ranks;    x̄_j = Σ_k ȳ_k

which is the derivative of what all ranks compute of y, added up. Ranks that build the same graph run the same program,
so that their sums meet in the same order.
"""

import ctypes

import numpy as np

from tinyattn import errors
from tinyattn.graph.leaf import as_tensor
from tinyattn.graph.op import Op, register
from tinyattn.graph.point import at, real
from tinyattn.graph.public import public
from tinyattn.graph.tensor import Tensor, make
from tinyattn.graph.types import fail, is_float
from tinyattn.kernels.build import native
from tinyattn.ranks import exchange, size

KERNEL = "across.total"


def _total(dtype: type[ctypes._SimpleCData]):
    """The kernel, which is Python's, since the library that moves the numbers is called from there."""

    def work(words: int, first: int, past: int, scratch: int) -> None:
        source, result, count = (ctypes.c_int64 * 3).from_address(words)
        x, y = (np.ctypeslib.as_array((dtype * count).from_address(place)) for place in (source, result))
        y[...] = exchange.all_reduce(x)

    return work


for _name, _dtype in (("f32", ctypes.c_float), ("f64", ctypes.c_double)):
    native.hand_over(KERNEL, _name, _total(_dtype))


def _lower(node, emit):
    x, result = emit.contiguous(emit.value(node.inputs[0])), emit.result(node)
    if size() == 1:
        emit.copy(x, result)
        return
    emit.kernel(KERNEL, [x, result, node.size], 1, reads=[x], writes=[result], cost=20_000.0)


register(
    Op(
        "all_reduce",
        lambda x: x.type,
        lambda g, node: (make("all_reduce", g),),
        reference=exchange.all_reduce,
        lower=_lower,
        recompute=False,
        formula="Σ_ranks {0}",
        vjp_formula="Σ_ranks ȳ",
    )
)


@public(at(real(3, 4)))
def all_reduce(x) -> Tensor:
    """The sum of ``x`` over all ranks, added up in one fixed order: ``x`` (…), floating-point, of one shape on all
    of them → (…). With one rank it is ``x``. Raises DTypeError for integers and bools.
    """
    x = as_tensor(x)
    if not is_float(x.dtype):
        must = "what is added up over ranks must be floating-point"
        fail(errors.DTypeError, "all_reduce", must, f"got {x.dtype}", "Cast it before.")
    return make("all_reduce", x)
