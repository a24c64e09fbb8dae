"""Folders of trained models: what transformers computes with them, recorded and live; written and read again; refused in
one sentence.
"""

import json
import shutil
from pathlib import Path

import make_fixtures
import make_pretrained_fixtures as fixtures
import numpy as np
import pytest

import tinyattn as ta
from tinyattn.errors import CheckpointError, TinyattnError
from tinyattn.models import GPT, GPTConfig
from tinyattn.models.parts import gpt_folder
from tinyattn.train import safetensors


def compare(folder: Path, expected) -> None:
    """A GPT of a folder beside what transformers computes with it."""
    model = GPT.from_pretrained(folder).to(np.float64)
    x = fixtures.tokens()
    assert np.abs(model(x).numpy() - expected["logits"]).max() < 1e-10
    loss = model.loss(x[:, :-1], x[:, 1:])
    assert abs(float(loss) - expected["loss"]) < 1e-10
    theirs = {k.removeprefix("gradient."): v for k, v in expected.items() if k.startswith("gradient.")}
    theirs = gpt_folder.named_here(theirs)
    named = dict(model.named_parameters())
    assert theirs.keys() == named.keys()
    for (name, _), gradient in zip(named.items(), ta.grad(loss, [*named.values()]), strict=True):
        assert np.abs(gradient.numpy() - theirs[name]).max() < 1e-8 * max(1, np.abs(theirs[name]).max()), name
    assert np.array_equal(model.generate(x[:, :3], 5, temperature=0), expected["written"])


@pytest.mark.parametrize("kind", fixtures.RECORDED)
def test_a_folder_computes_what_transformers_recorded(kind):
    with np.load(make_fixtures.FIXTURES / kind / "expected.npz") as expected:
        compare(make_fixtures.FIXTURES / kind, dict(expected))


@pytest.mark.parametrize("kind", fixtures.KINDS)
def test_a_folder_computes_what_transformers_does(kind, tmp_path):
    pytest.importorskip("transformers")
    compare(tmp_path, fixtures.write(kind, tmp_path))


def small(**changes) -> GPT:
    ta.manual_seed(0)
    sizes = {"vocab_size": 11, "block_size": 8, "n_layer": 2, "n_head": 2, "n_embd": 6, "dropout": 0.25}
    model = GPT(GPTConfig(**sizes | changes))
    rng = np.random.default_rng(1)
    for weight in model.parameters():
        weight.assign(rng.standard_normal(weight.shape) * 0.5 + (weight.ndim == 1))
    return model.eval()


CHANGES = [{}, {"norm_first": False}, {"bias": False}, {"activation": "relu", "norm_epsilon": 1e-3}]


@pytest.mark.parametrize("changes", CHANGES)
def test_a_model_that_was_written_is_read_again(changes, tmp_path):
    model = small(**changes)
    model.save_pretrained(tmp_path / "new" / "folder")
    again = GPT.from_pretrained(tmp_path / "new" / "folder")
    assert not again.training and vars(again.config) == vars(model.config) | {"bias": True}
    assert np.array_equal(again(fixtures.tokens()).numpy(), model(fixtures.tokens()).numpy())


@pytest.mark.parametrize("changes", CHANGES)
def test_transformers_reads_what_was_written(changes, tmp_path):
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    model = small(**changes)
    model.save_pretrained(tmp_path)
    theirs, said = transformers.AutoModelForCausalLM.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(said.values()), said
    logits = theirs.double()(torch.from_numpy(fixtures.tokens())).logits.detach().numpy()
    assert np.abs(model.to(np.float64)(fixtures.tokens()).numpy() - logits).max() < 1e-10


def test_weights_of_nanogpt(tmp_path):
    """Its names, its orientation, its exact gelu, no biases, and a compiled model's prefix."""
    model = small(bias=False, activation="gelu")
    sizes = {
        k: v
        for k, v in vars(model.config).items()
        if k in ("vocab_size", "block_size", "n_layer", "n_head", "n_embd")
    }
    (tmp_path / "config.json").write_text(json.dumps(sizes | {"bias": False, "dropout": 0.25}))
    weights = {f"_orig_mod.{k}": v for k, v in model.state_dict().items()}
    safetensors.write(tmp_path / "model.safetensors", weights)
    again = GPT.from_pretrained(tmp_path)
    assert again.config == model.config
    assert np.array_equal(again(fixtures.tokens()).numpy(), model(fixtures.tokens()).numpy())


def test_old_files_have_no_prefix_and_hold_masks(tmp_path):
    """As that of the first GPT-2: no "transformer." in front, and buffers of attention."""
    shutil.copytree(make_fixtures.FIXTURES / "gpt2", tmp_path, dirs_exist_ok=True)
    weights, _ = safetensors.read(tmp_path / "model.safetensors")
    old = {k.removeprefix("transformer."): v for k, v in weights.items()}
    old |= {"h.0.attn.bias": np.ones((1, 1, 8, 8), np.uint8), "h.1.attn.masked_bias": np.array(-1e4)}
    safetensors.write(tmp_path / "model.safetensors", old)
    with np.load(tmp_path / "expected.npz") as expected:
        compare(tmp_path, dict(expected))


