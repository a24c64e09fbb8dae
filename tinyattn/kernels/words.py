"""How kernels are called: the argument words of each, declared once.

A declaration is a text of lines ``name  meaning``; a name with a number behind it (``sizes 4``) stands for so many
words that follow one another. The kernel reads words by their places, ``word[w.columns]`` with ``w = place("…")``,
which the compiler sees as numbers; lowering gives them by their names, ``emit.kernel("…", {"columns": …})``.

Numbers of a real type are given as the bits of a word (``bits``); an address is a Ref.
"""

from collections import namedtuple
from collections.abc import Mapping
from typing import Any


class Words:
    """The words of one kernel: ``place`` by name, ``count`` of them, and their ``meanings``."""

    def __init__(self, kernel: str, text: str):
        self.kernel, self.meanings, self.lengths = kernel, {}, {}
        places: dict[str, int] = {}
        self.count = 0
        for line in text.strip().splitlines():
            name, _, rest = line.strip().partition(" ")
            head, _, tail = rest.strip().partition(" ")
            length = int(head) if head.isdecimal() else 1
            places[name], self.lengths[name] = self.count, length
            self.meanings[name] = tail.strip() if head.isdecimal() else rest.strip()
            self.count += length
        self.place: Any = namedtuple(kernel.replace(".", "_"), places)(**places)

    def pack(self, given: Mapping[str, Any]) -> list[Any]:
        """The words in their order; those of a group are given as a list."""
        if given.keys() != self.meanings.keys():
            wrong = sorted(given.keys() ^ self.meanings.keys())
            raise TypeError(
                f"{self.kernel} takes {', '.join(self.meanings)}, but these differ: {', '.join(wrong)}"
            )
        packed: list[Any] = []
        for name, length in self.lengths.items():
            values = [given[name]] if length == 1 else list(given[name])
            if len(values) != length:
                raise TypeError(f"{self.kernel} takes {length} words of {name}, but got {len(values)}")
            packed += values
        return packed


WORDS: dict[str, Words] = {}
"""The words of every kernel that has named ones."""


def declare(kernels: str, text: str) -> None:
    """The words of one kernel, or of several that are called alike."""
    for kernel in kernels.split():
        WORDS[kernel] = Words(kernel, text)


def place(kernel: str) -> Any:
    """Where each word of a kernel is: a tuple of numbers with names."""
    return WORDS[kernel].place


# Softmax and cross-entropy. Rows and columns: R rows of C numbers, contiguous.

declare("softmax.forward softmax.log_forward", """
    x        address of x (R, C)
    y        address of y (R, C); may be x
    rows     R
    columns  C
    scale    bits of a factor of x (1 for none)
    masking  kind of mask: 0 none; 1 bytes, 0 where x is masked; 2 numbers to add to scale x, −∞ where it is
    mask     address of the mask; the numbers of a row follow one another (not read, like the rest, if there is none)
    sizes    4 the four row dimensions, slowest first; their product is R
    strides  4 stride of the mask along each of them, in its numbers
""")  # fmt: skip
declare("softmax.backward softmax.log_backward", """
    y        address of y (R, C): the result of the forward pass
    dy       address of dy (R, C)
    dx       address of dx (R, C); may be dy
    rows     R
    columns  C
    scale    bits of the factor of x
""")  # fmt: skip
declare("softmax.cross_entropy_forward", """
    x          address of the logits (R, C)
    targets    address of the targets (R)
    wide       kind of the targets: 0 for i32, 1 for i64
    losses     address of the losses (R)
    tops       address of m = max x (R)
    log_sums   address of ln Σ e^{x − m} (R)
    rows       R
    columns    C
    ignored    ignore_index
    smoothing  bits of ε, the label smoothing
""")  # fmt: skip
declare("softmax.cross_entropy_backward", """
    x          address of the logits (R, C)
    targets    address of the targets (R)
    wide       kind of the targets: 0 for i32, 1 for i64
    tops       address of m (R), from the forward pass
    log_sums   address of ln Σ e^{x − m} (R), from the forward pass
    g          address of the gradients of the losses (R)
    stride     stride of g in numbers; 0: one number for all rows
    dx         address of dx (R, C); may be x
    rows       R
    columns    C
    ignored    ignore_index
    smoothing  bits of ε
""")  # fmt: skip

# Norms: rows of C numbers.

