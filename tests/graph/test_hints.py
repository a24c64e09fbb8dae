"""What users of PyTorch, JAX and NumPy write by habit: it works, or one sentence says what it is here."""

import operator
import re

import numpy as np
import pytest

import tinyattn as ta
import tinyattn.api
from tinyattn.errors import DTypeError, ShapeError, TinyattnError

x = ta.tensor(np.arange(24, dtype=np.float32).reshape(2, 3, 4))
w = ta.parameter(np.ones(3, np.float32), name="w")
logits = ta.tensor(np.ones((4, 3), np.float32))
loss = ta.tensor(np.float32(1.23456))
adam = ta.optim.Adam([w])
linear = ta.nn.Linear(3, 3)

HABITS = [
    ("x.cuda()", "leave it out"),
    ("x.to('cpu')", "x.astype(dtype)"),
    ("x.detach()", "ta.stop_gradient(x)"),
    ("x.clone()", "never changes"),
    ("x.requires_grad", "ta.parameter"),
    ("x.contiguous()", "leave it out"),
    ("x.view(6, 4)", "x.reshape(...)"),
    ("x.exp()", "ta.exp(x)"),
    ("x.log_softmax(-1)", "ta.log_softmax(x)"),
    ("x.reshap(6, 4)", "did you mean x.reshape?"),
    ("x.at[0].set(1)", "ta.index_update(x, index, value)"),
    ("x.transpose(1, 2)", "ta.swapaxes(x, 1, 2)"),
    ("x.sum(dim=1)", "Write axis= instead of dim=."),
    ("x.mean(axis=1, keepdim=True)", "Write keepdims= instead of keepdim=."),
    ("ta.softmax(x, dim=-1)", "Write axis= instead of dim=."),
    ("ta.concat([x, x], dim=1)", "Write axis= instead of dim=."),
    ("ta.layer_norm(x, 4, epss=1e-3)", "Write eps= instead of epss=."),
    ("np.tanh(x)", "Use ta.tanh"),
    ("np.absolute(x)", "Use ta.abs"),
    ("np.arctanh(x)", "x.numpy()"),
    ("np.add.reduce(x)", "x.numpy()"),
    ("np.sum(x)", "Use ta.sum"),
    ("np.concatenate([x, x])", "Use ta.concat"),
    ("np.median(x)", "The value of a Tensor is x.numpy()."),
    ("np.fft.fft(x)", "The value of a Tensor is x.numpy()."),
    ("np.histogram(x)", "The value of a Tensor is x.numpy()."),
    ("np.where(x > 1, x, 0)", "Use ta.where"),
    ("np.linalg.norm(x)", "Use ta.norm"),
    ("operator.iadd(np.ones(4, np.float32), x)", "Write a = a + x"),
    ("ta.grad(lambda a: a)", "ta.value_and_grad(fn)(x)"),
    ("ta.grad(lambda a: a, w)", "ta.value_and_grad(fn)(x)"),
    ("ta.grad(loss)", "Write ta.grad(y, x)."),
    ("loss.zero_grad()", "optimizer.minimize(loss)"),
    ("adam.zero_grad()", "optimizer.minimize(loss)"),
    ("adam.step()", "optimizer.minimize(loss)"),
    ("adam.minimise(loss)", "did you mean minimize?"),
    ("linear.zero_grad()", "optimizer.minimize(loss)"),
    ("linear.wieght", "did you mean weight?"),
    ("ta.cross_entropy(logits, np.eye(4, 3, dtype=np.int64))", "targets.argmax(-1)"),
    ("ta.nll_loss(logits, np.eye(4, 3, dtype=np.int64))", "targets.argmax(-1)"),
    ("ta.nn.Parameter", "ta.parameter(array)"),
    ("ta.nn.Linaer", "did you mean ta.nn.Linear?"),
    ("ta.nn.softmax", "ta.softmax(x)"),
    ("ta.Linear(2, 3)", "ta.nn.Linear"),
    ("ta.Adam", "ta.optim.Adam"),
    ("ta.optim.adam", "ta.optim.Adam"),
    ("ta.optim.lr_scheduler", "ta.optim.schedules"),
    ("ta.no_grad()", "leave it out"),
    ("ta.jit", "@ta.function"),
    ("ta.tanhh", "did you mean ta.tanh?"),
    ("f'{x:.2f}'", "x.numpy()"),
    ("round(x, 2)", "x.round()"),
    ("ta.optim.SGD([w], lr='fast')", "lr must be a number or a schedule"),
    ("ta.optim.SGD([w], lr=None)", "lr must be a number or a schedule"),
    ("ta.optim.SGD([w], lr=lambda step: None)", "a schedule must return a number"),
    ("ta.optim.SGD([w], lr=lambda step: ta.ones(2))", "a schedule must return a number"),
]  # fmt: skip


@pytest.mark.parametrize("habit, text", HABITS, ids=lambda value: str(value)[:60])
def test_a_habit_is_told_what_it_is_here(habit, text):
    with pytest.raises((TinyattnError, AttributeError), match=re.escape(text)) as caught:
        eval(habit)
    assert len(str(caught.value).splitlines()) <= 3


