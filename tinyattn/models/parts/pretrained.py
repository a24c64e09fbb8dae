"""Folders of trained models, in the layout of Hugging Face's transformers (github.com/huggingface/transformers):

    config.json         sizes and choices, by names of their own
    model.safetensors   the weights
    tokenizer.json      how a text becomes tokens; or, as older folders have it, vocab.json with merges.txt, or
                        vocab.txt: read by the library tokenizers, an optional extra of this package

What a folder says that a model of this package cannot do is refused, so that no folder gives another model than it
holds.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tinyattn import files, formats
from tinyattn.errors import CheckpointError, TinyattnError, brief
from tinyattn.files import Source
from tinyattn.formats import ANYTHING, Rule, Table
from tinyattn.train import safetensors

CONFIG, WEIGHTS = "config.json", "model.safetensors"
COUNT = Rule("a positive whole number", lambda value: type(value) is int and value > 0)


class Config:
    """What config.json, or another such file, says, read name by name."""

    def __init__(self, folder: str | Path, file: str = CONFIG):
        self.source = Source(Path(folder) / file, "from_pretrained", CheckpointError)
        self.values = formats.check(
            self.source, self.source.json(self.source.content()), Table({}, {}, ANYTHING)
        )

    def counts(self, names: Mapping[str, str]) -> dict[str, int]:
        """Sizes: from the name there to the name here. Raises CheckpointError for one that is missing."""
        found = formats.check(self.source, self.values, Table(dict.fromkeys(names, COUNT), {}, ANYTHING))
        return {here: found[there] for there, here in names.items()}

    def get(self, name: str, default: Any, rule: Rule = formats.NUMBER) -> Any:
        """A choice, or what the absence of it means."""
        return formats.check(self.source, self.values, Table({}, {name: rule}, ANYTHING)).get(name, default)

    def choice(self, name: str, default: str, known: Mapping[str, str]) -> str:
        """One of several words, as it is called here. Raises CheckpointError for another."""
        value = self.get(name, default, formats.TEXT)
        if value not in known:
            self.source.refuse(f"hold one of {', '.join(known)} as {name}", f"got {brief(value)}")
        return known[value]

    def require(self, **expected: Any) -> None:
        """Raise CheckpointError for a choice other than the one that this package has; each may be absent."""
        for name, value in expected.items():
            if self.values.get(name, value) not in (value, None):
                self.source.refuse(
                    f"hold {files.to_json(value)} as {name}", f"got {brief(self.values[name])}"
                )


def weights_of(folder: str | Path) -> dict[str, np.ndarray]:
    """The arrays of a folder by their names there."""
    if not (Path(folder) / WEIGHTS).exists() and (Path(folder) / f"{WEIGHTS}.index.json").exists():
        must = f"hold all weights in one {WEIGHTS}"
        Source(Path(folder), "from_pretrained", CheckpointError).refuse(must, "they are in several files")
    return safetensors.read(Path(folder) / WEIGHTS)[0]


def write(folder: str | Path, config: Mapping[str, Any], weights: Mapping[str, np.ndarray]) -> None:
    """Write a folder, which is made where there is none. Raises CheckpointError when it can't be written."""
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        files.replace(folder / CONFIG, [f"{files.to_json(config, indent=2)}\n".encode()])
    except OSError as error:
        must = f"[save_pretrained] {folder} must be writable"
        raise CheckpointError(f"{must}, but it is not: {error.strerror}.") from None
    safetensors.write(folder / WEIGHTS, weights, {"format": "pt"})


def tokenizer(folder: str | Path) -> Any:
    """The `tokenizers.Tokenizer` of a folder: `.encode(text).ids` and `.decode(ids)`.

    Byte-level BPE of GPT-2, the BPE of GPT-1 and WordPiece of BERT. Raises CheckpointError for a folder without the
    files, TinyattnError where the library is missing.
    """
    try:
        import tokenizers
    except ImportError:
        must = "[tokenizer] the library tokenizers must be installed"
        raise TinyattnError(f'{must}, but it is not: pip install "tinyattn[tokenizers]".') from None
    folder = Path(folder)
    source = Source(folder, "tokenizer", CheckpointError)
    try:
        if (folder / "tokenizer.json").exists():
            return tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
        if (folder / "vocab.txt").exists():
            lower = _said(folder, "tokenizer_config.json", "do_lower_case") is not False
            return tokenizers.BertWordPieceTokenizer(str(folder / "vocab.txt"), lowercase=lower)
        if (folder / "vocab.json").exists() and (folder / "merges.txt").exists():
            parts = str(folder / "vocab.json"), str(folder / "merges.txt")
            if _said(folder, CONFIG, "model_type") == "openai-gpt":
                return tokenizers.CharBPETokenizer(*parts, lowercase=True, unk_token="<unk>")
            return tokenizers.ByteLevelBPETokenizer(*parts)
    except CheckpointError:
        raise
    except Exception as error:  # the library raises Exception itself
        source.refuse("hold the files of a tokenizer", f"they are damaged: {error}")
    source.refuse("hold tokenizer.json, vocab.txt, or vocab.json and merges.txt", "it does not")


def _said(folder: Path, file: str, name: str) -> Any:
    """What a file of the folder says, if there is such a one."""
    return Config(folder, file).values.get(name) if (folder / file).exists() else None
