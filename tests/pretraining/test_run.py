"""Pretraining: it learns, goes on after an interruption to the same result, and refuses what it cannot read."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from hsray.errors import RequestError, TrainingFailed
from hsray.models.hypersl import HyperSL
from hsray.strategies.pretraining import Recipe, load_recipe, pretrain
from hsray.strategies.spectra_sources import Augmentation, Grid, Source, draw_batch, read_source
from hsray.strategies.weights import load_weights

GRID = Grid(bands=(12, 20), range_nm=(400, 1000), shortest_nm=150)
ORIGIN = {"sensor": "made up", "platform": "test", "terms": "none"}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Two sensors: smooth spectra in nm, and the same in µm with bad bands, holes, and bands on another axis."""
    random = np.random.default_rng(0)
    nm = np.linspace(380, 1020, 60)
    peaks = random.uniform(400, 1000, (200, 1))
    spectra = 0.1 + np.exp(-(((nm - peaks) / 120) ** 2))
    np.savez(tmp_path / "one.npz", spectra=spectra.astype(np.float32), nm=nm)
    cube = (spectra.reshape(2, 10, 10, 60) * 1e4).astype(np.int16).transpose(0, 3, 1, 2)
    cube[:, 7] = -32768
    cube[0, 30:33, 2, 3] = -32768
    good = np.ones(60, dtype=int)
    good[7] = 0
    np.savez(tmp_path / "two.npz", x=cube, um=nm / 1000, bbl=good)
    return tmp_path


def sources() -> list[Source]:
    one = Source(name="one", file="one.npz", spectra="spectra", wavelengths="nm", **ORIGIN)
    two = Source(
        name="two",
        file="two.npz",
        spectra="x",
        wavelengths="um",
        unit="um",
        band_axis=1,
        good_bands="bbl",
        nodata=-32768,
        scale=1e-4,
        **ORIGIN,
    )
    return [one, two]


def recipe(**changes: object) -> Recipe:
    values: dict[str, object] = {
        "name": "tiny",
        "sources": [source.model_dump() for source in sources()],
        "encoder": {"width": 16, "depth": 2, "heads": 2},
        "grid": GRID.model_dump(),
        "steps": 24,
        "batch": 16,
        "checkpoint_every": 10,
    }
    return Recipe.model_validate(values | changes)


def test_sources_become_the_same_reflectance(data: Path) -> None:
    one, two = (read_source(source, data, GRID) for source in sources())
    assert two.table_NL.shape == (200, 59)  # the bad band is gone, the holes are bridged
    assert two.table_NL.isfinite().all()
    keep = torch.arange(60) != 7
    np.testing.assert_allclose(two.wavelengths_L, one.wavelengths_L[keep], rtol=1e-9)
    np.testing.assert_allclose(two.table_NL, one.table_NL[:, keep], atol=2e-2)


def test_spectra_keep_their_ends_empty_and_such_grids_pass_them_over(data: Path) -> None:
    spectra = np.ones((4, 60), dtype=np.float32)
    spectra[:2, :30] = np.nan
    spectra[3] = np.nan
    np.savez(data / "one.npz", spectra=spectra, nm=np.linspace(380, 1020, 60))
    table = read_source(sources()[0], data, GRID)
    assert len(table.table_NL) == 3
    drawn = [table.draw(64, 12, GRID, torch.Generator().manual_seed(seed))[0] for seed in range(20)]
    assert all(one.isfinite().all() for one in drawn)


def test_batches_are_scaled_ordered_and_within_range(data: Path) -> None:
    tables = [read_source(source, data, GRID) for source in sources()]
    for seed in range(20):
        noisy, clean, nm = draw_batch(tables, 32, GRID, Augmentation(), torch.Generator().manual_seed(seed))
        assert noisy.shape == clean.shape == nm.shape
        assert 12 <= clean.shape[1] <= 20
        torch.testing.assert_close(clean.amax(dim=1), torch.ones(len(clean)))
        assert bool(((noisy >= 0) & (noisy <= 1)).all())
        assert bool((nm.diff(dim=1) > 0).all())
        assert nm.min() >= 400
        assert nm.max() <= 1000


def test_an_unchanged_spectrum_is_the_interpolated_one(data: Path) -> None:
    table = read_source(sources()[0], data, GRID)
    drawn_BL, grid_L = table.draw(8, 15, GRID, torch.Generator().manual_seed(3))
    rows = [np.interp(grid_L, table.wavelengths_L, row) for row in table.table_NL.numpy()]
    rows_NL = np.array(rows) / np.max(rows, axis=1, keepdims=True)
    distance = np.abs(rows_NL[None] - drawn_BL.numpy()[:, None]).max(axis=2).min(axis=1)
    assert distance.max() < 1e-5


