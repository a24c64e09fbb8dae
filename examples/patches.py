"""Image classification with patches and self-attention: each of 16 patches of an image looks at all others.

    python examples/patches.py

Handwritten digits of 8 × 8 lie somewhere in 12 × 12 pixels. Patches of 3 × 3 are tokens, as in a vision Transformer
(Dosovitskiy et al. 2021); the mean of the last layer names the digit. Beside it: each patch sees itself alone.
"""

import numpy as np

import tinyattn as ta
from tinyattn import nn, tasks

WIDTH = 48


class Classifier(nn.Module):
    """Images (B, 12, 12) → logits (B, 10). alone: no patch looks at another."""

    def __init__(self, alone: bool):
        self.blocked = ~np.eye(16, dtype=bool) if alone else None  # as in torch: True = may not attend
        self.embed, self.output = nn.Linear(9, WIDTH), nn.Linear(WIDTH, 10)
        self.place = ta.parameter(nn.init.normal((16, WIDTH), std=0.5), np.float32)
        layer = nn.TransformerEncoderLayer(WIDTH, 4, 96, 0.1, batch_first=True)
        self.layers = nn.TransformerEncoder(layer, 2)

    def forward(self, images: ta.Tensor) -> ta.Tensor:
        """Cut into patches, embed, look, average, name."""
        cut = images.reshape(-1, 4, 3, 4, 3).transpose(0, 1, 3, 2, 4)
        x = self.embed(cut.reshape(-1, 16, 9)) + self.place
        return self.output(self.layers(x, self.blocked).mean(axis=1))


def placed(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Digits (B, 1, 8, 8), each at a random place of its canvas (B, 12, 12)."""
    canvas, places = np.full((len(images), 12, 12), -1, np.float32), rng.integers(0, 5, (len(images), 2))
    for image, (y, x), digit in zip(canvas, places, images, strict=True):
        image[y : y + 8, x : x + 8] = digit[0]
    return canvas


def main(steps: int = 2000) -> dict[str, float]:
    """The accuracy of both, in the 300 digits of the test at ten places each."""
    task, found = tasks.get("digits"), {}
    test = task.examples("test")
    images = placed(np.tile(test.images(), (10, 1, 1, 1)), np.random.default_rng(1))
    for name, alone in {"patches that look at each other": False, "patches alone": True}.items():
        ta.manual_seed(0)
        model, rng = Classifier(alone), np.random.default_rng(0)
        rate = ta.optim.schedules.cosine(3e-3, steps, steps // 20)
        optimizer = ta.optim.AdamW(model.parameters(), lr=rate)
        step = ta.function(lambda x, y, m=model, o=optimizer: o.minimize(ta.cross_entropy(m(x), y)))
        for _, batch in zip(range(steps), task.batches("train", 64, seed=0), strict=False):
            step(placed(batch.images, rng), batch.label)
        found[name] = float((model.eval()(images).numpy().argmax(axis=1) == np.tile(test.label, 10)).mean())
    return found


if __name__ == "__main__":
    print("\n".join(f"{name:32} {value:.1%}" for name, value in main().items()))
