"""Indices out of range: one error wherever they come from, and nothing is changed by the step that met them."""

import numpy as np
import pytest

import tinyattn as ta
from tinyattn import errors, nn
from tinyattn.graph import randomness
from tinyattn.runtime import reference

X = np.arange(8.0, dtype=np.float32).reshape(4, 2)
INT64 = np.iinfo(np.int64)
SCORES = np.linspace(-1, 1, 12, dtype=np.float32).reshape(3, 4)
RECURRENT = nn.LSTM(2, 3)

CALLS = {
    # name: (call of an index tensor of shape (3,), how many there are, whether −1 is the last one)
    "take": (lambda i: ta.take(ta.tensor(X), i), 4, True),
    "take along the last axis": (lambda i: ta.take(ta.tensor(X.T), i, axis=1), 4, True),
    "x[i]": (lambda i: ta.tensor(X)[i], 4, True),
    "x[i, 0]": (lambda i: ta.tensor(X)[i, 0], 4, True),
    "x[0, i]": (lambda i: ta.tensor(X.T)[0, i], 4, True),
    "x[i, j]": (lambda i: ta.tensor(X)[i, ta.tensor([0, 1, 0])], 4, True),
    "x[j, i]": (lambda i: ta.tensor(X.T)[ta.tensor([0, 1, 0]), i], 4, True),
    "take_along_axis": (lambda i: ta.take_along_axis(ta.tensor(X), ta.reshape(i, (3, 1)) * np.ones((1, 2), int), 0), 4, True),
    "embedding": (lambda i: ta.embedding(ta.tensor(X), i), 4, False),
    "embedding with padding": (lambda i: ta.embedding(ta.tensor(X), i, padding_idx=1), 4, False),
    "one_hot": (lambda i: ta.one_hot(i, 4), 4, False),
    "cross_entropy": (lambda i: ta.cross_entropy(ta.tensor(SCORES), i), 4, False),
    "cross_entropy with ignore_index": (lambda i: ta.cross_entropy(ta.tensor(SCORES), i, ignore_index=-100), 4, False),
    "weighted cross_entropy": (lambda i: ta.cross_entropy(ta.tensor(SCORES), i, weight=np.ones(4, np.float32)), 4, False),
    "nll_loss": (lambda i: ta.nll_loss(ta.tensor(SCORES), i), 4, False),
    "linear_cross_entropy": (lambda i: ta.linear_cross_entropy(ta.tensor(SCORES), ta.tensor(np.ones((4, 4), np.float32)), i), 4, False),
    "index_update": (lambda i: ta.index_update(ta.tensor(X), i[1], 9.0), 4, True),
    "lengths": (lambda i: RECURRENT(ta.tensor(np.ones((3, 3, 2), np.float32)), lengths=i)[0], 4, False),
}  # fmt: skip
"""Every way to say a position."""

WRONG = {"one too far": 4, "far": 999, "the largest": INT64.max, "the least": INT64.min, "too negative": -5,
         "very negative": -(1 << 62)}  # fmt: skip


def wrong(name, value, dtype=np.int64):
    indices = np.array([0, 3, 1], dtype)
    indices[1] = value
    return indices


def message(call):
    with pytest.raises(errors.ShapeError) as found:
        call()
    rows = str(found.value).splitlines()
    assert len(rows) <= 3 and "must lie in 0..3" in rows[0] and "test_index_errors.py:" in rows[1], rows
    return rows[0]


@pytest.mark.parametrize("which", WRONG)
@pytest.mark.parametrize("name", CALLS)
def test_a_wrong_index_is_told_wherever_it_comes_from(name, which):
    call, _, _ = CALLS[name]
    value = WRONG[which]
    bad, good = wrong(name, value), wrong(name, 3)
    run = ta.function(lambda i: call(i))
    right = run(good)
    texts = {
        "constant": lambda: call(ta.tensor(bad)).numpy(),
        "argument": lambda: run(bad),
        "computed": lambda: ta.function(lambda i: call(ta.where(i < 3, i, ta.maximum(i, i))))(bad),
        "in a loop": lambda: ta.function(lambda i: looped(call, i))(np.stack([good, bad, good])),
        "profiled": lambda: run.profile(bad),
    }
    told = {message(way) for way in texts.values()}
    leaf = ta.tensor(good.copy())
    late = call(leaf)  # the leaf is right now, and wrong when the value is asked for
    leaf.assign(bad)
    told |= {message(late.numpy), message(lambda: reference.evaluate([late]))}
    assert len(told) == 1 and f"but got {value}." in told.pop()
    np.testing.assert_array_equal(run(good), right)  # and the program works as before


def looped(call, indices):
    """``call`` of one row of indices after another."""
    return ta.scan(lambda total, i: (total + call(i).sum(), None), ta.zeros(()), indices)[0]


