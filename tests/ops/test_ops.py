"""Every operation of the op table: values, derivatives, layouts, special numbers, the texts of errors, and
the same in torch.
"""

import warnings
import zipfile

import make_op_fixtures
import numpy as np
import pytest
from engine import CompiledEvaluator, agree, compiled, op_names
from op_sample import FLOATS, close, gradients, leaves
from op_table import ROWS

import tinyattn as ta
from tinyattn import ops
from tinyattn.graph.leaf import placeholder
from tinyattn.graph.op import OPS, ZERO, NotDifferentiable
from tinyattn.graph.types import Type
from tinyattn.rewrite.rule import Log
from tinyattn.runtime import reference
from tinyattn.runtime.program import optimize

every_row = pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
DIFFERENTIABLE = [row for row in ROWS if not row.constant]
LEAVES = {"tensor", "parameter", "input", "argument", "constant", "output"}
ELSEWHERE = {"scan", "uniform", "fused", "checkpoint", "after"}
ELSEWHERE |= {"affine", "affine_relu", "affine_tanh", "affine_sigmoid"}
"""Operations that have tests of their own (test_graph, test_proof, test_rewrite, test_checkpoint_transform) rather
than a row."""


# The table is complete.


def test_every_public_function_has_a_row():
    assert set(ops.PUBLIC) <= {row.name for row in ROWS}


def test_every_operation_is_reached_by_a_row():
    reached = set()
    for row in ROWS:
        for sample in row.samples:
            reached |= op_names(row.results(leaves(sample), sample.attrs))
    assert set(OPS) - reached - LEAVES == ELSEWHERE - reached


def test_every_operation_has_a_derivative_or_a_reason():
    for name, op in OPS.items():
        assert (
            op.derivative is ZERO
            or isinstance(op.derivative, NotDifferentiable)
            and op.derivative
            or callable(op.derivative)
        ), name
        assert op.formula, f"{name} has no formula"
        assert op.reference is not None or op.definition is not None or name in LEAVES | {"scan"}, (
            f"{name} has no reference"
        )


# Values.


@every_row
@pytest.mark.parametrize("dtype", FLOATS, ids=["f32", "f64"])
def test_values_are_those_of_numpy(row, dtype):
    for sample in row.samples:
        results = row.results(leaves(sample, dtype), sample.attrs)
        expected = row.expected(sample.arrays(dtype), sample.attrs)
        assert len(results) == len(expected)
        for node, found, right in zip(results, compiled(results), expected, strict=True):
            assert (found.shape, found.dtype) == (node.shape, node.dtype)
            kind = found.dtype if found.dtype.kind == "f" else dtype
            close(found, right, kind, row.tolerance, f"{row.name} {sample}")


@every_row
@pytest.mark.parametrize("dtype", FLOATS, ids=["f32", "f64"])
def test_programs_agree_with_the_interpreter_in_values_and_gradients(row, dtype):
    everything = []
    for sample in row.samples:
        results, pulled = gradients(row, sample, dtype)
        everything += [*results, *(pulled if sample.smooth else [])]
    agree(everything, 4.0, row.name)


@pytest.mark.parametrize("row", [row for row in ROWS if row.special], ids=lambda row: row.name)
@pytest.mark.parametrize("dtype", FLOATS, ids=["f32", "f64"])
def test_special_numbers_are_treated_as_by_numpy(row, dtype):
    for sample in row.special:
        arrays = sample.arrays(dtype)
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            expected = row.numpy(*arrays, **sample.attrs)
        node = row.call(*map(ta.tensor, arrays), **sample.attrs)
        for found in (
            *(compiled([node], rewriting)[0] for rewriting in (True, False)),
            reference.evaluate([node])[0],
        ):
            wrong = ~np.isclose(
                found, expected, rtol=2e-6 if dtype == np.float32 else 1e-13, atol=0, equal_nan=True
            )
            assert not wrong.any(), (
                f"{row.name} at {np.argwhere(wrong).tolist()} = {found[wrong]}, not {np.asarray(expected)[wrong]}"
            )


