"""recall: what followed? Items of three vectors of six bits are shown, then one of them again; the answer is the item
that stood behind it (Graves et al. 2014, section 4.3: associative recall).

    ( a a a ( b b b ( c c c  [ a a a ]   →   b b b

A mark stands before each item, and another one before and behind the question.
"""

import numpy as np

from tinyattn.tasks.bits import BitBatch, Bits, Sequences, bits_of, blank, random_bits, words
from tinyattn.tasks.parts.randomness import Stream

WIDTH, LONG = 6, 3
ITEM, QUESTION = WIDTH, WIDTH + 1
"""The channels of the marks."""


class Recall(Bits):
    """The task: 2 to 6 items in training; in the test 6 and 10."""

    name = "recall"
    title = "the item that followed the one that is shown again"
    features, outputs = WIDTH + 2, WIDTH
    example = "101010 111000 000111 , 010101 000111 111000 ? 101010 111000 000111"
    trained = range(2, 7)
    tested = {"6": [6], "10": [10]}

    def sequences(self, size: int, count: int, stream: Stream) -> Sequences:
        items = random_bits(stream, count, size, LONG, WIDTH)
        return self._made(items, stream.integers(size - 1, count))

    def _made(self, items: np.ndarray, asked: np.ndarray) -> Sequences:
        """Of items (k, n, 3, 6), and the number of the one that is shown again (k,)."""
        count, size, _, _ = items.shape
        begin = size * (LONG + 1)
        found = blank(count, begin + 2 + 2 * LONG, self.features, self.outputs)
        for k in range(size):
            place = k * (LONG + 1)
            found.inputs[:, place, ITEM] = 1
            found.inputs[:, place + 1 : place + 1 + LONG, :WIDTH] = items[:, k]
        every = np.arange(count)
        found.inputs[:, [begin, begin + LONG + 1], QUESTION] = 1
        found.inputs[:, begin + 1 : begin + 1 + LONG, :WIDTH] = items[every, asked]
        found.targets[:, -LONG:] = items[every, asked + 1]
        found.asked[:, -LONG:] = True
        return found

    def parse(self, text: str) -> Sequences:
        shown, _, question = text.partition("?")
        items = np.stack([bits_of(item, WIDTH) for item in shown.split(",")])
        same = [bool((item == bits_of(question, WIDTH)).all()) for item in items]
        if items.shape[1:] != (LONG, WIDTH) or not any(same[:-1]):
            raise ValueError
        return self._made(items[None], np.array([same.index(True)]))

    def text(self, batch: BitBatch, row: int) -> str:
        given = batch.inputs[row]
        begin = int(np.argmax(given[:, QUESTION]))
        items = [words(given[k + 1 : k + 1 + LONG, :WIDTH]) for k in range(0, begin, LONG + 1)]
        return f"{' , '.join(items)} ? {words(given[begin + 1 : begin + 1 + LONG, :WIDTH])}"
