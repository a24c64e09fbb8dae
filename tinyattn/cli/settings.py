"""From what was typed to what is run: defaults of model and task, then `--set key=value`, each value of its
own type.

The result is the table that config.toml keeps, from which a run can be put together again:

    [model]     name, and the sizes of its config
    [task]      name, data, and the options of its loader
    [training]  steps, batch_size, seed, …
"""

import inspect
from dataclasses import asdict, fields
from importlib import import_module
from pathlib import Path
from typing import Any

from tinyattn import models, tasks
from tinyattn.errors import CheckpointError, TinyattnError
from tinyattn.graph.hints import near
from tinyattn.train.loop import TrainingConfig
from tinyattn.train.run import Run, command

Config = dict[str, dict[str, Any]]

ELSEWHERE = {
    "name": "choose the model with MODEL and the task with --task.",
    "data": "name the folder of the task's files with --data.",
}
"""Entries of the table that are not for --set, and what is."""


class UsageError(TinyattnError):
    """The command line asks for something that does not exist or make sense; exit code 2."""


def resolve(
    model: str,
    task: str | None = None,
    data: str | None = None,
    seed: int | None = None,
    steps: int | None = None,
    assignments: list[str] | tuple[str, ...] = (),
) -> Config:
    """The whole configuration of a run. Raises UsageError, one sentence, for a name or value that does not
    fit.
    """
    try:
        entry = models.get(model)
    except TinyattnError as error:
        raise UsageError(str(error)) from None
    about = task_entry(task or entry.task)
    if about.needs_data and data is None:
        raise UsageError(
            f"[train] the task {about.name} reads files, so their folder must be named: add --data DIR."
        )
    sizes = {e.name: e.default for e in fields(entry.load().Config) if not e.name.endswith("_vocabulary")}
    config: Config = {"model": sizes, "task": _task_options(about), "training": asdict(TrainingConfig())}
    for key, value in entry.settings.get(about.name, {}).items():
        config[_table(config, key)][key] = value
    for text in assignments:
        _assign(config, text)
    for key, given in (("seed", seed), ("steps", steps)):
        if given is not None:
            config["training"][key] = given
    check(entry, config)
    head: Config = {"model": {"name": entry.name}, "task": {"name": about.name, "data": None}}
    config = {table: head.get(table, {}) | values for table, values in config.items()}
    if data is not None:
        move_data(config, data)
    return config


def move_data(config: Config, data: str) -> None:
    """Set the folder of the task's files: its absolute path, so that a run can be used from anywhere. Raises
    UsageError for a task that reads none.
    """
    about = task_entry(config["task"]["name"])
    if not about.needs_data:
        raise UsageError(
            f"[tasks] --data must come with a task that reads files, but {about.name} makes its own data."
        )
    config["task"]["data"] = str(Path(data).expanduser().resolve())


def check(entry: models.Entry, config: Config) -> None:
    """Raise UsageError for training settings and sizes that make no sense."""
    try:
        training(config)
        entry.load().Config(4, 4, **sizes_of(config))
    except TinyattnError as error:
        raise UsageError(str(error)) from None


def check_run(run: Run) -> None:
    """Raise CheckpointError unless the run's config.toml, which people may edit, still says what a run
    needs.
    """
    try:
        known = resolve(
            run.config["model"]["name"], run.config["task"]["name"], run.config["task"].get("data")
        )
        for table, values in known.items():
            for key in run.config[table].keys() ^ {key for key, value in values.items() if value is not None}:
                raise KeyError(f"{table}.{key}")
            for key, value in run.config[table].items():
                if type(value) is not type(values[key]):
                    raise TypeError(f"{table}.{key} is {value!r}")
        check(models.get(run.config["model"]["name"]), run.config)
    except (KeyError, TypeError, AttributeError, TinyattnError) as error:
        got = f"something is wrong: {error}"
        raise CheckpointError(
            f"[run] {run.folder}/config.toml must be the settings of a run, but {got}."
        ) from None


def training(config: Config) -> TrainingConfig:
    """The training settings of a configuration."""
    return TrainingConfig(**config["training"]).check()


def sizes_of(config: Config) -> dict[str, Any]:
    """The model's sizes, all but its vocabularies."""
    return {key: value for key, value in config["model"].items() if key != "name"}


def make_task(config: Config) -> Any:
    """The task of a configuration, loaded or made."""
    options = dict(config["task"])
    return tasks.get(
        options.pop("name"), options.pop("data", None), seed=config["training"]["seed"], **options
    )


def make_model(config: Config, task: Any) -> Any:
    """The model of a configuration, with initial parameters."""
    return models.get(config["model"]["name"]).load().for_task(task, **sizes_of(config))


def task_entry(name: str) -> tasks.Entry:
    """The line of the table of tasks. Raises UsageError, with the nearest name, for another one."""
    for entry in tasks.TASKS:
        if entry.name == name:
            return entry
    names = [entry.name for entry in tasks.TASKS]
    advice = hint(name, names, f"see `{command('tasks')}`.")
    raise UsageError(f"[tasks] the task must be one of {', '.join(names)}, but got {name!r}: {advice}")


def _task_options(entry: tasks.Entry) -> dict[str, Any]:
    loader = import_module(f"tinyattn.tasks.{entry.module}").load
    options = inspect.signature(loader).parameters
    return {name: option.default for name, option in options.items() if name not in ("data", "seed")}


def _table(config: Config, key: str) -> str:
    found = [table for table, values in config.items() if key in values]
    if not found:
        known = [name for values in config.values() for name in values]
        advice = ELSEWHERE.get(key.rpartition(".")[2]) or hint(key, known, f"known are {', '.join(known)}.")
        raise UsageError(f"[train] --set must name a setting of this run, but got {key!r}: {advice}")
    return found[0]


def _assign(config: Config, text: str) -> None:
    key, separator, value = text.partition("=")
    if not separator or not key:
        raise UsageError(f"[train] --set must be followed by key=value, but got {text!r}.")
    prefix, _, rest = key.rpartition(".")
    if prefix and prefix in config and rest in config[prefix]:
        table, key = prefix, rest
    else:
        table = _table(config, key)
    config[table][key] = _parse(key, value, type(config[table][key]))


def _parse(key: str, text: str, kind: type) -> Any:
    """`text` as a value of the type its default has."""
    if kind is bool and text.lower() in ("true", "false"):
        return text.lower() == "true"
    try:
        if kind is not bool:
            return kind(text)
    except ValueError:
        pass
    wanted = {int: "a whole number", float: "a number", bool: "true or false"}.get(kind, kind.__name__)
    raise UsageError(f"[train] {key} must be {wanted}, but got {text!r}.")


def hint(name: str, known: list[str], otherwise: str) -> str:
    """What to try instead of an unknown name: the nearest of the known ones, if one is near."""
    close = near(name.lower().replace("-", "_"), known) or near(name.lower().replace("_", "-"), known)
    return f"did you mean {close}?" if close else otherwise
