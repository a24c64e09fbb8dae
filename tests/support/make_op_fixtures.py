"""Records what torch answers for the samples of the op table, so that parity is tested without torch: ``python tests/support/make_op_fixtures.py``."""

from pathlib import Path

import numpy as np
from op_table import ROWS

import tinyattn as ta

PATH = Path(__file__).parents[1] / "fixtures" / "ops.npz"


def cotangents(shapes):
    """Fixed cotangents for outputs of these shapes."""
    rng = np.random.default_rng(11)
    return [rng.standard_normal(shape) for shape in shapes]


def ours(row, sample):
    """Outputs of a sample in float64, and cotangents of its floating-point inputs, as Tensors."""
    inputs = [ta.tensor(a) for a in sample.arrays()]
    values = row.results(inputs, sample.attrs)
    moving, floats = ([x for x in group if x.dtype.kind == "f"] for group in (inputs, values))
    if row.constant or not moving or not floats or not sample.smooth:
        return values, []
    seeds = [ta.tensor(g) for g in cotangents([y.shape for y in floats])]
    return values, list(ta.vjp(lambda *_: floats, moving, seeds)[1])


def theirs(torch, row, sample):
    """The same by torch, as arrays."""
    inputs = [torch.from_numpy(np.array(a)) for a in sample.arrays()]
    moving = [x.requires_grad_() for x in inputs if x.is_floating_point()]
    values = row.torch(torch, *inputs, **sample.attrs)
    values = list(values) if isinstance(values, (tuple, list)) else [values]
    floats = [y for y in values if y.is_floating_point()]
    results = [y.detach().numpy() for y in values]
    if row.constant or not moving or not floats or not sample.smooth:
        return results
    seeds = [torch.from_numpy(g) for g in cotangents([tuple(y.shape) for y in floats])]
    grads = torch.autograd.grad(floats, moving, seeds, allow_unused=True)
    return results + [
        np.zeros(x.shape) if g is None else g.numpy() for x, g in zip(moving, grads, strict=True)
    ]


def recorded(row):
    """What was recorded for a row, as flat arrays in the order of :func:`theirs`."""
    flat = np.load(PATH)[row.name]
    found, start = [], 0
    for sample in row.samples:
        if sample.peer:
            values, pulled = ours(row, sample)
            for node in (*values, *pulled):
                found.append(flat[start : start + node.size])
                start += node.size
    assert start == flat.size, (
        f"the samples of {row.name} have changed: run tests/support/make_op_fixtures.py again"
    )
    return found


if __name__ == "__main__":
    import torch

    everything = {}
    for row in ROWS:
        if row.torch is not None:
            parts = [r for sample in row.samples if sample.peer for r in theirs(torch, row, sample)]
            everything[row.name] = np.concatenate([np.asarray(p, np.float64).ravel() for p in parts])
    np.savez_compressed(PATH, **everything)
    print(f"{len(everything)} rows, {PATH.stat().st_size} bytes")
