"""Where a head of a Neural Turing Machine looks.

The memory M has N places of W numbers each. A head has a weighting w over the places, non-negative and with
sum 1, and moves it in four stages (Graves, Wayne & Danihelka 2014, section 3.3):

    content      w^c_i = softmax_i(β cos(k, M_i)): look for what resembles the key k,
    interpolate  w^g = g w^c + (1 − g) w_{t−1}: or stay where you were,
    shift        w̃_i = Σ_k s_k w^g_{(i − k) mod N}: then go some places on,
    sharpen      w_i = w̃_i^γ / Σ_j w̃_j^γ: and undo the blur that this has left.

With a bar over a name for its cotangent, and x* for that of w̃,

    content      s̄ = w^c ⊙ (w̄^c − ⟨w^c, w̄^c⟩),  β̄ = Σ s̄ cos,  and of the cosine that for β s̄
    interpolate  ḡ = Σ w̄^g (w^c − w_{t−1}),  w̄^c = g w̄^g,  w̄_{t−1} = (1 − g) w̄^g
    shift        w̄^g_j = Σ_k s_k x*_{(j + k) mod N}, a correlation;  s̄_k = Σ_i x*_i w^g_{(i − k) mod N}
    sharpen      r_i = w̄_i − ⟨w, w̄⟩:  x*_i = γ w̃_i^{γ−1} / Σ w̃^γ · r_i,  γ̄ = Σ w_i r_i log w̃_i

The form of x*_i is finite as w̃_i → 0, for γ ≥ 1. The first axes are a batch, then come the heads: memory
(…, N, W), weightings (…, H, N). With one head its axis may be left out. ``ops/memory/address.py`` has all stages in
one.
"""

from tinyattn import errors
from tinyattn.graph.operands import real_operands
from tinyattn.graph.point import above_one, at, inside, positive, real, weighting
from tinyattn.graph.public import public
from tinyattn.graph.tensor import Tensor
from tinyattn.graph.types import INT64, Type, fail
from tinyattn.ops.arrays import reduce
from tinyattn.ops.arrays.creation import arange
from tinyattn.ops.arrays.elementwise import cast, equal, floor, log, power, stop_gradient, where
from tinyattn.ops.arrays.index import take_along_axis
from tinyattn.ops.arrays.shape import broadcast_to, concat, expand_dims, flip, reshape, stack
from tinyattn.ops.attention.scores import cosine_score
from tinyattn.ops.attention.softmax import softmax
from tinyattn.ops.definition import call, hand_derived, like_first


def one_for_each(op: str, name: str, value: Tensor, lead: tuple[int, ...], axes: str) -> Tensor:
    """A number for each weighting: ``value`` of shape ``lead``, or with an axis of size 1 behind it, or
    smaller.
    """
    shape = value.shape
    if shape == (*lead, 1):
        return reshape(value, lead)
    aligned = zip(reversed(shape), reversed(lead), strict=False)
    if len(shape) > len(lead) or any(m not in (1, n) for m, n in aligned):
        fail(errors.ShapeError, op, f"{name} must be {axes}, here {lead}", f"got {shape}")
    return broadcast_to(value, lead)


def _last(x: Tensor) -> Tensor:
    return expand_dims(x, -1)


# Content addressing: key (…, H, W), strength (…, H), memory (…, N, W) → (…, H, N).


def _content_definition(key, strength, memory, *, eps):
    return softmax(_last(strength) * cosine_score(key, memory, eps))


def _content_derivative(g, node):
    key, strength, memory = node.inputs
    cosine = cosine_score(key, memory, **node.attrs)
    scores = call("softmax_backward", node, g)
    d_cosine = _last(strength) * scores
    d_key, d_memory = call("cosine_score_backward", key, memory, cosine, d_cosine, count=2, **node.attrs)
    return d_key, reduce.sum(scores * cosine, -1), d_memory


hand_derived(
    "content_addressing",
    lambda key, strength, memory, *, eps: Type((*key.shape[:-1], memory.shape[-2]), key.dtype),
    _content_definition,
    _content_derivative,
    formula="softmax({1}·cos({0}, {2}))",
    vjp_formula="s̄ = y ⊙ (ḡ − ⟨y, ḡ⟩); Σ s̄ cos for {1}; the derivative of the cosine for {1}·s̄",
)


