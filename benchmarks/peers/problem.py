"""The batches and initial weights that every peer starts from, as NumPy arrays.

All implementations of a work begin with the same numbers, so their loss curves must agree; `check_peers.py`
asserts it. That is the proof that they do the same work. Weights have PyTorch's names and shapes: a linear
map is (out, in), the gates of a GRU are stacked in the order r, z, n, those of an LSTM in i, f, g, o.
"""

import numpy as np

from benchmarks.products import Shape

PAD = 0
BITS = 8  # width of the vectors in the copy task
NOISE = 64  # numbers that a generated image is made from

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


def language_batch(batch: int, steps: int, vocabulary: int, seed: int) -> Arrays:
    """int64 tokens for language models: `inputs` and `outputs` (batch, steps), one step ahead of them."""
    tokens = np.random.default_rng([seed, 6]).integers(0, vocabulary, (batch, steps + 1))
    return {
        "inputs": np.ascontiguousarray(tokens[:, :-1]),
        "outputs": np.ascontiguousarray(tokens[:, 1:]),
    }


def lstm_lm_parameters(embedding: int, hidden: int, vocabulary: int, seed: int) -> Arrays:
    """Weights of a language model of one LSTM layer, uniform in +-1/sqrt(hidden)."""
    shapes: dict[str, tuple[int, ...]] = {
        "embedding.weight": (vocabulary, embedding),
        "lstm.weight_ih_l0": (4 * hidden, embedding),
        "lstm.weight_hh_l0": (4 * hidden, hidden),
        "lstm.bias_ih_l0": (4 * hidden,),
        "lstm.bias_hh_l0": (4 * hidden,),
        "output.weight": (vocabulary, hidden),
        "output.bias": (vocabulary,),
    }
    return _uniform(np.random.default_rng([seed, 7]), shapes, hidden**-0.5)


def gpt_parameters(layers: int, width: int, block: int, vocabulary: int, seed: int) -> Arrays:
    """Weights of a GPT without biases by nanoGPT's names: normal with 0.02, those of layer norms 1.

    The token embedding `transformer.wte.weight` is also the output projection.
    """
    shapes: dict[str, tuple[int, ...]] = {
        "transformer.wte.weight": (vocabulary, width),
        "transformer.wpe.weight": (block, width),
    }
    for layer in range(layers):
        shapes |= {
            f"transformer.h.{layer}.ln_1.weight": (width,),
            f"transformer.h.{layer}.attn.c_attn.weight": (3 * width, width),
            f"transformer.h.{layer}.attn.c_proj.weight": (width, width),
            f"transformer.h.{layer}.ln_2.weight": (width,),
            f"transformer.h.{layer}.mlp.c_fc.weight": (4 * width, width),
            f"transformer.h.{layer}.mlp.c_proj.weight": (width, 4 * width),
        }
    shapes["transformer.ln_f.weight"] = (width,)
    generator = np.random.default_rng([seed, 8])
    return {
        name: np.ones(shape, np.float32)
        if len(shape) == 1
        else (0.02 * generator.standard_normal(shape)).astype(np.float32)
        for name, shape in shapes.items()
    }


def transformer_batch(batch: int, source: int, target: int, vocabulary: int, seed: int) -> Arrays:
    """int64 tokens as in `bahdanau_batch`, with up to eight places of padding at the end of sources too."""
    arrays = bahdanau_batch(batch, source, target, vocabulary, seed)
    lengths = np.random.default_rng([seed, 9]).integers(max(1, source - 8), source + 1, (batch, 1))
    arrays["source"][np.arange(source) >= lengths] = PAD
    return arrays


def transformer_parameters(layers: int, width: int, inner: int, vocabulary: int, seed: int) -> Arrays:
    """Weights of an encoder and a decoder of `layers` layers by `torch.nn.Transformer`'s names.

    Matrices, embeddings and biases are uniform in +-1/sqrt(width); layer norms begin as the identity.
    """
    attention = {
        "in_proj_weight": (3 * width, width),
        "in_proj_bias": (3 * width,),
        "out_proj.weight": (width, width),
        "out_proj.bias": (width,),
    }
    shapes: dict[str, tuple[int, ...]] = {
        "source_embedding.weight": (vocabulary, width),
        "target_embedding.weight": (vocabulary, width),
        "output.weight": (vocabulary, width),
        "output.bias": (vocabulary,),
    }
    norms: Arrays = {}
    for side, blocks in (("encoder", ("self_attn",)), ("decoder", ("self_attn", "multihead_attn"))):
        places = [f"transformer.{side}.norm"]
        for layer in range(layers):
            here = f"transformer.{side}.layers.{layer}"
            shapes |= {
                f"{here}.{block}.{name}": shape for block in blocks for name, shape in attention.items()
            }
            shapes |= {f"{here}.linear1.weight": (inner, width), f"{here}.linear1.bias": (inner,)}
            shapes |= {f"{here}.linear2.weight": (width, inner), f"{here}.linear2.bias": (width,)}
            places += [f"{here}.norm{k + 1}" for k in range(len(blocks) + 1)]
        norms |= {f"{place}.weight": np.ones(width, np.float32) for place in places}
        norms |= {f"{place}.bias": np.zeros(width, np.float32) for place in places}
    return _uniform(np.random.default_rng([seed, 10]), shapes, width**-0.5) | norms


