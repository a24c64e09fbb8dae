"""Docstrings of the public names say what a user must know, and what they say is true."""

import sys
from pathlib import Path

import class_rule
import docstring_rule as rule
import pytest
import wrong_calls

from tinyattn.errors import TinyattnError

DOCS = Path(__file__).parents[1] / "docs"
sys.path.insert(0, str(DOCS / "tools"))

import names  # noqa: E402

OTHERS = {
    name: value
    for name, value in names.public_names().items()
    if name.removeprefix("ta.") not in rule.PUBLIC
    and callable(value)
    and value.__module__.startswith("tinyattn")
}


def test_operations_say_arguments_shapes_types_errors_and_source():
    lacks = {name: found for name in rule.PUBLIC if (found := rule.lacking(name))}
    assert not lacks


def test_other_names_say_arguments_shapes_errors_and_source():
    lacks = {name: found for name, value in OTHERS.items() if (found := class_rule.lacking(name, value))}
    assert not lacks and len(OTHERS) > 150


def test_each_error_that_a_docstring_names_is_raised():
    for name, calls in wrong_calls.WRONG.items():
        for kind, call in calls.items():
            with pytest.raises(Exception, match=r"^\[|became") as error:
                call()
            assert (type(error.value).__name__, isinstance(error.value, TinyattnError)) == (kind, True), name


def test_what_names_have_in_common_stands_on_their_page():
    for page, said in {"arrays": rule.ON_THE_PAGE, **class_rule.TOLD_ONCE}.items():
        head = (DOCS / "reference" / f"{page}.md").read_text("utf-8").partition("\n## ")[0]
        assert not [name for name in said if f"`{name}`" not in head], page


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
        ("softmax", "Bridle 1990; Goodfellow, Bengio & Courville 2016, equation 4.1", "", "source: no paper"),
        ("additive_score", "appendix A.1.2", "somewhere", "source: no equation"),
    ],
)
def test_the_rule_finds_what_is_false_or_missing(name, old, new, found):
    said = rule.words(name)
    assert old in said
    assert any(lack.startswith(found) for lack in rule.lacking(name, said.replace(old, new)))


@pytest.mark.parametrize(
    ("name", "old", "new", "found"),
    [
        ("ta.nn.Linear", "(O, I)", "(I, O)", "shapes:"),
        ("ta.nn.Conv2d", "(N, O, H′, W′)", "(N, C, H′, W′)", "shapes: [("),
        ("ta.nn.LSTM", "(4H, I)", "(3H, I)", "shapes:"),
        ("ta.optim.Adam", "betas", "both", "arguments: betas"),
        ("ta.models.Bahdanau", "2015", "lately", "source: 2015"),
    ],
)
def test_the_rule_of_classes_finds_what_is_false_or_missing(name, old, new, found, monkeypatch):
    said = class_rule.words(OTHERS[name], whole=False)
    assert old in said
    monkeypatch.setattr(class_rule, "words", lambda value, whole=True: said.replace(old, new))
    assert any(lack.startswith(found) for lack in class_rule.lacking(name, OTHERS[name]))
