"""Recurrent layers: LSTM, GRU and the plain RNN, over whole sequences or one step at a time.

    RNN    h' = tanh(W_ih x + b_ih + W_hh h + b_hh), or relu
    LSTM   i, f, g, o = σ, σ, tanh, σ (W_ih x + b_ih + W_hh h + b_hh);  c' = f ⊙ c + i ⊙ g;  h' = o ⊙ tanh c'
    GRU    r, z = σ(W_ih x + b_ih + W_hh h + b_hh);  n = tanh(W_in x + b_in + r ⊙ (W_hn h + b_hn));
           h' = (1 − z) ⊙ n + z ⊙ h

(Elman 1990; Hochreiter & Schmidhuber 1997; Cho et al. 2014.) What depends on the input alone, W_ih x for all steps, is
one large product before the loop; inside it only the state is multiplied. Sequences of different lengths are
padded, and a step mask lets the state pass through padding unchanged: so a final state is that of a
sequence's last real step, and the backward direction, which runs through the padding first, begins at it.
Names, shapes and results are those of torch with ``pack_padded_sequence``.
"""

import math
from typing import Any

import numpy as np

from tinyattn import errors
from tinyattn.graph.leaf import as_tensor, parameter
from tinyattn.graph.scan import scan
from tinyattn.graph.scope import scope
from tinyattn.graph.tensor import Tensor
from tinyattn.graph.types import SHORT, fail
from tinyattn.nn import init
from tinyattn.nn.layers import check_probability, check_sizes
from tinyattn.nn.module import Module
from tinyattn.ops.arrays.bounds import within
from tinyattn.ops.arrays.creation import arange, zeros
from tinyattn.ops.arrays.elementwise import cast, where
from tinyattn.ops.arrays.linalg import matmul
from tinyattn.ops.arrays.random import dropout
from tinyattn.ops.arrays.shape import concat, expand_dims, reshape, squeeze, stack, transpose
from tinyattn.ops.layers.cells import (
    NONLINEARITIES,
    check_nonlinearity,
    gru_cell,
    gru_gates,
    gru_gates_before,
    lstm_cell,
    lstm_gates,
    rnn_cell,
)

State = Any
"""RNN and GRU: h. LSTM: the pair (h, c). Of a layer, (num_layers · directions, B, H); of a cell, (B, H)."""


