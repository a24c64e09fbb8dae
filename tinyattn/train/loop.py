"""The training loop: one compiled step, over and over, with everything around it that a long run needs.

    trainer = Trainer(model, task, TrainingConfig(steps=2700), run)
    trainer.fit()

A step (loss, derivative, clipping, the optimizer's update) is one program, compiled at the first batch of
each shape; a model with several objectives, such as a GAN, has one for each. Around it: the validation loss
every so often, the best parameters kept, a checkpoint every so often and at the end.

Ctrl-C (and SIGTERM) let the step finish, save, and raise Interrupted; a run resumed from a checkpoint
continues bit for bit as if it had never stopped. Under ``mpirun`` the ranks take each step together (see
``shards.py``), and stop after the same one. A loss or gradient that is not finite stops the run with a
sentence: no checkpoint after it would be worth anything, and the last one from before is kept.
"""

import contextlib
import math
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields, replace
from typing import Any

from tinyattn import ranks
from tinyattn.errors import CheckpointError, DataError, Interrupted, TinyattnError, brief
from tinyattn.graph.randomness import default_generator
from tinyattn.graph.tensor import Tensor
from tinyattn.runtime.function import function
from tinyattn.train import checkpoint
from tinyattn.train.checkpoint import Arrays, Checkpoint
from tinyattn.train.config import TrainingConfig
from tinyattn.train.optimizer import Optimizer
from tinyattn.train.progress import Progress
from tinyattn.train.run import Run
from tinyattn.train.shards import ShardedStep


@dataclass
class Standing:
    """What a run knows of itself besides its parameters; goes into the checkpoint."""

    step: int = 0
    seconds: float = 0.0  # of training, validation included, over all processes that had a part in it
    validation: float | None = None  # the latest validation loss, in nats
    best: float | None = None
    best_step: int = 0
    window: list[float] = field(default_factory=list)
    """Since the last log line: the sum of each objective's losses, and the number of steps."""


class Pursuit:
    """An objective at work: its optimizer, and its compiled step."""

    def __init__(self, objective: Any, config: TrainingConfig):
        self.name = objective.name
        own = {"learning_rate": objective.rate * config.learning_rate} | objective.settings
        make = replace(config, **own).check().make_optimizer
        self.sharded = None
        if config.pieces:
            self.sharded = ShardedStep(objective, config.pieces, make, config.share_optimizer)
            self.optimizer: Optimizer = self.sharded.optimizer
            return
        self.optimizer = make(objective.parameters)

        @function
        def step(kind: type, arrays: dict) -> tuple[Tensor, Tensor]:
            loss = objective.loss(kind(**arrays))
            return loss, self.optimizer.minimize(loss)

        self.step = step

    def take(self, batch: Any, asked: Callable[[], bool]) -> tuple[float, float, bool | None]:
        """Update the parameters: the loss, the norm of its gradient, and with shards whether a rank is ``asked`` to
        stop.
        """
        if self.sharded:
            return self.sharded.take(batch, asked)
        loss, norm = self.step(type(batch), vars(batch))
        return float(loss), float(norm), None

    def state_dict(self) -> Arrays:
        """The state of its optimizer."""
        return self.sharded.state_dict() if self.sharded else self.optimizer.state_dict()

    def load_state_dict(self, given: Arrays) -> None:
        """Restore it."""
        if self.sharded:
            self.sharded.load_state_dict(given)
        else:
            self.optimizer.load_state_dict(given)


