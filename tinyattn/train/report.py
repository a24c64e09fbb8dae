"""report.html: one page that shows a run to somebody who was not there.

It is a single file that asks the network for nothing: styles and pictures are inside, and its content security policy
forbids everything else. All words from data are escaped. It can be read on a telephone (360 pixels), in the dark, and
on paper.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from tinyattn import files
from tinyattn.markup import escape
from tinyattn.train import charts
from tinyattn.train.run import command

STYLE = """
:root { color-scheme: light dark; --ink: #1b1b1f; --paper: #fff; --soft: #6b6b76; --rule: #dcdce3;
  --c0: #0072b2; --c1: #d55e00; --c2: #009e73; --c3: #cc79a7; }
@media (prefers-color-scheme: dark) { :root { --ink: #e8e8ee; --paper: #17171b; --soft: #a0a0ac; --rule: #3a3a44;
  --c0: #56b4e9; --c1: #e69f00; --c2: #2fc79a; --c3: #e0a0c4; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1rem; max-width: 60rem; color: var(--ink); background: var(--paper);
  font: 16px/1.5 system-ui, sans-serif; overflow-wrap: anywhere; }
h1 { font-size: 1.5rem; line-height: 1.2; } h2 { font-size: 1.15rem; margin-top: 2.2rem; }
h3 { font-size: 1rem; margin-bottom: .3rem; }
p.about, figcaption, .legend, th { color: var(--soft); }
table { border-collapse: collapse; } th, td { padding: .3rem .9rem .3rem 0; text-align: left; vertical-align: top; }
td { border-top: 1px solid var(--rule); } td.number { text-align: right; font-variant-numeric: tabular-nums; }
.scroll table { overflow-wrap: normal; } .scroll td { white-space: nowrap; }
table.sample { margin-bottom: 1.5rem; } table.sample td:first-child { min-width: 6rem; overflow-wrap: normal; }
.scroll { overflow-x: auto; } figure { margin: 1rem 0; } svg.wide { width: 100%; height: auto; }
.graph { background: #fff; border: 1px solid var(--rule); padding: .5rem; max-height: 80vh; overflow: auto; }
.graph svg { max-width: 100%; height: auto; }
pre { overflow-x: auto; border: 1px solid var(--rule); padding: .7rem; font-size: .85rem; }
.tick { font: 12px system-ui, sans-serif; fill: var(--soft); } .grid { stroke: var(--rule); }
.line { fill: none; stroke-width: 2; } .dashed { stroke-dasharray: 5 4; }
.line.c0 { stroke: var(--c0); } .line.c1 { stroke: var(--c1); } .line.c2 { stroke: var(--c2); }
.line.c3 { stroke: var(--c3); } .bar.c0 { fill: var(--c0); } .bar.c1 { fill: var(--c1); } .bar.c2 { fill: var(--c2); }
.bar.c3 { fill: var(--c3); } .cell { fill: var(--ink); } .frame { fill: none; stroke: var(--rule); }
.legend span { margin-right: 1.2rem; white-space: nowrap; }
.right { color: var(--c2); } .wrong { color: var(--c1); }
"""
GRAPH = "graph.svg"
"""The picture of the graph, beside the page."""
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"


@dataclass
class Alignment:
    """One attention picture: weights (rows, columns), the words said, and the words looked at."""

    weights: np.ndarray
    rows: Sequence[str]
    columns: Sequence[str]


@dataclass
class Report:
    """What the page shows; a part that is empty is left out.

    rows: (what, target, value of each model); samples: (source, reference, {model: translation}); by_length:
    model → (source lengths → exact match); graph: SVG of the computation graph, or a sentence why there is none;
    folder: that of the run, as commands name it.
    """

    title: str
    about: str
    models: Sequence[str]
    rows: Sequence[tuple[str, str, Sequence[str]]] = ()
    curves: Sequence[charts.Line] = ()
    by_length: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    alignments: Sequence[Alignment] = ()
    samples: Sequence[tuple[str, str, Mapping[str, str]]] = ()
    graph: str = ""
    folder: str = "RUN"
    config: str = ""


def write(path: str | Path, report: Report) -> None:
    """Write the page. Raises OSError."""
    files.replace(path, [render(report).encode()])


def render(report: Report) -> str:
    """The page as text."""
    title = escape(report.title)
    parts = [f"<h1>{title}</h1>", f'<p class="about">{escape(report.about)}</p>']
    if report.rows:
        parts += ["<h2>Results on held-out data</h2>", _results(report)]
    if report.curves:
        parts += ["<h2>Loss</h2>", _figure(charts.lines(report.curves, "step", "loss"), "Nats per word.")]
    if report.by_length:
        chart = charts.bars(report.by_length, "words in the source", "exact match")
        caption = "Exact match by the length of the source sentence."
        parts += ["<h2>Long sentences</h2>", _figure(chart, caption)]
    if report.alignments:
        caption = "Each row is a word of the translation; its squares are the source words it was made from."
        parts += ["<h2>Where the model looks</h2>", f"<p>{caption}</p>"]
        parts += [
            f'<figure class="scroll">{charts.heat_map(a.weights, a.rows, a.columns)}</figure>'
            for a in report.alignments
        ]
    if report.samples:
        parts += ["<h2>Translations</h2>", *map(_sample, report.samples)]
    if report.graph:
        parts += ["<h2>The computation, forward and backward</h2>", _graph(report)]
    if report.config:
        parts += ["<h2>Settings</h2>", f"<pre>{escape(report.config, None)}</pre>"]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{title}</title><style>{STYLE}</style></head>\n<body>\n"
        + "\n".join(parts)
        + "\n</body></html>\n"
    )


def _results(report: Report) -> str:
    head = "".join(f"<th>{escape(name)}</th>" for name in ("", "target", *report.models))
    rows = []
    for what, target, values in report.rows:
        cells = "".join(f'<td class="number">{escape(value)}</td>' for value in values)
        rows.append(f"<tr><td>{escape(what)}</td><td>{escape(target)}</td>{cells}</tr>")
    return f'<div class="scroll"><table><tr>{head}</tr>{"".join(rows)}</table></div>'


def _figure(chart: str, caption: str) -> str:
    return f"<figure>{chart}<figcaption>{escape(caption)}</figcaption></figure>"


def _sample(sample: tuple[str, str, Mapping[str, str]]) -> str:
    source, reference, translations = sample
    rows = [
        f"<tr><td>source</td><td>{escape(source)}</td></tr>",
        f"<tr><td>reference</td><td>{escape(reference)}</td></tr>",
    ]
    for model, text in translations.items():
        verdict = ("right", "✓") if text == reference else ("wrong", "✗")
        mark = f'<span class="{verdict[0]}">{verdict[1]}</span>'
        rows.append(f"<tr><td>{escape(model)}</td><td>{escape(text)} {mark}</td></tr>")
    return f'<table class="sample">{"".join(rows)}</table>'


def _graph(report: Report) -> str:
    """An SVG without what stands in front of its first tag; anything else is a sentence."""
    if not report.graph.startswith(("<svg", "<?xml")):
        return f"<p>{escape(report.graph)}</p>"
    caption = "Blue: inputs and parameters; orange: the derivative; dotted: values it needs. "
    caption += f"All of it: {command('draw', report.folder, '-o', 'graph.html')}"
    large = f'<a href="{GRAPH}">At full size</a>.'
    return (
        f'<figure><div class="graph">{report.graph[report.graph.index("<svg") :]}</div>'
        f"<figcaption>{large} {escape(caption)}</figcaption></figure>"
    )