def _affine(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    y = matmul(x, transpose(weight))
    return y if bias is None else y + bias


class _Recurrent(Module):
    """What LSTM, GRU and RNN have in common: parameters, layers, directions, lengths. They add ``_run``."""

    gates: int
    states: int

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        dtype: Any = np.float32,
    ):
        sizes = {"input_size": input_size, "hidden_size": hidden_size}
        check_sizes(type(self).__name__, **sizes, num_layers=num_layers)
        self.input_size, self.hidden_size, self.num_layers = input_size, hidden_size, num_layers
        self.bias, self.batch_first, self.bidirectional = bias, batch_first, bidirectional
        self.dropout = check_probability(type(self).__name__, dropout)
        bound = 1 / math.sqrt(hidden_size)
        rows, width = self.gates * hidden_size, input_size
        for layer in range(num_layers):
            for suffix in self._suffixes(layer):
                shapes: dict[str, tuple[int, ...]]
                shapes = {"weight_ih": (rows, width), "weight_hh": (rows, hidden_size)}
                if bias:
                    shapes |= {"bias_ih": (rows,), "bias_hh": (rows,)}
                for name, shape in shapes.items():
                    setattr(self, f"{name}_{suffix}", parameter(init.uniform(shape, -bound, bound), dtype))
            width = hidden_size * self.directions

    @property
    def directions(self) -> int:
        return 2 if self.bidirectional else 1

    def _suffixes(self, layer: int) -> list[str]:
        return [f"l{layer}", f"l{layer}_reverse"][: self.directions]

    def _weights(self, suffix: str) -> list[Any]:
        """weight_ih, weight_hh, bias_ih, bias_hh of one direction of one layer."""
        names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        return [getattr(self, f"{name}_{suffix}", None) for name in names]

    def _run(self, x, initial: tuple, weights, mask, reverse: bool) -> tuple[Tensor, tuple]:
        """One direction of one layer.

        x (T, B, I), initial states (B, H), mask (T, B, 1) → states of all steps (T, B, H), last states.
        """
        raise NotImplementedError

    def forward(self, x: Tensor, state: State = None, lengths: Any = None) -> tuple[Tensor, State]:
        """Run over whole sequences.

        x: (T, B, input_size), or (B, T, input_size) with ``batch_first``. ``state``: initial states
        (num_layers · directions, B, H), zeros if None. ``lengths``: (B,) integers, the real steps of each
        sequence; all T if None. Returns the last layer's states at all steps, (T, B, directions · H) (batch
        first likewise), 0 past the end, and the final states, (num_layers · directions, B, H). Without the
        axis of the batch in x and ``state``, a single sequence. Raises ShapeError and DTypeError for what does not
        fit.
        """
        x = as_tensor(x)
        if x.ndim == 2:
            return self._alone(x, state, lengths)
        x = self._check_input(x)
        steps, batch = x.shape[:2]
        initial = self._check_state(state, batch, x.dtype)
        mask = None if lengths is None else self._mask(lengths, steps, batch)
        x = x if mask is None else where(mask, x, 0)  # be it NaN, padding reaches no weight's gradient
        final: list[tuple] = []
        for layer in range(self.num_layers):
            if layer and self.dropout and self.training:
                x = dropout(x, self.dropout)
            outputs = []
            for suffix in self._suffixes(layer):
                with scope(suffix):
                    first = tuple(part[len(final)] for part in initial)
                    reverse = suffix.endswith("_reverse")
                    y, last = self._run(x, first, self._weights(suffix), mask, reverse)
                outputs.append(y)
                final.append(last)
            x = concat(outputs, axis=-1)
            if mask is not None:
                x = where(mask, x, 0)
        result = tuple(stack(parts) for parts in zip(*final, strict=True))
        return transpose(x, (1, 0, 2)) if self.batch_first else x, result if self.states > 1 else result[0]

    def _alone(self, x: Tensor, state: State, lengths: Any) -> tuple[Tensor, State]:
        """One sequence, (T, I), as a batch of one."""
        axis = 0 if self.batch_first else 1
        pair = isinstance(state, (tuple, list))
        parts = None if state is None else [expand_dims(part, 1) for part in (state if pair else (state,))]
        y, final = self.forward(expand_dims(x, axis), parts, lengths)
        last = tuple(squeeze(part, 1) for part in (final if self.states > 1 else (final,)))
        return squeeze(y, axis), last if self.states > 1 else last[0]

    def _check_input(self, x: Tensor) -> Tensor:
        name = type(self).__name__
        if x.ndim != 3 or x.shape[-1] != self.input_size:
            layout = "(B, T, {})" if self.batch_first else "(T, B, {})"
            must = f"x must have the shape {layout.format(self.input_size)}"
            fail(errors.ShapeError, name, must, f"got {x.shape}")
        dtype = self._weights("l0")[0].dtype
        if x.dtype != dtype:
            must = f"x must be {SHORT[dtype]} as the weights"
            hint = f"Convert x with x.astype(np.{dtype}), or the module with .to(…)."
            fail(errors.DTypeError, name, must, f"got {x.type}", hint)
        return transpose(x, (1, 0, 2)) if self.batch_first else x

    def _check_state(self, state: State, batch: int, dtype: np.dtype) -> tuple[Tensor, ...]:
        shape = (self.num_layers * self.directions, batch, self.hidden_size)
        if state is None:
            return (zeros(shape, dtype),) * self.states
        parts = state if isinstance(state, (tuple, list)) else (state,)
        parts = tuple(as_tensor(part) for part in parts)
        if [part.shape for part in parts] != [shape] * self.states:
            what = "the state (h, c) must be two tensors" if self.states > 1 else "the state must be a tensor"
            must = f"{what} of shape {shape} (num_layers · directions, B, H)"
            got = " and ".join(str(part.shape) for part in parts)
            fail(errors.ShapeError, type(self).__name__, must, f"got {got}")
        return tuple(cast(part, dtype) for part in parts)

    def _mask(self, lengths: Any, steps: int, batch: int) -> Tensor:
        """(T, B, 1) bool: whether a step is a real one."""
        lengths, name = as_tensor(lengths), type(self).__name__
        if lengths.shape != (batch,) or lengths.dtype.kind != "i":
            must = f"lengths must be {batch} integers, one for each sequence"
            fail(errors.ShapeError, name, must, f"got {lengths.type}")
        lengths = within(name, "lengths (of the steps of x)", lengths, steps + 1, negative=False)
        return reshape(arange(steps, dtype=lengths.dtype), (steps, 1, 1)) < reshape(lengths, (1, batch, 1))

    def extra_repr(self) -> str:
        text = f"{self.input_size}, {self.hidden_size}"
        defaults: dict[str, Any] = {"num_layers": 1, "bias": True, "batch_first": False, "dropout": 0.0}
        defaults |= {"bidirectional": False, "reset_after": True, "nonlinearity": "tanh"}
        shown = [f"{k}={getattr(self, k)}" for k, v in defaults.items() if getattr(self, k, v) != v]
        return ", ".join([text, *shown])


