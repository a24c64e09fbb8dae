"""The Transformer: an encoder and a decoder of attention alone (Vaswani et al. 2017, Attention is all you need).

    Attention(Q, K, V) = softmax(Q Kᵀ / √d_k) V                                               (eq. 1)
    MultiHead(Q, K, V) = [head_1; …; head_h] Wᴼ,  head_i = Attention(Q W_iᵠ, K W_iᴷ, V W_iⱽ)  (section 3.2.2)
    FFN(x)             = max(0, x W_1 + b_1) W_2 + b_2                                        (eq. 2)
    PE(p, 2i)          = sin(p / 10000^(2i/d)),   PE(p, 2i+1) = cos(p / 10000^(2i/d))         (section 3.5)

    x_p  = E_p √d + PE(p)                        words, times √d, and their places            (section 3.4)
    x   ← LN(x + dropout(S(x)))                  around every sub-layer S, post-norm; or, pre-norm,
    x   ← x + dropout(S(LN(x)))                  with one more LN at the end of each stack

An encoder layer has two sub-layers, self-attention and FFN, a decoder layer three: self-attention in which no
position sees a later one, attention to the encoder's output, FFN. The next word is softmax(x Eᵀ): the output layer
is the embedding again. Training is by Adam(0.9, 0.98) with a rate that rises and then falls with the root of the
step (eq. 3, the schedule "noam"), and against smoothed labels: with ε = 0.1 the right word has the probability
1 − ε and all words share ε (section 5.4).

The layers are those of `nn.transformer`, with torch's names of parameters. Shapes in comments: B sentences, S and T
source and target positions, d width, h heads, K words, R = B · beam rows of a search.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

import tinyattn as ta
from tinyattn import nn
from tinyattn.errors import TinyattnError
from tinyattn.graph.leaf import as_tensor
from tinyattn.graph.traverse import topological
from tinyattn.graph.types import fail
from tinyattn.models.model import Recipe, from_task
from tinyattn.models.parts.checks import check_sizes
from tinyattn.models.parts.decoding import State, Step, repeat
from tinyattn.models.parts.translation import TranslationModel
from tinyattn.nn.transformer import ACTIVATIONS
from tinyattn.ops.attention.attention import weights_of
from tinyattn.sections import Heat, Map, Section
from tinyattn.tasks.parts.vocabulary import PAD

TIED = ("none", "target", "all")
"""Which matrices are one: the target embedding and the output layer, or these and the source embedding."""
SHORT: dict[str, Any] = {
    "steps": 2000, "batch_size": 64, "learning_rate": 2e-3, "warmup_steps": 200, "schedule": "linear", "beta2": 0.98
}  # fmt: skip
"""The paper's "noam" is meant for 100,000 steps; in a few thousand, a rate that ends at 0 makes the last few right."""
SMALL: dict[str, Any] = {
    "d_model": 64, "heads": 4, "layers": 2, "d_ff": 256, "dropout": 0.0, "label_smoothing": 0.0
}  # fmt: skip


@dataclass(frozen=True)
class TransformerConfig:
    """Sizes and choices; the paper's base model has d_model 512, heads 8, layers 6, d_ff 2048.

    norm_first: pre-norm. activation: "relu" (the paper's) or "gelu". tied: "all" (the paper's; both languages need
    one vocabulary), "target" or "none".

    dropout: of what each part adds, and of embedded words; label_smoothing: ε, in training. source_vocabulary,
    target_vocabulary: how many words each language has; longest_target: the most words an answer can have, 0 for 2
    S + 10.
    """

    source_vocabulary: int = from_task()
    target_vocabulary: int = from_task()
    d_model: int = 128
    heads: int = 4  # h
    layers: int = 2  # N, of the encoder and of the decoder
    d_ff: int = 512
    dropout: float = 0.1
    label_smoothing: float = 0.1  # ε
    norm_first: bool = False
    activation: str = "relu"
    tied: str = "target"
    longest_target: int = from_task(0)  # the most tokens an answer can have; 0: 2 S + 10

    def __post_init__(self):
        """Raise TinyattnError, with one sentence, for a value that makes no sense."""
        shares, choices = ("dropout", "label_smoothing"), {"activation": tuple(ACTIVATIONS), "tied": TIED}
        check_sizes("transformer", self, ("d_model", "heads"), shares, choices)
        if self.tied == "all" and self.source_vocabulary != self.target_vocabulary:
            must = "tied = all must have one vocabulary for both sides"
            got = f"got {self.source_vocabulary} and {self.target_vocabulary} words"
            fail(TinyattnError, "transformer", must, got)


