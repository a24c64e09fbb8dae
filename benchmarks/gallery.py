"""The pictures of docs/gallery: each model's graph, where trained models look, and the derivations of operations.

    python -m benchmarks.gallery RUN …

draws the graph of the loss of every model, forward and backward, closed and to one and two levels of modules; of each
RUN, the folder of a training, where its model looks in a held-out example; and derives every operation that has a
derivative of its own. What the folder held before is replaced, but for where the models of other runs look.
"""

import argparse
import base64
import re
from pathlib import Path
from typing import Any

import numpy as np

import tinyattn as ta
from tinyattn import models, sections
from tinyattn.errors import TinyattnError
from tinyattn.experiments.experiment import Experiment
from tinyattn.graph.op import OPS
from tinyattn.graph.public import POINTS
from tinyattn.graph.traverse import topological
from tinyattn.tasks.images import on_page
from tinyattn.tasks.pointing import Pointing
from tinyattn.viz import output
from tinyattn.viz.figures import FigureView
from tinyattn.viz.report import grid_of

FOLDER = Path(__file__).parents[1] / "docs" / "gallery"
DEPTHS = {0: "closed", 1: "one level open", 2: "two levels open"}
LARGEST = 180_000
"""Bytes of a picture that is a page of a book; where one would have more, the forward graph alone is kept."""


def graphs(folder: Path) -> list[str]:
    """Draw every model; lines of the page about them."""
    rows = ["| model | " + " | ".join(DEPTHS.values()) + " |", "|---|" + "---|" * len(DEPTHS)]
    for name in models.MODELS:
        experiment, cells = Experiment(name), []
        for depth in DEPTHS:
            path = folder / f"{name}-{depth}.svg"
            view, said = experiment.graph(depth=depth), ""
            if len(light(view.svg)) > LARGEST:
                view, said = experiment.graph("forward", depth), ", forward alone"
            path.write_text(light(view.svg))
            cells.append(f"[{len(view.drawn.nodes)} nodes{said}]({path.name})")
        rows.append(f"| {name} | " + " | ".join(cells) + " |")
        print(rows[-1], flush=True)
    return rows


def light(svg: str) -> str:
    """A picture without what an image in a page can't show: tooltips, ids and classes."""
    svg = re.sub(r"<title>[^<]*</title>\n?", "", svg)
    svg = re.sub(r'<g id="a_[^"]*"><a [^>]*>\n?', "", svg).replace("</a>\n</g>\n", "")
    return re.sub(r' (id|class)="[^"]*"', "", svg).replace(">\n<", "><") + "\n"


LOOKS = "## Where trained models look"


def known_looks() -> dict[str, list[str]]:
    """What the page says of runs, by model and task."""
    page = FOLDER / "README.md"
    text = page.read_text() if page.exists() else ""
    inside = text.partition(f"{LOOKS}\n")[2].partition("\n## ")[0]
    parts = (part.strip("\n").split("\n") for part in inside.split("### ")[1:])
    return {part[0]: [f"### {part[0]}", *part[1:], ""] for part in parts}


def looks(folder: Path, runs: list[Path]) -> list[str]:
    """Draw where the model of each run looks; lines of the page about these and earlier ones."""
    found = known_looks()
    for run in runs:
        try:
            experiment = Experiment.open(run)
            name = f"{experiment.name} on {experiment.task.name}"
            path = folder / f"{name.replace(' ', '-')}.svg"
            made = _figure(experiment)
        except TinyattnError as error:  # (a run of an older version)
            print(f"{run}: {error}", flush=True)
            continue
        if made is None:
            print(f"{name}: looks at nothing", flush=True)
            continue
        told, view = made
        view.save(path)
        found[name] = [f"### {name}", "", told, "", f"![{told}]({path.name})", ""]
        print(path, flush=True)
    order = [*models.MODELS]
    return [
        row
        for name in sorted(found, key=lambda name: order.index(name.split(" on ")[0]))
        for row in found[name]
    ]


def _figure(experiment: Experiment) -> tuple[str, Any] | None:
    """What is told of a model's attention, and its picture."""
    task, model = experiment.task, experiment.model.eval()
    for part in model.sections(next(iter(task.batches("test", 2))), task):
        made = _of_section(part)
        if made is not None:
            return part.caption or part.title, made
    try:
        asked = task.suggestions(1)[0]
        said = experiment.sample(asked)
    except (TinyattnError, NotImplementedError):
        said = {}
    drawn = _over_things(task, said, asked) if said else None
    if drawn is not None:
        return drawn
    for name, weights in said.items():
        array = (
            np.asarray(weights)
            if isinstance(weights, list) and weights and isinstance(weights[0], list)
            else None
        )
        if array is not None and array.ndim == 2 and array.dtype.kind == "f":
            words = [*(said.get("output_tokens") or str(said.get("output", "")).split()), "<eos>"]
            array = array[: len(words)]  # (the rest is padding)
            read = [*str(said["input"]).split(), "<eos>"][: array.shape[1]]
            columns = read if len(read) == array.shape[1] else None
            rows = words if len(words) == len(array) else None
            return f"{name}: rows are what is said, columns what is read.", ta.viz.heatmap(
                array, rows, columns
            )
    maps = ta.viz.attention_maps(model, next(iter(task.batches("test", 1))))
    for path, weights in maps.items():
        return f"{path}, the first head: rows look at columns.", ta.viz.heatmap(weights[0, 0])
    return None


