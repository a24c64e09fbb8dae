"""Pictures: structure against the graph, identity over runs, escaping, rolled loops."""

import json
import os
import re
import subprocess
import sys
import textwrap
import xml.etree.ElementTree as ET
from pathlib import Path

import graphviz
import numpy as np
import pytest
from drawn_graphs import NASTY, attention, by_title, edges, leaf, needs_dot, recurrent, residual

import tinyattn as ta
from tinyattn import errors, viz
from tinyattn.graph import trace
from tinyattn.graph.text import structural_ids
from tinyattn.graph.traverse import topological
from tinyattn.viz.labels import filled

# What is drawn.


def test_forward_picture_is_the_graph():
    y = attention()
    picture = viz.draw(y, direction="forward", views=True).picture
    order = topological([y])
    ids = structural_ids([y])
    drawn = [n for n in order if filled(n) is None]
    assert list(picture.nodes) == [ids[n] for n in drawn]
    assert edges(picture) == {(ids[s], ids[n]) for n in drawn for s in n.inputs if filled(s) is None}
    assert {e.kind for e in picture.edges} == {"data"}
    assert picture.nodes[ids[y]].output and [n.kind for n in picture.nodes.values()].count("input") == 3
    assert "Q·Kᵀ / 2" in {n.formula for n in picture.nodes.values()}, (
        "a constant of one element belongs in its user's label"
    )
    assert picture.nodes[ids[y]].types == ["f32 ()"] and picture.nodes[ids[drawn[0]]].types == [
        "f32 (2, 3, 4)"
    ]
    softmax = by_title(picture, "softmax")
    assert softmax.formula == "softmax(Q·Kᵀ / 2)" and "⟨y, ḡ⟩" in softmax.rule
    assert softmax.line.rpartition("/")[2].startswith("drawn_graphs.py:")
    assert "ta.softmax(q @ k" in softmax.source


def test_gradients_are_in_the_same_picture():
    picture = viz.draw(attention(), views=True).picture
    seed = [n for n in picture.nodes.values() if n.kind == "seed"]
    results = {n.title: n for n in picture.nodes.values() if n.kind == "result"}
    assert len(seed) == 1 and set(results) == {"∂y/∂Q", "∂y/∂K", "∂y/∂V"}
    # Cotangents run from the output's seed to every leaf.
    flow = [e for e in picture.edges if e.kind == "gradient"]
    reached, grew = {seed[0].id}, True
    while grew:
        more = reached | {e.target for e in flow if e.source in reached}
        reached, grew = more, more != reached
    assert {n.id for n in results.values()} <= reached
    phases = {ident: n.phase for ident, n in picture.nodes.items()}
    ends = {
        kind: {(phases[a], phases[b]) for a, b in edges(picture, kind)}
        for kind in ("data", "gradient", "saved", "seed", "operand")
    }
    assert ends["data"] == {("forward", "forward")} and ends["saved"] == ends["seed"] == {
        ("forward", "gradient")
    }
    assert ends["gradient"] == ends["operand"] == {("gradient", "gradient")}
    softmax, backward = by_title(picture, "softmax"), by_title(picture, "softmax backward", "gradient")
    assert (
        softmax.saved
        and (softmax.id, backward.id) in edges(picture, "saved")
        and backward.origin == softmax.id
    )
    operands = [n for n in picture.nodes.values() if n.operand]
    assert operands and {n.op for n in operands} == {"transpose"}, (
        "a transposed forward value isn't a cotangent"
    )


def test_directions_and_wrt():
    y = residual()
    w = next(n for n in topological([y]) if n.name == "W1")
    titles = [n.title for n in viz.draw(y, wrt=w).picture.nodes.values() if n.kind == "result"]
    assert titles == ["∂loss/∂W1"], "y is the name of another value in it"
    backward = viz.draw(y, direction="backward").picture
    assert all(n.phase == "gradient" or n.saved or n.output for n in backward.nodes.values())
    assert all(backward.nodes[b].phase == "gradient" for _, b in edges(backward))
    taken = viz.draw([y, ta.grad(y, w)]).picture  # holds a derivative already: no second one
    assert not [n for n in taken.nodes.values() if n.kind in ("seed", "result")]
    assert any(n.phase == "gradient" for n in taken.nodes.values()) and edges(taken, "seed")


