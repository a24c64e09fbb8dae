"""What tasks share that ask questions with one right answer each, in single characters: a language model is given
the question and writes the answer.

    row       q_1 … q_Q a_1 … a_A
    x         all of it but its last place
    y         what follows each place of x; NOTHING as long as that is part of the question

The loss is of the answer alone, as in minGPT's projects (github.com/karpathy/minGPT). Every question that there is can
be listed, so that those of the three splits are known to be different.

An answer counts as right when the most probable character is right at each of its places, with the right ones
before it. That is the same as to say that greedy writing gives the right answer: up to its first mistake both have
seen the same.
"""

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from tinyattn.errors import DataError
from tinyattn.sections import Bars, Figure, Samples, Section
from tinyattn.tasks.parts import metrics
from tinyattn.tasks.parts.batching import Batcher, OrderedBatches, ShuffledBatches
from tinyattn.tasks.task import Answers, Scores, Task
from tinyattn.tasks.text import NOTHING, TextBatch

SHOWN = 6
"""Answers in a report."""


class QuestionTask(Task):
    """All questions (N, Q) and their answers (N, A), as places in the alphabet, and which of them each split asks."""

    unit = "digit"
    families = ("language",)
    figures = (
        Figure("exact_match", "whole answers right"),
        Figure("accuracy", "digits right"),
        Figure("val_loss", "loss, nats per digit", "{:.4f}", "lower"),
    )
    alphabet: ClassVar[str] = "0123456789"
    kinds_of: ClassVar[str]
    """What `kinds` tells apart."""
    example: str
    """A question as people write it."""

    def __init__(self, questions: np.ndarray, answers: np.ndarray, rows: Mapping[str, np.ndarray]):
        self.rows, self.asked = np.concatenate([questions, answers], axis=1).astype(np.int32), dict(rows)
        self.question, self.answer = questions.shape[1], answers.shape[1]

    @abstractmethod
    def parse(self, text: str) -> np.ndarray | None:
        """The question (Q,) that a text writes, or None."""

    @abstractmethod
    def kinds(self, rows: np.ndarray) -> list[str]:
        """Of which kind each of some questions with their answers (n, Q + A) is, easy ones first in the alphabet."""

    def write_question(self, question: np.ndarray) -> str:
        """A question (Q,) as people write it."""
        return self.decode(question)

    def write_answer(self, answer: np.ndarray) -> str:
        """An answer (A,) as people write it."""
        return self.decode(answer)

    # Batches.

    def sizes(self) -> dict[str, Any]:
        """How many characters there are, and how many a model sees at once."""
        return {"vocab_size": len(self.alphabet), "block_size": self.question + self.answer - 1}

    def count(self, split: str) -> int:
        """How many questions a split asks."""
        return len(self.asked[self.check_split(split)])

    def batches(
        self, split: str, batch_size: int, seed: int | None = None
    ) -> OrderedBatches | ShuffledBatches:
        """Each question once, in an order of the seed's or as they are."""
        asked = self.asked[self.check_split(split)]
        batcher = Batcher(
            len(asked), batch_size, lambda places, valid: self._batch(asked[places], places, valid)
        )
        return OrderedBatches(batcher) if seed is None else ShuffledBatches(batcher, seed)

    def _batch(self, rows: np.ndarray, index: np.ndarray, valid: np.ndarray) -> TextBatch:
        whole = self.rows[rows]
        targets = np.where(valid[:, None], whole[:, 1:], np.int32(NOTHING))
        targets[:, : self.question - 1] = NOTHING
        return TextBatch(np.ascontiguousarray(whole[:, :-1]), targets, index, valid)

    def probe(self) -> TextBatch:
        """Two questions."""
        places = np.arange(2)
        return self._batch(self.asked["train"][places], places, np.ones(2, bool))

    # Judgement.

    def score(self, answers: Answers, split: str) -> Scores:
        """The figures, and how many answers are right by their kind."""
        rows = self.rows[self.asked[self.check_split(split)]]
        right = np.stack(answers.outputs)[:, -self.answer :] == rows[:, self.question :]
        figures = {"exact_match": float(right.all(axis=1).mean()), "accuracy": float(right.mean())}
        if answers.nats is not None:
            figures["val_loss"] = answers.nats / answers.predictions
        kinds = np.array(self.kinds(rows))
        groups = {kind: float(right[kinds == kind].all(axis=1).mean()) for kind in np.unique(kinds).tolist()}
        return Scores(figures, {f"whole answers right by {self.kinds_of}": groups})

    # For people.

    def read(self, text: str) -> TextBatch:
        """A question, with its answer to compare. Raises DataError for a text that is none."""
        question = self.parse(text)
        if question is None:
            raise DataError(f"[{self.name}] a question must be like {self.example}, but got {text!r}.")
        row = np.flatnonzero((self.rows[:, : self.question] == question).all(axis=1))
        return self._batch(row, np.zeros(1, np.int64), np.ones(1, bool))

    def decode(self, ids: Any) -> str:
        """Ids as text."""
        return "".join(self.alphabet[i] for i in ids)

    def show(self, batch: TextBatch, answers: Answers, row: int) -> dict[str, Any]:
        """The question, the answer of the model (its last places, where it has said more), and the right one."""
        return {
            "input": self.write_question(batch.tokens[row, : self.question]),
            "output": self.write_answer(answers.outputs[row][-self.answer :]),
            "right": self.write_answer(batch.targets[row, self.question - 1 :]),
        }

    def suggestions(self, count: int) -> list[str]:
        """Questions of the test split, evenly spread."""
        rows = self.rows[self.asked["test"]]
        return [self.write_question(rows[k * len(rows) // count][: self.question]) for k in range(count)]

    def sections(self, answers: Mapping[str, tuple[Answers, Scores]], split: str) -> list[Section]:
        """Right answers by kind, and answers of the first model, wrong ones first."""
        groups = {name: next(iter(scores.groups.values())) for name, (_, scores) in answers.items()}
        rows = self.rows[self.asked[split]]
        said = np.stack(next(iter(answers.values()))[0].outputs)[:, -self.answer :]
        exact = metrics.exact_matches(said.tolist(), rows[:, self.question :].tolist())
        samples = []
        for k in np.argsort(exact, kind="stable")[:SHOWN].tolist():
            question, answer = np.split(rows[k], [self.question])
            samples.append(
                [
                    ("question", self.write_question(question), None),
                    ("answer", self.write_answer(answer), None),
                    ("said", self.write_answer(said[k]), bool(exact[k])),
                ]
            )
        return [
            Bars("Easy and hard questions", groups, self.kinds_of, "whole answers right"),
            Samples("Answers", samples, "Mistakes first."),
        ]
