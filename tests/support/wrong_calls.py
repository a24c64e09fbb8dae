"""Calls of the public names beside operations that end in the errors their docstrings name, one for each."""

import sys
from collections.abc import Callable
from functools import partial
from unittest import mock

import numpy as np

import tinyattn as ta

nn, viz, schedules = ta.nn, ta.viz, ta.optim.schedules
_X = ta.parameter(np.ones((2, 3), np.float32), name="x")
_WORDS = ta.tensor(np.array([0, 1]))


def _traced(action: Callable) -> Callable:
    """An action inside a compiled function."""
    return lambda: ta.function(lambda x: (action(x), x)[1])(np.ones(2, np.float32))


def _nan() -> None:
    ta.debug_nans(True)
    try:
        ta.log(ta.tensor([-1.0])).numpy()
    finally:
        ta.debug_nans(False)


def _closed_over():
    return ta.custom_vjp(lambda x: x * _X, lambda g, y, x: g)(_X)


def _layer(kind, *sizes, shape=(2, 7)) -> Callable:
    return lambda: kind(*sizes)(np.ones(shape, np.float32))


def _sideways() -> object:
    """The gradient by an expression of the leaves of y that is not on the way to it."""
    return ta.grad((_X * 2).sum(), _X * 3)


def _masked_cache() -> object:
    attention = nn.MultiheadAttention(4, 2)
    x = np.ones((3, 1, 4), np.float32)
    return attention(x, attn_mask=np.ones((3, 3), bool), cache=attention.project(x))


def _no_folder_of_a_tokenizer() -> None:
    with mock.patch.dict(sys.modules, tokenizers=mock.MagicMock()):  # (it may not be installed)
        ta.models.tokenizer("/nowhere")


def _no_tokenizers() -> None:
    with mock.patch.dict(sys.modules, tokenizers=None):
        ta.models.tokenizer("/nowhere")


