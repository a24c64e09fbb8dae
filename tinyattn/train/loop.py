"""The training loop: one compiled step, over and over, with everything around it that a long run needs.

    trainer = Trainer(model, task, TrainingConfig(steps=2700), run)
    trainer.fit()

A step (loss, derivative, clipping, the optimizer's update) is one program, compiled at the first batch of
each shape. Around it: the validation loss every so often, the best parameters kept, a checkpoint every so
often and at the end.

Ctrl-C (and SIGTERM) let the step finish, save, and raise Interrupted; a run resumed from a checkpoint
continues bit for bit as if it had never stopped. A loss or gradient that is not finite stops the run with a
sentence: no checkpoint after it would be worth anything, and the last one from before is kept.
"""

import contextlib
import math
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from typing import Any

from tinyattn.errors import TinyattnError
from tinyattn.graph.randomness import default_generator
from tinyattn.graph.tensor import Tensor
from tinyattn.runtime.function import function
from tinyattn.train import checkpoint, optim, schedules
from tinyattn.train.checkpoint import Checkpoint
from tinyattn.train.progress import Progress
from tinyattn.train.run import Run

OPTIMIZERS = {"adam": optim.Adam, "adamw": optim.AdamW, "sgd": optim.SGD, "adadelta": optim.Adadelta}
SCHEDULES = ("constant", "linear", "cosine")


class Interrupted(Exception):
    """The run was asked to stop, and has saved `step`."""

    def __init__(self, step: int):
        super().__init__(f"stopped after step {step}")
        self.step = step


@dataclass(frozen=True)
class TrainingConfig:
    """How to train. The schedule brings the learning rate to 0 at the last step, or keeps it ("constant")."""

    steps: int = 2000
    batch_size: int = 64
    seed: int = 0
    optimizer: str = "adam"
    learning_rate: float = 1e-3
    schedule: str = "linear"
    warmup_steps: int = 0
    clip_norm: float = 1.0  # 0: no clipping
    validate_every: int = 300
    checkpoint_every: int = 300
    log_every: int = 20
    keep: int = 2  # numbered checkpoints

    def check(self) -> "TrainingConfig":
        """Raise TinyattnError, with one sentence, for a value that makes no sense."""

        def refuse(name: str, must: str) -> None:
            raise TinyattnError(f"[train] {name} must be {must}, but got {getattr(self, name)!r}.")

        for name in ("steps", "batch_size", "validate_every", "checkpoint_every", "log_every", "keep"):
            if getattr(self, name) < 1:
                refuse(name, "at least 1")
        for name in ("seed", "warmup_steps", "clip_norm"):
            if not getattr(self, name) >= 0:
                refuse(name, "at least 0")
        if not 0 < self.learning_rate < math.inf:
            refuse("learning_rate", "positive")
        if self.warmup_steps and self.schedule == "constant":
            refuse("warmup_steps", "0 with the constant schedule")
        if self.warmup_steps >= self.steps:
            refuse("warmup_steps", "fewer than the steps")
        if self.optimizer not in OPTIMIZERS:
            refuse("optimizer", f"one of {', '.join(OPTIMIZERS)}")
        if self.schedule not in SCHEDULES:
            refuse("schedule", f"one of {', '.join(SCHEDULES)}")
        return self

    def make_optimizer(self, parameters: list[Tensor]) -> optim.Optimizer:
        """The optimizer, with its schedule, for the given parameters."""
        rates = {
            "constant": lambda: schedules.constant(self.learning_rate),
            "linear": lambda: schedules.linear_warmup(self.learning_rate, self.warmup_steps, self.steps),
            "cosine": lambda: schedules.cosine(self.learning_rate, self.steps, self.warmup_steps),
        }
        rate = rates[self.schedule]()
        return OPTIMIZERS[self.optimizer](parameters, lr=rate, clip_norm=self.clip_norm or None)


@dataclass
class Standing:
    """What a run knows of itself besides its parameters; goes into the checkpoint."""

    step: int = 0
    seconds: float = 0.0  # of training, validation included, over all processes that had a part in it
    validation: float | None = None  # the latest validation loss, in nats
    best: float | None = None
    best_step: int = 0
    window: list[float] = field(
        default_factory=lambda: [0.0, 0.0]
    )  # losses since the last log line: sum, count


