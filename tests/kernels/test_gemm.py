"""Matrix products of every shape, layout and epilogue against NumPy in float64."""

import hashlib
import itertools
import os
import re
import subprocess
import sys

import numpy as np
import pytest
from kernel_call import TYPES, real_bits, run, shuffled
from numba import config

from tinyattn.kernels.build import native
from tinyattn.kernels.calls import gemm_plan
from tinyattn.kernels.language import processor

PURE = bool(config.DISABLE_JIT)  # plain Python: some thousand times slower
ROWS = (1, 2, 3, 5, 14, 15, 33) if not PURE else (1, 2, 5)
COLUMNS = (1, 2, 16, 20, 33, 100, 140) if not PURE else (1, 2, 33)
DEPTHS = (0, 1, 2, 31, 32, 50, 300) if not PURE else (0, 1, 17)


def stacked(array):
    """With exactly two batch dimensions."""
    return array.reshape((1,) * (4 - array.ndim) + array.shape) if array.ndim < 4 else array


def sizes(words):
    return tuple(words[name] for name in ("rows", "columns", "inner", "inner_matrices"))


def strides(array):
    return [stride // array.itemsize for stride in array.strides]


def product(a, b, c, dtype, d=None, alpha=1.0, function=None, reuse=1, change=None, order=None):
    """Fill ``c`` with f(α a b + d) as the plan says; ``change`` replaces some of its words."""
    a, b, c = stacked(a), stacked(b), stacked(c)
    batch, (m, n), k = c.shape[:2], c.shape[2:], a.shape[3]
    a, b = np.broadcast_to(a, (*batch, m, k)), np.broadcast_to(b, (*batch, k, n))
    if d is not None:
        d = np.broadcast_to(d, c.shape)
    added = None if d is None else strides(d)
    plan = gemm_plan.plan(m, n, k, strides(a), strides(b), strides(c), dtype, added, batch, reuse)
    operands = {"a": a, "b": b, "c": c, "d": d}
    if plan.pack:
        packed = np.full(plan.pack.size // c.itemsize + 16, np.nan, c.dtype)
        packed = packed[-packed.ctypes.data % 64 // c.itemsize :]
        other = "a" if plan.swapped else "b"
        words = plan.pack.words | {"source": operands[other], "target": packed}
        run(plan.pack.kernel, dtype, words, plan.pack.tiles, order and shuffled(plan.pack.tiles))
        operands[other] = packed
    arrays = (0 if x is None else x for x in operands.values())
    words = plan.call(*arrays, real_bits(alpha, dtype), native.address(function, dtype) if function else 0)
    words |= change or {}
    tiles = -(-words["units"] // words["group"])
    assert change or tiles == plan.tiles
    run(plan.kernel, dtype, words, tiles, order and shuffled(tiles))
    return plan


def operands(m, n, k, dtype, layout="NN", batch=(), seed=0):
    """Random a and b. T in the layout: the transpose is stored; S: every second number is used."""
    rng, result = np.random.default_rng((m, n, k, seed)), []
    for rows, columns, kind in ((m, k, layout[0]), (k, n, layout[1])):
        if kind == "T":
            x = rng.standard_normal((*batch, columns, rows)).swapaxes(-1, -2)
        elif kind == "S":
            x = rng.standard_normal((*batch, 2 * rows, 2 * columns))[..., ::2, ::2]
        else:
            x = rng.standard_normal((*batch, rows, columns))
        result.append(x)
    # astype keeps the order of axes in memory, but not gaps.
    return [
        x.astype(TYPES[dtype]) if kind != "S" else _spaced(x, dtype)
        for x, kind in zip(result, layout, strict=True)
    ]


def _spaced(x, dtype):
    wide = np.full((*x.shape[:-2], 2 * x.shape[-2], 2 * x.shape[-1]), np.nan, TYPES[dtype])
    wide[..., ::2, ::2] = x
    return wide[..., ::2, ::2]


def expected(a, b, d=0.0, alpha=1.0):
    return alpha * np.matmul(a.astype(np.float64), b.astype(np.float64)) + d


def close(c, reference, dtype, k):
    """Whether the error is that of k roundings at random."""
    tolerance = {"f32": 1e-6, "f64": 2e-15}[dtype] * (k + 4) ** 0.5
    return np.allclose(c, reference, rtol=tolerance, atol=4 * tolerance)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("layout", ["NN", "NT", "TN", "TT", "SS"])
def test_shapes_and_layouts(layout, dtype):
    kernels = set()
    for m, n, k in itertools.product(ROWS, COLUMNS, DEPTHS):
        a, b = operands(m, n, k, dtype, layout)
        c = np.full((m, n), np.nan, TYPES[dtype])
        plan = product(a, b, c, dtype)
        assert close(c, expected(a, b), dtype, k), (m, n, k)
        kernels.add((plan.kernel, plan.words["copied"]))
    wanted = {"NN": {("gemm.multiply", 0)}, "NT": {("gemm.multiply", 1), ("gemm.dot", 0)}}
    assert wanted.get(layout, set()) <= kernels  # the plans go where this test thinks they go


@pytest.mark.parametrize("shape", [(0, 3, 2), (3, 0, 2), (0, 0, 0)])
def test_nothing_to_do(shape):
    m, n, k = shape
    assert product(*operands(m, n, k, "f32"), np.zeros((m, n), np.float32), "f32").tiles == 0


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("layout", ["NT", "SS", "TT"])
def test_packed_once(layout, dtype):
    for m, n, k in [(3, 20, 16), (5, 70, 9), (20, 33, 40)]:
        a, b = operands(m, n, k, dtype, layout)
        c, in_order = np.empty((2, m, n), TYPES[dtype])
        plan = product(a, b, c, dtype, reuse=20, order=True)
        assert plan.pack is not None and plan.words["b_column"] == 1 and plan.words["copied"] == 0
        assert close(c, expected(a, b), dtype, k)
        product(a, b, in_order, dtype)
        assert np.array_equal(c, in_order)


@pytest.mark.skipif(PURE, reason="too slow")
@pytest.mark.parametrize("layout", ["NN", "NT"])
def test_very_wide(layout):
    """What a tile keeps in scratch memory stays within it."""
    a, b = operands(1, 1_000_000, 2, "f64", layout)
    c = np.full((1, 1_000_000), np.nan)
    product(a, b, c, "f64")
    assert close(c, expected(a, b), "f64", 2)


def test_a_shared_matrix_is_packed_once():
    plan = gemm_plan.plan(3, 5, 4, (24, 0, 4, 1), (0, 20, 1, 4), (60, 15, 5, 1), "f64", None, (6, 7), 2)
    assert plan.pack.size == 7 * 4 * 8 * 8 and plan.words["b_batch"] == (0, 32)


def test_wide_packed_rows_keep_off_one_cache_set():
    plan = gemm_plan.plan(16, 2048, 4, (0, 0, 4, 1), (0, 0, 1, 4), (0, 0, 2048, 1), "f32", reuse=2)
    assert plan.pack.words["target_row"] == 2048 + 16


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("layout", ["NN", "NT"])
def test_added(layout, dtype):
    m, n, k = (40, 50, 60) if not PURE else (4, 5, 6)
    rng = np.random.default_rng(0)
    for m in (1, m):  # noqa: B020
        a, b = operands(m, n, k, dtype, layout)
        for d in (
            rng.standard_normal(n),
            rng.standard_normal((m, 2 * n))[:, n:],
            rng.standard_normal((1, 1)),
        ):
            d = d.astype(TYPES[dtype])
            if d.shape == (1, 1):
                d = np.broadcast_to(d, (m, n)).copy()
            c = np.full((m, n), np.nan, TYPES[dtype])
            product(a, b, c, dtype, d=d, alpha=-0.375)
            assert close(c, expected(a, b, d, -0.375), dtype, k)
        before = rng.standard_normal((m, n)).astype(TYPES[dtype])
        c = before.copy()
        product(a, b, c, dtype, d=c)
        assert close(c, expected(a, b, before), dtype, k)


@pytest.mark.parametrize("dtype", TYPES)
def test_matrix_times_vector(dtype):
    """One column is made as one row of the transpose, unless C's rows are apart or D is one number."""
    for (m, k), layout in itertools.product([(70, 33), (300, 20)], ["NN", "TN", "SS"]):
        a, b = operands(m, 1, k, dtype, layout)
        d = np.arange(m, dtype=TYPES[dtype])[:, None]
        for added, stride in ((None, 1), (d, 1), (d[:1], 1), (None, 2), (d, 2)):
            c = np.full((m, stride), np.nan, TYPES[dtype])
            plan = product(a, b, c[:, :1], dtype, d=added)
            assert plan.swapped == (stride == 1 and added is not d[:1] and (added is None or len(added) == m))
            assert close(c[:, :1], expected(a, b, 0 if added is None else added), dtype, k)
            assert np.isnan(c[:, 1:]).all()


@pytest.mark.parametrize("name", ["relu", "tanh", "sigmoid"])
@pytest.mark.skipif(PURE, reason="f is called by its address")
def test_function(name):
    formulas = {
        "relu": lambda x: np.maximum(x, 0),
        "tanh": np.tanh,
        "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    }
    for dtype, (m, n, k, layout) in itertools.product(
        TYPES, [(20, 70, 300, "NN"), (20, 70, 3, "NT"), (1, 70, 9, "NT")]
    ):
        a, b = operands(m, n, k, dtype, layout)
        c = np.full((m, n + 3), np.nan, TYPES[dtype])
        bias = np.linspace(-1, 1, n).astype(TYPES[dtype])
        product(a, b, c[:, :n], dtype, d=bias, function=f"gemm.{name}")
        assert close(c[:, :n], formulas[name](expected(a, b, bias)), dtype, k)
        assert np.isnan(c[:, n:]).all()


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("layout", ["NN", "NT", "TN"])
def test_batches(layout, dtype):
    sizes = [(20, 20, 65), (1, 20, 33), (3, 5, 2)] if not PURE else [(3, 5, 2)]
    for m, n, k in sizes:
        a, b = operands(m, n, k, dtype, layout, batch=(3, 4))
        for x, y in (
            (a, b),
            (a, b[:1]),
            (a[:, :1], b),
            (a[:1], b[:, 1:2]),
            (a, b[1, 2]),
            (a[:, ::2], b[:, ::2]),
            (a[:, ::2], b[:, 1:2]),
            (a[::2], b[1:2]),
        ):
            shape = np.broadcast_shapes(x.shape[:-2], y.shape[:-2])
            c = np.full((*shape, m, n), np.nan, TYPES[dtype])
            d = np.arange(shape[1], dtype=TYPES[dtype]).reshape(-1, 1, 1)
            d = np.ascontiguousarray(np.broadcast_to(d, (shape[1], m, n)))
            product(x, y, c, dtype, d=d, order=True)
            assert close(c, expected(x, y, d), dtype, k)
            c[...] = np.nan
            product(x, y, c, dtype, reuse=2)
            assert close(c, expected(x, y), dtype, k)
        c = np.full((4, 3, m, n), np.nan, TYPES[dtype]).swapaxes(0, 1)
        product(a, b, c, dtype)
        assert close(c, expected(a, b), dtype, k)


def test_a_shared_matrix_makes_one_tall_product():
    words = gemm_plan.plan(
        20, 8, 4, (240, 80, 4, 1), (0, 0, 8, 1), (480, 160, 8, 1), "f32", None, (2, 3)
    ).words
    assert sizes(words) == (120, 8, 4, 1)
    words = gemm_plan.plan(
        20, 8, 4, (240, 80, 4, 1), (32, 0, 8, 1), (480, 160, 8, 1), "f32", None, (2, 3)
    ).words
    assert sizes(words) == (60, 8, 4, 2)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("layout", ["NN", "NT", "TN"])
def test_bits_depend_on_nothing_but_k(layout, dtype):
    """Tiles in any order, of any size, alone or side by side, copied or not, give equal bits; and so does each
    row by itself.
    """
    m, n, k = (45, 140, 600) if not PURE else (5, 40, 9)
    a, b = operands(m, n, k, dtype, layout)
    first, c = np.empty((2, m, n), TYPES[dtype])
    product(a, b, first, dtype)
    panel = 128 // c.itemsize
    for rows, columns in ((1, panel), (2, n), (3, panel), (17, 2 * panel), (m, n)):
        units = -(-m // rows) * -(-n // columns)
        for group in (1, 3):
            c[...] = np.nan
            product(
                a,
                b,
                c,
                dtype,
                change={"tile_rows": rows, "tile_columns": columns, "units": units, "group": group},
                order=True,
            )
            assert np.array_equal(c, first)
    for copied, columns in itertools.product((1, 2, 3, 4, 5, 6) if layout != "NT" else (1, 5), (panel, n)):
        c[...] = np.nan
        units = -(-m // 17) * -(-n // columns)
        product(
            a,
            b,
            c,
            dtype,
            change={"tile_rows": 17, "tile_columns": columns, "units": units, "copied": copied},
        )
        assert np.array_equal(c, first), (copied, columns)
    if layout == "NN":
        for r in range(3):
            product(a[r : r + 1], b, c[r : r + 1], dtype)
        assert np.array_equal(c[:3], first[:3])


@pytest.mark.parametrize("dtype", TYPES)
def test_rows_of_b_that_compete_in_the_caches(dtype):
    """Those a large power of two apart are copied first; several stretches of k, several tiles of columns."""
    m, n, k = (30, 500, 600) if not PURE else (29, 17, 5)
    a, b = operands(m, n, k, dtype)
    apart = np.full((k, 2048), np.nan, TYPES[dtype])
    apart[:, :n] = b
    c, expected_bits = np.full((2, m, n), np.nan, TYPES[dtype])
    bias = np.linspace(-1, 1, n).astype(TYPES[dtype])
    assert product(a, apart[:, :n], c, dtype, d=bias, order=True).words["copied"] == 2
    assert product(a, b, expected_bits, dtype, d=bias).words["copied"] == 0
    assert np.array_equal(c, expected_bits) and close(c, expected(a, b, bias), dtype, k)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("layout", ["N", "T"])
def test_rows_of_a_that_compete_in_the_caches(layout, dtype):
    """They are copied, of A as of its transpose, where enough columns of B share the copy."""
    m, n, k = (120, 300, 600) if not PURE else (113, 130, 70)
    a, b = operands(m, n, k, dtype, layout + "N")
    apart = np.full((m, 2048) if layout == "N" else (k, 2048), np.nan, TYPES[dtype])
    apart = apart[:, :k] if layout == "N" else apart[:, :m].T
    apart[...] = a
    c, expected_bits = np.full((2, m, n), np.nan, TYPES[dtype])
    bias = np.linspace(-1, 1, n).astype(TYPES[dtype])
    assert product(apart, b, c, dtype, d=bias, order=True).words["copied"] == 4
    assert product(a, b, expected_bits, dtype, d=bias).words["copied"] == 0
    assert np.array_equal(c, expected_bits) and close(c, expected(a, b, bias), dtype, k)
    assert product(apart, b[:, :16], c[:, :16], dtype).words["copied"] == 0


@pytest.mark.parametrize("dtype", TYPES)
def test_copied_rows_of_a_have_room(dtype):
    size = TYPES[dtype]().itemsize
    line, room = gemm_plan.LINE // size, gemm_plan.BAND_BYTES // size
    for m, n, k in itertools.product((120, 200, 5000, 100_000), (128, 2048), (64, 65, 257, 1000, 5000)):
        for row, step in ((-(-k // 4096) * 4096, 1), (1, -(-m // 4096) * 4096)):
            words = gemm_plan.plan(m, n, k, (0, 0, row, step), (0, 0, n, 1), (0, 0, n, 1), dtype).words
            if words["copied"] & 4:
                copies = (words["tile_rows"], min(k, gemm_plan.DEPTH))
                rows, length = copies if step == 1 else copies[::-1]
                assert rows * (-(-length // line) | 1) * line <= room, (m, n, k, row)
            else:
                assert k * size < 256 or n * size < 512


@pytest.mark.parametrize("layout", ["NN", "NT"])
@pytest.mark.parametrize("m", [1, 4, 20])
def test_not_a_number(layout, m):
    n, k = 37, 21
    a, b = operands(m, n, k, "f32", layout)
    a[0, 3], b[5, 36], b[5, 2] = np.nan, np.inf, np.inf
    if m > 1:
        a[1, 5] = 0
        a[2, 5] = -1
    c = np.zeros((m, n), np.float32)
    product(a, b, c, "f32")
    assert np.isnan(c[0]).all()
    infinite = np.zeros(n, bool)
    infinite[[2, 36]] = True
    if m > 1:
        assert np.array_equal(np.isnan(c[1]), infinite)
        assert np.array_equal(c[2] == -np.inf, infinite)
    assert np.isfinite(c[1:, ~infinite]).all()
    a[0, 3] = 1
    c[...] = np.nan  # C isn't read, unless it is D
    product(a[:, :0], b[:0], c, "f32")
    assert not c.any()


def test_tiles_are_neither_few_nor_small():
    def tiles(m, n, k, batch=1):
        return gemm_plan.plan(
            m, n, k, (m * k, 0, k, 1), (k * n, 0, n, 1), (m * n, 0, n, 1), "f32", None, (batch, 1)
        ).tiles

    assert tiles(32, 32, 32) == tiles(1, 384, 128) == 1
    assert 4 <= tiles(64, 384, 128) <= 16
    assert 4 <= tiles(20, 20, 256, 64) <= 32
    assert all(16 <= tiles(n, n, n) <= 64 for n in (256, 512, 1024, 2048))


def digest():
    """Hash of the bits of products that take all paths."""
    total = hashlib.sha256()
    for layout in ("NN", "NT"):
        for m, n, k in [(1, 140, 50), (2, 70, 33), (3, 50, 20), (7, 33, 300), (29, 70, 40)]:
            a, b = operands(m, n, k, "f32", layout)
            c = np.full((m, n), np.nan, np.float32)
            product(a, b, c, "f32")
            assert close(c, expected(a, b), "f32", k), (layout, m, n, k)
            total.update(c.tobytes())
            if layout == "NN":
                for copied in (2, 4, 6):
                    product(a, b, c, "f32", change={"copied": copied})
                    total.update(c.tobytes())
    return total.hexdigest()


def _output(code, tmp_path, **environment):
    path = os.pathsep.join([os.path.dirname(__file__), *sys.path])
    environment = os.environ | {"PYTHONPATH": path, "TINYATTN_CACHE": str(tmp_path)} | environment
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@pytest.mark.skipif(PURE, reason="no vectors in plain Python")
def test_other_vector_widths(tmp_path):
    """Machines with narrower vectors take other paths to the same bits."""
    code = "import test_gemm as test; print(test.processor.VECTOR_BYTES, test.digest())"
    for width in {16, 32} - {processor.VECTOR_BYTES}:
        found = _output(code, tmp_path / str(width), TINYATTN_VECTOR_BYTES=str(width))
        assert found == [str(width), digest()]


GUARDED = """
import ctypes, mmap
import numpy as np
from test_gemm import product, expected, close
libc = ctypes.CDLL(None)
def guarded(shape, transposed):
    # An array whose last byte is the last before a page that nobody may touch.
    size = 4 * int(np.prod(shape))
    pages = -(-size // mmap.PAGESIZE) * mmap.PAGESIZE
    memory = mmap.mmap(-1, pages + mmap.PAGESIZE)
    start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    assert libc.mprotect(ctypes.c_void_p(start + pages), mmap.PAGESIZE, 0) == 0
    x = np.frombuffer(memory, np.float32, size // 4, pages - size)
    x[:] = np.arange(x.size) % 7 - 3
    return x.reshape(shape[::-1]).T if transposed else x.reshape(shape)
for layout in ("NN", "NT", "TN", "TT"):
    for m, n, k in [(1, 37, 20), (2, 17, 33), (3, 5, 7), (29, 33, 21)]:
        a, b = guarded((m, k), layout[0] == "T"), guarded((k, n), layout[1] == "T")
        c, d = guarded((m, n), False), guarded((n,), False)
        product(a, b, c, "f32", d=d)
        assert close(c, expected(a, b, d), "f32", k)
        if layout[1] == "N":
            for way in (1, 2, 4, 6):
                product(a, b, c, "f32", change={"copied": way})
                assert close(c, expected(a, b), "f32", k)
print("whole")
"""


@pytest.mark.skipif(PURE or sys.platform == "win32", reason="needs mprotect and machine code")
def test_nothing_beyond_the_arrays_is_touched(tmp_path):
    cache = os.environ.get("TINYATTN_CACHE", str(native.cache_root()))
    assert _output(GUARDED, cache) == ["whole"]


@pytest.mark.skipif(PURE or processor.VECTOR_BYTES == 16, reason="looks at x86 vector instructions")
def test_machine_code():
    """The product is made of fused multiply-adds on whole vectors, and calls nothing outside."""
    from tinyattn.kernels.build import compiler

    register = {64: "zmm", 32: "ymm"}[processor.VECTOR_BYTES]
    code = compiler.library("gemm.multiply", "f32", "gemm_machine_code").get_asm_str()
    biggest = code[code.index(f"tinyattn_micro_{gemm_plan.ROWS}x2_f32:") :]
    loop = biggest[: biggest.index("ret")]
    assert len(re.findall(rf"vfmadd\w+\s.*{register}", loop)) >= 4 * gemm_plan.ROWS
    # No sums are put aside. With 16 registers for 12 sums LLVM may put one operand aside, outside of the hot path.
    aside = re.findall(rf"vmovups\s+%{register}\d+, -?\d*\(%rsp", loop)
    assert len(aside) <= (0 if processor.VECTOR_BYTES == 64 else 1)


@pytest.mark.skipif(PURE or processor.VECTOR_BYTES == 16, reason="looks at x86 vector instructions")
@pytest.mark.parametrize("kernel", ["attention.forward", "convolution.correlate"])
def test_machine_code_of_kernels_with_products_inside(kernel):
    from tinyattn.kernels.build import compiler

    register = {64: "zmm", 32: "ymm"}[processor.VECTOR_BYTES]
    code = compiler.library(kernel, "f32", f"{kernel.replace('.', '_')}_machine_code").get_asm_str()
    assert len(re.findall(rf"vfn?madd\w+ps\s.*{register}", code)) >= 20
    assert not re.findall(r"\bcallq?\s+[A-Za-z_]", code)