@public(at(real(2, 2, 3), positive(2, 2), real(2, 4, 3)))
def content_addressing(key, strength, memory, eps: float = 1e-8) -> Tensor:
    """``w_i = softmax_i(β cos(k, M_i))``: key (…, H, W), strength β (…, H), memory (…, N, W) → (…, H, N); for one
    head key (…, W), strength (…) → (…, N).

    The cosine is k·M_i / (|k| |M_i| + ε), ``eps`` being ε, 0 for a row of zeros. Raises ShapeError for what doesn't
    fit. Graves et al. 2014, eqs. 5 and 6. Integers and bools become float32.
    """
    key, strength, memory = real_operands(key, strength, memory)
    single = key.ndim == memory.ndim - 1
    heads = expand_dims(key, -2) if single and key.ndim else key
    if memory.ndim < 2 or heads.shape[:-2] != memory.shape[:-2] or heads.shape[-1:] != memory.shape[-1:]:
        fail(
            errors.ShapeError,
            "content_addressing",
            "key (…, H, W), or (…, W) for one head, and memory (…, N, W) must agree but for H and N",
            f"got {key.shape} and {memory.shape}",
            "The order is content_addressing(key, strength, memory).",
        )
    strength = one_for_each("content_addressing", "strength", strength, key.shape[:-1], "one number a key")
    strength = expand_dims(strength, -1) if single else strength
    weights = call("content_addressing", heads, strength, memory, eps=float(eps))
    return reshape(weights, (*weights.shape[:-2], weights.shape[-1])) if single else weights


# Interpolation: gate (…), content and previous (…, N).


def _interpolate_definition(gate, content, previous):
    gate = _last(gate)
    return gate * content + (1 - gate) * previous


def _interpolate_derivative(g, node):
    gate, content, previous = node.inputs
    return reduce.sum(g * (content - previous), -1), _last(gate) * g, (1 - _last(gate)) * g


hand_derived(
    "interpolate",
    lambda gate, content, previous: content.type,
    _interpolate_definition,
    _interpolate_derivative,
    formula="{0}·{1} + (1 − {0})·{2}",
    vjp_formula="Σ ḡ({1} − {2}), {0}·ḡ, (1 − {0})·ḡ",
)


@public(at(inside(2, 2), weighting(2, 2, 4), weighting(2, 2, 4)))
def interpolate(gate, content, previous) -> Tensor:
    """``g w^c + (1 − g) w_{t−1}``: gate g (…) in [0, 1], content w^c (…, N), previous w_{t−1} (…, N) → (…, N).
    Graves et al. 2014, eq. 7. Integers and bools become float32. Raises ShapeError for what doesn't fit.
    """
    gate, content, previous = real_operands(gate, content, previous)
    if content.shape != previous.shape or not content.ndim:
        must = "the two weightings (…, N) must have one shape"
        fail(errors.ShapeError, "interpolate", must, f"got {content.shape} and {previous.shape}")
    gate = one_for_each("interpolate", "gate", gate, content.shape[:-1], "one number a weighting")
    return call("interpolate", gate, content, previous)


# Circular shift by a distribution: weights (…, N), shift (…, 2R + 1) → (…, N).


def rolled(x: Tensor, by: int) -> Tensor:
    """Every row moved on by ``by`` places, what falls off at one end coming in at the other."""
    size = x.shape[-1]
    by %= max(size, 1)
    return concat([x[..., size - by :], x[..., : size - by]], -1) if by else x


def shifts_of(shift: Tensor) -> range:
    """The shifts −R … R of a distribution over them."""
    radius = shift.shape[-1] // 2
    return range(-radius, radius + 1)


def _shift_definition(weights, shift):
    parts = [shift[..., j : j + 1] * rolled(weights, k) for j, k in enumerate(shifts_of(shift))]
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    return total


def _shift_derivative(g, node):
    weights, shift = node.inputs
    by_shift = [reduce.sum(g * rolled(weights, k), -1) for k in shifts_of(shift)]
    return call("circular_shift", g, flip(shift, -1)), stack(by_shift, -1)


hand_derived(
    "circular_shift",
    like_first,
    _shift_definition,
    _shift_derivative,
    formula="Σ_k {1}_k {0}_(i − k mod N)",
    vjp_formula="Σ_k {1}_k ḡ_(j + k mod N), Σ_i ḡ_i {0}_(i − k mod N)",
)


# Circular shift by a number: weights (…, N), u (…) → (…, N).


def _mixed(x, u, sign):
    """What is ⌊u⌋ and ⌊u⌋ + 1 places before each place (``sign`` −1) or after it, and their mixture."""
    below = floor(expand_dims(u, -1))
    near = arange(x.shape[-1]) + sign * cast(below, INT64)
    lower, upper = (take_along_axis(x, (near + sign * k) % max(x.shape[-1], 1), -1) for k in (0, 1))
    part = expand_dims(u, -1) - below
    return lower, upper, (1 - part) * lower + part * upper


def _number_derivative(g, node):
    weights, u = node.inputs
    lower, upper, _ = _mixed(weights, u, -1)
    return _mixed(g, u, 1)[2], reduce.sum(g * (upper - lower), -1)


hand_derived(
    "circular_shift_number",
    like_first,
    lambda weights, u: _mixed(weights, u, -1)[2],
    _number_derivative,
    formula="(1 − f) {0}_(i − ⌊{1}⌋) + f {0}_(i − ⌊{1}⌋ − 1), f = {1} − ⌊{1}⌋",
    vjp_formula="(1 − f) ḡ_(j + ⌊{1}⌋) + f ḡ_(j + ⌊{1}⌋ + 1), Σ ḡ_i ({0}_(i − ⌊{1}⌋ − 1) − {0}_(i − ⌊{1}⌋))",
    kinks=lambda weights, u: u - u.round(),
)


