"""How good is it: the numbers that go into a report.

All are of a whole corpus, not means over sentences or batches, and all match what the field computes: BLEU is
that of sacrebleu to the last digit, alignment error rate that of Och & Ney. BLEU is written here, because it is thirty
lines on tokens that are split already, where sacrebleu brings five packages and tokenizers; tests compare the two.
"""

import math
from collections import Counter
from collections.abc import Hashable, Sequence
from itertools import pairwise

import numpy as np

from tinyattn.errors import DataError, ShapeError

BLEU_ORDER = 4


def exact_matches(predictions: Sequence[Sequence], references: Sequence[Sequence]) -> np.ndarray:
    """Which predictions equal their reference, token for token: (n,) bool.

    Raises DataError for unequal numbers of predictions and references, or none.
    """
    _check_pairs("exact_match", predictions, references)
    pairs = zip(predictions, references, strict=True)
    return np.array([list(prediction) == list(reference) for prediction, reference in pairs], bool)


def exact_match(predictions: Sequence[Sequence], references: Sequence[Sequence]) -> float:
    """The fraction of predictions that equal their reference, 0 to 1.

    Raises DataError for unequal numbers of predictions and references, or none.
    """
    return float(exact_matches(predictions, references).mean())


def mean_by_bucket(values: np.ndarray, lengths: np.ndarray, edges: Sequence[int]) -> dict[str, float]:
    """The mean of `values` (n,) over the examples of each length bucket: {"5-9": 0.98, "10-14": ...}.

    A bucket goes from one of the ascending `edges` up to the next, which it does not include. Empty ones are
    left out.
    """
    means = {}
    for low, high in pairwise(edges):
        inside = (np.asarray(lengths) >= low) & (np.asarray(lengths) < high)
        if inside.any():
            means[f"{low}-{high - 1}"] = float(np.mean(np.asarray(values)[inside]))
    return means


def bleu(
    predictions: Sequence[Sequence[Hashable]],
    references: Sequence[Sequence[Hashable]],
    order: int = BLEU_ORDER,
) -> float:
    """BLEU-4 of a corpus with one reference for each sentence, 0 to 100; or with another ``order`` BLEU-1, …

        BLEU = 100 * min(1, exp(1 - r / c)) * (p_1 p_2 p_3 p_4) ** (1/4)

    (Papineni et al. 2002, "BLEU: a method for automatic evaluation of machine translation", section 2.3).
    Here c and r are the numbers of predicted and reference tokens, and p_n is the fraction of predicted
    n-grams that occur in the reference, each counted at most as often as it occurs there. Where no n-gram of
    an order matches, p_n is 1 / (2**k * their number) in the k-th such order (smoothing of mteval, NIST 2005,
    the default of sacrebleu). The result is that of `sacrebleu.corpus_bleu(predictions, [references],
    tokenize="none", force=True)` on the joined tokens. Raises DataError for unequal numbers of predictions
    and references, or none.
    """
    _check_pairs("bleu", predictions, references)
    matched, total = [0] * order, [0] * order
    for prediction, reference in zip(predictions, references, strict=True):
        for n in range(1, order + 1):
            said = _ngrams(prediction, n)
            matched[n - 1] += (said & _ngrams(reference, n)).total()
            total[n - 1] += said.total()
    if matched[0] == 0 or total[-1] == 0:  # not one word right, or no sentence of so many words
        return 0.0
    predicted_length, reference_length = total[0], sum(map(len, references))
    log_precision, smoothing = 0.0, 1.0
    for hits, tries in zip(matched, total, strict=True):
        if hits == 0:
            smoothing *= 2
        log_precision += math.log(100 * hits / tries if hits else 100 / (smoothing * tries))
    brevity_penalty = min(1.0, math.exp(1 - reference_length / predicted_length))
    return brevity_penalty * math.exp(log_precision / order)


def alignment_links(weights: np.ndarray, source_length: np.ndarray, target_length: np.ndarray) -> np.ndarray:
    """Attention weights as hard links: each target position to the source position it attends to most.

    weights: (B, T, S); source_length: (B,); target_length: (B,) target positions to align, those in front of
    <eos>: `batch.target_length - 1`. Positions outside the lengths get no link. Returns (B, T, S) bool.
    Raises ShapeError.
    """
    weights, source_length, target_length = map(np.asarray, (weights, source_length, target_length))
    if weights.ndim != 3 or not source_length.shape == target_length.shape == weights.shape[:1]:
        got = f"got {weights.shape}, {source_length.shape} and {target_length.shape}"
        raise ShapeError(f"[alignment_links] shapes must be (B, T, S), (B,) and (B,), but {got}.")
    _, rows, columns = weights.shape
    attended = np.arange(columns) < source_length[:, None, None]
    best = np.where(attended, weights, -np.inf).argmax(axis=-1)
    aligned = (np.arange(rows) < target_length[:, None]) & (source_length[:, None] > 0)
    return (np.arange(columns) == best[..., None]) & aligned[..., None]


