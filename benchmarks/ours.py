"""tinyattn's side of the comparisons.

Each function builds one work and returns a callable that does it. It starts from the same batch and the same
weights as the peers (`peers/problem.py`), so that `check_peers.py` can compare the numbers:

- a training step returns the loss before the update, as a float;
- a product returns C, as anything `numpy.asarray` takes.

Everything that a user pays once (building, differentiating, compiling) belongs in the function; everything
that is paid at each step belongs in the call.
"""

from collections.abc import Callable

import numpy as np

import tinyattn as ta
from tinyattn.graph.traverse import substitute
from tinyattn.ops.layers.cells import gru_gates, lstm_gates

from .harness import Work
from .ours_gan import gan_step  # noqa: F401
from .peers import problem


def _adam(parameters, gradients, lr=1e-3, clip=1.0, beta1=0.9, beta2=0.999, eps=1e-8):
    """Adam with a clipped global norm, written out as the user of the bare engine would."""
    norm = ta.sqrt(sum(((g * g).sum() for g in gradients[1:]), (gradients[0] * gradients[0]).sum()))
    scale = ta.minimum(1.0, clip / (norm + 1e-6))
    count = ta.tensor(np.zeros((), np.float32), name="step")
    step = count + 1.0
    ta.assign(count, step)
    size = lr / (1.0 - ta.power(beta1, step))
    correction = 1.0 / ta.sqrt(1.0 - ta.power(beta2, step))
    for weight, gradient in zip(parameters, gradients, strict=True):
        mean = ta.tensor(np.zeros(weight.shape, np.float32))
        square = ta.tensor(np.zeros(weight.shape, np.float32))
        g = gradient * scale
        new_mean = beta1 * mean + (1 - beta1) * g
        new_square = beta2 * square + (1 - beta2) * (g * g)
        ta.assign(mean, new_mean)
        ta.assign(square, new_square)
        ta.assign(weight, weight - size * new_mean / (ta.sqrt(new_square) * correction + eps))


def _training(
    loss_of: Callable[..., ta.Tensor], optimizer: ta.optim.Optimizer, arrays: problem.Arrays
) -> Work:
    """One compiled step of descent on a fixed batch."""

    @ta.function
    def step(*given):
        loss = loss_of(*given)
        optimizer.minimize(loss)
        return loss

    given = tuple(arrays.values())

    def work():
        return float(step(*given))

    work.program = step.program(*given)
    work.step = step
    return work


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
    arrays = problem.bahdanau_batch(batch, source, target, vocabulary, seed)
    w = {
        name: ta.parameter(array, name=name)
        for name, array in problem.bahdanau_parameters(hidden, embedding, vocabulary, seed).items()
    }

    def linear(x, name):
        y = x @ w[f"{name}.weight"].T
        return y + w[f"{name}.bias"] if f"{name}.bias" in w else y

    def encode(words, suffix, reverse):  # (S, B, E) → (S, B, H) and the last state
        inputs = words @ w[f"encoder.weight_ih_{suffix}"].T + w[f"encoder.bias_ih_{suffix}"]
        recurrent, bias = w[f"encoder.weight_hh_{suffix}"].T, w[f"encoder.bias_hh_{suffix}"]

        def step(h, x):
            h = gru_gates(x, h @ recurrent + bias, h)
            return h, h

        return ta.scan(step, ta.zeros((batch, hidden)), inputs, reverse=reverse)[::-1]

    def loss_of(tokens, inputs, outputs):
        words = ta.embedding(w["source_embedding.weight"], tokens.T)  # (S, B, E)
        forward, _ = encode(words, "l0", False)
        backward, last = encode(words, "l0_reverse", True)
        annotations = ta.concat([forward, backward], axis=2).transpose(1, 0, 2)  # (B, S, 2H)
        keys = linear(annotations, "key")
        mask = ta.expand_dims(tokens != problem.PAD, 1)  # (B, 1, S)
        answers = ta.embedding(w["target_embedding.weight"], inputs.T)  # (T, B, E)
        from_words, from_context = ta.split(w["cell.weight_ih"], [embedding, 2 * hidden], axis=1)
        word_part = answers @ from_words.T + w["cell.bias_ih"]

        def step(state, x):
            query = linear(state, "query")
            scores = ta.additive_alignment(ta.expand_dims(query, 1), keys, w["score.weight"].reshape(hidden))
            context = ta.squeeze(ta.softmax(scores, mask=mask) @ annotations, 1)
            new = gru_gates(x + context @ from_context.T, linear_hh(state), state)
            return new, (state, context)

        def linear_hh(state):
            return state @ w["cell.weight_hh"].T + w["cell.bias_hh"]

        start = ta.tanh(linear(last, "initial"))
        _, (states, contexts) = ta.scan(step, start, word_part)
        by_state, by_word, by_context = ta.split(w["maxout.weight"], [hidden, embedding, 2 * hidden], axis=1)
        features = states @ by_state.T + answers @ by_word.T + contexts @ by_context.T + w["maxout.bias"]
        return ta.cross_entropy(linear(ta.maxout(features), "output"), outputs.T, ignore_index=problem.PAD)

    @ta.function
    def step(tokens, inputs, outputs):
        loss = loss_of(tokens, inputs, outputs)
        parameters = list(w.values())
        _adam(parameters, ta.grad(loss, parameters))
        return loss

    given = arrays["source"], arrays["inputs"], arrays["outputs"]
    step.program(*given)

    def work():
        return float(step(*given))

    work.program = step.program(*given)
    return work


