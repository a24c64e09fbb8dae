"""Values on demand: nothing is computed twice, graphs of one structure share a program, and no value is stale."""

import gc
import weakref

import numpy as np
import pytest

import tinyattn as ta
from tinyattn import errors
from tinyattn.rewrite.rules import RULES
from tinyattn.runtime import evaluate, program


def numbers(*shape, seed=0, dtype=np.float32):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


@pytest.fixture
def runs(monkeypatch):
    """The programs compiled, and all that were run, while a test runs."""
    compiled, ran = [], []
    make, run = program.Program.__init__, program.Program.run_native

    def counted(self, *args, **kwargs):
        compiled.append(self)
        make(self, *args, **kwargs)

    def noted(self, *args, **kwargs):
        ran.append(self)
        return run(self, *args, **kwargs)

    monkeypatch.setattr(program.Program, "__init__", counted)
    monkeypatch.setattr(program.Program, "run_native", noted)
    evaluate._programs.clear()
    return compiled, ran


def kernels(found):
    return [row.kernel for row in found.assembly.rows]


def test_what_has_been_computed_is_not_computed_again(runs):
    compiled, _ = runs
    x = ta.tensor(numbers(40, 40))
    h = ta.tanh(x @ x) @ x
    value = h.numpy()
    assert "gemm" in " ".join(kernels(compiled[0]))
    assert np.array_equal((h * 2).numpy(), value * 2)
    assert "gemm" not in " ".join(kernels(compiled[1])) and len(compiled[1].inputs) == 1
    x.assign(x.numpy() * 0.5)
    y = (h * 2).numpy()
    assert len(compiled) == 3 and np.array_equal(y, ta.Program([h * 2]).run()[0])
    assert not np.array_equal(y, value * 2)


def test_graphs_of_one_structure_share_a_program(runs):
    compiled, ran = runs
    for seed in range(4):
        x, w = numbers(5, 3, seed=seed), numbers(3, 7, seed=seed + 10)
        y = ta.tanh(ta.tensor(x) @ ta.parameter(w)) * (0.1 + 0.01 * seed) + 1
        np.testing.assert_allclose(y.numpy(), np.tanh(x @ w) * (0.1 + 0.01 * seed) + 1, rtol=1e-5)
    assert len(compiled) == 1 and len(ran) == 4
    shape, number, order = numbers(5, 3), ta.tensor(numbers(3, 7)), ta.tensor(numbers(5, 3))
    (ta.tanh(ta.tensor(shape[:4]) @ number) * 0.3 + 1).numpy()  # another shape,
    (ta.tanh(order @ number) * 0.3 + 2).numpy()  # another round number,
    (ta.tanh(order @ number) * 0.3 - 1).numpy()  # another operation,
    x = ta.tensor(numbers(5, 5))
    (x @ x).numpy(), (x @ ta.tensor(numbers(5, 5))).numpy()  # one leaf or two
    assert len(compiled) == 6


def test_loops_and_operations_of_several_outputs_have_structure_too(runs):
    compiled, _ = runs
    for seed in range(3):
        xs, w = numbers(6, 4, seed=seed), ta.tensor(numbers(4, 4, seed=seed))
        final, ys = ta.scan(lambda c, x, w=w: (ta.tanh(c @ w + x), c), ta.zeros((4,)), ta.tensor(xs))
        found = ta.evaluate([final, ys])
        for value, right in zip(found, ta.Program([final, ys]).run(), strict=True):
            assert np.array_equal(value, right)
    assert len(compiled) == 1 + 3


def test_several_values_in_one_program(runs):
    compiled, ran = runs
    w = ta.parameter(numbers(6, 6))
    loss = (ta.tanh(w @ w) ** 2).sum()
    gradient = ta.grad(loss, w)
    value, slope, again, leaf = ta.evaluate([loss, gradient, loss, w])
    assert len(ran) == 1 and value == again and np.array_equal(leaf, w.numpy())
    assert float(loss) == value and np.array_equal(gradient.numpy(), slope) and len(ran) == 1
    for owned in (slope, leaf):
        owned[:] = 0  # the caller's own
    assert np.abs(gradient.numpy()).max() > 0 and np.abs(w.numpy()).max() > 0
    assert ta.evaluate([]) == [] and len(compiled) == 1


@pytest.mark.parametrize("wrong", [[1.0], ta.tensor([1.0, 2.0])], ids=["number", "single"])
def test_evaluate_says_what_it_takes(wrong):
    with pytest.raises(errors.DTypeError, match=r"\[evaluate\] the argument must be a list of Tensors, but"):
        ta.evaluate(wrong)


