"""A table of labelled spectra, split by groups."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hsray.datasets.blocks import lacking_classes
from hsray.datasets.broken import open_npz, reading
from hsray.datasets.classes import legend, to_ids
from hsray.datasets.own.description import Table
from hsray.datasets.own.meaning import named_classes, wavelengths_nm
from hsray.datasets.own.text import read_csv
from hsray.datasets.source import Source
from hsray.datasets.store import SPLITS
from hsray.errors import RequestError


@dataclass(frozen=True)
class Rows:
    """What a table holds: a spectrum, a raw label and a group for each of R rows."""

    spectra_RL: np.ndarray
    labels_R: np.ndarray
    groups_R: np.ndarray
    wavelengths_nm: tuple[float, ...] | None


def table_source(description: Table, folder: Path) -> Source:
    """Return the source of a table: the rows of a group are one image of shape (rows, 1, L).

    Raises:
        RequestError: the table is missing or broken, lacks a key or column, or does not agree with the description.
    """
    path = folder / description.table
    if not path.is_file():
        raise RequestError("The table is missing", where=str(path))
    rows = _read_npz(path, description) if path.suffix == ".npz" else _read_csv(path, description)
    described = description
    if rows.wavelengths_nm is not None and isinstance(description.wavelengths, str):
        described = description.model_copy(update={"wavelengths": None})
    bands = rows.spectra_RL.shape[1]
    wavelengths = wavelengths_nm(described, folder, bands, rows.wavelengths_nm)
    if len(wavelengths) != bands:
        raise RequestError(
            f"The wavelengths do not match the bands: {len(wavelengths)} wavelengths, {bands} bands",
            where=str(path),
            do="give one wavelength in nm for each band",
        )
    named = named_classes(description, rows.labels_R)
    to_ids(rows.labels_R, dict.fromkeys([*named, *description.ignore], 0), str(path))
    raw_ids = sorted(named)
    groups, group_R = np.unique(rows.groups_R, return_inverse=True)
    counts_GK = np.zeros((len(groups), len(raw_ids)), dtype=np.int64)
    known = np.isin(rows.labels_R, raw_ids)
    np.add.at(counts_GK, (group_R[known], np.searchsorted(raw_ids, rows.labels_R[known])), 1)
    shares_S = np.array([description.splits.shares[split] for split in SPLITS])
    split_G = assign_groups(counts_GK, shares_S, description.splits.seed)
    pixels_SK = np.stack([counts_GK[split_G == split].sum(axis=0) for split in range(len(SPLITS))])
    made = legend(named, description.ignore, lacking_classes(pixels_SK, raw_ids, 1))
    if len(made.classes) < 3:
        raise RequestError("Fewer than two classes stand in every split", where=str(path))
    ids_R = to_ids(rows.labels_R, made.mapping, str(path))
    kept = sorted(set(group_R[ids_R != made.ignore_id].tolist()))
    width = len(str(len(groups)))
    names = {index: str(groups[index]) if description.group else f"row-{groups[index]:0{width}d}" for index in kept}
    order = np.argsort(group_R, kind="stable")
    bounds = np.searchsorted(group_R[order], np.arange(len(groups) + 1))
    members = {names[g]: order[bounds[g] : bounds[g + 1]] for g in kept}

    def read(split: str, image: str) -> tuple[np.ndarray, np.ndarray]:
        return rows.spectra_RL[members[image], None, :], ids_R[members[image], None]

    return Source(
        name=description.name,
        classes=made.classes,
        ignore_id=made.ignore_id,
        wavelengths_nm=wavelengths,
        splits={split: sorted(names[g] for g in kept if split_G[g] == index) for index, split in enumerate(SPLITS)},
        origin=description.model_dump(mode="json"),
        read=read,
        left_out=made.left_out,
        nodata=description.nodata,
        one_pixel_images=description.group is None,
    )


def assign_groups(counts_GK: np.ndarray, shares_S: np.ndarray, seed: int) -> np.ndarray:
    """Return the split of every group, class shares as near to the ratios as a greedy pass brings them.

    Groups with the rarest class come first, in a random order among equals. Each goes to a split that still lacks
    its rarest class, if there is one; among those to the split whose shares of the classes it fills best (chi-square).
    """
    total_K = counts_GK.sum(axis=0)
    rarity_G = np.array([total_K[row > 0].min() if row.any() else np.iinfo(np.int64).max for row in counts_GK])
    order = np.random.default_rng(seed).permutation(len(counts_GK))
    target_SK = shares_S[:, None] * total_K
    have_SK = np.zeros(target_SK.shape)
    split_G = np.zeros(len(counts_GK), dtype=np.int64)
    for group in order[np.argsort(rarity_G[order], kind="stable")]:
        row_K = counts_GK[group]
        cost_S = ((2 * (have_SK - target_SK) + row_K) * row_K / target_SK.clip(1e-9)).sum(axis=1)
        if row_K.any():
            rarest = np.flatnonzero(row_K > 0)[np.argmin(total_K[row_K > 0])]
            lacking_S = have_SK[:, rarest] == 0
            if lacking_S.any():
                cost_S = np.where(lacking_S, cost_S, np.inf)
        split_G[group] = int(np.argmin(cost_S))
        have_SK[split_G[group]] += row_K
    return split_G


def _read_npz(path: Path, description: Table) -> Rows:
    key = description.spectra or "spectra"
    wavelengths_key = description.wavelengths if isinstance(description.wavelengths, str) else None
    with reading(path), open_npz(path) as file:
        wanted = [key, description.labels, *([description.group] if description.group else [])]
        if lacking := [name for name in wanted if name not in file]:
            raise _lacking(path, lacking, list(file))
        spectra_RL, labels_R = file[key], file[description.labels]
        groups_R = file[description.group] if description.group else np.arange(len(labels_R))
        centres = file.get(wavelengths_key) if wavelengths_key else None
    if spectra_RL.ndim != 2 or labels_R.shape != spectra_RL.shape[:1] or groups_R.shape != labels_R.shape:
        raise RequestError(
            f"The table's parts are of different sizes: spectra {spectra_RL.shape}, labels {labels_R.shape}, "
            f"groups {groups_R.shape}",
            where=str(path),
            do="give spectra as (rows, bands) and one label, and one group if any, for each row",
        )
    return Rows(spectra_RL, labels_R, groups_R, None if centres is None else tuple(centres.astype(float).tolist()))


def _read_csv(path: Path, description: Table) -> Rows:
    header, *lines = read_csv(path) or [[]]
    wanted = [description.labels, *([description.group] if description.group else [])]
    if lacking := [name for name in wanted if name not in header]:
        raise _lacking(path, lacking, header)
    bands = [index for index, name in enumerate(header) if name not in wanted and _is_number(name)]
    spectra, labels, groups = [], [], []
    for number, line in enumerate(lines, 2):
        try:
            spectra.append([float(line[index]) if line[index] else np.nan for index in bands])
            labels.append(int(line[header.index(description.labels)]))
            groups.append(line[header.index(description.group)] if description.group else "")
        except (ValueError, IndexError) as error:
            raise RequestError(f"Line {number} cannot be read ({error})", where=str(path)) from error
    if not spectra or not bands:
        raise RequestError(
            "This table holds no spectra", where=str(path), do="name each band's column by its wavelength in nm"
        )
    groups_R = np.array(groups) if description.group else np.arange(len(labels))
    centres = tuple(float(header[index]) for index in bands)
    return Rows(np.array(spectra, dtype=np.float32), np.array(labels), groups_R, centres)


def _is_number(name: str) -> bool:
    return name.strip().replace(".", "", 1).isdigit()


def _lacking(path: Path, lacking: list[str], found: list[str]) -> RequestError:
    return RequestError(
        f"This table lacks {', '.join(map(repr, lacking))}; it has {', '.join(map(repr, found))}", where=str(path)
    )
