"""Tables that users keep in text files: a label and a text in each line, separated by a comma, a tab or a space.

    positive,"a stirring, funny film"           commas as spreadsheets write them, a quoted text may hold any
    positive⇥a stirring, funny film             tabs, nothing is quoted
    1 a stirring , funny film                   the first space, everything behind it is the text

A head may say which column is which; without one there are two columns, and the label stands in front.
"""

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tinyattn.errors import DataError
from tinyattn.tasks.parts.reading import read_text, refuse

SEPARATORS = ("auto", "comma", "tab", "space")
LABEL_NAMES = ("label", "class", "category", "sentiment", "target", "tag")
TEXT_NAMES = ("text", "sentence", "review", "content", "comment", "message", "document")
"""What columns are called in heads, whatever the case."""
_BY_SUFFIX = {".csv": "comma", ".tsv": "tab", ".tab": "tab"}


@dataclass(frozen=True)
class Row:
    """A label, its text, and where they stand, as errors say it: "reviews.csv, line 7"."""

    label: str
    text: str
    place: str


def read_rows(
    task: str, path: Path, separator: str, label_column: str = "", text_column: str = ""
) -> list[Row]:
    """All rows of a file but its head, without blank lines.

    separator: one of SEPARATORS; auto: by the name, .csv or .tsv, and else a tab where the first line has one.
    label_column, text_column: as a head calls them; "": one of LABEL_NAMES and of TEXT_NAMES. Raises DataError for
    a file that is damaged, a line that doesn't fit, and a head without the columns asked for.
    """
    if separator not in SEPARATORS:
        raise DataError(f"[{task}] separator must be one of {', '.join(SEPARATORS)}, but got {separator!r}.")
    text = read_text(task, path, "a label and a text a line")
    if separator == "auto":
        suffix = Path(path.name.removesuffix(".gz")).suffix.lower()
        separator = _BY_SUFFIX.get(suffix, "tab" if "\t" in text.partition("\n")[0] else "comma")
    lines = _commas(task, path, text) if separator == "comma" else _plain(text, separator)
    found = [(number, cells) for number, cells in lines if any(cells)]
    if not found:
        refuse(task, path, "hold a label and a text a line", "all of its lines are blank")
    asked = (label_column, text_column)
    names = [cell.lower() for cell in found[0][1]]
    chosen = [_column(names, *choice) for choice in zip(asked, (LABEL_NAMES, TEXT_NAMES), strict=True)]
    for name, column in zip(asked, chosen, strict=True):
        if name and column is None:
            refuse(
                task, path, f"have a column {name!r} in its first line", f"its columns are {', '.join(names)}"
            )
    label, content = chosen
    if label is None or content is None or label == content:
        label, content, width = 0, 1, 2  # no head
    else:
        width = len(names)
        del found[0]
    rows = []
    for number, cells in found:
        if len(cells) != width:
            got = f"line {number} has {len(cells)} with {separator} as separator"
            refuse(task, path, f"have {width} columns", got)
        for what, cell in (("label", cells[label]), ("text", cells[content])):
            if not cell:
                refuse(task, path, "hold a label and a text a line", f"line {number} has no {what}")
        rows.append(Row(cells[label], cells[content], f"{path}, line {number}"))
    return rows


def _column(names: list[str], asked: str, usual: tuple[str, ...]) -> int | None:
    """Where a column stands among the names of a head."""
    wanted = (asked.lower(),) if asked else usual
    return next((names.index(name) for name in wanted if name in names), None)


def _plain(text: str, separator: str) -> Iterator[tuple[int, list[str]]]:
    """The number and the cells of each line."""
    for number, line in enumerate(text.split("\n"), 1):
        cells = line.split("\t") if separator == "tab" else line.strip().split(" ", 1)
        yield number, [cell.strip() for cell in cells]


def _commas(task: str, path: Path, text: str) -> Iterator[tuple[int, list[str]]]:
    """The same with quoted cells, which may go over several lines; the number is that of the first."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True, skipinitialspace=True)
    number = 1
    try:
        for cells in reader:
            yield number, [cell.strip() for cell in cells]
            number = reader.line_num + 1
    except csv.Error as error:
        refuse(task, path, "be comma-separated values", f"the row at line {number} is none ({error})")