WRONG: dict[str, dict[str, Callable]] = {
    "ta.Experiment": {
        "UsageError": lambda: ta.Experiment("mlp", "digits", height=3),
    },
    "ta.assign": {
        "ShapeError": lambda: ta.assign(_X, ta.zeros((3,))),
        "TinyattnError": lambda: ta.assign(_X * 2, _X),
    },
    "ta.checkpoint": {
        "TinyattnError": lambda: ta.checkpoint(3),
        "DTypeError": lambda: ta.checkpoint(lambda x: "word")(_X),
    },
    "ta.custom_vjp": {
        "TinyattnError": _closed_over,
        "ShapeError": lambda: ta.grad(ta.custom_vjp(lambda x: x * 1, lambda g, y, x: g.sum())(_X).sum(), _X),
    },
    "ta.debug_nans": {"NonFiniteError": _nan},
    "ta.derive": {"TinyattnError": lambda: ta.derive("sofmax")},
    "ta.evaluate": {
        "DTypeError": lambda: ta.evaluate(["word"]),
        "TinyattnError": _traced(lambda x: ta.evaluate([x])),
    },
    "ta.grad": {
        "ShapeError": lambda: ta.grad(_X, _X),
        "DTypeError": lambda: ta.grad(_X.sum(), _WORDS),
        "TinyattnError": _sideways,
    },
    "ta.gradcheck": {
        "DTypeError": lambda: ta.gradcheck(ta.exp, [np.arange(3)]),
        "GradcheckError": lambda: ta.gradcheck(
            ta.custom_vjp(lambda x: x * x, lambda g, y, x: g * x), [np.ones(2)]
        ),
    },
    "ta.jvp": {"ShapeError": lambda: ta.jvp(ta.exp, [_X], [])},
    "ta.vjp": {"ShapeError": lambda: ta.vjp(ta.exp, [_X], [])},
    "ta.hvp": {"ShapeError": lambda: ta.hvp(lambda x: x * 2, [_X], [_X])},
    "ta.load": {"CheckpointError": lambda: ta.load("/nowhere", nn.Linear(1, 1))},
    "ta.manual_seed": {"TinyattnError": lambda: ta.manual_seed("seven")},
    "ta.save": {
        "CheckpointError": lambda: ta.save("/nowhere/at/all", nn.Linear(1, 1)),
        "TinyattnError": lambda: ta.save("/tmp/never", "model"),
    },
    "ta.scan": {"ShapeError": lambda: ta.scan(lambda c, x: (ta.zeros((7,)), x), ta.zeros((2,)), _X)},
    "ta.set_num_threads": {"ShapeError": lambda: ta.set_num_threads(0)},
    "ta.set_random_state": {
        "ShapeError": lambda: ta.set_random_state(np.zeros(3, np.int64)),
        "DTypeError": lambda: ta.set_random_state(np.zeros(2, np.float32)),
        "TinyattnError": _traced(lambda x: ta.set_random_state(np.zeros(2, np.int64))),
    },
    "ta.tensor": {"DTypeError": lambda: ta.tensor("word")},
    "ta.value_and_grad": {
        "ShapeError": lambda: ta.value_and_grad(lambda x: x * 2)(_X),
        "DTypeError": lambda: ta.value_and_grad(lambda n: n.sum())(_WORDS),
    },
    "ta.vmap": {
        "ShapeError": lambda: ta.vmap(lambda a, b: a)(ta.zeros((2,)), ta.zeros((3,))),
        "TinyattnError": lambda: ta.vmap(3),
    },
    "ta.nn.Flatten": {"ShapeError": _layer(nn.Flatten, 5)},
    "ta.nn.Softmax": {"ShapeError": _layer(nn.Softmax, 5)},
    "ta.nn.ModuleDict": {"TinyattnError": lambda: nn.ModuleDict({"a": 3})},
    "ta.nn.ModuleList": {"TinyattnError": lambda: nn.ModuleList([3])},
    "ta.nn.Sequential": {"TinyattnError": lambda: nn.Sequential(3)},
    "ta.nn.Module": {"TinyattnError": lambda: nn.Module()(3)},
    "ta.nn.GroupNorm": {"ShapeError": lambda: nn.GroupNorm(2, 3)},
    **{
        f"ta.nn.{name}": {"ShapeError": partial(getattr(nn, name), 0, 2)}
        for name in ("RNN", "GRU", "LSTM", "RNNCell", "GRUCell", "LSTMCell")
    },
    "ta.nn.BatchNorm1d": {"ShapeError": _layer(nn.BatchNorm1d, 3)},
    "ta.nn.BatchNorm2d": {"ShapeError": _layer(nn.BatchNorm2d, 3)},
    "ta.nn.Conv1d": {"ShapeError": lambda: nn.Conv1d(3, 2, 1, groups=2)},
    "ta.nn.Conv2d": {"ShapeError": lambda: nn.Conv2d(3, 2, 1, groups=2)},
    "ta.nn.ConvTranspose2d": {"ShapeError": lambda: nn.ConvTranspose2d(3, 2, 1, groups=2)},
    "ta.nn.Dropout": {"ShapeError": lambda: nn.Dropout(1.5)},
    "ta.nn.Embedding": {"ShapeError": lambda: nn.Embedding(3, 2, padding_idx=3)},
    "ta.nn.LayerNorm": {"ShapeError": _layer(nn.LayerNorm, 3)},
    "ta.nn.RMSNorm": {"ShapeError": _layer(nn.RMSNorm, 3)},
    "ta.nn.Linear": {"ShapeError": _layer(nn.Linear, 3, 2)},
    "ta.nn.MultiheadAttention": {
        "ShapeError": lambda: nn.MultiheadAttention(3, 2),
        "TinyattnError": _masked_cache,
    },
    "ta.nn.Transformer": {
        "ShapeError": lambda: nn.Transformer(4, 2, 1, 1, 8)(np.ones((2, 1, 3)), np.ones((2, 1, 3)))
    },
    "ta.nn.TransformerEncoderLayer": {
        "TinyattnError": lambda: nn.TransformerEncoderLayer(4, 2, 8, activation="swish"),
        "ShapeError": lambda: nn.TransformerEncoderLayer(4, 2, 8)(np.ones((2, 1, 3), np.float32)),
    },
    "ta.nn.TransformerDecoderLayer": {
        "TinyattnError": lambda: nn.TransformerDecoderLayer(4, 2, 8, activation="swish"),
        "ShapeError": lambda: nn.TransformerDecoderLayer(4, 2, 8)(
            np.ones((2, 1, 3), np.float32), np.ones((2, 1, 3), np.float32)
        ),
    },
    "ta.nn.spectral_norm": {"TinyattnError": lambda: nn.spectral_norm(nn.Linear(2, 2), "wait")},
    "ta.viz.arcs": {"ShapeError": lambda: viz.arcs(["a"], np.ones((2, 2)))},
    "ta.viz.draw": {
        "ShapeError": lambda: viz.draw(_X.sum(), direction="up"),
        "DTypeError": lambda: viz.draw(_X.sum(), wrt=[_WORDS]),
    },
    "ta.viz.film": {"ShapeError": lambda: viz.film(np.ones(3))},
    "ta.viz.head_view": {
        "ShapeError": lambda: viz.head_view([np.ones((2, 3, 3))], ["a"]),
        "DataError": lambda: viz.head_view("word"),
    },
    "ta.viz.heatmap": {
        "ShapeError": lambda: viz.heatmap(np.ones(3)),
        "DataError": lambda: viz.heatmap(np.ones((2, 2)), to_file="map.doc"),
    },
    "ta.viz.model_view": {"DataError": lambda: viz.model_view([np.ones((2, 3, 3))], display_mode="grey")},
    "ta.viz.memory_plan": {"TinyattnError": lambda: viz.memory_plan("word")},
    "ta.viz.overlay": {"ShapeError": lambda: viz.overlay(np.ones(3), np.ones((2, 2)))},
    "ta.viz.plot_model": {
        "TinyattnError": lambda: viz.plot_model(nn.Linear(2, 2), to_file=None),
        "ShapeError": lambda: viz.plot_model(nn.Linear(3, 2), None, rankdir="UP", inputs=np.ones((1, 3))),
    },
    "ta.viz.pointers": {"ShapeError": lambda: viz.pointers(np.ones((2, 2)), [(0, 5)])},
    **{
        f"ta.nn.init.{name}": {"ShapeError": partial(getattr(nn.init, name), (3,))}
        for name in ("xavier_uniform", "xavier_normal", "orthogonal")
    },
    **{
        f"ta.nn.init.{name}": {
            "ShapeError": partial(getattr(nn.init, name), (3,)),
            "TinyattnError": partial(getattr(nn.init, name), (3, 2), mode="fan"),
        }
        for name in ("kaiming_uniform", "kaiming_normal")
    },
    "ta.optim.schedules.linear_warmup": {"TinyattnError": lambda: schedules.linear_warmup(1.0, 9, 3)},
    "ta.optim.schedules.cosine": {"TinyattnError": lambda: schedules.cosine(1.0, 3, 9)},
    "ta.optim.schedules.noam": {"TinyattnError": lambda: schedules.noam(0)},
    "ta.optim.Optimizer": {"TinyattnError": lambda: ta.optim.Adam([])},
    "ta.models.get": {"TinyattnError": lambda: ta.models.get("bahdanow")},
    "ta.models.tokenizer": {
        "CheckpointError": _no_folder_of_a_tokenizer,
        "TinyattnError": _no_tokenizers,
    },
    "ta.tasks.get": {"DataError": lambda: ta.tasks.get("digitz")},
}
