"""What `bench` and `warmup` run: the training step of a model, on the first batch of its task."""

from dataclasses import dataclass, replace
from typing import Any

from tinyattn.experiments import settings
from tinyattn.experiments.experiment import Experiment
from tinyattn.models.model import Model
from tinyattn.train.loop import Pursuit


@dataclass
class Workload:
    """The compiled steps of a model's objectives, and the batch they are called with."""

    model: Model
    pursuits: list[Pursuit]
    batch: Any

    @property
    def arguments(self) -> tuple:
        """What each step is called with."""
        return type(self.batch), vars(self.batch)

    def __call__(self) -> None:
        for pursuit in self.pursuits:
            pursuit.step(*self.arguments)


def of(experiment: Experiment, batch: Any = None) -> Workload:
    """The training step of an experiment; of a given batch, or the first one of its training data."""
    config = settings.training(experiment.config)
    model = experiment.model
    model.train()
    if batch is None:
        batch = next(iter(experiment.task.batches("train", config.batch_size, seed=config.seed)))
    config = replace(config, shards=0)
    return Workload(model, [Pursuit(one, config) for one in model.objectives()], batch)
