"""How a model is trained: the settings of a run, and the optimizer that they stand for."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tinyattn.errors import TinyattnError, brief
from tinyattn.graph.tensor import Tensor
from tinyattn.train import optim, schedules

OPTIMIZERS = {"adam": optim.Adam, "adamw": optim.AdamW, "sgd": optim.SGD, "adadelta": optim.Adadelta}
SCHEDULES = ("constant", "linear", "cosine", "noam")
MOST_SHARDS = 1 << 16


@dataclass(frozen=True)
class TrainingConfig:
    """How to train. The schedule brings the learning rate to `minimum_rate` of it at the last step, or keeps
    it ("constant"), or lets it fall with the root of the step from `warmup_steps` on, where it is greatest ("noam",
    Vaswani et al. 2017, eq. 3: their rate there is 1/√(d_model · warmup_steps))."""

    steps: int = 2000
    batch_size: int = 64
    seed: int = 0
    optimizer: str = "adam"
    learning_rate: float = 1e-3
    schedule: str = "linear"
    warmup_steps: int = 0
    minimum_rate: float = 0.0  # where the schedule ends, as a share of the learning rate
    beta1: float = 0.9  # of adam and adamw
    beta2: float = 0.999
    weight_decay: float = 0.0  # of adamw, and of matrices only: biases and gains of norms don't decay
    clip_norm: float = 1.0  # 0: no clipping
    validate_every: int = 300
    checkpoint_every: int = 300
    log_every: int = 20
    keep: int = 2  # numbered checkpoints
    shards: int = 0  # pieces of a batch that ranks share, see train/shards.py; 0: it is one (under mpirun: 8)
    share_optimizer: bool = False  # each rank keeps the moments of its part of the parameters alone
    start: str = ""  # what the parameters begin from: the folder of a run, "MODEL on TASK", or initial values

    @property
    def pieces(self) -> int:
        """Into how many shards a batch is cut: no more than it has rows; 0 where it is one."""
        return min(self.shards, self.batch_size)

    def check(self) -> "TrainingConfig":
        """Raise TinyattnError, with one sentence, for a value that makes no sense."""

        def refuse(name: str, must: str) -> None:
            raise TinyattnError(f"[train] {name} must be {must}, but got {brief(getattr(self, name))}.")

        for name in ("steps", "batch_size", "validate_every", "checkpoint_every", "log_every", "keep"):
            if getattr(self, name) < 1:
                refuse(name, "at least 1")
        if not 0 <= self.seed < 1 << 63:
            refuse("seed", "a whole number from 0 to 2**63 - 1")
        if not 0 <= self.shards <= MOST_SHARDS:
            refuse("shards", f"a whole number from 0 to {MOST_SHARDS}")
        for name in ("warmup_steps", "clip_norm", "weight_decay"):
            if not getattr(self, name) >= 0:
                refuse(name, "at least 0")
        if not 0 < self.learning_rate < math.inf:
            refuse("learning_rate", "positive")
        if self.warmup_steps and self.schedule == "constant":
            refuse("warmup_steps", "0 with the constant schedule")
        if self.warmup_steps >= self.steps:
            refuse("warmup_steps", "fewer than the steps")
        for name in ("beta1", "beta2"):
            if not 0 <= getattr(self, name) < 1:
                refuse(name, "at least 0 and less than 1")
        if not 0 <= self.minimum_rate <= 1:
            refuse("minimum_rate", "from 0 to 1")
        if self.weight_decay and self.optimizer != "adamw":
            refuse("weight_decay", "0 with other optimizers than adamw")
        if self.optimizer not in OPTIMIZERS:
            refuse("optimizer", f"one of {', '.join(OPTIMIZERS)}")
        if self.schedule not in SCHEDULES:
            refuse("schedule", f"one of {', '.join(SCHEDULES)}")
        return self

    def make_optimizer(self, parameters: list[Tensor], axes: Sequence[int] | None = None) -> optim.Optimizer:
        """The optimizer, with its schedule, for the given parameters; or for pieces of some that have so many axes."""
        floor, warmup = self.minimum_rate * self.learning_rate, max(1, self.warmup_steps)
        rates = {
            "constant": lambda: schedules.constant(self.learning_rate),
            "linear": lambda: schedules.linear_warmup(
                self.learning_rate, self.warmup_steps, self.steps, floor
            ),
            "cosine": lambda: schedules.cosine(self.learning_rate, self.steps, self.warmup_steps, floor),
            "noam": lambda: schedules.noam(1, warmup, self.learning_rate * warmup**0.5),
        }
        options: dict[str, Any] = {"lr": rates[self.schedule](), "clip_norm": self.clip_norm or None}
        if self.optimizer in ("adam", "adamw"):
            options["betas"] = (self.beta1, self.beta2)
        groups: Any = parameters
        if self.optimizer == "adamw":
            options["weight_decay"] = self.weight_decay
            known = list(zip(parameters, axes or [w.ndim for w in parameters], strict=True))
            vectors = [w for w, rank in known if rank < 2]
            if self.weight_decay and vectors:
                groups = [
                    {"params": [w for w, rank in known if rank > 1]},
                    {"params": vectors, "weight_decay": 0.0},
                ]
        return OPTIMIZERS[self.optimizer](groups, **options)
