"""Tests that throw dice: from a fixed seed, few times; and from other seeds, far oftener, when a measurement asks for it
(``python -m benchmarks.reliability``).
"""

import os
from pathlib import Path

SEED = int(os.environ.get("TINYATTN_DICE_SEED", "0"))
"""0 in the suite."""
EXAMPLES = int(os.environ.get("TINYATTN_DICE_EXAMPLES", "0"))
"""How many random graphs each test looks at; 0: as many as it says."""


def tried(what: str, count: int = 1) -> None:
    """Write down how many things have been tried, for who measures."""
    path = os.environ.get("TINYATTN_DICE_TALLY")
    if path:
        with Path(path).open("a") as file:
            file.write(f"{count} {what}\n")
