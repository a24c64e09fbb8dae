"""Into how many tiles the work of each kernel falls.

A tile is what one thread does at a time. Its size is fixed by the arguments alone, so that results don't
depend on who does it. Kernels import their tile sizes from here; callers ask the functions here how many
tiles to announce. This module needs neither Numba nor NumPy.
"""


def ceiling(size: int, tile: int) -> int:
    """How many tiles of ``tile`` cover ``size``."""
    return -(-size // tile)


# random.py

RANDOM_TILE = 4096
"""Random numbers in a tile."""


def tiles_of_random(n: int) -> int:
    """Tiles of ``random.uniform``, ``random.bits`` and ``random.dropout`` for n numbers."""
    return ceiling(n, RANDOM_TILE)


# gather.py

GATHER_COLUMNS = 4096
"""Most columns in a tile of ``gather.take``."""
GATHER_TILE = 8192
"""About how many numbers a tile of ``gather.take`` and ``gather.one_hot`` holds."""
SCATTER_TILE = 65536
"""About how many numbers a tile of ``gather.scatter_add`` and ``gather.put`` reads or writes."""


def rows_of_take(inner: int) -> int:
    """Rows in a tile of ``gather.take`` and ``gather.one_hot``, given the length of a row."""
    return max(1, GATHER_TILE // max(1, min(inner, GATHER_COLUMNS)))


def tiles_of_take(outer: int, count: int, inner: int) -> int:
    """Tiles of ``gather.take``: blocks of rows times blocks of columns."""
    return ceiling(outer * count, rows_of_take(inner)) * ceiling(inner, GATHER_COLUMNS)


def tiles_of_one_hot(count: int, depth: int) -> int:
    """Tiles of ``gather.one_hot``: blocks of rows."""
    return ceiling(count, rows_of_take(depth))


def bands_of_scatter(n: int, inner: int, count: int) -> int:
    """How many tiles share the n result rows of one outer slice.

    Each of them reads all indices and picks its own. This must cost little beside the additions, hence few
    tiles for short rows.
    """
    return max(1, min(n, 16, inner // 16, -(-max(n, count) * inner // SCATTER_TILE)))


def tiles_of_scatter(outer: int, n: int, inner: int, count: int) -> int:
    """Tiles of ``gather.scatter_add`` and ``gather.put``: bands of result rows of each outer slice."""
    return outer * bands_of_scatter(n, inner, count)


# cells.py

CELL_COLUMNS = 512
"""Most hidden units in a tile of a recurrent cell."""
CELL_TILE = 2048
"""About how many numbers of the hidden state a tile of a recurrent cell holds."""


def rows_of_cell(hidden: int) -> int:
    """Rows of the batch in a tile of a recurrent cell."""
    return max(1, CELL_TILE // max(1, min(hidden, CELL_COLUMNS)))


def tiles_of_cell(batch: int, hidden: int) -> int:
    """Tiles of every kernel of a recurrent cell: blocks of rows times blocks of hidden units."""
    return ceiling(batch, rows_of_cell(hidden)) * ceiling(hidden, CELL_COLUMNS)


MAXOUT_TILE = 8192
"""Results in a tile of ``cells.maxout_forward`` and ``cells.maxout_backward``."""


def tiles_of_maxout(rows: int, pairs: int) -> int:
    """Tiles of ``cells.maxout_forward`` and ``cells.maxout_backward``."""
    return ceiling(rows * pairs, MAXOUT_TILE)


# softmax.py

SOFTMAX_TILE = 2048
"""Most numbers in a tile of a softmax kernel, unless one row has more."""


def rows_of_softmax(columns: int) -> int:
    """Rows in a tile of a softmax kernel."""
    return max(1, SOFTMAX_TILE // max(1, columns))


def tiles_of_softmax(rows: int, columns: int) -> int:
    """Tiles of every kernel in softmax.py."""
    return ceiling(rows, rows_of_softmax(columns))


# score.py

SCORE_COLUMNS = 512
"""Most hidden units of the additive score that are handled at once."""
SCORE_TILE = 16384
"""About how many tanh a tile of ``score.additive_forward`` takes."""


def scores_in_tile(width: int) -> int:
    """Scores in a tile of ``score.additive_forward``."""
    return max(1, SCORE_TILE // max(1, width))


def tiles_of_additive_forward(batch: int, queries: int, keys: int, width: int) -> int:
    """Tiles of ``score.additive_forward``: runs of scores."""
    return ceiling(batch * queries * keys, scores_in_tile(width))


def columns_of_score(batch: int, width: int) -> int:
    """Hidden units in a tile of ``score.additive_backward``: fewer if the batch alone makes few tiles."""
    return SCORE_COLUMNS if batch >= 8 else 64


def tiles_of_additive_backward(batch: int, width: int) -> int:
    """Tiles of ``score.additive_backward``: batch entries times blocks of hidden units."""
    return batch * ceiling(width, columns_of_score(batch, width))


# elementwise.py

ELEMENTWISE_TILE = 1024
"""Elements that the vector machine takes at a time."""


def tiles_of_elementwise(n: int) -> int:
    """Tiles of ``elementwise.run`` for n elements."""
    return ceiling(n, ELEMENTWISE_TILE)

