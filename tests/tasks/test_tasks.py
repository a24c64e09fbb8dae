"""Tasks: their sentences are right, never change, never leak, and batches resume where they stopped."""

import hashlib
import json
import subprocess
import sys

import numpy as np
import pytest

from tinyattn import tasks
from tinyattn.errors import DataError
from tinyattn.tasks import tiny_mt
from tinyattn.tasks.parts import tiny_mt_grammar
from tinyattn.tasks.parts.batching import OrderedBatches
from tinyattn.tasks.parts.ragged import Ragged
from tinyattn.tasks.parts.randomness import Stream
from tinyattn.tasks.parts.vocabulary import BOS, EOS, PAD, SPECIALS, UNK, Vocabulary
from tinyattn.tasks.translation import Examples, SentenceBatcher

FIELDS = ("source", "source_length", "target_in", "target_out", "target_length", "index", "valid")


@pytest.fixture(scope="module")
def tiny():
    return tasks.get("tiny-mt", train_examples=5200)


def digest(*arrays: np.ndarray) -> str:
    total = hashlib.sha256()
    for array in arrays:
        total.update(np.ascontiguousarray(array).astype("<i8").tobytes())
    return total.hexdigest()[:16]


# The vocabulary


def test_vocabulary_orders_by_frequency_and_keeps_the_frequent():
    vocabulary = Vocabulary.build(["b a b".split(), "c b a <unk> d d".split()], minimum_frequency=2)
    assert vocabulary.to_list() == [*SPECIALS, "b", "a", "d"]
    assert (PAD, BOS, EOS, UNK) == tuple(vocabulary.to_list().index(special) for special in SPECIALS)
    ids = vocabulary.encode(["b", "c", "d"])
    assert ids.dtype == np.int32 and ids.tolist() == [4, UNK, 6]
    assert vocabulary.decode([BOS, 4, UNK, PAD, 6, EOS, 5]) == ["b", "<unk>", "d"]


def test_vocabulary_survives_json():
    vocabulary = Vocabulary(["fox", "Füchse", '"'])
    assert Vocabulary.from_list(json.loads(json.dumps(vocabulary.to_list()))) == vocabulary


def test_vocabulary_refuses_what_it_cannot_be():
    with pytest.raises(DataError, match="every word must occur once, but got 'fox' 2 times"):
        Vocabulary(["fox", "fox"])
    with pytest.raises(DataError, match="must hold words and begin with"):
        Vocabulary.from_list(["fox", "bird"])
    with pytest.raises(DataError, match=r"an id must lie in 0\.\.4, but got 5"):
        Vocabulary(["fox"]).decode([4, 5])


# tiny-MT: the languages


def test_a_sentence_by_hand():
    source = "the quiet fox sees a tall green tree near every river".split()
    expected = "ta velka sul ne endelo gath yeb ba olo vasmi oti -ka".split()
    assert tiny_mt_grammar.translate(source) == expected
    assert tiny_mt_grammar.join(expected) == "ta velka sul ne endelo gath yeb ba olo vasmi otika"


def test_lexicon_has_forty_words_each_way_and_four_classes():
    assert len(tiny_mt_grammar.LEXICON) == 40
    assert len(set(tiny_mt_grammar.LEXICON.values())) == 40
    classes = {tiny_mt_grammar.ending(noun) for noun in tiny_mt_grammar.NOUNS}
    assert classes == set(tiny_mt_grammar.ENDINGS)
    assert len(tiny_mt.SOURCE_VOCABULARY) == 44 and len(tiny_mt.TARGET_VOCABULARY) == 44 + len(classes)


@pytest.mark.parametrize(
    "source",
    ["", "the fox", "sees the fox", "the fox near a tree", "fox sees the tree", "the fox sees a red"],
)
def test_ungrammatical_sentences_are_refused(source):
    with pytest.raises(DataError, match="a sentence must be noun-phrase verb noun-phrase"):
        tiny_mt_grammar.translate(source.split())


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_every_pair_obeys_the_grammar_and_the_rule(tiny, split):
    for source, target in zip(tiny.source_tokens(split), tiny.references(split), strict=True):
        assert tiny_mt_grammar.translate(source) == target  # refuses what the grammar does not make
        assert 5 <= len(source) <= 30 and len(target) == len(source) + 1
        nouns = [word for word in source if word in tiny_mt_grammar.NOUNS]
        assert len(set(nouns)) == len(nouns)


