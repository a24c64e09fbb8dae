"""Pictures that are large, and programs ``dot`` that are slow, crash or aren't there."""

import os
import re
import shutil
import time
import xml.etree.ElementTree as ET
from pathlib import Path

import graphviz
import numpy as np
import pytest
from drawn_graphs import attention, by_title, edges, leaf, long, needs_dot, residual

import tinyattn as ta
from tinyattn import errors, viz
from tinyattn.viz import collapse, layout


def test_depth_collapses_modules_and_keeps_what_goes_around_them():
    y = residual()
    full = viz.draw(y).picture
    assert {c.label for c in full.clusters.values()} == {"block", "mlp"}
    picture = viz.draw(y, depth=1).picture
    groups = {n.title: n for n in picture.nodes.values() if n.kind == "group"}
    assert set(groups) == {"mlp", "∂ mlp"} and groups["mlp"].types == ["f32 (4, 8)"]
    x, add = by_title(picture, "x"), by_title(picture, "add")
    mlp = groups["mlp"].id
    assert {(x.id, mlp), (mlp, add.id), (x.id, add.id)} <= edges(picture, "data"), (
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


def test_large_graphs_are_collapsed_and_say_so(monkeypatch):
    fit = collapse.fit
    monkeypatch.setattr(collapse, "fit", lambda picture, largest=100: fit(picture, largest))
    view = viz.draw(long(40))
    assert len(view.picture.nodes) > 100 >= len(view.drawn.nodes)
    too_many = r"[\d,]+ nodes are too many for one legible picture: "
    assert len(view.notes) == 1 and re.match(too_many + "equal modules are drawn once", view.notes[0])
    assert re.match(too_many + ".*depth=0", collapse.fit(view.picture, 12).notes[0])
    assert "too many for one legible picture" in view.source
    h = leaf(4, name="h0", make=ta.tensor)
    for k in range(40):
        h = ta.tanh(h * float(k + 2))
    flat = viz.draw(h.sum())  # no modules: the lines of the program are what is left
    assert "one source line" in flat.notes[0]
    assert any(
        n.title == "h = ta.tanh(h * float(k + 2))" and n.members == 80 for n in flat.drawn.nodes.values()
    )
    one = collapse.fit(flat.picture, 3)
    assert len(one.nodes) == 2 and "all operations" in one.notes[0]


def test_predicted_cost_grows_with_the_graph():
    views = [viz.draw(long(n)) for n in (10, 40, 110)]
    costs = [layout.seconds(view.picture) for view in views]
    assert 0 < costs[0] < costs[1] < costs[2]
    assert "nslimit" in views[2].source and "nslimit" not in viz.draw(attention()).source


def _shared_value(count):
    h, w = leaf(4, 4, name="h0", make=ta.tensor), ta.exp(leaf(4, 4, name="W"))
    for _ in range(count):
        h = ta.tanh(h @ w)
    return h.sum()


def test_arrows_across_many_ranks_count_and_are_straight():
    """One value that every operation of a long chain reads: dot took 28 s to bend the arrows of 1,045 nodes, and 2 s for
    straight ones.
    """
    small, large, vast = (viz.draw(_shared_value(count)) for count in (20, 110, 300))
    assert "splines=line" in large.source and "splines" not in small.source
    assert "splines" not in viz.draw(long(110)).source, "modules keep arrows apart"
    assert large.drawn is large.picture and 1 < layout.seconds(large.picture) < collapse.SLOWEST
    assert layout.seconds(vast.picture) > collapse.SLOWEST > layout.seconds(vast.drawn)


@needs_dot
def chain(count):
    y = leaf(3, name="x", make=ta.tensor)
    for _ in range(count):
        y = ta.tanh(y) * y
    return viz.draw(y.sum())


@needs_dot
def test_a_derivative_of_more_steps_stays_beside_what_it_derives():
    """Each operation's derivative has more steps than it has itself; left alone, the two columns would drift apart, and
    arrows between them be the longer, the longer the chain is.
    """
    few, many = (layout.points(chain(count).picture) for count in (25, 50))
    assert many < 2.1 * few
    view = chain(25)
    height = {}
    for group in ET.fromstring(view.svg).iter("{http://www.w3.org/2000/svg}g"):
        if group.get("class", "").startswith("node"):
            height[group.get("id")] = float(group.find(".//{http://www.w3.org/2000/svg}text").get("y"))
    saved = [abs(height[e.source] - height[e.target]) for e in view.picture.edges if e.kind == "saved"]
    assert max(saved) < 0.15 * (max(height.values()) - min(height.values()))


def test_every_format_is_written(tmp_path):
    view = viz.draw(residual())
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


def fake_dot(folder, script):
    path = folder / "dot"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return str(folder)


def test_without_dot_everything_but_layout_works(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    view = viz.draw(attention())
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
    assert "softmax" in str(view) and isinstance(viz.make_dot(attention()), graphviz.Digraph)
    assert viz.heatmap(np.eye(2)).svg.startswith("<svg")


def test_a_dot_that_never_ends_is_stopped(tmp_path, monkeypatch):
    script = f"/bin/sleep 30 & echo $! >> {tmp_path}/children; wait"
    monkeypatch.setenv("PATH", fake_dot(tmp_path, script) + os.pathsep + os.environ["PATH"])
    monkeypatch.setattr(layout, "TIMEOUT", 0.3)
    start = time.monotonic()
    with pytest.raises(
        errors.TinyattnError,
        match=r"\[draw\] dot must finish within 0.3 s, but it took longer than 0.3 s, even for all in one node",
    ):
        viz.draw(residual()).save(tmp_path / "a.svg")
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
    monkeypatch.setenv("PATH", fake_dot(tmp_path, script) + os.pathsep + os.environ["PATH"])
    monkeypatch.setattr(layout, "TIMEOUT", 3)
    view = viz.draw(residual()).save(tmp_path / "a.svg")
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
    monkeypatch.setenv("PATH", fake_dot(tmp_path, script) + os.pathsep + os.environ["PATH"])
    x = ta.parameter(np.ones((2, 2), np.float32), name="x")
    view = viz.draw(ta.relu(ta.tanh(x)).sum()).save(tmp_path / "a.svg")
    assert ("splines=line" in (tmp_path / "asked").read_text()) == straight
    assert len(view.drawn.nodes) == (nodes or len(view.picture.nodes))
    assert [note.split(" for ")[0] for note in view.notes[:1]] == ([] if straight else ["dot crashed"])


def test_a_dot_that_always_crashes_gives_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", fake_dot(tmp_path, "kill -SEGV $$") + os.pathsep + os.environ["PATH"])
    with pytest.raises(
        errors.TinyattnError, match=r"\[draw\] dot must finish .*, but it crashed, even for all"
    ) as caught:
        viz.draw(residual()).save(tmp_path / "a.svg")
    assert "test_layout.py" in str(caught.value).splitlines()[1]


def test_a_dot_that_fails_gives_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setenv(
        "PATH",
        fake_dot(tmp_path, "echo 'Format: \"png\" not recognized.' >&2; exit 1")
        + os.pathsep
        + os.environ["PATH"],
    )
    with pytest.raises(
        errors.TinyattnError, match=r'\[draw\] dot must be able to make png, but Format: "png" not recognized'
    ):
        viz.draw(attention()).save(tmp_path / "a.png")


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
    words = len(drawn.nodes) / layout.WORDS
    assert layout.seconds(drawn) - words < 1 < layout.seconds(view.picture)


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