@pytest.mark.parametrize("forward", [False, True], ids=["as a derivative", "as a value"])
def test_a_picture_depends_on_no_other_graph(forward):
    """Ones and zeros that another graph, in other modules, has made before are the same nodes."""

    def pictures():
        y = residual()
        w = next(n for n in topological([y]) if n.name == "W1")
        free = (ta.ones((4, 8)) * leaf(4, 8, name="x")).sum()
        return [
            viz.draw(what).picture.to_json() for what in (y, [y, ta.grad(y, w)], [ta.grad(y, w), y], free)
        ]

    expected = pictures()
    with ta.scope("elsewhere"):
        other = ta.parameter(np.ones((4, 8), np.float32))
        kept = ta.ones((4, 8)) if forward else ta.grad((other * 2).sum(), other)
        more = ta.ones((4, 8)) + 0, ta.zeros((4, 8))
    assert pictures() == expected and kept is not None and more


def test_values_are_those_of_numpy():
    a, w = np.array([1.0, 2, 3], np.float32), np.array([0.5, -1, 2], np.float32)
    y = ((ta.tensor(a, name="a") * ta.parameter(w, name="w")).sum() - 1) ** 2
    picture = viz.draw(y, values=True).picture
    inner = float(a @ w) - 1
    assert by_title(picture, "square").value == f"{inner**2:.4g}"
    expected = "[" + ", ".join(f"{v:.4g}".replace("-", "−") for v in 2 * inner * a) + "]"
    assert by_title(picture, "∂y/∂w", "gradient").value == expected
    assert all(n.value is None for n in viz.draw(y).picture.nodes.values())


def test_constants_without_one_value_are_drawn():
    y = (leaf(2, 3, name="x", make=ta.tensor) * np.arange(3, dtype=np.float32)).sum()
    picture = viz.draw(y).picture
    assert [n.types for n in picture.nodes.values() if n.kind == "constant"] == [["f32 (3,)"]]


def test_scan_is_rolled():
    small, large = (viz.draw(recurrent(length), parameters=True).picture for length in (3, 20))
    assert len(small.nodes) == len(large.nodes)
    scans = {c.label: c for c in large.clusters.values() if c.kind == "scan"}
    assert set(scans) == {"scan × 20", "scan × 20, last step first"}
    forward = scans["scan × 20"]
    assert forward.path[:-1] == ("encoder",)
    inside = {n.id: n for n in large.nodes.values() if n.path == forward.path}
    assert sorted(n.op for n in inside.values()) == ["add", "carry", "element", "matmul", "tanh"]
    tanh, carry = (next(n for n in inside.values() if n.op == op) for op in ("tanh", "carry"))
    assert (tanh.id, carry.id) in edges(large, "loop") and carry.attrs == "starts at 0"
    leaving = {
        (e.label, large.nodes[e.target].op)
        for e in large.edges
        if e.source == tanh.id and e.kind == "data" and e.target not in inside
    }
    assert leaving == {("all t", "mul"), ("last", "sum")}
    weights = next(n for n in large.nodes.values() if n.title == "U")
    assert (weights.id, next(n.id for n in inside.values() if n.op == "matmul")) in edges(large, "data"), (
        "what the loop captures is read from outside"
    )
    assert any(n.operand and n.op == "element" for n in large.nodes.values()), (
        "a saved stack, read step by step"
    )
    source = viz.draw(recurrent()).source
    loops = [row for row in source.splitlines() if "class=loop" in row]
    assert loops and all("constraint=false" in row and "style=bold" in row for row in loops)


def test_expand_opens_a_definition():
    y = attention()
    picture = viz.draw(y, expand=("softmax",)).picture
    opened = [c for c in picture.clusters.values() if c.kind == "definition"]
    assert [c.label for c in opened] == ["softmax(Q·Kᵀ / 2)"]
    inside = {n.op for n in picture.nodes.values() if n.path and n.path[-1] == opened[0].id}
    assert {"max", "exp", "sum", "div"} <= inside and "softmax" not in {n.op for n in picture.nodes.values()}
    closed = viz.draw(y).picture
    assert {n.op for n in closed.nodes.values()} - {n.op for n in picture.nodes.values()} == {"softmax"}
    several = viz.draw(ta.lstm_cell(*_cell()), expand="lstm_cell", direction="forward").picture
    assert [n.op for n in several.nodes.values() if n.output] == ["result", "result"] and any(
        n.op == "sigmoid" for n in several.nodes.values()
    )


