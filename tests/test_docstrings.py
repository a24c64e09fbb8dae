"""Docstrings of the public names say what a user must know, and what they say is true."""

from pathlib import Path

import docstring_rule as rule
import pytest


def test_operations_say_arguments_shapes_types_errors_and_source():
    lacks = {name: found for name in rule.PUBLIC if (found := rule.lacking(name))}
    assert not lacks


def test_what_all_operations_have_in_common_stands_on_their_page():
    page = Path(__file__).parents[1] / "docs" / "reference" / "arrays.md"
    head = page.read_text("utf-8").partition("\n## ")[0]
    assert all(f"`{name}`" in head for name in rule.ON_THE_PAGE)


@pytest.mark.parametrize(
    ("name", "old", "new", "found"),
    [
        ("dot_score", "keys (…, Tk, d)", "keys (…, Tk, e, d)", "shapes: keys"),
        ("dot_score", "→ (…, Tq, Tk)", "→ (…, Tk, Tk)", "shapes: the result"),
        ("maxout", "(…, L)", "(…, 2L)", "shapes: the result"),
        ("add", "shapes broadcast", "of any shape, which the result has", "shapes:"),
        ("exp", "become float32", "become float64", "types:"),
        ("sum", "int64", "int32", "types:"),
        ("reshape", "ShapeError", "an error", "errors: ShapeError isn't named"),
        ("exp", "DTypeError", "ShapeError or DTypeError", "errors: ShapeError was never raised"),
        ("round", "decimals", "some", "arguments: decimals"),
        ("softmax", "Bridle 1990, section 2", "", "source: no paper"),
        ("additive_score", "appendix A.1.2", "somewhere", "source: no equation"),
    ],
)
def test_the_rule_finds_what_is_false_or_missing(name, old, new, found):
    said = rule.words(name)
    assert old in said
    assert any(lack.startswith(found) for lack in rule.lacking(name, said.replace(old, new)))
