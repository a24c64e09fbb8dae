"""Equal expressions of several modules are one node, which no module loses."""

import numpy as np
import pytest

import tinyattn as ta
from tinyattn import nn, viz

STEPS = (ta.tanh, ta.exp, ta.sigmoid)


class Chain(nn.Module):
    """Functions, one after the other; if it has weights, a product with these at the end."""

    def __init__(self, steps, weighted, seen):
        self.steps, self.seen = steps, seen
        if weighted:
            self.weight = ta.parameter(np.ones((3, 3), np.float32))

    def forward(self, x):
        for step in self.steps:
            x = step(x)
            self.seen.setdefault(x, set()).add(".".join(self._path))
        return x @ self.weight if hasattr(self, "weight") else x


class Group(nn.Module):
    def __init__(self, parts):
        self.parts = nn.ModuleList(parts)

    def forward(self, x):
        return sum(part(x) for part in self.parts)


class Net(nn.Module):
    """Two groups of chains, one by the other."""

    def __init__(self, rng, seen):
        def chain():
            steps = [STEPS[k] for k in rng.integers(0, 2, rng.integers(1, 4))]
            return Chain(steps, rng.random() < 0.4, seen)

        self.left, self.right = (Group([chain() for _ in range(2)]) for _ in range(2))

    def forward(self, x):
        return (self.left(x) * self.right(x)).sum()


def dotted(picture, path):
    return picture.clusters[path[-1]].dotted if path else ""


def common(names):
    """The innermost module around modules; ``left.parts`` only holds some, and is none."""
    parts = [name.split(".") for name in names]
    same = next((k for k in range(4) if len({tuple(p[: k + 1]) for p in parts}) > 1), 4)
    inside = parts[0][:same]
    return ".".join(inside[:-1] if inside[-1:] == ["parts"] else inside)


@pytest.mark.parametrize("seed", range(8))
def test_every_module_that_builds_an_expression_is_told(seed):
    x, seen = ta.tensor(np.ones((2, 3), np.float32), name="x"), {}
    view = viz.draw(Net(np.random.default_rng(seed), seen)(x))
    picture, checked = view.picture, 0
    for ident, values in view.shown.of.items():
        node, names = picture.nodes.get(ident), seen.get(values[0])
        if node is None or names is None:
            continue
        checked += 1
        if len(names) == 1:
            assert (dotted(picture, node.path), node.shared) == (*names, "")
            continue
        assert dotted(picture, node.path) == common(names)
        told = node.shared.partition(" and ")[0].split(", ")
        more = int(node.shared.partition(" and ")[2].removesuffix(" more") or 0)
        assert len(told) + more == len(names) and all(any(n.endswith(t) for n in names) for t in told)
    assert checked >= len(STEPS) - 1
    shared = {v for v, names in seen.items() if len(names) > 1}
    for ident, values in view.shown.of.items():  # the derivative lies beside what it is the derivative of
        origin = values[0].origin
        if ident in picture.nodes and origin in shared:
            assert dotted(picture, picture.nodes[ident].path) == common(seen[origin])


def test_a_picture_tells_of_its_own_graph_alone():
    """Another graph of the same leaf builds the same expressions in modules of other names, before or after."""
    x = ta.tensor(np.ones((2, 3), np.float32), name="x")

    def text():
        y = Net(np.random.default_rng(2), {})(x)
        found = str(viz.draw(y, direction="forward"))
        return found

    alone = text()
    other = Group([Chain(STEPS[:2], True, {}), Chain(STEPS[:1], True, {})])
    for foreign in (other, nn.Sequential(Chain(STEPS[:2], True, {}))):
        before = foreign(x)
        assert text() == alone and before is not None


def test_constants_of_several_modules_lie_around_them():
    class Masked(nn.Module):
        def __init__(self):
            self.weight = ta.parameter(np.ones((3, 3), np.float32))

        def forward(self, x):
            return ta.where(ta.arange(3) * 2 > 1, x @ self.weight, 0.0)

    net = nn.Sequential(Masked(), Masked())
    picture = viz.draw(net(ta.tensor(np.ones((2, 3), np.float32), name="x")).sum()).picture
    mask = [node for node in picture.nodes.values() if node.op == "gt"]
    assert [(node.path, node.shared) for node in mask] == [((), "0, 1")]
