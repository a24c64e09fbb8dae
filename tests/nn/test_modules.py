"""Modules without kernels of their own: activations, losses, GroupNorm, plain RNNs, ModuleDict. They are torch's."""

import numpy as np
import pytest
from modules import close

import tinyattn as ta
from tinyattn import errors, nn

_CLASSES = np.array([[1, 0], [2, -100], [2, 1]])
X = np.random.default_rng(0).standard_normal((3, 4, 2))
SOFT = np.random.default_rng(1).random((3, 4, 2))

MODULES = {
    "Identity": lambda n: n.Identity(54, unused=1), "ReLU": lambda n: n.ReLU(), "Tanh": lambda n: n.Tanh(), "Sigmoid": lambda n: n.Sigmoid(),
    "SiLU": lambda n: n.SiLU(), "ELU": lambda n: n.ELU(0.7), "LogSigmoid": lambda n: n.LogSigmoid(), "GELU": lambda n: n.GELU(), "GELU, tanh": lambda n: n.GELU("tanh"), "LeakyReLU": lambda n: n.LeakyReLU(0.2),
    "Softplus": lambda n: n.Softplus(2.0, 0.5), "Softmax": lambda n: n.Softmax(1), "LogSoftmax": lambda n: n.LogSoftmax(dim=-2),
    "Flatten": lambda n: n.Flatten(), "Flatten, first": lambda n: n.Flatten(0, 1),
    "GroupNorm": lambda n: n.GroupNorm(2, 4, 1e-3), "GroupNorm, plain": lambda n: n.GroupNorm(4, 4, affine=False),
}  # fmt: skip
LOSSES = {
    "CrossEntropyLoss": (lambda n, w: n.CrossEntropyLoss(w(4), label_smoothing=0.1), _CLASSES),
    "CrossEntropyLoss, ignored": (lambda n, w: n.CrossEntropyLoss(ignore_index=2, reduction="none"), np.maximum(_CLASSES, 0)),
    "CrossEntropyLoss, soft": (lambda n, w: n.CrossEntropyLoss(w(4), reduction="sum"), SOFT),
    "NLLLoss": (lambda n, w: n.NLLLoss(w(4)), _CLASSES), "BCEWithLogitsLoss": (lambda n, w: n.BCEWithLogitsLoss(w(2), pos_weight=w(2)), SOFT),
    "KLDivLoss": (lambda n, w: n.KLDivLoss(reduction="batchmean"), SOFT), "KLDivLoss, logs": (lambda n, w: n.KLDivLoss(reduction="sum", log_target=True), SOFT),
    "MSELoss": (lambda n, w: n.MSELoss(), SOFT), "L1Loss": (lambda n, w: n.L1Loss(reduction="none"), SOFT),
    "SmoothL1Loss": (lambda n, w: n.SmoothL1Loss(beta=0.5), SOFT), "HuberLoss": (lambda n, w: n.HuberLoss(delta=0.7), SOFT),
}  # fmt: skip


def compare(ours, theirs, *arrays):
    """Values, state, and the gradients of the sum of squares for the first array and the parameters."""
    torch = pytest.importorskip("torch")
    theirs.double()
    ours.to(np.float64).load_state_dict({name: value.numpy() for name, value in theirs.state_dict().items()})
    assert list(ours.state_dict()) == list(theirs.state_dict())
    given = [torch.from_numpy(a) for a in arrays]
    given[0].requires_grad_()
    right = theirs(*given)
    mine = [ta.tensor(a) for a in arrays]
    found = ours(*mine)
    close(found.numpy(), right.detach().numpy())
    (right**2).sum().backward()
    wanted = [mine[0], *ours.parameters()]
    for g, leaf in zip(ta.grad((found**2).sum(), wanted), [given[0], *theirs.parameters()], strict=True):
        close(g.numpy(), leaf.grad.numpy())


@pytest.mark.parametrize("name", MODULES)
def test_modules_are_those_of_torch(name):
    torch = pytest.importorskip("torch")
    make = MODULES[name]
    compare(make(nn), make(torch.nn), X)
    if make(nn).extra_repr() and "GroupNorm" not in name:
        assert repr(make(nn)) == repr(make(torch.nn))


@pytest.mark.parametrize("name", LOSSES)
def test_losses_are_those_of_torch(name):
    torch = pytest.importorskip("torch")
    make, targets = LOSSES[name]
    weights = lambda count: np.linspace(0.5, 2, count)
    compare(make(nn, weights), make(torch.nn, lambda n: torch.tensor(weights(n))), X.copy(), targets)


def test_in_place_is_no_matter():
    assert np.array_equal(nn.ReLU(inplace=True)(X).numpy(), np.maximum(X, 0)) and (X < 0).any()


def test_losses_have_numbers_without_torch():
    x = np.log([[0.25, 0.5, 0.25], [0.1, 0.2, 0.7]])
    assert float(nn.CrossEntropyLoss()(x, [1, 2])) == pytest.approx(-(np.log(0.5) + np.log(0.7)) / 2)
    weighted = -(2 * np.log(0.5) + np.log(0.7)) / 3
    assert float(nn.CrossEntropyLoss([1.0, 2.0, 1.0])(x, [1, 2])) == pytest.approx(weighted)
    assert float(nn.MSELoss(reduction="sum")([1.0, 2.0], [0.0, 4.0])) == 5
    assert list(nn.BCEWithLogitsLoss(pos_weight=[2.0]).state_dict()) == ["pos_weight"]
    assert nn.CrossEntropyLoss([1.0, 2.0]).parameters() == []


