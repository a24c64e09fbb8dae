"""Words as numbers.

A network reads and writes integers; the vocabulary is the two-way table between them and words. Four places
at its beginning are always the same:

    0 <pad>  nothing, fills a batch up      1 <bos>  begins what the decoder is given
    2 <eos>  ends a sentence                3 <unk>  any word that is not in the table
"""

from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np

from tinyattn.errors import DataError

PAD, BOS, EOS, UNK = 0, 1, 2, 3
SPECIALS = ("<pad>", "<bos>", "<eos>", "<unk>")


class Vocabulary:
    """A fixed, ordered set of words, the four special ones first.

    words: the ordinary words, in the order of their ids from 4 on. Raises DataError for a repeated word.
    """

    def __init__(self, words: Iterable[str]):
        self.words: tuple[str, ...] = SPECIALS + tuple(words)
        self._ids = {word: i for i, word in enumerate(self.words)}
        if len(self._ids) < len(self.words):
            word, count = Counter(self.words).most_common(1)[0]
            raise DataError(f"[vocabulary] every word must occur once, but got {word!r} {count} times.")

    @classmethod
    def build(cls, sentences: Iterable[Sequence[str]], minimum_frequency: int = 2) -> "Vocabulary":
        """The words that occur `minimum_frequency` times or more, most frequent first, then by alphabet."""
        counts = Counter(word for sentence in sentences for word in sentence)
        for special in SPECIALS:  # a corpus may spell one out; it already has its place
            counts.pop(special, None)
        kept = (word for word, count in counts.items() if count >= minimum_frequency)
        return cls(sorted(kept, key=lambda word: (-counts[word], word)))

    @classmethod
    def from_list(cls, words: Sequence[str]) -> "Vocabulary":
        """The inverse of `to_list`. Raises DataError when the list does not begin with the special words."""
        words = tuple(words)
        if not all(isinstance(word, str) for word in words) or words[: len(SPECIALS)] != SPECIALS:
            got = f"got {words[: len(SPECIALS)]}"
            raise DataError(f"[vocabulary] the list must hold words and begin with {SPECIALS}, but {got}.")
        return cls(words[len(SPECIALS) :])

    def to_list(self) -> list[str]:
        """All words in the order of their ids: what to put in a JSON file."""
        return list(self.words)

    def __len__(self) -> int:
        return len(self.words)

    def __contains__(self, word: object) -> bool:
        return word in self._ids

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Vocabulary) and self.words == other.words

    def __hash__(self) -> int:
        return hash(self.words)

    def __repr__(self) -> str:
        return f"Vocabulary({len(self)} words)"

    def encode(self, tokens: Sequence[str]) -> np.ndarray:
        """Ids of the tokens, (n,) int32; an unknown word becomes <unk>. Adds neither <bos> nor <eos>."""
        return np.fromiter((self._ids.get(token, UNK) for token in tokens), np.int32, len(tokens))

    def decode(self, ids: Sequence[int] | np.ndarray) -> list[str]:
        """The words of a row of ids, up to its first <eos>; <pad> and <bos> are left out, <unk> is kept.

        Raises DataError for an id outside the vocabulary.
        """
        tokens = []
        for i in np.asarray(ids, np.int64).tolist():
            if i == EOS:
                break
            if not 0 <= i < len(self):
                raise DataError(f"[vocabulary] an id must lie in 0..{len(self) - 1}, but got {i}.")
            if i not in (PAD, BOS):
                tokens.append(self.words[i])
        return tokens
