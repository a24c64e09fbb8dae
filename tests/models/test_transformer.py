"""Transformer: loss and gradients against torch's own with the same weights, who sees whom, and the search."""

import math
from dataclasses import replace

import numpy as np
import pytest

import tinyattn as ta
from tinyattn import tasks
from tinyattn.errors import ShapeError, TinyattnError
from tinyattn.models.transformer import Transformer, TransformerConfig
from tinyattn.tasks.parts.vocabulary import BOS, EOS, PAD
from tinyattn.tasks.translation import Batch
from tinyattn.train.config import TrainingConfig

SIZES = {"d_model": 8, "heads": 2, "layers": 2, "d_ff": 12, "dropout": 0.0}
NORMS = pytest.mark.parametrize("norm_first", [False, True], ids=["post-norm", "pre-norm"])


def made(**changes):
    ta.manual_seed(3)
    model = Transformer(TransformerConfig(9, 9, **SIZES | changes)).to(np.float64)
    random = np.random.default_rng(1)
    for weight in model.parameters():  # biases and gains, too, are not what they begin with
        weight.assign(weight.numpy() + random.normal(0, 0.1, weight.shape))
    return model


def batch_of(source_lengths=(5, 3, 1), target_lengths=(4, 2, 3), width=5, height=5):
    random = np.random.default_rng(0)
    rows = len(source_lengths)
    source, target = np.zeros((rows, width), np.int32), np.zeros((rows, height), np.int32)
    target_in = np.zeros_like(target)
    for row, (s, t) in enumerate(zip(source_lengths, target_lengths, strict=True)):
        source[row, :s] = random.integers(4, 9, s)
        words = random.integers(4, 9, t - 1)
        target[row, :t], target_in[row, :t] = [*words, EOS], [BOS, *words]
    lengths = np.array(source_lengths, np.int32), np.array(target_lengths, np.int32)
    return Batch(
        source, lengths[0], target_in, target, lengths[1], np.arange(rows), np.ones(rows, bool)
    )  # fmt: skip


def torch_loss(torch, model, p, batch):
    """torch's layers with the parameters p; embeddings, places, masks and the loss written again."""
    c, double = model.config, torch.float64
    options = {"activation": c.activation, "batch_first": True, "norm_first": c.norm_first, "dtype": double}
    stacks = []
    for kind in ("Encoder", "Decoder"):
        layer = getattr(torch.nn, f"Transformer{kind}Layer")(c.d_model, c.heads, c.d_ff, 0.0, **options)
        end = torch.nn.LayerNorm(c.d_model, dtype=double) if c.norm_first else None
        stacks.append(getattr(torch.nn, f"Transformer{kind}")(layer, c.layers, end))
    whole = torch.nn.Transformer(
        c.d_model, c.heads, custom_encoder=stacks[0], custom_decoder=stacks[1], batch_first=True
    )

    def places(count):
        code = torch.zeros(count, c.d_model, dtype=double)
        for place in range(count):
            for i in range(0, c.d_model, 2):
                angle = place / 10000 ** (i / c.d_model)
                code[place, i], code[place, i + 1] = math.sin(angle), math.cos(angle)
        return code

    def embedded(name, ids):
        table = p[f"{name}.weight"] if f"{name}.weight" in p else p["target_embedding.weight"]
        return table[torch.from_numpy(ids).long()] * math.sqrt(c.d_model) + places(ids.shape[1])

    padding = torch.from_numpy(np.arange(batch.source.shape[1]) >= batch.source_length[:, None])
    count = batch.target_in.shape[1]
    later = torch.triu(torch.ones(count, count, dtype=torch.bool), 1)
    layers = {k.removeprefix("transformer."): v for k, v in p.items() if k.startswith("transformer.")}
    given = {"tgt_mask": later, "src_key_padding_mask": padding, "memory_key_padding_mask": padding}
    inputs = embedded("source_embedding", batch.source), embedded("target_embedding", batch.target_in)
    hidden = torch.func.functional_call(whole, layers, inputs, given)
    output = p["output.weight"] if "output.weight" in p else p["target_embedding.weight"]
    log_p = torch.log_softmax(hidden @ output.T, -1)
    right = torch.from_numpy(batch.target_out).long()
    epsilon, known = c.label_smoothing, right != PAD
    nll = -log_p.gather(-1, right[..., None])[..., 0]
    return (((1 - epsilon) * nll - epsilon * log_p.mean(-1)) * known).sum() / known.sum()


