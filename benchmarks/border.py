"""Time calls as a user makes them, arrays in and new arrays out, beside the kernels inside and beside PyTorch.

    python -m benchmarks.border [--threads 2] [--json]

`kernels` runs the program again and again on the same memory; a call adds Python, and the memory of new results. The
goal for a call is 1.1 × its kernels + 5 µs.
"""

from collections.abc import Callable, Iterator

from . import harness

FACTOR, MICROSECONDS = 1.1, 5.0


def cases() -> Iterator[tuple[str, Callable, Callable, list]]:
    """(title, function of Tensors, the same in PyTorch, operands). Imported only now: the threads are set before."""
    import numpy as np
    import torch

    import tinyattn as ta

    rng = np.random.default_rng(0)

    def numbers(*shape):
        return rng.standard_normal(shape).astype(np.float32)

    def ours(q, k, v, g):
        y, gradients = ta.vjp(lambda *x: ta.attention(*x, is_causal=True), [q, k, v], g)
        return [y, *gradients]

    def theirs(q, k, v, g):
        leaves = [x.detach().requires_grad_() for x in (q, k, v)]
        y = torch.nn.functional.scaled_dot_product_attention(*leaves, is_causal=True)
        return [y, *torch.autograd.grad(y, leaves, g)]

    yield "8 numbers", lambda x: x * 2 + 1, lambda x: x * 2 + 1, [numbers(8)]
    yield "softmax 60 × 30", ta.softmax, lambda x: torch.softmax(x, -1), [numbers(60, 30)]
    yield "softmax 6000 × 300", ta.softmax, lambda x: torch.softmax(x, -1), [numbers(6000, 300)]
    yield "product 512³", lambda a, b: a @ b, lambda a, b: a @ b, [numbers(512, 512), numbers(512, 512)]
    yield "tanh(x) · y, 4000 × 1000", lambda x, y: ta.tanh(x) * y, lambda x, y: torch.tanh(x) * y, [
        numbers(4000, 1000), numbers(4000, 1000),
    ]  # fmt: skip
    yield "attention 8 × 512 × 64, both ways", ours, theirs, [numbers(1, 8, 512, 64) for _ in range(4)]


def works(ours: Callable, theirs: Callable, operands: list) -> dict[str, harness.Work]:
    """The four ways to do it."""
    import numpy as np
    import torch

    import tinyattn as ta

    function = ta.function(ours)
    first = function(*operands)
    out = [np.empty_like(y) for y in first] if isinstance(first, list) else np.empty_like(first)
    kept = {}

    def keep():
        kept["y"] = function(*operands)  # the last result is dropped when the new one is there
        return kept["y"]

    tensors = [torch.from_numpy(x.copy()) for x in operands]

    def torch_keep():
        kept["torch"] = theirs(*tensors)
        return kept["torch"]

    return {
        harness.OURS: keep,
        "kernels": function.program(*operands).bind(operands),
        "out=": lambda: function(*operands, out=out),
        "torch": torch_keep,
    }


def main() -> None:
    options = harness.arguments("calls as users make them", rounds=9, seconds=0.05)
    if not options.json:
        harness.print_environment(options.threads)
        from tinyattn.runtime.machine import measured

        print(measured())
    results = []
    for title, ours, theirs, operands in cases():
        made = works(ours, theirs, operands)
        results.append(
            harness.compare(made, options.rounds, options.seconds, title, {"torch": 1.0}, options.json)
        )
    if options.json:
        harness.print_json(options, results)


if __name__ == "__main__":
    main()
