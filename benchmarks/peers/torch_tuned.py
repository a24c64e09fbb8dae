"""What is fine-tuned, in PyTorch: see `torch_models.py`."""

from dataclasses import replace
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from .torch_language import BERTBody, GPTBody
from .torch_parts import Batch, Holder, inside


def enclosed(batch: Batch, first: int, last: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Texts (B, T) → first x last (B, T + 2), 0 behind the end, and their lengths."""
    tokens, end = F.pad(batch["tokens"], (1, 1)), batch["length"] + 1
    tokens[:, 0] = first
    return tokens.scatter(1, end[:, None], last), end + 1


class GPTClassifier(nn.Module):
    """A label for each text, and the language model's loss beside it."""

    def __init__(self, c: Any) -> None:
        super().__init__()
        self.auxiliary, self.words = c.auxiliary, c.vocabulary
        self.tuned = Holder(
            gpt=Holder(transformer=GPTBody(replace(c.body, vocab_size=c.vocabulary + 3))),
            dropout=nn.Dropout(c.dropout), classifier=nn.Linear(c.n_embd, c.classes, bias=False),
        )  # fmt: skip

    def forward(self, batch: Batch) -> torch.Tensor:
        tokens, length = enclosed(batch, self.words, self.words + 2)
        body = self.tuned.gpt.transformer
        hidden = body(tokens)
        last = hidden[torch.arange(len(hidden)), length - 1]
        logits = self.tuned.classifier(self.tuned.dropout(last))
        words = F.linear(hidden[:, :-1], body.wte.weight)
        following = tokens[:, 1:].masked_fill(~inside(length - 1, words.shape[1]), -1)
        auxiliary = F.cross_entropy(words.flatten(0, 1), following.flatten(), ignore_index=-1)
        return F.cross_entropy(logits, batch["label"], ignore_index=-1) + self.auxiliary * auxiliary


class TunedBERT(nn.Module):
    """BERT's body and a layer for the label of each text, or for the tag of each word."""

    def __init__(self, c: Any) -> None:
        super().__init__()
        self.words = c.vocabulary
        layer = nn.Linear(c.hidden_size, c.classes)
        self.tuned = Holder(bert=BERTBody(c.body), dropout=nn.Dropout(c.dropout), classifier=layer)

    def forward(self, batch: Batch) -> torch.Tensor:
        tokens, length = enclosed(batch, self.words, self.words + 1)
        part = self.tuned
        x = part.bert(tokens, torch.zeros_like(tokens), length)
        if "label" in batch:
            logits = part.classifier(part.dropout(part.bert.pooled(x)))
            return F.cross_entropy(logits, batch["label"], ignore_index=-1)
        logits = part.classifier(part.dropout(x))[:, 1:-1]
        return F.cross_entropy(logits.flatten(0, 1), batch["tags"].flatten(), ignore_index=-1)
