"""Functions made of functions: value_and_grad, jacobian, hessian, vmap, custom_vjp and ta.print, against torch, loops and finite
differences."""

import os
import subprocess
import sys
from collections import namedtuple

import numpy as np
import pytest

import tinyattn as ta
from tinyattn import errors

rng = np.random.default_rng(3)
A, B, X = rng.standard_normal((4, 3)), rng.standard_normal(3), rng.standard_normal((5, 3))
T = rng.standard_normal((5, 4, 3))
"""Five examples of four positions of width 3."""


def model(library, a, b):
    return library.tanh(a @ b) * library.exp(b).sum()


# Derivatives.


def test_jacobian_is_that_of_torch():
    torch = pytest.importorskip("torch")
    inputs = torch.tensor(A), torch.tensor(B)
    right = torch.autograd.functional.jacobian(lambda a, b: model(torch, a, b), inputs)
    found = ta.jacobian(lambda a, b: model(ta, a, b), [ta.tensor(A), ta.tensor(B)])
    for mine, theirs in zip(found, right, strict=True):
        assert mine.shape == tuple(theirs.shape)
        np.testing.assert_allclose(mine.numpy(), theirs.numpy(), rtol=1e-12, atol=1e-14)


def test_hessian_is_that_of_torch():
    torch = pytest.importorskip("torch")
    inputs = torch.tensor(A), torch.tensor(B)
    right = torch.autograd.functional.hessian(lambda a, b: model(torch, a, b).sum(), inputs)
    found = ta.hessian(lambda a, b: model(ta, a, b).sum(), [ta.tensor(A), ta.tensor(B)])
    for i in range(2):
        for j in range(2):
            np.testing.assert_allclose(found[i][j].numpy(), right[i][j].numpy(), rtol=1e-11, atol=1e-13)


def test_jacobian_of_scalars_and_of_several_results():
    x = ta.tensor(B)
    square, double = ta.jacobian(lambda x: (x * x, 2 * x.sum()), x)
    np.testing.assert_array_equal(square.numpy(), np.diag(2 * B))
    np.testing.assert_array_equal(double.numpy(), [2, 2, 2])
    compiled = ta.function(lambda x: ta.hessian(lambda x: (x**3).sum(), x))
    np.testing.assert_allclose(compiled(B), np.diag(6 * B), rtol=1e-12)


def test_jacobian_is_differentiable():
    found = ta.grad((ta.jacobian(lambda x: ta.exp(x), x := ta.tensor(B)) ** 2).sum(), x)
    np.testing.assert_allclose(found.numpy(), 2 * np.exp(2 * B), rtol=1e-12)


def test_value_and_grad_of_trees_and_several_arguments():
    def loss(weights, x):
        return ((x @ weights["a"] + weights["b"]) ** 2).sum()

    weights = {"a": ta.tensor(B), "b": ta.tensor(0.5, np.float64)}
    value, slopes = ta.value_and_grad(loss)(weights, X)
    residual = X @ B + 0.5
    assert np.isclose(float(value), (residual**2).sum())
    np.testing.assert_allclose(slopes["a"].numpy(), 2 * residual @ X)
    assert np.isclose(float(slopes["b"]), 2 * residual.sum())
    _, (_, dx) = ta.value_and_grad(loss, argnums=(0, 1))(weights, ta.tensor(X))
    np.testing.assert_allclose(dx.numpy(), 2 * residual[:, None] * B)
    (value, extra), _ = ta.value_and_grad(lambda x: (x.sum(), "more"), has_aux=True)(ta.tensor(B))
    assert extra == "more"


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: ta.value_and_grad(ta.tensor(1.0)), errors.TinyattnError, "[value_and_grad] what is differentiated must be a function"),
        (lambda: ta.value_and_grad(lambda x: x)(ta.tensor(B)), errors.ShapeError, "[grad] the output must be a scalar"),
        (lambda: ta.value_and_grad(lambda x: x, argnums=1)(ta.tensor(1.0)), errors.ShapeError, "[value_and_grad] argnums must name arguments"),
        (lambda: ta.jacobian(lambda x: x, ta.tensor([1])), errors.DTypeError, "[jacobian] derivatives are taken of"),
        (lambda: ta.vmap(3), errors.TinyattnError, "[vmap] what is mapped must be a function"),
        (lambda: ta.vmap(lambda a, b: a)(A, B), errors.ShapeError, "[vmap] all mapped arguments must have the same number of examples"),
        (lambda: ta.vmap(lambda a: a, in_axes=None)(A), errors.ShapeError, "[vmap] all mapped arguments must have the same number"),
        (lambda: ta.vmap(lambda a: a, in_axes=(0, 0))(A), errors.ShapeError, "[vmap] in_axes must name an axis"),
        (lambda: ta.custom_vjp(1, 2), errors.TinyattnError, "[custom_vjp] function and derivative must be functions"),
    ],
)  # fmt: skip
def test_mistakes_are_told(call, error, text):
    with pytest.raises(error) as found:
        call()
    assert str(found.value).startswith(text) and len(str(found.value).splitlines()) <= 3


