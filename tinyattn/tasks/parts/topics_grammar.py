"""An invented language with many words, each of one topic; which topic a word has shows in its neighbours alone.

    the bako simu duna the rovi , but the gefe tilo muza the peka
    the ADJECTIVE NOUN VERB the NOUN , but the ADJECTIVE NOUN VERB the NOUN

All words of a clause are of one topic, those of the other clause of another. The text is about what follows "but". All
words of a kind and topic are equally likely; they are made of two syllables, and nothing in their spelling says what
they are.
"""

import numpy as np

from tinyattn.tasks.parts.randomness import Stream
from tinyattn.tasks.parts.vocabulary import Vocabulary

TOPICS = ("weather", "music", "trade", "health", "travel", "law", "sport", "garden")
NOUNS, VERBS, ADJECTIVES = 60, 30, 30
"""Of each topic."""
PARTS = "the ADJECTIVE NOUN VERB the NOUN".split()
JOINT = (",", "but")
LENGTH = 2 * len(PARTS) + len(JOINT)

_SYLLABLES = [consonant + vowel for consonant in "bdfgklmnprstvz" for vowel in "aeiou"]
_EACH = NOUNS + VERBS + ADJECTIVES


def _invented(count: int) -> list[str]:
    """So many words, no two alike."""
    order = Stream("topics words", 0).permutation(len(_SYLLABLES) ** 2)[:count]
    return ["".join(_SYLLABLES[k] for k in divmod(int(number), len(_SYLLABLES))) for number in order]


VOCABULARY = Vocabulary(["the", *JOINT, *_invented(_EACH * len(TOPICS))])
_THE, *_JOINT = VOCABULARY.encode(["the", *JOINT]).tolist()
_FIRST = len(VOCABULARY) - _EACH * len(TOPICS)
_KINDS = {"NOUN": (0, NOUNS), "VERB": (NOUNS, VERBS), "ADJECTIVE": (NOUNS + VERBS, ADJECTIVES)}
"""Where among the words of a topic each kind begins, and how many there are."""


def texts(count: int, stream: Stream) -> tuple[np.ndarray, np.ndarray]:
    """So many texts, (n, LENGTH) int32 words, and the topic of each (n,) int32."""
    first = stream.integers(len(TOPICS), count)
    second = (first + 1 + stream.integers(len(TOPICS) - 1, count)) % len(TOPICS)

    def clause(topic: np.ndarray) -> np.ndarray:
        columns = []
        for part in PARTS:
            begin, size = _KINDS.get(part, (0, 1))
            drawn = _FIRST + topic * _EACH + begin + stream.integers(size, count)
            columns.append(drawn if part in _KINDS else np.full(count, _THE))
        return np.stack(columns, axis=1)

    between = np.tile(_JOINT, (count, 1))
    words = np.concatenate([clause(first), between, clause(second)], axis=1).astype(np.int32)
    return words, second.astype(np.int32)


def new(count: int, stream: Stream, known: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """So many texts, but those that are `known` (n, LENGTH)."""
    words, topic = texts(count, stream)
    taken = {row.tobytes() for row in known}
    kept = np.flatnonzero([row.tobytes() not in taken for row in words])
    return words[kept], topic[kept]