# Refused.


def refused(tmp_path, weights=None, **changes) -> str:
    shutil.copytree(make_fixtures.FIXTURES / "gpt2", tmp_path, dirs_exist_ok=True)
    path = tmp_path / "config.json"
    config = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({k: v for k, v in config.items() if v != "missing"}))
    if weights:
        found, _ = safetensors.read(tmp_path / "model.safetensors")
        safetensors.write(tmp_path / "model.safetensors", weights(found))
    with pytest.raises(CheckpointError) as error:
        GPT.from_pretrained(tmp_path)
    return str(error.value).splitlines()[0].replace(str(tmp_path), "DIR")


@pytest.mark.parametrize(
    "changes, text",
    [
        ({"n_layer": 0}, "DIR/config.json must hold a positive whole number as n_layer, but got 0."),
        ({"n_layer": "missing"}, "DIR/config.json must hold n_layer, but it does not."),
        ({"model_type": "llama"}, "DIR/config.json must hold one of gpt2, openai-gpt as model_type, but got 'llama'."),
        ({"activation_function": "silu"},
         "DIR/config.json must hold one of gelu_new, gelu_pytorch_tanh, gelu, relu as activation_function, but got 'silu'."),
        ({"n_inner": 7}, "DIR/config.json must hold 24 as n_inner, but got 7."),
        ({"scale_attn_by_inverse_layer_idx": True},
         "DIR/config.json must hold false as scale_attn_by_inverse_layer_idx, but got True."),
    ],
)  # fmt: skip
def test_configs_that_ask_for_what_there_is_not(changes, text, tmp_path):
    assert refused(tmp_path, **changes) == f"[from_pretrained] {text}"


def test_weights_that_do_not_fit(tmp_path):
    def other_head(weights):
        return weights | {"lm_head.weight": weights["transformer.wte.weight"] + 1}

    found = refused(tmp_path / "a", other_head)
    assert "must belong to a model whose output layer is its embedding, but lm_head.weight differs." in found
    found = refused(tmp_path / "b", lambda w: {k: v for k, v in w.items() if "ln_f" not in k})
    assert "transformer.ln_f.weight" in found
    found = refused(tmp_path / "c", n_embd=12, n_inner=None)
    assert "transformer" in found
    shutil.rmtree(tmp_path / "c")
    with pytest.raises(CheckpointError, match="must be readable, but it is not"):
        GPT.from_pretrained(tmp_path / "c")
    (tmp_path / "b" / "model.safetensors").rename(tmp_path / "b" / "model.safetensors.index.json")
    with pytest.raises(
        CheckpointError, match="must hold all weights in one model.safetensors, but they are in sev"
    ):
        GPT.from_pretrained(tmp_path / "b")


def test_an_activation_without_a_name_is_not_written(tmp_path):
    with pytest.raises(
        TinyattnError, match="the activation of a openai-gpt folder must be one of relu, gelu_tanh"
    ):
        small(norm_first=False, activation="gelu").save_pretrained(tmp_path)


# Texts.


def test_tokens_of_a_folder(tmp_path):
    library = pytest.importorskip("tokenizers")
    with pytest.raises(
        CheckpointError, match="must hold tokenizer.json, vocab.txt, or vocab.json and merges.txt, but it"
    ):
        ta.models.tokenizer(tmp_path)
    made = library.ByteLevelBPETokenizer()
    made.train_from_iterator(["the red fox sees the red tree"] * 9, vocab_size=300)
    made.save_model(str(tmp_path))
    text = "the red fox"
    ids = ta.models.tokenizer(tmp_path).encode(text).ids
    assert ids == made.encode(text).ids and ta.models.tokenizer(tmp_path).decode(ids) == text
    small(vocab_size=300).save_pretrained(tmp_path)
    tokens = GPT.from_pretrained(tmp_path).generate([ids], 2, temperature=0)
    assert ta.models.tokenizer(tmp_path).decode(tokens[0]).startswith(text)
    made.save(str(tmp_path / "tokenizer.json"))
    assert ta.models.tokenizer(tmp_path).encode(text).ids == ids
    (tmp_path / "tokenizer.json").write_text("{")
    with pytest.raises(CheckpointError, match="must hold the files of a tokenizer, but they are damaged"):
        ta.models.tokenizer(tmp_path)


def test_words_of_bert(tmp_path):
    pytest.importorskip("tokenizers")
    (tmp_path / "vocab.txt").write_text(
        "\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "fox", "##es", "Fox"])
    )
    assert ta.models.tokenizer(tmp_path).encode("Foxes").ids == [2, 5, 6, 3]
    (tmp_path / "tokenizer_config.json").write_text('{"do_lower_case": false}')
    assert ta.models.tokenizer(tmp_path).encode("Foxes").ids == [2, 7, 6, 3]