class Transformer(TranslationModel):
    """The encoder-decoder. `encode` and `decode` are its halves; called it gives logits and where it looked.

    Its batch holds word numbers: source (B, S), source_length (B,), target_in (B, T) from <bos> on, and target_out
    (B, T) with <eos>, which the loss is of.
    """

    Config = TransformerConfig
    name = "transformer"
    paper = "Vaswani et al. 2017, Attention is all you need"
    documents = "S0 S2 S3"
    recipes = (
        Recipe("copy", SMALL, SHORT, targets={"exact_match_10": 0.995}),
        Recipe("reverse", SMALL, SHORT, targets={"exact_match_10": 0.995}),
        Recipe("sort", SMALL, SHORT, targets={"exact_match_10": 0.995}),
        Recipe("tiny-mt", SMALL, SHORT, targets={"exact_match": 0.98}),
        Recipe(
            "multi30k",
            {"d_model": 256, "heads": 8, "layers": 3, "d_ff": 512, "dropout": 0.2, "label_smoothing": 0.1},
            SHORT | {"steps": 2400, "batch_size": 128, "learning_rate": 1e-3, "warmup_steps": 400},
            targets={"bleu": 36.0},
            reported={"bleu": "27.3 (WMT 14 en-de)"},
        ),
    )
    config: TransformerConfig

    def __init__(self, config: TransformerConfig):
        super().__init__()
        self.config = c = config
        options: Any = (c.d_model, c.heads, c.d_ff, c.dropout, c.activation)
        norms: Any = {"batch_first": True, "norm_first": c.norm_first}
        # The paper's post-norm layers end with a norm; torch's Transformer has one more behind all of them.
        ends = [nn.LayerNorm(c.d_model) if c.norm_first else None for _ in range(2)]
        encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(*options, **norms), c.layers, ends[0])
        decoder = nn.TransformerDecoder(nn.TransformerDecoderLayer(*options, **norms), c.layers, ends[1])
        self.transformer = nn.Transformer(
            c.d_model, c.heads, custom_encoder=encoder, custom_decoder=decoder, batch_first=True
        )
        self.source_embedding = nn.Embedding(c.source_vocabulary, c.d_model)
        self.target_embedding = nn.Embedding(c.target_vocabulary, c.d_model)
        self.output = nn.Linear(c.d_model, c.target_vocabulary, bias=False)
        if c.tied == "all":
            self.source_embedding.weight = self.target_embedding.weight
        if c.tied != "none":
            self.output.weight = self.target_embedding.weight
        for matrix in {id(part.weight): part.weight for part in self._tables()}.values():
            matrix.assign(
                nn.init.normal(matrix.shape, std=c.d_model**-0.5)
            )  # × √d: variance 1, as PE's order
        self.dropout = nn.Dropout(c.dropout)

    def _tables(self) -> tuple[Any, ...]:
        return self.source_embedding, self.target_embedding, self.output

    # The two halves.

    def embed(self, table: nn.Embedding, ids: ta.Tensor, places: ta.Tensor) -> ta.Tensor:
        """Ids (B, T) and the codes of their places (T, d) → x (B, T, d)."""
        return self.dropout(table(ids) * math.sqrt(self.config.d_model) + places)

    def places(self, length: int) -> ta.Tensor:
        """PE of the places 0 … length − 1: (length, d)."""
        dtype = self.output.weight.dtype
        positions = as_tensor(nn.sinusoidal_positions(length, self.config.d_model, dtype))
        return positions

    def encode(self, source: Any, lengths: Any) -> tuple[ta.Tensor, ta.Tensor]:
        """The memory (B, S, d) of ids (B, S), and which positions are padding, as bool (B, S)."""
        source, lengths = as_tensor(source), as_tensor(lengths)
        count = source.shape[1]
        padding = ta.arange(count, dtype=lengths.dtype).reshape(1, -1) >= lengths.reshape(-1, 1)
        x = self.embed(self.source_embedding, source, self.places(count))
        return self.transformer.encoder(x, src_key_padding_mask=padding), padding

    def decode(self, memory: ta.Tensor, padding: ta.Tensor, target_in: Any) -> ta.Tensor:
        """What stands before the output layer, (B, T, d), with <bos> y given as ids (B, T). Padding at the end of y
        needs no mask: what stands before can't see it, and what it says is not asked for.
        """
        target_in = as_tensor(target_in)
        x = self.embed(self.target_embedding, target_in, self.places(target_in.shape[1]))
        return self.transformer.decoder(x, memory, memory_key_padding_mask=padding, tgt_is_causal=True)

    # Training.

    def forward(self, source: Any, lengths: Any, target_in: Any) -> tuple[ta.Tensor, ta.Tensor]:
        """Logits (B, T, K), and the weights (B, T, S) of the last attention to the source, the heads' mean."""
        hidden = self.decode(*self.encode(source, lengths), target_in)
        return self.output(hidden), ta.mean(self.looks(hidden, "decoder", "multihead_attn"), axis=1)

    def looks(self, result: ta.Tensor, stack: str, attention: str) -> ta.Tensor:
        """The weights (B, h, T, S) of an attention of a stack's last layer, with which `result` was made."""
        place = (stack, "layers", str(self.config.layers - 1), attention)
        made = topological([result])
        return weights_of(next(n for n in made if n.op.name == "attention" and n.scope[-4:] == place))

    def loss(self, batch: Any) -> ta.Tensor:
        """Mean of −log p(y_i | y_<i, x) over the target words of a batch, <eos> included: a scalar in nats. In
        training the labels are smoothed; what is measured never is.
        """
        hidden = self.decode(*self.encode(batch.source, batch.source_length), batch.target_in)
        smoothing = self.config.label_smoothing if self.training else 0.0
        return ta.linear_cross_entropy(
            hidden, self.output.weight, batch.target_out, ignore_index=PAD, label_smoothing=smoothing
        )

    # Searching.

    def beginning(self, source: ta.Tensor, lengths: ta.Tensor, beam: int, length: int) -> tuple[Step, State]:
        """Each step computes one position; keys and values of those before are kept (`nn.cache`)."""
        memory, padding = repeat(self.encode(source, lengths), beam)
        cache, places = self.transformer.decoder.cache(memory, length), self.places(length)
        known = [part.memory for part in cache]  # the same for all beams of a sentence, at every step

        def step(state, tokens):
            position = state["position"][0]
            x = self.embed(self.target_embedding, tokens.reshape(-1, 1), places[position])
            layers = tuple(
                nn.transformer.DecoderCache(past, given)
                for past, given in zip(state["past"], known, strict=True)
            )
            x, new = self.transformer.decoder(
                x, memory_key_padding_mask=padding, cache=layers, position=position
            )
            weights = self.looks(x, "decoder", "multihead_attn")  # (R, h, 1, S)
            state = {"past": tuple(part.past for part in new), "position": state["position"] + 1}
            return state, ta.log_softmax(self.output(x[:, 0])), ta.mean(weights[:, :, 0], axis=1)

        rows = np.zeros(memory.shape[0], np.int32)
        return step, {"past": tuple(part.past for part in cache), "position": ta.tensor(rows)}

    # For people.

    def sections(self, batch: Any, task: Any) -> list[Section]:
        """Every head of the last layers in the first of the held-out examples. The task has both vocabularies, as
        translation tasks do.
        """
        first = type(batch)(**{key: value[:1] for key, value in vars(batch).items()})
        parts = {
            "encoder": ("encoder", "self_attn"),
            "decoder, what was said": ("decoder", "self_attn"),
            "decoder, source": ("decoder", "multihead_attn"),
        }
        with self.evaluating():
            hidden = self.decode(*self.encode(first.source, first.source_length), first.target_in)
            found = ta.evaluate([self.looks(hidden, *place) for place in parts.values()])
        source = [task.source_vocabulary.words[i] for i in first.source[0, : first.source_length[0]]]
        given, said = (
            [task.target_vocabulary.words[i] for i in ids[0, : first.target_length[0]]]
            for ids in (first.target_in, first.target_out)
        )
        words = (source, source), (said, given), (said, source)
        maps = []
        for name, (rows, columns), weights in zip(parts, words, found, strict=True):
            for head, one in enumerate(weights[0, :, : len(rows), : len(columns)]):
                maps.append(Map(one, rows, columns, f"{name}, head {head + 1}"))
        caption = f"Of layer {self.config.layers}. Each row is a word, its squares what it looks at."
        return [Heat("Where each head looks", maps, caption)]
