"""torch's own samples, answered by both libraries: nothing differs but what is listed here, each with its reason.

``python tests/ops/test_torch_samples.py [name ...]`` prints what differs.
"""

import functools
import re
import sys
from collections import Counter
from typing import NamedTuple

import pytest

pytest.importorskip("torch")
pytest.importorskip("expecttest")  # what torch's samples are imported with

import torch_module_samples
import torch_samples
from torch_samples import Outcome, Tally

SHARE = 0.95
"""Of the samples that can be compared, at least so many agree."""


class Exceptional(NamedTuple):
    """Outcomes that differ on purpose: regular expressions for operation, verdict, and "kind sample: what came"."""

    operation: str
    verdict: str
    text: str
    reason: str


BOOLS = "bools are the integers 0 and 1 in arithmetic (docs/numpy.md)"
WHOLE = "what is made for floating-point numbers makes float32 of integers"
AXES = "a scalar has no axis (NumPy)"
ON_PURPOSE = [
    Exceptional("add|__radd__|mul|__rmul__|sign|sgn|max|min|maximum|minimum|clamp_max|clamp_min|prod|cumprod", "value|type", "^bool ", BOOLS),
    Exceptional(r"nn.functional.(conv\w+|max_pool2d|avg_pool2d|hardtanh|relu6|linear)", "type|value", "^int", WHOLE),
    Exceptional("softmax|log_softmax|Softmax|LogSoftmax", "refused", "must have an axis", AXES),
    Exceptional("outer", "type", "^bool ", BOOLS),
    Exceptional("topk|sort|argsort", "value", r"^(int|bool)", "of equal numbers torch leaves open which comes first; here it is the first"),
    Exceptional("arange", "value", r"^int\d+ -?\d.*\.\d", "numbers with a point, cut off to integers: NumPy's values"),
    Exceptional("einsum", "type", "^int32", "einsum keeps the integers' type (NumPy)"),
    Exceptional("tensordot", "refused", r"\[1, 1\] and \[2, 2\]", "torch repeats axes of size 1, NumPy does not"),
    Exceptional("cat", "refused", r"\[\(0,\), \(5, 5\)\]", "torch lets an empty vector stand for nothing, for old times' sake"),
    Exceptional("std|var|mean", "refused", "must not be empty", "the mean of nothing is an error here"),
    Exceptional("nn.functional.batch_norm|BatchNorm1d|BatchNorm2d", "refused", r"x must be \(N, C|more than one number", "there is nothing to normalise"),
    Exceptional("BatchNorm1d|BatchNorm2d", "refused", "keyword argument 'bias'", "not built: scale without shift"),
    Exceptional("Linear", "refused", "keyword argument 'input'", "the argument is called x here"),
    Exceptional("MaxPool2d", "refused", "return_indices", "not built: the places of maxima"),
    Exceptional("LSTM", "refused", "proj_size", "not built: projections of the state"),
    Exceptional("CrossEntropyLoss", "value", "torch nan", "the mean over no target is 0 here, NaN there"),
]  # fmt: skip


def _text(outcome: Outcome) -> str:
    return f"{outcome.kind} {outcome.sample}: {outcome.why}"


def _excused(outcome: Outcome) -> Exceptional | None:
    for exception in ON_PURPOSE:
        if re.fullmatch(exception.operation, outcome.operation) and re.fullmatch(
            exception.verdict, outcome.verdict
        ):
            if re.search(exception.text, _text(outcome)):
                return exception
    return None


@functools.cache
def _tallies() -> dict[str, Tally]:
    """Outcomes by the name of the operation (several rows of torch's may share one) or module."""
    found: dict[str, Tally] = {}
    for row in torch_samples.operations():
        found.setdefault(row.name, Tally()).outcomes.extend(torch_samples.run(row).outcomes)
    for row in torch_module_samples.counterparts():
        found[row.module_cls.__name__] = torch_module_samples.run(row)
    return found


def test_nothing_differs_from_torch_but_what_is_listed():
    different = [o for t in _tallies().values() for o in t.comparable if o.verdict != "agrees"]
    unexplained = [o for o in different if _excused(o) is None]
    assert not unexplained, "\n".join(
        f"{o.operation} {o.verdict}: {_text(o)[:300]}" for o in unexplained[:40]
    )
    used = {_excused(o) for o in different}
    assert not [e for e in ON_PURPOSE if e not in used], "listed, but it agrees by now"


def test_gradients_are_all_right():
    wrong = [o for t in _tallies().values() for o in t.outcomes if o.verdict == "gradient"]
    assert not wrong, wrong[:5]


def test_enough_is_compared_and_agrees():
    counts = sum((t.counts() for t in _tallies().values()), Counter())
    comparable = sum(counts.values()) - counts["absent"]
    print(dict(counts))
    assert comparable > 7000
    assert counts["agrees"] / comparable >= SHARE, counts


if __name__ == "__main__":
    for name, tally in _tallies().items():
        if sys.argv[1:] and name not in sys.argv[1:]:
            continue
        for outcome in tally.comparable:
            if outcome.verdict != "agrees":
                excuse = _excused(outcome)
                print(
                    name,
                    outcome.verdict,
                    _text(outcome)[:200],
                    "|",
                    excuse.reason if excuse else "NOT LISTED",
                )
    whole = sum((t.counts() for t in _tallies().values()), Counter())
    print(dict(whole), whole["agrees"] / (sum(whole.values()) - whole["absent"]))
