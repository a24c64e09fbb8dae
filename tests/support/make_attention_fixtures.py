"""What torch computes with attention, Transformers and a GPT, live or recorded.

    python tests/support/make_attention_fixtures.py

writes tests/fixtures/attention.npz and gpt.npz, so that the comparison also runs where torch is not
installed. The numbers of a case depend on nothing but its settings.
"""

import itertools
import sys

import make_fixtures
import numpy as np

WIDTH, HEADS, BATCH, TARGET, SOURCE = 6, 2, 2, 3, 4
LAYER = {"d_model": WIDTH, "nhead": HEADS, "dim_feedforward": 5, "dropout": 0.0}

# A case: the class, its options, the arrays it is called with by name (lengths, or the kind of a mask), and
# other arguments of the call.

MASKS = {
    "none": {},
    "bool": {"attn_mask": "bool"},
    "float": {"attn_mask": "float"},
    "heads": {"attn_mask": "heads"},
    "padding": {"key_padding_mask": "bool"},
    "both": {"attn_mask": "bool", "key_padding_mask": "bool"},
    "floats": {"attn_mask": "float", "key_padding_mask": "float"},
}
OPTIONS = {
    "default": {},
    "batch-first": {"batch_first": True},
    "no-bias": {"bias": False, "batch_first": True},
    "kdim": {"kdim": 5, "vdim": 7},
    "kdim-alone": {"kdim": 5, "bias": False},
    "bias-kv": {"add_bias_kv": True},
    "zero": {"add_zero_attn": True, "batch_first": True},
    "all": {"add_bias_kv": True, "add_zero_attn": True, "kdim": 5, "vdim": 7},
}
WEIGHTS = (
    {"need_weights": False},
    {"need_weights": True},
    {"need_weights": True, "average_attn_weights": False},
)


def attention_cases() -> dict[str, dict]:
    """All masks with all options; what is said of the weights goes round, but is whole for no options."""
    found = {}
    for number, (options, mask) in enumerate(itertools.product(OPTIONS, MASKS)):
        for k in range(3) if options == "default" else [number % 3]:
            own = {"embed_dim": WIDTH, "num_heads": HEADS, **OPTIONS[options]}
            case = {"kind": "MultiheadAttention", "options": own, "masks": MASKS[mask], "call": WEIGHTS[k]}
            found[f"{options}-{mask}-{k}"] = case
    return found


TRANSFORMER_MASKS = {
    "EncoderLayer": [
        {},
        {"src_mask": "bool", "src_key_padding_mask": "bool"},
        {"src_mask": "causal"},
        {"src_mask": "float", "src_key_padding_mask": "float"},
    ],
    "DecoderLayer": [
        {},
        {"tgt_mask": "causal", "memory_key_padding_mask": "bool"},
        {"tgt_mask": "bool", "memory_mask": "bool", "tgt_key_padding_mask": "bool"},
    ],
    "Encoder": [{"mask": "causal", "src_key_padding_mask": "bool"}],
    "Decoder": [{"tgt_mask": "causal", "memory_mask": "float"}],
    "": [{"tgt_mask": "causal", "src_key_padding_mask": "bool", "memory_key_padding_mask": "bool"}],
}


def transformer_cases() -> dict[str, dict]:
    """norm_first, activation, batch_first and bias with the masks, which go round."""
    found = {}
    for kind, masks in TRANSFORMER_MASKS.items():
        for number, (norm_first, activation, flat) in enumerate(
            itertools.product((False, True), ("relu", "gelu"), (False, True))
        ):
            options = {
                **LAYER, "norm_first": norm_first, "activation": activation,
                "batch_first": flat, "bias": bool(number % 4),
            }  # fmt: skip
            own = masks[number % len(masks)]
            found[f"{kind or 'Transformer'}-{number}"] = {
                "kind": f"Transformer{kind}", "options": options, "masks": own, "call": {},
            }  # fmt: skip
    return found


CASES = attention_cases() | transformer_cases()
RECORDED = [
    "default-none-0", "default-both-1", "batch-first-heads-1", "kdim-floats-0", "all-heads-1", "no-bias-none-2",
    "EncoderLayer-1", "EncoderLayer-6", "DecoderLayer-2", "DecoderLayer-7", "Encoder-4", "Decoder-3",
    "Transformer-5",
]  # fmt: skip


