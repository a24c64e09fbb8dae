"""Attention layers: parity with torch, masks, properties of the mathematics, the cache, the text of errors."""

import make_attention_fixtures as fixtures
import make_fixtures
import numpy as np
import pytest
from modules import check, close, numbers

import tinyattn as ta
from tinyattn import errors, nn


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", fixtures.attention_cases())
def test_attention_is_that_of_torch(name):
    pytest.importorskip("torch")
    check(fixtures.measured(fixtures.CASES[name]), fixtures.CASES[name])


@pytest.mark.parametrize("name", [name for name in fixtures.RECORDED if name in fixtures.attention_cases()])
def test_attention_is_that_recorded(name):
    check(make_fixtures.recorded("attention.npz", name), fixtures.CASES[name])


@pytest.mark.parametrize("options", fixtures.OPTIONS.values(), ids=fixtures.OPTIONS)
def test_weights_go_to_torch_and_back(options):
    torch = pytest.importorskip("torch")
    ours = nn.MultiheadAttention(6, 2, **options)
    theirs = torch.nn.MultiheadAttention(6, 2, **options)
    theirs.load_state_dict({k: torch.from_numpy(v) for k, v in ours.state_dict().items()})
    back = nn.MultiheadAttention(6, 2, **options)
    back.load_state_dict(theirs.state_dict())
    for name, array in ours.state_dict().items():
        assert np.array_equal(back.state_dict()[name], array)


def attention(**options):
    ta.manual_seed(1)
    return nn.MultiheadAttention(6, 2, batch_first=True, dtype=np.float64, **options)


def test_initial_values_are_those_of_torch():
    ta.manual_seed(0)
    layer = nn.MultiheadAttention(200, 4, add_bias_kv=True)
    bound = np.sqrt(6 / 800)
    weights = layer.in_proj_weight.numpy()
    assert 0.99 * bound < np.abs(weights).max() <= bound
    assert not layer.in_proj_bias.numpy().any() and not layer.out_proj.bias.numpy().any()
    assert 0.99 / np.sqrt(200) < np.abs(layer.out_proj.weight.numpy()).max() <= 1 / np.sqrt(200)
    assert abs(layer.bias_k.numpy().std() / np.sqrt(2 / 400) - 1) < 0.15


def test_true_is_blocked_in_modules_and_may_attend_in_ops():
    layer, x = attention(bias=False), numbers(1, 3, 6)
    blocked = np.array([[0, 1, 1], [0, 0, 1], [1, 0, 1]], bool)
    _, weights = layer(x, x, x, attn_mask=blocked)
    assert np.array_equal(weights.numpy()[0] == 0, blocked)
    heads = layer.project(x)
    query = numbers(1, 2, 3, 3, seed=4)
    result, weights = ta.attention(query, *heads, mask=~blocked, return_weights=True)
    assert np.array_equal(weights.numpy()[0, 0] == 0, blocked)
    close(result.numpy(), ta.attention(query, *heads, mask=np.where(blocked, -np.inf, 0.0)).numpy())


@pytest.mark.parametrize("need_weights", [False, True])
def test_a_query_that_may_attend_to_nothing_gets_nothing(need_weights):
    """torch gives NaN here, and NaN gradients for all (its issue 41508); ours are 0, and nobody else notices."""
    layer, x = attention(), numbers(2, 3, 6)
    blocked = np.zeros((3, 3), bool)
    blocked[1] = True
    x = ta.tensor(x)
    y, weights = layer(x, x, x, attn_mask=blocked, need_weights=need_weights)
    close(y.numpy()[:, 1], np.broadcast_to(layer.out_proj.bias.numpy(), (2, 6)))
    if need_weights:
        assert not weights.numpy()[:, 1].any()
    gradients = ta.grad((y * y).sum(), [x, *layer.parameters()])
    assert all(np.isfinite(g.numpy()).all() for g in gradients)
    nothing = layer(x, x, x, attn_mask=np.ones((3, 3), bool), need_weights=False)[0]
    assert not ta.grad((nothing * numbers(2, 3, 6, seed=1)).sum(), x).numpy().any()


def test_what_stands_behind_a_mask_has_no_influence():
    layer, x = attention(), numbers(2, 4, 6)
    padding = np.array([[0, 0, 0, 1], [0, 0, 1, 1]], bool)
    expected = layer(x, x, x, padding, need_weights=False)[0].numpy()
    changed = np.where(padding[..., None], 1e3, x)
    found = layer(x, changed, changed, padding, need_weights=False)[0].numpy()
    close(found, expected, 1e-12)
    longer = np.concatenate([x, numbers(2, 3, 6, seed=9)], axis=1)
    more = np.concatenate([padding, np.ones((2, 3), bool)], axis=1)
    close(layer(x, longer, longer, more, need_weights=False)[0].numpy(), expected, 1e-12)


