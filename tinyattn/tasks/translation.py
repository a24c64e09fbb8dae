"""What every translation task looks like, whatever its sentences are.

A task is two vocabularies and three splits of examples (x, y): a source sentence and its translation. Where
it is known which source word each target word came from, an example carries that too: its gold alignment, the
picture an attention model is hoped to draw.

Every column of padding is computed for nothing. So a task names a few padded shapes (source, target), for
instance (10, 12), (20, 22), (30, 32); an example belongs to the first that holds it, and a batch is made of
examples of one shape.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from tinyattn.errors import DataError
from tinyattn.sections import Bars, Figure, Heat, Map, Samples, Section
from tinyattn.tasks.parts import metrics
from tinyattn.tasks.parts.batching import OrderedBatches, ShapedBatcher, ShuffledBatches
from tinyattn.tasks.parts.ragged import Ragged
from tinyattn.tasks.parts.vocabulary import BOS, EOS, UNK, Vocabulary
from tinyattn.tasks.task import SPLITS, Answers, Scores, Task

Tokens = list[str]
SHOWN = 4
"""Sentences in a report, from short to long."""
BY_LENGTH = "exact match by words in the source"


@dataclass(frozen=True)
class Example:
    """One sentence pair: ids without <bos> and <eos>.

    alignment: gold links (links, 2) of (target position, source position), or None where nobody knows them.
    """

    source: np.ndarray  # (n,) int32
    target: np.ndarray  # (m,) int32
    alignment: np.ndarray | None


@dataclass(frozen=True)
class Batch:
    """B examples padded with 0 to one shape (S, T).

    Rows that only fill a batch up repeat its last example, with valid False, target_length 0 and target_out
    all padding: a loss that ignores padding ignores them without being told.
    """

    source: np.ndarray  # (B, S) int32: x
    source_length: np.ndarray  # (B,) int32: len(x)
    target_in: np.ndarray  # (B, T) int32: <bos> y, what the decoder is given
    target_out: np.ndarray  # (B, T) int32: y <eos>, what it must say
    target_length: np.ndarray  # (B,) int32: len(y) + 1, the places of target_out that count
    index: np.ndarray  # (B,) int64: which examples of the split these are
    valid: np.ndarray  # (B,) bool: False in rows that only fill the batch up

    @property
    def shape(self) -> tuple[int, int, int]:
        """(B, S, T)."""
        return (*self.source.shape, self.target_in.shape[1])

    @property
    def weight(self) -> int:
        """How many target tokens count, <eos> included."""
        return int(self.target_length.sum())


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

    def gold_links(self, row: int, shape: tuple[int, ...]) -> np.ndarray:
        """Gold alignment of an example as bool of `shape`, (target, source) positions. Raises DataError when
        there is none.
        """
        if self.alignment is None:
            raise DataError("[gold_links] the examples must have gold alignments, but they have none.")
        links = np.zeros(shape, bool)
        links[tuple(self.alignment[row].T)] = True
        return links


class SentenceBatcher(ShapedBatcher):
    """Cuts batches out of one split.

    shapes: the padded shapes (S, T), smallest first, where T has room for one more token than the target.
    Raises DataError for an example that fits none of them.
    """

    def __init__(self, examples: Examples, shapes: Sequence[tuple[int, int]], batch_size: int):
        self.source, self.target, self.shapes = examples.source, examples.target, tuple(shapes)
        lengths = self.source.lengths, self.target.lengths
        fits = np.stack([(lengths[0] <= s) & (lengths[1] < t) for s, t in self.shapes], axis=1)
        too_long = ~fits.any(axis=1)
        if too_long.any():
            row = int(np.argmax(too_long))
            got = f"got example {row} of {lengths[0][row]} and {lengths[1][row]} tokens"
            raise DataError(f"[batches] examples must fit one of the shapes {self.shapes}, but {got}.")
        super().__init__(fits.argmax(axis=1), batch_size, self._make)

    def _make(self, rows: np.ndarray, valid: np.ndarray) -> Batch:
        width, height = self.shapes[self.shape_of[rows].max()]
        lengths = self.target.lengths[rows]
        target_out = self.target.pad(rows, height)
        target_in = np.concatenate([np.full((len(rows), 1), BOS, np.int32), target_out[:, :-1]], axis=1)
        target_out[np.arange(len(rows)), lengths] = EOS
        target_out[~valid] = 0
        return Batch(
            source=self.source.pad(rows, width),
            source_length=self.source.lengths[rows].astype(np.int32),
            target_in=target_in,
            target_out=target_out,
            target_length=np.where(valid, lengths + 1, 0).astype(np.int32),
            index=rows,
            valid=valid,
        )


class TranslationTask(Task):
    """A translation task. Subclasses set, in `__init__` or when they are asked for: `source_vocabulary`,
    `target_vocabulary`, `train`, `validation` and `test` (Examples), `shapes` (the padded shapes batches come
    in, smallest first), and `raw` where the words of a split became <unk>: the tokens before, (sources,
    references).
    """

    unit: ClassVar[str] = "word"
    families: ClassVar[tuple[str, ...]] = ("translation",)
    source_vocabulary: Vocabulary
    target_vocabulary: Vocabulary
    train: Examples
    validation: Examples
    test: Examples
    shapes: Sequence[tuple[int, int]]
    raw: Mapping[str, tuple[list[Tokens], list[Tokens]]] = {}

    # How text becomes tokens, and tokens text as a reader likes to see it.

    def split_source(self, text: str) -> Tokens:
        """The tokens of a source sentence."""
        return text.split()

    def join_source(self, tokens: Sequence[str]) -> str:
        """Source tokens as text."""
        return " ".join(tokens)

    def join_target(self, tokens: Sequence[str]) -> str:
        """Target tokens as text."""
        return " ".join(tokens)

    # Data.

    def sizes(self) -> dict[str, Any]:
        """The sizes of both vocabularies, and the most tokens that a source and a translation can have."""
        return {
            "source_vocabulary": len(self.source_vocabulary),
            "target_vocabulary": len(self.target_vocabulary),
            "longest_source": max(width for width, _ in self.shapes),
            "longest_target": max(height for _, height in self.shapes),
        }

    def examples(self, split: str) -> Examples:
        """The examples of "train", "validation" or "test". Raises DataError for any other name."""
        return getattr(self, self.check_split(split))

    def count(self, split: str) -> int:
        """How many sentence pairs a split has."""
        return len(self.examples(split))

    def batches(
        self, split: str, batch_size: int, seed: int | None = None
    ) -> ShuffledBatches | OrderedBatches:
        """Batches of a split: with a seed, shuffled, full and without end; without, every example once.

        See ShuffledBatches for resuming, and OrderedBatches. Raises DataError for a bad split, size or seed.
        """
        batcher = SentenceBatcher(self.examples(split), self.shapes, batch_size)
        return OrderedBatches(batcher) if seed is None else ShuffledBatches(batcher, seed)

    def probe(self) -> Batch:
        """Two sentences of five words, the second one word shorter."""
        ids, lengths = np.full((2, 5), UNK, np.int32), np.array([5, 4], np.int32)
        return Batch(ids, lengths, ids, ids, lengths, np.arange(2), np.ones(2, bool))

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

    # Judgement.

    @cached_property
    def figures(self) -> tuple[Figure, ...]:
        """exact_match     the fraction of translations that equal their reference, word for word
        exact_match_25-30  the same for the longest sentences
        bleu               BLEU-4 of the corpus, 0 to 100
        perplexity         exp of the mean of −log p(word | the reference's words before it, source)
        aer                alignment error rate of the largest weights against the gold alignment, where both
                           exist. The decoder is given the reference, as in Luong et al. 2015, section 4.3: each
                           gold link has its row of weights.
        position_error     the mean distance, in words, from where such rows were predicted to look, of models that
                           predict it, to the gold link
        """
        low, high = length_buckets(self.test.source.lengths)[-2:]
        longest = f"{low}-{high - 1}"
        return (
            Figure("exact_match", "exact match"),
            Figure(f"exact_match_{longest}", f"exact match, {longest} words"),
            Figure("bleu", "BLEU", "{:.2f}"),
            Figure("perplexity", "perplexity", "{:.3f}", "lower"),
            Figure("aer", "alignment error rate", "{:.3f}", "lower"),
            Figure("position_error", "error of predicted places", "{:.2f}", "lower"),
        )

    def translations(self, answers: Answers) -> list[Tokens]:
        """The words of outputs, (T,) ids each."""
        return [self.target_vocabulary.decode(ids) for ids in answers.outputs]

    def exact(self, translations: Sequence[Sequence[str]], references: Sequence[Sequence[str]]) -> np.ndarray:
        """Which translations are right: (n,) bool."""
        return metrics.exact_matches(translations, references)

    def score(self, answers: Answers, split: str) -> Scores:
        """All figures of a split. Of maps it looks at "alignment", the weights for given references, and at
        "position", (target positions, 1) places in the source.
        """
        examples, translations = self.examples(split), self.translations(answers)
        references, lengths = self.references(split), examples.source.lengths
        exact = self.exact(translations, references)
        figures = {"exact_match": float(exact.mean()), "bleu": metrics.bleu(translations, references)}
        if answers.nats is not None:
            figures["perplexity"] = metrics.perplexity(answers.nats, answers.predictions)
        weights = answers.maps.get("alignment", [])
        if examples.alignment is not None and weights:
            figures["aer"] = metrics.alignment_error_rate(*self._links(weights, examples))
        places = answers.maps.get("position", [])
        if examples.alignment is not None and places:
            links = (examples.alignment[row] for row in range(len(places)))
            errors = [
                np.asarray(p)[link[:, 0], 0] - link[:, 1] for p, link in zip(places, links, strict=True)
            ]
            figures["position_error"] = float(np.abs(np.concatenate(errors)).mean())
        by_length = metrics.mean_by_bucket(exact, lengths, length_buckets(lengths))
        longest = [*by_length][-1]
        figures[f"exact_match_{longest}"] = by_length[longest]
        return Scores(figures, {BY_LENGTH: by_length})

    def _links(self, weights: list[Any], examples: Examples) -> tuple[np.ndarray, np.ndarray]:
        """Predicted and gold links of a split, flat."""
        predicted, gold = [], []
        for row, found in enumerate(weights):
            lengths = examples.source.lengths[row], examples.target.lengths[row]
            links = metrics.alignment_links(found[None], *(length[None] for length in lengths))[0]
            predicted.append(links.ravel())
            gold.append(examples.gold_links(row, links.shape).ravel())
        return np.concatenate(predicted), np.concatenate(gold)

    # For people.

    def read(self, text: str) -> Batch:
        """A source sentence. Raises DataError when it holds no word."""
        words = self.split_source(text)
        if not words:
            raise DataError(f"[sample] a text must hold a word, but got {text!r}.")
        source = self.source_vocabulary.encode(words)[None]
        target, one = np.full((1, 1), BOS, np.int32), np.ones(1, np.int32)
        length = np.array([len(words)], np.int32)
        return Batch(source, length, target, target, one, np.zeros(1, np.int64), np.ones(1, bool))

    def remarks(self, text: str) -> list[str]:
        """Which words are not in the vocabulary."""
        return [
            f"{word!r} is not in the vocabulary of {self.name}."
            for word in self.split_source(text)
            if word not in self.source_vocabulary
        ]

    def suggestions(self, count: int) -> list[str]:
        """Sentences of the test split, evenly spread over it."""
        sources = self.source_tokens("test")
        return [self.join_source(sources[k * len(sources) // count]) for k in range(count)]

    def show(self, batch: Batch, answers: Answers, row: int) -> dict[str, Any]:
        """Source and translation as text and as tokens."""
        source = self.source_vocabulary.decode(batch.source[row, : batch.source_length[row]])
        said = self.target_vocabulary.decode(answers.outputs[row])
        return {
            "input": self.join_source(source), "output": self.join_target(said), "input_tokens": source,
            "output_tokens": said,
        }  # fmt: skip

    def sections(self, answers: Mapping[str, tuple[Answers, Scores]], split: str) -> list[Section]:
        """Exact match by length; where the first model looked; translations, from short to long."""
        sources, references = self.source_tokens(split), self.references(split)
        rows = _spread([len(words) for words in sources], SHOWN)
        said = {name: self.translations(found) for name, (found, _) in answers.items()}
        bars = Bars(
            "Long sentences",
            {name: scores.groups[BY_LENGTH] for name, (_, scores) in answers.items()},
            "words in the source",
            "exact match",
            "Exact match by the length of the source sentence.",
        )
        main = next(iter(answers))
        attention = answers[main][0].maps.get("attention", [])
        maps = []
        for row in rows if attention else []:
            words, weights = [*said[main][row], "<eos>"], np.asarray(attention[row])
            weights = weights[: len(words), : len(sources[row])]
            maps.append(Map(weights, words[: len(weights)], sources[row][: weights.shape[1]]))
        caption = "Each row is a word of the translation; its squares are the source words it was made from."
        samples = []
        for row in rows:
            right = self.join_target(references[row])
            texts = {name: self.join_target(each[row]) for name, each in said.items()}
            samples.append(
                [
                    ("source", self.join_source(sources[row]), None),
                    ("reference", right, None),
                    *((name, text, text == right) for name, text in texts.items()),
                ]
            )
        heat: list[Section] = [Heat("Where the model looks", maps, caption)] if maps else []
        return [bars, *heat, Samples("Translations", samples)]

    def describe(self) -> str:
        """A few lines for people: sizes, lengths, shapes and one sentence pair of the test split."""
        sizes = ", ".join(f"{self.count(split):,} {split}" for split in SPLITS)
        source, target = self.train.source.lengths, self.train.target.lengths
        shown = int(np.argmin(np.abs(self.test.source.lengths - 10)))  # not trivial, and fits on a line
        lines = [
            f"{self.name}: {self.title}",
            f"  sentence pairs  {sizes}",
            f"  vocabularies    {len(self.source_vocabulary):,} and {len(self.target_vocabulary):,} words",
            f"  lengths         {source.min()} to {source.max()} and {target.min()} to {target.max()} tokens",
            f"  padded shapes   {', '.join(f'{s} x {t}' for s, t in self.shapes)} (source x target)",
            f"  for example     {self.join_source(self.source_tokens('test')[shown])}",
            f"                  {self.join_target(self.references('test')[shown])}",
        ]
        return "\n".join(lines)


def length_buckets(lengths: np.ndarray) -> list[int]:
    """Edges of buckets five lengths wide, for `mean_by_bucket`; the last one takes what is left: 5, 10, …,
    25, 31.
    """
    low, high = int(lengths.min()) // 5 * 5, int(lengths.max())
    return [*range(low, max(high - 4, low + 1), 5), high + 1]


def _spread(lengths: list[int], count: int) -> list[int]:
    """`count` rows whose lengths are spread evenly from short to long."""
    order = np.argsort(lengths, kind="stable")
    places = np.linspace(0.05, 0.95, count) * (len(order) - 1)
    return [int(order[int(place)]) for place in places]
