"""The Neural Turing Machine: its equations in torch, with both controllers, both shifts and several heads; what it
can't see; where its heads look."""

from dataclasses import replace

import numpy as np
import pytest

import tinyattn as ta
from tinyattn import tasks
from tinyattn.models.lstm_bits import LSTMBits
from tinyattn.models.ntm import NTM, NTMConfig

FORMS = pytest.mark.parametrize(
    "controller, shift, heads",
    [
        ("lstm", "softmax", 1),
        ("lstm", "number", 2),
        ("feedforward", "softmax", 3),
        ("feedforward", "number", 1),
    ],
)


def small(**sizes):
    """With weights large enough for each part to matter."""
    ta.manual_seed(3)
    machine = NTM.for_task(tasks.get("recall"), hidden=6, places=7, width=4, **sizes).to(np.float64)
    for parameter in machine.parameters():
        parameter.assign(3 * parameter.numpy())
    return machine


def batch(rows=3):
    some = next(tasks.get("recall").batches("train", rows, seed=4))
    return replace(some, asked=some.asked & (np.arange(rows) != 1)[:, None])


@FORMS
def test_loss_and_gradients_are_those_of_torch(controller, shift, heads):
    """Sequence by sequence, head by head, each stage as the paper writes it."""
    torch = pytest.importorskip("torch")
    F = torch.nn.functional
    ours, some = small(controller=controller, shift=shift, heads=heads), batch()
    w = {name: torch.from_numpy(value).requires_grad_() for name, value in ours.state_dict().items()}
    places, width, shifts = 7, 4, 3 if shift == "softmax" else 1

    def address(head, memory, previous):
        key, (strength, gate), last = head[:width], head[width : width + 2], head[width + 2 :]
        cosine = torch.stack([key @ row / (key.norm() * row.norm() + 1e-8) for row in memory])
        content = torch.softmax(F.softplus(strength) * cosine, 0)
        gated = torch.sigmoid(gate) * content + (1 - torch.sigmoid(gate)) * previous
        if shift == "softmax":
            chances = torch.softmax(last[:3], 0)
        else:
            u = torch.tanh(last[0])  # a uniform distribution of width one, from u on
            low = int(np.floor(u.item()))
            chances = torch.stack(
                [torch.zeros_like(u)] * (low + 1)
                + [1 - (u - low), u - low]
                + [torch.zeros_like(u)] * (0 - low)
            )
            chances = chances[:3]
        shifted = torch.stack(
            [sum(chances[k + 1] * gated[(i - k) % places] for k in (-1, 0, 1)) for i in range(places)]
        )
        gamma = 1 + F.softplus(last[-1])
        return shifted**gamma / (shifted**gamma).sum()

    losses, looked = [], ours.addresses(some.inputs)
    for row in range(len(some.asked)):
        h = c = torch.zeros(6, dtype=torch.float64)
        memory = torch.full((places, width), 1e-6, dtype=torch.float64)
        weights = [torch.eye(places, dtype=torch.float64)[0] for _ in range(2 * heads)]
        reads = torch.zeros(heads * width, dtype=torch.float64)
        for x, target, asked in zip(some.inputs[row], some.targets[row], some.asked[row], strict=True):
            x, target = torch.from_numpy(x.astype(np.float64)), torch.from_numpy(target.astype(np.float64))
            part = w["input.weight"] @ x + w["input.bias"] + w["reading.weight"] @ reads
            if controller == "lstm":
                i, f, g, o = (part + w["cell.weight"] @ h).chunk(4)
                c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
                h = torch.sigmoid(o) * torch.tanh(c)
            else:
                h = torch.tanh(part)
            emitted = w["emit.weight"] @ h + w["emit.bias"]
            each = width + shifts + 3
            weights = [
                address(emitted[k * each : (k + 1) * each], memory, weights[k]) for k in range(2 * heads)
            ]
            reads = torch.cat([weights[k] @ memory for k in range(heads)])
            rest = emitted[2 * heads * each :]
            erase, add = torch.sigmoid(rest[: heads * width]), rest[heads * width :]
            for k in range(heads):
                memory = memory * (1 - torch.outer(weights[heads + k], erase[k * width : (k + 1) * width]))
            for k in range(heads):
                memory = memory + torch.outer(weights[heads + k], add[k * width : (k + 1) * width])
            if asked:
                chance = torch.sigmoid(w["output.weight"] @ torch.cat([h, reads]) + w["output.bias"])
                losses.append(-torch.log(torch.where(target > 0, chance, 1 - chance)))
        np.testing.assert_allclose(looked[row, :, -1], torch.stack(weights).detach(), atol=1e-10)
    loss = torch.cat(losses).mean()
    loss.backward()
    assert 6 * len(losses) == some.weight and abs(float(ours.loss(some)) - loss.item()) < 1e-10
    gradients = ta.grad(ours.loss(some), ours.parameters())
    for (name, _), found in zip(ours.named_parameters(), gradients, strict=True):
        expected = w[name].grad.numpy()
        assert np.abs(expected).max() > 1e-6, name
        assert np.abs(found.numpy() - expected).max() < 1e-8 * max(1, np.abs(expected).max()), name


