"""tiny-MT: a machine-translation task with nothing to download and everything attention was invented for.

Sentences of 5 to 30 English words become sentences of 6 to 31 tokens of Kalomiru (see tiny_mt_grammar.py for both
languages): word for word, but with adjectives behind their noun, the verb at the very end, and on it the
ending of its subject. What a translation ends with is found near the beginning of the source, up to 28 words
away: a single vector has to carry the whole sentence there, attention has only to look.

Each target token comes from exactly one source word, which is its gold alignment: a word from the word it
translates, the ending of the verb from the subject noun (not from the verb).

All lengths are equally frequent. The validation and test sets are the same whatever the seed, are spread
evenly over the lengths, and no sentence of theirs is in any training set.
"""

from collections.abc import Iterable, Sequence
from functools import cached_property
from itertools import permutations
from typing import ClassVar

import numpy as np

from tinyattn.tasks.parts import tiny_mt_grammar as grammar
from tinyattn.tasks.parts.checks import check_positive
from tinyattn.tasks.parts.ragged import Ragged
from tinyattn.tasks.parts.randomness import Stream
from tinyattn.tasks.parts.splits import held_out, unseen
from tinyattn.tasks.parts.vocabulary import SPECIALS, Vocabulary
from tinyattn.tasks.translation import Examples, TranslationTask

SHORTEST, LONGEST = 5, 30  # words of a source sentence; its translation has one token more
LENGTH_BUCKETS = (5, 10, 15, 20, 25, 31)  # edges, for reports by source length: 5-9, ..., 20-24, 25-30
SHAPES = ((10, 12), (20, 22), (30, 32))  # the target has the ending of the verb and <eos> on top
POOL, VALIDATION_PER_LENGTH, TEST_PER_LENGTH = 80, 20, 50  # sentences: drawn, and held out

SOURCE_VOCABULARY = Vocabulary(grammar.LEXICON)
TARGET_VOCABULARY = Vocabulary((*grammar.LEXICON.values(), *grammar.ENDINGS))

# A sentence is a grid of cells, one row per noun phrase. Cells may be empty; read row by row, it is the
# source:
#
#     link  determiner  adjective  adjective  adjective  noun
#
# The link is empty in row 0 (the subject), the verb in row 1 (the object), and a preposition from row 2 on.
LINK, DETERMINER, ADJECTIVE, NOUN, COLUMNS = 0, 1, 2, 5, 6
MOST_ROWS = 2 + (LONGEST - SHORTEST) // 3
VERB_CELL, SUBJECT_CELL = COLUMNS + LINK, NOUN
# The translation reads the same cells in another order: each noun before its adjectives, then the verb, and
# then the subject noun once more, which gives the ending.
PHRASE_ORDER = np.array([LINK, DETERMINER, NOUN, ADJECTIVE, ADJECTIVE + 1, ADJECTIVE + 2])
_phrases = (np.arange(MOST_ROWS)[:, None] * COLUMNS + PHRASE_ORDER).ravel()
TARGET_ORDER = np.concatenate([_phrases[_phrases != VERB_CELL], [VERB_CELL, SUBJECT_CELL]])


class TinyMT(TranslationTask):
    """The task; `seed` chooses the training sentences, about `train_examples` of them.

    The few that also occur in the validation or test set are taken out. Raises DataError for a bad option.
    """

    name: ClassVar[str] = "tiny-mt"
    title = "forty words of English into an invented language, with gold alignments"
    source_vocabulary, target_vocabulary, shapes = SOURCE_VOCABULARY, TARGET_VOCABULARY, SHAPES

    def __init__(self, seed: int = 0, train_examples: int = 60_000):
        self.seed = seed
        self.train_examples = check_positive("tiny-mt", "train_examples", train_examples)
        pool = generate(np.tile(np.arange(SHORTEST, LONGEST + 1), POOL), Stream("tiny-mt held out", 0))
        self.validation, self.test = held_out(pool, VALIDATION_PER_LENGTH, TEST_PER_LENGTH)

    @cached_property
    def train(self) -> Examples:  # type: ignore[override]  # (made when it is asked for: drawing doesn't)
        """The training sentences."""
        lengths = SHORTEST + np.arange(self.train_examples) % (LONGEST - SHORTEST + 1)
        return unseen(generate(lengths, Stream("tiny-mt train", self.seed)), self.validation, self.test)

    def join_target(self, tokens: Sequence[str]) -> str:
        """Kalomiru as it is written."""
        return grammar.join(tokens)


