"""Floor 7: pictures. The same graph that is differentiated and compiled is drawn here, forward and backward
in one picture.

    tensors ──build──► picture (nodes, edges, clusters) ──collapse──► picture ──dot──► DOT ──layout──► SVG,
    PNG, PDF, HTML

Everything up to DOT is plain Python and works anywhere; only the last arrow needs Graphviz's program ``dot``.
"""

from tinyattn.viz.attention import attention_maps
from tinyattn.viz.compare import compare
from tinyattn.viz.drawing import draw
from tinyattn.viz.dropins import make_dot, plot_model
from tinyattn.viz.figures import FigureView, arcs, film, overlay, pointers
from tinyattn.viz.headview import AttentionView, head_view, model_view
from tinyattn.viz.heat import Heatmap, heatmap
from tinyattn.viz.memory import memory_plan
from tinyattn.viz.view import GraphView

__all__ = [
    "AttentionView", "FigureView", "GraphView", "Heatmap", "arcs", "attention_maps", "compare", "draw", "film", "head_view",
    "heatmap", "make_dot", "memory_plan", "model_view", "overlay", "plot_model", "pointers",
]  # fmt: skip