def state_of(leaves, *optimizers):
    """Bits of everything that a step moves, the state of randomness too."""
    moments = [value for o in optimizers for value in o.state_dict().values()]
    values = [*leaves, randomness.default_generator.state]
    return [np.array(value).tobytes() for value in (*(leaf.numpy() for leaf in values), *moments)]


@pytest.mark.parametrize("where", ["in the step", "in a loop", "in a checkpoint", "after the norm"])
@pytest.mark.parametrize("name", CALLS)
def test_a_training_step_with_a_wrong_index_changes_nothing(name, where):
    """Dropout, a counter, batch norm's averages, moments and parameters, whether they depend on the index or not."""
    call, _, _ = CALLS[name]
    layer, norm, factor = nn.Linear(2, 2), nn.BatchNorm1d(2), ta.parameter(np.ones((), np.float32))
    steps = ta.tensor(np.zeros((), np.int64), name="steps")
    model = [*layer.parameters(), *norm.parameters(), factor]
    optimizer = ta.optim.Adam(model, lr=0.1, clip_norm=1.0)
    leaves = [*model, norm.running_mean, norm.running_var, norm.num_batches_tracked, steps]

    @ta.function
    def step(x, indices):
        ta.assign(steps, steps + 1)
        hidden = norm(ta.dropout(layer(x), 0.5))
        if where == "after the norm":
            indices = indices + ta.cast(ta.stop_gradient(hidden).sum() * 0, np.int64)
        of = {"in a loop": lambda i: looped(call, ta.stack([i, i])), "in a checkpoint": ta.checkpoint(call)}
        value = of.get(where, call)(indices)
        loss = (hidden * hidden).sum() + (value * factor).sum()
        optimizer.minimize(loss)
        return loss

    x = X[:3] / 8
    bad, good = wrong(name, 4), wrong(name, 3)
    step(x, good)
    before = state_of(leaves, optimizer)
    message(lambda: step(x, bad))
    message(lambda: step.profile(x, bad))
    assert state_of(leaves, optimizer) == before
    assert np.isfinite(step(x, good)) and steps.numpy() == 2
    assert state_of(leaves, optimizer) != before


@pytest.mark.parametrize("name", CALLS)
def test_the_last_one_may_be_counted_from_the_end_where_numpy_does(name):
    call, _, from_end = CALLS[name]
    run = ta.function(lambda i: call(i))
    if from_end:
        np.testing.assert_array_equal(run(wrong(name, -1)), run(wrong(name, 3)))
    else:
        message(lambda: run(wrong(name, -1)))


@pytest.mark.parametrize("threads", [1, 2])
def test_the_first_wrong_index_of_many_is_named(threads):
    before = ta.get_num_threads()
    ta.set_num_threads(threads)
    try:
        indices = np.zeros(300_000, np.int32)
        indices[[70_000, 200_000, 299_999]] = 7, 8, 9
        run = ta.function(lambda i: ta.take(ta.tensor(X), i))
        for _ in range(3):
            assert "but got 7" in message(lambda: run(indices))
    finally:
        ta.set_num_threads(before)


def test_nothing_is_updated_by_a_step_with_a_wrong_index():
    """The wrong index comes up after the loss of other parameters is known, at the end of a loop, and is computed."""
    table, other = nn.Embedding(4, 3), nn.Linear(3, 3)
    leaves = [*table.parameters(), *other.parameters()]
    counter = ta.tensor(np.zeros((), np.int64), name="steps")
    optimizers = [
        ta.optim.Adam(other.parameters(), lr=0.1),
        ta.optim.SGD(table.parameters(), lr=0.1, momentum=0.9),
    ]

    @ta.function
    def step(indices, x):
        ta.assign(counter, counter + 1)
        optimizers[0].minimize((other(x) ** 2).sum())  # knows nothing of the indices
        shifted = ta.argmax(ta.one_hot(indices % 4, 4), axis=-1) + (indices - indices % 4)
        _, rows = ta.scan(lambda c, i: (c, table(i)), ta.zeros(()), shifted)
        loss = (ta.dropout(rows, 0.5) ** 2).sum()
        optimizers[1].minimize(loss)
        return loss

    x = np.ones((2, 3), np.float32)
    good, bad = np.array([0, 1, 3]), np.array([0, 1, 7])
    step(good, x)
    state = [leaf.numpy() for leaf in (*leaves, counter)]
    moments = [
        value.copy() for o in optimizers for value in o.state_dict().values() if isinstance(value, np.ndarray)
    ]
    random = ta.random_state()
    assert "[embedding] indices must lie in 0..3, but got 7." in message(lambda: step(bad, x))
    for leaf, value in zip((*leaves, counter), state, strict=True):
        np.testing.assert_array_equal(leaf.numpy(), value)
    after = [value for o in optimizers for value in o.state_dict().values() if isinstance(value, np.ndarray)]
    assert len(moments) > 2
    for left, right in zip(moments, after, strict=True):
        np.testing.assert_array_equal(left, right)
    np.testing.assert_array_equal(ta.random_state(), random)
    assert step(good, x) > 0 and counter.numpy() == 2