def generate(lengths: np.ndarray, random: Stream) -> Examples:
    """One sentence pair for each of the source lengths (n,), each 5 to 30 words; all drawn at once.

    With a sentence as a grid of cells, "the cells that are not empty, in reading order" is one boolean index,
    for the source as for the translation.
    """
    cells = _draw(np.asarray(lengths, np.int64), random)
    present = cells > 0
    position = np.cumsum(present, axis=1, dtype=np.int16) - np.int16(1)
    source = Ragged(cells[present].astype(np.int32), lengths)

    reordered, present = cells[:, TARGET_ORDER], present[:, TARGET_ORDER]
    translated = _TRANSLATIONS[reordered]
    translated[:, -1] = _ENDINGS[reordered[:, -1]]
    target = Ragged(translated[present], source.lengths + 1)
    links = np.stack([target.columns().astype(np.int16), position[:, TARGET_ORDER][present]], axis=1)
    return Examples(source, target, Ragged(links, target.lengths))


def _draw(lengths: np.ndarray, random: Stream) -> np.ndarray:
    """Random grids whose sentences have the given lengths: (n, MOST_ROWS * COLUMNS) uint8 ids, 0 if empty.

    A length is 5 + 3 * prepositional phrases + adjectives. First comes the number of phrases p, uniform over
    all for which there are places for the adjectives: spare - 3 p <= 3 (2 + p). Then come the places,
    uniform, and then the words, with the nouns of a sentence and the adjectives of a noun all different.
    """
    count = len(lengths)
    spare = lengths - SHORTEST
    fewest, most = np.maximum(0, -((6 - spare) // 6)), spare // 3
    phrases = fewest + random.integers(most - fewest + 1, count)
    rows, adjectives = 2 + phrases, spare - 3 * phrases

    used = np.arange(MOST_ROWS) < rows[:, None]
    places = random.subsets(adjectives, 3 * rows, 3 * MOST_ROWS).reshape(count, MOST_ROWS, 3)
    described = np.arange(3) < places.sum(axis=2)[:, :, None]  # as many in each row, moved to its front

    grid = np.zeros((count, MOST_ROWS, COLUMNS), np.uint8)
    grid[:, :, LINK] = _PREPOSITIONS[random.integers(len(_PREPOSITIONS), count, MOST_ROWS)] * used
    grid[:, 0, LINK] = 0
    grid[:, 1, LINK] = _VERBS[random.integers(len(_VERBS), count)]
    grid[:, :, DETERMINER] = _DETERMINERS[random.integers(len(_DETERMINERS), count, MOST_ROWS)] * used
    different = _ADJECTIVE_TRIPLES[random.integers(len(_ADJECTIVE_TRIPLES), count, MOST_ROWS)]
    grid[:, :, ADJECTIVE:NOUN] = different * described
    grid[:, :, NOUN] = _NOUNS[random.permutations(count, len(_NOUNS))[:, :MOST_ROWS]] * used
    return grid.reshape(count, -1)


def _source_ids(words: Iterable[str]) -> np.ndarray:
    return SOURCE_VOCABULARY.encode(list(words)).astype(np.uint8)


_DETERMINERS, _NOUNS = _source_ids(grammar.DETERMINERS), _source_ids(grammar.NOUNS)
_VERBS, _PREPOSITIONS = _source_ids(grammar.VERBS), _source_ids(grammar.PREPOSITIONS)
_ADJECTIVE_TRIPLES = np.array(list(permutations(_source_ids(grammar.ADJECTIVES), 3)), np.uint8)

# From the id of a source word to that of its translation, and from a noun to the ending of its class.
_TRANSLATIONS = np.zeros(len(SOURCE_VOCABULARY), np.int32)
_TRANSLATIONS[len(SPECIALS) :] = TARGET_VOCABULARY.encode(list(grammar.LEXICON.values()))
_ENDINGS = np.zeros(len(SOURCE_VOCABULARY), np.int32)
_ENDINGS[_NOUNS] = TARGET_VOCABULARY.encode([grammar.ending(noun) for noun in grammar.NOUNS])
