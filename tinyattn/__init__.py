"""tinyattn: a symbolic automatic-differentiation engine whose every step, derivative and loop is one graph, compiled into one native program."""

from tinyattn.graph.grad import grad, hvp, jvp, vjp
from tinyattn.graph.scan import scan
from tinyattn.graph.scope import scope
from tinyattn.graph.tensor import Tensor, parameter, tensor
from tinyattn.graph.trace import manual_seed
from tinyattn.runtime import evaluate as _evaluate
from tinyattn.runtime.function import Function, function
from tinyattn.runtime.gradcheck import gradcheck
from tinyattn import ops as _ops

globals().update(_ops.PUBLIC)
