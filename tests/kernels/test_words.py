"""Argument words of kernels are declared once, and nobody counts them: not the kernels, and not who calls them."""

import ast
import importlib
import inspect
from pathlib import Path

import pytest

from tinyattn import kernels
from tinyattn.kernels.calls.declaration import Words
from tinyattn.kernels.calls.words import WORDS
from tinyattn.runtime.lower import Emitter

FOLDER = Path(kernels.__file__).parent
FUNCTIONS = {
    f"{path.stem}.{node.name}": node
    for path in FOLDER.glob("*.py")
    for node in ast.parse(path.read_text()).body
    if isinstance(node, ast.FunctionDef)
}
BLOCKS = {"convolution.phase"}
"""Words that other words point to."""
NUMBERED = {"executor.program"}
"""The executor's words are the rows of its table."""


def _kernel(function):
    """Whether a function makes kernels."""
    inside = (node for node in function.body if isinstance(node, ast.FunctionDef))
    return any([a.arg for a in node.args.args][:2] == ["arguments", "first"] for node in inside)


def _number(node):
    """Whether an expression is a whole number that somebody counted."""
    if isinstance(node, ast.BinOp):
        return _number(node.left) and _number(node.right)
    return isinstance(node, ast.Constant) and isinstance(node.value, int)


def _counted(function):
    """Where a function reads or writes a word by its number."""
    blocks = {"word"}
    for node in ast.walk(function):
        if isinstance(node, ast.Assign):
            names, values = (getattr(side, "elts", [side]) for side in (node.targets[0], node.value))
            for name, value in zip(names, values, strict=False):
                if isinstance(value, ast.Call) and ast.unparse(value.func) == "i64":
                    blocks.add(ast.unparse(name))
    found = []
    for node in ast.walk(function):
        if isinstance(node, ast.Subscript):
            if ast.unparse(node.value) in blocks and _number(node.slice):
                found.append(ast.unparse(node))
        elif isinstance(node, ast.BinOp) and ast.unparse(node.left) == "arguments" and _number(node.right):
            found.append(ast.unparse(node))
    return found


def test_no_kernel_counts_its_words():
    assert {name for name, function in FUNCTIONS.items() if _counted(function)} == NUMBERED


def test_counting_is_seen():
    text = """
def forward(real):
    def kernel(arguments, first, last, scratch):
        word, other = i64(arguments), i64(scratch)
        other[w.a] = word[7] + pointer(arguments + 8 * 9)[0]
        other[1 + 1] = word[w.b + 1] + pointer(arguments + 8 * w.c)[0]
"""
    assert sorted(_counted(ast.parse(text).body[0])) == ["arguments + 8 * 9", "other[1 + 1]", "word[7]"]


def test_every_kernel_is_declared():
    made = {name for name, function in FUNCTIONS.items() if _kernel(function) and "._" not in name}
    assert made <= set(WORDS)
    for name in set(WORDS) - BLOCKS:
        file, function = name.split(".")
        make = getattr(importlib.import_module(f"tinyattn.kernels.{file}"), function)
        assert [*inspect.signature(make).parameters] == ["real"], name


@pytest.mark.parametrize("name", WORDS)
def test_a_declaration_gives_every_word_a_place_and_a_meaning(name):
    words = WORDS[name]
    places = list(words.place)
    assert places == sorted({*places}) and places[0] == 0
    given = {
        key: range(at, at + length) if length > 1 else at
        for (key, length), at in zip(words.lengths.items(), places, strict=True)
    }
    assert words.pack(given) == [*range(words.count)]
    assert all(words.meanings.values())


def test_words_are_taken_whole():
    words = Words("file.kernel", """
        x      address of x
        sizes  2 rows, columns
    """)  # fmt: skip
    assert (words.place.x, words.place.sizes, words.count) == (0, 1, 3)
    assert words.pack({"sizes": (3, 4), "x": 7}) == [7, 3, 4]
    for wrong in ({"x": 7}, {"x": 7, "sizes": (3, 4), "y": 1}):
        with pytest.raises(TypeError, match=r"file\.kernel takes x, sizes, but these differ: (sizes|y)"):
            words.pack(wrong)
    with pytest.raises(TypeError, match=r"file\.kernel takes 2 words of sizes, but got 3"):
        words.pack({"x": 7, "sizes": (3, 4, 5)})
    with pytest.raises(TypeError, match=r"file\.kernel.* x twice"):
        Words("file.kernel", "x  address of x\nx  again")


def test_lowering_gives_words_by_name():
    with pytest.raises(TypeError, match=r"copy\.fill takes its words by name"):
        Emitter().kernel("copy.fill", [4, 0, 1, 0], 1, reads=[], writes=[], dtype="float32")