class LSTM(_Recurrent):
    """A long short-term memory, ``num_layers`` deep, in one or both directions: x (T, B, I) → (T, B, H) and the
    last state (h, c). See :func:`tinyattn.lstm_cell`; (Hochreiter & Schmidhuber 1997).

    ``input_size``: I, ``hidden_size``: H, ``num_layers``: how many, one upon the other; ``batch_first``: x is (B,
    T, I), not (T, B, I); ``bidirectional``: in both directions. Parameters of layer k, in torch's gate order i, f,
    g, o: ``weight_ih_lk`` (4H, I), ``weight_hh_lk`` (4H, H), ``bias_ih_lk`` (4H,), ``bias_hh_lk`` (4H,); the
    backward direction's end in ``_reverse``; all uniform in ±1/√H. ``dropout``: probability of dropping between
    layers. Call with (x, (h, c), lengths): see ``forward``. Raises ShapeError for sizes below 1.
    """

    gates, states = 4, 2

    def _run(self, x, initial, weights, mask, reverse):
        w_ih, w_hh, b_ih, b_hh = weights
        projected = _affine(x, w_ih, None if b_ih is None else b_ih + b_hh)

        def step(carry, inputs):
            h, c = carry
            gates, real = inputs
            new = lstm_gates(gates + matmul(h, transpose(w_hh)), h, c, real)
            return new, new[0]

        last, states = scan(step, initial, (projected, mask), reverse=reverse)
        return states, last


class GRU(_Recurrent):
    """A gated recurrent network, ``num_layers`` deep, in one or both directions: x (T, B, I) → (T, B, H) and the
    last state. See :func:`tinyattn.gru_cell`; (Cho et al. 2014).

    ``input_size``: I, ``hidden_size``: H, ``num_layers``: how many, one upon the other; ``batch_first``: x is (B,
    T, I), not (T, B, I); ``bidirectional``: in both directions. Parameters of layer k, in torch's gate order r, z,
    n: ``weight_ih_lk`` (3H, I), ``weight_hh_lk`` (3H, H), ``bias_ih_lk`` (3H,), ``bias_hh_lk`` (3H,); the backward
    direction's end in ``_reverse``; all uniform in ±1/√H. ``dropout``: probability of dropping between layers. Call
    with (x, h, lengths): see ``forward``. Raises ShapeError for sizes below 1.

    ``reset_after=False`` is the form of Bahdanau et al. 2015: the reset gate acts before the product, n = tanh(W_in
    x + U_n (r ⊙ h) + b), and z chooses the new value, h' = (1 − z) ⊙ h + z ⊙ n; the two biases are added up.
    """

    gates, states = 3, 1

    def __init__(self, *args: Any, reset_after: bool = True, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.reset_after = reset_after

    def _run(self, x, initial, weights, mask, reverse):
        w_ih, w_hh, b_ih, b_hh = weights
        joined = None if b_ih is None else (b_ih if self.reset_after else b_ih + b_hh)
        projected = _affine(x, w_ih, joined)

        def step(h, inputs):
            part, real = inputs
            if self.reset_after:
                new = gru_gates(part, _affine(h, w_hh, b_hh), h, real)
            else:
                new = gru_gates_before(part, h, w_hh, real)
            return new, new

        last, states = scan(step, initial[0], (projected, mask), reverse=reverse)
        return states, (last,)


class RNN(_Recurrent):
    """A plain recurrent network with tanh or relu (``nonlinearity``), ``num_layers`` deep, in one or both
    directions: x (T, B, I) → (T, B, H) and the last state. See :func:`tinyattn.rnn_cell`; (Elman 1990).

    ``input_size``: I, ``hidden_size``: H, ``num_layers``: how many, one upon the other; ``batch_first``: x is (B,
    T, I), not (T, B, I); ``bidirectional``: in both directions. Parameters of layer k: ``weight_ih_lk`` (H, I),
    ``weight_hh_lk`` (H, H), ``bias_ih_lk`` (H,), ``bias_hh_lk`` (H,); the backward direction's end in ``_reverse``;
    all uniform in ±1/√H. ``dropout``: probability of dropping between layers. Call with (x, h, lengths): see
    ``forward``. Raises ShapeError for sizes below 1.
    """

    gates, states = 1, 1

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        nonlinearity: str = "tanh",
        *args: Any,
        **kwargs: Any,
    ):
        super().__init__(input_size, hidden_size, num_layers, *args, **kwargs)
        self.nonlinearity = check_nonlinearity("RNN", nonlinearity)

    def _run(self, x, initial, weights, mask, reverse):
        w_ih, w_hh, b_ih, b_hh = weights
        projected = _affine(x, w_ih, None if b_ih is None else b_ih + b_hh)
        activate = NONLINEARITIES[self.nonlinearity]

        def step(h, inputs):
            part, real = inputs
            new = activate(part + matmul(h, transpose(w_hh)))
            new = new if real is None else where(real, new, h)
            return new, new

        last, states = scan(step, initial[0], (projected, mask), reverse=reverse)
        return states, (last,)


