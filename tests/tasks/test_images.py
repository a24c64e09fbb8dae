"""Tasks of images: what is in them, judges that can be wrong, files that are damaged, what is read and shown."""

import gzip
import hashlib
import sys
from functools import cache

import numpy as np
import pytest
from data_errors import message
from mnist_files import idx, write

from tinyattn import tasks
from tinyattn.errors import ShapeError
from tinyattn.sections import Images
from tinyattn.tasks.images import UNKNOWN, ImageBatch, picture, to_images
from tinyattn.tasks.mirror_shapes import ShapeJudge
from tinyattn.tasks.parts import metrics
from tinyattn.tasks.parts.judges import PatchClassifier
from tinyattn.tasks.parts.randomness import Stream
from tinyattn.tasks.task import SPLITS, Answers


@cache
def shapes(**options):
    return tasks.get("mirror-shapes", **options)


@cache
def digits():
    return tasks.get("digits")


def answers(images) -> Answers:
    return Answers([*images])


# Batches and splits.


@pytest.mark.parametrize("task", [shapes, digits])
def test_every_image_comes_once_and_rows_that_fill_up_count_for_nothing(task):
    found = list(task().batches("validation", 64))
    valid = np.concatenate([batch.valid for batch in found])
    index = np.concatenate([batch.index for batch in found])
    assert np.array_equal(index[valid], np.arange(task().count("validation")))
    for batch in found:
        assert batch.images.shape == (64, *task().shape) and batch.images.dtype == np.float32
        assert batch.label.dtype == np.int32 and batch.weight == batch.valid.sum()
        assert (batch.label[~batch.valid] == UNKNOWN).all() and (batch.label[batch.valid] >= 0).all()
    assert sum(batch.weight for batch in found) == task().count("validation")
    sizes = task().sizes()
    assert sizes["features"] == sizes["channels"] * sizes["image_size"] ** 2 == found[0].images[0].size


def test_images_lie_between_black_and_white():
    assert np.array_equal(to_images(np.array([0, 255], np.uint8)), np.float32([-1, 1]))
    for task in (shapes(), digits()):
        images = task.examples("train").images()
        assert images.min() == -1 and images.max() == 1


def test_held_out_images_are_the_same_whatever_the_seed_and_in_no_training_set():
    one, other = shapes(), shapes(seed=5, train_examples=4000)
    for split in ("validation", "test"):
        assert np.array_equal(one.examples(split).pixels, other.examples(split).pixels)
        held_out = {image.tobytes() for image in one.examples(split).pixels}
        assert len(held_out) == one.count(split)
        for task in (one, other):
            assert not held_out & {image.tobytes() for image in task.examples("train").pixels}
    assert not np.array_equal(one.examples("train").pixels[:9], other.examples("train").pixels[:9])


def test_the_held_out_images_are_those_that_were_reported():
    """Figures can be compared only while these don't change, on any machine."""
    pixels = [shapes().examples("test").pixels, digits().examples("test").pixels]
    assert [hashlib.sha256(p.tobytes()).hexdigest()[:16] for p in pixels] == HASHES


HASHES = ["12a40b1ded4c5fef", "10914d5e1ffb0b55"]


def test_the_digits_come_with_where_they_are_from():
    task = digits()
    assert [task.count(split) for split in SPLITS] == [1297, 200, 300]
    with np.load(tasks.__path__[0] + "/digits.npz") as file:
        assert "CC BY 4.0" in str(file["licence"])
    labels = np.concatenate([task.examples(split).label for split in SPLITS])
    assert np.bincount(labels).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]


# The judges.


@pytest.mark.parametrize("options", [{}, {"channels": 1}, {"size": 32}], ids=str)
def test_the_judge_sees_which_shapes_match(options):
    task = shapes(**options, train_examples=500)
    test = task.examples("test").take(slice(200))
    assert np.array_equal(task.judge.recognise(test.images()), test.label)
    mismatched = task.shapes.draw(200, Stream("mismatched", 0), matching=False).images()
    assert (task.judge.recognise(mismatched) == -1).all()
    rng = np.random.default_rng(0)
    noise = rng.uniform(-1, 1, mismatched.shape).astype(np.float32)
    assert (task.judge.recognise(noise) == -1).all() and (task.judge.recognise(0 * noise - 1) == -1).all()
    grainy = test.images() + 0.05 * rng.standard_normal(test.images().shape).astype(np.float32)
    assert (task.judge.recognise(grainy) == test.label).mean() > 0.99


