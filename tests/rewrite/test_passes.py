"""The passes of the rewriter: verifying, explaining, entering loops, fusing chains, absorbing sums into products."""

import numpy as np
import pytest
from engine import compiled

import tinyattn as ta
from tinyattn.graph.tensor import make
from tinyattn.graph.traverse import topological
from tinyattn.graph.verify import VerifyError
from tinyattn.rewrite import rule as rule_module
from tinyattn.rewrite import rules as _rules  # noqa: F401  (fills the list)
from tinyattn.rewrite.affine import fuse_affine
from tinyattn.rewrite.fuse import fuse
from tinyattn.rewrite.rule import Log, NodeRule, Rewriter
from tinyattn.runtime import reference
from tinyattn.runtime.program import optimize


def test_the_verifier_runs_after_each_pass_and_names_rule_or_phase(monkeypatch):
    x = ta.tensor(np.ones((2, 3)))
    other = NodeRule("wrong shape", "x → xᵀ", "exact", ("exp",), lambda node: ta.transpose(node))
    with pytest.raises(
        VerifyError, match=r"types must be kept, but rule 'wrong shape' turned f64\[2, 3\] into f64\[3, 2\]"
    ):
        Rewriter([other])([ta.exp(x)], "simplify")

    def malformed(node):
        bad = make("tanh", node.inputs[0])
        bad.shape = (7,)
        good = make("sum", bad, axes=(0,), keepdims=False)
        return ta.broadcast_to(good, node.shape)

    with pytest.raises(VerifyError, match="phase simplify"):
        Rewriter([NodeRule("malformed", "x → ?", "exact", ("exp",), malformed)])(
            [ta.exp(ta.exp(x) * 3)], "simplify"
        )
    calls = []
    monkeypatch.setattr(rule_module, "verify", lambda roots, where: calls.append(where))
    Rewriter()([ta.exp(x) + 0], "simplify")
    assert calls == ["phase simplify"]


def test_a_cycle_of_rules_ends():
    x = ta.tensor(np.ones(2))
    there = NodeRule(
        "there", "a + b → b + a", "exact", ("add",), lambda node: make("add", node.inputs[1], node.inputs[0])
    )
    y = ta.exp(x) + x
    (z,) = Rewriter([there])([y], "test")
    np.testing.assert_allclose(z.numpy(), y.numpy())


def test_explain_names_rule_and_shows_before_and_after():
    x = ta.tensor(np.ones((3, 4)), name="x")
    program = ta.Program([ta.log(ta.softmax(x * 1))])
    text = program.explain()
    assert "simplify · multiply-one (exact): x · 1 → x" in text
    assert "simplify · log-softmax (stabilising): log softmax(x) → log_softmax(x)" in text
    rows = text.splitlines()
    at = next(k for k, row in enumerate(rows) if "multiply-one" in row)
    assert any(row.startswith("  - ") and "mul(%x, 1)" in row for row in rows[at : at + 6])
    assert any(row.startswith("  + ") and "%x = tensor()" in row for row in rows[at : at + 6])
    assert program.explain(limit=1).splitlines()[-1].startswith("… and ")
    assert ta.Program([x.T], rewriting=False).explain() == "no rule fired"
    assert program.log.counts()["log-softmax"] == 1


def test_rules_work_inside_loops_and_drop_what_is_not_asked_for():
    x = ta.tensor(np.random.default_rng(0).standard_normal((4, 3)))

    def step(carry, xt):
        a, dead = carry
        return (ta.tanh(a * 1 + xt + 0), dead * 2 + a), (ta.log(ta.softmax(a)), ta.exp(dead))

    (final, _), (ys, _) = ta.scan(step, (x[0], x[1]), x)
    log = Log()
    roots = Rewriter(log=log)([final, ys], "simplify")
    assert {"multiply-one", "add-zero", "log-softmax"} <= set(log.counts())
    scan = next(n for n in topological(roots) if n.op.name == "scan")
    assert scan.attrs["carries"] == 1
    for found, right in zip(reference.evaluate(roots), reference.evaluate([final, ys]), strict=True):
        np.testing.assert_allclose(found, right, rtol=1e-13)