@public(at(weighting(2, 2, 4), weighting(2, 2, 3)), at(weighting(2, 4), inside(2)))
def circular_shift(weights, shift) -> Tensor:
    """Each weighting of ``weights`` (…, N) moved on around the circle of places → (…, N).

    ``shift`` (…, 2R + 1), of as many axes as ``weights``: a distribution over the shifts −R … R, R < N, w̃_i = Σ_k
    s_k w_{(i − k) mod N}. Graves et al. 2014, eq. 8.

    ``shift`` (…), of one axis less, or a single number: any u, the weighting shifted by ⌊u⌋ and by ⌊u⌋ + 1, mixed
    in proportion. A shift of 6.7 is 0.3 of 6 and 0.7 of 7 (ibid., the lower end of a uniform distribution of width
    one). Integers and bools become float32. Raises ShapeError for what doesn't fit.
    """
    weights, shift = real_operands(weights, shift)
    must = "weights must be (…, N) and shift (…, 2R + 1), or (…) for a shift by a number"
    got = f"got {weights.shape} and {shift.shape}"
    if not weights.ndim:
        fail(errors.ShapeError, "circular_shift", must, got)
    lead = weights.shape[:-1]
    if shift.ndim < weights.ndim:
        if shift.shape not in ((), lead):
            fail(errors.ShapeError, "circular_shift", must, got)
        return call("circular_shift_number", weights, broadcast_to(shift, lead))
    count = shift.shape[-1]
    if shift.ndim > weights.ndim or shift.shape[:-1] != lead or count % 2 == 0:
        fail(errors.ShapeError, "circular_shift", must, got)
    if count // 2 >= max(weights.shape[-1], 1):
        fail(
            errors.ShapeError,
            "circular_shift",
            f"the largest shift must be less than the number of places, {weights.shape[-1]}",
            f"got shifts {-(count // 2)} … {count // 2}",
        )
    return call("circular_shift", weights, shift)


# Sharpening: weights (…, N), gamma (…) → (…, N).


def _relative(weights, gamma):
    """Weights relative to the largest (the result doesn't depend on it, so no gradient), and the sum of
    their powers.
    """
    top = stop_gradient(reduce.max(weights, -1, keepdims=True))
    top = where(equal(top, 0), 1, top)
    total = reduce.sum(power(weights / top, gamma), -1, keepdims=True)
    return weights / top, where(equal(total, 0), 1, total), top


def _sharpen_definition(weights, gamma):
    if not weights.shape[-1]:
        return weights
    relative, total, _ = _relative(weights, _last(gamma))
    return power(relative, _last(gamma)) / total


def _sharpen_derivative(g, node):
    return call("sharpen_backward", *node.inputs, node, g, count=2)


def _sharpen_backward_definition(weights, gamma, y, g):
    if not weights.shape[-1]:
        return g, reduce.sum(weights, -1) * gamma
    relative, total, top = _relative(weights, _last(gamma))
    rest = g - reduce.sum(y * g, -1, keepdims=True)
    zero = equal(weights, 0)
    by_gamma = where(zero, 0, y * rest * log(where(zero, 1, weights)))
    # At 0 neither the weight nor its slope changes with γ.
    exponent = where(zero, stop_gradient(_last(gamma)), _last(gamma))
    slope = exponent * power(relative, exponent - 1) / (total * top)
    return slope * rest, reduce.sum(by_gamma, -1)


hand_derived(
    "sharpen",
    like_first,
    _sharpen_definition,
    _sharpen_derivative,
    formula="{0}^{1} / Σ {0}^{1}",
    vjp_formula="r = ḡ − ⟨y, ḡ⟩: {1} {0}^({1} − 1) / Σ {0}^{1} · r, Σ y r log {0}",
)
hand_derived(
    "sharpen_backward",
    lambda weights, gamma, y, g: (weights.type, gamma.type),
    _sharpen_backward_definition,
    formula="the derivative of sharpening",
    results=("weights", "γ"),
)


@public(at(weighting(2, 2, 4), above_one(2, 2)))
def sharpen(weights, gamma) -> Tensor:
    """``w_i^γ / Σ_j w_j^γ``: weights ≥ 0 (…, N), gamma γ ≥ 1 (…) → (…, N). Graves et al. 2014, eq. 9.

    Powers are taken relative to the largest weight, so a large γ doesn't underflow. A row of zeros stays one.
    Integers and bools become float32. Raises ShapeError for what doesn't fit.
    """
    weights, gamma = real_operands(weights, gamma)
    if not weights.ndim:
        fail(errors.ShapeError, "sharpen", "weights must have an axis", "got a scalar")
    gamma = one_for_each("sharpen", "gamma", gamma, weights.shape[:-1], "one number a weighting")
    return call("sharpen", weights, gamma)
