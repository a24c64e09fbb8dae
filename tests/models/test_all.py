"""What every model and task of the registry must do: nothing here knows one of them by name."""

import importlib
import inspect
import pkgutil
import shutil
from dataclasses import MISSING, fields, replace

import numpy as np
import pytest

import tinyattn as ta
from tinyattn import models, tasks
from tinyattn.experiments import training, workload
from tinyattn.graph.scope import Line
from tinyattn.models.model import Model
from tinyattn.tasks.task import SPLITS, Task
from tinyattn.train import checkpoint
from tinyattn.train.loop import Trainer

EVERY_MODEL = pytest.mark.parametrize("name", models.MODELS)
EMBEDDED = [name for name in tasks.TASKS if not tasks.needs_data(tasks.find(name))]
EVERY_TASK = pytest.mark.parametrize("name", EMBEDDED)


def _classes(package, base):
    """The classes of a package's files that are complete: those with a name of their own."""
    found = set()
    for file in pkgutil.iter_modules(package.__path__):
        module = importlib.import_module(f"{package.__name__}.{file.name}")
        for cls in vars(module).values():
            if inspect.isclass(cls) and issubclass(cls, base) and cls.__module__ == module.__name__:
                found |= {f"{file.name}:{cls.__name__}"} if getattr(cls, "name", "") else set()
    return found


def test_the_registries_name_what_is_in_the_folders():
    assert _classes(models, Model) == set(models.MODELS.values())
    assert _classes(tasks, Task) == set(tasks.TASKS.values())
    assert [models.get(name).name for name in models.MODELS] == list(models.MODELS)
    assert [tasks.find(name).name for name in tasks.TASKS] == list(tasks.TASKS)
    assert all(text and "\n" not in text for _, text in tasks.list())


def experiment_of(name, **settings):
    """A model on its first task, with few examples to train with if their number can be chosen."""
    options = tasks.options(tasks.find(models.get(name).recipes[0].task))
    few = {"train_examples": 6000} if options.get("train_examples", 0) > 6000 else {}
    return ta.Experiment(name, **few | settings)


@EVERY_MODEL
def test_a_model_says_what_it_is(name):
    model = models.get(name)
    assert model.paper and model.documents and model.families and model.recipes
    for recipe in model.recipes:
        assert set(model.families) & set(tasks.find(recipe.task).families)
        if recipe.baseline:
            assert hasattr(models.get(recipe.baseline).Config, "like")


@EVERY_MODEL
def test_sizes_that_make_no_sense_are_one_sentence(name):
    model = models.get(name)
    decided = {f.name: 16 for f in fields(model.Config) if f.default is MISSING}

    def least(name, wrong):
        """How small the number may be, by the sentence that refuses the wrong one."""
        line = Line(__file__, inspect.currentframe().f_lineno + 2)
        with pytest.raises(ta.TinyattnError) as error:
            model.Config(**decided | {name: wrong})
        sentence, place = str(error.value).splitlines()
        kinds = ["an integer of at least 0", "a positive integer"]
        assert place == f"  at {line}" and sentence[0] == "["
        return [f"{name} must be {kind}, but got {wrong}." for kind in kinds].index(
            sentence.partition("] ")[2]
        )

    sizes = [f.name for f in fields(model.Config) if f.type is int]
    assert model.Config(**decided) and sizes
    for size in sizes:
        (smallest,) = {least(size, wrong) for wrong in (-1, 1.5, True)}
        if smallest:
            assert least(size, 0)
        else:
            assert model(model.Config(**decided | {size: 0}))


@EVERY_MODEL
def test_a_model_learns_what_it_is_shown(name):
    experiment = experiment_of(name, schedule="constant", warmup_steps=0)
    work = workload.of(experiment, experiment.task.probe())
    arrays = type(work.batch), vars(work.batch)
    first = [float(pursuit.step(*arrays)[0]) for pursuit in work.pursuits]
    for _ in range(60):
        last = [float(pursuit.step(*arrays)[0]) for pursuit in work.pursuits]
    assert np.isfinite(last).all()
    if experiment.model.keeps == "best":  # (the losses of players in a game need not fall)
        assert last[0] < 0.5 * first[0]


@EVERY_MODEL
def test_a_models_answers_do_not_depend_on_their_neighbours(name):
    experiment = experiment_of(name)
    task, model = experiment.task, experiment.model
    batch = next(iter(task.batches("test", 4)))
    together = model.answer(batch)
    assert len(together.outputs) == 4
    for row in (0, 3):
        rows = {key: value[row : row + 1] for key, value in vars(batch).items()}
        alone = model.answer(replace(batch, **rows))
        np.testing.assert_allclose(alone.outputs[0], together.outputs[row], rtol=2e-3, atol=2e-4)


