"""From the cube store to batches. Everything random is drawn from (seed, epoch, sample), so that the same batches
come out whatever the number of loader processes or of workers that share them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from hsray.datasets.store import CubeStore


@dataclass(frozen=True)
class Reader:
    """Raw channels of a dataset: those of one store, or features with the bands beside them, stacked in order."""

    sources: tuple[tuple[CubeStore, tuple[int, ...] | None], ...]

    @property
    def store(self) -> CubeStore:
        return self.sources[0][0]

    def block_HWC(self, split: str, image: str, rows: slice, columns: slice) -> np.ndarray:
        """A rectangle of one image, float32; only its own part of the file is read."""
        parts = []
        for store, channels in self.sources:
            part = store.cube_HWC(split, image)[rows, columns]
            parts.append(np.array(part if channels is None else part[..., list(channels)], dtype=np.float32))
        return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=-1)

    def labels_HW(self, split: str, image: str) -> np.ndarray:
        return self.store.labels_HW(split, image)


def sample_spectra(reader: Reader, subset: Sequence[int], count: int) -> np.ndarray:
    """`count` labelled training spectra (count, C) float32, evenly from these images; the same at every call."""
    random = np.random.default_rng(0)
    names = reader.store.images("train")
    share = -(-count // len(subset))
    found = []
    for index in subset:
        labels_HW = reader.labels_HW("train", names[index])
        places = np.flatnonzero(labels_HW.ravel() != reader.store.ignore_id)
        block_HWC = reader.block_HWC("train", names[index], slice(None), slice(None))
        found.append(
            block_HWC.reshape(-1, block_HWC.shape[-1])[random.choice(places if len(places) else labels_HW.size, share)]
        )
    return np.concatenate(found)[:count]


@dataclass(frozen=True)
class Shard:
    """One worker's part of every global batch."""

    rank: int = 0
    world: int = 1


