"""The pointwise parts of recurrent cells; the matrix products around them are ordinary.

LSTM (Hochreiter & Schmidhuber 1997, gates in torch's order i, f, g, o, from pre-activations a):

    i, f, g, o = σ, σ, tanh, σ (a);   c' = f ⊙ c + i ⊙ g;   h' = o ⊙ tanh c'
    c̄' += h̄' o (1 − tanh² c');  ā_i = c̄' g i(1−i);  ā_f = c̄' c f(1−f);  ā_g = c̄' i (1−g²);  ā_o = h̄'
    tanh(c') o(1−o);  c̄ = c̄' f

GRU (Cho et al. 2014, in the form of torch and cuDNN: the reset gate after the product; x and h parts of the
pre-activations r, z, n):

    r = σ(x_r + h_r);  z = σ(x_z + h_z);  n = tanh(x_n + r ⊙ h_n);  h' = (1 − z) ⊙ n + z ⊙ h
    n̄ = h̄' (1−z)(1−n²);  r̄ = n̄ h_n r(1−r);  z̄ = h̄' (h − n) z(1−z);  h̄ = h̄' z;  the h part of n gets
    n̄ r

The original GRU applies the reset before the product, U(r ⊙ h), and weighs h' = (1 − z) ⊙ h + z ⊙ n
(Bahdanau et al. 2015); with ``reset_after=False`` it is composed of elementwise operations around its two
products. A step mask (B, 1) of bools passes the state through unchanged where it is False; that is how
sequences end early.

Cells have no kernels of their own. Fusion makes one loop of a step, and one of its derivative, which reads the
gates as slices, computes them again rather than have them kept, and writes their cotangents side by side.
"""

from tinyattn import errors
from tinyattn.graph.leaf import as_tensor
from tinyattn.graph.operands import real_operands
from tinyattn.graph.point import at, real
from tinyattn.graph.public import public
from tinyattn.graph.tensor import Tensor
from tinyattn.graph.types import BOOL, fail
from tinyattn.ops.arrays.elementwise import relu, sigmoid, tanh, where
from tinyattn.ops.arrays.linalg import matmul
from tinyattn.ops.arrays.shape import concat, split, transpose
from tinyattn.ops.definition import call, hand_derived


def _lstm_definition(gates, c, h=None, mask=None):
    i, f, g, o = split(gates, 4, axis=1)
    new_c = sigmoid(f) * c + sigmoid(i) * tanh(g)
    new_h = sigmoid(o) * tanh(new_c)
    if mask is None:
        return new_h, new_c
    return where(mask, new_h, h), where(mask, new_c, c)


def _lstm_derivative(cotangents, node):
    from tinyattn.graph.grad import zeros_like

    gates, c, *masking = node.inputs
    dh, dc = (cotangents[k] if k in cotangents else zeros_like(c) for k in (0, 1))
    d_gates, d_c = call("lstm_cell_backward", gates, c, dh, dc, *masking[1:], count=2)
    return (d_gates, d_c) if not masking else (d_gates, d_c, where(masking[1], 0, dh), None)


def _lstm_backward_definition(gates, c, dh, dc, mask=None):
    i, f, g, o = split(gates, 4, axis=1)
    i, f, g, o = sigmoid(i), sigmoid(f), tanh(g), sigmoid(o)
    t = tanh(f * c + i * g)
    d = dc + dh * o * (1 - t * t)
    gates = d * g * i * (1 - i), d * c * f * (1 - f), d * i * (1 - g * g), dh * t * o * (1 - o)
    return _joined(gates, mask), d * f if mask is None else where(mask, d * f, dc)


def _joined(gates, mask):
    """The cotangents of the gates side by side: 0 where a step is masked, whatever is in them."""
    return concat([gate if mask is None else where(mask, gate, 0) for gate in gates], axis=1)


hand_derived(
    "lstm_cell",
    lambda gates, c, *masking: (c.type, c.type),
    _lstm_definition,
    _lstm_derivative,
    formula="LSTM({0}, {1})",
    vjp_formula="c̄' f, and c̄' g i(1−i), c̄' c f(1−f), c̄' i(1−g²), h̄' tanh(c') o(1−o) for the gates",
    results=("h", "c"),
)
hand_derived(
    "lstm_cell_backward",
    lambda gates, c, dh, dc, *mask: (gates.type, c.type),
    _lstm_backward_definition,
    formula="the derivative of the LSTM cell",
    results=("gates", "c"),
)


