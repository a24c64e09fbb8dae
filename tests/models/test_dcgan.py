"""DCGAN: 20 steps beside torch, what is drawn, shapes, initial values, errors, reports."""

from dataclasses import replace
from functools import cache

import make_fixtures
import make_gan_fixtures as fixtures
import numpy as np
import pytest

import tinyattn as ta
from tinyattn import errors, tasks
from tinyattn.models.dcgan import DCGAN, DCGANConfig
from tinyattn.sections import Images, Table


@cache
def task():
    return tasks.get("mirror-shapes", train_examples=300)


def model(**sizes) -> DCGAN:
    ta.manual_seed(0)
    return DCGAN.for_task(task(), **{"width": 8, "latent": 10} | sizes)


# Beside torch.


def steps() -> dict[str, np.ndarray]:
    """What `fixtures.torch_steps` gives, of our model."""
    net = DCGAN(DCGANConfig(**fixtures.CONFIG)).to(np.float64)
    net.load_state_dict(fixtures.gan_weights())
    parts = net.discriminator.parameters(), net.generator.parameters()
    optimizers = [ta.optim.Adam(part, **fixtures.ADAM) for part in parts]

    def compiled(k, loss):
        @ta.function
        def step(*arrays):
            value = ta.mean(loss(*arrays))
            gradients = ta.grad(value, parts[k])
            optimizers[k].update(gradients)
            return value, gradients

        return step

    both = [compiled(0, net.discriminator_loss), compiled(1, net.generator_loss)]
    losses, gradients = [], []
    for images, z, other in fixtures.gan_batches():
        found = [both[0](images, z), both[1](other)]
        losses.append([float(value) for value, _ in found])
        gradients.append(np.concatenate([np.ravel(g) for _, each in found for g in each]))
    state = {f"state.{k}": v for k, v in net.state_dict().items()}
    return {"losses": np.array(losses), "gradients": np.array(gradients)} | state


def test_twenty_steps_of_both_players_are_those_of_torch():
    """Losses, gradients, weights and running statistics: recorded, and where there is torch, computed now."""
    found = steps()
    with np.load(make_fixtures.FIXTURES / "dcgan.npz") as recorded:
        expected = [dict(recorded)]
    try:
        expected.append(fixtures.torch_steps(fixtures.gan_weights()))
    except ImportError:
        pass
    for each in expected:
        assert found.keys() == each.keys()
        for name, array in each.items():
            np.testing.assert_allclose(found[name], array, rtol=1e-7, atol=1e-9, err_msg=name)
    assert np.abs(found["gradients"]).max(axis=1).min() > 1e-3  # there is something to compare
    assert np.ptp(found["losses"], axis=0).min() > 0.01


# What it is.


def test_layers_are_those_of_the_paper():
    net = model(width=8)
    shapes = {name: w.shape for name, w in net.named_parameters() if w.ndim > 1}
    assert shapes == {
        "generator.0.weight": (10, 16, 4, 4), "generator.3.weight": (16, 8, 4, 4), "generator.6.weight": (8, 3, 4, 4),
        "discriminator.0.weight": (8, 3, 4, 4), "discriminator.2.weight": (16, 8, 4, 4),
        "discriminator.5.weight": (1, 16, 4, 4),
    }  # fmt: skip
    norms = [name for name in net.state_dict() if name.endswith("running_mean")]
    assert norms == [f"{part}.running_mean" for part in ("generator.1", "generator.4", "discriminator.3")]
    large = model(width=64, latent=100)
    for name, w in large.named_parameters():
        if w.ndim > 1:
            assert abs(w.numpy().std() / 0.02 - 1) < 0.1 and abs(w.numpy().mean()) < 0.002, name


@pytest.mark.parametrize("size", [8, 16, 20, 24, 28, 32, 64])
def test_images_have_the_size_that_is_asked_for(size):
    net = DCGAN(DCGANConfig(size, 1, latent=3, width=2))
    z = np.zeros((2, 3), np.float32)
    images = net(z)
    assert images.shape == (2, 1, size, size) and net.judge(images).shape == (2,)


