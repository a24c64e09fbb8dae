"""The rows with which BERT is compared, as a batch."""

import make_fixtures
import make_pretrained_fixtures
import numpy as np

from tinyattn.tasks.documents import PairBatch

FOLDER = make_fixtures.FIXTURES / "bert"


def batch() -> PairBatch:
    """Three rows, two of them padded."""
    return PairBatch(**make_pretrained_fixtures.bert_inputs(), index=np.arange(3), valid=np.ones(3, bool))


def seen(given: PairBatch) -> tuple[np.ndarray, ...]:
    """What a model is called with."""
    return given.tokens, given.segments, given.length
