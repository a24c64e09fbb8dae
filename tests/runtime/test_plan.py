"""Little memory: places for buffers, and cheap values that are made again for the derivative."""

import numpy as np
import pytest
from engine import agree
from hypothesis import given, settings
from hypothesis import strategies as st
from random_graphs import PROFILE, build, recipes

import tinyattn as ta
from tinyattn.graph.traverse import topological
from tinyattn.rewrite import recompute
from tinyattn.runtime import plan, program
from tinyattn.runtime.memory import Buffer, Region
from tinyattn.runtime.plan import Life


def numbers(*shape, seed=0, dtype=np.float32):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


# Places.

lives = st.lists(st.tuples(st.integers(0, 5000), st.integers(0, 30), st.integers(0, 12)), max_size=30)


@given(lives)
@settings(PROFILE, max_examples=100)
def test_buffers_that_live_together_lie_apart(given):
    home = Region()
    groups = {Buffer(size, home): Life(first, first + more) for size, first, more in given}
    alive = plan._most_alive(groups)
    at = [
        sum(plan.size_of(b) for b, life in groups.items() if life.first <= t <= life.last) for t in range(45)
    ]
    assert alive == max(at)
    for offsets, top in (plan._in_order(groups), plan._by_size(groups)):
        assert set(offsets) == set(groups) and alive <= top
        assert top == max((offsets[b] + plan.size_of(b) for b in groups), default=0)
        assert all(offset % plan.ALIGNMENT == 0 for offset in offsets.values())
        for a, x in groups.items():
            for b, y in groups.items():
                if a is not b and x.first <= y.last and y.first <= x.last:
                    apart = offsets[a] + a.nbytes <= offsets[b] or offsets[b] + b.nbytes <= offsets[a]
                    assert apart
    assert plan._assign(groups, alive) == min(plan._in_order(groups)[1], plan._by_size(groups)[1]) or (
        plan._in_order(groups)[1] <= plan._GOOD * alive
    )


def network(layers=6, rows=256, width=128):
    weights = [ta.parameter(numbers(width, width, seed=k) / 16) for k in range(layers)]

    @ta.function
    def step(x):
        for w in weights:
            centred = x - x.mean(-1, keepdims=True)
            x = ta.relu(centred / ta.sqrt((centred * centred).mean(-1, keepdims=True) + 1e-5) @ w) + x
        loss = (x * x).mean()
        return (loss, *ta.grad(loss, weights))

    return step, numbers(rows, width)


def test_plans_are_close_to_the_least_possible():
    step, x = network()
    program = step.program(x)
    assert program.plan.alive <= program.peak_bytes <= 1.03 * program.plan.alive
    assert "alive at once" in program.summary()


# Made again.


def test_cheap_values_are_made_again(monkeypatch):
    step, x = network()
    found, less = step(x), step.program(x)
    assert less.log.counts()["recompute"] >= 6
    monkeypatch.setattr(program, "recompute", lambda roots, log, order: list(roots))
    kept, y = network()
    right, more = kept(y), kept.program(y)
    assert "recompute" not in more.log.counts()
    assert less.peak_bytes < 0.8 * more.peak_bytes
    for a, b in zip(found, right, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("norm", [ta.layer_norm, ta.rms_norm], ids=["layer", "rms"])
def test_normalised_rows_are_made_again(norm, monkeypatch):
    weights = [ta.parameter(numbers(64, 64, seed=k) / 8) for k in range(4)]
    scale = ta.parameter(numbers(64, seed=9))

    def compiled():
        y = ta.tensor(numbers(1024, 64))
        for w in weights:
            y = y + norm(y, 64, scale) @ w
        loss = (y * y).mean()
        return ta.Program([loss, *ta.grad(loss, [*weights, scale])])

    less = compiled()
    assert less.log.counts()["recompute"] == 4
    monkeypatch.setattr(program, "recompute", lambda roots, log, order: list(roots))
    more = compiled()
    assert less.peak_bytes <= more.peak_bytes - 2 * 1024 * 64 * 4
    for a, b in zip(less.run(), more.run(), strict=True):
        assert np.array_equal(a, b)


def test_what_is_not_worth_it_is_kept():
    def rules(f, *shape):
        x = ta.tensor(numbers(*shape))
        w = ta.tensor(numbers(shape[-1], shape[-1]))
        loss = (f(x @ w) @ w).sum()
        return ta.Program([loss, ta.grad(loss, w)]).log.counts().get("recompute", 0)

    assert rules(lambda x: ta.gelu(x), 256, 128) == 1
    assert rules(lambda x: ta.gelu(x), 8, 128) == 0  # small
    assert rules(lambda x: ta.relu(x), 256, 128) == 0  # its derivative needs relu(x) and not x
    assert rules(lambda x: ta.sin(x), 256, 128) == 0  # costly
    assert rules(lambda x: ta.exp(x), 256, 128) == 0  # the derivative needs eˣ and not x
    assert rules(lambda x: ta.softmax(x), 256, 128) == 0  # not elementwise
    x = ta.tensor(numbers(256, 128))
    assert "recompute" not in ta.Program([(ta.relu(x @ x.T) @ x).sum()]).log.counts()  # no derivative


def test_values_that_are_outputs_are_kept():
    x, w = ta.tensor(numbers(256, 128)), ta.tensor(numbers(128, 128))
    h = ta.relu(x @ w)
    loss = (h @ w).sum()
    assert "recompute" not in ta.Program([loss, h, ta.grad(loss, w)]).log.counts()


@given(recipes)
@settings(PROFILE, max_examples=60)
def test_random_graphs(recipe):
    before, recompute.LEAST_BYTES = recompute.LEAST_BYTES, 1
    try:
        _, outputs, *_ = build(recipe)
        agree(outputs, 100.0, str(recipe))
    finally:
        recompute.LEAST_BYTES = before


def test_what_is_made_again_comes_after_the_cotangent():
    step, x = network(layers=2)
    order = topological(step.program(x).graph)
    barriers = [node for node in order if node.op.name == "after"]
    assert barriers
    for node in barriers:
        assert node.inputs[1].origin is not None or any(
            n.origin is not None for n in topological([node.inputs[1]])
        )


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_views_of_what_is_made_again(dtype):
    x = ta.tensor(numbers(64, 6, 128, dtype=dtype))
    w = ta.parameter(numbers(64, 64, seed=1, dtype=dtype))
    h = ta.relu(x.reshape(64, 768) * 2 - 1)
    heads = h.reshape(64, 12, 64).transpose(1, 0, 2)
    loss = (ta.tanh(heads @ w) * heads).sum()
    (g,) = ta.grad(loss, [w])
    found = ta.Program([g])
    assert found.log.counts()["recompute"] >= 1
    (right,) = ta.Program([g], rewriting=False).run()
    np.testing.assert_allclose(found.run()[0], right, rtol=1e-4 if dtype == np.float32 else 1e-11, atol=1e-3)
