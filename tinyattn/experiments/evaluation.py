"""The answers of a model to a whole split, batch by batch."""

from collections.abc import Callable
from typing import Any

import numpy as np

from tinyattn.models.model import Model
from tinyattn.tasks.task import Answers, Task


def answers_of(
    model: Model,
    task: Task,
    split: str = "test",
    batch_size: int = 64,
    progress: Callable[[int, int], None] = lambda done, total: None,
    **search: Any,
) -> Answers:
    """Answers to all examples of a split, in its order. progress(done, total) is called after each batch.

    search: options of the model's `answer`. Raises what the parts raise.
    """
    count = task.count(split)
    whole = Answers(outputs=[None] * count)
    batches = task.batches(split, batch_size)
    was_training = model.training
    model.eval()
    try:
        for number, batch in enumerate(batches):
            found = model.answer(batch, **search)
            if found.nats is not None:
                whole.nats = (whole.nats or 0.0) + found.nats
                whole.predictions += found.predictions
            for row in np.flatnonzero(batch.valid):
                place = batch.index[row]
                whole.outputs[place] = found.outputs[row]
                for name, maps in found.maps.items():
                    whole.maps.setdefault(name, [None] * count)[place] = np.array(maps[row])
            progress(number + 1, len(batches))
    finally:
        model.train(was_training)
    return whole
