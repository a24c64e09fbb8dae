"""Show, attend and tell: its equations in torch, the estimate of REINFORCE against all choices, and the search."""

from dataclasses import replace

import numpy as np
import pytest
from captions_by_hand import batch, cells, drawn_weights, linear, lstm, torch_weights

import tinyattn as ta
from tinyattn.graph import trace
from tinyattn.models.show_attend_tell import ShowAttendTell, ShowAttendTellConfig
from tinyattn.tasks.parts.vocabulary import EOS

SIZES = {
    "width": 3,
    "layers": 2,
    "embedding": 4,
    "hidden": 6,
    "compared": 5,
    "stochastic": 0.3,
    "entropy": 0.02,
}


def small(**options):
    return drawn_weights(ShowAttendTell(ShowAttendTellConfig(9, 8, 2, 5, **SIZES | options)))


def theirs(torch, w, seen, words, places=None):
    """Logits (T, K) and weights α (T, L) of one image's cells (L, D); places: s̃ (T, L) in the weights' place."""
    a = seen + w["place"]
    h, c = (linear(torch, w, name, a.mean(0)).tanh() for name in ("first_h", "first_c"))
    logits, weights = [], []
    for t, word in enumerate(words):
        keys = a @ w["key.weight"].T + w["key.bias"]
        e = (linear(torch, w, "query", h) + keys).tanh() @ w["v"]
        weights.append(e.softmax(0))
        z = linear(torch, w, "gate", h).sigmoid() * ((weights[-1] if places is None else places[t]) @ a)
        y = w["embedding.weight"][int(word)]
        gates = linear(torch, w, "word", y) + linear(torch, w, "context", z) + w["recurrent"] @ h
        h, c = lstm(torch, gates, c)
        logits.append(
            linear(torch, w, "vocabulary", y + linear(torch, w, "state", h) + linear(torch, w, "seen", z))
        )
    return torch.stack(logits), torch.stack(weights)


def same_gradients(ours, found, w):
    for (name, _), gradient in zip(ours.named_parameters(), found, strict=True):
        expected = w[name].grad.numpy()
        assert np.abs(gradient.numpy() - expected).max() < 1e-8 * max(1, np.abs(expected).max()), name
        assert np.abs(expected).max() > 0, name


@pytest.mark.parametrize("training", [True, False])
def test_soft_attention_is_that_of_the_paper(training):
    torch = pytest.importorskip("torch")
    ours, some = small().train(training), batch()
    w = torch_weights(torch, ours)
    logits, weights = ours(some.images, some.target_in)
    seen = cells(torch, w, some.images, training)
    total, words = torch.zeros((), dtype=torch.float64), 0
    for row in range(3):  # (the last one only fills the batch up)
        length = int(some.target_length[row])
        said, alpha = theirs(torch, w, seen[row], some.target_in[row, :length])
        assert np.abs(logits.numpy()[row, :length] - said.detach().numpy()).max() < 1e-10
        assert np.abs(weights.numpy()[row, :length] - alpha.detach().numpy()).max() < 1e-10
        right = torch.from_numpy(some.target_out[row, :length]).long()
        total = total + torch.nn.functional.cross_entropy(said, right, reduction="sum")
        total = total + 0.3 * (1 - alpha.sum(0)).square().sum()
        words += length
    loss = total / words
    loss.backward()
    assert words == some.weight and abs(float(ours.loss(some)) - loss.item()) < 1e-10
    same_gradients(ours, ta.grad(ours.loss(some), ours.parameters()), w)