@FORMS
def test_no_step_sees_a_later_one_and_padding_changes_nothing(controller, shift, heads):
    ours, some = small(controller=controller, shift=shift, heads=heads), batch()
    before = ours(some.inputs).numpy()
    changed = some.inputs.copy()
    changed[:, 5:] += 1
    after = ours(changed).numpy()
    np.testing.assert_array_equal(before[:, :5], after[:, :5])
    assert (before[:, 5:] != after[:, 5:]).any()
    padded = replace(
        some,
        **{
            name: np.pad(getattr(some, name), ((0, 0), (0, 3), (0, 0))[: getattr(some, name).ndim])
            for name in ("inputs", "targets", "asked")
        },
    )
    assert abs(float(ours.loss(padded)) - float(ours.loss(some))) < 1e-14


@FORMS
def test_the_heads_look_with_weights_that_sum_to_1(controller, shift, heads):
    ours, some = small(controller=controller, shift=shift, heads=heads), batch()
    weights = ours.addresses(some.inputs)
    assert weights.shape == (3, 2 * heads, some.inputs.shape[1], 7) and (weights >= 0).all()
    np.testing.assert_allclose(weights.sum(axis=-1), 1, rtol=1e-12)
    (maps,) = ta.viz.attention_maps(ours, some).items()
    assert maps[0] == "address"
    np.testing.assert_array_equal(maps[1], weights[:, :heads])
    found = ours.sample(some)
    steps = int(np.flatnonzero(some.asked[0]).max()) + 1
    np.testing.assert_array_equal(found.maps["read"][0], weights[0, 0, :steps])
    np.testing.assert_array_equal(found.maps["write"][0], weights[0, heads, :steps])


def test_zero_keys_zero_memory_and_sharp_heads_stay_finite():
    """Cosines of zero rows, powers of zeros: where public implementations get NaN."""
    ours = NTM(NTMConfig(inputs=2, outputs=1, hidden=3, places=5, width=2)).to(np.float64)
    for parameter in ours.parameters():
        parameter.assign(np.zeros(parameter.shape))
    bias = ours.emit.bias.numpy().copy()
    bias[:] = 0
    for head in range(2):  # strength and sharpening enormous, the shift one-hot
        bias[head * 8 + 2], bias[head * 8 + 4 : head * 8 + 7], bias[head * 8 + 7] = 1e3, (0, 0, 800), 1e4
    ours.emit.bias.assign(bias)
    inputs = np.ones((1, 12, 2), np.float32)
    (out,) = ta.evaluate([ours(inputs)])
    gradients = ta.evaluate(ta.grad(ta.sum(ours(inputs)), ours.parameters()))
    assert np.isfinite(out).all() and all(np.isfinite(g).all() for g in gradients)


def test_the_counts_of_parameters_and_the_size_of_the_baseline():
    sizes = NTMConfig(inputs=9, outputs=8)
    for changed, count in (
        ({}, 62_260),
        ({"controller": "feedforward"}, 13_260),
        ({"shift": "number", "heads": 2}, None),
    ):
        config = replace(sizes, **changed)
        assert NTM(config).num_parameters() == config.num_parameters() == (count or config.num_parameters())
    like = LSTMBits.Config.like(sizes)
    assert (
        abs(LSTMBits(like).num_parameters() / 62_260 - 1) < 0.01
        and like.num_parameters() == LSTMBits(like).num_parameters()
    )
    for wrong in ({"controller": "gru"}, {"shift": "none"}, {"places": 1}, {"heads": 0}, {"hidden": 2.5}):
        with pytest.raises(ta.TinyattnError, match="must be"):
            replace(sizes, **wrong)


def test_the_baseline_is_an_lstm_with_logits_on_top():
    torch = pytest.importorskip("torch")
    ta.manual_seed(0)
    ours = LSTMBits.for_task(tasks.get("recall"), hidden=5, layers=2).to(np.float64)
    some = batch()
    theirs = torch.nn.LSTM(8, 5, 2).double()
    state = {name: torch.from_numpy(value) for name, value in ours.state_dict().items()}
    theirs.load_state_dict(
        {name.removeprefix("lstm."): value for name, value in state.items() if "lstm" in name}
    )
    hidden = theirs(torch.from_numpy(some.inputs.astype(np.float64)).transpose(0, 1))[0].transpose(0, 1)
    logits = hidden @ state["output.weight"].T + state["output.bias"]
    asked = torch.from_numpy(some.asked)
    expected = torch.nn.functional.binary_cross_entropy_with_logits(
        logits[asked], torch.from_numpy(some.targets.astype(np.float64))[asked]
    )
    assert abs(float(ours.loss(some)) - expected.item()) < 1e-12
