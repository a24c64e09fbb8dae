"""Rules as data, and the pass that applies them.

A rule looks at one node whose inputs are already rewritten and answers a better node or None. Its soundness
says what it keeps:

``exact``              the same numbers in exact and floating-point arithmetic (but for the sign of zero)
``stabilising``        the same mathematics, with less overflow or rounding
``reorders_rounding``  the same mathematics, other rounding
``assumes_finite``     equal only where no NaN or infinity occurs

The first two are on by default.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from tinyattn.graph import scope
from tinyattn.graph.body import Body
from tinyattn.graph.leaf import constant_value
from tinyattn.graph.op import OPS, Op
from tinyattn.graph.tensor import Tensor, make, output
from tinyattn.graph.text import to_text
from tinyattn.graph.traverse import rebuild, topological, transform
from tinyattn.graph.verify import VerifyError, verify

DEFAULT_SOUNDNESS = ("exact", "stabilising")


@dataclass(frozen=True)
class Rule:
    """``rewrite(node) -> Tensor or None`` for nodes whose op is in ``ops`` (all if empty)."""

    name: str
    pattern: str
    soundness: str
    ops: tuple[str, ...]
    rewrite: Callable[[Tensor], Tensor | None]
    suits: Callable[[Op], bool] | None = None
    """Of the operations in ``ops`` (or of all), those it can ever apply to; None: all."""


RULES: list[Rule] = []
OPEN = Rule("checkpoint", "checkpoint(f)(x) → f(x)", "exact", ("output",), lambda node: None)


def rule(name: str, pattern: str, soundness: str, *ops: str, **more):
    """Register a rule; ``pattern`` is for readers, e.g. ``"x · 1 → x"``."""

    def register(function):
        RULES.append(Rule(name, pattern, soundness, ops, function, **more))
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
        rules: Iterable[Rule] | None = None,
        soundness: Sequence[str] = DEFAULT_SOUNDNESS,
        log: Log | None = None,
    ):
        sound = [
            candidate for candidate in (RULES if rules is None else rules) if candidate.soundness in soundness
        ]
        sound.sort(key=lambda candidate: not candidate.ops)  # those for all operations come last
        self.by_op = {
            name: [r for r in sound if (not r.ops or name in r.ops) and (r.suits is None or r.suits(op))]
            for name, op in OPS.items()
        }
        self.log = log if log is not None else Log()

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

    def _rewrite(self, roots: list[Tensor], phase: str, settled: Sequence[Tensor] = ()) -> list[Tensor]:
        asked = asked_stacks(roots)
        scans: dict[Tensor, tuple[Tensor, dict]] = {}
        opened: dict[Tensor, list[Tensor]] = {}

        def change(node: Tensor, inputs: list[Tensor]) -> Tensor:
            if node.op.name == "scan":
                scans[node] = rebuild_scan(
                    node, inputs, asked.get(node, []), lambda r: self._rewrite(r, phase)
                )
                return scans[node][0]
            if node.op.name == "output" and node.inputs[0] in scans:
                new, keys = scans[node.inputs[0]]
                return output(new, keys[node.attrs["key"]])
            if node.op.name == "checkpoint":
                opened[node] = self._rewrite(node.attrs["body"](*inputs), phase, inputs)
                return node
            if node.op.name == "output" and node.inputs[0] in opened:
                inner = opened[node.inputs[0]][node.attrs["key"]]
                self.log.steps.append((phase, OPEN, node, inner))
                return inner
            with scope.on_behalf_of(node, node.origin):
                return self._apply(rebuild(node, inputs), phase)

        return transform(roots, change, {node: node for node in settled})

    def _apply(self, node: Tensor, phase: str) -> Tensor:
        # Bounded: each rule makes an expression smaller or more specific, but a cycle must not hang.
        for _ in range(20):
            for candidate in self.by_op[node.op.name]:
                better = candidate.rewrite(node)
                if better is not None and better is not node:
                    if better.shape != node.shape or better.dtype != node.dtype:
                        raise VerifyError(
                            f"[rewrite] types must be kept, but rule {candidate.name!r} turned {node.type} "
                            f"into {better.type}."
                        )
                    self.log.steps.append((phase, candidate, node, better))
                    node = better
                    break
            else:
                return node
        return node


def asked_stacks(roots: Sequence[Tensor]) -> dict[Tensor, list]:
    """For each scan node below ``roots``, the keys of the outputs that are used."""
    asked: dict[Tensor, list] = {}
    for node in topological(roots):
        if node.op.name == "output" and node.inputs[0].op.name == "scan":
            asked.setdefault(node.inputs[0], []).append(node.attrs["key"])
    return asked


def rebuild_scan(
    node: Tensor, inputs: Sequence[Tensor], keys: list, rewrite: Callable
) -> tuple[Tensor, dict]:
    """A scan with its body rewritten and without the carries, sequences and constants that nothing needs;
    and the new name of each output.
    """
    attrs = node.attrs
    body, n_carries, n_xs = attrs["body"], attrs["carries"], attrs["sequences"]
    stacked = [key[1] for key in keys if key[0] == "stack"]
    roots = rewrite([*body.outputs, *stacked])
    following, values = roots[:n_carries], roots[n_carries:]
    # A carry is alive if its last value is asked for, or a living value depends on it.
    alive = {key[1] for key in keys if key[0] == "final"}
    while True:
        used = set(topological([following[k] for k in sorted(alive)] + values))
        more = {k for k in range(n_carries) if body.arguments[k] in used} | alive
        if more == alive:
            break
        alive = more
    kept = [k for k, a in enumerate(body.arguments) if (k in alive if k < n_carries else a in used)]
    renamed, _ = Body.closing(
        [body.arguments[k] for k in kept], [*(following[k] for k in kept if k < n_carries), *values]
    )
    count = sum(k < n_carries for k in kept)
    with scope.on_behalf_of(node, node.origin):
        new = make(
            "scan",
            *(inputs[k] for k in kept),
            body=Body(renamed.arguments, renamed.outputs[:count]),
            carries=count,
            sequences=sum(n_carries <= k < n_carries + n_xs for k in kept),
            length=attrs["length"],
            reverse=attrs["reverse"],
        )
    names: dict = {("final", k): ("final", i) for i, k in enumerate(kept) if k < n_carries}
    for value, renewed in zip(stacked, renamed.outputs[count:], strict=True):
        names["stack", value] = ("stack", renewed)
    return new, names


_REPEATS = frozenset(["broadcast_to", "reshape", "transpose", "slice", "stop_gradient"])
"""What makes nothing but the numbers of its input."""


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
