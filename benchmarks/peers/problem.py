"""The batches and initial weights that every peer starts from, as NumPy arrays.

All implementations of a work begin with the same numbers, so their loss curves must agree; `check_peers.py`
asserts it. That is the proof that they do the same work. Weights have PyTorch's names and shapes: a linear
map is (out, in), the gates of a GRU are stacked in the order r, z, n, those of an LSTM in i, f, g, o.
"""

import numpy as np

PAD = 0
BITS = 8  # width of the vectors in the copy task

Arrays = dict[str, np.ndarray]


def _uniform(generator: np.random.Generator, shapes: dict[str, tuple[int, ...]], bound: float) -> Arrays:
    return {
        name: generator.uniform(-bound, bound, shape).astype(np.float32) for name, shape in shapes.items()
    }


def bahdanau_batch(batch: int, source: int, target: int, vocabulary: int, seed: int) -> Arrays:
    """int64 tokens: `source` (batch, source), `inputs` and `outputs` (batch, target).

    The outputs are one step ahead of the inputs. Sources are full; up to three places at the end of a target
    are padding, which the loss must leave out.
    """
    generator = np.random.default_rng([seed, 1])
    tokens = generator.integers(1, vocabulary, (batch, target + 1))
    lengths = generator.integers(max(1, target - 3), target + 1, (batch, 1))
    tokens[np.arange(target + 1) > lengths] = PAD
    return {
        "source": generator.integers(1, vocabulary, (batch, source)),
        "inputs": np.ascontiguousarray(tokens[:, :-1]),
        "outputs": np.ascontiguousarray(tokens[:, 1:]),
    }


def bahdanau_parameters(hidden: int, embedding: int, vocabulary: int, seed: int) -> Arrays:
    """Weights, uniform in +-1/sqrt(hidden); the attention is as wide as the hidden state."""
    context = 2 * hidden
    shapes: dict[str, tuple[int, ...]] = {
        "source_embedding.weight": (vocabulary, embedding),
        "target_embedding.weight": (vocabulary, embedding),
    }
    for suffix in ("l0", "l0_reverse"):
        shapes |= {
            f"encoder.weight_ih_{suffix}": (3 * hidden, embedding),
            f"encoder.weight_hh_{suffix}": (3 * hidden, hidden),
            f"encoder.bias_ih_{suffix}": (3 * hidden,),
            f"encoder.bias_hh_{suffix}": (3 * hidden,),
        }
    shapes |= {
        "initial.weight": (hidden, hidden),
        "initial.bias": (hidden,),
        "query.weight": (hidden, hidden),
        "key.weight": (hidden, context),
        "score.weight": (1, hidden),
        "cell.weight_ih": (3 * hidden, embedding + context),
        "cell.weight_hh": (3 * hidden, hidden),
        "cell.bias_ih": (3 * hidden,),
        "cell.bias_hh": (3 * hidden,),
        "maxout.weight": (2 * hidden, hidden + embedding + context),
        "maxout.bias": (2 * hidden,),
        "output.weight": (vocabulary, hidden),
        "output.bias": (vocabulary,),
    }
    return _uniform(np.random.default_rng([seed, 2]), shapes, hidden**-0.5)


def ntm_batch(batch: int, length: int, seed: int) -> Arrays:
    """The copy task: float32 `inputs` (2 length + 1, batch, 9), `outputs` (length, batch, 8) due at the end.

    `length` random vectors of 8 bits, a delimiter in the ninth channel, then silence while the answer is due.
    """
    bits = np.random.default_rng([seed, 3]).integers(0, 2, (length, batch, BITS)).astype(np.float32)
    inputs = np.zeros((2 * length + 1, batch, BITS + 1), np.float32)
    inputs[:length, :, :BITS] = bits
    inputs[length, :, BITS] = 1.0
    return {"inputs": inputs, "outputs": bits}


def ntm_parameters(controller: int, width: int, seed: int) -> Arrays:
    """Weights of an LSTM controller, one read head and one write head, uniform in +-1/sqrt(controller)."""
    address = width + 6  # key, strength, gate, three shifts, sharpening
    shapes: dict[str, tuple[int, ...]] = {
        "controller.weight_ih": (4 * controller, BITS + 1 + width),
        "controller.weight_hh": (4 * controller, controller),
        "controller.bias_ih": (4 * controller,),
        "controller.bias_hh": (4 * controller,),
        "read_head.weight": (address, controller),
        "read_head.bias": (address,),
        "write_head.weight": (address + 2 * width, controller),  # and what to erase and to add
        "write_head.bias": (address + 2 * width,),
        "output.weight": (BITS, controller + width),
        "output.bias": (BITS,),
    }
    return _uniform(np.random.default_rng([seed, 4]), shapes, controller**-0.5)


def gemm_operands(
    m: int, n: int, k: int, transpose_a: bool, transpose_b: bool, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """float32 A and B as they lie in memory: (m, k) or, when transposed, (k, m); (k, n) or (n, k)."""
    generator = np.random.default_rng([seed, 5])
    a = generator.standard_normal((k, m) if transpose_a else (m, k), np.float32)
    b = generator.standard_normal((n, k) if transpose_b else (k, n), np.float32)
    return a, b