def test_shapes_differ_in_kind_or_colour_alone():
    """Each of 12 classes beside each other one: matched only with itself."""
    task = shapes()
    images = task.shapes.draw(12 * 8, Stream("pairs", 0))
    left, right = np.split(images.images(), 2, axis=3)
    classes = images.label
    for shift in range(1, 12, 2):
        other = np.roll(np.arange(len(left)), shift)
        found = task.judge.recognise(np.concatenate([left, right[other]], axis=3))
        assert np.array_equal(found, np.where(classes == classes[other], classes, -1))


def test_figures_tell_real_images_from_others():
    task = shapes()
    real, train = task.examples("test").images(), task.examples("train").images(slice(1000))
    found = task.score(answers(train), "test").figures
    assert found["match_rate"] > 0.99 and found["kinds"] == 1 and abs(found["diversity"] - 1) < 0.05
    assert found["frechet"] < 0.02 and found["frechet_floor"] < 0.02
    # Halves that know nothing of each other: good to look at, and a match by chance alone.
    halves = np.concatenate([real[..., :8], train[..., 8:]], axis=3)
    apart = task.score(answers(halves), "test").figures
    assert 0.04 < apart["match_rate"] < 0.13 and apart["frechet"] > 10 * apart["frechet_floor"]
    # The same image over and over.
    one = task.score(answers(np.repeat(real[:1], 1000, axis=0)), "test").figures
    assert (
        one["match_rate"] == 1 and one["kinds"] == 1 / 12 and one["diversity"] < 1e-3 and one["frechet"] > 0.5
    )
    # Nothing at all.
    nothing = task.score(answers(0 * real - 1), "test").figures
    assert nothing["match_rate"] == nothing["kinds"] == nothing["diversity"] == 0


def test_the_judge_of_digits_names_them_and_is_not_sure_of_noise():
    task = digits()
    assert isinstance(task.judge, PatchClassifier) and isinstance(shapes().judge, ShapeJudge)
    test = task.examples("test")
    seen = task.judge.recognise(test.images())
    assert (seen >= 0).mean() > 0.95 and (seen == test.label)[seen >= 0].mean() > 0.95
    noise = np.random.default_rng(0).uniform(-1, 1, test.images().shape).astype(np.float32)
    assert (task.judge.recognise(noise) >= 0).mean() < 0.01
    figures = task.score(answers(noise), "test").figures
    assert figures["frechet"] > 20 * figures["frechet_floor"] and figures["kinds"] < 0.5
    again = PatchClassifier(task.examples("train").images(), task.examples("train").label, 10)
    assert np.array_equal(again.recognise(test.images()), seen)


def test_frechet_distance_is_that_of_normal_distributions():
    scipy = pytest.importorskip("scipy.linalg")
    rng = np.random.default_rng(0)
    one, other = (
        rng.standard_normal((200, 5)) @ rng.standard_normal((5, 5)),
        rng.standard_normal((90, 5)) + 0.3,
    )
    first, second = np.cov(one.T, ddof=0), np.cov(other.T, ddof=0)
    apart = one.mean(0) - other.mean(0)
    expected = apart @ apart + np.trace(first + second - 2 * scipy.sqrtm(first @ second).real)
    assert abs(metrics.frechet_distance(one, other) - expected) < 1e-10 * expected
    assert metrics.frechet_distance(one, one) < 1e-12
    assert abs(metrics.frechet_distance(one, one + 2) - 20) < 1e-10
    assert (
        abs(
            metrics.frechet_distance(one[:, :1], 3 * one[:, :1])
            - (2 * one[:, 0]).var()
            - (2 * one[:, 0].mean()) ** 2
        )
        < 1e-9
    )
    for wrong in ((one, other[:, :4]), (one[0], one), (one[:0], one)):
        with pytest.raises(ShapeError, match="features must be"):
            metrics.frechet_distance(*wrong)


