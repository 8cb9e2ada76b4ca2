"""A cell's bracket: successive halving as Optuna does it, from the reported scores alone.

Optuna's own pruner notes that a trial has passed a rung before it says whether the trial goes on: a driver killed
between the two would never stop that trial. Here nothing is noted, so the same question has the same answer.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

Scores = Mapping[int, float]  # validation score by step, that is by number of epochs trained


def stops(own: Scores, step: int, others: Iterable[Scores], first: int, factor: int) -> bool:
    """Is a trial, whose last score is that of `step`, stopped there?

    At `first * factor**k` epochs it must be among the best `1/factor` of all that have come so far, itself included;
    until `factor` have come, it must be the best.
    """
    everyone = None
    rung = first
    while rung <= step:
        if _reached(own, rung) == step:
            if math.isnan(own[step]):
                return True
            everyone = [own, *others] if everyone is None else everyone
            arrived = [scores[at] for scores in everyone if (at := _reached(scores, rung)) is not None]
            arrived = sorted((score for score in arrived if not math.isnan(score)), reverse=True)
            if own[step] < arrived[max(len(arrived) // factor, 1) - 1]:
                return True
        rung *= factor
    return False


def _reached(scores: Scores, rung: int) -> int | None:
    """The first step at or after a rung that has a score."""
    return rung if rung in scores else min((step for step in scores if step >= rung), default=None)
