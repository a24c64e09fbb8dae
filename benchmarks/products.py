"""The matrix products that are timed, and how their operands lie in memory.

Squares, also in other precision and as rows of a program that makes many in a loop; those of attention; of a
small GPT's linear maps; of decoding, one position at a time; and of the Bahdanau model's training step. A
linear map y = x W' with W stored (out, in) makes three products (N as stored, T transposed):

    forward   y  = x W'       N T      (rows, in)(in, out)
    backward  dx = dy W       N N      (rows, out)(out, in)
    weights   dW = dy' x      T N      (out, rows)(rows, in), over all time steps at once
"""

import math
from collections.abc import Iterable, Iterator
from typing import NamedTuple


class Shape(NamedTuple):
    """A product C (…, m, n) = op(A) (…, m, k) · op(B) (…, k, n), and how its operands lie in memory."""

    m: int
    n: int
    k: int
    transpose_a: bool = False
    transpose_b: bool = False
    batch: tuple[int, ...] = ()
    """Leading axes of A, B and C: of attention (batch, heads)."""
    heads: str = ""
    """Which of A and B (letters) are stored (batch, rows, heads, columns): projections split into heads."""
    steps: int = 0
    """Products in a loop, A being the first k columns of the product before; 0 for a single product."""
    dtype: str = "float32"

    @property
    def flops(self) -> float:
        return 2.0 * self.m * self.n * self.k * math.prod(self.batch) * max(1, self.steps)


STEPS = 20
MAPS = (  # (over all steps at once?, in, out)
    (True, 128, 384),  # encoder: input of one direction
    (False, 128, 384),  # encoder and decoder: recurrence
    (True, 256, 128),  # attention: keys
    (False, 128, 128),  # attention: query; initial state
    (False, 384, 384),  # decoder: input, [embedding; context]
    (False, 512, 384),  # decoder: input and recurrence in one product
    (True, 512, 256),  # maxout
    (True, 128, 60),  # logits
)


def maps(rows: int, inputs: int, outputs: int, all_rows: int | None = None) -> Iterator[Shape]:
    """The three products of a linear map; the weights' gradient is made of ``all_rows`` at once."""
    yield Shape(rows, outputs, inputs, False, True)
    yield Shape(rows, inputs, outputs, False, False)
    yield Shape(outputs, inputs, all_rows or rows, True, False)


def bahdanau(batch: int) -> Iterator[Shape]:
    """The products of one training step."""
    for at_once, inputs, outputs in MAPS:
        yield from maps(batch * STEPS if at_once else batch, inputs, outputs, batch * STEPS)


def attention() -> Iterator[Shape]:
    """Scores q·kᵀ and results p·v of (batch, heads, T, D), and the gradients of a head alone."""
    for batch, steps, width in (((12, 4), 64, 32), ((4, 8), 256, 64), ((4, 8), 64, 64), ((12, 4), 256, 32)):
        for heads in ("", "ab"):
            yield Shape(steps, steps, width, False, True, batch, heads)
            yield Shape(steps, width, steps, False, False, batch, heads and "b")
            yield Shape(steps, width, steps, True, False, batch, heads and "b")


def linear() -> Iterator[Shape]:
    """The linear maps of a GPT (768 positions, width 128) and of an LSTM (32 × 64 positions, hidden 256)."""
    for inputs, outputs in ((128, 384), (128, 128), (128, 512), (512, 128), (128, 65)):
        yield from maps(768, inputs, outputs)
    yield from maps(2048, 256, 1024)


def decoding() -> Iterator[Shape]:
    """One position at a time: rows of one number of queries, with a cache of keys and values."""
    for inputs, outputs in ((128, 384), (128, 512), (512, 128), (128, 65)):
        yield Shape(1, outputs, inputs, False, True)
        yield Shape(1, outputs, inputs)
    for batch, steps, width in (((12, 4), 64, 32), ((4, 8), 256, 64)):
        yield Shape(1, steps, width, False, True, batch)
        yield Shape(1, width, steps, False, False, batch)


def groups(batches: Iterable[int], squares: bool = True) -> dict[str, list[Shape]]:
    """All that is timed, by title."""
    found: dict[str, Iterable[Shape]] = {}
    if squares:
        found["squares"] = [Shape(n, n, n) for n in (16, 32, 64, 128, 256, 512, 1024, 2048)]
        found["squares, float64"] = [Shape(n, n, n, dtype="float64") for n in (64, 256, 1024)]
        found["100 products in a loop"] = [
            Shape(m, n, k, steps=100)
            for m, n, k in ((16, 16, 16), (32, 32, 32), (32, 1024, 256), (1, 128, 128))
        ]
        found |= {"attention": attention(), "linear maps": linear(), "decoding": decoding()}
    found |= {f"Bahdanau, batch {batch}": bahdanau(batch) for batch in batches}
    return {title: list(dict.fromkeys(shapes)) for title, shapes in found.items()}
