"""What a picture says: the formula of each node with the names of its operands, gradients after whose cotangent they are,
and what views do on the arrows that go through them.
"""

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tinyattn as ta
from tinyattn import viz
from tinyattn.graph.names import names
from tinyattn.graph.traverse import topological
from tinyattn.viz.through import _joined

rng = np.random.default_rng(0)


def leaf(name, *shape, make=ta.tensor):
    return make(rng.standard_normal(shape).astype(np.float32), name=name)


def attention(weigh):
    Q, K, V = leaf("Q", 2, 3, 8), leaf("K", 2, 5, 8), leaf("V", 2, 5, 4)
    S = Q @ K.transpose(0, 2, 1) / 8**0.5
    P = weigh(S)
    O = P @ V
    loss = (O * O).sum()
    return loss


def by_hand(S):
    E = ta.exp(S)
    Z = ta.sum(E, axis=-1, keepdims=True)
    P = E / Z
    return P


def equations(view, phase=None):
    return [n.equation for n in view.picture.nodes.values() if n.formula and phase in (None, n.phase)]


def arrows(view):
    nodes = view.picture.nodes
    return [
        (nodes[e.source].name or nodes[e.source].title, e.label, nodes[e.target].name)
        for e in view.picture.edges
    ]


def test_attention_reads_like_the_page_of_a_book():
    view = viz.draw(attention(ta.softmax))
    assert equations(view, "forward") == [
        "Q·Kᵀ", "S = Q·Kᵀ / 2.828", "P = softmax(S)", "O = P·V", "O ⊙ O", "loss = Σ O ⊙ O",
    ]  # fmt: skip
    assert equations(view, "gradient") == [
        "dloss ⊙ O", "dO = dloss ⊙ O + dloss ⊙ O", "dP = dO·Vᵀ", "dS = P ⊙ (dP − rowsum(P ⊙ dP))",
        "d(Q·Kᵀ) = dS / 2.828", "dQ = d(Q·Kᵀ)·K", "dKᵀ = Qᵀ·d(Q·Kᵀ)", "dV = Pᵀ·dO",
    ]  # fmt: skip
    assert {n.title for n in view.picture.nodes.values() if n.kind == "result"} == {
        "∂loss/∂Q",
        "∂loss/∂K",
        "∂loss/∂V",
    }
    shown = arrows(view)
    assert ("K", "ᵀ", "") in shown and ("V", "ᵀ", "dP") in shown and ("P", "ᵀ", "dV") in shown
    assert "P = softmax(S)" in view.source and "headlabel=<ᵀ>" in view.source


def test_a_gradient_is_named_after_the_value_it_belongs_to():
    """Not after the operation whose rule made it: the quotient's rule makes parts of dE and dZ."""
    found = equations(viz.draw(attention(by_hand)), "gradient")
    assert "dE = dP / Z + rowsum((−dP) ⊙ P / Z)" in found and "dS = dE ⊙ E" in found


def test_first_and_second_derivatives_are_told_apart():
    x, w = leaf("x", 3), leaf("w", 3)
    h = ta.tanh(x * w)
    slope = ta.grad(h.sum(), x)
    view = viz.draw((slope * slope).sum(), wrt=[w])
    orders = {n.equation: n.order for n in view.picture.nodes.values() if n.formula}
    assert orders["h = tanh(x · w)"] == 0
    first = {text.partition(" = ")[0] for text, order in orders.items() if order == 1}
    second = {text.partition(" = ")[0] for text, order in orders.items() if order == 2}
    assert (
        "dx" in first
        and "∂²h" in second
        and "∂²w" in second
        and not [name for name in first if name[:1] == "∂"]
    )
    assert {"order2"} <= {
        word for n in view.picture.nodes.values() for word in n.classes.split() if n.order == 2
    }


