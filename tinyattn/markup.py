"""Words of users (names of modules and tensors, tokens, sentences) inside pictures and pages.

All of them pass through here on their way into DOT, SVG, HTML and JSON: what no text can hold, or what would
make the rest of a line read backwards, is shown as �; what is too long for a label keeps its two ends; and
what has a meaning in markup is escaped.
"""

import html
import re

NAME, PASSAGE = 120, 2_000
"""Letters of a label, and of a sentence or a line of source."""

_FOREIGN = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f"  # control characters, but for tab and the ends of lines
    "\u202a-\u202e\u2066-\u2069"  # the direction of what follows
    "\ud800-\udfff\ufdd0-\ufdef"  # halves of characters, and what will never be one
    + "".join(chr(plane << 16 | last) for plane in range(17) for last in (0xFFFE, 0xFFFF))
    + "]"
)
_BREAKS = re.compile(r"\s*[\t\r\n\x85\u2028\u2029]\s*")


def clean(text: str, longest: int | None = PASSAGE) -> str:
    """``text`` without characters that don't belong into a page, and with at most ``longest`` letters."""
    text = _FOREIGN.sub("\ufffd", text)
    if longest is None or len(text) <= longest:
        return text
    return f"{text[: longest // 2]}…{text[len(text) - (longest - longest // 2 - 1) :]}"


def label(text: str, longest: int = NAME) -> str:
    """``text`` as a label: clean, short, in one line."""
    return clean(_BREAKS.sub(" ", text), longest)


def escape(text: str, longest: int | None = PASSAGE) -> str:
    """``text`` for HTML, SVG and DOT's labels, inside an element or a quoted attribute: clean and escaped."""
    return html.escape(clean(text, longest))
