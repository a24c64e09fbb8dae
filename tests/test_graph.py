"""The graph and its derivative: nodes, ids, the verifier, long chains, scopes, scans, Jacobians, and what gradcheck says when it fails."""

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from engine import agree, compiled

import tinyattn as ta
from tinyattn import errors
from tinyattn.graph import grad as grad_module
from tinyattn.graph.op import OPS, NotDifferentiable
from tinyattn.graph.tensor import make
from tinyattn.graph.text import structural_ids, to_text
from tinyattn.graph.traverse import topological
from tinyattn.graph.verify import VerifyError, verify

ROOT = Path(__file__).parent.parent


def numbers(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def first_line(error) -> str:
    return str(error.value).splitlines()[0]


# Nodes.


def test_equal_expressions_are_one_node():
    x, y = ta.tensor(numbers(3)), ta.tensor(numbers(3))
    assert ta.tanh(x * y + 1) is ta.tanh(x * y + 1)
    assert x[1:] is x[1:] and x.sum(0) is x.sum() and ta.softmax(x) is ta.softmax(x, -1)
    assert x * y is not y * x
    assert ta.tensor(np.ones(3)) is not ta.tensor(np.ones(3))
    assert ta.tanh(x + 1.0) is ta.tanh(x + 1)
    assert (x + 0.5).inputs[1] is (y * 0.5).inputs[1]


def test_equal_scans_are_one_node():
    x, w = ta.tensor(numbers(4, 3)), ta.tensor(numbers(3))

    def run():
        return ta.scan(lambda h, xt: (ta.tanh(h * w + xt), h), ta.zeros((3,), np.float64), x)

    assert run()[0] is run()[0] and run()[1] is run()[1]


def test_expressions_nobody_holds_are_forgotten():
    from tinyattn.graph import tensor as module

    x = ta.tensor(numbers(3))
    before = len(module._nodes)
    y = ta.tanh(x * 1.2345)
    assert len(module._nodes) > before
    del y
    assert len(module._nodes) <= before


def test_tensors_are_immutable():
    x = ta.tensor(numbers(3))
    with pytest.raises(errors.TinyattnError) as error:
        x[0] = 1.0
    assert first_line(error) == "[setitem] tensors are immutable, but an assignment to a part was got."
    assert "ta.index_update(x, index, value)" in str(error.value)
    with pytest.raises(errors.TinyattnError) as error:
        (x + 1).assign(numbers(3))
    assert first_line(error) == "[assign] only a leaf made by ta.tensor or ta.parameter owns memory, but the result of 'add' was got."
    with pytest.raises(errors.ShapeError) as error:
        x.assign(numbers(4))
    assert first_line(error) == "[assign] the value must have the leaf's shape (3,), but (4,) was got."
    with pytest.raises(errors.ShapeError) as error:
        x.item()
    assert first_line(error) == "[item] the tensor must hold one element, but shape (3,) was got."
    with pytest.raises(errors.ShapeError, match=r"\[len\] a tensor must have an axis"):
        len(ta.tensor(1.0))
    with pytest.raises(errors.DTypeError, match=r"\[parameter\] a parameter must be floating-point, but i64 was got\."):
        ta.parameter(np.arange(3))
    with pytest.raises(errors.DTypeError, match=r"\[tensor\] the data must be numbers of type .*, but an array of uint8 was got\."):
        ta.tensor(np.zeros(3, np.uint8))


def test_values_follow_their_leaves():
    x = ta.tensor(np.array([1.0, 2.0]))
    y = x * 2
    assert y.numpy().tolist() == [2, 4]
    y.numpy()[:] = 0
    assert y.numpy().tolist() == [2, 4]
    x.assign([5.0, 6.0])
    assert y.numpy().tolist() == [10, 12] and float(y.sum()) == 22 and y.sum().item() == 22
    assert np.asarray(y).tolist() == [10, 12] and [float(v) for v in y] == [10, 12] and bool(y.sum() > 3)


def test_python_numbers_are_weak_and_types_promote():
    f32, f64, i32, flag = ta.zeros((2,)), ta.zeros((2,), np.float64), ta.zeros((2,), np.int32), ta.zeros((2,), np.bool_)
    assert (f32 * 2.0).dtype == np.float32 and (2.0 * f32 + 1).dtype == np.float32
    assert (f32 + f64).dtype == np.float64 and (i32 + f32).dtype == np.float32 and (i32 + 1).dtype == np.int32
    assert (i32 + 1.5).dtype == np.float32 and (flag + flag).dtype == np.int64 and ta.exp(i32).dtype == np.float32
    assert (numbers(2) * f32).dtype == np.float64 and (f32 - numbers(2).astype(np.float32)).dtype == np.float32
    assert isinstance(numbers(2) + f32, ta.Tensor)
    assert ta.tensor([1.0, 2.0]).dtype == np.float32 and ta.tensor([1, 2]).dtype == np.int64 and ta.tensor(numbers(2)).dtype == np.float64


# Text and ids.

_IDS = """
import numpy as np, tinyattn as ta
from tinyattn.graph.text import structural_ids, to_text
x, w = ta.tensor(np.ones((4, 3)), name="x"), ta.parameter(np.ones(3), name="w")
h, s = ta.scan(lambda h, xt: (ta.tanh(h * w + xt), {"a": h}), ta.zeros((3,), np.float64), x)
y = ta.softmax(h).sum() + s["a"].sum() + ta.where(x > 0, x, ta.tensor(np.ones((4, 3)))).sum() + x[[0, 2]].sum()
g = ta.grad(y, [x, w])
print(to_text(g))
print(sorted(structural_ids([y, *g]).values()))
"""


def test_ids_and_text_are_the_same_in_every_process():
    runs = [
        subprocess.run(
            [sys.executable, "-c", _IDS], capture_output=True, text=True, check=True, cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)},
        ).stdout
        for seed in ("0", "4711")
    ]  # fmt: skip
    assert runs[0] == runs[1] and len(runs[0].splitlines()) > 20


