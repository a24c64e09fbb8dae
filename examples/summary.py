"""Extractive summaries by a pointer network: which sentences of a document say the most about its themes.

    python examples/summary.py

A document has 8 to 12 sentences, each a vector that says how much it speaks of each of six themes. Its summary are the
sentences, in their order, that speak most of the document's three chief themes. So no sentence can be judged by
itself. The pointer network (Vinyals et al. 2015) reads all of them and points; beside it the first three sentences,
which are hard to beat in newspapers, and the three that speak most of all.
"""

import numpy as np

import tinyattn as ta
from tinyattn.models import PointerNetwork, PointerNetworkConfig
from tinyattn.tasks.pointing import NOTHING, PointBatch

THEMES, MOST, CHOSEN = 6, 12, 3


def documents(count: int, rng: np.random.Generator) -> PointBatch:
    """That many documents, with their summaries as slots: 1 + the sentence, then 0 for the end."""
    size = rng.integers(8, MOST + 1, count).astype(np.int32)
    sentences = rng.exponential(1.0, (count, MOST, THEMES)).astype(np.float32)
    sentences *= rng.uniform(0.2, 1.5, (count, 1, THEMES))  # what this document cares for
    sentences[np.arange(MOST) >= size[:, None]] = 0
    out = np.full((count, CHOSEN + 1), NOTHING, np.int32)
    for text, slots in zip(sentences, out, strict=True):
        chief = np.argsort(text.sum(axis=0))[-CHOSEN:]
        best = np.unique(text[:, chief].argmax(axis=0))  # (one may be the best for two themes)
        slots[: len(best) + 1] = [*(best + 1), 0]
    given = np.maximum(np.concatenate([np.zeros((count, 1), np.int32), out[:, :-1]], axis=1), 0)
    return PointBatch(sentences.astype(np.float32), size, given, out, np.arange(count), np.ones(count, bool))


def f1(said: list, right: np.ndarray) -> float:
    """The mean over documents of the sentences that are in both, as a share of those in either summary."""
    wanted = [{slot - 1 for slot in row if slot > 0} for row in right]
    return float(
        np.mean([2 * len({*a} & b) / (len({*a}) + len(b)) for a, b in zip(said, wanted, strict=True)])
    )


def main(steps: int = 1500) -> dict[str, float]:
    """F1 of the sentences chosen in 1,000 new documents."""
    rng, test = np.random.default_rng(0), documents(1000, np.random.default_rng(1))
    ta.manual_seed(0)
    model = PointerNetwork(PointerNetworkConfig(THEMES, hidden=64))
    optimizer = ta.optim.Adam(model.parameters(), lr=ta.optim.schedules.cosine(3e-3, steps), clip_norm=2.0)
    step = ta.function(lambda arrays: optimizer.minimize(model.loss(PointBatch(**arrays))))
    for _ in range(steps):
        step(vars(documents(64, rng)))
    loudest = np.argsort(test.points.sum(axis=2), axis=1)[:, -CHOSEN:]
    said = {"pointer network": model.answer(test).outputs, "the first three": [range(CHOSEN)] * 1000}
    said["the three that say most"] = [*loudest]
    return {name: f1(found, test.slots_out) for name, found in said.items()}


if __name__ == "__main__":
    print("\n".join(f"{name:26} {value:.1%}" for name, value in main().items()))
