"""Each word is translated by itself, in the order of the source, from its end, or in any order.

    monotone-copy      the fox sees   →   ta velka oti
    lexicon-reverse    the fox sees   →   oti velka ta
    lexicon-cover      the fox sees   →   velka ta oti, or any other order

The words are the forty of tiny-MT, drawn independently of each other, repeated or not: nothing but its place tells
which source word comes next. So the two tasks show where a model looks. Attention that moves on by one word a step
(local-m of Luong et al. 2015) can do the first and not the second; one that predicts its place (local-p) can do
both, and its prediction is measured against the gold alignment, target word t to source word t, or S − 1 − t.

To cover a source, each word of it is said exactly once, and nothing but memory tells which have been said already:
what input feeding is meant to help with (Luong et al. 2015, section 3.3). The order of a reference is drawn at random,
and any order is right.

Sentences have 10 to 30 words, all lengths equally often. The validation and test sets are the same whatever the
seed, are spread evenly over the lengths, and no sentence of theirs is in any training set.
"""

from abc import abstractmethod
from collections.abc import Sequence
from functools import cached_property
from typing import ClassVar

import numpy as np

from tinyattn.tasks.parts import metrics
from tinyattn.tasks.parts import tiny_mt_grammar as grammar
from tinyattn.tasks.parts.checks import check_positive
from tinyattn.tasks.parts.ragged import Ragged
from tinyattn.tasks.parts.randomness import Stream
from tinyattn.tasks.parts.splits import held_out, unseen
from tinyattn.tasks.parts.vocabulary import SPECIALS, Vocabulary
from tinyattn.tasks.translation import Examples, TranslationTask

SHORTEST, LONGEST = 10, 30  # words of a sentence
SHAPES = ((15, 16), (22, 23), (30, 31))  # the target has <eos> on top
POOL, VALIDATION, TEST = 80, 20, 50  # sentences of each length: drawn, and held out


class LexiconCopy(TranslationTask):
    """What the tasks have in common; `seed` chooses the training sentences, `train_examples` of them but for
    the few that are held out. Raises DataError for a bad option.
    """

    source_vocabulary = Vocabulary(grammar.LEXICON)
    target_vocabulary = Vocabulary(grammar.LEXICON.values())
    shapes = SHAPES

    def __init__(self, seed: int = 0, train_examples: int = 60_000):
        self.seed = seed
        self.train_examples = check_positive(self.name, "train_examples", train_examples)
        pool = self._generate(np.tile(np.arange(SHORTEST, LONGEST + 1), POOL), Stream("lexicon held out", 0))
        self.validation, self.test = held_out(pool, VALIDATION, TEST)

    @cached_property
    def train(self) -> Examples:  # type: ignore[override]  # (made when it is asked for: drawing doesn't)
        """The training sentences."""
        lengths = SHORTEST + np.arange(self.train_examples) % (LONGEST - SHORTEST + 1)
        made = self._generate(lengths, Stream("lexicon train", self.seed))
        return unseen(made, self.validation, self.test)

    def _generate(self, lengths: np.ndarray, random: Stream) -> Examples:
        """One sentence pair of each of the lengths (n,)."""
        ids = len(SPECIALS) + random.integers(len(grammar.LEXICON), int(lengths.sum())).astype(np.int32)
        source = Ragged(ids, lengths)
        places = self._places(source, random)
        # A word and its translation have the same id: both vocabularies are in the order of the lexicon.
        target = Ragged(ids[np.repeat(source.offsets[:-1], lengths) + places], lengths)
        links = np.stack([target.columns(), places], axis=1).astype(np.int16)
        return Examples(source, target, Ragged(links, lengths))

    @abstractmethod
    def _places(self, source: Ragged, random: Stream) -> np.ndarray:
        """Which place of its sentence each target word comes from: (total,) integers."""


class MonotoneCopy(LexiconCopy):
    """In the order of the source."""

    name: ClassVar[str] = "monotone-copy"
    title = "10 to 30 words, each translated by itself, in the same order, with gold alignments"

    def _places(self, source, random):
        return source.columns()


class LexiconReverse(LexiconCopy):
    """From the end of the source."""

    name: ClassVar[str] = "lexicon-reverse"
    title = "10 to 30 words, each translated by itself, the last one first, with gold alignments"

    def _places(self, source, random):
        return np.repeat(source.lengths, source.lengths) - 1 - source.columns()


class LexiconCover(LexiconCopy):
    """In any order. A translation is exact when it has the words of its reference, each as often as that has it."""

    name: ClassVar[str] = "lexicon-cover"
    title = "10 to 30 words, each translated once, in any order"

    def _places(self, source, random):
        rows = np.repeat(np.arange(len(source)), source.lengths)
        drawn = np.lexsort((random.words(len(rows)), rows))
        return source.columns()[drawn]

    def exact(self, translations: Sequence[Sequence[str]], references: Sequence[Sequence[str]]) -> np.ndarray:
        """Which translations have the words of their reference: (n,) bool."""
        return metrics.exact_matches(
            [sorted(words) for words in translations], [sorted(words) for words in references]
        )
