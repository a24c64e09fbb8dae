"""Tasks of captions: sentences that are true of their images, pairs that never meet, figures that can be wrong."""

import hashlib
from functools import cache
from itertools import combinations

import numpy as np
import pytest
from data_errors import message
from mnist_files import write

from tinyattn import tasks
from tinyattn.sections import Looks
from tinyattn.tasks import captioned_shapes
from tinyattn.tasks.images import to_images
from tinyattn.tasks.parts import scenes
from tinyattn.tasks.parts.randomness import Stream
from tinyattn.tasks.parts.vocabulary import BOS, EOS, PAD
from tinyattn.tasks.task import Answers


@cache
def shapes(**options):
    return tasks.get("captioned-shapes", **({"train_examples": 2000} | options))


@cache
def digits(folder):
    write(folder, "t10k", 100)
    write(folder, "train", 600)
    return tasks.get("mnist-scenes", folder, train_examples=300)


@pytest.mark.parametrize(
    "cells, expected",
    [
        ((0, 1), "an x y above a z"),
        ((0, 2), "an x y above a z"),
        ((1, 4), "an x y left of a z"),
        ((0, 8), "an x y above and left of a z"),
        ((2, 4), "an x y below and left of a z"),
        ((2, 3, 4), "an x y below and left of a z above a w"),
    ],
)
def test_captions_are_these(cells, expected):
    things = [["x", "y"], ["z"], ["w"]][: len(cells)]
    things[0][0] = "amber"
    words, named = scenes.caption(things, cells, 3)
    assert " ".join(words) == expected.replace("x y", "amber y")
    assert [n for n in named if n != scenes.NOTHING] == [0, 0, *range(1, len(cells))]
    assert all((named[k] == 0) == (word in ("amber", "y")) for k, word in enumerate(words))


def colour_of(image, box):
    top, left, bottom, right = box
    inside = image[:, top:bottom, left:right].reshape(3, -1).astype(float)
    light = inside[:, inside.any(axis=0)].mean(axis=1)
    names = {name: np.array(c) / np.linalg.norm(c) for name, c in captioned_shapes.COLOURS.items()}
    return max(names, key=lambda name: names[name] @ light)


def test_sentences_are_true_of_their_images():
    """Sizes, colours, filled shares and places, measured in the pixels."""
    task = shapes()
    test = task.examples("test")
    full = {"square": 1.0, "circle": 0.84, "triangle": 0.59, "cross": 0.36}
    for row, words in enumerate(task.references("test")[:300]):
        image, boxes, named = test.pixels[row], test.boxes[row], test.named[row]
        outside = image.any(axis=0)
        for number in range(named.max() + 1):
            size, colour, shape = (words[k] for k in np.flatnonzero(named == number))
            top, left, bottom, right = boxes[number]
            assert bottom - top == right - left == {"small": 5, "large": 7}[size]
            assert colour_of(image, boxes[number]) == colour
            filled = image[:, top:bottom, left:right].any(axis=0).mean()
            assert shape == min(full, key=lambda name: abs(full[name] - filled))
            outside[top:bottom, left:right] = False
        assert not outside.any()  # nothing stands outside the boxes
        sentence = " ".join(words)
        for number in range(named.max()):
            (top, left, bottom, right), (down, across, _, _) = boxes[number], boxes[number + 1]
            between = words[
                np.flatnonzero(named == number)[-1] + 1 : np.flatnonzero(named == number + 1)[0] - 1
            ]
            assert " ".join(between) in scenes.RELATIONS, sentence
            assert ("left" in between) == (right <= across)
            assert ("above" in between) == (bottom <= down)
            assert ("below" in between) == (boxes[number + 1][2] <= top)


def test_things_stand_everywhere_in_their_cells_in_all_sizes():
    task = shapes()
    for split in ("train", "validation", "test"):
        boxes = task.examples(split).boxes.reshape(-1, 4)
        boxes = boxes[boxes[:, 2] > 0]
        for size, room in ((5, 4), (7, 2)):
            places = boxes[boxes[:, 2] - boxes[:, 0] == size, :2] % 8
            counts = np.bincount(places[:, 0] * 4 + places[:, 1], minlength=16).reshape(4, 4)
            assert not counts[room:].any() and not counts[:, room:].any()
            assert counts[:room, :room].min() > 0.02 * len(places)


