"""torch's own samples of modules (``module_db``): the same module here, with the state of torch's, gives the same outputs and gradients.

In float64, in training and evaluation. Modules that have no counterpart in ``ta.nn`` are left out; constructors and calls that our
module refuses count as refusals.
"""

import inspect
import warnings

import numpy as np
from torch_calls import Absent
from torch_samples import KINDS, Outcome, Tally, difference, ours, tensors_in

import tinyattn as ta

_TORCH_ONLY = {"device", "dtype", "enable_nested_tensor", "inplace"}
_DEFAULTS = (("sparse", False), ("proj_size", 0))


def counterparts() -> list:
    """The rows of torch's table of modules that ``ta.nn`` has, too."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from torch.testing._internal.common_modules import module_db
    return [row for row in module_db if hasattr(ta.nn, row.module_cls.__name__)]


def _ours(value):
    """A constructor's argument; modules (layers of a stack) have to be made again."""
    import torch

    if isinstance(value, torch.nn.Module):
        raise Absent("a module made of torch's modules")
    if callable(value) and not inspect.isclass(value):
        raise Absent("a function of torch's")
    return ours(value)


def _make(theirs, constructor):
    options = {
        k: _ours(v) for k, v in constructor.kwargs.items() if k not in _TORCH_ONLY and (k, v) not in _DEFAULTS
    }
    module = getattr(ta.nn, type(theirs).__name__)(*map(_ours, constructor.args), **options)
    module.to(np.float64)
    state = {
        k: v.detach().numpy()
        for k, v in theirs.state_dict().items()
        if "num_batches_tracked" not in k or k in module.state_dict()
    }
    module.load_state_dict(state)
    return module


def _flat(value) -> list:
    return [leaf for part in value for leaf in _flat(part)] if isinstance(value, (list, tuple)) else [value]


def compare(row, sample, training: bool) -> Outcome:
    """One module, made, called and differentiated by both."""
    import torch

    name = row.module_cls.__name__
    text = f"{sample.desc or ''} {sample.constructor_input.args} {sample.constructor_input.kwargs} training={training}"
    theirs = row.module_cls(*sample.constructor_input.args, **sample.constructor_input.kwargs)
    theirs.double().train(training)
    forward = sample.forward_input
    if training and any(
        isinstance(m, torch.nn.Dropout) and m.p or getattr(m, "dropout", 0)
        for m in theirs.modules()
        if not isinstance(getattr(m, "dropout", 0), torch.nn.Module)
    ):
        return Outcome(name, "float64", text, "absent", "other random numbers")
    try:
        module = _make(theirs, sample.constructor_input)
        arguments, keywords = ours((tuple(forward.args), forward.kwargs))
    except Absent as missing:
        return Outcome(name, "float64", text, "absent", str(missing))
    except Exception as error:
        return Outcome(
            name, "float64", text, "refused", f"{type(error).__name__}: {str(error).splitlines()[0]}"
        )
    try:
        right = [y for y in _flat(theirs(*forward.args, **forward.kwargs)) if y is not None]
    except Exception as error:
        return Outcome(name, "float64", text, "absent", f"torch refuses: {error}")
    if any(str(y.dtype).removeprefix("torch.") not in KINDS for y in right):
        return Outcome(name, "float64", text, "absent", "a type that there isn't here")
    rng = np.random.default_rng(0)
    seeds = [rng.standard_normal(tuple(y.shape)) for y in right]
    names, leaves = list(dict(theirs.named_parameters())), list(dict(theirs.named_parameters()).values())
    given = [t for t in tensors_in((forward.args, forward.kwargs)) if t.requires_grad]
    wanted = [*leaves, *given]
    moving = [
        (y, torch.from_numpy(np.asarray(s))) for y, s in zip(right, seeds, strict=True) if y.requires_grad
    ]
    slopes = []
    if moving and wanted:
        slopes = torch.autograd.grad(
            [y for y, _ in moving], wanted, [s for _, s in moving], allow_unused=True
        )
    try:
        module.train(training)
        found = [y for y in _flat(module(*arguments, **keywords)) if y is not None]
        if len(found) != len(right):
            return Outcome(name, "float64", text, "value", f"{len(found)} results, torch {len(right)}")
        mine = dict(module.named_parameters())
        pairs = zip(
            tensors_in((forward.args, forward.kwargs)), tensors_in((arguments, keywords)), strict=True
        )
        targets = [*(mine[n] for n in names), *(x for t, x in pairs if t.requires_grad)]
        total = sum(
            (ta.sum(y * ta.tensor(np.asarray(s))) for y, s in zip(found, seeds, strict=True)),
            ta.tensor(0.0, np.float64),
        )
        grads = list(ta.grad(total, targets)) if targets and slopes else []
        arrays = ta.Program([*found, *grads]).run()
    except Exception as error:
        return Outcome(
            name, "float64", text, "refused", f"{type(error).__name__}: {str(error).splitlines()[0]}"
        )
    for value, theirs_value in zip(arrays, right, strict=False):
        wrong = difference(value, theirs_value.detach().numpy())
        if wrong:
            return Outcome(name, "float64", text, "value", wrong)
    for value, slope in zip(arrays[len(found) :], slopes, strict=False):
        wrong = difference(value, np.zeros(value.shape) if slope is None else slope.numpy())
        if wrong:
            return Outcome(name, "float64", text, "gradient", wrong)
    return Outcome(name, "float64", text, "agrees")


def run(row) -> Tally:
    """All samples of a row of torch's table of modules."""
    import torch

    tally = Tally()
    modes = (True, False) if row.train_and_eval_differ else (True,)
    for training in modes:
        torch.manual_seed(0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            samples = row.module_inputs_func(
                row, device="cpu", dtype=torch.float64, requires_grad=True, training=training
            )
            for sample in samples:
                if sample.forward_input is not None:
                    tally.outcomes.append(compare(row, sample, training))
    return tally
