"""Floor 6: the models, one file each, readable beside the paper it implements.

models.list()               every model, with its paper, the source documents that describe it, and its default task
models.get("bahdanau")      its class; "my_models.py:MyModel" is that of a user
models.Bahdanau(config)     the class itself
models.tokenizer(folder)    how a text becomes tokens, of the folder of a trained model
"""

import builtins
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from tinyattn import lookup
from tinyattn.errors import TinyattnError

MODELS = {
    "bahdanau": "bahdanau:Bahdanau",
    "seq2seq": "seq2seq:Seq2Seq",
    "luong": "luong:Luong",
    "transformer": "transformer:Transformer",
    "gpt": "gpt:GPT",
    "gpt-classifier": "gpt_classifier:GPTForLabels",
    "bert": "bert:BERT",
    "bert-classifier": "bert_classifier:BERTForLabels",
    "bert-tagger": "bert_tagger:BERTForTags",
    "bert-reader": "bert_reader:BERTForSpans",
    "dcgan": "dcgan:DCGAN",
    "sagan": "sagan:SAGAN",
    "mlp": "mlp:MLP",
    "pos-tagger": "pos_tagger:POSTagger",
    "sentiment": "sentiment:SentimentClassifier",
    "feedforward-attention": "feedforward_attention:FeedForwardAttention",
    "lstmn": "lstmn:LSTMN",
    "lstmn-fusion": "lstmn_fusion:LSTMNFusion",
    "ntm": "ntm:NTM",
    "pointer": "pointer:PointerNetwork",
    "show-attend-tell": "show_attend_tell:ShowAttendTell",
    "captioner": "captioner:Captioner",
    "snail": "snail:SNAIL",
    "lstm-lm": "lstm_lm:LSTMLanguageModel",
    "lstm-bits": "lstm_bits:LSTMBits",
    "mean-pooling": "feedforward_attention:MeanPooling",
}
"""Every model: the name on the command line, and its class."""


@dataclass(frozen=True)
class Entry:
    """What the list says of a model. seed: the source documents that describe it; task: what it is trained on by
    default; baseline: the model trained beside it."""

    name: str
    paper: str
    seed: str
    task: str
    baseline: str | None


def list() -> builtins.list[Entry]:
    """All models: of each its name, paper, documents, default task and baseline."""
    classes = [(name, get(name)) for name in MODELS]
    return [
        Entry(name, cls.paper, cls.documents, cls.recipes[0].task, cls.recipes[0].baseline)
        for name, cls in classes
    ]


def get(name: str) -> Any:
    """The class of a model by its name, or of a user's "file.py:Class". Raises TinyattnError, with the nearest
    name, for another one."""
    from tinyattn.models.model import Model

    found = lookup.find("model", name, MODELS, __name__, TinyattnError)
    if not issubclass(found, Model):
        must = "must be a subclass of tinyattn.models.Model"
        raise TinyattnError(f"[models] {name} {must}, but it is not.")
    return found


def __getattr__(name: str) -> Any:
    """What is imported when it is asked for: models, their configs (GPTConfig), Model itself, tokenizer."""
    if name in ("Model", "Objective", "Recipe", "from_task"):
        return getattr(import_module("tinyattn.models.model"), name)
    if name == "tokenizer":
        return import_module("tinyattn.models.parts.pretrained").tokenizer
    for entry in MODELS.values():
        module, _, attribute = entry.partition(":")
        if name in (attribute, f"{attribute}Config"):
            found = getattr(import_module(f"{__name__}.{module}"), attribute)
            return found if name == attribute else found.Config
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> builtins.list[str]:
    return sorted([*globals(), "Model", "tokenizer", *(entry.partition(":")[2] for entry in MODELS.values())])
