"""Losses and layers beside torch in random configurations: values, gradients, and gradients of gradients."""

import numpy as np
import pytest

import tinyattn as ta

torch = pytest.importorskip("torch")
F = torch.nn.functional


def same(ours, theirs, arrays, place=""):
    """One function by both libraries: its value, the gradient of a weighted sum of it, and the gradient of a weighted sum of that."""
    rng = np.random.default_rng(0)
    mine = [ta.tensor(a) for a in arrays]
    other = [torch.from_numpy(np.array(a)).requires_grad_(a.dtype.kind == "f") for a in arrays]
    xs, ys = [x for x in mine if x.dtype.kind == "f"], [y for y in other if y.requires_grad]
    found, right = [ours(*mine)], [theirs(*other)]
    everything, expected = list(found), list(right)
    for _ in range(2):
        seeds = [rng.standard_normal(v.shape) for v in found]
        total = sum((ta.sum(v * s) for v, s in zip(found, seeds, strict=True)), 0 * xs[0].sum())
        found = list(ta.grad(total, xs))
        goal = sum(((v * torch.tensor(s)).sum() for v, s in zip(right, seeds, strict=True)), 0 * ys[0].sum())
        right = torch.autograd.grad(goal, ys, create_graph=True, materialize_grads=True)
        everything += found
        expected += right
    for value, goal in zip(ta.evaluate(everything), expected, strict=True):
        goal = goal.detach().numpy()
        assert value.shape == goal.shape, place
        assert np.abs(value - goal).max(initial=0) <= 1e-9 * max(1, np.abs(goal).max(initial=0)), place


def _classes_first(x, rank):
    """torch's classes are on axis 1, ours on the last."""
    return x.movedim(-1, 1) if rank > 1 else x


def test_cross_entropy_and_nll():
    rng = np.random.default_rng(1)
    for trial in range(40):
        shape = (*rng.integers(1, 4, rng.integers(0, 3)), int(rng.integers(2, 6)))
        x, classes = rng.standard_normal(shape), shape[-1]
        options = {"reduction": ["mean", "sum", "none"][trial % 3]}
        weight = rng.uniform(0.1, 2, classes) if rng.random() < 0.6 else None
        soft, nll = rng.random() < 0.4, rng.random() < 0.3
        if not nll and rng.random() < 0.5:
            options["label_smoothing"] = float(rng.uniform(0, 0.9))
        place = f"{shape} {options} {soft} {nll} {weight}"
        w = None if weight is None else torch.tensor(weight)
        if soft and not nll:
            same(
                lambda x, y, o=options, w=weight: ta.cross_entropy(x, y, weight=w, **o),
                lambda x, y, o=options, w=w: F.cross_entropy(_classes_first(x, x.ndim), _classes_first(y, y.ndim), w, **o),
                [x, rng.random(shape)], place,
            )  # fmt: skip
            continue
        targets = rng.integers(0, classes, shape[:-1])
        ignored = int(rng.choice([-100, 1]))
        targets = np.where(rng.random(targets.shape) < 0.2, ignored, targets)
        if (targets == ignored).all():  # torch's mean is NaN, ours 0
            continue
        name = "nll_loss" if nll else "cross_entropy"
        same(
            lambda x, y, n=name, o=options, w=weight, i=ignored: getattr(ta, n)(x, y, weight=w, ignore_index=i, **o),
            lambda x, y, n=name, o=options, w=w, i=ignored: getattr(F, n)(_classes_first(x, x.ndim), y, w, ignore_index=i, **o),
            [x, targets], place,
        )  # fmt: skip


