"""Heat maps of more cells than a page can hold elements: one image, or a canvas."""

import base64
import os
import re
import shutil
import struct
import zlib

import numpy as np
import pytest
from browser import chromium, colour_at, opened

from tinyattn import sections, viz
from tinyattn.viz import report

RNG = np.random.default_rng(0)
N = 512
WEIGHTS = RNG.standard_normal((N, N)) ** 3
WEIGHTS[3, 4], WEIGHTS[5, 6] = -np.inf, np.nan
WORDS = [f'<i>"{k}' for k in range(N)]


@pytest.fixture(scope="module")
def browser():
    with chromium() as started:
        yield started


def test_the_page_of_512_tokens_is_light_and_tells_each_value(browser, tmp_path):
    path = tmp_path / "a.html"
    viz.heatmap(WEIGHTS, WORDS, WORDS, to_file=path)
    assert os.path.getsize(path) < 3_000_000
    with opened(browser, path, "body[data-ready]") as page:
        page.locator("#map").focus()
        for key, (i, j) in (("ArrowDown", (0, 0)), ("ArrowRight", (0, 1)), ("ArrowDown", (1, 1))):
            page.keyboard.press(key)
            words, _, value = page.inner_text("#says").rpartition(": ")
            assert words == f"{WORDS[i]} → {WORDS[j]}"
            assert float(value.replace("−", "-")) == pytest.approx(WEIGHTS[i, j], rel=1e-5, abs=1e-5)
        for key in ["ArrowDown"] * 2 + ["ArrowRight"] * 3:
            page.keyboard.press(key)
        assert page.inner_text("#says").endswith(": −∞")


@pytest.mark.parametrize("shape", [(2, 3000), (3000, 2)])
def test_a_long_strip_has_cells_to_be_seen(browser, tmp_path, shape):
    viz.heatmap(np.arange(6000).reshape(shape) - 100, to_file=tmp_path / "a.html")
    with opened(browser, tmp_path / "a.html", "body[data-ready]") as page:
        canvas = page.locator("#map")
        assert float(canvas.get_attribute("data-cell")) >= 4
        box = canvas.bounding_box()
        canvas.focus()
        for _ in range(400):
            page.keyboard.press("ArrowRight" if shape[0] == 2 else "ArrowDown")
        at = (0, 399) if shape[0] == 2 else (399, 0)
        assert page.inner_text("#says") == f"{at[0]} → {at[1]}: {np.ravel_multi_index(at, shape) - 100}"
        axis = "x" if shape[0] == 2 else "y"
        moved = float(canvas.get_attribute(f"data-{axis}"))
        seen = 399.5 * float(canvas.get_attribute("data-cell")) - moved
        assert moved > 0 and 0 < seen < box["width" if axis == "x" else "height"]


def test_the_image_has_the_colours_of_the_weights():
    view = viz.heatmap(WEIGHTS)
    assert len(view.svg) < 3_000_000 and 'class="cell"' not in view.svg
    (address,) = re.findall(r'href="data:image/png;base64,([^"]*)"', view.svg)
    data = base64.b64decode(address)
    assert struct.unpack(">II", data[16:24]) == (N, N)
    lines = np.frombuffer(zlib.decompress(data[data.index(b"IDAT") + 4 : -16]), np.uint8).reshape(N, -1)
    pixels = lines[:, 1:].reshape(N, N, 3).astype(int)
    for i, j in [(3, 4), (5, 6), (0, 0), *RNG.integers(0, N, (200, 2)).tolist()]:
        fill = view.colour(WEIGHTS[i, j])
        expected = [int(fill[k : k + 2], 16) for k in (1, 3, 5)]
        assert np.abs(pixels[i, j] - expected).max() <= 2, (i, j)


def test_a_notebook_and_a_report_hold_it(tmp_path):
    bundle = viz.heatmap(WEIGHTS)._repr_mimebundle_()
    assert len(bundle["text/html"]) < 3_000_000 and bundle["text/plain"] == "heat map of 512 by 512 weights"
    text = report.render("t", "a", [sections.Heat("h", [sections.Map(WEIGHTS, WORDS, WORDS, "m")], "c")])
    assert len(text) < 3_000_000 and "data:image/png" in text and "img-src data:" in text


@pytest.mark.skipif(shutil.which("dot") is None, reason="needs Graphviz's program dot")
@pytest.mark.parametrize("shape", [(512, 512), (70, 100), (2, 3000)])
def test_the_png_has_all_cells_beside_their_labels(browser, tmp_path, shape):
    weights = np.zeros(shape)
    weights[-1, -1] = 1
    viz.heatmap(weights, to_file=tmp_path / "a.png").save(tmp_path / "a.pdf")
    assert (tmp_path / "a.pdf").read_bytes()[:4] == b"%PDF"
    width, height = struct.unpack(">II", (tmp_path / "a.png").read_bytes()[16:24])
    (tmp_path / "a.html").write_text('<style>body{margin:0}img{display:block}</style><img src="a.png">')
    page = browser.new_page(viewport={"width": width, "height": height})
    page.goto(f"file://{tmp_path / 'a.html'}")
    edge = 12 + 2  # dot's margin of a tenth of an inch, and half of the smallest cell
    assert colour_at(page, width - edge, height - edge).max() < 0x60
    assert colour_at(page, width - edge - 20, height - edge).min() > 0xE0
    assert colour_at(page, width - edge, height - edge - 25).min() > 0xE0
    page.close()
