"""Random graphs: the compiled program, with rewriting and without, is the reference interpreter is torch's autograd."""

from dataclasses import replace

import numpy as np
import pytest
from dice import tried
from engine import agree
from hypothesis import given, settings
from random_graphs import COLUMNS, PROFILE, ROWS, STEPS, Theirs, build, interpret, recipes

import tinyattn as ta
from tinyattn.rewrite import rules as _rules  # noqa: F401  (fills the list)
from tinyattn.rewrite.rule import RULES, Log, Rewriter


def test_recipes_cover_every_step():
    for name in STEPS:
        leaves, outputs, *_ = build((1, 2, [(name, 0, 1, 1)]))
        agree(outputs, 10.0, name)


@given(recipes)
@PROFILE
def test_programs_agree_with_the_interpreter_and_torch(recipe):
    torch = pytest.importorskip("torch")
    leaves, outputs, arrays, weight = build(recipe)
    found = agree(outputs, 100.0, str(recipe))
    theirs = [torch.tensor(a, requires_grad=True) for a in arrays]
    last, total = interpret(Theirs(torch), theirs, recipe[2])
    loss = (total * torch.tensor(weight)).sum()
    gradients = torch.autograd.grad(loss, theirs, allow_unused=True)
    expected = [last, loss, *(torch.zeros(ROWS, COLUMNS) if g is None else g for g in gradients)]
    for value, right in zip(found, expected, strict=True):
        right = right.detach().numpy()
        np.testing.assert_allclose(value, right, rtol=1e-9, atol=1e-9 * max(1.0, np.abs(right).max()))
    tried("random graphs")


@given(recipes)
@PROFILE
def test_rules_that_are_told_what_is_below_miss_nothing(recipe):
    _, outputs, *_ = build(recipe)
    told, every = Log(), Log()
    found = Rewriter(log=told)(outputs, "simplify")
    right = Rewriter([replace(rule, below=()) for rule in RULES], log=every)(outputs, "simplify")
    assert all(a is b for a, b in zip(found, right, strict=True)) and told.counts() == every.counts()


@given(recipes)
@settings(PROFILE, max_examples=25)
def test_second_derivatives_of_programs_agree_with_the_interpreter(recipe):
    leaves, outputs, *_ = build((recipe[0], recipe[1], recipe[2][:6]))
    squares = [(g * g).sum() for g in outputs[2:]]
    agree(ta.grad(sum(squares[1:], squares[0]), leaves), 1e4, str(recipe))


@given(recipes)
@settings(PROFILE, max_examples=25)
def test_programs_in_float32_agree_with_the_interpreter(recipe):
    # Values can grow by cancellation; short recipes keep the comparison meaningful.
    _, outputs, *_ = build((recipe[0], recipe[1], recipe[2][:4]), np.float32)
    agree(outputs[:2], 100.0, str(recipe))
