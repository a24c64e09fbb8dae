"""What the tests of several ranks run under mpirun: a small model that has all that depends on the order of things, trained
for some steps.

    python ranks_job.py FOLDER STEPS [key=value …]

Rank 0 prints a digest of all that the run is. A model of two means, with dropout, batch norm and a padded batch.
"""

import hashlib
import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

import tinyattn as ta
from tinyattn import nn, ranks
from tinyattn.models import model as protocol
from tinyattn.train import checkpoint, layout
from tinyattn.train.config import TrainingConfig
from tinyattn.train.loop import Interrupted, Trainer
from tinyattn.train.run import Run

ROWS, LENGTH, WIDTH = 12, 5, 24


@dataclass(frozen=True)
class Rows:
    x: np.ndarray  # (B, T, F)
    label: np.ndarray  # (B, T), −1 where there is none
    bit: np.ndarray  # (B,)

    @property
    def valid(self):
        return np.ones(len(self.x), bool)

    @property
    def weight(self):
        return int((self.label >= 0).sum())


class Stream:
    def __init__(self, seed):
        self.seed, self.position = seed, 0

    def __iter__(self):
        return self

    def __next__(self):
        self.position += 1
        draw = np.random.default_rng((self.seed, self.position))
        x = draw.standard_normal((ROWS, LENGTH, 6)).astype(np.float32)
        label = draw.integers(0, 4, (ROWS, LENGTH)).astype(np.int32)
        label[np.arange(LENGTH) >= draw.integers(1, LENGTH + 1, ROWS)[:, None]] = -1
        return Rows(x, label, draw.integers(0, 2, ROWS).astype(np.int32))

    def state(self):
        return {"seed": self.seed, "position": self.position}

    def restore(self, state):
        self.seed, self.position = state["seed"], state["position"]


class Task:
    name = "rows"

    def batches(self, split, batch_size, seed=None):
        stream = Stream(99 if seed is None else seed)
        return [next(stream) for _ in range(3)] if seed is None else stream


class Model(protocol.Model):
    def __init__(self, dropout=0.3, norm=True):
        self.first, self.hidden = nn.Linear(6, WIDTH), nn.Linear(WIDTH, 200)
        self.norm, self.dropout = nn.BatchNorm1d(WIDTH) if norm else None, nn.Dropout(dropout)
        self.words, self.bits = nn.Linear(200, 4), nn.Linear(200, 2)

    def loss(self, batch):
        return sum(self.means(batch)[1:], self.means(batch)[0])

    def means(self, batch):
        x = self.first(ta.reshape(batch.x, (-1, 6)))
        x = self.dropout(ta.tanh(x if self.norm is None else self.norm(x)))
        x = ta.tanh(self.hidden(x)).reshape(-1, LENGTH, 200)
        words = ta.cross_entropy(self.words(x), batch.label, ignore_index=-1)
        return [words, ta.cross_entropy(self.bits(x[:, 0]), batch.bit)]

    def counts(self, batch):
        return [batch.weight, len(batch.bit)]


layout.LEAST = 1 << 11  # (several buckets, though the model is small)
CONFIG = {"shards": 8, "batch_size": ROWS, "validate_every": 5, "checkpoint_every": 5, "log_every": 5, "optimizer": "adamw", "schedule": "constant",
          "learning_rate": 0.01, "weight_decay": 0.1, "clip_norm": 0.5}  # fmt: skip


def trained(folder, steps, **given):
    """A trainer that has been at it, in a new folder or going on."""
    ta.manual_seed(3)
    config = TrainingConfig(steps=steps, **CONFIG | given)
    there = ranks.on_first((Path(folder) / "config.toml").exists)
    run = Run.open(folder) if there else Run.create(folder, {"training": asdict(config)}, "")
    trainer = Trainer(Model(), Task(), config, run)
    if there:
        trainer.restore(ranks.on_first(lambda: checkpoint.latest(folder)))
    try:
        trainer.fit()
    finally:
        run.close()
    return trainer


def digest(trainer):
    """Of all that depends on the steps."""
    saved = trainer.checkpoint()
    saved.progress.pop("seconds")
    text = json.dumps([saved.step, saved.progress, saved.data], sort_keys=True).encode()
    parts = [saved.model, saved.optimizer, saved.random]
    return hashlib.sha256(text + b"".join(d[k].tobytes() for d in parts for k in sorted(d))).hexdigest()


if __name__ == "__main__":
    where, count, *options = sys.argv[1:]
    values = {key: json.loads(value) for key, value in (option.split("=") for option in options)}
    try:
        found = digest(trained(where, int(count), **values))
    except Interrupted as stop:
        found = f"stopped {stop.step}"
    every = [found] if ranks.group() is None else ranks.group().allgather(found)
    if ranks.rank() == 0:
        print(*sorted(set(every)))
