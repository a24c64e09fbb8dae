"""Modules: recurrent layers against torch, state dicts, modes, names, initial values, the text of errors."""

import make_fixtures
import numpy as np
import pytest

import tinyattn as ta
from tinyattn import errors, nn
from tinyattn.graph.traverse import depends_on
from tinyattn.nn import init


def close(found, expected, tolerance=1e-9):
    """Compare to a tolerance relative to the largest expected number."""
    found, expected = np.asarray(found), np.asarray(expected)
    assert found.shape == expected.shape and found.dtype == expected.dtype
    assert np.abs(found - expected).max(initial=0) <= tolerance * max(1, np.abs(expected).max(initial=0))


def first_line(error) -> str:
    return str(error.value).splitlines()[0]


# LSTM and GRU against torch


def check_recurrent(reference, kind, num_layers, bidirectional, packed, batch_first):
    layer = getattr(nn, kind)(
        make_fixtures.INPUTS, make_fixtures.HIDDEN, num_layers,
        bidirectional=bidirectional, batch_first=batch_first, dtype=np.float64,
    )  # fmt: skip
    weights = {k.partition(".")[2]: v for k, v in reference.items() if k.startswith("weight.")}
    layer.load_state_dict(weights)
    assert list(layer.state_dict()) == list(weights)
    states = layer.states
    initial = [reference[f"initial{k}"] for k in range(states)]
    cotangents = [reference[f"cotangent{k}"] for k in range(states + 1)]

    @ta.function
    def run(x, initial, cotangents, lengths):
        output, final = layer(x, tuple(initial) if states == 2 else initial[0], lengths)
        results = [output, *(final if states == 2 else [final])]
        terms = [(result * cotangent).sum() for result, cotangent in zip(results, cotangents, strict=True)]
        loss = sum(terms[1:], terms[0])
        return results, ta.grad(loss, [x, *initial, *layer.parameters()])

    lengths = np.array(make_fixtures.LENGTHS) if packed else None
    results, gradients = run(reference["x"], initial, cotangents, lengths)
    for k, result in enumerate(results):
        close(result, reference[f"result{k}"])
    names = [
        "gradient_x",
        *(f"gradient_initial{k}" for k in range(states)),
        *(f"gradient.{n}" for n in weights),
    ]
    for name, gradient in zip(names, gradients, strict=True):
        close(gradient, reference[name])


@pytest.mark.parametrize("case", make_fixtures.RECURRENT, ids=lambda case: "-".join(map(str, case.values())))
def test_recurrent_layers_are_those_of_torch(case):
    pytest.importorskip("torch")
    check_recurrent(make_fixtures.recurrent(**case), **case)


@pytest.mark.parametrize("case", make_fixtures.RECORDED, ids=lambda case: case["kind"])
def test_recurrent_layers_are_those_recorded(case):
    check_recurrent(make_fixtures.recorded("recurrent.npz", case["kind"]), **case)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
def test_cells_and_missing_biases_are_those_of_torch(kind, bias):
    torch = pytest.importorskip("torch")
    x = np.random.default_rng(0).standard_normal((2, 3))
    for ours, theirs in (
        (
            getattr(nn, kind)(3, 4, bias=bias, dtype=np.float64),
            getattr(torch.nn, kind)(3, 4, bias=bias).double(),
        ),
        (
            getattr(nn, kind + "Cell")(3, 4, bias, np.float64),
            getattr(torch.nn, kind + "Cell")(3, 4, bias).double(),
        ),
    ):
        ours.load_state_dict(theirs.state_dict())
        if isinstance(ours, nn.LSTM | nn.GRU):
            found, expected = ours(x[None])[0].numpy()[0], theirs(torch.from_numpy(x[None]))[0][0]
        else:
            found, expected = ours(x), theirs(torch.from_numpy(x))
            found, expected = (found[1].numpy(), expected[1]) if kind == "LSTM" else (found.numpy(), expected)
        close(found, expected.detach().numpy())


def test_cells_take_a_state():
    cell, x = nn.LSTMCell(3, 4, dtype=np.float64), np.ones((2, 3))
    h, c = cell(x, cell(x))
    layer = nn.LSTM(3, 4, dtype=np.float64)
    layer.load_state_dict({f"{name}_l0": array for name, array in cell.state_dict().items()})
    _, (last_h, last_c) = layer(np.stack([x, x]))
    close(h.numpy(), last_h.numpy()[0])
    close(c.numpy(), last_c.numpy()[0])


