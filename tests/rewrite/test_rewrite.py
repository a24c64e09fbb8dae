"""The rewriting rules: each fires on its pattern and keeps value and gradient, as its soundness class
promises; nothing unsound is on.
"""

import numpy as np
import pytest
from engine import equal
from scipy import special

import tinyattn as ta
from tinyattn.graph.grad import pull_back
from tinyattn.graph.tensor import make
from tinyattn.rewrite import rules as _rules  # noqa: F401  (fills the list)
from tinyattn.rewrite.rule import DEFAULT_SOUNDNESS, RULES, Log, NodeRule, Rewriter
from tinyattn.runtime import reference

SPECIAL = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 1.0, -1.0, 1e-300, 700.0, -700.0, 0.5, -2.5])
BY_NAME = {rule.name: rule for rule in RULES}


def reversed_rows(x):
    return make("transpose", make("transpose", x, axes=(1, 0)), axes=(1, 0))


def parts(x):
    """Three parts of x, laid into zeros and added."""
    pieces = [
        make("unslice", x[a:b], starts=(a, 0), steps=(1, 1), shape=(6, 2))
        for a, b in ((0, 2), (2, 3), (3, 6))
    ]
    return pieces[1] + pieces[0] + pieces[2]


ROWS = np.array([[2, 0], [1, 2], [0, 0]])

# For each rule: expressions it should fire on, as functions of one 12-element tensor.
PATTERNS = {
    "fold-constants": [lambda x: x * make("exp", ta.full((), 2.0, x.dtype))],
    "add-zero": [lambda x: x + 0, lambda x: ta.zeros((3, 1), x.dtype) + x, lambda x: x[0] + ta.zeros((2, 12), x.dtype)],
    "subtract-zero": [lambda x: x - 0],
    "zero-minus": [lambda x: 0 - x],
    "multiply-one": [lambda x: x * 1, lambda x: ta.ones((2, 12), x.dtype) * x],
    "multiply-minus-one": [lambda x: x * -1, lambda x: -1 * x],
    "divide-one": [lambda x: x / 1],
    "multiply-square": [lambda x: x * x],
    "double-negation": [lambda x: ta.neg(ta.neg(x))],
    "add-negation": [lambda x: ta.exp(x) + (-x), lambda x: (-x) + ta.exp(x)],
    "subtract-negation": [lambda x: ta.exp(x) - (-x)],
    "merge-views": [
        lambda x: make("reshape", make("reshape", x, shape=(3, 4)), shape=(2, 6)),
        lambda x: make("reshape", make("reshape", x, shape=(3, 4)), shape=(12,)),
        lambda x: make("broadcast_to", make("broadcast_to", x, shape=(3, 12)), shape=(2, 3, 12)),
        lambda x: reversed_rows(ta.reshape(x, (3, 4))),
        lambda x: make("transpose", make("transpose", ta.reshape(x, (2, 3, 2)), axes=(1, 2, 0)), axes=(0, 2, 1)),
    ],
    "identity-view": [
        lambda x: make("reshape", x, shape=x.shape),
        lambda x: make("broadcast_to", x, shape=x.shape),
        lambda x: make("transpose", x, axes=(0,)),
        lambda x: make("slice", x, starts=(0,), steps=(1,), shape=(12,)),
        lambda x: make("cast", x, dtype=x.dtype),
    ],
    "sum-of-one-element-axes": [
        lambda x: ta.sum(ta.reshape(x, (12, 1)), 1), lambda x: ta.max(ta.reshape(x, (1, 12)), 0, keepdims=True),
        lambda x: ta.prod(ta.reshape(x, (1, 12, 1)), (0, 2)), lambda x: ta.min(ta.reshape(x, (12, 1)), 1),
    ],
    "join-parts": [lambda x: parts(ta.reshape(x, (6, 2)))],
    "rows-of-sum": [
        lambda x: ta.take(ta.reshape(x, (3, 4)), ROWS) + x[:4],
        lambda x: ta.reshape(x[3:7], (1, 4)) + ta.take(ta.reshape(x, (3, 4)), ROWS),
    ],
    "log-softmax": [lambda x: ta.log(ta.softmax(x))],
    "log1p": [lambda x: ta.log(1 + x), lambda x: ta.log(x + 1)],
    "softplus": [lambda x: ta.log(1 + ta.exp(x)), lambda x: ta.log1p(ta.exp(x))],
    "log-sigmoid": [lambda x: ta.log(ta.sigmoid(x))],
    "expm1": [lambda x: ta.exp(x) - 1],
    "logsumexp": [lambda x: ta.log(ta.exp(ta.reshape(x, (3, 4))).sum(1)), lambda x: ta.log(ta.exp(x).sum(0, keepdims=True))],
    "expand": [lambda x: ta.general_score(ta.reshape(x, (3, 4)), ta.reshape(x, (3, 4)), ta.ones((4, 4), x.dtype)),
               lambda x: ta.content_addressing(ta.reshape(x, (3, 4)), 2.0, ta.ones((3, 5, 4), x.dtype))],
}  # fmt: skip
CASES = [
    pytest.param(name, f, id=f"{name}{k}")
    for name, functions in PATTERNS.items()
    for k, f in enumerate(functions)
]
every_case = pytest.mark.parametrize(("name", "function"), CASES)


