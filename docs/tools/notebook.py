"""Notebooks: run, and written as Markdown for the site.

    python docs/tools/notebook.py FILE.ipynb …

runs them from the first cell to the last and writes their outputs into the files: text and pictures (SVG), without
what changes from run to run.
"""

import json
import re
import sys
from pathlib import Path

KEPT = ("image/svg+xml", "text/plain")
"""Outputs that are kept, the first of them that a cell has."""


def executed(path: Path) -> dict:
    """The notebook with fresh outputs, as nbformat's JSON. Raises nbclient's CellExecutionError where a cell fails."""
    import nbclient
    import nbformat

    book = nbformat.read(path, as_version=4)
    client = nbclient.NotebookClient(book, timeout=120, kernel_name="python3")
    client.resources["metadata"] = {"path": path.parent}
    client.execute()
    for number, cell in enumerate(book.cells):
        cell.id, cell.metadata = f"cell-{number}", {}
        if cell.cell_type == "code":
            cell.execution_count = None
            cell.outputs = [nbformat.from_dict(kept) for kept in _kept(cell.outputs)]
    book.metadata = {"language_info": {"name": "python"}}
    return json.loads(nbformat.writes(book))


def _kept(outputs: list[dict]) -> list[dict]:
    """What a cell printed, in one piece, and then what it showed."""
    printed = "".join(o["text"] for o in outputs if o["output_type"] == "stream" and o["name"] == "stdout")
    kept: list[dict] = [{"name": "stdout", "output_type": "stream", "text": printed}] if printed else []
    for data in [o["data"] for o in outputs if o["output_type"] != "stream"]:
        kind = next(kind for kind in KEPT if kind in data)
        if data[kind].strip():
            kept.append({"data": {kind: data[kind]}, "metadata": {}, "output_type": "display_data"})
    return kept


def markdown(path: Path) -> str:
    """The notebook as Markdown: texts, code, and below it what it printed and drew."""
    parts = []
    for cell in json.loads(path.read_text("utf-8"))["cells"]:
        text = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            parts.append(text)
            continue
        parts.append(f"```python\n{text}\n```")
        for output in cell["outputs"]:
            if output["output_type"] == "stream":
                parts.append(f"```text\n{''.join(output['text']).rstrip()}\n```")
            elif "image/svg+xml" in output["data"]:
                parts.append(
                    f'<div class="picture">{_svg("".join(output["data"]["image/svg+xml"]), len(parts))}</div>'
                )
            else:
                parts.append(f"```text\n{''.join(output['data']['text/plain'])}\n```")
    return "\n\n".join(parts) + "\n"


def _svg(text: str, number: int) -> str:
    """An SVG to stand in a page: on one line (an empty one would end the HTML), with ids that no other picture has."""
    text = re.sub(r'\b(id|xlink:href|href)="(#?)([^"]+)"', rf'\1="\g<2>p{number}-\3"', text)
    text = text.replace("url(#", f"url(#p{number}-")
    return re.sub(r"\s*\n\s*", " ", text[text.index("<svg") :])


if __name__ == "__main__":
    for name in sys.argv[1:]:
        book = executed(Path(name).resolve())
        Path(name).write_text(json.dumps(book, indent=1, ensure_ascii=False) + "\n", "utf-8")
