"""Pictures: structure against the graph, identity over runs, escaping, collapsing, rolled loops, and life without (or with a slow) ``dot``."""

import json
import os
import re
import shutil
import subprocess
import sys
import textwrap
import time
import xml.etree.ElementTree as ET
from pathlib import Path

import graphviz
import numpy as np
import pytest

import tinyattn as ta
from tinyattn import errors, viz
from tinyattn.graph import trace
from tinyattn.graph.text import structural_ids
from tinyattn.graph.traverse import topological
from tinyattn.viz import collapse, layout
from tinyattn.viz.labels import filled

NASTY = "<script>&\"'\\N\\"
needs_dot = pytest.mark.skipif(shutil.which("dot") is None, reason="needs Graphviz's program dot")


def _leaf(*shape, name, make=ta.parameter):
    return make(np.random.default_rng(len(name)).standard_normal(shape).astype(np.float32), name=name)


def _attention():
    q, k, v = (_leaf(2, 3, 4, name=n, make=ta.tensor) for n in ("Q", "K", "V"))
    return (ta.softmax(q @ k.transpose(0, 2, 1) / 2.0) @ v).sum()


def _residual():
    x = _leaf(4, 8, name="x", make=ta.tensor)
    w1, b1, w2 = _leaf(8, 8, name="W1"), _leaf(8, name="b1"), _leaf(8, 8, name="W2")
    with ta.scope("block"):
        with ta.scope("mlp"):
            h = ta.tanh(x @ w1 + b1) @ w2
        y = x + h
    return (y * y).sum()


def _recurrent(length=20):
    xs, w, u = _leaf(length, 4, 8, name="xs", make=ta.tensor), _leaf(8, 6, name="W"), _leaf(6, 6, name="U")

    def step(h, x):
        h = ta.tanh(x + h @ u)
        return h, h

    with ta.scope("encoder"):
        last, states = ta.scan(step, ta.zeros((4, 6)), xs @ w)
    return (states * states).sum() + last.sum()


def _long(count):
    h, w = _leaf(4, 4, name="h0", make=ta.tensor), _leaf(4, 4, name="W")
    for k in range(count):
        with ta.scope(f"layer{k % 10}"):
            h = ta.tanh(h @ w + float(k))
    return h.sum()


def _edges(picture, kind=None):
    return {(e.source, e.target) for e in picture.edges if kind is None or e.kind == kind}


def _by_title(picture, title, phase="forward"):
    found = [n for n in picture.nodes.values() if n.title.split(" = ")[-1] == title and n.phase == phase]
    assert len(found) == 1, (title, [n.title for n in picture.nodes.values()])
    return found[0]


# What is drawn.


def test_forward_picture_is_the_graph():
    y = _attention()
    picture = viz.draw(y, direction="forward", views=True).picture
    order = topological([y])
    ids = structural_ids([y])
    drawn = [n for n in order if filled(n) is None]
    assert list(picture.nodes) == [ids[n] for n in drawn]
    assert _edges(picture) == {(ids[s], ids[n]) for n in drawn for s in n.inputs if filled(s) is None}
    assert {e.kind for e in picture.edges} == {"data"}
    assert picture.nodes[ids[y]].output and [n.kind for n in picture.nodes.values()].count("input") == 3
    assert "Q·Kᵀ / 2" in {n.formula for n in picture.nodes.values()}, (
        "a constant of one element belongs in its user's label"
    )
    assert picture.nodes[ids[y]].types == ["f32 ()"] and picture.nodes[ids[drawn[0]]].types == [
        "f32 (2, 3, 4)"
    ]
    softmax = _by_title(picture, "softmax")
    assert softmax.formula == "softmax(Q·Kᵀ / 2)" and "⟨y, ḡ⟩" in softmax.rule
    assert softmax.line.startswith("test_draw.py:") or softmax.line.startswith("tests/viz/test_draw.py:")
    assert "ta.softmax(q @ k" in softmax.source


