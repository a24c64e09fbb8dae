"""Write the table of results/results.json into the README again: ``python -m benchmarks.results_table``."""

import re
from pathlib import Path

from tinyattn.train import results

ROOT = Path(__file__).parents[1]
COLUMNS = "model", "task", "figure", "median", "target", "paper", "seeds", "time"
BLOCK = re.compile(r"(?<=<!-- results -->\n)(.*?)(?=<!-- end of results -->)", re.DOTALL)


def updated(readme: str) -> str:
    """The README with the table that belongs there."""
    return BLOCK.sub(
        lambda _: results.table(results.read(ROOT / "results" / "results.json"), COLUMNS), readme
    )


if __name__ == "__main__":
    path = ROOT / "README.md"
    path.write_text(updated(path.read_text("utf-8")), "utf-8")
