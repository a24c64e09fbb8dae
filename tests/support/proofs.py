"""Cases for the proof of the hand-derived operations: an operation, its inputs, and its definition beside it."""

import numpy as np
import op_rows_convolution
import op_rows_memory
import op_rows_norm
import op_rows_sdpa
import pytest

import tinyattn as ta
from tinyattn import ops as _ops  # noqa: F401  (fills the table)
from tinyattn.graph.grad import pull_back
from tinyattn.graph.op import OPS
from tinyattn.graph.tensor import make, outputs

HAND_DERIVED = {
    name for name, op in OPS.items() if op.definition is not None and not name.endswith("_backward")
} - {"checkpoint"}
FLOATS = pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["f32", "f64"])

OPEN = np.array([[True, True, False, True], [False, True, False, False], [True, True, True, True]])
CLOSED = np.array([[True, True, False, True], [False, False, False, False], [True, True, True, True]])
MASKS = {
    "none": None,
    "bool": OPEN,
    "bool, a row closed": CLOSED,
    "bool, one column for all": np.array([True, False, True, True]),
    "bool, batch": np.array([[[True]], [[False]]]),
    "added": np.linspace(-1, 1, 12).reshape(3, 4),
    "added −∞": np.where(OPEN, 0.3, -np.inf),
    "added −∞, a row closed": np.where(CLOSED, 0.3, -np.inf),
}
STEPS = {"none": (), "bool": (np.array([[True], [False], [True]]),), "closed": (np.zeros((3, 1), bool),)}


def _cases():
    """(operation, what is special) → (arrays in float64, attributes)."""
    rng = np.random.default_rng(3)
    real = lambda *shape: rng.standard_normal(shape)
    for name in ("softmax", "log_softmax"):
        for kind, mask in MASKS.items():
            yield name, kind, (real(2, 3, 4), *(() if mask is None else (mask,))), {}
        yield name, "long rows", (real(3, 70),), {}
    targets = np.array([1, 0, 3])
    for kind, attrs in {
        "plain": {"ignore": None, "smoothing": 0.0},
        "smoothed": {"ignore": None, "smoothing": 0.2},
        "ignoring": {"ignore": 0, "smoothing": 0.0},
        "ignoring, smoothed": {"ignore": 3, "smoothing": 0.1},
    }.items():
        yield "cross_entropy", kind, (real(3, 4), targets), attrs
    yield (
        "cross_entropy",
        "int32 targets",
        (real(3, 4), targets.astype(np.int32)),
        {"ignore": None, "smoothing": 0.0},
    )
    yield "dot_score", "plain", (real(2, 3, 4), real(2, 5, 4)), {"scale": 1.0}
    yield "dot_score", "scaled", (real(2, 3, 4), real(2, 5, 4)), {"scale": 0.5}
    yield "dot_score", "one query for all", (real(3, 4), real(2, 5, 4)), {"scale": 0.5}
    yield "general_score", "plain", (real(2, 3, 4), real(2, 5, 3), real(4, 3)), {}
    yield "general_score", "one query for all", (real(3, 4), real(2, 5, 3), real(4, 3)), {}
    yield "additive_score", "plain", (real(2, 3, 4), real(2, 5, 4), real(4)), {}
    yield "additive_score", "one step", (real(2, 1, 70), real(2, 9, 70), real(70)), {}
    for kind, mask in STEPS.items():
        held = () if not mask else (real(3, 2), *mask)
        yield "lstm_cell", kind, (real(3, 8), real(3, 2), *held), {}
        yield "gru_cell", kind, (real(3, 6), real(3, 6), real(3, 2), *mask), {}
    yield "maxout", "plain", (real(2, 3, 6),), {}
    for probability in (0.3, 0.9):
        yield (
            "dropout",
            f"p = {probability}",
            (real(3, 5), np.array([7, 1 << 33])),
            {"p": probability, "stream": 2},
        )
    yield from op_rows_norm.proof_cases()
    yield from op_rows_memory.proof_cases()
    yield from op_rows_sdpa.proof_cases(MASKS)
    yield from op_rows_convolution.proof_cases()
    yield "affine", "row", (real(5, 3), real(3, 4), real(4)), {}
    yield "affine", "matrix", (real(2, 5, 3), real(2, 3, 4), real(2, 5, 4)), {}
    for name in ("relu", "tanh", "sigmoid"):
        yield f"affine_{name}", "row", (real(5, 3), real(3, 4), real(4)), {}
        yield f"affine_{name}", "one row", (real(1, 3), real(3, 40), real(40)), {}


CASES = [pytest.param(name, arrays, attrs, id=f"{name}: {kind}") for name, kind, arrays, attrs in _cases()]
every_case = pytest.mark.parametrize(("name", "arrays", "attrs"), CASES)


def plain(array):
    return ta.tensor(array)


def transposed(array):
    return ta.tensor(np.array(array.T, order="C")).T


def sliced(array):
    big = np.zeros([2 * n + 1 for n in array.shape], array.dtype)
    part = tuple(slice(1, None, 2) for _ in array.shape)
    big[part] = array
    return ta.tensor(big)[part]


def build(name, arrays, attrs, dtype=np.float64, leaf=plain):
    """Inputs; outputs of the node; outputs of its definition."""
    inputs = [leaf(a.astype(dtype) if a.dtype.kind == "f" else a) for a in arrays]
    op = OPS[name]
    opened = op.definition(*inputs, **attrs)
    opened = list(opened) if isinstance(opened, tuple) else [opened]
    node = make(name, *inputs, **attrs)
    return inputs, [node] if node.dtype is not None else list(outputs(node, len(opened))), opened


def cotangents(results, seed):
    rng = np.random.default_rng(seed)
    return {y: ta.tensor(rng.standard_normal(y.shape).astype(y.dtype)) for y in results}


def gradients(inputs, results, seed):
    """Cotangents of the floating-point inputs for random cotangents of ``results`` (zeros where nothing comes back)."""
    moving = [x for x in inputs if x.dtype.kind == "f"]
    pulled = pull_back(cotangents(results, seed), moving)
    return [ta.zeros(x.shape, x.dtype) if g is None else g for x, g in zip(moving, pulled, strict=True)]
