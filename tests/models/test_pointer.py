"""The pointer network: its equations in torch, padding, the search, and which answers it can give."""

from dataclasses import replace

import numpy as np
import pytest

import tinyattn as ta
from tinyattn import tasks
from tinyattn.models.pointer import PointerNetwork, PointerNetworkConfig
from tinyattn.tasks.parts.geometry import is_simple

TASKS = pytest.mark.parametrize("task", ["hull", "tsp"])


def small(task):
    ta.manual_seed(3)
    made = tasks.get(task, **({"train_examples": 20} if task == "tsp" else {}))
    return PointerNetwork.for_task(made, hidden=7).to(np.float64), made


@TASKS
def test_loss_and_gradients_are_those_of_torch(task):
    """Problem by problem, step by step, without padding."""
    torch = pytest.importorskip("torch")
    ours, made = small(task)
    some = next(iter(made.batches("validation", 6)))
    some = replace(some, slots_out=np.where(np.arange(6)[:, None] == 2, -1, some.slots_out))
    w = {name: torch.from_numpy(value).requires_grad_() for name, value in ours.state_dict().items()}

    def cell(name, x, h, c):
        gates = x @ w[f"{name}.weight_ih_l0"].T + w[f"{name}.bias_ih_l0"]
        i, f, g, o = (gates + h @ w[f"{name}.weight_hh_l0"].T + w[f"{name}.bias_hh_l0"]).chunk(4)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        return torch.sigmoid(o) * torch.tanh(c), c

    losses = []
    for row in range(6):
        points = torch.from_numpy(some.points[row, : some.count[row]].astype(np.float64))
        h = c = torch.zeros(7, dtype=torch.float64)
        slots = [w["end"]]
        for point in points:
            h, c = cell("encoder", point, h, c)
            slots.append(h)
        x = w["start"]
        for right in some.slots_out[row][some.slots_out[row] >= 0]:
            h, c = cell("decoder", x, h, c)
            scores = [w["v"] @ torch.tanh(w["key.weight"] @ e + w["query.weight"] @ h) for e in slots]
            if task == "tsp":  # there is no end
                scores[0] = torch.tensor(-torch.inf)
            losses.append(-torch.log_softmax(torch.stack(scores), 0)[int(right)])
            x = points[int(right) - 1]
    loss = torch.stack(losses).mean()
    loss.backward()
    assert len(losses) == some.weight and abs(float(ours.loss(some)) - loss.item()) < 1e-10
    gradients = ta.grad(ours.loss(some), ours.parameters())
    for (name, _), found in zip(ours.named_parameters(), gradients, strict=True):
        expected = w[name].grad.numpy() if w[name].grad is not None else np.zeros(w[name].shape)
        assert np.abs(expected).max() > 0 or (task, name) == ("tsp", "end")
        assert np.abs(found.numpy() - expected).max() < 1e-8 * max(1, np.abs(expected).max()), name


@TASKS
def test_padding_is_seen_by_nothing(task):
    ours, made = small(task)
    some = next(iter(made.batches("validation", 6)))
    wide = np.full((6, 15, 2), np.nan, np.float32)
    for row, count in enumerate(some.count):
        wide[row, :count] = some.points[row, :count]
    padded = replace(some, points=wide)
    one, other = (ours(x.points, x.count, x.slots_in).numpy() for x in (some, padded))
    assert np.isfinite(other).all() and (other[:, :, 11:] < -1e30).all()
    np.testing.assert_allclose(other[:, :, :11], one, rtol=1e-12, atol=1e-14)
    assert ours.answer(some).outputs == ours.answer(padded).outputs
    for a, b in zip(*(ta.grad(ours.loss(x), ours.parameters()) for x in (some, padded)), strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-9, atol=1e-14)


def test_no_step_sees_what_is_right_next():
    ours, made = small("hull")
    some = next(iter(made.batches("test", 4)))
    before = ours(some.points, some.count, some.slots_in).numpy()
    changed = some.slots_in.copy()
    changed[:, 3:] = 2
    after = ours(some.points, some.count, changed).numpy()
    np.testing.assert_array_equal(before[:, :3], after[:, :3])
    assert (before[:, 3] != after[:, 3]).any()