# vmap.

W = ta.tensor(rng.standard_normal((3, 3)), name="W")
MAPPED = {
    "layers": lambda x: ta.softmax(ta.tanh(x @ W) * x.sum()),
    "broadcast": lambda x: x * ta.tensor(A) + x.sum(0)[None, None],
    "gradient": lambda x: ta.grad((ta.tanh(x @ W) ** 2).sum(), x),
    "shared parameter": lambda x: ta.grad((ta.tanh(x @ W) ** 2).sum(), W),
    "views": lambda x: ta.concat([x.reshape(-1)[1::2], ta.tensor(B)]).T,
    "attention": lambda x: ta.attention(x, x, x, is_causal=True) if x.ndim == 2 else x,
    "attention's gradient": lambda x: ta.grad((ta.attention(x, x, x) ** 2).sum(), x) if x.ndim == 2 else x,
    "loop": lambda x: ta.scan(lambda c, r: (ta.tanh(c + r), c * r), ta.zeros((), np.float64), x.reshape(-1)),
    "take": lambda x: ta.take(x, [1, 0, 1], axis=-1),
    "places": lambda x: ta.take(ta.tensor(B), ta.argmax(x, axis=-1)),
    "variance and sorting out": lambda x: ta.where(x > x.mean(), x.var(-1, keepdims=True), ta.cumsum(x, -1)),
    "constant": lambda x: ta.tensor(B),
    "several": lambda x: {"a": x.max(), "b": (x, None)},
}


def _leaves(tree):
    if isinstance(tree, dict):
        tree = tuple(tree.values())
    if isinstance(tree, (tuple, list)):
        return [leaf for part in tree for leaf in _leaves(part)]
    return [] if tree is None else [tree]


@pytest.mark.parametrize("name", MAPPED)
@pytest.mark.parametrize("rows", [X, T], ids=["vectors", "sequences"])
def test_mapping_is_calling_on_each_example(name, rows):
    fn = MAPPED[name]
    each = [_leaves(fn(ta.tensor(row))) for row in rows]
    found = _leaves(ta.vmap(fn)(rows))
    assert len(found) == len(each[0])
    for k, y in enumerate(found):
        right = np.stack([values[k].numpy() for values in each])
        np.testing.assert_allclose(y.numpy(), right, rtol=1e-12, atol=1e-14, err_msg=name)


def test_axes_nesting_and_derivatives_of_mapped_functions():
    product = ta.vmap(ta.vmap(lambda a, b: a * b, (None, 0)), (0, None))(np.arange(3.0), np.arange(4.0))
    np.testing.assert_array_equal(product.numpy(), np.outer(np.arange(3.0), np.arange(4.0)))
    moved = ta.vmap(lambda a: 2 * a, in_axes=1, out_axes=-1)(X)
    np.testing.assert_array_equal(moved.numpy(), 2 * X)
    x = ta.tensor(X)
    found = ta.grad(ta.vmap(lambda r: ta.logsumexp(r * r))(x).sum(), x)
    np.testing.assert_allclose(found.numpy(), ta.grad(ta.logsumexp(x * x, -1).sum(), x).numpy(), rtol=1e-12)


