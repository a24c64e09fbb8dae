"""SNAIL: its equations in torch, what a step can see, playing and what is learned from it."""

import itertools
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

import tinyattn as ta
from tinyattn import tasks
from tinyattn.models import snail
from tinyattn.models.parts.playing import advantages, drawn
from tinyattn.models.snail import SNAIL, SNAILConfig, Stack

SMALL = {"filters": 8, "channels": 3, "features": 5}


@cache
def made(task, **options):
    return tasks.get(task, **options)


def learner(task="glyphs", **sizes):
    options = {"ways": 3, "shots": 2} if task == "glyphs" else {"arms": 3, "pulls": 6}
    ta.manual_seed(1)
    return SNAIL.for_task(made(task, **options), **SMALL | sizes).to(np.float64), made(task, **options)


def stack(length, *parts, inputs=4, outputs=2):
    ta.manual_seed(2)
    return Stack(inputs, length, parts, outputs).to(np.float64)


# The equations, beside torch.


def torch_stack(torch, w, name, x):
    """Blocks by what they have: (B, T, C) → numbers of each step."""
    F = torch.nn.functional
    k = dilation = 0
    while any(key.startswith(f"{name}.blocks.{k}.") for key in w):
        own = {
            key.rpartition(f"{name}.blocks.{k}.")[2]: value
            for key, value in w.items()
            if f"{name}.blocks.{k}." in key
        }
        if "query.weight" in own:
            dilation = 0
            q, keys, v = (
                F.linear(x, own[f"{p}.weight"], own[f"{p}.bias"]) for p in ("query", "key", "value")
            )
            scores = q @ keys.transpose(1, 2) / q.shape[-1] ** 0.5
            later = torch.ones(scores.shape[-2:], dtype=torch.bool).triu(1)
            found = scores.masked_fill(later, -torch.inf).softmax(-1) @ v
        else:
            dilation = 2 * dilation if 0 < 2 * dilation < x.shape[1] else 1
            kernel = torch.stack([own["before.weight"], own["now.weight"]], dim=2)  # x_{t−R}, x_t
            padded = F.pad(x.transpose(1, 2), (dilation, 0))
            y = F.conv1d(padded, kernel, own["now.bias"], dilation=dilation).transpose(1, 2)
            f, g = y.chunk(2, -1)
            found = torch.tanh(f) * torch.sigmoid(g)
        x, k = torch.cat([x, found], -1), k + 1
    return F.linear(x, w[f"{name}.output.weight"], w[f"{name}.output.bias"])


def check_gradients(ours, loss, expected, w):
    expected.backward()
    assert abs(float(loss) - expected.item()) < 1e-10
    names = [name for name, _ in ours.named_parameters()]
    for name, found in zip(names, gradients(loss, ours), strict=True):
        right = w[name].grad.numpy()
        assert np.abs(right).max() > 1e-9 or name.endswith(UNMOVED), name
        assert np.abs(found - right).max() < 1e-8 * max(1, np.abs(right).max()), name


UNMOVED = ("key.bias",)
"""What is the same for all keys is nothing to a softmax."""


def gradients(loss, ours):
    """Of all parameters, in one program."""
    return ta.evaluate(ta.grad(loss, ours.parameters()))


def leaves(torch, ours):
    named = {name for name, _ in ours.named_parameters()}
    return {key: torch.from_numpy(x).requires_grad_(key in named) for key, x in ours.state_dict().items()}


@pytest.mark.parametrize("training", [True, False])
def test_loss_and_gradients_of_few_shot_learning_are_those_of_torch(training):
    torch = pytest.importorskip("torch")
    F = torch.nn.functional
    ours, task = learner()
    batch = next(iter(task.batches("validation", 5)))
    batch = replace(
        batch, images=batch.images.astype(np.float64), label=np.where(np.arange(5) == 1, -1, batch.label)
    )
    for name, value in ours.state_dict().items():
        if "running" in name:
            shifted = value + 0.1 * np.random.default_rng(0).random(value.shape)
            ours.load_state_dict(ours.state_dict() | {name: shifted})
    ours.train(training)
    w = leaves(torch, ours)
    x = torch.from_numpy(batch.images).flatten(0, 1)
    for k in (0, 4, 8):
        x = F.conv2d(x, w[f"look.layers.{k}.weight"], padding=1)
        norm = f"look.layers.{k + 1}"
        mean, variance = w[f"{norm}.running_mean"].clone(), w[f"{norm}.running_var"].clone()
        x = F.batch_norm(x, mean, variance, w[f"{norm}.weight"], w[f"{norm}.bias"], training)
        x = F.max_pool2d(F.relu(x), 2)
    features = F.linear(x.flatten(1), w["look.output.weight"], w["look.output.bias"]).unflatten(0, (5, 7))
    labels = F.one_hot(torch.from_numpy(batch.shown).long(), 3).double()
    x = torch.cat([features, F.pad(labels, (0, 0, 0, 1))], -1)  # the query has none
    logits = torch_stack(torch, w, "policy", x)[:, -1]
    loss = F.cross_entropy(logits, torch.from_numpy(batch.label).long(), ignore_index=-1)
    check_gradients(ours, ours.loss(batch), loss, w)


