"""What torch computes for small recurrent layers and for every optimizer, live or recorded.

    python tests/support/make_fixtures.py

writes tests/fixtures/recurrent.npz and optimizers.npz, so that the comparison also runs where torch is not
installed. The numbers of a case depend on nothing but its settings.
"""

import itertools
import sys
from pathlib import Path

import numpy as np

FIXTURES = Path(__file__).parents[1] / "fixtures"

STEPS, BATCH, INPUTS, HIDDEN = 5, 3, 3, 4
LENGTHS = (3, 5, 1)
RECURRENT = [
    dict(zip(("kind", "num_layers", "bidirectional", "packed", "batch_first"), case, strict=True))
    for case in itertools.product(("LSTM", "GRU", "RNN"), (1, 2), (False, True), (False, True), (False, True))
]
RECORDED = [
    {"kind": kind, "num_layers": 2, "bidirectional": True, "packed": True, "batch_first": False}
    for kind in ("LSTM", "GRU")
]

OPTIMIZERS = {
    "sgd": ("SGD", {"lr": 0.05}),
    "sgd-momentum": ("SGD", {"lr": 0.05, "momentum": 0.9}),
    "sgd-nesterov": ("SGD", {"lr": 0.05, "momentum": 0.8, "nesterov": True, "weight_decay": 0.02}),
    "adam": ("Adam", {"lr": 0.05}),
    "adam-options": ("Adam", {"lr": 0.03, "betas": (0.8, 0.99), "eps": 1e-4, "weight_decay": 0.1}),
    "adamw": ("AdamW", {"lr": 0.05}),
    "adamw-options": ("AdamW", {"lr": 0.05, "betas": (0.7, 0.95), "eps": 1e-3, "weight_decay": 0.2}),
    "rmsprop": ("RMSprop", {"lr": 0.01}),
    "rmsprop-momentum": ("RMSprop", {"lr": 0.01, "momentum": 0.9, "alpha": 0.95, "weight_decay": 0.1}),
    "rmsprop-centered": ("RMSprop", {"lr": 0.01, "centered": True}),
    "rmsprop-all": ("RMSprop", {"lr": 0.01, "centered": True, "momentum": 0.5, "eps": 1e-3}),
    "adadelta": ("Adadelta", {}),
    "adadelta-options": ("Adadelta", {"lr": 0.5, "rho": 0.95, "eps": 1e-3, "weight_decay": 0.1}),
    "sgd-clip-norm": ("SGD", {"lr": 0.05, "momentum": 0.9, "clip_norm": 1.0}),
    "adam-clip-norm": ("Adam", {"lr": 0.05, "clip_norm": 0.5}),
    "sgd-clip-norm-loose": ("SGD", {"lr": 0.01, "clip_norm": 1000.0}),
    "sgd-clip-value": ("SGD", {"lr": 0.05, "clip_value": 0.3}),
}
UPDATES = 20


