"""Floor 3: the op table. Each row is an operation: definition, types, derivative, formula and kernels, one
file a family.

``PUBLIC`` is what users see as ``ta.name``: each function is declared where it is defined.
"""

from tinyattn.graph import hints
from tinyattn.graph.op import OPS
from tinyattn.graph.public import PUBLIC
from tinyattn.ops import methods as _methods  # noqa: F401  (binds operators to Tensor)
from tinyattn.ops.arrays import (  # noqa: F401  (each file declares its operations and functions)
    across,
    creation,
    einsum,
    elementwise,
    functions,
    index,
    linalg,
    predicates,
    products,
    random,
    rearrange,
    reduce,
    shape,
    sorting,
    statistics,
    triangles,
)
from tinyattn.ops.attention import (  # noqa: F401
    additive,
    attention,
    hard,
    multihead,
    normalisers,
    scores,
    softmax,
    window,
)
from tinyattn.ops.layers import (  # noqa: F401
    batch_norm,
    cells,
    convolving,
    gelu,
    maxout,
    norm,
    pooling,
    spectral_norm,
)
from tinyattn.ops.losses import cross_entropy, losses, projection  # noqa: F401
from tinyattn.ops.memory import address, addressing, memory  # noqa: F401

hints.FUNCTIONS.update(PUBLIC)

for _name, _op in OPS.items():
    if _op.derivative is None:
        raise TypeError(f"operation {_name} needs a derivative, or a reason why it has none")
