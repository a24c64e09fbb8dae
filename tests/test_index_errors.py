"""Indices out of range: one error wherever they come from, and nothing is changed by the step that met them."""

import numpy as np
import pytest

import tinyattn as ta
from tinyattn import errors, nn
from tinyattn.runtime import reference

X = np.arange(8.0, dtype=np.float32).reshape(4, 2)
INT64 = np.iinfo(np.int64)
SCORES = np.linspace(-1, 1, 12, dtype=np.float32).reshape(3, 4)

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
    "lengths": (lambda i: nn.LSTM(2, 3)(ta.tensor(np.ones((3, 3, 2), np.float32)), lengths=i)[0], 4, False),
}  # fmt: skip
"""Every way to say a position."""

WRONG = {"one too far": 4, "far": 999, "the largest": INT64.max, "the least": INT64.min, "too negative": -5}


def wrong(name, value, dtype=np.int64):
    indices = np.array([0, 3, 1], dtype)
    indices[1] = value
    return indices


def message(call):
    with pytest.raises(errors.ShapeError) as found:
        call()
    rows = str(found.value).splitlines()
    assert len(rows) <= 3 and "must lie in 0..3" in rows[0] and rows[1].startswith("  at "), rows
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
    }
    told = {message(texts[way]) for way in ("constant", "argument", "computed")}
    leaf = ta.tensor(good.copy())
    late = call(leaf)  # the leaf is right now, and wrong when the value is asked for
    leaf.assign(bad)
    told |= {message(late.numpy), message(lambda: reference.evaluate([late]))}
    assert len(told) == 1 and f"but {value} was got." in told.pop()
    np.testing.assert_array_equal(run(good), right)  # and the program works as before


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
            assert "but 7 was got" in message(lambda: run(indices))
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
    random = ta.graph.trace.default_generator.state.numpy()
    assert "[embedding] indices must lie in 0..3, but 7 was got." in message(lambda: step(bad, x))
    for leaf, value in zip((*leaves, counter), state, strict=True):
        np.testing.assert_array_equal(leaf.numpy(), value)
    after = [value for o in optimizers for value in o.state_dict().values() if isinstance(value, np.ndarray)]
    assert len(moments) > 2
    for left, right in zip(moments, after, strict=True):
        np.testing.assert_array_equal(left, right)
    np.testing.assert_array_equal(ta.graph.trace.default_generator.state.numpy(), random)
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


def test_gradients_alone_look_at_indices_too():
    x = ta.parameter(X)
    run = ta.function(lambda i: ta.grad((x[i, i] * 2.0).sum(), x))
    message_of = pytest.raises(
        errors.ShapeError, match=r"indices of axis 1 must lie in 0..1 \(or −2..−1\), but 3 was got"
    )
    with message_of:
        run(np.array([1, 3]))
    np.testing.assert_array_equal(run(np.array([1, 1])), [[0, 0], [0, 4], [0, 0], [0, 0]])


def test_models_say_which_word_they_do_not_know():
    gpt = ta.models.GPT(ta.models.GPTConfig(10, block_size=8, n_layer=1, n_head=1, n_embd=8))
    for ids in ([[1, 999]], [[1, -1]]):
        with pytest.raises(errors.ShapeError, match="indices must lie in 0..9"):
            gpt.generate(ids, 3)
    config = ta.models.Bahdanau.Config(8, 8)
    model = ta.models.Bahdanau(config)
    source = np.array([[4, 5, 6]])
    model.translate(source, np.array([3]), max_length=4)
    for ids, lengths in ((source * 2, [3]), (source, [4]), (source, [-1]), (-source, [3])):
        with pytest.raises(errors.ShapeError, match="must lie in 0.."):
            model.translate(ids, np.array(lengths), max_length=4)


def test_pictures_and_formulas_do_not_show_the_look_at_indices():
    ids = ta.tensor([0, 2], name="ids")
    table = ta.tensor(X, name="table")
    picture = ta.viz.draw(ta.take(table, ids).sum(), wrt=[table]).picture
    assert "within" not in {n.op for n in picture.nodes.values()}
    assert ta.show(ta.take(table, ids) * 2) == "2 table[ids]"