def module(library, case: dict, dtype):
    """The module of a case, from torch.nn or from ours: they are asked for in the same way."""
    kind, options = case["kind"], case["options"]
    if kind in ("TransformerEncoder", "TransformerDecoder"):
        layer = getattr(library, f"{kind}Layer")(**options, dtype=dtype)
        return getattr(library, kind)(layer, 2, library.LayerNorm(WIDTH, dtype=dtype))
    if kind == "Transformer":
        options = options | {"num_encoder_layers": 2, "num_decoder_layers": 1}
    return getattr(library, kind)(**options, dtype=dtype)


def arguments(case: dict) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """The inputs and the masks of a case, in the order of the call."""
    rng, options = np.random.default_rng(3), case["options"]
    if case["kind"] == "MultiheadAttention":
        widths = {"query": WIDTH, "key": options.get("kdim", WIDTH), "value": options.get("vdim", WIDTH)}
    elif "Encoder" in case["kind"]:
        widths = {"src": WIDTH}
    else:
        widths = (
            {"tgt": WIDTH, "memory": WIDTH} if case["kind"] != "Transformer" else {"src": WIDTH, "tgt": WIDTH}
        )
    lengths = dict.fromkeys(widths, SOURCE) | {"query": TARGET, "tgt": TARGET}
    first = options.get("batch_first", False)
    inputs = {
        name: rng.standard_normal((BATCH, lengths[name], width) if first else (lengths[name], BATCH, width))
        for name, width in widths.items()
    }
    masks = {name: mask(rng, name, kind) for name, kind in case["masks"].items()}
    return inputs, masks


def mask(rng, name: str, kind: str) -> np.ndarray:
    """A mask that leaves the first key to everybody, in torch's sense: True = blocked."""
    length = TARGET if name.startswith(("tgt", "attn", "memory")) else SOURCE
    keys = TARGET if name.startswith("tgt") else SOURCE
    shape = (BATCH, keys) if name.endswith("padding_mask") else (length, keys)
    shape = (BATCH * HEADS, *shape) if kind == "heads" else shape
    blocked = rng.random(shape) < 0.4
    if kind == "causal":
        blocked = np.triu(np.ones(shape, bool), 1)
    blocked[..., 0] = False
    if kind == "float":
        return np.where(blocked, -np.inf, rng.standard_normal(shape))
    return blocked


def measured(case: dict) -> dict[str, np.ndarray]:
    """Weights, inputs, cotangents, results and gradients of a case, as float64 arrays."""
    import torch

    rng = np.random.default_rng(5)
    net = module(torch.nn, case, torch.float64)
    with torch.no_grad():
        for weight in net.parameters():
            weight.copy_(torch.from_numpy(rng.uniform(-0.8, 0.8, tuple(weight.shape))))
    inputs, masks = arguments(case)
    inputs = {name: torch.from_numpy(array).requires_grad_() for name, array in inputs.items()}
    results = net(*inputs.values(), **{k: torch.from_numpy(m) for k, m in masks.items()}, **case["call"])
    results = [r for r in (results if isinstance(results, tuple) else [results]) if r is not None]
    cotangents = [torch.from_numpy(rng.standard_normal(tuple(r.shape))) for r in results]
    sum((r * c).sum() for r, c in zip(results, cotangents, strict=True)).backward()
    found = {f"weight.{name}": weight for name, weight in net.named_parameters()}
    found |= {f"gradient.{name}": weight.grad for name, weight in net.named_parameters()}
    found |= {f"gradient_input.{name}": x.grad for name, x in inputs.items()}
    for k, (result, cotangent) in enumerate(zip(results, cotangents, strict=True)):
        found |= {f"result{k}": result, f"cotangent{k}": cotangent}
    return {name: value.detach().numpy() for name, value in found.items()}


# GPT: 50 updates of nanoGPT's recipe for a CPU.

RECIPE = {"vocab_size": 65, "block_size": 64, "n_layer": 4, "n_head": 4, "n_embd": 128, "bias": False}
ADAMW = {"lr": 1e-3, "betas": (0.9, 0.99), "weight_decay": 0.1}
TEXTS, UPDATES = 12, 50


def text_batches(updates: int = UPDATES, batch: int = TEXTS):
    """(tokens, targets) of (batch, 64) each: a text in which each letter has four likely followers."""
    rng = np.random.default_rng(0)
    letters, size = RECIPE["vocab_size"], 20_000
    followers = rng.integers(0, letters, (letters, 4))
    choice, chance, other = rng.integers(0, 4, size), rng.random(size), rng.integers(0, letters, size)
    text = np.zeros(size, np.int64)
    for place in range(1, size):
        text[place] = followers[text[place - 1], choice[place]] if chance[place] < 0.9 else other[place]
    for _ in range(updates):
        starts = rng.integers(0, len(text) - RECIPE["block_size"] - 1, batch)
        rows = text[starts[:, None] + np.arange(RECIPE["block_size"] + 1)]
        yield rows[:, :-1], rows[:, 1:]


