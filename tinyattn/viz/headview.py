"""Attention of many layers and heads: ``head_view`` and ``model_view``, with bertviz' shapes and names.

Beside the weights P there may be their gradient dP. Then the page also shows that of the scores before the softmax,
dS = P ⊙ (dP − rowsum(P ⊙ dP)), which is what the softmax lets through.
"""

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from tinyattn import errors
from tinyattn.graph.tensor import Tensor
from tinyattn.graph.types import as_integer, fail
from tinyattn.viz import mapspage, output, raster, snapshot


def head_view(
    attention=None, tokens=None, sentence_b_start: int | None = None, prettify_tokens: bool = True,
    layer: int | None = None, heads: Sequence[int] | None = None, *, encoder_attention=None, decoder_attention=None,
    cross_attention=None, encoder_tokens=None, decoder_tokens=None, include_layers: Sequence[int] | None = None,
    html_action: str = "view", gradients=None,
) -> "AttentionView":  # fmt: skip
    """The heads of one layer side by side, and one of them large, as a map or as lines between tokens; the layer is
    chosen in the page.

    attention: a list of layers or an array, each layer (heads, rows, columns), with an axis of size 1 for the batch
    before it if you like; Tensors, arrays, lists, PyTorch's tensors; or what ``attention_maps`` returns for one
    example. tokens: the tokens of rows and columns, or two lists, those of the rows and those of the columns.
    sentence_b_start: where the second of two sentences begins; the page then also shows the parts A → A, A → B,
    B → A and B → B. prettify_tokens: without the marks of tokenizers for spaces ("Ġ", "▁", "##", "</w>").
    layer, heads: which layer is open first, and which of its heads (the first of them is the large one).
    include_layers: the numbers of the layers that are shown, all without.

    encoder_attention, decoder_attention, cross_attention: instead of attention, any of the three of an encoder and
    decoder, with encoder_tokens and decoder_tokens; the page switches between them. gradients: dP, the loss's gradient
    by the weights, in the attention's shape; the page then switches between P, dP and dS. html_action: "view" or
    "return"; both return the view, which notebooks show by themselves and whose ``data`` is the page.

    Raises ShapeError if shapes or numbers of tokens don't fit, DataError for what holds no numbers, and for a layer or
    head that isn't there.
    """
    attentions, sides = (
        (encoder_attention, decoder_attention, cross_attention),
        (encoder_tokens, decoder_tokens),
    )
    given = _Given("head_view", attention, tokens, attentions, sides, gradients, prettify_tokens, html_action)
    given.keep(include_layers, None)
    opened = [[0] if layer is None else [layer], [0] if heads is None else heads]
    for name, chosen, there in zip(("layer", "heads"), opened, given.counts(), strict=True):
        _known("head_view", name, chosen, there)
    first = [int(chosen[0]) % there for chosen, there in zip(opened, given.counts(), strict=True)]
    return given.view("layer", sentence_b_start, layer=first[0], head=first[1])


def model_view(
    attention=None, tokens=None, sentence_b_start: int | None = None, prettify_tokens: bool = True,
    display_mode: str | None = None, *, encoder_attention=None, decoder_attention=None, cross_attention=None,
    encoder_tokens=None, decoder_tokens=None, include_layers: Sequence[int] | None = None,
    include_heads: Sequence[int] | None = None, html_action: str = "view", gradients=None,
) -> "AttentionView":  # fmt: skip
    """All heads of all layers as a table of small maps, and the chosen one large.

    display_mode: "dark" or "light", the reader's own without. include_layers, include_heads: the numbers of those
    that are shown, all without. The other arguments and errors are as :func:`tinyattn.viz.head_view` has them. Raises DataError
    for another display_mode.
    """
    attentions, sides = (
        (encoder_attention, decoder_attention, cross_attention),
        (encoder_tokens, decoder_tokens),
    )
    given = _Given(
        "model_view", attention, tokens, attentions, sides, gradients, prettify_tokens, html_action
    )
    if display_mode not in (None, "dark", "light"):
        fail(
            errors.DataError,
            given.op,
            "display_mode must be 'dark', 'light' or None",
            f"got {display_mode!r}",
        )
    given.keep(include_layers, include_heads)
    return given.view("all", sentence_b_start, scheme=display_mode or "")


class AttentionView:
    """The page of a ``head_view`` or ``model_view``. ``contents``: what it shows. Notebooks show it by themselves."""

    def __init__(self, contents: mapspage.Contents):
        self.contents = contents

    def html(self) -> str:
        """The page, complete in itself."""
        return mapspage.render(self.contents)

    @property
    def data(self) -> str:
        """The page, by the name that it has in IPython's ``HTML``."""
        return self.html()

    def save(self, path: str | os.PathLike) -> "AttentionView":
        """Write the page to a .html file; or the maps that it shows first, those of all heads, to a .svg or .png file.
        Raises DataError for other names and places, TinyattnError for a .png where no program is there to make it.
        """
        kind = output.kind_of(path, ("html", "svg", "png"))
        if kind == "png":
            output.write(path, raster.png_of(self.svg))
        else:
            output.write(path, self.svg + "\n" if kind == "svg" else self.html())
        return self

    @property
    def svg(self) -> str:
        """The maps that the page shows first as an ``<svg>`` element."""
        return snapshot.svg(self.contents)

    def show(self) -> None:
        """Display the page in the notebook or in a browser."""
        output.show(self, self.html())

    def __str__(self) -> str:
        return self.contents.title

    def __repr__(self) -> str:
        return f"<AttentionView: {self.contents.title}>"

    def _repr_mimebundle_(self, include=None, exclude=None) -> dict[str, Any]:
        return {"text/html": output.frame(self.html()), "text/plain": str(self)}