def gru_by_hand(x, h, w_ih, w_hh, b_ih, b_hh):
    """Bahdanau et al. 2015, appendix A.1.1, one sequence: x (T, I) → all states (T, H).

    Keras' GRU(reset_after=False) is the same with the opposite sense of z: there h' = z ⊙ h + (1 − z) ⊙ n,
    which is this with the rows of z negated, as 1 − σ(a) = σ(−a).
    """
    width, states = len(h), []

    def sigmoid(a):
        return 1 / (1 + np.exp(-a))

    for step in x:
        r, z = (
            sigmoid(w_ih[rows] @ step + w_hh[rows] @ h + b_ih[rows] + b_hh[rows])
            for rows in (slice(0, width), slice(width, 2 * width))
        )
        n = slice(2 * width, None)
        proposal = np.tanh(w_ih[n] @ step + w_hh[n] @ (r * h) + b_ih[n] + b_hh[n])
        h = (1 - z) * h + z * proposal
        states.append(h)
    return np.array(states)


@pytest.mark.parametrize("packed", [False, True])
def test_gru_with_the_reset_before_the_product(packed):
    ta.manual_seed(3)
    layer = nn.GRU(3, 4, bidirectional=True, batch_first=True, reset_after=False, dtype=np.float64)
    weights = layer.state_dict()
    rng = np.random.default_rng(1)
    x, h0 = rng.standard_normal((2, 5, 3)), rng.standard_normal((2, 2, 4))
    lengths = [2, 5] if packed else None
    output, final = layer(x, h0, lengths)
    names = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
    for row in range(2):
        end = lengths[row] if packed else 5
        forward = gru_by_hand(x[row, :end], h0[0, row], *(weights[n] for n in names))
        backward = gru_by_hand(x[row, :end][::-1], h0[1, row], *(weights[n + "_reverse"] for n in names))
        expected = np.zeros((5, 8))
        expected[:end] = np.concatenate([forward, backward[::-1]], axis=1)
        close(output.numpy()[row], expected)
        close(final.numpy()[:, row], np.stack([forward[-1], backward[-1]]))
    ta.gradcheck(lambda x, h0: layer(x, h0, lengths), [x, h0], order=1)
    cell = nn.GRUCell(3, 4, dtype=np.float64, reset_after=False)
    cell.load_state_dict({name[:-3]: weights[name] for name in names})
    close(cell(x[:, 0], h0[0]).numpy(), output.numpy()[:, 0, :4])


def test_padding_does_not_reach_the_results():
    layer = nn.LSTM(3, 4, 2, bidirectional=True)
    x = np.random.default_rng(0).standard_normal((5, 2, 3)).astype(np.float32)
    dirty = x.copy()
    dirty[2:, 0] = np.nan
    lengths = np.array([2, 5])
    clean, found = layer(x, None, lengths), layer(dirty, None, lengths)
    assert np.array_equal(clean[0].numpy(), found[0].numpy())
    assert np.array_equal(clean[1][0].numpy(), found[1][0].numpy())
    assert not found[0].numpy()[2:, 0].any()
    empty = layer(x, None, [0, 5])
    assert not empty[0].numpy()[:, 0].any() and not empty[1][1].numpy()[:, 0].any()


def test_lengths_may_be_traced():
    layer = nn.GRU(3, 4, dtype=np.float64)
    x = np.random.default_rng(0).standard_normal((5, 2, 3))
    run = ta.function(lambda x, lengths: layer(x, None, lengths)[0])
    for lengths in ([1, 5], [4, 2]):
        for integer in (np.int32, np.int64):
            close(run(x, np.array(lengths, integer)), layer(x, None, lengths)[0].numpy())


