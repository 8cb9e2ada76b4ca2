"""The spectra and the batches that are drawn from them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from hsray.datasets import open_store
from hsray.errors import RequestError
from hsray.pretraining.light import under_light
from hsray.pretraining.recipe import Augmentation, Grid, StoreSource, load_recipe
from hsray.pretraining.spectra import StoredSpectra, on_grid, open_spectra, read_table
from hsray.pretraining.stream import draw_batch
from tests.pretraining.tiny import ONE, TWO, recipe, tiny_data


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_data(tmp_path_factory.mktemp("spectra"))


def test_tables_become_the_same_reflectance(data: Path) -> None:
    one, two = read_table(ONE, data), read_table(TWO, data)
    assert two.table_NL.shape == (200, 59)  # the bad band is gone, the holes are bridged
    assert two.table_NL.isfinite().all()
    keep = torch.arange(60) != 7
    np.testing.assert_allclose(two.wavelengths_L, one.wavelengths_L[keep], rtol=1e-9)
    np.testing.assert_allclose(two.table_NL, one.table_NL[:, keep], atol=2e-2)


def test_a_stores_spectra_are_its_pixels_in_the_order_of_wavelengths(data: Path) -> None:
    store = open_store("cubes", data)
    store.wavelengths_nm[[4, 5]] = store.wavelengths_nm[[5, 4]]  # as where two detectors overlap
    stored = StoredSpectra(StoreSource(name="cubes"), store)
    assert len(stored) == 3 * 16 * 16
    assert bool((stored.wavelengths_L.diff() > 0).all())
    rows_BL = stored.rows(40, torch.Generator().manual_seed(0))
    pixels_NL = np.concatenate([store.cube_HWC("train", name).reshape(-1, 30) for name in store.images("train")])
    pixels_NL[:, [4, 5]] = pixels_NL[:, [5, 4]]
    ratio = pixels_NL.clip(0)[None] / np.maximum(rows_BL.numpy()[:, None], 1e-6)
    assert float(ratio.std(axis=2).min(axis=1).max()) < 1e-4  # each is one pixel, scaled


def test_spectra_keep_their_ends_empty_and_grids_pass_them_over(tmp_path: Path) -> None:
    spectra = np.ones((4, 60), dtype=np.float32)
    spectra[:2, :30] = np.nan
    spectra[3] = np.nan
    np.savez(tmp_path / "one.npz", spectra=spectra, nm=np.linspace(380, 1020, 60))
    table = read_table(ONE, tmp_path)
    assert len(table) == 3
    drawn_BL = on_grid(table, 64, torch.linspace(400, 1000, 12).double(), torch.Generator().manual_seed(0))
    assert drawn_BL.isfinite().all()
    assert 0 < len(drawn_BL) < 64


def test_a_spectrum_on_a_grid_is_the_interpolated_one(data: Path) -> None:
    table = read_table(ONE, data)
    grid_L = torch.linspace(421, 913, 15).double()
    drawn_BL = on_grid(table, 8, grid_L, torch.Generator().manual_seed(3))
    rows = [np.interp(grid_L, table.wavelengths_L, row) for row in table.table_NL.numpy()]
    rows_NL = np.array(rows) / np.max(rows, axis=1, keepdims=True)
    assert np.abs(rows_NL[None] - drawn_BL.numpy()[:, None]).max(axis=2).min(axis=1).max() < 1e-5


def test_batches_are_full_scaled_and_on_an_ascending_grid_in_range(data: Path) -> None:
    spectra, asked = open_spectra(recipe(), data), recipe()
    for step in range(20):
        batch = draw_batch(asked, spectra, step)
        assert len(batch.clean_BL) == len(batch.view_BL) == len(batch.other_BL) == 16
        assert len(batch.pool_PL) == 64
        assert 12 <= len(batch.nm_L) <= 20
        torch.testing.assert_close(batch.clean_BL.amax(dim=1), torch.ones(16))
        assert bool(((batch.view_BL >= 0) & (batch.view_BL <= 1)).all())
        assert bool((batch.nm_L.diff() > 0).all())
        assert batch.nm_L.min() >= 400
        assert batch.nm_L.max() <= 1000


def test_grids_stay_in_the_focus_as_often_as_asked(data: Path) -> None:
    asked = recipe(grid=Grid(bands=(8, 8), range_nm=(400, 1000), shortest_nm=50, focus=1.0, focus_nm=(600, 700)))
    spectra = open_spectra(asked, data)
    for step in range(10):
        nm_L = draw_batch(asked, spectra, step).nm_L
        assert nm_L.min() >= 600
        assert nm_L.max() <= 700


def test_workers_share_exactly_the_batch(data: Path) -> None:
    batch = draw_batch(recipe(), open_spectra(recipe(), data), 5)
    again = draw_batch(recipe(), open_spectra(recipe(), data), 5)
    parts = [again.part(rank, 4) for rank in range(4)]
    together_BL = torch.stack([part.view_BL for part in parts], dim=1).flatten(0, 1)
    assert torch.equal(together_BL, batch.view_BL)
    assert all(torch.equal(part.nm_L, batch.nm_L) and torch.equal(part.pool_PL, batch.pool_PL) for part in parts)


def test_light_is_positive_and_changes_spectra_without_changing_order_of_brightness_at_a_band() -> None:
    nm_L = torch.linspace(420, 2400, 90)
    grey_BL, white_BL = torch.full((50, 90), 0.4), torch.ones(50, 90)
    lit_BL = under_light(white_BL, nm_L, 0.5, torch.Generator().manual_seed(1))
    assert bool((lit_BL >= 0).all()) and lit_BL.isfinite().all()
    torch.testing.assert_close(lit_BL.amax(dim=1), torch.ones(50))
    assert float(lit_BL.std(dim=0).max()) > 0.1  # the skies differ
    # Without lamps, a flat spectrum shows the light itself, whatever its reflectance.
    same = [under_light(x_BL, nm_L, 0.0, torch.Generator().manual_seed(1)) for x_BL in (grey_BL, white_BL)]
    torch.testing.assert_close(*same)


def test_sources_without_bright_spectra_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "one.npz", spectra=np.full((9, 60), 1e-7, dtype=np.float32), nm=np.linspace(380, 1020, 60))
    asked = recipe(sources=[ONE.model_dump()], stores=[])
    with pytest.raises(RequestError, match="no source has bright"):
        draw_batch(asked, open_spectra(asked, tmp_path), 0)


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
def test_bad_sources_are_refused(data: Path, change: dict[str, object], message: str) -> None:
    (data / "text.npz").write_text("hello")
    asked = recipe(sources=[ONE.model_dump() | change], stores=[])
    with pytest.raises(RequestError, match=message):
        open_spectra(asked, data)


def test_a_store_that_is_not_there_is_refused(data: Path) -> None:
    with pytest.raises(RequestError, match="nowhere"):
        open_spectra(recipe(stores=[{"name": "nowhere"}]), data)


def test_a_recipe_tells_all_its_problems_at_once(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text("name: x\nobjective: {mask: 2}\nstepz: 5\ngrid: {range_nm: [900, 400]}\n")
    with pytest.raises(RequestError) as caught:
        load_recipe(path)
    assert all(word in str(caught.value) for word in ("objective.mask", "stepz", "steps", "range_nm"))
    path.write_text("name: x\nsteps: 5\n")
    with pytest.raises(RequestError, match="at least one source or store"):
        load_recipe(path)
    path.write_text("a: [")
    with pytest.raises(RequestError, match="not valid YAML"):
        load_recipe(path)
    with pytest.raises(RequestError, match="not there"):
        load_recipe(tmp_path / "none.yaml")


def test_workers_must_share_a_batch_evenly_and_an_objective_must_ask_for_something() -> None:
    with pytest.raises(ValueError, match="3 cannot share a batch of 16"):
        recipe(workers=3)
    with pytest.raises(ValueError, match="at least one of masked"):
        recipe(objective={"masked": 0, "describe": 0})


def test_no_augmentation_leaves_the_spectra_as_they_are(data: Path) -> None:
    asked = recipe(augmentation=Augmentation(mixture=0, slope=0, noise=0).model_dump())
    batch = draw_batch(asked, open_spectra(asked, data), 0)
    assert torch.equal(batch.clean_BL, batch.view_BL)


def test_the_shipped_recipe_reads_the_shared_data(shared_data: Path) -> None:
    shipped = load_recipe(Path(__file__).resolve().parents[2] / "experiments" / "pretrain-small.yaml")
    assert [len(one) for one in open_spectra(shipped, shared_data)] == [18429, 975, 232, 560]