def _cell():
    x, h, c = (leaf(2, 3, name=n, make=ta.tensor) for n in ("x", "hh", "ccc"))
    return x, (h, c), leaf(12, 3, name="W"), leaf(12, 3, name="U")


def test_functions_are_drawn_with_their_updates():
    w, m = leaf(3, 2, name="W"), ta.tensor(np.zeros((3, 2), np.float32), name="momentum")

    @ta.function
    def step(x):
        loss = ta.square(x @ w).mean()
        with ta.scope("sgd"):
            new = 0.9 * m + ta.grad(loss, w)
            trace.assign(m, new)
            trace.assign(w, w - 0.1 * new)
        return loss

    with pytest.raises(
        errors.TinyattnError,
        match=r"\[draw\] a function must have been called before it is drawn, but 'step' has not",
    ):
        viz.draw(step)
    step(np.ones((4, 3), np.float32))
    picture = viz.draw(step, values=True).picture
    assert {picture.nodes[b].title for _, b in edges(picture, "update")} == {"W", "momentum"}
    assert {n.phase for n in picture.nodes.values() if n.path and n.path[0] == "sgd"} == {"update"}
    assert not [n for n in picture.nodes.values() if n.kind == "result"]
    small = {
        n.title: n.value for n in picture.nodes.values() if n.types == ["f32 ()"] and n.phase == "forward"
    }
    assert small and set(small.values()) == {"not computed"}, "never 0 for what wasn't computed"


def test_make_dot_has_the_signature_of_torchviz():
    x, w = ta.tensor(np.ones((2, 3), np.float32)), ta.parameter(np.ones((3, 2), np.float32))
    graph = viz.make_dot((x @ w).sum(), params={"weight": w})
    assert isinstance(graph, graphviz.Digraph)
    assert "<b>weight</b>" in graph.source and "∂y/∂weight" in graph.source
    assert isinstance(viz.make_dot((x @ w).sum()), graphviz.Digraph)


# Identity and escaping.

_PROGRAM = """
    import sys; sys.path[:0] = [{folder!r}]
    import drawn_graphs as t
    from tinyattn import viz
    for make in (t.attention, t.residual, t.recurrent):
        view = viz.draw(make(), expand=("softmax",))
        print(view.source); print(view.picture.to_json()); print(view)
"""


def test_two_runs_give_the_same_bytes():
    program = textwrap.dedent(_PROGRAM.format(folder=str(Path(__file__).parents[1] / "support")))
    env = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")]),
    }
    started = [
        subprocess.Popen(
            [sys.executable, "-c", program], stdout=subprocess.PIPE, env={**env, "PYTHONHASHSEED": seed}
        )
        for seed in "17"
    ]
    runs = [process.communicate()[0] for process in started]
    assert len(runs[0]) > 20_000 and runs[0] == runs[1]


@needs_dot
def test_svg_holds_the_picture(tmp_path):
    view = viz.draw(attention()).save(tmp_path / "a.svg")
    root = ET.parse(tmp_path / "a.svg").getroot()
    assert root.tag.endswith("svg") and root.get("role") == "img"
    ids = [e.get("id") for e in root.iter() if e.get("id")]
    assert len(ids) == len(set(ids)) and set(view.picture.nodes) <= set(ids)
    groups = {g.get("id"): g for g in root.iter() if g.tag.endswith("}g")}
    assert all(groups[n.id].get("class") == f"node {n.classes}" for n in view.picture.nodes.values())
    softmax = by_title(view.picture, "softmax")
    assert [t.text for t in groups[softmax.id].iter() if t.tag.endswith("}text")] == [
        "softmax",
        "a = softmax(Q·Kᵀ / 2)",
        "f32 (2, 3, 3)",
    ]
    drawn = [
        next(t.text for t in g if t.tag.endswith("}title"))
        for g in groups.values()
        if (g.get("class") or "").startswith("edge")
    ]
    assert sorted(tuple(title.split("->")) for title in drawn) == sorted(
        (e.source, e.target) for e in view.picture.edges
    )
    again = viz.draw(attention()).svg
    assert again == view.svg