class _Given:
    """The arguments of a view on their way into a page."""

    def __init__(self, op: str, attention, tokens, three, sides, gradients, prettify: bool, action: str):
        self.op, self.gradients, self.prettify = op, gradients, prettify
        self.blocks: dict[str, mapspage.Maps] = {}
        if action not in ("view", "return"):
            fail(errors.DataError, op, "html_action must be 'view' or 'return'", f"got {action!r}")
        self._read(attention, tokens, three, dict(zip(("encoder", "decoder"), sides, strict=True)))

    def _read(self, attention, tokens, three, sides: dict[str, Any]) -> None:
        """Take one attention, or up to three of an encoder and decoder, whose tokens are those of the ``sides``."""
        ends = {
            "Encoder": ("encoder", "encoder"),
            "Decoder": ("decoder", "decoder"),
            "Cross": ("decoder", "encoder"),
        }
        given = zip(ends.items(), three, strict=True)
        chosen = {name: (one, both) for (name, both), one in given if one is not None}
        if (attention is None) == (not chosen):
            must = "there must be attention, or attentions of an encoder and decoder"
            fail(errors.DataError, self.op, must, "got both" if chosen else "got neither")
        if not chosen:
            self.blocks[""] = self._block("attention", attention, tokens)
            return
        if self.gradients is not None:
            must = "gradients go with attention"
            fail(errors.DataError, self.op, must, "got those of an encoder or decoder")
        for name, (maps, both) in chosen.items():
            for side in both:
                if isinstance(sides[side], str) or not hasattr(sides[side], "__len__"):
                    must = f"{name.lower()}_attention needs {side}_tokens, a list"
                    fail(errors.DataError, self.op, must, f"got {type(sides[side]).__name__}")
            rows_and_columns = [[*sides[side]] for side in both]
            self.blocks[name] = self._block(f"{name.lower()}_attention", maps, rows_and_columns)

    def _block(self, name: str, attention, tokens) -> mapspage.Maps:
        labels = [str(label) for label in attention] if isinstance(attention, Mapping) else None
        weights = _layers(self.op, name, attention)
        kinds = {"P": weights}
        if self.gradients is not None:
            d_weights = _layers(self.op, "gradients", self.gradients)
            if d_weights.shape != weights.shape:
                must = f"gradients must have the attention's shape (layers, heads, rows, columns) = {weights.shape}"
                fail(errors.ShapeError, self.op, must, f"got {d_weights.shape}")
            flow = weights * d_weights
            kinds |= {"dP": d_weights, "dS": flow - weights * flow.sum(axis=-1, keepdims=True)}
        layers, heads, n, m = weights.shape
        rows, columns = _tokens(self.op, tokens, n, m)
        if self.prettify:
            rows, columns = [*map(_pretty, rows)], [*map(_pretty, columns)]
        labels = labels or [*map(str, range(layers))]
        return mapspage.Maps(kinds, labels, [*map(str, range(heads))], rows, columns)

    def counts(self) -> list[int]:
        """How many layers and heads there are, in the block that has the fewest."""
        blocks = self.blocks.values()
        return [min(len(maps.layers) for maps in blocks), min(len(maps.heads) for maps in blocks)]

    def keep(self, layers: Sequence[int] | None, heads: Sequence[int] | None) -> None:
        """Leave out all other layers and heads."""
        there = self.counts()
        for name, chosen, count in (("include_layers", layers, there[0]), ("include_heads", heads, there[1])):
            if chosen is not None:
                _known(self.op, name, chosen, count)
        for name, maps in self.blocks.items():
            on = [*range(len(maps.layers))] if layers is None else [*layers]
            seen = [*range(len(maps.heads))] if heads is None else [*heads]
            self.blocks[name] = replace(
                maps,
                kinds={kind: array[on][:, seen] for kind, array in maps.kinds.items()},
                layers=[maps.layers[k] for k in on],
                heads=[maps.heads[k] for k in seen],
            )

    def view(self, small: str, border: int | None, **first) -> AttentionView:
        """The page."""
        parts = []
        for k, (name, maps) in enumerate(self.blocks.items()):
            n, m = len(maps.rows), len(maps.columns)
            parts.append(mapspage.Part(name or "All", k, (0, n), (0, m)))
            if border is not None:
                if name or as_integer(border) is None or not 0 < border < min(n, m):
                    must = f"sentence_b_start must be from 1 to {min(n, m) - 1}, where the second of two sentences begins"
                    fail(
                        errors.DataError,
                        self.op,
                        must,
                        f"got {border!r}{f' for {name.lower()} maps' if name else ''}",
                    )
                sides = {"A": (0, border), "B": (border, None)}
                parts += [
                    mapspage.Part(
                        f"{a} → {b}", k, (sides[a][0], sides[a][1] or n), (sides[b][0], sides[b][1] or m)
                    )
                    for a in sides
                    for b in sides
                ]
        shown = [*self.blocks.values()]
        layers, heads = len(shown[0].layers), len(shown[0].heads)
        tokens = f"{len(shown[0].rows)} by {len(shown[0].columns)} tokens"
        title = f"attention of {_count(layers, 'layer')}, {_count(heads, 'head')}, {tokens}"
        if len(shown) > 1:
            title = f"attention of {', '.join(self.blocks).lower()}"
        return AttentionView(mapspage.Contents(title, shown, parts, small, **first))


_MARKS = re.compile(r"^(Ġ|▁|##)(?=.)|</w>$|(?<=.)[Ġ▁]$", re.DOTALL)


def _pretty(token: str) -> str:
    """A token without its tokenizer's mark for a space, or for the lack of one."""
    return _MARKS.sub("", token)


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
