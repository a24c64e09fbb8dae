"""A run that has been trained, opened again: its task, and its model with the best parameters."""

from pathlib import Path
from typing import Any

from tinyattn.cli import settings
from tinyattn.train import checkpoint
from tinyattn.train.run import Run


def trained(folder: str | Path) -> tuple[Run, Any, Any]:
    """The run in a folder, its task, and its model with the best parameters. Raises CheckpointError and
    DataError.
    """
    run = Run.open(folder, lock=False)
    settings.check_run(run)
    task = settings.make_task(run.config)
    model = settings.make_model(run.config, task)
    load_best(run, model)
    return run, task, model.eval()


def load_best(run: Run, model: Any) -> None:
    """Give `model` the parameters of the lowest validation loss; failing that, those of the last
    checkpoint.
    """
    best = run.folder / checkpoint.BEST
    saved = checkpoint.load(best) if best.exists() else checkpoint.latest(run.folder)
    saved.check("model", model.state_dict())
    model.load_state_dict(saved.model)
