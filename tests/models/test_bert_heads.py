"""Heads of BERT for fine-tuning: what transformers computes with the same weights; padding; they learn."""

import make_pretrained_fixtures as fixtures
import numpy as np
import pytest
from pairs import FOLDER, batch, seen

import tinyattn as ta
from tinyattn.models import BERT
from tinyattn.models.bert_heads import BERTSentence, BERTSpan, BERTTokens

CLASSES = 4
LABEL = np.array([2, 0, 3])
LABELS = np.where(np.arange(7) < np.array([[7], [4], [6]]), np.arange(21).reshape(3, 7) % CLASSES, -1)
START, END = np.array([1, 0, 5]), np.array([6, 3, 5])
HEADS = {
    "SequenceClassification": (lambda model: BERTSentence(model, CLASSES), (LABEL,)),
    "TokenClassification": (lambda model: BERTTokens(model, CLASSES), (LABELS,)),
    "QuestionAnswering": (BERTSpan, (START, END)),
}
EVERY = pytest.mark.parametrize("kind", HEADS)


def head(kind):
    """A head in float64, on a body of random numbers."""
    ta.manual_seed(0)
    found = HEADS[kind][0](BERT.from_pretrained(FOLDER).to(np.float64)).eval()
    rng = np.random.default_rng(3)
    for name, weight in found.named_parameters():
        if not name.startswith("bert."):
            weight.assign(rng.standard_normal(weight.shape))
    return found


@EVERY
def test_a_head_computes_what_transformers_does(kind):
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    ours, (_, labels), given = head(kind), HEADS[kind], batch()
    config = transformers.BertConfig(**fixtures.BERT_SIZES, num_labels=2 if len(labels) == 2 else CLASSES)
    theirs = getattr(transformers, f"BertFor{kind}")(config).double().eval()
    state = {k: torch.from_numpy(v) for k, v in ours.state_dict().items()}
    missing, unexpected = theirs.load_state_dict(state, strict=False)
    assert not missing and all(name.startswith("bert.pooler") for name in unexpected)
    mask = torch.from_numpy((np.arange(7) < given.length[:, None]).astype(np.int64))
    found = theirs(torch.from_numpy(given.tokens), mask, torch.from_numpy(given.segments))
    logits = (found.start_logits, found.end_logits) if kind == "QuestionAnswering" else (found.logits,)
    inside = mask.bool().numpy()
    pairs = zip(labels, logits, strict=True)
    if kind == "QuestionAnswering":  # that library scores padding, too
        logits = tuple(part.masked_fill(mask == 0, -torch.inf) for part in logits)
        pairs = zip(labels, logits, strict=True)
    losses = [
        torch.nn.functional.cross_entropy(part.reshape(-1, part.shape[-1]), torch.from_numpy(y).flatten(), ignore_index=-1)
        for y, part in pairs
    ]  # fmt: skip
    loss = sum(losses) / len(losses)
    loss.backward()
    got = ours(*seen(given))
    for part, theirs_part in zip(got if isinstance(got, tuple) else [got], logits, strict=True):
        part, theirs_part = part.numpy(), theirs_part.detach().numpy()
        rows = inside if part.shape[:2] == inside.shape else slice(None)
        assert np.abs(part[rows] - theirs_part[rows]).max() < 1e-10
    ours_loss = ours.loss(*seen(given), *labels)
    assert abs(float(ours_loss) - float(loss.detach())) < 1e-10
    named = {
        k: v for k, v in ours.named_parameters() if kind == "SequenceClassification" or "pooler" not in k
    }
    gradients = dict(theirs.named_parameters())
    for name, gradient in zip(named, ta.grad(ours_loss, [*named.values()]), strict=True):
        expected = gradients[name].grad.numpy()
        assert np.abs(gradient.numpy() - expected).max() < 1e-8 * max(1, np.abs(expected).max()), name


def test_a_part_begins_before_it_ends_and_is_not_padding():
    ours, given = head("QuestionAnswering"), batch()
    first, last = (part.numpy() for part in ours(*seen(given)))
    answers = ours.answer(*seen(given))
    for row, (i, j) in enumerate(answers):
        length = given.length[row]
        every = {(a, b): first[row, a] + last[row, b] for a in range(length) for b in range(a, length)}
        assert (i, j) == max(every, key=every.get)


@EVERY
def test_a_head_learns_what_it_is_shown(kind):
    ta.manual_seed(0)
    model = BERT.from_pretrained(FOLDER)
    ours, given, labels = HEADS[kind][0](model), batch(), HEADS[kind][1]
    assert ours.bert is model.bert
    optimizer = ta.optim.Adam(ours.parameters(), lr=1e-2)

    @ta.function
    def step(tokens, segments, length, *labels):
        loss = ours.loss(tokens, segments, length, *labels)
        optimizer.minimize(loss)
        return loss

    losses = [float(step(*seen(given), *labels)) for _ in range(80)]
    assert losses[-1] < 0.2 * losses[0]
