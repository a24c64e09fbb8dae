"""The models of the registry as a PyTorch user writes them: modules with the names of ours, so that they take our
weights, and a `forward` from a task's batch to the loss.

What is a layer of torch's is one (`nn.LSTM`, `nn.GRU` with packed sequences, attention, norms); loops over steps stand
where torch has no layer; what needs no state is projected for all steps at once, as in ours. Models whose parts are
torch's own, such as BERT, are written with `scaled_dot_product_attention`.
"""

from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from .torch_captions import Captioner, ShowAttendTell
from .torch_games import DCGAN, SAGAN, Game
from .torch_language import BERT, GPT, LSTMN, LSTMLanguageModel
from .torch_memory import NTM, LSTMBits, Pointer
from .torch_parts import Batch, Holder, heads_of, inside, joined, packed, sinusoids
from .torch_snail import SNAIL
from .torch_translation import Bahdanau, LSTMNFusion, Luong, Seq2Seq, Transformer
from .torch_tuned import GPTClassifier, TunedBERT


class MLP(nn.Module):
    def __init__(self, c: Any) -> None:
        super().__init__()
        widths = [c.features, *[c.hidden] * c.layers, c.classes]
        self.layers = nn.ModuleList(nn.Linear(widths[k], widths[k + 1]) for k in range(c.layers + 1))
        self.dropout = nn.Dropout(c.dropout)

    def forward(self, batch: Batch) -> torch.Tensor:
        h = batch["images"].flatten(1)
        for number, layer in enumerate(self.layers):
            h = layer(self.dropout(torch.tanh(h)) if number else h)
        return F.cross_entropy(h, batch["label"], ignore_index=-1)


class Pooling(nn.Module):
    """Feed-forward attention, or the plain mean."""

    def __init__(self, c: Any, attention: bool) -> None:
        super().__init__()
        self.step, self.hidden = nn.Linear(c.features, c.hidden), nn.Linear(c.hidden, c.hidden)
        self.output = nn.Linear(c.hidden, 1)
        if attention:
            self.score = nn.Linear(c.hidden, 1)

    def forward(self, batch: Batch) -> torch.Tensor:
        steps, length = batch["steps"], batch["length"]
        mask = inside(length, steps.shape[1])
        states = F.leaky_relu(self.step(steps), 0.01)  # (B, T, D)
        if hasattr(self, "score"):
            scores = torch.tanh(self.score(states)).squeeze(-1)
            weights = scores.masked_fill(~mask, -torch.inf).softmax(-1)
        else:
            weights = mask / length[:, None]
        context = (weights[:, None] @ states).squeeze(1)
        found = F.leaky_relu(self.output(F.leaky_relu(self.hidden(context), 0.01)), 0.01).squeeze(-1)
        return F.mse_loss(found, batch["target"])


class Sentiment(nn.Module):
    """A bidirectional LSTM and a weighted mean of its states."""

    def __init__(self, c: Any) -> None:
        super().__init__()
        m, n = c.embedding, c.hidden
        self.words = Holder(word=nn.Embedding(c.vocabulary, m))
        self.lstm = nn.LSTM(m, n, bidirectional=True, batch_first=True)
        self.pooling = Holder(project=nn.Linear(2 * n, n), question=nn.Linear(n, 1, bias=False))
        self.hidden, self.output = nn.Linear(2 * n, n), nn.Linear(n, c.classes)

    def forward(self, batch: Batch) -> torch.Tensor:
        tokens, length = batch["tokens"], batch["length"]
        states, _ = packed(self.lstm, self.words.word(tokens), length)
        scores = self.pooling.question(torch.tanh(self.pooling.project(states))).squeeze(-1)
        weights = scores.masked_fill(~inside(length, tokens.shape[1]), -torch.inf).softmax(-1)
        context = (weights[:, None] @ states).squeeze(1)
        return F.cross_entropy(self.output(torch.relu(self.hidden(context))), batch["label"], ignore_index=-1)


