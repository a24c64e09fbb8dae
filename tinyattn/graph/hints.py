"""What users of PyTorch, JAX and NumPy write by habit, and what it is here: one table for all names.

A name that isn't in the table but is an operation's is told as ``ta.name``; failing that, the nearest known name is,
if one is near.
"""

from collections.abc import Iterable
from typing import Any

from tinyattn.errors import near


def _is(**code: str) -> dict[str, str]:
    return {name: f"it is {text}" for name, text in code.items()}


_CPU = "everything runs on the CPU, so leave it out"
_NO_GRAD = "nothing is recorded that grad doesn't ask for, so leave it out (ta.stop_gradient(x) makes a constant of x)"
_PARAMETER = "a leaf is trainable if ta.parameter made it"
_MINIMIZE = "optimizer.minimize(loss) differentiates and updates; there are no gradients to set to zero"
_SCHEDULE = "it is the optimizer's lr=: one of ta.optim.schedules, or a function like lambda step: 0.95**step"
_TYPE = "it is x.astype(dtype), for instance x.astype(np.float32)"
_IMMUTABLE = "a Tensor never changes, so leave it out"
_FUNCTION = "it is @ta.function"

HABITS: dict[str, dict[str, str]] = {
    "Tensor": {
        **_is(
            view="x.reshape(...)", permute="x.transpose(...)", unsqueeze="ta.expand_dims(x, axis) or x[:, None]",
            detach="ta.stop_gradient(x)", numel="x.size", dim="x.ndim", matmul="x @ y", mm="x @ y", bmm="x @ y",
            mv="x @ y", t="x.T", mT="ta.swapaxes(x, -1, -2)", expand="ta.broadcast_to(x, shape)",
            masked_fill="ta.where(mask, value, x)", gather="ta.take_along_axis(x, indices, axis)",
            index_select="x.take(indices, axis)", scatter="ta.index_update(x, index, value)",
            at="ta.index_update(x, index, value)", unbind="list(x)", chunk="ta.split(x, parts)", amax="x.max(axis)",
            amin="x.min(axis)", clamp="x.clip(low, high)", pow="x ** y", copy="x itself: it never changes",
            block_until_ready="x.numpy()", data="x.numpy(), or ta.stop_gradient(x) in an expression",
            register_hook="ta.custom_vjp", grad_fn="x.op and x.inputs",
        ),
        **dict.fromkeys(("cuda", "cpu", "device", "is_cuda", "pin_memory"), _CPU),
        **dict.fromkeys(("clone", "contiguous", "is_contiguous"), _IMMUTABLE),
        **dict.fromkeys(("requires_grad", "requires_grad_", "retain_grad", "is_leaf"), _PARAMETER),
        **dict.fromkeys(("to", "type_as", "float", "double", "half", "bfloat16", "int", "long", "bool"), _TYPE),
        **dict.fromkeys(("zero_grad", "step"), _MINIMIZE),
        **dict.fromkeys(("copy_", "fill_", "zero_", "set_"), "it is leaf.assign(value)"),
    },
    "ta": {
        **_is(
            cat="ta.concat", concatenate="ta.concat", vstack="ta.concat", hstack="ta.concat", randn="ta.random_normal",
            rand="ta.random_uniform", normal="ta.random_normal", unsqueeze="ta.expand_dims", permute="ta.transpose",
            bmm="ta.matmul", mm="ta.matmul", mv="ta.matmul", pow="ta.power", clamp="ta.clip", array="ta.tensor",
            asarray="ta.tensor", as_tensor="ta.tensor", from_numpy="ta.tensor", FloatTensor="ta.tensor",
            LongTensor="ta.tensor", empty="ta.zeros", gather="ta.take_along_axis", masked_fill="ta.where",
            scatter="ta.index_update", absolute="ta.abs", negative="ta.neg", multiply="ta.mul", subtract="ta.sub",
            divide="ta.div", true_divide="ta.div", remainder="ta.mod", amax="ta.max", amin="ta.min",
            broadcast="ta.broadcast_to",
            binary_cross_entropy_with_logits="ta.bce_with_logits", rsqrt="1 / ta.sqrt(x)", detach="ta.stop_gradient",
            scaled_dot_product_attention="ta.attention", Parameter="ta.parameter", float="ta.float32",
            double="ta.float64", long="ta.int64", bool="ta.bool_", while_loop="ta.scan", fori_loop="ta.scan",
            lax="ta.scan for loops, ta.where for choices", functional="ta.relu, ta.softmax, … directly",
            F="ta.relu, ta.softmax, … directly", lr_scheduler="ta.optim.schedules",
        ),
        **dict.fromkeys(("no_grad", "enable_grad", "inference_mode", "set_grad_enabled"), _NO_GRAD),
        **dict.fromkeys(("jit", "compile", "script"), _FUNCTION),
        **dict.fromkeys(("cuda", "device", "device_put"), _CPU),
    },
    "nn": {
        **_is(
            Parameter="ta.parameter(array)", functional="ta.relu, ta.softmax, … directly", Dense="ta.nn.Linear",
            Embed="ta.nn.Embedding", BCELoss="ta.nn.BCEWithLogitsLoss, on logits", utils="the optimizer's clip_norm=",
            Buffer="ta.tensor(array)", remat="ta.checkpoint",
        ),
    },
    "optim": {
        **_is(adam="ta.optim.Adam", adamw="ta.optim.AdamW", sgd="ta.optim.SGD"),
        **dict.fromkeys(("lr_scheduler", "LambdaLR", "StepLR", "ExponentialLR", "CosineAnnealingLR"), _SCHEDULE),
    },
    "optimizer": {
        **dict.fromkeys(("zero_grad", "step"), _MINIMIZE),
        **_is(apply_gradients="optimizer.update(gradients)", apply="optimizer.update(gradients)"),
        "param_groups": "it is optimizer.lr = value",
    },
    "module": {
        "zero_grad": _MINIMIZE,
        **dict.fromkeys(("cuda", "cpu", "device"), _CPU),
        **dict.fromkeys(("requires_grad_", "requires_grad"), _PARAMETER),
        **_is(float="model.to(np.float32)", double="model.to(np.float64)", apply="model.forward or model(x)"),
    },
}  # fmt: skip
"""Where a name is looked up, the name, and what it is here."""

