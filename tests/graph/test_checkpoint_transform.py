"""Recomputation: the same values and derivatives, less memory."""

from pathlib import Path

import numpy as np
import pytest
from engine import agree
from hypothesis import given, settings
from hypothesis import strategies as st
from random_graphs import PROFILE, STEPS, Ours, data, recipes

import tinyattn as ta
from tinyattn import errors
from tinyattn.graph.traverse import topological

FLOATS = pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["f32", "f64"])


def plain(fn):
    return fn


def numbers(*shape, seed=0, dtype=np.float64):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def chain(wrap, dtype=np.float32, layers=8, nested=False):
    """Blocks of two outputs with dropout inside, on top of one another; the step returns the loss and all gradients."""
    weights = [ta.parameter(numbers(64, 64, seed=k, dtype=dtype) / 8) for k in range(layers)]
    x = ta.parameter(numbers(256, 64, seed=99, dtype=dtype))

    def block(h, w):
        y = ta.tanh(ta.dropout(h @ w, 0.3))
        z = ta.softmax(ta.gelu(y @ w)) if hasattr(ta, "gelu") else ta.softmax(ta.sigmoid(y @ w) * y)
        return h + z * ta.exp(y), y.sum()

    inner = wrap(lambda h, w: block(ta.tanh(h), w)) if nested else block

    @ta.function
    def step():
        h = x
        for w in weights:
            h, s = wrap(inner)(h, w)
            h = h + s * 1e-3
        loss = (h * h).mean()
        return (loss, *ta.grad(loss, [x, *weights]))

    ta.manual_seed(3)
    return step


@FLOATS
@pytest.mark.parametrize("nested", [False, True], ids=["blocks", "blocks in blocks"])
def test_gradients_have_the_same_bits_and_memory_falls(dtype, nested):
    kept, again = chain(plain, dtype, nested=nested), chain(ta.checkpoint, dtype, nested=nested)
    before, after = kept.program(), again.program()
    assert after.peak_bytes < 0.5 * before.peak_bytes
    assert after.log.counts()["checkpoint"] >= 16
    ta.manual_seed(3)
    right = kept()
    ta.manual_seed(3)
    for found, expected in zip(again(), right, strict=True):
        assert np.array_equal(found, expected)


def test_memory_grows_with_the_kept_inputs_only():
    peaks = [
        {layers: chain(wrap, layers=layers).program().peak_bytes for layers in (4, 12)}
        for wrap in (plain, ta.checkpoint)
    ]
    a_layer = [(peak[12] - peak[4]) / 8 for peak in peaks]
    state, gradient = 256 * 64 * 4, 64 * 64 * 4
    assert a_layer[1] <= 1.1 * (state + gradient) and a_layer[0] > 2 * a_layer[1]


def test_second_derivatives():
    x, w = ta.tensor(numbers(3, 4)), ta.tensor(numbers(4, 4, seed=1))

    def second(wrap):
        y = wrap(lambda x: ta.tanh(ta.softmax(x @ w)) * ta.sin(x))(x)
        gx, gw = ta.grad((y * y).sum(), [x, w])
        return [gx, gw, *ta.grad((gx * gx).sum() + (gw * gw * gw).sum(), [x, w])]

    for found, right in zip(
        agree(second(ta.checkpoint), 100.0), [g.numpy() for g in second(plain)], strict=True
    ):
        np.testing.assert_allclose(found, right, rtol=1e-11, atol=1e-12)
    ta.gradcheck(ta.checkpoint(lambda x: ta.sin(x) * x), [numbers(3)], order=2)


def test_forward_mode_and_products_with_the_hessian():
    f = lambda x: (ta.tanh(x) ** 3).sum()
    x, v = ta.tensor(numbers(4)), ta.tensor(numbers(4, seed=1))
    for mode in (lambda f: ta.jvp(f, [x], [v])[1], lambda f: ta.hvp(f, [x], [v])[1][0]):
        np.testing.assert_allclose(mode(ta.checkpoint(f)).numpy(), mode(f).numpy(), rtol=1e-12)


def loop(wrap, xs, w, around):
    """A loop with dropout in its steps; ``around`` checkpoints whole inner loops of an outer one."""

    def step(c, x):
        c = ta.softmax(ta.dropout(ta.tanh(c @ w + x), 0.4)) + c
        return c, c.sum()

    start = ta.zeros((4, 8), np.float64) + 0.3
    if around:
        return ta.scan(wrap(lambda c, x: ta.scan(step, c, x)), start, xs)
    return ta.scan(wrap(step), start, xs.reshape(-1, 4, 8))


