"""Pictures by the names and arguments of other packages: torchviz' ``make_dot`` and Keras' ``plot_model``."""

import inspect
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tinyattn import errors
from tinyattn.graph.leaf import tensor
from tinyattn.graph.tensor import Tensor
from tinyattn.graph.types import fail, is_float
from tinyattn.nn.module import Module
from tinyattn.viz.drawing import draw, picture_of
from tinyattn.viz.view import GraphView

if TYPE_CHECKING:
    import graphviz


def make_dot(
    var: Tensor | Sequence[Tensor],
    params: Mapping[str, Tensor] | Iterable[tuple[str, Tensor]] | None = None,
    show_attrs: bool = False,
    show_saved: bool = False,
    max_attr_chars: int = 50,
) -> "graphviz.Digraph":
    """The picture of ``draw(var)`` as a ``graphviz.Digraph``, with torchviz' arguments.

    ``params``: names for leaves, which are then also what is differentiated by. ``show_attrs``: write each operation's
    attributes, at most ``max_attr_chars`` letters of them. ``show_saved``: write the types of what the derivative keeps.
    """
    names = {leaf: name for name, leaf in (dict(params) if params is not None else {}).items()}
    wrt = [
        leaf for leaf in names if isinstance(leaf, Tensor) and leaf.dtype is not None and is_float(leaf.dtype)
    ]
    picture = picture_of(var, wrt or None, names=names)
    for node in picture.nodes.values():
        if show_attrs and node.attrs and node.kind in ("op", "view"):
            cut = len(node.attrs) > max_attr_chars
            node.held.append(node.attrs[: max(max_attr_chars - 1, 0)] + "…" if cut else node.attrs)
        if show_saved and node.saved:
            node.held += [f"saved: {kind}" for kind in node.types]
    return GraphView(picture).digraph


def plot_model(
    model: Module | Tensor | Sequence[Tensor],
    to_file: str | os.PathLike | None = "model.png",
    show_shapes: bool = False,
    show_dtype: bool = False,
    show_layer_names: bool = False,
    rankdir: str = "TB",
    expand_nested: bool = False,
    dpi: int = 200,
    show_layer_activations: bool = False,
    show_trainable: bool = False,
    *,
    inputs: Any = None,
) -> GraphView:
    """The layers of a model, forward, with Keras' arguments; written to ``to_file`` unless that is None.

    ``model``: a module with the ``inputs`` to call it with (an array, or several), or what it has made of them.
    ``show_shapes``, ``show_dtype``: the types of what comes out of each layer, in a layer that is closed also of what goes
    in. ``show_layer_names``: the path of each layer, not its class alone. ``expand_nested``: open all layers. ``rankdir``:
    "TB" (downwards) or "LR" (to the right). ``dpi``: of a .png. ``show_layer_activations``: write formulas.
    ``show_trainable``: mark layers with parameters.

    Raises TinyattnError for a module without ``inputs``, ShapeError for another ``rankdir``.
    """
    if rankdir not in ("TB", "LR"):
        fail(errors.ShapeError, "plot_model", "rankdir must be 'TB' or 'LR'", f"got {rankdir!r}")
    result: Any = model
    if isinstance(model, Module):
        if inputs is None:
            hint = "Write ta.viz.plot_model(model, inputs=x), or plot_model(model(x))."
            fail(
                errors.TinyattnError,
                "plot_model",
                "a module's layers are known by a call",
                "got no inputs",
                hint,
            )
        given = inputs if isinstance(inputs, (list, tuple)) else [inputs]
        names = [*inspect.signature(model.forward).parameters, *(f"input {k}" for k in range(len(given)))]
        leaves = (
            x if isinstance(x, Tensor) else tensor(x, name=name)
            for x, name in zip(given, names, strict=False)
        )
        result = model(*leaves)
    view = draw(result, direction="forward", depth=None if expand_nested else 0)
    picture = view.picture
    picture.rankdir, picture.dpi = rankdir, dpi
    for node in picture.nodes.values():
        if show_trainable:
            node.held.append("trainable" if node.parameters or node.kind == "parameter" else "not trainable")
        if not show_layer_activations:
            node.formula = ""
        if not show_layer_names:
            node.title = _class_of(node.title)
        node.types, node.takes = (
            _shown(kinds, show_shapes, show_dtype) for kinds in (node.types, node.takes)
        )
    if to_file is not None:
        view.save(to_file)
    return view


def _class_of(title: str) -> str:
    """``Linear`` of ``out ⟨Linear⟩, pass 2``."""
    return title.partition("⟨")[2].partition("⟩")[0] or title


def _shown(kinds: Sequence[str], shapes: bool, dtypes: bool) -> list[str]:
    parts = (kind.partition(" ") for kind in kinds)
    return (
        [" ".join([dtype] * dtypes + [shape] * shapes) for dtype, _, shape in parts]
        if shapes or dtypes
        else []
    )
