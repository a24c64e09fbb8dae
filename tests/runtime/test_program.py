"""Programs: updates of leaves, memory, threads, and the NaN microscope."""

import gc
import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from engine import first_line, scribble

import tinyattn as ta
from tinyattn import errors
from tinyattn.graph.leaf import placeholder
from tinyattn.graph.types import Type
from tinyattn.runtime import threads

ROOT = Path(__file__).parents[2]


def numbers(*shape, seed=0, dtype=np.float64):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


# Updates.


def momentum(x, w, m):
    """A step of gradient descent with momentum on a least-squares loss."""
    loss = ((x @ w - 1) ** 2).mean()
    new_m = 0.9 * m + ta.grad(loss, w)
    ta.assign(w, w - 0.1 * new_m)
    ta.assign(m, new_m)
    return loss


def test_updates_read_what_was_before_the_step():
    x, start = numbers(8, 3), numbers(3, seed=1)
    w, m = ta.parameter(start, name="w"), ta.tensor(np.zeros(3), name="m")
    step = ta.function(lambda x: momentum(x, w, m))
    expected_w, expected_m = start.copy(), np.zeros(3)
    for _ in range(5):
        residual = x @ expected_w - 1
        loss = step(x)
        np.testing.assert_allclose(loss, (residual**2).mean())
        expected_m = 0.9 * expected_m + 2 * x.T @ residual / 8
        expected_w = expected_w - 0.1 * expected_m
        np.testing.assert_allclose(w.numpy(), expected_w)
        np.testing.assert_allclose(m.numpy(), expected_m)
    assert w.storage.version == m.storage.version >= 5


def test_leaves_can_change_places():
    a, b = ta.tensor(np.ones(3)), ta.tensor(np.full(3, 2.0))

    @ta.function
    def swap():
        ta.assign(a, b)
        ta.assign(b, a)
        return a - b

    for _ in range(3):
        before = a.numpy().copy(), b.numpy().copy()
        np.testing.assert_array_equal(swap(), before[0] - before[1])
        np.testing.assert_array_equal(a.numpy(), before[1])
        np.testing.assert_array_equal(b.numpy(), before[0])


def test_outputs_beside_updates_have_the_values_from_before():
    w, n = ta.parameter(numbers(4)), ta.tensor(np.zeros((), np.int64))

    @ta.function
    def step():
        new = w * 2
        ta.assign(w, new)
        ta.assign(n, n + 1)
        return w, new, w.T + 0, (w + 1).sum(), n

    before = w.numpy().copy()
    same, new, copied, total, count = step()
    np.testing.assert_array_equal(same, before)
    np.testing.assert_array_equal(new, 2 * before)
    np.testing.assert_array_equal(copied, before)
    np.testing.assert_allclose(total, (before + 1).sum())
    np.testing.assert_array_equal(w.numpy(), 2 * before)
    assert count == 0 and n.item() == 1
    new[:] = 0  # what a step returns is the caller's own
    np.testing.assert_array_equal(w.numpy(), 2 * before)


def test_updates_by_transposes_of_themselves():
    w = ta.tensor(numbers(3, 3))
    before = w.numpy().copy()
    ta.function(lambda: ta.assign(w, w.T))()
    np.testing.assert_array_equal(w.numpy(), before.T)
    ta.function(lambda: ta.assign(w, w[::-1] + w))()
    np.testing.assert_array_equal(w.numpy(), before.T[::-1] + before.T)


def test_updates_in_loops_over_the_leaf():
    w = ta.tensor(numbers(3))
    before = w.numpy().copy()

    @ta.function
    def step(xs):
        final, _ = ta.scan(lambda c, x: (ta.tanh(c * w + x), None), w, xs)
        ta.assign(w, final)
        return final

    xs = numbers(4, 3)
    expected = before
    for x in xs:
        expected = np.tanh(expected * before + x)
    np.testing.assert_allclose(step(xs), expected)
    np.testing.assert_allclose(w.numpy(), expected)


def test_assigning_outside_of_a_function_is_done_at_once():
    w = ta.tensor(np.ones(2))
    ta.assign(w, w * 3)
    assert w.numpy().tolist() == [3, 3]
    with pytest.raises(errors.ShapeError) as error:
        ta.assign(w, ta.tensor(np.ones(3)))
    assert (
        first_line(error) == "[assign] a leaf of type f64[2] takes a Tensor of its own type, but got f64[3]."
    )


# Memory.


