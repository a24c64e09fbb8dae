"""Derivatives of whole functions against explicit Jacobians, and gradcheck itself: that it fails, and what it says."""

import gc

import numpy as np
import pytest
from engine import compiled, first_line

import tinyattn as ta
from tinyattn import errors
from tinyattn.graph import grad as grad_module
from tinyattn.graph.op import OPS, NotDifferentiable
from tinyattn.graph.tensor import make


def numbers(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


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
    assert first_line(error) == "[grad] the output must be a scalar, but got shape (3,)."
    with pytest.raises(errors.DTypeError) as error:
        ta.grad((x > 0).sum(), x)
    assert first_line(error).startswith(
        "[grad] derivatives are taken of and with respect to floating-point tensors, but got <Tensor i64[] = sum>"
    )
    with pytest.raises(
        errors.ShapeError,
        match=r"\[jvp\] a tangent must have the type f64\[3\] of what it belongs to, but got f64\[2\]\.",
    ):
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
    _with_rule(
        monkeypatch,
        "sin",
        lambda g, node: (g * ta.cos(node.inputs[0]) * ta.tensor(np.array([1.0, 1.01, 1.0])),),
    )
    with pytest.raises(errors.GradcheckError) as error:
        ta.gradcheck(
            lambda a, b: ta.sin(b) * a, [np.ones(3), ta.tensor(np.array([0.5, 0.25, 1.0]), name="angle")]
        )
    assert first_line(error) == (
        "[gradcheck] first-order derivative of output element 1 by input 'angle', element (1,), "
        f"must equal its finite difference {np.cos(0.25):.9g}, but got {1.01 * np.cos(0.25):.9g}."
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
        (
            abs,
            np.array([0.0, 2.0]),
            "'sign' (element (0,)",
        ),  # half way between its slopes, so the second derivative tells
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


def test_the_collector_of_garbage_works_again_after_a_derivative_that_fails():
    x = ta.tensor(np.ones(3))
    seen = []

    def derivative(g, y, a):
        seen.append(gc.isenabled())
        raise RuntimeError("no")

    with pytest.raises(RuntimeError):
        ta.grad(ta.custom_vjp(ta.exp, derivative)(x).sum(), x)
    assert seen == [False] and gc.isenabled()
