"""What the operations on memory, windows and choices promise beyond the op table."""

import numpy as np
import pytest
from engine import compiled

import tinyattn as ta
from tinyattn.runtime import reference

# Addressing and writing.


def _weighting(seed, *shape):
    return np.asarray(reference.evaluate([ta.softmax(np.random.default_rng(seed).standard_normal(shape))])[0])


def test_one_operation_is_the_four_stages():
    rng = np.random.default_rng(0)
    emitted, memory, previous = (
        rng.standard_normal((2, 3, 12)),
        rng.standard_normal((2, 7, 4)),
        _weighting(1, 2, 3, 7),
    )
    e = ta.tensor(emitted)
    content = ta.content_addressing(e[..., :4], ta.softplus(e[..., 4:5]), memory)
    gated = ta.interpolate(ta.sigmoid(e[..., 5]), content, previous)
    shifted = ta.circular_shift(gated, ta.softmax(e[..., 6:11]))
    stages = ta.sharpen(shifted, 1 + ta.softplus(e[..., 11]))
    whole = ta.memory_address(e, memory, previous)
    cotangent = rng.standard_normal((2, 3, 7))
    pulled = [ta.grad((w * cotangent).sum(), e) for w in (stages, whole)]
    values = compiled([stages, whole, *pulled])
    np.testing.assert_allclose(values[1], values[0], 0, 1e-14)
    np.testing.assert_allclose(values[3], values[2], 0, 1e-13)
    np.testing.assert_allclose(values[1].sum(-1), 1, 1e-14)


def test_a_shift_moves_forward_and_a_half_shift_blurs():
    w = np.eye(10)[9]
    np.testing.assert_array_equal(ta.circular_shift(w, np.array([0.0, 0.0, 1.0])).numpy(), np.eye(10)[0])
    # The example of Graves et al. 2014, section 3.3.2.
    np.testing.assert_allclose(
        ta.circular_shift(np.eye(10)[0], 6.7).numpy(), 0.3 * np.eye(10)[6] + 0.7 * np.eye(10)[7]
    )
    np.testing.assert_allclose(ta.circular_shift(w, -1.0).numpy(), np.eye(10)[8])


def test_a_memory_of_equal_rows_teaches_nothing_about_keys():
    """All places look alike: the weighting is even, and neither key nor strength has a gradient."""
    key, strength = ta.tensor(np.array([[0.3, -0.5, 1.0]])), ta.tensor(np.array([2.0]))
    weights = ta.content_addressing(key, strength, np.full((1, 6, 3), 1e-6))
    gradients = ta.grad((weights * np.arange(6.0)).sum(), [key, strength])
    value, *pulled = compiled([weights, *gradients])
    np.testing.assert_allclose(value, 1 / 6)
    assert all(np.abs(g).max() < 1e-9 for g in pulled)


def test_first_all_heads_erase_then_all_add():
    """What one head adds the other doesn't erase, and their order doesn't matter."""
    memory, weights = np.full((1, 2, 3), 5.0), np.array([[[1.0, 0.0], [1.0, 0.0]]])
    erase, add = np.array([[[1.0] * 3, [0.5] * 3]]), np.array([[[2.0, 0, 0], [0, 3.0, 0]]])
    found = ta.memory_write(memory, weights, erase, add).numpy()
    np.testing.assert_array_equal(found, [[[2.0, 3.0, 0.0], [5.0] * 3]])
    again = ta.memory_write(memory, weights[:, ::-1], erase[:, ::-1], add[:, ::-1]).numpy()
    np.testing.assert_array_equal(again, found)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_any_number_of_threads_gives_the_same_bits(dtype):
    rng = np.random.default_rng(0)
    memory = ta.tensor(rng.standard_normal((37, 65, 20)).astype(dtype))
    emitted = ta.tensor(rng.standard_normal((37, 2, 26)).astype(dtype))
    weights = ta.memory_address(emitted, memory, _weighting(1, 37, 2, 65).astype(dtype))
    new = ta.memory_write(memory, weights, ta.sigmoid(emitted[..., :20]), emitted[..., 3:23])
    gradients = ta.grad((new * new).sum(), [emitted, memory])
    program = ta.Program([new, *gradients])
    results, before = [], ta.get_num_threads()
    try:
        for threads in (1, 2):
            ta.set_num_threads(threads)
            results += [program.run([]) for _ in range(3)]
    finally:
        ta.set_num_threads(before)
    for values in results[1:]:
        assert all(np.array_equal(a, b) for a, b in zip(values, results[0], strict=True))


# Local attention.


def test_predictive_alignment_and_its_gradients():
    """The chain of Luong et al. 2015, eqs. 9 and 10, against its derivative in closed form."""
    rng = np.random.default_rng(0)
    length, width = 9, 3
    h, W, v, scores, g = (rng.standard_normal(s) for s in (3, (4, 3), 4, length, length))
    hidden, matrix, vector, e = map(ta.tensor, (h, W, v, scores))
    place = length * ta.sigmoid(ta.dot(vector, ta.tanh(matrix @ hidden)))
    alpha = ta.softmax(e, mask=ta.local_window(place, length, width))
    alignment = alpha * ta.local_window(place, length, width, predictive=True)
    found = compiled([alignment, *ta.grad((alignment * g).sum(), [e, vector, matrix, hidden])])
    t = np.tanh(W @ h)
    p = length / (1 + np.exp(-v @ t))
    s, sigma = np.arange(length), width / 2
    inside = np.abs(s - p) <= width
    assert 1 < inside.sum() < length
    weights = np.where(inside, np.exp(scores), 0)
    weights /= weights.sum()
    gauss = np.where(inside, np.exp(-((s - p) ** 2) / (2 * sigma**2)), 0)
    by_place = (g * weights * gauss * (s - p) / sigma**2).sum()
    u = by_place * p * (length - p) / length
    by_hidden = u * v * (1 - t * t)
    by_scores = weights * (g * gauss - (weights * g * gauss).sum())
    for value, right in zip(
        found, [weights * gauss, by_scores, u * t, np.outer(by_hidden, h), W.T @ by_hidden], strict=True
    ):
        np.testing.assert_allclose(value, right, 0, 1e-13)


