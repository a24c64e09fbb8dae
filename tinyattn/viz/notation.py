"""Formulas of operations with their operands put in, and parentheses only where they are needed."""

import re
from collections.abc import Mapping, Sequence

from tinyattn.graph.tensor import Tensor
from tinyattn.graph.traverse import topological
from tinyattn.rewrite import rules


def template(node: Tensor) -> str:
    """The formula of a node, with ``{0}``, ``{1}`` … in the places of its operands."""
    name, places = node.op.name, [f"{{{k}}}" for k in range(len(node.inputs))]
    if name == "concat":
        return f"[{'; '.join(places)}]"
    if name == "mul" and rules.number(node.inputs[0]) is not None:
        return "{0} {1}"
    if name == "mul" and rules.number(node.inputs[1]) is not None:
        return "{1} {0}"
    if name == "mul" and node.ndim > 1:
        return "{0} ⊙ {1}"
    if name == "pow" and (power := rules.number(node.inputs[1])) in (2, 3):
        return "{0}²" if power == 2 else "{0}³"
    if name in ("sum", "max", "min", "prod") and len(node.attrs["axes"]) < node.inputs[0].ndim:
        last = node.attrs["axes"] == (node.inputs[0].ndim - 1,)
        axes = ",".join(map(str, node.attrs["axes"]))
        return f"row{name}({{0}})" if last else f"{name}_{axes}({{0}})"
    if name == "softmax_backward":
        return "{0} ⊙ ({1} − rowsum({0} ⊙ {1}))"
    if name == "transpose" and node.ndim != 2:
        rank = node.ndim
        if node.attrs["axes"] != (*range(rank - 2), rank - 1, rank - 2):
            return f"transpose({{0}}, {', '.join(map(str, node.attrs['axes']))})"
    if name == "fused":
        return _chain(node) or f"chain({', '.join(places)})"
    return node.op.formula or f"{name}({', '.join(places)})"


MOST_LETTERS = 60
"""Of the formula of a chain; longer ones are not written out."""


def _chain(node: Tensor) -> str:
    """The formula of a fused chain that has one result, of what it reads; nothing if it is too long."""
    body = node.attrs["body"]
    if len(body.outputs) > 1 or len(body.arguments) > 9:
        return ""
    known = {argument: (f"{{{k}}}", 9) for k, argument in enumerate(body.arguments)}
    for inner in topological(body.outputs):
        if inner not in known:
            value = rules.number(inner)
            form = template(inner)
            text = fill(form, [known[source] for source in inner.inputs])
            known[inner] = (text, level(form)) if value is None else (f"{value:.4g}", 9)
    text = known[body.outputs[0]][0]
    return text if len(text) <= MOST_LETTERS else ""


def _outer(template: str) -> str:
    """A template without what stands in brackets."""
    text = re.sub(r"\{\d\}", "x", template)
    while (shorter := re.sub(r"[(\[|⌊⌈⟨][^()\[\]|⌊⌋⌈⌉⟨⟩]*[)\]|⌋⌉⟩]", "", text)) != text:
        text = shorter
    return text


def level(template: str) -> int:
    """How tightly a formula binds: 9 a name or call, 4 a power, 3 a product, 2 a sum, 1 a condition."""
    text = _outer(template)
    if re.search(r" [=<>≤≥≠∧∨⊕?] ", text):
        return 1
    if re.search(r" [+−∗] ", text) or text.startswith("−"):
        return 2
    if re.search(r"[·/⊙]|^Σ | mod |^x \w+$", text):
        return 3
    return 4 if re.search(r"[²³^ᵀ]", text) else 9


def wrapped(text: str, level: int, least: int) -> str:
    """``text``, in parentheses if it binds less tightly than ``least``."""
    return text if level >= least else f"({text})"


def fill(template: str, operands: Sequence[tuple[str, int]]) -> str:
    """A formula with its operands put in, in parentheses where they bind less tightly than what is around them."""

    def put(match: re.Match) -> str:
        k = int(match[1])
        if k >= len(operands):
            return "…"
        before, after = template[: match.start()].rstrip(), template[match.end() :].lstrip()
        left, right = before[-1:], after[:1]
        if (not left or left in "([|⌊⌈⟨,;") and (not right or right in ")]|⌋⌉⟩,;"):
            return operands[k][0]
        least = 2
        if template == "{0}·{1}":  # a product of matrices, which binds like a power
            return wrapped(*operands[k], 4)
        if template in ("{0} {1}", "{1} {0}"):
            return wrapped(*operands[k], 3)
        if left == "+" and operands[k][0].startswith("−"):
            least = 3
        elif right in ("²", "³", "^", "ᵀ", "[", "_") or left == "^":
            least = 9
        elif before.endswith(" mod") or after.startswith("mod "):
            least = 9 if before else 3
        elif left in "·/⊙∗√" and left or right and right in "·/⊙∗":
            least = 9 if left == "/" else 3
        elif left in ("Σ", "x", "−") or re.match(
            r"[^\W\d_]\w*\(", after
        ):  # (the last: a factor beside a call)
            least = 3
        return wrapped(*operands[k], least)

    return re.sub(r"\{(\d)\}", put, template)


def written(node: Tensor, operands: Sequence[tuple[str, int]]) -> tuple[str, int]:
    """The formula of a node, of its operands' texts, and how tightly it binds."""
    form = template(node)
    if form == "{0}":
        return operands[0]
    first, *others = operands or [("", 9)]
    if node.op.name in ("mul", "div", "matmul") and first[0].startswith("Σ ") and node.inputs[1].shape:
        first = (
            f"({first[0]})",
            9,
        )  # (a number may stand inside of a sum as well as behind it, an array may not)
    return fill(form, [first, *others]), 4 if node.op.name == "matmul" else level(form)


def with_words(text: str, words: Mapping[str, str]) -> str:
    """A text with whole words in it replaced."""
    pattern = "|".join(rf"(?<!\w){re.escape(word)}(?![^\W_])" for word in words)
    return re.sub(pattern, lambda match: words[match[0]], text)
