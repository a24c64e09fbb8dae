"""Images in files: IDX (the format of MNIST), NumPy's .npy, and portable grey and colour maps (.pgm, .ppm).

Whatever is damaged or foreign is refused with one sentence that names the file.
"""

import math
import re
from pathlib import Path

import numpy as np

from tinyattn.errors import DataError
from tinyattn.tasks.parts.reading import read_bytes, refuse

_UNSIGNED_BYTE = 8  # an IDX file's code for its element type


def read_idx(task: str, path: Path, axes: int) -> np.ndarray:
    """The bytes of an IDX file with so many axes, gzipped or not, as uint8.

    It begins with two zero bytes, the code of the element type, the number of axes and the length of each, as
    big-endian integers of 32 bits. Raises DataError.
    """
    content = read_bytes(task, path, "file in IDX format")
    head = 4 + 4 * axes
    wanted = f"0x{_UNSIGNED_BYTE:06x}{axes:02x}"
    if content[:4] != bytes([0, 0, _UNSIGNED_BYTE, axes]):
        got = f"begins with 0x{content[:4].hex()}" if content else "is empty"
        refuse(
            task, path, f"be an IDX file of bytes with {axes} axes, which begins with {wanted}", f"it {got}"
        )
    if len(content) < head:
        refuse(task, path, f"begin with {head} bytes that tell its sizes", f"it has {len(content)}")
    shape = tuple(int(length) for length in np.frombuffer(content, ">u4", axes, 4))
    told = math.prod(shape)
    if len(content) - head != told:
        sizes = " × ".join(f"{length:,}" for length in shape)
        refuse(
            task,
            path,
            f"hold the {told:,} bytes of {sizes} that it tells",
            f"it holds {len(content) - head:,}",
        )
    return np.frombuffer(content, np.uint8, offset=head).reshape(shape)


def read_image(task: str, path: Path, number: int, shape: tuple[int, int, int]) -> np.ndarray:
    """One image of shape (C, H, W) as uint8, from a file of any kind that is known here; ``number``: which one
    of an IDX file. In .npy files bytes go from 0 to 255, and other numbers from −1 to 1. Raises DataError.
    """
    content = read_bytes(task, path, "image file")
    if content[:6] == b"\x93NUMPY":
        image = _of_numpy(task, path)
    elif content[:2] in (b"P5", b"P6"):
        image = _of_pnm(task, path, content)
    elif content[:2] == b"\0\0":
        images = read_idx(task, path, 3)
        if number >= len(images):
            refuse(task, path, f"hold an image {number}", f"it holds {len(images):,}, from 0 on")
        image, number = images[number], 0
    else:
        refuse(task, path, "be an image of the kind .npy, .pgm, .ppm or IDX", "it is of another kind")
    if number:
        refuse(task, path, f"hold an image {number}", "it holds one, which is number 0")
    image = image[None] if image.ndim == 2 else image
    if image.shape != shape:
        wanted, got = (" × ".join(map(str, sizes)) for sizes in (shape, image.shape))
        refuse(task, path, f"hold an image of {wanted} (channels × height × width)", f"got {got}")
    return image


def find_images(task: str, text: str, test: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """The images that a line of text stands for, (n, C, H, W) uint8, and which of the ``test`` images they are, if they
    are some of these.

    A number such as 16: the first so many. #5: image 5. A path: the image in a .npy, .pgm, .ppm or IDX file; FILE#5 is
    number 5 of an IDX file. Raises DataError.
    """
    word = text.strip()
    path, mark, number = word.rpartition("#")
    if word.isdecimal() and 0 < int(word) <= len(test):
        rows = np.arange(int(word))
    elif mark and not path and number.isdecimal() and int(number) < len(test):
        rows = np.array([int(number)])
    elif Path(word).is_file():
        return read_image(task, Path(word), 0, test.shape[1:])[None], None
    elif Path(path).is_file() and number.isdecimal():
        return read_image(task, Path(path), int(number), test.shape[1:])[None], None
    else:
        expected = (
            f"a count up to {len(test)}, # and the number of a test image, or the path of an image file"
        )
        raise DataError(f"[{task}] an input must be {expected}, but got {text!r}.")
    return test[rows], rows


def _of_numpy(task: str, path: Path) -> np.ndarray:
    try:
        image = np.load(path, allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        refuse(task, path, "be a NumPy file of numbers", f"it is damaged ({error})")
    if image.dtype == np.uint8:
        return image
    if image.dtype.kind != "f" or not np.isfinite(image).all() or (np.abs(image) > 1).any():
        refuse(task, path, "hold bytes, or numbers from −1 to 1", f"it holds other {image.dtype} numbers")
    return np.round((image + 1) * 127.5).astype(np.uint8)


def _of_pnm(task: str, path: Path, content: bytes) -> np.ndarray:
    comment = rb"(?:\s|#[^\n]*\n)+"
    head = re.match(rb"P([56])" + comment + rb"(\d+)" + comment + rb"(\d+)" + comment + rb"(\d+)\s", content)
    if head is None or head[4] != b"255":
        refuse(task, path, "begin with P5 or P6, width, height and 255", f"it begins with {content[:15]!r}")
    width, height, channels = int(head[2]), int(head[3]), 3 if head[1] == b"6" else 1
    if len(content) - head.end() != width * height * channels:
        got = f"it holds {len(content) - head.end():,}"
        refuse(task, path, f"hold {width * height * channels:,} bytes of {width} × {height} pixels", got)
    pixels = np.frombuffer(content, np.uint8, offset=head.end())
    return pixels.reshape(height, width, channels).transpose(2, 0, 1)
