"""`tinyattn draw`: the computation graph of a model's loss, forward and backward in one picture."""

import argparse
import json
from pathlib import Path

from tinyattn.errors import ShapeError, UsageError
from tinyattn.experiments.experiment import Experiment

FORMATS = (".svg", ".png", ".pdf", ".html", ".gv", ".json")


def draw(arguments: argparse.Namespace) -> None:
    """Draw a model by name, with the sizes of its default task, or that of a run."""
    if arguments.output and Path(arguments.output).suffix not in FORMATS:
        raise UsageError(f"[draw] FILE must end in {', '.join(FORMATS)}, but got {arguments.output!r}.")
    what = Path(arguments.what)
    if what.is_dir():
        if arguments.task:
            raise UsageError("[draw] RUN must come without --task: the run has its own.")
        experiment = Experiment.open(what, arguments.data)
    else:
        experiment = Experiment(arguments.what, arguments.task, data=arguments.data)
    path = Path(arguments.output or f"{experiment.name}.svg")
    direction = "forward" if arguments.forward else "both"
    switches = {name: getattr(arguments, name) for name in ("expand", "views", "parameters", "repeats")}
    try:
        view = experiment.graph(direction, arguments.depth, arguments.objective, **switches)
    except ShapeError as error:  # (of a model that is built, only a name in `expand` can be wrong)
        said, *_, known = str(error).splitlines()
        raise UsageError(f"{said} {known.strip()}") from error
    view.save(str(path))
    print(json.dumps({"picture": str(path)}) if arguments.json else path)
