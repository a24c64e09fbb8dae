"""Sentiment: the equations in PyTorch with the same weights, padding, and weights that are those of words."""

import numpy as np
import pytest
from lstmn_by_hand import torch_states

import tinyattn as ta
from tinyattn.errors import TinyattnError
from tinyattn.models.sentiment import VARIANTS, SentimentClassifier, SentimentClassifierConfig
from tinyattn.tasks.labels import NOTHING, LabelBatch

LENGTHS = np.array([7, 4, 1, 5], np.int32)


def model(variant: str) -> SentimentClassifier:
    """In float64, with initial values of its own."""
    found = SentimentClassifier(SentimentClassifierConfig(11, 3, variant, embedding=8, hidden=6, heads=2))
    rng = np.random.default_rng(0)
    for parameter in found.parameters():
        parameter.assign(rng.normal(size=parameter.shape, scale=0.4).astype(parameter.dtype))
    return found.to(np.float64).eval()


def batch(width=7, padding=0) -> LabelBatch:
    """Four texts, of which the last one has no label."""
    tokens = np.random.default_rng(1).integers(1, 11, (4, 7))
    tokens = np.where(np.arange(7) < LENGTHS[:, None], tokens, padding)[:, :width]
    label = np.array([2, 0, 1, NOTHING], np.int32)
    return LabelBatch(np.int32(tokens), LENGTHS, label, np.arange(4), label >= 0)


def theirs(ours: SentimentClassifier, words: np.ndarray, weights):
    """Logits (K,) and weights of one text, without padding; weights: the parameters as PyTorch's."""
    torch, c = pytest.importorskip("torch"), ours.config
    w = {name.replace("words.word.", "embedding."): value for name, value in weights.items()}

    def linear(name, x):
        y = x @ w[f"{name}.weight"].T
        return y + w[f"{name}.bias"] if f"{name}.bias" in w else y

    x = w["embedding.weight"][torch.tensor(words).long()]
    if c.variant == "self-attention":
        p, i = np.arange(len(words))[:, None], np.arange(8)
        angle = p / 10000 ** (i // 2 * 2 / 8)
        states = x + torch.tensor(np.where(i % 2, np.cos(angle), np.sin(angle)))
        for k in range(c.layers):
            name, f = f"blocks.{k}", torch.nn.functional
            q, key, v = (
                part.reshape(len(words), 2, 4).transpose(0, 1)
                for part in linear(f"{name}.attention.project", states).chunk(3, -1)
            )  # (h, T, d)
            found = f.scaled_dot_product_attention(q, key, v).transpose(0, 1).reshape(len(words), 8)
            norms = [(w[f"{name}.norm_{n}.weight"], w[f"{name}.norm_{n}.bias"]) for n in (1, 2)]
            z = f.layer_norm(states + linear(f"{name}.attention.output", found), (8,), *norms[0])
            states = f.layer_norm(
                z + linear(f"{name}.back", linear(f"{name}.hidden", z).relu()), (8,), *norms[1]
            )
    elif c.variant == "lstmn":
        own = {
            name.replace("lstmn.", "layers.0."): value
            for name, value in w.items()
            if name.startswith("lstmn.")
        }
        states = torch_states(torch, own, x[:, None], 1, 0)[:, 0]
    else:
        lstm = torch.nn.LSTM(8, 6, bidirectional=True, dtype=torch.float64)
        given = {name.removeprefix("lstm."): value for name, value in w.items() if name.startswith("lstm.")}
        states, (last, _) = torch.func.functional_call(lstm, given, (x,))
    if c.variant == "lstm":
        found, alpha = last.reshape(-1), None
    else:
        alpha = linear("pooling.question", linear("pooling.project", states).tanh())[:, 0].softmax(0)
        found = alpha @ states
    return linear("output", linear("hidden", found).relu()), alpha


@pytest.mark.parametrize("variant", VARIANTS)
def test_equations(variant):
    torch = pytest.importorskip("torch")
    ours, given = model(variant), batch()
    weights = {name: torch.tensor(value, requires_grad=True) for name, value in ours.state_dict().items()}
    found = [theirs(ours, given.tokens[row, :n], weights) for row, n in enumerate(LENGTHS)]
    logits = torch.stack([logit for logit, _ in found])
    expected = torch.nn.functional.cross_entropy(logits[:3], torch.tensor([2, 0, 1]))
    expected.backward()
    loss = ours.loss(given)
    assert abs(float(loss) - expected.item()) < 1e-10
    names, parameters = zip(*ours.named_parameters(), strict=True)
    for name, gradient in zip(names, ta.evaluate(ta.grad(loss, list(parameters))), strict=True):
        right = weights[name].grad.numpy()
        assert np.abs(gradient - right).max() < 1e-8 * max(1.0, np.abs(right).max()), name
    answers = ours.answer(given)
    assert answers.outputs == logits.argmax(1).tolist()
    assert abs(answers.nats - 3 * expected.item()) < 1e-9 and answers.predictions == 3
    for row, n in enumerate(LENGTHS if variant != "lstm" else []):
        alpha = answers.maps["attention"][row]
        np.testing.assert_allclose(alpha[0, :n], found[row][1].detach(), atol=1e-12)
        assert not alpha[0, n:].any()
    assert ("attention" in answers.maps) == (variant != "lstm")


@pytest.mark.parametrize("variant", VARIANTS)
def test_padding_says_nothing(variant):
    ours = model(variant)
    loss = float(ours.loss(batch()))
    assert abs(float(ours.loss(batch(padding=9))) - loss) < 1e-12
    wide = batch()
    wide = LabelBatch(**vars(wide) | {"tokens": np.pad(wide.tokens, ((0, 0), (0, 5)))})
    assert abs(float(ours.loss(wide)) - loss) < 1e-12


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_order_of_words_matters(variant):
    given = batch()
    turned = given.tokens.copy()
    turned[0] = turned[0, ::-1]
    other = LabelBatch(**vars(given) | {"tokens": turned})
    ours = model(variant)
    assert abs(ours.answer(given).scores[0] - ours.answer(other).scores[0]) > 1e-4


@pytest.mark.parametrize(
    "choices, expected",
    [
        (
            {"variant": "bag"},
            "variant must be one of lstm, lstm-attention, lstmn, self-attention, but got 'bag'",
        ),
        ({"hidden": 0}, "hidden must be a positive integer, but got 0"),
        ({"dropout": 1.0}, "dropout must lie in [0, 1), but got 1.0"),
    ],
)
def test_choices_that_make_no_sense(choices, expected):
    with pytest.raises(TinyattnError, match=r"^\[model\]") as error:
        SentimentClassifierConfig(11, 3, **choices)
    assert expected in str(error.value)