def test_classes_are_scored_by_how_many_are_right():
    task = digits()
    label = task.examples("test").label
    scores = task.score(Answers([*np.where(label == 3, 8, label)]), "test")
    assert scores.figures == {"accuracy": (label != 3).mean()}
    by_class = scores.groups["accuracy by class"]
    assert by_class["3"] == 0 and all(by_class[str(k)] == 1 for k in range(10) if k != 3)
    text = message(lambda: task.score(Answers([1, 2]), "test"))
    assert text == "[digits] there must be 300 answers, one for each image of test, but got 2."


# MNIST's files.


def mnist(folder):
    return tasks.get("mnist", data=folder)


def test_mnist_without_training_files_holds_every_other_of_the_last_images_out(tmp_path):
    write(tmp_path, "t10k", 100)
    task = mnist(tmp_path)
    assert [task.count(split) for split in SPLITS] == [90, 5, 5]
    assert task.examples("validation").label.tolist() == [0, 2, 4, 6, 8]
    assert task.examples("test").label.tolist() == [1, 3, 5, 7, 9]
    pixels = np.random.default_rng(100).integers(0, 256, (100, 28, 28))
    assert np.array_equal(task.examples("train").pixels[:, 0], pixels[:90])
    assert np.array_equal(task.examples("test").pixels[:, 0], pixels[91::2])


def test_mnist_with_training_files_tests_on_all_of_t10k(tmp_path):
    write(tmp_path, "t10k", 30)
    write(tmp_path, "train", 120, packed=False)
    task = mnist(tmp_path)
    assert [task.count(split) for split in SPLITS] == [110, 10, 30]
    assert task.sizes() == {"image_size": 28, "channels": 1, "classes": 10, "features": 784}


IMAGES, LABELS = "t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"
WHOLE = idx(np.zeros((20, 28, 28)))
MAGIC = "be an IDX file of bytes with 3 axes, which begins with 0x00000803, but it"


@pytest.mark.parametrize(
    "name, content, expected",
    [
        (IMAGES, None, "be a gzipped file in IDX format, but there is no such file"),
        (LABELS, None, "be a gzipped file in IDX format, but there is no such file"),
        (IMAGES, b"", f"{MAGIC} is empty"),
        (IMAGES, b"hello", "be a gzip file, but it is foreign or damaged (Not a gzipped file (b'he'))"),
        (IMAGES, gzip.compress(b"", mtime=0), f"{MAGIC} is empty"),
        (IMAGES, gzip.compress(idx(np.zeros(20)), mtime=0), f"{MAGIC} begins with 0x00000801"),
        (IMAGES, gzip.compress(b"hello", mtime=0), f"{MAGIC} begins with 0x68656c6c"),
        (IMAGES, gzip.compress(WHOLE[:9], mtime=0), "begin with 16 bytes that tell its sizes, but it has 9"),
        (IMAGES, gzip.compress(WHOLE[:-1], mtime=0), "hold the 15,680 bytes of 20 × 28 × 28 that it tells, but it holds 15,679"),
        (IMAGES, gzip.compress(WHOLE + b"x", mtime=0), "hold the 15,680 bytes of 20 × 28 × 28 that it tells, but it holds 15,681"),
        (IMAGES, gzip.compress(idx(np.zeros((20, 28, 27))), mtime=0), "hold images of 28 × 28, but got 28 × 27"),
        (IMAGES, gzip.compress(idx(np.zeros((19, 28, 28))), mtime=0), "hold 19 labels, one an image, but it holds 20"),
        (LABELS, gzip.compress(idx(np.arange(20)), mtime=0), "hold digits from 0 to 9, but it holds 19"),
    ],
)  # fmt: skip
def test_damaged_files_of_mnist_are_told_in_a_sentence(tmp_path, name, content, expected):
    write(tmp_path, "t10k", 20)
    (tmp_path / name).unlink()
    if content is not None:
        (tmp_path / name).write_bytes(content)
    text = message(lambda: mnist(tmp_path)).replace(str(tmp_path), "DIR")
    named = LABELS if "labels" in expected else name
    assert text == f"[mnist] DIR/{named} must {expected}."


