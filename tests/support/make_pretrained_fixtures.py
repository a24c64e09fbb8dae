"""What the library transformers computes with small random GPTs, live or recorded.

    python tests/support/make_pretrained_fixtures.py

writes folders tests/fixtures/gpt2 and gpt1: a model as that library saves it, and beside it, in expected.npz, what it
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


def write(kind: str, folder: Path) -> dict[str, np.ndarray]:
    """Save a random model of a kind, and say what it computes."""
    import torch
    import transformers

    name, options = KINDS[kind]
    torch.manual_seed(1)
    model = getattr(transformers, f"{name}LMHeadModel")(
        getattr(transformers, f"{name}Config")(**SIZES | options)
    )
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(torch.randn_like(weight) * 0.3)
    model.save_pretrained(folder)
    return computed(model)


def main() -> None:
    """Write the folders."""
    for kind in RECORDED:
        folder = make_fixtures.FIXTURES / kind
        np.savez_compressed(folder / "expected.npz", **write(kind, folder))
        (folder / "generation_config.json").unlink()  # nobody reads it
        sizes = ", ".join(f"{path.name} {path.stat().st_size:,}" for path in sorted(folder.iterdir()))
        print(f"{kind}: {sizes} bytes", file=sys.stderr)


if __name__ == "__main__":
    main()