def test_the_search_finds_the_most_probable_tour_and_without_it_anything_is_said():
    """With a beam as wide as all beginnings it is an exhaustive search."""
    from itertools import permutations

    ours, made = small("tsp")
    some = next(iter(made.batches("test", 3)))  # of five cities
    tours = np.array(list(permutations(range(5))))
    best = ours.answer(some, beam=200)
    for row in range(3):
        points = np.repeat(some.points[row : row + 1], len(tours), 0)
        slots = np.concatenate([np.zeros((len(tours), 1), np.int64), tours + 1], axis=1)
        logits = ours(points, np.full(len(tours), 5, np.int32), slots[:, :-1].astype(np.int32))
        chances = np.take_along_axis(ta.log_softmax(logits).numpy(), slots[:, 1:, None], axis=2)
        chances = chances[:, :, 0].sum(axis=1)
        assert best.outputs[row] == tours[chances.argmax()].tolist()
        assert abs(best.scores[row] - chances.max()) < 1e-9
        weights = best.maps["attention"][row]
        assert weights.shape == (5, 6) and not weights[:, 0].any()
        np.testing.assert_allclose(weights.sum(axis=1), 1, rtol=1e-12)
    for said in ours.answer(some).outputs:
        assert sorted(said) == [0, 1, 2, 3, 4]
    free = ours.answer(some, valid=False)
    assert all(len(said) == 5 for said in free.outputs) and free.scores[0] >= best.scores[0]
    assert any(len({*said}) < 5 for said in free.outputs)


def test_the_search_finds_the_most_probable_polygon():
    """Of all closed ones of five points whose sides don't cross; without it anything is said."""
    from itertools import permutations

    ours, made = small("hull")
    some = next(iter(made.batches("test", 3)))  # of five points
    best, free = ours.answer(some, beam=400), ours.answer(some, valid=False)
    for row, points in enumerate(some.points):
        said = [
            [*corners, corners[0]]
            for size in (3, 4, 5)
            for corners in permutations(range(5), size)
            if is_simple(points[list(corners)].astype(np.float64))
        ]
        slots = np.zeros((len(said), 8), np.int32)
        for place, one in enumerate(said):
            slots[place, 1 : len(one) + 1] = np.array(one) + 1
        many = np.repeat(points[None], len(said), 0), np.full(len(said), 5, np.int32)
        logits = ta.log_softmax(ours(*many, slots[:, :-1])).numpy()
        chances = np.take_along_axis(logits, slots[:, 1:, None], axis=2)[:, :, 0]
        steps = np.arange(7) <= np.array([[len(one)] for one in said])
        chances = (chances * steps).sum(axis=1)
        assert best.outputs[row] == said[chances.argmax()]
        assert abs(best.scores[row] - chances.max()) < 1e-9
        assert free.scores[row] >= best.scores[row] - 1e-9
    assert all(made.measure(p, s, s)["simple"] == 1 for p, s in zip(some.points, best.outputs, strict=True))
    assert not all(made.measure(p, s, s)["simple"] for p, s in zip(some.points, free.outputs, strict=True))


def test_an_answer_ends_where_the_end_is_most_probable():
    ours, made = small("hull")
    some = next(iter(made.batches("test", 4)))
    found = ours.answer(some, beam=1, valid=False)
    for row, said in enumerate(found.outputs):
        slots = np.array([[0, *(j + 1 for j in said)]], np.int32)
        logits = ours(some.points[row : row + 1], some.count[row : row + 1], slots).numpy()[0]
        choices = logits.argmax(axis=1).tolist()
        assert choices[: len(said)] == [j + 1 for j in said]
        assert choices[len(said)] == 0 or len(said) == some.slots_in.shape[1]
        weights = found.maps["attention"][row]
        assert weights.shape[1] == some.count[row] + 1 and len(weights) == min(len(said) + 1, 7)


def test_it_has_as_many_numbers_as_it_is_said_to():
    sizes = PointerNetworkConfig(features=2)
    assert PointerNetwork(sizes).num_parameters() == 2 * 512 * (2 + 128 + 2) + 2 * 128**2 + 2 * 128 + 2
    with pytest.raises(ta.TinyattnError, match="hidden must be a positive integer, but got 0"):
        PointerNetworkConfig(features=2, hidden=0)
