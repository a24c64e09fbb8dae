"""Convolution, pooling, batch norm and spectral norm layers: the same as torch's from the same state dict, in training and
evaluation, with the same running state after several steps; and without torch, what they keep and say."""

import copy

import numpy as np
import pytest

import tinyattn as ta
from tinyattn import errors, nn

STEPS = 3


class Ours(nn.Module):
    """A layer in the middle of a function, so that training moves all of it."""

    def __init__(self, layers):
        self.layers = nn.Sequential(*layers)

    def forward(self, x):
        return self.layers(x)


def layers(library, spectral, kind):
    """The same network of one library's layers."""
    if kind == "images":
        found = [
            library.Conv2d(3, 8, 4, 2, 1),
            library.BatchNorm2d(8),
            library.MaxPool2d(3, 1, 1),
            library.ConvTranspose2d(8, 4, (4, 3), stride=2, padding=1, output_padding=(0, 1)),
            library.BatchNorm2d(4, momentum=None, affine=False),
            library.Conv2d(4, 5, (1, 3), padding=(0, 2), dilation=(1, 2), bias=False),
            library.AvgPool2d(2),
            library.BatchNorm2d(5, track_running_stats=False, eps=1e-3),
        ]
        for k in (0, 3):
            spectral(found[k])
        return found
    if kind == "groups":
        return [
            library.Conv2d(4, 8, 3, padding="same", groups=4, bias=False),
            library.Conv2d(8, 6, (3, 2), groups=2, stride=(1, 2), padding="valid"),
            library.MaxPool2d(2, 1, dilation=2, ceil_mode=True),
            library.ConvTranspose2d(6, 6, 3, groups=6, dilation=2, stride=2, output_padding=1),
            library.AvgPool2d(3, 2, 1, ceil_mode=True, count_include_pad=False),
            spectral(library.ConvTranspose2d(6, 4, 2, groups=2)),
            library.AdaptiveAvgPool2d((None, 3)),
        ]
    return [
        library.Conv1d(3, 6, 3, stride=2, padding=1, dilation=2),
        library.BatchNorm1d(6, momentum=0.3),
        spectral(library.Conv1d(6, 2, 1), n_power_iterations=2),
    ]


def same_state(ours, theirs):
    found = ours.state_dict()
    assert list(found) == list(theirs.state_dict())
    for name, value in theirs.state_dict().items():
        value = value.numpy()
        assert found[name].dtype == value.dtype and found[name].shape == value.shape, name
        assert np.abs(found[name] - value).max() <= 1e-9 * max(1, np.abs(value).max()), name


@pytest.mark.parametrize(
    ("kind", "sizes"), [("images", (4, 3, 8, 10)), ("sequences", (4, 3, 9)), ("groups", (3, 4, 8, 9))]
)
def test_layers_are_those_of_torch_in_training_and_evaluation(kind, sizes):
    torch = pytest.importorskip("torch")
    theirs = torch.nn.Module()
    theirs.layers = torch.nn.Sequential(
        *layers(torch.nn, torch.nn.utils.parametrizations.spectral_norm, kind)
    ).double()
    ours = Ours(layers(nn, nn.spectral_norm, kind)).to(np.float64)
    ours.load_state_dict({name: value.numpy() for name, value in theirs.state_dict().items()})
    parameters = ours.parameters()

    @ta.function
    def step(x):  # the layers are called twice in a step, as a discriminator is
        loss = (ours(x) ** 3).mean() + ours(2 * x + 1).mean()
        for w, g in zip(parameters, ta.grad(loss, parameters), strict=True):
            ta.assign(w, w - 0.1 * g)
        return loss

    evaluate = ta.function(lambda x: ours(x))
    optimizer, rng = torch.optim.SGD(theirs.parameters(), lr=0.1), np.random.default_rng(0)
    for _ in range(STEPS):
        x = rng.standard_normal(sizes)
        given = torch.from_numpy(x)
        loss = (theirs.layers(given) ** 3).mean() + theirs.layers(2 * given + 1).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        assert float(step(x)) == pytest.approx(loss.item(), rel=1e-9)
        same_state(ours, theirs)
    for mode in (False, True):
        ours.train(mode), theirs.train(mode)
        x = rng.standard_normal(sizes)
        right = theirs.layers(torch.from_numpy(x)).detach().numpy()
        # Evaluated at once in training, where state moves on; compiled in evaluation.
        found = ours(x).numpy() if mode else evaluate(x)
        assert np.abs(found - right).max() <= 1e-9 * max(1, np.abs(right).max())
        same_state(ours, theirs)


def test_one_image_is_a_batch_of_one():
    x = np.random.default_rng(0).standard_normal((4, 6, 7)).astype(np.float32)
    for layer in (
        nn.Conv2d(4, 3, 3),
        nn.ConvTranspose2d(4, 2, 3),
        nn.MaxPool2d(2),
        nn.AvgPool2d(3, 1),
        nn.AdaptiveAvgPool2d(2),
    ):
        np.testing.assert_array_equal(layer(x).numpy(), layer(x[None]).numpy()[0])
    layer = nn.Conv1d(4, 3, 3)
    np.testing.assert_array_equal(layer(x[:, 0]).numpy(), layer(x[None, :, 0]).numpy()[0])


