"""Two LSTMNs that translate: both fusions in torch, padding, and a search that says what teacher forcing would."""

from dataclasses import replace

import numpy as np
import pytest
from lstmn_by_hand import torch_states

import tinyattn as ta
from tinyattn import errors, tasks
from tinyattn.models.lstmn_fusion import FUSIONS, LSTMNFusion, LSTMNFusionConfig

EVERY = pytest.mark.parametrize("fusion", FUSIONS)


def small(fusion) -> LSTMNFusion:
    """In float64, with weights large enough to tell slots apart."""
    ta.manual_seed(1)
    sizes = {"embedding": 4, "hidden": 5, "attention": 3}
    model = LSTMNFusion.for_task(tasks.get("tiny-mt"), **sizes, fusion=fusion).to(np.float64)
    rng = np.random.default_rng(0)
    for weight in model.parameters():
        weight.assign(rng.standard_normal(weight.shape) * 0.6)
    return model


def batch(rows=2):
    return next(iter(tasks.get("tiny-mt").batches("validation", rows)))


def torch_logits(torch, weights, fusion, source, target_in):
    """Logits (T, K) of one sentence without padding, as the paper has it, a word at a time."""

    def part(name):
        return {key.removeprefix(f"{name}."): v for key, v in weights.items() if key.startswith(f"{name}.")}

    x = weights["source_embedding.weight"][torch.from_numpy(source).long()][:, None]
    tapes: list = []
    own = {f"layers.0.{key}": value for key, value in part("encoder").items()}
    gamma = torch_states(torch, own, x, 1, 0, memories=tapes)[:, 0]  # (S, H)
    alpha = torch.stack(tapes)[:, 0]
    keys, w = gamma @ weights["inter.key.weight"].T + weights["inter.key.bias"], part("decoder")
    hs, cs, found = [], [], []
    before = seen = torch.zeros(5, dtype=torch.float64)
    for x_t in weights["target_embedding.weight"][torch.from_numpy(target_in).long()]:
        summary, memory = torch.zeros_like(before), torch.zeros_like(before)
        if hs:
            query = x_t @ w["query.weight"].T + before @ w["before.weight"].T
            s = torch.softmax(
                torch.stack([torch.tanh(h @ w["key.weight"].T + query) @ w["v"] for h in hs]), 0
            )
            summary, memory = s @ torch.stack(hs), s @ torch.stack(cs)
        gates = x_t @ w["weight_ih"].T + w["bias_ih"] + w["bias_hh"] + summary @ w["weight_hh"].T
        i, f, g, o = gates.chunk(4)
        c = torch.sigmoid(f) * memory + torch.sigmoid(i) * torch.tanh(g)
        if fusion == "deep":
            query = x_t @ weights["query.weight"].T + seen @ weights["seen.weight"].T
            p = torch.softmax(torch.tanh(keys + query) @ weights["inter.u"], 0)
            seen = p @ gamma
            gate = (
                x_t @ weights["gate_word.weight"].T
                + weights["gate_word.bias"]
                + seen @ weights["gate_seen.weight"].T
            )
            c = c + torch.sigmoid(gate) * (p @ alpha)
        h = torch.sigmoid(o) * torch.tanh(c)
        if fusion == "shallow":
            p = torch.softmax(torch.tanh(keys + h @ weights["query.weight"].T) @ weights["inter.u"], 0)
            seen = p @ gamma
        hs.append(h)
        cs.append(c)
        before = summary
        said = torch.tanh(
            h @ weights["state.weight"].T + weights["state.bias"] + seen @ weights["context.weight"].T
        )
        found.append(said @ weights["vocabulary.weight"].T + weights["vocabulary.bias"])
    return torch.stack(found)


@EVERY
def test_loss_and_gradients_are_those_of_torch(fusion):
    torch = pytest.importorskip("torch")
    model, some = small(fusion), batch()
    weights = {name: torch.from_numpy(value).requires_grad_() for name, value in model.state_dict().items()}
    losses = []
    for row, (length, said) in enumerate(zip(some.source_length, some.target_length, strict=True)):
        assert length < some.source.shape[1]  # (there is padding)
        logits = torch_logits(torch, weights, fusion, some.source[row, :length], some.target_in[row, :said])
        right = torch.from_numpy(some.target_out[row, :said]).long()
        losses.append(torch.nn.functional.cross_entropy(logits, right, reduction="sum"))
    loss = torch.stack(losses).sum() / int(some.target_length.sum())
    loss.backward()
    assert abs(float(model.loss(some)) - loss.item()) < 1e-10
    gradients = ta.grad(model.loss(some), model.parameters())
    for (name, _), found in zip(model.named_parameters(), gradients, strict=True):
        expected = weights[name].grad.numpy()
        assert np.abs(expected).max() > 1e-8, name
        assert np.abs(found.numpy() - expected).max() < 1e-8 * max(1, np.abs(expected).max()), name


@EVERY
def test_the_search_says_what_teacher_forcing_would(fusion):
    model, some = small(fusion), batch()
    found = model.translate(some.source, some.source_length, max_length=6)
    begun = np.concatenate([np.full((2, 1), 1, np.int32), found.tokens[:, :-1]], axis=1)
    logits, weights = ta.evaluate(model(some.source, some.source_length, begun))
    logits[:, :, :2] = -np.inf  # neither padding nor a beginning is ever said
    ended = np.cumsum(begun == 2, axis=1) > 0
    assert np.array_equal(np.where(ended, 0, logits.argmax(2)), found.tokens)
    np.testing.assert_allclose(found.attention, weights, rtol=1e-9, atol=1e-12)
    beams = model.translate(some.source, some.source_length, beam=3, max_length=6)
    for best in (found, beams):
        said = np.asarray(best.tokens)
        begun = np.concatenate([np.full((2, 1), 1, np.int32), said[:, :-1]], axis=1)
        log_p = ta.log_softmax(model(some.source, some.source_length, begun)[0]).numpy()
        own = np.take_along_axis(log_p, said[..., None].astype(np.int64), 2)[..., 0]
        np.testing.assert_allclose(best.score, (own * (said != 0)).sum(1), rtol=1e-9)


@EVERY
def test_padding_is_seen_by_nothing(fusion):
    model, some = small(fusion), batch()
    wider = np.pad(some.source, ((0, 0), (0, 3)), constant_values=5)
    for row, length in enumerate(some.source_length):
        wider[row, length:] = 7
    other = replace(some, source=wider)
    assert abs(float(model.loss(some)) - float(model.loss(other))) < 1e-12
    weights = model(other.source, other.source_length, other.target_in)[1].numpy()
    for row, length in enumerate(some.source_length):
        assert not weights[row, :, length:].any()
        np.testing.assert_allclose(weights[row].sum(1), 1, rtol=1e-12)


def test_fusions_are_named():
    with pytest.raises(errors.TinyattnError, match="fusion must be one of deep, shallow, but got 'no'"):
        LSTMNFusionConfig(4, 4, fusion="no")


@EVERY
def test_its_weights_have_names_of_their_own(fusion):
    model, some = small(fusion), batch()
    maps = ta.viz.attention_maps(model, some)
    assert {*maps} == {"encoder", "decoder", "inter"}
    weights = model(some.source, some.source_length, some.target_in)[1].numpy()
    np.testing.assert_array_equal(maps["inter"][:, 0], weights)
    assert maps["decoder"].shape[2:] == (some.target_in.shape[1],) * 2
