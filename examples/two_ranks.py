"""One training on two ranks: any number of them gives the same bits.

    mpirun -n 2 python examples/two_ranks.py

Needs the extra `tinyattn[mpi]`. Without mpirun it is one process, whose batches
aren't cut into shards: its sums are rounded otherwise.
"""

import tempfile

import tinyattn as ta


def main(steps: int = 100) -> dict[str, float]:
    """The figures of a small perceptron on the digits."""
    run = ta.Experiment("mlp", "digits", steps=steps, hidden=32)
    with tempfile.TemporaryDirectory() as folder:
        figures = run.train(f"{folder}/run").figures
    return {name: figures[name] for name in ("accuracy", "val_loss")}


if __name__ == "__main__":
    found = main()
    if ta.distributed.rank() == 0:
        print(ta.distributed.size(), "ranks:", found)
