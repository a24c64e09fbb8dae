"""Training by several ranks: the same bits for any number of them, with all that depends on an order; from a checkpoint of
so many others; stopped in the middle.
"""

import os
import signal
import time

import numpy as np
import pytest
import ranks_job
from under_mpi import is_open_mpi, job, needs_mpi, ours, said, start

import tinyattn as ta
from tinyattn.errors import TinyattnError
from tinyattn.models import model as protocol
from tinyattn.train import checkpoint
from tinyattn.train.config import TrainingConfig
from tinyattn.train.shards import ShardedStep, rows

STEPS = 12


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """The digest of one process's run, and its checkpoint."""
    folder = tmp_path_factory.mktemp("alone") / "run"
    return ranks_job.digest(ranks_job.trained(folder, STEPS)), checkpoint.latest(folder)


@needs_mpi
@pytest.mark.parametrize(("ranks", "options"), [(2, ()), (3, ("share_optimizer=true",))])
def test_the_result_does_not_depend_on_the_ranks(alone, tmp_path, ranks, options):
    assert said(job(ranks, tmp_path / "run", STEPS, *options)) == alone[0]


@needs_mpi
def test_a_checkpoint_of_four_ranks_goes_on_with_two(alone, tmp_path):
    said(job(4, tmp_path / "run", 5, "share_optimizer=true"))
    assert said(job(2, tmp_path / "run", STEPS)) == alone[0]


# One process.


def _step(shards, seed=3, **given):
    ta.manual_seed(seed)
    model = ranks_job.Model(dropout=0.0, norm=False)
    config = TrainingConfig(**ranks_job.CONFIG | {"shards": shards} | given)
    return model, ShardedStep(model.objectives()[0], shards, config.make_optimizer)


@pytest.mark.parametrize("shards", [1, 3, 8, 12])
def test_shards_are_weighted_as_the_batch_is(shards):
    """Padding, and means of different things: the loss and its gradient are those of the batch in one piece."""
    model, step = _step(shards)
    batch = next(ranks_job.Stream(5))
    loss = float(model.loss(batch))
    norm = np.sqrt(sum((g.numpy() ** 2).sum() for g in ta.grad(model.loss(batch), model.parameters())))
    found = step.take(batch, lambda: False)
    np.testing.assert_allclose(found[:2], (loss, norm), rtol=1e-5)


def test_a_shard_without_predictions_counts_for_nothing():
    model, step = _step(12)
    batch = next(ranks_job.Stream(5))
    batch.label[3] = -1
    expected = float(model.loss(batch))
    np.testing.assert_allclose(step.take(batch, lambda: False)[0], expected, rtol=1e-5)


def test_updates_are_those_of_the_whole_batch():
    whole, sharded = (ranks_job.Model(dropout=0.0, norm=False) for _ in range(2))
    sharded.load_state_dict(whole.state_dict())
    config = TrainingConfig(**ranks_job.CONFIG)
    step = ShardedStep(sharded.objectives()[0], 8, config.make_optimizer)
    optimizer = config.make_optimizer(whole.parameters())
    for batch, _ in zip(ranks_job.Stream(1), range(3), strict=False):
        optimizer.minimize(whole.loss(batch))
        step.take(batch, lambda: False)
    for name, value in whole.state_dict().items():
        np.testing.assert_allclose(sharded.state_dict()[name], value, rtol=1e-4, atol=1e-5)


def test_rows_of_shards_are_those_of_the_batch():
    batch = next(ranks_job.Stream(5))
    parts = [rows(batch, k, 8) for k in range(8)]
    for name, value in vars(batch).items():
        assert np.array_equal(np.concatenate([getattr(part, name) for part in parts]), value)
    assert {len(part.bit) for part in parts} == {1, 2}


def test_each_shard_draws_numbers_of_its_own():
    class Noise(protocol.Model):
        def __init__(self):
            self.w = ta.parameter(np.ones(1, np.float32))

        def loss(self, batch):
            return (
                ta.sum(self.w) * ta.mean(ta.random_uniform((1000,))) * ta.mean(batch.bit.astype(np.float32))
            )

    seen = []
    for shards in (1, 2):
        ta.manual_seed(0)
        step = ShardedStep(
            Noise().objectives()[0], shards, lambda parameters, axes: ta.optim.SGD(parameters, 0.0)
        )
        batch = next(ranks_job.Stream(5))
        batch.bit[:] = 1
        seen.append(step.take(batch, lambda: False)[0])
        assert ta.random_state().tolist() == [0, 1 << 32]
    assert seen[0] != seen[1]


def test_parameters_of_two_types_are_refused():
    model = ranks_job.Model()
    model.words.to(np.float64)
    with pytest.raises(
        TinyattnError, match="must have one element type to be trained in shards, but got float32 and float64"
    ):
        ShardedStep(model.objectives()[0], 8, TrainingConfig().make_optimizer)