def test_dropout_between_layers_only_while_training():
    ta.manual_seed(0)
    layer = nn.GRU(3, 4, 2, dropout=0.5)
    plain = nn.GRU(3, 4, 2)
    plain.load_state_dict(layer.state_dict())
    x = np.ones((3, 2, 3), np.float32)
    run = ta.function(lambda x: layer(x)[0])
    expected = plain(x)[0].numpy()
    first, second = run(x), run(x)
    assert not np.array_equal(first, second)
    assert not np.allclose(first, expected)
    layer.eval()
    np.testing.assert_allclose(run(x), expected, atol=1e-6)
    layer.train()
    assert not np.allclose(run(x), expected)
    single, plain = nn.LSTM(3, 4, dropout=0.5), nn.LSTM(3, 4)
    plain.load_state_dict(single.state_dict())
    assert np.array_equal(single(x)[0].numpy(), plain(x)[0].numpy())  # there is nothing between layers


def test_recurrent_layers_refuse_what_does_not_fit():
    layer, x = nn.LSTM(3, 4, batch_first=True), np.zeros((2, 5, 3), np.float32)
    with pytest.raises(errors.ShapeError) as error:
        layer(x[..., :2])
    assert first_line(error) == "[LSTM] x must have the shape (B, T, 3), but got (2, 5, 2)."
    with pytest.raises(errors.DTypeError) as error:
        layer(x.astype(np.float64))
    assert first_line(error) == "[LSTM] x must be f32 as the weights, but got f64[2, 5, 3]."
    with pytest.raises(errors.ShapeError) as error:
        layer(x, np.zeros((1, 2, 4), np.float32))
    assert first_line(error) == (
        "[LSTM] the state (h, c) must be two tensors of shape (1, 2, 4) (num_layers · directions, B, H), "
        "but got (1, 2, 4)."
    )
    with pytest.raises(errors.ShapeError) as error:
        layer(x, None, [5, 6])
    assert first_line(error) == "[LSTM] lengths (of the steps of x) must lie in 0..5, but got 6."
    with pytest.raises(errors.ShapeError) as error:
        layer(x, None, np.array([1.0, 2.0]))
    assert first_line(error) == ("[LSTM] lengths must be 2 integers, one for each sequence, but got f64[2].")
    with pytest.raises(
        errors.ShapeError, match=r"\[GRU\] hidden_size must be a positive integer, but got 0\."
    ):
        nn.GRU(3, 0)
    with pytest.raises(
        errors.ShapeError, match=r"\[GRU\] the probability of dropping must lie in \[0, 1\), but got 1"
    ):
        nn.GRU(3, 4, dropout=1)


# The other layers


def test_linear_is_that_of_torch():
    torch = pytest.importorskip("torch")
    theirs, ours = torch.nn.Linear(3, 4), nn.Linear(3, 4)
    ours.load_state_dict(theirs.state_dict())
    for shape in ((3,), (2, 3), (2, 5, 3)):
        x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
        np.testing.assert_allclose(ours(x).numpy(), theirs(torch.from_numpy(x)).detach().numpy(), atol=1e-6)
    with pytest.raises(errors.ShapeError) as error:
        ours(np.zeros((2, 4), np.float32))
    assert first_line(error) == (
        "[Linear] the last axis of x must have in_features = 3 elements, but got shape (2, 4)."
    )
    assert repr(nn.Linear(2, 3, bias=False)) == "Linear(in_features=2, out_features=3, bias=False)"
    assert list(nn.Linear(2, 3, bias=False).state_dict()) == ["weight"]


@pytest.mark.parametrize("padding", [None, 1, -1])
def test_embedding(padding):
    layer = nn.Embedding(5, 3, padding_idx=padding)
    table = layer.weight.numpy()
    row = None if padding is None else padding % 5
    assert padding is None or not table[row].any()
    layer.weight.assign(table + 1)  # as a loaded table may be: a padding row that is not 0
    indices = np.array([[1, 4], [1, 0]])
    assert np.array_equal(layer(indices).numpy(), (table + 1)[indices])
    gradient = ta.grad((layer(indices) * 2.0).sum(), layer.weight).numpy()
    expected = np.array([2, 4, 0, 0, 2.0])
    if padding is not None:
        expected[row] = 0
    assert np.array_equal(gradient, np.repeat(expected[:, None], 3, axis=1))
    with pytest.raises(errors.ShapeError, match=r"\[Embedding\] padding_idx must lie in 0\.\.4, but got 5\."):
        nn.Embedding(5, 3, padding_idx=5)