def test_no_position_sees_a_later_one():
    layer, x = attention(), numbers(1, 5, 6)
    before = layer(x, x, x, is_causal=True)[0].numpy()
    x[:, 3] += 1
    after = layer(x, x, x, is_causal=True)[0].numpy()
    assert np.array_equal(before[:, :3], after[:, :3]) and not np.array_equal(before[:, 3:], after[:, 3:])


@pytest.mark.parametrize("options", [{}, {"add_bias_kv": True}, {"add_zero_attn": True}], ids=str)
@pytest.mark.parametrize("source", [3, 5])
def test_all_ways_to_say_causal_agree(options, source):
    layer, x, y = attention(**options), numbers(2, 3, 6), numbers(2, source, 6, seed=1)
    later = np.arange(source) > np.arange(3)[:, None]
    padding = np.zeros((2, source), bool)
    padding[1, -1] = True
    for mask in (None, padding):
        expected = layer(x, y, y, mask, attn_mask=later)[0].numpy()
        ways = [
            {"is_causal": True},
            {"attn_mask": np.where(later, -np.inf, 0.0)},
            {"attn_mask": later, "is_causal": True},
        ]
        if source == 3:
            ways.append({"attn_mask": nn.Transformer.generate_square_subsequent_mask(3)})
        for way in ways:
            for need_weights in (False, True):
                close(layer(x, y, y, mask, need_weights, **way)[0].numpy(), expected, 1e-12)


def test_a_causal_mask_is_known_by_its_identity():
    mask = nn.Transformer.generate_square_subsequent_mask(4)
    assert np.array_equal(mask.numpy(), np.triu(np.full((4, 4), -np.inf), 1)) and mask.dtype == np.float32
    assert mask is nn.Transformer.generate_square_subsequent_mask(4)
    layer, x = attention(), ta.tensor(numbers(1, 4, 6))
    assert layer(x, x, x, attn_mask=mask)[0] is layer(x, x, x, is_causal=True)[0]


def test_two_axes_are_one_sequence():
    layer, x = attention(), numbers(3, 6)
    padding = np.array([0, 0, 1], bool)
    for own in (layer, nn.MultiheadAttention(6, 2, dtype=np.float64)):
        own.load_state_dict(layer.state_dict())
        output, weights = own(x, x, x, padding)
        expected = layer(x[None], x[None], x[None], padding[None])
        close(output.numpy(), expected[0].numpy()[0], 1e-12)
        close(weights.numpy(), expected[1].numpy()[0], 1e-12)
        assert own(x, x, x, average_attn_weights=False)[1].shape == (2, 3, 3)


def test_projections_of_one_tensor_are_one_product():
    layer, x = attention(), ta.tensor(numbers(2, 3, 6))
    y = ta.tensor(numbers(2, 5, 6))

    def products(*inputs):
        names = [
            node.op.name for node in ta.graph.traverse.topological([layer(*inputs, need_weights=False)[0]])
        ]
        return names.count("matmul")

    assert products(x, x, x) + 1 == products(x, y, y) == products(x, y, y + 1) - 1
    array = numbers(2, 40, 6)
    assert products(array, array, array) == products(x, x, x)


def test_dropout_is_for_training_only():
    ta.manual_seed(0)
    layer, x = attention(dropout=0.5), numbers(2, 8, 6)
    plain = attention()(x, x, x)[0].numpy()
    assert not np.allclose(layer(x, x, x)[0].numpy(), plain)
    close(layer.eval()(x, x, x)[0].numpy(), plain, 1e-12)


# Self-attention without positions.

SENTENCE = ("I", "saw", "a", "saw")


def test_without_positions_i_saw_a_saw_has_two_equal_saws():
    """Self-attention treats a sequence as a set: equal words at two places are the same to it."""
    ta.manual_seed(2)
    words = {"I": 0, "saw": 1, "a": 2}
    table = nn.Embedding(3, 6, dtype=np.float64)
    layer = attention()
    x = table(np.array([[words[word] for word in SENTENCE]])).numpy()
    blind = layer(x, x, x)[0].numpy()[0]
    assert np.abs(blind[1] - blind[3]).max() < 1e-12
    x = x + nn.sinusoidal_positions(4, 6, np.float64)
    seeing = layer(x, x, x)[0].numpy()[0]
    assert np.abs(seeing[1] - seeing[3]).max() > 1e-2


