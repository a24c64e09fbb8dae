"""What torch computes in 20 steps of a small DCGAN, live or recorded.

    python tests/support/make_gan_fixtures.py

writes tests/fixtures/dcgan.npz, so that the comparison also runs where torch is not installed.
"""

import sys

import make_fixtures
import numpy as np

CONFIG = {"image_size": 16, "channels": 3, "latent": 4, "width": 2}
ADAM = {"lr": 2e-4, "betas": (0.5, 0.999)}
UPDATES, BATCH = 20, 6


def gan_batches():
    """Images (B, C, H, H), and noise (B, n) for the discriminator's step and for the generator's."""
    rng = np.random.default_rng(0)
    size, latent = CONFIG["image_size"], CONFIG["latent"]
    for _ in range(UPDATES):
        images = np.tanh(2 * rng.standard_normal((BATCH, CONFIG["channels"], size, size)))
        yield images, *rng.uniform(-1, 1, (2, BATCH, latent))


def gan_weights() -> dict[str, np.ndarray]:
    """The state that training starts from, with weights large enough for all gradients to count."""
    import tinyattn as ta
    from tinyattn.models.dcgan import DCGAN, DCGANConfig

    ta.manual_seed(0)
    model = DCGAN(DCGANConfig(**CONFIG)).to(np.float64)
    return {k: v * 10 if v.ndim == 4 else v for k, v in model.state_dict().items()}


def torch_steps(weights: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Losses (updates, 2), all gradients of each step (updates, ·) and the state after the last, in torch's own
    modules as Radford et al. 2016 describe them for images of 16 × 16."""
    import torch
    from torch import nn
    from torch.nn.functional import binary_cross_entropy_with_logits as cross_entropy

    channels, latent, width = (CONFIG[key] for key in ("channels", "latent", "width"))
    net = nn.ModuleDict(
        {
            "generator": nn.Sequential(
                nn.ConvTranspose2d(latent, 2 * width, 4, 1, 0, bias=False),
                nn.BatchNorm2d(2 * width),
                nn.ReLU(),
                nn.ConvTranspose2d(2 * width, width, 4, 2, 1, bias=False),
                nn.BatchNorm2d(width),
                nn.ReLU(),
                nn.ConvTranspose2d(width, channels, 4, 2, 1),
                nn.Tanh(),
            ),
            "discriminator": nn.Sequential(
                nn.Conv2d(channels, width, 4, 2, 1),
                nn.LeakyReLU(0.2),
                nn.Conv2d(width, 2 * width, 4, 2, 1, bias=False),
                nn.BatchNorm2d(2 * width),
                nn.LeakyReLU(0.2),
                nn.Conv2d(2 * width, 1, 4, 1, 0),
            ),
        }
    ).double()
    net.load_state_dict({k: torch.from_numpy(np.array(v)) for k, v in weights.items()})
    draw, judge = net["generator"], net["discriminator"]
    optimizers = [torch.optim.Adam(part.parameters(), **ADAM) for part in (judge, draw)]
    real, fake = torch.ones(BATCH, 1, 1, 1).double(), torch.zeros(BATCH, 1, 1, 1).double()
    losses, gradients = [], []
    for images, z, other in gan_batches():
        images, z, other = (torch.from_numpy(a) for a in (images, z[..., None, None], other[..., None, None]))
        found = []
        for part, optimizer in zip((judge, draw), optimizers, strict=True):
            net.zero_grad()
            if part is judge:
                loss = cross_entropy(judge(images), real) + cross_entropy(judge(draw(z).detach()), fake)
            else:
                loss = cross_entropy(judge(draw(other)), real)
            loss.backward()
            found += [(float(loss.detach()), [w.grad.numpy().ravel().copy() for w in part.parameters()])]
            optimizer.step()
        losses.append([loss for loss, _ in found])
        gradients.append(np.concatenate([g for _, parts in found for g in parts]))
    state = {f"state.{k}": v.numpy() for k, v in net.state_dict().items()}
    return {"losses": np.array(losses), "gradients": np.array(gradients)} | state


def main() -> None:
    """Write the file."""
    path = make_fixtures.FIXTURES / "dcgan.npz"
    np.savez_compressed(path, **torch_steps(gan_weights()))
    print(f"{path.name}: {path.stat().st_size:,} bytes", file=sys.stderr)


if __name__ == "__main__":
    main()
