"""What `bench` and `warmup` run: the training step of each model, on random data of typical sizes.

A workload is a named entry: a function from a batch size to a step and its arguments.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

import tinyattn as ta
from tinyattn import models
from tinyattn.errors import TinyattnError
from tinyattn.graph.hints import near
from tinyattn.runtime.function import Function
from tinyattn.tasks.batching import Batch
from tinyattn.train.loop import TrainingConfig


@dataclass
class Workload:
    """A compiled step, what it is called with, the model that it trains, and how many tokens it sees."""

    step: Function
    arguments: tuple
    model: Any
    tokens: int

    def __call__(self) -> Any:
        return self.step(*self.arguments)


@dataclass(frozen=True)
class Entry:
    """A workload by name. ``build(batch_size)`` makes it."""

    build: Callable[[int], Workload]
    batch_size: int
    about: str


def batch(rows: int, source: int, target: int, vocabulary: int) -> Batch:
    """Random sentences of the given lengths, without padding."""
    random = np.random.default_rng(0)
    ids = random.integers(4, vocabulary, (rows, source)), random.integers(4, vocabulary, (rows, target))
    first, second = (part.astype(np.int32) for part in ids)
    return Batch(
        source=first, source_length=np.full(rows, source, np.int32), target_in=second, target_out=second,
        target_length=np.full(rows, target, np.int32), index=np.arange(rows), valid=np.ones(rows, bool),
    )  # fmt: skip


def translation(model: Any, given: Batch) -> Workload:
    """A training step of an encoder-decoder."""
    optimizer = TrainingConfig().make_optimizer(model.parameters())

    @ta.function
    def step(arrays: dict):
        loss = model.loss(Batch(**arrays))
        return loss, optimizer.minimize(loss)

    return Workload(step, (vars(given),), model, given.tokens)


def _translation(name: str, batch_size: int) -> Workload:
    model_class = models.get(name).load()
    return translation(model_class(model_class.Config(60, 60)), batch(batch_size, 20, 20, 60))


def _gpt(batch_size: int) -> Workload:
    from tinyattn.models.gpt import GPT, GPTConfig

    model = GPT(GPTConfig(vocab_size=65, block_size=64, n_layer=4, n_head=4, n_embd=128, bias=False))
    optimizer = model.configure_optimizer()
    text = np.random.default_rng(0).integers(0, 65, (batch_size, 65)).astype(np.int32)

    @ta.function
    def step(tokens, targets):
        loss = model.loss(tokens, targets)
        return loss, optimizer.minimize(loss)

    return Workload(step, (text[:, :-1].copy(), text[:, 1:].copy()), model, batch_size * 64)


WORKLOADS = {
    "bahdanau": Entry(partial(_translation, "bahdanau"), 64, "sentences of 20 words, default sizes"),
    "seq2seq": Entry(partial(_translation, "seq2seq"), 64, "sentences of 20 words, default sizes"),
    "gpt": Entry(_gpt, 12, "4 layers, 4 heads, width 128, 64 tokens of 65, clip 1, AdamW"),
}


def get(name: str) -> Entry:
    """The workload of a model. Raises TinyattnError, with the nearest name, for one that there is none of."""
    wanted = name.lower().replace("_", "-")
    if wanted not in WORKLOADS:
        close = near(wanted, WORKLOADS)
        advice = f"did you mean {close}?" if close else "choose one of these."
        raise TinyattnError(
            f"[bench] the model must be one of {', '.join(WORKLOADS)}, but got {name!r}: {advice}"
        )
    return WORKLOADS[wanted]
