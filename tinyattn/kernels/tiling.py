"""Into how many tiles the work of each kernel falls.

A tile is what one thread does at a time. Its size is fixed by the arguments alone, so that results don't
depend on who does it. Kernels import their tile sizes from here; callers ask the functions here how many
tiles to announce. This module needs neither Numba nor NumPy.
"""

import math
from collections.abc import Sequence


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
"""About how many numbers a tile of ``gather.take`` holds."""
SCATTER_TILE = 65536
"""About how many numbers a tile of ``gather.scatter_add`` reads or writes."""


CHECK_TILE = 16384
"""Indices in a tile of ``gather.check``."""


def tiles_of_check(count: int) -> int:
    """Tiles of ``gather.check``."""
    return ceiling(count, CHECK_TILE)


def rows_of_take(inner: int) -> int:
    """Rows in a tile of ``gather.take``, given the length of a row."""
    return max(1, GATHER_TILE // max(1, min(inner, GATHER_COLUMNS)))


def tiles_of_take(outer: int, count: int, inner: int) -> int:
    """Tiles of ``gather.take``: blocks of rows times blocks of columns."""
    return ceiling(outer * count, rows_of_take(inner)) * ceiling(inner, GATHER_COLUMNS)


def bands_of_scatter(n: int, inner: int, count: int) -> int:
    """How many tiles share the n result rows of one outer slice.

    Each of them reads all indices and picks its own. This must cost little beside the additions, hence few
    tiles for short rows.
    """
    return max(1, min(n, 16, inner // 16, -(-max(n, count) * inner // SCATTER_TILE)))


def tiles_of_scatter(outer: int, n: int, inner: int, count: int) -> int:
    """Tiles of ``gather.scatter_add``: bands of result rows of each outer slice."""
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


# norm.py

_NORM_TILE = 4096
"""About how many numbers a tile of ``norm.forward`` has, unless one row has more."""
_NORM_BACKWARD_TILE = 16384
"""At least that many a tile of ``norm.backward``."""
_NORM_BACKWARD_TILES = 64
"""Most tiles of ``norm.backward``: what they leave has to be added up."""


def rows_of_norm(columns: int) -> int:
    """Rows in a tile of ``norm.forward``."""
    return max(1, _NORM_TILE // max(1, columns))


def tiles_of_norm(rows: int, columns: int) -> int:
    """Tiles of ``norm.forward``: blocks of rows."""
    return ceiling(rows, rows_of_norm(columns))


def rows_of_norm_backward(rows: int, columns: int) -> int:
    """Rows in a tile of ``norm.backward``."""
    return max(
        1, _NORM_BACKWARD_TILE // max(1, columns), (rows + _NORM_BACKWARD_TILES - 1) // _NORM_BACKWARD_TILES
    )


def tiles_of_norm_backward(rows: int, columns: int) -> int:
    """Tiles of ``norm.backward``: blocks of rows."""
    return ceiling(rows, rows_of_norm_backward(rows, columns))


# batch_norm.py

BATCH_NORM_STRIP = 1024
"""Most numbers of neighbouring channels that the kernels in batch_norm.py go over at a time."""


def channels_of_batch_norm(length: int) -> int:
    """Channels in a tile, given the numbers that follow one another in a channel."""
    return max(1, BATCH_NORM_STRIP // 2 // max(1, length))


def tiles_of_batch_norm(channels: int, length: int) -> int:
    """Tiles of both kernels in batch_norm.py: blocks of channels."""
    return ceiling(channels, channels_of_batch_norm(length))


# silence.py

SILENCE_ROWS = 32
"""Rows of the product in a tile of ``silence.zeros``."""


def tiles_of_silence(rows: int) -> int:
    """Tiles of ``silence.zeros``: blocks of rows of all matrices."""
    return ceiling(rows, SILENCE_ROWS)


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


# attention.py

ATTENTION_QUERIES, ATTENTION_KEYS = 64, 128
"""Most queries and keys in a tile of scores."""
ATTENTION_DEPTH = 256
"""Most columns of queries and keys that are multiplied in one go."""
_ATTENTION_PARTS = 8
"""Tiles that the backward pass should have at least, by cutting up the keys if need be."""


def tiles_of_attention(matrices: int, queries: int) -> int:
    """Tiles of ``attention.forward``: blocks of queries of each matrix."""
    return matrices * ceiling(queries, ATTENTION_QUERIES)


def parts_of_attention(matrices: int, keys: int) -> int:
    """Into how many parts ``attention.backward`` cuts the keys; its tiles are parts times matrices."""
    return min(ceiling(_ATTENTION_PARTS, max(1, matrices)), max(1, ceiling(keys, 4 * ATTENTION_KEYS)))


def keys_in_part(parts: int, keys: int) -> int:
    """Keys in a part: whole blocks."""
    return ceiling(ceiling(keys, parts), ATTENTION_KEYS) * ATTENTION_KEYS


# generate.py

CHAIN_TILE = 4096
"""Most elements in a tile of a chain of elementwise operations."""


def block_of_chain(columns: int) -> tuple[int, int]:
    """Rows and columns in a tile of a chain, for rows of ``columns``."""
    return max(1, CHAIN_TILE // max(1, columns)), CHAIN_TILE


def tiles_of_chain(rows: int, columns: int) -> int:
    """Tiles of a chain: blocks of rows times blocks of columns."""
    tile_rows, tile_columns = block_of_chain(columns)
    return ceiling(rows, tile_rows) * ceiling(columns, tile_columns)


# memory.py, address.py

ROW_ROOM = 16
"""Numbers that ``sweep.dot_rows`` may write past its results."""


def tiles_of_memory(batch: int) -> int:
    """Tiles of every kernel in memory.py and address.py: entries of the batch."""
    return batch


def room_of_write(places: int, width: int) -> int:
    """Numbers of temporary memory that ``memory.write_backward`` needs for an entry of the batch."""
    return 2 * places * width + places + width + ROW_ROOM


def room_of_address(places: int, width: int, shifts: int) -> int:
    """Numbers of temporary memory that a kernel in address.py needs for an entry of the batch: seven pieces as
    long as a weighting, a line of ones, the squares of the memory and three lines of activations.
    """
    return 7 * (places + ROW_ROOM + shifts) + width + places * width + 3 * (shifts + 3)


# reduce.py

REDUCE_TILE = 16384
"""About how many numbers a tile of ``reduce.rows`` and ``reduce.argmax`` reads, unless one row has more."""
REDUCE_COLUMNS = 512
"""Most columns in a tile of ``reduce.columns`` and ``reduce.cumsum``."""


def rows_of_reduce(length: int) -> int:
    """Rows in a tile of ``reduce.rows``, ``reduce.argmax`` and ``reduce.argmin``."""
    return max(1, REDUCE_TILE // max(1, length))


def tiles_of_reduce_rows(outer: int, length: int) -> int:
    """Tiles of ``reduce.rows``, ``reduce.argmax`` and ``reduce.argmin``: blocks of rows."""
    return ceiling(outer, rows_of_reduce(length))


def tiles_of_reduce_columns(outer: int, inner: int) -> int:
    """Tiles of ``reduce.columns``: outer entries times blocks of columns."""
    return outer * ceiling(inner, REDUCE_COLUMNS)


def tiles_of_cumsum(outer: int, length: int, inner: int) -> int:
    """Tiles of ``reduce.cumsum``: blocks of rows if inner is 1, else outer entries times blocks of
    columns.
    """
    return tiles_of_reduce_rows(outer, length) if inner == 1 else tiles_of_reduce_columns(outer, inner)


# copy.py

FILL_BYTES = 65536
"""Bytes in a tile of ``copy.fill``."""
_COPY_TILE = 8192
"""About how many elements a tile of ``copy.strided`` has."""
_COPY_STRIP_ROWS = 256
"""Rows of a block in a transposition."""


def tiles_of_fill(n: int, size: int) -> int:
    """Tiles of ``copy.fill`` for n elements of ``size`` bytes."""
    return ceiling(n * size, FILL_BYTES)


def copy_block_columns(columns: int, contiguous: int) -> int:
    """Columns in a tile of ``copy.strided``; ``contiguous``: both strides along the columns are 1."""
    return max(1, min(columns, _COPY_TILE if contiguous else _COPY_TILE // _COPY_STRIP_ROWS))


def copy_block_rows(columns: int, contiguous: int) -> int:
    """Rows in a tile of ``copy.strided``."""
    return max(1, _COPY_TILE // max(1, columns)) if contiguous else _COPY_STRIP_ROWS


def copy_plan(
    shape: Sequence[int], source: Sequence[int], target: Sequence[int]
) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...], int]:
    """The best order of dimensions for ``copy.strided``: shape, strides of source and of target (in
    elements), and tiles.

    Dimensions of size 1 go and those that can be joined are; the last one is the one with the smallest
    stride in the target, the one before it, if that isn't also the smallest in the source, the smallest
    there.
    """
    rows = sorted(
        ((n, s, t) for n, s, t in zip(shape, source, target, strict=True) if n != 1),
        key=lambda row: (-abs(row[2]), -abs(row[1])),
    )
    joined: list[tuple[int, int, int]] = []
    for n, s, t in rows:
        if joined and joined[-1][1] == n * s and joined[-1][2] == n * t:
            joined[-1] = (joined[-1][0] * n, s, t)
        else:
            joined.append((n, s, t))
    joined = [(1, 0, 0)] * (2 - len(joined)) + joined
    nearest = min(joined, key=lambda row: (abs(row[1]) or math.inf, row[2]))
    if nearest is not joined[-1]:
        joined.remove(nearest)
        joined.insert(-1, nearest)
    sizes, sources, targets = (tuple(row[i] for row in joined) for i in range(3))
    contiguous = int(sources[-1] == 1 and targets[-1] == 1)
    tiles = ceiling(sizes[-1], copy_block_columns(sizes[-1], contiguous))
    tiles *= ceiling(sizes[-2], copy_block_rows(sizes[-1], contiguous))
    return sizes, sources, targets, tiles * math.prod(sizes[:-2])


# convolution.py

CONVOLUTION_DEPTH = 256
"""Positions that ``convolution.weight`` takes at a time, and k that ``convolution.correlate`` does."""
PANEL_BYTES = 1 << 17
"""Room for a panel, whose rows are four vectors long at most."""
_CONVOLUTION_FLOPS = 1 << 21
"""About how many operations a tile of ``convolution.correlate`` takes."""
_CONVOLUTION_ROWS = 256
"""Rows of the weights' gradient in a tile of ``convolution.weight``."""
_CONVOLUTION_TILES = 8


def positions_in_tile(inner: int, results: int, size: int) -> int:
    """Positions in a tile of ``convolution.correlate``, for numbers of ``size`` bytes."""
    panel = 512 // size
    return panel * max(1, _CONVOLUTION_FLOPS // (2 * panel * max(1, inner) * max(4, results)))


def rows_of_panel(results: int) -> int:
    """How many k there is room for in a panel, which is wider if there are few results."""
    return PANEL_BYTES // (256 if results <= 4 else 128)


def cut_of_weight(inner: int, positions: int) -> tuple[int, int, int]:
    """Rows in a tile of ``convolution.weight``, positions in a chunk, and chunks.

    Positions are cut up only where rows alone make few tiles, as each chunk has its own sums.
    """
    rows = min(inner, _CONVOLUTION_ROWS)
    wanted = ceiling(_CONVOLUTION_TILES, ceiling(inner, rows))
    depth = CONVOLUTION_DEPTH * ceiling(ceiling(positions, wanted), CONVOLUTION_DEPTH)
    return rows, depth, ceiling(positions, depth)


# pooling.py

_POOL_TILE = 16384
"""About how many pixels a tile of a pooling kernel looks at."""


def planes_of_pool(work: int) -> int:
    """Planes in a tile, given how many pixels are looked at in one."""
    return max(1, _POOL_TILE // max(1, work))


def tiles_of_pool(planes: int, work: int) -> int:
    """Tiles of ``pooling.max_forward`` and ``pooling.max_backward``."""
    return ceiling(planes, planes_of_pool(work))