@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("nonlinearity", ["tanh", "relu"])
def test_a_plain_rnn_is_that_of_torch(nonlinearity, batch_first):
    torch = pytest.importorskip("torch")
    options = {"nonlinearity": nonlinearity, "bidirectional": True, "batch_first": batch_first}
    theirs = torch.nn.RNN(2, 5, 2, **options).double()
    ours = nn.RNN(2, 5, 2, **options).to(np.float64)
    ours.load_state_dict({name: value.numpy() for name, value in theirs.state_dict().items()})
    assert list(ours.state_dict()) == list(theirs.state_dict())
    for x in (X, X[0]):  # a batch, and a single sequence
        state = np.random.default_rng(2).standard_normal(
            (4, *((3 if batch_first else 4,) if x.ndim > 2 else ()), 5)
        )
        right, last = theirs(torch.from_numpy(x), torch.from_numpy(state))
        found, final = ours(x, state)
        close(found.numpy(), right.detach().numpy())
        close(final.numpy(), last.detach().numpy())


def test_behind_the_end_of_a_sequence_nothing_is_heard():
    layer = nn.RNN(2, 3, dtype=np.float64)
    x = X.copy()
    x[2:, 0] = np.nan
    y, last = layer(x, None, [2, 3, 1, 3][:4])
    loss = (y[:2] ** 2).sum() + (last**2).sum()
    assert all(np.isfinite(g.numpy()).all() for g in ta.grad(loss, layer.parameters()))
    clean, _ = layer(X, None, [2, 3, 1, 3])
    assert np.array_equal(clean.numpy(), y.numpy())


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
def test_a_single_sequence_and_a_single_step(kind):
    layer = getattr(nn, kind)(2, 3, bidirectional=True, dtype=np.float64)
    many, final = layer(X[:, :1])
    one, last = layer(X[:, 0])
    close(one.numpy(), many.numpy()[:, 0])
    for a, b in zip(last if kind == "LSTM" else [last], final if kind == "LSTM" else [final], strict=True):
        close(a.numpy(), b.numpy()[:, 0])
    cell = getattr(nn, kind + "Cell")(2, 3, dtype=np.float64)
    whole, part = cell(X[0], cell(X[1])), cell(X[0, 1], cell(X[1, 1]))
    for a, b in zip(*((s if kind == "LSTM" else [s]) for s in (whole, part)), strict=True):
        close(b.numpy(), a.numpy()[1])


def test_a_dict_of_modules():
    class Net(nn.Module):
        def __init__(self):
            self.heads = nn.ModuleDict({"tag": nn.Linear(2, 3), "chunk": nn.Linear(2, 4)})

        def forward(self, x, head):
            return self.heads[head](x)

    net = Net()
    assert list(net.state_dict()) == [
        "heads.tag.weight",
        "heads.tag.bias",
        "heads.chunk.weight",
        "heads.chunk.bias",
    ]
    assert list(net.heads) == list(net.heads.keys()) == ["tag", "chunk"] and len(net.heads) == 2
    assert net.heads["tag"].weight.name == "heads.tag.weight"
    assert [m.out_features for m in net.heads.values()] == [3, 4]
    assert dict(net.heads.items()) == {"tag": net.heads["tag"], "chunk": net.heads["chunk"]}
    assert net(X.astype(np.float32), "chunk").shape == (3, 4, 4)
    del net.heads["tag"]
    net.heads["tag"] = nn.Identity()
    assert "tag" in net.heads and "other" not in net.heads and len(net.parameters()) == 2
    assert repr(nn.ModuleDict({"a": nn.Tanh()})) == "ModuleDict(\n  (a): Tanh()\n)"
    with pytest.raises(KeyError):
        net.heads["other"]
    with pytest.raises(KeyError):
        del net.heads["other"]


def test_errors_say_what_must_hold():
    for call, text in (
        (lambda: nn.ModuleDict({"a": 1}), "[ModuleDict] the items must be modules, but got int."),
        (lambda: nn.ModuleDict({"a.b": nn.Tanh()}), "[ModuleDict] a name must be a string without dots that isn't an attribute of modules, but got 'a.b'."),
        (lambda: nn.ModuleDict({"forward": nn.Tanh()}), "[ModuleDict] a name must be a string without dots that isn't an attribute of modules, but got 'forward'."),
        (lambda: nn.Flatten(2, 1)(X), "[Flatten] start_dim must not lie behind end_dim, but got 2 and 1 of shape (3, 4, 2)."),
        (lambda: nn.GroupNorm(3, 4), "[GroupNorm] num_channels must be a multiple of num_groups, but got 4 and 3."),
        (lambda: nn.GroupNorm(2, 4)(ta.zeros((2, 6))), "[GroupNorm] x must have num_channels = 4 channels on the second axis, but got shape (2, 6)."),
        (lambda: nn.RNN(2, 3, nonlinearity="sin"), "[RNN] nonlinearity must be 'tanh' or 'relu', but got 'sin'."),
        (lambda: nn.CrossEntropyLoss(reduction="max")(X[0], [0, 1, 0, 1]), "[cross_entropy] reduction must be 'mean', 'sum' or 'none', but got 'max'."),
    ):  # fmt: skip
        with pytest.raises(errors.TinyattnError) as caught:
            call()
        assert str(caught.value).splitlines()[0] == text