class Trainer:
    """Trains `model` on `task` in the folder of `run`.

    model: has loss(batch) → scalar Tensor, parameters(), state_dict(), train() and eval(). task: has
    batches(split, batch_size, seed) whose shuffled form has state() and restore(). A batch is a dataclass of
    arrays with `tokens`, how many predictions its loss is the mean of.
    """

    def __init__(
        self, model: Any, task: Any, config: TrainingConfig, run: Run, progress: Progress | None = None
    ):
        self.model, self.task, self.config, self.run = model, task, config.check(), run
        self.optimizer = config.make_optimizer(model.parameters())
        self.batches = task.batches("train", config.batch_size, seed=config.seed)
        self.standing = Standing()
        self.progress = Progress(config.steps, quiet=True) if progress is None else progress
        self._stop = False

        @function
        def step(kind: type, arrays: dict) -> tuple[Tensor, Tensor]:
            loss = model.loss(kind(**arrays))
            return loss, self.optimizer.minimize(loss)

        @function
        def evaluate(kind: type, arrays: dict) -> Tensor:
            return model.loss(kind(**arrays))

        self._step, self._evaluate = step, evaluate

    # State.

    def checkpoint(self) -> Checkpoint:
        """All that the run is, after the last step it did."""
        standing = vars(self.standing).copy()
        return Checkpoint(
            step=standing.pop("step"),
            model=self.model.state_dict(),
            optimizer=self.optimizer.state_dict(),
            random={"state": default_generator.state.storage.array.copy()},
            config=self.run.config,
            data=self.batches.state(),
            progress=standing,
        )

    def restore(self, saved: Checkpoint) -> None:
        """Go on from a checkpoint. Raises CheckpointError, with nothing changed, when it is not of such a
        run.
        """
        random = default_generator.state
        saved.check("model", self.model.state_dict())
        saved.check("optimizer", self.optimizer.state_dict())
        saved.check("random", {"state": random.storage.array})
        self.batches.restore(saved.data)
        self.model.load_state_dict(saved.model)
        self.optimizer.load_state_dict(saved.optimizer)
        random.assign(saved.random["state"])
        known = {entry.name for entry in fields(Standing)}
        self.standing = Standing(saved.step, **{k: v for k, v in saved.progress.items() if k in known})
        self.progress.step = self.progress.first = saved.step
        self.run.truncate_metrics(saved.step)

    def save(self) -> None:
        """Write a checkpoint into the run's folder, and remove the oldest."""
        checkpoint.save(self.run.folder / checkpoint.name_of(self.standing.step), self.checkpoint())
        checkpoint.prune(self.run.folder, self.config.keep)

    # Training.

    def fit(self) -> Standing:
        """Train to the last step. Raises Interrupted after Ctrl-C, TinyattnError at a loss that is not
        finite.
        """
        self.model.train()
        started = time.monotonic() - self.standing.seconds
        try:
            with self._signals():
                while self.standing.step < self.config.steps:
                    self._one_step()
                    self.standing.seconds = time.monotonic() - started
                    step, config = self.standing.step, self.config
                    last = step == config.steps
                    if last or step % config.validate_every == 0:
                        self._validate()
                    if last or step % config.checkpoint_every == 0 or self._stop:
                        self.standing.seconds = time.monotonic() - started
                        self.save()
                    if self._stop:
                        raise Interrupted(step)
        finally:
            self.progress.close()
        return self.standing

    def _one_step(self) -> None:
        standing, config = self.standing, self.config
        batch = next(self.batches)
        loss, norm = self._step(type(batch), vars(batch))
        standing.step += 1
        if not (math.isfinite(loss) and math.isfinite(norm)):
            self._not_finite(float(loss), float(norm))
        standing.window = [standing.window[0] + float(loss), standing.window[1] + 1]
        rate = float(self.optimizer.lr.storage.array)
        self.progress.update(standing.step, batch.tokens, loss=float(loss), lr=rate, grad=float(norm))
        if standing.step % config.log_every == 0 or standing.step == config.steps:
            mean = standing.window[0] / standing.window[1]
            self.run.log(
                {"step": standing.step, "loss": mean, "grad_norm": float(norm), "lr": rate}
                | {"tokens_per_second": round(self.progress.tokens_per_second, 1)}
            )
            standing.window = [0.0, 0.0]

    def _not_finite(self, loss: float, norm: float) -> None:
        step = self.standing.step
        what, value = ("loss", loss) if not math.isfinite(loss) else ("gradient norm", norm)
        kept = checkpoint.saved(self.run.folder)
        last = (
            f"{self.run.folder / kept[-1].name} is the last good checkpoint"
            if kept
            else "there is no checkpoint yet"
        )
        raise TinyattnError(
            f"[train] the {what} must be finite, but got {value} at step {step}; {last}.\n"
            "  Find the operation with ta.debug_nans(), or lower the learning rate."
        )

    def _validate(self) -> None:
        standing = self.standing
        standing.validation = self.evaluate("validation")
        self.progress.values["val"] = standing.validation
        self.run.log({"step": standing.step, "val_loss": standing.validation})
        if standing.best is None or standing.validation < standing.best:
            standing.best, standing.best_step = standing.validation, standing.step
            best = self.checkpoint()
            best.optimizer, best.random = {}, {}
            checkpoint.save(self.run.folder / checkpoint.BEST, best)

    def evaluate(self, split: str) -> float:
        """The mean loss of a split, over its predictions, with dropout off: nats."""
        total, tokens = 0.0, 0
        self.model.eval()
        try:
            for batch in self.task.batches(split, self.config.batch_size):
                total += float(self._evaluate(type(batch), vars(batch))) * batch.tokens
                tokens += batch.tokens
        finally:
            self.model.train()
        return total / tokens

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        """The first Ctrl-C or SIGTERM asks the loop to stop after its step; a second one stops it at once."""
        if threading.current_thread() is not threading.main_thread():
            yield  # signals belong to the main thread
            return
        before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

        def ask(number, frame):
            self._stop = True
            for signum, handler in before.items():
                signal.signal(signum, handler)

        for number in before:
            signal.signal(number, ask)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
