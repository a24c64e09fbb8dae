"""Two moons told apart by a small network: the least that a training loop is.

python examples/moons.py
"""

import numpy as np

import tinyattn as ta
from tinyattn import nn


def moons(count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Points (n, 2) on two half circles that reach into each other, with noise, and which of them each is on."""
    label, angle = rng.integers(0, 2, count), rng.uniform(0, np.pi, count)
    x = np.where(label, 1 - np.cos(angle), np.cos(angle))
    y = np.where(label, 0.5 - np.sin(angle), np.sin(angle))
    points = np.stack([x, y], axis=1) + rng.normal(0, 0.1, (count, 2))
    return points.astype(np.float32), label.astype(np.int32)


def main(steps: int = 400) -> dict[str, float]:
    """The share of 1,000 new points that are told apart; beside it a straight line (logistic regression)."""
    rng, found = np.random.default_rng(0), {}
    test, right = moons(1000, np.random.default_rng(1))
    networks = {
        "a hidden layer of 32": lambda: nn.Sequential(nn.Linear(2, 32), ta.tanh, nn.Linear(32, 2)),
        "a straight line": lambda: nn.Linear(2, 2),
    }
    for name, make in networks.items():
        ta.manual_seed(0)
        model = make()
        optimizer = ta.optim.Adam(model.parameters(), lr=2e-2)
        step = ta.function(lambda x, y, m=model, o=optimizer: o.minimize(ta.cross_entropy(m(x), y)))
        for _ in range(steps):
            step(*moons(64, rng))
        found[name] = float((model(test).numpy().argmax(axis=1) == right).mean())
    return found


if __name__ == "__main__":
    print("\n".join(f"{name:22} {value:.1%}" for name, value in main().items()))