def positions(length: int, width: int) -> np.ndarray:
    """Sinusoidal positions (length, width) of Vaswani et al. (2017), section 3.5."""
    angles = np.arange(length)[:, None] * 10000.0 ** (-np.arange(0, width, 2) / width)
    return np.stack([np.sin(angles), np.cos(angles)], axis=-1).reshape(length, width).astype(np.float32)


def gemm_operands(shape: Shape, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """A (…, m, k) and B (…, k, n) as NumPy views of the memory that ``shape`` describes."""
    generator = np.random.default_rng([seed, 5])

    def operand(rows: int, columns: int, transposed: bool, letter: str) -> np.ndarray:
        if transposed:
            rows, columns = columns, rows
        if letter in shape.heads:
            batch, heads = shape.batch
            x = generator.standard_normal((batch, rows, heads, columns), np.float32).swapaxes(1, 2)
        else:
            x = generator.standard_normal((*shape.batch, rows, columns), np.float32)
        x = x.astype(shape.dtype)  # (the order of the axes in memory stays)
        return x.swapaxes(-1, -2) if transposed else x

    a = operand(shape.m, shape.k, shape.transpose_a, "a")
    b = operand(shape.k, shape.n, shape.transpose_b, "b")
    if shape.steps:  # orthogonal, so that a product of many neither grows nor vanishes
        b[:, : shape.k] = np.linalg.qr(b[:, : shape.k])[0]
    return a, b


def attention_operands(batch: int, length: int, heads: int, width: int, seed: int = 0) -> list[np.ndarray]:
    """float32 Q, K, V and the cotangent of the result as a model's projections leave them: (B, T, heads, d)."""
    generator = np.random.default_rng([seed, 6])
    return [generator.standard_normal((batch, length, heads, width), np.float32) for _ in range(4)]


def softmax_operands(rows: int, columns: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """float32 scores and a gradient of their softmax, (rows, columns) each."""
    generator = np.random.default_rng([seed, 6])
    x, g = (generator.standard_normal((rows, columns), np.float32) for _ in range(2))
    return x, g


def gan_batch(batch: int, seed: int) -> Arrays:
    """`images` (batch, 1, 28, 28) in [-1, 1] and `noise` (batch, 64)."""
    generator = np.random.default_rng([seed, 5])
    return {
        "images": generator.uniform(-1, 1, (batch, 1, 28, 28)).astype(np.float32),
        "noise": generator.standard_normal((batch, NOISE)).astype(np.float32),
    }


def gan_parameters(seed: int) -> Arrays:
    """DCGAN's initial weights: N(0, 0.02), scales of batch norm N(1, 0.02), all biases 0."""
    generator = np.random.default_rng([seed, 6])
    shapes: dict[str, tuple[int, ...]] = {
        "generator.project.weight": (128 * 7 * 7, NOISE),
        "generator.project.bias": (128 * 7 * 7,),
        "generator.norm1.weight": (128,),
        "generator.norm1.bias": (128,),
        "generator.up1.weight": (128, 64, 4, 4),
        "generator.norm2.weight": (64,),
        "generator.norm2.bias": (64,),
        "generator.up2.weight": (64, 1, 4, 4),
        "generator.up2.bias": (1,),
        "discriminator.down1.weight": (64, 1, 4, 4),
        "discriminator.down1.bias": (64,),
        "discriminator.down2.weight": (128, 64, 4, 4),
        "discriminator.norm.weight": (128,),
        "discriminator.norm.bias": (128,),
        "discriminator.logit.weight": (1, 128 * 7 * 7),
        "discriminator.logit.bias": (1,),
    }
    arrays = {}
    for name, shape in shapes.items():
        centre = 1.0 if "norm" in name else 0.0
        numbers = centre + 0.02 * generator.standard_normal(shape)
        arrays[name] = (np.zeros(shape) if name.endswith("bias") else numbers).astype(np.float32)
    return arrays