def test_gradients_are_in_the_same_picture():
    picture = viz.draw(_attention(), views=True).picture
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
        kind: {(phases[a], phases[b]) for a, b in _edges(picture, kind)}
        for kind in ("data", "gradient", "saved", "seed", "operand")
    }
    assert ends["data"] == {("forward", "forward")} and ends["saved"] == ends["seed"] == {
        ("forward", "gradient")
    }
    assert ends["gradient"] == ends["operand"] == {("gradient", "gradient")}
    softmax, backward = _by_title(picture, "softmax"), _by_title(picture, "softmax backward", "gradient")
    assert (
        softmax.saved
        and (softmax.id, backward.id) in _edges(picture, "saved")
        and backward.origin == softmax.id
    )
    operands = [n for n in picture.nodes.values() if n.operand]
    assert operands and {n.op for n in operands} == {"transpose"}, (
        "a transposed forward value isn't a cotangent"
    )


def test_directions_and_wrt():
    y = _residual()
    w = next(n for n in topological([y]) if n.name == "W1")
    titles = [n.title for n in viz.draw(y, wrt=w).picture.nodes.values() if n.kind == "result"]
    assert titles == ["∂loss/∂W1"], "y is the name of another value in it"
    backward = viz.draw(y, direction="backward").picture
    assert all(n.phase == "gradient" or n.saved or n.output for n in backward.nodes.values())
    assert all(backward.nodes[b].phase == "gradient" for _, b in _edges(backward))
    taken = viz.draw([y, ta.grad(y, w)]).picture  # holds a derivative already: no second one
    assert not [n for n in taken.nodes.values() if n.kind in ("seed", "result")]
    assert any(n.phase == "gradient" for n in taken.nodes.values()) and _edges(taken, "seed")


@pytest.mark.parametrize("forward", [False, True], ids=["as a derivative", "as a value"])
def test_a_picture_depends_on_no_other_graph(forward):
    """Ones and zeros that another graph, in other modules, has made before are the same nodes."""

    def pictures():
        y = _residual()
        w = next(n for n in topological([y]) if n.name == "W1")
        free = (ta.ones((4, 8)) * _leaf(4, 8, name="x")).sum()
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
    assert _by_title(picture, "square").value == f"{inner**2:.4g}"
    expected = "[" + ", ".join(f"{v:.4g}".replace("-", "−") for v in 2 * inner * a) + "]"
    assert _by_title(picture, "∂y/∂w", "gradient").value == expected
    assert all(n.value is None for n in viz.draw(y).picture.nodes.values())


def test_constants_without_one_value_are_drawn():
    y = (_leaf(2, 3, name="x", make=ta.tensor) * np.arange(3, dtype=np.float32)).sum()
    picture = viz.draw(y).picture
    assert [n.types for n in picture.nodes.values() if n.kind == "constant"] == [["f32 (3,)"]]


def test_scan_is_rolled():
    small, large = (viz.draw(_recurrent(length), parameters=True).picture for length in (3, 20))
    assert len(small.nodes) == len(large.nodes)
    scans = {c.label: c for c in large.clusters.values() if c.kind == "scan"}
    assert set(scans) == {"scan × 20", "scan × 20, last step first"}
    forward = scans["scan × 20"]
    assert forward.path[:-1] == ("encoder",)
    inside = {n.id: n for n in large.nodes.values() if n.path == forward.path}
    assert sorted(n.op for n in inside.values()) == ["add", "carry", "element", "matmul", "tanh"]
    tanh, carry = (next(n for n in inside.values() if n.op == op) for op in ("tanh", "carry"))
    assert (tanh.id, carry.id) in _edges(large, "loop") and carry.attrs == "starts at 0"
    leaving = {
        (e.label, large.nodes[e.target].op)
        for e in large.edges
        if e.source == tanh.id and e.kind == "data" and e.target not in inside
    }
    assert leaving == {("all t", "mul"), ("last", "sum")}
    weights = next(n for n in large.nodes.values() if n.title == "U")
    assert (weights.id, next(n.id for n in inside.values() if n.op == "matmul")) in _edges(large, "data"), (
        "what the loop captures is read from outside"
    )
    assert any(n.operand and n.op == "element" for n in large.nodes.values()), (
        "a saved stack, read step by step"
    )
    source = viz.draw(_recurrent()).source
    loops = [row for row in source.splitlines() if "class=loop" in row]
    assert loops and all("constraint=false" in row and "style=bold" in row for row in loops)


