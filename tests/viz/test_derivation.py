"""``ta.derive``: derivations written from the graph, whose every step is checked with numbers, and fails when a derivative is
wrong.
"""

import math
import re
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from browser import chromium, opened
from proofs import CASES

import tinyattn as ta
from tinyattn.errors import DataError, TinyattnError
from tinyattn.graph.grad import pull_back
from tinyattn.graph.op import OPS, ZERO, NotDifferentiable
from tinyattn.graph.public import CONSTANT, POINTS
from tinyattn.graph.tensor import make, output
from tinyattn.viz.derivation.differences import difference
from tinyattn.viz.derivation.tree import TEXT, Tree, elements, name

DERIVED = [case for case in CASES if not isinstance(OPS[case.values[0]].derivative, NotDifferentiable)]
FIRST = list({case.values[0]: case for case in reversed(DERIVED)}.values())
each = pytest.mark.parametrize(("op", "arrays", "attrs"), DERIVED)
one_of_each = pytest.mark.parametrize(("op", "arrays", "attrs"), FIRST)


def derivation(op, arrays, attrs):
    """That of the first output of an operation, by all its inputs."""

    def call(*inputs):
        node = make(op, *inputs, **attrs)
        return node if node.dtype is not None else output(node, 0)

    return ta.derive(call, inputs=arrays)


def last_forms(derived):
    """The matrix forms, as text."""
    steps = dict(derived.stages())["matrix form"]
    return [TEXT.equation(equation) for step in steps for equation in step.after]


def equations(derived):
    return [TEXT.equation(e) for step in derived.steps for e in (*step.before, *step.after)]


@each
def test_every_step_of_every_hand_derived_operation_holds(op, arrays, attrs):
    derived = derivation(op, arrays, attrs)
    assert derived.holds, derived.text()
    for step in derived.steps:
        compared = step.error is not None and step.error <= 1e-8
        assert compared or step.kinks == step.size > 0, step
    assert [stage for stage, _ in derived.stages() if stage != "index form"] in (
        ["definition", "chain rule", "matrix form"],
        ["definition", "matrix form"],
    )
    balanced(derived.latex())
    ElementTree.fromstring(derived.mathml())


@one_of_each
def test_a_wrong_derivative_is_found(op, arrays, attrs):
    row = OPS[op]
    right = row.derivative

    def wrong(cotangent, node):
        return [None if g is None or g is ZERO else g * 1.000001 for g in right(cotangent, node)]

    object.__setattr__(row, "derivative", wrong)
    try:
        derived = derivation(op, arrays, attrs)
    finally:
        object.__setattr__(row, "derivative", right)
    assert not derived.holds
    assert "do NOT hold" in derived.text() and "WRONG" in repr(derived)


@one_of_each
def test_the_derivative_of_every_derivative_holds(op, arrays, attrs):
    def gradients(*inputs):
        node = make(op, *inputs, **attrs)
        y = node if node.dtype is not None else output(node, 0)
        seed = ta.tensor(np.random.default_rng(5).standard_normal(y.shape), name="seed")
        pulled = pull_back({y: seed}, [x for x in inputs if x.dtype.kind == "f"])
        return tuple(g for g in pulled if g is not None)

    derived = ta.derive(gradients, inputs=arrays)
    assert derived.holds, derived.text()


def test_where_there_is_a_kink_nothing_is_compared_and_said_so():
    x = np.array([-1.0, 0.0, 0.002, 1e-7])
    derived = ta.derive(ta.relu, inputs=[x])
    (step,) = [s for s in derived.steps if s.stage == "chain rule"]
    assert derived.holds and (step.kinks, step.size) == (2, 4)
    said = "not smooth at 2 of 4 elements, where differences say nothing; at the others both sides agree"
    assert said in derived.text() and "steps hold wherever the function is smooth" in derived.text()
    nowhere = ta.derive(ta.relu, inputs=[np.zeros(())])
    assert "not smooth at its element, where differences say nothing" in nowhere.text()
    row = OPS["relu"]
    right = row.derivative
    object.__setattr__(row, "derivative", lambda g, y: (g,))
    try:
        assert not ta.derive(ta.relu, inputs=[x]).holds, "a wrong rule is no kink"
    finally:
        object.__setattr__(row, "derivative", right)


@pytest.mark.parametrize(
    ("at", "unsmooth"),
    [(0.0, True), (1e-7, True), (1e-3, False), (0.002, False), (3.0, False)],
)
@pytest.mark.parametrize(
    "function", [ta.abs, ta.relu, ta.sign, lambda x: x * ta.abs(x), lambda x: ta.abs(x) ** 0.5]
)
def test_differences_know_where_a_function_is_smooth(function, at, unsmooth):
    x = ta.tensor(np.array([at, 1.7]), name="x")
    slopes, kinks = difference([function(x)], [np.array([1.0, -2.0])], x)
    assert kinks.tolist() == [unsmooth, False]
    right = ta.grad((function(x) * ta.tensor(np.array([1.0, -2.0]))).sum(), x).numpy()
    np.testing.assert_allclose(slopes[~kinks], right[~kinks], rtol=1e-8)


