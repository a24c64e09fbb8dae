"""Seq2Seq and Bahdanau: loss and gradients against the papers' equations written again in torch, and the search."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from translation_batch import batch_of

import tinyattn as ta
from tinyattn import models
from tinyattn.errors import ShapeError, TinyattnError
from tinyattn.experiments.evaluation import answers_of
from tinyattn.models.bahdanau import Bahdanau, BahdanauConfig
from tinyattn.models.parts.decoding import beam_search
from tinyattn.models.seq2seq import Seq2Seq, Seq2SeqConfig
from tinyattn.tasks import tiny_mt
from tinyattn.tasks.parts.vocabulary import BOS, EOS, PAD
from tinyattn.tasks.translation import Batch, length_buckets

SIZES = {"embedding": 5, "hidden": 4, "maxout": 3}
CONFIGS = {
    Bahdanau: BahdanauConfig(9, 8, **SIZES, attention=6),
    Seq2Seq: Seq2SeqConfig(9, 8, **SIZES, context=7),
}
BOTH = pytest.mark.parametrize("kind", [Bahdanau, Seq2Seq])


def made(kind, dtype=ta.float64, **changes):
    ta.manual_seed(3)
    return kind(replace(CONFIGS[kind], **changes)).to(dtype)


def torch_loss(torch, kind, p, batch):
    """The papers' equations sentence by sentence and word by word, without padding, masks or loops over batches."""

    def gru(x, h, w, u, b):  # reset before the product; gates r, z, n in rows
        n = h.shape[0]
        a = w @ x + b
        r, z = torch.sigmoid(a[:n] + u[:n] @ h), torch.sigmoid(a[n : 2 * n] + u[n : 2 * n] @ h)
        new = torch.tanh(a[2 * n :] + u[2 * n :] @ (r * h))
        return (1 - z) * h + z * new

    total, count = 0.0, 0
    for row in range(len(batch.source)):
        words = [p["source_embedding.weight"][i] for i in batch.source[row, : batch.source_length[row]]]
        states = []
        for suffix, order in (("", 1), ("_reverse", -1)):
            w, u = p[f"encoder.weight_ih_l0{suffix}"], p[f"encoder.weight_hh_l0{suffix}"]
            b = p[f"encoder.bias_ih_l0{suffix}"] + p[f"encoder.bias_hh_l0{suffix}"]
            h, found = torch.zeros(u.shape[1], dtype=w.dtype), []
            for x in words[::order]:
                h = gru(x, h, w, u, b)
                found.append(h)
            states.append(found[::order])
        annotations = [torch.cat(pair) for pair in zip(*states, strict=True)]
        if kind is Bahdanau:
            s = torch.tanh(p["start.weight"] @ states[1][0] + p["start.bias"])
        else:
            summary = torch.cat([states[0][-1], states[1][0]])
            context = torch.tanh(p["summary.weight"] @ summary + p["summary.bias"])
            s = torch.tanh(p["start.weight"] @ context + p["start.bias"])
        for given, said in zip(batch.target_in[row], batch.target_out[row], strict=True):
            if said == PAD:
                break
            if kind is Bahdanau:
                query = p["alignment.query.weight"] @ s
                scores = [
                    p["alignment.v"]
                    @ torch.tanh(query + p["alignment.key.weight"] @ h + p["alignment.key.bias"])
                    for h in annotations
                ]
                weights = torch.softmax(torch.stack(scores), 0)
                context = sum(a * h for a, h in zip(weights, annotations, strict=True))
            y = p["target_embedding.weight"][given]
            t = p["output.state.weight"] @ s + p["output.state.bias"] + p["output.word.weight"] @ y
            t = t + p["output.context.weight"] @ context
            logits = (
                p["output.vocabulary.weight"] @ t.reshape(-1, 2).max(dim=1).values
                + p["output.vocabulary.bias"]
            )
            total, count = total - torch.log_softmax(logits, 0)[said], count + 1
            # The context is one more input of the decoder's GRU.
            w = torch.cat([p["word.weight"], p["context.weight"]], dim=1)
            s = gru(torch.cat([y, context]), s, w, p["recurrent.weight"], p["word.bias"])
    return total / count


@BOTH
def test_loss_and_gradients_are_those_of_the_equations(kind):
    torch = pytest.importorskip("torch")
    model, batch = made(kind), batch_of()
    loss = model.loss(batch)
    names, leaves = zip(*model.named_parameters(), strict=True)
    gradients = ta.function(lambda: (loss, ta.grad(loss, list(leaves))))()
    p = {name: torch.tensor(value, requires_grad=True) for name, value in model.state_dict().items()}
    expected = torch_loss(torch, kind, p, batch)
    expected.backward()
    assert abs(float(gradients[0]) - expected.item()) < 1e-12
    for name, found in zip(names, gradients[1], strict=True):
        wanted = p[name].grad
        wanted = np.zeros(found.shape) if wanted is None else wanted.numpy()
        np.testing.assert_allclose(found, wanted, rtol=1e-9, atol=1e-12, err_msg=name)


