"""Experiments from Python: names, settings, and what users bring along: their own models, tasks and files."""

import json
import sys

import numpy as np
import pytest

import tinyattn as ta
from tinyattn.errors import CheckpointError, DataError, TinyattnError, UsageError

MODEL = '''
from dataclasses import dataclass
import numpy as np
import tinyattn as ta
from tinyattn import nn
from tinyattn.models import Model, Recipe, from_task
from tinyattn.tasks import Answers

@dataclass(frozen=True)
class Config:
    source_vocabulary: int = from_task()
    target_vocabulary: int = from_task()
    width: int = 8

class Guess(Model):
    """Says the most frequent word that stands at a position."""
    Config = Config
    name = ""
    families = ("translation",)

    def __init__(self, config):
        self.config = config
        self.table = nn.Linear(config.width, config.target_vocabulary)
        self.words = nn.Embedding(config.source_vocabulary, config.width)

    def logits(self, batch):
        mean = self.words(ta.tensor(batch.source) if isinstance(batch.source, np.ndarray) else batch.source).mean(axis=1)
        rows, steps = batch.target_out.shape
        return ta.broadcast_to(self.table(mean).reshape(rows, 1, -1), (rows, steps, self.config.target_vocabulary))

    def loss(self, batch):
        return ta.cross_entropy(self.logits(batch), batch.target_out, ignore_index=0)

    def answer(self, batch):
        return Answers(list(self.logits(batch).numpy().argmax(-1)))
'''


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(MODEL)
    folder = tmp_path / "pairs"
    folder.mkdir()
    for split, count in (("train", 40), ("val", 8), ("test", 8)):
        lines = [("a b c " * (1 + k % 3)).strip() for k in range(count)]
        (folder / f"{split}.xx").write_text("\n".join(lines) + "\n")
        (folder / f"{split}.yy").write_text("\n".join(line.upper()[::-1] for line in lines) + "\n")
    yield tmp_path
    for name in [name for name in sys.modules if name.startswith("tinyattn_user_")]:
        del sys.modules[name]


def test_a_users_model_on_a_users_sentences(place):
    run = ta.Experiment("mine.py:Guess", "parallel", data="pairs", steps=6, batch_size=4, width=5)
    assert run.config["model"] == {"name": f"{place}/mine.py:Guess", "width": 5}
    outcome = run.train()
    assert outcome.folder.name == "Guess-parallel-0" and "exact match" in str(outcome)
    assert len(outcome.models) == 1
    again = ta.Experiment.open(outcome.folder)
    assert again.evaluate("validation").figures.keys() >= {"exact_match", "bleu"}
    said = again.sample("a b c")
    assert said["input"] == "a b c" and isinstance(said["output"], str)
    with pytest.raises(
        UsageError, match=r"\[sample\] an option must be one that Guess has, but got 'beam': it has none"
    ):
        again.sample("a b", beam=3)
    (place / "mine.py").unlink()
    for name in [name for name in sys.modules if name.startswith("tinyattn_user_")]:
        del sys.modules[name]
    with pytest.raises(
        CheckpointError, match="mine.py must be the file of a model, but there is no such file"
    ):
        ta.Experiment.open(outcome.folder)


def test_a_setting_without_a_default_must_be_given_and_is_kept(place):
    (place / "mine.py").write_text(MODEL.replace("width: int = 8", "width: int"))
    with pytest.raises(UsageError, match=r"model.width must be given, but is not: add --set width=…"):
        ta.Experiment("mine.py:Guess", "parallel", data="pairs")
    ta.Experiment("mine.py:Guess", "parallel", data="pairs", steps=2, batch_size=4, width=5).train("here")
    again = ta.Experiment.open("here")
    assert again.config["model"]["width"] == 5 and again.evaluate("test").figures