@pytest.mark.parametrize("width", [1, 2])
@pytest.mark.parametrize("function", [ta.cosine_score, ta.content_addressing])
def test_vectors_of_one_number_have_a_direction(function, width):
    rng = np.random.default_rng(width)
    arrays = [rng.standard_normal((2, width)), rng.standard_normal((3, width))]
    if function is ta.content_addressing:
        arrays.insert(1, np.array([1.5, 2.0]))
    derived = ta.derive(function, inputs=arrays)
    assert derived.holds, derived.text()


def test_a_wrong_derivative_of_a_part_is_found_where_it_is():
    row = OPS["tanh"]
    right = row.derivative
    object.__setattr__(row, "derivative", lambda g, y: (g * (1 - y),))
    try:
        derived = ta.derive("lstm_cell", "x")
    finally:
        object.__setattr__(row, "derivative", right)
    wrong = [step for step in derived.steps if step.stage == "chain rule" and not step.holds]
    assert wrong and all("tanh" in step.rule for step in wrong)


@pytest.mark.parametrize("op", list(POINTS))
def test_every_public_operation_is_derived_by_its_name(op):
    derived = ta.derive(op)
    assert derived.holds and derived.steps, derived.text()
    assert "part 0 of" not in derived.text()


@pytest.mark.parametrize("op", list(CONSTANT))
def test_what_has_no_derivative_says_why(op):
    with pytest.raises(TinyattnError, match=re.escape(f"but {op} has none: {CONSTANT[op]}")):
        ta.derive(op)


def test_attention_is_as_the_textbook_has_it():
    derived = ta.derive("attention")
    assert derived.holds
    assert last_forms(derived) == [
        "dV = Pᵀ dO", "dP = dO Vᵀ", "dS = P ∘ (dP − rowsum(dP ∘ P))", "dK = dSᵀ Q / √d", "dQ = dS K / √d",
    ]  # fmt: skip
    shown = equations(derived)
    assert {"O = attention(Q, K, V)", "S = a / √d", "P = softmax(S)", "O = P V"} <= set(shown)
    assert "dS_ijk = P_ijk (dP_ijk − Σ_l P_ijl dP_ijl)" in shown


def test_attention_with_a_mask():
    arrays = [np.random.default_rng(k).standard_normal((3, 3)) for k in range(3)]
    mask = np.tri(3, dtype=bool)
    derived = ta.derive(lambda Q, K, V, M: ta.attention(Q, K, V, mask=M), inputs=[*arrays, mask])
    assert derived.holds, derived.text()
    assert {"S̃ = M ? S : −∞", "dS = M ? dS̃ : 0", "dQ = dS K / √d"} <= set(equations(derived))


def test_softmax():
    derived = ta.derive("softmax")
    assert last_forms(derived) == ["dx = y ∘ (dy − rowsum(dy ∘ y))"]
    assert "e = exp(c)" in equations(derived)


def test_the_users_names_are_kept():
    def score(left, right, W):
        return ta.tanh(left @ W) @ right.T

    derived = ta.derive(score)
    assert derived.holds and derived.title == "The derivative of score by left, right, W"
    assert "dW = leftᵀ da" in equations(derived)
    only = ta.derive(score, wrt="W")
    assert only.holds and [row.split(" = ")[0] for row in last_forms(only)] == ["dW"]


def test_values_of_a_function_have_the_names_of_its_variables():
    def attend(Q, K, V):
        S = Q @ K.T / math.sqrt(3)
        P = ta.softmax(S)
        O = P @ V
        return O

    assert last_forms(ta.derive(attend)) == [
        "dV = Pᵀ dO", "dP = dO Vᵀ", "dS = P ∘ (dP − rowsum(dP ∘ P))", "dK = dSᵀ Q / √d", "dQ = dS K / √d",
    ]  # fmt: skip


def test_an_expression_is_derived_at_its_own_numbers():
    x = ta.tensor(np.array([1.0, 2.0]), name="x")
    w = ta.tensor(np.array([3.0, 4.0]), name="w")
    y = (ta.tanh(x) * w).sum()
    derived = ta.derive(y, [w])
    assert derived.holds and last_forms(derived)[0].startswith("dw = ")


def test_a_users_own_operation_is_opened_and_held_against_its_definition():
    cube = ta.custom_vjp(lambda x: x**3, lambda g, y, x: 3 * g * x**2)
    wrong = ta.custom_vjp(lambda x: x**3, lambda g, y, x: 2 * g * x**2)
    assert last_forms(ta.derive(cube)) == ["dx = 3 dy ∘ x²"]
    assert ta.derive(cube).holds and not ta.derive(wrong).holds


def test_index_forms_are_evaluated_sum_by_sum():
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((2, 3)), rng.standard_normal((3, 4))
    factors = (Tree("element", text="A", index=("i", "k")), Tree("element", text="B", index=("k", "j")))
    tree = Tree("bigsum", (Tree("product", factors),), index=("k",), range=(3,))
    assert TEXT(tree) == "Σ_k A_ik B_kj"
    np.testing.assert_allclose(elements(tree, ("i", "j"), (2, 4), {"A": a, "B": b}), a @ b)


