"""Words of users in pictures and pages: whatever they are, they stay words."""

import json
import re
import shutil
import subprocess
import xml.etree.ElementTree as ET
from html.parser import HTMLParser

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

import tinyattn as ta
from tinyattn import markup, sections, viz
from tinyattn.viz import report

needs_dot = pytest.mark.skipif(shutil.which("dot") is None, reason="needs Graphviz's program dot")

INJECTION = '<x> URL="javascript:alert(1)" target="_top" tooltip=<y>'
PIECES = [
    INJECTION, '<b>" URL="javascript:alert(1)"', "<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "]]>", "-->",
    "<!--", "&#x3c;svg onload=alert(1)&#x3e;", "</title></svg>", "<svg/onload=alert(1)>", "'", '"', "\\", "\\N", "\\G\\", '\\"',
    "<", ">", "<>", "&", "&amp;", "{a|b}", "a:b:c", "\0", "\x07", "\x1b[31m", "\x7f", "\x85", "\x9b", "\t", "\n", "\r\n", "\u2028",
    "\ud800", "\udc00\ud800", "\ufffe", "\uffff", "\ufdd0", "\U0010ffff", "\u202e", "\u2066", "é", "Ω", "日本", "😀", "%s", "{0}", "//",
]  # fmt: skip
hostile = st.lists(
    st.sampled_from(PIECES) | st.text(st.characters(categories=None), max_size=6), min_size=1, max_size=4
).map("".join)
quick = settings(
    max_examples=12,
    deadline=None,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.too_slow],
    report_multiple_bugs=False,
)
INNOCENT = "word"


def _graph(module, tensor):
    with ta.scope(module):
        x = ta.tensor(np.ones((2, 3), np.float32), name=tensor)
        inner = ta.scan(lambda h, row: (h * row, h), ta.ones(3), x)[1]
        return ta.softmax(inner @ ta.parameter(np.ones((3, 2), np.float32), name=tensor)).sum()


def _dot(source, kind):
    made = subprocess.run(["dot", f"-T{kind}"], input=source.encode(), capture_output=True, timeout=60)
    assert made.returncode == 0 and not made.stderr, made.stderr.decode()
    return made.stdout


def _shape(root):
    """Tags and attributes of an XML tree, without what they say; the end of a reference with it."""
    for element in root.iter():
        for key, value in element.attrib.items():
            assert key == "{http://www.w3.org/1999/xlink}title" or "javascript:" not in value, (
                element.tag,
                key,
                value,
            )
    return {element.tag for element in root.iter()}, {
        key for element in root.iter() for key in element.attrib
    }


