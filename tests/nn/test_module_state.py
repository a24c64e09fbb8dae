"""What belongs to a module stays with it: under assignment, ``copy`` and ``to``, for every class of ``ta.nn``."""

import copy
import gc
import inspect
import warnings

import numpy as np
import pytest
from modules import equal_states, singles

import tinyattn as ta
from tinyattn import nn

_MADE = {
    "AdaptiveAvgPool2d": lambda: nn.AdaptiveAvgPool2d(2),
    "AvgPool2d": lambda: nn.AvgPool2d(2),
    "BCEWithLogitsLoss": lambda: nn.BCEWithLogitsLoss(pos_weight=[2.0]),
    "BatchNorm1d": lambda: nn.BatchNorm1d(3),
    "BatchNorm2d": lambda: nn.BatchNorm2d(3),
    "Conv1d": lambda: nn.Conv1d(3, 2, 2),
    "Conv2d": lambda: nn.Conv2d(3, 2, 2),
    "ConvTranspose2d": lambda: nn.ConvTranspose2d(3, 2, 2),
    "CrossEntropyLoss": lambda: nn.CrossEntropyLoss([1.0, 2.0]),
    "Embedding": lambda: nn.Embedding(5, 3),
    "GRU": lambda: nn.GRU(3, 2, 2, bidirectional=True),
    "GRUCell": lambda: nn.GRUCell(3, 2),
    "GroupNorm": lambda: nn.GroupNorm(2, 4),
    "LSTM": lambda: nn.LSTM(3, 2, 2),
    "LSTMCell": lambda: nn.LSTMCell(3, 2),
    "LayerNorm": lambda: nn.LayerNorm(3),
    "Linear": lambda: nn.Linear(3, 2),
    "LogSoftmax": lambda: nn.LogSoftmax(-1),
    "Softmax": lambda: nn.Softmax(-1),
    "MaxPool2d": lambda: nn.MaxPool2d(2),
    "ModuleDict": lambda: nn.ModuleDict({"a": nn.Linear(3, 2)}),
    "ModuleList": lambda: nn.ModuleList([nn.Linear(3, 2)]),
    "MultiheadAttention": lambda: nn.MultiheadAttention(4, 2),
    "NLLLoss": lambda: nn.NLLLoss([1.0, 2.0]),
    "RMSNorm": lambda: nn.RMSNorm(3),
    "RNN": lambda: nn.RNN(3, 2),
    "RNNCell": lambda: nn.RNNCell(3, 2),
    "Sequential": lambda: nn.Sequential(nn.Linear(3, 2), nn.ReLU(), nn.LayerNorm(2)),
    "Transformer": lambda: nn.Transformer(4, 2, 1, 1, 5),
    "TransformerDecoder": lambda: nn.TransformerDecoder(nn.TransformerDecoderLayer(4, 2, 5), 2),
    "TransformerDecoderLayer": lambda: nn.TransformerDecoderLayer(4, 2, 5),
    "TransformerEncoder": lambda: nn.TransformerEncoder(nn.TransformerEncoderLayer(4, 2, 5), 2),
    "TransformerEncoderLayer": lambda: nn.TransformerEncoderLayer(4, 2, 5),
    "spectral_norm": lambda: nn.spectral_norm(nn.Linear(3, 2)),
    "GPT": lambda: ta.models.GPT(ta.models.GPTConfig(5, block_size=4, n_layer=2, n_head=2, n_embd=4)),
}


def _classes() -> dict:
    """A maker for every class of modules; those that need no arguments make themselves."""
    found = {}
    for name in nn.__all__:
        kind = getattr(nn, name)
        if isinstance(kind, type) and issubclass(kind, nn.Module):
            required = [
                p
                for p in inspect.signature(kind).parameters.values()
                if p.default is p.empty and p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
            ]
            found[name] = _MADE[name] if name in _MADE or required else kind
    return found | _MADE


CLASSES = _classes()


