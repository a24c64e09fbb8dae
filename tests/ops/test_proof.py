"""The proof of the hand-derived operations: the gradient of the definition is the hand-derived gradient, and the kernel is the definition.

Both gradients are symbolic, so this is no finite difference: they agree to rounding, to second order, under every kind of mask, and in any
layout.
"""

import math

import numpy as np
import pytest
from engine import compiled, equal
from proofs import CASES, FLOATS, HAND_DERIVED, MASKS, build, every_case, gradients, plain, sliced, transposed

import tinyattn as ta
from tinyattn.graph.grad import pull_back
from tinyattn.graph.op import OPS, NotDifferentiable
from tinyattn.graph.tensor import make, outputs
from tinyattn.runtime import reference


def test_every_hand_derived_operation_has_cases():
    assert {case.values[0] for case in CASES} == HAND_DERIVED


@every_case
@pytest.mark.parametrize("leaf", [plain, transposed, sliced])
@FLOATS
def test_kernel_is_the_definition(name, arrays, attrs, leaf, dtype):
    _, results, opened = build(name, arrays, attrs, dtype, leaf)
    for found, right in zip(compiled(results), reference.evaluate(opened), strict=True):
        equal(found, right, 1.0, name)


PROVED = [case for case in CASES if not isinstance(OPS[case.values[0]].derivative, NotDifferentiable)]
every_proof = pytest.mark.parametrize(("name", "arrays", "attrs"), PROVED)


def both_ways(inputs, results, opened):
    """(first derivative by hand, of the definition): of the first output alone, as it is used, and of all outputs. The others are
    mostly statistics, and where somebody differentiates those, some derivatives are by definition.
    """
    for count in sorted({1, len(results)}):
        yield gradients(inputs, results[:count], 1), gradients(inputs, opened[:count], 1)


@every_proof
@pytest.mark.parametrize("leaf", [plain, transposed, sliced])
@FLOATS
def test_gradient_of_the_definition_is_the_hand_derived_one(name, arrays, attrs, leaf, dtype):
    for by_hand, derived in both_ways(*build(name, arrays, attrs, dtype, leaf)):
        agree(by_hand, derived, name, dtype)


def agree(by_hand, derived, name, dtype):
    assert [g.type for g in by_hand] == [g.type for g in derived]
    right = reference.evaluate(derived)
    for found in (reference.evaluate(by_hand), compiled(by_hand), compiled(derived)):
        for g, expected in zip(found, right, strict=True):
            assert np.isfinite(expected).all()
            error = np.abs(g.astype(np.float64) - expected).max(initial=0)
            assert error <= (1e-10 if dtype == np.float64 else 1e-5) * max(
                1, np.abs(expected).max(initial=0)
            ), name


@every_proof
def test_second_derivatives_agree(name, arrays, attrs):
    inputs, results, opened = build(name, arrays, attrs)
    for first_by_hand, first_derived in both_ways(inputs, results, opened):
        agree(gradients(inputs, first_by_hand, 2), gradients(inputs, first_derived, 2), name, np.float64)


# What stands behind a mask.


@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
@pytest.mark.parametrize("kind", [kind for kind in MASKS if kind not in ("none", "added")])
@pytest.mark.parametrize("behind", [math.nan, math.inf, -math.inf], ids=["NaN", "inf", "-inf"])
@FLOATS
def test_what_is_masked_never_leaks(name, kind, behind, dtype):
    mask = np.asarray(MASKS[kind])
    visible = np.broadcast_to(mask if mask.dtype == bool else mask != -np.inf, (2, 3, 4))
    clean = np.random.default_rng(0).standard_normal((2, 3, 4)).astype(dtype)
    dirty = np.where(visible, clean, dtype(behind))
    found = {}
    for which, scores in (("clean", clean), ("dirty", dirty)):
        # In the dirty run the cotangent is as bad behind the mask as the score.
        x, weight = (
            ta.tensor(scores),
            ta.tensor(np.where(visible | (which == "clean"), clean + 1, dtype(behind))),
        )
        m = ta.tensor(mask if mask.dtype == bool else mask.astype(dtype))
        y = getattr(ta, name)(x, mask=m)
        (g,) = pull_back({y: weight}, [x])
        (h,) = pull_back({g: ta.tensor(clean + 2)}, [x])
        found[which] = [
            compiled([y, g, h]),
            compiled([y, g, h], rewriting=False),
            reference.evaluate([y, g, h]),
        ]
    for clean_values, dirty_values in zip(found["clean"], found["dirty"], strict=True):
        for k, (right, value) in enumerate(zip(clean_values, dirty_values, strict=True)):
            equal(value, right, 1.0, f"{name} derivative {k}")
        y, g, h = dirty_values
        assert (y[~visible] == (0 if name == "softmax" else -np.inf)).all()
        assert not g[~visible].any() and not h[~visible].any()
        assert np.isfinite(y[visible]).all() and np.isfinite(g).all() and np.isfinite(h).all()
        closed = ~visible.any(-1)
        assert not g[closed].any()


@FLOATS
def test_what_is_masked_never_leaks_from_recurrent_steps(dtype):
    rng, mask = np.random.default_rng(0), np.array([[True], [False], [True]])
    bad = np.where(mask, 0.0, np.nan)
    gates, xp, hp, h, c = ((rng.standard_normal((3, n))).astype(dtype) for n in (8, 6, 6, 2, 2))
    for name, held, state in (
        ("lstm_cell", [gates + bad], [c, h]),
        ("gru_cell", [xp + bad, hp + bad], [h]),
    ):
        inputs = [ta.tensor(a.astype(dtype)) for a in (*held, *state)]
        node = make(name, *inputs, ta.tensor(mask))
        results = list(outputs(node, 2)) if node.dtype is None else [node]
        pulled = gradients(inputs, results, 1)
        for values in (compiled([*results, *pulled]), reference.evaluate([*results, *pulled])):
            assert all(np.isfinite(v).all() for v in values), name
            first = values[0]
            np.testing.assert_array_equal(first[1], h[1])
            for g in values[len(results) : len(results) + len(held)]:
                assert not g[1].any()


@FLOATS
def test_ignored_targets_never_leak(dtype):
    logits = np.random.default_rng(0).standard_normal((3, 4)).astype(dtype)
    logits[1] = np.nan
    x = ta.tensor(logits)
    loss = ta.cross_entropy(x, np.array([1, -1, 3]), ignore_index=-1)
    value, gradient = compiled([loss, ta.grad(loss, x)])
    assert np.isfinite(value) and np.isfinite(gradient).all() and not gradient[1].any()
