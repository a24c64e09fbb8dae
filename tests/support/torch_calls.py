"""torch's operations in tinyattn's words: for each name in torch's own operation table, the call here that means the same.

``CALLS[name](*arguments, **keywords)`` takes what a sample of torch's gives (tensors already ours) and makes the same of ours. A
keyword or form that has no counterpart here raises :class:`Absent`, so that the sample counts as not comparable; a *refusal* by
tinyattn itself counts as a disagreement.
"""

import builtins
import math

import numpy as np

import tinyattn as ta

_KEYWORDS = {"dim": "axis", "keepdim": "keepdims"}
_DTYPES = ("float32", "float64", "int32", "int64", "bool")


class Absent(Exception):
    """What a sample asks for is not something that tinyattn has."""


def dtype_of(dtype):
    name = str(dtype).removeprefix("torch.")
    if name not in _DTYPES:
        raise Absent(f"the type {name}")
    return np.dtype(name)


def _axes(keywords):
    return {_KEYWORDS.get(name, name): value for name, value in keywords.items()}


def same(name, *positions, **renamed):
    """``ta.name`` with the same arguments; ``positions`` name those after the first, ``renamed`` maps keywords."""

    def call(x, *rest, **keywords):
        keywords = (
            dict(zip(positions, rest, strict=False)) | _axes(keywords) if positions else _axes(keywords)
        )
        keywords = {renamed.get(key, key): value for key, value in keywords.items()}
        dtype = keywords.pop("dtype", None)
        if dtype is not None:
            x = ta.cast(x, dtype_of(dtype))
        return getattr(ta, name)(x, *(() if positions else rest), **keywords)

    return call


def _reduction(name):
    """A reduction over all axes, or those of ``dim``; of an empty list of axes: over all."""

    def call(x, *rest, **keywords):
        keywords = dict(zip(("axis", "keepdims"), rest, strict=False)) | _axes(keywords)
        dtype = keywords.pop("dtype", None)
        axis = keywords.get("axis")
        if isinstance(axis, (list, tuple)):
            keywords["axis"] = tuple(axis) or None
        if dtype is not None:
            x = ta.cast(x, dtype_of(dtype))
        if x.ndim == 0 and axis is not None:  # torch lets a scalar have an axis
            keywords["axis"] = None
        result = getattr(ta, name)(x, **keywords)
        return result if dtype is None else ta.cast(result, dtype_of(dtype))

    return call


def _extreme(name):
    """torch's max and min: of everything, of two tensors, or along an axis (there with the places)."""

    def call(x, *rest, **keywords):
        if rest and isinstance(rest[0], ta.Tensor):
            return getattr(ta, name + "imum")(x, rest[0])
        keywords = dict(zip(("axis", "keepdims"), rest, strict=False)) | _axes(keywords)
        if not keywords:
            return getattr(ta, name)(x)
        if x.ndim == 0:
            raise Absent("the axis of a scalar")
        keepdims = keywords.pop("keepdims", False)
        places = getattr(ta, "arg" + name)(x, **keywords)
        return (
            getattr(ta, name)(x, keepdims=keepdims, **keywords),
            ta.expand_dims(places, keywords["axis"]) if keepdims else places,
        )

    return call


def _spread(name):
    """torch's var and std, whose second argument may be "unbiased" or the axes."""

    def call(x, *rest, dim=None, unbiased=True, correction=None, keepdim=False, dtype=None):
        for value in rest:
            if isinstance(value, bool):
                unbiased = value
            else:
                dim = value
        ddof = (1 if unbiased else 0) if correction is None else correction
        axis = None if dim is None or dim == () or dim == [] or not x.ndim else dim
        return getattr(ta, name)(
            x, axis=tuple(axis) if isinstance(axis, list) else axis, keepdims=keepdim, ddof=ddof
        )

    return call


def _scaled(operation):
    def call(a, b, *, alpha=1):
        return operation(a, b if alpha == 1 else b * alpha)

    return call


def _div(a, b, *, rounding_mode=None):
    if rounding_mode == "trunc":
        raise Absent("division that truncates")
    return a / b if rounding_mode is None else a // b


def _sizes(values):
    return tuple(values[0]) if len(values) == 1 and isinstance(values[0], (list, tuple)) else tuple(values)


def _flatten(x, start_dim=0, end_dim=-1):
    if not x.ndim:
        return x.reshape(1)
    start, end = start_dim % x.ndim, end_dim % x.ndim
    return x.reshape(*x.shape[:start], math.prod(x.shape[start : end + 1]), *x.shape[end + 1 :])


def _squeeze(x, dim=None):
    """torch leaves axes that are not 1."""
    if dim is None:
        return ta.squeeze(x)
    if not x.ndim:
        return x
    axes = tuple(d % x.ndim for d in (dim if isinstance(dim, (tuple, list)) else (dim,)))
    return ta.squeeze(x, axis=tuple(d for d in axes if x.shape[d] == 1))


