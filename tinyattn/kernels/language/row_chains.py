"""Chains whose operations also go over whole rows: sums and maxima of a row, and what follows from them, as data.

A softmax, a norm and their derivatives go over a row several times: its maximum; its exponentials and their
sum; the result. A row chain is such a computation in one piece. Its values are of two sorts, those that have
a number for each place of a row and those that have one for each row, and come in *phases*: what is folded in
one phase is known in the next.

    phase 0   m = max s_j
    phase 1   e_j = exp(s_j − m),   t = Σ e_j
    phase 2   1 / t  (a number a row),   e_j · (1 / t)

A block of rows goes through all phases while it is in the nearest cache. What is needed again in a later phase
is computed again, or *kept* in scratch if that takes long. The loops are generated from nothing else
(:mod:`tinyattn.kernels.build.row_writer`). Nothing here needs Numba or LLVM.
"""

import functools
from typing import NamedTuple

from tinyattn.kernels import SCRATCH_BYTES, ceiling
from tinyattn.kernels.language.chains import NUMBER, REPEATED, SCALAR, argument_words, name_of
from tinyattn.kernels.language.opcodes import ROW_FOLDS, SIZES

ROW_BYTES = 128
"""Width of the vectors that rows are taken in, on every machine: so a fold has the same bits everywhere."""
MOST_ROWS = 64
"""Most rows in a block."""
_BLOCK = 2048
"""Most numbers in a block, unless one row has more."""
_TILE = 4096
"""About how many numbers there are in a tile, unless one row has more."""
_SUMMED_TILE, _SUMMED_TILES = 16384, 64
"""Where sums over the rows are taken: at least that many numbers in a tile, and at most that many tiles, as what they
leave has to be added up.
"""
_CHEAP = frozenset(
    "copy add sub mul maximum minimum neg abs sign square lt le gt ge eq ne and or xor not relu step isfinite "
    "floor ceil round dtanh dsigmoid to_f32 to_real to_i32 to_i64 to_bool".split()
)
"""Operations that are sooner done again than kept."""


class RowChain(NamedTuple):
    """Values are numbered: first the inputs, then the result of each step."""

    real: str
    """What the kind ``"real"`` of operations is: ``"f32"`` or ``"f64"``."""
    steps: tuple[tuple[str, str, tuple[int, ...]], ...]
    """``(operation, kind, operands)`` as of a :class:`~tinyattn.kernels.language.chains.Chain`; or a key of
    :data:`tinyattn.kernels.language.opcodes.ROW_FOLDS`, which makes one number a row.
    """
    inputs: tuple[tuple[str, int], ...]
    """Kind and way of going along of each input."""
    outputs: tuple[tuple[str, int, int], ...]
    """Kind, value number and way of each output: CONTIGUOUS, one for each place; REPEATED, one for each row; or
    SUMMED, over the rows of a tile.
    """
    outer: int
    """Dimensions of the iteration space beside the last."""
    keeps: bool
    """Whether there is room to keep what takes long to compute."""

    @property
    def name(self) -> str:
        """The same for equal chains, and for them only."""
        return name_of("rows", self)

    def arguments(self, extents, block, sources, strides, targets) -> list:
        """The argument words of the loop: its size, and where its operands are.

        Those of a :class:`~tinyattn.kernels.language.chains.Chain`, but for words 2 and 3, which are the rows of a
        tile and of a block, and what is SUMMED, which has an address only.
        """
        operands = [*self.inputs, *((kind, way) for kind, _, way in self.outputs)]
        return argument_words(extents, block, operands, [*sources, *targets], strides)


class Phase:
    """What is done in a phase: ``numbers``, the steps on one number a row; then the loop over each row, in which
    ``loaded`` inputs and kept values are read, ``steps`` are done, and values are folded, kept and written.
    """

    def __init__(self):
        self.numbers: list[int] = []
        self.steps: list[int] = []
        self.loaded: list[int] = []
        self.folds: list[int] = []
        self.kept: list[int] = []
        self.outputs: list[int] = []

    @property
    def goes_along(self) -> bool:
        """Whether the rows are gone over at all."""
        return bool(self.folds or self.kept or self.outputs)


