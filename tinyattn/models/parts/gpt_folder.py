"""GPT-2 and GPT-1 as folders: their names of sizes and weights, and those here.

    here                GPT-2                    GPT-1
    transformer.wte     transformer.wte          transformer.tokens_embed
    transformer.wpe     transformer.wpe          transformer.positions_embed
    transformer.h.N     transformer.h.N          transformer.h.N
    transformer.ln_f    transformer.ln_f         (post-norm has none)

The four matrices of a block are stored (in, out) there, as their layer Conv1D has them, and (out, in) here. A folder
with nanoGPT's or minGPT's weights has them as here; which of both it is, the shape of the first c_attn tells, E rows
or 3E. The output layer is the embedding again; masks of attention that old files hold are no weights.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tinyattn.errors import TinyattnError
from tinyattn.formats import FLAG
from tinyattn.graph.types import fail
from tinyattn.models.parts.pretrained import Config, weights_of, write

TURNED = ("attn.c_attn.weight", "attn.c_proj.weight", "mlp.c_fc.weight", "mlp.c_proj.weight")
BUFFERS = (".attn.bias", ".attn.masked_bias")
GPT1_NAMES = {"tokens_embed": "wte", "positions_embed": "wpe"}
HEAD, EMBEDDING = "lm_head.weight", "transformer.wte.weight"
SIZES = {name: name for name in ("vocab_size", "n_layer", "n_head", "n_embd")}
ACTIVATIONS = {
    "gpt2": ("activation_function", "gelu_new",
             {"gelu_new": "gelu_tanh", "gelu_pytorch_tanh": "gelu_tanh", "gelu": "gelu", "relu": "relu"}),
    "openai-gpt": ("afn", "gelu", {"gelu": "gelu_tanh", "gelu_new": "gelu_tanh", "relu": "relu"}),
}  # fmt: skip
"""Where the activation is named, the usual one, and its names here: the "gelu" of GPT-1 is the approximate one."""


def read(folder: str | Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The fields of a GPTConfig, and the state of a GPT. Raises CheckpointError for what is none."""
    config, sizes = Config(folder), dict[str, Any]()
    if "block_size" in config.values:  # nanoGPT's model_args
        sizes |= config.counts({**SIZES, "block_size": "block_size"})
        named = config.choice("activation_function", "gelu", ACTIVATIONS["gpt2"][2])
        sizes |= {"bias": config.get("bias", True, FLAG), "activation": named}
        sizes["dropout"] = float(config.get("dropout", 0.0))
    else:
        kind = config.choice("model_type", "gpt2", {name: name for name in ACTIVATIONS})
        sizes |= config.counts({**SIZES, "n_positions": "block_size"})
        config.require(
            n_inner=4 * sizes["n_embd"], scale_attn_weights=True, scale_attn_by_inverse_layer_idx=False,
            add_cross_attention=False,
        )  # fmt: skip
        sizes |= {"norm_first": kind == "gpt2", "activation": config.choice(*ACTIVATIONS[kind])}
        sizes["dropout"] = float(config.get("resid_pdrop", 0.1))
    sizes["norm_epsilon"] = float(config.get("layer_norm_epsilon", 1e-5))
    state = named_here(weights_of(folder))
    if not np.array_equal(state.setdefault(HEAD, state.get(EMBEDDING, np.zeros(0))), state.get(EMBEDDING, 0)):
        config.source.refuse("belong to a model whose output layer is its embedding", f"{HEAD} differs")
    return sizes, state


def named_here(weights: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Weights of a folder, or gradients of theirs, by the names and in the orientation of this package."""
    found = {}
    for name, array in weights.items():
        name = name.removeprefix("_orig_mod.")  # of a model that torch compiled
        if name.endswith(BUFFERS):
            continue
        parts = name.removeprefix("transformer.").split(".")
        parts[0] = GPT1_NAMES.get(parts[0], parts[0])
        found[name if name == HEAD else f"transformer.{'.'.join(parts)}"] = array
    first = found.get("transformer.h.0.attn.c_attn.weight")
    turned = first is not None and first.ndim == 2 and first.shape[0] * 3 == first.shape[1]
    return {k: v.T if turned and k.endswith(TURNED) else v for k, v in found.items()}


def save(folder: str | Path, config: Mapping[str, Any], state: Mapping[str, np.ndarray]) -> None:
    """Write a GPT with the fields `config` and the given state. A model without biases is written with biases of 0,
    which is the same. Raises CheckpointError when the folder can't be written, TinyattnError for an activation that
    there is no name of.
    """
    kind = "gpt2" if config["norm_first"] else "openai-gpt"
    option, _, known = ACTIVATIONS[kind]
    names = {here: there for there, here in reversed(known.items())}
    if config["activation"] not in names:
        must = f"the activation of a {kind} folder must be one of {', '.join(names)}"
        fail(TinyattnError, "save_pretrained", must, f"got {config['activation']!r}")
    old_names = {here: there for there, here in GPT1_NAMES.items()} if kind == "openai-gpt" else {}
    weights = {}
    for name, array in state.items():
        parts = name.split(".")
        if name == HEAD:
            continue
        parts[1] = old_names.get(parts[1], parts[1])
        weights[".".join(parts)] = array.T if name.endswith(TURNED) else array
        if not config["bias"] and (len(parts) > 3 or parts[1] == "ln_f"):
            rows = array.shape[0]  # (out, in), or the shape of a norm
            weights[".".join([*parts[:-1], "bias"])] = np.zeros(rows, array.dtype)
    said = {name: config[name] for name in SIZES} | {
        "model_type": kind,
        "architectures": ["GPT2LMHeadModel" if kind == "gpt2" else "OpenAIGPTLMHeadModel"],
        "n_positions": config["block_size"],
        option: names[config["activation"]],
        "layer_norm_epsilon": config["norm_epsilon"],
        "tie_word_embeddings": True,
    }
    said |= dict.fromkeys(("resid_pdrop", "embd_pdrop", "attn_pdrop"), config["dropout"])
    write(folder, said, weights)
