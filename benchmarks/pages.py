"""How long the page of a large graph takes to open in Chromium, and to light up a node's ancestors.

    python -m benchmarks.pages              # a chain of 1,500 nodes and its gradient

Times are those that the page's thread has worked: other processes on the machine don't count.
"""

import argparse
import shutil
import statistics
import tempfile
from pathlib import Path

import numpy as np

import tinyattn as ta

GOALS = {"opened": 1.0, "highlighted": 0.1}
"""Seconds."""


def _picture(steps: int):
    x = ta.tensor(np.ones((4, 4)), name="x")
    y = x
    for k in range(steps):
        with ta.scope(f"layer{k // 25}"):
            y = ta.tanh(y * float(k + 2))
    return ta.viz.draw(y.sum(), x)


def _busy(client) -> float:
    found = client.send("Performance.getMetrics")["metrics"]
    return next(one["value"] for one in found if one["name"] == "TaskDuration")


def main() -> None:
    """Print the medians beside their goals."""
    from playwright.sync_api import sync_playwright

    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    view, times = _picture(375), {"opened": [], "highlighted": []}
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as started:
        path = Path(folder) / "a.html"
        view.save(path)
        browser = started.chromium.launch(executable_path=shutil.which("chromium"))
        for _ in range(rounds):
            page = browser.new_page(viewport={"width": 1100, "height": 800})
            client = page.context.new_cdp_session(page)
            client.send("Performance.enable", {"timeDomain": "threadTicks"})
            page.goto(f"file://{path}")
            page.wait_for_selector(".walk[data-ready]")
            times["opened"].append(_busy(client))
            for ident in [*view.drawn.nodes][10::150]:
                before = _busy(client)
                page.evaluate("id => { views[0].select(id); document.body.offsetHeight; }", ident)
                times["highlighted"].append(_busy(client) - before)
            page.close()
        print(f"{len(view.drawn.nodes):,} nodes, {path.stat().st_size / 1e6:.2f} MB")
    for what, found in times.items():
        print(f"{what:12} {statistics.median(found):.3f} s (goal < {GOALS[what]} s)")


if __name__ == "__main__":
    main()