def test_cotangents_are_recorded_where_they_are_found():
    x = leaf("x", 4)
    a = ta.exp(x)
    y = (a * a).sum()
    g = ta.grad(y, x)
    value, walk = g.cotangent_of
    assert value is x and walk.order == 1
    assert ta.grad((g * g).sum(), x).cotangent_of[1].order == 2


def test_views_are_drawn_on_demand():
    y = attention(ta.softmax)
    closed, full = viz.draw(y).picture, viz.draw(y, views=True).picture
    assert not [n for n in closed.nodes.values() if n.kind == "view"]
    assert [n.op for n in full.nodes.values() if n.kind == "view" and n.phase == "forward"] == ["transpose"]
    assert {n.id for n in full.nodes.values() if n.kind != "view"} == set(closed.nodes)


def test_slices_and_shapes_stand_on_arrows():
    x = leaf("x", 4, 6)
    left = x[:, :3]
    y = left @ ta.reshape(x[:, 3:], (3, 4))
    view = viz.draw(y, direction="forward")
    assert arrows(view) == [("x", "left: [:, :3]", "y"), ("x", "[:, 3:] → (3, 4)", "y")]
    assert equations(view) == ["y = left·x[:, 3:]"]


@pytest.mark.parametrize("shapes", [False, True])
@pytest.mark.parametrize(
    ("views", "with_shapes", "without"),
    [
        (["ᵀ", "ᵀ"], "", ""),
        (["ᵀ", "→ (6,)", "ᵀ"], "ᵀ → (6,) ᵀ", ""),
        (["ᵀ", "[1]", "ᵀ"], "ᵀ [1] ᵀ", "ᵀ [1] ᵀ"),
        (["[1]", "as f32", "axes 1, 0, 2", "→ (3,)", "→ (6,)"], "[1] as f32 → (6,)", "[1]"),
    ],
)
def test_what_a_chain_of_views_is_on_an_arrow(views, with_shapes, without, shapes):
    assert " ".join(_joined(views, shapes)) == (with_shapes if shapes else without)


def test_two_arrows_between_the_same_nodes_stay_two():
    x = leaf("x", 3, 3)
    view = viz.draw(x @ x, direction="forward")
    assert [e.operands for e in view.picture.edges] == [[0], [1]]
    assert len(set(re.findall(r'id="([^"]*--[^"]*)"', view.source))) == 2


def test_results_of_one_call_have_the_names_of_their_variables():
    x, h, c = leaf("x", 2, 3), leaf("h", 2, 3), leaf("c", 2, 3)
    W, U = leaf("W", 12, 3, make=ta.parameter), leaf("U", 12, 3, make=ta.parameter)
    new, cell = ta.lstm_cell(x, (h, c), W, U)
    assert "new, cell = LSTM(x·Wᵀ + h·Uᵀ, c)" in equations(viz.draw((new * cell).sum()))


def recurrent():
    xs, W = leaf("xs", 5, 2, 3), leaf("W", 3, 3, make=ta.parameter)

    def step(h, x):
        h = ta.tanh(x + h @ W)
        return h, h

    _, states = ta.scan(step, ta.zeros((2, 3)), xs)
    return (states * states).sum()


def test_carries_of_a_loop_have_names_forward_and_backward():
    picture = viz.draw(recurrent()).picture
    carries = {(n.phase, n.title) for n in picture.nodes.values() if n.kind == "carry"}
    assert carries == {("forward", "h"), ("gradient", "dh")}
    found = [n.equation for n in picture.nodes.values()]
    assert "h′ = tanh(xs[t] + h·W)" in found and "dh′ = d(xs[t] + h·W)·Wᵀ" in found


def test_carries_have_the_names_that_the_step_returns():
    def step(state, x):
        memory, key = state
        memory, key = memory * x, ta.tanh(key + x)
        return (memory, key), None

    start = ta.ones(3), ta.ones(3)
    (memory, key), _ = ta.scan(step, start, leaf("xs", 4, 3))
    titles = [n.title for n in viz.draw(memory.sum() + key.sum()).picture.nodes.values() if n.kind == "carry"]
    assert titles[:2] == ["memory", "key"] and {"dmemory", "dkey"} <= set(titles)
    last, _ = ta.scan(lambda total, x: (total + ta.exp(x), None), ta.zeros(3), leaf("xs", 4, 3))
    assert [n.title for n in viz.draw(last.sum()).picture.nodes.values() if n.kind == "carry"][:1] == [
        "total"
    ]


