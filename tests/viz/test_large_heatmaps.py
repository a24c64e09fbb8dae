"""Heat maps of more cells than a page can hold elements: one image, or a canvas."""

import base64
import os
import re
import shutil
import struct
import xml.etree.ElementTree as ET
import zlib

import numpy as np
import pytest
from browser import chromium, opened

from tinyattn import sections, viz
from tinyattn.viz import layout, report, style

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
    data = base64.b64encode((tmp_path / "a.png").read_bytes()).decode()
    page = browser.new_page()
    page.set_content(f'<img src="data:image/png;base64,{data}">')
    page.wait_for_function("document.images[0].complete")
    dark = page.evaluate(
        """([width, height, top]) => {
          const canvas = document.createElement("canvas"), room = 120;
          canvas.width = room; canvas.height = height - top;
          const pen = canvas.getContext("2d");
          pen.drawImage(document.images[0], room - width, -top);
          const { data } = pen.getImageData(0, 0, room, height - top), found = [];
          for (let k = 0; k < room * (height - top); k++)
            if (Math.max(data[4 * k], data[4 * k + 1], data[4 * k + 2]) < 0x70) found.push([width - room + k % room, top + Math.floor(k / room)]);
          return found;
        }""",
        [width, height, height - 45],
    )
    page.close()
    most = width - 35 if shape[0] > 2 else width  # (beside it stands the lowest number of the scale)
    xs, ys = zip(*[(x, y) for x, y in dark if x < most], strict=True)
    cell = max(xs) - min(xs) + 1, max(ys) - min(ys) + 1
    assert all(2 < side < 25 for side in cell), "the last cell alone is dark at the bottom"
    assert height - max(ys) < 30 and width - max(xs) < 100
    assert len(xs) == cell[0] * cell[1]


def test_blocks_of_a_large_map_tell_their_largest_weight():
    weights = np.random.default_rng(0).standard_normal((70, 100))
    weights[3, 5] = np.nan
    tree = ET.fromstring(viz.heatmap(weights).svg)
    space = "{http://www.w3.org/2000/svg}"
    told = [e.findtext(f"{space}title") for e in tree.iter(f"{space}rect") if e.get("class") == "block"]
    expected = [
        part.flat[np.nanargmax(np.abs(part))]
        for rows in (weights[i : i + 3] for i in range(0, 70, 3))
        for part in (rows[:, j : j + 4] for j in range(0, 100, 4))
    ]
    found = [float(text.rpartition(": ")[2]) for text in told]
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    i, j = np.argwhere(weights == expected[7])[0]
    assert told[7].startswith(f"largest: {i} → {j}: ")


@pytest.mark.skipif(shutil.which("dot") is None, reason="needs Graphviz's program dot")
@pytest.mark.parametrize("shape", [(3, 4), (70, 100)])
def test_pictures_by_dot_have_a_colour_scale(tmp_path, shape):
    weights = np.full(shape, 0.5)
    weights[0, 0] = 0.875
    view = viz.heatmap(weights)
    source = view._table() if shape == (3, 4) else view._image_table(os.fspath(tmp_path / "map.png"))
    drawn = ET.fromstring(layout.run(source, "svg"))
    space = "{http://www.w3.org/2000/svg}"
    colours = {e.get("fill", "").lower() for e in drawn.iter(f"{space}polygon")}
    assert {style.shade(k / 39).lower() for k in range(40)} <= colours
    assert {"0.875", "0"} <= {e.text for e in drawn.iter(f"{space}text")}
