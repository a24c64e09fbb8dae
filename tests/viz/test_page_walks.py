"""Cells that a cell comes from, and steps of a loop, in the page: against changes of every number, one at a time."""

import numpy as np
import pytest
from browser import chromium, opened

import tinyattn as ta
from tinyattn import viz
from tinyattn.graph.traverse import substitute
from tinyattn.runtime import reference

READY = ".walk[data-ready]"
RNG = np.random.default_rng(1)


def leaf(name, *shape):
    return ta.tensor(RNG.standard_normal(shape) * 0.7, name=name)


def attention():
    Q, K, V = leaf("Q", 4, 3), leaf("K", 4, 3), leaf("V", 4, 2)
    O = ta.attention(Q, K, V, is_causal=True)
    return viz.draw((O * O).sum(), [Q, K, V], expand="attention"), [Q, K, V]


def joined():
    x, w = leaf("x", 2, 3), leaf("w", 3, 2)
    ids = ta.tensor(np.array([1, 0, 1]), name="ids")
    rows = ta.concat([ta.take(x, ids, 0), w.T[:, ::2].reshape(1, 4)[:, :3]], 0)
    return viz.draw(ta.tanh(ta.cumsum(rows, 0) @ w).sum(), [x, w]), [x, w]


def recurrent():
    xs, h, W, memory, A = (
        leaf("xs", 5, 3),
        leaf("h", 3),
        leaf("W", 3, 3),
        leaf("memory", 4, 3),
        leaf("A", 3, 3),
    )

    def cell(h, x):
        weights = ta.softmax(memory @ (A @ h))
        after = ta.tanh(x @ W + weights @ memory)
        return after, after

    last, states = ta.scan(cell, h, xs)
    return viz.draw((states * states).sum(), [xs, h, A]), [xs, h, W, memory, A]


@pytest.fixture(scope="module")
def browser():
    with chromium() as started:
        yield started


def changes(tensor, cell, leaves):
    """For each leaf, which of its cells change a cell of a value: each is changed, and everything computed anew."""
    (before,) = reference.evaluate([tensor])
    found = {}
    for x in leaves:
        array, moved = x.numpy(), np.zeros(x.shape, bool)
        for place in np.ndindex(*x.shape):
            other = array.copy()
            other[place] += 0.37
            (after,) = reference.evaluate(substitute([tensor], {x: ta.tensor(other)}))
            moved[place] = after.ravel()[cell] != before.ravel()[cell]
        found[x.name] = moved
    return found


@pytest.mark.parametrize("make", [attention, joined, recurrent])
def test_a_cell_comes_from_exactly_the_cells_that_change_it(browser, tmp_path, make):
    view, leaves = make()
    view.save(tmp_path / "a.html")
    names = {
        node.title: ident for ident, node in view.picture.nodes.items() if node.kind in ("input", "parameter")
    }
    results = [ident for ident, node in view.picture.nodes.items() if node.kind == "result"]
    with opened(browser, tmp_path / "a.html", READY) as page:
        for ident in results:
            (tensor,) = view.shown.of[ident]
            for cell in sorted(
                {tensor.size // 2, tensor.size - 1}
            ):  # (a first row that sees one key has a gradient that cancels)
                masks = page.evaluate(
                    "([id, cell]) => Object.fromEntries([...provenance(views[0], id, cell)].map(([k, m]) => [k, [...m]]))", [ident, cell])  # fmt: skip
                for name, expected in changes(tensor, cell, leaves).items():
                    found = np.array(masks.get(names[name], np.zeros(expected.size)), bool).reshape(
                        expected.shape
                    )
                    np.testing.assert_array_equal(
                        found, expected, f"{view.picture.nodes[ident].title}[{cell}] from {name}"
                    )


def test_cells_light_up_across_the_graph(browser, tmp_path):
    view, _ = attention()
    view.save(tmp_path / "a.html")
    named = {node.name or node.title: ident for ident, node in view.picture.nodes.items()}
    strong = """id => { const image = document.querySelector(`[id="${id}"] image`), canvas = document.createElement("canvas"), pen = canvas.getContext("2d");
        return new Promise(done => { const one = new Image(); one.onload = () => { canvas.width = one.width; canvas.height = one.height; pen.drawImage(one, 0, 0);
          done([one.height, one.width, [...pen.getImageData(0, 0, one.width, one.height).data].filter((_, k) => k % 4 === 3)]); };
          one.src = image.getAttribute("href"); }); }"""
    with opened(browser, tmp_path / "a.html", READY, 1600, 2400) as page:
        box = page.locator(f'[id="{named["dQ"]}"] image').bounding_box()
        page.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + box["height"] * (1 + 0.5) / 4)  # row 1 of 4
        assert page.inner_text(".status").startswith("dQ[1, 1] = ")
        for name, wanted in (
            ("P", (np.arange(4)[:, None] == 1) & (np.arange(4) <= 1)),  # (nothing from behind the mask)
            ("V", np.arange(4)[:, None] <= 1),
            ("K", np.arange(4)[:, None] <= 1),
        ):
            height, width, alpha = page.evaluate(strong, named[name])
            shown = np.array(alpha).reshape(height, width) > 200
            expected = np.broadcast_to(wanted, shown.shape)
            np.testing.assert_array_equal(shown, expected, name)
        page.mouse.move(1, 1)
        assert (np.array(page.evaluate(strong, named["P"])[2]) == 255).all()


