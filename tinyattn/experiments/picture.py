"""The computation graph of a model's loss, for two tiny examples: that of any batch looks the same."""

from typing import Any

import tinyattn as ta
from tinyattn.errors import UsageError
from tinyattn.graph import trace
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
    """A GraphView, forward and backward, as a step of the training computes it, with its dropout and the statistics of
    the batch; of a model with several objectives the graph of the one that is named, or else of the first. The model
    stays as it is. Derivatives are those of the objective's parameters. Raises UsageError for another name.
    """
    was_training = model.training
    model.train()
    try:
        objectives = {one.name: one for one in model.objectives()}
        if objective is not None and objective not in objectives:
            must = f"the objective must be one of {', '.join(objectives)}"
            raise UsageError(f"[draw] {must}, but got {objective!r}.")
        chosen = objectives[objective] if objective else next(iter(objectives.values()))
        batch = task.probe()
        named = {name: ta.tensor(array, name=name) for name, array in vars(batch).items()}
        loss, _ = trace.record(chosen.loss, (type(batch)(**named),), {})
    finally:
        model.train(was_training)
    loss.name = loss.name or "loss"
    # Parameters are lines of their layers, although it is by these that the loss is differentiated.
    options["parameters"] = options.get("parameters") or None
    return ta.viz.draw(loss, list(chosen.parameters), direction, depth, **options)