def test_layers_go_on_to_the_smallest_size():
    net = DCGAN(DCGANConfig(16, 3, latent=5, width=2, smallest=2))
    shapes = [w.shape for w in net.discriminator.parameters() if w.ndim > 1]
    assert shapes == [(2, 3, 4, 4), (4, 2, 4, 4), (8, 4, 4, 4), (1, 8, 2, 2)]
    assert net(np.zeros((2, 5), np.float32)).shape == (2, 3, 16, 16)


@pytest.mark.parametrize("size", [4, 7, 9, 18, 30, 36])
def test_other_sizes_are_refused(size):
    with pytest.raises(
        errors.ShapeError, match=f"image_size must be a number from 4 to 7, times 2, 4, 8, …, but got {size}"
    ):
        DCGAN(DCGANConfig(size, 1))


def test_sizes_must_be_positive():
    for name in ("latent", "width"):
        with pytest.raises(errors.TinyattnError, match=f"{name} must be a positive integer, but got 0"):
            DCGANConfig(16, 3, **{name: 0})


def test_each_player_moves_only_its_own_parameters():
    net = model()
    first, second = net.objectives()
    assert [first.name, second.name] == ["discriminator", "generator"]
    own = {id(w) for w in first.parameters}, {id(w) for w in second.parameters}
    assert not own[0] & own[1] and len(own[0] | own[1]) == len(net.parameters())
    batch = task().probe()
    for objective in (first, second):
        value = objective.loss(batch)
        assert value.shape == () and all(
            np.abs(g.numpy()).max() > 0 for g in ta.grad(value, objective.parameters)
        )


def test_the_loss_is_that_of_a_coin_when_the_discriminator_knows_nothing_and_counts_valid_rows():
    net = model().eval()
    batch = task().probe()
    value = float(net.loss(batch))
    assert value == float(net.loss(batch))  # nothing is drawn in evaluation
    rows = net.discriminator_loss(batch.images, net.noise(batch)).numpy()
    assert abs(value - rows.mean()) < 1e-6
    one = replace(batch, valid=np.array([True, False]))
    assert abs(float(net.loss(one)) - rows[0]) < 1e-6 and abs(rows[0] - rows[1]) > 1e-5
    last = net.discriminator[len(net.discriminator) - 1]
    last.weight.assign(np.zeros(last.weight.shape))
    last.bias.assign(np.zeros(1))
    assert abs(float(net.loss(batch)) - 2 * np.log(2)) < 1e-6


# What is drawn.


def test_blur_is_for_the_discriminator_and_for_training_alone():
    sharp, blurred = model(), model(blur=0.5)
    images = task().probe().images
    for net in (sharp, blurred):
        assert np.array_equal(net.eval().judge(images).numpy(), sharp.judge(images).numpy())
    assert not np.array_equal(blurred.train().judge(images).numpy(), sharp.train().judge(images).numpy())
    z = blurred.fixed_noise(np.arange(2))
    assert np.array_equal(blurred(z).numpy(), sharp(z).numpy())
    with pytest.raises(errors.TinyattnError, match="blur must be at least 0 and less than 10, but got -1"):
        model(blur=-1)


