"""A table of parts that can be run alone, each of which says whether all was well, and what it did."""

import time
from collections.abc import Callable, Mapping, Sequence

Part = Callable[[], tuple[bool, str]]


def run(parts: Mapping[str, Part], chosen: Sequence[str], head: str) -> None:
    """Run those chosen, or all, and print a row for each. Leaves the process with 1 if something was wrong."""
    print(f"| part | {head} | without a fault | time |\n|---|---|---|---|", flush=True)
    well = True
    for name in chosen or parts:
        started = time.monotonic()
        good, text = parts[name]()
        took = time.monotonic() - started
        print(f"| {name} | {text} | {'yes' if good else 'NO'} | {took:.0f} s |", flush=True)
        well = well and good
    raise SystemExit(not well)