def test_dropout_has_two_modes_in_one_compiled_function():
    ta.manual_seed(0)
    layer = nn.Dropout(0.25)
    run = ta.function(layer)
    x = np.ones((100, 100), np.float32)
    dropped = run(x)
    assert set(np.unique(dropped)) == {np.float32(0), np.float32(1 / 0.75)}
    assert abs((dropped == 0).mean() - 0.25) < 0.02
    layer.eval()
    assert np.array_equal(run(x), x)
    layer.train()
    assert not np.array_equal(run(x), dropped)
    with pytest.raises(errors.ShapeError):
        nn.Dropout(1.0)


def test_sequential_takes_modules_and_functions():
    model = nn.Sequential(nn.Linear(2, 3), ta.tanh, nn.Linear(3, 1))
    assert list(model.state_dict()) == ["0.weight", "0.bias", "2.weight", "2.bias"]
    assert len(model) == 3 and model[1] is ta.tanh
    x = np.ones((4, 2), np.float32)
    assert np.array_equal(model(x).numpy(), model[2](ta.tanh(model[0](x))).numpy())
    assert repr(model) == (
        "Sequential(\n"
        "  (0): Linear(in_features=2, out_features=3, bias=True)\n"
        "  (1): tanh\n"
        "  (2): Linear(in_features=3, out_features=1, bias=True)\n"
        ")"
    )
    with pytest.raises(
        errors.TinyattnError, match=r"\[Sequential\] each step must be a module or a function, but got int"
    ):
        nn.Sequential(nn.Linear(2, 3), 4)


# Modules


class Model(nn.Module):
    def __init__(self):
        self.decoder = nn.ModuleList([nn.Linear(2, 2), nn.Linear(2, 2, bias=False)])
        self.scale = ta.parameter(np.ones(2, np.float32))
        self.count = ta.tensor(np.zeros((), np.int64))
        self._scratch = ta.tensor(np.zeros(3, np.float32))
        self.encoder = nn.GRU(2, 2)

    def forward(self, x):
        x = self.encode(x) * self.scale
        for layer in self.decoder:
            x = layer(x)
        return x

    def encode(self, x):
        return self.encoder(x)[0]


