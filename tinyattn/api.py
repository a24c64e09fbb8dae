"""The public names, gathered: what ``ta.name`` finds. ``ta.nn``, ``ta.optim``, ``ta.models``, ``ta.viz`` and
``ta.tasks`` are modules of their own.
"""

import numpy as np

from tinyattn import ops
from tinyattn.errors import CheckpointError, DataError, DTypeError, GradcheckError, ShapeError, TinyattnError
from tinyattn.graph.checkpoint import checkpoint
from tinyattn.graph.grad import backward, grad, hvp, jvp, vjp
from tinyattn.graph.leaf import parameter, tensor
from tinyattn.graph.prints import print_value as print
from tinyattn.graph.randomness import manual_seed, random_state, set_random_state
from tinyattn.graph.scan import scan
from tinyattn.graph.scope import scope
from tinyattn.graph.tensor import Tensor
from tinyattn.graph.trace import assign
from tinyattn.graph.transforms import hessian, jacobian, value_and_grad
from tinyattn.ops.custom import custom_vjp
from tinyattn.ops.vmap import vmap
from tinyattn.runtime.evaluate import values as evaluate
from tinyattn.runtime.function import Function, function
from tinyattn.runtime.gradcheck import gradcheck
from tinyattn.runtime.nans import NonFiniteError, debug_nans
from tinyattn.runtime.program import Program
from tinyattn.runtime.threads import get_num_threads, set_num_threads

float32, float64, int32, int64, bool_ = np.float32, np.float64, np.int32, np.int64, np.bool_
globals().update(ops.PUBLIC)

__all__ = [
    "CheckpointError",
    "DTypeError",
    "DataError",
    "Function",
    "GradcheckError",
    "NonFiniteError",
    "Program",
    "ShapeError",
    "Tensor",
    "TinyattnError",
    "assign",
    "backward",
    "bool_",
    "checkpoint",
    "custom_vjp",
    "debug_nans",
    "evaluate",
    "float32",
    "float64",
    "function",
    "get_num_threads",
    "grad",
    "gradcheck",
    "hessian",
    "hvp",
    "int32",
    "int64",
    "jacobian",
    "jvp",
    "manual_seed",
    "parameter",
    "random_state",
    "set_random_state",
    "print",
    "scan",
    "scope",
    "set_num_threads",
    "tensor",
    "value_and_grad",
    "vjp",
    "vmap",
    *ops.PUBLIC,
]
