"""Small graphs that are drawn in tests, and a word for tests that need the program dot."""

import shutil

import numpy as np
import pytest

import tinyattn as ta

NASTY = "<script>&\"'\\N\\"
needs_dot = pytest.mark.skipif(shutil.which("dot") is None, reason="needs Graphviz's program dot")


def leaf(*shape, name, make=ta.parameter):
    return make(np.random.default_rng(len(name)).standard_normal(shape).astype(np.float32), name=name)


def attention():
    q, k, v = (leaf(2, 3, 4, name=n, make=ta.tensor) for n in ("Q", "K", "V"))
    return (ta.softmax(q @ k.transpose(0, 2, 1) / 2.0) @ v).sum()


def residual():
    x = leaf(4, 8, name="x", make=ta.tensor)
    w1, b1, w2 = leaf(8, 8, name="W1"), leaf(8, name="b1"), leaf(8, 8, name="W2")
    with ta.scope("block"):
        with ta.scope("mlp"):
            h = ta.tanh(x @ w1 + b1) @ w2
        y = x + h
    return (y * y).sum()


def recurrent(length=20):
    xs, w, u = leaf(length, 4, 8, name="xs", make=ta.tensor), leaf(8, 6, name="W"), leaf(6, 6, name="U")

    def step(h, x):
        h = ta.tanh(x + h @ u)
        return h, h

    with ta.scope("encoder"):
        last, states = ta.scan(step, ta.zeros((4, 6)), xs @ w)
    return (states * states).sum() + last.sum()


def long(count):
    h, w = leaf(4, 4, name="h0", make=ta.tensor), leaf(4, 4, name="W")
    for k in range(count):
        with ta.scope(f"layer{k % 10}"):
            h = ta.tanh(h @ w + float(k))
    return h.sum()


def edges(picture, kind=None):
    return {(e.source, e.target) for e in picture.edges if kind is None or e.kind == kind}


def by_title(picture, title, phase="forward"):
    found = [n for n in picture.nodes.values() if n.title.split(" = ")[-1] == title and n.phase == phase]
    assert len(found) == 1, (title, [n.title for n in picture.nodes.values()])
    return found[0]
