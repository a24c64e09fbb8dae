"""documents: BERT's two questions about pairs of texts (Devlin et al. 2019, section 3.1), over an invented language.

    [CLS] a cook often stirs the hot soup . [SEP] some cooks now serve the fresh bread . [SEP]

Masked words: of each row max(1, round(0.15 · length)) words are to be predicted; of these 80 % are seen as [MASK], 10 %
as any word, and 10 % as they are. Never [CLS] or [SEP], as in the authors' program; any word is one of the language's,
where theirs may be [PAD], too. Next sentence: the second segment goes on with the document of the first (0), or
belongs to a document of another topic (1), each half of the time. (The authors' program can draw the same document
twice, and calls more than half not next; here an answer is never a matter of luck.)

Each segment has one or two sentences of the language of documents_grammar.py, whose every sentence can be listed; so
what the best possible reader knows of a hidden word is computed, and accuracy is also told as a share of that reader's.

Held-out pairs are the same whatever the seed, with the same words hidden; no pair of theirs is in a training set.
Training hides other words each time.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from tinyattn.errors import DataError
from tinyattn.sections import Bars, Figure, Samples, Section, Table
from tinyattn.tasks.parts import documents_grammar as grammar
from tinyattn.tasks.parts.batching import Batcher, OrderedBatches, RandomBatches
from tinyattn.tasks.parts.checks import check_positive
from tinyattn.tasks.parts.documents_grammar import CLS, LENGTH, MASK, PAD, SEP
from tinyattn.tasks.parts.randomness import Stream
from tinyattn.tasks.task import Answers, Scores, Task
from tinyattn.tasks.text import NOTHING

MOST = 2
"""Sentences of a segment."""
WIDTH = 3 + 2 * MOST * LENGTH
VALIDATION, TEST = 500, 2_000
SHOWN = 4


@dataclass(frozen=True)
class PairBatch:
    """B rows of T tokens; NOTHING where no word is to be predicted, and in rows that are not valid."""

    tokens: np.ndarray  # (B, T) int32: what is seen, PAD behind the end
    segments: np.ndarray  # (B, T) int32: 0 up to the first [SEP], then 1
    length: np.ndarray  # (B,) int32
    targets: np.ndarray  # (B, T) int32: the words to be predicted
    following: np.ndarray  # (B,) int32: 0 where the second segment follows the first, 1 where it doesn't
    index: np.ndarray  # (B,) int64
    valid: np.ndarray  # (B,) bool

    @property
    def weight(self) -> int:
        """How many words are predicted."""
        return int((np.asarray(self.targets) != NOTHING).sum())


@dataclass(frozen=True)
class Pairs:
    """n pairs of segments. sentences: (n, 2 · MOST) numbers of sentences, NOTHING where there is none."""

    sentences: np.ndarray
    following: np.ndarray  # (n,) int32
    tokens: np.ndarray  # (n, WIDTH) int32
    kinds: np.ndarray  # (n, WIDTH) int32: which place of its sentence a word has; NOTHING for what is no word

    def take(self, rows: np.ndarray) -> "Pairs":
        """The given ones."""
        return Pairs(*(part[rows] for part in vars(self).values()))


def generate(count: int, stream: Stream) -> Pairs:
    """Random pairs: half of them of one document."""
    topics, a_topic = len(grammar.TOPICS), grammar.NOUNS_A_TOPIC
    noun, following = stream.integers(grammar.NOUNS, count), stream.integers(2, count)
    topic = (noun // a_topic + 1 + stream.integers(topics - 1, count)) % topics
    other = np.where(following == 1, topic * a_topic + stream.integers(a_topic, count), noun)
    drawn = stream.integers(grammar.PER_NOUN, count, 2, MOST)
    drawn += np.stack([noun, other], axis=1)[:, :, None] * grammar.PER_NOUN
    sizes = 1 + stream.integers(MOST, count, 2)
    sentences = np.where(np.arange(MOST) < sizes[:, :, None], drawn, NOTHING).reshape(count, -1)
    return Pairs(sentences, following.astype(np.int32), *_written(sentences))


def _written(sentences: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The tokens of pairs, and the kind of each: (n, WIDTH) twice."""
    count, there = len(sentences), sentences != NOTHING
    words = np.where(there[:, :, None], grammar.SENTENCES[sentences], PAD)
    kinds = np.where(there[:, :, None], np.arange(LENGTH, dtype=np.int32), NOTHING)
    one = np.ones((count, 1), np.int32)

    def row(special: tuple[int, int, int], parts: np.ndarray) -> np.ndarray:
        first, second = parts.reshape(count, 2, -1).transpose(1, 0, 2)
        return np.concatenate([special[0] * one, first, special[1] * one, second, special[2] * one], axis=1)

    tokens, places = row((CLS, SEP, SEP), words), row((NOTHING,) * 3, kinds)
    order = np.argsort(tokens == PAD, axis=1, kind="stable")  # padding to the end
    return np.take_along_axis(tokens, order, 1), np.take_along_axis(places, order, 1).astype(np.int32)


