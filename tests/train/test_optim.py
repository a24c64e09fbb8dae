"""Optimizers against torch, live and recorded; schedules, clipping, skipped updates, resumption, errors."""

import make_fixtures
import numpy as np
import pytest

import tinyattn as ta
from tinyattn import errors, nn
from tinyattn.train import optim
from tinyattn.train.optim import schedules


def loss_of(w, v, a, b, c):
    return ta.mean((a @ w - b) ** 2) + ta.cos(c * v).sum()


class Run:
    """The problem of the fixtures under one optimizer, compiled or not."""

    def __init__(self, kind, dtype=np.float64, compiled=True, **options):
        start, self.data = make_fixtures.problem(dtype)
        self.w, self.v = (ta.parameter(array, name=name) for name, array in start.items())
        self.optimizer = getattr(optim, kind)([self.w, self.v], **options)
        self.step = (
            ta.function(self.update) if compiled else lambda *arrays: self.update(*map(ta.tensor, arrays))
        )

    def update(self, a, b, c):
        return self.optimizer.minimize(loss_of(self.w, self.v, a, b, c))

    def go(self, count=make_fixtures.UPDATES):
        """That many updates, from where the last ones ended; the norms of the gradients."""
        done = int(self.optimizer.steps)
        return np.array([float(self.step(*arrays)) for arrays in self.data[done : done + count]])

    def values(self):
        return {"w": self.w.numpy(), "v": self.v.numpy()}


def check(name, expected, dtype, tolerance):
    kind, options = make_fixtures.OPTIMIZERS[name]
    run = Run(kind, dtype, **options)
    norms = run.go()
    found = {**run.values(), "norms": norms}
    for key, array in expected.items():
        scale = max(1, np.abs(array).max())
        assert found[key].shape == array.shape
        assert np.abs(found[key] - array).max() <= tolerance * scale, key
    assert int(run.optimizer.steps) == make_fixtures.UPDATES


@pytest.mark.parametrize("name", make_fixtures.OPTIMIZERS)
@pytest.mark.parametrize("dtype, tolerance", [(np.float64, 1e-12), (np.float32, 1e-6)])
def test_optimizers_are_those_of_torch(name, dtype, tolerance):
    pytest.importorskip("torch")
    check(name, make_fixtures.optimize(name, dtype), dtype, tolerance)


@pytest.mark.parametrize("name", make_fixtures.OPTIMIZERS)
def test_optimizers_are_those_recorded(name):
    check(name, make_fixtures.recorded("optimizers.npz", name), np.float64, 1e-12)


def test_graves_rmsprop_is_that_of_the_paper():
    run = Run("GravesRMSprop", lr=0.01)
    expected = {name: array.copy() for name, array in run.values().items()}
    moments = {name: np.zeros((3, *array.shape)) for name, array in expected.items()}
    for a, b, c in run.data:
        gradients = {
            "w": 2 * a.T @ (a @ expected["w"] - b) / b.size,
            "v": -c * np.sin(c * expected["v"]),
        }
        for name, g in gradients.items():
            n, m, delta = moments[name]
            n = 0.95 * n + 0.05 * g**2  # equation 38
            m = 0.95 * m + 0.05 * g  # 39
            delta = 0.9 * delta - 0.01 * g / np.sqrt(n - m**2 + 1e-4)  # 40
            moments[name] = np.stack([n, m, delta])
            expected[name] += delta  # 41
    run.go()
    for name, array in run.values().items():
        np.testing.assert_allclose(array, expected[name], rtol=1e-11)


@pytest.mark.parametrize(
    "kind, options", [("RMSprop", {"alpha": 0.5, "centered": True}), ("GravesRMSprop", {"rho": 0.5})]
)
def test_a_constant_gradient_does_not_give_a_negative_variance(kind, options):
    w = ta.parameter(np.zeros(200, np.float32))
    slope = np.linspace(1, 3000, 200, dtype=np.float32)
    optimizer = getattr(optim, kind)([w], lr=1e-6, **options)
    step = ta.function(lambda slope: optimizer.minimize((w * slope).sum()))
    for _ in range(60):
        step(slope)
    state = optimizer.state_dict()
    assert (state["square_avg.0"] < state["grad_avg.0"] ** 2).any()  # by rounding, in float32
    assert np.isfinite(w.numpy()).all()


def test_updates_outside_a_compiled_function_happen_at_once():
    options = {"lr": 0.05, "clip_norm": 0.5}
    compiled, eager = Run("Adam", **options), Run("Adam", compiled=False, **options)
    np.testing.assert_allclose(compiled.go(5), eager.go(5), rtol=1e-12)
    for name, array in compiled.values().items():
        np.testing.assert_allclose(array, eager.values()[name], rtol=1e-12)
    assert int(eager.optimizer.steps) == 5