def test_a_fifth_of_the_pairs_never_meets_in_training():
    task = shapes()
    never = scenes.apart(16)
    assert (never == never.T).all() and never[np.triu_indices(16)].sum() == 27
    kinds = [" ".join(kind) for kind in captioned_shapes.KINDS]
    met = {}
    for split in ("train", "validation", "test"):
        examples = task.examples(split)
        for row, words in enumerate(task.references(split)):
            named = examples.named[row]
            there = [
                kinds.index(" ".join(words[k] for k in np.flatnonzero(named == number)[1:]))
                for number in range(named.max() + 1)
            ]
            new = any(never[pair] for pair in combinations(there, 2))
            assert new == examples.new[row]
            met.setdefault(split, []).append(new)
    assert not any(met["train"]) and not any(met["validation"]) and np.mean(met["test"]) == 0.5


def test_two_and_three_things_are_equally_frequent_and_all_kinds_occur():
    drawn = scenes.draw(600, 16, 3, False, Stream("test", 0))
    assert ((drawn.kind != scenes.NOTHING).sum(axis=1) == 3).mean() == 0.5
    assert np.bincount(drawn.kind[drawn.kind >= 0], minlength=16).min() > 40
    cells = np.where(drawn.kind != scenes.NOTHING, drawn.cell, 99)
    assert (np.diff(cells[:, :2]) > 0).all() and np.bincount(cells[:, 0])[:7].min() > 0


def test_held_out_images_are_the_same_whatever_the_seed_and_in_no_training_set():
    one, other = shapes(), shapes(seed=5)
    assert not np.array_equal(one.examples("train").pixels[:9], other.examples("train").pixels[:9])
    for split in ("validation", "test"):
        assert np.array_equal(one.examples(split).pixels, other.examples(split).pixels)
        held_out = {image.tobytes() for image in one.examples(split).pixels}
        for task in (one, other):
            assert not held_out & {image.tobytes() for image in task.examples("train").pixels}
    content = one.examples("test").pixels.tobytes() + one.examples("test").caption.tobytes()
    assert hashlib.sha256(content).hexdigest()[:16] == HASH


HASH = "beaa422376956e3e"


def test_batches_are_shifted_and_rows_that_fill_up_count_for_nothing():
    task = shapes()
    last = list(task.batches("validation", 64))[-1]
    assert last.valid.sum() == 500 % 64 and not last.target_out[~last.valid].any()
    assert (last.target_length[~last.valid] == 0).all()
    longest = 0
    for batch in task.batches("test", 500):
        assert batch.images.shape == (500, 3, 24, 24) and batch.weight == (batch.target_out != PAD).sum()
        for given, said, length in zip(batch.target_in, batch.target_out, batch.target_length, strict=True):
            assert given[0] == BOS and said[length - 1] == EOS and not said[length:].any()
            assert np.array_equal(given[1:length], said[: length - 1]) and not given[length:].any()
            longest = max(longest, int(length))
    assert longest == task.sizes()["longest_target"] == 21