def test_ids_tell_structure_apart_and_are_unique():
    x, y = ta.tensor(numbers(3)), ta.tensor(numbers(3))
    ids = structural_ids([ta.exp(x) * ta.exp(y) + ta.exp(x + y)])
    assert len(set(ids.values())) == len(ids)
    assert all(ids[node].startswith(node.op.name) for node in ids)
    one, other = (structural_ids([f(x)])[f(x)] for f in (ta.sin, ta.cos))
    assert one.split("_")[1] != other.split("_")[1]
    assert structural_ids([x * 2])[x * 2] != structural_ids([x * 3])[x * 3]
    assert structural_ids([x[1:]])[x[1:]] != structural_ids([x[:-1]])[x[:-1]]


def test_text_has_a_line_for_each_node():
    x = ta.tensor(numbers(2, 3), name="x")
    with ta.scope("decoder"), ta.scope("attention"):
        y = ta.softmax(x * 2)
    assert to_text(y).splitlines() == [
        "%x = tensor()  f64[2, 3]",
        "%2 = mul(%x, 2)  f64[2, 3]  # decoder/attention",
        "%3 = softmax(%2)  f64[2, 3]  # decoder/attention",
        "return %3",
    ]
    _, ys = ta.scan(lambda c, a: (c + a, c * 2), ta.zeros((), np.float64), ta.tensor(numbers(3), name="xs"))
    assert "(arg0: f64[], arg1: f64[]) =>" in to_text(ys) and "length=3" in to_text(ys)


# The verifier.


def test_the_verifier_finds_malformed_nodes():
    x = ta.tensor(numbers(2, 3))
    y = ta.tanh(x) + 1
    verify([y])
    for attribute, wrong in (("shape", (3, 2)), ("dtype", np.dtype(np.float32))):
        bad = make("exp", y * 1.5)
        right = getattr(bad, attribute)
        setattr(bad, attribute, wrong)
        with pytest.raises(VerifyError) as error:
            verify([bad], "after a pass")
        assert str(error.value).startswith("[verify] node types must follow from their inputs, but <Tensor f") and "(after a pass)" in str(error.value)
        setattr(bad, attribute, right)
        verify([bad])