@pytest.mark.parametrize("split", ["train", "test"])
def test_gold_alignment_says_where_each_token_came_from(tiny, split):
    sources, references = tiny.source_tokens(split), tiny.references(split)
    for example, source, target in zip(tiny.examples(split), sources, references, strict=True):
        assert example.alignment[:, 0].tolist() == list(range(len(target)))
        came_from = [source[position] for position in example.alignment[:, 1]]
        assert [tiny_mt_grammar.LEXICON[word] for word in came_from[:-1]] == target[:-1]
        subject = next(word for word in source if word in tiny_mt_grammar.NOUNS)
        assert came_from[-1] == subject and tiny_mt_grammar.ending(subject) == target[-1]
        assert sorted(example.alignment[:-1, 1]) == list(range(len(source)))  # each word exactly once


def test_every_word_and_every_number_of_phrases_occurs(tiny):
    assert set(tiny.train.source.flat.tolist()) == set(range(len(SPECIALS), len(tiny.source_vocabulary)))
    assert set(tiny.train.target.flat.tolist()) == set(range(len(SPECIALS), len(tiny.target_vocabulary)))
    longest = [s for s in tiny.source_tokens("train") if len(s) == 30]
    phrases = {sum(word in tiny_mt_grammar.PREPOSITIONS for word in source) for source in longest}
    assert phrases == {4, 5, 6, 7, 8}


def test_word_choice_is_uniform():
    examples = tiny_mt.generate(np.full(40_000, 11), Stream("uniform", 3))
    counts = np.bincount(examples.source.flat, minlength=44)[len(SPECIALS) :]
    for kind in (
        tiny_mt_grammar.DETERMINERS,
        tiny_mt_grammar.NOUNS,
        tiny_mt_grammar.ADJECTIVES,
        tiny_mt_grammar.VERBS,
    ):
        of_kind = counts[tiny_mt.SOURCE_VOCABULARY.encode(list(kind)) - len(SPECIALS)]
        assert np.ptp(of_kind) < 0.1 * of_kind.mean()


# tiny-MT: the splits


def test_lengths_are_even_and_held_out_sets_are_stratified(tiny):
    for examples, each in ((tiny.validation, 20), (tiny.test, 50)):
        assert np.bincount(examples.source.lengths)[5:].tolist() == [each] * 26
    assert np.ptp(np.bincount(tiny.train.source.lengths)[5:]) <= 10
    assert len(tiny.test) >= 1000
    assert (tiny.test.source.lengths >= tiny_mt.LENGTH_BUCKETS[-2]).sum() >= 200


def test_splits_are_disjoint():
    task = tasks.get("tiny-mt")
    train, validation, test = (
        {row.tobytes() for row in s.source} for s in (task.train, task.validation, task.test)
    )
    assert not train & test and not train & validation and not validation & test
    assert len(test) == len(task.test) and len(validation) == len(task.validation)
    # and that is not by luck: some of the sentences drawn for training had to be taken out
    assert 59_900 < len(task.train) < 60_000


def test_same_seed_same_sentences_another_seed_others_but_one_test_set():
    one, again, other = (tasks.get("tiny-mt", seed=seed, train_examples=500) for seed in (7, 7, 8))
    assert np.array_equal(one.train.source.flat, again.train.source.flat)
    assert np.array_equal(one.train.target.flat, again.train.target.flat)
    assert not np.array_equal(one.train.source.flat, other.train.source.flat)
    assert np.array_equal(one.test.source.flat, other.test.source.flat)


def test_sentences_and_batches_never_change(tiny):
    """Figures are comparable between machines and versions only while these digests stay what they are."""
    test = tiny.test
    assert digest(test.source.flat, test.target.flat, test.alignment.flat) == "0d41efee04908c2f"
    assert digest(tiny.train.source.flat) == "6e5a07c1e64e48a2"
    batches = tiny.batches("train", 64, seed=1)
    assert digest(*(next(batches).index for _ in range(100))) == "ae13b290321e221e"


# Random streams


def test_streams_differ_by_purpose_seed_and_number():
    words = {Stream(*key).words(4).tobytes() for key in [("a", 0), ("b", 0), ("a", 1), ("a", 0, 1), ("a", 0)]}
    assert len(words) == 4


def test_subsets_have_their_sizes_and_all_chances_are_equal():
    sizes, among = np.tile([0, 2, 5], 3000), np.tile([4, 4, 5], 3000)
    taken = Stream("subsets", 0).subsets(sizes, among, 6)
    assert np.array_equal(taken.sum(axis=1), sizes)
    assert not taken[np.arange(6) >= among[:, None]].any()
    assert np.abs(taken[1::3, :4].mean(axis=0) - 0.5).max() < 0.03


