"""From a model to a sentence: greedy decoding and beam search, as one `scan` over a whole batch.

The best translation is the sequence y with the highest log p(y | x) = Σ_i log p(y_i | y_<i, x). There are
too many to try; beam search keeps the k best beginnings of each sentence, extends each by every word, and
keeps the k best of these (Graves 2012; k = 1 is greedy decoding). Beams of one sentence are k consecutive
rows of the batch, so a model need not know of them. At the end hypotheses are compared by

    log p(y | x) / ((5 + |y|) / 6) ** length_penalty

(Wu et al. 2016, "Google's neural machine translation system", eq. 14, without the coverage term), which
takes away the advantage of short ones; a penalty of 0 compares plain log-probabilities.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

import tinyattn as ta
from tinyattn.graph.trees import flatten, unflatten
from tinyattn.tasks.parts.vocabulary import BOS, EOS, PAD

DEAD = -1e30
"""Log-probability of a beam that does not exist: smaller than any other, and still a number to calculate
with.
"""

State = Any
"""A tree of Tensors whose first axis are the rows of the batch."""
Step = Callable[[State, ta.Tensor], tuple[State, ta.Tensor, ta.Tensor | None]]


class Translation(NamedTuple):
    """The best hypothesis for each of B source sentences.

    tokens: (B, T) int32, ends with <eos> unless T was too short, then <pad>. attention: (B, T, S), row i the
    weights with which token i was chosen, or None of a model without attention. score: (B,), log p(y | x) in
    nats.
    """

    tokens: Any
    attention: Any
    score: Any


def beam_search(
    step: Step, state: State, batch: int, beam: int, max_length: int, length_penalty: float | ta.Tensor = 0.0
) -> Translation:
    """Search with `step` for the best continuation of <bos>, at most `max_length` tokens long.

    step(state, tokens) takes the state of each row and its last token, (R,) int32 with R = batch · beam, and
    returns the new state, log-probabilities (R, V) of the next token, and attention weights (R, S) or None.
    state: that of the beginning, R rows.
    """
    rows = batch * beam
    first_row = ta.tensor(np.arange(batch)[:, None] * beam)  # (B, 1): the first beam of each sentence

    def extend(carry, _):
        state, tokens, score, length = carry  # trees of R rows, (R,), (B, k), (R,)
        state, log_probability, attention = step(state, tokens)
        words = log_probability.shape[1]
        ended = ta.logical_or(tokens == EOS, tokens == PAD).reshape(rows, 1)
        word = ta.arange(words).reshape(1, words)
        # What has ended goes on with <pad>, for nothing. What has not never says <pad> or <bos>.
        allowed = ta.where(ended, word == PAD, ta.logical_and(word != PAD, word != BOS))
        log_probability = ta.where(allowed, ta.where(ended, 0.0, log_probability), 2 * DEAD)
        total = (score.reshape(rows, 1) + log_probability).reshape(batch, beam * words)

        score, choice = _largest(total, beam)  # (B, k), (B, k) numbers of (beam, word)
        parent = (first_row + choice // words).reshape(rows)
        new_tokens = (choice % words).reshape(rows).astype(np.int32)
        going_on = ta.logical_not(ended).astype(length.dtype).reshape(rows)
        length = length + going_on
        if beam > 1:  # (else each row goes on with itself)
            state, length = _rows((state, length), parent)
        seen = {"tokens": new_tokens, "parent": parent}
        if attention is not None:
            seen["attention"] = attention
        return (state, new_tokens, score, length), seen

    # At first the k beams of a sentence are the same: one lives, the others are not there yet.
    alone = np.full((batch, beam), DEAD)
    alone[:, 0] = 0.0
    dtype = next(part.dtype for part in flatten(state) if part.dtype.kind == "f")
    start = np.full(rows, BOS, np.int32)
    carry = (state, ta.tensor(start), ta.tensor(alone.astype(dtype)), ta.tensor(np.zeros(rows, dtype)))
    (_, _, score, length), seen = ta.scan(extend, carry, length=max_length)

    worth = score / ((length.reshape(batch, beam) + 5) / 6) ** length_penalty
    best = first_row.reshape(batch) + ta.argmax(worth, 1)
    backwards = ta.scan(_previous, best, seen, reverse=True)[1]
    attention = backwards.get("attention")
    return Translation(
        tokens=backwards["tokens"].T,
        attention=None if attention is None else attention.transpose(1, 0, 2),
        score=ta.take(score.reshape(rows), best),
    )


def repeat(tree: Any, times: int) -> Any:
    """Each row of every Tensor of a tree `times` times, one copy behind the other: (B, …) → (B · times, …)."""
    if isinstance(tree, tuple):
        return tuple(repeat(part, times) for part in tree)
    rows, *rest = tree.shape
    return ta.broadcast_to(tree.reshape(rows, 1, *rest), (rows, times, *rest)).reshape(rows * times, *rest)


def _previous(row, seen):
    """One step back along the chosen hypotheses: row (B,), where they are after the step."""
    parent = ta.take(seen["parent"], row)
    found = {"tokens": ta.take(seen["tokens"], row)}
    if "attention" in seen:
        found["attention"] = ta.take(seen["attention"], parent)
    return parent, found


def _largest(values: ta.Tensor, count: int) -> tuple[ta.Tensor, ta.Tensor]:
    """The `count` largest of each row, largest first, and where they are: (B, N) → (B, count) twice; `count`
    is small.
    """
    place = ta.arange(values.shape[1]).reshape(1, values.shape[1])
    largest, where = [], []
    for _ in range(count):
        found = ta.argmax(values, 1)
        largest.append(ta.max(values, 1))
        where.append(found)
        values = ta.where(place == found.reshape(-1, 1), -np.inf, values)
    return ta.stack(largest, 1), ta.stack(where, 1)


def _rows(tree: State, rows: ta.Tensor) -> State:
    """The given rows of every Tensor of a tree."""
    return unflatten(tree, [ta.take(part, rows) for part in flatten(tree)])
