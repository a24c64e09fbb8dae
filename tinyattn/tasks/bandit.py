"""bandit: K arms, each of which pays with a chance of its own that nobody knows, and N pulls to make the most of them.

    p_k ~ U(0, 1)   for each trial;     pulling arm k at step t pays r_t = 1 with probability p_k, else 0

(Duan et al. 2016, section 3.1; Mishra et al. 2018, section 5.2.) Whoever gets more than N / 2 has found something out
while pulling. What each arm would pay at each step is drawn beforehand, so that a trial is data
like any other, and different players can be compared on the same luck.

Beside a model's reward stand those of four players on the same trials: by chance; Thompson sampling (an arm as often as
it is believed to be the best: Thompson 1933); the arm of the greatest posterior mean, (1 + wins) / (2 + pulls); and,
where it can be computed, the mean reward of the best player there can be, by dynamic programming over all that a player
can know (Gittins' indices are the best for a discounted reward without end, and nearly so here).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import numpy as np

from tinyattn.errors import DataError
from tinyattn.sections import Curves, Figure, Line, Section
from tinyattn.tasks.few_shot import looks, uniform
from tinyattn.tasks.parts.batching import Batcher, OrderedBatches, RandomBatches
from tinyattn.tasks.parts.checks import check_positive
from tinyattn.tasks.parts.randomness import Stream
from tinyattn.tasks.task import SPLITS, Answers, Scores, Task

TRIALS = dict(zip(SPLITS, (100_000, 4_000, 20_000), strict=True))
"""How many a split has; of training, an epoch, whose trials are drawn anew."""
STATES = 300_000
"""Of what a player can know, at most, to compute the best reward."""
SHOWN = 2


@dataclass(frozen=True)
class BanditBatch:
    """B trials of N pulls."""

    pays: np.ndarray  # (B, N, K) float32: what each arm would pay at each pull, 0 or 1
    draw: np.ndarray  # (B, N) float32 from 0 to 1: the luck of a player who chooses by chance
    index: np.ndarray  # (B,) int64
    valid: np.ndarray  # (B,) bool

    @property
    def weight(self) -> int:
        """How many trials count."""
        return int(self.valid.sum())


class Bandit(Task):
    """The task. arms, pulls: of a trial."""

    name = "bandit"
    unit = "trial"
    families = ("bandit",)
    figures = (
        Figure("reward", "reward of a trial", "{:.3f}"),
        Figure("best", "that of the best player, expected", "{:.3f}"),
        Figure("greedy", "that of the greatest posterior mean", "{:.3f}"),
        Figure("thompson", "that of Thompson sampling", "{:.3f}"),
        Figure("chance", "that of chance", "{:.3f}"),
    )
    title = "arms that pay with unknown chances, and a few pulls to make the most of them"

    def __init__(self, arms: int = 5, pulls: int = 10):
        self.arms, self.pulls = (
            check_positive(self.name, name, value) for name, value in (("arms", arms), ("pulls", pulls))
        )
        self.title = f"{arms} arms that pay with unknown chances, and {pulls} pulls to make the most of them"

    def sizes(self) -> dict[str, int]:
        """choices: the arms; length: the pulls."""
        return {"choices": self.arms, "length": self.pulls}

    def count(self, split: str) -> int:
        return TRIALS[self.check_split(split)]

    # Trials.

    def trials(self, chances: np.ndarray, stream: Stream) -> tuple[np.ndarray, np.ndarray]:
        """What arms of these chances (n, K) pay at each pull (n, N, K) bool, and the luck of players (n, N) float32."""
        count = len(chances)
        pays = uniform(stream, 0, 1, count, self.pulls, self.arms) < chances[:, None]
        return pays, uniform(stream, 0, 1, count, self.pulls).astype(np.float32)

    def held(self, split: str) -> tuple[np.ndarray, np.ndarray]:
        """The trials of a split, always the same ones."""
        stream = Stream(f"bandit {self.check_split(split)}", 0)
        return self.trials(uniform(stream, 0, 1, self.count(split), self.arms), stream)

    def batches(self, split: str, batch_size: int, seed: int | None = None) -> Any:
        """With a seed trials that are drawn anew for each batch; else those of the split."""
        count = self.count(split)
        if seed is not None:
            size = check_positive("batches", "batch_size", batch_size)

            def new(stream: Stream) -> BanditBatch:
                pays, draw = self.trials(uniform(stream, 0, 1, size, self.arms), stream)
                return BanditBatch(pays.astype(np.float32), draw, np.arange(size), np.ones(size, bool))

            return RandomBatches(new, seed, count, size, max(1, count // size))
        pays, draw = self.held(split)

        def make(rows: np.ndarray, valid: np.ndarray) -> BanditBatch:
            return BanditBatch(pays[rows].astype(np.float32), draw[rows], rows, valid)

        return OrderedBatches(Batcher(count, batch_size, make))

    def probe(self) -> BanditBatch:
        return next(iter(self.batches("test", 2)))

    # How good players are.

    @cached_property
    def best(self) -> float | None:
        """The mean reward of the best player there can be; None where there are too many states."""
        many = math.comb(self.pulls - 1 + 2 * self.arms, 2 * self.arms) > STATES
        return None if many else _best((), self.arms, self.pulls)

    def players(self, pays: np.ndarray) -> dict[str, np.ndarray]:
        """By the key of its figure, what each player is paid at each pull of these trials (n, N)."""
        generator = np.random.Generator(
            np.random.Philox(0)
        )  # (its bits may change with NumPy: a bystander's luck)
        return {
            "greedy": _played(pays, lambda wins, losses: (1 + wins) / (2 + wins + losses)),
            "thompson": _played(pays, lambda wins, losses: generator.beta(1 + wins, 1 + losses)),
            "chance": _played(pays, lambda wins, losses: generator.random(wins.shape)),
        }

    def paid(self, answers: Answers, pays: np.ndarray) -> np.ndarray:
        """What the pulls of the answers bring (n, N)."""
        arms = np.asarray(answers.outputs).reshape(len(pays), self.pulls, 1)
        return np.take_along_axis(pays, arms, axis=2)[:, :, 0]

    def score(self, answers: Answers, split: str) -> Scores:
        """The reward of the arms that were pulled, (N,) of each trial. Raises DataError when there are not as many."""
        pays = self.held(split)[0]
        if len(answers.outputs) != len(pays):
            expected = f"there must be {len(pays)} answers, one for each trial of {split}"
            raise DataError(f"[{self.name}] {expected}, but got {len(answers.outputs)}.")
        figures = {"reward": float(self.paid(answers, pays).sum(axis=1).mean())}
        if self.best is not None:
            figures["best"] = self.best
        return Scores(figures | {key: float(r.sum(axis=1).mean()) for key, r in self.players(pays).items()})

    # For people.

    def read(self, text: str) -> BanditBatch:
        """A trial with these chances, one for each arm, such as 0.1 0.9 0.5. Raises DataError."""
        try:
            chances = np.array([float(word) for word in text.split()])
            fit = len(chances) == self.arms and ((chances >= 0) & (chances <= 1)).all()
        except ValueError:
            fit = False
        if not fit:
            must = f"the text must be {self.arms} chances from 0 to 1, one for each arm"
            raise DataError(f"[{self.name}] {must}, but got {text!r}.")
        pays, draw = self.trials(chances[None], Stream("bandit read", 0))
        return BanditBatch(pays.astype(np.float32), draw, np.zeros(1, np.int64), np.ones(1, bool))

    def show(self, batch: BanditBatch, answers: Answers, row: int) -> dict[str, Any]:
        """The arms that were pulled, from 1 on, each with + where it paid and − where it didn't."""
        paid = self.paid(Answers([answers.outputs[row]]), batch.pays[row : row + 1])[0]
        return {
            "input": f"trial {batch.index[row]}",
            "output": " ".join(_told(answers.outputs[row], paid)),
        } | {"reward": float(paid.sum())}

    def suggestions(self, count: int) -> list[str]:
        chances = uniform(Stream("bandit suggestions", 0), 0, 1, count, self.arms)
        return [" ".join(f"{chance:.2f}" for chance in row) for row in chances]

    def sections(self, answers: Mapping[str, tuple[Answers, Scores]], split: str) -> list[Section]:
        """How the pay of a pull grows with what is known, and where the first model looks in the first trials."""
        pays = self.held(split)[0]
        said = next(iter(answers.values()))[0]
        players = {name: self.paid(own, pays) for name, (own, _) in answers.items()} | self.players(pays)
        lines = [
            Line(name, [*range(1, self.pulls + 1)], [*paid.mean(axis=0)], style % 4, style >= len(answers))
            for style, (name, paid) in enumerate(players.items())
        ]
        paid = players[next(iter(answers))]
        labels = [
            [f"{t + 1}: {word}" for t, word in enumerate(_told(said.outputs[k], paid[k]))]
            for k in range(SHOWN)
        ]
        caption = "The mean over all trials; the best arm would pay 0.83 of five." if self.arms == 5 else ""
        pay = Curves("Pay of each pull", lines, "pull", "pay", caption)
        return [pay, *looks(said, labels, "which arm was pulled then, and whether it paid (+) or not (−)")]


