"""What the heads of a Neural Turing Machine read from its memory and write there.

With a weighting w over the N places of the memory M, a head reads r = Σ_i w_i M_i, or it erases by e and adds
a (Graves, Wayne & Danihelka 2014, sections 3.1 and 3.2):

    M'_i = M_i ⊙ (1 − w_i e) + w_i a

Of several heads, first all erase, then all add. With a bar over a name for its cotangent,

    read     w̄ = M r̄,  M̄ = w r̄ᵀ
    write    M̄ = M̄' ⊙ (1 − w eᵀ),  w̄_i = M̄'_i·(a − M_i ⊙ e),  ē = −Σ_i w_i M̄'_i ⊙ M_i,  ā = Σ_i w_i M̄'_i

and with several heads M̄ is M̄' times what each of them leaves, and M in the other lines is the memory that the
other heads have left. Memory (…, N, W), weightings (…, H, N); with one head its axis may be left out.
"""

import math

from tinyattn import errors
from tinyattn.graph.point import at, real, weighting
from tinyattn.graph.public import public
from tinyattn.graph.tensor import Tensor, make
from tinyattn.graph.types import Type, fail
from tinyattn.kernels.calls.memory import room_of_write, tiles_of_memory
from tinyattn.ops.arrays import reduce
from tinyattn.ops.arrays.shape import expand_dims, reshape, stack, swap_last
from tinyattn.ops.definition import call, hand_derived, like_first
from tinyattn.ops.memory.addressing import real_operands

# Reading: weights (…, H, N), memory (…, N, W) → (…, H, W).

hand_derived(
    "memory_read",
    lambda weights, memory: Type((*weights.shape[:-1], memory.shape[-1]), memory.dtype),
    lambda weights, memory: make("matmul", weights, memory),
    lambda g, node: (
        make("matmul", g, swap_last(node.inputs[1])),
        make("matmul", swap_last(node.inputs[0]), g),
    ),
    formula="Σ_i {0}_i {1}_i",
    vjp_formula="ḡ·{1}ᵀ, {0}ᵀ·ḡ",
)


@public(at(weighting(2, 2, 4), real(2, 4, 3)))
def memory_read(weights, memory) -> Tensor:
    """``r = Σ_i w_i M_i``: weights (…, H, N), or (…, N) for one head, memory (…, N, W) → (…, H, W) or (…, W).
    Graves et al. 2014, eq. 2. Integers and bools become float32. Raises ShapeError for what doesn't fit.
    """
    weights, memory = real_operands(weights, memory)
    single = weights.ndim == memory.ndim - 1
    heads = expand_dims(weights, -2) if single and weights.ndim else weights
    if memory.ndim < 2 or heads.shape[:-2] != memory.shape[:-2] or heads.shape[-1:] != memory.shape[-2:-1]:
        fail(
            errors.ShapeError,
            "memory_read",
            "weights (…, H, N), or (…, N) for one head, and memory (…, N, W) must agree but for H and W",
            f"got {weights.shape} and {memory.shape}",
            "The order is memory_read(weights, memory).",
        )
    read = call("memory_read", heads, memory)
    return reshape(read, (*read.shape[:-2], read.shape[-1])) if single else read


# Writing: memory (B, N, W), weights (B, H, N), erase and add (B, H, W) → (B, N, W).


def _kept(memory, weights, erase, without: int | None = None):
    """The memory after the erases of all heads (but one)."""
    for h in range(weights.shape[1]):
        if h != without:
            memory = memory * (1 - expand_dims(weights[:, h], 2) * expand_dims(erase[:, h], 1))
    return memory


def _write_definition(memory, weights, erase, add):
    return _kept(memory, weights, erase) + make("matmul", swap_last(weights), add)


def _write_derivative(g, node):
    return call("memory_write_backward", *node.inputs, g, count=4)


def _write_backward_definition(memory, weights, erase, add, g):
    by_weights, by_erase = [], []
    for h in range(weights.shape[1]):
        before = g * _kept(memory, weights, erase, without=h)  # as if this head were the last to erase
        erased = reduce.sum(before * expand_dims(erase[:, h], 1), -1)
        by_weights.append(reduce.sum(g * expand_dims(add[:, h], 1), -1) - erased)
        by_erase.append(-reduce.sum(before * expand_dims(weights[:, h], 2), 1))
    return (
        _kept(g, weights, erase),
        stack(by_weights, 1),
        stack(by_erase, 1),
        make("matmul", weights, g),
    )