@BOTH
def test_padding_changes_nothing(kind):
    model, batch = made(kind), batch_of()
    grow = [(0, 0), (0, 4)], [(0, 0), (0, 3)]
    wider = replace(
        batch, source=np.pad(batch.source, grow[0], constant_values=7),  # not even 0: it must not be looked at
        target_in=np.pad(batch.target_in, grow[1]), target_out=np.pad(batch.target_out, grow[1]),
    )  # fmt: skip
    narrow, wide = (
        ta.function(lambda b: model.loss(Batch(**b))),
        ta.function(lambda b: model.loss(Batch(**b))),
    )
    assert abs(float(narrow(vars(batch))) - float(wide(vars(wider)))) < 1e-13
    one, other = (model.translate(b.source, b.source_length, 2, 6) for b in (batch, wider))
    np.testing.assert_array_equal(one.tokens, other.tokens)
    if one.attention is not None:
        assert (other.attention[:, :, 5:] == 0).all()
        assert (one.attention[1, :, 3:] == 0).all()
        np.testing.assert_allclose(one.attention.sum(axis=2), 1, atol=1e-12)


@BOTH
def test_greedy_says_the_likeliest_word_each_time(kind):
    model, batch = made(kind), batch_of()
    found = model.translate(batch.source, batch.source_length, beam=1, max_length=6)
    assert found.tokens.shape == (3, 6) and found.tokens.dtype == np.int32
    said = np.concatenate([np.full((3, 1), BOS, np.int32), found.tokens[:, :-1]], axis=1)
    logits, weights = ta.function(lambda s, n, t: model.eval()(s, n, t))(
        batch.source, batch.source_length, said
    )
    logits[:, :, [PAD, BOS]] = -np.inf
    ended = np.cumsum(said == EOS, axis=1) > 0
    np.testing.assert_array_equal(found.tokens, np.where(ended, PAD, logits.argmax(axis=2)))
    if weights is not None:
        np.testing.assert_allclose(found.attention[~ended], weights[~ended], atol=1e-12)


def log_probability(model, batch, row, words):
    """log p(words | source) of one sentence, from the loss."""
    given = np.array([[BOS, *words[:-1]]], np.int32)
    one = replace(
        batch, source=batch.source[[row]], source_length=batch.source_length[[row]],
        target_in=given, target_out=np.array([words], np.int32),
    )  # fmt: skip
    return -float(model.loss(one)) * len(words)


@BOTH
def test_scores_are_log_probabilities_and_beams_do_not_lose(kind):
    model, batch = made(kind), batch_of()
    for parameter in model.parameters():  # far from uniform, so that beams differ
        parameter.assign(parameter.numpy() * 3)
    scores = {}
    for beam in (1, 2, 6):
        found = model.translate(batch.source, batch.source_length, beam, 5)
        scores[beam] = found.score
        for row in range(3):
            words = [int(word) for word in found.tokens[row] if word != PAD]
            assert abs(found.score[row] - log_probability(model, batch, row, words)) < 1e-9
    assert (scores[6] >= scores[1] - 1e-12).all() and (scores[6] > scores[1] + 1e-6).any()


def test_states_and_weights_belong_to_the_words_of_their_beam():
    random, batch, beam, length = np.random.default_rng(2), 12, 3, 5
    tables = ta.tensor(random.standard_normal((batch, 7, 7)) * 2)
    sentence = np.repeat(np.arange(batch), beam)

    def step(said, tokens):  # the state is the number whose digits are the words so far
        said = said * 10 + tokens.reshape(-1, 1)
        return said, ta.log_softmax(tables[sentence, tokens]), said

    found = ta.function(
        lambda: beam_search(step, ta.zeros((batch * beam, 1), ta.float64), batch, beam, length)
    )()
    greedy = ta.function(
        lambda: beam_search(step, ta.zeros((batch * beam, 1), ta.float64), batch * beam, 1, length)
    )()
    assert (found.tokens != greedy.tokens[::beam]).any(axis=1).sum() > 3  # beams changed places
    for words, numbers in zip(found.tokens, found.attention, strict=True):
        for i in range(length):
            if EOS not in words[:i]:
                assert numbers[i, 0] == int("".join(map(str, (BOS, *words[:i]))))


