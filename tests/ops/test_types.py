"""Element types that meet: every operation of several operands with every pair of the five types, alone and in layers.

What comes out is NumPy's value of the promoted operands, or one DTypeError; memory is never read as another type.
"""

import inspect
import warnings
from itertools import product

import numpy as np
import pytest
from op_sample import close
from op_table import ROWS

import tinyattn as ta
from tinyattn import nn, ops
from tinyattn.errors import DTypeError
from tinyattn.graph.leaf import placeholder
from tinyattn.graph.op import OPS
from tinyattn.graph.trees import flatten
from tinyattn.graph.types import Type
from tinyattn.kernels.calls.words import WORDS
from tinyattn.runtime import reference
from tinyattn.runtime.kinds import KernelTypeError
from tinyattn.runtime.lower import Emitter

TYPES = tuple(map(np.dtype, (np.float32, np.float64, np.int32, np.int64, np.bool_)))
pytestmark = pytest.mark.filterwarnings("ignore:float64 data has met")


def _sample(row):
    """The smallest sample with several operands and something in it."""
    several = [s for s in row.samples if len(s.inputs) > 1 and all(0 not in spec.shape for spec in s.inputs)]
    return min(several, key=lambda s: s.size, default=None)


PUBLIC = [row for row in ROWS if row.name in ops.PUBLIC and _sample(row)]
INTERNAL = [row for row in ROWS if row.name in OPS and row.name not in ops.PUBLIC and _sample(row)]
OF_ONE_OPERAND = {
    "index_update": (0,),  # as in NumPy's assignment, what is written takes the type of the rest
    "spectral_norm": (0,),  # u and v are estimates beside the weight
}
"""Operations whose result has the type of these operands alone."""


def _as(array, dtype):
    """The numbers as another type, none of them 0 that wasn't."""
    if array.dtype.kind == "f" and dtype.kind != "f":
        finite = np.where(np.isfinite(array), array, 0)
        array = np.copysign(np.ceil(np.abs(finite)), finite) if dtype.kind == "i" else finite > 0
    return array.astype(dtype)


def _numbers(row):
    """Which operands are numbers, not indices or masks."""
    arrays = _sample(row).arrays()
    kinds = [a.dtype.kind for a in arrays]
    return (
        [0]
        if row.name == "relu_norm"
        else [k for k, c in enumerate(kinds) if c == "f"] or list(range(len(kinds)))
    )


def _choices(row):
    """Lists of types for the operands: every pair for the real ones, and all types for each index and mask."""
    arrays, real = _sample(row).arrays(), _numbers(row)
    for one in {real[0], real[-1]}:
        for a, b in product(TYPES, TYPES):
            if one == real[0] or a != b:
                yield [(a if k == one else b) if k in real else x.dtype for k, x in enumerate(arrays)]
    for k in set(range(len(arrays))) - set(real):
        for dtype in TYPES:
            yield [dtype if j == k else TYPES[0] if j in real else x.dtype for j, x in enumerate(arrays)]


def _with_gradients(results, inputs):
    """The results and, after them, the gradients of the floating-point inputs."""
    floats = [y.sum() for y in results if y.dtype.kind == "f"]
    moving = [x for x in inputs if x.dtype.kind == "f"]
    if not floats or not moving:
        return results
    total = ta.cast(floats[0], np.float64)
    for y in floats[1:]:
        total = total + y
    return [*results, *ta.grad(total, moving)]


def _checks(row, eager):
    """For each choice of types that is accepted: ``(types, arrays, inputs, nodes, number of results)``."""
    sample = _sample(row)
    for types in _choices(row):
        arrays = [_as(a, dtype) for a, dtype in zip(sample.arrays(), types, strict=True)]
        inputs = [ta.tensor(a) if eager else placeholder(Type(a.shape, a.dtype)) for a in arrays]
        try:
            results = row.results(inputs, sample.attrs)
        except DTypeError as error:
            assert str(error).startswith("[") and len(str(error).splitlines()) <= 3
            continue
        nodes = results if row.constant else _with_gradients(results, inputs)
        yield types, arrays, inputs, nodes, len(results)


