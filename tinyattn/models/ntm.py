"""The Neural Turing Machine (Graves, Wayne & Danihelka 2014): a network with a memory beside it, which it reads and
writes by attention.

The memory M has N places of W numbers. Each head keeps a weighting w over the places, and at each step moves it by
what the controller emits for it: a key k, a strength β, a gate g, a shift s and a sharpening γ.

    h_t      = controller(x_t, r_{t−1})                     LSTM, or feed-forward: tanh(W [x_t; r_{t−1}] + b)
    w^c_i    = softmax_i(β cos(k, M_i))                     what resembles the key               (eqs. 5, 6)
    w^g      = g w^c + (1 − g) w_{t−1}                      or where the head was                (eq. 7)
    w̃_i      = Σ_j w^g_j s(i − j)                           and then some places on              (eq. 8)
    w_i      = w̃_i^γ / Σ_j w̃_j^γ                            without the blur of it               (eq. 9)
    r_t      = Σ_i w_i M_i                                  of the reading heads                 (eq. 2)
    M_i      ← M_i ⊙ (1 − w_i e) + w_i a                    of the writing heads                 (eqs. 3, 4)
    p_t      = σ(W [h_t; r_t] + b)

with β = softplus, g = σ, γ = 1 + softplus, e = σ of what is emitted. The shift has two forms (section 3.3.2):
"softmax", a distribution over −R … R, and "number", one number u = R tanh(…), of which a shift by 0.7 is 0.3 of 0 and
0.7 of 1. All heads look at the memory that the step before has left; of several that write, first all erase,
then all add. The memory begins with the same small number everywhere, with which it learns soonest (Collier & Beel
2018), and the heads at the first place.

Shapes in comments: T steps, B sequences, F inputs, n hidden, H heads of each kind, N places, W width.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

import tinyattn as ta
from tinyattn import nn
from tinyattn.errors import TinyattnError
from tinyattn.graph.leaf import as_tensor
from tinyattn.graph.scope import scope
from tinyattn.graph.types import fail
from tinyattn.models.lstm_bits import TRAINING
from tinyattn.models.model import Recipe
from tinyattn.models.parts.bits import BitsConfig, BitsModel
from tinyattn.models.parts.checks import check_sizes
from tinyattn.models.parts.recurrent import Cell
from tinyattn.sections import Film, Section
from tinyattn.tasks.task import Answers

CONTROLLERS, SHIFTS = ("lstm", "feedforward"), ("softmax", "number")
DECAYING = TRAINING | {"optimizer": "adamw", "weight_decay": 0.3}
"""With an LSTM as controller: what it doesn't need to remember by itself it forgets, and so has no count of its steps
that would be off in longer sequences.
"""
COPYING = {"wrong_bits_20": 0.01, "wrong_bits_40": 0.5, "bit_error_120": 0.01}
EMPTY = 1e-6
"""What the memory holds at first."""


@dataclass(frozen=True)
class NTMConfig(BitsConfig):
    """Sizes; these are the paper's for copying. controller: "lstm" or "feedforward"; shift: "softmax" or "number";
    heads: of each kind; places: N, of width W; radius: R, the farthest shift.
    """

    controller: str = "lstm"
    shift: str = "softmax"
    heads: int = 1
    places: int = 128
    width: int = 20
    radius: int = 1

    def __post_init__(self):
        """Raise TinyattnError, with one sentence, for a value that makes no sense."""
        check_sizes("NTM", self, shares=(), choices={"controller": CONTROLLERS, "shift": SHIFTS})
        if self.radius >= self.places:
            must = f"radius must be less than the {self.places} places"
            fail(TinyattnError, "NTM", must, f"got {self.radius}")

    @property
    def shifts(self) -> int:
        """How many numbers a head emits for its shift."""
        return 2 * self.radius + 1 if self.shift == "softmax" else 1

    def num_parameters(self) -> int:
        """How many numbers training can change."""
        n, reads = self.hidden, self.heads * self.width
        gates = 4 * n if self.controller == "lstm" else n
        controller = gates * (self.inputs + reads + 1) + (gates * n if self.controller == "lstm" else 0)
        emitted = 2 * self.heads * (self.width + self.shifts + 3) + 2 * reads
        return controller + emitted * (n + 1) + self.outputs * (n + reads + 1)


class Machine(NamedTuple):
    """What is carried from step to step."""

    state: Any  # (h, c), each (B, n), of an LSTM; else ()
    memory: ta.Tensor  # (B, N, W)
    weights: ta.Tensor  # (B, 2H, N): of the heads that read, then of those that write
    reads: ta.Tensor  # (B, H · W)


class NTM(BitsModel):
    """The machine: inputs (B, T, F) and targets (B, T, G), bits, of which the steps asked (B, T) count."""

    Config = NTMConfig
    name = "ntm"
    paper = "Graves, Wayne & Danihelka 2014, Neural Turing Machines"
    documents = "S0"
    varies = ("controller", "shift")
    recipes = (
        Recipe("copy-bits", training=DECAYING, baseline="lstm-bits", targets=COPYING),
        Recipe("copy-bits", {"controller": "feedforward"}, TRAINING, targets=COPYING, variant="feedforward"),
        Recipe("copy-bits", {"shift": "number"}, DECAYING, variant="number"),
        Recipe("repeat-copy", training=DECAYING),
        Recipe("recall", training=TRAINING, targets={"wrong_bits_6": 1.0, "wrong_bits_10": 2.0}),
        Recipe("ngrams", training=TRAINING | {"steps": 4000}, targets={"cost_200": 136.0}),
        Recipe("priority-sort", {"heads": 4}, DECAYING),
    )  # fmt: skip
    config: NTMConfig

    def __init__(self, config: NTMConfig):
        super().__init__()
        self.config = config
        n, reads = config.hidden, config.heads * config.width
        rows = n
        if config.controller == "lstm":
            self.cell, rows = Cell("lstm", n), 4 * n
        self.input = nn.Linear(config.inputs, rows)
        self.reading = nn.Linear(reads, rows, bias=False)
        self.emit = nn.Linear(n, 2 * config.heads * (config.width + config.shifts + 3) + 2 * reads)
        self.output = nn.Linear(n + reads, config.outputs)
        self._watch = ta.function(self._watched)

    def beginning(self, batch: int) -> Machine:
        """The state in front of the first step."""
        c, dtype = self.config, self.emit.weight.dtype
        first = np.zeros((batch, 2 * c.heads, c.places), dtype)
        first[:, :, 0] = 1
        first_place = ta.tensor(first)
        zeros = ta.zeros((batch, c.hidden), dtype)
        return Machine(
            (zeros, zeros) if c.controller == "lstm" else (),
            ta.full((batch, c.places, c.width), EMPTY, dtype),
            first_place,
            ta.zeros((batch, c.heads * c.width), dtype),
        )

    def control(self, part: ta.Tensor, machine: Machine) -> tuple[ta.Tensor, Any]:
        """What depends on the input alone (B, rows) → h_t (B, n) and the controller's state."""
        part = part + self.reading(machine.reads)
        if self.config.controller == "lstm":
            state = self.cell(part, machine.state)
            return state[0], state
        return ta.tanh(part), ()

    def address(self, emitted: ta.Tensor, memory: ta.Tensor, previous: ta.Tensor) -> ta.Tensor:
        """Emitted (B, 2H, W + shifts + 3), memory (B, N, W), weightings (B, 2H, N) → new weightings."""
        if self.config.shift == "softmax":
            return ta.memory_address(emitted, memory, previous)
        width = self.config.width
        strength, gate, shift, gamma = (emitted[..., width + k] for k in range(4))
        content = ta.content_addressing(emitted[..., :width], ta.softplus(strength), memory)
        gated = ta.interpolate(ta.sigmoid(gate), content, previous)
        shifted = ta.circular_shift(gated, self.config.radius * ta.tanh(shift))
        return ta.sharpen(shifted, 1 + ta.softplus(gamma))

    def step(self, machine: Machine, part: ta.Tensor) -> tuple[Machine, tuple[ta.Tensor, ...]]:
        """One step: the machine behind it, and h_t (B, n), r_t (B, H · W) and the weightings (B, 2H, N)."""
        heads, width = self.config.heads, self.config.width
        batch = part.shape[0]
        hidden, state = self.control(part, machine)
        emitted = self.emit(hidden)
        where = 2 * heads * (width + self.config.shifts + 3)
        with scope("address"):
            heads_emitted = emitted[:, :where].reshape(batch, 2 * heads, -1)
            weights = self.address(heads_emitted, machine.memory, machine.weights)
        reads = ta.memory_read(weights[:, :heads], machine.memory).reshape(batch, heads * width)
        erase, add = (x.reshape(batch, heads, width) for x in ta.split(emitted[:, where:], 2, axis=1))
        memory = ta.memory_write(machine.memory, weights[:, heads:], ta.sigmoid(erase), add)
        return Machine(state, memory, weights, reads), (hidden, reads, weights)

    def run(self, steps: ta.Tensor) -> tuple[ta.Tensor, ta.Tensor]:
        """Steps (T, B, F) → logits (T, B, O) and the weightings (T, B, 2H, N)."""
        _, (hidden, reads, weights) = ta.scan(self.step, self.beginning(steps.shape[1]), self.input(steps))
        return self.output(ta.concat([hidden, reads], axis=2)), weights

    def logits(self, steps: ta.Tensor) -> ta.Tensor:
        return self.run(steps)[0]

    def _watched(self, inputs: ta.Tensor) -> ta.Tensor:
        steps = inputs.astype(self.emit.weight.dtype).transpose(1, 0, 2)
        return self.run(steps)[1].transpose(1, 2, 0, 3)

    def addresses(self, inputs: Any) -> np.ndarray:
        """Where the heads look: inputs (B, T, F) → (B, 2H, T, N), first those that read, then those that write."""
        with self.evaluating():
            return np.asarray(self._watch(np.asarray(as_tensor(inputs).numpy())))

    def sample(self, batch: Any) -> Answers:
        """As `answer`, with where the first head of each kind looked at each step: "read" and "write" (T, N)."""
        found, weights = self.answer(batch), self.addresses(batch.inputs)
        last = [int(np.flatnonzero(asked).max(initial=0)) + 1 for asked in np.asarray(batch.asked)]
        for name, head in (("read", 0), ("write", self.config.heads)):
            found.maps[name] = [rows[head, :steps] for rows, steps in zip(weights, last, strict=True)]
        return found

    def sections(self, batch: Any, task: Any) -> list[Section]:
        """Where the heads look, over the steps of a long sequence of the task (`specimen`)."""
        one = task.specimen()
        steps = int(np.flatnonzero(one.asked[0]).max()) + 1
        weights = self.addresses(one.inputs)[0, :, :steps]
        said = [("? " if asked else "") + str(step + 1) for step, asked in enumerate(one.asked[0, :steps])]
        kinds = [(kind, head) for kind in ("reads", "writes") for head in range(1, self.config.heads + 1)]
        films = {
            kind if self.config.heads == 1 else f"{kind}, head {head}": found
            for (kind, head), found in zip(kinds, weights, strict=True)
        }
        caption = "A column is a step (? where an answer is asked for), a row a place of the memory."
        return [Film("Where the heads look", films, said, caption)]