def gpt_logits(w: dict, tokens, config: dict):
    """A GPT in plain torch: ``w`` its state dict, tokens (B, T) → logits (B, T, V)."""
    return gpt_hidden(w, tokens, config) @ w["transformer.wte.weight"].T


def gpt_hidden(w: dict, tokens, config: dict):
    """Its h_L, (B, T, E), written from the equations of Radford et al. 2018 and 2019; gelu is the exact one unless
    ``config["activation"]`` says otherwise.
    """
    import torch
    from torch.nn import functional as f

    heads, norm_first = config["n_head"], config.get("norm_first", True)
    approximate = "tanh" if config.get("activation") == "gelu_tanh" else "none"

    def norm(x, name):
        return f.layer_norm(x, x.shape[-1:], w[f"{name}.weight"], w.get(f"{name}.bias"))

    def linear(x, name):
        return f.linear(x, w[f"{name}.weight"], w.get(f"{name}.bias"))

    def attention(x, name):
        batch, length, width = x.shape
        parts = linear(x, f"{name}.c_attn").split(width, dim=2)
        q, k, v = (p.view(batch, length, heads, -1).transpose(1, 2) for p in parts)
        scores = q @ k.transpose(2, 3) / (width // heads) ** 0.5
        later = torch.ones(length, length, dtype=torch.bool).triu(1)
        mixed = scores.masked_fill(later, -torch.inf).softmax(-1) @ v
        return linear(mixed.transpose(1, 2).reshape(x.shape), f"{name}.c_proj")

    def network(x, name):
        return linear(f.gelu(linear(x, f"{name}.c_fc"), approximate=approximate), f"{name}.c_proj")

    x = w["transformer.wte.weight"][tokens] + w["transformer.wpe.weight"][: tokens.shape[1]]
    for layer in range(config["n_layer"]):
        name = f"transformer.h.{layer}"
        if norm_first:
            x = x + attention(norm(x, f"{name}.ln_1"), f"{name}.attn")
            x = x + network(norm(x, f"{name}.ln_2"), f"{name}.mlp")
        else:
            x = norm(x + attention(x, f"{name}.attn"), f"{name}.ln_1")
            x = norm(x + network(x, f"{name}.mlp"), f"{name}.ln_2")
    return norm(x, "transformer.ln_f") if norm_first else x


def gpt_losses(weights: dict[str, np.ndarray], batches=None) -> np.ndarray:
    """The losses of the recipe, from these weights: clip to norm 1, AdamW that spares norms."""
    import torch

    w = {name: torch.from_numpy(array.copy()).requires_grad_() for name, array in weights.items()}
    w.pop("lm_head.weight")  # tied to the embedding
    groups = [
        {"params": [x for x in w.values() if x.ndim > 1]},
        {"params": [x for x in w.values() if x.ndim < 2], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, **ADAMW)
    losses = []
    for tokens, targets in text_batches() if batches is None else batches:
        logits = gpt_logits(w, torch.from_numpy(tokens), RECIPE)
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), torch.from_numpy(targets).flatten())
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(list(w.values()), 1.0)
        optimizer.step()
        losses.append(float(loss.detach()))
    return np.array(losses)


def gpt_weights() -> dict[str, np.ndarray]:
    """The weights the recipe starts from."""
    import tinyattn as ta
    from tinyattn.models.gpt import GPT, GPTConfig

    ta.manual_seed(0)
    return GPT(GPTConfig(**RECIPE, activation="gelu")).state_dict()


def main() -> None:
    """Write the files."""
    parts = make_fixtures.flat({name: measured(CASES[name]) for name in RECORDED})
    np.savez_compressed(make_fixtures.FIXTURES / "attention.npz", **parts)
    np.savez_compressed(make_fixtures.FIXTURES / "gpt.npz", losses=gpt_losses(gpt_weights()))
    for name in ("attention.npz", "gpt.npz"):
        print(f"{name}: {(make_fixtures.FIXTURES / name).stat().st_size:,} bytes", file=sys.stderr)


if __name__ == "__main__":
    main()