@pytest.mark.parametrize("place", ["ta.{}", "x.{}", "ta.nn.{}", "ta.optim.{}", "adam.{}", "linear.{}"])
@pytest.mark.parametrize("name", ["quux", "frobnicate", "zzyzx", "hyperloop", "trilogy", "Wombat", "_hidden"])
def test_nothing_is_suggested_for_an_invented_name(place, name):
    with pytest.raises(AttributeError) as caught:
        eval(place.format(name))
    assert str(caught.value).endswith(f"has no attribute {name!r}")


def test_every_hint_of_the_table_names_what_there_is():
    """Code in a hint exists: each ``ta.a.b`` that is written in the table can be had."""
    from tinyattn.graph.hints import HABITS as table

    texts = [text for place in table.values() for text in place.values()]
    named = {found for text in texts for found in re.findall(r"\bta\.([a-z_A-Z0-9.]*\w)", text)}
    assert len(named) > 30
    for path in named:
        operator.attrgetter(path)(ta)
    assert not [name for name in table["ta"] if name in ta.api.__all__]
    assert not [name for name in table["nn"] if name in ta.nn.__all__]
    for name, here in table["Tensor"].items():
        assert not hasattr(ta.Tensor, name), f"x.{name} exists, and its hint ({here}) is never read"


def test_numbers_are_formatted_and_rounded():
    assert f"{loss:.4f}" == "1.2346" and f"{loss}" == str(loss) == "1.23456"
    assert f"{loss:>8.2f}|{ta.tensor([2.5]):.1f}|{ta.tensor(7):03d}" == "    1.23|2.5|007"
    assert round(loss, 3) == 1.235 and isinstance(round(loss, 3), float)
    assert round(loss) == 1 and isinstance(round(loss), int)
    np.testing.assert_array_equal(ta.tensor([1.4, -1.6]).round().numpy(), [1, -2])
    with pytest.raises(TinyattnError, match="only outside of the function"):
        ta.function(lambda a: ta.print(f"{a.sum():.3f}"))(np.ones(3, np.float32))


OPERATORS = [operator.add, operator.sub, operator.mul, operator.truediv, operator.floordiv, operator.mod, operator.pow,
             operator.lt, operator.le, operator.gt, operator.ge, operator.eq, operator.ne]  # fmt: skip


@pytest.mark.parametrize("op", OPERATORS)
@pytest.mark.parametrize(
    "other", [np.array([1.5, 2, -3], np.float32), np.float32(2.5), np.float64(2.5), np.int64(2)]
)
def test_operators_between_arrays_and_tensors_stay_in_the_graph(op, other):
    data = np.array([0.5, 2, 3], np.float32)
    for found, expected in (
        (op(other, ta.tensor(data)), op(other, data)),
        (op(ta.tensor(data), other), op(data, other)),
    ):
        assert isinstance(found, ta.Tensor)
        np.testing.assert_allclose(found.numpy(), expected, rtol=1e-6)


def test_arrays_multiply_tensors_from_the_left():
    a, b = np.ones((2, 3), np.float32), ta.tensor(np.ones((3, 2), np.float32))
    assert isinstance(a @ b, ta.Tensor) and (a @ b).shape == (2, 2)
    m = np.array([True, False])
    np.testing.assert_array_equal((m & ta.tensor([True, True])).numpy(), m)


def test_numpy_functions_that_only_look_at_values_do():
    np.testing.assert_allclose(x, x.numpy())
    assert np.allclose(x, x) and np.array_equal(x, x) and np.argmax(x) == 23
    assert np.shape(x) == (2, 3, 4) and np.ndim(x) == 3
    assert np.zeros_like(x).shape == (2, 3, 4)
    shapes = []
    ta.function(lambda a: shapes.append((np.shape(a), np.ndim(a))))(np.ones((2, 3), np.float32))
    assert shapes == [((2, 3), 2)]