def test_a_wide_beam_finds_the_best_of_all_sequences():
    random = np.random.default_rng(1)
    table, words, length = ta.tensor(random.standard_normal((6, 6)) * 2), 6, 3
    log_p = table.numpy() - np.log(np.exp(table.numpy()).sum(axis=1, keepdims=True))

    def step(state, tokens):
        return state, ta.log_softmax(ta.take(table, tokens)), None

    def score(sequence, penalty):
        return (
            sum(log_p[a, b] for a, b in itertools.pairwise((BOS, *sequence)))
            / ((5 + len(sequence)) / 6) ** penalty
        )

    ordinary = [EOS, 3, 4, 5]
    sequences = {
        tuple(itertools.takewhile(lambda word: word != EOS, seq)) + ((EOS,) if EOS in seq else ())
        for seq in itertools.product(ordinary, repeat=length)
    }
    for penalty in (0.0, 5.0):
        best = max(sequences, key=lambda sequence: score(sequence, penalty))
        found = ta.function(
            lambda p: beam_search(step, ta.zeros((words**2, 1), ta.float64), 1, 36, length, p)
        )(penalty)
        assert tuple(int(word) for word in found.tokens[0] if word != PAD) == best
        assert abs(found.score[0] - score(best, 0.0)) < 1e-6


def test_dropout_is_for_training_only():
    model, batch = made(Bahdanau, dropout=0.5), batch_of()
    step = ta.function(lambda b: model.loss(Batch(**b)))
    noisy = {float(step(vars(batch))) for _ in range(3)}
    assert len(noisy) == 3
    model.eval()
    assert len({float(step(vars(batch))) for _ in range(3)}) == 1
    model.train()
    model.translate(batch.source, batch.source_length, max_length=3)
    assert model.training


@pytest.mark.parametrize(
    "sizes", [{}, {"hidden": 128, "attention": 32}, {"hidden": 20, "embedding": 31, "maxout": 9}]
)
def test_the_baseline_has_as_many_parameters(sizes):
    config = BahdanauConfig(44, 48, **sizes)
    like = Seq2SeqConfig.like(config)
    model, baseline = Bahdanau(config), Seq2Seq(like)
    assert model.num_parameters() == config.num_parameters()
    assert baseline.num_parameters() == like.num_parameters()
    assert abs(baseline.num_parameters() / model.num_parameters() - 1) < 0.01


def test_the_papers_initial_values():
    model = made(Bahdanau, init="paper", hidden=30, embedding=40, attention=30)
    state = model.state_dict()
    assert (state["alignment.v"] == 0).all() and (state["word.bias"] == 0).all()
    for name in ("recurrent.weight", "encoder.weight_hh_l0"):
        for block in state[name].reshape(3, 30, 30):
            np.testing.assert_allclose(block @ block.T, np.eye(30), atol=1e-6)
    assert 0.0009 < state["alignment.key.weight"].std() < 0.0011
    assert 0.009 < state["word.weight"].std() < 0.011


def test_what_makes_no_sense_is_one_sentence():
    for changes, expected in [
        ({"hidden": 0}, "hidden must be a positive integer, but got 0"),
        ({"dropout": 1.0}, "dropout must lie in"),
        ({"init": "xavier"}, "init must be one of standard, paper, but got 'xavier'"),
    ]:
        with pytest.raises(TinyattnError, match=expected):
            replace(CONFIGS[Bahdanau], **changes)
    model, batch = made(Bahdanau), batch_of()
    with pytest.raises(ShapeError, match="beam must be an integer of at least 1, but got 0"):
        model.translate(batch.source, batch.source_length, beam=0)


def test_the_table_of_models():
    names = [entry.name for entry in models.list()]
    assert names[:2] == ["bahdanau", "seq2seq"]
    for entry in models.list():
        assert models.get(entry.name).name == entry.name and entry.paper and entry.seed
    assert ta.models.Bahdanau is Bahdanau and models.get("Bahdanau") is models.get("bahdanau") is Bahdanau
    with pytest.raises(TinyattnError, match="did you mean bahdanau\\?"):
        models.get("badanau")


def test_evaluation_in_the_order_of_the_split():
    task = tiny_mt.TinyMT(train_examples=100)
    task.test = task.test.take(np.arange(20, 27))
    model = Bahdanau.for_task(task, **SIZES, attention=3)
    answers = answers_of(model, task, "test", batch_size=3)
    found = task.score(answers, "test")
    assert found.figures.keys() == {figure.key for figure in task.figures} - {"position_error"}
    assert answers.predictions == (task.test.target.lengths + 1).sum()
    for row in (0, 6):
        source = task.test[row].source
        alone = model.translate(
            source[None], np.array([len(source)], np.int32), max_length=task.sizes()["longest_target"]
        )
        assert task.target_vocabulary.decode(alone.tokens[0]) == task.translations(answers)[row]
        width = len(source)
        for name, weights in (("attention", alone.attention[0]), ("alignment", None)):
            found_weights = answers.maps[name][row]
            np.testing.assert_allclose(found_weights[:, :width].sum(1), 1, rtol=1e-5)
            assert weights is None or np.allclose(found_weights[:, :width], weights, atol=1e-6)
    assert 20 < found.figures["perplexity"] < 100  # of 48 words, by a model that knows nothing


def test_length_buckets():
    assert length_buckets(np.arange(5, 31)) == list(tiny_mt.LENGTH_BUCKETS)
    assert length_buckets(np.array([7, 7])) == [5, 8]
    assert length_buckets(np.array([3, 12])) == [0, 5, 13]
