"""The language of the documents that BERT is pre-trained on: every sentence that there is, and what a reader of some
of its words can know.

    a cook often stirs the hot soup .        some cooks now stir the sweet cake .
    DETERMINER NOUN ADVERB VERB the ADJECTIVE OBJECT .

A document is about one noun of one topic. In each sentence of it the number, the adverb, one of the topic's two verbs
and one of its four objects are drawn, all equally likely; the adjective belongs to the object. So a hidden determiner
or verb form is known from the number of the noun, an adjective from the object to its right and from nothing to its
left but the topic, and a noun from the other sentences of the document, also those of the other segment.
"""

import itertools

import numpy as np

TOPICS = {
    "kitchen": ("cook baker waiter", "stir serve", "hot soup, sweet cake, fresh bread, salty ham"),
    "farm": ("farmer shepherd milker", "feed wash", "white sheep, brown cow, pink pig, grey horse"),
    "harbour": ("sailor captain pilot", "steer mend", "swift boat, broken mast, rusty anchor, torn sail"),
    "school": ("teacher pupil tutor", "read copy", "long poem, short story, hard sum, old map"),
    "studio": ("painter dancer singer", "learn show", "slow waltz, bright picture, merry song, blue mask"),
    "forest": ("hunter ranger woodman", "watch follow", "shy deer, sly fox, tall stag, wild boar"),
}
"""Each topic's nouns, verbs, and objects with the adjective that belongs to each."""
ADVERBS = "often never now always".split()
DETERMINERS = ("a", "some")
"""Of singular and plural nouns."""
SPECIALS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
PAD, UNK, CLS, SEP, MASK = range(5)

DETERMINER, NOUN, ADVERB, VERB, THE, ADJECTIVE, OBJECT, STOP = range(8)
KINDS = ("determiner", "noun", "adverb", "verb", "the", "adjective", "object", "full stop")
LENGTH = len(KINDS)
NOUNS_A_TOPIC = 3


def _listed() -> tuple[list[list[str]], list[str]]:
    """Every sentence, those about one noun together; and all words."""
    sentences = []
    for nouns, verbs, objects in TOPICS.values():
        for noun in nouns.split():
            for plural, adverb, verb, known in itertools.product(
                (0, 1), ADVERBS, verbs.split(), objects.split(", ")
            ):
                said = f"{noun}s" if plural else noun, adverb, verb if plural else f"{_third(verb)}"
                sentences.append([DETERMINERS[plural], *said, "the", *known.split(), "."])
    return sentences, sorted({word for sentence in sentences for word in sentence})


def _third(verb: str) -> str:
    return f"{verb}es" if verb.endswith(("sh", "ch")) else f"{_y(verb)}s"


def _y(verb: str) -> str:
    return f"{verb[:-1]}ie" if verb.endswith("y") else verb


_sentences, _words = _listed()
WORDS = (*SPECIALS, *_words)
IDS = {word: number for number, word in enumerate(WORDS)}
SENTENCES = np.array([[IDS[word] for word in sentence] for sentence in _sentences], np.int32)
"""(nouns · PER_NOUN, LENGTH): every sentence as numbers."""
NOUNS = NOUNS_A_TOPIC * len(TOPICS)
PER_NOUN = len(SENTENCES) // NOUNS

CHOSEN, SHOWN_AS_MASK, SHOWN_AS_OTHER = 0.15, 0.8, 0.1
"""Of the words how many are to be predicted, and of those how many are hidden, and how many replaced by any word."""
ORDINARY = len(WORDS) - len(SPECIALS)


def _channel(chosen: float) -> np.ndarray:
    """P(seen | true) of a word that is to be predicted with probability `chosen`: (seen, true)."""
    size = len(WORDS)
    seen = np.full((size, size), chosen * SHOWN_AS_OTHER / ORDINARY)
    seen += (1 - chosen + chosen * (1 - SHOWN_AS_MASK - SHOWN_AS_OTHER)) * np.eye(size)
    seen[MASK] = chosen * SHOWN_AS_MASK
    return seen


_SEEN, _ASKED = (np.log(_channel(chosen)) for chosen in (CHOSEN, 1.0))


def reader(
    seen: np.ndarray, asked: np.ndarray, segment: np.ndarray, followers: np.ndarray
) -> tuple[np.ndarray, float]:
    """What the best reader says of one example: the most probable word at each place that is asked for, and the
    probability that the second segment goes on with the document of the first.

    seen: (n, LENGTH) the sentences as they are seen; asked: (n, LENGTH) bool, which words are to be predicted; segment:
    (n,) 0 or 1; followers: (nouns, nouns), P(noun of the second segment | noun of the first, it doesn't go on).
    Asked for a word the reader knows that this one was chosen, and of the others only what shows, as a model does. The
    posterior is exact but for one thing: each word counts as chosen on its own, where it is so many of a row.
    """
    # P(what is seen of a sentence | it is this one), (n, all sentences), scaled: place by place.
    log = sum(_SEEN[seen[:, place]][:, SENTENCES[:, place]] for place in range(LENGTH))
    each = np.exp(log - np.max(log, axis=1, keepdims=True))
    of_noun = each.reshape(len(seen), NOUNS, PER_NOUN).mean(axis=2)
    first, second = (of_noun[segment == k].prod(axis=0) for k in (0, 1))
    joint = 0.5 / NOUNS * np.outer(first, second)
    goes_on, other = np.diag(joint), joint * followers
    of_document = goes_on + other.sum(axis=1), goes_on + other.sum(axis=0)
    said = np.zeros(seen.shape, np.int32)
    for row, place in np.argwhere(asked):
        noun = of_document[segment[row]] / of_noun[row]  # what all else says of the sentence's noun
        word = SENTENCES[:, place]
        chosen = np.exp(_ASKED[seen[row, place], word] - _SEEN[seen[row, place], word])
        said[row, place] = np.bincount(word, each[row] * chosen * np.repeat(noun, PER_NOUN)).argmax()
    return said, float(goes_on.sum() / (goes_on.sum() + other.sum()))
