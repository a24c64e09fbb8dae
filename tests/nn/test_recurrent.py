"""Recurrent layers against torch, packed and not, and the texts of errors."""

import make_fixtures
import numpy as np
import pytest
from engine import first_line
from modules import close

import tinyattn as ta
from tinyattn import errors, nn

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
