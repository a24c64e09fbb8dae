"""passages: a question about a passage, whose answer is a part of it, as in SQuAD, the third of BERT's tests (Devlin et
al. 2019, section 4.2).

    [CLS] the [MASK] [MASK] . [SEP] a baker often serves the sly cake . a captain never steers the swift boat . [SEP]

Which thing is not as it should be? The answer is "sly cake": in one of three sentences of the language of `documents`
(parts/documents_grammar.py), each about anything, the adjective is another object's. Which adjectives belong to which
objects is learned from documents without questions, where BERT is pre-trained; 200 questions have answers
(`train_examples`). All words occur in right and in wrong places, so that none of them gives the answer away by itself.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinyattn.errors import DataError
from tinyattn.sections import Bars, Figure, Samples, Section, Table
from tinyattn.tasks.documents import WIDTH, row_of, segments_of, strangers
from tinyattn.tasks.parts import documents_grammar as grammar
from tinyattn.tasks.parts.batching import Batcher, OrderedBatches, ShuffledBatches
from tinyattn.tasks.parts.checks import check_positive
from tinyattn.tasks.parts.documents_grammar import ADJECTIVE, CLS, LENGTH, OBJECT, SEP
from tinyattn.tasks.parts.randomness import Stream
from tinyattn.tasks.task import Answers, Scores, Task

NOTHING = -1
"""Start and end of an answer that isn't known."""
VALIDATION, TEST = 200, 1_000
SENTENCES = 3
"""Of a passage."""
ADJECTIVES = np.unique(grammar.SENTENCES[:, ADJECTIVE])
QUESTION = tuple(grammar.IDS[word] for word in "the [MASK] [MASK] .".split())
BEGIN = 2 + len(QUESTION)
"""Where the passage begins."""
PLACES = ("first sentence", "second sentence", "third sentence")
SHOWN = 4


@dataclass(frozen=True)
class SpanBatch:
    """B rows of T tokens: [CLS] question [SEP] passage [SEP]. NOTHING where no answer is known."""

    tokens: np.ndarray  # (B, T) int32, PAD behind the end
    segments: np.ndarray  # (B, T) int32: 0 for the question, 1 for the passage
    length: np.ndarray  # (B,) int32
    start: np.ndarray  # (B,) int32: the place of the answer's first token
    end: np.ndarray  # (B,) int32: the place of its last one
    index: np.ndarray  # (B,) int64
    valid: np.ndarray  # (B,) bool

    @property
    def weight(self) -> int:
        """How many answers are known."""
        return int((np.asarray(self.start) != NOTHING).sum())


def generate(count: int, stream: Stream) -> tuple[np.ndarray, np.ndarray]:
    """Random questions: tokens (n, WIDTH) and the first and last places of their answers (n, 2), int32."""
    drawn = stream.integers(len(grammar.SENTENCES), count, SENTENCES)
    which, every = stream.integers(SENTENCES, count), np.arange(count)
    passage = grammar.SENTENCES[drawn]  # (n, SENTENCES, LENGTH)
    own = np.searchsorted(ADJECTIVES, passage[every, which, ADJECTIVE])
    other = (own + 1 + stream.integers(len(ADJECTIVES) - 1, count)) % len(ADJECTIVES)
    passage[every, which, ADJECTIVE] = ADJECTIVES[other]
    head, between, end = (
        np.tile(np.array(part, np.int32), (count, 1)) for part in ((CLS, *QUESTION), (SEP,), (SEP,))
    )
    tokens = np.concatenate([head, between, passage.reshape(count, -1), end], axis=1)
    begin = BEGIN + LENGTH * which
    return tokens.astype(np.int32), np.stack([begin + ADJECTIVE, begin + OBJECT], axis=1).astype(np.int32)