_OPERATIONS = {
    "exp": ta.exp, "tanh": ta.tanh, "T": lambda x: x.T, "rows": lambda x: x[:2], "double": lambda x: x + x,
    "product": lambda x: x @ x.T, "relu": lambda x: ta.where(x > 0, x, 0), "sum": lambda x: x.sum(-1, keepdims=True),
    "cast": lambda x: x.astype(np.float64).astype(np.float32), "softmax": ta.softmax, "norm": lambda x: ta.layer_norm(x, x.shape[-1:]),
}  # fmt: skip


@settings(max_examples=25, deadline=None, derandomize=True)
@given(steps=st.lists(st.sampled_from(sorted(_OPERATIONS)), min_size=1, max_size=6), again=st.booleans())
def test_every_formula_names_its_operands_and_no_hash_shows(steps, again):
    value = leaf("theta", 3, 3)
    for step in steps:
        value = _OPERATIONS[step](value)
    loss = value.sum()
    if again:
        loss = ta.square(ta.grad(loss, next(n for n in topological([loss]) if n.name == "theta"))).sum()
    for views in (False, True):
        view = viz.draw(loss, views=views)
        picture = view.picture
        inputs = {ident: 0 for ident in picture.nodes}
        for edge in picture.edges:
            inputs[edge.target] += len(edge.operands)
        for node in picture.nodes.values():
            shown = " ".join([node.title, node.equation, *node.types, node.arrow, node.attrs])
            assert not re.search(r"(?<![\w.])[xyz] [>·⊙+]|[0-9a-f]{12}|\{\d\}|None", shown), shown
            assert node.formula or not inputs[node.id] or node.kind in ("seed", "result")
        said = re.findall(r'(?:label=<(.*?)>[ \]]|tooltip="(.*?)")', view.source)
        assert said and not re.search(r"[0-9a-f]{12}", str(said))


@pytest.mark.parametrize("order", [1, 2])
def test_a_name_belongs_to_one_value(order):
    loss = attention(by_hand)
    Q = next(n for n in topological([loss]) if n.name == "Q")
    if order == 2:
        loss = ta.square(ta.grad(loss, Q)).sum()
    named = [n.name for n in viz.draw(loss, wrt=[Q]).picture.nodes.values() if n.name]
    assert len(named) == len(set(named)) > 5


def test_arguments_of_a_function_have_their_names():
    w = leaf("w", 3, make=ta.parameter)

    @ta.function
    def step(x, pair, *, options):
        loss = (x * w + pair[1] * options["a"]).sum() + pair[0].sum()
        return loss

    step(np.ones(3, np.float32), (np.ones(2, np.float32), np.ones(3, np.float32)), options={"a": 2.0})
    picture = viz.draw(step).picture
    assert [n.title for n in picture.nodes.values() if n.kind == "input"] == [
        "x",
        "pair[1]",
        "options.a",
        "pair[0]",
    ]
    assert [n.name for n in picture.nodes.values() if n.output and n.kind == "op"] == ["loss"]


def test_the_first_derivative_below_a_second_one_is_a_gradient_not_a_saved_value():
    x, w = leaf("x", 2, 3), leaf("w", 3, 3, make=ta.parameter)
    h = ta.tanh(x @ w)
    slope = ta.grad((h * h).sum(), x)
    nodes = viz.draw((slope * slope).sum(), wrt=[w]).picture.nodes.values()
    found = {n.name: n for n in nodes if n.name}
    assert not found["dh"].operand and not found["dx"].operand and found["dx"].order == 1
    assert [n.title for n in nodes if n.kind == "seed"] == ["∂²y = 1"]


