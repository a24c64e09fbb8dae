"""The translation models of the registry in PyTorch: see `torch_models.py`."""

import math
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from .torch_language import LSTMNLayer
from .torch_parts import Batch, Holder, inside, packed, sinusoids, vector


def loss_of(logits: torch.Tensor, batch: Batch) -> torch.Tensor:
    """Logits (T, B, K): the mean −log p of the target words, of padding 0 none."""
    return F.cross_entropy(logits.flatten(0, 1), batch["target_out"].T.flatten(), ignore_index=0)


class Translator(nn.Module):
    """The common part of the recurrent encoder-decoders with GRUs: encoder and deep output."""

    def __init__(self, c: Any, context: int, summary: int) -> None:
        super().__init__()
        m, n = c.embedding, c.hidden
        self.source_embedding = nn.Embedding(c.source_vocabulary, m)
        self.target_embedding = nn.Embedding(c.target_vocabulary, m)
        self.encoder = nn.GRU(m, n, bidirectional=True, batch_first=True)
        self.start = nn.Linear(summary, n)
        self.word, self.context = nn.Linear(m, 3 * n), nn.Linear(context, 3 * n, bias=False)
        self.output = Holder(
            state=nn.Linear(n, 2 * c.maxout), word=nn.Linear(m, 2 * c.maxout, bias=False),
            context=nn.Linear(context, 2 * c.maxout, bias=False),
            vocabulary=nn.Linear(c.maxout, c.target_vocabulary),
        )  # fmt: skip

    def read(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """Annotations (B, S, 2n) and last states (2, B, n)."""
        return packed(self.encoder, self.source_embedding(batch["source"]), batch["source_length"])

    def words(self, batch: Batch) -> torch.Tensor:
        """E y (T, B, m), 0 at padding."""
        said = batch["target_in"].T
        return torch.where(said[:, :, None] != 0, self.target_embedding(said), 0.0)

    def say(self, states: torch.Tensor, words: torch.Tensor, contexts: torch.Tensor) -> torch.Tensor:
        """All steps at once → logits (T, B, K)."""
        part = self.output
        hidden = part.state(states) + part.word(words) + part.context(contexts)
        return part.vocabulary(hidden.unflatten(-1, (-1, 2)).amax(-1))


def gru(
    part: torch.Tensor, state: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None
) -> torch.Tensor:
    """A step: with a bias torch's, the reset behind the product; without it that of Bahdanau et al. (2015), before the
    product and with z for the new value."""
    n = state.shape[1]
    if bias is None:
        r, z = torch.sigmoid(part[:, : 2 * n] + F.linear(state, weight[: 2 * n])).chunk(2, -1)
        return torch.lerp(state, torch.tanh(part[:, 2 * n :] + F.linear(r * state, weight[2 * n :])), z)
    inner = F.linear(state, weight, bias)
    r, z = torch.sigmoid(part[:, : 2 * n] + inner[:, : 2 * n]).chunk(2, -1)
    return torch.lerp(torch.tanh(part[:, 2 * n :] + r * inner[:, 2 * n :]), state, z)


class Bahdanau(Translator):
    def __init__(self, c: Any) -> None:
        n = c.hidden
        super().__init__(c, 2 * n, n)
        self.recurrent = Holder()
        self.recurrent.weight = vector(3 * n, n)
        self.alignment = Holder(
            query=nn.Linear(n, c.attention, bias=False), key=nn.Linear(2 * n, c.attention)
        )
        self.alignment.v = vector(c.attention)

    def forward(self, batch: Batch) -> torch.Tensor:
        annotations, last = self.read(batch)
        keys, closed = self.alignment.key(annotations), ~inside(batch["source_length"], annotations.shape[1])
        state, words = torch.tanh(self.start(last[1])), self.words(batch)
        states, contexts = [], []
        for part in self.word(words):
            energy = torch.tanh(self.alignment.query(state)[:, None] + keys) @ self.alignment.v
            weights = energy.masked_fill(closed, -torch.inf).softmax(-1)
            context = (weights[:, None] @ annotations).squeeze(1)
            states.append(state)
            contexts.append(context)
            state = gru(part + self.context(context), state, self.recurrent.weight, None)
        return loss_of(self.say(torch.stack(states), words, torch.stack(contexts)), batch)


class Seq2Seq(Translator):
    """The form "cho" with torch's GRU."""

    def __init__(self, c: Any) -> None:
        n, width = c.hidden, c.context_width
        super().__init__(c, width, width)
        self.summary = nn.Linear(2 * n, width)
        self.recurrent = Holder()
        self.recurrent.weight, self.recurrent.bias = vector(3 * n, n), vector(3 * n)

    def forward(self, batch: Batch) -> torch.Tensor:
        _, last = self.read(batch)
        summary = torch.tanh(self.summary(torch.cat([last[0], last[1]], -1)))
        state, words, states = torch.tanh(self.start(summary)), self.words(batch), []
        for part in self.word(words) + self.context(summary):
            states.append(state)
            state = gru(part, state, self.recurrent.weight, self.recurrent.bias)
        return loss_of(self.say(torch.stack(states), words, summary), batch)


class Luong(nn.Module):
    """Global attention with general scores and input feeding."""

    def __init__(self, c: Any) -> None:
        super().__init__()
        m, n = c.embedding, c.hidden
        self.source_embedding = nn.Embedding(c.source_vocabulary, m)
        self.target_embedding = nn.Embedding(c.target_vocabulary, m)
        self.encoder = nn.LSTM(m, n // 2, bidirectional=True, batch_first=True)
        self.word, self.feed = nn.Linear(m, 4 * n), nn.Linear(n, 4 * n, bias=False)
        cell = Holder()
        cell.weight = vector(4 * n, n)
        self.cells = Holder(layers=nn.ModuleList([cell]))
        self.score = Holder(key=nn.Linear(n, n, bias=False))
        self.attentional = nn.Linear(2 * n, n, bias=False)
        self.vocabulary = nn.Linear(n, c.target_vocabulary)

    def forward(self, batch: Batch) -> torch.Tensor:
        source, length = batch["source"], batch["source_length"]
        annotations, last = packed(self.encoder, self.source_embedding(source), length)
        keys, closed = self.score.key(annotations), ~inside(length, source.shape[1])
        h, c = (torch.cat([part[0], part[1]], -1) for part in last)
        fed, said, weight = torch.zeros_like(h), [], self.cells.layers[0].weight
        for part in self.word(self.target_embedding(batch["target_in"].T)):
            i, f, g, o = (part + self.feed(fed) + F.linear(h, weight)).chunk(4, -1)
            c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
            h = torch.sigmoid(o) * torch.tanh(c)
            energy = (keys @ h[:, :, None]).squeeze(-1)
            weights = energy.masked_fill(closed, -torch.inf).softmax(-1)
            context = (weights[:, None] @ annotations).squeeze(1)
            fed = torch.tanh(self.attentional(torch.cat([context, h], -1)))
            said.append(fed)
        return loss_of(self.vocabulary(torch.stack(said)), batch)


class LSTMNFusion(nn.Module):
    """Deep fusion."""

    def __init__(self, c: Any) -> None:
        super().__init__()
        m, n, a = c.embedding, c.hidden, c.attention
        self.source_embedding = nn.Embedding(c.source_vocabulary, m)
        self.target_embedding = nn.Embedding(c.target_vocabulary, m)
        self.encoder, self.decoder = LSTMNLayer(m, n, a), LSTMNLayer(m, n, a)
        self.inter = Holder(key=nn.Linear(n, a))
        self.inter.u = vector(a)
        self.query, self.seen = nn.Linear(m, a, bias=False), nn.Linear(n, a, bias=False)
        self.gate_word, self.gate_seen = nn.Linear(m, n), nn.Linear(n, n, bias=False)
        self.state, self.context = nn.Linear(n, n), nn.Linear(n, n, bias=False)
        self.vocabulary = nn.Linear(n, c.target_vocabulary)

    def forward(self, batch: Batch) -> torch.Tensor:
        source, length = batch["source"], batch["source_length"]
        _, (read, cells, _) = self.encoder(self.source_embedding(source.T))
        hidden, memory = torch.stack(read, 1), torch.stack(cells, 1)  # (B, S, H)
        keys, closed = self.inter.key(hidden), ~inside(length, source.shape[1])
        words, layer, tapes = self.target_embedding(batch["target_in"].T), self.decoder, [[], [], []]
        before = seen = hidden.new_zeros(len(source), hidden.shape[2])
        states, contexts = [], []
        given = *layer.given(words), self.query(words), self.gate_word(words)
        for part, query, asked, gate in zip(*given, strict=True):
            energy = torch.tanh((asked + self.seen(seen))[:, None] + keys) @ self.inter.u
            weights = energy.masked_fill(closed, -torch.inf).softmax(-1)[:, None]
            seen, known = (weights @ hidden).squeeze(1), (weights @ memory).squeeze(1)
            before, cell = layer.look(tapes, query, before)
            new, forget, leave = layer.gates(part, before)
            cell = forget * cell + new + torch.sigmoid(gate + self.gate_seen(seen)) * known
            layer.write(tapes, leave * torch.tanh(cell), cell)
            states.append(tapes[0][-1])
            contexts.append(seen)
        found = torch.tanh(self.state(torch.stack(states)) + self.context(torch.stack(contexts)))
        return loss_of(self.vocabulary(found), batch)


class Transformer(nn.Module):
    """torch's layers, post-norm, with a tied output."""

    def __init__(self, c: Any) -> None:
        super().__init__()
        options = (c.d_model, c.heads, c.d_ff, c.dropout)
        encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(*options, batch_first=True), c.layers)
        decoder = nn.TransformerDecoder(nn.TransformerDecoderLayer(*options, batch_first=True), c.layers)
        self.transformer = Holder(encoder=encoder, decoder=decoder)
        self.source_embedding = nn.Embedding(c.source_vocabulary, c.d_model)
        self.target_embedding = nn.Embedding(c.target_vocabulary, c.d_model)
        self.output = nn.Linear(c.d_model, c.target_vocabulary, bias=False)
        self.output.weight = self.target_embedding.weight

    def embed(self, table: nn.Embedding, ids: torch.Tensor) -> torch.Tensor:
        width = table.embedding_dim
        return table(ids) * math.sqrt(width) + sinusoids(ids.shape[1], width)

    def forward(self, batch: Batch) -> torch.Tensor:
        source, said = batch["source"], batch["target_in"]
        padding = ~inside(batch["source_length"], source.shape[1])
        part = self.transformer
        memory = part.encoder(self.embed(self.source_embedding, source), src_key_padding_mask=padding)
        later = nn.Transformer.generate_square_subsequent_mask(said.shape[1])
        states = part.decoder(
            self.embed(self.target_embedding, said), memory, tgt_mask=later, tgt_is_causal=True,
            memory_key_padding_mask=padding,
        )  # fmt: skip
        return F.cross_entropy(
            self.output(states).flatten(0, 1), batch["target_out"].flatten(), ignore_index=0
        )