@pytest.mark.parametrize("name", CLASSES)
def test_no_assignment_and_no_del_takes_a_part_or_a_leaf_away(name):
    module = CLASSES[name]()
    before, parts = module._named_leaves(), module.named_modules()
    before = list(before)
    for part in module.modules():
        for attribute, value in list(vars(part).items()):
            leaf = isinstance(value, ta.Tensor) and (value.op.name == "parameter" or attribute[0] != "_")
            if not leaf and not isinstance(value, nn.Module):
                continue
            advice = rf"\.{attribute}\.assign\(array\)" if leaf else "Set another module"
            wrong = [np.ones(value.shape) if leaf else np.ones(3), None, 1.0, "a", lambda x: x, [1.0]]
            wrong += [
                ta.tensor([1.0]) * 2,
                ta.parameter([1.0]) if leaf and value.op.name == "tensor" else ta.tensor([1.0]),
            ]
            for other in wrong[
                : None if value.__class__ is not ta.Tensor or value.op.name == "parameter" else -1
            ]:
                with pytest.raises(ta.TinyattnError, match=advice) as caught:
                    setattr(part, attribute, other)
                assert len(str(caught.value).splitlines()) == 3
            with pytest.raises(ta.TinyattnError, match="must stay one, but got del"):
                delattr(part, attribute)
    assert list(module._named_leaves()) == before and module.named_modules() == parts


def test_a_leaf_of_its_kind_and_another_module_may_take_the_place():
    net = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3), nn.BatchNorm1d(3))
    net[1].weight = net[0].weight  # tied
    net[0].bias = ta.parameter(np.ones(3))
    net[2].running_mean = ta.tensor(np.ones(3, np.float32))
    setattr(net, "1", nn.Identity())
    assert [leaf.name for leaf in net.parameters()] == ["0.weight", "0.bias", "2.weight", "2.bias"]
    heads = nn.ModuleDict({"a": nn.Linear(3, 2)})
    del heads["a"]
    assert len(heads) == 0
    net.eval()
    net.note = "of no matter"
    del net.note


def test_a_module_that_raises_leaves_no_scope_behind():
    class Wrong(nn.Module):
        def forward(self, x):
            raise KeyboardInterrupt

    net = nn.Sequential(nn.Linear(3, 3), Wrong())
    with pytest.raises(KeyboardInterrupt):
        net(np.ones((1, 3), np.float32))
    assert ta.tanh(ta.tensor([1.0])).scope == ()


_IMAGES = ("AdaptiveAvgPool2d", "AvgPool2d", "BatchNorm2d", "Conv2d", "ConvTranspose2d", "MaxPool2d")
_SEQUENCES = ("GRU", "LSTM", "RNN", "TransformerEncoder", "TransformerEncoderLayer")
_PAIRS = ("Transformer", "TransformerDecoder", "TransformerDecoderLayer")
_TWO = ("HuberLoss", "KLDivLoss", "L1Loss", "MSELoss", "SmoothL1Loss")
_GIVEN = {
    **{name: [singles(2, 3, 4, 4)] for name in _IMAGES},
    **{name: [singles(2, 3, 4 if name[0] in "MT" else 3)] for name in _SEQUENCES},
    **{name: [singles(3, 2, 4), singles(2, 2, 4)] for name in _PAIRS},
    **{name: [singles(2, 3), np.abs(singles(2, 3))] for name in _TWO},
    "BCEWithLogitsLoss": [singles(4, 1), np.float32([[0], [1], [1], [0]])],
    "Conv1d": [singles(2, 3, 4)],
    "CrossEntropyLoss": [singles(3, 2), np.array([0, 1, 1])],
    "Embedding": [np.array([[0, 4], [2, 2]])],
    "GPT": [np.array([[0, 4], [2, 2]])],
    "GroupNorm": [singles(2, 4)],
    "MultiheadAttention": [singles(3, 2, 4), singles(2, 2, 4), singles(2, 2, 4)],
    "NLLLoss": [singles(3, 2), np.array([0, 1, 1])],
}
"""What each class is called with, if not with an array of shape (4, 3)."""


class _Net(nn.Module):
    """A module and what it is called with: floating-point numbers are trained, too."""

    def __init__(self, name):
        self.module = CLASSES[name]()
        given = _GIVEN.get(name, [singles(4, 3)])
        self.count = len(given)
        for k, array in enumerate(given):
            setattr(self, f"given{k}", ta.parameter(array) if array.dtype.kind == "f" else ta.tensor(array))

    def forward(self):
        module = self.module
        if type(module) is nn.Module:
            return self.given0
        module = {"ModuleDict": lambda: module["a"], "ModuleList": lambda: module[0]}.get(
            type(module).__name__, lambda: module
        )()
        return module(*(getattr(self, f"given{k}") for k in range(self.count)))

    def loss(self):
        leaves = [y for y in _tensors(self()) if y.dtype.kind == "f"]
        return sum(((y * 0.5 + 0.1) ** 2).sum() for y in leaves)


