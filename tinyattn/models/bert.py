"""BERT: an encoder that has learned to fill gaps from both sides (Devlin et al. 2019, BERT: pre-training of deep
bidirectional Transformers for language understanding).

    E   = LN(E_token + E_segment + E_position)                     figure 2, then dropout
    n   = LN(x + attention(x)),   x' = LN(n + W_2 gelu(W_1 n))     L times: post-norm; every place sees every other
    masked words    softmax(LN(gelu(W T_i)) Eᵀ_token + b)          section 3.1, task 1; T_i: the output at place i
    next sentence   softmax(W tanh(W_p T_[CLS]))                   task 2

and the loss is the sum of the two mean −log p, that of the words being over those alone that were chosen.

causal=True is the model that BERT is compared with: the same but that no place sees a later one ("left-to-right" of
table 5, there trained on all words). What stands to the right of a gap is hidden from it.

Modules have the names of Hugging Face's BertForPreTraining, so that its weights are read as they are; matrices are
(out, in) in both. Shapes in comments: B rows, T places, E width, h heads, V vocabulary.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

import tinyattn as ta
from tinyattn import nn
from tinyattn.errors import ShapeError, TinyattnError
from tinyattn.graph.leaf import as_tensor
from tinyattn.graph.types import fail
from tinyattn.models.model import Model, Recipe, from_task
from tinyattn.models.parts import bert_folder
from tinyattn.models.parts.checks import check_sizes
from tinyattn.ops.attention.multihead import join_heads, split_heads
from tinyattn.sections import Heat, Map, Section
from tinyattn.tasks.task import Answers

IGNORED = -1
"""The target of places and rows that count for nothing."""
ACTIVATIONS = {"gelu": ta.gelu, "gelu_tanh": lambda x: ta.gelu(x, "tanh"), "relu": ta.relu}
SMALL: dict[str, Any] = {
    "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 256, "dropout": 0.0,
}  # fmt: skip
TRAINED: dict[str, Any] = {
    "steps": 6000, "batch_size": 64, "optimizer": "adamw", "learning_rate": 4e-3, "schedule": "linear",
    "warmup_steps": 200, "weight_decay": 0.0, "clip_norm": 1.0,
}  # fmt: skip
"""As the paper trains, but for its rate of 1e-4, its decay of 0.01, a million steps and 256 rows of 512 tokens."""


@dataclass(frozen=True)
class BERTConfig:
    """Sizes and choices by Hugging Face's names; without arguments those of BERT-base (110 million parameters).

    hidden_act: "gelu", "gelu_tanh" (the authors' program) or "relu". causal: no place sees a later one.

    vocab_size: V; max_position_embeddings: the longest row; num_hidden_layers layers of num_attention_heads heads,
    hidden_size numbers wide, intermediate_size inside; type_vocab_size: how many segments there are; dropout: of
    embedded tokens, weights, and what each part adds; layer_norm_eps: ε of the norms.
    """

    vocab_size: int = from_task(30522)
    max_position_embeddings: int = from_task(512)
    hidden_size: int = 768
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    intermediate_size: int = 3072
    type_vocab_size: int = 2
    dropout: float = 0.1
    hidden_act: str = "gelu"
    layer_norm_eps: float = 1e-12
    causal: bool = False

    def __post_init__(self):
        """Raise TinyattnError, with one sentence, for a value that makes no sense."""
        heads = "hidden_size", "num_attention_heads"
        check_sizes("BERT", self, heads, choices={"hidden_act": ACTIVATIONS})
        if not 0 < self.layer_norm_eps < 1:
            fail(TinyattnError, "BERT", "layer_norm_eps must lie in (0, 1)", f"got {self.layer_norm_eps!r}")


def _norm(config: BERTConfig) -> nn.LayerNorm:
    return nn.LayerNorm(config.hidden_size, config.layer_norm_eps)


class Embeddings(nn.Module):
    """Tokens, the segments they are in, and their places, added."""

    def __init__(self, config: BERTConfig):
        self.word_embeddings = nn.Embedding(config.vocab_size, config.hidden_size)
        self.position_embeddings = nn.Embedding(config.max_position_embeddings, config.hidden_size)
        self.token_type_embeddings = nn.Embedding(config.type_vocab_size, config.hidden_size)
        self.LayerNorm = _norm(config)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, tokens: ta.Tensor, segments: ta.Tensor) -> ta.Tensor:
        """Integers (B, T) twice → (B, T, E)."""
        places = self.position_embeddings.weight[: tokens.shape[1]]
        return self.dropout(
            self.LayerNorm(self.word_embeddings(tokens) + self.token_type_embeddings(segments) + places)
        )


class SelfAttention(nn.Module):
    """Queries, keys and values of each head."""

    def __init__(self, config: BERTConfig):
        self.config = config
        self.query = nn.Linear(config.hidden_size, config.hidden_size)
        self.key = nn.Linear(config.hidden_size, config.hidden_size)
        self.value = nn.Linear(config.hidden_size, config.hidden_size)

    def heads(self, x: ta.Tensor) -> list[ta.Tensor]:
        """(B, T, E) → three (B, h, T, E/h)."""
        count = self.config.num_attention_heads
        return [split_heads(layer(x), count) for layer in (self.query, self.key, self.value)]

    def forward(self, x: ta.Tensor, mask: ta.Tensor) -> ta.Tensor:
        """(B, T, E), what may be seen (B, 1, 1, T) → (B, T, E)."""
        dropped = self.config.dropout if self.training else 0.0
        heads = ta.attention(*self.heads(x), mask=mask, is_causal=self.config.causal, dropout_p=dropped)
        return join_heads(heads)

    def weights(self, x: ta.Tensor, mask: ta.Tensor) -> ta.Tensor:
        """(B, T, E) → (B, h, T, T): how much each place looks at each other."""
        causal = self.config.causal
        return ta.attention(*self.heads(x), mask=mask, is_causal=causal, return_weights=True)[1]


class Added(nn.Module):
    """What a sub-layer ends with: LN(x + dropout(W y))."""

    def __init__(self, config: BERTConfig, width: int):
        self.dense = nn.Linear(width, config.hidden_size)
        self.LayerNorm = _norm(config)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, y: ta.Tensor, x: ta.Tensor) -> ta.Tensor:
        """What the sub-layer makes (B, T, ·), and what it is given (B, T, E) → (B, T, E)."""
        return self.LayerNorm(x + self.dropout(self.dense(y)))


class Attention(nn.Module):
    """The first sub-layer."""

    def __init__(self, config: BERTConfig):
        self.self = SelfAttention(config)
        self.output = Added(config, config.hidden_size)

    def forward(self, x: ta.Tensor, mask: ta.Tensor) -> ta.Tensor:
        """(B, T, E) → (B, T, E)."""
        return self.output(self.self(x, mask), x)


class Dense(nn.Module):
    """A linear layer and what follows it: gelu(W x), LN(gelu(W x)) or tanh(W x)."""

    def __init__(self, config: BERTConfig, width: int, activation: Any, norm: bool = False):
        self.dense = nn.Linear(config.hidden_size, width)
        self.activation = activation
        if norm:
            self.LayerNorm = _norm(config)
        self.norm = norm

    def forward(self, x: ta.Tensor) -> ta.Tensor:
        """(…, E) → (…, width)."""
        x = self.activation(self.dense(x))
        return self.LayerNorm(x) if self.norm else x


class Layer(nn.Module):
    """Attention, and a network of one hidden layer."""

    def __init__(self, config: BERTConfig):
        self.attention = Attention(config)
        self.intermediate = Dense(config, config.intermediate_size, ACTIVATIONS[config.hidden_act])
        self.output = Added(config, config.intermediate_size)

    def forward(self, x: ta.Tensor, mask: ta.Tensor) -> ta.Tensor:
        """(B, T, E) → (B, T, E)."""
        n = self.attention(x, mask)
        return self.output(self.intermediate(n), n)


class Encoder(nn.Module):
    """The layers, one on top of the other."""

    def __init__(self, config: BERTConfig):
        self.layer = nn.ModuleList(Layer(config) for _ in range(config.num_hidden_layers))


class Body(nn.Module):
    """What all heads stand on: T_i for each place, and the pooled T_[CLS]."""

    def __init__(self, config: BERTConfig):
        self.config = config
        self.embeddings = Embeddings(config)
        self.encoder = Encoder(config)
        self.pooler = Dense(config, config.hidden_size, ta.tanh)

    def streams(self, tokens: Any, segments: Any, length: Any) -> tuple[list[ta.Tensor], ta.Tensor]:
        """What each layer is given and what the last one makes, L + 1 of (B, T, E), and what may be seen."""
        tokens, segments, length = as_tensor(tokens), as_tensor(segments), as_tensor(length)
        if tokens.ndim != 2 or tokens.dtype.kind != "i" or segments.shape != tokens.shape:
            must = "tokens and segments must be integers of one shape (B, T)"
            fail(ShapeError, "BERT", must, f"got {tokens.type} and {segments.type}")
        count, most = tokens.shape[1], self.config.max_position_embeddings
        if count > most:
            must = f"at most max_position_embeddings = {most} tokens can be seen at once"
            fail(ShapeError, "BERT", must, f"got {count}")
        mask = ta.arange(count).reshape(1, 1, 1, count) < length.reshape(-1, 1, 1, 1)  # (B, 1, 1, T)
        found = [self.embeddings(tokens, segments)]
        for layer in self.encoder.layer:
            found.append(layer(found[-1], mask))
        return found, mask

    def forward(self, tokens: Any, segments: Any, length: Any) -> tuple[ta.Tensor, ta.Tensor]:
        """Integers (B, T) twice and (B,) → T (B, T, E), and tanh(W_p T_[CLS]) (B, E)."""
        x = self.streams(tokens, segments, length)[0][-1]
        return x, self.pooler(x[:, 0])


class Predictions(nn.Module):
    """The head for masked words, but for its matrix, which is that of the embedding."""

    def __init__(self, config: BERTConfig):
        self.transform = Dense(config, config.hidden_size, ACTIVATIONS[config.hidden_act], norm=True)
        self.bias = ta.parameter(np.zeros(config.vocab_size, np.float32))


class Heads(nn.Module):
    """Both heads of pre-training."""

    def __init__(self, config: BERTConfig):
        self.predictions = Predictions(config)
        self.seq_relationship = nn.Linear(config.hidden_size, 2)


class BERT(Model):
    """The model with the two heads of its pre-training. Call it with tokens (B, T), segments (B, T) and length (B,)
    for the outputs that other heads stand on.

    Initial values are N(0, 0.02²) for matrices, 0 for biases.
    """

    Config = BERTConfig
    name = "bert"
    paper = (
        "Devlin et al. 2019, BERT: pre-training of deep bidirectional Transformers for language understanding"
    )
    documents = "S3"
    families = ("pretraining",)
    varies = ("causal",)
    recipes = (
        Recipe(
            "documents",
            SMALL,
            TRAINED,
            targets={"mlm_of_ceiling": 0.95, "nsp_accuracy": 0.95},
            reported={"nsp_accuracy": "97-98 % (Wikipedia, books)"},
        ),
        Recipe("documents", SMALL | {"causal": True}, TRAINED, variant="causal"),
    )
    config: BERTConfig

    def __init__(self, config: BERTConfig):
        self.config = config
        self.bert = Body(config)
        self.cls = Heads(config)
        self._predict = ta.function(self._predictions)
        for name, weight in self.named_parameters():
            if weight.ndim > 1:
                weight.assign(nn.init.normal(weight.shape, std=0.02))
            elif name.endswith(".bias"):
                weight.assign(np.zeros(weight.shape))

    @classmethod
    def from_pretrained(cls, folder: Any) -> "BERT":
        """The model of a folder of Hugging Face's BertForPreTraining: config.json and model.safetensors. It is in
        evaluation mode; weights become float32. Raises CheckpointError, one sentence, for a folder that is none, is
        damaged, or holds what this model is not.
        """
        sizes, weights = bert_folder.read(folder)
        model = cls(BERTConfig(**sizes))
        model.load_state_dict(weights)
        model.eval()
        return model

    def save_pretrained(self, folder: Any) -> None:
        """Write such a folder, which the library transformers reads. Raises TinyattnError for a causal model."""
        bert_folder.save(folder, vars(self.config), self.state_dict())

    def forward(self, tokens: Any, segments: Any, length: Any) -> tuple[ta.Tensor, ta.Tensor]:
        """Integers (B, T), their segments (B, T) and how many of each row there are (B,) → T (B, T, E), and the pooled
        first one (B, E)."""
        return self.bert(tokens, segments, length)

    def logits(self, tokens: Any, segments: Any, length: Any) -> tuple[ta.Tensor, ta.Tensor]:
        """The same → logits of the words at each place (B, T, V), and of next (0) or not (1), (B, 2)."""
        places, pooled = self(tokens, segments, length)
        predictions = self.cls.predictions
        words = predictions.transform(places) @ self.bert.embeddings.word_embeddings.weight.T
        return words + predictions.bias, self.cls.seq_relationship(pooled)

    def loss(self, batch: Any) -> ta.Tensor:
        """The mean −log p of the words to be predicted, and that of the pairs, added."""
        words, pairs = self.means(batch)
        return words + pairs

    def means(self, batch: Any) -> tuple[ta.Tensor, ta.Tensor]:
        """Both."""
        logits = self.logits(batch.tokens, batch.segments, batch.length)
        return self._losses(logits, batch.targets, batch.following)

    def counts(self, batch: Any) -> tuple[int, int]:
        """How many words, and how many pairs."""
        return batch.weight, int((np.asarray(batch.following) != IGNORED).sum())

    def _losses(
        self, logits: tuple[ta.Tensor, ta.Tensor], targets: Any, following: Any
    ) -> tuple[ta.Tensor, ta.Tensor]:
        words, pairs = logits
        return (
            ta.cross_entropy(words, targets, ignore_index=IGNORED),
            ta.cross_entropy(pairs, following, ignore_index=IGNORED),
        )

    def _predictions(self, tokens, segments, length, targets, following) -> tuple[ta.Tensor, ...]:
        logits = self.logits(tokens, segments, length)
        words, pairs = self._losses(logits, targets, following)
        return ta.argmax(logits[0], -1), ta.argmax(logits[1], -1), words + pairs

    def answer(self, batch: Any) -> Answers:
        """The most probable word of each place, (T,) a row; in that of [CLS], whether the pair is none (1)."""
        with self.evaluating():
            words, pairs, loss = self._predict(
                batch.tokens, batch.segments, batch.length, batch.targets, batch.following
            )
        words[:, 0] = pairs
        return Answers(list(words), nats=float(loss) * batch.weight, predictions=batch.weight)

    def sections(self, batch: Any, task: Any) -> list[Section]:
        """Where it looks: each head of the last layer. The task has decode(ids) → text."""
        length = int(batch.length[0])
        row = (batch.tokens[:1, :length], batch.segments[:1, :length], batch.length[:1])
        with self.evaluating():
            streams, mask = self.bert.streams(*row)
            last = self.bert.encoder.layer[-1].attention.self
            weights = last.weights(streams[-2], mask).numpy()[0]
        words = ["[CLS]", *task.decode(row[0][0]).split(), "[SEP]"]
        maps = [Map(weights[k], words, words, f"head {k + 1}") for k in range(len(weights))]
        caption = "Rows are the places that look, columns what they see, in a held-out pair; _ is hidden, / is [SEP]."
        return [Heat(f"Where the last of {self.config.num_hidden_layers} layers looks", maps, caption)]