def hide(tokens: np.ndarray, stream: Stream) -> tuple[np.ndarray, np.ndarray]:
    """What is seen of rows of tokens, and what is to be predicted: (n, T) int32 twice. Not [CLS], [SEP] and padding."""
    length = (tokens != PAD).sum(axis=1)
    count = np.maximum(1, np.round(grammar.CHOSEN * length)).astype(np.int64)
    keys = np.where(tokens > MASK, stream.words(*tokens.shape).astype(np.int64), 1 << 40)
    rank = np.argsort(np.argsort(keys, axis=1, kind="stable"), axis=1, kind="stable")
    chosen = rank < count[:, None]
    fate, any_word = stream.integers(100, *tokens.shape), stream.integers(grammar.ORDINARY, *tokens.shape)
    masked, other = 100 * grammar.SHOWN_AS_MASK, 100 * grammar.SHOWN_AS_OTHER
    seen = np.where(fate < masked, MASK, np.where(fate < masked + other, any_word + MASK + 1, tokens))
    return (
        np.where(chosen, seen, tokens).astype(np.int32),
        np.where(chosen, tokens, NOTHING).astype(np.int32),
    )


class Documents(Task):
    """The task; `seed` chooses the training pairs. Raises DataError for a bad option."""

    name = "documents"
    title = "hidden words, and whether two texts are of one document"
    unit = "word"
    families = ("pretraining",)
    figures = (
        Figure("mlm_accuracy", "hidden words right"),
        Figure("mlm_of_ceiling", "as a share of the best reader's"),
        Figure("nsp_accuracy", "next or not"),
        Figure("right_context", "hidden adjectives right"),
        Figure("val_loss", "loss of words and pairs, nats", "{:.4f}", "lower"),
    )

    def __init__(self, seed: int = 0, train_examples: int = 60_000):
        self.seed, self.train_examples = seed, check_positive(self.name, "train_examples", train_examples)
        pool = generate(4 * (VALIDATION + TEST), Stream("documents held out", 0))
        _, first = np.unique(pool.sentences, axis=0, return_index=True)
        rows = np.sort(first)[: VALIDATION + TEST]
        self.held_out = {
            split: pool.take(part)
            for split, part in zip(("validation", "test"), np.split(rows, [VALIDATION]), strict=True)
        }
        self.hidden = {
            split: hide(pairs.tokens, Stream(f"documents {split} hidden", 0))
            for split, pairs in self.held_out.items()
        }

    @cached_property
    def train(self) -> Pairs:
        """The training pairs."""
        pairs = generate(self.train_examples, Stream("documents train", self.seed))
        known = {row.tobytes() for held_out in self.held_out.values() for row in held_out.sentences}
        return pairs.take(np.flatnonzero([row.tobytes() not in known for row in pairs.sentences]))

    def _pairs(self, split: str) -> Pairs:
        return self.train if self.check_split(split) == "train" else self.held_out[split]

    # Batches.

    def sizes(self) -> dict[str, Any]:
        """How many words there are, and how long rows are."""
        return {"vocab_size": len(grammar.WORDS), "max_position_embeddings": WIDTH}

    @property
    def words(self) -> Sequence[str]:
        return grammar.WORDS

    def count(self, split: str) -> int:
        """How many pairs a split has."""
        return len(self._pairs(split).tokens)

    def batches(self, split: str, batch_size: int, seed: int | None = None) -> OrderedBatches | RandomBatches:
        """Pairs, drawn at random and with other words hidden each time; or each once."""
        pairs = self._pairs(split)
        if seed is None:
            seen, targets = (
                self.hidden[split] if split in self.hidden else hide(pairs.tokens, Stream("seen", 0))
            )

            def make(rows: np.ndarray, valid: np.ndarray) -> PairBatch:
                return _batch(seen[rows], targets[rows], pairs.following[rows], rows, valid)

            return OrderedBatches(Batcher(len(pairs.tokens), batch_size, make))
        size, count = check_positive("batches", "batch_size", batch_size), len(pairs.tokens)

        def draw(stream: Stream) -> PairBatch:
            rows = stream.integers(count, size)
            return _batch(*hide(pairs.tokens[rows], stream), pairs.following[rows], rows, np.ones(size, bool))

        return RandomBatches(draw, seed, count, size, max(1, count // size))

    def probe(self) -> PairBatch:
        """Two pairs."""
        return next(iter(self.batches("validation", 2)))

    # Judgement.

    def score(self, answers: Answers, split: str) -> Scores:
        """The figures, and how many hidden words are right by their kind. An answer is a row of words, the most
        probable ones, with the answer to the pair in the place of [CLS]."""
        pairs, (_, targets) = self._pairs(split), self.hidden[split]
        said = np.stack(answers.outputs)
        asked = targets != NOTHING
        right = said == targets
        best, _ = self._best(split)
        mlm = float(right[asked].mean())
        groups = {}
        for kind, name in enumerate(grammar.KINDS):
            of_kind = asked & (pairs.kinds == kind)
            if of_kind.any():
                groups[name] = float(right[of_kind].mean())
        figures = {
            "mlm_accuracy": mlm,
            "mlm_of_ceiling": mlm / best,
            "nsp_accuracy": float((said[:, 0] == pairs.following).mean()),
            "right_context": groups["adjective"],
        }
        if answers.nats is not None:
            figures["val_loss"] = answers.nats / answers.predictions
        return Scores(figures, {"hidden words right by kind": groups})

    def _best(self, split: str) -> tuple[float, float]:
        """The accuracy of the best possible reader with words, and with pairs: see documents_grammar.reader."""
        if split not in self._readers:
            pairs, (seen, targets) = self._pairs(split), self.hidden[split]
            topic = np.arange(grammar.NOUNS) // grammar.NOUNS_A_TOPIC
            others = (topic[:, None] != topic).astype(np.float64)
            followers = others / others.sum(axis=1, keepdims=True)
            right, asked_in_all, pairs_right = 0, 0, 0
            for row, sentences in enumerate(pairs.sentences):
                words = pairs.kinds[row] != NOTHING
                shape = (-1, LENGTH)
                given, wanted = seen[row, words].reshape(shape), targets[row, words].reshape(shape)
                segment = np.flatnonzero(sentences != NOTHING) // MOST
                asked = wanted != NOTHING
                said, goes_on = grammar.reader(given, asked, segment, followers)
                right += int((said == wanted)[asked].sum())
                asked_in_all += int(asked.sum())
                pairs_right += int((goes_on < 0.5) == pairs.following[row])
            self._readers[split] = right / asked_in_all, pairs_right / len(pairs.tokens)
        return self._readers[split]

    @cached_property
    def _readers(self) -> dict[str, tuple[float, float]]:
        return {}

    # For people.

    def read(self, text: str) -> PairBatch:
        """Two texts with " / " between them, some words as "_" (or one text): those are predicted. Raises DataError."""
        parts = [part.split() for part in text.replace(".", " . ").split("/")]
        if len(parts) > 2 or not all(parts):
            must = "a text must be one or two texts with a / between them, and _ for hidden words"
            raise DataError(f"[{self.name}] {must}, but got {text!r}.")
        seen = row_of(self.name, parts)
        unknown = np.full(1, NOTHING, np.int32)
        return _batch(
            seen, np.full(seen.shape, NOTHING, np.int32), unknown, np.zeros(1, np.int64), np.ones(1, bool)
        )

    def show(self, batch: PairBatch, answers: Answers, row: int) -> dict[str, Any]:
        """What is seen, and it again with the hidden words put in; whether the second text follows."""
        length, said = batch.length[row], answers.outputs[row]
        seen = batch.tokens[row, :length]
        whole = np.where(seen == MASK, said[:length], seen)
        shown = {"input": self.decode(seen), "output": self.decode(whole)}
        if (seen == SEP).sum() > 1:
            shown["following"] = "no" if said[0] else "yes"
        return shown

    def decode(self, ids: Any) -> str:
        """A row as text."""
        words = [grammar.WORDS[i] for i in ids if i not in (CLS, PAD)]
        return " ".join("/" if word == "[SEP]" else "_" if word == "[MASK]" else word for word in words[:-1])

    def suggestions(self, count: int) -> list[str]:
        """Pairs of the test split with their hidden words, evenly spread."""
        seen, _ = self.hidden["test"]
        return [self.decode(seen[k * len(seen) // count]) for k in range(count)]

    def remarks(self, text: str) -> list[str]:
        """Which words are not in the language."""
        return strangers(self.name, text)

    def sections(self, answers: Mapping[str, tuple[Answers, Scores]], split: str) -> list[Section]:
        """Beside the best reader, by kind, and some answers of the first model."""
        words, pairs = self._best(split)
        rows: list[tuple[str, ...]] = [
            ("the best reader", "knows the language", f"{words:.1%}", f"{pairs:.1%}")
        ]
        for name, (_, scores) in answers.items():
            figures = [f"{scores.figures[key]:.1%}" for key in ("mlm_accuracy", "nsp_accuracy")]
            rows.append((name, "has learned it", *figures))
        groups = {name: next(iter(scores.groups.values())) for name, (_, scores) in answers.items()}
        outputs = next(iter(answers.values()))[0].outputs
        seen, targets = self.hidden[split]
        samples = []
        for k in range(SHOWN):
            asked, said = targets[k] != NOTHING, np.asarray(outputs[k])
            samples.append(
                [
                    ("seen", self.decode(seen[k]), None),
                    ("hidden", " ".join(grammar.WORDS[i] for i in targets[k][asked]), None),
                    (
                        "said",
                        " ".join(grammar.WORDS[i] for i in said[asked]),
                        bool((said == targets[k])[asked].all()),
                    ),
                ]
            )
        return [
            Table("Beside the best reader", ("", "", "hidden words right", "next or not"), rows),
            Bars("Which words are known", groups, "kind of word", "hidden words right"),
            Samples("Hidden words", samples),
        ]


def _batch(
    seen: np.ndarray, targets: np.ndarray, following: np.ndarray, index: np.ndarray, valid: np.ndarray
) -> PairBatch:
    length = (seen != PAD).sum(axis=1).astype(np.int32)
    return PairBatch(
        seen, segments_of(seen), length, np.where(valid[:, None], targets, np.int32(NOTHING)),
        np.where(valid, following, np.int32(NOTHING)), index, valid,
    )  # fmt: skip


def row_of(task: str, parts: Sequence[Sequence[str]]) -> np.ndarray:
    """[CLS] part [SEP] part [SEP] as numbers, (1, T) int32; "_" is a hidden word. Raises DataError for too many."""
    row = [CLS]
    for part in parts:
        row += [MASK if word == "_" else grammar.IDS.get(word, grammar.UNK) for word in part] + [SEP]
    if len(row) > WIDTH:
        raise DataError(f"[{task}] a text must have at most {WIDTH} words, but got {len(row)}.")
    return np.array([row], np.int32)


def strangers(task: str, text: str) -> list[str]:
    """A remark about each word of a user's text that isn't in the language."""
    words = dict.fromkeys(text.replace(".", " . ").split())
    strange = [word for word in words if word not in grammar.IDS and word not in ("_", "/")]
    return [f"{word!r} is not in the vocabulary of {task}." for word in strange]


def segments_of(tokens: np.ndarray) -> np.ndarray:
    """0 up to the first [SEP] of each row (n, T), then 1; int32. A [SEP] belongs to what it ends."""
    behind = np.cumsum(tokens == SEP, axis=1) - (tokens == SEP)
    return np.where(tokens == PAD, 0, behind).astype(np.int32)
