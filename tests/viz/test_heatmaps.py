"""Heat maps."""

import xml.etree.ElementTree as ET

import numpy as np
from drawn_graphs import NASTY, needs_dot

import tinyattn as ta
from tinyattn import viz


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
