"""Fine-tuning of GPT: its equations in torch, rows of one and of two texts, padding, and that it learns."""

import make_attention_fixtures as fixtures
import numpy as np
import pytest

import tinyattn as ta
from tinyattn.errors import ShapeError
from tinyattn.models import GPT, GPTConfig
from tinyattn.models.gpt_heads import GPTClassifier

SIZES = {"vocab_size": 9, "block_size": 10, "n_layer": 2, "n_head": 2, "n_embd": 6}
START, DELIMITER, EXTRACT = 9, 10, 11
TEXTS = [[1, 2, 3], [4], [8, 8, 0, 5, 6]]
OTHERS = [[7], [2, 2], [1]]
LABEL = np.array([0, 2, 1])


def tuned(**changes) -> GPTClassifier:
    """In float64, with large random weights."""
    ta.manual_seed(0)
    model = GPTClassifier(GPT(GPTConfig(**SIZES | changes)).to(np.float64), 3)
    rng = np.random.default_rng(1)
    for weight in model.parameters():
        weight.assign(rng.standard_normal(weight.shape) * 0.5 + (weight.ndim == 1))
    return model


@pytest.mark.parametrize("norm_first", [False, True])
@pytest.mark.parametrize("auxiliary", [0.0, 0.5])
def test_the_equations(norm_first, auxiliary):
    torch = pytest.importorskip("torch")
    model = tuned(norm_first=norm_first)
    tokens, length = model.rows(TEXTS, OTHERS)
    weights = {k: torch.from_numpy(v).requires_grad_() for k, v in model.state_dict().items()}
    config = SIZES | {"norm_first": norm_first, "activation": "gelu_tanh"}
    own = {k.removeprefix("gpt."): w for k, w in weights.items()}
    hidden = fixtures.gpt_hidden(own, torch.from_numpy(tokens).long(), config)
    last = torch.stack([hidden[row, n - 1] for row, n in enumerate(length)])
    logits = last @ weights["classifier.weight"].T
    loss = torch.nn.functional.cross_entropy(logits, torch.from_numpy(LABEL))
    surprise = []
    for row, n in enumerate(length):
        log_p = (hidden[row] @ own["transformer.wte.weight"].T).log_softmax(-1)
        surprise += [-log_p[place, tokens[row, place + 1]] for place in range(n - 1)]
    loss = loss + auxiliary * torch.stack(surprise).mean()
    loss.backward()
    assert np.abs(model(tokens, length).numpy() - logits.detach().numpy()).max() < 1e-10
    found = model.loss(tokens, length, LABEL, auxiliary)
    assert abs(float(found) - float(loss.detach())) < 1e-10
    named = dict(model.named_parameters())
    for name, gradient in zip(named, ta.grad(found, [*named.values()]), strict=True):
        expected = weights[name].grad.numpy()
        assert np.abs(gradient.numpy() - expected).max() < 1e-8 * max(1, np.abs(expected).max()), name


def test_only_the_layer_and_three_tokens_are_new():
    ta.manual_seed(0)
    before = GPT(GPTConfig(**SIZES))
    model = GPTClassifier(before, 3)
    assert model.num_parameters() == before.num_parameters() + 3 * 6 + 3 * 6
    state, table = before.state_dict(), model.gpt.lm_head.weight.numpy()
    assert table.shape == (12, 6) and np.array_equal(table[:9], state["lm_head.weight"])
    x = np.array([[1, 2, 3]])
    assert np.array_equal(model.gpt(x).numpy()[..., :9], before(x).numpy())


def test_rows():
    model = tuned()
    tokens, length = model.rows(TEXTS)
    assert tokens.tolist() == [
        [START, 1, 2, 3, EXTRACT, 0, 0], [START, 4, EXTRACT, 0, 0, 0, 0], [START, 8, 8, 0, 5, 6, EXTRACT],
    ]  # fmt: skip
    assert length.tolist() == [5, 3, 7]
    tokens, length = model.rows(TEXTS[:2], OTHERS[:2])
    assert tokens.tolist() == [
        [START, 1, 2, 3, DELIMITER, 7, EXTRACT],
        [START, 4, DELIMITER, 2, 2, EXTRACT, 0],
    ]
    with pytest.raises(ShapeError, match="a row must have at most block_size = 10 tokens, but got 11"):
        model.rows([[1] * 9])
    with pytest.raises(ShapeError, match=r"a text must lie in 0\.\.8, but got 9"):
        model.rows([[9]])
    with pytest.raises(ShapeError, match="but got no text"):
        model.rows([])


def test_padding_counts_for_nothing_and_similarity_has_no_order():
    model = tuned()
    tokens, length = model.rows(TEXTS)
    other = np.where(np.arange(tokens.shape[1]) < length[:, None], tokens, 3).astype(np.int32)
    assert (other != tokens).any()
    assert float(model.loss(other, length, LABEL)) == float(model.loss(tokens, length, LABEL))
    one, two = model.rows(TEXTS, OTHERS), model.rows(OTHERS, TEXTS)
    found = model.similarity(one, two).numpy()
    assert np.abs(found - model.similarity(two, one).numpy()).max() < 1e-12
    assert np.abs(model(*one).numpy() - model(*two).numpy()).max() > 0.1


def test_it_learns_what_it_is_shown():
    ta.manual_seed(0)
    model = GPTClassifier(GPT(GPTConfig(**SIZES)), 3)
    optimizer = ta.optim.Adam(model.parameters(), lr=1e-2)

    @ta.function
    def step(tokens, length, label):
        loss = model.loss(tokens, length, label)
        optimizer.minimize(loss)
        return loss

    rows = model.rows(TEXTS)
    losses = [float(step(*rows, LABEL)) for _ in range(120)]
    assert losses[-1] < 0.3 * losses[0] and model.eval()(*rows).numpy().argmax(1).tolist() == LABEL.tolist()
