"""SNAIL, the simple neural attentive learner (Mishra, Rohaninejad, Chen & Abbeel 2018, section 3), which learns to
learn: what it has seen so far in a sequence is all that it knows of the task at hand.

Three blocks, each of which adds what it finds to what it is given, X (T, C), with nothing of a later step:

    CausalConv(R, D)      y_t = W_0 x_{t−R} + W_1 x_t + b             kernel 2, dilation R, D filters
    DenseBlock(R, D)      [X, tanh(CausalConv(X)) ⊙ σ(CausalConv(X))]                            (T, C + D)
    TCBlock(T, D)         DenseBlock(2ⁱ, D) for i = 0 … ⌈log₂ T⌉ − 1, each upon the last         (T, C + D ⌈log₂ T⌉)
    AttentionBlock(K, V)  [X, softmax(Q Kᵀ / √K, over earlier steps and t itself) V]             (T, C + V)

After a TCBlock the last step has seen all T: dilations 1, 2, 4, … sum to T − 1 or more. (The paper's appendix lets them
begin with 2, and every other step would be invisible.) Convolutions see precise places, but coarsely what is far;
attention sees all places, but knows of no order: each makes up for what the other lacks.

Few-shot classification: drawings through a convolutional network, each with its label, then the query with none:

    Attention(64, 32), TC(T, 128), Attention(256, 128), TC(T, 128), Attention(512, 256), 1×1 convolution to N logits

and the loss is −log p of the query's label, at the last step. Reinforcement learning: each step is given the arm that
was pulled before it, and the reward. A policy TC(T, 32), TC(T, 32), Attention(32, 32) and a value of half the width
share the first layer, and the loss is that of actor and critic, with advantages as in `parts/playing.py`:

    −Σ_t Â_t log π(a_t) − c_H Σ_t H(π_t) + c_V Σ_t (V_t − Â_t − V_t)²        Â_t constants, and so the target Â_t + V_t

Playing is part of the graph: the trial is unrolled step by step, and what each block needs of earlier steps is kept. A
compiled step plays, learns from it and updates, in one program.

Shapes in comments: B episodes, T steps, C channels so far, N choices.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

import tinyattn as ta
from tinyattn import nn
from tinyattn.errors import TinyattnError
from tinyattn.graph.leaf import as_tensor
from tinyattn.graph.types import fail
from tinyattn.models.model import Model, Recipe, from_task
from tinyattn.models.parts.checks import check_sizes
from tinyattn.models.parts.playing import advantages, drawn
from tinyattn.tasks.task import Answers

Past = list[Any]
"""What a block keeps of the steps so far, an entry each."""
Weights = list[ta.Tensor] | None
"""Where attention looked is added to it, if it is a list."""


TRAINING: dict[str, Any] = {
    "learning_rate": 1e-3, "schedule": "linear", "validate_every": 500, "checkpoint_every": 500,
}  # fmt: skip


@dataclass(frozen=True)
class SNAILConfig:
    """Sizes. filters: D of the dense blocks (the paper: 128, and 32 for bandits); the keys and values of attention
    follow from it. channels, features: of the network that looks at drawings, in its layers and at its end.
    discount, trace: γ and λ; entropy, value: c_H and c_V. convolution, attention: False leaves these blocks out.

    choices: N, of labels or arms; length: T; image_size: pixels of a side, 0 where there are no drawings, but arms
    to be pulled.
    """

    choices: int = from_task()
    length: int = from_task()
    image_size: int = from_task(0)  # 0: there are no drawings, but arms to be pulled
    filters: int = 128
    channels: int = 64
    features: int = 64
    discount: float = 0.99
    trace: float = 0.3
    entropy: float = 0.01
    value: float = 0.5
    convolution: bool = True
    attention: bool = True

    def __post_init__(self):
        """Raise TinyattnError, with one sentence, for a value that makes no sense."""
        check_sizes("SNAIL", self, shares=())
        for name in ("discount", "trace", "entropy", "value"):
            share = getattr(self, name)
            if not isinstance(share, (int, float)) or not 0 <= share <= 1:
                fail(TinyattnError, "SNAIL", f"{name} must be a number from 0 to 1", f"got {share!r}")


class DenseBlock(nn.Module):
    """The outputs of two causal convolutions, one a gate of the other, beside the input."""

    def __init__(self, inputs: int, filters: int, dilation: int):
        self.dilation = dilation
        self.before = nn.Linear(inputs, 2 * filters, bias=False)  # W_0, of both
        self.now = nn.Linear(inputs, 2 * filters)  # W_1 and b

    def forward(self, x: ta.Tensor, weights: Weights = None) -> ta.Tensor:
        """(B, T, C) → (B, T, C + D)."""
        steps = x.shape[1]
        earlier = self.before(x[:, : max(0, steps - self.dilation)])
        return self._joined(x, ta.pad(earlier, ((0, 0), (steps - earlier.shape[1], 0), (0, 0))))

    def step(self, x: ta.Tensor, past: Past, weights: Weights = None) -> ta.Tensor:
        """The next step alone: (B, C) → (B, C + D)."""
        past.append(self.before(x))
        return self._joined(x, past[-1 - self.dilation] if len(past) > self.dilation else None)

    def _joined(self, x: ta.Tensor, earlier: ta.Tensor | None) -> ta.Tensor:
        y = self.now(x)
        f, g = ta.split(y if earlier is None else y + earlier, 2, axis=-1)
        return ta.concat([x, ta.tanh(f) * ta.sigmoid(g)], axis=-1)


class AttentionBlock(nn.Module):
    """What each step finds in itself and those before it, beside the input."""

    def __init__(self, inputs: int, key: int, value: int):
        self.query, self.key = nn.Linear(inputs, key), nn.Linear(inputs, key)
        self.value = nn.Linear(inputs, value)

    def forward(self, x: ta.Tensor, weights: Weights = None) -> ta.Tensor:
        """(B, T, C) → (B, T, C + V). Weights: (B, T, T)."""
        return self._joined(x, (self.query(x), self.key(x), self.value(x)), weights, is_causal=True)

    def step(self, x: ta.Tensor, past: Past, weights: Weights = None) -> ta.Tensor:
        """The next step t alone: (B, C) → (B, C + V). Weights: (B, 1, t)."""
        x = ta.expand_dims(x, 1)
        past.append((self.key(x), self.value(x)))
        keys, values = (ta.concat(parts, axis=1) for parts in zip(*past, strict=True))
        return ta.squeeze(self._joined(x, (self.query(x), keys, values), weights), 1)

    @staticmethod
    def _joined(x: ta.Tensor, parts: tuple, weights: Weights, **masking: bool) -> ta.Tensor:
        if weights is None:
            return ta.concat([x, ta.attention(*parts, **masking)], axis=-1)
        found, looked = ta.attention(*parts, return_weights=True, **masking)
        weights.append(looked)
        return ta.concat([x, found], axis=-1)


class Stack(nn.Module):
    """Blocks upon each other, then a linear layer. parts: (D,) for a TCBlock, (K, V) for an AttentionBlock."""

    def __init__(self, inputs: int, length: int, parts: Sequence[Any], outputs: int):
        blocks: list[Any] = []
        for sizes in parts:
            attention, width = len(sizes) == 2, sizes[-1]
            for i in range(1 if attention else math.ceil(math.log2(length))):
                blocks += [AttentionBlock(inputs, *sizes) if attention else DenseBlock(inputs, width, 2**i)]
                inputs += width
        self.blocks = nn.ModuleList(blocks)
        self.output = nn.Linear(inputs, outputs)

    def forward(self, x: ta.Tensor, weights: Weights = None) -> ta.Tensor:
        """(B, T, C) → (B, T, outputs)."""
        for block in self.blocks:
            x = block(x, weights)
        return self.output(x)

    def step(self, x: ta.Tensor, past: list[Past], weights: Weights = None) -> ta.Tensor:
        """The next step alone: (B, C) → (B, outputs). past: of each block."""
        for block, own in zip(self.blocks, past, strict=True):
            x = block.step(x, own, weights)
        return self.output(x)

    def nothing(self) -> list[Past]:
        """The past before the first step."""
        return [[] for _ in self.blocks]


class Look(nn.Module):
    """A drawing as a few numbers: 3 × 3 convolution, batch norm, relu and 2 × 2 pooling until one pixel is left."""

    def __init__(self, size: int, channels: int, features: int):
        layers: list[nn.Module] = []
        while size > 1:
            layers += [nn.Conv2d(channels if layers else 1, channels, 3, padding=1, bias=False)]
            layers += [nn.BatchNorm2d(channels), nn.ReLU(), nn.MaxPool2d(2)]
            size //= 2
        self.layers = nn.Sequential(*layers)
        self.output = nn.Linear(channels if layers else 1, features)

    def forward(self, images: ta.Tensor) -> ta.Tensor:
        """(B, T, 1, H, H) → (B, T, features)."""
        batch, steps, *one = images.shape
        found = self.layers(ta.reshape(images, (batch * steps, *one)))
        return ta.reshape(self.output(ta.reshape(found, (batch * steps, -1))), (batch, steps, -1))


@dataclass
class Game:
    """What was played: arms and rewards (B, T), logits (B, T, N) and values (B, T) before each pull."""

    arms: ta.Tensor
    rewards: ta.Tensor
    logits: ta.Tensor
    values: ta.Tensor


class SNAIL(Model):
    """The learner: of drawings where the task has some, images (B, T, C, H, W) with the labels shown (B, K), the
    query last, and label (B,); else a player of bandits.
    """

    Config = SNAILConfig
    name = "snail"
    paper = "Mishra, Rohaninejad, Chen & Abbeel 2018, A simple neural attentive meta-learner"
    documents = "S0"
    families = ("few-shot", "bandit")
    varies = ("convolution", "attention")
    recipes = (
        Recipe(
            "glyphs",
            sizes={"filters": 64, "channels": 32},
            training=TRAINING | {"steps": 6000, "batch_size": 32},
            targets={"accuracy": 0.95},
        ),
        Recipe(
            "omniglot",
            sizes={"filters": 64, "channels": 32},
            training=TRAINING | {"steps": 10_000, "batch_size": 16},
            targets={"accuracy": 0.9},
            reported={"accuracy": "99.07 % (all of Omniglot)"},
        ),
        Recipe(
            "bandit",
            sizes={"filters": 32, "entropy": 0.05},
            training=TRAINING
            | {"steps": 6000, "batch_size": 128, "learning_rate": 5e-4, "validate_every": 250},
            targets={"reward": 6.4},
            reported={"reward": "6.6"},
        ),
    )
    config: SNAILConfig

    def __init__(self, config: SNAILConfig):
        self.config = c = config
        f = c.filters

        def parts(*given: Any) -> list[Any]:
            return [sizes for sizes in given if (c.attention if len(sizes) == 2 else c.convolution)]

        if c.image_size:
            self.look = Look(c.image_size, c.channels, c.features)
            half, quarter = max(1, f // 2), max(1, f // 4)
            learner = parts((half, quarter), (f,), (2 * f, f), (f,), (4 * f, 2 * f))
            self.policy = Stack(c.features + c.choices, c.length, learner, c.choices)
        else:
            self.first = nn.Linear(c.choices + 1, f)
            half = max(1, f // 2)
            self.policy = Stack(f, c.length, parts((f,), (f,), (f, f)), c.choices)
            self.critic = Stack(f, c.length, parts((half,), (half,), (half, half)), 1)
        self._answered = ta.function(self._said if c.image_size else self._pulled)

    # Few-shot classification.

    def forward(self, images: Any, shown: Any, weights: Weights = None) -> ta.Tensor:
        """Drawings (B, T, 1, H, H) and the labels (B, T − 1) of all but the last → logits (B, N) of the last one's."""
        labels = ta.one_hot(as_tensor(shown), self.config.choices, self.policy.output.weight.dtype)
        x = ta.concat([self.look(as_tensor(images)), ta.pad(labels, ((0, 0), (0, 1), (0, 0)))], axis=2)
        return self.policy(x, weights)[:, -1]

    def _said(self, images: ta.Tensor, shown: ta.Tensor) -> tuple[ta.Tensor, list[ta.Tensor]]:
        weights: list[ta.Tensor] = []
        return ta.log_softmax(self(images, shown, weights)), weights

    # Reinforcement learning.

    def play(self, pays: Any, luck: Any, weights: Weights = None) -> Game:
        """Trials with these pays (B, T, N) and luck (B, T). In training arms are drawn, else the likeliest is pulled.
        Weights: (B, T, T) of each block of attention of the policy."""
        pays, arms = as_tensor(pays).astype(self.first.weight.dtype), self.config.choices
        batch, steps, _ = pays.shape
        policy, critic = self.policy.nothing(), self.critic.nothing()
        seen = ta.zeros((batch, arms + 1), pays.dtype)
        found: list[tuple[ta.Tensor, ...]] = []
        looked: list[list[ta.Tensor]] = []
        for t in range(steps):
            x = ta.relu(self.first(seen))
            looked.append([])
            logits = self.policy.step(x, policy, None if weights is None else looked[-1])
            value = self.critic.step(x, critic)[:, 0]
            arm = drawn(logits, luck[:, t]) if self.training else ta.argmax(logits, axis=1)
            pulled = ta.one_hot(arm, arms, pays.dtype)
            reward = ta.sum(pulled * pays[:, t], axis=1)  # of the others nothing is seen
            seen = ta.concat([pulled, ta.expand_dims(reward, 1)], axis=1)
            found.append((arm, reward, logits, value))
        if weights is not None:
            for rows in zip(*looked, strict=True):
                full = [ta.pad(row, ((0, 0), (0, 0), (0, steps - 1 - t))) for t, row in enumerate(rows)]
                weights.append(ta.concat(full, axis=1))
        return Game(*(ta.stack(parts, axis=1) for parts in zip(*found, strict=True)))

    def _pulled(self, pays: ta.Tensor, luck: ta.Tensor) -> tuple[ta.Tensor, list[ta.Tensor]]:
        weights: list[ta.Tensor] = []
        return self.play(pays, luck, weights).arms, weights

    def surrogate(self, game: Game) -> ta.Tensor:
        """What is minimised of each trial (B,): its gradient is that of actor and critic."""
        c = self.config
        advantage = ta.stop_gradient(advantages(game.rewards, game.values, c.discount, c.trace))
        target = ta.stop_gradient(game.values) + advantage
        sample = ta.one_hot(game.arms, c.choices, game.logits.dtype)
        actor = ta.score_function(game.logits, sample, advantage, entropy_weight=c.entropy)
        return ta.sum(actor + c.value * ta.square(game.values - target), axis=1)

    # Both.

    def loss(self, batch: Any) -> ta.Tensor:
        """Of drawings the mean −log p of the labels that are asked for. Of trials a number whose value is what can be
        understood, the mean reward with a minus, and whose gradient is that of the surrogate."""
        if self.config.image_size:
            return ta.cross_entropy(self(batch.images, batch.shown), batch.label, ignore_index=-1)
        game = self.play(batch.pays, batch.draw)
        learned = self.surrogate(game)
        rows = learned - ta.stop_gradient(learned + ta.sum(game.rewards, axis=1))
        return ta.sum(ta.where(batch.valid, rows, 0.0)) / ta.sum(ta.cast(batch.valid, rows.dtype))

    def answer(self, batch: Any) -> Answers:
        """The likeliest label of each drawing; or the arms that are pulled in each trial (T,). Maps: "attention 1", …
        (T, T)."""
        drawings = bool(self.config.image_size)
        with self.evaluating():
            given = (batch.images, batch.shown) if drawings else (batch.pays, batch.draw)
            said, weights = self._answered(*given)
        maps = {f"attention {k}": [*each] for k, each in enumerate(weights, 1)}
        if not drawings:
            return Answers([*said], maps)
        known = np.flatnonzero(batch.label >= 0)
        nats = -float(said[known, batch.label[known]].sum())
        return Answers([*said.argmax(1)], maps, [*said.max(1)], nats, len(known))
