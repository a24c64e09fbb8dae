"""What stands behind the end of a sequence or behind a mask reaches no value and no gradient, be it NaN, infinite or huge.

Each case is a function of leaves; ``hidden`` says which numbers of them don't count. Whatever is written there, the results have the very same bits,
and the gradients there are 0.
"""

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import tinyattn as ta
from tinyattn import nn
from tinyattn.runtime import reference

RUBBISH = {"NaN": np.nan, "infinity": np.inf, "minus infinity": -np.inf, "huge": 1e30}
LENGTHS = np.array([5, 2, 0, 3])
REAL = np.arange(5)[:, None] < LENGTHS
"""(T, B): the real steps of four sequences."""
PADDING = ~REAL.T
"""(B, T): as the modules' masks want it. The third sequence has no word at all."""


def real(*shape, seed=0):
    return np.random.default_rng((seed, *shape)).standard_normal(shape).astype(np.float32)


@dataclass
class Case:
    """``function(*leaves)`` → results; arrays of the leaves; for some of them, where nothing may come from; parameters."""

    function: Any
    arrays: tuple
    hidden: dict[int, np.ndarray]
    parameters: Any = ()


def recurrent(kind, **options):
    def make():
        ta.manual_seed(1)
        layer = kind(3, 4, **options)
        x, steps = real(5, 4, 3), ~REAL
        if layer.batch_first:
            x, steps = x.swapaxes(0, 1).copy(), steps.T
        states = real(layer.num_layers * layer.directions, 4, 4)

        def run(x, *states):
            y, final = layer(x, tuple(states) if len(states) > 1 else states[0], lengths=LENGTHS)
            return [y, *(final if isinstance(final, tuple) else (final,))]

        return Case(run, (x, *[states] * layer.states), {0: steps}, layer.parameters())

    return make


def attending(padding=PADDING, **options):
    """Queries of another length than the keys, which are padded."""

    def make():
        ta.manual_seed(1)
        layer = nn.MultiheadAttention(6, 2, batch_first=True, **options)
        hidden = {1: PADDING, 2: PADDING}
        arrays = real(4, 3, 6), real(4, 5, layer.kdim), real(4, 5, layer.vdim, seed=1)
        return Case(lambda q, k, v: list(layer(q, k, v, padding)), arrays, hidden, layer.parameters())

    return make


def real_rows(y, axes=(0, 1)):
    """The real positions of (B, T, …), or of (T, B, …)."""
    real = REAL.T if axes == (0, 1) else REAL
    return ta.where(real.reshape(*real.shape, *(1,) * (y.ndim - 2)), y, 0)


def self_attention_module():
    ta.manual_seed(1)
    layer = nn.MultiheadAttention(6, 2)
    run = lambda x: [real_rows(layer(x, x, x, PADDING, need_weights=False)[0], (1, 0))]
    return Case(run, (real(5, 4, 6),), {0: ~REAL}, layer.parameters())


def encoder(norm_first, padding=PADDING):
    def make():
        ta.manual_seed(1)
        layer = nn.TransformerEncoderLayer(6, 2, 8, batch_first=True, norm_first=norm_first, dropout=0.0)
        model = nn.TransformerEncoder(layer, 2, nn.LayerNorm(6))
        run = lambda x: [real_rows(model(x, src_key_padding_mask=padding))]
        return Case(run, (real(4, 5, 6),), {0: PADDING}, model.parameters())

    return make


def transformer(norm_first):
    def make():
        ta.manual_seed(1)
        model = nn.Transformer(6, 2, 1, 2, 8, dropout=0.0, batch_first=True, norm_first=norm_first)
        masks = {
            "src_key_padding_mask": PADDING,
            "tgt_key_padding_mask": PADDING[::-1],
            "memory_key_padding_mask": PADDING,
        }
        causal = model.generate_square_subsequent_mask(5)

        def run(source, target):
            y = model(source, target, tgt_mask=causal, **masks)
            return [ta.where(~PADDING[::-1, :, None], y, 0)]

        return Case(
            run, (real(4, 5, 6), real(4, 5, 6, seed=1)), {0: PADDING, 1: PADDING[::-1]}, model.parameters()
        )

    return make


def of(function, *arrays, **hidden):
    return lambda: Case(function, arrays, {int(k[1:]): v for k, v in hidden.items()})


