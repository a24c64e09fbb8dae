"""ngrams: the next bit of 200, each drawn with a probability that depends on the five before it.

Each sequence has 32 probabilities of its own, one for each context of five bits, from Beta(½, ½); the first five bits
are 0 or 1 equally often, and cost a bit each. A model has to count, for each context, how often each bit followed.
The best that can be done is known (Graves et al. 2014, section 4.4; Murphy 2012):

    P(1 | N_1, N_0) = (N_1 + ½) / (N_1 + N_0 + 1)
"""

from collections.abc import Mapping

import numpy as np

from tinyattn.sections import Section, Table
from tinyattn.tasks.bits import BitBatch, Bits, Sequences, bits_of, blank
from tinyattn.tasks.parts.randomness import Stream
from tinyattn.tasks.task import Answers, Scores

LENGTH, CONTEXT = 200, 5


class NGrams(Bits):
    """The task. The first bit is said before anything is read."""

    name = "ngrams"
    title = "the next of 200 bits whose probabilities have to be counted"
    features, outputs = 1, 1
    example = "0110100110010110"
    trained = (LENGTH,)
    tested = {str(LENGTH): [LENGTH]}

    def sequences(self, size: int, count: int, stream: Stream) -> Sequences:
        chance = np.sin(np.pi / 2 * (stream.words(count, 1 << CONTEXT) / 2.0**32)) ** 2  # Beta(½, ½)
        draws = stream.words(count, size) / 2.0**32
        bits, context = np.zeros((count, size), np.int64), np.zeros(count, np.int64)
        for step in range(size):
            bits[:, step] = draws[:, step] < (chance[np.arange(count), context] if step >= CONTEXT else 0.5)
            context = _next(context, bits[:, step])
        return self._made(bits)

    def _made(self, bits: np.ndarray) -> Sequences:
        found = blank(len(bits), bits.shape[1], self.features, self.outputs)
        found.inputs[:, 1:, 0] = 2 * bits[:, :-1] - 1  # 0 stands for "nothing read yet"
        found.targets[:, :, 0] = bits
        found.asked[:] = True
        return found

    def parse(self, text: str) -> Sequences:
        bits = bits_of(" ".join(text.replace(" ", "")), 1)[:, 0].astype(np.int64)
        return self._made(bits[None])

    def text(self, batch: BitBatch, row: int) -> str:
        return "".join(str(int(bit)) for bit in batch.targets[row][batch.asked[row]][:, 0])

    def best(self, split: str) -> list[np.ndarray]:
        """What the best estimator says to each sequence of a split, (200, 1)."""
        bits = self.held_out[split].targets[:, :, 0].astype(np.int64)
        every, context = np.arange(len(bits)), np.zeros(len(bits), np.int64)
        counts, said = np.full((len(bits), 1 << CONTEXT, 2), 0.5), np.full(bits.shape, 0.5)
        for step in range(bits.shape[1]):
            if step >= CONTEXT:
                seen = counts[every, context]
                said[:, step] = seen[:, 1] / seen.sum(axis=1)
                counts[every, context, bits[:, step]] += 1
            context = _next(context, bits[:, step])
        return [*said[:, :, None]]

    def sections(self, answers: Mapping[str, tuple[Answers, Scores]], split: str) -> list[Section]:
        """With the best that can be done."""
        cost = f"cost_{LENGTH}"
        best = self.score(Answers(self.best(split)), split).figures[cost]
        rows = [("the best estimator", "", f"{best:.2f}")]
        rows += [(name, "", f"{scores.figures[cost]:.2f}") for name, (_, scores) in answers.items()]
        return [
            Table("Beside the best", ("", "", "bits a sequence"), rows),
            *super().sections(answers, split),
        ]


def _next(context: np.ndarray, bits: np.ndarray) -> np.ndarray:
    """The context after one more bit."""
    return (context << 1 | bits) & (1 << CONTEXT) - 1
