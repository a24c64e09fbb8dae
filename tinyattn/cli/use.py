"""`tinyattn eval` and `tinyattn sample`: a trained model at work."""

import argparse
import json
import sys

import numpy as np

import tinyattn as ta
from tinyattn.cli.finished import trained
from tinyattn.errors import DataError
from tinyattn.models.evaluation import evaluate as evaluate_model
from tinyattn.tasks.vocabulary import UNK

SHOWN = 3
"""Held-out sentences translated when none is given."""


def evaluate(arguments: argparse.Namespace) -> None:
    """Translate a split, and print the figures."""
    if arguments.threads:
        ta.set_num_threads(arguments.threads)
    run, task, model = trained(arguments.run, arguments.data)

    def progress(done: int, total: int) -> None:
        if sys.stderr.isatty():
            print(f"\r{done}/{total} batches", end="" if done < total else "\n", file=sys.stderr, flush=True)

    size = run.config["training"]["batch_size"]
    found = evaluate_model(model, task, arguments.split, size, arguments.beam, progress=progress)
    outcome = {
        "run": str(run.folder), "split": found.split, "beam": arguments.beam, "examples": len(found.translations),
        **found.figures, "by_length": found.by_length,
    }  # fmt: skip
    if arguments.json:
        print(json.dumps(outcome))
        return
    for key, value in outcome.items():
        if key != "by_length":
            print(f"{key:<14} {value:.4f}" if isinstance(value, float) else f"{key:<14} {value}")
    print("exact match by source length: " + ", ".join(f"{k}: {v:.3f}" for k, v in found.by_length.items()))


def sample(arguments: argparse.Namespace) -> None:
    """Translate sentences: those given, else the lines of stdin, else a few held-out ones."""
    if arguments.threads:
        ta.set_num_threads(arguments.threads)
    _, task, model = trained(arguments.run, arguments.data)
    texts = arguments.text
    if not texts and not sys.stdin.isatty():
        given = sys.stdin.read()
        texts = [line.strip() for line in given.split("\n") if line.strip()]
        if given and not texts:
            raise DataError("[sample] stdin must hold a sentence a line, but all of its lines are blank.")
    if not texts:
        held_out = task.source_tokens("test")
        texts = [task.join_source(held_out[k * len(held_out) // SHOWN]) for k in range(SHOWN)]
    outcomes = []
    for text in texts:
        words = task.split_source(text)
        if not words:
            raise DataError(f"[sample] a text must hold a word, but got {text!r}.")
        ids = task.source_vocabulary.encode(words)
        for word in (word for word, i in zip(words, ids, strict=True) if i == UNK):
            print(f"note: {word!r} is not in the vocabulary of {task.name}.", file=sys.stderr)
        found = model.translate(ids[None], np.array([len(ids)], np.int32), arguments.beam)
        said = task.target_vocabulary.decode(found.tokens[0])
        outcome = {"source": text, "translation": task.join_target(said), "score": float(found.score[0])}
        if arguments.json:
            outcome |= {"source_tokens": words, "tokens": said}
            if found.attention is not None:
                outcome["attention"] = np.round(found.attention[0, : len(said) + 1], 4).tolist()
        outcomes.append(outcome)
        if not arguments.json:
            print(f"{text}\n  → {outcome['translation']}")
    if arguments.json:
        print(json.dumps(outcomes, ensure_ascii=False))