declare("norm.forward", """
    x        address of x (R, C)
    gain     address of g (C)
    bias     address of b (C)
    y        address of y (R, C); may be x
    means    address of μ (R)
    scales   address of ρ (R)
    rows     R
    columns  C
    centred  1 to centre, 0 for μ = 0
    epsilon  bits of ε
""")  # fmt: skip
declare("norm.backward", """
    x        address of x (R, C)
    gain     address of g (C)
    means    address of μ (R)
    scales   address of ρ (R)
    dy       address of dy (R, C)
    dx       address of dx (R, C); may be x or dy
    along    address of the sums of dy x̂ (tiles, C)
    over     address of the sums of dy (tiles, C)
    rows     R
    columns  C
    centred  1 if x was centred
""")  # fmt: skip
declare("batch_norm.forward", """
    x          address of x (N, C, L)
    gain       address of g (C)
    bias       address of b (C)
    y          address of y (N, C, L); may be x
    means      address of μ (C)
    variances  address of σ² (C)
    count      N
    channels   C
    length     L
    epsilon    bits of ε
""")  # fmt: skip
declare("batch_norm.backward", """
    x          address of x (N, C, L)
    gain       address of g (C)
    means      address of μ (C)
    variances  address of σ² (C)
    dy         address of dy (N, C, L)
    dx         address of dx (N, C, L); may be x or dy
    d_gain     address of dg (C)
    d_bias     address of db (C)
    count      N
    channels   C
    length     L
    epsilon    bits of ε
""")  # fmt: skip

# Folds along an axis.

declare("reduce.rows", """
    outer   outer
    length  length (at most 2³⁰; a sum of nothing is 0, and a maximum of nothing the least number)
    x       address of x (outer, length), contiguous
    y       address of y (outer,)
    fold    FOLDS[operation, kind]; x and y are of this kind
    size    bytes of an element
    scale   bits of the scale, a real (1/length for a mean); used if the kind is real
""")  # fmt: skip
declare("reduce.columns", """
    outer   outer
    length  length (at least 1, at most 2³⁰)
    inner   inner
    x       address of x (outer, length, inner), contiguous
    y       address of y (outer, inner)
    fold    FOLDS[operation, kind]; x and y are of this kind; not sum_squares
    size    bytes of an element
    scale   bits of the scale, a real (1/length for a mean); used if the kind is real
""")  # fmt: skip
declare("reduce.cumsum", """
    outer    outer
    length   length
    inner    inner
    x        address of x (outer, length, inner), contiguous
    y        address of y, likewise; they don't overlap
    fold     FOLDS["sum", kind] with the kind of both: real, i32 or i64
    size     bytes of an element
    reverse  1 for reverse, else 0
""")  # fmt: skip
declare("reduce.argmax reduce.argmin", """
    outer   outer
    length  length (at least 1)
    x       address of x (outer, length), contiguous
    y       address of y (outer,), i64
    fold    FOLDS["max", kind] or FOLDS["min", kind] with the kind of x: real, i32 or i64
""")  # fmt: skip

# Sorting and random numbers.

declare("sort.order", """
    rows       rows
    length     numbers in a row
    x          address of x (rows, n), contiguous
    whole      kind of x: 0 for reals, 1 for i64
    downwards  1: downwards
    y          address of y (rows, n) i64
    room       address of as many i64 to work with
""")  # fmt: skip

# Taking rows, copying.

declare("gather.take", """
    x        address of x (outer, n, inner)
    outer    outer
    n        n
    inner    inner
    indices  address of the indices (count)
    wide     kind of the indices: 0 for i32, 1 for i64
    count    count
    y        address of y (outer, count, inner)
""")  # fmt: skip
declare("gather.scatter_add", """
    dy       address of dy (outer, count, inner)
    outer    outer
    n        n
    inner    inner
    indices  address of the indices (count)
    wide     kind of the indices: 0 for i32, 1 for i64
    count    count
    dx       address of dx (outer, n, inner)
    adding   1: add to what is in dx; 0: to zero
""")  # fmt: skip
declare("gather.check", """
    indices  address of the indices (count)
    wide     kind of the indices: 0 for i32, 1 for i64
    count    count
    n        n: an index is less than this,
    lowest   and not less than this (−n, or 0)
    ignored  a number that is let through as it is (0 if there is none: that is allowed anyway)
    y        address of y (count), of the same kind
    fault    address of the fault cell: 0, or the least wrong i, plus 1
""")  # fmt: skip
declare("copy.strided", """
    size        bytes of an element: 1, 4 or 8
    x           address of x
    y           address of y; they don't overlap
    dimensions  dimensions, at least 2 (``tiling.copy_plan`` adds some of size 1)
    shape       address of the shape, a word each, in the order of the plan
    x_strides   address of the strides of x, in elements, a word each
    y_strides   address of the strides of y, likewise
""")  # fmt: skip
declare("copy.fill", """
    size   bytes of an element: 1, 4 or 8
    y      address of y, contiguous
    count  elements
    value  bits of the value
""")  # fmt: skip