@pytest.mark.parametrize("expected", [0.0, 0.999999], ids=["drawn", "expected"])
def test_hard_attention_learns_what_the_paper_says(expected):
    """With the places that were drawn: the words' derivative through the values, and REINFORCE's through the scores; or
    with the expectation in their place, and the derivative through it."""
    torch = pytest.importorskip("torch")
    ours, some = small(attention="hard", expected=expected, reward=0.7), batch()
    b = np.array([-9.0, -7.0, -5.0, -3.0, -1.0])

    def begin():
        ta.manual_seed(4)
        ours.baseline.assign(b)

    begin()
    places, drawn = (part.numpy() for part in ours.say(some.images, some.target_in).choice[1:])
    assert bool(drawn) == (expected == 0) and ((np.sort(places)[:, :, -1] == 1).all() == drawn)
    begin()
    loss = ours.loss(some)
    gradients = ta.grad(loss, ours.parameters())
    w = torch_weights(torch, ours)
    seen = cells(torch, w, some.images, training=True)
    value = surrogate = torch.zeros((), dtype=torch.float64)
    rewards = np.zeros((3, 5))
    for row in range(3):
        length = int(some.target_length[row])
        given = torch.from_numpy(places[:length, row]) if drawn else None
        said, alpha = theirs(torch, w, seen[row], some.target_in[row, :length], given)
        right = torch.from_numpy(some.target_out[row, :length]).long()
        log_p = -torch.nn.functional.cross_entropy(said, right, reduction="none")
        reward = log_p.detach().flip(0).cumsum(0).flip(0)
        rewards[row, :length] = reward.numpy()
        value = value - log_p.sum()
        entropy = -(alpha * alpha.log()).sum(1)
        chosen = (given * alpha.log()).sum(1) if drawn else 0 * entropy
        advantage = reward - torch.from_numpy(b[:length])
        surrogate = surrogate - log_p.sum() - 0.7 * (advantage * chosen).sum() - 0.02 * entropy.sum()
    (surrogate / some.weight).backward()
    assert abs(float(loss) - value.item() / some.weight) < 1e-10
    same_gradients(ours, gradients, w)
    counts = (some.target_length[:3, None] > np.arange(5)).sum(axis=0)
    moved = 0.9 * b + 0.1 * rewards.sum(axis=0) / counts
    np.testing.assert_allclose(ours.baseline.numpy(), moved, rtol=1e-12)


def one_word(rows):
    """The same image `rows` times, with a caption of one word."""
    some = batch()
    ids = np.ones((rows, 1), np.int32)
    return replace(
        some, images=np.repeat(some.images[:1], rows, axis=0), target_in=ids, target_out=5 * ids,
        target_length=ids[:, 0], index=np.arange(rows), valid=np.ones(rows, bool),
    )  # fmt: skip


LEARNT = ("v", "query.weight", "key.weight", "key.bias")
"""What decides where to look."""


def estimates(model, some, calls, baseline):
    """REINFORCE's estimates of the gradient of −E[log p(y)], one a call, flat: (calls, numbers)."""
    names = dict(model.named_parameters())

    @ta.function
    def gradients(images, given, said):
        one = replace(some, images=images, target_in=given, target_out=said)
        found = ta.grad(model.loss(one), [names[name] for name in LEARNT])
        trace.current().updates.pop(model.baseline)  # it stays where it is
        return found

    model.baseline.assign(np.full(5, baseline))
    ta.manual_seed(0)
    arrays = some.images, some.target_in, some.target_out
    return np.stack([np.concatenate([g.ravel() for g in gradients(*arrays)]) for _ in range(calls)])


def test_the_mean_of_reinforce_is_the_gradient_over_all_choices():
    """20,000 samples of one word: within three standard errors of the derivative of Σ_s α_s log p(y | s)."""
    torch = pytest.importorskip("torch")
    ours = small(attention="hard", expected=0.0, reward=1.0, entropy=0.0, hidden=3, compared=2)
    some = one_word(400)
    found = estimates(ours, some, 50, -2.0)
    w = torch_weights(torch, ours)
    (seen,) = cells(torch, w, some.images[:1], training=True)
    _, alpha = theirs(torch, w, seen, [1])
    places = torch.eye(16, dtype=torch.float64)
    likely = [theirs(torch, w, seen, [1], places[k : k + 1])[0].log_softmax(1)[0, 5] for k in range(16)]
    # What stands before the choice is learned through the words, too; only through the choice here.
    (-(alpha[0] * torch.stack(likely)).sum()).backward()
    expected = np.concatenate([w[name].grad.numpy().ravel() for name in LEARNT])
    error = found.std(axis=0, ddof=1) / np.sqrt(len(found))
    assert np.abs(expected).max() > 20 * error.max()  # (the test could see it, were it wrong by a fifth)
    assert (np.abs(found.mean(axis=0) - expected) <= 3 * error + 1e-15).all()


def test_the_moving_baseline_makes_the_estimates_vary_less():
    ours = small(attention="hard", expected=0.0, reward=1.0, entropy=0.0)
    some = one_word(1)
    step = ta.function(
        lambda images, given, said: ours.loss(replace(some, images=images, target_in=given, target_out=said))
    )
    for _ in range(100):
        step(some.images, some.target_in, some.target_out)
    moved = float(ours.baseline[0])
    without, with_it = (estimates(ours, some, 300, b).var(axis=0).sum() for b in (0.0, moved))
    assert without > 2 * with_it


def test_the_entropy_alone_makes_all_places_equally_probable():
    ours, some = small(attention="hard", reward=0.0, entropy=1.0), batch()
    ours.v.assign(8 * ours.v.numpy())
    optimizer = ta.optim.Adam(ours.parameters(), lr=0.02)

    @ta.function
    def step(images, given):
        said = ours.say(images, given)
        nats, words = ta.zeros((5, 4), np.float64), ta.tensor(np.ones((5, 4), bool))
        optimizer.minimize(ours.chosen(nats, words, *said.choice))
        return said.weights

    first = step(some.images, some.target_in)
    for _ in range(300):
        last = step(some.images, some.target_in)
    assert abs(first - 1 / 16).max() > 0.05 and abs(last - 1 / 16).max() < 0.005


