"""Attention of many layers and heads: ``head_view`` and ``model_view``, with bertviz' shapes and names.

Beside the weights P there may be their gradient dP. Then the page also shows that of the scores before the softmax,
dS = P ⊙ (dP − rowsum(P ⊙ dP)), which is what the softmax lets through.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from tinyattn import errors
from tinyattn.graph.tensor import Tensor
from tinyattn.graph.types import fail
from tinyattn.viz import mapspage, output


def head_view(attention, tokens, *, layer: int | None = None, gradients=None) -> "AttentionView":
    """The heads of one layer side by side, and one of them large, as a map or as lines between tokens; the layer is
    chosen in the page.

    attention: a list of layers or an array, each layer (heads, rows, columns), with an axis of size 1 for the batch
    before it if you like; Tensors, arrays, lists, PyTorch's tensors; or what ``attention_maps`` returns for one
    example. tokens: the tokens of rows and columns, or two lists, those of the rows and those of the columns.
    layer: which one is open first. gradients: dP, the loss's gradient by the weights, in the attention's shape; the
    page then switches between P, dP and dS.

    Raises ShapeError if shapes or numbers of tokens don't fit, DataError for what holds no numbers, and for a layer
    that isn't there.
    """
    view = _view("head_view", attention, tokens, gradients, "layer")
    if layer is not None:
        count = len(view.maps.layers)
        _known("head_view", "layer", [layer], count)
        view.maps = replace(view.maps, layer=layer % count)
    return view


def model_view(
    attention, tokens, *, include_layers: Sequence[int] | None = None,
    include_heads: Sequence[int] | None = None, gradients=None,
) -> "AttentionView":  # fmt: skip
    """All heads of all layers as a table of small maps, and the chosen one large.

    include_layers, include_heads: the numbers of those that are shown, all without. The other arguments and errors
    are those of ``head_view``.
    """
    view = _view("model_view", attention, tokens, gradients, "all")
    maps = view.maps
    if include_layers is not None:
        _known("model_view", "include_layers", include_layers, len(maps.layers))
        kinds = {name: array[[*include_layers]] for name, array in maps.kinds.items()}
        maps = replace(maps, kinds=kinds, layers=[maps.layers[k] for k in include_layers])
    if include_heads is not None:
        _known("model_view", "include_heads", include_heads, len(maps.heads))
        kinds = {name: array[:, [*include_heads]] for name, array in maps.kinds.items()}
        maps = replace(maps, kinds=kinds, heads=[maps.heads[k] for k in include_heads])
    return AttentionView(maps)


class AttentionView:
    """The page of a ``head_view`` or ``model_view``. ``maps``: what it shows. Notebooks show it by themselves."""

    def __init__(self, maps: mapspage.Maps):
        self.maps = maps

    def html(self) -> str:
        """The page, complete in itself."""
        return mapspage.render(self.maps)

    def save(self, path: str | os.PathLike) -> "AttentionView":
        """Write the page to a .html file. Raises DataError for other names and places."""
        output.kind_of(path, ("html",))
        output.write(path, self.html())
        return self

    def show(self) -> None:
        """Display the page in the notebook or in a browser."""
        output.show(self, self.html())

    def __str__(self) -> str:
        return self.maps.title

    def __repr__(self) -> str:
        return f"<AttentionView: {self.maps.title}>"

    def _repr_mimebundle_(self, include=None, exclude=None) -> dict[str, Any]:
        return {"text/html": output.frame(self.html()), "text/plain": str(self)}


def _view(op: str, attention, tokens, gradients, small: str) -> AttentionView:
    names = [str(name) for name in attention] if isinstance(attention, Mapping) else None
    weights = _layers(op, "attention", attention)
    kinds = {"P": weights}
    if gradients is not None:
        d_weights = _layers(op, "gradients", gradients)
        if d_weights.shape != weights.shape:
            fail(
                errors.ShapeError, op,
                f"gradients must have the attention's shape (layers, heads, rows, columns) = {weights.shape}",
                f"got {d_weights.shape}",
            )  # fmt: skip
        flow = weights * d_weights
        kinds |= {"dP": d_weights, "dS": flow - weights * flow.sum(axis=-1, keepdims=True)}
    layers, heads, n, m = weights.shape
    rows, columns = _tokens(op, tokens, n, m)
    title = f"attention of {_count(layers, 'layer')}, {_count(heads, 'head')}, {n} by {m} tokens"
    labels = names or [*map(str, range(layers))]
    return AttentionView(mapspage.Maps(title, kinds, labels, [*map(str, range(heads))], rows, columns, small))


def _layers(op: str, name: str, given) -> np.ndarray:
    """(layers, heads, rows, columns), as float32 if the layers are so or narrower, else float64."""
    must = f"{name} must be a list of layers of shape (heads, rows, columns)"
    if isinstance(given, Mapping):
        given = [*given.values()]
    elif not isinstance(given, (list, tuple)):
        given = _numbers(op, name, given)
    layers: list[np.ndarray] = []
    for k, one in enumerate(given):
        layer = _numbers(op, f"layer {k} of {name}", one)
        if layer.ndim == 4 and len(layer) != 1:
            got = f"layer {k} has shape {layer.shape}"
            fail(errors.ShapeError, op, must, got, "Pick one example of the batch, for instance layer[:1].")
        layer = layer[0] if layer.ndim == 4 else layer
        if layer.ndim != 3 or layer.size == 0:
            fail(errors.ShapeError, op, must, f"layer {k} has shape {layer.shape}")
        if layers and layer.shape != layers[0].shape:
            got = f"layer 0 has {layers[0].shape} and layer {k} has {layer.shape}"
            fail(errors.ShapeError, op, f"all layers of {name} must have the same shape", got)
        layers.append(layer)
    if not layers:
        fail(errors.ShapeError, op, must, "got no layer")
    return np.stack(layers)


def _numbers(op: str, name: str, given) -> np.ndarray:
    """An array of what holds numbers."""
    if hasattr(given, "detach"):  # PyTorch gives no array of what has a gradient or is on another device
        given = given.detach().cpu()
    try:
        array = np.asarray(given.numpy() if isinstance(given, Tensor) else given)
    except (TypeError, ValueError, RuntimeError) as error:
        got = f"NumPy makes no array of {type(given).__name__} ({error})"
        fail(errors.DataError, op, f"{name} must be numbers", got)
    if array.dtype.kind not in "fiub":
        fail(errors.DataError, op, f"{name} must be numbers", f"got {array.dtype}")
    return array.astype(np.result_type(array.dtype, np.float32), copy=False)


def _tokens(op: str, tokens, n: int, m: int) -> tuple[list[str], list[str]]:
    """Tokens of rows and columns."""
    if isinstance(tokens, str) or not hasattr(tokens, "__len__"):
        must = "tokens must be a list of tokens, or two: those of the rows and those of the columns"
        fail(errors.DataError, op, must, f"got {type(tokens).__name__}", "Split the text first.")
    two = len(tokens) == 2 and all(isinstance(one, (list, tuple)) for one in tokens)
    rows, columns = tokens if two else (tokens, tokens)
    for name, given, size in (("rows", rows, n), ("columns", columns, m)):
        if len(given) != size:
            hint = "" if two or n == m else "Give two lists, those of the rows and those of the columns."
            fail(errors.ShapeError, op, f"{name} must have {size} tokens", f"got {len(given)}", hint)
    return [*map(str, rows)], [*map(str, columns)]


def _known(op: str, name: str, chosen: Sequence[int], count: int) -> None:
    """Numbers of layers or heads that are there."""
    if len(chosen) == 0 or not all(isinstance(k, (int, np.integer)) and -count <= k < count for k in chosen):
        fail(errors.DataError, op, f"{name} must be from 0 to {count - 1}", f"got {list(chosen)!r}")


def _count(number: int, word: str) -> str:
    return f"{number} {word}{'s' * (number != 1)}"
