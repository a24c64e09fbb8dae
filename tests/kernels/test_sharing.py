"""Kernels shared between threads: whichever thread does which tile, no bit of a value or a derivative changes.

Here every kernel of two tiles or more is shared, however short it is. The samples of the op table are small, and most
kernels have one tile for them; so ``LARGE`` has a call for each kernel that is large enough, and a test says so.
"""

import ast
from pathlib import Path

import numpy as np
import pytest
from engine import equal, scribble
from op_sample import FLOATS, gradients
from op_table import ROWS

import tinyattn as ta
from tinyattn.graph.point import flags, integers, real
from tinyattn.kernels import MAX_TILES
from tinyattn.runtime import assemble, lower, reference
from tinyattn.runtime.threads import STRETCH, pool

KERNELS = Path(ta.__file__).parent / "kernels"

LARGE = [
    (lambda a, b: [a @ b], [integers(1 << 40, 2, 70, 300), integers(1 << 40, 300, 90)]),
    (lambda x: [ta.tanh(x) * x, x.T * 2.0], [real(130, 165)]),
    (lambda a, b: [ta.concat([a, b], 1)], [real(300, 40), real(300, 41)]),
    (lambda x: [ta.sum(x, 1), ta.argmax(x, 1), ta.argmin(x, 1), ta.cumsum(x, 1)], [real(100, 300)]),
    (lambda x: [ta.sort(x, 1), ta.topk(x, 3)[0]], [real(100, 300)]),
    (lambda x: [ta.sum(x, 0), ta.cumsum(x, 0), ta.max(x, 0)], [real(3, 1100)]),
    (lambda a, b: [a @ b], [real(300, 70), real(70, 290)]),
    (lambda a, b: [a @ b], [real(8, 70, 70), real(8, 70, 70)]),
    (lambda a, b: [a @ b], [real(500, 300), real(300)]),
    (lambda a, b: [ta.add(a @ b.T, 1.0)], [real(2, 300), real(3000, 300)]),
    (lambda h, xs, w: list(ta.scan(lambda h, x: (ta.tanh(x + (h * 0.05) @ w.T), h), h, xs)),
     [real(12, 300), real(3, 12, 300), real(300, 300)]),
    (lambda x, i: [ta.take(x, i)], [real(70), integers(70, 40_000)]),
    (lambda table, i: [ta.embedding(table, i)], [real(600, 170), integers(600, 900)]),
    (lambda x, m: [ta.softmax(x), ta.softmax(x, mask=m), ta.log_softmax(x)], [real(70, 65), flags(70, 65)]),
    (lambda x, t: [ta.cross_entropy_rows(x, t, label_smoothing=0.1)], [real(70, 65), integers(65, 70)]),
    (lambda h, w, t: [ta.linear_cross_entropy(h, w, t)], [real(70, 33), real(65, 33), integers(65, 70)]),
    (lambda x, w, b: [ta.layer_norm(x, 70, w, b), ta.rms_norm(x, 70, w)], [real(600, 70), real(70), real(70)]),
    (lambda x, w, b: [ta.batch_norm(x, None, None, w, b, training=True)[0]], [real(3, 40, 90), real(40), real(40)]),
    (lambda x: [ta.gelu(x), ta.gelu(x, approximate="tanh")], [real(130, 65)]),
    (lambda x: [ta.maxout(x)], [real(300, 120)]),
    (lambda x, h, c, a, b: [*ta.lstm_cell(x, (h, c), a, b)],
     [real(20, 30), real(20, 150), real(20, 150), real(600, 30), real(600, 150)]),
    (lambda x, h, a, b: [ta.gru_cell(x, h, a, b), ta.gru_cell(x, h, a, b, reset_after=False)],
     [real(20, 30), real(20, 150), real(450, 30), real(450, 150)]),
    (lambda x: [ta.max_pool2d(x, 3), ta.avg_pool2d(x, 3, 2, 1)], [real(5, 8, 30, 31)]),
    (lambda x, w: [ta.conv2d(x, w, padding=1)], [real(4, 20, 30, 31), real(24, 20, 3, 3)]),
    (lambda x, w: [ta.conv_transpose2d(x, w, stride=2)], [real(4, 20, 15, 16), real(20, 24, 4, 4)]),
    (lambda x: [ta.attention(x, x, x, is_causal=True)], [real(3, 150, 9)]),
    (lambda q, k, m: [ta.attention(q, k, k, m, is_causal=True)], [real(2, 150, 9), real(2, 600, 9), real(150, 600)]),
    (lambda x: list(ta.attention(x, x, x, return_weights=True)), [real(3, 150, 9)]),
    (lambda q, k, v, m: [ta.attention(q, k, v, m, dropout_p=0.2)],
     [real(2, 70, 9), real(2, 600, 9), real(2, 600, 5), flags(70, 600)]),
    (lambda q, k, w, u, v: [ta.additive_score(q, k, w, u, v)],
     [real(3, 12, 20), real(3, 50, 20), real(70, 20), real(70, 20), real(70)]),
    (lambda m, w, e, a: [ta.memory_write(m, w, e, a), ta.memory_read(w, m)],
     [real(3, 20, 9), real(3, 2, 20), real(3, 2, 9), real(3, 2, 9)]),
    (lambda p, m, w: [ta.memory_address(p, m, w)], [real(3, 2, 15), real(3, 20, 9), real(3, 2, 20)]),
    (lambda x: [ta.dropout(x, 0.3), ta.random_uniform((9000,)) * x[0, 0]], [real(130, 65)]),
    (lambda x: [ta.full((200, 200), 0.5, x.dtype) + x[0]], [real(130, 200)]),
]  # fmt: skip
"""(outputs, inputs)"""