def perfect(task):
    """The right captions, looked at in a grid of 6 × 6 cells: the one in the middle of each box."""
    test = task.examples("test")
    maps = np.full((*test.caption.shape, 36), 1e-3)
    for row, place in np.argwhere(test.named != scenes.NOTHING):
        top, left, bottom, right = test.boxes[row, test.named[row, place]]
        maps[row, place, (top + bottom) // 8 * 6 + (left + right) // 8] = 1
    ids = [row[: 1 + int((row == EOS).argmax())] for row in test.caption]
    return Answers(
        [*ids], {"attention": [m[: len(i)] for m, i in zip(maps, ids, strict=True)]}, nats=3.0, predictions=2
    )


def test_figures_tell_right_captions_from_wrong_ones():
    task = shapes()
    test = task.examples("test")
    figures = task.score(perfect(task), "test").figures
    assert figures.pop("perplexity") == np.exp(1.5)
    assert figures.pop("bleu") == pytest.approx(100) and figures.pop("bleu_1") == pytest.approx(100)
    assert figures.pop("bleu_2") == figures.pop("bleu_3") == pytest.approx(100)
    assert figures == {"exact_match": 1, "exact_match_known": 1, "exact_match_new": 1, "attention_hit": 1}
    # A wrong word is no hit, wherever the model looks.
    wrong = perfect(task)
    content = (test.named != scenes.NOTHING).sum()
    for row in np.flatnonzero(test.new):
        wrong.outputs[row] = wrong.outputs[row].copy()
        wrong.outputs[row][1] ^= 1
    figures = task.score(wrong, "test").figures
    assert (
        figures["exact_match"] == 0.5
        and figures["exact_match_new"] == 0
        and figures["exact_match_known"] == 1
    )
    assert figures["attention_hit"] == pytest.approx(1 - 1000 / content) and 80 < figures["bleu"] < 100
    # Looking elsewhere is none, and a caption that ends too early has none behind its end.
    blind = perfect(task)
    blind.maps["attention"] = [np.roll(m, 18, axis=1) for m in blind.maps["attention"]]
    assert task.score(blind, "test").figures["attention_hit"] < 0.15
    short = perfect(task)
    short.outputs = [row[:2] for row in short.outputs]
    short.maps["attention"] = [m[:2] for m in short.maps["attention"]]
    figures = task.score(short, "test").figures
    assert figures["exact_match"] == 0 and figures["attention_hit"] == pytest.approx(2000 / content)
    groups = task.score(perfect(task), "test").groups
    assert groups == {"exact match by things in the image": {"2 things": 1.0, "3 things": 1.0}}


def test_a_cell_that_touches_the_box_by_a_pixel_is_a_hit():
    task = shapes()
    one = task.examples("test").take(slice(1))
    top, left, bottom, right = one.boxes[0, 0]
    place = int(np.flatnonzero(one.named[0] == 0)[0])
    one.named[0, [k for k in range(21) if k != place]] = scenes.NOTHING
    for grid in (3, 6, 12):
        wide = 24 // grid
        for y, x in np.ndindex(grid, grid):
            weights = np.zeros((21, grid * grid))
            weights[place, y * grid + x] = 1
            seen = np.zeros((24, 24), bool)
            seen[y * wide : (y + 1) * wide, x * wide : (x + 1) * wide] = True
            said = Answers([*one.caption], {"attention": [weights]})
            assert task._hits(said, one) == seen[top:bottom, left:right].any()


def test_images_are_read_and_shown():
    task = shapes()
    batch = task.read("#3")
    assert np.array_equal(batch.images[0], to_images(task.examples("test").pixels[3])) and batch.index == [3]
    shown = task.show(batch, Answers([task.examples("test").caption[4]]), 0)
    assert shown["output"] == " ".join(task.references("test")[4]) and shown["reference"] != shown["output"]
    assert message(lambda: task.read("#2000")).startswith(
        "[captioned-shapes] an input must be a count up to 2000"
    )


def test_an_image_in_a_file_has_no_caption(tmp_path):
    task = shapes()
    np.save(tmp_path / "image.npy", task.examples("test").pixels[3])
    batch = task.read(str(tmp_path / "image.npy"))
    assert np.array_equal(batch.images, task.read("#3").images) and batch.weight == 0
    assert "reference" not in task.show(batch, Answers([np.array([4, EOS])]), 0)


def test_a_report_shows_where_a_model_looked():
    task = shapes()
    answers = perfect(task)
    found = task.sections({"model": (answers, task.score(answers, "test"))}, "test")
    looks = [part for part in found if isinstance(part, Looks)]
    assert looks[0].words == [*task.references("test")[0], "<eos>"]
    assert looks[0].weights.shape == (len(looks[0].words), 6, 6)
    assert looks[0].image.shape == task.examples("test").pixels[0].transpose(1, 2, 0).shape


def test_scenes_of_digits_are_those_of_their_split(tmp_path):
    task = digits(tmp_path)
    assert task.sizes() == {"image_size": 36, "channels": 1, "target_vocabulary": 21, "longest_target": 15}
    for split in ("train", "validation", "test"):
        given, examples = task.digits.examples(split), task.examples(split)
        inside = given.pixels[:, 0, 2:26, 2:26].astype(float).reshape(-1, 12, 2, 12, 2).mean(axis=(2, 4))
        known = {
            np.floor(image + 0.5).astype(np.uint8).tobytes(): digit
            for image, digit in zip(inside, given.label, strict=True)
        }
        for row, words in enumerate(task.references(split)[:100]):
            for place in np.flatnonzero(examples.named[row] != scenes.NOTHING):
                top, left = examples.boxes[row, examples.named[row, place]][:2] // 12 * 12
                cell = examples.pixels[row, 0, top : top + 12, left : left + 12]
                name = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")[
                    known[cell.tobytes()]
                ]
                assert words[place] == name and words[place - 1] == ("an" if name == "eight" else "a")


def test_digits_that_are_missing_are_told(tmp_path):
    write(tmp_path, "t10k", 100)
    text = message(lambda: tasks.get("mnist-scenes", tmp_path))
    assert text == (
        "[mnist-scenes] the validation images must be of all ten digits, but there is no one among them."
    )
