"""MLP: its equation, in NumPy."""

import numpy as np

import tinyattn as ta
from tinyattn import tasks
from tinyattn.models.mlp import MLP


def test_the_equation():
    ta.manual_seed(0)
    model = MLP.for_task(tasks.get("digits"), hidden=5, layers=2).to(np.float64).eval()
    batch = tasks.get("digits").read("6")
    h, state = batch.images.reshape(6, 64).astype(np.float64), model.state_dict()
    for number in range(3):
        z = h @ state[f"layers.{number}.weight"].T + state[f"layers.{number}.bias"]
        h = np.tanh(z)
    log_p = z - np.log(np.exp(z).sum(axis=1, keepdims=True))
    expected = log_p[np.arange(6), batch.label]
    assert abs(float(model.loss(batch)) + expected.mean()) < 1e-6
    answers = model.answer(batch)
    assert answers.outputs == log_p.argmax(axis=1).tolist()
    assert abs(answers.nats + expected.sum()) < 1e-5 and answers.predictions == 6
