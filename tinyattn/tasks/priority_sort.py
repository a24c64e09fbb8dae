"""priority-sort: twenty vectors of eight bits, each with a number; the sixteen with the largest numbers must be said,
largest first (Graves et al. 2014, section 4.5). Numbers are uniform between −1 and 1, and a mark stands at the end.
"""

import numpy as np

from tinyattn.tasks.bits import BitBatch, Bits, Sequences, bits_of, blank, random_bits, words
from tinyattn.tasks.parts.randomness import Stream

WIDTH, GIVEN, WANTED = 8, 20, 16
PRIORITY, MARK = WIDTH, WIDTH + 1


class PrioritySort(Bits):
    """The task."""

    name = "priority-sort"
    title = "the sixteen of twenty vectors with the largest numbers, in their order"
    features, outputs = WIDTH + 2, WIDTH
    example = "0.5:10110100 -0.2:01110001 0.9:11111111"
    trained = (GIVEN,)
    tested = {str(GIVEN): [GIVEN]}

    def sequences(self, size: int, count: int, stream: Stream) -> Sequences:
        vectors = random_bits(stream, count, size, WIDTH)
        return self._made(vectors, 2 * (stream.words(count, size) / 2.0**32) - 1, WANTED)

    def _made(self, vectors: np.ndarray, priority: np.ndarray, wanted: int) -> Sequences:
        count, size, _ = vectors.shape
        found = blank(count, size + 1 + wanted, self.features, self.outputs)
        found.inputs[:, :size, :WIDTH] = vectors
        found.inputs[:, :size, PRIORITY] = priority
        found.inputs[:, size, MARK] = 1
        order = np.argsort(-priority, axis=1, kind="stable")[:, :wanted]
        found.targets[:, size + 1 :] = np.take_along_axis(vectors, order[:, :, None], axis=1)
        found.asked[:, size + 1 :] = True
        return found

    def parse(self, text: str) -> Sequences:
        pairs = [word.partition(":") for word in text.split()]
        vectors = bits_of(" ".join(vector for _, _, vector in pairs), WIDTH)
        priority = np.array([float(number) for number, _, _ in pairs])
        if not (np.abs(priority) <= 1).all():
            raise ValueError
        return self._made(vectors[None], priority[None], min(WANTED, len(pairs)))

    def text(self, batch: BitBatch, row: int) -> str:
        given = batch.inputs[row, : int(np.argmax(batch.inputs[row, :, MARK]))]
        return " ".join(f"{step[PRIORITY]:.3f}:{words(step[None, :WIDTH])}" for step in given)