def translator(kind):
    """The row of the padding's embedding is rubbish."""

    def make():
        ta.manual_seed(1)
        config = kind.Config(7, 7, embedding=4, hidden=5, maxout=3)
        model = kind(config).eval()
        rng = np.random.default_rng(0)
        source, target = rng.integers(4, 7, (4, 5)), rng.integers(4, 7, (4, 5))
        lengths = np.maximum(LENGTHS, 1)
        source[np.arange(5) >= lengths[:, None]] = 0
        target[np.arange(5) >= lengths[:, None]] = 0

        shifted = np.where(np.arange(5) < lengths[:, None] - 1, np.roll(target, -1, 1), 0)
        batch = SimpleNamespace(source=source, source_length=lengths, target_in=target, target_out=shifted)
        tables = [model.source_embedding.weight, model.target_embedding.weight]
        rest = [p for p in model.parameters() if all(p is not t for t in tables)]

        def run(a, b):
            vars(model.source_embedding)["weight"], vars(model.target_embedding)["weight"] = a, b
            return [model.loss(batch)]

        pads = np.arange(7) == 0
        return Case(run, tuple(t.numpy().copy() for t in tables), {0: pads, 1: pads}, rest)

    return make


OPEN = np.array([[True, True, False, True, False], [False, True, False, False, False], [False] * 5])
BIAS = np.where(OPEN, real(3, 5), -np.inf).astype(np.float32)
KEYS = np.array([True, True, False, True, False])
TARGETS = np.array([1, 9, 0, 9])
NEAR = ta.local_window(np.arange(3), 5, 1)

CASES = {
    "LSTM": recurrent(nn.LSTM),
    "LSTM, two layers, both directions": recurrent(nn.LSTM, num_layers=2, bidirectional=True),
    "LSTM, batch first, no bias": recurrent(nn.LSTM, batch_first=True, bias=False),
    "GRU": recurrent(nn.GRU),
    "GRU, two layers, both directions": recurrent(nn.GRU, num_layers=2, bidirectional=True),
    "GRU, reset before": recurrent(nn.GRU, num_layers=2, bidirectional=True, reset_after=False),
    "RNN": recurrent(nn.RNN),
    "RNN, two layers, both directions, relu": recurrent(nn.RNN, num_layers=2, bidirectional=True, nonlinearity="relu"),
    "MultiheadAttention": attending(),
    "MultiheadAttention, added mask": attending(np.where(PADDING, -np.inf, 0).astype(np.float32)),
    "MultiheadAttention, other widths": attending(kdim=5, vdim=7, add_bias_kv=True),
    "MultiheadAttention of itself": self_attention_module,
    "TransformerEncoder": encoder(False),
    "TransformerEncoder, norm first": encoder(True),
    "TransformerEncoder, added mask": encoder(True, np.where(PADDING, -np.inf, 0).astype(np.float32)),
    "Transformer": transformer(False),
    "Transformer, norm first": transformer(True),
    "softmax": of(lambda x: [ta.softmax(x, mask=OPEN)], real(3, 5), x0=~OPEN),
    "softmax, added mask": of(lambda x: [ta.softmax(x, mask=BIAS)], real(3, 5), x0=~OPEN),
    "softmax of columns": of(lambda x: [ta.softmax(x, 0, OPEN.T)], real(5, 3), x0=~OPEN.T),
    "log_softmax": of(lambda x: [ta.where(OPEN, ta.log_softmax(x, mask=OPEN), 0)], real(3, 5), x0=~OPEN),
    "relu_norm": of(lambda x: [ta.relu_norm(x, mask=OPEN, by=by) for by in ("length", "sum", "none")], real(3, 5), x0=~OPEN),
    "local_window": of(
        lambda x: [ta.softmax(x, mask=NEAR) * ta.local_window(ta.tensor([0.0, 1.0, 2.0]), 5, 1, predictive=True)], real(3, 5), x0=~NEAR.numpy()
    ),
    "hard_attention": of(lambda x: [ta.score_function(x, np.eye(5, dtype=np.float32)[[0, 1, 2]] * OPEN, 1.0, mask=OPEN, entropy_weight=0.5)], real(3, 5), x0=~OPEN),
    "attention": of(lambda q, k, v: [ta.attention(q, k, v, KEYS)], real(2, 3, 4), real(2, 5, 4), real(2, 5, 2), x1=np.tile(~KEYS, (2, 1)), x2=np.tile(~KEYS, (2, 1))),
    "attention, added mask": of(
        lambda q, k, v: list(ta.attention(q, k, v, np.where(KEYS, 0.5, -np.inf).astype(np.float32), return_weights=True)),
        real(2, 3, 4), real(2, 5, 4), real(2, 5, 2), x1=np.tile(~KEYS, (2, 1)), x2=np.tile(~KEYS, (2, 1)),
    ),
    "attention, grouped heads": of(
        lambda q, k, v: [ta.attention(q, k, v, KEYS, enable_gqa=True)], real(4, 3, 4), real(2, 5, 4), real(2, 5, 2), x1=np.tile(~KEYS, (2, 1)), x2=np.tile(~KEYS, (2, 1))
    ),
    "attention, a closed query": of(
        lambda q, k, v: [ta.attention(q, k, v, OPEN)], real(3, 4), real(5, 4), real(5, 2), x0=np.array([False, False, True]), x1=~OPEN.any(0), x2=~OPEN.any(0)
    ),
    "attention, a closed query, weights": of(
        lambda q, k, v: list(ta.attention(q, k, v, OPEN, return_weights=True)), real(3, 4), real(5, 4), real(5, 2), x0=np.array([False, False, True]), x1=~OPEN.any(0), x2=~OPEN.any(0)
    ),
    "attention, the future": of(lambda q, k, v: [ta.attention(q, k, v, is_causal=True)], real(3, 4), real(6, 4), real(6, 2), x1=np.arange(6) > 2, x2=np.arange(6) > 2),
    "attention, the future, weights": of(lambda q, k, v: list(ta.attention(q, k, v, is_causal=True, return_weights=True)), real(3, 4), real(6, 4), real(6, 2), x1=np.arange(6) > 2, x2=np.arange(6) > 2),
    "cross_entropy": of(lambda x: [ta.cross_entropy(x, TARGETS, ignore_index=9, label_smoothing=0.1)], real(4, 6), x0=TARGETS == 9),
    "cross_entropy, weighted": of(
        lambda x, w: [ta.cross_entropy(x, TARGETS, 9, 0.1, w), ta.cross_entropy(x, TARGETS, 9, 0.0, w, "none")], real(4, 6), np.ones(6, np.float32), x0=TARGETS == 9
    ),
    "nll_loss": of(lambda x: [ta.nll_loss(x, TARGETS, w, 9, "none") for w in (None, np.ones(6, np.float32))], real(4, 6), x0=TARGETS == 9),
    "linear_cross_entropy": of(
        lambda h, w, b: [ta.linear_cross_entropy(h, w, TARGETS, b, ignore_index=9)], real(4, 3), real(6, 3), real(6), x0=TARGETS == 9
    ),
    "Seq2Seq": translator(ta.models.Seq2Seq),
    "Bahdanau": translator(ta.models.Bahdanau),
}  # fmt: skip


