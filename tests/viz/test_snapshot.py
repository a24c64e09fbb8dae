"""Attention of many heads as one picture: .svg and .png of `head_view` and `model_view`."""

import base64
import re
import struct
import zlib
from xml.etree import ElementTree

import numpy as np
import pytest

from tinyattn import viz

rng = np.random.default_rng(0)
TOKENS = ["<a>", "the & cat", "猫猫猫", "x" * 300]


def drawn(svg):
    """The maps' pixels, and the words, of a picture."""
    root = ElementTree.fromstring(svg)
    places = [e for e in root.iter() if e.tag.endswith("image")]
    arrays = []
    for place in places:
        png = base64.b64decode(place.get("href").partition(",")[2])
        width, height = struct.unpack(">II", png[16:24])
        data = zlib.decompress(b"".join(re.findall(rb"IDAT(.*?)....IEND", png, re.S)))
        arrays.append(
            np.frombuffer(data, np.uint8).reshape(height, 1 + 3 * width)[:, 1:].reshape(height, width, 3)
        )
    return root, places, arrays, [e.text for e in root.iter() if e.tag.endswith("text")]


@pytest.mark.parametrize("make", [viz.head_view, viz.model_view])
def test_all_heads_stand_in_a_picture(make, tmp_path):
    weights = rng.random((3, 5, 4, 4))
    path = tmp_path / "a.svg"
    make(weights, TOKENS).save(path)
    root, places, arrays, words = drawn(path.read_text())
    shown = weights[:1] if make is viz.head_view else weights
    shown = shown.reshape(-1, 4, 4)
    assert len(arrays) == len(shown)
    for pixels, array in zip(arrays, shown, strict=True):
        assert pixels.sum(-1).argmin() == array.argmax(), "the darkest cell is the largest weight"
    titles = [word for word in words if word.startswith("layer")]
    assert titles[1].startswith("layer 0, head 1: ≤ ") and len(titles) == len(shown)
    assert words.count("<a>") == 2 * len(shown) and not any(len(word) > 40 for word in words)
    whole = float(root.get("width")), float(root.get("height"))
    for place in places:
        box = [float(place.get(key)) for key in ("x", "y", "width", "height")]
        assert box[0] >= 0 and box[0] + box[2] <= whole[0] and box[1] + box[3] <= whole[1]


def test_of_many_tokens_so_many_are_written_as_have_room():
    weights = rng.random((1, 1, 400, 400))
    _, _, arrays, words = drawn(viz.head_view(weights, [f"t{k}" for k in range(400)]).svg)
    assert arrays[0].shape == (400, 400, 3) and 20 <= len(words) <= 40


def test_a_map_without_a_number_is_grey():
    _, _, arrays, _ = drawn(viz.head_view(np.full((1, 1, 2, 2), np.nan), ["a", "b"]).svg)
    assert (arrays[0] == 0xBD).all()