ARGUMENTS = {"dim": "axis", "dims": "axes", "keepdim": "keepdims", "input": "x", "other": "y", "mask": "attn_mask",
             "axes": "axis", "correction": "ddof", "unbiased": "ddof", "size": "shape"}  # fmt: skip
"""Names of arguments elsewhere, and here."""

FUNCTIONS: set[str] = set()
"""The operations that users see as ``ta.name``: put here by the op table, a floor above."""


def missing(what: str, place: str, name: str, known: Iterable[str], prefix: str = "") -> AttributeError:
    """The error for a name that ``what`` doesn't have: with what it is here, or the nearest of the ``known`` names."""
    if name.startswith("_"):  # asked by machines, often
        return AttributeError(f"{what} has no attribute {name!r}")
    text = HABITS[place].get(name)
    if text is None and name in FUNCTIONS:
        text = f"it is ta.{name}(x)"
    if text is None and name.lower() in FUNCTIONS:
        text = f"it is ta.{name.lower()}(x)"
    close = near(name, known) if text is None else None
    hint = f"; here {text}" if text else f"; did you mean {prefix}{close}?" if close else ""
    error = AttributeError(f"{what} has no attribute {name!r}{hint}")
    error.name = None  # type: ignore[assignment]  # Python would add a guess of its own
    return error


def renamed(name: str, known: Iterable[str]) -> str | None:
    """The argument among ``known`` that ``name`` is elsewhere, or that is near it."""
    known = list(known)
    here: Any = ARGUMENTS.get(name)
    return here if here in known else near(name, known)