def test_permutations_are_permutations():
    rows = Stream("permutations", 0).permutations(500, 7)
    assert (np.sort(rows, axis=1) == np.arange(7)).all()
    assert len({row.tobytes() for row in rows}) > 400


@pytest.mark.parametrize("seed", [-1, 2**64, 1.5, True, "0", None])
def test_bad_seeds_are_refused(seed):
    with pytest.raises(DataError, match=r"\[seed\] must be an integer from 0 to"):
        Stream("a", seed)


# Batches


def test_a_batch_is_the_examples_padded(tiny):
    for batch in tiny.batches("test", 48):
        rows, width, height = batch.shape
        assert (rows, (width, height)) in [(48, shape) for shape in tiny.shapes]
        for row in np.flatnonzero(batch.valid):
            example = tiny.test[int(batch.index[row])]
            n, m = len(example.source), len(example.target)
            assert (batch.source_length[row], batch.target_length[row]) == (n, m + 1)
            assert batch.source[row].tolist() == example.source.tolist() + [PAD] * (width - n)
            assert batch.target_in[row].tolist() == [BOS, *example.target] + [PAD] * (height - m - 1)
            assert batch.target_out[row].tolist() == [*example.target, EOS] + [PAD] * (height - m - 1)
    assert all(getattr(batch, name).dtype == np.int32 for name in FIELDS[:5])
    assert batch.valid.dtype == bool


