"""Forks while other threads work, and signal handlers that run what they interrupt: nothing hangs, nothing is wrong."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

_START = """
import gc, os, signal, sys, threading, time
import numpy as np, tinyattn as ta
ta.set_num_threads(2)
w = ta.parameter(np.zeros((90, 90), np.float32))

@ta.function
def step(x):
    ta.assign(w, w + 1)
    return ta.tanh(x @ x) + w.sum() * 0

def fresh(size):
    y = ta.tensor(np.ones((size, 3), np.float32))
    return float((ta.tanh(y) * size).sum())

x = np.random.default_rng(0).standard_normal((90, 90)).astype(np.float32)
right = step(x)
"""

_FORK = (
    _START
    + """
stop = False

def work():
    size = 0
    while not stop:
        if sys.argv[1] == "run":
            step(x)
        elif sys.argv[1] == "differentiate":
            v = ta.tensor(np.ones(3, np.float32))
            y = v
            for _ in range(100):
                y = ta.tanh(y)
            ta.grad(y.sum(), v)
        else:
            size += 1
            ta.Program([ta.softmax(ta.tensor(np.ones((size % 50 + 1, 4), np.float32))) * size])

worker = threading.Thread(target=work, daemon=True)
worker.start()
codes = []
for _ in range(10):
    time.sleep(0.003)
    child = os.fork()
    if child == 0:
        signal.alarm(20)
        good = gc.isenabled() and np.array_equal(step(x), right) and fresh(7) > 0
        good &= len(set(w.numpy().ravel().tolist())) == 1  # no update was cut in two
        os._exit(0 if good else 1)
    codes.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
stop = True
worker.join()  # (while it compiles, garbage isn't collected)
print(codes, gc.isenabled(), np.array_equal(step(x), right))
"""
)

_SIGNAL = (
    _START
    + """
calls, wrong = 0, 0

def handler(number, frame):
    global calls, wrong
    calls += 1
    wrong += not np.array_equal(step(x * 1), right)
    if calls % 10 == 0:
        fresh(calls)
        ta.set_num_threads(1 + calls // 10 % 2)
    signal.setitimer(signal.ITIMER_REAL, 0.0005)

before, steps = float(w[0, 0]), 0
signal.signal(signal.SIGALRM, handler)
signal.setitimer(signal.ITIMER_REAL, 0.001)
while calls < 200:
    wrong += not np.array_equal(step(x), right)
    steps += 1
signal.setitimer(signal.ITIMER_REAL, 0)
signal.signal(signal.SIGALRM, signal.SIG_IGN)
print(wrong, float(w[0, 0]) - before == steps + calls)
"""
)


_EVERY_LINE = (
    _START
    + """
chosen = passed = calls = 0

def interrupt(frame, event, argument):
    global passed, calls
    if frame.f_code.co_filename.endswith(("threads.py", "threading.py")):
        passed += 1
        if passed == chosen:
            calls += 1
            assert np.array_equal(step(x * 1), right)
            ta.set_num_threads(2)
    return interrupt

before = float(w[0, 0])
while passed >= chosen:  # each line in turn
    chosen, passed = chosen + 1, 0
    time.sleep(0.01)  # helpers fall asleep
    sys.settrace(interrupt)
    same = np.array_equal(step(x), right)
    sys.settrace(None)
    assert same
print(calls == chosen - 1 > 5, float(w[0, 0]) - before == chosen + calls)
"""
)


def _run(code, *arguments):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, env=environment, timeout=100
    )


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
@pytest.mark.parametrize("work", ["run", "differentiate", "compile"])
def test_forked_children_run_while_another_thread_of_the_parent_works(work):
    done = _run(_FORK, work)
    assert done.stdout.strip() == f"{[0] * 10} True True", done.stderr[-2000:]


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="the system has no interval timers")
def test_a_signal_handler_may_call_the_function_that_it_interrupts():
    done = _run(_SIGNAL)
    assert done.stdout.strip() == "0 True", done.stderr[-2000:]


def test_whatever_line_wakes_the_helpers_may_be_interrupted_by_what_does_the_same():
    done = _run(_EVERY_LINE)
    assert done.stdout.strip() == "True True", done.stderr[-2000:]
