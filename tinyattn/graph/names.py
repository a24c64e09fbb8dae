"""What values are called: the user's name, or else the variable that the source line assigns to.

``P = ta.softmax(S)`` makes a value that texts and pictures call P, and ``x.name = "x"`` names any value by hand. Of the
nodes that one line makes the last one is what its variable holds; nodes of a derivative have no names, as their lines
are those of the forward nodes.
"""

import ast
import functools
import linecache
from collections.abc import Sequence

from tinyattn.graph.scope import Line
from tinyattn.graph.tensor import Tensor
from tinyattn.graph.traverse import topological

_CONTAINERS = (ast.List, ast.Tuple, ast.Dict, ast.Set, ast.ListComp, ast.DictComp, ast.Lambda)
"""What an assigned variable may hold that is no value."""


def names(roots: Sequence[Tensor]) -> dict[Tensor, str]:
    """Names of the nodes below ``roots`` that have one, each name once: ``x``, and the next to be called so ``x₂``."""
    given: dict[Tensor, str] = {}
    lines: dict[Line, list[Tensor]] = {}
    order = topological(roots)
    for node in order:
        if node.name:
            given[node] = node.name
        elif node.inputs and node.origin is None and node.line is not None and node.op.name != "output":
            lines.setdefault(node.line, []).append(node)
    for line, group in lines.items():
        used = {source for node in group for source in node.inputs}
        last = [node for node in group if node not in used]
        if len(last) == 1 and last[0].dtype is not None and (variable := _assigned(line)):
            given[last[0]] = variable
    found: dict[Tensor, str] = {}
    count: dict[str, int] = {}
    for node in order:
        if node in given:
            name = given[node]
            count[name] = count.get(name, 0) + 1
            found[node] = name + (_subscript(count[name]) if count[name] > 1 else "")
    return found


def _subscript(number: int) -> str:
    return str(number).translate(str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉"))


def _assigned(line: Line) -> str | None:
    """The variable that a line of source assigns to, if it assigns to just one."""
    return _assignments(line.file).get(line.number)


@functools.lru_cache(maxsize=256)
def _assignments(file: str) -> dict[int, str]:
    try:
        tree = ast.parse("".join(linecache.getlines(file)))
    except SyntaxError:  # (a file that has been edited, a cell with magic commands)
        return {}
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
        target = targets[0]
        if (
            isinstance(target, ast.Name)
            and len(targets) == 1
            and not isinstance(statement.value, _CONTAINERS)
        ):
            found[number] = target.id
    return found