def test_what_a_player_learns_from_a_trial_is_that_of_torch():
    """The network on the whole trial at once, and actor and critic written out with distributions."""
    torch = pytest.importorskip("torch")
    F = torch.nn.functional
    ours, task = learner("bandit", entropy=0.1, value=0.7, trace=0.6, discount=0.9)
    batch = next(task.batches("train", 8, seed=0))
    game = ours.play(batch.pays, batch.draw)
    arms, rewards = map(torch.from_numpy, ta.evaluate([game.arms, game.rewards]))
    assert 0.2 < rewards.mean() < 0.8 and len(arms.unique()) == 3
    w = leaves(torch, ours)
    seen = torch.cat([F.one_hot(arms.long(), 3).double(), rewards[:, :, None]], -1)
    x = torch.relu(F.linear(F.pad(seen[:, :-1], (0, 0, 1, 0)), w["first.weight"], w["first.bias"]))
    policy = torch.distributions.Categorical(logits=torch_stack(torch, w, "policy", x))
    values = torch_stack(torch, w, "critic", x)[:, :, 0]
    after = torch.cat([values[:, 1:], torch.zeros(8, 1)], 1).detach()
    surprise, found = rewards + 0.9 * after - values.detach(), torch.zeros(8, dtype=torch.float64)
    estimate = torch.zeros_like(surprise)
    for t in reversed(range(6)):
        estimate[:, t] = found = surprise[:, t] + 0.9 * 0.6 * found
    target = values.detach() + estimate
    loss = -estimate * policy.log_prob(arms) - 0.1 * policy.entropy() + 0.7 * (values - target) ** 2
    rows = loss.sum(1)
    check_gradients(ours, ta.mean(ours.surrogate(game)), rows.mean(), w)
    own = ours.loss(batch)
    assert abs(float(own) + rewards.sum(1).mean().item()) < 1e-12  # what is read is the reward
    for one, other in zip(gradients(own, ours), gradients(ta.mean(ours.surrogate(game)), ours), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-12)


# What a step can see.


def seen(net, length):
    """How much each output (rows) depends on each input (columns)."""
    x = ta.parameter(np.random.default_rng(0).standard_normal((1, length, 4)))
    y = net(x)
    rows = ta.evaluate([ta.grad(ta.sum(ta.square(y[:, t])), x) for t in range(length)])
    return np.abs(np.concatenate(rows)).max(axis=2)


@pytest.mark.parametrize("length", [1, 2, 3, 6, 10, 16])
def test_after_one_block_of_convolutions_the_last_step_has_seen_all_and_no_step_a_later_one(length):
    net = stack(length, (3,))
    assert [block.dilation for block in net.blocks] == [2**i for i in range(int(np.ceil(np.log2(length))))]
    found = seen(net, length)
    assert (found[np.tril_indices(length)] > 1e-9).all() and (found[np.triu_indices(length, 1)] == 0).all()


def test_without_one_of_the_dilations_some_steps_would_be_invisible():
    """The test above can fail: with dilations 2, 4, 8 every other step is."""
    net = stack(16, (3,))
    for block in net.blocks:
        block.dilation *= 2
    assert (seen(net, 16)[15, ::2] == 0).all() and (seen(net, 16)[15, 1::2] > 0).all()


def test_attention_sees_each_step_up_to_its_own_and_weights_sum_to_one():
    found = seen(stack(7, (4, 3)), 7)
    assert (found[np.tril_indices(7)] > 1e-9).all() and (found[np.triu_indices(7, 1)] == 0).all()
    for task in ("glyphs", "bandit"):
        ours, some = learner(task)
        maps = ours.answer(next(iter(some.batches("test", 4)))).maps
        assert [*maps] == [f"attention {k}" for k in range(1, 4 if task == "glyphs" else 2)]
        for weights in np.stack([np.stack(each) for each in maps.values()], 1).reshape(
            -1, *maps["attention 1"][0].shape
        ):
            np.testing.assert_allclose(weights.sum(axis=1), 1, rtol=1e-12)
            assert (np.triu(weights, 1) == 0).all() and (weights > 0).sum() == len(weights) * (
                len(weights) + 1
            ) / 2


