"""A cell with a memory that is read and written by attention, as in a neural Turing machine (Graves et al. 2014).

    python examples/memory_cell.py

Three vectors of four bits are shown, then said again; only the memory can keep them. Beside it a guess.
"""

import numpy as np

import tinyattn as ta
from tinyattn import nn

BITS, LENGTH, PLACES, WIDTH, HIDDEN = 4, 3, 8, 8, 32


class Cell(nn.Module):
    """One step: input (B, BITS + 1) and the state (memory, weights) → logits (B, BITS) and the new state."""

    def __init__(self) -> None:
        self.controller = nn.Linear(BITS + 1 + WIDTH, HIDDEN)
        sizes = {"key": WIDTH, "erase": WIDTH, "add": WIDTH, "gates": 3, "shift": 3}
        self.emit = nn.ModuleDict({name: nn.Linear(HIDDEN, size) for name, size in sizes.items()})
        self.output = nn.Linear(HIDDEN + WIDTH, BITS)

    def forward(self, x: ta.Tensor, state: tuple) -> tuple:
        """Equations 2 to 9, with one weighting to read and to write."""
        memory, weights = state
        seen = ta.memory_read(weights, memory)
        h = ta.tanh(self.controller(ta.concat([x, seen], axis=1)))
        out = {name: layer(h) for name, layer in self.emit.items()}
        strength, gate, gamma = (out["gates"][:, k] for k in range(3))
        found = ta.content_addressing(out["key"], ta.softplus(strength), memory)
        moved = ta.circular_shift(ta.interpolate(ta.sigmoid(gate), found, weights), ta.softmax(out["shift"]))
        weights = ta.sharpen(moved, 1 + ta.softplus(gamma))
        memory = ta.memory_write(memory, weights, ta.sigmoid(out["erase"]), ta.tanh(out["add"]))
        return self.output(ta.concat([h, ta.memory_read(weights, memory)], axis=1)), (memory, weights)


def main(steps: int = 1500) -> dict[str, float]:
    """The share of bits said right in 500 new sequences."""
    ta.manual_seed(0)
    cell, rng = Cell(), np.random.default_rng(0)
    optimizer = ta.optim.Adam(cell.parameters(), lr=5e-3, clip_norm=5.0)

    def said(bits):
        flag = np.eye(BITS + 1, dtype=np.float32)[-1]
        shown = (ta.pad(bits, ((0, 0), (0, LENGTH), (0, 1))) + flag).transpose(1, 0, 2)
        first = ta.one_hot(ta.zeros((bits.shape[0],), np.int32), PLACES)
        start = ta.zeros((bits.shape[0], PLACES, WIDTH)), first
        return ta.scan(lambda state, x: cell(x, state)[::-1], start, shown)[1][LENGTH:].transpose(1, 0, 2)

    step = ta.function(lambda bits: optimizer.minimize(ta.bce_with_logits(said(bits), bits)))
    for _ in range(steps):
        step(rng.integers(0, 2, (32, LENGTH, BITS)).astype(np.float32))
    bits = np.random.default_rng(1).integers(0, 2, (500, LENGTH, BITS)).astype(np.float32)
    return {"with a memory": float(((said(ta.tensor(bits)).numpy() > 0) == bits).mean()), "a guess": 0.5}


if __name__ == "__main__":
    print("\n".join(f"{name:16} {value:.1%}" for name, value in main().items()))
