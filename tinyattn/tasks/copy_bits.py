"""copy-bits and repeat-copy: vectors of eight bits that must be said again, once or several times.

    copy-bits      x_1 … x_L, a mark                           →  x_1 … x_L
    repeat-copy    x_1 … x_L, how often (R) with a mark        →  x_1 … x_L, R times, and a mark at the end

(Graves et al. 2014, sections 4.1 and 4.2.) While it answers a model is given zeros. R is given as a number with mean
0 and variance 1 in training; a model that counts further than trained has to make sense of larger ones.
"""

from collections.abc import Sequence

import numpy as np

from tinyattn.tasks.bits import BitBatch, Bits, Sequences, bits_of, blank, random_bits, words
from tinyattn.tasks.parts.checks import check_positive
from tinyattn.tasks.parts.randomness import Stream

WIDTH = 8


class CopyBits(Bits):
    """The first: lengths 1 to `longest` in training; in the test these, and 40 and 120."""

    name = "copy-bits"
    title = "vectors of eight bits, said again"
    features, outputs = WIDTH + 1, WIDTH
    example = "10110100 01110001"

    def __init__(self, longest: int = 20):
        self.longest = check_positive(self.name, "longest", longest)
        self.trained = range(1, self.longest + 1)
        self.tested = {str(self.longest): self.trained, "40": [40], "120": [120]}
        super().__init__()

    def sequences(self, size: int, count: int, stream: Stream) -> Sequences:
        return self._made(random_bits(stream, count, size, WIDTH))

    def _made(self, vectors: np.ndarray) -> Sequences:
        """Of vectors (k, L, 8)."""
        count, size, _ = vectors.shape
        found = blank(count, 2 * size + 1, self.features, self.outputs)
        found.inputs[:, :size, :WIDTH] = vectors
        found.inputs[:, size, WIDTH] = 1
        found.targets[:, size + 1 :] = vectors
        found.asked[:, size + 1 :] = True
        return found

    def parse(self, text: str) -> Sequences:
        return self._made(bits_of(text, WIDTH)[None])

    def text(self, batch: BitBatch, row: int) -> str:
        return words(batch.inputs[row, : np.argmax(batch.inputs[row, :, WIDTH]), :WIDTH])


class RepeatCopy(Bits):
    """The second: lengths and repeats of 1 to 10; in the test also twice as long, and twice as often."""

    name = "repeat-copy"
    title = "vectors of eight bits, said again as often as asked"
    features, outputs = WIDTH + 2, WIDTH + 1
    example = "3 x 10110100 01110001"
    most = 10
    trained: Sequence[tuple[int, int]] = [
        (length, times) for length in range(1, 11) for times in range(1, 11)
    ]
    tested = {"10": trained, "longer": [(20, 10)], "oftener": [(10, 20)]}

    def sequences(self, size: tuple[int, int], count: int, stream: Stream) -> Sequences:
        return self._made(random_bits(stream, count, size[0], WIDTH), size[1])

    def _made(self, vectors: np.ndarray, times: int) -> Sequences:
        count, size, _ = vectors.shape
        found = blank(count, size + 1 + times * size + 1, self.features, self.outputs)
        found.inputs[:, :size, :WIDTH] = vectors
        mean, deviation = (1 + self.most) / 2, ((self.most**2 - 1) / 12) ** 0.5
        found.inputs[:, size, WIDTH:] = 1, (times - mean) / deviation
        found.targets[:, size + 1 : -1, :WIDTH] = np.tile(vectors, (1, times, 1))
        found.targets[:, -1, WIDTH] = 1
        found.asked[:, size + 1 :] = True
        return found

    def parse(self, text: str) -> Sequences:
        times, _, vectors = text.partition("x")
        if not 1 <= int(times) <= 100:
            raise ValueError
        return self._made(bits_of(vectors, WIDTH)[None], int(times))

    def text(self, batch: BitBatch, row: int) -> str:
        size = int(np.argmax(batch.inputs[row, :, WIDTH]))
        times = (int(batch.asked[row].sum()) - 1) // size
        return f"{times} x {words(batch.inputs[row, :size, :WIDTH])}"
