"""agreement: say the next word, where some words can be known only by looking back.

Half of the texts are sentences, with k = 0 … 8 distractors between subject and verb, each k equally often:

    dogs near cat by trees often sing .         noun (preposition noun)* adverb verb

The verb has the number of the first noun, whatever the others are. The other half are brackets of two kinds, nested
at most four deep:

    ( [ ] ( ) ) [ [ ] ] .

where a closing bracket is of the kind of the last one that is still open. Every word is drawn from a process that is
known (its probabilities are the `floor` of the task): no model can have a lower perplexity but by chance.

    sentence    half of the texts; another noun behind j distractors with probability (8 − j) / (9 − j); all words of a
                kind equally likely, the number of a noun too
    brackets    of 12 to 20; below depth 4, and while there is room to close all, the next one opens with probability
                1/2; at depth 0 the text ends with probability 1/4 where it may

The gold position of a verb is its subject, that of a closing bracket the one it closes; a model's attention can be
compared with them. The validation and test sets are the same whatever the seed, and none of their texts is in a
training set.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from tinyattn.errors import DataError
from tinyattn.sections import Bars, Figure, Section, Table
from tinyattn.tasks.parts import metrics
from tinyattn.tasks.parts.batching import Batcher, OrderedBatches, ShuffledBatches
from tinyattn.tasks.parts.checks import check_positive
from tinyattn.tasks.parts.randomness import Stream
from tinyattn.tasks.parts.vocabulary import BOS, EOS, PAD, Vocabulary
from tinyattn.tasks.task import Answers, Scores, Task
from tinyattn.tasks.text import NOTHING, TextBatch

NOUNS = "dog cat bird horse girl boy tree boat".split()
VERBS = "sing sleep run wait fall shine turn move".split()
PREPOSITIONS = "near by behind with".split()
ADVERBS = "often never now always".split()
BRACKETS = ("(", "[", ")", "]")
"""The kind of a bracket is its place modulo 2."""
VOCABULARY = Vocabulary(
    [*PREPOSITIONS, *ADVERBS, *NOUNS, *(f"{noun}s" for noun in NOUNS), *(f"{verb}s" for verb in VERBS),
     *VERBS, *BRACKETS]
)  # fmt: skip
PREPOSITION, ADVERB, NOUN, VERB, BRACKET = (
    int(VOCABULARY.encode([words[0]])[0])
    for words in (PREPOSITIONS, ADVERBS, NOUNS, [f"{VERBS[0]}s"], BRACKETS)
)
"""Where each kind of word begins; singular nouns and verbs first, then as many plural ones."""
MOST = 8  # distractors
DEEPEST, FEWEST, MOST_BRACKETS = 4, 12, 20
LENGTH = 1 + MOST_BRACKETS  # words of the longest text with its end, of both kinds
VALIDATION, TEST = 20, 112
"""Held-out sentences with each number of distractors; there are as many brackets in all."""


@dataclass(frozen=True)
class Texts:
    """n texts, without <bos>.

    words: (n, LENGTH) int32 with <eos> at the end, <pad> behind. gold: (n, LENGTH) where in the text the word is that
    decides this one, or NOTHING. nats: (n,) −log p of the process. distractors: (n,), or NOTHING for brackets.
    """

    words: np.ndarray
    gold: np.ndarray
    nats: np.ndarray
    distractors: np.ndarray

    def take(self, rows: Any) -> "Texts":
        """The given ones, in the given order."""
        return Texts(*(part[rows] for part in vars(self).values()))


class Agreement(Task):
    """The task; `seed` chooses the training texts, about `train_examples` of them: those that are held out are taken
    out of them. Raises DataError for a bad option.
    """

    name = "agreement"
    title = "the next word of sentences and brackets that have to be looked back into"
    unit = "word"
    families = ("language",)
    figures = (
        Figure("accuracy", "verbs with their subject's number"),
        Figure(f"accuracy_{MOST}", f"… behind {MOST} distractors"),
        Figure("brackets", "closing brackets right"),
        Figure("perplexity", "perplexity per word", "{:.4f}", "lower"),
        Figure("subject_mass", "attention on the subject, at its verb"),
        Figure("bracket_mass", "attention on the bracket that is closed"),
    )

    def __init__(self, seed: int = 0, train_examples: int = 100_000):
        self.seed = seed
        self.train_examples = check_positive(self.name, "train_examples", train_examples)
        self.held_out = held_out()

    @cached_property
    def train(self) -> Texts:
        """The training texts."""
        stream, half = Stream("agreement train", self.seed), self.train_examples // 2
        drawn = join(
            sentences(stream.integers(MOST + 1, self.train_examples - half), stream), brackets(half, stream)
        )
        kept = np.concatenate([_keys(part) for part in self.held_out.values()])
        return drawn.take(np.flatnonzero(~np.isin(_keys(drawn), kept)))

    def texts(self, split: str) -> Texts:
        """The texts of a split. Raises DataError."""
        return self.train if self.check_split(split) == "train" else self.held_out[split]

    # Batches.

    def sizes(self) -> dict[str, Any]:
        """The number of words, and how many a model sees at once."""
        return {"vocab_size": len(VOCABULARY), "block_size": LENGTH}

    def count(self, split: str) -> int:
        return len(self.texts(split).words)

    def batches(
        self, split: str, batch_size: int, seed: int | None = None
    ) -> OrderedBatches | ShuffledBatches:
        """x = <bos> and the words but the last, y = the words; y is NOTHING behind the end."""
        texts = self.texts(split)

        def make(rows: np.ndarray, valid: np.ndarray) -> TextBatch:
            words = texts.words[rows]
            begun = np.concatenate([np.full((len(rows), 1), BOS, np.int32), words[:, :-1]], axis=1)
            targets = np.where((words != PAD) & valid[:, None], words, np.int32(NOTHING))
            return TextBatch(begun, targets, rows, valid)

        batcher = Batcher(len(texts.words), batch_size, make)
        return OrderedBatches(batcher) if seed is None else ShuffledBatches(batcher, seed)

    def probe(self) -> TextBatch:
        return next(iter(self.batches("test", 2)))

    # Judgement.

    def score(self, answers: Answers, split: str) -> Scores:
        """The figures, and how many verbs agree by the number of distractors. Answers are the most probable next words
        of each text (LENGTH,); maps "attention" (LENGTH, LENGTH) have a row for each place of x that looks.
        """
        texts, said = self.texts(split), np.stack(answers.outputs)
        verbs = texts.distractors != NOTHING
        rows, places = np.nonzero((texts.gold != NOTHING) & verbs[:, None])
        right = number_of(said[rows, places]) == number_of(texts.words[rows, places])
        distractors = texts.distractors[rows]
        closed = (texts.gold != NOTHING) & ~verbs[:, None]
        figures = {
            "accuracy": float(right.mean()),
            f"accuracy_{MOST}": float(right[distractors == MOST].mean()),
            "brackets": float((said == texts.words)[closed].mean()),
        }
        if answers.nats is not None:
            figures["perplexity"] = metrics.perplexity(answers.nats, answers.predictions)
        maps = answers.maps.get("attention")
        if maps and maps[0] is not None:
            weights = np.stack([np.asarray(part) for part in maps])
            figures["subject_mass"] = self._mass(weights, texts, verbs)
            figures["bracket_mass"] = self._mass(weights, texts, ~verbs)
        by_distractors = {str(k): float(right[distractors == k].mean()) for k in range(MOST + 1)}
        return Scores(figures, {"verbs with their subject's number, by distractors": by_distractors})

    def _mass(self, weights: np.ndarray, texts: Texts, rows: np.ndarray) -> float:
        """The mean weight on the gold position, of weights (n, T, T) over the places of x. Word i is said at place i of
        x, and stands itself at place i + 1. What is closed at once, when it is the word that looks, is left out.
        """
        counted = (texts.gold != NOTHING) & rows[:, None] & (texts.gold + 1 < np.arange(LENGTH))
        row, place = np.nonzero(counted)
        return float(weights[row, place, texts.gold[row, place] + 1].mean())

    def floor(self, split: str) -> float:
        """The perplexity of the process that makes the texts."""
        texts = self.texts(split)
        return metrics.perplexity(float(texts.nats.sum()), int((texts.words != PAD).sum()))

    # For people.

    def read(self, text: str) -> TextBatch:
        """The words that a text begins with; none for a new one. Raises DataError for others, or too many."""
        words = text.split()
        for word in words:
            if word not in VOCABULARY.words[EOS + 2 :]:
                raise DataError(f"[{self.name}] a word must be one of the task's, but got {word!r}.")
        if len(words) >= LENGTH:
            must = f"a beginning must have fewer than {LENGTH} words"
            raise DataError(f"[{self.name}] {must}, but got {len(words)}.")
        tokens = np.concatenate([[BOS], VOCABULARY.encode(words)]).astype(np.int32)[None]
        targets = np.append(tokens[:, 1:], np.full((1, 1), NOTHING, np.int32), axis=1)
        return TextBatch(tokens, targets, np.zeros(1, np.int64), np.ones(1, bool))

    def decode(self, ids: Sequence[int] | np.ndarray) -> str:
        """Words as text; the end is a full stop."""
        return " ".join("." if i == EOS else VOCABULARY.words[i] for i in ids if i not in (PAD, BOS))

    def show(self, batch: TextBatch, answers: Answers, row: int) -> dict[str, Any]:
        """The beginning, and how the model goes on until it ends."""
        said = [int(word) for word in answers.outputs[row]]
        ends = said.index(EOS) + 1 if EOS in said else len(said)
        return {"input": self.decode(batch.tokens[row]), "output": self.decode(said[:ends])}

    def suggestions(self, count: int) -> list[str]:
        """Sentences of the test split as far as their adverbs, from the most distractors to the fewest."""
        texts = self.held_out["test"]
        rows = np.argsort(-texts.distractors, kind="stable")[:: TEST // 2][:count]
        return [self.decode(texts.words[row, : 2 * texts.distractors[row] + 2]) for row in rows]

    def sections(self, answers: Mapping[str, tuple[Answers, Scores]], split: str) -> list[Section]:
        """The perplexity beside that of the process, and agreement by the number of distractors."""
        key = "verbs with their subject's number, by distractors"
        groups = {name: scores.groups[key] for name, (_, scores) in answers.items()}
        rows = [("the process itself", "", f"{self.floor(split):.4f}")]
        rows += [(name, "", f"{scores.figures['perplexity']:.4f}") for name, (_, scores) in answers.items()]
        return [
            Table("Beside the process that makes the texts", ("", "", "perplexity per word"), rows),
            Bars("Nouns in between", groups, "distractors", "verbs that agree"),
        ]


def number_of(words: np.ndarray) -> np.ndarray:
    """0 for singular verbs, 1 for plural ones, NOTHING for other words."""
    verb = (words >= VERB) & (words < VERB + 2 * len(VERBS))
    return np.where(verb, (words - VERB) // len(VERBS), NOTHING)


# How texts are made.


def sentences(distractors: np.ndarray, stream: Stream) -> Texts:
    """A sentence for each number of distractors (n,)."""
    count, every = len(distractors), np.arange(len(distractors))
    words, gold = np.zeros((count, LENGTH), np.int32), np.full((count, LENGTH), NOTHING, np.int32)
    nouns = NOUN + stream.integers(2 * len(NOUNS), count, MOST + 1)
    links = PREPOSITION + stream.integers(len(PREPOSITIONS), count, MOST)
    for j in range(MOST + 1):  # noun j stands at 2 j, behind its preposition
        here = np.flatnonzero(distractors >= j)
        words[here, 2 * j] = nouns[here, j]
        if j:
            words[here, 2 * j - 1] = links[here, j - 1]
    end = 2 * distractors + 1
    plural = nouns[:, 0] >= NOUN + len(NOUNS)
    words[every, end] = ADVERB + stream.integers(len(ADVERBS), count)
    words[every, end + 1] = VERB + len(VERBS) * plural + stream.integers(len(VERBS), count)
    words[every, end + 2] = EOS
    gold[every, end + 1] = 0
    once = math.log(2 * (MOST + 1) * len(ADVERBS) * len(VERBS))
    nats = once + (distractors + 1) * math.log(2 * len(NOUNS)) + distractors * math.log(len(PREPOSITIONS))
    return Texts(words, gold, nats, np.asarray(distractors, np.int64))


def brackets(count: int, stream: Stream) -> Texts:
    """So many texts of brackets."""
    words, gold = np.zeros((count, LENGTH), np.int32), np.full((count, LENGTH), NOTHING, np.int32)
    nats, depth, going = np.full(count, math.log(2)), np.zeros(count, np.int64), np.ones(count, bool)
    stack = np.zeros((count, DEEPEST + 1), np.int64)  # where the bracket of each depth was opened
    every = np.arange(count)
    for place in range(MOST_BRACKETS + 1):
        quarters, kinds = stream.integers(4, count), stream.integers(2, count)
        may_open = (depth < DEEPEST) & (place + depth + 2 <= MOST_BRACKETS)
        may_end = (depth == 0) & (place >= FEWEST)
        # At depth 0: end (1/4) or open; inside: open (1/2) or close; and where only one may be, that.
        ends = going & may_end & ((quarters == 0) | ~may_open)
        opens = going & ~ends & may_open & ((depth == 0) | (quarters < 2))
        closes = going & ~ends & ~opens
        free = np.where(depth == 0, np.where(may_end & may_open, np.where(ends, 4, 4 / 3), 1), 1 + may_open)
        nats += np.log(np.where(going, free, 1)) + math.log(2) * opens
        matching = stack[every, depth]
        closed = BRACKET + 2 + (words[every, matching] - BRACKET) % 2
        words[:, place] = np.select([ends, opens, closes], [EOS, BRACKET + kinds, closed], PAD)
        gold[:, place] = np.where(closes, matching, NOTHING)
        depth += opens.astype(np.int64) - closes
        stack[every[opens], depth[opens]] = place
        going &= ~ends
    return Texts(words, gold, nats, np.full(count, NOTHING, np.int64))


def join(*parts: Texts) -> Texts:
    """One behind the other."""
    return Texts(*(np.concatenate(arrays) for arrays in zip(*(vars(p).values() for p in parts), strict=True)))


def held_out() -> dict[str, Texts]:
    """The validation and test texts, always the same, no two alike; sentences and brackets take turns."""
    stream, each = Stream("agreement held out", 0), VALIDATION + TEST
    pool = sentences(np.tile(np.arange(MOST + 1), 2 * each), stream)
    pool = pool.take(np.sort(np.unique(_keys(pool), return_index=True)[1]))
    of_count = [np.flatnonzero(pool.distractors == k)[:each] for k in range(MOST + 1)]
    other = brackets(2 * each * (MOST + 1), stream)
    other = other.take(np.sort(np.unique(_keys(other), return_index=True)[1]))
    found, begin = {}, 0
    for split, size in (("validation", VALIDATION), ("test", TEST)):
        rows = np.stack([rows[begin : begin + size] for rows in of_count], axis=1).ravel()
        some = np.arange(begin * (MOST + 1), (begin + size) * (MOST + 1))
        both = join(pool.take(rows), other.take(some))
        found[split] = both.take(np.arange(2 * len(rows)).reshape(2, -1).T.ravel())
        begin += size
    return found


def _keys(texts: Texts) -> np.ndarray:
    """Each text as one byte string, (n,), for NumPy's set operations."""
    return texts.words.astype(np.uint8).view(f"S{LENGTH}")[:, 0]
