"""Attention as the textbook has it, for pictures that open it: scores, scale, mask, softmax, weighted sum,

    S = τ Q Kᵀ,    S̃ = S where M allows it, else −∞,    P = softmax(S̃),    O = P V,

and beside it what the chain rule makes of that: dV = Pᵀ dO, dP = dO Vᵀ, dS̃ = P ⊙ (dP − rowsum(P ⊙ dP)), dQ = τ dS K and
dK = τ dSᵀ Q. The kernels compute the same in tiles, from the largest score and the log-sum of each row: that is the
operation's own definition, and what softmax opens into here. ``tests/viz/test_textbook.py`` compares the two.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from tinyattn.graph import scope
from tinyattn.graph.grad import pull_back
from tinyattn.graph.leaf import constant, placeholder, tensor
from tinyattn.graph.tensor import Tensor, make
from tinyattn.graph.types import BOOL

FORWARD, BACKWARD = "attention", "attention_backward"
_STATISTICS = 4
"""What the derivative of attention takes besides the inputs of attention: m, l, D and the cotangent of the output."""


@dataclass
class Page:
    """One attention. ``variables`` stand for its inputs; ``names`` are those of its values."""

    variables: list[Tensor]
    leaves: list[Tensor]
    """Query, keys, values and mask, of the shapes of their cotangents."""
    out: Tensor
    names: dict[Tensor, str]
    drawn: dict = field(default_factory=dict)
    """Where its values are in the picture, once they are."""


def key(node: Tensor) -> tuple:
    """What an attention and its derivative have in common."""
    inputs = node.inputs[:-_STATISTICS] if node.op.name == BACKWARD else node.inputs
    return (*map(id, inputs), *node.attrs.items())


@scope.isolated
def open_forward(node: Tensor) -> Page:
    """The page of an attention, or of a derivative of one."""
    given = node.inputs[:-_STATISTICS] if node.op.name == BACKWARD else node.inputs
    scale, causal, p, stream = (node.attrs[name] for name in ("scale", "causal", "p", "stream"))
    variables = [placeholder(source.type) for source in given]
    with scope.on_behalf_of(node):
        scope.state.origin = None
        query, keys, values, *rest = variables
        state = rest.pop() if p > 0 else None
        batch = np.broadcast_shapes(*(x.shape[:-2] for x in (query, keys, values)))
        query, keys, values = (_broadcast(x, (*batch, *x.shape[-2:])) for x in (query, keys, values))
        leaves = [query, keys, values]
        product = make("matmul", query, _swapped(keys))
        scores = make("mul", product, constant(scale, query.dtype))
        names, masks = {scores: "S"}, []
        for mask in rest:
            masks += [mask] if mask.dtype == BOOL else []
            if mask.dtype == BOOL:
                scores = _allowed(scores, mask)
            else:
                leaves.append(_broadcast(mask, scores.shape))
                scores = make("add", scores, leaves[-1])
            names[scores] = "S̃"
        if causal:
            mask = tensor(np.tri(*scores.shape[-2:], dtype=bool), name="not later")
            masks, scores = [*masks, mask], _allowed(scores, mask)
            names[scores] = "S̃"
        # A row that may see nothing has the weights 0, which softmax knows from the mask; of one that is added, or of two,
        # the scores tell. (Without a mask, causal rows see themselves.)
        if rest:
            never = constant(-math.inf, scores.dtype)
            masks = masks if len(masks) == 1 and not causal else [make("ne", scores, never)]
        weights = make("softmax", scores, *(masks if rest else ()))
        names[weights] = "P"
        if state is not None:
            weights = make("dropout", weights, state, p=p, stream=stream)
            names[weights] = "P̃"
        out = make("matmul", weights, values)
    names[out] = "O"
    return Page(variables, leaves, out, names)


@scope.isolated
def open_backward(page: Page, node: Tensor) -> tuple[Tensor, list[Tensor | None]]:
    """What stands for the cotangent of the output, and the cotangents of query, keys, values and the mask."""
    with scope.on_behalf_of(node, node.origin):
        cotangent = placeholder(page.out.type)
        found: Sequence[Tensor | None] = pull_back({page.out: cotangent}, page.leaves)
    return cotangent, [*found, None][:4]


def _broadcast(x: Tensor, shape: tuple[int, ...]) -> Tensor:
    return x if x.shape == shape else make("broadcast_to", x, shape=shape)


def _swapped(x: Tensor) -> Tensor:
    return make("transpose", x, axes=(*range(x.ndim - 2), x.ndim - 1, x.ndim - 2))


def _allowed(scores: Tensor, mask: Tensor) -> Tensor:
    return make("where", mask, scores, constant(-math.inf, scores.dtype))
