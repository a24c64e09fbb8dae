"""The tasks models are trained on: data, batches and judgement, in plain NumPy.

    task = tasks.get("tiny-mt")
    for batch in task.batches("test", batch_size=64):
        ...

Some tasks make their own data; others read files the user names. A task is imported when it is asked for, and
not before.
"""

import builtins
import inspect
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tinyattn import lookup
from tinyattn.errors import DataError

if TYPE_CHECKING:
    from tinyattn.tasks.task import Task

TASKS = {
    "tiny-mt": "tiny_mt:TinyMT",
    "multi30k": "multi30k:Multi30k",
    "monotone-copy": "lexicon_copy:MonotoneCopy",
    "lexicon-reverse": "lexicon_copy:LexiconReverse",
    "lexicon-cover": "lexicon_copy:LexiconCover",
    "parallel": "parallel:Parallel",
    "copy": "symbols:Copy",
    "reverse": "symbols:Reverse",
    "sort": "symbols:Sort",
    "text": "text:TextTask",
    "tinyshakespeare": "tinyshakespeare:TinyShakespeare",
    "sort-6": "sort6:Sort6",
    "adder": "adder:Adder",
    "documents": "documents:Documents",
    "labels": "labels:Labels",
    "reviews": "reviews:Reviews",
    "sst": "sst:SST",
    "topics": "topics:Topics",
    "slips": "slips:Slips",
    "slip-words": "slips:SlipWords",
    "passages": "passages:Passages",
    "topic-texts": "topic_texts:TopicTexts",
    "pos-grammar": "pos_grammar:POSGrammar",
    "conllu": "conllu:Conllu",
    "ud-ewt": "ud_ewt:UDEWT",
    "digits": "digits:Digits",
    "spirals": "spirals:Spirals",
    "mirror-shapes": "mirror_shapes:MirrorShapes",
    "mnist": "mnist:MNIST",
    "captioned-shapes": "captioned_shapes:CaptionedShapes",
    "mnist-scenes": "mnist_scenes:MNISTScenes",
    "agreement": "agreement:Agreement",
    "addition": "marked_numbers:Addition",
    "multiplication": "marked_numbers:Multiplication",
    "subtraction": "marked_numbers:Subtraction",
    "sort-numbers": "sort_numbers:SortNumbers",
    "hull": "hull:Hull",
    "tsp": "tsp:TSP",
    "delaunay": "delaunay:Delaunay",
    "copy-bits": "copy_bits:CopyBits",
    "repeat-copy": "copy_bits:RepeatCopy",
    "recall": "recall:Recall",
    "ngrams": "ngrams:NGrams",
    "priority-sort": "priority_sort:PrioritySort",
    "glyphs": "glyphs:Glyphs",
    "omniglot": "omniglot:Omniglot",
    "bandit": "bandit:Bandit",
}
"""Every task: the name on the command line, and its class."""


def list() -> builtins.list[tuple[str, str]]:
    """All tasks: their names, each with one line of description."""
    return [(name, find(name).title) for name in TASKS]


def find(name: str) -> "type[Task]":
    """The class of a task by its name, or of a user's "file.py:Class". Raises DataError, with the nearest name,
    for another one."""
    from tinyattn.tasks.task import Task

    found = lookup.find("task", name, TASKS, __name__, DataError)
    if not issubclass(found, Task):
        raise DataError(f"[tasks] {name} must be a subclass of tinyattn.tasks.Task, but it is not.")
    return found


def options(task: "type[Task]") -> dict[str, Any]:
    """The options of a task that users may set, with their defaults: all but data and seed."""
    parameters = inspect.signature(task).parameters.values()
    return {p.name: p.default for p in parameters if p.name not in ("data", "seed")}


def takes_data(task: "type[Task]") -> bool:
    """Whether the task reads files."""
    return "data" in inspect.signature(task).parameters


def needs_data(task: "type[Task]") -> bool:
    """Whether it can't do without."""
    return takes_data(task) and inspect.signature(task).parameters["data"].default is inspect.Parameter.empty


def get(name: str, data: str | Path | None = None, seed: int = 0, **given: Any) -> Any:
    """The task called `name`, ready to be trained on.

    data: the file or folder that it reads, for tasks that read some. seed: which training examples, for tasks
    that make their own. given: options of its class, e.g. train_examples for tiny-mt, source and target for
    multi30k. Raises DataError for an unknown name or option, and for files that are missing or damaged.
    """
    task = find(name)
    if data is not None and not takes_data(task):
        raise DataError(
            f"[tasks] --data must come with a task that reads files, but {name} makes its own data."
        )
    if data is None and needs_data(task):
        raise DataError(f"[{name}] its files must be named, but got none: add --data PATH.")
    known = options(task)
    for option in given.keys() - known.keys():
        expected = (
            f"options of {name} must be among {', '.join(sorted(known))}"
            if known
            else f"{name} must have no options"
        )
        raise DataError(f"[tasks] {expected}, but got {option!r}.")
    fixed = {"data": data, "seed": seed}
    taken = inspect.signature(task).parameters
    return task(**{key: value for key, value in fixed.items() if key in taken and value is not None}, **given)


def __getattr__(name: str) -> Any:
    if name in ("Task", "Answers", "Scores"):
        return getattr(import_module("tinyattn.tasks.task"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
