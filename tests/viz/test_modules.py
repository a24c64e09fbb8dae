"""Modules in pictures: frames with class and path, passes, depth, and parameters inside of their layers."""

import numpy as np

import tinyattn as ta
from tinyattn import nn, viz
from tinyattn.graph.traverse import topological
from tinyattn.rewrite.rule import Log
from tinyattn.runtime.program import optimize
from tinyattn.viz import collapse

rng = np.random.default_rng(0)


def leaf(name, *shape):
    return ta.tensor(rng.standard_normal(shape).astype(np.float32), name=name)


def frames(picture):
    return [c.label for c in picture.clusters.values() if c.kind == "module"]


def groups(view):
    return [n.title for n in view.picture.nodes.values() if n.kind == "group"]


class Layer(nn.Module):
    def __init__(self):
        self.inner = nn.Linear(4, 4)

    def forward(self, x):
        return x + ta.tanh(self.inner(x))


class Net(nn.Module):
    def __init__(self, count=3, passes=1):
        self.layers = nn.ModuleList(Layer() for _ in range(count))
        self.out = nn.Linear(4, 4)
        self.passes = passes

    def forward(self, x):
        for layer in self.layers:
            x = layer(x)
        for _ in range(self.passes):
            x = self.out(x)
        return x


def test_frames_say_path_and_class():
    picture = viz.draw(Net(2)(leaf("x", 2, 4)).sum()).picture
    assert frames(picture) == [
        "layers.0 ⟨Layer⟩", "inner ⟨Linear⟩", "layers.1 ⟨Layer⟩", "inner ⟨Linear⟩", "out ⟨Linear⟩",
    ]  # fmt: skip
    assert list(picture.clusters) == ["layers.0", "layers.0/inner", "layers.1", "layers.1/inner", "out"]


def test_a_list_of_layers_is_no_level_of_depth():
    view = viz.draw(Net(2)(leaf("x", 2, 4)).sum(), depth=1, direction="forward")
    assert view.picture.depth == 1 and frames(view.picture)[0] == "layers.0 ⟨Layer⟩"
    assert groups(view) == ["inner ⟨Linear⟩", "inner ⟨Linear⟩"]
    adds = [n for n in view.picture.nodes.values() if n.op == "add"]
    assert [n.equation for n in adds][:1] == ["layers = x + tanh(inner)"], (
        "the residual arrow is there to be seen"
    )


class Words(nn.Module):
    """Its variables are called as the module that holds it."""

    def __init__(self):
        self.words = nn.Linear(4, 4)

    def forward(self, x, length):
        words = self.words(x)
        words = words * ta.tanh(words)
        return ta.where(ta.arange(4) < length, words, 0)


def test_names_that_are_invented_are_nobody_elses():
    net = nn.ModuleDict({"words": Words()})
    out = net["words"](leaf("x", 3, 4), ta.tensor(2, name="length"))
    picture = viz.draw(out).picture
    called = [node.name for node in picture.nodes.values() if node.name]
    assert {"words", "words₂"} <= set(called) and len(called) == len(set(called))


def test_a_module_called_three_times_is_three_passes():
    net = Net(0, passes=3)
    y = net(leaf("x", 2, 4)).sum()
    view = viz.draw(y, depth=0)
    picture = view.picture
    assert groups(view)[:4] == ["parameters of out", *(f"out ⟨Linear⟩, pass {k}" for k in (1, 2, 3))], (
        "what all passes share is drawn once, outside of them"
    )
    arrows = {
        (picture.nodes[e.source].title, picture.nodes[e.target].title)
        for e in picture.edges
        if e.kind == "data"
    }
    assert ("out ⟨Linear⟩, pass 1", "out ⟨Linear⟩, pass 2") in arrows
    assert not [pair for pair in arrows if pair[::-1] in arrows], "no cycle"


def test_a_picture_has_the_passes_of_its_own_graph_alone():
    """What another graph has made of the same leaves before has the other graph's calls in its path."""
    x = leaf("x", 2, 4)
    first, second = Net(1), nn.Sequential(Layer(), nn.Linear(4, 4))

    def labels():
        picture = viz.draw(second(x).sum(), depth=0).picture
        return [(n.title, n.attrs, n.formula) for n in picture.nodes.values()]

    alone = labels()
    kept = [second[0](x).sum() for _ in range(2)], first(x).sum(), ta.tanh(second[0](x))
    assert labels() == alone and kept


