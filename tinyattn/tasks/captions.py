"""What tasks of captions share: images with a sentence each, and how what models say of them is judged.

Figures are of the sentences that a model says by itself, none of it given:

    exact_match        the share of images whose sentence is right, word for word
    exact_match_known  the same of images all of whose pairs meet in training
    exact_match_new    the same of images with a pair that never does
    bleu, bleu_1 …     BLEU of up to four, of one, of two, of three words
    attention_hit      where it is known which part of the image a word names: how often the model says the word in
                       its place, and the cell of the image that it looks at most lies, at least in part, in the box
                       around what is named

Only the perplexity is measured with the right words before each word given.
"""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from tinyattn.sections import Bars, Figure, Images, Looks, Samples, Section
from tinyattn.tasks.images import on_page, picture, to_images
from tinyattn.tasks.parts import image_files, metrics, scenes
from tinyattn.tasks.parts.batching import Batcher, OrderedBatches, ShuffledBatches
from tinyattn.tasks.parts.randomness import Stream
from tinyattn.tasks.parts.vocabulary import BOS, EOS, PAD, Vocabulary
from tinyattn.tasks.task import Answers, Scores, Task

VALIDATION, TEST = 500, 2000
SHOWN, MAPPED, ENLARGED = 8, 3, 3
"""In a report: sentences, images with maps, and how many pixels one of them is wide."""


@dataclass(frozen=True)
class CaptionBatch:
    """B images with their captions; T has room for the longest and <eos>."""

    images: np.ndarray  # (B, C, H, W) float32, from −1 to 1
    target_in: np.ndarray  # (B, T) int32: <bos> y, what the decoder is given
    target_out: np.ndarray  # (B, T) int32: y <eos>, what it must say; all padding in rows that aren't valid
    target_length: np.ndarray  # (B,) int32: len(y) + 1, or 0
    index: np.ndarray  # (B,) int64
    valid: np.ndarray  # (B,) bool

    @property
    def weight(self) -> int:
        """How many words count, <eos> included."""
        return int(self.target_length.sum())


@dataclass(frozen=True)
class Captioned:
    """The examples of one split."""

    pixels: np.ndarray  # (n, C, H, W) uint8
    caption: np.ndarray  # (n, T) int32: y <eos>, then padding
    named: np.ndarray  # (n, T) int64: which box each word names, or scenes.NOTHING
    boxes: np.ndarray  # (n, K, 4) int64: top, left, bottom, right
    new: np.ndarray  # (n,) bool: whether it has a pair that never meets in training

    def __len__(self) -> int:
        return len(self.pixels)

    def take(self, rows: Any) -> "Captioned":
        """The given examples, in the given order."""
        return Captioned(*(part[rows] for part in vars(self).values()))


