"""BERT: what transformers computes with the same weights, recorded and live; padding, both sides, folders, errors."""

import json
import shutil
from dataclasses import replace

import make_pretrained_fixtures as fixtures
import numpy as np
import pytest
from pairs import FOLDER, batch, seen

import tinyattn as ta
from tinyattn.errors import CheckpointError, TinyattnError
from tinyattn.models import BERT, BERTConfig
from tinyattn.train import safetensors


def compare(folder, expected) -> None:
    model, given = BERT.from_pretrained(folder).to(np.float64), batch()
    words, pairs = ta.evaluate(model.logits(*seen(given)))
    inside = np.arange(7) < given.length[:, None]  # (what padding is said to be is nobody's concern)
    assert np.abs(words - expected["words"])[inside].max() < 1e-10
    assert np.abs(pairs - expected["pairs"]).max() < 1e-10
    loss, named = model.loss(given), dict(model.named_parameters())
    assert abs(float(loss) - expected["loss"]) < 1e-10
    theirs = {k.removeprefix("gradient."): v for k, v in expected.items() if k.startswith("gradient.")}
    assert named.keys() == theirs.keys()
    for name, gradient in zip(named, ta.grad(loss, [*named.values()]), strict=True):
        assert np.abs(gradient.numpy() - theirs[name]).max() < 1e-8 * max(1, np.abs(theirs[name]).max()), name
    answers = model.answer(given)
    assert np.array_equal(
        np.stack(answers.outputs)[:, 1:][inside[:, 1:]], expected["words"].argmax(-1)[:, 1:][inside[:, 1:]]
    )
    assert np.array_equal(np.stack(answers.outputs)[:, 0], expected["pairs"].argmax(-1))
    assert abs(answers.nats / answers.predictions - expected["loss"]) < 1e-10


def test_a_folder_computes_what_transformers_recorded():
    with np.load(FOLDER / "expected.npz") as expected:
        compare(FOLDER, dict(expected))


@pytest.mark.parametrize("kind", fixtures.BERTS)
def test_a_folder_computes_what_transformers_does(kind, tmp_path):
    pytest.importorskip("transformers")
    compare(tmp_path, fixtures.write_bert(kind, tmp_path))


def test_transformers_reads_what_was_written(tmp_path):
    model, given = BERT.from_pretrained(FOLDER), batch()
    model.save_pretrained(tmp_path)
    again = BERT.from_pretrained(tmp_path)
    assert again.config == model.config and not again.training
    assert float(again.loss(given)) == float(model.loss(given))
    transformers = pytest.importorskip("transformers")
    theirs, said = transformers.BertForPreTraining.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(said.values()), said
    with np.load(FOLDER / "expected.npz") as expected:
        assert np.abs(fixtures.bert_computed(theirs)["words"] - expected["words"]).max() < 1e-12


def test_padding_is_seen_by_nobody():
    model, given = BERT.from_pretrained(FOLDER).to(np.float64), batch()
    other = given.tokens.copy()
    other[np.arange(7) >= given.length[:, None]] = 5
    assert (other != given.tokens).any()
    assert float(model.loss(replace(given, tokens=other))) == float(model.loss(given))
    row = [part[1:2] for part in seen(given)]
    short = [row[0][:, :4], row[1][:, :4], row[2]]
    whole, alone = (model.logits(*part)[0].numpy()[:, :4] for part in (row, short))
    assert np.abs(whole - alone).max() < 1e-12


@pytest.mark.parametrize("causal", [False, True])
def test_a_place_sees_both_sides_unless_the_model_is_causal(causal):
    model = BERT(replace(BERT.from_pretrained(FOLDER).config, causal=causal)).to(np.float64).eval()
    model.load_state_dict(BERT.from_pretrained(FOLDER).state_dict())
    given = batch()
    before = model.logits(*seen(given))[0].numpy()[0]
    given.tokens[0, 3] = (given.tokens[0, 3] + 1) % 13
    changed = np.abs(model.logits(*seen(given))[0].numpy()[0] - before).max(axis=-1) > 1e-9
    assert changed[3:].all() and changed[:3].all() == (not causal) and changed[:3].any() == (not causal)