def recurrent(kind: str, num_layers: int, bidirectional: bool, packed: bool, batch_first: bool) -> dict:
    """Weights, inputs, cotangents, results and gradients of one recurrent layer, as float64 arrays."""
    import torch
    from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

    rng = np.random.default_rng(7)
    layer = getattr(torch.nn, kind)(
        INPUTS, HIDDEN, num_layers, bidirectional=bidirectional, batch_first=batch_first, dtype=torch.float64
    )
    with torch.no_grad():
        for weight in layer.parameters():
            weight.copy_(torch.from_numpy(rng.uniform(-0.8, 0.8, tuple(weight.shape))))
    directions = 2 if bidirectional else 1
    leading = (BATCH, STEPS) if batch_first else (STEPS, BATCH)
    states = 2 if kind == "LSTM" else 1

    def numbers(*shape):
        return torch.from_numpy(rng.standard_normal(shape)).requires_grad_()

    x = numbers(*leading, INPUTS)
    initial = [numbers(num_layers * directions, BATCH, HIDDEN) for _ in range(states)]
    cotangents = [
        numbers(*leading, directions * HIDDEN),
        *(numbers(*initial[0].shape) for _ in range(states)),
    ]
    state = tuple(initial) if states == 2 else initial[0]
    if packed:
        sequence = pack_padded_sequence(x, torch.tensor(LENGTHS), batch_first, enforce_sorted=False)
        output, final = layer(sequence, state)
        output, _ = pad_packed_sequence(output, batch_first, total_length=STEPS)
    else:
        output, final = layer(x, state)
    results = [output, *(final if states == 2 else [final])]
    sum((result * cotangent).sum() for result, cotangent in zip(results, cotangents, strict=True)).backward()
    found = {f"weight.{name}": weight for name, weight in layer.named_parameters()}
    found |= {f"gradient.{name}": weight.grad for name, weight in layer.named_parameters()}
    found |= {"x": x, "gradient_x": x.grad}
    for k in range(states):
        found |= {f"initial{k}": initial[k], f"gradient_initial{k}": initial[k].grad}
    for k, (result, cotangent) in enumerate(zip(results, cotangents, strict=True)):
        found |= {f"result{k}": result, f"cotangent{k}": cotangent}
    return {name: value.detach().numpy() for name, value in found.items()}


def problem(dtype) -> tuple[dict[str, np.ndarray], list[tuple[np.ndarray, ...]]]:
    """Two parameters, and the data (a, b, c) of each update. The loss is mean((a w − b)²) + Σ cos(c v)."""
    rng = np.random.default_rng(11)
    start = {"w": rng.standard_normal((3, 4)).astype(dtype), "v": rng.standard_normal(5).astype(dtype)}
    shapes = ((6, 3), (6, 4), (5,))
    return start, [
        tuple(rng.standard_normal(shape).astype(dtype) for shape in shapes) for _ in range(UPDATES)
    ]


def optimize(name: str, dtype) -> dict[str, np.ndarray]:
    """Parameters after all updates, and the norms of the gradients before clipping."""
    import torch

    kind, options = OPTIMIZERS[name]
    options = dict(options)
    clip_norm, clip_value = options.pop("clip_norm", None), options.pop("clip_value", None)
    start, data = problem(dtype)
    w, v = (torch.from_numpy(array.copy()).requires_grad_() for array in start.values())
    optimizer = getattr(torch.optim, kind)([w, v], **options)
    norms = []
    for arrays in data:
        a, b, c = map(torch.from_numpy, arrays)
        optimizer.zero_grad()
        (((a @ w - b) ** 2).mean() + torch.cos(c * v).sum()).backward()
        norms.append(float(torch.sqrt((w.grad**2).sum() + (v.grad**2).sum())))
        if clip_norm is not None:
            torch.nn.utils.clip_grad_norm_([w, v], clip_norm)
        if clip_value is not None:
            torch.nn.utils.clip_grad_value_([w, v], clip_value)
        optimizer.step()
    return {"w": w.detach().numpy(), "v": v.detach().numpy(), "norms": np.array(norms)}


def flat(parts: dict[str, dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Join dicts of arrays into one, by names of the form part/name."""
    return {f"{part}/{name}": array for part, arrays in parts.items() for name, array in arrays.items()}


def recorded(file: str, part: str) -> dict[str, np.ndarray]:
    """One part of a recorded file."""
    with np.load(FIXTURES / file) as arrays:
        return {name.partition("/")[2]: arrays[name] for name in arrays.files if name.startswith(part + "/")}


def main() -> None:
    """Write the files."""
    FIXTURES.mkdir(exist_ok=True)
    cells = flat({case["kind"]: recurrent(**case) for case in RECORDED})
    np.savez_compressed(FIXTURES / "recurrent.npz", **cells)
    np.savez_compressed(
        FIXTURES / "optimizers.npz", **flat({name: optimize(name, np.float64) for name in OPTIMIZERS})
    )
    for path in sorted(FIXTURES.glob("*.npz")):
        print(f"{path.name}: {path.stat().st_size:,} bytes", file=sys.stderr)


if __name__ == "__main__":
    main()
