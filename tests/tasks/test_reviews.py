"""Reviews: the label is that of the words that decide; and film reviews, read or refused with their line."""

import gzip

import numpy as np
import pytest
from data_errors import message

from tinyattn import tasks
from tinyattn.tasks.parts.bag import BagOfWords
from tinyattn.tasks.parts.ragged import Ragged
from tinyattn.tasks.reviews import BAD, GOOD, HATED, LOVED, NEGATIONS
from tinyattn.tasks.task import SPLITS, Answers


@pytest.fixture(scope="module")
def task():
    return tasks.get("reviews")


def verdict(text: str) -> str:
    """By the rules, from the text alone: the clause behind "but", or behind the comma of "although", or the only one
    with an opinion; its main word, turned round by a negation."""
    clauses = [part for sentence in text.split(" . ") for part in sentence.split(" , ")]
    opinions = [part for part in clauses if set(part.split()) & {*GOOD, *BAD, *LOVED, *HATED}]
    words = opinions[-1].split()
    good = any(word in GOOD + LOVED for word in words)
    return "yes" if good != any(word in NEGATIONS for word in words) else "no"


def test_labels_follow_the_rules(task):
    assert {len([*task.tokens[split]]) > 400 for split in SPLITS} == {True}
    for row in task.rows["test"]:
        assert verdict(row.text) == row.label, row.text


def test_deciding_words_are_a_main_word_and_what_negates_it(task):
    main = {*GOOD, *BAD, *LOVED, *HATED}
    for row, where in zip(task.rows["test"], task.deciding["test"], strict=True):
        found = [word for word, decides in zip(row.text.split(), where, strict=True) if decides]
        assert found[-1] in main and set(found[:-1]) <= {*NEGATIONS} and len(found) <= 2
        said = found[-1] in GOOD + LOVED
        assert ("yes" if said == (len(found) == 1) else "no") == row.label


def test_who_counts_words_is_far_from_the_best(task):
    assert 0.75 <= task.bag_of_words("test")["accuracy"] <= 0.8
    assert task.floor("test")["accuracy"] < 0.52
    assert "76.3% by counting words (naive Bayes)" in task.describe()


def test_no_review_leaks_and_the_test_stays(task):
    other = tasks.get("reviews", seed=1, train_examples=300)
    assert other.rows["test"] == task.rows["test"] and other.rows["train"] != task.rows["train"][:300]
    held_out = {row.text for split in SPLITS[1:] for row in task.rows[split]}
    assert not held_out & {row.text for row in task.rows["train"] + other.rows["train"]}
    assert task.count("test") == 2_000


def test_attention_is_measured_on_the_words_that_decide(task):
    right, deciding = task.labels["test"], task.deciding["test"]
    weights = [np.pad(where / where.sum(), (0, 3))[None] for where in deciding]
    figures = task.score(Answers([*right], {"attention": weights}), "test").figures
    assert figures["accuracy"] == 1.0 and figures["attention_mass"] == pytest.approx(1)
    spread = [np.full((1, len(where)), 1 / len(where)) for where in deciding]
    figures = task.score(Answers([*right], {"attention": spread}), "test").figures
    assert figures["attention_mass"] == pytest.approx(np.mean([where.mean() for where in deciding]))
    assert "attention_mass" not in task.score(Answers([*right]), "test").figures


def test_naive_bayes_by_hand():
    texts = Ragged.from_rows([np.array(text, np.int32) for text in ([0, 0, 1], [1], [2, 1])])
    bag = BagOfWords(texts, np.array([0, 0, 1], np.int32), 3, 2)
    np.testing.assert_allclose(np.exp(bag.log_p), [[3 / 7, 3 / 7, 1 / 7], [1 / 5, 2 / 5, 2 / 5]])
    np.testing.assert_allclose(np.exp(bag.prior), [2 / 3, 1 / 3])
    asked = Ragged.from_rows([np.array(text, np.int32) for text in ([0], [2], [2, 2])])
    assert bag.classify(asked).tolist() == [0, 1, 1]  # 2/3·3/7 > 1/3·1/5; 2/3·1/7 < 1/3·2/5


# Film reviews.


@pytest.fixture
def folder(tmp_path):
    for part, count in (("train", 6), ("dev", 2), ("test", 2)):
        lines = "".join(
            f"{k % 2} a {'fine' if k % 2 else 'dull'} film number {k} , n't it ?\n" for k in range(count)
        )
        (tmp_path / f"stsa.binary.{part}.gz").write_bytes(gzip.compress(lines.encode()))
    return tmp_path


def test_film_reviews_are_read(folder):
    task = tasks.get("sst", data=folder, minimum_frequency=1)
    assert [task.count(split) for split in SPLITS] == [6, 2, 2]
    assert task.classes == ["negative", "positive"] and task.labels["train"].tolist() == [0, 1] * 3
    assert task.vocabulary.decode(task.tokens["train"][1])[-3:] == ["n't", "it", "?"]
    plain = gzip.decompress((folder / "stsa.binary.dev.gz").read_bytes())
    (folder / "stsa.binary.dev.gz").unlink()
    (folder / "stsa.binary.dev").write_bytes(plain)
    assert tasks.get("sst", data=folder).rows["validation"][0].text == task.rows["validation"][0].text


@pytest.mark.parametrize(
    "content, expected",
    [
        (b"1 fine\n2 dull\n", "begin each line with 0 or 1, a space and words, but line 2 does not"),
        (b"1 fine\n0\n", "begin each line with 0 or 1, a space and words, but line 2 does not"),
        (b"1 fine\n0 \n", "begin each line with 0 or 1, a space and words, but line 2 does not"),
        (b"1 fine\n\n0 dull\n", "hold a label and a sentence a line, but line 2 is empty"),
        (b"", "hold a label and a sentence a line, but it is empty"),
        (b"1\tfine\n", "begin each line with 0 or 1, a space and words, but line 1 does not"),
    ],
)
def test_damaged_film_reviews(folder, content, expected):
    path = folder / "stsa.binary.dev.gz"
    path.write_bytes(gzip.compress(content))
    text = message(lambda: tasks.get("sst", data=folder)).replace(str(path), "FILE")
    assert text == f"[sst] FILE must {expected}."


def test_folders_that_are_not_of_film_reviews(folder):
    assert message(lambda: tasks.get("sst", data=folder / "no")).endswith("must be a folder, but it is not.")
    (folder / "stsa.binary.test.gz").write_bytes(gzip.compress(b"1 fine\n1 good\n"))
    assert message(lambda: tasks.get("sst", data=folder)).endswith(
        "hold both labels in test, but there is only one."
    )
    (folder / "stsa.binary.dev.gz").unlink()
    assert "stsa.binary.dev.gz must be a gzipped text file" in message(lambda: tasks.get("sst", data=folder))
