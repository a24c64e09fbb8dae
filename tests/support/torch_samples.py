"""torch's own test samples, and how our answers compare with torch's on them.

torch tests its operations with a table of samples (``op_db``) and its modules with another (``module_db``). Each is given to torch and
to tinyattn here: values in float32, float64, int64, int32 and bool, and in float64 the gradients for one random cotangent.
"""

import warnings
from collections import Counter
from dataclasses import dataclass, field

import numpy as np
import torch_calls
import torch_layer_calls

import tinyattn as ta

CALLS = torch_calls.CALLS | torch_layer_calls.CALLS
KINDS = ("float64", "float32", "int64", "int32", "bool")
MOST = 60
"""Samples of one operation and type; of more (pooling has hundreds), as many are taken evenly."""
_TOLERANCE = {"float64": 1e-9, "float32": 2e-5}


@dataclass
class Outcome:
    """What became of a sample: "agrees", "type", "value", "gradient", "refused" or "absent" (not comparable), and the particulars."""

    operation: str
    kind: str
    sample: str
    verdict: str
    why: str = ""


@dataclass
class Tally:
    """Outcomes of many samples."""

    outcomes: list[Outcome] = field(default_factory=list)

    @property
    def comparable(self) -> list[Outcome]:
        return [o for o in self.outcomes if o.verdict != "absent"]

    def counts(self) -> Counter:
        return Counter(o.verdict for o in self.outcomes)


def ours(value, made=None):
    """A sample's arguments with Tensors in the place of torch's, one for each that there is."""
    import torch

    made = {} if made is None else made
    if isinstance(value, torch.Tensor):
        if str(value.dtype).removeprefix("torch.") not in KINDS:
            raise torch_calls.Absent(f"the type {value.dtype}")
        if id(value) not in made:
            array = value.detach().resolve_conj().resolve_neg().contiguous().numpy().copy()
            made[id(value)] = ta.tensor(array)
        return made[id(value)]
    if isinstance(value, torch.Size):
        return tuple(value)
    if type(value) in (list, tuple):
        return type(value)(ours(part, made) for part in value)
    if isinstance(value, dict):
        return {key: ours(part, made) for key, part in value.items()}
    return value


def _flat(value) -> list:
    return [leaf for part in value for leaf in _flat(part)] if isinstance(value, (list, tuple)) else [value]


def _array(value):
    import torch

    return value.detach().numpy(force=True) if isinstance(value, torch.Tensor) else np.asarray(value)


def difference(found, right) -> str:
    """What is wrong with an array; nothing if it is right."""
    if found.shape != right.shape:
        return f"shape {found.shape}, torch {right.shape}"
    tolerance = _TOLERANCE.get(str(right.dtype), 0)
    left, wide = found.astype(np.float64), right.astype(np.float64)
    with np.errstate(all="ignore"):
        near = np.abs(left - wide) <= tolerance * np.maximum(1, np.abs(wide))
    good = near | (left == wide) | (np.isnan(left) & np.isnan(wide))
    if not good.all():
        place = tuple(int(k[0]) for k in np.nonzero(~good)) if right.ndim else ()
        return f"at {place}: {found[place]}, torch {right[place]} ({int((~good).sum())} of {good.size})"
    return ""


def _gradients(torch_inputs, torch_outputs, our_inputs, our_outputs):
    """Gradients of both for the same random cotangents: pairs of arrays."""
    import torch

    rng = np.random.default_rng(0)
    moving = [(t, x) for t, x in zip(torch_inputs, our_inputs, strict=True) if t.requires_grad]
    ends = [(t, y) for t, y in zip(torch_outputs, our_outputs, strict=True) if t.requires_grad]
    if not moving or not ends:
        return []
    seeds = [rng.standard_normal(tuple(t.shape)) for t, _ in ends]
    theirs = torch.autograd.grad(
        [t for t, _ in ends],
        [t for t, _ in moving],
        [torch.from_numpy(np.asarray(s)) for s in seeds],
        allow_unused=True,
    )
    total = sum(
        (ta.sum(y * ta.tensor(np.asarray(s))) for (_, y), s in zip(ends, seeds, strict=True)),
        ta.tensor(0.0, np.float64),
    )
    found = ta.grad(total, [x for _, x in moving])
    arrays = ta.Program(found).run() if found else []
    return [
        (mine, np.zeros(mine.shape) if right is None else right.detach().numpy(force=True))
        for mine, right in zip(arrays, theirs, strict=True)
    ]


