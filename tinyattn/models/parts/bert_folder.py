"""BERT as a folder of Hugging Face's BertForPreTraining. Weights have the same names there; what they call the decoder
is the embedding of words again, and files from before 2019 call g and b of LayerNorm gamma and beta.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tinyattn.errors import TinyattnError
from tinyattn.graph.types import fail
from tinyattn.models.parts.pretrained import Config, weights_of, write

SIZES = (
    "vocab_size", "max_position_embeddings", "hidden_size", "num_hidden_layers", "num_attention_heads",
    "intermediate_size", "type_vocab_size",
)  # fmt: skip
ACTIVATIONS = {"gelu": "gelu", "gelu_new": "gelu_tanh", "gelu_pytorch_tanh": "gelu_tanh", "relu": "relu"}
DECODER, EMBEDDING = "cls.predictions.decoder.", "bert.embeddings.word_embeddings.weight"
POSITIONS = "bert.embeddings.position_ids"
"""0, 1, 2 … as old files hold them."""


def read(folder: str | Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The fields of a BERTConfig, and the state of a BERT. Raises CheckpointError for what is none."""
    config = Config(folder)
    config.choice("model_type", "bert", {"bert": "bert"})
    config.require(is_decoder=False, add_cross_attention=False, position_embedding_type="absolute")
    sizes: dict[str, Any] = {**config.counts({name: name for name in SIZES})}
    sizes["hidden_act"] = config.choice("hidden_act", "gelu", ACTIVATIONS)
    sizes["dropout"] = float(config.get("hidden_dropout_prob", 0.1))
    sizes["layer_norm_eps"] = float(config.get("layer_norm_eps", 1e-12))
    state = {
        name.replace("LayerNorm.gamma", "LayerNorm.weight").replace("LayerNorm.beta", "LayerNorm.bias"): array
        for name, array in weights_of(folder).items()
        if name != POSITIONS
    }
    for part, same in (("weight", EMBEDDING), ("bias", "cls.predictions.bias")):
        again = state.pop(DECODER + part, None)
        if again is not None and not np.array_equal(again, state.get(same, 0)):
            must = "belong to a model whose output layer is its embedding"
            config.source.refuse(must, f"{DECODER}{part} differs")
    return sizes, state


def save(folder: str | Path, config: Mapping[str, Any], state: Mapping[str, np.ndarray]) -> None:
    """Write a BERT with the fields `config` and the given state. Raises CheckpointError when the folder can't be
    written, TinyattnError for a causal model, which there is no name of.
    """
    if config["causal"]:
        fail(TinyattnError, "save_pretrained", "a BERT must see both sides", "this one is causal")
    names = {here: there for there, here in reversed(ACTIVATIONS.items())}
    said = {name: config[name] for name in SIZES} | {
        "model_type": "bert",
        "architectures": ["BertForPreTraining"],
        "hidden_act": names[config["hidden_act"]],
        "layer_norm_eps": config["layer_norm_eps"],
        "tie_word_embeddings": True,
    }
    said |= dict.fromkeys(("hidden_dropout_prob", "attention_probs_dropout_prob"), config["dropout"])
    write(folder, said, state)