def test_an_index_made_of_a_new_value_is_looked_at_before_that_is_stored():
    place = ta.tensor(np.array(0), name="place")

    @ta.function
    def step(by):
        new = place + by
        ta.assign(place, new)
        return ta.take(ta.tensor(X), new)

    step(np.array(3))
    message(lambda: step(np.array(2)))
    assert place.numpy() == 3


def test_a_leaf_keeps_its_value_however_the_new_one_and_an_index_are_made():
    """Together in one kernel, seen through a view, by a kernel of several outputs, or as random numbers."""
    place, table = ta.tensor(np.array([0, 1]), name="place"), ta.tensor(X)
    wide, norm = ta.tensor(np.zeros((2, 3), np.float32), name="wide"), nn.BatchNorm1d(2)
    norm.weight.assign(np.zeros(2))

    @ta.function
    def one_kernel(by):
        new = place + by
        ta.assign(place, new)
        return ta.take(table, new * 2 - new)

    @ta.function
    def view(by):
        ta.assign(wide, ta.reshape(ta.exp(ta.tensor(X[:3])) + ta.cast(by[0], np.float32), (2, 3)))
        return ta.take(table, ta.argmax(ta.softmax(ta.tensor(X) @ X.T), axis=0)[:2] * 0 + by)

    @ta.function
    def averages(by):
        return ta.take(table, ta.cast(norm(ta.cast(by, np.float32)[:, None] * [1, 1]), np.int64).sum(1) + by)

    @ta.function
    def random(by):
        return ta.take(table, ta.cast(ta.random_uniform((2,)), np.int64) + by)

    leaves = [place, wide, norm.running_mean, norm.running_var, norm.num_batches_tracked]
    for step in (one_kernel, view, averages, random):
        step(np.array([1, 1]))
        before = state_of(leaves)
        message(lambda step=step: step(np.array([1, 7])))
        assert state_of(leaves) == before
        step(np.array([0, 0]))
        if step is not one_kernel:
            assert state_of(leaves) != before


def test_a_profile_that_meets_a_wrong_index_puts_the_leaves_back():
    steps = ta.tensor(np.zeros((), np.int64), name="steps")

    @ta.function
    def step():
        ta.assign(steps, steps + 1)
        return ta.take(ta.tensor(X), steps)

    message(lambda: step.profile(steps=10))  # the fifth step goes too far
    assert steps.numpy() == 0


def test_gradients_alone_look_at_indices_too():
    x = ta.parameter(X)
    run = ta.function(lambda i: ta.grad((x[i, i] * 2.0).sum(), x))
    message_of = pytest.raises(
        errors.ShapeError, match=r"indices of axis 1 must lie in 0..1 \(or −2..−1\), but got 3"
    )
    with message_of:
        run(np.array([1, 3]))
    np.testing.assert_array_equal(run(np.array([1, 1])), [[0, 0], [0, 4], [0, 0], [0, 0]])


def gpt():
    return ta.models.GPT(ta.models.GPTConfig(10, block_size=8, n_layer=1, n_head=1, n_embd=8))


@pytest.mark.parametrize(
    ("tokens", "more", "text"),
    [
        ([[1, 999]], {}, "tokens must lie in 0..9, but got 999."),
        ([[1, -1]], {}, "tokens must lie in 0..9, but got -1."),
        ([[1, INT64.max]], {"use_cache": False}, f"tokens must lie in 0..9, but got {INT64.max}."),
        ([[1, 999]], {"max_new_tokens": 0}, "tokens must lie in 0..9, but got 999."),
        ([[10] + [1] * 12], {}, "tokens must lie in 0..9, but got 10."),  # out of the model's sight
        ([[1, 2], [3]], {}, "tokens must be integers of shape (B, T), no axis empty, but got [[1, 2], [3]]."),
        ([[1]], {"max_new_tokens": -1}, "max_new_tokens must be an integer of at least 0, but got -1."),
        ([[1]], {"max_new_tokens": 1.5}, "max_new_tokens must be an integer of at least 0, but got 1.5."),
        ([[1]], {"top_k": 1.5}, "top_k must be an integer of at least 1, but got 1.5."),
        ([[1]], {"temperature": np.nan}, "temperature must be at least 0, but got nan."),
    ],
)  # fmt: skip
def test_gpt_refuses_impossible_prompts(tokens, more, text):
    model = gpt()
    right = model.generate([[1, 2]], 3, temperature=0)
    with pytest.raises(errors.ShapeError) as found:
        model.generate(tokens, **{"max_new_tokens": 3} | more)
    assert str(found.value).splitlines()[0] == "[generate] " + text
    np.testing.assert_array_equal(model.generate([[1, 2]], 3, temperature=0), right)