def _over_things(task: Any, said: dict[str, Any], asked: str) -> tuple[str, Any] | None:
    """What was said of an image or of points in the plane, drawn over these."""
    if isinstance(task, Pointing) and task.features == 2:
        points = np.array([[float(x) for x in point.split(",")] for point in asked.split()])
        answer = [int(k) - 1 for k in str(said["output"]).split()]
        return "The model points from one to the next.", ta.viz.pointers(points, task.arrows(answer))
    if "output_tokens" in said and "attention" in said:
        weights, image = np.asarray(said["attention"]), getattr(task.read(asked), "images", None)
        if image is not None:
            words = [*said["output_tokens"], "<eos>"][: len(weights)]
            told = "Lit where the model looked when it said the word below; beside it the largest weight."
            return told, ta.viz.overlay(on_page(image)[0], weights[: len(words)], words)
    return None


def _of_section(part: sections.Section) -> Any:
    if isinstance(part, sections.Heat) and part.maps:
        best = max(part.maps, key=lambda one: one.weights.size * (one.weights.size <= 400))
        return ta.viz.heatmap(best.weights, best.rows, best.columns)
    if isinstance(part, sections.Film):
        return ta.viz.film(part.addresses, part.steps)
    if isinstance(part, sections.Arcs) and part.texts:
        return ta.viz.arcs(*max(part.texts, key=lambda text: len(text[0])))
    if isinstance(part, sections.Images) and part.title.startswith("Where"):
        return _enlarged(part.title, grid_of(part.images, part.columns))
    if isinstance(part, sections.Looks):
        return ta.viz.overlay(part.image, part.weights, part.words)
    return None


def _enlarged(title: str, pixels: np.ndarray, times: int = 6) -> FigureView:
    """Small pictures in sharp squares."""
    height, width = (times * side for side in pixels.shape[:2])
    data = base64.b64encode(output.png(pixels)).decode()
    return FigureView(
        title,
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}"><image width="{width}" '
        f'height="{height}" style="image-rendering:pixelated" href="data:image/png;base64,{data}"/></svg>',
    )


def derivations(folder: Path) -> list[str]:
    """Derive what has a derivative of its own; lines of the page about it."""
    rows = []
    for name in POINTS:
        function, points = POINTS[name]
        leaves = [ta.tensor(array) for array in points[0].arrays()]
        result = points[0].call(function)(*leaves)
        below = topological(
            [y for y in (result if isinstance(result, tuple) else (result,)) if isinstance(y, ta.Tensor)]
        )
        if any(OPS[node.op.name].definition is not None for node in below if node.op.name != "checkpoint"):
            derived = ta.derive(name)
            assert derived.holds, name
            (folder / f"derive-{name}.txt").write_text(f"{derived.text()}\n")
            rows.append(f"- [{name}](derive-{name}.txt): {len(derived.steps)} steps")
    return rows


def main() -> None:
    """Make the gallery."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", nargs="*", type=Path, metavar="RUN", help="the folder of a training")
    arguments = parser.parse_args()
    FOLDER.mkdir(parents=True, exist_ok=True)
    for path in FOLDER.iterdir():
        if path.name.startswith("derive-") or re.search(r"-[0-2]\.svg$", path.name):
            path.unlink()
    page = [
        "# Gallery",
        "",
        "Made by `python -m benchmarks.gallery RUN …`, from the models as they are and from trained runs.",
        "",
    ]
    page += [
        "## Derivations",
        "",
        "Of operations that have a derivative of their own, each step checked with numbers.",
    ]
    page += [
        "The same as a page with mathematics: `tinyattn derive NAME -o NAME.html`.",
        "",
        *derivations(FOLDER),
        "",
    ]
    page += [LOOKS, "", *looks(FOLDER, arguments.runs)]
    page += [
        "## Graphs of models",
        "",
        "The loss and its derivative, as a step of the training computes them, on two tiny examples. Blue: inputs;",
        "grey: operations; green: the loss; orange border: kept for the derivative; orange: the derivative; yellow:",
        "what it computes of forward values; a solid box: a closed module; blue words: parameters. A second call",
        "of a module is closed where the first one is open. With formulas and numbers to walk through:",
        "`tinyattn draw MODEL -o graph.html`.",
        "",
        *graphs(FOLDER),
        "",
    ]
    (FOLDER / "README.md").write_text("\n".join(page))


if __name__ == "__main__":
    main()
