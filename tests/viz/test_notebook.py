"""Pictures in a notebook that is executed for real: as a page, as SVG and as text."""

import os
from pathlib import Path

import pytest
from browser import chromium
from drawn_graphs import needs_dot

nbformat = pytest.importorskip("nbformat", reason="needs nbformat: pip install nbformat")
nbclient = pytest.importorskip("nbclient", reason="needs nbclient: pip install nbclient ipykernel")
pytest.importorskip("ipykernel", reason="needs ipykernel: pip install ipykernel")

CELLS = (
    "import numpy as np\nimport tinyattn as ta\nX = ta.tensor(np.eye(2), name='X')",
    "ta.viz.draw((ta.tanh(X) ** 2).sum())",
    "ta.viz.heatmap(np.eye(2))",
    "ta.viz.head_view(np.eye(2)[None, None], ['a', '<b>'])",
    "ta.viz.pointers(np.eye(2), [(0, 1)])",
)


@needs_dot
def test_a_notebook_shows_pages_pictures_and_text(tmp_path, monkeypatch):
    path = os.pathsep.join(filter(None, [str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH")]))
    monkeypatch.setenv("PYTHONPATH", path)
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(text) for text in CELLS])
    nbclient.NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(tmp_path)}}).execute()
    graph, heat, heads, points = (cell.outputs[0].data for cell in notebook.cells[1:])
    assert {"text/html", "image/svg+xml", "text/plain"} == set(graph)
    assert "tanh(" in graph["text/plain"] and graph["image/svg+xml"].startswith("<svg")
    assert all("text/plain" in data for data in (heat, heads, points))
    shown = "".join(data.get("text/html") or data["image/svg+xml"] for data in (graph, heat, heads, points))
    (tmp_path / "notebook.html").write_text(f'<!DOCTYPE html><meta charset="utf-8">{shown}')
    with chromium() as browser:
        page, said = browser.new_page(), []
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.goto(f"file://{tmp_path}/notebook.html")
        frame = page.frame_locator("iframe").first
        frame.locator(".walk[data-ready]").wait_for()
        frame.locator("g.node", has_text="tanh").first.click()
        assert frame.locator(".panel h2").inner_text() == "tanh"
        assert page.frame_locator("iframe").nth(1).locator("canvas, svg").first.is_visible()
        assert page.locator("svg .cell").count() == 4 and page.locator("body > svg").count() == 2
        assert said == []
