"""reviews: does the writer recommend it? Generated reviews in which single words mislead.

A review is clauses, and one of them decides:

    the food was not bad                                        negation turns an opinion round, at a distance, too:
    we never found the service very friendly                    "hardly", "never", "not"
    the rooms were lovely , but the owner was so rude           what follows "but" outweighs what stands before
    although the bar was dull , i loved the garden              what follows the clause with "although" decides

Around them stand clauses without an opinion ("we went there in may"). The label is that of the deciding opinion, and so
known; its words, the adjective or verb and what negates it, are known as well: attention should rest on them. Its share
there is the figure `attention_mass`. Who counts words is right in about three of four.
"""

from typing import ClassVar

import numpy as np

from tinyattn.sections import Figure
from tinyattn.tasks.labels import LabelledTexts
from tinyattn.tasks.parts.checks import check_positive
from tinyattn.tasks.parts.randomness import Stream
from tinyattn.tasks.parts.table import Row
from tinyattn.tasks.task import Answers, Scores

VALIDATION, TEST = 500, 2_000
CLASSES = ("no", "yes")
PLACES = ("food", "service", "owner", "room", "garden", "bar", "music", "view")
GOOD = ("lovely", "friendly", "great", "quiet", "fresh", "charming", "warm", "clean")
BAD = ("rude", "dull", "dirty", "noisy", "stale", "cold", "awful", "bad")
LOVED, HATED = ("loved", "enjoyed", "admired"), ("hated", "disliked", "regretted")
STRONG = ("very", "so", "really", "quite")
NEGATIONS = ("not", "never", "hardly")
ASIDES = (
    "we went there in may", "my sister came too", "it has eight tables", "they open at noon", "the bus stops outside",
    "i had read about it", "we stayed for two nights", "it was a monday",
)  # fmt: skip

Clause = list[tuple[str, bool]]
"""Words, and which of them would decide."""


class Reviews(LabelledTexts):
    """The task; `seed` chooses the training reviews. Validation and test are always the same, and no review of theirs
    is in training. Raises DataError for a bad option.
    """

    name: ClassVar[str] = "reviews"
    title = "generated reviews with negation and contrast: recommended or not?"
    figures = (*LabelledTexts.figures, Figure("attention_mass", "attention on the words that decide"))

    def __init__(self, seed: int = 0, train_examples: int = 10_000):
        count = check_positive(self.name, "train_examples", train_examples)
        held_out = [_review(Stream("reviews held out", 0, k)) for k in range(VALIDATION + TEST)]
        kept = {" ".join(word for word, _ in clause) for clause, _ in held_out}
        train = [_review(Stream("reviews train", seed, k)) for k in range(count)]
        splits = {
            "train": [each for each in train if " ".join(word for word, _ in each[0]) not in kept],
            "validation": held_out[:VALIDATION],
            "test": held_out[VALIDATION:],
        }
        rows = {
            split: [
                Row(CLASSES[good], " ".join(word for word, _ in text), f"review {k}")
                for k, (text, good) in enumerate(reviews)
            ]
            for split, reviews in splits.items()
        }
        self.deciding = {s: [np.array([d for _, d in text]) for text, _ in splits[s]] for s in splits}
        super().__init__(rows, CLASSES, 1)

    def split_text(self, text: str) -> list[str]:
        return text.lower().replace(",", " , ").split()

    def score(self, answers: Answers, split: str) -> Scores:
        """Further, the share of the weights "attention" (1, T) that is on the deciding words, on average."""
        scores = super().score(answers, split)
        weights = answers.maps.get("attention")
        if weights:
            found = [
                float(np.asarray(each)[0, : len(where)][where].sum())
                for each, where in zip(weights, self.deciding[split], strict=True)
            ]
            scores.figures["attention_mass"] = float(np.mean(found))
        return scores


def _review(stream: Stream) -> tuple[Clause, bool]:
    """A review, and whether it recommends."""
    draw = _Draw(stream)
    good, other = bool(draw.one(2)), bool(draw.one(2))
    kind, asides = draw.one(5), [draw.of(ASIDES) for _ in range(draw.one(3))]
    opinion = _opinion(draw, good)
    aside = [[(word, False) for word in text.split()] for text in asides]
    before = [(word, False) for word, _ in _opinion(draw, other)]
    comma = [(",", False)]
    if kind < 3:
        core = opinion
    elif kind == 3:
        core = before + comma + [("but", False)] + opinion
    else:
        core = [("although", False)] + before + comma + opinion
    parts = [core, *aside]
    order = [draw.one(len(parts)) for _ in parts]
    parts = [part for _, part in sorted(zip(order, parts, strict=True), key=lambda pair: pair[0])]
    joined = parts[0]
    for part in parts[1:]:
        joined = [*joined, (".", False), *part]
    return joined, good


def _opinion(draw: "_Draw", good: bool) -> Clause:
    """A clause that says what it thinks."""
    negated = draw.one(7) == 0
    seen = good != negated  # what its main word says by itself
    where, word = draw.of(PLACES), (draw.of(GOOD if seen else BAD), True)
    kind = draw.one(3)
    negation = [(draw.of(NEGATIONS[kind > 0 :]), True)] if negated else []  # (nobody says "we not loved")
    strong = [(draw.of(STRONG), False)] if draw.one(2) else []
    if kind == 0:
        return [("the", False), (where, False), ("was", False), *negation, *strong, word]
    if kind == 1:
        verb = (draw.of(LOVED if seen else HATED), True)
        return [
            ("we", False),
            *(negation or [("really", False)] * len(strong)),
            verb,
            ("the", False),
            (where, False),
        ]
    return [("we", False), *negation, ("found", False), ("the", False), (where, False), *strong, word]


class _Draw:
    """Choices, one after another, from a stream."""

    def __init__(self, stream: Stream):
        self._words = iter((stream.words(64) >> np.uint32(8)).tolist())

    def one(self, count: int) -> int:
        """A number below count."""
        return next(self._words) * count >> 24

    def of(self, choices: tuple[str, ...]) -> str:
        """One of them."""
        return choices[self.one(len(choices))]