def _gru_definition(xp, hp, h, mask=None):
    xr, xz, xn = split(xp, 3, axis=1)
    hr, hz, hn = split(hp, 3, axis=1)
    r, z = sigmoid(xr + hr), sigmoid(xz + hz)
    n = tanh(xn + r * hn)
    new = (1 - z) * n + z * h
    return new if mask is None else where(mask, new, h)


def _gru_derivative(g, node):
    d_xp, d_hp, d_h = call("gru_cell_backward", *node.inputs[:3], g, *node.inputs[3:], count=3)
    return (d_xp, d_hp, d_h, *(None for _ in node.inputs[3:]))


def _gru_backward_definition(xp, hp, h, g, mask=None):
    xr, xz, xn = split(xp, 3, axis=1)
    hr, hz, hn = split(hp, 3, axis=1)
    r, z = sigmoid(xr + hr), sigmoid(xz + hz)
    n = tanh(xn + r * hn)
    d_n = g * (1 - z) * (1 - n * n)
    d_r = d_n * hn * r * (1 - r)
    d_z = g * (h - n) * z * (1 - z)
    d_xp, d_hn, d_h = _joined((d_r, d_z, d_n), mask), d_n * r, g * z
    d_hn, d_h = (d_hn, d_h) if mask is None else (where(mask, d_hn, 0), where(mask, d_h, g))
    return d_xp, concat([d_xp[:, : 2 * h.shape[1]], d_hn], axis=1), d_h


hand_derived(
    "gru_cell",
    lambda xp, hp, h, *mask: h.type,
    _gru_definition,
    _gru_derivative,
    formula="GRU({0}, {1}, {2})",
    vjp_formula="n̄ = ḡ(1−z)(1−n²), z̄ = ḡ(h−n)z(1−z), r̄ = n̄ h_n r(1−r), h̄ = ḡ z",
)
hand_derived(
    "gru_cell_backward",
    lambda xp, hp, h, g, *mask: (xp.type, hp.type, h.type),
    _gru_backward_definition,
    formula="the derivative of the GRU cell",
    results=("xp", "hp", "h"),
)


def _real_steps(mask) -> Tensor:
    """A step mask, which must be bool."""
    mask = as_tensor(mask)
    if mask.dtype != BOOL:
        fail(
            errors.DTypeError,
            "cell",
            "the mask of a step must be bool (True = a real one)",
            f"got {mask.type}",
        )
    return mask


def lstm_gates(gates, h, c, mask=None) -> tuple[Tensor, Tensor]:
    """One LSTM step from pre-activations (B, 4H) and states (B, H): the new (h, c). ``mask`` (B, 1) bool
    keeps h and c where False.
    """
    gates, h, c = real_operands(gates, h, c)
    masking = () if mask is None else (h, _real_steps(mask))
    return call("lstm_cell", gates, c, *masking, count=2)


def gru_gates(xp, hp, h, mask=None) -> Tensor:
    """One GRU step (reset after the product) from the x and h parts of the pre-activations, (B, 3H) each,
    and the state (B, H).
    """
    masking = () if mask is None else (_real_steps(mask),)
    return call("gru_cell", *real_operands(xp, hp, h), *masking)


def gru_gates_before(xp, h, U, mask=None) -> Tensor:
    """One GRU step with the reset before the product: xp (B, 3H) in the order r, z, n (biases included),
    state h (B, H), U (3H, H) → (B, H).

    s̃ = tanh(x_n + U_n (r ⊙ h)), h' = (1 − z) ⊙ h + z ⊙ s̃ (Bahdanau et al. 2015, appendix A.1.1).
    """
    width = h.shape[1]
    rz = sigmoid(xp[:, : 2 * width] + matmul(h, transpose(U[: 2 * width])))
    r, z = rz[:, :width], rz[:, width:]
    n = tanh(xp[:, 2 * width :] + matmul(r * h, transpose(U[2 * width :])))
    new = h + z * (n - h)
    return new if mask is None else where(mask, new, h)


def _check_cell(op: str, x, h, w_ih, w_hh, count: int, c=None) -> None:
    width = h.shape[-1] if h.ndim else 0
    if c is not None and c.shape != h.shape:
        fail(errors.ShapeError, op, "h and c must have one shape", f"got {h.shape} and {c.shape}")
    if (
        x.ndim != 2
        or h.ndim != 2
        or x.shape[0] != h.shape[0]
        or w_ih.shape != (count * width, x.shape[1])
        or w_hh.shape != (count * width, width)
    ):
        fail(
            errors.ShapeError,
            op,
            f"x (B, I), h (B, H), w_ih ({count}H, I) and w_hh ({count}H, H) must fit together",
            f"got {x.shape}, {h.shape}, {w_ih.shape} and {w_hh.shape}",
        )