def _tensors(tree):
    if isinstance(tree, ta.Tensor):
        return [tree]
    return [] if tree is None else [leaf for part in tree for leaf in _tensors(part)]


class _Training:
    """A net, its optimizer, and one function for all of its steps."""

    def __init__(self, net, compiled):
        self.net, self.optimizer = net, ta.optim.Adam(net.parameters(), 0.01)
        self.run = ta.function(self._step) if compiled else lambda: self._step().numpy()

    def _step(self):
        loss = self.net.loss()
        if ta.graph.trace.current() is None:
            value = ta.tensor(loss.numpy())
            self.optimizer.minimize(loss)
            return value
        self.optimizer.minimize(loss)
        return loss

    def step(self):
        ta.manual_seed(7)  # (dropout)
        return self.run()

    def state(self):
        return self.net.state_dict() | {f"optimizer.{k}": v for k, v in self.optimizer.state_dict().items()}

    def load(self, other):
        self.net.load_state_dict(other.net.state_dict())
        self.optimizer.load_state_dict(other.optimizer.state_dict())
        for mine, its in zip(self.net.modules(), other.net.modules(), strict=True):
            for name, leaf in vars(mine).items():  # (those that aren't saved)
                if isinstance(leaf, ta.Tensor):
                    leaf.assign(vars(its)[name].numpy())


def _anew(net, dtype):
    """A net of the same form whose floating-point leaves are made in ``dtype``."""
    made = {}
    for module in net.modules():
        for name, leaf in list(vars(module).items()):
            if isinstance(leaf, ta.Tensor) and leaf.dtype.kind == "f":
                maker = ta.parameter if leaf.op.name == "parameter" else ta.tensor
                made.setdefault(leaf, maker(leaf.numpy().astype(dtype), name=leaf.name))
                setattr(module, name, made[leaf])
    return net


@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "compiled"])
@pytest.mark.parametrize("name", CLASSES)
def test_a_converted_module_trains_as_one_made_in_that_type(name, compiled):
    ta.manual_seed(1)
    training = _Training(_Net(name), compiled)
    leaves = [leaf for _, leaf in training.net._named_leaves()]
    training.step()
    for dtype in (np.float64, np.float32):
        training.net.to(dtype)
        assert all(a is b for a, b in zip(leaves, [x for _, x in training.net._named_leaves()], strict=True))
        fresh = _Training(_anew(_Net(name), dtype), compiled)
        fresh.load(training)
        for _ in range(2):
            one, other = training.step(), fresh.step()
            assert one.dtype == other.dtype == dtype and np.array_equal(one, other)
            equal_states(training.state(), fresh.state())


@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "compiled"])
@pytest.mark.parametrize("name", CLASSES)
def test_an_optimizer_trains_the_module_that_it_was_made_of_not_a_copy(name, compiled):
    ta.manual_seed(1)
    training = _Training(_Net(name), compiled)
    training.step()
    twin = training.net.copy()
    other = _Training(twin, compiled)
    before = twin.state_dict()
    training.step()
    equal_states(before, twin.state_dict())
    with pytest.raises(ta.TinyattnError, match="depends on none"):
        training.optimizer.minimize(twin.loss())
    with pytest.raises(ta.TinyattnError, match="depends on none"):
        training.optimizer.update(ta.grad(twin.loss(), training.optimizer.parameters))
    other.load(training)
    training.step(), other.step()
    equal_states(training.state(), other.state())


def test_a_model_that_is_converted_before_it_is_first_compiled():
    net = nn.Linear(3, 2).to(np.float64)
    y = ta.function(net)(singles(4, 3).astype(np.float64))
    assert y.dtype == np.float64