@pytest.mark.filterwarnings("ignore")
@NORMS
@pytest.mark.parametrize("tied", ["none", "target", "all"])
def test_loss_and_gradients_are_torchs(norm_first, tied):
    torch = pytest.importorskip("torch")
    activation = "gelu" if tied == "none" else "relu"
    model, batch = made(norm_first=norm_first, tied=tied, activation=activation), batch_of()
    loss = model.loss(batch)
    # A matrix that is two things is one parameter, whose gradient is the sum of both uses.
    found = dict(model.named_parameters())
    assert len(found) == len({id(w) for w in model.parameters()})
    value, gradients = ta.function(lambda: (loss, ta.grad(loss, list(found.values()))))()
    p = {name: torch.tensor(w.numpy(), requires_grad=True) for name, w in found.items()}
    expected = torch_loss(torch, model, _by_use(p, tied), batch)
    expected.backward()
    assert abs(float(value) - expected.item()) < 1e-10
    for (name, wanted), gradient in zip(p.items(), gradients, strict=True):
        scale = np.abs(wanted.grad.numpy()).max()
        np.testing.assert_allclose(
            gradient, wanted.grad.numpy(), rtol=0, atol=1e-8 * scale + 1e-14, err_msg=name
        )


def _by_use(p, tied):
    """The parameters as torch_loss looks for them: one that is tied is called by its first name in the model."""
    shared = {"all": "source_embedding.weight", "target": "target_embedding.weight"}.get(tied)
    return p if shared is None or shared not in p else p | {"target_embedding.weight": p[shared]}


@NORMS
def test_nothing_is_seen_of_what_comes_later(norm_first):
    model, batch = made(norm_first=norm_first).eval(), batch_of()
    before, _ = model(batch.source, batch.source_length, batch.target_in)
    changed = batch.target_in.copy()
    changed[:, 2] = (changed[:, 2] + 1) % 9
    after, _ = model(batch.source, batch.source_length, changed)
    np.testing.assert_array_equal(before.numpy()[:, :2], after.numpy()[:, :2])
    assert (np.abs(before.numpy()[:, 2:] - after.numpy()[:, 2:]).max(axis=-1) > 1e-6).all()


@NORMS
def test_padding_changes_nothing(norm_first):
    model, batch = made(norm_first=norm_first).eval(), batch_of()
    more = [(0, 0), (0, 4)]
    wider = replace(
        batch, source=np.pad(batch.source, more, constant_values=7),  # not even 0: it must not be looked at
        target_in=np.pad(batch.target_in, more), target_out=np.pad(batch.target_out, more),
    )  # fmt: skip
    assert abs(float(model.loss(batch)) - float(model.loss(wider))) < 1e-13
    one, other = (model.translate(b.source, b.source_length, 2, 6) for b in (batch, wider))
    np.testing.assert_array_equal(one.tokens, other.tokens)
    assert (other.attention[:, :, 5:] == 0).all() and (one.attention[1, :, 3:] == 0).all()
    np.testing.assert_allclose(one.attention.sum(axis=2), 1, atol=1e-12)


