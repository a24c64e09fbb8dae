"""The output projection with its loss: how much memory it takes, whole and in chunks, and that it is the same work."""

import numpy as np
import pytest

import tinyattn as ta
from tinyattn.ops.losses import projection

TOKENS, WIDTH, WORDS = 512, 16, 4096
LOGITS = TOKENS * WORDS * 4


def step(dtype=np.float32):
    """A program of the loss and its gradients by hidden states, table and bias."""
    rng = np.random.default_rng(0)
    hidden, table, bias = (
        rng.standard_normal(s).astype(dtype) for s in ((TOKENS, WIDTH), (WORDS, WIDTH), (WORDS,))
    )
    targets = rng.integers(0, WORDS, TOKENS)
    leaves = [ta.tensor(a) for a in (hidden, table, bias)]
    loss = ta.linear_cross_entropy(leaves[0], leaves[1], ta.tensor(targets), leaves[2], ignore_index=7)
    return ta.Program([loss, *ta.grad(loss, leaves)])


@pytest.fixture
def chunked(monkeypatch):
    monkeypatch.setattr(projection, "WHOLE_BYTES", 0)
    monkeypatch.setattr(projection, "CHUNK_BYTES", LOGITS // 8)


def test_one_buffer_of_logits_is_all_there_is():
    results = (TOKENS * WIDTH + WORDS * WIDTH + WORDS) * 4
    assert LOGITS <= step().peak_bytes <= LOGITS + 3 * results


def test_chunks_of_logits_are_all_there_is(chunked):
    results = (TOKENS * WIDTH + WORDS * WIDTH + 8 * WORDS) * 4
    assert step().peak_bytes <= LOGITS // 8 + 4 * results < LOGITS // 2


def test_chunks_are_the_same_work(monkeypatch):
    whole = step(np.float64).run()
    monkeypatch.setattr(projection, "WHOLE_BYTES", 0)
    monkeypatch.setattr(projection, "CHUNK_BYTES", 100 * WORDS * 8)  # the last one isn't full
    for found, right in zip(step(np.float64).run(), whole, strict=True):
        assert np.abs(found - right).max() <= 1e-13 * np.abs(right).max()


def test_bits_do_not_depend_on_the_number_of_threads(chunked):
    before = ta.get_num_threads()
    try:
        results = []
        for threads in (1, 2):
            ta.set_num_threads(threads)
            results.append(step().run())
        for one, two in zip(*results, strict=True):
            assert np.array_equal(one, two)
    finally:
        ta.set_num_threads(before)


def test_logits_of_gpt_2_take_a_chunk_by_default():
    hidden, table = ta.zeros((8192, 4)), ta.parameter(np.zeros((50257, 4), np.float32))
    loss = ta.linear_cross_entropy(hidden, table, ta.zeros(8192, np.int64))
    assert ta.Program([loss, *ta.grad(loss, [table])]).peak_bytes < 80 << 20
