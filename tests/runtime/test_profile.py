"""The machine's peaks, counts of operations, profiles, and their picture. (No times: these are in benchmarks.)"""

import json
from xml.etree import ElementTree

import kernel_call
import numpy as np
import pytest

import tinyattn as ta
from tinyattn.kernels import microbenchmark
from tinyattn.runtime.machine import Machine, measured
from tinyattn.runtime.profile import BACKWARD, FORWARD, UPDATE, Cost, Profile, Timed, seconds_text
from tinyattn.viz.flame import boxes, flame

FLOATS = pytest.mark.parametrize("dtype", ["f32", "f64"])


def numbers(*shape, seed=0, dtype=np.float32):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


# The machine.


@FLOATS
def test_the_microbenchmarks_compute_what_they_say(dtype):
    kind = kernel_call.TYPES[dtype]
    given = np.array([-0.25, 0.7, 0], kind)
    kernel_call.run("microbenchmark.multiply_add", dtype, {"numbers": given}, 2)
    total = 0.0
    for k in range(microbenchmark.CHAINS):
        value = float(k)
        for _ in range(microbenchmark.ROUNDS):
            value = value * float(given[0]) + float(given[1])
        total += value
    assert abs(given[2] - total) < 1e-5 * abs(total)
    x, y = numbers(2500, dtype=kind), np.zeros(2500, kind)
    kernel_call.run(
        "microbenchmark.scale", dtype, {"x": x, "y": y, "size": x.size}, 3, kernel_call.shuffled(3)
    )
    assert np.array_equal(y, 2 * x)


def test_peaks_are_measured_once():
    machine = measured()
    assert machine is measured() and machine.threads == ta.get_num_threads()
    speeds = [*machine.flops.values(), *machine.flops_of_one.values(), *(s for _, s in machine.bandwidths)]
    assert all(np.isfinite(speeds)) and min(speeds) > 1e7 and machine.frequency > 1e6
    assert machine.flops["f32"] > 0.5 * machine.flops["f64"]
    assert all(len(line) <= 80 for line in str(machine).splitlines())


MACHINE = Machine(
    2, {"f32": 2e11, "f64": 1e11}, {"f32": 1e11, "f64": 5e10}, ((1 << 20, 4e11), (1 << 26, 5e10)), 1e9
)


def test_the_roofline():
    assert MACHINE.bandwidth(100) == MACHINE.bandwidth(1 << 20) == 4e11
    assert MACHINE.bandwidth((1 << 20) + 1) == MACHINE.bandwidth(1 << 40) == 5e10
    assert MACHINE.least_seconds(2e9, 8) == 0.01  # bound by arithmetic
    assert MACHINE.least_seconds(2e9, 8, "f64") == 0.02
    assert MACHINE.least_seconds(8, 1 << 30) == pytest.approx((1 << 30) / 5e10)  # by memory
    assert str(MACHINE) == (
        "peak, 2 threads: f32 200 GFLOP/s, f64 100 (one thread: 100, 50)\n"
        "bandwidth: memory 50 GB/s, caches 400 (1 MB)"
    )


# Counts.


def flops(*outputs):
    """Operations by kernel of the program of some outputs."""
    program = ta.Program(outputs)
    found = {}
    for row in program.assembly.rows:
        found[row.kernel] = found.get(row.kernel, 0.0) + row.flops
    assert program.flops >= sum(found.values())
    return found


def test_operations_are_counted():
    x, w = ta.tensor(numbers(10, 20)), ta.tensor(numbers(20, 30))
    (count,) = flops(x @ w).values()
    assert count == 2 * 10 * 20 * 30
    assert flops(x.sum())["reduce.rows"] == 200
    assert flops((x * x).sum())["reduce.rows"] == 400
    assert flops(ta.softmax(x))["rows.softmax"] == 200 * 24
    assert flops(x.sum(0))["reduce.columns"] == 200
    (chain,) = flops(ta.exp(x) * x + 1).values()
    assert chain == 200 * (21 + 2)
    assert list(flops(ta.where(x > 0, x, 0)).values()) == [0]
    xs = ta.tensor(numbers(7, 10, 20))
    program = ta.Program([ta.scan(lambda c, x: (c + x, None), x, xs)[0]])
    assert program.flops == 7 * 200


def step_of(optimizer_of=ta.optim.AdamW):
    w = ta.parameter(numbers(16, 16), name="w")
    optimizer = optimizer_of([w], 1e-2)

    @ta.function
    def step(x):
        with ta.scope("net"), ta.scope("inner"):
            y = ta.dropout(ta.tanh(x @ w), 0.2)
            y, _ = ta.scan(lambda c, row: (ta.tanh(c * row), None), y[0], y)
        loss = (y * y).mean()
        optimizer.minimize(loss)
        return loss

    return step, w


def test_profiles_leave_no_trace_and_know_the_parts_of_a_step():
    step, w = step_of()
    x = numbers(8, 16, seed=1)
    before, state = w.numpy().copy(), ta.random_state()
    found = step.profile(x, steps=3)
    assert np.array_equal(w.numpy(), before)
    assert np.array_equal(ta.random_state(), state)
    step(x)
    assert not np.array_equal(w.numpy(), before)

    program = step.program(x)
    assert len(found.rows) == len(program.assembly.rows) and found.peak_bytes == program.peak_bytes
    assert found.total.flops == program.flops and found.seconds > 0
    assert list(found.phases()) == [FORWARD, BACKWARD, UPDATE]
    products = [(row.phase, row.scope, row.op) for row in found.rows if row.kernel.startswith("gemm")]
    assert (FORWARD, ("net", "inner"), "matmul") in products
    assert (BACKWARD, ("net", "inner"), "matmul") in products
    loops = {row.phase for row in found.rows if row.cost.calls == 8}
    assert loops == {FORWARD, BACKWARD}
    assert any("test_profile.py" in row.line for row in found.rows)
    updates = {row.scope for row in found.rows if row.phase == UPDATE}
    assert ("AdamW",) in updates and () in updates  # the random state, which is no module's, moves on, too
    assert {path[0] for path in updates if path} == {"AdamW"}


