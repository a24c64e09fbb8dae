"""SAGAN: a GAN of convolutions whose layers also look across the whole image (Zhang, Goodfellow, Metaxas & Odena 2019).

A convolution sees its neighbourhood; that two parts far from each other fit together takes many layers of them. A
self-attention block among the convolutions, in both players, lets each place x_j look at all places x_i (section 3):

    f(x) = W_f x,   g(x) = W_g x,   h(x) = W_h x                1×1 convolutions, to C/8, C/8 and C/2 channels
    s_ij = f(x_i)ᵀ g(x_j),   β_j,i = softmax_i s_ij             how much place j looks at place i       (eq. 1)
    o_j = W_v Σ_i β_j,i h(x_i)                                  back to C channels                      (eq. 2)
    y_i = γ o_i + x_i,   γ = 0 at first                         so that it begins with what is near     (eq. 3)

There is no 1/√(C/8) in the scores. As long as γ is 0 the derivatives by W_f, W_g, W_h and W_v are exactly 0: the first
step moves γ alone. The players lose by hinges,

    L_D = E[max(0, 1 − D(x))] + E[max(0, 1 + D(G(z)))],   L_G = −E[D(G(z))]                             (eq. 4)

all weights are divided by their largest singular value σ(W), which one power iteration a step follows, in D and
in G (section 4.1; Miyato et al. 2018), and the two learn at rates of their own (section 4.2; Heusel et al. 2017): D at
0.0004 and G at 0.0001, with Adam's β₁ = 0 and β₂ = 0.9.

Shapes in comments: B images, C channels, H × H pixels, N places, n latent numbers.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

import tinyattn as ta
from tinyattn import nn
from tinyattn.errors import ShapeError, TinyattnError
from tinyattn.graph.leaf import as_tensor
from tinyattn.graph.types import fail
from tinyattn.models.model import Recipe, from_task
from tinyattn.models.parts.adversarial import Adversarial, check_blur, halvings
from tinyattn.models.parts.checks import check_sizes
from tinyattn.sections import Images, Section
from tinyattn.tasks.images import on_page

TRAINING = {
    "learning_rate": 1e-3, "beta1": 0.0, "beta2": 0.99, "schedule": "linear", "clip_norm": 0.0, "batch_size": 64,
}  # fmt: skip
LEARNING = {"generator_rate": 1.0, "averaging": 0.998, "companions": 16}
LEAK = 0.1
"""The slope of D's leaky relu on the left (Miyato et al. 2018, table 3)."""
AUDIBLE = 10.0
"""What the deviation of a group of images is multiplied by."""
ORANGE, SHOWN = (1.0, 0.5, 0.0), 4
"""The mark of a place that looks, and how many images a report shows with it."""


@dataclass(frozen=True)
class SAGANConfig:
    """Sizes. latent: numbers of z; width: channels of the layers next to the image, which double from layer to
    layer; smallest: the layers halve images as long as they don't get smaller than that. attention: after how many
    halvings the players look across the image. generator_rate: the generator's learning rate, as a share of the
    discriminator's. blur, averaging: as in DCGAN. companions: D is told how much so many images that follow each
    other in the batch differ; 0, as in the paper: it isn't. Divides the batch size.

    image_size: pixels of a side; channels: of images.
    """

    image_size: int = from_task()
    channels: int = from_task()
    latent: int = 100
    width: int = 64
    smallest: int = 4
    attention: int = 1
    generator_rate: float = 0.25
    blur: float = 0.0
    averaging: float = 0.0
    companions: int = 0

    def __post_init__(self):
        """Raise TinyattnError, with one sentence, for a value that makes no sense."""
        check_sizes("SAGAN", self, shares=("averaging",))
        check_blur("SAGAN", self.blur)
        if not 0 < self.generator_rate <= 100:
            must = "generator_rate must be positive and at most 100"
            fail(TinyattnError, "SAGAN", must, f"got {self.generator_rate!r}")

    def plan(self) -> tuple[int, int]:
        """The size of the smallest images between the layers, and how often they double. Raises ShapeError."""
        base, doublings = halvings("SAGAN", self.image_size, self.smallest)
        if self.attention > doublings:
            must = f"attention must be at most {doublings}, as often as images are halved"
            fail(ShapeError, "SAGAN", must, f"got {self.attention}")
        return base, doublings


