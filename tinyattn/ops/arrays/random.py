"""Randomness as a function of a counter: the same seed gives the same bits, whatever the number of threads
and the order of evaluation.

Philox-4x32-10 (Salmon et al. 2011) maps (seed, counter) to random words. A random node reads a *state*
(seed, counter) and has a position of its own, so that two nodes never share numbers; a compiled function
moves the counter on at every call. Dropout needs to keep no mask: its derivative draws the same numbers
again.
"""

import math

import numpy as np

from tinyattn import errors
from tinyattn.graph import scope, trace
from tinyattn.graph.leaf import as_tensor
from tinyattn.graph.op import ZERO, Op, register
from tinyattn.graph.point import at, real
from tinyattn.graph.public import public
from tinyattn.graph.randomness import default_generator
from tinyattn.graph.tensor import Tensor, make
from tinyattn.graph.types import FLOAT32, Type, as_dtype, as_shape, fail, is_float
from tinyattn.kernels.calls.random import tiles_of_random
from tinyattn.ops.arrays.elementwise import cast, cos, log, sqrt
from tinyattn.ops.arrays.shape import broadcast_to
from tinyattn.ops.definition import bits

_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
_WEYL = (0x9E3779B9, 0xBB67AE85)


def philox(counters: np.ndarray, key: tuple[int, int]) -> np.ndarray:
    """Philox-4x32-10: counters (n, 4) uint32 and a key of two words → (n, 4) uint32."""
    c = [counters[:, k].astype(np.uint64) for k in range(4)]
    k0, k1 = key
    low = np.uint64(0xFFFFFFFF)
    for _ in range(10):
        p0, p1 = c[0] * np.uint64(_MULTIPLIERS[0]), c[2] * np.uint64(_MULTIPLIERS[1])
        c = [
            (p1 >> np.uint64(32)) ^ c[1] ^ np.uint64(k0),
            p1 & low,
            (p0 >> np.uint64(32)) ^ c[3] ^ np.uint64(k1),
            p0 & low,
        ]
        k0, k1 = (k0 + _WEYL[0]) & 0xFFFFFFFF, (k1 + _WEYL[1]) & 0xFFFFFFFF
    return np.stack(c, axis=1).astype(np.uint32)