def _played(pays: np.ndarray, preference: Any) -> np.ndarray:
    """What a player is paid (n, N) who pulls the arm of greatest preference(wins, losses), each (n, K)."""
    count, pulls, arms = pays.shape
    wins, losses, rows = np.zeros((count, arms)), np.zeros((count, arms)), np.arange(count)
    found = np.zeros((count, pulls))
    for t in range(pulls):
        arm = preference(wins, losses).argmax(axis=1)
        found[:, t] = won = pays[rows, t, arm]
        wins[rows, arm] += won
        losses[rows, arm] += 1 - won
    return found


@cache
def _best(pulled: tuple[tuple[int, int], ...], arms: int, left: int) -> float:
    """The expected reward of the best player who has pulled some of the arms, with (wins, losses) in order, and has so
    many pulls left."""
    if not left:
        return 0.0
    values = []
    for arm in {*pulled, (0, 0)} if len(pulled) < arms else {*pulled}:
        others = list(pulled)
        if arm in others:
            others.remove(arm)
        wins, losses = arm
        chance = (1 + wins) / (2 + wins + losses)
        won, lost = (
            _best(tuple(sorted([*others, after])), arms, left - 1)
            for after in ((wins + 1, losses), (wins, losses + 1))
        )
        values.append(chance * (1 + won) + (1 - chance) * lost)
    return max(values)


def _told(arms: Any, paid: np.ndarray) -> list[str]:
    return [f"{int(arm) + 1}{'+' if won else '−'}" for arm, won in zip(arms, paid, strict=True)]
