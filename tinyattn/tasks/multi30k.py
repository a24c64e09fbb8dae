"""Multi30k: 31,000 captions of photographs in English, German and French (Elliott et al. 2016, "Multi30K:
multilingual English-German image descriptions"; task 1 of github.com/multi30k/dataset).

Short, concrete, real sentences: small enough for a laptop and the step of every tutorial after invented data.
The files are not part of this package; the reader takes the folder they are in, gzipped text with one caption
a line, {train, val, test_2016_flickr}.{en, de, fr}.gz.
"""

from pathlib import Path
from typing import ClassVar

from tinyattn.errors import DataError
from tinyattn.tasks.parallel import Parallel
from tinyattn.tasks.task import SPLITS

LANGUAGES = {"de": "German", "en": "English", "fr": "French"}


class Multi30k(Parallel):
    """Translating captions from `source` into `target` ("de", "en" or "fr"): see Parallel."""

    name: ClassVar[str] = "multi30k"
    title = "captions of photographs: German, English, French (--data DIR)"
    stems: ClassVar[dict[str, str]] = dict(zip(SPLITS, ("train", "val", "test_2016_flickr"), strict=True))
    lengths: ClassVar[tuple[int, ...]] = (12, 16, 24)

    def __init__(self, data: str | Path, source: str = "de", target: str = "en", minimum_frequency: int = 2):
        for language in (source, target):
            if language not in LANGUAGES:
                expected = f"a language must be one of {', '.join(LANGUAGES)}"
                raise DataError(f"[multi30k] {expected}, but got {language!r}.")
        super().__init__(data, source, target, minimum_frequency)
        self.title = f"captions of photographs, {LANGUAGES[source]} to {LANGUAGES[target]}"

    def _file(self, stem: str, language: str) -> Path:
        return self.folder / f"{stem}.{language}.gz"
