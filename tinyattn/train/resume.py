"""``ta.save`` and ``ta.load``: a training loop of one's own in one file, to go on as if it had never stopped.

The file is a checkpoint as training runs write them: parameters and buffers, all that the optimizers
remember, and the state of the global source of randomness, so that dropout draws what it would have drawn.
Where the loop stands in its data is the loop's own business.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tinyattn import errors
from tinyattn.graph.randomness import random_state, set_random_state
from tinyattn.graph.types import fail
from tinyattn.nn.module import Module
from tinyattn.train import checkpoint
from tinyattn.train.optimizer import Optimizer

Optimizers = Optimizer | Sequence[Optimizer] | None


def save(path: str | Path, model: Module, optimizer: Optimizers = None) -> None:
    """Write a model, its optimizer (or a list of them, or none) and the random state to the file ``path``, whole or
    not at all.

    Raises CheckpointError when the disk refuses, TinyattnError for other objects.
    """
    _check("save", model, optimizer)
    states = dict(pair for name, one in _named(optimizer).items() for pair in _under(name, one))
    saved = checkpoint.Checkpoint(0, model.state_dict(), states, {"state": random_state()})
    checkpoint.save(path, saved)


def load(path: str | Path, model: Module, optimizer: Optimizers = None) -> None:
    """Restore what ``save`` wrote to ``path``, into a model and optimizers made like those that were saved.

    Without ``optimizer`` only the model and the random state are restored. Raises CheckpointError, with nothing
    changed, when the file is damaged or belongs to others: names, shapes and element types must agree.
    """
    _check("load", model, optimizer)
    saved, optimizers = checkpoint.load(path), _named(optimizer)
    saved.check("model", model.state_dict())
    saved.check("random", {"state": random_state()})
    if optimizers:
        saved.check("optimizer", dict(pair for name, one in optimizers.items() for pair in _under(name, one)))
    model.load_state_dict(saved.model)
    for prefix, one in optimizers.items():
        one.load_state_dict({name: saved.optimizer[prefix + name] for name in one.state_dict()})
    set_random_state(saved.random["state"])


def _named(optimizer: Optimizers) -> dict[str, Optimizer]:
    """Optimizers by what stands before the names of their arrays: nothing for a single one."""
    if optimizer is None:
        return {}
    return (
        {"": optimizer} if isinstance(optimizer, Optimizer) else {f"{k}.": o for k, o in enumerate(optimizer)}
    )


def _under(prefix: str, optimizer: Optimizer) -> list[tuple[str, np.ndarray]]:
    return [(prefix + name, array) for name, array in optimizer.state_dict().items()]


def _check(op: str, model: Module, optimizer: Optimizers) -> None:
    if not isinstance(model, Module):
        got = f"got {type(model).__name__}"
        fail(errors.TinyattnError, op, "the second argument must be a module", got)
    several = isinstance(optimizer, (list, tuple)) and all(isinstance(one, Optimizer) for one in optimizer)
    if optimizer is not None and not isinstance(optimizer, Optimizer) and not several:
        must = "the third argument must be an optimizer, a list of them, or left out"
        fail(errors.TinyattnError, op, must, f"got {type(optimizer).__name__}")