def alignment_error_rate(
    predicted: np.ndarray, sure: np.ndarray, possible: np.ndarray | None = None
) -> float:
    """AER, from 0 (perfect) to 1.

        AER = 1 - (|A & S| + |A & P|) / (|A| + |S|)

    (Och & Ney 2003, "A systematic comparison of various statistical alignment models"). A are the predicted
    links, S the sure ones and P the possible ones, which include the sure; without `possible`, P = S. All are
    bool of one shape such as (B, T, S); a corpus may be padded or concatenated into it. Raises ShapeError for
    different shapes and DataError when there is no link at all.
    """
    predicted, sure = np.asarray(predicted, bool), np.asarray(sure, bool)
    possible = sure if possible is None else np.asarray(possible, bool) | sure
    if not predicted.shape == sure.shape == possible.shape:
        got = f"got {predicted.shape}, {sure.shape} and {possible.shape}"
        raise ShapeError(f"[alignment_error_rate] all links must have one shape, but {got}.")
    links = int(predicted.sum()) + int(sure.sum())
    if links == 0:
        raise DataError("[alignment_error_rate] there must be at least one link, but got none.")
    return 1 - (int((predicted & sure).sum()) + int((predicted & possible).sum())) / links


def perplexity(negative_log_likelihood: float, tokens: int) -> float:
    """exp(nll / tokens), with the nll in nats summed over all tokens, <eos> included; inf where it overflows.

    Raises DataError without tokens.
    """
    if tokens < 1:
        raise DataError(f"[perplexity] there must be at least one token, but got {tokens}.")
    mean = float(negative_log_likelihood) / tokens
    return math.exp(mean) if mean < 700 or math.isnan(mean) else math.inf


def accuracy(predicted: np.ndarray, target: np.ndarray, ignore_index: int | None = None) -> float:
    """The fraction of equal elements, 0 to 1, leaving out those whose target is `ignore_index`.

    Raises ShapeError for different shapes and DataError when nothing is left to compare.
    """
    predicted, target = np.asarray(predicted), np.asarray(target)
    if predicted.shape != target.shape:
        got = f"got {predicted.shape} and {target.shape}"
        raise ShapeError(f"[accuracy] predictions and targets must have one shape, but {got}.")
    counted = np.ones(target.shape, bool) if ignore_index is None else target != ignore_index
    if not counted.any():
        raise DataError("[accuracy] there must be something to compare, but got no target.")
    return float((predicted == target)[counted].mean())


def confusion(predicted: np.ndarray, target: np.ndarray, classes: int) -> np.ndarray:
    """How often what is of class i was taken for class j: (classes, classes) int64, rows i.

    predicted, target: (n,) integers from 0 to classes − 1.
    """
    pairs = np.asarray(target, np.int64) * classes + np.asarray(predicted, np.int64)
    return np.bincount(pairs, minlength=classes**2).reshape(classes, classes)


def macro_f1(predicted: np.ndarray, target: np.ndarray, classes: int) -> float:
    """The mean over classes of 2 P R / (P + R), 0 to 1: a rare class counts as much as a frequent one.

    P is the share of right ones among those taken for the class, R among those of the class, and classes without
    any are left out, as scikit-learn's f1_score(average="macro") does.
    """
    counts = confusion(predicted, target, classes)
    said_or_true = counts.sum(0) + counts.sum(1)
    occurs = said_or_true > 0
    return float((2 * np.diag(counts)[occurs] / said_or_true[occurs]).mean())


def frechet_distance(one: np.ndarray, other: np.ndarray) -> float:
    """How far apart two sets of features are, (n, d) and (m, d), each taken for a normal distribution.

        |μ₁ − μ₂|² + tr(Σ₁ + Σ₂ − 2 (Σ₁ Σ₂)^½)

    (Fréchet 1957; Heusel et al. 2017, "GANs trained by a two time-scale update rule", equation 6.) The trace of the
    root is Σ √λ over the eigenvalues λ of Σ₁^½ Σ₂ Σ₁^½, which is symmetric. Two samples of one distribution are
    apart, too: by less the more they hold. Raises ShapeError.
    """
    one, other = np.asarray(one, np.float64), np.asarray(other, np.float64)
    if one.ndim != 2 or other.ndim != 2 or one.shape[1] != other.shape[1] or not len(one) or not len(other):
        got = f"got {one.shape} and {other.shape}"
        raise ShapeError(f"[frechet_distance] features must be (n, d) and (m, d), none empty, but {got}.")
    covariances = [np.cov(features.T, ddof=0).reshape(one.shape[1], -1) for features in (one, other)]
    values, vectors = np.linalg.eigh(covariances[0])
    root = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    shared = np.linalg.eigvalsh(root @ covariances[1] @ root)
    apart = one.mean(axis=0) - other.mean(axis=0)
    spread = np.trace(covariances[0]) + np.trace(covariances[1]) - 2 * np.sqrt(np.maximum(shared, 0)).sum()
    return float(apart @ apart + max(spread, 0.0))


def _ngrams(tokens: Sequence[Hashable], order: int) -> Counter:
    return Counter(zip(*(tokens[start:] for start in range(order)), strict=False))


def _check_pairs(metric: str, predictions: Sequence, references: Sequence) -> None:
    if len(predictions) != len(references) or not len(references):
        got = f"got {len(predictions)} and {len(references)}"
        raise DataError(f"[{metric}] predictions and references must be as many, at least one, but {got}.")