# Fusion and absorption.


def test_elementwise_chains_become_one_kernel():
    x, y = ta.tensor(np.random.default_rng(0).standard_normal((3, 4))), ta.tensor(np.ones(4))
    chain = ta.tanh(ta.exp(x * 2 + y) / (x * x + 1)) - ta.where(x > 0, x, 0.0)
    log = Log()
    (fused,) = fuse([chain], log)
    assert fused.op.name == "output" and fused.inputs[0].op.name == "fused"
    assert len(topological([fused])) == 4 and log.counts()["fuse-elementwise"] == 1
    np.testing.assert_allclose(reference.evaluate([fused])[0], reference.evaluate([chain])[0])
    # A value that something else needs comes out as well; a reduction ends the chain.
    inner = ta.exp(x)
    roots = fuse([(inner * 2).sum(), inner + 1], Log())
    assert sum(n.op.name == "fused" for n in topological(roots)) <= 2
    for found, right in zip(
        reference.evaluate(roots), reference.evaluate([(inner * 2).sum(), inner + 1]), strict=True
    ):
        np.testing.assert_allclose(found, right)


def test_long_chains_and_many_inputs_are_cut():
    xs = [ta.tensor(np.full(3, float(k))) for k in range(100)]
    total = xs[0]
    for x in xs[1:]:
        total = ta.sin(total + x)
    values = ta.Program([total]).run(), reference.evaluate([total])
    np.testing.assert_allclose(values[0][0], values[1][0], rtol=1e-12)


def test_sums_become_part_of_products():
    rng = np.random.default_rng(0)
    a, b, d = (ta.tensor(rng.standard_normal(shape)) for shape in ((5, 3), (3, 4), (4,)))
    cases = [
        a @ b + d,
        d + a @ b,
        a @ b + ta.tensor(rng.standard_normal((5, 4))),
        ta.reshape(a, (1, 5, 3)) @ b + d,
        a @ b + 1.0,
        a @ b + d[:1],
    ]
    for node in cases:
        log = Log()
        (found,) = fuse_affine([node], log)
        assert log.counts() == {"fuse-affine": 1}
        np.testing.assert_allclose(reference.evaluate([found])[0], reference.evaluate([node])[0], rtol=1e-12)
        np.testing.assert_allclose(ta.Program([node]).run()[0], reference.evaluate([node])[0], rtol=1e-12)
    product = a @ b
    assert (
        fuse_affine([product + d, product * 2], Log())[0].op.name == "add"
    )  # the product is needed by itself
    wide = a @ b + ta.tensor(rng.standard_normal((2, 5, 4)))
    assert fuse_affine([wide], Log())[0].op.name == "add"
    for node in (wide, product @ ta.transpose(b) + a):
        np.testing.assert_allclose(ta.Program([node]).run()[0], reference.evaluate([node])[0], rtol=1e-12)


