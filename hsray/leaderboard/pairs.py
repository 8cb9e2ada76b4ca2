"""Two cells of a comparison side by side: shared seeds, shared test images, and what the difference amounts to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from hsray.errors import HsrayError, RequestError
from hsray.leaderboard import statistics
from hsray.leaderboard.chosen import seed_of
from hsray.leaderboard.confusions import Confusions
from hsray.leaderboard.paircells import PairCell

FindConfusions = Callable[[str], Confusions | None]
Problem = tuple[str, str]


def pair_row(
    a: PairCell, b: PairCell, metric: str, confusions: FindConfusions | None
) -> tuple[dict[str, Any], list[Problem]]:
    """The row of a against b, scores in percent and differences in points, and what is wrong: (what, how much).

    Everything stands on the seeds that both have. The seed of every draw follows from the two cells and the metric, the
    same whichever of the two comes first.
    """
    seeds = sorted(set(a.run_ids) & set(b.run_ids))
    named = [name for name in ("dataset", "fraction") if getattr(a, name) != getattr(b, name)]
    row: dict[str, Any] = {
        **{name: " / ".join(dict.fromkeys((getattr(a, name), getattr(b, name)))) for name in ("dataset", "fraction")},
        "metric": metric,
        "a": ", ".join([a.variant, *(getattr(a, name) for name in named)]),
        "b": ", ".join([b.variant, *(getattr(b, name) for name in named)]),
        "mark_a": a.mark,
        "mark_b": b.mark,
        "contaminated": a.contaminated or b.contaminated,
        "seeds": len(seeds),
    }
    problems: list[Problem] = []
    if alone := len(set(a.run_ids) ^ set(b.run_ids)):
        problems.append(("seeds that only one side has are left out", str(alone)))
    if not seeds:
        return row, problems
    drawn = seed_of(*sorted((a.name, b.name)), metric)
    scores_a, scores_b = (np.array([one.scores[metric][seed] for seed in seeds]) for one in (a, b))
    difference = statistics.paired_difference(scores_a, scores_b, seed=drawn)
    improvement, improvement_ends = statistics.probability_of_improvement(scores_a, scores_b)
    row |= {
        "mean_a": float(scores_a.mean()),
        "mean_b": float(scores_b.mean()),
        "difference": difference.mean,
        "difference_low": difference.interval.low if difference.interval else None,
        "difference_high": difference.interval.high if difference.interval else None,
        "method": difference.interval.method if difference.interval else None,
        "wins": difference.wins,
        "improvement": 100 * improvement,
        "improvement_low": 100 * improvement_ends.low if improvement_ends else None,
        "improvement_high": 100 * improvement_ends.high if improvement_ends else None,
        "p_seeds": statistics.seed_permutation_test(scores_a, scores_b),
    }
    if confusions is not None:
        matrices = _matrices(a, b, seeds, confusions, problems)
        if matrices is not None:
            confusion_a_SNKK, confusion_b_SNKK, ignore_id = matrices
            row["images"] = confusion_a_SNKK.shape[1]
            row["p_images"] = statistics.image_permutation_test(
                confusion_a_SNKK, confusion_b_SNKK, ignore_id, metric, seed=drawn
            )
    return row, problems


def _matrices(
    a: PairCell, b: PairCell, seeds: Sequence[int], confusions: FindConfusions, problems: list[Problem]
) -> tuple[np.ndarray, np.ndarray, int] | None:
    """Both sides' matrices of the seeds whose test images are the same, the images in one order.

    None where there are none, or where the images are no independent ones.
    """
    kept: list[tuple[Confusions, Confusions]] = []
    missing = different = 0
    for seed in seeds:
        found = [_found(confusions, one.run_ids[seed], problems) for one in (a, b)]
        if found[0] is None or found[1] is None:
            missing += 1
        elif not all(one.same_test_set(kept[0][0] if kept else found[0]) for one in found if one is not None):
            different += 1
        else:
            kept.append((found[0], found[1]))
    if missing:
        problems.append(("no confusion matrices for a test over images", f"{missing} of {len(seeds)} seeds"))
    if different:
        problems.append(("test images or classes that differ allow no test", f"{different} of {len(seeds)} seeds"))
    if not kept:
        return None
    if kept[0][0].of_one_scene:
        blocks = f"{len(kept[0][0].images_N)} blocks"
        problems.append(("no test over images where these are blocks of one scene and depend on each other", blocks))
        return None
    order = kept[0][0].images_N
    stacks = [np.stack([pair[side].of_images(order) for pair in kept]) for side in (0, 1)]
    return stacks[0], stacks[1], kept[0][0].ignore_id


def _found(confusions: FindConfusions, run_id: str, problems: list[Problem]) -> Confusions | None:
    try:
        return confusions(run_id)
    except RequestError:
        raise  # MLflow does not answer: not a matter of this one file
    except HsrayError as error:
        problems.append((error.what, error.where or ""))
        return None