class Phases:
    """A row chain in phases."""

    def __init__(self, chain: RowChain):
        first = len(chain.inputs)
        self.operands = dict(enumerate((operands for _, _, operands in chain.steps), first))
        self.folds = {k for k, step in enumerate(chain.steps, first) if step[:2] in ROW_FOLDS}
        single = {k for k, (_, mode) in enumerate(chain.inputs) if mode in (NUMBER, SCALAR, REPEATED)}
        self.repeated = [k for k, (_, mode) in enumerate(chain.inputs) if mode == REPEATED]
        """Inputs that have a number for each row."""
        level = dict.fromkeys(range(first), 0)
        for k, operands in self.operands.items():
            level[k] = max(level[o] for o in operands) + (k in self.folds)
            if k in self.folds or all(o in single for o in operands):
                single.add(k)
        self.single, self.level = single, level
        self.list = [Phase() for _ in range(max(level.values()) + 1)]
        costly = {k for k, step in enumerate(chain.steps, first) if step[0] not in _CHEAP}
        for k in self.operands:
            if k in self.folds:
                self.list[level[k] - 1].folds.append(k)
            elif k in single:
                self.list[level[k]].numbers.append(k)
        for n, (_, k, way) in enumerate(chain.outputs):
            if way != REPEATED:
                self.list[level[k]].outputs.append(n)
        for p in reversed(range(len(self.list))):
            phase = self.list[p]
            wanted = [self.operands[k][0] for k in phase.folds]
            wanted += [chain.outputs[n][1] for n in phase.outputs] + phase.kept
            seen: set[int] = set()
            while wanted:
                k = wanted.pop()
                if k in seen or k in single:
                    continue
                seen.add(k)
                if k not in self.operands:
                    phase.loaded.append(k)
                elif chain.keeps and level[k] < p and k in costly:
                    phase.loaded.append(k)
                    if k not in self.list[level[k]].kept:
                        self.list[level[k]].kept.append(k)
                else:
                    phase.steps.append(k)
                    wanted += self.operands[k]
            phase.steps.sort()
            phase.loaded.sort()
        within = {k: p for p, phase in enumerate(self.list) for k in phase.numbers}
        used = {
            o for k, os in self.operands.items() for o in os if k not in within or within.get(o) != within[k]
        }
        used |= {k for _, k, _ in chain.outputs}
        self.slots = (used | self.folds) & single
        """Values of which there is one a row, or one in all, that are used beside where they are computed."""
        self.kept = [k for phase in self.list for k in phase.kept]
        """All values that are kept."""
        self.last = max([p for p, phase in enumerate(self.list) if phase.goes_along], default=0)
        """The last phase that goes over the rows: what it writes may lie where it reads."""


@functools.lru_cache(maxsize=4096)
def phases(chain: RowChain) -> Phases:
    """The chain in phases."""
    return Phases(chain)


def whole_rows(columns: int, real: str) -> int:
    """Columns of a row in whole vectors."""
    lanes = ROW_BYTES // SIZES[real]
    return ceiling(columns, lanes) * lanes


def fits(columns: int, real: str, kept: int) -> bool:
    """Whether ``kept`` values of a row have room in scratch."""
    return kept * whole_rows(columns, real) * SIZES[real] <= SCRATCH_BYTES // 2


def block_of_rows(rows: int, columns: int, real: str, summed: bool) -> tuple[int, int]:
    """Rows in a tile and in a block of a row chain; ``summed``: whether it takes sums over rows."""
    width = max(1, whole_rows(columns, real))
    block = min(MOST_ROWS, max(1, _BLOCK // width))
    if not summed:
        return max(block, min(MOST_ROWS, _TILE // width)), block
    return max(1, _SUMMED_TILE // max(1, columns), ceiling(rows, _SUMMED_TILES)), block
