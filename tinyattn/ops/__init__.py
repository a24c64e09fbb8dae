"""Floor 3: the op table. Each row is an operation: definition, types, derivative, formula and kernels, one
file a family.

``PUBLIC`` is what users see as ``ta.name``: each function is declared where it is defined.
"""

from tinyattn.graph import hints
from tinyattn.graph.op import OPS
from tinyattn.graph.public import PUBLIC
from tinyattn.ops import (  # noqa: F401  (each declares its operations and functions)
    address,
    addressing,
    attention,
    batch_norm,
    cells,
    convolving,
    cross_entropy,
    einsum,
    elementwise,
    functions,
    gelu,
    hard,
    index,
    like,
    linalg,
    losses,
    maxout,
    memory,
    multihead,
    norm,
    normalisers,
    pooling,
    predicates,
    products,
    projection,
    random,
    rearrange,
    reduce,
    scores,
    shape,
    softmax,
    sorting,
    spectral_norm,
    statistics,
    triangles,
    window,
)
from tinyattn.ops import methods as _methods  # noqa: F401  (binds operators to Tensor)

hints.FUNCTIONS.update(PUBLIC)

for _name, _op in OPS.items():
    if _op.derivative is None:
        raise TypeError(f"operation {_name} needs a derivative, or a reason why it has none")