def test_step_by_step_is_the_same_as_all_at_once():
    net = stack(9, (4, 3), (3,), (2, 5), (2,))
    x = np.random.default_rng(0).standard_normal((2, 9, 4))
    whole_weights, past = [], net.nothing()
    whole = ta.evaluate([net(ta.tensor(x), whole_weights), *whole_weights])
    for t in range(9):
        weights = []
        found, *looked = ta.evaluate([net.step(ta.tensor(x[:, t]), past, weights), *weights])
        np.testing.assert_allclose(found, whole[0][:, t], rtol=1e-11)
        for own, all_of_them in zip(looked, whole[1:], strict=True):
            np.testing.assert_allclose(own[:, 0], all_of_them[:, t, : t + 1], rtol=1e-11)


def test_the_query_has_no_label_and_the_order_of_labels_matters():
    ours, task = learner()
    ours.eval()
    batch = task.probe()
    logits = ours(batch.images, batch.shown).numpy()
    other = replace(batch, label=(batch.label + 1) % 3)
    assert float(ours.loss(other)) != float(ours.loss(batch))  # it is what the loss compares with,
    assert np.array_equal(ours(other.images, other.shown).numpy(), logits)  # and is not seen
    assert np.abs(ours(batch.images, (batch.shown + 1) % 3).numpy() - logits).min() > 1e-6


# Playing.


def test_advantages_are_sums_over_all_later_steps():
    rng = np.random.default_rng(0)
    rewards, values = rng.random((2, 4, 7))
    for discount, trace in ((0.9, 0.5), (1.0, 1.0), (0.99, 0.0), (0.0, 0.7)):
        found = advantages(ta.tensor(rewards), ta.tensor(values), discount, trace).numpy()
        for b, t in np.ndindex(4, 7):
            expected = 0.0
            for later in range(t, 7):
                ahead = values[b, later + 1] if later < 6 else 0.0
                expected += (discount * trace) ** (later - t) * (
                    rewards[b, later] + discount * ahead - values[b, later]
                )
            assert abs(found[b, t] - expected) < 1e-12
    np.testing.assert_allclose(
        advantages(ta.tensor(rewards), ta.tensor(values), 1.0, 1.0).numpy(),
        np.cumsum(rewards[:, ::-1], axis=1)[:, ::-1] - values,
        rtol=1e-9,
    )


def test_choices_are_drawn_as_often_as_they_are_likely():
    logits = np.array([[0.3, -1.0, 2.0, -30.0]])
    luck = (np.arange(100_000) + 0.5) / 100_000
    found = drawn(ta.tensor(np.repeat(logits, len(luck), 0)), ta.tensor(luck)).numpy()
    expected = np.exp(logits[0]) / np.exp(logits[0]).sum()
    assert np.abs(np.bincount(found, minlength=4) / len(luck) - expected).max() < 2e-5
    last = drawn(ta.tensor(np.zeros((1, 3), np.float32)), ta.tensor(np.ones(1, np.float32))).numpy()
    assert last.tolist() == [2]


@pytest.mark.parametrize("discount", [1.0, 0.0])
def test_the_policy_gradient_is_that_of_the_expected_reward(discount, monkeypatch):
    """All trials of three pulls of two arms that there can be, each as often as the policy plays it: Σ P(a) ∇ surrogate
    = −∇ Σ P(a) R(a), where R counts later rewards as much as the discount does; and the critic must not matter."""
    task = made("bandit", arms=2, pulls=3)
    ta.manual_seed(5)
    ours = SNAIL.for_task(task, filters=4, entropy=0.0, value=0.0, trace=1.0, discount=discount).to(
        np.float64
    )
    monkeypatch.setattr(
        snail, "drawn", lambda logits, luck: ta.cast(luck, np.int32)
    )  # arms as they are given
    pays = np.array([[1, 0], [1, 1], [0, 1]], np.float64)
    arms = np.array([*itertools.product(range(2), repeat=3)], np.float64)
    game = ours.play(np.repeat(pays[None], 8, 0), arms)
    assert np.array_equal(game.arms.numpy(), arms)
    chosen = ta.take_along_axis(ta.log_softmax(game.logits), ta.expand_dims(game.arms, 2), 2)[:, :, 0]
    log_p = ta.sum(chosen, axis=1)
    assert abs(ta.sum(ta.exp(log_p)).numpy() - 1) < 1e-12
    names, policy = zip(
        *(one for one in ours.named_parameters() if not one[0].startswith("critic")), strict=True
    )
    if discount == 1:
        expected = ta.sum(ta.exp(log_p) * ta.sum(game.rewards, axis=1))
    else:  # each pull for its own reward alone: the probability of what came before it is a constant
        before = ta.pad(ta.cumsum(chosen, axis=1)[:, :-1], ((0, 0), (1, 0)))
        weight = ta.stop_gradient(ta.exp(before)) * ta.exp(chosen)
        after = ta.stop_gradient(ta.exp(ta.expand_dims(log_p, 1) - before - chosen))
        expected = ta.sum(weight * after * game.rewards)
    surrogate = ta.sum(ta.stop_gradient(ta.exp(log_p)) * ours.surrogate(game))
    found = ta.evaluate([g for loss in (surrogate, -expected) for g in ta.grad(loss, list(policy))])
    for name, one, other in zip(names, found[: len(names)], found[len(names) :], strict=True):
        assert np.abs(other).max() > 1e-6 or name.endswith(UNMOVED), name
        np.testing.assert_allclose(one, other, rtol=1e-8, atol=1e-12)


