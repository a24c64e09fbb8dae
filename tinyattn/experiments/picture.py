"""The computation graph of a model's loss, for two tiny examples: that of any batch looks the same."""

from typing import Any

import tinyattn as ta
from tinyattn.errors import UsageError
from tinyattn.models.model import Model
from tinyattn.tasks.task import Task


def graph_of(
    model: Model,
    task: Task,
    direction: str = "both",
    depth: int | None = None,
    objective: str | None = None,
    **options: Any,
) -> Any:
    """A GraphView, forward and backward; of a model with several objectives the graph of the one that is named,
    or else of the first. Raises UsageError for another name.
    """
    objectives = {one.name: one for one in model.eval().objectives()}
    if objective is not None and objective not in objectives:
        must = f"the objective must be one of {', '.join(objectives)}"
        raise UsageError(f"[draw] {must}, but got {objective!r}.")
    chosen = objectives[objective] if objective else next(iter(objectives.values()))
    batch = task.probe()
    named = {name: ta.tensor(array, name=name) for name, array in vars(batch).items()}
    loss = chosen.loss(type(batch)(**named))
    loss.name = loss.name or "loss"
    return ta.viz.draw(loss, direction=direction, depth=depth, **options)
