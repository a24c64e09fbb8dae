"""Attention in three levels: closed, as the textbook has it, and down to the numbers. The textbook's page computes what the
operation computes, forward and backward.
"""

import numpy as np
import pytest

import tinyattn as ta
from tinyattn import viz
from tinyattn.graph.traverse import substitute, topological
from tinyattn.viz import textbook

rng = np.random.default_rng(0)


def leaf(name, *shape):
    return ta.tensor(rng.standard_normal(shape), name=name)


def attention(mask=True):
    Q, K, V = leaf("Q", 2, 3, 8), leaf("K", 2, 5, 8), leaf("V", 2, 5, 4)
    M = ta.tensor(rng.random((3, 5)) < 0.7, name="M") if mask else None
    O = ta.attention(Q, K, V, mask=M)
    loss = (O * O).sum()
    return loss


def equations(view):
    return [n.equation for n in view.picture.nodes.values() if n.formula]


def test_attention_closed_says_its_formula_and_its_rule():
    found = equations(viz.draw(attention()))
    assert "O = softmax(τ·Q·Kᵀ)·V" in found
    assert "dQ, dK, dV = τ·dS·K, τ·dSᵀ·Q, Pᵀ·dO with dS = P ⊙ (dO·Vᵀ − ⟨dO, O⟩)" in found


def test_attention_opens_as_the_textbook_has_it():
    view = viz.draw(attention(), expand="attention")
    assert equations(view) == [
        "Q·Kᵀ", "S = 0.3536 Q·Kᵀ", "S̃ = M ? S : −∞", "P = softmax(S̃)", "O = P·V", "O ⊙ O", "loss = Σ O ⊙ O", "dloss ⊙ O",
        "dO = dloss ⊙ O + dloss ⊙ O", "dP = dO·Vᵀ", "dS̃ = P ⊙ (dP − rowsum(P ⊙ dP))", "dS = M ? dS̃ : 0",
        "d(Q·Kᵀ) = 0.3536 dS", "dQ = d(Q·Kᵀ)·K", "dKᵀ = Qᵀ·d(Q·Kᵀ)", "dV = Pᵀ·dO",
    ]  # fmt: skip
    nodes = view.picture.nodes
    saved = {
        (nodes[e.source].name or nodes[e.source].title, nodes[e.target].name)
        for e in view.picture.edges
        if e.kind == "saved"
    }
    assert {("P", "dS̃"), ("P", "dV"), ("V", "dP"), ("K", "dQ"), ("Q", "dKᵀ"), ("M", "dS")} <= saved, (
        "P is not made again"
    )
    kinds = [(c.kind, c.phase) for c in view.picture.clusters.values()]
    assert kinds == [("definition", "forward"), ("definition", "gradient")]


def test_attention_opens_down_to_the_numbers():
    view = viz.draw(attention(), expand=("attention", "softmax", "softmax_backward"))
    ops = {n.op for n in view.picture.nodes.values()}
    assert {"max", "exp", "sum", "div"} <= ops and not {"softmax", "softmax_backward", "attention"} & ops
    assert {"S", "P", "O", "dP", "dS", "dQ", "dV"} <= {n.name for n in view.picture.nodes.values()}


def test_a_derivative_that_was_taken_opens_beside_its_attention():
    loss = attention()
    Q = next(n for n in topological([loss]) if n.name == "Q")
    found = equations(viz.draw([loss, ta.grad(loss, Q)], expand="attention"))
    assert "P = softmax(S̃)" in found and "dS̃ = P ⊙ (dP − rowsum(P ⊙ dP))" in found
    assert found.count("Q·Kᵀ") == 1 and "dV = Pᵀ·dO" not in found


@pytest.mark.parametrize(
    "options",
    [{}, {"is_causal": True}, {"mask": "bool"}, {"mask": "float"}, {"mask": "bool", "is_causal": True}],
)
@pytest.mark.parametrize("batch", [((2, 3), (2, 3), (2, 3)), ((3,), (2, 1), (2, 3))])
def test_the_page_computes_what_the_operation_computes(options, batch):
    Q, K, V = (
        leaf(name, *lead, *size)
        for name, lead, size in zip("QKV", batch, [(4, 6), (5, 6), (5, 2)], strict=True)
    )
    mask = options.get("mask")
    allowed = rng.random((4, 5)) < 0.6
    allowed[:, 0] = True
    if mask == "bool" and not options.get("is_causal"):
        allowed[1] = False  # a query that may see nothing
    mask = None if mask is None else ta.tensor(allowed if mask == "bool" else rng.standard_normal((4, 5)))
    out = ta.attention(Q, K, V, mask=mask, is_causal=options.get("is_causal", False))
    G = leaf("G", *out.shape)
    node = next(n for n in topological([out]) if n.op.name == "attention")
    page = textbook.open_forward(node)
    given = dict(zip(page.variables, node.inputs, strict=True))
    [same] = substitute([page.out], given)
    np.testing.assert_allclose(same.numpy(), out.numpy(), rtol=1e-12, atol=1e-14)
    leaves = [x for x in node.inputs if x.dtype.kind == "f"]
    expected = ta.grad((out * G).sum(), leaves)
    backward = next(n for n in topological(expected) if n.op.name == "attention_backward")
    assert textbook.key(backward) == textbook.key(node)
    cotangent, results = textbook.open_backward(page, backward)
    found = substitute([r for r in results if r is not None], {**given, cotangent: G})
    for own, other, x in zip(found, expected, leaves, strict=True):
        total = own.numpy()
        extra = tuple(range(total.ndim - x.ndim))
        total = total.sum(extra) if extra else total
        axes = tuple(k for k in range(x.ndim) if x.shape[k] == 1 != total.shape[k])
        np.testing.assert_allclose(total.sum(axes, keepdims=True), other.numpy(), rtol=1e-10, atol=1e-12)
