"""Scores of seeds and confusion matrices of images out of a known population."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from hypothesis import settings

from hsray.leaderboard import statistics
from hsray.leaderboard.statistics.seeds import Statistic

Generator = np.random.Generator
QUICK = settings(max_examples=25, deadline=None)
GENERATORS: dict[str, Callable[[Generator, tuple[int, ...]], np.ndarray]] = {
    "normal": lambda random, size: random.standard_normal(size),
    "skewed": lambda random, size: random.gamma(4, size=size) - 4,  # skewness 1
}


def covered_by_seeds(seeds: int, statistic: Statistic, scores: str, simulations: int) -> int:
    """In how many simulations the interval holds what the statistic is on average."""
    random = np.random.default_rng(seeds)
    cut = seeds // 4 if statistic == "iqm" else 0
    many = np.sort(GENERATORS[scores](random, (100_000, seeds)), axis=1)
    true = many[:, cut : seeds - cut].mean() if cut else 0.0
    inside = 0
    for simulation, values in enumerate(GENERATORS[scores](random, (simulations, seeds))):
        found = statistics.seed_interval(values, statistic, seed=8 * simulation // simulations)
        assert found is not None
        inside += found.low <= true <= found.high
    return inside


@dataclass(frozen=True)
class Cell:
    """A model of a segmentation cell: images hold some of the classes, and are harder or easier (logits).

    ``rare``: class k is held by fewer and fewer images, down to one in seven of 19 classes. ``of_seed`` is the spread
    of the seeds, ``of_image`` that of a strategy's suiting an image, ``of_both`` that of a seed's suiting an image.
    """

    classes: int
    rare: bool = True
    of_seed: float = 0.1
    of_image: float = 0.0
    of_both: float = 0.3
    pixels: int = 4000

    def __str__(self) -> str:
        return f"{self.classes} classes{' of falling frequency' if self.rare else ''}"

    def draw(self, random: Generator, seeds: int, images: int) -> np.ndarray:
        """(S, N, K, K) of one strategy."""
        return self._of(random, seeds, *self._images(random, images))

    def draw_pair(self, random: Generator, seeds: int, images: int) -> tuple[np.ndarray, np.ndarray]:
        """Two strategies on the same images, alike in distribution, without any difference between seeds."""
        true_NK, ease_N = self._images(random, images)
        one, other = (
            self._of(random, seeds, true_NK, ease_N + random.normal(0, self.of_image, images), of_seed=0.0)
            for _ in range(2)
        )
        return one, other

    def _images(self, random: Generator, images: int) -> tuple[np.ndarray, np.ndarray]:
        weights = 1 / np.arange(1, self.classes + 1) if self.rare else np.full(self.classes, 2.0)
        true_NK = random.multinomial(self.pixels, random.dirichlet(weights, size=images))
        return np.where(true_NK < self.pixels / 100, 0, true_NK), random.normal(1.2, 0.8, images)

    def _of(
        self, random: Generator, seeds: int, true_NK: np.ndarray, ease_N: np.ndarray, of_seed: float | None = None
    ) -> np.ndarray:
        mistaken_KK = np.random.default_rng(self.classes).dirichlet(np.full(self.classes, 0.5), size=self.classes)
        spread = self.of_seed if of_seed is None else of_seed
        logits_SN = ease_N + random.normal(0, spread, (seeds, 1)) + random.normal(0, self.of_both, (seeds, len(ease_N)))
        right_SN = 1 / (1 + np.exp(-logits_SN))
        found = np.zeros((seeds, *true_NK.shape, self.classes))
        for k, share in enumerate(np.linspace(1, 0.7, self.classes)):
            chances = mistaken_KK[k] * (1 - share * right_SN[..., None])
            chances[..., k] += share * right_SN
            found[:, :, k] = random.multinomial(true_NK[:, k], chances / chances.sum(axis=-1, keepdims=True))
        return found