def test_formulas_of_operations_inside_of_others_have_the_parentheses_that_they_need():
    q, k, W, U, v = leaf("q", 2, 3, 8), leaf("k", 2, 5, 8), leaf("W", 8, 8), leaf("U", 8, 8), leaf("v", 8)
    found = " | ".join(equations(viz.draw(ta.additive_score(q, k, W, U, v).sum())))
    assert "vᵀ tanh((q·Wᵀ)_i + (k·Uᵀ)_j)" in found and "Σ_ij dy_ij t_ij with Γ = dy·v" in found
    y = ta.conv2d(leaf("x", 1, 2, 5, 5), leaf("K", 2, 2, 3, 3))
    found = equations(viz.draw((y * y + -y).sum(), direction="forward"))
    assert "y ⊙ y + (−y)" in found
    x = leaf("x", 1, 2, 5, 5)
    found = equations(viz.draw(ta.square(ta.conv2d(x, leaf("K", 2, 2, 3, 3))).sum(), direction="forward"))
    assert found[:2] == ["K ∗ x", "(K ∗ x)²"]


def test_what_a_loop_stacks_has_its_names_whatever_the_shapes():
    x, h = ta.tensor(np.ones((3, 2)), name="x"), ta.tensor(np.ones(2), name="h0")
    last, (wide, narrow) = ta.scan(lambda h, row: (ta.tanh(h + row), (ta.concat([h, row], 0), h * row)), h, x)
    called = set(names([narrow.sum() + wide.sum(), narrow, wide]).values())
    assert {"wide", "narrow"} <= called


def test_a_factor_beside_a_call_is_wrapped(capsys):
    x, w = leaf("x", 2, 2), leaf("w", 2, 2)
    assert str(ta.show(ta.gelu(x @ w + w) / 2)) == "(x·w + w) Φ(x·w + w) / 2"
    assert str(ta.show(ta.gelu(x @ w))) == "x·w Φ(x·w)"


def test_a_fused_chain_is_written_out():
    def chains(roots):
        return [n.equation for n in viz.compare(roots).picture.nodes.values() if n.title == "+ fused"]

    x, w, b = leaf("x", 4, 4), leaf("w", 4, 4), leaf("b", 4)
    assert chains([ta.gelu(x @ w + b) / 2 + x]) == ["y = (x·w + b) Φ(x·w + b) / 2 + x"]
    y = ta.tanh(x)
    assert "chain(x, b)" in str(chains([y, y + b])), "of two results"


def test_parentheses_are_where_the_value_needs_them(capsys):
    x, y, z, a = leaf("x", 3), leaf("y", 3), leaf("z", 3), leaf("A", 2, 3)
    for value in ((x + y) % z, x % (y + z), ta.sum(a * a) * x, ta.sum(a * a) / x, ta.sum(a * a) * 2.0):
        ta.show(value)
    assert capsys.readouterr().out.splitlines() == [
        "(x + y) mod z", "x mod (y + z)", "(Σ A²) · x", "(Σ A²) / x", "2 Σ A²",
    ]  # fmt: skip


def test_a_derivation_names_the_cotangent_that_it_uses():
    text = ta.derive(lambda x: (x * x, ta.sum(x * x))).text()
    assert "dx = (∂y / ∂x)ᵀ dy′\n     → dx = 2 dy′ ∘ x" in text
    assert "(∂y / ∂dx)ᵀ dy" in ta.derive(lambda dx, x: ta.sum(dx * x)).text()
    latex = ta.derive(lambda x: (x * x, ta.sum(x * x))).latex()
    assert "∂" not in latex and "∘" not in latex


def test_two_digits_of_a_cell_are_those_of_its_number():
    shown = str(ta.viz.heatmap([[10.5, 20.25, 0.5], [-0.5, 90.4, 100.7]]))
    assert shown.split() == ["0", "10.5", "20.2", ".50", "1", "−.50", "90.4", "101"]
