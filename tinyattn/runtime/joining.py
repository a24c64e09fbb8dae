"""Parts of a concatenation that are made where they are joined.

    y = [f(x); g(x); z]         f(x) and g(x) are written right into y, and only z is copied

That is done with the results of elementwise kernels, which can write rows at any distance, if nothing but
concatenations reads them: other kernels may want what they read in one piece.
"""

from collections.abc import Container, Sequence

from tinyattn.graph.tensor import Tensor
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
    for join, pieces in joins:
        for starts, part in zip(pieces, join.inputs, strict=True):
            fused = part.op.name == "output" and part.inputs[0].op.name == "fused" and part not in known
            # (Of a row of single numbers each would lie apart.)
            if not fused or part.shape[-1] == 1 or part in elsewhere or part in roots or part in placed:
                continue
            if join not in placed:
                placed[join] = emit.new(join.shape, join.dtype)
            placed[part] = placed[join].sliced(starts, (1,) * len(starts), part.shape)