def test_the_verifier_looks_inside_loops():
    from tinyattn.graph.body import Body, argument
    from tinyattn.graph.types import Type

    x, free = ta.tensor(numbers(3)), argument(7, Type((3,), np.dtype(np.float64)))
    a = argument(0, Type((3,), np.dtype(np.float64)))

    def loop(result):
        return make("scan", x, body=Body([a], [result]), carries=1, sequences=0, length=2, reverse=False)

    verify([loop(a * 2)])
    with pytest.raises(VerifyError, match="a body must use its own arguments only"):
        verify([loop(a * free)])
    with pytest.raises(VerifyError, match="a body must be closed"):
        verify([loop(a * x)])


# Long graphs.


def test_a_chain_of_100_000_nodes_builds_differentiates_and_runs():
    started = time.perf_counter()
    x = ta.tensor(np.array([0.5, 0.25]))
    y = x
    for k in range(100_000):
        y = ta.sin(y) if k % 2 else y + 0.125
    total = y.sum()
    g = ta.grad(total, x)
    assert len(topological([g])) > 200_000
    value, gradient = ta.Program([total, g]).run()
    expected, slope = np.array([0.5, 0.25]), np.ones(2)
    for k in range(100_000):
        if k % 2:
            slope, expected = slope * np.cos(expected), np.sin(expected)
        else:
            expected = expected + 0.125
    np.testing.assert_allclose(value, expected.sum(), rtol=1e-12)
    np.testing.assert_allclose(gradient, slope, rtol=1e-6, atol=1e-300)
    # Generous: far below what anything quadratic would take.
    assert time.perf_counter() - started < 120
    structural_ids([total])


# Scopes and lines.


def _lines(nodes):
    return {n.line for n in nodes if n.inputs}


def test_scope_and_line_are_kept_through_derivatives_and_rewrites():
    x, w = ta.tensor(numbers(2, 3)), ta.tensor(numbers(3, 3))
    with ta.scope("encoder"):
        y = ta.tanh(x @ w) * 1.0
    line = y.inputs[0].line
    loss = (y * y).sum()
    assert line.file == __file__ and line.number == loss.line.number - 2
    g = ta.grad(loss, w)
    behind = [n for n in topological([g]) if n.origin is not None and n.origin.op.name == "tanh"]
    assert behind and all(n.scope == ("encoder",) and n.line == line for n in behind)
    assert all(n.line is not None and n.line.file == __file__ for n in topological([g]) if n.inputs)
    graph = ta.Program([loss, g]).graph
    inside = [n for n in topological(graph) if n.scope == ("encoder",)]
    assert {"fused", "matmul"} <= {n.op.name for n in inside}
    assert all(n.line.file == __file__ for n in inside)


# Scans.


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
        for found, right in zip(values, (expected, np.stack([r[0] for r in rows]), np.stack([r[1] for r in rows])), strict=True):
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
    final, ys = ta.scan(lambda c, xt: ((ta.tanh(c[0] * w + xt), c[1] + c[0], c[2] * 0.5), c[1] * xt), (h, h * 2, w), x)
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
    leaves = [ta.tensor(a.astype(np.float32)) for a in (numbers(3, 2), numbers(2, seed=1), numbers(2, seed=2))]
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
    assert first_line(error).startswith("[scan] all xs must have the same first axis (or length= be given), but shapes [(3, 2), (2, 2)]")
    with pytest.raises(errors.ShapeError, match=r"\[scan\] all xs must have the same first axis"):
        ta.scan(lambda c, a: (c, a), x[0])


# Jacobians.


def _function(x, y):
    return ta.tanh(x @ y) * x.sum(1, keepdims=True), ta.softmax(x)


def _jacobian(function, arrays, index):
    """∂outputs/∂arrays[index] by central differences, with a Richardson step: (outputs, elements)."""

    def flat(value):
        moved = [a if k != index else value.reshape(a.shape) for k, a in enumerate(arrays)]
        found = function(*map(ta.tensor, moved))
        found = found if isinstance(found, tuple) else (found,)
        return np.concatenate([v.numpy().ravel() for v in found])

    base, columns = arrays[index].ravel(), []
    for k in range(base.size):
        e = np.zeros(base.size)
        e[k] = 1e-3
        central = [(flat(base + s * e) - flat(base - s * e)) / (2e-3 * s) for s in (1, 2)]
        columns.append((4 * central[0] - central[1]) / 3)
    return np.stack(columns, 1)


