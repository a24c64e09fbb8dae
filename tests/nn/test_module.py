"""Modules: names, state dicts, modes, the texts of errors."""

import numpy as np
import pytest

import tinyattn as ta
from tinyattn import errors, nn
from tinyattn.graph.traverse import depends_on


class Model(nn.Module):
    def __init__(self):
        self.decoder = nn.ModuleList([nn.Linear(2, 2), nn.Linear(2, 2, bias=False)])
        self.scale = ta.parameter(np.ones(2, np.float32))
        self.count = ta.tensor(np.zeros((), np.int64))
        self._scratch = ta.tensor(np.zeros(3, np.float32))
        self.encoder = nn.GRU(2, 2)

    def forward(self, x):
        x = self.encode(x) * self.scale
        for layer in self.decoder:
            x = layer(x)
        return x

    def encode(self, x):
        return self.encoder(x)[0]


KEYS = [
    "scale", "count", "decoder.0.weight", "decoder.0.bias", "decoder.1.weight",
    *(f"encoder.{name}_l0" for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")),
]  # fmt: skip


def test_names_follow_the_attributes():
    model = Model()
    assert list(model.state_dict()) == KEYS
    assert [name for name, _ in model.named_parameters()] == [key for key in KEYS if key != "count"]
    assert [leaf.name for leaf in model.parameters()] == [key for key in KEYS if key != "count"]
    assert model.num_parameters() == sum(leaf.size for leaf in model.parameters()) == 2 + 6 + 4 + 36
    assert [name for name, _ in model.named_modules()] == ["", "decoder", "decoder.0", "decoder.1", "encoder"]
    outer = nn.Sequential(model)
    assert [leaf.name for leaf in outer.parameters()] == ["0." + key for key in KEYS if key != "count"]
    outer.again = model  # the first name stays
    assert [leaf.name for leaf in outer.parameters()] == ["0." + key for key in KEYS if key != "count"]
    assert "again.scale" in outer.state_dict() and len(outer.modules()) == 6


def scopes_between(y, x):
    """The module paths of the nodes from x to y (those of constants alone may belong to other graphs too)."""
    return {node.scope for node in depends_on([y], [x]) if node is not x}


def test_nodes_carry_the_module_path():
    model, x = Model(), ta.tensor(np.ones((3, 1, 2), np.float32))
    assert scopes_between(model(x), x) == {
        (), ("encoder", "l0"), ("decoder", "0"), ("decoder", "1"),
    }  # fmt: skip
    x = ta.tensor(np.ones((3, 1, 2), np.float32))
    with ta.scope("translate"):  # a part called on its own has the same path, below the user's scope
        y = model.encode(x)
    assert scopes_between(y, x) == {("translate", "encoder", "l0")}


def test_a_tied_parameter_is_one_parameter_with_two_names():
    model = nn.Sequential(nn.Embedding(3, 2), nn.Linear(2, 3, bias=False))
    model[1].weight = model[0].weight
    assert len(model.parameters()) == 1 and model[0].weight.name == "0.weight"
    state = model.state_dict()
    assert list(state) == ["0.weight", "1.weight"]
    del state["1.weight"]
    state["0.weight"] += 1
    model.load_state_dict(state)
    assert np.array_equal(model[1].weight.numpy(), state["0.weight"])
    assert model.to(np.float64)[0].weight is model[1].weight


def test_state_dicts_are_copies_and_convert():
    model, other = Model(), Model()
    state = model.state_dict()
    state["scale"][:] = 5
    assert np.array_equal(model.scale.numpy(), [1, 1])
    state["count"] = np.array(7, np.int32)
    version = other.scale.storage.version
    other.load_state_dict(
        {name: array.astype(np.float64) if array.ndim else array for name, array in state.items()}
    )
    assert other.scale.storage.version > version and other.scale.dtype == np.float32
    assert np.array_equal(other.scale.numpy(), [5, 5]) and int(other.count) == 7


def test_state_dicts_that_do_not_fit_change_nothing():
    model = Model()
    before, state = model.state_dict(), model.state_dict()
    state["scale"] = np.zeros(3, np.float32)
    state["count"] = np.zeros((), np.float32)
    state["decoder.2.weight"] = np.zeros((2, 2))
    for name in KEYS[2:6]:
        del state[name]
    state["encoder.bias_ih_l0"] = state["encoder.bias_ih_l0"] + 1
    with pytest.raises(errors.CheckpointError) as error:
        model.load_state_dict(state)
    lines = str(error.value).splitlines()
    assert lines[0] == (
        "[load_state_dict] names and shapes must be those of this Model, but "
        "2 have another type: scale (3,) instead of (2,), count () instead of () int64; "
        "4 are missing: decoder.0.weight (2, 2), decoder.0.bias (2,), decoder.1.weight (2, 2) and 1 more; "
        "1 is unexpected: decoder.2.weight (2, 2)."
    )
    assert lines[2:] == ["  Nothing was loaded."]
    after = model.state_dict()
    assert all(np.array_equal(before[name], after[name]) for name in before)
    del state["scale"], state["count"]
    with pytest.raises(
        errors.CheckpointError, match="With strict=False keys that are missing or unexpected are passed"
    ):
        model.load_state_dict(state)
    loaded = model.load_state_dict(state, strict=False)
    assert loaded.missing_keys == KEYS[:6] and loaded.unexpected_keys == ["decoder.2.weight"]
    assert np.array_equal(model.encoder.bias_ih_l0.numpy(), before["encoder.bias_ih_l0"] + 1)
    with pytest.raises(errors.CheckpointError, match="1 has another type: scale"):
        model.load_state_dict({"scale": [[1.0], [2.0, 3.0]]}, strict=False)


def test_modes_reach_all_modules():
    model = nn.Sequential(nn.Dropout(), nn.Sequential(nn.Dropout()))
    assert all(module.training for module in model.modules())
    assert model.eval() is model and not any(module.training for module in model.modules())
    assert model.train() is model and all(module.training for module in model.modules())


def test_modules_refuse_what_they_would_overlook():
    module = nn.Module()
    with pytest.raises(errors.TinyattnError) as error:
        module.layers = [nn.Linear(2, 2)]
    text = str(error.value).splitlines()
    assert (
        text[0]
        == "[Module] the attribute 'layers' must show its modules and parameters, but got a list of them."
    )
    assert text[2] == "  Use nn.ModuleList([...]), or one attribute for each."
    with pytest.raises(errors.TinyattnError, match="must define forward to be called, but Module does not"):
        module()
    with pytest.raises(
        errors.TinyattnError, match=r"\[ModuleList\] the items must be modules, but got float"
    ):
        nn.ModuleList([1.0])
    with pytest.raises(
        errors.DTypeError, match=r"\[to\] parameters must be float32 or float64, but got int32"
    ):
        module.to(np.int32)


def test_to_changes_the_element_type():
    model = Model().to(np.float64)
    assert {leaf.dtype for leaf in model.parameters()} == {np.dtype(np.float64)}
    assert model.count.dtype == np.int64
    assert [leaf.name for leaf in model.parameters()] == [key for key in KEYS if key != "count"]
    assert model(np.ones((3, 1, 2))).dtype == np.float64


# Initial values
