"""What values are called: the user's name, or else the variable that the source line assigns to.

``P = ta.softmax(S)`` makes a value that texts and pictures call P, ``h, c = ta.lstm_cell(…)`` names both results, and
``x.name = "x"`` names any value by hand. Of the nodes that one line makes the last one is what its variable holds;
nodes of a derivative have no names, as their lines are those of the forward nodes.
"""

import ast
import functools
import linecache
from collections.abc import Sequence
from typing import Any

from tinyattn.graph.scope import Line
from tinyattn.graph.tensor import Tensor
from tinyattn.graph.traverse import topological

_CONTAINERS = (ast.List, ast.Tuple, ast.Dict, ast.Set, ast.ListComp, ast.DictComp, ast.Lambda)
"""What an assigned variable may hold that is no value."""
_MAKERS = frozenset("draw make_dot show derive grad vjp evaluate numpy item float print str repr".split())
"""Functions that take a value and return something else."""
_PICTURES = frozenset(("draw", "make_dot", "plot_model"))


def names(roots: Sequence[Tensor]) -> dict[Tensor, str]:
    """Names of the nodes below ``roots`` that have one, each name once: ``x``, and the next to be called so ``x₂``;
    names given by hand before those of variables.
    """
    given: dict[Tensor, str] = {}
    lines: dict[Line, list[Tensor]] = {}
    order = topological(roots)
    for node in order:
        if node.name:
            given[node] = node.name
        elif (node.inputs or node.op.name == "tensor") and node.origin is None and node.line is not None:
            lines.setdefault(node.line, []).append(node)
    for line, group in lines.items():
        used = {source for node in group for source in node.inputs}
        last = [node for node in group if node not in used and node.dtype is not None]
        variable = _assigned(line) if last else None
        if isinstance(variable, list):
            given |= _of_outputs(last, variable)
        elif variable and (len(last) == 1 or all(node.op.name == "tensor" for node in last)):
            given |= dict.fromkeys(last, variable)
    found: dict[Tensor, str] = {}
    count: dict[str, int] = {}
    for node in sorted(order, key=lambda node: not node.name):
        if node in given:
            name = given[node]
            count[name] = count.get(name, 0) + 1
            found[node] = name + (subscript(count[name]) if count[name] > 1 else "")
    return found


def subscript(number: int) -> str:
    """``₂``."""
    return str(number).translate(str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉"))


def _of_outputs(last: Sequence[Tensor], variables: list) -> dict[Tensor, str]:
    """Names of the outputs of one node that a line takes apart: ``h, c = …``, or ``(h, c), ys = ta.scan(…)``."""
    outputs = [node for node in last if node.op.name == "output"]
    if len(outputs) < len(last) or len({node.inputs[0] for node in outputs}) != 1:
        return {}
    loop = outputs[0].inputs[0].op.name == "scan"
    if loop and len(variables) != 2:
        return {}
    stacks = [node for node in outputs if loop and node.attrs["key"][0] == "stack"]
    found = {}
    for node in outputs:
        name: Any = variables
        if loop:
            kind, k = node.attrs["key"]
            place = next(
                (n for n, stack in enumerate(stacks) if stack is node), 0
            )  # (== of Tensors is a Tensor)
            name, key = (variables[0], k) if kind == "final" else (variables[1], place)
            alone = len(outputs) - len(stacks) if kind == "final" else len(stacks)
            name = [name] if isinstance(name, str) and alone == 1 and key == 0 else name
        else:
            key = node.attrs["key"]
        if isinstance(name, list) and isinstance(key, int) and key < len(name) and isinstance(name[key], str):
            found[node] = name[key]
    return {node: name for node, name in found.items() if name != "_"}


def _assigned(line: Line) -> Any:
    """The variable that a line of source assigns to, or several of them: a list, None where there is something else."""
    return _assignments(line.file).get(line.number)


def carries(line: Line, count: int) -> list[str]:
    """What the ``count`` carries of a loop are called, whose ``ta.scan(step, …)`` stands in a line: by what ``step``
    returns first, or else by its first argument; [] where neither says so.
    """
    tree = _parsed(line.file)
    calls = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and node.args
        and node.lineno <= line.number <= (node.end_lineno or 0)
        and getattr(node.func, "attr", getattr(node.func, "id", "")) == "scan"
    ]
    if len(calls) != 1:
        return []
    step = calls[0].args[0]
    name = getattr(step, "attr", getattr(step, "id", ""))
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and node.name == name]
    before = [node for node in functions if node.lineno <= line.number] or functions
    chosen = step if isinstance(step, ast.Lambda) else max(before, key=lambda node: node.lineno, default=None)
    if chosen is None:
        return []
    ends = [node.value for node in ast.walk(chosen) if isinstance(node, ast.Return)]
    returned = chosen.body if isinstance(chosen, ast.Lambda) else ends[-1] if ends else None
    first = returned.elts[0] if isinstance(returned, ast.Tuple) and returned.elts else None
    found = _variables(first) if first is not None else None
    found = [found] if isinstance(found, str) else found or []
    arguments = [a.arg for a in chosen.args.args if a.arg != "self"]
    if count == 1 and not found and arguments:
        found = arguments[:1]
    return found if len(found) == count and all(isinstance(name, str) for name in found) else []


@functools.lru_cache(maxsize=256)
def _parsed(file: str) -> ast.Module:
    try:
        return ast.parse("".join(linecache.getlines(file)))
    except SyntaxError:  # (a file that has been edited, a cell with magic commands)
        return ast.Module([], [])


@functools.lru_cache(maxsize=256)
def _assignments(file: str) -> dict[int, Any]:
    tree = _parsed(file)
    innermost: dict[int, ast.stmt] = {}
    for statement in ast.walk(tree):  # outer statements come before the ones in them
        if isinstance(statement, ast.stmt):
            for number in range(statement.lineno, (statement.end_lineno or statement.lineno) + 1):
                innermost[number] = statement
    found = {}
    for number, statement in innermost.items():
        if not isinstance(statement, (ast.Assign, ast.AnnAssign, ast.AugAssign)):
            continue
        targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
        if (
            len(targets) == 1
            and not isinstance(statement.value, _CONTAINERS)
            and not _is_made(statement.value)
        ):
            found[number] = _variables(targets[0])
    return found


def _is_made(value: ast.AST | None) -> bool:
    """Whether an expression is of something that one of ``_MAKERS`` returns, ``ta.grad(y, x)[0]``, or that is made of a
    picture: ``len(ta.viz.draw(y).picture.nodes)``.
    """
    for part in ast.walk(value) if value is not None else ():
        if (
            isinstance(part, ast.Call)
            and getattr(part.func, "attr", getattr(part.func, "id", "")) in _PICTURES
        ):
            return True
    while value is not None:
        if isinstance(value, ast.Call):
            value = value.func
        if getattr(value, "attr", getattr(value, "id", "")) in _MAKERS:
            return True
        value = value.value if isinstance(value, (ast.Attribute, ast.Subscript)) else None
    return False


def _variables(target: ast.expr) -> Any:
    if isinstance(target, (ast.Tuple, ast.List)):
        return [_variables(part) for part in target.elts]
    return target.id if isinstance(target, ast.Name) else None
