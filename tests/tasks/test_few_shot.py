"""Few-shot tasks: what is in an episode, which drawings are whose, and archives that are damaged or foreign."""

import io
import struct
import zipfile
import zlib
from functools import cache

import numpy as np
import pytest
from data_errors import message

from tinyattn import tasks
from tinyattn.sections import Heat, Images
from tinyattn.tasks.few_shot import unsteady
from tinyattn.tasks.glyphs import DRAWINGS, SIDE, draw
from tinyattn.tasks.omniglot import FILES, jittered, read_letters, smaller
from tinyattn.tasks.parts import png
from tinyattn.tasks.parts.randomness import Stream
from tinyattn.tasks.task import SPLITS, Answers

ROUND = {"train": "Greek Latin", "test": "Greek Tagalog"}


@cache
def glyphs(**options):
    return tasks.get("glyphs", **options)


def picture(seed, bits=1, filters=(0,), size=105):
    """A PNG of noise, and its pixels."""
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 2, (size, size)).astype(np.uint8) * 255
    rows = np.packbits(pixels > 0, axis=1) if bits == 1 else pixels
    lines, above = [], np.zeros(rows.shape[1], np.int64)
    for k, row in enumerate(rows.astype(np.int64)):
        kind = filters[k % len(filters)]
        left, corner = (np.concatenate([[0], part[:-1]]) for part in (row, above))
        guess = left + above - corner
        near = [abs(guess - part) for part in (left, above, corner)]
        paeth = np.choose(np.argmin(near, axis=0), [left, above, corner])
        lines.append(bytes([kind]))
        lines.append(
            ((row - [0 * row, left, above, (left + above) // 2, paeth][kind]) % 256)
            .astype(np.uint8)
            .tobytes()
        )
        above = row
    return png_file(struct.pack(">IIBBBBB", size, size, bits, 0, 0, 0, 0), b"".join(lines)), pixels


def png_file(head, lines, *more):
    def chunk(kind, content):
        return (
            struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        )

    return png.SIGNATURE + b"".join(
        chunk(*each) for each in ((b"IHDR", head), *more, (b"IDAT", zlib.compress(lines)), (b"IEND", b""))
    )


def archive(path, entries):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in entries:
            file.writestr(name, content)
    return path


def letters(alphabets, count=6):
    """Names and drawings as Omniglot's archives have them."""
    for a, alphabet in enumerate(alphabets.split()):
        for letter in range(count):
            for k in range(20):
                seed = [zlib.crc32(alphabet.encode()), letter, k]
                yield (
                    f"images/{alphabet}/character{letter + 1:02d}/{a}{letter:03d}_{k + 1:02d}.png",
                    picture(seed)[0],
                )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("omniglot")
    archive(place / FILES[0], letters("Greek Latin", 30))
    archive(place / FILES[1], letters("Greek Tagalog"))
    return place


# Episodes.


@pytest.mark.parametrize(("ways", "shots"), [(5, 1), (3, 4), (1, 1)])
def test_an_episode_shows_each_class_so_often_and_asks_for_one_of_them(ways, shots):
    task = glyphs(ways=ways, shots=shots)
    assert task.sizes() == {"choices": ways, "length": ways * shots + 1, "image_size": SIDE}
    for split in ("validation", "test"):
        choice, pool = task.episodes(split), task.pool(split)
        for kind, number, label in zip(choice.kind, choice.number, choice.label, strict=True):
            assert np.bincount(label[:-1], minlength=ways).tolist() == [shots] * ways
            assert len({*kind[:-1]}) == ways and len({*zip(kind, number, strict=True)}) == len(kind)
            assert kind[-1] == kind[list(label[:-1]).index(label[-1])]
        batch = next(iter(task.batches(split, 7)))
        assert batch.images.shape == (7, ways * shots + 1, 1, SIDE, SIDE) and batch.images.dtype == np.float32
        expected = pool[choice.kind[:7], choice.number[:7]] / np.float32(255)
        assert np.array_equal(batch.images[:, :, 0], expected) and 0.9 < batch.images.max() <= 1
        assert np.array_equal(batch.shown, choice.label[:7, :-1]) and np.array_equal(
            batch.label, choice.label[:7, -1]
        )


def test_labels_and_places_say_nothing():
    """Who looks at numbers in place of drawings is right by chance."""
    choice = glyphs().episodes("test")
    for place in range(6):
        assert abs(np.bincount(choice.label[:, place], minlength=5) / 2000 - 0.2).max() < 0.04
    assert abs((choice.label[:, :-1] == choice.label[:, -1:]).mean(axis=0) - 0.2).max() < 0.04
    assert np.ptp(np.bincount(choice.kind.ravel(), minlength=100)) < 100


def test_no_class_is_in_two_splits_and_no_drawing_comes_twice():
    task = glyphs()
    points = [task.letters[split] for split in SPLITS]
    assert [len(each) for each in points] == [200, 50, 100]
    assert len({each.tobytes() for part in points for each in part}) == 350
    batches = task.batches("train", 32, seed=3)
    seen = [image.tobytes() for _ in range(3) for image in next(batches).images.reshape(-1, SIDE, SIDE)]
    held = {
        image.tobytes()
        for split in SPLITS
        for image in (task.pool(split) / np.float32(255)).reshape(-1, SIDE, SIDE)
    }
    assert len({*seen}) == len(seen) and not held & {*seen}


def test_drawings_of_one_glyph_are_alike_but_not_the_same():
    pool = glyphs().pool("test").astype(float).reshape(100, DRAWINGS, -1)
    means = pool.mean(axis=1)
    within = np.square(pool - means[:, None]).sum(axis=2).mean()
    between = np.square(means - means.mean(axis=0)).sum(axis=1).mean()
    assert 0 < within < 4 * between
    assert 0.4 < glyphs().nearest("test") < 0.8  # where chance is 0.2
    one = draw(np.full((1, 5, 3, 2), 0.5), Stream("dot", 0))[0]  # all strokes a dot in the middle
    assert 3 < np.argwhere(one > 128).mean() < 10 and one[0].max() == 0


def test_hands_turn_stretch_and_shear_no_further_than_they_may():
    maps = unsteady(5000, 0.3, 0.2, Stream("hands", 0))
    assert abs(maps.mean(axis=0) - np.eye(2) * np.sinc(0.3 / np.pi)).max() < 0.02
    area = np.linalg.det(maps)
    assert 0.6 < area.min() < 0.68 and 1.4 < area.max() < 1.46
    angle = np.arctan2(maps[:, 1, 0], maps[:, 0, 0])
    assert 0.29 < abs(angle).max() <= 0.3


def test_the_nearest_drawing_is_found_by_hand():
    task = glyphs()
    right = 0
    for batch in task.batches("test", 500):
        flat = batch.images.reshape(500, 6, -1)
        for images, shown, label in zip(flat, batch.shown, batch.label, strict=True):
            right += shown[np.linalg.norm(images[:-1] - images[-1], axis=1).argmin()] == label
    assert task.nearest("test") == right / 2000


def test_judgement_and_what_people_see():
    task = glyphs()
    label = task.episodes("test").label[:, -1]
    said = np.where(np.arange(2000) < 500, (label + 1) % 5, label)
    maps = {"attention 1": [np.eye(6)] * 2000}
    answers = Answers([*said], maps, nats=20.0, predictions=2000)
    scores = task.score(answers, "test")
    assert scores.figures == {"accuracy": 0.75, "val_loss": 0.01, "nearest": task.nearest("test")}
    episodes, heat = task.sections({"model": (answers, scores)}, "test")
    assert (
        isinstance(episodes, Images)
        and episodes.images.shape == (36, SIDE, SIDE)
        and episodes.images.max() <= 1
    )
    assert isinstance(heat, Heat) and heat.maps[0].rows[-1] == "6 (?)"
    shown = task.show(task.read("#7"), Answers([3]), 0)
    assert shown["input"] == "#7" and shown["output"] == "3" and shown["label"] == label[7]
    assert len(shown["shown"]) == 5 and len({each["drawing"] for each in shown["shown"]}) == 5
    for text in ("7", "#", "#2000", "x"):
        assert "# and the number of a test episode, below 2,000, but got" in message(
            lambda t=text: task.read(t)
        )
    assert "there must be 2000 answers" in message(lambda: task.score(Answers([1]), "test"))


def test_options_that_do_not_fit():
    for name in ("ways", "shots"):
        assert f"{name} must be a positive integer, but got 0" in message(
            lambda n=name: tasks.get("glyphs", **{n: 0})
        )
    assert "ways must be at most 50, as validation has it, but got 51" in message(
        lambda: tasks.get("glyphs", ways=51).batches("validation", 2)
    )
    assert "shots must be at most 19" in message(lambda: tasks.get("glyphs", shots=20).sizes())


# Omniglot's files.


def test_the_reader_keeps_alphabets_apart(folder):
    task = tasks.get("omniglot", data=folder)
    assert {name.partition("/")[0] for name in task.letters} == {"Greek", "Latin"}
    assert {name.partition("/")[0] for name in task.tested} == {"Tagalog"}  # Greek is known from training
    assert len(task.letters) == 54 and len(task.validated) == 6 and not {*task.letters} & {*task.validated}
    pools = task.pools
    assert pools["train"].shape == (4 * 54, 20, 28, 28) and pools["test"].shape == (6, 20, 28, 28)
    for k in range(4):
        assert np.array_equal(pools["train"][54 * k + 5], np.rot90(pools["train"][5], k, axes=(1, 2)))
    batch = next(task.batches("train", 4, seed=0))
    assert batch.images.shape == (4, 6, 1, 28, 28) and task.count("test") == 2000
    whole = {each.tobytes() for split in SPLITS for each in pools[split].reshape(-1, 784)}
    images = np.round(batch.images * 255).astype(np.uint8).reshape(-1, 784)
    assert not any(each.tobytes() in whole for each in images)  # jittered


def test_drawings_become_smaller_by_the_mean_over_areas():
    page = np.full((1, 105, 105), 255, np.uint8)
    assert not smaller(page).any()
    page[:, :, :15] = 0  # fifteen columns of ink are four here
    found = smaller(page)[0]
    assert (found[:, :4] == 255).all() and not found[:, 4:].any()
    page[:, :, 15] = 0
    assert np.unique(smaller(page)[0][:, 4]).tolist() == [68]  # 255 / 3.75


def test_jitter_moves_ink_and_leaves_most_of_it():
    page = np.zeros((200, 28, 28), np.uint8)
    page[:, 12:16, 12:16] = 255
    moved = jittered(page, Stream("jitter", 0)).astype(float)
    assert (
        0.6 < (moved.sum(axis=(1, 2)) / (16 * 255)).min()
        and (moved.sum(axis=(1, 2)) / (16 * 255)).max() < 1.6
    )
    centre = np.stack([(moved * np.arange(28)).sum((1, 2)), (moved * np.arange(28)[:, None]).sum((1, 2))])
    off = centre / moved.sum(axis=(1, 2)) - 13.5
    assert 1.7 < abs(off).max() < 2 / (1 - 0.15) ** 2 and abs(off.mean()) < 0.2  # (of a stretched drawing)


@pytest.mark.parametrize("bits", [1, 8])
def test_pngs_are_read_with_all_filters(bits):
    for filters in ((0,), (1,), (2,), (3,), (4,), (4, 0, 3, 1, 2)):
        content, pixels = picture(0, bits, filters, 21)
        assert np.array_equal(png.decode(content), pixels), filters


HEAD = struct.pack(">IIBBBBB", 105, 105, 1, 0, 0, 0, 0)
GOOD = picture(0)[0]
BAD = {
    "is no PNG image": b"GIF89a",
    "ends early": GOOD[:-7],
    "is corrupt: a checksum is wrong": GOOD[:60] + bytes([GOOD[60] ^ 1]) + GOOD[61:],
    "has no head or no end": GOOD[:-12],
    "is no grey image of 1 or 8 bits a pixel": png_file(HEAD[:9] + b"\x02" + HEAD[10:], b""),
    "has 0 × 105 pixels": png_file(bytes(4) + HEAD[4:], b""),
    "does not hold the pixels that it tells of": png_file(HEAD, bytes(15 * 104)),
    "does not hold the pixels that it tells of.": png_file(HEAD, bytes(15 * 106)),
    "has a filter that there is none of": png_file(HEAD, (b"\x05" + bytes(14)) * 105),
    "has a part that is unknown here": png_file(HEAD, bytes(15 * 105), (b"PLTE", b"abc")),
    "n_01.png is 21 × 21": picture(0, size=21)[0],
}


@pytest.mark.parametrize("said", BAD)
def test_a_drawing_that_is_damaged_is_named(said, tmp_path):
    path = archive(tmp_path / FILES[0], [("images/Greek/character01/0001_01.png", BAD[said])])
    text = message(lambda: read_letters(path))
    assert said.rstrip(".").replace("n_01", "0001_01") in text and str(path) in text and "0001_01.png" in text


def test_archives_that_are_missing_damaged_or_foreign(folder, tmp_path):
    whole = (folder / FILES[1]).read_bytes()
    path = tmp_path / FILES[0]

    def said(content):
        path.write_bytes(content)
        return message(lambda: read_letters(path))

    assert "there is no such file" in message(lambda: read_letters(path))
    assert "is not a folder" in message(lambda: tasks.get("omniglot", data=path))
    assert "be a zip archive, but it is empty" in said(b"")
    assert "be a zip archive, but it begins with b'%PDF'" in said(b"%PDF-1.4")
    for cut in (4, 1000, len(whole) // 2, len(whole) - 1):
        assert "be a whole zip archive, but it is truncated or corrupt" in said(whole[:cut])
    place = whole.index(b"PK\x01\x02") // 2  # in the packed pixels of a drawing
    assert "truncated or corrupt (" in said(whole[:place] + bytes([whole[place] ^ 255]) + whole[place + 1 :])
    for name in ("notes.txt", "images/Greek/character1/0001_01.png", "Greek/character01/0001_01.png/x"):
        assert f"got {name}" in message(lambda n=name: read_letters(archive(path, [(n, GOOD)])))
    assert "hold drawings, but it holds none" in message(lambda: read_letters(archive(path, [])))
    some = [*letters("Greek", 1)]
    assert "hold 20 drawings of each letter, but Greek/character01 has 19" in message(
        lambda: read_letters(archive(path, some[1:]))
    )
    archive(tmp_path / FILES[1], letters("Tagalog", 3))
    archive(path, letters("Greek", 9))
    assert "enough letters for 5 ways in each split, but one would have 3" in message(
        lambda: tasks.get("omniglot", data=tmp_path)
    )


@pytest.mark.parametrize(
    "name", ["../a.png", "a/../../b.png", "/etc/a.png", "C:/a.png", "a\\..\\b.png", "./a.png", "a\n.png"]
)
def test_no_name_of_an_archive_leads_out_of_it(name, tmp_path):
    info = zipfile.ZipInfo("x" * len(name))
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as file:
        file.writestr(info, GOOD)
    path = tmp_path / "evil" / FILES[0]
    path.parent.mkdir()
    path.write_bytes(content.getvalue().replace(b"x" * len(name), name.encode()))
    text = message(lambda: read_letters(path))
    assert "must hold names of places inside it, but one is" in text
    assert [each.name for each in tmp_path.rglob("*")] == ["evil", FILES[0]]  # nothing was written


def test_archives_that_are_locked_doubled_or_enormous(tmp_path, monkeypatch):
    path = archive(tmp_path / FILES[0], [("images/Greek/character01/0001_01.png", GOOD)])
    content = path.read_bytes()
    for place in (content.index(b"PK\x03\x04") + 6, content.index(b"PK\x01\x02") + 8):
        content = content[:place] + b"\x01" + content[place + 1 :]
    path.write_bytes(content)
    assert "hold files that are stored or deflated" in message(lambda: read_letters(path))
    with pytest.warns(UserWarning, match="Duplicate"):
        archive(path, [("images/Greek/character01/0001_01.png", GOOD)] * 2)
    assert "hold each name once" in message(lambda: read_letters(path))
    archive(path, [("a", bytes(300 << 20))])
    assert path.stat().st_size < 1 << 20
    assert "unpack to at most 256 MB" in message(lambda: read_letters(path))