class Block(nn.Module):
    """Self-attention and a network, each added and normalised."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.attention = Holder(project=nn.Linear(width, 3 * width), output=nn.Linear(width, width))
        self.norm_1, self.norm_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.hidden, self.back = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)

    def forward(self, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        q, k, v = (heads_of(part, self.heads) for part in self.attention.project(x).chunk(3, -1))
        found = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        z = self.norm_1(x + self.attention.output(joined(found)))
        return self.norm_2(z + self.back(torch.relu(self.hidden(z))))


class POSTagger(nn.Module):
    """The variant with self-attention."""

    def __init__(self, c: Any) -> None:
        super().__init__()
        parts = {"part": nn.Embedding(c.spellings, c.embedding)} if c.spellings else {}
        self.words = Holder(word=nn.Embedding(c.vocabulary, c.embedding), **parts)
        self.look = Holder(blocks=nn.ModuleList(Block(c.embedding, c.heads) for _ in range(c.layers)))
        self.hidden, self.output = nn.Linear(c.embedding, c.hidden), nn.Linear(c.hidden, c.classes)

    def forward(self, batch: Batch) -> torch.Tensor:
        tokens = batch["tokens"]
        x, mask = self.words.word(tokens), inside(batch["length"], tokens.shape[1])
        if hasattr(self.words, "part"):
            x = x + self.words.part(batch["features"]).sum(2)
        x = torch.where(mask[:, :, None], x, 0.0) + sinusoids(tokens.shape[1], x.shape[2])
        for block in self.look.blocks:
            x = block(x, mask[:, None, None])
        logits = self.output(torch.relu(self.hidden(x)))
        return F.cross_entropy(logits.flatten(0, 1), batch["tags"].flatten(), ignore_index=-1)


MODELS: dict[str, Any] = {
    "bahdanau": Bahdanau, "seq2seq": Seq2Seq, "luong": Luong, "transformer": Transformer, "gpt": GPT, "bert": BERT,
    "dcgan": DCGAN, "sagan": SAGAN, "mlp": MLP, "pos-tagger": POSTagger, "sentiment": Sentiment,
    "feedforward-attention": lambda c: Pooling(c, True), "mean-pooling": lambda c: Pooling(c, False),
    "show-attend-tell": ShowAttendTell, "captioner": Captioner,
    "lstmn": LSTMN, "lstmn-fusion": LSTMNFusion, "lstm-lm": LSTMLanguageModel,
    "gpt-classifier": GPTClassifier, "bert-classifier": TunedBERT, "bert-tagger": TunedBERT,
    "ntm": NTM, "lstm-bits": LSTMBits, "pointer": Pointer, "snail": SNAIL,
}  # fmt: skip


class Step:
    """One training step on a fixed batch; calling it returns the (first) loss before the update.

    weights: our state dict; training: `optimizer`, `learning_rate`, `beta1`, `beta2`, `clip_norm`, `weight_decay`.
    """

    def __init__(self, name: str, config: Any, weights: dict, batch: dict, training: Any) -> None:
        self.model = MODELS[name](config)
        given = {key: torch.from_numpy(value) for key, value in weights.items()}
        missing, unknown = self.model.load_state_dict(given, strict=False)
        left = [key for key in (*missing, *unknown) if "num_batches" not in key and "lm_head" not in key]
        if left and not (name == "transformer" and all("output" in key for key in left)):
            raise ValueError(f"{name}: parameters of the two differ in {left}")
        self.batch = {key: torch.from_numpy(value) for key, value in batch.items()}
        for key, value in self.batch.items():  # (cross entropy takes no other integers)
            if value.dtype == torch.int32:
                self.batch[key] = value.long()
        self.clip = training.clip_norm
        game = isinstance(self.model, Game)
        self.losses = [self.model.discriminator_loss, self.model.generator_loss] if game else [self.model]
        players = [self.model.discriminator, self.model.generator] if game else [self.model]
        self.parameters = [list(player.parameters()) for player in players]
        kind = torch.optim.AdamW if training.optimizer == "adamw" else torch.optim.Adam
        rates = [training.learning_rate, training.learning_rate * self.model.rate if game else 0]
        self.optimizers = [
            self._optimizer(kind, own, training, rate)
            for own, rate in zip(self.parameters, rates, strict=False)
        ]

    @staticmethod
    def _optimizer(kind: Any, parameters: list, training: Any, rate: float) -> torch.optim.Optimizer:
        groups = [{"params": [p for p in parameters if p.ndim > 1], "weight_decay": training.weight_decay}]
        groups.append({"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0})
        betas = training.beta1, training.beta2
        return kind([g for g in groups if g["params"]], lr=rate, betas=betas, fused=True)

    def __call__(self) -> float:
        first = None
        for loss, parameters, optimizer in zip(self.losses, self.parameters, self.optimizers, strict=True):
            optimizer.zero_grad()
            value = loss(self.batch)
            value.backward(inputs=parameters)
            if self.clip:
                nn.utils.clip_grad_norm_(parameters, self.clip)
            optimizer.step()
            first = value if first is None else first
        return first.item()
