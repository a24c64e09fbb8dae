"""Luong: its equations written again in torch, word by word, for every form of attention and every score."""

from dataclasses import replace

import numpy as np
import pytest
from translation_batch import batch_of

import tinyattn as ta
from tinyattn.errors import TinyattnError
from tinyattn.models.luong import Luong, LuongConfig
from tinyattn.models.parts.scores import NORMALISERS, SCORES
from tinyattn.tasks.parts.vocabulary import PAD
from tinyattn.tasks.translation import Batch

SMALL = LuongConfig(9, 8, embedding=5, hidden=6, window=2, longest_source=4)
FORMS = [
    *({"score": score, "attention": "global"} for score in SCORES),
    *({"score": "general", "attention": "global", "normaliser": normaliser} for normaliser in NORMALISERS),
    {"attention": "local-m", "score": "dot"},
    {"attention": "local-m", "score": "concat", "input_feeding": False},
    {"attention": "local-p", "score": "general"},
    {"attention": "local-p", "score": "dot", "input_feeding": False, "window": 1},
    {"attention": "global", "input_feeding": False, "bidirectional": False, "layers": 2},
    {"attention": "local-p", "layers": 2},
]


def named(form):
    return "-".join(str(value) for value in form.values())


def made(**form):
    ta.manual_seed(3)
    model = Luong(replace(SMALL, **form)).to(ta.float64)
    for parameter in model.parameters():  # far from uniform weights
        parameter.assign(parameter.numpy() * 2)
    return model


def torch_loss(torch, config, p, batch):
    """Section 3 of the paper for each sentence alone: no padding, no masks, no batches."""

    def lstm(x, state, w_ih, w_hh, b):
        h, c = state
        i, f, g, o = (w_ih @ x + w_hh @ h + b).chunk(4)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        return torch.sigmoid(o) * torch.tanh(c), c

    def score(h, key, place):
        if config.score == "general":
            return h @ (p["score.key.weight"] @ key)
        if config.score in ("concat", "additive"):
            w = torch.cat([p["score.query.weight"], p["score.key.weight"]], 1)
            return p["score.v"] @ torch.tanh(w @ torch.cat([h, key]) + p.get("score.key.bias", 0))
        if config.score == "location":
            w = p["score.place.weight"]
            return w[place] @ h if place < len(w) else torch.tensor(-torch.inf, dtype=h.dtype)
        if config.score == "cosine":
            strength = torch.nn.functional.softplus(p["score.strength.weight"] @ h + p["score.strength.bias"])
            return strength[0] * (h @ key) / (h.norm() * key.norm() + 1e-8)
        return h @ key / (len(h) ** 0.5 if config.score == "scaled-dot" else 1)

    total, count, seen = 0.0, 0, []
    for row, length in enumerate(batch.source_length):
        xs = [p["source_embedding.weight"][i] for i in batch.source[row, :length]]
        cells = []
        for layer in range(config.layers):
            directions, last = [], []
            for suffix, order in (("", 1), ("_reverse", -1))[: 1 + config.bidirectional]:
                w_ih, w_hh, b_ih, b_hh = (
                    p[f"encoder.{name}_l{layer}{suffix}"]
                    for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
                )
                state = (torch.zeros(w_hh.shape[1], dtype=w_hh.dtype),) * 2
                found = []
                for x in xs[::order]:
                    state = lstm(x, state, w_ih, w_hh, b_ih + b_hh)
                    found.append(state[0])
                directions.append(found[::order])
                last.append(state)
            xs = [torch.cat(pair) for pair in zip(*directions, strict=True)]
            cells.append(tuple(torch.cat(part) for part in zip(*last, strict=True)))
        annotations, fed = xs, torch.zeros(config.hidden, dtype=xs[0].dtype)
        rows = []
        for t, (given, said) in enumerate(zip(batch.target_in[row], batch.target_out[row], strict=True)):
            if said == PAD:
                break
            x, w_x, b = p["target_embedding.weight"][given], p["word.weight"], p["word.bias"]
            if config.input_feeding:
                x, w_x = torch.cat([x, fed]), torch.cat([w_x, p["feed.weight"]], 1)
            for layer in range(config.layers):
                if layer:
                    w_x, b = (p[f"cells.layers.{layer}.input.{name}"] for name in ("weight", "bias"))
                cells[layer] = lstm(x, cells[layer], w_x, p[f"cells.layers.{layer}.weight"], b)
                x = cells[layer][0]
            place = torch.tensor(float(t))
            if config.attention == "local-p":
                place = length * torch.sigmoid(p["v.weight"][0] @ torch.tanh(p["place.weight"] @ x)) - 1
            inside = [
                s
                for s in range(length)
                if config.attention == "global" or abs(s - place.item()) <= config.window
            ]
            context = torch.zeros_like(x)
            weights = torch.zeros(length, dtype=x.dtype)
            if inside:
                e = torch.stack([score(x, annotations[s], s) for s in inside])
                a = {
                    "softmax": lambda e: torch.softmax(e, 0), "relu": torch.relu,
                    "relu-length": lambda e: torch.relu(e) / len(e),
                    "relu-sum": lambda e: torch.relu(e) / (torch.relu(e).sum() + 1e-6),
                }[config.normaliser](e)  # fmt: skip
                if config.attention == "local-p":
                    deviation = config.window / 2
                    a = a * torch.stack([torch.exp(-((s - place) ** 2) / (2 * deviation**2)) for s in inside])
                context = sum(w * annotations[s] for w, s in zip(a, inside, strict=True))
                weights[inside] = a.detach()
            rows.append(weights.numpy())
            fed = torch.tanh(p["attentional.weight"] @ torch.cat([context, x]))
            logits = p["vocabulary.weight"] @ fed + p["vocabulary.bias"]
            total, count = total - torch.log_softmax(logits, 0)[said], count + 1
        seen.append(np.array(rows))
    return total / count, seen


