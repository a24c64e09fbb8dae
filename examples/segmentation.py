"""Segmentation with a non-local block: each pixel of a rectangle is to know whether most of the image has its colour.

    python examples/segmentation.py

Four rectangles in three colours lie in an image of 12 × 12. A pixel is background, of the colour that covers most, or
of another colour. Convolutions see 7 × 7 pixels; the self-attention block of SAGAN in their midst (Zhang et al. 2019;
Wang et al. 2018, "Non-local neural networks") lets each look at all. Beside it the same network without the block.
"""

import numpy as np

import tinyattn as ta
from tinyattn import nn
from tinyattn.models.sagan import SelfAttention

SIZE, COLOURS, WIDTH = 12, 3, 32


def images(count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Images (n, 3, 12, 12) and the class of each pixel (n, 12, 12); no colour covers as much as another, nearly."""
    shown, classes = (
        np.zeros((count, COLOURS, SIZE, SIZE), np.float32),
        np.zeros((count, SIZE, SIZE), np.int32),
    )
    for image, label in zip(shown, classes, strict=True):
        cover = np.zeros(COLOURS)
        while np.diff(np.sort(cover))[-1] < 8:
            image[:] = 0
            for colour in rng.integers(0, COLOURS, 4):
                (top, left), (height, width) = rng.integers(0, SIZE - 3, 2), rng.integers(3, 7, 2)
                image[:, top : top + height, left : left + width] = np.eye(COLOURS)[colour][:, None, None]
            cover = image.sum(axis=(1, 2))
        label[:] = np.where(image.any(axis=0), np.where(image.argmax(axis=0) == cover.argmax(), 1, 2), 0)
    return shown, classes


def main(steps: int = 500) -> dict[str, float]:
    """The share of the rectangles' pixels that are named right in 500 new images."""
    rng = np.random.default_rng(0)
    (shown, label), (test, right), found = images(4000, rng), images(500, rng), {}
    for name, block in {"with the non-local block": SelfAttention(WIDTH), "without": nn.Identity()}.items():
        ta.manual_seed(0)
        first, second = nn.Conv2d(COLOURS, WIDTH, 3, padding=1), nn.Conv2d(WIDTH, WIDTH, 3, padding=1)
        model = nn.Sequential(first, nn.ReLU(), block, second, nn.ReLU(), nn.Conv2d(WIDTH, 3, 3, padding=1))
        optimizer = ta.optim.Adam(model.parameters(), lr=ta.optim.schedules.cosine(1e-2, steps))
        loss = nn.CrossEntropyLoss()
        step = ta.function(lambda x, y, m=model, o=optimizer, loss=loss: o.minimize(loss(m(x), y)))
        for _ in range(steps):
            some = rng.integers(0, len(shown), 32)
            step(shown[some], label[some])
        said = model.eval()(test).numpy().argmax(axis=1)
        found[name] = float((said == right)[right > 0].mean())
    return found


if __name__ == "__main__":
    print("\n".join(f"{name:26} {value:.1%}" for name, value in main().items()))
