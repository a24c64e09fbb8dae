"""The facts of an operation that stand in its row: operations, cost, whether it is computed again, where it is checked."""

import re

import numpy as np
import pytest
from llvmlite import ir
from proofs import CASES, build, gradients

import tinyattn as ta
from tinyattn import ops
from tinyattn.graph.body import Body
from tinyattn.graph.leaf import placeholder
from tinyattn.graph.op import CHEAP, OPS, ZERO, NotDifferentiable
from tinyattn.graph.public import CONSTANT, POINTS, public
from tinyattn.graph.tensor import make
from tinyattn.graph.traverse import topological
from tinyattn.graph.types import BOOL, FLOAT32, Type
from tinyattn.kernels.language.arithmetic import formulas
from tinyattn.kernels.language.formula import LLVM, Value
from tinyattn.kernels.language.opcodes import OPCODES
from tinyattn.ops.losses import projection
from tinyattn.rewrite.rule import Log
from tinyattn.runtime.elementwise import steps_of
from tinyattn.runtime.program import optimize

ELEMENTWISE = [name for name, op in OPS.items() if op.elementwise]

# Operations.


def counted(operation, kind):
    """Arithmetic instructions on reals in the machine code of an operation's float32 formula."""
    wanted = [LLVM["f32" if k == "real" else k] for k in OPCODES[operation, kind].arguments]
    module = ir.Module("count")
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), wanted), "count")
    builder = ir.IRBuilder(function.append_basic_block())
    formulas("f32")[operation, kind](*(Value(builder, argument) for argument in function.args))
    builder.ret_void()
    return len(re.findall(r"= (?:fadd|fsub|fmul|fdiv|frem)\b|call .*@\"llvm\.sqrt", str(module)))


def element(name, shape=()):
    """A node of an elementwise operation in float32, and its inputs."""
    count = 1 + max(int(place) for place in re.findall(r"\{(\d)\}", OPS[name].formula))
    kinds = [FLOAT32] * count
    if name in ("and", "or", "xor", "not"):
        kinds = [BOOL] * count
    if name == "where":
        kinds[0] = BOOL
    inputs = [placeholder(Type(shape, kind)) for kind in kinds]
    return make(name, *inputs, **({"dtype": FLOAT32} if name == "cast" else {})), inputs


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_operations_an_element_are_those_of_the_machine_code(name):
    node, inputs = element(name)
    body, _ = Body.closing(inputs, [node])
    steps = steps_of(body)
    assert steps.flops == OPS[name].flops * (inputs[-1].dtype != BOOL)
    assert steps.flops == sum(
        counted(operation, kind) for operation, kind, _ in steps.steps if kind == "real"
    )


def flops(outputs):
    return ta.Program(outputs).flops


CHOOSING = {"maxout", "max_pool2d"}
"""Kernels that choose numbers where their definitions multiply by 0 and 1."""


@pytest.mark.parametrize(
    "name", sorted({case.values[0] for case in CASES if OPS[case.values[0]].lower} - CHOOSING)
)
def test_operations_of_kernels_are_about_those_of_their_definitions(name):
    for case in CASES:
        _, arrays, attrs = case.values
        if case.values[0] != name or sum(a.size for a in arrays) < 20:
            continue
        inputs, results, opened = build(name, arrays, attrs, np.float32)
        pairs = [(results, opened)]
        if not isinstance(OPS[name].derivative, NotDifferentiable):
            pairs.append((gradients(inputs, results[:1], 1), gradients(inputs, opened[:1], 1)))
        for ours, composed in pairs:
            assert flops(composed) / 3 <= flops(ours) <= flops(composed) * 3, case.id


class Counting:
    """A number that counts the additions and multiplications of all."""

    count = 0

    def __init__(self, value):
        self.value = value

    def _counted(self, other, value):
        Counting.count += 1
        return Counting(value)

    def __add__(self, other):
        return self._counted(other, self.value + getattr(other, "value", other))

    def __mul__(self, other):
        return self._counted(other, self.value * getattr(other, "value", other))

    __radd__, __rmul__ = __add__, __mul__

    def __gt__(self, other):
        return self.value > other.value

    def __lt__(self, other):
        return self.value < other.value

    def __ge__(self, other):
        return self.value >= other.value

    def __le__(self, other):
        return self.value <= other.value


def at_points(name):
    """The inputs and floating-point results of a public function at each of its points."""
    function, points = POINTS[name]
    for point in points:
        inputs = [ta.tensor(a) for a in point.arrays()]
        value = point.call(function)(*inputs)
        results = value if isinstance(value, (tuple, list)) else [value]
        yield inputs, [y for y in results if y is not None and y.dtype.kind == "f"]


def nodes_at_points(monkeypatch):
    """All nodes of the values and derivatives at the points of all functions."""
    monkeypatch.setattr(projection, "WHOLE_BYTES", 0)  # so that the logits are made in parts
    for name in POINTS:
        for inputs, results in at_points(name):
            for node in topological([*results, *gradients(inputs, results, 1)]):
                yield node
                for value in node.attrs.values():
                    yield from value.nodes() if isinstance(value, Body) else ()