# The table, of made-up figures.


def timed(kernel, phase, scope, op, seconds, flops=0.0, size=1000, calls=1):
    least = MACHINE.least_seconds(flops / calls, size // calls) * calls
    return Timed(kernel, phase, scope, op, "model.py:3", Cost(calls, seconds, flops, size, least))


MADE_UP = Profile(
    2e-3,
    [
        timed("copy.strided", FORWARD, (), "reshape", 1e-4, 0, 4_000_000),
        timed("gemm.multiply", FORWARD, ("net", "<in & out>"), "matmul", 5e-4, 8e7, 600_000, 20),
        timed("gemm.multiply", BACKWARD, ("net", "<in & out>"), "matmul", 9e-4, 1.6e8, 1_200_000, 40),
        timed("softmax.cross_entropy_backward f64", BACKWARD, (), "cross entropy", 3e-4, 1e6, 80_000),
        timed("elementwise.chain", UPDATE, ("AdamW",), "mul add", 1e-4, 1e5, 200_000, 2),
    ],
    MACHINE,
    12_345_678,
)

TABLE = """\
kernel                          calls      ms  step  GFLOP/s   GB/s flop/B  roof
gemm.multiply                      60   1.400   70%    171.4    1.3 133.33   86%
softmax.cross_entropy_backwar…      1   0.300   15%      3.3    0.3  12.50    2%
copy.strided                        1   0.100    5%        -   40.0      -   80%
elementwise.chain                   2   0.100    5%      1.0    2.0   0.50    0%
all kernels                        64   1.900   95%    126.9    3.2  39.65   68%
  forward                          21   0.600   30%    133.3    7.7  17.39   80%
  backward                         41   1.200   60%    134.2    1.1 125.78   67%
  update                            2   0.100    5%      1.0    2.0   0.50    0%
step                               64   2.000  100%    120.5    3.0  39.65   64%
241.1 Mflop a step at 120.5 GFLOP/s: 60% of the peak; memory 12.3 MB
peak, 2 threads: f32 200 GFLOP/s, f64 100 (one thread: 100, 50)
bandwidth: memory 50 GB/s, caches 400 (1 MB)
GB/s: operands and results, from caches too; roof: least possible time / time"""


def test_the_table():
    assert str(MADE_UP) == TABLE
    assert max(map(len, TABLE.splitlines())) <= 80
    found = json.loads(json.dumps(MADE_UP.to_json()))
    assert found["step_seconds"] == 2e-3 and found["peak_bytes"] == 12_345_678
    assert found["kernels"][0]["kernel"] == "gemm.multiply" and found["kernels"][0]["calls"] == 60
    assert found["share_of_peak"] == pytest.approx(0.60275)
    assert set(found["phases"]) == {FORWARD, BACKWARD, UPDATE}


def test_times_in_words():
    assert [seconds_text(s) for s in (2.5, 0.0123, 4.56e-5, 0)] == ["2.5 s", "12.3 ms", "45.6 µs", "0 µs"]


def test_an_empty_program():
    x = ta.tensor(numbers(3))
    text = str(ta.Program([x]).profile())
    assert "all kernels" in text and "step" in text


# The picture.


def test_the_tree_of_boxes_adds_up():
    top = boxes(MADE_UP)
    assert list(top.inner) == [FORWARD, BACKWARD, UPDATE]
    product = top.inner[FORWARD].inner["net"].inner["<in & out>"].inner["matmul"].inner["gemm.multiply"]
    assert product.cost.seconds == 5e-4 and product.cost.calls == 20

    def check(box):
        if box.inner:
            assert sum(inner.cost.seconds for inner in box.inner.values()) == pytest.approx(box.cost.seconds)
        for inner in box.inner.values():
            check(inner)

    check(top)


def test_the_picture_is_well_formed_and_stable():
    text = flame(MADE_UP, 'a < b & "c"')
    assert text == flame(MADE_UP, 'a < b & "c"')
    picture = ElementTree.fromstring(text)
    space = "{http://www.w3.org/2000/svg}"
    groups = picture.findall(f"{space}g")
    ids = [group.get("id") for group in groups]
    assert len(ids) == len(set(ids)) and ids[0] == "step" and all(" " not in i for i in ids)
    tips = [group.find(f"{space}title").text for group in groups]
    assert any("module net / <in & out>: 26.3% of the kernels' time" in tip for tip in tips)
    assert any("model.py:3" in tip and tip.startswith("operation") for tip in tips)
    width = {g.get("id"): float(g.find(f"{space}rect").get("width")) for g in groups}
    assert width["step"] == pytest.approx(1176) and len(width) == 19
    for group in groups:  # words are cut off at the border of their box
        box, frame = group.find(f"{space}rect"), group.find(f"{space}svg")
        if frame is not None:
            left, right = (float(frame.get("x")) + k * float(frame.get("width")) for k in (0, 1))
            assert float(box.get("x")) < left and right < float(box.get("x")) + float(box.get("width"))
    assert groups[0].find(f"{space}svg/{space}text").text.startswith("step  ")
    assert "http" not in text.replace("http://www.w3.org/2000/svg", "")  # needs nothing else


def test_a_real_profile_as_a_picture():
    step, _ = step_of(ta.optim.SGD)
    picture = ElementTree.fromstring(flame(step.profile(numbers(8, 16), steps=2), "step"))
    assert picture.tag.endswith("svg")