@pytest.mark.parametrize("attention", ["soft", "hard"])
def test_weights_sum_to_one_and_no_word_sees_a_later_one(attention):
    ours, some = small(attention=attention).eval(), batch()
    logits, weights = (part.numpy() for part in ours(some.images, some.target_in))
    np.testing.assert_allclose(weights.sum(axis=2), 1, rtol=1e-12)
    later = some.target_in.copy()
    later[:, 2:] = 8
    changed = [part.numpy() for part in ours(some.images, later)]
    np.testing.assert_array_equal(logits[:, :2], changed[0][:, :2])
    np.testing.assert_array_equal(
        weights[:, :3], changed[1][:, :3]
    )  # (where to look follows from the state before)
    assert (logits[:, 2] != changed[0][:, 2]).any()


@pytest.mark.parametrize("attention", ["soft", "hard"])
def test_a_row_that_fills_up_and_padding_are_seen_by_nothing(attention):
    ours, some = small(attention=attention).eval(), batch()
    three = {name: part[:3] for name, part in vars(some).items()}
    alone = replace(some, **three)
    assert abs(float(ours.loss(some)) - float(ours.loss(alone))) < 1e-12
    other = some.target_in.copy()
    other[some.target_out == 0] = 7
    assert abs(float(ours.loss(some)) - float(ours.loss(replace(some, target_in=other)))) < 1e-12


@pytest.mark.parametrize("attention", ["soft", "hard"])
def test_the_search_says_what_is_most_probable_word_by_word(attention):
    ours, some = small(attention=attention), batch()
    for beam in (1, 3):
        found = ours.answer(some, beam=beam)
        for row, ids in enumerate(found.outputs):
            given = np.concatenate([[1], ids[:-1]]).astype(np.int32)[None]
            with ours.evaluating():
                logits, weights = ours(some.images[row : row + 1], given)
                log_p = ta.log_softmax(logits).numpy()[0]
            assert abs(log_p[np.arange(len(ids)), ids].sum() - found.scores[row]) < 1e-9
            np.testing.assert_allclose(found.maps["attention"][row], weights.numpy()[0], rtol=1e-9)
            assert len(ids) == 5 or ids[-1] == EOS
            if beam == 1:
                log_p[:, :2] = -np.inf  # <pad> and <bos> are never said
                assert np.array_equal(log_p.argmax(axis=1), ids)
    assert found.predictions == some.weight
    with ours.evaluating():
        nats = -float(ta.sum(ta.log_softmax(ours(some.images, some.target_in)[0]) * one_hot(some)))
    assert abs(found.nats - nats) < 1e-6


def one_hot(some):
    hot = np.eye(9)[some.target_out]
    hot[some.target_out == 0] = 0
    return hot


def test_dropout_is_of_training_alone_and_of_the_state_on_its_way_to_the_words():
    some, plain, ours = batch(), small(), small(dropout=0.5)
    with plain.evaluating(), ours.evaluating():
        assert float(plain.loss(some)) == float(ours.loss(some))
    logits, weights = ours(some.images, some.target_in)
    assert np.abs(logits.numpy() - plain(some.images, some.target_in)[0].numpy()).max() > 0.1
    np.testing.assert_allclose(weights.numpy(), plain(some.images, some.target_in)[1].numpy(), rtol=1e-12)


def test_it_has_as_many_numbers_as_it_is_said_to():
    for options in ({}, {"layers": 3, "compared": 7, "width": 5}):
        sizes = ShowAttendTellConfig(20, 24, 3, 21, **options)
        assert ShowAttendTell(sizes).num_parameters() == sizes.num_parameters()
    must = r"\[ShowAttendTell\] image_size must be divisible by 2 for each of the 5 layers but one"
    with pytest.raises(ta.TinyattnError, match=must):
        ShowAttendTellConfig(20, 24, 3, 21, layers=5)
    for name in ("stochastic", "reward", "entropy"):
        with pytest.raises(
            ta.TinyattnError, match=rf"\[ShowAttendTell\] {name} must be at least 0, but got -1"
        ):
            ShowAttendTellConfig(20, 24, 3, 21, **{name: -1})
    with pytest.raises(
        ta.TinyattnError, match=r"\[ShowAttendTell\] attention must be one of soft, hard, but got 'firm'"
    ):
        ShowAttendTellConfig(20, 24, 3, 21, attention="firm")