def test_a_player_knows_what_was_paid_and_nothing_else():
    ours, task = learner("bandit")
    batch = next(task.batches("train", 16, seed=0))
    for training in (True, False):
        ours.train(training)
        play = ta.function(lambda pays, luck: (lambda g: (g.arms, g.logits, g.values))(ours.play(pays, luck)))
        arms, *before = play(batch.pays, batch.draw)
        other = play(np.where(np.eye(3)[arms], batch.pays, 1 - batch.pays).astype(np.float32), batch.draw)
        assert all(np.array_equal(*pair) for pair in zip(other, (arms, *before), strict=True))
        pays = batch.pays.copy()
        pays[:, 2] = 1 - pays[:, 2]
        for old, new in zip(before, play(pays, batch.draw)[1:], strict=True):
            assert np.array_equal(new[:, :3], old[:, :3]) and (new[:, 3] != old[:, 3]).any()
    assert np.array_equal(arms, before[0].argmax(axis=2))  # in evaluation the likeliest arm is pulled


def test_trials_do_not_depend_on_their_neighbours_and_only_those_that_count_do():
    ours, task = learner("bandit")
    batch = next(iter(task.batches("test", 6)))
    together = np.stack(ours.answer(batch).outputs)
    alone = [
        ours.answer(replace(batch, **{k: v[r : r + 1] for k, v in vars(batch).items()})).outputs[0]
        for r in range(6)
    ]
    assert np.array_equal(together, np.stack(alone))
    valid = np.array([True, False, True, True, False, True])
    paid = task.paid(ours.answer(batch), batch.pays).sum(axis=1)
    ours.eval()
    assert abs(float(ours.loss(replace(batch, valid=valid))) + paid[valid].mean()) < 1e-9
    few = replace(batch, **{k: v[valid] for k, v in vars(batch).items()})
    one, other = (gradients(ours.loss(x), ours) for x in (replace(batch, valid=valid), few))
    for left, right in zip(one, other, strict=True):
        np.testing.assert_allclose(left, right, rtol=1e-9, atol=1e-12)


# What it is.


def test_with_the_papers_sizes_it_has_the_papers_layers():
    ours = SNAIL(SNAILConfig(choices=5, length=6, image_size=28))
    assert [type(block).__name__[0] for block in ours.policy.blocks] == [*"ADDDADDDA"]
    assert ours.policy.output.weight.shape == (5, 64 + 5 + 32 + 3 * 128 + 128 + 3 * 128 + 256)
    attention = [b for b in ours.policy.blocks if type(b).__name__ == "AttentionBlock"]
    assert [(b.key.weight.shape[0], b.value.weight.shape[0]) for b in attention] == [
        (64, 32),
        (256, 128),
        (512, 256),
    ]
    assert [w.shape for n, w in ours.look.named_parameters() if w.ndim == 4] == [(64, 1, 3, 3)] + 3 * [
        (64, 64, 3, 3)
    ]
    player = SNAIL(SNAILConfig(choices=5, length=10, filters=32))
    assert player.policy.output.weight.shape == (5, 32 + 8 * 32 + 32)
    assert player.critic.output.weight.shape == (1, 32 + 8 * 16 + 16)
    assert [block.dilation for block in list(player.policy.blocks)[:8]] == [1, 2, 4, 8] * 2


def test_blocks_can_be_left_out_and_that_is_a_variant():
    for task in ("glyphs", "bandit"):
        for left, kind in (("convolution", "DenseBlock"), ("attention", "AttentionBlock")):
            ours, some = learner(task, **{left: False})
            assert kind not in {type(block).__name__ for block in ours.policy.blocks}
            assert len(ours.answer(some.probe()).outputs) == 2
    assert (
        SNAIL.variant({"attention": False}) == "no-attention" and SNAIL.variant({"convolution": True}) == ""
    )


def test_settings_that_make_no_sense():
    for name in ("discount", "trace", "entropy", "value"):
        for wrong in (-0.1, 1.5, float("nan"), "x"):
            with pytest.raises(ta.TinyattnError, match=f"{name} must be a number from 0 to 1, but got"):
                SNAILConfig(choices=5, length=6, **{name: wrong})