@dataclass(frozen=True)
class Schedule:
    """How an epoch is cut into updates. `passes` over the data, as many as give `min_updates`: so that little data is
    not trained less than much."""

    count: int
    batch: int
    min_updates: int
    seed: int

    @property
    def updates_a_pass(self) -> int:
        return max(1, -(-self.count // self.batch))

    @property
    def passes(self) -> int:
        return -(-self.min_updates // self.updates_a_pass)

    @property
    def updates(self) -> int:
        return self.updates_a_pass * self.passes

    def pass_numbers(self, epoch: int) -> range:
        """Passes are numbered through all epochs; whatever is random is drawn from that number."""
        return range(epoch * self.passes, (epoch + 1) * self.passes)

    def batches(self, number: int) -> list[np.ndarray]:
        """A seeded order cut into even batches: a last batch of one sample would break batch norm."""
        order = np.random.default_rng((self.seed, number)).permutation(self.count)
        return np.array_split(order, self.updates_a_pass)

    def from_update(self, epoch: int, start: int) -> Iterator[tuple[int, np.ndarray]]:
        """(pass number, samples) of every update of an epoch from `start`."""
        done, skipped = divmod(start, self.updates_a_pass)
        for number in self.pass_numbers(epoch)[done:]:
            for batch in self.batches(number)[skipped:]:
                yield number, batch
            skipped = 0


class CropBatches:
    """Random crops of the training images: x_BCHW float32, labels_BHW int64 (padded with the ignored id)."""

    def __init__(
        self,
        reader: Reader,
        subset: Sequence[int],
        *,
        batch: int,
        crop: int | None,
        crops_per_image: int,
        flip: float,
        seed: int,
        min_updates: int = 1,
        shard: Shard = Shard(),
        loaders: int = 0,
    ) -> None:
        images = reader.store.images("train")
        self._samples = _Crops(reader, [images[i] for i in subset], crop, crops_per_image, flip, seed)
        self._schedule = Schedule(len(self._samples), batch, min_updates, seed)
        self._shard, self._loaders = shard, loaders

    @property
    def updates(self) -> int:
        """Updates an epoch."""
        return self._schedule.updates

    @property
    def samples(self) -> int:
        """Samples an epoch, over all workers."""
        return self._schedule.count * self._schedule.passes

    def epoch(self, epoch: int, start: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        """This worker's part of an epoch's batches, from update `start`; those before it are not read."""
        world, rank = self._shard.world, self._shard.rank
        keys = [
            # A worker without a sample of its own still takes part in the update, with nothing labelled.
            [(number, int(index)) for index in batch[rank::world]] or [(number, -1)]
            for number, batch in self._schedule.from_update(epoch, start)
        ]
        loader = DataLoader(
            self._samples,
            batch_sampler=keys,
            collate_fn=self._samples.collate,
            num_workers=self._loaders,
            generator=torch.Generator(),  # leaves the global random state alone
        )
        yield from loader


class _Crops(Dataset):
    def __init__(self, reader: Reader, images: list[str], crop: int | None, repeats: int, flip: float, seed: int):
        self.reader, self.images, self.crop, self.repeats = reader, images, crop, repeats
        self.flip, self.seed, self.ignore = flip, seed, reader.store.ignore_id

    def __len__(self) -> int:
        return len(self.images) * self.repeats

    def __getitem__(self, key: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
        pass_number, index = key
        image = self.images[index % len(self.images)]
        labels_HW = self.reader.labels_HW("train", image)
        height, width = labels_HW.shape
        draw = np.random.default_rng((self.seed, pass_number, max(index, 0)))
        tall, wide = (min(self.crop or height, height), min(self.crop or width, width))
        top, left = int(draw.integers(height - tall + 1)), int(draw.integers(width - wide + 1))
        rows, columns = slice(top, top + tall), slice(left, left + wide)
        block_HWC = self.reader.block_HWC("train", image, rows, columns)
        labels = np.asarray(labels_HW[rows, columns], dtype=np.int64)
        if index < 0:
            labels = np.full_like(labels, self.ignore)
        if draw.random() < self.flip:
            block_HWC, labels = block_HWC[:, ::-1], labels[:, ::-1]
        return block_HWC, labels

    def collate(self, samples: list[tuple[np.ndarray, np.ndarray]]) -> tuple[Tensor, Tensor]:
        tall = max(labels.shape[0] for _, labels in samples)
        wide = max(labels.shape[1] for _, labels in samples)
        x_BHWC = np.zeros((len(samples), tall, wide, samples[0][0].shape[-1]), dtype=np.float32)
        y_BHW = np.full((len(samples), tall, wide), self.ignore, dtype=np.int64)
        for number, (block, labels) in enumerate(samples):
            x_BHWC[number, : labels.shape[0], : labels.shape[1]] = block
            y_BHW[number, : labels.shape[0], : labels.shape[1]] = labels
        return torch.from_numpy(x_BHWC).permute(0, 3, 1, 2), torch.from_numpy(y_BHW)


class SpectraBatches:
    """Labelled pixels alone ("patch size 1"): x_BC float32, labels_B int64.

    Of each image at most `pixels_per_image` pixels are used an epoch, drawn anew every epoch where there are more.
    """

    def __init__(
        self,
        reader: Reader,
        subset: Sequence[int],
        *,
        batch: int,
        pixels_per_image: int | None,
        seed: int,
        min_updates: int = 1,
        shard: Shard = Shard(),
    ) -> None:
        self._reader, self._seed, self._shard = reader, seed, shard
        names = reader.store.images("train")
        self._images = [names[i] for i in subset]
        self._limit = pixels_per_image
        histogram = reader.store.statistics("train").class_pixels_NK[list(subset)].copy()
        histogram[:, reader.store.ignore_id] = 0
        labelled_N = histogram.sum(axis=1)
        count = int(np.minimum(labelled_N, pixels_per_image or labelled_N.max(initial=0)).sum())
        self._schedule = Schedule(count, batch, min_updates, seed)
        self._whole = pixels_per_image is None or bool((labelled_N <= pixels_per_image).all())
        self._pool: tuple[Tensor, Tensor] | None = None
        self._pool_of = -1

    @property
    def updates(self) -> int:
        """Updates an epoch."""
        return self._schedule.updates

    @property
    def samples(self) -> int:
        """Samples an epoch, over all workers."""
        return self._schedule.count * self._schedule.passes

    def epoch(self, epoch: int, start: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        """This worker's part of an epoch's batches, from update `start`; passes before it are not read."""
        for number, batch in self._schedule.from_update(epoch, start):
            x_NC, y_N = self._pixels(number)
            mine = torch.from_numpy(batch[self._shard.rank :: self._shard.world])
            # Batch norm needs two; what fills up counts nothing.
            filler = torch.zeros(max(0, 2 - len(mine)), dtype=torch.int64)
            ignored = torch.full((len(filler),), self._reader.store.ignore_id)
            yield torch.cat([x_NC[mine], x_NC[filler]]), torch.cat([y_N[mine], ignored])

    def _pixels(self, pass_number: int) -> tuple[Tensor, Tensor]:
        """Those of a pass; where an image's are not all used, they are drawn anew for each."""
        if self._pool is None or (not self._whole and self._pool_of != pass_number):
            self._pool, self._pool_of = self._gather(pass_number), pass_number
        return self._pool

    def _gather(self, pass_number: int) -> tuple[Tensor, Tensor]:
        spectra, labels = [], []
        for number, image in enumerate(self._images):
            labels_HW = self._reader.labels_HW("train", image)
            places = np.flatnonzero(labels_HW.ravel() != self._reader.store.ignore_id)
            if self._limit is not None and len(places) > self._limit:
                draw = np.random.default_rng((self._seed, pass_number, number))
                places = np.sort(draw.choice(places, self._limit, replace=False))
            block_HWC = self._reader.block_HWC("train", image, slice(None), slice(None))
            spectra.append(block_HWC.reshape(-1, block_HWC.shape[-1])[places])
            labels.append(labels_HW.ravel()[places].astype(np.int64))
        return torch.from_numpy(np.concatenate(spectra)), torch.from_numpy(np.concatenate(labels))
