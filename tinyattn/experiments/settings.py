"""From what was asked for to what is run: defaults of model and task, those of the model's recipe for the task,
then the user's, each value of its own type.

The result is the table that config.toml keeps, from which a run can be put together again:

    [model]     name, and the sizes of its config
    [task]      name, data, and its options
    [training]  steps, batch_size, seed, …
    [run]       whether a baseline is trained beside it, and what was asked for
"""

import contextlib
import inspect
import os
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, asdict
from typing import Any

from tinyattn import formats, models, ranks, tasks
from tinyattn.errors import TinyattnError, UsageError, brief, near
from tinyattn.models.model import Model, check_family, settings_of
from tinyattn.tasks.task import Task
from tinyattn.train.config import TrainingConfig
from tinyattn.train.run import CONFIG, Run

Config = dict[str, dict[str, Any]]

ELSEWHERE = {
    "name": "choose the model with MODEL and the task with --task.",
    "data": "name the task's files with --data.",
}
"""Entries of the table that are not for --set, and what is."""
SHARDS = 8
"""Of a batch, under mpirun, so that the result doesn't depend on the number of ranks."""
LARGEST = (1 << 31) - 1
"""Of all counts and sizes: int32 holds the indices that they lead to."""


def resolve(
    model: str | type[Model] | None = None,
    task: str | type[Task] | None = None,
    data: str | None = None,
    settings: Mapping[str, Any] | None = None,
    baseline: bool = True,
) -> Config:
    """The whole configuration of a run. Raises UsageError, one sentence, for a name or value that does not fit.

    settings: names, or table.name, and values; those that are text are read as their defaults' types.
    """
    model_name, model_class = find_model(model or "bahdanau")
    recipes = model_class.recipes
    if task is None and not recipes:
        raise UsageError(f"[train] the task of {model_name} must be named, but got none: add --task NAME.")
    task_name, task_class = find_task(recipes[0].task if task is None else task)
    try:
        check_family(model_class, task_class)
    except TinyattnError as error:
        raise UsageError(str(error)) from None
    if data is None and tasks.needs_data(task_class):
        raise UsageError(
            f"[train] the task {task_name} reads files, so they must be named, but got none: add --data PATH."
        )
    sizes = settings_of(model_class.Config)
    asked_for = {key.removeprefix("model."): value for key, value in (settings or {}).items()}
    chosen = {key: parse(key, asked_for[key], sizes[key]) for key in model_class.varies if key in asked_for}
    known = tasks.options(task_class)
    said = {key.removeprefix("task."): (key, value) for key, value in (settings or {}).items()}
    options = {name: parse(*said[name], known[name]) for name in known.keys() & said.keys() - sizes.keys()}
    recipe = model_class.recipe(task_name, model_class.variant(sizes | chosen), options)
    training_settings = asdict(TrainingConfig(shards=SHARDS * ranks.launched())) | dict(recipe.training)
    for key in {"start", "training.start"} & (settings or {}).keys():
        training_settings["start"] = _found_start((settings or {})[key])
    as_there = _sizes_there(model_class, training_settings["start"])
    own = {"dropout"} & recipe.sizes.keys()  # how it is trained, whatever the other one was trained with
    config: Config = {
        "model": sizes
        | dict(recipe.sizes)
        | {key: as_there[key] for key in sizes.keys() & as_there.keys() - own},
        "task": known,
        "training": training_settings,
    }
    for key, value in (settings or {}).items():
        if key.removeprefix("training.") != "start":
            _assign(config, key, value)
    _scale_warmup(config["training"], settings or {})
    for table, values in config.items():
        for key, value in values.items():
            if value in (MISSING, inspect.Parameter.empty):
                raise UsageError(f"[train] {table}.{key} must be given, but is not: add --set {key}=….")
    check(model_class, config)
    head: Config = {"model": {"name": model_name}, "task": {"name": task_name, "data": None}}
    config = {table: head.get(table, {}) | values for table, values in config.items()}
    if data is not None:
        move_data(config, data)
    asked = [f"{key}={value}" for key, value in (settings or {}).items() if key != "seed"]
    return config | {"run": {"baseline": baseline, "set": asked}}


def recipe_in(start: str) -> tuple[str, str] | None:
    """The model and the task of a start such as "gpt on topic-texts"; None for a folder."""
    model, on, task = start.partition(" on ")
    return (model, task) if on and not os.path.exists(start) else None


def _found_start(start: Any) -> str:
    """A start as runs keep it: a folder by its absolute path, so that it is found from anywhere."""
    text = str(start)
    return text if not text or recipe_in(text) else os.path.realpath(os.path.expanduser(text))