# Derivatives.


def moves(row, sample):
    """Whether a sample has real numbers to differentiate by, and real results."""
    results = row.call(*map(ta.tensor, sample.arrays()), **sample.attrs)
    results = results if isinstance(results, (tuple, list)) else [results]
    return all(any(x.dtype.kind == "f" for x in group) for group in (sample.arrays(), results))


@pytest.mark.parametrize("row", DIFFERENTIABLE, ids=lambda row: row.name)
def test_derivatives_are_those_of_finite_differences(row):
    for sample in row.samples:
        if sample.smooth and sample.size <= 300 and moves(row, sample):
            assert ta.gradcheck(
                lambda *x, a=sample.attrs: row.call(*x, **a), sample.arrays(), order=sample.order
            )


@pytest.mark.parametrize("row", DIFFERENTIABLE, ids=lambda row: row.name)
def test_derivatives_of_compiled_programs_are_those_of_finite_differences(row):
    sample = min(
        (s for s in row.samples if s.smooth and s.size and moves(row, s)),
        key=lambda s: s.size if s.size > 2 else 1000,
    )
    assert ta.gradcheck(
        lambda *x: row.call(*x, **sample.attrs),
        sample.arrays(),
        order=sample.order,
        evaluate=CompiledEvaluator(),
    )


@pytest.mark.parametrize("row", [row for row in ROWS if row.constant], ids=lambda row: row.name)
def test_what_is_constant_has_gradient_zero(row):
    for sample in row.samples:
        for x, g in zip(
            [a for a in sample.arrays() if a.dtype.kind == "f"], gradients(row, sample)[1], strict=False
        ):
            assert g.shape == x.shape and not g.numpy().any()


# Layouts.


def laid_out(array):
    """The same numbers in memory of other shapes: Fortran order, every second element, backwards, at an odd
    offset, off alignment.
    """
    if array.ndim == 0:
        return [array] * 5
    big = np.zeros([2 * n + 1 for n in array.shape], array.dtype)
    every_second = big[tuple(slice(1, None, 2) for _ in array.shape)]
    every_second[...] = array
    backwards = np.flip(np.flip(array).copy())
    raw = np.zeros(array.nbytes + 1, np.uint8)[1:].view(array.dtype).reshape(array.shape)
    raw[...] = array
    longer = np.zeros(array.size + 3, array.dtype)[3:].reshape(array.shape)
    longer[...] = array
    return [np.asfortranarray(array), every_second, backwards, raw, longer]


@every_row
def test_arrays_may_lie_in_memory_anyhow(row):
    for sample in row.samples:
        arrays = sample.arrays(np.float32)
        inputs = [placeholder(Type(a.shape, a.dtype)) for a in arrays]
        program = ta.Program(row.results(inputs, sample.attrs), inputs)
        expected = program.run(arrays)
        for k in range(5):
            odd = [laid_out(a)[k] for a in arrays]
            for found, right in zip(program.run(odd), expected, strict=True):
                assert np.array_equal(found, right, equal_nan=right.dtype.kind == "f")
            if row.name not in ("random_uniform", "random_normal", "bernoulli", "dropout"):
                for found, right in zip(
                    compiled(row.results([ta.tensor(a) for a in odd], sample.attrs)), expected, strict=True
                ):
                    close(found, right, right.dtype, 1.0, f"{row.name} leaf {k}")


def views(array):
    """Views in the graph that have the numbers of ``array``: transposed, every second element, backwards;
    and a stride of 0 with other numbers.
    """
    yield ta.tensor(np.array(array.T, order="C")).T, array
    big = np.zeros([2 * n + 1 for n in array.shape], array.dtype)
    big[tuple(slice(1, None, 2) for _ in array.shape)] = array
    yield ta.tensor(big)[tuple(slice(1, None, 2) for _ in array.shape)], array
    yield ta.flip(ta.tensor(np.flip(array).copy())), array
    if array.ndim and array.shape[0]:
        spread = np.broadcast_to(array[:1], array.shape)
        yield ta.broadcast_to(ta.tensor(array)[:1], array.shape), spread
        last = np.broadcast_to(array[..., :1], array.shape) if array.shape[-1] else array
        yield (
            (
                ta.broadcast_to(ta.tensor(array)[..., :1], array.shape)
                if array.shape[-1]
                else ta.tensor(array)
            ),
            last,
        )
    else:
        yield from [(ta.tensor(array), array)] * 2


