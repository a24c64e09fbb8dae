"""MNIST: 28 × 28 handwritten digits (LeCun et al. 1998), from the files that its authors publish.

The files are not part of this package; the reader takes the folder they are in, gzipped or not:

    {train, t10k}-images-idx3-ubyte.gz, {train, t10k}-labels-idx1-ubyte.gz

With the training files, the last twelfth of their images (5,000) is for validation, and t10k is the test. Without
them t10k is all there is: its first nine tenths (9,000) train, and of the last 1,000 every other one is for
validation and the rest for the test.
"""

from pathlib import Path

import numpy as np

from tinyattn.errors import DataError
from tinyattn.tasks.images import ImageTask, LabelledImages
from tinyattn.tasks.parts.image_files import read_idx
from tinyattn.tasks.parts.reading import refuse

DIGITS = tuple("0123456789")
SIDE = 28


class MNIST(ImageTask):
    """The task; data: the folder of the files. Raises DataError when one is missing, damaged or doesn't belong."""

    name = "mnist"
    title = "handwritten digits, 28 × 28"

    def __init__(self, data: str | Path):
        folder = Path(data)
        if not folder.is_dir():
            raise DataError(f"[mnist] --data must name the folder of its files, but {data} is not a folder.")
        test = _read(folder, "t10k")
        if any(_path(folder, "train", what).is_file() for what in ("images-idx3", "labels-idx1")):
            whole = _read(folder, "train")
            last = len(whole) - len(whole) // 12
            validation = whole.take(slice(last, None))
        else:
            whole, last = test, len(test) - len(test) // 10
            validation, test = whole.take(slice(last, None, 2)), whole.take(slice(last + 1, None, 2))
        splits = {"train": whole.take(slice(last)), "validation": validation, "test": test}
        super().__init__(DIGITS, splits)


def _path(folder: Path, part: str, what: str) -> Path:
    """The gzipped file, unless there is only the other one."""
    plain = folder / f"{part}-{what}-ubyte"
    return plain if plain.is_file() else plain.with_name(f"{plain.name}.gz")


def _read(folder: Path, part: str) -> LabelledImages:
    """The images of a pair of files. Raises DataError."""
    paths = _path(folder, part, "images-idx3"), _path(folder, part, "labels-idx1")
    images, label = read_idx("mnist", paths[0], 3), read_idx("mnist", paths[1], 1)
    if images.shape[1:] != (SIDE, SIDE):
        refuse(
            "mnist", paths[0], f"hold images of {SIDE} × {SIDE}", f"got {images.shape[1]} × {images.shape[2]}"
        )
    if len(images) != len(label):
        refuse("mnist", paths[1], f"hold {len(images):,} labels, one an image", f"it holds {len(label):,}")
    if len(images) < 20:
        refuse("mnist", paths[0], "hold at least 20 images", f"it holds {len(images)}")
    if label.max() >= len(DIGITS):
        refuse("mnist", paths[1], "hold digits from 0 to 9", f"it holds {label.max()}")
    return LabelledImages(images[:, None], label.astype(np.int32))
