"""The page of a graph in a real browser: what is lit, said and computed there is what the graph says."""

import os
import re

import numpy as np
import pytest
from browser import chromium, colour_at, opened

import tinyattn as ta
from tinyattn import viz
from tinyattn.viz import style
from tinyattn.viz.page import graph
from tinyattn.viz.page.program import program_of

READY = ".walk[data-ready]"
RNG = np.random.default_rng(0)
NAMES = "Q K V".split()
Q, K, V = (
    ta.tensor(RNG.standard_normal(shape), name=name)
    for name, shape in zip(NAMES, ((4, 3), (5, 3), (5, 2)), strict=True)
)
NOT_COMPUTED = ("seed", "update")


@pytest.fixture(scope="module")
def browser():
    with chromium() as started:
        yield started


@pytest.fixture(scope="module")
def view():
    S = Q @ K.T / 3**0.5
    P = ta.softmax(S)
    O = P @ V
    loss = (O * O).sum()
    return viz.draw(loss, [Q, K, V])


@pytest.fixture(scope="module")
def saved(view, tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "a.html"
    view.save(path)
    return path


def by_name(view, name):
    return next(node for node in view.picture.nodes.values() if name in (node.name, node.title))


def click(page, ident):
    page.click(f'[id="{ident}"] text >> nth=0')


def lit(page):
    """Ids of all that is lit, nodes and arrows."""
    return set(page.evaluate("[...document.querySelectorAll('svg.lens .lit')].map(e => e.id)"))


def reached(view, ident, end="source"):
    """A search of its own: nodes and arrows on all ways into ``ident`` (or out of it)."""
    other = "target" if end == "source" else "source"
    nodes, edges = {ident}, set()
    while True:
        more = [e for e in view.picture.edges if getattr(e, other) in nodes and e.kind not in NOT_COMPUTED]
        if {getattr(e, end) for e in more} <= nodes:
            break
        nodes |= {getattr(e, end) for e in more}
    edges = {(e.source, e.target, e.kind) for e in more}
    return nodes, edges


def numpy_values():
    """The same in NumPy: forward and backward by hand."""
    q, k, v = Q.numpy(), K.numpy(), V.numpy()

    def run(q, k, v):
        s = q @ k.T / 3**0.5
        p = np.exp(s - s.max(-1, keepdims=True))
        p /= p.sum(-1, keepdims=True)
        o = p @ v
        d_o = 2 * o
        d_p = d_o @ v.T
        d_s = p * (d_p - (p * d_p).sum(-1, keepdims=True))
        return {"S": s, "P": p, "O": o, "loss": (o * o).sum(), "dO": d_o, "dP": d_p, "dS": d_s,
                "dQ": d_s @ k / 3**0.5, "dV": p.T @ d_o}  # fmt: skip

    return run, q, k, v


def values(page, ident):
    """What the page has computed for a node."""
    found = page.evaluate(
        "id => { const v = views[0].machine.value(id); return [v.shape, [...v.data]]; }", ident
    )
    return np.array(found[1]).reshape(found[0])


def test_it_opens_at_readable_size_on_the_loss(browser, tmp_path):
    x = ta.tensor(np.ones((2, 2)), name="x")
    y = x
    for _ in range(60):
        y = ta.tanh(y)
    view = viz.draw(y.sum(), x).save(tmp_path / "long.html")
    loss = next(n.id for n in view.picture.nodes.values() if n.output and n.phase == "forward")
    for width, height in ((360, 640), (1100, 800), (3840, 2160)):
        with opened(browser, tmp_path / "long.html", READY, width, height) as page:
            box = page.locator(f'[id="{loss}"]').bounding_box()
            stage = page.locator("main").bounding_box()
            assert stage["x"] <= box["x"] and box["x"] + box["width"] <= stage["x"] + stage["width"]
            assert stage["y"] <= box["y"] and box["y"] + box["height"] <= stage["y"] + stage["height"]
            letters = page.locator(f'[id="{loss}"] text').first.bounding_box()["height"]
            assert letters >= 10, "too small to read"


def test_a_click_lights_exactly_what_a_node_is_computed_from(browser, view, saved):
    with opened(browser, saved, READY) as page:
        for ident, node in view.picture.nodes.items():
            page.evaluate("id => views[0].select(id)", ident)
            for way, end in (("made of", "source"), ("used by", "target")):
                page.click(f"text=lit: {way}")
                nodes, edges = reached(view, ident, end)
                found = lit(page)
                assert found & view.picture.nodes.keys() == nodes, (node.title, way)
                assert {tuple(name.split("--")[:3]) for name in found - nodes} == edges, (node.title, way)
        click(page, by_name(view, "dQ").id)
        page.click("text=lit: made of")
        assert {by_name(view, name).id for name in ("dS", "P", "dP", "V", "dO", "O", "Q", "K")} <= lit(page)
        faint, bright = ("opacity => +getComputedStyle(document.getElementById(opacity)).opacity",) * 2
        assert (
            page.evaluate(faint, by_name(view, "∂loss/∂V").id)
            < 0.3
            < page.evaluate(bright, by_name(view, "dS").id)
        )
        page.keyboard.press("Escape")
        assert page.locator("svg.lens").count() == 0


def test_the_lit_nodes_are_those_of_the_graph_itself(browser, view, saved):
    """The picture's arrows against the Tensors: the cotangent of Q by its own inputs."""
    tensors = {ident: parts[0] for ident, parts in view.shown.of.items()}
    ident = by_name(view, "dQ").id
    below = set(ta.graph.traverse.topological([tensors[ident]]))
    expected = {other for other, tensor in tensors.items() if tensor in below and other in view.picture.nodes}
    expected = {other for other in expected if view.picture.nodes[other].kind != "result"}
    with opened(browser, saved, READY) as page:
        click(page, ident)
        assert lit(page) & view.picture.nodes.keys() == expected


def test_the_inspector_says_what_a_node_is(browser, view, saved):
    node = by_name(view, "dS")
    with opened(browser, saved, READY) as page:
        click(page, node.id)
        panel = page.locator(".panel")
        assert panel.locator("h2").inner_text() == "softmax backward"
        assert panel.locator(".equation math").text_content() == "dS=P∘(dP−rowsum(P∘dP))"
        said = panel.inner_text()
        assert (
            "f64 (4, 5)" in said
            and "160 B" in said
            and "P = ta.softmax(S)" in said
            and "test_page.py:" in said
        )
        panel.locator("button.go", has_text=re.compile("^dP$")).click()
        assert panel.locator(".equation math").text_content() == "dP=dOV⊤"
        click(page, by_name(view, "P").id)
        assert panel.locator(".rule math").text_content() == "y∘(ḡ−⟨y,ḡ⟩)"


def test_a_formula_is_copied_as_latex(browser, view, saved):
    with opened(browser, saved, READY) as page:
        click(page, by_name(view, "S").id)
        page.click("text=copy LaTeX >> nth=0")
        page.wait_for_selector("text=copied")
        page.focus(".search input")
        page.keyboard.press("Control+V")
        assert page.input_value(".search input") == r"S = \frac{Q\,{K}^{\top}}{1.732}"


def test_search_outline_and_keys_lead_to_nodes(browser, view, saved):
    chosen = "views[0].chosen"
    with opened(browser, saved, READY) as page:
        page.keyboard.press("/")
        page.keyboard.type("dS")
        page.keyboard.press("Enter")
        assert page.evaluate(chosen) == by_name(view, "dS").id
        for key, name in (
            ("ArrowUp", "P"),
            ("ArrowRight", "dP"),
            ("ArrowLeft", "P"),
            ("ArrowUp", "S"),
            ("ArrowDown", "P"),
        ):
            page.keyboard.press(key)
            assert page.evaluate(chosen) == by_name(view, name).id, (key, name)
            box, stage = (
                page.locator(f'[id="{by_name(view, name).id}"]').bounding_box(),
                page.locator("main").bounding_box(),
            )
            assert stage["y"] <= box["y"] and box["y"] + box["height"] <= stage["y"] + stage["height"], (
                "it comes into view"
            )
        page.keyboard.press("Enter")
        assert page.evaluate("document.activeElement.className") == "panel"
        page.click(".outline >> text=/^dV$/")
        assert page.evaluate(chosen) == by_name(view, "dV").id
        page.fill(".search input", "no such thing")
        assert "nothing of that name" in page.inner_text(".results")


def test_an_address_leads_to_a_node(browser, view, saved):
    ident = by_name(view, "dP").id
    with opened(browser, f"{saved}#{ident}", READY) as page:
        assert page.evaluate("views[0].chosen") == ident
        click(page, by_name(view, "P").id)
        assert page.evaluate("location.hash") == "#" + by_name(view, "P").id


def test_values_are_those_of_numpy_and_follow_a_change(browser, view, saved):
    run, q, k, v = numpy_values()
    with opened(browser, saved, READY) as page:
        for change in (None, (2, 1, 5.25)):
            if change:
                i, j, to = change
                q = q.copy()
                q[i, j] = to
                click(page, by_name(view, "Q").id)
                canvas = page.locator("canvas.values")
                side = float(canvas.get_attribute("data-side"))
                canvas.click(position={"x": (j + 0.5) * side, "y": (i + 0.5) * side})
                page.fill(".numbers input[type=number]", str(to))
                page.keyboard.press("Enter")
            for name, expected in run(q, k, v).items():
                np.testing.assert_allclose(
                    values(page, by_name(view, name).id), expected, rtol=0, atol=1e-12, err_msg=name
                )
        page.click("text=undo changes")
        np.testing.assert_array_equal(values(page, by_name(view, "Q").id), Q.numpy())


def test_the_scale_and_the_mask_are_changed(browser, tmp_path):
    Q, K, V = (
        ta.tensor(x.numpy(), name=x.name) for x in (globals()[name] for name in NAMES)
    )  # (not shared with other views)
    mask = ta.tensor(np.tri(4, 5, dtype=bool), name="M")
    S = Q @ K.T * 0.6
    P = ta.softmax(S, mask=mask)
    O = P @ V
    view = viz.draw((O**3).sum() / 2, [Q, K, V]).save(tmp_path / "a.html")

    def gradients(scale, allowed):
        s = np.where(allowed, Q.numpy() @ K.numpy().T * scale, -np.inf)
        p = np.exp(s - s.max(-1, keepdims=True))
        p /= p.sum(-1, keepdims=True)
        d_o = 1.5 * (p @ V.numpy()) ** 2
        d_p = d_o @ V.numpy().T
        d_s = p * (d_p - (p * d_p).sum(-1, keepdims=True))
        return {"∂y/∂Q": d_s @ K.numpy() * scale, "∂y/∂K": d_s.T @ Q.numpy() * scale, "∂y/∂V": p.T @ d_o}

    def agree(page, scale, allowed):
        for name, expected in gradients(scale, allowed).items():
            np.testing.assert_allclose(
                values(page, by_name(view, name).id), expected, rtol=0, atol=1e-12, err_msg=name
            )

    with opened(browser, tmp_path / "a.html", READY, height=1000) as page:
        allowed = np.tri(4, 5, dtype=bool)
        agree(page, 0.6, allowed)
        page.evaluate("id => views[0].select(id)", by_name(view, "S").id)
        page.fill(".tuned input", "1.75")
        agree(page, 1.75, allowed)
        page.evaluate("id => views[0].select(id)", by_name(view, "M").id)
        canvas = page.locator("canvas.values")
        side = float(canvas.get_attribute("data-side"))
        canvas.click(position={"x": 3.5 * side, "y": 0.5 * side})
        allowed[0, 3] = True
        agree(page, 1.75, allowed)
        page.click("text=undo changes")
        agree(page, 0.6, np.tri(4, 5, dtype=bool))
        # Of the numbers of x³ no one may be changed: its derivative has them, too, and others.
        assert [
            view.picture.nodes[ident].name
            for ident in page.evaluate("Object.keys(views[0].data.program.tuned)")
        ][:1] == ["S"]


def test_a_number_that_the_derivative_has_from_elsewhere_is_not_to_be_changed():
    x = ta.tensor(np.array([1.0, 2.0]), name="x")
    for y, count in (
        ((x * 2.0) ** 2, 0),
        (ta.square(x * 2.0), 0),
        (ta.square(x * 2.5), 1),
        (ta.tanh(x / 3.0) * 2.0, 2),
    ):
        view = viz.draw(y.sum(), x)
        assert (
            len({at for places in program_of(view.whole, view.shown).tuned.values() for at in places})
            == count
        )


def test_a_cell_is_dragged_and_everything_follows(browser, view, saved):
    run, q, k, v = numpy_values()
    with opened(browser, saved, READY, height=1000) as page:
        click(page, by_name(view, "K").id)
        box = page.locator("canvas.values").bounding_box()
        before = page.locator(f'[id="{by_name(view, "dS").id}"] image').get_attribute("href")
        page.mouse.move(box["x"] + 5, box["y"] + 5)
        page.mouse.down()
        page.mouse.move(box["x"] + 5, box["y"] - 60, steps=4)
        page.mouse.up()
        k = values(page, by_name(view, "K").id)
        assert k[0, 0] > K.numpy()[0, 0] + 0.5 and (k.ravel()[1:] == K.numpy().ravel()[1:]).all()
        for name, expected in run(q, k, v).items():
            np.testing.assert_allclose(
                values(page, by_name(view, name).id), expected, rtol=0, atol=1e-12, err_msg=name
            )
        assert page.locator(f'[id="{by_name(view, "dS").id}"] image').get_attribute("href") != before


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_cells_have_the_colours_and_numbers_of_their_values(browser, view, saved, scheme):
    run, q, k, v = numpy_values()
    d_s = run(q, k, v)["dS"]
    with opened(browser, saved, READY, height=1000, color_scheme=scheme) as page:
        click(page, by_name(view, "dS").id)
        canvas = page.locator("canvas.values")
        box, side = canvas.bounding_box(), float(canvas.get_attribute("data-side"))
        for i, j in ((0, 0), (3, 0), (2, 4)):
            x, y = box["x"] + (j + 0.1) * side, box["y"] + (i + 0.1) * side
            page.mouse.move(0, 0)
            fill = style.shade(d_s[i, j] / np.abs(d_s).max())
            assert np.abs(colour_at(page, x, y) - [int(fill[c : c + 2], 16) for c in (1, 3, 5)]).max() <= 4
            page.mouse.move(x, y)
            place, _, number = page.inner_text("output.says").partition(": ")
            assert place == f"[{i}, {j}]" and float(number.replace("−", "-")) == pytest.approx(
                d_s[i, j], rel=1e-8
            )


def test_contributions_sum_to_the_gradient(browser, tmp_path):
    x, w = ta.tensor(RNG.standard_normal((3, 3)), name="x"), ta.tensor(RNG.standard_normal((3, 3)), name="w")
    h = ta.tanh(x)
    y = (h * h).sum() + (h @ w).sum() + ta.sigmoid(h).sum()
    view = viz.draw(y, x).save(tmp_path / "a.html")
    d_h = by_name(view, "dh")
    t = np.tanh(x.numpy())
    s = 1 / (1 + np.exp(-t))
    expected = sorted([2 * t[1, 2], w.numpy()[2].sum(), (s * (1 - s))[1, 2]])
    with opened(browser, tmp_path / "a.html", READY, height=1100) as page:
        click(page, d_h.id)
        parts = page.evaluate("id => views[0].contributions(id).map(p => [...p.value.data])", d_h.id)
        np.testing.assert_allclose(np.sum(parts, 0).reshape(3, 3), values(page, d_h.id), rtol=0, atol=1e-10)
        canvas = page.locator("canvas.values")
        side = float(canvas.get_attribute("data-side"))
        canvas.hover(position={"x": 2.5 * side, "y": 1.5 * side})
        rows = page.locator(".contributions td.number").all_inner_texts()
        *numbers, total = [float(text.replace("−", "-")) for text in rows]
        np.testing.assert_allclose(sorted(numbers), expected, rtol=1e-5)
        assert total == pytest.approx(sum(expected), rel=1e-5)
        assert "✓" in page.inner_text(".contributions .sum")
        ways = page.evaluate(
            "[...document.querySelectorAll('svg .edge')].map(e => e.style.getPropertyValue('--way')).filter(Boolean)"
        )
        assert len(set(ways)) == len(numbers), "each contribution came along arrows of its own colour"


def test_the_depth_slider_opens_and_closes_modules(browser, tmp_path):
    model = ta.nn.Sequential(ta.nn.Linear(3, 4), ta.nn.LayerNorm(4), ta.nn.Linear(4, 2))
    view = viz.draw(model(ta.tensor(np.ones((2, 3), np.float32), name="x")).sum(), depth=0).save(
        tmp_path / "a.html"
    )
    with opened(browser, tmp_path / "a.html", READY) as page:
        count = page.locator("svg.graph .node").count()
        assert count == len(view.picture.nodes)
        page.fill(".depth input", "1")
        assert page.inner_text(".depth output") == "all"
        assert page.locator("svg.graph .node").count() == len(view.whole.nodes) > count
        page.fill(".depth input", "0")
        assert page.locator("svg.graph .node").count() == count


def test_light_dark_and_paper(browser, saved):
    ground = "getComputedStyle(document.body).backgroundColor"
    with opened(browser, saved, READY) as page:
        assert page.evaluate(ground) == "rgb(255, 255, 255)"
        page.click(".theme")
        assert page.evaluate(ground) == "rgb(21, 23, 26)"
        page.click(".theme")
        assert page.evaluate(ground) == "rgb(255, 255, 255)"
        page.emulate_media(media="print")
        assert not page.locator(".panel").is_visible() and page.locator("svg.graph").is_visible()
        page.set_viewport_size({"width": 200, "height": 600})  # (a sheet is narrower than the picture)
        box = page.locator("svg.graph").bounding_box()
        assert box["x"] >= 0 and box["x"] + box["width"] <= 200, "the whole picture is on the sheet"


@pytest.mark.parametrize(
    ("width", "height", "zoom"), [(360, 640, 1), (1100, 800, 1), (1100, 800, 2), (3840, 2160, 1)]
)
def test_everything_is_in_the_window(browser, view, saved, width, height, zoom):
    with opened(
        browser,
        saved,
        READY,
        width // zoom,
        height // zoom,
        device_scale_factor=zoom,
        reduced_motion="reduce",
    ) as page:
        page.evaluate("id => views[0].select(id)", by_name(view, "dS").id)
        for what in ("header", "main", ".panel .equation", ".panel canvas.values"):
            page.locator(what).scroll_into_view_if_needed()
            box = page.locator(what).bounding_box()
            assert (
                box["x"] >= 0
                and box["x"] + box["width"] <= width // zoom + 1
                and 0 <= box["y"] < height // zoom
            ), what
        node = page.locator(f'[id="{by_name(view, "dS").id}"]').bounding_box()
        main = page.locator("main").bounding_box()
        assert main["x"] <= node["x"] + node["width"] / 2 <= main["x"] + main["width"]
        assert main["y"] <= node["y"] + node["height"] / 2 <= main["y"] + main["height"]


def test_two_views_in_one_page(browser, view, tmp_path):
    x = ta.tensor(np.array([1.0, 2.0]), name="x")
    other = viz.draw((x * x).sum(), x)
    (tmp_path / "a.html").write_text(graph.page(view, view, other))
    with opened(browser, tmp_path / "a.html", READY) as page:
        page.wait_for_function("views.length === 3")
        ident = by_name(view, "dS").id
        page.evaluate("id => views.find(v => v.prefix === 'v1-').select(id)", ident)
        marked = page.evaluate("[...document.querySelectorAll('.graph .node.chosen')].map(e => e.id)")
        assert marked == [f"v1-{ident}"] and page.evaluate("location.hash") == f"#v1-{ident}"
        assert page.locator(".panel .equation").count() == 1


def test_names_are_words_whatever_they_are(browser, tmp_path):
    for name in (
        '<script>alert(1)</script>&"',
        "</script><img src=x onerror=alert(1)>",
        "注意力 שלום",
        "x" * 300,
        "$\\alpha_{1}$",
    ):
        with ta.scope(name):
            x = ta.tensor(np.ones((2, 2)), name=name)
            y = (ta.tanh(x) * x).sum()
        view = viz.draw(y, x).save(tmp_path / "a.html")
        with opened(browser, tmp_path / "a.html", READY) as page:
            for ident in view.picture.nodes:
                page.evaluate("id => views[0].select(id)", ident)
            page.keyboard.press("/")
            page.keyboard.type(name[:5])
            assert page.locator(".results button").count() > 0
            shown = view.picture.nodes[next(iter(view.picture.nodes))].title
            page.evaluate("id => views[0].select(id)", next(iter(view.picture.nodes)))
            assert page.inner_text(".panel h2") == " ".join(shown.split())
            assert page.locator("img, .panel script").count() == 0


def test_1500_nodes_are_light(browser, tmp_path):
    """What makes a page slow is counted here; it is timed by benchmarks/pages.py."""
    x = ta.tensor(np.ones((4, 4)), name="x")
    y = x
    for k in range(375):
        with ta.scope(f"layer{k // 25}"):
            y = ta.tanh(y * float(k + 2))
    view = viz.draw(y.sum(), x).save(tmp_path / "a.html")
    assert len(view.drawn.nodes) >= 1500
    assert os.path.getsize(tmp_path / "a.html") < 2_000_000
    with opened(browser, tmp_path / "a.html", READY) as page:
        assert page.evaluate("document.querySelectorAll('*').length") < 30_000