# Derivatives by hand.


def test_a_derivative_by_hand_is_used_checked_and_differentiable():
    cube = ta.custom_vjp(lambda x: x**3, lambda g, y, x: 3 * g * x**2, "{0}³", "3ȳ·{0}²")
    assert ta.gradcheck(cube, [B])
    x = ta.tensor(B, name="x")
    second = ta.grad(ta.grad(cube(x).sum(), x).sum(), x)
    np.testing.assert_allclose(second.numpy(), 6 * B, rtol=1e-12)
    np.testing.assert_allclose(ta.function(lambda x: ta.grad(cube(x).sum(), x))(B), 3 * B**2, rtol=1e-12)
    wrong = ta.custom_vjp(lambda x: x**3, lambda g, y, x: 3.03 * g * x**2)
    with pytest.raises(errors.GradcheckError, match="first-order derivative"):
        ta.gradcheck(wrong, [B])


def test_several_results_and_options():
    def pair(x, y, power=2):
        return x * y, x + power * y

    def back(g, result, x, y, power=2):
        return g[0] * y + g[1], g[0] * x + power * g[1]

    both = ta.custom_vjp(pair, back)
    assert ta.gradcheck(lambda x, y: both(x, y, power=3), [B, B + 1])
    x, y = ta.tensor(B), ta.tensor(B + 1)
    np.testing.assert_allclose(both(x, y)[1].numpy(), 3 * B + 2)
    np.testing.assert_array_equal(ta.grad(both(x, y)[1].sum(), y).numpy(), [2, 2, 2])  # of one result alone


def test_what_is_closed_over_is_refused_because_its_gradient_would_be_lost():
    w, x = ta.parameter([1.0]), ta.tensor(np.float32(B))
    held = ta.custom_vjp(lambda x: x * w, lambda g, y, x: g)
    with pytest.raises(errors.TinyattnError, match="must take all that it uses as arguments"):
        held(x)
    broadcast = ta.custom_vjp(lambda x, b: x + b, lambda g, y, x, b: (g, g))
    with pytest.raises(errors.ShapeError, match="cotangent of tensor 1 must have its type f32\\[1\\]"):
        ta.grad(broadcast(x, w).sum(), w)
    few = ta.custom_vjp(lambda x, b: x + b, lambda g, y, x, b: g)
    with pytest.raises(errors.TinyattnError, match="must return 2 cotangents"):
        ta.grad(few(x, x).sum(), x)


def test_pictures_and_texts_write_its_formulas():
    cube = ta.custom_vjp(lambda x: x**3, lambda g, y, x: 3 * g * x**2, "{0}³", "3ȳ·{0}²")
    x = ta.tensor(B, name="x")
    picture = ta.viz.draw(cube(x).sum(), wrt=[x]).picture
    box = next(n for n in picture.nodes.values() if n.formula == "x³")
    assert box.rule == "3ȳ·x²"


# Printing inside.


def test_printing_happens_at_each_call_and_in_loops(capsys):
    @ta.function
    def step(x):
        doubled = ta.print(x * 2, "doubled")
        total, _ = ta.scan(lambda c, r: (ta.print(c + r, "sum"), None), ta.zeros(()), doubled)
        return ta.grad(total, x)

    for k in (1, 2):
        np.testing.assert_array_equal(step(np.float32([1, k])), [2, 2])
    assert capsys.readouterr().out.splitlines() == [
        "doubled: [2. 2.]",
        "sum: [2. 4.]",
        "doubled: [2. 4.]",
        "sum: [2. 6.]",
    ]
    x = ta.tensor([1.0])
    assert ta.print(x) is x
    assert capsys.readouterr().out == "[1.]\n"


# What derivatives are given.

Two = namedtuple("Two", ["a", "b"])


def test_one_input_may_stand_alone():
    x, v = ta.tensor(B, name="x"), np.array([1.0, 0.0, 2.0])
    cube = lambda x: (x**3).sum()
    value, product = ta.hvp(cube, x, v)
    assert np.allclose(product.numpy(), 6 * B * v) and value.shape == ()
    assert np.allclose(ta.jvp(cube, x, v)[1].numpy(), (3 * B**2 * v).sum())
    assert np.allclose(ta.vjp(ta.tanh, B, v)[1].numpy(), (1 - np.tanh(B) ** 2) * v)
    assert ta.gradcheck(cube, B)


