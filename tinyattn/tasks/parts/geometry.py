"""Exact answers to questions about points in the plane, for many sets of n points at once: convex hulls, shortest
round trips, Delaunay triangulations. Points are (k, n, 2) and in general position: no three on a line, no four on a
circle, as random ones are.
"""

from itertools import combinations

import numpy as np

CHUNK = 1 << 22
"""How many numbers of a temporary array are made at a time, about."""


def hulls(points: np.ndarray) -> np.ndarray:
    """The corners of the convex hull, counter-clockwise from the one with the lowest index: (k, n) int64, −1 behind.

    From i to j goes an edge of the hull when all other points lie to its left.
    """
    points = np.asarray(points, np.float64)
    k, n, _ = points.shape
    found = np.full((k, n), -1)
    for rows in _chunks(k, n**3):
        some = points[rows]
        left = (
            _turn(some[:, :, None, None], some[:, None, :, None], some[:, None, None, :]) > 0
        )  # (r, i, j, m)
        ends = np.eye(n, dtype=bool)
        left |= ends[None, :, None, :] | ends[None, None, :, :]
        edge = left.all(axis=3) & ~ends
        following, corner = np.argmax(edge, axis=2), np.any(edge, axis=2)
        first = here = np.argmax(corner, axis=1)
        going = np.any(corner, axis=1)
        for step in range(n):
            found[rows, step] = np.where(going, here, -1)
            here = following[np.arange(len(here)), here]
            going &= here != first
    return found


def tours(points: np.ndarray) -> np.ndarray:
    """The shortest round trip through all points, counter-clockwise from the first: (k, n) int64; n from 3 on.

    By dynamic programming (Held & Karp 1962): the cheapest way from the first point through a set to j, one of
    it, comes from an i of the rest of the set, and was the cheapest way there.
    """
    points = np.asarray(points, np.float64)
    k, n, _ = points.shape
    found = np.zeros((k, n), np.int64)
    for rows in _chunks(k, n << (n - 1)):
        found[rows] = _tours(points[rows])
    clockwise = areas(np.take_along_axis(points, found[:, :, None], axis=1)) < 0
    found[clockwise, 1:] = found[clockwise, :0:-1]
    return found


def _tours(points: np.ndarray) -> np.ndarray:
    k, n, _ = points.shape
    others = n - 1
    way = distances(points).transpose(1, 2, 0)  # (i, j, k)
    cost = np.full((1 << others, others, k), np.inf)
    came = np.zeros((1 << others, others, k), np.int8)
    for city in range(others):
        cost[1 << city, city] = way[0, city + 1]
    for group in range(1, 1 << others):
        members = [j for j in range(others) if group >> j & 1]
        for j in members if len(members) > 1 else ():
            before = [i for i in members if i != j]
            ways = cost[group ^ 1 << j, before] + way[[i + 1 for i in before], j + 1]
            best = ways.argmin(axis=0)
            cost[group, j] = np.take_along_axis(ways, best[None], axis=0)[0]
            came[group, j] = np.array(before)[best]
    every, left = np.arange(k), np.full(k, (1 << others) - 1)
    last = (cost[-1] + way[0, 1:]).argmin(axis=0)
    order = np.zeros((k, n), np.int64)
    for place in range(others, 0, -1):
        order[:, place] = last + 1
        left, last = left ^ (1 << last), came[left, last, every].astype(np.int64)
    return order


def triangulations(points: np.ndarray) -> np.ndarray:
    """The triangles of the Delaunay triangulation, (k, t, 3) int64, −1 behind: each with its corners in ascending
    order, and the triangles in the order of the centres of their inscribed circles, from the left.

    Three points are one of its triangles when no other point lies in the circle through them.
    """
    points = np.asarray(points, np.float64)
    k, n, _ = points.shape
    triples = np.array(list(combinations(range(n), 3)))
    found = np.full((k, max(1, 2 * n - 5), 3), -1)
    for rows in _chunks(k, len(triples) * n * 4):
        some = points[rows]
        corners = some[:, triples]  # (r, t, 3, 2)
        turn = np.sign(_turn(corners[:, :, 0], corners[:, :, 1], corners[:, :, 2]))
        off = corners[:, :, None] - some[:, None, :, None]  # (r, t, n, 3, 2): corners seen from each point
        square = (off**2).sum(axis=-1, keepdims=True)
        inside = np.linalg.det(np.concatenate([off, square], axis=-1)) * turn[:, :, None]
        own = (triples[:, None, :] == np.arange(n)[:, None]).any(axis=-1)  # (t, n)
        empty = ((inside <= 0) | own).all(axis=-1)
        centre = _incentres(corners)
        for row, kept in zip(range(*rows.indices(k)), empty, strict=True):
            chosen = np.flatnonzero(kept)
            middle = centre[row - rows.start, chosen]
            chosen = chosen[np.lexsort((middle[:, 1], middle[:, 0]))]
            found[row, : len(chosen)] = triples[chosen]
    return found


def _incentres(corners: np.ndarray) -> np.ndarray:
    """Of triangles (…, 3, 2): the corners' mean, weighted by the sides that they don't lie on."""
    sides = np.linalg.norm(np.roll(corners, -1, axis=-2) - np.roll(corners, 1, axis=-2), axis=-1)
    return (sides[..., None] * corners).sum(axis=-2) / sides.sum(axis=-1)[..., None]


def distances(points: np.ndarray) -> np.ndarray:
    """From each point to each, (k, n, n)."""
    return np.linalg.norm(points[:, :, None] - points[:, None, :], axis=-1)


def lengths(path: np.ndarray) -> np.ndarray:
    """Of round trips through points (k, n, 2) in their order: (k,)."""
    return np.linalg.norm(path - np.roll(path, -1, axis=1), axis=2).sum(axis=1)


def areas(path: np.ndarray) -> np.ndarray:
    """Of polygons with corners (…, n, 2) in their order, positive counter-clockwise: (…)."""
    x, y = path[..., 0], path[..., 1]
    return 0.5 * (x * np.roll(y, -1, axis=-1) - np.roll(x, -1, axis=-1) * y).sum(axis=-1)


def is_simple(path: np.ndarray) -> bool:
    """Whether a polygon with corners (n, 2) has at least three, and no two of its sides meet but at their common
    corner."""
    n = len(path)
    if n < 3 or len({point.tobytes() for point in path}) < n:
        return False
    for i, j in combinations(range(n), 2):
        if j - i not in (1, n - 1):
            a, b, c, d = path[i], path[(i + 1) % n], path[j], path[(j + 1) % n]
            if _turn(a, b, c) * _turn(a, b, d) <= 0 and _turn(c, d, a) * _turn(c, d, b) <= 0:
                return False
    return True


def _turn(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
    """Twice the area of the triangle a b c (…, 2): positive where c lies to the left of the way from a to b."""
    return (b[..., 0] - a[..., 0]) * (c[..., 1] - a[..., 1]) - (b[..., 1] - a[..., 1]) * (
        c[..., 0] - a[..., 0]
    )


def _chunks(count: int, each: int) -> list[slice]:
    """Slices of `count` rows that need `each` numbers in between."""
    size = max(1, CHUNK // each)
    return [slice(start, min(start + size, count)) for start in range(0, count, size)]