def _write_words(node, emit):
    """The operands, and what both kernels have in common."""
    operands = [emit.contiguous(emit.value(v)) for v in node.inputs]
    batch, places, width = operands[0].shape
    words = {"batches": batch, "places": places, "width": width, "heads": operands[1].shape[1]}
    return operands, words | dict(zip(("memory", "weights", "erase", "add", "g"), operands, strict=False))


def _lower_write(node, emit):
    operands, words = _write_words(node, emit)
    result = emit.result(node)
    emit.kernel(
        "memory.write_forward",
        words | {"written": result},
        tiles_of_memory(operands[0].shape[0]),
        reads=operands,
        writes=[result],
        cost=result.size * operands[1].shape[1] * 0.1,
        flops=5.0 * result.size * operands[1].shape[1],
    )


def _lower_write_backward(node, emit):
    operands, words = _write_words(node, emit)
    results = [emit.result(node, k) for k in range(4)]
    names = ("d_memory", "d_weights", "d_erase", "d_add")
    batch, places, width = operands[0].shape
    room = emit.new((batch, room_of_write(places, width)), results[0].dtype)
    emit.kernel(
        "memory.write_backward",
        words | dict(zip(names, results, strict=True)) | {"room": room},
        tiles_of_memory(batch),
        reads=operands,
        writes=[*results, room],
        cost=results[0].size * operands[1].shape[1] * 0.3,
        flops=12.0 * results[0].size * operands[1].shape[1],
    )


hand_derived(
    "memory_write",
    like_first,
    _write_definition,
    _write_derivative,
    lower=_lower_write,
    formula="{0} ⊙ Π_h (1 − {1}_h {2}_hᵀ) + Σ_h {1}_h {3}_hᵀ",
    vjp_formula="ḡ ⊙ Π(1 − {1} {2}ᵀ), Σ_k ḡ_ik ({3}_k − {0}_ik {2}_k), −Σ_i {1}_i ḡ_i ⊙ {0}_i, Σ_i {1}_i ḡ_i; of "
    "several heads, {0} as the others' erases leave it",
)
hand_derived(
    "memory_write_backward",
    lambda memory, weights, erase, add, g: (memory.type, weights.type, erase.type, add.type),
    _write_backward_definition,
    lower=_lower_write_backward,
    formula="the derivative of writing to the memory",
    results=("memory", "weights", "erase", "add"),
)


@public(at(real(2, 4, 3), weighting(2, 2, 4), weighting(2, 2, 3), real(2, 2, 3)))
def memory_write(memory, weights, erase, add) -> Tensor:
    """``M'_i = M_i ⊙ Π_h (1 − w_hi e_h) + Σ_h w_hi a_h``: memory (…, N, W), weights (…, H, N), erase in [0, 1] and
    add (…, H, W) → (…, N, W); for one head the axis H may be left out.

    Of several heads, first all erase (in any order: they multiply), then all add, so none erases what another has
    just written. Graves et al. 2014, eqs. 3 and 4. Raises ShapeError for what doesn't fit. Integers and bools
    become float32.
    """
    memory, weights, erase, add = real_operands(memory, weights, erase, add)
    given = weights.shape, erase.shape, add.shape
    if weights.ndim == erase.ndim == add.ndim == memory.ndim - 1 and memory.ndim > 1:
        weights, erase, add = (expand_dims(x, -2) for x in (weights, erase, add))
    *lead, places, width = memory.shape if memory.ndim > 1 else (0, 0)
    heads = weights.shape[-2] if weights.ndim > 1 else 0
    fits = weights.shape == (*lead, heads, places) and erase.shape == add.shape == (*lead, heads, width)
    if memory.ndim < 2 or not heads or not fits:
        fail(
            errors.ShapeError,
            "memory_write",
            f"for memory {memory.shape} = (…, N, W), weights must be (…, H, N), erase and add (…, H, W), or without H",
            f"got {', '.join(map(str, given[:2]))} and {given[2]}",
        )
    flat = [reshape(x, (math.prod(lead), *x.shape[-2:])) for x in (memory, weights, erase, add)]
    return reshape(call("memory_write", *flat), memory.shape)
