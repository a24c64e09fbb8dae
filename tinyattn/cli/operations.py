"""The operations that commands are told by name."""

from tinyattn.errors import UsageError
from tinyattn.graph.hints import near
from tinyattn.graph.public import CONSTANT, POINTS


def check_operation(command: str, name: str) -> None:
    """Raise UsageError unless ``name`` is an operation that has a derivative."""
    if name in CONSTANT:
        raise UsageError(f"[{command}] OP must have a derivative, but {name} has none: {CONSTANT[name]}.")
    if name not in POINTS:
        close = near(name.lower(), POINTS)
        advice = f"did you mean {close}?" if close else f"known are {', '.join(sorted(POINTS))}."
        raise UsageError(f"[{command}] OP must be an operation, but got {name!r}: {advice}")
