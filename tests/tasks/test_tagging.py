"""Tasks of tagging: the grammar's sentences have one reading and its ceilings are those of the best tagger, treebanks
are read or refused with their line, and every word counts once.
"""

import gzip

import numpy as np
import pytest
from data_errors import message

from tinyattn import tasks
from tinyattn.tasks.conllu import read_conllu
from tinyattn.tasks.parts.randomness import Stream
from tinyattn.tasks.parts.tag_grammar import END, TAGS, WORDS, Grammar
from tinyattn.tasks.pos_grammar import SHAPES
from tinyattn.tasks.tagging import NOTHING, SpelledBatch
from tinyattn.tasks.task import SPLITS, Answers

GRAMMAR = Grammar()
DRAWN = GRAMMAR.sentences(6_000, Stream("test of the grammar", 0))


def ids(text: str) -> np.ndarray:
    return np.array([WORDS.index(word) for word in text.split()])


# The grammar.


def test_every_sentence_has_one_reading():
    for words, tags in DRAWN[:600]:
        readings = GRAMMAR.readings(words)
        np.testing.assert_allclose(readings, np.eye(len(TAGS))[tags], atol=1e-12)


@pytest.mark.parametrize(
    "text, tags",
    [
        ("i saw a saw", "PRON VERB DET NOUN"),
        ("they can watch the can", "PRON AUX VERB DET NOUN"),
        ("the duck like a saw", "DET NOUN VERB DET NOUN"),
        ("the duck like a saw found the can", "DET NOUN ADP DET NOUN VERB DET NOUN"),
        ("the duck that saw a can left that duck", "DET NOUN PRON VERB DET NOUN VERB DET NOUN"),
        ("we both saw a can and duck near the hill", "PRON CCONJ VERB DET NOUN CCONJ VERB ADP DET NOUN"),
        ("we saw both a can and duck near the hill", "PRON VERB CCONJ DET NOUN CCONJ NOUN ADP DET NOUN"),
    ],
)
def test_what_a_word_is_can_depend_on_the_other_end(text, tags):
    assert [TAGS[k] for k in GRAMMAR.readings(ids(text)).argmax(1)] == tags.split()


def test_what_is_no_sentence_has_no_reading():
    assert not GRAMMAR.readings(ids("saw a saw i")).any()


def test_ceilings_are_what_the_best_tagger_reaches():
    none = len(WORDS)
    single, triple = GRAMMAR.joint(0), GRAMMAR.joint(1)
    assert single.sum() == pytest.approx(1) and triple.sum() == pytest.approx(1)
    np.testing.assert_allclose(triple.sum((0, 2)), single, atol=1e-12)
    best, (right, count) = (single.argmax(-1), triple.argmax(-1)), (np.zeros(2), 0)
    for words, tags in DRAWN:
        framed = np.concatenate([[none], words, [none]])
        said = best[0][words], best[1][framed[:-2], words, framed[2:]]
        right += [(each == tags).sum() for each in said]
        count += len(tags)
    np.testing.assert_allclose(right / count, [GRAMMAR.ceiling(0), GRAMMAR.ceiling(1)], atol=4e-3)
    assert GRAMMAR.ceiling(0) < 0.9 < 0.97 < GRAMMAR.ceiling(1) < 0.99


def test_walks_follow_the_probabilities():
    lengths = np.array([len(words) for words, _ in DRAWN])
    assert lengths.mean() == pytest.approx(GRAMMAR.visits[END + 1 :].sum(), rel=0.02)
    frequency = np.bincount(np.concatenate([words for words, _ in DRAWN]), minlength=len(WORDS))
    np.testing.assert_allclose(frequency / lengths.sum(), GRAMMAR.joint(0).sum(1), atol=4e-3)


@pytest.fixture(scope="module")
def task():
    return tasks.get("pos-grammar")


def test_no_sentence_leaks_and_the_longest_fits(task):
    other = tasks.get("pos-grammar", seed=1, train_examples=500)
    assert other.sentences["test"] == task.sentences["test"]
    assert other.sentences["train"] != task.sentences["train"][:500]
    held_out = {tuple(words) for split in SPLITS[1:] for words, _ in task.sentences[split]}
    for each in (task, other):
        assert not held_out & {tuple(words) for words, _ in each.sentences["train"]}
    assert task.count("test") == 2_000
    steps, here = 0, GRAMMAR.follows[END] > 0
    while here[END + 1 :].any():  # the longest walk there is
        steps, here = steps + 1, (here[:, None] & (GRAMMAR.follows > 0))[END + 1 :].any(0)
    assert steps <= SHAPES[-1]