def test_what_a_batch_leaves_behind():
    layer = nn.BatchNorm1d(2, dtype=np.float64)
    x = np.array([[1.0, 10.0], [3.0, 10.0], [5.0, 40.0]])
    y = layer(x).numpy()
    np.testing.assert_allclose(y.mean(0), 0, atol=1e-12)
    np.testing.assert_allclose(layer.running_mean.numpy(), [0.3, 2.0])
    np.testing.assert_allclose(layer.running_var.numpy(), [0.9 + 0.4, 0.9 + 30.0])  # divided by 3 − 1
    assert layer.num_batches_tracked.numpy() == 1
    layer.eval()
    np.testing.assert_allclose(layer(x).numpy(), (x - [0.3, 2.0]) / np.sqrt(np.array([1.3, 30.9]) + 1e-5))
    assert layer.num_batches_tracked.numpy() == 1


def test_spectral_norm_divides_by_the_largest_singular_value():
    layer = nn.spectral_norm(nn.Linear(5, 7, dtype=np.float64))
    for _ in range(60):
        layer(np.zeros((1, 5)))
    layer.eval()
    u, weight = layer.parametrizations.weight.state_dict()["0._u"], layer.weight.numpy()
    assert np.linalg.svd(weight)[1][0] == pytest.approx(1)
    assert np.linalg.norm(u) == pytest.approx(1)
    assert [p.name for p in layer.parameters()] == ["bias", "parametrizations.weight.original"]
    again = copy.deepcopy(layer.state_dict())
    layer.load_state_dict(again)


def test_initial_values_are_uniform_in_one_over_the_root_of_the_fan():
    ta.manual_seed(0)
    for layer, fan in (
        (nn.Conv2d(16, 40, 3), 144),
        (nn.ConvTranspose2d(40, 16, 3), 144),
        (nn.Conv1d(50, 40, 3), 150),
    ):
        bound = 1 / np.sqrt(fan)
        for leaf in (layer.weight, layer.bias):
            numbers = leaf.numpy()
            assert np.abs(numbers).max() <= bound
        assert layer.weight.numpy().std() == pytest.approx(bound / np.sqrt(3), rel=0.05)


def test_text():
    assert repr(nn.Conv2d(3, 8, 4, 2, 1)) == "Conv2d(3, 8, kernel_size=(4, 4), stride=(2, 2), padding=(1, 1))"
    assert repr(nn.Conv1d(3, 8, 2, dilation=4, causal=True, bias=False)) == (
        "Conv1d(3, 8, kernel_size=(2,), stride=1, dilation=4, causal=True, bias=False)"
    )
    assert repr(nn.Conv2d(4, 8, 3, padding="same", groups=2)) == (
        "Conv2d(4, 8, kernel_size=(3, 3), stride=(1, 1), padding=same, groups=2)"
    )
    assert (
        repr(nn.AvgPool2d(2, ceil_mode=True))
        == "AvgPool2d(kernel_size=2, stride=2, padding=0, ceil_mode=True)"
    )
    assert repr(nn.AdaptiveAvgPool2d(1)) == "AdaptiveAvgPool2d(output_size=1)"
    assert repr(nn.MaxPool2d(2)) == "MaxPool2d(kernel_size=2, stride=2, padding=0)"


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: nn.Conv2d(3, 4, 0), errors.ShapeError, "[Conv2d] kernel_size must be one or two integers ≥ 1, but got 0."),
        (lambda: nn.Conv2d(4, 4, 3, padding_mode="reflect"), errors.ShapeError, "[Conv2d] padding_mode must be 'zeros', but got 'reflect'."),
        (lambda: nn.Conv2d(4, 6, 3, groups=4), errors.ShapeError,
         "[Conv2d] in_channels and out_channels must be multiples of groups, but got 4, 6 and groups=4."),
        (lambda: nn.Conv2d(4, 6, 3, groups=0), errors.ShapeError, "[Conv2d] groups must be a positive integer, but got 0."),
        (lambda: nn.Conv2d(0, 4, 3), errors.ShapeError, "[Conv2d] in_channels must be a positive integer, but got 0."),
        (lambda: nn.ConvTranspose2d(3, 4, 3, dilation=0), errors.ShapeError, "[ConvTranspose2d] dilation must be one or two integers ≥ 1, but got 0."),
        (lambda: nn.Conv2d(3, 4, 3)(ta.zeros((1, 2, 5, 5))), errors.ShapeError,
         "[conv2d] x (N, C, H, W) must have as many channels as the weight (O, C, KH, KW), but got 2 against 3, shapes (1, 2, 5, 5) and (4, 3, 3, 3)."),
        (lambda: nn.BatchNorm2d(3)(ta.zeros((2, 3, 4))), errors.ShapeError,
         "[BatchNorm2d] x must have 4 axes and num_features = 3 channels on the second, but got shape (2, 3, 4)."),
        (lambda: nn.BatchNorm1d(3)(ta.zeros((2, 4))), errors.ShapeError,
         "[BatchNorm1d] x must have 2 or 3 axes and num_features = 3 channels on the second, but got shape (2, 4)."),
        (lambda: nn.spectral_norm(nn.BatchNorm1d(3)), errors.TinyattnError,
         "[spectral_norm] the BatchNorm1d must have a parameter 'weight' of two axes or more, but got f32[3]."),
        (lambda: nn.spectral_norm(nn.MaxPool2d(3)), errors.TinyattnError,
         "[spectral_norm] the MaxPool2d must have a parameter 'weight' of two axes or more, but got None."),
    ],
)  # fmt: skip
def test_errors_say_what_must_hold(call, error, text):
    with pytest.raises(error) as caught:
        call()
    assert str(caught.value).splitlines()[0] == text
