"""What a picture of a depth draws once: later calls, what they share, layers that learn nothing, blocks that grow; and
what tells two calls from one that another graph has made.
"""

from typing import NamedTuple

import numpy as np

import tinyattn as ta
from tinyattn import nn, viz

rng = np.random.default_rng(0)


def leaf(name, *shape):
    return ta.tensor(rng.standard_normal(shape).astype(np.float32), name=name)


def frames(view):
    return [c.label for c in view.picture.clusters.values() if c.kind == "module"]


def groups(view, phase="forward"):
    return [n.title for n in view.picture.nodes.values() if n.kind == "group" and n.phase == phase]


def network():
    net = nn.Sequential(nn.Linear(4, 4), nn.LeakyReLU(), nn.Linear(4, 4))
    return nn.Sequential(net)


def test_a_later_call_is_one_node_with_the_parameters_that_it_shares():
    net = network()
    y = (net(leaf("x", 2, 4)) * net(leaf("z", 2, 4))).sum()
    view = viz.draw(y, depth=2)
    assert groups(view) == ["1 ⟨LeakyReLU⟩", "0 ⟨Sequential⟩, pass 2"]
    assert frames(view)[0] == "0 ⟨Sequential⟩, pass 1"
    each = viz.draw(y, depth=2, repeats=True)
    assert not groups(each) and "0 ⟨Sequential⟩, pass 2" in frames(each)
    closed = viz.draw(y, depth=0)
    assert groups(closed) == ["parameters of 0", *(f"0 ⟨Sequential⟩, pass {k}" for k in (1, 2))]
    node = next(n for n in closed.picture.nodes.values() if n.op == "parameters")
    assert node.parameters == 4 and node.attrs == "4 parameters"
    assert "∂ parameters of 0" in groups(closed, "gradient")
    users = {closed.picture.nodes[e.target].title for e in closed.picture.edges if e.source == node.id}
    assert {"0 ⟨Sequential⟩, pass 1", "0 ⟨Sequential⟩, pass 2"} <= users


def test_a_layer_that_learns_nothing_is_one_node():
    view = viz.draw(network()(leaf("x", 2, 4)).sum(), depth=2)
    assert groups(view) == ["1 ⟨LeakyReLU⟩"] and groups(view, "gradient") == ["∂ 1 ⟨LeakyReLU⟩"]
    relu = viz.draw(nn.Sequential(nn.ReLU())(leaf("x", 2, 4)).sum(), depth=1)
    assert not groups(relu), "one operation says more than a closed box"


def test_a_cell_whose_weight_is_read_outside_of_a_loop_too_learns():
    class Cell(nn.Module):
        def __init__(self):
            self.weight = ta.parameter(np.ones((4, 4), np.float32))

        def forward(self, h, x):
            return ta.tanh(h @ self.weight + x)

    class Net(nn.Module):
        def __init__(self):
            self.cell = Cell()

        def forward(self, x):
            with ta.scope("decoder"):
                h, _ = ta.scan(lambda h, e: (self.cell(h, e), h), x[0] @ self.cell.weight, x)
            return h

    view = viz.draw(nn.Sequential(Net())(leaf("x", 3, 2, 4)).sum(), depth=9)
    assert not groups(view) and "0.cell ⟨Cell⟩" in frames(view)


class Wider(nn.Module):
    """Hands on what it was given, and two numbers more."""

    def __init__(self, width):
        self.layer = nn.Linear(width, 2)

    def forward(self, x):
        return ta.concat([x, ta.tanh(self.layer(x))], -1)


def test_blocks_that_only_grow_are_one_frame_that_says_so():
    grows = nn.Sequential(*(Wider(4 + 2 * k) for k in range(4)))
    view = viz.draw(grows(leaf("x", 3, 4)).sum(), depth=0)
    assert groups(view) == ["Wider × 4, sizes of the first: 0 … 3"]
    flat = nn.Sequential(*(nn.Linear(4 + k, 5 + k) for k in range(4)))
    assert len(groups(viz.draw(flat(leaf("x", 3, 4)).sum(), depth=0))) == 4, "layers of other sizes are told"
    parts = [Wider(4 + 2 * k) for k in range(3)]
    for k, part in enumerate(parts):
        part._place((f"part{k}",))
    apart = sum(part(leaf(f"x{k}", 3, 4 + 2 * k)).sum() for k, part in enumerate(parts))
    assert len(groups(viz.draw(apart, depth=0))) == 3, "they hand nothing to each other"


