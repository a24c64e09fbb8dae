"""How the kernels of the additive score are called: argument words and tiles."""

from tinyattn.kernels import ceiling
from tinyattn.kernels.calls.declaration import declare

# Scores, and the memory of a neural Turing machine.

_ADDITIVE = """
    q        address of q
    q_batch  stride of its batch entries, in numbers; 0 repeats
    q_row    stride of its rows, in numbers; 0 repeats
    k        address of k
    k_batch  stride of its batch entries, in numbers; 0 repeats
    k_row    stride of its rows, in numbers; 0 repeats
    v        address of v (A)
    batches  B
    queries  Tq
    keys     Tk
    width    A
"""
declare("score.additive_forward", _ADDITIVE + """
    scores  address of e (B, Tq, Tk), contiguous
""")  # fmt: skip
declare("score.additive_backward", _ADDITIVE + """
    d_scores   address of de (B, Tq, Tk), contiguous
    dq         address of dq (B, Tq, A), contiguous
    dk         address of dk (B, Tk, A), contiguous
    dk_adding  1: add to what is in dk; 0: to zero
    dv         address of dv (B, A), contiguous: to be summed over B
    dv_adding  1: add to what is in dv; 0: to zero
""")  # fmt: skip


SCORE_COLUMNS = 512
"""Most hidden units of the additive score that are handled at once."""
SCORE_TILE = 16384
"""About how many tanh a tile of ``score.additive_forward`` takes."""


def scores_in_tile(width: int) -> int:
    """Scores in a tile of ``score.additive_forward``."""
    return max(1, SCORE_TILE // max(1, width))


def tiles_of_additive_forward(batch: int, queries: int, keys: int, width: int) -> int:
    """Tiles of ``score.additive_forward``: runs of scores."""
    return ceiling(batch * queries * keys, scores_in_tile(width))


def columns_of_score(batch: int, width: int) -> int:
    """Hidden units in a tile of ``score.additive_backward``: fewer if the batch alone makes few tiles."""
    return SCORE_COLUMNS if batch >= 8 else 64


def tiles_of_additive_backward(batch: int, width: int) -> int:
    """Tiles of ``score.additive_backward``: batch entries times blocks of hidden units."""
    return batch * ceiling(width, columns_of_score(batch, width))
