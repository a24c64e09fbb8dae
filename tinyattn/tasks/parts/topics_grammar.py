"""An invented language with many words, each of one topic; which topic a word has shows in its neighbours alone.

    the bako simu duna the rovi , but the gefe tilo muza the peka
    the ADJECTIVE NOUN VERB the NOUN , JOINT the ADJECTIVE NOUN VERB the NOUN

All words of a clause are of one topic, those of the other clause of another. The joint says which of them the text is
about: "but" the second, "though" the first. All words of a kind and topic are equally likely; they are made of two
syllables, and nothing in their spelling says what they are.
"""

import numpy as np

from tinyattn.tasks.parts.randomness import Stream
from tinyattn.tasks.parts.vocabulary import Vocabulary

TOPICS = ("weather", "music", "trade", "health")
NOUNS, VERBS, ADJECTIVES = 60, 30, 30
"""Of each topic."""
JOINTS = ("but", "though")
"""Which clause the text is about: the second, the first."""
PARTS = "the ADJECTIVE NOUN VERB the NOUN".split()
LENGTH = 2 * len(PARTS) + 2

_SYLLABLES = [consonant + vowel for consonant in "bdfgklmnprstvz" for vowel in "aeiou"]
_EACH = NOUNS + VERBS + ADJECTIVES


def _invented(count: int) -> list[str]:
    """So many words, no two alike."""
    order = Stream("topics words", 0).permutation(len(_SYLLABLES) ** 2)[:count]
    return ["".join(_SYLLABLES[k] for k in divmod(int(number), len(_SYLLABLES))) for number in order]


VOCABULARY = Vocabulary(["the", ",", *JOINTS, *_invented(_EACH * len(TOPICS))])
_THE, _COMMA, _JOINT = VOCABULARY.encode(["the", ",", JOINTS[0]]).tolist()
_FIRST = len(VOCABULARY) - _EACH * len(TOPICS)
_KINDS = {"NOUN": (0, NOUNS), "VERB": (NOUNS, VERBS), "ADJECTIVE": (NOUNS + VERBS, ADJECTIVES)}
"""Where among the words of a topic each kind begins, and how many there are."""


def texts(count: int, stream: Stream) -> tuple[np.ndarray, np.ndarray]:
    """So many texts, (n, LENGTH) int32 words, and the topic of each (n,) int32."""
    first = stream.integers(len(TOPICS), count)
    second = (first + 1 + stream.integers(len(TOPICS) - 1, count)) % len(TOPICS)
    joint = stream.integers(len(JOINTS), count)

    def clause(topic: np.ndarray) -> np.ndarray:
        columns = []
        for part in PARTS:
            begin, size = _KINDS.get(part, (0, 1))
            drawn = _FIRST + topic * _EACH + begin + stream.integers(size, count)
            columns.append(drawn if part in _KINDS else np.full(count, _THE))
        return np.stack(columns, axis=1)

    between = np.stack([np.full(count, _COMMA), _JOINT + joint], axis=1)
    words = np.concatenate([clause(first), between, clause(second)], axis=1).astype(np.int32)
    return words, np.where(joint == 0, second, first).astype(np.int32)


def new(count: int, stream: Stream, known: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """So many texts, but those that are `known` (n, LENGTH)."""
    words, topic = texts(count, stream)
    taken = {row.tobytes() for row in known}
    kept = np.flatnonzero([row.tobytes() not in taken for row in words])
    return words[kept], topic[kept]
