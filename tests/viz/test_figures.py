"""Attention over images, memories, points and words: where things are drawn, and what they tell."""

import base64
import shutil
import struct
import xml.etree.ElementTree as ET
import zlib

import numpy as np
import pytest
from browser import chromium, opened

from tinyattn import errors, viz
from tinyattn.viz import raster

SVG = "{http://www.w3.org/2000/svg}"
HOSTILE = "<script>&\"'"
RNG = np.random.default_rng(0)


def parts(figure, kind, name=None):
    """The elements of a kind (and a class) in a figure, each as (its attributes, what it tells)."""
    found = []
    for element in ET.fromstring(figure.svg).iter(f"{SVG}{kind}"):
        if name is None or name in element.get("class", "").split():
            title = element.find(f"{SVG}title")
            found.append((element.attrib, title.text if title is not None else element.text))
    return found


def pixels(address):
    data = base64.b64decode(address.partition(",")[2])
    width, height = struct.unpack(">II", data[16:24])
    flat = np.frombuffer(zlib.decompress(data[data.index(b"IDAT") + 4 : -16]), np.uint8)
    return flat.reshape(height, -1)[:, 1:].reshape(height, width, -1)


def test_an_image_is_lit_where_it_was_looked_at():
    image = RNG.random((6, 9, 3))
    weights = np.zeros((2, 2, 3))
    weights[0, 1, 2], weights[1] = 0.8, 0.1
    figure = viz.overlay(image, weights, ["a", HOSTILE])
    plain, one, even = (pixels(attributes["href"]) for attributes, _ in parts(figure, "image"))
    np.testing.assert_array_equal(plain, np.rint(255 * image))
    lit = 0.2 + 0.8 * image
    expected = 0.3 * image
    expected[3:, 6:] = lit[3:, 6:]
    np.testing.assert_array_equal(one, np.rint(255 * expected))
    np.testing.assert_array_equal(even, np.rint(255 * lit))
    told = [text for _, text in parts(figure, "rect", "lit")]
    assert told[5] == "row 1, column 2: 0.8" and len(told) == 12
    words = [text for _, text in parts(figure, "text")]
    assert words == ["the image", "a (0.8)", f"{HOSTILE} (0.1)"]
    grid = viz.overlay(image, weights.repeat(2, axis=1).reshape(2, -1)[:, :9], ["a", "b"])
    assert len(parts(grid, "rect", "lit")) == 18, "cells of a square grid"
    assert len(parts(viz.overlay(np.zeros((4, 4), np.uint8), np.ones((2, 2))), "image")) == 2


def test_a_film_has_a_row_for_each_place_that_is_looked_at():
    reads = np.zeros((5, 9))
    reads[np.arange(5), [2, 3, 3, 7, 2]] = [1, 0.5, 0.25, 1, 0.01]
    figure = viz.film({"read": reads, HOSTILE: np.eye(5)}, ["1", "2", "3", "? 4", "5"])
    cells = [attributes for attributes, _ in parts(figure, "g", "cell")]
    assert [float(cell["data-value"]) for cell in cells] == [
        *reads[:, [2, 3, 7]].T.ravel(),
        *np.eye(5).ravel(),
    ]
    words = [text for _, text in parts(figure, "text")]
    assert {"read", HOSTILE, "? 4", "7"} <= set(words) and "8" not in words


def test_arrows_lead_from_point_to_point():
    points = np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 0.5]])
    figure = viz.pointers(points, [(0, 1), (1, 2)], [(2, 0)], HOSTILE)
    spots = [(float(a["cx"]), float(a["cy"])) for a, _ in parts(figure, "circle", "spot")]
    assert spots[0][1] == spots[1][1] > spots[2][1] and spots[0][0] < spots[1][0] == spots[2][0]
    for kind, pairs in (("arrow", [(0, 1), (1, 2)]), ("known", [(2, 0)])):
        ends = [tuple(float(a[k]) for k in ("x1", "y1", "x2", "y2")) for a, _ in parts(figure, "line", kind)]
        assert ends == [(*spots[a], *spots[b]) for a, b in pairs]
    assert [text for _, text in parts(figure, "line", "arrow")] == ["1 → 2", "2 → 3"]