def test_update_takes_gradients_computed_elsewhere():
    one, two = Run("SGD", lr=0.1), Run("SGD", lr=0.1)
    one.go(1)
    a, b, c = two.data[0]
    halves = [ta.grad(loss_of(two.w, two.v, a, b, c) * share, [two.w, two.v]) for share in (0.25, 0.75)]
    two.optimizer.update([left + right for left, right in zip(*halves, strict=True)])
    np.testing.assert_allclose(one.w.numpy(), two.w.numpy(), rtol=1e-12)


def test_parameters_of_both_types_and_of_no_axes():
    single, double = ta.parameter(np.float32(3)), ta.parameter(np.array([4.0, 0.0]))
    optimizer = optim.SGD([single, double], lr=0.5, clip_norm=1.0)
    norm = optimizer.minimize(ta.cast(single * single / 2, np.float64) + (double * double).sum() / 2)
    assert float(norm) == 5
    np.testing.assert_allclose(single.numpy(), 3 - 0.5 * 3 / 5, rtol=1e-6)
    np.testing.assert_allclose(double.numpy(), [4 - 0.5 * 4 / 5, 0], rtol=1e-6)


def test_every_update_is_one_elementwise_chain():
    """Between a gradient and the new value only elementwise operations have the parameter's shape."""
    for name, (kind, options) in make_fixtures.OPTIMIZERS.items():
        run = Run(kind, **options)
        graph = ta.function(run.update).graph(*run.data[0])
        for leaf in (run.w, run.v):
            waiting, seen = [graph.updates[leaf]], set()
            while waiting:
                node = waiting.pop()
                if node in seen or node.scope != (kind,):
                    continue
                seen.add(node)
                if node.shape == leaf.shape:
                    assert node.op.elementwise or node.op.name == "broadcast_to", (name, node.op.name)
                    waiting.extend(node.inputs)
                else:
                    assert node.shape == (), (name, node.op.name)
            assert seen


# Learning rates


def test_the_rate_is_state_that_a_compiled_step_reads():
    run = Run("SGD", lr=0.1)
    run.go(1)
    before = run.w.numpy()
    run.optimizer.lr = 0.0
    run.go(1)
    assert np.array_equal(run.w.numpy(), before) and float(run.optimizer.lr) == 0
    run.optimizer.lr = 0.3
    run.go(1)
    assert not np.array_equal(run.w.numpy(), before) and float(run.optimizer.lr) == 0.3
    assert len(run.step._compiled) == 1


SCHEDULES = {
    "constant": (schedules.constant(0.3), lambda s: 0.3),
    "warm-up": (schedules.linear_warmup(0.4, 4), lambda s: min((s + 1) / 4, 1) * 0.4),
    "linear": (schedules.linear_warmup(0.4, 0, 10), lambda s: 0.4 * max(1 - s / 10, 0)),
    "linear-floor": (
        schedules.linear_warmup(0.4, 2, 10, floor=0.1),
        lambda s: (s + 1) * 0.2 if s < 2 else 0.1 + 0.3 * max((10 - s) / 8, 0),
    ),
    "cosine": (schedules.cosine(0.4, 12), lambda s: 0.2 * (1 + np.cos(np.pi * min(s, 12) / 12))),
    "cosine-warm-up": (
        schedules.cosine(0.4, 12, 2, 0.1),
        lambda s: (s + 1) * 0.2 if s < 2 else 0.1 + 0.15 * (1 + np.cos(np.pi * min((s - 2) / 10, 1))),
    ),
    "noam": (schedules.noam(64, 5, 2.0), lambda s: 2 / 8 * min((s + 1) ** -0.5, (s + 1) * 5**-1.5)),
}


