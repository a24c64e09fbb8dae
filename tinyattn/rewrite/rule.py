"""Rules as data, and the pass that applies them.

A rule looks at one node whose inputs are already rewritten and answers a better node or None. Its soundness
says what it keeps:

``exact``              the same numbers in exact and floating-point arithmetic (but for the sign of zero)
``stabilising``        the same mathematics, with less overflow or rounding
``reorders_rounding``  the same mathematics, other rounding
``assumes_finite``     equal only where no NaN or infinity occurs

The first two are on by default.
"""

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field

from tinyattn.graph import scope
from tinyattn.graph.leaf import constant_value
from tinyattn.graph.op import OPS, Op
from tinyattn.graph.tensor import Tensor, make
from tinyattn.graph.text import to_text
from tinyattn.graph.traverse import rebuild, topological, transform
from tinyattn.graph.verify import VerifyError, verify
from tinyattn.rewrite.bodies import ENTERED, Bodies

DEFAULT_SOUNDNESS = ("exact", "stabilising")


@dataclass(frozen=True)
class Rule:
    """What is told of a change to the graph; ``pattern`` is for readers, e.g. ``"x · 1 → x"``."""

    name: str
    pattern: str
    soundness: str = "exact"


@dataclass(frozen=True)
class NodeRule(Rule):
    """``rewrite(node) -> Tensor or None`` for nodes whose op is in ``ops`` (all if empty)."""

    ops: tuple[str, ...] = ()
    rewrite: Callable[[Tensor], Tensor | None] = lambda node: None
    suits: Callable[[Op], bool] | None = None
    """Of the operations in ``ops`` (or of all), those it can ever apply to; None: all."""
    below: tuple[str, ...] = ()
    """Operations of which one at least must be right below the node for the rule to apply; any, if empty."""


RULES: list[NodeRule] = []
OPEN = Rule("checkpoint", "checkpoint(f)(x) → f(x)")


def rule(name: str, pattern: str, soundness: str, *ops: str, **more):
    """Register a rule for single nodes, ``function(node) -> Tensor or None``."""

    def register(function):
        RULES.append(NodeRule(name, pattern, soundness, ops, function, **more))
        return function

    return register


@dataclass
class Log:
    """What fired, in order: (phase, rule, node before, node after)."""

    steps: list[tuple[str, Rule, Tensor, Tensor]] = field(default_factory=list)

    def counts(self) -> dict[str, int]:
        """How often each rule fired."""
        found: dict[str, int] = {}
        for _, fired, _, _ in self.steps:
            found[fired.name] = found.get(fired.name, 0) + 1
        return found

    def explain(self, limit: int | None = None) -> str:
        """Each step with its rule and the expression before and after."""
        rows = []
        for phase, fired, before, after in self.steps[:limit]:
            rows.append(f"{phase} · {fired.name} ({fired.soundness}): {fired.pattern}")
            rows += ["  - " + line for line in _short(before)] + ["  + " + line for line in _short(after)]
        if limit is not None and len(self.steps) > limit:
            rows.append(f"… and {len(self.steps) - limit} more steps")
        return "\n".join(rows) or "no rule fired"


def _short(node: Tensor) -> list[str]:
    """The last lines of a node's text: the node and what is right below it."""
    return to_text(node).splitlines()[-4:-1]


class Rewriter:
    """Applies rules bottom-up until none fires, inside bodies too."""

    def __init__(
        self,
        rules: Iterable[NodeRule] | None = None,
        soundness: Sequence[str] = DEFAULT_SOUNDNESS,
        log: Log | None = None,
    ):
        sound = [
            candidate for candidate in (RULES if rules is None else rules) if candidate.soundness in soundness
        ]
        sound.sort(key=lambda candidate: not candidate.ops)  # those for all operations come last
        self._sound = sound
        self._by_ops: dict[tuple[str, ...], list[NodeRule]] = {}
        self.log = log if log is not None else Log()

    def _candidates(self, name: str, inputs: Sequence[Tensor]) -> list[NodeRule]:
        """The rules that an operation and those right below it suit: often none."""
        key = (name, *[source.op.name for source in inputs])
        found = self._by_ops.get(key)
        if found is None:
            op, below = OPS[name], set(key[1:])
            found = [
                r for r in self._sound
                if (not r.ops or name in r.ops) and (r.suits is None or r.suits(op))
                and not (r.below and below.isdisjoint(r.below))
            ]  # fmt: skip
            self._by_ops[key] = found
        return found

    def __call__(self, roots: Sequence[Tensor], phase: str) -> list[Tensor]:
        """The rewritten roots, verified."""
        result = self._rewrite(list(roots), phase)
        for before, after in zip(roots, result, strict=True):
            if before.type != after.type:
                raise VerifyError(
                    f"[rewrite] types must be kept, but {before.type} became {after.type} (phase {phase})."
                )
        verify(result, f"phase {phase}")
        return result

    def _rewrite(
        self, roots: list[Tensor], phase: str, settled: Collection[Tensor] = frozenset()
    ) -> list[Tensor]:
        order = topological(roots, settled)
        bodies = Bodies(order, lambda inside, known: self._rewrite(inside, phase, known))

        def change(node: Tensor, inputs: list[Tensor]) -> Tensor:
            name = node.op.name
            if name in ENTERED:
                inner = bodies.enter(node, inputs)
                if inner is not None:
                    if name == "output" and node.inputs[0].op.name == "checkpoint":
                        self.log.steps.append((phase, OPEN, node, inner))
                    return inner
            candidates = self._candidates(name, inputs)
            if not candidates:
                return rebuild(node, inputs)
            with scope.on_behalf_of(node, node.origin):
                return self._apply(rebuild(node, inputs), candidates, phase)

        return transform(roots, change, {node: node for node in settled}, order)

    def _apply(self, node: Tensor, candidates: list[NodeRule], phase: str) -> Tensor:
        # Bounded: each rule makes an expression smaller or more specific, but a cycle must not hang.
        for _ in range(20):
            for candidate in candidates:
                better = candidate.rewrite(node)
                if better is not None and better is not node:
                    if better.shape != node.shape or better.dtype != node.dtype:
                        raise VerifyError(
                            f"[rewrite] types must be kept, but rule {candidate.name!r} turned {node.type} "
                            f"into {better.type}."
                        )
                    self.log.steps.append((phase, candidate, node, better))
                    node = better
                    candidates = self._candidates(node.op.name, node.inputs)
                    break
            else:
                return node
        return node


_REPEATS = ("broadcast_to", "reshape", "transpose", "slice", "stop_gradient")
"""What makes nothing but the numbers of its input."""
NUMBERS = ("constant", *_REPEATS)
"""What may be one number everywhere, see :func:`number`."""


def number(node: Tensor) -> float | None:
    """The number that every element of a node is known to be, if there is one."""
    while node.op.name in _REPEATS:
        node = node.inputs[0]
    if node.op.name != "constant" or node.size == 0:
        return None
    value = constant_value(node)
    first = value.flat[0]
    return first.item() if value.size == 1 or (value == first).all() else None


def spread(node: Tensor, like: Tensor) -> Tensor:
    """A node broadcast to another's shape."""
    return node if node.shape == like.shape else make("broadcast_to", node, shape=like.shape)
