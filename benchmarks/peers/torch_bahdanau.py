"""Bahdanau's attention encoder-decoder, one training step, as a PyTorch user writes it.

Bahdanau, Cho and Bengio, "Neural machine translation by jointly learning to align and translate" (2015), with
PyTorch's own GRU (reset gate after the product) in encoder and decoder:

    e_ij = v . tanh(W s_{i-1} + U h_j)     alpha_i = softmax_j(e_ij)     c_i = sum_j alpha_ij h_j
    s_i  = GRU([E y_{i-1}; c_i], s_{i-1})  s_0 = tanh(W_s h_1 backward)
    t_i  = maxout(T [s_{i-1}; E y_{i-1}; c_i])                           p(y_i) = softmax(W_o t_i)

The encoder is the fused `nn.GRU`; the keys U h_j are projected once; so is the output of all steps together.
"""

from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from . import problem


class Bahdanau(nn.Module):
    """Encoder, additive attention, decoder with maxout output."""

    def __init__(self, hidden: int, embedding: int, vocabulary: int) -> None:
        super().__init__()
        context = 2 * hidden
        self.source_embedding = nn.Embedding(vocabulary, embedding)
        self.target_embedding = nn.Embedding(vocabulary, embedding)
        self.encoder = nn.GRU(embedding, hidden, batch_first=True, bidirectional=True)
        self.initial = nn.Linear(hidden, hidden)
        self.query = nn.Linear(hidden, hidden, bias=False)
        self.key = nn.Linear(context, hidden, bias=False)
        self.score = nn.Linear(hidden, 1, bias=False)
        self.cell = nn.GRUCell(embedding + context, hidden)
        self.maxout = nn.Linear(hidden + embedding + context, 2 * hidden)
        self.output = nn.Linear(hidden, vocabulary)

    def forward(self, source: torch.Tensor, inputs: torch.Tensor) -> torch.Tensor:
        """(B, S) source tokens and (B, T) decoder inputs give (B, T, V) logits."""
        annotations, last = self.encoder(self.source_embedding(source))  # (B, S, 2H), (2, B, H)
        return self.decode(annotations, last[1], source == problem.PAD, inputs)

    def decode(
        self, annotations: torch.Tensor, last: torch.Tensor, padding: torch.Tensor, inputs: torch.Tensor
    ) -> torch.Tensor:
        """Attend to annotations (B, S, 2H) where there is no `padding`; `last` (B, H) starts the state."""
        keys = self.key(annotations)  # (B, S, H)
        state = torch.tanh(self.initial(last))  # (B, H)
        words = self.target_embedding(inputs)  # (B, T, E)
        states, contexts = [], []
        for word in words.unbind(1):
            energies = self.score(torch.tanh(self.query(state).unsqueeze(1) + keys)).squeeze(-1)  # (B, S)
            weights = torch.softmax(energies.masked_fill(padding, -torch.inf), dim=-1)
            context = torch.bmm(weights.unsqueeze(1), annotations).squeeze(1)  # (B, 2H)
            states.append(state)
            contexts.append(context)
            state = self.cell(torch.cat([word, context], dim=-1), state)
        features = torch.cat([torch.stack(states, 1), words, torch.stack(contexts, 1)], dim=-1)
        pairs = self.maxout(features).unflatten(-1, (-1, 2))  # (B, T, H, 2)
        return self.output(pairs.amax(-1))


class Step:
    """One training step on a fixed batch; calling it returns the loss before the update."""

    def __init__(self, model: Bahdanau, batch: problem.Arrays, compiled: bool, implementation: str) -> None:
        tensors = {name: torch.from_numpy(array) for name, array in batch.items()}
        self.source, self.inputs, self.outputs = tensors["source"], tensors["inputs"], tensors["outputs"]
        self.model = model
        if (
            compiled
        ):  # only the decoder: torch.compile does not see through nn.GRU and would give up on the whole
            model.decode = torch.compile(model.decode)  # type: ignore[method-assign]
        switches: dict[str, Any] = {} if implementation == "default" else {implementation: True}
        self.optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, **switches)

    def __call__(self) -> float:
        self.optimizer.zero_grad()
        logits = self.model(self.source, self.inputs)
        loss = F.cross_entropy(logits.flatten(0, 1), self.outputs.flatten(), ignore_index=problem.PAD)
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        return loss.item()

    def parameters(self) -> dict[str, np.ndarray]:
        """A copy of the weights, by name."""
        return {name: tensor.detach().numpy().copy() for name, tensor in self.model.state_dict().items()}


def make_step(
    batch: int,
    source: int = 20,
    target: int = 20,
    hidden: int = 128,
    embedding: int = 128,
    vocabulary: int = 60,
    seed: int = 0,
    weights: problem.Arrays | None = None,
    compiled: bool = False,
    implementation: str = "default",
) -> Step:
    """A training step (Adam 1e-3, gradient clipped to norm 1) from `weights`, or else the weights of `seed`.

    `implementation` is Adam's: "default", "foreach" or "fused".
    """
    model = Bahdanau(hidden, embedding, vocabulary)
    arrays = weights or problem.bahdanau_parameters(hidden, embedding, vocabulary, seed)
    model.load_state_dict({name: torch.from_numpy(array) for name, array in arrays.items()})
    return Step(
        model, problem.bahdanau_batch(batch, source, target, vocabulary, seed), compiled, implementation
    )
