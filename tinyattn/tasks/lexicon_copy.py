"""monotone-copy and lexicon-reverse: each word is translated by itself, in the order of the source or from its end.

    monotone-copy      the fox sees   →   ta velka oti
    lexicon-reverse    the fox sees   →   oti velka ta

The words are the forty of tiny-MT, drawn independently of each other, repeated or not: nothing but its place tells
which source word comes next. So the two tasks show where a model looks. Attention that moves on by one word a step
(local-m of Luong et al. 2015) can do the first and not the second; one that predicts its place (local-p) can do
both, and its prediction is measured against the gold alignment, target word t to source word t, or S − 1 − t.

Sentences have 10 to 30 words, all lengths equally often. The validation and test sets are the same whatever the
seed, are spread evenly over the lengths, and no sentence of theirs is in any training set.
"""

from functools import cached_property
from typing import ClassVar

import numpy as np

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
    """What the two tasks have in common; `seed` chooses the training sentences, `train_examples` of them but for
    the few that are held out. Raises DataError for a bad option.
    """

    backwards: ClassVar[bool]
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
        places = source.columns()
        if self.backwards:
            places = np.repeat(source.lengths, lengths) - 1 - places
        # A word and its translation have the same id: both vocabularies are in the order of the lexicon.
        target = Ragged(ids[np.repeat(source.offsets[:-1], lengths) + places], lengths)
        links = np.stack([target.columns(), places], axis=1).astype(np.int16)
        return Examples(source, target, Ragged(links, lengths))


class MonotoneCopy(LexiconCopy):
    """In the order of the source."""

    name: ClassVar[str] = "monotone-copy"
    title = "10 to 30 words, each translated by itself, in the same order, with gold alignments"
    backwards = False


class LexiconReverse(LexiconCopy):
    """From the end of the source."""

    name: ClassVar[str] = "lexicon-reverse"
    title = "10 to 30 words, each translated by itself, the last one first, with gold alignments"
    backwards = True
