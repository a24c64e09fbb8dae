"""A gradient as mathematics, as a picture, and as a page to walk in.

    python examples/gradient_picture.py [FOLDER]

writes attention.svg and attention.html: forward in grey, the gradient in orange. Pictures need Graphviz's `dot`.
"""

import sys
from pathlib import Path

import numpy as np

import tinyattn as ta


def main(folder: str = ".") -> dict[str, float]:
    """The sizes of both files in bytes."""
    rng = np.random.default_rng(0)
    q, k, v = (ta.tensor(rng.normal(size=(3, 2)), name=name) for name in "QKV")
    weights = ta.softmax(q @ k.T / 2**0.5)
    loss = ((weights @ v) ** 2).sum()
    ta.show(ta.grad(loss, q))
    view = ta.viz.draw(loss, wrt=[q, k, v])
    found = {}
    for name in ("attention.html", "attention.svg"):
        view.save(Path(folder) / name)
        found[name] = float((Path(folder) / name).stat().st_size)
    return found


if __name__ == "__main__":
    print(main(*sys.argv[1:]))
