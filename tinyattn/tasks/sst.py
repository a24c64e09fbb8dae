"""sst: is a sentence of a film review for the film or against it? The Stanford Sentiment Treebank (Socher et al. 2013,
"Recursive deep models for semantic compositionality over a sentiment treebank"), its whole sentences with two labels.

The folder (--data DIR) holds stsa.binary.train, stsa.binary.dev and stsa.binary.test, plain or with .gz, as they have
been handed on since Kim 2014: in each line 0 or 1, a space, and the words with spaces between them. There are 6,920,
872 and 1,821 sentences. A bag of words is right in about four of five.
"""

from pathlib import Path

from tinyattn.errors import DataError
from tinyattn.tasks.labels import LabelledTexts
from tinyattn.tasks.parts.checks import check_positive
from tinyattn.tasks.parts.reading import read_lines, refuse
from tinyattn.tasks.parts.table import Row

FILES = {"train": "train", "validation": "dev", "test": "test"}
CLASSES = ("negative", "positive")


class SST(LabelledTexts):
    """The task. Raises DataError for a folder without the three files, and for a line that is none of theirs."""

    name = "sst"
    title = "film reviews: for or against (--data DIR)"

    def __init__(self, data: str | Path, minimum_frequency: int = 2):
        folder = Path(data)
        if not folder.is_dir():
            raise DataError(f"[{self.name}] {folder} must be a folder, but it is not.")
        rows = {split: self._read(folder, part) for split, part in FILES.items()}
        for split, found in rows.items():
            if len({row.label for row in found}) < len(CLASSES):
                refuse(self.name, folder, f"hold both labels in {FILES[split]}", "there is only one")
        super().__init__(rows, CLASSES, check_positive(self.name, "minimum_frequency", minimum_frequency))

    def split_text(self, text: str) -> list[str]:
        """Words stand apart already."""
        return text.lower().split()

    def _read(self, folder: Path, part: str) -> list[Row]:
        name = f"stsa.binary.{part}"
        path = next((p for p in (folder / name, folder / f"{name}.gz") if p.exists()), folder / f"{name}.gz")
        rows = []
        for number, line in enumerate(read_lines(self.name, path, "a label and a sentence a line"), 1):
            label, _, text = line.partition(" ")
            if label not in ("0", "1") or not text.strip():
                refuse(
                    self.name,
                    path,
                    "begin each line with 0 or 1, a space and words",
                    f"line {number} does not",
                )
            rows.append(Row(CLASSES[int(label)], text.strip(), f"{path}, line {number}"))
        return rows
