"""Tasks of pointing: labels against SciPy and brute force, batches, judgement, and the words people see."""

from itertools import permutations

import numpy as np
import pytest
from data_errors import message

from tinyattn import sections, tasks
from tinyattn.tasks.parts import geometry
from tinyattn.tasks.pointing import NOTHING
from tinyattn.tasks.task import Answers

NAMES = ("sort-numbers", "hull", "tsp", "delaunay")
EVERY = pytest.mark.parametrize("name", NAMES)
SQUARE = np.array([[0.0, 0], [1, 0], [1, 1], [0, 1]])


def made(name, **options):
    few = {"train_examples": 50} if name == "tsp" else {}
    return tasks.get(name, **few, **options)


@pytest.mark.parametrize("count", [3, 5, 12])
def test_hulls_are_those_of_scipy(count):
    spatial = pytest.importorskip("scipy.spatial")
    points = np.random.default_rng(count).random((200, count, 2))
    for some, found in zip(points, geometry.hulls(points), strict=True):
        corners = spatial.ConvexHull(some).vertices  # counter-clockwise
        expected = np.roll(corners, -corners.argmin())
        assert found[found >= 0].tolist() == expected.tolist() and (found[len(expected) :] == -1).all()


@pytest.mark.parametrize("count", [3, 5, 9])
def test_triangulations_are_those_of_scipy(count):
    spatial = pytest.importorskip("scipy.spatial")
    points = np.random.default_rng(count).random((100, count, 2))
    for some, found in zip(points, geometry.triangulations(points), strict=True):
        triangles = [tuple(row) for row in found.tolist() if row[0] >= 0]
        assert set(triangles) == {tuple(sorted(row)) for row in spatial.Delaunay(some).simplices.tolist()}
        assert len(set(triangles)) == len(triangles)
        centres = []
        for a, b, c in (some[list(row)] for row in triangles):
            sides = [np.linalg.norm(b - c), np.linalg.norm(c - a), np.linalg.norm(a - b)]
            centres.append(tuple((sides[0] * a + sides[1] * b + sides[2] * c) / sum(sides)))
        assert centres == sorted(centres)


@pytest.mark.parametrize("count", [3, 4, 7])
def test_no_round_trip_is_shorter(count):
    points = np.random.default_rng(count).random((20, count, 2))
    for some, trip in zip(points, geometry.tours(points), strict=True):
        shortest = min(geometry.lengths(some[None, [0, *rest]])[0] for rest in permutations(range(1, count)))
        assert trip[0] == 0 and sorted(trip) == list(range(count))
        assert abs(geometry.lengths(some[None, trip])[0] - shortest) < 1e-12
        assert geometry.areas(some[trip]) > 0  # counter-clockwise


def test_areas_and_crossing_sides():
    assert geometry.areas(SQUARE) == 1 and geometry.areas(SQUARE[::-1]) == -1
    assert geometry.is_simple(SQUARE) and geometry.is_simple(SQUARE[:3])
    for corners in ([0, 2, 1, 3], [0, 1], [0, 1, 2, 1]):
        assert not geometry.is_simple(SQUARE[corners])


@EVERY
def test_a_batch_holds_the_right_answers_slot_by_slot(name):
    task = made(name)
    for some in (next(task.batches("train", 40, seed=3)), next(iter(task.batches("test", 40)))):
        assert some.points.dtype == np.float32 and 0 <= some.points.min() and some.points.max() < 1
        for row in range(40):
            count = int(some.count[row])
            points = some.points[row, :count]
            assert not some.points[row, count:].any()
            answer = task.solve(points[None])[0]
            answer = answer[answer >= 0]
            expected = [*(answer + 1)] + [0] * (not task.permutation)
            said = some.slots_out[row]
            if name == "tsp":  # (in single precision two trips may be as long)
                trip = points[said[: len(answer)] - 1].astype(np.float64)
                assert abs(geometry.lengths(trip[None]) - geometry.lengths(points[None, answer])) < 1e-6
                assert said[0] == 1 and geometry.areas(trip) > 0
            else:
                assert said[: len(expected)].tolist() == expected
            assert (said[len(expected) :] == NOTHING).all()
            before = some.slots_in[row, : len(expected)]
            assert before[0] == 0 and (before[1:] == said[: len(expected) - 1]).all()
    assert some.weight == (some.slots_out >= 0).sum()