def test_vjp_and_jvp_are_products_with_the_jacobian():
    arrays = [numbers(2, 3), numbers(3, 3, seed=1)]
    leaves = [ta.tensor(a) for a in arrays]
    jacobians = [_jacobian(_function, arrays, k) for k in range(2)]
    v = [numbers(2, 3, seed=2), numbers(2, 3, seed=3)]
    _, pulled = ta.vjp(_function, leaves, [ta.tensor(a) for a in v])
    for g, jacobian in zip(compiled(pulled), jacobians, strict=True):
        np.testing.assert_allclose(g.ravel(), np.concatenate([a.ravel() for a in v]) @ jacobian, atol=1e-9)
    u = [numbers(2, 3, seed=4), numbers(3, 3, seed=5)]
    values, pushed = ta.jvp(_function, leaves, [ta.tensor(a) for a in u])
    expected = sum(j @ a.ravel() for j, a in zip(jacobians, u, strict=True))
    np.testing.assert_allclose(np.concatenate([a.ravel() for a in compiled(pushed)]), expected, atol=1e-9)
    assert isinstance(pushed, tuple) and isinstance(values, tuple)


def test_hvp_is_the_product_with_the_hessian():
    optimize = pytest.importorskip("scipy.optimize")
    x = numbers(5)

    def rosenbrock(p):
        return (100 * (p[1:] - p[:-1] ** 2) ** 2 + (1 - p[:-1]) ** 2).sum()

    v = numbers(5, seed=1)
    value, (product,) = ta.hvp(rosenbrock, [ta.tensor(x)], [ta.tensor(v)])
    np.testing.assert_allclose(value.numpy(), optimize.rosen(x))
    np.testing.assert_allclose(product.numpy(), optimize.rosen_hess(x) @ v)
    gradient = ta.grad(rosenbrock(leaf := ta.tensor(x)), leaf)
    np.testing.assert_allclose(gradient.numpy(), optimize.rosen_der(x))
    third = ta.grad((ta.grad((gradient * ta.tensor(v)).sum(), leaf) * ta.tensor(v)).sum(), leaf)
    # Along one axis the third derivative of 100 (b − a²)² is 2400 a.
    assert np.isfinite(third.numpy()).all()
    one = ta.tensor(np.array([0.3, 0.5]))
    cube = ta.grad(ta.grad(ta.grad(rosenbrock(one), one)[0], one)[0], one)[0]
    np.testing.assert_allclose(cube.numpy(), 2400 * 0.3)


def test_gradients_by_tensors_in_the_middle():
    w = ta.tensor(numbers(3, 2))
    middle = w.T
    loss = (middle.T @ ta.ones((2,), np.float64)).sum() + (middle * 2).sum()
    np.testing.assert_allclose(ta.grad(loss, middle).numpy(), 3)
    inner = ta.reshape(w * 2, (6,))
    np.testing.assert_allclose(ta.grad((inner.reshape(2, 3) ** 2).sum(), inner).numpy(), 2 * inner.numpy())


def test_gradients_come_in_the_form_that_was_asked_for():
    x, y, unused = ta.tensor(numbers(3)), ta.tensor(numbers(3)), ta.tensor(numbers(2, 2))
    loss = (x * y).sum()
    single, listed, pair = ta.grad(loss, x), ta.grad(loss, [x, unused]), ta.grad(loss, (y, y))
    assert isinstance(single, ta.Tensor) and isinstance(listed, list) and isinstance(pair, tuple)
    assert listed[1].shape == (2, 2) and not listed[1].numpy().any()
    assert pair[0] is pair[1]
    assert float(ta.grad(loss, loss)) == 1
    parameter = ta.parameter(numbers(3))
    (parameter * x).sum().backward()
    np.testing.assert_array_equal(parameter.grad.numpy(), x.numpy())


