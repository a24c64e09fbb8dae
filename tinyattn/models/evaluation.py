"""How well a translation model does on held-out sentences: the figures of a report, and the sentences behind
them.

exact_match   the fraction of translations that equal their reference, word for word
bleu          BLEU-4 of the corpus, 0 to 100
perplexity    exp of the mean of −log p(word | the reference's words before it, source)
aer           alignment error rate of the largest weights against the gold alignment, where both exist. The
decoder
              is given the reference, as in Luong et al. 2015, section 4.3: each gold link has its row of
              weights.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import tinyattn as ta
from tinyattn.tasks import metrics
from tinyattn.tasks.translation import TranslationTask


@dataclass
class Evaluation:
    """What a model did with the examples of one split; the lists are in the order of the split.

    figures: metric → value. by_length: source lengths, as "25-30" → exact match. attention: (tokens, source
    words) of each translation, <eos> included, or None.
    """

    split: str
    figures: dict[str, float]
    by_length: dict[str, float]
    translations: list[list[str]]
    attention: list[np.ndarray | None] = field(default_factory=list, repr=False)


def evaluate(
    model: Any,
    task: TranslationTask,
    split: str = "test",
    batch_size: int = 64,
    beam: int = 1,
    length_penalty: float = 0.0,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Evaluation:
    """Translate a split and compare. progress(done, total) is called after each batch. Raises what the parts
    raise.
    """
    examples = task.examples(split)
    translations: list[list[str]] = [[]] * len(examples)
    attention: list[np.ndarray | None] = [None] * len(examples)
    links: tuple[list, list] = ([], [])  # predicted and gold
    loss, tokens = 0.0, 0
    forced = ta.function(_forced(model))
    batches = task.batches(split, batch_size)
    was_training = model.training
    model.eval()
    try:
        for number, batch in enumerate(batches):
            found = model.translate(
                batch.source, batch.source_length, beam, task.longest_target, length_penalty
            )
            for row in np.flatnonzero(batch.valid):
                words = task.target_vocabulary.decode(found.tokens[row])
                translations[batch.index[row]] = words
                if found.attention is not None:
                    shown = found.attention[row, : len(words) + 1, : batch.source_length[row]]
                    attention[batch.index[row]] = shown.copy()
            nats, weights = forced(type(batch), vars(batch))
            loss, tokens = loss + float(nats) * batch.tokens, tokens + batch.tokens
            if weights is not None and examples.alignment is not None:
                lengths = np.maximum(batch.target_length - 1, 0)
                predicted = metrics.alignment_links(weights, batch.source_length, lengths)
                links[0].append(predicted[batch.valid].ravel())
                links[1].append(examples.gold_links(batch)[batch.valid].ravel())
            progress(number + 1, len(batches))
    finally:
        model.train(was_training)

    references = task.references(split)
    exact = metrics.exact_matches(translations, references)
    figures = {
        "exact_match": float(exact.mean()),
        "bleu": metrics.bleu(translations, references),
        "perplexity": metrics.perplexity(loss, tokens),
    }
    if links[0]:
        figures["aer"] = metrics.alignment_error_rate(*map(np.concatenate, links))
    lengths = examples.source.lengths
    by_length = metrics.mean_by_bucket(exact, lengths, length_buckets(lengths))
    return Evaluation(split, figures, by_length, translations, attention)


def length_buckets(lengths: np.ndarray) -> list[int]:
    """Edges of buckets five lengths wide, for `mean_by_bucket`; the last one takes what is left: 5, 10, …,
    25, 31.
    """
    low, high = int(lengths.min()) // 5 * 5, int(lengths.max())
    return [*range(low, max(high - 4, low + 1), 5), high + 1]


def _forced(model: Any) -> Callable:
    """With the reference's words given: the mean loss, and the weights."""

    def run(kind: type, arrays: dict):
        batch = kind(**arrays)
        return model.loss(batch), model(batch.source, batch.source_length, batch.target_in)[1]

    return run
