"""What the library transformers computes with small random GPTs and BERTs, live or recorded.

    python tests/support/make_pretrained_fixtures.py

writes folders tests/fixtures/gpt2, gpt1 and bert: a model as that library saves it, and beside it, in expected.npz, what it
computes in float64, so that the comparison also runs where the library is not installed.
"""

import sys
from pathlib import Path

import make_fixtures
import numpy as np

SIZES = {"vocab_size": 11, "n_positions": 8, "n_embd": 6, "n_layer": 2, "n_head": 2}
KINDS = {
    "gpt2": ("GPT2", {}),
    "gpt1": ("OpenAIGPT", {}),
    "gpt2-erf": ("GPT2", {"activation_function": "gelu", "layer_norm_epsilon": 1e-3}),
    "gpt1-relu": ("OpenAIGPT", {"afn": "relu"}),
}
RECORDED = ("gpt2", "gpt1")
BERT_SIZES = {
    "vocab_size": 13, "hidden_size": 6, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 10,
    "max_position_embeddings": 9,
}  # fmt: skip
BERTS = {"bert": {}, "bert-tanh": {"hidden_act": "gelu_new", "layer_norm_eps": 1e-3}}


def tokens() -> np.ndarray:
    """(3, 8) integers."""
    return np.random.default_rng(0).integers(0, SIZES["vocab_size"], (3, SIZES["n_positions"]))


def computed(model) -> dict[str, np.ndarray]:
    """Logits, the loss, its gradients, and how a greedy text goes on, in float64."""
    import torch

    model = model.double().eval()
    x = torch.from_numpy(tokens())
    logits = model(x).logits
    loss = torch.nn.functional.cross_entropy(
        logits[:, :-1].flatten(0, 1), x[:, 1:].flatten()
    )  # (its own is float32)
    loss.backward()
    written = model.generate(x[:, :3], max_new_tokens=5, do_sample=False, pad_token_id=0)
    arrays = {f"gradient.{name}": weight.grad for name, weight in model.named_parameters()}
    arrays |= {"logits": logits.detach(), "loss": loss.detach(), "written": written}
    return {name: array.numpy() for name, array in arrays.items()}


def bert_inputs() -> dict[str, np.ndarray]:
    """Three rows of which two are padded, words to be predicted in them (-1: none), and whether pairs follow. No token is
    0: that library gives its embedding no gradient.
    """
    rng = np.random.default_rng(0)
    tokens, length = rng.integers(1, 13, (3, 7)), np.array([7, 4, 6])
    behind = np.arange(7) >= length[:, None]
    targets = np.where((rng.random((3, 7)) < 0.5) & ~behind, rng.integers(0, 13, (3, 7)), -1)
    segments = (np.arange(7) >= np.array([[3], [2], [4]])) & ~behind
    return {
        "tokens": tokens, "segments": segments.astype(np.int64), "length": length, "targets": targets,
        "following": np.array([0, 1, 1]),
    }  # fmt: skip


def bert_computed(model) -> dict[str, np.ndarray]:
    """Logits, the loss (mean over words plus mean over pairs) and its gradients, in float64."""
    import torch

    model = model.double().eval()
    given = {name: torch.from_numpy(array) for name, array in bert_inputs().items()}
    seen = torch.arange(7) < given["length"][:, None]
    found = model(given["tokens"], attention_mask=seen.long(), token_type_ids=given["segments"])
    words, pairs = found.prediction_logits, found.seq_relationship_logits
    loss = torch.nn.functional.cross_entropy(words.flatten(0, 1), given["targets"].flatten(), ignore_index=-1)
    loss = loss + torch.nn.functional.cross_entropy(pairs, given["following"])
    loss.backward()
    arrays = {f"gradient.{name}": weight.grad for name, weight in model.named_parameters()}
    arrays |= {"words": words.detach(), "pairs": pairs.detach(), "loss": loss.detach()}
    return {name: array.numpy() for name, array in arrays.items()}


def saved(model, folder: Path):
    """The model, with larger weights that tell tokens apart, and in a folder."""
    import torch

    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(torch.randn_like(weight) * 0.3)
    model.save_pretrained(folder)
    return model


def write_bert(kind: str, folder: Path) -> dict[str, np.ndarray]:
    """Save a random BERT of a kind, and say what it computes."""
    import torch
    import transformers

    torch.manual_seed(1)
    config = transformers.BertConfig(**BERT_SIZES | BERTS[kind])
    return bert_computed(saved(transformers.BertForPreTraining(config), folder))


def write(kind: str, folder: Path) -> dict[str, np.ndarray]:
    """Save a random model of a kind, and say what it computes."""
    import torch
    import transformers

    name, options = KINDS[kind]
    torch.manual_seed(1)
    model = getattr(transformers, f"{name}LMHeadModel")(
        getattr(transformers, f"{name}Config")(**SIZES | options)
    )
    return computed(saved(model, folder))


def main() -> None:
    """Write the folders."""
    for kind in (*RECORDED, "bert"):
        folder = make_fixtures.FIXTURES / kind
        folder.mkdir(exist_ok=True)
        expected = write_bert(kind, folder) if kind in BERTS else write(kind, folder)
        np.savez_compressed(folder / "expected.npz", **expected)
        (folder / "generation_config.json").unlink(missing_ok=True)  # nobody reads it
        sizes = ", ".join(f"{path.name} {path.stat().st_size:,}" for path in sorted(folder.iterdir()))
        print(f"{kind}: {sizes} bytes", file=sys.stderr)


if __name__ == "__main__":
    main()