class _Tags(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.tags, self.open = set(), []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags |= {(tag, key) for key, _ in attributes} | {(tag, "")}


def _attributes(source):
    """Names of all attributes that Graphviz itself reads in a DOT text."""
    found = set()

    def walk(value):
        if isinstance(value, dict):
            found.update(value)
        for part in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
            walk(part)

    walk(json.loads(_dot(source, "dot_json")))
    return found


@pytest.fixture(scope="module")
def innocent():
    """What pictures of a graph with harmless names hold, open and closed."""
    found = {}
    for depth in (None, 0):  # (words on arrows have another place if they are short)
        several = [_holds(viz.draw(_graph(name, name), depth=depth)) for name in (INNOCENT, INNOCENT[:1])]
        found[depth] = [set.union(*parts) for parts in zip(*several, strict=True)]
    return found


def _holds(view):
    return _attributes(view.source), *_shape(ET.fromstring(view.svg)), _Tags(view.html()).tags


@needs_dot
@quick
@example(module=INJECTION, tensor=INJECTION)
@example(module="", tensor="\ud800\ufffe")
@given(module=hostile, tensor=hostile)
def test_names_of_modules_and_tensors_are_words_in_a_picture(innocent, module, tensor):
    for depth, allowed in innocent.items():
        view = viz.draw(_graph(module, tensor), depth=depth)
        for found, known in zip(_holds(view), allowed, strict=True):
            assert found <= known, found - known
        json.loads(view.picture.to_json().encode())
        str(view).encode()


@needs_dot
def test_a_name_injects_no_attribute():
    view = viz.draw(_graph(INJECTION, INJECTION))
    assert "URL=" in view.source and not re.search(r'(?<!\\)"[^"\\]* URL="', view.source)
    assert "URL" not in _attributes(view.source) and "href=" not in view.svg.replace("xlink:title", "")
    titles = [t.text for t in ET.fromstring(view.svg).iter() if t.tag.endswith("}text")]
    assert INJECTION in titles, "the name itself is there to be read"


@needs_dot
def test_a_name_of_twenty_thousand_letters_is_shortened(tmp_path):
    long = "begin" + "x" * 20_000 + "end"
    view = viz.draw(_graph(long, long)).save(tmp_path / "a.svg")
    texts = [t.text for t in ET.fromstring(view.svg).iter() if t.tag.endswith("}text")]
    assert max(map(len, texts)) <= markup.NAME + 20 and any(
        t.startswith("begin") and t.endswith("end") for t in texts
    )
    assert max(map(len, view.picture.nodes)) < 300 and len(view.source) < 200_000
    other = viz.draw(_graph(long + "!", INNOCENT)).picture
    assert not set(other.clusters) & set(view.picture.clusters), (
        "modules that differ in the cut part stay two"
    )
    picture = viz.heatmap(np.eye(2), rows=[long, "b"], columns=[long, "\u202eb"])
    assert float(ET.fromstring(picture.svg).get("width")) < 1500


@quick
@given(words=st.lists(hostile, min_size=2, max_size=2))
def test_tokens_are_words_in_a_heat_map(words):
    innocent = _shape(ET.fromstring(viz.heatmap(np.eye(2), rows=["a", "b"]).svg))
    view = viz.heatmap(np.eye(2), rows=words, columns=words)
    assert _shape(ET.fromstring(view.svg)) == innocent
    if shutil.which("dot"):
        assert "URL" not in _attributes(view._table())
    str(view).encode()


def _report(word):
    return word, word, [
        sections.Table(word, [word, word, word], [[word, word, word]], word),
        sections.Curves(word, [sections.Line(word, [1, 2], [3.0, 2.0])], word, word, word),
        sections.Bars(word, {word: {word: 0.5}}, word, word, word),
        sections.Heat(word, [sections.Map(np.eye(2), [word, "b"], [word, "b"], word)], word),
        sections.Samples(word, [[(word, word, None), (word, word, True)]], word),
        sections.Images(word, np.zeros((2, 3, 3)), 2, word),
        sections.Graph(word, f"Not drawn: {word}", word, word),
        sections.Text(word, word, word),
    ]  # fmt: skip


@quick
@given(word=hostile)
def test_words_of_a_task_are_words_in_a_report(word):
    page = report.render(*_report(word))
    assert _Tags(page).tags <= _Tags(report.render(*_report(INNOCENT))).tags
    page.encode()
    for chart in re.findall(r"<svg .*?</svg>", page, re.DOTALL):
        ET.fromstring(chart)


def test_pages_allow_no_scripts_bases_or_forms():
    for page in (report.render(*_report(INNOCENT)), viz.heatmap(np.eye(2)).html()):
        policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)[1]
        assert {"default-src 'none'", "base-uri 'none'", "form-action 'none'"} <= set(policy.split("; "))


@given(text=hostile, longest=st.integers(3, 30) | st.none())
def test_cleaning_twice_is_cleaning_once(text, longest):
    once = markup.clean(text, longest)
    assert markup.clean(once, longest) == once and len(once) <= (longest or len(text))
    once.encode()
    assert (
        ET.fromstring(f"<a b='{markup.escape(text)}'>{markup.escape(text)}</a>").text is not None or not text
    )
    assert "\n" not in markup.label(text) and "\r" not in markup.label(text)
