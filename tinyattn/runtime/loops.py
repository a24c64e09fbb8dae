"""Loops: a scan becomes a region whose rows are its body, once.

What a step reads of a sequence, and what it adds to a stack, moves by one row a step. A carry lives in a stack that is
asked for anyway, in one place that each step updates, or in two places by turns.
"""

import math
from typing import Any

from tinyattn.graph.tensor import Tensor
from tinyattn.graph.traverse import consumers, topological
from tinyattn.runtime.elementwise import may_overwrite
from tinyattn.runtime.memory import Moving, Ref, Region


def lower_scan(emit, node: Tensor) -> None:
    """Add the region of a loop, and say where its outputs are."""
    body, n_carries, n_xs = (node.attrs[key] for key in ("body", "carries", "sequences"))
    # (Not a list: == on Tensors makes a Tensor.)
    stacks = dict.fromkeys(key[1] for key in emit.asked(node) if key[0] == "stack")
    inputs = [emit.value(s) for s in node.inputs]
    result = emit.places(node)
    if node.attrs["length"] == 0:
        result.update({("final", k): ref for k, ref in enumerate(inputs[:n_carries])})
        result.update({("stack", v): emit.new((0, *v.shape), v.dtype) for v in stacks})
        return
    loop = _Loop(emit, node, stacks, result)
    arguments, after = body.arguments, n_carries + n_xs
    loop.known.update(zip(arguments[after:], inputs[after:], strict=True))
    for argument, ref in zip(arguments[n_carries:after], inputs[n_carries:], strict=False):
        loop.known[argument] = loop.row_of(ref)
    roots = [*body.outputs, *stacks]
    users = consumers(topological(roots))
    for k in range(n_carries):
        loop.carry(k, inputs[k], users)
    for value in stacks:
        if ("stack", value) not in result:
            result["stack", value] = whole = emit.new((node.attrs["length"], *value.shape), value.dtype)
            loop.place(value, loop.row_of(whole))
    outer, emit.region = emit.region, loop.region
    values = dict(loop.known)
    emit.lower(roots, values, loop.placed)
    for value, target in loop.late:
        if values[value] != target:
            emit.copy(values[value], target)
    emit.region = outer
    outer.items.append(loop.region)


class _Loop:
    """A loop while its places are given out."""

    def __init__(self, emit, node: Tensor, stacks: dict[Tensor, None], result: dict[Any, Ref]):
        self.emit, self.node, self.stacks, self.result = emit, node, stacks, result
        self.length, self.reverse = node.attrs["length"], node.attrs["reverse"]
        self.region = Region(emit.region, self.length, node=node)
        self.known: dict[Tensor, Ref] = {}
        """Where what the body is given is."""
        self.placed: dict[Tensor, Ref] = {}
        """Where the body's kernels are to write what they make."""
        self.late: list[tuple[Tensor, Ref]] = []
        """What is copied at the end of each step, and where to: no kernel can write it there."""

    def row_of(self, whole: Ref) -> Ref:
        """That of the step."""
        return whole.at(self.region, self.reverse, self.length)

    def place(self, value: Tensor, target: Ref) -> None:
        """Have a value of the body written to ``target``, by the kernel that makes it if there is one."""
        made = value.inputs and value.op.view is None and value not in self.placed and value not in self.known
        if made and not (value.op.name == "output" and value.inputs[0].op.name == "scan"):
            self.placed[value] = target
        else:
            self.late.append((value, target))

    def carry(self, k: int, init: Ref, users: dict[Tensor, Any]) -> None:
        """Decide where carry ``k`` lives. users: the nodes of the body that read each."""
        emit, region, known, stacks, result = self.emit, self.region, self.known, self.stacks, self.result
        body, length, reverse = self.node.attrs["body"], self.length, self.reverse
        argument, following = body.arguments[k], body.outputs[k]
        shape, dtype = argument.shape, argument.dtype
        size = math.prod(shape)
        fresh = following.inputs and following.op.view is None and following not in known
        unique = all(following is not other for j, other in enumerate(body.outputs) if j != k)
        if (argument in stacks or following in stacks) and fresh and unique:
            # A stack of length + 1: slot t holds the carry before step t, slot t + 1 the one after it
            # (mirrored when the loop runs backwards).
            whole = emit.new((length + 1, *shape), dtype)
            before, after = (
                whole.sliced((slot, *(0 for _ in shape)), (1,) * (len(shape) + 1), (length, *shape))
                for slot in ((1, 0) if reverse else (0, 1))
            )
            known[argument] = self.row_of(before)
            self.place(following, self.row_of(after))
            if argument in stacks:
                result["stack", argument] = before
            if following in stacks:
                result["stack", following] = after
            start, end = (length, 0) if reverse else (0, length)
            emit.copy(init, whole.row(start))
            result["final", k] = whole.row(end)
            return
        readers = users[argument] if argument in users else []
        maker = following.inputs[0] if following.op.name == "output" else following
        if following is argument or (
            fresh
            and unique
            and len(readers) == 1
            and readers[0] is maker
            and maker.op.name == "fused"
            and may_overwrite(maker, argument, following.attrs["key"])
        ):
            # Read only by the elementwise kernel that writes the next one: one place, updated in place.
            whole = emit.new(shape, dtype)
            emit.copy(init, whole)
            known[argument] = Ref(whole.buffer, 0, whole.shape, whole.strides, dtype, (Moving(region, 0),))
            if following is not argument:
                self.place(following, known[argument])
            result["final", k] = whole
            return
        whole = emit.new((2, *shape), dtype)
        flat = Ref(whole.buffer, 0, shape, whole.strides[1:], dtype)
        emit.copy(init, flat)
        now, then = (
            Ref(whole.buffer, 0, shape, flat.strides, dtype, (Moving(region, size, turn, 2),))
            for turn in (0, 1)
        )
        known[argument] = now
        self.place(following, then)
        result["final", k] = Ref(whole.buffer, (length % 2) * size, shape, flat.strides, dtype)