@pytest.mark.parametrize("name", ["relu", "tanh", "sigmoid"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["f32", "f64"])
def test_functions_become_part_of_small_products(name, dtype):
    function = getattr(ta, name)

    def leaf(*shape):
        return ta.tensor(np.random.default_rng(shape).standard_normal(shape).astype(dtype))

    x, w, v, b = leaf(2, 5, 3), leaf(3, 4), leaf(4, 6), leaf(4)
    y = function(x @ w + b)
    roots = [y @ v, *ta.vjp(lambda x, w, b: function(x @ w + b) @ v, [x, w, b], leaf(2, 5, 6))[1]]
    program = ta.Program(roots)
    counts = program.log.counts()
    assert counts["fuse-affine-function"] == 1  # for the gradient too: f′ is known from f
    assert f"affine_{name}" in program.explain() and "fuse-affine-function (exact)" in program.explain()
    found = program.run()
    for value, plain, right in zip(
        found, compiled(roots, rewriting=False), reference.evaluate(roots), strict=True
    ):
        tolerance = 3e-6 if dtype == np.float32 else 1e-14
        np.testing.assert_allclose(value, right, rtol=tolerance, atol=tolerance)
        np.testing.assert_allclose(plain, right, rtol=tolerance, atol=tolerance)
    # By themselves, where f has its argument from a product without a sum, where others need that, where f
    # is a link of a chain, and where the product is large:
    z = x @ w + b
    tall, wide = leaf(300, 3), leaf(3, 300)
    for kept in ([function(x @ w)], [function(z), z], [function(z) * 2], [function(tall @ wide + leaf(300))]):
        assert "fuse-affine-function" not in ta.Program(kept).log.counts()
    nothing = ta.Program([function(leaf(2, 0) @ leaf(0, 4) + b)])
    np.testing.assert_allclose(
        nothing.run()[0], reference.evaluate([function(leaf(2, 0) @ leaf(0, 4) + b)])[0], rtol=3e-6
    )


def test_rows_of_a_small_table_are_multiplied_once():
    """Looked-up rows times a matrix: the table times the matrix, then looked up, through reordered axes."""
    table, w = ta.tensor(np.linspace(-1, 1, 12).reshape(3, 4)), ta.tensor(np.linspace(0, 3, 20).reshape(4, 5))
    rows = ta.embedding(table, ta.tensor(np.arange(30).reshape(2, 3, 5) * 7 % 3))

    def products(node):
        return [n.shape for n in topological([node]) if n.op.name == "matmul"]

    for x in (
        rows,
        rows.transpose(2, 0, 1, 3),
        rows.reshape(6, 5, 4),
        rows.transpose(1, 0, 2, 3).reshape(15, 2, 4).transpose(1, 0, 2),
    ):
        assert products(x @ w) == [(3, 5)]
        expected = reference.evaluate([x])[0] @ w.numpy()
        np.testing.assert_allclose((x @ w).numpy(), expected, rtol=1e-12, atol=1e-12)
    for x in (rows.transpose(0, 1, 3, 2), rows.reshape(2, 3, 20)):  # these are no longer rows of the table
        y = x @ ta.ones((x.shape[-1], 2), np.float64)
        assert (3, 2) not in products(y)
        np.testing.assert_allclose(y.numpy()[..., 0], reference.evaluate([x])[0].sum(-1), rtol=1e-12)
    few = ta.embedding(table, ta.tensor(np.array([2, 0]))) @ w
    assert products(few) == [(2, 5)]


def test_every_pass_enters_bodies_in_bodies():
    """A loop in a checkpoint in a loop: rules, products with sums, chains and unused carries, all the way down."""
    w, b = ta.tensor(np.eye(3)), ta.tensor(np.ones(3))

    @ta.checkpoint
    def block(h):
        (h, _), ys = ta.scan(
            lambda c, _: ((ta.tanh(c[0] @ w * 1 + b) + c[0], c[1] + 1), c[0]), (h, h), length=3
        )
        return h, ys

    h, ys = ta.scan(lambda c, _: block(c * 1), ta.tensor(np.ones((2, 3))), length=2)
    log = Log()
    roots = optimize([h, ys], log)
    outer = next(n for n in topological(roots) if n.op.name == "scan")
    assert not any(n.op.name == "checkpoint" for n in outer.attrs["body"].nodes())
    inner = next(n for n in outer.attrs["body"].nodes() if n.op.name == "scan")
    assert inner.attrs["carries"] == 1  # nobody needs the other
    assert sorted(n.op.name for n in inner.attrs["body"].nodes() if n.inputs) == [
        "affine",
        "fused",
        "output",
    ]
    assert log.counts()["multiply-one"] >= 2 and log.counts()["checkpoint"] == 2
    for found, right in zip(compiled([h, ys]), reference.evaluate([h, ys]), strict=True):
        np.testing.assert_allclose(found, right)
