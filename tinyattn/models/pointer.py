"""Pointer networks (Vinyals, Fortunato & Jaitly 2015), which answer with places in what they were given.

    e_j  = LSTM(e_{j−1}, P_j)                        the encoder reads the points P_1 … P_n
    d_i  = LSTM(d_{i−1}, P_{C_{i−1}})                the decoder is given the point it named last; d_0 = e_n
    u_ij = vᵀ tanh(W_1 e_j + W_2 d_i)                how well point j fits what comes next       (eq. 3)
    p(C_i | C_1 … C_{i−1}, P) = softmax_j u_ij       over the points of this problem

Nothing here is as large as a vocabulary: with the same numbers it can point into problems of any size. In
front of the points stands a slot for the end, with a learned e_0, which answers use that don't name every point once.
The first input of the decoder is learned, too. Nothing forbids to name a point twice, in training or later, but
the search can be kept to answers of the right kind (`valid`): to round trips, as in the paper, and to polygons
whose sides don't cross.

Shapes in comments: B problems, N points, D numbers a point, T steps, H hidden, S = N + 1 slots.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

import tinyattn as ta
from tinyattn import nn
from tinyattn.graph.leaf import as_tensor
from tinyattn.models.model import Model, Recipe, from_task
from tinyattn.models.parts.checks import check_sizes, checked_count
from tinyattn.models.parts.decoding import DEAD, beam_search, repeat
from tinyattn.models.parts.validity import Polygon, Tour
from tinyattn.ops.attention.additive import additive_alignment
from tinyattn.tasks.parts.vocabulary import EOS
from tinyattn.tasks.pointing import NOTHING
from tinyattn.tasks.task import Answers

NOWHERE = 2 * DEAD
"""The score of a slot that isn't there: still a number, so that its derivatives are 0 and not NaN."""
TRAINING: dict[str, Any] = {
    "steps": 12_000, "batch_size": 128, "learning_rate": 3e-3, "schedule": "cosine", "clip_norm": 2.0,
    "validate_every": 1000, "checkpoint_every": 1000,
}  # fmt: skip
SMALL_BATCHES = TRAINING | {
    "steps": 90_000, "batch_size": 32, "learning_rate": 2e-3, "validate_every": 2500, "checkpoint_every": 2500,
}  # fmt: skip
"""Labels have no noise, so many small updates lead further than few large ones."""
BEAM = 3
"""How many beginnings the search keeps, unless asked."""


@dataclass(frozen=True)
class PointerNetworkConfig:
    """Sizes. features: D, numbers of a point; hidden: in the paper 256 or 512. permutation: an answer names every
    point once; polygon: it is a polygon whose sides don't cross: then no others are looked at.
    """

    features: int = from_task()
    permutation: bool = from_task(False)
    polygon: bool = from_task(False)
    hidden: int = 128

    def __post_init__(self):
        """Raise TinyattnError, with one sentence, for a value that makes no sense."""
        check_sizes("PointerNetwork", self, shares=())


