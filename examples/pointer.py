"""A pointer network from scratch, its loops written with `ta.scan`: numbers are pointed at from the smallest up.

    python examples/pointer.py

u_j = vᵀ tanh(W₁ e_j + W₂ d_i), p = softmax(u) over the inputs (Vinyals et al. 2015, eq. 3). A loop is one node.
"""

import numpy as np

import tinyattn as ta
from tinyattn import nn

SIZE, WIDTH = 5, 48


class Pointer(nn.Module):
    """Numbers (B, T) and those pointed at before each step (B, T) → log-probabilities of the places (B, T, T)."""

    def __init__(self) -> None:
        self.reader, self.writer = nn.LSTMCell(1, WIDTH), nn.LSTMCell(1, WIDTH)
        self.W1, self.W2 = nn.Linear(WIDTH, WIDTH, bias=False), nn.Linear(WIDTH, WIDTH, bias=False)
        self.v = ta.parameter(nn.init.normal((WIDTH,), std=0.3), np.float32)

    def loop(self, cell: nn.LSTMCell, state: tuple, values: ta.Tensor) -> tuple:
        """The last state, and the hidden one of each step (T, B, WIDTH)."""
        step = lambda state, x: (new := cell(x, state), new[0])
        return ta.scan(step, state, values.T.reshape(SIZE, -1, 1))

    def forward(self, numbers: ta.Tensor, given: ta.Tensor) -> ta.Tensor:
        """Reading, then writing: the writer's state asks, what was read answers."""
        state, read = self.loop(self.reader, (ta.zeros((numbers.shape[0], WIDTH)),) * 2, numbers)
        asked = self.W2(self.loop(self.writer, state, given)[1]).transpose(1, 0, 2)
        return ta.log_softmax(ta.additive_alignment(asked, self.W1(read).transpose(1, 0, 2), self.v))


def batch(count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Numbers, what is pointed at before each step (0 at first), and where the right places are."""
    numbers = rng.random((count, SIZE), np.float32)
    order = np.argsort(numbers, axis=1).astype(np.int32)
    return numbers, np.pad(np.take_along_axis(numbers, order, 1)[:, :-1], ((0, 0), (1, 0))), order


def main(steps: int = 600) -> dict[str, float]:
    """The share of places that are right in 500 new lists; beside it, always the first place and so on."""
    rng, (numbers, given, right) = np.random.default_rng(0), batch(500, np.random.default_rng(1))
    ta.manual_seed(0)
    model = Pointer()
    optimizer = ta.optim.Adam(model.parameters(), lr=5e-3, clip_norm=2.0)
    step = ta.function(lambda x, g, y: optimizer.minimize(ta.nll_loss(model(x, g), y)))
    for _ in range(steps):
        step(*batch(64, rng))
    said = model(numbers, given).numpy().argmax(axis=2)
    return {
        "pointer": float((said == right).mean()),
        "as they stand": float((np.arange(SIZE) == right).mean()),
    }


if __name__ == "__main__":
    print("\n".join(f"{name:16} {value:.1%}" for name, value in main().items()))
