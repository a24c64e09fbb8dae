"""Layers beside those of torch."""

import make_attention_fixtures as fixtures
import numpy as np

import tinyattn as ta
from tinyattn import nn


def close(found, expected, tolerance=1e-9):
    """Compare to a tolerance relative to the largest expected number."""
    found, expected = np.asarray(found), np.asarray(expected)
    assert found.shape == expected.shape and found.dtype == expected.dtype
    assert np.abs(found - expected).max(initial=0) <= tolerance * max(1, np.abs(expected).max(initial=0))


def check(reference, case):
    """Results and all gradients of a module, with the weights of ``reference``."""
    module = fixtures.module(nn, case, np.float64)
    weights = {k.partition(".")[2]: v for k, v in reference.items() if k.startswith("weight.")}
    assert list(module.state_dict()) == list(weights)
    module.load_state_dict(weights)
    inputs, masks = fixtures.arguments(case)
    cotangents = [reference[k] for k in reference if k.startswith("cotangent")]

    @ta.function
    def run(inputs, masks, cotangents):
        results = module(*inputs.values(), **masks, **case["call"])
        results = [r for r in (results if isinstance(results, tuple) else [results]) if r is not None]
        terms = [(result * cotangent).sum() for result, cotangent in zip(results, cotangents, strict=True)]
        return results, ta.grad(sum(terms[1:], terms[0]), [*inputs.values(), *module.parameters()])

    results, gradients = run(inputs, masks, cotangents)
    for k, result in enumerate(results):
        close(result, reference[f"result{k}"])
    names = [*(f"gradient_input.{name}" for name in inputs), *(f"gradient.{name}" for name in weights)]
    for name, gradient in zip(names, gradients, strict=True):
        close(gradient, reference[name])


def numbers(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def singles(*shape):
    """Such numbers in float32."""
    return numbers(*shape).astype(np.float32)


def equal_states(one, other):
    """Assert that two state dicts have the same names in order, element types and bits."""
    assert list(one) == list(other)
    for name in one:
        assert one[name].dtype == other[name].dtype, name
        np.testing.assert_array_equal(one[name], other[name], name)