def test_sentences_may_be_gzipped_and_turned_round(place):
    import gzip

    for path in (place / "pairs").iterdir():
        path.with_name(path.name + ".gz").write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()
    task = ta.Experiment("seq2seq", "parallel", data="pairs", source="yy").task
    assert task.source == "yy" and task.target == "xx" and task.count("train") == 40
    assert task.split_source("C B a!") == ["c", "b", "a", "!"]


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        (lambda folder: (folder / "test.xx").unlink(), "test.xx must be a text file, but there is no such file"),
        (lambda folder: (folder / "val.yy").write_text("A\n"), "val.yy must have 8 lines like val.xx, but it has 1"),
        (lambda folder: (folder / "train.xx").write_text("a\n\nb\n"), "train.xx must hold one sentence a line, but line 2"),
        (lambda folder: (folder / "train.zz").write_text("a\n"), "unless there are two languages, but the files are of xx, yy, zz"),
        (lambda folder: [path.unlink() for path in folder.iterdir()], "but there is no train.SRC in"),
        (lambda folder: (folder / "train.xx").write_bytes(b"\xff\n"), "must be UTF-8 text, but got byte 0xff in line 1"),
    ],
)  # fmt: skip
def test_sentences_that_cannot_be_read_are_one_sentence(place, spoil, expected):
    spoil(place / "pairs")
    with pytest.raises(DataError) as error:
        ta.Experiment("seq2seq", "parallel", data="pairs").train()
    assert expected in str(error.value) and len(str(error.value).splitlines()) == 1
    assert not (place / "runs").exists()


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda: ta.Experiment("bahdanaw"), "did you mean bahdanau?"),
        (lambda: ta.Experiment("mine.py:Guess"), r"the task of .*mine.py:Guess must be named, but got none: add --task"),
        (lambda: ta.Experiment("mine.py:Gess", "tiny-mt"), "mine.py must have a class Gess, but it has Config, Guess"),
        (lambda: ta.Experiment("yours.py:X", "tiny-mt"), "yours.py must be the file of a model, but there is no such file"),
        (lambda: ta.Experiment("mine.py:Config", "tiny-mt"), "must be a subclass of tinyattn.models.Model, but it is not"),
        (lambda: ta.Experiment("broken.py:X", "tiny-mt"), "broken.py must be Python that can be imported, but it raises Name"),
        (lambda: ta.Experiment(3), "the model must be a name or a class, but got 3"),
        (lambda: ta.Experiment("bahdanau", "parallel"), r"reads files, so they must be named, but got none: add --data"),
        (lambda: ta.Experiment("bahdanau", "parallel", data="nowhere").task, "must name the folder of its files"),
        (lambda: ta.Experiment("bahdanau", hiden=3), "did you mean hidden?"),
        (lambda: ta.Experiment("bahdanau", hidden=2.5), "hidden must be a whole number, but got 2.5"),
        (lambda: ta.Experiment("bahdanau", hidden=True), "hidden must be a whole number, but got True"),
        (lambda: ta.Experiment("bahdanau", data="x"), "tiny-mt makes its own data"),
        (lambda: ta.Experiment("gpt", "tiny-mt").task, "gpt must be trained on a task of language"),
        (lambda: ta.Experiment("bahdanau").evaluate(), "it must be trained first"),
        (lambda: ta.Experiment("bahdanau", optimizer="sgd", weight_decay=0.1), "weight_decay must be 0 with other"),
        (lambda: ta.Experiment("bahdanau").graph(objective="lost"), "the objective must be one of loss, but got 'lost'"),
        (lambda: ta.Experiment.open("nowhere"), "nowhere must be the folder of a run"),
        (lambda: ta.Experiment().train(resume=True), "the folder of the run must be named to resume it"),
    ],
)  # fmt: skip
def test_mistakes_are_one_sentence(place, make, expected):
    (place / "broken.py").write_text("import nonsense_that_is_not_there\n".replace("import ", ""))
    with pytest.raises(TinyattnError, match=expected) as error:
        make()
    assert len(str(error.value).splitlines()) == 1 and "Traceback" not in str(error.value)
    assert not (place / "runs").exists()


def test_what_was_made_at_the_prompt_is_refused():
    from tinyattn.models import Model

    with pytest.raises(UsageError, match="must stand in a file"):
        ta.Experiment(type("Mine", (Model,), {"__module__": "nowhere", "Config": object}), "tiny-mt")


def test_settings_are_kept_with_the_run(place):
    outcome = ta.Experiment("seq2seq", steps=2, hidden=6, train_examples=200, seed=4).train("here")
    config = ta.Experiment.open("here").config
    assert config["training"]["seed"] == 4 and config["model"]["hidden"] == 6
    assert config["run"]["set"] == ["steps=2", "hidden=6", "train_examples=200"]
    assert outcome.seed == 4 and np.isfinite(list(outcome.figures.values())).all()


VARIANTS = '''
class Sharp(Guess):
    """Guess, with recipes of its own for wide ones."""
    varies = ("width",)
    recipes = (
        Recipe("parallel", {"width": 8}, {"steps": 4, "batch_size": 4}, targets={"bleu": 1.0}),
        Recipe("parallel", {}, {"steps": 3, "batch_size": 2}, targets={"bleu": 2.0}, variant="16"),
    )
'''


def test_variants_have_recipes_and_records_of_their_own(place):
    (place / "mine.py").write_text(MODEL + VARIANTS)
    plain = ta.Experiment("mine.py:Sharp", "parallel", data="pairs")
    wide = ta.Experiment("mine.py:Sharp", "parallel", data="pairs", width=16)
    other = ta.Experiment("mine.py:Sharp", "parallel", data="pairs", width="12")
    found = [run.config["training"] for run in (plain, wide, other)]
    assert [(values["steps"], values["batch_size"]) for values in found] == [(4, 4), (3, 2), (4, 4)]
    outcomes = [run.train(record=True) for run in (plain, wide, other)]
    assert [outcome.folder.name for outcome in outcomes] == [
        "Sharp-parallel-0", "Sharp-16-parallel-0", "Sharp-12-parallel-0",
    ]  # fmt: skip
    assert [dict(outcome.targets) for outcome in outcomes] == [{"bleu": 1.0}, {"bleu": 2.0}, {}]
    records = {r["metric"]: r["target"] for r in json.loads((place / "results" / "results.json").read_text())}
    assert (records["bleu"], records["16_bleu"], records["12_bleu"]) == (1.0, 2.0, None)
    curves = {path.name for path in (place / "results").glob("*.jsonl")}
    assert curves == {f"Sharp-{name}parallel-0.jsonl" for name in ("", "16-", "12-")}
    assert "Sharp 16" in str(outcomes[1]) and "Sharp 16" in outcomes[1].report.read_text()


def test_a_graph_is_that_of_a_training_step_and_leaves_the_model_as_it_is():
    model = ta.Experiment("captioner", hidden=8, width=2)
    state = {name: np.array(array) for name, array in model.model.state_dict().items()}
    for training in (True, False):
        model.model.train(training)
        picture = model.graph(depth=9).whole
        operations = {node.op for node in picture.nodes.values()}
        assert "batch_norm" in operations and "batch_norm_backward" in operations
        derivatives = [node.title for node in picture.nodes.values() if node.kind == "result"]
        assert not [title for title in derivatives if "images" in title or "running" in title]
        assert model.model.training is training
    for name, array in model.model.state_dict().items():
        np.testing.assert_array_equal(np.array(array), state[name])