def test_expand_opens_a_definition():
    y = _attention()
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
    x, h, c = (_leaf(2, 3, name=n, make=ta.tensor) for n in ("x", "hh", "ccc"))
    return x, (h, c), _leaf(12, 3, name="W"), _leaf(12, 3, name="U")


def test_functions_are_drawn_with_their_updates():
    w, m = _leaf(3, 2, name="W"), ta.tensor(np.zeros((3, 2), np.float32), name="momentum")

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
    assert {picture.nodes[b].title for _, b in _edges(picture, "update")} == {"W", "momentum"}
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


# Collapsing.


def test_depth_collapses_modules_and_keeps_what_goes_around_them():
    y = _residual()
    full = viz.draw(y).picture
    assert {c.label for c in full.clusters.values()} == {"block", "mlp"}
    picture = viz.draw(y, depth=1).picture
    groups = {n.title: n for n in picture.nodes.values() if n.kind == "group"}
    assert set(groups) == {"mlp", "∂ mlp"} and groups["mlp"].types == ["f32 (4, 8)"]
    x, add = _by_title(picture, "x"), _by_title(picture, "add")
    mlp = groups["mlp"].id
    assert {(x.id, mlp), (mlp, add.id), (x.id, add.id)} <= _edges(picture, "data"), (
        "the residual arrow survives"
    )
    assert len([e for e in picture.edges if (e.source, e.target) == (x.id, mlp)]) == 1
    assert groups["mlp"].attrs == "4 ops, 3 parameters", "parameters live with their users"
    assert not [n for n in picture.nodes.values() if len(n.path) > 1]
    closed = viz.draw(y, depth=0).picture
    assert not closed.clusters and {n.title for n in closed.nodes.values() if n.kind == "group"} == {
        "block",
        "∂ block",
    }
    assert viz.draw(y, depth=9).picture.to_json() == full.to_json()


def test_large_graphs_are_collapsed_and_say_so():
    view = viz.draw(_long(400))
    assert len(view.picture.nodes) > collapse.LARGEST and len(view.drawn.nodes) <= collapse.LARGEST
    too_many = r"[\d,]+ nodes are too many for one legible picture: "
    assert len(view.notes) == 1 and re.match(too_many + "equal modules are drawn once", view.notes[0])
    assert re.match(too_many + ".*depth=0", collapse.fit(view.picture, 12).notes[0])
    assert "too many for one legible picture" in view.source
    h = _leaf(4, name="h0", make=ta.tensor)
    for k in range(800):
        h = ta.tanh(h * float(k + 2))
    flat = viz.draw(h.sum())  # no modules: the lines of the program are what is left
    assert "one source line" in flat.notes[0]
    assert any(
        n.title == "h = ta.tanh(h * float(k + 2))" and n.members == 1600 for n in flat.drawn.nodes.values()
    )
    assert (
        len(collapse.fit(flat.picture, 3).nodes) == 2
        and "all operations" in collapse.fit(flat.picture, 3).notes[0]
    )


def test_predicted_cost_grows_with_the_graph():
    costs = [layout.seconds(viz.draw(_long(n)).picture) for n in (10, 40, 160)]
    assert 0 < costs[0] < costs[1] < costs[2]
    assert "nslimit" in viz.draw(_long(130)).source and "nslimit" not in viz.draw(_attention()).source


def _shared_value(count):
    h, w = _leaf(4, 4, name="h0", make=ta.tensor), ta.exp(_leaf(4, 4, name="W"))
    for _ in range(count):
        h = ta.tanh(h @ w)
    return h.sum()


def test_arrows_across_many_ranks_count_and_are_straight():
    """One value that every operation of a long chain reads: dot took 28 s to bend the arrows of 1,045 nodes, and 2 s for
    straight ones.
    """
    small, large, vast = (viz.draw(_shared_value(count)) for count in (20, 130, 300))
    assert "splines=line" in large.source and "splines" not in small.source
    assert "splines" not in viz.draw(_long(300)).source, "modules keep arrows apart"
    assert large.drawn is large.picture and 1 < layout.seconds(large.picture) < collapse.SLOWEST
    assert layout.seconds(vast.picture) > collapse.SLOWEST > layout.seconds(vast.drawn)


