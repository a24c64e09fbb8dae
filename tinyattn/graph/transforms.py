"""Derivatives of functions, built from the pull-back: value and gradient, Jacobian, Hessian.

For y = f(x) the pull-back maps a cotangent ȳ to ȳ·∂y/∂x. The Jacobian is what it makes of the unit cotangents
e_1, e_2, …: row i is e_i·∂y/∂x. That is a loop over i in which only the pull-back is repeated; the values of the
forward pass are computed once. The Hessian of a scalar is the Jacobian of its gradient.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tinyattn import errors
from tinyattn.graph.grad import as_given, check_float, grad, pull_back, zeros_like
from tinyattn.graph.leaf import as_tensor, constant
from tinyattn.graph.scan import scan
from tinyattn.graph.tensor import Tensor, make
from tinyattn.graph.trees import flatten, unflatten
from tinyattn.graph.types import fail


def _function(op: str, fn: Any) -> None:
    if not callable(fn):
        advice = f"Write ta.{op}(fn, …), with the function itself."
        fail(errors.TinyattnError, op, "what is differentiated must be a function", f"got {fn!r}", advice)


def value_and_grad(fn: Callable, argnums: int | Sequence[int] = 0, has_aux: bool = False) -> Callable:
    """The function ``(…) -> (fn(…), gradient)``: the gradient with respect to the argument number ``argnums``
    (a Tensor, an array or a tree of them; a tuple of gradients for several numbers).

    ``fn`` returns a scalar, or with ``has_aux`` a pair of a scalar and anything else, which is passed on. Works
    inside and outside of compiled functions. Raises ShapeError if the value isn't a scalar, DTypeError for
    integers.

        loss, slopes = ta.value_and_grad(loss_of)(weights, x, y)
    """
    _function("value_and_grad", fn)
    several = isinstance(argnums, Sequence)
    places = tuple(argnums) if isinstance(argnums, Sequence) else (argnums,)

    def evaluate(*args: Any, **kwargs: Any):
        given = list(args)
        if not all(-len(given) <= k < len(given) for k in places):
            must = f"argnums must name arguments that there are, 0..{len(given) - 1}"
            fail(errors.ShapeError, "value_and_grad", must, f"got {argnums!r}")
        leaves = {k: flatten(given[k]) for k in places}
        for k in places:
            given[k] = unflatten(given[k], leaves[k])
        result = fn(*given, **kwargs)
        value = result[0] if has_aux else result
        slopes = iter(grad(value, [leaf for k in places for leaf in leaves[k]]))
        trees = tuple(unflatten(given[k], [next(slopes) for _ in leaves[k]]) for k in places)
        return result, trees if several else trees[0]

    return evaluate


def jacobian(fn: Callable, inputs: Tensor | Sequence[Tensor]) -> Any:
    """∂y/∂x for y = ``fn(*inputs)``: a Tensor of shape y.shape + x.shape; a list of them, one for each input, if
    ``inputs`` is a list; a tuple of either, one for each output, if ``fn`` returns a tuple.

    Symbolic, like every derivative: it can be printed, run, drawn and differentiated again. Costs one pull-back
    for each number of y.
    """
    _function("jacobian", fn)
    single = isinstance(inputs, Tensor)
    leaves = [as_tensor(x) for x in ([inputs] if single else inputs)]
    result = fn(*leaves)
    parts = result if isinstance(result, (tuple, list)) else (result,)
    for value in (*leaves, *parts):
        check_float("jacobian", value)
    found = [_rows(y, leaves) for y in parts]
    per_output = [rows[0] if single else rows for rows in found]
    return as_given(result, per_output) if isinstance(result, (tuple, list)) else per_output[0]


def _rows(y: Tensor, leaves: Sequence[Tensor]) -> list[Tensor]:
    def pulled(_, place: Tensor):
        unit = make("cast", make("eq", constant(np.arange(y.size), np.int64), place), dtype=y.dtype)
        found = pull_back({y: make("reshape", unit, shape=y.shape)}, leaves)
        return None, [zeros_like(x) if g is None else g for x, g in zip(leaves, found, strict=True)]

    rows = scan(pulled, None, constant(np.arange(y.size), np.int64))[1]
    return [make("reshape", r, shape=(*y.shape, *x.shape)) for r, x in zip(rows, leaves, strict=True)]


def hessian(fn: Callable, inputs: Tensor | Sequence[Tensor]) -> Any:
    """∂²y/∂x_i∂x_j for the scalar y = ``fn(*inputs)``: a Tensor of shape x.shape + x.shape; for a list of inputs
    a list of lists, ``h[i][j]`` of shape x_i.shape + x_j.shape.

    Where only H·v is needed, ``ta.hvp`` costs one pull-back instead of one for each number of x.
    """
    _function("hessian", fn)
    if isinstance(inputs, Tensor):
        return jacobian(lambda x: grad(fn(x), x), inputs)
    return jacobian(lambda *xs: grad(fn(*xs), list(xs)), inputs)
