"""What every task is, whatever its examples are: batches of three splits, and a judgement of the answers.

A task knows its data and how answers to them are scored and shown, and nothing of models. A model knows how it
learns and answers, and nothing of tasks: of a batch it takes the fields that it needs by their names, and of
a task the sizes (`sizes`) that fields of its Config are made from.

    task → batch → model.answer(batch) → Answers → task.score(answers, split) → Scores
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

import numpy as np

from tinyattn.errors import DataError
from tinyattn.sections import Figure, Section

SPLITS = ("train", "validation", "test")


class Batch(Protocol):
    """A dataclass of arrays, which a compiled step is called with. Models read further fields by their names."""

    index: np.ndarray
    """(B,) int64: which examples of the split these are."""
    valid: np.ndarray
    """(B,) bool: False in rows that only fill the batch up; no loss and no figure counts them."""

    @property
    def weight(self) -> int:
        """How many predictions the batch's loss is the mean of."""


class Batches(Protocol):
    """Every example once, in a fixed order; can be iterated over again and again."""

    def __len__(self) -> int: ...
    def __iter__(self) -> Iterator[Any]: ...


class EndlessBatches(Protocol):
    """Full batches without end, in an order that is a pure function of a seed."""

    def __len__(self) -> int: ...
    def __next__(self) -> Any: ...
    def state(self) -> dict[str, int]:
        """Where the iterator stands: integers only, fit for JSON."""

    def restore(self, state: dict[str, int]) -> None:
        """Go to where `state` was taken; what follows is bit-identical. Raises DataError for a state of other
        examples or another batch size."""


@dataclass
class Answers:
    """What a model says to the examples of a batch, one element a row; or of a whole split, one an example.

    outputs: in the form the task's family agrees on (translation: token ids without <eos>; classification: a
    class; language: the most probable next token of each position, (T,); image: (C, H, W)). maps: by name,
    the weights (rows, columns) of each row, or None where there are none. scores: one number a row, such as a
    log-probability. nats: Σ −log p over `predictions` right answers, where the model has probabilities.
    """

    outputs: list[Any]
    maps: dict[str, list[np.ndarray | None]] = field(default_factory=dict)
    scores: list[float] = field(default_factory=list)
    nats: float | None = None
    predictions: int = 0


@dataclass
class Scores:
    """A judgement. figures: metric → value. groups: by what → (group → value), for one figure looked at
    closely: {"exact match by words in the source": {"5-9": 0.98, …}}."""

    figures: dict[str, float]
    groups: dict[str, dict[str, float]] = field(default_factory=dict)


class Task(ABC):
    """A task, ready to be trained on. Subclasses take their options as keyword arguments of `__init__`: `seed`
    if they make their own training data, `data` if they read files; the rest can be set by users.
    """

    name: ClassVar[str]
    title: str
    """One line about it."""
    unit: ClassVar[str]
    """What one prediction is: "word", "character", "image"."""
    families: ClassVar[tuple[str, ...]]
    """Which models can be trained on it: those of translation, language, classification, image, …"""

    @property
    @abstractmethod
    def figures(self) -> Sequence[Figure]:
        """The figures that `score` gives, in the order of the table."""

    @abstractmethod
    def sizes(self) -> dict[str, Any]:
        """What a model's Config takes from the data: sizes of vocabularies, numbers of classes, …"""

    @property
    def words(self) -> Sequence[str]:
        """What each token stands for, by its number, where the task is one of texts; so that a model that has learned
        another task with some of these words can begin with what it knows of them."""
        return ()

    @abstractmethod
    def count(self, split: str) -> int:
        """How many examples a split has. Raises DataError for a split that there is none of."""

    @abstractmethod
    def batches(self, split: str, batch_size: int, seed: int | None = None) -> Any:
        """Batches of a split: with a seed EndlessBatches, else Batches. Raises DataError for a bad split or
        size."""

    @abstractmethod
    def probe(self) -> Any:
        """Two tiny examples: for drawing, warming up and tests."""

    @abstractmethod
    def score(self, answers: Answers, split: str) -> Scores:
        """Judge the answers to all examples of a split."""

    @abstractmethod
    def read(self, text: str) -> Any:
        """The batch of one example that a line of text stands for. Raises DataError for an unfit one."""

    @abstractmethod
    def show(self, batch: Any, answers: Answers, row: int) -> dict[str, Any]:
        """One answer as people read it: {"input": text, "output": text} and whatever else JSON should hold."""

    def suggestions(self, count: int) -> list[str]:
        """Lines that `read` understands, from held-out examples."""
        return []

    def remarks(self, text: str) -> list[str]:
        """What a user should know about a text before it is answered, a sentence each."""
        return []

    def sections(self, answers: Mapping[str, tuple[Answers, Scores]], split: str) -> list[Section]:
        """What a report shows of the answers, by the names of the models; the first is the one it is about."""
        return []

    def describe(self) -> str:
        """A few lines for people."""
        sizes = ", ".join(f"{self.count(split):,} {split}" for split in SPLITS)
        facts = ", ".join(f"{name} {size}" for name, size in self.sizes().items())
        return f"{self.name}: {self.title}\n  examples  {sizes}\n  sizes     {facts}"

    def check_split(self, split: str) -> str:
        """The split, if there is such a one. Raises DataError."""
        if split not in SPLITS:
            expected = f"the split must be one of {', '.join(SPLITS)}"
            raise DataError(f"[{self.name}] {expected}, but got {split!r}.")
        return split
