"""Floor 7: the models, one file each, readable beside the paper it implements.

models.list()              every model, with its paper, the seed document that describes it, and its default
task models.get("bahdanau")     its entry; `.load()` imports the class
models.Bahdanau(config)    the class itself
"""

import builtins
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

from tinyattn.errors import TinyattnError, near


@dataclass(frozen=True)
class Entry:
    """A line of the table of models. The class is `class_name` in tinyattn.models.<module>.

    seed: the seed documents that describe it, S0 … S4. task: what it is trained on by default. baseline: the
    model trained beside it for comparison. settings: training settings and sizes that reach the targets, for
    each task. targets: what each metric should reach, for each task.
    """

    name: str
    module: str
    class_name: str
    paper: str
    seed: str
    task: str
    baseline: str | None = None
    settings: dict[str, dict[str, Any]] = field(default_factory=dict)
    targets: dict[str, dict[str, float]] = field(default_factory=dict)

    def load(self) -> Any:
        """The model's class."""
        return getattr(import_module(f"{__name__}.{self.module}"), self.class_name)


_TRANSLATION = {
    "tiny-mt": {"steps": 2700, "batch_size": 64, "learning_rate": 2e-3, "schedule": "linear"},
    "multi30k": {
        "steps": 3000, "batch_size": 64, "learning_rate": 1e-3, "schedule": "linear",
        "embedding": 256, "hidden": 256, "maxout": 256, "dropout": 0.3,
    },
}  # fmt: skip

MODELS = (
    Entry(
        "bahdanau", "bahdanau", "Bahdanau",
        "Bahdanau, Cho & Bengio 2015, Neural machine translation by jointly learning to align and translate",
        "S0 S1 S3", "tiny-mt", baseline="seq2seq",
        settings={
            "tiny-mt": _TRANSLATION["tiny-mt"],
            "multi30k": _TRANSLATION["multi30k"] | {"attention": 256},
        },
        targets={"tiny-mt": {"exact_match": 0.99, "bleu": 99.0, "aer": 0.10}},
    ),
    Entry(
        "seq2seq", "seq2seq", "Seq2Seq",
        "Cho et al. 2014, Learning phrase representations using RNN encoder-decoder; Sutskever et al. 2014",
        "S0 S1 S3", "tiny-mt", settings=_TRANSLATION,
    ),
)  # fmt: skip


def list() -> builtins.list[Entry]:
    """All models, in the order of the documentation."""
    return [*MODELS]


def get(name: str) -> Entry:
    """The entry of a model by its command-line name. Raises TinyattnError, with the nearest name, for
    another one.
    """
    wanted = str(name).lower().replace("_", "-")
    for entry in MODELS:
        if wanted in (entry.name, entry.class_name.lower()):
            return entry
    names = [entry.name for entry in MODELS]
    close = near(wanted, names)
    suggestion = f"did you mean {close}?" if close else "see `tinyattn models`."
    raise TinyattnError(
        f"[models] the model must be one of {', '.join(names)}, but got {name!r}: {suggestion}"
    )


_LIBRARY = {"GPT": "gpt", "GPTConfig": "gpt"}
"""Classes that Python finds here, though the command line doesn't train them."""


def __getattr__(name: str) -> Any:
    """The model classes, imported when they are asked for."""
    for entry in MODELS:
        if name == entry.class_name:
            return entry.load()
    if name in _LIBRARY:
        return getattr(import_module(f"{__name__}.{_LIBRARY[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> builtins.list[str]:
    return sorted([*globals(), *_LIBRARY, *(entry.class_name for entry in MODELS)])