# Ends.


def _until(folder, name):
    deadline = time.monotonic() + 60
    while not (folder / name).exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert (folder / name).exists()


def _children(process):
    """The ranks: the processes of Python below mpirun."""
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                parent = int(open(f"/proc/{entry}/stat").read().rpartition(")")[2].split()[1])
                command = open(f"/proc/{entry}/cmdline").read()
            except OSError:
                continue
            found.append((int(entry), parent, command))
    below, ranks = {process.pid}, []
    for pid, parent, command in sorted(found):
        if parent in below:
            below.add(pid)
            if "ranks_job" in command and "mpirun" not in command and "hydra" not in command:
                ranks.append(pid)
    return ranks


@needs_mpi
@pytest.mark.skipif(not os.path.isdir("/proc"), reason="finds its processes in /proc")
@pytest.mark.parametrize("victim", [0, 1])
def test_a_rank_that_dies_ends_the_job_and_leaves_a_whole_checkpoint(tmp_path, victim):
    folder = tmp_path / "run"
    process = job(2, folder, 100_000)
    _until(folder, checkpoint.name_of(10))
    os.kill(_children(process)[victim], signal.SIGKILL)
    killed = time.monotonic()
    _, err = process.communicate(timeout=30)
    assert time.monotonic() - killed < 30 and process.returncode
    assert "Traceback" not in err
    assert checkpoint.latest(folder).step >= 10
    leftovers = [path for path in folder.iterdir() if path.suffix == ".safetensors"]
    for path in leftovers:
        checkpoint.load(path)


@needs_mpi
def test_ctrl_c_saves_once_and_all_stop_after_the_same_step(tmp_path):
    if is_open_mpi():
        pytest.skip("Open MPI's mpirun kills its ranks a fifth of a second after Ctrl-C")
    folder = tmp_path / "run"
    process = job(2, folder, 100_000, "checkpoint_every=100000")
    _until(folder, "best.safetensors")
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    saved = checkpoint.saved(folder)
    assert len(saved) == 1
    assert out.strip().splitlines()[-1] == f"stopped {checkpoint.load(saved[0]).step}"
    assert "Traceback" not in err


@needs_mpi
def test_what_all_ranks_refuse_is_said_once(tmp_path):
    words = ("-m", "tinyattn", "train", "mlp", "--steps", "2", "--out", tmp_path / "run")
    process = start(2, *words, "--set", "shards=1")
    out, err = process.communicate(timeout=60)
    assert process.returncode == 2
    assert (
        err.count("[train] a batch must have as many shards as there are ranks, at most 1, but got 2 ranks.")
        == 1
    )
    assert "Abort" not in err


def test_buckets_are_added_up_while_the_backward_pass_goes_on():
    _, step = _step(3)
    seen = []
    told = step._buckets.told

    def note(k):
        buckets = step._buckets
        room = buckets._rooms[buckets._term]
        seen.append((buckets._term, k, [bool(np.isnan(room[span]).any()) for span in buckets.spans]))
        told(k)

    room = step._buckets.room
    step._buckets.told = note
    step._buckets.room = lambda term: [part.fill(np.nan) or part for part in room(term)]
    step.take(next(ranks_job.Stream(5)), lambda: False)
    count = len(step._buckets.spans)
    assert count > 1
    assert [(term, k) for term, k, _ in seen] == [(term, k) for term in range(3) for k in range(count)]
    for _, k, unwritten in seen:
        assert unwritten == [other > k for other in range(count)]


ALONE = """
from tinyattn import ranks
if ranks.rank() == 1:
    raise ValueError("only I")
ranks.group().Barrier()
"""


@needs_mpi
def test_a_rank_that_fails_alone_has_the_last_word(tmp_path):
    process = start(3, "-c", ALONE)
    _, err = process.communicate(timeout=60)
    assert process.returncode  # (1, or what mpirun has of a rank that it killed)
    assert err.count("Traceback") == 1 and ours(err)[-1] == "ValueError: only I"


@needs_mpi
def test_without_mpi4py_a_machine_says_so_once(tmp_path):
    (tmp_path / "mpi4py").mkdir()
    (tmp_path / "mpi4py" / "__init__.py").write_text("raise ImportError('there is none')")
    blind = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r}); from tinyattn.cli import main; sys.exit(main())"
    )
    process = start(2, "-c", blind, "train", "mlp", "--out", tmp_path / "run")
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    must = "[distributed] mpirun has started this process, so mpi4py and an MPI library must be installed, but got: there is none."
    assert ours(err) == [must, "  pip install 'tinyattn[mpi]' brings both."]
