"""What a finished run says: a table in the terminal, and the report."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tinyattn.models.evaluation import Evaluation
from tinyattn.train import report
from tinyattn.train.charts import Line
from tinyattn.train.loop import Standing
from tinyattn.train.run import Run, command, toml

PICTURES = 4
"""Sentences that are shown, from short to long."""


@dataclass
class Trained:
    """A model at the end of its run."""

    name: str
    model: Any
    evaluation: Evaluation
    standing: Standing
    steps: int
    metrics: list[dict[str, Any]]

    @property
    def figures(self) -> dict[str, float]:
        """All figures by their metric names, that of the longest sentences included."""
        longest = list(self.evaluation.by_length)[-1]
        return self.evaluation.figures | {f"exact_match_{longest}": self.evaluation.by_length[longest]}

    def summary(self) -> dict[str, Any]:
        """All about it, for JSON."""
        return self.figures | {
            "by_length": self.evaluation.by_length, "parameters": self.model.num_parameters(), "steps": self.steps,
            "seconds": round(self.standing.seconds, 2), "best_step": self.standing.best_step,
        }  # fmt: skip


Row = tuple[str, str, list[str]]
"""What, target, the value of each model."""


def figures_of(trained: list[Trained], targets: dict[str, float]) -> list[Row]:
    """The table: one row a figure, one column a model."""
    longest = list(trained[0].evaluation.by_length)[-1]
    formats = {
        "exact_match": ("exact match", "{:.1%}"), f"exact_match_{longest}": (f"exact match, {longest} words", "{:.1%}"),
        "bleu": ("BLEU", "{:.2f}"), "perplexity": ("perplexity", "{:.3f}"), "aer": ("alignment error rate", "{:.3f}"),
    }  # fmt: skip
    rows = []
    for metric, (name, form) in formats.items():
        if not any(metric in one.figures for one in trained):
            continue
        sign = "≤" if metric in ("aer", "perplexity") else "≥"
        target = f"{sign} {form.format(targets[metric])}" if metric in targets else ""
        values = [form.format(one.figures[metric]) if metric in one.figures else "–" for one in trained]
        rows.append((name, target, values))
    rows.append(("parameters", "", [f"{one.model.num_parameters():,}" for one in trained]))
    rows.append(("training time", "", [f"{one.standing.seconds:.0f} s" for one in trained]))
    return rows


def show(task: Any, trained: list[Trained], rows: list[Row], folder: Path, page: Path) -> None:
    """Print the table, where the report is, and what to try next."""
    count = len(trained[0].evaluation.translations)
    title = f"{task.name}, {count:,} held-out examples"
    first = max(len(title), *(len(row[0]) for row in rows))
    headings = [heading(one) for one in trained]
    print()
    for name, target, values in [(title, "target", headings), *rows]:
        columns = zip(headings, values, strict=True)
        cells = "".join(f"{value:>{max(len(above), 8) + 2}}" for above, value in columns)
        print(f"{name:<{first}}  {target:>9}{cells}")
    example = task.join_source(task.source_tokens("test")[0])
    print(f"\nreport: {page}\nnext:   {command('sample', folder, example)}")
    for words in (("draw", folder, "-o", "graph.svg"), ("eval", folder, "--beam", "4")):
        print(f"        {command(*words)}")


def heading(one: Trained) -> str:
    """The model's name, with what it is compared for."""
    attends = any(weights is not None for weights in one.evaluation.attention)
    return one.name if attends else f"{one.name} (no attention)"


def write_report(run: Run, task: Any, trained: list[Trained], rows: list[Row]) -> Path:
    """Write report.html into the run's folder; its path."""
    from tinyattn.cli.draw import picture_of

    path = run.folder / "report.html"
    main = trained[0]
    source, references = task.source_tokens("test"), task.references("test")
    curves = []
    for style, one in enumerate(trained):
        for key, label, dashed in (("loss", "training", False), ("val_loss", "validation", True)):
            points = [(record["step"], record[key]) for record in one.metrics if record.get(key) is not None]
            curves.append(
                Line(f"{one.name}, {label}", [x for x, _ in points], [y for _, y in points], style, dashed)
            )
    shown = _spread([len(words) for words in source], PICTURES)
    alignments = []
    for row in shown:
        weights = main.evaluation.attention[row]
        if weights is not None:
            said = [*main.evaluation.translations[row], "<eos>"][: len(weights)]
            alignments.append(report.Alignment(weights, said, source[row][: weights.shape[1]]))
    samples = [
        (
            task.join_source(source[row]),
            task.join_target(references[row]),
            {heading(one): task.join_target(one.evaluation.translations[row]) for one in trained},
        )
        for row in shown
    ]
    seconds = sum(one.standing.seconds for one in trained)
    about = f"{task.description}; {main.steps:,} steps, {seconds:.0f} s of training in all; in {run.folder}"
    report.write(
        path,
        report.Report(
            title=f"{main.name} on {task.name}",
            about=about,
            models=[heading(one) for one in trained],
            rows=rows,
            curves=[curve for curve in curves if curve.x],
            by_length={heading(one): one.evaluation.by_length for one in trained},
            alignments=alignments,
            samples=samples,
            graph=picture_of(main.model, run.folder / report.GRAPH),
            folder=str(run.folder),
            config=toml(run.config),
        ),
    )
    return path


def _spread(lengths: list[int], count: int) -> list[int]:
    """`count` rows whose lengths are spread evenly from short to long."""
    order = np.argsort(lengths, kind="stable")
    places = np.linspace(0.05, 0.95, count) * (len(order) - 1)
    return [int(order[int(place)]) for place in places]
