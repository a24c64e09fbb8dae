"""What a page computes by itself is what Python computes: every operation, forward and backward, in float64."""

import json

import numpy as np
import pytest
from browser import chromium
from op_sample import gradients
from op_table import ROWS

from tinyattn.runtime import reference
from tinyattn.viz.model import Cluster, Node, Picture
from tinyattn.viz.page import graph
from tinyattn.viz.page.program import ELEMENTARY, Unsuited, program_of
from tinyattn.viz.room import Shown

MACHINE = ("arithmetic", "arrays", "machine")


@pytest.fixture(scope="module")
def machine():
    """``machine(programs)``: the values of each, as the page computes them."""
    with chromium() as browser:
        page = browser.new_page()
        page.add_script_tag(content="\n".join(graph._file(f"{name}.js") for name in MACHINE))
        run = """programs => programs.map(program => {
            const one = machine(program);
            return Object.fromEntries(Object.keys(program.values).map(id =>
              [id, one.all(id).map(({ shape, data }) => [shape, Array.from(data, String)])]));
        })"""
        yield lambda programs: page.evaluate(run, json.loads(json.dumps([vars(p) for p in programs])))


def _program(values, loops=None):
    """The program of Tensors by their names; ``loops``: name → (scan, values inside)."""
    nodes = {name: Node(name, "op", "op", "forward", name, []) for name in values}
    picture, shown = Picture(nodes=nodes), Shown({name: [value] for name, value in values.items()})
    for loop, (scan, inside) in (loops or {}).items():
        picture.clusters[loop] = Cluster(loop, loop, "scan", (loop,))
        shown.loops[loop] = scan
        for name, value in inside.items():
            nodes[name] = Node(name, "op", "op", "forward", name, [], path=(loop,))
            shown.of[name] = [value]
    return program_of(picture, shown)


def _equal(found, expected, place):
    shape, texts = found
    assert tuple(shape) == expected.shape, place
    numbers = np.array([float(x.replace("Infinity", "inf")) for x in texts]).reshape(shape)
    wide = expected.astype(np.float64)
    finite = np.isfinite(wide)
    np.testing.assert_array_equal(numbers[~finite], wide[~finite], str(place))
    scale = max(1.0, np.abs(wide[finite]).max(initial=0))
    np.testing.assert_allclose(numbers[finite], wide[finite], rtol=0, atol=1e-12 * scale, err_msg=str(place))


def test_every_operation_and_its_derivative(machine):
    programs, places, unsuited = [], [], set()
    for row in ROWS:
        for number, one in enumerate(row.samples[:3]):
            if one.size > 3000 or "of integers" in row.name and number:
                continue
            results, pulled = gradients(row, one)
            values = {f"v{k}": value for k, value in enumerate([*results, *pulled])}
            try:
                programs.append(_program(values))
            except Unsuited as reason:
                unsuited.add(f"{row.name}: {reason}")
                continue
            places.append((row.name, number, values))
    assert len(places) > 250
    assert unsuited == {"all_reduce: a page does not compute all reduce"}, "a page is one process"
    for (name, number, values), found in zip(places, machine(programs), strict=True):
        expected = reference.evaluate(list(values.values()))
        for key, array in zip(values, expected, strict=True):
            _equal(found[key][0], array, (name, number, key))
    used = {instruction[0] for program in programs for instruction in program.code}
    assert ELEMENTARY - used == set(), "an operation that no row tries"
