"""Can the checks fail? Each rule of the derivative table is broken on purpose, and gradcheck has to notice."""

import contextlib

import numpy as np
import pytest
from dice import tried
from engine import op_names
from op_table import ROWS

import tinyattn as ta
from tinyattn.errors import GradcheckError
from tinyattn.graph import grad as grad_module
from tinyattn.graph.op import OPS, ZERO, NotDifferentiable
from tinyattn.graph.traverse import topological

BREAK = {"one percent": lambda g: g * 1.01, "missing": lambda g: None}
"""The least there is to notice, and no derivative at all."""
DIFFERENTIABLE = [
    name
    for name, op in OPS.items()
    if op.derivative is not ZERO and not isinstance(op.derivative, NotDifferentiable)
]
ENGINE = {"output"}
"""Picked apart by the walk itself; its row of the table is never asked."""


def _fit():
    """The samples of the table that have derivatives by something, with their rows."""
    for row in ROWS:
        for sample in row.samples:
            empty = any(0 in spec.shape for spec in sample.inputs)
            if not (row.constant or not sample.smooth or sample.size < 2 or empty):
                yield row, sample


def _samples():
    """For each operation, the samples of the table whose forward graph has it, as (order, call, arrays): its own row first, then by size."""
    found = {}
    for row, sample in _fit():
        call = lambda *x, r=row, s=sample: r.call(*x, **s.attrs)
        for name in op_names(row.results([ta.tensor(a) for a in sample.arrays()], sample.attrs)):
            found.setdefault(name, []).append(((row.name != name, sample.size), call, sample.arrays()))
    return {name: sorted(rows, key=lambda row: row[0]) for name, rows in found.items()}


def _scan(h0, x, w):
    return ta.scan(lambda h, xt: (ta.tanh(h * w + xt), None), h0, x)[0]


SAMPLES = _samples()
# In float32, finite differences are good to some 10⁻⁴ for numbers this small.
SAMPLES["cast"] = [(0, lambda x: ta.cast(x, np.float32), [np.array([0.01, -0.007])])]
ABSOLUTE_TOLERANCE = {"cast": 1e-3}
SAMPLES["scan"] = [
    (0, _scan, [np.array([0.1, 0.2]), np.array([[0.3, -0.2], [0.5, 0.4]]), np.array([0.7, -0.6])])
]
SAMPLES["checkpoint"] = [
    (0, ta.checkpoint(lambda x, w: ta.tanh(x * w)), [np.array([0.3, -0.2]), np.array(0.7)])
]
SAMPLES["after"] = [
    (0, lambda x: ta.grad(ta.checkpoint(lambda x: ta.sin(x) * x)(x).sum(), x), [np.array([0.3, -0.2])])
]


@contextlib.contextmanager
def broken(op, rule):
    """The operation with another derivative for a while (rows are frozen; a test may break them)."""
    before = op.derivative
    object.__setattr__(op, "derivative", rule)
    try:
        yield
    finally:
        object.__setattr__(op, "derivative", before)


def positions(name, call, arrays):
    """The inputs of an operation's nodes in a sample that get a cotangent."""
    if not any(np.asarray(array).dtype.kind == "f" for array in arrays):
        return []
    seen = set()
    before = OPS[name].derivative

    def spy(g, node):
        found = before(g, node)
        seen.update(k for k, c in enumerate(found) if c is not None and c is not ZERO)
        return found

    with broken(OPS[name], spy):
        ta.gradcheck(call, arrays, order=1, atol=ABSOLUTE_TOLERANCE.get(name, 1e-6))
    return sorted(seen)


def test_every_differentiable_operation_has_a_sample():
    assert set(DIFFERENTIABLE) - set(SAMPLES) - ENGINE == set()


@pytest.mark.parametrize("name", [name for name in DIFFERENTIABLE if name not in ENGINE])
def test_broken_rules_are_caught(name):
    op, right = OPS[name], OPS[name].derivative
    call, arrays, needed = next((c, a, p) for _, c, a in SAMPLES[name] if (p := positions(name, c, a)))
    for mutation, change in BREAK.items():
        for position in needed:

            def rule(g, node, position=position, change=change):
                found = list(right(g, node))
                if found[position] is not None:
                    found[position] = change(found[position])
                return found

            with broken(op, rule), pytest.raises(GradcheckError) as error:
                ta.gradcheck(call, arrays, order=1, atol=ABSOLUTE_TOLERANCE.get(name, 1e-6))
                pytest.fail(f"{mutation} of input {position} of {name} was not caught")
            assert "first-order derivative" in str(error.value)
            tried("broken derivatives")
    assert ta.gradcheck(call, arrays, order=1, atol=ABSOLUTE_TOLERANCE.get(name, 1e-6))


def _first_instead_of_sum(cotangent, shape):
    """The engine's un-broadcasting, broken: the first slice in place of the sum over all of them."""
    if cotangent.shape == shape:
        return cotangent
    extra = cotangent.ndim - len(shape)
    wide = tuple(1 if k < extra else s for k, s in enumerate((0,) * extra + shape))
    first = cotangent[tuple(slice(0, 1) if w == 1 else slice(None) for w in wide)]
    return first.reshape(shape)


def _broadcasting_samples():
    """For each operation whose inputs broadcast in some sample: that sample."""
    found = {}
    for row, sample in _fit():
        inputs = [ta.tensor(a) for a in sample.arrays()]
        for node in topological(row.results(inputs, sample.attrs)):
            if node.op.elementwise or node.op.name in ("broadcast_to", "matmul", "dot_score"):
                spread = any(
                    s.dtype.kind == "f" and s.op.name == "tensor" and s.shape != node.shape
                    for s in node.inputs
                )
                if spread and (
                    node.op.elementwise
                    or node.op.name == "broadcast_to"
                    or len({s.ndim for s in node.inputs}) > 1
                ):
                    found.setdefault(node.op.name, (row, sample))
    return found


BROADCASTING = _broadcasting_samples()


def test_broadcasting_is_covered():
    binary = {
        "add",
        "sub",
        "mul",
        "div",
        "maximum",
        "minimum",
        "pow",
        "where",
        "broadcast_to",
        "mod",
        "dot_score",
    }
    assert binary & set(DIFFERENTIABLE) <= set(BROADCASTING)


@pytest.mark.parametrize("name", sorted(set(BROADCASTING) & set(DIFFERENTIABLE)))
def test_missing_sums_over_broadcast_axes_are_caught(name, monkeypatch):
    row, sample = BROADCASTING[name]
    monkeypatch.setattr(grad_module, "sum_to", _first_instead_of_sum)
    with pytest.raises(GradcheckError):
        ta.gradcheck(lambda *x: row.call(*x, **sample.attrs), sample.arrays(), order=1)
