"""A training on several ranks that loses one of them, again and again, at random moments.

    python -m benchmarks.kills [--kills 20] [--seed 0]

Each time a random rank gets SIGKILL, at a random moment between its start and some seconds later; the job must end, and
what is left in the folder must be whole. The run is gone on with by another number of ranks. At the end its parameters,
moments and random numbers are those of a run in one process that nobody disturbed, bit for bit. Prints one line each,
and fails at the first that isn't so.
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tinyattn.train import checkpoint

LONGEST = 12.0
"""Seconds after its start at which a rank is killed at the latest."""
PATIENCE = 30.0
SETTINGS = [
    "mlp", "--task", "digits", "--no-baseline", "--set", "hidden=16", "--set", "shards=8", "--set", "schedule=constant",
    "--set", "checkpoint_every=10", "--set", "validate_every=50",
]  # fmt: skip
MANY = "1000000"


def command(ranks: int, *words: str | Path) -> list[str]:
    """`tinyattn train words…` on so many ranks."""
    start = ["mpirun", "-n", str(ranks)] if ranks else []
    return [*start, sys.executable, "-m", "tinyattn", "train", "--threads", "1", *map(str, words)]


def processes_below(parent: int) -> list[int]:
    """The Python processes that descend from one."""
    table = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                above = int(Path(f"/proc/{entry}/stat").read_text().rpartition(")")[2].split()[1])
                name = Path(f"/proc/{entry}/comm").read_text().strip()
            except OSError:
                continue
            table[int(entry)] = (above, name)

    def descends(pid: int) -> bool:
        while pid in table:
            pid = table[pid][0]
            if pid == parent:
                return True
        return False

    return [pid for pid, (_, name) in table.items() if name.startswith("python") and descends(pid)]


def state(folder: Path) -> list[bytes]:
    """All that the last checkpoint of a run holds in arrays."""
    saved = checkpoint.latest(folder)
    return [
        part[key].tobytes() for part in (saved.model, saved.optimizer, saved.random) for key in sorted(part)
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    draw = random.Random(options.seed)
    with tempfile.TemporaryDirectory() as place:
        folder, calm = Path(place) / "run", Path(place) / "calm"
        done, longest, last = 0, 0.0, 0
        while done < options.kills:
            ranks, moment = draw.randint(2, 4), draw.uniform(0.0, LONGEST)
            begun = folder.exists() and checkpoint.saved(folder)
            words: list[str | Path] = ["--resume", folder, "--steps", MANY]
            if not begun:
                words = [*SETTINGS, "--steps", MANY, "--out", folder]
            if not begun and folder.exists():  # killed before its first checkpoint
                subprocess.run(["rm", "-r", folder], check=True)
            process = subprocess.Popen(
                command(ranks, *words), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
            )
            time.sleep(moment)
            there = processes_below(process.pid)
            if not there:
                process.kill()
                process.communicate()
                continue
            os.kill(draw.choice(there), signal.SIGKILL)
            killed = time.monotonic()
            try:
                _, err = process.communicate(timeout=PATIENCE)
            except subprocess.TimeoutExpired:
                raise SystemExit(
                    f"the job of {ranks} ranks went on for {PATIENCE:.0f} s without one"
                ) from None
            done, longest = done + 1, max(longest, time.monotonic() - killed)
            if process.returncode == 0 or "Traceback" in err:
                raise SystemExit(f"the job of {ranks} ranks ended with {process.returncode}:\n{err}")
            for path in [*folder.glob("*.safetensors")] if folder.exists() else []:
                checkpoint.load(path)  # raises if it isn't whole
            last = checkpoint.latest(folder).step if folder.exists() and checkpoint.saved(folder) else 0
            print(
                f"{done:3d}: one of {ranks} ranks killed after {moment:.1f} s; step {last:,} is whole",
                flush=True,
            )
        steps = str(last + 100)
        subprocess.run(command(3, "--resume", folder, "--steps", steps), check=True, capture_output=True)
        subprocess.run(
            command(0, *SETTINGS, "--steps", steps, "--out", calm), check=True, capture_output=True
        )
        same = state(folder) == state(calm)
        print(
            f"jobs ended within {longest:.1f} s; after step {steps} {'the same bits' if same else 'OTHER BITS'}"
        )
        raise SystemExit(not same)


if __name__ == "__main__":
    main()
