"""Digits: 1,797 handwritten digits of 8 × 8 pixels with 17 levels of grey, real data that come with this package.

They are the test part of the "Optical recognition of handwritten digits" of the UCI Machine Learning Repository
(Alpaydin & Kaynak 1998, CC BY 4.0), as scikit-learn has them, in a file beside this one. In the file each of the 13
people who wrote them comes after the other; here they are in a random order, always the same: 1,297 to train, 200
for validation, 300 for the test. So all hands are known when the test comes, as in most figures that are reported of
this set. (In the file's order the test is new hands alone, and an MLP is right in 91 % of it, in place of 97 %.)
"""

from importlib import resources

import numpy as np

from tinyattn.tasks.images import ImageTask, LabelledImages
from tinyattn.tasks.parts.randomness import Stream

FILE = "digits.npz"
"""pixels: (1797, 8, 8) uint8 from 0 to 16; label: (1797,) uint8; licence: where they come from."""
SIZES = {"train": 1297, "validation": 200, "test": 300}


class Digits(ImageTask):
    """The task; it has no options."""

    name = "digits"
    title = "1,797 handwritten digits, 8 × 8"

    def __init__(self) -> None:
        with resources.files(__package__).joinpath(FILE).open("rb") as file, np.load(file) as arrays:
            grey, label = arrays["pixels"], arrays["label"].astype(np.int32)
        pixels = np.round(grey[:, None] * np.float32(255 / 16)).astype(np.uint8)
        order = Stream("order of digits", 0).permutation(len(label))
        whole, ends = LabelledImages(pixels[order], label[order]), np.cumsum([0, *SIZES.values()])
        splits = {name: whole.take(slice(*ends[k : k + 2])) for k, name in enumerate(SIZES)}
        super().__init__([str(digit) for digit in range(10)], splits)