def _linear(x, weight, bias):
    y = matmul(x, transpose(weight))
    return y if bias is None else y + bias


@public(at(real(2, 3), (real(2, 4), real(2, 4)), real(16, 3), real(16, 4), real(16)))
def lstm_cell(x, state, w_ih, w_hh, b_ih=None, b_hh=None) -> tuple[Tensor, Tensor]:
    """One LSTM step: x (B, I), state (h, c) of (B, H) each, w_ih (4H, I), w_hh (4H, H), b_ih (4H,), b_hh (4H,),
    gates i, f, g, o as in torch → new (h, c): → (B, H) each.

    c' = σ(f) c + σ(i) tanh(g), h' = σ(o) tanh(c'). Integers and bools become float32. Raises ShapeError for what
    doesn't fit. (Hochreiter & Schmidhuber 1997; the forget gate: Gers et al. 2000.)
    """
    if not isinstance(state, (tuple, list)) or len(state) != 2:
        fail(errors.ShapeError, "lstm_cell", "the state must be a pair (h, c)", f"got {state!r}")
    x, h, c, w_ih, w_hh, b_ih, b_hh = real_operands(x, *state, w_ih, w_hh, optional=(b_ih, b_hh))
    _check_cell("lstm_cell", x, h, w_ih, w_hh, 4, c)
    return lstm_gates(_linear(x, w_ih, b_ih) + _linear(h, w_hh, b_hh), h, c)


@public(at(real(2, 3), real(2, 4), real(12, 3), real(12, 4), real(12), real(12)))
def gru_cell(x, h, w_ih, w_hh, b_ih=None, b_hh=None, reset_after: bool = True) -> Tensor:
    """One GRU step: x (B, I), h (B, H), w_ih (3H, I), w_hh (3H, H), b_ih (3H,), b_hh (3H,), gates r, z, n → (B, H),
    the new h.

    ``reset_after=True`` is torch's convention; ``False`` the original one (Cho et al. 2014; the two biases are then
    added up). Integers and bools become float32. Raises ShapeError for what doesn't fit.
    """
    x, h, w_ih, w_hh, b_ih, b_hh = real_operands(x, h, w_ih, w_hh, optional=(b_ih, b_hh))
    _check_cell("gru_cell", x, h, w_ih, w_hh, 3)
    if reset_after:
        return gru_gates(_linear(x, w_ih, b_ih), _linear(h, w_hh, b_hh), h)
    xp = _linear(x, w_ih, b_ih)
    return gru_gates_before(xp if b_hh is None else xp + b_hh, h, w_hh)


NONLINEARITIES = {"tanh": tanh, "relu": relu}


def check_nonlinearity(op: str, name: str) -> str:
    """``name``, which must be one of ``NONLINEARITIES``."""
    if name not in NONLINEARITIES:
        fail(errors.TinyattnError, op, "nonlinearity must be 'tanh' or 'relu'", f"got {name!r}")
    return name


@public(at(real(2, 3), real(2, 4), real(4, 3), real(4, 4), real(4)))
def rnn_cell(x, h, w_ih, w_hh, b_ih=None, b_hh=None, nonlinearity: str = "tanh") -> Tensor:
    """One step of a plain RNN, tanh (or relu, by ``nonlinearity``) of W_ih x + b_ih + W_hh h + b_hh. x (B, I), h
    (B, H), w_ih (H, I), w_hh (H, H), b_ih (H,), b_hh (H,) → (B, H), the new h.

    Integers and bools become float32. Raises ShapeError for what doesn't fit, TinyattnError for another
    nonlinearity. (Elman 1990.)
    """
    x, h, w_ih, w_hh, b_ih, b_hh = real_operands(x, h, w_ih, w_hh, optional=(b_ih, b_hh))
    _check_cell("rnn_cell", x, h, w_ih, w_hh, 1)
    activate = NONLINEARITIES[check_nonlinearity("rnn_cell", nonlinearity)]
    return activate(_linear(x, w_ih, b_ih) + _linear(h, w_hh, b_hh))
