"""The mean of generators: what it is after some steps, and that it draws when nothing is learnt."""

import numpy as np
import pytest

import tinyattn as ta
from tinyattn import errors, nn, tasks
from tinyattn.models.dcgan import DCGAN
from tinyattn.models.parts.averaged import follow, follower
from tinyattn.models.sagan import SAGAN
from tinyattn.train.config import TrainingConfig
from tinyattn.train.loop import Pursuit


def test_a_follower_is_the_mean_of_what_the_other_was_with_the_latest_counting_most():
    layer = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    twin = follower(layer)
    assert not twin.parameters() and twin.state_dict().keys() == layer.state_dict().keys()
    passed = [layer.state_dict()]

    @ta.function
    def step():
        follow(twin, layer, 0.75)

    for number in range(1, 4):
        for leaf in [*layer.parameters(), layer[1].running_var]:
            leaf.assign(leaf.numpy() * 2 + number)
        passed.append(layer.state_dict())
        step()
    found = twin.state_dict()
    assert (found.pop("1.running_var") == 1).all()  # those of the other are not its own
    for name, _ in layer.named_parameters():
        first, *others = (each[name] for each in passed)
        expected = 0.75**3 * first + 0.25 * sum(0.75 ** (2 - k) * w for k, w in enumerate(others))
        np.testing.assert_allclose(found[name], expected, rtol=1e-6, err_msg=name)


@pytest.mark.parametrize("kind", [DCGAN, SAGAN])
def test_the_mean_of_generators_draws_when_nothing_is_learnt(kind):
    task = tasks.get("mirror-shapes", train_examples=40)
    ta.manual_seed(0)
    net = kind.for_task(task, width=8, latent=4, averaging=0.5)
    plain = kind.for_task(task, width=8, latent=4)
    assert plain.average is None and net.num_parameters() == plain.num_parameters()
    pursuits = [Pursuit(one, TrainingConfig(learning_rate=1e-2)) for one in net.objectives()]
    batch = next(task.batches("train", 8, seed=0))
    before = net.average.state_dict()
    for _ in range(3):
        for pursuit in pursuits:
            pursuit.step(type(batch), vars(batch))
    mean, last = net.average.state_dict(), net.generator.state_dict()
    for name, _ in net.generator.named_parameters():
        assert not np.array_equal(mean[name], before[name]) and not np.array_equal(mean[name], last[name]), (
            name
        )
    statistics = [name for name in mean if "running" in name or name.endswith(("._u", "._v"))]
    assert all(not np.array_equal(mean[name], last[name]) for name in statistics if mean[name].size > 1)
    assert int(mean["1.num_batches_tracked"]) == 3
    drawn = net.answer(batch).outputs
    net.generator.load_state_dict(mean)
    with net.evaluating():
        z = net.fixed_noise(batch.index).reshape(8, 4, 1, 1)
        np.testing.assert_allclose(np.stack(drawn), net.generator(z).numpy(), atol=1e-6)
    with pytest.raises(errors.TinyattnError, match=r"averaging must lie in \[0, 1\), but got 1"):
        kind.for_task(task, averaging=1)