def _for_numpy(arrays, numbers, dtype):
    """Operands for NumPy: numbers in one type (in which True is 1), float64 where the result is floating-point."""
    common = np.float64 if dtype.kind == "f" else np.result_type(np.int64, *(arrays[k] for k in numbers))
    return [a.astype(common) if k in numbers else a for k, a in enumerate(arrays)]


@pytest.mark.parametrize("row", PUBLIC, ids=lambda row: row.name)
@pytest.mark.parametrize("eager", [True, False], ids=["eager", "compiled"])
def test_operands_of_any_two_types_give_the_value_of_their_promotion(row, eager):
    sample, checks = _sample(row), list(_checks(row, eager))
    nodes = [node for check in checks for node in check[3]]
    inputs, arrays = [x for check in checks for x in check[2]], [a for check in checks for a in check[1]]
    found = iter(ta.Program(nodes, *(() if eager else (inputs,))).run(() if eager else arrays))
    numbers = _numbers(row)
    assert checks
    for types, arrays, _, nodes, count in checks:
        decisive = set(OF_ONE_OPERAND.get(row.name, numbers))
        kind = max(
            (types[k] for k in decisive if types[k].kind == "f"), key=lambda t: t.itemsize, default=TYPES[0]
        )
        where = f"{row.name} of {[str(t) for t in types]}"
        for right in row.expected(_for_numpy(arrays, numbers, nodes[0].dtype), sample.attrs):
            value = next(found)
            assert value.dtype.kind != "f" or value.dtype == kind, where
            close(value, np.asarray(right).astype(value.dtype), kind, 2 * row.tolerance, where)
        if len(nodes) == count:
            continue
        wide = [ta.tensor(a.astype(np.float64) if a.dtype.kind == "f" else a) for a in arrays]
        pulled = reference.evaluate(_with_gradients(row.results(wide, sample.attrs), wide)[count:])
        for right, dtype in zip(pulled, [t for t in types if t.kind == "f"], strict=True):
            value = next(found)
            assert value.dtype == dtype, where
            close(
                value.astype(np.float32),
                right.astype(np.float32),
                np.float32,
                20 * row.tolerance,
                f"gradient, {where}",
            )


@pytest.mark.parametrize("row", INTERNAL, ids=lambda row: row.name)
def test_operations_that_derivatives_are_made_of_refuse_two_widths(row):
    arrays = _sample(row).arrays()
    real = [k for k, a in enumerate(arrays) if a.dtype.kind == "f"]
    for one in real if len(real) > 1 else ():
        mixed = [ta.tensor(a.astype(np.float32) if k == one else a) for k, a in enumerate(arrays)]
        with pytest.raises(DTypeError, match="must have one element type, but got .*f32.*"):
            row.results(mixed, _sample(row).attrs)


def test_a_kernel_is_never_handed_a_type_it_is_not_compiled_for():
    emit = Emitter()
    refs = [emit.new((4, 4), dtype) for dtype in (np.float32, np.float64)]
    for reads, writes in ((refs, refs[:1]), (refs, refs[1:]), (refs[:1], refs)):
        with pytest.raises(KernelTypeError, match="this is a mistake of tinyattn"):
            words = dict.fromkeys(WORDS["batch_norm.forward"].meanings, 0)
            emit.kernel("batch_norm.forward", words, 1, reads=reads, writes=writes)
    state, words = emit.new((2,), np.int32), dict.fromkeys(WORDS["random.uniform"].meanings, 0)
    with pytest.raises(KernelTypeError, match=r"\[random.uniform\] the kernel for f32 was handed i32\[2\]"):
        emit.kernel("random.uniform", words, 1, reads=[state], writes=refs[:1])
    with pytest.raises(KernelTypeError, match="a copy must keep the element type"):
        emit.copy(*refs)


# Layers.