def test_it_says_its_ceilings_and_what_the_grammar_has_not(task):
    text = task.describe()
    assert "85.24% by the word alone" in text and "98.07% by a neighbour on each side" in text
    assert task.remarks("I saw a saw") == []
    assert task.remarks("a saw saw") == ["the grammar of pos-grammar has no such sentence."]
    assert task.remarks("i saw a tree") == ["'tree' is not in the vocabulary of pos-grammar."]
    assert message(lambda: task.read("  ")) == "[pos-grammar] a sentence must hold a word, but got '  '."
    assert "at most 40 words, but got 41" in message(lambda: task.read("saw " * 41))


# Batches and figures.


@pytest.mark.parametrize("size", [3, 64])
def test_every_word_comes_once_padded_with_nothing(task, size):
    words = 0
    for batch in task.batches("test", size):
        width = batch.tokens.shape[1]
        counted = (np.arange(width) < batch.length[:, None]) & batch.valid[:, None]
        assert (
            width in SHAPES and ((batch.tags != NOTHING) == counted).all() and batch.weight == counted.sum()
        )
        assert not batch.tokens[np.arange(width) >= batch.length[:, None]].any()
        for row in np.flatnonzero(batch.valid):
            text, tags = task.sentences["test"][batch.index[row]]
            n = len(text)
            assert [task.vocabulary.words[i] for i in batch.tokens[row, :n]] == text
            assert [task.classes[k] for k in batch.tags[row, :n]] == tags
        words += batch.weight
    assert words == sum(len(tags) for _, tags in task.sentences["test"])


def test_figures_by_hand(task):
    right = [np.array([task.classes.index(tag) for tag in tags]) for _, tags in task.sentences["test"]]
    total = sum(map(len, right))
    said = [
        np.pad(tags, (0, 3), constant_values=99) for tags in right
    ]  # what is behind a sentence doesn't count
    assert task.score(Answers(said), "test").figures == {
        "accuracy": 1.0,
        "sentence_accuracy": 1.0,
        "ambiguous_accuracy": 1.0,
    }
    row = next(k for k, (words, _) in enumerate(task.sentences["test"]) if "the" in words)
    place = task.sentences["test"][row][0].index("the")
    said[row][place] = (said[row][place] + 1) % 8
    scores = task.score(Answers(said, nats=3.0, predictions=6), "test")
    assert scores.figures["accuracy"] == pytest.approx(1 - 1 / total)
    assert scores.figures["sentence_accuracy"] == pytest.approx(1 - 1 / 2000)
    assert scores.figures["ambiguous_accuracy"] == 1.0 and scores.figures["val_loss"] == 0.5
    assert scores.groups["accuracy by tag"]["NOUN"] == 1.0 > scores.groups["accuracy by tag"]["DET"]
    assert task.floor("test")["accuracy"] == pytest.approx(task.grammar.ceiling(0), abs=5e-3)
    assert "2000 answers, one for each sentence of test, but got 3" in message(
        lambda: task.score(Answers(said[:3]), "test")
    )


def test_a_report_names_what_was_taken_for_what(task):
    said = [np.array([task.classes.index(tag) for tag in tags]) for _, tags in task.sentences["test"]]
    answers = Answers(said, maps={"head": [np.eye(40)] * len(said)})
    found = task.sections({"mine": (answers, task.score(answers, "test"))}, "test")
    beside, _, heat, confusions, _ = found
    assert [row[2] for row in beside.rows][1:] == ["85.2%", "98.1%", "100.0%"]
    assert heat.maps[0].weights.shape == (len(heat.maps[0].rows),) * 2
    assert all(row[2 + k] == row[1].replace(",", "") for k, row in enumerate(confusions.rows))
    shown = task.show(task.read("I saw a saw"), Answers([np.array([6, 7, 4, 5, 0])]), 0)
    assert shown["output"] == "i/PRON saw/VERB a/DET saw/NOUN"


# Treebanks.


def word(number, form, tag) -> str:
    return "\t".join([str(number), form, "_", tag, *["_"] * 6]) + "\n"


ONE = (
    "# text = We don't know.\n"
    + word(1, "We", "PRON")
    + word("2-3", "don't", "_")
    + word(2, "do", "AUX")
    + word(3, "n't", "PART")
    + word(4, "know", "VERB")
    + word("4.1", "it", "_")
    + word(5, ".", "PUNCT")
    + "\n"
)
TWO = word("0.1", "left", "VERB") + word(1, "New York", "PROPN") + word(2, "2005", "NUM") + "\n"