def _sizes_there(model: type[Model], start: str) -> dict[str, Any]:
    """The sizes of what a run begins from. Raises UsageError for a model that this one can't begin from."""
    if not start:
        return {}
    recipe = recipe_in(start)
    if recipe:
        config = resolve(*recipe)
    else:
        run = Run.open(start, lock=False)
        check_run(run)
        config = run.config
    name, other = find_model(config["model"]["name"])
    known = model.begins_from or (model.name,)
    if other is not model and other.name not in known:
        must = f"start must name a run of {' or '.join(known)}"
        raise UsageError(f"[train] {must}, but {start} is one of {name}.")
    return config["model"]


def _scale_warmup(values: dict[str, Any], given: Mapping[str, Any]) -> None:
    """A recipe's warm-up is a share of its steps: with fewer steps, unless it is asked for, it is shorter."""
    asked = {key.rpartition(".")[2] for key in given}
    if "warmup_steps" not in asked and values["warmup_steps"] >= values["steps"]:
        values["warmup_steps"] = values["steps"] // 10


def find_model(model: str | type[Model]) -> tuple[str, type[Model]]:
    """The name by which a model is found again, and its class. Raises UsageError."""
    return _find(model, models.get, models.MODELS, "model")


def find_task(task: str | type[Task]) -> tuple[str, type[Task]]:
    """The name by which a task is found again, and its class. Raises UsageError."""
    return _find(task, tasks.find, tasks.TASKS, "task")


def _find(wanted: Any, find: Any, known: Mapping[str, str], what: str) -> tuple[str, Any]:
    from tinyattn import lookup

    try:
        found = find(wanted) if isinstance(wanted, str) else wanted
        if not isinstance(found, type) or not issubclass(found, Model if what == "model" else Task):
            raise UsageError(f"[train] the {what} must be a name or a class, but got {wanted!r}.")
    except UsageError:
        raise
    except TinyattnError as error:
        raise UsageError(str(error)) from None
    name = lookup.reference(found, known)
    if not name:
        must = f"the {what} must stand in a file, so that its run can be opened again"
        raise UsageError(f"[train] {must}, but {found.__name__} was made at the prompt.")
    return name, found


def move_data(config: Config, data: str) -> None:
    """Set where the task's files are: an absolute path, so that a run can be used from anywhere. Raises
    UsageError for a task that reads none.
    """
    name, task = find_task(config["task"]["name"])
    if not tasks.takes_data(task):
        raise UsageError(
            f"[tasks] --data must come with a task that reads files, but {name} makes its own data."
        )
    config["task"]["data"] = os.path.realpath(os.path.expanduser(data))


def check(model: type[Model], config: Config) -> None:
    """Raise UsageError for training settings and sizes that make no sense."""
    for key, value in ((key, value) for values in config.values() for key, value in values.items()):
        if isinstance(value, int) and value > LARGEST and key != "seed":
            raise UsageError(f"[train] {key} must be at most {LARGEST}, but got {brief(value)}.")
    try:
        training(config)
        decided = {name: 4 for name in _decided(model)}
        model.Config(**decided | sizes_of(config))
    except TinyattnError as error:
        raise UsageError(str(error)) from None


def _decided(model: type[Model]) -> list[str]:
    """The fields of its Config that the data decide and that have no value before."""
    from dataclasses import fields

    return [f.name for f in fields(model.Config) if f.metadata.get("from_task") and f.default is MISSING]


def check_run(run: Run) -> None:
    """Raise CheckpointError unless the run's config.toml, which people may edit, still says what a run needs; what
    it lacks, since it is older than the setting, has its default.
    """
    source = run.source(CONFIG)
    found = formats.check(source, run.config, formats.CONFIG)
    with in_file(run):
        required = _required(found)
        known = resolve(found["model"]["name"], found["task"]["name"], found["task"].get("data"), required)
    for table, values in known.items():
        rules = {key: formats.like(value) for key, value in values.items()}
        given = formats.check(source, found.get(table, {}), formats.Table(optional=rules), place=table)
        for key, value in given.items():
            values[key] = float(value) if isinstance(values[key], float) else value
        run.config[table] = {key: value for key, value in values.items() if value is not None}
    with in_file(run):
        check(find_model(found["model"]["name"])[1], run.config)


def _required(config: Config) -> dict[str, Any]:
    """The settings of a configuration that have no defaults."""
    model, task = find_model(config["model"]["name"])[1], find_task(config["task"]["name"])[1]
    known = {"model": settings_of(model.Config), "task": tasks.options(task)}
    return {
        f"{table}.{key}": config[table][key]
        for table, values in known.items()
        for key, default in values.items()
        if default in (MISSING, inspect.Parameter.empty) and key in config[table]
    }


@contextlib.contextmanager
def in_file(run: Run | None) -> Iterator[None]:
    """Errors of the settings of a run, if there is one, name their file."""
    try:
        yield
    except (TinyattnError, MemoryError) as error:
        if run is None:
            raise
        source = run.source(CONFIG)
        if isinstance(error, MemoryError):
            source.refuse("be the settings of a run that fits into the memory", f"this one does not: {error}")
        sentence = str(error).splitlines()[0]  # (no line of the user's program: the fault is in the file)
        source.refuse("be the settings of a run", f"something is wrong: {sentence.removesuffix('.')}")


