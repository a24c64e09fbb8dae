"""The border of a program: what is read and written where it lies, what is copied, and whose memory is whose."""

import gc

import numpy as np
import pytest
from engine import first_line

import tinyattn as ta
from tinyattn import errors
from tinyattn.graph.leaf import placeholder
from tinyattn.graph.types import Type
from tinyattn.runtime.arena import Results, arenas


def _reads_and_writes(program, slot):
    """Addresses in the words of a program that its last call bound to an input or an output."""
    return program.idle[-1].bases[1 + slot]


def _bits(seed, *shape):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def test_inputs_are_read_where_they_are_and_results_are_written_once():
    step = ta.function(lambda x, y: (ta.tanh(x) * y, (x + y).sum(1)))
    x, y = _bits(0, 50, 60), _bits(1, 50, 60)
    program = step.program(x, y)
    assert not [row for row in program.assembly.rows if row.kernel == "copy.strided"]
    first = step(x, y)
    for slot, array in enumerate((x, y, *first)):
        assert _reads_and_writes(program, slot) == array.ctypes.data
    kept = [value.copy() for value in first]
    second = step(y, x)
    assert all(np.array_equal(a, b) for a, b in zip(first, kept, strict=True))
    assert not any(np.shares_memory(a, b) for a in second for b in (x, y, *first))


def test_what_kernels_cannot_read_is_copied():
    step = ta.function(lambda x: x * 2 + 1)
    x = _bits(0, 12, 10)
    raw = np.zeros(12 * 10 * 4 + 1, np.uint8)
    askew = raw[1:].view(np.float32).reshape(12, 10)
    askew[:] = x
    wide = np.zeros((12, 20), np.float32)
    wide[:, ::2] = x
    frozen = x.copy()
    frozen.flags.writeable = False
    right = step(x)
    for given in (askew, wide[:, ::2], np.asfortranarray(x), frozen):
        assert np.array_equal(step(given), right)
        read = _reads_and_writes(step.program(x), 0) == given.ctypes.data
        assert read == (given is frozen)


def test_results_never_share_memory_with_inputs_or_leaves():
    w = ta.tensor(_bits(3, 6, 6))
    step = ta.function(lambda x: [x, x.T, x[1:3], x.reshape(36), x, w, w.T, x + w, x + w, ta.zeros((2,))])
    x = _bits(0, 6, 6)
    results = step(x)
    assert np.array_equal(results[1], x.T) and np.array_equal(results[2], x[1:3])
    for k, value in enumerate(results):
        assert value.flags.c_contiguous and value.flags.writeable
        others = [x, w.storage.array, *results[:k]]
        assert not any(np.shares_memory(value, other) for other in others), k


def test_an_input_in_the_memory_of_a_leaf_that_is_updated_is_read_before():
    w = ta.parameter(_bits(0, 40))

    @ta.function
    def step(x):
        ta.assign(w, w + x)
        return (x * 2).sum()

    before = w.numpy()
    assert step(w) == pytest.approx(2 * before.sum(), rel=1e-5)
    np.testing.assert_allclose(w.numpy(), 2 * before, rtol=1e-6)
    program = step.program(before)
    assert _reads_and_writes(program, 0) != w.storage.array.ctypes.data


def test_results_can_be_written_into_given_arrays():
    step = ta.function(lambda x: {"y": ta.tanh(x), "sums": (x.sum(0), x.sum(1))})
    x = _bits(0, 30, 20)
    right = step(x)
    y, sums = np.empty_like(x), np.empty(30, np.float32)
    found = step(x, out={"y": y, "sums": (None, sums)})
    assert found["y"] is y and found["sums"][1] is sums
    for got, wanted in ((y, right["y"]), (sums, right["sums"][1]), (found["sums"][0], right["sums"][0])):
        assert np.array_equal(got, wanted)
    single = ta.function(lambda x: ta.cumsum(x, 0) + x[::-1])
    wanted = single(x)
    assert single(x, out=x) is x and np.array_equal(x, wanted)  # over what it reads


def test_a_result_may_be_given_the_memory_of_a_leaf_that_is_read_later():
    w = ta.parameter(np.arange(9, dtype=np.float32).reshape(3, 3))
    old = w.numpy().copy()

    @ta.function
    def both(x):
        first = x @ x
        return first, first @ w

    x = np.ones((3, 3), np.float32)
    _, second = both(x, out=(w.storage.array, None))
    assert np.array_equal(second, x @ x @ old)


def test_a_parameter_named_out_is_the_functions_own():
    assert ta.function(lambda x, out: x + out)(np.ones(2), out=np.ones(2)).tolist() == [2, 2]


