"""NumPy's operators and methods on Tensor, bound to the op table and to the runtime (the graph below knows no op, and
computes nothing).
"""

from tinyattn.graph.grad import backward
from tinyattn.graph.public import check_arguments
from tinyattn.graph.tensor import Tensor
from tinyattn.graph.types import BOOL, is_float
from tinyattn.ops.arrays import elementwise as e
from tinyattn.ops.arrays import (
    index,
    linalg,
    products,
    rearrange,
    reduce,
    shape,
    sorting,
    statistics,
    triangles,
)
from tinyattn.runtime import values

_OPERATORS = {
    "add": e.add,
    "sub": e.sub,
    "mul": e.mul,
    "truediv": e.div,
    "floordiv": e.floor_divide,
    "mod": e.mod,
    "matmul": linalg.matmul,
    "pow": lambda a, b: _power(a, b),
    "and": e.logical_and,
    "or": e.logical_or,
    "xor": e.logical_xor,
}


def _power(a, b):
    """``a ** b``: small whole exponents become products."""
    if not isinstance(b, (int, float)):
        return e.power(a, b)
    if b == 0.5:
        return e.sqrt(a)
    real = is_float(a.dtype)
    if b == -1 and real:
        return e.div(1, a)
    if real or a.dtype != BOOL and isinstance(b, int):
        if b == 2:
            return e.square(a)
        if b == 1:
            return a
    return e.power(a, b)


for _name, _function in _OPERATORS.items():
    setattr(Tensor, f"__{_name}__", lambda a, b, f=_function: f(a, b))
    setattr(Tensor, f"__r{_name}__", lambda a, b, f=_function: f(b, a))
for _name, _function in {
    "lt": e.less,
    "le": e.less_equal,
    "gt": e.greater,
    "ge": e.greater_equal,
    "eq": e.equal,
    "ne": e.not_equal,
}.items():
    setattr(Tensor, f"__{_name}__", lambda a, b, f=_function: f(a, b))
for _name, _function in {
    "neg": e.neg,
    "abs": e.abs,
    "invert": e.logical_not,
    "getitem": index.getitem,
}.items():
    setattr(Tensor, f"__{_name}__", _function)
for _name, _function in {
    "sum": reduce.sum,
    "mean": reduce.mean,
    "max": reduce.max,
    "min": reduce.min,
    "prod": reduce.prod,
    "var": reduce.var,
    "std": statistics.std,
    "any": reduce.any,
    "all": reduce.all,
    "argmax": reduce.argmax,
    "argmin": reduce.argmin,
    "cumsum": reduce.cumsum,
    "cumprod": products.cumprod,
    "sort": sorting.sort,
    "argsort": sorting.argsort,
    "reshape": shape.reshape,
    "transpose": shape.transpose,
    "squeeze": shape.squeeze,
    "swapaxes": rearrange.swapaxes,
    "flatten": rearrange.flatten,
    "ravel": rearrange.flatten,
    "repeat": rearrange.repeat,
    "diagonal": triangles.diagonal,
    "trace": triangles.trace,
    "astype": e.cast,
    "take": index.take,
    "dot": linalg.dot,
    "clip": e.clip,
    "round": e.round,
    "backward": backward,
}.items():
    setattr(Tensor, _name, check_arguments(_name, _function))

for _name, _value in {
    "numpy": values.numpy,
    "tolist": values.tolist,
    "item": values.item,
    "__float__": values.as_float,
    "__int__": values.as_int,
    "__bool__": values.as_bool,
    "__array__": values.as_array,
    "__str__": values.as_text,
}.items():
    setattr(Tensor, _name, _value)