PAGE = Path(__file__).parents[2] / "docs" / "derivations.md"


def test_the_page_shows_what_the_tool_prints():
    page = PAGE.read_text()
    for op in ("attention", "softmax"):
        assert f"```text\n{ta.derive(op).text()}\n```" in page


def balanced(latex):
    """Braces, environments and sized parentheses close in the order in which they open."""
    stack = []
    for token in re.findall(r"\\begin\{\w+\*?\}|\\end\{\w+\*?\}|\\left\(|\\right\)|\\.|[{}$]", latex):
        if token.startswith("\\begin"):
            stack.append(token[6:])
        elif token.startswith("\\end"):
            assert stack.pop() == token[4:]
        elif token in ("\\left(", "{"):
            stack.append(token)
        elif token in ("\\right)", "}"):
            assert stack.pop() == {"\\right)": "\\left(", "}": "{"}[token]
    assert not stack


HOSTILE = "<b>\"&'{}$\\%_#^~"


def test_spellings_of_a_hostile_name_are_markup_all_the_same(tmp_path):
    x = ta.tensor(np.ones(3), name=HOSTILE)
    y = (x * x).sum()
    derived = ta.derive(y)
    assert derived.holds and HOSTILE in derived.text()
    balanced(derived.latex())
    texts = "".join(ElementTree.fromstring(derived.mathml()).itertext())
    assert HOSTILE in texts
    derived.save(tmp_path / "d.html")
    page = (tmp_path / "d.html").read_text()
    assert "<b>" not in page and "default-src 'none'" in page and "http://www.w3.org/1998/Math/MathML" in page
    assert "src=" not in page.replace("script-src", "") and "href=" not in page


def test_latex_of_attention():
    latex = ta.derive("attention").latex()
    assert r"dS &= P \circ \left(dP - \operatorname{rowsum}\left(dP \circ P\right)\right)" in latex
    assert r"dQ &= \frac{dS\,K}{\sqrt{d}}" in latex and r"dV &= {P}^{\top}\,dO" in latex


def test_files_and_notebooks(tmp_path):
    derived = ta.derive("tanh")
    derived.save(tmp_path / "d.txt").save(tmp_path / "d.tex")
    assert (tmp_path / "d.txt").read_text().rstrip("\n") == derived.text() == str(derived)
    document = (tmp_path / "d.tex").read_text()
    assert document.startswith(r"\documentclass") and derived.latex() in document
    balanced(document)
    bundle = derived._repr_mimebundle_()
    assert set(bundle) == {"text/plain", "text/latex", "text/html"} and "<math" in bundle["text/html"]
    with pytest.raises(DataError, match=r"must end in \.txt, \.tex, \.html"):
        derived.save(tmp_path / "d.pdf")


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (
            lambda: ta.derive("sofmax"),
            "[derive] OP must be an operation that has a derivative, but got 'sofmax'.",
        ),
        (lambda: ta.derive("argmax"), "[derive] the operation must have a derivative, but argmax has none"),
        (lambda: ta.derive("softmax", "z"), "[derive] wrt must be of x, but got 'z'."),
        (
            lambda: ta.derive(3),
            "[derive] what is derived must be the name of an operation, a function or an expression",
        ),
        (
            lambda: ta.derive(lambda a, b: a @ b, inputs=[np.ones(3)]),
            "[derive] there must be an array for each of a, b",
        ),
    ],
)
def test_mistakes_are_told_in_a_sentence(call, text):
    with pytest.raises(TinyattnError) as caught:
        call()
    assert str(caught.value).startswith(text) and len(str(caught.value).splitlines()) <= 3


def test_parentheses_stand_where_they_are_needed():
    a, b, c = map(name, "abc")
    assert TEXT(Tree("sub", (a, Tree("sub", (b, c))))) == "a − (b − c)"
    assert TEXT(Tree("transpose", (Tree("matmul", (a, b)),))) == "(a b)ᵀ"
    assert TEXT(Tree("matmul", (Tree("hadamard", (a, b)), c))) == "(a ∘ b) c"
    assert TEXT(Tree("quotient", (a, Tree("product", (b, c))))) == "a / (b c)"


def test_the_page_sets_equations_below_each_other(tmp_path):
    path = tmp_path / "d.html"
    ta.derive("attention").save(path)
    with chromium() as browser, opened(browser, path, "math", width=360) as page:
        places = page.evaluate(
            "[...document.querySelectorAll('mtable')].map(table => [...table.querySelectorAll('mtr')].map("
            "row => [...row.querySelectorAll('mtd')].map(cell => cell.firstElementChild?.getBoundingClientRect().x)))"
        )
    assert len(places) == 17 and all(len(table) > 1 for table in places)
    for table in places:
        for column in (1, 2):
            assert len({round(row[column], 1) for row in table}) == 1