def test_blocks_with_others_between_them_are_no_row():
    mixed = nn.Sequential(*(Wider(4 + 2 * k) if k % 2 else nn.Linear(4 + 2 * k, 4 + 2 * k) for k in range(6)))
    layers, width = [], 4
    for k in range(6):
        layers.append(Wider(width) if k % 2 else nn.Linear(width, width))
        width += 2 * (k % 2)
    mixed = nn.Sequential(*layers)
    assert len(groups(viz.draw(mixed(leaf("x", 3, 4)).sum(), depth=0))) == 6


def test_calls_of_other_graphs_are_no_passes_and_two_calls_stay_two():
    class Norm(nn.Module):
        """Several equal operations, and one that reads nothing but leaves."""

        def __init__(self):
            self.weight, self.scale = (ta.parameter(np.ones(4, np.float32)) for _ in range(2))

        def forward(self, x):
            return ta.sqrt(self.weight + 1.0) * x * self.scale

    net = nn.Sequential(Norm())
    once = net(leaf("a", 2, 4)).sum()
    twice = net(net(leaf("b", 2, 4))).sum()
    assert frames(viz.draw(net(leaf("c", 2, 4)).sum())) == ["0 ⟨Norm⟩"]
    for _ in range(2):
        assert frames(viz.draw(net(net(leaf("d", 2, 4))).sum())) == ["0 ⟨Norm⟩, pass 1", "0 ⟨Norm⟩, pass 2"]
    assert frames(viz.draw(once)) == ["0 ⟨Norm⟩"] and len(frames(viz.draw(twice))) == 2


def test_a_part_that_is_called_as_a_module_is_no_pass_of_it():
    class Net(nn.Module):
        def __init__(self):
            self.score = nn.Linear(4, 4)

        def forward(self, x):
            x = ta.tanh(self.score(x))
            with ta.scope("score"):
                return ta.softmax(x) * 2.0

    view = viz.draw(Net()(leaf("x", 2, 4)).sum(), depth=0)
    assert groups(view) == ["score ⟨Linear⟩", "score"]
    assert len(view.picture.nodes) == len({n.id for n in view.picture.nodes.values()})


def test_carries_have_the_names_of_their_fields():
    class State(NamedTuple):
        memory: ta.Tensor
        parts: dict

    def step(state, x):
        memory = state.memory + x
        return State(memory, {"count": state.parts["count"] * 2.0}), None

    begin = State(leaf("begin", 4), {"count": ta.ones((4,))})
    last, _ = ta.scan(step, begin, leaf("x", 3, 4))
    picture = viz.draw((last.memory * last.parts["count"]).sum(), direction="forward").picture
    assert [n.title for n in picture.nodes.values() if n.kind == "carry"] == ["memory", "count"]


def test_normal_numbers_are_one_node():
    x = leaf("x", 2, 4)
    y = (x + ta.random_normal((2, 4))) * ta.random_normal((2, 4))
    labels = groups(viz.draw(y.sum(), depth=0))
    assert labels == ["normal ⟨Box–Muller⟩, pass 1", "normal ⟨Box–Muller⟩, pass 2"]


def test_words_on_arrows_of_large_pictures_lie_beside_them_and_only_signs_at_heads():
    x, y = leaf("x", 6, 4), ta.tensor(np.array([0, 1, 2, 3, 0, 1]), name="y")
    net = nn.Sequential(*(layer for _ in range(4) for layer in (nn.Linear(4, 4), nn.Tanh())))
    source = viz.draw(ta.cross_entropy(net(x), y)).source
    heads, words = (set(map(str.strip, _after(source, word))) for word in ("headlabel=<", " xlabel=<"))
    assert heads == {"ᵀ"} and {"maximum", "log-sum", "weight"} <= words and not any("→" in w for w in words)


def _after(source, word):
    return [part.partition(">")[0] for part in source.split(word)[1:]]