class PointerNetwork(Model):
    """The network: points (B, N, D) of which count (B,) are there; slots_in (B, T) are the answers before each
    step, slots_out (B, T) those that are right: the numbers of points from 1, and 0 for the end.
    """

    Config = PointerNetworkConfig
    name = "pointer"
    paper = "Vinyals, Fortunato & Jaitly 2015, Pointer networks"
    documents = "S0"
    families = ("pointing",)
    recipes = (
        Recipe("sort-numbers", training=TRAINING | {"steps": 4000}, targets={"accuracy_5": 0.97}),
        Recipe(
            "hull", training=SMALL_BATCHES,
            targets={"accuracy_5": 0.92, "area_5": 0.995, "accuracy_10": 0.85, "area_20": 0.98},
            reported={"accuracy_5": "92.0 %", "area_5": "99.6 %", "accuracy_10": "87.0 %"},
        ),
        Recipe(
            "tsp", training=TRAINING, targets={"length_5": 2.14, "length_10": 2.95},
            reported={"length_5": "2.12", "length_10": "2.88"},
        ),
        Recipe("delaunay", training=SMALL_BATCHES | {"steps": 20_000}),
    )  # fmt: skip
    config: PointerNetworkConfig

    def __init__(self, config: PointerNetworkConfig):
        self.config = config
        n, width = config.hidden, config.features
        self.encoder, self.decoder = nn.LSTM(width, n), nn.LSTM(width, n)
        self.key = nn.Linear(n, n, bias=False)  # W_1
        self.query = nn.Linear(n, n, bias=False)  # W_2

        def drawn(size: int) -> ta.Tensor:
            return ta.parameter(nn.init.uniform(size, -(n**-0.5), n**-0.5), np.float32)

        self.v, self.start, self.end = drawn(n), drawn(width), drawn(n)
        self._search, self._forced = ta.function(self._best), ta.function(self._predictions)

    def read(self, points: ta.Tensor, count: ta.Tensor) -> tuple[ta.Tensor, ta.Tensor, Any]:
        """Points (B, N, D) and how many of them are no padding (B,) → keys W_1 e_j (B, S, H), which slots there are
        (B, 1, S) bool, and the encoder's last state.
        """
        batch, longest, _ = points.shape
        states, last = self.encoder(points.transpose(1, 0, 2), lengths=count)  # (N, B, H)
        end = ta.broadcast_to(self.end, (batch, 1, self.config.hidden))
        keys = self.key(ta.concat([end, states.transpose(1, 0, 2)], axis=1))
        slot = ta.arange(longest + 1, dtype=count.dtype)
        there = slot.reshape(1, -1) <= count.reshape(-1, 1)
        if self.config.permutation:
            there = ta.logical_and(there, slot > 0)
        return keys, ta.expand_dims(there, 1), last

    def inputs(self, points: ta.Tensor, slots: ta.Tensor) -> ta.Tensor:
        """What the decoder is given after slots (B, T): the points, the learned start after slot 0 → (B, T, D)."""
        batch, _, width = points.shape
        start = ta.broadcast_to(self.start, (batch, 1, width))
        places = ta.broadcast_to(ta.expand_dims(slots, 2), (*slots.shape, width))
        return ta.take_along_axis(ta.concat([start, points], axis=1), places, 1)

    def point(self, states: ta.Tensor, keys: ta.Tensor, there: ta.Tensor) -> ta.Tensor:
        """States d_i (B, T, H), keys (B, S, H) → u (B, T, S), as good as −∞ where there is no slot."""
        return ta.where(there, additive_alignment(self.query(states), keys, self.v), NOWHERE)

    def forward(self, points: Any, count: Any, slots: Any) -> ta.Tensor:
        """Teacher forcing: points (B, N, D), how many each has (B,), the slots said before each step (B, T) → logits
        u (B, T, S).
        """
        points, count, slots = as_tensor(points).astype(self.v.dtype), as_tensor(count), as_tensor(slots)
        keys, there, state = self.read(points, count)
        states, _ = self.decoder(self.inputs(points, slots).transpose(1, 0, 2), state)
        return self.point(states.transpose(1, 0, 2), keys, there)

    def loss(self, batch: Any) -> ta.Tensor:
        """Mean −log p of the slots that are right, in nats."""
        logits = self(batch.points, batch.count, batch.slots_in)
        return ta.cross_entropy(logits, batch.slots_out, ignore_index=NOTHING)

    def _predictions(self, kind: type, arrays: dict) -> ta.Tensor:
        return self.loss(kind(**arrays))

    def answer(self, batch: Any, *, beam: int = BEAM, valid: bool = True) -> Answers:
        """The best answers found, of indices without the end. valid: where an answer names every point once, or is a
        polygon, no others are looked at. Maps: "attention", p(C_i) with which each was chosen (T, S).
        """
        answers = self.sample(batch, beam=beam, valid=valid)
        if batch.weight:
            with self.evaluating():
                loss = float(self._forced(type(batch), vars(batch)))
            answers.nats, answers.predictions = loss * batch.weight, batch.weight
        return answers

    def sample(self, batch: Any, *, beam: int = BEAM, valid: bool = True) -> Answers:
        """The same without what needs right answers."""
        beam = checked_count("answer", "beam", beam)
        with self.evaluating():
            found = self._search(batch.points, batch.count, batch.slots_in.shape[1], beam, bool(valid))
        outputs, maps = [], []
        for tokens, weights, count in zip(found.tokens, found.attention, batch.count, strict=True):
            length = int((tokens > EOS).sum())
            outputs.append([int(token) - EOS - 1 for token in tokens[:length]])
            maps.append(weights[: length + (not self.config.permutation), : int(count) + 1])
        return Answers(outputs, {"attention": maps}, [float(score) for score in found.score])

    def _best(self, points: ta.Tensor, count: ta.Tensor, steps: int, beam: int, valid: bool) -> Any:
        """Beam search over tokens: EOS + s is slot s. An answer that names every point once ends behind as many."""
        points = points.astype(self.v.dtype)
        batch, longest, _ = points.shape
        keys, there, last = self.read(points, count)
        tours = self.config.permutation
        rows = repeat((points, keys, there, *(part[0] for part in last)), beam)
        path: Tour | Polygon | None = None
        if tours:
            path = Tour.nothing(rows[0], repeat((count,), beam)[0])
        elif self.config.polygon and valid:
            path = Polygon.nothing(rows[0])

        def step(state: Any, tokens: ta.Tensor) -> Any:
            points, keys, there, hidden, memory, path = state
            slot = ta.maximum(tokens - EOS, 0)  # BOS and PAD are like slot 0
            inputs = self.inputs(points, slot.reshape(-1, 1)).transpose(1, 0, 2)  # (1, R, D)
            states, (hidden, memory) = self.decoder(
                inputs, (ta.expand_dims(hidden, 0), ta.expand_dims(memory, 0))
            )
            scores = self.point(states.transpose(1, 0, 2), keys, there).reshape(-1, longest + 1)
            chances = ta.log_softmax(scores)
            weights = ta.exp(chances)
            if path is not None:
                path = path.grown(points, slot)
                allowed = path.allowed(points, valid) if tours else path.allowed(points)
                if tours:  # they end by themselves
                    chances = ta.where(ta.arange(longest + 1) == 0, 0.0, chances)
                chances = ta.where(allowed, chances, NOWHERE)
            specials = ta.full((chances.shape[0], EOS), NOWHERE, chances.dtype)
            state = points, keys, there, hidden[0], memory[0], path
            return state, ta.concat([specials, chances], axis=1), weights

        return beam_search(step, (*rows, path), batch, beam, steps + tours)