def test_arcs_join_the_words_that_look_at_each_other():
    words = ["The", HOSTILE, "注意", "x" * 300]
    weights = np.array([[1, 0, 0, 0], [0.98, 0, 0.02, 0], [0, 0.25, 0, 0.75], [0.5, 0, 0.5, 0.0]])
    figure = viz.arcs(words, weights)
    places = [float(a["x"]) for a, _ in parts(figure, "text", "token")]
    assert places == sorted(places) and len(set(places)) == 4
    found = {}
    for kind in ("back", "ahead"):
        for attributes, told in parts(figure, "path", kind):
            start, end = (
                float(p.split(",")[0].lstrip("M"))
                for p in (attributes["d"].split()[0], attributes["d"].split()[-1])
            )
            i, j = (int(np.argmin(np.abs(np.array(places) - x))) for x in (start, end))
            assert (j < i) == (kind == "back") and told.endswith(f": {weights[i, j]:g}")
            found[i, j] = float(attributes["stroke-opacity"])
    assert found.keys() == {(1, 0), (2, 1), (2, 3), (3, 0), (3, 2)}, "those of 3 % and more"
    assert found[1, 0] == 0.98 and found[2, 1] == 0.25 and found[2, 3] == 0.75
    assert len(parts(figure, "circle", "self")) == 1


@pytest.mark.parametrize("width", [360, 1100])
def test_figures_fit_into_their_pages(tmp_path, width):
    figures = [
        viz.overlay(np.zeros((4, 4)), np.ones((9, 2, 2))), viz.film(np.eye(30)),
        viz.pointers(RNG.random((5, 2)), [(0, 1)]), viz.arcs(["שלום", "b"], np.eye(2)),
    ]  # fmt: skip
    with chromium() as browser:
        for k, figure in enumerate(figures):
            figure.save(tmp_path / f"{k}.html")
            with opened(browser, tmp_path / f"{k}.html", "svg.figure", width=width) as page:
                box = page.locator("main > svg").bounding_box()
                assert box["x"] >= 0 and box["x"] + box["width"] <= width


@pytest.mark.skipif(not any(map(shutil.which, raster.PROGRAMS)), reason="needs a program that draws SVG")
def test_a_figure_as_png_is_what_the_svg_shows(tmp_path):
    image = np.zeros((2, 2))
    image[0, 1] = 1
    figure = viz.overlay(image, np.ones((1, 2, 2)), ["a"])
    data = figure.save(tmp_path / "a.png").svg and (tmp_path / "a.png").read_bytes()
    width, height = (
        round(float(figure.svg.split(f'{side}="')[1].split('"')[0])) for side in ("width", "height")
    )
    assert struct.unpack(">II", data[16:24]) == (2 * width, 2 * height)
    assert len(data) > 500


def test_the_program_that_draws_is_told_what_to_draw(tmp_path, monkeypatch):
    figure = viz.pointers(np.eye(2), [(0, 1)])
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(
        errors.TinyattnError, match="rsvg-convert, Inkscape or Chromium, but none was found"
    ) as caught:
        figure.save(tmp_path / "a.png")
    assert "librsvg2-bin" in str(caught.value) and not (tmp_path / "a.png").exists()
    program = tmp_path / "rsvg-convert"
    program.write_text(
        '#!/bin/sh\n[ "$1 $2 $3 $4 $5" = "-z 2 -b white -o" ] && { read line < "$7"; echo "$line" > "$6"; }\n'
    )
    program.chmod(0o755)
    figure.save(tmp_path / "a.png")
    assert (tmp_path / "a.png").read_text().startswith("<svg")
    program.write_text("#!/bin/sh\necho no fonts >&2; exit 1\n")
    with pytest.raises(errors.TinyattnError, match="rsvg-convert must be able to make a .png, but no fonts"):
        figure.save(tmp_path / "b.png")


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: viz.overlay(np.zeros(3), np.ones((2, 2))), "[overlay] image must be (H, W) or (H, W, 3), but got (3,)."),
        (lambda: viz.overlay(np.zeros((3, 3)), np.ones((2, 2, 2)), ["a"]), "[overlay] there must be 2 words, one for each map, but got 1."),
        (lambda: viz.film(np.ones(3)), "[film] addresses must be (steps, places), but got (3,)."),
        (lambda: viz.pointers(np.ones((2, 2)), [(0, 2)]), "[pointers] arrows must be pairs from 0 to 1, but got (0, 2)."),
        (lambda: viz.arcs(["a"], np.ones((2, 2))), "[arcs] weights must be (1, 1), a row and a column for each of the tokens, but got (2, 2)."),
        (lambda: viz.arcs(["a"], [["x"]]), "[arcs] weights must be numbers, but got <U1."),
        (lambda: viz.film(np.eye(2)).save("x.gif"), "[save] the file's name must end in .svg, .html, .png, but got 'x.gif'."),
    ],
)  # fmt: skip
def test_mistakes_are_told(call, text):
    with pytest.raises(errors.TinyattnError) as caught:
        call()
    assert str(caught.value).startswith(text)
