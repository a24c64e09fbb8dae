"""Floor 3: the op table. Each row is an operation: definition, types, derivative, formula and kernels, one
file a family.

``PUBLIC`` is what users see as ``ta.name``.
"""

from tinyattn.graph import hints
from tinyattn.graph.op import OPS
from tinyattn.ops import (
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
from tinyattn.ops.checked import checked as _checked

_NAMES = {
    elementwise: "add sub mul div neg abs sign square sqrt exp expm1 log log1p tanh sin cos sigmoid erf relu "
    "leaky_relu softplus maximum minimum power floor ceil round floor_divide mod less less_equal greater greater_equal "
    "equal not_equal isfinite logical_and logical_or logical_xor logical_not where clip stop_gradient cast",
    functions: "log2 log10 tan sinh cosh arcsin arccos arctan arcsinh arccosh arctanh logaddexp silu elu log_sigmoid",
    shape: "reshape transpose broadcast_to concat expand_dims squeeze stack split flip pad arange full zeros ones",
    reduce: "sum prod max min mean var any all logsumexp argmax argmin cumsum",
    linalg: "matmul dot",
    einsum: "einsum",
    index: "take take_along_axis embedding one_hot index_update",
    softmax: "softmax log_softmax",
    cross_entropy: "cross_entropy_rows",
    losses: "cross_entropy nll_loss kl_div bce_with_logits mse_loss l1_loss smooth_l1_loss huber_loss",
    scores: "dot_score scaled_dot_score general_score additive_score additive_alignment concat_score "
    "cosine_score location_score",
    attention: "attention",
    multihead: "self_attention",
    cells: "lstm_cell gru_cell rnn_cell",
    maxout: "maxout",
    gelu: "gelu",
    norm: "layer_norm rms_norm group_norm",
    normalisers: "relu_norm",
    projection: "linear_cross_entropy",
    batch_norm: "batch_norm",
    spectral_norm: "spectral_norm",
    addressing: "content_addressing interpolate circular_shift sharpen",
    address: "memory_address",
    memory: "memory_read memory_write",
    window: "local_window",
    hard: "hard_attention score_function",
    convolving: "conv1d conv2d conv_transpose2d",
    pooling: "max_pool2d avg_pool2d adaptive_avg_pool2d",
    rearrange: "swapaxes moveaxis flatten roll tile repeat",
    triangles: "tril triu diagonal diag trace eye",
    like: "zeros_like ones_like full_like linspace",
    statistics: "std norm count_nonzero diff",
    sorting: "argsort sort topk",
    products: "outer tensordot cumprod",
    predicates: "isnan isinf isclose allclose",
    random: "random_uniform random_normal bernoulli dropout",
}
PUBLIC = {
    name: _checked(name, getattr(module, name)) for module, names in _NAMES.items() for name in names.split()
}
hints.FUNCTIONS.update(PUBLIC)

for _name, _op in OPS.items():
    if _op.derivative is None:
        raise TypeError(f"operation {_name} needs a derivative, or a reason why it has none")
