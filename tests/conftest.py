"""Said before anything is imported: torch and NumPy compute on one thread here. Each test process has its own, there
are as many of them as processors, and threads that wait for each other spin: fifty updates of a small GPT took torch
60 s of processor time so on a busy machine, and 7 s with one thread. Our own threads have a variable of their own, and stay.
"""

import os

import pytest

for _library in ("MKL", "OPENBLAS"):
    os.environ.setdefault(f"{_library}_NUM_THREADS", "1")


FIRST = "test_nothing_differs_from_torch_but_what_is_listed"
"""The longest test, more than a minute: begun last it would keep one process busy alone."""


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: item.name != FIRST)


@pytest.fixture(autouse=True)
def _own_operations():
    """Operations that a test makes are gone after it: others go over the whole table."""
    import tinyattn.api  # noqa: F401  (all of the package's are there before the first test; after the environment is set)
    from tinyattn.graph.op import OPS

    before = set(OPS)
    yield
    for name in set(OPS) - before:
        del OPS[name]


@pytest.fixture
def undrawn(monkeypatch):
    """Reports have no picture of a graph: for tests of other things, which train many runs."""
    from tinyattn.experiments import outcome
    from tinyattn.sections import Graph

    monkeypatch.setattr(outcome, "_graph", lambda *_: Graph("", "Not drawn."))
