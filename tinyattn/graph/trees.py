"""Trees of Tensors, what loops and functions are given and return: tuples, lists and dicts of them, in each other."""

from collections.abc import Sequence
from typing import Any

from tinyattn.graph.leaf import as_tensor
from tinyattn.graph.tensor import Tensor

Tree = Any
"""A Tensor, or a tuple, list or dict of trees."""


def flatten(tree: Tree) -> list[Tensor]:
    """The Tensors of a tree, in order."""
    if isinstance(tree, dict):
        return [leaf for key in tree for leaf in flatten(tree[key])]
    if isinstance(tree, (tuple, list)):
        return [leaf for part in tree for leaf in flatten(part)]
    return [] if tree is None else [as_tensor(tree)]


def flatten_like(model: Tree, tree: Tree) -> list[Tensor] | None:
    """The Tensors of ``tree`` in the order of those of ``model``; None if the two have not the same form."""
    if isinstance(model, dict):
        alike = isinstance(tree, dict) and tree.keys() == model.keys()
        pairs = [(model[key], tree[key]) for key in model] if alike else []
    elif isinstance(model, (tuple, list)):
        alike = isinstance(tree, (tuple, list)) and len(tree) == len(model)
        pairs = list(zip(model, tree, strict=True)) if alike else []
    elif model is None or tree is None or isinstance(tree, (dict, tuple, list)):
        return [] if model is tree is None else None
    else:
        return [as_tensor(tree)]
    found = [flatten_like(*pair) for pair in pairs]
    return None if not alike or None in found else [leaf for part in found for leaf in part or ()]


def fields(tree: Tree, name: str = "") -> list[str]:
    """What the Tensors of a tree are called in it: by the keys of dicts and the fields of named tuples, else ""."""
    if isinstance(tree, dict):
        return [found for key, part in tree.items() for found in fields(part, str(key))]
    if isinstance(tree, (tuple, list)):
        called = getattr(tree, "_fields", ("",) * len(tree))
        return [found for key, part in zip(called, tree, strict=True) for found in fields(part, key)]
    return [] if tree is None else [name]


def unflatten(tree: Tree, leaves: Sequence[Any]) -> Tree:
    """A tree of the form of ``tree`` with other leaves."""
    iterator = iter(leaves)

    def build(part):
        if isinstance(part, dict):
            return {key: build(value) for key, value in part.items()}
        if isinstance(part, (tuple, list)):
            built = [build(value) for value in part]
            return type(part)(*built) if hasattr(part, "_fields") else type(part)(built)
        return None if part is None else next(iterator)

    return build(tree)