def test_parameters_lie_in_their_layers():
    x = leaf("x", 2, 4)
    y = Net(1)(x).sum()
    view = viz.draw(y)
    assert not [n for n in view.picture.nodes.values() if n.kind == "parameter"]
    held = [row for n in view.picture.nodes.values() if n.phase == "forward" for row in n.held]
    assert held == ["weight (4, 4)", "bias (4,)"] * 2
    found = [row for n in view.picture.nodes.values() if n.phase == "gradient" for row in n.held]
    assert sorted(found) == ["∂y/∂bias (4,)", "∂y/∂bias (4,)", "∂y/∂weight (4, 4)", "∂y/∂weight (4, 4)"]
    apart = viz.draw(y, parameters=True).picture
    assert [n.title for n in apart.nodes.values() if n.kind == "parameter"] == ["weight", "bias"] * 2
    saved = [e.label for e in view.picture.edges if e.kind == "saved" and e.label.startswith("weight")]
    assert len(saved) == 2, "the derivative reads the weights"


def test_what_is_differentiated_by_is_a_node_of_its_own():
    net, x = Net(1), leaf("x", 2, 4)
    picture = viz.draw(net(x).sum(), wrt=[net.out.weight]).picture
    assert [n.title for n in picture.nodes.values() if n.kind in ("parameter", "result")] == [
        "weight",
        "∂y/∂weight",
    ]


def test_groups_say_what_comes_in_and_out_and_how_much_it_is():
    view = viz.draw(Net(1)(leaf("x", 64, 4)).sum(), depth=0, direction="forward")
    layer = next(n for n in view.picture.nodes.values() if n.title == "layers.0 ⟨Layer⟩")
    assert layer.takes == layer.types == ["f32 (64, 4)"] and layer.attrs == "4 ops, 2 parameters"
    assert layer.bytes == 4 * 64 * 4 * 4 and "f32 (64, 4) → f32 (64, 4) · 4 KB" in view.source


def test_equal_blocks_are_drawn_once():
    y = Net(12)(leaf("x", 2, 4)).sum()
    view = viz.draw(y, depth=1)
    assert frames(view.picture) == ["Layer × 12: layers.0 … layers.11", "out ⟨Linear⟩"]
    loops = [e for e in view.picture.edges if e.kind == "loop"]
    nodes = view.picture.nodes
    forward = [e for e in loops if nodes[e.source].phase == "forward"]
    assert {(nodes[e.source].op, nodes[e.target].title) for e in forward} == {("add", "inner ⟨Linear⟩")}
    assert loops[len(forward) :] and all(nodes[e.source].phase == nodes[e.target].phase for e in loops)
    closed = viz.draw(y, depth=0)
    block = next(n for n in closed.picture.nodes.values() if n.title == "Layer × 12: layers.0 … layers.11")
    assert block.attrs == "48 ops, 24 parameters" and block.takes == block.types == ["f32 (2, 4)"]
    data = {
        (n, m)
        for n, m, kind in ((e.source, e.target, e.kind) for e in closed.picture.edges)
        if kind == "data"
    }
    assert {source for source, target in data if target == block.id} == {
        n.id for n in nodes.values() if n.title == "x"
    }
    each = viz.draw(y, depth=0, repeats=True)
    assert [title for title in groups(each) if title[:1] == "l"] == [f"layers.{k} ⟨Layer⟩" for k in range(12)]
    assert len(viz.draw(y).picture.nodes) > 100, "without a depth everything is there"


def test_blocks_that_differ_are_not_drawn_as_one():
    class Other(Layer):
        def forward(self, x):
            return x + ta.sigmoid(self.inner(x))

    net = Net(6)
    setattr(net.layers, "2", Other())
    labels = groups(viz.draw(net(leaf("x", 2, 4)).sum(), depth=0, direction="forward"))
    assert labels == [
        "layers.0 ⟨Layer⟩", "layers.1 ⟨Layer⟩", "layers.2 ⟨Other⟩", "Layer × 3: layers.3 … layers.5", "out ⟨Linear⟩",
    ]  # fmt: skip


def test_what_goes_into_all_blocks_and_what_comes_out_of_all():
    """Heads side by side: nothing goes from one to the next."""
    heads = nn.Sequential(*(nn.Linear(4, 2) for _ in range(5)))
    x = leaf("x", 3, 4)
    view = viz.draw(ta.concat([head(x) for head in heads], -1), depth=0, direction="forward")
    assert groups(view) == ["Linear × 5: 0 … 4"]
    edges = [(e.kind, e.operands) for e in view.picture.edges]
    assert edges == [("data", []), ("data", [0, 1, 2, 3, 4])]


def test_a_gpt_of_twelve_layers_shows_one_block_with_its_parts():
    config = ta.models.GPT.Config(vocab_size=9, block_size=4, n_layer=12, n_head=1, n_embd=4)
    ids, targets = (ta.tensor(np.zeros((1, 4), np.int64), name=name) for name in ("ids", "targets"))
    y = ta.models.GPT(config).loss(ids, targets)
    view = viz.draw(y, depth=2, direction="forward")
    assert "Block × 12: h.0 … h.11" in frames(view.picture)
    inside = [n for n in view.picture.nodes.values() if "transformer/h.0" in n.path]
    assert [n.title for n in inside] == [
        "ln_1 ⟨LayerNorm⟩", "attn ⟨CausalSelfAttention⟩", "add", "ln_2 ⟨LayerNorm⟩", "mlp ⟨MLP⟩", "add",
    ]  # fmt: skip
    ids_ = [n.id for n in inside]
    arrows = {(e.source, e.target) for e in view.picture.edges if e.kind == "data"}
    assert (ids_[2], ids_[5]) in arrows and (ids_[2], ids_[3]) in arrows, "both residual arrows"
    assert len(viz.draw(y, depth=1).picture.nodes) < 30


