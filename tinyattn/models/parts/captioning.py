"""What the models that describe images share: the network that sees, sizes, the loss and the search for a caption.

A model adds four methods: `see`, what of the images it keeps and its first state; `decode`, the words of a caption
that is given; `advance`, one step of the search; and, if it learns more than the words, `loss`.

Shapes in comments: B images, L = cells of the grid that the network's last layer has, D numbers of each, T words,
m embedding, n hidden, K vocabulary, R = B · beam rows when searching.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

import tinyattn as ta
from tinyattn import nn
from tinyattn.errors import ShapeError
from tinyattn.graph.leaf import as_tensor
from tinyattn.graph.scope import scope
from tinyattn.graph.types import fail
from tinyattn.models.model import Model, from_task
from tinyattn.models.parts.checks import check_sizes, checked_count
from tinyattn.models.parts.decoding import beam_search, repeat
from tinyattn.tasks.parts.vocabulary import EOS, PAD
from tinyattn.tasks.task import Answers

TRAINING: dict[str, Any] = {"steps": 2000, "batch_size": 64, "learning_rate": 3e-3, "schedule": "cosine"}
MNIST_SIZES: dict[str, Any] = {"width": 24}
MNIST_TRAINING: dict[str, Any] = TRAINING | {"steps": 1200}
"""What the models here are trained with."""


@dataclass(frozen=True)
class CaptionConfig:
    """Sizes. channels: of images; width: channels of the network's first layer, which double from layer to layer;
    layers: how many there are, each of which but the last halves the image; embedding: m; hidden: n.

    target_vocabulary: how many words there are; image_size: pixels of a side; longest_target: the most words a
    caption can have.
    """

    target_vocabulary: int = from_task()
    image_size: int = from_task()
    channels: int = from_task()
    longest_target: int = from_task()
    width: int = 16
    layers: int = 3
    embedding: int = 32
    hidden: int = 128

    def __post_init__(self):
        """Raise TinyattnError, with one sentence, for a value that makes no sense."""
        check_sizes(self.of, self, shares=())
        if self.image_size % 2 ** (self.layers - 1):
            must = f"image_size must be divisible by 2 for each of the {self.layers} layers but one"
            fail(ShapeError, self.of, must, f"got {self.image_size}")

    @property
    def of(self) -> str:
        """Whose sizes they are, as errors name it."""
        return type(self).__name__.removesuffix("Config")

    @property
    def side(self) -> int:
        """Cells on a side of the last layer's grid."""
        return self.image_size >> (self.layers - 1)

    @property
    def features(self) -> int:
        """D, numbers of each cell."""
        return self.width << (self.layers - 1)

    def network_parameters(self) -> int:
        """How many numbers the network that sees has."""
        widths = [self.channels, *(self.width << k for k in range(self.layers))]
        pairs = zip(widths, widths[1:], strict=False)
        return sum((9 * before + 2) * after for before, after in pairs)


class Network(nn.Module):
    """Convolutions of 3 × 3, each with batch norm and relu, and pooling by 2 between them.

    The papers take networks that had learned to name a million photographs before; this one begins with what it
    is told by the words of captions, and batch norm makes it learn sooner.
    """

    def __init__(self, config: CaptionConfig):
        widths = [config.channels, *(config.width << k for k in range(config.layers))]
        self.layers = nn.ModuleList(
            nn.Conv2d(before, after, 3, padding=1, bias=False)
            for before, after in zip(widths, widths[1:], strict=False)
        )
        self.norms = nn.ModuleList(nn.BatchNorm2d(width) for width in widths[1:])

    def forward(self, images: Any) -> ta.Tensor:
        """(B, C, H, H) → (B, L, D)."""
        x = as_tensor(images).astype(self.layers[0].weight.dtype)
        for number, (layer, norm) in enumerate(zip(self.layers, self.norms, strict=True)):
            if number:
                x = ta.max_pool2d(x, 2)
            x = ta.relu(norm(layer(x)))
        return ta.reshape(x, (*x.shape[:2], -1)).transpose(0, 2, 1)