def test_operations_of_kernels_are_those_of_numpy(monkeypatch):
    seen = {}
    for node in nodes_at_points(monkeypatch):
        if (
            node.op.lower
            and node.op.definition is None
            and not node.op.elementwise
            and node.dtype is not None
        ):
            seen.setdefault(node.op.name, node)
    assert {"sum", "prod", "max", "cumsum", "matmul", "take", "scatter_add", "concat"} <= set(seen)
    for name, node in seen.items():
        inputs = [ta.tensor(np.ones(s.shape, s.dtype)) if s.dtype.kind == "f" else s for s in node.inputs]
        arrays = [
            np.vectorize(Counting, otypes=[object])(x.numpy()) if x.dtype.kind == "f" else x.numpy()
            for x in inputs
        ]
        Counting.count = 0
        node.op.reference(*arrays, **node.attrs)
        ours = flops([make(name, *inputs, **node.attrs)])
        assert Counting.count <= ours <= 1.5 * Counting.count, name  # NumPy adds n numbers by n − 1 additions


# Computed again, or kept.


def test_what_is_cheap_is_computed_again():
    again = {name for name, op in OPS.items() if op.recompute}
    elementwise = {name for name in ELEMENTWISE if OPS[name].cost <= CHEAP}
    assert {"exp", "log", "tanh", "sigmoid", "div"} <= elementwise
    assert not elementwise & {
        "pow",
        "erf",
        "sin",
        "tan",
        "arcsinh",
        "logaddexp",
        "softplus",
        "mod",
        "floor_divide",
    }
    views = {name for name, op in OPS.items() if op.view is not None} - {"after"}
    others = {"constant", "within", "gelu", "gelu_tanh", "layer_norm", "rms_norm"}
    assert again == elementwise | views | others


DIFFERENTIABLE = [
    name for name in ELEMENTWISE if callable(OPS[name].derivative) and name not in ("where", "cast")
]


@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_loops_keep_what_is_not_computed_again(name):
    """The derivative of x ↦ f(softmax x) w by w reads f: a loop keeps its values, or those of the softmax."""
    rows = ta.parameter(np.ones((128, 128), np.float32))
    w = ta.parameter(np.ones((128, 128), np.float32))

    def f(x):
        p = ta.softmax(x)
        return make(name, *[p] * len(element(name)[1]))

    _, ys = ta.scan(lambda c, x: (c, f(x) @ w), ta.zeros(()), ta.stack([rows, rows]))
    loop, order = ys.inputs[0], topological([ta.grad(ys.sum(), w)])
    stacks = [n.attrs["key"][1] for n in order if n.op.name == "output" and n.inputs[0] is loop]
    kept = any(isinstance(value, ta.Tensor) and value.op.name == name for value in stacks)
    assert kept is not OPS[name].recompute


def test_programs_keep_what_is_not_computed_again():
    x, w = ta.parameter(np.ones((256, 128), np.float32)), ta.parameter(np.ones((128, 128), np.float32))
    h = x @ w
    for name in ("log", "softplus", "erf", "gelu"):
        log = Log()
        loss = (make(name, h) @ w).sum() + (h * h).sum()
        optimize([loss, ta.grad(loss, w)], log)
        assert (log.counts().get("recompute", 0) > 0) is OPS[name].recompute, name


# Where derivatives are checked.


@pytest.mark.parametrize("name", POINTS)
def test_derivatives_agree_with_finite_differences_at_the_points(name):
    function, points = POINTS[name]
    for point in points:
        assert ta.gradcheck(point.call(function), point.arrays())


def test_every_public_function_has_points_or_a_reason():
    assert set(POINTS).isdisjoint(CONSTANT)
    assert set(POINTS) | set(CONSTANT) == {*ops.PUBLIC, "scan", "checkpoint"}
    with pytest.raises(ValueError, match="or a reason why not"):
        public()


def test_points_reach_every_derivative(monkeypatch):
    differentiable = {
        name
        for name, op in OPS.items()
        if op.derivative is not ZERO and not isinstance(op.derivative, NotDifferentiable)
    }
    reached = {node.op.name for node in nodes_at_points(monkeypatch)}
    assert differentiable - reached == set()


@pytest.mark.parametrize(
    "name",
    sorted(
        {
            case.values[0]
            for case in CASES
            if not isinstance(OPS[case.values[0]].derivative, NotDifferentiable)
        }
    ),
)
def test_every_result_of_an_operation_has_a_name(name):
    _, *call = next(case.values for case in CASES if case.values[0] == name)
    inputs, results, _ = build(name, *call)
    for node in topological([*results, *gradients(inputs, results, 0)]):
        if node.dtype is None and node.op.name != "scan":
            count = len(node.op.infer(*node.inputs, **node.attrs))
            assert len(node.op.results) == len(set(node.op.results)) == count, node.op.name
