"""Groups of parameters: options of their own, one norm and one state, and what must hold of them."""

import numpy as np
import pytest

import tinyattn as ta
from tinyattn import errors


@pytest.mark.parametrize("kind", ["AdamW", "Adam", "SGD"])
def test_a_group_has_options_of_its_own(kind):
    make = getattr(ta.optim, kind)
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal(shape) for shape in ((2, 3), (3,), (4,))]
    gradients = [rng.standard_normal(a.shape) for a in arrays]

    def after(groups_of):
        leaves = [ta.parameter(a, name=f"w{k}") for k, a in enumerate(arrays)]
        optimizers = groups_of(leaves)
        for _ in range(3):
            for optimizer in optimizers:
                index = [[v is w for v in leaves].index(True) for w in optimizer.parameters]
                optimizer.update([ta.tensor(gradients[k]) for k in index])
        return [w.numpy() for w in leaves]

    falling = ta.optim.schedules.linear_warmup(0.1, 1, 5)
    options = {"weight_decay": 0.2}
    together = after(
        lambda w: [
            make(
                [
                    {"params": [w[0]]},
                    {"params": w[1], "weight_decay": 0.0},
                    {"params": [w[2]], "lr": falling},
                ],
                0.01,
                **options,
            )
        ]
    )
    apart = after(
        lambda w: [
            make([w[0]], 0.01, **options),
            make([w[1]], 0.01, weight_decay=0.0),
            make([w[2]], falling, **options),
        ]
    )
    for found, expected in zip(together, apart, strict=True):
        assert np.array_equal(found, expected)


def test_groups_share_the_norm_and_the_state():
    w, v = ta.parameter(np.full(4, 3.0), name="w"), ta.parameter(np.full(9, 2.0), name="v")
    groups = [{"params": [w], "lr": 0.5}, {"params": (x for x in (v, v))}]
    optimizer = ta.optim.SGD(groups, 1.0, clip_norm=1.0)
    norm = optimizer.update([ta.tensor(np.full(4, 2.0)), ta.tensor(np.full(9, 1.0))])
    assert float(norm) == 5.0 and list(optimizer.state_dict()) == ["steps", "lr"]
    np.testing.assert_allclose(w.numpy(), 3 - 0.5 * 2 / 5, rtol=1e-6)
    np.testing.assert_allclose(v.numpy(), 2 - 1 / 5, rtol=1e-6)
    optimizer.lr = 2.0  # the group that named its own keeps it
    optimizer.update([ta.tensor(np.full(4, 2.0)), ta.tensor(np.full(9, 1.0))])
    np.testing.assert_allclose(w.numpy(), 3 - 2 * 0.5 * 2 / 5, rtol=1e-6)
    np.testing.assert_allclose(v.numpy(), 2 - 3 / 5, rtol=1e-6)


@pytest.mark.parametrize(
    "groups, text",
    [
        (lambda w: [{"params": [w], "beta": 0.5}],
         "[AdamW] a group must hold params, and may hold lr and weight_decay, but got params, beta."),
        (lambda w: [{"lr": 0.5}],
         "[AdamW] a group must hold params, and may hold lr and weight_decay, but got lr."),
        (lambda w: [{"params": [w], "lr": -1.0}], "[AdamW] lr must be at least 0, but got -1.0."),
        (lambda w: [{"params": [w]}, {"params": [w]}],
         "[AdamW] a parameter must be in one group only, but got <Tensor 'w' f64[3] = parameter> twice."),
        (lambda w: [{"params": []}], "[AdamW] there must be parameters to update, but got none."),
    ],
)  # fmt: skip
def test_groups_say_what_must_hold(groups, text):
    with pytest.raises(errors.TinyattnError) as error:
        ta.optim.AdamW(groups(ta.parameter(np.zeros(3), name="w")), 0.1)
    assert str(error.value).splitlines()[0] == text
