"""Reports: self-contained, escaped, whatever their sections hold."""

import base64
import struct
import zlib
from html.parser import HTMLParser

import numpy as np
import pytest
from browser import chromium, opened

import tinyattn as ta
from tinyattn import sections, viz
from tinyattn.viz import charts, report

NASTY = '<script>alert("1")</script>&\''


@pytest.fixture(scope="module")
def browser():
    with chromium() as started:
        yield started


class Page(HTMLParser):
    """Tags and addresses of a page; raises for tags that do not match."""

    VOID = {"meta", "img"}

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.addresses, self.text = [], [], [], ""
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        self.addresses += [v for k, v in attributes if k in ("src", "href", "xlink:href")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def test_the_report_is_self_contained_and_escaped(tmp_path):
    weights = np.array([[0.9, 0.1, 0.001], [0.0, 0.25, 0.75]])
    curves = [sections.Line(NASTY, [1, 2, 3], [4.0, float("nan"), 0.01]), sections.Line("b", [], [])]
    parts = [
        sections.Table(NASTY, ["", "target", "a", NASTY], [[NASTY, "≥ 1", "2", NASTY]], NASTY),
        sections.Curves(NASTY, curves, NASTY, NASTY, NASTY),
        sections.Bars(NASTY, {NASTY: {"5-9": 0.5, NASTY: 1.0}, "b": {"5-9": 0.25}}, NASTY, NASTY, NASTY),
        sections.Heat(NASTY, [sections.Map(weights, [NASTY, "y"], ["a", NASTY, "c"], NASTY)], NASTY),
        sections.Samples(
            NASTY, [[("source", NASTY, None), ("a", "right", True), (NASTY, NASTY, False)]], NASTY
        ),
        sections.Images(NASTY, np.zeros((3, 4, 4)), 2, NASTY),
        sections.Images(NASTY, np.zeros((1, 4, 4)), 2, NASTY, [NASTY]),
        sections.Graph(NASTY, "no dot " + NASTY, "", NASTY),
        sections.Points(
            NASTY, [sections.Drawing(np.eye(3)[:, :2], [(0, 1), (1, 1)], [(2, 0)], NASTY)], NASTY
        ),
        sections.Looks(NASTY, np.eye(4), np.full((1, 2, 2), 0.25), [NASTY], NASTY),
        sections.Film(NASTY, {NASTY: np.eye(3)}, [NASTY, "b", "c"], NASTY),
        sections.Arcs(NASTY, [([NASTY, "b"], np.array([[0, 0], [1.0, 0]]))], NASTY),
        sections.Text(NASTY, NASTY, NASTY),
    ]
    report.write(tmp_path / "report.html", NASTY, NASTY, parts)
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    found = Page(text)
    assert "script" not in {tag for tag, _ in found.tags}
    assert all(address.startswith("data:image/png;base64,") for address in found.addresses)
    assert "://" not in text and "url(" not in text and NASTY not in text and NASTY in found.text
    policy = [
        a["content"]
        for tag, a in found.tags
        if tag == "meta" and a.get("http-equiv") == "Content-Security-Policy"
    ]
    assert policy == [
        "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"
    ]
    cells = [a for tag, a in found.tags if tag == "g" and a.get("class") == "cell"]
    assert [float(cell["data-value"]) for cell in cells] == [*weights.ravel(), *np.eye(3).ravel()]
    (polyline, *_) = [a["points"] for tag, a in found.tags if tag == "polyline"]
    assert len(polyline.split()) == 2  # without the nan
    assert "✓" in found.text and "✗" in found.text


def test_every_kind_of_section_can_be_drawn():
    assert set(report._DRAW) == set(sections.Section.__args__)


def test_images_are_a_grid_in_one_png():
    images = np.random.default_rng(0).random((5, 3, 4, 3))
    grid = report.grid_of(images, 2)
    assert grid.shape == (3 * 4 - 1, 2 * 5 - 1, 3)
    np.testing.assert_array_equal(grid[4:7, 5:9], np.round(255 * images[3]))
    assert (grid[3] == 255).all() and (grid[8:, 5:] == 255).all()
    text = report.render("t", "a", [sections.Images("x", images, 2)])
    (address,) = Page(text).addresses
    data = base64.b64decode(address.partition(",")[2])
    assert struct.unpack(">II", data[16:24]) == (9, 11)
    lines = zlib.decompress(data[data.index(b"IDAT") + 4 : -16])
    np.testing.assert_array_equal(
        np.frombuffer(lines, np.uint8).reshape(11, -1)[:, 1:].reshape(grid.shape), grid
    )


def test_images_with_names_stand_one_by_one_above_them():
    images = np.random.default_rng(0).random((2, 3, 4))
    page = Page(report.render("t", "a", [sections.Images("x", images, names=["one", "two"])]))
    assert len(page.addresses) == 2 and page.addresses[0] != page.addresses[1]
    assert "one" in page.text and "two" in page.text
    widths = [
        struct.unpack(">II", base64.b64decode(address.partition(",")[2])[16:24]) for address in page.addresses
    ]
    assert widths == [(4, 3), (4, 3)]
    with pytest.raises(ValueError):
        report.render("t", "a", [sections.Images("x", images, names=["one"])])


def test_an_empty_report_and_a_drawn_graph():
    assert "<h2>" not in report.render("t", "a", [])
    svg = '<?xml version="1.0"?><!DOCTYPE svg><svg><g/></svg>'
    text = report.render("t", "a", [sections.Graph("g", svg, "graph.svg")])
    assert "<svg><g/></svg>" in text and "<?xml" not in text
    assert Page(text).addresses == ["graph.svg"] and "max-width: 100%" in text
    assert "Nothing" in charts.lines([], "x", "y") and "Nothing" in charts.bars({}, "x", "y")


@pytest.mark.parametrize(
    "values", [(2, 0.5), (-6.5, -5), (-1, 3), (-2, -2), (0, 0), (1e-4, 7), (-3, 0), (1e5, -1e5)]
)
def test_lines_stay_inside_their_frame_whatever_the_values(values):
    line = sections.Line("loss", [1, 2, 3], [*values, None])
    text = charts.lines([line], "step", "loss")
    points, *_ = [a["points"] for tag, a in Page(text).tags if tag == "polyline"]
    heights = [float(point.partition(",")[2]) for point in points.split()]
    assert all(charts.TOP <= y <= charts.HEIGHT - charts.BOTTOM for y in heights)
    assert (heights[0] < heights[1]) == (values[0] > values[1]) or values[0] == values[1]


@pytest.mark.parametrize("width, dark", [(360, False), (1100, True), (3840, False)])
def test_pages_of_graphs_stand_in_a_report(browser, tmp_path, width, dark):
    """Two of the same graph: neither knows of the other, each answers clicks, and on paper stand their pictures."""
    x, w = (ta.tensor(np.ones(shape), name=name) for name, shape in (("x", (2, 3)), ("w", (3, 3))))
    view = viz.draw((ta.tanh(x @ w) ** 2).sum())
    part = sections.Graph("<b>", view.svg, caption="c", inside=view.html())
    report.write(tmp_path / "report.html", "t", "a", [part, part])
    scheme = {"color_scheme": "dark" if dark else "light"}
    with opened(browser, tmp_path / "report.html", "iframe", width, **scheme) as page:
        for frame in (page.frame_locator("iframe").nth(k) for k in range(2)):
            frame.locator(".walk[data-ready]").wait_for()
            assert frame.locator(".panel h2").count() == 0
            frame.locator("g.node", has_text="tanh").first.dispatch_event(
                "click"
            )  # (where it lies, test_page.py asks)
            assert frame.locator(".panel h2").inner_text() == "tanh"
            assert frame.locator(".graph .lit.node").count() == 4, "x, w, their product, and itself"
            box = frame.locator(".graph .node.chosen").bounding_box()
            assert box["x"] >= 0 and box["x"] + box["width"] <= width
            ground = frame.locator("body").evaluate("body => getComputedStyle(body).backgroundColor")
            assert (ground == "rgb(255, 255, 255)") != dark
        assert page.locator(".graph svg").first.is_visible() is False
        page.emulate_media(media="print")
        assert page.locator(".graph svg").first.is_visible() and not page.locator("iframe").first.is_visible()


@pytest.mark.parametrize("media", ["screen", "print"])
def test_large_maps_fit_a_window_at_200_percent_and_a_sheet(browser, tmp_path, media):
    """A zoom of 200 % halves the window's own pixels; what is too wide scrolls there in its box, and shrinks on paper."""
    maps = [sections.Map(np.ones((60, 40)) / 40, [f"row {k}" for k in range(60)], ["column"] * 40)]
    report.write(tmp_path / "report.html", "t", "a", [sections.Heat("h", maps)])
    with opened(browser, tmp_path / "report.html", "figure", 550, height=400, device_scale_factor=2) as page:
        page.emulate_media(media=media)
        assert page.evaluate("document.documentElement.scrollWidth") <= 550
        if media == "print":
            box = page.locator(".scroll svg").bounding_box()
            assert box["x"] + box["width"] <= 550 and box["height"] <= 400


@pytest.mark.parametrize(("width", "zoom"), [(1100, 1), (1400, 2), (2160, 2), (3840, 1)])
def test_a_wide_figure_keeps_inside_a_window_that_css_zooms(browser, tmp_path, width, zoom):
    report.write(
        tmp_path / "report.html", "t", "a", [sections.Graph("g", "<svg></svg>", inside="<p>page</p>")]
    )
    with opened(browser, tmp_path / "report.html", "figure.wide", width) as page:
        page.evaluate("zoom => document.documentElement.style.zoom = zoom", zoom)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        figure, body = page.locator("figure.wide").bounding_box(), page.locator("body").bounding_box()
        assert figure["x"] >= 0 and figure["x"] + figure["width"] <= width + 1
        assert figure["width"] > body["width"] if width / zoom > 1050 else figure["width"] <= body["width"]


def test_no_words_of_a_page_in_a_report_allow_a_script():
    """Only the policy of the page itself says which script may run."""
    inside = "<title>script-src &#x27;sha256-AAAA=&#x27;</title>"
    text = report.render("t", "a", [sections.Graph("g", "<svg></svg>", inside=inside)])
    assert "script-src" not in text.partition("<title>")[0]