def test_without_places_the_encoder_sees_a_set(monkeypatch):
    model, source = made().eval(), batch_of().source[:1]
    order = np.array([3, 0, 4, 1, 2])

    def encode(ids):
        return model.encode(ids, np.array([5]))[0].numpy()[0]

    assert np.abs(encode(source)[order] - encode(source[:, order])).max() > 1e-3
    monkeypatch.setattr(model, "places", lambda count: ta.zeros((count, 8), np.float64), raising=False)
    np.testing.assert_allclose(encode(source)[order], encode(source[:, order]), atol=1e-12)


@NORMS
@pytest.mark.parametrize("beam", [1, 3])
def test_the_search_says_what_it_would_without_a_cache(norm_first, beam):
    model, batch = made(norm_first=norm_first).eval(), batch_of()
    found = model.translate(batch.source, batch.source_length, beam=beam, max_length=6)
    said = np.concatenate([np.full((3, 1), BOS, np.int32), found.tokens[:, :-1]], axis=1)
    logits, weights = (x.numpy() for x in model(batch.source, batch.source_length, said))
    log_p = logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))
    log_p[:, :, [PAD, BOS]] = -np.inf  # which are never said
    for row in range(3):
        length = list(found.tokens[row]).index(EOS) + 1 if EOS in found.tokens[row] else 6
        chosen = log_p[row, np.arange(length), found.tokens[row, :length]]
        assert abs(chosen.sum() - found.score[row]) < 1e-10
        if beam == 1:
            np.testing.assert_array_equal(found.tokens[row, :length], log_p[row, :length].argmax(axis=-1))
        np.testing.assert_allclose(found.attention[row, :length], weights[row, :length], atol=1e-12)


def test_labels_are_smoothed_in_training_only():
    batch = batch_of()
    sharp, smooth = made(label_smoothing=0.0), made(label_smoothing=0.3)
    assert float(smooth.loss(batch)) != float(sharp.loss(batch))
    assert float(smooth.eval().loss(batch)) == float(sharp.eval().loss(batch))
    answers = smooth.train().answer(batch)
    assert smooth.training
    assert abs(answers.nats - float(smooth.eval().loss(batch)) * batch.weight) < 1e-12


def test_the_report_shows_every_head_of_the_last_layer():
    task = tasks.get("copy")
    model = Transformer.for_task(task, **SIZES)
    (heat,) = model.sections(next(iter(task.batches("test", 4))), task)
    assert len(heat.maps) == 3 * SIZES["heads"]
    for one in heat.maps:
        assert one.weights.shape == (len(one.rows), len(one.columns))
        np.testing.assert_allclose(one.weights.sum(axis=1), 1, atol=1e-6)


def test_noam_is_the_papers_schedule():
    weight = ta.parameter(np.ones(2), np.float64)
    config = TrainingConfig(steps=50, schedule="noam", warmup_steps=8, learning_rate=(512 * 8) ** -0.5)
    optimizer = config.check().make_optimizer([weight])

    @ta.function
    def step():
        optimizer.minimize(ta.sum(weight * weight))
        return optimizer.lr

    for n in range(1, 21):
        step()
        wanted = 512**-0.5 * min(n**-0.5, n * 8**-1.5)
        assert abs(float(optimizer.lr.numpy()) - wanted) < 1e-7 * wanted


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"d_model": 10, "heads": 4}, "d_model must be divisible by heads = 4, but got 10"),
        ({"layers": 0}, "layers must be a positive integer, but got 0"),
        ({"dropout": 1.0}, r"dropout must lie in \[0, 1\), but got 1.0"),
        ({"tied": "both"}, "tied must be one of none, target, all, but got 'both'"),
        ({"activation": "tanh"}, "activation must be one of relu, gelu, but got 'tanh'"),
        ({"tied": "all", "source_vocabulary": 8}, "must have one vocabulary for both sides, but got 8 and 9"),
    ],
)
def test_what_cannot_be_is_refused(changes, text):
    with pytest.raises((TinyattnError, ShapeError), match=text):
        replace(TransformerConfig(9, 9), **changes)
