"""Recomputation: keep a function's inputs instead of what happens inside it.

The derivative of y = f(x) needs values from inside f, and normally all of them wait in memory from the
forward pass until the backward pass comes by. ``checkpoint(f)`` keeps x alone; when the cotangent ȳ arrives, f
is computed again from x, and only then pulled back:

    forward    y = f(x)                        nothing inside f is kept
    backward   x' = after(x, ȳ)                x itself, but not before ȳ is known
               f(x') again, x̄ = ȳ ∂f/∂x (x')

So a chain of L blocks needs the memory of L inputs and of the inside of one block, for one more forward pass
(Griewank & Walther 2000, "Algorithm 799: Revolve"; Chen et al. 2016, "Training deep nets with sublinear memory
cost").

It is a transformation of the graph, nothing happens behind its back. ``checkpoint`` is a node that holds f as
a body, and is opened in place when a program is made. ``after`` costs nothing at run time and has two effects
when the program is made: what follows from x' is an expression of its own, which is therefore not merged with
the forward pass, and it comes later than ȳ.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from tinyattn import errors
from tinyattn.graph import scope
from tinyattn.graph.body import Body
from tinyattn.graph.grad import pull_back
from tinyattn.graph.op import Op, register
from tinyattn.graph.point import at, real
from tinyattn.graph.public import POINTS
from tinyattn.graph.scan import is_state
from tinyattn.graph.tensor import Tensor, make, outputs
from tinyattn.graph.trees import flatten, unflatten
from tinyattn.graph.types import fail, is_float

Function = TypeVar("Function", bound=Callable[..., Any])


def checkpoint(fn: Function) -> Function:
    """``fn``, whose inner values are computed again in the backward pass instead of being kept.

    ``fn`` takes and returns trees (tuples, lists, dicts) of Tensors; other arguments are passed on as they are.
    It may close over parameters and other Tensors: these, and the arguments, are what is kept. A module does
    as well: ``ta.checkpoint(block)(x)``; or write ``@ta.checkpoint`` above the function. Random numbers inside
    are the same both times. Values and derivatives, of any order, are those of ``fn``; calls may be nested.
    Raises TinyattnError if ``fn`` isn't callable, DTypeError if it returns something that is no tree of Tensors.
    """
    if not callable(fn):
        fail(
            errors.TinyattnError,
            "checkpoint",
            "what is checkpointed must be a function or a module",
            f"got {type(fn).__name__}",
            "Write ta.checkpoint(fn)(x), not ta.checkpoint(fn(x)).",
        )

    @functools.wraps(fn, updated=())
    def checkpointed(*args, **kwargs):
        returned, inside, random = _watched(fn, args, kwargs)
        if scope.state.made is not None:
            scope.state.made |= inside
        values = flatten(returned)
        node = _node([*_tensors(args), *_tensors(kwargs)], values, inside)
        if random and scope.state.drawn is not None:
            scope.state.drawn.append(node)
        return unflatten(returned, outputs(node, len(values)))

    return checkpointed  # type: ignore[return-value]


@scope.isolated
def _watched(fn: Callable, args: Any, kwargs: Any) -> tuple[Any, set[Tensor], list[Tensor]]:
    """What ``fn`` returns, the nodes that it asks for, and its random nodes."""
    inside: set[Tensor] = set()
    random: list[Tensor] = []
    scope.state.made, scope.state.drawn = inside, random
    return fn(*args, **kwargs), inside, random


def _tensors(tree) -> list[Tensor]:
    if isinstance(tree, dict):
        tree = tuple(tree.values())
    if isinstance(tree, (tuple, list)):
        return [leaf for part in tree for leaf in _tensors(part)]
    return [tree] if isinstance(tree, Tensor) else []


def _node(given: Sequence[Tensor], values: Sequence[Tensor], inside: set[Tensor]) -> Tensor:
    """The checkpoint node of ``values``, closed over what they use: of the nodes below them, those that the
    function made (``inside``) belong to it.
    """
    kept = dict.fromkeys(given)
    seen: set[Tensor] = set(kept)
    stack = list(reversed(values))
    while stack:
        value = stack.pop()
        if value in seen:
            continue
        seen.add(value)
        if value.op.name == "constant":
            continue
        belongs = (
            value in inside and value.inputs and (value.op.name != "output" or value.inputs[0] in inside)
        )
        if belongs and not is_state(value):  # a loop around this one varies the random state by step
            stack.extend(reversed(value.inputs))
        else:
            kept[value] = None
    body, _ = Body.closing([*kept], values, scope.state.scope)
    return make("checkpoint", *kept, body=body)


def _infer(*inputs, body: Body):
    return tuple(value.type for value in body.outputs)


def _definition(*inputs: Tensor, body: Body) -> tuple[Tensor, ...]:
    return tuple(body(*inputs))


def _derivative(cotangents: dict[int, Tensor], node: Tensor) -> list[Tensor | None]:
    again = [make("after", x, *cotangents.values()) for x in node.inputs]
    values = node.attrs["body"](*again)
    seeds: dict[Tensor, Tensor] = {}
    for key, cotangent in sorted(cotangents.items()):
        value = values[key]
        seeds[value] = make("add", seeds[value], cotangent) if value in seeds else cotangent
    moving = [x for x in again if is_float(x.dtype)]
    pulled = dict(zip(moving, pull_back(seeds, moving), strict=True))
    return [pulled.get(x) for x in again]


POINTS["checkpoint"] = (
    checkpoint(lambda x, w: make("tanh", make("matmul", make("tanh", x), w))),
    (at(real(2, 3), real(3, 3)),),
)
register(Op("checkpoint", _infer, _derivative, definition=_definition, formula="checkpoint", mixed=True))
register(
    Op(
        "after",
        lambda x, *others: x.type,
        lambda g, node: (g, *(None for _ in node.inputs[1:])),
        reference=lambda x, *others: x,
        view=lambda ref, node: ref,
        recompute=False,  # what comes after a cotangent
        formula="{0}, later",
        vjp_formula="ḡ",
        mixed=True,
    )
)