def test_every_rule_has_patterns_and_a_known_soundness():
    assert set(PATTERNS) == set(BY_NAME)
    assert {rule.soundness for rule in RULES} <= {
        "exact",
        "stabilising",
        "reorders_rounding",
        "assumes_finite",
    }
    assert all(rule.pattern for rule in RULES) and len(BY_NAME) == len(RULES)


def derivative(function, x):
    y = function(x)
    return ta.grad((y * np.linspace(1, 2, y.size).reshape(y.shape)).sum(), x)


def with_gradient(function, x):
    y = function(x)
    (g,) = pull_back({y: ta.tensor(np.linspace(-1, 2, y.size).reshape(y.shape))}, [x])
    return [y, g]


def apply(name, roots):
    log = Log()
    return Rewriter([BY_NAME[name]], log=log)(roots, "test"), log


@every_case
def test_rules_fire_on_their_pattern(name, function):
    x = ta.tensor(np.linspace(0.1, 1.3, 12))
    # The pattern itself may come from another rule: log(1 + exp) is softplus by way of log1p.
    before = Rewriter([BY_NAME["log1p"]])([function(x)], "before")[0] if name == "softplus" else function(x)
    (after,), log = apply(name, [before])
    assert log.counts() == {name: log.counts().get(name)} and log.counts()[name] >= 1
    assert after.type == before.type and after is not before
    assert apply(name, [after])[1].counts().get(name, 0) == 0 or name in ("logsumexp", "expand")


@every_case
def test_rules_keep_value_and_gradient(name, function):
    generator = np.random.default_rng(5)
    for _ in range(3):
        x = ta.tensor(generator.uniform(0.1, 2, 12) if name == "log1p" else generator.standard_normal(12))
        before = with_gradient(function, x)
        after = apply(name, before)[0]
        # The gradient of what the rule made, too.
        differentiated = with_gradient(lambda v, f=function, leaf=x: apply(name, [f(leaf)])[0][0], x)
        right = reference.evaluate(before)
        for found in (
            reference.evaluate(after),
            reference.evaluate(differentiated),
            ta.Program(before).run(),
        ):
            for value, expected in zip(found, right, strict=True):
                equal(value, expected, 10.0, name)


@pytest.mark.parametrize(
    ("name", "function"), [case for case in CASES if BY_NAME[case.values[0]].soundness == "exact"]
)
def test_exact_rules_treat_special_numbers_alike(name, function):
    x = ta.tensor(SPECIAL)
    before = [function(x)]
    (found,), (right,) = reference.evaluate(apply(name, before)[0]), reference.evaluate(before)
    assert np.array_equal(found, right, equal_nan=True), (
        f"{found} is not {right}"
    )  # equal up to the sign of zero


