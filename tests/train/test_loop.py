"""The training loop: resumed runs are bit-identical, Ctrl-C saves, a NaN stops; progress lines and run folders."""

import io
import json
import os
import signal
import subprocess
import sys
import time
import tomllib
from dataclasses import asdict, dataclass

import numpy as np
import pytest

import tinyattn as ta
from tinyattn import nn
from tinyattn.errors import CheckpointError, DataError, TinyattnError
from tinyattn.models import model as protocol
from tinyattn.train import checkpoint, results
from tinyattn.train.config import TrainingConfig
from tinyattn.train.loop import Interrupted, Trainer
from tinyattn.train.progress import Progress
from tinyattn.train.run import Run, toml


@dataclass(frozen=True)
class Points:
    x: np.ndarray
    y: np.ndarray
    weight: int = 4


class Stream:
    """Endless batches from a counter. `at` maps a position to something done when it is reached."""

    def __init__(self, seed, at):
        self.seed, self.position, self.at = seed, 0, at

    def __iter__(self):
        return self

    def __next__(self):
        self.position += 1
        x = np.random.default_rng((self.seed, self.position)).standard_normal((4, 3)).astype(np.float32)
        scale = np.float32(self.at.get(self.position, lambda: 1.0)() or 1.0)
        return Points(x * scale, x[:, :1])

    def state(self):
        return {"seed": self.seed, "position": self.position}

    def restore(self, state):
        self.seed, self.position = state["seed"], state["position"]


class Task:
    name = "points"

    def __init__(self, at=None):
        self.at = at or {}

    def batches(self, split, batch_size, seed=None):
        stream = Stream(99 if seed is None else seed, {} if seed is None else self.at)
        return [next(stream), next(stream)] if seed is None else stream


class Model(protocol.Model):
    """Dropout makes it depend on the random state."""

    def __init__(self):
        self.layer, self.dropout = nn.Linear(3, 1), nn.Dropout(0.3)

    def loss(self, batch):
        return ((self.layer(self.dropout(batch.x)) - batch.y) ** 2).mean()


CONFIG = TrainingConfig(
    steps=12, batch_size=4, validate_every=5, checkpoint_every=4, log_every=3, learning_rate=0.05
)


def trainer(folder, task=None, config=CONFIG):
    ta.manual_seed(11)
    run = (
        Run.open(folder)
        if (folder / "config.toml").exists()
        else Run.create(folder, {"training": asdict(config)}, "")
    )
    return Trainer(Model(), task or Task(), config, run)


def finished(folder, step=12):
    found = checkpoint.load(folder / checkpoint.name_of(step))
    metrics = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    for record in metrics:
        record.pop("predictions_per_second", None)
    found.progress.pop("seconds")
    return found, metrics


def assert_same(one, other):
    (a, a_metrics), (b, b_metrics) = one, other
    for part in ("model", "optimizer", "random"):
        left, right = getattr(a, part), getattr(b, part)
        assert left.keys() == right.keys() and left
        for name in left:
            assert left[name].tobytes() == right[name].tobytes(), name
    assert a_metrics == b_metrics
    assert (a.data, a.progress) == (b.data, b.progress)


@pytest.fixture
def uninterrupted(tmp_path):
    whole = trainer(tmp_path / "whole")
    whole.fit()
    whole.run.close()
    return finished(tmp_path / "whole")


def test_a_run_leaves_what_it_should(tmp_path, uninterrupted):
    saved, metrics = uninterrupted
    assert {path.name for path in checkpoint.saved(tmp_path / "whole")} == {
        checkpoint.name_of(s) for s in (8, 12)
    }
    assert [record["step"] for record in metrics if "loss" in record] == [3, 6, 9, 12]
    assert [record["step"] for record in metrics if "val_loss" in record] == [5, 10, 12]
    assert metrics[-1]["val_loss"] < metrics[1]["val_loss"]
    assert saved.progress["best_step"] == 12 and saved.optimizer["steps"] == 12
    best = checkpoint.load(tmp_path / "whole" / checkpoint.BEST)
    assert best.step == 12 and not best.optimizer


@pytest.mark.parametrize("stop", [1, 4, 6, 11, 12])
def test_ctrl_c_saves_and_the_resumed_run_is_bit_identical(tmp_path, uninterrupted, stop):
    folder = tmp_path / "part"
    first = trainer(folder, Task({stop: lambda: os.kill(os.getpid(), signal.SIGINT)}))
    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(Interrupted) as stopped:
        first.fit()
    first.run.close()
    assert stopped.value.step == stop and signal.getsignal(signal.SIGINT) is handler
    second = trainer(folder)
    assert checkpoint.latest(folder).step == stop
    second.restore(checkpoint.latest(folder))
    second.fit()
    second.run.close()
    assert_same(finished(folder), uninterrupted)


