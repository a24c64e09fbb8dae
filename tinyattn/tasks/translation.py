"""What every translation task looks like, whatever its sentences are.

A task is two vocabularies and three splits of examples (x, y): a source sentence and its translation. Where
it is known which source word each target word came from, an example carries that too: its gold alignment, the
picture an attention model is hoped to draw.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from tinyattn.errors import DataError
from tinyattn.tasks.batching import Batch, Batcher, OrderedBatches, ShuffledBatches
from tinyattn.tasks.ragged import Ragged
from tinyattn.tasks.vocabulary import Vocabulary

SPLITS = ("train", "validation", "test")
Tokens = list[str]


@dataclass(frozen=True)
class Example:
    """One sentence pair: ids without <bos> and <eos>.

    alignment: gold links (links, 2) of (target position, source position), or None where nobody knows them.
    """

    source: np.ndarray  # (n,) int32
    target: np.ndarray  # (m,) int32
    alignment: np.ndarray | None


class Examples:
    """The examples of one split: `len(examples)`, `examples[i]`, `for example in examples`."""

    def __init__(self, source: Ragged, target: Ragged, alignment: Ragged | None = None):
        self.source, self.target, self.alignment = source, target, alignment

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, row: int) -> Example:
        alignment = None if self.alignment is None else self.alignment[row]
        return Example(self.source[row], self.target[row], alignment)

    def __iter__(self) -> Iterator[Example]:
        return (self[row] for row in range(len(self)))

    def take(self, rows: np.ndarray) -> "Examples":
        """The given examples, in the given order; `rows` is (n,) integers."""
        alignment = None if self.alignment is None else self.alignment.take(rows)
        return Examples(self.source.take(rows), self.target.take(rows), alignment)

    def gold_links(self, batch: Batch) -> np.ndarray:
        """Gold alignments of a batch as (B, T, S) bool; rows that only fill the batch up have no links.

        Raises DataError when the examples have no gold alignment.
        """
        if self.alignment is None:
            raise DataError("[gold_links] the examples must have gold alignments, but they have none.")
        rows, width, height = batch.shape
        links = np.zeros((rows, height, width), bool)
        for row in np.flatnonzero(batch.valid):
            links[row, *self.alignment[batch.index[row]].T] = True
        return links


@dataclass(frozen=True)
class TranslationTask:
    """A translation task, ready to be trained on.

    shapes: the padded shapes (source, target) batches come in, smallest first. split_source: text to tokens.
    join_source, join_target: tokens to text as a reader likes to see it. raw: the tokens of a split before
    rare words became <unk>, (sources, references), where these differ.
    """

    name: str
    description: str
    source_vocabulary: Vocabulary
    target_vocabulary: Vocabulary
    train: Examples
    validation: Examples
    test: Examples
    shapes: tuple[tuple[int, int], ...]
    split_source: Callable[[str], Tokens] = str.split
    join_source: Callable[[Sequence[str]], str] = " ".join
    join_target: Callable[[Sequence[str]], str] = " ".join
    raw: dict[str, tuple[list[Tokens], list[Tokens]]] = field(default_factory=dict, repr=False)

    def examples(self, split: str) -> Examples:
        """The examples of "train", "validation" or "test". Raises DataError for any other name."""
        if split not in SPLITS:
            expected = f"the split must be one of {', '.join(SPLITS)}"
            raise DataError(f"[{self.name}] {expected}, but got {split!r}.")
        return getattr(self, split)

    def batches(
        self, split: str, batch_size: int, seed: int | None = None
    ) -> ShuffledBatches | OrderedBatches:
        """Batches of a split: with a seed, shuffled, full and without end; without, every example once.

        See ShuffledBatches for resuming, and OrderedBatches. Raises DataError for a bad split, size or seed.
        """
        examples = self.examples(split)
        batcher = Batcher(examples.source, examples.target, self.shapes, batch_size)
        return OrderedBatches(batcher) if seed is None else ShuffledBatches(batcher, seed)

    def source_tokens(self, split: str) -> list[Tokens]:
        """The source sentences of a split as words."""
        if split in self.raw:
            return self.raw[split][0]
        return [self.source_vocabulary.decode(example.source) for example in self.examples(split)]

    def references(self, split: str) -> list[Tokens]:
        """The right translations of a split as words: what BLEU and exact match are measured against.

        Words outside the vocabulary are themselves here and not <unk>, in all splits that are in `raw`: a
        model that says <unk> has not said the word.
        """
        if split in self.raw:
            return self.raw[split][1]
        return [self.target_vocabulary.decode(example.target) for example in self.examples(split)]

    @property
    def longest_target(self) -> int:
        """The most tokens a translation can have in a batch, <eos> included: where decoding may stop."""
        return max(height for _, height in self.shapes)

    def describe(self) -> str:
        """A few lines for people: sizes, lengths, shapes and one sentence pair of the test split."""
        sizes = ", ".join(f"{len(self.examples(split)):,} {split}" for split in SPLITS)
        source, target = self.train.source.lengths, self.train.target.lengths
        shown = int(np.argmin(np.abs(self.test.source.lengths - 10)))  # not trivial, and fits on a line
        lines = [
            f"{self.name}: {self.description}",
            f"  sentence pairs  {sizes}",
            f"  vocabularies    {len(self.source_vocabulary):,} and {len(self.target_vocabulary):,} words",
            f"  lengths         {source.min()} to {source.max()} and {target.min()} to {target.max()} tokens",
            f"  padded shapes   {', '.join(f'{s} x {t}' for s, t in self.shapes)} (source x target)",
            f"  for example     {self.join_source(self.source_tokens('test')[shown])}",
            f"                  {self.join_target(self.references('test')[shown])}",
        ]
        return "\n".join(lines)
