"""`tinyattn draw`: the computation graph of a model's loss, forward and backward in one picture."""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

import tinyattn as ta
from tinyattn import models
from tinyattn.cli.settings import UsageError
from tinyattn.tasks.batching import Batch

FORMATS = (".svg", ".png", ".pdf", ".html", ".gv", ".json")
DEPTH = 1
"""Levels of modules opened in a report: more is a wall chart."""


def draw(arguments: argparse.Namespace) -> None:
    """Draw a model by name, at its default sizes, or that of a run."""
    if arguments.output and Path(arguments.output).suffix not in FORMATS:
        raise UsageError(f"[draw] FILE must end in {', '.join(FORMATS)}, but got {arguments.output!r}.")
    what = Path(arguments.what)
    if what.is_dir():
        from tinyattn.cli.finished import trained

        run, _, model = trained(what)
        name = run.config["model"]["name"]
    else:
        entry = models.get(arguments.what)
        model, name = entry.load()(entry.load().Config(40, 40)), entry.name
    direction = "forward" if arguments.forward else "both"
    path = Path(arguments.output or f"{name}.svg")
    view = ta.viz.draw(small_loss(model), direction=direction, depth=arguments.depth)
    view.save(str(path))
    print(json.dumps({"picture": str(path)}) if arguments.json else path)


def small_loss(model: Any) -> ta.Tensor:
    """The model's loss of two sentences of five words: the graph is that of any batch."""
    ids, lengths = np.ones((2, 5), np.int32), np.array([5, 4], np.int32)
    arrays = {"source": ids, "source_length": lengths, "target_in": ids.copy(), "target_out": ids.copy()}
    named: dict[str, Any] = {name: ta.tensor(array, name=name) for name, array in arrays.items()}
    return model.eval().loss(
        Batch(**named, target_length=lengths, index=np.arange(2), valid=np.ones(2, bool))
    )


def picture_of(model: Any, path: Path) -> str:
    """Save the picture of a model for its report, and return it as SVG text; else a sentence that says what
    is missing.
    """
    try:
        ta.viz.draw(small_loss(model), depth=DEPTH).save(str(path))
        return path.read_text(encoding="utf-8")
    except Exception as error:  # most likely there is no `dot`, and the message says how to get it
        return f"Not drawn: {error}"