@pytest.fixture
def folder(tmp_path):
    for name, content in (
        ("x-train.conllu", 3 * (ONE + TWO)),
        ("x-dev.conllu", TWO),
        ("x-test.conllu.gz", ONE),
    ):
        data = content.encode()
        (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    return tmp_path


def test_ranges_and_words_left_out_are_no_words(folder):
    sentences = read_conllu("conllu", folder / "x-train.conllu")
    assert len(sentences) == 6
    assert sentences[0] == (["We", "do", "n't", "know", "."], ["PRON", "AUX", "PART", "VERB", "PUNCT"])
    assert sentences[1] == (["New York", "2005"], ["PROPN", "NUM"])


@pytest.mark.parametrize(
    "content, expected",
    [
        ("", "hold sentences in the CoNLL-U format, but it is empty"),
        (ONE[:-1], "end with a blank line behind the last sentence, but it ends early: it is truncated"),
        (ONE + "We know\n\n", "have 10 columns with tabs between them, but line 10 has 1"),
        (ONE + "\n", "have words in every sentence, but there is none in front of line 10"),
        (ONE.replace("\tn't\t", "\t\t"), "have something in every column, but column 2 of line 5 is empty"),
        (ONE.replace("AUX", "MD"), "have a universal part of speech in column 4, but line 4 has 'MD'"),
        (ONE.replace("4\tknow", "5\tknow"), "number words in their order, but line 6 has '5' in place of 4"),
        (ONE.replace("2-3", "3-2"), "number words in their order, but line 3 has '3-2' before word 2"),
        (ONE.replace("4.1", "3.1"), "number words in their order, but line 7 has '3.1' before word 5"),
        (ONE.replace("2-3", "2-9"), "hold all words of a range, but line 9 ends a sentence of 5 that announced 9"),
        (ONE.replace("4\tknow", "-4\tknow"), "number words in their order, but line 6 has '-4' in place of 4"),
        (word(1, "A", "DET") + "# late\n\n", "have 10 columns with tabs between them, but line 2 has 1"),
    ],
)  # fmt: skip
def test_damaged_treebanks(folder, content, expected):
    path = folder / "x-dev.conllu"
    path.write_text(content)
    text = message(lambda: tasks.get("conllu", data=folder)).replace(str(path), "FILE")
    assert text == f"[conllu] FILE must {expected}."


def test_a_file_that_was_cut_is_refused_or_holds_whole_sentences(folder):
    whole, path = read_conllu("conllu", folder / "x-train.conllu"), folder / "x-dev.conllu"
    content = (ONE + TWO).encode()
    for length in range(len(content)):
        path.write_bytes(content[:length])
        if content[:length].endswith(b"\n\n"):
            found = read_conllu("conllu", path)
            assert found == whole[: len(found)]
        else:
            message(lambda: read_conllu("conllu", path))
    packed = (folder / "x-test.conllu.gz").read_bytes()
    for length in range(len(packed)):
        (folder / "x-test.conllu.gz").write_bytes(packed[:length])
        message(lambda: read_conllu("conllu", folder / "x-test.conllu.gz"))


def test_the_folder_must_hold_a_treebank(folder):
    assert message(lambda: tasks.get("conllu", data=folder / "no")).endswith(
        "must be a folder, but it is not."
    )
    (folder / "y-dev.conllu").write_text(TWO)
    assert "but there are x-dev.conllu and y-dev.conllu." in message(lambda: tasks.get("conllu", data=folder))
    (folder / "x-dev.conllu").unlink()
    (folder / "y-dev.conllu").unlink()
    expected = "must hold one file that ends in dev.conllu or dev.conllu.gz, but there is none."
    assert message(lambda: tasks.get("conllu", data=folder)).endswith(expected)


def test_the_english_treebank_is_one(folder):
    one, other = tasks.get("conllu", data=folder), tasks.get("ud-ewt", data=folder)
    assert one.sentences == other.sentences and other.name == "ud-ewt" and other.sizes() == one.sizes()


def test_words_are_spelled_and_unknown_ones_counted(folder):
    (folder / "x-test.conllu.gz").write_bytes(gzip.compress(ONE.replace("know", "knew").encode()))
    task = tasks.get("conllu", data=folder)
    assert task.spelling("McDonald's") == ["-s", "-'s", "-d's", "-ld's", "mcd-", "shape XxXxx'x"]
    assert task.spelling("1995-6") == ["-6", "--6", "-5-6", "-95-6", "199-", "shape dd-d"]
    assert len({len(task.spelling(each)) for each in ("a", "no", "2005", "--")}) == 1
    batch = next(iter(task.batches("test", 1)))
    assert isinstance(batch, SpelledBatch) and batch.features.shape == (1, 8, 6)
    known = task.spelled.words[batch.features[0, 3, -1]], task.spelled.words[batch.features[0, 3, -2]]
    assert known == ("shape xx", "<unk>") and not batch.features[0, 5:].any()
    tags = [task.classes.index(tag) for tag in ("PRON", "AUX", "PART", "NOUN", "PUNCT")]
    figures = task.score(Answers([np.array(tags)]), "test").figures
    assert figures["accuracy"] == 0.8 and figures["unknown_accuracy"] == 0.0
    assert task.floor("test")["accuracy"] == 0.8 and "80.00% of the test's words" in task.describe()
    assert task.remarks("We saw it") == [f"{w!r} is not in the vocabulary of conllu." for w in ("saw", "it")]
