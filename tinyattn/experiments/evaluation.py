"""A trained model: its best parameters, and its answers to a whole split, batch by batch."""

from collections.abc import Callable
from typing import Any

import numpy as np

from tinyattn import ranks
from tinyattn.models.model import Model
from tinyattn.tasks.task import Answers, Task
from tinyattn.train import checkpoint
from tinyattn.train.run import Run


def answers_of(
    model: Model,
    task: Task,
    split: str = "test",
    batch_size: int = 64,
    progress: Callable[[int, int], None] = lambda done, total: None,
    **search: Any,
) -> Answers:
    """Answers to all examples of a split, in its order. progress(done, total) is called after each batch.

    Ranks answer the batches in turns. search: options of the model's `answer`. Raises what the parts raise.
    """
    count = task.count(split)
    whole = Answers(outputs=[None] * count)
    batches = task.batches(split, batch_size)
    was_training = model.training
    model.eval()
    try:
        told = ranks.shared(batches, lambda batch: model.answer(batch, **search))
        for number, (batch, found) in enumerate(zip(batches, told, strict=True)):
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


def load_best(run: Run, model: Model) -> None:
    """Give `model` the parameters of the lowest validation loss; failing that, those of the last checkpoint."""
    best = run.folder / checkpoint.BEST

    def there() -> checkpoint.Checkpoint:
        if best.exists():
            return checkpoint.load(best)
        saved = checkpoint.latest(run.folder)
        if model.keeps == "best":
            ranks.say(f"note: there is no {best}; the last checkpoint, of step {saved.step:,}, is used.")
        return saved

    saved = ranks.on_first(there)
    saved.check("model", model.state_dict())
    model.load_state_dict(saved.model)
