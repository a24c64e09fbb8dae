"""The documentation: its code runs, its commands parse, its reference holds every public name, its notebook is what it
says.
"""

import json
import re
import shlex
import sys
from pathlib import Path

import pytest

import tinyattn as ta
from tinyattn import cli

DOCS = Path(__file__).parents[1] / "docs"
sys.path.insert(0, str(DOCS / "tools"))

import entry  # noqa: E402
import names  # noqa: E402
import notebook  # noqa: E402
import pages  # noqa: E402
import printed  # noqa: E402

PAGES = {
    str(path.relative_to(DOCS)): blocks
    for path in sorted(DOCS.glob("**/*.md"))
    if (blocks := printed.BLOCK.findall(path.read_text("utf-8")))
}
NEEDS_A_DOWNLOAD = {"models/gpt.md"}
"""Pages whose code reads files that others publish."""


@pytest.mark.parametrize("page", sorted(PAGES.keys() - NEEDS_A_DOWNLOAD))
def test_the_code_of_a_page_runs_in_order(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    threads = ta.get_num_threads()
    try:
        for block, now in printed.run(page, (DOCS / page).read_text("utf-8")):
            assert block[4] in (None, now), "run python docs/tools/printed.py on the page"
    finally:
        ta.set_num_threads(threads)
    for picture in Path("pictures").glob("*.svg"):
        kept = (printed.PICTURES / picture.name).read_text("utf-8")
        assert printed.words(kept) == printed.words(picture.read_text("utf-8")), picture


@pytest.mark.parametrize(
    "page", sorted(page for page, found in PAGES.items() if any(b[0] == "sh" for b in found))
)
def test_the_commands_of_a_page_parse(page):
    lines = [line for kind, _, block, _ in PAGES[page] if kind == "sh" for line in block.splitlines()]
    for line in lines:
        if line.startswith("tinyattn "):
            cli.parser().parse_args(shlex.split(line, comments=True)[1:])


def test_every_table_has_a_head():
    """A row behind an empty line would be shown as text."""
    for path in [*DOCS.glob("**/*.md"), DOCS.parent / "README.md"]:
        text = re.sub(r"^```.*?^```", "", path.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
        for first, second in re.findall(r"\n\n(\|.*)\n(.*)", text):
            assert re.fullmatch(r"\|[-:| ]+\|", second), f"{path.name}: {first}"


def test_the_reference_holds_every_public_name_once():
    text = "\n".join(path.read_text("utf-8") for path in (DOCS / "reference").glob("*.md"))
    found = entry.ENTRY.findall(text)
    assert sorted(found) == sorted(names.public_names())
    assert all(names.find(name).__doc__ for name in found if callable(names.find(name)))


def test_an_entry_has_signature_text_and_source():
    text = entry.entry("ta.softmax")
    assert "ta.softmax(x, axis: int = -1, mask=None) -> Tensor" in text
    assert "derive-softmax.txt" in text and "../../tinyattn/ops/attention/softmax.py#L-" in text


def test_every_model_has_a_page_in_the_navigation():
    config = (DOCS.parent / "mkdocs.yml").read_text("utf-8")
    assert set(re.findall(r"models/([\w-]+)\.md", config)) == {*ta.models.MODELS, "index"}
    assert "tiny-mt" in pages.model_sections("bahdanau")


def test_the_notebook_says_what_it_prints():
    pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    path = DOCS / "tutorials" / "attention.ipynb"
    kept, fresh = json.loads(path.read_text("utf-8"))["cells"], notebook.executed(path)["cells"]
    for old, new in zip(kept, fresh, strict=True):
        kinds = [[one["output_type"] for one in cell.get("outputs", [])] for cell in (old, new)]
        assert kinds[0] == kinds[1], old["source"]
