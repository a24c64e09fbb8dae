"""What all models that translate share, recurrent or not: the search for a translation, and answers.

A model adds `forward`, what it says when the translation so far is given; `loss`; and `beginning`, from which
`beam_search` goes on word by word.
"""

from typing import Any

import tinyattn as ta
from tinyattn.errors import ShapeError
from tinyattn.graph.types import fail
from tinyattn.models.model import Model
from tinyattn.models.parts.checks import checked_count, checked_ids
from tinyattn.models.parts.decoding import State, Step, Translation, beam_search
from tinyattn.tasks.task import Answers


class TranslationModel(Model):
    """A model from sentences to sentences. Its Config has source_vocabulary and longest_target, the most tokens
    an answer can have, 0 for 2 S + 10.
    """

    families = ("translation",)

    def __init__(self) -> None:
        self._search, self._forced = ta.function(self._best), ta.function(self._teach)

    def forward(self, source: Any, lengths: Any, target_in: Any) -> tuple[ta.Tensor, ta.Tensor | None]:
        """Teacher forcing: ids (B, S), lengths (B,), <bos> y as ids (B, T) → logits (B, T, K), weights (B,
        T, S) or None.
        """
        raise NotImplementedError

    def beginning(self, source: ta.Tensor, lengths: ta.Tensor, beam: int, length: int) -> tuple[Step, State]:
        """The step that `beam_search` takes up to `length` times, and the state of <bos>: for ids (B, S) and lengths
        (B,) that of R = B · beam rows, those of one sentence behind each other.
        """
        raise NotImplementedError

    def maps(self, batch: Any) -> dict[str, ta.Tensor]:
        """What is shown of the model with the references given, (B, T, columns) by name: "alignment", the weights
        of models that have some.
        """
        weights = self(batch.source, batch.source_length, batch.target_in)[1]
        return {} if weights is None else {"alignment": weights}

    def _teach(self, kind: type, arrays: dict) -> tuple[ta.Tensor, dict[str, ta.Tensor]]:
        """With the references given: the loss of a batch, and what is shown of it."""
        batch = kind(**arrays)
        return self.loss(batch), self.maps(batch)

    def answer(self, batch: Any, *, beam: int = 1, length_penalty: float = 0.0) -> Answers:
        """The best translations found. Maps: "attention", the weights they were chosen with, (target,
        source) positions, of models that have some; and those of `maps`, with the references given.
        """
        answers = self.sample(batch, beam=beam, length_penalty=length_penalty)
        with self.evaluating():
            nats, maps = self._forced(type(batch), vars(batch))
        answers.nats, answers.predictions = float(nats) * batch.weight, batch.weight
        answers.maps |= {name: list(found) for name, found in maps.items()}
        return answers

    def sample(self, batch: Any, *, beam: int = 1, length_penalty: float = 0.0) -> Answers:
        """The same without what needs references."""
        limit = self.config.longest_target or None
        found = self.translate(batch.source, batch.source_length, beam, limit, length_penalty)
        maps = {} if found.attention is None else {"attention": list(found.attention)}
        return Answers(list(found.tokens), maps, scores=[float(score) for score in found.score])

    def translate(
        self,
        source: Any,
        lengths: Any,
        beam: int = 1,
        max_length: int | None = None,
        length_penalty: float = 0.0,
    ) -> Translation:
        """The best translations found, as arrays: greedily with beam 1, else among `beam` hypotheses at a
        time.

        source: (B, S) integer ids; lengths: (B,), from 1 to S. At most max_length tokens, <eos> included (2 S + 10
        unless said). Compiled once for each shape, beam and max_length. Raises ShapeError for what does not fit.
        """
        op, words = "translate", self.config.source_vocabulary
        source = checked_ids(op, "source ids", source, "B, S", 0, words - 1)
        lengths = checked_ids(op, "lengths", lengths, "B", 1, source.shape[1])
        if len(lengths) != len(source):
            must = f"there must be a length for each of the {len(source)} sentences"
            fail(ShapeError, op, must, f"got {len(lengths)}")
        beam = checked_count(op, "beam", beam)
        limit = checked_count(
            op, "max_length", 2 * source.shape[1] + 10 if max_length is None else max_length
        )
        with self.evaluating():
            return self._search(source, lengths, beam, limit, float(length_penalty))

    def _best(self, source, lengths, beam: int, max_length: int, length_penalty) -> Translation:
        step, state = self.beginning(source, lengths, beam, max_length)
        return beam_search(step, state, source.shape[0], beam, max_length, length_penalty)