def results(case, rubbish, order):
    """Values, and gradients of leaves and parameters; with ``order`` 2, also of a function of the gradients."""
    arrays = [a.copy() for a in case.arrays]
    for k, places in case.hidden.items():
        arrays[k][places] = rubbish
    leaves = [ta.tensor(a) for a in arrays]
    values = case.function(*leaves)
    floats = [y for y in values if y is not None]
    rng = np.random.default_rng(2)
    loss = sum((y * rng.standard_normal(y.shape).astype(np.float32)).sum() for y in floats)
    wanted = [*leaves, *case.parameters]
    gradients = ta.grad(loss, wanted)
    for _ in range(order - 1):
        loss = sum((g * rng.standard_normal(g.shape).astype(np.float32)).sum() for g in gradients)
        gradients = [*gradients, *ta.grad(loss, wanted)]
    return [*floats, *gradients], len(floats)


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("name", CASES)
def test_nothing_behind_the_end_is_heard(name, order):
    case = CASES[name]()
    clean, count = results(case, 0.0, order)
    clean = ta.Program(clean).run()
    for kind, rubbish in RUBBISH.items():
        if order == 2 and kind == "huge":
            continue  # finite, so that it is multiplied, and too large for the products of second derivatives
        found = ta.Program(results(case, rubbish, order)[0]).run()
        for k, (one, other) in enumerate(zip(found, clean, strict=True)):
            assert np.isfinite(other).all() and np.array_equal(one, other), (
                f"{kind}, result {k}: {one} is not {other}"
            )
        for k, places in case.hidden.items():
            assert not found[count + k][places].any(), f"{kind}: the gradient of leaf {k}"


@pytest.mark.parametrize("name", CASES)
def test_the_interpreter_hears_nothing_either(name):
    case = CASES[name]()
    clean = reference.evaluate(results(case, 0.0, 1)[0])
    with np.errstate(all="ignore"):
        found = reference.evaluate(results(case, np.nan, 1)[0])
    for one, other in zip(found, clean, strict=True):
        assert np.array_equal(one, other)
