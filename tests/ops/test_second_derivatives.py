"""Second derivatives where formulas like to break: at zeros, ties and bounds.

For every differentiable row of the op table and f = Σ c·y, with random c, the matrix H of second derivatives of f is symmetric, ⟨u, H v⟩ = ⟨v, H u⟩, and
finite wherever the first derivative is. At a kink there is no Hessian, but what comes of differentiating one branch twice is symmetric all the same.
"""

import numpy as np
import pytest
from op_table import ROWS

import tinyattn as ta
from tinyattn.graph.leaf import placeholder
from tinyattn.graph.types import Type


def points(arrays, attrs):
    """Inputs of the same shapes as ``arrays``, floating-point ones filled with special numbers."""
    rng = np.random.default_rng(0)
    bounds = [v for k, v in attrs.items() if k in ("low", "high") and v is not None]
    makers = {
        "zeros": lambda a: np.zeros(a.shape),
        "ones": lambda a: np.ones(a.shape),
        "ties": lambda a: np.full(a.shape, 0.5),
        "−1, 0 and 1": lambda a: rng.integers(-1, 2, a.shape).astype(float),
        "0 and 1": lambda a: rng.integers(0, 2, a.shape).astype(float),
        "some zeros": lambda a: a * rng.integers(0, 2, a.shape),
        "bounds": lambda a: rng.choice(bounds or [2.0], a.shape),
    }
    for name, make in makers.items():
        yield name, [make(a) if a.dtype.kind == "f" else a for a in arrays]


def second_order(row, sample):
    """A program that takes the inputs, and gives ∇f, H u, H v, and the two products; None if there is nothing to differentiate."""
    arrays = sample.arrays()
    inputs = [placeholder(Type(a.shape, a.dtype)) for a in arrays]
    moving = [x for x in inputs if x.dtype.kind == "f"]
    results = [y for y in row.results(inputs, sample.attrs) if y.dtype.kind == "f"]
    if not results or not sum(x.size for x in moving):
        return None
    rng = np.random.default_rng(1)
    draw = lambda x: ta.tensor(rng.standard_normal(x.shape))
    first = ta.grad(sum((y * draw(y)).sum() for y in results), moving)
    u, v = ([draw(x) for x in moving] for _ in range(2))
    products = [ta.grad(sum((g * w).sum() for g, w in zip(first, ws, strict=True)), moving) for ws in (u, v)]
    joined = [
        sum((h * w).sum() for h, w in zip(p, ws, strict=True)) for p, ws in zip(products, (v, u), strict=True)
    ]
    program = ta.Program([*first, *products[0], *products[1], *joined], inputs)
    return lambda given: (
        (found := program.run(given), found[: len(moving)], found[len(moving) : -2])[1:] + tuple(found[-2:])
    )


@pytest.mark.parametrize("row", [row for row in ROWS if not row.constant], ids=lambda row: row.name)
def test_second_derivatives_are_symmetric_and_finite(row):
    small = [s for s in row.samples if s.smooth and 0 < s.size <= 200]
    for sample in sorted(small, key=lambda s: s.size)[:4]:
        run = second_order(row, sample)
        for name, given in points(sample.arrays(), sample.attrs) if run else ():
            with np.errstate(all="ignore"):
                first, second, one, other = run(given)
            if not all(np.isfinite(g).all() for g in first):
                continue
            assert all(np.isfinite(h).all() for h in second), f"{name}: {sample} {second}"
            size = max(1.0, max(np.abs(h).max(initial=0) for h in second))
            assert abs(one - other) <= 1e-9 * size, f"{name}: {sample}: {one} and {other}"


PRODUCTS = {
    "one zero": ([0.0, 3, 4], [[0, 4, 3], [4, 0, 0], [3, 0, 0]]),
    "two zeros": ([0.0, 0, 4], [[0, 4, 0], [4, 0, 0], [0, 0, 0]]),
    "three zeros": ([0.0, 0, 0], np.zeros((3, 3))),
    "no zero": ([2.0, 3, 4], [[0, 4, 3], [4, 0, 2], [3, 2, 0]]),
    "one factor": ([0.0], [[0]]),
}


@pytest.mark.parametrize("name", PRODUCTS)
def test_the_hessian_of_a_product(name):
    x, right = PRODUCTS[name]
    leaf = ta.tensor(np.array(x))
    assert np.array_equal(ta.hessian(ta.prod, leaf).numpy(), right)
    v = np.arange(1.0, len(x) + 1)
    _, (product,) = ta.hvp(ta.prod, [leaf], [ta.tensor(v)])
    assert np.array_equal(product.numpy(), np.array(right) @ v)


@pytest.mark.parametrize("axis", [0, 1, (0, 2), (2, 1), None])
def test_derivatives_of_products_of_zeros_along_axes(axis):
    """Third derivatives, too."""
    x = np.random.default_rng(0).integers(0, 3, (2, 3, 2)).astype(float)
    assert ta.gradcheck(lambda x: ta.prod(x, axis), [x])
    assert ta.gradcheck(lambda x: ta.grad((ta.prod(x, axis) * 2.0).sum(), x), [x])


@pytest.mark.parametrize("exponent", [0.0, 1.0, 2.0, 3.0])
def test_powers_of_zero(exponent):
    """By the base as the polynomial has it; together with the exponent as where the base is negative: 0."""
    a, b = (ta.tensor(np.array(v)) for v in (0.0, exponent))
    (aa, ab), (ba, bb) = ta.hessian(ta.power, [a, b])
    assert [float(h) for h in (aa, ab, ba, bb)] == [2.0 if exponent == 2 else 0.0, 0, 0, 0]
    assert float(ta.hessian(lambda a: a**exponent, a)) == (2.0 if exponent == 2 else 0.0)


def test_the_mixed_derivative_of_a_power_of_exponent_0():
    a, b = (ta.tensor(np.array(v)) for v in (4.0, 0.0))
    (aa, ab), (ba, bb) = ta.hessian(ta.power, [a, b])
    assert [float(h) for h in (aa, ab, ba)] == [0, 0.25, 0.25] and np.isclose(float(bb), np.log(4) ** 2)
