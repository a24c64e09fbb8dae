"""Parts of a concatenation that are made where they are joined.

    y = [f(x); g(x); z]         f(x) and g(x) are written right into y, and only z is copied

Elementwise kernels can write rows at any distance; what they make is placed so if nothing but concatenations reads it,
as other kernels may want what they read in one piece. Any other kernel can write what is in one piece in the whole, as
parts along the first axis are: so are gradients that leave a program one after the other, which are seen in another
shape there. (A matrix product can also write its transpose: the gradient of W in x Wᵀ is one.)
"""

from collections.abc import Callable, Container, Sequence

from tinyattn.graph.tensor import Tensor
from tinyattn.graph.traverse import consumers
from tinyattn.runtime.memory import Ref


def place_parts(
    emit,
    order: Sequence[Tensor],
    roots: Container[Tensor],
    known: Container[Tensor],
    placed: dict[Tensor, Ref],
) -> None:
    """Say in ``placed`` where the parts of the concatenations among ``order`` go, and with them the whole."""
    made = [node for node in order if node not in known]
    joins = [(node, node.op.pieces(node)) for node in made if node.op.pieces is not None]
    if not joins:
        return
    elsewhere = {source for node in made if node.op.pieces is None for source in node.inputs}
    users = consumers(order)

    def free(node: Tensor) -> bool:
        return node not in known and node not in roots and node not in placed

    for join, pieces in reversed(joins):  # (what joins joined parts comes first)
        whole = placed[join] if join in placed else emit.new(join.shape, join.dtype)
        for starts, part in zip(pieces, join.inputs, strict=True):
            place = whole.sliced(starts, (1,) * len(starts), part.shape)
            node, seen = _below_views(part, place, lambda x: free(x) and len(users[x]) == 1)
            fits = seen and node.inputs and len(users[node]) == 1 and node.op.view is None
            if not fits and part.shape[-1] > 1:  # (of single numbers each would lie apart)
                node, seen = part, place
                fits = (
                    node.op.name == "output" and node.inputs[0].op.name == "fused" and node not in elsewhere
                )
            if fits and free(node) and seen is not None:
                placed[join] = whole
                placed[node] = seen


def _below_views(part: Tensor, place: Ref, alone: Callable[[Tensor], bool]) -> tuple[Tensor, Ref | None]:
    """What is below the views of a part that nothing else reads, and how it lies in the part's place; None if not in
    one piece.
    """
    seen: Ref | None = place if place.contiguous else None
    while seen is not None and part.op.name in ("reshape", "transpose") and alone(part):
        source = part.inputs[0]
        if part.op.name == "reshape":
            seen = seen.reshaped(source.shape)
        else:
            axes = part.attrs["axes"]
            seen = seen.transposed(sorted(range(len(axes)), key=axes.__getitem__))
        part = source
    turned = seen is not None and part.op.name == "matmul" and seen.ndim == 2 and seen.swapped().contiguous
    return part, seen if seen is not None and (seen.contiguous or turned) else None
