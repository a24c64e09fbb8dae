"""A run that has been trained, opened again: its task, and its model with the best parameters."""

import sys
from pathlib import Path
from typing import Any

from tinyattn.cli import settings
from tinyattn.train import checkpoint
from tinyattn.train.run import Run


def trained(folder: str | Path, data: str | None = None) -> tuple[Run, Any, Any]:
    """The run in a folder, its task, and its model with the best parameters.

    data: where the files of the task are now, if they have moved. Raises CheckpointError and DataError.
    """
    run = Run.open(folder, lock=False)
    settings.check_run(run)
    if data is not None:
        settings.move_data(run.config, data)
    task = settings.make_task(run.config)
    model = settings.make_model(run.config, task)
    load_best(run, model)
    return run, task, model.eval()


def load_best(run: Run, model: Any) -> None:
    """Give `model` the parameters of the lowest validation loss; failing that, those of the last
    checkpoint.
    """
    best = run.folder / checkpoint.BEST
    if best.exists():
        saved = checkpoint.load(best)
    else:
        saved = checkpoint.latest(run.folder)
        print(
            f"note: there is no {best}; the last checkpoint, of step {saved.step:,}, is used.",
            file=sys.stderr,
        )
    saved.check("model", model.state_dict())
    model.load_state_dict(saved.model)
