"""Loops as nodes: what they compute, and their derivatives."""

from collections import namedtuple

import numpy as np
import pytest
from engine import agree, first_line

import tinyattn as ta
from tinyattn import errors
from tinyattn.graph.traverse import topological
from tinyattn.graph.verify import verify

Pair = namedtuple("Pair", ["a", "b"])


def numbers(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def _step(h, x):
    return ta.tanh(h + x), (h * x, h)


def test_scan_is_the_loop_written_out():
    x, h0 = ta.tensor(numbers(5, 3)), ta.tensor(numbers(3, seed=1))
    for reverse in (False, True):
        h, (a, b) = ta.scan(_step, h0, x, reverse=reverse)
        expected, rows = h0.numpy(), []
        for t in reversed(range(5)) if reverse else range(5):
            rows.append((expected * x.numpy()[t], expected))
            expected = np.tanh(expected + x.numpy()[t])
        rows = rows[::-1] if reverse else rows
        values = agree([h, a, b])
        for found, right in zip(
            values, (expected, np.stack([r[0] for r in rows]), np.stack([r[1] for r in rows])), strict=True
        ):
            np.testing.assert_allclose(found, right, rtol=1e-12)


def test_scan_takes_and_returns_trees():
    xs = {"a": ta.tensor(numbers(4, 2)), "b": [ta.tensor(numbers(4, seed=2))]}
    init = (ta.zeros((2,), np.float64), {"n": ta.tensor(0)})

    def step(carry, x):
        total, rest = carry
        return (total + x["a"] * x["b"][0], {"n": rest["n"] + 1}), {"total": total, "pair": (x["a"], None)}

    (total, rest), ys = ta.scan(step, init, xs)
    assert set(ys) == {"total", "pair"} and ys["pair"][1] is None
    values = agree([total, rest["n"], ys["total"], ys["pair"][0]])
    expected = (xs["a"].numpy() * xs["b"][0].numpy()[:, None]).sum(0)
    np.testing.assert_allclose(values[0], expected)
    assert values[1] == 4
    np.testing.assert_array_equal(values[3], xs["a"].numpy())


SCANS = {}


def scan_case(function):
    SCANS[function.__name__] = function
    return function


@scan_case
def several_carries(x, w, h):
    final, ys = ta.scan(
        lambda c, xt: ((ta.tanh(c[0] * w + xt), c[1] + c[0], c[2] * 0.5), c[1] * xt), (h, h * 2, w), x
    )
    return (*final, ys)


@scan_case
def swapped_carries(x, w, h):
    (a, b), ys = ta.scan(lambda c, xt: ((c[1] * w, c[0] + xt), c[0]), (h, w), x)
    return a, b, ys


@scan_case
def carry_returned_unchanged(x, w, h):
    (a, b), ys = ta.scan(lambda c, xt: ((c[0], ta.sin(c[1] * c[0] + xt)), c[0] * xt), (h, w), x)
    return a, b, ys


@scan_case
def the_same_value_for_two_carries(x, w, h):
    def step(c, xt):
        new = ta.tanh(c[0] * c[1] + xt)
        return (new, new), (new, c[0])

    (a, b), (ys, zs) = ta.scan(step, (h, w), x)
    return a, b, ys, zs


@scan_case
def carry_that_becomes_x(x, w, h):
    return ta.scan(lambda c, xt: (xt, c * w), h, x)


@scan_case
def emits_what_does_not_change(x, w, h):
    final, (a, b, c) = ta.scan(lambda c, xt: (c * xt, (w, xt, ta.ones((2,), np.float64))), h, x)
    return final, a, b, c


@scan_case
def backwards(x, w, h):
    return ta.scan(lambda c, xt: (ta.tanh(c * w + xt), c), h, x, reverse=True)


@scan_case
def nested(x, w, h):
    def outer(c, xt):
        inner, ys = ta.scan(lambda d, y: (ta.tanh(d * w + y * xt), d), c, x)
        return inner * 0.7, ys.sum(0)

    return ta.scan(outer, h, x)


@scan_case
def nested_backwards(x, w, h):
    def outer(c, xt):
        inner, ys = ta.scan(lambda d, y: (ta.sin(d + y) * w, d * xt), c, x, reverse=True)
        return inner + ta.scan(lambda d, y: (d * 0.5 + y, None), c, ys)[0], inner

    return ta.scan(outer, h, x)


@scan_case
def products_in_the_loop(x, w, h):
    matrix = ta.reshape(ta.concat([w, h]), (2, 2))
    return ta.scan(lambda c, xt: (ta.tanh(c @ matrix + matrix @ xt), c @ ta.transpose(matrix)), h, x)


@scan_case
def after_a_scan(x, w, h):
    _, ys = ta.scan(lambda c, xt: (c * w + xt, ta.tanh(c)), h, x)
    return ta.scan(lambda c, y: (ta.softmax(c) * y + w, c[0] * y), h, ys, reverse=True)


@scan_case
def without_xs(x, w, h):
    return ta.scan(lambda c, _: (ta.tanh(c * w + x[0]), c), h, length=4)


@scan_case
def one_step(x, w, h):
    return ta.scan(lambda c, xt: (ta.tanh(c * w + xt), c), h, x[:1])


@scan_case
def zero_steps(x, w, h):
    final, ys = ta.scan(lambda c, xt: (ta.tanh(c * w + xt), c * xt), h * w, x[:0])
    return final, ys


@pytest.mark.parametrize("name", SCANS)
def test_scans_run_and_differentiate_twice(name):
    inputs = [numbers(3, 2), numbers(2, seed=1), numbers(2, seed=2)]
    assert ta.gradcheck(SCANS[name], inputs)
    leaves = [ta.tensor(a) for a in inputs]
    results = list(SCANS[name](*leaves))
    seeds = [ta.tensor(numbers(*y.shape, seed=k)) for k, y in enumerate(results)]
    _, first = ta.vjp(lambda *_: results, leaves, seeds)
    total = sum(((g * g * (k + 1)).sum() for k, g in enumerate(first[1:])), (first[0] * first[0]).sum())
    second = ta.grad(total, leaves)
    agree([*results, *first, *second], 10.0, name)
    for node in topological([*first, *second]):
        for value in node.attrs.values():
            if hasattr(value, "outputs"):
                verify([node])


@pytest.mark.parametrize("name", ["backwards", "nested", "swapped_carries", "one_step", "without_xs"])
def test_scans_in_float32_agree_with_the_interpreter(name):
    leaves = [
        ta.tensor(a.astype(np.float32)) for a in (numbers(3, 2), numbers(2, seed=1), numbers(2, seed=2))
    ]
    results = list(SCANS[name](*leaves)) if name != "nested" else list(_nested_float32(*leaves))
    agree([*results, *ta.vjp(lambda *_: results, leaves, [ta.ones(y.shape) for y in results])[1]], 4.0, name)


def _nested_float32(x, w, h):
    return ta.scan(lambda c, xt: (ta.scan(lambda d, y: (ta.tanh(d * w + y * xt), d), c, x)[0] * 0.7, c), h, x)


def test_scan_says_what_does_not_fit():
    x = ta.tensor(numbers(3, 2))
    with pytest.raises(errors.ShapeError) as error:
        ta.scan(lambda c, a: (a, a), ta.zeros((3,), np.float64), x)
    assert first_line(error) == "[scan] the carry must keep its types ['f64[3]'], but fn returned ['f64[2]']."
    with pytest.raises(errors.ShapeError) as error:
        ta.scan(lambda c, a: (c, a), x[0], (x, x[:2]))
    assert first_line(error).startswith(
        "[scan] all xs must have the same first axis (or length= be given), but got shapes [(3, 2), (2, 2)]"
    )
    with pytest.raises(errors.ShapeError, match=r"\[scan\] all xs must have the same first axis"):
        ta.scan(lambda c, a: (c, a), x[0])


@pytest.mark.parametrize("form", [dict, lambda **x: Pair(**x)], ids=["dict", "named tuple"])
def test_parts_of_a_carry_are_told_apart_by_their_names(form):
    """Whatever the order in which the step writes them down."""
    get = (lambda c, k: c[k]) if form is dict else getattr
    step = lambda c, _: (form(b=get(c, "b") * 10, a=get(c, "a") + 1), None)
    final, _ = ta.scan(step, form(a=ta.tensor(1.0), b=ta.tensor(2.0)), length=2)
    assert get(final, "a").item() == 3 and get(final, "b").item() == 200


@pytest.mark.parametrize(
    "returned", [{"g": 1.0}, [1.0], {"h": [1.0]}, {"h": None}, {}, {"h": 1.0, "g": 1.0}], ids=str
)
def test_a_carry_keeps_its_form(returned):
    with pytest.raises(
        errors.ShapeError, match=r"\[scan\] the carry must keep its form \{'h': '·'\}, but fn returned "
    ):
        ta.scan(lambda c, _: (returned, None), {"h": ta.tensor(1.0)}, length=2)


def test_a_step_may_have_any_number_of_additions():
    w, xs = ta.parameter(np.ones(2), name="w"), ta.tensor(np.arange(6.0).reshape(3, 2))

    def step(c, x):
        for i in range(1500):
            c = c + w * (x + float(i))
        return c, None

    slope = ta.grad(ta.scan(step, ta.zeros(2, np.float64), xs)[0].sum(), w).numpy()
    assert np.array_equal(slope, sum(x + 1500 * 1499 / 2 / 1500 for x in np.arange(6.0).reshape(3, 2)) * 1500)


def test_a_step_may_double_what_it_adds():
    """Thirty sums of two equal things are thirty nodes, not 2³⁰."""
    w = ta.parameter(np.ones(2), name="w")

    def step(c, _):
        total = w + c
        for _ in range(30):
            total = total + total
        return total * 2.0**-30, None

    slope = ta.grad(ta.scan(step, ta.zeros(2, np.float64), length=3)[0].sum(), w).numpy()
    assert np.array_equal(slope, [3, 3])
