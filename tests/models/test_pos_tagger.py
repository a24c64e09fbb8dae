"""POS taggers: their equations in PyTorch with the same weights, and what each can and can't tell apart."""

import numpy as np
import pytest

import tinyattn as ta
from tinyattn import tasks
from tinyattn.errors import TinyattnError
from tinyattn.models.parts.reader import NORMALISERS, SCORES
from tinyattn.models.pos_tagger import VARIANTS, POSTagger, POSTaggerConfig
from tinyattn.tasks.tagging import NOTHING, SpelledBatch

SIZES = {
    "vocabulary": 12,
    "classes": 5,
    "spellings": 9,
    "longest": 7,
    "embedding": 8,
    "hidden": 6,
    "heads": 2,
}
LENGTHS = np.array([7, 4, 1], np.int32)
CASES = [
    {"variant": "per-token"},
    {"variant": "window"},
    {"variant": "window", "window": 2},
    {"variant": "window", "whole": True},
    {"variant": "seq2seq"},
    {"variant": "seq2seq", "aligned": False},
    *({"variant": "self-attention", "score": s, "normaliser": n} for s in SCORES for n in NORMALISERS),
    {"variant": "self-attention", "positions": False},
]
IDS = ["-".join(map(str, case.values())) for case in CASES]


def model(**choices) -> POSTagger:
    """In float64, with initial values of its own."""
    ta.manual_seed(3)
    found = POSTagger(POSTaggerConfig(**SIZES | choices))
    rng = np.random.default_rng(0)
    for name, parameter in found.named_parameters():
        scale = 4.0 if name == "look.tag.weight" else 0.4  # so that it matters which tag was said before
        parameter.assign(rng.normal(size=parameter.shape, scale=scale).astype(parameter.dtype))
    return found.to(np.float64).eval()


def batch(lengths=LENGTHS, width=7) -> SpelledBatch:
    """Sentences of these lengths, the same words whatever the width."""
    rng = np.random.default_rng(1)
    tokens, features = rng.integers(1, 12, (3, 7)), rng.integers(1, 9, (3, 7, 2))
    tags, real = rng.integers(0, 5, (3, 7)), np.arange(7) < lengths[:, None]
    parts = tokens * real, features * real[..., None], np.where(real, tags, NOTHING)
    tokens, features, tags = (np.int32(part[:, :width]) for part in parts)
    return SpelledBatch(tokens, lengths, tags, np.arange(3), np.ones(3, bool), features)


