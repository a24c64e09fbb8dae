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

import tinyattn as ta
from tinyattn import nn
from tinyattn.models.model import Recipe, from_task
from tinyattn.models.parts.adversarial import Adversarial, check_blur, halvings
from tinyattn.models.parts.checks import check_sizes

TRAINING = {"learning_rate": 2e-4, "beta1": 0.5, "schedule": "constant", "clip_norm": 0.0, "batch_size": 64}


@dataclass(frozen=True)
class DCGANConfig:
    """Sizes. latent: numbers of z; width: channels of the layers next to the image, which double from layer to
    layer (the paper, with images of 64 × 64: 128). blur: the standard deviation of noise on all images that D sees
    in training (Sønderby et al. 2017, section 3.3), so that it looks at shapes, not at pixels; 0 in the paper.
    smoothing: by how much the probability that D is to give a real image falls short of 1 (Salimans et al. 2016,
    section 3.4), so that it is never rewarded for being surer than that; 0 in the paper. averaging: images are
    drawn by the mean of all generators so far, in which each counts so much as the next one (parts/averaged.py;
    0.999 is usual); 0, as in the paper: by the last one. smallest: the layers halve images as long as they don't
    get smaller than that (4 in the paper). What D's inner layer sees of an image must be nearly all of it, or D
    can't tell whether its parts belong together.

    image_size: pixels of a side; channels: of images.
    """

    image_size: int = from_task()
    channels: int = from_task()
    latent: int = 100
    width: int = 64
    blur: float = 0.0
    averaging: float = 0.0
    smoothing: float = 0.0
    smallest: int = 4

    def __post_init__(self):
        """Raise TinyattnError, with one sentence, for a value that makes no sense."""
        check_sizes("DCGAN", self, shares=("smoothing", "averaging"))
        check_blur("DCGAN", self.blur)

    def plan(self) -> tuple[int, int]:
        """The size of the smallest images between the layers, and how often they double. Raises ShapeError."""
        return halvings("DCGAN", self.image_size, self.smallest)


class DCGAN(Adversarial):
    """Generator and discriminator. Call it with z (B, latent) for images (B, C, H, W), from −1 to 1 as those of its
    batches.
    """

    Config = DCGANConfig
    name = "dcgan"
    paper = "Radford, Metz & Chintala 2016, Unsupervised representation learning with deep convolutional GANs"
    documents = "S0"
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
        self._begin_averaging()
        self._draw = ta.function(self.forward)

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
