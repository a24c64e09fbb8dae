"""The bandit task: what arms pay, players known from the literature, and the best that there can be."""

import itertools

import numpy as np
import pytest
from data_errors import message

from tinyattn import tasks
from tinyattn.sections import Curves, Heat
from tinyattn.tasks.task import Answers


def test_arms_pay_with_their_chances_and_trials_do_not_change():
    task = tasks.get("bandit")
    assert task.sizes() == {"choices": 5, "length": 10} and task.count("test") == 20_000
    pays, luck = task.held("test")
    assert pays.shape == (20_000, 10, 5) and np.array_equal(pays, task.held("test")[0])
    assert (
        abs(pays.mean() - 0.5) < 0.005
        and abs(luck.mean() - 0.5) < 0.005
        and 0 <= luck.min()
        and luck.max() < 1
    )
    share = pays.mean(axis=1)  # p ~ U(0, 1): its variance is 1/12, and that of ten draws of it more
    assert abs(share.var() - (1 / 12 + (1 / 6) / 10)) < 0.003
    one = task.read("0 1 0 1 0.5")
    assert not one.pays[0, :, [0, 2]].any() and one.pays[0, :, [1, 3]].all()
    assert not np.array_equal(task.held("validation")[0][:100], pays[:100])


def test_known_players_get_what_the_literature_says():
    """Mishra et al. 2018, table 3: by chance 5.0, Gittins' indices 6.6. Thompson sampling: our own, of other trials."""
    task = tasks.get("bandit")
    found = {key: paid.sum(axis=1).mean() for key, paid in task.players(task.held("test")[0]).items()}
    assert abs(found["chance"] - 5.0) < 0.05 and abs(found["thompson"] - 5.81) < 0.05
    assert found["thompson"] < found["greedy"] < task.best + 0.05 and 6.6 < task.best < 6.7


@pytest.mark.parametrize(("arms", "pulls"), [(1, 3), (2, 1), (2, 3), (3, 2)])
def test_the_best_reward_is_that_of_the_best_of_all_strategies(arms, pulls):
    """All of them written down: an arm for every history of arms and pays."""
    histories = [h for t in range(pulls) for h in itertools.product((0, 1), repeat=t)]
    best = 0.0
    for plan in itertools.product(range(arms), repeat=len(histories)):
        choose, total = dict(zip(histories, plan, strict=True)), 0.0
        for pays in itertools.product((0, 1), repeat=pulls):
            wins, tries, chance = [0] * arms, [0] * arms, 1.0
            for t, pay in enumerate(pays):
                arm = choose[pays[:t]]
                p = (1 + wins[arm]) / (2 + tries[arm])
                chance *= p if pay else 1 - p
                wins[arm], tries[arm] = wins[arm] + pay, tries[arm] + 1
            total += chance * sum(pays)
        best = max(best, total)
    assert abs(tasks.get("bandit", arms=arms, pulls=pulls).best - best) < 1e-12


def test_judgement_and_what_people_see():
    task = tasks.get("bandit")
    pays = task.held("test")[0]
    said = Answers([np.full(10, k % 5) for k in range(20_000)], {"attention 1": [np.eye(10)] * 20_000})
    scores = task.score(said, "test")
    right = np.mean([pays[k, :, k % 5].sum() for k in range(20_000)])
    assert scores.figures["reward"] == right and {*scores.figures} == {figure.key for figure in task.figures}
    curves, heat = task.sections({"model": (said, scores)}, "test")
    assert isinstance(curves, Curves) and [line.name for line in curves.lines][0] == "model"
    assert abs(sum(curves.lines[0].y) - right) < 1e-9
    assert isinstance(heat, Heat) and heat.maps[0].rows[0] == f"1: 1{'+' if pays[0, 0, 0] else '−'}"
    shown = task.show(task.read("0 1 0 1 0"), Answers([np.array([0, 1, 2, 3, 4, 1, 1, 1, 1, 1])]), 0)
    assert shown["output"] == "1− 2+ 3− 4+ 5− 2+ 2+ 2+ 2+ 2+" and shown["reward"] == 7


def test_what_does_not_fit():
    task = tasks.get("bandit")
    for text in ("0.5", "0 0 0 0 2", "a b c d e", "nan 0 0 0 0"):
        assert "must be 5 chances from 0 to 1, one for each arm, but got" in message(
            lambda t=text: task.read(t)
        )
    assert "there must be 4000 answers" in message(lambda: task.score(Answers([]), "validation"))
    assert "arms must be a positive integer" in message(lambda: tasks.get("bandit", arms=0))
    assert tasks.get("bandit", pulls=100).best is None
    assert "best" not in [
        *tasks.get("bandit", pulls=100, arms=9).score(Answers([[0] * 100] * 4000), "validation").figures
    ]