@pytest.mark.parametrize("batch_size", [1, 7, 64, 5000])
def test_evaluation_covers_every_example_once(tiny, batch_size):
    batches = tiny.batches("test", batch_size)
    seen = list(batches)
    assert len(seen) == len(batches) == -(-1300 // batch_size)
    index = np.concatenate([batch.index[batch.valid] for batch in seen])
    assert sorted(index) == list(range(1300))
    assert all(batch.valid.all() for batch in seen[:-1])
    filling = ~seen[-1].valid
    assert not seen[-1].target_out[filling].any() and not seen[-1].target_length[filling].any()
    assert (seen[-1].source_length[filling] > 0).all()
    assert sum(batch.weight for batch in seen) == (tiny.test.target.lengths + 1).sum()
    assert [batch.shape for batch in batches] == [batch.shape for batch in seen]  # again, from the beginning


def test_an_epoch_of_training_is_full_shuffled_and_leaves_out_less_than_a_batch(tiny):
    batches = tiny.batches("train", 64, seed=5)
    epochs = [[next(batches) for _ in range(len(batches))] for _ in range(2)]
    for epoch in epochs:
        assert all(batch.valid.all() and batch.shape[0] == 64 for batch in epoch)
        index = np.concatenate([batch.index for batch in epoch])
        assert len(set(index.tolist())) == len(index) > len(tiny.train) - 64
        assert len({batch.shape for batch in epoch[:20]}) == len(tiny.shapes)  # shapes come mixed
    assert (batches.epoch, batches.position) == (1, len(batches))
    assert not np.array_equal(epochs[0][0].index, epochs[1][0].index)


def test_training_resumes_bit_identically_from_any_place(tiny):
    whole = tiny.batches("train", 200, seed=9)
    states, batches = [whole.state()], []
    for _ in range(2 * len(whole) + 3):
        batches.append(next(whole))
        states.append(json.loads(json.dumps(whole.state())))
    for start in (0, 1, 13, len(whole) - 1, len(whole), len(whole) + 1, 2 * len(whole)):
        resumed = tiny.batches("train", 200, seed=1234)
        resumed.restore(states[start])
        for expected in batches[start:]:
            batch = next(resumed)
            for name in FIELDS:
                assert np.array_equal(getattr(batch, name), getattr(expected, name)), name
        assert resumed.state() == whole.state()


def test_states_of_other_runs_are_refused(tiny):
    batches = tiny.batches("train", 200, seed=9)
    state = batches.state()
    for wrong, said in [
        (None, "the state must hold integers: seed, epoch, position, batch_size, examples, but got None"),
        (state | {"epoch": 1.0}, "the state must hold integers"),
        (state | {"epoch": -1}, "the state must hold integers"),
        ({"epoch": 1}, "the state must hold integers"),
        (state | {"batch_size": 64}, "batch_size of the state must be 200, as in this run, but got 64"),
        (state | {"examples": 1}, "examples of the state must be"),
        (state | {"position": 27}, r"position of the state must lie in 0\.\.26, but got 27"),
    ]:
        with pytest.raises(DataError, match=said):
            batches.restore(wrong)
    assert batches.state() == state


def test_batches_refuse_bad_sizes_and_splits(tiny):
    for size in (0, -3, 2.0, True, "64"):
        with pytest.raises(DataError, match="batch_size must be a positive integer"):
            tiny.batches("train", size, seed=0)
    with pytest.raises(DataError, match="the split must be one of train, validation, test, but got 'dev'"):
        tiny.batches("dev", 64)
    with pytest.raises(
        DataError, match="one batch must fit into the training examples, but got 520 examples"
    ):
        tiny.batches("validation", 521, seed=0)


def test_batcher_refuses_a_sentence_too_long_for_its_shapes():
    rows = Ragged.from_rows([np.arange(4, 4 + n, dtype=np.int32) for n in (2, 5)])
    with pytest.raises(DataError, match="got example 1 of 5 and 5 tokens"):
        SentenceBatcher(Examples(rows, rows), [(5, 5)], 1)  # the target has no room for <eos>
    assert len(list(OrderedBatches(SentenceBatcher(Examples(rows, rows), [(5, 6)], 1)))) == 2


def test_gold_links_of_an_example(tiny):
    for row in (0, 700):
        example = tiny.test[row]
        links = tiny.test.gold_links(row, (40, 30))
        assert links.shape == (40, 30) and links.sum() == len(example.target)
        assert np.array_equal(np.argwhere(links), example.alignment)


def test_ragged_rows():
    rows = [np.array([1, 2]), np.array([3]), np.array([4, 5, 6])]
    ragged = Ragged.from_rows(rows)
    assert [row.tolist() for row in ragged] == [[1, 2], [3], [4, 5, 6]] and ragged[-1].tolist() == [4, 5, 6]
    assert [row.tolist() for row in ragged.take(np.array([2, 0, 2]))] == [[4, 5, 6], [1, 2], [4, 5, 6]]
    assert ragged.pad(np.array([1, 2]), 4).tolist() == [[3, 0, 0, 0], [4, 5, 6, 0]]


# The registry


def test_list_names_every_task_with_a_line():
    listed = dict(tasks.list())
    assert list(listed)[:2] == ["tiny-mt", "multi30k"]
    assert all(description and "\n" not in description for description in listed.values())


def test_unknown_names_and_options():
    for name in ("tinymt", "tiny_mt", "Tiny-MT"):
        with pytest.raises(DataError, match=f"but got '{name}': did you mean tiny-mt"):
            tasks.get(name)
    with pytest.raises(DataError, match="but got 'xyz': see `tinyattn tasks`"):
        tasks.get("xyz")
    with pytest.raises(DataError, match="options of tiny-mt must be among train_examples, but got 'size'"):
        tasks.get("tiny-mt", size=3)
    with pytest.raises(DataError, match="train_examples must be a positive integer, but got 0"):
        tasks.get("tiny-mt", train_examples=0)
    with pytest.raises(DataError, match="tiny-mt makes its own data"):
        tasks.get("tiny-mt", data="somewhere")


def test_describe_is_for_people(tiny):
    lines = tiny.describe().split("\n")
    assert lines[0].startswith("tiny-mt: ") and "1,300 test" in lines[1]
    source, target = lines[-2].removeprefix("  for example").split(), lines[-1].split()
    assert tiny_mt_grammar.join(tiny_mt_grammar.translate(source)).split() == target


def test_the_room_imports_nothing_of_tinyattn_but_what_lies_below_it():
    program = (
        "import sys, types, pathlib, importlib\n"
        "package = types.ModuleType('tinyattn'); package.__path__ = [sys.argv[1]]\n"
        "sys.modules['tinyattn'] = package\n"
        "for file in pathlib.Path(sys.argv[1], 'tasks').glob('*.py'):\n"
        "    importlib.import_module('tinyattn.tasks.' + file.stem)\n"
        "print(*[n for n in sys.modules if n.startswith('tinyattn.') and n.split('.')[1] != 'tasks'])\n"
    )
    folder = str(tasks.__path__[0]).removesuffix("tasks").rstrip("/")
    run = subprocess.run([sys.executable, "-c", program, folder], capture_output=True, text=True, check=True)
    assert sorted(run.stdout.split()) == [
        "tinyattn.errors",
        "tinyattn.files",
        "tinyattn.lookup",
        "tinyattn.sections",
    ]
