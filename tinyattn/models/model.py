"""What every model is to those who train, measure and draw it: a loss, its answers, and the settings that
reach the figures of its paper.

    class MyModel(Model):
        Config = MyConfig                       # a dataclass; fields made by from_task() are decided by the data
        families = ("translation",)
        def loss(self, batch): ...
        def answer(self, batch): ...
"""

import contextlib
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields, replace
from typing import Any, ClassVar

from tinyattn.errors import TinyattnError
from tinyattn.graph.tensor import Tensor
from tinyattn.nn.module import Module
from tinyattn.sections import Section
from tinyattn.tasks.task import Answers, Batch, Task

DOCUMENTS = {
    "S0": "an illustrated overview of attention mechanisms, from Bahdanau's to SNAIL and self-attention GANs",
    "S1": "Natural language processing 3: self-attention (part-of-speech tagging, from a window to self-attention)",
    "S2": "Attention and self-attention: the charm of attention",
    "S3": "Attention Mechanism (temporal and spatial attention; one to one, many to one, one to many, many to many)",
    "S4": "The attention mechanism, its principle and its methods",
}
"""The documents, in Chinese, that the project's list of models comes from."""


def from_task(default: Any = MISSING) -> Any:
    """A field of a Config that the task decides, by its name in `Task.sizes`."""
    return field(default=default, metadata={"from_task": True})


def settings_of(config: type) -> dict[str, Any]:
    """The fields of a Config that users may set, with their defaults."""
    return {f.name: f.default for f in fields(config) if not f.metadata.get("from_task")}


@dataclass(frozen=True)
class Objective:
    """One compiled step: what is minimised, and over which parameters.

    rate: its learning rate, as a share of the run's. settings: other
    training settings of its own. means, counts: see those of Model, for a loss that is a sum of means.
    """

    name: str
    parameters: list[Tensor]
    loss: Callable[[Any], Tensor]
    rate: float = 1.0
    settings: Mapping[str, Any] = field(default_factory=dict)
    means: Callable[[Any], Sequence[Tensor]] | None = None
    counts: Callable[[Any], Sequence[int]] | None = None

    def parts(self, batch: Any) -> Sequence[Tensor]:
        """What the loss is the sum of."""
        return (self.loss(batch),) if self.means is None else self.means(batch)

    def weights(self, batch: Any) -> Sequence[int]:
        """How many predictions each of these is the mean of."""
        return (batch.weight,) if self.counts is None else self.counts(batch)


@dataclass(frozen=True)
class Recipe:
    """Settings with which a model reaches its figures on a task. baseline: the model trained beside it, sized by
    its `Config.like`. variant: which variant of the model it is for (see Model.variant). reported: by figure, what the
    paper has of this kind, and on what if that is another task. options: of the task, such as how long its rows are,
    that it is for; with none it is for all that no other recipe is for."""

    task: str
    sizes: Mapping[str, Any] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)
    baseline: str | None = None
    targets: Mapping[str, float] = field(default_factory=dict)
    variant: str = ""
    reported: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)

    def fits(self, task: str, options: Mapping[str, Any]) -> bool:
        """Whether it is for this task with these options."""
        return self.task == task and self.options.items() <= options.items()