# Small products of integers; scores; the memory of a neural Turing machine.

declare("integer.product", """
    a        address of a (batch, rows, inner)
    b        address of b (batch, inner, columns)
    c        address of c (batch, rows, columns)
    rows     rows
    inner    inner
    columns  columns
""")  # fmt: skip
declare("score.additive_forward", """
    q        address of q
    q_batch  stride of its batch entries, in numbers; 0 repeats
    q_row    stride of its rows, in numbers; 0 repeats
    k        address of k
    k_batch  stride of its batch entries, in numbers; 0 repeats
    k_row    stride of its rows, in numbers; 0 repeats
    v        address of v (A)
    scores   address of e (B, Tq, Tk), contiguous
    batches  B
    queries  Tq
    keys     Tk
    width    A
""")  # fmt: skip
declare("score.additive_backward", """
    q          address of q
    q_batch    stride of its batch entries, in numbers; 0 repeats
    q_row      stride of its rows, in numbers; 0 repeats
    k          address of k
    k_batch    stride of its batch entries, in numbers; 0 repeats
    k_row      stride of its rows, in numbers; 0 repeats
    v          address of v (A)
    d_scores   address of de (B, Tq, Tk), contiguous
    batches    B
    queries    Tq
    keys       Tk
    width      A
    dq         address of dq (B, Tq, A), contiguous
    dk         address of dk (B, Tk, A), contiguous
    dk_adding  1: add to what is in dk; 0: to zero
    dv         address of dv (B, A), contiguous: to be summed over B
    dv_adding  1: add to what is in dv; 0: to zero
""")  # fmt: skip
declare("memory.write_forward", """
    batches  B
    places   N
    width    W
    heads    H, at least 1
    memory   address of M (B, N, W)
    weights  address of w (B, H, N)
    erase    address of e (B, H, W)
    add      address of a (B, H, W)
    written  address of M′ (B, N, W)
""")  # fmt: skip
declare("memory.write_backward", """
    batches    B
    places     N
    width      W
    heads      H, at least 1
    memory     address of M (B, N, W)
    weights    address of w (B, H, N)
    erase      address of e (B, H, W)
    add        address of a (B, H, W)
    g          address of G (B, N, W)
    d_memory   address of dM (B, N, W)
    d_weights  address of dw (B, H, N)
    d_erase    address of de (B, H, W)
    d_add      address of da (B, H, W)
    room       address of room for B · (2 N W + N + W + ROW_ROOM) numbers
""")  # fmt: skip
declare("address.forward", """
    batches   B
    places    N, at least 1
    width     W
    heads     H
    shifts    S, odd
    epsilon   bits of ε
    emitted   address of what the heads emit (B, H, W + S + 3)
    memory    address of M (B, N, W)
    previous  address of the previous weightings (B, H, N)
    weights   address of w (B, H, N)
    content   address of c (B, H, N)
    room      address of room for B · room_of_address(N, W, S) numbers
""")  # fmt: skip
declare("address.backward", """
    batches     B
    places      N, at least 1
    width       W
    heads       H
    shifts      S, odd
    epsilon     bits of ε
    emitted     address of what the heads emit (B, H, W + S + 3)
    memory      address of M (B, N, W)
    previous    address of the previous weightings (B, H, N)
    weights     address of w (B, H, N)
    content     address of c (B, H, N)
    room        address of room for B · room_of_address(N, W, S) numbers
    d_weights   address of dw (B, H, N)
    d_emitted   address of the gradient of what the heads emit (B, H, W + S + 3)
    d_memory    address of dM (B, N, W)
    d_previous  address of the gradient of the previous weightings (B, H, N)
""")  # fmt: skip