_X = np.random.default_rng(0).integers(-3, 4, (2, 4, 6))
_LAYERS = {
    "Linear": (lambda: nn.Linear(6, 3), _X),
    "LayerNorm": (lambda: nn.LayerNorm(6), _X),
    "RMSNorm": (lambda: nn.RMSNorm(6), _X),
    "Dropout": (lambda: nn.Dropout(0.0), _X),
    "BatchNorm1d": (lambda: nn.BatchNorm1d(4), _X),
    "BatchNorm2d": (lambda: nn.BatchNorm2d(2), _X[None]),
    "Conv1d": (lambda: nn.Conv1d(4, 3, 2), _X),
    "Conv2d": (lambda: nn.Conv2d(2, 3, 2), _X[None]),
    "ConvTranspose2d": (lambda: nn.ConvTranspose2d(2, 3, 2), _X[None]),
    "MaxPool2d": (lambda: nn.MaxPool2d(2), _X[None]),
    "AvgPool2d": (lambda: nn.AvgPool2d(2), _X[None]),
    "Embedding": (lambda: nn.Embedding(7, 3), np.abs(_X)),
    "GroupNorm": (lambda: nn.GroupNorm(2, 4), _X),
    "RNN": (lambda: nn.RNN(6, 3), _X),
    "RNNCell": (lambda: nn.RNNCell(6, 3), _X[0]),
    "LSTM": (lambda: nn.LSTM(6, 3), _X),
    "GRU": (lambda: nn.GRU(6, 3), _X),
    "LSTMCell": (lambda: nn.LSTMCell(6, 3), _X[0]),
    "GRUCell": (lambda: nn.GRUCell(6, 3), _X[0]),
    "GRUCell, reset before": (lambda: nn.GRUCell(6, 3, reset_after=False), _X[0]),
    "MultiheadAttention": (lambda: nn.MultiheadAttention(6, 2), _X),
    "TransformerEncoderLayer": (lambda: nn.TransformerEncoderLayer(6, 2, 5, dropout=0.0), _X),
    "TransformerDecoderLayer": (lambda: nn.TransformerDecoderLayer(6, 2, 5, dropout=0.0), _X),
    "Transformer": (lambda: nn.Transformer(6, 2, 1, 1, 5, dropout=0.0), _X),
    "Sequential": (lambda: nn.Sequential(nn.Linear(6, 3), nn.LayerNorm(3)), _X),
}
_OF_SEVERAL = {"MultiheadAttention": 3, "TransformerDecoderLayer": 2, "Transformer": 2}
_MADE_OF_OTHERS = {"TransformerDecoder", "TransformerEncoder"}


def test_every_layer_with_weights_is_here():
    layers = {
        name
        for name in nn.__all__
        if isinstance(getattr(nn, name), type)
        and "dtype" in inspect.signature(getattr(nn, name).__init__).parameters
    }
    assert layers - _MADE_OF_OTHERS <= {name.split(",")[0] for name in _LAYERS}


@pytest.mark.parametrize("name", _LAYERS)
@pytest.mark.parametrize("dtype", TYPES[1:], ids=str)
def test_layers_of_float32_take_other_types_or_refuse_them(name, dtype):
    make_layer, x = _LAYERS[name]
    count = _OF_SEVERAL.get(name, 1)
    ta.manual_seed(0)
    layer = make_layer()
    weights = layer.parameters()

    def run(x):
        results = [y for y in flatten(layer(*[ta.tensor(x)] * count))]
        return results, ta.grad(results[0].sum(), weights) if weights else []

    try:
        results, pulled = run(x.astype(dtype))
    except DTypeError as error:
        assert len(str(error).splitlines()) <= 3
        return
    expected, wanted = run(x.astype(dtype).astype(np.int64 if name == "Embedding" else np.float32))
    for y, right in zip(results, expected, strict=True):
        assert y.dtype == (np.float64 if dtype == np.float64 else np.float32)
        close(y.numpy(), right.numpy().astype(y.dtype), y.dtype, 1e9 if y.dtype == np.float64 else 1, name)
    for g, right in zip(pulled, wanted, strict=True):
        close(g.numpy(), right.numpy(), np.float32, 20, f"gradient of {name}")


# Numbers and arrays of other kinds.


@pytest.mark.parametrize(
    "number", [2, 2.5, np.float64(2.5), np.float32(2.5), np.int64(2), np.int32(2), np.uint8(2)]
)
@pytest.mark.parametrize("dtype", (np.float32, np.float64))
def test_a_number_takes_the_type_of_what_it_meets(number, dtype):
    x = ta.tensor(np.ones(3, dtype))
    for y in (
        x / number,
        number * x,
        ta.maximum(x, number),
        ta.where(x > 0, x, number),
        ta.concat([x, [number]]),
    ):
        assert y.dtype == dtype