KEYS = [
    "scale", "count", "decoder.0.weight", "decoder.0.bias", "decoder.1.weight",
    *(f"encoder.{name}_l0" for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")),
]  # fmt: skip


def test_names_follow_the_attributes():
    model = Model()
    assert list(model.state_dict()) == KEYS
    assert [name for name, _ in model.named_parameters()] == [key for key in KEYS if key != "count"]
    assert [leaf.name for leaf in model.parameters()] == [key for key in KEYS if key != "count"]
    assert model.num_parameters() == sum(leaf.size for leaf in model.parameters()) == 2 + 6 + 4 + 36
    assert [name for name, _ in model.named_modules()] == ["", "decoder", "decoder.0", "decoder.1", "encoder"]
    outer = nn.Sequential(model)
    assert [leaf.name for leaf in outer.parameters()] == ["0." + key for key in KEYS if key != "count"]
    outer.again = model  # the first name stays
    assert [leaf.name for leaf in outer.parameters()] == ["0." + key for key in KEYS if key != "count"]
    assert "again.scale" in outer.state_dict() and len(outer.modules()) == 6


def scopes_between(y, x):
    """The module paths of the nodes from x to y (those of constants alone may belong to other graphs too)."""
    return {node.scope for node in depends_on([y], [x]) if node is not x}


def test_nodes_carry_the_module_path():
    model, x = Model(), ta.tensor(np.ones((3, 1, 2), np.float32))
    assert scopes_between(model(x), x) == {
        (), ("encoder", "l0"), ("decoder", "0"), ("decoder", "1"),
    }  # fmt: skip
    x = ta.tensor(np.ones((3, 1, 2), np.float32))
    with ta.scope("translate"):  # a part called on its own has the same path, below the user's scope
        y = model.encode(x)
    assert scopes_between(y, x) == {("translate", "encoder", "l0")}


def test_a_tied_parameter_is_one_parameter_with_two_names():
    model = nn.Sequential(nn.Embedding(3, 2), nn.Linear(2, 3, bias=False))
    model[1].weight = model[0].weight
    assert len(model.parameters()) == 1 and model[0].weight.name == "0.weight"
    state = model.state_dict()
    assert list(state) == ["0.weight", "1.weight"]
    del state["1.weight"]
    state["0.weight"] += 1
    model.load_state_dict(state)
    assert np.array_equal(model[1].weight.numpy(), state["0.weight"])
    assert model.to(np.float64)[0].weight is model[1].weight


def test_state_dicts_are_copies_and_convert():
    model, other = Model(), Model()
    state = model.state_dict()
    state["scale"][:] = 5
    assert np.array_equal(model.scale.numpy(), [1, 1])
    state["count"] = np.array(7, np.int32)
    version = other.scale.storage.version
    other.load_state_dict(
        {name: array.astype(np.float64) if array.ndim else array for name, array in state.items()}
    )
    assert other.scale.storage.version > version and other.scale.dtype == np.float32
    assert np.array_equal(other.scale.numpy(), [5, 5]) and int(other.count) == 7


def test_state_dicts_that_do_not_fit_change_nothing():
    model = Model()
    before, state = model.state_dict(), model.state_dict()
    state["scale"] = np.zeros(3, np.float32)
    state["count"] = np.zeros((), np.float32)
    state["decoder.2.weight"] = np.zeros((2, 2))
    for name in KEYS[2:6]:
        del state[name]
    state["encoder.bias_ih_l0"] = state["encoder.bias_ih_l0"] + 1
    with pytest.raises(errors.CheckpointError) as error:
        model.load_state_dict(state)
    lines = str(error.value).splitlines()
    assert lines[0] == (
        "[load_state_dict] names and shapes must be those of this Model, but "
        "2 have another type: scale (3,) instead of (2,), count () instead of () int64; "
        "4 are missing: decoder.0.weight (2, 2), decoder.0.bias (2,), decoder.1.weight (2, 2) and 1 more; "
        "1 is unexpected: decoder.2.weight (2, 2)."
    )
    assert lines[2:] == ["  Nothing was loaded."]
    after = model.state_dict()
    assert all(np.array_equal(before[name], after[name]) for name in before)
    del state["scale"], state["count"]
    with pytest.raises(
        errors.CheckpointError, match="With strict=False keys that are missing or unexpected are passed"
    ):
        model.load_state_dict(state)
    loaded = model.load_state_dict(state, strict=False)
    assert loaded.missing_keys == KEYS[:6] and loaded.unexpected_keys == ["decoder.2.weight"]
    assert np.array_equal(model.encoder.bias_ih_l0.numpy(), before["encoder.bias_ih_l0"] + 1)
    with pytest.raises(errors.CheckpointError, match="1 has another type: scale"):
        model.load_state_dict({"scale": [[1.0], [2.0, 3.0]]}, strict=False)


def test_modes_reach_all_modules():
    model = nn.Sequential(nn.Dropout(), nn.Sequential(nn.Dropout()))
    assert all(module.training for module in model.modules())
    assert model.eval() is model and not any(module.training for module in model.modules())
    assert model.train() is model and all(module.training for module in model.modules())


def test_modules_refuse_what_they_would_overlook():
    module = nn.Module()
    with pytest.raises(errors.TinyattnError) as error:
        module.layers = [nn.Linear(2, 2)]
    text = str(error.value).splitlines()
    assert (
        text[0]
        == "[Module] the attribute 'layers' must show its modules and parameters, but got a list of them."
    )
    assert text[2] == "  Use nn.ModuleList([...]), or one attribute for each."
    with pytest.raises(errors.TinyattnError, match="must define forward to be called, but Module does not"):
        module()
    with pytest.raises(
        errors.TinyattnError, match=r"\[ModuleList\] the items must be modules, but got float"
    ):
        nn.ModuleList([1.0])
    with pytest.raises(
        errors.DTypeError, match=r"\[to\] parameters must be float32 or float64, but got int32"
    ):
        module.to(np.int32)


def test_to_changes_the_element_type():
    model = Model().to(np.float64)
    assert {leaf.dtype for leaf in model.parameters()} == {np.dtype(np.float64)}
    assert model.count.dtype == np.int64
    assert [leaf.name for leaf in model.parameters()] == [key for key in KEYS if key != "count"]
    assert model(np.ones((3, 1, 2))).dtype == np.float64


# Initial values


def test_initial_values_depend_on_the_seed_and_the_order_only():
    ta.manual_seed(5)
    first, second = init.uniform(1000), init.uniform(1000)
    ta.manual_seed(5)
    assert np.array_equal(first, init.uniform((1000,))) and np.array_equal(second, init.uniform(1000))
    assert np.abs(np.corrcoef(first, second)[0, 1]) < 0.1
    ta.manual_seed(6)
    assert not np.array_equal(first, init.uniform(1000))
    ta.manual_seed(0)
    single = nn.GRU(3, 4)
    ta.manual_seed(0)
    double = nn.GRU(3, 4, dtype=np.float64)
    for name, array in double.state_dict().items():
        assert np.array_equal(single.state_dict()[name], array.astype(np.float32))


def test_initial_values_never_change():
    ta.manual_seed(42)
    assert init.uniform(3).tolist() == [0.8201981478608876, 0.18924562408645496, 0.8676608148821462]


@pytest.mark.parametrize(
    "values, std, bound",
    [
        (lambda: init.uniform((200, 300), -2, 2), 2 / np.sqrt(3), 2),
        (lambda: init.normal((200, 300), std=0.5), 0.5, None),
        (lambda: init.xavier_uniform((200, 300)), np.sqrt(2 / 500), np.sqrt(6 / 500)),
        (lambda: init.xavier_normal((200, 300), gain=2), 2 * np.sqrt(2 / 500), None),
        (lambda: init.kaiming_uniform((200, 300)), np.sqrt(2 / 300), np.sqrt(6 / 300)),
        (lambda: init.kaiming_normal((200, 300), gain=1, mode="fan_out"), np.sqrt(1 / 200), None),
        (lambda: init.kaiming_normal((100, 20, 5, 6)), np.sqrt(2 / 600), None),
        (lambda: nn.Linear(300, 200).weight.numpy(), 1 / np.sqrt(900), 1 / np.sqrt(300)),
        (lambda: nn.LSTM(30, 100).weight_hh_l0.numpy(), 0.1 / np.sqrt(3), 0.1),
    ],
)
def test_initial_values_have_their_distributions(values, std, bound):
    ta.manual_seed(1)
    found = values()
    assert abs(found.std() / std - 1) < 0.02
    assert abs(found.mean()) < 0.03 * std
    # Moments of order 4: 9/5 for uniform, 3 for normal numbers.
    kurtosis = ((found / found.std()) ** 4).mean()
    assert abs(kurtosis - (3 if bound is None else 1.8)) < 0.1
    if bound is not None:
        assert bound * 0.99 < np.abs(found).max() <= bound


def test_orthogonal_and_zeros():
    for shape in ((4, 4), (6, 3), (3, 6)):
        q = init.orthogonal(shape, gain=2.0)
        product = q.T @ q if shape[0] >= shape[1] else q @ q.T
        np.testing.assert_allclose(product, 4 * np.eye(min(shape)), atol=1e-12)
    assert init.orthogonal((2, 3, 4)).shape == (2, 3, 4)
    assert np.array_equal(init.zeros((2, 3)), np.zeros((2, 3)))
    with pytest.raises(
        errors.ShapeError, match=r"\[init\] a weight must have the axes \(out, in, …\), but got shape \(3,\)"
    ):
        init.xavier_uniform(3)
    with pytest.raises(
        errors.TinyattnError, match=r"\[init\] mode must be 'fan_in' or 'fan_out', but got 'fan'"
    ):
        init.kaiming_normal((2, 3), mode="fan")


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (
            lambda: ta.nn.Dropout("a"),
            "[Dropout] the probability of dropping must lie in [0, 1), but got 'a'.",
        ),
        (
            lambda: ta.nn.LayerNorm(None),
            "[LayerNorm] normalized_shape must be a positive integer, but got None.",
        ),
        (
            lambda: ta.nn.RMSNorm([4, "b"]),
            "[RMSNorm] normalized_shape must be a positive integer, but got 'b'.",
        ),
    ],
)
def test_what_is_no_number_is_refused(make, text):
    with pytest.raises(errors.ShapeError) as error:
        make()
    assert str(error.value).splitlines()[0] == text