def test_peak_bytes_are_what_the_arena_takes():
    x, w = ta.tensor(numbers(64, 32)), ta.parameter(numbers(32, 32))
    h = x
    for _ in range(6):
        h = ta.tanh(h @ w)
    loss = h.sum()
    program = ta.Program([loss, ta.grad(loss, w)])
    touched = set()
    for row in program.assembly.rows:
        for ref in (*row.reads, *row.writes):
            buffer = ref.buffer.root()
            if buffer.planned:
                touched.add((buffer.offset, buffer.offset + buffer.nbytes))
    # The end of the last buffer, rounded up to a cache line, is the peak: nothing reserved that isn't used.
    assert program.peak_bytes == -(-max(end for _, end in touched) // 64) * 64
    # Memory is shared: six layers forward and backward would take more than this, kept side by side.
    assert program.peak_bytes < program.plan.total
    forward = ta.Program([loss])
    assert forward.peak_bytes <= 3 * 64 * 32 * 8 + 4096


def test_nothing_is_written_outside_of_the_arena():
    x, w = ta.tensor(numbers(9, 5)), ta.parameter(numbers(5, 5))
    final, ys = ta.scan(
        lambda c, xt: (ta.softmax(ta.tanh(c @ w + xt)), c.sum()), ta.zeros((5,), np.float64), x
    )
    program = ta.Program([final, ys, *ta.grad((final * final).sum() + ys.sum(), [w, x])])
    expected = program.run()
    # The same program in an arena filled with rubbish gives the same bits: it reads nothing that it didn't write.
    for rubbish in (0xFF, 0x7F):
        scribble(rubbish)
        for found, right in zip(program.run(), expected, strict=True):
            assert np.array_equal(found, right)


# Threads.

_STEP = """
import sys, hashlib, numpy as np, tinyattn as ta
ta.set_num_threads(int(sys.argv[1]))
rng = np.random.default_rng(0)
x, w, v = (ta.tensor(rng.standard_normal(s).astype(np.float32)) for s in ((6, 64, 96), (96, 96), (96, 700)))
ta.manual_seed(1)

@ta.function
def step():
    h, hs = ta.scan(lambda h, xt: (ta.tanh(xt + h @ w), h), ta.zeros((64, 96)), x)
    scores = ta.dropout(h, 0.3) @ v
    loss = ta.cross_entropy(scores, np.arange(64) * 7) + (ta.softmax(hs) ** 2).sum()
    return loss, *ta.grad(loss, [x, w, v]), x.sum(0), ta.cumsum(x, 0), ta.exp(x).mean()

digest = hashlib.sha256()
for _ in range(3):
    for value in step():
        digest.update(np.ascontiguousarray(value).tobytes())
print(ta.get_num_threads(), digest.hexdigest())
"""


def _run(code, *arguments, **environment):
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        timeout=200,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.split()


def test_one_two_and_three_threads_give_the_same_bits():
    runs = [_run(_STEP, str(count)) for count in (1, 2, 3)]
    assert [run[0] for run in runs] == ["1", "2", "3"]
    assert len({run[1] for run in runs}) == 1


def test_the_environment_sets_the_number_of_threads():
    code = "import tinyattn as ta; print(ta.get_num_threads())"
    assert _run(code, TINYATTN_NUM_THREADS="3") == ["3"]
    assert _run(code, TINYATTN_NUM_THREADS="", OMP_NUM_THREADS="5,2") == ["5"]
    for odd in ("0", "many", "²", "-3", "", "9" * 30 + ","):
        assert 1 <= int(_run(code, TINYATTN_NUM_THREADS="", OMP_NUM_THREADS=odd)[0]) <= threads.MOST


@pytest.mark.parametrize(
    ("name", "value"),
    [("TINYATTN_NUM_THREADS", v) for v in ("abc", "0", "-2", "2.5", "²", "5000", "9" * 5000)]
    + [("TINYATTN_VECTOR_BYTES", v) for v in ("7", "128", "wide", "0")],
)
def test_environment_variables_that_make_no_sense_are_ignored_in_one_sentence(name, value):
    code = "import tinyattn as ta; print((ta.tensor([1.0, 2.0]) * 2).sum().item())"
    environment = {k: v for k, v in os.environ.items() if not k.endswith("NUM_THREADS")}
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={**environment, "PYTHONPATH": str(ROOT), name: value},
        timeout=200,
    )
    assert done.returncode == 0 and done.stdout == "6.0\n", done.stderr
    (line,) = [line for line in done.stderr.splitlines() if "Warning" in line]
    assert (
        f"${name} must be " in line
        and ", but got " in line
        and line.endswith("; it is ignored.")
        and len(line) < 400
    )


@pytest.mark.parametrize("count", [0, -1, 1.5, 2.0, "2", None, True, 5000, 10**30, np.float32(2)])
def test_set_num_threads_says_what_it_takes(count):
    before = ta.get_num_threads()
    with pytest.raises(errors.ShapeError) as error:
        ta.set_num_threads(count)
    assert (
        first_line(error)
        == f"[set_num_threads] the number of threads must be a whole number from 1 to {threads.MOST}, but got {count!r}."
    )
    assert ta.get_num_threads() == before


def _large():
    x, w = ta.tensor(numbers(200, 200)), ta.tensor(numbers(200, 200, seed=1))
    return ta.Program([ta.tanh(x @ w) @ w, ta.softmax(x), (x * x).sum()])


@pytest.fixture
def two_threads():
    before = ta.get_num_threads()
    ta.set_num_threads(2)
    yield
    ta.set_num_threads(before)


def test_two_python_threads_may_run_programs_at_once(two_threads):
    programs = [_large() for _ in range(4)]
    expected = programs[0].run()
    wrong = []

    def work(program):
        for _ in range(20):
            for found, right in zip(program.run(), expected, strict=True):
                if not np.array_equal(found, right):
                    wrong.append(np.abs(found - right).max())

    workers = [threading.Thread(target=work, args=(p,)) for p in programs]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not wrong