def ntm_step(
    batch: int = 1, length: int = 20, controller: int = 100, rows: int = 128, width: int = 20, seed: int = 0
) -> Work:
    """The step of `peers/torch_ntm.py`: 2 length + 1 time steps, gradients clipped to +-10, RMSprop 1e-4.

    Start from `problem.ntm_batch(batch, length, seed)` and `problem.ntm_parameters(controller, width, seed)`.
    """
    arrays = problem.ntm_batch(batch, length, seed)
    w = {
        name: ta.parameter(array, name=name)
        for name, array in problem.ntm_parameters(controller, width, seed).items()
    }

    def linear(x, name):
        return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]

    def loss_of(inputs, outputs):
        by_input, by_read = ta.split(w["controller.weight_ih"], [problem.BITS + 1, width], axis=1)
        projected = inputs @ by_input.T + (w["controller.bias_ih"] + w["controller.bias_hh"])
        recurrent = w["controller.weight_hh"].T
        # Both heads in one map, which emits what addresses, head after head, and then what is written.
        heads = ta.concat([w["read_head.weight"], w["write_head.weight"]]).T
        biases = ta.concat([w["read_head.bias"], w["write_head.bias"]])
        emitted = 2 * (width + 6)

        def step(carry, x):
            state, cell, memory, read, weights = carry
            state, cell = lstm_gates(x + read @ by_read.T + state @ recurrent, state, cell)
            values = state @ heads + biases
            weights = ta.memory_address(values[:, :emitted].reshape(batch, 2, -1), memory, weights)
            read = ta.memory_read(weights[:, 0], memory)
            erase, add = ta.split(values[:, emitted:], 2, axis=1)
            memory = ta.memory_write(memory, weights[:, 1], ta.sigmoid(erase), add)
            return (state, cell, memory, read, weights), (state, read)

        zeros, start = ta.zeros((batch, controller)), np.zeros((batch, 2, rows), np.float32)
        start[:, :, 0] = 1
        carry = (
            zeros,
            zeros,
            ta.full((batch, rows, width), 1e-6),
            ta.zeros((batch, width)),
            ta.tensor(start),
        )
        _, (states, reads) = ta.scan(step, carry, projected)
        logits = linear(ta.concat([states[-length:], reads[-length:]], axis=2), "output")
        return (ta.softplus(logits) - outputs * logits).mean()

    @ta.function
    def step(inputs, outputs):
        loss = loss_of(inputs, outputs)
        parameters = list(w.values())
        for weight, gradient in zip(parameters, ta.grad(loss, parameters), strict=True):
            square, momentum = (
                ta.tensor(np.zeros(weight.shape, np.float32)),
                ta.tensor(np.zeros(weight.shape, np.float32)),
            )
            g = ta.clip(gradient, -10.0, 10.0)
            new_square = 0.95 * square + 0.05 * (g * g)
            new_momentum = 0.9 * momentum + g / (ta.sqrt(new_square) + 1e-8)
            ta.assign(square, new_square)
            ta.assign(momentum, new_momentum)
            ta.assign(weight, weight - 1e-4 * new_momentum)
        return loss

    given = arrays["inputs"], arrays["outputs"]

    def work():
        return float(step(*given))

    work.program = step.program(*given)
    return work


