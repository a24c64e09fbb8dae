"""What is fine-tuned: BERT's body, and one new layer on top of it (Devlin et al. 2019, section 3.2 and figure 4).

    a class for the whole row     softmax(W C),  C = tanh(W_p T_[CLS])            section 4.1
    a class for each place        softmax(W T_i)                                  section 5.3, named entities
    a part of the row             P(i is its start) = softmax_i(S · T_i), its end likewise; the answer is the part
                                  i ≤ j with the highest S · T_i + E · T_j        section 4.2

    tagger = BERTTokens(BERT.from_pretrained(folder), classes=17)

The body is that of the model given, not a copy: training goes on with its parameters. Parameters have the names of
Hugging Face's BertForSequenceClassification, BertForTokenClassification and BertForQuestionAnswering.
"""

from typing import Any

import numpy as np

import tinyattn as ta
from tinyattn import nn
from tinyattn.models.bert import BERT, IGNORED


class _Tuned(nn.Module):
    """A body and dropout; what is new is N(0, 0.02²)."""

    def __init__(self, model: BERT):
        self.bert = model.bert
        self.dropout = nn.Dropout(model.config.dropout)

    def _new(self, outputs: int) -> nn.Linear:
        layer = nn.Linear(self.bert.config.hidden_size, outputs, dtype=self.bert.pooler.dense.weight.dtype)
        for weight in layer.parameters():
            weight.assign(nn.init.normal(weight.shape, std=0.02) if weight.ndim > 1 else np.zeros(outputs))
        return layer


class BERTSentence(_Tuned):
    """A class for each row of tokens: one text, or a pair."""

    def __init__(self, model: BERT, classes: int):
        super().__init__(model)
        self.classifier = self._new(classes)

    def forward(self, tokens: Any, segments: Any, length: Any) -> ta.Tensor:
        """Integers (B, T) twice and (B,) → logits (B, classes)."""
        return self.classifier(self.dropout(self.bert(tokens, segments, length)[1]))

    def loss(self, tokens: Any, segments: Any, length: Any, label: Any) -> ta.Tensor:
        """Mean −log p(label) of rows with labels (B,); −1: none."""
        return ta.cross_entropy(self(tokens, segments, length), label, ignore_index=IGNORED)


class BERTTokens(_Tuned):
    """A class for each token."""

    def __init__(self, model: BERT, classes: int):
        super().__init__(model)
        self.classifier = self._new(classes)

    def forward(self, tokens: Any, segments: Any, length: Any) -> ta.Tensor:
        """Integers (B, T) twice and (B,) → logits (B, T, classes)."""
        return self.classifier(self.dropout(self.bert(tokens, segments, length)[0]))

    def loss(self, tokens: Any, segments: Any, length: Any, labels: Any) -> ta.Tensor:
        """Mean −log p(label) of the places with labels (B, T); −1: none, as padding has."""
        return ta.cross_entropy(self(tokens, segments, length), labels, ignore_index=IGNORED)


class BERTSpan(_Tuned):
    """Where in each row an answer begins and ends."""

    def __init__(self, model: BERT):
        super().__init__(model)
        self.qa_outputs = self._new(2)  # S and E

    def forward(self, tokens: Any, segments: Any, length: Any) -> tuple[ta.Tensor, ta.Tensor]:
        """Integers (B, T) twice and (B,) → scores of each place as start and as end, (B, T) twice; −∞ in padding."""
        scores = self.qa_outputs(self.bert(tokens, segments, length)[0])
        inside = ta.arange(scores.shape[1]).reshape(1, -1) < ta.reshape(length, (-1, 1))
        return tuple(ta.where(inside, scores[:, :, k], -np.inf) for k in (0, 1))

    def loss(self, tokens: Any, segments: Any, length: Any, start: Any, end: Any) -> ta.Tensor:
        """The mean of both −log p, of starts and ends (B,)."""
        first, last = self(tokens, segments, length)
        return (ta.cross_entropy(first, start) + ta.cross_entropy(last, end)) / 2

    def answer(self, tokens: Any, segments: Any, length: Any) -> np.ndarray:
        """(B, 2) integers: the part i ≤ j with the highest score in each row, i and j included."""
        return best_span(*ta.evaluate(self(tokens, segments, length)))


def best_span(first: np.ndarray, last: np.ndarray) -> np.ndarray:
    """From scores of each place as start and as end, (B, T) twice: the part i ≤ j with the highest sum, (B, 2)."""
    count = first.shape[1]
    both = np.where(np.triu(np.ones((count, count), bool)), first[:, :, None] + last[:, None, :], -np.inf)
    return np.stack(np.divmod(both.reshape(len(both), -1).argmax(axis=1), count), axis=1)