@pytest.mark.parametrize("form", FORMS, ids=named)
def test_loss_gradients_and_weights_are_those_of_the_equations(form):
    torch = pytest.importorskip("torch")
    model, batch = made(**form), batch_of()
    loss = model.loss(batch)
    names, leaves = zip(*model.named_parameters(), strict=True)
    value, gradients = ta.function(lambda: (loss, ta.grad(loss, list(leaves))))()
    p = {name: torch.tensor(value, requires_grad=True) for name, value in model.state_dict().items()}
    expected, seen = torch_loss(torch, model.config, p, batch)
    expected.backward()
    assert abs(float(value) - expected.item()) < 1e-10
    for name, found in zip(names, gradients, strict=True):
        wanted = p[name].grad
        wanted = np.zeros(found.shape) if wanted is None else wanted.numpy()
        np.testing.assert_allclose(found, wanted, rtol=1e-8, atol=1e-10, err_msg=name)
    weights = model.eval()(batch.source, batch.source_length, batch.target_in)[1].numpy()
    for row, wanted in enumerate(seen):
        np.testing.assert_allclose(weights[row, : len(wanted), : wanted.shape[1]], wanted, atol=1e-12)
        assert (weights[row, :, wanted.shape[1] :] == 0).all()


@pytest.mark.parametrize("form", [FORMS[0], FORMS[-3], FORMS[-1], {"attention": "local-m"}], ids=named)
def test_padding_changes_nothing_and_searching_says_the_same_as_teaching(form):
    model, batch = made(**form).eval(), batch_of()
    wider = replace(
        batch, source=np.pad(batch.source, [(0, 0), (0, 4)], constant_values=7),
        target_in=np.pad(batch.target_in, [(0, 0), (0, 3)]), target_out=np.pad(batch.target_out, [(0, 0), (0, 3)]),
    )  # fmt: skip
    narrow, wide = (float(ta.function(lambda b: model.loss(Batch(**b)))(vars(b))) for b in (batch, wider))
    assert abs(narrow - wide) < 1e-13
    for beam in (1, 2):
        one, other = (model.translate(b.source, b.source_length, beam, 6) for b in (batch, wider))
        np.testing.assert_array_equal(one.tokens, other.tokens)
        for row, words in enumerate(one.tokens):
            said = words[words != PAD][None]
            alone = replace(
                batch, source=batch.source[[row]], source_length=batch.source_length[[row]], target_out=said,
                target_in=np.concatenate([[[1]], said[:, :-1]], axis=1).astype(np.int32),
            )  # fmt: skip
            assert abs(one.score[row] + float(model.loss(alone)) * said.size) < 1e-9
            weights = model(alone.source, alone.source_length, alone.target_in)[1].numpy()[0]
            np.testing.assert_allclose(one.attention[row, : said.size], weights, atol=1e-12)


def test_weights_of_a_predicted_window_are_not_normalised_again():
    model, batch = made(attention="local-p"), batch_of()
    maps = model.eval().maps(batch)
    weights, place = maps["alignment"].numpy(), maps["position"].numpy()[:, :, 0]
    assert (-1 < place).all() and (place < batch.source_length[:, None] - 1).all()
    away = np.abs(np.arange(5) - place[:, :, None])
    assert (weights[away > 2] == 0).all() and (weights.sum(axis=2) < 1 - 1e-3).all()


def test_what_makes_no_sense_is_one_sentence():
    for changes, expected in [
        ({"attention": "local"}, "attention must be one of global, local-m, local-p, but got 'local'"),
        ({"score": "bilinear"}, "score must be one of dot, general"),
        ({"window": 0}, "window must be a positive integer, but got 0"),
        ({"hidden": 7}, "hidden must be even"),
    ]:
        with pytest.raises(TinyattnError, match=expected):
            replace(SMALL, **changes)
