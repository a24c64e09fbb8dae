"""The order of execution: inputs before users, and no more alive than need be."""

import numpy as np
from hypothesis import given, settings
from random_graphs import PROFILE, build, recipes

import tinyattn as ta
from tinyattn.graph.traverse import topological
from tinyattn.rewrite.rule import Log
from tinyattn.runtime.program import optimize
from tinyattn.runtime.schedule import schedule


def numbers(*shape, seed=0, dtype=np.float32):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


@given(recipes)
@settings(PROFILE, max_examples=30)
def test_inputs_come_before_users(recipe):
    leaves, outputs, *_ = build(recipe)
    updates = {leaf: leaf - 0.1 * g for leaf, g in zip(leaves, outputs[2:], strict=True)}
    roots = optimize([*outputs, *updates.values()], Log())
    outputs, updates = roots[: len(outputs)], dict(zip(updates, roots[len(outputs) :], strict=True))
    order = schedule(outputs, (), updates)
    assert len(order) == len(set(order)) and set(order) == set(topological(roots))
    place = {node: k for k, node in enumerate(order)}
    assert all(place[source] < place[node] for node in order for source in node.inputs)


def layers(count, batch, width, update):
    weights = [ta.parameter(numbers(width, width, seed=k) / 16) for k in range(count)]

    @ta.function
    def step(x):
        for w in weights:
            x = ta.tanh(x @ w)
        loss = (x * x).mean()
        gradients = ta.grad(loss, weights)
        if update:
            for w, g in zip(weights, gradients, strict=True):
                ta.assign(w, w - 0.1 * g)
            return loss
        return loss, sum((g * g).sum() for g in gradients)

    return step, weights


def test_a_gradient_dies_with_the_update_it_is_for():
    step, weights = layers(8, 4, 128, update=True)
    x = numbers(4, 128, seed=9)
    program = step.program(x)
    assert program.peak_bytes < 2.5 * 128 * 128 * 4  # two gradients at a time, not eight
    assert not program.lowered.stores or all(not s.region.items.count(s) for s in program.lowered.stores)
    right = [w.numpy().astype(np.float64) for w in weights]
    step(x)
    values, h = [], x.astype(np.float64)
    for w in right:
        values.append(h)
        h = np.tanh(h @ w)
    g, outputs = 2 * h / h.size, [*values[1:], h]
    for k in reversed(range(8)):
        g = g * (1 - outputs[k] ** 2)
        np.testing.assert_allclose(weights[k].numpy(), right[k] - 0.1 * values[k].T @ g, rtol=2e-4, atol=1e-5)
        g = g @ right[k].T


def test_activations_die_with_the_gradients_that_read_them():
    step, _ = layers(8, 512, 128, update=False)
    activation = 512 * 128 * 4
    assert step.program(numbers(512, 128)).peak_bytes < 10.1 * activation  # one a layer, and two more


def test_the_order_is_the_same_each_time_and_long_chains_are_no_matter():
    x = ta.tensor(numbers(3))
    for k in range(20_000):
        x = ta.cumsum(x, 0) if k % 2 else x[::-1]
    order = schedule([x])
    assert len(order) == 20_001 and all(a is b for a, b in zip(order, schedule([x]), strict=True))
    names = [
        [node.op.name for node in schedule(layers(3, 4, 5, True)[0].program(numbers(4, 5)).graph)]
        for _ in range(2)
    ]
    assert names[0] == names[1]
