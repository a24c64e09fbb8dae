"""`tinyattn draw`, `derive`, `gradcheck`, `bench`, `doctor` and `warmup`."""

import json
import shutil

import pytest
from command_line import run

from tinyattn import models
from tinyattn.cli import tools
from tinyattn.graph.op import OPS
from tinyattn.graph.point import at, fixed


@pytest.mark.skipif(shutil.which("dot") is None, reason="needs the program dot")
def test_draw(capsys, tmp_path):
    path = tmp_path / "seq2seq.svg"
    code, out, _ = run(capsys, "draw", "seq2seq", "--depth", 0, "-o", path)
    assert code == 0 and out.strip() == str(path) and "decoder" in path.read_text()
    code, out, _ = run(capsys, "draw", "seq2seq", "--forward", "--json", "-o", tmp_path / "x.json")
    plain = json.loads((tmp_path / "x.json").read_text())
    ops = lambda data, kind: sum(n["op"] == kind or n["kind"] == kind for n in data["nodes"])
    switches = ["--views", "--parameters", "--expand", "maxout", "--expand", "cross_entropy"]
    assert run(capsys, "draw", "seq2seq", "--forward", *switches, "-o", tmp_path / "y.json")[0] == 0
    opened = json.loads((tmp_path / "y.json").read_text())
    for closed in ("maxout", "cross_entropy"):
        assert ops(plain, closed) and not ops(opened, closed)
    assert ops(opened, "view") > ops(plain, "view") and ops(opened, "parameter") > ops(plain, "parameter")
    sizes = []
    for more in ([], ["--repeats"]):
        assert run(capsys, "draw", "gpt", "--depth", 1, *more, "-o", tmp_path / "z.json")[0] == 0
        sizes.append(len(json.loads((tmp_path / "z.json").read_text())["nodes"]))
    assert sizes[0] < sizes[1]
    assert code == 0 and json.loads((tmp_path / "x.json").read_text()) and json.loads(out)["picture"]


def test_derive_prints_and_saves_the_derivation(capsys, tmp_path, monkeypatch):
    code, out, err = run(capsys, "derive", "softmax")
    assert code == 0 and not err and "dx = y ∘ (dy − rowsum(dy ∘ y))" in out
    path = tmp_path / "softmax.html"
    code, out, err = run(capsys, "derive", "attention", "--wrt", "query", "-o", path)
    assert code == 0 and out.strip() == str(path) and "<math" in path.read_text()
    code, out, err = run(capsys, "derive", "tanh", "--json")
    found = json.loads(out)
    assert code == 0 and found["holds"] and found["steps"][-1]["after"] == ["dx = dy ∘ (1 − y²)"]
    op = OPS["tanh"]
    right = op.derivative
    object.__setattr__(op, "derivative", lambda g, y: (g,))
    try:
        code, out, err = run(capsys, "derive", "tanh")
    finally:
        object.__setattr__(op, "derivative", right)
    assert code == 1 and "do NOT hold" in out


def test_gradcheck(capsys):
    code, out, _ = run(capsys, "gradcheck", "tanh", "softmax", "additive_score")
    assert code == 0 and "3 of 3 derivatives agree" in out


def test_gradcheck_says_why_there_is_no_derivative(capsys):
    code, _, error = run(capsys, "gradcheck", "argmax")
    assert code == 2 and "must have a derivative, but argmax has none: integers come out." in error


@pytest.mark.parametrize(
    "name", ["attention", "conv2d", "layer_norm", "linear_cross_entropy", "memory_write"]
)
def test_gradcheck_of_networks(name, capsys):
    code, out, _ = run(capsys, "gradcheck", name)
    assert code == 0 and "1 of 1 derivatives agree" in out and out.endswith(" s)\n")


def test_gradcheck_finds_a_wrong_derivative(capsys, monkeypatch):
    import tinyattn as ta

    wrong = {"wrong": (lambda x: ta.stop_gradient(x) * x, (at(fixed([1.0, 2.0])),))}
    monkeypatch.setattr(tools, "POINTS", wrong)
    code, out, _ = run(capsys, "gradcheck", "--json")
    assert code == 1 and "must equal its finite difference" in json.loads(out)["wrong"]


def test_doctor_and_bench(capsys, tmp_path, monkeypatch):
    code, out, _ = run(capsys, "doctor", "--json")
    found = {finding["check"]: finding for finding in json.loads(out)}
    assert code == 0 and found["numbers"]["good"] and "numpy" in found["versions"]["text"]
    monkeypatch.setenv("TINYATTN_CACHE", str(tmp_path / "file" / "kernels"))
    (tmp_path / "file").write_text("")
    assert tools._check_cache().startswith("warning: ")
    monkeypatch.setenv("TINYATTN_CACHE", str(tmp_path / "kernels"))
    assert tools._check_cache() == f"{tmp_path / 'kernels'} (0.0 MB)"
    monkeypatch.undo()
    code, out, _ = run(capsys, "bench", "seq2seq", "--steps", 2, "--batch-size", 2, "--json")
    assert code == 0 and json.loads(out)["median_step_seconds"] > 0


def test_bench_says_how_far_the_peak_is(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, _ = run(capsys, "bench", "seq2seq", "--steps", 2, "--batch-size", 2)
    rows = dict(line.split(maxsplit=1) for line in out.splitlines())
    assert code == 0 and float(rows["gflops"]) > 0 and 0 < float(rows["share_of_peak"]) < 1.5
    assert {"peak_gflops", "peak_gflops_f64", "memory_gbytes_per_second", "peak_bytes"} <= set(rows)
    code, out, err = run(capsys, "bench", "--profile", "seq2seq", "--steps", 2, "--batch-size", 2)
    assert code == 0 and err == "picture: profile-seq2seq.svg\n"
    assert (tmp_path / "profile-seq2seq.svg").read_text().startswith("<svg ")
    lines = out.splitlines()
    assert lines[0] == "seq2seq on tiny-mt, batch 2: one training step"
    assert lines[1].split() == "kernel calls ms step GFLOP/s GB/s flop/B roof".split()
    assert max(map(len, lines)) <= 80 and any(line.startswith("gemm.") for line in lines)
    code, out, _ = run(
        capsys, "bench", "seq2seq", "--profile", "--steps", 2, "--batch-size", 2, "--json", "-o", "x.svg"
    )
    found = json.loads(out)
    assert code == 0 and found["picture"] == "x.svg" and found["kernels"] and found["machine"]["threads"] >= 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["profile-seq2seq.svg", "x.svg"]


def test_warmup(capsys):
    code, out, _ = run(capsys, "warmup", "--json")
    assert code == 0 and set(json.loads(out)) == set(models.MODELS)
