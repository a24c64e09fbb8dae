"""Time softmax along rows, forward and backward, float32: tinyattn beside PyTorch.

    python -m benchmarks.softmax [--threads 2] [--json]

Rows of attention over 256 keys, many short rows, and few long ones such as those of a vocabulary.
"""

from . import harness

GOAL = 1.0
SHAPES = ((8192, 256), (32768, 64), (64, 4096))


def our_softmax(rows: int, columns: int, backward: bool) -> harness.Work:
    """Imported only now, like the peer: the number of threads has to be fixed before."""
    from . import ours

    return ours.softmax(rows, columns, backward)


def torch_softmax(rows: int, columns: int, backward: bool) -> harness.Work:
    from .peers import torch_softmax

    return (torch_softmax.Backward if backward else torch_softmax.Forward)(rows, columns)


def main() -> None:
    options = harness.arguments("softmax along rows: tinyattn beside PyTorch", rounds=7, seconds=0.05)
    if not options.json:
        harness.print_environment(options.threads)
    results = []
    for rows, columns in SHAPES:
        for backward in (False, True):
            case = (rows, columns, backward)
            makers = {
                harness.OURS: lambda case=case: our_softmax(*case),
                "torch": lambda case=case: torch_softmax(*case),
            }
            works = harness.gather(makers, options.only)
            title = f"softmax {'backward' if backward else 'forward'}, {rows} rows of {columns}"
            goals = {"torch": GOAL}
            results.append(
                harness.compare(works, options.rounds, options.seconds, title, goals, options.json)
            )
    if options.json:
        harness.print_json(options, results)


if __name__ == "__main__":
    main()