class Torch:
    """The equations of pos_tagger.py and reader.py, sentence by sentence and without padding."""

    def __init__(self, ours: POSTagger):
        self.torch = pytest.importorskip("torch")
        self.config = ours.config
        self.weights = {
            name: self.torch.tensor(value, requires_grad=True) for name, value in ours.state_dict().items()
        }

    def linear(self, name: str, x):
        bias = self.weights.get(f"{name}.bias")
        y = x @ self.weights[f"{name}.weight"].T
        return y if bias is None else y + bias

    def say(self, states):
        return self.linear("output", self.torch.relu(self.linear("hidden", states)))

    def sentence(self, words, features, tags):
        """The logits (T, K) of one sentence; tags: the right ones, or None to be told what was said."""
        w, c = self.weights, self.config
        x = w["words.word.weight"][words] + w["words.part.weight"][features].sum(1)
        states = {
            "per-token": lambda: x,
            "window": lambda: self.window(x, c.longest - 1 if c.whole else c.window),
            "self-attention": lambda: self.attend(x),
            "seq2seq": lambda: self.decode(x, tags),
        }[c.variant]()
        return self.say(states)

    def window(self, x, reach):
        rows = []
        for t in range(len(x)):
            row = [x[k] if 0 <= k < len(x) else 0 * x[0] for k in range(t - reach, t + reach + 1)]
            rows.append(self.torch.cat(row))
        return self.torch.stack(rows)

    def lstm(self, name, x, h, c, suffix=""):
        w = self.weights
        gates = x @ w[f"{name}.weight_ih{suffix}"].T + w[f"{name}.bias_ih{suffix}"]
        gates = gates + h @ w[f"{name}.weight_hh{suffix}"].T + w[f"{name}.bias_hh{suffix}"]
        i, f, g, o = gates.chunk(4)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        return o.sigmoid() * c.tanh(), c

    def decode(self, x, tags):
        n, w, zero = self.config.hidden, self.weights, self.torch.zeros(self.config.hidden, dtype=x.dtype)
        read = []
        for suffix, order in (("_l0", range(len(x))), ("_l0_reverse", reversed(range(len(x))))):
            h, c, states = zero, zero, {}
            for t in order:
                h, c = self.lstm("look.encoder", x[t], h, c, suffix)
                states[t] = h
            read.append(self.torch.stack([states[t] for t in range(len(x))]))
        read = self.torch.cat(read, 1)
        h, c, told, states = self.linear("look.start", read[0, n:]).tanh(), zero, self.config.classes, []
        for t in range(len(x)):
            match = (self.linear("look.alignment.query", h) + self.linear("look.alignment.key", read)).tanh()
            context = (match @ w["look.alignment.v"]).softmax(0) @ read
            parts = [w["look.tag.weight"][told], *([read[t]] if self.config.aligned else []), context]
            h, c = self.lstm("look.decoder", self.torch.cat(parts), h, c)
            states.append(self.torch.cat([h, context]))
            told = int(self.say(states[-1]).argmax()) if tags is None else int(tags[t])
        return self.torch.stack(states)

    def attend(self, x):
        torch, c, w = self.torch, self.config, self.weights
        steps, width = x.shape
        if c.positions:
            p, i = np.arange(steps)[:, None], np.arange(width)
            angle = p / 10000 ** (i // 2 * 2 / width)
            x = x + torch.tensor(np.where(i % 2, np.cos(angle), np.sin(angle)))
        for k in range(c.layers):
            name = f"look.blocks.{k}"
            q, key, v = (
                part.reshape(steps, c.heads, -1).transpose(0, 1)
                for part in self.linear(f"{name}.attention.project", x).chunk(3, -1)
            )  # (h, T, d)
            scores = q @ key.transpose(1, 2) / q.shape[-1] ** 0.5
            if c.score == "additive":
                scores = (q[:, :, None] + key[:, None]).tanh() @ w[f"{name}.attention.a"]
            found = {
                "softmax": lambda e: e.softmax(-1),
                "relu": lambda e: e.relu() / steps,
                "relu-sum": lambda e: e.relu() / (e.relu().sum(-1, keepdim=True) + 1e-6),
                "rela": lambda e: e.relu(),
            }[c.normaliser](scores) @ v
            if c.normaliser == "rela":
                eps = torch.finfo(torch.float64).eps
                found = torch.nn.functional.rms_norm(
                    found, found.shape[-1:], w[f"{name}.attention.norm.weight"], eps
                )
            found = self.linear(f"{name}.attention.output", found.transpose(0, 1).reshape(steps, width))
            x = self.norm(f"{name}.norm_1", x + found)
            x = self.norm(
                f"{name}.norm_2", x + self.linear(f"{name}.back", self.linear(f"{name}.hidden", x).relu())
            )
        return x

    def norm(self, name, x):
        weight, bias = self.weights[f"{name}.weight"], self.weights[f"{name}.bias"]
        return self.torch.nn.functional.layer_norm(x, x.shape[-1:], weight, bias)

    def sentences(self, given: SpelledBatch, told: bool):
        """Logits of each sentence."""
        for row, n in enumerate(given.length):
            arrays = (given.tokens, given.features, given.tags)
            words, features, tags = (self.torch.tensor(array[row, :n]).long() for array in arrays)
            yield self.sentence(words, features, tags if told else None), tags


@pytest.mark.parametrize("choices", CASES, ids=IDS)
def test_equations(choices):
    ours, given = model(**choices), batch()
    theirs = Torch(ours)
    torch = theirs.torch
    logits, tags = (torch.cat(parts) for parts in zip(*theirs.sentences(given, True), strict=True))
    expected = torch.nn.functional.cross_entropy(logits, tags)
    expected.backward()
    loss = ours.loss(given)
    assert abs(float(loss) - expected.item()) < 1e-10
    names, parameters = zip(*ours.named_parameters(), strict=True)
    for name, gradient in zip(names, ta.evaluate(ta.grad(loss, list(parameters))), strict=True):
        right = theirs.weights[name].grad
        right = np.zeros(gradient.shape) if right is None else right.numpy()
        assert np.abs(gradient - right).max() < 1e-8 * max(1.0, np.abs(right).max()), name
    answers = ours.answer(given)
    for row, (said, _) in enumerate(theirs.sentences(given, False)):
        assert answers.outputs[row][: len(said)].tolist() == said.argmax(1).tolist()
    assert abs(answers.nats - 12 * expected.item()) < 1e-9 and answers.predictions == 12


@pytest.mark.parametrize("choices", CASES, ids=IDS)
def test_padding_says_nothing_and_weights_are_those_of_words(choices):
    ours = model(**choices)
    lengths = np.array([4, 4, 1], np.int32)
    wide, narrow = batch(lengths), batch(lengths, 4)
    assert abs(float(ours.loss(wide)) - float(ours.loss(narrow))) < 1e-12
    dirty = SpelledBatch(
        **vars(wide) | {"tokens": np.where(wide.tokens == 0, 5, wide.tokens).astype(np.int32)}
    )
    assert abs(float(ours.loss(dirty)) - float(ours.loss(wide))) < 1e-12
    one, other, dirtied = ours.answer(wide), ours.answer(narrow), ours.answer(dirty)
    for row, n in enumerate(lengths):
        assert (
            one.outputs[row][:n].tolist()
            == other.outputs[row][:n].tolist()
            == dirtied.outputs[row][:n].tolist()
        )
        for name, maps in one.maps.items():
            weights = maps[row][:n]
            np.testing.assert_allclose(weights[:, :n], other.maps[name][row][:n, :n], atol=1e-12)
            assert not weights[:, n:].any()
            if choices.get("normaliser", "softmax") == "softmax":
                np.testing.assert_allclose(weights.sum(1), 1, atol=1e-12)


# "I saw a saw": a verb and a noun.

SAW = [1, 3]


def logits_of(text: str, **choices) -> np.ndarray:
    ta.manual_seed(0)
    task = tasks.get("pos-grammar", train_examples=50)
    ours = POSTagger.for_task(task, **choices).to(np.float64).eval()
    return ours(task.read(text))[0].numpy()[0]


@pytest.mark.parametrize("choices", [case for case in CASES if not case.get("positions", True)] + CASES[:1])
def test_who_knows_no_order_takes_one_saw_for_the_other(choices):
    verb, noun = logits_of("I saw a saw", **choices)[SAW]
    np.testing.assert_allclose(verb, noun, rtol=0, atol=1e-12)


@pytest.mark.parametrize("choices", CASES[1:-1], ids=IDS[1:-1])
def test_who_knows_the_order_tells_them_apart(choices):
    verb, noun = logits_of("I saw a saw", **choices)[SAW]
    assert np.abs(verb - noun).max() > 1e-3


@pytest.mark.parametrize("normaliser", NORMALISERS)
def test_without_positions_a_sentence_is_a_set(normaliser):
    choices = {"variant": "self-attention", "positions": False, "normaliser": normaliser}
    one, other = logits_of("they saw that duck", **choices), logits_of("duck that they saw", **choices)
    np.testing.assert_allclose(one, other[[2, 3, 1, 0]], rtol=0, atol=1e-12)


@pytest.mark.parametrize("window", [1, 2])
def test_a_window_sees_so_far_and_no_further(window):
    choices = {"variant": "window", "window": window}
    one, other = (logits_of(f"the old duck left the {last}", **choices) for last in ("saw", "can"))
    changed = np.abs(one - other).max(1) > 1e-9
    assert changed.tolist() == [k >= 5 - window for k in range(6)]


def test_a_decoder_is_not_told_the_right_tags_when_it_answers():
    ours, given = model(variant="seq2seq"), batch()
    other = SpelledBatch(
        **vars(given) | {"tags": np.where(given.tags >= 0, 4 - given.tags, NOTHING).astype(np.int32)}
    )
    assert [*map(list, ours.answer(given).outputs)] == [*map(list, ours.answer(other).outputs)]
    assert abs(float(ours.loss(given)) - float(ours.loss(other))) > 1e-3


@pytest.mark.parametrize(
    "choices, expected",
    [
        (
            {"variant": "lstm"},
            "variant must be one of per-token, window, seq2seq, self-attention, but got 'lstm'",
        ),
        ({"score": "cosine"}, "score must be one of dot, additive, but got 'cosine'"),
        ({"normaliser": "max"}, "normaliser must be one of softmax, relu, relu-sum, rela, but got 'max'"),
        ({"heads": 3}, "the width must be divisible by heads = 3, but got 8"),
        ({"hidden": 0}, "hidden must be a positive integer, but got 0"),
        ({"window": -1}, "window must be an integer of at least 0, but got -1"),
        ({"dropout": 1.0}, "dropout must lie in [0, 1), but got 1.0"),
    ],
)
def test_choices_that_make_no_sense(choices, expected):
    with pytest.raises(TinyattnError, match=r"^\[model\]") as error:
        model(**choices)
    assert expected in str(error.value)


def test_the_report_counts_what_a_window_costs():
    ours = model(variant="window", whole=True)
    (table,) = ours.sections(None, None)
    assert table.rows[-1] == ("the whole sentence", "13 words", f"{ours.hidden.weight.size + 6:,}")
    assert model(variant="seq2seq").sections(None, None) == []


def test_targets_are_a_point_below_what_can_be_known():
    ceilings = [*tasks.get("pos-grammar", train_examples=10).ceilings().values()]
    for variant, ceiling in zip(("per-token", "window"), ceilings, strict=True):
        target = POSTagger.recipe("pos-grammar", variant).targets["accuracy"]
        assert target == pytest.approx(ceiling - 0.01, abs=5e-5)
    for variant in VARIANTS.keys() - {"self-attention"}:
        assert POSTagger.recipe("ud-ewt", variant).sizes["variant"] == variant
