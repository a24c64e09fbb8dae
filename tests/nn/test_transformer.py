"""Transformers and their parts: parity with torch, options, step-by-step decoding, the text of errors."""

import make_attention_fixtures as fixtures
import make_fixtures
import numpy as np
import pytest
from modules import check, close, numbers

import tinyattn as ta
from tinyattn import errors, nn


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", fixtures.transformer_cases())
def test_transformers_are_those_of_torch(name):
    pytest.importorskip("torch")
    check(fixtures.measured(fixtures.CASES[name]), fixtures.CASES[name])


@pytest.mark.parametrize("name", [name for name in fixtures.RECORDED if name in fixtures.transformer_cases()])
def test_transformers_are_those_recorded(name):
    check(make_fixtures.recorded("attention.npz", name), fixtures.CASES[name])


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ["TransformerEncoderLayer", "TransformerDecoderLayer", "Transformer"])
def test_weights_go_to_torch_and_back(kind):
    torch = pytest.importorskip("torch")
    case = {"kind": kind, "options": fixtures.LAYER}
    ours, theirs = fixtures.module(nn, case, np.float64), fixtures.module(torch.nn, case, torch.float64)
    state = {k: torch.from_numpy(v) for k, v in ours.state_dict().items()}
    assert list(state) == list(theirs.state_dict())
    theirs.load_state_dict(state)
    assert all(np.array_equal(theirs.state_dict()[k].numpy(), v) for k, v in ours.state_dict().items())


def test_defaults_are_those_of_torch():
    layer = nn.TransformerEncoderLayer(8, 2)
    assert layer.linear1.weight.shape == (2048, 8) and layer.dropout.p == layer.self_attn.dropout == 0.1
    assert layer.norm1.eps == 1e-5 and layer.activation is ta.relu
    assert not layer.norm_first and not layer.self_attn.batch_first
    import inspect

    options = inspect.signature(nn.Transformer).parameters
    wanted = {
        "d_model": 512,
        "nhead": 8,
        "num_encoder_layers": 6,
        "num_decoder_layers": 6,
        "dim_feedforward": 2048,
    }
    assert {name: options[name].default for name in wanted} == wanted


def small(kind, **options):
    ta.manual_seed(3)
    case = {"kind": kind, "options": fixtures.LAYER | {"batch_first": True} | options}
    return fixtures.module(nn, case, np.float64)


def test_the_activation_may_be_a_function():
    torch = pytest.importorskip("torch")
    ours = small("TransformerEncoderLayer", activation=ta.tanh)
    options = fixtures.LAYER | {"batch_first": True, "activation": torch.tanh, "dtype": torch.float64}
    theirs = torch.nn.TransformerEncoderLayer(**options)
    theirs.load_state_dict({k: torch.from_numpy(v) for k, v in ours.state_dict().items()})
    x = numbers(2, 4, 6)
    close(ours(x).numpy(), theirs(torch.from_numpy(x)).detach().numpy())


def test_layers_of_a_stack_are_copies():
    layer = small("TransformerEncoderLayer")
    stack = nn.TransformerEncoder(layer, 2)
    first, second = (part.state_dict() for part in stack.layers)
    assert all(np.array_equal(first[k], second[k]) for k in first)
    assert len(stack.parameters()) == 2 * len(layer.parameters())
    assert {w.name.partition(".")[0] for w in stack.parameters()} == {"layers"}
    assert layer.linear1.weight.name == "linear1.weight"
    stack.layers[0].linear1.weight.assign(np.zeros((5, 6)))
    assert stack.layers[1].linear1.weight.numpy().any() and layer.linear1.weight.numpy().any()


def test_copies_keep_what_is_tied_and_what_is_not_trained():
    model = nn.Sequential(nn.Embedding(3, 2), nn.Linear(2, 3, bias=False))
    model[1].weight = model[0].weight
    model.count = ta.tensor(np.array(4))
    twin = model.eval().copy()
    assert twin[1].weight is twin[0].weight is not model[0].weight
    assert list(twin.state_dict()) == list(model.state_dict()) and not twin.training
    assert int(twin.count) == 4 and twin.count is not model.count


def test_the_decoder_sees_no_later_position():
    model = small("Transformer")
    src, tgt = numbers(1, 4, 6), numbers(1, 5, 6, seed=1)
    mask = nn.Transformer.generate_square_subsequent_mask(5)
    before = model(src, tgt, tgt_mask=mask).numpy()
    tgt[:, 3] += 1
    after = model(src, tgt, tgt_is_causal=True).numpy()
    assert np.array_equal(before[:, :3], after[:, :3]) and not np.array_equal(before[:, 3:], after[:, 3:])


def test_padding_has_no_influence():
    model = small("Transformer")
    src, tgt = numbers(2, 4, 6), numbers(2, 3, 6, seed=1)
    expected = model(src, tgt).numpy()
    longer = np.concatenate([src, numbers(2, 2, 6, seed=2)], axis=1)
    padding = np.zeros((2, 6), bool)
    padding[:, 4:] = True
    found = model(longer, tgt, src_key_padding_mask=padding, memory_key_padding_mask=padding).numpy()
    close(found, expected, 1e-12)


def test_two_axes_are_one_sequence():
    for flat in (False, True):
        model = small("Transformer", batch_first=flat)
        src, tgt = numbers(4, 6), numbers(3, 6, seed=1)
        axis = 0 if flat else 1
        expected = model(np.expand_dims(src, axis), np.expand_dims(tgt, axis)).numpy()
        close(model(src, tgt).numpy(), expected.squeeze(axis), 1e-12)