class Said(NamedTuple):
    """What a decoder says of T given words."""

    logits: ta.Tensor  # (T, B, K)
    weights: ta.Tensor | None  # (T, B, L), where it looked
    choice: Any = None  # what else its loss is made of


class CaptionModel(Model):
    """The common part; `initialise` makes it."""

    families = ("captioning",)
    config: Any

    def __init__(self, config: CaptionConfig):
        self.config = config
        self.network = Network(config)
        self.embedding = nn.Embedding(config.target_vocabulary, config.embedding)  # E
        self._search, self._forced = ta.function(self._best), ta.function(self._nats)

    def see(self, images: Any) -> tuple[Any, Any]:
        """What is kept of images (B, C, H, H), Tensors with B rows, and the first state."""
        raise NotImplementedError

    def decode(self, memory: Any, state: Any, words: ta.Tensor) -> Said:
        """Words E y_{t−1} (T, B, m) from the first state."""
        raise NotImplementedError

    def advance(self, memory: Any, state: Any, word: ta.Tensor) -> tuple[Any, ta.Tensor, ta.Tensor | None]:
        """From E y_{t−1} (R, m) and the state before it to the next state, logits (R, K) and weights (R, L) or None;
        of `memory` there is one row for each R / B rows."""
        raise NotImplementedError

    def say(self, images: Any, target_in: Any) -> Said:
        """Teacher forcing: images (B, C, H, H), <bos> y as ids (B, T)."""
        with scope("image"):
            memory, state = self.see(images)
        with scope("decoder"):
            return self.decode(memory, state, self.embedding(as_tensor(target_in).T))

    def forward(self, images: Any, target_in: Any) -> tuple[ta.Tensor, ta.Tensor | None]:
        """The same with the batch first: logits (B, T, K), weights (B, T, L) or None."""
        said = self.say(images, target_in)
        weights = None if said.weights is None else said.weights.transpose(1, 0, 2)
        return said.logits.transpose(1, 0, 2), weights

    def loss(self, batch: Any) -> ta.Tensor:
        """Mean of −log p(y_t | y_{<t}, image) over the words of a batch, <eos> included, in nats."""
        said = self.say(batch.images, batch.target_in)
        return ta.cross_entropy(said.logits, as_tensor(batch.target_out).T, ignore_index=PAD)

    def _nats(self, kind: type, arrays: dict) -> ta.Tensor:
        return CaptionModel.loss(self, kind(**arrays))

    def answer(self, batch: Any, *, beam: int = 1, length_penalty: float = 0.0) -> Answers:
        """The best captions found: greedily with beam 1, else among `beam` beginnings at a time. Maps: "attention",
        the weights with which each word was chosen (T, L), of models that have some.
        """
        answers = self.sample(batch, beam=beam, length_penalty=length_penalty)
        if batch.weight:
            with self.evaluating():
                loss = float(self._forced(type(batch), vars(batch)))
            answers.nats, answers.predictions = loss * batch.weight, batch.weight
        return answers

    def sample(self, batch: Any, *, beam: int = 1, length_penalty: float = 0.0) -> Answers:
        """The same without what needs the right captions."""
        beam = checked_count("answer", "beam", beam)
        with self.evaluating():
            found = self._search(batch.images, beam, float(length_penalty))
        ids = [row[: _length(row)] for row in found.tokens]
        weights = found.attention
        maps = (
            {}
            if weights is None
            else {"attention": [w[: len(row)] for w, row in zip(weights, ids, strict=True)]}
        )
        return Answers(ids, maps, [float(score) for score in found.score])

    def _best(self, images: ta.Tensor, beam: int, length_penalty: ta.Tensor) -> Any:
        memory, state = self.see(images)

        def step(state: Any, tokens: ta.Tensor) -> tuple[Any, ta.Tensor, ta.Tensor | None]:
            state, logits, weights = self.advance(memory, state, self.embedding(tokens))
            return state, ta.log_softmax(logits), weights

        start = repeat(state, beam)
        return beam_search(step, start, images.shape[0], beam, self.config.longest_target, length_penalty)


def _length(row: np.ndarray) -> int:
    """How many of the tokens count, <eos> included."""
    ends = np.flatnonzero(row == EOS)
    return int(ends[0]) + 1 if len(ends) else len(row)
