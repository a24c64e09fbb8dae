"""slips: does every word of a sentence fit? As linguists ask of sentences in CoLA, one of the tests of GPT and BERT.

    some cooks now stir the sweet cake .      sound
    a cooks now stir the sweet cake .         slip: the determiner has the other number
    some cooks now stirs the sweet cake .     slip: the verb has the other number
    some cooks now stir the shy cake .        slip: the adjective is another object's

The language is that of `documents` (parts/documents_grammar.py). 200 sentences have labels (`train_examples`); which
words belong together is learned from documents without labels, where BERT is pre-trained. Words by themselves say
nothing: who counts them is right about half of the time.
"""

import numpy as np

from tinyattn.tasks.labels import LabelledTexts
from tinyattn.tasks.parts import documents_grammar as grammar
from tinyattn.tasks.parts.checks import check_positive
from tinyattn.tasks.parts.randomness import Stream
from tinyattn.tasks.parts.table import Row
from tinyattn.tasks.parts.vocabulary import Vocabulary
from tinyattn.tasks.tagging import TaggingTask

VALIDATION, TEST = 200, 1_000
CLASSES, MARKS = ("sound", "slip"), ("fits", "slip")
PLACES = (grammar.DETERMINER, grammar.VERB, grammar.ADJECTIVE)
"""Where a slip can be."""
VOCABULARY = Vocabulary(grammar.WORDS[len(grammar.SPECIALS) :])
ADJECTIVES = np.unique(grammar.SENTENCES[:, grammar.ADJECTIVE])


class Slips(LabelledTexts):
    """The task; `seed` chooses the labelled sentences. Validation and test are always the same, no two alike, and none
    of them is among the labelled ones. Raises DataError for a bad option.
    """

    name = "slips"
    title = "does every word of a sentence fit? From 200 labels"

    def __init__(self, seed: int = 0, train_examples: int = 200):
        count = check_positive(self.name, "train_examples", train_examples)
        rows = {
            split: [
                Row(CLASSES[int(wrong.any())], " ".join(texts), f"sentence {k}")
                for k, (texts, wrong) in enumerate(found)
            ]
            for split, found in split_up(seed, count).items()
        }
        super().__init__(rows, CLASSES, 1, VOCABULARY)

    def split_text(self, text: str) -> list[str]:
        return text.lower().replace(".", " . ").split()


class SlipWords(TaggingTask):
    """The same sentences, where each word is to be marked: it fits, or it is the slip."""

    name = "slip-words"
    title = "which word of a sentence doesn't fit? From 200 labelled sentences"

    def __init__(self, seed: int = 0, train_examples: int = 200):
        count = check_positive(self.name, "train_examples", train_examples)
        splits = {
            split: [(words, [MARKS[int(mark)] for mark in wrong]) for words, wrong in found]
            for split, found in split_up(seed, count).items()
        }
        super().__init__(splits, MARKS, VOCABULARY, (grammar.LENGTH,))


def split_up(seed: int, count: int) -> dict[str, list[tuple[list[str], np.ndarray]]]:
    """The sentences of each split, `count` of them for training, and which of their words are slips."""
    pool, pool_wrong = sentences(4 * (VALIDATION + TEST), Stream("slips held out", 0))
    kept = np.sort(np.unique(pool, axis=0, return_index=True)[1])[: VALIDATION + TEST]
    words, wrong = sentences(2 * count + 100, Stream("slips train", seed))
    known = {row.tobytes() for row in pool[kept]}
    new = np.flatnonzero([row.tobytes() not in known for row in words])
    new = np.resize(new, count)  # where too few are left, some come again

    def written(words: np.ndarray, wrong: np.ndarray) -> list[tuple[list[str], np.ndarray]]:
        return [
            ([grammar.WORDS[word] for word in row], marks) for row, marks in zip(words, wrong, strict=True)
        ]

    return {
        "train": written(words[new], wrong[new]),
        "validation": written(pool[kept[:VALIDATION]], pool_wrong[kept[:VALIDATION]]),
        "test": written(pool[kept[VALIDATION:]], pool_wrong[kept[VALIDATION:]]),
    }


def sentences(count: int, stream: Stream) -> tuple[np.ndarray, np.ndarray]:
    """So many sentences (n, LENGTH) int32, as numbers of the grammar, and which of their words are slips (n, LENGTH)
    bool: of half of the sentences one."""
    chosen, slip = stream.integers(len(grammar.SENTENCES), count), stream.integers(2, count)
    place = np.array(PLACES)[stream.integers(len(PLACES), count)]
    words, every = grammar.SENTENCES[chosen].copy(), np.arange(count)
    half = (
        grammar.PER_NOUN // 2
    )  # the sentences of a noun: first all singular ones, then the same in the plural
    within = chosen % grammar.PER_NOUN
    other = grammar.SENTENCES[chosen - within + (within + half) % grammar.PER_NOUN, place]
    own = np.searchsorted(ADJECTIVES, words[:, grammar.ADJECTIVE])
    foreign = ADJECTIVES[(own + 1 + stream.integers(len(ADJECTIVES) - 1, count)) % len(ADJECTIVES)]
    there = slip == 1
    words[every[there], place[there]] = np.where(place == grammar.ADJECTIVE, foreign, other)[there]
    wrong = np.zeros(words.shape, bool)
    wrong[every[there], place[there]] = True
    return words, wrong