def test_metrics_after_the_checkpoint_are_measured_again(tmp_path, uninterrupted):
    folder = tmp_path / "part"

    class Killed(BaseException):
        pass

    def kill():
        raise Killed

    first = trainer(folder, Task({8: kill}))
    with pytest.raises(Killed):  # as SIGKILL would: nothing is saved after step 4
        first.fit()
    first.run.close()
    with open(folder / "metrics.jsonl", "a") as file:
        file.write('{"step": 7, "lo')
    assert [record["step"] for record in first.run.metrics()] == [3, 5, 6]
    second = trainer(folder)
    second.restore(checkpoint.latest(folder))
    assert second.standing.step == 4 and [record["step"] for record in second.run.metrics()] == [3]
    second.fit()
    second.run.close()
    assert_same(finished(folder), uninterrupted)


@pytest.mark.parametrize(
    "scale, what", [(np.nan, "loss"), (1e30, "loss"), (1e15, "gradient norm"), (1e6, None)]
)
def test_a_loss_that_is_not_finite_stops_the_run(tmp_path, scale, what):
    run = trainer(tmp_path / "run", Task({10: lambda: scale}))
    if what is None:  # large, but finite: clipping is there for it
        run.fit()
        return
    with pytest.raises(
        TinyattnError, match=f"the {what} must be finite, but got (nan|inf) at step 10"
    ) as error:
        run.fit()
    last = checkpoint.name_of(8)
    assert last in str(error.value) and "ta.debug_nans()" in str(error.value)
    assert checkpoint.latest(tmp_path / "run").step == 8
    assert all(np.isfinite(array).all() for array in checkpoint.latest(tmp_path / "run").model.values())


def test_a_checkpoint_of_another_model_changes_nothing(tmp_path, uninterrupted):
    saved = uninterrupted[0]
    saved.model["layer.weight"] = np.zeros((2, 3), np.float32)
    other = trainer(tmp_path / "other")
    before = other.model.state_dict()
    with pytest.raises(CheckpointError, match="it belongs to another model"):
        other.restore(saved)
    assert other.standing.step == 0
    for name, array in other.model.state_dict().items():
        np.testing.assert_array_equal(array, before[name])


@pytest.mark.parametrize(
    "changes, expected",
    [
        ({"steps": 0}, "steps must be at least 1, but got 0"),
        ({"learning_rate": -1.0}, "learning_rate must be positive, but got -1.0"),
        ({"learning_rate": float("nan")}, "learning_rate must be positive"),
        ({"optimizer": "adm"}, "optimizer must be one of adam"),
        ({"schedule": "step"}, "schedule must be one of constant"),
        ({"warmup_steps": 12}, "fewer than the steps"),
    ],
)
def test_settings_that_make_no_sense(changes, expected):
    with pytest.raises(TinyattnError, match=expected):
        TrainingConfig(**(asdict(CONFIG) | changes)).check()


# The command, stopped from outside.

COMMAND = [sys.executable, "-m", "tinyattn", "train", "--no-baseline", "--seed", "5"]
SMALL = {"hidden": 6, "embedding": 6, "maxout": 4, "attention": 4, "train_examples": 400, "batch_size": 8}
SMALL |= {"steps": 400, "checkpoint_every": 150, "validate_every": 200, "log_every": 10}


def command(*arguments):
    settings = [f"--set={key}={value}" for key, value in SMALL.items()]
    environment = os.environ | {"PYTHONPATH": os.getcwd()}
    return {"args": [*COMMAND, *settings, *map(str, arguments)], "env": environment, "text": True}


def wait_for(path, lines, process):
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        if path.exists() and path.read_text().count("\n") >= lines:
            return
        time.sleep(0.005)
    raise AssertionError(f"the process did not get far enough: {process.communicate()}")