def random_words(state: np.ndarray, stream: int, count: int) -> np.ndarray:
    """The first ``count`` 32-bit words of a stream: block b is philox((counter + b, stream), seed)."""
    seed, counter = int(state[0]), int(state[1])
    blocks = np.arange(-(-count // 4), dtype=np.uint64) + np.uint64(counter & (1 << 64) - 1)
    low = np.uint64(0xFFFFFFFF)
    counters = np.stack(
        [
            blocks & low,
            blocks >> np.uint64(32),
            *(np.full_like(blocks, w) for w in (stream & 0xFFFFFFFF, stream >> 32)),
        ],
        axis=1,
    )
    return philox(counters.astype(np.uint32), (seed & 0xFFFFFFFF, (seed >> 32) & 0xFFFFFFFF)).ravel()[:count]


def uniform_numbers(state, stream: int, shape, dtype) -> np.ndarray:
    """Uniform numbers in [0, 1): multiples of 2⁻²⁴ in float32, of 2⁻⁵³ in float64."""
    count = math.prod(shape)
    if dtype == FLOAT32:
        words = random_words(state, stream, count)
        return ((words >> np.uint32(8)).astype(np.float32) * np.float32(2.0**-24)).reshape(shape)
    words = random_words(state, stream, 2 * count).astype(np.uint64).reshape(-1, 2)
    value = (words[:, 0] >> np.uint64(5)) * float(1 << 26) + (words[:, 1] >> np.uint64(6))
    return (value * 2.0**-53).reshape(shape)


def draw(name: str, *inputs: Tensor, **attrs) -> Tensor:
    """A random node: it gets the state of the generator as its last input, and a stream of its own."""
    tracing, generator = trace.current(), default_generator
    if tracing is None:
        node = make(name, *inputs, generator.snapshot(), **attrs, stream=0)
    else:
        tracing.updates.setdefault(generator.state, generator.advanced())
        tracing.draws += 1
        node = make(name, *inputs, generator.state, **attrs, stream=tracing.draws)
    if scope.state.drawn is not None:
        scope.state.drawn.append(node)
    return node


def _stream(node, state) -> dict:
    """The words that all random kernels share."""
    counter = state.sliced((1,), (1,), (1,))
    return {"key": state, "counter": counter, "stream": node.attrs["stream"], "count": node.size}


def _lower_uniform(node, emit):
    state, result = emit.contiguous(emit.value(node.inputs[0])), emit.result(node)
    emit.kernel(
        "random.uniform",
        {**_stream(node, state), "y": result},
        tiles_of_random(node.size),
        reads=[state],
        writes=[result],
        cost=node.size * 2.0,
    )


def _lower_dropout(node, emit):
    x, state = (emit.contiguous(emit.value(s)) for s in node.inputs)
    result = emit.result(node)
    emit.kernel(
        "random.dropout",
        {**_stream(node, state), "x": x, "y": result, "p": bits(node.attrs["p"], node.dtype)},
        tiles_of_random(node.size),
        reads=[x, state],
        writes=[result],
        cost=node.size * 2.0,
        flops=float(node.size),
        in_place=[([result], [x])],
    )


register(
    Op(
        "uniform",
        lambda state, *, shape, dtype, stream: Type(shape, dtype),
        ZERO,
        impure=True,
        reference=lambda state, *, shape, dtype, stream: uniform_numbers(state, stream, shape, dtype),
        lower=_lower_uniform,
        formula="U[0, 1)",
    )
)


@public(constant="no tensor goes in")
def random_uniform(shape, low: float = 0.0, high: float = 1.0, dtype=np.float32) -> Tensor:
    """Numbers uniform in [``low``, ``high``): new ones at every use outside, and at every call inside, a compiled
    function. Of ``shape`` and ``dtype``, floating-point. Raises ShapeError for a negative size, DTypeError for
    another type.
    """
    dtype = as_dtype(dtype, "random_uniform")
    if not is_float(dtype):
        must = "random numbers must be floating-point"
        fail(errors.DTypeError, "random_uniform", must, f"got {dtype}", "Cast or round them afterwards.")
    u = draw("uniform", shape=as_shape("random_uniform", shape), dtype=dtype)
    return u if (low, high) == (0.0, 1.0) else u * (high - low) + low


@public(constant="no tensor goes in")
def random_normal(shape, mean: float = 0.0, std: float = 1.0, dtype=np.float32) -> Tensor:
    """Normal numbers of ``mean`` and standard deviation ``std``, by Box and Muller's transformation √(−2 log u) cos
    2πv. Of ``shape`` and ``dtype``, floating-point. Raises ShapeError for a negative size, DTypeError for another
    type.
    """
    (name,) = scope.call(("normal",), "Box–Muller")
    with scope.scope(name):  # (in pictures a frame, or one node)
        u, v = random_uniform(shape, dtype=dtype), random_uniform(shape, dtype=dtype)
        return sqrt(-2.0 * log(1.0 - u)) * cos(2 * math.pi * v) * std + mean


@public(constant="a choice")
def bernoulli(p, shape, dtype=np.float32) -> Tensor:
    """1 with probability ``p``, a number or a Tensor that broadcasts to ``shape``, else 0. p (…) → ``shape``, of
    ``dtype``. Raises ShapeError where it doesn't broadcast.
    """
    sizes = as_shape("bernoulli", shape)
    return cast(random_uniform(sizes) < broadcast_to(as_tensor(p), sizes), dtype)


def _dropout_definition(x, state, *, p, stream):
    u = make("uniform", state, shape=x.shape, dtype=x.dtype, stream=stream)
    return x * cast(u >= p, x.dtype) * (1 / (1 - p))


register(
    Op(
        "dropout",
        lambda x, state, *, p, stream: x.type,
        lambda g, node: (make("dropout", g, node.inputs[1], **node.attrs), None),
        impure=True,
        definition=_dropout_definition,
        lower=_lower_dropout,
        formula="{0} ⊙ z / (1 − p), z ~ Bernoulli(1 − p)",
        vjp_formula="ḡ ⊙ z / (1 − p)",
    )
)


@public(at(real(3, 5), 0.3))
def dropout(x, p: float = 0.5) -> Tensor:
    """Each element of ``x`` set to 0 with probability ``p``, the others divided by 1 − p (Srivastava et al. 2014);
    ``p`` = 0 gives ``x``. Of any shape, which the result has. Integers and bools become float32. Raises ShapeError
    for another probability.
    """
    x = as_tensor(x)
    x = x if is_float(x.dtype) else cast(x, FLOAT32)
    if not 0 <= p < 1:
        fail(errors.ShapeError, "dropout", "p must lie in [0, 1)", f"got {p}")
    if p == 0:
        return x
    return draw("dropout", x, p=float(p))
