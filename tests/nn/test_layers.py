"""Linear, embedding, dropout and sequences of modules, beside torch."""

import numpy as np
import pytest
from engine import first_line

import tinyattn as ta
from tinyattn import errors, nn


def test_linear_is_that_of_torch():
    torch = pytest.importorskip("torch")
    theirs, ours = torch.nn.Linear(3, 4), nn.Linear(3, 4)
    ours.load_state_dict(theirs.state_dict())
    for shape in ((3,), (2, 3), (2, 5, 3)):
        x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
        np.testing.assert_allclose(ours(x).numpy(), theirs(torch.from_numpy(x)).detach().numpy(), atol=1e-6)
    with pytest.raises(errors.ShapeError) as error:
        ours(np.zeros((2, 4), np.float32))
    assert first_line(error) == (
        "[Linear] the last axis of x must have in_features = 3 elements, but got shape (2, 4)."
    )
    assert repr(nn.Linear(2, 3, bias=False)) == "Linear(in_features=2, out_features=3, bias=False)"
    assert list(nn.Linear(2, 3, bias=False).state_dict()) == ["weight"]


@pytest.mark.parametrize("padding", [None, 1, -1])
def test_embedding(padding):
    layer = nn.Embedding(5, 3, padding_idx=padding)
    table = layer.weight.numpy()
    row = None if padding is None else padding % 5
    assert padding is None or not table[row].any()
    layer.weight.assign(table + 1)  # as a loaded table may be: a padding row that is not 0
    indices = np.array([[1, 4], [1, 0]])
    assert np.array_equal(layer(indices).numpy(), (table + 1)[indices])
    gradient = ta.grad((layer(indices) * 2.0).sum(), layer.weight).numpy()
    expected = np.array([2, 4, 0, 0, 2.0])
    if padding is not None:
        expected[row] = 0
    assert np.array_equal(gradient, np.repeat(expected[:, None], 3, axis=1))
    with pytest.raises(errors.ShapeError, match=r"\[Embedding\] padding_idx must lie in 0\.\.4, but got 5\."):
        nn.Embedding(5, 3, padding_idx=5)


def test_dropout_has_two_modes_in_one_compiled_function():
    ta.manual_seed(0)
    layer = nn.Dropout(0.25)
    run = ta.function(layer)
    x = np.ones((100, 100), np.float32)
    dropped = run(x)
    assert set(np.unique(dropped)) == {np.float32(0), np.float32(1 / 0.75)}
    assert abs((dropped == 0).mean() - 0.25) < 0.02
    layer.eval()
    assert np.array_equal(run(x), x)
    layer.train()
    assert not np.array_equal(run(x), dropped)
    with pytest.raises(errors.ShapeError):
        nn.Dropout(1.0)


def test_sequential_takes_modules_and_functions():
    model = nn.Sequential(nn.Linear(2, 3), ta.tanh, nn.Linear(3, 1))
    assert list(model.state_dict()) == ["0.weight", "0.bias", "2.weight", "2.bias"]
    assert len(model) == 3 and model[1] is ta.tanh
    x = np.ones((4, 2), np.float32)
    assert np.array_equal(model(x).numpy(), model[2](ta.tanh(model[0](x))).numpy())
    assert repr(model) == (
        "Sequential(\n"
        "  (0): Linear(in_features=2, out_features=3, bias=True)\n"
        "  (1): tanh\n"
        "  (2): Linear(in_features=3, out_features=1, bias=True)\n"
        ")"
    )
    with pytest.raises(
        errors.TinyattnError, match=r"\[Sequential\] each step must be a module or a function, but got int"
    ):
        nn.Sequential(nn.Linear(2, 3), 4)
