"""What belongs to a module stays with it: under assignment, ``copy`` and ``to``, for every class of ``ta.nn``."""

import inspect

import numpy as np
import pytest

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
