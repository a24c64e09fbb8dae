"""What a run begins from: another run, or a recipe that is trained first; from scratch beside it."""

import json
from dataclasses import replace

import numpy as np
import pytest

import tinyattn as ta
from tinyattn.errors import CheckpointError, UsageError
from tinyattn.experiments import settings
from tinyattn.models import GPT, Recipe
from tinyattn.models.gpt import GPT1_SIZES
from tinyattn.models.gpt_classifier import GPTClassifierConfig, GPTForLabels
from tinyattn.train import checkpoint

FEW = {"steps": 2, "batch_size": 4, "warmup_steps": 0, "validate_every": 2, "checkpoint_every": 1}


@pytest.fixture
def place(undrawn, tmp_path, monkeypatch):
    """An empty folder to work in, in which the first stage is short."""
    monkeypatch.chdir(tmp_path)
    short = Recipe("topic-texts", GPT1_SIZES, {"steps": 3, "batch_size": 4, "learning_rate": 1e-2})
    monkeypatch.setattr(GPT, "recipes", (short,))
    return tmp_path


def block(state, prefix=""):
    return state[f"{prefix}transformer.h.0.attn.c_attn.weight"]


def test_a_recipe_is_trained_first_and_scratch_beside_it(place, capsys):
    outcome = ta.Experiment("gpt-classifier", **FEW, learning_rate=1e-9).train("here", record=True)
    first = ta.Experiment.open("here/start")
    assert (
        first.name == "gpt"
        and first.config["training"]["steps"] == 3
        and first.config["training"]["seed"] == 0
    )
    begun, scratch = (checkpoint.latest(place / folder).model for folder in ("here", "here/baseline"))
    np.testing.assert_allclose(block(begun, "tuned.gpt."), block(first.trained.state_dict()), atol=1e-7)
    assert np.abs(block(scratch, "tuned.gpt.") - block(begun, "tuned.gpt.")).max() > 1e-3
    assert [one.label for one in outcome.models] == ["gpt-classifier", "gpt-classifier scratch"]
    said = json.loads((place / "here" / "results.json").read_text())["models"]
    assert [*said] == ["gpt-classifier", "gpt-classifier scratch"]
    assert (
        "gpt-classifier: starts from gpt on topic-texts, which knows 967 of 967 words"
        in capsys.readouterr().err
    )
    assert "begun from gpt on topic-texts" in outcome.report.read_text()
    metrics = {record["metric"] for record in json.loads((place / "results" / "results.json").read_text())}
    assert {"accuracy", "scratch_accuracy"} <= metrics


def test_a_run_of_ones_own_lends_its_sizes(place):
    ta.Experiment("gpt", "topic-texts", n_layer=1, n_embd=8, n_head=2, steps=2).train("mine")
    again = ta.Experiment("gpt-classifier", start="mine", baseline=False, **FEW)
    assert again.config["training"]["start"] == str(place / "mine")
    assert [again.config["model"][key] for key in ("n_layer", "n_embd", "n_head")] == [1, 8, 2]
    outcome = again.train("tuned")
    assert len(outcome.models) == 1 and not (place / "tuned" / "start").exists()
    assert ta.Experiment.open("tuned").evaluate("test").figures == outcome.figures
    # A run of the same model, for training that goes on with another rate.
    more = ta.Experiment("gpt", "topic-texts", start="mine", steps=1, learning_rate=1e-9, baseline=False)
    more.train("more")
    one, other = (checkpoint.latest(place / folder).model for folder in ("mine", "more"))
    assert all(np.abs(one[key] - other[key]).max() < 1e-6 for key in one)


def test_dropout_is_that_of_the_recipe_before_that_of_the_start(place, monkeypatch):
    ta.Experiment("gpt", "topic-texts", n_layer=1, n_embd=8, n_head=2, dropout=0.2, steps=2).train("mine")

    def begun(**given):
        return ta.Experiment("gpt-classifier", start="mine", **given).config["model"]

    assert begun()["dropout"] == 0.2
    [recipe] = GPTForLabels.recipes
    monkeypatch.setattr(GPTForLabels, "recipes", (replace(recipe, sizes={"dropout": 0.4}),))
    assert begun()["dropout"] == 0.4 and begun()["n_embd"] == 8
    assert begun(dropout=0.1)["dropout"] == 0.1


def test_a_run_that_has_begun_goes_on_from_its_own_checkpoint(place, monkeypatch):
    ta.Experiment("gpt-classifier", baseline=False, **FEW).train("here")
    whole = checkpoint.latest(place / "here").model
    (place / "here" / checkpoint.name_of(2)).unlink()
    monkeypatch.setattr(GPTForLabels, "start_from", None)
    ta.Experiment.open("here", lock=True).train(resume=True)
    again = checkpoint.latest(place / "here").model
    assert all(np.array_equal(whole[key], again[key]) for key in whole)


def test_what_does_not_fit_is_said(place):
    with pytest.raises(CheckpointError, match="nowhere"):
        ta.Experiment("gpt-classifier", start="nowhere")
    with pytest.raises(UsageError, match="start must name a run of gpt, but mlp on digits is one of mlp"):
        ta.Experiment("gpt-classifier", start="mlp on digits")
    wide = ta.Experiment("gpt-classifier", n_embd=8, **FEW)
    with pytest.raises(
        UsageError, match="parameters fit into gpt-classifier, but gpt on topic-texts does not"
    ):
        wide.train("here")


def test_from_scratch_is_a_variant(place):
    config = ta.Experiment("gpt-classifier", start="").config
    assert settings.variant(config) == "scratch" and config["training"]["start"] == ""
    assert settings.variant(ta.Experiment("gpt-classifier").config) == ""
    own = GPTClassifierConfig(vocabulary=9, classes=2, longest=5)
    assert {key: getattr(own, key) for key in GPT1_SIZES} == GPT1_SIZES