@pytest.mark.parametrize(
    ("out", "text"),
    [
        (np.zeros(3), "[program] out must be a writable, contiguous array of type f32[4], but got f64[3]."),
        (np.zeros((4, 2), np.float32)[:, 0],
         "[program] out must be a writable, contiguous array of type f32[4], but got one that is read-only, or strided."),
        ([1.0] * 4, "[program] out must be a writable, contiguous array of type f32[4], but got list."),
    ],
)  # fmt: skip
def test_out_says_what_it_takes(out, text):
    with pytest.raises(errors.ShapeError) as error:
        ta.function(lambda x: x * 2)(np.ones(4, np.float32), out=out)
    assert first_line(error) == text
    with pytest.raises(errors.ShapeError, match="out must be a tree of arrays like the one"):
        ta.function(lambda x: (x, x))(np.ones(4, np.float32), out=np.ones(4, np.float32))


def test_programs_of_all_shapes_share_one_arena():
    step = ta.function(lambda x: ta.softmax(ta.tanh(x @ x.T) @ x) @ x.T)
    arenas.idle.clear()
    for size in range(40, 191, 25):
        step(_bits(size, size, 60))
    assert arenas.nbytes == step.program(_bits(0, 190, 60)).peak_bytes
    assert len(arenas.idle) == 1


def test_threads_that_run_one_program_have_memory_of_their_own():
    step = ta.function(lambda x: ta.tanh(x @ x) + x.sum())
    x = _bits(0, 64, 64)
    program = step.program(x)
    one, two = program.bind([x]), program.bind([x * 2])
    assert one.assembly is not two.assembly and one.arena is not two.arena
    one(), two()
    assert np.array_equal(one.results[0], step(x)) and np.array_equal(two.results[0], step(x * 2))
    one.end(), two.end()


def test_a_call_that_failed_keeps_its_memory_to_itself():
    x = placeholder(Type((2,), np.dtype(np.int64)))
    program = ta.Program([ta.tensor([5.0, 6.0, 7.0, 8.0])[x]], [x])
    bad = program.bind([np.array([0, 9])])
    for _ in range(2):
        with pytest.raises(errors.ShapeError):
            bad()
    assert not program.idle
    one, two = program.bind([np.array([1, 1])]), program.bind([np.array([2, 2])])
    two(), one()
    assert one.results[0].tolist() == [6, 6] and two.results[0].tolist() == [7, 7]
    with pytest.raises(errors.ShapeError):
        program.run([np.array([0, 9])])
    assert len(program.idle) == 1, "run gives the memory back"


def test_numpy_scalars_are_inputs_too():
    inputs = [placeholder(Type((), np.dtype(np.int64))), placeholder(Type((3,), np.dtype(np.float32)))]
    for _ in range(20):
        (found,) = ta.Program([inputs[0] + inputs[1]], inputs).run([np.int64(7), np.ones(3, np.float32)])
        assert found.tolist() == [8, 8, 8]


# The memory of results.


def test_memory_of_results_that_nobody_has_is_used_again():
    step = ta.function(lambda x: x * 2 + 1)
    x = _bits(0, 500, 600)
    places = set()
    for _ in range(10):
        y = step(x)
        places.add(y.ctypes.data)
    assert len(places) == 2 and np.array_equal(y, x * 2 + 1)
    assert y.flags.writeable and y.flags.c_contiguous and y.ctypes.data % 64 == 0


@pytest.mark.parametrize(
    "look",
    [
        lambda y: y[3:5],
        lambda y: y.T[2:][:, ::3],
        lambda y: y.view(np.int32)[0],
        lambda y: memoryview(y),
        lambda y: np.asarray(memoryview(y)),
        lambda y: np.frombuffer(y, np.uint8)[7:],
        lambda y: np.lib.stride_tricks.as_strided(y, (3,), (4,)),
        lambda y: y.ravel().reshape(10, -1)[2:4],
        lambda y: next(iter(y)),
        lambda y: y.flat,
        lambda y: y.view(np.matrix)[0],
        lambda y: np.from_dlpack(y)[1:],
    ],
)  # fmt: skip
def test_memory_is_kept_while_anything_looks_at_it(look):
    step = ta.function(lambda x: x * 2 + 1)
    x = _bits(0, 500, 600)
    y = step(x)
    place = y.ctypes.data
    right = np.array(look(y)).copy()
    seen = look(y)
    del y
    gc.collect()
    others = [step(-x) for _ in range(4)]
    assert place not in {other.ctypes.data for other in others}
    assert np.array_equal(np.array(seen), right)


def test_idle_memory_has_a_bound(monkeypatch):
    results = Results()
    monkeypatch.setattr(results, "LARGEST", 3 << 20)
    held = [results.array((1 << 20,), np.dtype(np.uint8)) for _ in range(8)]
    del held
    assert sum(map(len, results._idle)) == 3 << 20
    assert results.array((4 << 20,), np.dtype(np.uint8)).base is None  # too large to be kept
    small = results.array((600_000,), np.dtype(np.uint8))  # a block much larger than needed isn't taken
    assert len(small.base) == 600_000