class LanguageModel(ta.nn.Module):
    """Embedding, LSTM, projection to the vocabulary."""

    def __init__(self, embedding: int, hidden: int, vocabulary: int) -> None:
        self.embedding = ta.nn.Embedding(vocabulary, embedding)
        self.lstm = ta.nn.LSTM(embedding, hidden, batch_first=True)
        self.output = ta.nn.Linear(hidden, vocabulary)

    def forward(self, inputs: ta.Tensor, outputs: ta.Tensor) -> ta.Tensor:
        """Tokens (B, T) and the tokens that follow them give the mean cross-entropy."""
        states, _ = self.lstm(self.embedding(inputs))
        return ta.cross_entropy(self.output(states), outputs)


def lstm_lm_step(
    batch: int = 32,
    steps: int = 64,
    embedding: int = 256,
    hidden: int = 256,
    vocabulary: int = 65,
    seed: int = 0,
) -> Work:
    """The step of `peers/torch_lstm_lm.py`: clip 1, Adam 1e-3."""
    model = LanguageModel(embedding, hidden, vocabulary)
    model.load_state_dict(problem.lstm_lm_parameters(embedding, hidden, vocabulary, seed))
    optimizer = ta.optim.Adam(model.parameters(), lr=1e-3, clip_norm=1.0)
    return _training(model, optimizer, problem.language_batch(batch, steps, vocabulary, seed))


def gpt_step(
    batch: int = 12,
    block: int = 64,
    layers: int = 4,
    heads: int = 4,
    width: int = 128,
    vocabulary: int = 65,
    seed: int = 0,
) -> Work:
    """The step of `peers/torch_gpt.py`: clip 1, AdamW 1e-3, betas 0.9 and 0.99, decay 0.1 of matrices."""
    GPT = ta.models.GPT
    model = GPT(GPT.Config(vocabulary, block, layers, heads, width, bias=False, activation="gelu"))
    weights = problem.gpt_parameters(layers, width, block, vocabulary, seed)
    model.load_state_dict(weights | {"lm_head.weight": weights["transformer.wte.weight"]})
    optimizer = model.configure_optimizer(lr=1e-3)
    return _training(model.loss, optimizer, problem.language_batch(batch, block, vocabulary, seed))


