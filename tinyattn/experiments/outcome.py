"""What a finished run says: its figures beside those of the baseline, as a table, as JSON and as a report."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tinyattn.experiments.picture import graph_of
from tinyattn.models.model import Model
from tinyattn.sections import Curves, Graph, Line, Section, Table, Text
from tinyattn.tasks.task import Answers, Scores, Task
from tinyattn.train.loop import Standing
from tinyattn.train.run import Run, command, toml
from tinyattn.viz import report

DEPTH = 1
"""Levels of modules opened in the report's graph: more is a wall chart."""
GRAPH, PAGE, REPORT = "graph.svg", "graph.html", "report.html"
FINISHED = "results.json"
"""What a finished run has in its folder."""


@dataclass
class Trained:
    """A model at the end of its run."""

    name: str
    variant: str
    model: Model
    answers: Answers
    scores: Scores
    standing: Standing
    steps: int
    metrics: list[dict[str, Any]]

    @property
    def heading(self) -> str:
        """Its name, with what it is compared for."""
        return f"{self.label} ({self.model.remark})" if self.model.remark else self.label

    @property
    def label(self) -> str:
        """Its name, and which variant it is."""
        return f"{self.name} {self.variant}".strip()

    def summary(self) -> dict[str, Any]:
        """All about it, for JSON."""
        return self.scores.figures | {
            "groups": self.scores.groups, "parameters": self.model.num_parameters(), "steps": self.steps,
            "seconds": round(self.standing.seconds, 2), "best_step": self.standing.best_step,
        }  # fmt: skip


Row = tuple[str, str, list[str]]
"""What, target, the value of each model."""


@dataclass
class Outcome:
    """The models of a run, the one it is about first; `figures` and `groups` are that one's."""

    folder: Path
    task: Task
    models: list[Trained]
    targets: Mapping[str, float]
    seed: int

    @property
    def figures(self) -> dict[str, float]:
        """Metric → value on the test split."""
        return self.models[0].scores.figures

    @property
    def groups(self) -> dict[str, dict[str, float]]:
        """By what → (group → value)."""
        return self.models[0].scores.groups

    @property
    def report(self) -> Path:
        """The page."""
        return self.folder / REPORT

    def to_json(self) -> dict[str, Any]:
        """All of it."""
        return {
            "run": str(self.folder), "report": str(self.report), "seed": self.seed,
            "models": {self._key(one): one.summary() for one in self.models},
        }  # fmt: skip

    def _key(self, one: Trained) -> str:
        """Its name, and that of the variant if it is beside one of the same name."""
        return one.label if one is not self.models[0] and one.name == self.models[0].name else one.name

    def rows(self) -> list[Row]:
        """The table: one row a figure, one column a model."""
        rows = []
        for figure in self.task.figures:
            found = [one.scores.figures.get(figure.key) for one in self.models]
            if any(value is not None for value in found):
                target = figure.goal(self.targets[figure.key]) if figure.key in self.targets else ""
                values = ["–" if value is None else figure.say(value) for value in found]
                rows.append((figure.name, target, values))
        rows.append(("parameters", "", [f"{one.model.num_parameters():,}" for one in self.models]))
        rows.append(("training time", "", [f"{one.standing.seconds:.0f} s" for one in self.models]))
        return rows

    def __str__(self) -> str:
        title = f"{self.task.name}, {self.task.count('test'):,} held-out examples"
        headings = [one.heading for one in self.models]
        rows = self.rows()
        first = max(len(title), *(len(row[0]) for row in rows))
        lines = []
        for name, target, values in [(title, "target", headings), *rows]:
            columns = zip(headings, values, strict=True)
            cells = "".join(f"{value:>{max(len(above), 8) + 2}}" for above, value in columns)
            lines.append(f"{name:<{first}}  {target:>9}{cells}")
        return "\n".join(lines)


def write_report(outcome: Outcome, run: Run) -> None:
    """Write report.html, and graph.svg and graph.html that it leads to, into the run's folder."""
    task, main = outcome.task, outcome.models[0]
    seconds = sum(one.standing.seconds for one in outcome.models)
    about = f"{task.title}; {main.steps:,} steps, {seconds:.0f} s of training in all; in {run.folder}"
    if run.config["training"].get("start"):
        about += f"; begun from {run.config['training']['start']}"
    head = ["", "target", *(one.heading for one in outcome.models)]
    table = Table("Results on held-out data", head, [[what, goal, *v] for what, goal, v in outcome.rows()])
    answers = {one.heading: (one.answers, one.scores) for one in outcome.models}
    probe = next(iter(task.batches("test", 4)))
    parts: list[Section] = [
        table, _curves(outcome), *task.sections(answers, "test"), *main.model.eval().sections(probe, task),
        _graph(outcome, run), Text("Settings", toml(run.config)),
    ]  # fmt: skip
    report.write(outcome.report, f"{main.name} on {task.name}", about, parts)


def _curves(outcome: Outcome) -> Curves:
    """The losses of all models over the steps."""
    lines = []
    for style, one in enumerate(outcome.models):
        names = [objective.name for objective in one.model.objectives()]
        for number, key in enumerate([*names, "val_loss"]):
            points = [(r["step"], r[key]) for r in one.metrics if r.get(key) is not None]
            said = {"loss": "training", "val_loss": "validation"}.get(key, key)
            if points:
                x, y = zip(*points, strict=True)
                lines.append(
                    Line(
                        f"{one.label}, {said}",
                        x,
                        y,
                        (style + number * (len(names) > 1)) % 4,
                        key == "val_loss",
                    )
                )
    caption = f"Nats per {outcome.task.unit}." if outcome.models[0].answers.nats is not None else ""
    return Curves("Loss", lines, "step", "loss", caption)


def _graph(outcome: Outcome, run: Run) -> Graph:
    """The picture of the model's loss; else a sentence that says what is missing."""
    title = "The computation, forward and backward"
    path = run.folder / GRAPH
    caption = "Blue: inputs and parameters; orange: the derivative; dotted: values it needs. "
    caption += f"All of it: {command('draw', run.folder, '-o', 'all.html')}"
    try:
        view = graph_of(outcome.models[0].model, outcome.task, depth=DEPTH)
        view.save(str(path)).save(str(run.folder / PAGE))
        svg, page = (one.read_text(encoding="utf-8") for one in (path, run.folder / PAGE))
        return Graph(title, svg, GRAPH, caption, PAGE, page)
    except Exception as error:  # most likely there is no `dot`, and the message says how to get it
        return Graph(title, f"Not drawn: {error}")
