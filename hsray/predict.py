"""Label maps of cubes: `hsray predict` and `hsray.predict.predict(...)`."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from hsray.datasets import CubeStore, default_data_root, open_store
from hsray.datasets.cubefiles import as_HWC, cube_files
from hsray.datasets.prepare import KEPT_DTYPES
from hsray.datasets.pseudorgb import rgb_bands, stretch
from hsray.datasets.store import METADATA
from hsray.datasets.writer import Plan, StoreWriter
from hsray.errors import RequestError
from hsray.evaluate import recipe_of
from hsray.runlog import write_json
from hsray.strategies.strategy import Strategy
from hsray.trained import load_trained, own_config
from hsray.training.config import Task
from hsray.training.evaluation import predictions

AT_ONCE = 2**30  # bytes of cubes that lie in a temporary store together
MOST_IN_A_PALETTE = 256
LEGEND = "classes.json"


def predict(
    checkpoint: str | Path,
    source: str | Path,
    *,
    out: str | Path,
    strategy: str | dict[str, Any] | None = None,
    like: str | None = None,
    split: str = "test",
    key: str | None = None,
    task: Task | None = None,
    data_root: str | Path | None = None,
    overwrite: bool = False,
    report: Callable[[int, int], None] = lambda done, total: None,
    **options: Any,
) -> list[Path]:
    """Write label maps and overlays of a folder of cubes, or of a prepared dataset's split, into `out`.

    For each cube three files: `<name>.png`, a palette image whose pixel values are the class ids and whose palette is
    the classes' colours (plain colours beyond 256 classes); `<name>.npy`, the ids (H, W); `<name>-overlay.png`, the
    colours over a pseudo-RGB picture. `classes.json` names the ids. `like` is the prepared dataset whose classes and
    wavelengths the cubes of a folder have; left out: the one that the run was trained on. `report(done, total)` counts
    cubes. Returns the files in the order in which they were written.

    Raises:
        RequestError: something asked for does not exist or does not fit, or a file is there already; all cubes of
            wrong shape are found before anything is written.
    """
    root = Path(data_root).resolve() if data_root else default_data_root().resolve()
    recipe, checkpoint, out = recipe_of(strategy, options), Path(checkpoint), Path(out)
    cache = root / ".features"
    if _is_dataset(str(source), root):
        store = open_store(str(source), root)
        names = store.images(split)
        found = _of_split(checkpoint, store, cache, recipe, task, split, names)
    else:
        store = _like(checkpoint, like, root)
        cubes = cube_files(Path(source), key)
        names = list(cubes)
        _check_all(cubes, store.bands, str(source))
        found = _of_files(checkpoint, cubes, store, recipe, task, out)
    _refuse_what_is_there(out, names, overwrite)
    written = []
    for done, (name, cube_HWC, ids_HW) in enumerate(found, 1):
        out.mkdir(parents=True, exist_ok=True)
        written += _write(out, name, cube_HWC, ids_HW, store)
        report(done, len(names))
    out.mkdir(parents=True, exist_ok=True)
    legend = [{"id": one.id, "name": one.name, "rgb": list(one.rgb), "scored": one.scored} for one in store.classes]
    write_json(out / LEGEND, {"dataset": store.name, "classes": legend})
    return [*written, out / LEGEND]


Predicted = Iterator[tuple[str, np.ndarray, np.ndarray]]


def _of_split(
    checkpoint: Path,
    store: CubeStore,
    cache: Path,
    recipe: Strategy | None,
    task: Task | None,
    split: str,
    names: list[str],
) -> Predicted:
    trained = load_trained(checkpoint, store, cache, strategy=recipe, task=task)
    for name, logits_KHW, _ in predictions(trained.model, trained.reader, split, names, **trained.how):
        yield name, store.cube_HWC(split, name), logits_KHW.argmax(0).cpu().numpy()


def _of_files(
    checkpoint: Path,
    cubes: dict[str, Callable[[], np.ndarray]],
    like: CubeStore,
    recipe: Strategy | None,
    task: Task | None,
    out: Path,
) -> Predicted:
    """Some cubes at a time become a store of their own, so that they go the same way as a prepared dataset's."""
    waiting = list(cubes)
    while waiting:
        with tempfile.TemporaryDirectory(prefix=".hsray-", dir=_existing(out)) as scratch:
            taken, size = {}, 0
            while waiting and size < AT_ONCE:
                name = waiting.pop(0)
                taken[name] = _kept(as_HWC(cubes[name](), like.bands, name))
                size += taken[name].nbytes
            store = _store(Path(scratch), taken, like)
            names = {plain: name for plain, name in zip(store.images("train"), sorted(taken), strict=True)}
            found = _of_split(checkpoint, store, Path(scratch) / "features", recipe, task, "train", list(names))
            for plain, cube_HWC, ids_HW in found:
                yield names[plain], cube_HWC, ids_HW


