"""Two graphs in one picture: what is new, gone and changed, and that nothing else is said to be."""

import numpy as np
import pytest
from browser import chromium, opened

import tinyattn as ta
from tinyattn import errors, viz

RNG = np.random.default_rng(0)
Q, K, V = (
    ta.tensor(RNG.standard_normal(s), name=n) for n, s in (("Q", (4, 3)), ("K", (5, 3)), ("V", (5, 2)))
)


def attention(scaled=False, masked=False):
    S = Q @ K.T
    S = S / 3**0.5 if scaled else S
    S = ta.where(ta.tensor(np.tri(4, 5, dtype=bool), name="mask"), S, -np.inf) if masked else S
    P = ta.softmax(S)
    O = P @ V
    return (O * O).sum()


def changes(view):
    return {
        change: sorted(n.op for n in view.picture.nodes.values() if n.change == change)
        for change in ("added", "removed", "changed")
    }


def test_a_graph_is_the_same_as_itself():
    for wrt in (None, [Q, K]):
        plain = viz.draw(attention(), wrt).picture
        view = viz.compare(attention(), attention(), wrt=wrt)
        assert changes(view) == {"added": [], "removed": [], "changed": []}
        assert view.picture.nodes.keys() == plain.nodes.keys()
        assert [vars(edge) for edge in view.picture.edges] == [vars(edge) for edge in plain.edges]


def test_a_new_operation_is_new_forward_and_backward_and_nothing_else():
    view = viz.compare(attention(), attention(scaled=True), wrt=[Q, K, V])
    assert changes(view) == {
        "added": ["div", "div"],
        "removed": [],
        "changed": ["matmul", "matmul", "softmax"],
    }
    back = viz.compare(attention(scaled=True), attention(), wrt=[Q, K, V])
    assert changes(back) == {
        "added": [],
        "removed": ["div", "div"],
        "changed": ["matmul", "matmul", "softmax"],
    }
    added = {(e.source, e.target) for e in view.picture.edges if e.change == "added"}
    removed = {(e.source, e.target) for e in view.picture.edges if e.change == "removed"}
    assert len(added) == 5 and len(removed) == 3, (
        "S → div → softmax and dsoftmax → div → dQ, dK, where S → softmax was"
    )
    marked = [node.title[0] for node in view.picture.nodes.values() if node.change == "added"]
    assert marked == ["+", "+"] and view.picture.title == "before → after: 2 added, 0 removed, 3 changed"


def test_both_sides_are_whole():
    """Without what only the one has, the picture is that of the other."""
    first, second = viz.draw(attention(scaled=True), [Q]), viz.draw(attention(masked=True), [Q])
    both = viz.compare(first, second).picture
    for side, gone in ((first.picture, "added"), (second.picture, "removed")):
        kept = [node for node in both.nodes.values() if node.change != gone]
        assert sorted(n.op for n in kept) == sorted(n.op for n in side.nodes.values())
        arrows = sorted(
            (both.nodes[e.source].op, both.nodes[e.target].op, e.kind, e.label)
            for e in both.edges
            if e.change != gone
        )
        assert arrows == sorted(
            (side.nodes[e.source].op, side.nodes[e.target].op, e.kind, e.label) for e in side.edges
        )


def test_what_the_compiler_makes_of_a_graph():
    y = attention(scaled=True)
    view = viz.compare([y, *ta.grad(y, [Q, K])])
    found = changes(view)
    assert (
        "sum_squares" in found["added"]
        and {"mul", "sum", "div"} <= set(found["removed"])
        and "softmax" in found["changed"]
    )
    with pytest.raises(errors.DTypeError):
        viz.compare(3, 4)


def test_the_page_switches_between_before_and_after(tmp_path):
    view = viz.compare(attention(), attention(scaled=True), wrt=[Q, K]).save(tmp_path / "a.html")
    faint = "name => +getComputedStyle(document.querySelector(`.graph .node.${name}`)).opacity"
    gone = "() => [...document.querySelectorAll('.graph .edge.removed')].every(e => +getComputedStyle(e).opacity < 0.1)"
    with chromium() as browser, opened(browser, tmp_path / "a.html", ".walk[data-ready]") as page:
        boxes = "[...document.querySelectorAll('.graph .node')].map(e => { const b = e.getBoundingClientRect(); return [b.x, b.y]; })"
        before = page.evaluate(boxes)
        assert page.evaluate(faint, "added") == 1 and not page.evaluate(gone)
        page.click(".versions .before")
        assert page.evaluate(faint, "added") < 0.1 and not page.evaluate(gone)
        page.click(".versions .after")
        assert page.evaluate(faint, "added") == 1 and page.evaluate(gone) and page.evaluate(boxes) == before
        softmax = next(ident for ident, node in view.picture.nodes.items() if node.op == "softmax")
        page.evaluate("id => views[0].select(id)", softmax)
        lit = page.evaluate("[...document.querySelectorAll('.lit')].map(e => e.id)")
        assert not any("removed" in page.locator(f'[id="{ident}"]').get_attribute("class") for ident in lit)
