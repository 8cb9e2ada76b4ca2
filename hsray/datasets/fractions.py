"""Which training images a fraction stands for."""

from __future__ import annotations

import math

import numpy as np

from hsray.datasets.store import CubeStore
from hsray.errors import RequestError

OFFICIAL = "official:"
OFFICIAL_SEED = 42  # HS3-Bench draws its random subset under this seed, whatever the seed of the run
CANDIDATES = 32


def training_subset(store: CubeStore, fraction: float | str, seed: int) -> list[int]:
    """Return indices into `store.images("train")`.

    A number in (0, 1] takes that share of the images, stratified by class presence and nested: under one seed a
    smaller fraction is contained in a larger one. `"official:10"` is the random subset of 10 % of the transfer study
    (arXiv 2604.26478), the same for every seed.

    Raises:
        RequestError: the fraction is not one of these, or leaves no image.
    """
    total = len(store.images("train"))
    share = parse_fraction(fraction)
    size = round(share * total)
    if size == 0:
        raise RequestError(
            f"The fraction {fraction} of {total} training images leaves no image",
            where=f"dataset {store.name}",
            do=f"use at least {_smallest(fraction, total)}",
        )
    if isinstance(fraction, str):
        return _official(total, size)
    if size == total:
        return list(range(total))
    presence_NK = store.statistics("train").class_pixels_NK > 0
    scored = [info.id for info in store.classes if info.scored]
    return sorted(stratified_order(presence_NK[:, scored], seed, size))


def parse_fraction(fraction: float | str) -> float:
    """Return the share in (0, 1] that a fraction of an experiment file asks for.

    Raises:
        RequestError: it is neither a number in (0, 1] nor "official:<percent>".
    """
    try:
        if isinstance(fraction, str):
            share = float(fraction.removeprefix(OFFICIAL)) / 100 if fraction.startswith(OFFICIAL) else math.nan
        else:
            share = math.nan if isinstance(fraction, bool) else float(fraction)
    except ValueError:
        share = math.nan
    if not 0 < share <= 1:
        raise RequestError(
            f"{fraction!r} is not a fraction", do='use a number above 0 and up to 1, or "official:<percent>"'
        )
    return share


def stratified_order(presence_NK: np.ndarray, seed: int, size: int) -> list[int]:
    """Order images so that every class stands in each prefix about as often as in the whole; return the first `size`.

    Greedy: of a random quarter of the images left (at most 32), take the one that brings the class counts nearest to
    their shares, errors weighted by one over the class's frequency. The quarter keeps seeds apart.
    """
    presence_NK = np.asarray(presence_NK, dtype=np.float64)
    total = len(presence_NK)
    frequency_K = presence_NK.sum(axis=0)
    presence_NK = presence_NK[:, frequency_K > 0]
    share_K = presence_NK.sum(axis=0) / total
    generator = np.random.default_rng(seed)
    left = generator.permutation(total)
    taken_K = np.zeros(len(share_K))
    order: list[int] = []
    for count in range(1, size + 1):
        # `left` is in random order and stays so: its head is a random draw.
        pool = min(CANDIDATES, max(1, math.ceil(len(left) / 4)))
        picks = generator.choice(len(left), size=pool, replace=False)
        error_PK = taken_K + presence_NK[left[picks]] - count * share_K
        best = picks[np.argmin((error_PK**2 / share_K).sum(axis=1))]
        order.append(int(left[best]))
        taken_K += presence_NK[left[best]]
        left[best] = left[-1]
        left = left[:-1]
    return order


def _official(total: int, size: int) -> list[int]:
    import torch  # here, so that preparing and inspecting data need not wait for it

    generator = torch.Generator().manual_seed(OFFICIAL_SEED)
    images: torch.utils.data.Dataset = torch.utils.data.TensorDataset(torch.arange(total))
    return list(torch.utils.data.random_split(images, [size, total - size], generator=generator)[0].indices)


def _smallest(fraction: float | str, total: int) -> str:
    # round() takes a half to the even number, which is 0 here; so the least share is a little more than half an image.
    percent = math.floor(50 / total * 1000 + 1) / 1000
    return f"{OFFICIAL}{percent:g}" if isinstance(fraction, str) else f"{percent / 100:g}"
