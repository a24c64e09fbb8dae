"""Loops as nodes, and their derivative.

``scan`` runs ``carry, y_t = fn(carry, x_t)`` for t = 0 … T−1. It is one node whose body is a closed
expression; the program of a thousand steps is the program of one step. What can be asked of a scan node, as
its outputs, is ``("final", k)``: carry k after the last step, and ``("stack", v)``: the values of any node v
of the body at every step, stacked along a new first axis.

Derivative. With carry c_{t+1} = f(c_t, x_t, w), the cotangents run backwards: d_t = d_{t+1} ∂f/∂c_t + direct
terms, x̄_t = d_{t+1} ∂f/∂x_t, and w̄ = Σ_t d_{t+1} ∂f/∂w. That is a scan in the opposite direction over the
values the body had, which it asks of the forward node as further stacks. Sums over t of products leave the
loop: Σ_t A_t B_t is one product of the stacked A and B.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from tinyattn import errors
from tinyattn.graph import scope
from tinyattn.graph.body import Body
from tinyattn.graph.grad import pull_back, zeros_like
from tinyattn.graph.leaf import constant, placeholder
from tinyattn.graph.op import Op, register
from tinyattn.graph.point import at, real
from tinyattn.graph.prints import record
from tinyattn.graph.public import POINTS
from tinyattn.graph.randomness import RANDOM_STATE
from tinyattn.graph.tensor import Tensor, make, output
from tinyattn.graph.traverse import depends_on, rebuild, substitute, topological, transform
from tinyattn.graph.trees import Tree, fields, flatten, flatten_like, unflatten
from tinyattn.graph.types import Type, as_integer, fail, is_float


def scan(
    fn: Callable[[Tree, Tree], tuple[Tree, Tree]],
    init: Tree,
    xs: Tree = None,
    length: int | None = None,
    reverse: bool = False,
) -> tuple[Tree, Tree]:
    """Loop ``carry, y = fn(carry, x)`` over the first axis of ``xs``; return the last carry and the stacked
    ys.

    ``init``, ``xs`` and what ``fn`` returns are trees (tuples, lists, dicts) of Tensors; the carry keeps its
    shapes and types. ``length`` is needed only without ``xs``. With ``reverse`` the steps run from the last
    to the first (ys keep the order of xs). Differentiable; scans may be nested. Raises ShapeError when
    lengths differ or the carry changes its form or type.
    """
    carries, inputs = flatten(init), flatten(xs)
    lengths = {x.shape[0] for x in inputs if x.shape}
    if length is not None:
        count = as_integer(length)
        if count is None or count < 0:
            fail(errors.ShapeError, "scan", "length must be an integer ≥ 0", f"got {length!r}")
        lengths.add(count)
    if len(lengths) != 1 or any(not x.shape for x in inputs):
        fail(
            errors.ShapeError,
            "scan",
            "all xs must have the same first axis (or length= be given)",
            f"got shapes {[x.shape for x in inputs]} and length={length}",
        )
    carry_vars = [placeholder(c.type) for c in carries]
    x_vars = [placeholder(Type(x.shape[1:], x.dtype)) for x in inputs]
    returned, drawn, printed = _step(fn, unflatten(init, carry_vars), unflatten(xs, x_vars))
    if not isinstance(returned, tuple) or len(returned) != 2:
        fail(
            errors.ShapeError,
            "scan",
            "fn must return a pair (carry, y)",
            f"got {type(returned).__name__}",
            "Return (carry, None) when there is nothing to stack.",
        )
    new_carry, ys = returned
    next_carries, emitted = flatten_like(init, new_carry), [*flatten(ys), *(x for _, x in printed)]
    if next_carries is None:
        forms = [unflatten(tree, "·" * len(flatten(tree))) for tree in (init, new_carry)]
        fail(errors.ShapeError, "scan", f"the carry must keep its form {forms[0]}", f"fn returned {forms[1]}")
    steps = lengths.pop()
    if drawn:
        next_carries, emitted = _vary_randomness(steps, drawn, inputs, x_vars, next_carries, emitted)
    if [n.type for n in next_carries] != [c.type for c in carries]:
        fail(
            errors.ShapeError,
            "scan",
            f"the carry must keep its types {[str(c.type) for c in carries]}",
            f"fn returned {[str(n.type) for n in next_carries]}",
            "Check the shapes and element types of init.",
        )
    node, mapping = loop(steps, carries, inputs, carry_vars, x_vars, next_carries, emitted, reverse)
    node.attrs["body"].names = node.attrs["body"].names or fields(init)
    if drawn and scope.state.drawn is not None:
        scope.state.drawn.append(node)
    final = [output(node, ("final", k)) for k in range(len(carries))]
    stacks = [output(node, ("stack", value)) for value in mapping]
    for (label, _), stack in zip(printed, stacks[len(stacks) - len(printed) :], strict=True):
        record(label, stack)
    return unflatten(init, final), unflatten(ys, stacks)


@scope.isolated
def _step(fn: Callable, carry: Tree, x: Tree) -> tuple[Any, list[Tensor], list[tuple[str, Tensor]]]:
    """What ``fn`` returns, and its random nodes and what it prints."""
    drawn: list[Tensor] = []
    printed: list[tuple[str, Tensor]] = []
    scope.state.drawn, scope.state.printed, scope.state.built = drawn, printed, {}
    return fn(carry, x), drawn, printed


def _vary_randomness(steps, drawn, inputs, x_vars, next_carries, emitted):
    """Give each step random numbers of its own: the seed that the nodes ``drawn`` in it, and derivatives of
    these, read is a hash of the loop's seed and the step's number.
    """
    step = placeholder(Type((), np.dtype(np.int64)))
    inputs.append(constant(np.arange(steps), np.int64))
    x_vars.append(step)
    multiplier, one = constant([6364136223846793005, 1], np.int64), constant([1, 0], np.int64)
    number = make("mul", make("add", step, constant(1, np.int64)), one)
    inside = set(drawn)

    def is_drawn(node: Tensor | None) -> bool:
        while node is not None and node not in inside:
            node = node.origin
        return node is not None

    def change(node: Tensor, sources: list[Tensor]) -> Tensor:
        if is_drawn(node):
            sources = [make("add", make("mul", s, multiplier), number) if is_state(s) else s for s in sources]
        return rebuild(node, sources)

    roots = transform([*next_carries, *emitted], change)
    return roots[: len(next_carries)], roots[len(next_carries) :]


def is_state(node: Tensor) -> bool:
    """Whether a value is a random state, as it is or already varied by an inner loop."""
    if node.shape != (2,) or node.dtype != np.int64:
        return False
    below = topological([node])
    return any(n.name == RANDOM_STATE for n in below) and all(
        n.op.name in ("tensor", "constant", "add", "mul") for n in below
    )


def loop(length, carries, inputs, carry_vars, x_vars, next_carries, emitted, reverse):
    """Close a traced step over everything it uses; return the scan node and the emitted values as nodes of
    its body.
    """
    variables = set(carry_vars) | set(x_vars)
    roots = [*next_carries, *emitted]
    order = topological(roots)
    inside = depends_on(roots, variables, order)
    # What doesn't depend on the step is computed once, outside; small constants stay inside.
    captured: dict[Tensor, None] = {}
    for node in order:
        if node in inside:
            captured.update(
                dict.fromkeys(s for s in node.inputs if s not in inside and s.op.name != "constant")
            )
    captured.update(dict.fromkeys(r for r in roots if r not in inside and r.op.name != "constant"))
    captured = {n: None for n in captured if n.dtype is not None}
    order = [*carry_vars, *x_vars, *captured]
    body, _ = Body.closing(order, roots, scope.state.scope)
    step = Body(body.arguments, body.outputs[: len(next_carries)])
    node = make(
        "scan",
        *carries,
        *inputs,
        *captured,
        body=step,
        carries=len(carries),
        sequences=len(inputs),
        length=int(length),
        reverse=bool(reverse),
    )
    return node, body.outputs[len(next_carries) :]


def _infer(*inputs, body, carries, sequences, length, reverse):
    return ()


def _output_type(node: Tensor, key) -> Type:
    kind, what = key
    if kind == "final":
        return node.inputs[what].type
    return Type((node.attrs["length"], *what.shape), what.dtype)


def _derivative(cotangents: dict, node: Tensor):
    body: Body = node.attrs["body"]
    n_carries, n_xs = node.attrs["carries"], node.attrs["sequences"]
    arguments = body.arguments
    carry_args, x_args, const_args = (
        arguments[:n_carries],
        arguments[n_carries : n_carries + n_xs],
        arguments[n_carries + n_xs :],
    )
    stacked = {key[1]: g for key, g in cotangents.items() if key[0] == "stack"}
    final = {key[1]: g for key, g in cotangents.items() if key[0] == "final"}

    # The derivative of one step, as an expression of the body's nodes and of the cotangents that arrive at
    # it.
    floating = [k for k in range(n_carries) if is_float(carry_args[k].dtype)]
    d_vars = {k: placeholder(carry_args[k].type) for k in floating}
    g_vars = {value: placeholder(value.type) for value in stacked}
    seeds: dict[Tensor, Tensor] = {}
    for value, variable in [*((body.outputs[k], d_vars[k]) for k in floating), *g_vars.items()]:
        seeds[value] = make("add", seeds[value], variable) if value in seeds else variable
    forward = set(topological([*body.outputs, *stacked]))
    wanted = [a for a in arguments if is_float(a.dtype)]
    pulled = dict(zip(wanted, pull_back(seeds, wanted), strict=True))

    found: dict[Tensor, Tensor] = {a: bar for a, bar in pulled.items() if bar is not None}
    d_next = [found[carry_args[k]] if carry_args[k] in found else zeros_like(carry_args[k]) for k in floating]
    x_bars = {k: found[a] for k, a in enumerate(x_args) if a in found}
    w_bars = {k: found[a] for k, a in enumerate(const_args) if a in found}
    sums = {k: _Sum(bar) for k, bar in w_bars.items()}
    emitted = [*x_bars.values(), *(v for s in sums.values() for v in s.stacked)]
    accumulated = [v for s in sums.values() for v in s.carried]
    accumulators = [placeholder(v.type) for v in accumulated]
    roots = [*d_next, *(make("add", a, v) for a, v in zip(accumulators, accumulated, strict=True)), *emitted]

    # Which values of the forward step the reverse step reads: its x_t and constants as they are, the rest as
    # stacks.
    const_of = dict(zip(const_args, node.inputs[n_carries + n_xs :], strict=True))
    x_of = dict(zip(x_args, node.inputs[n_carries : n_carries + n_xs], strict=True))
    saved = _saved_values(roots, forward, set(const_args))
    sequences = [x_of[v] if v in x_of else output(node, ("stack", v)) for v in saved] + list(stacked.values())
    sequence_vars = [placeholder(v.type) for v in saved] + list(g_vars.values())
    mapping = {**dict(zip(saved, sequence_vars, strict=False)), **const_of}
    roots = substitute(roots, mapping)
    n_back = len(floating) + len(accumulators)
    init = [final[k] if k in final else zeros_like(carry_args[k]) for k in floating]
    init += [zeros_like(v) for v in accumulated]
    back, values = loop(
        node.attrs["length"],
        init,
        sequences,
        [*d_vars.values(), *accumulators],
        sequence_vars,
        roots[:n_back],
        roots[n_back:],
        not node.attrs["reverse"],
    )

    finals = iter([output(back, ("final", k)) for k in range(n_back)])
    stacks = iter([output(back, ("stack", v)) for v in values])
    result: list[Tensor | None] = [None] * len(node.inputs)
    for k in floating:
        result[k] = next(finals)
    for k in x_bars:
        result[n_carries + k] = next(stacks)
    for k, total in sums.items():
        result[n_carries + n_xs + k] = total.value(stacks, finals)
    return result


def _adds_to_product(node: Tensor) -> bool:
    """Whether a node is a product plus something. The sum comes with the product for nothing (one kernel makes
    both), so it is the sum that is kept.
    """
    if node.op.name != "add":
        return False
    below = [s.inputs[0] if s.op.name == "reshape" else s for s in node.inputs]
    below += [s for inner in below if inner.op.name == "add" for s in inner.inputs]
    return any(s.op.name == "matmul" for s in below)


def _saved_values(roots, forward: set[Tensor], constants: set[Tensor]) -> list[Tensor]:
    """The forward values to keep: cheap operations and views are done again from what is kept, everything else is
    kept.
    """
    saved: dict[Tensor, None] = {}
    seen: set[Tensor] = set()
    stack = list(roots)
    while stack:
        node = stack.pop()
        if node in seen or node in constants:
            continue
        seen.add(node)
        cheap = node.op.recompute and not _adds_to_product(node)
        # An output of a forward node is a forward value even if only the derivative asks for it (a stack of
        # an inner scan).
        is_forward = node in forward or (node.op.name == "output" and node.inputs[0] in forward)
        if is_forward and not cheap:
            saved[node] = None
        else:
            stack.extend(reversed(node.inputs))
    return list(saved)


class _Sum:
    """Σ_t of a per-step value, taken apart into what can be summed outside the loop and what must be carried.

    Sums and products over batch or time are linear in stacked operands: Σ_t sum(v_t) = sum of the stack, Σ_t
    A_t B_t = the product of the stacks joined along the contracted axis. ``stacked`` and ``carried`` are the
    per-step values needed; ``value`` puts the total together.
    """

    def __init__(self, root: Tensor):
        self.stacked: list[Tensor] = []
        self.carried: list[Tensor] = []
        self._root = root
        self._plan: dict[Tensor, Callable] = {}
        """Of each value that is taken apart, those it is made of first: how it is put together, of stacks, carries and
        the values before it.
        """
        stack = [(root, False)]
        while stack:
            node, opened = stack.pop()
            parts = self._linear(node)
            if node in self._plan:
                continue
            if parts and not opened:
                stack += [(node, True), *((part, False) for part in reversed(parts))]
            else:
                self._plan[node] = self._outside(node, parts)

    def _stack(self, value: Tensor) -> int:
        self.stacked.append(value)
        return len(self.stacked) - 1

    @staticmethod
    def _linear(node: Tensor) -> tuple[Tensor, ...]:
        """The values of whose sums over t that of ``node`` is made, by ``node``'s own operation."""
        name = node.op.name
        if name == "add" and any(s.shape != node.shape for s in node.inputs):
            return ()
        return node.inputs if name in ("add", "reshape", "transpose") else ()

    def _outside(self, node: Tensor, parts: tuple[Tensor, ...]) -> Callable:
        """``(stacks, carries, totals) -> Σ_t of a value``."""
        name = node.op.name
        if parts:
            return lambda s, c, totals: make(name, *(totals[part] for part in parts), **node.attrs)
        if name == "sum":
            k, axes, keep = self._stack(node.inputs[0]), node.attrs["axes"], node.attrs["keepdims"]

            def total(s, c, _):
                outer = make("sum", s[k], axes=(0, *(a + 1 for a in axes)), keepdims=keep)
                return make("reshape", outer, shape=node.shape) if keep else outer

            return total
        if name == "matmul" and node.inputs[0].ndim >= 2 and node.inputs[1].ndim >= 2:
            a, b = node.inputs
            if a.shape[:-2] == b.shape[:-2]:
                return self._product(a, b)
        k = len(self.carried)
        self.carried.append(node)
        return lambda s, c, _: c[k]

    def _product(self, a: Tensor, b: Tensor):
        # (T, …, n, k)·(T, …, k, m) → join T with k. A transpose is undone before stacking, so that the stack
        # is the plain value.
        base, swap = a, False
        rank = a.ndim
        if a.op.name == "transpose" and a.attrs["axes"] == (*range(rank - 2), rank - 1, rank - 2):
            base, swap = a.inputs[0], True
        left, right = self._stack(base), self._stack(b)
        batch = tuple(range(1, rank - 1))

        def total(s, c, _):
            x, y = s[left], s[right]
            rows = x.shape[-1] if swap else x.shape[-2]
            # x → (…, rows, T, k) → (…, rows, T·k);  y → (…, T, k, m) → (…, T·k, m)
            order = (*batch, rank, 0, rank - 1) if swap else (*batch, rank - 1, 0, rank)
            joined = make(
                "reshape",
                make("transpose", x, axes=order),
                shape=(*a.shape[:-2], rows, x.shape[0] * a.shape[-1]),
            )
            other = make("transpose", y, axes=(*batch, 0, rank - 1, rank))
            other = make("reshape", other, shape=(*b.shape[:-2], x.shape[0] * b.shape[-2], b.shape[-1]))
            return make("matmul", joined, other)

        return total

    def value(self, stacks, finals) -> Tensor:
        s = [next(stacks) for _ in self.stacked]
        c = [next(finals) for _ in self.carried]
        totals: dict[Tensor, Tensor] = {}
        for node, build in self._plan.items():
            totals[node] = build(s, c, totals)
        return totals[self._root]


def _three_steps(state: Tensor, w: Tensor) -> Tensor:
    """h ← tanh(h w), for gradcheck."""
    return scan(lambda h, _: (make("tanh", make("matmul", h, w)), h), state, length=3)[1]


POINTS["scan"] = _three_steps, (at(real(2, 3), real(3, 3)),)
register(Op("scan", _infer, _derivative, output_type=_output_type, formula="scan", mixed=True))