def test_the_order_of_positions_only_permutes_the_output():
    layer, x, order = attention(), numbers(1, 5, 6), [3, 0, 4, 2, 1]
    y = layer(x, x, x)[0].numpy()
    shuffled = x[:, order]
    close(layer(shuffled, shuffled, shuffled)[0].numpy(), y[:, order], 1e-12)


def test_sinusoidal_positions():
    codes = nn.sinusoidal_positions(50, 6, np.float64)
    assert codes.shape == (50, 6) and nn.sinusoidal_positions(3, 5).shape == (3, 5)
    for p, i in ((0, 0), (7, 1), (49, 2)):
        angle = p / 10000 ** (2 * i / 6)
        close(codes[p, 2 * i : 2 * i + 2], np.array([np.sin(angle), np.cos(angle)]), 1e-14)
    # PE(p)·PE(p + k) depends on k alone.
    products = codes @ codes.T
    close(np.diag(products, 5), np.full(45, products[0, 5]), 1e-12)


# The cache.


@pytest.mark.parametrize("batch_first", [False, True])
def test_decoding_with_a_cache_is_decoding_without(batch_first):
    layer = attention()
    layer.batch_first = batch_first
    x = numbers(2, 6, 6) if batch_first else numbers(6, 2, 6)
    axis = 1 if batch_first else 0
    expected = layer(x, x, x, is_causal=True)[0].numpy()
    step = ta.function(lambda x, cache, position: layer(x, cache=cache, position=position))
    # The first three at once, then one by one at a position that only the run knows.
    y, cache = step(x.take(range(3), axis), ta.nn.KVCache(*(k.numpy() for k in layer.empty_cache(2, 8))), 0)
    close(y, expected.take(range(3), axis), 1e-12)
    for t in range(3, 6):
        y, cache = step(x.take([t], axis), cache, np.array(t))
        close(y, expected.take([t], axis), 1e-12)
    assert len(step._compiled) == 2
    assert not cache.keys[:, :, 6:].any()
    # And two at once in the middle, at a position known beforehand.
    y, _ = layer(x.take([3, 4], axis), cache=ta.nn.KVCache(*map(ta.tensor, cache)), position=3)
    close(y.numpy(), expected.take([3, 4], axis), 1e-12)


def test_keys_and_values_of_a_memory_are_projected_once():
    layer, x, memory = (
        attention(kdim=5, vdim=4),
        numbers(2, 3, 6),
        (numbers(2, 7, 5), numbers(2, 7, 4, seed=1)),
    )
    padding = np.zeros((2, 7), bool)
    padding[0, 4:] = True
    expected = layer(x, *memory, padding)[0].numpy()
    cache = layer.project(*memory)
    assert cache.keys.shape == (2, 2, 7, 3) and cache.length == 7
    y, same = layer(x, key_padding_mask=padding, cache=cache)
    assert same is cache
    close(y.numpy(), expected, 1e-12)


@pytest.mark.parametrize("added", [False, True])
def test_sequences_that_begin_later_are_padded_in_front(added):
    layer, x = attention(), numbers(2, 5, 6)
    padding = np.zeros((2, 5), bool)
    padding[1, :2] = True
    mask = np.where(padding, -np.inf, 0.0) if added else padding
    expected = layer(x, x, x, padding, is_causal=True)[0].numpy()
    y, cache = layer(x[:, :2], key_padding_mask=mask, cache=layer.empty_cache(2, 5), position=0)
    close(y.numpy(), expected[:, :2], 1e-12)
    for t in range(2, 5):
        y, cache = layer(x[:, t : t + 1], key_padding_mask=mask, cache=cache, position=ta.tensor(np.array(t)))
        close(y.numpy(), expected[:, t : t + 1], 1e-12)