class Translator(ta.nn.Module):
    """Embeddings with sinusoidal positions, encoder and decoder, projection to the vocabulary."""

    def __init__(
        self, layers: int, heads: int, width: int, inner: int, vocabulary: int, dropout: float, longest: int
    ) -> None:
        self.source_embedding = ta.nn.Embedding(vocabulary, width)
        self.target_embedding = ta.nn.Embedding(vocabulary, width)
        self.transformer = ta.nn.Transformer(width, heads, layers, layers, inner, dropout, batch_first=True)
        self.output = ta.nn.Linear(width, vocabulary)
        self.dropout = ta.nn.Dropout(dropout)
        self.scale = width**0.5
        self._positions = ta.tensor(problem.positions(longest, width))

    def embed(self, embedding: ta.nn.Embedding, tokens: ta.Tensor) -> ta.Tensor:
        """(B, T) → (B, T, C)."""
        return self.dropout(embedding(tokens) * self.scale + self._positions[: tokens.shape[1]])

    def forward(self, source: ta.Tensor, inputs: ta.Tensor, outputs: ta.Tensor) -> ta.Tensor:
        """Tokens (B, S), (B, T) and the tokens that follow the latter give the mean smoothed cross-entropy."""
        padding = source == problem.PAD
        states = self.transformer(
            self.embed(self.source_embedding, source),
            self.embed(self.target_embedding, inputs),
            tgt_mask=ta.nn.Transformer.generate_square_subsequent_mask(inputs.shape[1]),
            src_key_padding_mask=padding,
            memory_key_padding_mask=padding,
            tgt_is_causal=True,
        )
        return ta.cross_entropy(self.output(states), outputs, ignore_index=problem.PAD, label_smoothing=0.1)


def transformer_step(
    batch: int = 32,
    source: int = 32,
    target: int = 32,
    layers: int = 2,
    heads: int = 4,
    width: int = 128,
    inner: int = 512,
    vocabulary: int = 1000,
    dropout: float = 0.0,
    seed: int = 0,
) -> Work:
    """The step of `peers/torch_transformer.py`: clip 1, Adam 1e-3, label smoothing 0.1."""
    model = Translator(layers, heads, width, inner, vocabulary, dropout, max(source, target))
    model.load_state_dict(problem.transformer_parameters(layers, width, inner, vocabulary, seed))
    optimizer = ta.optim.Adam(model.parameters(), lr=1e-3, clip_norm=1.0)
    return _training(model, optimizer, problem.transformer_batch(batch, source, target, vocabulary, seed))


def gemm(shape: problem.Shape) -> Work:
    """C = op(A) op(B), into a fixed array: a program of one product, or of a loop of them, called from Python."""
    a, b = map(_leaf, problem.gemm_operands(shape))
    if shape.steps:
        first = a @ b
        c, _ = ta.scan(lambda c, _: (c[:, : shape.k] @ b, None), first, length=shape.steps - 1)
    else:
        c = a @ b
    call = ta.Program([c]).bind()

    def work():
        call()
        return call.results[0]

    return work


def _leaf(view: np.ndarray) -> ta.Tensor:
    """A leaf with the memory of ``view``, seen through the same transposition."""
    order = sorted(range(view.ndim), key=lambda axis: -view.strides[axis])
    return ta.transpose(ta.tensor(view.transpose(order)), tuple(map(order.index, range(view.ndim))))


def attention(batch: int, heads: int, length: int, width: int, causal: bool) -> Work:
    """O, Q̄, K̄ and V̄ as (B, T, heads, d), written into fixed arrays: a program of one attention and its derivative."""
    arrays = problem.attention_operands(batch, length, heads, width)
    *operands, cotangent = (ta.tensor(array).transpose(0, 2, 1, 3) for array in arrays)
    out, gradients = ta.vjp(lambda *x: ta.attention(*x, is_causal=causal), operands, cotangent)
    program = ta.Program([y.transpose(0, 2, 1, 3) for y in (out, *gradients)])

    call = program.bind()

    def work():
        call()
        return call.results

    work.program = program
    return work


def softmax(rows: int, columns: int, backward: bool = False, seed: int = 0) -> Work:
    """Softmax of each row, or its derivative, float32, written into a fixed array."""
    x, g = map(ta.tensor, problem.softmax_operands(rows, columns, seed))
    if backward:  # of the result as a leaf, so that the program is the derivative alone
        y = ta.softmax(x)
        (dx,) = ta.vjp(lambda _: y, [x], [g])[1]
        program = ta.Program([substitute([dx], {y: ta.tensor(y.numpy())})[0]])
    else:
        program = ta.Program([ta.softmax(x)])
    call = program.bind()

    def work():
        call()
        return call.results[0]

    return work