def test_the_command_resumes_after_ctrl_c_and_kill(tmp_path):
    whole, part = tmp_path / "whole", tmp_path / "part"
    done = subprocess.run(**command("--out", whole, "--json"), capture_output=True)
    assert done.returncode == 0, done.stderr
    outcome = json.loads(done.stdout)

    process = subprocess.Popen(**command("--out", part), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    wait_for(part / "metrics.jsonl", 3, process)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130 and out == ""
    assert f"tinyattn train --resume {part}" in err and "Traceback" not in err

    resume = [sys.executable, "-m", "tinyattn", "train", "--resume", str(part)]
    reached = len((part / "metrics.jsonl").read_text().splitlines())
    for number, how in enumerate((signal.SIGKILL, signal.SIGTERM), 1):
        process = subprocess.Popen(
            resume, env=command()["env"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        wait_for(part / "metrics.jsonl", reached + 6 * number, process)
        process.send_signal(how)
        process.communicate(timeout=60)
        assert process.returncode == (130 if how == signal.SIGTERM else -how)
    done = subprocess.run([*resume, "--json"], env=command()["env"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert_same(finished(part, 400), finished(whole, 400))
    again = json.loads(done.stdout)["models"]["bahdanau"]
    assert all(
        again[key] == value for key, value in outcome["models"]["bahdanau"].items() if key != "seconds"
    )


# Run folders.


def test_config_is_toml(tmp_path):
    config = {
        "text": 'a "b" \\ \n\t\x7f\x00 é', "float": 1e-3, "big": 1e22, "int": -3, "yes": True, "list": [1, 2.5, "x"], "none": None,
        "table": {"inner": 1, "deeper": {"a b": "c"}}, "odd key!": 2,
    }  # fmt: skip
    found = tomllib.loads(toml(config))
    del config["none"]
    assert found == config
    run = Run.create(tmp_path / "r", config, "x")
    assert Run.open(run.folder, lock=False).config == config


def test_runs_do_not_overwrite_each_other(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    runs = [Run.create(None, {"a": 1}, "model-task-0") for _ in range(3)]
    assert [run.folder.name for run in runs] == ["model-task-0", "model-task-0-2", "model-task-0-3"]
    with pytest.raises(DataError, match="holds a run already") as error:
        Run.create(runs[0].folder, {}, "x")
    assert f"tinyattn train --resume {runs[0].folder}" in str(error.value)
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="is no folder"):
        Run.create(tmp_path / "file", {}, "x")
    with pytest.raises(CheckpointError, match="another process is at it"):
        Run.open(runs[0].folder)
    runs[0].close()
    Run.open(runs[0].folder).close()
    for missing in (tmp_path / "nowhere", tmp_path):
        with pytest.raises(
            CheckpointError, match="must be the folder of a run, with a config.toml, but there is none"
        ):
            Run.open(missing)
    (runs[2].folder / ".lock").unlink()
    (runs[2].folder / ".lock").mkdir()  # as a folder that is read-only, also for the superuser
    with pytest.raises(CheckpointError, match="must be writable, but it is not: Is a directory"):
        Run.open(runs[2].folder)
    (runs[1].folder / "config.toml").write_text("a = ")
    with pytest.raises(CheckpointError, match=r"config\.toml must be TOML, but it is not: Invalid value"):
        Run.open(runs[1].folder, lock=False)


# Progress.


class Terminal(io.StringIO):
    def isatty(self):
        return True


def shown(stream, seconds_per_step, steps, first_step=3.0):
    """The writes of a run, with a clock of our own."""
    now = [100.0]
    progress = Progress(steps, label="bahdanau", stream=stream, clock=lambda: now[0])
    writes = []
    for step in range(1, steps + 1):
        now[0] += first_step if step == 1 else seconds_per_step
        before = len(stream.getvalue())
        progress.update(step, 1000, loss=1.23456, lr=1e-3, grad=0.5, val=0.25)
        if len(stream.getvalue()) > before:
            writes.append((now[0], stream.getvalue()[before:]))
    progress.close()
    return writes, progress


def test_a_pipe_gets_a_plain_line_every_ten_seconds():
    stream = io.StringIO()
    writes, _ = shown(stream, 0.5, 101)
    assert len(writes) == 5 and all(text.endswith("\n") and text.count("\n") == 1 for _, text in writes)
    assert not set(stream.getvalue()) & {"\r", "\x1b", "\b"}
    line = writes[0][1]
    for part in (
        "step ",
        "/101",
        " %",
        "loss 1.23",
        "val 0.250",
        "lr 1.0e-3",
        "grad 0.5",
        "2.0k words/s",
        " left",
    ):
        assert part in line


def test_a_terminal_is_redrawn_within_its_width(monkeypatch):
    monkeypatch.setenv("LINES", "24")
    for columns in (80, 40, 12):
        monkeypatch.setenv("COLUMNS", str(columns))
        stream = Terminal()
        writes, _ = shown(stream, 0.01, 500, first_step=0.2)
        assert 40 <= len(writes) <= 53  # 5 seconds
        for _, text in writes:
            assert text.startswith("\r") and "\n" not in text and len(text.rstrip()) <= columns
            assert "500" in text
        if columns == 80:
            for part in ("%", "loss", "val", "lr", "grad", "words/s", "left"):
                assert part in writes[-1][1]


def test_the_time_left_does_not_count_the_first_step():
    _, progress = shown(io.StringIO(), 0.5, 11, first_step=60.0)
    assert progress.seconds_per_step == pytest.approx(0.5)
    assert progress.predictions_per_second == pytest.approx(2000)
    resumed = Progress(100, first=90, stream=io.StringIO(), clock=lambda: 0.0)
    assert "left" not in resumed.line() and "step 90/100" in resumed.line()


# Results.


def test_results_are_medians_over_seeds(tmp_path):
    path = tmp_path / "results" / "results.json"
    for seed, value in ((2, 0.5), (0, 0.9), (1, 0.7), (1, 0.8)):
        results.record(
            path, "m", "t", {"bleu": value}, seed, 10, 1.5, "tinyattn train m", "P 2015", {"bleu": 0.6}
        )
    results.check(path)
    (record,) = results.read(path)
    assert (
        record["value"] == 0.8
        and record["seeds"] == {"0": 0.9, "1": 0.8, "2": 0.5}
        and record["target"] == 0.6
    )
    keys = {
        "model",
        "task",
        "metric",
        "value",
        "target",
        "reported",
        "paper",
        "seeds",
        "steps",
        "seconds",
        "command",
        "date",
    }
    assert record.keys() == keys
    reported = {"aer": "0.36 (another task)"}
    results.record(
        path, "m", "t", {"bleu": 0.1, "aer": 0.2}, 0, 20, 1.5, "tinyattn train m", "", {}, reported
    )
    row = "| m | t | aer | 0.2 |  | 0.36 (another task) | 0.2 | 20 | 2 s | `tinyattn train m` |"
    assert (
        row in (tmp_path / "results" / "README.md").read_text()
    )  # and no row of what nobody reports or aims at
    assert "| bleu |" not in (tmp_path / "results" / "README.md").read_text()
    assert [(r["metric"], r["value"], r["seeds"]) for r in results.read(path)] == [
        ("bleu", 0.1, {"0": 0.1}),
        ("aer", 0.2, {"0": 0.2}),
    ]
    path.write_text("{}")
    for refusing in (results.read, results.check):
        with pytest.raises(DataError, match="must hold a list, but got {}"):
            refusing(path)
    with pytest.raises(DataError, match="must be writable, but it is not: Not a directory"):
        results.check(path / "below" / "results.json")


@pytest.mark.parametrize(
    "line, expected",
    [
        ('{"step": null}', "must hold a whole number of at least 0 as step in line 2, but got null"),
        ('{"step": "x"}', "must hold a whole number of at least 0 as step in line 2, but got 'x'"),
        ('{"loss": 1}', "must hold step in line 2, but it does not"),
        ("[1]", r"must hold named values in line 2, but got \[1\]"),
        (
            '{"step": ' + "9" * 5000 + "}",
            r"be JSON in line 2, but it is not: Exceeds the limit \(4300 digits\)",
        ),
        ('{"step": 1e999}', "must be JSON in line 2, but it is not: the number 1e999 is too large"),
        ('{"step": ' + "[" * 5000, "must be JSON in line 2 of at most 32 levels, but it has more"),
        ('{"step": 1, "lo', "must be JSON in line 2, but it is not: Unterminated string"),
    ],
)
def test_a_line_of_metrics_that_is_none_is_named(tmp_path, line, expected):
    run = Run.create(tmp_path / "run", {}, "")
    run.log({"step": 1, "loss": float("nan")})
    path = tmp_path / "run" / "metrics.jsonl"
    content = path.read_text() + line + '\n{"step": 3}\n'
    path.write_text(content)
    for look in (run.metrics, lambda: run.truncate_metrics(2)):
        with pytest.raises(CheckpointError, match=expected):
            look()
    assert path.read_text() == content


def test_metrics_keep_their_lines_as_they_are(tmp_path):
    run = Run.create(tmp_path / "run", {}, "")
    path = tmp_path / "run" / "metrics.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"step":1,"loss":1.50}\r\n\n{"step": 2, "mine": NaN}\n{"step": 3}')
    assert run.metrics() == [{"step": 1, "loss": 1.5}, {"step": 2, "mine": None}, {"step": 3}]
    run.truncate_metrics(2)
    assert path.read_bytes() == b'{"step":1,"loss":1.50}\r\n{"step": 2, "mine": NaN}\n'


def test_a_checkpoint_under_another_steps_name_is_refused(tmp_path, uninterrupted):
    saved = tmp_path / "whole" / checkpoint.name_of(12)
    os.rename(saved, saved.with_name(checkpoint.name_of(30)))
    with pytest.raises(CheckpointError, match="must be what its name says, but it is of step 12"):
        checkpoint.latest(tmp_path / "whole")