@pytest.mark.filterwarnings("ignore:reduction")
def test_losses_of_pairs():
    rng = np.random.default_rng(2)
    names = {"mse_loss": "mse_loss", "l1_loss": "l1_loss", "smooth_l1_loss": "smooth_l1_loss"}
    names |= {"huber_loss": "huber_loss", "bce_with_logits": "binary_cross_entropy_with_logits", "kl_div": "kl_div"}  # fmt: skip
    for trial in range(60):
        ours, theirs = list(names.items())[trial % 6]
        shape = tuple(rng.integers(1, 4, rng.integers(0, 4)))
        options = {"reduction": ["mean", "sum", "none"][trial // 6 % 3]}
        x, y = rng.standard_normal(shape), rng.uniform(0.1, 1.5, shape)
        if ours == "kl_div":
            options["log_target"] = bool(rng.random() < 0.5)
        if ours in ("smooth_l1_loss", "huber_loss"):
            options["beta" if ours[0] == "s" else "delta"] = float(rng.uniform(0.2, 2))
        arrays = {}
        if ours == "bce_with_logits":
            arrays = {k: rng.random(shape[-1:]) for k in ("weight", "pos_weight") if rng.random() < 0.6}
        tensors = {k: torch.tensor(v) for k, v in arrays.items()}
        same(
            lambda x, y, n=ours, o=options | arrays: getattr(ta, n)(x, y, **o),
            lambda x, y, n=theirs, o=options | tensors: getattr(F, n)(x, y, **o),
            [np.asarray(x), np.asarray(y)], f"{ours} {shape} {options}",
        )  # fmt: skip


def test_embedding():
    rng = np.random.default_rng(3)
    for _ in range(12):
        size = int(rng.integers(2, 6))
        padding = int(rng.integers(-size, size))
        table, ids = (
            rng.standard_normal((size, 3)),
            rng.integers(0, size, tuple(rng.integers(1, 5, rng.integers(0, 3)))),
        )
        same(
            lambda t, i, p=padding: ta.embedding(t, i, padding_idx=p) ** 2,
            lambda t, i, p=padding: F.embedding(i, t, padding_idx=p) ** 2,
            [table, ids], f"{size} {padding}",
        )  # fmt: skip
    w = ta.tensor(np.ones((3, 2)))
    padded = ta.embedding(w, [1, 2, 0, 2], padding_idx=-1)
    assert np.array_equal(ta.grad(padded.sum(), w).numpy(), [[1, 1], [1, 1], [0, 0]])


def _some(rng, low, high):
    """One number for both axes, or a number for each."""
    pair = tuple(int(n) for n in rng.integers(low, high, 2))
    return pair if rng.random() < 0.5 else pair[0]


@pytest.mark.filterwarnings("ignore:Using padding")
def test_convolutions():
    rng = np.random.default_rng(4)
    for trial in range(45):
        kind = ("conv2d", "conv1d", "conv_transpose2d")[trial % 3]
        groups, inner, outer = (int(n) for n in rng.integers(1, 4, 3))
        inner = 1 if rng.random() < 0.3 else inner
        single = kind == "conv1d"
        one = (
            (lambda low, high: int(rng.integers(low, high)))
            if single
            else (lambda low, high: _some(rng, low, high))
        )
        window = tuple(int(n) for n in rng.integers(1, 4, 1 if single else 2))
        sizes = tuple(int(n) for n in rng.integers(6, 9, len(window)))
        options = {"stride": one(1, 3), "padding": one(0, 3), "dilation": one(1, 3), "groups": groups}
        if kind == "conv_transpose2d":
            weight, results = (groups * inner, outer, *window), groups * outer
            options["padding"] = one(0, 2)
            stride, dilation = (np.broadcast_to(options[n], 2) for n in ("stride", "dilation"))
            options["output_padding"] = tuple(int(rng.integers(0, m)) for m in np.maximum(stride, dilation))
        else:
            weight, results = (groups * outer, inner, *window), groups * outer
            if rng.random() < 0.4:
                options["padding"] = str(rng.choice(["same", "valid"]))
            if options["padding"] == "same":
                options["stride"] = 1
        arrays = [rng.standard_normal(s) for s in ((2, groups * inner, *sizes), weight, (results,))]
        arrays = arrays[: 3 if rng.random() < 0.7 else 2]
        same(
            lambda *a, k=kind, o=options: getattr(ta, k)(*a, **o),
            lambda *a, k=kind, o=options: getattr(F, k)(*a, **o),
            arrays, f"{kind} {weight} {options}",
        )  # fmt: skip


def test_pools():
    rng = np.random.default_rng(5)
    for trial in range(60):
        kind = ("max_pool2d", "avg_pool2d", "adaptive_avg_pool2d")[trial % 3]
        x = rng.standard_normal((2, 2, *rng.integers(5, 9, 2)))
        if kind == "adaptive_avg_pool2d":
            options = {"output_size": _some(rng, 1, 9)}
        else:
            window = rng.integers(1, 4, 2)
            options = {
                "kernel_size": tuple(map(int, window)),
                "padding": tuple(int(rng.integers(0, k // 2 + 1)) for k in window),
            }
            options["ceil_mode"] = bool(rng.random() < 0.5)
            if rng.random() < 0.7:
                options["stride"] = _some(rng, 1, 4)
            if kind == "max_pool2d":
                options["dilation"] = _some(rng, 1, 3) if rng.random() < 0.5 else 1
            else:
                options["count_include_pad"] = bool(rng.random() < 0.5)
                options["divisor_override"] = 3 if rng.random() < 0.2 else None
        same(
            lambda x, k=kind, o=options: getattr(ta, k)(x, **o) ** 2,
            lambda x, k=kind, o=options: getattr(F, k)(x, **o) ** 2,
            [x], f"{kind} {x.shape} {options}",
        )  # fmt: skip


def test_attention_with_grouped_heads():
    rng = np.random.default_rng(6)
    for _ in range(20):
        groups, each, queries, keys, width, out = (int(n) for n in rng.integers(1, 5, 6))
        lead = tuple(int(n) for n in rng.integers(1, 3, rng.integers(1, 3)))
        shapes = ((groups * each, queries, width), (groups, keys, width), (groups, keys, out))
        arrays = [rng.standard_normal((*lead, *shape)) for shape in shapes]
        options = {"is_causal": bool(rng.random() < 0.4)}
        if not options["is_causal"] and rng.random() < 0.7:
            whole = (*lead, groups * each, queries, keys)
            arrays.append(rng.standard_normal([1 if rng.random() < 0.4 else n for n in whole]))
        if rng.random() < 0.3:
            options["scale"] = float(rng.uniform(0.1, 2))
        with torch.nn.attention.sdpa_kernel(
            torch.nn.attention.SDPBackend.MATH
        ):  # the one with second derivatives
            same(
                lambda q, k, v, m=None, o=options: ta.attention(q, k, v, m, enable_gqa=True, **o),
                lambda q, k, v, m=None, o=options: F.scaled_dot_product_attention(q, k, v, m, enable_gqa=True, **o),
                arrays, f"{[a.shape for a in arrays]} {options}",
            )  # fmt: skip
