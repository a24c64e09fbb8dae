"""The language of pos-grammar: English in which most words have one part of speech and some have two or three.

A sentence is a walk through states, each of which says one of its words and has one part of speech (a finite automaton
with probabilities). Its clauses:

    statement       SUBJECT verb OBJECT                        the old duck near a can saw that watch
    with "can"      pronoun can verb OBJECT                    they can watch the saw
    two verbs       SUBJECT both verb OBJECT and verb PLACE    we both saw a light can and duck near the river
    two nouns       SUBJECT verb both OBJECT and noun PLACE    we saw both a light can and duck near the river

Nouns may be described by places (near the river); that of the subject also by "like" (the duck like a saw found the
can), where "like" is a preposition if a verb follows, however late, and else the verb itself (the duck like a saw); or
by a clause (the duck that saw a can), where "that" is a pronoun and not a determiner. So what a word is may be decided
by its neighbour, or by a word at the other end of the sentence, but never by nothing: a whole sentence has one reading.

What can be known is therefore exact. The joint probability of a window of words and the tag in its middle follows from
the expected number of visits of each state, v = start + v P, and the best that can be done with the window is
Σ_w max_t p(w, t).
"""

import numpy as np

from tinyattn.tasks.parts.randomness import Stream

END = 0
"""The state that stands before each sentence and behind it, and says nothing."""
TAGS = ("ADJ", "ADP", "AUX", "CCONJ", "DET", "NOUN", "PRON", "VERB")
"""The parts of speech, as Universal Dependencies call them."""

DETERMINERS = ("the", "a", "every", "that", "that")
ADJECTIVES = ("light", "cold", "light", "cold", "old", "small", "red")
NOUNS = ("saw", "duck", "watch", "can", "light", "cold") * 2 + (
    "river",
    "hill",
    "boat",
    "garden",
    "fox",
    "queen",
)
VERBS = ("saw", "duck", "watch") * 2 + ("found", "left", "moved", "held")
LIKE = ("like",)
PLACES = ("near", "under", "behind")
PRONOUNS = ("i", "we", "they", "you")
WORDS = tuple(sorted({*DETERMINERS, *ADJECTIVES, *NOUNS, *VERBS, *LIKE, *PLACES, *PRONOUNS, "both", "and"}))

Exits = dict[int, float]
"""To which states one goes on, with which probability."""


def _either(*choices: tuple[float, Exits]) -> Exits:
    """One of several ways to go on."""
    mixed: Exits = {}
    for share, exits in choices:
        for state, probability in exits.items():
            mixed[state] = mixed.get(state, 0.0) + share * probability
    return mixed


