"""How often nothing went wrong: tests that throw dice, with other dice and far oftener than in the suite.

    python -m benchmarks.reliability [PART...] [--seed 1] [--graphs 10000] [--files 3000]

    kills        SIGKILLs of a run on several ranks, which goes on bit for bit (see kills.py)
    files        files of a run, damaged: one sentence, or no harm; nothing is lost
    graphs       random graphs: compiled with rewriting and without, interpreted, and by torch: values and gradients
    operations   every operation, with each element type, layout in memory and order of derivative of its samples
    mutations    derivative rules broken on purpose, one position at a time: gradcheck must notice each

Prints a table. Half an hour of one processor for all of them; a part that fails shows what pytest said.
"""

import argparse
import functools
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from datetime import date
from pathlib import Path

from benchmarks import parts

ROOT = Path(__file__).parents[1]
DAMAGED = "tests/experiments/test_damaged.py::test_a_damaged_file_is_one_sentence_or_does_no_harm"
GRAPHS = "tests/rewrite/test_random_graphs.py::test_programs_agree_with_the_interpreter_and_torch"
MUTATIONS = "tests/graph/test_mutation.py::test_broken_rules_are_caught"
OPERATIONS = (
    "tests/ops/test_ops.py", "tests/ops/test_second_derivatives.py", "tests/ops/test_types.py",
    "tests/ops/test_proof.py", "tests/ops/test_offsets.py", "tests/kernels/test_sharing.py",
)  # fmt: skip


def tested(tests: Sequence[str], seed: int, **environment: object) -> tuple[bool, int, int]:
    """Run tests from a seed: whether all passed, how many there were, and how many things they tried."""
    with tempfile.TemporaryDirectory() as place:
        tally = Path(place) / "tally"
        dice = {"SEED": seed, "TALLY": tally, **environment}
        told = {f"TINYATTN_DICE_{key.upper()}": str(value) for key, value in dice.items()}
        words = [sys.executable, "-m", "pytest", "-n", "0", "-p", "no:cacheprovider"]
        words += [f"--hypothesis-seed={seed}", *tests]
        done = subprocess.run(words, cwd=ROOT, env=os.environ | told, capture_output=True, text=True)
        tried = sum(int(line.split()[0]) for line in tally.read_text().splitlines()) if tally.exists() else 0
    if done.returncode:
        print(done.stdout[-4000:], file=sys.stderr)
    passed = re.search(r"(\d+) passed", done.stdout)
    return done.returncode == 0, int(passed[1]) if passed else 0, tried


def kills(options: argparse.Namespace) -> tuple[bool, str]:
    """Twenty of them."""
    words = [sys.executable, "-m", "benchmarks.kills", "--seed", str(options.seed)]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
    print(done.stderr, end="", file=sys.stderr)
    return done.returncode == 0, f"20 ranks killed; {done.stdout.strip().splitlines()[-1]}"


def files(options: argparse.Namespace) -> tuple[bool, str]:
    """With one seed after the other, until there are enough."""
    good, count, seed = True, 0, options.seed
    while good and count < options.files:
        good, _, tried = tested([DAMAGED], 100 * seed)
        count, seed = count + tried, seed + 1
    return good, f"{count:,} damaged files"


def graphs(options: argparse.Namespace) -> tuple[bool, str]:
    """Some of what hypothesis makes are twice the same."""
    good, _, tried = tested([GRAPHS], options.seed, examples=options.graphs)
    return good, f"{tried:,} random graphs"


def operations(options: argparse.Namespace) -> tuple[bool, str]:
    """The suite's own tests of the table."""
    good, passed, _ = tested(OPERATIONS, 0)
    return good, f"{passed:,} combinations"


def mutations(options: argparse.Namespace) -> tuple[bool, str]:
    """Each rule, each of its positions: one percent too much, and nothing at all."""
    good, rules, tried = tested([MUTATIONS], 0)
    return (
        good,
        f"{tried:,} broken derivatives of {rules} rules caught"
        if good
        else f"{tried:,} caught, then one not",
    )


PARTS = {"kills": kills, "files": files, "graphs": graphs, "operations": operations, "mutations": mutations}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--seed", type=int, default=1, help="of the dice")
    parser.add_argument("--graphs", type=int, default=10_000)
    parser.add_argument("--files", type=int, default=3000)
    options = parser.parse_args()
    print(f"{date.today().isoformat()}, seed {options.seed}\n")
    known = {name: functools.partial(part, options) for name, part in PARTS.items()}
    parts.run(known, options.parts, "tried")


if __name__ == "__main__":
    main()
