"""What models of two players have in common: a generator that draws images of noise, a discriminator that judges them,
the order in which they learn, and how what is drawn is answered and shown.
"""

from typing import Any

import numpy as np

import tinyattn as ta
from tinyattn import nn
from tinyattn.errors import ShapeError, TinyattnError
from tinyattn.graph.leaf import as_tensor
from tinyattn.graph.types import fail
from tinyattn.models.model import Model, Objective
from tinyattn.models.parts.averaged import follow, follower
from tinyattn.sections import Images, Section, Table
from tinyattn.tasks.images import on_page
from tinyattn.tasks.parts.randomness import Stream
from tinyattn.tasks.task import Answers


def halvings(op: str, image_size: int, smallest: int) -> tuple[int, int]:
    """How small images get that layers halve as long as they don't get smaller than ``smallest``, and how often they
    are halved: 28 = 7 · 2². Raises ShapeError for a size that doesn't come out.
    """
    base, count = image_size, 0
    while base % 2 == 0 and base // 2 >= smallest:
        base, count = base // 2, count + 1
    if not (smallest <= base < 2 * smallest and count):
        must = f"image_size must be a number from {smallest} to {2 * smallest - 1}, times 2, 4, 8, …"
        fail(ShapeError, op, must, f"got {image_size}")
    return base, count


def check_blur(op: str, blur: float) -> None:
    """Raise TinyattnError unless it is a deviation of noise that makes sense."""
    if not 0 <= blur < 10:
        fail(TinyattnError, op, "blur must be at least 0 and less than 10", f"got {blur!r}")


class Adversarial(Model):
    """A generator and a discriminator. Call it with z for images. Subclasses make both, have the fields `latent`,
    `blur` and `averaging` in their Config, and say what each player loses.
    """

    keeps = "last"
    families = ("image",)
    generator: nn.Module
    discriminator: nn.Module
    generator_rate = 1.0
    """The learning rate of the generator, as a share of the discriminator's."""
    average: nn.Module | None = None
    """What draws when nothing is learnt, if not the generator itself: the mean of those that there have been."""

    def _begin_averaging(self) -> None:
        """To be called with both players made."""
        if self.config.averaging:
            self.average = follower(self.generator)

    def discriminator_loss(self, images: ta.Tensor, z: ta.Tensor) -> ta.Tensor:
        """What D loses by each row: images (B, C, H, H) and noise (B, n) → (B,)."""
        raise NotImplementedError

    def generator_loss(self, z: ta.Tensor) -> ta.Tensor:
        """What G loses by each row: (B, n) → (B,)."""
        raise NotImplementedError

    @property
    def drawer(self) -> nn.Module:
        """The generator, or outside of training the mean of generators in its place."""
        return self.generator if self.training or self.average is None else self.average

    def forward(self, z: ta.Tensor) -> ta.Tensor:
        """Noise (B, n) → images (B, C, H, H) from −1 to 1."""
        return self.drawer(ta.reshape(z, (*z.shape, 1, 1)))

    def judge(self, images: ta.Tensor) -> ta.Tensor:
        """Images (B, C, H, H) → what D says of each, (B,): the more, the more real. In training they are blurred."""
        images = as_tensor(images)
        if self.training and self.config.blur:
            images = images + ta.random_normal(images.shape, 0.0, self.config.blur, images.dtype)
        return ta.reshape(self.discriminator(images), (images.shape[0],))

    def objectives(self) -> list[Objective]:
        """A step of the discriminator, then one of the generator, each with new noise."""
        return [
            Objective("discriminator", self.discriminator.parameters(), self.loss),
            Objective(
                "generator",
                self.generator.parameters(),
                self._generator_step,
                rate=self.generator_rate,
            ),
        ]

    def loss(self, batch: Any) -> ta.Tensor:
        """The discriminator's mean loss of the rows that count."""
        rows = self.discriminator_loss(batch.images, self.noise(batch))
        return ta.sum(ta.where(batch.valid, rows, 0.0)) / ta.sum(ta.cast(batch.valid, rows.dtype))

    def _generator_step(self, batch: Any) -> ta.Tensor:
        """The generator's mean loss; the mean of generators goes on, and draws as many, to know its statistics."""
        z = self.noise(batch)
        if self.training and self.average is not None:
            self.average(ta.reshape(z, (*z.shape, 1, 1)))
            follow(self.average, self.generator, self.config.averaging)
        return ta.mean(self.generator_loss(z))

    def noise(self, batch: Any) -> ta.Tensor:
        """z (B, n): drawn in training, else always the same."""
        images = as_tensor(batch.images)
        if self.training:
            return ta.random_uniform((images.shape[0], self.config.latent), -1, 1, images.dtype)
        return ta.cast(self.fixed_noise(np.arange(images.shape[0])), images.dtype)

    def fixed_noise(self, index: np.ndarray, seed: int = 0) -> np.ndarray:
        """z (B, n) float32 of the images with these numbers: a function of the number and the seed alone."""
        streams = [Stream("noise of drawn images", seed, int(number)) for number in index]
        words = np.stack([stream.words(self.config.latent) for stream in streams])
        return ((words >> np.uint32(8)) * np.float32(2.0**-23) - np.float32(1)).astype(np.float32)

    # What is drawn.

    def answer(self, batch: Any, *, noise: int = 0) -> Answers:
        """An image for each row, (C, H, W); which one depends on the row's index, and on `noise`, a seed."""
        return self._drawn(self.fixed_noise(batch.index, noise))

    def sample(self, batch: Any, *, noise: int = 0) -> Answers:
        """The same."""
        return self.answer(batch, noise=noise)

    def _drawn(self, z: np.ndarray) -> Answers:
        with self.evaluating():
            return Answers([*self._draw(z)])

    def sections(self, batch: Any, task: Any) -> list[Section]:
        """The way from one image to another; the figures beside those of the same generator untrained."""
        ends = self.fixed_noise(np.arange(8)).reshape(4, 2, 1, -1)
        share = np.linspace(0, 1, 8, dtype=np.float32)[:, None]
        way = np.stack(self._drawn(((1 - share) * ends[:, 0] + share * ends[:, 1]).reshape(32, -1)).outputs)
        caption = "In each row the noise goes straight from that of one image to that of another."
        state = ta.random_state()
        ta.manual_seed(0)
        figures = [_figures(model, task) for model in (self, type(self)(self.config))]
        ta.set_random_state(state)
        rows = [
            [f.name, *(f.say(each[f.key]) for each in figures)] for f in task.figures if f.key in figures[0]
        ]
        beside = Table("Beside an untrained generator", ["", "trained", "untrained"], rows)
        return [Images("From one image to another", on_page(way), 8, caption), beside]


def _figures(model: Adversarial, task: Any) -> dict[str, float]:
    """The figures of as many images as there are in the test split."""
    drawn: list[Any] = []
    for batch in task.batches("test", 100):
        drawn += model.answer(batch).outputs[: batch.weight]
    return task.score(Answers(drawn), "test").figures
