"""tsp: the shortest round trip through all cities in the unit square.

    1 4 2 5 3       from the first city, counter-clockwise

Trips of training are the shortest, found by dynamic programming. Of each of `train_examples` problems of a size
training makes many more: the cities in another order, the map turned and mirrored.
"""

from functools import cached_property

import numpy as np

from tinyattn.sections import Figure
from tinyattn.tasks.parts import geometry
from tinyattn.tasks.parts.checks import check_positive
from tinyattn.tasks.parts.randomness import Stream
from tinyattn.tasks.pointing import NOTHING, Pointing, Problems


class TSP(Pointing):
    """The task: 5 to 10 cities in training."""

    name = "tsp"
    title = "the shortest round trip through 5 to 10 cities"
    unit = "city"
    permutation = True
    tested = (5, 10)
    measures = (
        Figure("length", "length of the trip", "{:.3f}", "lower"),
        Figure("longer", "longer than the shortest", "{:.2%}", "lower"),
        Figure("valid", "trips through each city once"),
    )

    def __init__(self, seed: int = 0, smallest: int = 5, largest: int = 10, train_examples: int = 10_000):
        self.train_examples = check_positive(self.name, "train_examples", train_examples)
        super().__init__(seed, smallest, largest)

    def solve(self, points: np.ndarray) -> np.ndarray:
        return geometry.tours(points)

    def measure(self, points: np.ndarray, said: list[int], right: list[int]) -> dict[str, float]:
        """What is no trip counts as one through the cities in the order in which they are given."""
        cities = list(range(len(points)))
        valid = sorted(said) == cities
        length, shortest = (
            float(geometry.lengths(points[None, trip])[0]) for trip in (said if valid else cities, right)
        )
        return {"length": length, "longer": length / shortest - 1, "valid": float(valid)}

    def arrows(self, answer: list[int]) -> list[tuple[int, int]]:
        """And back to where it began."""
        return super().arrows(answer + answer[:1])

    @cached_property
    def known(self) -> dict[int, Problems]:
        """Solved problems of each size."""
        stream = Stream("tsp train", self.seed)
        sizes = range(self.smallest, self.largest + 1)
        return {size: self.solved(self.draw(self.train_examples, size, stream), size) for size in sizes}

    def fresh(self, count: int, stream: Stream) -> Problems:
        """Some of the known ones, each in one of the forms that are as good: cities in another order, coordinates
        exchanged and mirrored. A trip is said from the city that is the first now, counter-clockwise again.
        """
        sizes = self.smallest + stream.integers(self.largest - self.smallest + 1, count)
        points = np.zeros((count, self.largest, 2), np.float32)
        answers = np.full((count, self.largest), NOTHING, np.int32)
        for size in np.unique(sizes):
            rows = np.flatnonzero(sizes == size)
            kept = self.known[int(size)]
            chosen = stream.integers(self.train_examples, len(rows))
            order = stream.permutations(len(rows), int(size)).astype(np.int64)
            ways = stream.integers(2, len(rows), 3)
            spots = np.take_along_axis(kept.points[chosen], order[:, :, None], axis=1)
            mirrored = ways[:, None, :2]
            spots = np.where(mirrored == 1, 1 - spots, spots)
            spots = np.where(ways[:, None, 2:] == 1, spots[:, :, ::-1], spots)
            places = np.argsort(order, axis=1)  # where each city has gone
            trip = np.take_along_axis(places, kept.answers[chosen].astype(np.int64), axis=1)
            turned = (ways.sum(axis=1) % 2 == 1)[:, None]
            trip = np.where(turned, trip[:, ::-1], trip)
            start = (trip == 0).argmax(axis=1)
            trip = np.take_along_axis(trip, (start[:, None] + np.arange(size)) % size, axis=1)
            points[rows, :size], answers[rows, :size] = spots, trip
        return Problems(points, sizes, answers)