def test_no_damage_of_mnist_passes_in_silence(tmp_path):
    """Cut anywhere, or with a byte changed: refused, or in the pixels or labels themselves of an unpacked file."""
    write(tmp_path, "t10k", 20)
    rng = np.random.default_rng(0)
    for name in (IMAGES, LABELS):
        whole = (tmp_path / name).read_bytes()
        for length in sorted({0, 1, 9, 10, 11, *rng.integers(0, len(whole), 15)}):
            (tmp_path / name).write_bytes(whole[:length])
            message(lambda: mnist(tmp_path))
        for place in rng.integers(10, len(whole), 15):  # the head of gzip holds a time, which is anybody's
            changed = bytearray(whole)
            changed[place] ^= 1 + rng.integers(255)
            (tmp_path / name).write_bytes(changed)
            message(lambda: mnist(tmp_path))
        (tmp_path / name).write_bytes(whole)
    assert mnist(tmp_path).count("train") == 18


def test_the_folder_of_mnist_must_be_one(tmp_path):
    assert message(lambda: mnist(tmp_path / "no")).endswith("is not a folder.")
    assert (
        message(lambda: tasks.get("mnist"))
        == "[mnist] its files must be named, but got none: add --data PATH."
    )


@pytest.mark.parametrize(
    "options, expected",
    [
        ({"size": 20}, "size must be 16 or 32, but got 20"),
        ({"channels": 2}, "channels must be 1 or 3, but got 2"),
        ({"train_examples": 0}, "train_examples must be a positive integer, but got 0"),
    ],
)
def test_options_of_mirror_shapes(options, expected):
    assert message(lambda: tasks.get("mirror-shapes", **options)) == f"[mirror-shapes] {expected}."


# What is read and shown.


def test_a_count_and_numbers_of_the_test_split_are_read():
    task = digits()
    test = task.examples("test")
    batch = task.read("16")
    assert isinstance(batch, ImageBatch) and np.array_equal(batch.index, np.arange(16)) and batch.valid.all()
    assert np.array_equal(batch.images, test.images(slice(16))) and np.array_equal(
        batch.label, test.label[:16]
    )
    batch = task.read(" #7 ")
    assert np.array_equal(batch.images, test.images([7])) and batch.index.tolist() == [7]
    for line in task.suggestions(4):
        task.read(line)
    assert len(task.suggestions(4)) == 4 and len(task.suggestions(1)) == 1


@pytest.mark.parametrize("text", ["", "0", "301", "#300", "#", "#x", "-1", "1.5", "7#1"])
def test_what_is_no_input_is_told(text):
    found = message(lambda: digits().read(text))
    expected = "a count up to 300, # and the number of a test image, or the path of an image file"
    assert found == f"[digits] an input must be {expected}, but got {text!r}."


def test_images_are_read_from_files(tmp_path):
    task, rng = digits(), np.random.default_rng(0)
    pixels = rng.integers(0, 256, (3, 8, 8)).astype(np.uint8)
    np.save(tmp_path / "a.npy", pixels[0])
    np.save(tmp_path / "b.npy", to_images(pixels[:1]))
    (tmp_path / "c.pgm").write_bytes(b"P5 # a comment\n8 8\n255\n" + pixels[0].tobytes())
    (tmp_path / "d.idx").write_bytes(idx(pixels))
    (tmp_path / "e.gz").write_bytes(gzip.compress(idx(pixels)))
    for name, which in (
        ("a.npy", 0),
        ("b.npy", 0),
        ("c.pgm", 0),
        ("d.idx", 0),
        ("d.idx#2", 2),
        ("e.gz#1", 1),
    ):
        batch = task.read(str(tmp_path / name))
        assert np.array_equal(batch.images[0, 0], to_images(pixels[which])), name
        assert batch.label.tolist() == [UNKNOWN] and batch.weight == 1
    colour = rng.integers(0, 256, (16, 16, 3)).astype(np.uint8)
    (tmp_path / "f.ppm").write_bytes(b"P6\n16 16\n255\n" + colour.tobytes())
    assert np.array_equal(
        shapes().read(str(tmp_path / "f.ppm")).images[0], to_images(colour.transpose(2, 0, 1))
    )