@pytest.mark.parametrize("name", SCHEDULES)
def test_schedules_are_their_formulas_for_numbers_and_tensors(name):
    schedule, expected = SCHEDULES[name]
    compiled = ta.function(lambda step: schedule(step))
    for step in range(16):
        assert isinstance(schedule(step), float)
        np.testing.assert_allclose(schedule(step), expected(step), rtol=1e-12, atol=1e-15)
        found = compiled(np.int64(step))
        assert found.dtype == np.float64
        np.testing.assert_allclose(found, schedule(step), rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(compiled(np.float32(3)), schedule(3), rtol=1e-12)


def test_a_schedule_sets_the_rate_inside_the_program():
    schedule = schedules.cosine(0.1, 8, warmup_steps=2)
    run, by_hand = Run("Adam", lr=schedule), Run("Adam", lr=0.0)
    assert float(run.optimizer.lr) == schedule(0)
    for step in range(10):
        run.go(1)
        by_hand.optimizer.lr = schedule(step)
        by_hand.go(1)
        np.testing.assert_allclose(float(run.optimizer.lr), schedule(step), rtol=1e-12, atol=1e-17)
    np.testing.assert_allclose(run.w.numpy(), by_hand.w.numpy(), rtol=1e-12)
    with pytest.raises(
        errors.TinyattnError, match="must be set by the schedule, but got an assignment of 0.1"
    ):
        run.optimizer.lr = 0.1


# What goes wrong


@pytest.mark.parametrize("bad", [np.inf, np.nan])
@pytest.mark.parametrize("options", [{}, {"clip_norm": 1.0}, {"clip_value": 1.0}])
def test_an_update_that_is_not_finite_changes_nothing(bad, options):
    run, clean = (Run("Adam", lr=schedules.linear_warmup(0.1, 3), **options) for _ in range(2))
    run.go(2), clean.go(2)
    before = run.optimizer.state_dict() | run.values()
    a, b, c = (array.copy() for array in run.data[5])
    c[1] = bad
    assert not np.isfinite(run.step(a, b, c))
    after = run.optimizer.state_dict() | run.values()
    del before["lr"], after["lr"]
    assert all(np.array_equal(before[name], after[name]) for name in before)
    run.go(2), clean.go(2)
    assert np.array_equal(run.w.numpy(), clean.w.numpy())
    careless = Run("Adam", skip_nonfinite=False, **options)
    careless.step(a, b, c)
    assert int(careless.optimizer.steps) == 1
    assert np.isnan(careless.v.numpy()).any() or options == {"clip_value": 1.0}


@pytest.mark.parametrize("name", ["adam-options", "rmsprop-all", "sgd-nesterov", "adadelta"])
def test_resuming_is_exact(name):
    kind, options = make_fixtures.OPTIMIZERS[name]
    options = options | {"lr": schedules.cosine(0.1, 15)}
    whole, first, second = (Run(kind, np.float32, **options) for _ in range(3))
    whole.go(16)
    first.go(7)
    state, weights = first.optimizer.state_dict(), first.values()
    first.go(3)  # the state holds copies
    second.optimizer.load_state_dict(state)
    second.w.assign(weights["w"]), second.v.assign(weights["v"])
    second.go(9)
    for name, array in whole.optimizer.state_dict().items():
        assert np.array_equal(array, second.optimizer.state_dict()[name]), name
    assert np.array_equal(whole.w.numpy(), second.w.numpy())


def test_state_dicts_go_by_names_or_numbers():
    run = Run("Adam")
    assert {name: array.shape for name, array in run.optimizer.state_dict().items()} == {
        "steps": (), "lr": (),
        "exp_avg.w": (3, 4), "exp_avg.v": (5,), "exp_avg_sq.w": (3, 4), "exp_avg_sq.v": (5,),
    }  # fmt: skip
    nameless = optim.RMSprop([ta.parameter(np.zeros(2)), ta.parameter(np.zeros(3))], centered=True)
    assert list(nameless.state_dict()) == [
        "steps",
        "lr",
        "square_avg.0",
        "square_avg.1",
        "grad_avg.0",
        "grad_avg.1",
    ]
    before = run.optimizer.state_dict()
    with pytest.raises(errors.CheckpointError) as error:
        run.optimizer.load_state_dict(Run("SGD", momentum=0.9).optimizer.state_dict())
    assert str(error.value).splitlines()[0] == (
        "[load_state_dict] names and shapes must be those of this Adam, but 4 are missing: exp_avg.w (3, 4), "
        "exp_avg.v (5,), exp_avg_sq.w (3, 4) and 1 more; "
        "2 are unexpected: momentum_buffer.w (3, 4), momentum_buffer.v (5,)."
    )
    assert all(np.array_equal(before[name], array) for name, array in run.optimizer.state_dict().items())


def test_optimizers_refuse_what_cannot_be():
    w = ta.parameter(np.zeros(2), name="w")

    def refused(match, make, error=errors.TinyattnError):
        with pytest.raises(error, match=match):
            make()

    refused(r"\[SGD\] there must be parameters to update, but got none\.", lambda: optim.SGD([]))
    refused(
        r"\[SGD\] parameters must come from ta\.parameter, but",
        lambda: optim.SGD([ta.tensor(np.zeros(2))]),
    )
    refused(r"\[Adam\] lr must be at least 0, but got -1\.", lambda: optim.Adam([w], lr=-1))
    refused(
        r"\[Adam\] betas must be in \[0, 1\), but got \(0\.9, 1\)\.",
        lambda: optim.Adam([w], betas=(0.9, 1)),
    )
    refused(
        r"\[SGD\] momentum must be positive with nesterov, but got 0\.0",
        lambda: optim.SGD([w], nesterov=True),
    )
    refused(r"\[SGD\] clip_norm must be positive, but got 0\.", lambda: optim.SGD([w], clip_norm=0))
    for name, make in {
        "SGD": lambda: optim.SGD([w], weight_decay=-5.0),
        "Adam": lambda: optim.Adam([w], eps=-1.0),
        "AdamW": lambda: optim.AdamW([w], betas=(0.9,)),
        "RMSprop": lambda: optim.RMSprop([w], momentum="1"),
        "Adadelta": lambda: optim.Adadelta([w], rho=np.nan),
        "GravesRMSprop": lambda: optim.GravesRMSprop([w], momentum=-1),
    }.items():
        refused(rf"\[{name}\] (weight_decay|eps|betas|momentum|rho) must be ", make)
    refused(r"\[Adam\] betas must be two numbers, but got 0\.9", lambda: optim.Adam([w], betas=0.9))
    refused(r"\[Adam\] clip_norm must be positive, but got '1'", lambda: optim.Adam([w], clip_norm="1"))
    refused(r"\[Adam\] lr must be a number, but got 'a'", lambda: setattr(optim.Adam([w]), "lr", "a"))
    decaying = {"params": [w], "weight_decay": lambda step: 0.1}
    refused(r"\[AdamW\] weight_decay must be a number, but got <function", lambda: optim.AdamW([decaying]))
    refused(
        r"\[SGD\] clip_norm or clip_value must be left out, but got 1 and 2\.",
        lambda: optim.SGD([w], clip_norm=1, clip_value=2),
    )
    refused(
        r"\[schedule\] warmup_steps must lie in 0\.\.total_steps − 1, but got 5 of 5",
        lambda: schedules.cosine(1, 5, 5),
    )
    refused(
        r"\[schedule\] d_model and warmup_steps must be positive, but got 0 and 5",
        lambda: schedules.noam(0, 5),
    )
    optimizer = optim.SGD([w])
    refused(
        r"\[SGD\] there must be a gradient for each of 1 parameters, but got 2",
        lambda: optimizer.update([w, w]),
    )
    refused(
        r"\[SGD\] the gradient of w must be f64\[2\], but got f64\[1\]\.",
        lambda: optimizer.update([w[:1]]),
        errors.ShapeError,
    )

    refused(
        r"\[SGD\] the gradient of w must be f64\[2\], but got f32\[2\]\.",
        lambda: optimizer.update([ta.tensor(np.zeros(2, np.float32))]),
        errors.ShapeError,
    )
    wrong = r"\[SGD\] the gradients must be a list of Tensors, in the order of the parameters, but got "
    for given, got in [
        (w, "Tensor"), ({"w": w}, "dict"), (iter([w]), "list_iterator"), (None, "NoneType"),
        ([np.zeros(2)], "ndarray in it"), ([None], "NoneType in it"),
    ]:  # fmt: skip
        refused(wrong + got, lambda given=given: optimizer.update(given), errors.DTypeError)
    other = ta.parameter(np.ones(2))
    for function in (lambda f: f(), lambda f: ta.function(f)()):
        refused(
            r"\[SGD\] the loss must depend on a parameter of the optimizer, but it depends on none",
            lambda f=function: f(lambda: optimizer.update(ta.grad((other * 2).sum(), [w]))),
        )
    assert int(optimizer.steps) == 0

    def twice(x):
        optimizer.minimize((w * x).sum())
        return optimizer.minimize((w * w).sum())

    refused(
        r"\[SGD\] an optimizer must update once in a compiled function, but got a second update\.",
        lambda: ta.function(twice)(np.zeros(2)),
    )


def test_a_model_learns():
    ta.manual_seed(0)
    model = nn.Sequential(nn.Linear(2, 16), ta.tanh, nn.Linear(16, 1))
    optimizer = optim.Adam(model.parameters(), lr=schedules.linear_warmup(0.05, 5, 120))
    x = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], np.float32)
    y = np.array([[0], [1], [1], [0]], np.float32)

    @ta.function
    def step(x, y):
        loss = ta.mean((model(x) - y) ** 2)
        return loss, optimizer.minimize(loss)

    losses = [step(x, y)[0] for _ in range(120)]
    assert losses[0] > 0.2 and losses[-1] < 1e-3
    assert repr(optimizer).startswith("Adam(4 parameters of 65 numbers, lr=")