def test_what_was_built_before_a_conversion_says_that_it_must_be_built_again():
    net = nn.Linear(3, 2)
    x = ta.tensor(singles(4, 3))
    y = ta.tanh(net(x)).sum()
    y.numpy()
    program, bound = ta.Program([y]), ta.Program([y]).bind()
    net.weight.grad = ta.grad(y, net.weight)
    other = ta.tanh(x)
    net.to(np.float64)
    uses = {
        "value": y.numpy,
        "text": lambda: str(y),
        "values": lambda: ta.evaluate([x, y]),
        "expression": (y + 1).numpy,
        "gradient": lambda: ta.grad(y, x),
        "a gradient below": lambda: ta.grad(x.sum(), y),
        "backward": y.backward,
        "new program": lambda: ta.Program([y]),
        "program": program.run,
        "call": bound,
        "picture": lambda: ta.viz.draw(y),
        "function": lambda: ta.function(lambda: y)(),
        "argument": lambda: ta.function(lambda a: a)(y),
        "assignment": lambda: ta.tensor(0.0).assign(y),
    }
    for use in uses.values():
        with pytest.raises(ta.TinyattnError, match=r"^\[to\] .* must be (built|made) again") as caught:
            use()
        assert len(str(caught.value).splitlines()) <= 3
    assert repr(y) == "<Tensor f32[] = sum>"
    assert other is ta.tanh(x)  # (what isn't built of the leaves stays)
    np.testing.assert_array_equal(ta.tanh(net(x)).sum().numpy(), ta.tanh(net(x)).sum().numpy())
    net.to(np.float32)
    with pytest.raises(ta.TinyattnError, match=r"^\[to\]"):
        y.numpy()
    assert float(ta.tanh(net(x)).sum()) == ta.function(lambda: ta.tanh(net(x)).sum())()


def test_outputs_of_loops_and_layers_of_before_can_be_named():
    cell = nn.LSTM(3, 2)
    outputs, (state, _) = cell(ta.tensor(singles(2, 4, 3)))
    cell.to(np.float64)
    for old in (outputs, state):
        with pytest.raises(ta.TinyattnError, match=r"^\[to\] .* but got <Tensor f32"):
            old.numpy()


def test_a_deep_copy_has_memory_of_its_own():
    net = nn.Linear(3, 2)
    optimizer = ta.optim.Adam(net.parameters())
    twin = copy.deepcopy(net)
    twin.to(np.float64)
    assert optimizer._moments[0][0].dtype == net.weight.dtype == np.float32
    twin.weight.assign(np.zeros((2, 3)))
    assert net.weight.numpy().any()


def test_gradients_of_before_are_converted_with_their_values_of_that_moment():
    w = nn.Linear(3, 2)
    loss = (w(ta.tensor(singles(4, 3))) ** 2).sum()
    right = ta.grad(loss, w.weight).numpy()
    loss.backward()
    w.to(np.float64)
    assert w.weight.grad.dtype == np.float64 and np.array_equal(
        w.weight.grad.numpy(), right.astype(np.float64)
    )


def test_a_gradient_that_was_kept_has_its_value_but_is_no_expression_any_more():
    net = nn.Linear(3, 2)
    (net.weight**2).sum().backward()
    held = net.weight.grad
    right = 2 * net.weight.numpy()
    net.to(np.float64)
    np.testing.assert_array_equal(held.numpy(), right)
    with pytest.raises(ta.TinyattnError, match=r"^\[to\]"):
        ta.Program([held])


def test_a_function_that_saw_only_the_type_of_a_leaf_is_traced_again():
    net, seen = nn.Linear(3, 2), []

    @ta.function
    def zeros():
        seen.append(net.weight.dtype)
        return ta.zeros_like(net.weight)

    assert zeros().dtype == np.float32
    nn.Linear(3, 2).to(np.float64)  # a leaf that is younger than the trace
    assert zeros().dtype == np.float32 and len(seen) == 1
    net.to(np.float64)
    assert zeros().dtype == np.float64 and zeros().dtype == np.float64 and len(seen) == 2
    net.to(np.float64)
    zeros()
    assert len(seen) == 2


def test_conversions_are_no_reason_to_warn_of_many_traces():
    net = nn.Linear(3, 2)
    function = ta.function(lambda x: net(x))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(6):
            for dtype in (np.float64, np.float32):
                net.to(dtype)
                assert function(singles(4, 3)).dtype == dtype
    assert sum(map(len, function._compiled.values())) == 1


def test_moments_of_optimizers_that_are_gone_are_gone():
    w = ta.parameter([1.0, 2.0])
    for _ in range(5):
        optimizer = ta.optim.Adam([w])
        gc.collect()
    assert len(w.storage.followers()) == 2 and len(w.storage._followers) <= 4
    del optimizer
    gc.collect()
    assert w.storage.followers() == []
