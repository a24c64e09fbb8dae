"""What users pass by mistake: one sentence, wherever it is made."""

import math

import numpy as np
import pytest

import tinyattn as ta
from tinyattn import ops
from tinyattn.errors import TinyattnError

X, QKV = np.ones((2, 3), np.float32), [np.ones((2, 4), np.float32)] * 3
ROWS, CLASSES = np.ones((4, 3), np.float32), np.zeros(4, np.int64)
IMAGE = np.ones((1, 1, 4, 4), np.float32)
DTYPES = "[tensor] the data must be numbers of type float32, float64, int32, int64 or bool"

MISTAKES = {
    "a text for a number": (lambda: ta.attention(*QKV, scale="x"), "[attention] scale must be a number or None, but got 'x'."),
    "NaN for a number": (lambda: ta.layer_norm(X, 3, eps=math.nan), "[layer_norm] eps must be a number, but got nan."),
    "an array for a number": (lambda: ta.dropout(X, X), "[dropout] p must be a number, but got array([[1., 1., 1.], [1., 1., 1.]], dtype=float32)."),
    "None for a number": (lambda: ta.cross_entropy(ROWS, CLASSES, label_smoothing=None), "[cross_entropy] label_smoothing must be a number, but got None."),
    "a fraction for an integer": (lambda: ta.cross_entropy(ROWS, CLASSES, 0.5), "[cross_entropy] ignore_index must be an integer or None, but got 0.5."),
    "a text for a flag": (lambda: ta.attention(*QKV, is_causal="no"), "[attention] is_causal must be True or False, but got 'no'."),
    "a mask for a flag": (lambda: ta.attention(*QKV, None, np.ones(2, bool)), "[attention] is_causal must be True or False, but got array([ True, True])."),
    "a flag for an integer": (lambda: ta.one_hot(CLASSES, True), "[one_hot] size must be an integer, but got True."),
    "a tensor for a text": (lambda: ta.einsum(X, X), "[einsum] subscripts must be a string, but got array([[1., 1., 1.], [1., 1., 1.]], dtype=float32)."),
    "a text for a momentum": (lambda: ta.batch_norm(X, momentum="x"), "[batch_norm] momentum must be a number or a tensor, but got 'x'."),
    "texts in a matrix": (lambda: X @ ta.tensor(X).T + np.array(["a"]), f"{DTYPES}, but got an array of <U1."),
    "complex numbers": (lambda: ta.matmul(X, np.ones((3, 2), complex)), f"{DTYPES}, but got an array of complex128."),
    "a negative size": (lambda: ta.zeros((2, -1)), "[full] a shape must be made of integers ≥ 0, but got (2, -1)."),
    "None for a shape": (lambda: ta.random_uniform(None), "[random_uniform] a shape must be made of integers ≥ 0, but got None."),
    "a text for a shape": (lambda: ta.reshape(X, "ab"), "[reshape] a shape must be made of integers ≥ -1, but got ('ab',)."),
    "a width that is a fraction": (lambda: ta.layer_norm(X, 1.5), "[layer_norm] a shape must be made of integers ≥ 0, but got 1.5."),
    "a value that is a text": (lambda: ta.full((2,), "x"), "[full] the value must be a number, but got 'x'."),
    "NaN as an integer": (lambda: ta.full((2,), math.nan, np.int64), "[full] the value must be a number of type int64, but got nan."),
    "a number too large": (lambda: ta.full_like(CLASSES, 2**70), "[full] the value must be a number of type int64, but got 1180591620717411303424."),
    "an axis of a scalar": (lambda: ta.sum(1.0, 0), "[sum] there must be an axis, but got a scalar and axis 0."),
    "an axis that is an array": (lambda: ta.softmax(X, X), "[softmax] the axis must be an integer from -2 to 1, but got array([[1., 1., 1.], [1., 1., 1.]], dtype=float32)."),
    "one tensor to join": (lambda: ta.concat(1.0), "[concat] the tensors must be given in a list or tuple, but got float."),
    "no parts": (lambda: ta.split(X, 0), "[split] a shape must be made of integers ≥ 1, but got 0."),
    "a text for a width": (lambda: ta.pad(X, ((1, 1), (0, "x"))), "[pad] one (before, after) ≥ 0 must be given for each of 2 axes, but got ((1, 1), (0, 'x'))."),
    "a ragged index": (lambda: ta.tensor(X)[[[1, 2], [3]]], f"{DTYPES}, but got list."),
    "one operand of two": (lambda: ta.add(X), "[add] there must be 2 operands, but got 1."),
    "three operands of two": (lambda: ta.maximum(X, X, X), "[maximum] there must be 2 operands, but got 3."),
    "a scalar for a vector": (lambda: ta.additive_alignment(X, X, 1.0), "[additive_score] projected query (…, Tq, a), keys (…, Tk, a) and v (a,) must share the width a, but got (2, 3), (2, 3) and ()."),
    "a state that is no pair": (lambda: ta.lstm_cell(X, 1.0, X, X), "[lstm_cell] the state must be a pair (h, c), but got 1.0."),
    "a scalar for a state": (lambda: ta.gru_cell(X, 1.0, X, X), "[gru_cell] x (B, I), h (B, H), w_ih (3H, I) and w_hh (3H, H) must fit together, but got (2, 3), (), (2, 3) and (2, 3)."),
    "an array for a stride": (lambda: ta.max_pool2d(IMAGE, 2, X), "[max_pool2d] stride must be one or two integers ≥ 1, but got array([[1., 1., 1.], [1., 1., 1.]], dtype=float32)."),
}  # fmt: skip


@pytest.mark.parametrize(("call", "text"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_told_in_one_sentence(call, text):
    with pytest.raises(TinyattnError) as found:
        call()
    rows = str(found.value).splitlines()
    assert rows[0] == text
    assert len(rows) <= 3 and "test_arguments.py" in rows[1]


def test_dropout_makes_numbers_of_flags():
    assert ta.dropout(np.ones(3, bool), 0.5).dtype == np.float32


RUBBISH = [
    None,
    "x",
    np.nan,
    -1,
    2.5,
    (),
    {},
    object(),
    X,
    np.array(["a"]),
    np.ones(2, complex),
    [[1, 2], [3]],
    ta.tensor(X),
]
"""Not one of these may raise anything but a TinyattnError, whichever argument it replaces."""


@pytest.mark.parametrize("name", [n for n in ops.PUBLIC if n not in ("arange",)])
def test_rubbish_is_never_met_by_an_exception_of_numpy_or_python(name):
    from op_sample import leaves
    from op_table import ROWS

    row = {row.name: row for row in ROWS}[name]
    function = getattr(ta, name)
    for sample in row.samples[:2]:
        good, attrs = leaves(sample, np.float32), sample.attrs
        for place in [*range(len(good)), *attrs]:
            for thing in RUBBISH:
                changed = [thing if k == place else x for k, x in enumerate(good)]
                given = {k: thing if k == place else v for k, v in attrs.items()}
                try:
                    function(*changed, **given)
                except TinyattnError as error:
                    first, *more = str(error).splitlines()
                    assert first.startswith("[") and ", but " in first and len(more) <= 2, first
                except TypeError as error:  # the row calls it another way
                    assert "argument" in str(error) and "() " in str(error), f"{place} = {thing!r}: {error}"
