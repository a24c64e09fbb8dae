"""The language models of the registry, and BERT, in PyTorch: see `torch_models.py`."""

from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from .torch_parts import Batch, Holder, heads_of, inside, joined, vector


class LanguageModel(nn.Module):
    """Words in, the next word out; `states` is what tells models apart."""

    def __init__(self, c: Any) -> None:
        super().__init__()
        self.embedding = nn.Embedding(c.vocab_size, c.embedding)
        self.output = nn.Linear(c.hidden, c.vocab_size)

    def forward(self, batch: Batch) -> torch.Tensor:
        logits = self.output(self.states(self.embedding(batch["tokens"].T)))  # (T, B, V)
        return F.cross_entropy(logits.flatten(0, 1), batch["targets"].T.flatten(), ignore_index=-1)


class LSTMLanguageModel(LanguageModel):
    def __init__(self, c: Any) -> None:
        super().__init__(c)
        self.lstm = nn.LSTM(c.embedding, c.hidden, c.layers)

    def states(self, words: torch.Tensor) -> torch.Tensor:
        return self.lstm(words)[0]


class LSTMNLayer(nn.Module):
    """An LSTM that looks back at all it has read."""

    def __init__(self, inputs: int, hidden: int, attention: int) -> None:
        super().__init__()
        self.weight_ih, self.weight_hh = vector(4 * hidden, inputs), vector(4 * hidden, hidden)
        self.bias_ih, self.bias_hh = vector(4 * hidden), vector(4 * hidden)
        self.key, self.query, self.before = (
            nn.Linear(width, attention, bias=False) for width in (hidden, inputs, hidden)
        )
        self.v = vector(attention)

    def given(self, inputs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Of inputs (T, B, I): the gates' part (T, B, 4H) and the query's (T, B, A)."""
        return F.linear(inputs, self.weight_ih, self.bias_ih + self.bias_hh), self.query(inputs)

    def look(
        self, tapes: list, query: torch.Tensor, summary: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """h̃_t and c̃_t (B, H) from tapes, lists of h_i, c_i and keys."""
        if not tapes[0]:
            return torch.zeros_like(summary), torch.zeros_like(summary)
        hidden, cells, keys = (torch.stack(tape, 1) for tape in tapes)
        energy = torch.tanh((query + self.before(summary))[:, None] + keys) @ self.v
        weights = energy.softmax(-1)[:, None]
        return (weights @ hidden).squeeze(1), (weights @ cells).squeeze(1)

    def gates(self, part: torch.Tensor, summary: torch.Tensor) -> tuple[torch.Tensor, ...]:
        i, f, g, o = (part + F.linear(summary, self.weight_hh)).chunk(4, -1)
        return torch.sigmoid(i) * torch.tanh(g), torch.sigmoid(f), torch.sigmoid(o)

    def write(self, tapes: list, hidden: torch.Tensor, cell: torch.Tensor) -> None:
        for tape, value in zip(tapes, (hidden, cell, self.key(hidden)), strict=True):
            tape.append(value)

    def forward(self, inputs: torch.Tensor) -> tuple[torch.Tensor, list]:
        """(T, B, I) → h (T, B, H), and the tapes."""
        tapes: list = [[], [], []]
        summary = inputs.new_zeros(inputs.shape[1], self.weight_hh.shape[1])
        for part, query in zip(*self.given(inputs), strict=True):
            summary, cell = self.look(tapes, query, summary)
            new, forget, leave = self.gates(part, summary)
            cell = forget * cell + new
            self.write(tapes, leave * torch.tanh(cell), cell)
        return torch.stack(tapes[0]), tapes


class LSTMN(LanguageModel):
    def __init__(self, c: Any) -> None:
        super().__init__(c)
        widths = [c.embedding, *[c.hidden] * (c.layers - 1)]
        self.layers = nn.ModuleList(LSTMNLayer(width, c.hidden, c.attention) for width in widths)

    def states(self, words: torch.Tensor) -> torch.Tensor:
        for layer in self.layers:
            words, _ = layer(words)
        return words


class GPTBlock(nn.Module):
    def __init__(self, c: Any) -> None:
        super().__init__()
        width, self.heads = c.n_embd, c.n_head
        self.ln_1, self.ln_2 = (nn.LayerNorm(width, bias=c.bias) for _ in range(2))
        self.attn = Holder(c_attn=nn.Linear(width, 3 * width, c.bias), c_proj=nn.Linear(width, width, c.bias))
        self.mlp = Holder(
            c_fc=nn.Linear(width, 4 * width, c.bias), c_proj=nn.Linear(4 * width, width, c.bias)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q, k, v = (heads_of(part, self.heads) for part in self.attn.c_attn(self.ln_1(x)).chunk(3, -1))
        x = x + self.attn.c_proj(joined(F.scaled_dot_product_attention(q, k, v, is_causal=True)))
        return x + self.mlp.c_proj(F.gelu(self.mlp.c_fc(self.ln_2(x))))


class GPT(nn.Module):
    """Pre-norm, exact gelu, tied output."""

    def __init__(self, c: Any) -> None:
        super().__init__()
        self.transformer = Holder(
            wte=nn.Embedding(c.vocab_size, c.n_embd), wpe=nn.Embedding(c.block_size, c.n_embd),
            h=nn.ModuleList(GPTBlock(c) for _ in range(c.n_layer)), ln_f=nn.LayerNorm(c.n_embd, bias=c.bias),
        )  # fmt: skip
        self.lm_head = nn.Linear(c.n_embd, c.vocab_size, bias=False)
        self.lm_head.weight = self.transformer.wte.weight

    def forward(self, batch: Batch) -> torch.Tensor:
        part = self.transformer
        x = part.wte(batch["tokens"]) + part.wpe.weight[: batch["tokens"].shape[1]]
        for block in part.h:
            x = block(x)
        logits = self.lm_head(part.ln_f(x))
        return F.cross_entropy(logits.flatten(0, 1), batch["targets"].flatten(), ignore_index=-1)


class BERTLayer(nn.Module):
    def __init__(self, c: Any) -> None:
        super().__init__()
        width, self.heads = c.hidden_size, c.num_attention_heads

        def added(inputs: int) -> Holder:
            return Holder(dense=nn.Linear(inputs, width), LayerNorm=nn.LayerNorm(width, c.layer_norm_eps))

        projections = {name: nn.Linear(width, width) for name in ("query", "key", "value")}
        self.attention = nn.ModuleDict({"self": Holder(**projections), "output": added(width)})
        self.intermediate = Holder(dense=nn.Linear(width, c.intermediate_size))
        self.output = added(c.intermediate_size)

    def forward(self, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        looks, end = self.attention["self"], self.attention["output"]
        q, k, v = (heads_of(part(x), self.heads) for part in (looks.query, looks.key, looks.value))
        y = joined(F.scaled_dot_product_attention(q, k, v, attn_mask=mask))
        x = end.LayerNorm(x + end.dense(y))
        return self.output.LayerNorm(x + self.output.dense(F.gelu(self.intermediate.dense(x))))


class BERT(nn.Module):
    """With both heads of pre-training."""

    def __init__(self, c: Any) -> None:
        super().__init__()
        width, norm = c.hidden_size, {"eps": c.layer_norm_eps}
        self.bert = Holder(
            embeddings=Holder(
                word_embeddings=nn.Embedding(c.vocab_size, width),
                position_embeddings=nn.Embedding(c.max_position_embeddings, width),
                token_type_embeddings=nn.Embedding(c.type_vocab_size, width),
                LayerNorm=nn.LayerNorm(width, **norm),
            ),
            encoder=Holder(layer=nn.ModuleList(BERTLayer(c) for _ in range(c.num_hidden_layers))),
            pooler=Holder(dense=nn.Linear(width, width)),
        )
        transform = Holder(dense=nn.Linear(width, width), LayerNorm=nn.LayerNorm(width, **norm))
        self.cls = Holder(predictions=Holder(transform=transform), seq_relationship=nn.Linear(width, 2))
        self.cls.predictions.bias = vector(c.vocab_size)

    def forward(self, batch: Batch) -> torch.Tensor:
        tables, head = self.bert.embeddings, self.cls.predictions
        tokens = batch["tokens"]
        x = tables.word_embeddings(tokens) + tables.token_type_embeddings(batch["segments"])
        x = tables.LayerNorm(x + tables.position_embeddings.weight[: tokens.shape[1]])
        mask = inside(batch["length"], tokens.shape[1])[:, None, None]
        for layer in self.bert.encoder.layer:
            x = layer(x, mask)
        y = head.transform.LayerNorm(F.gelu(head.transform.dense(x)))
        words = F.linear(y, tables.word_embeddings.weight, head.bias)
        pairs = self.cls.seq_relationship(torch.tanh(self.bert.pooler.dense(x[:, 0])))
        loss = F.cross_entropy(words.flatten(0, 1), batch["targets"].flatten(), ignore_index=-1)
        return loss + F.cross_entropy(pairs, batch["following"], ignore_index=-1)
