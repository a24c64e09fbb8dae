"""DCGAN: a generator of images and a discriminator that learn from each other, both of convolutions (Radford, Metz &
Chintala 2016; Goodfellow et al. 2014).

The generator G makes images of noise z, and the discriminator D says how likely an image is to be real:

    z ~ U(−1, 1)ⁿ   → project, reshape → [transposed convolution, stride 2] … → tanh             G(z)
    image           → [convolution, stride 2] …                               → one number       D(x) = σ(logit)

    discriminator:  minimise −log D(x) − log(1 − D(G(z)))      (Goodfellow et al. 2014, equation 1)
    generator:      minimise −log D(G(z))                      (section 3: the gradient is large where G is bad)

There are no pools and no hidden layers of all with all. Every layer has batch normalisation but the last of G and the
first and last of D; G has relu, D leaky relu with slope 0.2. All weights start from N(0, 0.02²), and Adam has a
learning rate of 0.0002 and β₁ = 0.5 (section 4).

The sum of the losses says nothing of how good the images are: when D can't tell them from real ones, its loss is
2 log 2, and so it is when both are bad. Look at the images.

Shapes in comments: B images, C channels, H × H pixels, n latent numbers.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

import tinyattn as ta
from tinyattn import nn
from tinyattn.errors import ShapeError, TinyattnError
from tinyattn.graph.leaf import as_tensor
from tinyattn.graph.types import fail
from tinyattn.models.model import Model, Objective, Recipe, from_task
from tinyattn.models.parts.checks import check_sizes
from tinyattn.sections import Images, Section, Table
from tinyattn.tasks.parts.randomness import Stream
from tinyattn.tasks.task import Answers

TRAINING = {"learning_rate": 2e-4, "beta1": 0.5, "schedule": "constant", "clip_norm": 0.0, "batch_size": 64}


@dataclass(frozen=True)
class DCGANConfig:
    """Sizes. latent: numbers of z; width: channels of the layers next to the image, which double from layer to
    layer (the paper, with images of 64 × 64: 128). blur: the standard deviation of noise on all images that D sees
    in training (Sønderby et al. 2017, section 3.3), so that it looks at shapes, not at pixels; 0 in the paper.
    smoothing: by how much the probability that D is to give a real image falls short of 1 (Salimans et al. 2016,
    section 3.4), so that it is never rewarded for being surer than that; 0 in the paper.
    smallest: the layers halve images as long as they don't get smaller than that (4 in the paper). What D's inner
    layer sees of an image must be nearly all of it, or D can't tell whether its parts belong together.
    """

    image_size: int = from_task()
    channels: int = from_task()
    latent: int = 100
    width: int = 64
    blur: float = 0.0
    smoothing: float = 0.0
    smallest: int = 4

    def __post_init__(self):
        """Raise TinyattnError, with one sentence, for a value that makes no sense."""
        check_sizes("DCGAN", self, shares=("smoothing",))
        if not 0 <= self.blur < 10:
            fail(TinyattnError, "DCGAN", "blur must be at least 0 and less than 10", f"got {self.blur!r}")

    def plan(self) -> tuple[int, int]:
        """The size of the smallest images between the layers, and how often they double: 28 = 7 · 2². Raises
        ShapeError."""
        base, doublings, least = self.image_size, 0, self.smallest
        while base % 2 == 0 and base // 2 >= least:
            base, doublings = base // 2, doublings + 1
        if not (least <= base < 2 * least and doublings):
            must = f"image_size must be a number from {least} to {2 * least - 1}, times 2, 4, 8, …"
            fail(ShapeError, "DCGAN", must, f"got {self.image_size}")
        return base, doublings


class DCGAN(Model):
    """Generator and discriminator. Call it with z for images."""

    Config = DCGANConfig
    name = "dcgan"
    paper = "Radford, Metz & Chintala 2016, Unsupervised representation learning with deep convolutional GANs"
    documents = "S0"
    families = ("image",)
    keeps = "last"
    recipes = (
        Recipe(
            "mirror-shapes",
            sizes={"width": 48, "smallest": 2, "blur": 0.2, "smoothing": 0.1},
            training=TRAINING | {"steps": 5000, "learning_rate": 1e-3, "schedule": "linear"},
            targets={"match_rate": 0.5},
        ),
        Recipe(
            "mnist",
            sizes={"width": 32, "blur": 0.1},
            training=TRAINING | {"steps": 1500, "learning_rate": 5e-4, "schedule": "linear"},
            targets={"recognised": 0.9, "kinds": 1.0},
        ),
    )

    def __init__(self, config: DCGANConfig):
        self.config = config
        base, doublings = config.plan()
        widths = [config.width << k for k in range(doublings)]  # from the image inwards
        into: list[nn.Module] = []
        out: list[nn.Module] = []
        for k, width in enumerate(widths):
            before = config.channels if k == 0 else widths[k - 1]
            into += [nn.Conv2d(before, width, 4, 2, 1, bias=k == 0)]
            into += [nn.BatchNorm2d(width)] if k else []
            into += [nn.LeakyReLU(0.2)]
            last = [nn.ConvTranspose2d(width, before, 4, 2, 1, bias=k == 0)]
            out = [nn.BatchNorm2d(width), nn.ReLU(), *last, *out]
        first = nn.ConvTranspose2d(config.latent, widths[-1], base, bias=False)
        self.generator = nn.Sequential(first, *out, nn.Tanh())
        self.discriminator = nn.Sequential(*into, nn.Conv2d(widths[-1], 1, base))
        for weight in self.parameters():
            if weight.ndim > 1:
                weight.assign(nn.init.normal(weight.shape, std=0.02))
        self._draw = ta.function(self.forward)

    def forward(self, z: ta.Tensor) -> ta.Tensor:
        """Noise (B, n) → images (B, C, H, H) from −1 to 1."""
        return self.generator(ta.reshape(z, (*z.shape, 1, 1)))

    def judge(self, images: ta.Tensor) -> ta.Tensor:
        """Images (B, C, H, H) → logits (B,) of being real."""
        images = as_tensor(images)
        if self.training and self.config.blur:
            images = images + ta.random_normal(images.shape, 0.0, self.config.blur, images.dtype)
        return ta.reshape(self.discriminator(images), (images.shape[0],))

    def discriminator_loss(self, images: ta.Tensor, z: ta.Tensor) -> ta.Tensor:
        """−(1 − s) log D(x) − s log(1 − D(x)) − log(1 − D(G(z))) of each row, with smoothing s: (B, C, H, H) and
        (B, n) → (B,). Real and drawn images are batches of their own, each normalised by itself."""
        real, share = self.judge(images), self.config.smoothing
        loss = ta.softplus(-real)
        if share:
            loss = loss + share * real  # since log D − log(1 − D) is the logit
        return loss + ta.softplus(self.judge(self(z)))

    def generator_loss(self, z: ta.Tensor) -> ta.Tensor:
        """−log D(G(z)) of each row: (B, n) → (B,)."""
        return ta.softplus(-self.judge(self(z)))

    def objectives(self) -> list[Objective]:
        """A step of the discriminator, then one of the generator, each with new noise."""
        return [
            Objective("discriminator", self.discriminator.parameters(), self.loss),
            Objective(
                "generator",
                self.generator.parameters(),
                lambda b: ta.mean(self.generator_loss(self.noise(b))),
            ),
        ]

    def loss(self, batch: Any) -> ta.Tensor:
        """The discriminator's mean loss of the rows that count, 2 log 2 when it can't tell at all."""
        rows = self.discriminator_loss(batch.images, self.noise(batch))
        return ta.sum(ta.where(batch.valid, rows, 0.0)) / ta.sum(ta.cast(batch.valid, rows.dtype))

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
        """An image for each row, (C, H, H); which one depends on the row's index, and on `noise`, a seed."""
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
        shown = (way[:, 0] if way.shape[1] == 1 else way.transpose(0, 2, 3, 1)) / 2 + 0.5
        caption = "In each row the noise goes straight from that of one image to that of another."
        state = ta.random_state()
        ta.manual_seed(0)
        figures = [_figures(model, task) for model in (self, type(self)(self.config))]
        ta.set_random_state(state)
        rows = [
            [f.name, *(f.say(each[f.key]) for each in figures)] for f in task.figures if f.key in figures[0]
        ]
        beside = Table("Beside an untrained generator", ["", "trained", "untrained"], rows)
        return [Images("From one image to another", shown, 8, caption), beside]


def _figures(model: DCGAN, task: Any) -> dict[str, float]:
    """The figures of as many images as there are in the test split."""
    drawn: list[Any] = []
    for batch in task.batches("test", 100):
        drawn += model.answer(batch).outputs[: batch.weight]
    return task.score(Answers(drawn), "test").figures
