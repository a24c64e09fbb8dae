"""tinyattn's side of the comparisons.

Each function builds one work and returns a callable that does it. It starts from the same batch and the same
weights as the peers (`peers/problem.py`), so that `check_peers.py` can compare the numbers:

- a training step returns the loss before the update, as a float;
- a product returns C, as anything `numpy.asarray` takes.

Everything that a user pays once (building, differentiating, compiling) belongs in the function; everything
that is paid at each step belongs in the call.
"""

from .harness import Work


def bahdanau_step(
    batch: int,
    source: int = 20,
    target: int = 20,
    hidden: int = 128,
    embedding: int = 128,
    vocabulary: int = 60,
    seed: int = 0,
) -> Work:
    """The step of `peers/torch_bahdanau.py`: GRU with the reset gate after the product, clip 1, Adam 1e-3.

    Start from `problem.bahdanau_batch(batch, source, target, vocabulary, seed)` and
    `problem.bahdanau_parameters(hidden, embedding, vocabulary, seed)`.
    """
    raise NotImplementedError


def ntm_step(
    batch: int = 1, length: int = 20, controller: int = 100, rows: int = 128, width: int = 20, seed: int = 0
) -> Work:
    """The step of `peers/torch_ntm.py`: 2 length + 1 time steps, gradients clipped to +-10, RMSprop 1e-4.

    Start from `problem.ntm_batch(batch, length, seed)` and `problem.ntm_parameters(controller, width, seed)`.
    """
    raise NotImplementedError


def gemm(m: int, n: int, k: int, transpose_a: bool = False, transpose_b: bool = False, seed: int = 0) -> Work:
    """C (m, n) = op(A) op(B) in float32, written into a fixed array.

    Start from `problem.gemm_operands(m, n, k, transpose_a, transpose_b, seed)`.
    """
    raise NotImplementedError