@pytest.mark.parametrize(
    ("name", "function"), [case for case in CASES if BY_NAME[case.values[0]].soundness == "exact"]
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_exact_rules_give_the_same_bits(name, function, dtype):
    before = [function(ta.tensor(np.random.default_rng(2).standard_normal(12).astype(dtype)))]
    assert np.array_equal(reference.evaluate(apply(name, before)[0])[0], reference.evaluate(before)[0])


def test_joining_parts_gives_the_same_bits_when_the_sum_has_other_terms():
    values = np.random.default_rng(2).standard_normal(12)
    x = ta.tensor(values)
    pieces = [make("unslice", x[a:b], starts=(a,), steps=(1,), shape=(12,)) for a, b in ((0, 5), (5, 12))]
    before = [(ta.exp(x) + ta.sin(x) * 3) + pieces[0] + pieces[1]]
    after, log = apply("join-parts", before)
    assert log.counts() == {"join-parts": 1}
    assert np.array_equal(reference.evaluate(after)[0], reference.evaluate(before)[0])


def _softmax(x):
    return np.exp(x - x.max()) / np.exp(x - x.max()).sum()


@pytest.mark.parametrize(
    ("function", "expected", "slope"),
    [
        (
            lambda x: ta.log(ta.softmax(x)),
            lambda x: x - x.max() - np.log(np.exp(x - x.max()).sum()),
            lambda x, g: g - _softmax(x) * g.sum(),
        ),
        (lambda x: ta.log(1 + x / 1e20), lambda x: np.log1p(x / 1e20), lambda x, g: g / 1e20),
        (lambda x: ta.log(1 + ta.exp(x)), lambda x: np.logaddexp(x, 0), lambda x, g: g * special.expit(x)),
        (lambda x: ta.log(ta.sigmoid(x)), lambda x: -np.logaddexp(-x, 0), lambda x, g: g * special.expit(-x)),
        (lambda x: ta.exp(x / 1e20) - 1, lambda x: np.expm1(x / 1e20), lambda x, g: g / 1e20),
        (lambda x: ta.log(ta.exp(x).sum()), np.logaddexp.reduce, lambda x, g: g * _softmax(x)),
    ],
    ids=["log-softmax", "log1p", "softplus", "log-sigmoid", "expm1", "logsumexp"],
)
def test_stabilising_rules_stabilise(function, expected, slope):
    values = np.array([1000.0, 999.5, -1000.0, 3.0])
    x = ta.tensor(values)
    y = function(x)
    np.testing.assert_allclose(ta.Program([y]).run()[0], expected(values), rtol=1e-12)
    with np.errstate(all="ignore"):
        plain = ta.Program([y], rewriting=False).run()[0]
    assert not np.allclose(plain, expected(values), rtol=1e-6, atol=0)
    found = ta.Program([derivative(function, x)]).run()[0]
    np.testing.assert_allclose(found, slope(values, np.linspace(1, 2, y.size)), rtol=1e-12)


STABLE = {
    "log softmax": (lambda x: ta.log(ta.softmax(x)), ta.log_softmax),
    "log softmax of columns": (lambda x: ta.log(ta.softmax(x, 0)), lambda x: ta.log_softmax(x, 0)),
    "masked": (
        lambda x: ta.where(OPEN, ta.log(ta.softmax(x, mask=OPEN)), 0),
        lambda x: ta.where(OPEN, ta.log_softmax(x, mask=OPEN), 0),
    ),
    "negative entropy": (
        lambda x: (p := ta.softmax(x)) * 2 + p * ta.log(p),
        lambda x: (p := ta.softmax(x)) * 2 + p * ta.log_softmax(x),
    ),
    "log Σ exp": (lambda x: ta.log(ta.exp(x).sum(-1)), lambda x: ta.logsumexp(x, -1)),
    "log Σ exp, kept": (lambda x: ta.log(ta.exp(x).sum(0, keepdims=True)), lambda x: ta.logsumexp(x, 0)),
    "log σ": (lambda x: ta.log(ta.sigmoid(x)), ta.log_sigmoid),
    "log σ and σ": (
        lambda x: (s := ta.sigmoid(x)) * s + ta.log(s),
        lambda x: ta.sigmoid(x) ** 2 + ta.log_sigmoid(x),
    ),
    "log(1 + exp)": (lambda x: ta.log(1 + ta.exp(x)), ta.softplus),
    "log1p(exp)": (lambda x: ta.log1p(ta.exp(x)), ta.softplus),
}
OPEN = np.array([True, True, False, True])


@pytest.mark.parametrize("offset", [0, 30, 1000])
@pytest.mark.parametrize("name", STABLE)
def test_derivatives_of_every_order_are_stable(name, offset):
    """What is written by hand has the derivatives of the operation that is stable by itself, wherever the numbers lie."""
    x = np.linspace(-1, 1, 8).reshape(2, 4) + np.array([[1.0], [-1.0]]) * offset
    x[:, 1] -= 2 * offset  # next to nothing, or all there is
    orders = []
    for function in STABLE[name]:
        leaf = ta.tensor(x)
        rows = [derivative(function, leaf)]
        for _ in range(2):
            rows.append(derivative(lambda _: rows[-1], leaf))
        orders.append(ta.Program(rows).run())
    for order, (found, right) in enumerate(zip(*orders, strict=True), 1):
        np.testing.assert_allclose(found, right, rtol=1e-9, atol=1e-12, err_msg=f"order {order}")


def test_a_sum_of_powers_counts_only_along_its_own_axes():
    """The cotangent is divided by sums of rows, but each stands in a column."""
    x = np.random.default_rng(0).standard_normal((3, 3))
    leaf = ta.tensor(x)
    y = ta.exp(leaf)
    for cotangent in (lambda s: (1 / s)[None], lambda s: (1 / s)[:, None]):
        g = ta.broadcast_to(cotangent(y.sum(1)), (3, 3))
        found = ta.Program(pull_back({y: g}, [leaf])).run()[0]
        expected = np.exp(x) * np.broadcast_to(cotangent(np.exp(x).sum(1)), (3, 3))
        np.testing.assert_allclose(found, expected, rtol=1e-13)


# Nothing unsound.


def test_default_rules_are_sound():
    assert DEFAULT_SOUNDNESS == ("exact", "stabilising")
    unsound = NodeRule(
        "0·x", "0 · x → 0", "assumes_finite", ("mul",), lambda node: ta.zeros(node.shape, node.dtype)
    )
    x = ta.tensor(np.ones(3))
    assert Rewriter([unsound])([x * 0], "test")[0] is x * 0
    assert Rewriter([unsound], soundness=("assumes_finite",))([x * 0], "test")[0] is not x * 0


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x / x, lambda x: x * 0, lambda x: 0 * x, lambda x: x - x, lambda x: x + (-x), lambda x: (x + 1e20) - 1e20,
        lambda x: (x / 3) * 3, lambda x: ta.exp(ta.log(x)), lambda x: ta.sqrt(x * x), lambda x: x ** 0.0, lambda x: ta.where(x == x, 1.0, 2.0),
        lambda x: ta.maximum(x, x) - x, lambda x: ta.minimum(x * 0, 1.0), lambda x: ta.sum(x * 0), lambda x: x * 2 - x - x,
    ],
)  # fmt: skip
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_nan_and_infinity_survive_rewriting(function, dtype):
    x = ta.tensor(SPECIAL[[0, 1, 2, 3, 4, 5, 6, 10, 11]].astype(dtype))
    y = function(x)
    (right,) = reference.evaluate([y])
    for rewriting in (True, False):
        equal(ta.Program([y], rewriting=rewriting).run()[0], right, 1.0)