def test_gpt_continues_longer_prompts_than_it_sees():
    model, long = gpt(), [[1, 2, 3] * 5]
    seen = model.generate([long[0][-8:]], 1, temperature=0)
    np.testing.assert_array_equal(model.generate(long, 1, temperature=0)[:, -1], seen[:, -1])


@pytest.mark.parametrize("position", [8, -1, INT64.max])
def test_gpt_has_no_position_outside_of_its_block(position):
    model = gpt()
    caches = model.empty_caches(1)
    one = np.array([[1]])
    with pytest.raises(errors.ShapeError, match="must lie in 0..7"):
        ta.function(lambda tokens, at: model.step(tokens, caches, at)[0])(one, np.array(position))
    with pytest.raises(errors.ShapeError, match="at most block_size = 8|at least 0, but got -1"):
        model.step(one, caches, position)


@pytest.mark.parametrize(
    ("source", "lengths", "more", "text"),
    [
        ([[4, 5, 8]], [3], {}, "source ids must lie in 0..7, but got 8."),
        ([[4, 5, -1]], [3], {}, "source ids must lie in 0..7, but got -1."),
        ([[4, 5, 999]], [2], {}, "source ids must lie in 0..7, but got 999."),  # behind the end
        ([[4, 5, 6]], [4], {}, "lengths must lie in 1..3, but got 4."),
        ([[4, 5, 6]], [-1], {}, "lengths must lie in 1..3, but got -1."),
        ([[4, 5, 6]], [0], {}, "lengths must lie in 1..3, but got 0."),
        ([[4, 5, 6]], [3, 3], {}, "there must be a length for each of the 1 sentences, but got 2."),
        ([[4, 5, 6]], 3, {}, "lengths must be integers of shape (B), no axis empty, but got int64 of shape ()."),
        ([4, 5, 6], [3], {}, "source ids must be integers of shape (B, S), no axis empty, but got int64 of shape (3,)."),
        ([[]], [0], {}, "source ids must be integers of shape (B, S), no axis empty, but got float64 of shape (1, 0)."),
        ([[4, 5, 6]], [3], {"beam": 1.5}, "beam must be an integer of at least 1, but got 1.5."),
        ([[4, 5, 6]], [3], {"beam": -1}, "beam must be an integer of at least 1, but got -1."),
        ([[4, 5, 6]], [3], {"max_length": 0}, "max_length must be an integer of at least 1, but got 0."),
    ],
)  # fmt: skip
def test_translate_refuses_impossible_sentences(source, lengths, more, text):
    for kind in (ta.models.Bahdanau, ta.models.Seq2Seq):
        model = kind(kind.Config(8, 8, embedding=4, hidden=4, maxout=4))
        with pytest.raises(errors.ShapeError) as found:
            model.translate(source, lengths, **{"max_length": 2} | more)
        assert str(found.value).splitlines()[0] == "[translate] " + text


def test_translate_takes_numpy_counts():
    model = ta.models.Bahdanau(ta.models.Bahdanau.Config(8, 8, embedding=4, hidden=4, maxout=4))
    found = model.translate([[4, 5, 6]], [3], np.int64(2), np.int64(3))
    np.testing.assert_array_equal(found.tokens, model.translate([[4, 5, 6]], [3], 2, 3).tokens)


def test_losses_of_models_look_at_ids():
    one, far = np.array([[1, 9]]), np.array([[1, 10]])
    for ids, targets in ((far, one), (one, far)):
        with pytest.raises(errors.ShapeError, match="must lie in 0..9, but got 10"):
            ta.function(gpt().loss)(ids, targets)


def test_positions_along_an_axis_have_the_axes_of_the_array():
    with pytest.raises(errors.ShapeError, match=r"\[take_along_axis\] indices must have 2 axes, as x has"):
        ta.take_along_axis(X, [0, 1], 0)


def test_pictures_and_formulas_do_not_show_the_look_at_indices():
    ids = ta.tensor([0, 2], name="ids")
    table = ta.tensor(X, name="table")
    picture = ta.viz.draw(ta.take(table, ids).sum(), wrt=[table]).picture
    assert "within" not in {n.op for n in picture.nodes.values()}
    assert ta.show(ta.take(table, ids) * 2) == "2 table[ids]"