class Model(Module):
    """A model that can be trained on any task of its families."""

    Config: ClassVar[type]
    name: ClassVar[str] = ""
    """As the command line calls it."""
    paper: ClassVar[str] = ""
    documents: ClassVar[str] = ""
    """Which of the project's source documents describe it: see DOCUMENTS."""
    families: ClassVar[tuple[str, ...]] = ()
    recipes: ClassVar[tuple[Recipe, ...]] = ()
    """The first is the default."""
    varies: ClassVar[tuple[str, ...]] = ()
    """The fields of its Config that make variants, which have recipes and figures of their own."""
    remark: ClassVar[str] = ""
    """What tells it apart from the model that it is a baseline of."""
    begins_from: ClassVar[tuple[str, ...]] = ()
    """The models whose parameters it is made to begin with; without, it is its own variant "scratch"."""
    keeps: ClassVar[str] = "best"
    """Which parameters a run ends with: those of the "best" validation loss, or the "last" ones, of models
    whose loss says nothing of how good they are."""
    config: Any

    @classmethod
    def for_task(cls, task: Task, **sizes: Any) -> Any:
        """A model for a task, with initial values. Raises TinyattnError when it isn't made for such tasks."""
        check_family(cls, task)
        given = task.sizes()
        asked = [f.name for f in fields(cls.Config) if f.metadata.get("from_task") and f.default is MISSING]
        missing = [name for name in asked if name not in given]
        if missing:
            must = f"{cls.name or cls.__name__} must be told {' and '.join(missing)} by its task"
            raise TinyattnError(f"[train] {must}, but {task.name} has {', '.join(given)}.")
        decided = {f.name: given[f.name] for f in fields(cls.Config) if f.name in given}
        make: Any = cls  # a model takes its config alone
        return make(cls.Config(**decided | sizes))

    @classmethod
    def variant(cls, sizes: Mapping[str, Any]) -> str:
        """The name of the variant of these sizes: its values in the fields `varies` that aren't the defaults, such as
        "local-p"; "" if all are."""
        defaults = settings_of(cls.Config)
        names = []
        for key in cls.varies:
            if key in sizes and sizes[key] != defaults[key]:
                switch = key.replace("_", "-")
                names.append({True: switch, False: f"no-{switch}"}.get(sizes[key], str(sizes[key])))
        return "-".join(names)

    @classmethod
    def recipe(cls, task: str, variant: str = "", options: Mapping[str, Any] | None = None) -> Recipe:
        """The settings of a variant for a task with these options; where none have been found yet, those for the task
        or defaults, the usual baseline, and no targets."""
        fitting = [recipe for recipe in cls.recipes if recipe.fits(task, options or {})]
        known = {one.variant: one for one in sorted(fitting, key=lambda one: len(one.options))}
        if variant in known:
            return known[variant]
        baseline = cls.recipes[0].baseline if cls.recipes else None
        usual = known.get("", Recipe(task, baseline=baseline))
        same = cls.variant(settings_of(cls.Config) | dict(usual.sizes)) == variant
        return usual if same else replace(usual, targets={}, reported={}, variant=variant)

    @classmethod
    def search(cls) -> dict[str, Any]:
        """The keyword options of `answer` and `sample` with their defaults: beam width, temperature, …"""
        found: dict[str, Any] = {}
        for method in (cls.answer, cls.sample):
            for option in inspect.signature(method).parameters.values():
                if option.kind is option.KEYWORD_ONLY:
                    found[option.name] = option.default
        return found

    @contextlib.contextmanager
    def evaluating(self) -> Iterator[None]:
        """In evaluation mode for a while."""
        was_training = self._training
        self.eval()
        try:
            yield
        finally:
            self.train(was_training)

    def loss(self, batch: Any) -> Tensor:
        """The mean loss of a batch's predictions: a scalar, in nats where it is −log p."""
        raise NotImplementedError

    def answer(self, batch: Any) -> Answers:
        """Answers to a batch, a row each, in evaluation mode."""
        raise NotImplementedError

    def sample(self, batch: Any) -> Answers:
        """What a user is shown who gives the model one example: for most models, its answer."""
        return self.answer(batch)

    def means(self, batch: Any) -> Sequence[Tensor]:
        """The loss as a sum of means, each of other predictions: how a batch is put together from its parts."""
        return (self.loss(batch),)

    def counts(self, batch: Any) -> Sequence[int]:
        """How many predictions of a batch each of these is the mean of."""
        return (batch.weight,)

    def objectives(self) -> list[Objective]:
        """What training minimises, in the order of a step."""
        return [Objective("loss", self.parameters(), self.loss, means=self.means, counts=self.counts)]

    def start_from(self, other: "Model", here: Sequence[str], there: Sequence[str]) -> None:
        """Take over what a trained model, of this kind or of one in `begins_from`, has learned. here, there: the words
        of the own task and of the other's, by their numbers. Raises TinyattnError when it doesn't fit."""
        self.load_state_dict(other.state_dict())

    def sections(self, batch: Batch, task: Task) -> list[Section]:
        """What a report shows of the model itself; batch: a few held-out examples."""
        return []


def check_family(model: type[Model], task: Task | type[Task]) -> None:
    """Raise TinyattnError unless the model is made for such tasks."""
    if model.families and not set(model.families) & set(task.families):
        wanted, got = " or ".join(model.families), " and ".join(task.families)
        raise TinyattnError(
            f"[train] {model.name or model.__name__} must be trained on a task of {wanted}, but got {task.name}, "
            f"a task of {got}."
        )