def test_dropout_is_for_training_only():
    model = small("TransformerEncoderLayer", dropout=0.5)
    x = numbers(2, 4, 6)
    assert not np.array_equal(model(x).numpy(), model(x).numpy())
    model.eval()
    assert np.array_equal(model(x).numpy(), model(x).numpy())


# Decoding with caches.


@pytest.mark.parametrize("options", [{}, {"norm_first": True, "batch_first": False, "bias": False}], ids=str)
def test_decoding_step_by_step_is_decoding_at_once(options):
    model = small("TransformerDecoder", **options)
    flat = options.get("batch_first", True)
    axis = 1 if flat else 0
    tgt, memory = numbers(2, 6, 6), numbers(2, 4, 6, seed=1)
    tgt, memory = (x if flat else x.transpose(1, 0, 2) for x in (tgt, memory))
    padding = np.array([[0, 0, 0, 0], [0, 0, 1, 1]], bool)
    front = np.array([[0, 0, 0, 0, 0, 0], [1, 0, 0, 0, 0, 0]], bool)
    masks = {"tgt_key_padding_mask": front, "memory_key_padding_mask": padding}
    expected = model(tgt, memory, tgt_is_causal=True, **masks).numpy()
    begin = ta.function(lambda memory: model.cache(memory, 6))
    step = ta.function(lambda x, cache, masks, t: model(x, **masks, cache=cache, position=t))
    cache = begin(memory)
    for t in range(6):
        y, cache = step(tgt.take([t], axis), cache, masks, np.array(t))
        close(y, expected.take([t], axis), 1e-12)
    assert len(step._compiled) == 1


def test_a_whole_decoding_can_be_one_loop():
    """The cache is a tree of Tensors: `scan` carries it, and greedy decoding is one program."""
    model = small("TransformerDecoder")
    memory, table = numbers(2, 4, 6), numbers(7, 6, seed=1)

    @ta.function
    def decode(memory, table):
        def step(carry, position):
            token, cache = carry
            y, cache = model(ta.expand_dims(ta.embedding(table, token), 1), cache=cache, position=position)
            token = ta.argmax(y[:, 0] @ table.T, 1)
            return (token, cache), token

        start = (ta.zeros((2,), np.int64), model.cache(memory, 5))
        return ta.scan(step, start, ta.arange(5))[1]

    found = decode(memory, table)
    tokens = np.zeros((2, 1), np.int64)
    for _ in range(5):
        y = model(table[tokens], memory, tgt_is_causal=True).numpy()[:, -1]
        tokens = np.concatenate([tokens, (y @ table.T).argmax(1)[:, None]], axis=1)
    assert np.array_equal(found.T, tokens[:, 1:])


# Norms.


@pytest.mark.parametrize(
    "kind, shape, options",
    [
        *(
            ("LayerNorm", shape, options)
            for shape in (5, (3, 5))
            for options in ({}, {"bias": False}, {"elementwise_affine": False}, {"eps": 1e-2})
        ),
        *(("RMSNorm", 5, options) for options in ({}, {"elementwise_affine": False}, {"eps": 1e-2})),
    ],
    ids=str,
)
def test_a_norm_is_that_of_torch(kind, shape, options):
    torch = pytest.importorskip("torch")
    ours = getattr(nn, kind)(shape, **options, dtype=np.float64)
    theirs = getattr(torch.nn, kind)(shape, **options, dtype=torch.float64)
    with torch.no_grad():
        for weight in theirs.parameters():
            weight.copy_(torch.randn_like(weight))
    assert list(ours.state_dict()) == list(theirs.state_dict())
    ours.load_state_dict(theirs.state_dict())
    x = numbers(2, 3, 5)
    close(ours(x).numpy(), theirs(torch.from_numpy(x)).detach().numpy(), 1e-12)


def test_layer_norm_by_hand():
    layer, x = nn.LayerNorm(4, dtype=np.float64), numbers(3, 4)
    spread = np.sqrt(x.var(-1, keepdims=True) + 1e-5)
    close(layer(x).numpy(), (x - x.mean(-1, keepdims=True)) / spread, 1e-12)
    assert repr(layer) == "LayerNorm((4,), eps=1e-05)"


# Errors.


@pytest.mark.parametrize(
    "action, text",
    [
        (lambda: nn.TransformerEncoderLayer(8, 3),
         "[MultiheadAttention] embed_dim must be divisible by num_heads = 3, but got embed_dim = 8."),
        (lambda: nn.TransformerEncoderLayer(8, 2, activation="tanh"),
         "[TransformerEncoderLayer] activation must be 'relu', 'gelu' or a function of a Tensor, but got 'tanh'."),
        (lambda: nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 5), 0),
         "[TransformerEncoder] num_layers must be a positive integer, but got 0."),
        (lambda: nn.Transformer(6, 2, 1, 1, 5)(np.zeros((3, 2, 6)), np.zeros((3, 2, 5))),
         "[Transformer] the last axis of tgt must have d_model = 6 elements, but got shape (3, 2, 5)."),
        (lambda: nn.LayerNorm(3)(np.zeros((3, 2))),
         "[LayerNorm] the last axes of x must be (3,), but got shape (3, 2)."),
        (lambda: nn.LayerNorm(0), "[LayerNorm] normalized_shape must be a positive integer, but got 0."),
        (lambda: nn.RMSNorm((2, 3))(np.zeros((4, 3))),
         "[RMSNorm] the last axes of x must be (2, 3), but got shape (4, 3)."),
    ],
)  # fmt: skip
def test_errors_say_what_must_hold(action, text):
    with pytest.raises(errors.ShapeError if "activation" not in text else errors.TinyattnError) as error:
        action()
    assert str(error.value).splitlines()[0] == text