def test_a_numpy_scalar_keeps_float32():
    x = ta.tensor(np.ones(3, np.float32))
    assert (x / np.sqrt(8)).dtype == (np.mean([1.0, 2.0]) * x).dtype == np.float32
    assert (ta.tensor([1, 2]) * np.float64(0.5)).dtype == np.float32
    assert ta.add(ta.tensor(np.ones(2)), [0.1, 0.2]).numpy().tolist() == [1.1, 1.2]


def test_float64_data_that_meets_a_float32_model_is_told_once():
    layer, x = nn.Linear(2, 3), np.ones((4, 2))
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("default")
        for _ in range(3):
            layer(x)
    (warning,) = told
    assert "float64 data has met float32 parameters" in str(warning.message) and "test_types.py" in str(
        warning.message
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        layer(x.astype(np.float32))
        layer(np.ones((4, 2), np.int64))
        ta.tensor(x) * ta.tensor(x.astype(np.float32))


@pytest.mark.parametrize(
    ("given", "kept"),
    [(np.uint8, np.int32), (np.int8, np.int32), (np.uint16, np.int32), (np.int16, np.int32), (np.uint32, np.int64),
     (np.uint64, np.int64), (np.float16, np.float32), (">f8", np.float64), (">i4", np.int32)],
)  # fmt: skip
def test_arrays_are_converted_where_nothing_is_lost(given, kept):
    array = np.array([0, 1, 100], given)
    for found in (
        ta.tensor(array).numpy(),
        (ta.tensor(np.zeros((), kept)) + array).numpy(),
        ta.function(lambda x: x * 1)(array),
    ):
        assert found.dtype == kept and found.tolist() == [0, 1, 100]


@pytest.mark.parametrize(
    "array",
    [np.array([1 << 63], np.uint64), np.zeros(2, np.complex64), np.zeros(2, np.longdouble), np.array(["a"])],
)
def test_other_arrays_are_refused(array):
    for call in (ta.tensor, lambda a: ta.tensor(1.0) + a, ta.function(lambda x: x)):
        with pytest.raises(DTypeError, match="must be .*float32, float64, int32, int64 or bool"):
            call(array)
    with pytest.raises(DTypeError):
        ta.tensor([1 << 63])


def test_integers_that_do_not_fit_are_refused():
    with pytest.raises(DTypeError, match=r"an integer must fit into i32, but got 4294967296"):
        ta.tensor(np.zeros(2, np.int32)) + (1 << 32)
    with pytest.raises(DTypeError, match=r"an integer must fit into i64"):
        ta.tensor(np.zeros(2, np.int64)) + (1 << 70)


# What was wrong.


def test_widths_met_in_products_scores_and_cells():
    single, double = ta.tensor(np.float32([[1]])), ta.tensor(np.array([[1.0]]))
    assert ta.einsum("ij,jk->ik", single, double).numpy().tolist() == [[1.0]]
    big = np.ones((256, 256))
    assert (ta.einsum("ij,jk->ik", ta.tensor(big.astype(np.float32)), ta.tensor(big)).numpy() == 256).all()
    vector = ta.tensor(np.float32([1]))
    for first, second in (
        (single, double),
        (double, single),
        (double, ta.tensor([[1]])),
        (ta.tensor([[True]]), single),
    ):
        scores = [
            ta.dot_score(first, second),
            ta.scaled_dot_score(first, second),
            ta.cosine_score(first, second),
        ]
        scores.append(ta.general_score(first, second, single))
        assert [round(float(s), 6) for s in scores] == [1, 1, 1, 1]
        additive = [
            ta.additive_score(first, second, single, single, vector),
            ta.additive_alignment(first, second, vector),
        ]
        additive.append(ta.concat_score(first, second, ta.tensor([[1.0, 1.0]]), vector))
        assert all(abs(float(s) - np.tanh(2)) < 1e-6 for s in additive)
    for cell in (nn.LSTMCell(1, 1), nn.GRUCell(1, 1)):
        states = [
            flatten(cell(x))[0].numpy() for x in (single, double, ta.tensor([[1]]), ta.tensor([[True]]))
        ]
        assert np.allclose(states, states[0], atol=1e-6)


def test_random_numbers_are_floating_point():
    with pytest.raises(DTypeError, match=r"\[random_uniform\] random numbers must be floating-point"):
        ta.random_uniform((3,), dtype=np.int64)
