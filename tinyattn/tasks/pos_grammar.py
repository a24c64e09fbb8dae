"""pos-grammar: parts of speech in an English whose words have several (tag_grammar.py).

"I saw a saw": what a word is can't be told from the word; often from its neighbours, as behind "a"; and sometimes only
from a word that stands at the other end of the sentence:

    we both saw a light can and duck near the river      "both" before the verb: "duck" is a second verb
    we saw both a light can and duck near the river      "both" before its object: "duck" is a second noun

How many words can be told from a window is computed from the grammar itself: from the word alone 85.2 %, with a
neighbour on each side 98.1 %. A whole sentence has one reading.
"""

from functools import cache, cached_property
from typing import ClassVar

from tinyattn.tasks.parts.checks import check_positive
from tinyattn.tasks.parts.randomness import Stream
from tinyattn.tasks.parts.tag_grammar import TAGS, WORDS, Grammar
from tinyattn.tasks.parts.vocabulary import Vocabulary
from tinyattn.tasks.tagging import Sentence, TaggingTask

VALIDATION, TEST = 500, 2_000
SHAPES = (8, 16, 24, 40)
"""Padded lengths; the longest sentence there can be has 38 words."""


_grammar = cache(Grammar)  # it is always the same


class POSGrammar(TaggingTask):
    """The task; `seed` chooses the training sentences, `train_examples` of them but for those that are held out.
    Validation and test are always the same. Raises DataError for a bad option.
    """

    name: ClassVar[str] = "pos-grammar"
    title = "parts of speech in a grammar whose words have several"

    def __init__(self, seed: int = 0, train_examples: int = 20_000):
        self.seed, self.grammar = seed, _grammar()
        count = check_positive(self.name, "train_examples", train_examples)
        held_out = self._sentences(VALIDATION + TEST, Stream("pos-grammar held out", 0))
        kept = {" ".join(words) for words, _ in held_out}
        train = self._sentences(count, Stream("pos-grammar train", seed))
        splits = {
            "train": [sentence for sentence in train if " ".join(sentence[0]) not in kept],
            "validation": held_out[:VALIDATION],
            "test": held_out[VALIDATION:],
        }
        super().__init__(splits, TAGS, Vocabulary(WORDS), SHAPES)

    def _sentences(self, count: int, stream: Stream) -> list[Sentence]:
        drawn = self.grammar.sentences(count, stream)
        return [([WORDS[i] for i in words], [TAGS[k] for k in tags]) for words, tags in drawn]

    @cached_property
    def _ceilings(self) -> dict[str, float]:
        looks = ("the word alone", "a neighbour on each side")
        return {what: self.grammar.ceiling(window) for window, what in enumerate(looks)}

    def ceilings(self) -> dict[str, float]:
        """Σ_w max_t p(w, t) over words, and over windows of three, of the grammar's sentences."""
        return self._ceilings

    def remarks(self, text: str) -> list[str]:
        """Unknown words, or that the grammar has no such sentence."""
        unknown = super().remarks(text)
        if unknown or not text.split():
            return unknown
        words = [WORDS.index(self.normal(word)) for word in text.split()]
        known = self.grammar.readings(words).any()  # type: ignore[arg-type]
        return [] if known else [f"the grammar of {self.name} has no such sentence."]