def training(config: Config) -> TrainingConfig:
    """The training settings of a configuration."""
    return TrainingConfig(**config["training"]).check()


def sizes_of(config: Config) -> dict[str, Any]:
    """The model's sizes, but those that the data decide."""
    values = {key: value for key, value in config["model"].items() if key != "name"}
    return {key: tuple(value) if isinstance(value, list) else value for key, value in values.items()}


def make_task(config: Config) -> Task:
    """The task of a configuration, loaded or made."""
    given = dict(config["task"])
    return tasks.get(given.pop("name"), given.pop("data", None), seed=config["training"]["seed"], **given)


def make_model(config: Config, task: Task) -> Model:
    """The model of a configuration, with initial values."""
    return find_model(config["model"]["name"])[1].for_task(task, **sizes_of(config))


def variant(config: Config) -> str:
    """Which variant of its model a configuration is of: "" for that of the defaults."""
    model = find_model(config["model"]["name"])[1]
    scratch = model.begins_from and not config["training"]["start"]
    return "-".join(filter(None, [model.variant(sizes_of(config)), "scratch" if scratch else ""]))


def numbers(config: Config) -> str:
    """The numbers among the options of a task that aren't the defaults, such as "length-1000", for names of files."""
    known = tasks.options(find_task(config["task"]["name"])[1])
    changed = {key: config["task"][key] for key, value in known.items() if config["task"][key] != value}
    return "-".join(f"{key}-{value}" for key, value in changed.items() if isinstance(value, int))


def differing(one: Config, other: Config) -> Iterator[tuple[str, str, Any, Any]]:
    """(table, key, value here, value there) of the settings that say what a run is and aren't the same. What isn't set
    is as if it weren't there, and a tuple is the list that its file has.
    """
    for table in ("model", "task", "training"):
        for key in sorted({*one[table], *other[table]}):
            here, there = (
                list(value) if isinstance(value, tuple) else value
                for value in (config[table].get(key) for config in (one, other))
            )
            if here != there:
                yield table, key, here, there


def short(name: str) -> str:
    """A model's or task's name as people say it: MyModel for my_models.py:MyModel."""
    return name.rpartition(":")[2]


def _table(config: Config, key: str) -> str:
    found = [table for table, values in config.items() if key in values]
    if not found:
        known = [name for values in config.values() for name in values]
        advice = ELSEWHERE.get(key.rpartition(".")[2]) or hint(key, known, f"known are {', '.join(known)}.")
        raise UsageError(f"[train] --set must name a setting of this run, but got {key!r}: {advice}")
    return found[0]


ALSO = {"lr": "learning_rate"}
"""What a setting is called, too: as in ``ta.optim``."""


def _assign(config: Config, key: str, value: Any) -> None:
    prefix, dot, rest = key.rpartition(".")
    rest = ALSO.get(rest, rest)
    key = prefix + dot + rest
    if prefix and prefix in config and rest in config[prefix]:
        table, key = prefix, rest
    else:
        table = _table(config, key)
    config[table][key] = parse(key, value, config[table][key])


def parse(key: str, value: Any, default: Any) -> Any:
    """A value of the type its default has; text is read. Raises UsageError."""
    kind = type(default)
    if default in (None, MISSING, inspect.Parameter.empty):
        return value
    if isinstance(value, kind) and not (kind is int and isinstance(value, bool)):
        return value
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if kind is tuple and isinstance(value, (str, list)):
        parts = value.split(",") if isinstance(value, str) else value
        return tuple(parse(key, part, default[0] if default else "") for part in parts)
    if isinstance(value, str):
        if kind is bool and value.lower() in ("true", "false"):
            return value.lower() == "true"
        try:
            if kind is not bool:
                return kind(value)
        except ValueError:
            pass
    wanted = {int: "a whole number", float: "a number", bool: "true or false"}.get(kind, kind.__name__)
    raise UsageError(f"[train] {key} must be {wanted}, but got {brief(value)}.")


def check_search(where: str, model: Model, given: Mapping[str, Any]) -> dict[str, Any]:
    """Options of a model's answers, each of its type. Raises UsageError for one that it doesn't have."""
    known = model.search()
    for key in given:
        if key not in known:
            name = type(model).name or type(model).__name__
            advice = hint(key, [*known], f"known are {', '.join(known)}." if known else "it has none.")
            raise UsageError(f"[{where}] an option must be one that {name} has, but got {key!r}: {advice}")
    return {key: parse(key, value, known[key]) for key, value in given.items()}


def hint(name: str, known: list[str], otherwise: str) -> str:
    """What to try instead of an unknown name: the nearest of the known ones, if one is near."""
    close = near(name.lower().replace("-", "_"), known) or near(name.lower().replace("_", "-"), known)
    return f"did you mean {close}?" if close else otherwise