@pytest.mark.parametrize("around", [False, True], ids=["in a loop", "around loops in a loop"])
def test_loops(around):
    xs, w = ta.parameter(numbers(6, 5, 4, 8)), ta.parameter(numbers(8, 8, seed=1) / 3)

    def step(wrap):
        c, ys = loop(wrap, xs, w, around)
        loss = (c * c).sum() + ys.mean()
        return (loss, *ta.grad(loss, [xs, w]))

    found = []
    for wrap in (plain, ta.checkpoint):
        ta.manual_seed(5)
        found.append(ta.function(lambda wrap=wrap: step(wrap))())
    for mine, right in zip(*found, strict=True):
        np.testing.assert_allclose(mine, right, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("wrap", [plain, ta.checkpoint], ids=["kept", "computed again"])
def test_derivatives_taken_inside_a_loop_see_the_random_numbers_of_their_step(wrap):
    @ta.function
    def run():
        def step(c, x):
            y = wrap(lambda c, x: ta.dropout(c * x, 0.5))(c, x)
            return c, (y, ta.grad(y.sum(), c))

        return ta.scan(step, ta.ones((50,)), ta.ones((4, 50)))[1]

    y, gradient = run()
    assert np.array_equal(y, gradient) and len(np.unique(y, axis=0)) == 4


def test_random_numbers_are_the_same_in_both_passes():
    x = ta.parameter(np.ones(1000))

    @ta.function
    def step():
        y = ta.checkpoint(lambda x: ta.dropout(x, 0.5))(x)
        return y, ta.grad(y.sum(), x)

    for _ in range(2):
        y, gradient = step()
        assert np.array_equal(y, gradient) and 300 < (y == 0).sum() < 700


def test_trees_other_arguments_and_what_is_closed_over():
    w, outside = ta.parameter(numbers(3, seed=1)), ta.tanh(ta.parameter(numbers(3, seed=2)))

    @ta.checkpoint
    def f(pair, *, power, name=None, scale=2.0):
        """What f says."""
        a, b = pair["a"], pair["b"]
        return {"sum": a**power + w * outside, "rest": (b * scale, None, a)}

    assert f.__doc__ == "What f says." and f.__name__ == "f"
    a, b = ta.tensor(numbers(3, seed=3)), ta.tensor(numbers(3, seed=4))
    found = f({"a": a, "b": b}, power=3, name="x")
    assert found["rest"][1] is None
    np.testing.assert_allclose(found["sum"].numpy(), a.numpy() ** 3 + w.numpy() * outside.numpy())
    np.testing.assert_allclose(found["rest"][0].numpy(), 2 * b.numpy())
    total = (found["sum"] * found["rest"][0] + found["rest"][2]).sum()
    gradients = ta.grad(total, [a, w])
    np.testing.assert_allclose(gradients[0].numpy(), 3 * a.numpy() ** 2 * 2 * b.numpy() + 1)
    np.testing.assert_allclose(gradients[1].numpy(), outside.numpy() * 2 * b.numpy())


def test_what_is_made_outside_is_kept_and_what_is_made_inside_is_not():
    x, w = ta.tensor(numbers(4, 4)), ta.parameter(numbers(4, 4, seed=1))
    outside = ta.exp(x)
    y = ta.checkpoint(lambda x: outside @ (ta.tanh(x @ w) @ (w * 2.0)))(x)
    node = y.inputs[0]
    assert set(map(id, node.inputs)) == {id(x), id(w), id(outside)}
    assert [n.op.name for n in node.attrs["body"].nodes()].count("matmul") == 3
    program = ta.Program([y.sum(), ta.grad(y.sum(), w)])
    order = topological(program.graph)
    barriers = [n for n in order if n.op.name == "after"]
    assert barriers and all(any(s.origin is not None for s in topological(n.inputs[1:])) for n in barriers)
    repeated = [n for n in order if n.op.name == "matmul" and n.inputs[0].op.name == "after"]
    assert len(repeated) == 1 and repeated[0].origin is node  # x w
    bodies = [n.attrs["body"].nodes() for n in order if n.op.name == "fused"]
    assert sum("exp" in {m.op.name for m in body} for body in bodies) == 1  # kept
    assert sum("tanh" in {m.op.name for m in body} for body in bodies) == 2


def test_modules_and_methods():
    layer = ta.nn.Linear(4, 4)

    class Net(ta.nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = layer

        @ta.checkpoint
        def block(self, x):
            return ta.tanh(self.layer(x))

        def forward(self, x):
            return self.block(x)

    x = ta.tensor(numbers(3, 4, dtype=np.float32))
    right = ta.tanh(layer(x))
    for y in (ta.tanh(ta.checkpoint(layer)(x)), Net()(x)):
        for mine, theirs in zip(
            [y, *ta.grad(y.sum(), layer.parameters())],
            [right, *ta.grad(right.sum(), layer.parameters())],
            strict=True,
        ):
            assert np.array_equal(mine.numpy(), theirs.numpy())


def test_updates_asked_for_inside_are_made_once():
    total = ta.tensor(np.zeros(()), name="total")
    x = ta.parameter(numbers(3))

    @ta.function
    def step():
        def f(x):
            y = ta.tanh(x)
            ta.assign(total, total + y.sum())
            return y * y

        return ta.grad(ta.checkpoint(f)(x).sum(), x)

    step(), step()
    np.testing.assert_allclose(total.numpy(), 2 * np.tanh(x.numpy()).sum())


def test_functions_without_work_or_derivative():
    x, n = ta.tensor(numbers(3)), ta.tensor(np.arange(3))
    same, other, number = ta.checkpoint(lambda x, n: (x, n + 1, 2.0))(x, n)
    assert np.array_equal(same.numpy(), x.numpy()) and np.array_equal(other.numpy(), [1, 2, 3])
    assert number.item() == 2
    assert np.array_equal(ta.grad(same.sum(), x).numpy(), np.ones(3))
    assert ta.checkpoint(lambda: None)() is None
    y = ta.checkpoint(lambda x: x[n])(x)  # an index passes through, without a derivative
    assert np.array_equal(ta.grad((y * y).sum(), x).numpy(), 2 * x.numpy())


def test_errors():
    x = ta.tensor(numbers(3))
    with pytest.raises(errors.TinyattnError) as error:
        ta.checkpoint(ta.tanh(x))
    assert str(error.value).splitlines()[0] == (
        "[checkpoint] what is checkpointed must be a function or a module, but got Tensor."
    )
    assert "Write ta.checkpoint(fn)(x), not ta.checkpoint(fn(x))." in str(error.value)
    with pytest.raises(errors.DTypeError) as error:
        ta.checkpoint(lambda x: "text")(x)
    assert str(error.value).startswith("[tensor] the data must be numbers")
    with pytest.raises(ZeroDivisionError):
        ta.checkpoint(lambda x: 1 / 0)(x)
    assert ta.checkpoint(ta.tanh)(x).op.name == "output"  # an error leaves nothing behind


def test_pictures_show_it_open():
    with ta.scope("block"):
        y = ta.checkpoint(lambda x: ta.tanh(x) * 2)(ta.tensor(numbers(3), name="x"))
    dot = str(ta.viz.draw(y))
    assert "checkpoint" in dot and "tanh" in dot and "after" in dot
    assert dot == str(ta.viz.draw(y))


def build(recipe, borders, wrap):
    """A recipe cut into pieces at ``borders``; each piece maps all values so far to its own."""
    seed, count, steps = recipe
    arrays, weight = data(seed, count)
    leaves = values = [ta.tensor(a) for a in arrays]
    places = sorted({0, len(steps), *(b % (len(steps) + 1) for b in borders)})
    for start, end in zip(places, places[1:], strict=False):

        def piece(*values, start=start, end=end):
            values = list(values)
            for name, first, second, k in steps[start:end]:
                values.append(
                    STEPS[name](Ours(), values[first % len(values)], values[second % len(values)], k)
                )
            return values

        values = wrap(piece)(*values)
    total = values[0]
    for value in values[1:]:
        total = total + value
    loss = (total * ta.tensor(weight)).sum()
    return [values[-1], loss, *ta.grad(loss, leaves)]


@given(recipes, st.lists(st.integers(0, 100), max_size=3))
@settings(PROFILE, max_examples=40)
def test_random_graphs_with_random_borders(recipe, borders):
    right = build(recipe, borders, plain)
    expected = agree(right, 100.0, str(recipe))
    found = agree(build(recipe, borders, ta.checkpoint), 100.0, str(recipe))
    for mine, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-9, atol=1e-9 * max(1.0, np.abs(theirs).max()))


def test_the_example_of_the_readme():
    def peak(wrap):
        h = x = ta.parameter(np.ones((256, 64), np.float32))
        for _ in range(8):
            h = wrap(lambda h: h + ta.tanh(ta.softmax(h) * ta.exp(-h)))(h)
        program = ta.Program([h.sum(), ta.grad(h.sum(), x)])
        return program.peak_bytes

    found = [round(peak(wrap) / 1e6, 1) for wrap in (plain, ta.checkpoint)]
    text = (Path(__file__).parents[2] / "README.md").read_text()
    assert f"# {found[0]} MB, {found[1]} MB" in text and found[1] < 0.4 * found[0]
