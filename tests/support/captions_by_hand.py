"""Captioners in PyTorch, image by image and word by word, with the weights of ours in float64."""

import numpy as np

from tinyattn.tasks.captions import CaptionBatch
from tinyattn.tasks.parts.vocabulary import BOS, EOS


def drawn_weights(model, scale=0.4):
    """The model in float64 with initial values and running statistics of its own."""
    rng = np.random.default_rng(0)
    for parameter in model.parameters():
        parameter.assign(rng.normal(size=parameter.shape, scale=scale).astype(parameter.dtype))
    for norm in model.network.norms:
        norm.running_mean.assign(rng.normal(size=norm.running_mean.shape).astype(np.float32))
        norm.running_var.assign(rng.uniform(1, 2, norm.running_var.shape).astype(np.float32))
    return model.to(np.float64)


def torch_weights(torch, model):
    state = {name: torch.from_numpy(value) for name, value in model.state_dict().items()}
    return {
        name: value.requires_grad_() if name in dict(model.named_parameters()) else value
        for name, value in state.items()
    }


def batch(size=8, channels=2, words=9, longest=5):
    """Four images with captions of 4, 2, 1 and 3 words and <eos>; the last row only fills the batch up."""
    rng = np.random.default_rng(1)
    length = np.array([5, 3, 2, 4], np.int32)
    out = rng.integers(4, words, (4, longest)).astype(np.int32)
    place = np.arange(longest)
    out = np.where(place < length[:, None] - 1, out, np.where(place == length[:, None] - 1, EOS, 0)).astype(
        np.int32
    )
    given = np.concatenate([np.full((4, 1), BOS, np.int32), np.where(out == EOS, 0, out)[:, :-1]], axis=1)
    out[3], length[3] = 0, 0
    images = rng.uniform(-1, 1, (4, channels, size, size)).astype(np.float32)
    return CaptionBatch(images, given, out, length, np.arange(4), length > 0)


def linear(torch, w, name, x):
    y = w[f"{name}.weight"] @ x
    return y + w[f"{name}.bias"] if f"{name}.bias" in w else y


def cells(torch, w, images, training=False):
    """Images (B, C, H, H) → (B, L, D), row by row. training: each channel is normalised by this batch."""
    f, x, number = torch.nn.functional, torch.from_numpy(images.astype(np.float64)), 0
    while f"network.layers.{number}.weight" in w:
        if number:
            x = f.max_pool2d(x, 2)
        x = f.conv2d(x, w[f"network.layers.{number}.weight"], padding=1)
        known = {name: w[f"network.norms.{number}.{name}"] for name in ("running_mean", "running_var")}
        if training:
            known = {name: value.clone() for name, value in known.items()}  # (torch writes into them)
        x = f.batch_norm(
            x, **known, **{k: w[f"network.norms.{number}.{k}"] for k in ("weight", "bias")}, training=training
        )
        x, number = x.relu(), number + 1
    return x.flatten(2).transpose(1, 2)


def lstm(torch, gates, c):
    i, f, g, o = gates.chunk(4)
    c = f.sigmoid() * c + i.sigmoid() * g.tanh()
    return o.sigmoid() * c.tanh(), c