def test_steps_of_a_loop_change_numbers_and_nothing_else(browser, tmp_path):
    view, (xs, h, W, memory, A) = recurrent()
    view.save(tmp_path / "a.html")
    forward = [node for node in view.picture.nodes.values() if node.phase == "forward" and node.path]
    after = next(node.id for node in forward if node.op == "tanh")
    state, expected = h.numpy(), []
    for x in xs.numpy():
        e = np.exp(memory.numpy() @ (A.numpy() @ state))
        state = np.tanh(x @ W.numpy() + (e / e.sum()) @ memory.numpy())
        expected.append(state)
    places = "[...document.querySelectorAll('.graph .node')].map(e => { const b = e.getBoundingClientRect(); return [e.id, b.x, b.y, b.width, b.height]; })"
    with opened(browser, tmp_path / "a.html", READY) as page:
        page.evaluate("id => views[0].select(id)", after)
        first, maps = page.evaluate(places), set()
        for t in range(5):
            page.fill(".time input", str(t))
            assert page.evaluate(places) == first
            value = page.evaluate("id => [...views[0].machine.value(id).data]", after)
            np.testing.assert_allclose(value, expected[t], rtol=0, atol=1e-12)
            maps.add(page.get_attribute(f'[id="{after}"] image', "href"))
        assert len(maps) == 5 and page.locator(".film button").count() == 5
        page.click(".film button >> nth=2")
        assert page.input_value(".time input") == "2" and "at step 2" in page.inner_text(".numbers")


def test_the_ways_of_a_recurrent_gradient_are_drawn_apart(browser, tmp_path):
    xs, h, W, U, memory, A = (
        leaf("xs", 5, 3),
        leaf("h", 3),
        leaf("W", 3, 3),
        leaf("U", 3, 3),
        leaf("memory", 4, 3),
        leaf("A", 3, 3),
    )

    def cell(h, x):
        after = ta.tanh(x @ W + h @ U + ta.softmax(memory @ (A @ h)) @ memory)
        return after, after

    view = viz.draw(ta.sum(ta.scan(cell, h, xs)[0] ** 2), [h, A]).save(tmp_path / "a.html")
    nodes = view.picture.nodes
    total = [
        ident for ident, node in nodes.items() if node.op == "add" and node.phase == "gradient" and node.path
    ][-1]
    with opened(browser, tmp_path / "a.html", READY) as page:
        page.evaluate("id => views[0].select(id)", total)
        ways = dict(
            page.evaluate(
                "[...document.querySelectorAll('svg .edge')].map(e => [e.id, e.style.getPropertyValue('--way')]).filter(e => e[1])"
            )
        )
    colours = {}
    for name, colour in ways.items():
        colours.setdefault(colour, set()).add(nodes[name.split("--")[0]].formula)
    attention = next(
        c for c, formulas in colours.items() if any("softmax" in f or "rowsum" in f for f in formulas)
    )
    recurrent = next(
        c for c, formulas in colours.items() if any("U" in f for f in formulas) and c != attention
    )
    assert len(colours) == 2 and attention != recurrent