def test_index_update_at_a_position_known_at_run_time():
    x = numbers(2, 3, 5, 4)
    write = ta.function(lambda x, p, v: ta.index_update(x, (Ellipsis, p, slice(1, 3)), v))
    for position in (0, 4, -1, -5):
        value, expected = numbers(2, 3, 2, seed=1), x.copy()
        expected[..., position, 1:3] = value
        assert np.array_equal(write(x, np.array(position), value), expected)
    assert len(write._compiled) == 1
    p, value = ta.tensor(np.array(2)), ta.parameter(numbers(4))
    place = ta.index_update(ta.parameter(x), (1, slice(None), p), value)
    expected = x.copy()
    expected[1, :, 2] = value.numpy()
    assert np.array_equal(place.numpy(), expected)
    weights = numbers(2, 3, 5, 4, seed=2)
    close(ta.grad((place * weights).sum(), value).numpy(), weights[1, :, 2].sum(0), 1e-12)
    both = ta.index_update(ta.tensor(x), (0, p, p, slice(None)), value)
    expected = x.copy()
    expected[0, 2, 2] = value.numpy()
    assert np.array_equal(both.numpy(), expected)


# Errors.

M = "[MultiheadAttention] "
X, K = np.zeros((3, 2, 6)), np.zeros((5, 2, 4))


@pytest.mark.parametrize(
    "action, kind, text",
    [
        (lambda m: nn.MultiheadAttention(6, 4), errors.ShapeError,
         M + "embed_dim must be divisible by num_heads = 4, but got embed_dim = 6."),
        (lambda m: nn.MultiheadAttention(6, 0), errors.ShapeError,
         M + "num_heads must be a positive integer, but got 0."),
        (lambda m: nn.MultiheadAttention(6, 2, dropout=1.0), errors.ShapeError,
         M + "the probability of dropping must lie in [0, 1), but got 1.0."),
        (lambda m: m(X, X, X), errors.ShapeError,
         M + "key must have the shape (S, N, 4), here (3, 2, 4), but got (3, 2, 6)."),
        (lambda m: m(X, K, X), errors.ShapeError,
         M + "value must have the shape (S, N, 6), here (5, 2, 6), but got (3, 2, 6)."),
        (lambda m: m(X, K[:, :1], X), errors.ShapeError,
         M + "key must have the shape (S, N, 4), here (5, 2, 4), but got (5, 1, 4)."),
        (lambda m: m(X[0, 0], K, X), errors.ShapeError,
         M + "query, key and value must have three axes, or two without a batch, but got (6,)."),
        (lambda m: m(X), errors.ShapeError, M + "key must be given where there is no cache, but got None."),
        (lambda m: m(X, K[:3], X, attn_mask=np.zeros((3, 2), bool)), errors.ShapeError,
         M + "attn_mask must have the shape (3, 3) or (4, 3, 3), but got (3, 2)."),
        (lambda m: m(X, K[:3], X, np.zeros((3, 2), bool)), errors.ShapeError,
         M + "key_padding_mask must have the shape (2, 3), but got (3, 2)."),
        (lambda m: m(X, K[:3], X, attn_mask=np.zeros((3, 3), int)), errors.DTypeError,
         M + "attn_mask must be bool (True = blocked) or floating-point (added to the scores), but got i64[3, 3]."),
        (lambda m: m(X, K[:3], X, cache=m.empty_cache(2, 4), position=2), errors.ShapeError,
         "[KVCache] 3 positions from 2 on must lie in 0..3, but the last would be 4."),
        (lambda m: m(X, K[:3], X, cache=m.empty_cache(2, 4), position=ta.tensor(np.array(0))), errors.ShapeError,
         "[KVCache] a position known only at run time must take one new position at a time, but got 3."),
        (lambda m: m(X, K[:3], X, cache=m.empty_cache(2, 4), position=0.5), errors.ShapeError,
         "[KVCache] a position must be an integer or a 0-d integer Tensor, but got f32[]."),
        (lambda m: m(X, attn_mask=np.zeros((3, 4), bool), cache=m.empty_cache(2, 4), position=0), errors.TinyattnError,
         M + "attn_mask must be left out with a cache, which knows what each query may see, but got a mask."),
        (lambda m: nn.MultiheadAttention(6, 2, add_bias_kv=True)(X, cache=m.empty_cache(2, 4), position=0),
         errors.TinyattnError,
         M + "decoding with a cache must do without add_bias_kv and add_zero_attn, but got a module with them."),
    ],
)  # fmt: skip
def test_errors_say_what_must_hold(action, kind, text):
    with pytest.raises(kind) as error:
        action(nn.MultiheadAttention(6, 2, kdim=4))
    assert str(error.value).splitlines()[0] == text and len(str(error.value).splitlines()) <= 3


def test_the_printed_tree_shows_the_options():
    assert repr(attention(kdim=5, add_bias_kv=True, bias=False)).splitlines()[1] == (
        "  6, num_heads=2, kdim=5, batch_first=True, add_bias_kv=True, bias=False"
    )
