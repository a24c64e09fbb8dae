"""topics: what is a text about? There are few labels, and many words that no labelled text holds.

The language is that of parts/topics_grammar.py: all words of a clause are of one topic, and of the two clauses of a
text the second is what it is about. Its 960 words have topics that must be known one by one, and 200 labelled texts
(`train_examples`) show each less than twice, half of it where it doesn't count. Texts without labels show which
words stand together: they are the task `topic-texts`. What a model gains by reading those first, as GPT does, is the
difference of two figures of this task.
"""

from tinyattn.tasks.labels import LabelledTexts
from tinyattn.tasks.parts import topics_grammar as grammar
from tinyattn.tasks.parts.checks import check_positive
from tinyattn.tasks.parts.randomness import Stream
from tinyattn.tasks.parts.table import Row

VALIDATION, TEST = 200, 2_000


class Topics(LabelledTexts):
    """The task; `seed` chooses the labelled texts. Validation and test are always the same, and no text of theirs is in
    training, nor among those without labels. Raises DataError for a bad option.
    """

    name = "topics"
    title = "what a text of an invented language is about, from 200 labels"

    def __init__(self, seed: int = 0, train_examples: int = 200):
        count = check_positive(self.name, "train_examples", train_examples)
        words, labels = grammar.texts(VALIDATION + TEST, Stream("topics held out", 0))
        splits = {
            "train": grammar.new(count, Stream("topics train", seed), words),
            "validation": (words[:VALIDATION], labels[:VALIDATION]),
            "test": (words[VALIDATION:], labels[VALIDATION:]),
        }
        rows = {
            split: [
                Row(grammar.TOPICS[label], " ".join(grammar.VOCABULARY.decode(text)), f"text {k}")
                for k, (text, label) in enumerate(zip(*found, strict=True))
            ]
            for split, found in splits.items()
        }
        super().__init__(rows, grammar.TOPICS, 1, grammar.VOCABULARY)

    def split_text(self, text: str) -> list[str]:
        return text.lower().replace(",", " , ").split()