class Trainer:
    """Trains a Model on a Task (see models/model.py and tasks/task.py) in the folder of `run`."""

    def __init__(
        self, model: Any, task: Any, config: TrainingConfig, run: Run, progress: Progress | None = None
    ):
        self.model, self.task, self.config, self.run = model, task, config.check(), run
        self.pursuits = [Pursuit(objective, config) for objective in model.objectives()]
        self.batches = task.batches("train", config.batch_size, seed=config.seed)
        self.standing = Standing(window=self._empty_window())
        self.progress = Progress(config.steps, quiet=True) if progress is None else progress
        self._asked = False

        @function
        def evaluate(kind: type, arrays: dict) -> Tensor:
            return model.loss(kind(**arrays))

        self._evaluate = evaluate

    def _empty_window(self) -> list[float]:
        return [0.0] * (len(self.pursuits) + 1)

    def _optimizers(self) -> Arrays:
        """The state of all optimizers; with several objectives each array has its objective's name in front."""
        if len(self.pursuits) == 1:
            return self.pursuits[0].state_dict()
        return {f"{p.name}.{k}": v for p in self.pursuits for k, v in p.state_dict().items()}

    def remarks(self) -> list[str]:
        """What there is to say before it begins."""
        steps = [pursuit.sharded for pursuit in self.pursuits if pursuit.sharded]
        if not steps or ranks.size() == 1:
            return []
        kept, whole = (sum(bytes) for bytes in zip(*(step.moments() for step in steps), strict=True))
        instead = f" instead of {whole / 1e6:.1f} MB" if kept < whole else ""
        memory = f"{kept / 1e6:.1f} MB of moments on each{instead}"
        return [f"{self.config.pieces} shards on {ranks.size()} ranks, {memory}"]

    # State.

    def checkpoint(self) -> Checkpoint:
        """All that the run is, after the last step it did."""
        standing = vars(self.standing).copy()
        return Checkpoint(
            step=standing.pop("step"),
            model=self.model.state_dict(),
            optimizer=self._optimizers(),
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
        saved.check("optimizer", self._optimizers())
        saved.check("random", {"state": random.storage.array})
        self.run.metrics()  # they are rewritten below: what is wrong with them is said before anything is changed
        try:
            self.batches.restore(saved.data)
        except DataError as error:
            must, got = "know the place of its run in the data", f"something is wrong: {error}"
            raise CheckpointError(f"[checkpoint] {saved.path} must {must}, but {got}") from None
        known = {entry.name for entry in fields(Standing)}
        progress = {"window": self._empty_window()} | {k: v for k, v in saved.progress.items() if k in known}
        if len(progress["window"]) != len(self._empty_window()):
            must, got = "hold a loss of each objective as progress.window", f"got {brief(progress['window'])}"
            raise CheckpointError(f"[checkpoint] {saved.path} must {must}, but {got}.")
        self.model.load_state_dict(saved.model)
        for pursuit in self.pursuits:
            prefix = "" if len(self.pursuits) == 1 else f"{pursuit.name}."
            own = {k.removeprefix(prefix): v for k, v in saved.optimizer.items() if k.startswith(prefix)}
            pursuit.load_state_dict(own)
        random.assign(saved.random["state"])
        self.standing = Standing(saved.step, **progress)
        self.progress.step = self.progress.first = saved.step
        self.run.truncate_metrics(saved.step)

    def save(self) -> None:
        """Write a checkpoint into the run's folder, and remove the oldest."""
        saved = self.checkpoint()  # (of all ranks)
        if self.run.writes:
            checkpoint.save(self.run.folder / checkpoint.name_of(self.standing.step), saved)
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
                    agreed = self._one_step()
                    self.standing.seconds = time.monotonic() - started
                    step, config = self.standing.step, self.config
                    last = step == config.steps
                    if self.model.keeps == "best" and (last or step % config.validate_every == 0):
                        self._validate()
                    stop = self._asked if agreed is None else agreed
                    if last or step % config.checkpoint_every == 0 or stop:
                        self.standing.seconds = time.monotonic() - started
                        self.save()
                    if stop:
                        raise Interrupted(step)
        finally:
            self.progress.close()
        return self.standing

    def _one_step(self) -> bool | None:
        """With ranks, whether they agree to stop."""
        standing, config = self.standing, self.config
        batch = next(self.batches)
        step = standing.step + 1
        losses: dict[str, float] = {}
        norm, agreed = math.nan, None
        for number, pursuit in enumerate(self.pursuits):
            loss, norm, agreed = pursuit.take(batch, lambda: self._asked)
            standing.step = step
            if not (math.isfinite(loss) and math.isfinite(norm)):
                self._not_finite(pursuit.name, loss, norm)
            losses[pursuit.name] = loss
            standing.window[number] += loss
        standing.window[-1] += 1
        rate = float(self.pursuits[0].optimizer.lr.storage.array)
        self.progress.update(standing.step, batch.weight, **losses, lr=rate, grad=norm)
        if standing.step % config.log_every == 0 or standing.step == config.steps:
            *sums, count = standing.window
            means = {pursuit.name: total / count for pursuit, total in zip(self.pursuits, sums, strict=True)}
            self.run.log(
                {"step": standing.step, **means, "grad_norm": norm, "lr": rate}
                | {"predictions_per_second": round(self.progress.predictions_per_second, 1)}
            )
            standing.window = self._empty_window()
        return agreed

    def _not_finite(self, name: str, loss: float, norm: float) -> None:
        step = self.standing.step
        what, value = (name, loss) if not math.isfinite(loss) else ("gradient norm", norm)
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
        if standing.validation < (math.inf if standing.best is None else standing.best):
            standing.best, standing.best_step = standing.validation, standing.step
            best = self.checkpoint()
            best.optimizer, best.random = {}, {}
            if self.run.writes:
                checkpoint.save(self.run.folder / checkpoint.BEST, best)

    def evaluate(self, split: str) -> float:
        """The mean loss of a split, over its predictions, with dropout off: nats."""
        total, predictions = 0.0, 0

        def nats(batch: Any) -> tuple[float, int]:
            return float(self._evaluate(type(batch), vars(batch))) * batch.weight, batch.weight

        self.model.eval()
        try:
            for found, weight in ranks.shared(self.task.batches(split, self.config.batch_size), nats):
                total += found
                predictions += weight
        finally:
            self.model.train()
        return total / predictions

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        """The first Ctrl-C or SIGTERM asks the loop to stop after its step; a second one stops it at once."""
        if threading.current_thread() is not threading.main_thread():
            yield  # signals belong to the main thread
            return
        before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

        def ask(number, frame):
            self._asked = True
            for signum, handler in before.items():
                signal.signal(signum, handler)

        for number in before:
            signal.signal(number, ask)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