SCHEDULES = {
    "hyperbolic": (lambda s: 0.1 / (1 + s), lambda k: 0.1 / (1 + k)),
    "exponential": (lambda s: 0.95**s, lambda k: 0.95**k),
    "number": (lambda s: 0.3, lambda k: 0.3),
    "integer": (lambda s: 1, lambda k: 1),
    "NumPy's number": (lambda s: np.float32(0.25), lambda k: 0.25),
    "where": (lambda s: ta.where(s < 2, 0.5, 0.125), lambda k: 0.5 if k < 2 else 0.125),
    "steps": (lambda s: 0.5 * 0.1 ** (s // 2), lambda k: 0.5 * 0.1 ** (k // 2)),
    "cosine": (lambda s: 0.1 * (1 + ta.cos(s * np.pi / 9)), lambda k: 0.1 * (1 + np.cos(k * np.pi / 9))),
    "warm-up": (lambda s: ta.minimum(0.25, (s + 1) * 0.125), lambda k: min(0.25, (k + 1) * 0.125)),
    "table": (lambda s: ta.tensor(np.array([0.5, 0.2, 0.1, 0.7]))[ta.cast(s, ta.int64)] if k_is_tensor(s) else 0.5,
              lambda k: [0.5, 0.2, 0.1, 0.7][k]),
}  # fmt: skip


def k_is_tensor(step):
    return isinstance(step, ta.Tensor)


@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "compiled"])
@pytest.mark.parametrize("name", SCHEDULES)
def test_schedules_of_users(name, compiled):
    schedule, expected = SCHEDULES[name]
    v = ta.parameter(np.ones(3, np.float32))
    optimizer = ta.optim.SGD([v], lr=schedule)
    step = (
        ta.function(lambda: optimizer.minimize(v.sum())) if compiled else lambda: optimizer.minimize(v.sum())
    )
    now = np.ones(3)
    for k in range(4):
        step()
        now = now - expected(k)
        assert float(optimizer.lr) == pytest.approx(expected(k), rel=1e-12)
        np.testing.assert_allclose(v.numpy(), now, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", ["SGD", "Adam", "AdamW", "RMSprop", "Adadelta", "GravesRMSprop"])
def test_every_optimizer_takes_schedules_of_users(kind):
    ends = []
    for lr in (0.25, lambda s: 0.25, lambda s: 0.25 + 0 * s, lambda s: ta.where(s < 9, 0.25, 1.0)):
        v = ta.parameter(np.array([1.0, -2.0], np.float32))
        optimizer = getattr(ta.optim, kind)([{"params": [v], "lr": lr}], lr=lr)
        step = ta.function(lambda v=v, o=optimizer: o.minimize((v * v).sum()))
        step(), step()
        ends.append(v.numpy())
    for end in ends[1:]:
        np.testing.assert_array_equal(end, ends[0])
    assert (ends[0] != [1, -2]).all()


def test_a_schedule_may_not_choose_by_python_in_a_compiled_step():
    """It would be asked once, and its answer stay for ever."""
    optimizer = ta.optim.SGD([w], lr=lambda s: 0.1 if s < 3 else 0.01)
    with pytest.raises(TinyattnError, match="ta.where"):
        ta.function(lambda: optimizer.minimize(w.sum()))()


def test_a_tensor_of_one_trace_in_another_is_refused():
    kept = []
    data = np.ones(3, np.float32)
    ta.function(lambda a: kept.append(a * 2))(data)
    ta.scan(lambda c, _: (kept.append(c + 1), (c, None))[1], ta.zeros(3), length=2)
    for leaked in kept:
        for use in (
            lambda leaked=leaked: ta.function(lambda a: a + leaked)(data),
            lambda leaked=leaked: (leaked + 1).numpy(),
            lambda leaked=leaked: ta.scan(lambda c, _: (c + leaked, None), ta.zeros(3), length=2)[0].numpy(),
        ):
            with pytest.raises(TinyattnError, match="a Tensor of one must not be used in another") as caught:
                use()
            assert len(str(caught.value).splitlines()) <= 3


class Index:
    """An integer of somebody else."""

    def __index__(self):
        return 2

    def __repr__(self):
        return "Index()"


@pytest.mark.parametrize("two", [2, np.int64(2), np.int32(2), np.uint8(2), np.array(2), Index()], ids=repr)
def test_integers_of_every_kind_count(two):
    assert ta.scan(lambda c, _: (c + 1, c), ta.zeros(()), length=two)[1].shape == (2,)
    assert ta.zeros(two).shape == ta.ones((two,)).shape == (2,)
    assert x.sum(two).shape == (2, 3) and ta.softmax(x, two).shape == x.shape
    assert x.reshape(two, -1).shape == (2, 12) and x[two - 1 if not isinstance(two, Index) else 1].shape == (
        3,
        4,
    )
    assert [part.shape for part in ta.split(x, two)] == [(1, 3, 4)] * 2
    assert ta.roll(x, two, 1).shape == x.shape and ta.pad(logits, ((two, 0), (0, 0))).shape == (6, 3)
    assert ta.nn.Linear(two, two).weight.shape == (2, 2) and ta.nn.init.normal((two, 3)).shape == (2, 3)
    assert ta.conv1d(ta.ones((1, 1, 5)), ta.ones((1, 1, 2)), stride=two).shape == (1, 1, 2)
    layer = ta.nn.TransformerEncoderLayer(4, two, 8)
    assert ta.nn.TransformerEncoder(layer, two)(x).shape == x.shape
    assert ta.cumsum(x, two).shape == x.shape and ta.one_hot(np.array([0, 1]), two).shape == (2, 2)


@pytest.mark.parametrize(
    "wrong", [2.0, "2", True, np.float32(2), np.array([2, 2, 2]), np.bool_(True)], ids=repr
)
def test_what_is_no_integer_does_not_count(wrong):
    for use in (
        lambda: ta.scan(lambda c, _: (c + 1, c), ta.zeros(()), length=wrong),
        lambda: ta.softmax(x, wrong),
        lambda: ta.nn.Linear(wrong, 2),
    ):
        with pytest.raises((ShapeError, DTypeError)):
            use()