class _Cell(Module):
    """What LSTMCell, GRUCell and RNNCell have in common."""

    gates: int
    states = 1

    def __init__(self, input_size: int, hidden_size: int, bias: bool = True, dtype: Any = np.float32):
        check_sizes(type(self).__name__, input_size=input_size, hidden_size=hidden_size)
        self.input_size, self.hidden_size = input_size, hidden_size
        bound, rows = 1 / math.sqrt(hidden_size), self.gates * hidden_size
        self.weight_ih = parameter(init.uniform((rows, input_size), -bound, bound), dtype)
        self.weight_hh = parameter(init.uniform((rows, hidden_size), -bound, bound), dtype)
        self.bias_ih = parameter(init.uniform(rows, -bound, bound), dtype) if bias else None
        self.bias_hh = parameter(init.uniform(rows, -bound, bound), dtype) if bias else None

    def forward(self, x: Tensor, state: State = None) -> Any:
        """x (B, I) and the state, (B, H) for each of its tensors, zeros if None → the new state.

        Without the axis of the batch in all of them, one element.
        """
        x = as_tensor(x)
        alone = x.ndim == 1
        x = expand_dims(x, 0) if alone else x
        if state is None:
            parts: tuple = (zeros((x.shape[0], self.hidden_size), self.weight_hh.dtype),) * self.states
        else:
            parts = tuple(state) if self.states > 1 and isinstance(state, (tuple, list)) else (state,)
            parts = tuple(expand_dims(part, 0) for part in parts) if alone else parts
        new = self._step(x, parts, self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh)
        if alone:
            return tuple(squeeze(part, 0) for part in new) if isinstance(new, tuple) else squeeze(new, 0)
        return new

    def _step(self, x: Tensor, state: tuple, *weights: Tensor | None) -> Any:
        raise NotImplementedError

    def extra_repr(self) -> str:
        return f"{self.input_size}, {self.hidden_size}" + ("" if self.bias_ih is not None else ", bias=False")


class LSTMCell(_Cell):
    """One step of an LSTM: x (B, I) → (B, H), the h of the new (h, c). ``input_size``: I, ``hidden_size``: H.
    Parameters: ``weight_ih`` (4H, I), ``weight_hh`` (4H, H), ``bias_ih`` (4H,), ``bias_hh`` (4H,). As
    :func:`tinyattn.lstm_cell`. Raises ShapeError for sizes below 1.
    """

    gates, states = 4, 2

    def _step(self, x, state, *weights):
        return lstm_cell(x, state, *weights)


class GRUCell(_Cell):
    """One step of a GRU: x (B, I) → (B, H). ``input_size``: I, ``hidden_size``: H; ``reset_after`` as in GRU.
    Parameters: ``weight_ih`` (3H, I), ``weight_hh`` (3H, H), ``bias_ih`` (3H,), ``bias_hh`` (3H,). As
    :func:`tinyattn.gru_cell`. Raises ShapeError for sizes below 1.
    """

    gates = 3

    def __init__(self, *args: Any, reset_after: bool = True, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.reset_after = reset_after

    def _step(self, x, state, *weights):
        return gru_cell(x, *state, *weights, self.reset_after)


class RNNCell(_Cell):
    """One step of an RNN: x (B, I) → (B, H). ``input_size``: I, ``hidden_size``: H, ``nonlinearity``: "tanh" or
    "relu". Parameters: ``weight_ih`` (H, I), ``weight_hh`` (H, H), ``bias_ih`` (H,), ``bias_hh`` (H,). As
    :func:`tinyattn.rnn_cell`. Raises ShapeError for sizes below 1.
    """

    gates = 1

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        nonlinearity: str = "tanh",
        dtype: Any = np.float32,
    ):
        super().__init__(input_size, hidden_size, bias, dtype)
        self.nonlinearity = check_nonlinearity("RNNCell", nonlinearity)

    def _step(self, x, state, *weights):
        return rnn_cell(x, *state, *weights, self.nonlinearity)
