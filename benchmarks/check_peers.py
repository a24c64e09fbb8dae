"""Check that all peers do the same work: same batch, same weights, same losses.

    python -m benchmarks.check_peers

Two implementations whose losses agree over several updates have the same forward pass, the same gradient and
the same optimizer; a comparison of their speed means something only then. (What the losses cannot show is a
constant factor on the gradient: Adam does not see it. That clipping is there must be read in the code.)
"""

import sys
from collections.abc import Callable, Mapping

from . import harness

STEPS = 5
TOLERANCE = 1e-5  # float32 rounding gives 1e-6; a decay of 0.949 in RMSprop instead of 0.95 gives 2.6e-5

DEEP_TOLERANCE = 1e-4  # Adam's first steps are the signs of gradients: where one is near 0, rounding decides


def losses_agree(
    title: str, makers: Mapping[str, Callable[[], harness.Work]], tolerance: float = TOLERANCE
) -> bool:
    """Run each peer for `STEPS` updates and compare with the first of them."""
    curves = {name: [float(step()) for _ in range(STEPS)] for name, step in harness.gather(makers).items()}
    if len(curves) < 2:
        print(f"{title}: nothing to compare with")
        return True
    (reference, expected), *others = curves.items()
    agree = True
    for name, curve in others:
        difference = max(abs(a - b) for a, b in zip(expected, curve, strict=True))
        agree &= difference <= tolerance
        verdict = "agree" if difference <= tolerance else "DIFFER"
        print(f"{title}: {reference} and {name} {verdict}, {difference:.1e} over {STEPS} steps")
    print(f"    {reference}: " + " ".join(f"{loss:.6f}" for loss in expected))
    return agree


def products_agree() -> bool:
    """Every layout of a product against float64, relative to the size of the sum."""
    import numpy as np

    from . import gemm
    from .peers import problem

    agree = True
    for shape in (shape for shapes in gemm.groups((16,)).values() for shape in shapes):
        if shape.m * shape.n * shape.k > 1 << 28:
            continue
        a, b = problem.gemm_operands(shape)
        expected = a.astype(np.float64) @ b
        for _ in range(shape.steps - 1):
            expected = expected[:, : shape.k] @ b.astype(np.float64)
        makers = {
            "numpy": lambda shape=shape: gemm.numpy_product(shape),
            "torch": lambda shape=shape: gemm.torch_product(shape),
            harness.OURS: lambda shape=shape: gemm.our_product(shape),
        }
        for name in list(makers):
            try:
                product = np.asarray(makers[name]()())
            except (ImportError, NotImplementedError):
                continue
            error = np.abs(product - expected).max() / np.sqrt(shape.k * max(1, shape.steps))
            if not error <= 1e-5:
                agree = False
                print(f"gemm {shape}: {name} is wrong by {error:.1e}")
    print(f"gemm: {'all layouts agree' if agree else 'DIFFER'}")
    return agree


def attentions_agree() -> bool:
    """O and the gradients of Q, K and V, with and without a causal mask, by whoever is installed."""
    import numpy as np

    from . import attention

    agree = True
    for case in ((2, 3, 70, 20, False), (2, 3, 70, 20, True), (4, 8, 64, 32, True)):
        makers = {
            "torch": lambda case=case: attention.torch_attention(case),
            "jax": lambda case=case: attention.jax_attention(case),
            harness.OURS: lambda case=case: attention.our_attention(case),
        }
        found = {name: [np.array(x) for x in work()] for name, work in harness.gather(makers).items()}
        (reference, expected), *others = found.items()
        for name, results in others:
            difference = max(np.abs(a - b).max() for a, b in zip(expected, results, strict=True))
            if not difference <= TOLERANCE:
                agree = False
                print(f"attention {case}: {reference} and {name} differ by {difference:.1e}")
    print(f"attention: {'all agree' if agree else 'DIFFER'}")
    return agree


def main() -> int:
    harness.arguments(__doc__.splitlines()[0])
    from . import bahdanau, ntm, steps

    agree = True
    for batch in (64, 16):
        makers = {
            "torch": lambda batch=batch: bahdanau.torch_step(batch),
            "torch, fused": lambda batch=batch: bahdanau.torch_step(batch, implementation="fused"),
            "jax": lambda batch=batch: bahdanau.jax_step(batch),
            harness.OURS: lambda batch=batch: bahdanau.our_step(batch),
        }
        agree &= losses_agree(f"Bahdanau, batch {batch}", makers)
    for batch in (1, 16):
        makers = {
            "torch": lambda batch=batch: ntm.torch_step(batch),
            "jax": lambda batch=batch: ntm.jax_step(batch),
            harness.OURS: lambda batch=batch: ntm.our_step(batch),
        }
        agree &= losses_agree(f"NTM, batch {batch}", makers)
    for work, batch in (("lstm_lm", 32), ("gpt", 12), ("transformer", 32), ("gan", 64)):
        agree &= losses_agree(f"{work}, batch {batch}", steps.makers(work, batch), DEEP_TOLERANCE)
    return 0 if attentions_agree() and products_agree() and agree else 1


if __name__ == "__main__":
    sys.exit(main())