class Passages(Task):
    """The task; `seed` chooses the training questions. Validation and test are always the same, no two alike, and none
    of them is among those of training. Raises DataError for a bad option.
    """

    name = "passages"
    title = "a question, and the part of a passage that answers it. From 200 answers"
    unit = "question"
    families = ("reading",)
    figures = (
        Figure("exact_match", "the very words"),
        Figure("f1", "words in common, F1"),
        Figure("val_loss", "loss of start and end, nats", "{:.4f}", "lower"),
    )

    def __init__(self, seed: int = 0, train_examples: int = 200):
        count = check_positive(self.name, "train_examples", train_examples)
        tokens, spans = generate(2 * (VALIDATION + TEST), Stream("passages held out", 0))
        kept = np.sort(np.unique(tokens, axis=0, return_index=True)[1])[: VALIDATION + TEST]
        known = {row.tobytes() for row in tokens[kept]}
        own_tokens, own_spans = generate(count + 100, Stream("passages train", seed))
        new = np.flatnonzero([row.tobytes() not in known for row in own_tokens])[:count]
        rows = {"train": new} | dict(zip(("validation", "test"), np.split(kept, [VALIDATION]), strict=True))
        self.tokens, self.spans = (
            {split: (own if split == "train" else pool)[rows[split]] for split in rows}
            for own, pool in ((own_tokens, tokens), (own_spans, spans))
        )

    # Batches.

    def sizes(self) -> dict[str, Any]:
        """How many words there are, and how long rows are."""
        return {"vocab_size": len(grammar.WORDS), "max_position_embeddings": WIDTH}

    @property
    def words(self) -> Sequence[str]:
        return grammar.WORDS

    def count(self, split: str) -> int:
        """How many questions a split has."""
        return len(self.tokens[self.check_split(split)])

    def batches(
        self, split: str, batch_size: int, seed: int | None = None
    ) -> OrderedBatches | ShuffledBatches:
        """Batches of questions, shuffled with a seed."""
        tokens, spans = self.tokens[self.check_split(split)], self.spans[split]

        def make(rows: np.ndarray, valid: np.ndarray) -> SpanBatch:
            return _batch(tokens[rows], spans[rows], rows, valid)

        batcher = Batcher(len(tokens), batch_size, make)
        return OrderedBatches(batcher) if seed is None else ShuffledBatches(batcher, seed)

    def probe(self) -> SpanBatch:
        """Two questions."""
        return next(iter(self.batches("validation", 2)))

    # Judgement. An answer is the places of its first and its last token.

    def score(self, answers: Answers, split: str) -> Scores:
        """The figures, and the exact answers by where they stand."""
        said, right = np.asarray(answers.outputs, np.int64), self.spans[self.check_split(split)]
        exact = (said == right).all(axis=1)
        figures = self._figures(said, split)
        if answers.nats is not None:
            figures["val_loss"] = answers.nats / answers.predictions
        place = self._sentence(right)
        groups = {
            name: float(exact[place == k].mean()) for k, name in enumerate(PLACES) if (place == k).any()
        }
        return Scores(figures, {"exact answers by where they stand": groups})

    def _figures(self, said: np.ndarray, split: str) -> dict[str, float]:
        right = self.spans[split]
        common = np.minimum(said[:, 1], right[:, 1]) - np.maximum(said[:, 0], right[:, 0]) + 1
        sizes = (said[:, 1] - said[:, 0] + 1) + (right[:, 1] - right[:, 0] + 1)
        f1 = 2 * np.maximum(common, 0) / sizes
        return {"exact_match": float((said == right).all(axis=1).mean()), "f1": float(f1.mean())}

    def _sentence(self, spans: np.ndarray) -> np.ndarray:
        """Which sentence of the passage answers (n, 2) begin in."""
        return (spans[:, 0] - BEGIN) // LENGTH

    def floor(self, split: str) -> dict[str, float]:
        """The figures of who always names the object of the first sentence."""
        said = np.array([[BEGIN + ADJECTIVE, BEGIN + OBJECT]])
        return self._figures(np.repeat(said, self.count(split), axis=0), split)

    # For people.

    def read(self, text: str) -> SpanBatch:
        """A question and a passage with " / " between them; "_" is a word that is asked for. Raises DataError."""
        parts = [part.split() for part in text.replace(".", " . ").split("/")]
        if len(parts) != 2 or not all(parts):
            raise DataError(
                f"[{self.name}] a text must be a question and a passage with a / between them, but got {text!r}."
            )
        spans = np.full((1, 2), NOTHING, np.int32)
        return _batch(row_of(self.name, parts), spans, np.zeros(1, np.int64), np.ones(1, bool))

    def show(self, batch: SpanBatch, answers: Answers, row: int) -> dict[str, Any]:
        """The question with its passage, and the answer."""
        tokens = batch.tokens[row, : batch.length[row]]
        first, last = answers.outputs[row]
        return {"input": self._text(tokens), "output": self._said(tokens, first, last)}

    def _text(self, tokens: np.ndarray) -> str:
        words = [grammar.WORDS[i] for i in tokens[1:-1]]
        return " ".join("/" if word == "[SEP]" else "_" if word == "[MASK]" else word for word in words)

    def _said(self, tokens: np.ndarray, first: int, last: int) -> str:
        return " ".join(grammar.WORDS[i] for i in tokens[first : last + 1])

    def suggestions(self, count: int) -> list[str]:
        """Questions of the test split, evenly spread over it."""
        tokens = self.tokens["test"]
        return [self._text(tokens[k * len(tokens) // count]) for k in range(count)]

    def remarks(self, text: str) -> list[str]:
        """Which words are not in the language."""
        return strangers(self.name, text)

    def sections(self, answers: Mapping[str, tuple[Answers, Scores]], split: str) -> list[Section]:
        """Beside who always names the first object, by place, and answers of the first model, mistakes first."""
        keys = ("exact_match", "f1")
        floor = self.floor(split)
        rows = [("the object of the first sentence", *(f"{floor[key]:.1%}" for key in keys))]
        rows += [
            (name, *(f"{scores.figures[key]:.1%}" for key in keys)) for name, (_, scores) in answers.items()
        ]
        groups = {name: next(iter(scores.groups.values())) for name, (_, scores) in answers.items()}
        said = np.asarray(next(iter(answers.values()))[0].outputs, np.int64)
        tokens, spans = self.tokens[split], self.spans[split]
        right = (said == spans).all(axis=1)
        order: Sequence[int] = np.argsort(right, kind="stable")[:SHOWN].tolist()
        samples = [
            [
                ("asked", self._text(tokens[k]), None),
                ("answer", self._said(tokens[k], *spans[k]), None),
                ("said", self._said(tokens[k], *said[k]), bool(right[k])),
            ]
            for k in order
        ]
        return [
            Table("Beside who does not read", ("", "exact", "F1"), rows),
            Bars("Where the answer stands", groups, "in the", "exact answers"),
            Samples("Questions", samples, "Mistakes first."),
        ]

    def describe(self) -> str:
        """A few lines for people."""
        sizes = ", ".join(f"{self.count(split):,} {split}" for split in self.tokens)
        return (
            f"{self.name}: {self.title}\n  questions   {sizes}\n  vocabulary  {len(grammar.WORDS):,} words\n"
            f"  to beat     {self.floor('test')['exact_match']:.1%} by always naming the first sentence's object"
        )


def _batch(tokens: np.ndarray, spans: np.ndarray, index: np.ndarray, valid: np.ndarray) -> SpanBatch:
    start, end = np.where(valid[:, None], spans, np.int32(NOTHING)).T
    length = (tokens != grammar.PAD).sum(axis=1).astype(np.int32)
    return SpanBatch(tokens, segments_of(tokens), length, start, end, index, valid)
