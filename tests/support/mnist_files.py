"""Small files in the format of MNIST."""

import gzip

import numpy as np


def idx(array: np.ndarray) -> bytes:
    head = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes()
    return head + array.astype(np.uint8).tobytes()


def write(folder, part: str, count: int, packed: bool = True) -> None:
    """A pair of files with random images, whose labels are 0, 1, … 9, 0, …"""
    rng = np.random.default_rng(count)
    contents = {"images-idx3": rng.integers(0, 256, (count, 28, 28)), "labels-idx1": np.arange(count) % 10}
    for what, array in contents.items():
        content = idx(array)
        path = folder / f"{part}-{what}-ubyte{'.gz' * packed}"
        path.write_bytes(gzip.compress(content, mtime=0) if packed else content)
