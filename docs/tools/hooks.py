"""What MkDocs calls while it builds the site: it gets whole pages (``pages.py``) and the sources they link to."""

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
os.environ["COLUMNS"] = "88"  # how wide the help of commands is

import notebook
import pages
import sources
from mkdocs.structure.files import File, InclusionLevel

FOUND = {"reference/": 4, "howto/": 2, "derivations": 0.2, "source/": 0.1, "gallery/": 0.5}
"""How far in front the search puts a page: names before how-to, sources last."""
_texts: dict[str, str] = {}


def on_files(files, config):
    for path in sorted((pages.ROOT / "docs").glob("**/*.ipynb")):
        name = path.relative_to(pages.ROOT / "docs").with_suffix(".md").as_posix()
        files.append(File.generated(config, name, content=notebook.markdown(path)))
    for name in pages.model_pages():
        files.append(File.generated(config, f"models/{name}.md", content=pages.model_page(name)))
    linked: set[str] = set()
    for file in files.documentation_pages():
        whole = pages.completed(file.src_uri, file.content_string)
        _texts[file.src_uri] = pages.outward(file.src_uri, whole, linked)
    for target in sorted(linked):
        place = f"source/{pages.source_page(target)}"
        page = sources.page(pages.ROOT, pages.ROOT / target)
        files.append(File.generated(config, place, content=page, inclusion=InclusionLevel.NOT_IN_NAV))
    return files


def on_page_markdown(markdown, page, config, files):
    weight = next((w for place, w in FOUND.items() if page.file.src_uri.startswith(place)), 1)
    page.meta.setdefault("search", {"boost": weight})
    return _texts[page.file.src_uri]
