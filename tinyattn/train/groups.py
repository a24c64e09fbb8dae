"""Groups of parameters: some of the optimizer's options may differ from one to another.

A weight decay, for instance, is meant for matrices, not for biases and scales:

    matrices = [w for w in model.parameters() if w.ndim > 1]
    others = [w for w in model.parameters() if w.ndim <= 1]
    ta.optim.AdamW([{"params": matrices, "weight_decay": 0.1}, {"params": others, "weight_decay": 0.0}])
"""

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from tinyattn import errors
from tinyattn.graph.tensor import Tensor
from tinyattn.graph.types import fail

Parameters = Iterable[Tensor] | Iterable[Mapping[str, Any]]
"""Parameters, or dicts with parameters under "params" and options beside them."""
OPTIONS = ("lr", "weight_decay")
"""What a group may have of its own."""


def split_groups(
    optimizer: str, given: Parameters, known: Collection[str]
) -> tuple[list[Tensor], list[dict[str, Any]]]:
    """The parameters, each once, and the options that each has of its own.

    ``known``: the options of this optimizer. Raises TinyattnError for what is no parameter, is in two groups
    or isn't an option.
    """
    items = list(given)
    grouped = bool(items) and all(isinstance(item, Mapping) for item in items)
    groups: list[Any] = items if grouped else [{"params": items}]
    allowed = [name for name in OPTIONS if name in known]
    found: dict[Tensor, dict[str, Any]] = {}
    for group in groups:
        options = {name: value for name, value in group.items() if name != "params"}
        wrong = [name for name in options if name not in allowed]
        if wrong or "params" not in group:
            must = f"a group must hold params, and may hold {' and '.join(allowed)}"
            fail(errors.TinyattnError, optimizer, must, f"got {', '.join(map(str, group))}")
        members = group["params"]
        members = list(
            dict.fromkeys([members] if isinstance(members, Tensor) else members)
        )  # tied ones count once
        for w in members:
            _check(optimizer, w)
            if w in found:
                must = "a parameter must be in one group only"
                fail(errors.TinyattnError, optimizer, must, f"got {w!r} twice")
        found |= dict.fromkeys(members, options)
    if not found:
        fail(errors.TinyattnError, optimizer, "there must be parameters to update", "got none", _HINT)
    return [*found], [*found.values()]


_HINT = "For a module pass its parameters()."


def _check(optimizer: str, w: Any) -> None:
    if not isinstance(w, Tensor) or w.op.name != "parameter":
        must = "parameters must come from ta.parameter"
        fail(errors.TinyattnError, optimizer, must, f"got {w!r}", _HINT)
