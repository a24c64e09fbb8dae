"""SAGAN: its equations in torch, what γ = 0 means, spectral norms, and the pictures of where it looks."""

import numpy as np
import pytest

import tinyattn as ta
from tinyattn import errors, tasks
from tinyattn.models.sagan import SAGAN, Deviation, SAGANConfig, SelfAttention
from tinyattn.sections import Images
from tinyattn.train.config import TrainingConfig
from tinyattn.train.loop import Pursuit


def model(gamma=None, **sizes):
    """A small one in float64, with γ as given in both players."""
    ta.manual_seed(1)
    net = SAGAN(SAGANConfig(16, 3, **{"width": 8, "latent": 5} | sizes)).to(np.float64)
    for name, leaf in net.named_parameters():
        if name.endswith("gamma") and gamma is not None:
            leaf.assign(np.array(gamma))
        if leaf.ndim == 1:  # biases and gains that count
            leaf.assign(leaf.numpy() + 0.3 * np.cos(np.arange(leaf.size)))
    return net


def data(count=6):
    rng = np.random.default_rng(0)
    return np.tanh(2 * rng.standard_normal((count, 3, 16, 16))), rng.uniform(-1, 1, (count, 5))


def torch_model(torch, net):
    """The same of torch's layers and parametrizations, with the block's equations written out."""
    nn, spectral = torch.nn, torch.nn.utils.parametrizations.spectral_norm

    class Block(nn.Module):
        def __init__(self, channels):
            super().__init__()
            self.f, self.g = (spectral(nn.Conv2d(channels, channels // 8, 1, bias=False)) for _ in range(2))
            self.h = spectral(nn.Conv2d(channels, channels // 2, 1, bias=False))
            self.v = spectral(nn.Conv2d(channels // 2, channels, 1, bias=False))
            self.gamma = nn.Parameter(torch.zeros(()))

        def forward(self, x):
            f, g, h = (part(x).flatten(2) for part in (self.f, self.g, self.h))  # (B, C, N)
            scores = torch.einsum("bci,bcj->bij", f, g)
            beta = torch.exp(scores) / torch.exp(scores).sum(1, keepdim=True)  # over i
            found = torch.einsum("bij,bci->bcj", beta, h).unflatten(2, x.shape[2:])
            return self.gamma * self.v(found) + x

    layers = [
        spectral(nn.ConvTranspose2d(5, 16, 4, bias=False)), nn.BatchNorm2d(16), nn.ReLU(),
        spectral(nn.ConvTranspose2d(16, 8, 4, 2, 1, bias=False)), nn.BatchNorm2d(8), nn.ReLU(), Block(8),
        nn.ConvTranspose2d(8, 3, 4, 2, 1), nn.Tanh(),
    ]  # fmt: skip
    judge = [
        spectral(nn.Conv2d(3, 8, 4, 2, 1)), nn.LeakyReLU(0.1), Block(8),
        spectral(nn.Conv2d(8, 16, 4, 2, 1)), nn.LeakyReLU(0.1), spectral(nn.Conv2d(16, 1, 4)),
    ]  # fmt: skip
    both = nn.ModuleDict({"generator": nn.Sequential(*layers), "discriminator": nn.Sequential(*judge)})
    both.double().load_state_dict({name: torch.from_numpy(value) for name, value in net.state_dict().items()})
    return both


def test_losses_gradients_and_singular_vectors_are_those_of_torch():
    """A step of each player in training: power iterations, statistics of norms, hinges on both sides of the kink."""
    torch = pytest.importorskip("torch")
    net = model(gamma=0.7)
    theirs = torch_model(torch, net)
    draw, judge = theirs["generator"], theirs["discriminator"]
    images, z = data()
    last = net.discriminator[len(net.discriminator) - 1]  # so that some images are beyond the hinge
    middle = -float(np.median(net.judge(images).numpy()))
    for bias in (last.bias, judge[5].bias):
        value = np.full(1, middle + 1 + float(last.bias.numpy()[0]))
        bias.assign(value) if bias is last.bias else bias.data.copy_(torch.from_numpy(value))
    theirs.load_state_dict({name: torch.from_numpy(value) for name, value in net.state_dict().items()})
    given, noise = torch.from_numpy(images), torch.from_numpy(z)[:, :, None, None]
    players = {"discriminator": net.discriminator_loss, "generator": net.generator_loss}
    for player, loss in players.items():
        own = getattr(net, player)

        @ta.function
        def step(*arrays, loss=loss, own=own):
            value = loss(*arrays)
            return value, ta.grad(ta.mean(value), own.parameters())

        rows, gradients = step(*((images, z) if player == "discriminator" else (z,)))
        theirs.zero_grad()
        if player == "discriminator":
            real, drawn = judge(torch.cat([given, draw(noise).detach()])).flatten().chunk(2)
            found = torch.clamp(1 - real, min=0) + torch.clamp(1 + drawn, min=0)
            assert 0 < int((real > 1).sum()) < len(real)
        else:
            found = -judge(draw(noise)).flatten()
        found.mean().backward()
        np.testing.assert_allclose(rows, found.detach().numpy(), rtol=0, atol=1e-10)
        for (name, _), g in zip(own.named_parameters(), gradients, strict=True):
            expected = dict(theirs[player].named_parameters())[name].grad.numpy()
            assert np.abs(expected).max() > 0, name
            assert np.abs(g - expected).max() < 1e-8 * max(1, np.abs(expected).max()), name
        for name, value in theirs.state_dict().items():
            np.testing.assert_allclose(
                net.state_dict()[name], value.numpy(), rtol=1e-9, atol=1e-11, err_msg=name
            )


def test_at_first_gamma_alone_is_moved():
    """The gradients of W_f, W_g, W_h and W_v are exactly 0 as long as γ is 0; after a step they aren't."""
    net = model()
    images, z = data()
    losses = {
        "discriminator": lambda: net.discriminator_loss(images, z),
        "generator": lambda: net.generator_loss(z),
    }
    for first in (True, False):
        for player, loss in losses.items():
            named = {name: w for name, w in net.named_parameters() if name.startswith(player)}
            found = dict(zip(named, ta.grad(ta.mean(loss()), [*named.values()]), strict=True))
            matrices = [name for name in found if any(f".{part}.param" in name for part in "fghv")]
            gamma = next(name for name in found if name.endswith("gamma"))
            assert len(matrices) == 4 and float(found[gamma]) != 0
            for name in matrices:
                assert found[name].numpy().any() != first, name
            others = (
                found.keys() - {*matrices} - {"discriminator.5.bias"}
            )  # (it moves D(x) and D(G(z)) alike)
            assert others and all(found[name].numpy().any() for name in others)
            named[gamma].assign(named[gamma].numpy() - 0.1 * float(found[gamma]))


def test_at_first_the_block_passes_on_what_it_is_given_and_then_looks_everywhere():
    ta.manual_seed(0)
    block = SelfAttention(16).to(np.float64).eval()
    x = np.random.default_rng(0).standard_normal((2, 16, 3, 4))
    assert np.array_equal(block(x).numpy(), x)
    block.gamma.assign(np.array(0.5))
    before, other = block(x).numpy(), x.copy()
    other[0, :, 0, 0] += 1
    moved = np.abs(block(other).numpy() - before)
    assert (
        moved[0].max(axis=0).min() > 0 and not moved[1].any()
    )  # every place of that image, none of the other
    weights = block.weights(x).numpy()
    assert weights.shape == (2, 12, 12)
    np.testing.assert_allclose(weights.sum(axis=2), 1, rtol=1e-12)
    assert np.abs(weights.sum(axis=1) - 1).max() > 1e-3  # over the places looked at, not over those that look
    shuffled = np.random.default_rng(1).permutation(12)
    again = block(x.reshape(2, 16, 12)[:, :, shuffled].reshape(x.shape)).numpy()
    np.testing.assert_allclose(
        again.reshape(2, 16, 12), before.reshape(2, 16, 12)[:, :, shuffled], rtol=1e-12
    )


def test_all_weights_but_the_last_of_the_generator_have_a_spectral_norm_of_1():
    net = model(gamma=0.1)
    for _ in range(60):
        net.judge(net(data(2)[1]))
    net.eval()
    bare = [name for name, w in net.named_parameters() if w.ndim > 1 and not name.endswith("original")]
    assert bare == ["generator.7.weight"]
    normed = [m for m in net.modules() if "parametrizations" in vars(m)]
    assert len(normed) == 2 + 3 + 2 * 4
    for layer in normed:
        axis = 1 if "ConvTranspose" in type(layer).__name__ else 0
        matrix = np.moveaxis(layer.weight.numpy(), axis, 0)
        assert np.linalg.svd(matrix.reshape(len(matrix), -1))[1][0] == pytest.approx(1, rel=1e-3)


def test_the_players_learn_at_rates_of_their_own():
    config = TrainingConfig(learning_rate=4e-4, schedule="constant")
    rates = [Pursuit(one, config).optimizer.lr.numpy() for one in model().objectives()]
    np.testing.assert_allclose(rates, [4e-4, 1e-4], rtol=1e-6)  # the paper's
    with pytest.raises(
        errors.TinyattnError, match="generator_rate must be positive and at most 100, but got 0"
    ):
        model(generator_rate=0)


@pytest.mark.parametrize(("size", "channels", "attention"), [(16, 3, 1), (16, 3, 2), (28, 1, 2), (32, 1, 3)])
def test_the_block_stands_where_it_is_asked_for(size, channels, attention):
    net = SAGAN(SAGANConfig(size, channels, latent=3, width=2, attention=attention))
    images, *found = net.eval()._look(net.fixed_noise(np.arange(2)))
    assert images.shape == (2, channels, size, size)
    places = (size >> attention) ** 2
    assert [x.shape for x in found] == [(2, places, places)] * 2
    with pytest.raises(errors.ShapeError, match="attention must be at most"):
        SAGAN(SAGANConfig(size, channels, attention=5))


def test_a_report_shows_where_each_player_looks():
    net = model(gamma=0.5)
    task = tasks.get("mirror-shapes", train_examples=100)
    drawing, judging, way, *_ = net.sections(task.probe(), task)
    assert [part.title for part in (drawing, judging)] == [
        "Where the generator looks",
        "Where the discriminator looks",
    ]
    images = np.stack(net.answer(task.read("4")).outputs)
    for part in (drawing, judging):
        assert isinstance(part, Images) and part.images.shape == (20, 16, 16, 3) and part.columns == 5
        assert part.images.min() >= 0 and part.images.max() <= 1
        np.testing.assert_allclose(part.images[::5], images.transpose(0, 2, 3, 1) / 2 + 0.5, atol=1e-6)
        maps = part.images.reshape(4, 5, 8, 2, 8, 2, 3)[:, 1:, :, 0, :, 0]
        marked = (maps == (1.0, 0.5, 0.0)).all(axis=-1)
        assert (marked.sum(axis=(2, 3)) == 1).all()  # one place looks, in the quarter it was sought in
        rows, columns = marked.any(axis=3).argmax(axis=2) // 4, marked.any(axis=2).argmax(axis=2) // 4
        assert rows.tolist() == [[0, 0, 1, 1]] * 4 and columns.tolist() == [[0, 1, 0, 1]] * 4
    assert not np.array_equal(drawing.images, judging.images) and way.title == "From one image to another"


def test_the_discriminator_is_told_how_much_the_images_of_a_group_differ():
    x = np.random.default_rng(0).standard_normal((6, 4, 2, 2))
    found = Deviation(3)(ta.tensor(x)).numpy()
    expected = 10 * x.reshape(2, 3, 4, 2, 2).std(axis=1).mean(axis=(1, 2, 3))
    assert np.array_equal(found[:, :4], x) and found.shape == (6, 5, 2, 2)
    np.testing.assert_allclose(
        found[:, 4], np.repeat(expected, 3)[:, None, None] * np.ones((2, 2)), rtol=1e-6
    )
    net = model(companions=2).eval()
    images, _ = data(4)
    before, images[0] = net.judge(images).numpy(), -images[0]
    moved = net.judge(images).numpy() != before
    assert moved.tolist() == [True, True, False, False]  # the other of its group knows, too
