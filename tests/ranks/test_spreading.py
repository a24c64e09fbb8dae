"""Runs that are handed out to ranks: the table of a sweep is that of one process."""

import json

from under_mpi import needs_mpi, said, start

from tinyattn.cli import main

SWEEP = [
    "sweep",
    "mlp",
    "--task",
    "digits",
    "--steps",
    "4",
    "--set",
    "hidden=4",
    "--grid",
    "layers=1,2",
    "--json",
]
UNEVEN = """
from tinyattn import ranks

def work(k):
    assert ranks.size() == 1
    if k == 7:
        raise ValueError("seven")
    return k * k

def main():
    assert list(ranks.shared(range(5), str)) == list("01234") and ranks.size() == 2
    assert list(ranks.spread(range(5), work)) == [0, 1, 4, 9, 16]
    for spread in (ranks.spread, ranks.shared):
        try:
            list(spread(range(6, 9), work))
        except (ValueError, AssertionError):
            print(ranks.rank(), end=" ", flush=True)
"""


@needs_mpi
def test_a_sweep_is_spread_and_gone_on_with(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    there = json.loads(said(start(3, "-m", "tinyattn", *SWEEP, cwd=tmp_path)))
    assert main(SWEEP) == 0
    out, err = capsys.readouterr()
    assert json.loads(out) == there and "run folder" not in err, "nothing is left to be trained"
    assert [row["settings"] for row in there] == [{"layers": "1"}, {"layers": "2"}]
    shards = "shards = 0\n"
    assert all(shards in path.read_text() for path in tmp_path.rglob("config.toml")), "each rank was alone"


@needs_mpi
def test_works_come_back_in_order_and_an_error_to_all(tmp_path):
    (tmp_path / "spreading.py").write_text(UNEVEN)
    found = said(start(2, "-c", "import spreading; spreading.main()", cwd=tmp_path))
    assert sorted(found.replace(" ", "")) == ["0", "0", "1", "1"]  # (ranks print over each other)
