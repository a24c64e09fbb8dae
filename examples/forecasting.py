"""Forecasting with attention: the next values of a mixture of sines with noise, from 48 that have been seen.

    python examples/forecasting.py

Each series is a sum of three sines of unknown periods, phases and heights. A causal Transformer (Vaswani et al. 2017)
says from every step the next eight values. Beside it the last value, and linear regression on all 48.
"""

import numpy as np

import tinyattn as ta
from tinyattn import nn

SEEN, AHEAD, WIDTH = 48, 8, 48


def series(count: int, rng: np.random.Generator) -> np.ndarray:
    """(n, SEEN + AHEAD) float32, with noise of deviation 0.1."""
    period, phase = rng.uniform(6, 30, (count, 3, 1)), rng.uniform(0, 2 * np.pi, (count, 3, 1))
    height, time = rng.uniform(0.5, 1, (count, 3, 1)), np.arange(SEEN + AHEAD)
    whole = (height * np.sin(2 * np.pi * time / period + phase)).sum(axis=1)
    return (whole + rng.normal(0, 0.1, whole.shape)).astype(np.float32)


class Forecaster(nn.Module):
    """Series (B, SEEN) → what comes after each step, (B, SEEN, AHEAD)."""

    def __init__(self) -> None:
        self.embed, self.output = nn.Linear(4, WIDTH), nn.Linear(WIDTH, AHEAD)
        self.place = nn.sinusoidal_positions(SEEN, WIDTH)
        layer = nn.TransformerEncoderLayer(WIDTH, 4, 96, 0.0, batch_first=True)
        self.layers = nn.TransformerEncoder(layer, 2)

    def forward(self, x: ta.Tensor) -> ta.Tensor:
        """Each step is shown with the three before it."""
        past = ta.pad(x, ((0, 0), (3, 0)))
        x = self.embed(ta.stack([past[:, k : k + SEEN] for k in range(4)], axis=2)) + self.place
        return self.output(self.layers(x, is_causal=True))


def main(steps: int = 1500) -> dict[str, float]:
    """Mean squared errors over 8 values ahead of 1,000 new series, as shares of the series' variance."""
    rng, test = np.random.default_rng(0), series(1000, np.random.default_rng(1))
    ta.manual_seed(0)
    model = Forecaster()
    rate = ta.optim.schedules.cosine(2e-3, steps, steps // 20)
    optimizer = ta.optim.Adam(model.parameters(), lr=rate, clip_norm=1.0)
    after = np.arange(SEEN)[:, None] + 1 + np.arange(AHEAD)  # what comes after each step
    step = ta.function(lambda x: optimizer.minimize(((model(x[:, :SEEN]) - x[:, after]) ** 2).mean()))
    for _ in range(steps):
        step(series(64, rng))
    seen, right, many = test[:, :SEEN], test[:, SEEN:], series(5000, rng)
    line = np.linalg.lstsq(many[:, :SEEN], many[:, SEEN:], rcond=None)[0]
    said = {"attention": model.eval()(seen).numpy()[:, -1], "linear regression": seen @ line}
    said |= {"the last value": seen[:, -1:]}
    return {name: float(((value - right) ** 2).mean() / right.var()) for name, value in said.items()}


if __name__ == "__main__":
    print("\n".join(f"{name:18} {value:.3f}" for name, value in main().items()))