# Identity and escaping.

_PROGRAM = """
    import sys; sys.path.insert(0, {folder!r})
    import test_draw as t
    from tinyattn import viz
    for make in (t._attention, t._residual, t._recurrent):
        view = viz.draw(make(), expand=("softmax",))
        print(view.source); print(view.picture.to_json()); print(view)
"""


def test_two_runs_give_the_same_bytes():
    program = textwrap.dedent(_PROGRAM.format(folder=str(Path(__file__).parent)))
    env = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")]),
    }
    runs = [
        subprocess.run(
            [sys.executable, "-c", program],
            capture_output=True,
            env={**env, "PYTHONHASHSEED": seed},
            check=True,
        ).stdout
        for seed in "17"
    ]
    assert len(runs[0]) > 20_000 and runs[0] == runs[1]


@needs_dot
def test_svg_holds_the_picture(tmp_path):
    view = viz.draw(_attention()).save(tmp_path / "a.svg")
    root = ET.parse(tmp_path / "a.svg").getroot()
    assert root.tag.endswith("svg") and root.get("role") == "img"
    ids = [e.get("id") for e in root.iter() if e.get("id")]
    assert len(ids) == len(set(ids)) and set(view.picture.nodes) <= set(ids)
    groups = {g.get("id"): g for g in root.iter() if g.tag.endswith("}g")}
    assert all(groups[n.id].get("class") == f"node {n.classes}" for n in view.picture.nodes.values())
    softmax = _by_title(view.picture, "softmax")
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
    again = viz.draw(_attention()).svg
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


@needs_dot
def test_every_format_is_written(tmp_path):
    view = viz.draw(_residual())
    starts = {
        "svg": b"<svg",
        "png": b"\x89PNG",
        "pdf": b"%PDF",
        "gv": b"digraph",
        "json": b"{",
        "html": b"<!DOCTYPE html>",
    }
    for kind, start in starts.items():
        assert view.save(tmp_path / f"picture.{kind}") is view
        assert (tmp_path / f"picture.{kind}").read_bytes().startswith(start)
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(f"picture.{kind}" for kind in starts), (
        "nothing else is left behind"
    )
    page = (tmp_path / "picture.html").read_text()
    assert "default-src 'none'" in page and "script-src 'sha256-" in page
    assert not re.findall(r"""(?:src|href)\s*=\s*["']\s*(?!data:)""", page.replace("xlink:title", "")), (
        "nothing is loaded"
    )
    bundle = view._repr_mimebundle_()
    assert (
        set(bundle) == {"text/plain", "text/html", "image/svg+xml"}
        and 'sandbox="allow-scripts"' in bundle["text/html"]
    )
    assert bundle["image/svg+xml"].startswith("<svg") and bundle["text/plain"] == str(view)


def test_text_twin():
    text = str(viz.draw(_recurrent()))
    assert re.search(r"%\d+ = tanh\(%\d+\)  f32 \(4, 6\)  # scan × 20", text)
    assert re.search(r"h  f32 \(4, 6\)  next: %\d+", text) and "\ngradient\n" in text


# Without dot, and with a slow one.


def _fake_dot(folder, script):
    path = folder / "dot"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return str(folder)


