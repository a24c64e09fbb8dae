"""tinyshakespeare: dialogues from Shakespeare's plays, character by character.

The text on which character models have been shown since Karpathy 2015, "The unreasonable effectiveness of recurrent
neural networks": 40,000 lines in one file, input.txt of github.com/karpathy/char-rnn (data/tinyshakespeare), with 65
different characters. Shakespeare's words are in the public domain. Its first 200,000 characters, as far as a speech
goes, are part of this package; the whole is read from the file, or its folder, that `data` names.

The splits are nanoGPT's, so that losses can be compared with those that others report: the first 90 % are for
training, and the last 10 % are validation and test at once. Where the best of several losses on them is kept, as
nanoGPT does, that choice is a small favour to the figure; a text of yours has a test split of its own (text.py).
"""

from pathlib import Path

from tinyattn.tasks.text import TextTask

EXCERPT, WHOLE = "tinyshakespeare.txt.gz", "input.txt"


class TinyShakespeare(TextTask):
    """The excerpt; or all of it, from the file input.txt or the folder that holds it. Raises DataError."""

    name = "tinyshakespeare"
    title = "the next character of Shakespeare's plays (an excerpt; all with --data FILE)"
    cuts = {"train": (0, 18), "validation": (18, 20), "test": (18, 20)}

    def __init__(self, data: str | Path | None = None, block_size: int = 64):
        super().__init__(Path(__file__).with_name(EXCERPT) if data is None else data, block_size)
        self.title = f"the next character of Shakespeare's plays{', an excerpt' * (data is None)}"

    def load(self, data: str | Path) -> tuple[Path, str]:
        """The text, and the file it is from."""
        return super().load(Path(data) / WHOLE if Path(data).is_dir() else data)
