"""Pictures by the names and arguments of torchviz and Keras."""

import inspect
import shutil

import numpy as np
import pytest

import tinyattn as ta
from tinyattn import errors, nn, viz

needs_dot = pytest.mark.skipif(shutil.which("dot") is None, reason="needs Graphviz's program dot")


def test_make_dot_takes_all_arguments_of_torchviz():
    assert list(inspect.signature(viz.make_dot).parameters) == [
        "var", "params", "show_attrs", "show_saved", "max_attr_chars",
    ]  # fmt: skip
    x = ta.tensor(np.ones((2, 3), np.float32), name="x")
    y = (ta.softmax(x) * ta.sum(x, axis=-1, keepdims=True)).sum()
    plain, attrs = viz.make_dot(y).source, viz.make_dot(y, show_attrs=True).source
    assert ">axes=(1,), keepdims=True<" in attrs and ">axes=(1,), keepdims=True<" not in plain
    assert ">axes=(1,…<" in viz.make_dot(y, show_attrs=True, max_attr_chars=9).source
    assert ">saved: f32 (2, 3)<" in viz.make_dot(y, show_saved=True).source and "saved: f32" not in plain


class Net(nn.Module):
    def __init__(self):
        self.body = nn.Sequential(nn.Linear(4, 8), nn.ReLU())
        self.out = nn.Linear(8, 2)

    def forward(self, x):
        return self.out(self.body(x))


def titles(view):
    return [n.title for n in view.picture.nodes.values()]


def test_plot_model_shows_layers_with_what_is_asked_for():
    x = np.ones((3, 4), np.float32)
    view = viz.plot_model(Net(), None, inputs=x)
    assert titles(view) == ["x", "Sequential", "Linear"] and not [
        n for n in view.picture.nodes.values() if n.types
    ]
    named = viz.plot_model(
        Net(), None, show_shapes=True, show_layer_names=True, show_trainable=True, inputs=x
    )
    last = list(named.picture.nodes.values())[-1]
    assert (last.title, last.takes, last.types, last.held) == (
        "out ⟨Linear⟩",
        ["(3, 8)"],
        ["(3, 2)"],
        ["trainable"],
    )
    nested = viz.plot_model(Net()(ta.tensor(x)), None, expand_nested=True, show_dtype=True, rankdir="LR")
    assert len(nested.picture.nodes) > len(view.picture.nodes) and "rankdir=LR" in nested.source
    assert list(nested.picture.nodes.values())[-1].types == ["f32"]


@needs_dot
def test_plot_model_writes_a_file(tmp_path):
    small, large = tmp_path / "a.png", tmp_path / "b.png"
    for path, dpi in ((small, 50), (large, 200)):
        viz.plot_model(Net(), path, dpi=dpi, inputs=np.ones((3, 4), np.float32))
    assert small.read_bytes()[:4] == b"\x89PNG" and len(small.read_bytes()) < len(large.read_bytes())


def test_plot_model_says_what_it_needs():
    with pytest.raises(
        errors.TinyattnError, match=r"\[plot_model\] a module's layers are known by a call, but got no inputs"
    ):
        viz.plot_model(Net(), None)
    with pytest.raises(errors.ShapeError, match=r"\[plot_model\] rankdir must be 'TB' or 'LR', but got 'up'"):
        viz.plot_model(Net(), None, rankdir="up", inputs=np.ones((3, 4)))