@needs_dot
def test_names_are_escaped_everywhere(tmp_path):
    with ta.scope(NASTY):
        y = ta.softmax(
            ta.tensor(np.ones((2, 3), np.float32), name=NASTY)
            @ ta.parameter(np.ones((3, 2), np.float32), name="a:b &amp; {x}")
        ).sum()
    seen = NASTY.replace("\\", "∖")
    for depth in (None, 0):
        view = viz.draw(y, depth=depth, values=True)
        for kind in ("svg", "png", "html", "json", "gv"):
            view.save(tmp_path / f"a.{kind}")
        root = ET.parse(tmp_path / "a.svg").getroot()
        texts = [t.text for t in root.iter() if t.tag.endswith("}text")]
        assert (
            seen in texts
            and ("a:b &amp; {x}" in texts) == (depth is None)
            and ((f"∂ {seen}" in texts) == (depth == 0))
        )
        assert not [e for e in root.iter() if e.tag.endswith("script")]
        assert (tmp_path / "a.html").read_text().count("<script>") == 1
        names = [n["title"] for n in json.loads((tmp_path / "a.json").read_text())["nodes"]]
        assert NASTY in names


def test_text_twin():
    text = str(viz.draw(recurrent()))
    assert re.search(r"%\d+ = tanh\(%\d+\)  f32 \(4, 6\)  # scan × 20", text)
    assert re.search(r"h  f32 \(4, 6\)  next: %\d+", text) and "\ngradient\n" in text


# Errors.


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (
            lambda y: viz.draw(3),
            errors.DTypeError,
            "[draw] what is drawn must be a Tensor, a list of Tensors or a function",
        ),
        (
            lambda y: viz.draw(y, direction="up"),
            errors.ShapeError,
            "[draw] direction must be one of forward, backward, both, but got 'up'",
        ),
        (
            lambda y: viz.draw(y, depth=-1),
            errors.ShapeError,
            "[draw] depth must be None or a whole number from 0, but got -1",
        ),
        (
            lambda y: viz.draw(y, expand="tahn"),
            errors.ShapeError,
            "[draw] expand takes names of hand-derived operations, but got 'tahn'",
        ),
        (
            lambda y: viz.draw(y, wrt=[3]),
            errors.DTypeError,
            "[draw] wrt must hold floating-point Tensors, but got 3",
        ),
        (
            lambda y: viz.draw(y).save("a.gif"),
            errors.DataError,
            "[save] the file's name must end in .svg, .png, .pdf, .gv, .json, .html, but got 'a.gif'",
        ),
        (
            lambda y: viz.draw(y).save("/nowhere/a.gv"),
            errors.DataError,
            "[save] '/nowhere/a.gv' must be a place that can be written to, but no such file",
        ),
        (
            lambda y: viz.heatmap(np.ones(3)),
            errors.ShapeError,
            "[heatmap] weights must be numbers of shape (queries, keys), but got shape (3,)",
        ),
        (
            lambda y: viz.heatmap(np.ones((2, 3)), rows="abc"),
            errors.ShapeError,
            "[heatmap] rows must hold 2 labels for weights (2, 3), but got 3",
        ),
    ],
)
def test_errors_are_sentences(call, error, text):
    with pytest.raises(error) as caught:
        call(attention())
    assert str(caught.value).startswith(text) and len(str(caught.value).splitlines()) <= 3


def test_what_has_no_derivative_is_drawn_forward():
    x = leaf(2, 3, name="x", make=ta.tensor)
    assert {n.phase for n in viz.draw(ta.argmax(x, axis=1)).picture.nodes.values()} == {"forward"}


def test_arrows_say_which_output_of_attention_they_carry():
    q, k, v = (ta.tensor(np.ones((2, 3)), name=name) for name in "qkv")
    picture = viz.draw(ta.attention(q, k, v).sum(), wrt=[q, k, v]).digraph.source
    assert {"label=<dq>", "label=<dk>", "label=<dv>"} <= set(re.findall(r"label=<\w+>", picture))
