"""An experiment: a model and a task by their names, and the settings to train with.

run = ta.Experiment("bahdanau", "tiny-mt", hidden=128)
run.train()
run.evaluate("test", beam=4).figures["bleu"]
run.sample("this river guards my hill")
"""

import copy
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

import tinyattn as ta
from tinyattn import tasks
from tinyattn.errors import UsageError
from tinyattn.experiments import settings
from tinyattn.experiments.evaluation import answers_of, load_best
from tinyattn.experiments.picture import graph_of
from tinyattn.models.model import Model
from tinyattn.tasks.task import Scores, Task
from tinyattn.train import checkpoint
from tinyattn.train.run import Run


class Experiment:
    """A model on a task, ready to be trained; or, by `Experiment.open`, one that has been.

    model, task: names (`ta.models.list()`, `ta.tasks.list()`), "file.py:Class" of your own, or classes; the default
    task is the model's first. seed: of initial values, batches and what the task makes; data: the files of the
    task, if it reads some. baseline: whether the model that it is compared with is trained, too. Further keywords
    change settings of the model, the task or the training: steps=500, hidden=128 (or {"model.hidden": 128}, where
    two share a name). Raises UsageError for what does not exist or fit; data that is missing or damaged is found out
    when it is read.
    """

    def __init__(
        self,
        model: str | type[Model] = "bahdanau",
        task: str | type[Task] | None = None,
        *,
        seed: int = 0,
        data: str | Path | None = None,
        baseline: bool = True,
        **given: Any,
    ):
        where = None if data is None else str(data)
        self.config = settings.resolve(model, task, where, {"seed": seed} | given, baseline)
        self.run: Run | None = None

    @classmethod
    def open(cls, folder: str | Path, data: str | Path | None = None, lock: bool = False) -> "Experiment":
        """The experiment of a run folder, its model with the best parameters if it has been trained.

        data: where the files of the task are now, if they have moved. lock: for going on with the run. Raises
        CheckpointError for a folder that is none, or damaged.
        """
        run = Run.open(folder, lock=False)
        settings.check_run(run)
        if lock:
            run, checked = Run.open(folder), run.config
            run.config = checked
        if data is not None:
            settings.move_data(run.config, str(data))
        found = cls.__new__(cls)
        found.config, found.run = copy.deepcopy(run.config), run
        return found

    @property
    def name(self) -> str:
        """The model's name."""
        return settings.short(self.config["model"]["name"])

    @property
    def seed(self) -> int:
        """What its random numbers come from."""
        return int(self.config["training"]["seed"])

    @cached_property
    def task(self) -> Task:
        """The task, loaded or made when it is first needed."""
        reads = tasks.takes_data(settings.find_task(self.config["task"]["name"])[1])
        with settings.in_file(
            None if reads else self.run
        ):  # what is wrong with files isn't with the settings
            return settings.make_task(self.config)

    @cached_property
    def model(self) -> Model:
        """The model: with the best parameters of the run, or initial values where there is none yet."""
        ta.manual_seed(self.config["training"]["seed"])
        task = self.task
        with settings.in_file(self.run):
            model = settings.make_model(self.config, task)
        if self.run is not None and self._saved():
            load_best(self.run, model)
        model.eval()
        return model

    def _saved(self) -> bool:
        """Whether there are parameters to read."""
        if self.run is None:
            return False
        return bool((self.run.folder / checkpoint.BEST).exists() or checkpoint.saved(self.run.folder))

    @property
    def trained(self) -> Model:
        """The model of a run. Raises CheckpointError when nothing has been trained yet."""
        if self.run is None:
            raise UsageError("[experiment] it must be trained first, but it was not: call .train().")
        if not self._saved():
            checkpoint.latest(self.run.folder)  # raises what is to be said
        return self.model

    def train(self, folder: str | Path | None = None, resume: bool = False, **options: Any) -> Any:
        """Train the model, and its baseline beside it; measure both on the test split; write the report.

        folder: that of the run, new or empty (runs/MODEL-TASK-SEED, or that with a number behind, if None); with
        `resume` that of a run to go on with. options: see `training.train`. Returns an Outcome; its `folder`
        holds report.html. Raises Interrupted after Ctrl-C, when the run has been saved.
        """
        from tinyattn.experiments import training

        return training.train(self, folder, resume, **options)

    def evaluate(
        self,
        split: str = "test",
        progress: Callable[[int, int], None] = lambda done, total: None,
        **search: Any,
    ) -> Scores:
        """Measure the trained model on a split. search: options of its answers, such as beam=4. progress: called
        with how many examples are done, and of how many.

        Raises UsageError for options that the model doesn't have, DataError for a split that there is none of.
        """
        model = self.trained
        search = settings.check_search("eval", model, search)
        size = self.config["training"]["batch_size"]
        return self.task.score(answers_of(model, self.task, split, size, progress, **search), split)

    def sample(self, text: str, **search: Any) -> dict[str, Any]:
        """What the trained model says to a text: {"input": …, "output": …} and more, as the task shows it. Where
        the text stands for several examples, "answers" holds what is shown of each.

        search: options of its answers, such as temperature=0.8. Raises DataError for a text that doesn't fit.
        """
        model = self.trained
        search = settings.check_search("sample", model, search)
        batch = self.task.read(text)
        answers = model.sample(batch, **search)
        rows = [self.task.show(batch, answers, row) for row in range(len(answers.outputs))]
        shown = rows[0]
        if len(rows) > 1:
            shown = {"output": "\n\n".join(row["output"] for row in rows), "answers": rows}
        shown["input"] = text
        if answers.scores:
            shown["score"] = answers.scores[0]
        for name, maps in answers.maps.items():
            if maps[0] is not None:
                shown[name] = np.round(np.asarray(maps[0]), 4).tolist()
        return shown

    def graph(
        self, direction: str = "both", depth: int | None = None, objective: str | None = None, **options: Any
    ) -> Any:
        """The computation graph of the loss, forward and backward, drawn for two tiny examples. ``objective``:
        which of several a model has, by default the first; ``direction``, ``depth`` and other ``options`` as for
        ``ta.viz.draw``. Raises UsageError.
        """
        return graph_of(self.model, self.task, direction, depth, objective, **options)