def test_without_dot_everything_but_layout_works(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    view = viz.draw(_attention())
    with pytest.raises(
        errors.TinyattnError,
        match=r"\[draw\] laying out a picture needs Graphviz's program dot, but it was not found",
    ) as caught:
        view.save(tmp_path / "a.svg")
    assert "sudo apt install graphviz" in str(caught.value) and len(str(caught.value).splitlines()) <= 3
    assert not list(tmp_path.iterdir())
    view.save(tmp_path / "a.gv").save(tmp_path / "a.json").save(tmp_path / "a.html")
    page = (tmp_path / "a.html").read_text()
    assert "sudo apt install graphviz" in page and "softmax backward(" in page
    bundle = view._repr_mimebundle_()
    assert set(bundle) == {"text/plain"} and "sudo apt install graphviz" in bundle["text/plain"]
    assert "softmax" in str(view) and isinstance(viz.make_dot(_attention()), graphviz.Digraph)
    assert viz.heatmap(np.eye(2)).svg.startswith("<svg")


def test_a_dot_that_never_ends_is_stopped(tmp_path, monkeypatch):
    script = f"/bin/sleep 30 & echo $! >> {tmp_path}/children; wait"
    monkeypatch.setenv("PATH", _fake_dot(tmp_path, script) + os.pathsep + os.environ["PATH"])
    monkeypatch.setattr(layout, "TIMEOUT", 0.3)
    start = time.monotonic()
    with pytest.raises(
        errors.TinyattnError,
        match=r"\[draw\] dot must finish within 0.3 s, but it took longer than 0.3 s, even for all in one node",
    ):
        viz.draw(_residual()).save(tmp_path / "a.svg")
    assert time.monotonic() - start < 10
    # What a script around dot had started is gone too, or about to be collected: a killed process takes a moment.
    for child in (tmp_path / "children").read_text().split():
        deadline = time.monotonic() + 10
        while _runs(child) and time.monotonic() < deadline:
            time.sleep(0.02)
        assert not _runs(child)


def _runs(process: str) -> bool:
    """Whether a process exists and isn't a zombie."""
    try:
        state = Path(f"/proc/{process}/stat").read_text()
    except OSError:
        return False
    return state.rpartition(")")[2].split()[0] != "Z"


@needs_dot
def test_a_slow_dot_falls_back_to_the_collapsed_picture(tmp_path, monkeypatch):
    # Slow only for graphs that hold the inside of the module.
    script = f'text=$(cat)\ncase "$text" in *tanh*) exec /bin/sleep 30;; esac\nprintf \'%s\' "$text" | {shutil.which("dot")} "$@"'
    monkeypatch.setenv("PATH", _fake_dot(tmp_path, script) + os.pathsep + os.environ["PATH"])
    monkeypatch.setattr(layout, "TIMEOUT", 3)
    view = viz.draw(_residual()).save(tmp_path / "a.svg")
    assert len(view.drawn.nodes) < len(view.picture.nodes) and "took longer than 3 s" in view.notes[0]
    assert "took longer" in (tmp_path / "a.svg").read_text()


@needs_dot
def test_a_gpt_of_twelve_layers_is_drawn_whole(tmp_path):
    """With ids and targets as named leaves the router of Graphviz 2.43 overflows its stack from ten layers on."""
    config = ta.models.GPT.Config(vocab_size=9, block_size=4, n_layer=12, n_head=1, n_embd=4)
    ids, targets = (ta.tensor(np.zeros((1, 4), np.int64), name=name) for name in ("ids", "targets"))
    view = viz.draw(ta.models.GPT(config).loss(ids, targets)).save(tmp_path / "gpt.svg")
    texts = [t.text for t in ET.parse(tmp_path / "gpt.svg").getroot().iter() if t.tag.endswith("}text")]
    assert view.drawn is view.picture and {"ids", "targets"} <= set(texts) and view.notes == []


@needs_dot
@pytest.mark.parametrize("code", ["kill -SEGV $$", "exit 139"])
@pytest.mark.parametrize(
    ("when", "straight", "nodes"),
    [("case $* in *splines=line*) ;; *) CRASH;; esac", True, None), ('case "$text" in *"forward op"*) CRASH;; esac', False, 5)],
    ids=["curves", "details"],
)  # fmt: skip
def test_a_dot_that_crashes_is_asked_for_less(tmp_path, monkeypatch, when, straight, nodes, code):
    script = f'text=$(cat)\n{when.replace("CRASH", code)}\necho "$@" >> {tmp_path}/asked\nprintf \'%s\' "$text" | {shutil.which("dot")} "$@"'
    monkeypatch.setenv("PATH", _fake_dot(tmp_path, script) + os.pathsep + os.environ["PATH"])
    x = ta.parameter(np.ones((2, 2), np.float32), name="x")
    view = viz.draw(ta.relu(ta.tanh(x)).sum()).save(tmp_path / "a.svg")
    assert ("splines=line" in (tmp_path / "asked").read_text()) == straight
    assert len(view.drawn.nodes) == (nodes or len(view.picture.nodes))
    assert [note.split(" for ")[0] for note in view.notes[:1]] == ([] if straight else ["dot crashed"])


def test_a_dot_that_always_crashes_gives_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", _fake_dot(tmp_path, "kill -SEGV $$") + os.pathsep + os.environ["PATH"])
    with pytest.raises(
        errors.TinyattnError, match=r"\[draw\] dot must finish .*, but it crashed, even for all"
    ) as caught:
        viz.draw(_residual()).save(tmp_path / "a.svg")
    assert "test_draw.py" in str(caught.value).splitlines()[1]


def test_a_dot_that_fails_gives_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setenv(
        "PATH",
        _fake_dot(tmp_path, "echo 'Format: \"png\" not recognized.' >&2; exit 1")
        + os.pathsep
        + os.environ["PATH"],
    )
    with pytest.raises(
        errors.TinyattnError, match=r'\[draw\] dot must be able to make png, but Format: "png" not recognized'
    ):
        viz.draw(_attention()).save(tmp_path / "a.png")


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
        call(_attention())
    assert str(caught.value).startswith(text) and len(str(caught.value).splitlines()) <= 3


def test_what_has_no_derivative_is_drawn_forward():
    x = _leaf(2, 3, name="x", make=ta.tensor)
    assert {n.phase for n in viz.draw(ta.argmax(x, axis=1)).picture.nodes.values()} == {"forward"}


# Heat maps.


def _cells(svg):
    root = ET.fromstring(svg)
    cells = [g for g in root.iter() if g.get("class") == "cell"]
    value = {(int(g.get("data-row")), int(g.get("data-column"))): float(g.get("data-value")) for g in cells}
    fill = {
        (int(g.get("data-row")), int(g.get("data-column"))): next(
            r.get("fill") for r in g if r.tag.endswith("rect")
        )
        for g in cells
    }
    title = {
        (int(g.get("data-row")), int(g.get("data-column"))): next(
            t.text for t in g if t.tag.endswith("title")
        )
        for g in cells
    }
    return value, fill, title, root


def _brightness(colour):
    return sum(int(colour[k : k + 2], 16) for k in (1, 3, 5))


def test_heatmap_shows_the_weights(tmp_path):
    weights = np.array([[0.125, 0.875, 0.0], [0.25, 0.25, 0.5]])
    view = viz.heatmap(
        ta.tensor(weights[None]),
        rows=["le", NASTY],
        columns=["the", "<mouse>", "&"],
        to_file=tmp_path / "heat.svg",
    )
    value, fill, title, root = _cells((tmp_path / "heat.svg").read_text())
    assert value == {(i, j): weights[i, j] for i in range(2) for j in range(3)}
    assert title[0, 1] == "le → <mouse>: 0.875" and title[1, 2] == f"{NASTY} → &: 0.5"
    order = sorted(value, key=value.get)
    shades = [_brightness(fill[cell]) for cell in order]
    assert shades == sorted(shades, reverse=True) and fill[0, 1] == "#00304D" and fill[0, 2] == "#F4F9FD"
    assert {t.text for t in root.iter() if t.get("class") in ("row", "column")} == {
        "le",
        NASTY,
        "the",
        "<mouse>",
        "&",
    }
    assert ".88" in str(view) and "image/svg+xml" in view._repr_mimebundle_()


def test_heatmap_of_scores_and_masks():
    value, fill, title, _ = _cells(viz.heatmap(np.array([[1.0, -np.inf], [-2.0, np.nan]])).svg)
    assert (
        fill[0, 1] == fill[1, 1] == "#BDBDBD" and title[0, 1] == "0 → 1: −∞" and title[1, 1] == "1 → 1: NaN"
    )
    assert fill[1, 0] == "#5C2800" and fill[0, 0] == viz.heatmap(np.array([[0.5, -1.0]])).colour(0.5)
    assert _cells(viz.heatmap(np.zeros((1, 2))).svg)[1] == {(0, 0): "#F4F9FD", (0, 1): "#F4F9FD"}
    assert _cells(viz.heatmap(np.tri(3, dtype=bool)).svg)[0][0, 1] == 0


@needs_dot
def test_heatmap_as_png_and_pdf(tmp_path):
    view = viz.heatmap(np.eye(3), rows=["a", NASTY, ""], columns=["x", "<y>", "&"])
    view.save(tmp_path / "heat.png").save(tmp_path / "heat.pdf").save(tmp_path / "heat.html")
    assert (tmp_path / "heat.png").read_bytes()[:4] == b"\x89PNG" and (tmp_path / "heat.pdf").read_bytes()[
        :4
    ] == b"%PDF"


def test_arrows_say_which_output_of_attention_they_carry():
    q, k, v = (ta.tensor(np.ones((2, 3)), name=name) for name in "qkv")
    picture = viz.draw(ta.attention(q, k, v).sum(), wrt=[q, k, v]).digraph.source
    assert {"label=<dq>", "label=<dk>", "label=<dv>"} <= set(re.findall(r"label=<\w+>", picture))


def test_a_leaf_that_is_read_all_over_is_drawn_beside_its_users():
    def chain(length):
        x = ta.tensor(np.ones(3), name="x")
        y = x
        for _ in range(length):
            y = ta.tanh(y) * x
        return viz.draw(y.sum())

    small = chain(10)
    assert small.drawn is small.picture
    view = chain(180)
    drawn = view.drawn
    assert len(view.picture.nodes) > 1400 and layout.points(view.picture) > 7 * layout.points(drawn)
    assert drawn.notes == ["Drawn beside each of its users, not once: x (361)."]
    copies = [n for n in drawn.nodes.values() if n.title == "x"]
    assert len(copies) == 361 and {n.kind for n in copies} == {"input"}
    read = lambda p: sorted((e.target, tuple(e.operands)) for e in p.edges if p.nodes[e.source].title == "x")
    assert read(drawn) == read(view.picture), "no arrow is lost"
    rest = lambda p: {n.id for n in p.nodes.values() if n.title != "x"}
    assert rest(drawn) == rest(view.picture)
    assert layout.seconds(drawn) < 2


@needs_dot
def test_words_on_arrows_lie_on_nothing_else():
    X, W = (ta.tensor(np.ones(shape), name=name) for name, shape in (("X", (2, 6, 8)), ("W", (8, 24))))
    qkv = X @ W
    q, k, v = qkv[..., :8], qkv[..., 8:16], qkv[..., 16:]
    O = ta.softmax(q @ k.transpose(0, 2, 1)) @ v
    tree = ET.fromstring(viz.draw((O * O).sum()).svg)
    space = "{http://www.w3.org/2000/svg}"
    words, boxes = [], []
    for group in tree.iter(f"{space}g"):
        kinds = group.get("class", "").split()
        for text in group.findall(f".//{space}text") if kinds[:1] == ["edge"] else ():
            high = float(text.get("font-size", "10"))
            wide = 0.35 * high * len(text.text)  # (less than it is)
            x, y = float(text.get("x")), float(text.get("y"))
            x -= wide / 2 if text.get("text-anchor") == "middle" else 0
            words.append((text.text, x, y - 0.7 * high, x + wide, y))
        if kinds[:1] == ["node"]:
            for shape in group.iter(f"{space}polygon"):
                points = [tuple(map(float, p.split(","))) for p in shape.get("points").split()]
                xs, ys = zip(*points, strict=True)
                boxes.append(("a node", min(xs), min(ys), max(xs), max(ys)))
    assert len(words) > 8 and len(boxes) > 8
    apart = lambda a, b: a[3] <= b[1] or b[3] <= a[1] or a[4] <= b[2] or b[4] <= a[2]
    crossing = [
        (a[0], b[0]) for n, a in enumerate(words) for b in [*words[n + 1 :], *boxes] if not apart(a, b)
    ]
    assert not crossing
