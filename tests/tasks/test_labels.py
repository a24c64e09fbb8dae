"""Texts with labels: tables are read or refused with their line, splits never leak, every text counts once; a model
of the user's learns them.
"""

import gzip
import hashlib
from dataclasses import dataclass

import numpy as np
import pytest
from data_errors import message

import tinyattn as ta
from tinyattn import nn, tasks
from tinyattn.errors import DataError, TinyattnError
from tinyattn.models import Model, from_task
from tinyattn.sections import Bars, Samples, Table
from tinyattn.tasks.labels import NOTHING
from tinyattn.tasks.parallel import tokenize
from tinyattn.tasks.parts import metrics
from tinyattn.tasks.parts.table import read_rows
from tinyattn.tasks.parts.vocabulary import UNK
from tinyattn.tasks.task import SPLITS, Answers

GOOD, BAD = (
    ("a fine and moving film", "what a splendid, warm story"),
    ("a dull film", "so tired and flat, so long"),
)


def table(count: int = 40) -> list[tuple[str, str]]:
    """Texts of two labels, all different."""
    return [
        pair
        for k in range(count // 2)
        for pair in (
            ("good", f"{GOOD[k % 2]} number {k} {'indeed ' * (k % 9)}"),
            ("bad", f"{BAD[k % 2]} number {k}"),
        )
    ]


def lines(rows, separator: str) -> str:
    return "".join(f"{label}{separator}{text}\n" for label, text in rows)


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "reviews.tsv"
    path.write_text(lines(table(), "\t"))
    return path


@pytest.fixture
def task(file):
    return tasks.get("labels", data=file)


def refused(path, **options) -> str:
    return message(lambda: tasks.get("labels", data=path, **options)).replace(str(path), "FILE")


# Tables.


@pytest.mark.parametrize(
    "name, content, options",
    [
        ("a.csv", 'good,"fine, and ""long"""\nbad,dull\n', {}),
        ("a.csv", '\ufeffgood, "fine, and ""long"""\r\n\r\nbad , dull\r\n', {}),
        ("a.csv", 'label,text\ngood,"fine, and ""long"""\nbad,dull', {}),
        ("a.csv", 'id,Review,stars,Sentiment\n1,"fine, and ""long""",5,good\n2,dull,1,bad\n', {}),
        (
            "a.csv",
            'what,said\n"fine, and ""long""",good\ndull,bad\n',
            {"label_column": "said", "text_column": "What"},
        ),
        ("a.tsv", 'good\tfine, and "long"\n\nbad\tdull\n', {}),
        ("a.txt", 'good\tfine, and "long"\nbad\tdull\n', {}),
        ("a.txt", 'text\tlabel\nfine, and "long"\tgood\ndull\tbad\n', {}),
        ("a.train", 'good fine, and "long"\nbad dull\n', {"separator": "space"}),
        ("a.csv", 'good\tfine, and "long"\nbad\tdull\n', {"separator": "tab"}),
    ],
)
def test_all_ways_to_write_a_table_say_the_same(tmp_path, name, content, options):
    for path, data in (
        (tmp_path / name, content.encode()),
        (tmp_path / f"{name}.gz", gzip.compress(content.encode())),
    ):
        path.write_bytes(data)
        rows = read_rows("labels", path, **{"separator": "auto"} | options)
        assert [(row.label, row.text) for row in rows] == [("good", 'fine, and "long"'), ("bad", "dull")]


def test_rows_know_their_line(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text('label,text\ngood,"on\ntwo lines"\n\nbad,dull\n')
    rows = read_rows("labels", path, "auto")
    assert [row.place for row in rows] == [f"{path}, line 2", f"{path}, line 5"]
    assert rows[0].text == "on\ntwo lines"


@pytest.mark.parametrize(
    "content, expected",
    [
        ("", "hold a label and a text a line, but it is empty"),
        ("\n \n", "hold a label and a text a line, but all of its lines are blank"),
        ("good,fine\nbad,dull, and long\n", "have 2 columns, but line 2 has 3 with comma as separator"),
        ("good fine\nbad dull\n", "have 2 columns, but line 1 has 1 with comma as separator"),
        ("id,label,text\n1,good,fine\n2,bad\n", "have 3 columns, but line 3 has 2 with comma as separator"),
        ("good,fine\n,dull\n", "hold a label and a text a line, but line 2 has no label"),
        ("good,fine\nbad,\n", "hold a label and a text a line, but line 2 has no text"),
        ('good,fine\nbad,"dull\n', "be comma-separated values, but the row at line 2 is none (unexpected end of data)"),
        ('good,"fine" or not\n', "be comma-separated values, but the row at line 1 is none (',' expected after '\"')"),
    ],
)  # fmt: skip
def test_damaged_tables(tmp_path, content, expected):
    path = tmp_path / "a.csv"
    path.write_text(content)
    assert refused(path) == f"[labels] FILE must {expected}."


def test_heads_must_have_what_is_asked_for(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("label,text\ngood,fine\n")
    expected = "[labels] FILE must have a column 'stars' in its first line, but its columns are label, text."
    assert refused(path, label_column="stars") == expected
    assert "separator must be one of auto, comma, tab, space, but got ';'" in refused(path, separator=";")


# What can't be meant.


def test_a_head_with_names_of_its_own_is_no_example(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("stars,opinion\n" + lines([(label, f'"{text}"') for label, text in table()], ","))
    found = refused(path)
    assert found.startswith(
        "[labels] FILE must hold labels that occur more than once, but 'stars' in line 1 does not"
    )
    task = tasks.get("labels", data=path, label_column="stars", text_column="opinion")
    assert task.classes == ["bad", "good"] and sum(map(task.count, SPLITS)) == 40


def test_columns_the_wrong_way_round(tmp_path):
    path = tmp_path / "a.tsv"
    path.write_text("".join(f"{text}\t{label}\n" for label, text in table()))
    assert "must hold" in refused(path) and "labels" in refused(path)


@pytest.mark.parametrize(
    "rows, expected",
    [
        ([("a", "x y"), ("a", "z")] * 9, "hold at least 5 different texts of a label, but it holds 2 in all"),
        ([("a", f"text {k}") for k in range(20)], "hold two labels or more, but got only 'a'"),
    ],
)
def test_too_little_to_learn_from(tmp_path, rows, expected):
    path = tmp_path / "a.tsv"
    path.write_text(lines(rows, "\t"))
    assert refused(path) == f"[labels] FILE must {expected}."


def test_options_that_make_no_sense(file):
    assert "longest must be a positive integer, but got 0" in refused(file, longest=0)
    assert "minimum_frequency must be a positive integer" in refused(file, minimum_frequency=0)
    assert "options of labels must be among" in refused(file, seperator="tab")


# Splits.


def texts(task, split):
    return {" ".join(task.vocabulary.decode(ids)) for ids in task.tokens[split]}


def digest(text: str) -> bytes:
    """Of its words, a space between each two."""
    return hashlib.sha256(" ".join(tokenize(text, "")).encode()).digest()


def test_a_file_is_split_the_same_way_whatever_the_order_of_its_lines(tmp_path, file, task):
    assert {split: task.count(split) for split in SPLITS} == {"train": 32, "validation": 4, "test": 4}
    for split in SPLITS[1:]:
        assert np.bincount(task.labels[split]).tolist() == [2, 2]
    other = tmp_path / "other.tsv"
    other.write_text(lines(table()[::-1], "\t"))
    again = tasks.get("labels", data=other)
    for split in SPLITS:
        assert {row.text for row in again.rows[split]} == {row.text for row in task.rows[split]}
    for label in ("bad", "good"):  # in the order of their digests
        own = sorted((text for kind, text in table() if kind == label), key=digest)
        for split, part in (("test", own[:2]), ("validation", own[2:4]), ("train", own[4:])):
            assert {row.text for row in task.rows[split] if row.label == label} == set(map(str.strip, part))
    assert {row.label for split in SPLITS for row in task.rows[split]} == {"good", "bad"}
    assert sum(map(task.count, SPLITS)) == 40


def test_a_text_that_occurs_twice_is_on_one_side(tmp_path):
    rows = [(label, text) for label, text in table() for _ in range(3)]
    rows += [(label, text.upper()) for label, text in table()]  # the same words
    path = tmp_path / "a.tsv"
    path.write_text(lines(rows, "\t"))
    task = tasks.get("labels", data=path, minimum_frequency=1)
    found = [{row.text.lower() for row in task.rows[split]} for split in SPLITS]
    assert not found[0] & found[1] and not found[0] & found[2] and not found[1] & found[2]
    assert sum(map(task.count, SPLITS)) == len(rows)


def test_a_folder_has_a_file_for_each_split(tmp_path):
    for name, rows in (("x.train.tsv.gz", table()), ("DEV.tsv", table(8)), ("test.tsv", table(4))):
        content = lines(rows, "\t").encode()
        (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    task = tasks.get("labels", data=tmp_path)
    assert [task.count(split) for split in SPLITS] == [40, 8, 4]
    (tmp_path / "test.tsv").write_text(lines([*table(4), ("so-so", "well")], "\t"))
    expected = (
        f"[labels] every label must occur in training, but got 'so-so' in {tmp_path / 'test.tsv'}, line 5."
    )
    assert message(lambda: tasks.get("labels", data=tmp_path)) == expected
    (tmp_path / "test.csv").write_text("")
    expected = "[labels] FILE must hold one file with test in its name, but there are test.csv and test.tsv."
    assert refused(tmp_path) == expected
    (tmp_path / "DEV.tsv").unlink()
    expected = "[labels] FILE must hold one file with val or valid or validation or dev in its name, but there is none."
    assert refused(tmp_path) == expected


def test_the_vocabulary_is_that_of_training(task):
    words = {word for row in task.rows["train"] for word in task._words(row)}
    assert set(task.vocabulary.words[4:]) <= words
    assert task.remarks("a film of MOSS") == [
        f"{word!r} is not in the vocabulary of labels." for word in ("of", "moss")
    ]
    assert task.read("a moss").tokens.tolist() == [[task.vocabulary.encode(["a"])[0], UNK]]


@pytest.mark.parametrize("least", [1, 2, 3, 4])
def test_words_as_frequent_as_asked_are_known(tmp_path, least):
    texts = {"train": ("often often some", "often some rare"), "val": ("x", "y"), "test": ("v", "w")}
    for split, pair in texts.items():
        (tmp_path / f"{split}.csv").write_text(
            lines([("label", "text"), *zip(("good", "bad"), pair, strict=True)], ",")
        )
    known = tasks.get("labels", data=tmp_path, minimum_frequency=least).vocabulary.words[4:]
    assert set(known) == {
        word for word, count in {"often": 3, "some": 2, "rare": 1}.items() if count >= least
    }


# Batches.


@pytest.mark.parametrize("size", [1, 3, 64])
def test_every_text_comes_once_padded_with_nothing(task, size):
    for split in SPLITS:
        seen = []
        for batch in task.batches(split, size):
            assert batch.tokens.shape[0] == size and batch.tokens.shape[1] in task.shapes
            assert (batch.label[~batch.valid] == NOTHING).all() and batch.weight == batch.valid.sum()
            assert ((batch.tokens != 0).sum(1) == batch.length).all()
            for row in np.flatnonzero(batch.valid):
                k = batch.index[row]
                assert np.array_equal(batch.tokens[row, : batch.length[row]], task.tokens[split][k])
                assert task.classes[batch.label[row]] == task.rows[split][k].label
            seen += batch.index[batch.valid].tolist()
        assert sorted(seen) == list(range(task.count(split)))


def test_training_resumes_where_it_stopped(task):
    batches, other = task.batches("train", 4, seed=3), task.batches("train", 4, seed=9)
    for _ in range(len(batches) + 3):
        assert next(batches).valid.all()
    other.restore(batches.state())
    for _ in range(len(batches)):
        a, b = next(batches), next(other)
        assert np.array_equal(a.tokens, b.tokens) and np.array_equal(a.label, b.label)


def test_long_texts_are_cut(file):
    task = tasks.get("labels", data=file, longest=6)
    assert max(task.tokens["train"].lengths) == 6 and task.shapes.tolist() == [8]
    assert task.remarks("a " * 7) == ["only the first 6 of its 7 words are read."]
    assert task.read("a " * 7).tokens.shape == (1, 6)
    assert "every text must hold a word, but got '  ' in the text given" in message(lambda: task.read("  "))


# Judgement.


def test_figures_by_hand():
    right, said = np.array([0, 0, 0, 1, 1, 3]), np.array([0, 0, 1, 1, 3, 3])
    assert metrics.confusion(said, right, 4).tolist() == [
        [2, 1, 0, 0],
        [0, 1, 0, 1],
        [0, 0, 0, 0],
        [0, 0, 0, 1],
    ]
    # precision and recall: 1 and 2/3; 1/2 and 1/2; 1/2 and 1; class 2 doesn't occur
    assert metrics.macro_f1(said, right, 4) == pytest.approx((0.8 + 0.5 + 2 / 3) / 3)


def test_scores_stand_beside_the_most_frequent_label(task):
    right = task.labels["test"]
    said = right.copy()
    said[0] = 1 - said[0]
    scores = task.score(Answers(said.tolist(), nats=2.0, predictions=4), "test")
    assert scores.figures["accuracy"] == 0.75 and scores.figures["val_loss"] == 0.5
    assert scores.figures.keys() == {figure.key for figure in task.figures}
    assert task.floor("test") == {"accuracy": 0.5, "macro_f1": pytest.approx(1 / 3)}
    assert "50.0% of the test by always saying 'bad'" in task.describe()
    sections = task.sections({"mine": (Answers(said.tolist()), scores)}, "test")
    assert [type(section) for section in sections] == [Table, Table, Bars, Samples]
    assert sections[0].rows[0] == ("the most frequent label", "'bad'", "50.0%", "33.3%")
    assert sum(int(cell) for row in sections[1].rows for cell in row[2:]) == 4
    first = sections[3].samples[0]
    assert first[0][1] == task.rows["test"][0].text and first[2][2] is False


def test_show_and_suggestions(task):
    shown = task.show(task.read("What a FINE film!"), Answers([1]), 0)
    assert shown == {"input": "what a fine film <unk>", "output": "good"}
    assert all(text in [row.text.strip() for row in task.rows["test"]] for text in task.suggestions(3))


# A model of the user's.


@dataclass(frozen=True)
class BagConfig:
    vocabulary: int = from_task()
    classes: int = from_task()
    width: int = 8


class Bag(Model):
    """The mean of the words' embeddings, and one linear map."""

    Config = BagConfig
    families = ("classification",)

    def __init__(self, config: BagConfig):
        self.config = config
        self.words, self.output = (
            nn.Embedding(config.vocabulary, config.width),
            nn.Linear(config.width, config.classes),
        )

    def forward(self, tokens, length):
        present = (tokens != 0).reshape(*tokens.shape, 1).astype(np.float32)
        total = (self.words(tokens) * present).sum(axis=1)
        return self.output(total / length.reshape(-1, 1).astype(np.float32))

    def loss(self, batch):
        return ta.cross_entropy(self(batch.tokens, batch.length), batch.label, ignore_index=NOTHING)

    def answer(self, batch):
        logits = self(ta.tensor(batch.tokens), ta.tensor(batch.length)).numpy()
        return Answers(list(logits.argmax(1)))


def test_a_model_of_ones_own_learns_it(task):
    ta.manual_seed(0)
    model = Bag.for_task(task)
    optimizer = ta.optim.Adam(model.parameters(), lr=0.05)

    @ta.function
    def step(kind, arrays):
        loss = model.loss(kind(**arrays))
        optimizer.minimize(loss)
        return loss

    batches = task.batches("train", 8, seed=0)
    for _ in range(60):
        batch = next(batches)
        loss = step(type(batch), vars(batch))
    assert loss < 0.1
    outputs = [0] * task.count("test")
    for batch in task.batches("test", 3):
        for row, said in zip(batch.index[batch.valid], model.answer(batch).outputs, strict=False):
            outputs[row] = said
    assert task.score(Answers(outputs), "test").figures["accuracy"] == 1
    probe = task.probe()
    assert model.answer(probe).outputs and probe.weight == 2


def test_a_model_that_wants_another_size_is_refused(task):
    @dataclass(frozen=True)
    class Flat:
        features: int = from_task()

    class Mine(Bag):
        Config = Flat

    with pytest.raises(TinyattnError) as error:
        Mine.for_task(task)
    expected = "[train] Mine must be told features by its task, but labels has vocabulary, classes, longest."
    assert str(error.value) == expected
    assert isinstance(error.value, TinyattnError) and not isinstance(error.value, DataError)