def test_sizes_are_those_of_the_paper():
    c = BERTConfig()
    e, f = c.hidden_size, c.intermediate_size
    layer = 4 * (e * e + e) + 2 * e * f + f + e + 4 * e
    embeddings = (c.vocab_size + c.max_position_embeddings + 2) * e + 2 * e
    assert embeddings + c.num_hidden_layers * layer + e * e + e == 109_482_240
    small = BERTConfig(50, 8, 6, 2, 2, 10)
    assert BERT(small).num_parameters() == sum(
        [(50 + 8 + 2) * 6 + 12, 2 * (4 * 42 + 120 + 10 + 6 + 24), 42, 42 + 12 + 50, 14]
    )


def test_old_names_are_read(tmp_path):
    shutil.copytree(FOLDER, tmp_path, dirs_exist_ok=True)
    weights, _ = safetensors.read(tmp_path / "model.safetensors")
    old = {
        k.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): v
        for k, v in weights.items()
    }
    old["bert.embeddings.position_ids"] = np.arange(9)[None]
    old["cls.predictions.decoder.weight"] = weights["bert.embeddings.word_embeddings.weight"]
    safetensors.write(tmp_path / "model.safetensors", old)
    with np.load(FOLDER / "expected.npz") as expected:
        compare(tmp_path, dict(expected))
    old["cls.predictions.decoder.weight"] = old["cls.predictions.decoder.weight"] + 1
    safetensors.write(tmp_path / "model.safetensors", old)
    with pytest.raises(
        CheckpointError, match="whose output layer is its embedding, but cls.predictions.decoder.weight"
    ):
        BERT.from_pretrained(tmp_path)


@pytest.mark.parametrize(
    "changes, text",
    [
        ({"model_type": "gpt2"}, "must hold one of bert as model_type, but got 'gpt2'."),
        ({"is_decoder": True}, "must hold false as is_decoder, but got True."),
        (
            {"position_embedding_type": "relative_key"},
            'must hold "absolute" as position_embedding_type, but got',
        ),
        (
            {"hidden_act": "silu"},
            "must hold one of gelu, gelu_new, gelu_pytorch_tanh, relu as hidden_act, but got 'silu'.",
        ),
    ],
)
def test_folders_that_ask_for_what_there_is_not(changes, text, tmp_path):
    shutil.copytree(FOLDER, tmp_path, dirs_exist_ok=True)
    path = tmp_path / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    with pytest.raises(CheckpointError) as error:
        BERT.from_pretrained(tmp_path)
    assert text in str(error.value)


@pytest.mark.parametrize(
    "action, text",
    [
        (lambda: BERTConfig(num_hidden_layers=0), "[BERT] num_hidden_layers must be a positive integer, but got 0."),
        (lambda: BERTConfig(hidden_size=10), "[BERT] hidden_size must be divisible by num_attention_heads = 12, but got 10."),
        (lambda: BERTConfig(dropout=1.0), "[BERT] dropout must lie in [0, 1), but got 1.0."),
        (lambda: BERTConfig(layer_norm_eps=0.0), "[BERT] layer_norm_eps must lie in (0, 1), but got 0.0."),
        (lambda: BERTConfig(hidden_act="tanh"), "[BERT] hidden_act must be one of gelu, gelu_tanh, relu, but got 'tanh'."),
        (lambda: BERT.from_pretrained(FOLDER)(np.zeros((2, 10), int), np.zeros((2, 10), int), np.full(2, 10)),
         "[BERT] at most max_position_embeddings = 9 tokens can be seen at once, but got 10."),
        (lambda: BERT.from_pretrained(FOLDER)(np.zeros((2, 3), int), np.zeros((2, 4), int), np.full(2, 3)),
         "[BERT] tokens and segments must be integers of one shape (B, T), but got i64[2, 3] and i64[2, 4]."),
    ],
)  # fmt: skip
def test_errors_say_what_must_hold(action, text):
    with pytest.raises(TinyattnError) as error:
        action()
    assert str(error.value).splitlines()[0] == text


def test_a_causal_model_has_no_folder(tmp_path):
    model = BERT(BERTConfig(**fixtures.BERT_SIZES, causal=True))
    with pytest.raises(TinyattnError, match="a BERT must see both sides, but this one is causal"):
        model.save_pretrained(tmp_path)