def test_grad_says_what_it_needs():
    x = ta.tensor(numbers(3))
    with pytest.raises(errors.ShapeError) as error:
        ta.grad(x * 2, x)
    assert first_line(error) == "[grad] the output must be a scalar, but shape (3,) was got."
    with pytest.raises(errors.DTypeError) as error:
        ta.grad((x > 0).sum(), x)
    assert first_line(error).startswith("[grad] derivatives are taken of and with respect to floating-point tensors, but <Tensor i64[] = sum>")
    with pytest.raises(errors.ShapeError, match=r"\[jvp\] a tangent must have the type f64\[3\] of what it belongs to, but f64\[2\] was got\."):
        ta.jvp(ta.exp, [x], [ta.tensor(numbers(2))])
    node = make("affine", ta.tensor(numbers(2, 3)), ta.tensor(numbers(3, 2)), x[:2])
    with pytest.raises(errors.TinyattnError) as error:
        ta.grad(node.sum(), x)
    assert first_line(error) == (
        "[grad] every operation between output and leaf must be differentiable, but 'affine' is not: it exists only in compiled programs."
    )
    assert isinstance(OPS["affine"].derivative, NotDifferentiable)


# Gradcheck itself.


def _with_rule(monkeypatch, name, rule):
    real = grad_module._apply

    def apply(node, cotangent):
        return rule(cotangent, node) if node.op.name == name else real(node, cotangent)

    monkeypatch.setattr(grad_module, "_apply", apply)


def test_gradcheck_names_input_element_and_both_numbers(monkeypatch):
    _with_rule(monkeypatch, "sin", lambda g, node: (g * ta.cos(node.inputs[0]) * ta.tensor(np.array([1.0, 1.01, 1.0])),))
    with pytest.raises(errors.GradcheckError) as error:
        ta.gradcheck(lambda a, b: ta.sin(b) * a, [np.ones(3), ta.tensor(np.array([0.5, 0.25, 1.0]), name="angle")])
    assert first_line(error) == (
        "[gradcheck] first-order derivative of output element 1 by input 'angle', element (1,), "
        f"must equal its finite difference {np.cos(0.25):.9g}, but {1.01 * np.cos(0.25):.9g} was got."
    )
    with pytest.raises(errors.GradcheckError, match=r"by input number 0, element \(1,\)"):
        ta.gradcheck(ta.sin, [np.array([0.5, 0.25, 1.0])])


def test_gradcheck_finds_a_wrong_second_derivative(monkeypatch):
    # cos(x) as a number that the graph doesn't know to depend on x: right to first order only.
    _with_rule(monkeypatch, "sin", lambda g, node: (g * ta.stop_gradient(ta.cos(node.inputs[0])),))
    assert ta.gradcheck(ta.sin, [np.array([0.5])], order=1)
    with pytest.raises(errors.GradcheckError, match="second-order derivative"):
        ta.gradcheck(ta.sin, [np.array([0.5])])


def test_gradcheck_uses_projections_when_the_jacobian_is_large(monkeypatch):
    big = numbers(8, 12)
    assert ta.gradcheck(lambda x: ta.tanh(x @ x.T), [big])
    _with_rule(monkeypatch, "tanh", lambda g, node: (g * (1 - node * node) * 1.01,))
    with pytest.raises(errors.GradcheckError, match="a random direction"):
        ta.gradcheck(lambda x: ta.tanh(x), [big])


@pytest.mark.parametrize(
    ("function", "point", "place"),
    [
        (ta.relu, np.array([1.0, 0.0]), "'relu' (element (1,)"),
        (abs, np.array([0.0, 2.0]), "'sign' (element (0,)"),  # half way between its slopes, so the second derivative tells
        (lambda x: ta.max(x, 0), np.array([1.0, 3.0, 3.0]), "'max' (element ()"),
        (lambda x: ta.max(x, 0), np.array([3.0, 3.0, 3.0]), "'max' (element ()"),
        (lambda x: ta.maximum(x, 2.0), np.array([2.0]), "'maximum' (element (0,)"),
        (ta.maxout, np.array([1.0, 1.0]), "'maxout' (element (0,)"),
    ],
)
def test_gradcheck_tells_kinks_from_wrong_derivatives(function, point, place):
    with pytest.raises(errors.GradcheckError) as error:
        ta.gradcheck(function, [point])
    assert f"The point lies at a kink of {place}" in str(error.value)
    assert ta.gradcheck(function, [point + np.linspace(0.1, 0.4, point.size)])


def test_gradcheck_leaves_its_inputs_alone():
    x = ta.tensor(numbers(3))
    before = x.numpy()
    assert ta.gradcheck(ta.tanh, [x])
    np.testing.assert_array_equal(x.numpy(), before)