LOOKS = {
    "log-softmax": lambda x: (p := ta.softmax(x), ta.log(p)),
    "log1p": lambda x: (p := ta.exp(-x * x - 30) + 1, ta.log(p)),
    "softplus": lambda x: (p := ta.exp(x + 100), ta.log1p(p)),
    "log-sigmoid": lambda x: (p := ta.sigmoid(x - 200), ta.log(p)),
    "expm1": lambda x: (p := ta.exp(x * 1e-6), p - 1),
    "logsumexp": lambda x: (p := ta.exp(x + 100), ta.log(p.sum(-1))),
}
"""For each stabilising rule a value on the way, and a result that is nothing without the rule."""


@pytest.mark.parametrize("name", [rule.name for rule in RULES if rule.soundness == "stabilising"])
def test_looking_at_a_value_does_not_change_what_is_made_of_it(name):
    x = numbers(3, 5) * 60
    value = name.removesuffix("-derivative")

    def look(leaf):
        seen, result = LOOKS[value](leaf)
        return (
            (seen, result)
            if value == name
            else (seen, ta.grad((result * numbers(*result.shape, seed=1)).sum(), leaf))
        )

    _, plain = look(ta.tensor(x))
    right = plain.numpy()
    assert np.isfinite(right).all()
    seen, result = look(ta.tensor(x))
    seen.numpy()
    assert np.array_equal(result.numpy(), right)
    total = look(ta.tensor(x))[1]
    for part in total.inputs if value == name else ():  # nobody has the parts of a derivative
        part.numpy()
    assert np.array_equal(total.numpy(), right)


def test_gradients_of_one_backward_are_computed_once(runs):
    compiled, ran = runs
    params = [ta.parameter(numbers(4, 4, seed=k)) for k in range(3)]
    x = ta.tensor(numbers(8, 4, seed=9))

    def step():
        h = x
        for w in params:
            h = ta.tanh(h @ w)
        loss = (h * h).mean()
        loss.backward()
        return loss

    loss = step()
    right = [g.copy() for g in ta.Program([loss, *ta.grad(loss, params)]).run()]
    ran.clear(), compiled.clear()
    # One after another: each gradient is that of the moment of backward.
    assert float(loss) == right[0]
    for w, gradient in zip(params, right[1:], strict=True):
        assert np.array_equal(w.grad.numpy(), gradient)
        w.assign(w.numpy() - 0.5 * w.grad.numpy())
    assert len(ran) == len(compiled) == 1
    for _ in range(4):
        before = float(loss)
        loss = step()
        for w in params:
            w.assign(w.numpy() - 0.5 * w.grad.numpy())
        assert float(loss) < before
    assert len(compiled) == 2  # the step, and the loss alone


def test_a_gradient_is_that_of_the_moment_of_backward():
    a, b = ta.parameter(np.array([2.0])), ta.parameter(np.array([3.0]))
    (a * b).sum().backward()
    promised = a.grad, b.grad
    explicit = ta.grad((a * b).sum(), a)
    b.assign([5.0])
    assert promised[0].numpy() == 3 and promised[1].numpy() == 2 and explicit.numpy() == 5
    (a * b).sum().backward()
    step = ta.function(lambda: ta.assign(b, b + 1))
    step()
    assert a.grad.numpy() == 5 and b.numpy() == 6 and promised[0].numpy() == 3
    loss = ta.sin(a).sum()
    loss.backward()
    np.testing.assert_allclose(ta.grad(a.grad.sum(), a).numpy(), -np.sin(2.0))  # it is an expression still


def test_promised_gradients_that_nobody_has_are_not_computed(runs):
    _, ran = runs
    a = ta.parameter(np.ones(3))
    for _ in range(5):
        (a * a).sum().backward()
    assert len(a.storage.promises) == 2
    a.grad = None
    a.assign(np.zeros(3))
    assert not ran


def test_a_wrong_index_names_the_line_that_reads_it():
    found = []
    for take in (
        lambda x, i: ta.take(x, i),
        lambda x, i: ta.take(x, i),  # the same structure in another line
    ):
        take(ta.tensor(numbers(4, 2)), ta.tensor(np.array([1, 0])) * 1).numpy()
        with pytest.raises(errors.TinyattnError, match=r"^\[take\]") as error:
            take(ta.tensor(numbers(4, 2)), ta.tensor(np.array([9, 0])) * 1).numpy()
        found.append(int(str(error.value).splitlines()[1].split(":")[-1]))
    assert found[1] == found[0] + 1


def test_programs_are_few_and_hold_no_data():
    big = ta.parameter(numbers(300, 300))
    there = weakref.ref(big)
    loss = (ta.tanh(big) * 2).sum()
    loss.backward()
    big.grad.numpy(), loss.numpy(), ta.grad(big.grad.sum(), big).numpy()
    del big, loss
    gc.collect()
    assert there() is None
    for columns in range(1, evaluate.PROGRAMS + 20):
        ta.tensor(numbers(1, columns)).sum().numpy()
    assert len(evaluate._programs) == evaluate.PROGRAMS