def _expand(x, *shape):
    shape = _sizes(shape)
    lead = len(shape) - x.ndim
    return ta.broadcast_to(x, tuple(x.shape[k - lead] if s == -1 else s for k, s in enumerate(shape)))


def _chunk(x, chunks, dim=0):
    size = -(-x.shape[dim] // chunks)
    return _split(x, size, dim)


def _split(x, size, dim=0):
    if isinstance(size, (list, tuple)):
        return tuple(ta.split(x, list(size), dim))
    whole = x.shape[dim]
    return tuple(ta.split(x, [builtins.min(size, whole - k) for k in range(0, whole, size)], dim))


def _repeat(x, *times):
    times = _sizes(times)
    return ta.tile(x, times)


def _roll(x, shifts, dims=None):
    return ta.roll(x, shifts, axis=None if dims in (None, (), []) else dims)


def _pad(x, pad, mode="constant", value=None):
    if mode != "constant":
        raise Absent(f"padding by {mode}")
    if builtins.any(p < 0 for p in pad):
        raise Absent("padding that cuts")
    pairs = [(0, 0)] * (x.ndim - len(pad) // 2) + list(zip(pad[::2], pad[1::2], strict=True))[::-1]
    return ta.pad(x, pairs, 0 if value is None else int(value) if value is True or value is False else value)


def _index_select(x, dim, index):
    if not x.ndim:
        raise Absent("an axis of a scalar")
    return ta.take(x, index.reshape(-1), axis=dim)


def _take(x, indices):
    return ta.take(x.reshape(-1), indices)


def _gather(x, dim, index, **keywords):
    """torch lets the index be smaller than the input along the other axes."""
    if not x.ndim or x.ndim != index.ndim:
        raise Absent("an axis of a scalar")
    for axis in range(x.ndim):
        if axis != dim % x.ndim and index.shape[axis] != x.shape[axis]:
            x = x[(slice(None),) * axis + (slice(0, index.shape[axis]),)]
    return ta.take_along_axis(x, index, dim)


def _take_along(x, index, dim=None):
    if dim is None:
        x, index, dim = x.reshape(-1), index.reshape(-1), 0
    batch = [builtins.max(a, b) for a, b in zip(x.shape, index.shape, strict=True)]
    wide = tuple(x.shape[k] if k == dim % x.ndim else n for k, n in enumerate(batch))
    low = tuple(index.shape[k] if k == dim % x.ndim else n for k, n in enumerate(batch))
    return ta.take_along_axis(ta.broadcast_to(x, wide), ta.broadcast_to(index, low), dim)


def _narrow(x, dim, start, length):
    start = int(start) % (x.shape[dim] + 1) if int(start) < 0 else int(start)
    return x[(slice(None),) * (dim % x.ndim) + (slice(start, start + length),)]


def _getitem(x, index):
    parts = index if isinstance(index, tuple) else (index,)
    if builtins.any(isinstance(p, ta.Tensor) and p.dtype == np.bool_ for p in parts):
        raise Absent("an index of bools, whose shape depends on values")
    return x[index]


def _where(x, condition, other):  # (so are torch's samples of it)
    return ta.where(condition, x, other)


def _sort(x, *rest, descending=False, stable=False, **keywords):
    keywords = dict(zip(("axis", "descending"), rest, strict=False)) | _axes(keywords)
    if not x.ndim:
        raise Absent("an axis of a scalar")
    keywords.setdefault("descending", descending)
    return ta.sort(x, **keywords), ta.argsort(x, **keywords)


def _repeat_interleave(x, repeats, dim=None, output_size=None):
    if isinstance(repeats, ta.Tensor):
        repeats = repeats.tolist() if repeats.ndim else int(repeats)
    return ta.repeat(x, repeats, axis=dim if x.ndim else None)


def _norm(x, p="fro", dim=None, keepdim=False, dtype=None):
    if p in ("fro", None, "nuc"):
        if p == "nuc" or isinstance(dim, (list, tuple)) and len(dim) > 2:
            raise Absent("the nuclear norm")
        p = 2
    if dim is not None and not isinstance(dim, int) and len(dim) == 1:
        dim = dim[0]
    return _vector_norm(x, p, dim, keepdim, dtype)


def _vector_norm(x, ord=2, dim=None, keepdim=False, dtype=None):
    if dtype is not None:
        x = ta.cast(x, dtype_of(dtype))
    if not x.ndim:
        raise Absent("the axis of a scalar")
    axes = tuple(range(x.ndim)) if dim is None else (dim,) if isinstance(dim, int) else tuple(dim)
    if len(axes) != 1:
        others = [k for k in range(x.ndim) if k not in {a % x.ndim for a in axes}]
        if dim is not None and others or keepdim:
            raise Absent("a vector that lies along several axes")
        x, axes = x.reshape(-1), (0,)
    return ta.norm(x, ord=ord, axis=axes[0], keepdims=keepdim)


def _transposed(x):
    return ta.transpose(x) if x.ndim == 2 else x


def _swap(x, a, b):
    return ta.swapaxes(x, a, b) if x.ndim else x


def _full_like(value):
    def call(
        x,
        *rest,
        dtype=None,
        layout=None,
        device=None,
        requires_grad=None,
        memory_format=None,
        pin_memory=None,
    ):
        given = rest[0] if rest else value
        return ta.full(x.shape, given, x.dtype if dtype is None else dtype_of(dtype))

    return call


def _arange(start, *rest, dtype=None, end=None, step=None, **_):
    values = (start, *rest, *(v for v in (end, step) if v is not None))
    if builtins.any(isinstance(v, bool) for v in values):
        raise Absent("bools as numbers")
    if dtype is None:
        dtype = np.float32 if builtins.any(isinstance(v, float) for v in values) else np.int64
    return ta.arange(*values, dtype=dtype_of(dtype) if not isinstance(dtype, type) else dtype)


def _diff(x, n=1, dim=-1, prepend=None, append=None):
    if n == 0:
        return x
    parts = [p for p in (prepend, x, append) if p is not None]
    return ta.diff(ta.concat(parts, dim) if len(parts) > 1 else x, n=n, axis=dim)


def _cast(dtype):
    return lambda x, **_: ta.cast(x, dtype)


def _to(x, *rest, **keywords):
    wanted = [v for v in (*rest, keywords.get("dtype")) if str(v).startswith("torch.")]
    if not wanted:
        raise Absent("devices")
    return ta.cast(x, dtype_of(wanted[0]))


def _einsum(operands, equation):
    return ta.einsum(equation, *operands)


def _tensordot(a, b, dims=2):
    return ta.tensordot(a, b, dims)


def _topk(x, k, dim=-1, largest=True, sorted=True):
    if not x.ndim:
        raise Absent("an axis of a scalar")
    return tuple(ta.topk(x, k, axis=dim, largest=largest))


def _cumulative(name):
    def call(x, dim, dtype=None, **_):
        if dtype is not None:
            x = ta.cast(x, dtype_of(dtype))
        result = getattr(ta, name)(x, axis=dim) if x.ndim else getattr(ta, name)(x.reshape(1)).reshape(())
        return result if dtype is None else ta.cast(result, dtype_of(dtype))

    return call


def _masked_fill(x, mask, value):
    if isinstance(value, ta.Tensor) and value.ndim:
        raise Absent("a value with axes")
    value = ta.cast(value, x.dtype) if isinstance(value, ta.Tensor) else x.dtype.type(value)
    return ta.where(mask, value, x)


def _clamp(x, min=None, max=None):
    return ta.clip(x, min, max)


def _operands(name):
    return lambda a, b, **_: getattr(ta, name)(a, b)


def _bools(name):
    """torch's bitwise operations, on bools the logical ones."""

    def call(*operands):
        if builtins.any(isinstance(x, ta.Tensor) and x.dtype != np.bool_ for x in operands):
            raise Absent("bits of integers")
        return getattr(ta, name)(*operands)

    return call


def _flags(name):
    """torch's logical operations take numbers, too: what isn't 0."""

    def call(*operands):
        return getattr(ta, name)(*(x if x.dtype == np.bool_ else x != 0 for x in operands))

    return call


CALLS = {
    **{
        name: same(name)
        for name in "abs neg sign square sqrt exp expm1 log log1p log2 log10 tanh sin cos tan sinh cosh sigmoid erf floor ceil "
        "isfinite isnan isinf logaddexp maximum minimum matmul dot outer tile".split()
    },
    **{torch: same(ours) for torch, ours in {"atan": "arctan", "asin": "arcsin", "acos": "arccos", "asinh": "arcsinh", "acosh": "arccosh", "atanh": "arctanh"}.items()},
    **{torch: _operands(ours) for torch, ours in {"eq": "equal", "ne": "not_equal", "lt": "less", "le": "less_equal", "gt": "greater", "ge": "greater_equal", "pow": "power", "remainder": "mod", "floor_divide": "floor_divide", "mul": "mul", "true_divide": "div", "mm": "matmul", "bmm": "matmul", "mv": "matmul"}.items()},
    **{name: _reduction(ours) for name, ours in {"sum": "sum", "mean": "mean", "amax": "max", "amin": "min", "any": "any", "all": "all", "logsumexp": "logsumexp", "prod": "prod", "argmax": "argmax", "argmin": "argmin", "count_nonzero": "count_nonzero"}.items()},
    **{f"bitwise_{name}": _bools(f"logical_{name}") for name in ("and", "or", "xor", "not")},
    **{f"logical_{name}": _flags(f"logical_{name}") for name in ("and", "or", "xor", "not")},
    "max": _extreme("max"), "min": _extreme("min"), "var": _spread("var"), "std": _spread("std"),
    "add": _scaled(lambda a, b: a + b), "sub": _scaled(lambda a, b: a - b), "rsub": lambda a, b, *, alpha=1: b - (a if alpha == 1 else a * alpha), "div": _div,
    "__radd__": lambda a, b: b + a, "__rmul__": lambda a, b: b * a, "__rsub__": lambda a, b: b - a, "__rdiv__": lambda a, b: b / a,
    "__rpow__": lambda a, b: b**a, "__rmod__": lambda a, b: b % a, "__rmatmul__": lambda a, b: b @ a,
    "__rand__": _bools("logical_and"), "__ror__": _bools("logical_or"), "__rxor__": _bools("logical_xor"),
    "reciprocal": lambda x: 1 / x, "rsqrt": lambda x: 1 / ta.sqrt(x), "sgn": same("sign"), "positive": lambda x: x,
    "round": lambda x, decimals=0: ta.round(x, decimals) if decimals else ta.round(x),
    "where": _where, "clamp": _clamp, "clamp_min": lambda x, low: ta.clip(x, low), "clamp_max": lambda x, high: ta.clip(x, None, high),
    "masked_fill": _masked_fill, "clone": lambda x, **_: x, "contiguous": lambda x, **_: x,
    "float": _cast(np.float32), "double": _cast(np.float64), "int": _cast(np.int32), "long": _cast(np.int64), "bool": _cast(np.bool_), "to": _to,
    "reshape": lambda x, *shape: x.reshape(*_sizes(shape)), "view": lambda x, *shape: x.reshape(*_sizes(shape)),
    "view_as": lambda x, other: x.reshape(*other.shape), "reshape_as": lambda x, other: x.reshape(*other.shape),
    "permute": lambda x, axes: ta.transpose(x, tuple(axes)), "transpose": _swap, "T": _transposed, "t": _transposed,
    "mT": lambda x: ta.swapaxes(x, -1, -2), "movedim": lambda x, a, b: ta.moveaxis(x, a, b),
    "expand": _expand, "expand_as": lambda x, other: ta.broadcast_to(x, other.shape), "broadcast_to": _expand,
    "unsqueeze": lambda x, dim: ta.expand_dims(x, dim), "squeeze": _squeeze, "flatten": _flatten, "ravel": lambda x: x.reshape(-1),
    "cat": lambda parts, dim=0, **_: ta.concat(parts, dim), "stack": lambda parts, dim=0: ta.stack(parts, dim),
    "chunk": _chunk, "split": _split, "split_with_sizes": _split,
    "unbind": lambda x, dim=0: tuple(x[(slice(None),) * (dim % x.ndim) + (k,)] for k in range(x.shape[dim])),
    "flip": lambda x, dims: ta.flip(x, tuple(dims)) if dims else x, "fliplr": lambda x: ta.flip(x, 1), "flipud": lambda x: ta.flip(x, 0),
    "roll": _roll, "repeat": _repeat,
    "tril": lambda x, k=0, diagonal=0: ta.tril(x, k or diagonal), "triu": lambda x, k=0, diagonal=0: ta.triu(x, k or diagonal),
    "diag": lambda x, k=0, diagonal=0: ta.diag(x, k or diagonal), "trace": same("trace"),
    "diagonal": lambda x, *rest, **k: ta.diagonal(x, *rest, **{{"dim1": "axis1", "dim2": "axis2"}.get(a, a): v for a, v in k.items()}),
    "narrow": _narrow, "select": lambda x, dim, k: x[(slice(None),) * (dim % x.ndim) + (k,)], "__getitem__": _getitem,
    "nn.functional.pad": _pad, "constant_pad_nd": lambda x, pad, value=0: _pad(x, pad, "constant", value),
    "index_select": _index_select, "take": _take, "gather": _gather, "take_along_dim": _take_along,
    "zeros_like": _full_like(0), "ones_like": _full_like(1), "full_like": _full_like(None),
    "arange": _arange, "diff": _diff, "einsum": _einsum, "tensordot": _tensordot,
    "cumsum": _cumulative("cumsum"), "cumprod": _cumulative("cumprod"),
    "sort": _sort, "msort": lambda x: ta.sort(x, axis=0) if x.ndim else x,
    "argsort": lambda x, dim=-1, descending=False, stable=False: _sort(x, dim, descending)[1], "topk": _topk,
    "repeat_interleave": _repeat_interleave, "isclose": same("isclose"), "allclose": same("allclose"),
    "norm": _norm, "linalg.vector_norm": _vector_norm,
}  # fmt: skip
"""By torch's name."""
