"""Time scaled dot-product attention, forward and backward: tinyattn beside PyTorch and JAX.

    python -m benchmarks.attention [--threads 2] [--only torch] [--json]

Queries, keys and values lie as a model's projections leave them, (B, T, heads, d). Also what memory a program
for 8192 positions needs beyond its inputs and results.
"""

from . import harness

GOAL = 1.5
SIZES = ((4, 8, 64, 32), (4, 8, 256, 64), (1, 8, 1024, 64))  # batch, heads, length, width of a head
LONG = (1, 4, 8192, 64)
MOST_MEGABYTES = 64

Case = tuple[int, int, int, int, bool]


def our_attention(case: Case) -> harness.Work:
    """Imported only now, like the peers: the number of threads has to be fixed before."""
    from . import ours

    return ours.attention(*case)


def torch_attention(case: Case) -> harness.Work:
    from .peers import torch_attention

    return torch_attention.Attention(*case)


def jax_attention(case: Case) -> harness.Work:
    from .peers import jax_attention

    return jax_attention.make(*case)


def memory(causal: bool) -> dict[str, object]:
    """Megabytes of the arena of a program for `LONG`: all that is neither an operand nor a result."""
    program = our_attention((*LONG, causal)).program  # type: ignore[attr-defined]
    extra = program.peak_bytes / 1e6
    return {"work": "memory", "sizes": LONG, "causal": causal, "megabytes": extra, "goal": MOST_MEGABYTES}


def main() -> None:
    options = harness.arguments("attention, forward and backward: tinyattn beside PyTorch and JAX", rounds=7)
    results: list[dict[str, object]] = []
    if not options.json:
        harness.print_environment(options.threads)
    for causal in (False, True):
        results.append(found := memory(causal))
        verdict = "met" if found["megabytes"] < MOST_MEGABYTES else "NOT met"
        if not options.json:
            print(
                f"{LONG}, causal {causal}: {found['megabytes']:.1f} MB extra, wanted below {MOST_MEGABYTES}: {verdict}"
            )
    for size in SIZES:
        for causal in (False, True):
            case = (*size, causal)
            makers = {
                harness.OURS: lambda case=case: our_attention(case),
                "torch": lambda case=case: torch_attention(case),
                "jax": lambda case=case: jax_attention(case),
            }
            works = harness.gather(makers, options.only)
            title = "attention, batch {}, {} heads, length {}, width {}".format(*size) + (
                ", causal" if causal else ""
            )
            results.append(
                harness.compare(works, options.rounds, options.seconds, title, {"torch": GOAL}, options.json)
            )
    if options.json:
        harness.print_json(options, results)


if __name__ == "__main__":
    main()
