"""Ways to run graphs in tests: compiled with and without rewriting, interpreted, and as a stand-in for the interpreter in gradcheck."""

import numpy as np

import tinyattn as ta
from tinyattn.graph.traverse import topological
from tinyattn.runtime import reference
from tinyattn.runtime.arena import arenas


def compiled(outputs, rewriting=True, inputs=(), arrays=()):
    """The values of a compiled program."""
    return ta.Program(outputs, inputs, rewriting=rewriting).run(arrays)


def agree(outputs, tolerance=1.0, place=""):
    """Compiled with rewriting == compiled without == interpreted; a second run gives the same bits. Returns the interpreted values."""
    expected = reference.evaluate(outputs)
    for rewriting in (True, False):
        program = ta.Program(outputs, rewriting=rewriting)
        first, second = program.run(), program.run()
        for k, (found, again, right) in enumerate(zip(first, second, expected, strict=True)):
            where = f"{place} output {k}, rewriting {rewriting}"
            assert found.dtype == right.dtype and found.shape == right.shape, (
                f"{where}: {found.dtype}{found.shape}"
            )
            assert np.array_equal(found, again, equal_nan=found.dtype.kind == "f"), (
                f"{where}: two runs differ"
            )
            equal(found, right, tolerance, where)
    return expected


def equal(found, right, tolerance=1.0, where=""):
    """Compare to rounding: exact for integers, infinities and NaNs."""
    if right.dtype.kind != "f":
        assert np.array_equal(found, right), f"{where}: {found} is not {right}"
        return
    finite = np.isfinite(right)
    assert np.array_equal(found[~finite], right[~finite], equal_nan=True), f"{where}: {found} is not {right}"
    scale = max(1.0, float(np.abs(right[finite]).max(initial=0)))
    error = float(np.abs(found[finite].astype(np.float64) - right[finite]).max(initial=0))
    assert error <= (1e-5 if right.dtype == np.float32 else 1e-13) * scale * tolerance, (
        f"{where}: error {error:.3g} of {scale:.3g}"
    )


class CompiledEvaluator:
    """``evaluate`` for gradcheck that runs native programs; one for each set of roots."""

    def __init__(self, rewriting=True):
        self.rewriting, self.programs = rewriting, {}

    def __call__(self, roots):
        key = tuple(map(id, roots))
        if key not in self.programs:
            self.programs[key] = ta.Program(roots, rewriting=self.rewriting)
        return self.programs[key].run()


def op_names(roots) -> set[str]:
    """Names of all operations below ``roots``, inside bodies too."""
    found = set()
    for node in topological(roots):
        found.add(node.op.name)
        for value in node.attrs.values():
            if hasattr(value, "outputs"):
                found |= op_names(value.outputs)
    return found


def scribble(byte: int) -> None:
    """Fill the memory of programs with rubbish."""
    for arena in arenas.idle:
        arena.memory[:] = byte


def first_line(error) -> str:
    """Of the message of an error that pytest has caught."""
    return str(error.value).splitlines()[0]