class SelfAttention(nn.Module):
    """The block: (B, C, H, W) → the same, plus γ times what each place finds at the others."""

    def __init__(self, channels: int):
        inner, values = max(1, channels // 8), max(1, channels // 2)
        self.f, self.g = (_normalised(nn.Conv2d(channels, inner, 1, bias=False)) for _ in range(2))
        self.h = _normalised(nn.Conv2d(channels, values, 1, bias=False))
        self.v = _normalised(nn.Conv2d(values, channels, 1, bias=False))
        self.gamma = ta.parameter(np.zeros(()), np.float32)

    def forward(self, x: ta.Tensor) -> ta.Tensor:
        """Equations 1 to 3."""
        key, query, value = (_places(part(x)) for part in (self.f, self.g, self.h))
        found = ta.attention(query, key, value, scale=1.0)  # Σ_i β_j,i h(x_i): (B, N, C/2)
        back = found.transpose(0, 2, 1).reshape(x.shape[0], -1, *x.shape[2:])
        return self.gamma * self.v(back) + x

    def weights(self, x: ta.Tensor) -> ta.Tensor:
        """β (B, N, N): in row j, how much place j looks at each."""
        key, query = _places(self.f(x)), _places(self.g(x))
        return ta.attention(query, key, key, scale=1.0, return_weights=True)[1]


class Deviation(nn.Module):
    """One channel more, which says how much the images of a group differ: (B, C, H, W) → (B, C + 1, H, W).

    A group is `size` images that follow each other in the batch, and what they are told is ten times the standard
    deviation over them, meant over all C·H·W numbers (Karras et al. 2018, section 3, without the factor: behind it
    stands a weight of spectral norm 1, which would hardly hear of it).
    """

    def __init__(self, size: int):
        self.size = size

    def forward(self, x: ta.Tensor) -> ta.Tensor:
        """The channel comes last."""
        count, size = x.shape[0], math.gcd(x.shape[0], self.size)
        groups = x.reshape(count // size, size, *x.shape[1:])
        apart = groups - ta.mean(groups, axis=1, keepdims=True)
        deviation = ta.sqrt(ta.mean(apart * apart, axis=1) + 1e-8)  # (groups, C, H, W)
        told = AUDIBLE * ta.mean(deviation, axis=(1, 2, 3)).reshape(-1, 1, 1, 1, 1)
        told = ta.broadcast_to(told, (count // size, size, 1, *x.shape[2:]))
        return ta.concat([x, told.reshape(count, 1, *x.shape[2:])], axis=1)


def _places(x: ta.Tensor) -> ta.Tensor:
    """(B, C, H, W) → (B, N, C)."""
    return x.reshape(*x.shape[:2], -1).transpose(0, 2, 1)


def _normalised(layer: Any) -> Any:
    """A layer whose weight is divided by its largest singular value, from Glorot's initial values."""
    layer.weight.assign(nn.init.xavier_uniform(layer.weight.shape))
    return nn.spectral_norm(layer)


class SAGAN(Adversarial):
    """Generator and discriminator. Call it with z (B, latent) for images (B, C, H, W), from −1 to 1 as those of its
    batches.
    """

    Config = SAGANConfig
    name = "sagan"
    paper = "Zhang, Goodfellow, Metaxas & Odena 2019, Self-attention generative adversarial networks"
    documents = "S0"
    recipes = (
        Recipe(
            "mirror-shapes",
            sizes={"width": 32, "smallest": 2} | LEARNING,
            training=TRAINING | {"steps": 15_000},
            targets={"match_rate": 0.8},
        ),
        Recipe(
            "mnist",
            sizes={"width": 32} | LEARNING,
            training=TRAINING | {"steps": 1500},
            targets={"recognised": 0.9, "kinds": 1.0},
        ),
    )

    def __init__(self, config: SAGANConfig):
        self.config, self.generator_rate = config, config.generator_rate
        base, doublings = config.plan()
        widths = [config.width << k for k in range(doublings)]  # from the image inwards
        into: list[nn.Module] = []
        out: list[nn.Module] = []
        for k, width in enumerate(widths):
            before, looks = config.channels if k == 0 else widths[k - 1], k + 1 == config.attention
            into += [_normalised(nn.Conv2d(before, width, 4, 2, 1)), nn.LeakyReLU(LEAK)]
            into += [SelfAttention(width)] if looks else []
            last = nn.ConvTranspose2d(width, before, 4, 2, 1, bias=k == 0)
            last = _normalised(last) if k else last  # tanh needs what no norm allows
            look = [SelfAttention(width)] if looks else []
            out = [nn.BatchNorm2d(width), nn.ReLU(), *look, last, *out]
        first = _normalised(nn.ConvTranspose2d(config.latent, widths[-1], base, bias=False))
        self.generator = nn.Sequential(first, *out, nn.Tanh())
        into += [Deviation(config.companions)] if config.companions else []
        logit = _normalised(nn.Conv2d(widths[-1] + (config.companions > 0), 1, base))
        self.discriminator = nn.Sequential(*into, logit)
        self._begin_averaging()
        self._draw, self._look = ta.function(self.forward), ta.function(self._looked)

    def discriminator_loss(self, images: ta.Tensor, z: ta.Tensor) -> ta.Tensor:
        """max(0, 1 − D(x)) + max(0, 1 + D(G(z))) of each row: (B, C, H, H) and (B, n) → (B,). D sees real
        and drawn images in one batch, in which no image knows of another, but of those in its group (`Deviation`)."""
        images = as_tensor(images)
        found = self.judge(ta.concat([images, self(z)]))
        real, drawn = found[: images.shape[0]], found[images.shape[0] :]
        return ta.relu(1 - real) + ta.relu(1 + drawn)

    def generator_loss(self, z: ta.Tensor) -> ta.Tensor:
        """−D(G(z)) of each row: (B, n) → (B,)."""
        return -self.judge(self(z))

    # Where they look.

    def _looked(self, z: ta.Tensor) -> tuple[ta.Tensor, ...]:
        """Noise (B, n) → images (B, C, H, H), and β of each player when G draws them and D sees them, (B, N, N)."""
        x, found = ta.reshape(z, (*z.shape, 1, 1)), []
        images = x
        for player in (self.drawer, self.discriminator):
            for layer in player:  # type: ignore[attr-defined]
                found += [layer.weights(x)] if isinstance(layer, SelfAttention) else []
                x = layer(x)
            images = x if player is self.drawer else images
            x = images
        return (images, *found)

    def sections(self, batch: Any, task: Any) -> list[Section]:
        """Where each player looks from four places of an image; and what a GAN shows."""
        with self.evaluating():
            images, *found = self._look(self.fixed_noise(np.arange(SHOWN)))
        caption = "First the image, then for the brightest place of each quarter, in orange, where it looks."
        players = zip(("generator", "discriminator"), found, strict=True)
        maps = [Images(f"Where the {name} looks", _queried(images, w), 5, caption) for name, w in players]
        return [*maps, *super().sections(batch, task)]


def _queried(images: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Images (n, C, H, H) and β (n, N, N) → (5 n, H, H, 3) from 0 to 1: each image, and the maps of four of its places,
    the brightest weight as white, with the place itself in orange.
    """
    count, height = len(images), images.shape[-1]
    side = round(weights.shape[-1] ** 0.5)
    scale, half = height // side, side // 2
    light = images.sum(axis=1).reshape(count, side, scale, side, scale).sum(axis=(2, 4))
    shown: list[np.ndarray] = []
    for image, bright, rows in zip(on_page(images), light, weights, strict=True):
        shown.append(image if image.ndim == 3 else np.repeat(image[..., None], 3, axis=2))
        for top, left in ((0, 0), (0, half), (half, 0), (half, half)):
            quarter = bright[top : top + half, left : left + half]
            y, x = np.unravel_index(quarter.argmax(), quarter.shape)
            place = (top + y) * side + left + x
            looked = np.repeat((rows[place] / rows[place].max())[:, None], 3, axis=1)
            looked[place] = ORANGE
            shown.append(looked.reshape(side, side, 3).repeat(scale, axis=0).repeat(scale, axis=1))
    return np.stack(shown)