class Grammar:
    """The automaton: tag (S,) of each state, says (S, W) its words' probabilities, follows (S, S) those of the
    next state. It is built from the end, each piece in front of what comes after it.
    """

    def __init__(self) -> None:
        self._states: list[tuple[str, tuple[str, ...], Exits]] = [("", (), {})]
        self._states[END] = ("", (), self._sentence())
        count = len(self._states)
        self.tag = np.array([TAGS.index(tag) if tag else -1 for tag, _, _ in self._states])
        self.says, self.follows = np.zeros((count, len(WORDS))), np.zeros((count, count))
        for state, (_, words, exits) in enumerate(self._states):
            for word in words:
                self.says[state, WORDS.index(word)] += 1 / len(words)
            for following, probability in exits.items():
                self.follows[state, following] = probability
        inside = self.follows[1:, 1:]
        visits = np.linalg.solve(np.eye(count - 1) - inside.T, self.follows[END, 1:])
        self.visits = np.concatenate([[1.0], visits])
        """How often a sentence comes through each state, on average."""

    # How it is built.

    def _one(self, tag: str, words: tuple[str, ...], exits: Exits) -> Exits:
        """A state, and the way into it."""
        self._states.append((tag, words, exits))
        return {len(self._states) - 1: 1.0}

    def _phrase(self, exits: Exits) -> Exits:
        """A noun with a determiner and up to two adjectives."""
        noun = self._one("NOUN", NOUNS, exits)
        second = self._one("ADJ", ADJECTIVES, noun)
        first = self._one("ADJ", ADJECTIVES, _either((0.3, second), (0.7, noun)))
        return self._one("DET", DETERMINERS, _either((0.45, first), (0.55, noun)))

    def _places(self, exits: Exits, most: int = 2) -> Exits:
        """Up to so many places, and then on."""
        onwards = exits
        for _ in range(most):
            onwards = _either((0.35, self._one("ADP", PLACES, self._phrase(onwards))), (0.65, exits))
        return onwards

    def _main(self, verbs: tuple[str, ...]) -> Exits:
        """What comes after the subject."""
        end = {END: 1.0}
        place = self._one("ADP", PLACES, self._phrase(end))
        verb_too = self._one("CCONJ", ("and",), self._one("VERB", VERBS, place))
        noun_too = self._one("CCONJ", ("and",), self._one("NOUN", NOUNS, place))
        two_verbs = self._one("VERB", verbs, self._phrase(self._places(verb_too)))
        two_nouns = self._one("CCONJ", ("both",), self._phrase(self._places(noun_too)))
        return _either(
            (0.5, self._one("VERB", verbs, self._phrase(self._places(end)))),
            (0.25, self._one("CCONJ", ("both",), two_verbs)),
            (0.25, self._one("VERB", verbs, two_nouns)),
        )

    def _sentence(self) -> Exits:
        any_verb = VERBS + 2 * LIKE
        main, without_like = self._main(any_verb), self._main(VERBS)
        able = self._one("VERB", any_verb, self._phrase(self._places({END: 1.0})))
        able = self._one("AUX", ("can",), able)
        pronoun = self._one("PRON", PRONOUNS, _either((0.3, able), (0.7, main)))
        like = self._one("ADP", LIKE, self._phrase(self._places(without_like, 1)))
        clause = self._one("VERB", any_verb, self._phrase(self._places(main, 1)))
        clause = self._one("PRON", ("that",), clause)
        described = _either((0.3, like), (0.2, clause), (0.5, self._places(main)))
        return _either((0.35, pronoun), (0.65, self._phrase(described)))

    # What it says.

    def sentences(self, count: int, stream: Stream) -> list[tuple[np.ndarray, np.ndarray]]:
        """So many sentences: words (T,) and tags (T,), numbers in WORDS and TAGS."""
        onwards, words = self.follows.cumsum(1), self.says.cumsum(1)
        state = np.zeros(count, np.int64)
        steps: list[np.ndarray] = []
        while not steps or state.any():
            drawn = stream.words(2, count) / 2.0**32
            state = np.where((state > 0) | (not steps), _drawn(onwards[state], drawn[0]), END)
            steps.append(np.stack([_drawn(words[state], drawn[1]), self.tag[state], state]))
        walks = np.stack(steps)  # (longest + 1, 3, count)
        lengths = (walks[:, 2] > 0).sum(0)
        return [(walks[:n, 0, k], walks[:n, 1, k]) for k, n in enumerate(lengths)]

    # What can be known.

    def joint(self, window: int) -> np.ndarray:
        """p(words of a window, tag in its middle) for a window of 0 or 1 word on both sides: (W, tags), or (W + 1, W,
        W + 1, tags), where the last number stands for no word. It sums to 1.
        """
        count = len(self._states)
        says = np.concatenate([self.says, (np.arange(count) == END)[:, None]], axis=1)  # (S, W + 1)
        tagged = (self.tag[:, None] == np.arange(len(TAGS))).astype(float)  # (S, tags)
        if window == 0:
            joint = np.einsum("s,sw,st->wt", self.visits, self.says, tagged)
        else:
            before = np.einsum("s,sv,sr->vr", self.visits, says, self.follows)  # a word, then the state
            after = self.follows @ says  # the state, then a word
            joint = np.einsum("vs,sw,sx,st->vwxt", before, self.says, after, tagged, optimize=True)
        return joint / joint.sum()

    def ceiling(self, window: int) -> float:
        """The accuracy of who knows each word's neighbours, so many on both sides, and says the likeliest tag."""
        return float(self.joint(window).max(-1).sum())

    def readings(self, words: np.ndarray) -> np.ndarray:
        """p(tag of each word | the whole sentence): words (T,) → (T, tags); all 0 for what is no sentence."""
        ahead, behind = [np.eye(len(self._states))[END]], [self.follows[:, END]]
        for word in words:
            ahead.append(ahead[-1] @ self.follows * self.says[:, word])
        for word in words[:0:-1]:
            behind.append(self.follows @ (self.says[:, word] * behind[-1]))
        both = np.stack(ahead[1:]) * np.stack(behind[::-1])  # (T, S)
        found = both @ (self.tag[:, None] == np.arange(len(TAGS)))
        return found / np.maximum(found.sum(1, keepdims=True), np.finfo(float).tiny)


def _drawn(cumulated: np.ndarray, uniform: np.ndarray) -> np.ndarray:
    """A column for each row of cumulated probabilities (n, k), by uniform numbers (n,)."""
    return np.minimum((cumulated <= uniform[:, None]).sum(1), cumulated.shape[1] - 1)