class CaptionTask(Task):
    """A task of scenes. A subclass says what the things are: `things`.

    words: all that captions are made of; side: cells of the grid; kinds: of things, each of `length` words.
    """

    unit: ClassVar[str] = "word"
    families: ClassVar[tuple[str, ...]] = ("captioning",)

    def __init__(
        self, words: Sequence[str], side: int, kinds: int, length: int, train_examples: int, seed: int
    ):
        self.vocabulary, self.side, self.kinds = Vocabulary(words), side, kinds
        self.longest = scenes.longest(length) + 1  # with <eos>
        self._examples = {
            "validation": self._made("validation", Stream(f"{self.name} validation", 0), VALIDATION, 0),
            "test": self._made("test", Stream(f"{self.name} test", 0), TEST // 2, TEST // 2),
        }
        train = self._made("train", Stream(f"{self.name} train", seed), train_examples, 0)
        seen = {image.tobytes() for held_out in self._examples.values() for image in held_out.pixels}
        rows = [row for row, image in enumerate(train.pixels) if image.tobytes() not in seen]
        self._examples["train"] = train.take(rows)
        self.shape: tuple[int, int, int] = train.pixels.shape[1:]  # (C, H, W)

    @abstractmethod
    def things(
        self, drawn: scenes.Scenes, split: str, stream: Stream
    ) -> tuple[np.ndarray, list[list[tuple[str, ...]]]]:
        """What the things of n scenes look like, (n, 3, C, S, S) uint8, and the words for those of each scene."""

    def _made(self, split: str, stream: Stream, known: int, new: int) -> Captioned:
        parts = [scenes.draw(known, self.kinds, self.side, False, stream)]
        if new:
            parts.append(scenes.draw(new, self.kinds, self.side, True, stream))
        kind, cell = (np.concatenate([getattr(part, name) for part in parts]) for name in ("kind", "cell"))
        order = stream.permutation(known + new)
        drawn = scenes.Scenes(kind, cell).take(order)
        stamps, things = self.things(drawn, split, stream)
        pixels, boxes = scenes.paint(drawn, stamps, self.side)
        said = [
            scenes.caption(words, cells[: len(words)], self.side)
            for words, cells in zip(things, drawn.cell.tolist(), strict=True)
        ]
        caption = np.full((len(said), self.longest), PAD, np.int32)
        named = np.full((len(said), self.longest), scenes.NOTHING)
        for row, (words, names) in enumerate(said):
            caption[row, : len(words)] = self.vocabulary.encode(words)
            caption[row, len(words)] = EOS
            named[row, : len(names)] = names
        return Captioned(pixels, caption, named, boxes, order >= known)

    @property
    def words(self) -> Sequence[str]:
        return self.vocabulary.words

    @property
    def figures(self) -> Sequence[Figure]:
        return (
            Figure("exact_match", "exact match"),
            Figure("exact_match_known", "exact match, pairs seen in training"),
            Figure("exact_match_new", "exact match, new pairs"),
            Figure("attention_hit", "words said while looking at what they name"),
            *(Figure(f"bleu_{order}", f"BLEU-{order}", "{:.2f}") for order in (1, 2, 3)),
            Figure("bleu", "BLEU", "{:.2f}"),
            Figure("perplexity", "perplexity", "{:.3f}", "lower"),
        )

    def sizes(self) -> dict[str, int]:
        """image_size: height and width."""
        channels, size, _ = self.shape
        return {
            "image_size": size, "channels": channels, "target_vocabulary": len(self.vocabulary),
            "longest_target": self.longest,
        }  # fmt: skip

    def examples(self, split: str) -> Captioned:
        """The examples of a split. Raises DataError."""
        return self._examples[self.check_split(split)]

    def count(self, split: str) -> int:
        return len(self.examples(split))

    def batches(
        self, split: str, batch_size: int, seed: int | None = None
    ) -> ShuffledBatches | OrderedBatches:
        examples = self.examples(split)
        batcher = Batcher(
            len(examples), batch_size, lambda rows, valid: _batch(examples.take(rows), rows, valid)
        )
        return OrderedBatches(batcher) if seed is None else ShuffledBatches(batcher, seed)

    def probe(self) -> CaptionBatch:
        return next(iter(self.batches("test", 2)))

    # How good the captions are.

    def score(self, answers: Answers, split: str) -> Scores:
        """Judge captions, word ids (T,) each; maps "attention": (words, cells) of each."""
        examples = self.examples(split)
        said, right = self.said(answers), self.references(split)
        exact = metrics.exact_matches(said, right)
        figures = {"exact_match": float(exact.mean())}
        for name, rows in (("known", ~examples.new), ("new", examples.new)):
            if rows.any():
                figures[f"exact_match_{name}"] = float(exact[rows].mean())
        if answers.maps.get("attention"):
            figures["attention_hit"] = self._hits(answers, examples)
        figures |= {f"bleu_{order}": metrics.bleu(said, right, order) for order in (1, 2, 3)}
        figures["bleu"] = metrics.bleu(said, right)
        if answers.nats is not None:
            figures["perplexity"] = metrics.perplexity(answers.nats, answers.predictions)
        things = examples.named.max(axis=1) + 1
        by_things = {f"{count} things": float(exact[things == count].mean()) for count in scenes.THINGS}
        return Scores(figures, {BY_THINGS: by_things})

    def _hits(self, answers: Answers, examples: Captioned) -> float:
        hits: list[bool] = []
        size = self.shape[1]
        for row, (ids, weights) in enumerate(zip(answers.outputs, answers.maps["attention"], strict=True)):
            places = np.flatnonzero(examples.named[row] != scenes.NOTHING)
            said = np.full(examples.caption.shape[1], PAD)
            said[: len(ids)] = np.asarray(ids)[: len(said)]
            for place in places:
                top, left, bottom, right = examples.boxes[row, examples.named[row, place]]
                hit = bool(said[place] == examples.caption[row, place])
                if hit:
                    assert weights is not None
                    cells = round(np.sqrt(weights.shape[1]))
                    y, x = np.array(divmod(int(weights[place].argmax()), cells)) * size / cells
                    hit = y < bottom and y + size / cells > top and x < right and x + size / cells > left
                hits.append(hit)
        return float(np.mean(hits))

    def said(self, answers: Answers) -> list[list[str]]:
        """The words of outputs."""
        return [self.vocabulary.decode(ids) for ids in answers.outputs]

    def references(self, split: str) -> list[list[str]]:
        """The right words."""
        return [self.vocabulary.decode(ids) for ids in self.examples(split).caption]

    # How images are named, shown and read.

    def read(self, text: str) -> CaptionBatch:
        """A count, the number of a test image, or the path of an image: see parts/image_files.py. Raises DataError."""
        pixels, rows = image_files.find_images(self.name, text, self.examples("test").pixels)
        if rows is not None:
            return _batch(self.examples("test").take(rows), rows, np.ones(len(rows), bool))
        nothing = np.full((1, 1), PAD, np.int32)
        return CaptionBatch(
            to_images(pixels), nothing + BOS, nothing, nothing[0], np.zeros(1, np.int64), np.ones(1, bool)
        )

    def show(self, batch: CaptionBatch, answers: Answers, row: int) -> dict[str, Any]:
        """The picture, and what is said of it; of images whose caption is known, that too."""
        said = self.vocabulary.decode(answers.outputs[row])
        right = self.vocabulary.decode(batch.target_out[row])
        told = {"reference": " ".join(right)} if right else {}
        return {"input": picture(batch.images[row]), "output": " ".join(said), "output_tokens": said} | told

    def suggestions(self, count: int) -> list[str]:
        return [f"#{number}" for number in range(count)]

    def sections(self, answers: Mapping[str, tuple[Answers, Scores]], split: str) -> list[Section]:
        """Exact match by the number of things; where the first model looked; sentences."""
        bars = Bars(
            "How many things",
            {name: scores.groups[BY_THINGS] for name, (_, scores) in answers.items()},
            "things in the image",
            "exact match",
            "Exact match by the number of things in the image.",
        )
        examples, references = self.examples(split), [" ".join(words) for words in self.references(split)]
        said = {name: self.said(found) for name, (found, _) in answers.items()}
        main, (first, _) = next(iter(answers.items()))
        found: list[Section] = [bars]
        for row in range(MAPPED if first.maps.get("attention") else 0):
            weights = np.asarray(first.maps["attention"][row])
            words = [*said[main][row], "<eos>"][: len(weights)]
            cells = round(np.sqrt(weights.shape[1]))
            image = on_page(to_images(examples.pixels[row])[None])[0]
            caption = (
                ""
                if row
                else "Lit where the model looked when it said the word below; beside it the largest weight."
            )
            title = f"Image {row}, as {main} looked at it"
            found.append(Looks(title, image, weights[: len(words)].reshape(-1, cells, cells), words, caption))
        samples = []
        for row in range(SHOWN):
            texts = {name: " ".join(each[row]) for name, each in said.items()}
            judged = [(name, text, text == references[row]) for name, text in texts.items()]
            samples.append([("image", f"#{row}", None), ("reference", references[row], None), *judged])
        title = f"The first {SHOWN} images"
        return [
            *found,
            Images(title, _enlarged(on_page(to_images(examples.pixels[:SHOWN]))), 4),
            Samples("Captions", samples),
        ]


BY_THINGS = "exact match by things in the image"


def _batch(examples: Captioned, rows: np.ndarray, valid: np.ndarray) -> CaptionBatch:
    out = examples.caption * valid[:, None].astype(np.int32)
    first = np.full((len(rows), 1), BOS, np.int32)
    given = np.concatenate([first, examples.caption[:, :-1]], axis=1)
    given[given == EOS] = PAD
    length = (out != PAD).sum(axis=1).astype(np.int32)
    return CaptionBatch(to_images(examples.pixels), given, out, length, rows, valid)


def _enlarged(images: np.ndarray) -> np.ndarray:
    return images.repeat(ENLARGED, axis=1).repeat(ENLARGED, axis=2)