def test_smoothing_rewards_no_certainty_about_real_images_and_leaves_drawn_ones_alone():
    """Against the cross entropy with targets 1 − s and 0, written out in probabilities (Salimans et al. 2016)."""
    smoothed, plain = (model(smoothing=share).to(np.float64).eval() for share in (0.1, 0.0))
    images, z = task().probe().images.astype(np.float64), plain.fixed_noise(np.arange(2)).astype(np.float64)
    for net in (smoothed, plain):
        last = net.discriminator[len(net.discriminator) - 1]
        last.weight.assign(100 * last.weight.numpy())  # so that D is sure of something
    real, drawn = (1 / (1 + np.exp(-plain.judge(x).numpy())) for x in (images, plain(z)))
    for net, target in ((smoothed, 0.9), (plain, 1.0)):
        expected = -target * np.log(real) - (1 - target) * np.log(1 - real) - np.log(1 - drawn)
        np.testing.assert_allclose(net.discriminator_loss(images, z).numpy(), expected, rtol=1e-10)
    assert np.abs(real - 0.5).min() > 0.01
    logit = ta.parameter(np.full(2, np.log(9)))
    smoothed.judge = lambda x: logit  # D = 0.9 of all images: the best answer to the real ones
    own = smoothed.discriminator_loss(images, z) - ta.softplus(logit)
    assert np.abs(ta.grad(ta.sum(own), logit).numpy()).max() < 1e-12
    must = r"smoothing must lie in \[0, 1\), but got"
    for share in (-0.1, 1.0, float("nan")):
        with pytest.raises(errors.TinyattnError, match=must):
            model(smoothing=share)


def test_an_image_depends_on_its_number_alone():
    net = model()
    batch = task().read("6")
    images = np.stack(net.answer(batch).outputs)
    assert images.shape == (6, 3, 16, 16) and images.dtype == np.float32 and np.abs(images).max() <= 1
    before = ta.random_state()
    ta.manual_seed(77)
    again = net.answer(task().read("#4")).outputs[0]
    np.testing.assert_allclose(again, images[4], atol=1e-6)
    ta.set_random_state(before)
    others = np.stack(net.answer(batch, noise=1).outputs)
    assert np.abs(others - images).max(axis=(1, 2, 3)).min() > 1e-4
    assert np.abs(images[0] - images[1]).max() > 1e-4
    assert net.training  # as it was


def test_noise_is_uniform():
    z = model(latent=100).fixed_noise(np.arange(500))
    assert z.shape == (500, 100) and z.dtype == np.float32
    assert -1 <= z.min() < -0.999 and 0.999 < z.max() < 1
    assert abs(z.mean()) < 0.01 and abs(z.var() - 1 / 3) < 0.01 and len(np.unique(z[:, 0])) == 500


def test_a_report_compares_with_an_untrained_generator_and_leaves_the_random_state():
    net = model()
    before = ta.random_state()
    way, beside = net.sections(task().probe(), task())
    assert np.array_equal(ta.random_state(), before)
    assert isinstance(way, Images) and way.images.shape == (32, 16, 16, 3)
    assert np.abs(np.diff(way.images.reshape(4, 8, -1), axis=1)).max(axis=2).min() > 0
    assert isinstance(beside, Table) and [row[0] for row in beside.rows][:1] == ["images whose shapes match"]
    assert all(len(row) == 3 for row in beside.rows) and len(beside.rows) == 5


def test_it_learns_where_the_light_is():
    """60 steps on images of one half white: the means of what it draws come near."""
    images = np.full((32, 1, 8, 8), -1, np.float32)
    images[..., :4] = 1
    ta.manual_seed(0)
    net = DCGAN(DCGANConfig(8, 1, latent=4, width=8))
    batch = replace(task().probe(), images=images, valid=np.ones(32, bool))
    pairs = [(o, ta.optim.Adam(o.parameters, lr=2e-3, betas=(0.5, 0.999))) for o in net.objectives()]

    def compiled(objective, optimizer):
        @ta.function
        def step(kind, arrays):
            loss = objective.loss(kind(**arrays))
            optimizer.minimize(loss)
            return loss

        return step

    both = [compiled(*pair) for pair in pairs]
    for _ in range(60):
        for step in both:
            step(type(batch), vars(batch))
    drawn = np.stack(net.answer(task().read("8")).outputs)
    assert drawn[..., :4].mean() > 0.5 and drawn[..., 4:].mean() < -0.5