@EVERY_MODEL
def test_a_model_is_saved_and_drawn(name, tmp_path):
    experiment = experiment_of(name)
    model, batch = experiment.model, experiment.task.probe()
    other = experiment_of(name, seed=1).model
    other.load_state_dict(model.state_dict())
    for one, again in zip(model.objectives(), other.objectives(), strict=True):
        ta.manual_seed(0)
        value = float(one.loss(batch))
        ta.manual_seed(0)
        assert value == float(again.loss(batch))
        assert one.name in ("loss", *model.search()) or "gradient" in str(
            experiment.graph(depth=0, objective=one.name)
        )
    experiment.graph(direction="forward", depth=1).save(str(tmp_path / "graph.json"))


class Trained(Exception):
    """A run is trained to its end; what comes after it isn't asked for."""


@EVERY_MODEL
def test_a_run_that_was_killed_goes_on_bit_for_bit_and_is_reported(name, tmp_path, monkeypatch):
    settings = {"steps": 6, "validate_every": 3, "checkpoint_every": 4, "baseline": False, "start": ""}
    step = Trainer._one_step

    def keep_the_fourth(trainer):
        if trainer.standing.step == 4:
            shutil.copytree(trainer.run.folder, tmp_path / "killed")
        step(trainer)

    def no_more(run, model):
        raise Trained

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_one_step", keep_the_fourth)
        patch.setattr(training, "load_best", no_more)
        with pytest.raises(Trained):
            experiment_of(name, **settings).train(tmp_path / "whole")
    experiment = ta.Experiment.open(tmp_path / "killed", lock=True)
    outcome = experiment.train(resume=True)
    one, other = (checkpoint.latest(tmp_path / folder) for folder in ("whole", "killed"))
    assert one.step == other.step == 6
    for part in ("model", "optimizer", "random"):
        left, right = getattr(one, part), getattr(other, part)
        assert left and {k: v.tobytes() for k, v in left.items()} == {
            k: v.tobytes() for k, v in right.items()
        }
    best = [tmp_path / folder / checkpoint.BEST for folder in ("whole", "killed")]
    if models.get(name).keeps == "best":
        one, other = map(checkpoint.load, best)
        assert {k: v.tobytes() for k, v in one.model.items()} == {
            k: v.tobytes() for k, v in other.model.items()
        }
    else:
        assert not any(path.exists() for path in best)
    assert outcome.figures and set(outcome.figures) <= {f.key for f in outcome.task.figures}
    page = outcome.report.read_text()
    assert "Results on held-out data" in page and "Settings" in page and str(outcome)
    text = experiment.task.suggestions(1)[0]
    assert experiment.sample(text)["input"] == text


@EVERY_TASK
def test_a_task_says_what_it_is(name):
    task = tasks.get(name)
    assert task.title and task.unit and task.families and task.sizes() and task.name in task.describe()
    assert all(task.count(split) > 0 for split in SPLITS)
    with pytest.raises(ta.DataError, match="the split must be one of"):
        task.count("tests")
    for text in task.suggestions(2):
        assert task.read(text).valid.all() and isinstance(task.remarks(text), list)


@EVERY_TASK
def test_evaluation_shows_every_example_once(name):
    task = tasks.get(name)
    for split in ("validation", "test"):
        size = min(64, task.count(split))
        batches = task.batches(split, size)
        seen = [batch.index[batch.valid] for batch in batches]
        assert len(seen) == len(batches)
        np.testing.assert_array_equal(np.sort(np.concatenate(seen)), np.arange(task.count(split)))
        assert all(len(batch.valid) == size and batch.weight > 0 for batch in batches)


@EVERY_TASK
def test_training_batches_are_a_function_of_seed_and_place(name):
    task = tasks.get(name)
    stream, again, other = (task.batches("train", 4, seed=seed) for seed in (5, 5, 6))
    for _ in range(3):
        next(stream)
    again.restore(stream.state())
    one, two, three = next(stream), next(again), next(other)
    same = [np.array_equal(a, b) for a, b in zip(vars(one).values(), vars(two).values(), strict=True)]
    assert all(same) and one.valid.all()
    assert not all(
        np.array_equal(a, b) for a, b in zip(vars(one).values(), vars(three).values(), strict=True)
    )
    with pytest.raises(ta.DataError):
        task.batches("train", 8, seed=5).restore(stream.state())