def compare(name: str, call, sample, operation, kind: str, gradients: bool) -> Outcome:
    """One sample, given to both."""
    import torch

    text = sample_text(sample)
    try:
        arguments, keywords = (
            ours((sample.input, *sample.args)),
            {k: ours(v) for k, v in sample.kwargs.items()},
        )
    except torch_calls.Absent as missing:
        return Outcome(name, kind, text, "absent", str(missing))
    try:
        right = _flat(operation(sample.input, *sample.args, **sample.kwargs))
    except Exception as error:
        return Outcome(name, kind, text, "absent", f"torch refuses: {error}")
    if any(isinstance(r, torch.Tensor) and str(r.dtype).removeprefix("torch.") not in KINDS for r in right):
        return Outcome(name, kind, text, "absent", "a type that there isn't here")
    try:
        found = _flat(call(*arguments, **keywords))
        values = ta.Program([ta.graph.leaf.as_tensor(y) for y in found]).run()
    except torch_calls.Absent as missing:
        return Outcome(name, kind, text, "absent", str(missing))
    except Exception as error:
        return Outcome(name, kind, text, "refused", f"{type(error).__name__}: {str(error).splitlines()[0]}")
    if len(values) != len(right):
        return Outcome(name, kind, text, "value", f"{len(values)} results, torch {len(right)}")
    for value, theirs in zip(values, map(_array, right), strict=True):
        wrong = difference(value, theirs)
        if wrong:
            return Outcome(name, kind, text, "value", wrong)
    if gradients:
        try:
            given, mine = (
                tensors_in((sample.input, sample.args, sample.kwargs)),
                tensors_in((arguments, keywords)),
            )
            pairs = _gradients(given, right, mine, found)
        except Exception as error:
            return Outcome(
                name, kind, text, "refused", f"gradient: {type(error).__name__}: {str(error).splitlines()[0]}"
            )
        for value, theirs in pairs:
            wrong = difference(value, theirs)
            if wrong:
                return Outcome(name, kind, text, "gradient", wrong)
    if any(value.dtype != theirs.dtype for value, theirs in zip(values, map(_array, right), strict=True)):
        return Outcome(
            name,
            kind,
            text,
            "type",
            f"{[str(v.dtype) for v in values]}, torch {[str(_array(r).dtype) for r in right]}",
        )
    return Outcome(name, kind, text, "agrees")


def tensors_in(tree) -> list:
    """The tensors of a tree of arguments, theirs or ours, in order."""
    import torch

    if isinstance(tree, (torch.Tensor, ta.Tensor)):
        return [tree]
    if isinstance(tree, dict):
        tree = tuple(tree.values())
    if isinstance(tree, (list, tuple)):
        return [leaf for part in tree for leaf in tensors_in(part)]
    return []


def sample_text(sample) -> str:
    """A sample in a line: shapes in the place of tensors."""
    import torch

    def say(value):
        if isinstance(value, torch.Tensor):
            return f"{tuple(value.shape)}"
        if isinstance(value, (list, tuple)):
            return "[" + ", ".join(map(say, value)) + "]"
        return repr(value)

    return ", ".join(
        [*map(say, (sample.input, *sample.args)), *(f"{k}={say(v)}" for k, v in sample.kwargs.items())]
    )


def operations() -> list:
    """The rows of torch's table that have a counterpart here."""
    import torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from torch.testing._internal import common_utils
        from torch.testing._internal.common_methods_invocations import op_db
        from torch.testing._internal.opinfo import core
    # at each sample torch looks through the whole stack for a TestCase, and writes it down for devices that aren't here
    common_utils.extract_test_fn = core.extract_test_fn = lambda: None
    common_utils.set_rng_seed = lambda seed: torch.default_generator.manual_seed(seed)
    return [row for row in op_db if row.name in CALLS]


def run(row, kinds=KINDS) -> Tally:
    """All samples of a row of torch's table."""
    import torch

    tally = Tally()
    for kind in kinds:
        dtype = getattr(torch, kind)
        if dtype not in row.supported_dtypes("cpu"):
            continue
        gradients = kind == "float64" and row.supports_autograd
        torch.manual_seed(0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            samples = list(row.sample_inputs("cpu", dtype, requires_grad=gradients))
            every = -(-len(samples) // MOST)
            for sample in samples[::every]:
                tally.outcomes.append(compare(row.name, CALLS[row.name], sample, row.op, kind, gradients))
    return tally
