"""topic-texts: the next word of texts of the invented language of `topics`, which nobody has labelled.

    x = <bos> and the words,    y = the words and <eos>

Which words of a clause are to come isn't known, but of which topic they are, as soon as the first has been read; who
knows the topic of each word is surprised by `floor` nats per word on average, and nobody can be by less.
"""

import math
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from tinyattn.errors import DataError
from tinyattn.sections import Figure, Section, Table
from tinyattn.tasks.parts import metrics
from tinyattn.tasks.parts import topics_grammar as grammar
from tinyattn.tasks.parts.batching import Batcher, OrderedBatches, ShuffledBatches
from tinyattn.tasks.parts.checks import check_positive
from tinyattn.tasks.parts.randomness import Stream
from tinyattn.tasks.parts.vocabulary import BOS, EOS, PAD
from tinyattn.tasks.task import Answers, Scores, Task
from tinyattn.tasks.text import NOTHING, TextBatch
from tinyattn.tasks.topics import TEST, VALIDATION

WIDTH = grammar.LENGTH + 1
"""Words of a text with <bos> or <eos>."""


class TopicTexts(Task):
    """The task; `seed` chooses the training texts. Held-out texts are those of `topics`, without their labels. Raises
    DataError for a bad option.
    """

    name = "topic-texts"
    title = "the next word of the texts of `topics`, without labels"
    unit = "word"
    families = ("language",)
    figures = (
        Figure("val_loss", "loss, nats per word", "{:.4f}", "lower"),
        Figure("perplexity", "perplexity per word", "{:.2f}", "lower"),
        Figure("accuracy", "next word right"),
    )

    def __init__(self, seed: int = 0, train_examples: int = 20_000):
        self.seed = seed
        self.train_examples = check_positive(self.name, "train_examples", train_examples)
        words, _ = grammar.texts(VALIDATION + TEST, Stream("topics held out", 0))
        self.held_out = {"validation": words[:VALIDATION], "test": words[VALIDATION:]}

    @cached_property
    def train(self) -> np.ndarray:
        """The training texts (n, LENGTH)."""
        known = np.concatenate([*self.held_out.values()])
        return grammar.new(self.train_examples, Stream("topics without labels", self.seed), known)[0]

    def _texts(self, split: str) -> np.ndarray:
        return self.train if self.check_split(split) == "train" else self.held_out[split]

    @property
    def words(self) -> Sequence[str]:
        return grammar.VOCABULARY.words

    def sizes(self) -> dict[str, Any]:
        """The number of words, and how many a model sees at once."""
        return {"vocab_size": len(grammar.VOCABULARY), "block_size": WIDTH}

    def count(self, split: str) -> int:
        return len(self._texts(split))

    def batches(
        self, split: str, batch_size: int, seed: int | None = None
    ) -> OrderedBatches | ShuffledBatches:
        texts = self._texts(split)

        def make(rows: np.ndarray, valid: np.ndarray) -> TextBatch:
            column = np.ones((len(rows), 1), np.int32)
            whole = np.concatenate([BOS * column, texts[rows], EOS * column], axis=1)
            targets = np.where(valid[:, None], whole[:, 1:], np.int32(NOTHING))
            return TextBatch(np.ascontiguousarray(whole[:, :-1]), targets, rows, valid)

        batcher = Batcher(len(texts), batch_size, make)
        return OrderedBatches(batcher) if seed is None else ShuffledBatches(batcher, seed)

    def probe(self) -> TextBatch:
        return next(iter(self.batches("test", 2)))

    def score(self, answers: Answers, split: str) -> Scores:
        """The figures, and how often the next word is right by its place."""
        right = np.stack(answers.outputs)[:, :-1] == self._texts(split)
        figures = {"accuracy": float(right.mean())}
        if answers.nats is not None:
            figures["val_loss"] = answers.nats / answers.predictions
            figures["perplexity"] = metrics.perplexity(answers.nats, answers.predictions)
        by_place = {str(place + 1): float(share) for place, share in enumerate(right.mean(axis=0))}
        return Scores(figures, {"next word right by its place": by_place})

    def floor(self) -> float:
        """Nats per word of who knows the language: the first adjective tells the topic, and the second one is of
        one of the other topics."""
        topics, others = len(grammar.TOPICS), len(grammar.TOPICS) - 1
        clause = math.log(grammar.ADJECTIVES * grammar.VERBS) + 2 * math.log(grammar.NOUNS)
        return (2 * clause + math.log(topics * others)) / WIDTH

    def read(self, text: str) -> TextBatch:
        """The words that a text begins with; none for a new one. Raises DataError for others, or too many."""
        words = text.lower().replace(",", " , ").split()
        for word in words:
            if word not in grammar.VOCABULARY:
                raise DataError(f"[{self.name}] a word must be one of the language's, but got {word!r}.")
        if len(words) >= WIDTH:
            must = f"a beginning must have at most {grammar.LENGTH} words"
            raise DataError(f"[{self.name}] {must}, but got {len(words)}.")
        tokens = np.concatenate([[BOS], grammar.VOCABULARY.encode(words)]).astype(np.int32)[None]
        targets = np.append(tokens[:, 1:], np.full((1, 1), NOTHING, np.int32), axis=1)
        return TextBatch(tokens, targets, np.zeros(1, np.int64), np.ones(1, bool))

    def decode(self, ids: Sequence[int] | np.ndarray) -> str:
        """Words as text, up to the end."""
        return " ".join(grammar.VOCABULARY.decode([i for i in ids if i != PAD]))

    def show(self, batch: TextBatch, answers: Answers, row: int) -> dict[str, Any]:
        """The beginning, and how the model goes on until it ends."""
        return {"input": self.decode(batch.tokens[row]), "output": self.decode(answers.outputs[row])}

    def suggestions(self, count: int) -> list[str]:
        """First clauses of the test split, evenly spread."""
        texts = self.held_out["test"]
        return [self.decode(texts[k * len(texts) // count, : len(grammar.PARTS)]) for k in range(count)]

    def sections(self, answers: Mapping[str, tuple[Answers, Scores]], split: str) -> list[Section]:
        """The loss beside that of who knows the language."""
        rows = [("who knows the language", f"{self.floor():.4f}")]
        rows += [(name, f"{scores.figures['val_loss']:.4f}") for name, (_, scores) in answers.items()]
        return [Table("Beside what can be known", ("", "nats per word"), rows)]
