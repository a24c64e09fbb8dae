"""The two languages of tiny-MT: forty words of English, and Kalomiru, which was invented for it.

The source follows a small grammar:

    sentence    = noun-phrase verb noun-phrase { preposition noun-phrase }
    noun-phrase = determiner { adjective } noun                                 (at most three adjectives)

    the quiet fox sees a tall tree near every river
    ta velka sul ne endelo gath ba olo vasmi otika

Kalomiru has one word for each English word, but adjectives follow their noun, the verb ends the sentence, and
it takes the ending of its subject: nouns fall into four classes, which end in -ka, -lo, -mi and -ru and gave
the language its name. The fox, "velka", sees: "oti" + "-ka". The ending is a token of its own.

There are eight determiners for a reason. With four, a pilot translated just as well but often attended to the
word in front of the determiner, most likely (this is not proven) because two bits more about the next word fit
easily into what a recurrent encoder says of a word.
"""

from collections.abc import Sequence

from tinyattn.errors import DataError

DETERMINERS = {
    "the": "ta", "a": "ne", "this": "shi", "that": "sho",
    "every": "olo", "some": "iku", "my": "mu", "your": "wi",
}  # fmt: skip
NOUNS = {
    "fox": "velka", "bird": "tsirka", "queen": "amarka",
    "tree": "endelo", "hill": "korlo", "flower": "sivilo",
    "river": "vasmi", "star": "ilmi", "cloud": "nuami",
    "house": "batru", "boat": "senru", "bridge": "olgaru",
}  # fmt: skip
ADJECTIVES = {
    "small": "pin", "dark": "mor", "red": "raz", "quiet": "sul",
    "bright": "lum", "green": "yeb", "tall": "gath", "gentle": "wen",
}  # fmt: skip
VERBS = {
    "sees": "oti", "finds": "tero", "follows": "vadi",
    "loves": "nelu", "guards": "dorga", "remembers": "neshi",
}  # fmt: skip
PREPOSITIONS = {"near": "ba", "under": "du", "behind": "fe", "above": "zo", "beside": "je", "beyond": "hai"}
LEXICON = DETERMINERS | NOUNS | ADJECTIVES | VERBS | PREPOSITIONS
ENDINGS = ("-ka", "-lo", "-mi", "-ru")
MOST_ADJECTIVES = 3  # of one noun; tiny_mt.py has as many cells for them


def ending(noun: str) -> str:
    """The ending a verb takes when the English `noun` is its subject."""
    return "-" + NOUNS[noun][-2:]


def translate(source: Sequence[str]) -> list[str]:
    """The tokens of the translation of one English sentence, given as words.

    Raises DataError for a sentence outside the grammar.
    """
    links: list[str] = []
    phrases: list[list[str]] = [[]]
    for word in source:
        if word in VERBS or word in PREPOSITIONS:
            links.append(word)
            phrases.append([])
        else:
            phrases[-1].append(word)
    linked = links and links[0] in VERBS and all(link in PREPOSITIONS for link in links[1:])
    if not (linked and all(_is_noun_phrase(phrase) for phrase in phrases)):
        rule = "noun-phrase verb noun-phrase { preposition noun-phrase }"
        raise DataError(f"[tiny-mt] a sentence must be {rule}, but got {' '.join(source)!r}.")
    verb, *prepositions = links
    target = []
    for preposition, (determiner, *adjectives, noun) in zip(["", "", *prepositions], phrases, strict=True):
        target += [*([preposition] if preposition else []), determiner, noun, *adjectives]
    return [LEXICON[word] for word in [*target, verb]] + [ending(phrases[0][-1])]


def join(tokens: Sequence[str]) -> str:
    """Tokens of Kalomiru as text: the ending is written as part of its verb, "oti" "-ka" as "otika"."""
    return " ".join(tokens).replace(" -", "")


def _is_noun_phrase(words: Sequence[str]) -> bool:
    adjectives = words[1:-1]
    framed = len(words) >= 2 and words[0] in DETERMINERS and words[-1] in NOUNS
    return framed and len(adjectives) <= MOST_ADJECTIVES and all(word in ADJECTIVES for word in adjectives)
