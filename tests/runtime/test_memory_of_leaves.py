"""The memory of a Tensor is its own: what a user does to an array that he gave or got changes no Tensor, and no Tensor
writes into his arrays.
"""

import subprocess
import sys

import numpy as np
import pytest

import tinyattn as ta

SIZES = [1, 64, 65, 1000]
KINDS = [np.float32, np.float64, np.int32, np.int64, np.bool_]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kind", KINDS)
def test_a_tensor_copies_what_it_is_made_of(size, kind):
    array = np.ones(size, kind)
    x = ta.tensor(array)
    total = x.sum()
    assert float(total) == size
    array[:] = 0
    assert float(total) == float(x.sum()) == float((x * 1).sum()) == size


@pytest.mark.parametrize("size", SIZES)
def test_an_operand_is_copied(size):
    array, x = np.ones(size), ta.tensor(np.zeros(size))
    y = x + array
    array += 1
    np.testing.assert_array_equal(y.numpy(), np.ones(size))

    @ta.function
    def f(x):
        return x + array

    np.testing.assert_array_equal(f(np.zeros(size)), np.full(size, 2.0))
    array += 1  # an array that is closed over is a constant of the trace
    np.testing.assert_array_equal(f(np.zeros(size)), np.full(size, 2.0))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("make", [ta.tensor, ta.parameter])
def test_an_update_writes_into_no_array_of_the_user(size, make):
    array = np.ones(size, np.float32)
    x = make(array)
    x.assign(np.full(size, 2, np.float32))
    ta.function(lambda: ta.assign(x, x + 1))()
    assert (array == 1).all() and (x.numpy() == 3).all()
    given = np.full(size, 5, np.float32)
    x.assign(given)
    given[:] = 0
    assert (x.numpy() == 5).all()


@pytest.mark.parametrize("size", SIZES)
def test_what_is_got_from_a_tensor_is_a_copy(size):
    x = ta.tensor(np.ones(size, np.float32))
    y, step = x * 2, ta.function(lambda v: (v, x, x * 2, v + 0))
    for get in (
        lambda: [x.numpy(), np.asarray(x), *ta.evaluate([x])],
        lambda: [y.numpy(), np.asarray(y), *ta.evaluate([y, y])],
        lambda: step(np.ones(size, np.float32)),
        lambda: step(x),
    ):
        before = [a.copy() for a in get()]
        for array in get():
            array[...] = 7
        assert all(map(np.array_equal, get(), before))
    assert (x.numpy() == 1).all() and (y.numpy() == 2).all()


def test_a_view_and_a_transpose_are_copied():
    array = np.arange(200.0).reshape(10, 20)
    for view in (array.T, array[::2], array[:, ::-1]):
        x, right = ta.tensor(view), view.copy()
        array[0, 0] += 1
        np.testing.assert_array_equal(x.numpy(), right)
        array[0, 0] -= 1


def test_states_are_copies():
    model = ta.nn.Linear(9, 9)
    optimizer = ta.optim.Adam(model.parameters())
    optimizer.minimize(model(np.ones((2, 9), np.float32)).sum())
    for holder in (model, optimizer):
        right, state = holder.state_dict(), holder.state_dict()
        for array in state.values():
            array[...] = 3
        assert all(
            np.array_equal(a, b) for a, b in zip(holder.state_dict().values(), right.values(), strict=True)
        )
        holder.load_state_dict(state)
        for array in state.values():
            array[...] = 4
        assert all((a == 3).all() for a in holder.state_dict().values())


_READ_ONLY = """
import numpy as np, tinyattn as ta
fixed = np.ones(1000, np.float32)
fixed.flags.writeable = False
np.save("{0}", fixed)
mapped = np.load("{0}", mmap_mode="r")
for array in (fixed, mapped, np.broadcast_to(np.float32(1), (1000,))):
    x = ta.tensor(array)
    ta.function(lambda: ta.assign(x, x + 1))()
    print(float(array.sum()), float(x.sum()))
"""


def test_read_only_arrays_and_memory_maps_stay_as_they_are(tmp_path):
    code = _READ_ONLY.format(tmp_path / "ones.npy")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=200)
    assert done.stdout.split("\n")[:3] == ["1000.0 2000.0"] * 3, (done.returncode, done.stderr[-2000:])


def test_assigning_what_is_no_number_is_refused():
    with pytest.raises(
        ta.DTypeError, match=r"\[assign\] the value must be made of numbers, but got an array of <U1"
    ):
        ta.tensor(np.ones(1)).assign(["a"])
