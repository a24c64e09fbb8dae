"""Seq2Seq with units of every kind, in both papers' forms: written again in torch, sentence by sentence."""

from dataclasses import replace

import numpy as np
import pytest
from translation_batch import batch_of

import tinyattn as ta
from tinyattn.errors import TinyattnError
from tinyattn.models.seq2seq import Seq2Seq, Seq2SeqConfig
from tinyattn.tasks.parts.vocabulary import PAD
from tinyattn.tasks.translation import Batch

SMALL = Seq2SeqConfig(9, 8, embedding=5, hidden=4, maxout=3)
FORMS = [
    *({"form": form, "unit": unit} for form in ("cho", "sutskever") for unit in ("gru", "lstm", "rnn")),
    {"form": "cho", "reset_after": True},
    {"form": "cho", "unit": "lstm", "bidirectional": False, "context": 3},
    {"form": "sutskever", "unit": "lstm", "bidirectional": False, "layers": 3},
    {"form": "sutskever", "reset_after": True, "layers": 2},
]
EVERY_FORM = pytest.mark.parametrize("form", FORMS, ids=lambda form: "-".join(map(str, form.values())))


def made(form):
    ta.manual_seed(3)
    return Seq2Seq(replace(SMALL, **form)).to(ta.float64)


def unit(torch, config, part, state, u, inside):
    """One step from W x + b: the new state; inside: the bias of torch's GRU that stands in the reset's reach."""
    n = u.shape[1]
    if config.unit == "rnn":
        return torch.tanh(part + u @ state)
    if config.unit == "lstm":
        i, f, g, o = (part + u @ state[0]).chunk(4)
        c = torch.sigmoid(f) * state[1] + torch.sigmoid(i) * torch.tanh(g)
        return torch.sigmoid(o) * torch.tanh(c), c
    if config.reset_after:
        said = u @ state + inside
        r, z = torch.sigmoid(part[:n] + said[:n]), torch.sigmoid(part[n : 2 * n] + said[n : 2 * n])
        return (1 - z) * torch.tanh(part[2 * n :] + r * said[2 * n :]) + z * state
    r, z = (torch.sigmoid(part[k : k + n] + u[k : k + n] @ state) for k in (0, n))
    return (1 - z) * state + z * torch.tanh(part[2 * n :] + u[2 * n :] @ (r * state))


def torch_loss(torch, config, p, batch):
    def top(state):
        return state[0] if isinstance(state, tuple) else state

    def side_by_side(states):
        if isinstance(states[0], tuple):
            return tuple(torch.cat(part) for part in zip(*states, strict=True))
        return torch.cat(states)

    sutskever, total, count = config.form == "sutskever", 0.0, 0
    for row, length in enumerate(batch.source_length):
        ids = batch.source[row, :length]
        if sutskever and not config.bidirectional:
            ids = ids[::-1]
        xs, finals = [p["source_embedding.weight"][i] for i in ids], []
        for layer in range(config.layers):
            directions, last = [], []
            for suffix, order in (("", 1), ("_reverse", -1))[: 1 + config.bidirectional]:
                w, u, b, bu = (
                    p[f"encoder.{name}_l{layer}{suffix}"] for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
                )  # fmt: skip
                zero = torch.zeros(u.shape[1], dtype=u.dtype)
                state, found = (zero, zero) if config.unit == "lstm" else zero, []
                b = b if config.unit == "gru" and config.reset_after else b + bu
                for x in xs[::order]:
                    state = unit(torch, config, w @ x + b, state, u, bu)
                    found.append(top(state))
                directions.append(found[::order])
                last.append(state)
            xs = [torch.cat(pair) for pair in zip(*directions, strict=True)]
            finals.append(side_by_side(last))
        if sutskever:
            states = finals
        else:
            c = torch.tanh(p["summary.weight"] @ top(finals[0]) + p["summary.bias"])
            s = torch.tanh(p["start.weight"] @ c + p["start.bias"])
            states = [(s, torch.zeros_like(s)) if config.unit == "lstm" else s]
        for given, said in zip(batch.target_in[row], batch.target_out[row], strict=True):
            if said == PAD:
                break
            y = p["target_embedding.weight"][given]
            part = p["word.weight"] @ y + p["word.bias"]
            if not sutskever:
                t = p["output.state.weight"] @ top(states[0]) + p["output.state.bias"]
                t = t + p["output.word.weight"] @ y + p["output.context.weight"] @ c
                part = part + p["context.weight"] @ c
                states = [
                    unit(torch, config, part, states[0], p["recurrent.weight"], p.get("recurrent.bias"))
                ]
                best, out = t.reshape(-1, 2).max(dim=1).values, "output.vocabulary"
            else:
                for layer in range(config.layers):
                    name = f"recurrent.layers.{layer}"
                    if layer:
                        part = p[f"{name}.input.weight"] @ best + p[f"{name}.input.bias"]
                    states[layer] = unit(
                        torch, config, part, states[layer], p[f"{name}.weight"], p.get(f"{name}.bias")
                    )
                    best, out = top(states[layer]), "vocabulary"
            logits = p[f"{out}.weight"] @ best + p[f"{out}.bias"]
            total, count = total - torch.log_softmax(logits, 0)[said], count + 1
    return total / count


@EVERY_FORM
def test_loss_and_gradients_are_those_of_the_equations(form):
    torch = pytest.importorskip("torch")
    model, batch = made(form), batch_of()
    loss = model.loss(batch)
    names, leaves = zip(*model.named_parameters(), strict=True)
    value, gradients = ta.function(lambda: (loss, ta.grad(loss, list(leaves))))()
    p = {name: torch.tensor(value, requires_grad=True) for name, value in model.state_dict().items()}
    expected = torch_loss(torch, model.config, p, batch)
    expected.backward()
    assert abs(float(value) - expected.item()) < 1e-10
    for name, found in zip(names, gradients, strict=True):
        np.testing.assert_allclose(found, p[name].grad.numpy(), rtol=1e-8, atol=1e-11, err_msg=name)


@EVERY_FORM
def test_padding_changes_nothing_and_scores_are_log_probabilities(form):
    model, batch = made(form).eval(), batch_of()
    wider = replace(batch, source=np.pad(batch.source, [(0, 0), (0, 4)], constant_values=7))
    one, other = (model.translate(b.source, b.source_length, 2, 5) for b in (batch, wider))
    np.testing.assert_array_equal(one.tokens, other.tokens)
    np.testing.assert_allclose(one.score, other.score, atol=1e-12)
    for row, words in enumerate(one.tokens):
        said = words[words != PAD][None]
        alone = Batch(
            batch.source[[row]], batch.source_length[[row]],
            np.concatenate([[[1]], said[:, :-1]], axis=1).astype(np.int32), said, np.array([said.size]),
            np.zeros(1, np.int64), np.ones(1, bool),
        )  # fmt: skip
        assert abs(one.score[row] + float(model.loss(alone)) * said.size) < 1e-9


def test_what_makes_no_sense_is_one_sentence():
    for changes, expected in [
        ({"form": "kalchbrenner"}, "form must be one of cho, sutskever, but got 'kalchbrenner'"),
        ({"unit": "tanh"}, "unit must be one of gru, lstm, rnn, but got 'tanh'"),
        ({"layers": 2}, "layers must be 1 unless the form is sutskever, but got 2"),
        ({"form": "sutskever", "hidden": 5}, "hidden must be even"),
    ]:
        with pytest.raises(TinyattnError, match=expected):
            replace(SMALL, **changes)
