"""State and time: what an optimizer trains, what a trace has read, and loops that are saved and go on."""

import numpy as np
import pytest

import tinyattn as ta
from tinyattn import nn


def _f32(*shape):
    return np.linspace(-1, 1, int(np.prod(shape))).reshape(shape).astype(np.float32)


def test_minimize_refuses_a_loss_of_another_model():
    model = nn.Linear(3, 2)
    optimizer = ta.optim.SGD(model.parameters(), lr=0.1)
    twin = model.copy()
    with pytest.raises(ta.TinyattnError, match="another model"):
        optimizer.minimize(twin(ta.tensor(_f32(4, 3))).sum())
    assert int(optimizer.steps) == 0


READS = {
    "if": lambda w: 1.0 if w.sum() > 0 else -1.0,
    "float": lambda w: float(w.sum()),
    "int": lambda w: int(w.sum()),
    "item": lambda w: w.sum().item(),
    "numpy": lambda w: float(w.numpy().sum()),
    "asarray": lambda w: float(np.asarray(w).sum()),
    "tolist": lambda w: sum(w.tolist()),
}


@pytest.mark.parametrize("how", READS)
@pytest.mark.parametrize("inside", ["function", "scan", "checkpoint"])
def test_a_trace_holds_only_for_the_values_it_read(how, inside):
    w, read = ta.parameter(np.full(2, 1.0, np.float32), name="w"), READS[how]

    @ta.function
    def f(x):
        if inside == "scan":
            return ta.scan(lambda c, row: (c + row * read(w), c), x[0] * 0, x)[0]
        if inside == "checkpoint":
            return ta.checkpoint(lambda y: y * read(w))(x)
        return x * read(w)

    x = np.ones((1, 2), np.float32)
    for value in (1.0, -3.0, 2.0):
        w.assign(np.full(2, value, np.float32))
        right = np.sign(value) if how == "if" else 2 * value
        np.testing.assert_array_equal(np.ravel(f(x)), [right, right])


@pytest.mark.parametrize("how", READS)
def test_a_function_may_not_read_what_it_updates(how):
    w, read = ta.parameter(np.ones(2, np.float32), name="w"), READS[how]

    @ta.function
    def f(x):
        ta.assign(w, w + x)
        return x * read(w)

    with pytest.raises(
        ta.TinyattnError, match=r"must not read the value of a leaf that it updates.*reads w"
    ) as e:
        f(np.ones(2, np.float32))
    assert "ta.where" in str(e.value)
    np.testing.assert_array_equal(w.numpy(), [1, 1])


def test_many_retraces_for_a_value_are_named():
    w = ta.parameter(np.ones((), np.float32))
    f = ta.function(lambda x: x * float(w))
    with pytest.warns(RuntimeWarning, match="leaf that it reads"):
        for k in range(10):
            w.assign(np.float32(k))
            f(np.ones(2, np.float32))


def test_the_random_state_can_be_saved_and_set():
    state = ta.random_state()
    first = ta.random_normal((3,)).numpy()
    ta.set_random_state(state)
    np.testing.assert_array_equal(ta.random_normal((3,)).numpy(), first)
    with pytest.raises(ta.ShapeError, match="set_random_state"):
        ta.set_random_state([1, 2, 3])
    with pytest.raises(ta.DTypeError, match="set_random_state"):
        ta.set_random_state(np.zeros(2))


@pytest.mark.parametrize("seed", [2**63, -(2**63) - 1, pytest.param(10**5000, id="long"), 1.5, "1", None])
def test_a_seed_is_an_integer_of_64_bits(seed):
    state = ta.random_state()
    with pytest.raises(
        ta.TinyattnError, match=r"^\[manual_seed\] the seed must be an integer from -2\*\*63 to 2\*\*63 - 1"
    ):
        ta.manual_seed(seed)
    np.testing.assert_array_equal(ta.random_state(), state)
    ta.manual_seed(np.int64(2**63 - 1))
    assert ta.random_state().tolist() == [2**63 - 1, 0]


OPTIMIZERS = [
    name
    for name, kind in vars(ta.optim).items()
    if isinstance(kind, type) and issubclass(kind, ta.optim.Optimizer) and kind is not ta.optim.Optimizer
]


def _loop(name):
    model = nn.Sequential(nn.Linear(3, 4), nn.Dropout(0.5), nn.Linear(4, 1))
    optimizer = getattr(ta.optim, name)(model.parameters(), lr=1e-2)

    @ta.function
    def step(x):
        loss = ta.square(model(x)).mean()
        optimizer.minimize(loss)
        return loss

    return model, optimizer, step


