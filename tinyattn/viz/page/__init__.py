"""Pages for readers: complete in one file, loading nothing, with a content security policy that forbids it.

GraphView ──data──► nodes, arrows, formulas as MathML ─┐
          ──program──► the operations, and the numbers of the leaves ──► one page with the scripts beside this file
"""

from tinyattn.viz.page.base import as_text, clean_svg, document, text_page, zoom_page

__all__ = ["as_text", "clean_svg", "document", "text_page", "zoom_page"]