def test_results_are_in_what_the_function_returned():
    x = ta.tensor(B, name="x")
    pair = lambda x: Two(x * 2, x * x)
    assert type(ta.grad((x * x).sum(), Two(x, x))) is Two
    assert type(ta.jvp(pair, [x], [x])[1]) is Two and type(ta.jacobian(pair, x)) is Two
    assert np.allclose(ta.jacobian(pair, x).b.numpy(), np.diag(2 * B))


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda x: ta.vjp(lambda x: (x, x), [x], [x]), "[vjp] there must be 2 cotangents, but got 1."),
        (lambda x: ta.vjp(lambda x: x, [x], np.ones(2)), "[vjp] a cotangent must have the type f64[3] of what it belongs to, but got f64[2]."),
        (lambda x: ta.jvp(ta.exp, [x], [x, x]), "[jvp] there must be 1 tangents, but got 2."),
        (lambda x: ta.hvp(lambda x: (x * x).sum(), [x], []), "[hvp] there must be 1 vectors, but got 0."),
        (lambda x: ta.gradcheck(lambda x: None, [x]), "[gradcheck] the function must return a Tensor of floating-point numbers, or a tuple of them, but got None."),
        (lambda x: ta.gradcheck(lambda x: {"y": x}, [x]), "[gradcheck] the function must return a Tensor of floating-point numbers, or a tuple of them, but got {"),
        (lambda x: ta.gradcheck(lambda x: x * x, [np.arange(3)]), "[gradcheck] one input at least must be of floating-point numbers, but got ['i64[3]']."),
        (lambda x: ta.evaluate(3), "[evaluate] the argument must be a list of Tensors, but got 3."),
        (lambda x: ta.assign(3.0, x), "[assign] only a leaf, made by ta.tensor or ta.parameter, can be given a value, but got 3.0."),
        (lambda x: ta.assign(x, np.ones(3)), "[assign] a leaf of type f64[3] takes a Tensor of its own type, but got array([1., 1., 1.])."),
        (lambda x: ta.tensor([1, 2]).assign([1.9, np.nan]), "[assign] a leaf of int64 takes whole numbers, but got an array of float64."),
    ],
)  # fmt: skip
def test_wrong_arguments_are_told(call, text):
    with pytest.raises(errors.TinyattnError) as error:
        call(ta.tensor(B, name="x"))
    assert str(error.value).startswith(text)


def test_values_may_come_out_of_a_generator():
    x = ta.tensor(B, name="x")
    one, two = ta.evaluate(x * k for k in (1, 2))
    assert np.array_equal(2 * one, two)


def test_an_array_of_values_is_always_a_copy():
    x = ta.tensor(B, name="x")
    assert np.array(x, copy=True) is not x.storage.array
    with pytest.raises(ValueError, match="always a copy"):
        np.array(x, copy=False)


def test_a_compiled_function_in_a_loop_is_part_of_the_loop():
    half = ta.function(lambda x: x / 2)
    final, _ = ta.scan(lambda c, _: (half(c, out=None), None), ta.tensor(8.0), length=3)
    assert final.item() == 1


def test_padding_keeps_the_sign_of_zero():
    x = ta.tensor(B)
    assert np.signbit(ta.pad(x, 1, value=-0.0).numpy()[[0, -1]]).all()
    assert not np.signbit(ta.pad(x, 1).numpy()[[0, -1]]).any()


def test_a_mistake_is_told_where_the_working_directory_is_gone(tmp_path):
    code = (
        "import os, tempfile; d = tempfile.mkdtemp(); os.chdir(d); os.rmdir(d); import tinyattn as ta\n"
        "try: ta.ones((2, 3)) @ ta.ones((2, 3))\nexcept ta.ShapeError as error: print('told', error)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": os.getcwd()},
    )
    assert done.stdout.startswith("told"), done.stderr