def test_two_python_threads_may_call_one_function_at_once():
    """Calls of one function have memory of their own: each result belongs to its own arguments."""
    step = ta.function(lambda x: ta.tanh(x @ x) + x.sum())
    arrays = [numbers(150, 150, seed=k) for k in range(2)]
    expected = [step(a) for a in arrays]
    start, wrong = threading.Barrier(2), []

    def work(k):
        start.wait()
        for _ in range(60):
            if not np.array_equal(step(arrays[k]), expected[k]):
                wrong.append(k)

    workers = [threading.Thread(target=work, args=(k,)) for k in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not wrong


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
def test_a_forked_child_runs_programs():
    code = """
import os, sys, numpy as np, tinyattn as ta
ta.set_num_threads(2)
x = ta.tensor(np.random.default_rng(0).standard_normal((200, 200)))
program = ta.Program([ta.tanh(x @ x), x.sum(0)])
expected = program.run()
child = os.fork()
same = all(np.array_equal(a, b) for a, b in zip(program.run(), expected)) and all(
    np.array_equal(a, b) for a, b in zip(ta.Program([ta.tanh(x @ x), x.sum(0)]).run(), expected))
if child == 0:
    os._exit(0 if same else 1)
_, status = os.waitpid(child, 0)
print(same, os.waitstatus_to_exitcode(status))
"""
    assert _run(code) == ["True", "0"]


# Calls and what surrounds them.


def test_programs_say_how_many_inputs_they_take():
    x = placeholder(Type((2,), np.dtype(np.float64)))
    program = ta.Program([x + 1], [x])
    assert program.run([np.zeros(2)])[0].tolist() == [1, 1]
    for wrong, got in (([], []), ([np.zeros(2)] * 2, [(2,), (2,)]), ([np.zeros(())], [()])):
        with pytest.raises(errors.ShapeError) as error:
            program.run(wrong)
        assert (
            first_line(error) == f"[program] the inputs must be arrays of the shapes [(2,)], but got {got}."
        )
    assert program.run([np.ones(2)])[0].tolist() == [2, 2]


def test_results_do_not_change_when_a_program_runs_again():
    x = placeholder(Type((3,), np.dtype(np.float64)))
    program = ta.Program([x, x * 2, x[::-1]], [x])
    first = program.run([np.ones(3)])
    copies = [v.copy() for v in first]
    program.run([np.zeros(3)])
    assert all(np.array_equal(a, b) for a, b in zip(first, copies, strict=True))


def test_programs_are_freed_with_their_memory():
    before = len(gc.get_objects())
    for _ in range(3):
        ta.Program([ta.tensor(numbers(50, 50)) @ ta.tensor(numbers(50, 50))]).run()
    gc.collect()
    assert len(gc.get_objects()) < before + 20_000


def test_the_summary_names_kernels_and_memory():
    x = ta.tensor(numbers(8, 8))
    text = ta.Program([ta.softmax(x @ x)]).summary()
    assert "peak" in text.lower() and "softmax" in text


def test_a_value_read_in_two_ways_is_not_overwritten():
    """x − xᵀ, where x is made in the program and dies there: one of its two readers doesn't go along with the result."""
    x = ta.tensor(np.arange(4096.0).reshape(64, 64))
    y = ta.sqrt(x)
    right = np.sqrt(x.numpy())
    np.testing.assert_allclose((y - y.T).numpy(), right - right.T, rtol=0, atol=1e-13)


@pytest.mark.parametrize("name", ["sum", "max", "prod"])
def test_planes_of_images_are_reduced_without_a_copy(name):
    x = np.random.default_rng(5).normal(0, 1, (3, 4, 5, 7))
    program = ta.Program([getattr(ta, name)(ta.tensor(x), axis=(0, 2, 3))])
    assert "copy.strided" not in {row.kernel for row in program.assembly.rows}
    np.testing.assert_allclose(program.run()[0], getattr(np, name)(x, axis=(0, 2, 3)), rtol=1e-12)


def test_squares_of_a_transposed_matrix_are_summed_without_a_copy():
    x = numbers(30, 40)
    program = ta.Program([(ta.tensor(x).T ** 2).sum()])
    assert {row.kernel for row in program.assembly.rows} == {"reduce.rows"}
    np.testing.assert_allclose(program.run()[0], (x * x).sum(), rtol=1e-14)


def test_a_program_that_nobody_has_leaves_nothing_behind():
    """Fused bodies know the graph they come from, so what remembers bodies would keep leaves and their arrays."""

    def alive():
        gc.collect()
        return sum(type(x) is ta.Tensor for x in gc.get_objects())  # (isinstance would ask dead proxies)

    def run(size):
        x = ta.tensor(np.full(size, 0.5, np.float32))
        ta.Program([ta.grad((ta.tanh(x) * 2 + x).sum(), x)]).run()

    run(3)
    before = alive()
    for size in range(4, 9):
        run(size)
    assert alive() <= before