@pytest.mark.parametrize("several", [False, True])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_loop_goes_on_bit_for_bit(name, several, tmp_path):
    path, x = tmp_path / "loop.safetensors", _f32(5, 3)
    model, optimizer, step = _loop(name)
    for _ in range(3):
        step(x)
    ta.save(path, model, [optimizer] if several else optimizer)
    losses = [step(x) for _ in range(3)]
    ta.manual_seed(99)
    other, its, again = _loop(name)
    again(x)
    ta.load(path, other, [its] if several else its)
    assert [again(x) for _ in range(3)] == losses
    for key, array in model.state_dict().items():
        np.testing.assert_array_equal(other.state_dict()[key], array)


def test_what_cannot_be_loaded_changes_nothing(tmp_path):
    path = tmp_path / "loop.safetensors"
    model, optimizer, step = _loop("Adam")
    ta.save(path, model)
    step(_f32(5, 3))
    other = nn.Linear(3, 4)
    before, random = {**model.state_dict(), **optimizer.state_dict()}, ta.random_state()

    def refused(*given):
        with pytest.raises(ta.CheckpointError):
            ta.load(*given)
        for key, array in {**model.state_dict(), **optimizer.state_dict()}.items():
            np.testing.assert_array_equal(array, before[key])
        np.testing.assert_array_equal(ta.random_state(), random)

    refused(path, model, optimizer)  # it was saved without
    refused(tmp_path / "none", model)
    content = bytearray(path.read_bytes())
    content[-9] ^= 1
    (tmp_path / "damaged").write_bytes(content)
    refused(tmp_path / "damaged", model)
    ta.save(path, other)
    refused(path, model)
    with pytest.raises(ta.TinyattnError, match="module"):
        ta.save(path, optimizer)


def test_a_function_sees_its_model_in_another_type():
    model = nn.Linear(3, 2)
    optimizer = ta.optim.SGD(model.parameters(), lr=0.1)
    forward = ta.function(lambda x: model(x))
    step = ta.function(lambda x: optimizer.minimize(model(x).sum()))
    x = _f32(4, 3)
    before = forward(x)
    step(x)
    model.to(np.float64)
    weight = model.weight.numpy()
    step(x)
    np.testing.assert_allclose(model.weight.numpy(), weight - 0.1 * x.sum(0, dtype=np.float64), rtol=1e-12)
    found = forward(x)
    assert found.dtype == np.float64 and not np.allclose(found, before)
    np.testing.assert_array_equal(found, model(ta.tensor(x)).numpy())
    assert forward.graph(x) is forward.graph(x)


# Values beside the way.


def test_a_gradient_by_what_lies_beside_the_way_is_refused():
    q, v = ta.tensor(np.ones((1, 3, 4), np.float32)), ta.tensor(np.ones((1, 3, 2), np.float32))
    out, weights = ta.attention(q, q, v), ta.softmax(ta.scaled_dot_score(q, q))
    with pytest.raises(ta.TinyattnError, match="lies beside the way to it"):
        ta.grad(out.sum(), weights)
    right = ta.grad((weights @ v).sum(), weights)  # from the weights it has one
    np.testing.assert_allclose(right.numpy(), np.full((1, 3, 3), 2.0), rtol=1e-6)
    np.testing.assert_array_equal(ta.grad(out.sum(), ta.tensor([1.0])).numpy(), [0])  # a leaf's is zero


def test_a_gradient_by_what_counts_as_a_constant_is_zero():
    w = ta.parameter([2.0, 3.0])
    x = w * 2
    for below in (ta.stop_gradient(x), ta.floor(x), ta.cast(x, np.int32), ta.one_hot(ta.argmax(x), 2)):
        y = (w * below).sum()
        np.testing.assert_array_equal(ta.grad(y, x).numpy(), [0, 0])
        dw, dx = ta.grad(y, [w, x])
        np.testing.assert_array_equal(dw.numpy(), below.numpy())
        np.testing.assert_array_equal(dx.numpy(), [0, 0])
    with pytest.raises(ta.TinyattnError, match="lies beside the way to it"):
        ta.grad((w * ta.stop_gradient(w)).sum(), x)


def test_second_derivatives_of_linear_functions_are_zero():
    w, x = ta.parameter([2.0, 3.0]), ta.tensor([1.0, 4.0])
    inside = x * 2
    slope = ta.grad((w * inside).sum(), inside)
    np.testing.assert_array_equal(ta.grad((slope * slope).sum(), inside).numpy(), [0, 0])
