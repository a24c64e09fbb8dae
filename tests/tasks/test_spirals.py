"""Spirals: two arms that a curve separates and a line doesn't; points are read or refused."""

import numpy as np
import pytest
from data_errors import message

from tinyattn import tasks
from tinyattn.tasks.parts.randomness import Stream
from tinyattn.tasks.spirals import NOISE, NOTHING, TURNS, points
from tinyattn.tasks.task import Answers


def arm(where: np.ndarray) -> np.ndarray:
    """The arm whose curve r = (½ + θ / 2π) / (½ + turns) is nearest, by trying many of its points."""
    angle = np.linspace(0, 2 * np.pi * TURNS, 2_000)
    curve = (0.5 + angle / (2 * np.pi)) / (0.5 + TURNS) * np.exp(1j * angle)
    apart = np.abs((where[:, 0] + 1j * where[:, 1])[:, None] - np.concatenate([curve, -curve]))
    return apart.argmin(1) // len(angle)


def test_the_nearest_arm_is_right_and_no_line_is():
    where, label = points(3_000, Stream("test of spirals", 0))
    assert (arm(where) == label).mean() > 0.999 and label.mean() == 0.5
    line = np.linalg.lstsq(np.c_[where, np.ones(len(where))], 2 * label - 1, rcond=None)[0]
    assert ((where @ line[:2] + line[2] > 0) == label).mean() < 0.75
    radius = np.hypot(*where.T)
    assert 0.5 / 2.5 - 4 * NOISE < radius.min() < radius.max() < 1 + 5 * NOISE


def test_held_out_points_are_always_the_same_and_never_trained_on():
    one, other = tasks.get("spirals", train_examples=500), tasks.get("spirals", seed=1, train_examples=500)
    for task in (one, other):
        assert not set(map(tuple, task._points["train"][0])) & set(map(tuple, task._points["test"][0]))
    assert np.array_equal(one._points["test"][0], other._points["test"][0])
    assert not np.array_equal(one._points["train"][0], other._points["train"][0])
    batch = list(one.batches("test", 300))[-1]
    assert (batch.label[~batch.valid] == NOTHING).all() and batch.weight == 2_000 - 6 * 300


def test_points_are_read_and_scored():
    task = tasks.get("spirals", train_examples=10)
    right = task._points["test"][1]
    said = right.copy()
    said[:20] = 1 - said[:20]
    scores = task.score(Answers([*said], nats=1.0, predictions=4), "test")
    assert scores.figures == {"accuracy": 0.99, "val_loss": 0.25}
    batch = task.read(" 0.5 -1e-1 ")
    assert np.array_equal(batch.inputs, np.float32([[0.5, -0.1]]))
    assert task.show(batch, Answers([1]), 0) == {"input": "0.500 -0.100", "output": "other"}


@pytest.mark.parametrize("text", ["", "1", "1 2 3", "a b", "nan 1", "inf 0"])
def test_what_is_no_point(text):
    found = message(lambda: tasks.get("spirals", train_examples=10).read(text))
    assert found == f"[spirals] a point must be two numbers, but got {text!r}."