@pytest.mark.parametrize(
    "content, expected",
    [
        (b"hello", "be an image of the kind .npy, .pgm, .ppm or IDX, but it is of another kind"),
        (b"P5\n8 8\n255\n" + bytes(63), "hold 64 bytes of 8 × 8 pixels, but it holds 63"),
        (b"P5\n8 8\n65535\n" + bytes(128), "begin with P5 or P6, width, height and 255, but it begins with b'P5\\n8 8\\n65535"),
        (b"P5\n9 8\n255\n" + bytes(72), "hold an image of 1 × 8 × 8 (channels × height × width), but got 1 × 8 × 9"),
        (b"P6\n8 8\n255\n" + bytes(192), "hold an image of 1 × 8 × 8 (channels × height × width), but got 3 × 8 × 8"),
        (idx(np.zeros((2, 8, 8)))[:-1], "hold the 128 bytes of 2 × 8 × 8 that it tells, but it holds 127"),
        (b"\x93NUMPY\x01\x00", "be a NumPy file of numbers, but it is damaged"),
        (np.full((8, 8), 2.0), "hold bytes, or numbers from −1 to 1, but it holds other float64 numbers"),
        (np.full((8, 8), np.nan), "hold bytes, or numbers from −1 to 1, but it holds other float64 numbers"),
        (np.zeros((8, 8), int), "hold bytes, or numbers from −1 to 1, but it holds other int64 numbers"),
        (np.array({}, object), "be a NumPy file of numbers, but it is damaged"),
    ],
)  # fmt: skip
def test_foreign_images_are_told(tmp_path, content, expected):
    path = tmp_path / "image.npy"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        np.save(path, content, allow_pickle=True)
    text = message(lambda: digits().read(str(path))).replace(str(path), "FILE")
    assert text.startswith(f"[digits] FILE must {expected}")
    (tmp_path / "two.idx").write_bytes(idx(np.zeros((2, 8, 8))))
    assert message(lambda: digits().read(f"{tmp_path}/two.idx#2")).endswith(
        "must hold an image 2, but it holds 2, from 0 on."
    )


def test_pictures_have_two_pixels_in_a_character(monkeypatch):
    image = np.float32([[[1, -1, 1], [1, 1, -1], [-1, -1, 1]]])
    monkeypatch.setattr(sys, "stdout", type("Stream", (), {"encoding": "utf-8"})())
    assert picture(image) == "█▄▀\n  ▀"
    sys.stdout.encoding = "ascii"
    assert picture(image) == ":.'\n  '"
    assert picture(0 * image - 1) == "\n"


def test_answers_are_shown_as_names_or_as_pictures():
    task = digits()
    batch = task.read("2")
    shown = task.show(batch, Answers([np.int64(0), np.int64(8)]), 1)
    label = int(task.examples("test").label[1])
    assert shown == {"input": picture(batch.images[1]), "output": "8", "label": str(label)}
    drawn = task.show(batch, answers(batch.images), 1)
    assert (
        drawn["output"] == picture(batch.images[1]) and drawn["input"] == "#1" and drawn["seen"] == str(label)
    )
    assert np.array_equal(to_images(np.uint8(drawn["pixels"])), batch.images[1])


def test_a_report_shows_drawn_images_beside_real_ones():
    task = shapes()
    real = task.examples("test").images()
    said = answers(-real)
    found = task.sections({"dcgan": (said, None)}, "test")
    assert [type(section) for section in found] == [Images, Images]
    assert found[0].images.shape == (32, 16, 16, 3) and "dcgan" in found[0].title
    assert np.allclose(found[0].images, 1 - found[1].images, atol=1e-6)
    assert np.allclose(found[1].images[5, :, :, 2], (real[5, 2] + 1) / 2)


def test_a_report_shows_what_was_taken_for_something_else():
    task = digits()
    label = task.examples("test").label
    said = label.copy()
    said[[4, 9]] = 9 - label[[4, 9]]
    (section,) = task.sections({"mlp": (Answers([*said]), None)}, "test")
    assert section.images.shape == (2, 8, 8)
    assert f"{label[4]} as {said[4]}, {label[9]} as {said[9]}" in section.caption
    assert task.sections({"mlp": (Answers([*label]), None)}, "test") == []
