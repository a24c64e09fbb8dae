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
        width, self.heads, self.norm_first = c.n_embd, c.n_head, c.norm_first
        self.gelu = nn.GELU("tanh" if c.activation == "gelu_tanh" else "none")
        self.dropout = nn.Dropout(c.dropout)
        self.ln_1, self.ln_2 = (nn.LayerNorm(width, c.norm_epsilon, bias=c.bias) for _ in range(2))
        self.attn = Holder(c_attn=nn.Linear(width, 3 * width, c.bias), c_proj=nn.Linear(width, width, c.bias))
        self.mlp = Holder(
            c_fc=nn.Linear(width, 4 * width, c.bias), c_proj=nn.Linear(4 * width, width, c.bias)
        )

    def look(self, x: torch.Tensor) -> torch.Tensor:
        q, k, v = (heads_of(part, self.heads) for part in self.attn.c_attn(x).chunk(3, -1))
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True, dropout_p=self.dropout.p)
        return self.dropout(self.attn.c_proj(joined(y)))

    def think(self, x: torch.Tensor) -> torch.Tensor:
        return self.dropout(self.mlp.c_proj(self.gelu(self.mlp.c_fc(x))))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.norm_first:
            x = x + self.look(self.ln_1(x))
            return x + self.think(self.ln_2(x))
        x = self.ln_1(x + self.look(x))
        return self.ln_2(x + self.think(x))


class GPTBody(nn.Module):
    """From tokens (B, T) to h_L (B, T, m)."""

    def __init__(self, c: Any) -> None:
        super().__init__()
        self.wte, self.wpe = nn.Embedding(c.vocab_size, c.n_embd), nn.Embedding(c.block_size, c.n_embd)
        self.dropout = nn.Dropout(c.dropout)
        self.h = nn.ModuleList(GPTBlock(c) for _ in range(c.n_layer))
        self.ln_f = nn.LayerNorm(c.n_embd, c.norm_epsilon, bias=c.bias) if c.norm_first else nn.Identity()

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        x = self.dropout(self.wte(tokens) + self.wpe.weight[: tokens.shape[1]])
        for block in self.h:
            x = block(x)
        return self.ln_f(x)


class GPT(nn.Module):
    """With a tied output."""

    def __init__(self, c: Any) -> None:
        super().__init__()
        self.transformer = GPTBody(c)
        self.lm_head = nn.Linear(c.n_embd, c.vocab_size, bias=False)
        self.lm_head.weight = self.transformer.wte.weight

    def forward(self, batch: Batch) -> torch.Tensor:
        logits = self.lm_head(self.transformer(batch["tokens"]))
        return F.cross_entropy(logits.flatten(0, 1), batch["targets"].flatten(), ignore_index=-1)


class BERTLayer(nn.Module):
    def __init__(self, c: Any) -> None:
        super().__init__()
        width, self.heads = c.hidden_size, c.num_attention_heads
        self.dropout = nn.Dropout(c.dropout)

        def added(inputs: int) -> Holder:
            return Holder(dense=nn.Linear(inputs, width), LayerNorm=nn.LayerNorm(width, c.layer_norm_eps))

        projections = {name: nn.Linear(width, width) for name in ("query", "key", "value")}
        self.attention = nn.ModuleDict({"self": Holder(**projections), "output": added(width)})
        self.intermediate = Holder(dense=nn.Linear(width, c.intermediate_size))
        self.output = added(c.intermediate_size)

    def forward(self, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        looks, end = self.attention["self"], self.attention["output"]
        q, k, v = (heads_of(part(x), self.heads) for part in (looks.query, looks.key, looks.value))
        y = joined(F.scaled_dot_product_attention(q, k, v, attn_mask=mask, dropout_p=self.dropout.p))
        x = end.LayerNorm(x + self.dropout(end.dense(y)))
        y = self.output.dense(F.gelu(self.intermediate.dense(x)))
        return self.output.LayerNorm(x + self.dropout(y))


class BERTBody(nn.Module):
    """From tokens and their segments (B, T) to T (B, T, m); `pooled` is tanh(W_p T_[CLS])."""

    def __init__(self, c: Any) -> None:
        super().__init__()
        width = c.hidden_size
        self.embeddings = Holder(
            word_embeddings=nn.Embedding(c.vocab_size, width),
            position_embeddings=nn.Embedding(c.max_position_embeddings, width),
            token_type_embeddings=nn.Embedding(c.type_vocab_size, width),
            LayerNorm=nn.LayerNorm(width, c.layer_norm_eps),
        )
        self.dropout = nn.Dropout(c.dropout)
        self.encoder = Holder(layer=nn.ModuleList(BERTLayer(c) for _ in range(c.num_hidden_layers)))
        self.pooler = Holder(dense=nn.Linear(width, width))

    def forward(self, tokens: torch.Tensor, segments: torch.Tensor, length: torch.Tensor) -> torch.Tensor:
        tables, steps = self.embeddings, tokens.shape[1]
        x = tables.word_embeddings(tokens) + tables.token_type_embeddings(segments)
        x = self.dropout(tables.LayerNorm(x + tables.position_embeddings.weight[:steps]))
        mask = inside(length, steps)[:, None, None]
        for layer in self.encoder.layer:
            x = layer(x, mask)
        return x

    def pooled(self, x: torch.Tensor) -> torch.Tensor:
        return torch.tanh(self.pooler.dense(x[:, 0]))


class BERT(nn.Module):
    """With both heads of pre-training."""

    def __init__(self, c: Any) -> None:
        super().__init__()
        width = c.hidden_size
        self.bert = BERTBody(c)
        transform = Holder(dense=nn.Linear(width, width), LayerNorm=nn.LayerNorm(width, c.layer_norm_eps))
        self.cls = Holder(predictions=Holder(transform=transform), seq_relationship=nn.Linear(width, 2))
        self.cls.predictions.bias = vector(c.vocab_size)

    def forward(self, batch: Batch) -> torch.Tensor:
        head = self.cls.predictions
        x = self.bert(batch["tokens"], batch["segments"], batch["length"])
        y = head.transform.LayerNorm(F.gelu(head.transform.dense(x)))
        words = F.linear(y, self.bert.embeddings.word_embeddings.weight, head.bias)
        pairs = self.cls.seq_relationship(self.bert.pooled(x))
        loss = F.cross_entropy(words.flatten(0, 1), batch["targets"].flatten(), ignore_index=-1)
        return loss + F.cross_entropy(pairs, batch["following"], ignore_index=-1)
