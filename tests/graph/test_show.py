"""Expressions as mathematics, and what values are called."""

import numpy as np
import pytest

import tinyattn as ta
from tinyattn import errors
from tinyattn.graph.names import names
from tinyattn.graph.text import to_text

x = ta.tensor(np.float32([0.5, 1, 2]), name="x")
y = ta.tensor(np.float32([1, 2, 3]), name="y")
M = ta.tensor(np.ones((2, 3), np.float32), name="M")
N = ta.tensor(np.ones((3, 2), np.float32), name="N")
IDS = [1, 0]


def slope(value):
    return ta.grad(value.sum(), x)


@pytest.mark.parametrize(
    ("build", "text"),
    [
        (lambda: slope(ta.tanh(x)), "1 − tanh(x)²"),
        (lambda: slope(slope(ta.tanh(x))), "−2 tanh(x) · (1 − tanh(x)²)"),
        (lambda: slope(ta.sigmoid(x)), "σ(x) · (1 − σ(x))"),
        (lambda: slope(x**3), "3 x²"),
        (lambda: slope(x * y), "y"),
        (lambda: slope(ta.relu(x)), "max(x, 0) > 0"),
        (lambda: (x + 1) * (x - 2) / (x * x + 1), "(x + 1) · (x − 2) / (x² + 1)"),
        (lambda: x - (y + 1), "x − (y + 1)"),
        (lambda: x / (y * x), "x / (y · x)"),
        (lambda: -(x + y), "−(x + y)"),
        (lambda: ta.sqrt(x + 1), "√(x + 1)"),
        (lambda: ta.exp(-x * x / 2), "exp(−x² / 2)"),
        (lambda: (x + y) ** 2, "(x + y)²"),
        (lambda: M @ N, "M·N"),
        (lambda: (M @ N).T, "Nᵀ·Mᵀ"),
        (lambda: 2 * M @ (3 * N), "6 M·N"),
        (lambda: (M + 1) @ N, "(M + 1)·N"),
        (lambda: ta.grad((M @ N).sum(), M), "1·Nᵀ"),
        (lambda: M * M.sum(-1, keepdims=True), "M ⊙ rowsum(M)"),
        (lambda: M.sum(0), "sum_0(M)"),
        (lambda: x.sum() + 0, "Σ x"),
        (lambda: ta.concat([x, 2 * x])[1:3], "[x; 2 x][1:3]"),
        (lambda: ta.softmax(M), "softmax(M)"),
        (lambda: ta.cast(x, np.float64) * 1, "x"),
        (lambda: ta.tensor([1.0, 2.0]) * 1, "tensor"),
    ],
)  # fmt: skip
def test_expressions_are_written_as_mathematics(build, text, capsys):
    assert ta.show(build()) == text
    assert capsys.readouterr().out == text + "\n"


def test_named_values_stand_in_lines_of_their_own():
    S = M @ N / 2
    E = ta.exp(S)
    Z = E.sum(-1, keepdims=True)
    P = E / Z
    loss = (P * P).sum()
    assert ta.show(loss).splitlines() == [
        "loss = Σ P²",
        "  P = E / Z",
        "  Z = rowsum(E)",
        "  E = exp(S)",
        "  S = M·N / 2",
    ]


def test_a_name_given_by_hand_goes_before_the_variable():
    P = ta.cos(x)
    P.name = "Π"
    assert ta.show(P * P + 1).splitlines() == ["Π² + 1", "  Π = cos(x)"]
    assert "%Π = cos(%x)" in to_text(P)
    picture = ta.viz.draw((P * y).sum(), wrt=[x]).picture
    assert any(n.equation == "Π = cos(x)" for n in picture.nodes.values())


def test_long_expressions_that_are_used_twice_get_a_letter():
    long = [ta.exp(ta.tanh(x * y) + ta.sqrt(x + y))]
    pair = [long[0] * y, long[0] / y]
    assert ta.show(pair[0] + pair[1]).splitlines() == [
        "a · y + a / y",
        "  a = exp(tanh(x · y) + √(x + y))",
    ]


def test_names_are_told_apart_and_those_of_one_line_go_to_its_last_node():
    h = ta.sin(x - y)
    before = h
    h = ta.tanh(h + 1)
    found = names([h])
    assert found[before] == "h" and found[h] == "h₂" and found[x] == "x"
    both = ta.sin(x), ta.sin(y)  # two values: which of them would be "both"?
    assert "both" not in names(both).values()


def test_what_is_no_expression_is_refused():
    with pytest.raises(errors.DTypeError, match=r"\[show\] an expression must be a Tensor"):
        ta.show(3)


def test_every_operation_of_the_table_can_be_written():
    from op_table import ROWS

    for row in ROWS:
        sample = row.samples[0]
        for value in row.results([ta.tensor(a) for a in sample.arrays(np.float32)], sample.attrs):
            from tinyattn.viz.mathematics import mathematics

            text = mathematics(value)
            assert text and "{" not in text, row.name