def test_monotonic_alignment_is_softmax_in_the_window():
    scores = np.random.default_rng(0).standard_normal((5, 8))
    found = ta.softmax(scores, mask=ta.local_window(ta.arange(5), 8, 1)).numpy()
    for t, row in enumerate(found):
        window = slice(max(0, t - 1), t + 2)
        np.testing.assert_allclose(row[window], np.exp(scores[t, window]) / np.exp(scores[t, window]).sum())
        assert np.count_nonzero(row) == len(row[window])


def test_words_that_a_location_score_does_not_know_get_no_weight():
    query, W, keys = np.ones((2, 3, 4)), np.ones((5, 4)), np.ones((2, 7, 6))
    weights = ta.softmax(ta.location_score(query, keys, W)).numpy()
    np.testing.assert_allclose(weights, [[[0.2] * 5 + [0.0] * 2] * 3] * 2)


# Hard attention.


@pytest.mark.parametrize("masked", [False, True])
def test_the_expected_gradient_is_the_exact_one(masked):
    """All choices, weighed by their probabilities: REINFORCE is unbiased, whatever the baseline."""
    rng = np.random.default_rng(0)
    e, values, target = rng.standard_normal(5), rng.standard_normal((5, 3)), rng.standard_normal(3)
    mask = np.array([True, True, False, True, True]) if masked else None
    scores, a = ta.tensor(e), ta.tensor(values)
    probability = ta.softmax(scores, mask=mask)
    rewards = -((a - target) ** 2).sum(-1)  # log p(y | s = j) but for a constant
    exact = ta.grad(-(probability * rewards).sum() - 0.3 * _entropy(probability), [scores, a])
    right = compiled(exact)
    for baseline in (0.0, -1.7):
        mean = [np.zeros(5), np.zeros((5, 3))]
        for j, p in enumerate(probability.numpy()):
            chosen = np.eye(5)[j]
            reward = -((ta.tensor(chosen) @ a - target) ** 2).sum()
            term = ta.score_function(scores, chosen, reward, baseline, mask, entropy_weight=0.3)
            loss = -reward + term if p else 0 * scores.sum() + 0 * a.sum()
            for total, g in zip(mean, compiled(ta.grad(loss, [scores, a])), strict=True):
                total += p * g
        for found, expected in zip(mean, right, strict=True):
            np.testing.assert_allclose(found, expected, 0, 1e-13)


def _entropy(p):
    return -ta.where(p == 0, 0, p * ta.log(ta.where(p == 0, 1, p))).sum()


def test_a_baseline_makes_the_gradient_vary_less():
    scores, rewards = ta.tensor(np.array([0.3, -0.4, 1.1])), np.array([-5.0, -5.5, -4.8])
    p = ta.softmax(scores).numpy()
    spread = []
    for baseline in (0.0, -5.0):
        terms = [ta.score_function(scores, np.eye(3)[j], rewards[j], baseline) for j in range(3)]
        gradients = np.array(compiled([ta.grad(t, scores) for t in terms]))
        mean = p @ gradients
        spread.append(p @ ((gradients - mean) ** 2).sum(-1))
    assert spread[1] < spread[0] / 50


def test_entropy_alone_makes_the_choice_even():
    scores = ta.parameter(np.array([2.0, -1.0, 0.5]))

    @ta.function
    def step():
        term = ta.score_function(scores, np.eye(3)[0], 0.0, entropy_weight=1.0)
        ta.assign(scores, scores - ta.grad(term, scores))
        return term

    for _ in range(200):
        step()
    np.testing.assert_allclose(ta.softmax(scores).numpy(), 1 / 3, 1e-3)


def test_choices_are_drawn_with_their_probabilities():
    ta.manual_seed(3)
    p = np.array([0.1, 0.0, 0.6, 0.3])
    scores = np.broadcast_to(np.log(np.where(p == 0, 1.0, p)), (20_000, 4)).astype(np.float32)
    chosen = ta.hard_attention(scores, mask=p > 0).numpy()
    assert np.array_equal(chosen.sum(-1), np.ones(20_000)) and set(np.unique(chosen).tolist()) == {0.0, 1.0}
    np.testing.assert_allclose(chosen.mean(0), p, 0, 0.012)
    assert not chosen[:, 1].any()
    assert not ta.hard_attention(scores[:5], mask=np.zeros(4, bool)).numpy().any()


def test_the_values_get_the_gradient_of_where_they_were_looked_at():
    """The same choice in the program's forward and backward pass, a new one at every call."""
    ta.manual_seed(0)
    values = ta.parameter(np.arange(12.0).reshape(6, 2))

    @ta.function
    def step():
        chosen = ta.hard_attention(ta.zeros((6,), np.float64))
        return (
            chosen @ values,
            ta.grad((chosen @ values).sum(), values),
            ta.grad((chosen @ values).sum() + 0 * values.sum(), values),
        )

    seen = set()
    for _ in range(40):
        context, g, again = step()
        place = int(context[0]) // 2
        np.testing.assert_array_equal(g, np.eye(6)[place][:, None] * np.ones(2))
        np.testing.assert_array_equal(again, g)
        seen.add(place)
    assert len(seen) == 6