def _arrays(inputs, dtype):
    rng = np.random.default_rng(0)
    return [spec.array(rng, dtype) for spec in inputs]


def _with_gradients(call, inputs, dtype):
    leaves = [ta.tensor(a) for a in _arrays(inputs, dtype)]
    results = call(*leaves)
    floats = [y for y in results if y.dtype.kind == "f"]
    moving = [x for x in leaves if x.dtype.kind == "f"]
    rng = np.random.default_rng(1)
    cotangents = [ta.tensor(rng.standard_normal(y.shape).astype(y.dtype)) for y in floats]
    return [*results, *ta.vjp(lambda *_: floats, moving, cotangents)[1]]


@pytest.fixture
def shared(monkeypatch):
    """All kernels are shared; gives the names of those that have several tiles."""
    names, kernel = set(), lower.Emitter.kernel

    def note(emit, name, words, tiles, **more):
        if tiles > 1:
            names.add(name)
        kernel(emit, name, words, tiles, **more)

    monkeypatch.setattr(assemble, "SHARE_ABOVE", -1.0)
    monkeypatch.setattr(lower.Emitter, "kernel", note)
    before = ta.get_num_threads()
    yield names
    ta.set_num_threads(before)
    pool._meeting[STRETCH] = MAX_TILES


def _same_bits(outputs, place):
    """The results of a program, the same for any number of threads, however many tiles they share at once, and whatever is in its
    memory at first."""
    ta.manual_seed(0)
    program = ta.Program(outputs)
    runs = []
    for threads, rubbish, stretch in ((1, 0, MAX_TILES), (2, 0xFF, MAX_TILES), (2, 0x7F, 3), (3, 0xFF, 1)):
        ta.set_num_threads(threads)
        pool._meeting[STRETCH] = stretch
        ta.manual_seed(0)
        scribble(rubbish)
        runs.append(program.run())
    for other in runs[1:]:
        for k, (found, right) in enumerate(zip(other, runs[0], strict=True)):
            assert np.array_equal(found, right, equal_nan=right.dtype.kind == "f"), f"{place}, output {k}"
    return runs[0]


@pytest.mark.parametrize("dtype", FLOATS, ids=["f32", "f64"])
def test_rows_of_the_op_table_have_the_same_bits_for_any_number_of_threads(shared, dtype):
    for row in ROWS:
        outputs = []
        for sample in row.samples:
            results, pulled = gradients(row, sample, dtype)
            outputs += [*results, *pulled]
        _same_bits(outputs, row.name)


@pytest.mark.parametrize("dtype", FLOATS, ids=["f32", "f64"])
def test_large_inputs_are_as_interpreted_with_the_same_bits_for_any_number_of_threads(shared, dtype):
    for call, inputs in LARGE:
        place = str([spec.shape for spec in inputs])
        outputs = _with_gradients(call, inputs, dtype)
        found = _same_bits(outputs, place)
        ta.manual_seed(0)
        for k, (value, right) in enumerate(zip(found, reference.evaluate(outputs), strict=True)):
            equal(value, right, 10.0, f"{place} output {k}")


def _all_kernels():
    """Names of the kernels: public functions that define one of ``(arguments, first, last, scratch)``, or that return what a private
    one makes.
    """
    for path in sorted(KERNELS.glob("*.py")):
        makers = set()
        for node in ast.parse(path.read_text()).body:
            if not isinstance(node, ast.FunctionDef):
                continue
            inner = [n.args.args for n in ast.walk(node) if isinstance(n, ast.FunctionDef)]
            made = ["arguments", "first", "last", "scratch"] in [
                [a.arg for a in names] for names in inner[1:]
            ]
            called = {
                n.func.id for n in ast.walk(node) if isinstance(n, ast.Call) and isinstance(n.func, ast.Name)
            }
            if made or called & makers:
                if node.name.startswith("_"):
                    makers.add(node.name)
                else:
                    yield f"{path.stem}.{node.name}"


def test_every_kernel_is_shared_by_one_of_them(shared):
    for call, inputs in LARGE:
        ta.Program(_with_gradients(call, inputs, np.float32))
    inside = {
        "attention_tile",
        "generate",
        "microbenchmark",
    }  # parts of other kernels, and measurements of the machine
    missing = {name for name in _all_kernels() if name.split(".")[0] not in inside} - shared
    assert missing == {"random.bits"}  # the generator's bits as they are: for its own tests