@every_row
@pytest.mark.parametrize("dtype", FLOATS, ids=["f32", "f64"])
def test_views_are_read_in_place(row, dtype):
    for sample in row.samples:
        arrays = sample.arrays(dtype)
        variants = [list(views(a)) for a in arrays]
        for k in range(5 if arrays else 0):
            values = [v[k][1] for v in variants]
            found = compiled(row.results([v[k][0] for v in variants], sample.attrs))
            for result, right in zip(found, row.expected(values, sample.attrs), strict=True):
                kind = result.dtype if result.dtype.kind == "f" else dtype
                close(result, right, kind, row.tolerance, f"{row.name} {sample}, view {k}")


# The texts of errors.


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [pytest.param(*e, id=f"{row.name}{k}") for row in ROWS for k, e in enumerate(row.errors)],
)
def test_errors_say_what_must_hold_and_what_was_got(call, error, text):
    with pytest.raises(error) as found:
        call()
    rows = str(found.value).splitlines()
    assert rows[0] == text
    assert len(rows) <= 3
    assert rows[1].startswith("  at ") and "op_" in rows[1]


# Torch, live and recorded.

WITH_TORCH = [row for row in ROWS if row.torch is not None]


def compare_with_torch(row, results, tolerance):
    expected = iter(results)
    for sample in row.samples:
        if not sample.peer:
            continue
        values, pulled = make_op_fixtures.ours(row, sample)
        for found in (*compiled(values), *(compiled(pulled) if pulled else [])):
            right = next(expected)
            close(
                found,
                np.asarray(right).reshape(found.shape),
                found.dtype if found.dtype.kind == "f" else np.float64,
                tolerance,
                f"{row.name} {sample}",
            )
    assert next(expected, None) is None


@pytest.mark.parametrize("row", WITH_TORCH, ids=lambda row: row.name)
def test_values_and_gradients_are_those_of_torch(row):
    torch = pytest.importorskip("torch")
    compare_with_torch(
        row,
        [r for sample in row.samples if sample.peer for r in make_op_fixtures.theirs(torch, row, sample)],
        20.0,
    )


@pytest.mark.parametrize("row", WITH_TORCH, ids=lambda row: row.name)
def test_values_and_gradients_are_those_recorded(row):
    compare_with_torch(row, make_op_fixtures.recorded(row), 20.0)


def test_the_recording_is_small_and_complete():
    with zipfile.ZipFile(make_op_fixtures.PATH) as file:
        assert {name.removesuffix(".npy") for name in file.namelist()} == {row.name for row in WITH_TORCH}
    assert make_op_fixtures.PATH.stat().st_size < 800_000


# Dropout in float32, whose random numbers are other ones than those of float64.


def test_dropout_keeps_the_expected_share():
    ta.manual_seed(0)
    x = ta.tensor(np.ones(20_000, np.float32))
    y = ta.dropout(x, 0.25)
    value = agree([y])[0]
    assert set(np.unique(value).tolist()) == {0.0, np.float32(1 / 0.75)}
    assert abs((value > 0).mean() - 0.75) < 0.01
    assert np.array_equal(ta.grad(y.sum(), x).numpy(), value)


def test_elementwise_operations_are_fused_by_default_and_not_without_rewriting():
    x = ta.tensor(np.ones(3))
    node = ta.tanh(ta.exp(x) * 2 + x)
    assert [n.op.name for n in optimize([node], Log())[0].inputs] == ["fused"]
    assert len([n for n in ta.Program([node], rewriting=False).lowered.main.items]) == 4