@EVERY
def test_what_is_held_out_is_fixed_and_in_no_training_set(name):
    one, other = made(name, seed=0), made(name, seed=5)
    held = set()
    for split in ("validation", "test"):
        assert np.array_equal(one.held_out[split].points, other.held_out[split].points)
        held |= {row.tobytes() for row in one.held_out[split].points[:, : one.smallest]}
    assert len(held) == one.count("validation") + one.count("test")
    assert all((one.held_out["test"].count == size).sum() == 1000 for size in one.tested)
    seen = next(one.batches("train", 500, seed=0))
    assert not held & {row[: one.smallest].tobytes() for row in seen.points}
    assert {*seen.count} == {*range(one.smallest, one.largest + 1)}


@EVERY
def test_right_answers_score_best_and_none_scores_worst(name):
    task = made(name)
    held = task.held_out["test"]
    right = task.score(Answers([held.answer(row) for row in range(len(held.count))]), "test")
    assert set(right.figures) == {figure.key for figure in task.figures}
    nothing = task.score(Answers([[] for _ in held.count]), "test")
    for figure in task.figures:
        if not figure.key.startswith("length"):
            best, worst = right.figures[figure.key], nothing.figures[figure.key]
            assert best == (figure.better == "higher") and (worst == 0 or figure.better == "lower")
    if name == "tsp":  # Vinyals et al. 2015, table 2: 2.12 and 2.87 of other trips
        assert abs(right.figures["length_5"] - 2.12) < 0.04 and abs(right.figures["length_10"] - 2.87) < 0.04
        assert nothing.figures["longer_10"] > 0.5 and nothing.figures["valid_10"] == 0


def test_hulls_are_the_same_wherever_and_whichever_way_they_begin():
    task = tasks.get("hull")
    right = [0, 1, 2, 3, 0]
    for said in (right, [2, 3, 0, 1, 2], [0, 3, 2, 1, 0]):
        assert task.measure(SQUARE, said, right) == {"accuracy": 1, "area": 1, "simple": 1}
    assert task.measure(SQUARE, [0, 1, 2, 0], right) == {"accuracy": 0, "area": 0.5, "simple": 1}
    for said in ([0, 1, 2, 3], [0, 2, 1, 3, 0], [0, 1, 2, 3, 1, 0], []):  # open, crossed, a corner twice
        assert task.measure(SQUARE, said, right) == {"accuracy": 0, "area": 0, "simple": 0}


def test_triangles_count_in_any_order_but_not_in_parts():
    task = tasks.get("delaunay")
    right = [0, 1, 2, 0, 2, 3]
    assert task.measure(SQUARE, [2, 3, 0, 1, 0, 2], right) == {"accuracy": 1, "coverage": 1}
    assert task.measure(SQUARE, [0, 1, 2], right) == {"accuracy": 0, "coverage": 0.5}
    assert task.measure(SQUARE, [*right, 1], right) == {"accuracy": 0, "coverage": 1}


@EVERY
def test_a_task_shows_what_it_reads(name):
    task = made(name)
    text = task.suggestions(1)[0]
    some = task.read(text)
    assert not some.weight and some.count[0] == len(text.split())
    shown = task.show(some, Answers([[1, 0, 2]]), 0)
    assert shown["input"] == text
    words = text.split()
    expected = " ".join(words[k] for k in (1, 0, 2)) if name == "sort-numbers" else "2 1 3"
    assert shown["output"] == expected
    longer = " ".join(words * 3)
    assert f"and here are {3 * len(words)}" in task.remarks(longer)[0] and not task.remarks(text)
    parts = task.sections(
        {"a": (answers := Answers([[0]] * task.count("test")), task.score(answers, "test"))}, "test"
    )
    kind = sections.Samples if name == "sort-numbers" else sections.Points
    assert any(isinstance(part, kind) for part in parts)


@pytest.mark.parametrize(
    "text", ["", "0.1,0.2", "0.1,0.2 0.3 0.4,0.5", "a,b c,d e,f", "nan,1 2,3 4,5", "1,2,3 1,2,3 4,5,6"]
)
def test_points_that_can_not_be_read_are_one_sentence(text):
    assert message(lambda: tasks.get("hull").read(text)).startswith(
        "[hull] the text must be at least 3 points"
    )


@pytest.mark.parametrize("options", [{"smallest": 2}, {"smallest": 6, "largest": 5}, {"largest": 0}])
def test_sizes_that_make_no_sense_are_refused(options):
    assert "must be" in message(lambda: tasks.get("hull", **options))