def test_flat_code_folds_by_stretches_of_its_lines():
    """A program without modules, of more lines than a picture can show, stays a chain of boxes that say which lines."""
    source = "\n".join(
        ["def run(ta, x):", *(f"    x = ta.tanh(x * {k + 2}.0)" for k in range(300)), "    return x"]
    )
    space: dict = {}
    exec(compile(source, "/nowhere/flat.py", "exec"), space)
    picture = collapse.fit(viz.draw(space["run"](ta, leaf("x", 4)).sum()).picture, 100)
    assert "neighbouring source lines are one node each" in picture.notes[0]
    titles = [n.title for n in picture.nodes.values() if n.kind == "group" and n.phase == "forward"]
    assert titles[:2] == ["flat.py:2–14", "flat.py:15–27"] and 20 < len(titles) <= collapse.STRETCHES
    chain = [n.id for n in picture.nodes.values() if n.kind == "group" and n.phase == "forward"]
    data = {(e.source, e.target) for e in picture.edges if e.kind == "data"}
    assert set(zip(chain, chain[1:], strict=False)) <= data


class Step(nn.Module):
    def __init__(self):
        self.w = nn.Linear(4, 4)

    def forward(self, h, x):
        return ta.tanh(self.w(h) + x)


class Loop(nn.Module):
    def __init__(self, name):
        self.name = name
        setattr(self, name, Step())

    def forward(self, x):
        step = getattr(self, self.name)
        return ta.scan(lambda h, e: (step(h, e), h), ta.zeros((3, 4)), x)[0]


def test_equal_steps_of_two_modules_lie_in_their_own_modules():
    first, second = Loop("cell"), Loop("other")
    x = leaf("x", 2, 3, 4)
    with ta.scope("left"):
        left = first(x)
    with ta.scope("right"):
        right = second(x)
    picture = viz.draw((left + right).sum()).picture
    for phase in ("forward", "gradient"):
        places = {
            ".".join(picture.clusters[ident].label.split(" ")[0] for ident in node.path)
            for node in picture.nodes.values()
            if node.phase == phase and node.op in ("tanh", "matmul", "mul")
        }
        assert {"left", "right"} <= {place.split(".")[0] for place in places if place}
        inside = {place for place in places if "scan" in place}
        assert any(p.startswith("left") and ".cell" in p for p in inside), inside
        assert any(p.startswith("right") and ".other" in p for p in inside), inside
        assert not [p for p in inside if p.startswith("right") and "cell" in p]


def test_a_program_takes_equal_steps_of_two_modules_once():
    step = Step()
    x = leaf("x", 2, 3, 4)

    def both(*names):
        found = []
        for name in names:
            with ta.scope(name):
                found.append(ta.scan(lambda h, e: (step(h, e), h), ta.zeros((3, 4)), x)[0])
        loss = (found[0] * found[1]).sum()
        roots = [loss, ta.grad(loss, x)]
        return sum(n.op.name == "scan" for n in topological(optimize(roots, Log())))

    assert both("left", "right") == both("left", "left")


def test_a_loop_that_another_graph_has_made_before_is_no_second_pass():
    class Net(nn.Module):
        def __init__(self):
            self.loop = Loop("cell")
            self.out = nn.Linear(4, 4)

        def forward(self, x):
            return self.out(self.loop(x))

    x = leaf("x", 2, 3, 4)
    kept = Net()(x)
    labels = frames(viz.draw(Net()(x).sum()).picture)
    assert kept is not None and not [label for label in labels if "pass" in label], labels


def test_a_view_that_another_graph_has_made_before_is_no_second_pass():
    class Places(nn.Module):
        def __init__(self):
            self.weight = ta.parameter(np.ones((5, 4), np.float32))

        def forward(self, x):
            return ta.tanh(x + self.weight[:2])

    net, first, second = nn.Sequential(Places()), leaf("x", 2, 4), leaf("x₂", 2, 4)
    kept = net(first)
    labels = frames(viz.draw(net(second).sum()).picture)
    assert kept is not None and labels == ["0 ⟨Places⟩"]


def test_a_step_that_another_graph_has_traced_before_is_no_second_pass():
    net, x = nn.Sequential(nn.LSTM(4, 4)), leaf("x", 2, 3, 4)
    kept = net(x)[0].sum()
    labels = frames(viz.draw((net(x * 2.0)[0] * 3.0).sum()).picture)
    assert kept is not None and not [label for label in labels if "pass" in label], labels
