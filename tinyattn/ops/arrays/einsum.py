"""Einstein summation: products of several tensors, and sums over the axes that the result doesn't name.

A letter that repeats within one operand is its diagonal, an ellipsis becomes letters of its own, and an axis of
size 1 is repeated as often as its letter needs; then operands are contracted pairwise from the left, each pair as
one batched matrix product.
"""

import math

from tinyattn import errors
from tinyattn.graph.operands import number_operands
from tinyattn.graph.point import at, real
from tinyattn.graph.public import public
from tinyattn.graph.tensor import Tensor
from tinyattn.graph.types import fail
from tinyattn.ops.arrays.elementwise import cast
from tinyattn.ops.arrays.linalg import product
from tinyattn.ops.arrays.reduce import sum
from tinyattn.ops.arrays.shape import broadcast_to, reshape, transpose
from tinyattn.ops.arrays.triangles import diagonal


@public(at("bij,bjk->bik", real(2, 3, 4), real(2, 4, 2)))
def einsum(subscripts: str, *operands) -> Tensor:
    """Einstein summation over one or more operands, e.g. ``einsum("bik,bjk->bij", q, k)``: q (b, i, k), k (b, j, k)
    → (b, i, j). ``subscripts``: with explicit or implicit output; ``...`` stands for axes that broadcast, and an
    axis of size 1 is repeated.

    Computed pairwise from the left, each pair as a transposed matrix product. Bools count as int64. Raises
    ShapeError for subscripts that don't fit the shapes.
    """
    tensors = number_operands(*operands)
    text = _without_ellipsis(subscripts.replace(" ", ""), [x.ndim for x in tensors])
    inputs, arrow, result = text.partition("->")
    terms = inputs.split(",")
    if (
        "." in text
        or len(terms) != len(tensors)
        or any(len(t) != x.ndim for t, x in zip(terms, tensors, strict=False))
    ):
        fail(
            errors.ShapeError,
            "einsum",
            "there must be one group of letters for each operand and one letter for each axis",
            f"got {subscripts!r} for shapes {[x.shape for x in tensors]}",
        )
    if not arrow:
        spread = [c for c in _SPREAD if c in inputs]
        alone = sorted(c for c in set(inputs) - {",", *spread} if inputs.count(c) == 1)
        result = "".join([*spread, *alone])
    sizes: dict[str, int] = {}
    for term, x in zip(terms, tensors, strict=True):
        for letter, size in zip(term, x.shape, strict=True):
            if sizes.setdefault(letter, size) == 1:
                sizes[letter] = size
            if size not in (1, sizes[letter]):
                fail(
                    errors.ShapeError,
                    "einsum",
                    f"axis {letter!r} must have one size in all operands",
                    f"got {sizes[letter]} and {size}",
                )
    if any(c not in sizes for c in result) or len(set(result)) != len(result):
        fail(
            errors.ShapeError,
            "einsum",
            "each output letter must be an input letter, once",
            f"got {result!r}",
        )
    whole = [broadcast_to(x, [sizes[c] for c in t]) for x, t in zip(tensors, terms, strict=True)]
    parts = [_diagonals(x, t) for x, t in zip(whole, terms, strict=True)]
    x, term = parts[0]
    for k, (y, other) in enumerate(parts[1:], start=1):
        later = set(result).union(*(t for _, t in parts[k + 1 :]))
        x, term = _contract(x, term, y, other, later)
    gone = tuple(i for i, c in enumerate(term) if c not in result)
    x, term = sum(x, gone) if gone else x, "".join(c for c in term if c in result)
    x = cast(x, tensors[0].dtype)  # (sums of int32 are int64)
    return transpose(x, tuple(term.index(c) for c in result)) if term != result else x


_SPREAD = "αβγδεζηθικλμνξοπρστυφχψω"
"""Letters for the axes that an ellipsis stands for."""


def _without_ellipsis(text: str, ranks: list[int]) -> str:
    """``...`` as letters of its own, the last ones of a common list, so that they broadcast from the right."""
    inputs, arrow, result = text.partition("->")
    terms = inputs.split(",")
    counts = [
        rank - (len(term) - 3) if "..." in term else 0 for term, rank in zip(terms, ranks, strict=False)
    ]
    most = max(counts, default=0)
    letters = _SPREAD[:most]
    if most > len(_SPREAD) or min(counts, default=0) < 0:
        return text
    filled = [t.replace("...", letters[most - n :]) for t, n in zip(terms, counts, strict=False)]
    return ",".join([*filled, *terms[len(counts) :]]) + arrow + result.replace("...", letters)


def _diagonals(x: Tensor, term: str) -> tuple[Tensor, str]:
    """Replace a letter that repeats within one operand by the diagonal."""
    for letter in dict.fromkeys(term):
        while term.count(letter) > 1:
            i = term.index(letter)
            j = term.index(letter, i + 1)
            x = diagonal(x, 0, i, j)
            term = term[:i] + term[i + 1 : j] + term[j + 1 :] + letter
    return x, term


def _contract(x: Tensor, left: str, y: Tensor, right: str, keep: set[str]) -> tuple[Tensor, str]:
    """Σ over the letters that both have and nobody needs later, as one batched matrix product."""
    only_x = [c for c in left if c not in right and c not in keep]
    only_y = [c for c in right if c not in left and c not in keep]
    if only_x:
        x, left = sum(x, tuple(left.index(c) for c in only_x)), "".join(c for c in left if c not in only_x)
    if only_y:
        y, right = sum(y, tuple(right.index(c) for c in only_y)), "".join(c for c in right if c not in only_y)
    batch = [c for c in left if c in right and c in keep]
    inner = [c for c in left if c in right and c not in keep]
    rows, columns = [c for c in left if c not in right], [c for c in right if c not in left]
    size = dict(zip(left + right, x.shape + y.shape, strict=True))

    def group(*letters):
        return math.prod(size[c] for c in letters)

    a = transpose(x, tuple(left.index(c) for c in batch + rows + inner))
    b = transpose(y, tuple(right.index(c) for c in batch + inner + columns))
    a = reshape(a, (group(*batch), group(*rows), group(*inner)))
    b = reshape(b, (group(*batch), group(*inner), group(*columns)))
    c = product(a, b) if inner else a * b
    letters = "".join(batch + rows + columns)
    return reshape(c, tuple(size[c] for c in letters)), letters