def _store(folder: Path, cubes: dict[str, np.ndarray], like: CubeStore) -> CubeStore:
    # Labels are not looked at. They are of a scored class, for decoders that see labelled pixels when they are built.
    label = next(info.id for info in like.classes if info.scored)
    plain = {f"{number:09d}": cubes[name] for number, name in enumerate(sorted(cubes))}
    splits: dict[str, list[str]] = {"train": list(plain), "val": [], "test": []}
    source = {"kind": "unlabelled"}
    plan = Plan(like.name, like.classes, like.ignore_id, tuple(like.wavelengths_nm.tolist()), splits, (), source)
    writer = StoreWriter(folder / "store", plan)
    for name, cube_HWC in plain.items():
        writer.write("train", name, cube_HWC, np.full(cube_HWC.shape[:2], label))
    writer.finish()
    return CubeStore(folder / "store")


def _check_all(cubes: dict[str, Callable[[], np.ndarray]], bands: int, source: str) -> None:
    for name, read in cubes.items():
        as_HWC(read(), bands, f"{source}, cube {name}")


def _kept(cube_HWC: np.ndarray) -> np.ndarray:
    return cube_HWC if cube_HWC.dtype.str[1:] in KEPT_DTYPES else cube_HWC.astype(np.float32)


def _is_dataset(source: str, root: Path) -> bool:
    return any(
        (folder / METADATA).is_file() or any(folder.glob("*_train.h5")) for folder in (root / source, Path(source))
    )


def _like(checkpoint: Path, like: str | None, root: Path) -> CubeStore:
    if like is not None:
        return open_store(like, root)
    config = own_config(checkpoint)
    if config is None:
        raise RequestError(
            "classes and wavelengths of these cubes are not known",
            where=str(checkpoint),
            do="name the prepared dataset that they are like: --like hyko2",
        )
    try:
        return open_store(config.dataset, root)
    except RequestError as error:
        do = "name a prepared dataset of the same classes and wavelengths: --like NAME"
        raise RequestError("the dataset of this run is not there any more", where=config.dataset, do=do) from error


def _refuse_what_is_there(out: Path, names: list[str], overwrite: bool) -> None:
    files = [out / LEGEND, *(out / f"{name}{ending}" for name in names for ending in (".png", ".npy", "-overlay.png"))]
    there = [file.name for file in files if file.exists()]
    if there and not overwrite:
        raise RequestError(
            f"{len(there)} of the files are there already, such as {there[0]}",
            where=str(out),
            do="name another folder, or add --overwrite",
        )


def _existing(folder: Path) -> Path:
    """The nearest folder above that is there: where predictions may lie, their cubes find room too."""
    return next(one for one in (folder.resolve(), *folder.resolve().parents) if one.is_dir())


def _write(out: Path, name: str, cube_HWC: np.ndarray, ids_HW: np.ndarray, store: CubeStore) -> list[Path]:
    colours_K3 = np.array([info.rgb for info in store.classes], dtype=np.uint8)
    ids_HW = ids_HW.astype(np.uint8 if len(colours_K3) <= MOST_IN_A_PALETTE else np.uint16)
    files = [out / f"{name}.png", out / f"{name}.npy", out / f"{name}-overlay.png"]
    image = Image.fromarray(ids_HW if ids_HW.dtype == np.uint8 else colours_K3[ids_HW])
    if ids_HW.dtype == np.uint8:
        image.putpalette(colours_K3.ravel().tolist())
    image.save(files[0])
    np.save(files[1], ids_HW)
    plane_HW3 = np.asarray(cube_HWC[..., list(rgb_bands(store.wavelengths_nm))], dtype=np.float32)
    low_3, high_3 = stretch([plane_HW3])
    rgb_HW3 = 255 * ((plane_HW3 - low_3) / (high_3 - low_3)).clip(0, 1)
    Image.fromarray(((rgb_HW3 + colours_K3[ids_HW]) / 2).round().astype(np.uint8)).save(files[2])
    return files
