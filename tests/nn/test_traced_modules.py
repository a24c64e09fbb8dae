"""Modules in what is traced, a function or the step of a loop: what lasts doesn't change there."""

import numpy as np
import pytest
from modules import equal_states, singles

import tinyattn as ta
from tinyattn import nn


@pytest.mark.parametrize(
    "what", ["assign", "seed", "state", "load module", "load optimizer", "lr", "to", "attribute", "part",
             "del", "append", "eager program", "resume", "new module"],
)  # fmt: skip
@pytest.mark.parametrize("where", ["function", "loop"])
def test_what_lasts_does_not_change_while_something_is_traced(what, where, tmp_path):
    net = nn.Sequential(nn.Linear(3, 3), nn.ModuleList([nn.Dropout()]), nn.ModuleDict({"a": nn.Identity()}))
    optimizer = ta.optim.Adam(net.parameters())
    ta.save(tmp_path / "saved", net, optimizer)
    weights, moments = net.state_dict(), optimizer.state_dict()
    updating = ta.Program([], [], {net[0].bias: net[0].bias + 1})
    net.note = 1
    change = {
        "assign": lambda: net[0].bias.assign(np.zeros(3)),
        "seed": lambda: ta.manual_seed(3),
        "state": lambda: ta.set_random_state(np.array([1, 2])),
        "load module": lambda: net.load_state_dict(weights),
        "load optimizer": lambda: optimizer.load_state_dict(moments),
        "lr": lambda: setattr(optimizer, "lr", 0.5),
        "to": lambda: net.to(np.float64),
        "attribute": lambda: setattr(net, "note", 2),
        "part": lambda: setattr(net, "0", nn.Identity()),
        "del": lambda: net[2].__delitem__("a"),
        "append": lambda: net[1].append(net[0]),
        "eager program": lambda: updating.run(),
        "resume": lambda: ta.load(tmp_path / "saved", net, optimizer),
        "new module": lambda: nn.Linear(2, 2),
    }[what]
    if what == "new module" and where == "loop":
        where = "compiled loop"  # (it may as well be made in a loop, which is once)

    def loop(x):
        def step(carry, row):
            change()
            return carry, row

        return ta.scan(step, ta.zeros(()), x)[1]

    def body(x):
        change()
        return x * 2

    before = (net.state_dict(), optimizer.state_dict(), ta.random_state(), repr(net), net.note, net.training)
    compiled = ta.function(loop)
    functions = {"function": [ta.function(body)], "loop": [compiled, loop], "compiled loop": [compiled]}
    for function in functions[where]:
        with pytest.raises(
            ta.TinyattnError, match="must (not change what lasts|change nothing but)"
        ) as caught:
            function(singles(4, 3))
        assert len(str(caught.value).splitlines()) == 3
        after = (
            net.state_dict(),
            optimizer.state_dict(),
            ta.random_state(),
            repr(net),
            net.note,
            net.training,
        )
        equal_states(before[0], after[0])
        equal_states(before[1], after[1])
        assert np.array_equal(before[2], after[2]) and before[3:] == after[3:]
    change()  # outside it may


def test_what_is_made_in_a_trace_may_change_in_it():
    @ta.function
    def normalised(x):
        layer = nn.LayerNorm(3)
        layer.note = 1
        layer.note = 2
        layer.weight.assign(np.full(3, 2.0))
        return layer.eval()(x)

    x = singles(4, 3)
    right = nn.LayerNorm(3)(x).numpy() * 2
    np.testing.assert_allclose(normalised(x), right, rtol=1e-6)


def test_a_mode_that_a_function_sets_is_set_at_each_call():
    net = nn.Sequential(nn.Dropout(0.5))
    evaluated = ta.function(lambda x: net.eval()(x))
    trained = ta.function(lambda x: net.train()(x))
    x = np.ones((40, 3), np.float32)
    for _ in range(2):
        assert (evaluated(x) == 1).all() and not net.training
        assert (trained(x) != 1).all() and net.training
    asked = ta.function(lambda x: (net.eval(), x)[1])
    for _ in range(2):
        net.train()
        asked(x)
        assert not net.training


def test_an_expression_kept_by_a_module_says_that_it_belongs_to_the_trace():
    class Attention(nn.Module):
        def forward(self, x):
            self.weights = ta.softmax(x)
            return self.weights.sum(0)

    net = Attention()
    x = ta.tensor(singles(4, 3))
    ta.function(net)(x)
    with pytest.raises(ta.TinyattnError, match="a value can be had only outside"):
        net.weights.numpy()
    net(x)
    assert net.weights.numpy().shape == (4, 3)


def test_an_assignment_in_a_loop_is_refused_as_it_would_happen_once():
    count = ta.tensor(np.zeros(()))

    def loop(x):
        def step(carry, row):
            ta.assign(count, count + 1)
            return carry, row

        return ta.scan(step, ta.zeros(()), x)[1]

    for function in (loop, ta.function(loop)):
        with pytest.raises(ta.TinyattnError, match=r"^\[assign\] the step of a loop must change nothing"):
            function(singles(4, 3))
    assert float(count) == 0
