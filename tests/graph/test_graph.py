"""The graph: nodes, ids and text, the verifier, long chains, scopes and lines."""

import inspect
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from engine import first_line

import tinyattn as ta
from tinyattn import errors
from tinyattn.graph.scope import Line
from tinyattn.graph.tensor import make
from tinyattn.graph.text import structural_ids, to_text
from tinyattn.graph.traverse import depends_on, topological
from tinyattn.graph.verify import VerifyError, verify

ROOT = Path(__file__).parents[2]


def numbers(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


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
    assert first_line(error) == "[setitem] tensors are immutable, but got an assignment to a part."
    assert "ta.index_update(x, index, value)" in str(error.value)
    with pytest.raises(errors.TinyattnError) as error:
        (x + 1).assign(numbers(3))
    assert (
        first_line(error)
        == "[assign] only a leaf made by ta.tensor or ta.parameter owns memory, but got the result of 'add'."
    )
    with pytest.raises(errors.ShapeError) as error:
        x.assign(numbers(4))
    assert first_line(error) == "[assign] the value must have the leaf's shape (3,), but got (4,)."
    with pytest.raises(errors.ShapeError) as error:
        x.item()
    assert first_line(error) == "[item] the tensor must hold one element, but got shape (3,)."
    with pytest.raises(errors.ShapeError, match=r"\[len\] a tensor must have an axis"):
        len(ta.tensor(1.0))
    with pytest.raises(
        errors.DTypeError, match=r"\[parameter\] a parameter must be floating-point, but got i64\."
    ):
        ta.parameter(np.arange(3))
    with pytest.raises(
        errors.DTypeError,
        match=r"\[tensor\] the data must be numbers of type .*, but got an array of complex64\.",
    ):
        ta.tensor(np.zeros(3, np.complex64))


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
    f32, f64, i32, flag = (
        ta.zeros((2,)),
        ta.zeros((2,), np.float64),
        ta.zeros((2,), np.int32),
        ta.zeros((2,), np.bool_),
    )
    assert (f32 * 2.0).dtype == np.float32 and (2.0 * f32 + 1).dtype == np.float32
    assert (f32 + f64).dtype == np.float64 and (i32 + f32).dtype == np.float32 and (i32 + 1).dtype == np.int32
    assert (
        (i32 + 1.5).dtype == np.float32
        and (flag + flag).dtype == np.int64
        and ta.exp(i32).dtype == np.float32
    )
    assert (numbers(2) * f32).dtype == np.float64 and (
        f32 - numbers(2).astype(np.float32)
    ).dtype == np.float32
    assert isinstance(numbers(2) + f32, ta.Tensor)
    assert (
        ta.tensor([1.0, 2.0]).dtype == np.float32
        and ta.tensor([1, 2]).dtype == np.int64
        and ta.tensor(numbers(2)).dtype == np.float64
    )


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
        "%y = softmax(%2)  f64[2, 3]  # decoder/attention",
        "return %y",
    ]
    _, ys = ta.scan(lambda c, a: (c + a, c * 2), ta.zeros((), np.float64), ta.tensor(numbers(3), name="xs"))
    assert "(arg0: f64[], arg1: f64[]) =>" in to_text(ys) and "length=3" in to_text(ys)


# The verifier.


def test_the_verifier_finds_malformed_nodes():
    x = ta.tensor(numbers(2, 3))
    y = ta.tanh(x) + 1
    verify([y])
    for factor, attribute, wrong in ((1.5, "shape", (3, 2)), (2.5, "dtype", np.dtype(np.float32))):
        bad = make("exp", y * factor)
        right = getattr(bad, attribute)
        setattr(bad, attribute, wrong)
        with pytest.raises(VerifyError) as error:
            verify([bad], "after a pass")
        assert str(error.value).startswith(
            "[verify] node types must follow from their inputs, but <Tensor f"
        ) and "(after a pass)" in str(error.value)
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
    behind = [n for n in topological([g]) if n.inputs and n.origin is not None and n.origin.op.name == "tanh"]
    assert behind and all(n.scope == ("encoder",) and n.line == line for n in behind)
    # (What doesn't depend on x or w may have been built elsewhere before: equal expressions are one node.)
    built = depends_on([g], [x, w])
    assert all(n.line is not None and n.line.file == __file__ for n in built if n.inputs)
    graph = ta.Program([loss, g]).graph
    inside = [n for n in topological(graph) if n.scope == ("encoder",)]
    assert {"fused", "matmul"} <= {n.op.name for n in inside}
    assert all(n.line.file == __file__ for n in inside if n in depends_on(graph, [x, w]))


def test_generated_code_is_nobodys_line_and_typed_code_is_the_users():
    text = "\nnode = ta.ones(7) * 0.125"
    generated, typed = {"ta": ta, "__file__": __file__}, {"ta": ta}  # (`python -c` has no file)
    here = Line(__file__, inspect.currentframe().f_lineno + 1)
    exec(text, generated)
    exec(text.replace("125", "375"), typed)
    assert generated["node"].line == here and typed["node"].line == Line("<string>", 2)


def test_the_repr_of_an_output_says_whose_it_is():
    x = ta.tensor(np.ones((2, 3)))
    assert repr(ta.attention(x, x, x)) == "<Tensor f64[2, 3] = attention[0]>"
