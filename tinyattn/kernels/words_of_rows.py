"""The argument words of kernels that work on rows of numbers; see :mod:`tinyattn.kernels.words`."""

from tinyattn.kernels.declaration import declare

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

# Sorting.

declare("sort.order", """
    rows       rows
    length     numbers in a row
    x          address of x (rows, n), contiguous
    whole      kind of x: 0 for reals, 1 for i64
    downwards  1: downwards
    y          address of y (rows, n) i64
    room       address of as many i64 to work with
""")  # fmt: skip
declare("sort.leading", """
    rows       rows
    length     numbers in a row
    count      k, 0 < k ≤ n
    x          address of x (rows, n), contiguous
    whole      kind of x: 0 for reals, 1 for i64
    downwards  1: downwards
    y          address of y (rows, k) i64
""")  # fmt: skip