def test_the_loss_falls(data: Path, tmp_path: Path) -> None:
    losses: list[float] = []
    pretrain(
        recipe(steps=200, batch=32, lr=5e-3, mask=0.5, describe=0),
        data,
        tmp_path / "w",
        lambda step, steps, loss: losses.append(loss),
    )
    assert len(losses) == 200
    assert np.mean(losses[-20:]) < 0.4 * np.mean(losses[:10])


class StopError(Exception):
    """Stands for a kill."""


def test_an_interrupted_run_ends_as_an_uninterrupted_one(data: Path, tmp_path: Path) -> None:
    def stop(step: int, steps: int, loss: float) -> None:
        if step == 15:
            raise StopError

    whole = load_file(pretrain(recipe(), data, tmp_path / "whole"))
    with pytest.raises(StopError):
        pretrain(recipe(), data, tmp_path / "cut", stop)
    assert not (tmp_path / "cut.safetensors").exists()
    steps: list[int] = []
    cut = load_file(pretrain(recipe(), data, tmp_path / "cut", lambda step, n, loss: steps.append(step)))
    assert steps[0] == 11
    assert whole.keys() == cut.keys()
    assert all(torch.equal(whole[name], cut[name]) for name in whole)
    assert not (tmp_path / "cut.checkpoint").exists()


def test_the_seed_decides(data: Path, tmp_path: Path) -> None:
    paths = [pretrain(recipe(steps=3, seed=seed), data, tmp_path / f"w{i}") for i, seed in enumerate((5, 5, 6))]
    same, again, other = (path.read_bytes() for path in paths)
    assert same == again
    assert same != other


def test_what_is_written_belongs_together(data: Path, tmp_path: Path) -> None:
    weights = pretrain(recipe(steps=3), data, tmp_path / "w.safetensors")
    metadata = json.loads((tmp_path / "w.json").read_text())
    encoder = HyperSL(20, torch.linspace(400, 900, 20), **metadata["options"])
    info = load_weights(encoder, str(weights), metadata["sha256"])
    assert info.seen == ("one", "two")
    assert metadata["spectra"] == 400
    assert Recipe.model_validate(metadata["recipe"]) == recipe(steps=3)
    card = (tmp_path / "w.md").read_text()
    assert "not yet remote to proximal" in card
    assert "| two | made up | test | 200 | 59 | 380–1020 | 1 | none |" in card
    assert (tmp_path / "w.png").stat().st_size < 60_000


def test_a_loss_that_is_not_finite_fails_and_leaves_no_weights(data: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingFailed, match="at step"):
        pretrain(recipe(lr=1e30, clip=1e30, steps=50), data, tmp_path / "w")
    assert not (tmp_path / "w.safetensors").exists()


def test_an_output_that_exists_and_a_foreign_checkpoint_are_refused(data: Path, tmp_path: Path) -> None:
    (tmp_path / "there.safetensors").touch()
    with pytest.raises(RequestError, match="the output exists"):
        pretrain(recipe(), data, tmp_path / "there")

    def stop(step: int, steps: int, loss: float) -> None:
        if step == 11:
            raise StopError

    with pytest.raises(StopError):
        pretrain(recipe(), data, tmp_path / "cut", stop)
    with pytest.raises(RequestError, match="another recipe"):
        pretrain(recipe(lr=1e-4), data, tmp_path / "cut")
    (tmp_path / "cut.checkpoint").write_bytes(b"torn")
    with pytest.raises(RequestError, match="cannot be read"):
        pretrain(recipe(), data, tmp_path / "cut")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"file": "none.npz"}, "not there"),
        ({"file": "text.npz"}, "cannot be read"),
        ({"spectra": "cube"}, "no array cube; it has spectra, nm"),
        ({"band_axis": 0}, "200 bands and 60 wavelengths"),
        ({"unit": "um"}, "no usable spectra between 400 and 1000 nm"),
    ],
)
def test_bad_sources_are_refused(data: Path, tmp_path: Path, change: dict[str, object], message: str) -> None:
    (data / "text.npz").write_text("hello")
    changed = sources()[0].model_dump() | change
    with pytest.raises(RequestError, match=message):
        pretrain(recipe(sources=[changed]), data, tmp_path / "w")
    assert not list(tmp_path.glob("w.*"))


def test_a_recipe_tells_all_its_problems_at_once(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text("name: x\nsources: []\nmask: 2\nstepz: 5\n")
    with pytest.raises(RequestError) as caught:
        load_recipe(path)
    assert all(word in str(caught.value) for word in ("sources", "mask", "stepz", "steps"))
    path.write_text("a: [")
    with pytest.raises(RequestError, match="not valid YAML"):
        load_recipe(path)
    with pytest.raises(RequestError, match="not there"):
        load_recipe(tmp_path / "none.yaml")


def test_the_shipped_recipe_reads_the_shared_data(shared_data: Path) -> None:
    shipped = load_recipe(Path(__file__).resolve().parents[2] / "experiments" / "pretrain-small.yaml")
    counts = [len(read_source(source, shared_data, shipped.grid).table_NL) for source in shipped.sources]
    assert counts == [18429, 975, 232, 560]
